//! Changes of many threads in one transaction.
//!
//! A thread that finds nobody at it leads: it takes the writer lock, and does then what has come together, its own change and
//! those of others, each in a nested transaction of its own. They share one generation of pages and one commit. It leads until
//! that is durable, so what comes meanwhile goes into the next one together: with the next leader at work during the
//! sync a commit held three changes rather than nineteen, and a fifth fewer were done.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use mapledb_os::combine::{Combiner, Lead};

use super::{Core, WriteTxn};
use crate::commit::{Durability, Reached};
use crate::error::{Error, Result};
use crate::mvcc::Wait;

/// The most changes in one commit: none waits for long, whatever comes after it.
const CHANGES_MAX: usize = 256;

/// Where threads meet whose changes go into one commit, and learn what became of that.
pub(super) type Changes = Combiner<WriteTxn, std::result::Result<(), Arc<Error>>>;

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
        if LED.with_borrow(|led| led.contains(&Arc::as_ptr(self))) {
            return Err(Error::BatchWithin.into());
        }
        if self.attached.is_forked() {
            // The meeting place may have been inherited locked.
            return Err(Error::AfterFork.into());
        }
        let (mut change, mut answer) = (Some(change), None);
        let outcome = self.changes.submit(
            &mut |txn: &mut WriteTxn| answer = change.take().map(|change| alone(txn, change)),
            |lead| self.lead_changes(lead),
        );
        match (answer, outcome) {
            (Some(Err(panic)), _) => resume_unwind(panic),
            (Some(Ok(Err(error))), _) => Err(error),
            (Some(Ok(Ok(answer))), Some(Ok(()))) => Ok(answer),
            (_, Some(Err(cause))) => Err(Error::BatchFailed { cause }.into()),
            (_, _) => Err(Error::BatchFailed { cause: Arc::new(Error::TxnUnusable) }.into()),
        }
    }

    /// Does what is waiting, in one transaction, and answers when it is durable.
    fn lead_changes(self: &Arc<Core>, mut lead: Lead<'_, WriteTxn, std::result::Result<(), Arc<Error>>>) {
        let _leading = Leading::of(self);
        let mut txn = match self.begin_write_at_last() {
            Ok(txn) => txn,
            Err(error) => return lead.take(1).end(&Err(Arc::new(error))),
        };
        lead.stand_back();
        let mut batch = lead.take(CHANGES_MAX);
        batch.run(&mut txn);
        // What one change asks for is not for the others.
        txn.durability = match self.options.durability {
            Durability::Sync | Durability::Group => Durability::Group,
            Durability::Relaxed => Durability::Relaxed,
        };
        let (began, is_changed) = (Instant::now(), txn.is_changed);
        let landed = txn.finish();
        let landed = landed.and_then(|(core, txnid, reached)| match reached {
            Reached::Appended => core.acknowledge(txnid),
            Reached::Published | Reached::Durable => Ok(()),
        });
        if is_changed && landed.is_ok() {
            self.attached.counters().whole_commits.count_since(began);
        }
        // Those who are told have come back by the time the next one leads.
        batch.end(&landed.map_err(Arc::new));
        drop(lead);
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

/// What became of a change: its answer, or how it panicked.
type Outcome<R, E> = std::result::Result<std::result::Result<R, E>, Box<dyn Any + Send>>;

/// Does one of several changes so that it can fail, or panic, without harm to the others.
fn alone<R, E: From<Error>>(
    txn: &mut WriteTxn,
    change: impl FnOnce(&mut WriteTxn) -> std::result::Result<R, E>,
) -> Outcome<R, E> {
    let mut nested = match txn.nested() {
        Ok(nested) => nested,
        Err(error) => return Ok(Err(error.into())),
    };
    // What a panic leaves half changed is taken back with the nested transaction.
    let answer = match catch_unwind(AssertUnwindSafe(|| change(&mut nested)))? {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    Ok(nested.commit().map(|()| answer).map_err(E::from))
}
