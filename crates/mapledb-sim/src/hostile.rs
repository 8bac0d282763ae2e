//! Hostile files (T9): every flipped bit of a small file, every length it can be cut to, every sector lost.
//!
//! A small file is made by the engine and then changed in one way after the other, which is what [`Change::at`] counts
//! out. Each time the real engine opens what is left, reads all of it, checks it, writes to it and reads again. The change
//! is *detected* (an error), or *harmless* (the newest commit, whole), or *discarded*: the whole commit before it, and
//! the opening says so. Anything else is a wrong answer; so is a panic, a signal or a hang.
//!
//! | part | what is changed | beside what | what must be noticed by |
//! |---|---|---|---|
//! | [`Part::DataAlone`] | the data file after a clean close | no lock file | recovery: metas and manifest |
//! | [`Part::DataBesideLock`] | the same | its sound lock file, which says that nothing is to be recovered | whoever reads |
//! | [`Part::DataOfTheDead`] | the data file, relaxed commits being left | the lock file of processes that died | recovery: manifest and pages of relaxed commits |
//! | [`Part::LockOfTheClosed`] | the lock file after a clean close | its sound data file | attaching |
//! | [`Part::LockOfTheDead`] | the lock file that knows of relaxed commits | its sound data file | attaching and recovery |
//!
//! The parts run in child processes, so that a signal ends one of those and is told with the change that caused it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mapledb::{Defragment, Duplicates, Durability, Env, KeyOrder, Options, Table};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::actor::{self, Role};
use crate::harness::{Ask, Failure, Tally};
use crate::image::{bind_lock, lock_path};
use crate::model::{State, TableState};
use crate::scratch::Scratch;
use crate::verify::{Broken, holds, said};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;
/// Where the pages begin that are no metas.
const DATA_AT: u64 = 128 << 10;
/// What no page and no meta covers.
const GAPS: [std::ops::Range<usize>; 2] = [4096..65536, 69632..131_072];
/// Room that is mapped for a file.
const RESERVE_BYTES: u64 = 1 << 20;
/// Commits of a file.
const ROUNDS: usize = 2;
/// Of so many changes one is followed by a commit,
const WRITTEN: u64 = 8;
/// and one by a reopening after that.
const REOPENED: u64 = 64;

/// What is changed, and beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The data file after a clean close; the lock file is lost.
    DataAlone,
    /// The data file after a clean close, beside its lock file.
    DataBesideLock,
    /// The data file of processes that died and left relaxed commits.
    DataOfTheDead,
    /// The lock file after a clean close.
    LockOfTheClosed,
    /// The lock file of processes that died and left relaxed commits.
    LockOfTheDead,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 5] = [
        Part::DataAlone,
        Part::DataBesideLock,
        Part::DataOfTheDead,
        Part::LockOfTheClosed,
        Part::LockOfTheDead,
    ];

    fn is_of_the_dead(self) -> bool {
        matches!(self, Part::DataOfTheDead | Part::LockOfTheDead)
    }

    fn changes_lock(self) -> bool {
        matches!(self, Part::LockOfTheClosed | Part::LockOfTheDead)
    }
}

/// One change to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A bit is another one.
    Flip {
        /// Where.
        byte: usize,
        /// Which.
        bit: u8,
    },
    /// The file ends here.
    Cut {
        /// Its length.
        len: usize,
    },
    /// A sector holds zeros.
    Zero {
        /// Which.
        sector: usize,
    },
}

impl Change {
    /// How many changes there are to `len` bytes: every bit, every length, every sector.
    pub fn count(len: usize) -> u64 {
        (8 * len + len + len.div_ceil(SECTOR)) as u64
    }

    /// Change `index` of those to `len` bytes.
    pub fn at(index: u64, len: usize) -> Change {
        let index = index as usize;
        match (index.checked_sub(8 * len), index.checked_sub(9 * len)) {
            (None, _) => Change::Flip { byte: index / 8, bit: (index % 8) as u8 },
            (Some(len), None) => Change::Cut { len },
            (_, Some(sector)) => Change::Zero { sector },
        }
    }
}

/// What became of changed files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Changes made.
    pub changes: u64,
    /// Refused at opening, or at the page that was read.
    pub detected: u64,
    /// The newest commit, whole.
    pub harmless: u64,
    /// The commit before, whole, with a word about it.
    pub discarded: u64,
    /// Changes that the file still took a commit after.
    pub written: u64,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Counts) {
        self.changes += other.changes;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.discarded += other.discarded;
        self.written += other.written;
    }
}

/// A file and what it holds: a function of the seed but for identity, device, inode, boot and time.
struct Subject {
    part: Part,
    data: Vec<u8>,
    lock: Option<Vec<u8>>,
    newest: State,
    /// What may be found instead, if that is told: the commit before; where relaxed commits were left, which one of the
    /// two metas vouches for, the one before the last durable commit as well.
    before: Vec<State>,
}

fn options() -> Options {
    Env::options().reserve_bytes(RESERVE_BYTES).relaxed_bound(u64::MAX, Duration::from_secs(3600))
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the file lies in this process's own directory, and is written by the harness only while it is closed.
    unsafe { options.open_or_create(path) }
}

impl Subject {
    /// Makes the file of a part, as short as it can be.
    fn make(part: Part, seed: u64) -> Result<Subject, Broken> {
        let mut quota = DATA_AT;
        loop {
            quota += BLOCK as u64;
            match Subject::within(part, seed, quota) {
                Err(broken) if broken.contains("quota") && quota < RESERVE_BYTES => {}
                answer => return answer,
            }
        }
    }

    fn within(part: Part, seed: u64, quota: u64) -> Result<Subject, Broken> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = Scratch::new().map_err(|error| error.to_string())?;
        let path = dir.path().join("subject.maple");
        let env = open(&path, options().quota_bytes(quota)).map_err(said("create"))?;
        let mut states = vec![State::default()];
        for round in 0..ROUNDS {
            let is_last = round == ROUNDS - 1;
            let mut state = states[round].clone();
            let mut txn = env.write().map_err(said("write"))?;
            if is_last && part.is_of_the_dead() {
                txn.durability(Durability::Relaxed);
            }
            fill(&mut txn, &mut state, round, &mut rng).map_err(said("change"))?;
            fill_pairs(&mut txn, &mut state, &mut rng).map_err(said("change"))?;
            txn.commit().map_err(said("commit"))?;
            states.push(state);
        }
        let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
        let lock_path = lock_path(&path);
        let (data, lock) = match part.is_of_the_dead() {
            // As they are now, as if this process had died.
            true => (read(&path)?, read(&lock_path)?),
            false => {
                env.close().map_err(said("close"))?;
                (read(&path)?, read(&lock_path)?)
            }
        };
        let lock = (part != Part::DataAlone).then_some(lock);
        let newest = states.pop().unwrap_or_default();
        let kept = if part.is_of_the_dead() { 2 } else { 1 };
        let before = states.into_iter().rev().take(kept).collect();
        Ok(Subject { part, data, lock, newest, before })
    }

    /// How many changes are made to it.
    fn changes(&self) -> u64 {
        Change::count(self.places())
    }

    /// Change `index`.
    fn change(&self, index: u64) -> Change {
        match Change::at(index, self.places()) {
            Change::Flip { byte, bit } => Change::Flip { byte: self.place(byte), bit },
            Change::Cut { len } => Change::Cut { len: self.place(len) },
            Change::Zero { sector } => Change::Zero { sector: self.place(sector * SECTOR) / SECTOR },
        }
    }

    /// How many bytes are changed. What lies between the metas and behind the second one has no meaning; that is shown
    /// once, by the first part.
    fn places(&self) -> usize {
        match (self.part, &self.lock) {
            (Part::LockOfTheClosed | Part::LockOfTheDead, Some(lock)) => lock.len(),
            (Part::DataAlone, _) => self.data.len(),
            _ => self.data.len() - GAPS.iter().map(|gap| gap.len()).sum::<usize>(),
        }
    }

    /// The byte that is changed `at`-th.
    fn place(&self, mut at: usize) -> usize {
        if matches!(self.part, Part::DataBesideLock | Part::DataOfTheDead) {
            for gap in GAPS {
                at += if at >= gap.start { gap.len() } else { 0 };
            }
        }
        at
    }
}

/// Fills two tables and a run, and gives pages up again.
fn fill(
    txn: &mut mapledb::WriteTxn,
    state: &mut State,
    round: usize,
    rng: &mut SmallRng,
) -> mapledb::Result<()> {
    for table_name in ["", "named"] {
        let model = state.tables.entry(table_name.to_string()).or_default();
        let mut table = match table_name {
            "" => txn.main(),
            _ => txn.open_table(&Table::<[u8], [u8]>::new(table_name))?,
        };
        for _ in 0..6 {
            let key = format!("key {:02}", rng.random_range(0..20)).into_bytes();
            let mut value = vec![0; rng.random_range(0..90)];
            rng.fill(&mut value[..]);
            table.put(&key[..], &value[..])?;
            model.entries.insert(key, value.into());
        }
        if let Some(key) = model.entries.keys().nth(rng.random_range(0..5)).cloned() {
            table.delete(&key[..])?;
            model.entries.remove(&key);
        }
        if table_name.is_empty() && round == 0 {
            let mut value = vec![0; rng.random_range(4200..6000)];
            rng.fill(&mut value[..]);
            table.put(&b"long"[..], &value[..])?;
            model.entries.insert(b"long".to_vec(), value.into());
        }
        model.sequence += 1;
        table.next_sequence(1)?;
    }
    Ok(())
}

/// Fills two multimaps and takes pairs out again. Their keys have one duplicate, a sub-page of them and, in the one whose
/// duplicates are packed, a tree.
fn fill_pairs(txn: &mut mapledb::WriteTxn, state: &mut State, rng: &mut SmallRng) -> mapledb::Result<()> {
    let kinds = [
        ("pairs", Duplicates { order: KeyOrder::BYTEWISE, len: None }),
        ("packed", Duplicates { order: KeyOrder::INTEGER, len: Some(8) }),
    ];
    for (name, kind) in kinds {
        let model = state.tables.entry(name.to_string()).or_insert_with(|| TableState::multimap(kind));
        let Some(pairs) = &mut model.pairs else { continue };
        let mut table = txn.open_multimap_as(name, "bytes", "bytes", Some(KeyOrder::BYTEWISE), kind)?;
        let many = if kind.len.is_some() { 150 } else { 5 };
        for (key, count) in [(&b"many"[..], many), (&b"one"[..], 1)] {
            for _ in 0..count {
                let mut dup = vec![0; kind.len.unwrap_or(rng.random_range(0..30))];
                rng.fill(&mut dup[..]);
                table.insert(key, &dup)?;
                pairs.insert(key, &dup);
            }
            let first = pairs.of(key).next().map(|dup| dup.into_owned()).unwrap_or_default();
            if count > 1 {
                table.delete(key, &first)?;
                pairs.remove(key, &first);
            }
        }
    }
    Ok(())
}

/// The two files that changes are made to, again and again.
struct Bench {
    subject: Subject,
    path: PathBuf,
    data: File,
    buffer: Vec<u8>,
    _dir: Scratch,
}

/// What is done after a change was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    None,
    Commit,
    Reopening,
}

enum Verdict {
    Detected,
    Harmless,
    Discarded,
}

impl Bench {
    fn of(part: Part, seed: u64) -> Result<Bench, Broken> {
        let subject = Subject::make(part, seed)?;
        Bench::lay(subject).map_err(|error| format!("no room for two small files: {error}"))
    }

    fn lay(mut subject: Subject) -> io::Result<Bench> {
        let dir = Scratch::new()?;
        let path = dir.path().join("changed.maple");
        let data = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let stat = data.metadata()?;
        if let Some(lock) = &mut subject.lock {
            bind_lock(lock, stat.dev(), stat.ino());
        }
        Ok(Bench { subject, path, data, buffer: Vec::new(), _dir: dir })
    }

    /// Makes change `index` and looks at what the engine says.
    fn examine(&mut self, index: u64, counts: &mut Counts) -> Result<(), Broken> {
        let change = self.subject.change(index);
        self.lay_out(change).map_err(|error| format!("the files cannot be laid out: {error}"))?;
        let sequel = match index {
            _ if index.is_multiple_of(REOPENED) => Sequel::Reopening,
            _ if index.is_multiple_of(WRITTEN) => Sequel::Commit,
            _ => Sequel::None,
        };
        let (path, subject) = (&self.path, &self.subject);
        let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| judge(path, subject, change, sequel)));
        let verdict = verdict.unwrap_or_else(|_| Err("a panic".to_string()));
        let (verdict, took_a_commit) =
            verdict.map_err(|broken| format!("{:?}, {change:?}: {broken}", subject.part))?;
        counts.changes += 1;
        counts.written += u64::from(took_a_commit);
        match verdict {
            Verdict::Detected => counts.detected += 1,
            Verdict::Harmless => counts.harmless += 1,
            Verdict::Discarded => counts.discarded += 1,
        }
        Ok(())
    }

    fn lay_out(&mut self, change: Change) -> io::Result<()> {
        restore(&self.data, &self.subject.data, &mut self.buffer)?;
        let lock_path = lock_path(&self.path);
        let Some(lock) = &self.subject.lock else {
            return match std::fs::remove_file(lock_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => apply(&self.data, &self.subject.data, change),
            };
        };
        let lock_file =
            File::options().read(true).write(true).create(true).truncate(false).open(lock_path)?;
        restore(&lock_file, lock, &mut self.buffer)?;
        match self.subject.part.changes_lock() {
            true => apply(&lock_file, lock, change),
            false => apply(&self.data, &self.subject.data, change),
        }
    }
}

/// Writes what differs from `bytes`.
fn restore(file: &File, bytes: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    let len = file.metadata()?.len();
    if len != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    buffer.resize(bytes.len(), 0);
    file.read_exact_at(buffer, 0)?;
    for (index, (has, wants)) in buffer.chunks(BLOCK).zip(bytes.chunks(BLOCK)).enumerate() {
        if has != wants {
            file.write_all_at(wants, (index * BLOCK) as u64)?;
        }
    }
    Ok(())
}

fn apply(file: &File, bytes: &[u8], change: Change) -> io::Result<()> {
    match change {
        Change::Flip { byte, bit } => file.write_all_at(&[bytes[byte] ^ (1 << bit)], byte as u64),
        Change::Cut { len } => file.set_len(len as u64),
        Change::Zero { sector } => {
            let from = sector * SECTOR;
            let zeros = [0; SECTOR];
            file.write_all_at(&zeros[..(bytes.len() - from).min(SECTOR)], from as u64)
        }
    }
}

fn judge(path: &Path, subject: &Subject, change: Change, sequel: Sequel) -> Result<(Verdict, bool), Broken> {
    let Ok(env) = open(path, options()) else { return Ok((Verdict::Detected, false)) };
    let recovery = env.recovery();
    // An empty lock file is as good as none, and of what lay in one that is lost nobody knows.
    let is_lost = subject.part == Part::LockOfTheDead && change == Change::Cut { len: 0 };
    let says_so = recovery.passed_over.is_some() || recovery.refused_relaxed.is_some() || is_lost;
    let (verdict, stands) = {
        let Ok(txn) = env.read() else { return Ok((Verdict::Detected, false)) };
        match holds(&txn, &subject.newest) {
            Ok(()) => (Verdict::Harmless, &subject.newest),
            Err(newest) => {
                let found: Vec<_> = subject.before.iter().map(|state| holds(&txn, state)).collect();
                match found.iter().position(Result::is_ok) {
                    Some(index) if says_so => (Verdict::Discarded, &subject.before[index]),
                    Some(_) => return Err("a commit before stands, and nobody is told".to_string()),
                    // A page that cannot be read says so; anything else is an answer that is wrong.
                    None if [Err(newest.clone())].iter().chain(&found).any(is_corrupt) => {
                        (Verdict::Detected, &subject.newest)
                    }
                    None => return Err(format!("a wrong answer: {newest}")),
                }
            }
        }
    };
    // Free space may be hurt where no reader looks; the check may say so or fail, and either answer is right.
    let _ = env.check(|_| ());
    let took_a_commit = sequel != Sequel::None && write(&env).is_ok();
    if matches!(verdict, Verdict::Detected) {
        return Ok((verdict, took_a_commit));
    }
    let mut state = stands.clone();
    if took_a_commit {
        let main = state.tables.entry(String::new()).or_default();
        main.entries.insert(AFTER.to_vec(), AFTER.to_vec().into());
        still_holds(&env, &state).map_err(|broken| format!("after a commit: {broken}"))?;
    }
    if took_a_commit && sequel == Sequel::Reopening {
        // They may refuse, and do no harm.
        let _ = env.space().and_then(|_| env.space_map(100));
        let _ = env.defragment(&Defragment::default(), |_| true);
        let _ = env.trim();
        drop(env);
        match open(path, options()) {
            Ok(env) => still_holds(&env, &state).map_err(|broken| format!("after reopening: {broken}"))?,
            Err(error) => return Err(format!("after reopening: {error}")),
        }
    }
    Ok((verdict, took_a_commit))
}

/// Whether a comparison went well up to a page that says that it is corrupt.
fn is_corrupt(comparison: &Result<(), Broken>) -> bool {
    comparison.as_ref().is_err_and(|broken| broken.contains("corrupt"))
}

const AFTER: &[u8] = b"written after the change";

fn write(env: &Env) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    txn.main().put(AFTER, AFTER)?;
    txn.commit().map(drop)
}

fn still_holds(env: &Env, state: &State) -> Result<(), Broken> {
    let txn = env.read().map_err(said("a read cannot begin"))?;
    match holds(&txn, state) {
        Err(broken) if !broken.contains("corrupt") => Err(broken),
        _ => Ok(()),
    }
}

/// How long a single change may take before it counts as a hang.
const HANG: Duration = Duration::from_secs(30);

/// What a child is to do: of the changes to the five files of a seed, those that are its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shard {
    /// The seed of the files.
    pub seed: u64,
    /// How many changes of all there are, spread evenly, are made. No more than there are.
    pub picks: u64,
    /// Of those it makes every so many,
    pub step: u64,
    /// from this one on.
    pub first: u64,
    /// Where it notes the change it is about to make.
    pub note: PathBuf,
}

/// One change that a failure is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Case {
    part: Part,
    index: u64,
}

/// The changes of a seed, one part's after the other's.
struct Plan {
    changes: [u64; 5],
}

impl Plan {
    fn of(seed: u64) -> Result<Plan, Broken> {
        let mut changes = [0; 5];
        for (count, part) in changes.iter_mut().zip(Part::ALL) {
            *count = Subject::make(part, seed)?.changes();
        }
        Ok(Plan { changes })
    }

    fn total(&self) -> u64 {
        self.changes.iter().sum()
    }

    /// Where change `at` of all is.
    fn case(&self, mut at: u64) -> Case {
        for (part, count) in Part::ALL.into_iter().zip(self.changes) {
            if at < count {
                return Case { part, index: at };
            }
            at -= count;
        }
        Case { part: Part::LockOfTheDead, index: 0 }
    }

    /// Pick `pick` of `picks`: one of each stretch, so that all are picked when there are as many.
    fn pick(&self, seed: u64, pick: u64, picks: u64) -> Case {
        let bound = |pick: u64| (u128::from(self.total()) * u128::from(pick) / u128::from(picks)) as u64;
        let (from, to) = (bound(pick), bound(pick + 1));
        let mut rng = SmallRng::seed_from_u64(seed ^ pick.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.case(if to - from > 1 { rng.random_range(from..to) } else { from })
    }
}

/// A child's part: makes changes and prints what became of them, one line of JSON now and then. Ends early when nobody
/// reads those any more.
///
/// # Errors
/// The first wrong answer.
pub fn work(shard: &Shard) -> Result<(), String> {
    let note = File::options().write(true).open(&shard.note).map_err(|error| format!("the note: {error}"))?;
    let mut told = Counts::default();
    let counts = changes(shard, &mut |case, counts| {
        let noted = [case.part as u64, case.index].map(u64::to_le_bytes).concat();
        note.write_all_at(&noted, 0).map_err(|error| format!("the note: {error}"))?;
        if counts.changes - told.changes >= 500 {
            tell(counts)?;
            told = *counts;
        }
        Ok(())
    })?;
    tell(&counts)
}

/// So many changes of all there are to the files of a seed, in this process.
///
/// # Errors
/// The first wrong answer.
pub fn sample(seed: u64, picks: u64) -> Result<Counts, Broken> {
    let shard = Shard { seed, picks, step: 1, first: 0, note: PathBuf::new() };
    changes(&shard, &mut |_, _| Ok(()))
}

/// Makes the changes of a shard, in an order that has something of everything early. `before` is told of each.
fn changes(
    shard: &Shard,
    before: &mut dyn FnMut(&Case, &Counts) -> Result<(), String>,
) -> Result<Counts, Broken> {
    let plan = Plan::of(shard.seed)?;
    let mut benches = Part::ALL.map(|_| None);
    let mut counts = Counts::default();
    let stride = stride(shard.picks);
    for turn in (shard.first..shard.picks).step_by(shard.step.max(1) as usize) {
        let pick = (u128::from(turn) * u128::from(stride) % u128::from(shard.picks)) as u64;
        let case = plan.pick(shard.seed, pick, shard.picks);
        let bench = match &mut benches[case.part as usize] {
            Some(bench) => bench,
            none => none.insert(Bench::of(case.part, shard.seed)?),
        };
        before(&case, &counts)?;
        bench.examine(case.index, &mut counts)?;
    }
    Ok(counts)
}

/// A step that leads through all of `count` before it comes back to the first, by way of distant ones.
fn stride(count: u64) -> u64 {
    fn have_a_common_factor(a: u64, b: u64) -> bool {
        if b == 0 { a > 1 } else { have_a_common_factor(b, a % b) }
    }
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..).find(|step| !have_a_common_factor(*step, count)).unwrap_or(1)
}

fn tell(counts: &Counts) -> Result<(), String> {
    let line = serde_json::to_string(counts).map_err(|error| error.to_string())?;
    writeln!(io::stdout().lock(), "{line}").map_err(|error| format!("nobody listens: {error}"))
}

/// A child at work, as its parent sees it.
struct Worker {
    child: Child,
    lines: Receiver<Counts>,
    note: File,
    noted: [u8; 16],
    since: Instant,
    counts: Counts,
}

impl Worker {
    fn start(ask: &Ask, shard: Shard) -> io::Result<Worker> {
        let note = File::options().read(true).write(true).create(true).truncate(true).open(&shard.note)?;
        let mut command = actor::command(&ask.exe, &Role::Hostile(shard));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                lines
                    .filter_map(|line| serde_json::from_str(&line).ok())
                    .all(|counts| sender.send(counts).is_ok());
            });
        }
        Ok(Worker { child, lines, note, noted: [0; 16], since: Instant::now(), counts: Counts::default() })
    }

    /// The change it is at, or was.
    fn case(&self) -> Option<Case> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| self.noted[at + byte]));
        Some(Case { part: *Part::ALL.get(word(0) as usize)?, index: word(8) })
    }

    /// Looks at it: whether it has ended well, and why if it has not.
    fn look(&mut self) -> Result<bool, Broken> {
        while let Ok(counts) = self.lines.try_recv() {
            self.counts = counts;
        }
        let mut noted = [0; 16];
        if self.note.read_at(&mut noted, 0).is_ok_and(|got| got == 16) && noted != self.noted {
            (self.noted, self.since) = (noted, Instant::now());
        }
        match self.child.try_wait().map_err(|error| error.to_string())? {
            None if self.since.elapsed() > HANG => Err(format!("it hangs: {HANG:?} for one change")),
            None => Ok(false),
            Some(status) => {
                // The last line may have come between the first look and the end.
                if let Ok(counts) = self.lines.recv_timeout(Duration::from_secs(1)) {
                    self.counts = counts;
                    while let Ok(counts) = self.lines.recv_timeout(Duration::from_secs(1)) {
                        self.counts = counts;
                    }
                }
                if status.success() {
                    return Ok(true);
                }
                let mut why = String::new();
                if let Some(errors) = &mut self.child.stderr {
                    let _ = errors.read_to_string(&mut why);
                }
                Err(format!("{status}: {}", why.trim_end()))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes every change to the files of one seed after the other, or as many, evenly spread, as the budget has.
///
/// # Errors
/// The first wrong answer.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let failed = |seed: u64, case: Option<Case>, what: Broken| {
        let case = case.and_then(|case| serde_json::to_value(case).ok()).unwrap_or_default();
        Failure::new(seed, case, what)
    };
    if let Some(case) = &ask.case {
        let case: Case =
            serde_json::from_value(case.clone()).map_err(|error| Failure::no_case(ask, error))?;
        return again(ask.seed, case, tally).map_err(|what| failed(ask.seed, Some(case), what));
    }
    for seed in ask.seed.. {
        if ask.is_over(tally.units()) {
            return Ok(());
        }
        let total = Plan::of(seed).map_err(|what| failed(seed, None, what))?.total();
        let picks = total.min(ask.budget - tally.units());
        let is_whole = pass(ask, seed, picks, tally).map_err(|(case, what)| failed(seed, case, what))?;
        tally.count(
            "files changed in every way",
            if is_whole && picks == total { Part::ALL.len() as u64 } else { 0 },
        );
    }
    Ok(())
}

/// One pass over the files of a seed; answers whether it went to the end.
fn pass(ask: &Ask, seed: u64, picks: u64, tally: &mut Tally) -> Result<bool, (Option<Case>, Broken)> {
    let step = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(picks.max(1));
    let mut workers = Vec::new();
    for first in 0..step {
        let note = ask.dir.join(format!("change-{first}"));
        let worker = Worker::start(ask, Shard { seed, picks, step, first, note });
        workers.push(worker.map_err(|error| (None, format!("a child cannot be started: {error}")))?);
    }
    let (before, mut last) = (tally.units(), Counts::default());
    loop {
        let mut have_ended = true;
        for worker in &mut workers {
            have_ended &= worker.look().map_err(|what| (worker.case(), what))?;
        }
        let mut now = Counts::default();
        workers.iter().for_each(|worker| now.add(&worker.counts));
        tally.done(before + now.changes - tally.units());
        tally.count("detected", now.detected - last.detected);
        tally.count("harmless", now.harmless - last.harmless);
        tally.count("discarded and told", now.discarded - last.discarded);
        tally.count("written to afterwards", now.written - last.written);
        last = now;
        if have_ended || Instant::now() >= ask.end {
            return Ok(have_ended);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One change again.
fn again(seed: u64, case: Case, tally: &mut Tally) -> Result<(), Broken> {
    let mut counts = Counts::default();
    Bench::of(case.part, seed)?.examine(case.index, &mut counts)?;
    tally.done(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_counted_out_once() {
        let len = 1000;
        let all: Vec<Change> = (0..Change::count(len)).map(|index| Change::at(index, len)).collect();
        assert_eq!(all.len(), 8000 + 1000 + 2);
        assert_eq!(all[0], Change::Flip { byte: 0, bit: 0 });
        assert_eq!(all[7999], Change::Flip { byte: 999, bit: 7 });
        assert_eq!(all[8000], Change::Cut { len: 0 });
        assert_eq!(all[8999], Change::Cut { len: 999 });
        assert_eq!(all[9001], Change::Zero { sector: 1 });
    }

    #[test]
    fn all_are_picked_when_there_are_as_many_and_a_few_come_from_everywhere() {
        let plan = Plan { changes: [10, 20, 30, 5, 7] };
        let total = plan.total();
        let mut found: Vec<(u8, u64)> = (0..total)
            .map(|turn| turn * stride(total) % total)
            .map(|pick| plan.pick(1, pick, total))
            .map(|case| (case.part as u8, case.index))
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len() as u64, total);
        let parts: Vec<u8> = (0..12).map(|pick| plan.pick(1, pick, 12).part as u8).collect();
        assert!((0..5).all(|part| parts.contains(&part)), "{parts:?}");
    }
}
