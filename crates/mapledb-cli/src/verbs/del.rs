//! `maple del FILE KEY…`: take out keys, ranges, or a whole table.

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
    Bounds, RangeArgs, TableArgs, Types, find, is_multimap, types_of, untyped_multimap, write_as,
};
use crate::table;

/// Take out keys, a range of keys, or a table
#[derive(Debug, Args)]
#[command(override_usage = "maple del [OPTIONS] <FILE> [KEY]...", after_help = ALL_OR_NOTHING)]
#[command(group = ArgGroup::new("what").args(["keys", "from", "after", "to", "until", "prefix", "all", "drop"])
    .required(true).multiple(true))]
pub struct DelArgs {
    /// The database
    file: PathBuf,
    /// Keys
    #[arg(value_name = "KEY", allow_negative_numbers = true, conflicts_with_all = ["from", "after", "to", "until", "prefix"])]
    keys: Vec<OsString>,
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
One transaction. Exit code 1 if a key that was named is not there: then nothing is taken out.";

#[derive(Debug, Serialize)]
struct Deleted {
    deleted: u64,
    txnid: u64,
}

/// Takes them out.
pub fn run(args: &DelArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_write(&args.file, manner)?;
    let deleted = delete(args, &env)?;
    env.close().map_err(failure)?;
    let by_name = !args.keys.is_empty();
    output::report(manner.json, &deleted, |deleted, output| deleted.in_words(by_name, output))
}

fn delete(args: &DelArgs, env: &Env) -> Result<Deleted, Failure> {
    let name = args.table.table.as_deref();
    let types = types_of(&env.read().map_err(failure)?, name)?;
    let what = args.understand(&types)?;
    let is_multimap = is_multimap(&env.read().map_err(failure)?, name)?;
    let mut txn = write_as(env, name, &types)?;
    if is_multimap && !matches!(what, What::Table(_)) {
        let mut multimap = txn.multimap(&untyped_multimap(name)).map_err(failure)?;
        let deleted = match &what {
            What::Keys(keys) => delete_pairs(&mut multimap, keys, &types)?,
            What::Range(bounds) => multimap.delete_range(bounds.as_range()).map_err(failure)?,
            What::Everything | What::Table(_) => {
                let pairs = multimap.len();
                multimap.clear().map_err(failure)?;
                pairs
            }
        };
        return Ok(Deleted { deleted, txnid: txn.commit().map_err(failure)? });
    }
    let deleted = match &what {
        What::Table(name) => drop_table(&mut txn, name)?,
        What::Everything => clear(&mut args.open(&mut txn)?)?,
        What::Range(bounds) => {
            let mut table = args.open(&mut txn)?;
            args.range.check_order(table.order())?;
            table.delete_range(bounds.as_range()).map_err(failure)?
        }
        What::Keys(keys) => delete_keys(&mut args.open(&mut txn)?, keys, &types)?,
    };
    Ok(Deleted { deleted, txnid: txn.commit().map_err(failure)? })
}

/// What is to be taken out.
enum What<'a> {
    Table(&'a str),
    Everything,
    Range(Bounds),
    Keys(Vec<Vec<u8>>),
}

impl DelArgs {
    fn understand(&self, types: &Types) -> Result<What<'_>, Failure> {
        match &self.table.table {
            Some(name) if self.drop => Ok(What::Table(name)),
            _ if self.all => Ok(What::Everything),
            _ if self.range.is_given() => self.range.bounds(&types.keys).map(What::Range),
            _ => {
                let keys = self.keys.iter().map(|key| argument::bytes(key, &types.keys));
                keys.collect::<Result<_, _>>().map(What::Keys)
            }
        }
    }

    fn open<'t>(&self, txn: &'t mut WriteTxn) -> Result<Untyped<'t>, Failure> {
        txn.table(&self.table.untyped()).map_err(failure)
    }
}

type Untyped<'t> = WriteTable<'t, [u8], [u8]>;

fn drop_table(txn: &mut WriteTxn, name: &str) -> Result<u64, Failure> {
    let entries = find(&txn.tables().map_err(failure)?, Some(name))?.stat.entries;
    txn.drop_table(name).map_err(failure)?;
    Ok(entries)
}

fn clear(table: &mut Untyped<'_>) -> Result<u64, Failure> {
    let entries = table.len();
    table.clear().map_err(failure)?;
    Ok(entries)
}

fn delete_keys(table: &mut Untyped<'_>, keys: &[Vec<u8>], types: &Types) -> Result<u64, Failure> {
    for key in keys {
        if !table.delete(key).map_err(failure)? {
            return Err(Failure::absent(format!("there is no key \"{}\"", types.keys.text_of(key))));
        }
    }
    Ok(keys.len() as u64)
}

/// Takes every pair of these keys out.
fn delete_pairs(
    multimap: &mut WriteMultimap<'_, [u8], [u8]>,
    keys: &[Vec<u8>],
    types: &Types,
) -> Result<u64, Failure> {
    let mut deleted = 0;
    for key in keys {
        match multimap.delete_all(key).map_err(failure)? {
            0 => return Err(Failure::absent(format!("there is no key \"{}\"", types.keys.text_of(key)))),
            pairs => deleted += pairs,
        }
    }
    Ok(deleted)
}

impl Deleted {
    fn in_words(&self, by_name: bool, output: &mut Output) -> Result<(), Failure> {
        if by_name {
            return Ok(());
        }
        output.line(format!("{} taken out", table::plural(self.deleted, "entry", "entries")))
    }
}
