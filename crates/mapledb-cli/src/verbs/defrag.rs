//! `maple defrag FILE`: what lies at the end of the file moves to where there is room, while others read and write.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mapledb::{Defragment, DefragmentReport, Env, Stopped};
use serde::Serialize;

use super::space::Held;
use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::{interrupt, progress, table};

/// Move pages from the end of the file to free ones before them, and give the end back
#[derive(Debug, Args)]
#[command(after_help = BESIDE_OTHERS)]
pub struct DefragArgs {
    /// The database
    file: PathBuf,
    /// Begin no further commit after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// Begin no further commit once so many pages have moved
    #[arg(long, value_name = "COUNT")]
    pages: Option<u64>,
    /// Make no more than so many commits that move pages
    #[arg(long, value_name = "COUNT")]
    commits: Option<u64>,
    /// Move about so many pages with each commit; other writers wait as long
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Leave the end of the file, and free runs inside it, with their blocks
    #[arg(long)]
    no_trim: bool,
}

const BESIDE_OTHERS: &str = "\
Works beside readers and writers, by ordinary commits of bounded size. Every page moved is written once, and its branches \
with it; tables stay in the order they have on the disk, which \"maple compact\" makes anew. Ctrl-C stops it after the \
commit at work; what has moved stays moved. Beside a long reader, or a named snapshot, it gains nothing until that goes: it says which.";

#[derive(Debug, Serialize)]
struct Defragmented {
    stopped: &'static str,
    pinned_txnid: Option<u64>,
    holders: Vec<Held>,
    pages_moved: u64,
    pages_written: u64,
    commits: u64,
    rounds: u64,
    used_pages_before: u64,
    used_pages: u64,
    given_back_bytes: u64,
    file_bytes: u64,
}

/// Does it.
pub fn run(args: &DefragArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let env = door::open_to_write(&args.file, manner)?;
    let page_size = env.page_size() as u64;
    let path = env.path().to_owned();
    let bar = progress::bar(manner.quiet, 0, "pages");
    let done = env.defragment(&options(args), |progress| {
        bar.set_length(progress.pages_planned);
        bar.set_position(progress.pages_moved);
        !interrupt::is_requested()
    });
    bar.finish_and_clear();
    let report = done.map_err(failure)?;
    let holders = holders(&env, report.stopped)?;
    door::close(env)?;
    let file_bytes = path.metadata().map_err(|error| Failure::os("look up", &path, error))?.len();
    let report = Defragmented::of(&report, holders, file_bytes);
    output::report(manner.json, &report, |report, output| report.in_words(output, page_size))?;
    if report.stopped == "interrupted" { Err(interrupt::failure()) } else { Ok(()) }
}

/// Who holds what the rest waits for; nobody if they have let go since.
fn holders(env: &Env, stopped: Stopped) -> Result<Vec<Held>, Failure> {
    let Stopped::Pinned { txnid } = stopped else { return Ok(Vec::new()) };
    let space = env.space().map_err(failure)?;
    let waiting = space.waiting.iter().find(|waiting| waiting.txnid == txnid);
    Ok(waiting.into_iter().flat_map(|waiting| &waiting.holders).map(Held::of).collect())
}

fn options(args: &DefragArgs) -> Defragment {
    let mut options = Defragment::default().batch_pages(args.batch).trim(!args.no_trim);
    if let Some(time) = args.time {
        options = options.time_max(time);
    }
    if let Some(pages) = args.pages {
        options = options.pages_max(pages);
    }
    if let Some(commits) = args.commits {
        options = options.transactions_max(commits);
    }
    options
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "a number of seconds is needed".to_owned())
}

impl Defragmented {
    fn of(report: &DefragmentReport, holders: Vec<Held>, file_bytes: u64) -> Defragmented {
        let (stopped, pinned_txnid) = match report.stopped {
            Stopped::Done => ("done", None),
            Stopped::TimeLimit => ("time_limit", None),
            Stopped::PageLimit => ("page_limit", None),
            Stopped::TransactionLimit => ("commit_limit", None),
            Stopped::Interrupted => ("interrupted", None),
            Stopped::Pinned { txnid } => ("pinned", Some(txnid)),
            Stopped::NothingLower => ("nothing_lower", None),
            Stopped::Busy => ("busy", None),
            _ => ("other", None),
        };
        Defragmented {
            stopped,
            pinned_txnid,
            holders,
            pages_moved: report.pages_moved,
            pages_written: report.pages_written,
            commits: report.transactions,
            rounds: report.rounds,
            used_pages_before: report.used_pages_before,
            used_pages: report.used_pages,
            given_back_bytes: report.trim.given_back_bytes,
            file_bytes,
        }
    }

    fn in_words(&self, output: &mut Output, page_size: u64) -> Result<(), Failure> {
        let moved = table::plural(self.pages_moved, "page", "pages");
        let commits = table::plural(self.commits, "commit", "commits");
        output.line(format!("moved {moved} with {commits}; {}", self.why()))?;
        let [before, now] =
            [self.used_pages_before, self.used_pages].map(|pages| table::size(pages * page_size));
        output.line(format!("{before} used became {now}; gave back {}", table::size(self.given_back_bytes)))
    }

    fn why(&self) -> String {
        match (self.stopped, self.pinned_txnid) {
            ("done", _) => "there is nothing left to gain".to_owned(),
            ("time_limit", _) => "the time is over".to_owned(),
            ("page_limit" | "commit_limit", _) => "the limit is reached".to_owned(),
            ("interrupted", _) => "interrupted".to_owned(),
            ("pinned", Some(txnid)) => {
                let holders: Vec<String> = self.holders.iter().map(Held::in_words).collect();
                let by =
                    if holders.is_empty() { "who has let go since".to_owned() } else { holders.join(", ") };
                format!(
                    "the rest waits for commit {txnid}, held by {by} (\"maple space\" lists all that waits)"
                )
            }
            ("nothing_lower", _) => "what is left at the end fits nowhere before it".to_owned(),
            _ => "others write to the end meanwhile".to_owned(),
        }
    }
}
