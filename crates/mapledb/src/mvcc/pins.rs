//! Pins as a scan of all slots finds them: what a writer must leave alone, and who reads.

use std::sync::atomic::Ordering::Relaxed as StdRelaxed;

use mapledb_os::planted;
use mapledb_os::process;
use mapledb_os::sync::{Ordering, fence, load_after_fence};

use super::Result;
use super::blocks::is_claimed;
use super::layout::{BLOCK_SLOTS, PIN_EVICTED, PIN_PARKED};
use super::member::Member;
use super::shared::{Block, ReaderSlot};

/// How long a writer goes without looking for dead readers: 10 ms.
const REAP_EVERY_NS: u64 = 10_000_000;

/// A read that is going on somewhere, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderInfo {
    /// The process, in its own PID namespace.
    pub pid: u32,
    /// The thread that began it.
    pub tid: u32,
    /// The snapshot it pins.
    pub txnid: u64,
    /// When it began, unix ns.
    pub began_at: u64,
    /// Clones of the pin beside the first.
    pub clones: u32,
    /// The process block.
    pub block: usize,
    /// The slot in it.
    pub slot: usize,
    /// Whether the process is this one.
    pub is_own: bool,
    /// Whether its owner has parked it.
    pub is_parked: bool,
    /// How many heads were appended since the one it reads; `None` for a named snapshot.
    pub behind: Option<u64>,
}

impl Member {
    /// The txnids that readers of all processes pin now, ascending, each once. Every reader that is not in the
    /// list will see at least the head that was published when this was called.
    ///
    /// Now and then it cleans up after dead readers first.
    pub(super) fn pinned(&self) -> Result<Vec<u64>> {
        self.check()?;
        self.reap_if_due()?;
        // The publication comes before this, the scan after it: see `pin`.
        if !planted("no_writer_fence") {
            fence(Ordering::SeqCst);
        }
        let mut pinned = Vec::new();
        self.each_pinned(|_, _, _, _, pin| {
            let is_seen = pin & PIN_PARKED == 0 || !planted("unpinned_parked");
            pinned.extend(pinned_by(pin).filter(|_| is_seen));
        })?;
        pinned.sort_unstable();
        pinned.dedup();
        Ok(pinned)
    }

    /// The reads that are going on now.
    pub(super) fn readers(&self) -> Result<Vec<ReaderInfo>> {
        self.check()?;
        let own = self.own.lock().clone();
        let mut readers = Vec::new();
        let newest = self.memory.header().published_seq.load(Ordering::Acquire);
        self.each_pinned(|index, block, number, slot, pin| {
            let Some(txnid) = pinned_by(pin) else { return };
            let seq = slot.seq.load(Ordering::Relaxed);
            readers.push(ReaderInfo {
                pid: block.pid.load(Ordering::Relaxed),
                tid: slot.tid.load(Ordering::Relaxed),
                txnid,
                began_at: slot.began_at.load(Ordering::Relaxed),
                clones: slot.clones.load(Ordering::Relaxed),
                block: index,
                slot: number,
                is_own: own.contains(&index),
                is_parked: pin & PIN_PARKED != 0,
                behind: (seq != 0).then(|| newest.saturating_sub(seq)),
            });
        })?;
        Ok(readers)
    }

    /// Reads begun since the lock file was made, by all processes.
    pub(super) fn reads_begun(&self) -> Result<u64> {
        let mut sum = 0u64;
        for index in 0..self.memory.blocks()? {
            let slots = &self.memory.block(index)?.slots;
            sum = slots.iter().fold(sum, |sum, slot| sum.wrapping_add(slot.begins.load(Ordering::Relaxed)));
        }
        Ok(sum)
    }

    /// Pins of this process, without those of others.
    pub(super) fn own_pins(&self) -> Result<usize> {
        let own = self.own.lock().clone();
        let mut pins = 0;
        self.each_pinned(|index, _, _, _, _| pins += usize::from(own.contains(&index)))?;
        Ok(pins)
    }

    fn each_pinned(&self, mut visit: impl FnMut(usize, &Block, usize, &ReaderSlot, u64)) -> Result<()> {
        for index in 0..self.memory.blocks()? {
            let block = self.memory.block(index)?;
            if !is_claimed(block) {
                continue;
            }
            let used = (block.slots_used.load(Ordering::Acquire) as usize).min(BLOCK_SLOTS);
            for (number, slot) in block.slots[..used].iter().enumerate() {
                // Acquire: a reader that is gone has read all it wanted before its pages are reused.
                let pin = load_after_fence(&slot.pin, Ordering::Acquire);
                if pin != 0 {
                    visit(index, block, number, slot, pin);
                }
            }
        }
        Ok(())
    }

    fn reap_if_due(&self) -> Result<()> {
        let now = process::unix_nanos_coarse();
        if cfg!(loom) || now.abs_diff(self.last_reap.load(StdRelaxed)) < REAP_EVERY_NS {
            return Ok(());
        }
        self.last_reap.store(now, StdRelaxed);
        self.reap().map(|_| ())
    }
}

/// The txnid that a slot pins, by its word.
#[inline]
fn pinned_by(pin: u64) -> Option<u64> {
    (pin != PIN_EVICTED).then_some(pin & !PIN_PARKED)
}
