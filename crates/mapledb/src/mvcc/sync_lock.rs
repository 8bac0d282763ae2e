//! The right to sync: one word in shared memory that names the process, one of whose threads makes a head durable.
//!
//! A meta may be in flight while the next writer is at work. So what keeps a second one from being stored (I8) is not the
//! writer lock but this. Who commits at `Sync` takes it after the writer lock and holds both; who *leads* a group of commits
//! holds this alone, and never waits for the writer lock meanwhile.
//!
//! **Flight.** Who leads takes the newest head along: it stores the head's txnid into `flight_txnid`, fences, and looks
//! whether the head is still the newest; if not, it does so again. A writer appends its head, fences, and looks who is in
//! flight before it reuses a page. Of the two fences one comes first: either the writer sees the flight, or who leads
//! sees the newer head. Until its own commit is appended the writer keeps the head it builds on anyway. So no page of
//! the head in flight is stored to before its sync has returned; then it is the durable one, and kept as that.
//!
//! **Waiting.** Whoever waits for its commit sleeps on the word until it is given up. All of them wake, since most
//! commits that waited are durable then; of the rest one leads. Nobody is in line here: a leader covers everything that
//! was appended before it began, so who waits is covered by the second flight from then at the latest, whoever leads
//! it.
//!
//! **Death.** As with the writer lock: a sleeper looks every 20 ms whether the holder lives, and whoever takes the word
//! of a dead one learns that it takes over. A sync of the dead one may have failed unnoticed.

use std::sync::Arc;
use std::time::Instant;

use mapledb_os::futex;
use mapledb_os::planted;
use mapledb_os::sync::{AtomicU32, Ordering, fence, load_after_fence};

use super::heads::{self, HeadRecord};
use super::layout::*;
use super::member::Member;
use super::writer_lock::LIVENESS_TEST;
use super::{Result, Wait, blocks};

/// The right to sync, held. It may be sent to and dropped in another thread; in a forked child it does nothing.
#[derive(Debug)]
pub struct SyncGuard {
    member: Arc<Member>,
    took_over: bool,
    is_settled: bool,
}

/// What becomes of one who waits for a commit.
#[derive(Debug)]
pub enum Turn {
    /// The commit is durable and published.
    Durable,
    /// A sync has failed, in some process. Whether the commit happened shows when the environment is opened again.
    Poisoned,
    /// Nobody is at it: the caller is to see to it that the newest head becomes durable.
    Lead(SyncGuard),
    /// The time is over.
    TimedOut,
}

/// What an attempt to take the right led to.
enum Attempt {
    Taken(SyncGuard),
    /// Another has it, and the word is marked.
    Held(WriterWord),
}

impl SyncGuard {
    /// Whether the holder before this one died with the right: what it was at must be settled.
    pub fn took_over(&self) -> bool {
        self.took_over && !self.is_settled
    }

    /// Takes note that nothing of the dead holder is left to be settled. Without it the right becomes an orphan again.
    pub fn has_settled(&mut self) {
        self.is_settled = true;
    }

    /// Takes the newest head along: no page of it is reused until this is dropped.
    pub fn take_head(&self) -> Result<HeadRecord> {
        self.member.check()?;
        self.member.take_head()
    }

    pub(super) fn belongs_to(&self, member: &Arc<Member>) -> bool {
        Arc::ptr_eq(&self.member, member)
    }
}

impl Drop for SyncGuard {
    fn drop(&mut self) {
        if self.member.is_forked() || self.member.has_left() {
            return;
        }
        match self.is_settled {
            true => self.member.unlock_sync(),
            false => self.member.orphan_sync(),
        }
    }
}

impl Member {
    fn sync_word(&self) -> &AtomicU32 {
        &self.memory.header().sync
    }

    /// Takes the right to sync, however long that takes.
    pub(super) fn lock_sync(self: &Arc<Member>) -> Result<SyncGuard> {
        loop {
            if let Turn::Lead(guard) = self.wait_for_sync(Wait::Forever, || Ok(None))? {
                return Ok(guard);
            }
        }
    }

    /// Waits until commit `txnid` is durable and published, or it is the caller's to make it so.
    pub(super) fn wait_durable(self: &Arc<Member>, txnid: u64, wait: Wait) -> Result<Turn> {
        self.wait_for_sync(wait, || match self.has_landed(txnid)? {
            true => Ok(Some(Turn::Durable)),
            false => Ok(self.is_poisoned().then_some(Turn::Poisoned)),
        })
    }

    /// Whether commit `txnid` is durable, and readers see it: a flight notes the one before the other, and may end between.
    pub(super) fn has_landed(&self, txnid: u64) -> Result<bool> {
        let is_durable = self.memory.header().durable_txnid.load(Ordering::Acquire) >= txnid;
        Ok(is_durable && self.published_txnid()? >= txnid)
    }

    /// Waits until `is_over` has an answer, or the right to sync is to be had.
    fn wait_for_sync(
        self: &Arc<Member>,
        wait: Wait,
        is_over: impl Fn() -> Result<Option<Turn>>,
    ) -> Result<Turn> {
        let deadline = wait.deadline();
        loop {
            self.check()?;
            if let Some(turn) = is_over()? {
                return Ok(turn);
            }
            let held = match self.attempt_sync() {
                // Another flight may have ended in between.
                Attempt::Taken(guard) => return Ok(is_over()?.unwrap_or(Turn::Lead(guard))),
                Attempt::Held(word) => word,
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Turn::TimedOut);
            }
            let sleep = left.unwrap_or(LIVENESS_TEST).min(LIVENESS_TEST);
            futex::wait(self.sync_word(), held.0, Some(sleep));
            if self.sync_word().load(Ordering::Relaxed) == held.0 {
                self.settle_dead(self.sync_word(), held)?;
            }
        }
    }

    /// Takes the right if it is free or orphaned. Else the word is marked, and answered as it is then: whoever gives it up
    /// wakes those who wait.
    fn attempt_sync(self: &Arc<Member>) -> Attempt {
        let mut word = WriterWord(self.sync_word().load(Ordering::Acquire));
        loop {
            let (new, takes) = match word.unmarked() {
                WriterWord::FREE | WriterWord::ORPHAN => (self.name, true),
                _ => (word.marked(), false),
            };
            if new == word {
                return Attempt::Held(word);
            }
            match self.sync_word().compare_exchange(word.0, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if takes => {
                    let took_over = word.unmarked() == WriterWord::ORPHAN;
                    self.memory.counters().takeovers.add(u64::from(took_over));
                    let member = Arc::clone(self);
                    return Attempt::Taken(SyncGuard { member, took_over, is_settled: !took_over });
                }
                Ok(_) => return Attempt::Held(new),
                Err(now) => word = WriterWord(now),
            }
        }
    }

    /// Gives the right up, and with it the head that was taken along. Calls the system only if somebody waits.
    pub(super) fn unlock_sync(&self) {
        // Release: who sees no flight sees what it has made durable and published.
        self.memory.header().flight_txnid.store(0, Ordering::Release);
        let held = WriterWord(self.sync_word().swap(WriterWord::FREE.0, Ordering::AcqRel));
        if held.is_marked() {
            futex::wake_all(self.sync_word());
        }
    }

    /// Gives the right up as if its holder had died. The head stays in flight.
    fn orphan_sync(&self) {
        blocks::make_orphan(self.sync_word(), self.primary);
        futex::wake_all(self.sync_word());
    }

    fn take_head(&self) -> Result<HeadRecord> {
        let flight = &self.memory.header().flight_txnid;
        loop {
            let record = heads::head(&self.memory)?;
            flight.store(record.head.txnid(), Ordering::Release);
            // The flight comes before this, the look at the newest head after it; `flight` has the same the other way round.
            if !planted("no_flight_fence") {
                fence(Ordering::SeqCst);
            }
            if load_after_fence(&self.memory.header().head_seq, Ordering::Acquire) == record.seq {
                return Ok(record);
            }
        }
    }

    /// The txnid of the head in flight; 0 if there is none. The caller holds the writer lock. Whoever is not seen here, takes
    /// along the head that is the newest now, or a later one.
    pub(super) fn flight(&self) -> u64 {
        fence(Ordering::SeqCst);
        match planted("no_flight_pin") {
            true => 0,
            false => load_after_fence(&self.memory.header().flight_txnid, Ordering::Acquire),
        }
    }
}
