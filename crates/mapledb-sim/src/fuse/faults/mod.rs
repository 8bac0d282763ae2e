//! Writes and flushes that fail (T7).
//!
//! A seed's workload runs on the recording file system, or on ext4 or XFS over it, and its k-th write or flush fails: for
//! every k, or for as many as are asked for, spread evenly. A failed write leaves some sectors; after a failed flush the
//! disk holds any of the contents it was to hold. The process at work hears of it, or is killed before it could. Then the
//! kernel may drop what it has cached, so that the file shows what the disk holds.
//!
//! A process that had the file open before the fault must go on seeing a commit's true bytes, or hear of an error, and may
//! not write after a failure that was noticed. One that comes after it heals the file. Whatever anybody has reported as
//! standing must survive a crash of the system at that moment: images are made then, as for T2 and T3. Healing meets a
//! fault of its own now and then.

mod hearing;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mapledb::Env;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::block::{self, Bench, Kind, Stack};
use super::crew::Crew;
use super::cuts::Moment;
use super::mount::{Janitor, Mounted, needs_loop};
use super::recorded::{self, DATA, LOCK, profile_of};
use super::server::{Fault, JOURNAL, Operation, Recording};
use super::story::{Story, crashed_line};
use super::trace;
use super::witness::{Answer, Heard, Witness};
use super::writeback::WriteBack;
use crate::actor::{self, Orders};
use crate::harness::{Ask, Failure, Tally};
use crate::journal::Event;
use crate::scratch::Scratch;
use crate::verify::{Broken, said};
use crate::workload::Profile;

/// Steps of a workload: few, so that every k is soon through.
const STEPS: u64 = 12;
/// The most points of one seed for one operation.
const POINTS_A_SEED: u64 = 30;
/// The longest that a workload may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file may be opened until its faults are over: each is met once.
const OPENINGS: u32 = 4;
/// What the seeds in turn run on.
const TURNS: [&str; 5] = ["fuse", "ext4", "fuse", "xfs", "fuse"];

/// One fault, and all that is drawn around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    seed: u64,
    /// On what the process is at work.
    on: String,
    operation: Operation,
    /// How many of them go well before; none fails if there are not as many.
    after: u64,
}

/// What is drawn for a point.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    errno: i32,
    for_good: bool,
    kills: bool,
    /// Whether there is a file to begin with.
    has_base: bool,
    /// Whether somebody has it open before the fault.
    has_early: bool,
    presses: bool,
    evicts: bool,
    /// Whether the fault is over before the others look.
    lifts_early: bool,
    closes: bool,
    fails_again: bool,
}

impl Point {
    fn rng(&self) -> SmallRng {
        let mixed = self.seed
            ^ self.after.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ ((self.operation as u64) << 60);
        SmallRng::seed_from_u64(mixed)
    }

    fn draw(rng: &mut SmallRng) -> Drawn {
        let has_base = rng.random_ratio(5, 6);
        Drawn {
            errno: if rng.random_ratio(1, 4) { libc::ENOSPC } else { libc::EIO },
            for_good: rng.random_ratio(1, 3),
            kills: rng.random_ratio(1, 3),
            has_base,
            has_early: has_base && rng.random_ratio(1, 2),
            presses: rng.random_ratio(1, 3),
            evicts: rng.random_ratio(1, 2),
            lifts_early: rng.random(),
            closes: rng.random(),
            fails_again: rng.random_ratio(1, 4),
        }
    }
}

/// The harness T7.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let broken = |what: String| Failure::new(ask.seed, serde_json::Value::Null, what);
    let mut janitor = Janitor::start().map_err(|error| broken(format!("sh: {error}")))?;
    if let Some(case) = &ask.case {
        let point = serde_json::from_value::<Point>(case["point"].clone())
            .map_err(|error| Failure::no_case(ask, error))?;
        let met = meet(ask, Some(&point), &point, &mut janitor, tally)?;
        tally.done(met);
        return Ok(());
    }
    let began = Instant::now();
    let turns: Vec<&str> = TURNS.into_iter().filter(|on| can_be_had(on).is_ok()).collect();
    for on in ["ext4", "xfs"] {
        if let Err(why) = can_be_had(on) {
            tally.skip(format!("faults on {on}: {why}"));
        }
    }
    let most = (ask.budget / (4 * TURNS.len() as u64)).clamp(1, POINTS_A_SEED);
    for (turn, on) in turns.iter().cycle().enumerate() {
        if ask.is_over(tally.units()) {
            break;
        }
        let seed = ask.seed.wrapping_add(turn as u64);
        for operation in [Operation::Flush, Operation::Write] {
            let mut point = Point { seed, on: (*on).to_string(), operation, after: u64::MAX };
            let there_are = meet(ask, None, &point, &mut janitor, tally)?;
            let step = there_are.div_ceil(most).max(1);
            let first = point.rng().random_range(0..step);
            for after in (first..there_are).step_by(step as usize) {
                if ask.is_over(tally.units()) {
                    break;
                }
                point.after = after;
                let met = meet(ask, Some(&point), &point, &mut janitor, tally)?;
                tally.done(met);
            }
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    tally.figure("points a minute", tally.units() as f64 / minutes, "1/min");
    Ok(())
}

fn can_be_had(on: &str) -> Result<(), String> {
    match Kind::named(on) {
        None => Ok(()),
        Some(kind) => needs_loop().and_then(|()| kind.needs()),
    }
}

/// Lets one point happen. Answers whether its fault was met; without a fault, how many operations there were.
fn meet(
    ask: &Ask,
    fault: Option<&Point>,
    point: &Point,
    janitor: &mut Janitor,
    tally: &mut Tally,
) -> Result<u64, Failure> {
    let drawn = Point::draw(&mut point.rng());
    let recording = Recording::new(point.seed ^ point.after, point.on != "btrfs");
    let mut scene = match Scene::new(ask, point, drawn, &recording, janitor) {
        Ok(scene) => scene,
        Err(what) => return Err(Failure::new(point.seed, serde_json::Value::Null, what)),
    };
    let answer = match fault {
        None => scene.rehearse(),
        Some(_) => scene.play(tally).map(u64::from),
    };
    let trace = recording.take_trace();
    scene.end();
    answer.map_err(|what| {
        // It is met again by doing it again; the trace is for whoever looks into it.
        let path = ask.dir.join(format!("faults-{}-{:?}-{}.trace", point.seed, point.operation, point.after));
        let kept = trace::store(&trace, &path).is_ok().then_some(path);
        let case = serde_json::json!({ "point": point, "drawn": format!("{drawn:?}"), "trace": kept });
        Failure::new(point.seed, case, what)
    })
}

/// Where the file lies.
#[derive(Debug)]
enum Ground {
    Fuse(Mounted),
    Stack(Box<Stack>, Box<Bench>),
}

impl Ground {
    fn at(&self, name: &str) -> PathBuf {
        match self {
            Ground::Fuse(mounted) => mounted.path().join(name),
            Ground::Stack(stack, _) => stack.path().join(name),
        }
    }

    fn journal(&self) -> PathBuf {
        match self {
            Ground::Fuse(mounted) => mounted.path().join(JOURNAL),
            Ground::Stack(stack, _) => stack.journal(),
        }
    }
}

/// Everything around one fault.
struct Scene<'a> {
    ask: &'a Ask,
    point: &'a Point,
    drawn: Drawn,
    profile: Profile,
    recording: Recording,
    ground: Ground,
    rng: SmallRng,
    scratch: Scratch,
    images: recorded::Counts,
    mounts: block::Counts,
}

impl<'a> Scene<'a> {
    fn new(
        ask: &'a Ask,
        point: &'a Point,
        drawn: Drawn,
        recording: &Recording,
        janitor: &mut Janitor,
    ) -> Result<Scene<'a>, String> {
        let ground = match Kind::named(&point.on) {
            None => {
                let mounted = Mounted::new(recording, &ask.dir.join("faults"), janitor);
                Ground::Fuse(mounted.map_err(|error| format!("mount: {error}"))?)
            }
            Some(kind) => {
                let stack = Stack::new(kind, recording, &ask.dir, janitor)?;
                Ground::Stack(Box::new(stack), Box::new(Bench::new(kind, &ask.dir, 0)?))
            }
        };
        let scratch = Scratch::new().map_err(|error| error.to_string())?;
        let mut scene = Scene {
            ask,
            point,
            drawn,
            profile: profile_of(point.seed),
            recording: recording.clone(),
            ground,
            rng: SmallRng::seed_from_u64(point.seed ^ point.after.rotate_left(17)),
            scratch,
            images: recorded::Counts::default(),
            mounts: block::Counts::default(),
        };
        if drawn.has_base {
            scene.lay()?;
        }
        Ok(scene)
    }

    /// Lays an empty database down, durably.
    #[allow(unsafe_code)]
    fn lay(&mut self) -> Result<(), String> {
        let path = self.scratch.path().join(DATA);
        // SAFETY: the file lies in a directory of the harness's own.
        let env: Env = unsafe { actor::options(&self.profile).create(&path) }.map_err(said("create"))?;
        let txnid = env.read().map_err(said("read"))?.txnid();
        env.close().map_err(said("close"))?;
        let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        match &self.ground {
            Ground::Fuse(_) => drop(self.recording.make(DATA, &bytes, bytes.len() as u64)),
            Ground::Stack(stack, _) => {
                let laid = std::fs::write(stack.path().join(DATA), &bytes);
                laid.map_err(|error| format!("lay the file down: {error}"))?;
                stack.settle()?;
            }
        }
        self.tell(&Event::Opened { txnid })?;
        self.tell(&Event::Closed)
    }

    fn tell(&self, event: &Event) -> Result<(), String> {
        let mut line = Vec::new();
        event.write(&mut line).map_err(|error| error.to_string())?;
        self.recording.say(String::from_utf8_lossy(&line).trim_end());
        Ok(())
    }

    /// The story so far.
    fn story(&self) -> Result<Story, Broken> {
        let mut story = Story::new(self.point.seed, self.profile.clone());
        story.take(&self.recording.lines())?;
        Ok(story)
    }

    /// A process that looks at the file. It is told the story so far each time it is asked for something.
    fn witness(&self) -> Result<Heard, String> {
        let lines = self.scratch.path().join("lines");
        Heard::start(self.ask, Witness { path: self.ground.at(DATA), lines, seed: self.point.seed })
    }

    fn ask(&self, witness: &mut Heard, what: &str) -> Result<Answer, Broken> {
        std::fs::write(self.scratch.path().join("lines"), self.recording.lines())
            .map_err(|error| error.to_string())?;
        match witness.ask(what)? {
            Answer::Broken { what: broken } => Err(format!("asked to {what}: {broken}")),
            answer => Ok(answer),
        }
    }

    fn work(&self) -> Result<Crew, String> {
        let orders = Orders {
            path: self.ground.at(DATA),
            journal: self.ground.journal(),
            seed: self.point.seed,
            profile: self.profile.clone(),
            committed: Vec::new(),
            first: 0,
            end: STEPS,
            dies: false,
            catches_sigbus: true,
        };
        let presses =
            WriteBack { paths: vec![self.ground.at(DATA), self.ground.at(LOCK)], seed: self.point.seed };
        Crew::start(self.ask, orders, self.drawn.presses.then_some(presses))
    }

    /// Without a fault: how many operations there are.
    fn rehearse(&mut self) -> Result<u64, Broken> {
        let before = self.recording.operations(self.point.operation);
        self.work()?.wait(PATIENCE)?;
        Ok(self.recording.operations(self.point.operation) - before)
    }

    /// With the fault. Answers whether it was met.
    fn play(&mut self, tally: &mut Tally) -> Result<bool, Broken> {
        let drawn = self.drawn;
        let mut early = None;
        if drawn.has_early {
            let mut witness = self.witness()?;
            self.opens(&mut witness)?;
            early = Some(witness);
        }
        let Drawn { errno, for_good, kills, .. } = drawn;
        let (operation, after) = (self.point.operation, self.point.after);
        self.recording.fail(Some(Fault { operation, after, errno, for_good, kills }));
        let mut crew = self.work()?;
        self.recording.set_victim(crew.actor.id());
        let (status, said) = crew.end(PATIENCE)?;
        drop(crew);
        if self.recording.faults_met() == 0 {
            return Ok(false);
        }
        let was_killed = drawn.kills && status.signal() == Some(libc::SIGKILL);
        // A file system that has shut itself down takes no store to the lock file, whose map no handler covers.
        let was_gone = status.signal() == Some(libc::SIGBUS) && !self.is_well();
        tally.count("killed by a file system that is gone", u64::from(was_gone));
        if !was_killed && !was_gone && (status.signal().is_some() || status.code() == Some(101)) {
            return Err(format!("the process at work ended with {status}: {said}"));
        }
        tally.count("killed before it was told", u64::from(was_killed));
        tally.count("in which nothing was noticed", u64::from(status.success()));
        self.crash("after the fault", tally)?;
        if drawn.lifts_early {
            self.recording.fail(None);
        }
        let is_well = self.is_well();
        tally.count("after which the file system is gone", u64::from(!is_well));
        if !is_well {
            return Ok(true);
        }
        if drawn.evicts {
            tally.count("evicted", 1);
            self.evict()?;
        }
        if let Some(witness) = early {
            self.hear_early(witness, tally)?;
        }
        self.recording.fail(None);
        self.hear_late(tally)?;
        Ok(true)
    }

    /// Whether the file system still works, now or once the fault is over.
    fn is_well(&self) -> bool {
        let Ground::Stack(stack, _) = &self.ground else { return true };
        self.recording.fail(None);
        let probe = || {
            std::fs::write(stack.path().join("probe"), "well")?;
            std::fs::File::open(stack.path().join("probe"))?.sync_all()
        };
        probe().is_ok()
    }

    /// The witness opens a file that nobody else has open, and what it finds is told.
    fn opens(&self, witness: &mut Heard) -> Result<(), Broken> {
        match self.ask(witness, "open")? {
            Answer::Done => {}
            other => return Err(format!("opening: {other:?}")),
        }
        match self.ask(witness, "law")? {
            Answer::Stands { index, txnid } => self.stands(index, txnid),
            other => Err(format!("after opening: {other:?}")),
        }
    }

    /// From now on this commit stands, whatever happens.
    fn stands(&self, index: usize, txnid: u64) -> Result<(), Broken> {
        self.recording.say(&crashed_line(index));
        self.tell(&Event::Opened { txnid })
    }

    /// The kernel drops what it has cached of the file.
    fn evict(&self) -> Result<(), Broken> {
        match &self.ground {
            Ground::Fuse(mounted) => {
                if let (Some(notifier), Some(ino)) = (mounted.notifier(), self.recording.ino(DATA)) {
                    // A dirty page that cannot be written is one that stays.
                    let _ = notifier.inval_inode(ino, 0, 0);
                }
                Ok(())
            }
            Ground::Stack(..) => {
                let mut witness = self.witness()?;
                self.ask(&mut witness, "evict").map(|_| ())
            }
        }
    }

    /// The system crashes now: some images of what the disk may hold are held against the law.
    fn crash(&mut self, when: &str, tally: &mut Tally) -> Result<(), Broken> {
        let moment = Moment { volume: self.recording.volume(), lawful: self.story()?.lawful() };
        let images = if matches!(self.ground, Ground::Fuse(_)) { 4 } else { 1 };
        for _ in 0..images {
            let answer = match &mut self.ground {
                Ground::Fuse(_) => recorded::verify(&moment, &self.profile, &self.images, &mut self.rng),
                Ground::Stack(_, bench) => bench.verify(&moment, &self.profile, &self.mounts, &mut self.rng),
            };
            answer.map_err(|broken| format!("a crash {when}: {broken}"))?;
            tally.count("crash images", 1);
        }
        Ok(())
    }

    fn end(self) {
        self.recording.fail(None);
        if let Ground::Stack(stack, _) = self.ground {
            stack.take_down();
        }
    }
}
