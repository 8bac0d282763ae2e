//! `maple page FILE PAGE`: the bytes of one page or meta, field by field.
//!
//! Reads the file itself and nothing else: no lock, no map, no recovery. So it works on what cannot be opened
//! any more; and beside a writer it shows a page as it is at that moment, which may be half-written.

mod meta;
mod node;
mod overflow;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Args;
use mapledb_format::ids::META_BYTES;
use mapledb_format::{Kind, Meta, PageHeader, PageSize, Pgno, Slot};
use serde::Serialize;

use crate::cli::Manner;
use crate::failure::{self, Failure};
use crate::output::{self, Output};
use crate::table;

/// Show one page or meta of the file, field by field
#[derive(Debug, Args)]
pub struct PageArgs {
    /// The database
    file: PathBuf,
    /// A page number, meta-a or meta-b
    page: Place,
    /// The page size in bytes, where no meta can tell it
    #[arg(long, value_name = "BYTES", value_parser = super::page_size)]
    page_size: Option<PageSize>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Meta(Slot),
    Page(Pgno),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "meta-a" => Ok(Place::Meta(Slot::A)),
            "meta-b" => Ok(Place::Meta(Slot::B)),
            _ => text
                .parse()
                .ok()
                .and_then(Pgno::new)
                .map(Place::Page)
                .ok_or_else(|| "neither a page number nor meta-a nor meta-b".to_owned()),
        }
    }
}

/// Shows what was asked for.
pub fn run(args: &PageArgs, manner: Manner) -> Result<(), Failure> {
    let as_json = manner.json;
    let file = open(&args.file)?;
    let told = match args.page {
        Place::Meta(slot) => tell(as_json, &meta::report(&file, slot)?, meta::in_words),
        Place::Page(pgno) => {
            let size = args.page_size.map_or_else(|| page_size_of(&file), Ok)?;
            show_page(&file, pgno, size, as_json)
        }
    };
    told.map_err(|failure| failure.at(args.file.display()))
}

fn show_page(file: &File, pgno: Pgno, size: PageSize, as_json: bool) -> Result<(), Failure> {
    if pgno < size.first_data_pgno() {
        let first = size.first_data_pgno();
        return Err(Failure::usage(format!("page {pgno} lies under the metas: the first page is {first}")));
    }
    let page = read(file, pgno.offset(size), size.bytes(), &format!("page {pgno}"))?;
    let place = PagePlace { pgno, size };
    match PageHeader::parse(&page).map(|header| header.kind) {
        Ok(Kind::Leaf | Kind::Packed) => tell(as_json, &node::leaf(&page, place)?, node::leaf_in_words),
        Ok(Kind::Branch) => tell(as_json, &node::branch(&page, place)?, node::branch_in_words),
        Ok(Kind::Overflow) => tell(as_json, &overflow::report(file, &page, place)?, overflow::in_words),
        Err(error) => Err(Failure::new(
            failure::Kind::Damaged,
            format!("page {pgno}: {error}; it may be free, or lie inside an overflow run"),
        )),
    }
}

/// Where a page was read.
#[derive(Debug, Clone, Copy)]
struct PagePlace {
    pgno: Pgno,
    size: PageSize,
}

/// A report that may have found faults.
trait Findings: Serialize {
    fn faults(&self) -> &[String];
}

/// Prints a report, and fails if it found faults.
fn tell<R: Findings>(
    as_json: bool,
    report: &R,
    in_words: fn(&R, &mut Output) -> Result<(), Failure>,
) -> Result<(), Failure> {
    output::report(as_json, report, |report, output| {
        in_words(report, output)?;
        report.faults().iter().try_for_each(|fault| output.line(format!("FAULT: {fault}")))
    })?;
    match report.faults().len() as u64 {
        0 => Ok(()),
        faults => Err(Failure::new(
            failure::Kind::Damaged,
            format!("{} found: restore the file from a copy", table::plural(faults, "fault", "faults")),
        )),
    }
}

/// The header that all pages begin with.
#[derive(Debug, Serialize)]
struct HeaderReport {
    page: u64,
    offset_bytes: u64,
    kind: &'static str,
    level: u8,
    checksum: String,
    txnid: u64,
}

impl HeaderReport {
    fn of(header: &PageHeader, place: PagePlace) -> HeaderReport {
        HeaderReport {
            page: header.pgno.get(),
            offset_bytes: place.pgno.offset(place.size),
            kind: match header.kind {
                Kind::Leaf => "leaf",
                Kind::Branch => "branch",
                Kind::Overflow => "overflow",
                Kind::Packed => "packed leaf",
            },
            level: header.level,
            checksum: hex64(header.checksum),
            txnid: header.txnid.get(),
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("page", self.page.to_string()),
            ("offset", table::size(self.offset_bytes)),
            ("kind", self.kind.to_owned()),
            ("level", self.level.to_string()),
            ("checksum", self.checksum.clone()),
            ("txnid", self.txnid.to_string()),
        ]
    }
}

fn hex64(number: u64) -> String {
    format!("{number:#018x}")
}

fn hex32(number: u32) -> String {
    format!("{number:#010x}")
}

/// Opens a file to read its pages, whatever is in them.
pub fn open(path: &Path) -> Result<File, Failure> {
    let cannot = |error: io::Error| Failure::os("open", path, error);
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.is_file() {
        return Ok(file);
    }
    Err(Failure::file(format!("{} is not a regular file: check the name", path.display())))
}

fn read(file: &File, offset: u64, len_bytes: usize, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; len_bytes];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Failure::file(format!(
            "the file ends before {what}: \"maple info\" tells how long it should be"
        ))),
        Err(error) => {
            let advice = mapledb_os::advice(&error);
            Err(Failure::file(format!("cannot read {what}: {error}; {advice}")))
        }
    }
}

/// The page size that either meta tells.
fn page_size_of(file: &File) -> Result<PageSize, Failure> {
    for slot in [Slot::A, Slot::B] {
        let bytes = read(file, slot.offset(), META_BYTES, "its metas").unwrap_or_default();
        if let Ok(meta) = Meta::decode(&bytes, slot) {
            return Ok(meta.page_size);
        }
    }
    let why = "neither meta can be read: give --page-size, or look at meta-a and meta-b";
    Err(Failure::new(failure::Kind::Damaged, why))
}
