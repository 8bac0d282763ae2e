//! Waiting: how long, and for a newer commit of any process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_os::futex;
use mapledb_os::sync::{Ordering, fence};

use super::Result;
use super::heads;
use super::member::Member;

/// How long to wait for something that another holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Try,
    /// At most this long.
    For(Duration),
    /// Until it is there.
    Forever,
}

impl Wait {
    /// The moment up to which to wait; `None` for ever, or for longer than a clock counts.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Wait::Try => Some(Instant::now()),
            Wait::For(time) => Instant::now().checked_add(time),
            Wait::Forever => None,
        }
    }
}

impl Member {
    /// The txnid of the published head.
    pub(super) fn published_txnid(&self) -> Result<u64> {
        loop {
            let mut head = heads::Head::NONE;
            heads::copy_published(&self.memory, &mut head);
            fence(Ordering::Acquire);
            if heads::still_published(&self.memory, &head)? {
                return Ok(head.txnid());
            }
        }
    }

    /// Shows readers the heads up to `seq`, and wakes who waits for them. The caller holds the writer lock, or
    /// publishes in its stead. Calls the system only if somebody waits.
    pub(super) fn publish_up_to(&self, seq: u64) -> Result<()> {
        heads::publish_up_to(&self.memory, seq)?;
        let header = self.memory.header();
        header.wake.fetch_add(1, Ordering::AcqRel);
        // The publication comes before this, the look for waiters after it; a waiter counts itself, fences, and
        // looks at the publication. One sees the other.
        fence(Ordering::SeqCst);
        if header.wake_waiters.load(Ordering::Relaxed) > 0 {
            futex::wake_all(&header.wake);
        }
        Ok(())
    }

    /// Sleeps until a head newer than `txnid` is published by any process. False if it was not in time.
    pub(super) fn wait_newer(self: &Arc<Member>, txnid: u64, wait: Wait) -> Result<bool> {
        self.check()?;
        let deadline = wait.deadline();
        if self.published_txnid()? > txnid {
            return Ok(true);
        }
        let _counted = Counted::new(self)?;
        loop {
            let wake = self.memory.header().wake.load(Ordering::Acquire);
            self.check()?;
            if self.published_txnid()? > txnid {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            futex::wait(&self.memory.header().wake, wake, left);
        }
    }
}

/// A thread's entry among those that wait for a commit.
struct Counted<'a>(&'a Member);

impl Counted<'_> {
    /// Counts the thread in the header first: if the process dies in between, the header counts one too many,
    /// which costs a needless wake-up, and never one too few.
    fn new(member: &Member) -> Result<Counted<'_>> {
        let block = member.memory.block(member.primary)?;
        member.memory.header().wake_waiters.fetch_add(1, Ordering::Relaxed);
        block.waiting.fetch_add(1, Ordering::Relaxed);
        // See `publish_up_to`.
        fence(Ordering::SeqCst);
        Ok(Counted(member))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let member = self.0;
        if member.is_forked() || member.has_left() {
            return;
        }
        if let Ok(block) = member.memory.block(member.primary) {
            block.waiting.fetch_sub(1, Ordering::Relaxed);
            member.memory.header().wake_waiters.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
