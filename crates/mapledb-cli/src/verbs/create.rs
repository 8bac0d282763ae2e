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
    /// The order of the table's keys: bytewise, reverse (from the last byte) or integer (little-endian, of one length);
    /// bytewise if left out, integer for keys such as u64le
    #[arg(long, value_name = "ORDER", requires = "table", value_parser = key_order)]
    order: Option<KeyOrder>,
    /// Make the table a multimap: many values to a key, each once and in order, packed if they have one length
    #[arg(long, requires = "table")]
    multimap: bool,
    #[command(flatten)]
    duplicates: DuplicatesArgs,
    /// The page size in bytes: a power of two from 4096 (the default) to 65536
    #[arg(long, value_name = "BYTES", value_parser = page_size)]
    page_size: Option<PageSize>,
    /// The file's permissions in octal, before the umask
    #[arg(long, value_name = "MODE", default_value = "666", value_parser = octal)]
    mode: u32,
}

/// What the values of a multimap are, beside their type.
#[derive(Debug, Args)]
pub struct DuplicatesArgs {
    /// The order of a multimap's values: bytewise, reverse or integer; as with keys if left out
    #[arg(long, value_name = "ORDER", requires = "multimap", value_parser = key_order)]
    value_order: Option<KeyOrder>,
    /// The one length of a multimap's values, which are packed then; that of their type if it has one
    #[arg(long, value_name = "BYTES", requires = "multimap", value_parser = clap::value_parser!(u16).range(1..))]
    value_length: Option<u16>,
}

impl DuplicatesArgs {
    /// What the duplicates of a multimap are whose values have this type.
    pub fn of(&self, values: &Type) -> Result<Duplicates, Failure> {
        let order = self.value_order.unwrap_or(values.order());
        let of_type = values.fixed_len().filter(|len| *len > 0);
        let asked = self.value_length.map(usize::from);
        match (of_type, asked) {
            (Some(len), Some(asked)) if len != asked => Err(Failure::usage(format!(
                "values of type {values} have {len} bytes, and --value-length says {asked}"
            ))),
            (None, None) if order == KeyOrder::INTEGER => Err(Failure::usage(format!(
                "values of type {values} have no one length, as integers have: give it by --value-length"
            ))),
            (of_type, asked) => Ok(Duplicates { order, len: of_type.or(asked) }),
        }
    }
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
    let make = |env: &Env| {
        let txnid = match &args.table {
            None => env.read().map_err(failure)?.txnid(),
            Some(name) => create_table(env, name, args)?,
        };
        let (path, page_size, table) = (env.path().to_owned(), env.page_size(), args.table.clone());
        Ok(Created { path, page_size, table, txnid })
    };
    let created = match args.table {
        Some(_) if door::exists(&args.file) => door::write(&args.file, manner, |env| {
            args.check_page_size(env)?;
            make(env)
        })?,
        _ => door::create(args.options(), &args.file, make)?,
    };
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

    fn check_page_size(&self, env: &Env) -> Result<(), Failure> {
        match self.page_size {
            Some(size) if size.bytes() != env.page_size() => Err(Failure::usage(format!(
                "{} exists with pages of {} bytes, which cannot be changed: leave --page-size out",
                self.file.display(),
                env.page_size()
            ))),
            _ => Ok(()),
        }
    }
}

fn create_table(env: &Env, name: &str, args: &CreateArgs) -> Result<u64, Failure> {
    let mut txn = env.write().map_err(failure)?;
    if find(&txn.tables().map_err(failure)?, Some(name)).is_ok() {
        return Err(Failure::file(format!("there is a table called {name:?} already: choose another name")));
    }
    let (keys, values) = (args.keys.to_string(), args.values.to_string());
    let order = Some(args.order.unwrap_or(args.keys.order()));
    if args.multimap {
        let duplicates = args.duplicates.of(&args.values)?;
        let _ = txn.open_multimap_as(name, &keys, &values, order, duplicates).map_err(failure)?;
    } else {
        let _ = txn.open_table_as_in_order(name, &keys, &values, order).map_err(failure)?;
    }
    txn.commit().map_err(failure)
}

const TYPES: &str = "known are bytes, str, bool, char, u8 to u128, i8 to i128, f32, f64, those with their lowest byte first such as \
    u64le, ipv4, ipv6, ip, duration, timestamp, date, time, datetime, uuid, and what holds them: (u64,str), option<f64>, [u16;4], [str]";

/// A type for keys.
pub fn key_type(name: &str) -> Result<Type, String> {
    match Type::recorded(name) {
        known if known.is_for_keys() => Ok(known),
        Type::Foreign(_) => Err(TYPES.to_owned()),
        _ => Err("keys of this type would not sort by their bytes, or all be one".to_owned()),
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
