//! Random transactions on MapleDB and on LMDB at once: where both have an operation, both give the same answer.
//!
//! One seed is one case of 50,000 operations: it decides the shape of keys and values and every operation. Shared are put,
//! put if absent, append, delete, delete of a range, clear, get, first, last, floor, lower, ceiling, higher, ranges both
//! ways, the number of entries, several tables, transactions given up, and snapshots that are held across commits. A
//! table is dropped and made anew in the one and cleared in the other.
//!
//! Both work on memory if that can be had. Ends with one line `ROW {json}`.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, EnvOpenOptions, PutFlags, RoTxn, RwTxn, WithoutTls};
use mapledb::{Durability, ReadTable, ReadTxn, Table, WriteTxn};
use mapledb_bench::Result;
use mapledb_bench::workload::SplitMix64;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const OPS_PER_CASE: u64 = 50_000;
const HELD_MAX: usize = 4;

/// Holds MapleDB against LMDB.
#[derive(Parser)]
struct Options {
    /// Operations after which to end.
    #[arg(long, default_value_t = 1_000_000)]
    ops: u64,
    /// Seconds after which to end.
    #[arg(long, default_value_t = 86_400)]
    seconds: u64,
    /// The first case's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type BytesDb = Database<'static, Bytes, Bytes>;
type Pair = (Vec<u8>, Vec<u8>);

fn main() -> ExitCode {
    let options = Options::parse();
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let mut counts = Counts::default();
    let mut violations = 0;
    let mut seed = options.seed;
    while counts.ops < options.ops && Instant::now() < end {
        let ops = OPS_PER_CASE.min(options.ops - counts.ops);
        if let Err(error) = case(seed, ops, end, &mut counts) {
            println!("seed {seed}: {error}");
            println!(
                "replay: cargo run --release --manifest-path benches/Cargo.toml --bin model-lmdb -- --seed {seed} --ops {ops}"
            );
            violations = 1;
            break;
        }
        seed += 1;
    }
    println!(
        "ROW {{\"id\":\"T10\",\"name\":\"lmdb\",\"unit\":\"operations\",\"done\":{},\"seconds\":{},\"violations\":{violations},\
         \"counts\":{{\"commits\":{},\"given up\":{},\"snapshots compared\":{},\"cases\":{}}},\"skipped\":[]}}",
        counts.ops,
        began.elapsed().as_secs(),
        counts.commits,
        counts.aborts,
        counts.snapshots,
        seed - options.seed + violations
    );
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Counts {
    ops: u64,
    commits: u64,
    aborts: u64,
    snapshots: u64,
}

/// A directory that goes when it is dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(seed: u64) -> Result<Dir> {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        let dir = Dir(base.join(format!("model-lmdb-{}-{seed}", std::process::id())));
        std::fs::create_dir_all(dir.0.join("lmdb"))?;
        Ok(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What keys and values of a case are like.
struct Shape {
    keys: u64,
    prefix: Vec<u8>,
    value_max: u64,
    large_one_in: u64,
    txn_ops_max: u64,
    rng: SplitMix64,
}

impl Shape {
    fn of(seed: u64) -> Shape {
        let mut rng = SplitMix64::new(seed);
        let mut of = |choices: &[u64]| choices[(rng.next_u64() % choices.len() as u64) as usize];
        let (keys, prefix) = (of(&[30, 500, 5000, 50_000]), of(&[0, 3, 40, 300]));
        let (value_max, large_one_in, txn_ops_max) =
            (of(&[1, 20, 200, 1500]), of(&[50, 500, 5000]), of(&[10, 60, 300]));
        Shape { keys, prefix: vec![b'p'; prefix as usize], value_max, large_one_in, txn_ops_max, rng }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end.max(1)
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.below(self.keys);
        let mut key = if number.is_multiple_of(3) { self.prefix.clone() } else { Vec::new() };
        let bytes = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        key.extend_from_slice(&bytes[..1 + (number % 7) as usize]);
        key.extend_from_slice(&number.to_le_bytes()[..2]);
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let max = if self.below(self.large_one_in) == 0 { 30_000 } else { self.value_max };
        let (len, byte) = (self.below(max), self.rng.next_u64() as u8);
        (0..len).map(|at| byte.wrapping_add(at as u8)).collect()
    }
}

#[allow(unsafe_code)]
fn case(seed: u64, ops: u64, end: Instant, counts: &mut Counts) -> Result<()> {
    let dir = Dir::new(seed)?;
    let mut shape = Shape::of(seed);
    // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
    let maple = unsafe { mapledb::Env::options().reserve_bytes(1 << 30).create(dir.0.join("maple")) }?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(1 << 30).max_dbs(NAMES.len() as u32);
    // SAFETY: as above.
    let lmdb = unsafe { options.open(dir.0.join("lmdb")) }?;
    let (a, b, c) = lmdb
        .create_databases_and_commit(lmdb.write_txn()?, |opener, txn| {
            let mut make = |at: usize| opener.create_database::<Bytes, Bytes>(txn, Some(NAMES[at]));
            let made = (make(0)?, make(1)?, make(2)?);
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(made))
        })?
        .unwrap_commit();
    let dbs: [BytesDb; 3] = [a, b, c];
    let mut txn = maple.write()?;
    for name in NAMES {
        txn.open_table(&Table::<[u8], [u8]>::new(name))?;
    }
    txn.commit()?;
    let mut held: Vec<(ReadTxn, RoTxn<'_, WithoutTls>)> = Vec::new();
    let begin = counts.ops;
    while counts.ops - begin < ops && Instant::now() < end {
        let mut ours = maple.write()?;
        if shape.below(2) == 0 {
            ours.durability(Durability::Relaxed);
        }
        let mut theirs = lmdb.write_txn()?;
        for _ in 0..=shape.below(shape.txn_ops_max) {
            let at = shape.below(NAMES.len() as u64) as usize;
            operation(&mut ours, &mut theirs, at, &dbs[at], &mut shape)
                .map_err(|error| format!("operation {}: {error}", counts.ops - begin))?;
            counts.ops += 1;
        }
        if shape.below(6) == 0 {
            counts.aborts += 1;
            continue;
        }
        ours.commit()?;
        theirs.commit()?;
        counts.commits += 1;
        if shape.below(4) == 0 {
            held.push((maple.read()?, lmdb.read_txn()?));
        }
        if held.len() > HELD_MAX {
            let (ours, theirs) = held.swap_remove(shape.below(HELD_MAX as u64) as usize);
            compare(&ours, &theirs, &dbs)?;
            counts.snapshots += 1;
        }
    }
    held.push((maple.read()?, lmdb.read_txn()?));
    for (ours, theirs) in &held {
        compare(ours, theirs, &dbs)?;
        counts.snapshots += 1;
    }
    drop(held);
    let report = maple.check(|_| {})?;
    same("the problems a check finds", report.problems.len(), 0)?;
    Ok(maple.close()?)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<()> {
    match ours == theirs {
        true => Ok(()),
        false => Err(format!("{what}: MapleDB has {ours:?}, LMDB {theirs:?}").into()),
    }
}

/// Whole snapshots.
fn compare(ours: &ReadTxn, theirs: &RoTxn<'_, WithoutTls>, dbs: &[BytesDb]) -> Result<()> {
    for (name, db) in NAMES.iter().zip(dbs) {
        let table: ReadTable<'_, [u8], [u8]> = ours.table(&Table::new(name))?;
        same("the number of entries", table.len(), db.len(theirs)?)?;
        let mut other = db.iter(theirs)?;
        for entry in table.iter()? {
            same("an entry of a snapshot", Some(entry?), other.next().transpose()?)?;
        }
        same("the end of a snapshot", None, other.next().transpose()?)?;
    }
    Ok(())
}

fn owned(pair: Option<(&[u8], &[u8])>) -> Option<Pair> {
    pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
}

fn operation(
    ours: &mut WriteTxn,
    theirs: &mut RwTxn<'_>,
    at: usize,
    db: &BytesDb,
    shape: &mut Shape,
) -> Result<()> {
    let name = NAMES[at];
    let (key, choice) = (shape.key(), shape.below(100));
    if choice == 99 && shape.below(20) == 0 {
        same("that a table is there", ours.drop_table(name)?, true)?;
        ours.open_table(&Table::<[u8], [u8]>::new(name))?;
        return Ok(db.clear(theirs)?);
    }
    let mut table = ours.table(&Table::<[u8], [u8]>::new(name))?;
    let key = &key[..];
    match choice {
        0..38 => {
            let value = shape.value();
            table.put(key, &value[..])?;
            db.put(theirs, key, &value)?;
        }
        38..44 => {
            let value = shape.value();
            let is_new = table.put_new(key, &value[..])?;
            same("whether a key was absent", is_new, db.get_or_put(theirs, key, &value)?.is_none())?;
        }
        44..58 => same("whether a key was there", table.delete(key)?, db.delete(theirs, key)?)?,
        58..60 => {
            // Past the last key, or not.
            let mut key = key.to_vec();
            if shape.below(2) == 0 {
                key.insert(0, 0xff);
            }
            let value = shape.value();
            let is_appended = table.append(&key[..], &value[..]).is_ok();
            let theirs = db.put_with_flags(theirs, PutFlags::APPEND, &key, &value);
            same("whether a key can be appended", is_appended, theirs.is_ok())?;
        }
        60..61 => {
            let to = shape.key();
            let (low, high) = if key <= &to[..] { (key, &to[..]) } else { (&to[..], key) };
            // Mostly short ones.
            if shape.below(4) == 0 {
                let range = (Bound::Included(low), Bound::Excluded(high));
                let gone = table.delete_range((range.0, range.1))?;
                same("how many a range had", gone, db.delete_range(theirs, &range)? as u64)?;
            }
        }
        61 if shape.below(40) == 0 => {
            table.clear()?;
            db.clear(theirs)?;
        }
        62..76 => {
            same("a value", table.get(key)?.map(<[u8]>::to_vec), db.get(theirs, key)?.map(<[u8]>::to_vec))?
        }
        76..79 => {
            same("the first entry", owned(table.first()?), owned(db.first(theirs)?))?;
            same("the last entry", owned(table.last()?), owned(db.last(theirs)?))?;
        }
        79..83 => {
            same("a floor", owned(table.floor(key)?), owned(db.get_lower_than_or_equal_to(theirs, key)?))?
        }
        83..87 => same(
            "a ceiling",
            owned(table.ceiling(key)?),
            owned(db.get_greater_than_or_equal_to(theirs, key)?),
        )?,
        87..89 => {
            let reading = table.reading()?;
            same("a lower key", owned(reading.lower(key)?), owned(db.get_lower_than(theirs, key)?))?;
            same("a higher key", owned(reading.higher(key)?), owned(db.get_greater_than(theirs, key)?))?;
        }
        89..93 => {
            let mut other = db.range(theirs, &(Bound::Included(key), Bound::Unbounded))?;
            for entry in table.range(key..)?.take(20) {
                same("an entry of a range", Some(entry?), other.next().transpose()?)?;
            }
        }
        93..96 => {
            let mut other = db.rev_range(theirs, &(Bound::Unbounded, Bound::Excluded(key)))?;
            for entry in table.range(..key)?.rev().take(20) {
                same("an entry of a range backwards", Some(entry?), other.next().transpose()?)?;
            }
        }
        96..97 => {
            let to = shape.key();
            let (low, high) = if key <= &to[..] { (key, &to[..]) } else { (&to[..], key) };
            let counted = table.count(low..high)?;
            let walked = db.range(theirs, &(Bound::Included(low), Bound::Excluded(high)))?.count();
            same("the number of entries of a range", counted, walked as u64)?;
        }
        97..99 => {
            // A cursor's walk, there and back.
            let mut cursor = table.cursor()?;
            let mut found = vec![owned(cursor.ceiling(key)?)];
            (0..5).try_for_each(|_| cursor.next().map(|pair| found.push(owned(pair))))?;
            let walked = db.range(theirs, &(Bound::Included(key), Bound::Unbounded))?.take(6);
            let walked: Vec<Option<Pair>> =
                walked.map(|pair| pair.map(|pair| owned(Some(pair)))).collect::<heed::Result<_>>()?;
            same("what a cursor passes", &found[..walked.len()], &walked[..])?;
        }
        _ => same("the number of entries", table.len(), db.len(theirs)?)?,
    }
    Ok(())
}
