//! `maple del FILE KEY…`: take out keys, pairs, ranges, or a whole table.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use mapledb::{Env, WriteMultimap, WriteTable, WriteTxn};
use serde::Serialize;

use crate::argument;
use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::selection::{
    Bounds, RangeArgs, TableArgs, Types, check_flag_of_multimaps, find, untyped_multimap, write_as,
};
use crate::table;

/// Take out keys, a range of keys, a table, or pairs of a multimap
#[derive(Debug, Args)]
#[command(override_usage = "maple del [OPTIONS] <FILE> [KEY]...", after_help = ALL_OR_NOTHING)]
#[command(group = ArgGroup::new("what").args(["keys", "from", "after", "to", "until", "prefix", "all", "drop"])
    .required(true).multiple(true))]
pub struct DelArgs {
    /// The database
    file: PathBuf,
    /// Keys; in a multimap, with all their values
    #[arg(value_name = "KEY", allow_negative_numbers = true, conflicts_with_all = ["from", "after", "to", "until", "prefix"])]
    keys: Vec<OsString>,
    /// In a multimap, this value of the key alone; may be given several times
    #[arg(long = "value", value_name = "VALUE", allow_hyphen_values = true, requires = "keys")]
    values: Vec<OsString>,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Every entry; the table stays
    #[arg(long, conflicts_with_all = ["keys", "from", "after", "to", "until", "prefix"])]
    all: bool,
    /// The table itself, with every entry
    #[arg(long, requires = "table", conflicts_with_all = ["keys", "from", "after", "to", "until", "prefix", "all"])]
    drop: bool,
}

const ALL_OR_NOTHING: &str = "\
One transaction. Exit code 1 if a key or a pair that was named is not there: then nothing is taken out.";

#[derive(Debug, Serialize)]
struct Deleted {
    deleted: u64,
    txnid: u64,
    /// Whether the command line says how many that was.
    #[serde(skip)]
    is_told: bool,
    #[serde(skip)]
    is_multimap: bool,
}

/// Takes them out.
pub fn run(args: &DelArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_write(&args.file, manner)?;
    let deleted = delete(args, &env)?;
    door::close(env)?;
    output::report(manner.json, &deleted, Deleted::in_words)
}

fn delete(args: &DelArgs, env: &Env) -> Result<Deleted, Failure> {
    let name = args.table.table.as_deref();
    let tables = env.read().and_then(|txn| txn.tables()).map_err(failure)?;
    let info = find(&tables, name)?;
    let (types, is_multimap) = (Types::recorded(info), info.duplicates.is_some());
    let what = args.understand(&types, is_multimap)?;
    let mut txn = write_as(env, name, &types)?;
    let deleted = match &what {
        What::Table(name) => drop_table(&mut txn, name)?,
        what if is_multimap => {
            let mut multimap = txn.multimap(&untyped_multimap(name)).map_err(failure)?;
            args.range.check_order(multimap.order())?;
            of_multimap(&mut multimap, what, &types)?
        }
        what => {
            let mut table = txn.table(&args.table.untyped()).map_err(failure)?;
            args.range.check_order(table.order())?;
            of_table(&mut table, what, &types)?
        }
    };
    let is_told = matches!(what, What::Pairs(..)) || matches!(what, What::Keys(_) if !is_multimap);
    Ok(Deleted { deleted, txnid: txn.commit().map_err(failure)?, is_told, is_multimap })
}

/// What is to be taken out.
enum What<'a> {
    Table(&'a str),
    Everything,
    Range(Bounds),
    Keys(Vec<Vec<u8>>),
    /// Values of one key.
    Pairs(Vec<u8>, Vec<Vec<u8>>),
}

impl DelArgs {
    fn understand(&self, types: &Types, is_multimap: bool) -> Result<What<'_>, Failure> {
        match &self.table.table {
            Some(name) if self.drop => return Ok(What::Table(name)),
            _ if self.all => return Ok(What::Everything),
            _ if self.range.is_given() => return self.range.bounds(types, is_multimap).map(What::Range),
            _ => {}
        }
        let bytes = |arguments: &[OsString], kind| {
            arguments.iter().map(|argument| argument::bytes(argument, kind)).collect::<Result<Vec<_>, _>>()
        };
        let mut keys = bytes(&self.keys, &types.keys)?;
        match keys.pop() {
            Some(key) if !self.values.is_empty() => {
                check_flag_of_multimaps("--value", is_multimap)?;
                if !keys.is_empty() {
                    return Err(Failure::usage(
                        "--value names values of one key, and there are several keys",
                    ));
                }
                Ok(What::Pairs(key, bytes(&self.values, &types.values)?))
            }
            last => {
                keys.extend(last);
                Ok(What::Keys(keys))
            }
        }
    }
}

fn drop_table(txn: &mut WriteTxn, name: &str) -> Result<u64, Failure> {
    let entries = find(&txn.tables().map_err(failure)?, Some(name))?.stat.entries;
    txn.drop_table(name).map_err(failure)?;
    Ok(entries)
}

/// Takes entries of a table out; answers how many.
fn of_table(table: &mut WriteTable<'_, [u8], [u8]>, what: &What<'_>, types: &Types) -> Result<u64, Failure> {
    match what {
        What::Keys(keys) => {
            for key in keys {
                if !table.delete(key).map_err(failure)? {
                    return Err(no_key(key, types));
                }
            }
            Ok(keys.len() as u64)
        }
        What::Range(bounds) => table.delete_range(bounds.as_range()).map_err(failure),
        _ => {
            let entries = table.len();
            table.clear().map_err(failure)?;
            Ok(entries)
        }
    }
}

/// Takes pairs of a multimap out; answers how many.
fn of_multimap(
    multimap: &mut WriteMultimap<'_, [u8], [u8]>,
    what: &What<'_>,
    types: &Types,
) -> Result<u64, Failure> {
    match what {
        What::Keys(keys) => {
            let mut deleted = 0;
            for key in keys {
                match multimap.delete_all(key).map_err(failure)? {
                    0 => return Err(no_key(key, types)),
                    pairs => deleted += pairs,
                }
            }
            Ok(deleted)
        }
        What::Pairs(key, values) => {
            for value in values {
                if !multimap.delete(key, value).map_err(failure)? {
                    let (key, value) = (types.keys.text_of(key), types.values.text_of(value));
                    return Err(Failure::absent(format!("the key \"{key}\" has no value \"{value}\"")));
                }
            }
            Ok(values.len() as u64)
        }
        What::Range(bounds) => delete_range(multimap, bounds),
        What::Everything | What::Table(_) => {
            let pairs = multimap.len();
            multimap.clear().map_err(failure)?;
            Ok(pairs)
        }
    }
}

fn delete_range(multimap: &mut WriteMultimap<'_, [u8], [u8]>, bounds: &Bounds) -> Result<u64, Failure> {
    let reading = multimap.reading().map_err(failure)?;
    let ends = |key: &[u8]| {
        Ok([reading.first_of(key)?, reading.last_of(key)?].map(|value| value.map(<[u8]>::to_vec)))
    };
    match bounds.of_pairs(ends)? {
        None => multimap.delete_range(bounds.as_range()),
        Some(bounds) => multimap.delete_pairs(bounds.as_range()),
    }
    .map_err(failure)
}

fn no_key(key: &[u8], types: &Types) -> Failure {
    Failure::absent(format!("there is no key \"{}\"", types.keys.text_of(key)))
}

impl Deleted {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        if self.is_told {
            return Ok(());
        }
        let deleted = match self.is_multimap {
            true => table::plural(self.deleted, "pair", "pairs"),
            false => table::plural(self.deleted, "entry", "entries"),
        };
        output.line(format!("{deleted} taken out"))
    }
}
