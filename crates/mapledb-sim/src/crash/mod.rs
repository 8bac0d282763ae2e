//! Crash images in process (T1).
//!
//! A session makes a file and runs random transactions on it, whose effects a [`Recorder`](crate::recorder::Recorder) watches. Every effect, and some
//! moments between two stores, is a crash point; of each a few images are made, opened with the real engine, and held
//! against the law. Of every few images one is not only opened: its recovery is watched in turn, and crashes again at
//! any of *its* effects; so does the work that goes on after it. Syncs fail now and then, and the kernel then evicts what
//! they left clean.
//!
//! A sync is an interval: while it is on its way readers begin, and the next writer tries to. Should it be let in, what
//! it commits is held against the law like any other commit.
//!
//! What a snapshot shows is held against the model, too, where the file was changed behind the engine's back: bits that
//! nobody has verified yet, and pages that the kernel has evicted after a failed sync, are told or do no harm.
//!
//! A session is a function of its seed alone, and sessions know nothing of each other: as many run at once as there are
//! processors.

mod birth;
mod counts;
mod images;
mod run;
pub mod second;
mod session;

use std::io;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mapledb::{Env, Options};

pub use self::counts::Counts;
use self::session::Session;
use crate::harness::{Ask, Failure, STOP, Tally};
use crate::verify::Broken;

/// When to end.
#[derive(Clone, Debug)]
pub struct Limits {
    /// After so many sessions.
    pub sessions: u64,
    /// After so many images.
    pub images: u64,
    /// At this moment.
    pub end: Instant,
    /// The program that second processes are started from; see [`actor`](crate::actor).
    pub exe: PathBuf,
}

/// The broken law of a session, which its seed alone does again.
fn failure(seed: u64, what: Broken) -> Failure {
    Failure { harness: "images".to_string(), ..Failure::new(seed, "session".into(), what) }
}

/// Runs sessions with the seeds from `seed` on until a limit is reached or the law is broken, as many at once as there
/// are processors. `done` counts images meanwhile.
///
/// # Errors
/// The broken law of the smallest seed.
pub fn run(seed: u64, limits: Limits, counts: &mut Counts, done: &AtomicU64) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let images_before = done.load(Ordering::Relaxed);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let together = Mutex::new((Counts::default(), Vec::new()));
    let is_over =
        || Instant::now() >= limits.end || stop.load(Ordering::Relaxed) || STOP.load(Ordering::Relaxed);
    let work = || {
        loop {
            let images = done.load(Ordering::Relaxed) - images_before;
            if images >= limits.images || is_over() {
                return;
            }
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= limits.sessions {
                return;
            }
            let mut counts = Counts::default();
            let seed = seed.wrapping_add(nth);
            let answer = session(seed, &limits.exe, &is_over, &mut counts);
            done.fetch_add(counts.images, Ordering::Relaxed);
            let mut together = together.lock().unwrap_or_else(PoisonError::into_inner);
            together.0.add(&counts);
            if let Err(failure) = answer {
                together.1.push((nth, failure));
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let (sum, failures) = together.into_inner().unwrap_or_else(PoisonError::into_inner);
    counts.add(&sum);
    failures.into_iter().min_by_key(|(nth, _)| *nth).map_or(Ok(()), |(_, failure)| Err(failure))
}

/// The harness.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    // A failure's seed is that of its session, so its case is that session.
    let (sessions, images) = match ask.is_again("session")? {
        true => (1, u64::MAX),
        false => (u64::MAX, ask.budget),
    };
    let mut counts = Counts::default();
    let answer = run(
        ask.seed,
        Limits { sessions, images, end: ask.end, exe: ask.exe.clone() },
        &mut counts,
        &tally.progress(),
    );
    counts.tell(tally);
    answer
}

/// Runs the session of one seed, cut short when `is_over` says so.
///
/// # Errors
/// The first broken law. A panic of the engine is one.
pub fn session(
    seed: u64,
    exe: &Path,
    is_over: &dyn Fn() -> bool,
    counts: &mut Counts,
) -> Result<(), Failure> {
    counts.sessions += 1;
    let run = AssertUnwindSafe(|| Session { exe, is_over, counts }.run(seed));
    match std::panic::catch_unwind(run) {
        Ok(answer) => answer.map_err(|what| failure(seed, what)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause");
            Err(failure(seed, format!("panic: {text}")))
        }
    }
}

fn io(what: &str) -> impl Fn(io::Error) -> Broken {
    move |error| format!("{what}: {error}")
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the file lies in this process's own directory, and is written by the harness only while it is closed.
    unsafe { options.open_or_create(path) }
}
