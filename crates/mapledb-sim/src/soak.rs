//! T13: eight processes on a file larger than the memory they may use.
//!
//! Their pages are evicted and read back all the time, readers are stopped with a snapshot in hand across many commits,
//! and every reader holds every snapshot that it sees against its invariant. At the end everybody closes, and the file
//! is held against the law and checked in full.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::cgroup::Cgroup;
use crate::harness::{Ask, Failure, Tally};
use crate::processes::bank::{Broken, Size};
use crate::processes::crew::Crew;
use crate::processes::maple::Maple;
use crate::processes::part::Way;
use crate::processes::status::Word;

const LIMIT_BYTES: u64 = 40 << 20;
const WRITERS: usize = 2;
const READERS: usize = 6;
/// Seconds on one file.
const SESSION_SECONDS: u64 = 300;

/// Whether a control group can be had.
///
/// # Errors
/// Why not.
pub fn needs() -> Result<(), String> {
    Cgroup::new(&format!("mapledb-sim-{}-try", std::process::id()), LIMIT_BYTES).map(drop)
}

/// The harness. Its unit is a second.
///
/// # Errors
/// The law is broken, a process ends by itself, or nothing happens any more.
pub fn run(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    if ask.case.is_some() {
        return Err(Failure::no_case(ask, "it has none but its seed"));
    }
    let mut done = 0;
    let mut seed = ask.seed;
    while !ask.is_over(done) {
        let seconds = SESSION_SECONDS.min(ask.budget - done);
        done += perform(ask, seed, seconds, tally).map_err(|what| Failure::new(seed, Value::Null, what))?;
        seed += 1;
    }
    Ok(())
}

fn way(rng: &mut SmallRng) -> Way {
    Way {
        // Some 4 KiB each at first.
        size: Size { accounts: 24_000, value_max: 3000, transfers_max: 40, ballast_max: 1 << 20 },
        page_size: [4096, 4096, 16384][rng.random_range(0..3)],
        two_syncs: rng.random_ratio(1, 4),
        relaxed_percent: 50,
        relaxed_millis: 200,
        pieces_max: 16,
        hold_millis: 400,
        reopen_one_in: 500,
    }
}

fn perform(ask: &Ask, seed: u64, seconds: u64, tally: &mut Tally) -> Result<u64, Broken> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let group = Cgroup::new(&format!("mapledb-sim-{}-{seed}", std::process::id()), LIMIT_BYTES)?;
    // Dropped before the group, on every way out.
    let mut crew = Crew::new(&Maple, &ask.exe, &ask.dir, seed, way(&mut rng), WRITERS, READERS)?;
    let file = File::open(crew.data()).map_err(|error| error.to_string())?;
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    // What this process has in the page cache counts as its own, outside the group's limit.
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|error| error.to_string())?;
    for place in crew.start_missing()? {
        let pid = crew.pid(place).ok_or("a process that was started is not there")?;
        group.add(pid).map_err(|error| format!("a process cannot be put into the group: {error}"))?;
    }
    let began = Instant::now();
    let mut told = 0;
    while told < seconds && !ask.is_over(0) {
        crew.look_after()?;
        let place = rng.random_range(WRITERS..WRITERS + READERS);
        if rng.random_ratio(1, 4) && crew.is_going(place) {
            crew.stop(place, Duration::from_millis(rng.random_range(0..500)))?;
            tally.count("stops of readers", 1);
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        let passed = began.elapsed().as_secs().min(seconds);
        tally.done(passed - told);
        told = passed;
    }
    crew.end_all()?;
    let refaults = group.stat("workingset_refault");
    let commits = crew.verify()?;
    let sum = |places: std::ops::Range<usize>| {
        places.map(|at| crew.status.word(at, Word::Works).load(Ordering::Relaxed)).sum::<u64>()
    };
    tally.count("commits", commits);
    tally.count("snapshots verified", sum(WRITERS..WRITERS + READERS));
    tally.count("pages evicted and read back", refaults);
    tally.figure("file to memory", len as f64 / LIMIT_BYTES as f64, "times");
    if refaults == 0 && told > 5 {
        tally.skip("soak: nothing was evicted, so the group's limit did not press");
    }
    crew.clean_up();
    Ok(told.max(1))
}
