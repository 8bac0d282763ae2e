//! Changes of what is there: overwrites and deletes a hundred a durable commit, and a range deleted at once.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Suite, remove};

pub const ABOUT: &str = "Overwrites and deletes of random keys, 100 a durable commit, on a database filled in random order; \
    and the deletion of a range of 1,000 entries in one durable transaction.";

/// Changes of a commit.
const BATCH: usize = 100;
/// Entries of a range that goes.
const RANGE: usize = 1_000;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(8_000, ENTRIES_100_MB, ENTRIES_100_MB));
    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Sync, &workload)?;
    let rounds = suite.profile.pick(1, 5, 11);
    let commits = suite.profile.pick(2, 30, 100);
    let sync = suite.limits.sync_us / BATCH as f64;

    let mut random = suite.random(1);
    let overwritten: Vec<_> = (0..rounds)
        .map(|round| workload.entries(&workload.uniform(commits * BATCH, &mut random), round as u64 + 1))
        .collect();
    let ask = Ask::lower("overwrite, 100 per durable commit", "us/put").limit(Some(sync));
    suite.ask(&seats, [ask], (0, rounds), Some(Durability::Sync), |seat, round| {
        let entries = &overwritten[round];
        Ok([seat.entrant.puts(entries, BATCH)?.seconds * 1e6 / entries.len() as f64])
    })?;

    let mut words = workload.words(0..workload.entries);
    random.shuffle(&mut words);
    let deleted: Vec<_> =
        words.chunks(commits * BATCH).take(rounds).map(|words| workload.keys(words)).collect();
    let ask = Ask::lower("delete, 100 per durable commit", "us/delete").limit(Some(sync));
    suite.ask(&seats, [ask], (0, rounds), Some(Durability::Sync), |seat, round| {
        let keys = &deleted[round];
        Ok([seat.entrant.deletes(keys, BATCH)? * 1e6 / keys.len() as f64])
    })?;

    let sorted = workload.keys(&workload.sorted_words());
    let bounds: Vec<&[u8]> = sorted.iter().step_by(RANGE).collect();
    let ask = Ask::lower("delete of a range of 1,000", "us").limit(Some(suite.limits.sync_us));
    suite.ask(&seats, [ask], (0, rounds), Some(Durability::Sync), |seat, round| {
        Ok([seat.entrant.delete_range(bounds[round], bounds[round + 1])? * 1e6])
    })?;
    remove(seats)
}
