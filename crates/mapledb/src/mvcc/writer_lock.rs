//! The writer lock: one word in shared memory that names its holder's block and incarnation.
//!
//! **Plain version.** Free, it is taken by a compare-and-swap. Held, one draws a ticket, notes it in one's block, marks
//! the word, and sleeps. Who unlocks a marked word gives it to the smallest ticket of a living process by
//! writing that process's name into it: nobody can come in between, so nobody is overtaken by more than those
//! who drew tickets before.
//!
//! **Death.** A sleeper wakes every 20 ms and asks the kernel whether the holder's byte is still locked. If not, it
//! cleans the holder's block, which turns the word into an *orphan*; who takes an orphan learns that it takes over.
//!
//! **Giving up.** A waiter that runs out of time takes its ticket back; the unlocker marks a ticket *handed* before it
//! writes the name. One of the two compare-and-swaps on the ticket fails, so either the unlocker asks the next,
//! or the waiter knows that the lock is about to be its own. If the unlocker dies between the two, whoever cleans
//! up after it takes the mark off again.
//!
//! **Taking over.** Who took an orphan owes that what the dead one left is settled. Until it says so
//! ([`WriterGuard::has_settled`]) its unlocking makes the word an orphan again and hands it to nobody, since a
//! name in the word could not tell that there is something to settle: the next holder takes over in its turn.
//!
//! In front of it stands the process's own line ([`super::queue`]), so a process has one ticket at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_os::futex;
use mapledb_os::sync::{AtomicU32, Ordering, fence};

use super::blocks::{self, is_claimed};
use super::layout::*;
use super::member::Member;
use super::shared::Block;
use super::{Result, Wait};
use mapledb_os::planted;

/// How long a waiter sleeps before it asks whether the holder lives.
pub(super) const LIVENESS_TEST: Duration = Duration::from_millis(20);

/// The writer lock, held. It may be sent to and dropped in another thread; in a forked child it does nothing.
#[derive(Debug)]
pub struct WriterGuard {
    member: Arc<Member>,
    took_over: bool,
    is_settled: bool,
}

impl WriterGuard {
    /// Whether the holder before this one died with the lock: what it left unfinished must be undone.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// Takes note that nothing of the dead holder is left to be undone. Without it the lock becomes an orphan again,
    /// and its next holder takes over.
    pub fn has_settled(&mut self) {
        self.is_settled = true;
    }

    /// Whether this is a forked child of the process that took the lock: it must not be used here.
    pub fn is_forked(&self) -> bool {
        self.member.is_forked()
    }

    pub(super) fn belongs_to(&self, member: &Arc<Member>) -> bool {
        Arc::ptr_eq(&self.member, member)
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if self.member.is_forked() || self.member.has_left() {
            return;
        }
        match self.is_settled {
            true => self.member.unlock_writer(),
            false => self.member.orphan_writer(),
        }
        self.member.queue.leave();
    }
}

/// Whether to say in the word that somebody waits.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Set,
    Leave,
}

/// Who waits for the lock.
struct Waiting<'m> {
    name: WriterWord,
    block: &'m Block,
    ticket: u64,
}

/// How a lock was come by.
#[derive(Debug)]
pub(super) enum Taken {
    Regularly,
    FromTheDead,
}

impl Member {
    /// Takes the writer lock; `None` if it was not to be had in time.
    pub(super) fn lock_writer(self: &Arc<Member>, wait: Wait) -> Result<Option<WriterGuard>> {
        self.check()?;
        let deadline = wait.deadline();
        if !self.queue.enter(deadline) {
            return Ok(None);
        }
        let taken = self.take_writer(deadline);
        match taken {
            Ok(Some(taken)) => {
                let took_over = matches!(taken, Taken::FromTheDead);
                self.memory.counters().takeovers.add(u64::from(took_over));
                Ok(Some(WriterGuard { member: Arc::clone(self), took_over, is_settled: !took_over }))
            }
            Ok(None) => {
                self.queue.leave();
                Ok(None)
            }
            Err(e) => {
                self.queue.leave();
                Err(e)
            }
        }
    }

    /// Whether a thread of this process holds the writer lock.
    #[cfg(not(loom))]
    pub(super) fn holds_writer(&self) -> bool {
        self.writer_word(Ordering::Relaxed).unmarked() == self.name
    }

    fn word(&self) -> &AtomicU32 {
        &self.memory.header().writer
    }

    fn writer_word(&self, ordering: Ordering) -> WriterWord {
        WriterWord(self.word().load(ordering))
    }

    fn take_writer(&self, deadline: Option<Instant>) -> Result<Option<Taken>> {
        if let Some(taken) = self.attempt(Mark::Leave) {
            return Ok(Some(taken));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.settle_dead_writer()?;
            return Ok(self.attempt(Mark::Leave));
        }
        let counters = self.memory.counters();
        counters.writer_waits.add(1);
        let began = Instant::now();
        let taken = self.wait_for_writer(deadline);
        if cfg!(not(loom)) {
            counters.lock_waits.count_since(began);
        }
        taken
    }

    /// Takes the lock if it is free, orphaned, or has been handed to this process. Else `mark` says whether to
    /// mark the word, so that the holder looks for tickets when it unlocks.
    fn attempt(&self, mark: Mark) -> Option<Taken> {
        let mut word = self.writer_word(Ordering::Acquire);
        loop {
            let (new, answer) = match word.unmarked() {
                WriterWord::FREE => (word.passed_to(self.name), Some(Taken::Regularly)),
                WriterWord::ORPHAN => (word.passed_to(self.name), Some(Taken::FromTheDead)),
                name if name == self.name => return Some(Taken::Regularly),
                _ => match mark {
                    Mark::Set => (word.marked(), None),
                    Mark::Leave => return None,
                },
            };
            if new == word {
                return answer;
            }
            match self.word().compare_exchange(word.0, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return answer,
                Err(now) => word = WriterWord(now),
            }
        }
    }

    pub(super) fn wait_for_writer(&self, deadline: Option<Instant>) -> Result<Option<Taken>> {
        let block = self.memory.block(self.primary)?;
        let ticket = draw_ticket(&self.memory.header().next_ticket);
        block.ticket.store(ticket, Ordering::Release);
        // The ticket comes before this, the looks at the word after it; who frees the word does the same the
        // other way round. So the one sees the ticket or the other the free word, and no wake-up is lost.
        fence(Ordering::SeqCst);
        let withdraw =
            || block.ticket.compare_exchange(ticket, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        loop {
            let turn = block.turn.load(Ordering::Acquire);
            if let Some(taken) = self.attempt(Mark::Set) {
                block.ticket.store(0, Ordering::Release);
                return Ok(Some(taken));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) && withdraw() {
                return Ok(None);
            }
            let sleep = left.filter(|left| !left.is_zero()).unwrap_or(LIVENESS_TEST).min(LIVENESS_TEST);
            futex::wait(&block.turn, turn, Some(sleep));
            let was_called = block.turn.load(Ordering::Acquire) != turn;
            if !was_called
                && let Err(e) = self.settle_dead_writer()
                && withdraw()
            {
                return Err(e);
            }
        }
    }

    fn settle_dead_writer(&self) -> Result<()> {
        self.settle_dead(self.word(), self.writer_word(Ordering::Acquire))
    }

    /// Gives the lock up. Unmarked that is one compare-and-swap.
    pub(super) fn unlock_writer(&self) {
        let (held, free) = (self.name.0, WriterWord::FREE.0);
        let release = if planted("unordered_unlock") { Ordering::Relaxed } else { Ordering::Release };
        if self.word().compare_exchange(held, free, release, Ordering::Relaxed).is_ok() {
            return;
        }
        while let Some(Waiting { name, block, ticket }) = self.next_in_line() {
            let handed = ticket | TICKET_HANDED;
            let promise = block.ticket.compare_exchange(ticket, handed, Ordering::AcqRel, Ordering::Relaxed);
            if promise.is_ok() || planted("no_promise") {
                self.word().store(name.marked().0, Ordering::Release);
                return call(block);
            }
        }
        self.word().store(free, Ordering::Release);
        self.call_next();
    }

    /// Gives the lock up as if its holder had died.
    fn orphan_writer(&self) {
        blocks::make_orphan(self.word(), self.primary);
        self.call_next();
    }

    /// Wakes who is next in line to take the lock that has just become free. The caller's word to it is kept by nobody:
    /// another may be faster.
    fn call_next(&self) {
        // See `wait_for_writer`.
        fence(Ordering::SeqCst);
        if let Some(next) = self.next_in_line() {
            call(next.block);
        }
    }

    /// The living process that waits with the smallest ticket. What cannot be read or asked counts as not
    /// waiting: it wakes by itself after 20 ms.
    fn next_in_line(&self) -> Option<Waiting<'_>> {
        let mut waiting: Vec<_> = (0..self.memory.blocks().ok()?)
            .filter(|&index| index != self.primary)
            .filter_map(|index| Some((index, self.waiting_in(index)?)))
            .collect();
        waiting.sort_unstable_by_key(|(_, waiting)| waiting.ticket);
        let next = waiting.into_iter().find(|&(index, _)| self.files.byte_is_held(index).unwrap_or(false));
        next.map(|(_, waiting)| waiting)
    }

    /// The owner of block `index`, if it waits and has not been promised the lock. The same name before and behind the ticket
    /// is the name of who drew it.
    fn waiting_in(&self, index: usize) -> Option<Waiting<'_>> {
        let block = self.memory.block(index).ok().filter(|block| is_claimed(block))?;
        let name = blocks::name(index, block);
        let ticket = block.ticket.load(Ordering::Acquire);
        let is_open = ticket != 0 && ticket & TICKET_HANDED == 0;
        (is_open && name == blocks::name(index, block)).then_some(Waiting { name, block, ticket })
    }
}

/// Wakes the owner of `block` to look at the word.
fn call(block: &Block) {
    block.turn.fetch_add(1, Ordering::Release);
    futex::wake_one(&block.turn);
}

/// A ticket: never 0, and never marked, whatever the file holds.
fn draw_ticket(next: &mapledb_os::sync::AtomicU64) -> u64 {
    (next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & !TICKET_HANDED).max(1)
}
