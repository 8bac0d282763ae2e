//! What one process does: commits transfers, or audits snapshots, until it is killed or told to stop, and says at every
//! moment what it is at.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use mapledb::{Defragment, Durability, Env, Error};
use mapledb_os::{Effect, Observer, Seam};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::bank::{self, Broken, Size};
use super::law::Onlooker;
use super::maple::Writing;
use super::status::{Outcome, Phase, RunWord, Status, Word};
use super::voice::Voice;
use crate::sys;

/// A process's part in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The data file.
    pub data: PathBuf,
    /// The shared memory of the run.
    pub status: PathBuf,
    /// The process's place in it.
    pub place: usize,
    /// Whether it writes.
    pub writes: bool,
    /// Where its choices derive from.
    pub seed: u64,
    /// What all processes of the run have in common.
    pub way: Way,
}

impl Part {
    /// Plays it by `play`, no longer than whoever started this lives.
    ///
    /// # Errors
    /// Those of `play`, with the part's name.
    pub fn live(&self, play: impl FnOnce() -> Result<(), Broken>) -> Result<(), Broken> {
        // Whoever started this waits for it; without it nobody would.
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        let kind = if self.writes { "writer" } else { "reader" };
        play().map_err(|broken| format!("{kind} {}: {broken}", self.place))
    }
}

/// How the processes of a run use the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Way {
    /// The bank.
    pub size: Size,
    /// The size of a page.
    pub page_size: usize,
    /// Whether durable commits sync their pages first.
    pub two_syncs: bool,
    /// The share of relaxed commits in percent.
    pub relaxed_percent: u32,
    /// When relaxed commits are synced: after so many milliseconds.
    pub relaxed_millis: u64,
    /// The pieces of ballast beyond which some are taken away.
    pub pieces_max: u64,
    /// The longest that a reader keeps a snapshot, in milliseconds.
    pub hold_millis: u64,
    /// One in so many transactions of a process is followed by closing and opening again.
    pub reopen_one_in: u32,
}

impl Way {
    /// The options that go with it.
    pub fn options(&self) -> mapledb::Options {
        Env::options()
            .reserve_bytes(1 << 34)
            .page_size(self.page_size)
            .two_syncs(self.two_syncs)
            .relaxed_bound(4 << 20, Duration::from_millis(self.relaxed_millis))
    }

    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// The engine's.
    #[allow(unsafe_code)]
    pub fn open(&self, data: &std::path::Path, seam: Seam) -> mapledb::Result<Env> {
        // SAFETY: the processes of a run are alone with its file, and all of them are MapleDB.
        unsafe { self.options().seam(seam).open_or_create(data) }
    }
}

/// Plays a part.
///
/// # Errors
/// What the engine said where it should have gone well, and what does not hold of a snapshot.
pub fn play(part: &Part) -> Result<(), Broken> {
    part.live(|| Player::new(part)?.play())
}

const WORKING: u8 = 0;
const COMING_OR_GOING: u8 = 1;

/// Says what effect a process is at.
struct Watcher {
    voice: Voice,
    status: Arc<Status>,
    place: usize,
    main: ThreadId,
    stage: AtomicU8,
    is_relaxed: AtomicBool,
    has_stored_meta: AtomicBool,
    has_grown: AtomicBool,
}

impl Watcher {
    fn is_elsewhere(&self) -> bool {
        std::thread::current().id() != self.main
    }
}

impl Observer for Watcher {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        if self.is_elsewhere() {
            self.status.word(self.place, Word::InBarrier).store(1, Ordering::SeqCst);
            return Ok(());
        }
        if self.stage.load(Ordering::Relaxed) == COMING_OR_GOING {
            self.voice.linger(self.status.phase(self.place));
            return Ok(());
        }
        match effect {
            Effect::Grow { .. } | Effect::WriteZeros { .. } | Effect::Truncate { .. } => {
                self.voice.say(Phase::Growth)
            }
            Effect::Punch { .. } => self.voice.say(Phase::Punch),
            Effect::WritePages { .. } | Effect::StorePages { .. } | Effect::Redirty { .. } => {
                self.voice.say(Phase::Stores)
            }
            Effect::StoreMeta { .. } => self.voice.say(Phase::Meta),
            Effect::Sync { .. } | Effect::SyncFile { .. } | Effect::SyncLockFile => {
                self.voice.say(Phase::Sync)
            }
            _ => {}
        }
        Ok(())
    }

    fn after(&self, effect: &Effect, _: bool) {
        if self.is_elsewhere() {
            self.status.word(self.place, Word::InBarrier).store(0, Ordering::SeqCst);
            return;
        }
        if self.stage.load(Ordering::Relaxed) == COMING_OR_GOING {
            return;
        }
        match effect {
            Effect::Grow { .. } | Effect::WriteZeros { .. } | Effect::Truncate { .. } => {
                self.has_grown.store(true, Ordering::Relaxed);
                self.voice.linger(Phase::Growth);
                self.status.say(self.place, Phase::Stores);
            }
            Effect::StorePages { .. } if self.is_relaxed.load(Ordering::Relaxed) => {
                self.voice.say(Phase::Publish)
            }
            Effect::StoreMeta { .. } => {
                self.has_stored_meta.store(true, Ordering::Relaxed);
                self.voice.linger(Phase::Meta);
            }
            Effect::Sync { .. } | Effect::SyncFile { .. }
                if self.has_stored_meta.swap(false, Ordering::Relaxed) =>
            {
                self.voice.say(Phase::Publish);
            }
            _ => {}
        }
    }
}

struct Player<'p> {
    part: &'p Part,
    status: Arc<Status>,
    watcher: Arc<Watcher>,
    rng: SmallRng,
    env: Option<Env>,
    /// How many commits it has made, once it has looked.
    number: Option<u64>,
    onlooker: Onlooker,
}

impl<'p> Player<'p> {
    fn new(part: &'p Part) -> Result<Player<'p>, Broken> {
        let status = Arc::new(Status::open(&part.status).map_err(|error| error.to_string())?);
        let watcher = Arc::new(Watcher {
            voice: Voice::new(Arc::clone(&status), part.place, part.seed),
            status: Arc::clone(&status),
            place: part.place,
            main: std::thread::current().id(),
            stage: AtomicU8::new(COMING_OR_GOING),
            is_relaxed: AtomicBool::new(false),
            has_stored_meta: AtomicBool::new(false),
            has_grown: AtomicBool::new(false),
        });
        let rng = SmallRng::seed_from_u64(part.seed);
        Ok(Player { part, status, watcher, rng, env: None, number: None, onlooker: Onlooker::default() })
    }

    fn play(&mut self) -> Result<(), Broken> {
        self.open()?;
        while self.status.run(RunWord::Stop).load(Ordering::Relaxed) == 0 {
            let wish = self.status.wish();
            if self.one_in(self.part.way.reopen_one_in)
                || matches!(wish, Some(Phase::Close | Phase::Open)) && self.one_in(4)
            {
                self.close()?;
                self.open()?;
            }
            if self.part.writes && (self.one_in(60) || wish == Some(Phase::Punch) && self.one_in(2)) {
                self.trim()?;
            } else if self.part.writes && !self.status.is_full(self.part.place) {
                self.write(wish)?;
            } else {
                self.read(wish)?;
            }
            self.say(Phase::Idle);
            self.status.word(self.part.place, Word::Works).fetch_add(1, Ordering::Relaxed);
            self.fork_if_asked()?;
            if self.one_in(20) {
                std::thread::sleep(Duration::from_micros(self.rng.random_range(0..2000)));
            }
        }
        self.close()
    }

    fn say(&self, phase: Phase) {
        self.status.say(self.part.place, phase);
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.rng.random_ratio(1, times.max(1))
    }

    fn env(&self) -> &Env {
        self.env.as_ref().expect("it is open but while it is closed and opened again")
    }

    fn open(&mut self) -> Result<(), Broken> {
        self.say(Phase::Open);
        self.watcher.stage.store(COMING_OR_GOING, Ordering::Relaxed);
        let seam = Seam::watched(self.watcher.clone());
        let env = self.part.way.open(&self.part.data, seam).map_err(|error| format!("open: {error}"))?;
        self.watcher.stage.store(WORKING, Ordering::Relaxed);
        self.number = None;
        self.env = Some(env);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Broken> {
        self.say(Phase::Close);
        self.watcher.stage.store(COMING_OR_GOING, Ordering::Relaxed);
        match self.env.take() {
            Some(env) => env.close().map_err(|error| format!("close: {error}")),
            None => Ok(()),
        }
    }

    /// Gives free space back, or packs some of the file before that.
    fn trim(&mut self) -> Result<(), Broken> {
        self.say(Phase::Lock);
        if self.one_in(2) {
            return self.env().trim().map(drop).map_err(|error| format!("trim: {error}"));
        }
        let some = Defragment::default().batch_pages(self.rng.random_range(1..100)).transactions_max(4);
        self.env().defragment(&some, |_| true).map(drop).map_err(|error| format!("defragment: {error}"))
    }

    fn write(&mut self, wish: Option<Phase>) -> Result<(), Broken> {
        let place = self.part.place;
        self.say(Phase::Lock);
        self.watcher.voice.linger(Phase::Lock);
        let patience = Duration::from_millis(self.rng.random_range(0..20));
        let begun = match self.rng.random_range(0..10) {
            0 => self.env().try_write(),
            1 => self.env().write_timeout(patience),
            2 => self.env().read().and_then(|read| read.upgrade()),
            _ => self.env().write().map(Some),
        };
        let Some(mut txn) = begun.map_err(|error| format!("write: {error}"))? else { return Ok(()) };
        self.status.has_lock(place);
        let txnid = txn.txnid();
        // Asked of the writer: the last commit before a death may stand without any reader's having seen it yet.
        let number = match self.number {
            Some(number) => number,
            None => bank::commits_of(&Writing::new(&mut txn), place as u64)?,
        };
        self.number = Some(number);
        let entry = self.status.append(place, txnid, number);
        self.say(Phase::Stores);
        let way = &self.part.way;
        let is_relaxed = self.rng.random_ratio(way.relaxed_percent, 100) && wish != Some(Phase::Meta);
        txn.durability(match (is_relaxed, self.rng.random()) {
            (true, _) => Durability::Relaxed,
            (false, true) => Durability::Group,
            (false, false) => Durability::Sync,
        });
        self.watcher.is_relaxed.store(is_relaxed, Ordering::Relaxed);
        let mut writing = Writing::new(&mut txn);
        let generation = bank::transfer(&mut writing, &way.size, &mut self.rng, place as u64, number, txnid)?;
        if wish == Some(Phase::Growth) {
            // As much as it takes.
            self.watcher.has_grown.store(false, Ordering::Relaxed);
            for _ in 0..40 {
                bank::reload(&mut writing, &way.size, &mut self.rng, u64::MAX)?;
                if self.watcher.has_grown.load(Ordering::Relaxed) {
                    break;
                }
            }
        } else if self.rng.random_ratio(1, 12) {
            bank::reload(&mut writing, &way.size, &mut self.rng, way.pieces_max)?;
        }
        self.watcher.voice.linger(Phase::Stores);
        self.fork_if_asked()?;
        if self.one_in(10) {
            self.status.settle(place, entry, Outcome::Aborted);
            drop(txn);
        } else {
            let goes_on = self.one_in(8);
            let committed = self.status.committing(place, entry, || match goes_on {
                true => txn.commit_and_read().map(|read| (read.txnid(), Some(read))),
                false => txn.commit().map(|txnid| (txnid, None)),
            });
            let (committed, read) = committed.map_err(|error| format!("commit: {error}"))?;
            if committed != txnid {
                return Err(format!("transaction {txnid} was committed as {committed}"));
            }
            let outcome = if is_relaxed { Outcome::Relaxed } else { Outcome::Durable };
            self.status.acknowledge(place, entry, outcome, generation);
            self.number = Some(number + 1);
            if let Some(read) = read {
                let found = bank::audit(&read, &self.part.way.size)?;
                if found != generation {
                    return Err(format!("commit {txnid} answers generation {found}, not {generation}"));
                }
            }
        }
        self.status.word(place, Word::Holds).store(0, Ordering::SeqCst);
        Ok(())
    }

    fn read(&mut self, wish: Option<Phase>) -> Result<(), Broken> {
        let acknowledged = self.status.run(RunWord::Acknowledged).load(Ordering::SeqCst);
        self.say(Phase::Claim);
        if wish == Some(Phase::Claim) || self.one_in(8) {
            for _ in 0..self.rng.random_range(0..3000) {
                drop(self.env().read().map_err(|error| format!("read: {error}"))?);
            }
        }
        let mut txn = self.env().read().map_err(|error| format!("read: {error}"))?;
        self.say(Phase::Read);
        let size = &self.part.way.size;
        let mut now = self.onlooker.look(&txn, txn.txnid(), size, acknowledged, &self.status)?;
        if self.rng.random_ratio(1, 8) {
            let acknowledged = self.status.run(RunWord::Acknowledged).load(Ordering::SeqCst);
            match self.rng.random() {
                true => drop(txn.refresh().map_err(|error| format!("refresh: {error}"))?),
                false => txn = txn.reset().renew().map_err(|error| format!("renew: {error}"))?,
            }
            now = self.onlooker.look(&txn, txn.txnid(), size, acknowledged, &self.status)?;
        }
        if self.part.way.hold_millis > 0 && self.one_in(6) {
            let time = self.rng.random_range(0..self.part.way.hold_millis * 1000);
            std::thread::sleep(Duration::from_micros(time));
            self.fork_if_asked()?;
            let shared = txn.clone();
            drop(txn);
            let again = (shared.txnid(), bank::audit(&shared, size)?);
            if again != now {
                return Err(format!("a snapshot changed under its reader: {now:?} became {again:?}"));
            }
        }
        if self.one_in(30) {
            let newer = self.env().wait_newer(now.0, Some(Duration::from_millis(2)));
            newer.map_err(|error| format!("wait for a commit: {error}"))?;
        }
        Ok(())
    }

    /// Forks if the run has asked for it, in the middle of whatever goes on. The child looks, and lives on for a while,
    /// perhaps longer than this process.
    fn fork_if_asked(&mut self) -> Result<(), Broken> {
        let (asked, made) = (Word::ForksAsked, Word::ForksMade);
        let place = self.part.place;
        if self.status.word(place, asked).load(Ordering::Relaxed)
            <= self.status.word(place, made).load(Ordering::Relaxed)
        {
            return Ok(());
        }
        let lifetime = Duration::from_micros(self.rng.random_range(0..150_000));
        let (env, status) = (self.env(), &self.status);
        let child = || {
            if !matches!(env.read().map(drop), Err(Error::AfterFork))
                || !matches!(env.write().map(drop), Err(Error::AfterFork))
            {
                return 1;
            }
            status.word(place, Word::ForksSound).fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(lifetime);
            0
        };
        sys::fork(child).map_err(|error| format!("fork: {error}"))?;
        self.status.word(place, made).fetch_add(1, Ordering::SeqCst);
        // Those that have ended are let go.
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
        Ok(())
    }
}
