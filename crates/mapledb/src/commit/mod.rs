//! From a finished draft to a snapshot that readers see and that survives.
//!
//! Three txnids advance in commit order: *head*, what the next writer builds on; *published*, what a new reader sees;
//! *durable*, what stands after a power failure. At most one meta is in flight, always in the slot that does not hold
//! the last durable snapshot (I8); the writer lock is held until its sync has returned.

mod create;
mod heal;
mod plan;
mod recover;
mod verify;

use mapledb_format::{
    Extent, HeadBody, Identity, Kind, Manifest, Meta, PageHeader, Slot, Txnid, header, manifest, meta,
    overflow::OverflowHead,
};

use mapledb_os::planted;
use crate::error::{Error, Result};
use crate::mvcc::layout::BODY_WORDS;
use crate::mvcc::{Attached, Durable, NewHead, WriterGuard};
use crate::space::Draft;
use crate::store::{Generation, Store};

pub(crate) use create::create;
pub(crate) use heal::settle_after_death;
use plan::{Circumstances, Step, plan};
pub use recover::Recovery;
pub(crate) use recover::{Found, Opener, TXNIDS_AHEAD_MAX, examine, recover};

/// What is stored over a meta that must never stand: no meta, and told from damage by its first bytes.
const CLEARED_META: [u8; mapledb_format::ids::META_BYTES] = {
    let mut bytes = [0; mapledb_format::ids::META_BYTES];
    bytes.split_at_mut(8).0.copy_from_slice(b"cleared\n");
    bytes
};

/// How far a commit has got when it is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Published after its sync: it survives power loss from the moment `commit` returns.
    #[default]
    Sync,
    /// Published at once and durable at the next sync, which comes within a bound of bytes and time. An
    /// operating-system crash may take the latest commits, never damage what remains; the death of processes takes
    /// nothing.
    Relaxed,
}

/// Why the meta of the last durable commit does not vouch for its pages; `None` if it does, or if another commit came
/// in between.
///
/// Cost: the pages of its manifest, at most 2,048.
pub(crate) fn check_durable_meta(store: &Store, attached: &Attached) -> Result<Option<String>> {
    let durable = attached.durable()?;
    let slot = [Slot::A, Slot::B][durable.slot()];
    let verdict = match Meta::decode(&store.read_meta(slot), slot) {
        Ok(meta) if meta.head.txnid.get() != durable.txnid => Err("it is another commit's".to_string()),
        Ok(meta) => verify::verify_manifest(store, &meta, verify::Source::Anywhere)?.map_err(|fault| fault.to_string()),
        Err(fault) => Err(fault.to_string()),
    };
    let why = verdict.err().map(|why| format!("meta {slot}: {why}"));
    Ok(if attached.durable()? == durable { why } else { None })
}

/// Gives what lies behind both metas' pages back to the file system, if it is a quarter of them and 2 MiB: more than
/// growth takes ahead. The caller is alone with the file, and both metas are durable.
///
/// Cost: a system call if it is worth it.
pub(crate) fn cut_tail(store: &Store) -> Result<()> {
    let mut used = 0;
    for slot in [Slot::A, Slot::B] {
        let bytes = store.read_meta(slot);
        match Meta::decode(&bytes, slot) {
            Ok(meta) => used = used.max(meta.head.pages_used.offset(store.page_size())),
            Err(_) if bytes == CLEARED_META => {}
            // It may yet be told what it was.
            Err(_) => return Ok(()),
        }
    }
    let behind = store.file().len_bytes()?.saturating_sub(used);
    if behind > (used / 4).max(2 << 20) { store.cut(used) } else { Ok(()) }
}

/// What commits need besides the draft.
pub(crate) struct Committer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) attached: &'a Attached,
    pub(crate) guard: &'a WriterGuard,
    pub(crate) identity: Identity,
    pub(crate) compatible: u32,
    pub(crate) wants_two_syncs: bool,
}

impl Committer<'_> {
    /// Commits what `draft` holds under `head`, every page sealed already.
    ///
    /// An error before the meta is stored leaves the last commit as it was. After a failed sync the environment is
    /// poisoned and the commit indeterminate.
    pub(crate) fn commit(&self, draft: &Draft, mut head: HeadBody, durability: Durability) -> Result<()> {
        let durable = self.attached.durable()?;
        let base = draft.base_view().txnid;
        head.base_txnid = Txnid(durable.txnid);
        head.committed_at = mapledb_os::process::unix_nanos();
        let live = draft.space.live();
        self.announce(draft, &live)?;
        let is_durable = durability == Durability::Sync;
        let mut manifest = match is_durable {
            true => build_manifest(draft, &live)?,
            false => None,
        };
        let steps = plan(Circumstances {
            is_durable,
            wants_two_syncs: self.wants_two_syncs,
            builds_on_durable: durable.txnid == base.get(),
            has_grown: draft.space.has_grown(),
            manifest_fits: manifest.is_some(),
        });
        if steps.contains(&Step::SyncPages) {
            manifest = None;
        }
        // What a tail that is given back leaves is known as without blocks before anybody sees it go; blocks are counted on
        // only when they are as durable as the head.
        let (before, after) = (self.attached.pages_allocated(self.guard)?, draft.space.pages_allocated());
        self.attached.set_pages_allocated(self.guard, before.min(after))?;
        self.perform(steps, &head, manifest.unwrap_or_else(Manifest::empty), draft.generation())?;
        self.attached.set_pages_allocated(self.guard, after)?;
        event!(debug, txnid = head.txnid.get(), pages = draft.space.handed_pages(), ?durability, "committed");
        self.count(draft, durability);
        Ok(())
    }

    /// Makes the head durable: what relaxed commits left to the next sync.
    ///
    /// Cost: two syncs; none if it is durable.
    pub(crate) fn sync_head(&self) -> Result<()> {
        let record = self.attached.head()?;
        let head = decode_head(&record.head)?;
        if self.attached.durable()?.txnid == head.txnid.get() {
            return Ok(());
        }
        let generation = self.store.covering(head.pages_used.get())?;
        let steps = [Step::SyncPages, Step::StoreMeta, Step::SyncMeta];
        self.perform(&steps, &head, Manifest::empty(), generation)
    }

    fn announce(&self, draft: &Draft, live: &[Extent]) -> Result<()> {
        if cfg!(feature = "seam") {
            for extent in live {
                self.store.announce(draft.generation(), extent.first, extent.pages)?;
            }
        }
        Ok(())
    }

    /// Carries the steps out. From the first store of a meta on, an error leaves the outcome open.
    fn perform(&self, steps: &[Step], head: &HeadBody, manifest: Manifest, generation: Generation) -> Result<()> {
        let durable = self.attached.durable()?;
        let slot = [Slot::A, Slot::B][durable.free_slot()];
        let meta = Meta {
            slot,
            page_size: self.store.page_size(),
            compatible: self.compatible,
            read_only_compatible: 0,
            incompatible: 0,
            identity: self.identity,
            head: head.clone(),
            manifest,
        };
        let counters = self.attached.counters();
        let pages_used = head.pages_used.get();
        let mut is_stored = false;
        for step in steps {
            #[cfg(maple_canaries)]
            if planted("slot_in_flight") && matches!(step, Step::SyncAll | Step::SyncMeta) {
                self.attached.give_writer_away();
            }
            let done = match step {
                Step::SyncPages if planted("unsynced_pages") => Ok(()),
                Step::SyncPages => self.store.sync_growth(),
                Step::StoreMeta => {
                    is_stored = true;
                    self.store.store_meta(slot, &meta.encode())
                }
                Step::SyncAll => self.store.sync_all(generation, pages_used),
                Step::SyncMeta if planted("unsynced_pages") => self.store.sync_all(generation, pages_used),
                Step::SyncMeta => self.store.sync_meta(slot),
                Step::Publish => self.publish(head, &durable, &meta, steps.len() > 1),
            };
            if matches!(step, Step::SyncPages | Step::SyncAll | Step::SyncMeta) {
                counters.syncs.add(1);
            }
            let done = match (done, step) {
                (Err(_), Step::SyncPages | Step::SyncAll | Step::SyncMeta) if planted("retried_sync") => {
                    self.store.sync_growth()
                }
                (done, _) => done,
            };
            if let Err(error) = done {
                return Err(self.failed(error, *step, is_stored, head.txnid));
            }
        }
        if is_stored {
            let mut meta_txnids = durable.meta_txnids;
            meta_txnids[slot as usize] = head.txnid.get();
            let meta_checksum = meta::stored_sum(&meta.encode());
            self.attached.set_durable(Durable { txnid: head.txnid.get(), meta_checksum, meta_txnids })?;
        }
        Ok(())
    }

    /// A failed sync poisons the environment in every process: it is never retried, and no later success vouches for
    /// what it left behind (I11).
    fn failed(&self, error: Error, step: Step, is_stored: bool, txnid: Txnid) -> Error {
        let is_sync = matches!(step, Step::SyncPages | Step::SyncAll | Step::SyncMeta);
        if !is_sync && !is_stored {
            return error;
        }
        event!(error, %error, txnid = txnid.get(), "a sync failed, the environment is poisoned");
        // The flag is a word in shared memory; if even that is refused, this is a forked child and nothing is shared.
        let _ = self.attached.poison();
        match is_stored {
            true => Error::Indeterminate { txnid: txnid.get(), cause: Box::new(error) },
            false => Error::SyncFailed { cause: Box::new(error) },
        }
    }

    fn publish(&self, head: &HeadBody, durable: &Durable, meta: &Meta, is_durable: bool) -> Result<()> {
        let (durable_txnid, durable_meta_checksum) = match is_durable {
            true => (head.txnid.get(), meta::stored_sum(&meta.encode())),
            false => (durable.txnid, durable.meta_checksum),
        };
        let new = NewHead { body: body_words(head), durable_txnid, durable_meta_checksum };
        self.attached.publish(self.guard, &new)?;
        Ok(())
    }

    fn count(&self, draft: &Draft, durability: Durability) {
        let counters = self.attached.counters();
        counters.commits.add(1);
        if durability == Durability::Relaxed {
            counters.relaxed_commits.add(1);
        }
        counters.pages_written.add(draft.space.handed_pages());
        counters.pages_freed.add(draft.space.freed_pages());
        counters.pages_reused.add(draft.space.released_pages());
        if draft.space.has_grown() {
            counters.growths.add(1);
        }
    }
}

/// The manifest of a commit's own pages, with a note in the memo that they have just been sealed; `None` if they are
/// too many.
fn build_manifest(draft: &Draft, live: &[Extent]) -> Result<Option<Manifest>> {
    if draft.space.handed_pages() > manifest::MANIFEST_PAGES_MAX {
        return Ok(None);
    }
    let mut pages = Vec::new();
    for extent in live {
        let mut at = extent.first;
        while at.get() < extent.end() {
            let (length, checksum) = sealed_page(draft, at)?;
            pages.push((Extent::new(at, length), checksum));
            match at.checked_add(length) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    Ok(Manifest::build(pages))
}

/// How many pages the page or run at `at` takes, and its checksum.
fn sealed_page(draft: &Draft, at: mapledb_format::Pgno) -> Result<(u64, u64)> {
    let fault = |cause| Error::Corrupt { pgno: at, cause };
    let store = draft.store();
    let page = store.own(draft.generation(), at, 1)?;
    let header = PageHeader::parse(page).map_err(fault)?;
    let length = match header.kind {
        Kind::Overflow => OverflowHead::parse(page, store.page_size()).map_err(fault)?.pages,
        Kind::Leaf | Kind::Branch => {
            store.vouch(draft.generation(), at, header.txnid);
            1
        }
    };
    Ok((length, header::stored_checksum(page).map_err(fault)?))
}

/// A head body as the words of a head record.
pub(crate) fn body_words(head: &HeadBody) -> [u64; BODY_WORDS] {
    let bytes = head.encode();
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

/// The head body of a head record.
pub(crate) fn decode_head(head: &NewHead) -> Result<HeadBody> {
    let mut bytes = [0; mapledb_format::head_body::HEAD_BODY_BYTES];
    for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(head.body) {
        *to = word.to_le_bytes();
    }
    HeadBody::decode(&bytes).map_err(|cause| Error::BadHead { cause })
}
