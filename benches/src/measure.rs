//! The timed loops. Each is generic over the engine, so that the compiler sees what a user's own loop
//! would show it, and each returns figures in the unit that its row states.

use std::hint::black_box;
use std::path::Path;

use crate::Result;
use crate::engine::{Engine, Reader, Table, Writer};
use crate::machine::{self, Started, Stopwatch, Written};
use crate::rounds::percentile;
use crate::workload::{Key, Workload};

/// The entries of one range scan.
pub const RANGE_ENTRIES: usize = 100;

/// The keys of one group of lookups.
pub const GROUP_KEYS: usize = 64;

/// The puts of one durable batch.
pub const BATCH_PUTS: usize = 1000;

/// A figure, and a sum over what was read to get it: the sums of all sides must agree.
pub type Checked = (f64, u64);

fn nanoseconds_each(started: &Started<'_>, operations: usize) -> f64 {
    started.nanoseconds() / operations as f64
}

/// The first and the last byte: enough to fetch every cache line that a key or a short value begins or
/// ends in, and no more work than that.
#[inline]
fn touch(bytes: &[u8]) -> u64 {
    match bytes {
        [] => 0,
        [only] => u64::from(*only),
        [first, .., last] => u64::from(*first) | u64::from(*last) << 8,
    }
}

/// Reads every entry once, so that each page of the tree is in the page cache and in this process's page
/// tables.
pub fn warm<E: Engine>(engine: &E) -> Result<u64> {
    scan(engine).map(|(_, sum)| sum)
}

/// Nanoseconds a lookup of keys that are there, all in one read transaction.
pub fn lookups<E: Engine>(engine: &E, keys: &[Key]) -> Result<Checked> {
    let reader = engine.reader()?;
    let table = reader.table()?;
    let mut sum = 0u64;
    let watch = Stopwatch::new();
    let started = watch.start();
    for key in keys {
        let value = table.get(key)?.ok_or("a key that was put is missing")?;
        sum = sum.wrapping_add(touch(black_box(value)));
    }
    Ok((nanoseconds_each(&started, keys.len()), sum))
}

/// Nanoseconds a lookup of keys that are there, so many handed over at once.
pub fn groups<E: Engine>(engine: &E, keys: &[Key]) -> Result<Checked> {
    let reader = engine.reader()?;
    let table = reader.table()?;
    let (mut sum, mut missing) = (0u64, 0u64);
    let watch = Stopwatch::new();
    let started = watch.start();
    for group in keys.chunks(GROUP_KEYS) {
        table.get_all(group, |value| match value {
            Some(value) => sum = sum.wrapping_add(touch(black_box(value))),
            None => missing += 1,
        })?;
    }
    let nanoseconds = nanoseconds_each(&started, keys.len());
    if missing > 0 { Err("a key that was put is missing".into()) } else { Ok((nanoseconds, sum)) }
}

/// Nanoseconds a lookup of keys that are not there.
pub fn misses<E: Engine>(engine: &E, keys: &[Key]) -> Result<Checked> {
    let reader = engine.reader()?;
    let table = reader.table()?;
    let mut found = 0u64;
    let watch = Stopwatch::new();
    let started = watch.start();
    for key in keys {
        found += u64::from(black_box(table.get(key)?).is_some());
    }
    Ok((nanoseconds_each(&started, keys.len()), found))
}

/// Nanoseconds an entry of a forward scan over all, keys and values touched.
pub fn scan<E: Engine>(engine: &E) -> Result<Checked> {
    let reader = engine.reader()?;
    let mut sum = 0u64;
    let watch = Stopwatch::new();
    let started = watch.start();
    let seen = reader.table()?.scan(|key, value| {
        sum = sum.wrapping_add(touch(black_box(key))).wrapping_add(touch(black_box(value)));
    })?;
    Ok((nanoseconds_each(&started, usize::try_from(seen)?), sum))
}

/// Nanoseconds a range scan of [`RANGE_ENTRIES`] entries from each of `keys`, keys and values touched.
pub fn ranges<E: Engine>(engine: &E, keys: &[Key]) -> Result<Checked> {
    let reader = engine.reader()?;
    let table = reader.table()?;
    let mut sum = 0u64;
    let watch = Stopwatch::new();
    let started = watch.start();
    for key in keys {
        let seen = table.range(key, RANGE_ENTRIES, |key, value| {
            sum = sum.wrapping_add(touch(black_box(key))).wrapping_add(touch(black_box(value)));
        })?;
        sum = sum.wrapping_add(seen);
    }
    Ok((nanoseconds_each(&started, keys.len()), sum))
}

/// Nanoseconds to begin and drop a read transaction.
pub fn begins<E: Engine>(engine: &E, times: usize) -> Result<f64> {
    let watch = Stopwatch::new();
    let started = watch.start();
    for _ in 0..times {
        drop(black_box(engine.reader()?));
    }
    Ok(nanoseconds_each(&started, times))
}

/// Durable commits that replace the value of one key each: the median and the 99th percentile in
/// microseconds, and bytes written per commit, dirtied and given to the device.
pub fn one_put_commits<E: Engine>(
    engine: &E,
    workload: &Workload,
    keys: &[Key],
    version: usize,
) -> Result<[f64; 4]> {
    let watch = Stopwatch::new();
    let mut times = Vec::with_capacity(keys.len());
    let before = Written::so_far(&engine.data_file());
    for (key, value) in workload.entries_of(keys, version) {
        let started = watch.start();
        let mut writer = engine.writer()?;
        writer.put_all(std::iter::once((key, value)))?;
        writer.commit()?;
        times.push(started.nanoseconds() / 1000.0);
    }
    let [dirtied, device] = Written::so_far(&engine.data_file()).each_since(before, keys.len());
    Ok([percentile(&mut times, 0.5), percentile(&mut times, 0.99), dirtied, device])
}

/// Durable batches that replace the values of [`BATCH_PUTS`] random keys each: puts a second, and bytes
/// written per put, dirtied and given to the device.
pub fn batches<E: Engine>(engine: &E, workload: &Workload, keys: &[Key], version: usize) -> Result<[f64; 3]> {
    let watch = Stopwatch::new();
    let before = Written::so_far(&engine.data_file());
    let started = watch.start();
    for batch in keys.chunks(BATCH_PUTS) {
        let mut writer = engine.writer()?;
        writer.put_all(workload.entries_of(batch, version))?;
        writer.commit()?;
    }
    let seconds = started.nanoseconds() / 1e9;
    let [dirtied, device] = Written::so_far(&engine.data_file()).each_since(before, keys.len());
    Ok([keys.len() as f64 / seconds, dirtied, device])
}

/// How a fresh database is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Puts in random order.
    Random,
    /// One append for each entry, ascending.
    Append,
    /// The engine's fastest way for ascending entries.
    Sorted,
}

/// What a load cost and left.
pub struct Loaded<E> {
    /// The engine, open.
    pub engine: E,
    /// Nanoseconds an entry, without the commit.
    pub without_commit: f64,
    /// Nanoseconds an entry, with the durable commit.
    pub with_commit: f64,
    /// Bytes that the data file occupies.
    pub file_bytes: f64,
    /// Bytes of the tree's pages.
    pub tree_bytes: f64,
}

/// Fills a fresh database in `dir` in one transaction.
pub fn load<E: Engine>(
    dir: &Path,
    room_bytes: u64,
    setup: &E::Setup,
    workload: &Workload,
    how: Load,
) -> Result<Loaded<E>> {
    let engine = E::open(dir, room_bytes, setup)?;
    let watch = Stopwatch::new();
    let started = watch.start();
    let mut writer = engine.writer()?;
    match how {
        Load::Random => writer.put_all(workload.entries_of(&workload.inserted, 0))?,
        Load::Append => writer.append_all(workload.entries_of(&workload.sorted, 0))?,
        Load::Sorted => writer.load_sorted(workload.entries_of(&workload.sorted, 0))?,
    }
    let without_commit = nanoseconds_each(&started, workload.entries());
    writer.commit()?;
    let with_commit = nanoseconds_each(&started, workload.entries());
    let file_bytes = machine::occupied_bytes(&engine.data_file())? as f64;
    let tree_bytes = engine.tree_bytes()? as f64;
    Ok(Loaded { engine, without_commit, with_commit, file_bytes, tree_bytes })
}

/// Checks that a sample of the entries holds what was put last, before anything is measured on it.
pub fn verify<E: Engine>(engine: &E, workload: &Workload, version: usize) -> Result<()> {
    let reader = engine.reader()?;
    let table = reader.table()?;
    for key in workload.looked_up.iter().step_by(workload.entries() / 1000 + 1) {
        if table.get(key)? != Some(workload.value(key, version)) {
            return Err(format!("{}: a value is not what was put", E::NAME).into());
        }
    }
    Ok(())
}
