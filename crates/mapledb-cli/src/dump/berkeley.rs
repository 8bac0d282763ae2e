//! The `VERSION=3` text that Berkeley DB's `db_dump` and `db_load` and LMDB's `mdb_dump` and `mdb_load` share.
//!
//! ```text
//! VERSION=3
//! format=bytevalue          or print
//! database=NAME             left out for the default table
//! type=btree
//! integerkey=1             or reversekey=1, where its keys are in that order
//! duplicates=1             of a multimap, and dupsort=1; then dupfixed=1 where its duplicates have one length, and
//!                          integerdup=1 or reversedup=1 where they are in that order
//! HEADER=END
//!  6b6579                   one space, the key
//!  76616c7565               one space, its value
//! DATA=END
//! ```
//!
//! Several tables are several such sections. In `print`, bytes from 0x20 to 0x7e stand for themselves but for
//! the backslash; that and all others are a backslash and two hexadecimal digits. A doubled backslash, as `db_dump`
//! writes one, is read and not written: `mdb_load` 0.9.24 loses it behind another escape.
//!
//! Headers that describe the layout of another program's file mean nothing here and are passed over. Those
//! that ask for an order or a kind of table that MapleDB does not have are refused, and so is any that is not
//! known: a dump is loaded as it was meant, or not at all.

use std::io::{self, BufRead, Write};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use mapledb::{Duplicates, KeyOrder};

use super::lines::Lines;
use super::{Field, Item, Record, Sink, Source, TableHead, malformed};
use crate::failure::Failure;

/// How bytes are written on data lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Two hexadecimal digits a byte.
    Bytevalue,
    /// Printable characters as they are.
    Print,
}

/// What is known of the backslashes in `print` text of LMDB. Its `mdb_dump -p` doubles those of the data or leaves them as
/// they are, by its age, and nothing else in the text tells which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backslashes {
    /// Whoever loads the text says that they are doubled.
    Doubled,
    /// Nothing: text in which there are any can mean two things.
    Unknown,
}

/// A dump to be read.
pub struct BerkeleySource<R> {
    lines: Lines<R>,
    backslashes: Backslashes,
    section: Option<Section>,
    sections: u64,
    /// The first record, if it had to be read to know what the table is.
    pending: Option<Record>,
}

/// The section whose data lines are being read.
#[derive(Clone, Copy)]
struct Section {
    coding: Coding,
    /// Its header has lines that only LMDB writes.
    by_lmdb: bool,
    backslashes: Backslashes,
}

impl<R: BufRead> BerkeleySource<R> {
    /// Reads `input`.
    pub fn new(input: R, backslashes: Backslashes) -> BerkeleySource<R> {
        BerkeleySource { lines: Lines::new(input), backslashes, section: None, sections: 0, pending: None }
    }

    fn header(&mut self) -> Result<Option<TableHead>, Failure> {
        let Some(first) = self.first_header_line()? else {
            return Ok(None);
        };
        let line = self.lines.number();
        if first != "VERSION=3" {
            return Err(malformed(line, format!("\"{first}\" where VERSION=3 belongs")));
        }
        let mut header = Header::default();
        loop {
            let text = self.header_line()?;
            let number = self.lines.number();
            if text == "HEADER=END" {
                break;
            }
            header.take(&text).map_err(|why| malformed(number, why))?;
        }
        if let Some(order) = header.dup_order.filter(|_| !header.has_duplicates) {
            let why =
                "the header gives an order of duplicates, and not dupsort=1, which says that there are any";
            return Err(malformed(line, format!("{why} (the order \"{}\")", order.name())));
        }
        let missing = || malformed(line, "the header has no format= line: bytevalue or print");
        let coding = header.coding.ok_or_else(missing)?;
        self.section = Some(Section { coding, by_lmdb: header.by_lmdb, backslashes: self.backslashes });
        self.sections += 1;
        let order = header.order.map(|order| order.name().to_owned());
        let duplicates = self.duplicates(&header)?;
        Ok(Some(TableHead {
            name: header.database,
            types: None,
            order,
            duplicates,
            duplicate_order: None,
            sequence: 0,
            line,
        }))
    }

    /// What the header says of duplicates. That they have one length it says, and not which: the first one shows it.
    fn duplicates(&mut self, header: &Header) -> Result<Option<Duplicates>, Failure> {
        if !header.has_duplicates {
            return Ok(None);
        }
        let order = header.dup_order.unwrap_or_default();
        let mut len = None;
        if (header.dup_fixed || order == KeyOrder::INTEGER)
            && let Some(section) = self.section
        {
            self.pending = self.record(section)?;
            len = match &self.pending {
                None => {
                    self.section = None;
                    Some(size_of::<u64>())
                }
                Some(Record { value: Field::Exact(value), .. }) => Some(value.len()).filter(|len| *len > 0),
                Some(_) => None,
            };
        }
        Ok(Some(Duplicates { order, len }))
    }

    /// The first line of the next section, passing over empty lines before it.
    fn first_header_line(&mut self) -> Result<Option<String>, Failure> {
        loop {
            match self.lines.next_line()? {
                None => break,
                Some(b"") => {}
                Some(line) => return Ok(Some(beginning(line))),
            }
        }
        if self.sections == 0 { Err(Failure::input("the dump is empty")) } else { Ok(None) }
    }

    fn header_line(&mut self) -> Result<String, Failure> {
        let line = match self.lines.next_line()? {
            None => return Err(self.cut_short("HEADER=END")),
            Some(line) => str::from_utf8(line).map(str::to_owned),
        };
        line.map_err(|_| malformed(self.lines.number(), "the header line is not UTF-8"))
    }

    fn record(&mut self, section: Section) -> Result<Option<Record>, Failure> {
        let Some(key) = self.datum(section)? else {
            return Ok(None);
        };
        let line = self.lines.number();
        match self.datum(section)? {
            Some(value) => Ok(Some(Record { key: Field::Exact(key), value: Field::Exact(value), line })),
            None => Err(malformed(line, "the key has no value")),
        }
    }

    /// The bytes of the next data line, or `None` at DATA=END.
    fn datum(&mut self, section: Section) -> Result<Option<Vec<u8>>, Failure> {
        let decoded = match self.lines.next_line()? {
            None => return Err(self.cut_short("DATA=END")),
            Some(b"DATA=END") => return Ok(None),
            Some([b' ', text @ ..]) => decode(text, section),
            Some(_) => Err("a data line begins with a space".to_owned()),
        };
        decoded.map(Some).map_err(|why| malformed(self.lines.number(), why))
    }

    fn cut_short(&self, missing: &str) -> Failure {
        malformed(self.lines.number() + 1, format!("the dump is cut short: it ends before {missing}"))
    }
}

impl<R: BufRead> Source for BerkeleySource<R> {
    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        if let Some(record) = self.pending.take() {
            return Ok(Some(Item::Record(record)));
        }
        if let Some(section) = self.section {
            match self.record(section)? {
                Some(record) => return Ok(Some(Item::Record(record))),
                None => self.section = None,
            }
        }
        Ok(self.header()?.map(Item::Table))
    }
}

/// What the header lines of one section ask for.
#[derive(Default)]
struct Header {
    coding: Option<Coding>,
    database: Option<String>,
    by_lmdb: bool,
    order: Option<KeyOrder>,
    has_duplicates: bool,
    dup_fixed: bool,
    dup_order: Option<KeyOrder>,
}

impl Header {
    /// Takes one `name=value` line. The error is a sentence.
    fn take(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("\"{line}\" is no header line"))?;
        match (name, value) {
            ("format", "bytevalue") => self.coding = Some(Coding::Bytevalue),
            ("format", "print") => self.coding = Some(Coding::Print),
            ("type", "btree" | "hash") => {}
            ("database" | "subdatabase", name) => self.database = Some(table_name(name)?),
            ("mapsize" | "maxreaders" | "mapaddr", _) => self.by_lmdb = true,
            (name, _) if LAYOUT.contains(&name) => {}
            ("keys", "1") | ("duplicates" | "integerkey" | "reversekey", "0") => {}
            // LMDB lets the integers rule where both are asked for.
            ("integerkey", "1") => self.order = Some(KeyOrder::INTEGER),
            ("reversekey", "1") => self.order = self.order.or(Some(KeyOrder::REVERSE)),
            // Berkeley's unsorted duplicates become sorted ones: each is kept once.
            ("duplicates" | "dupsort", "1") => self.has_duplicates = true,
            ("dupfixed", "1") => self.dup_fixed = true,
            ("integerdup", "1") => self.dup_order = Some(KeyOrder::INTEGER),
            ("reversedup", "1") => self.dup_order = self.dup_order.or(Some(KeyOrder::REVERSE)),
            ("dupsort" | "dupfixed" | "integerdup" | "reversedup", "0") => {}
            (name, "0") if NOT_THERE_YET.iter().any(|(flag, _)| *flag == name) => {}
            _ => return Err(refusal(name, value)),
        }
        Ok(())
    }
}

/// Headers about another program's file: page sizes, byte orders, hash tables, checksums.
const LAYOUT: [&str; 8] =
    ["db_pagesize", "db_lorder", "bt_minkey", "h_ffactor", "h_nelem", "extentsize", "chksum", "compressed"];

/// Headers that ask for what MapleDB does not have, and what that is.
const NOT_THERE_YET: [(&str, &str); 2] = [("recnum", "record numbers"), ("renumber", "record numbers")];

/// Enough of a line to recognise it.
fn beginning(line: &[u8]) -> String {
    String::from_utf8_lossy(line.get(..40).unwrap_or(line)).into_owned()
}

fn refusal(name: &str, value: &str) -> String {
    if let Some((_, what)) = NOT_THERE_YET.iter().find(|(flag, _)| *flag == name) {
        return format!("{name}={value} asks for {what}, which MapleDB does not have yet");
    }
    match name {
        "format" => format!("format={value} is not known: bytevalue and print are"),
        "type" => format!("a table of type={value} has no keys to load: btree and hash are read"),
        "keys" => format!("keys={value} leaves out the keys: dump with keys (db_dump -k)"),
        _ => format!("the header {name}={value} is not known"),
    }
}

/// A table's name as `database=` writes it: like `print` data, but UTF-8 may stand for itself.
fn table_name(text: &str) -> Result<String, String> {
    let bytes = unescape(text.as_bytes())?;
    String::from_utf8(bytes).map_err(|_| "the table's name is not UTF-8".to_owned())
}

fn decode(text: &[u8], section: Section) -> Result<Vec<u8>, String> {
    match section.coding {
        Coding::Bytevalue => HEXLOWER_PERMISSIVE.decode(text).map_err(|error| match error.kind {
            data_encoding::DecodeKind::Length => "an odd number of hexadecimal digits".to_owned(),
            // Counted from 1, after the space.
            _ => format!("column {} is not a hexadecimal digit", error.position + 2),
        }),
        Coding::Print if section.by_lmdb => unescape_lmdb(text, section.backslashes),
        Coding::Print => unescape(text),
    }
}

fn unescape_lmdb(text: &[u8], backslashes: Backslashes) -> Result<Vec<u8>, String> {
    if has_bare_backslash(text) {
        return Err(BARE_BACKSLASH.to_owned());
    }
    if backslashes == Backslashes::Unknown && text.contains(&b'\\') {
        return Err(AMBIGUOUS_BACKSLASH.to_owned());
    }
    unescape(text)
}

const BARE_BACKSLASH: &str = "a backslash that is not doubled: old mdb_dump -p writes them so, and cannot be read back; dump without -p";

const AMBIGUOUS_BACKSLASH: &str = "a backslash, which old mdb_dump -p does not double, so that it may be one of the data: dump without -p, or say --format print if yours doubles them";

/// Whether an escape stands for a printable character, or has capital digits, which `mdb_dump` never writes but for the
/// backslash: then the backslash is one of the data that should have been doubled.
fn has_bare_backslash(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let escape = rest.get(at..at + 2).unwrap_or_default();
        if escape == b"\\\\" {
            rest = rest.get(at + 2..).unwrap_or_default();
            continue;
        }
        match rest.get(at + 1..at + 3).and_then(|digits| HEXLOWER.decode(digits).ok()) {
            Some(byte) if !byte.iter().all(|&byte| is_printable(byte)) => {
                rest = rest.get(at + 3..).unwrap_or_default();
            }
            _ => return true,
        }
    }
    false
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let skip = if rest.first() == Some(&b'\\') {
            out.push(b'\\');
            1
        } else {
            let byte = rest.get(..2).and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits).ok());
            out.extend_from_slice(
                &byte.ok_or("a backslash before neither a backslash nor two hexadecimal digits")?,
            );
            2
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

/// A dump to be written.
pub struct BerkeleySink<W> {
    output: W,
    coding: Coding,
    page_size: usize,
    map_bytes: Option<u64>,
    in_section: bool,
    text: String,
}

impl<W: Write> BerkeleySink<W> {
    /// Writes to `output`. The page size goes into each header, for who makes a file of the dump, and so does the size of
    /// the map that `mdb_load` is to make room with, if there is one.
    pub fn new(output: W, coding: Coding, page_size: usize, map_bytes: Option<u64>) -> BerkeleySink<W> {
        BerkeleySink { output, coding, page_size, map_bytes, in_section: false, text: String::new() }
    }

    fn data_line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.clear();
        self.text.push(' ');
        match self.coding {
            Coding::Bytevalue => HEXLOWER.encode_append(bytes, &mut self.text),
            Coding::Print => escape(bytes, &mut self.text),
        }
        self.text.push('\n');
        self.output.write_all(self.text.as_bytes())
    }

    fn end_section(&mut self) -> io::Result<()> {
        if self.in_section { self.output.write_all(b"DATA=END\n") } else { Ok(()) }
    }
}

impl<W: Write> Sink for BerkeleySink<W> {
    fn begin(&mut self, table: &TableHead) -> io::Result<()> {
        self.end_section()?;
        self.in_section = true;
        let format = match self.coding {
            Coding::Bytevalue => "bytevalue",
            Coding::Print => "print",
        };
        writeln!(self.output, "VERSION=3\nformat={format}")?;
        if let Some(name) = &table.name {
            writeln!(self.output, "database={}", escape_name(name))?;
        }
        writeln!(self.output, "type=btree\ndb_pagesize={}", self.page_size)?;
        if let Some(bytes) = self.map_bytes {
            writeln!(self.output, "mapsize={bytes}")?;
        }
        match table.order.as_deref().map(KeyOrder::built_in) {
            Some(Some(order)) if order == KeyOrder::INTEGER => writeln!(self.output, "integerkey=1")?,
            Some(Some(order)) if order == KeyOrder::REVERSE => writeln!(self.output, "reversekey=1")?,
            _ => {}
        }
        if let Some(duplicates) = table.duplicates {
            writeln!(self.output, "duplicates=1\ndupsort=1")?;
            if duplicates.len.is_some() {
                writeln!(self.output, "dupfixed=1")?;
            }
            match duplicates.order.name() {
                "integer" => writeln!(self.output, "integerdup=1")?,
                "reverse" => writeln!(self.output, "reversedup=1")?,
                _ => {}
            }
        }
        writeln!(self.output, "HEADER=END")
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.data_line(key)?;
        self.data_line(value)
    }

    fn finish(&mut self, _records: u64) -> io::Result<()> {
        self.end_section()?;
        self.output.flush()
    }
}

fn escape(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            byte if is_printable(byte) && byte != b'\\' => out.push(char::from(byte)),
            byte => {
                out.push('\\');
                HEXLOWER.encode_append(&[byte], out);
            }
        }
    }
}

/// A table's name for `database=`. `mdb_load` takes it as it stands, so only what would not be one line, or
/// would read as an escape, is escaped.
fn escape_name(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_control() || c == '\\' => escape(&[c as u8], &mut out),
            c => out.push(c),
        }
    }
    out
}
