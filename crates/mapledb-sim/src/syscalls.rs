//! T6: the n-th system call fails, or the n-th effect.
//!
//! `syscalls` runs the [`errand`] under `strace`, which answers the n-th call of one kind with an error in
//! the kernel's stead: each kind, each error, each n until there are no more, once and for good. `effects` fails the n-th
//! effect at the engine's own seam instead and needs no tool.
//!
//! A run must end by itself, without a panic, a signal or a hang, and what it leaves must keep the law and be sound.
//! A program's own allocations and locks go through the same calls; where those give up, the run is counted apart, and
//! what it leaves is held against the law all the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::actor::{self, Role};
use crate::errand::{self, Errand, Fault};
use crate::harness::{Ask, Failure, Tally};
use crate::processes::bank::Broken;
use crate::scratch::Scratch;

/// The calls that fail. What glibc makes of a name differs (`open`, `unlink`), so several names are one kind.
const CALLS: [&str; 14] = [
    "openat",
    "fallocate",
    "ftruncate",
    "mmap",
    "madvise",
    "msync",
    "fsync",
    "fdatasync",
    "fcntl",
    "futex",
    "pwrite64",
    "linkat",
    "renameat2",
    "unlink",
];
const ERRORS: [Errno; 5] = [Errno::EIO, Errno::ENOSPC, Errno::ENOMEM, Errno::EINTR, Errno::EDQUOT];
/// How long a run may take. Waiting for others that come or go is given 10 s by the engine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said by parts of a program that know no answer to such an error: the allocator, the beginning of a thread, the C
/// library's locks, and parking_lot's where assertions are compiled in.
const GIVING_UP: [&str; 4] =
    ["memory allocation of", "stack_overflow.rs", "The futex facility returned", "thread_parker"];

fn has_given_up(said: &str) -> bool {
    GIVING_UP.iter().any(|words| said.contains(words))
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    seed: u64,
    /// The system call; none where an effect fails.
    call: Option<String>,
    errno: i32,
    nth: u64,
    for_good: bool,
}

/// Whether `strace` can attach to a child here.
///
/// # Errors
/// Why it cannot.
pub fn needs() -> Result<(), String> {
    let mut sleeper = Command::new("sleep").arg("10").spawn().map_err(|error| format!("sleep: {error}"))?;
    let tried = attach(sleeper.id(), &["-e", "trace=none"], Path::new("/dev/null")).map(end);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    tried.map_err(|why| format!("strace cannot be used: {why}"))
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts `strace` on a process, and waits until it has it.
fn attach(pid: u32, arguments: &[&str], output: &Path) -> Result<Child, Broken> {
    let child = Command::new("strace")
        .args(["-f", "-qq", "-p", &pid.to_string(), "-o"])
        .arg(output)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let end_at = Instant::now() + Duration::from_secs(10);
    loop {
        let about = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if about
            .lines()
            .any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
        {
            return Ok(child);
        }
        if let Some(ended) = child.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("it ended, {ended}, without attaching"));
        }
        if Instant::now() > end_at {
            end(child);
            return Err("it does not attach".to_string());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// T6 under `strace`.
///
/// # Errors
/// A run that did not end well, or a broken law.
pub fn run_calls(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    run(ask, tally, &call_cases)
}

/// T6 at the seam.
///
/// # Errors
/// As [`run_calls`].
pub fn run_effects(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    run(ask, tally, &effect_cases)
}

type Cases<'c> = dyn Fn(&Ask, u64) -> Result<Vec<Case>, Broken> + 'c;

fn run(ask: &Ask, tally: &mut Tally, cases_of: &Cases<'_>) -> Result<(), Failure> {
    if let Some(case) = &ask.case {
        let case: Case =
            serde_json::from_value(case.clone()).map_err(|error| Failure::no_case(ask, error))?;
        let done = one(ask, &case);
        return done.map(drop).map_err(|what| failure(ask, &case, what));
    }
    let mut seed = ask.seed;
    let mut done = 0;
    while !ask.is_over(done) {
        let cases = cases_of(ask, seed).map_err(|what| {
            Failure::new(ask.seed, serde_json::Value::Null, format!("a run without any error: {what}"))
        })?;
        let left = (ask.budget - done).min(cases.len() as u64) as usize;
        done += all(ask, &cases[..left], tally)?;
        tally.count("errands", 1);
        seed += 1;
    }
    Ok(())
}

fn failure(ask: &Ask, case: &Case, what: Broken) -> Failure {
    let call = case.call.as_deref().unwrap_or("effect");
    let error = Errno::from_raw(case.errno);
    let often = if case.for_good { " and all later ones" } else { "" };
    let case = serde_json::to_value(case).unwrap_or_default();
    let nth = case["nth"].clone();
    Failure::new(ask.seed, case, format!("{call} number {nth}{often} fails with {error:?}: {what}"))
}

/// How a run ended that kept the law.
#[derive(Clone, Copy, Debug)]
struct Done {
    was_met: bool,
    gave_up: bool,
    is_lost: bool,
    commits: u64,
}

/// Runs the cases on a few threads.
fn all(ask: &Ask, cases: &[Case], tally: &mut Tally) -> Result<u64, Failure> {
    let next = AtomicUsize::new(0);
    let has_failed = AtomicBool::new(false);
    let shared = Mutex::new((tally, 0, None));
    let work = || {
        while !has_failed.load(Ordering::Relaxed) && !ask.is_over(0) {
            let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let done = one(ask, case);
            let Ok(mut shared) = shared.lock() else { break };
            match done {
                Ok(done) => {
                    let tally = &mut *shared.0;
                    tally.done(1);
                    tally.count("past the last call", u64::from(!done.was_met));
                    tally.count("ended by the allocator or a lock", u64::from(done.gave_up));
                    tally.count("asleep after a lost wake-up", u64::from(done.is_lost));
                    tally.count("commits that stood", done.commits);
                    shared.1 += 1;
                }
                Err(what) => {
                    has_failed.store(true, Ordering::Relaxed);
                    shared.2.get_or_insert(failure(ask, case, what));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 8));
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    match shared.into_inner() {
        Ok((_, done, None)) => Ok(done),
        Ok((_, _, Some(failure))) => Err(failure),
        Err(_) => {
            Err(Failure::new(ask.seed, serde_json::Value::Null, "a thread of the harness has panicked"))
        }
    }
}

/// How a child's life ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    ByItself(ExitStatus),
    /// It waited for what could not come, and was killed.
    Lost,
}

/// Whether a wake-up of a thread by another was answered with an error, as no kernel does: the thread sleeps for ever. (The
/// words that processes share are looked at every 20 ms.)
fn has_lost_a_wake_up(trace: &Path) -> bool {
    let trace = std::fs::read_to_string(trace).unwrap_or_default();
    trace.lines().any(|line| line.contains("FUTEX_WAKE_PRIVATE") && line.contains("(INJECTED)"))
}

/// A child on an errand, killed when it is dropped.
struct Runner {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    fn start(ask: &Ask, errand: &Errand) -> Result<Runner, Broken> {
        let said = |error: std::io::Error| format!("a child cannot be started: {error}");
        let errors = File::create(errand.dir.join("errors")).map_err(said)?;
        let mut child = actor::command(&ask.exe, &Role::Errand(errand.clone()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(said)?;
        let out = child.stdout.take().ok_or("a child has no output")?;
        Ok(Runner { child, lines: BufReader::new(out) })
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.lines.read_line(&mut line);
        line
    }

    /// Lets it go on, and waits for its end. It is killed if that does not come, or when `is_lost` says after a while that
    /// it cannot come.
    fn finish(&mut self, is_lost: impl Fn() -> bool) -> Result<Ended, Broken> {
        if let Some(mut input) = self.child.stdin.take() {
            // A child that is gone already is found out below.
            let _ = errand::go_on(&mut input);
        }
        let began = Instant::now();
        let mut looks_at = began + Duration::from_secs(2);
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Ok(Ended::ByItself(status));
            }
            let now = Instant::now();
            if now > looks_at {
                looks_at = now + Duration::from_millis(200);
                let is_lost = is_lost();
                if is_lost || now > began + PATIENCE {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    let late = || format!("it has not ended after {PATIENCE:?}");
                    return if is_lost { Ok(Ended::Lost) } else { Err(late()) };
                }
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// One run. Nothing is left of it.
fn one(ask: &Ask, case: &Case) -> Result<Done, Broken> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let fault = Fault { nth: case.nth, errno: case.errno, for_good: case.for_good };
    let errand = Errand {
        dir: scratch.path().to_path_buf(),
        seed: case.seed,
        waits: case.call.is_some(),
        fault: case.call.is_none().then_some(fault),
    };
    let mut runner = Runner::start(ask, &errand)?;
    let trace = scratch.path().join("trace");
    let strace = match &case.call {
        None => None,
        Some(call) => {
            runner.line();
            let error = format!("{:?}", Errno::from_raw(case.errno));
            let when = match fault.last() {
                None => format!("{}+", case.nth),
                Some(last) if last == case.nth => format!("{last}"),
                Some(last) => format!("{}..{last}", case.nth),
            };
            let (traced, inject) =
                (format!("trace={call}"), format!("inject={call}:error={error}:when={when}"));
            Some(attach(runner.child.id(), &["-e", &traced, "-e", &inject], &trace)?)
        }
    };
    let said = || std::fs::read_to_string(errand.dir.join("errors")).unwrap_or_default();
    let ended = runner.finish(|| has_lost_a_wake_up(&trace) || has_given_up(&said()));
    let said = said();
    // Who is traced is gone, so this ends, too.
    if let Some(mut strace) = strace {
        let _ = strace.wait();
    }
    let gave_up = has_given_up(&said);
    let is_lost = match ended.map_err(|broken| format!("{broken}: {}", said.trim()))? {
        Ended::ByItself(status) if status.success() || gave_up => false,
        Ended::ByItself(status) => return Err(format!("{status}: {}", said.trim())),
        Ended::Lost => true,
    };
    if said.contains("panicked") && !gave_up {
        return Err(format!("a panic: {}", said.trim()));
    }
    let was_met = match case.call {
        None => true,
        Some(_) => std::fs::read_to_string(&trace).unwrap_or_default().contains("(INJECTED)"),
    };
    let commits = errand.verify().map_err(|broken| format!("{broken}; it was told: {}", said.trim()))?;
    Ok(Done { was_met, gave_up, is_lost, commits })
}

/// How many calls of each kind a thread makes at most, on an errand that meets no error.
fn count_calls(ask: &Ask, seed: u64) -> Result<BTreeMap<&'static str, u64>, Broken> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let errand = Errand { dir: scratch.path().to_path_buf(), seed, waits: true, fault: None };
    let mut runner = Runner::start(ask, &errand)?;
    runner.line();
    let trace = scratch.path().join("trace");
    let traced = format!("trace={}", CALLS.join(","));
    let mut strace = attach(runner.child.id(), &["-e", &traced], &trace)?;
    let ended = runner.finish(|| false);
    let _ = strace.wait();
    let said = || std::fs::read_to_string(errand.dir.join("errors")).unwrap_or_default();
    ended.and_then(well).map_err(|broken| format!("{broken}: {}", said()))?;
    errand.verify()?;
    let mut counts: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace).map_err(|error| error.to_string())?.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let name = call.trim_start().split('(').next().unwrap_or_default();
        if let Some(name) = CALLS.iter().find(|call| **call == name) {
            *counts.entry((pid.to_string(), name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in counts {
        let known = most.entry(name).or_insert(0);
        *known = count.max(*known);
    }
    Ok(most)
}

fn well(ended: Ended) -> Result<(), Broken> {
    match ended {
        Ended::ByItself(status) if status.success() => Ok(()),
        ended => Err(format!("{ended:?}")),
    }
}

fn call_cases(ask: &Ask, seed: u64) -> Result<Vec<Case>, Broken> {
    let mut cases = Vec::new();
    for (call, count) in count_calls(ask, seed)? {
        // One more, to see that there is no more.
        for nth in 1..=count + 1 {
            for errno in ERRORS {
                for for_good in [false, true] {
                    let call = Some(call.to_string());
                    cases.push(Case { seed, call, errno: errno as i32, nth, for_good });
                }
            }
        }
    }
    shuffle(&mut cases, seed);
    Ok(cases)
}

fn effect_cases(ask: &Ask, seed: u64) -> Result<Vec<Case>, Broken> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let errand = Errand { dir: scratch.path().to_path_buf(), seed, waits: false, fault: None };
    let mut runner = Runner::start(ask, &errand)?;
    well(runner.finish(|| false)?)?;
    let line = runner.line();
    let count: Option<u64> = line.trim().strip_prefix("effects ").and_then(|count| count.parse().ok());
    let count = count.ok_or_else(|| format!("it says {line:?}"))?;
    errand.verify()?;
    let mut cases = Vec::new();
    for nth in 1..=count {
        for errno in ERRORS {
            for for_good in [false, true] {
                cases.push(Case { seed, call: None, errno: errno as i32, nth, for_good });
            }
        }
    }
    shuffle(&mut cases, seed);
    Ok(cases)
}

/// A short run is to see something of everything.
fn shuffle(cases: &mut [Case], seed: u64) {
    cases.shuffle(&mut SmallRng::seed_from_u64(seed));
}
