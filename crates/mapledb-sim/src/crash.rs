//! Crash images in process (T1).
//!
//! A session runs random transactions on one environment whose effects a [`Recorder`] watches. Every effect, and some
//! moments between two stores, is a crash point; of each a few images are made, opened with the real engine, and held
//! against the law. Of every few images one is not only opened: its recovery is watched in turn, and crashes again at
//! any of *its* effects; so does the work that goes on after it. Syncs fail now and then, and the kernel then evicts what
//! they left clean.
//!
//! A session is a function of its seed alone.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mapledb::{Durability, Env, Error, Options, ReadTxn};
use mapledb_os::Seam;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::actor::options;
use crate::disk::Disk;
use crate::harness::{self, Ask, Tally};
use crate::image::{Ending, Image};
use crate::model::{Bounds, History, State};
use crate::recorder::{CrashPoint, Recorder};
use crate::scratch::Scratch;
use crate::verify::{Broken, holds, law, said};
use crate::workload::{Profile, Transaction};

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
}

/// When to end.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After so many sessions.
    pub sessions: u64,
    /// After so many images.
    pub images: u64,
    /// At this moment.
    pub end: Instant,
}

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The session's seed.
    pub seed: u64,
    /// What was found, and where.
    pub what: Broken,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(
            f,
            "replay: cargo run --release -p mapledb-sim -- run images --seed {} --case '\"session\"'",
            self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// Runs sessions with the seeds from `seed` on until a limit is reached or the law is broken.
///
/// # Errors
/// The first broken law.
pub fn run(seed: u64, limits: Limits, counts: &mut Counts) -> Result<(), Failure> {
    let mut seed = seed;
    while counts.sessions < limits.sessions && counts.images < limits.images && Instant::now() < limits.end {
        session(seed, limits.end, counts)?;
        seed = seed.wrapping_add(1);
    }
    Ok(())
}

/// The harness.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), harness::Failure> {
    // A failure's seed is that of its session, so its case is that session.
    let sessions = if ask.case.is_some() { 1 } else { u64::MAX };
    let mut counts = Counts::default();
    let mut seed = ask.seed;
    let mut answer = Ok(());
    while answer.is_ok() && counts.sessions < sessions && !ask.is_over(counts.images) {
        let before = counts.images;
        answer = session(seed, ask.end, &mut counts);
        tally.done(counts.images - before);
        seed = seed.wrapping_add(1);
    }
    tally.count("sessions", counts.sessions);
    tally.count("commits", counts.commits);
    tally.count("crash points", counts.points);
    tally.count("of a crash again", counts.again);
    tally.count("failed syncs", counts.failed_syncs);
    tally.count("metas passed over", counts.passed_over);
    tally.count("relaxed adopted", counts.adopted);
    tally.count("relaxed refused", counts.refused);
    answer.map_err(|failure| harness::Failure::new(failure.seed, "session".into(), failure.what))
}

/// Runs the session of one seed, cut short at `end`.
///
/// # Errors
/// The first broken law. A panic of the engine is one.
pub fn session(seed: u64, end: Instant, counts: &mut Counts) -> Result<(), Failure> {
    counts.sessions += 1;
    let run = AssertUnwindSafe(|| Session { end, counts }.run(seed));
    match std::panic::catch_unwind(run) {
        Ok(answer) => answer.map_err(|what| Failure { seed, what }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause");
            Err(Failure { seed, what: format!("panic: {text}") })
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
    end: Instant,
    counts: &'c mut Counts,
}

impl Session<'_> {
    fn run(mut self, seed: u64) -> Result<(), Broken> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let profile = Profile::random(&mut rng);
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = dir.path().join("run.maple");
        let env = open(&path, options(&profile)).map_err(said("create"))?;
        let txnid = env.read().map_err(said("read"))?.txnid();
        env.close().map_err(said("close"))?;
        let history = History::new(txnid, State::default());
        let disk = Disk::synced(&std::fs::read(&path).map_err(io("read the file"))?);
        let bounds = Bounds::exactly(0, txnid);
        let transactions = profile.transactions;
        let mut run = Run::new(path, disk, history, bounds, profile, &mut rng)?;
        self.open(&mut run)?;
        for _ in 0..transactions {
            if Instant::now() >= self.end {
                break;
            }
            self.step(&mut run)?;
            let points = run.recorder.take_points();
            self.examine(points, &run.profile, 0, 3, &mut rng)
                .map_err(|b| format!("{:?}: {b}", run.profile))?;
        }
        run.close()
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
        let fate = match run.rng.random_range(0..20) {
            0 | 1 => run.sync()?,
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
        Ok(())
    }

    /// The environment is poisoned: closed and opened again, with or without the kernel having evicted meanwhile, and
    /// perhaps with another failure on the way.
    fn after_failed_sync(&mut self, run: &mut Run) -> Result<(), Broken> {
        self.counts.failed_syncs += 1;
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
            if Instant::now() >= self.end {
                break;
            }
            self.counts.points += 1;
            let images = match point.disk.open_blocks() {
                0 => u32::from(rng.random_ratio(1, 4)),
                _ => rng.random_range(0..=images_max),
            };
            for _ in 0..images {
                let image = Image::choose(&point, rng);
                let label = image.label.clone();
                self.verify(image, profile, depth, rng)
                    .map_err(|broken| format!("{broken}\n  at {label}"))?;
            }
        }
        Ok(())
    }

    fn verify(
        &mut self,
        image: Image,
        profile: &Profile,
        depth: u32,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        self.counts.images += 1;
        self.counts.again += u64::from(depth > 0);
        *self.counts.by_ending.entry(image.ending).or_default() += 1;
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = image.write(&dir).map_err(io("write an image"))?;
        let may_nest = depth < DEPTH_MAX && rng.random_ratio(1, 6 * (depth + 1));
        let Image { disk, history, bounds, .. } = image;
        if !may_nest {
            return self.verify_opened(&path, &history, bounds, profile, rng);
        }
        let mut run = Run::new(path, disk, history, bounds, profile.clone(), rng)?;
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

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    SyncFailed,
}

/// One environment under watch, with its model.
struct Run {
    path: PathBuf,
    recorder: Arc<Recorder>,
    env: Option<Env>,
    history: History,
    /// Readers held across commits, each with the commit it must show.
    held: Vec<(ReadTxn, State)>,
    profile: Profile,
    /// The seed of its transactions, and the ordinal of the next.
    seed: u64,
    ordinal: u64,
    rng: SmallRng,
}

impl Run {
    fn new(
        path: PathBuf,
        disk: Disk,
        history: History,
        bounds: Bounds,
        profile: Profile,
        rng: &mut SmallRng,
    ) -> Result<Run, Broken> {
        let recorder = Recorder::new(&path, disk, history.clone(), bounds).map_err(io("watch the file"))?;
        Ok(Run {
            path,
            recorder,
            env: None,
            history,
            held: Vec::new(),
            profile,
            seed: rng.random(),
            ordinal: 0,
            rng: SmallRng::from_rng(rng),
        })
    }

    fn watched(&self) -> Options {
        options(&self.profile).seam(Seam::watched(Arc::clone(&self.recorder) as Arc<_>))
    }

    fn open(&mut self) -> Result<mapledb::Recovery, Broken> {
        let env = open(&self.path, self.watched()).map_err(said("opening"))?;
        let bounds = self.recorder.bounds();
        let (found, stands) = law(&env, &self.history, &bounds)?;
        self.history.truncate_after(found);
        self.history.renumber(found, stands);
        let txnid_max = bounds.txnid_max.max(stands);
        self.recorder.set_law(&self.history, Bounds::exactly(found, txnid_max));
        self.recorder.note("after opening").map_err(io("note"))?;
        let recovery = env.recovery().clone();
        self.env = Some(env);
        Ok(recovery)
    }

    fn env(&self) -> Result<&Env, Broken> {
        self.env.as_ref().ok_or_else(|| "the environment is not open".to_string())
    }

    /// Syncs what is relaxed.
    fn sync(&mut self) -> Result<Fate, Broken> {
        let answer = self.env()?.sync();
        self.outcome(answer, |recorder| recorder.all_durable())
    }

    fn outcome(&mut self, answer: mapledb::Result<()>, well: impl FnOnce(&Recorder)) -> Result<Fate, Broken> {
        let failed = self.recorder.stop_failing();
        match answer {
            Ok(()) if failed => Err("a sync failed, and nobody was told".to_string()),
            Ok(()) => {
                well(&self.recorder);
                Ok(Fate::Well)
            }
            Err(Error::Indeterminate { .. } | Error::SyncFailed { .. } | Error::Os(_)) if failed => {
                Ok(Fate::SyncFailed)
            }
            Err(error) => Err(format!("an unexpected error: {error}")),
        }
    }

    fn transact(&mut self) -> Result<Fate, Broken> {
        self.look_at_held()?;
        let mut txn = match self.env()?.write() {
            Ok(txn) => txn,
            Err(error) => return self.outcome(Err(error), |_| ()),
        };
        let txnid = txn.txnid();
        if txnid <= self.recorder.bounds().txnid_max {
            return Err(format!("transaction {txnid} is given out a second time"));
        }
        self.recorder.given_out(txnid);
        let last = self.history.last();
        let base = &self.history.at(last).state;
        let (transaction, state) = Transaction::draw(self.seed, self.ordinal, base, &self.profile);
        self.ordinal += 1;
        txn.durability(transaction.durability);
        let recorder = Arc::clone(&self.recorder);
        let mut between = || recorder.note("between two changes");
        match transaction.perform(&mut txn, &mut between) {
            Ok(()) => {}
            Err(Error::QuotaReached { .. }) => return self.outcome(Ok(()), |_| ()),
            Err(error) => return Err(format!("a change: {error}")),
        }
        if transaction.gives_up {
            drop(txn);
            self.recorder.note("after an abort").map_err(io("note"))?;
            return self.outcome(Ok(()), |_| ());
        }
        let is_durable = transaction.durability == Durability::Sync;
        let index = self.history.push(txnid, state);
        self.recorder.commit_begins(&self.history, index, is_durable);
        let answer = txn.commit();
        let is_new = match &answer {
            Ok(number) => *number == txnid,
            Err(error) => !matches!(error, Error::QuotaReached { .. }),
        };
        if !is_new {
            self.history.truncate_after(last);
            self.recorder.set_law(&self.history, self.recorder.bounds());
            return self.outcome(Ok(()), |_| ());
        }
        let fate = self.outcome(answer.map(|_| ()), |recorder| recorder.commit_ends(index, is_durable))?;
        self.recorder.note("after a commit").map_err(io("note"))?;
        if fate == Fate::Well && self.rng.random_ratio(1, 6) {
            let txn = self.env()?.read().map_err(said("a read cannot begin"))?;
            self.held.push((txn, self.history.at(index).state.clone()));
        }
        Ok(fate)
    }

    /// A held reader shows what it showed at first.
    fn look_at_held(&mut self) -> Result<(), Broken> {
        if !self.held.is_empty() && self.rng.random_ratio(1, 4) {
            let (txn, state) = self.held.swap_remove(self.rng.random_range(0..self.held.len()));
            holds(&txn, &state).map_err(|broken| format!("a reader that was held: {broken}"))?;
        }
        Ok(())
    }

    /// Closes cleanly, which makes everything durable.
    fn close(&mut self) -> Result<(), Broken> {
        for (txn, state) in self.held.drain(..) {
            holds(&txn, &state).map_err(|broken| format!("a reader that was held: {broken}"))?;
        }
        if let Some(env) = self.env.take() {
            env.close().map_err(said("closing"))?;
        }
        self.recorder.all_durable();
        self.recorder.note("after a clean close").map_err(io("note"))
    }

    /// Lets the environment go without asking how that went.
    fn abandon(&mut self) {
        self.recorder.commit_is_over();
        self.held.clear();
        self.env = None;
    }

    /// After a failed sync the kernel may evict what it left clean.
    fn maybe_evict(&mut self) -> Result<(), Broken> {
        if self.rng.random_ratio(2, 3) {
            self.recorder.evict(&mut self.rng).map_err(io("evict"))?;
            self.recorder.note("after an eviction").map_err(io("note"))?;
        }
        Ok(())
    }
}
