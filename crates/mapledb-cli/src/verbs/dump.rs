//! `maple dump FILE`: tables as text, from one snapshot.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use mapledb::{ReadTxn, TableInfo};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::dump::{self, Format, Sink, TableHead};
use crate::failure::{Failure, Kind};
use crate::output;
use crate::selection::{Types, find, untyped};
use crate::{interrupt, progress, table};

/// Write tables as text that "maple load" and other programs read
#[derive(Debug, Args)]
#[command(after_help = "All tables, from one snapshot, unless --table or --main chooses one.")]
pub struct DumpArgs {
    #[command(flatten)]
    database: Reading,
    /// Only this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// Only the default table
    #[arg(long, conflicts_with = "table")]
    main: bool,
    /// The format; left out, the one that the output's name promises, else jsonl
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// Write to this file, which appears whole or not at all; - or left out, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// CSV and TSV without a first line that names the columns
    #[arg(long)]
    no_header: bool,
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
    let txn = env.read().map_err(failure)?;
    let tables = args.choose(txn.tables().map_err(failure)?)?;
    let format = args.format();
    if tables.len() > 1 && !format.holds_tables() {
        let count = tables.len();
        let why =
            format!("this format holds one table and there are {count}: choose one with --table or --main");
        return Err(Failure::usage(why));
    }
    if let Some(path) = args.output()
        && !args.force
        && path.try_exists().unwrap_or(false)
    {
        return Err(Failure::file(format!("{} exists: --force replaces it", path.display())));
    }
    let total = tables.iter().map(|table| table.stat.entries).sum();
    let mut dump = Dump {
        txn: &txn,
        page_size: env.page_size(),
        bar: progress::bar(manner.quiet, total, "records"),
        dumped: Dumped { txnid: txn.txnid(), tables: 0, records: 0 },
    };
    let written = match args.output() {
        Some(path) => dump.write_file(path, args, &tables, format),
        None => dump.write(
            Box::new(BufWriter::with_capacity(64 << 10, io::stdout().lock())),
            args,
            &tables,
            format,
        ),
    };
    dump.bar.finish_and_clear();
    let dumped = dump.dumped;
    match written {
        Ok(()) => tell(&dumped, args, manner),
        Err(failure) if failure.kind == Kind::PipeClosed => Err(failure),
        Err(failure) => Err(failure.after([("records written", dumped.records), ("records in all", total)])),
    }
}

impl DumpArgs {
    fn choose(&self, tables: Vec<TableInfo>) -> Result<Vec<TableInfo>, Failure> {
        if self.table.is_some() || self.main {
            return find(&tables, self.table.as_deref()).map(|table| vec![table.clone()]);
        }
        // An empty default table beside named ones says nothing, and db_load has no place for it.
        let has_named = tables.len() > 1;
        Ok(tables
            .into_iter()
            .filter(|table| !has_named || table.name.is_some() || table.stat.entries > 0)
            .collect())
    }

    fn format(&self) -> Format {
        self.format.or_else(|| Format::of_name(self.output()?)).unwrap_or(Format::Jsonl)
    }

    /// The file to write to, unless that is standard output.
    fn output(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// A dump on its way.
struct Dump<'t> {
    txn: &'t ReadTxn,
    page_size: usize,
    bar: ProgressBar,
    dumped: Dumped,
}

impl Dump<'_> {
    fn write_file(
        &mut self,
        path: &Path,
        args: &DumpArgs,
        tables: &[TableInfo],
        format: Format,
    ) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::file(format!("cannot write {}: {error}", path.display()));
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The permissions are those of any new file: the umask still applies.
        let mut draft = tempfile::Builder::new()
            .prefix(".maple-dump-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(cannot)?;
        self.write(Box::new(BufWriter::with_capacity(64 << 10, draft.as_file_mut())), args, tables, format)?;
        publish(draft, path, args.force).and_then(|()| File::open(directory)?.sync_all()).map_err(cannot)
    }

    fn write(
        &mut self,
        output: Box<dyn Write + '_>,
        args: &DumpArgs,
        tables: &[TableInfo],
        format: Format,
    ) -> Result<(), Failure> {
        let mut sink = dump::sink(format, !args.no_header, self.page_size, output);
        for table in tables {
            self.table(&mut *sink, table)?;
        }
        sink.finish(self.dumped.records).map_err(|error| Failure::writing(&error))
    }

    fn table(&mut self, sink: &mut dyn Sink, table: &TableInfo) -> Result<(), Failure> {
        let wrong = |error| Failure::writing(&error);
        let Types { keys, values } = Types::recorded(table);
        let head = TableHead { name: table.name.clone(), types: Some((keys, values)), line: 0 };
        sink.begin(&head).map_err(wrong)?;
        let entries = self.txn.table(&untyped(table.name.as_deref())).and_then(|table| table.iter());
        for entry in entries.map_err(failure)? {
            let (key, value) = entry.map_err(failure)?;
            interrupt::check()?;
            sink.record(key, value).map_err(wrong)?;
            self.dumped.records += 1;
            self.bar.inc(1);
        }
        self.dumped.tables += 1;
        Ok(())
    }
}

fn publish(draft: NamedTempFile, path: &Path, force: bool) -> io::Result<()> {
    draft.as_file().sync_all()?;
    if force {
        draft.persist(path)?;
    } else {
        draft.persist_noclobber(path)?;
    }
    Ok(())
}

/// Says what was dumped: on standard output, unless the dump went there.
fn tell(dumped: &Dumped, args: &DumpArgs, manner: Manner) -> Result<(), Failure> {
    if args.output().is_some() {
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
