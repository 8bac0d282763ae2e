//! What the engine holds of the shared memory: one membership, and everything that can be done with it.

use std::sync::Arc;
use std::time::Duration;

use mapledb_os::sync::Ordering;

use super::attach::Mode;
use super::durable::Durable;
use super::heads::{self, Head, HeadRecord, NewHead};
use super::layout::{LAST_TXNID_AT, NUMBER_MAX, RING_LEN, STATE_READY, STATE_RESUMED, TXNID_JUMP};
use super::member::Member;
use super::memory::LockMemory;
use super::shared::{Counters, Header};
use super::{
    KeptHead, MvccError, Pin, Place, ProcessTally, ReaderInfo, Result, Return, SyncGuard, Turn, Wait,
    WriterGuard,
};
use mapledb_os::planted;

/// A process's membership. Clones are the same membership; the last of them, of its pins and of its guards gives
/// everything back, uncleanly unless [`Attached::begin_detach`] came first.
#[derive(Debug, Clone)]
pub struct Attached {
    pub(super) member: Arc<Member>,
    pub(super) mode: Mode,
}

/// Where it stands whether a sync has failed.
#[derive(Debug)]
pub(crate) struct PoisonNote(Arc<LockMemory>);

impl PoisonNote {
    /// Whether a sync has failed, in any process. Cost: a load.
    pub(crate) fn is_set(&self) -> bool {
        self.0.header().poisoned.load(Ordering::Acquire) != 0
    }
}

impl Attached {
    pub(super) fn new(member: Arc<Member>, mode: Mode) -> Attached {
        Attached { member, mode }
    }

    /// How the data file is used.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Begins a read: pins the published snapshot. No allocation and no system call, unless this thread has not
    /// read before or its slot is taken.
    #[inline]
    pub fn pin(&self) -> Result<(Pin, Head)> {
        self.member.pin()
    }

    /// Pins the published snapshot for a caller that keeps this alive as long and releases the slot itself.
    #[inline]
    pub(crate) fn pin_slot(&self) -> Result<(Place, Box<KeptHead>)> {
        self.member.pin_slot()
    }

    /// Pins the snapshot of `head`, likewise. Whether its pages are still there is for the caller to find out, after this.
    pub(crate) fn pin_slot_at(&self, head: Head) -> Result<(Place, Box<KeptHead>)> {
        self.member.pin_slot_at(head)
    }

    /// Pins the published snapshot again, in the slot at `place` if that is free, with the copy of a head that was kept.
    #[inline]
    pub(crate) fn pin_slot_again(&self, place: Place, kept: &mut KeptHead) -> Result<Place> {
        self.member.pin_slot_again(place, kept)
    }

    /// Pins the newest head, published or not, for whoever holds the writer lock.
    pub(crate) fn pin_newest(&self, guard: &WriterGuard) -> Result<(Place, Box<KeptHead>)> {
        self.check_writer(guard)?;
        self.member.pin_newest()
    }

    /// Lets a slot that pins an older head for nobody but the caller pin the newest, for whoever holds the writer lock.
    pub(crate) fn repin_newest(&self, guard: &WriterGuard, place: Place, kept: &mut KeptHead) -> Result<()> {
        self.check_writer(guard)?;
        self.member.repin_newest(place, kept)
    }

    /// Whether `head` is the published one. Cost: a load.
    #[inline]
    pub(crate) fn is_latest(&self, head: &Head) -> bool {
        self.member.is_latest(head)
    }

    /// Ends the read of a pinned slot for one of its owners, who keeps the copy of the head.
    #[inline]
    pub(crate) fn unpin_slot(&self, place: Place) {
        self.member.release_place(place, 0);
    }

    /// Counts one more owner of a pinned slot.
    pub(crate) fn share_slot(&self, place: Place) {
        self.member.share_slot(place);
    }

    /// Counts one owner of a pinned slot less, and its lookups; the last one ends the read. The copy of the head is kept for
    /// the next.
    #[inline]
    pub(crate) fn release_slot(&self, place: Place, kept: Box<KeptHead>, gets: u64) {
        self.member.release_slot(place, kept, gets);
    }

    /// The newest head, published or not: what the next writer builds on. Stable under the writer lock.
    pub fn head(&self) -> Result<HeadRecord> {
        self.member.check()?;
        heads::head(&self.member.memory)
    }

    /// The newest head's txnid, for whoever holds the writer lock.
    ///
    /// Cost: three words of the shared memory.
    pub(crate) fn head_txnid(&self, guard: &WriterGuard) -> Result<u64> {
        self.check_writer(guard)?;
        heads::head_txnid(&self.member.memory)
    }

    /// The published head.
    pub fn published(&self) -> Result<HeadRecord> {
        self.member.check()?;
        heads::published(&self.member.memory)
    }

    /// The published head's txnid.
    pub fn published_txnid(&self) -> Result<u64> {
        self.member.check()?;
        self.member.published_txnid()
    }

    /// Makes `new` the newest head, which no reader sees yet. Answers its sequence number.
    pub fn append_head(&self, guard: &WriterGuard, new: &NewHead) -> Result<u64> {
        self.check_writer(guard)?;
        heads::append(&self.member.memory, new)
    }

    /// Shows readers the heads up to `seq` and wakes who waits for them. Called without the writer lock by whoever has
    /// made those heads durable: publication never goes back.
    pub fn publish_up_to(&self, seq: u64) -> Result<()> {
        self.member.check()?;
        self.member.publish_up_to(seq)
    }

    /// Makes `new` the newest head and shows it to readers at once.
    pub fn publish(&self, guard: &WriterGuard, new: &NewHead) -> Result<u64> {
        let seq = self.append_head(guard, new)?;
        self.member.publish_up_to(seq)?;
        Ok(seq)
    }

    /// Takes the newest head, `seq`, back before anybody has seen it: it is not published, and the right to sync has been
    /// the caller's since before it was appended.
    pub fn take_back(&self, guard: &WriterGuard, sync: &SyncGuard, seq: u64) -> Result<()> {
        assert!(sync.belongs_to(&self.member), "the right to sync another environment");
        self.check_writer(guard)?;
        heads::take_back(&self.member.memory, seq)
    }

    /// How many heads wait to be published, and the most that may. Stable under the writer lock, but for publications.
    pub fn waiting_heads(&self) -> (u64, u64) {
        let header = self.header();
        let published = header.published_seq.load(Ordering::Acquire);
        (header.head_seq.load(Ordering::Acquire).saturating_sub(published), RING_LEN as u64 - 1)
    }

    /// Takes the right to sync, with the writer lock held or without.
    pub fn lock_sync(&self) -> Result<SyncGuard> {
        self.member.lock_sync()
    }

    /// Whether commit `txnid`, which has been appended, is durable and published. Cost: a load, or a copy of a head.
    pub fn has_landed(&self, txnid: u64) -> Result<bool> {
        self.member.check()?;
        self.member.has_landed(txnid)
    }

    /// Waits until commit `txnid` is durable and published, whoever sees to that, or until it falls to the caller.
    ///
    /// Cost: none if it is; else at most the time of two syncs, asleep.
    pub fn wait_durable(&self, txnid: u64, wait: Wait) -> Result<Turn> {
        self.member.wait_durable(txnid, wait)
    }

    /// The txnid of the head that is being made durable; 0 if none is. To be asked with the writer lock held, and before
    /// anything else that is pinned: when a flight ends, the others know of it before this does not.
    pub fn flight(&self) -> Result<u64> {
        self.member.check()?;
        Ok(self.member.flight())
    }

    /// The txnids that readers pin, of all processes, ascending, each once. Every reader that is not in the list sees
    /// at least the head that is published now. Heads and metas are not in it.
    pub fn pinned(&self) -> Result<Vec<u64>> {
        self.member.pinned()
    }

    /// Cleans up after dead processes. Answers how many of their blocks there were. Also done by `pinned` now
    /// and then, and by whoever waits for the writer lock.
    pub fn reap(&self) -> Result<usize> {
        self.member.check()?;
        self.member.reap()
    }

    /// The reads that are going on, of all processes.
    pub fn readers(&self) -> Result<Vec<ReaderInfo>> {
        self.member.readers()
    }

    /// Parks the reader of a pinned slot; false if it has clones.
    pub(crate) fn park(&self, place: Place) -> bool {
        self.member.park(place)
    }

    /// The parked reader of a slot comes back.
    pub(crate) fn unpark(&self, place: Place) -> Return {
        self.member.unpark(place)
    }

    /// Evicts parked readers of all processes, those that `chosen` picks; answers how many.
    pub fn evict_parked(&self, chosen: impl FnMut(&ReaderInfo) -> bool) -> Result<usize> {
        self.member.check()?;
        self.member.evict_parked(chosen)
    }

    /// Takes the writer lock; `None` if it was not to be had in time. Uncontended the lock itself takes no system
    /// call; two look whether both files are still in place.
    pub fn lock_writer(&self, wait: Wait) -> Result<Option<WriterGuard>> {
        if self.mode == Mode::Frozen || !self.member.files.data.is_writable {
            return Err(MvccError::ReadOnly);
        }
        let guard = self.member.lock_writer(wait)?;
        if guard.is_some() {
            self.still_bound()?;
        }
        Ok(guard)
    }

    /// Whether the paths of the data file and the lock file still lead to the files that are open.
    pub fn still_bound(&self) -> Result<()> {
        self.member.check()?;
        self.member.files.still_in_place()
    }

    /// The next txnid. It is never given out again, whatever becomes of the transaction (I2).
    ///
    /// Cost: the first one after a clean close syncs the lock file.
    pub fn next_txnid(&self, guard: &WriterGuard) -> Result<u64> {
        self.check_writer(guard)?;
        if self.header().state.load(Ordering::Relaxed) == STATE_RESUMED && !planted("stale_clean_note") {
            self.take_back_clean_note()?;
        }
        let last = self.header().last_txnid.load(Ordering::Relaxed);
        let ahead = last.saturating_sub(self.header().durable_txnid.load(Ordering::Relaxed));
        if last >= NUMBER_MAX - 1 || ahead >= TXNID_JUMP {
            return Err(self.member.memory.bad(LAST_TXNID_AT, "the last txnid is out of range"));
        }
        self.header().last_txnid.store(last + 1, Ordering::Relaxed);
        Ok(last + 1)
    }

    /// After a crash of the system the lock file must not tell of a clean close that was followed by transactions.
    #[cold]
    fn take_back_clean_note(&self) -> Result<()> {
        if let Err(error) = self.member.files.sync_lock() {
            // A second attempt would succeed and mean nothing.
            self.poison()?;
            return Err(error);
        }
        self.header().state.store(STATE_READY, Ordering::Release);
        Ok(())
    }

    /// The last txnid that was given out.
    pub fn last_txnid(&self) -> Result<u64> {
        self.member.check()?;
        Ok(self.header().last_txnid.load(Ordering::Relaxed))
    }

    /// What is on disk. The three words are not read as one; who must have them together holds what keeps others
    /// from syncing.
    pub fn durable(&self) -> Result<Durable> {
        self.member.check()?;
        Ok(self.member.durable())
    }

    /// Notes what is on disk. The caller has the right to sync.
    pub fn set_durable(&self, sync: &SyncGuard, durable: Durable) -> Result<()> {
        assert!(sync.belongs_to(&self.member), "the right to sync another environment");
        self.member.check()?;
        self.member.set_durable(durable);
        Ok(())
    }

    /// How many pages have blocks: every one below, those of free runs without blocks apart. What the shared memory says, so
    /// it may be anything.
    pub fn pages_allocated(&self, guard: &WriterGuard) -> Result<u64> {
        self.check_writer(guard)?;
        Ok(self.member.pages_allocated())
    }

    /// Notes how many pages have blocks. What is said of more pages than before is durable, or as durable as the head.
    pub fn set_pages_allocated(&self, guard: &WriterGuard, pages: u64) -> Result<()> {
        self.check_writer(guard)?;
        self.member.set_pages_allocated(pages);
        Ok(())
    }

    /// Sleeps until a head newer than `txnid` is published by any process. False if it was not in time.
    pub fn wait_newer(&self, txnid: u64, wait: Wait) -> Result<bool> {
        self.member.wait_newer(txnid, wait)
    }

    /// Notes, for every process, that a sync has failed.
    pub fn poison(&self) -> Result<()> {
        self.member.check()?;
        self.member.poison();
        Ok(())
    }

    /// The note of failed syncs, to ask without a membership.
    pub(crate) fn poison_note(&self) -> PoisonNote {
        PoisonNote(Arc::clone(&self.member.memory))
    }

    /// Whether a sync has failed since the environment was last recovered.
    #[inline]
    pub fn is_poisoned(&self) -> Result<bool> {
        self.member.check()?;
        Ok(self.member.is_poisoned())
    }

    /// The counters of all processes.
    pub fn counters(&self) -> &Counters {
        self.member.memory.counters()
    }

    /// Reads begun by all processes since the lock file was made.
    pub fn reads_begun(&self) -> Result<u64> {
        self.member.check()?;
        self.member.reads_begun()
    }

    /// Counts lookups of a read that holds `place`.
    #[inline]
    pub(crate) fn count_gets(&self, place: Place, gets: u64) {
        self.member.count_gets(place, gets);
    }

    /// Counts a commit of this process: how often it changed a table, and the pages it wrote.
    pub(crate) fn count_commit(&self, changes: u64, pages: u64) {
        self.member.count_commit(changes, pages);
    }

    /// What each attached process has done.
    pub fn processes(&self) -> Result<Vec<ProcessTally>> {
        self.member.processes()
    }

    /// Lookups and changes by all processes since the lock file was made.
    pub fn gets_and_changes(&self) -> Result<(u64, u64)> {
        self.member.check()?;
        self.member.gets_and_changes()
    }

    /// Whether this is a forked child of the process that attached.
    pub fn is_forked(&self) -> bool {
        self.member.is_forked()
    }

    /// A default for how long to wait for others that come or go: 10 s. They need as long as recovery does.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Gives the right to sync up before its guard goes, and the writer lock if it is held: a planted bug.
    #[cfg(maple_canaries)]
    pub(crate) fn give_rights_away(&self) {
        self.member.unlock_sync();
        if self.member.holds_writer() {
            self.member.unlock_writer();
            self.member.queue.leave();
        }
    }

    fn header(&self) -> &Header {
        self.member.memory.header()
    }

    fn check_writer(&self, guard: &WriterGuard) -> Result<()> {
        assert!(guard.belongs_to(&self.member), "the guard of another environment's writer lock");
        self.member.check()
    }
}
