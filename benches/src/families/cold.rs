//! Cold reads: random lookups on files of which the page cache holds nothing.

use std::time::Instant;

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Txns;
use crate::machine;
use crate::page_cache;
use crate::results::Ask;
use crate::suite::{Closed, ENTRIES_100_MB, Seat, Suite, remove};
use crate::workload::{Keys, VALUE_BYTES};

pub const ABOUT: &str = "Random lookups right after the database was closed, the page cache of its files dropped by advice and \
    found empty, and the database opened again with its default options. Few lookups, so that few find what another one \
    brought. Bytes are those that the kernel read from the device for this process.";

/// Share of pages that may be left in memory.
const RESIDENT_MAX: f64 = 0.02;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let (size, entries) =
        suite.profile.pick(("100 MB", 4_000), ("100 MB", ENTRIES_100_MB), ("1 GB", 5_750_000));
    let workload = suite.workload(entries);
    let seats = suite.filled(&[Role::Whole], Durability::Sync, &workload)?;
    let closed = seats.into_iter().map(Seat::closed).collect::<Result<Vec<_>>>()?;
    for closed in &closed {
        let resident = page_cache::drop_all(&closed.dir)?;
        if resident > RESIDENT_MAX {
            let share = resident * 100.0;
            suite
                .skip(&format!("{share:.0} % of {}'s pages stay in memory against advice", closed.peer.name));
            return Ok(());
        }
    }
    let rounds = suite.profile.pick(1, 3, 7);
    let count = suite.profile.pick(3, 30, 200);
    let mut random = suite.random(1);
    let keys: Vec<Keys> = (0..rounds).map(|_| workload.keys(&workload.uniform(count, &mut random))).collect();
    let bytes = format!("bytes read per cold random read, {size}");
    let asks = [Ask::lower("cold random read", "us"), Ask::lower(bytes, "bytes").limit(Some(4096.0))];
    suite.ask_closed(&closed, asks, rounds, |closed, round| cold_reads(closed, &keys[round]))?;
    remove(closed.iter().map(Closed::open).collect::<Result<_>>()?)
}

/// Microseconds and bytes a lookup.
fn cold_reads(closed: &Closed, keys: &Keys) -> Result<[f64; 2]> {
    page_cache::drop_all(&closed.dir)?;
    let seat = closed.open()?;
    let (read, began) = (machine::bytes_read(), Instant::now());
    seat.entrant.gets(keys, VALUE_BYTES, Txns::One)?;
    let microseconds = began.elapsed().as_secs_f64() * 1e6;
    let bytes = match (read, machine::bytes_read()) {
        (Some(before), Some(after)) => (after - before) as f64,
        _ => f64::NAN,
    };
    seat.entrant.close()?;
    Ok([microseconds / keys.len() as f64, bytes / keys.len() as f64])
}
