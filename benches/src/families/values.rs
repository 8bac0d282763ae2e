//! Large values: of a megabyte, and a churn of 10 KB to 1 MB as the file ages.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Txns;
use crate::results::Ask;
use crate::rounds::{Side, alternate};
use crate::suite::{Seat, Suite, fill, remove};
use crate::workload::{Entries, KEY_BYTES, Workload};

pub const ABOUT: &str = "Values of 1 MB, one a durable commit, and lookups of them, of which the first and the last cache line \
    are touched. Churn: keys get values of five lengths from 10 KB to 1 MB in turn, one a durable commit, until each has \
    been put five times; the rate of the last tenth is held against that of the first.";

const MEGABYTE: usize = 1_000_000;
/// Lengths of values in churn.
const LENGTHS: [usize; 5] = [10_000, 31_600, 100_000, 316_000, MEGABYTE];
/// How often each key gets a value.
const PUTS_EACH: usize = 5;
const TENTHS: usize = 10;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let count = suite.profile.pick(4, 40, 500);
    let workload = Workload::new(count, KEY_BYTES, MEGABYTE, suite.seed);
    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Sync, &workload)?;
    let rounds = suite.profile.pick(1, 3, 7);
    let words = workload.uniform(suite.profile.pick(4, 500, 2_000), &mut suite.random(1));
    let keys = workload.keys(&words);
    let read = Ask::lower("point read of a value of 1 MB", "ns");
    suite.ask(&seats, [read], (1, rounds), None, |seat, _| {
        Ok([seat.entrant.gets(&keys, MEGABYTE, Txns::One)?])
    })?;
    let words = workload.uniform(suite.profile.pick(2, 20, 50), &mut suite.random(2));
    let put = Ask::higher("durable puts of 1 MB", "MB/s");
    suite.ask(&seats, [put], (0, rounds), Some(Durability::Sync), |seat, round| {
        let entries = workload.entries(&words, 1 + round as u64);
        Ok([entries.len() as f64 * MEGABYTE as f64 / 1e6 / seat.entrant.puts(&entries, 1)?.seconds])
    })?;
    remove(seats)?;
    churn(suite)
}

/// The keys under churn, and the workload of each length.
struct Churn {
    keys: usize,
    lengths: Vec<Workload>,
}

impl Churn {
    /// The length that a key's value has in a put: each key goes through all lengths.
    fn length_at(&self, key: usize, put: usize) -> &Workload {
        &self.lengths[(key + put) % self.lengths.len()]
    }

    /// The puts of a tenth, in turn.
    fn puts(&self, tenth: usize) -> Vec<Entries> {
        let each = self.keys * PUTS_EACH / TENTHS;
        let put = |number: usize| {
            let (key, put) = (number % self.keys, number / self.keys);
            let workload = self.length_at(key, put);
            workload.entries(&[workload.word(key)], put as u64 + 1)
        };
        (tenth * each..(tenth + 1) * each).map(put).collect()
    }

    /// Reads the last value of each key.
    fn verify(&self, seat: &Seat) -> Result<()> {
        for key in 0..self.keys {
            let workload = self.length_at(key, PUTS_EACH - 1);
            seat.entrant.gets(&workload.keys(&[workload.word(key)]), workload.value_bytes, Txns::One)?;
        }
        Ok(())
    }
}

fn churn(suite: &mut Suite) -> Result<()> {
    let keys = suite.profile.pick(4, 60, 600);
    let lengths = LENGTHS.map(|length| Workload::new(keys, KEY_BYTES, length, suite.seed)).to_vec();
    let churn = Churn { keys, lengths };
    let largest = &churn.lengths[LENGTHS.len() - 1];
    let seats = suite.field(&[Role::Whole, Role::Writes], Durability::Sync, largest)?;
    // A first round on the fresh file is not judged: it grows the file.
    seats.iter().try_for_each(|seat| fill(seat.entrant.as_ref(), &churn.lengths[2]))?;
    let tenths: Vec<Vec<Entries>> = (0..TENTHS).map(|tenth| churn.puts(tenth)).collect();
    let rate = |seat: &Seat, tenth: usize| -> Result<[f64; 1]> {
        let (mut seconds, mut bytes) = (0.0, 0);
        for entries in &tenths[tenth] {
            seconds += seat.entrant.puts(entries, 1)?.seconds;
            bytes += entries.value_bytes();
        }
        Ok([bytes as f64 / 1e6 / seconds])
    };
    let sides = seats.iter().map(|seat| Side::new(seat.peer.name, |tenth| rate(seat, tenth))).collect();
    let [samples] = alternate(0, TENTHS, sides)?;
    for (tenth, name) in [(0, "first"), (TENTHS - 1, "last")] {
        let ask = Ask::higher(format!("churn of large values, {name} tenth"), "MB/s");
        suite.keep([ask], Some(Durability::Sync), [samples.iter().map(|side| side.only(tenth)).collect()]);
    }
    let kept = samples.iter().map(|side| side.last_to_first()).collect();
    suite.keep(
        [Ask::higher("churn of large values, last tenth to first", "x")],
        Some(Durability::Sync),
        [kept],
    );
    seats.iter().try_for_each(|seat| churn.verify(seat))?;
    remove(seats)
}
