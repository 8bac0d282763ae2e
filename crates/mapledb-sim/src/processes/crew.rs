//! The processes of a run: started, stopped, killed, and what is left of their work held against the law.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mapledb_os::Seam;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bank::{self, Broken};
use super::part::{Part, Way};
use super::status::{Outcome, PLACES, Phase, RunWord, Status, WRITERS_MAX, Word};
use crate::actor::{self, Role};
use crate::scratch::Scratch;
use crate::verify;

/// One process; killed when this is dropped.
struct Other {
    child: Child,
    /// When it is to go on, if it is stopped.
    goes_on_at: Option<Instant>,
    errors: PathBuf,
}

impl Other {
    fn signal(&self, signal: Signal) -> Result<(), Broken> {
        kill(Pid::from_raw(self.child.id() as i32), signal).map_err(|error| format!("{signal}: {error}"))
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process was at when it was killed.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// What its main thread did.
    pub phase: Phase,
    /// Whether it was inside `commit`.
    pub in_commit: bool,
    /// Whether its thread that syncs was in a barrier.
    pub in_barrier: bool,
    /// Whether it held the writer lock.
    pub held_lock: bool,
}

/// The processes of a run and what they share.
pub struct Crew {
    exe: PathBuf,
    dir: PathBuf,
    data: PathBuf,
    way: Way,
    writers: usize,
    others: Vec<Option<Other>>,
    /// The shared memory.
    pub status: Status,
    scratch: Scratch,
    births: u64,
    seed: u64,
    works: u64,
    worked_at: Instant,
}

/// How long everybody may do nothing before it is called a hang.
const HANG: Duration = Duration::from_secs(30);

impl Crew {
    /// Makes the file and the bank in it, and what the processes share. Nobody is started yet.
    ///
    /// # Errors
    /// The system's or the engine's.
    pub fn new(
        exe: &Path,
        dir: &Path,
        seed: u64,
        way: Way,
        writers: usize,
        readers: usize,
    ) -> Result<Crew, Broken> {
        assert!((1..=WRITERS_MAX).contains(&writers) && writers + readers <= PLACES);
        let said = |error: std::io::Error| error.to_string();
        let scratch = Scratch::new().map_err(said)?;
        let status = Status::create(&scratch.path().join("status")).map_err(said)?;
        let data = dir.join(format!("bank-{seed}.maple"));
        remove(&data);
        let env = way.open(&data, Seam::unwatched()).map_err(verify::said("the file cannot be made"))?;
        let mut txn = env.write().map_err(verify::said("write"))?;
        bank::found(&mut super::maple::Writing::new(&mut txn), &way.size)?;
        for place in [bank::Place::Journal, bank::Place::Ballast] {
            let name = place.name().unwrap_or_default();
            txn.open_table(&mapledb::Table::<[u8], [u8]>::new(name)).map_err(verify::said("open a table"))?;
        }
        txn.commit().map_err(verify::said("commit"))?;
        env.close().map_err(verify::said("close"))?;
        Ok(Crew {
            exe: exe.to_path_buf(),
            dir: dir.to_path_buf(),
            data,
            way,
            writers,
            others: (0..writers + readers).map(|_| None).collect(),
            status,
            scratch,
            births: 0,
            seed,
            works: 0,
            worked_at: Instant::now(),
        })
    }

    /// Where the file is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How many processes there are.
    pub fn len(&self) -> usize {
        self.others.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    /// How many of them write.
    pub fn writers(&self) -> usize {
        self.writers
    }

    /// The process in `place`.
    pub fn pid(&self, place: usize) -> Option<i32> {
        self.others[place].as_ref().map(|other| other.child.id() as i32)
    }

    /// Starts every process that is not there. Answers which.
    ///
    /// # Errors
    /// The system's.
    pub fn start_missing(&mut self) -> Result<Vec<usize>, Broken> {
        let missing: Vec<_> = (0..self.others.len()).filter(|place| self.others[*place].is_none()).collect();
        for place in &missing {
            self.start(*place)?;
        }
        self.worked_at = Instant::now();
        Ok(missing)
    }

    fn start(&mut self, place: usize) -> Result<(), Broken> {
        self.births += 1;
        self.status.clear(place);
        let part = Part {
            data: self.data.clone(),
            status: self.scratch.path().join("status"),
            place,
            writes: place < self.writers,
            seed: self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.births),
            way: self.way.clone(),
        };
        let errors = self.scratch.path().join(format!("errors-{place}"));
        let said = |error: std::io::Error| format!("a process cannot be started: {error}");
        let child = actor::command(&self.exe, &Role::Bank(part))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).map_err(said)?)
            .current_dir(&self.dir)
            .spawn()
            .map_err(said)?;
        self.others[place] = Some(Other { child, goes_on_at: None, errors });
        Ok(())
    }

    /// Kills the process in `place` and waits for its end. Answers what it was at.
    ///
    /// # Errors
    /// It had ended by itself.
    pub fn kill(&mut self, place: usize) -> Result<Death, Broken> {
        let Some(mut other) = self.others[place].take() else {
            return Err(format!("nobody is in place {place}"));
        };
        other.signal(Signal::SIGKILL)?;
        let ended = other.child.wait().map_err(|error| error.to_string())?;
        if ended.signal() != Some(Signal::SIGKILL as i32) {
            return Err(format!("process {place} ended by itself, {ended}: {}", other.said().trim()));
        }
        let is = |word| self.status.word(place, word).load(Ordering::SeqCst) != 0;
        Ok(Death {
            phase: self.status.phase(place),
            in_commit: is(Word::InCommit),
            in_barrier: is(Word::InBarrier),
            held_lock: is(Word::Holds),
        })
    }

    /// Kills everybody.
    ///
    /// # Errors
    /// As [`Crew::kill`].
    pub fn kill_all(&mut self, mut each: impl FnMut(Death)) -> Result<(), Broken> {
        // At once: nobody is to find another's death and act on it.
        for other in self.others.iter().flatten() {
            other.signal(Signal::SIGKILL)?;
        }
        for place in 0..self.others.len() {
            if self.others[place].is_some() {
                each(self.kill(place)?);
            }
        }
        Ok(())
    }

    /// Stops the process in `place` for a while.
    ///
    /// # Errors
    /// The system's.
    pub fn stop(&mut self, place: usize, time: Duration) -> Result<(), Broken> {
        if let Some(other) = &mut self.others[place] {
            other.signal(Signal::SIGSTOP)?;
            other.goes_on_at = Some(Instant::now() + time);
        }
        Ok(())
    }

    /// Whether the process in `place` is there and not stopped.
    pub fn is_going(&self, place: usize) -> bool {
        self.others[place].as_ref().is_some_and(|other| other.goes_on_at.is_none())
    }

    /// Lets those go on whose time it is, and looks whether anybody has ended who should not have, or nothing happens any
    /// more.
    ///
    /// # Errors
    /// What is wrong.
    pub fn look_after(&mut self) -> Result<(), Broken> {
        let now = Instant::now();
        for (place, other) in self.others.iter_mut().enumerate() {
            let Some(other) = other else { continue };
            if other.goes_on_at.is_some_and(|at| at <= now) {
                other.signal(Signal::SIGCONT)?;
                other.goes_on_at = None;
            }
            if let Some(ended) = other.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("process {place} ended by itself, {ended}: {}", other.said().trim()));
            }
        }
        let works: u64 =
            (0..self.len()).map(|place| self.status.word(place, Word::Works).load(Ordering::Relaxed)).sum();
        if works != self.works || self.others.iter().flatten().any(|other| other.goes_on_at.is_some()) {
            (self.works, self.worked_at) = (works, now);
        }
        match now - self.worked_at > HANG {
            true => Err(format!("nobody has done anything for {HANG:?}: {}", self.describe())),
            false => Ok(()),
        }
    }

    /// What everybody is at.
    pub fn describe(&self) -> String {
        let one = |place| format!("{place} {:?}", self.status.phase(place));
        (0..self.len()).map(one).collect::<Vec<_>>().join(", ")
    }

    /// Asks everybody to close and end, and waits for it.
    ///
    /// # Errors
    /// Somebody cannot, or takes too long.
    pub fn end_all(&mut self) -> Result<(), Broken> {
        self.status.run(RunWord::Stop).store(1, Ordering::SeqCst);
        for other in self.others.iter_mut().flatten().filter(|other| other.goes_on_at.is_some()) {
            other.signal(Signal::SIGCONT)?;
        }
        let end = Instant::now() + HANG;
        for (place, other) in self.others.iter_mut().enumerate() {
            let Some(mut other) = other.take() else { continue };
            let ended = loop {
                match other.child.try_wait().map_err(|error| error.to_string())? {
                    Some(ended) => break ended,
                    None if Instant::now() > end => return Err(format!("process {place} does not end")),
                    None => std::thread::sleep(Duration::from_millis(2)),
                }
            };
            if !ended.success() {
                return Err(format!("process {place} ended with {ended}: {}", other.said().trim()));
            }
        }
        self.status.run(RunWord::Stop).store(0, Ordering::SeqCst);
        Ok(())
    }

    /// The law of process death, when nobody is there: every acknowledged commit, relaxed ones too, nothing that was given
    /// up, each transaction's number once, every snapshot that a reader has seen; and the engine's own full check.
    /// Answers how many commits there are.
    ///
    /// # Errors
    /// How it is broken.
    pub fn verify(&self) -> Result<u64, Broken> {
        let env =
            self.way.open(&self.data, Seam::unwatched()).map_err(verify::said("it cannot be opened"))?;
        let txn = env.read().map_err(verify::said("a read cannot begin"))?;
        let generation = bank::audit(&txn, &self.way.size)?;
        for (what, word) in [("acknowledged", RunWord::Acknowledged), ("read", RunWord::Seen)] {
            let before = self.status.run(word).load(Ordering::SeqCst);
            if generation < before {
                return Err(format!("generation {generation} stands, and {before} was {what}"));
            }
        }
        let lines = bank::journal(&txn)?;
        self.compare_logs(&lines, txn.txnid())?;
        drop(txn);
        verify::checks_clean(&env)?;
        env.close().map_err(verify::said("it cannot be closed"))?;
        Ok(generation)
    }

    fn compare_logs(&self, lines: &[bank::Line], head: u64) -> Result<(), Broken> {
        let mut order: Vec<_> = lines.iter().map(|line| (line.generation, line.txnid)).collect();
        order.sort_unstable();
        for (at, pair) in order.iter().enumerate() {
            if pair.0 != at as u64 + 1 {
                return Err(format!("generation {} is missing from the journal", at + 1));
            }
            if at > 0 && order[at - 1].1 >= pair.1 {
                return Err(format!("txnid {} comes after {}", pair.1, order[at - 1].1));
            }
        }
        let committed: HashMap<_, _> =
            lines.iter().map(|line| ((line.writer, line.number), line.txnid)).collect();
        let mut given_out = HashSet::new();
        let mut may_stand = HashSet::new();
        for writer in 0..self.writers {
            for entry in self.status.log(writer) {
                if !given_out.insert(entry.txnid) {
                    return Err(format!("txnid {} was given out twice", entry.txnid));
                }
                if matches!(entry.outcome, Outcome::Relaxed | Outcome::Durable)
                    && committed.get(&(writer as u64, entry.number)) != Some(&entry.txnid)
                {
                    return Err(format!("writer {writer}'s commit {entry:?} was acknowledged and is lost"));
                }
                if matches!(entry.outcome, Outcome::Relaxed | Outcome::Durable | Outcome::Committing) {
                    may_stand.insert((writer as u64, entry.number, entry.txnid));
                }
            }
        }
        if let Some(line) =
            lines.iter().find(|line| !may_stand.contains(&(line.writer, line.number, line.txnid)))
        {
            return Err(format!("{line:?} stands and was never committed"));
        }
        let last = order.last().map_or(0, |last| last.1);
        match given_out.contains(&head) && head != last {
            true => {
                Err(format!("txnid {head} stands again: it was given out, and the last commit is {last}"))
            }
            false => Ok(()),
        }
    }

    /// Removes the file. Kept after a failure, for a look.
    pub fn clean_up(&self) {
        remove(&self.data);
    }
}

fn remove(data: &Path) {
    let _ = std::fs::remove_file(data);
    let _ = std::fs::remove_file(mapledb::mvcc::lock_path(data));
}
