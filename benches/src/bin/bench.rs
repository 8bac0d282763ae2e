//! Measures MapleDB beside its peers, writes the report, and holds it against the targets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mapledb_bench::Result;
use mapledb_bench::engines::{self, Peer};
use mapledb_bench::families::{self, Family, Worker};
use mapledb_bench::report;
use mapledb_bench::results::Results;
use mapledb_bench::suite::{Profile, Suite};
use mapledb_bench::targets::{self, Verdict};

/// MapleDB beside its peers, in one run.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure, and write results.json.
    Run(Run),
    /// Make the page and the curves of results.json.
    Report {
        /// The results [default: target/bench/results.json].
        #[arg(long)]
        results: Option<PathBuf>,
        /// Directory of the page [default: docs/benchmarks].
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Hold results.json against the targets.
    Targets {
        /// The results [default: docs/benchmarks/results.json].
        #[arg(long)]
        results: Option<PathBuf>,
        /// End with exit code 1 if one is missed.
        #[arg(long)]
        strict: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work in a process of its own: the benchmark itself calls this.
    #[command(hide = true)]
    Worker(Worker),
}

#[derive(clap::Args)]
struct Run {
    /// How much to measure.
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Only these families, separated by commas.
    #[arg(long, value_delimiter = ',')]
    families: Vec<String>,
    /// Only these engines, separated by commas.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Directory for the databases, on the file system to be measured [default: target/bench/data].
    #[arg(long, env = "MAPLE_BENCH_DIR")]
    dir: Option<PathBuf>,
    /// File for the results [default: target/bench/results.json].
    #[arg(long)]
    results: Option<PathBuf>,
    /// Go on where a run of the same profile, seed and engines was stopped.
    #[arg(long)]
    resume: bool,
    /// Seed of all keys and orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A peer that could not be built, to be noted as such: may be given several times.
    #[arg(long)]
    skipped: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Options::parse().what {
        What::Run(run) => run.measure(),
        What::Report { results, dir } => write_report(results, dir),
        What::Targets { results, strict, json } => hold_against_targets(results, strict, json),
        What::Worker(worker) => families::work(&worker).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn measured() -> PathBuf {
    root().join("target/bench/results.json")
}

fn pages() -> PathBuf {
    root().join("docs/benchmarks")
}

impl Run {
    fn measure(self) -> Result<ExitCode> {
        let families = self.chosen_families()?;
        let peers = self.chosen_peers()?;
        let path = self.results.clone().unwrap_or_else(measured);
        let dir = self.dir.clone().unwrap_or_else(|| root().join("target/bench/data"));
        let dir = dir.join(format!("run-{}", std::process::id()));
        println!("{} takes {}; databases in {}", self.profile.name(), self.profile.budget(), dir.display());
        let mut suite = Suite::new(self.profile, self.seed, peers, &dir, &std::env::current_exe()?)?;
        for peer in &self.skipped {
            suite.results.skipped.push(format!("{peer}: could not be built here"));
        }
        if self.resume && path.exists() {
            suite.resume(Results::load(&path)?)?;
        }
        let failed = suite.run(&families, &path)?;
        let (rows, skipped) = (suite.results.rows.len(), &suite.results.skipped);
        println!("{rows} rows in {}; {} skipped, {failed} families failed", path.display(), skipped.len());
        skipped.iter().for_each(|reason| println!("  SKIP {reason}"));
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn chosen_families(&self) -> Result<Vec<Family>> {
        let names: Vec<&str> = families::ALL.iter().map(|family| family.name).collect();
        refuse_unknown("family", &self.families, &names)?;
        let is_chosen = |family: &&Family| is_among(family.name, &self.families);
        Ok(families::ALL.iter().filter(is_chosen).copied().collect())
    }

    fn chosen_peers(&self) -> Result<Vec<Peer>> {
        let peers = engines::all();
        let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
        refuse_unknown("engine", &self.engines, &names)?;
        Ok(peers.into_iter().filter(|peer| is_among(peer.name, &self.engines)).collect())
    }
}

fn is_among(name: &str, chosen: &[String]) -> bool {
    chosen.is_empty() || chosen.iter().any(|chosen| chosen == name)
}

fn refuse_unknown(what: &str, chosen: &[String], names: &[&str]) -> Result<()> {
    match chosen.iter().find(|chosen| !names.contains(&chosen.as_str())) {
        Some(unknown) => {
            Err(format!("no {what} {unknown:?} in this build; there are {}", names.join(", ")).into())
        }
        None => Ok(()),
    }
}

fn write_report(results: Option<PathBuf>, dir: Option<PathBuf>) -> Result<ExitCode> {
    let dir = dir.unwrap_or_else(pages);
    report::write(&Results::load(&results.unwrap_or_else(measured))?, &dir)?;
    println!("report in {}", dir.join("README.md").display());
    Ok(ExitCode::SUCCESS)
}

fn hold_against_targets(results: Option<PathBuf>, strict: bool, json: bool) -> Result<ExitCode> {
    let judged = targets::judge(&Results::load(&results.unwrap_or_else(|| pages().join("results.json")))?);
    if json {
        println!("{}", serde_json::to_string_pretty(&judged)?);
    } else {
        for target in &judged {
            let (verdict, measure) = (target.verdict.name(), target.measure);
            println!(
                "{verdict:<12} {measure:<60} {:<12} {:>16}   aim: {}",
                target.engine, target.found, target.aimed_at
            );
        }
        let count = |verdict| judged.iter().filter(|target| target.verdict == verdict).count();
        let [pass, miss, open] = [Verdict::Pass, Verdict::Miss, Verdict::NotMeasured].map(count);
        println!("{pass} met, {miss} missed, {open} not measured");
    }
    let is_missed = judged.iter().any(|target| target.verdict == Verdict::Miss);
    Ok(if strict && is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
