//! Random transactions, on the engine and on the model at once.

use std::io;
use std::sync::Arc;

use mapledb::{Durability, Error, Result, Table, WriteTable, WriteTxn};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::model::{State, TableState};

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// What a run's transactions are like: drawn once for each seed.
#[derive(Clone, Debug)]
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
}

/// Draws how durable a commit is.
pub fn durability(profile: &Profile, rng: &mut SmallRng) -> Durability {
    if rng.random_ratio(profile.relaxed_percent, 100) { Durability::Relaxed } else { Durability::Sync }
}

/// Makes random changes. `between` is called now and then between two of them.
///
/// # Errors
/// The engine's; the transaction is then to be dropped.
pub fn change(
    txn: &mut WriteTxn,
    state: &mut State,
    profile: &Profile,
    rng: &mut SmallRng,
    between: &mut dyn FnMut() -> io::Result<()>,
) -> Result<()> {
    let ops = rng.random_range(1..=profile.ops_max);
    for _ in 0..ops {
        if rng.random_ratio(1, 8.max(ops / 2)) {
            between().map_err(|error| Error::Input { what: error.to_string() })?;
        }
        operation(txn, state, profile, rng)?;
    }
    Ok(())
}

fn operation(txn: &mut WriteTxn, state: &mut State, profile: &Profile, rng: &mut SmallRng) -> Result<()> {
    if rng.random_ratio(1, 40) {
        return on_tables(txn, state, rng);
    }
    let name = if rng.random_ratio(2, 3) { "" } else { NAMES[rng.random_range(0..2)] };
    let model = state.tables.entry(name.to_string()).or_default();
    let table = match name {
        "" => txn.main(),
        _ => txn.open_table(&Table::<[u8], [u8]>::new(name))?,
    };
    on_entries(table, model, profile, rng)
}

fn on_tables(txn: &mut WriteTxn, state: &mut State, rng: &mut SmallRng) -> Result<()> {
    let name = NAMES[rng.random_range(0..NAMES.len())];
    if rng.random() {
        let was_there = txn.drop_table(name)?;
        let expected = state.tables.remove(name).is_some();
        return agree(was_there == expected, "whether a dropped table was there");
    }
    let to = NAMES[rng.random_range(0..NAMES.len())];
    match txn.rename_table(name, to) {
        Ok(()) => {
            agree(name != to && !state.tables.contains_key(to), "that a table may be renamed")?;
            let table = state.tables.remove(name).unwrap_or_default();
            state.tables.insert(to.to_string(), table);
            Ok(())
        }
        Err(Error::TableMissing { .. }) => agree(!state.tables.contains_key(name), "that a table is missing"),
        Err(Error::TableExists { .. }) => agree(state.tables.contains_key(to), "that a table exists"),
        Err(other) => Err(other),
    }
}

fn on_entries(
    mut table: WriteTable<'_, [u8], [u8]>,
    model: &mut TableState,
    profile: &Profile,
    rng: &mut SmallRng,
) -> Result<()> {
    match rng.random_range(0..100) {
        0..60 => {
            let (key, value) = (key(profile, rng), value(profile, rng));
            table.put(&key[..], &value)?;
            model.entries.insert(key, value);
        }
        60..84 => {
            let key = some_key(model, profile, rng);
            let was_there = table.delete(&key[..])?;
            agree(was_there == model.entries.remove(&key).is_some(), "whether a deleted key was there")?;
        }
        84..88 => {
            let (mut low, mut high) = (key(profile, rng), key(profile, rng));
            if high < low {
                std::mem::swap(&mut low, &mut high);
            }
            let gone = table.delete_range(&low[..]..&high[..])?;
            let before = model.entries.len();
            model.entries.retain(|key, _| !(low <= *key && *key < high));
            agree(gone == (before - model.entries.len()) as u64, "how many entries a range had")?;
        }
        88..89 => {
            table.clear()?;
            model.entries.clear();
        }
        89..92 => {
            let count = rng.random_range(1..5);
            let first = table.next_sequence(count)?;
            agree(first == model.sequence, "the next number of a sequence")?;
            model.sequence += count;
        }
        92..95 => {
            let (key, value) = (key(profile, rng), value(profile, rng));
            table.reserve(&key[..], value.len() as u64, |room| room.copy_from_slice(&value))?;
            model.entries.insert(key, value);
        }
        _ => {
            let key = some_key(model, profile, rng);
            let found = table.get(&key[..])?;
            agree(found == model.entries.get(&key).map(|value| &value[..]), "a value")?;
        }
    }
    Ok(())
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
