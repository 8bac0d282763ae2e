//! The first page of an overflow run, and whether the whole run holds.

use std::fs::File;

use mapledb_format::{FormatError, OverflowHead, PageHeader, Run, RunGeometry};
use serde::Serialize;

use super::{Findings, HeaderReport, PagePlace, read};
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::table;

#[derive(Debug, Serialize)]
pub struct OverflowReport {
    #[serde(flatten)]
    header: HeaderReport,
    len_bytes: u64,
    pages: u64,
    chunks: u64,
    verified: bool,
    faults: Vec<String>,
}

impl Findings for OverflowReport {
    fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Runs up to this long are read whole, into memory, to verify their checksums.
const VERIFIED_BYTES_MAX: u64 = 256 << 20;

/// Reads the run that begins with `page`.
pub fn report(file: &File, page: &[u8], place: PagePlace) -> Result<OverflowReport, Failure> {
    let damaged =
        |error: FormatError| Failure::new(failure::Kind::Damaged, format!("page {}: {error}", place.pgno));
    let header = PageHeader::parse(page).map_err(damaged)?;
    let head = OverflowHead::parse(page, place.size).map_err(damaged)?;
    let mut faults = Vec::new();
    if head.pgno != place.pgno {
        faults.push(FormatError::WrongPgno { found: head.pgno, expected: place.pgno }.to_string());
    }
    let geometry = RunGeometry::of(head.len, place.size);
    let run_bytes = head.pages.saturating_mul(place.size.bytes() as u64);
    let verified = run_bytes <= VERIFIED_BYTES_MAX;
    if verified && let Err(why) = verify(file, place, run_bytes) {
        faults.push(why);
    }
    Ok(OverflowReport {
        header: HeaderReport::of(&header, place),
        len_bytes: head.len,
        pages: head.pages,
        chunks: geometry.map_or(0, |geometry| geometry.chunks),
        verified,
        faults,
    })
}

fn verify(file: &File, place: PagePlace, run_bytes: u64) -> Result<(), String> {
    let run = read(file, place.pgno.offset(place.size), run_bytes as usize, "the end of its run");
    let run = run.map_err(|failure| failure.message)?;
    Run::open(&run, place.size).and_then(|run| run.check_all()).map_err(|error| error.to_string())
}

/// Prints a run for people.
pub fn in_words(report: &OverflowReport, output: &mut Output) -> Result<(), Failure> {
    let mut fields = report.header.fields();
    fields.extend([
        ("value", table::size(report.len_bytes)),
        ("pages", table::count(report.pages)),
        ("chunks", table::count(report.chunks)),
        (
            "verified",
            if report.verified { "the whole run" } else { "the head only: the run is long" }.to_owned(),
        ),
    ]);
    table::fields(output, fields)
}
