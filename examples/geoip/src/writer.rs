//! The writer process: replaces the whole table, generation after generation.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mapledb::Env;

use crate::address::{Family, Ranges};
use crate::generation::generation;
use crate::message::{self, Commits, Event, Order, Replacement};
use crate::smaps;
use crate::store::{self, Door};
use crate::verdict::State;

/// How long each commit stands at least, so that the readers meet it even where the table is small.
const STAND: Duration = Duration::from_millis(50);

/// Loads generation 1, waits for the readers, and replaces it `replacements` times.
///
/// # Errors
/// What MapleDB says, or the service has gone.
pub fn run(data: &Ranges, file: &Path, replacements: u32, commits: Commits) -> Result<()> {
    let env = store::attach(file, Door::Create)?;
    let mut current = generation(data, 1);
    message::tell(&Event::Replaced(replace(&env, file, 1, &current)?))?;
    message::await_order(Order::Replace)?;
    for number in 2..=1 + replacements {
        let next = generation(data, number);
        ensure!(
            Family::ALL.iter().any(|&family| has_other_keys(&current, &next, family)),
            "too little data: generations {} and {number} have the same keys",
            number - 1
        );
        if commits == Commits::Two {
            replace_v4_only(&env, number, &next, &current)?;
        }
        let replacement = replace(&env, file, number, &next)?;
        thread::sleep(STAND);
        message::tell(&Event::Replaced(replacement))?;
        current = next;
    }
    message::await_order(Order::Report)?;
    message::tell(&Event::WriterReport { memory: smaps::of_this_process(file)? })?;
    message::await_end()?;
    env.close()?;
    Ok(())
}

/// One commit: everything out, everything in.
fn replace(env: &Env, file: &Path, number: u32, ranges: &Ranges) -> Result<Replacement> {
    let begun = Instant::now();
    let mut txn = env.write()?;
    store::load(&mut txn, Family::ALL.map(|family| (number, ranges.of(family))))?;
    let counts = ranges.counts();
    store::set_state(&mut txn, State { generation: number, counts })?;
    let loaded = Instant::now();
    txn.commit()?;
    Ok(Replacement {
        generation: number,
        ranges: counts[0] + counts[1],
        load_us: (loaded - begun).as_micros() as u64,
        commit_us: loaded.elapsed().as_micros() as u64,
        file_bytes: fs::metadata(file)?.len(),
    })
}

/// The canary's first commit: IPv4 is new, IPv6 and the state are still the generation before.
fn replace_v4_only(env: &Env, number: u32, next: &Ranges, current: &Ranges) -> Result<()> {
    let mut txn = env.write()?;
    store::load(&mut txn, [(number, next.of(Family::V4)), (number - 1, current.of(Family::V6))])?;
    txn.commit()?;
    thread::sleep(STAND);
    Ok(())
}

fn has_other_keys(current: &Ranges, next: &Ranges, family: Family) -> bool {
    let (current, next) = (current.of(family), next.of(family));
    !current.iter().map(|range| range.start).eq(next.iter().map(|range| range.start))
}
