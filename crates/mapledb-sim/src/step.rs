//! T4: a process is executed instruction by instruction, and could die after each.
//!
//! A child does one thing under `ptrace`: it creates a file, opens one, or commits in one of three ways or with growth. After
//! every instruction the files are compared with what they were; each change is a moment at which a kill would leave what
//! nothing else would. The files are then copied as they are, opened by the real engine, and held against the law of
//! process death. Runs of stores into pages are examined at random, all else always.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mapledb::{Durability, Env};
use mapledb_os::Seam;
use mapledb_os::fork::ParentFile;
use mapledb_os::shared::SharedRegion;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::actor::{self, Role};
use crate::harness::{Ask, Failure, Tally};
use crate::image::{bind_lock, lock_path};
use crate::processes::bank::{self, Broken, Size};
use crate::processes::maple::Writing;
use crate::scratch::Scratch;
use crate::verify;

/// What is executed step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A durable commit of one sync.
    OneSync,
    /// A durable commit of two.
    TwoSyncs,
    /// A relaxed commit.
    Relaxed,
    /// A durable commit that makes the file grow.
    Growth,
    /// An opening, with recovery.
    Open,
    /// A creation.
    Create,
}

/// In an order in which the first few differ most.
const DEEDS: [Deed; 6] =
    [Deed::OneSync, Deed::Create, Deed::Growth, Deed::Open, Deed::Relaxed, Deed::TwoSyncs];

/// What the child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steps {
    /// The data file.
    pub data: PathBuf,
    /// What to do.
    pub deed: Deed,
    /// Where its choices derive from.
    pub seed: u64,
}

const SIZE: Size = Size { accounts: 12, value_max: 60, transfers_max: 3, ballast_max: 400 };
/// The number of the commit that is executed step by step.
const STEPPED: u64 = 3;
/// One in so many of the stores into pages is examined.
const PAGE_STORES_ONE_IN: u32 = 24;
/// From here on there are pages: before it lies what recovery decides by.
const PAGES_AT: usize = mapledb_format::ids::DATA_OFFSET as usize;
/// How much of a data file is compared after each instruction.
const COMPARED_MAX: usize = 512 << 10;

impl Steps {
    #[allow(unsafe_code)]
    fn open(&self, create: bool) -> mapledb::Result<Env> {
        let options = options(self.deed);
        // SAFETY: nothing but MapleDB writes to the harness's own file.
        if create { unsafe { options.create(&self.data) } } else { unsafe { options.open(&self.data) } }
    }

    /// Does it, between two stops.
    ///
    /// # Errors
    /// The system's or the engine's.
    pub fn run(&self) -> Result<(), Broken> {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        ptrace::traceme().map_err(|error| format!("traceme: {error}"))?;
        let stop = || raise(Signal::SIGSTOP).map_err(|error| format!("raise: {error}"));
        match self.deed {
            Deed::Create | Deed::Open => {
                stop()?;
                let env = self.open(self.deed == Deed::Create);
                stop()?;
                env.map(drop).map_err(|error| error.to_string())
            }
            deed => {
                let env = self.open(false).map_err(|error| error.to_string())?;
                let mut txn = env.write().map_err(|error| error.to_string())?;
                txn.durability(if deed == Deed::Relaxed { Durability::Relaxed } else { Durability::Sync });
                if deed == Deed::Growth {
                    // All of it is stepped through: growth comes with the first page that is asked for.
                    stop()?;
                    transact(&mut txn, self.seed, STEPPED)?;
                    txn.main().put(b"large", &[7; 1 << 20]).map_err(|error| error.to_string())?;
                } else {
                    transact(&mut txn, self.seed, STEPPED)?;
                    stop()?;
                }
                let committed = txn.commit().inspect_err(|error| eprintln!("a stepped commit: {error}"));
                stop()?;
                committed.map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

fn options(deed: Deed) -> mapledb::Options {
    let options = Env::options().reserve_bytes(4 << 20).two_syncs(deed == Deed::TwoSyncs);
    options.relaxed_bound(u64::MAX, Duration::from_secs(3600)).seam(Seam::unwatched())
}

fn transact(txn: &mut mapledb::WriteTxn, seed: u64, number: u64) -> Result<(), Broken> {
    let mut rng = SmallRng::seed_from_u64(seed ^ number);
    let txnid = txn.txnid();
    bank::transfer(&mut Writing::new(txn), &SIZE, &mut rng, 0, number, txnid).map(drop)
}

/// Whether a process may be traced here at all.
///
/// # Errors
/// Why not.
pub fn needs() -> Result<(), String> {
    match fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        Ok(scope) if scope.trim() == "3" => {
            Err("the kernel lets nobody trace (yama.ptrace_scope is 3)".to_string())
        }
        _ => Ok(()),
    }
}

fn case_of(ask: &Ask, case: &serde_json::Value) -> Result<(Deed, u64), Failure> {
    let deed = serde_json::from_value(case["deed"].clone()).map_err(|error| Failure::no_case(ask, error))?;
    let seed = case["seed"].as_u64().ok_or_else(|| Failure::no_case(ask, "it has no seed"))?;
    Ok((deed, seed))
}

/// The harness. Its unit is a deed.
///
/// # Errors
/// The law is broken at one of the moments.
pub fn run(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let mut done = 0;
    let only = ask.case.as_ref().map(|case| case_of(ask, case)).transpose()?;
    while !ask.is_over(done) {
        let (deed, seed) = only.unwrap_or((DEEDS[(done % 6) as usize], ask.seed + done / 6));
        perform(ask, deed, seed, tally)
            .map_err(|what| Failure::new(ask.seed, json!({ "deed": deed, "seed": seed }), what))?;
        done += 1;
        tally.done(1);
        if only.is_some() {
            break;
        }
    }
    Ok(())
}

/// The files as a run of processes left them that were killed: two commits durable, one relaxed.
fn found(data: &Path, seed: u64) -> Result<Vec<u64>, Broken> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let steps = Steps { data: scratch.path().join("base.maple"), deed: Deed::OneSync, seed };
    let env = steps.open(true).map_err(verify::said("create"))?;
    let mut txnids = Vec::new();
    for number in 0..STEPPED {
        let mut txn = env.write().map_err(verify::said("write"))?;
        if number == 0 {
            bank::found(&mut Writing::new(&mut txn), &SIZE)?;
            for place in [bank::Place::Journal, bank::Place::Ballast] {
                let name = place.name().unwrap_or_default();
                txn.open_table(&mapledb::Table::<[u8], [u8]>::new(name)).map_err(verify::said("a table"))?;
            }
        }
        txnids.push(txn.txnid());
        transact(&mut txn, seed, number)?;
        txn.durability(if number == 2 { Durability::Relaxed } else { Durability::Sync });
        txn.commit().map_err(verify::said("commit"))?;
    }
    copy(&steps.data, data)?;
    Ok(txnids)
}

/// Copies a data file and its lock file, and makes the copies belong together.
fn copy(from: &Path, to: &Path) -> Result<(), Broken> {
    let said = |error: std::io::Error| format!("a copy: {error}");
    let _ = fs::remove_file(lock_path(to));
    fs::copy(from, to).map_err(said)?;
    let Ok(mut lock) = fs::read(lock_path(from)) else { return Ok(()) };
    let about = fs::metadata(to).map_err(said)?;
    if lock.len() >= 64 {
        bind_lock(&mut lock, about.dev(), about.ino());
    }
    fs::write(lock_path(to), lock).map_err(said)
}

/// A file that is looked at again and again.
struct Watched {
    path: PathBuf,
    region: Option<SharedRegion>,
    last: Vec<u64>,
    len: usize,
}

/// What has changed in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Bytes of pages alone.
    Pages,
    /// Its length, a meta, or the lock file.
    Else,
}

impl Watched {
    fn new(path: PathBuf) -> Watched {
        Watched { path, region: None, last: Vec::new(), len: 0 }
    }

    fn look(&mut self, pages_at: usize) -> Result<Change, Broken> {
        if self.region.is_none() {
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&self.path) else {
                return Ok(Change::Nothing);
            };
            let file = ParentFile::new(file, &self.path).map_err(|error| error.to_string())?;
            let region = SharedRegion::map(Arc::new(file), &self.path, 8 << 20, 8 << 20);
            self.region = Some(region.map_err(|error| error.to_string())?);
        }
        let Some(region) = &self.region else { return Ok(Change::Nothing) };
        region.refresh().map_err(|error| error.to_string())?;
        let mut change = Change::Nothing;
        if region.known_len() != self.len {
            self.len = region.known_len();
            change = Change::Else;
        }
        let words = self.len.min(COMPARED_MAX) / 8;
        let now = region.slice::<AtomicU64>(0, words).ok_or("the file was cut")?;
        self.last.resize(words, 0);
        for (at, (last, now)) in self.last.iter_mut().zip(now).enumerate() {
            let now = now.load(Ordering::Relaxed);
            if *last != now {
                *last = now;
                if at * 8 < pages_at {
                    change = Change::Else;
                } else if change == Change::Nothing {
                    change = Change::Pages;
                }
            }
        }
        Ok(change)
    }
}

fn perform(ask: &Ask, deed: Deed, seed: u64, tally: &mut Tally) -> Result<(), Broken> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let data = scratch.path().join("stepped.maple");
    let base = if deed == Deed::Create { Vec::new() } else { found(&data, seed)? };
    let mut rng = SmallRng::seed_from_u64(seed);
    let steps = Steps { data: data.clone(), deed, seed };
    let child =
        actor::command(&ask.exe, &Role::Steps(steps)).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = child.map_err(|error| format!("a child cannot be started: {error}"))?;
    let answer = watch(&mut child, &data, deed, &base, &mut rng, ask, tally);
    let _ = child.kill();
    let _ = child.wait();
    answer.map_err(|broken| format!("{deed:?}: {broken}"))
}

fn watch(
    child: &mut std::process::Child,
    data: &Path,
    deed: Deed,
    base: &[u64],
    rng: &mut SmallRng,
    ask: &Ask,
    tally: &mut Tally,
) -> Result<(), Broken> {
    let said = |error: nix::Error| format!("ptrace: {error}");
    let pid = Pid::from_raw(child.id() as i32);
    let stopped = |what: &str| match waitpid(pid, None).map_err(said)? {
        WaitStatus::Stopped(_, signal) => Ok(signal),
        other => Err(format!("the child ended {what}: {other:?}")),
    };
    while stopped("before it began")? != Signal::SIGSTOP {
        ptrace::cont(pid, None).map_err(said)?;
    }
    let mut files = (Watched::new(data.to_path_buf()), Watched::new(lock_path(data)));
    files.0.look(PAGES_AT)?;
    files.1.look(usize::MAX)?;
    let place = Scratch::new().map_err(|error| error.to_string())?;
    let image = place.path().join("image.maple");
    let mut instructions = 0u64;
    loop {
        ptrace::step(pid, None).map_err(said)?;
        match stopped("half way")? {
            Signal::SIGTRAP => {}
            Signal::SIGSTOP => break,
            other => return Err(format!("the child was stopped by {other}")),
        }
        instructions += 1;
        let changes = [files.0.look(PAGES_AT)?, files.1.look(usize::MAX)?];
        let is_wanted = match changes {
            [Change::Nothing, Change::Nothing] => continue,
            [Change::Pages, Change::Nothing] => rng.random_ratio(1, PAGE_STORES_ONE_IN),
            _ => true,
        };
        tally.count("changes", 1);
        if is_wanted {
            examine(data, &image, deed, base, false)
                .map_err(|broken| format!("killed after instruction {instructions}: {broken}"))?;
            tally.count("images", 1);
        }
        if ask.is_over(0) {
            break;
        }
    }
    tally.count("instructions", instructions);
    examine(data, &image, deed, base, !ask.is_over(0)).map_err(|broken| format!("at the end: {broken}"))
}

/// What would be found had the child been killed now.
fn examine(data: &Path, image: &Path, deed: Deed, base: &[u64], is_done: bool) -> Result<(), Broken> {
    if !data.exists() {
        return if is_done { Err("there is no file".to_string()) } else { Ok(()) };
    }
    copy(data, image)?;
    let steps = Steps { data: image.to_path_buf(), deed, seed: 0 };
    let env = steps.open(false).map_err(verify::said("it cannot be opened"))?;
    let txn = env.read().map_err(verify::said("a read cannot begin"))?;
    if deed != Deed::Create {
        bank::audit(&txn, &SIZE)?;
        let lines = bank::journal(&txn)?;
        let at_most = base.len() + usize::from(deed != Deed::Open);
        let at_least = if is_done { at_most } else { base.len() };
        if !(at_least..=at_most).contains(&lines.len()) {
            return Err(format!("{} commits stand, of {at_least} to {at_most}", lines.len()));
        }
        for (line, txnid) in lines.iter().zip(base) {
            if line.txnid != *txnid {
                return Err(format!("{line:?} was made by transaction {txnid}"));
            }
        }
    }
    drop(txn);
    verify::checks_clean(&env)?;
    let next = env.write().map_err(verify::said("write"))?.txnid();
    if base.iter().any(|txnid| *txnid >= next) {
        return Err(format!("txnid {next} is given out again"));
    }
    Ok(())
}
