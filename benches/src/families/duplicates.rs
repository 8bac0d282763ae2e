//! Multimaps: pairs inserted in random order, all duplicates of keys read, and how large the file is.

use std::path::Path;

use crate::Result;
use crate::engine::Durability;
use crate::machine::{Stopwatch, occupied_bytes_in};
use crate::multimaps::{self, Candidate, Found, Key, Pair};
use crate::results::Ask;
use crate::rounds::{Side, alternate};
use crate::suite::Suite;
use crate::workload::KEY_BYTES;

pub const ABOUT: &str = "A multimap of keys of 24 bytes with duplicates of 8 bytes, of one fixed length where the engine has that: \
    inserted in random order in one durable transaction, its commit included; then all duplicates of each key are read, keys \
    in random order, by the fastest call that the crate has. Few duplicates a key lie in its leaf, many in pages of their own. Engines \
    without multimaps are absent.";

/// What one engine is given.
struct Workload {
    pairs: Vec<Pair>,
    keys: Vec<Key>,
    expected: Found,
}

impl Workload {
    /// `pairs` pairs, `each` for a key, in random order.
    fn new(suite: &Suite, pairs: usize, each: usize) -> Workload {
        let mut random = suite.random(each as u64);
        let mut keys: Vec<Key> = vec![[0; KEY_BYTES]; (pairs / each).max(1)];
        keys.iter_mut().for_each(|key| random.fill(key));
        let mut all: Vec<Pair> = Vec::with_capacity(keys.len() * each);
        for key in &keys {
            all.extend((0..each).map(|_| (*key, random.next_u64().to_be_bytes())));
        }
        random.shuffle(&mut all);
        random.shuffle(&mut keys);
        let mut expected = Found::default();
        all.iter().for_each(|(_, duplicate)| expected.add(duplicate));
        Workload { pairs: all, keys, expected }
    }

    /// Nanoseconds to insert a pair and to read a duplicate, and bytes of disk for a pair.
    fn figures(&self, candidate: Candidate, dir: &Path) -> Result<[f64; 3]> {
        let room_bytes = (1 << 30) + 400 * self.pairs.len() as u64;
        let database = (candidate.open)(dir, room_bytes)?;
        let watch = Stopwatch::new();
        let each = |nanoseconds: f64| nanoseconds / self.pairs.len() as f64;
        let started = watch.start();
        database.insert(&self.pairs)?;
        let insert = each(started.nanoseconds());
        self.read(database.as_ref())?;
        let started = watch.start();
        self.read(database.as_ref())?;
        let read = each(started.nanoseconds());
        drop(database);
        Ok([insert, read, occupied_bytes_in(dir)? as f64 / self.pairs.len() as f64])
    }

    fn read(&self, database: &dyn multimaps::Multimap) -> Result<()> {
        let found = database.read(&self.keys)?;
        match found == self.expected {
            true => Ok(()),
            false => Err(format!("found {found:?} where {:?} were inserted", self.expected).into()),
        }
    }
}

pub fn measure(suite: &mut Suite) -> Result<()> {
    let pairs = suite.profile.pick(4_000, 600_000, 2_000_000);
    let rounds = suite.profile.pick(1, 3, 5);
    for each in [5, 500] {
        let workload = Workload::new(suite, pairs, each);
        let (workload, place) = (&workload, &*suite);
        let side = |candidate: Candidate| {
            Side::new(candidate.name, move |_| {
                let dir = place.fresh_dir(candidate.name)?;
                let figures = workload.figures(candidate, &dir);
                std::fs::remove_dir_all(&dir)?;
                figures.map_err(|error| format!("{}: {error}", candidate.name).into())
            })
        };
        let candidates = multimaps::all().into_iter().filter(|candidate| place.has_peer(candidate.name));
        let samples = alternate(0, rounds, candidates.map(side).collect())?;
        let asks = [
            Ask::lower(format!("insertion of pairs, {each} a key"), "ns/pair"),
            Ask::lower(format!("all duplicates of a key, {each} a key"), "ns/duplicate"),
            Ask::lower(format!("file size of a multimap, {each} a key"), "bytes/pair"),
        ];
        suite.keep(asks, Some(Durability::Sync), samples);
    }
    Ok(())
}
