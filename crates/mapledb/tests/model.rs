//! Random transactions against sorted maps: every table of every snapshot holds what the model holds.
//!
//! One seed is one case and decides everything about it: the page size, the shape of keys and values, the options and
//! the operations. It is printed, and alone replays:
//!
//! - `MAPLE_SEED=7 cargo test --test model` runs that case alone;
//! - `MAPLE_MODEL_CASES=2 cargo test --test model` runs so many rather than twenty;
//! - `MAPLE_MODEL_SECONDS=3600 cargo test --test model` runs fresh seeds for so long.

mod files;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use files::{TestFile, check, options};
use mapledb::{
    Durability, Entry, Env, Error, Options, Owned, ReadTxn, Savepoint, Table, TxnView, Verify, WriteTable,
    WriteTxn,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

type Map = BTreeMap<Vec<u8>, Rc<[u8]>>;
type Pair = (Vec<u8>, Rc<[u8]>);
type Bytes<'t> = WriteTable<'t, [u8], [u8]>;

/// Operations of one case.
const OPERATIONS: u64 = 50_000;
/// Cases of a usual run: a million operations.
const CASES: u64 = 20;

/// A table as it should be.
#[derive(Clone, Default, PartialEq, Eq)]
struct Model {
    entries: Map,
    sequence: u64,
}

/// Everything a snapshot holds: the default table under the empty name.
type World = BTreeMap<String, Rc<Model>>;

/// What each named snapshot holds.
type Snapshots = BTreeMap<String, World>;

/// What one seed decides before anything is done.
struct Shape {
    page_size: usize,
    key_letters: u8,
    key_len_max: usize,
    prefix: Vec<u8>,
    has_counters: bool,
    value_len_max: usize,
    large_one_in: u32,
    table_names: Vec<String>,
    txn_operations_max: u64,
    options: Options,
}

impl Shape {
    fn of(seed: u64, rng: &mut SmallRng) -> Shape {
        let page_size = [4096, 8192, 4096, 65536][(seed % 4) as usize];
        let verify = *[Verify::FirstTouch, Verify::Always, Verify::Never].choose(rng).expect("some");
        let bound = (1 << rng.random_range(12..24), Duration::from_millis(rng.random_range(1..400)));
        Shape {
            page_size,
            key_letters: *[2, 9, 255].choose(rng).expect("some"),
            key_len_max: *[3, 6, 40, page_size / 4].choose(rng).expect("some"),
            prefix: vec![b'p'; *[1, 4, 30, page_size / 8].choose(rng).expect("some")],
            has_counters: rng.random(),
            value_len_max: *[0, 8, 200, 2000].choose(rng).expect("some"),
            large_one_in: *[60, 400, 4000].choose(rng).expect("some"),
            table_names: (0..rng.random_range(0..7)).map(|n| format!("table-{n}")).collect(),
            txn_operations_max: *[30, 100, 700].choose(rng).expect("some"),
            options: options()
                .page_size(page_size)
                .two_syncs(rng.random_ratio(1, 4))
                .verify(verify)
                .relaxed_bound(bound.0, bound.1),
        }
    }

    fn key(&self, rng: &mut SmallRng) -> Vec<u8> {
        if self.has_counters && rng.random_ratio(1, 3) {
            return rng.random_range(0..3000u64).to_be_bytes().to_vec();
        }
        let mut key = if rng.random() { self.prefix.clone() } else { Vec::new() };
        let room = (self.page_size / 4).saturating_sub(key.len()).min(self.key_len_max);
        // Short keys more often than long ones, or the longest would be all there is.
        let len = rng.random_range(0..=room).min(rng.random_range(0..=room));
        key.extend((0..len).map(|_| rng.random_range(0..self.key_letters)));
        key
    }

    fn value(&self, rng: &mut SmallRng) -> Rc<[u8]> {
        let len = match rng.random_ratio(1, self.large_one_in) {
            true => rng.random_range(0..6 * self.page_size.max(20_000)),
            false => rng.random_range(0..=self.value_len_max),
        };
        let mut value = vec![rng.random(); len];
        if let Some(last) = value.last_mut() {
            *last = rng.random();
        }
        value.into()
    }
}

/// Fields go in this order: readers, then their environment, then the file.
struct Case {
    held: Vec<(ReadTxn, World)>,
    env: Env,
    file: TestFile,
    rng: SmallRng,
    shape: Shape,
    world: World,
    snapshots: Snapshots,
    done: u64,
}

fn run(seed: u64, operations: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let shape = Shape::of(seed, &mut rng);
    let file = TestFile::new();
    let env = file.open(shape.options.clone());
    let world = World::from([(String::new(), Rc::default())]);
    let mut case =
        Case { rng, shape, file, env, world, snapshots: Snapshots::new(), held: Vec::new(), done: 0 };
    while case.done < operations {
        case.transaction();
        case.look_around();
    }
    for (txn, world) in case.held.drain(..) {
        holds(&txn, &world);
    }
    case.reopen();
    check(&case.env);
}

impl Case {
    /// A transaction, or some in a row that keep the writer lock.
    fn transaction(&mut self) {
        let mut txn = match self.rng.random_ratio(1, 5) {
            true => self.upgraded(),
            false => self.env.write().expect("write"),
        };
        while let Some(next) = self.transact(txn) {
            txn = next;
        }
    }

    /// A write on the snapshot that was read.
    fn upgraded(&mut self) -> WriteTxn {
        let old = self.held.iter().find(|(_, world)| *world != self.world);
        old.iter()
            .for_each(|(txn, _)| assert!(txn.upgrade().expect("no error").is_none(), "others have written"));
        loop {
            // A commit of nothing may have made it durable meanwhile.
            let read = self.env.read().expect("read");
            if let Some(txn) = read.upgrade().expect("upgrade") {
                return txn;
            }
        }
    }

    /// One transaction; answers the next one if it is to be gone on with at once.
    fn transact(&mut self, mut txn: WriteTxn) -> Option<WriteTxn> {
        if self.rng.random_ratio(2, 3) {
            txn.durability(Durability::Relaxed);
        }
        let is_aborted = self.rng.random_ratio(1, 7);
        // Maps are shared until they change, so a commit copies none that no reader holds.
        let before = is_aborted.then(|| self.world.clone());
        let mut world = std::mem::take(&mut self.world);
        let operations = self.rng.random_range(1..=self.shape.txn_operations_max);
        self.done += operations;
        Level { rng: &mut self.rng, shape: &self.shape, depth: 0, outer: None }
            .run(&mut txn, &mut world, operations);
        let named = snapshots_change(&mut self.rng, &mut txn, &self.snapshots, &mut world);
        match before {
            Some(before) => {
                txn.abort();
                self.world = before;
                None
            }
            None => {
                let (number, last) = (txn.txnid(), self.env.read().expect("read").txnid());
                self.world = world;
                let mut next = None;
                let committed = match self.rng.random_range(0..8) {
                    0 => {
                        let read = txn.commit_and_read().expect("commit");
                        holds(&read, &self.world);
                        let committed = read.txnid();
                        if self.held.len() < 8 {
                            self.held.push((read, self.world.clone()));
                        }
                        committed
                    }
                    1 | 2 => {
                        next = Some(txn.commit_and_continue().expect("commit"));
                        self.env.read().expect("read").txnid()
                    }
                    _ => txn.commit().expect("commit"),
                };
                assert!(
                    committed == number || committed == last,
                    "{committed} is neither {number} nor {last}"
                );
                self.snapshots = named
                    .into_iter()
                    .map(|(name, was)| (name, was.unwrap_or_else(|| self.world.clone())))
                    .collect();
                next
            }
        }
    }

    /// What happens between transactions.
    fn look_around(&mut self) {
        match self.rng.random_range(0..40) {
            0..4 if self.held.len() < 8 => {
                self.held.push((self.env.read().expect("read"), self.world.clone()));
            }
            4..8 if !self.held.is_empty() => {
                let at = self.rng.random_range(0..self.held.len());
                let (mut txn, world) = self.held.swap_remove(at);
                holds(&txn, &world);
                match self.rng.random_range(0..4) {
                    0 => drop(txn.refresh().expect("refresh")),
                    1 => txn = txn.reset().renew().expect("renew"),
                    2 => {
                        holds(&txn.clone(), &world);
                        return self.held.push((txn, world));
                    }
                    _ => return,
                }
                holds(&txn, &self.world);
                self.held.push((txn, self.world.clone()));
            }
            8 => check(&self.env),
            9..12 => holds(&self.env.read().expect("read"), &self.world),
            14..17 => self.open_snapshot(),
            17 => self.roll_back(),
            12 => self.env.sync().expect("sync"),
            13 if self.rng.random_ratio(1, 3) => self.reopen(),
            _ => {}
        }
    }

    /// A named snapshot, or one that is not there, is opened, and perhaps held.
    fn open_snapshot(&mut self) {
        let name = format!("s{}", self.rng.random_range(0..5));
        match (self.env.read_snapshot(&name), self.snapshots.get(&name)) {
            (Ok(txn), Some(world)) => {
                holds(&txn, world);
                if self.held.len() < 8 {
                    self.held.push((txn, world.clone()));
                }
            }
            (Err(Error::SnapshotMissing { .. }), None) => {}
            (answer, world) => panic!("{name}: {answer:?}, and there is one: {}", world.is_some()),
        }
        let listed = self.env.snapshots().expect("list");
        assert!(listed.iter().map(|snapshot| &snapshot.name).eq(self.snapshots.keys()));
        assert!(listed.iter().all(|snapshot| snapshot.alone_bytes <= snapshot.retained_bytes));
    }

    /// Everything is as it was in a named snapshot, or one that is not there is refused.
    fn roll_back(&mut self) {
        let name = format!("s{}", self.rng.random_range(0..5));
        match (self.env.roll_back(&name), self.snapshots.get(&name)) {
            (Ok(_), Some(world)) => self.world = world.clone(),
            (Err(Error::SnapshotMissing { .. }), None) => {}
            (answer, world) => panic!("{name}: {answer:?}, and there is one: {}", world.is_some()),
        }
    }

    fn reopen(&mut self) {
        for (txn, world) in self.held.drain(..) {
            holds(&txn, &world);
        }
        // The old environment goes when its place is taken, so one that is another file's stands in.
        let stand_in = TestFile::new();
        let env = std::mem::replace(&mut self.env, stand_in.open(options()));
        env.close().expect("close");
        self.env = self.file.open(self.shape.options.clone());
        assert!(self.env.recovery().was_clean, "{:?}", self.env.recovery());
        holds(&self.env.read().expect("read"), &self.world);
    }
}

/// A write transaction, or one nested in it to some depth.
struct Level<'l> {
    rng: &'l mut SmallRng,
    shape: &'l Shape,
    depth: u32,
    /// A savepoint of the one that this is nested in.
    outer: Option<&'l Savepoint>,
}

impl Level<'_> {
    fn run(&mut self, txn: &mut WriteTxn, world: &mut World, operations: u64) {
        let mut savepoints: Vec<(Savepoint, World)> = Vec::new();
        let mut gone = Vec::new();
        for done in 0..operations {
            match self.rng.random_range(0..240) {
                0 if self.depth < 4 => {
                    let outer = savepoints.last().map(|(savepoint, _)| savepoint);
                    self.nest(txn, world, (operations - done).min(60), outer);
                }
                1 => savepoints.push((txn.savepoint().expect("savepoint"), world.clone())),
                2 if !savepoints.is_empty() => {
                    let at = self.rng.random_range(0..savepoints.len());
                    txn.rollback_to(&savepoints[at].0).expect("roll back");
                    world.clone_from(&savepoints[at].1);
                    gone.extend(savepoints.drain(at + 1..).map(|(savepoint, _)| savepoint));
                }
                3 if !savepoints.is_empty() => {
                    let at = self.rng.random_range(0..savepoints.len());
                    txn.release(&savepoints[at].0).expect("release");
                    gone.extend(savepoints.drain(at..).map(|(savepoint, _)| savepoint));
                }
                4 => {
                    gone.iter().for_each(|gone| {
                        assert!(matches!(txn.rollback_to(gone), Err(Error::SavepointEnded)))
                    });
                    self.outer
                        .iter()
                        .for_each(|outer| assert!(matches!(txn.release(outer), Err(Error::SavepointOuter))));
                }
                5 if self.rng.random_ratio(1, 4) => shows(txn.view(), world),
                5..13 => tables_change(self.rng, self.shape, txn, world),
                _ => entries_change(self.rng, self.shape, txn, world),
            }
        }
    }

    /// A nested transaction, committed or aborted.
    fn nest(&mut self, txn: &mut WriteTxn, world: &mut World, operations: u64, outer: Option<&Savepoint>) {
        let mut nested = txn.nested().expect("nested");
        let mut inner = world.clone();
        let operations = self.rng.random_range(0..=operations);
        Level { rng: self.rng, shape: self.shape, depth: self.depth + 1, outer }.run(
            &mut nested,
            &mut inner,
            operations,
        );
        match self.rng.random_range(0..4) {
            0 => drop(nested),
            1 => nested.abort().expect("abort"),
            _ => {
                nested.commit().expect("commit into the parent");
                *world = inner;
            }
        }
    }
}

/// One table becomes what it is in a named snapshot, which there was before the transaction.
fn table_back(
    rng: &mut SmallRng,
    txn: &mut WriteTxn,
    name: &str,
    snapshot: Option<&World>,
    world: &mut World,
) {
    let at = rng.random_range(0..snapshot.map_or(1, BTreeMap::len));
    let table = snapshot.and_then(|world| world.keys().nth(at)).map_or("", String::as_str);
    let answer = txn.roll_back_table(name, Some(table).filter(|table| !table.is_empty()));
    match (answer, snapshot.and_then(|world| world.get(table))) {
        (Ok(entries), Some(model)) => {
            assert_eq!(entries, model.entries.len() as u64);
            world.insert(table.to_string(), Rc::clone(model));
        }
        (Err(Error::SnapshotMissing { .. }), None) => {}
        (answer, model) => panic!("{name}: {answer:?}, and there is one: {}", model.is_some()),
    }
}

/// Named snapshots are made and dropped. Answers those there will be: what each holds, or nothing for what is committed.
fn snapshots_change(
    rng: &mut SmallRng,
    txn: &mut WriteTxn,
    before: &Snapshots,
    world: &mut World,
) -> BTreeMap<String, Option<World>> {
    let mut named: BTreeMap<_, _> =
        before.iter().map(|(name, world)| (name.clone(), Some(world.clone()))).collect();
    for _ in 0..rng.random_range(0..3) {
        let name = format!("s{}", rng.random_range(0..5));
        match rng.random_range(0..4) {
            0 => match txn.create_snapshot(&name) {
                Ok(()) => assert!(named.insert(name, None).is_none()),
                Err(Error::SnapshotExists { .. }) => assert!(named.contains_key(&name)),
                Err(other) => panic!("{other}"),
            },
            1 => assert_eq!(txn.drop_snapshot(&name).expect("drop"), named.remove(&name).is_some()),
            2 => {
                let was = named.get(&name).and_then(Option::as_ref);
                table_back(rng, txn, &name, was, world);
            }
            _ => {}
        }
    }
    named
}

/// A named table is made, renamed, emptied or dropped.
fn tables_change(rng: &mut SmallRng, shape: &Shape, txn: &mut WriteTxn, world: &mut World) {
    let Some(name) = shape.table_names.choose(rng) else { return };
    match rng.random_range(0..8) {
        0..4 => {
            let table = txn.open_table(&Table::<[u8], [u8]>::new(name)).expect("open");
            let model = world.entry(name.clone()).or_default();
            assert_eq!(table.len(), model.entries.len() as u64);
        }
        4 => {
            let to = shape.table_names.choose(rng).expect("one at least");
            match txn.rename_table(name, to) {
                Ok(()) => {
                    let model = world.remove(name).expect("it was there");
                    assert!(world.insert(to.clone(), model).is_none());
                }
                Err(Error::TableMissing { .. }) => assert!(!world.contains_key(name)),
                Err(Error::TableExists { .. }) => assert!(world.contains_key(to)),
                Err(other) => panic!("{other}"),
            }
        }
        5 => {
            assert_eq!(txn.drop_table(name).expect("drop"), world.remove(name).is_some());
        }
        6 => match txn.table(&Table::<[u8], [u8]>::untyped(name)) {
            Ok(mut table) => {
                table.clear().expect("clear");
                Rc::make_mut(world.get_mut(name).expect("it is there")).entries.clear();
            }
            Err(Error::TableMissing { .. }) => assert!(!world.contains_key(name)),
            Err(other) => panic!("{other}"),
        },
        _ => {
            let found: Vec<_> = txn.tables().expect("tables").into_iter().skip(1).collect();
            let named: Vec<_> = world.iter().skip(1).collect();
            assert_eq!(found.len(), named.len());
            for (info, (name, model)) in found.iter().zip(named) {
                assert_eq!(info.name.as_ref(), Some(name));
                assert_eq!(info.sequence, model.sequence);
                assert_eq!(info.stat.entries, model.entries.len() as u64);
            }
        }
    }
}

fn entries_change(rng: &mut SmallRng, shape: &Shape, txn: &mut WriteTxn, world: &mut World) {
    let at = rng.random_range(0..world.len());
    let (name, model) = world.iter_mut().nth(at).expect("within");
    let table = match name.is_empty() {
        true => txn.main(),
        false => txn.table(&Table::<[u8], [u8]>::new(name)).expect("it is there"),
    };
    change(rng, shape, table, Rc::make_mut(model));
}

/// One operation on one table, and on its model.
fn change(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, model: &mut Model) {
    let key = shape.key(rng);
    let entries = &mut model.entries;
    match rng.random_range(0..100) {
        0..38 => {
            let value = shape.value(rng);
            table.put(&key, &value).expect("put");
            entries.insert(key, value);
        }
        38..62 => assert_eq!(table.delete(&key).expect("delete"), entries.remove(&key).is_some()),
        62..66 => {
            let value = shape.value(rng);
            let is_new = table.put_new(&key, &value).expect("put");
            assert_eq!(is_new, !entries.contains_key(&key));
            entries.entry(key).or_insert(value);
        }
        66..70 => {
            let value = shape.value(rng);
            let old = table.replace(&key, &value).expect("replace");
            assert_eq!(old.as_deref(), entries.insert(key, value).as_deref());
        }
        70..74 => compare_and_set(rng, shape, table, entries, key),
        74..77 => {
            let value = shape.value(rng);
            let fill = |room: &mut [u8]| {
                assert!(room.iter().all(|byte| *byte == 0), "room is zero before it is filled");
                room.copy_from_slice(&value);
            };
            table.reserve(&key, value.len() as u64, fill).expect("reserve");
            entries.insert(key, value);
        }
        77..80 => delete_range(rng, shape, table, entries, key),
        80 => {
            let salt: usize = rng.random_range(2..6);
            let keep = |key: &[u8], value: &[u8]| !(key.len() + value.len()).is_multiple_of(salt);
            let gone = table.retain(keep).expect("retain");
            let before = entries.len();
            entries.retain(|key, value| keep(key, value));
            assert_eq!(gone, (before - entries.len()) as u64);
        }
        81..84 => append(rng, shape, table, entries),
        84 => load_sorted(rng, shape, table, entries),
        85 => {
            let count = rng.random_range(0..5);
            assert_eq!(table.next_sequence(count).expect("sequence"), model.sequence);
            model.sequence += count;
        }
        86 => {
            let max = shape.page_size / 4;
            let refused = table.put(&vec![1; max + 1], b"").expect_err("too long");
            assert!(matches!(refused, Error::KeyTooLong { len, max: most } if len == max + 1 && most == max));
        }
        87..92 => take_or_enter(rng, shape, table, entries, key),
        _ => look(rng, shape, table, entries, &key),
    }
}

/// The verbs of sorted maps that answer what they take out or find.
fn take_or_enter(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    type Taken = (Owned<[u8]>, Owned<[u8]>);
    let taken = |(key, value): Taken| -> Pair { (key.into_bytes(), value.into_bytes().into()) };
    match rng.random_range(0..6) {
        0 => assert_eq!(table.pop_first().expect("pop").map(taken), entries.pop_first()),
        1 => assert_eq!(table.pop_last().expect("pop").map(taken), entries.pop_last()),
        2 => {
            let value = table.take(&key).expect("take").map(|value| Rc::from(value.into_bytes()));
            assert_eq!(value, entries.remove(&key));
        }
        3 => {
            let value = shape.value(rng);
            let found = table.get_or_insert(&key, &value).expect("get or insert");
            assert_eq!(found, &entries.entry(key).or_insert(value)[..]);
        }
        4 => {
            let value = shape.value(rng);
            let entry = table.entry(&key).expect("entry").and_modify(|_| &value[..]).expect("modify");
            let is_there = matches!(entry, Entry::Occupied(_));
            assert_eq!(is_there, entries.contains_key(&key));
            if is_there {
                entries.insert(key, value);
            }
        }
        _ => {
            let (low, high, is_fair) = bounds(rng, shape, entries, key);
            let range = (low, high);
            let slices = as_slices(&range);
            let salt: usize = rng.random_range(1..6);
            let goes = |value: &[u8]| value.len().is_multiple_of(salt);
            let expected: Vec<_> = match is_fair {
                true => entries.range::<[u8], _>(slices).filter(|(_, value)| goes(value)).take(20).collect(),
                false => Vec::new(),
            };
            let expected: Vec<Pair> =
                expected.into_iter().map(|(key, value)| (key.clone(), Rc::clone(value))).collect();
            let extracted = table.extract_if(slices, |_, value| goes(value)).expect("extract").take(20);
            let extracted: Vec<_> = extracted.map(|entry| taken(entry.expect("an entry"))).collect();
            assert_eq!(extracted, expected);
            extracted.iter().for_each(|(key, _)| drop(entries.remove(key)));
        }
    }
}

fn compare_and_set(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    let was = entries.get(&key).cloned();
    let new = rng.random_ratio(3, 4).then(|| shape.value(rng));
    let expected = if rng.random_ratio(3, 4) { was.clone() } else { Some(b"not this one"[..].into()) };
    let set = table.compare_and_set(&key, expected.as_deref(), new.as_deref()).expect("compare and set");
    assert_eq!(set, was == expected);
    match (set, new) {
        (true, Some(new)) => drop(entries.insert(key, new)),
        (true, None) => drop(entries.remove(&key)),
        (false, _) => {}
    }
}

fn bound(rng: &mut SmallRng, key: &[u8]) -> Bound<Vec<u8>> {
    match rng.random_range(0..8) {
        0 => Bound::Unbounded,
        1..4 => Bound::Excluded(key.to_vec()),
        _ => Bound::Included(key.to_vec()),
    }
}

fn as_slices(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]))
}

/// Two bounds, most often close to each other, and whether a `BTreeMap` takes them: it panics where they cross.
fn bounds(
    rng: &mut SmallRng,
    shape: &Shape,
    entries: &Map,
    key: Vec<u8>,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>, bool) {
    let other = match rng.random_ratio(3, 4) {
        true => entries.range(key.clone()..).nth(rng.random_range(0..300)).map(|(key, _)| key.clone()),
        false => None,
    };
    let other = other.unwrap_or_else(|| shape.key(rng));
    let is_swapped = other < key && rng.random_ratio(9, 10);
    let (low, high) = if is_swapped { (other, key) } else { (key, other) };
    let (low_bound, high_bound) = (bound(rng, &low), bound(rng, &high));
    let is_unbounded = low_bound == Bound::Unbounded || high_bound == Bound::Unbounded;
    let both_exclude = matches!((&low_bound, &high_bound), (Bound::Excluded(_), Bound::Excluded(_)));
    let is_fair = is_unbounded || low < high || low == high && !both_exclude;
    (low_bound, high_bound, is_fair)
}

fn delete_range(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    let (low, high, is_fair) = bounds(rng, shape, entries, key);
    let range = (low, high);
    let slices = as_slices(&range);
    let gone = table.delete_range((slices.0.as_ref().map(|k| *k), slices.1.as_ref().map(|k| *k)));
    let keys: Vec<_> = match is_fair {
        true => entries.range::<[u8], _>(slices).map(|(key, _)| key.clone()).collect(),
        false => Vec::new(),
    };
    assert_eq!(gone.expect("delete range"), keys.len() as u64);
    keys.iter().for_each(|key| drop(entries.remove(key)));
}

/// The key after every other: the last one with its last byte raised, or one byte longer.
fn key_after(shape: &Shape, entries: &Map) -> Option<Vec<u8>> {
    let Some((last, _)) = entries.last_key_value() else { return Some(Vec::new()) };
    let mut key = last.clone();
    match key.last_mut() {
        Some(byte) if *byte < 255 => *byte += 1,
        _ if last.len() < shape.page_size / 4 => key.push(0),
        _ => return None,
    }
    Some(key)
}

fn append(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map) {
    let Some(key) = key_after(shape, entries) else { return };
    if let Some((last, _)) = entries.last_key_value() {
        assert!(matches!(table.append(last, b""), Err(Error::NotSorted)));
    }
    let value = shape.value(rng);
    table.append(&key, &value).expect("append");
    entries.insert(key, value);
}

fn load_sorted(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map) {
    let mut pairs: Vec<Pair> = Vec::new();
    for _ in 0..rng.random_range(0..200) {
        let Some(key) = key_after(shape, entries) else { break };
        let value = shape.value(rng);
        entries.insert(key.clone(), Rc::clone(&value));
        pairs.push((key, value));
    }
    let ends_badly = rng.random_ratio(1, 4) && !entries.is_empty();
    let stored = pairs.len() as u64;
    let bad = ends_badly.then(|| Ok((Vec::new(), Rc::from(&b"not in order"[..]))));
    let loaded = table.load_sorted(pairs.into_iter().map(Ok).chain(bad));
    match ends_badly {
        true => assert!(matches!(loaded, Err(Error::NotSorted)), "{loaded:?}"),
        false => assert_eq!(loaded.expect("load"), stored),
    }
}

/// Every way of reading what the transaction has changed so far.
fn look(rng: &mut SmallRng, shape: &Shape, table: Bytes<'_>, entries: &Map, key: &[u8]) {
    type Found<'m> = Option<(&'m Vec<u8>, &'m Rc<[u8]>)>;
    let pair = |found: Found<'_>| found.map(|(key, value)| -> Pair { (key.clone(), Rc::clone(value)) });
    type Answer<'t> = Result<Option<(&'t [u8], &'t [u8])>, Error>;
    let own = |found: Answer<'_>| {
        found.expect("read").map(|(key, value)| -> Pair { (key.to_vec(), Rc::from(value)) })
    };
    let (above, below) = ((Bound::Excluded(key), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(key)));
    let reading = table.reading().expect("reading");
    assert_eq!(table.get(key).expect("get"), entries.get(key).map(|value| &value[..]));
    let many: Vec<_> = entries.keys().rev().step_by(7).take(40).map(|key| &key[..]).chain([key]).collect();
    let values: Vec<_> = many.iter().map(|key| entries.get(*key).map(|value| &value[..])).collect();
    assert_eq!(table.multi_get(many).expect("multi_get"), values);
    assert_eq!(own(reading.first()), pair(entries.first_key_value()));
    assert_eq!(own(reading.last()), pair(entries.last_key_value()));
    assert_eq!(own(reading.higher(key)), pair(entries.range::<[u8], _>(above).next()));
    assert_eq!(own(reading.lower(key)), pair(entries.range::<[u8], _>(below).next_back()));
    let floor = entries.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
    let ceiling = entries.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).next();
    assert_eq!(own(reading.floor(key)), pair(floor));
    assert_eq!(own(reading.ceiling(key)), pair(ceiling));
    let rank = entries.range::<[u8], _>(below).count();
    assert_eq!(reading.rank(key).expect("rank"), rank as u64);
    assert_eq!(own(reading.nth(rank as u64)), pair(ceiling));

    let (low, high, is_fair) = bounds(rng, shape, entries, key.to_vec());
    let range = (low, high);
    let expected: Vec<_> = match is_fair {
        true => entries.range::<[u8], _>(as_slices(&range)).collect(),
        false => Vec::new(),
    };
    let slices = as_slices(&range);
    assert_eq!(reading.count(slices).expect("count"), expected.len() as u64);
    let parts = reading.range(slices).and_then(|range| range.split(rng.random_range(1..5))).expect("split");
    let lens: Vec<_> = parts.iter().map(|part| part.remaining().expect("remaining")).collect();
    assert_eq!(lens.iter().sum::<u64>(), expected.len() as u64);
    assert!(
        lens.iter().max().zip(lens.iter().min()).is_some_and(|(max, min)| max - min <= 1),
        "uneven: {lens:?}"
    );
    for (part, from) in parts.into_iter().zip(lens.iter().scan(0, |sum, len| {
        *sum += len;
        Some(*sum - len)
    })) {
        let first = part.into_iter().next().transpose().expect("sound");
        let wanted = (lens.iter().sum::<u64>() > from).then(|| expected[from as usize]);
        assert!(first.is_none() || own(Ok(first)) == pair(wanted), "a part begins elsewhere");
    }
    let mut found = reading.range(slices).expect("range");
    let (mut left, mut right) = (0, expected.len());
    for _ in 0..expected.len().min(40) {
        let (entry, at) = match rng.random() {
            true => (found.next(), left),
            false => (found.next_back(), right - 1),
        };
        let (key, value) = entry.expect("an entry").expect("sound");
        assert_eq!((key, value), (&expected[at].0[..], &expected[at].1[..]));
        if at == left {
            left += 1
        } else {
            right = at
        }
        if left == right {
            assert!(found.next().is_none() && found.next_back().is_none());
            break;
        }
    }
}

/// Every table of an uncommitted transaction is its model, read in two threads at once.
fn shows(view: TxnView<'_>, world: &World) {
    type Shown = Vec<(String, u64, Vec<(Vec<u8>, Vec<u8>)>)>;
    let read = || -> Shown {
        let named = |info: mapledb::TableInfo| {
            let table = match &info.name {
                None => view.main(),
                Some(name) => view.table(&Table::<[u8], [u8]>::new(name)),
            };
            let entries = table.expect("a table").iter().expect("iter").map(|entry| {
                let (key, value) = entry.expect("sound");
                (key.to_vec(), value.to_vec())
            });
            (info.name.unwrap_or_default(), info.sequence, entries.collect())
        };
        view.tables().expect("tables").into_iter().map(named).collect()
    };
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(read);
        (read(), there.join().expect("no panic"))
    });
    assert!(here == there, "two threads read the same");
    assert_eq!(here.len(), world.len());
    for ((name, sequence, entries), (expected, model)) in here.iter().zip(world) {
        assert_eq!((name, *sequence), (expected, model.sequence));
        let expected = model.entries.iter().map(|(key, value)| (&key[..], &value[..]));
        assert!(
            entries.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected),
            "table {name:?} differs"
        );
    }
}

/// Every table of the snapshot is its model, entry for entry.
fn holds(txn: &ReadTxn, world: &World) {
    let tables = txn.tables().expect("tables");
    assert_eq!(tables.len(), world.len());
    for (info, (name, model)) in tables.iter().zip(world) {
        assert_eq!((info.name.as_deref().unwrap_or(""), info.sequence), (&name[..], model.sequence));
        let table = match name.is_empty() {
            true => txn.main(),
            false => txn.table(&Table::<[u8], [u8]>::new(name)),
        }
        .expect("a table");
        assert_eq!(table.len(), model.entries.len() as u64);
        let mut found = table.iter().expect("iter");
        for (key, value) in &model.entries {
            let entry = found.next().expect("an entry").expect("sound");
            assert!(entry == (&key[..], &value[..]), "{key:?} differs in table {name:?}");
        }
        assert!(found.next().is_none());
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Says which seed failed, however it failed.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {seed}: MAPLE_SEED={seed} cargo test --test model", seed = self.0);
        }
    }
}

fn run_aloud(seed: u64) {
    println!("seed {seed}");
    let said = Said(seed);
    run(seed, OPERATIONS);
    drop(said);
}

fn part(of: u64, parts: u64) {
    if let Some(seed) = number("MAPLE_SEED") {
        if seed % parts == of {
            run_aloud(seed);
        }
        return;
    }
    if let Some(seconds) = number("MAPLE_MODEL_SECONDS") {
        let end = Instant::now() + Duration::from_secs(seconds);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let mut seed = now.as_nanos() as u64 / parts * parts + of;
        while Instant::now() < end {
            run_aloud(seed);
            seed += parts;
        }
        return;
    }
    let cases = number("MAPLE_MODEL_CASES").unwrap_or(CASES);
    (0..cases).filter(|seed| seed % parts == of).for_each(run_aloud);
}

#[test]
fn random_transactions_leave_what_sorted_maps_hold() {
    part(0, 2);
}

#[test]
fn random_transactions_leave_what_sorted_maps_hold_in_the_other_half_of_the_seeds() {
    part(1, 2);
}
