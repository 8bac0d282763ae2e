//! `maple import SOURCE FILE`: the databases of an LMDB file into tables, without LMDB.
//!
//! The main database goes into the default table, and each named one into a table of its name. What cannot be imported is
//! found before anything is stored. A database made for sorted duplicates becomes a multimap, the main one where it is given a
//! name; into the default table it is imported if no key has several values. [`plain`] is where that is decided.

use std::collections::VecDeque;
use std::path::PathBuf;

use clap::Args;
use mapledb::{Duplicates, KeyOrder};
use mapledb_lmdb::{Database, Error, LmdbFile, Records};

use super::load::{Load, Rules};
use crate::cli::Manner;
use crate::door;
use crate::dump::{Field, Item, Record, Source, TableHead};
use crate::failure::Failure;
use crate::{interrupt, output, progress};

/// Read tables from an LMDB file
#[derive(Debug, Args)]
#[command(after_help = WHAT_BECOMES_WHAT)]
pub struct ImportArgs {
    /// The LMDB data file, or the directory that it is in
    source: PathBuf,
    /// The database; created if it does not exist
    file: PathBuf,
    /// Only the database of this name; may be given several times
    #[arg(long, short, value_name = "NAME")]
    table: Vec<String>,
    /// Only the main database; with --table, that one too
    #[arg(long)]
    main: bool,
    /// Make of the main database a table of this name, in its own order, and a multimap if it has duplicates
    #[arg(long, value_name = "NAME")]
    main_as: Option<String>,
    #[command(flatten)]
    rules: Rules,
    /// Read a source that a process has open; fails if it is changed meanwhile
    #[arg(long)]
    in_use: bool,
    /// Read a source whose order is one of the program that wrote it
    #[arg(long)]
    any_order: bool,
}

const WHAT_BECOMES_WHAT: &str = "\
The main database becomes the default table, and each named one a table of its name, all in one transaction, unless \
--table or --main chooses some. Read are files of LMDB 0.9 and 1.0, from 64-bit little-endian machines.

Keys and values keep their bytes, and keys their order: with MDB_INTEGERKEY and MDB_REVERSEKEY a table is made in such an \
order. The default table goes by bytes whatever the source did. A database made with MDB_DUPSORT becomes a multimap, with its \
duplicates in their order and packed where they were. The default table is none: a main database with several values under \
one key is refused unless --main-as names a table for it.";

/// Imports them.
pub fn run(args: &ImportArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch_once()?;
    let options = LmdbFile::options().in_use(args.in_use).any_order(args.any_order);
    let source = options.open(&args.source).map_err(foreign)?;
    let imports = args.imports(&source, manner)?;
    let records = imports.iter().map(|import| import.database.entries()).sum();
    let loaded = door::write_or_create(&args.file, manner, |env| {
        let load = Load::new(env, None, &args.rules, progress::bar(manner.quiet, records, "records"));
        load.run(Box::new(LmdbSource::new(&source, imports)))
    })?;
    output::report(manner.json, &loaded, |loaded, output| output.line(loaded.in_words()))
}

/// A database that becomes a table.
#[derive(Debug)]
struct Import {
    database: Database,
    /// The table; `None` is the default one.
    table: Option<String>,
    /// The order of its keys.
    order: KeyOrder,
    /// What its duplicates are if it becomes a multimap.
    duplicates: Option<Duplicates>,
}

impl ImportArgs {
    /// What is to be imported, which can be; with notes on what will be different.
    fn imports(&self, source: &LmdbFile, manner: Manner) -> Result<VecDeque<Import>, Failure> {
        let databases = source.databases().map_err(foreign)?;
        self.check_names(&databases)?;
        let chosen: Vec<Database> = databases.into_iter().filter(|database| self.chooses(database)).collect();
        if let Some(name) = &self.main_as
            && chosen.iter().any(|database| database.name() == Some(name.as_bytes()))
        {
            let why =
                format!("--main-as {name:?} is also the name of a database that is imported: choose another");
            return Err(Failure::usage(why));
        }
        chosen.into_iter().map(|database| plain(source, database, self.main_as.as_ref(), manner)).collect()
    }

    fn chooses(&self, database: &Database) -> bool {
        let all = self.table.is_empty() && !self.main;
        match database.name() {
            // Where the main database holds nothing but names, nobody means it.
            None => self.main || self.main_as.is_some() || all && database.entries() > 0,
            Some(name) => all || self.table.iter().any(|table| table.as_bytes() == name),
        }
    }

    fn check_names(&self, databases: &[Database]) -> Result<(), Failure> {
        let is_there = |name: &str| databases.iter().any(|database| database.name() == Some(name.as_bytes()));
        match self.table.iter().find(|name| !is_there(name)) {
            None => Ok(()),
            Some(missing) => {
                Err(Failure::file(format!("{}: there is no database {missing:?}", self.source.display())))
            }
        }
    }
}

/// A database as a table or a multimap, if it can be one; the main one as the default table, or as one called `main_as`.
fn plain(
    source: &LmdbFile,
    database: Database,
    main_as: Option<&String>,
    manner: Manner,
) -> Result<Import, Failure> {
    let about = |why: &str| format!("{}: {database}: {why}", source.path().display());
    let table = match database.name().map(|name| String::from_utf8(name.to_vec())).transpose() {
        Ok(name) => name.or_else(|| main_as.cloned()),
        Err(_) => return Err(Failure::input(about("its name is not UTF-8, as names of tables are"))),
    };
    let flags = database.flags();
    if table.is_none()
        && let Some(key) = source.first_key_with_duplicates(&database).map_err(foreign)?
    {
        return Err(Failure::input(about(&format!(
            "it has several values under one key, such as \"{}\", and the default table holds one to a key: --main-as \
             NAME makes it a multimap, --table chooses other databases",
            key.escape_ascii()
        ))));
    }
    let notes = [
        (
            table.is_none() && flags.dup_sort(),
            "made for several values under one key, which it does not have: a plain table",
        ),
        (
            table.is_none() && flags.integer_key(),
            "its keys are integers in the machine's byte order: the default table keeps their bytes, and goes by them",
        ),
        (
            table.is_none() && flags.reverse_key(),
            "its keys were ordered from their ends: in the default table they are from their beginnings",
        ),
    ];
    notes.iter().filter(|(is_so, _)| *is_so).for_each(|(_, note)| door::tell_note(&about(note), manner));
    let order = match (flags.integer_key(), flags.reverse_key(), &table) {
        (.., None) | (false, false, _) => KeyOrder::BYTEWISE,
        (true, ..) => KeyOrder::INTEGER,
        (false, true, _) => KeyOrder::REVERSE,
    };
    let duplicates = match flags.dup_sort() && table.is_some() {
        true => Some(duplicates_of(source, &database)?),
        false => None,
    };
    Ok(Import { database, table, order, duplicates })
}

/// What the duplicates of a database are. That they have one length its flags say, and the first one shows it.
fn duplicates_of(source: &LmdbFile, database: &Database) -> Result<Duplicates, Failure> {
    let flags = database.flags();
    let mut len = None;
    if flags.dup_fixed() || flags.integer_dup() {
        let mut records = source.records(database);
        let first = records.next_record().map_err(foreign)?;
        len = Some(first.map_or(size_of::<u64>(), |(_, value)| value.len())).filter(|len| *len > 0);
    }
    let order = match (flags.integer_dup() && len.is_some(), flags.reverse_dup()) {
        (true, _) => KeyOrder::INTEGER,
        (false, true) => KeyOrder::REVERSE,
        (false, false) => KeyOrder::BYTEWISE,
    };
    Ok(Duplicates { order, len })
}

/// The records of an LMDB file, database by database.
struct LmdbSource<'f> {
    file: &'f LmdbFile,
    to_come: VecDeque<Import>,
    database: String,
    records: Option<Records<'f>>,
    /// How many records of the database were read.
    read: u64,
}

impl<'f> LmdbSource<'f> {
    fn new(file: &'f LmdbFile, to_come: VecDeque<Import>) -> LmdbSource<'f> {
        LmdbSource { file, to_come, database: String::new(), records: None, read: 0 }
    }

    fn record(&mut self) -> Result<Option<Record>, Failure> {
        let Some(records) = &mut self.records else {
            return Ok(None);
        };
        let record = records.next_record().map_err(foreign)?;
        self.read += u64::from(record.is_some());
        let exact = |bytes: &[u8]| Field::Exact(bytes.to_vec());
        Ok(record.map(|(key, value)| Record { key: exact(key), value: exact(value), line: self.read }))
    }

    fn table(&mut self) -> Option<TableHead> {
        let Import { database, table, order, duplicates } = self.to_come.pop_front()?;
        self.database = database.to_string();
        self.records = Some(self.file.records(&database));
        self.read = 0;
        Some(TableHead {
            name: table,
            types: None,
            order: Some(order.name().to_owned()),
            duplicates,
            sequence: 0,
            duplicate_order: None,
            line: 0,
        })
    }
}

impl Source for LmdbSource<'_> {
    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        if let Some(record) = self.record()? {
            return Ok(Some(Item::Record(record)));
        }
        Ok(self.table().map(Item::Table))
    }

    fn place(&self, number: u64) -> String {
        let source = self.file.path().display();
        match number {
            0 => format!("{source}: {}", self.database),
            number => format!("{source}: record {number} of {}", self.database),
        }
    }
}

/// Why an LMDB file could not be read, as a failure of the command.
fn foreign(error: Error) -> Failure {
    match error {
        Error::Foreign { .. } | Error::Damaged { .. } => Failure::input(error.to_string()),
        Error::InUse { .. } => Failure::file(format!("{error} (--in-use reads it all the same)")),
        Error::Io { ref source, .. } => {
            let advice = mapledb_os::advice(source);
            Failure::file(format!("{error}; {advice}"))
        }
        _ => Failure::file(error.to_string()),
    }
}
