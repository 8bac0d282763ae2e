//! Changes of many threads in one transaction.
//!
//! A thread that finds nobody at it leads: it takes the writer lock, and does then what has come together, its own change and
//! those of others, each in a nested transaction of its own. They share one generation of pages and one commit. It leads until
//! that is durable, so what comes meanwhile goes into the next one together; were it to pass the lead on before the sync, commits
//! would hold a few changes each.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use mapledb_os::combine::{Combiner, Lead};

use super::ending::complete;
use super::{Core, WriteTxn};
use crate::commit::{Durability, Reached};
use crate::error::{Error, Result};
use crate::mvcc::Wait;

/// The most changes in one commit: none waits for long, whatever comes after it.
const CHANGES_MAX: usize = 256;

/// Where threads meet whose changes go into one commit, and learn what became of that.
pub(super) type Changes = Combiner<Shared, std::result::Result<(), Arc<Error>>>;

/// The transaction that several changes go into.
pub(super) struct Shared {
    txn: WriteTxn,
    of: Mark,
}

/// What tells a transaction from every other.
type Mark = (*const Core, u64);

fn mark(txn: &WriteTxn) -> Mark {
    (Arc::as_ptr(&txn.core), txn.txnid())
}

impl Shared {
    fn new(txn: WriteTxn) -> Shared {
        let of = mark(&txn);
        Shared { txn, of }
    }

    /// Whether the transaction is still the one it was: who is lent one may put another in its place.
    fn is_intact(&self) -> bool {
        mark(&self.txn) == self.of
    }
}

thread_local! {
    /// The environments whose changes this thread is doing.
    static LED: RefCell<Vec<*const Core>> = const { RefCell::new(Vec::new()) };
}

/// While it lives this thread does the changes of an environment.
struct Leading;

impl Leading {
    fn of(core: &Arc<Core>) -> Leading {
        LED.with_borrow_mut(|led| led.push(Arc::as_ptr(core)));
        Leading
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        LED.with_borrow_mut(|led| led.pop());
    }
}

impl Core {
    /// Does `change` in a transaction that it shares with those of other threads.
    pub(crate) fn batch<R: Send, E: From<Error> + Send>(
        self: &Arc<Core>,
        change: impl FnOnce(&mut WriteTxn) -> std::result::Result<R, E> + Send,
    ) -> std::result::Result<R, E> {
        self.check_not_within().map_err(E::from)?;
        if self.attached.is_forked() {
            // The meeting place may have been inherited locked.
            return Err(Error::AfterFork.into());
        }
        let (mut change, mut outcome) = (Some(change), None);
        let committed = self.changes.submit(
            &mut |shared: &mut Shared| outcome = change.take().and_then(|change| alone(shared, change)),
            |lead| self.lead_changes(lead),
        );
        // Here, in its own thread: what converts an error, and drops an answer that nobody gets, is the caller's code too.
        match (outcome, committed) {
            (Some(Outcome::Panicked(panic)), _) => resume_unwind(panic),
            (Some(Outcome::Refused(error)), _) => Err(error),
            (Some(Outcome::Failed(error, _)), _) => Err(error.into()),
            (Some(Outcome::Done(answer)), Some(Ok(()))) => Ok(answer),
            (_, Some(Err(cause))) => Err(Error::BatchFailed { cause }.into()),
            (_, _) => Err(Error::BatchFailed { cause: Arc::new(Error::TxnUnusable) }.into()),
        }
    }

    /// Refuses what would wait for the writer lock in a change of a batch, which holds it.
    pub(super) fn check_not_within(&self) -> Result<()> {
        match LED.with_borrow(|led| led.contains(&std::ptr::from_ref(self))) {
            true => Err(Error::BatchWithin),
            false => Ok(()),
        }
    }

    /// Does what is waiting, in one transaction, and answers when it is durable.
    fn lead_changes(self: &Arc<Core>, mut lead: Lead<'_, Shared, std::result::Result<(), Arc<Error>>>) {
        let mut shared = match self.begin_write_at_last() {
            Ok(txn) => Shared::new(txn),
            Err(error) => return lead.take(1).end(&Err(Arc::new(error))),
        };
        lead.stand_back();
        let mut batch = lead.take(CHANGES_MAX);
        {
            let _leading = Leading::of(self);
            batch.run(&mut shared);
        }
        let landed = match shared.is_intact() {
            true => self.commit_changes(shared.txn),
            false => Err(Error::TxnUnusable),
        };
        // Those who are told have come back by the time the next one leads.
        batch.end(&landed.map_err(Arc::new));
        drop(lead);
    }

    fn commit_changes(&self, mut txn: WriteTxn) -> Result<()> {
        // What one change asks for is not for the others.
        txn.durability = match self.options.durability {
            Durability::Sync | Durability::Group => Durability::Group,
            Durability::Relaxed => Durability::Relaxed,
        };
        let (began, is_relaxed) = (txn.begin_ending(), txn.durability == Durability::Relaxed);
        let is_changed = txn.is_changed;
        let (core, txnid, reached) = txn.finish()?;
        let is_to_come = match reached {
            Reached::Appended => true,
            // Who has changed nothing is told what others have: that must be as durable.
            Reached::Durable => !is_changed && !is_relaxed,
            Reached::Published => false,
        };
        complete(&core, txnid, is_to_come, began)
    }

    /// Begins a write, however long that takes.
    pub(crate) fn begin_write_at_last(self: &Arc<Core>) -> Result<WriteTxn> {
        loop {
            if let Some(txn) = self.begin_write(Wait::Forever)? {
                return Ok(txn);
            }
        }
    }
}

/// What became of a change.
enum Outcome<R, E> {
    Done(R),
    /// By the change itself.
    Refused(E),
    /// By the engine, before the change or after it.
    Failed(Error, Option<R>),
    Panicked(Box<dyn Any + Send>),
}

/// Does one of several changes so that it can fail, or panic, without harm to the others; nothing if there is nothing left to
/// change.
fn alone<R, E>(
    shared: &mut Shared,
    change: impl FnOnce(&mut WriteTxn) -> std::result::Result<R, E>,
) -> Option<Outcome<R, E>> {
    if !shared.is_intact() {
        return None;
    }
    let mut nested = match shared.txn.nested() {
        Ok(nested) => nested,
        Err(error) => return Some(Outcome::Failed(error, None)),
    };
    // What a panic leaves half changed is taken back with the nested transaction.
    let answer = match catch_unwind(AssertUnwindSafe(|| change(&mut nested))) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Some(Outcome::Refused(error)),
        Err(panic) => return Some(Outcome::Panicked(panic)),
    };
    Some(match nested.commit() {
        Ok(()) => Outcome::Done(answer),
        Err(error) => Outcome::Failed(error, Some(answer)),
    })
}
