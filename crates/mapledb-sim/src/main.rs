//! The harnesses, from the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use mapledb_sim::actor;
use mapledb_sim::campaign::{Campaign, write_reproducer};
use mapledb_sim::harness::{BASELINES, Failure, HARNESSES, Harness};
use mapledb_sim::recovery_time::{self, Plan};
use mapledb_sim::report::{Report, Reproducer, Row, RunOptions};
use mapledb_sim::scratch::{Scratch, own_mounts};

/// Crash images, faults and kills for MapleDB. Every failure prints its seed and the command that replays it.
#[derive(Parser)]
#[command(name = "mapledb-sim", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the harnesses.
    List,
    /// Run one harness.
    Run {
        /// Its name, as `list` has it.
        harness: String,
        /// Units of its work after which to end.
        #[arg(long, default_value_t = u64::MAX)]
        budget: u64,
        /// Seconds after which to end.
        #[arg(long, default_value_t = 86_400, value_parser = seconds())]
        seconds: u64,
        /// Do one case again: what a failure printed.
        #[arg(long)]
        case: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Run several harnesses, one after the other, and print a table.
    All {
        /// How much of each.
        #[arg(long, value_enum, default_value_t = Profile::Smoke)]
        profile: Profile,
        /// These alone.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Seconds after which each ends at the latest.
        #[arg(long, default_value_t = 86_400, value_parser = seconds())]
        seconds_each: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Do the case of a reproducer file again.
    Replay {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Measure how long an opening takes that recovers, by the size of the file.
    RecoveryTime {
        /// Where the files are made; they are removed at the end.
        #[arg(long)]
        dir: PathBuf,
        /// The largest file; from 10 MB on each is ten times as large as the one before.
        #[arg(long, default_value_t = 100_000_000)]
        max_bytes: u64,
        /// Openings of each file after each kind of commit.
        #[arg(long, default_value_t = 9)]
        samples: u32,
        /// Draw the medians.
        #[arg(long)]
        svg: Option<PathBuf>,
        /// Write the figures as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Print the table of rows gathered from reports, and from lines `ROW {…}` of other harnesses' output.
    Table {
        /// Reports, and files with such lines.
        files: Vec<PathBuf>,
        /// Write them as one report.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Place {
    /// What everything random derives from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The directory to work in; by default one that is made for it under the system's directory for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write a report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    /// What every change must pass: a twentieth or more.
    Smoke,
    /// What a release must pass.
    Crash,
    /// For as long as `--seconds-each` says.
    Long,
}

fn main() -> ExitCode {
    if let Some(code) = actor::run_if_asked() {
        return code;
    }
    let verb = Arguments::parse().verb;
    own_mounts();
    match act(verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("mapledb-sim: {why}");
            ExitCode::from(2)
        }
    }
}

/// Up to a year: more than that no clock counts on.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=31_536_000)
}

fn act(verb: Verb) -> Result<bool, String> {
    match verb {
        Verb::List => {
            for harness in HARNESSES.iter().chain(BASELINES) {
                println!("{:4} {:10} {} ({})", harness.id, harness.name, harness.what, harness.unit);
            }
            Ok(true)
        }
        Verb::Run { harness, budget, seconds, case: Some(case), place } => {
            let _ = (budget, seconds);
            let harness = named(&harness)?;
            let case = serde_json::from_str(&case).map_err(|error| format!("--case: {error}"))?;
            let failure = Failure { harness: harness.name.to_string(), ..Failure::new(place.seed, case, "") };
            replay(&failure, &place)
        }
        Verb::Run { harness, budget, seconds, case: None, place } => {
            let harness = named(&harness)?;
            let asked = (budget < u64::MAX).then_some(budget);
            let options = RunOptions { seconds, budget: asked, only: vec![harness.name.to_string()] };
            run(&[(harness, budget)], options, &place)
        }
        Verb::All { profile, only, seconds_each, place } => {
            for name in &only {
                named(name)?;
            }
            let is_wanted = |harness: &&Harness| {
                only.is_empty() || only.iter().any(|name| name == harness.name || name == harness.id)
            };
            let budget = |harness: &'static Harness| match profile {
                Profile::Smoke => harness.smoke,
                Profile::Crash => harness.crash,
                Profile::Long => u64::MAX,
            };
            let baselines = if only.is_empty() { &[] } else { BASELINES };
            let plan =
                HARNESSES.iter().chain(baselines).filter(is_wanted).map(|harness| (harness, budget(harness)));
            let plan = plan.collect::<Vec<_>>();
            let options = RunOptions { seconds: seconds_each, budget: None, only: only.clone() };
            run(&plan, options, &place)
        }
        Verb::Replay { file, place } => {
            let found = Reproducer::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            replay(&found.failure, &place)
        }
        Verb::RecoveryTime { dir, max_bytes, samples, svg, json } => {
            recovery_time(&Plan { dir, max_bytes, samples }, svg.as_deref(), json.as_deref())
        }
        Verb::Table { files, json } => table(&files, json.as_deref()),
    }
}

fn named(name: &str) -> Result<&'static Harness, String> {
    Harness::named(name).ok_or_else(|| format!("there is no harness {name:?}; `mapledb-sim list` shows them"))
}

/// The campaign, and the directory that goes with it.
fn campaign(place: &Place) -> Result<(Campaign, Option<Scratch>), String> {
    let (dir, scratch) = match &place.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            (dir.clone(), None)
        }
        None => {
            let base = std::env::temp_dir();
            let made = Scratch::under(&base).map_err(|error| format!("{}: {error}", base.display()))?;
            (made.path().to_path_buf(), Some(made))
        }
    };
    let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
    let exe = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    Ok((Campaign { seed: place.seed, dir, exe, shows_progress: !place.quiet }, scratch))
}

fn run(plan: &[(&'static Harness, u64)], options: RunOptions, place: &Place) -> Result<bool, String> {
    let (campaign, scratch) = campaign(place)?;
    let time = Duration::from_secs(options.seconds);
    let mut report = Report::new(&campaign.dir, place.seed, options);
    for (harness, budget) in plan {
        let goes_on = campaign.run(harness, *budget, time, &mut report);
        if let Some(row) = report.rows.last() {
            println!("{} {}: {} {}; {}", row.id, row.name, row.done, row.unit, row.details());
            row.skipped.iter().for_each(|why| println!("SKIP {why}"));
        }
        if !goes_on {
            break;
        }
    }
    finish(&report, place.json.as_deref())?;
    if let Some(failure) = &report.failure {
        // What a failure needs stays, wherever it was made.
        std::mem::forget(scratch);
        eprintln!("{failure}");
        let written = write_reproducer(failure, &campaign.dir);
        let path = written.map_err(|error| format!("{}: {error}", campaign.dir.display()))?;
        eprintln!("reproducer: {}", path.display());
    }
    Ok(report.failure.is_none())
}

fn finish(report: &Report, json: Option<&Path>) -> Result<(), String> {
    println!("\n{}", report.table());
    println!("seed {}, {} skipped", report.seed, report.skips());
    match json {
        Some(path) => report.write(path).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    }
}

fn replay(failure: &Failure, place: &Place) -> Result<bool, String> {
    let (campaign, _scratch) = campaign(place)?;
    match campaign.replay(failure)? {
        Ok(()) => {
            println!("{}: seed {}: nothing is wrong with this case now", failure.harness, failure.seed);
            Ok(true)
        }
        Err(again) => {
            eprintln!("{again}");
            Ok(false)
        }
    }
}

fn recovery_time(plan: &Plan, svg: Option<&Path>, json: Option<&Path>) -> Result<bool, String> {
    std::fs::create_dir_all(&plan.dir).map_err(|error| format!("{}: {error}", plan.dir.display()))?;
    let times = recovery_time::measure(plan, &mut |what| eprintln!("{what}"))?;
    println!(
        "{:14} {:>10} {:>10} {:>10} {:>10}",
        "last commit", "file MB", "median ms", "shortest", "longest"
    );
    for point in &times.points {
        let kind = format!("{:?}", point.last_commit);
        let mb = point.file_bytes as f64 / 1e6;
        let (median, shortest, longest) = (point.median_ms, point.shortest_ms, point.longest_ms);
        println!("{kind:14} {mb:>10.1} {median:>10.2} {shortest:>10.2} {longest:>10.2}");
    }
    for (kind, ratio) in &times.ratios {
        println!("{kind:?}: the largest file takes {ratio:.2} times as long as the smallest");
    }
    println!("kernel {}, {}", times.kernel, times.file_system);
    if let Some(svg) = svg {
        recovery_time::plot(&times, svg)?;
    }
    if let Some(json) = json {
        let text = serde_json::to_string_pretty(&times).map_err(|error| error.to_string())?;
        std::fs::write(json, text).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    if !times.is_bounded() {
        println!("that is more than 1.5 times");
    }
    Ok(!times.is_broken())
}

fn table(files: &[PathBuf], json: Option<&Path>) -> Result<bool, String> {
    let mut report = Report::new(Path::new("."), 0, RunOptions::default());
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        if let Ok(found) = serde_json::from_str::<Report>(&text) {
            report.seed = found.seed;
            report.rows.extend(found.rows);
            report.failure = report.failure.or(found.failure);
            continue;
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("ROW ")) {
            let row: Row =
                serde_json::from_str(line).map_err(|error| format!("{}: {error}", file.display()))?;
            report.rows.push(row);
        }
    }
    report.rows.sort_by_key(|row| row.id.trim_start_matches('T').parse::<u32>().unwrap_or(u32::MAX));
    for row in &report.rows {
        println!("{} {}: {}", row.id, row.name, row.details());
        row.skipped.iter().for_each(|why| println!("   skipped: {why}"));
    }
    finish(&report, json)?;
    let idle: Vec<_> = report.rows.iter().filter(|row| row.done == 0 && row.skipped.is_empty()).collect();
    idle.iter().for_each(|row| println!("{} {}: nothing was done, and nobody knows why", row.id, row.name));
    Ok(idle.is_empty() && report.rows.iter().all(|row| row.violations == 0))
}
