//! After somebody died at its work: nothing of an unfinished transaction remains, and what was appended is made durable.
//!
//! | it died | what is found | what is done |
//! |---|---|---|
//! | before it appended its head | nothing | nothing |
//! | after that, before a meta was stored | a head that is not durable | it is made durable and published |
//! | after the meta's store, before it was noted as durable | the same, and perhaps its meta | the same: a new meta takes the place of that one |
//! | after the note, before publication | a durable head that is not published | it is published |
//! | with relaxed commits that nobody synced | a head that is not durable | it is made durable |
//!
//! A head is appended when every page of it has been sealed, so whatever is found is whole. Who waits for it, if it is not
//! the dead one, is told; else nobody was told of it, and it may stand or not.
//!
//! Each step can be done again, and the lock that was taken over stays unsettled until the last has been done: whoever
//! dies or fails in here leaves the same table to the next.

use mapledb_format::{HeadBody, Txnid};

use super::recover::store_pages_again;
use super::verify::pages_since;
use crate::error::{Error, Result};
use crate::mvcc::Attached;
use crate::store::Store;

/// Verifies the pages of `head` since the durable snapshot and stores them again: a sync of the dead one may have failed
/// unnoticed (I11). Pages that do not verify poison the environment: nobody may build on them, and recovery falls back.
/// Any other failure can be tried again.
///
/// Cost: the pages since, and the headers of their children.
pub(super) fn renew(store: &Store, attached: &Attached, head: &HeadBody, since: Txnid) -> Result<()> {
    let renewed = pages_since(store, head, since).and_then(|pages| store_pages_again(store, head, &pages));
    if matches!(renewed, Err(Error::Corrupt { .. } | Error::BadHead { .. })) {
        attached.poison()?;
    }
    renewed
}
