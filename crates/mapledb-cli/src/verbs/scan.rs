//! `maple scan FILE`: entries in key order, or how many there are.

use clap::Args;
use serde::Serialize;

use crate::cli::{Manner, Reading, StateArgs};
use crate::contents::{Contents, Entries, Pair};
use crate::door;
use crate::entry::Printing;
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{RangeArgs, TableArgs, Types};

/// Print the entries of a range in key order, or count them; in a multimap, its pairs
#[derive(Debug, Args)]
pub struct ScanArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// From the last key to the first
    #[arg(long, short)]
    reverse: bool,
    /// No more than so many entries
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<u64>,
    /// Only the keys
    #[arg(long)]
    keys_only: bool,
    /// Only how many there are, which reads two paths of the tree and not the entries
    #[arg(long, conflicts_with_all = ["reverse", "keys_only"])]
    count: bool,
}

#[derive(Debug, Serialize)]
struct Count {
    count: u64,
}

/// Prints them.
pub fn run(args: &ScanArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let (contents, types) = Contents::open(&txn, args.table.table.as_deref())?;
    let bounds = args.range.bounds(&types, contents.is_multimap())?;
    args.range.check_order(contents.order())?;
    let mut output = Output::open();
    match args.count {
        true => count(args, manner, contents.count(&bounds)?, &mut output)?,
        false => scan(args, manner, contents.range(&bounds)?, &types, &mut output)?,
    }
    output.finish()
}

fn count(args: &ScanArgs, manner: Manner, count: u64, output: &mut Output) -> Result<(), Failure> {
    let count = args.limit.map_or(count, |limit| count.min(limit));
    if manner.json { output.json(&Count { count }) } else { output.line(count.to_string()) }
}

fn scan(
    args: &ScanArgs,
    manner: Manner,
    entries: Entries<'_>,
    types: &Types,
    output: &mut Output,
) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let printing = Printing { manner, types, keys_only: args.keys_only };
    let mut print = |entry: Result<Pair<'_>, Failure>| {
        let (key, value) = entry?;
        printing.print(key, value, output)
    };
    match args.reverse {
        true => entries.rev().take(limit).try_for_each(&mut print),
        false => entries.take(limit).try_for_each(&mut print),
    }
}
