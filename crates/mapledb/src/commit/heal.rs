//! After a writer died at its work: nothing of its transaction remains.

use mapledb_format::{Meta, Slot, Txnid};

use super::recover::renew;
use super::verify::pages_since;
use super::{CLEARED_META, Committer, decode_head};
use crate::error::Result;

/// Clears up what a dead writer may have left: a head that was not published, a meta that was stored and not
/// published, a published commit whose durability was not noted.
///
/// A valid meta of a commit nobody was told of would stand at the next recovery although later commits built on
/// another head, so it is durably invalidated before anything else is stored.
///
/// Cost: two metas read; a sync, and the pages since the last durable snapshot, only where something is to be cleared
/// up.
pub(crate) fn settle_after_death(committer: &Committer<'_>) -> Result<()> {
    let attached = committer.attached;
    attached.void_unpublished(committer.guard)?;
    let head = decode_head(&attached.head()?.head)?;
    let durable = attached.durable()?;
    for slot in [Slot::A, Slot::B] {
        if durable.meta_txnids[slot as usize] == durable.txnid {
            continue;
        }
        let found = Meta::decode(&committer.store.read_meta(slot), slot);
        if found.is_ok_and(|meta| meta.head.txnid > head.txnid) {
            invalidate(committer, slot)?;
        }
    }
    if head.txnid.get() > durable.txnid {
        // It left relaxed commits, or died between publication and the note of durability. A sync of its own may have
        // failed unnoticed, so what is made durable here is verified and stored again first.
        let renewed = pages_since(committer.store, &head, Txnid(durable.txnid))
            .and_then(|pages| renew(committer.store, &head, &pages));
        if renewed.is_err() {
            attached.poison()?;
        }
        renewed?;
    }
    committer.sync_head()
}

/// Clears a meta, durably.
fn invalidate(committer: &Committer<'_>, slot: Slot) -> Result<()> {
    let store = committer.store;
    let cleared = store.store_meta(slot, &CLEARED_META).and_then(|()| store.sync_meta(slot));
    if cleared.is_err() {
        committer.attached.poison()?;
    }
    cleared
}
