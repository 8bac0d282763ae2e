//! Transactions within a write transaction: one put each, committed into the parent or aborted alone.

use std::path::Path;

use crate::Result;
use crate::nesting::{self, Candidate, Ending};
use crate::results::Ask;
use crate::rounds::{Side, alternate};
use crate::suite::Suite;
use crate::workload::Entries;

pub const ABOUT: &str = "Within one write transaction a nested one for each of many random puts into a table of some ten thousand entries: begun, \
    given the put, and committed into its parent, or aborted, which leaves the parent as it was. Only the nested ones are timed. With \
    savepoints the same transaction goes on and is rolled back to one. SQLite's nested transactions are savepoints; LMDB has none on a \
    writable map, nor have the engines that are absent.";

struct Workload {
    there: Entries,
    put: Entries,
}

impl Workload {
    fn figures(&self, candidate: Candidate, dir: &Path) -> Result<[f64; 3]> {
        let database = (candidate.open)(dir, 1 << 30)?;
        database.fill(&self.there)?;
        let committed = database.nested(&self.put, Ending::Commit)?;
        let aborted = database.nested(&self.put, Ending::Abort)?;
        Ok([committed, aborted, database.savepoints(&self.put)?])
    }
}

pub fn measure(suite: &mut Suite) -> Result<()> {
    let count = suite.profile.pick(200, 5_000, 20_000);
    let rounds = suite.profile.pick(1, 5, 11);
    let workload = suite.workload(suite.profile.pick(1_000, 20_000, 20_000));
    let there = workload.entries(&workload.words(0..workload.entries), 0);
    let put = workload.entries(&workload.uniform(count, &mut suite.random(1)), 1);
    let (workload, place) = (&Workload { there, put }, &*suite);
    let side = |candidate: Candidate| {
        Side::new(candidate.name, move |_| {
            let dir = place.fresh_dir(candidate.name)?;
            let figures = workload.figures(candidate, &dir);
            std::fs::remove_dir_all(&dir)?;
            figures.map_err(|error| format!("{}: {error}", candidate.name).into())
        })
    };
    let candidates = nesting::all().into_iter().filter(|candidate| place.has_peer(candidate.name));
    let samples = alternate(0, rounds, candidates.map(side).collect())?;
    let asks = [
        Ask::lower("nested transaction of one put, committed", "ns"),
        Ask::lower("nested transaction of one put, aborted", "ns"),
        Ask::lower("savepoint, one put, rolled back", "ns"),
    ];
    suite.keep(asks, None, samples);
    Ok(())
}
