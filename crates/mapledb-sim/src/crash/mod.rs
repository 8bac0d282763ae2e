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
mod run;
pub mod second;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mapledb::{Env, Error, Options};
use mapledb_os::Seam;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::birth::{Cradle, Moment};
use self::run::{Fate, Run};
use crate::actor::options;
use crate::disk::{Bytes, Disk};
use crate::harness::{Ask, Failure, STOP, Tally};
use crate::image::{Ending, Image};
use crate::model::{Bounds, History, State};
use crate::recorder::CrashPoint;
use crate::scratch::Scratch;
use crate::verify::{Broken, law, said};
use crate::workload::Profile;

/// How deep crashes nest: a crash, one during its recovery, one during the recovery from that.
const DEPTH_MAX: u32 = 2;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions, one for each seed.
    pub sessions: u64,
    /// Commits of all runs, nested ones included.
    pub commits: u64,
    /// Moments at which everything could end.
    pub points: u64,
    /// Images verified.
    pub images: u64,
    /// Images by how everything ended.
    pub by_ending: BTreeMap<Ending, u64>,
    /// Images of a crash during recovery, or after it, from another crash.
    pub again: u64,
    /// Syncs that were made to fail.
    pub failed_syncs: u64,
    /// Recoveries that passed a meta over.
    pub passed_over: u64,
    /// Recoveries that adopted relaxed commits from the lock file.
    pub adopted: u64,
    /// Recoveries that refused relaxed commits of the lock file.
    pub refused: u64,
    /// Crash points of creations.
    pub births: u64,
    /// Readers that began during a sync.
    pub reads_in_syncs: u64,
    /// Writers that tried to begin during a sync, and were let in.
    pub writers_in_syncs: u64,
    /// Flipped bits that were read before anybody had verified them.
    pub flips: u64,
    /// Evictions under an open environment.
    pub live_evictions: u64,
    /// Times that free space was given back.
    pub trims: u64,
    /// Times that the file was packed.
    pub packings: u64,
    /// Second processes on the file.
    pub seconds: u64,
    /// Those of them that died at their work, and were taken over from.
    pub deaths: u64,
    /// Times that a reader was parked.
    pub parkings: u64,
    /// Parked readers that were told that they had been evicted.
    pub evictions: u64,
}

impl Counts {
    fn numbers(&mut self) -> [&mut u64; 20] {
        [
            &mut self.sessions,
            &mut self.commits,
            &mut self.points,
            &mut self.images,
            &mut self.again,
            &mut self.failed_syncs,
            &mut self.passed_over,
            &mut self.adopted,
            &mut self.refused,
            &mut self.births,
            &mut self.reads_in_syncs,
            &mut self.writers_in_syncs,
            &mut self.flips,
            &mut self.live_evictions,
            &mut self.trims,
            &mut self.packings,
            &mut self.seconds,
            &mut self.deaths,
            &mut self.parkings,
            &mut self.evictions,
        ]
    }

    fn add(&mut self, more: &Counts) {
        let mut more = more.clone();
        let numbers = more.numbers().map(|number| *number);
        self.numbers().into_iter().zip(numbers).for_each(|(sum, number)| *sum += number);
        for (ending, count) in &more.by_ending {
            *self.by_ending.entry(*ending).or_default() += count;
        }
    }
}

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
    tally.count("sessions", counts.sessions);
    tally.count("commits", counts.commits);
    tally.count("crash points", counts.points);
    tally.count("of a creation", counts.births);
    tally.count("of a crash again", counts.again);
    tally.count("failed syncs", counts.failed_syncs);
    tally.count("metas passed over", counts.passed_over);
    tally.count("relaxed adopted", counts.adopted);
    tally.count("relaxed refused", counts.refused);
    tally.count("readers during syncs", counts.reads_in_syncs);
    tally.count("writers let in during syncs", counts.writers_in_syncs);
    tally.count("flipped bits", counts.flips);
    tally.count("evictions beside readers", counts.live_evictions);
    tally.count("trims", counts.trims);
    tally.count("packings", counts.packings);
    tally.count("second processes", counts.seconds);
    tally.count("deaths of one", counts.deaths);
    tally.count("readers parked", counts.parkings);
    tally.count("readers evicted", counts.evictions);
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

/// The session of one seed.
struct Session<'c> {
    exe: &'c Path,
    is_over: &'c dyn Fn() -> bool,
    counts: &'c mut Counts,
}

impl Session<'_> {
    fn run(mut self, seed: u64) -> Result<(), Broken> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let profile = Profile::random(&mut rng);
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = dir.path().join("run.maple");
        let txnid = self.create(&path, &profile, &mut rng).map_err(|b| format!("{profile:?}: {b}"))?;
        let history = History::new(txnid, State::default());
        let disk = Disk::synced(&Bytes::of(&std::fs::read(&path).map_err(io("read the file"))?));
        let bounds = Bounds::exactly(0, txnid);
        let transactions = profile.transactions;
        let mut run = Run::new(path, disk, history, bounds, profile, &mut rng)?;
        self.open(&mut run)?;
        for _ in 0..transactions {
            if (self.is_over)() {
                break;
            }
            self.step(&mut run)?;
            let points = run.recorder.take_points();
            self.examine(points, &run.profile, 0, 3, &mut rng)
                .map_err(|b| format!("{:?}: {b}", run.profile))?;
        }
        run.tell(self.counts);
        run.close()
    }

    /// Makes the file, and verifies what crashes on the way leave. Answers its first txnid.
    fn create(&mut self, path: &Path, profile: &Profile, rng: &mut SmallRng) -> Result<u64, Broken> {
        let cut_after = rng.random_ratio(1, 3).then(|| rng.random_range(0..8));
        let cradle = Arc::new(Cradle::new(path, cut_after));
        let seam = Seam::watched(Arc::clone(&cradle) as Arc<_>);
        let made = open(path, options(profile).seam(seam));
        let was_cut = cradle.was_cut() && made.is_err();
        let moments = if was_cut { Vec::new() } else { cradle.moments().map_err(io("watch a creation"))? };
        let env = match made {
            Ok(env) => env,
            // As if the process had died there: what it left is found by the next one.
            Err(_) if was_cut => {
                open(path, options(profile)).map_err(said("after a creation was cut off"))?
            }
            Err(error) => return Err(format!("create: {error}")),
        };
        let txnid = env.read().map_err(said("read"))?.txnid();
        env.close().map_err(said("close"))?;
        for moment in moments {
            self.counts.births += 1;
            self.counts.points += 1;
            self.verify_birth(&moment, profile, txnid, rng)
                .map_err(|broken| format!("{broken}\n  at creation, {}", moment.label))?;
        }
        Ok(txnid)
    }

    /// Verifies what a crash of the system during a creation may leave.
    fn verify_birth(
        &mut self,
        moment: &Moment,
        profile: &Profile,
        txnid: u64,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        if moment.label == "after creation" && moment.may_be_absent {
            return Err("the file was made, and its name may not last".to_string());
        }
        let absent = moment.may_be_absent.then_some(None);
        let present = moment.file.iter().map(|disk| Some(disk.after_crash(rng).0));
        for file in absent.into_iter().chain(present.collect::<Vec<_>>()) {
            let dir = Scratch::new().map_err(io("no directory"))?;
            let path = dir.path().join("image.maple");
            if let Some(bytes) = &file {
                let written = std::fs::File::create(&path).and_then(|file| bytes.write(&file));
                written.map_err(io("write an image"))?;
            }
            self.counts.images += 1;
            let history = History::new(txnid, State::default());
            let bounds = Bounds::exactly(0, 0);
            self.verify_opened(&path, &history, bounds, profile, rng)?;
        }
        Ok(())
    }

    /// Opens the run's environment and holds it against the law; from then on what it shows is durable.
    fn open(&mut self, run: &mut Run) -> Result<(), Broken> {
        let recovery = run.open()?;
        self.counts.passed_over += u64::from(recovery.passed_over.is_some());
        self.counts.adopted += u64::from(recovery.adopted_txnid.is_some());
        self.counts.refused += u64::from(recovery.refused_relaxed.is_some());
        Ok(())
    }

    /// One transaction, a sync, or a clean close; with a sync that fails now and then.
    fn step(&mut self, run: &mut Run) -> Result<(), Broken> {
        if run.rng.random_ratio(1, 12) {
            run.recorder.fail_sync_after(run.rng.random_range(0..3));
        }
        let fate = match run.rng.random_range(0..29) {
            0 | 1 => run.sync()?,
            24 | 25 => {
                self.counts.trims += 1;
                run.trim()?
            }
            26..29 => {
                self.counts.packings += 1;
                run.pack()?
            }
            20..24 => {
                run.recorder.stop_failing();
                self.counts.seconds += 1;
                self.counts.deaths += u64::from(run.beside_another(self.exe)?);
                Fate::Well
            }
            2 => {
                run.recorder.stop_failing();
                run.close()?;
                self.open(run)?;
                Fate::Well
            }
            _ => {
                self.counts.commits += 1;
                run.transact()?
            }
        };
        if fate == Fate::SyncFailed {
            self.after_failed_sync(run)?;
        }
        run.recorder.take_broken().map_or(Ok(()), Err)
    }

    /// The environment is poisoned: closed and opened again, with or without the kernel having evicted meanwhile, and
    /// perhaps with another failure on the way.
    fn after_failed_sync(&mut self, run: &mut Run) -> Result<(), Broken> {
        self.counts.failed_syncs += 1;
        if run.rng.random_ratio(1, 2) {
            self.counts.live_evictions += 1;
            run.evict_beside_readers()?;
        }
        run.abandon();
        run.maybe_evict()?;
        if run.rng.random_ratio(1, 3) {
            run.recorder.fail_sync_after(run.rng.random_range(0..2));
            let opened = open(&run.path, run.watched());
            let failed = run.recorder.stop_failing();
            match opened {
                Err(Error::Os(_)) if failed => {
                    self.counts.failed_syncs += 1;
                    run.maybe_evict()?;
                }
                Err(error) => return Err(format!("opening after a failed sync: {error}")),
                Ok(_) if failed => return Err("a sync failed during recovery, and it went on".to_string()),
                Ok(env) => drop(env),
            }
        }
        self.open(run)
    }

    /// Makes images of crash points and verifies them.
    fn examine(
        &mut self,
        points: Vec<CrashPoint>,
        profile: &Profile,
        depth: u32,
        images_max: u32,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        for point in points {
            if (self.is_over)() {
                break;
            }
            self.counts.points += 1;
            let images = match point.disk.open_blocks() {
                0 => u32::from(rng.random_ratio(1, 4)),
                _ => rng.random_range(0..=images_max),
            };
            for _ in 0..images {
                let image = Image::choose(&point, rng);
                self.counts.images += 1;
                self.counts.again += u64::from(depth > 0);
                *self.counts.by_ending.entry(image.ending).or_default() += 1;
                let verified = match depth < DEPTH_MAX && rng.random_ratio(1, 6 * (depth + 1)) {
                    true => self.crash_again(&image, profile, depth, rng),
                    false => self.verify(&image, profile, rng).map_err(|broken| {
                        format!("{broken}{}", self.smallest(image.clone(), &point, profile))
                    }),
                };
                verified.map_err(|broken| format!("{broken}\n  at {}", image.label))?;
            }
        }
        Ok(())
    }

    /// Opens an image and holds it against the law.
    fn verify(&mut self, image: &Image, profile: &Profile, rng: &mut SmallRng) -> Result<(), Broken> {
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = image.write(&dir).map_err(io("write an image"))?;
        self.verify_opened(&path, &image.history, image.bounds, profile, rng)
    }

    /// Which blocks of an image that breaks the law must not have been written for it to do so: as many are put right
    /// as can be.
    fn smallest(&mut self, mut image: Image, point: &CrashPoint, profile: &Profile) -> String {
        let mut needed = Vec::new();
        for (block, content) in image.differing(&point.disk.newest()) {
            let was = image.put(block, content);
            let still_breaks = std::panic::catch_unwind(AssertUnwindSafe(|| {
                self.verify(&image, profile, &mut SmallRng::seed_from_u64(0)).is_err()
            }));
            if !still_breaks.unwrap_or(true) {
                image.put(block, was);
                needed.push(block);
            }
        }
        match needed.is_empty() {
            true => "\n  as soon as everything is as it was last stored".to_string(),
            false => format!("\n  as soon as blocks {needed:?} are not as they were last stored"),
        }
    }

    /// Opens an image under watch, works on, and verifies what crashes meanwhile leave.
    fn crash_again(
        &mut self,
        image: &Image,
        profile: &Profile,
        depth: u32,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = image.write(&dir).map_err(io("write an image"))?;
        let mut run =
            Run::new(path, image.disk(), image.history.clone(), image.bounds, profile.clone(), rng)?;
        if rng.random_ratio(1, 6) {
            run.recorder.fail_sync_after(0);
            let opened = open(&run.path, run.watched());
            let failed = run.recorder.stop_failing();
            match opened {
                Err(Error::Os(_)) if failed => self.counts.failed_syncs += 1,
                Err(error) => return Err(format!("opening: {error}")),
                Ok(_) if failed => return Err("a sync failed during recovery, and it went on".to_string()),
                Ok(env) => drop(env),
            }
            if failed {
                run.maybe_evict()?;
            }
        }
        self.open(&mut run)?;
        for _ in 0..rng.random_range(0..3) {
            self.step(&mut run)?;
        }
        let points = run.recorder.take_points();
        run.abandon();
        run.tell(self.counts);
        self.examine(points, profile, depth + 1, 1, rng)
    }

    /// Opens an image and holds it against the law, and so what it gives out and what it leaves behind.
    fn verify_opened(
        &mut self,
        path: &Path,
        history: &History,
        bounds: Bounds,
        profile: &Profile,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        let env = open(path, options(profile)).map_err(said("opening"))?;
        let recovery = env.recovery().clone();
        self.counts.passed_over += u64::from(recovery.passed_over.is_some());
        self.counts.adopted += u64::from(recovery.adopted_txnid.is_some());
        self.counts.refused += u64::from(recovery.refused_relaxed.is_some());
        let (found, stands) = law(&env, history, &bounds)?;
        let txnid = env.write().map_err(said("a write cannot begin"))?.txnid();
        if txnid <= bounds.txnid_max {
            return Err(format!("transaction {txnid} is given out, and {} was before", bounds.txnid_max));
        }
        env.close().map_err(said("closing"))?;
        if recovery.passed_over.is_some() || rng.random_ratio(1, 4) {
            let env = open(path, options(profile)).map_err(said("opening again"))?;
            let recovery = env.recovery();
            if !recovery.was_clean || recovery.passed_over.is_some() {
                return Err(format!("after a recovery and a clean close: {recovery:?}"));
            }
            let mut history = history.clone();
            history.renumber(found, stands);
            law(&env, &history, &Bounds::exactly(found, txnid)).map_err(|b| format!("opened again: {b}"))?;
        }
        Ok(())
    }
}
