//! The whole suite at its smallest, and engines with a planted fault that it must notice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mapledb_bench::Result;
use mapledb_bench::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};
use mapledb_bench::entrant::{self, Entrant, Txns};
use mapledb_bench::results::Results;
use mapledb_bench::suite::{Profile, Suite};
use mapledb_bench::targets::{self, TARGETS, Verdict};
use mapledb_bench::workload::{KEY_BYTES, VALUE_BYTES, Workload};
use mapledb_bench::{engines, families, report};

/// Measures of targets that only the full profile asks for.
const ONLY_IN_FULL: [&str; 6] = [
    "point read, 1 GB",
    "point read, 4 GB",
    "multi_get of 16, 1 GB",
    "multi_get of 16, 4 GB",
    "warm open, 4 GB",
    "cold recovery, 4 GB",
];
/// Measures that need what a machine may refuse.
const MAY_BE_SKIPPED: [&str; 1] = ["cold random read"];

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[test]
fn every_family_runs_and_every_target_has_its_row() -> Result<()> {
    let dir = directory("smoke");
    let peers =
        engines::all().into_iter().filter(|peer| peer.name.contains("maple") || peer.name.contains("lmdb"));
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let mut suite = Suite::new(Profile::Smoke, 1, peers.collect(), &dir.join("data"), program)?;
    let path = dir.join("results.json");
    assert_eq!(suite.run(families::ALL, &path)?, 0, "{:?}", suite.results.skipped);

    let results = Results::load(&path)?;
    for target in TARGETS {
        let is_expected =
            !ONLY_IN_FULL.contains(&target.measure) && !MAY_BE_SKIPPED.contains(&target.measure);
        let is_there = results.row(target.measure, target.engine).is_some();
        assert!(is_there || !is_expected, "no row {:?} of {}", target.measure, target.engine);
    }
    assert!(targets::judge(&results).iter().all(|target| target.verdict == Verdict::NotMeasured));

    report::write(&results, &dir.join("page"))?;
    let page = std::fs::read_to_string(dir.join("page/README.md"))?;
    assert!(page.contains("## MapleDB against the best peer"));
    assert!(page.contains("(point-read.svg)"));
    assert!(families::ALL.iter().all(|family| page.contains(&format!("## {}\n", family.name))));
    Ok(std::fs::remove_dir_all(dir)?)
}

/// What is wrong with an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Sleeps,
    WrongValue,
    ShortValue,
    Forgets,
}

/// A sorted map with a fault in its lookups.
struct Faulty<const FAULT: u8>(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

/// The locked map, for a reader, a table and a writer.
struct Locked<'e, const FAULT: u8>(MutexGuard<'e, BTreeMap<Vec<u8>, Vec<u8>>>);

impl<const FAULT: u8> Faulty<FAULT> {
    const KIND: Fault = match FAULT {
        0 => Fault::None,
        1 => Fault::Sleeps,
        2 => Fault::WrongValue,
        3 => Fault::ShortValue,
        _ => Fault::Forgets,
    };

    fn locked(&self) -> Locked<'_, FAULT> {
        Locked(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<const FAULT: u8> Engine for Faulty<FAULT> {
    type Reader<'e> = Locked<'e, FAULT>;
    type Writer<'e> = Locked<'e, FAULT>;

    fn open(_: &Path, _: &Setup) -> Result<Self> {
        Ok(Self(Mutex::default()))
    }
    fn read<R>(&self, body: impl FnOnce(&mut Locked<'_, FAULT>) -> Result<R>) -> Result<R> {
        body(&mut self.locked())
    }
    fn write<R>(&self, body: impl FnOnce(&mut Locked<'_, FAULT>) -> Result<R>) -> Result<R> {
        body(&mut self.locked())
    }
    fn close(self) -> Result<()> {
        Ok(())
    }
}

struct View<'t, const FAULT: u8>(&'t BTreeMap<Vec<u8>, Vec<u8>>);

impl<const FAULT: u8> Reader for Locked<'_, FAULT> {
    type Table<'t>
        = View<'t, FAULT>
    where
        Self: 't;

    fn table(&mut self) -> Result<View<'_, FAULT>> {
        Ok(View(&self.0))
    }
}

impl<const FAULT: u8> Table for View<'_, FAULT> {
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        let mut value = self.0.get(key).cloned().ok_or("a key is missing")?;
        match Faulty::<FAULT>::KIND {
            Fault::None => {}
            Fault::Sleeps => std::thread::sleep(Duration::from_micros(200)),
            Fault::WrongValue => value[0] ^= 1,
            Fault::ShortValue => value.truncate(VALUE_BYTES - 1),
            Fault::Forgets => return Ok(false),
        }
        read(&value);
        Ok(true)
    }
    fn forward(&mut self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let entries = self.0.range(from.to_vec()..).take(limit);
        Ok(entries.map(|(key, value)| each(key, value)).count())
    }
    fn backward(&mut self, to: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let entries = self.0.range(..to.to_vec()).rev().take(limit);
        Ok(entries.map(|(key, value)| each(key, value)).count())
    }
    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        Ok(self.0.range(from.to_vec()..to.to_vec()).count())
    }
}

impl<const FAULT: u8> Writer for Locked<'_, FAULT> {
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        self.0.extend(entries.map(|(key, value)| (key.to_vec(), value.to_vec())));
        Ok(())
    }
    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        keys.for_each(|key| drop(self.0.remove(key)));
        Ok(())
    }
    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.0.retain(|key, _| !(from..to).contains(&key.as_slice()));
        Ok(())
    }
}

/// Nanoseconds a lookup, as the families ask for them.
fn lookups<const FAULT: u8>() -> Result<f64> {
    let setup = Setup { durability: Durability::Sync, room_bytes: 1 << 20, cache_bytes: 1 << 20 };
    let faulty: Box<dyn Entrant> = entrant::open::<Faulty<FAULT>>(Path::new(""), &setup)?;
    let workload = Workload::new(50, KEY_BYTES, VALUE_BYTES, 1);
    let entries = workload.entries(&workload.words(0..50), 0);
    faulty.puts(&entries, 10)?;
    faulty.gets(&entries.keys, VALUE_BYTES, Txns::One)
}

#[test]
fn a_planted_sleep_is_in_the_figure() -> Result<()> {
    let sleeping = lookups::<1>()?;
    assert!(sleeping > 10.0 * lookups::<0>()?, "{sleeping} ns");
    assert!(sleeping >= 200_000.0, "{sleeping} ns");
    Ok(())
}

#[test]
fn a_wrong_a_short_and_a_missing_value_each_fail_the_run() {
    for outcome in [lookups::<2>(), lookups::<3>(), lookups::<4>()] {
        let error = outcome.expect_err("a wrong read must not give a figure").to_string();
        assert!(error.contains("50 of 50 reads"), "{error}");
    }
}
