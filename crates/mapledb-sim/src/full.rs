//! T8: the disk is full.
//!
//! A file system of its own (ext4, XFS, btrfs with the file overwritten in place and copied on write, tmpfs) is filled by
//! a ballast file until little is free; a child process runs transactions on it until one finds no room. That is a
//! *point*. There the last commit must stand, the file must be as long as its last growth that went well made it, and the
//! check must be clean; sometimes the file is closed and opened again on the full disk, or entries are deleted. Then
//! some of the ballast goes, and so must the work. The environment's own quota is a sixth kind of full disk.
//!
//! On btrfs with copying on write a store may find no block, which is a signal: there the option `catch_sigbus` is on,
//! and an error that poisons is as good, if the law holds when the file is opened again.
//!
//! A signal that ends the child is a failure. File systems that cannot be made or mounted here are skipped, each with
//! its reason.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mapledb::{Durability, Env, Error, Options, Table};
use mapledb_os::{Effect, Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::actor::{self, Role};
use crate::harness::{Ask, Failure, Tally};
use crate::model::{Bounds, History, State};
use crate::verify::{Broken, checks_clean, holds, law, said};
use crate::workload::{Profile, Transaction};

const MIB: u64 = 1 << 20;
/// Points of a session, which has one file system.
const POINTS: u64 = 12;
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// The table that fills the disk.
const FILL: &str = "fill";

/// A kind of full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ext4 on a loop device.
    Ext4,
    /// XFS on a loop device.
    Xfs,
    /// btrfs, the file as MapleDB makes it: overwritten in place.
    Btrfs,
    /// btrfs, the file copied on write.
    BtrfsCow,
    /// tmpfs.
    Tmpfs,
    /// The environment's quota, on whatever file system the directory is on.
    Quota,
}

const KINDS: [Kind; 6] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::BtrfsCow, Kind::Tmpfs, Kind::Quota];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
            Kind::BtrfsCow => "btrfs-cow",
            Kind::Tmpfs => "tmpfs",
            Kind::Quota => "quota",
        }
    }

    /// The size of its file system in bytes.
    fn size(self, rng: &mut SmallRng) -> u64 {
        match self {
            Kind::Ext4 => rng.random_range(90 * MIB..300 * MIB) & !4095,
            Kind::Xfs => rng.random_range(310 * MIB..400 * MIB) & !4095,
            Kind::Btrfs | Kind::BtrfsCow => rng.random_range(150 * MIB..300 * MIB) & !4095,
            // Any size is legal.
            Kind::Tmpfs => rng.random_range(3 * MIB..70 * MIB),
            Kind::Quota => 0,
        }
    }

    fn mkfs(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Kind::Ext4 => Some(("mkfs.ext4", &["-q", "-F", "-m", "0"])),
            Kind::Xfs => Some(("mkfs.xfs", &["-q", "-f"])),
            Kind::Btrfs | Kind::BtrfsCow => Some(("mkfs.btrfs", &["-q", "-f", "-m", "single"])),
            Kind::Tmpfs | Kind::Quota => None,
        }
    }

    /// Whether a store to a page that has been stored to before may find no block.
    fn copies_on_write(self) -> bool {
        self == Kind::BtrfsCow
    }
}

/// What makes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Case {
    kind: Kind,
    seed: u64,
}

/// Runs the harness.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    unmount_below(&ask.dir);
    let mut cannot: BTreeMap<Kind, String> = BTreeMap::new();
    let only = match &ask.case {
        Some(case) => {
            Some(serde_json::from_value::<Case>(case.clone()).map_err(|error| Failure::no_case(ask, error))?)
        }
        None => None,
    };
    let mut round = 0u64;
    while !ask.is_over(tally.units()) && cannot.len() < KINDS.len() {
        let kind = KINDS[round as usize % KINDS.len()];
        let drawn = Case { kind, seed: ask.seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
        let case = only.unwrap_or(drawn);
        round += 1;
        if cannot.contains_key(&case.kind) {
            continue;
        }
        let failed =
            |what: String| Failure::new(ask.seed, serde_json::to_value(case).unwrap_or_default(), what);
        match session(ask, case, tally).map_err(failed)? {
            Ran::Whole => {}
            Ran::NotHere(why) => {
                tally.skip(format!("full: {}: {why}", case.kind.name()));
                cannot.insert(case.kind, why);
            }
        }
        if only.is_some() {
            break;
        }
    }
    Ok(())
}

enum Ran {
    Whole,
    NotHere(String),
}

/// What a child tells at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    points: u64,
    counts: BTreeMap<String, u64>,
}

fn session(ask: &Ask, case: Case, tally: &mut Tally) -> Result<Ran, Broken> {
    let disk = match Disk::make(&ask.dir, case) {
        Ok(disk) => disk,
        Err(why) => return Ok(Ran::NotHere(why)),
    };
    let role = Role::Full(Orders { dir: disk.dir.clone(), kind: case.kind, seed: case.seed, points: POINTS });
    let answers = ask.dir.join("full.told");
    let out = File::create(&answers).map_err(|error| format!("{}: {error}", answers.display()))?;
    let complaints = ask.dir.join("full.complaints");
    let err = File::create(&complaints).map_err(|error| format!("{}: {error}", complaints.display()))?;
    let mut child = actor::command(&ask.exe, &role)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| format!("a child cannot be started: {error}"))?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| format!("a child cannot be waited for: {error}"))? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{}: the child hangs", case.kind.name()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let complaint = std::fs::read_to_string(&complaints).unwrap_or_default();
    if let Some(signal) = status.signal() {
        return Err(format!(
            "{}: the child was ended by signal {signal}; {}",
            case.kind.name(),
            complaint.trim()
        ));
    }
    if !status.success() {
        return Err(format!("{}: {}", case.kind.name(), complaint.trim()));
    }
    let told = std::fs::read_to_string(&answers).unwrap_or_default();
    let told: Told =
        serde_json::from_str(&told).map_err(|error| format!("the child tells nothing of use: {error}"))?;
    tally.done(told.points);
    tally.count(case.kind.name(), told.points);
    for (name, count) in told.counts {
        if let Some(known) = COUNTS.iter().find(|known| **known == name) {
            tally.count(known, count);
        }
    }
    drop(disk);
    Ok(Ran::Whole)
}

/// A mounted file system, or a directory. Gone when it is dropped.
struct Disk {
    dir: PathBuf,
    image: Option<PathBuf>,
    is_mounted: bool,
}

impl Disk {
    fn make(base: &Path, case: Case) -> Result<Disk, String> {
        let dir = base.join("full");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut disk = Disk { dir, image: None, is_mounted: false };
        let size = case.kind.size(&mut SmallRng::seed_from_u64(case.seed));
        if let Some((mkfs, arguments)) = case.kind.mkfs() {
            let image = base.join("full.image");
            let sparse = File::create(&image).and_then(|file| file.set_len(size));
            sparse.map_err(|error| format!("{}: {error}", image.display()))?;
            disk.image = Some(image.clone());
            run(Command::new(mkfs).args(arguments).arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk.dir))?;
            disk.is_mounted = true;
            if mkfs == "mkfs.btrfs" {
                widen_metadata(&disk.dir).map_err(|error| format!("{}: {error}", disk.dir.display()))?;
            }
        } else if case.kind == Kind::Tmpfs {
            let options = format!("size={size}");
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk.dir))?;
            disk.is_mounted = true;
        }
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted && run(Command::new("umount").arg(&self.dir)).is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(&self.dir));
        }
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// btrfs keeps what it knows about files in regions of their own, and gives none of the ballast's to it however much of
/// that goes. So a small one would have no room for another name long before it is full of data; as no large one does,
/// it gets such a region ahead, by many small files.
fn widen_metadata(dir: &Path) -> io::Result<()> {
    let many = dir.join("many");
    std::fs::create_dir(&many)?;
    for n in 0..6000 {
        std::fs::write(many.join(n.to_string()), [7; 1900])?;
    }
    // Half of them stay, or the region goes again.
    (0..3000).try_for_each(|n| std::fs::remove_file(many.join(n.to_string())))
}

/// Takes off what a run that was ended left mounted below `dir`.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let left = dir.join("full");
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(at) == left {
            let _ = run(Command::new("umount").arg("-l").arg(at));
        }
    }
}

/// Runs a command to its end; why it did not go well.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("no word of why").trim();
    Err(format!("{name}: {said}"))
}

/// What a child with the role [`Role::Full`] is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Where the full disk is mounted.
    dir: PathBuf,
    /// Which kind it is.
    kind: Kind,
    /// The seed of everything.
    seed: u64,
    /// Points to reach.
    points: u64,
}

/// Plays the child's part.
///
/// # Errors
/// How the law was broken.
pub fn play(orders: &Orders) -> Result<(), Broken> {
    let mut session = Session::new(orders)?;
    session.create()?;
    while session.told.points < orders.points {
        session.turn()?;
    }
    session.close()?;
    println!("{}", serde_json::to_string(&session.told).map_err(|error| error.to_string())?);
    Ok(())
}

/// What happened besides points.
const COUNTS: [&str; 12] = [
    "commits",
    "creations refused",
    "refused within a commit",
    "reopened while full",
    "deleted while full",
    "deleting refused",
    "trimmed while full",
    "trimming refused",
    "MiB punched",
    "faults caught",
    "indeterminate",
    "went on",
];

/// Knows how long growth has made the file.
#[derive(Default)]
struct Growth {
    len: AtomicU64,
}

impl Observer for Growth {
    fn before(&self, _: &Effect) -> io::Result<()> {
        Ok(())
    }

    fn after(&self, effect: &Effect, ok: bool) {
        match *effect {
            Effect::Grow { offset, len } | Effect::WriteZeros { offset, len } if ok => {
                self.len.fetch_max(offset + len, Ordering::SeqCst);
            }
            // A failed growth is cut back to where it began.
            Effect::Truncate { len } if ok => self.len.store(len, Ordering::SeqCst),
            _ => {}
        }
    }
}

/// Files that take room away: a full btrfs may have no room to shorten one, and has it to remove one.
struct Ballast {
    dir: PathBuf,
    pieces: Vec<(PathBuf, u64)>,
    made: u64,
}

/// The largest piece of ballast.
const PIECE: u64 = 4 * MIB;

impl Ballast {
    /// Grows until about `leave` bytes are free.
    fn leave(&mut self, leave: u64) -> Result<(), Broken> {
        loop {
            let free = free_bytes(&self.dir)?;
            let Some(more) = free.checked_sub(leave).filter(|more| *more >= MIB / 2) else { return Ok(()) };
            let len = more.min(PIECE);
            self.made += 1;
            let path = self.dir.join(format!("ballast-{}", self.made));
            if run(Command::new("fallocate").args(["-l", &len.to_string()]).arg(&path)).is_err() {
                // The file system keeps some for itself.
                let _ = std::fs::remove_file(&path);
                return Ok(());
            }
            self.pieces.push((path, len));
        }
    }

    /// Gives some room back. Answers how much; 0 if there is none left.
    fn give(&mut self, bytes: u64) -> Result<u64, Broken> {
        let mut given = 0;
        while given < bytes
            && let Some((path, len)) = self.pieces.pop()
        {
            std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            given += len;
        }
        // Some file systems give blocks back when they next commit.
        run(Command::new("sync").arg("-f").arg(&self.dir))?;
        Ok(given)
    }
}

fn free_bytes(path: &Path) -> Result<u64, Broken> {
    mapledb_os::free_space_bytes(path).map_err(|error| error.to_string())
}

struct Session<'o> {
    orders: &'o Orders,
    path: PathBuf,
    profile: Profile,
    rng: SmallRng,
    growth: Arc<Growth>,
    ballast: Option<Ballast>,
    quota: Option<u64>,
    env: Option<Env>,
    history: History,
    bounds: Bounds,
    ordinal: u64,
    next_fill: u64,
    told: Told,
}

/// What came of a transaction.
enum Outcome {
    Committed,
    /// There was no room, and the transaction is gone.
    NoRoom,
    /// The environment is poisoned.
    Poisoned,
}

impl<'o> Session<'o> {
    fn new(orders: &'o Orders) -> Result<Session<'o>, Broken> {
        let mut rng = SmallRng::seed_from_u64(orders.seed ^ 0x5eed);
        let mut profile = Profile::random(&mut rng);
        profile.quota_bytes = None;
        let quota = (orders.kind == Kind::Quota).then(|| rng.random_range(2 * MIB..9 * MIB));
        let ballast = match orders.kind {
            Kind::Quota => None,
            _ => Some(Ballast { dir: orders.dir.clone(), pieces: Vec::new(), made: 0 }),
        };
        Ok(Session {
            orders,
            path: orders.dir.join("full.maple"),
            profile,
            rng,
            growth: Arc::default(),
            ballast,
            quota,
            env: None,
            history: History::new(0, State::default()),
            bounds: Bounds::default(),
            ordinal: 0,
            next_fill: 0,
            told: Told::default(),
        })
    }

    fn count(&mut self, name: &str) {
        debug_assert!(COUNTS.contains(&name));
        *self.told.counts.entry(name.to_string()).or_default() += 1;
    }

    fn options(&self) -> Options {
        let options = actor::options(&self.profile)
            .catch_sigbus(self.orders.kind.copies_on_write())
            .seam(Seam::watched(Arc::clone(&self.growth) as Arc<_>));
        match self.quota {
            Some(bytes) => options.quota_bytes(bytes),
            None => options,
        }
    }

    /// Makes the file, on a disk that may have no room for it.
    fn create(&mut self) -> Result<(), Broken> {
        if self.orders.kind.copies_on_write() {
            // While there is room: it is not the copying that is to be tried.
            self.create_copied_on_write()?;
        }
        if let Some(ballast) = &mut self.ballast {
            let leave = match self.rng.random_ratio(1, 4) {
                // Too little for the file and its lock file, as the case may be.
                true if !self.orders.kind.copies_on_write() => self.rng.random_range(0..2 * MIB),
                _ => self.rng.random_range(8 * MIB..=64 * MIB),
            };
            ballast.leave(leave)?;
        }
        let mut last = String::new();
        for _ in 0..64 {
            match open(&self.path, self.options()) {
                Ok(env) => {
                    let txnid = env.read().map_err(said("read"))?.txnid();
                    self.history = History::new(txnid, State::default());
                    self.bounds = Bounds::exactly(0, txnid);
                    self.env = Some(env);
                    return self.note_len();
                }
                Err(error) => {
                    self.count("creations refused");
                    let is_room = is_want_of_room(&error) || told_of_room(&error);
                    if !is_room {
                        return Err(format!("creating on a full disk: {error:?}"));
                    }
                    let given = match &mut self.ballast {
                        Some(ballast) => ballast.give(MIB)?,
                        None => 0,
                    };
                    if given == 0 {
                        return Err(format!("no room to create on an empty disk: {error}"));
                    }
                    last = error.to_string();
                }
            }
        }
        let free = free_bytes(&self.orders.dir)?;
        Err(format!("the file cannot be created although {free} bytes are free: {last}"))
    }

    fn create_copied_on_write(&self) -> Result<(), Broken> {
        let made = self.orders.dir.join("made.maple");
        let env = open(&made, actor::options(&self.profile)).map_err(said("create"))?;
        env.close().map_err(said("close"))?;
        run(Command::new("cp").args(["--reflink=never"]).arg(&made).arg(&self.path))?;
        for gone in [made.clone(), made.with_extension("maple-lock")] {
            let _ = std::fs::remove_file(gone);
        }
        Ok(())
    }

    fn note_len(&self) -> Result<(), Broken> {
        let len = std::fs::metadata(&self.path).map_err(|error| format!("the file: {error}"))?.len();
        self.growth.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn env(&self) -> Result<&Env, Broken> {
        self.env.as_ref().ok_or_else(|| "the environment is not open".to_string())
    }

    fn state(&self) -> &State {
        &self.history.at(self.history.last()).state
    }

    fn turn(&mut self) -> Result<(), Broken> {
        match self.transact()? {
            Outcome::Committed => Ok(()),
            Outcome::NoRoom => {
                self.told.points += 1;
                self.stands("at a full disk")?;
                if self.rng.random_ratio(1, 6) {
                    self.reopen()?;
                    self.count("reopened while full");
                }
                if self.rng.random_ratio(1, 2) {
                    self.delete_some()?;
                }
                if self.rng.random_ratio(1, 3) {
                    self.trim()?;
                }
                self.room_comes_back()?;
                self.goes_on()
            }
            Outcome::Poisoned => {
                self.told.points += 1;
                self.count("faults caught");
                self.env = None;
                self.room_comes_back()?;
                self.recover()?;
                self.goes_on()
            }
        }
    }

    /// One transaction: the shared generator's, or one that fills.
    fn transact(&mut self) -> Result<Outcome, Broken> {
        self.ordinal += 1;
        match self.rng.random_ratio(1, 2) {
            true => {
                let (transaction, after) =
                    Transaction::draw(self.orders.seed, self.ordinal, self.state(), &self.profile);
                let gives_up = transaction.gives_up;
                self.attempt(transaction.durability, after, gives_up, |txn| {
                    transaction.perform(txn, &mut || Ok(()))
                })
            }
            false => {
                let rows = self.rows();
                self.put(&rows)
            }
        }
    }

    /// Rows for the table that fills the disk: small ones and some of megabytes.
    fn rows(&mut self) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let count = self.rng.random_range(1..40);
        let rows = (0..count).map(|_| {
            let magnitude = self.rng.random_range(6..21);
            let len = self.rng.random_range(1usize << (magnitude - 1)..1 << magnitude);
            let mut value = vec![0; len];
            self.rng.fill(&mut value[..]);
            self.next_fill += 1;
            (self.next_fill.to_be_bytes().to_vec(), value.into())
        });
        rows.collect()
    }

    fn put(&mut self, rows: &[(Vec<u8>, Arc<[u8]>)]) -> Result<Outcome, Broken> {
        let mut after = self.state().clone();
        let table = after.tables.entry(FILL.to_string()).or_default();
        table.entries.extend(rows.iter().cloned());
        let durability = if self.rng.random_ratio(1, 3) { Durability::Relaxed } else { Durability::Sync };
        self.attempt(durability, after, false, |txn| {
            let mut table = txn.open_table(&Table::<[u8], [u8]>::new(FILL))?;
            rows.iter().try_for_each(|(key, value)| table.put(&key[..], value))
        })
    }

    fn attempt(
        &mut self,
        durability: Durability,
        after: State,
        gives_up: bool,
        act: impl FnOnce(&mut mapledb::WriteTxn) -> mapledb::Result<()>,
    ) -> Result<Outcome, Broken> {
        let mut txn = match self.env()?.write() {
            Ok(txn) => txn,
            Err(error) => return self.outcome(&error),
        };
        txn.durability(durability);
        let txnid = txn.txnid();
        if txnid <= self.bounds.txnid_max {
            return Err(format!("transaction {txnid} is given out a second time"));
        }
        self.bounds.txnid_max = txnid;
        if let Err(error) = act(&mut txn) {
            drop(txn);
            return self.outcome(&error);
        }
        if gives_up {
            return Ok(Outcome::Committed);
        }
        let last = self.history.last();
        match txn.commit() {
            Ok(number) if number != txnid => Ok(Outcome::Committed),
            Ok(_) => {
                let index = self.history.push(txnid, after);
                (self.bounds.acked, self.bounds.reached) = (index, index);
                if durability == Durability::Sync {
                    self.bounds.durable = index;
                }
                self.count("commits");
                Ok(Outcome::Committed)
            }
            Err(error) => {
                if matches!(error, Error::Indeterminate { .. }) {
                    self.count("indeterminate");
                    self.bounds.reached = self.history.push(txnid, after);
                } else {
                    self.count("refused within a commit");
                    self.history.truncate_after(last);
                }
                self.outcome(&error)
            }
        }
    }

    fn outcome(&self, error: &Error) -> Result<Outcome, Broken> {
        let is_expected = match self.orders.kind {
            Kind::Quota => matches!(error, Error::QuotaReached { .. }),
            _ => matches!(error, Error::DiskFull(_)),
        };
        let poisons = matches!(
            error,
            Error::Fault { .. }
                | Error::SyncFailed { .. }
                | Error::Indeterminate { .. }
                | Error::Poisoned { .. }
        );
        match (is_expected, poisons && self.orders.kind.copies_on_write()) {
            (true, _) => Ok(Outcome::NoRoom),
            (_, true) => Ok(Outcome::Poisoned),
            _ => Err(format!("an unexpected error: {error:?}: {error}")),
        }
    }

    /// The last commit stands, the file is as long as it was, and everything is where it belongs.
    fn stands(&self, when: &str) -> Result<(), Broken> {
        let about = std::fs::metadata(&self.path).map_err(|error| format!("the file: {error}"))?;
        let expected = self.growth.len.load(Ordering::SeqCst);
        if about.len() != expected {
            return Err(format!(
                "{when}: the file has {} bytes, and its growth ended at {expected}",
                about.len()
            ));
        }
        let env = self.env()?;
        let txn = env.read().map_err(said("read"))?;
        holds(&txn, self.state()).map_err(|broken| format!("{when}: {broken}"))?;
        drop(txn);
        checks_clean(env).map_err(|broken| format!("{when}: {broken}"))
    }

    fn reopen(&mut self) -> Result<(), Broken> {
        self.close()?;
        match open(&self.path, self.options()) {
            // After an unclean close recovery stores pages again, which takes blocks there.
            Err(Error::Fault { .. }) if self.orders.kind.copies_on_write() => {
                self.count("faults caught");
                self.recover()
            }
            Err(error) => Err(format!("reopening on a full disk: {error}")),
            Ok(env) => self.takes(env, "reopening on a full disk"),
        }
    }

    fn open_again(&mut self, when: &str) -> Result<(), Broken> {
        let env = open(&self.path, self.options()).map_err(|error| format!("{when}: {error}"))?;
        self.takes(env, when)
    }

    /// Goes on with an environment that has just been opened, if it keeps the law.
    fn takes(&mut self, env: Env, when: &str) -> Result<(), Broken> {
        let (found, stands) =
            law(&env, &self.history, &self.bounds).map_err(|broken| format!("{when}: {broken}"))?;
        self.history.truncate_after(found);
        self.history.renumber(found, stands);
        self.bounds = Bounds::exactly(found, self.bounds.txnid_max.max(stands));
        self.env = Some(env);
        self.note_len()
    }

    fn close(&mut self) -> Result<(), Broken> {
        if let Some(env) = self.env.take() {
            match env.close() {
                Ok(()) => self.bounds.durable = self.bounds.acked,
                Err(_) if self.orders.kind.copies_on_write() => self.bounds.acked = self.bounds.durable,
                Err(error) => return Err(format!("closing: {error}")),
            }
        }
        Ok(())
    }

    /// After a failed sync what was relaxed may be gone.
    fn recover(&mut self) -> Result<(), Broken> {
        self.bounds.acked = self.bounds.durable;
        for _ in 0..64 {
            match self.open_again("opening again") {
                Ok(()) => return self.stands("after recovery"),
                Err(broken) if self.given_more()? => drop(broken),
                Err(broken) => return Err(broken),
            }
        }
        Err("recovery finds no room, however much there is".to_string())
    }

    fn given_more(&mut self) -> Result<bool, Broken> {
        match &mut self.ballast {
            Some(ballast) => Ok(ballast.give(2 * MIB)? > 0),
            None => Ok(false),
        }
    }

    /// Deletes something while there is no room: the pages of earlier commits are let go of, and serve.
    fn delete_some(&mut self) -> Result<(), Broken> {
        let count = self.rng.random_range(1..6);
        let Some(table) = self.state().tables.get(FILL) else { return Ok(()) };
        let keys: Vec<Vec<u8>> = table.entries.keys().take(count).cloned().collect();
        for _ in 0..3 {
            let mut after = self.state().clone();
            let table = after.tables.entry(FILL.to_string()).or_default();
            table.entries.retain(|key, _| !keys.contains(key));
            let outcome = self.attempt(Durability::Sync, after, false, |txn| {
                let mut table = txn.open_table(&Table::<[u8], [u8]>::new(FILL))?;
                keys.iter().try_for_each(|key| table.delete(&key[..]).map(drop))
            });
            match outcome? {
                Outcome::Committed => {
                    self.count("deleted while full");
                    return self.stands("after deleting on a full disk");
                }
                Outcome::NoRoom => self.count("deleting refused"),
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    return self.recover();
                }
            }
        }
        Ok(())
    }

    /// Gives free space back to the file system, and has the ballast take it now and then: what is needed again is then
    /// missed, which must be no more than that.
    fn trim(&mut self) -> Result<(), Broken> {
        match self.env()?.trim() {
            Ok(report) => {
                self.bounds.durable = self.bounds.acked;
                *self.told.counts.entry("MiB punched".to_string()).or_default() += report.bytes / MIB;
                self.count("trimmed while full");
            }
            Err(error) => match self.outcome(&error)? {
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    return self.recover();
                }
                _ => self.count("trimming refused"),
            },
        }
        // Its commits change nothing, so the last one goes by their numbers, too.
        let head = self.head()?;
        self.history.also(self.bounds.txnid_max + 1..=head);
        self.bounds.txnid_max = self.bounds.txnid_max.max(head);
        self.stands("after trimming on a full disk")?;
        if self.rng.random_ratio(1, 2)
            && let Some(ballast) = &mut self.ballast
        {
            // Not the last of it: btrfs takes minutes over what it cannot do.
            ballast.leave(MIB)?;
            self.turn_on_nothing()?;
        }
        Ok(())
    }

    /// The published commit.
    fn head(&self) -> Result<u64, Broken> {
        Ok(self.env()?.read().map_err(said("read"))?.txnid())
    }

    /// Transactions on a disk that is as full as can be: each is done or refused.
    fn turn_on_nothing(&mut self) -> Result<(), Broken> {
        for _ in 0..3 {
            if let Outcome::Poisoned = self.transact()? {
                self.count("faults caught");
                self.env = None;
                self.room_comes_back()?;
                return self.recover();
            }
        }
        self.stands("on a disk as full as can be")
    }

    /// Some of the ballast goes, or the quota is raised.
    fn room_comes_back(&mut self) -> Result<(), Broken> {
        let bytes = self.rng.random_range(3 * MIB..8 * MIB);
        if let Some(quota) = self.quota {
            self.quota = Some(quota + bytes);
            if self.env.is_some() {
                self.reopen()?;
            }
            return Ok(());
        }
        let given = match &mut self.ballast {
            Some(ballast) => ballast.give(bytes)?,
            None => 0,
        };
        if given < bytes && self.env.is_some() {
            self.start_over()?;
        }
        Ok(())
    }

    /// There is no ballast left: the file begins anew, and so does the ballast.
    fn start_over(&mut self) -> Result<(), Broken> {
        self.close()?;
        for gone in [self.path.clone(), self.path.with_extension("maple-lock")] {
            std::fs::remove_file(&gone).map_err(|error| format!("{}: {error}", gone.display()))?;
        }
        run(Command::new("sync").arg("-f").arg(&self.orders.dir))?;
        self.create()?;
        // Room for the file itself need not be room for more.
        self.given_more().map(drop)
    }

    /// With room again a small commit goes well.
    fn goes_on(&mut self) -> Result<(), Broken> {
        for _ in 0..64 {
            self.next_fill += 1;
            let row = (self.next_fill.to_be_bytes().to_vec(), Arc::from(&b"there is room again"[..]));
            match self.put(&[row])? {
                Outcome::Committed => {
                    self.count("went on");
                    return Ok(());
                }
                Outcome::NoRoom if self.orders.kind.copies_on_write() && self.given_more()? => {}
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    self.recover()?;
                }
                Outcome::NoRoom => break,
            }
        }
        let free = free_bytes(&self.orders.dir)?;
        Err(format!("no room is found although there is some again: {free} bytes are free"))
    }
}

fn is_want_of_room(error: &Error) -> bool {
    matches!(error, Error::DiskFull(_) | Error::QuotaReached { .. })
}

/// The lock file may be what there is no room for.
fn told_of_room(error: &Error) -> bool {
    matches!(error, Error::Attach(_) | Error::Os(_) | Error::Shared(_))
        && error.to_string().contains("os error 28")
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the session's own file, to which nothing but MapleDB writes.
    unsafe { options.open_or_create(path) }
}
