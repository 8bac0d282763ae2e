//! What the database must hold: the simplest thing that can be right.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use mapledb::{Duplicates, KeyOrder};

use crate::order::{turned, turned_back};

/// A table: its entries and the next number of its sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// The order of its keys.
    order: KeyOrder,
    /// Key to value. A key is [`turned`], which in bytewise order it is as it is.
    pub entries: BTreeMap<Vec<u8>, Arc<[u8]>>,
    /// What it holds instead if it is a multimap.
    pub pairs: Option<Pairs>,
    /// The next number of its sequence.
    pub sequence: u64,
}

impl TableState {
    /// A multimap of such duplicates, and nothing in it.
    pub fn multimap(kind: Duplicates) -> TableState {
        TableState { pairs: Some(Pairs::new(kind)), ..TableState::default() }
    }

    /// The same with its keys in `order`, while it has none.
    pub fn in_order(self, order: KeyOrder) -> TableState {
        let pairs = self.pairs.map(|pairs| pairs.in_order(order));
        TableState { order, pairs, ..self }
    }

    /// The order of its keys.
    pub fn order(&self) -> KeyOrder {
        self.order
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, &Arc<[u8]>)> {
        self.entries.iter().map(|(key, value)| (turned_back(self.order, key), value))
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<[u8]>> {
        self.entries.get(&*turned(self.order, key))
    }

    /// The first key that is not less than `key`, or else the first of all.
    pub fn key_from(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let from = turned(self.order, key).into_owned();
        let found = self.entries.range(from..).next().or_else(|| self.entries.iter().next());
        found.map(|(key, _)| turned_back(self.order, key))
    }

    /// Puts an entry in.
    pub fn put(&mut self, key: &[u8], value: Arc<[u8]>) {
        self.entries.insert(turned(self.order, key).into_owned(), value);
    }

    /// Takes an entry out; answers whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.entries.remove(&*turned(self.order, key)).is_some()
    }

    /// Takes all entries out whose keys are at least `low` and less than `high`; answers how many there were.
    pub fn remove_range(&mut self, low: &[u8], high: &[u8]) -> u64 {
        let (low, high) = (turned(self.order, low), turned(self.order, high));
        let before = self.entries.len();
        self.entries.retain(|key, _| !(*low <= key[..] && key[..] < *high));
        (before - self.entries.len()) as u64
    }

    /// How many entries it has: pairs, if it is a multimap.
    pub fn len(&self) -> u64 {
        self.pairs.as_ref().map_or(self.entries.len() as u64, Pairs::len)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The pairs of a multimap. Keys and duplicates are kept [`turned`], each in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    order: KeyOrder,
    kind: Duplicates,
    keys: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Pairs {
    /// No pairs, but what their duplicates would be.
    pub fn new(kind: Duplicates) -> Pairs {
        Pairs { order: KeyOrder::BYTEWISE, kind, keys: BTreeMap::new() }
    }

    /// The same with keys in `order`, while there are none.
    pub fn in_order(self, order: KeyOrder) -> Pairs {
        Pairs { order, ..self }
    }

    /// The order of their keys.
    pub fn order(&self) -> KeyOrder {
        self.order
    }

    /// What their duplicates are.
    pub fn kind(&self) -> Duplicates {
        self.kind
    }

    fn key<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        turned(self.order, key)
    }

    fn dup<'d>(&self, dup: &'d [u8]) -> Cow<'d, [u8]> {
        turned(self.kind.order, dup)
    }

    fn dup_back<'d>(&self, dup: &'d [u8]) -> Cow<'d, [u8]> {
        turned_back(self.kind.order, dup)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.keys.values().map(|dups| dups.len() as u64).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Every pair in order.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
        let back = |key| turned_back(self.order, key);
        self.keys
            .iter()
            .flat_map(move |(key, dups)| dups.iter().map(move |dup| (back(key), self.dup_back(dup))))
    }

    /// Every key in order.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.keys.keys().map(|key| turned_back(self.order, key))
    }

    /// The duplicates of a key in order.
    pub fn of(&self, key: &[u8]) -> impl DoubleEndedIterator<Item = Cow<'_, [u8]>> {
        self.keys.get(&*self.key(key)).into_iter().flatten().map(|dup| self.dup_back(dup))
    }

    /// How many duplicates a key has.
    pub fn count_of(&self, key: &[u8]) -> u64 {
        self.keys.get(&*self.key(key)).map_or(0, |dups| dups.len() as u64)
    }

    /// Whether the pair is there.
    pub fn contains(&self, key: &[u8], dup: &[u8]) -> bool {
        self.keys.get(&*self.key(key)).is_some_and(|dups| dups.contains(&*self.dup(dup)))
    }

    /// How many pairs are less than this one.
    pub fn rank(&self, key: &[u8], dup: &[u8]) -> u64 {
        let (key, dup) = (self.key(key), self.dup(dup).into_owned());
        let before: u64 = self
            .keys
            .iter()
            .take_while(|(other, _)| other[..] < *key)
            .map(|(_, dups)| dups.len() as u64)
            .sum();
        before + self.keys.get(&*key).map_or(0, |dups| dups.range(..dup).count() as u64)
    }

    /// Puts a pair in; answers whether it is new.
    pub fn insert(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let (key, dup) = (self.key(key).into_owned(), self.dup(dup).into_owned());
        self.keys.entry(key).or_default().insert(dup)
    }

    /// Takes a pair out; answers whether it was there.
    pub fn remove(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let (key, dup) = (self.key(key), self.dup(dup));
        let Some(dups) = self.keys.get_mut(&*key) else { return false };
        let was_there = dups.remove(&*dup);
        if dups.is_empty() {
            self.keys.remove(&*key);
        }
        was_there
    }

    /// Takes all pairs of a key out; answers how many there were.
    pub fn remove_key(&mut self, key: &[u8]) -> u64 {
        self.keys.remove(&*self.key(key)).map_or(0, |dups| dups.len() as u64)
    }

    /// Takes all pairs out whose keys are at least `low` and less than `high`; answers how many there were.
    pub fn remove_range(&mut self, low: &[u8], high: &[u8]) -> u64 {
        let (low, high) = (self.key(low), self.key(high));
        let before = self.len();
        self.keys.retain(|key, _| !(*low <= key[..] && key[..] < *high));
        before - self.len()
    }

    /// Takes all of them out.
    pub fn clear(&mut self) {
        self.keys.clear();
    }
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
