//! `maple backup FILE TO`: a copy of the latest snapshot, exact or compact, to a file or a pipe, while readers and writers work.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::{CopyReport, Env};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::{interrupt, progress, table};

/// Write a copy to a new file or to standard output
#[derive(Debug, Args)]
#[command(after_help = RESTORING)]
pub struct BackupArgs {
    #[command(flatten)]
    database: Reading,
    /// The backup, which must not exist; or - for standard output
    to: PathBuf,
    /// Write every table afresh, sorted and full, with a new identity
    #[arg(long)]
    compact: bool,
    /// Where a compact copy is made before it goes to standard output [default: $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR", requires = "compact")]
    spool: Option<PathBuf>,
}

const RESTORING: &str = "\
Works beside readers and writers, on the latest commit. A file is durable before it appears under its name, whole; of \
what goes to standard output the reader must see to that, and that it got all: exit code 0 says so. A backup is a \
database, with the named snapshots unless it is compact: \"maple check\" checks it, and to restore it is to copy it to its \
place while nobody has that open.";

#[derive(Debug, Serialize)]
struct BackedUp {
    to: Option<PathBuf>,
    txnid: u64,
    pages: u64,
    bytes: u64,
    /// Counted by a compact copy only.
    entries: Option<u64>,
}

/// Makes it.
pub fn run(args: &BackupArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let is_stream = args.to == Path::new("-");
    if is_stream && io::stdout().is_terminal() {
        return Err(Failure::usage(
            "a backup is no text for a terminal: name a file, or send it into a pipe",
        ));
    }
    let env = door::open_to_read(&args.database, manner)?;
    let bar = progress::bar(manner.quiet, 0, if args.compact { "entries" } else { "pages" });
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupt::is_requested()
    };
    let copied = match is_stream {
        true => stream(&env, args, progress),
        false => env.copy_to(&args.to, args.compact, progress).map_err(failure),
    };
    bar.finish_and_clear();
    let backed_up = BackedUp::of(&copied?, env.page_size(), args);
    match is_stream {
        false => {
            output::report(manner.json, &backed_up, |backed_up, output| output.line(backed_up.in_words()))
        }
        true => {
            backed_up.tell_aside(manner);
            Ok(())
        }
    }
}

fn stream(
    env: &Env,
    args: &BackupArgs,
    progress: impl FnMut(u64, u64) -> bool,
) -> Result<CopyReport, Failure> {
    let mut stdout = Stdout { to: io::stdout().lock(), failed: None };
    let copied = match args.compact {
        true => {
            let spool = args.spool.clone().unwrap_or_else(std::env::temp_dir);
            env.copy_compact_into(&mut stdout, spool, progress)
        }
        false => env.copy_into(&mut stdout, progress),
    };
    match stdout.failed {
        Some(error) => Err(Failure::writing("the output", &error)),
        None => copied.map_err(failure),
    }
}

/// Standard output, which remembers why it did not take what was written: a reader who went away is no error of the copy.
struct Stdout {
    to: io::StdoutLock<'static>,
    failed: Option<io::Error>,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.remembering(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.remembering(flushed)
    }
}

impl Stdout {
    fn remembering<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

impl BackedUp {
    fn of(copied: &CopyReport, page_size: usize, args: &BackupArgs) -> BackedUp {
        BackedUp {
            to: (args.to != Path::new("-")).then(|| args.to.clone()),
            txnid: copied.txnid,
            pages: copied.pages,
            bytes: copied.pages.saturating_mul(page_size as u64),
            entries: args.compact.then_some(copied.entries),
        }
    }

    fn in_words(&self) -> String {
        let to = self.to.as_ref().map_or_else(|| "standard output".into(), |to| to.display().to_string());
        let (pages, size) = (table::plural(self.pages, "page", "pages"), table::size(self.bytes));
        let entries = match self.entries {
            Some(entries) => format!(", {}", table::plural(entries, "entry", "entries")),
            None => String::new(),
        };
        format!("backed up commit {} to {to}: {pages}, {size}{entries}", self.txnid)
    }

    fn tell_aside(&self, manner: Manner) {
        if manner.quiet {
            return;
        }
        output::aside(&match manner.json {
            true => serde_json::json!(self).to_string(),
            false => format!("maple: {}", self.in_words()),
        });
    }
}
