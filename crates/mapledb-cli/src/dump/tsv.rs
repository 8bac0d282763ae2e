//! A key, a tab, a value and a line feed; no quoting. One table a file.
//!
//! Fields are the one-line forms of [`form`](crate::text::form), in which no tab and no line break occurs.

use std::io::{self, BufRead, Write};

use super::columns::{NAMES, NO_HEADER, field};
use super::lines::Lines;
use super::{Columns, Item, Record, Sink, Source, TableHead, malformed};
use crate::failure::Failure;
use crate::text::Type;

/// A file to be read.
pub struct TsvSource<R> {
    lines: Lines<R>,
    columns: Columns,
    header_due: bool,
}

impl<R: BufRead> TsvSource<R> {
    /// Reads `input`.
    pub fn new(input: R, columns: Columns) -> TsvSource<R> {
        TsvSource { lines: Lines::new(input), columns, header_due: columns.header }
    }

    fn pass_header(&mut self) -> Result<(), Failure> {
        let names = NAMES.join("\t");
        let first = self.lines.next_line()?.unwrap_or_default();
        if first == names.as_bytes() { Ok(()) } else { Err(malformed(1, NO_HEADER)) }
    }
}

impl<R: BufRead> Source for TsvSource<R> {
    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        if std::mem::take(&mut self.header_due) {
            self.pass_header()?;
        }
        let columns = self.columns;
        let fields = match self.lines.next_line()? {
            None => return Ok(None),
            Some(line) => split(line).map(|(key, value)| (field(key, columns), field(value, columns))),
        };
        let line = self.lines.number();
        let (key, value) = fields.map_err(|why| malformed(line, why))?;
        let key = key.map_err(|why| malformed(line, format!("key: {why}")))?;
        let value = value.map_err(|why| malformed(line, format!("value: {why}")))?;
        Ok(Some(Item::Record(Record { key, value, line })))
    }
}

/// The two fields of a line.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let mut fields = line.split(|&byte| byte == b'\t');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(key), Some(value), None) => Ok((key, value)),
        (_, None, _) => Err("no tab between key and value".to_owned()),
        _ => Err("more than one tab: write tabs inside a field as esc:\\t".to_owned()),
    }
}

/// A file to be written.
pub struct TsvSink<W> {
    output: W,
    header: bool,
    types: (Type, Type),
}

impl<W: Write> TsvSink<W> {
    /// Writes to `output`, with or without a first line that names the columns.
    pub fn new(output: W, header: bool) -> TsvSink<W> {
        TsvSink { output, header, types: (Type::Bytes, Type::Bytes) }
    }
}

impl<W: Write> Sink for TsvSink<W> {
    fn begin(&mut self, table: &TableHead) -> io::Result<()> {
        self.types = table.types.clone().unwrap_or((Type::Bytes, Type::Bytes));
        if self.header { writeln!(self.output, "{}", NAMES.join("\t")) } else { Ok(()) }
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (keys, values) = &self.types;
        writeln!(self.output, "{}\t{}", keys.text_of(key), values.text_of(value))
    }

    fn finish(&mut self, _records: u64) -> io::Result<()> {
        self.output.flush()
    }
}
