//! The table of harnesses, and what they have in common: what a run is asked for, what it tells, how it fails.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

#[cfg(feature = "fuse")]
use crate::fuse::{block, faults, mount, recorded};
use crate::{baseline, crash, damage, full, hostile, kill, soak, step, syscalls};

/// Set by whoever wants every run to end at the next chance: on Ctrl-C, say.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Everything random derives from it.
    pub seed: u64,
    /// Units of work after which to end.
    pub budget: u64,
    /// When to end at the latest, give or take a unit.
    pub end: Instant,
    /// A directory of the run's own. It writes nowhere else, but for [`Scratch`](crate::scratch::Scratch).
    pub dir: PathBuf,
    /// The program that children are started from; see [`actor`](crate::actor).
    pub exe: PathBuf,
    /// The case of an earlier [`Failure`]: that one alone is to be done again.
    pub case: Option<serde_json::Value>,
}

impl Ask {
    /// Whether the case of an earlier failure is to be done again, where the seed is the case and `word` its only name.
    ///
    /// # Errors
    /// It is another case.
    pub fn is_again(&self, word: &str) -> Result<bool, Failure> {
        match &self.case {
            None => Ok(false),
            Some(case) if case == word => Ok(true),
            Some(_) => Err(Failure::no_case(self, format!("it is {word:?} and nothing else"))),
        }
    }

    /// Whether to end: so many units are done, the time is over, or somebody wants an end.
    pub fn is_over(&self, done: u64) -> bool {
        done >= self.budget || Instant::now() >= self.end || STOP.load(Ordering::Relaxed)
    }
}

/// A number with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// What a run tells: how far it is, what it counted and measured, what could not be run here.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    done: Arc<AtomicU64>,
    counts: BTreeMap<&'static str, u64>,
    figures: BTreeMap<&'static str, Figure>,
    skipped: Vec<String>,
}

impl Tally {
    /// So many more units of the harness's work are done.
    pub fn done(&mut self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// How many units are done.
    pub fn units(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Where the number of units done can be watched from another thread.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }

    /// Adds to a further count.
    pub fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    /// Sets a figure that was measured.
    pub fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.insert(name, Figure { value, unit: unit.to_string() });
    }

    /// A part cannot run here, and why.
    pub fn skip(&mut self, what: impl Into<String>) {
        self.skipped.push(what.into());
    }

    /// The further counts.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The figures.
    pub fn figures(&self) -> &BTreeMap<&'static str, Figure> {
        &self.figures
    }

    /// What could not run.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The engine, or what lies below it: a law is broken.
    #[default]
    Engine,
    /// The harness: it could not do what it is for, and nothing is said of the engine.
    Harness,
}

/// A broken law, and how to meet it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The harness's name.
    pub harness: String,
    /// The seed.
    pub seed: u64,
    /// What besides the seed makes the case; null if the seed is enough.
    pub case: serde_json::Value,
    /// What was found.
    pub what: String,
    /// Whether that is a broken law.
    #[serde(default)]
    pub about: About,
}

impl Failure {
    /// A failure whose harness is filled in by [`Harness::go`].
    pub fn new(seed: u64, case: serde_json::Value, what: impl Into<String>) -> Failure {
        Failure { harness: String::new(), seed, case, what: what.into(), about: About::Engine }
    }

    /// A harness that could not go on.
    pub fn of_harness(seed: u64, what: impl Into<String>) -> Failure {
        Failure { about: About::Harness, ..Failure::new(seed, serde_json::Value::Null, what) }
    }

    /// What was given is no case of the harness.
    pub fn no_case(ask: &Ask, why: impl std::fmt::Display) -> Failure {
        let case = ask.case.clone().unwrap_or_default();
        Failure { case, ..Failure::of_harness(ask.seed, format!("that is no case of this harness: {why}")) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: seed {}: {}", self.harness, self.seed, self.what)?;
        if self.about == About::Harness {
            return write!(f, "that is a failure of the harness, and says nothing of the engine");
        }
        write!(f, "replay: cargo run --release -p mapledb-sim -- run {} --seed {}", self.harness, self.seed)?;
        match &self.case {
            serde_json::Value::Null => Ok(()),
            case => write!(f, " --case '{case}'"),
        }
    }
}

impl std::error::Error for Failure {}

/// With less free than that nothing a harness meets says anything.
const NO_ROOM_BYTES: u64 = 16 << 20;

/// How a harness runs.
pub type Run = fn(&Ask, &mut Tally) -> Result<(), Failure>;

/// A harness.
#[derive(Clone, Copy, Debug)]
pub struct Harness {
    /// Its row in the documents: `T1` to `T13`; `B` and a number for the baseline of one.
    pub id: &'static str,
    /// Its name on the command line.
    pub name: &'static str,
    /// What its work is counted in.
    pub unit: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// Whether it can run here, or why not.
    pub needs: fn() -> Result<(), String>,
    /// Bytes that must be free where it works.
    pub room_bytes: u64,
    /// Runs it.
    pub run: Run,
    /// Units of a smoke run.
    pub smoke: u64,
    /// Units of `make crash`.
    pub crash: u64,
}

impl Harness {
    /// Runs it. A panic is a failure.
    ///
    /// # Errors
    /// The first broken law.
    pub fn go(&self, ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
        let free_bytes = || mapledb_os::free_space_bytes(&ask.dir).unwrap_or(u64::MAX);
        if free_bytes() < self.room_bytes {
            let (free, room) = (free_bytes() >> 20, self.room_bytes >> 20);
            let what = format!("{} has {free} MiB free, and {room} MiB are needed", ask.dir.display());
            return Err(Failure { harness: self.name.to_string(), ..Failure::of_harness(ask.seed, what) });
        }
        let run = std::panic::AssertUnwindSafe(|| (self.run)(ask, tally));
        let answer = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause");
            Err(Failure::new(ask.seed, serde_json::Value::Null, format!("panic: {text}")))
        });
        answer.map_err(|failure| {
            let harness = self.name.to_string();
            match free_bytes() < NO_ROOM_BYTES {
                // What it keeps beside the databases found no room either.
                true => {
                    let what = format!("{} is full: {}", ask.dir.display(), failure.what);
                    Failure { harness, about: About::Harness, what, ..failure }
                }
                false => Failure { harness, ..failure },
            }
        })
    }

    /// The harness of a name.
    pub fn named(name: &str) -> Option<&'static Harness> {
        HARNESSES.iter().chain(BASELINES).find(|harness| harness.name == name || harness.id == name)
    }
}

fn nothing() -> Result<(), String> {
    Ok(())
}

/// All of them, in the order of the documents.
pub static HARNESSES: &[Harness] = &[
    Harness {
        id: "T1",
        name: "images",
        unit: "images",
        what: "crash images of random transactions, from a model of what the disk may hold",
        needs: nothing,
        room_bytes: 64 << 20,
        run: crash::harness,
        smoke: 25_000,
        crash: 500_000,
    },
    #[cfg(feature = "fuse")]
    Harness {
        id: "T2",
        name: "recorded",
        unit: "images",
        what: "the real binary on a recording file system; crash images from the log of its writes",
        needs: mount::needs_fuse,
        room_bytes: 64 << 20,
        run: recorded::harness,
        smoke: 2_500,
        crash: 50_000,
    },
    #[cfg(feature = "fuse")]
    Harness {
        id: "T3",
        name: "block",
        unit: "images",
        what: "the real binary on ext4, XFS and btrfs; crash images from the log of their block device",
        needs: mount::needs_loop,
        room_bytes: 1 << 30,
        run: block::harness,
        smoke: 33,
        crash: 550,
    },
    Harness {
        id: "T4",
        name: "step",
        unit: "deeds",
        what: "creation, opening and commits instruction by instruction, each a moment to die",
        needs: step::needs,
        room_bytes: 64 << 20,
        run: step::run,
        smoke: 2,
        crash: 6,
    },
    Harness {
        id: "T5",
        name: "kill",
        unit: "kills",
        what: "processes killed, stopped and forked at work on one file",
        needs: nothing,
        room_bytes: 64 << 20,
        run: kill::run,
        smoke: 150,
        crash: 2_000,
    },
    Harness {
        id: "T6",
        name: "syscalls",
        unit: "runs",
        what: "the n-th system call fails, under strace",
        needs: syscalls::needs,
        room_bytes: 64 << 20,
        run: syscalls::run_calls,
        smoke: 200,
        crash: 3_000,
    },
    Harness {
        id: "T6",
        name: "effects",
        unit: "runs",
        what: "the n-th effect fails, at the engine's seam",
        needs: nothing,
        room_bytes: 64 << 20,
        run: syscalls::run_effects,
        smoke: 300,
        crash: 3_000,
    },
    #[cfg(feature = "fuse")]
    Harness {
        id: "T7",
        name: "faults",
        unit: "points",
        what: "failed writes and flushes under the real binary, on FUSE, ext4 and XFS; healing by other processes",
        needs: mount::needs_fuse,
        room_bytes: 1 << 30,
        run: faults::harness,
        smoke: 40,
        crash: 400,
    },
    Harness {
        id: "T8",
        name: "full",
        unit: "points",
        what: "a full disk at every growth, on file systems of its own, and room that comes back",
        needs: nothing,
        room_bytes: 1 << 30,
        run: full::harness,
        smoke: 72,
        crash: 600,
    },
    Harness {
        id: "T9",
        name: "hostile",
        unit: "changes",
        what: "every flipped bit, cut length and lost sector of small data and lock files",
        needs: nothing,
        room_bytes: 64 << 20,
        run: hostile::harness,
        smoke: 190_000,
        crash: 3_800_000,
    },
    Harness {
        id: "T9",
        name: "damage",
        unit: "changes",
        what: "flipped bits, cut ends and lost sectors of larger files, at random",
        needs: nothing,
        room_bytes: 64 << 20,
        run: damage::harness,
        smoke: 5_000,
        crash: 50_000,
    },
    Harness {
        id: "T13",
        name: "soak",
        unit: "seconds",
        what: "eight processes on a file larger than the memory they may use",
        needs: soak::needs,
        room_bytes: 64 << 20,
        run: soak::run,
        smoke: 8,
        crash: 120,
    },
];

/// Other engines under the same harnesses, to compare with. They run if they are named, and are part of no campaign.
pub static BASELINES: &[Harness] = &[Harness {
    id: "B5",
    name: "kill-lmdb",
    unit: "kills",
    what: "the baseline of `kill`: LMDB's processes killed and stopped",
    needs: baseline::needs,
    room_bytes: 64 << 20,
    run: baseline::run,
    smoke: 150,
    crash: 2_000,
}];
