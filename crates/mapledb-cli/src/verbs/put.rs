//! `maple put FILE KEY VALUE`: store a value under a key.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use mapledb::Env;
use serde::Serialize;

use crate::argument;
use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::selection::{TableArgs, is_multimap, types_of, untyped_multimap, write_as};

/// Store a value under a key
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The database
    file: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// The value
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    #[command(flatten)]
    table: TableArgs,
    /// Only if the key is not there yet; exit code 1 if it is
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Serialize)]
struct Stored {
    replaced: bool,
    txnid: u64,
}

/// Stores it.
pub fn run(args: &PutArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_write(&args.file, manner)?;
    let stored = store(args, &env)?;
    door::close(env)?;
    output::report(manner.json, &stored, |_, _| Ok(()))
}

fn store(args: &PutArgs, env: &Env) -> Result<Stored, Failure> {
    let name = args.table.table.as_deref();
    let types = types_of(&env.read().map_err(failure)?, name)?;
    let key = argument::bytes(&args.key, &types.keys)?;
    let value = argument::bytes(&args.value, &types.values)?;
    let is_multimap = is_multimap(&env.read().map_err(failure)?, name)?;
    let mut txn = write_as(env, name, &types)?;
    if is_multimap {
        let mut multimap = txn.multimap(&untyped_multimap(name)).map_err(failure)?;
        if !multimap.insert(&key, &value).map_err(failure)? && args.new {
            return Err(Failure::absent("the key has this value already"));
        }
        return Ok(Stored { replaced: false, txnid: txn.commit().map_err(failure)? });
    }
    let mut table = txn.table(&args.table.untyped()).map_err(failure)?;
    let replaced = table.contains(&key).map_err(failure)?;
    if replaced && args.new {
        return Err(Failure::absent(format!("the key \"{}\" is there already", types.keys.text_of(&key))));
    }
    table.put(&key, &value).map_err(failure)?;
    Ok(Stored { replaced, txnid: txn.commit().map_err(failure)? })
}
