//! Named snapshots made, dropped and opened; readers parked and brought back.

use std::path::Path;

use crate::Result;
use crate::engine::Durability;
use crate::results::Ask;
use crate::rounds::{Side, alternate};
use crate::snapshots::{self, Candidate};
use crate::suite::Suite;
use crate::workload::Entries;

pub const ABOUT: &str = "A snapshot of some ten thousand entries made and dropped, each in a durable transaction of its own, beside eight others \
    that stay; redb's are persistent savepoints, which can be rolled back to and not read. A snapshot opened by its name and let go, and a \
    reader parked and brought back: of MapleDB alone, beside two accesses to memory that the caches hold in part, which each is at least.";

/// Snapshots that stay.
const OTHERS: u64 = 8;

struct Workload {
    there: Entries,
    commits: usize,
    opens: usize,
}

impl Workload {
    /// Microseconds to make a snapshot and to drop it; nanoseconds to open one, and to park a reader and bring it back.
    fn figures(&self, candidate: Candidate, dir: &Path) -> Result<[f64; 4]> {
        let database = (candidate.open)(dir)?;
        database.fill(&self.there)?;
        let others: Vec<u64> = (0..OTHERS).map(|nth| database.make(nth)).collect::<Result<_>>()?;
        let (mut made, mut dropped) = (0.0, 0.0);
        for nth in 0..self.commits {
            let began = std::time::Instant::now();
            let snapshot = database.make(OTHERS + nth as u64)?;
            let middle = std::time::Instant::now();
            database.drop_made(snapshot)?;
            made += (middle - began).as_secs_f64();
            dropped += middle.elapsed().as_secs_f64();
        }
        let each = |seconds: f64| seconds * 1e6 / self.commits as f64;
        let opened = database.opens(others[OTHERS as usize / 2], self.opens)?;
        Ok([each(made), each(dropped), opened, database.parks(self.opens)?])
    }
}

pub fn measure(suite: &mut Suite) -> Result<()> {
    let rounds = suite.profile.pick(1, 5, 11);
    let workload = suite.workload(suite.profile.pick(1_000, 20_000, 20_000));
    let there = workload.entries(&workload.words(0..workload.entries), 0);
    let commits = suite.profile.pick(5, 100, 400);
    let opens = suite.profile.pick(1_000, 100_000, 400_000);
    let (workload, place) = (&Workload { there, commits, opens }, &*suite);
    let side = |candidate: Candidate| {
        Side::new(candidate.name, move |_| {
            let dir = place.fresh_dir(candidate.name)?;
            let figures = workload.figures(candidate, &dir);
            std::fs::remove_dir_all(&dir)?;
            figures.map_err(|error| format!("{}: {error}", candidate.name).into())
        })
    };
    let candidates = snapshots::all().into_iter().filter(|candidate| place.has_peer(candidate.name));
    let samples = alternate(0, rounds, candidates.map(side).collect())?;
    let sync = Some(place.limits.sync_us);
    let accesses = place.limits.access_in(1 << 20).map(|access| 2.0 * access);
    let [made, dropped, opened, parked] = samples;
    let asks = [
        Ask::lower("snapshot made, a durable commit", "us").limit(sync),
        Ask::lower("snapshot dropped, a durable commit", "us").limit(sync),
    ];
    suite.keep(asks, Some(Durability::Sync), [made, dropped]);
    let asks = [
        Ask::lower("snapshot opened by name", "ns").limit(accesses),
        Ask::lower("reader parked and brought back", "ns").limit(accesses),
    ];
    suite.keep(asks, None, [opened, parked]);
    Ok(())
}
