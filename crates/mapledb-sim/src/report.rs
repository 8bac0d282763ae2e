//! What a run prints and writes: a row for each harness, the surroundings, and a file that replays a failure.
//!
//! The report is one JSON object:
//!
//! | field | what |
//! |---|---|
//! | `schema` | 1 |
//! | `engine` | the version of the engine |
//! | `format` | the version of the file format |
//! | `kernel`, `machine` | release and machine of the system |
//! | `file_system` | what the directory of the run lies on |
//! | `seed` | the seed of the run |
//! | `options` | `seconds`, in all or for each harness, `budget` or null, `only`: what was asked for |
//! | `rows` | one for each harness: `id`, `name`, `unit`, `done`, `asked`, `seconds`, `violations`, `counts`, `figures`, `skipped` |
//! | `failure` | of the run, or null: what a reproducer file holds |
//!
//! A reproducer file is one JSON object: `schema` (1), `engine`, and the fields of [`Failure`]: `harness`, `seed`, `case`,
//! `what` and `about`. `mapledb-sim replay FILE` and `maple torture --replay FILE` do that case again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::harness::{Failure, Figure, Harness, Tally};

/// The version of report and reproducer.
pub const SCHEMA: u32 = 1;
/// The version of the engine: all crates of the workspace have one.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// What one harness did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `T1` to `T13`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its work is counted in.
    pub unit: String,
    /// Units done.
    pub done: u64,
    /// Units asked for; 0 if the time alone was to end it.
    #[serde(default)]
    pub asked: u64,
    /// How long it took.
    pub seconds: f64,
    /// Broken laws.
    pub violations: u64,
    /// Further counts.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// What was measured.
    #[serde(default)]
    pub figures: BTreeMap<String, Figure>,
    /// What could not run, with the reasons.
    #[serde(default)]
    pub skipped: Vec<String>,
}

impl Row {
    /// The row of a run.
    pub fn new(harness: &Harness, asked: u64, tally: &Tally, took: Duration, has_failed: bool) -> Row {
        Row {
            id: harness.id.to_string(),
            name: harness.name.to_string(),
            unit: harness.unit.to_string(),
            done: tally.units(),
            asked: if asked == u64::MAX { 0 } else { asked },
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            violations: u64::from(has_failed),
            counts: tally.counts().iter().map(|(name, count)| (name.to_string(), *count)).collect(),
            figures: tally
                .figures()
                .iter()
                .map(|(name, figure)| (name.to_string(), figure.clone()))
                .collect(),
            skipped: tally.skipped().to_vec(),
        }
    }

    /// The row of a harness that cannot run here.
    pub fn skipped(harness: &Harness, why: String) -> Row {
        let row = Row::new(harness, 0, &Tally::default(), Duration::ZERO, false);
        Row { skipped: vec![why], ..row }
    }

    /// Its counts and figures in one line.
    pub fn details(&self) -> String {
        let counts = self.counts.iter().map(|(name, count)| format!("{name} {count}"));
        let figures = self.figures.iter().map(|(name, figure)| {
            format!("{name} {} {}", (figure.value * 100.0).round() / 100.0, figure.unit)
        });
        counts.chain(figures).collect::<Vec<_>>().join(", ")
    }
}

/// What a run was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Seconds after which to end, in all or for each harness.
    pub seconds: u64,
    /// Units after which each harness ends; `None` if only the time does.
    pub budget: Option<u64>,
    /// The harnesses; none means all.
    pub only: Vec<String>,
}

/// What a run did, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this structure.
    pub schema: u32,
    /// The version of the engine.
    pub engine: String,
    /// The version of the file format.
    pub format: u32,
    /// The kernel's release.
    pub kernel: String,
    /// The machine.
    pub machine: String,
    /// The file system of the run's directory.
    pub file_system: String,
    /// The seed of the run.
    pub seed: u64,
    /// What was asked for.
    #[serde(default)]
    pub options: RunOptions,
    /// A row for each harness.
    pub rows: Vec<Row>,
    /// The failure that ended it.
    pub failure: Option<Failure>,
}

impl Report {
    /// A report without rows.
    pub fn new(dir: &Path, seed: u64, options: RunOptions) -> Report {
        let of_kernel = |name: &str| {
            let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name));
            text.map_or_else(|_| "unknown".to_string(), |text| text.trim_end().to_string())
        };
        Report {
            schema: SCHEMA,
            engine: ENGINE.to_string(),
            format: mapledb_format::meta::FORMAT_VERSION,
            kernel: of_kernel("osrelease"),
            machine: std::env::consts::ARCH.to_string(),
            file_system: file_system_of(dir).unwrap_or_else(|| "unknown".to_string()),
            seed,
            options,
            rows: Vec::new(),
            failure: None,
        }
    }

    /// How many parts were skipped.
    pub fn skips(&self) -> usize {
        self.rows.iter().map(|row| row.skipped.len()).sum()
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// The table of rows, as people read it.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["", "harness", "done", "of", "", "seconds", "per minute", "violations"]);
        for row in &self.rows {
            let rate = if row.seconds > 0.0 { row.done as f64 / row.seconds * 60.0 } else { 0.0 };
            let asked = if row.asked == 0 { "-".to_string() } else { row.asked.to_string() };
            table.add_row([
                row.id.clone(),
                row.name.clone(),
                row.done.to_string(),
                asked,
                row.unit.clone(),
                format!("{:.1}", row.seconds),
                format!("{rate:.0}"),
                row.violations.to_string(),
            ]);
        }
        for at in [2, 3, 5, 6, 7] {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

/// The type of the file system that holds `dir`, as the kernel's list of mounts has it.
fn file_system_of(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let of_line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.to_string();
        let kind = right.split(' ').next()?.to_string();
        dir.starts_with(&point).then_some((point.len(), kind))
    };
    // The last of several mounts on one place is the one that is seen.
    mounts.lines().filter_map(of_line).max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

/// What is needed to meet a failure again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reproducer {
    /// The version of this structure.
    pub schema: u32,
    /// The version of the engine that failed.
    pub engine: String,
    /// The failure.
    #[serde(flatten)]
    pub failure: Failure,
}

impl Reproducer {
    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(failure: &Failure, path: &Path) -> io::Result<()> {
        let engine = ENGINE.to_string();
        let reproducer = Reproducer { schema: SCHEMA, engine, failure: failure.clone() };
        std::fs::write(path, serde_json::to_string_pretty(&reproducer)? + "\n")
    }

    /// Reads one.
    ///
    /// # Errors
    /// It cannot be read, is not one, or is of another schema.
    pub fn read(path: &Path) -> io::Result<Reproducer> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let text = std::fs::read_to_string(path)?;
        let found: Reproducer =
            serde_json::from_str(&text).map_err(|error| wrong(format!("not a reproducer: {error}")))?;
        if found.schema != SCHEMA {
            return Err(wrong(format!("schema {}, and this build reads {SCHEMA}", found.schema)));
        }
        Ok(found)
    }
}
