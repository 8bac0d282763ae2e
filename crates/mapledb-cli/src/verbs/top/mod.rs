//! `maple top FILE`: what the processes that have a database open are doing, now.
//!
//! Two looks at the counters in shared memory, some time apart, make a report: what was added between. Nobody who works is
//! asked or delayed. On a terminal the report is drawn again and again; elsewhere, and as JSON, one follows the other.

mod report;
mod screen;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use mapledb::Env;

use crate::cli::{Manner, Reading};
use crate::door;
use crate::failure::Failure;
use crate::{interrupt, output};

use report::{Look, Report};

/// Show what the processes that have a database open are doing
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal the picture is drawn anew until q or Ctrl-C; elsewhere a report follows the other.
Gets are keys looked up in read transactions, changes are calls that changed a table. A process
hands its gets in when a transaction ends, or after 256. Times are exact to a factor of two.")]
pub struct TopArgs {
    #[command(flatten)]
    database: Reading,
    /// Print one report, and end
    #[arg(long)]
    once: bool,
    /// The time between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
}

/// Looks, waits and looks again.
pub fn run(args: &TopArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    if args.database.frozen {
        return Err(Failure::usage("--frozen sees no other process: there is nothing to show"));
    }
    if !args.once && !manner.json && io::stdout().is_terminal() {
        return screen::show(&env, args.interval);
    }
    interrupt::catch()?;
    let mut before = Look::at(&env)?;
    loop {
        wait(args.interval)?;
        let now = Look::at(&env)?;
        output::report(manner.json, &Report::between(&before, &now), Report::in_words)?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

/// Waits, and not past an interrupt.
fn wait(time: Duration) -> Result<(), Failure> {
    let until = Instant::now() + time;
    loop {
        interrupt::check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// A number of seconds from a hundredth to a day.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| (0.01..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds from 0.01 to 86400 is needed".to_owned())
}

/// What is drawn and printed: the report between two looks.
fn next_report(env: &Env, before: &mut Look) -> Result<Report, Failure> {
    let now = Look::at(env)?;
    let report = Report::between(before, &now);
    *before = now;
    Ok(report)
}
