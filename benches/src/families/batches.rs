//! Durable batches of a thousand random puts: on a database just filled, and as it ages.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::results::Ask;
use crate::rounds::{Side, alternate};
use crate::suite::{ENTRIES_100_MB, Seat, Suite, fill, remove};
use crate::workload::{Entries, Workload};

pub const ABOUT: &str = "Overwrites of random keys, 1,000 a durable commit. Fresh: on a database filled in random order. Aged: \
    a smaller one is overwritten five times over, and the rate of each tenth of that is taken; the file is then held \
    against the keys and values in it.";

const BATCH: usize = 1_000;
/// How often the database is overwritten as a whole.
const AGES: usize = 5;
/// Parts of its life.
const TENTHS: usize = 10;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(4_000, ENTRIES_100_MB, ENTRIES_100_MB));
    let seats = suite.filled(&[Role::Whole, Role::Writes, Role::SharedSync], Durability::Sync, &workload)?;
    let rounds = suite.profile.pick(1, 5, 11);
    let batches = suite.profile.pick(1, 8, 20);
    let mut random = suite.random(1);
    let entries: Vec<Entries> = (0..rounds)
        .map(|round| workload.entries(&workload.uniform(batches * BATCH, &mut random), round as u64 + 1))
        .collect();
    let ask = Ask::higher("durable batches of 1,000 random puts, fresh", "puts/s");
    suite
        .ask(&seats, [ask], (0, rounds), Some(Durability::Sync), |seat, round| rate(seat, &entries[round]))?;
    remove(seats)?;
    aged(suite)
}

fn rate(seat: &Seat, entries: &Entries) -> Result<[f64; 1]> {
    Ok([entries.len() as f64 / seat.entrant.puts(entries, BATCH)?.seconds])
}

/// The tenths take the place of rounds: in each, every engine takes its turn.
fn aged(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(2_000, 60_000, ENTRIES_100_MB));
    let seats = suite.field(&[Role::Whole, Role::Writes], Durability::Sync, &workload)?;
    seats.iter().try_for_each(|seat| fill(seat.entrant.as_ref(), &workload))?;
    let tenths = tenths(suite, &workload);
    let sides =
        seats.iter().map(|seat| Side::new(seat.peer.name, |tenth| rate(seat, &tenths[tenth]))).collect();
    let [samples] = alternate(0, TENTHS, sides)?;
    for tenth in 0..TENTHS {
        let name = match tenth + 1 {
            TENTHS => "durable batches of 1,000 random puts, last tenth".to_owned(),
            number => format!("durable batches of 1,000 random puts, tenth {number}"),
        };
        let ask =
            Ask::higher(name, "puts/s").on("puts/s in durable batches by tenth of life", tenth as f64 + 1.0);
        let of_tenth = samples.iter().map(|side| side.only(tenth)).collect();
        suite.keep([ask], Some(Durability::Sync), [of_tenth]);
    }
    let ask = Ask::lower("file to live data after five overwrites", "x").limit(Some(1.0));
    let live = workload.live_bytes() as f64;
    suite.ask(&seats, [ask], (0, 1), Some(Durability::Sync), |seat, _| {
        seat.warm(&workload)?;
        Ok([seat.file_bytes()? / live])
    })?;
    remove(seats)
}

fn tenths(suite: &Suite, workload: &Workload) -> Vec<Entries> {
    let mut random = suite.random(2);
    let puts = (workload.entries * AGES / TENTHS).next_multiple_of(BATCH);
    (0..TENTHS)
        .map(|tenth| workload.entries(&workload.uniform(puts, &mut random), tenth as u64 + 1))
        .collect()
}
