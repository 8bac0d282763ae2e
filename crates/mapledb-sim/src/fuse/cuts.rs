//! Crash images of a trace: it is cut at many places, and at each the disk may hold what it holds in many ways.
//!
//! One thread goes through the trace and keeps the disk and the law up to date; the others make images and verify them.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::platter::Place;
use super::story::{Lawful, Story};
use super::trace::{self, Event, Volume};
use crate::verify::Broken;

/// A place in a trace, and one of the images there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// Before which event everything ended.
    pub place: Place,
    /// Which of the images.
    pub choice: u64,
}

/// A failure's case: what the kernel writes when is not a function of a seed, so the trace is part of it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Case {
    /// The trace.
    pub trace: PathBuf,
    /// On what the process was at work.
    pub on: String,
    /// With how many events the trace begins that are not of its run.
    pub from: usize,
    /// From what its images are drawn.
    pub images: u64,
    /// The image; none if the trace breaks the law by itself.
    pub cut: Option<Cut>,
}

impl Case {
    /// Stores a trace beside its case.
    pub fn keep(self, trace: &[Event]) -> serde_json::Value {
        let stored = trace::store(trace, &self.trace).and_then(|()| Ok(serde_json::to_value(&self)?));
        stored.unwrap_or_else(|error| serde_json::json!({ "not stored": error.to_string() }))
    }

    /// The case that a failure told of, and its trace.
    ///
    /// # Errors
    /// It is none, or the trace cannot be read.
    pub fn load(case: &serde_json::Value) -> Result<(Case, Vec<Event>), String> {
        let case: Case = serde_json::from_value(case.clone()).map_err(|error| format!("no case: {error}"))?;
        let trace = trace::load(&case.trace).map_err(|error| format!("{}: {error}", case.trace.display()))?;
        Ok((case, trace))
    }
}

/// What there is at a cut.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What the disk may hold.
    pub volume: Volume,
    /// What the law allows to be found.
    pub lawful: Lawful,
}

/// What a run over a trace is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The trace's seed, from which the images are drawn.
    pub seed: u64,
    /// How many images.
    pub images: u64,
    /// When to end.
    pub end: Instant,
    /// How many threads verify.
    pub workers: usize,
    /// The one image to look at, if it is only that.
    pub only: Option<Cut>,
}

/// A moment, its place, and how many images of it are wanted.
type Job = (Moment, Place, u64);

/// From what an image is drawn.
pub fn draws(seed: u64, cut: Cut) -> SmallRng {
    let mixed =
        seed ^ cut.place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ cut.choice.wrapping_mul(0xd1b5_4a32_d192_ed03);
    SmallRng::seed_from_u64(mixed)
}

/// How many images each place of a trace gets: every one the same, if there are enough, and the rest by chance.
fn shares(plan: &Plan, from: usize, to: usize) -> Vec<u64> {
    let places = (to - from).max(1) as u64;
    let mut rng = SmallRng::seed_from_u64(plan.seed);
    let mut shares = vec![plan.images / places; places as usize];
    for _ in 0..plan.images % places {
        let lucky = rng.random_range(0..shares.len());
        shares[lucky] += 1;
    }
    shares
}

/// Verifies images of a trace. `verify` is one worker's way of looking at an image; each worker has its own, made by
/// `worker`. Cuts are made after the first `from` events. Answers how many images were verified.
///
/// # Errors
/// The first broken law, and where; or that the trace itself breaks it.
pub fn examine<W>(
    trace: &[Event],
    from: usize,
    mut story: Story,
    plan: &Plan,
    worker: impl Fn(usize) -> Result<W, Broken> + Sync,
) -> Result<u64, (Option<Cut>, Broken)>
where
    W: FnMut(&Moment, &mut SmallRng) -> Result<(), Broken>,
{
    let shares = shares(plan, from, trace.len());
    let (send, jobs) = mpsc::sync_channel::<Job>(2 * plan.workers);
    let jobs = Mutex::new(jobs);
    let broken: Mutex<Option<(Option<Cut>, Broken)>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    let fail = |cut, what| {
        stop.store(true, Ordering::Relaxed);
        broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((cut, what));
    };
    let work = |number: usize| -> u64 {
        let mut verify = match worker(number) {
            Ok(verify) => verify,
            Err(what) => {
                fail(None, what);
                return 0;
            }
        };
        let mut done = 0;
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((moment, place, images)) = job else { return done };
            for choice in 0..images {
                let cut = Cut { place, choice };
                if plan.only.is_some_and(|only| only != cut) || stop.load(Ordering::Relaxed) {
                    continue;
                }
                let mut rng = draws(plan.seed, cut);
                let answer = std::panic::catch_unwind(AssertUnwindSafe(|| verify(&moment, &mut rng)));
                done += 1;
                match answer {
                    Ok(Ok(())) => {}
                    Ok(Err(what)) => fail(Some(cut), what),
                    Err(panic) => fail(Some(cut), format!("panic: {}", words_of(&*panic))),
                }
            }
        }
    };
    let mut walk = |send: mpsc::SyncSender<Job>| -> Result<(), Broken> {
        let mut volume = Volume::default();
        for (place, event) in trace.iter().enumerate() {
            volume.apply(place as Place, event);
            if let Event::Line { text } = event {
                story.take(text)?;
            }
            let images = match plan.only {
                Some(only) if only.place == place as Place => only.choice + 1,
                Some(_) => 0,
                None if place < from => 0,
                None => shares[place - from],
            };
            if images == 0 {
                continue;
            }
            if stop.load(Ordering::Relaxed) || Instant::now() >= plan.end {
                break;
            }
            let moment = Moment { volume: volume.clone(), lawful: story.lawful() };
            if send.send((moment, place as Place, images)).is_err() {
                break;
            }
        }
        Ok(())
    };
    let work = &work;
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.workers).map(|number| scope.spawn(move || work(number))).collect();
        // The workers end when there are no more jobs, so the sender goes with the walk.
        if let Err(what) = walk(send) {
            fail(None, format!("what was said breaks the law: {what}"));
        }
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    match broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(broken) => Err(broken),
        None => Ok(done),
    }
}

/// What a panic said.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause")
}
