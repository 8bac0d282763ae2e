//! `maple copy FILE TO`: a copy of the latest snapshot, while readers and writers work.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::{interrupt, progress, table};

/// Copy the latest snapshot to a new file
#[derive(Debug, Args)]
#[command(after_help = WHOLE_OR_NOTHING)]
pub struct CopyArgs {
    #[command(flatten)]
    database: Reading,
    /// The copy; must not exist
    to: PathBuf,
    /// Write every table afresh, sorted and full, with a new identity
    #[arg(long)]
    compact: bool,
}

const WHOLE_OR_NOTHING: &str = "\
Works beside a writer. The copy is durable before it appears under its name, whole; one that is interrupted or fails \
leaves nothing. Named snapshots are copied too, but not by --compact.";

#[derive(Debug, Serialize)]
struct Copied {
    to: PathBuf,
    compact: bool,
    txnid: u64,
    pages: u64,
    /// Counted by a compact copy only.
    entries: Option<u64>,
}

/// Copies it.
pub fn run(args: &CopyArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let env = door::open_to_read(&args.database, manner)?;
    let bar = progress::bar(manner.quiet, 0, if args.compact { "entries" } else { "pages" });
    let copied = env.copy_to(&args.to, args.compact, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupt::is_requested()
    });
    bar.finish_and_clear();
    let copied = copied.map_err(failure)?;
    let copied = Copied {
        to: args.to.clone(),
        compact: args.compact,
        txnid: copied.txnid,
        pages: copied.pages,
        entries: args.compact.then_some(copied.entries),
    };
    output::report(manner.json, &copied, Copied::in_words)
}

impl Copied {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let pages = table::plural(self.pages, "page", "pages");
        let entries = match self.entries {
            Some(entries) => format!(", {}", table::plural(entries, "entry", "entries")),
            None => String::new(),
        };
        output.line(format!("copied commit {} to {}: {pages}{entries}", self.txnid, self.to.display()))
    }
}
