//! What each process has done, for those who look on.
//!
//! A process counts in its own blocks, readers in the slot they hold, whose line is theirs anyway; so nobody waits for another's
//! cache line, and what is asked for is summed by who asks. When a block changes hands, its counts go into those of the past.

use mapledb_os::sync::Ordering;

use super::Result;
use super::blocks::is_claimed;
use super::member::Member;
use super::memory::LockMemory;
use super::readers::Place;
use super::shared::Block;

/// What a process has done since it attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTally {
    /// The process, in its own PID namespace.
    pub pid: u32,
    /// When it attached, unix ns.
    pub attached_at: u64,
    /// Whether it is this one.
    pub is_own: bool,
    /// Its counts.
    pub counts: Tally,
}

/// Counts of one process, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Keys looked up.
    pub gets: u64,
    /// Calls that changed a table.
    pub changes: u64,
    /// Commits.
    pub commits: u64,
    /// Pages that they wrote.
    pub pages_written: u64,
}

impl Tally {
    fn of(block: &Block) -> Tally {
        Tally {
            gets: block.slots.iter().map(|slot| slot.gets.load(Ordering::Relaxed)).fold(0, u64::wrapping_add),
            changes: block.changes.load(Ordering::Relaxed),
            commits: block.commits.load(Ordering::Relaxed),
            pages_written: block.pages_written.load(Ordering::Relaxed),
        }
    }

    fn add(&mut self, other: Tally) {
        self.gets = self.gets.wrapping_add(other.gets);
        self.changes = self.changes.wrapping_add(other.changes);
        self.commits = self.commits.wrapping_add(other.commits);
        self.pages_written = self.pages_written.wrapping_add(other.pages_written);
    }
}

/// Moves the counts of a block that is given up to those of the past. Loom's models have nobody who looks.
pub(super) fn settle(memory: &LockMemory, block: &Block) {
    if cfg!(loom) {
        return;
    }
    let mut gets = 0u64;
    for slot in &block.slots {
        gets = gets.wrapping_add(slot.gets.swap(0, Ordering::Relaxed));
    }
    let counters = memory.counters();
    counters.past_gets.add(gets);
    counters.past_changes.add(block.changes.swap(0, Ordering::Relaxed));
    // Commits and pages are counted for all processes together, too.
    block.commits.store(0, Ordering::Relaxed);
    block.pages_written.store(0, Ordering::Relaxed);
}

impl Member {
    /// Counts lookups of a read that holds `place`.
    #[inline]
    pub(super) fn count_gets(&self, place: Place, gets: u64) {
        if let Some(slot) = self.own_slot(place) {
            slot.gets.fetch_add(gets, Ordering::Relaxed);
        }
    }

    /// Counts a commit of this process.
    pub(super) fn count_commit(&self, changes: u64, pages: u64) {
        if let Ok(block) = self.memory.block(self.primary) {
            block.changes.fetch_add(changes, Ordering::Relaxed);
            block.commits.fetch_add(1, Ordering::Relaxed);
            block.pages_written.fetch_add(pages, Ordering::Relaxed);
        }
    }

    /// What each attached process has done, in the order of its first block. The blocks of one process are told by its number.
    pub(super) fn processes(&self) -> Result<Vec<ProcessTally>> {
        self.check()?;
        let own = self.own.lock().clone();
        let mut processes: Vec<ProcessTally> = Vec::new();
        for index in 0..self.memory.blocks()? {
            let block = self.memory.block(index)?;
            if !is_claimed(block) {
                continue;
            }
            let (pid, counts) = (block.pid.load(Ordering::Relaxed), Tally::of(block));
            match processes.iter_mut().find(|process| process.pid == pid) {
                Some(process) => process.counts.add(counts),
                None => processes.push(ProcessTally {
                    pid,
                    attached_at: block.claimed_at.load(Ordering::Relaxed),
                    is_own: own.contains(&index),
                    counts,
                }),
            }
        }
        Ok(processes)
    }

    /// Lookups and changes of all processes since the lock file was made, those that have gone included.
    pub(super) fn gets_and_changes(&self) -> Result<(u64, u64)> {
        let counters = self.memory.counters();
        let mut sum = Tally {
            gets: counters.past_gets.get(),
            changes: counters.past_changes.get(),
            ..Tally::default()
        };
        for index in 0..self.memory.blocks()? {
            sum.add(Tally::of(self.memory.block(index)?));
        }
        Ok((sum.gets, sum.changes))
    }
}
