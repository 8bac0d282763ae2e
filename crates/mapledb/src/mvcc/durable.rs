//! What is on disk, as far as the processes know, and whether a sync has failed: words that only who has the right to sync
//! stores to; and where blocks end, which only the holder of the writer lock does.
//!
//! At most one meta is in flight (I8): who stores one has the right to sync until its sync has returned, stores it to
//! the slot that [`Durable::free_slot`] names, and notes it here before it lets go.

use mapledb_os::futex;
use mapledb_os::planted;
use mapledb_os::sync::Ordering;

use super::member::Member;

/// What is on disk, as far as the processes know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The last durable snapshot.
    pub txnid: u64,
    /// The checksum of its meta.
    pub meta_checksum: u64,
    /// The txnids in the two metas.
    pub meta_txnids: [u64; 2],
}

impl Durable {
    /// The slot that holds the last durable snapshot: 0 or 1.
    pub fn slot(&self) -> usize {
        usize::from(self.meta_txnids[0] != self.txnid)
    }

    /// The slot that the next meta goes to: the other one.
    pub fn free_slot(&self) -> usize {
        if planted("durable_slot") { self.slot() } else { 1 - self.slot() }
    }
}

impl Member {
    /// What is on disk. The words are not read as one; who must have them together has the right to sync.
    pub(super) fn durable(&self) -> Durable {
        let header = self.memory.header();
        Durable {
            txnid: header.durable_txnid.load(Ordering::Acquire),
            meta_checksum: header.durable_meta_checksum.load(Ordering::Relaxed),
            meta_txnids: std::array::from_fn(|i| header.meta_txnid[i].load(Ordering::Relaxed)),
        }
    }

    /// Notes what is on disk.
    pub(super) fn set_durable(&self, durable: Durable) {
        let header = self.memory.header();
        for (word, txnid) in header.meta_txnid.iter().zip(durable.meta_txnids) {
            word.store(txnid, Ordering::Relaxed);
        }
        header.durable_meta_checksum.store(durable.meta_checksum, Ordering::Relaxed);
        header.durable_txnid.store(durable.txnid, Ordering::Release);
    }

    /// How many pages have blocks: every one below, those of free runs without blocks apart. Never more than the truth;
    /// in a file that lies, anything.
    pub(super) fn pages_allocated(&self) -> u64 {
        self.memory.header().pages_allocated.load(Ordering::Relaxed)
    }

    /// Notes how many pages have blocks.
    pub(super) fn set_pages_allocated(&self, pages: u64) {
        self.memory.header().pages_allocated.store(pages, Ordering::Relaxed);
    }

    /// Notes, for every process, that a sync has failed, and wakes who waits for a commit.
    pub(super) fn poison(&self) {
        let header = self.memory.header();
        header.poisoned.store(1, Ordering::SeqCst);
        header.wake.fetch_add(1, Ordering::AcqRel);
        futex::wake_all(&header.wake);
    }

    /// Whether a sync has failed since the environment was last recovered. Who holds the writer lock, or has the right to sync,
    /// sees what any holder before noted.
    #[inline]
    pub(super) fn is_poisoned(&self) -> bool {
        self.memory.header().poisoned.load(Ordering::Acquire) != 0
    }
}
