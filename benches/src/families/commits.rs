//! Commits of one put: durable by 1, 8 and 32 threads and by four processes, relaxed by one thread; what each writes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::Result;
use crate::engine::{Durability, Setup};
use crate::engines::{self, Role};
use crate::entrant::Entrant;
use crate::machine::{self, Written};
use crate::results::Ask;
use crate::rounds::percentile;
use crate::suite::{ENTRIES_100_MB, Seat, Suite, remove};
use crate::workload::{Entries, Workload};

pub const ABOUT: &str = "Commits of one overwrite of a random key each, on a database filled in random order. Rates and \
    waits are by the wall clock; the wait of a commit begins before its transaction does. maple-group promises what the \
    others do and shares syncs. Bytes are dirtied pages of the system's cache, by the kernel's count for this process. \
    The limit is one write and sync after the other, for rates without sharing.";

const PROCESSES: usize = 4;
const THREADS_EACH: usize = 8;
/// Entries that a thread overwrites in turn.
const THREAD_ENTRIES: usize = 2_000;
/// Bytes of MapleDB's pages.
const PAGE_BYTES: f64 = 4096.0;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(4_000, ENTRIES_100_MB / 4, ENTRIES_100_MB));
    let rounds = suite.profile.pick(1, 3, 7);
    let time = Duration::from_millis(suite.profile.pick(30, 300, 2_000));

    let seats = suite.filled(&[Role::Whole, Role::Writes, Role::SharedSync], Durability::Sync, &workload)?;
    written(suite, &seats, &workload)?;
    for threads in [1, 8, 32] {
        let entries = entries(&workload, suite.seed, threads);
        suite.ask(&seats, asks(suite, threads), (0, rounds), Some(Durability::Sync), |seat, _| {
            summary(commits(seat.entrant.as_ref(), &entries, time)?)
        })?;
    }
    by_processes(suite, seats, time, rounds)?;

    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Relaxed, &workload)?;
    let entries = entries(&workload, suite.seed, 1);
    let [_, p50, p99, longest] = asks(suite, 1);
    let named = |ask: Ask| Ask { measure: ask.measure.replace("durable", "relaxed"), limit: None, ..ask };
    let asks = [Ask::higher("relaxed commits/s", "1/s"), named(p50), named(p99), named(longest)];
    suite.ask(&seats, asks, (0, rounds), Some(Durability::Relaxed), |seat, _| {
        summary(commits(seat.entrant.as_ref(), &entries, time)?)
    })?;
    remove(seats)
}

fn asks(suite: &Suite, threads: usize) -> [Ask; 4] {
    let by = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    [
        Ask::higher(format!("durable commits/s, {by}"), "1/s")
            .on("durable commits/s by threads", threads as f64)
            .limit(suite.limits.syncs_per_second()),
        Ask::lower(format!("durable commit, {by}, p50"), "us").limit(Some(suite.limits.sync_us)),
        Ask::lower(format!("durable commit, {by}, p99"), "us"),
        Ask::lower(format!("durable commit, {by}, longest"), "us"),
    ]
}

/// What each thread overwrites.
fn entries(workload: &Workload, seed: u64, threads: usize) -> Vec<Entries> {
    let mut random = crate::workload::SplitMix64::new(seed);
    (0..threads).map(|_| workload.entries(&workload.uniform(THREAD_ENTRIES, &mut random), 1)).collect()
}

/// Lets a thread for each of `entries` commit for some time: commits a second, and how long each took.
fn commits(entrant: &dyn Entrant, entries: &[Entries], time: Duration) -> Result<(f64, Vec<f64>)> {
    let began = Instant::now();
    let run =
        |entries: &Entries| entrant.commits_until(entries, began + time).map_err(|error| error.to_string());
    let mut commits_us = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = entries.iter().map(|entries| scope.spawn(|| run(entries))).collect();
        for thread in threads {
            commits_us.extend(thread.join().map_err(|_| "a committing thread panicked")??);
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    Ok((commits_us.len() as f64 / began.elapsed().as_secs_f64(), commits_us))
}

/// Rate, median, 99th percentile and longest.
fn summary((rate, mut commits_us): (f64, Vec<f64>)) -> Result<[f64; 4]> {
    if commits_us.is_empty() {
        return Err("no commit ended in time".into());
    }
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| percentile(&mut commits_us, share));
    Ok([rate, p50, p99, longest])
}

/// Bytes written per commit right after the load; and for MapleDB, pages beyond the height of its tree.
fn written(suite: &mut Suite, seats: &[Seat], workload: &Workload) -> Result<()> {
    let count = suite.profile.pick(5, 200, 500);
    let rounds = suite.profile.pick(1, 3, 5);
    let entries = workload.entries(&workload.uniform(count, &mut suite.random(9)), 1);
    let asks = [
        Ask::lower("bytes dirtied per durable one-put commit", "bytes"),
        Ask::lower("bytes to the device per durable one-put commit", "bytes"),
        Ask::lower("pages dirtied per durable one-put commit, less the height", "pages"),
    ];
    suite.ask(seats, asks, (0, rounds), Some(Durability::Sync), |seat, _| {
        let before = Written::so_far(&seat.dir);
        seat.entrant.puts(&entries, 1)?;
        let [dirtied, device] = Written::so_far(&seat.dir).each_since(before, count);
        let above = match seat.entrant.height()? {
            Some(height) => dirtied / PAGE_BYTES - height as f64,
            None => f64::NAN,
        };
        Ok([dirtied, device, above])
    })
}

fn by_processes(suite: &mut Suite, seats: Vec<Seat>, time: Duration, rounds: usize) -> Result<()> {
    let (seats, single): (Vec<_>, Vec<_>) = seats.into_iter().partition(|seat| seat.peer.many_processes);
    for seat in single {
        suite.skip(&format!("{}: one process at a time may have its file open to write", seat.peer.name));
        seat.remove()?;
    }
    let by = format!("{PROCESSES} processes x {THREADS_EACH} threads");
    let asks = [
        Ask::higher(format!("durable commits/s, {by}"), "1/s").limit(suite.limits.syncs_per_second()),
        Ask::lower(format!("durable commit, {by}, p50"), "us"),
        Ask::lower(format!("durable commit, {by}, p99"), "us"),
        Ask::lower(format!("durable commit, {by}, longest"), "us"),
    ];
    let (worker, seed) = (suite.worker.clone(), suite.seed);
    let entries = suite.profile.pick(4_000, ENTRIES_100_MB / 4, ENTRIES_100_MB);
    suite.ask(&seats, asks, (0, rounds), Some(Durability::Sync), |seat, round| {
        let begun: Vec<Process> = (0..PROCESSES)
            .map(|number| {
                Process::start(
                    &worker,
                    seat,
                    (entries, seed),
                    seed + (round * PROCESSES + number) as u64,
                    time,
                )
            })
            .collect::<Result<_>>()?;
        let mut begun = begun;
        begun.iter_mut().try_for_each(Process::go)?;
        let (mut rate, mut commits_us) = (0.0, Vec::new());
        for process in begun {
            let (own_rate, own_commits) = process.outcome()?;
            rate += own_rate;
            commits_us.extend(own_commits);
        }
        summary((rate, commits_us))
    })?;
    remove(seats)
}

/// What another process of the benchmark is told to commit.
#[derive(Args, Clone, Debug)]
pub struct Worker {
    /// The engine.
    #[arg(long)]
    engine: String,
    /// Directory of its database, which is there.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes that the database may grow to.
    #[arg(long)]
    room_bytes: u64,
    /// Entries of the database.
    #[arg(long)]
    entries: usize,
    /// The seed of its keys.
    #[arg(long)]
    seed: u64,
    /// The seed of what is overwritten.
    #[arg(long)]
    pick: u64,
    /// Threads that commit.
    #[arg(long)]
    threads: usize,
    /// How long.
    #[arg(long)]
    milliseconds: u64,
}

/// A process that commits.
struct Process {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts it and waits until it has opened the database.
    fn start(
        program: &Path,
        seat: &Seat,
        (entries, seed): (usize, u64),
        pick: u64,
        time: Duration,
    ) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["commit-worker", "--engine", seat.peer.name, "--dir"])
            .arg(&seat.dir)
            .args(["--room-bytes", &seat.setup.room_bytes.to_string()])
            .args([
                "--entries",
                &entries.to_string(),
                "--seed",
                &seed.to_string(),
                "--pick",
                &pick.to_string(),
            ])
            .args(["--threads", &THREADS_EACH.to_string(), "--milliseconds", &time.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let answers = BufReader::new(child.stdout.take().ok_or("a process without an output")?);
        let mut process = Self { child, answers };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            other => Err(format!("a committing process did not open its database: {other:?}").into()),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn go(&mut self) -> Result<()> {
        Ok(self.child.stdin.as_mut().ok_or("a process without an input")?.write_all(b"go\n")?)
    }

    /// Its rate, and how long each commit took.
    fn outcome(mut self) -> Result<(f64, Vec<f64>)> {
        let outcome = self.line()?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(serde_json::from_str(&outcome)?),
            false => Err(format!("a committing process ended with {status}").into()),
        }
    }
}

/// What such a process does: opens, says so, waits for a line, commits, and writes what it measured.
pub fn work(worker: &Worker) -> Result<()> {
    let peer = engines::all().into_iter().find(|peer| peer.name == worker.engine).ok_or("no such engine")?;
    let cache_bytes = machine::memory_bytes() / 2;
    let setup = Setup { durability: Durability::Sync, room_bytes: worker.room_bytes, cache_bytes };
    let entrant = peer.open(&worker.dir, &setup)?;
    let (key_bytes, value_bytes) = (crate::workload::KEY_BYTES, crate::workload::VALUE_BYTES);
    let workload = Workload::new(worker.entries, key_bytes, value_bytes, worker.seed);
    let entries = entries(&workload, worker.pick, worker.threads);
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let outcome = commits(entrant.as_ref(), &entries, Duration::from_millis(worker.milliseconds))?;
    entrant.close()?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
