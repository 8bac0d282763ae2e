//! One JSON object a line.
//!
//! ```text
//! {"table":null,"keys":"bytes","values":"bytes"}     a table begins: null is the default table
//! {"key":"a","value":"b"}
//! {"key":{"hex":"00ff"},"value":""}
//! {"table":"users","keys":"u64","values":"str"}
//! {"key":7,"value":"Ida"}
//! {"table":"hosts","keys":"str","values":"u32","order":"reverse"}
//! {"table":"words","keys":"str","values":"u64","duplicates":{"order":"bytewise","len":8}}   a multimap
//! {"table":"jobs","keys":"u64","values":"str","sequence":12}     numbers below 12 have been given out
//! {"records":3}                                      the dump ends: so many records
//! ```
//!
//! A dump that begins with a table line ends with a records line, so one that was cut short is told. Records
//! alone, as other programs write them, are read too.

use std::io::{self, BufRead, Write};

use mapledb::{Duplicates, KeyOrder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lines::Lines;
use super::{Field, Item, Record, Sink, Source, TableHead, malformed};
use crate::failure::Failure;
use crate::text::Type;
use crate::text::json::Json;

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Record(RecordLine),
    Table(TableLine),
    End(EndLine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine {
    key: Value,
    value: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    // Without this, serde would take a missing field for null.
    #[serde(deserialize_with = "Option::deserialize")]
    table: Option<String>,
    keys: String,
    values: String,
    /// The order of its keys, unless it is the bytewise one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// What its duplicates are if it is a multimap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duplicates: Option<DuplicatesField>,
    /// The next number of its sequence, unless that is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DuplicatesField {
    order: String,
    /// The length in bytes that all of them have, or null.
    #[serde(deserialize_with = "Option::deserialize")]
    #[serde(default)]
    len: Option<usize>,
}

impl DuplicatesField {
    /// Those of a multimap, by the name of their order if it is one of a program's.
    fn of(duplicates: Duplicates, order: Option<&str>) -> DuplicatesField {
        DuplicatesField { order: order.unwrap_or(duplicates.order.name()).to_owned(), len: duplicates.len }
    }

    fn read(self) -> Result<Duplicates, String> {
        let unknown =
            || format!("\"{}\" is no order of duplicates: bytewise, reverse and integer are", self.order);
        Ok(Duplicates { order: KeyOrder::built_in(&self.order).ok_or_else(unknown)?, len: self.len })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    records: u64,
}

/// A dump to be read.
pub struct JsonLinesSource<R> {
    lines: Lines<R>,
    records: u64,
    has_tables: bool,
    ended: bool,
}

impl<R: BufRead> JsonLinesSource<R> {
    /// Reads `input`.
    pub fn new(input: R) -> JsonLinesSource<R> {
        JsonLinesSource { lines: Lines::new(input), records: 0, has_tables: false, ended: false }
    }

    fn next_object(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let parsed = match self.lines.next_line()? {
                None => return Ok(None),
                Some(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Some(line) => parse(line),
            };
            return parsed.map(Some).map_err(|why| malformed(self.lines.number(), why));
        }
    }

    fn end(&mut self, counted: u64) -> Result<(), Failure> {
        self.ended = true;
        if counted == self.records {
            return Ok(());
        }
        let records = self.records;
        Err(malformed(self.lines.number(), format!("the dump counts {counted} records, but holds {records}")))
    }
}

impl<R: BufRead> Source for JsonLinesSource<R> {
    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            let object = self.next_object()?;
            let line = self.lines.number();
            match object {
                Some(_) if self.ended => return Err(malformed(line, "nothing may follow the records line")),
                Some(Line::End(end)) => self.end(end.records)?,
                Some(Line::Table(table)) => {
                    self.has_tables = true;
                    let types = (Type::recorded(&table.keys), Type::recorded(&table.values));
                    let order = table.order.or(Some(KeyOrder::BYTEWISE.name().to_owned()));
                    let duplicates = table.duplicates.map(DuplicatesField::read).transpose();
                    return Ok(Some(Item::Table(TableHead {
                        name: table.table,
                        types: Some(types),
                        order,
                        duplicates: duplicates.map_err(|why| malformed(line, why))?,
                        sequence: table.sequence.unwrap_or(0),
                        duplicate_order: None,
                        line,
                    })));
                }
                Some(Line::Record(record)) => {
                    self.records += 1;
                    let (key, value) = (Field::Json(record.key), Field::Json(record.value));
                    return Ok(Some(Item::Record(Record { key, value, line })));
                }
                None if self.has_tables && !self.ended => {
                    return Err(malformed(
                        line + 1,
                        "the dump is cut short: it ends before its records line",
                    ));
                }
                None => return Ok(None),
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Line, String> {
    serde_json::from_slice(line).map_err(|_| match serde_json::from_slice::<Value>(line) {
        Ok(_) => "neither {\"key\":…,\"value\":…} nor a table line nor a records line".to_owned(),
        Err(error) => json_fault(&error),
    })
}

/// What is wrong with the JSON, without the line number that serde_json counts from each line's own start.
fn json_fault(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let why = told.split(" at line ").next().unwrap_or(&told);
    format!("not JSON at column {}: {why}", error.column())
}

/// A dump to be written.
pub struct JsonLinesSink<W> {
    output: W,
    types: (Type, Type),
}

#[derive(Serialize)]
struct RecordOut<'a> {
    key: Json<'a>,
    value: Json<'a>,
}

impl<W: Write> JsonLinesSink<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> JsonLinesSink<W> {
        JsonLinesSink { output, types: (Type::Bytes, Type::Bytes) }
    }

    fn line(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, object)?;
        self.output.write_all(b"\n")
    }
}

impl<W: Write> Sink for JsonLinesSink<W> {
    fn begin(&mut self, table: &TableHead) -> io::Result<()> {
        self.types = table.types.clone().unwrap_or((Type::Bytes, Type::Bytes));
        let (keys, values) = (self.types.0.to_string(), self.types.1.to_string());
        let order = table.order.clone().filter(|order| order != KeyOrder::BYTEWISE.name());
        let order_of_duplicates = table.duplicate_order.as_deref();
        let duplicates =
            table.duplicates.map(|duplicates| DuplicatesField::of(duplicates, order_of_duplicates));
        let sequence = Some(table.sequence).filter(|next| *next > 0);
        self.line(&TableLine { table: table.name.clone(), keys, values, order, duplicates, sequence })
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (keys, values) = &self.types;
        let record = RecordOut { key: Json::new(keys, key), value: Json::new(values, value) };
        serde_json::to_writer(&mut self.output, &record)?;
        self.output.write_all(b"\n")
    }

    fn finish(&mut self, records: u64) -> io::Result<()> {
        self.line(&EndLine { records })?;
        self.output.flush()
    }
}
