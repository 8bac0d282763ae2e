//! `maple create FILE`: make a database, or a table in one.

use std::path::PathBuf;

use clap::Args;
use mapledb::{Duplicates, Env, KeyOrder, Options};
use mapledb_format::PageSize;
use serde::Serialize;

use super::page_size;
use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output;
use crate::selection::find;
use crate::text::Type;

/// Create a database, or a table in one
#[derive(Debug, Args)]
#[command(after_help = WHAT_MAY_EXIST)]
pub struct CreateArgs {
    /// The database
    file: PathBuf,
    /// Create this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// The type of the table's keys
    #[arg(long, value_name = "TYPE", requires = "table", default_value = "bytes", value_parser = key_type)]
    keys: Type,
    /// The type of the table's values
    #[arg(long, value_name = "TYPE", requires = "table", default_value = "bytes", value_parser = value_type)]
    values: Type,
    /// The order of the table's keys: bytewise, reverse (from the last byte) or integer (little-endian, of one length)
    #[arg(long, value_name = "ORDER", requires = "table", default_value = "bytewise", value_parser = key_order)]
    order: KeyOrder,
    /// Make the table a multimap: many values to a key, each once and in order, packed if they have one length
    #[arg(long, requires = "table")]
    multimap: bool,
    /// The order of a multimap's values: bytewise, reverse or integer
    #[arg(long, value_name = "ORDER", requires = "multimap", default_value = "bytewise", value_parser = key_order)]
    value_order: KeyOrder,
    /// The page size in bytes: a power of two from 4096 (the default) to 65536
    #[arg(long, value_name = "BYTES", value_parser = page_size)]
    page_size: Option<PageSize>,
    /// The file's permissions in octal, before the umask
    #[arg(long, value_name = "MODE", default_value = "666", value_parser = octal)]
    mode: u32,
}

const WHAT_MAY_EXIST: &str = "\
Without --table the file must not exist. With --table the file is created unless it exists, and the table must not exist.";

#[derive(Debug, Serialize)]
struct Created {
    path: PathBuf,
    page_size: usize,
    table: Option<String>,
    txnid: u64,
}

/// Creates what was asked for.
pub fn run(args: &CreateArgs, manner: Manner) -> Result<(), Failure> {
    let env = match args.table {
        Some(_) if args.file.try_exists().unwrap_or(true) => args.open(manner)?,
        _ => door::create(args.options(), &args.file)?,
    };
    let txnid = match &args.table {
        None => env.read().map_err(failure)?.txnid(),
        Some(name) => create_table(&env, name, args)?,
    };
    let created =
        Created { path: env.path().to_owned(), page_size: env.page_size(), table: args.table.clone(), txnid };
    env.close().map_err(failure)?;
    output::report(manner.json, &created, |_, _| Ok(()))
}

impl CreateArgs {
    fn options(&self) -> Options {
        let options = Env::options().file_mode(self.mode);
        match self.page_size {
            Some(size) => options.page_size(size.bytes()),
            None => options,
        }
    }

    fn open(&self, manner: Manner) -> Result<Env, Failure> {
        let env = door::open_to_write(&self.file, manner)?;
        match self.page_size {
            Some(size) if size.bytes() != env.page_size() => Err(Failure::usage(format!(
                "{} exists with pages of {} bytes, which cannot be changed: leave --page-size out",
                self.file.display(),
                env.page_size()
            ))),
            _ => Ok(env),
        }
    }
}

fn create_table(env: &Env, name: &str, args: &CreateArgs) -> Result<u64, Failure> {
    let mut txn = env.write().map_err(failure)?;
    if find(&txn.tables().map_err(failure)?, Some(name)).is_ok() {
        return Err(Failure::file(format!("there is a table called {name:?} already: choose another name")));
    }
    let (keys, values) = (args.keys.to_string(), args.values.to_string());
    if args.multimap {
        let duplicates = duplicates(&args.values, args.value_order);
        let _ = txn.open_multimap_as(name, &keys, &values, Some(args.order), duplicates).map_err(failure)?;
    } else {
        let _ = txn.open_table_as_in_order(name, &keys, &values, Some(args.order)).map_err(failure)?;
    }
    txn.commit().map_err(failure)
}

/// What the duplicates of a multimap are whose values have this type and are in this order.
pub fn duplicates(values: &Type, order: KeyOrder) -> Duplicates {
    Duplicates { order, len: values.fixed_len().filter(|len| *len > 0) }
}

const TYPES: &str =
    "known are bytes, str, u8 to u128, i8 to i128, and tuples of two to four of these such as (u64,str)";

/// A type for keys.
pub fn key_type(name: &str) -> Result<Type, String> {
    match Type::recorded(name) {
        Type::Foreign(_) | Type::Unit => Err(TYPES.to_owned()),
        known => Ok(known),
    }
}

/// A type for values.
pub fn value_type(name: &str) -> Result<Type, String> {
    match Type::recorded(name) {
        Type::Foreign(_) => Err(format!("{TYPES}, and () for no value at all")),
        known => Ok(known),
    }
}

/// An order of keys that needs no program.
pub fn key_order(name: &str) -> Result<KeyOrder, String> {
    KeyOrder::built_in(name).ok_or_else(|| "known are bytewise, reverse and integer".to_owned())
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("an octal number up to 777 is needed".to_owned()),
    }
}
