//! Point reads: by size, key length, skew, threads and transactions; groups of keys; misses; beginning and ending a read.

use std::time::Instant;

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Txns;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Seat, Suite, remove};
use crate::workload::{Keys, VALUE_BYTES, Workload, Zipf};

pub const ABOUT: &str = "Lookups of keys that are there, in random order, all in one read transaction by one thread on a \
    warm database filled in random order, with 24-byte keys and 150-byte values, unless the row says otherwise. Engines \
    without a call for many keys look up the groups one by one. The limit is one dependent access to as much memory.";

const ROLES: [Role; 2] = [Role::Whole, Role::Points];

/// Beginnings of a round.
const BEGINS: usize = 100_000;

/// A size of the database.
struct Size {
    name: &'static str,
    entries: usize,
}

const L2: Size = Size { name: "L2", entries: 4_000 };
const MB_100: Size = Size { name: "100 MB", entries: ENTRIES_100_MB };
const GB_1: Size = Size { name: "1 GB", entries: 5_750_000 };
const GB_4: Size = Size { name: "4 GB", entries: 23_000_000 };
/// The middle size of a smoke test, under the name of the real one.
const SMOKE: Size = Size { name: "100 MB", entries: 8_000 };

pub fn measure(suite: &mut Suite) -> Result<()> {
    let sizes: &[Size] = suite.profile.pick(&[L2, SMOKE], &[L2, MB_100], &[L2, MB_100, GB_1, GB_4]);
    for size in sizes {
        let workload = suite.workload(size.entries);
        let seats = suite.filled(&ROLES, Durability::Sync, &workload)?;
        let mut asked = Asked { suite, seats: &seats, workload: &workload, size: size.name };
        asked.single()?;
        asked.groups()?;
        asked.misses()?;
        if size.name == MB_100.name {
            asked.variations()?;
        }
        remove(seats)?;
    }
    short_keys(suite)
}

struct Asked<'a> {
    suite: &'a mut Suite,
    seats: &'a [Seat],
    workload: &'a Workload,
    size: &'static str,
}

impl Asked<'_> {
    fn rounds(&self) -> (usize, usize) {
        (1, self.suite.profile.pick(1, 7, 15))
    }

    fn lookups(&self) -> usize {
        self.suite.profile.pick(1_000, 40_000, 100_000)
    }

    /// The uniform keys of each round, made before the clock starts.
    fn keys(&self, salt: u64) -> Vec<Keys> {
        let (warm_up, rounds) = self.rounds();
        let mut random = self.suite.random(salt);
        let mut keys = || self.workload.keys(&self.workload.uniform(self.lookups(), &mut random));
        (0..warm_up + rounds).map(|_| keys()).collect()
    }

    fn access(&self) -> Option<f64> {
        self.suite.limits.access_in(self.workload.live_bytes())
    }

    fn single(&mut self) -> Result<()> {
        let (keys, rounds) = (self.keys(1), self.rounds());
        let ask = Ask::lower(format!("point read, {}", self.size), "ns")
            .on("point read by bytes of data", self.workload.live_bytes() as f64)
            .limit(self.access());
        self.suite.ask(self.seats, [ask], rounds, None, |seat, round| {
            Ok([seat.entrant.gets(&keys[round], VALUE_BYTES, Txns::One)?])
        })
    }

    fn groups(&mut self) -> Result<()> {
        let (keys, rounds) = (self.keys(2), self.rounds());
        for group in [16, 64] {
            let ask =
                Ask::lower(format!("multi_get of {group}, {}", self.size), "ns/key").limit(self.access());
            self.suite.ask(self.seats, [ask], rounds, None, |seat, round| {
                Ok([seat.entrant.groups(&keys[round], VALUE_BYTES, group)?])
            })?;
        }
        Ok(())
    }

    fn misses(&mut self) -> Result<()> {
        let (warm_up, rounds) = self.rounds();
        let mut random = self.suite.random(3);
        let keys: Vec<Keys> = (0..warm_up + rounds)
            .map(|_| self.workload.keys(&self.workload.missing(self.lookups(), &mut random)))
            .collect();
        let ask = Ask::lower(format!("miss, {}", self.size), "ns").limit(self.access());
        self.suite.ask(self.seats, [ask], (warm_up, rounds), None, |seat, round| {
            Ok([seat.entrant.misses(&keys[round])?])
        })
    }

    fn variations(&mut self) -> Result<()> {
        let rounds = self.rounds();
        let begins = self.suite.profile.pick(100, BEGINS, BEGINS);
        let ask = Ask::lower("begin and end of a read transaction", "ns");
        self.suite.ask(self.seats, [ask], rounds, None, |seat, _| Ok([seat.entrant.begins(begins)?]))?;

        let keys = self.keys(4);
        let ask =
            Ask::lower(format!("point read, {}, a transaction each", self.size), "ns").limit(self.access());
        self.suite.ask(self.seats, [ask], rounds, None, |seat, round| {
            Ok([seat.entrant.gets(&keys[round], VALUE_BYTES, Txns::Each)?])
        })?;

        let ask = Ask::lower(format!("point read, {}, 2 threads", self.size), "ns")
            .limit(self.access().map(|ns| ns / 2.0));
        self.suite.ask(self.seats, [ask], rounds, None, |seat, round| Ok([by_two(seat, &keys, round)?]))?;

        let zipf = Zipf::new(self.workload.entries);
        let mut random = self.suite.random(5);
        let skewed: Vec<Keys> = (0..rounds.0 + rounds.1)
            .map(|_| self.workload.keys(&self.workload.skewed(self.lookups(), &zipf, &mut random)))
            .collect();
        let ask = Ask::lower(format!("point read, {}, skewed", self.size), "ns");
        self.suite.ask(self.seats, [ask], rounds, None, |seat, round| {
            Ok([seat.entrant.gets(&skewed[round], VALUE_BYTES, Txns::One)?])
        })
    }
}

/// Nanoseconds a lookup of two threads together.
fn by_two(seat: &Seat, keys: &[Keys], round: usize) -> Result<f64> {
    let began = Instant::now();
    let read =
        |keys: &Keys| seat.entrant.gets(keys, VALUE_BYTES, Txns::One).map_err(|error| error.to_string());
    let (own, other) = (&keys[round], &keys[(round + 1) % keys.len()]);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| read(other));
        read(own)?;
        thread.join().map_err(|_| "a reading thread panicked")??;
        Ok(began.elapsed().as_nanos() as f64 / (own.len() + other.len()) as f64)
    })
}

fn short_keys(suite: &mut Suite) -> Result<()> {
    let workload =
        Workload::new(suite.profile.pick(8_000, ENTRIES_100_MB, ENTRIES_100_MB), 8, VALUE_BYTES, suite.seed);
    let seats = suite.filled(&ROLES, Durability::Sync, &workload)?;
    let mut asked = Asked { suite, seats: &seats, workload: &workload, size: "100 MB, 8-byte keys" };
    asked.single()?;
    remove(seats)
}
