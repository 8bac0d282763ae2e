//! `maple get FILE KEY`: the value of a key.

use clap::Args;
use serde::Serialize;
use std::ffi::OsString;

use crate::argument;
use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{TableArgs, types_of};
use crate::text::json::Json;

/// Print the value of a key; exit code 1 if there is none
#[derive(Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    database: Reading,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    #[command(flatten)]
    table: TableArgs,
    /// Write the value's bytes as they are, and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    key: Json<'a>,
    value: Json<'a>,
}

/// Prints it.
pub fn run(args: &GetArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = env.read().map_err(failure)?;
    let types = types_of(&txn, args.table.table.as_deref())?;
    let key = argument::bytes(&args.key, &types.keys)?;
    let found = txn.table(&args.table.untyped()).map_err(failure)?.get(&key).map_err(failure)?;
    let Some(value) = found else {
        return Err(Failure::absent(format!("there is no key \"{}\"", types.keys.text_of(&key))));
    };
    let mut output = Output::open();
    if manner.json {
        output.json(&Entry { key: Json::new(&types.keys, &key), value: Json::new(&types.values, value) })?;
    } else if args.raw {
        output.bytes(value)?;
    } else {
        output.line(types.values.text_of(value))?;
    }
    output.finish()
}
