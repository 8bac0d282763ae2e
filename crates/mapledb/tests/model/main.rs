//! Random transactions against sorted maps and, for multimaps, sorted sets: every table of every snapshot holds what the model
//! holds.
//!
//! One seed is one case and decides everything about it: the page size, the shape of keys and values, the options and
//! the operations. It is printed, and alone replays:
//!
//! - `MAPLE_SEED=7 cargo test --test model` runs that case alone;
//! - `MAPLE_MODEL_CASES=2 cargo test --test model` runs so many rather than twenty;
//! - `MAPLE_MODEL_SECONDS=3600 cargo test --test model` runs fresh seeds for so long.

mod compare;
mod entries;
#[path = "../files/mod.rs"]
mod files;
mod pairs;
mod tables;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use compare::{holds, shows};
use files::{TestFile, check, options};
use mapledb::{Durability, Env, Error, Options, ReadTxn, Savepoint, Verify, WriteTxn};
use pairs::{Places, Sets};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

type Map = BTreeMap<Vec<u8>, Rc<[u8]>>;

/// Operations of one case.
const OPERATIONS: u64 = 50_000;
/// Cases of a usual run: a million operations.
const CASES: u64 = 20;

/// A table as it should be.
#[derive(Clone, Default, PartialEq, Eq)]
struct Model {
    entries: Map,
    /// What it holds instead if it is a multimap.
    pairs: Option<Sets>,
    sequence: u64,
}

impl Model {
    fn len(&self) -> u64 {
        self.pairs.as_ref().map_or(self.entries.len() as u64, Sets::len)
    }
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
    duplicate_len_max: usize,
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
            duplicate_len_max: *[4, 30, 400].choose(rng).expect("some"),
            large_one_in: *[60, 400, 4000].choose(rng).expect("some"),
            table_names: (0..rng.random_range(0..7)).map(|n| format!("table-{n}")).collect(),
            txn_operations_max: *[30, 100, 700].choose(rng).expect("some"),
            options: options()
                .page_size(page_size)
                .two_syncs(rng.random_ratio(1, 4))
                .verify(verify)
                .order(pairs::TURNED)
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
    places: Places,
    done: u64,
}

fn run(seed: u64, operations: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let shape = Shape::of(seed, &mut rng);
    let file = TestFile::new();
    let env = file.open(shape.options.clone());
    let world = World::from([(String::new(), Rc::default())]);
    let (snapshots, places) = (Snapshots::new(), Places::default());
    let mut case = Case { rng, shape, file, env, world, snapshots, places, held: Vec::new(), done: 0 };
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
        Level { rng: &mut self.rng, shape: &self.shape, places: &mut self.places, depth: 0, outer: None }
            .run(&mut txn, &mut world, operations);
        let named = tables::snapshots_change(&mut self.rng, &mut txn, &self.snapshots, &mut world);
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
    places: &'l mut Places,
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
                5..13 => tables::change(self.rng, self.shape, txn, world),
                _ => tables::change_within(self.rng, self.shape, txn, world, self.places),
            }
        }
    }

    /// A nested transaction, committed or aborted.
    fn nest(&mut self, txn: &mut WriteTxn, world: &mut World, operations: u64, outer: Option<&Savepoint>) {
        let mut nested = txn.nested().expect("nested");
        let mut inner = world.clone();
        let operations = self.rng.random_range(0..=operations);
        Level { rng: self.rng, shape: self.shape, places: self.places, depth: self.depth + 1, outer }.run(
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
