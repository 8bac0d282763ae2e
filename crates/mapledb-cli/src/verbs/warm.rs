//! `maple warm FILE`: the file brought into memory before anybody waits for it.
//!
//! Large reads would fill the page cache with large folios, and a later commit would write all of each that it stores one
//! page to. So the kernel is asked for a stretch of pages at a time through a map under `MADV_RANDOM`, which leaves small ones.

use std::path::PathBuf;

use clap::Args;
use mapledb::LockedBranches;
use serde::Serialize;

use super::residency::Mapped;
use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::{interrupt, progress, table};

/// Bring the file into memory
#[derive(Debug, Args)]
#[command(after_help = NO_PROMISE)]
pub struct WarmArgs {
    /// The database
    file: PathBuf,
    /// No more than the first so many bytes
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
    /// Only the branches of all trees: lookups then read one page from the disk at most
    #[arg(long, conflicts_with = "limit")]
    branches: bool,
    /// Lock the branches in memory, and keep them there until Ctrl-C
    #[arg(long, requires = "branches")]
    lock: bool,
}

const NO_PROMISE: &str = "\
Reads the file from front to back; what is in memory already is not read again. What the kernel drops again for want of \
memory is told by the difference. Opens no database, unless asked for branches. What is locked counts against the limit \
of \"ulimit -l\"; branches that are written later are not locked.";

/// So much is asked for with one call.
const STRETCH_BYTES: u64 = 1 << 20;

#[derive(Debug, Serialize)]
struct Warmed {
    bytes: u64,
    resident_bytes_before: u64,
    resident_bytes: u64,
}

/// Does it.
pub fn run(args: &WarmArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    if args.branches {
        return branches(args, manner);
    }
    let mapped = Mapped::open(&args.file)?;
    let bytes = args.limit.unwrap_or(u64::MAX).min(mapped.len_bytes);
    let resident_bytes_before = mapped.resident_bytes(0, bytes);
    let bar = progress::bar(manner.quiet, bytes, "bytes");
    let mut at = 0;
    while at < bytes {
        interrupt::check()?;
        let stretch = STRETCH_BYTES.min(bytes - at);
        mapped.bring_in(at, stretch)?;
        at += stretch;
        bar.set_position(at);
    }
    bar.finish_and_clear();
    let warmed = Warmed { bytes, resident_bytes_before, resident_bytes: mapped.resident_bytes(0, bytes) };
    output::report(manner.json, &warmed, |warmed, output| {
        let (now, all) = (table::size(warmed.resident_bytes), table::size(warmed.bytes));
        output
            .line(format!("{now} of {all} in memory; before, {}", table::size(warmed.resident_bytes_before)))
    })
}

#[derive(Debug, Serialize)]
struct WarmedBranches {
    branch_pages: u64,
    locked_pages: u64,
}

fn branches(args: &WarmArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&Reading { file: args.file.clone(), frozen: false }, manner)?;
    let branch_pages = env.warm_branches().map_err(failure)?;
    let locked = args.lock.then(|| env.lock_branches().map_err(failure)).transpose()?;
    let warmed =
        WarmedBranches { branch_pages, locked_pages: locked.as_ref().map_or(0, LockedBranches::pages) };
    output::report(manner.json, &warmed, |warmed, output| {
        let pages = table::plural(warmed.branch_pages, "branch", "branches");
        match args.lock {
            true => output.line(format!(
                "{pages} in memory, {} locked until Ctrl-C",
                table::count(warmed.locked_pages)
            )),
            false => output.line(format!("{pages} in memory")),
        }
    })?;
    while locked.is_some() && !interrupt::is_requested() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
