//! `maple trim FILE`: free space back to the file system, while others work.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table;

/// Give free space back to the file system
#[derive(Debug, Args)]
#[command(after_help = BESIDE_OTHERS)]
pub struct TrimArgs {
    /// The database
    file: PathBuf,
}

const BESIDE_OTHERS: &str = "\
Works beside readers and writers. Free runs of 16 pages and more become holes; the file keeps its length but takes less \
of the disk. Writing there again needs room on the disk. \"maple copy --compact\" makes a file that is short as well.";

#[derive(Debug, Serialize)]
struct Trimmed {
    runs: u64,
    bytes: u64,
    given_back_bytes: u64,
    allocated_bytes: u64,
    supported: bool,
}

/// Gives it back.
pub fn run(args: &TrimArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_write(&args.file, manner)?;
    let report = env.trim().map_err(failure)?;
    let allocated_bytes = env.info().map_err(failure)?.allocated_bytes;
    door::close(env)?;
    let trimmed = Trimmed {
        runs: report.runs,
        bytes: report.bytes,
        given_back_bytes: report.given_back_bytes,
        allocated_bytes,
        supported: report.is_supported,
    };
    output::report(manner.json, &trimmed, Trimmed::in_words)
}

impl Trimmed {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        if !self.supported {
            return output.line("the file system cannot punch holes: nothing was given back");
        }
        let runs = table::plural(self.runs, "free run", "free runs");
        let (given, left) = (table::size(self.given_back_bytes), table::size(self.allocated_bytes));
        output.line(format!("gave back {given}: {runs}; the file takes {left} of the disk"))
    }
}
