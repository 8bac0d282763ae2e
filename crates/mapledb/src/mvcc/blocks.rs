//! Process blocks: claiming them, and cleaning up after the dead.
//!
//! Who holds a block's byte owns the block, and nobody else changes it except to hand its owner the writer lock.
//! The kernel gives the byte up when its owner dies; whoever takes it then settles what the dead one left: first
//! the writer lock, then the right to sync, the ticket, the pins, and last the state, so that a cleaner that dies half way
//! leaves a block that still wants cleaning.

use mapledb_os::sync::{AtomicU32, Ordering};
use mapledb_os::{futex, process};

use super::layout::*;
use super::member::{Files, Member};
use super::memory::LockMemory;
use super::shared::{Block, Header};
use super::{MvccError, Result, tally};
use mapledb_os::planted;

/// Whether the block has an owner, or a dead one's remains.
pub(super) fn is_claimed(block: &Block) -> bool {
    block.state.load(Ordering::Acquire) != BLOCK_FREE
}

/// The name under which the owner of `block` holds the writer lock.
pub(super) fn name(index: usize, block: &Block) -> WriterWord {
    WriterWord::held(index, block.incarnation.load(Ordering::Acquire))
}

/// Claims the first block whose byte nobody holds, settling what its last owner left. `own` are this process's
/// blocks, which the kernel would give it again. The caller serialises claims of its process.
pub(super) fn claim(memory: &LockMemory, files: &Files, own: &[usize]) -> Result<usize> {
    for index in (0..memory.blocks_max()).filter(|index| !own.contains(index)) {
        if files.take_byte(index)? {
            return match occupy(memory, index) {
                Ok(()) => Ok(index),
                Err(e) => {
                    files.release_byte(index)?;
                    Err(e)
                }
            };
        }
    }
    Err(MvccError::TooManyBlocks(memory.blocks_max()))
}

fn occupy(memory: &LockMemory, index: usize) -> Result<()> {
    let block = memory.make_block(index)?;
    if is_claimed(block) {
        settle(memory, index)?;
        memory.counters().reaped_blocks.add(1);
    }
    // Release: who sees the new incarnation sees no ticket of the one before.
    block.incarnation.fetch_add(1, Ordering::Release);
    block.pid.store(process::pid(), Ordering::Relaxed);
    block.claimed_at.store(process::unix_nanos(), Ordering::Relaxed);
    block.state.store(BLOCK_CLAIMED, Ordering::Release);
    memory.header().blocks.fetch_max(index as u32 + 1, Ordering::AcqRel);
    Ok(())
}

/// Cleans block `index`. The caller holds its byte.
pub(super) fn settle(memory: &LockMemory, index: usize) -> Result<()> {
    settle_writer(memory, index)?;
    // What it was making durable stays in flight until whoever takes over has settled it.
    make_orphan(&memory.header().sync, index);
    futex::wake_all(&memory.header().sync);
    let block = memory.block(index)?;
    tally::settle(memory, block);
    block.ticket.store(0, Ordering::Relaxed);
    // A thread counts itself in the header first and here second, so this never takes away too much.
    take_away(&memory.header().wake_waiters, block.waiting.swap(0, Ordering::Relaxed));
    for slot in &block.slots {
        slot.clones.store(0, Ordering::Relaxed);
        slot.tid.store(0, Ordering::Relaxed);
        slot.began_at.store(0, Ordering::Relaxed);
        slot.pin.store(0, Ordering::Release);
    }
    // Release, like the pins: a scan that looks no further because of this must come after the reads, too.
    block.slots_used.store(0, Ordering::Release);
    block.pid.store(0, Ordering::Relaxed);
    let release = if planted("unordered_leave") { Ordering::Relaxed } else { Ordering::Release };
    block.state.store(BLOCK_FREE, release);
    Ok(())
}

/// If the owner of block `index` died holding the writer lock, makes the lock an orphan: free, but the next
/// holder learns that it takes over.
fn settle_writer(memory: &LockMemory, index: usize) -> Result<()> {
    let header: &Header = memory.header();
    let word = WriterWord(header.writer.load(Ordering::Acquire));
    if word.block() != Some(index) {
        return Ok(());
    }
    // The dead one may have promised the lock to a ticket without keeping it. Only a holder promises, so no
    // other promise is on its way: all that stand are taken back, and who was promised waits on.
    for other in 0..memory.blocks()? {
        memory.block(other)?.ticket.fetch_and(!TICKET_HANDED, Ordering::Relaxed);
    }
    make_orphan(&header.writer, index);
    Ok(())
}

/// Turns a word that names block `index` into an orphan's.
pub(super) fn make_orphan(held: &AtomicU32, index: usize) {
    make_orphan_if(held, |word| word.block() == Some(index));
}

/// Turns a word whose holder is dead into an orphan's: free, but the next holder learns that it takes over. The mark of those
/// who wait stays.
fn make_orphan_if(held: &AtomicU32, is_dead: impl Fn(WriterWord) -> bool) {
    let mut word = WriterWord(held.load(Ordering::Acquire));
    while is_dead(word) {
        let heir = if planted("forgotten_death") { WriterWord::FREE } else { WriterWord::ORPHAN };
        let orphan = word.passed_to(heir);
        match held.compare_exchange(word.0, orphan.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(now) => word = WriterWord(now),
        }
    }
}

/// Subtracts without going below zero: a lock file may hold anything.
fn take_away(word: &AtomicU32, less: u32) {
    if less == 0 {
        return;
    }
    let mut now = word.load(Ordering::Relaxed);
    loop {
        let rest = now.saturating_sub(less);
        match word.compare_exchange(now, rest, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => now = other,
        }
    }
}

impl Member {
    /// Cleans every block whose owner died. Answers how many. Cost: one system call for each foreign block, some
    /// more for each dead one.
    pub(super) fn reap(&self) -> Result<usize> {
        let mut reaped = 0;
        for index in 0..self.memory.blocks()? {
            reaped += usize::from(self.reap_block(index)?);
        }
        Ok(reaped)
    }

    /// If the holder that `word`, seen in `held`, names is dead, cleans up after it; the word is an orphan then.
    pub(super) fn settle_dead(&self, held: &AtomicU32, word: WriterWord) -> Result<()> {
        let Some(index) = word.block() else { return Ok(()) };
        if self.is_outlived(index, word)? {
            make_orphan_if(held, |now| now.unmarked() == word.unmarked());
            return Ok(());
        }
        self.reap_block(index).map(drop)
    }

    /// Whether the process that `word` names has been cleaned up after. It may die between being promised the lock and being
    /// given it; then its name comes into the word when whoever cleans its block has gone by, and the block may have another
    /// owner, who lives and knows nothing.
    fn is_outlived(&self, index: usize, word: WriterWord) -> Result<bool> {
        let block = self.memory.block(index)?;
        let is_outlived = !is_claimed(block) || name(index, block) != word.unmarked();
        Ok(is_outlived && !planted("no_outlived"))
    }

    /// Cleans block `index` if its owner died.
    pub(super) fn reap_block(&self, index: usize) -> Result<bool> {
        let own = self.own.lock();
        let is_own = own.contains(&index) && !planted("own_slot_by_lock");
        if is_own || !is_claimed(self.memory.block(index)?) || self.files.byte_is_held(index)? {
            return Ok(false);
        }
        if !self.files.take_byte(index)? && !planted("reaped_unowned") {
            return Ok(false);
        }
        let settled = settle(&self.memory, index);
        self.files.release_byte(index)?;
        settled?;
        self.memory.counters().reaped_blocks.add(1);
        Ok(true)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn taking_away_stops_at_zero() {
        let word = AtomicU32::new(3);
        take_away(&word, 2);
        take_away(&word, 7);
        take_away(&word, 0);
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }
}
