//! Comma-separated `key,value` lines, quoted as in RFC 4180, one table a file.
//!
//! Fields are the one-line forms of [`form`](crate::text::form), so what `dump` writes never spans lines;
//! quoted line breaks of other programs are read. Read strictly, where CSV readers are usually lenient: a quote
//! that is never closed is a file cut short, and a quote out of place is damage, not data. Empty lines and a
//! byte-order mark are passed over.

use std::io::{self, BufRead, Write};

use super::columns::{NAMES, NO_HEADER, field};
use super::lines::Lines;
use super::{Columns, Item, Record, Sink, Source, TableHead, malformed};
use crate::failure::Failure;
use crate::table::plural;
use crate::text::Type;

/// A file to be read.
pub struct CsvSource<R> {
    lines: Lines<R>,
    columns: Columns,
    header_due: bool,
}

impl<R: BufRead> CsvSource<R> {
    /// Reads `input`.
    pub fn new(input: R, columns: Columns) -> CsvSource<R> {
        CsvSource { lines: Lines::new(input), columns, header_due: columns.header }
    }

    /// The fields of the next row and the line it begins on, or `None` at the end.
    fn next_row(&mut self) -> Result<Option<(Fields, u64)>, Failure> {
        let mut row = Row::default();
        let mut begun_on = 0;
        while let Some(line) = self.lines.next_line()? {
            let line = if begun_on == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
            if line.is_empty() && !row.is_quoted() {
                continue;
            }
            let taken = row.take(line);
            begun_on = if begun_on == 0 { self.lines.number() } else { begun_on };
            taken.map_err(|why| malformed(self.lines.number(), why))?;
            if !row.is_quoted() {
                return Ok(Some((row.fields, begun_on)));
            }
        }
        if row.is_quoted() { Err(malformed(begun_on, "a quote is never closed")) } else { Ok(None) }
    }

    fn pass_header(&mut self) -> Result<(), Failure> {
        let row = self.next_row()?;
        match row {
            Some((fields, _)) if fields == NAMES.map(str::as_bytes) => Ok(()),
            _ => Err(malformed(self.lines.number().max(1), NO_HEADER)),
        }
    }
}

impl<R: BufRead> Source for CsvSource<R> {
    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        if std::mem::take(&mut self.header_due) {
            self.pass_header()?;
        }
        let Some((fields, line)) = self.next_row()? else {
            return Ok(None);
        };
        let [key, value] = &fields[..] else {
            return Err(malformed(
                line,
                format!("{} where key and value belong", plural(fields.len() as u64, "field", "fields")),
            ));
        };
        let key = field(key, self.columns).map_err(|why| malformed(line, format!("key: {why}")))?;
        let value = field(value, self.columns).map_err(|why| malformed(line, format!("value: {why}")))?;
        Ok(Some(Item::Record(Record { key, value, line })))
    }
}

/// The fields of a row.
type Fields = Vec<Vec<u8>>;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A row on its way from one line, or from several where a quoted field spans them.
#[derive(Default)]
struct Row {
    fields: Fields,
    /// The field that the lines so far have left open.
    open: Option<Vec<u8>>,
}

impl Row {
    fn is_quoted(&self) -> bool {
        self.open.is_some()
    }

    /// Takes one more line.
    fn take(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let mut rest = line;
        let mut field = self.open.take().map(|mut field| {
            field.push(b'\n');
            field
        });
        loop {
            let quoted = match (field.take(), rest) {
                (Some(begun), _) => Some((begun, rest)),
                (None, [b'"', behind @ ..]) => Some((Vec::new(), behind)),
                (None, _) => None,
            };
            let complete;
            (complete, rest) = match quoted {
                None => unquoted(rest)?,
                Some((begun, text)) => match closed(begun, text) {
                    Ok(closed) => closed,
                    Err(open) => {
                        self.open = Some(open);
                        return Ok(());
                    }
                },
            };
            self.fields.push(complete);
            rest = match rest {
                [] => return Ok(()),
                [b',', behind @ ..] => behind,
                _ => return Err("a quoted field goes on after its closing quote"),
            };
        }
    }
}

/// The field at the front of `text`, up to a comma or the end, and what follows it.
fn unquoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let end = text.iter().position(|&byte| byte == b',').unwrap_or(text.len());
    let (field, rest) = text.split_at(end);
    if field.contains(&b'"') {
        return Err("a quote inside a field that does not begin with one");
    }
    Ok((field.to_vec(), rest))
}

/// Adds `text` to a quoted field up to its closing quote: the whole field and what follows it, or, if the line
/// ends first, the field so far.
fn closed(mut field: Vec<u8>, text: &[u8]) -> Result<(Vec<u8>, &[u8]), Vec<u8>> {
    let mut rest = text;
    loop {
        let Some(at) = rest.iter().position(|&byte| byte == b'"') else {
            field.extend_from_slice(rest);
            return Err(field);
        };
        let (before, quote) = rest.split_at(at);
        field.extend_from_slice(before);
        match quote {
            [b'"', b'"', behind @ ..] => {
                field.push(b'"');
                rest = behind;
            }
            _ => return Ok((field, quote.get(1..).unwrap_or_default())),
        }
    }
}

/// A file to be written.
pub struct CsvSink<W> {
    output: W,
    header: bool,
    types: (Type, Type),
}

impl<W: Write> CsvSink<W> {
    /// Writes to `output`, with or without a first line that names the columns.
    pub fn new(output: W, header: bool) -> CsvSink<W> {
        CsvSink { output, header, types: (Type::Bytes, Type::Bytes) }
    }

    fn field(&mut self, text: &str) -> io::Result<()> {
        if !text.contains(['"', ',', '\n', '\r']) {
            return self.output.write_all(text.as_bytes());
        }
        write!(self.output, "\"{}\"", text.replace('"', "\"\""))
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn begin(&mut self, table: &TableHead) -> io::Result<()> {
        self.types = table.types.clone().unwrap_or((Type::Bytes, Type::Bytes));
        if self.header { writeln!(self.output, "{}", NAMES.join(",")) } else { Ok(()) }
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (key, value) = (self.types.0.text_of(key), self.types.1.text_of(value));
        self.field(&key)?;
        self.output.write_all(b",")?;
        self.field(&value)?;
        self.output.write_all(b"\n")
    }

    fn finish(&mut self, _records: u64) -> io::Result<()> {
        self.output.flush()
    }
}
