//! `maple load FILE DUMP`: text into tables.
//!
//! All of it is one transaction, or, with `--batch`, one for each so many records. Whatever is wrong ends the load
//! with the line it is on, and with counts of what was kept.

mod feed;
mod target;
mod work;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::Env;

use crate::cli::Manner;
use crate::door;
use crate::dump::{self, Columns, Format};
use crate::failure::Failure;
use crate::output;
use crate::selection::TableArgs;
use crate::{interrupt, progress};

pub use work::{Load, Rules};

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
    #[command(flatten)]
    rules: Rules,
    /// CSV and TSV without a first line that names the columns
    #[arg(long)]
    no_header: bool,
    /// Take CSV and TSV fields as text, without prefixes such as hex:
    #[arg(long)]
    plain: bool,
}

const ALL_OR_NOTHING: &str = "\
One transaction: all of the dump is loaded, or nothing. Tables that the dump names are created if they are not there.";

/// Loads it.
pub fn run(args: &LoadArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch_once()?;
    let mut input = open_input(&args.dump)?;
    let format = args.format(&mut input)?;
    let columns = Columns { header: !args.no_header, plain: args.plain };
    let fill = |env: &Env| {
        let bar = progress::counter(manner.quiet, "records");
        let load = Load::new(env, args.table.table.clone(), &args.rules, bar);
        load.run(dump::source(format, columns, input)).map_err(|failure| failure.at(name_of(&args.dump)))
    };
    let loaded = match args.create {
        true => door::write_or_create(&args.file, manner, fill)?,
        false => door::write(&args.file, manner, fill)?,
    };
    output::report(manner.json, &loaded, |loaded, output| output.line(loaded.in_words()))
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
