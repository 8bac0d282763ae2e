//! `maple dump FILE`: tables as text, from one snapshot.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use mapledb::{Env, ReadTxn, TableInfo};
use serde::Serialize;

use crate::cli::{Manner, Reading, StateArgs};
use crate::contents::Contents;
use crate::destination::{self, Destination};
use crate::door::{self, failure};
use crate::dump::{self, Format, Sink, TableHead};
use crate::failure::{Failure, Kind};
use crate::output;
use crate::selection::{Types, find};
use crate::{interrupt, progress, table};

/// Write tables as text that "maple load" and other programs read
#[derive(Debug, Args)]
#[command(after_help = "All tables, from one snapshot, unless --table or --main chooses one.")]
pub struct DumpArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    /// Only this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// Only the default table
    #[arg(long, conflicts_with = "table")]
    main: bool,
    /// The format; left out, the one that the output's name promises, else jsonl
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// Write to this file, which appears whole or not at all, or into this pipe or device; - or left out, to standard
    /// output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// CSV and TSV without a first line that names the columns
    #[arg(long)]
    no_header: bool,
    /// In bytevalue text, the size of the map that mdb_load is to make, in bytes; or auto, four times what the file uses
    #[arg(long, value_name = "BYTES", value_parser = map_size)]
    mapsize: Option<MapSize>,
}

/// How large a map LMDB is told to make.
#[derive(Debug, Clone, Copy)]
enum MapSize {
    /// By what the database takes here.
    Auto,
    Bytes(u64),
}

fn map_size(text: &str) -> Result<MapSize, String> {
    match text {
        "auto" => Ok(MapSize::Auto),
        bytes => {
            bytes.parse().map(MapSize::Bytes).map_err(|_| "a number of bytes or auto is needed".to_owned())
        }
    }
}

impl MapSize {
    /// In bytes. A map of LMDB takes address space and no room; a file of it may be larger than ours, being filled in any order.
    fn bytes(self, env: &Env) -> Result<u64, Failure> {
        const LEAST: u64 = 16 << 20;
        match self {
            MapSize::Bytes(bytes) => Ok(bytes),
            MapSize::Auto => {
                let used_pages = env.space().map_err(failure)?.used_pages;
                Ok(used_pages.saturating_mul(4 * env.page_size() as u64).max(LEAST))
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Dumped {
    txnid: u64,
    tables: u64,
    records: u64,
}

/// Writes them.
pub fn run(args: &DumpArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let tables = args.choose(txn.tables().map_err(failure)?)?;
    let format = args.format();
    if tables.len() > 1 && !format.holds_tables() {
        let count = tables.len();
        let why =
            format!("this format holds one table and there are {count}: choose one with --table or --main");
        return Err(Failure::usage(why));
    }
    if args.mapsize.is_some() && format != Format::Bytevalue {
        return Err(Failure::usage("--mapsize goes into text for mdb_load: take --format bytevalue"));
    }
    let map_bytes = args.mapsize.map(|size| size.bytes(&env)).transpose()?;
    let destination = args.destination()?;
    let total = tables.iter().map(|table| table.stat.entries).sum();
    let mut dump = Dump {
        txn: &txn,
        layout: (env.page_size(), map_bytes),
        bar: progress::bar(manner.quiet, total, "records"),
        dumped: Dumped { txnid: txn.txnid(), tables: 0, records: 0 },
        to: destination.name(),
    };
    let written = match &destination {
        Destination::Stdout => dump.write(buffered(io::stdout().lock()), args, &tables, format),
        Destination::Stream(path) => dump.write_stream(path, args, &tables, format),
        Destination::NewFile(path) | Destination::Replaced(path) => {
            dump.write_file(path, args, &tables, format, matches!(destination, Destination::Replaced(_)))
        }
    };
    dump.bar.finish_and_clear();
    let dumped = dump.dumped;
    match written {
        Ok(()) => tell(&dumped, &destination, manner),
        Err(failure) if failure.kind == Kind::PipeClosed => Err(failure),
        Err(failure) => Err(failure.after([("records written", dumped.records), ("records in all", total)])),
    }
}

impl DumpArgs {
    fn choose(&self, tables: Vec<TableInfo>) -> Result<Vec<TableInfo>, Failure> {
        if self.table.is_some() || self.main {
            return find(&tables, self.table.as_deref()).map(|table| vec![table.clone()]);
        }
        // An empty default table beside named ones says nothing but its sequence, and db_load has no place for it.
        let has_named = tables.len() > 1;
        let says_sequences = self.format() == Format::Jsonl;
        let says_something =
            |table: &TableInfo| table.stat.entries > 0 || says_sequences && table.sequence > 0;
        Ok(tables
            .into_iter()
            .filter(|table| !has_named || table.name.is_some() || says_something(table))
            .collect())
    }

    fn format(&self) -> Format {
        self.format.or_else(|| Format::of_name(self.output()?)).unwrap_or(Format::Jsonl)
    }

    fn destination(&self) -> Result<Destination, Failure> {
        match self.output() {
            None => Ok(Destination::Stdout),
            Some(path) => Destination::of(path, self.force, &[&self.database.file]),
        }
    }

    /// The file to write to, unless that is standard output.
    fn output(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

fn buffered<'w>(writer: impl Write + 'w) -> Box<dyn Write + 'w> {
    Box::new(BufWriter::with_capacity(64 << 10, writer))
}

/// A dump on its way.
struct Dump<'t> {
    txn: &'t ReadTxn,
    /// The size of its pages, and of a map that it is to be loaded into.
    layout: (usize, Option<u64>),
    bar: ProgressBar,
    dumped: Dumped,
    /// What to call the place it goes to.
    to: String,
}

impl Dump<'_> {
    fn write_stream(
        &mut self,
        path: &Path,
        args: &DumpArgs,
        tables: &[TableInfo],
        format: Format,
    ) -> Result<(), Failure> {
        let stream = File::options().write(true).open(path).map_err(|e| Failure::os("write", path, e))?;
        self.write(buffered(stream), args, tables, format)
    }

    fn write_file(
        &mut self,
        path: &Path,
        args: &DumpArgs,
        tables: &[TableInfo],
        format: Format,
        is_replaced: bool,
    ) -> Result<(), Failure> {
        destination::write_whole(path, is_replaced, |file| self.write(buffered(file), args, tables, format))
    }

    fn write(
        &mut self,
        output: Box<dyn Write + '_>,
        args: &DumpArgs,
        tables: &[TableInfo],
        format: Format,
    ) -> Result<(), Failure> {
        let mut sink = dump::sink(format, !args.no_header, self.layout, output);
        for table in tables {
            self.table(&mut *sink, table)?;
        }
        sink.finish(self.dumped.records).map_err(|error| Failure::writing(&self.to, &error))
    }

    fn table(&mut self, sink: &mut dyn Sink, table: &TableInfo) -> Result<(), Failure> {
        let to = self.to.clone();
        let wrong = |error| Failure::writing(&to, &error);
        let Types { keys, values } = Types::recorded(table);
        let head = TableHead {
            name: table.name.clone(),
            types: Some((keys, values)),
            order: Some(table.order.clone()),
            duplicates: table.duplicates,
            sequence: table.sequence,
            duplicate_order: table.duplicate_order.clone(),
            line: 0,
        };
        sink.begin(&head).map_err(wrong)?;
        let txn = self.txn;
        for record in Contents::of(txn, table.name.as_deref(), table.duplicates)?.all()? {
            let (key, value) = record?;
            interrupt::check()?;
            sink.record(key, value).map_err(|error| Failure::writing(&self.to, &error))?;
            self.dumped.records += 1;
            self.bar.inc(1);
        }
        self.dumped.tables += 1;
        Ok(())
    }
}

/// Says what was dumped: on standard output, unless the dump may have gone there.
fn tell(dumped: &Dumped, destination: &Destination, manner: Manner) -> Result<(), Failure> {
    if destination.is_file() {
        return output::report(manner.json, dumped, |dumped, output| output.line(dumped.in_words()));
    }
    if !manner.quiet {
        let words = || Ok(format!("maple: {}", dumped.in_words()));
        let line = if manner.json { serde_json::to_string(dumped) } else { words() };
        output::aside(&line.expect("three numbers are JSON"));
    }
    Ok(())
}

impl Dumped {
    fn in_words(&self) -> String {
        let records = table::plural(self.records, "record", "records");
        let tables = table::plural(self.tables, "table", "tables");
        format!("dumped {records} of {tables}, commit {}", self.txnid)
    }
}
