//! Tables as text that other programs read and write: what a dump is made of, whatever its format.
//!
//! A [`Source`] reads a dump as a stream of [`Item`]s and names the line of whatever is wrong; a [`Sink`]
//! writes one. Neither holds more than one record, and neither knows a database.

pub mod berkeley;
mod columns;
pub mod csv;
mod format;
pub mod json_lines;
mod lines;
#[cfg(test)]
mod tests;
pub mod tsv;

use std::io::{self, BufRead, Write};

use mapledb::Duplicates;
use serde_json::Value;

use crate::failure::Failure;
use crate::text::{Type, json};
use berkeley::{Backslashes, BerkeleySource};

pub use format::Format;

/// One step through a dump.
#[derive(Debug)]
pub enum Item {
    /// The records that follow belong to this table.
    Table(TableHead),
    /// A record.
    Record(Record),
}

/// A table, as a dump names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHead {
    /// Its name, or `None` for the default table.
    pub name: Option<String>,
    /// The types of its keys and values, where the format can say.
    pub types: Option<(Type, Type)>,
    /// The name of the order of its keys, where the format can say.
    pub order: Option<String>,
    /// What its duplicates are if it is a multimap.
    pub duplicates: Option<Duplicates>,
    /// The next number of its sequence; 0 where the format cannot say.
    pub sequence: u64,
    /// The name of the order of its duplicates, if it is one of a program's.
    pub duplicate_order: Option<String>,
    /// The line that names it, from 1.
    pub line: u64,
}

/// One key and its value, not yet understood.
#[derive(Debug)]
pub struct Record {
    /// The key.
    pub key: Field,
    /// The value.
    pub value: Field,
    /// The line it begins on, from 1.
    pub line: u64,
}

/// A key or value as the dump writes it; the table's type says what bytes it stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Bytes.
    Exact(Vec<u8>),
    /// Text, in which prefixes such as `hex:` count.
    Text(String),
    /// Text as it stands.
    Plain(String),
    /// JSON.
    Json(Value),
}

impl Field {
    /// The bytes that the field stands for in a key or value of type `kind`. The error is a sentence.
    pub fn into_bytes(self, kind: &Type) -> Result<Vec<u8>, String> {
        match self {
            Field::Exact(bytes) => kind.checked(bytes),
            Field::Text(text) => kind.bytes_of_text(&text),
            Field::Plain(text) => kind.bytes_of_plain(&text),
            Field::Json(value) => json::bytes_of(kind, &value),
        }
    }
}

/// Reads a dump.
pub trait Source {
    /// The next item, or `None` at the end of a whole dump.
    fn next_item(&mut self) -> Result<Option<Item>, Failure>;

    /// What messages call the place with this number.
    fn place(&self, number: u64) -> String {
        format!("line {number}")
    }
}

/// Writes a dump. Tables come one after the other: each is begun, then its records follow.
pub trait Sink {
    /// Begins a table.
    fn begin(&mut self, table: &TableHead) -> io::Result<()>;
    /// Writes a record of the table begun last.
    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;
    /// Ends the dump of so many records, and sends what is buffered.
    fn finish(&mut self, records: u64) -> io::Result<()>;
}

/// How a CSV or TSV file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// The first line names the columns.
    pub header: bool,
    /// Fields are text as it stands: prefixes such as `hex:` do not count.
    pub plain: bool,
}

/// Reads a dump of this format.
pub fn source<'r>(format: Format, columns: Columns, input: Box<dyn BufRead + 'r>) -> Box<dyn Source + 'r> {
    match format {
        Format::Jsonl => Box::new(json_lines::JsonLinesSource::new(input)),
        Format::Csv => Box::new(csv::CsvSource::new(input, columns)),
        Format::Tsv => Box::new(tsv::TsvSource::new(input, columns)),
        // The text tells itself which of the two it is; who says print says something of its backslashes.
        Format::Bytevalue => Box::new(BerkeleySource::new(input, Backslashes::Unknown)),
        Format::Print => Box::new(BerkeleySource::new(input, Backslashes::Doubled)),
    }
}

/// Writes a dump of this format: in columns perhaps under a header, in `VERSION=3` text naming a page size, and in `bytevalue` the size of
/// a map if there is one.
pub fn sink<'w>(
    format: Format,
    header: bool,
    (page_size, map_bytes): (usize, Option<u64>),
    output: Box<dyn Write + 'w>,
) -> Box<dyn Sink + 'w> {
    match format {
        Format::Jsonl => Box::new(json_lines::JsonLinesSink::new(output)),
        Format::Csv => Box::new(csv::CsvSink::new(output, header)),
        Format::Tsv => Box::new(tsv::TsvSink::new(output, header)),
        Format::Bytevalue => {
            Box::new(berkeley::BerkeleySink::new(output, berkeley::Coding::Bytevalue, page_size, map_bytes))
        }
        Format::Print => {
            Box::new(berkeley::BerkeleySink::new(output, berkeley::Coding::Print, page_size, None))
        }
    }
}

fn malformed(line: u64, why: impl std::fmt::Display) -> Failure {
    Failure::input(format!("line {line}: {why}"))
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::file(format!("cannot read the input: {error}; {}", mapledb_os::advice(error)))
}
