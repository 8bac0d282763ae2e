//! One process's membership in the shared memory: its blocks, its line of writers, and what keeps it alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mapledb_os::fork;
use mapledb_os::sync::Mutex;

use super::blocks;
use super::layout::WriterWord;
use super::memory::LockMemory;
use super::queue::Queue;
use super::{MvccError, Result};

#[cfg(not(loom))]
pub(super) use super::files::Files;

/// Numbers members, so that a thread's hint is never taken for another member's slot.
static MEMBERS: AtomicU64 = AtomicU64::new(1);

/// What pins, guards and the environment hold together. The last of them to go gives everything back, unless it
/// goes in a forked child.
pub(super) struct Member {
    pub(super) memory: Arc<LockMemory>,
    pub(super) files: Files,
    /// The blocks this process holds. The mutex also serialises claiming and reaping inside the process, because
    /// the kernel does not tell one thread's byte lock from another's.
    pub(super) own: Mutex<Vec<usize>>,
    /// The block that speaks for the process: its name in the writer word, its ticket.
    pub(super) primary: usize,
    pub(super) name: WriterWord,
    pub(super) queue: Queue,
    pub(super) id: u64,
    pub(super) last_reap: AtomicU64,
    generation: u64,
    left: AtomicBool,
}

impl Member {
    /// Claims a first block and with it membership.
    pub(super) fn join(memory: Arc<LockMemory>, files: Files) -> Result<Arc<Member>> {
        let primary = blocks::claim(&memory, &files, &[])?;
        let name = blocks::name(primary, memory.block(primary)?);
        Ok(Arc::new(Member {
            memory,
            files,
            own: Mutex::new(vec![primary]),
            primary,
            name,
            queue: Queue::new(),
            id: MEMBERS.fetch_add(1, Ordering::Relaxed),
            last_reap: AtomicU64::new(0),
            generation: fork::generation(),
            left: AtomicBool::new(false),
        }))
    }

    /// Whether this process is a forked child of the one that joined: it must not touch what is shared, nor any
    /// mutex, which another thread may have held at the fork.
    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Refuses to go on in a forked child and after leaving.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        if self.is_forked() {
            return Err(MvccError::AfterFork);
        }
        if self.left.load(Ordering::Relaxed) {
            return Err(MvccError::Detached);
        }
        Ok(())
    }

    /// Gives every block back. Further calls do nothing. Failures are left to the kernel, which gives the
    /// bytes up when the descriptor closes; others then clean the blocks.
    pub(super) fn leave(&self) {
        if self.is_forked() || self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        for block in self.own.lock().drain(..) {
            let _ = blocks::settle(&self.memory, block);
            let _ = self.files.release_byte(block);
        }
        self.files.leave();
    }

    /// Whether the environment has been left.
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.is_forked() || self.has_left() {
            return;
        }
        // Nobody may come or go while the blocks are gone and the data file's byte is still held: it would look
        // like use through another lock file.
        self.files.settle_attach();
        self.leave();
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("primary", &self.primary).field("left", &self.has_left()).finish()
    }
}

/// Under loom there are no files: who holds which byte is a word for each, which the kernel sees at once.
#[cfg(loom)]
pub(super) struct Files {
    /// Who asks; never 0.
    pub(super) me: u32,
    pub(super) bytes: Arc<Vec<mapledb_os::sync::AtomicU32>>,
}

#[cfg(loom)]
impl Files {
    pub(super) fn take_byte(&self, block: usize) -> Result<bool> {
        let taken = self.bytes[block].compare_exchange(0, self.me, Ordering::AcqRel, Ordering::Acquire);
        Ok(taken.is_ok() || taken == Err(self.me))
    }

    pub(super) fn release_byte(&self, block: usize) -> Result<()> {
        self.bytes[block].swap(0, Ordering::AcqRel);
        Ok(())
    }

    pub(super) fn byte_is_held(&self, block: usize) -> Result<bool> {
        // A read-modify-write, because the kernel never answers with what was.
        let holder = self.bytes[block].fetch_add(0, Ordering::AcqRel);
        Ok(holder != 0 && holder != self.me)
    }

    pub(super) fn settle_attach(&self) {}

    pub(super) fn leave(&self) {}
}
