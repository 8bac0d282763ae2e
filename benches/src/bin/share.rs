//! From one to sixteen processes that read all of one file: memory of each and of all, and reads a second.
//!
//! The program starts itself once for each process. A process says a line when it is open, when it has read
//! everything, and when it knows its memory; after each it waits for a line before it goes on.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use bytesize::ByteSize;
use clap::Parser;
use mapledb_bench::Result;
use mapledb_bench::document;
use mapledb_bench::machine::{self, Machine};
use mapledb_bench::records::{Files, PAGE_BYTES};
use mapledb_bench::share::{self, Memory, Reader, Row};

/// What one process that only reads may have for itself, page tables included.
const PRIVATE_TARGET: u64 = 20_000_000;

/// Least size of a file: below it the program itself is most of what is measured.
const LEAST_SIZE: u64 = 1 << 20;

/// Measures the memory of processes that share one file through MapleDB, beside processes with a cache each.
#[derive(Parser)]
#[command(after_help = "\
Exit code: 0 after a whole run, 1 where something could not be done or a byte read was wrong, 2 for wrong arguments.")]
struct Options {
    /// Bytes of records.
    #[arg(long, default_value = "512MiB")]
    size: ByteSize,
    /// Numbers of processes, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16")]
    processes: Vec<std::num::NonZeroU8>,
    /// The share of the file that a private cache holds, in percent.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=100))]
    cache_percent: u64,
    /// How processes read, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "maple,cache")]
    readers: Vec<Reader>,
    /// Directory for the files, on the file system to be measured [default: target/bench/data].
    #[arg(long, env = "MAPLE_BENCH_DIR")]
    data_dir: Option<PathBuf>,
    /// File for the rows as JSON [default: target/bench/share.json].
    #[arg(long)]
    json: Option<PathBuf>,
    /// Markdown page whose block `share` is written anew.
    #[arg(long)]
    page: Option<PathBuf>,
    /// The number of this process among the readers, which makes it one.
    #[arg(long, hide = true, requires = "data_dir")]
    reader: Option<u64>,
}

impl Options {
    fn pages(&self) -> u64 {
        self.size.as_u64() / PAGE_BYTES as u64
    }

    fn frames(&self) -> u64 {
        (self.pages() * self.cache_percent / 100).max(1)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.reader {
        Some(number) => read(&options, number),
        None => share(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("share: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A reading process.
fn read(options: &Options, number: u64) -> Result<()> {
    let dir = options.data_dir.as_deref().ok_or("--reader needs --data-dir")?;
    let reader = *options.readers.first().ok_or("--reader needs --readers")?;
    let files = Files::at(dir, options.pages());
    let way = reader.open(&files, options.frames())?;
    say("open")?;
    wait()?;
    share::read_everything(way.as_ref(), files.records(), number)?;
    say("done")?;
    wait()?;
    say(&serde_json::to_string(&Memory::now(reader.file(&files))?)?)?;
    wait()
}

fn say(line: &str) -> Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

fn wait() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

/// A reading process, seen from outside.
struct Process {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Process {
    fn start(options: &Options, dir: &Path, reader: Reader, number: usize) -> Result<Self> {
        let name = match reader {
            Reader::Maple => "maple",
            Reader::Cache => "cache",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--reader", &number.to_string(), "--readers", name]).arg("--data-dir").arg(dir);
        command.args(["--size", &options.size.as_u64().to_string()]);
        command.args(["--cache-percent", &options.cache_percent.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let tell = child.stdin.take().ok_or("a reader has no input")?;
        let hear = BufReader::new(child.stdout.take().ok_or("a reader has no output")?);
        Ok(Self { child, tell, hear })
    }

    fn go_on(&mut self) -> Result<()> {
        Ok(self.tell.write_all(b"\n")?)
    }

    /// The next line, or the error that the process ended with instead.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.hear.read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("a reading process failed, with {}", self.child.wait()?).into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is left behind by an error still waits for a line.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets so many processes read everything at once.
fn at_once(options: &Options, dir: &Path, reader: Reader, processes: usize) -> Result<Row> {
    let files = Files::at(dir, options.pages());
    let mut running = Vec::new();
    for number in 0..processes {
        running.push(Process::start(options, dir, reader, number)?);
    }
    everyone(&mut running, Process::line)?;
    let began = Instant::now();
    everyone(&mut running, Process::go_on)?;
    everyone(&mut running, Process::line)?;
    let seconds = began.elapsed().as_secs_f64();
    everyone(&mut running, Process::go_on)?;
    let lines = everyone(&mut running, Process::line)?;
    let memory: Vec<Memory> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<std::result::Result<_, _>>()?;
    Ok(Row {
        reader,
        processes,
        file_bytes: std::fs::metadata(reader.file(&files))?.len(),
        reads_per_second: (files.records() * processes as u64) as f64 / seconds,
        memory,
    })
}

fn everyone<T>(running: &mut [Process], act: impl Fn(&mut Process) -> Result<T>) -> Result<Vec<T>> {
    running.iter_mut().map(act).collect()
}

/// What a run found.
#[derive(serde::Serialize)]
struct Measured {
    #[serde(flatten)]
    machine: Machine,
    load_average: Option<f64>,
    cache_percent: u64,
    rows: Vec<Row>,
}

fn share(options: &Options) -> Result<()> {
    if options.size.as_u64() < LEAST_SIZE {
        return Err(format!("--size is too small: at least {}", ByteSize(LEAST_SIZE)).into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let parent = options.data_dir.clone().unwrap_or_else(|| target.join("data"));
    let dir = parent.join(format!("share-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let outcome = measure(options, &dir);
    std::fs::remove_dir_all(&dir)?;
    let measured = outcome?;
    let json = options.json.clone().unwrap_or_else(|| target.join("share.json"));
    report(options, &measured, &json)
}

fn measure(options: &Options, dir: &Path) -> Result<Measured> {
    let versions = [("mapledb".to_owned(), machine::locked_version("mapledb").to_owned())];
    let machine = Machine::here(dir, versions.into())?;
    println!("{}, Linux {}, {}", machine.machine, machine.kernel, machine.file_system);
    let files = Files::build(dir, options.pages())?;
    let mut rows = Vec::new();
    for processes in &options.processes {
        for &reader in &options.readers {
            eprintln!("{} x {}", processes, reader.name());
            rows.push(at_once(options, dir, reader, usize::from(processes.get()))?);
        }
    }
    drop(files);
    rows.sort_by_key(|row| row.reader.name());
    Ok(Measured {
        machine,
        load_average: machine::load_average(),
        cache_percent: options.cache_percent,
        rows,
    })
}

fn report(options: &Options, measured: &Measured, json: &Path) -> Result<()> {
    println!("sizes in MiB; a private cache holds {} % of the file", measured.cache_percent);
    print!("{}", share::aligned(&measured.rows));
    println!("{}", verdict(&measured.rows));
    if let Some(parent) = json.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(json, serde_json::to_string_pretty(measured)? + "\n")
        .map_err(|error| format!("{}: {error}", json.display()))?;
    if let Some(page) = &options.page {
        document::update(page, "share", &markdown(measured))?;
    }
    Ok(())
}

fn verdict(rows: &[Row]) -> String {
    let most =
        rows.iter().filter(|row| row.reader == Reader::Maple).map(Row::most_private).max().unwrap_or(0);
    let met = if most < PRIVATE_TARGET { "PASS" } else { "MISS" };
    format!(
        "{met}: at most {:.1} MB private to a process that only reads by MapleDB, page tables included; target {} MB",
        most as f64 / 1e6,
        PRIVATE_TARGET / 1_000_000
    )
}

fn markdown(measured: &Measured) -> String {
    let machine = &measured.machine;
    format!(
        "{}, Linux {}, {}; sizes in MiB; a private cache holds {} % of the file.\n\n{}\n{}",
        machine.machine,
        machine.kernel,
        machine.file_system,
        measured.cache_percent,
        share::markdown(&measured.rows),
        verdict(&measured.rows)
    )
}
