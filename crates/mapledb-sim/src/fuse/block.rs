//! The real binary on real file systems (T3).
//!
//! A loop device lies over one file of the recording file system, and ext4, XFS or btrfs on that: so the log has what
//! the file system writes to its disk and when it flushes it, in order with what the process at work says. The log is cut
//! anywhere; the disk then holds any sectors of what was written since the last flush. Each image is mounted, which
//! recovers the file system's journal, and what is found there is opened and held against the law.
//!
//! A disk image that the file system itself refuses says nothing about the engine; it is counted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::crew::Crew;
use super::cuts::{Case, Cut, Moment, Plan, examine};
use super::mount::{Janitor, Loop, Mounted, Tree, has_command, run};
use super::recorded::{DATA, LOCK, bind, profile_of};
use super::server::{JOURNAL, Recording};
use super::story::{Found, Story, hold};
use super::trace::Event;
use super::writeback::WriteBack;
use crate::actor::Orders;
use crate::harness::{Ask, Failure, Tally};
use crate::image::set_other_boot;
use crate::scratch::Scratch;
use crate::verify::Broken;
use crate::workload::Profile;

/// The most images of one trace.
const IMAGES_A_TRACE: u64 = 50;
/// The longest that a workload may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name of the disk on the recording file system.
const DISK: &str = "disk";
/// Of so many images at least three quarters must be mountable, or the model of the disk is at fault.
const ENOUGH_TO_JUDGE: u64 = 20;

/// A kind of file system.
#[derive(Debug)]
pub struct Kind {
    /// Its name, for `mount`.
    pub name: &'static str,
    mkfs: &'static str,
    arguments: &'static [&'static str],
    mib: u64,
    /// What its disk writes at once. btrfs has one superblock, of 4 KiB, and does not survive a torn one.
    pub sector_bytes: u32,
    options: &'static str,
    /// How many threads may mount copies of the same file system at a time.
    workers: usize,
}

const EXT4: Kind = Kind {
    name: "ext4",
    mkfs: "mkfs.ext4",
    arguments: &["-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    mib: 64,
    sector_bytes: 512,
    options: "",
    workers: 2,
};
const XFS: Kind = Kind {
    name: "xfs",
    mkfs: "mkfs.xfs",
    arguments: &["-q", "-f"],
    mib: 300,
    sector_bytes: 512,
    options: "nouuid",
    workers: 2,
};
const BTRFS: Kind = Kind {
    name: "btrfs",
    mkfs: "mkfs.btrfs",
    arguments: &["-q", "-f"],
    mib: 128,
    sector_bytes: 4096,
    options: "",
    workers: 1,
};

/// Whose turn it is: of eleven traces six are of ext4, three of XFS, two of btrfs.
const TURNS: [&Kind; 11] = [&EXT4, &XFS, &EXT4, &BTRFS, &EXT4, &XFS, &EXT4, &EXT4, &XFS, &BTRFS, &EXT4];

impl Kind {
    /// The kind of a name.
    pub fn named(name: &str) -> Option<&'static Kind> {
        TURNS.into_iter().find(|kind| kind.name == name)
    }

    /// Why it cannot be had here.
    ///
    /// # Errors
    /// In words.
    pub fn needs(&self) -> Result<(), String> {
        has_command(self.mkfs)
    }

    /// Whether its disk may hold a block in parts.
    pub fn tears(&self) -> bool {
        self.sector_bytes < 4096
    }

    /// Makes a file system.
    fn format(&self, device: &Path) -> Result<(), String> {
        run(Command::new(self.mkfs).args(self.arguments).arg(device)).map(|_| ())
    }

    /// Mounts one.
    fn mount(&self, device: &Path, path: &Path, janitor: &mut Janitor) -> std::io::Result<Tree> {
        Tree::new(device, path, self.name, self.options, janitor)
    }

    /// The kernel remembers the devices of a btrfs by its id, and takes an older copy for a stale device of it.
    fn forget(&self, device: &Path) {
        if self.name == BTRFS.name {
            // Without the command the next mount says so.
            let _ = run(Command::new("btrfs").args(["device", "scan", "--forget"]).arg(device));
        }
    }
}

/// A file system of the kernel's over a disk that is recorded. Parts go in the order they stand in.
#[derive(Debug)]
pub struct Stack {
    tree: Option<Tree>,
    device: Option<Loop>,
    mounted: Mounted,
    kind: &'static Kind,
}

impl Stack {
    /// Makes and mounts one in `dir`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(
        kind: &'static Kind,
        recording: &Recording,
        dir: &Path,
        janitor: &mut Janitor,
    ) -> Result<Stack, String> {
        let said = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        recording.make(DISK, &[], kind.mib << 20);
        let mounted = Mounted::new(recording, &dir.join("disks"), janitor).map_err(said("mount"))?;
        let device = Loop::new(&mounted.path().join(DISK), kind.sector_bytes, janitor)?;
        kind.format(device.device())?;
        let tree = kind.mount(device.device(), &dir.join(kind.name), janitor).map_err(said(kind.name))?;
        let stack = Stack { tree: Some(tree), device: Some(device), mounted, kind };
        stack.settle()?;
        Ok(stack)
    }

    /// Makes everything on it durable.
    ///
    /// # Errors
    /// The file system cannot.
    pub fn settle(&self) -> Result<(), String> {
        let root = std::fs::File::open(self.path()).map_err(|error| format!("open: {error}"))?;
        nix::unistd::syncfs(&root).map_err(|error| format!("syncfs: {error}"))
    }

    /// Where the file system is.
    pub fn path(&self) -> PathBuf {
        self.tree.as_ref().map_or_else(PathBuf::new, |tree| tree.path().to_path_buf())
    }

    /// Where the one at work writes its journal.
    pub fn journal(&self) -> PathBuf {
        self.mounted.path().join(JOURNAL)
    }

    /// Takes it down. What the file system says to that is of no interest: it may have been told that its disk fails.
    pub fn take_down(mut self) {
        if let Some(tree) = self.tree.take() {
            let _ = tree.unmount();
        }
        if let Some(device) = self.device.take() {
            self.kind.forget(device.device());
        }
    }
}

/// The harness T3.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    if let Some(case) = &ask.case {
        return replay(ask, case, tally);
    }
    let broken = |what: String| Failure::new(ask.seed, serde_json::Value::Null, what);
    let mut janitor = Janitor::start().map_err(|error| broken(format!("sh: {error}")))?;
    let began = Instant::now();
    let turns: Vec<&'static Kind> = TURNS.into_iter().filter(|kind| kind.needs().is_ok()).collect();
    for kind in [&EXT4, &XFS, &BTRFS] {
        if let Err(why) = kind.needs() {
            tally.skip(format!("block: {}: {why}", kind.name));
        }
    }
    let images = (ask.budget / TURNS.len() as u64).clamp(1, IMAGES_A_TRACE);
    let mut seed = ask.seed;
    let mut counts = [Counts::default(), Counts::default(), Counts::default()];
    for kind in turns.iter().copied().cycle() {
        if ask.is_over(tally.units()) {
            break;
        }
        let images = images.min(ask.budget - tally.units());
        let plan = Plan { seed, images, end: ask.end, workers: kind.workers, only: None };
        let (from, trace) = record(ask, kind, seed, &mut janitor)
            .map_err(|(trace, what)| Failure::new(seed, case(ask, kind, seed, 0, None).keep(&trace), what))?;
        let of = [&EXT4, &XFS, &BTRFS].iter().position(|each| each.name == kind.name).unwrap_or(0);
        let done = look(ask, kind, &trace, from, seed, &plan, &counts[of])
            .map_err(|(cut, what)| Failure::new(seed, case(ask, kind, seed, from, cut).keep(&trace), what))?;
        counts[of].images.fetch_add(done, Ordering::Relaxed);
        tally.done(done);
        tally.count("traces", 1);
        seed = seed.wrapping_add(1);
    }
    let [ext4, xfs, btrfs] = &mut counts;
    tally.count("ext4", *ext4.images.get_mut());
    tally.count("xfs", *xfs.images.get_mut());
    tally.count("btrfs", *btrfs.images.get_mut());
    tally.count("ext4 refused by the file system itself", *ext4.refused.get_mut());
    tally.count("xfs refused by the file system itself", *xfs.refused.get_mut());
    tally.count("btrfs refused by the file system itself", *btrfs.refused.get_mut());
    for each in &counts {
        tally.count("a meta passed over", each.passed_over.load(Ordering::Relaxed));
        tally.count("without a file yet", each.absent.load(Ordering::Relaxed));
        let (images, refused) = (each.images.load(Ordering::Relaxed), each.refused.load(Ordering::Relaxed));
        if images >= ENOUGH_TO_JUDGE && refused * 4 > images {
            return Err(broken(format!(
                "{refused} of {images} images cannot be mounted: the disk is at fault"
            )));
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    tally.figure("images a minute", tally.units() as f64 / minutes, "1/min");
    Ok(())
}

fn case(ask: &Ask, kind: &Kind, images: u64, from: usize, cut: Option<Cut>) -> Case {
    let trace = ask.dir.join(format!("{}-{images}.trace", kind.name));
    Case { trace, on: kind.name.to_string(), from, images, cut }
}

fn replay(ask: &Ask, case: &serde_json::Value, tally: &mut Tally) -> Result<(), Failure> {
    let fail = |what: String| Failure::new(ask.seed, case.clone(), what);
    let (case, trace) = Case::load(case).map_err(|why| Failure::no_case(ask, why))?;
    let no_such = || Failure::no_case(ask, format!("no file system {:?}", case.on));
    let kind = Kind::named(&case.on).ok_or_else(no_such)?;
    let plan = Plan { seed: case.images, images: 1, end: ask.end, workers: 1, only: case.cut };
    let counts = Counts::default();
    let done =
        look(ask, kind, &trace, case.from, ask.seed, &plan, &counts).map_err(|(_, what)| fail(what))?;
    tally.done(done);
    Ok(())
}

/// Runs the workload on a file system over a recorded disk. Answers the trace, and where in it the work begins.
fn record(
    ask: &Ask,
    kind: &'static Kind,
    seed: u64,
    janitor: &mut Janitor,
) -> Result<(usize, Vec<Event>), (Vec<Event>, Broken)> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0xb10c);
    let profile = profile_of(seed);
    let recording = Recording::new(seed, kind.tears());
    let fail = |what: String| (Vec::new(), what);
    let stack = Stack::new(kind, &recording, &ask.dir, janitor).map_err(fail)?;
    let from = recording.place() as usize;
    let at = |name: &str| stack.path().join(name);
    let orders = Orders {
        path: at(DATA),
        journal: stack.journal(),
        seed,
        committed: Vec::new(),
        first: 0,
        end: u64::from(profile.transactions),
        profile,
        dies: rng.random(),
        catches_sigbus: false,
    };
    let presses = WriteBack { paths: vec![at(DATA), at(LOCK)], seed };
    let mut crew = Crew::start(ask, orders, rng.random_ratio(1, 2).then_some(presses)).map_err(fail)?;
    let ended = crew.wait(PATIENCE);
    drop(crew);
    let trace = recording.take_trace();
    stack.take_down();
    match ended {
        Ok(()) => Ok((from, trace)),
        Err(what) => Err((trace, what)),
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    images: AtomicU64,
    pub(super) refused: AtomicU64,
    absent: AtomicU64,
    passed_over: AtomicU64,
}

/// Makes images of a trace and verifies them.
fn look(
    ask: &Ask,
    kind: &'static Kind,
    trace: &[Event],
    from: usize,
    seed: u64,
    plan: &Plan,
    counts: &Counts,
) -> Result<u64, (Option<Cut>, Broken)> {
    let profile = profile_of(seed);
    let story = Story::new(seed, profile.clone());
    examine(trace, from, story, plan, |number| {
        let mut bench = Bench::new(kind, &ask.dir, number)?;
        let profile = profile.clone();
        Ok(move |moment: &Moment, rng: &mut SmallRng| bench.verify(moment, &profile, counts, rng))
    })
}

/// Where images of disks are mounted and looked at, one after the other.
#[derive(Debug)]
pub struct Bench {
    kind: &'static Kind,
    image: PathBuf,
    at: PathBuf,
    janitor: Janitor,
    _scratch: Scratch,
}

impl Bench {
    /// Sets one up. Its number tells it from others in the same directory.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(kind: &'static Kind, dir: &Path, number: usize) -> Result<Bench, String> {
        let scratch = Scratch::new().map_err(|error| error.to_string())?;
        let janitor = Janitor::start().map_err(|error| format!("sh: {error}"))?;
        let at = dir.join(format!("image-{number}"));
        Ok(Bench { kind, image: scratch.path().join(DISK), at, janitor, _scratch: scratch })
    }

    /// Makes an image of the disk, mounts it, and holds what is there against the law.
    ///
    /// # Errors
    /// How the law is broken.
    pub(super) fn verify(
        &mut self,
        moment: &Moment,
        profile: &Profile,
        counts: &Counts,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        let image = moment.volume.files[0].after_crash(self.kind.tears(), rng);
        image.write_to(&self.image).map_err(|error| format!("write an image: {error}"))?;
        let device = Loop::new(&self.image, self.kind.sector_bytes, &mut self.janitor)?;
        let Ok(tree) = self.kind.mount(device.device(), &self.at, &mut self.janitor) else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            self.kind.forget(device.device());
            return Ok(());
        };
        let answer = look_in(tree.path(), moment, profile, counts, rng);
        let unmounted = tree.unmount();
        self.kind.forget(device.device());
        answer?;
        unmounted.map_err(|error| format!("unmount: {error}"))
    }
}

fn look_in(
    dir: &Path,
    moment: &Moment,
    profile: &Profile,
    counts: &Counts,
    rng: &mut SmallRng,
) -> Result<(), Broken> {
    let lawful = &moment.lawful;
    let path = dir.join(DATA);
    if !path.exists() {
        counts.absent.fetch_add(1, Ordering::Relaxed);
        return if lawful.is_made { Err("the file is gone".to_string()) } else { Ok(()) };
    }
    let lock = dir.join(LOCK);
    if let Ok(bytes) = std::fs::read(&lock) {
        let changed = match rng.random_range(0..3) {
            0 => std::fs::remove_file(&lock),
            1 => rewrite(&lock, bind(&path, bytes), true),
            _ => rewrite(&lock, bind(&path, bytes), false),
        };
        changed.map_err(|error| format!("change the lock file: {error}"))?;
    }
    let Found { passed_over, .. } = hold(&path, profile, lawful)?;
    counts.passed_over.fetch_add(u64::from(passed_over), Ordering::Relaxed);
    Ok(())
}

fn rewrite(lock: &Path, bytes: std::io::Result<Vec<u8>>, of_other_boot: bool) -> std::io::Result<()> {
    let mut bytes = bytes?;
    if of_other_boot {
        set_other_boot(&mut bytes);
    }
    std::fs::write(lock, bytes)
}
