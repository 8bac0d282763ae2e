//! Opening: a closed database in the page cache, and one left by a process that ended without closing, cold.

use std::time::{Duration, Instant};

use super::process::{Order, Process, Task};
use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Txns;
use crate::page_cache;
use crate::results::Ask;
use crate::suite::{Closed, ENTRIES_100_MB, Seat, Suite, remove};
use crate::workload::{Keys, VALUE_BYTES};

pub const ABOUT: &str = "From the call that opens until a first value has been read. Warm: the files are in the system's page \
    cache and were closed. Cold recovery: another process made durable commits of one put and ended without closing, and \
    the page cache was dropped.";

pub fn measure(suite: &mut Suite) -> Result<()> {
    let sizes: &[(&str, usize)] = suite.profile.pick(
        &[("100 MB", 4_000)],
        &[("100 MB", ENTRIES_100_MB)],
        &[("100 MB", ENTRIES_100_MB), ("1 GB", 5_750_000), ("4 GB", 23_000_000)],
    );
    for (size, entries) in sizes {
        at_size(suite, size, *entries)?;
    }
    Ok(())
}

fn at_size(suite: &mut Suite, size: &str, entries: usize) -> Result<()> {
    let workload = suite.workload(entries);
    let rounds = suite.profile.pick(1, 5, 7);
    let seats = suite.filled(&[Role::Whole], Durability::Sync, &workload)?;
    let key = workload.keys(&[workload.word(entries / 2)]);
    let closed = seats.into_iter().map(Seat::closed).collect::<Result<Vec<_>>>()?;

    let warm = Ask::lower(format!("warm open, {size}"), "ms");
    suite.ask_closed(&closed, [warm], rounds, |closed, _| Ok([opening(closed, &key)?]))?;

    let (worker, seed) = (suite.worker.clone(), suite.seed);
    let cold = Ask::lower(format!("cold recovery, {size}"), "ms");
    suite.ask_closed(&closed, [cold], rounds, |closed, round| {
        let order = Order {
            program: &worker,
            task: Task::Abandon,
            entries,
            seed,
            pick: seed + round as u64,
            threads: 1,
            time: Duration::from_millis(20),
            cgroup: None,
        };
        let mut process = Process::start(order, closed.peer.name, &closed.dir, &closed.setup)?;
        process.go()?;
        process.outcome()?;
        page_cache::drop_all(&closed.dir)?;
        Ok([opening(closed, &key)?])
    })?;
    let seats = closed.into_iter().map(|closed| closed.open()).collect::<Result<Vec<Seat>>>()?;
    seats.iter().try_for_each(|seat| seat.warm(&workload))?;
    remove(seats)
}

/// Milliseconds until a value has been read.
fn opening(closed: &Closed, key: &Keys) -> Result<f64> {
    let began = Instant::now();
    let seat = closed.open()?;
    seat.entrant.gets(key, VALUE_BYTES, Txns::One)?;
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    seat.entrant.close()?;
    Ok(milliseconds)
}
