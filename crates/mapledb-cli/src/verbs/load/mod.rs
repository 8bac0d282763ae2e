//! `maple load FILE DUMP`: text into tables.
//!
//! All of it is one transaction, or, with `--batch`, one for each so many records. Whatever is wrong ends the load
//! with the line it is on, and with counts of what was kept.

mod feed;
mod target;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use mapledb::{Env, WriteTable, WriteTxn};
use serde::Serialize;

use super::create;
use crate::cli::Manner;
use crate::door::{self, failure};
use crate::dump::{self, Columns, Format};
use crate::failure::Failure;
use crate::output;
use crate::selection::TableArgs;
use crate::text::Type;
use crate::{interrupt, progress, table};

use feed::{Feed, Pause};
use target::Target;

/// Read tables from text that "maple dump" or other programs wrote
#[derive(Debug, Args)]
#[command(after_help = ALL_OR_NOTHING)]
pub struct LoadArgs {
    /// The database
    file: PathBuf,
    /// The dump; standard input if left out or -
    #[arg(default_value = "-", hide_default_value = true)]
    dump: PathBuf,
    /// The dump's format; left out, the one that its name promises or its first bytes show
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    table: TableArgs,
    /// Create the database if it does not exist
    #[arg(long)]
    create: bool,
    /// What to do with a record whose key is there already: store its value, pass it over, or fail
    #[arg(long, value_enum, default_value = "replace")]
    existing: Existing,
    /// Commit after every so many records; what is committed stays if the load fails later
    #[arg(long, value_name = "RECORDS")]
    batch: Option<NonZeroU64>,
    /// The type of the keys of tables to be created, where the dump does not say
    #[arg(long, value_name = "TYPE", default_value = "bytes", value_parser = create::key_type)]
    keys: Type,
    /// The type of the values of tables to be created, where the dump does not say
    #[arg(long, value_name = "TYPE", default_value = "bytes", value_parser = create::value_type)]
    values: Type,
    /// CSV and TSV without a first line that names the columns
    #[arg(long)]
    no_header: bool,
    /// Take CSV and TSV fields as text, without prefixes such as hex:
    #[arg(long)]
    plain: bool,
}

const ALL_OR_NOTHING: &str = "\
One transaction: all of the dump is loaded, or nothing. Tables that the dump names are created if they are not there.";

/// What to do with a record whose key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Existing {
    // Store the record's value. Ordinary comments, as the help would spend a paragraph on each doc comment.
    Replace,
    // Keep the value that is there.
    Keep,
    // Fail.
    Refuse,
}

/// What a load did.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Loaded {
    records: u64,
    new: u64,
    replaced: u64,
    kept: u64,
    tables: u64,
    commits: u64,
    txnid: u64,
}

/// Loads it.
pub fn run(args: &LoadArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch_once()?;
    let mut input = open_input(&args.dump)?;
    let format = args.format(&mut input)?;
    let env = args.open(manner)?;
    let columns = Columns { header: !args.no_header, plain: args.plain };
    let mut load = Load {
        args,
        env: &env,
        bar: progress::counter(manner.quiet, "records"),
        reached: Loaded::default(),
        committed: Loaded::default(),
    };
    let done = load.run(&mut Feed::new(dump::source(format, columns, input)));
    load.bar.finish_and_clear();
    let (read, loaded) = (load.reached.records, load.committed);
    match done {
        Ok(()) => {
            env.close().map_err(failure)?;
            output::report(manner.json, &loaded, |loaded, output| output.line(loaded.in_words()))
        }
        Err(failure) => Err(failure
            .at(name_of(&args.dump))
            .after([("records read", read), ("records loaded", loaded.records)])),
    }
}

impl LoadArgs {
    fn format(&self, input: &mut Box<dyn BufRead>) -> Result<Format, Failure> {
        if let Some(format) = self.format.or_else(|| Format::of_name(&self.dump)) {
            return Ok(format);
        }
        let beginning = input.fill_buf().map_err(|error| unreadable(&self.dump, &error))?;
        if beginning.is_empty() {
            let why = "it is empty, which no dump is: look at what should have written it";
            return Err(Failure::input(why).at(name_of(&self.dump)));
        }
        Format::of_beginning(beginning).ok_or_else(|| {
            let why = "neither its name nor its beginning shows a format: give --format";
            Failure::input(why).at(name_of(&self.dump))
        })
    }

    fn open(&self, manner: Manner) -> Result<Env, Failure> {
        if self.create && !self.file.try_exists().unwrap_or(true) {
            return door::create(Env::options(), &self.file);
        }
        door::open_to_write(&self.file, manner)
    }
}

fn open_input(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(Box::new(BufReader::with_capacity(256 << 10, file)))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::file(format!("cannot read {}: {error}; {}", name_of(path), mapledb_os::advice(error)))
}

/// What messages call a dump.
fn name_of(dump: &Path) -> Cow<'_, str> {
    if dump == Path::new("-") { "standard input".into() } else { dump.to_string_lossy() }
}

/// A load on its way.
struct Load<'a> {
    args: &'a LoadArgs,
    env: &'a Env,
    bar: ProgressBar,
    /// What has been done, committed or not.
    reached: Loaded,
    /// What had been done at the last commit.
    committed: Loaded,
}

impl Load<'_> {
    fn run(&mut self, feed: &mut Feed<'_>) -> Result<(), Failure> {
        let mut target: Option<Target> = None;
        loop {
            feed.allow(self.args.batch);
            let mut txn = self.env.write().map_err(failure)?;
            let is_over = self.transaction(&mut txn, &mut target, feed)?;
            self.reached.txnid = txn.commit().map_err(failure)?;
            self.reached.commits += 1;
            self.committed = self.reached;
            if is_over {
                return Ok(());
            }
        }
    }

    /// Loads records until the dump is over, or until it is time to commit. Answers whether it is over.
    fn transaction(
        &mut self,
        txn: &mut WriteTxn,
        target: &mut Option<Target>,
        feed: &mut Feed<'_>,
    ) -> Result<bool, Failure> {
        loop {
            match feed.pause()? {
                Pause::Table(head) => {
                    if self.args.table.table.is_some() && target.is_some() {
                        return Err(Failure::input(format!(
                            "line {}: a second table begins, and --table names one",
                            head.line
                        )));
                    }
                    *target = Some(Target::of(&head, self.args, txn)?);
                    self.reached.tables += 1;
                }
                Pause::Records => {
                    if target.is_none() {
                        *target = Some(Target::unnamed(self.args, txn)?);
                        self.reached.tables += 1;
                    }
                    let Some(target) = target else { continue };
                    self.fill(txn, target, feed)?;
                }
                Pause::Commit => return Ok(false),
                Pause::End => return Ok(true),
            }
        }
    }

    /// Loads the records that come next into their table.
    fn fill(&mut self, txn: &mut WriteTxn, target: &Target, feed: &mut Feed<'_>) -> Result<(), Failure> {
        let mut table = txn.table(&target.untyped()).map_err(failure)?;
        let before = table.len();
        let read_before = feed.given();
        let kept_before = self.reached.kept;
        let filled = self.append(&mut table, target, feed).and_then(|()| self.put(&mut table, target, feed));
        let (added, read) = (table.len().saturating_sub(before), feed.given() - read_before);
        let kept = self.reached.kept - kept_before;
        self.reached.records += read;
        self.reached.new += added;
        self.reached.replaced += read.saturating_sub(added).saturating_sub(kept);
        filled
    }

    /// Loads as many records as come in order behind what the table holds: into full pages, without a search.
    fn append(
        &mut self,
        table: &mut Untyped<'_>,
        target: &Target,
        feed: &mut Feed<'_>,
    ) -> Result<(), Failure> {
        let last = table.last().map_err(failure)?.map(|(key, _)| key.to_vec());
        let bar = &self.bar;
        let appended = table.load_sorted(feed.ascending(&target.types, last).inspect(|_| bar.inc(1)).map(Ok));
        appended.map_err(|error| feed.blame(failure(error))).map(drop)
    }

    /// Loads records in any order.
    fn put(&mut self, table: &mut Untyped<'_>, target: &Target, feed: &mut Feed<'_>) -> Result<(), Failure> {
        while let Some((key, value)) = feed.next_record(&target.types) {
            self.bar.inc(1);
            let stored = match self.args.existing {
                Existing::Replace => table.put(&key, &value).map(|()| true),
                Existing::Keep | Existing::Refuse => table.put_new(&key, &value),
            };
            let stored = stored.map_err(|error| feed.blame(failure(error)))?;
            if !stored && self.args.existing == Existing::Refuse {
                let key = target.types.keys.text_of(&key).into_owned();
                return Err(feed.blame(Failure::input(format!(
                    "the key \"{key}\" is there already: --existing says what to do then"
                ))));
            }
            self.reached.kept += u64::from(!stored);
        }
        Ok(())
    }
}

type Untyped<'t> = WriteTable<'t, [u8], [u8]>;

impl Loaded {
    fn in_words(&self) -> String {
        let records = table::plural(self.records, "record", "records");
        let tables = table::plural(self.tables, "table", "tables");
        let (new, replaced, kept) =
            (table::count(self.new), table::count(self.replaced), table::count(self.kept));
        let txnid = self.txnid;
        format!(
            "loaded {records} into {tables}: {new} new, {replaced} replaced, {kept} kept as they were; commit {txnid}"
        )
    }
}
