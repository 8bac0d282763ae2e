//! Reads through a map, by `pread`, through a cache in user space and by MapleDB, timed and counted.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use bytesize::ByteSize;
use clap::Parser;
use mapledb_bench::Result;
use mapledb_bench::document;
use mapledb_bench::machine::{self, Machine};
use mapledb_bench::readpath::limit::{self, Group};
use mapledb_bench::readpath::row::{self, Row};
use mapledb_bench::readpath::scenario::{Plan, Scenarios};
use mapledb_bench::readpath::{plot, state};
use mapledb_bench::records::{Files, PAGE_BYTES, Unit};

/// The file is so many times the memory that its readers may use, where that is limited.
const FILE_TO_MEMORY: u64 = 4;

/// Least memory that a process of this program gets along with.
const LEAST_MEMORY: u64 = 32 << 20;

/// Measures what a read costs through a map, by pread, through a cache in user space, and by MapleDB.
#[derive(Parser)]
#[command(after_help = "\
States: warm (open for long), fresh (just opened, file in the page cache), cold (just opened, file dropped from the page
cache), limited (open for long, file four times as large as the memory allowed, by a memory control group).
Exit code: 0 after a whole run, 1 where something could not be done or a byte read was wrong, 2 for wrong arguments.")]
struct Options {
    /// A run of about a minute on a smaller file.
    #[arg(long)]
    quick: bool,
    /// Bytes of the file [default: 1GiB, quick 256MiB].
    #[arg(long)]
    size: Option<ByteSize>,
    /// Rounds of each scenario [default: 5, quick 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = ["warm", "fresh", "cold", "limited"])]
    states: Vec<String>,
    /// Seed of all orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory for the files, on the file system to be measured [default: target/bench/data].
    #[arg(long, env = "MAPLE_BENCH_DIR")]
    data_dir: Option<PathBuf>,
    /// File for the rows as JSON [default: target/bench/readpath.json].
    #[arg(long)]
    json: Option<PathBuf>,
    /// Markdown page whose block `readpath` is written anew.
    #[arg(long)]
    page: Option<PathBuf>,
    /// File for a plot (SVG) of times over threads.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// The control group to join before the limited states, which are then all that is done.
    #[arg(long, hide = true, requires = "data_dir")]
    inside: Option<PathBuf>,
}

impl Options {
    fn file_bytes(&self) -> u64 {
        self.size.map_or(if self.quick { 256 << 20 } else { 1 << 30 }, |size| size.as_u64())
    }

    fn memory_bytes(&self) -> u64 {
        self.file_bytes() / FILE_TO_MEMORY
    }

    fn pages(&self) -> u64 {
        self.file_bytes() / PAGE_BYTES as u64
    }

    fn wants(&self, state: &str) -> bool {
        self.states.is_empty() || self.states.iter().any(|wanted| wanted == state)
    }

    fn plan(&self) -> Result<Plan> {
        let most = std::thread::available_parallelism()?.get() * 2;
        let threads: Vec<usize> = std::iter::successors(Some(1), |threads| Some(threads * 2))
            .take_while(|&threads| threads < most)
            .collect();
        let threads: Vec<usize> = threads.into_iter().chain([most]).collect();
        Ok(Plan {
            rounds: self.rounds.unwrap_or(if self.quick { 3 } else { 5 }) as usize,
            warm_reads: if self.quick { 20_000 } else { 100_000 },
            other_reads: if self.quick { 1_000 } else { 2_000 },
            slow_threads: if self.quick { vec![1, most] } else { threads.clone() },
            slow_units: if self.quick { vec![Unit::Record] } else { vec![Unit::Record, Unit::Page] },
            threads,
            seed: self.seed,
        })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.inside {
        Some(group) => inside(&options, group),
        None => outside(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("readpath: {error}");
            ExitCode::FAILURE
        }
    }
}

fn outside(options: &Options) -> Result<()> {
    if options.memory_bytes() < LEAST_MEMORY {
        return Err(
            format!("--size is too small: at least {}", ByteSize(LEAST_MEMORY * FILE_TO_MEMORY)).into()
        );
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let parent = options.data_dir.clone().unwrap_or_else(|| target.join("data"));
    let dir = parent.join(format!("readpath-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let outcome = measure(options, &dir);
    std::fs::remove_dir_all(&dir)?;
    let measured = outcome?;
    let json = options.json.clone().unwrap_or_else(|| target.join("readpath.json"));
    report(options, &measured, &json)
}

/// What a run found.
#[derive(serde::Serialize)]
struct Measured {
    #[serde(flatten)]
    machine: Machine,
    load_average: Option<f64>,
    profile: &'static str,
    file_bytes: u64,
    memory_bytes_where_limited: u64,
    rows: Vec<Row>,
    skipped: Vec<String>,
    findings: Vec<String>,
}

fn measure(options: &Options, dir: &Path) -> Result<Measured> {
    let versions = ["mapledb", "quick_cache", "memmap2"];
    let versions: BTreeMap<_, _> =
        versions.iter().map(|name| ((*name).to_owned(), machine::locked_version(name).to_owned())).collect();
    let machine = Machine::here(dir, versions)?;
    println!("{}, Linux {}, {}", machine.machine, machine.kernel, machine.file_system);
    println!(
        "{} of 256-byte records in a plain file, and the same in a MapleDB table",
        ByteSize(options.file_bytes())
    );
    let files = Files::build(dir, options.pages())?;
    println!("{}", Row::head());
    let (rows, skipped) = all_states(options, &files, dir)?;
    let findings = row::findings(&rows);
    Ok(Measured {
        machine,
        load_average: machine::load_average(),
        profile: if options.quick { "quick" } else { "full" },
        file_bytes: options.file_bytes(),
        memory_bytes_where_limited: options.memory_bytes(),
        rows,
        skipped,
        findings,
    })
}

fn all_states(options: &Options, files: &Files, dir: &Path) -> Result<(Vec<Row>, Vec<String>)> {
    let plan = options.plan()?;
    let mut rows: Vec<Row> = Vec::new();
    let mut skipped = Vec::new();
    let mut told = |row: Row| {
        println!("{}", row.line(rows.last().is_none_or(|last| last.scenario != row.scenario)));
        rows.push(row);
    };
    let scenarios = Scenarios { files, plan: &plan };
    if options.wants("warm") {
        scenarios.warm(&mut told)?;
    }
    if options.wants("fresh") {
        scenarios.fresh(&mut told)?;
    }
    if options.wants("cold") {
        scenarios.cold(&mut told)?;
    }
    if options.wants("limited") {
        match Group::new(options.memory_bytes()) {
            Ok(group) => limited(options, dir, &group, &mut told)?,
            Err(reason) => {
                println!("SKIP limited: {reason}");
                skipped.push(format!("limited: {reason}"));
            }
        }
    }
    Ok((rows, skipped))
}

/// Runs this program once more, inside of `group`, and takes its rows line by line.
fn limited(options: &Options, dir: &Path, group: &Group, told: &mut dyn FnMut(Row)) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--inside").arg(group.path()).arg("--data-dir").arg(dir);
    command.args(["--seed", &options.seed.to_string(), "--size", &options.file_bytes().to_string()]);
    command.args(options.quick.then_some("--quick"));
    command.args(options.rounds.map(|rounds| format!("--rounds={rounds}")));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("the limited process has no output")?;
    for line in std::io::BufReader::new(output).lines() {
        told(serde_json::from_str(&line?)?);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the process with limited memory: {status}").into()) }
}

fn inside(options: &Options, group: &Path) -> Result<()> {
    limit::join(group)?;
    let dir = options.data_dir.as_deref().ok_or("--inside needs --data-dir")?;
    let files = Files::at(dir, options.pages());
    state::drop_cached(&files)?;
    let plan = options.plan()?;
    let mut told = |row: Row| {
        println!("{}", serde_json::to_string(&row).expect("a row has only names and numbers"));
    };
    Scenarios { files: &files, plan: &plan }.limited(options.memory_bytes(), &mut told)
}

fn report(options: &Options, measured: &Measured, json: &Path) -> Result<()> {
    println!();
    for finding in &measured.findings {
        println!("{finding}");
    }
    if let Some(parent) = json.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(json, serde_json::to_string_pretty(measured)? + "\n")
        .map_err(|error| format!("{}: {error}", json.display()))?;
    if let Some(path) = &options.plot {
        plot::draw(&measured.rows, path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(page) = &options.page {
        document::update(page, "readpath", &markdown(measured))?;
    }
    Ok(())
}

fn markdown(measured: &Measured) -> String {
    let machine = &measured.machine;
    let mut text = format!(
        "{}, Linux {}, {}; file of {}, {} where memory is limited; {} profile; load average at the end {}.\n\n",
        machine.machine,
        machine.kernel,
        machine.file_system,
        ByteSize(measured.file_bytes),
        ByteSize(measured.memory_bytes_where_limited),
        measured.profile,
        measured.load_average.map_or_else(|| "unknown".to_owned(), |load| load.to_string())
    );
    text += &row::markdown(&measured.rows);
    for skipped in &measured.skipped {
        text += &format!("\nSKIP {skipped}\n");
    }
    text += "\n**Who beats the map**: ";
    text + &measured.findings.join("\n- ").replacen("\n-", "\n\n-", 1)
}
