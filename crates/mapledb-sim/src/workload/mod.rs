//! Random transactions, the same for the engine and for the model.
//!
//! A transaction is drawn from the seed, its ordinal and the model's state, and from nothing else: what a process did
//! with the engine can be told again by another one, with the model alone. Each operation carries the answer that the
//! model gives.
//!
//! Here are runs, transactions and their levels; what they do is in `acts`, and to what a table holds in `entries` and
//! `pairs`.

mod acts;
mod bytes;
mod entries;
mod pairs;

use std::io;

use mapledb::{Durability, Env, Error, ReadTxn, Result, WriteTxn};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use self::acts::Act;
use crate::model::State;

/// What a run's transactions are like: drawn once for each seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The size of a page.
    pub page_size: usize,
    /// Whether every durable commit syncs its pages first.
    pub two_syncs: bool,
    /// The quota, if there is one.
    pub quota_bytes: Option<u64>,
    /// The share of relaxed commits, in percent.
    pub relaxed_percent: u32,
    /// How many keys there are to choose from.
    pub keys: u32,
    /// The longest ordinary value.
    pub value_max: usize,
    /// The longest of the rare long ones.
    pub large_max: usize,
    /// The most operations in a transaction.
    pub ops_max: u32,
    /// How many transactions.
    pub transactions: u32,
    /// How many commits a parked reader may be behind before it is evicted, if that is minded.
    #[serde(default)]
    pub behind_max: Option<u64>,
}

impl Profile {
    /// Draws a profile.
    pub fn random(rng: &mut SmallRng) -> Profile {
        let page_size = [4096, 4096, 4096, 4096, 8192, 16384, 65536][rng.random_range(0..7)];
        let large = [0, 0, 20_000, 20_000, 90_000, 400_000][rng.random_range(0..6)];
        let value_max = [8, 40, 200, 1200][rng.random_range(0..4)];
        Profile {
            page_size,
            two_syncs: rng.random_ratio(1, 4),
            quota_bytes: rng.random_ratio(1, 6).then(|| rng.random_range(300_000..1_000_000)),
            relaxed_percent: [0, 30, 30, 60, 90][rng.random_range(0..5)],
            keys: [20, 200, 200, 2000][rng.random_range(0..4)],
            value_max,
            large_max: large,
            ops_max: [2, 8, 8, 40, 300][rng.random_range(0..5)],
            transactions: rng.random_range(15..40),
            behind_max: [None, None, Some(2), Some(8)][rng.random_range(0..4)],
        }
    }

    /// The profile of a seed.
    pub fn of(seed: u64) -> Profile {
        Profile::random(&mut SmallRng::seed_from_u64(seed))
    }
}

/// What comes next in the life of an environment.
#[derive(Clone, Debug)]
pub enum Step {
    /// A transaction; the state is the one after it, should it be committed.
    Transact(Transaction, State),
    /// A barrier: `Env::sync`.
    Sync,
    /// A clean close, and an opening.
    Reopen,
}

impl Step {
    /// Draws the step with this ordinal on top of `base`.
    pub fn draw(seed: u64, ordinal: u64, base: &State, profile: &Profile) -> Step {
        match rng(seed, ordinal, 1).random_range(0..20) {
            0 | 1 => Step::Sync,
            2 => Step::Reopen,
            _ => {
                let (transaction, after) = Transaction::draw(seed, ordinal, base, profile);
                Step::Transact(transaction, after)
            }
        }
    }
}

/// One transaction: its operations in order.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Which of the run's transactions it is.
    pub ordinal: u64,
    /// How durable its commit is.
    pub durability: Durability,
    /// Whether it is given up rather than committed.
    pub gives_up: bool,
    /// What its commit leaves.
    sequel: Sequel,
    operations: Vec<Operation>,
}

/// What a commit leaves in the hands of whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    Nothing,
    /// A read of what it wrote.
    Read,
    /// The next transaction.
    Write,
}

/// A commit that has come to be.
#[derive(Debug)]
pub struct Committed {
    /// Its number; that of an earlier one if nothing was changed.
    pub txnid: u64,
    /// A read of what it wrote, if it goes on so.
    pub read: Option<ReadTxn>,
    /// The next transaction, if it goes on with that under the same writer lock.
    pub next: Option<WriteTxn>,
}

#[derive(Clone, Debug)]
struct Operation {
    /// Whether `between` is called before it.
    after_a_pause: bool,
    act: Act,
}

/// A nested transaction, or what is done after a savepoint.
#[derive(Clone, Debug)]
struct Level {
    is_savepoint: bool,
    /// Whether it is committed or released, rather than aborted or rolled back.
    is_kept: bool,
    operations: Vec<Operation>,
}

/// The deepest nesting.
const DEPTH_MAX: u32 = 3;

fn rng(seed: u64, ordinal: u64, salt: u64) -> SmallRng {
    let mixed = seed ^ ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.rotate_left(48);
    SmallRng::seed_from_u64(mixed)
}

impl Transaction {
    /// Draws the transaction with this ordinal on top of `base`. Answers the state after it, too.
    pub fn draw(seed: u64, ordinal: u64, base: &State, profile: &Profile) -> (Transaction, State) {
        let mut rng = rng(seed, ordinal, 2);
        let mut state = base.clone();
        let is_relaxed = rng.random_ratio(profile.relaxed_percent, 100);
        let durability = match (is_relaxed, rng.random()) {
            (true, _) => Durability::Relaxed,
            (false, true) => Durability::Group,
            (false, false) => Durability::Sync,
        };
        let gives_up = rng.random_ratio(1, 6);
        let sequel = match rng.random_range(0..8) {
            0 => Sequel::Read,
            1 => Sequel::Write,
            _ => Sequel::Nothing,
        };
        let count = rng.random_range(1..=profile.ops_max);
        let back = rng.random_ratio(1, 10).then(|| Act::draw_back(&mut state, &mut rng)).flatten();
        let mut operations: Vec<_> =
            back.into_iter().map(|act| Operation { after_a_pause: false, act }).collect();
        operations.append(&mut Operation::draw(count, 0, &mut state, profile, &mut rng));
        state.settle_snapshots();
        (Transaction { ordinal, durability, gives_up, sequel, operations }, state)
    }

    /// Performs the operations. `between` is called now and then between two of them.
    ///
    /// # Errors
    /// The engine's, or [`Error::Input`] where the engine's answer is not the model's; the transaction is then to be
    /// dropped.
    pub fn perform(&self, txn: &mut WriteTxn, between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        perform(&self.operations, txn, between)
    }

    /// Whether its commit begins the next transaction.
    pub fn goes_on_writing(&self) -> bool {
        matches!(self.sequel, Sequel::Write)
    }

    /// Commits what has been performed.
    ///
    /// # Errors
    /// The engine's.
    pub fn commit(&self, env: &Env, txn: WriteTxn) -> Result<Committed> {
        Ok(match self.sequel {
            Sequel::Nothing => Committed { txnid: txn.commit()?, read: None, next: None },
            Sequel::Read => {
                let read = txn.commit_and_read()?;
                Committed { txnid: read.txnid(), read: Some(read), next: None }
            }
            Sequel::Write => {
                let next = txn.commit_and_continue()?;
                // Nobody else has committed: the lock was never given up.
                Committed { txnid: env.read()?.txnid(), read: None, next: Some(next) }
            }
        })
    }
}

/// Begins a write, now and then as the sequel of a read: as often as `turn` says.
///
/// # Errors
/// The engine's.
pub fn begin(env: &Env, turn: u64) -> Result<WriteTxn> {
    if turn.is_multiple_of(5) {
        // Somebody may have written in between: then there is nothing to go on from.
        if let Some(txn) = env.read()?.upgrade()? {
            return Ok(txn);
        }
    }
    env.write()
}

fn perform(
    operations: &[Operation],
    txn: &mut WriteTxn,
    between: &mut dyn FnMut() -> io::Result<()>,
) -> Result<()> {
    for operation in operations {
        if operation.after_a_pause {
            between().map_err(|error| Error::Input { what: error.to_string() })?;
        }
        operation.act.perform(txn, between)?;
    }
    Ok(())
}

impl Operation {
    /// Draws so many operations, of a transaction at this depth.
    fn draw(
        count: u32,
        depth: u32,
        state: &mut State,
        profile: &Profile,
        rng: &mut SmallRng,
    ) -> Vec<Operation> {
        let operations = (0..count).map(|_| {
            let after_a_pause = rng.random_ratio(1, 8.max(count / 2));
            let act = match depth < DEPTH_MAX && rng.random_ratio(1, 16) {
                true => Act::Level(Level::draw(count.min(20), depth + 1, state, profile, rng)),
                false => Act::draw(state, profile, rng),
            };
            Operation { after_a_pause, act }
        });
        operations.collect()
    }
}

impl Level {
    fn draw(count: u32, depth: u32, state: &mut State, profile: &Profile, rng: &mut SmallRng) -> Level {
        let (is_savepoint, is_kept) = (rng.random(), rng.random());
        let mut inner = state.clone();
        let operations = Operation::draw(rng.random_range(1..=count), depth, &mut inner, profile, rng);
        if is_kept {
            *state = inner;
        }
        Level { is_savepoint, is_kept, operations }
    }

    fn perform(&self, txn: &mut WriteTxn, between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        if !self.is_savepoint {
            let mut nested = txn.nested()?;
            perform(&self.operations, &mut nested, between)?;
            return if self.is_kept { nested.commit() } else { nested.abort() };
        }
        let savepoint = txn.savepoint()?;
        perform(&self.operations, txn, between)?;
        if self.is_kept { txn.release(&savepoint) } else { txn.rollback_to(&savepoint) }
    }
}

/// A disagreement between engine and model is reported as an error of the transaction's.
fn agree(agrees: bool, what: &str) -> Result<()> {
    match agrees {
        true => Ok(()),
        false => Err(Error::Input { what: format!("engine and model disagree on {what}") }),
    }
}
