//! Hostile files (T9, the small part): flipped bits and cut files.
//!
//! A small file of random transactions is closed cleanly. Then every bit of sampled bytes is flipped, one at a time, and
//! the file is cut at sampled lengths; each result is opened with the real engine and read to the end. It is *detected*
//! (an error), or *harmless* (the newest commit, whole), or *discarded*: the whole commit before it, and the opening
//! says so. Anything else is a wrong answer.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use mapledb::{Durability, Env, Options};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Ask, Failure, Tally};
use crate::image::{lock_path, write_sparse};
use crate::model::State;
use crate::order::with_orders;
use crate::scratch::Scratch;
use crate::verify::{Broken, checks_clean, holds, said};
use crate::workload::{Profile, Transaction};

/// What became of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files made.
    pub files: u64,
    /// Changes made to them.
    pub changes: u64,
    /// Refused at opening, or at the page that was read.
    pub detected: u64,
    /// The newest commit, whole.
    pub harmless: u64,
    /// The commit before, whole, with a word about it.
    pub discarded: u64,
}

/// One change to a file.
#[derive(Clone, Copy, Debug)]
enum Change {
    Flip { byte: usize, bit: u8 },
    Cut { len: usize },
    Zero { sector: usize },
}

/// A wrong answer about a file, which its seed alone makes again.
fn failure(seed: u64, what: Broken) -> Failure {
    Failure { harness: "damage".to_string(), ..Failure::new(seed, "file".into(), what) }
}

/// Makes files with the seeds from `seed` on, until so many are done or the time is over, and changes each in about
/// `changes` ways.
///
/// # Errors
/// The first wrong answer.
pub fn run(seed: u64, files: u64, changes: u32, time: Duration, counts: &mut Counts) -> Result<(), Failure> {
    let end = Instant::now() + time;
    for seed in (seed..).take(usize::try_from(files).unwrap_or(usize::MAX)) {
        if Instant::now() >= end {
            break;
        }
        counts.files += 1;
        file(seed, changes, counts).map_err(|what| failure(seed, what))?;
    }
    Ok(())
}

/// The harness.
///
/// # Errors
/// The first wrong answer.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    let mut counts = Counts::default();
    let mut seed = ask.seed;
    let mut answer = Ok(());
    let is_again = ask.is_again("file")?;
    while answer.is_ok() && !ask.is_over(counts.changes) && !(is_again && counts.files > 0) {
        let before = counts.changes;
        let left = ask.end.saturating_duration_since(Instant::now());
        answer = run(seed, 1, 1000, left, &mut counts);
        tally.done(counts.changes - before);
        seed = seed.wrapping_add(1);
    }
    tally.count("files", counts.files);
    tally.count("detected", counts.detected);
    tally.count("harmless", counts.harmless);
    tally.count("discarded", counts.discarded);
    answer
}

fn options(profile: &Profile) -> Options {
    let options = Env::options().page_size(profile.page_size).two_syncs(profile.two_syncs);
    with_orders(options.reserve_bytes(4 << 20))
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the file lies in this process's own directory, and is written by the harness only while it is closed.
    unsafe { options.open_or_create(path) }
}

/// A file of random commits, and the states of the last two.
struct Subject {
    bytes: Vec<u8>,
    newest: State,
    before: State,
    profile: Profile,
}

fn subject(seed: u64, rng: &mut SmallRng) -> Result<Subject, Broken> {
    let mut profile = Profile::random(rng);
    profile.quota_bytes = None;
    profile.large_max = profile.large_max.min(20_000);
    profile.ops_max = profile.ops_max.min(40);
    let dir = Scratch::new().map_err(|error| error.to_string())?;
    let path = dir.path().join("subject.maple");
    let env = open(&path, options(&profile)).map_err(said("create"))?;
    let mut states = vec![State::default()];
    for ordinal in 0..2 + seed % 12 {
        let mut txn = env.write().map_err(said("write"))?;
        txn.durability(Durability::Sync);
        let (transaction, state) = Transaction::draw(seed, ordinal, &states[states.len() - 1], &profile);
        transaction.perform(&mut txn, &mut || Ok(())).map_err(said("change"))?;
        let txnid = txn.txnid();
        if txn.commit().map_err(said("commit"))? == txnid {
            states.push(state);
        }
    }
    env.close().map_err(said("close"))?;
    let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
    let newest = states.pop().unwrap_or_default();
    let before = states.pop().unwrap_or_default();
    Ok(Subject { bytes, newest, before, profile })
}

fn file(seed: u64, changes: u32, counts: &mut Counts) -> Result<(), Broken> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let subject = subject(seed, &mut rng)?;
    let used = subject.bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let mut left = changes;
    while left > 0 {
        let change = match rng.random_range(0..12) {
            0 => Change::Cut { len: rng.random_range(0..subject.bytes.len()) },
            1 => Change::Zero { sector: rng.random_range(0..used.div_ceil(512)) },
            _ => {
                let byte = interesting_byte(&subject.bytes, used, &mut rng);
                for bit in 0..7 {
                    examine(&subject, Change::Flip { byte, bit }, counts)?;
                }
                left = left.saturating_sub(7);
                Change::Flip { byte, bit: 7 }
            }
        };
        examine(&subject, change, counts)?;
        left = left.saturating_sub(1);
    }
    Ok(())
}

/// A byte of a meta, of a page's head, or any that is not zero.
fn interesting_byte(bytes: &[u8], used: usize, rng: &mut SmallRng) -> usize {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..512),
        1 => (64 << 10) + rng.random_range(0..512),
        2 if used > 128 << 10 => {
            let page = rng.random_range((128 << 10) / 4096..used.div_ceil(4096));
            (page * 4096 + rng.random_range(0..64)).min(bytes.len() - 1)
        }
        _ => {
            let from = rng.random_range(0..used);
            bytes[from..].iter().position(|byte| *byte != 0).map_or(from, |more| from + more)
        }
    }
}

fn examine(subject: &Subject, change: Change, counts: &mut Counts) -> Result<(), Broken> {
    counts.changes += 1;
    let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| judge(subject, change)));
    let verdict = verdict.unwrap_or_else(|_| Err("a panic".to_string()));
    match verdict.map_err(|broken| format!("{change:?} of {:?}: {broken}", subject.profile))? {
        Verdict::Detected => counts.detected += 1,
        Verdict::Harmless => counts.harmless += 1,
        Verdict::Discarded => counts.discarded += 1,
    }
    Ok(())
}

enum Verdict {
    Detected,
    Harmless,
    Discarded,
}

fn judge(subject: &Subject, change: Change) -> Result<Verdict, Broken> {
    let mut bytes = subject.bytes.clone();
    match change {
        Change::Flip { byte, bit } => bytes[byte] ^= 1 << bit,
        Change::Cut { len } => bytes.truncate(len),
        Change::Zero { sector } => {
            let end = bytes.len().min(sector * 512 + 512);
            bytes[sector * 512..end].fill(0);
        }
    }
    let dir = Scratch::new().map_err(|error| error.to_string())?;
    let path = dir.path().join("changed.maple");
    write_sparse(&path, &bytes).map_err(|error| error.to_string())?;
    let Ok(env) = open(&path, options(&subject.profile)) else { return Ok(Verdict::Detected) };
    let says_so = env.recovery().passed_over.is_some();
    let txn = env.read().map_err(said("a read cannot begin"))?;
    let verdict = match (holds(&txn, &subject.newest), holds(&txn, &subject.before)) {
        (Ok(()), _) => Verdict::Harmless,
        (_, Ok(())) if says_so => Verdict::Discarded,
        (_, Ok(())) => return Err("the commit before stands, and nobody is told".to_string()),
        // A page that cannot be read says so; anything else is an answer that is wrong.
        (Err(newest), Err(_)) if newest.contains("corrupt") => Verdict::Detected,
        (Err(newest), Err(_)) => return Err(format!("a wrong answer: {newest}")),
    };
    drop(txn);
    // Free space may be hurt where no reader looks; check must say so, and either answer is right.
    let _ = checks_clean(&env);
    drop(env);
    let _ = std::fs::remove_file(lock_path(&path));
    Ok(verdict)
}
