//! Random transactions, the same for the engine and for the model.
//!
//! A transaction is drawn from the seed, its ordinal and the model's state, and from nothing else: what a process did
//! with the engine can be told again by another one, with the model alone. Each operation carries the answer that the
//! model gives.

use std::io;
use std::sync::Arc;

use mapledb::{Durability, Error, Result, Table, WriteTable, WriteTxn};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::model::{State, TableState};

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const SNAPSHOTS: [&str; 3] = ["one", "two", "three"];

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
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
struct Operation {
    /// Whether `between` is called before it.
    after_a_pause: bool,
    act: Act,
}

/// An operation and the answer it must have.
#[derive(Clone, Debug)]
enum Act {
    DropTable { name: &'static str, was_there: bool },
    RenameTable { from: &'static str, to: &'static str, outcome: Renaming },
    NameState { name: &'static str, is_new: bool },
    DropSnapshot { name: &'static str, was_there: bool },
    RollBack { name: &'static str },
    RollTableBack { name: &'static str, table: String, entries: u64 },
    OnEntries { table: &'static str, act: EntryAct },
    Level(Level),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renaming {
    Done,
    Missing,
    Exists,
}

#[derive(Clone, Debug)]
enum EntryAct {
    Put { key: Vec<u8>, value: Arc<[u8]> },
    Reserve { key: Vec<u8>, value: Arc<[u8]> },
    Delete { key: Vec<u8>, was_there: bool },
    DeleteRange { low: Vec<u8>, high: Vec<u8>, gone: u64 },
    Clear,
    Sequence { count: u64, first: u64 },
    Get { key: Vec<u8>, value: Option<Arc<[u8]>> },
}

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
        let count = rng.random_range(1..=profile.ops_max);
        let back = rng.random_ratio(1, 10).then(|| Act::draw_back(&mut state, &mut rng)).flatten();
        let mut operations: Vec<_> =
            back.into_iter().map(|act| Operation { after_a_pause: false, act }).collect();
        operations.append(&mut Operation::draw(count, 0, &mut state, profile, &mut rng));
        state.settle_snapshots();
        (Transaction { ordinal, durability, gives_up, operations }, state)
    }

    /// Performs the operations. `between` is called now and then between two of them.
    ///
    /// # Errors
    /// The engine's, or [`Error::Input`] where the engine's answer is not the model's; the transaction is then to be
    /// dropped.
    pub fn perform(&self, txn: &mut WriteTxn, between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        perform(&self.operations, txn, between)
    }
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

impl Act {
    fn draw(state: &mut State, profile: &Profile, rng: &mut SmallRng) -> Act {
        if rng.random_ratio(1, 40) {
            return Act::draw_on_tables(state, rng);
        }
        if rng.random_ratio(1, 20) {
            return Act::draw_on_snapshots(state, rng);
        }
        let table = if rng.random_ratio(2, 3) { "" } else { NAMES[rng.random_range(0..2)] };
        let model = state.tables.entry(table.to_string()).or_default();
        Act::OnEntries { table, act: EntryAct::draw(model, profile, rng) }
    }

    /// Everything becomes what it is in a snapshot, as the first thing that a transaction does.
    fn draw_back(state: &mut State, rng: &mut SmallRng) -> Option<Act> {
        let name = SNAPSHOTS[rng.random_range(0..SNAPSHOTS.len())];
        state.tables = (**state.snapshots.get(name)?.as_ref()?).clone();
        Some(Act::RollBack { name })
    }

    fn draw_on_snapshots(state: &mut State, rng: &mut SmallRng) -> Act {
        let name = SNAPSHOTS[rng.random_range(0..SNAPSHOTS.len())];
        let held = state.snapshots.get(name).cloned().flatten();
        match (rng.random_range(0..4), held) {
            (0, Some(held)) => {
                let at = rng.random_range(0..held.len());
                let (table, back) = held
                    .iter()
                    .nth(at)
                    .map(|(name, table)| (name.clone(), table.clone()))
                    .unwrap_or_default();
                let entries = back.entries.len() as u64;
                state.tables.insert(table.clone(), back);
                Act::RollTableBack { name, table, entries }
            }
            (1, _) => Act::DropSnapshot { name, was_there: state.snapshots.remove(name).is_some() },
            _ => {
                let is_new = !state.snapshots.contains_key(name);
                state.snapshots.entry(name.to_string()).or_insert(None);
                Act::NameState { name, is_new }
            }
        }
    }

    fn draw_on_tables(state: &mut State, rng: &mut SmallRng) -> Act {
        let name = NAMES[rng.random_range(0..NAMES.len())];
        if rng.random() {
            return Act::DropTable { name, was_there: state.tables.remove(name).is_some() };
        }
        let to = NAMES[rng.random_range(0..NAMES.len())];
        let outcome = match (state.tables.contains_key(name), state.tables.contains_key(to)) {
            (false, _) => Renaming::Missing,
            (true, true) => Renaming::Exists,
            (true, false) => Renaming::Done,
        };
        if outcome == Renaming::Done {
            let table = state.tables.remove(name).unwrap_or_default();
            state.tables.insert(to.to_string(), table);
        }
        Act::RenameTable { from: name, to, outcome }
    }

    fn perform(&self, txn: &mut WriteTxn, between: &mut dyn FnMut() -> io::Result<()>) -> Result<()> {
        match self {
            Act::Level(level) => level.perform(txn, between),
            Act::DropTable { name, was_there } => {
                agree(txn.drop_table(name)? == *was_there, "whether a dropped table was there")
            }
            Act::RenameTable { from, to, outcome } => {
                let found = match txn.rename_table(from, to) {
                    Ok(()) => Renaming::Done,
                    Err(Error::TableMissing { .. }) => Renaming::Missing,
                    Err(Error::TableExists { .. }) => Renaming::Exists,
                    Err(other) => return Err(other),
                };
                agree(found == *outcome, "whether a table may be renamed")
            }
            Act::NameState { name, is_new } => {
                let found = match txn.create_snapshot(name) {
                    Ok(()) => true,
                    Err(Error::SnapshotExists { .. }) => false,
                    Err(other) => return Err(other),
                };
                agree(found == *is_new, "whether a snapshot may have a name")
            }
            Act::DropSnapshot { name, was_there } => {
                agree(txn.drop_snapshot(name)? == *was_there, "whether a dropped snapshot was there")
            }
            Act::RollBack { name } => txn.roll_back(name),
            Act::RollTableBack { name, table, entries } => {
                let table = Some(table.as_str()).filter(|table| !table.is_empty());
                agree(
                    txn.roll_back_table(name, table)? == *entries,
                    "how many entries a table has in a snapshot",
                )
            }
            Act::OnEntries { table, act } => {
                let table = match *table {
                    "" => txn.main(),
                    name => txn.open_table(&Table::<[u8], [u8]>::new(name))?,
                };
                act.perform(table)
            }
        }
    }
}

impl EntryAct {
    fn draw(model: &mut TableState, profile: &Profile, rng: &mut SmallRng) -> EntryAct {
        match rng.random_range(0..100) {
            0..60 => {
                let (key, value) = (key(profile, rng), value(profile, rng));
                model.entries.insert(key.clone(), Arc::clone(&value));
                EntryAct::Put { key, value }
            }
            60..84 => {
                let key = some_key(model, profile, rng);
                let was_there = model.entries.remove(&key).is_some();
                EntryAct::Delete { key, was_there }
            }
            84..88 => {
                let (mut low, mut high) = (key(profile, rng), key(profile, rng));
                if high < low {
                    std::mem::swap(&mut low, &mut high);
                }
                let before = model.entries.len();
                model.entries.retain(|key, _| !(low <= *key && *key < high));
                EntryAct::DeleteRange { low, high, gone: (before - model.entries.len()) as u64 }
            }
            88..89 => {
                model.entries.clear();
                EntryAct::Clear
            }
            89..92 => {
                let count = rng.random_range(1..5);
                let first = model.sequence;
                model.sequence += count;
                EntryAct::Sequence { count, first }
            }
            92..95 => {
                let (key, value) = (key(profile, rng), value(profile, rng));
                model.entries.insert(key.clone(), Arc::clone(&value));
                EntryAct::Reserve { key, value }
            }
            _ => {
                let key = some_key(model, profile, rng);
                let value = model.entries.get(&key).cloned();
                EntryAct::Get { key, value }
            }
        }
    }

    fn perform(&self, mut table: WriteTable<'_, [u8], [u8]>) -> Result<()> {
        match self {
            EntryAct::Put { key, value } => table.put(&key[..], value),
            EntryAct::Reserve { key, value } => {
                table.reserve(&key[..], value.len() as u64, |room| room.copy_from_slice(value))
            }
            EntryAct::Delete { key, was_there } => {
                agree(table.delete(&key[..])? == *was_there, "whether a deleted key was there")
            }
            EntryAct::DeleteRange { low, high, gone } => {
                agree(table.delete_range(&low[..]..&high[..])? == *gone, "how many entries a range had")
            }
            EntryAct::Clear => table.clear(),
            EntryAct::Sequence { count, first } => {
                agree(table.next_sequence(*count)? == *first, "the next number of a sequence")
            }
            EntryAct::Get { key, value } => agree(table.get(&key[..])? == value.as_deref(), "a value"),
        }
    }
}

/// A disagreement between engine and model is reported as an error of the transaction's.
fn agree(agrees: bool, what: &str) -> Result<()> {
    match agrees {
        true => Ok(()),
        false => Err(Error::Input { what: format!("engine and model disagree on {what}") }),
    }
}

fn key(profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    let number = rng.random_range(0..profile.keys);
    let mut key = number.wrapping_mul(0x9e37_79b9).to_be_bytes()[..1 + (number % 4) as usize].to_vec();
    if number.is_multiple_of(5) {
        // Long common prefixes, up to the longest key that there may be.
        let len = [30, 200, profile.page_size / 4 - 8][(number as usize / 5) % 3];
        let mut long = vec![b'p'; len.min(1000)];
        long.append(&mut key);
        key = long;
    }
    key.extend_from_slice(&number.to_le_bytes());
    key.truncate(profile.page_size / 4);
    key
}

/// A key that is there, mostly.
fn some_key(model: &TableState, profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    if model.entries.is_empty() || rng.random_ratio(1, 5) {
        return key(profile, rng);
    }
    let drawn = key(profile, rng);
    let found = model.entries.range(drawn..).next().or_else(|| model.entries.iter().next());
    found.map(|(key, _)| key.clone()).unwrap_or_default()
}

fn value(profile: &Profile, rng: &mut SmallRng) -> Arc<[u8]> {
    let is_large = profile.large_max > 0 && rng.random_ratio(1, 12);
    let len = rng.random_range(0..=if is_large { profile.large_max } else { profile.value_max });
    let mut value = vec![0; len];
    match rng.random_range(0..8) {
        // Runs of one byte, so that torn blocks look alike.
        0 => value.fill(rng.random()),
        _ => rng.fill(&mut value[..]),
    }
    value.into()
}
