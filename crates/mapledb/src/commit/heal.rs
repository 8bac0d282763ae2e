//! After a writer died at its work: nothing of its transaction remains.
//!
//! | it died | what is found | what is done |
//! |---|---|---|
//! | before it stored a meta | nothing | nothing |
//! | after the meta's store, before publication | a meta newer than the published head | it is cleared, durably |
//! | between a head's appending and its publication | a head newer than the published one | it is voided |
//! | after a durable commit's publication, before its note | a head that says it is durable, and its meta | the note is made |
//! | in a barrier for relaxed commits | a head that is not durable, and perhaps its meta | the barrier is done again |
//! | with relaxed commits published and no barrier begun | the same | the same |
//!
//! Each step can be done again, and the guard of the writer lock stays unsettled until the last has been done: whoever
//! dies or fails in here leaves the same table to the next.

use mapledb_format::{HeadBody, Meta, Slot, Txnid, meta};

use super::recover::store_pages_again;
use super::verify::pages_since;
use super::{CLEARED_META, Committer, decode_head};
use crate::error::{Error, Result};
use crate::mvcc::{Durable, NewHead};

/// Clears up what a dead writer may have left: a head that was not published, a meta that was stored and not
/// published, a published commit whose durability was not noted, relaxed commits.
///
/// A valid meta of a commit nobody was told of would stand at the next recovery although later commits built on
/// another head, so it is durably invalidated before anything else is stored.
///
/// Cost: two metas read; a sync, and the pages since the last durable snapshot, only where something is to be cleared
/// up.
pub(crate) fn settle_after_death(committer: &Committer<'_>) -> Result<()> {
    let attached = committer.attached;
    attached.void_unpublished(committer.guard)?;
    let record = attached.head()?.head;
    let head = decode_head(&record)?;
    note_durable(committer, &record)?;
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
        // Relaxed commits. A sync of the dead one may have failed unnoticed, so what is made durable here is verified
        // and stored again first.
        renew(committer, &head, Txnid(durable.txnid))?;
    }
    committer.sync_head()
}

/// A durable commit is published after its sync and noted as durable after that. If its writer died in between, the
/// note is made here: its meta must not be taken for the one that may be stored over (I8).
fn note_durable(committer: &Committer<'_>, record: &NewHead) -> Result<()> {
    let durable = committer.attached.durable()?;
    if record.durable_txnid != record.txnid() || durable.txnid == record.txnid() {
        return Ok(());
    }
    let is_its_meta = |slot: &Slot| {
        let bytes = committer.store.read_meta(*slot);
        meta::stored_sum(&bytes) == record.durable_meta_checksum
            && Meta::decode(&bytes, *slot).is_ok_and(|meta| meta.head.txnid.get() == record.txnid())
    };
    if let Some(slot) = [Slot::A, Slot::B].iter().find(|slot| is_its_meta(slot)) {
        let mut meta_txnids = durable.meta_txnids;
        meta_txnids[*slot as usize] = record.txnid();
        let meta_checksum = record.durable_meta_checksum;
        committer.attached.set_durable(Durable { txnid: record.txnid(), meta_checksum, meta_txnids })?;
    }
    Ok(())
}

/// Verifies the pages of `head` since the durable snapshot and stores them again. Pages that do not verify poison the
/// environment: nobody may build on them, and recovery falls back. Any other failure can be tried again.
fn renew(committer: &Committer<'_>, head: &HeadBody, since: Txnid) -> Result<()> {
    let renewed = pages_since(committer.store, head, since)
        .and_then(|pages| store_pages_again(committer.store, head, &pages));
    if matches!(renewed, Err(Error::Corrupt { .. } | Error::BadHead { .. })) {
        committer.attached.poison()?;
    }
    renewed
}

/// Clears a meta, durably. A failed store can be tried again, a failed sync cannot (I11).
fn invalidate(committer: &Committer<'_>, slot: Slot) -> Result<()> {
    committer.store.store_meta(slot, &CLEARED_META)?;
    let synced = committer.store.sync_meta(slot);
    if synced.is_err() {
        committer.attached.poison()?;
    }
    synced
}
