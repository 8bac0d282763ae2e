//! Commits of one put: durable by 1, 8 and 32 threads and by four processes, relaxed by one thread; what each writes.

use std::process::Command;
use std::time::{Duration, Instant};

use super::process::{Order, Process, Task};
use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Entrant;
use crate::machine::Written;
use crate::page_cache;
use crate::results::Ask;
use crate::rounds::percentile;
use crate::suite::{ENTRIES_100_MB, Seat, Suite, remove};
use crate::workload::{Entries, Workload};

pub const ABOUT: &str = "Commits of one overwrite of a random key each, on a database filled in random order. Rates and \
    waits are by the wall clock; the wait of a commit begins before its transaction does. maple-group and maple-batch promise what the \
    others do; they share syncs, and maple-batch transactions too. Bytes are dirtied pages of the system's cache, by the kernel's count for this process. \
    The limit is one write and sync after the other, for rates without sharing.";

const PROCESSES: usize = 4;
const THREADS_EACH: usize = 8;
/// Entries that a thread overwrites in turn.
const THREAD_ENTRIES: usize = 2_000;
/// What the names of measures end in that were taken after another process had read the file.
const READ_THROUGH: &str = ", file read through before";
/// Bytes of MapleDB's pages.
const PAGE_BYTES: f64 = 4096.0;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(4_000, ENTRIES_100_MB / 4, ENTRIES_100_MB));
    let rounds = suite.profile.pick(1, 3, 7);
    let time = Duration::from_millis(suite.profile.pick(30, 300, 2_000));

    let seats = suite.filled(&[Role::Whole, Role::Writes, Role::SharedSync], Durability::Sync, &workload)?;
    written(suite, &seats, &workload, "")?;
    for threads in [1, 8, 32] {
        let entries = by_rounds(&workload, suite.seed, threads, rounds);
        suite.ask(&seats, asks(suite, threads), (0, rounds), Some(Durability::Sync), |seat, round| {
            summary(commits(seat.entrant.as_ref(), &entries[round], time)?)
        })?;
    }
    let seats = by_processes(suite, seats, time, rounds)?;
    after_read_through(suite, seats, &workload, time, rounds)?;

    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Relaxed, &workload)?;
    let entries = by_rounds(&workload, suite.seed, 1, rounds);
    let [_, p50, p99, longest] = asks(suite, 1);
    let named = |ask: Ask| Ask { measure: ask.measure.replace("durable", "relaxed"), limit: None, ..ask };
    let asks = [Ask::higher("relaxed commits/s", "1/s"), named(p50), named(p99), named(longest)];
    suite.ask(&seats, asks, (0, rounds), Some(Durability::Relaxed), |seat, round| {
        summary(commits(seat.entrant.as_ref(), &entries[round], time)?)
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

/// What each thread overwrites: each key twice in a round through all, with another value each time. Another `turn` has
/// other values.
pub fn entries(workload: &Workload, seed: u64, threads: usize, turn: usize) -> Vec<Entries> {
    let mut random = crate::workload::SplitMix64::new(seed);
    (0..threads)
        .map(|_| workload.entries(&workload.uniform(THREAD_ENTRIES, &mut random).repeat(2), 1 + turn as u64))
        .collect()
}

/// The same for each of some rounds.
fn by_rounds(workload: &Workload, seed: u64, threads: usize, rounds: usize) -> Vec<Vec<Entries>> {
    // Where rounds of one number of threads end, those of the next begin.
    (0..rounds).map(|round| entries(workload, seed, threads, threads * rounds + round)).collect()
}

/// Lets a thread for each of `entries` commit for some time: commits a second, and how long each took.
pub fn commits(entrant: &dyn Entrant, entries: &[Entries], time: Duration) -> Result<(f64, Vec<f64>)> {
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

/// What a commit writes, and how long it takes, once another process has read the file: large folios fill the cache then.
fn after_read_through(
    suite: &mut Suite,
    seats: Vec<Seat>,
    workload: &Workload,
    time: Duration,
    rounds: usize,
) -> Result<()> {
    let seats = seats.into_iter().map(read_through).collect::<Result<Vec<_>>>()?;
    written(suite, &seats, workload, READ_THROUGH)?;
    let entries = by_rounds(workload, suite.seed ^ 1, 1, rounds);
    let [rate, p50, ..] = asks(suite, 1).map(|ask| Ask {
        measure: format!("{}{READ_THROUGH}", ask.measure),
        curve: None,
        ..ask
    });
    suite.ask(&seats, [rate, p50], (0, rounds), Some(Durability::Sync), |seat, round| {
        let [rate, p50, ..] = summary(commits(seat.entrant.as_ref(), &entries[round], time)?)?;
        Ok([rate, p50])
    })?;
    remove(seats)
}

/// The seat after another process has read all its files in order, with the system's read-ahead, into an empty cache.
fn read_through(seat: Seat) -> Result<Seat> {
    let closed = seat.closed()?;
    page_cache::drop_all(&closed.dir)?;
    for file in page_cache::files_in(&closed.dir)? {
        let status = Command::new("cat").arg(&file).stdout(std::process::Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("cannot read {} through: {status}", file.display()).into());
        }
    }
    closed.open()
}

/// Bytes written per commit; and for MapleDB, pages beyond the height of its tree.
fn written(suite: &mut Suite, seats: &[Seat], workload: &Workload, when: &str) -> Result<()> {
    let count = suite.profile.pick(5, 200, 500);
    let rounds = suite.profile.pick(1, 3, 5);
    let words = workload.uniform(count, &mut suite.random(9));
    let from = if when.is_empty() { 1 } else { 1 + rounds as u64 };
    let entries: Vec<_> = (0..rounds as u64).map(|round| workload.entries(&words, from + round)).collect();
    let asks = [
        Ask::lower(format!("bytes dirtied per durable one-put commit{when}"), "bytes"),
        Ask::lower(format!("bytes to the device per durable one-put commit{when}"), "bytes"),
        Ask::lower(format!("pages dirtied per durable one-put commit, less the height{when}"), "pages"),
    ];
    suite.ask(seats, asks, (0, rounds), Some(Durability::Sync), |seat, round| {
        let before = Written::so_far(&seat.dir);
        seat.entrant.puts(&entries[round], 1)?;
        let [dirtied, device] = Written::so_far(&seat.dir).each_since(before, count);
        let above = match seat.entrant.height()? {
            Some(height) => dirtied / PAGE_BYTES - height as f64,
            None => f64::NAN,
        };
        Ok([dirtied, device, above])
    })
}

fn by_processes(suite: &mut Suite, seats: Vec<Seat>, time: Duration, rounds: usize) -> Result<Vec<Seat>> {
    let (mut seats, single): (Vec<_>, Vec<_>) = seats.into_iter().partition(|seat| seat.peer.many_processes);
    for seat in &single {
        suite.skip(&format!("{}: one process at a time may have its file open to write", seat.peer.name));
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
        let order = |number: usize| Order {
            program: &worker,
            task: Task::Commit,
            entries,
            seed,
            pick: seed + (round * PROCESSES + number) as u64,
            threads: THREADS_EACH,
            time,
            cgroup: None,
        };
        let mut begun =
            (0..PROCESSES).map(|number| Process::beside(order(number), seat)).collect::<Result<Vec<_>>>()?;
        begun.iter_mut().try_for_each(Process::go)?;
        let (mut rate, mut commits_us) = (0.0, Vec::new());
        for process in begun {
            let (own_rate, own_commits) = process.outcome()?;
            rate += own_rate;
            commits_us.extend(own_commits);
        }
        summary((rate, commits_us))
    })?;
    seats.extend(single);
    Ok(seats)
}
