//! `maple rank FILE KEY`: how many entries come before a key.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use crate::argument;
use crate::cli::{Manner, Reading, StateArgs};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::selection::{TableArgs, types_of};
use crate::table;

/// Print how many entries come before a key
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
    #[command(flatten)]
    table: TableArgs,
}

const COST: &str = "\
Reads one path of the tree, however large the table is. \"maple nth\" is the way back.";

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
    let types = types_of(&txn, args.table.table.as_deref())?;
    let key = argument::bytes(&args.key, &types.keys)?;
    let table = txn.table(&args.table.untyped()).map_err(failure)?;
    let rank = Rank {
        rank: table.rank(&key).map_err(failure)?,
        entries: table.len(),
        present: table.contains(&key).map_err(failure)?,
    };
    output::report(manner.json, &rank, |rank, output| {
        let note = if rank.present { "" } else { ", where the key would stand: it is not there" };
        output.line(format!("{} of {}{note}", rank.rank, table::plural(rank.entries, "entry", "entries")))
    })
}
