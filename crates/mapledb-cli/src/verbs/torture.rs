//! `maple torture [DIR]`: whether what was committed survives, on this machine and this file system.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use mapledb_sim::campaign::{Campaign, write_reproducer};
use mapledb_sim::harness::{About, HARNESSES, Harness, STOP};
use mapledb_sim::report::{ENGINE, Report, Reproducer, RunOptions};
use mapledb_sim::scratch::{self, own_mounts};
use serde::Serialize;

use crate::cli::Manner;
use crate::destination::Destination;
use crate::failure::{Failure, Kind};
use crate::output::{self, Output};
use crate::{interrupt, table};

/// Crash, kill and starve MapleDB in a directory; exit code 5 if anything is lost
#[derive(Debug, Args)]
#[command(after_help = WHAT_IS_DONE)]
pub struct TortureArgs {
    /// Work in a new directory inside this one, and nowhere else
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// End after so many seconds
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: u64,
    /// End each harness after so many units of its work
    #[arg(long, value_name = "N")]
    budget: Option<u64>,
    /// Repeat the choices of an earlier run; by default each run has its own
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run these harnesses alone
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = harness)]
    only: Vec<&'static str>,
    /// List the harnesses, and whether they can run here
    #[arg(long, conflicts_with_all = ["seed", "budget", "only", "replay"])]
    list: bool,
    /// Write a report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Replace the report if it exists
    #[arg(long, requires = "report")]
    force: bool,
    /// Do the case of a reproducer file again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "budget", "only", "report"])]
    replay: Option<PathBuf>,
}

const WHAT_IS_DONE: &str = "\
Transactions run on databases made for it, and everything that can end them does: crashes of the system as a model of \
the disk allows them, killed processes, system calls that fail; as root also recorded file systems, failing devices and \
full disks. After each, the database is opened, checked whole, and compared with what was acknowledged. A failure leaves \
a reproducer file for --replay. What needs root or a program that is not there is skipped, and counted.";

/// Those that say something of the machine, the kernel and the disk they run on. The others would say of the engine
/// what its own tests have said.
const LOCAL: [&str; 7] = ["T1", "T2", "T3", "T5", "T6", "T7", "T8"];

fn harnesses() -> impl Iterator<Item = &'static Harness> {
    HARNESSES.iter().filter(|harness| LOCAL.contains(&harness.id))
}

fn harness(name: &str) -> Result<&'static str, String> {
    let found = harnesses().find(|harness| harness.name == name || harness.id == name).ok_or_else(|| {
        let names: Vec<&str> = harnesses().map(|harness| harness.name).collect();
        format!("there are {}", names.join(", "))
    })?;
    Ok(found.name)
}

/// Runs it.
pub fn run(args: &TortureArgs, manner: Manner) -> Result<(), Failure> {
    if args.list {
        return list(manner);
    }
    own_mounts();
    interrupt::catch()?;
    thread::spawn(|| {
        while !interrupt::is_requested() {
            thread::sleep(Duration::from_millis(50));
        }
        STOP.store(true, Ordering::Relaxed);
    });
    let room = Room::new(&args.dir)?;
    let answer = match &args.replay {
        Some(file) => replay(file, room.campaign(0, manner)?, manner),
        None => torture(args, &room, manner),
    };
    let is_interrupted = interrupt::is_requested();
    let keeps = answer.as_ref().is_err_and(|failure| failure.kind == Kind::Damaged) && args.replay.is_none();
    if !keeps {
        room.clear()?;
    }
    if is_interrupted { Err(interrupt::failure()) } else { answer }
}

fn list(manner: Manner) -> Result<(), Failure> {
    let mut output = Output::open();
    for harness in harnesses() {
        let needs = (harness.needs)();
        if manner.json {
            output.json(&serde_json::json!({
                "id": harness.id,
                "name": harness.name,
                "what": harness.what,
                "unit": harness.unit,
                "skipped": needs.err(),
            }))?;
        } else {
            let word = needs.err().map_or_else(String::new, |why| format!("; not here: {why}"));
            output.line(format!("{:<4} {:<10} {}{word}", harness.id, harness.name, harness.what))?;
        }
    }
    output.finish()
}

/// The directory of a run: made in the one that was named, so that nothing else is touched.
struct Room {
    path: PathBuf,
}

impl Room {
    fn new(dir: &Path) -> Result<Room, Failure> {
        let dir = dir.canonicalize().map_err(|error| Failure::os("open", dir, error))?;
        let path = dir.join(format!("maple-torture-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| Failure::os("create", &path, error))?;
        scratch::keep_under(&path);
        Ok(Room { path })
    }

    fn campaign(&self, seed: u64, manner: Manner) -> Result<Campaign, Failure> {
        let exe = std::env::current_exe();
        let exe = exe.map_err(|error| Failure::file(format!("cannot find this program: {error}")))?;
        Ok(Campaign { seed, dir: self.path.clone(), exe, shows_progress: !manner.quiet })
    }

    fn clear(self) -> Result<(), Failure> {
        std::fs::remove_dir_all(&self.path).map_err(|error| Failure::os("remove", &self.path, error))
    }
}

fn torture(args: &TortureArgs, room: &Room, manner: Manner) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(seed_of_now);
    // Refused before the work, not after it.
    let to = args.report.as_ref().map(|file| Destination::of(file, args.force, &[])).transpose()?;
    let campaign = room.campaign(seed, manner)?;
    let options = RunOptions {
        seconds: args.seconds,
        budget: args.budget,
        only: args.only.iter().map(|n| n.to_string()).collect(),
    };
    let mut report = Report::new(&room.path, seed, options);
    let is_wanted = |harness: &&Harness| args.only.is_empty() || args.only.contains(&harness.name);
    let wanted: Vec<&'static Harness> = harnesses().filter(is_wanted).collect();
    let end = Instant::now() + Duration::from_secs(args.seconds);
    for (index, harness) in wanted.iter().copied().enumerate() {
        // What one leaves of its share is the others'; who cannot run here takes none.
        let runs = |harness: &&&Harness| (harness.needs)().is_ok();
        let left = wanted[index..].iter().filter(runs).count().max(1) as u32;
        let share = end.saturating_duration_since(Instant::now()) / left;
        if !campaign.run(harness, args.budget.unwrap_or(u64::MAX), share, &mut report) {
            break;
        }
    }
    let found = report.failure.as_ref().map(|failure| verdict(failure, room));
    let written = to.map_or(Ok(()), |to| to.write(&as_json(&report)));
    let printed = output::report(manner.json, &report, in_words);
    // What was found comes before what became of its report.
    found.map_or(Ok(()), Err).and(written).and(printed)
}

fn as_json(report: &Report) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(report).expect("a report is JSON");
    json.push(b'\n');
    json
}

/// What is to be said of a failure, and how to meet it again.
fn verdict(failure: &mapledb_sim::harness::Failure, room: &Room) -> Failure {
    let what = failure.what.replace('\n', ";");
    if failure.about == About::Harness {
        return Failure::file(format!("{} could not go on: {what}", failure.harness));
    }
    let how = match write_reproducer(failure, &room.path) {
        Ok(path) => format!("maple torture --replay {}", path.display()),
        Err(error) => format!("none, for it cannot be written in {}: {error}", room.path.display()),
    };
    let (harness, seed) = (&failure.harness, failure.seed);
    Failure::new(Kind::Damaged, format!("{harness}: seed {seed}: {what}; to meet it again: {how}"))
}

fn in_words(report: &Report, output: &mut Output) -> Result<(), Failure> {
    output.line(report.table())?;
    for row in report.rows.iter().filter(|row| row.done > 0) {
        output.line(format!("{}: {}", row.name, row.details()))?;
    }
    for why in report.rows.iter().flat_map(|row| &row.skipped) {
        output.line(format!("SKIP {why}"))?;
    }
    let violations = report.rows.iter().map(|row| row.violations).sum();
    output.line(format!(
        "{}, {} skipped; seed {}, {} on Linux {}",
        table::plural(violations, "violation", "violations"),
        report.skips(),
        report.seed,
        report.file_system,
        report.kernel,
    ))
}

fn replay(file: &Path, campaign: Campaign, manner: Manner) -> Result<(), Failure> {
    let found = Reproducer::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Failure::input(format!("{}: {error}", file.display())),
        _ => Failure::os("read", file, error),
    })?;
    match campaign.replay(&found.failure).map_err(Failure::file)? {
        Err(again) => {
            let (harness, seed) = (&again.harness, again.seed);
            let what = again.what.replace('\n', ";");
            Err(Failure::new(Kind::Damaged, format!("{harness}: seed {seed}: {what}")))
        }
        Ok(()) => {
            let replayed =
                Replayed { harness: found.failure.harness, seed: found.failure.seed, engine: ENGINE };
            output::report(manner.json, &replayed, Replayed::in_words)
        }
    }
}

/// A case that does not fail.
#[derive(Debug, Serialize)]
struct Replayed {
    harness: String,
    seed: u64,
    engine: &'static str,
}

impl Replayed {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let Replayed { harness, seed, engine } = self;
        output.line(format!("{harness} with seed {seed}: nothing is wrong with this case in engine {engine}"))
    }
}

/// A seed that differs from run to run, and is short enough to be typed.
fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ (now.as_secs() & 0xffff)
}
