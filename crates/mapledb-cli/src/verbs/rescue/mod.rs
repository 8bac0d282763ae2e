//! `maple rescue FILE OUT`: every record of a damaged file that is still intact, as a dump; and what is lost.
//!
//! Reads the file itself and nothing else, as `maple page` does: [`roots`] finds where the trees begin, [`mod@walk`] goes down
//! each as far as its pages verify, [`orphans`] finds the leaves below branches that are lost, and [`pages`] believes nothing
//! that does not verify. All kinds of bytes are input here.

mod orphans;
mod pages;
mod roots;
mod walk;

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use mapledb::KeyOrder;
use mapledb_format::ids::META_BYTES;
use mapledb_format::tree_record::{ATTR_DUP_ORDER_NAME, ATTR_KEY_TYPE, ATTR_ORDER_NAME, ATTR_VALUE_TYPE};
use mapledb_format::{Meta, OrderId, PageSize, Slot, TableRecord, TreeRecord};
use serde::Serialize;

use self::orphans::{Orphans, Section};
use self::pages::PageFile;
use self::roots::{Newer, Roots};
use self::walk::{Below, FindBelow, Lost, Walked, walk, walk_leaf};
use crate::cli::Manner;
use crate::destination;
use crate::dump::{self, Format, Sink, TableHead};
use crate::failure::{Failure, Kind};
use crate::output::{self, Output};
use crate::text::Type;
use crate::{interrupt, progress, table};

/// Dump every intact record of a damaged file; exit code 5 if any is or may be lost
#[derive(Debug, Args)]
#[command(after_help = WHAT_IS_DONE)]
pub struct RescueArgs {
    /// The damaged database
    file: PathBuf,
    /// The dump, which must not exist; or - for standard output
    out: PathBuf,
    /// The format, which must hold several tables; left out, the one that the output's name promises, else jsonl
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// The page size in bytes, where no meta can tell it and it is not to be guessed
    #[arg(long, value_name = "BYTES", value_parser = super::page_size)]
    page_size: Option<PageSize>,
}

const WHAT_IS_DONE: &str = "\
Every tree is walked from its root as far as its pages verify by checksum. Where a branch is lost, the leaves that lay below it are \
looked for among the pages that are in use; those that may be of several tables are dumped as table \"lost+found\". Where one \
meta is lost, leaves that were written after the commit of the other are, too. Where both are lost, every page is looked at, and the newest \
trees are taken. The file is read and never written: no lock, no map, no recovery; nobody should have it open. \
\"maple load\" makes a new database of the dump.";

#[derive(Debug, Serialize)]
struct Report {
    found_by: String,
    page_size: usize,
    records: u64,
    lost_records: u64,
    tables: Vec<TableReport>,
    lost: Vec<LostReport>,
    may_be_more: bool,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TableReport {
    table: Option<String>,
    records: u64,
    lost_records: u64,
}

#[derive(Debug, Serialize)]
struct LostReport {
    table: Option<String>,
    page: u64,
    why: String,
    records: u64,
    from: Option<String>,
    until: Option<String>,
}

/// Does it.
pub fn run(args: &RescueArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let format = args.format.or_else(|| Format::of_name(&args.out)).unwrap_or(Format::Jsonl);
    if !format.holds_tables() {
        return Err(Failure::usage("this format holds one table: take jsonl, print or bytevalue"));
    }
    let at = |failure: Failure| failure.at(args.file.display());
    let file = super::page::open(&args.file)?;
    let metas = metas(&file);
    let size = metas.first().map(|meta| meta.page_size).or(args.page_size);
    let pages = page_file(&args.file, size).map_err(at)?;
    let bar = progress::counter(manner.quiet, "records or pages");
    let roots =
        roots::by_meta(&pages, &metas).unwrap_or_else(|| roots::by_every_page(&pages, &mut || bar.inc(1)));
    let mut rescue = Rescue { pages: &pages, bar, report: Report::new(&pages, &roots) };
    let is_stream = args.out == Path::new("-");
    match is_stream {
        true => rescue.write(Box::new(BufWriter::new(io::stdout().lock())), format, &roots, "the output")?,
        false => rescue.write_file(&args.out, format, &roots)?,
    }
    rescue.bar.finish_and_clear();
    tell(&rescue.report, is_stream, manner)?;
    match rescue.report.lost.is_empty() && !rescue.report.may_be_more {
        true => Ok(()),
        false => {
            let lost = rescue.report.losses();
            Err(at(Failure::new(
                Kind::Damaged,
                format!("{lost}, as far as the pages that are left can tell"),
            )))
        }
    }
}

/// The metas that can be read, the newest first.
fn metas(file: &File) -> Vec<Meta> {
    let meta = |slot: Slot| {
        let mut bytes = vec![0; META_BYTES];
        file.read_exact_at(&mut bytes, slot.offset()).ok()?;
        Meta::decode(&bytes, slot).ok()
    };
    let mut metas: Vec<Meta> = [Slot::A, Slot::B].into_iter().filter_map(meta).collect();
    metas.sort_by_key(|meta| std::cmp::Reverse(meta.head.txnid));
    metas
}

/// The file as pages of the size that is known, or of the size by which most pages are whole.
fn page_file(path: &Path, size: Option<PageSize>) -> Result<PageFile, Failure> {
    let no_page = || {
        let why = "neither meta can be read, and no page is whole: it may be no MapleDB file";
        Failure::new(Kind::Damaged, why)
    };
    let size = size.or_else(|| roots::guess_size(|size| in_pages(path, size).ok()));
    in_pages(path, size.ok_or_else(no_page)?)
}

fn in_pages(path: &Path, size: PageSize) -> Result<PageFile, Failure> {
    let file = super::page::open(path)?;
    let len_bytes = file.metadata().map_err(|error| Failure::os("look up", path, error))?.len();
    Ok(PageFile::new(file, len_bytes, size))
}

/// What the catalog is called among tables.
const CATALOG: &str = "(catalog)";

/// A table as the catalog names it.
type NamedTable = (String, TableRecord);

struct Rescue<'p> {
    pages: &'p PageFile,
    bar: ProgressBar,
    report: Report,
}

impl Rescue<'_> {
    fn write_file(&mut self, path: &Path, format: Format, roots: &Roots) -> Result<(), Failure> {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::file(format!("{} exists: choose another name", path.display())));
        }
        destination::write_whole(path, false, |file| {
            self.write(Box::new(BufWriter::new(file)), format, roots, &path.display().to_string())
        })
    }

    fn write(
        &mut self,
        to: Box<dyn Write + '_>,
        format: Format,
        roots: &Roots,
        name: &str,
    ) -> Result<(), Failure> {
        let mut sink = dump::sink(format, true, (self.pages.size().bytes(), None), to);
        let (tables, lost) = self.tables(&roots.catalog)?;
        self.report.lose_tables(&lost);
        let pages = self.pages;
        let trees: Vec<&TreeRecord> = std::iter::once(&roots.default_table)
            .chain(tables.iter().map(|(_, record)| &record.tree))
            .collect();
        // Every page is read for it: not before something is missing.
        let found = OnceCell::new();
        let orphans = || -> Result<&Orphans, Failure> {
            if found.get().is_none() {
                let _ = found.set(orphans::find(pages, roots, &trees, lost.is_empty())?);
            }
            Ok(found.get_or_init(Orphans::default))
        };
        let default_is_guessed = roots.state.is_none();
        let is_doubtful = default_is_guessed && orphans()?.is_default_doubtful;
        let mut below = |pgno| Ok(orphans()?.below(pgno));
        let none = TreeRecord::empty(OrderId::Bytewise);
        let default_table = if is_doubtful { &none } else { &roots.default_table };
        self.table(main_head(roots), default_table, &mut below, &mut *sink, name)?;
        for (table, record) in &tables {
            self.table(head(table.clone(), record), &record.tree, &mut below, &mut *sink, name)?;
        }
        if !lost.is_empty() || roots.newer.is_some() {
            orphans()?;
        }
        if let Some(orphans) = found.get() {
            let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
            for section in orphans.apart.iter().chain(&orphans.newer) {
                self.section(section, &names, &mut *sink, name)?;
            }
        }
        self.report.doubt(roots, found.get());
        sink.finish(self.report.records).map_err(|error| Failure::writing(name, &error))
    }

    /// Leaves of which nothing tells the table, as a table of their own.
    fn section(
        &mut self,
        section: &Section,
        names: &[&str],
        sink: &mut dyn Sink,
        to: &str,
    ) -> Result<(), Failure> {
        let wrong = |error: io::Error| Failure::writing(to, &error);
        let head = found_head(section, |name| {
            names.contains(&name)
                || self.report.tables.iter().any(|table| table.table.as_deref() == Some(name))
        });
        sink.begin(&head).map_err(wrong)?;
        let (mut records, mut walked) = (0, Walked::default());
        for leaf in &section.leaves {
            let of_leaf = walk_leaf(self.pages, *leaf, &mut |key, value| {
                interrupt::check()?;
                records += 1;
                self.bar.inc(1);
                sink.record(key, value).map_err(wrong)
            })?;
            walked.lost.extend(of_leaf.lost);
        }
        self.note_table(head.name, records, &walked);
        Ok(())
    }

    fn note_table(&mut self, name: Option<String>, records: u64, walked: &Walked) {
        let lost_records = self.report.lose(name.as_deref(), &walked.lost);
        self.report.notes.extend(walked.mended.iter().map(|(page, records)| {
            let records = table::plural(*records, "record", "records");
            let of = table::name(name.as_deref());
            format!("page {page} of {of} is lost; all its {records} were found below it")
        }));
        self.report.records += records;
        self.report.tables.push(TableReport { table: name, records, lost_records });
    }

    /// The named tables, as far as the catalog is intact.
    fn tables(&self, catalog: &TreeRecord) -> Result<(Vec<NamedTable>, Vec<Lost>), Failure> {
        let mut tables = Vec::new();
        let nothing = &mut |_| Ok(Below::default());
        let walked = walk(self.pages, catalog, nothing, &mut |name, value| {
            if let Ok(record) = TableRecord::decode(value) {
                tables.push((String::from_utf8_lossy(name).into_owned(), record));
            }
            Ok(())
        })?;
        Ok((tables, walked.lost))
    }

    fn table(
        &mut self,
        head: TableHead,
        tree: &TreeRecord,
        below: &mut FindBelow<'_>,
        sink: &mut dyn Sink,
        to: &str,
    ) -> Result<(), Failure> {
        let wrong = |error: io::Error| Failure::writing(to, &error);
        sink.begin(&head).map_err(wrong)?;
        let mut records = 0;
        let walked = walk(self.pages, tree, &mut |pgno| below(pgno), &mut |key, value| {
            interrupt::check()?;
            records += 1;
            self.bar.inc(1);
            sink.record(key, value).map_err(wrong)
        })?;
        self.note_table(head.name, records, &walked);
        Ok(())
    }
}

/// The default table, as far as its roots tell.
fn main_head(roots: &Roots) -> TableHead {
    TableHead {
        name: None,
        types: Some((Type::Bytes, Type::Bytes)),
        order: None,
        duplicates: None,
        duplicate_order: None,
        sequence: roots.default_sequence,
        line: 0,
    }
}

/// A table for leaves whose own is not known, of a name that is not taken.
fn found_head(section: &Section, is_taken: impl Fn(&str) -> bool) -> TableHead {
    let names = (1..).map(|number| match number {
        1 => "lost+found".to_owned(),
        _ => format!("lost+found {number}"),
    });
    TableHead {
        name: names.into_iter().find(|name| !is_taken(name)),
        types: Some((Type::Bytes, Type::Bytes)),
        order: Some(KeyOrder::BYTEWISE.name().to_owned()),
        duplicates: section
            .is_multimap
            .then_some(mapledb::Duplicates { order: KeyOrder::BYTEWISE, len: None }),
        duplicate_order: None,
        sequence: 0,
        line: 0,
    }
}

/// A table as the catalog describes it.
fn head(name: String, record: &TableRecord) -> TableHead {
    TableHead {
        name: Some(name),
        types: Some(types(record)),
        order: order(record),
        duplicates: record.tree.duplicates.map(duplicates_of),
        duplicate_order: text(record, ATTR_DUP_ORDER_NAME),
        sequence: record.sequence,
        line: 0,
    }
}

fn types(record: &TableRecord) -> (Type, Type) {
    let named =
        |id| record.attribute(id).map_or(Type::Bytes, |name| Type::recorded(&String::from_utf8_lossy(name)));
    (named(ATTR_KEY_TYPE), named(ATTR_VALUE_TYPE))
}

/// The name of the order of a table's keys.
fn order(record: &TableRecord) -> Option<String> {
    match record.tree.order {
        OrderId::Bytewise => Some(KeyOrder::BYTEWISE.name().to_owned()),
        OrderId::Reverse => Some(KeyOrder::REVERSE.name().to_owned()),
        OrderId::Integer => Some(KeyOrder::INTEGER.name().to_owned()),
        OrderId::Named => text(record, ATTR_ORDER_NAME),
    }
}

fn text(record: &TableRecord, attribute: u16) -> Option<String> {
    record.attribute(attribute).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Says what was rescued: on standard output, unless the dump went there.
fn tell(report: &Report, is_stream: bool, manner: Manner) -> Result<(), Failure> {
    if !is_stream {
        return output::report(manner.json, report, Report::in_words);
    }
    if !manner.quiet {
        output::aside(&match manner.json {
            true => serde_json::json!(report).to_string(),
            false => format!("maple: {}", report.sum()),
        });
    }
    Ok(())
}

impl Report {
    fn new(pages: &PageFile, roots: &Roots) -> Report {
        Report {
            found_by: roots.found_by.clone(),
            page_size: pages.size().bytes(),
            records: 0,
            lost_records: 0,
            tables: Vec::new(),
            lost: Vec::new(),
            may_be_more: false,
            notes: Vec::new(),
        }
    }

    /// Notes why more may be lost than what is listed.
    fn doubt(&mut self, roots: &Roots, orphans: Option<&Orphans>) {
        let mut doubts = Vec::new();
        if self.lost.iter().any(|lost| lost.table.as_deref() == Some(CATALOG)) {
            doubts
                .push("tables are lost whose names are not known, nor how many records they had".to_owned());
        }
        let mut news = Vec::new();
        let is_newer_found = orphans.is_some_and(|orphans| orphans.is_newer_found);
        match roots.newer {
            Some(Newer::Rootless) => doubts.push(
                "the leaf that is a tree's root in the newest commit is lost: this is the commit before it"
                    .to_owned(),
            ),
            Some(Newer::Unreadable(slot)) if is_newer_found => doubts.push(format!(
                "meta {slot} cannot be read: it was the newer one, or a transaction was at work; this is the commit before it"
            )),
            Some(Newer::Unreadable(slot)) => news.push(format!(
                "meta {slot} cannot be read; no page was written after the commit of the other one"
            )),
            Some(Newer::Recovered) if is_newer_found => doubts.push(
                "this is what the last recovery made to stand, and pages are there that were written after it: it has passed a commit \
                 over, or a transaction was at work"
                    .to_owned(),
            ),
            Some(Newer::Recovered) | None => {}
        }
        if is_newer_found {
            doubts.push("leaves written after it are in lost+found, be they of a commit or not".to_owned());
        }
        if roots.state.is_none() {
            doubts.push(
                "neither meta can be read: the newest tree of each kind was taken, which is a guess"
                    .to_owned(),
            );
        }
        if let Some(orphans) = orphans {
            doubts.extend(orphans.notes.iter().cloned());
            if orphans.is_default_doubtful {
                doubts.push(
                    "the root of the default table was not found, nor is it known how many records it had"
                        .to_owned(),
                );
            }
            if !orphans.apart.is_empty() {
                doubts.push("lost+found holds leaves of which nothing tells the table".to_owned());
            }
        }
        self.may_be_more = !doubts.is_empty();
        self.notes.extend(news.into_iter().chain(doubts));
    }

    /// How many records are lost, and whether that is all.
    fn losses(&self) -> String {
        let lost = table::plural(self.lost_records, "record", "records");
        match (self.may_be_more, self.lost_records) {
            (false, _) => format!("{lost} lost"),
            (true, 0) => "records may be lost".to_owned(),
            (true, _) => format!("{lost} lost, perhaps more"),
        }
    }

    /// Notes what is lost of a table, and answers how many records.
    fn lose(&mut self, table: Option<&str>, lost: &[Lost]) -> u64 {
        let records = lost.iter().fold(0, |sum: u64, lost| sum.saturating_add(lost.records));
        self.lost.extend(lost.iter().map(|lost| LostReport::of(table, lost)));
        self.lost_records = self.lost_records.saturating_add(records);
        records
    }

    /// Notes what is lost of the catalog: what names tables, and is no record of theirs.
    fn lose_tables(&mut self, lost: &[Lost]) {
        self.lost.extend(lost.iter().map(|lost| LostReport::of(Some(CATALOG), lost)));
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        self.lost.iter().try_for_each(|lost| output.line(lost.in_words()))?;
        self.notes.iter().try_for_each(|note| output.line(format!("note: {note}")))?;
        output.line(self.sum())
    }

    fn sum(&self) -> String {
        let records = table::plural(self.records, "record", "records");
        let tables = table::plural(self.tables.len() as u64, "table", "tables");
        format!("rescued {records} of {tables}, found by {}; {}", self.found_by, self.losses())
    }
}

impl LostReport {
    fn of(table: Option<&str>, lost: &Lost) -> LostReport {
        let text =
            |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| Type::Bytes.text_of(bytes).to_string());
        LostReport {
            table: table.map(str::to_owned),
            page: lost.pgno.get(),
            why: lost.why.clone(),
            records: lost.records,
            from: text(&lost.from),
            until: text(&lost.until),
        }
    }

    fn in_words(&self) -> String {
        let records = match self.table.as_deref() {
            Some(CATALOG) => table::plural(self.records, "table", "tables"),
            _ => table::plural(self.records, "record", "records"),
        };
        let from = self.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        let until = self.until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
        let of = table::name(self.table.as_deref());
        format!("lost: {records} of {of}{from}{until}: page {}: {}", self.page, self.why)
    }
}

/// What a tree record says of the duplicates of a multimap, but for the name of their order.
fn duplicates_of(recorded: mapledb_format::Duplicates) -> mapledb::Duplicates {
    let order = match recorded.order {
        OrderId::Bytewise | OrderId::Named => KeyOrder::BYTEWISE,
        OrderId::Reverse => KeyOrder::REVERSE,
        OrderId::Integer => KeyOrder::INTEGER,
    };
    mapledb::Duplicates { order, len: (recorded.len > 0).then_some(usize::from(recorded.len)) }
}
