//! The demo: a GeoIP service as in production. Several processes answer lookups from one file while another one
//! replaces the whole table under them, again and again.
//!
//! Every answer is checked, and so is the checking: a first run replaces the table in two commits, which the
//! readers must notice.

use std::env;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::message::{Commits, Job, Role};
use crate::service::{Outcome, Service};
use crate::source::{INSTALLED, Wanted, package};

mod address;
mod generation;
mod key;
mod message;
mod parse;
mod process;
mod queries;
mod reader;
mod reference;
mod service;
mod smaps;
mod source;
mod store;
mod tables;
mod verdict;
mod writer;

/// Runs a GeoIP service on MapleDB: reader processes answer while a writer process replaces the table.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// `real` (an installed tor-geoipdb, else that package fetched, else an error), `sample` (generated), or
    /// files in the form of Tor's geoip and geoip6. Without it: real data if there is some, else the sample
    data: Vec<String>,
    /// Reader processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    readers: u32,
    /// How often the writer replaces the whole table
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    replacements: u32,
    /// The first reader's queries; the next reader's come from the next number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the databases and a fetched package go
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
    /// The `maple` command that checks the files [default: beside this program]
    #[arg(long)]
    maple: Option<PathBuf>,
}

/// Replacements of the canary, two commits each.
const CANARY_REPLACEMENTS: u32 = 3;

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let is_worker = words.next().is_some_and(|word| word == process::WORKER) && words.next().is_none();
    let result = if is_worker { work().map(|()| vec![]) } else { demo(Arguments::parse()) };
    match result {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("FAILED: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What this program does as a process of the service.
fn work() -> Result<()> {
    let job: Job = message::receive(&mut io::stdin().lock())?.context("no job was given")?;
    let data = job.source.ranges()?;
    let result = match job.role {
        Role::Reader { seed } => reader::run(&data, &job.file, seed),
        Role::Writer { replacements, commits } => writer::run(&data, &job.file, replacements, commits),
    };
    result.context(job.name)
}

/// The whole demo; answers with what was not as it must be.
fn demo(arguments: Arguments) -> Result<Vec<String>> {
    let maple = maple(&arguments)?;
    fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot create {}", arguments.dir.display()))?;
    let directory = fs::canonicalize(&arguments.dir)?;
    let _alone = alone(&directory)?;
    let fetch = || package::fetch(&directory.join("tor-geoipdb"));
    let source = source::choose(Wanted::of_words(&arguments.data), Path::new(INSTALLED), fetch)?;
    say(&source.headline(&source.ranges()?))?;

    let service = |name: &str, replacements, commits| Service {
        source: source.clone(),
        file: directory.join(name),
        readers: arguments.readers,
        replacements,
        commits,
        seed: arguments.seed,
    };
    let canary = service("canary.maple", CANARY_REPLACEMENTS, Commits::Two);
    let main = service("geoip.maple", arguments.replacements, Commits::One);
    let mut faults = run_canary(&canary)?;
    faults.extend(run_main(&main)?);
    for file in [canary.file, main.file] {
        faults.extend(check(&maple, &file)?);
    }
    if faults.is_empty() {
        say("\nall as it must be")?;
    }
    Ok(faults)
}

/// Holds the directory for this demo: it removes the databases of an earlier one, and must not while that runs.
fn alone(directory: &Path) -> Result<File> {
    let file = File::create(directory.join("running"))?;
    file.try_lock().with_context(|| format!("another demo runs in {}", directory.display()))?;
    Ok(file)
}

fn run_canary(service: &Service) -> Result<Vec<String>> {
    let outcome = service.run().context("the canary failed")?;
    let (mixed, transactions) = mixed(&outcome);
    let faults = outcome.canary_faults();
    say(&format!(
        "canary: {} replacements in two commits each: mixed={mixed} of {transactions} read transactions, {}",
        service.replacements,
        if faults.is_empty() { "caught as it must be" } else { "NOT CAUGHT" },
    ))?;
    Ok(faults)
}

fn run_main(service: &Service) -> Result<Vec<String>> {
    let outcome = service.run().context("the service failed")?;
    say(&format!("\n{} readers while one writer replaces the table", service.readers))?;
    say(&tables::speeds(&outcome))?;
    say(&format!("\n{}", tables::answers(&outcome)))?;
    say(&format!("\n{}\n", tables::memories(&outcome)))?;
    say(&tables::replacements(&outcome))?;
    say(&tables::growth(&outcome))?;
    let (mixed, transactions) = mixed(&outcome);
    say(&format!("mixed={mixed} of {transactions} read transactions"))?;
    Ok(outcome.faults())
}

fn mixed(outcome: &Outcome) -> (u64, u64) {
    let verdicts = outcome.readers.iter().map(|reader| &reader.report.verdict);
    verdicts.fold((0, 0), |(mixed, all), verdict| (mixed + verdict.mixed, all + verdict.transactions))
}

fn check(maple: &Path, file: &Path) -> Result<Option<String>> {
    say(&format!("\nmaple check {}", file.display()))?;
    let status = Command::new(maple).arg("check").arg(file).status();
    let status = status.with_context(|| format!("cannot run {}", maple.display()))?;
    Ok((!status.success()).then(|| format!("maple check {}: {status}", file.display())))
}

/// The `maple` command, found before anything is run for a minute.
fn maple(arguments: &Arguments) -> Result<PathBuf> {
    let beside = env::current_exe().context("cannot find this program")?.with_file_name("maple");
    let maple = arguments.maple.clone().unwrap_or(beside);
    ensure!(maple.is_file(), "{} is not there: cargo build --release -p mapledb-cli", maple.display());
    Ok(maple)
}

fn say(line: &(impl Display + ?Sized)) -> Result<()> {
    writeln!(io::stdout().lock(), "{line}").context("cannot write to stdout")
}
