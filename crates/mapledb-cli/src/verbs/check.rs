//! `maple check FILE`: whether every page is what it must be.

use clap::Args;
use mapledb::{CheckProblem, CheckReport};
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
}

const WHAT_IS_CHECKED: &str = "\
Checked are checksums and the tags of references, the order of keys, counts at every level, and that each page is \
either in use once or free once. Works beside a writer, on the latest snapshot and all named ones.";

#[derive(Debug, Serialize)]
struct Checked {
    clean: bool,
    txnid: u64,
    pages_total: u64,
    pages_reachable: u64,
    pages_free: u64,
    tables: u64,
    entries: u64,
    snapshots: u64,
    orders_missing: Vec<String>,
    problems: Vec<Problem>,
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
    let report = env.check(|progress| {
        bar.set_length(progress.pages_total);
        bar.set_position(progress.pages_done);
    });
    bar.finish_and_clear();
    let checked = Checked::of(report.map_err(failure)?);
    output::report(manner.json, &checked, Checked::in_words)?;
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
    fn of(report: CheckReport) -> Checked {
        Checked {
            clean: report.is_clean(),
            txnid: report.txnid,
            pages_total: report.pages_total,
            pages_reachable: report.pages_reachable,
            pages_free: report.pages_free,
            tables: report.tables,
            entries: report.entries,
            snapshots: report.snapshots,
            orders_missing: report.orders_missing,
            problems: report.problems.into_iter().map(Problem::of).collect(),
        }
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        self.problems.iter().try_for_each(|problem| output.line(problem.in_words()))?;
        self.orders_missing.iter().try_for_each(|table| {
            output.line(format!(
                "table {table:?}: all but the order of its keys, which is a program's own and not known here"
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
        output.line(format!(
            "{verdict}: {pages} ({used} in use, {free} free), {tables}, {entries}, {snapshots}commit {}",
            self.txnid
        ))
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
