//! The real binary on the recording file system (T2).
//!
//! A process runs the workload on the mounted file system, with the real kernel's page cache in between; often a second
//! one makes the kernel write pages back all the time, so that half-built ones get there. From the log of one run many
//! crash images are made: it is cut anywhere, and each sector that was written since the last flush holds any content it
//! has had since. The lock file is likewise, or gone, or of another boot. Now and then a run goes on from such an image,
//! so that recovery is cut, too.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::crew::Crew;
use super::cuts::{Case, Cut, Moment, Plan, examine};
use super::mount::{Janitor, Mounted};
use super::server::{JOURNAL, Recording};
use super::story::{Found, Story, crashed_line, hold};
use super::trace::{Event, Volume};
use super::writeback::WriteBack;
use crate::actor::Orders;
use crate::harness::{Ask, Failure, Tally};
use crate::image::{bind_lock, lock_path, set_other_boot};
use crate::scratch::Scratch;
use crate::verify::Broken;
use crate::workload::Profile;

/// The name of the data file.
pub(super) const DATA: &str = "run.maple";
/// The name of its lock file.
pub(super) const LOCK: &str = "run.maple-lock";
/// The most images of one trace: more seeds tell more than more images.
const IMAGES_A_TRACE: u64 = 600;
/// The longest that a workload may take. It is a tenth of this at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The profile of a seed.
pub(super) fn profile_of(seed: u64) -> Profile {
    Profile::random(&mut SmallRng::seed_from_u64(seed))
}

/// The harness T2.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    if let Some(case) = &ask.case {
        return replay(ask, case, tally);
    }
    let mut janitor = Janitor::start().map_err(|error| broken(ask.seed, format!("sh: {error}")))?;
    let began = Instant::now();
    let counts = Counts::default();
    let mut seed = ask.seed;
    while !ask.is_over(tally.units()) {
        let mut before = None;
        // A run, perhaps one from a crash of it, perhaps one from a crash of that.
        for depth in 0..3 {
            let images = IMAGES_A_TRACE.min(ask.budget - tally.units()).max(1);
            let plan = Plan { seed: seed.wrapping_add(depth), images, end: ask.end, workers: 2, only: None };
            let (from, trace) =
                record(ask, seed, &plan, before.as_ref(), &mut janitor).map_err(|(trace, what)| {
                    let case = case(ask, plan.seed, 0, None).keep(&trace);
                    Failure::new(seed, case, what)
                })?;
            tally.count("traces", 1);
            tally.count("events", (trace.len() - from) as u64);
            tally.count("writes of pages under construction", early_writes(&trace[from..]));
            tally.count("runs from a crash", u64::from(depth > 0));
            let done = look(&trace, from, seed, &plan, &counts).map_err(|(cut, what)| {
                Failure::new(seed, case(ask, plan.seed, from, cut).keep(&trace), what)
            })?;
            tally.done(done);
            let mut rng = SmallRng::seed_from_u64(plan.seed ^ 0xc4a5);
            if ask.is_over(tally.units()) || rng.random_ratio(1, 2) {
                break;
            }
            before = crash(&trace, from, seed, &mut rng)
                .map_err(|what| Failure::new(seed, case(ask, plan.seed, from, None).keep(&trace), what))?;
            if before.is_none() {
                break;
            }
        }
        seed = seed.wrapping_add(1);
    }
    counts.tell(tally);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    tally.figure("images a minute", tally.units() as f64 / minutes, "1/min");
    Ok(())
}

fn broken(seed: u64, what: String) -> Failure {
    Failure::new(seed, serde_json::Value::Null, what)
}

/// The case of a trace.
fn case(ask: &Ask, images: u64, from: usize, cut: Option<Cut>) -> Case {
    let trace = ask.dir.join(format!("recorded-{images}.trace"));
    Case { trace, on: "fuse".to_string(), from, images, cut }
}

fn replay(ask: &Ask, case: &serde_json::Value, tally: &mut Tally) -> Result<(), Failure> {
    let fail = |what: String| Failure::new(ask.seed, case.clone(), what);
    let (case, trace) = Case::load(case).map_err(|why| Failure::no_case(ask, why))?;
    let plan = Plan { seed: case.images, images: 1, end: ask.end, workers: 1, only: case.cut };
    let done =
        look(&trace, case.from, ask.seed, &plan, &Counts::default()).map_err(|(_, what)| fail(what))?;
    tally.done(done);
    Ok(())
}

/// Where a run goes on: the files after a crash, and what was said before it.
struct Crash {
    data: Vec<u8>,
    said: Vec<String>,
    committed: Vec<u64>,
    first: u64,
}

/// Draws a crash of a trace for the next run to go on from. It has no lock file, so it is the same file wherever it lies.
fn crash(trace: &[Event], from: usize, seed: u64, rng: &mut SmallRng) -> Result<Option<Crash>, Broken> {
    let profile = profile_of(seed);
    let mut story = Story::new(seed, profile.clone());
    let mut volume = Volume::default();
    let mut said = Vec::new();
    let place = rng.random_range(from..trace.len());
    for (place, event) in trace.iter().enumerate().take(place + 1) {
        volume.apply(place as u64, event);
        if let Event::Line { text } = event {
            story.take(text)?;
            said.push(text.clone());
        }
    }
    let Some(file) = volume.find(DATA).filter(|_| story.lawful().is_made) else { return Ok(None) };
    let data = volume.files[file as usize].after_crash(true, rng).to_bytes();
    let dir = Scratch::new().map_err(|error| error.to_string())?;
    let path = dir.path().join(DATA);
    std::fs::write(&path, &data).map_err(|error| error.to_string())?;
    let found = hold(&path, &profile, &story.lawful())?;
    said.push(format!("{}\n", crashed_line(found.index)));
    let (committed, first) = story.resume(found.index);
    Ok(Some(Crash { data, said, committed, first }))
}

/// Runs the workload on the recording file system. Answers the trace, and how many events it begins with that came before.
fn record(
    ask: &Ask,
    seed: u64,
    plan: &Plan,
    before: Option<&Crash>,
    janitor: &mut Janitor,
) -> Result<(usize, Vec<Event>), (Vec<Event>, Broken)> {
    let mut rng = SmallRng::seed_from_u64(plan.seed ^ 0x7ec0);
    let profile = profile_of(seed);
    let recording = Recording::new(plan.seed, true);
    if let Some(before) = before {
        before.said.iter().for_each(|said| recording.say(said.trim_end()));
        recording.make(DATA, &before.data, before.data.len() as u64);
    }
    let from = recording.place() as usize;
    let fail = |what: String| (Vec::new(), what);
    let mounted = Mounted::new(&recording, &ask.dir.join("recorded"), janitor)
        .map_err(|error| fail(format!("mount: {error}")))?;
    let at = |name: &str| mounted.path().join(name);
    let first = before.map_or(0, |before| before.first);
    let orders = Orders {
        path: at(DATA),
        journal: at(JOURNAL),
        seed,
        committed: before.map_or_else(Vec::new, |before| before.committed.clone()),
        first,
        end: first + u64::from(profile.transactions),
        profile,
        dies: rng.random(),
        catches_sigbus: false,
    };
    let presses = WriteBack { paths: vec![at(DATA), at(LOCK)], seed: plan.seed };
    let mut crew = Crew::start(ask, orders, rng.random_ratio(3, 4).then_some(presses)).map_err(fail)?;
    let ended = crew.wait(PATIENCE);
    drop(crew);
    drop(mounted);
    let trace = recording.take_trace();
    match ended {
        Ok(()) => Ok((from, trace)),
        Err(what) => Err((trace, what)),
    }
}

/// How many writes to the data file came while a transaction was under way and its commit had not been asked for.
fn early_writes(trace: &[Event]) -> u64 {
    let mut is_building = false;
    let mut writes = 0;
    for event in trace {
        match event {
            Event::Line { text } => is_building = text.starts_with("{\"began\""),
            Event::Write { file: 0, .. } => writes += u64::from(is_building),
            _ => {}
        }
    }
    writes
}

/// What images were like.
#[derive(Debug, Default)]
pub(super) struct Counts {
    absent: AtomicU64,
    without_lock: AtomicU64,
    old_boot: AtomicU64,
    this_boot: AtomicU64,
    passed_over: AtomicU64,
    adopted: AtomicU64,
    open: AtomicU64,
}

impl Counts {
    fn tell(&self, tally: &mut Tally) {
        for (name, count) in [
            ("without a file yet", &self.absent),
            ("without a lock file", &self.without_lock),
            ("lock file of another boot", &self.old_boot),
            ("lock file of this boot", &self.this_boot),
            ("a meta passed over", &self.passed_over),
            ("relaxed commits adopted", &self.adopted),
            ("with blocks in the balance", &self.open),
        ] {
            tally.count(name, count.load(Ordering::Relaxed));
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Makes images of a trace and verifies them.
fn look(
    trace: &[Event],
    from: usize,
    seed: u64,
    plan: &Plan,
    counts: &Counts,
) -> Result<u64, (Option<Cut>, Broken)> {
    let profile = profile_of(seed);
    let story = Story::new(seed, profile.clone());
    examine(trace, from, story, plan, |_| {
        let profile = profile.clone();
        Ok(move |moment: &Moment, rng: &mut SmallRng| verify(moment, &profile, counts, rng))
    })
}

/// One image: made, opened, held against the law.
pub(super) fn verify(
    moment: &Moment,
    profile: &Profile,
    counts: &Counts,
    rng: &mut SmallRng,
) -> Result<(), Broken> {
    let Moment { volume, lawful } = moment;
    let which = if rng.random() {
        volume.names.len().wrapping_sub(1)
    } else {
        rng.random_range(0..volume.names.len().max(1))
    };
    let names = volume.names.get(which).cloned().unwrap_or_default();
    let Some(data) = names.get(DATA).map(|file| &volume.files[*file as usize]) else {
        add(&counts.absent);
        return if lawful.is_made { Err("the file is gone".to_string()) } else { Ok(()) };
    };
    if data.open_blocks() > 0 {
        add(&counts.open);
    }
    let dir = Scratch::new().map_err(|error| error.to_string())?;
    let path = dir.path().join(DATA);
    data.after_crash(true, rng).write_to(&path).map_err(|error| format!("write an image: {error}"))?;
    let lock = names.get(LOCK).map(|file| volume.files[*file as usize].after_crash(true, rng).to_bytes());
    let style = rng.random_range(0..3);
    match lock.filter(|_| style > 0) {
        None => add(&counts.without_lock),
        Some(mut lock) => {
            if style == 1 {
                set_other_boot(&mut lock);
                add(&counts.old_boot);
            } else {
                add(&counts.this_boot);
            }
            let written = bind(&path, lock).and_then(|lock| std::fs::write(lock_path(&path), lock));
            written.map_err(|error| format!("write a lock file: {error}"))?;
        }
    }
    let Found { passed_over, adopted, .. } = hold(&path, profile, lawful)?;
    counts.passed_over.fetch_add(u64::from(passed_over), Ordering::Relaxed);
    counts.adopted.fetch_add(u64::from(adopted), Ordering::Relaxed);
    Ok(())
}

/// The bytes of a lock file, made to be that data file's.
pub(super) fn bind(data: &Path, mut lock: Vec<u8>) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(data)?;
    bind_lock(&mut lock, about.dev(), about.ino());
    Ok(lock)
}
