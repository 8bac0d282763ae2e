//! An opened environment against the law.

use mapledb::{Env, Multimap, ReadMultimap, ReadTxn, Table};

use crate::model::{Bounds, History, Pairs, State, TableState};

/// Why the law is broken.
pub type Broken = String;

/// What the engine said, as a broken law.
pub fn said(what: &str) -> impl Fn(mapledb::Error) -> Broken {
    move |error| format!("{what}: {error}")
}

/// Holds what `env` shows against the law. Answers the index of the commit that was recovered, and the number it goes by
/// now.
///
/// # Errors
/// How the law is broken.
pub fn law(env: &Env, history: &History, bounds: &Bounds) -> Result<(usize, u64), Broken> {
    let txn = env.read().map_err(said("a read cannot begin"))?;
    let index = match history.find(txn.txnid()) {
        Some(index) => {
            let broken = |broken| format!("commit {index}: {broken}");
            holds(&txn, &history.at(index).state).map_err(broken)?;
            snapshots_hold(env, &history.at(index).state).map_err(broken)?;
            index
        }
        None => recognise(env, &txn, history, bounds)?,
    };
    if index < bounds.durable {
        return Err(format!(
            "commit {index} stands, and commit {} was acknowledged as durable",
            bounds.durable
        ));
    }
    if index < bounds.acked {
        return Err(format!("commit {index} stands, and commit {} was acknowledged", bounds.acked));
    }
    if index > bounds.reached {
        return Err(format!(
            "commit {index} stands, and only {} had reached its commit point",
            bounds.reached
        ));
    }
    let txnid = txn.txnid();
    drop(txn);
    checks_clean(env)?;
    Ok((index, txnid))
}

/// The commit that recovery has committed once more, under a number that none had before. Of several that made the same
/// state it is the one the law likes best.
fn recognise(env: &Env, txn: &ReadTxn, history: &History, bounds: &Bounds) -> Result<usize, Broken> {
    let txnid = txn.txnid();
    if txnid <= bounds.txnid_max {
        return Err(format!("transaction {txnid} stands, which was given out and never committed"));
    }
    let allowed = bounds.durable.max(bounds.acked)..=bounds.reached;
    let is_it = |index: &usize| {
        let state = &history.at(*index).state;
        holds(txn, state).and_then(|()| snapshots_hold(env, state)).is_ok()
    };
    let found = allowed.rev().find(is_it).or_else(|| (0..=history.last()).rev().find(is_it));
    found.ok_or_else(|| {
        let state = &history.at(bounds.reached).state;
        let broken = holds(txn, state).and_then(|()| snapshots_hold(env, state)).err().unwrap_or_default();
        format!("transaction {txnid} stands with a state that no commit made: {broken}")
    })
}

/// Whether the latest state lists the named snapshots of `state`, and each holds what it should.
///
/// # Errors
/// The first difference, or what the engine said.
pub fn snapshots_hold(env: &Env, state: &State) -> Result<(), Broken> {
    let listed = env.snapshots().map_err(said("snapshots cannot be listed"))?;
    let names: Vec<&String> = listed.iter().map(|snapshot| &snapshot.name).collect();
    if !names.iter().copied().eq(state.snapshots.keys()) {
        let expected: Vec<&String> = state.snapshots.keys().collect();
        return Err(format!("there are snapshots {names:?} and should be {expected:?}"));
    }
    for (name, held) in &state.snapshots {
        let txn = env.read_snapshot(name).map_err(said("a snapshot cannot be opened"))?;
        let tables = held.as_deref().cloned().unwrap_or_default();
        holds(&txn, &State { tables, snapshots: Default::default() })
            .map_err(|broken| format!("snapshot {name:?}: {broken}"))?;
    }
    Ok(())
}

/// The engine's own full check.
///
/// # Errors
/// The first thing it found.
pub fn checks_clean(env: &Env) -> Result<(), Broken> {
    let report = env.check(|_| ()).map_err(said("the check fails"))?;
    match (report.problems.first(), report.orders_missing.first()) {
        (None, None) => Ok(()),
        (Some(problem), _) => Err(format!("check: page {:?}: {}", problem.pgno, problem.what)),
        (None, Some(order)) => Err(format!("check: an order is missing: {order:?}")),
    }
}

/// Why a snapshot does not hold a state.
#[derive(Debug)]
pub enum Mismatch {
    /// It holds another one.
    Differs(Broken),
    /// The engine says that it cannot tell.
    Said(&'static str, mapledb::Error),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Differs(what) => f.write_str(what),
            Mismatch::Said(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// Whether a snapshot holds exactly `state`.
///
/// # Errors
/// The first difference, or what the engine said.
pub fn holds(txn: &ReadTxn, state: &State) -> Result<(), Broken> {
    compare(txn, state).map_err(|mismatch| mismatch.to_string())
}

/// Whether a snapshot holds `state` as far as it can be read: answers whether all of it can.
///
/// # Errors
/// The first wrong answer. An error is none.
pub fn holds_or_fails(txn: &ReadTxn, state: &State) -> Result<bool, Broken> {
    match compare(txn, state) {
        Ok(()) => Ok(true),
        Err(Mismatch::Said(..)) => Ok(false),
        Err(Mismatch::Differs(how)) => Err(how),
    }
}

/// Whether a snapshot holds exactly `state`, where an error of the engine's may be as good an answer.
///
/// # Errors
/// The first difference, or what the engine said.
pub fn compare(txn: &ReadTxn, state: &State) -> Result<(), Mismatch> {
    let said = |what| move |error| Mismatch::Said(what, error);
    let tables = txn.tables().map_err(said("tables cannot be listed"))?;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_deref().unwrap_or("")).collect();
    let expected: Vec<&str> = state.tables.keys().map(String::as_str).collect();
    if names != expected {
        return differs(format!("there are tables {names:?} and should be {expected:?}"));
    }
    for (info, (name, model)) in tables.iter().zip(&state.tables) {
        if info.sequence != model.sequence {
            return differs(format!(
                "table {name:?} is at {} of its sequence, not {}",
                info.sequence, model.sequence
            ));
        }
        if info.order != model.order().name() {
            return differs(format!("table {name:?} is in order {:?}, not {:?}", info.order, model.order()));
        }
        match &model.pairs {
            None if info.duplicates.is_none() => compare_entries(txn, name, model)?,
            Some(pairs) if info.duplicates == Some(pairs.kind()) => compare_pairs(txn, name, pairs)?,
            other => {
                let expected = other.as_ref().map(Pairs::kind);
                return differs(format!("table {name:?} has {:?}, not {expected:?}", info.duplicates));
            }
        }
    }
    Ok(())
}

fn differs(what: String) -> Result<(), Mismatch> {
    Err(Mismatch::Differs(what))
}

fn compare_entries(txn: &ReadTxn, name: &str, model: &TableState) -> Result<(), Mismatch> {
    let said = |what| move |error| Mismatch::Said(what, error);
    let table = match name {
        "" => txn.main(),
        name => txn.table(&Table::untyped(name)),
    };
    let table = table.map_err(said("a table cannot be opened"))?;
    if table.len() != model.entries.len() as u64 {
        return differs(format!("table {name:?} has {} entries, not {}", table.len(), model.entries.len()));
    }
    let asked: Vec<_> = model.iter().step_by(5).collect();
    let values =
        table.multi_get(asked.iter().map(|(key, _)| &**key)).map_err(said("keys cannot be looked up"))?;
    let differing = asked.iter().zip(&values).find(|((_, value), found)| **found != Some(&value[..]));
    if let Some(((key, _), _)) = differing {
        return differs(format!("table {name:?} differs at key {key:02x?}, looked up"));
    }
    let mut found = table.iter().map_err(said("a table cannot be read"))?;
    for (key, value) in model.iter() {
        match found.next() {
            Some(Ok((found_key, found_value))) if found_key == &*key && found_value == &value[..] => {}
            Some(Ok((found_key, _))) => {
                return differs(format!(
                    "table {name:?} differs at key {found_key:02x?}, where {key:02x?} should be"
                ));
            }
            Some(Err(error)) => return Err(Mismatch::Said("a table cannot be read", error)),
            None => return differs(format!("table {name:?} ends before key {key:02x?}")),
        }
    }
    if found.next().is_some() {
        return differs(format!("table {name:?} goes on after its last key"));
    }
    Ok(())
}

/// So many pairs apart are those that are asked for by their rank.
const ASKED_EVERY: usize = 29;

fn compare_pairs(txn: &ReadTxn, name: &str, pairs: &Pairs) -> Result<(), Mismatch> {
    let said = |what| move |error| Mismatch::Said(what, error);
    let unreadable = said("a multimap cannot be read");
    let table = txn.multimap(&Multimap::untyped(name)).map_err(said("a multimap cannot be opened"))?;
    if table.len() != pairs.len() {
        return differs(format!("multimap {name:?} has {} pairs, not {}", table.len(), pairs.len()));
    }
    let mut found = table.iter().map_err(unreadable)?;
    for (at, (key, dup)) in pairs.iter().enumerate() {
        match found.next() {
            Some(Ok(pair)) if pair == (&*key, &*dup) => {}
            Some(Ok(pair)) => {
                return differs(format!(
                    "multimap {name:?} differs at pair {at}: {pair:02x?}, where {:02x?} should be",
                    (key, dup)
                ));
            }
            Some(Err(error)) => return Err(unreadable(error)),
            None => return differs(format!("multimap {name:?} ends before pair {at}")),
        }
        if at.is_multiple_of(ASKED_EVERY) {
            let rank = table.rank(&key, &dup).map_err(unreadable)?;
            let back = table.nth(at as u64).map_err(unreadable)?;
            if rank != at as u64 || back != Some((&*key, &*dup)) {
                return differs(format!(
                    "pair {at} of multimap {name:?} has rank {rank}, at which is {back:02x?}"
                ));
            }
        }
    }
    if found.next().is_some() {
        return differs(format!("multimap {name:?} goes on after its last pair"));
    }
    for key in pairs.keys() {
        compare_duplicates(&table, name, pairs, &key)?;
    }
    Ok(())
}

/// The duplicates of one key: how many, and all of them as the slices that bulk reads hand out.
fn compare_duplicates(
    table: &ReadMultimap<'_, [u8], [u8]>,
    name: &str,
    pairs: &Pairs,
    key: &[u8],
) -> Result<(), Mismatch> {
    let unreadable = |error| Mismatch::Said("the duplicates of a key cannot be read", error);
    let count = table.count_of(key).map_err(unreadable)?;
    if count != pairs.count_of(key) {
        return differs(format!("key {key:02x?} of multimap {name:?} has {count} duplicates"));
    }
    let mut bytes = Vec::new();
    for chunk in table.chunks(key).map_err(unreadable)? {
        bytes.extend_from_slice(chunk.map_err(unreadable)?);
    }
    match bytes.iter().eq(pairs.of(key).flat_map(|dup| dup.into_owned()).collect::<Vec<u8>>().iter()) {
        true => Ok(()),
        false => differs(format!("the duplicates of key {key:02x?} of multimap {name:?} differ, in bulk")),
    }
}
