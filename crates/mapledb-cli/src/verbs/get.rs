//! `maple get FILE KEY`: the value of a key.

use clap::Args;
use mapledb::ReadTxn;
use serde::Serialize;
use std::ffi::OsString;

use crate::argument;
use crate::cli::{Manner, Reading, StateArgs};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{TableArgs, Types, is_multimap, types_of, untyped_multimap};
use crate::text::json::Json;

/// Print the value of a key; exit code 1 if there is none
#[derive(Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
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
    let txn = args.state.read(&env)?;
    let types = types_of(&txn, args.table.table.as_deref())?;
    let key = argument::bytes(&args.key, &types.keys)?;
    let name = args.table.table.as_deref();
    if is_multimap(&txn, name)? {
        return every_value(args, manner, &txn, &types, &key);
    }
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

/// Prints the values of a key of a multimap, one a line.
fn every_value(
    args: &GetArgs,
    manner: Manner,
    txn: &ReadTxn,
    types: &Types,
    key: &[u8],
) -> Result<(), Failure> {
    if args.raw {
        return Err(Failure::usage("a key of a multimap has many values, which --raw could not keep apart"));
    }
    let multimap = txn.multimap(&untyped_multimap(args.table.table.as_deref())).map_err(failure)?;
    let mut values = multimap.get(key).map_err(failure)?.peekable();
    if values.peek().is_none() {
        return Err(Failure::absent(format!("there is no key \"{}\"", types.keys.text_of(key))));
    }
    let mut output = Output::open();
    for value in values {
        let value = value.map_err(failure)?;
        if manner.json {
            output
                .json(&Entry { key: Json::new(&types.keys, key), value: Json::new(&types.values, value) })?;
        } else {
            output.line(types.values.text_of(value))?;
        }
    }
    output.finish()
}
