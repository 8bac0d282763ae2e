//! `maple rank FILE KEY`: how many entries come before a key, or before a pair of a multimap.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use crate::argument;
use crate::cli::{Manner, Reading, StateArgs};
use crate::contents::Contents;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::selection::{TableArgs, check_flag_of_multimaps};

/// Print how many entries come before a key, or before a pair of a multimap
#[derive(Debug, Args)]
#[command(after_help = COST)]
pub struct RankArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    /// The key, which need not be there
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// In a multimap, one of its values: then the place of this pair
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    #[command(flatten)]
    table: TableArgs,
}

const COST: &str = "\
Reads one path of the tree, however large the table is. What is counted in a multimap is pairs. \"maple nth\" is the way \
back.";

#[derive(Debug, Serialize)]
struct Rank {
    rank: u64,
    entries: u64,
    present: bool,
}

/// Prints it.
pub fn run(args: &RankArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let (contents, types) = Contents::open(&txn, args.table.table.as_deref())?;
    let key = argument::bytes(&args.key, &types.keys)?;
    if args.value.is_some() {
        check_flag_of_multimaps("VALUE", contents.is_multimap())?;
    }
    let value = args.value.as_ref().map(|value| argument::bytes(value, &types.values)).transpose()?;
    let (rank, present) = place(&contents, &key, value.as_deref())?;
    let rank = Rank { rank, entries: contents.len(), present };
    output::report(manner.json, &rank, |rank, output| {
        let what = if value.is_some() { "pair" } else { "key" };
        let note = match rank.present {
            true => String::new(),
            false => format!(", where the {what} would stand: it is not there"),
        };
        output.line(format!("{} of {}{note}", rank.rank, contents.plural(rank.entries)))
    })
}

/// How many entries or pairs come before a key or a pair, and whether it is there.
fn place(contents: &Contents<'_>, key: &[u8], value: Option<&[u8]>) -> Result<(u64, bool), Failure> {
    let place = match (contents, value) {
        (Contents::Table(table), _) => table.rank(key).and_then(|rank| Ok((rank, table.contains(key)?))),
        (Contents::Multimap(multimap), None) => {
            multimap.count(..key).and_then(|rank| Ok((rank, multimap.contains_key(key)?)))
        }
        (Contents::Multimap(multimap), Some(value)) => {
            multimap.rank(key, value).and_then(|rank| Ok((rank, multimap.contains(key, value)?)))
        }
    };
    place.map_err(failure)
}
