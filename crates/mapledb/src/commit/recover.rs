//! Opening: which commit stands, and making sure that it does.
//!
//! What is read is bounded: two metas, and after an unclean end the pages of one manifest, or of two. What was left undone is finished in
//! one order that is safe against a crash at any point: verify, store the same bytes again, sync, then commit what
//! stands once more under a txnid past all that can have been given out (I2). No page gets a checksum here that it
//! did not have, and nothing is made durable that was not verified (I10).
//!
//! | last use ended | what is done at the first attach |
//! |---|---|
//! | cleanly, and the lock file says so | nothing |
//! | by the death of processes, metas whole | the newest proven meta and its pages stored again; then a new meta for them |
//! | the same, with relaxed commits after it | likewise, with their pages, and the new meta is theirs |
//! | by a crash of the system | as in the second row; the lock file's heads are of another boot and refused |
//! | by a failed sync | as in the second and third rows |

use mapledb_format::meta::{self, Peek};
use mapledb_format::meta_choice::{Candidate, Choice, Refusal, Stamp, choose};
use mapledb_format::{
    Extent, HeadBody, Identity, Manifest, Meta, MetaFault, PageSize, Pgno, Slot, Txnid, ids,
};
use mapledb_os::DataFile;

use super::verify::{Source, pages_since, verify_manifest};
use super::decode_head;
use mapledb_os::planted;
use crate::error::{Error, Result};
use crate::mvcc::layout::{NUMBER_MAX, TXNID_JUMP};
use crate::mvcc::{AttachError, LeftBehind, MvccError};
use crate::space::Extents;
use crate::store::{Generation, Store};

/// How many txnids are given out after the last durable one before a commit is made durable: half of what recovery jumps.
pub(crate) const TXNIDS_AHEAD_MAX: u64 = TXNID_JUMP / 2;

/// What opening found and did. A clean opening found nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the last use ended cleanly, or another process has the environment open and no sync has failed.
    pub was_clean: bool,
    /// A newer commit that was passed over, and why: it had not become durable whole, and was not acknowledged as
    /// durable, or the file was damaged since.
    pub passed_over: Option<String>,
    /// The commit whose state was found and stands, if it was committed once more under a new number: after an unclean
    /// end, by an opener that may write.
    pub recovered_txnid: Option<u64>,
    /// The last relaxed commit of the last use, if it and those before it were adopted from the lock file.
    pub adopted_txnid: Option<u64>,
    /// Why relaxed commits that the lock file knows of were not adopted; or why it can no longer be told whether it knew
    /// of some.
    pub refused_relaxed: Option<String>,
    /// Whether the last use had ended in a failed sync; or, if other processes have the environment open, whether it is
    /// poisoned now. Then it can be read and not written, and is healed by the first to open it after all have closed it.
    pub was_poisoned: bool,
}

/// The metas of a file, as far as they can be read.
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) page_size: PageSize,
    /// The flags that commits keep, whether or not this build knows them.
    pub(crate) compatible: u32,
    /// Whether the file has features that forbid this build to write.
    pub(crate) is_read_only: bool,
}

/// What the recovered environment begins with.
pub(crate) struct Recovered {
    pub(crate) head: HeadBody,
    pub(crate) meta_txnids: [u64; 2],
    pub(crate) meta_checksum: u64,
    pub(crate) durable_txnid: u64,
    pub(crate) last_txnid: u64,
    /// How many pages are known to have blocks.
    pub(crate) pages_allocated: u64,
    pub(crate) recovery: Recovery,
}

/// Reads what a file is from its metas, before it is mapped. One meta of another version or with unknown features is
/// enough to refuse the file, for it may be the newest commit.
pub(crate) fn examine(file: &DataFile) -> Result<Found> {
    let path = || file.path().to_path_buf();
    let mut found = None;
    let mut faults = Vec::new();
    let mut peeks = Vec::new();
    for slot in [Slot::A, Slot::B] {
        let mut bytes = [0; ids::META_BYTES];
        let got = file.read_at(slot.offset(), &mut bytes)?;
        let bytes = bytes.get(..got).unwrap_or(&[]);
        peeks.push(meta::peek(bytes));
        match Meta::decode(bytes, slot) {
            Ok(meta) => found = found.or(Some(meta)),
            Err(MetaFault::OtherVersion { found }) => return Err(Error::OtherVersion { path: path(), found }),
            Err(MetaFault::UnknownFeatures { flags }) => {
                return Err(Error::UnknownFeatures { path: path(), flags });
            }
            Err(fault) => faults.push(fault),
        }
    }
    match (found, &faults[..]) {
        (Some(meta), _) => Ok(Found {
            identity: meta.identity,
            page_size: meta.page_size,
            compatible: meta.compatible,
            is_read_only: meta.unknown_read_only_compatible() != 0,
        }),
        (None, [a, b]) if !peeks.iter().all(|peek| *peek == Peek::Foreign) => {
            Err(Error::NoMeta { path: path(), a: a.to_string(), b: b.to_string() })
        }
        _ => Err(Error::NotMapleDb { path: path() }),
    }
}

/// Who opens, as far as recovery is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opener {
    /// Whether this process has made the file just now.
    pub(crate) made_it: bool,
    /// Whether it may write, and the file may be written by this build.
    pub(crate) may_write: bool,
    /// Whether others may join and build on what is found.
    pub(crate) is_shared: bool,
}

/// Decides which commit stands and, if the file may be written, makes it stand for good. The caller is alone with
/// the file.
pub(crate) fn recover(store: &Store, left: Option<&LeftBehind>, opener: Opener) -> Result<Recovered> {
    let metas = [Slot::A, Slot::B].map(|slot| Meta::decode(&store.read_meta(slot), slot));
    let doubt = left.and_then(|left| left.doubt);
    let left = left.filter(|left| left.is_bound);
    let from = if left.is_some_and(|left| left.is_clean) { Source::Anywhere } else { Source::Disk };
    let noted = left.and_then(|left| noted(store, &metas, left));
    let (standing, passed_over) = stand(store, &metas, noted, from)?;
    // What could not be read is never a reason to fall back.
    store.check_faults()?;
    let Ok(chosen) = &metas[standing as usize] else {
        return Err(Error::NotMapleDb { path: store.file().path().to_path_buf() });
    };
    let meta_checksum = meta::stored_sum(&store.read_meta(standing));
    let was_clean = noted == Some(standing) && passed_over.is_none();
    let last_txnid = last_txnid(&metas, left);
    let mut recovered = Recovered {
        head: chosen.head.clone(),
        meta_txnids: metas.each_ref().map(|meta| meta.as_ref().map_or(0, |meta| meta.head.txnid.get())),
        meta_checksum,
        durable_txnid: chosen.head.txnid.get(),
        last_txnid,
        pages_allocated: 0,
        recovery: Recovery {
            was_clean,
            passed_over,
            was_poisoned: left.is_some_and(|left| left.is_poisoned),
            ..Recovery::default()
        },
    };
    match remedy(was_clean, opener, left.is_some()) {
        Remedy::Nothing => {}
        Remedy::Refuse => return Err(Error::NeedsRecovery { path: store.file().path().to_path_buf() }),
        Remedy::CommitAgain => {
            let relaxed = match left {
                Some(left) => examine_relaxed(store, left, chosen, meta_checksum)?,
                None => Relaxed::None,
            };
            commit_again(store, chosen, relaxed, &mut recovered)?;
            let refused = &mut recovered.recovery.refused_relaxed;
            *refused = refused.take().or_else(|| doubt.map(str::to_string));
        }
    }
    // What lies behind, growth in advance or a hole, is only known after a clean close; else it is allocated again.
    let known = left.filter(|_| was_clean).map_or(0, |left| left.pages_allocated);
    recovered.pages_allocated = known.min(store.len_pages()?).max(recovered.head.pages_used.get());
    Ok(recovered)
}

/// What is done about what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Nothing,
    Refuse,
    CommitAgain,
}

/// What is done, by the first row that fits. What stands after an unclean end may never have reached the disk, and only
/// who may write can see to that; others that join would take it for durable. Where nobody joins it is read as it is.
///
/// | last use clean | made just now, no lock file | may write | shared | |
/// |---|---|---|---|---|
/// | yes | | | | nothing |
/// | | yes | | | nothing: this process has synced it |
/// | | | yes | | commit again |
/// | | | | yes | refuse |
/// | | | | | nothing |
fn remedy(was_clean: bool, opener: Opener, has_lock_file: bool) -> Remedy {
    let is_untouched = opener.made_it && !has_lock_file;
    match (was_clean || is_untouched, opener.may_write, opener.is_shared) {
        (true, _, _) => Remedy::Nothing,
        (false, true, _) => Remedy::CommitAgain,
        (false, false, true) => Remedy::Refuse,
        (false, false, false) => Remedy::Nothing,
    }
}

/// The metas of a file, by slot.
type Metas = [std::result::Result<Meta, MetaFault>; 2];

/// The slot of the meta that a clean close has noted as the durable one, if both metas can be read. All its pages were on the disk
/// then: one that does not verify was damaged since, which is told where it is read, and is no reason to fall back.
fn noted(store: &Store, metas: &Metas, left: &LeftBehind) -> Option<Slot> {
    let is_noted = |slot: &Slot| {
        metas[*slot as usize].as_ref().is_ok_and(|meta| meta.head.txnid.get() == left.durable_txnid)
            && meta::stored_sum(&store.read_meta(*slot)) == left.durable_meta_checksum
    };
    let is_believed = left.is_clean && metas.iter().all(|meta| meta.is_ok());
    [Slot::A, Slot::B].into_iter().filter(|_| is_believed).find(is_noted)
}

/// The slot whose meta stands, and why the other one does not if that is worth a word. The one in slot `noted` needs no proof.
fn stand(store: &Store, metas: &Metas, noted: Option<Slot>, from: Source) -> Result<(Slot, Option<String>)> {
    let mut candidates = metas.each_ref().map(|meta| match meta {
        Ok(meta) => Candidate::Unverified(Stamp::of(meta)),
        Err(fault) => Candidate::Unusable(*fault),
    });
    if let Some(slot) = noted
        && let Ok(meta) = &metas[slot as usize]
    {
        candidates[slot as usize] = Candidate::Proven(Stamp::of(meta));
    }
    loop {
        let path = store.file().path().to_path_buf();
        match choose(candidates[0], candidates[1]).map_err(|cause| Error::BadMetas { path: path.clone(), cause })? {
            Choice::Verify(slot) => {
                if let Ok(meta) = &metas[slot as usize] {
                    candidates[slot as usize] = match verify_manifest(store, meta, from)? {
                        Ok(()) => Candidate::Proven(Stamp::of(meta)),
                        Err(fault) => Candidate::Unproven(Stamp::of(meta), fault),
                    };
                }
            }
            Choice::Stands { slot, passed_over } => {
                let other = slot.other();
                let why = match (passed_over, &metas[other as usize]) {
                    (Some(refusal), _) => Some(refusal),
                    // Damage to the one meta cannot be told from a commit that was torn: both are worth a word.
                    (None, Err(fault)) => Some(Refusal::Meta(*fault)),
                    (None, Ok(_)) => None,
                };
                return Ok((slot, why.map(|why| format!("meta {other}: {why}"))));
            }
            Choice::Neither(a, b) => {
                return Err(Error::NoMeta { path, a: a.to_string(), b: b.to_string() });
            }
        }
    }
}

/// Makes what stands durable, then commits it once more under a txnid past all that can have been given out.
///
/// Two syncs, because a meta is stored to the other slot only when the one that stands is known to be on the disk (I8).
/// The new meta takes the place of one that was passed over, so that it does not stand later either, when its pages may
/// have been written over.
fn commit_again(store: &Store, chosen: &Meta, relaxed: Relaxed, recovered: &mut Recovered) -> Result<()> {
    let txnid = recovered.last_txnid.saturating_add(TXNID_JUMP);
    if txnid >= NUMBER_MAX {
        let path = store.file().path().to_path_buf();
        let txnid = recovered.last_txnid;
        return Err(AttachError::from(MvccError::TxnidOutOfRange { path, txnid }).into());
    }
    store_again(store, chosen)?;
    store.check_faults()?;
    let mut head = chosen.head.clone();
    match relaxed {
        Relaxed::None => {}
        Relaxed::Refused(why) => recovered.recovery.refused_relaxed = Some(why),
        Relaxed::Stand(found, pages) => {
            // They may have made the file grow, and no sync has covered that: what they left free there has blocks again
            // before anybody stores to it (I9).
            store.keep_blocks(chosen.head.pages_used, found.pages_used)?;
            store_pages_again(store, &found, &pages)?;
            recovered.recovery.adopted_txnid = Some(found.txnid.get());
            head = *found;
        }
    }
    store.sync_growth()?;
    store.file().sync_dir()?;
    recovered.recovery.recovered_txnid = Some(head.txnid.get());
    recovered.last_txnid = txnid;
    if planted("forgotten_jump") {
        return Ok(());
    }
    head.base_txnid = chosen.head.txnid;
    head.txnid = Txnid(txnid);
    let slot = if planted("recovery_over_durable") { chosen.slot } else { chosen.slot.other() };
    let bytes = Meta { slot, head: head.clone(), manifest: Manifest::empty(), ..chosen.clone() }.encode();
    store.store_meta(slot, &bytes)?;
    store.sync_meta(slot)?;
    recovered.head = head;
    recovered.meta_txnids[slot as usize] = txnid;
    recovered.meta_checksum = meta::stored_sum(&bytes);
    recovered.durable_txnid = txnid;
    Ok(())
}

/// Stores the standing meta and its pages again: the sync of its commit may not have reached them.
fn store_again(store: &Store, chosen: &Meta) -> Result<()> {
    let generation = store.covering(chosen.head.pages_used.get())?;
    let extents =
        chosen.manifest.extents(chosen.bounds()).map_err(|cause| Error::Corrupt { pgno: Pgno::NONE, cause })?;
    for extent in extents {
        redirty(store, generation, extent)?;
    }
    store.redirty(generation, chosen.slot.offset(), ids::META_BYTES)
}

/// Stores verified pages of `head` again, so that the next sync writes them: a sync that failed unnoticed may have left
/// them counted as clean.
pub(super) fn store_pages_again(store: &Store, head: &HeadBody, pages: &Extents) -> Result<()> {
    let generation = store.covering(head.pages_used.get())?;
    pages.iter().try_for_each(|extent| redirty(store, generation, extent))
}

fn redirty(store: &Store, generation: Generation, extent: Extent) -> Result<()> {
    let shift = store.page_size().shift();
    store.redirty(generation, extent.first.offset(store.page_size()), (extent.pages << shift) as usize)
}

/// What becomes of relaxed commits that only the lock file knows of.
enum Relaxed {
    /// There are none.
    None,
    /// They verify; these are their pages.
    Stand(Box<HeadBody>, Extents),
    /// They do not stand, and why.
    Refused(String),
}

fn examine_relaxed(store: &Store, left: &LeftBehind, chosen: &Meta, meta_checksum: u64) -> Result<Relaxed> {
    let Some(record) = &left.published else { return Ok(Relaxed::None) };
    let durable = chosen.head.txnid.get();
    if record.head.txnid() <= durable {
        return Ok(Relaxed::None);
    }
    let refused = |why: &str| Ok(Relaxed::Refused(why.to_string()));
    if !left.is_same_boot {
        return refused("the system was restarted since");
    }
    if record.head.durable_txnid != durable || record.head.durable_meta_checksum != meta_checksum {
        return refused("they build on another durable commit than the one that stands");
    }
    let verified = decode_head(&record.head).and_then(|head| {
        let generation = store.covering(head.pages_used.get())?;
        for extent in pages_since(store, &head, chosen.head.txnid)?.iter() {
            store.forget(generation, extent)?;
        }
        // Again, now as the disk holds them, unless they are dirty (I11).
        let pages = pages_since(store, &head, chosen.head.txnid)?;
        Ok(Relaxed::Stand(Box::new(head), pages))
    });
    match verified {
        // What cannot be read or mapped now may stand for all that is known.
        Err(error @ (Error::Os(_) | Error::Fault { .. })) => Err(error),
        Err(error) => refused(&error.to_string()),
        stand => stand,
    }
}

/// The largest txnid that is known to have been given out. The lock file's note has no checksum: one that no writer can
/// have counted to is not believed.
fn last_txnid(metas: &[std::result::Result<Meta, MetaFault>; 2], left: Option<&LeftBehind>) -> u64 {
    let in_metas = metas.iter().flatten().map(|meta| meta.head.txnid.get()).max().unwrap_or(0);
    let noted = left.map_or(0, |left| left.last_txnid);
    if noted.saturating_sub(in_metas) < TXNID_JUMP { in_metas.max(noted) } else { in_metas }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclean_end_is_remedied_by_who_may_write_and_refused_to_who_shares_and_may_not() {
        let opener = |made_it, may_write, is_shared| Opener { made_it, may_write, is_shared };
        let (yes, no) = (true, false);
        let table = [
            // clean, opener (made it, may write, is shared), lock file
            (yes, opener(no, yes, yes), yes, Remedy::Nothing),
            (yes, opener(no, no, yes), yes, Remedy::Nothing),
            (no, opener(yes, yes, yes), no, Remedy::Nothing),
            (no, opener(yes, yes, no), no, Remedy::Nothing),
            // Made by this process, and used by another in between.
            (no, opener(yes, yes, yes), yes, Remedy::CommitAgain),
            (no, opener(no, yes, yes), yes, Remedy::CommitAgain),
            (no, opener(no, yes, yes), no, Remedy::CommitAgain),
            (no, opener(no, yes, no), no, Remedy::CommitAgain),
            (no, opener(no, no, yes), yes, Remedy::Refuse),
            (no, opener(no, no, yes), no, Remedy::Refuse),
            (no, opener(no, no, no), no, Remedy::Nothing),
        ];
        for (was_clean, opener, has_lock_file, expected) in table {
            assert_eq!(remedy(was_clean, opener, has_lock_file), expected, "{was_clean} {opener:?} {has_lock_file}");
        }
    }
}
