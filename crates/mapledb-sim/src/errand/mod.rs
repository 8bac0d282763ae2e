//! A short errand that meets an error of the system somewhere: creation, commits of all kinds, growth, barriers, copies,
//! closing and opening again; and what must hold of the file afterwards.
//!
//! The child tells its journal what it was told, and goes on after an error as a sensible program would: what a
//! failed call left is dropped, the environment closed and opened again. Whatever happens it ends by itself, without
//! a panic. What it leaves is then opened where no error is met.

mod told;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mapledb::{Durability, Env, Error};
use mapledb_os::{Effect, Observer, Seam};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use self::told::Told;
use crate::journal::Event;
use crate::processes::bank::{self, Broken, Place, Size};
use crate::processes::maple::Writing;
use crate::verify;

/// An errand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Errand {
    /// The directory: the file, its copies and the journal go there.
    pub dir: PathBuf,
    /// Where its choices derive from.
    pub seed: u64,
    /// Whether to wait for a byte on standard input before anything else.
    pub waits: bool,
    /// The effect that fails, and with what.
    pub fault: Option<Fault>,
}

/// An effect that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which effect, counted from 1.
    pub nth: u64,
    /// The error's number.
    pub errno: i32,
    /// Whether all later ones fail, too.
    pub for_good: bool,
}

/// How often an interrupted call is interrupted in a row: one that is so for ever may be tried for ever.
pub const INTERRUPTIONS: u64 = 10;

impl Fault {
    /// The last call or effect that fails; none if there is no last.
    pub fn last(&self) -> Option<u64> {
        match (self.for_good, self.errno == Errno::EINTR as i32) {
            (false, _) => Some(self.nth),
            (true, true) => Some(self.nth + INTERRUPTIONS),
            (true, false) => None,
        }
    }

    fn meets(&self, nth: u64) -> bool {
        nth >= self.nth && self.last().is_none_or(|last| nth <= last)
    }
}

/// Fails what it was told to.
struct Saboteur {
    count: AtomicU64,
    fault: Option<Fault>,
}

impl Observer for Saboteur {
    fn before(&self, _: &Effect) -> std::io::Result<()> {
        let nth = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Some(fault) if fault.meets(nth) => Err(std::io::Error::from_raw_os_error(fault.errno)),
            _ => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

/// What is done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Commit(Durability),
    /// A commit that makes the file grow.
    Grow(Durability),
    GiveUp,
    Barrier,
    Read,
    WaitForNewer,
    Copy,
    CopyCompact,
    Trim,
    Reopen,
}

const STEPS: [Step; 17] = [
    Step::Commit(Durability::Sync),
    Step::Commit(Durability::Relaxed),
    Step::Grow(Durability::Relaxed),
    Step::Barrier,
    Step::Read,
    Step::Grow(Durability::Sync),
    Step::GiveUp,
    Step::Trim,
    Step::Commit(Durability::Group),
    Step::Commit(Durability::Relaxed),
    Step::WaitForNewer,
    Step::Copy,
    Step::Reopen,
    Step::Commit(Durability::Sync),
    Step::CopyCompact,
    Step::Commit(Durability::Relaxed),
    Step::Reopen,
];

/// Times that the file is opened in vain before the errand is given up.
const ATTEMPTS_MAX: u32 = 3;

fn size(rng: &mut SmallRng) -> Size {
    Size {
        accounts: rng.random_range(10..40),
        value_max: rng.random_range(20..300),
        transfers_max: 8,
        ballast_max: 300_000,
    }
}

impl Errand {
    fn rng(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.seed)
    }

    /// The bank and the options of its seed.
    fn way(&self) -> (Size, mapledb::Options) {
        let mut rng = self.rng();
        let size = size(&mut rng);
        let options = Env::options()
            .page_size([4096, 4096, 16384, 65536][rng.random_range(0..4)])
            .two_syncs(rng.random_ratio(1, 3))
            .reserve_bytes(64 << 20)
            .relaxed_bound(8 << 20, Duration::from_millis([2, 3_600_000][rng.random_range(0..2)]));
        (size, options)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("errand.maple")
    }

    fn copies(&self) -> [PathBuf; 2] {
        [self.dir.join("copy.maple"), self.dir.join("compact.maple")]
    }

    /// Where the child tells what it was told.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Runs the errand.
    ///
    /// # Errors
    /// Something is wrong that no error of the system explains.
    pub fn run(&self) -> Result<(), Broken> {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        let said = |error: std::io::Error| format!("the journal: {error}");
        let journal = File::options().append(true).create(true).open(self.journal()).map_err(said)?;
        let saboteur = Arc::new(Saboteur { count: AtomicU64::new(0), fault: self.fault });
        let (size, options) = self.way();
        let options = options.seam(Seam::watched(saboteur.clone()));
        let mut runner =
            Runner { errand: self, size, options, rng: self.rng(), journal, env: None, ordinal: 0 };
        if self.waits {
            println!("ready");
            let _ = std::io::stdin().read(&mut [0]);
        }
        runner.run()?;
        // The count may be asked for.
        println!("effects {}", saboteur.count.load(Ordering::Relaxed));
        Ok(())
    }

    /// Holds what the child left against the law. Answers how many commits stand.
    ///
    /// # Errors
    /// How it is broken.
    pub fn verify(&self) -> Result<u64, Broken> {
        let text =
            std::fs::read_to_string(self.journal()).map_err(|error| format!("the journal: {error}"))?;
        let told = Told::read(&text)?;
        let (size, options) = self.way();
        for copy in self.copies().iter().filter(|copy| copy.exists()) {
            let env = open(options.clone(), copy).map_err(verify::said("a copy cannot be opened"))?;
            let txn = env.read().map_err(verify::said("a copy cannot be read"))?;
            if bank::generation(&txn).is_ok() {
                bank::audit(&txn, &size).map_err(|broken| format!("a copy: {broken}"))?;
            }
            drop(txn);
            verify::checks_clean(&env).map_err(|broken| format!("a copy: {broken}"))?;
        }
        if !self.data().exists() {
            return match told.has_opened {
                true => Err("the file was opened, and is gone".to_string()),
                false => Ok(0),
            };
        }
        let env = open(options.clone(), &self.data()).map_err(verify::said("it cannot be opened"))?;
        let commits = told.compare(&env, &size)?;
        verify::checks_clean(&env)?;
        // It can be worked with.
        let mut txn = env.write().map_err(verify::said("write"))?;
        txn.main().put(b"afterwards", b"value").map_err(verify::said("put"))?;
        txn.commit().map_err(verify::said("commit"))?;
        verify::checks_clean(&env)?;
        env.close().map_err(verify::said("close"))?;
        Ok(commits)
    }
}

#[allow(unsafe_code)]
fn open(options: mapledb::Options, path: &Path) -> mapledb::Result<Env> {
    // SAFETY: nothing but MapleDB writes to the errand's own files.
    unsafe { options.open(path) }
}

struct Runner<'e> {
    errand: &'e Errand,
    size: Size,
    options: mapledb::Options,
    rng: SmallRng,
    journal: File,
    env: Option<Env>,
    ordinal: u64,
}

/// Why a step was not done.
enum Stop {
    /// The system refused something.
    Refused,
    /// Something is wrong.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

impl Runner<'_> {
    fn run(&mut self) -> Result<(), Broken> {
        for step in STEPS {
            match self.open().and_then(|()| self.step(step)) {
                Ok(()) => {}
                Err(Stop::Refused) => self.close()?,
                Err(Stop::Broken(broken)) => return Err(format!("{step:?}: {broken}")),
            }
        }
        self.close()
    }

    fn tell(&mut self, event: &Event) -> Result<(), Broken> {
        event.write(&mut self.journal).map_err(|error| format!("the journal: {error}"))
    }

    /// Notes that the system refused something; says so if the engine blames the file for it.
    fn refused(&mut self, what: &str, error: &dyn std::fmt::Display) -> Stop {
        let error = error.to_string();
        eprintln!("{what}: {error}");
        match error.contains("corrupt") || error.contains("restore it from a copy") {
            true => Stop::Broken(format!("{what}: the file is blamed: {error}")),
            false => Stop::Refused,
        }
    }

    fn open(&mut self) -> Result<(), Stop> {
        let mut attempts = 0;
        while self.env.is_none() {
            self.tell(&Event::Opening)?;
            match open_or_create(self.options.clone(), &self.errand.data()) {
                Ok(env) => {
                    let txnid = env.read().map_err(|error| self.refused("read", &error))?.txnid();
                    self.tell(&Event::Opened { txnid })?;
                    self.env = Some(env);
                }
                Err(error) => {
                    let stop = self.refused("open", &error);
                    attempts += 1;
                    if attempts == ATTEMPTS_MAX || matches!(stop, Stop::Broken(_)) {
                        return Err(stop);
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Broken> {
        let Some(env) = self.env.take() else { return Ok(()) };
        self.tell(&Event::Closing)?;
        match env.close() {
            Ok(()) => self.tell(&Event::Closed),
            Err(error) => match self.refused("close", &error) {
                Stop::Refused => Ok(()),
                Stop::Broken(broken) => Err(broken),
            },
        }
    }

    fn env(&self) -> Env {
        self.env.clone().expect("each step begins with opening")
    }

    fn step(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::Commit(durability) => self.transact(durability, 0, false),
            Step::Grow(durability) => self.transact(durability, 6, false),
            Step::GiveUp => self.transact(Durability::Sync, 1, true),
            Step::Barrier => {
                self.tell(&Event::Syncing)?;
                self.env().sync().map_err(|error| self.refused("sync", &error))?;
                Ok(self.tell(&Event::Synced)?)
            }
            Step::Trim => {
                self.tell(&Event::Syncing)?;
                self.env().trim().map_err(|error| self.refused("trim", &error))?;
                Ok(self.tell(&Event::Synced)?)
            }
            Step::Read => self.read(),
            Step::WaitForNewer => self.wait_for_newer(),
            Step::Copy => self.copy(0),
            Step::CopyCompact => self.copy(1),
            Step::Reopen => Ok(self.close()?),
        }
    }

    fn transact(&mut self, durability: Durability, pieces: u64, gives_up: bool) -> Result<(), Stop> {
        let env = self.env();
        let mut txn = env.write().map_err(|error| self.refused("write", &error))?;
        let (ordinal, txnid) = (self.ordinal, txn.txnid());
        self.ordinal += 1;
        self.tell(&Event::Began { ordinal, txnid })?;
        txn.durability(durability);
        if let Err(why) = self.change(&mut txn, ordinal, txnid, pieces) {
            drop(txn);
            self.tell(&Event::Refused { ordinal, why: why.clone() })?;
            return Err(self.refused("a change", &why));
        }
        if gives_up {
            drop(txn);
            return Ok(self.tell(&Event::GaveUp { ordinal })?);
        }
        self.tell(&Event::Ready { ordinal })?;
        match txn.commit() {
            Ok(txnid) => Ok(self.tell(&Event::Acknowledged { ordinal, txnid })?),
            Err(error) => {
                let why = error.to_string();
                self.tell(&match error {
                    Error::Indeterminate { .. } => Event::Indeterminate { ordinal, why },
                    _ => Event::Refused { ordinal, why },
                })?;
                Err(self.refused("commit", &error))
            }
        }
    }

    fn change(
        &mut self,
        txn: &mut mapledb::WriteTxn,
        ordinal: u64,
        txnid: u64,
        pieces: u64,
    ) -> Result<(), Broken> {
        let mut writing = Writing::new(txn);
        if bank::generation(&writing).is_err() {
            bank::found(&mut writing, &self.size)?;
        }
        bank::transfer(&mut writing, &self.size, &mut self.rng, 0, ordinal, txnid)?;
        for _ in 0..pieces.max(1) {
            bank::reload(&mut writing, &self.size, &mut self.rng, 12)?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Stop> {
        let env = self.env();
        let txn = env.read().map_err(|error| self.refused("read", &error))?;
        let founded = matches!(bank::Reads::get(&txn, Place::Main, b"generation"), Ok(Some(_)));
        if founded && let Err(broken) = bank::audit(&txn, &self.size) {
            return Err(match broken.contains("os error") {
                true => self.refused("a read", &broken),
                false => Stop::Broken(broken),
            });
        }
        Ok(())
    }

    /// Another thread waits for a commit while this one makes it.
    fn wait_for_newer(&mut self) -> Result<(), Stop> {
        let env = self.env();
        let now = env.read().map_err(|error| self.refused("read", &error))?.txnid();
        let waiter = {
            let env = env.clone();
            std::thread::Builder::new()
                .spawn(move || env.wait_newer(now, Some(Duration::from_millis(100))).map(drop))
        };
        let waiter = waiter.map_err(|error| self.refused("a thread", &error))?;
        let transacted = self.transact(Durability::Sync, 0, false);
        let waited =
            waiter.join().map_err(|_| "the thread that waits for a commit has panicked".to_string())?;
        waited.map_err(|error| self.refused("wait for a commit", &error))?;
        transacted
    }

    fn copy(&mut self, which: usize) -> Result<(), Stop> {
        let to = &self.errand.copies()[which];
        match self.env().copy_to(to, which == 1, |_, _| true) {
            Ok(_) | Err(Error::Exists { .. }) => Ok(()),
            Err(error) => Err(self.refused("copy", &error)),
        }
    }
}

#[allow(unsafe_code)]
fn open_or_create(options: mapledb::Options, path: &Path) -> mapledb::Result<Env> {
    // SAFETY: as in `open`.
    unsafe { options.open_or_create(path) }
}

/// Writes to a child that waits.
///
/// # Errors
/// It is gone.
pub fn go_on(to: &mut impl Write) -> std::io::Result<()> {
    to.write_all(b"\n")?;
    to.flush()
}
