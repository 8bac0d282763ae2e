//! T5: processes are killed, stopped and forked while they work on one file.
//!
//! A session has a file, some writers and some readers. One after the other is killed and started again: a quarter of
//! the time whoever holds the writer lock, often one that has just said that it is in the phase in which fewest have died
//! so far, else anyone. Now and then all die at once, or all close; then the file is held against the law of process
//! death. The seed replays the order of deaths. What the processes do meanwhile is theirs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Ask, Failure, Tally};
use crate::processes::bank::{Broken, Size};
use crate::processes::crew::{Crew, Death};
use crate::processes::engine::Engine;
use crate::processes::maple::Maple;
use crate::processes::part::Way;
use crate::processes::status::{Phase, Word, now_nanos};

/// Kills in one session, about.
const SESSION_KILLS: u64 = 80;
/// From how many kills on a run must have killed somebody in every phase.
const FULL_BUDGET: u64 = 100;
/// A tenth of this is what a killed lock holder may cost the next writer; 99 of a hundred may cost no more than this.
const HANDOVER_MS: f64 = 1000.0;
/// No one may cost more, however little the machine lets the processes run.
const HANDOVER_MAX_MS: f64 = 10_000.0;

/// What became of a run's victims.
struct Deaths {
    kills: u64,
    /// By what they were at: all that processes of this engine can say.
    phases: BTreeMap<Phase, u64>,
    in_commit: u64,
    in_barrier: u64,
    holders: u64,
    handovers_ms: Vec<f64>,
    /// The longest that the kernel took to end a process: one in a sync dies after it.
    slowest_ms: f64,
}

impl Deaths {
    fn new(engine: &dyn Engine) -> Deaths {
        Deaths {
            kills: 0,
            phases: engine.phases().iter().map(|phase| (*phase, 0)).collect(),
            in_commit: 0,
            in_barrier: 0,
            holders: 0,
            handovers_ms: Vec::new(),
            slowest_ms: 0.0,
        }
    }

    fn note(&mut self, death: Death) {
        *self.phases.entry(death.phase).or_default() += 1;
        self.in_commit += u64::from(death.in_commit);
        self.in_barrier += u64::from(death.in_barrier);
        self.holders += u64::from(death.held_lock);
    }

    /// One of the phases with the fewest deaths.
    fn rarest(&self, rng: &mut SmallRng) -> Phase {
        let mut phases: Vec<_> = self.phases.keys().copied().collect();
        phases.sort_by_key(|phase| self.phases[phase]);
        *phases[..3].choose(rng).expect("three phases")
    }
}

/// The harness.
///
/// # Errors
/// The law is broken, a process ends by itself, nothing happens any more, or the kills have missed a phase.
pub fn run(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    run_on(&Maple, ask, tally)
}

/// The same of the processes of any engine.
///
/// # Errors
/// As [`run`].
pub fn run_on(engine: &'static dyn Engine, ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let mut deaths = Deaths::new(engine);
    if let Some(case) = &ask.case {
        let seed = case["session"].as_u64().ok_or_else(|| Failure::no_case(ask, "it names no session"))?;
        // What the processes do is theirs, so once may not be enough.
        for _ in 0..20 {
            session(engine, ask, seed, SESSION_KILLS, &mut deaths, tally)?;
        }
        return Ok(());
    }
    let mut seed = ask.seed;
    while !ask.is_over(deaths.kills) {
        session(engine, ask, seed, SESSION_KILLS.min(ask.budget - deaths.kills), &mut deaths, tally)?;
        seed += 1;
    }
    report(&mut deaths, tally);
    judge(&deaths, ask.seed)
}

fn session(
    engine: &'static dyn Engine,
    ask: &Ask,
    seed: u64,
    kills: u64,
    deaths: &mut Deaths,
    tally: &mut Tally,
) -> Result<(), Failure> {
    tally.count("sessions", 1);
    perform(engine, ask, seed, kills, deaths, tally)
        .map_err(|what| Failure::new(ask.seed, json!({ "session": seed }), what))
}

fn report(deaths: &mut Deaths, tally: &mut Tally) {
    for (phase, count) in &deaths.phases {
        tally.count(phase.name(), *count);
    }
    tally.count("killed inside commit", deaths.in_commit);
    tally.count("killed beside a barrier", deaths.in_barrier);
    tally.count("killed with the writer lock", deaths.holders);
    tally.figure("longest that a process took to die", deaths.slowest_ms, "ms");
    let times = &mut deaths.handovers_ms;
    times.sort_by(f64::total_cmp);
    if let Some(max) = times.last() {
        tally.figure("next writer after a killed holder, p50", times[times.len() / 2], "ms");
        tally.figure("next writer after a killed holder, p99", times[times.len() * 99 / 100], "ms");
        tally.figure("next writer after a killed holder, max", *max, "ms");
    }
}

/// Whether the kills were where they should be, and the next writer soon there. The times are sorted.
fn judge(deaths: &Deaths, seed: u64) -> Result<(), Failure> {
    let times = &deaths.handovers_ms;
    let slowest = times.last().copied().unwrap_or_default();
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    if slow > HANDOVER_MS || slowest > HANDOVER_MAX_MS {
        let what = format!(
            "after a killed lock holder the next writer got in after {slow:.0} ms (99 of 100), {slowest:.0} ms at most"
        );
        return Err(Failure::new(seed, Value::Null, what));
    }
    if deaths.kills < FULL_BUDGET {
        return Ok(());
    }
    if let Some((phase, _)) = deaths.phases.iter().find(|(_, count)| **count == 0) {
        let what = format!("of {} kills none hit a process that was {phase:?}", deaths.kills);
        return Err(Failure::of_harness(seed, what));
    }
    let least = deaths.kills / 20;
    match deaths.in_commit < least {
        true => {
            let what = format!("of {} kills only {} hit a commit", deaths.kills, deaths.in_commit);
            Err(Failure::of_harness(seed, what))
        }
        false => Ok(()),
    }
}

fn way(rng: &mut SmallRng) -> Way {
    Way {
        size: Size {
            accounts: [50, 200, 200, 600][rng.random_range(0..4)],
            value_max: [20, 200, 200, 1000][rng.random_range(0..4)],
            transfers_max: [3, 20, 60][rng.random_range(0..3)],
            ballast_max: [20_000, 150_000, 500_000][rng.random_range(0..3)],
        },
        page_size: [4096, 4096, 4096, 8192, 16384, 65536][rng.random_range(0..6)],
        two_syncs: rng.random_ratio(1, 4),
        relaxed_percent: [0, 30, 50, 50, 90][rng.random_range(0..5)],
        relaxed_millis: [5, 20, 200][rng.random_range(0..3)],
        pieces_max: [4, 16, 40][rng.random_range(0..3)],
        hold_millis: 60,
        reopen_one_in: [50, 200, 1000][rng.random_range(0..3)],
    }
}

fn perform(
    engine: &'static dyn Engine,
    ask: &Ask,
    seed: u64,
    kills: u64,
    deaths: &mut Deaths,
    tally: &mut Tally,
) -> Result<(), Broken> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let way = way(&mut rng);
    let (writers, readers) = (rng.random_range(1..=4), rng.random_range(4..=8));
    let mut crew = Crew::new(engine, &ask.exe, &ask.dir, seed, way, writers, readers)?;
    crew.start_missing()?;
    let last = deaths.kills + kills;
    while deaths.kills < last && !ask.is_over(0) {
        wander(&mut crew, &mut rng, tally)?;
        if rng.random_ratio(1, 25) {
            all_at_once(&mut crew, &mut rng, deaths, tally)?;
        } else {
            one(&mut crew, &mut rng, deaths)?;
        }
        deaths.kills += 1;
        tally.done(1);
        crew.start_missing()?;
    }
    // One last look at those who were just started.
    crew.look_after()?;
    if rng.random() {
        crew.end_all()?;
        tally.count("endings by closing", 1);
    } else {
        crew.kill_all(|death| deaths.note(death))?;
    }
    let commits = crew.verify()?;
    tally.count("verifications", 1);
    tally.count("commits", commits);
    let sum =
        |word| (0..crew.len()).map(|at| crew.status.word(at, word).load(Ordering::Relaxed)).sum::<u64>();
    tally.count("works", sum(Word::Works));
    for (what, word) in engine.counts() {
        tally.count(what, sum(*word));
    }
    crew.clean_up();
    Ok(())
}

/// Lets a little time pass, in which processes may be stopped or asked to fork.
fn wander(crew: &mut Crew, rng: &mut SmallRng, tally: &mut Tally) -> Result<(), Broken> {
    let end = Instant::now() + Duration::from_micros(rng.random_range(0..30_000));
    loop {
        crew.look_after()?;
        if rng.random_ratio(1, 8) {
            let place = rng.random_range(0..crew.len());
            if crew.is_going(place) {
                crew.stop(place, Duration::from_micros(rng.random_range(0..60_000)))?;
                tally.count("stops", 1);
            }
        }
        if rng.random_ratio(1, 8) {
            let place = rng.random_range(0..crew.len());
            crew.status.word(place, Word::ForksAsked).fetch_add(1, Ordering::SeqCst);
        }
        if Instant::now() >= end {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..4000)));
    }
}

/// Everybody dies at once, or closes; whoever comes next is first.
fn all_at_once(
    crew: &mut Crew,
    rng: &mut SmallRng,
    deaths: &mut Deaths,
    tally: &mut Tally,
) -> Result<(), Broken> {
    tally.count("routs", 1);
    crew.kill_all(|death| deaths.note(death))?;
    if rng.random() {
        crew.verify()?;
        tally.count("verifications", 1);
    } else if rng.random() {
        // Those who recover die too, now and then several times in a row.
        for _ in 0..rng.random_range(1..4) {
            crew.start_missing()?;
            std::thread::sleep(Duration::from_micros(rng.random_range(0..15_000)));
            crew.kill_all(|death| deaths.note(death))?;
            tally.count("routs in recovery", 1);
        }
    }
    Ok(())
}

/// Kills one process.
fn one(crew: &mut Crew, rng: &mut SmallRng, deaths: &mut Deaths) -> Result<(), Broken> {
    let aimed = match rng.random_range(0..4) {
        0 => holder(crew),
        1 => None,
        _ => {
            let phase = deaths.rarest(rng);
            crew.status.set_wish(Some(phase));
            let found = somebody(crew, |crew, place| crew.status.phase(place) == phase);
            linger(rng);
            found
        }
    };
    let place = aimed.unwrap_or_else(|| rng.random_range(0..crew.len()));
    let killed_at = now_nanos();
    let death = crew.kill(place);
    let dead_at = now_nanos();
    crew.status.set_wish(None);
    let death = death?;
    deaths.note(death);
    deaths.slowest_ms = deaths.slowest_ms.max((dead_at - killed_at) as f64 / 1e6);
    if death.held_lock {
        deaths.handovers_ms.extend(handover(crew, killed_at, dead_at)?);
    }
    Ok(())
}

/// The writer that holds the writer lock now, or in a while.
fn holder(crew: &mut Crew) -> Option<usize> {
    somebody(crew, |crew, place| {
        place < crew.writers() && crew.status.word(place, Word::Holds).load(Ordering::SeqCst) != 0
    })
}

/// The first process that is as is wished for, within a while.
fn somebody(crew: &Crew, is_it: impl Fn(&Crew, usize) -> bool) -> Option<usize> {
    let end = Instant::now() + Duration::from_millis(40);
    while Instant::now() < end {
        for _ in 0..100 {
            let found = (0..crew.len()).find(|place| crew.is_going(*place) && is_it(crew, *place));
            if found.is_some() {
                return found;
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }
    None
}

fn linger(rng: &mut SmallRng) {
    let end = Instant::now() + Duration::from_micros(rng.random_range(0..40));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Waits until another writer has got the writer lock; answers how many milliseconds after the end of its holder. Nothing
/// if there is no other, or one of them is stopped.
fn handover(crew: &mut Crew, killed_at: u64, dead_at: u64) -> Result<Option<f64>, Broken> {
    let writers: Vec<_> = (0..crew.writers()).filter(|place| crew.pid(*place).is_some()).collect();
    if writers.is_empty() || writers.iter().any(|place| !crew.is_going(*place)) {
        return Ok(None);
    }
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        for place in &writers {
            let locked_at = crew.status.word(*place, Word::LockedAt).load(Ordering::SeqCst);
            if locked_at > killed_at {
                return Ok(Some(locked_at.saturating_sub(dead_at) as f64 / 1e6));
            }
        }
        if Instant::now() > end {
            let what = crew.describe();
            return Err(format!("no writer has got in for 10 s after a lock holder was killed: {what}"));
        }
        crew.look_after()?;
        std::thread::sleep(Duration::from_micros(50));
    }
}
