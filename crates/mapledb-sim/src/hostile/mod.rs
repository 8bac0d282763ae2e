//! Hostile files (T9): every flipped bit of a small file, every length it can be cut to, every sector lost.
//!
//! A small file is made by the engine and then changed in one way after the other, which is what [`Change::at`] counts
//! out. Each time the real engine opens what is left, reads all of it, checks it, writes to it and reads again. The change
//! is *detected* (an error), or *harmless* (the newest commit, whole), or *discarded*: the whole commit before it, and
//! the opening says so. Anything else is a wrong answer; so is a panic, a signal or a hang.
//!
//! | part | what is changed | beside what | what must be noticed by |
//! |---|---|---|---|
//! | [`Part::DataAlone`] | the data file after a clean close | no lock file | recovery: metas and manifest |
//! | [`Part::DataBesideLock`] | the same | its sound lock file, which says that nothing is to be recovered | whoever reads |
//! | [`Part::DataOfTheDead`] | the data file, relaxed commits being left | the lock file of processes that died | recovery: manifest and pages of relaxed commits |
//! | [`Part::LockOfTheClosed`] | the lock file after a clean close | its sound data file | attaching |
//! | [`Part::LockOfTheDead`] | the lock file that knows of relaxed commits | its sound data file | attaching and recovery |
//!
//! The parts run in child processes, so that a signal ends one of those and is told with the change that caused it.

mod bench;
mod change;
mod plan;
mod subject;
mod worker;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::bench::Bench;
pub use self::change::Change;
use self::plan::{Case, Plan};
pub use self::plan::{Shard, sample, work};
use self::worker::Worker;
use crate::harness::{Ask, Failure, Tally};
use crate::verify::Broken;

/// What is changed, and beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The data file after a clean close; the lock file is lost.
    DataAlone,
    /// The data file after a clean close, beside its lock file.
    DataBesideLock,
    /// The data file of processes that died and left relaxed commits.
    DataOfTheDead,
    /// The lock file after a clean close.
    LockOfTheClosed,
    /// The lock file of processes that died and left relaxed commits.
    LockOfTheDead,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 5] = [
        Part::DataAlone,
        Part::DataBesideLock,
        Part::DataOfTheDead,
        Part::LockOfTheClosed,
        Part::LockOfTheDead,
    ];

    fn is_of_the_dead(self) -> bool {
        matches!(self, Part::DataOfTheDead | Part::LockOfTheDead)
    }

    fn changes_lock(self) -> bool {
        matches!(self, Part::LockOfTheClosed | Part::LockOfTheDead)
    }
}

/// What became of changed files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Changes made.
    pub changes: u64,
    /// Refused at opening, or at the page that was read.
    pub detected: u64,
    /// The newest commit, whole.
    pub harmless: u64,
    /// The commit before, whole, with a word about it.
    pub discarded: u64,
    /// Changes that the file still took a commit after.
    pub written: u64,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Counts) {
        self.changes += other.changes;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.discarded += other.discarded;
        self.written += other.written;
    }
}

/// Makes every change to the files of one seed after the other, or as many, evenly spread, as the budget has.
///
/// # Errors
/// The first wrong answer.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let failed = |seed: u64, case: Option<Case>, what: Broken| {
        let case = case.and_then(|case| serde_json::to_value(case).ok()).unwrap_or_default();
        Failure::new(seed, case, what)
    };
    if let Some(case) = &ask.case {
        let case: Case =
            serde_json::from_value(case.clone()).map_err(|error| Failure::no_case(ask, error))?;
        return again(ask.seed, case, tally).map_err(|what| failed(ask.seed, Some(case), what));
    }
    for seed in ask.seed.. {
        if ask.is_over(tally.units()) {
            return Ok(());
        }
        let total = Plan::of(seed).map_err(|what| failed(seed, None, what))?.total();
        let picks = total.min(ask.budget - tally.units());
        let is_whole = pass(ask, seed, picks, tally).map_err(|(case, what)| failed(seed, case, what))?;
        tally.count(
            "files changed in every way",
            if is_whole && picks == total { Part::ALL.len() as u64 } else { 0 },
        );
    }
    Ok(())
}

/// One pass over the files of a seed; answers whether it went to the end.
fn pass(ask: &Ask, seed: u64, picks: u64, tally: &mut Tally) -> Result<bool, (Option<Case>, Broken)> {
    let step = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(picks.max(1));
    let mut workers = Vec::new();
    for first in 0..step {
        let note = ask.dir.join(format!("change-{first}"));
        let worker = Worker::start(ask, Shard { seed, picks, step, first, note });
        workers.push(worker.map_err(|error| (None, format!("a child cannot be started: {error}")))?);
    }
    let (before, mut last) = (tally.units(), Counts::default());
    loop {
        let mut have_ended = true;
        for worker in &mut workers {
            have_ended &= worker.look().map_err(|what| (worker.case(), what))?;
        }
        let mut now = Counts::default();
        workers.iter().for_each(|worker| now.add(&worker.counts));
        tally.done(before + now.changes - tally.units());
        tally.count("detected", now.detected - last.detected);
        tally.count("harmless", now.harmless - last.harmless);
        tally.count("discarded and told", now.discarded - last.discarded);
        tally.count("written to afterwards", now.written - last.written);
        last = now;
        if have_ended || Instant::now() >= ask.end {
            return Ok(have_ended);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One change again.
fn again(seed: u64, case: Case, tally: &mut Tally) -> Result<(), Broken> {
    let mut counts = Counts::default();
    Bench::of(case.part, seed)?.examine(case.index, &mut counts)?;
    tally.done(1);
    Ok(())
}
