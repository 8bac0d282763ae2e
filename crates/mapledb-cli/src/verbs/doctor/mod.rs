//! `maple doctor PATH`: what a store in a memory map asks of the system, and whether the system gives it.
//!
//! [`facts`] reads what the kernel says of itself; [`mod@judge`] decides what is well, by pure functions with a table test
//! each. Nothing is changed: what would change a setting is printed.

mod facts;
mod judge;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::facts::{Facts, Roots};
use self::judge::{Finding, Verdict, judge};
use crate::cli::Manner;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table;

/// Judge the kernel's settings, the limits and the disk for a database; exit code 1 if any is a WARN
#[derive(Debug, Args)]
#[command(after_help = NOTHING_CHANGES)]
pub struct DoctorArgs {
    /// The database, or the directory where it is to be
    #[arg(default_value = ".")]
    path: PathBuf,
}

const NOTHING_CHANGES: &str = "\
Nothing is changed: the commands that would are printed. No database is opened. A WARN is no fault of the data: it is \
about speed, room or the honesty of the disk, and says which.";

#[derive(Debug, Serialize)]
struct Report {
    path: PathBuf,
    warnings: usize,
    checks: Vec<Finding>,
}

/// Judges them.
pub fn run(args: &DoctorArgs, manner: Manner) -> Result<(), Failure> {
    let cannot = |error| Failure::os("look up", &args.path, error);
    let path = args.path.canonicalize().map_err(cannot)?;
    let facts = Facts::read(&Roots::of_this_system(), &path).map_err(cannot)?;
    let checks = judge(&facts);
    let warnings = checks.iter().filter(|finding| finding.verdict == Verdict::Warn).count();
    let report = Report { path, warnings, checks };
    output::report(manner.json, &report, Report::in_words)?;
    match warnings {
        0 => Ok(()),
        // The report has said all there is.
        _ => Err(Failure::absent("")),
    }
}

impl Report {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        for finding in &self.checks {
            let Finding { check, verdict, value, why, fix } = finding;
            output.line(format!("{:4}  {check}: {value}", verdict.word()))?;
            output.line(format!("      {why}"))?;
            if *verdict == Verdict::Warn {
                fix.iter().try_for_each(|fix| output.line(format!("      fix: {fix}")))?;
            }
        }
        let warnings = table::plural(self.warnings as u64, "warning", "warnings");
        output.line(format!("{}, {warnings}", table::plural(self.checks.len() as u64, "check", "checks")))
    }
}
