//! From a finished draft to a snapshot that readers see and that survives.
//!
//! Three txnids advance in commit order: *head*, what the next writer builds on; *published*, what a new reader sees;
//! *durable*, what stands after a power failure. A commit *appends* its head, whatever its level. A relaxed one is published
//! then. Every other one waits until a *flight* has made the newest head durable: its own or a later one. Who makes it
//! leads the flight, with the right to sync; at `Sync` that is the committer, who holds the writer lock meanwhile, at
//! `Group` anybody who waits, and the next writers are at work.
//!
//! At most one meta is in flight, always in the slot that does not hold the last durable snapshot (I8); the right to sync is
//! held until its sync has returned.

mod create;
mod heal;
mod plan;
mod recover;
mod verify;
mod written;

use std::time::Instant;

use mapledb_format::{
    Extent, HeadBody, Identity, Kind, Manifest, Meta, PageHeader, Pgno, Slot, Txnid, ids, meta,
    overflow::OverflowHead,
};
use mapledb_os::planted;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::mvcc::layout::BODY_WORDS;
use crate::mvcc::{Attached, Durable, NewHead, SyncGuard, WriterGuard};
use crate::space::{Draft, Extents, READY_PAGES};
use crate::store::{Generation, Store, View};

pub(crate) use create::create;
use plan::{Circumstances, Step, plan};
pub use recover::Recovery;
pub(crate) use recover::{Found, Opener, TXNIDS_AHEAD_MAX, examine, recover};
pub(crate) use written::Written;

/// How far a commit has got when it is published, and who syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Published after its sync, which it makes itself before the next writer begins: it survives power loss from the moment
    /// `commit` returns.
    #[default]
    Sync,
    /// As durable as [`Durability::Sync`] when `commit` returns, and published then. But the next writer begins at once,
    /// and one sync makes every commit durable, of all threads and processes, that has been handed in when it begins. For many
    /// writers at once, and with [`WriteTxn::commit_later`](crate::WriteTxn::commit_later) for one that does not wait.
    Group,
    /// Published at once and durable at the next sync, which comes within a bound of bytes and time. An
    /// operating-system crash may take the latest commits, never damage what remains; the death of processes takes
    /// nothing.
    Relaxed,
}

/// How far a commit has got when the writer lock can be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It is durable and published.
    Durable,
    /// It is published and not durable.
    Published,
    /// It is the newest head, and waits for a flight.
    Appended,
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
/// growth takes ahead. The caller is alone with the file, both metas are durable, and nothing that was found at the opening
/// gives a reason to think that there was more.
///
/// Cost: a system call if it is worth it.
pub(crate) fn cut_tail(store: &Store) -> Result<()> {
    let mut used = 0;
    for slot in [Slot::A, Slot::B] {
        match Meta::decode(&store.read_meta(slot), slot) {
            Ok(meta) => used = used.max(meta.head.pages_used.offset(store.page_size())),
            // It may yet be told what it was.
            Err(_) => return Ok(()),
        }
    }
    let behind = store.file().len_bytes()?.saturating_sub(used);
    if behind > (used / 4).max(2 << 20) { store.cut(used) } else { Ok(()) }
}

/// What makes heads durable.
pub(crate) struct Leader<'a> {
    pub(crate) store: &'a Store,
    pub(crate) attached: &'a Attached,
    pub(crate) identity: Identity,
    pub(crate) compatible: u32,
    pub(crate) wants_two_syncs: bool,
    /// What this process has written since the last durable commit.
    pub(crate) written: &'a Mutex<Written>,
}

impl Leader<'_> {
    /// Makes the newest head durable and publishes it. `heals` says that somebody has died at his work; so does the right
    /// that was taken over.
    ///
    /// Cost: one sync or two (see [`plan`]); none if the head is durable.
    pub(crate) fn lead(&self, mut sync: SyncGuard, heals: bool) -> Result<()> {
        self.check_poison()?;
        let record = sync.take_head()?;
        let head = decode_head(&record.head)?;
        let durable = self.attached.durable()?;
        if (heals || sync.took_over()) && head.txnid.get() > durable.txnid {
            heal::renew(self.store, self.attached, &head, Txnid(durable.txnid))?;
        }
        sync.has_settled();
        self.fly(&sync, &head, record.seq)
    }

    /// Refuses to go on after a failed sync: a later one would succeed and mean nothing (I11). Asked with the right to sync
    /// held, for the flight that failed may be the one that was waited for.
    fn check_poison(&self) -> Result<()> {
        match self.attached.is_poisoned()? {
            true => Err(Error::Poisoned { path: self.store.file().path().to_path_buf() }),
            false => Ok(()),
        }
    }

    /// Makes `head`, the newest, durable and publishes it.
    fn fly(&self, sync: &SyncGuard, head: &HeadBody, seq: u64) -> Result<()> {
        let durable = self.attached.durable()?;
        if durable.txnid >= head.txnid.get() {
            return Ok(self.attached.publish_up_to(seq)?);
        }
        let listed = self.written.lock().since(Txnid(durable.txnid), head.txnid);
        let view = self.store.view(head.txnid, head.pages_used, Txnid(durable.txnid))?;
        let manifest = match &listed {
            Some(listed) => build_manifest(self.store, &view, &listed.pages)?,
            None => None,
        };
        if let Some(listed) = &listed
            && let Some(any) = listed.pages.iter().next()
        {
            let spare = if listed.is_of_one_commit { 0 } else { READY_PAGES };
            self.store.before_sync(any.first, listed.pages.pages(), spare);
        }
        let steps = plan(Circumstances {
            wants_two_syncs: self.wants_two_syncs,
            has_grown: listed.is_none_or(|listed| listed.has_grown),
            has_manifest: manifest.is_some(),
        });
        let manifest = manifest.filter(|_| !steps.contains(&Step::SyncPages));
        let mut head = head.clone();
        head.base_txnid = Txnid(durable.txnid);
        let meta = Meta {
            slot: [Slot::A, Slot::B][durable.free_slot()],
            page_size: self.store.page_size(),
            compatible: self.compatible,
            read_only_compatible: 0,
            incompatible: 0,
            identity: self.identity,
            head,
            manifest: manifest.unwrap_or_else(Manifest::empty),
        };
        self.perform(steps, sync, &meta, &durable, view.generation, seq)?;
        self.written.lock().forget_up_to(meta.head.txnid);
        Ok(())
    }

    /// Carries the steps out. From the first store of a meta on, an error leaves the outcome open.
    fn perform(
        &self,
        steps: &[Step],
        sync: &SyncGuard,
        meta: &Meta,
        durable: &Durable,
        generation: Generation,
        seq: u64,
    ) -> Result<()> {
        let (slot, bytes) = (meta.slot, meta.encode());
        let pages_used = meta.head.pages_used.get();
        let mut is_stored = false;
        let began = Instant::now();
        for step in steps {
            #[cfg(maple_canaries)]
            if planted("slot_in_flight") && matches!(step, Step::SyncAll | Step::SyncMeta) {
                self.attached.give_rights_away();
            }
            let done = match step {
                Step::SyncPages if planted("unsynced_pages") => Ok(()),
                Step::SyncPages => self.store.sync_growth(),
                Step::StoreMeta => {
                    is_stored = true;
                    self.store.store_meta(slot, &bytes)
                }
                Step::SyncAll => self.store.sync_all(generation, pages_used),
                Step::SyncMeta if planted("unsynced_pages") => self.store.sync_all(generation, pages_used),
                Step::SyncMeta => self.store.sync_meta(slot),
                Step::Note => self.note_durable(sync, meta, &bytes, durable),
                Step::Publish => self.attached.publish_up_to(seq).map_err(Error::from),
            };
            if matches!(step, Step::SyncPages | Step::SyncAll | Step::SyncMeta) {
                self.attached.counters().syncs.add(1);
            }
            let done = match (done, step) {
                (Err(_), Step::SyncPages | Step::SyncAll | Step::SyncMeta) if planted("retried_sync") => {
                    self.store.sync_growth()
                }
                (done, _) => done,
            };
            if let Err(error) = done {
                return Err(self.failed(error, *step, is_stored, meta.head.txnid));
            }
        }
        self.attached.counters().flights.count_since(began);
        Ok(())
    }

    fn note_durable(&self, sync: &SyncGuard, meta: &Meta, bytes: &[u8; ids::META_BYTES], before: &Durable) -> Result<()> {
        let mut meta_txnids = before.meta_txnids;
        meta_txnids[meta.slot as usize] = meta.head.txnid.get();
        let meta_checksum = meta::stored_sum(bytes);
        let durable = Durable { txnid: meta.head.txnid.get(), meta_checksum, meta_txnids };
        Ok(self.attached.set_durable(sync, durable)?)
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
}

/// What commits need besides the draft.
pub(crate) struct Committer<'a> {
    pub(crate) leader: Leader<'a>,
    pub(crate) guard: &'a WriterGuard,
}

impl Committer<'_> {
    /// Commits what `draft` holds under `head`, every page sealed already.
    ///
    /// An error before the meta is stored leaves the last commit as it was. After a failed sync the environment is
    /// poisoned and the commit indeterminate.
    pub(crate) fn commit(&self, draft: &Draft, head: &mut HeadBody, durability: Durability) -> Result<Reached> {
        let attached = self.leader.attached;
        head.committed_at = mapledb_os::process::unix_nanos();
        let live = draft.space.live();
        self.announce(draft, &live)?;
        let (waiting, waiting_max) = attached.waiting_heads();
        if waiting + 1 >= waiting_max {
            // One place is left for those who publish at once.
            self.sync_head()?;
        }
        // What a tail that is given back leaves is known as without blocks before anybody sees it go; blocks are counted on
        // only when they are as durable as the head.
        let (before, after) = (attached.pages_allocated(self.guard)?, draft.space.pages_allocated());
        attached.set_pages_allocated(self.guard, before.min(after))?;
        let reached = match durability {
            Durability::Sync => self.commit_durably(draft, head, live)?,
            Durability::Group => {
                self.append(draft, head, live)?;
                Reached::Appended
            }
            Durability::Relaxed => {
                let seq = self.append(draft, head, live)?;
                // Publication follows the order of commits.
                match attached.waiting_heads().0 {
                    0 | 1 => {
                        attached.publish_up_to(seq)?;
                        Reached::Published
                    }
                    _ => Reached::Appended,
                }
            }
        };
        attached.set_pages_allocated(self.guard, after)?;
        self.count(draft, durability);
        Ok(reached)
    }

    /// Appends the head and makes it durable before anybody else can append another.
    fn commit_durably(&self, draft: &Draft, head: &mut HeadBody, live: Vec<Extent>) -> Result<Reached> {
        let attached = self.leader.attached;
        let sync = self.settled_right()?;
        let seq = self.append(draft, head, live)?;
        let flown = self.leader.fly(&sync, head, seq);
        if flown.is_err() && !attached.is_poisoned()? {
            // No meta was stored: it did not happen.
            attached.take_back(self.guard, &sync, seq)?;
        }
        flown.map(|()| Reached::Durable)
    }

    /// The right to sync, with nothing left of a dead holder.
    pub(crate) fn settled_right(&self) -> Result<SyncGuard> {
        loop {
            let sync = self.leader.attached.lock_sync()?;
            if !sync.took_over() {
                self.leader.check_poison()?;
                return Ok(sync);
            }
            self.leader.lead(sync, true)?;
        }
    }

    /// Makes the head durable and publishes it: what relaxed commits, and those that wait, left to the next sync.
    ///
    /// Cost: two syncs at most; none if it is durable.
    pub(crate) fn sync_head(&self) -> Result<()> {
        self.leader.lead(self.leader.attached.lock_sync()?, self.guard.took_over())
    }

    /// Makes the draft the newest head.
    fn append(&self, draft: &Draft, head: &mut HeadBody, live: Vec<Extent>) -> Result<u64> {
        let durable = self.leader.attached.durable()?;
        head.base_txnid = Txnid(durable.txnid);
        self.leader.written.lock().note(draft, live);
        let (durable_txnid, durable_meta_checksum) = (durable.txnid, durable.meta_checksum);
        let new = NewHead { body: body_words(head), durable_txnid, durable_meta_checksum };
        event!(debug, txnid = head.txnid.get(), pages = draft.space.handed_pages(), "appended");
        Ok(self.leader.attached.append_head(self.guard, &new)?)
    }

    fn announce(&self, draft: &Draft, live: &[Extent]) -> Result<()> {
        if cfg!(feature = "seam") {
            for extent in live {
                self.leader.store.announce(draft.generation(), extent.first, extent.pages)?;
            }
        }
        Ok(())
    }

    fn count(&self, draft: &Draft, durability: Durability) {
        let counters = self.leader.attached.counters();
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

/// The manifest of these pages of a view, which are sealed; `None` if they are too many.
fn build_manifest(store: &Store, view: &View, extents: &Extents) -> Result<Option<Manifest>> {
    let mut pages = Vec::new();
    each_page(extents.iter(), store, |at| view.raw(store, at, 1), |at, header, length| {
        pages.push((Extent::new(at, length), header.checksum));
    })?;
    Ok(Manifest::build(pages))
}

/// Does `act` with each page or run of the extents, its header, and how many pages it takes.
fn each_page<'s>(
    extents: impl Iterator<Item = Extent>,
    store: &Store,
    page: impl Fn(Pgno) -> Result<&'s [u8]>,
    mut act: impl FnMut(Pgno, &PageHeader, u64),
) -> Result<()> {
    for extent in extents {
        let mut at = extent.first;
        while at.get() < extent.end() {
            let fault = |cause| Error::Corrupt { pgno: at, cause };
            let bytes = page(at)?;
            let header = PageHeader::parse(bytes).map_err(fault)?;
            let length = match header.kind {
                Kind::Overflow => OverflowHead::parse(bytes, store.page_size()).map_err(fault)?.pages,
                Kind::Leaf | Kind::Branch | Kind::Packed => 1,
            };
            act(at, &header, length);
            match at.checked_add(length) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    Ok(())
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
