//! Operations on tables and snapshots as a whole; those on what a table holds are [`entries`](super::entries) and
//! [`pairs`](super::pairs).

use std::io;

use mapledb::{Duplicates, Error, KeyOrder, Result, Table, WriteTxn};
use rand::Rng;
use rand::rngs::SmallRng;

use super::entries::EntryAct;
use super::pairs::PairAct;
use super::{Level, Profile, agree, bytes};
use crate::model::{State, TableState};

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const SNAPSHOTS: [&str; 3] = ["one", "two", "three"];

/// An operation and the answer it must have.
#[derive(Clone, Debug)]
pub(super) enum Act {
    DropTable { name: &'static str, was_there: bool },
    RenameTable { from: &'static str, to: &'static str, outcome: Renaming },
    NameState { name: &'static str, is_new: bool },
    DropSnapshot { name: &'static str, was_there: bool },
    RollBack { name: &'static str },
    RollTableBack { name: &'static str, table: String, entries: u64 },
    OnEntries { table: &'static str, order: KeyOrder, act: EntryAct },
    OnPairs { table: &'static str, order: KeyOrder, kind: Duplicates, act: PairAct },
    Level(Level),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renaming {
    Done,
    Missing,
    Exists,
}

impl Act {
    pub(super) fn draw(state: &mut State, profile: &Profile, rng: &mut SmallRng) -> Act {
        if rng.random_ratio(1, 40) {
            return Act::draw_on_tables(state, rng);
        }
        if rng.random_ratio(1, 20) {
            return Act::draw_on_snapshots(state, rng);
        }
        let table = if rng.random() { "" } else { NAMES[rng.random_range(0..3)] };
        let model = state.tables.entry(table.to_string()).or_insert_with(|| Act::draw_new(rng));
        let order = model.order();
        match &mut model.pairs {
            None => Act::OnEntries { table, order, act: EntryAct::draw(model, profile, rng) },
            Some(pairs) => {
                let kind = pairs.kind();
                let act = PairAct::draw(pairs, &mut model.sequence, profile, rng);
                Act::OnPairs { table, order, kind, act }
            }
        }
    }

    /// What is made where there is nothing yet: most often a multimap.
    fn draw_new(rng: &mut SmallRng) -> TableState {
        let new = match rng.random_ratio(2, 3) {
            true => TableState::multimap(bytes::duplicates(rng)),
            false => TableState::default(),
        };
        new.in_order(bytes::order(rng))
    }

    /// Everything becomes what it is in a snapshot, as the first thing that a transaction does.
    pub(super) fn draw_back(state: &mut State, rng: &mut SmallRng) -> Option<Act> {
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
                let entries = back.len();
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

    pub(super) fn perform(
        &self,
        txn: &mut WriteTxn,
        between: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<()> {
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
            Act::OnEntries { table, order, act } => {
                let table = match *table {
                    "" => txn.main(),
                    name => txn.open_table(&Table::<[u8], [u8]>::new(name).in_order(*order))?,
                };
                act.perform(table)
            }
            Act::OnPairs { table, order, kind, act } => {
                act.perform(txn.open_multimap_as(table, "bytes", "bytes", Some(*order), *kind)?)
            }
        }
    }
}
