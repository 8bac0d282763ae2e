//! Memory that the processes of a run share: what each is doing, what it is asked to do, and what writers were told.
//!
//! It lies in a file in memory, mapped by all, so what a process stored is there after it has been killed, in the middle
//! of whatever it did. The first page belongs to the run, the next to the processes, one line each; then come the
//! writers' logs, appended to and never changed but for an entry's outcome.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mapledb_os::fork::ParentFile;
use mapledb_os::shared::SharedRegion;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The most processes in a run.
pub const PLACES: usize = 16;
/// The most of them that write: the first places.
pub const WRITERS_MAX: usize = 4;

const LINE_BYTES: usize = 256;
const LINES_AT: usize = 4096;
const LOGS_AT: usize = LINES_AT + PLACES * LINE_BYTES;
const ENTRY_BYTES: usize = 16;
/// Entries in one writer's log.
const LOG_ENTRIES: usize = 1 << 19;
const LEN_BYTES: usize = LOGS_AT + WRITERS_MAX * LOG_ENTRIES * ENTRY_BYTES;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u64)]
pub enum Phase {
    /// Nothing with the file, or holding a snapshot still.
    Idle,
    /// Opening the file, with recovery if it is the first.
    Open,
    /// Waiting for the writer lock, or taking it.
    Lock,
    /// Beginning and ending reads: claiming a slot and pinning.
    Claim,
    /// Reading a snapshot.
    Read,
    /// Changing pages, and sealing them.
    Stores,
    /// Allocating blocks.
    Growth,
    /// Giving blocks back.
    Punch,
    /// From the store of a meta to its sync.
    Meta,
    /// In a sync.
    Sync,
    /// From the last sync, or the last store of a relaxed commit, to the return of `commit`.
    Publish,
    /// Closing the file.
    Close,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 12] = [
        Phase::Idle,
        Phase::Open,
        Phase::Lock,
        Phase::Claim,
        Phase::Read,
        Phase::Stores,
        Phase::Growth,
        Phase::Punch,
        Phase::Meta,
        Phase::Sync,
        Phase::Publish,
        Phase::Close,
    ];

    fn of(word: u64) -> Phase {
        Phase::ALL.get(word as usize).copied().unwrap_or(Phase::Idle)
    }

    /// Its name in counts.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Idle => "killed idle",
            Phase::Open => "killed in open",
            Phase::Lock => "killed in lock",
            Phase::Claim => "killed in slot claim",
            Phase::Read => "killed in read",
            Phase::Stores => "killed in stores",
            Phase::Growth => "killed in growth",
            Phase::Punch => "killed in punch",
            Phase::Meta => "killed in meta",
            Phase::Sync => "killed in sync",
            Phase::Publish => "killed in publish",
            Phase::Close => "killed in close",
        }
    }
}

/// How a transaction ended, as far as its writer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Outcome {
    /// It has begun.
    Begun,
    /// It was given up.
    Aborted,
    /// `commit` was called.
    Committing,
    /// `commit` returned, relaxed.
    Relaxed,
    /// `commit` returned, durable.
    Durable,
}

/// A line of a writer's log.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The transaction's number.
    pub txnid: u64,
    /// Which of its writer's commits it is, counted from 0; aborted ones do not count.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// The words of one process.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// What its main thread is doing.
    Phase,
    /// Whether its thread that syncs is in a barrier.
    InBarrier,
    /// Whether it holds the writer lock.
    Holds,
    /// Whether it is inside `commit`.
    InCommit,
    /// When it last got the writer lock, in nanoseconds.
    LockedAt,
    /// How many forks it is asked for.
    ForksAsked,
    /// How many it has made.
    ForksMade,
    /// How many children of it have found everything as it must be.
    ForksSound,
    /// How many snapshots it has verified, or transactions it has ended.
    Works,
    /// How many entries its log has.
    Logged,
    /// How many reader slots of dead processes it has cleared, where that is a process's to do.
    SlotsCleared,
}

/// The words of the run.
#[derive(Clone, Copy, Debug)]
pub enum RunWord {
    /// A phase plus one that the run waits for somebody to reach.
    Wish,
    /// The largest generation whose commit was acknowledged.
    Acknowledged,
    /// The largest generation that a reader has seen.
    Seen,
    /// Whether everybody is to close and end.
    Stop,
}

/// The shared memory.
#[derive(Debug)]
pub struct Status {
    region: SharedRegion,
}

impl Status {
    /// Makes the file at `path`, all zeros.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Status> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(LEN_BYTES as u64)?;
        Status::open(path)
    }

    /// Maps the file at `path`.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn open(path: &Path) -> io::Result<Status> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let file = ParentFile::new(file, path).map_err(io::Error::other)?;
        let region =
            SharedRegion::map(Arc::new(file), path, LEN_BYTES, LEN_BYTES).map_err(io::Error::other)?;
        match region.known_len() >= LEN_BYTES {
            true => Ok(Status { region }),
            false => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file of shared memory is too short"))
            }
        }
    }

    fn at(&self, offset: usize) -> &AtomicU64 {
        self.region.view(offset).expect("the file's length was looked at")
    }

    /// A word of the run.
    pub fn run(&self, word: RunWord) -> &AtomicU64 {
        self.at(word as usize * 64)
    }

    /// A word of the process in `place`.
    pub fn word(&self, place: usize, word: Word) -> &AtomicU64 {
        assert!(place < PLACES, "there is no place {place}");
        self.at(LINES_AT + place * LINE_BYTES + word as usize * 8)
    }

    /// What the process in `place` is doing, or was when it died.
    pub fn phase(&self, place: usize) -> Phase {
        Phase::of(self.word(place, Word::Phase).load(Ordering::SeqCst))
    }

    /// Says what the process in `place` is doing.
    pub fn say(&self, place: usize, phase: Phase) {
        self.word(place, Word::Phase).store(phase as u64, Ordering::SeqCst);
    }

    /// Forgets what the last process in `place` was doing.
    pub fn clear(&self, place: usize) {
        for word in [Word::Phase, Word::InBarrier, Word::Holds, Word::InCommit, Word::ForksAsked] {
            self.word(place, word).store(0, Ordering::SeqCst);
        }
        let made = self.word(place, Word::ForksMade);
        made.store(0, Ordering::SeqCst);
        self.say(place, Phase::Open);
    }

    /// The phase that the run waits for.
    pub fn wish(&self) -> Option<Phase> {
        let wish = self.run(RunWord::Wish).load(Ordering::Relaxed);
        wish.checked_sub(1).map(Phase::of)
    }

    /// Says which phase the run waits for.
    pub fn set_wish(&self, phase: Option<Phase>) {
        self.run(RunWord::Wish).store(phase.map_or(0, |phase| phase as u64 + 1), Ordering::Relaxed);
    }

    fn entry(&self, writer: usize, index: usize) -> (&AtomicU64, &AtomicU64) {
        assert!(writer < WRITERS_MAX && index < LOG_ENTRIES, "no entry {index} of writer {writer}");
        let at = LOGS_AT + (writer * LOG_ENTRIES + index) * ENTRY_BYTES;
        (self.at(at), self.at(at + 8))
    }

    /// Whether a writer's log is full.
    pub fn is_full(&self, writer: usize) -> bool {
        self.word(writer, Word::Logged).load(Ordering::Relaxed) as usize >= LOG_ENTRIES
    }

    /// Appends to a writer's log; answers where.
    pub fn append(&self, writer: usize, txnid: u64, number: u64) -> usize {
        let index = self.word(writer, Word::Logged).load(Ordering::Relaxed) as usize;
        let (first, second) = self.entry(writer, index);
        second.store(number << 8 | Outcome::Begun as u64, Ordering::SeqCst);
        first.store(txnid, Ordering::SeqCst);
        // Counted last: a writer that is killed before this has not logged the entry.
        self.word(writer, Word::Logged).store(index as u64 + 1, Ordering::SeqCst);
        index
    }

    /// Notes an entry's outcome.
    pub fn settle(&self, writer: usize, index: usize, outcome: Outcome) {
        let (_, second) = self.entry(writer, index);
        let number = second.load(Ordering::SeqCst) >> 8;
        second.store(number << 8 | outcome as u64, Ordering::SeqCst);
    }

    /// Says that the writer in `place` has just got the writer lock.
    pub fn has_lock(&self, place: usize) {
        self.word(place, Word::LockedAt).store(now_nanos(), Ordering::SeqCst);
        self.word(place, Word::Holds).store(1, Ordering::SeqCst);
    }

    /// Commits by `commit`: while that goes on, nobody can know whether the entry's transaction stands.
    pub fn committing<R>(&self, writer: usize, index: usize, commit: impl FnOnce() -> R) -> R {
        self.settle(writer, index, Outcome::Committing);
        self.word(writer, Word::InCommit).store(1, Ordering::SeqCst);
        let committed = commit();
        self.word(writer, Word::InCommit).store(0, Ordering::SeqCst);
        committed
    }

    /// Notes that a commit was acknowledged, which made a generation.
    pub fn acknowledge(&self, writer: usize, index: usize, outcome: Outcome, generation: u64) {
        self.settle(writer, index, outcome);
        self.run(RunWord::Acknowledged).fetch_max(generation, Ordering::SeqCst);
    }

    /// A writer's log.
    pub fn log(&self, writer: usize) -> Vec<Entry> {
        let logged = self.word(writer, Word::Logged).load(Ordering::SeqCst) as usize;
        let read = |index| {
            let (first, second) = self.entry(writer, index);
            let second = second.load(Ordering::SeqCst);
            let outcome = match second & 0xff {
                0 => Outcome::Begun,
                1 => Outcome::Aborted,
                2 => Outcome::Committing,
                3 => Outcome::Relaxed,
                _ => Outcome::Durable,
            };
            Entry { txnid: first.load(Ordering::SeqCst), number: second >> 8, outcome }
        };
        (0..logged.min(LOG_ENTRIES)).map(read).collect()
    }
}

/// Nanoseconds of a clock that all processes share and nobody sets.
pub fn now_nanos() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
