//! The processes of a run: started, stopped, killed, and what is left of their work held against the law.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bank::Broken;
use super::engine::Engine;
use super::law;
use super::part::{Part, Way};
use super::status::{PLACES, Phase, RunWord, Status, WRITERS_MAX, Word};
use crate::actor;
use crate::scratch::Scratch;

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
    engine: &'static dyn Engine,
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
        engine: &'static dyn Engine,
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
        let data = dir.join(format!("bank-{seed}.{}", engine.name()));
        engine.remove(&data);
        engine.found(&data, &way)?;
        Ok(Crew {
            engine,
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
        let child = actor::command(&self.exe, &self.engine.role(part))
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

    /// The law of process death, when nobody is there: see [`law::holds`]; every snapshot that a reader has seen; and the
    /// engine's own full check. Answers how many commits there are.
    ///
    /// # Errors
    /// How it is broken.
    pub fn verify(&self) -> Result<u64, Broken> {
        let standing = self.engine.examine(&self.data, &self.way)?;
        for (what, word) in [("acknowledged", RunWord::Acknowledged), ("read", RunWord::Seen)] {
            let before = self.status.run(word).load(Ordering::SeqCst);
            if standing.generation < before {
                return Err(format!("generation {} stands, and {before} was {what}", standing.generation));
            }
        }
        let logs: Vec<_> = (0..self.writers).map(|writer| self.status.log(writer)).collect();
        law::holds(&standing, &logs, self.engine.gives_txnids_once())?;
        Ok(standing.generation)
    }

    /// Removes the file. Kept after a failure, for a look.
    pub fn clean_up(&self) {
        self.engine.remove(&self.data);
    }
}
