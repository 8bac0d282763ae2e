//! Scans: ranges of 10 and 100, everything, both ways; counts of ranges.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Direction;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Suite, fill_sorted, remove};
use crate::workload::{KEY_BYTES, Keys, VALUE_BYTES, Workload};

pub const ABOUT: &str = "Scans from random keys on a warm database of 100 MB filled in random order, keys and values \
    touched, by one thread. A count of a range is by the engine's own call where it has one, else a walk. The limit is \
    the time in which memory delivers as many bytes.";

/// Entries of the table whose ranges are counted.
const COUNTED: usize = 10_000_000;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(8_000, ENTRIES_100_MB, ENTRIES_100_MB));
    let seats = suite.filled(&[Role::Whole], Durability::Sync, &workload)?;
    let rounds = (1, suite.profile.pick(1, 5, 11));
    let stream = suite.limits.stream_ns(KEY_BYTES + VALUE_BYTES);
    for (way, name) in [(Direction::Forward, "forward"), (Direction::Backward, "backward")] {
        for limit in [10, 100] {
            let mut random = suite.random(limit as u64);
            let starts = suite.profile.pick(20, 100_000, 200_000) / limit;
            let from: Vec<Keys> = (0..rounds.0 + rounds.1)
                .map(|_| workload.keys(&workload.uniform(starts, &mut random)))
                .collect();
            let ask = Ask::lower(format!("range of {limit}, {name}"), "ns/entry").limit(stream);
            suite.ask(&seats, [ask], rounds, None, |seat, round| {
                Ok([seat.entrant.scans(&from[round], limit, VALUE_BYTES, way)?])
            })?;
        }
        let ask = Ask::lower(format!("full scan, {name}"), "ns/entry").limit(stream);
        suite.ask(&seats, [ask], rounds, None, |seat, _| {
            let (figure, seen) = seat.entrant.scan(VALUE_BYTES, way)?;
            match seen == workload.entries {
                true => Ok([figure]),
                false => Err(format!("a scan saw {seen} of {} entries", workload.entries).into()),
            }
        })?;
    }
    remove(seats)?;
    counts(suite)
}

/// Counts over as many entries as the target names, in the engines whose sorted load makes them in seconds.
fn counts(suite: &mut Suite) -> Result<()> {
    let workload = Workload::new(suite.profile.pick(20_000, COUNTED, COUNTED), 8, 16, suite.seed);
    let mut seats = Vec::new();
    for peer in suite.peers(&[Role::Whole]) {
        let seat = suite.seat(peer, Durability::Sync, &workload)?;
        match seat.entrant.abilities().sorted_load {
            true => seats.push(seat),
            false => seat.remove()?,
        }
    }
    fill_sorted(&seats, &workload)?;
    seats.iter().try_for_each(|seat| seat.warm(&workload))?;
    let rounds = (1, suite.profile.pick(1, 5, 11));
    let mut random = suite.random(7);
    let few: Vec<Keys> =
        (0..rounds.0 + rounds.1).map(|_| workload.keys(&workload.uniform(6, &mut random))).collect();
    let many: Vec<Keys> =
        (0..rounds.0 + rounds.1).map(|_| workload.keys(&workload.uniform(2_000, &mut random))).collect();
    suite.ask(
        &seats,
        [Ask::lower("count of a range, 10 M entries", "us")],
        rounds,
        None,
        |seat, round| {
            let bounds = if seat.entrant.abilities().count { &many[round] } else { &few[round] };
            Ok([seat.entrant.counts(bounds)?.0 / 1000.0])
        },
    )?;
    let counted: Vec<usize> =
        seats.iter().map(|seat| Ok(seat.entrant.counts(&few[0])?.1)).collect::<Result<_>>()?;
    match counted.windows(2).all(|pair| pair[0] == pair[1]) {
        true => remove(seats),
        false => Err(format!("the engines count the same ranges differently: {counted:?}").into()),
    }
}
