//! Work in another process on a database that is there: commits of several threads, an end without closing, and reads
//! within a bound of memory.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::commits;
use crate::Result;
use crate::engine::{Durability, Setup};
use crate::engines;
use crate::entrant::{Entrant, Txns};
use crate::suite::Seat;
use crate::workload::{KEY_BYTES, SplitMix64, VALUE_BYTES, Workload};

/// Lookups between two looks at the clock.
const READS_AT_ONCE: usize = 50;

/// What another process of the benchmark is told to do.
#[derive(Args, Clone, Debug)]
pub struct Worker {
    /// What to do.
    #[arg(long, value_enum)]
    pub task: Task,
    /// The engine.
    #[arg(long)]
    pub engine: String,
    /// Directory of its database, which is there.
    #[arg(long)]
    pub dir: PathBuf,
    /// Bytes that the database may grow to.
    #[arg(long)]
    pub room_bytes: u64,
    /// Bytes of the engine's own cache.
    #[arg(long)]
    pub cache_bytes: u64,
    /// Entries of the database.
    #[arg(long)]
    pub entries: usize,
    /// The seed of its keys.
    #[arg(long)]
    pub seed: u64,
    /// The seed of what is picked of them.
    #[arg(long)]
    pub pick: u64,
    /// Threads that commit.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// How long.
    #[arg(long)]
    pub milliseconds: u64,
    /// A memory cgroup to enter first.
    #[arg(long)]
    pub cgroup: Option<PathBuf>,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Commits.
    Commit,
    /// Commits, and ends without closing the database.
    Abandon,
    /// Reads.
    Read,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Commit => "commit",
            Task::Abandon => "abandon",
            Task::Read => "read",
        }
    }
}

/// A worker that has opened its database and waits for the word.
pub struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// The system killed a worker: it asked for more memory than its cgroup has.
#[derive(Debug)]
pub struct Killed(i32);

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a process of the benchmark was killed by signal {}", self.0)
    }
}

impl std::error::Error for Killed {}

/// Why a worker has not answered as it should.
fn why_not(
    child: &mut Child,
    otherwise: impl FnOnce(std::process::ExitStatus) -> String,
) -> Box<dyn std::error::Error> {
    match child.wait() {
        Ok(status) => match status.signal() {
            Some(signal) => Killed(signal).into(),
            None => otherwise(status).into(),
        },
        Err(error) => error.into(),
    }
}

/// How a worker is to go about it.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The program.
    pub program: &'a Path,
    /// What it does.
    pub task: Task,
    /// Entries of the database.
    pub entries: usize,
    /// The seed of its keys.
    pub seed: u64,
    /// The seed of what is picked of them.
    pub pick: u64,
    /// Threads that commit.
    pub threads: usize,
    /// How long.
    pub time: Duration,
    /// A memory cgroup to enter first.
    pub cgroup: Option<&'a Path>,
}

impl Process {
    /// Starts a worker on the database in `seat`'s directory and waits until it has opened it.
    pub fn start(order: Order<'_>, engine: &str, dir: &Path, setup: &Setup) -> Result<Self> {
        let mut command = Command::new(order.program);
        command.args(["worker", "--task", order.task.name(), "--engine", engine, "--dir"]).arg(dir);
        for (name, number) in [
            ("--room-bytes", setup.room_bytes),
            ("--cache-bytes", setup.cache_bytes),
            ("--entries", order.entries as u64),
            ("--seed", order.seed),
            ("--pick", order.pick),
            ("--threads", order.threads as u64),
            ("--milliseconds", order.time.as_millis() as u64),
        ] {
            command.args([name, &number.to_string()]);
        }
        if let Some(cgroup) = order.cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", order.program.display()))?;
        let answers = BufReader::new(child.stdout.take().ok_or("a process without an output")?);
        let mut process = Self { child, answers };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            other => Err(why_not(&mut process.child, |_| {
                format!("{engine}: a process did not open its database: {other:?}")
            })),
        }
    }

    /// The same on an open seat.
    pub fn beside(order: Order<'_>, seat: &Seat) -> Result<Self> {
        Self::start(order, seat.peer.name, &seat.dir, &seat.setup)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Gives the word.
    pub fn go(&mut self) -> Result<()> {
        Ok(self.child.stdin.as_mut().ok_or("a process without an input")?.write_all(b"go\n")?)
    }

    /// Its operations a second, and microseconds of each commit.
    pub fn outcome(mut self) -> Result<(f64, Vec<f64>)> {
        let outcome = self.line()?;
        match self.child.wait()?.success() {
            true => Ok(serde_json::from_str(&outcome)?),
            false => Err(why_not(&mut self.child, |status| {
                format!("a process of the benchmark ended with {status}")
            })),
        }
    }
}

/// What a worker does: opens, says so, waits for the word, works, and writes what it measured.
pub fn work(worker: &Worker) -> Result<()> {
    if let Some(cgroup) = &worker.cgroup {
        std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())?;
    }
    let peer = engines::all().into_iter().find(|peer| peer.name == worker.engine).ok_or("no such engine")?;
    let setup = Setup {
        durability: Durability::Sync,
        room_bytes: worker.room_bytes,
        cache_bytes: worker.cache_bytes,
    };
    let entrant = peer.open(&worker.dir, &setup)?;
    let workload = Workload::new(worker.entries, KEY_BYTES, VALUE_BYTES, worker.seed);
    let entries = commits::entries(&workload, worker.pick, worker.threads, worker.pick as usize);
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let time = Duration::from_millis(worker.milliseconds);
    let outcome = match worker.task {
        Task::Commit | Task::Abandon => commits::commits(entrant.as_ref(), &entries, time)?,
        Task::Read => (reads(entrant.as_ref(), &workload, worker.pick, time)?, Vec::new()),
    };
    if worker.task == Task::Abandon {
        println!("{}", serde_json::to_string(&outcome)?);
        std::process::exit(0);
    }
    entrant.close()?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Random lookups a second.
fn reads(entrant: &dyn Entrant, workload: &Workload, pick: u64, time: Duration) -> Result<f64> {
    let mut random = SplitMix64::new(pick);
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < time {
        let keys = workload.keys(&workload.uniform(READS_AT_ONCE, &mut random));
        entrant.gets(&keys, VALUE_BYTES, Txns::One)?;
        done += READS_AT_ONCE;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}
