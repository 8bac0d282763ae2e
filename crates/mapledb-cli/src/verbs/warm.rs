//! `maple warm FILE`: the file brought into memory before anybody waits for it.
//!
//! Large reads would fill the page cache with large folios, and a later commit would write all of each that it stores one
//! page to. So the kernel is asked for a stretch of pages at a time through a map under `MADV_RANDOM`, which leaves small ones.

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
    #[command(flatten)]
    database: Reading,
    /// No more than the first so many bytes
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
    /// Only the branches of all trees: lookups then read one page from the disk at most
    #[arg(long, conflicts_with = "limit")]
    branches: bool,
    /// Only so many upper levels of all trees, their roots being the first
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["limit", "branches"])]
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    levels: Option<u8>,
    /// Lock the branches or levels in memory, and keep them there until Ctrl-C
    #[arg(long)]
    lock: bool,
}

const NO_PROMISE: &str = "\
Reads the file from front to back; what is in memory already is not read again. What the kernel drops again for want of \
memory is told by the difference. Opens no database, unless asked for branches or levels. What is locked counts against the \
limit of \"ulimit -l\"; what is written later is not locked.";

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
    if args.branches || args.levels.is_some() {
        return upper_part(args, manner);
    }
    if args.lock {
        return Err(Failure::usage("say what to lock: --branches, or --levels COUNT"));
    }
    let mapped = Mapped::open(&args.database.file)?;
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
struct WarmedNodes {
    #[serde(skip_serializing_if = "Option::is_none")]
    branch_pages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_pages: Option<u64>,
    locked_pages: u64,
}

fn upper_part(args: &WarmArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let levels = args.levels.map(usize::from);
    let pages =
        levels.map_or_else(|| env.warm_branches(), |levels| env.warm_levels(levels)).map_err(failure)?;
    let lock =
        || levels.map_or_else(|| env.lock_branches(), |levels| env.lock_levels(levels)).map_err(failure);
    let locked = args.lock.then(lock).transpose()?;
    let warmed = WarmedNodes {
        branch_pages: args.branches.then_some(pages),
        node_pages: levels.is_some().then_some(pages),
        locked_pages: locked.as_ref().map_or(0, LockedBranches::pages),
    };
    output::report(manner.json, &warmed, |warmed, output| {
        let nodes = match args.branches {
            true => table::plural(pages, "branch", "branches"),
            false => table::plural(pages, "node", "nodes"),
        };
        match args.lock {
            true => output.line(format!(
                "{nodes} in memory, {} locked until Ctrl-C",
                table::count(warmed.locked_pages)
            )),
            false => output.line(format!("{nodes} in memory")),
        }
    })?;
    while locked.is_some() && !interrupt::is_requested() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
