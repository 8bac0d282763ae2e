//! What somebody at work has said so far, and what the law makes of it.
//!
//! The lines are those of the [`journal`](crate::journal), and one more, `crashed N`: the story went on from a crash, after
//! which commit N stands.

use std::path::Path;

use mapledb::Env;

use crate::actor;
use crate::journal::{Event, Replay};
use crate::model::{Bounds, History};
use crate::verify::{Broken, law, said};
use crate::workload::Profile;

/// The line that says that commit `index` stands after a crash.
pub fn crashed_line(index: usize) -> String {
    format!("crashed {index}")
}

/// A story up to a moment.
#[derive(Clone, Debug)]
pub struct Story {
    replay: Replay,
    /// The commit that stands and has not been opened yet.
    crashed: Option<usize>,
    is_made: bool,
    steps: u64,
}

/// What the law allows to be found at a moment, by whoever comes after a crash of the system.
#[derive(Clone, Debug)]
pub struct Lawful {
    /// The commits.
    pub history: History,
    /// Which of them may stand.
    pub bounds: Bounds,
    /// Whether there must be a file at all.
    pub is_made: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The index of the commit that stands.
    pub index: usize,
    /// Whether a meta was passed over.
    pub passed_over: bool,
    /// Whether relaxed commits were adopted from the lock file.
    pub adopted: bool,
}

impl Story {
    /// The story of a file that is not there yet.
    pub fn new(seed: u64, profile: Profile) -> Story {
        Story { replay: Replay::new(seed, profile), crashed: None, is_made: false, steps: 0 }
    }

    /// Takes what is said next.
    ///
    /// # Errors
    /// It cannot come next, or breaks the law by itself.
    pub fn take(&mut self, text: &str) -> Result<(), Broken> {
        for line in text.lines() {
            if let Some(index) = line.strip_prefix("crashed ") {
                let index = index.parse().map_err(|_| format!("no index: {line:?}"))?;
                self.crashed = Some(index);
                continue;
            }
            let event = Event::read(line)?;
            match (&event, self.crashed) {
                (Event::Opened { txnid }, Some(index)) => {
                    self.replay.recovered(index, *txnid);
                    self.crashed = None;
                }
                _ => self.replay.take(&event)?,
            }
            self.is_made |= matches!(event, Event::Opened { .. });
            if let Event::Began { ordinal, .. } = event {
                self.steps = ordinal + 1;
            }
        }
        Ok(())
    }

    /// What may be found after a crash of the system now.
    pub fn lawful(&self) -> Lawful {
        let mut bounds = self.replay.bounds();
        bounds.acked = bounds.durable;
        Lawful { history: self.replay.history().clone(), bounds, is_made: self.is_made }
    }

    /// What may be found after the death of every process now, the system living on.
    pub fn lawful_after_death(&self) -> Lawful {
        Lawful { bounds: self.replay.bounds(), ..self.lawful() }
    }

    /// The ordinals of the commits up to `index`, and the first step that was not begun.
    pub fn resume(&self, index: usize) -> (Vec<u64>, u64) {
        let committed = self.replay.committed();
        (committed[..index.min(committed.len())].to_vec(), self.steps)
    }
}

/// Opens the file at `path` and holds it, and what it gives out, against the law.
///
/// # Errors
/// How the law is broken.
#[allow(unsafe_code)]
pub fn hold(path: &Path, profile: &Profile, lawful: &Lawful) -> Result<Found, Broken> {
    // SAFETY: the file lies in a directory of the harness's own, and nobody writes to it while it is open.
    let env: Env = unsafe { actor::options(profile).open(path) }.map_err(said("opening"))?;
    let recovery = env.recovery().clone();
    let (index, _) = law(&env, &lawful.history, &lawful.bounds)?;
    let txnid = env.write().map_err(said("a write cannot begin"))?.txnid();
    if txnid <= lawful.bounds.txnid_max {
        return Err(format!("transaction {txnid} is given out, and {} was before", lawful.bounds.txnid_max));
    }
    env.close().map_err(said("closing"))?;
    Ok(Found {
        index,
        passed_over: recovery.passed_over.is_some(),
        adopted: recovery.adopted_txnid.is_some(),
    })
}
