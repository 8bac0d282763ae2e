//! `maple scan FILE`: entries in key order, or how many there are.

use clap::Args;
use mapledb::Error;
use serde::Serialize;

use crate::cli::{Manner, Reading, StateArgs};
use crate::door::{self, failure};
use crate::entry::Printing;
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{RangeArgs, TableArgs, Types, is_multimap, types_of, untyped_multimap};

/// Print the entries of a range in key order, or count them
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
    let types = types_of(&txn, args.table.table.as_deref())?;
    let bounds = args.range.bounds(&types.keys)?;
    let name = args.table.table.as_deref();
    let mut output = Output::open();
    if is_multimap(&txn, name)? {
        let multimap = txn.multimap(&untyped_multimap(name)).map_err(failure)?;
        args.range.check_order(multimap.order())?;
        let pairs = multimap.range(bounds.as_range()).map_err(failure)?;
        match args.count {
            true => count(args, manner, pairs.remaining(), &mut output)?,
            false => scan(args, manner, pairs, &types, &mut output)?,
        }
    } else {
        let table = txn.table(&args.table.untyped()).map_err(failure)?;
        args.range.check_order(table.order())?;
        // All there is needs no order, so it is read where the order is not at hand, too.
        let (all, range) = (bounds.is_all(), bounds.as_range());
        match args.count {
            true if all => count(args, manner, table.len(), &mut output)?,
            true => count(args, manner, table.count(range).map_err(failure)?, &mut output)?,
            false => {
                let entries = if all { table.iter() } else { table.range(range) };
                scan(args, manner, entries.map_err(failure)?, &types, &mut output)?
            }
        }
    }
    output.finish()
}

fn count(args: &ScanArgs, manner: Manner, count: u64, output: &mut Output) -> Result<(), Failure> {
    let count = args.limit.map_or(count, |limit| count.min(limit));
    if manner.json { output.json(&Count { count }) } else { output.line(count.to_string()) }
}

fn scan<'e>(
    args: &ScanArgs,
    manner: Manner,
    entries: impl DoubleEndedIterator<Item = Result<(&'e [u8], &'e [u8]), Error>>,
    types: &Types,
    output: &mut Output,
) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let printing = Printing { manner, types, keys_only: args.keys_only };
    let mut print = |entry: Result<(&[u8], &[u8]), Error>| {
        let (key, value) = entry.map_err(failure)?;
        printing.print(key, value, output)
    };
    match args.reverse {
        true => entries.rev().take(limit).try_for_each(&mut print),
        false => entries.take(limit).try_for_each(&mut print),
    }
}
