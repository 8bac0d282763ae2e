//! The timed loops. Each is generic over the engine, so that the compiler sees what a user's own loop would show it,
//! and all of them stand behind one object-safe trait, so that a family goes through the engines in a plain list.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::engine::{Engine, PAST_ALL, Reader, Setup, Table, Writer};
use crate::machine::{Started, Stopwatch};
use crate::workload::{Entries, Keys, is_of, refuse_wrong};

/// Whether each lookup has a read transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Txns {
    /// All lookups share one.
    One,
    /// Each begins and ends one.
    Each,
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending.
    Forward,
    /// Descending.
    Backward,
}

/// What an engine has a call of its own for. What it lacks is done the long way, or is absent from a row.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Many keys at once.
    pub multi_get: bool,
    /// A count without a walk.
    pub count: bool,
    /// A load of ascending entries.
    pub sorted_load: bool,
    /// A range deleted by one call.
    pub delete_range: bool,
}

/// What changes cost.
#[derive(Clone, Debug)]
pub struct Changed {
    /// All of it, in seconds.
    pub seconds: f64,
    /// Each commit with its transaction, in microseconds.
    pub commits_us: Vec<f64>,
}

/// An operation of a mixed workload, a transaction each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A lookup.
    Read,
    /// A put of a key that is there, or is not.
    Put,
    /// A range of so many entries.
    Scan(usize),
    /// A lookup and a put.
    ReadModifyWrite,
}

/// An open database that can be asked for figures.
pub trait Entrant: Send + Sync {
    /// What its engine has.
    fn abilities(&self) -> Abilities;
    /// Nanoseconds a lookup of keys that are there.
    fn gets(&self, keys: &Keys, value_bytes: usize, txns: Txns) -> Result<f64>;
    /// Nanoseconds a lookup of keys that are there, `group` of them at once.
    fn groups(&self, keys: &Keys, value_bytes: usize, group: usize) -> Result<f64>;
    /// Nanoseconds a lookup of keys that are not there.
    fn misses(&self, keys: &Keys) -> Result<f64>;
    /// Nanoseconds to begin and end a read transaction.
    fn begins(&self, times: usize) -> Result<f64>;
    /// Nanoseconds an entry of scans of at most `limit` entries from each of `from`, keys and values touched.
    fn scans(&self, from: &Keys, limit: usize, value_bytes: usize, way: Direction) -> Result<f64>;
    /// Nanoseconds an entry of a scan of everything, keys and values touched, and how many entries there are.
    fn scan(&self, value_bytes: usize, way: Direction) -> Result<(f64, usize)>;
    /// Nanoseconds a count of each range, and the sum of the counts. The bounds are pairs of neighbours.
    fn counts(&self, bounds: &Keys) -> Result<(f64, usize)>;
    /// Puts entries, so many a commit.
    fn puts(&self, entries: &Entries, batch: usize) -> Result<Changed>;
    /// Puts the entries again and again, each in a transaction of its own, until `deadline`; microseconds of each.
    fn commits_until(&self, entries: &Entries, deadline: Instant) -> Result<Vec<f64>>;
    /// Does each operation to the entry beside it; seconds.
    fn mixed(&self, operations: &[Operation], entries: &Entries) -> Result<f64>;
    /// Puts ascending entries in one transaction, the engine's fastest way; seconds.
    fn sorted_load(&self, entries: &Entries) -> Result<f64>;
    /// Deletes keys, so many a commit; seconds.
    fn deletes(&self, keys: &Keys, batch: usize) -> Result<f64>;
    /// Deletes what lies between two keys in one transaction; seconds.
    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<f64>;
    /// Holds a snapshot while `during` works.
    fn pinned(&self, during: &mut dyn FnMut() -> Result<()>) -> Result<()>;
    /// Levels of the tree, of an engine that tells.
    fn height(&self) -> Result<Option<u64>>;
    /// Closes the database.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Opens engine `E`.
pub fn open<E: Engine + 'static>(dir: &Path, setup: &Setup) -> Result<Box<dyn Entrant>> {
    Ok(Box::new(E::open(dir, setup)?))
}

fn nanoseconds_each(started: &Started<'_>, operations: usize) -> f64 {
    started.nanoseconds() / operations.max(1) as f64
}

type TableOf<'t, 'e, E> = <<E as Engine>::Reader<'e> as Reader>::Table<'t>;

/// Looks keys up; answers how many reads were wrong.
fn gets_in<T: Table>(table: &mut T, keys: &Keys, value_bytes: usize) -> Result<usize> {
    let mut right = 0;
    for key in keys.iter() {
        table.get(key, |value| right += usize::from(is_of(key, value, value_bytes)))?;
    }
    Ok(keys.len() - right)
}

fn gets_in_groups<T: Table>(table: &mut T, keys: &Keys, value_bytes: usize, group: usize) -> Result<usize> {
    let mut right = 0;
    let mut together: Vec<&[u8]> = Vec::with_capacity(group);
    let mut keys_left = keys.iter();
    loop {
        together.clear();
        together.extend(keys_left.by_ref().take(group));
        if together.is_empty() {
            return Ok(keys.len() - right);
        }
        table.multi_get(&together, |at, value| {
            right += usize::from(is_of(together[at], value, value_bytes))
        })?;
    }
}

fn scan_in<T: Table>(
    table: &mut T,
    from: &[u8],
    limit: usize,
    value_bytes: usize,
    way: Direction,
) -> Result<usize> {
    let mut wrong = 0;
    let check = |key: &[u8], value: &[u8]| wrong += usize::from(!is_of(key, value, value_bytes));
    let seen = match way {
        Direction::Forward => table.forward(from, limit, check)?,
        Direction::Backward => table.backward(from, limit, check)?,
    };
    refuse_wrong(wrong, seen)?;
    Ok(seen)
}

impl<E: Engine> Entrant for E {
    fn abilities(&self) -> Abilities {
        Abilities {
            multi_get: TableOf::<'_, '_, E>::HAS_MULTI_GET,
            count: TableOf::<'_, '_, E>::HAS_COUNT,
            sorted_load: <E::Writer<'_> as Writer>::HAS_SORTED_LOAD,
            delete_range: <E::Writer<'_> as Writer>::HAS_DELETE_RANGE,
        }
    }

    fn gets(&self, keys: &Keys, value_bytes: usize, txns: Txns) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        let wrong = match txns {
            Txns::One => self.read(|reader| gets_in(&mut reader.table()?, keys, value_bytes))?,
            Txns::Each => {
                let mut right = 0;
                for key in keys.iter() {
                    self.read(|reader| {
                        reader.table()?.get(key, |value| right += usize::from(is_of(key, value, value_bytes)))
                    })?;
                }
                keys.len() - right
            }
        };
        let figure = nanoseconds_each(&started, keys.len());
        refuse_wrong(wrong, keys.len())?;
        Ok(figure)
    }

    fn groups(&self, keys: &Keys, value_bytes: usize, group: usize) -> Result<f64> {
        let watch = Stopwatch::new();
        self.read(|reader| {
            let mut table = reader.table()?;
            let started = watch.start();
            let wrong = gets_in_groups(&mut table, keys, value_bytes, group)?;
            let figure = nanoseconds_each(&started, keys.len());
            refuse_wrong(wrong, keys.len())?;
            Ok(figure)
        })
    }

    fn misses(&self, keys: &Keys) -> Result<f64> {
        let watch = Stopwatch::new();
        self.read(|reader| {
            let mut table = reader.table()?;
            let mut found = 0;
            let started = watch.start();
            for key in keys.iter() {
                found += usize::from(table.get(key, |value| {
                    black_box(value);
                })?);
            }
            let figure = nanoseconds_each(&started, keys.len());
            match found {
                0 => Ok(figure),
                _ => Err(format!("{found} keys were found that were never put").into()),
            }
        })
    }

    fn begins(&self, times: usize) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        for _ in 0..times {
            self.read(|reader| {
                black_box(reader);
                Ok(())
            })?;
        }
        Ok(nanoseconds_each(&started, times))
    }

    fn scans(&self, from: &Keys, limit: usize, value_bytes: usize, way: Direction) -> Result<f64> {
        let watch = Stopwatch::new();
        self.read(|reader| {
            let mut table = reader.table()?;
            let mut seen = 0;
            let started = watch.start();
            for key in from.iter() {
                seen += scan_in(&mut table, key, limit, value_bytes, way)?;
            }
            Ok(nanoseconds_each(&started, seen))
        })
    }

    fn scan(&self, value_bytes: usize, way: Direction) -> Result<(f64, usize)> {
        let watch = Stopwatch::new();
        self.read(|reader| {
            let mut table = reader.table()?;
            let from: &[u8] = if way == Direction::Forward { &[] } else { &PAST_ALL };
            let started = watch.start();
            let seen = scan_in(&mut table, from, usize::MAX, value_bytes, way)?;
            Ok((nanoseconds_each(&started, seen), seen))
        })
    }

    fn counts(&self, bounds: &Keys) -> Result<(f64, usize)> {
        let watch = Stopwatch::new();
        self.read(|reader| {
            let mut table = reader.table()?;
            let mut counted = 0;
            let mut bounds_left = bounds.iter();
            let started = watch.start();
            while let (Some(from), Some(to)) = (bounds_left.next(), bounds_left.next()) {
                counted += table.count(from.min(to), from.max(to))?;
            }
            Ok((nanoseconds_each(&started, bounds.len() / 2), counted))
        })
    }

    fn puts(&self, entries: &Entries, batch: usize) -> Result<Changed> {
        let mut commits_us = Vec::with_capacity(entries.len().div_ceil(batch));
        let watch = Stopwatch::new();
        let started = watch.start();
        for batch in entries.batches(batch) {
            let began = Instant::now();
            self.write(|writer| writer.put_all(batch))?;
            commits_us.push(began.elapsed().as_nanos() as f64 / 1000.0);
        }
        Ok(Changed { seconds: started.nanoseconds() / 1e9, commits_us })
    }

    fn commits_until(&self, entries: &Entries, deadline: Instant) -> Result<Vec<f64>> {
        let mut commits_us = Vec::new();
        loop {
            for entry in entries.iter() {
                let began = Instant::now();
                if began >= deadline {
                    return Ok(commits_us);
                }
                self.put_alone(entry)?;
                commits_us.push(began.elapsed().as_nanos() as f64 / 1000.0);
            }
        }
    }

    fn mixed(&self, operations: &[Operation], entries: &Entries) -> Result<f64> {
        let value_bytes = entries.value_bytes();
        let (mut reads, mut right) = (0, 0);
        let watch = Stopwatch::new();
        let started = watch.start();
        for (operation, (key, value)) in operations.iter().zip(entries.iter()) {
            if matches!(operation, Operation::Read | Operation::ReadModifyWrite) {
                reads += 1;
                self.read(|reader| {
                    reader.table()?.get(key, |value| right += usize::from(is_of(key, value, value_bytes)))
                })?;
            }
            if matches!(operation, Operation::Put | Operation::ReadModifyWrite) {
                self.write(|writer| writer.put_all(std::iter::once((key, value))))?;
            }
            if let Operation::Scan(limit) = *operation {
                self.read(|reader| {
                    scan_in(&mut reader.table()?, key, limit, value_bytes, Direction::Forward)
                })?;
            }
        }
        let seconds = started.nanoseconds() / 1e9;
        refuse_wrong(reads - right, reads)?;
        Ok(seconds)
    }

    fn sorted_load(&self, entries: &Entries) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        self.write(|writer| writer.load_sorted(entries.iter()))?;
        Ok(started.nanoseconds() / 1e9)
    }

    fn deletes(&self, keys: &Keys, batch: usize) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        let mut left = keys.len();
        let mut keys = keys.iter();
        while left > 0 {
            self.write(|writer| writer.delete_all(keys.by_ref().take(batch)))?;
            left = left.saturating_sub(batch);
        }
        Ok(started.nanoseconds() / 1e9)
    }

    fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        self.write(|writer| writer.delete_range(from, to))?;
        Ok(started.nanoseconds() / 1e9)
    }

    fn pinned(&self, during: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.read(|reader| {
            let mut table = reader.table()?;
            let seen = |table: &mut TableOf<'_, '_, E>| table.forward(&[], 1, |_, _| ());
            let before = seen(&mut table)?;
            during()?;
            match seen(&mut table)? == before {
                true => Ok(()),
                false => Err("a snapshot changed while it was held".into()),
            }
        })
    }

    fn height(&self) -> Result<Option<u64>> {
        Engine::height(self)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Engine::close(*self)
    }
}
