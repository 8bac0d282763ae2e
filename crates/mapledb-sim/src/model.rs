//! What the database must hold: the simplest thing that can be right.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A table: its entries and the next number of its sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// Key to value.
    pub entries: BTreeMap<Vec<u8>, Arc<[u8]>>,
    /// The next number of its sequence.
    pub sequence: u64,
}

/// Everything in a database. The default table is the one with the empty name, and is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Each table by its name.
    pub tables: Tables,
    /// Each named snapshot, with what it holds; nothing for one that the running transaction makes.
    pub snapshots: BTreeMap<String, Option<Arc<Tables>>>,
}

/// Tables by their names.
pub type Tables = BTreeMap<String, TableState>;

impl Default for State {
    fn default() -> State {
        let tables = BTreeMap::from([(String::new(), TableState::default())]);
        State { tables, snapshots: BTreeMap::new() }
    }
}

impl State {
    /// The transaction has come to its end: the snapshots that it makes are of this.
    pub fn settle_snapshots(&mut self) {
        if self.snapshots.values().any(Option::is_none) {
            let tables = Arc::new(self.tables.clone());
            for held in self.snapshots.values_mut() {
                held.get_or_insert_with(|| Arc::clone(&tables));
            }
        }
    }
}

/// One commit: its number and the state it made.
#[derive(Debug)]
pub struct Commit {
    /// The transaction's number.
    pub txnid: u64,
    /// Numbers under which the engine may have committed the same state again, by itself: after a transaction that met a
    /// quota, the next one begins with commits of nothing.
    pub also: Vec<RangeInclusive<u64>>,
    /// The state after it.
    pub state: State,
}

/// The commits of a database in order. The first is the state it began with.
#[derive(Clone, Debug)]
pub struct History(Arc<Vec<Arc<Commit>>>);

impl History {
    /// A history that begins with `state`.
    pub fn new(txnid: u64, state: State) -> History {
        History(Arc::new(vec![Arc::new(Commit { txnid, also: Vec::new(), state })]))
    }

    /// Appends a commit and answers its index.
    pub fn push(&mut self, txnid: u64, state: State) -> usize {
        Arc::make_mut(&mut self.0).push(Arc::new(Commit { txnid, also: Vec::new(), state }));
        self.0.len() - 1
    }

    /// Forgets every commit after `index`: they did not come to be.
    pub fn truncate_after(&mut self, index: usize) {
        Arc::make_mut(&mut self.0).truncate(index + 1);
    }

    /// The commit at `index` goes by another number: recovery has committed it once more.
    pub fn renumber(&mut self, index: usize, txnid: u64) {
        let state = self.0[index].state.clone();
        Arc::make_mut(&mut self.0)[index] = Arc::new(Commit { txnid, also: Vec::new(), state });
    }

    /// The commit at `index`.
    pub fn at(&self, index: usize) -> &Commit {
        &self.0[index]
    }

    /// The last commit's index.
    pub fn last(&self) -> usize {
        self.0.len() - 1
    }

    /// The last commit may go by these numbers, too.
    pub fn also(&mut self, txnids: RangeInclusive<u64>) {
        let last = self.last();
        let Commit { txnid, also, state } = &*self.0[last];
        let also = also.iter().cloned().chain([txnids]).collect();
        let commit = Commit { txnid: *txnid, also, state: state.clone() };
        Arc::make_mut(&mut self.0)[last] = Arc::new(commit);
    }

    /// The index of the commit with this number.
    pub fn find(&self, txnid: u64) -> Option<usize> {
        let is_it = |commit: &Arc<Commit>| {
            commit.txnid == txnid || commit.also.iter().any(|numbers| numbers.contains(&txnid))
        };
        self.0.iter().position(is_it)
    }
}

/// What the law allows a recovery to find, as indices into the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The last commit acknowledged as durable: nothing may take it.
    pub durable: usize,
    /// The last commit acknowledged at all: the death of processes may not take it.
    pub acked: usize,
    /// The last commit that has reached its commit point: nothing after it may be seen.
    pub reached: usize,
    /// The largest transaction number given out: none up to it may be given out again.
    pub txnid_max: u64,
}

impl Bounds {
    /// All three at `index`.
    pub fn exactly(index: usize, txnid_max: u64) -> Bounds {
        Bounds { durable: index, acked: index, reached: index, txnid_max }
    }
}
