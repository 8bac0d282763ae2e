//! `maple check FILE`: whether every page is what it must be.

use clap::{Args, ValueEnum};
use mapledb::{CheckHistograms, CheckLevel, CheckProblem, CheckReport, HistogramRow};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::{Failure, Kind};
use crate::output::{self, Output};
use crate::{progress, table};

/// Check every page of the file; exit code 5 if something is wrong
#[derive(Debug, Args)]
#[command(after_help = WHAT_IS_CHECKED)]
pub struct CheckArgs {
    #[command(flatten)]
    database: Reading,
    /// How much to read
    #[arg(long, value_enum, default_value_t = Level::Full)]
    level: Level,
    /// Show how full pages are, and how long keys and values
    #[arg(long)]
    histograms: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Quick,
    Pages,
    Full,
}

impl From<Level> for CheckLevel {
    fn from(level: Level) -> CheckLevel {
        match level {
            Level::Quick => CheckLevel::Quick,
            Level::Pages => CheckLevel::Pages,
            Level::Full => CheckLevel::Full,
        }
    }
}

const WHAT_IS_CHECKED: &str = "\
Checked are checksums and the tags of references, the order of keys, counts at every level, and that each page is \
either in use once or free once. Works beside a writer, on the latest snapshot and all named ones. With --level pages \
the bytes of long values and the named snapshots are left out; with quick all leaves are, too.";

#[derive(Debug, Serialize)]
struct Checked {
    clean: bool,
    level: Level,
    txnid: u64,
    pages_total: u64,
    pages_reachable: u64,
    pages_unknown: u64,
    pages_free: u64,
    tables: u64,
    entries: u64,
    snapshots: u64,
    orders_missing: Vec<String>,
    problems: Vec<Problem>,
    histograms: Histograms,
}

#[derive(Debug, Serialize)]
struct Histograms {
    leaf_fill: Vec<Row>,
    branch_fill: Vec<Row>,
    key_lengths: Vec<Row>,
    value_lengths: Vec<Row>,
    duplicates: Vec<Row>,
    depths: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    from: u64,
    to: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Problem {
    page: Option<u64>,
    table: Option<String>,
    what: String,
}

/// Checks it.
pub fn run(args: &CheckArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let bar = progress::bar(manner.quiet, 0, "pages");
    let report = env.check_at(args.level.into(), |progress| {
        bar.set_length(progress.pages_total);
        bar.set_position(progress.pages_done);
    });
    bar.finish_and_clear();
    let checked = Checked::of(report.map_err(failure)?, args.level);
    output::report(manner.json, &checked, |checked, output| {
        if args.histograms {
            checked.histograms.in_words(output)?;
        }
        checked.in_words(output)
    })?;
    match checked.problems.len() as u64 {
        0 => Ok(()),
        problems => {
            let problems = table::plural(problems, "problem", "problems");
            Err(Failure::new(
                Kind::Damaged,
                format!("{}: {problems} found; restore it from a copy", args.database.file.display()),
            ))
        }
    }
}

impl Checked {
    fn of(report: CheckReport, level: Level) -> Checked {
        Checked {
            clean: report.is_clean(),
            level,
            txnid: report.txnid,
            pages_total: report.pages_total,
            pages_reachable: report.pages_reachable,
            pages_unknown: report.pages_unknown,
            pages_free: report.pages_free,
            tables: report.tables,
            entries: report.entries,
            snapshots: report.snapshots,
            orders_missing: report.orders_missing,
            problems: report.problems.into_iter().map(Problem::of).collect(),
            histograms: Histograms::of(report.histograms),
        }
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        self.problems.iter().try_for_each(|problem| output.line(problem.in_words()))?;
        self.orders_missing.iter().try_for_each(|table| {
            output.line(format!(
                "table {table:?}: all but the order of its keys or duplicates, which is a program's own and not known here"
            ))
        })?;
        let pages = table::plural(self.pages_total, "page", "pages");
        let (used, free) = (table::count(self.pages_reachable), table::count(self.pages_free));
        let tables = table::plural(self.tables, "named table", "named tables");
        let entries = table::plural(self.entries, "entry", "entries");
        let verdict = if self.clean { "clean" } else { "DAMAGED" };
        let snapshots = match self.snapshots {
            0 => String::new(),
            some => format!("{}, ", table::plural(some, "named snapshot", "named snapshots")),
        };
        let unknown = match self.pages_unknown {
            0 => String::new(),
            some => format!(", {} below damage and not known", table::count(some)),
        };
        output.line(format!(
            "{verdict}: {pages} ({used} in use, {free} free{unknown}), {tables}, {entries}, {snapshots}commit {}",
            self.txnid
        ))
    }
}

impl Histograms {
    fn of(histograms: CheckHistograms) -> Histograms {
        let rows = |rows: Vec<HistogramRow>| {
            rows.into_iter().map(|row| Row { from: row.from, to: row.to, count: row.count }).collect()
        };
        Histograms {
            leaf_fill: rows(histograms.leaf_fill),
            branch_fill: rows(histograms.branch_fill),
            key_lengths: rows(histograms.key_lengths),
            value_lengths: rows(histograms.value_lengths),
            duplicates: rows(histograms.duplicates),
            depths: rows(histograms.depths),
        }
    }

    /// Each that counts any, as a table with bars.
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        use table::Column::{Numbers, Words};
        let all = [
            ("leaf fill %", "pages", &self.leaf_fill),
            ("branch fill %", "pages", &self.branch_fill),
            ("key bytes", "keys", &self.key_lengths),
            ("value bytes", "values", &self.value_lengths),
            ("duplicates", "keys", &self.duplicates),
            ("levels", "tables", &self.depths),
        ];
        for (size, what, rows) in all.into_iter().filter(|(_, _, rows)| !rows.is_empty()) {
            let most = rows.iter().map(|row| row.count).max().unwrap_or(1);
            let shown = rows.iter().map(|row| [row.sizes(), table::count(row.count), row.bar(most)]);
            table::rows(output, [Numbers(size), Numbers(what), Words("")], shown)?;
            output.line("")?;
        }
        Ok(())
    }
}

impl Row {
    fn sizes(&self) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}-{}", self.from, self.to) }
    }

    /// A bar of up to 40 marks, the longest for `most`.
    fn bar(&self, most: u64) -> String {
        let marks = (u128::from(self.count) * 40).div_ceil(u128::from(most.max(1)));
        "#".repeat(marks as usize)
    }
}

impl Problem {
    fn of(problem: CheckProblem) -> Problem {
        Problem { page: problem.pgno, table: problem.table, what: problem.what }
    }

    fn in_words(&self) -> String {
        let page = self.page.map_or_else(String::new, |page| format!("page {page}: "));
        let table = self.table.as_ref().map_or_else(String::new, |table| format!(" (table {table:?})"));
        format!("{page}{}{table}", self.what)
    }
}
