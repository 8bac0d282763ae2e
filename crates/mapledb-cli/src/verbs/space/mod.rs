//! `maple space FILE`: what is free, in which sizes, and what waits for whom; and a picture of the file.

mod picture;

use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::{FreeSpace, Holder, PageKind, SpaceMap, WaitingSpace};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::destination::Destination;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{self, Column};
use crate::time;

/// Show free space by size, age and holder, and what each stretch of the file holds
#[derive(Debug, Args)]
#[command(after_help = MEANING)]
pub struct SpaceArgs {
    #[command(flatten)]
    database: Reading,
    /// Draw what each stretch of the file holds, from its front to its end
    #[arg(long)]
    map: bool,
    /// In so many equal stretches, at most
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    parts: u32,
    /// Draw it to this file instead, as PNG if its name ends so, else as SVG
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long, requires = "out")]
    force: bool,
}

const MEANING: &str = "\
What is available may be used again at once. What waits is kept for a snapshot that somebody holds: a reader, or one of \
the two metas on the disk, which let go with the next two durable commits. Each place of a map shows what most pages of \
its stretch are. A map reads all branches, and all leaves of tables with values of several pages.";

#[derive(Debug, Serialize)]
struct Space {
    txnid: u64,
    page_size: usize,
    used_pages: u64,
    pages_in_use: u64,
    available_pages: u64,
    available_without_blocks: u64,
    longest_run: u64,
    sizes: Vec<Size>,
    waiting_pages: u64,
    waiting: Vec<Waiting>,
    pages_behind: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<Map>,
}

#[derive(Debug, Serialize)]
struct Size {
    pages_min: u64,
    pages_max: u64,
    runs: u64,
    pages: u64,
}

#[derive(Debug, Serialize)]
struct Waiting {
    txnid: u64,
    pages: u64,
    runs: u64,
    freed_first: u64,
    freed_last: u64,
    age: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holders: Vec<Held>,
}

/// Who holds a snapshot.
#[derive(Debug, Serialize)]
pub struct Held {
    by: &'static str,
    name: Option<String>,
    pid: Option<u32>,
    tid: Option<u32>,
    began_at: Option<String>,
    age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Map {
    file_pages: u64,
    stretches: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Part {
    first_page: u64,
    pages: u64,
    mostly: &'static str,
    meta: u64,
    leaf: u64,
    branch: u64,
    upper_branch: u64,
    overflow: u64,
    duplicates: u64,
    system: u64,
    available: u64,
    waiting: u64,
    behind: u64,
    other: u64,
}

/// Shows it.
pub fn run(args: &SpaceArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let space = env.space().map_err(failure)?;
    let to = args.out.as_ref();
    let destination = to.map(|to| Destination::of(to, args.force, &[&args.database.file])).transpose()?;
    let wants_map = args.map || args.out.is_some();
    let map = wants_map.then(|| env.space_map(args.parts as usize).map_err(failure)).transpose()?;
    if let (Some(to), Some(destination), Some(map)) = (to, &destination, &map) {
        destination.write(&drawn(to, map, &env.path().display().to_string())?)?;
    }
    let report = Space::of(space, map.as_ref());
    output::report(manner.json, &report, |report, output| {
        report.in_words(output)?;
        match map.filter(|_| args.out.is_none()) {
            Some(map) => picture::strip(&map, output),
            None => Ok(()),
        }
    })
}

fn drawn(to: &Path, map: &SpaceMap, path: &str) -> Result<Vec<u8>, Failure> {
    let is_png = to.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    match is_png {
        true => picture::png(map, path).map_err(|error| Failure::os("draw", to, error.into())),
        false => Ok(picture::svg(map, path).into_bytes()),
    }
}

impl Space {
    fn of(space: FreeSpace, map: Option<&SpaceMap>) -> Space {
        let sizes = space.sizes.iter().map(|size| Size {
            pages_min: size.pages_min,
            pages_max: size.pages_max,
            runs: size.runs,
            pages: size.pages,
        });
        Space {
            txnid: space.txnid,
            page_size: space.page_size,
            used_pages: space.used_pages,
            pages_in_use: space.pages_in_use,
            available_pages: space.available_pages,
            available_without_blocks: space.available_without_blocks,
            longest_run: space.longest_run,
            sizes: sizes.collect(),
            waiting_pages: space.waiting_pages,
            waiting: space.waiting.iter().map(Waiting::of).collect(),
            pages_behind: space.pages_behind,
            map: map.map(Map::of),
        }
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let bytes = |pages: u64| table::size(pages * self.page_size as u64);
        let available = match self.available_without_blocks {
            0 => bytes(self.available_pages),
            without => format!(
                "{}; up to {} of them take nothing of the disk",
                bytes(self.available_pages),
                bytes(without)
            ),
        };
        let fields = [
            ("commit", self.txnid.to_string()),
            ("in use", bytes(self.pages_in_use)),
            ("available", available),
            ("longest run", bytes(self.longest_run)),
            ("waiting", bytes(self.waiting_pages)),
            ("behind the used part", bytes(self.pages_behind)),
        ];
        table::fields(output, fields)?;
        if !self.sizes.is_empty() {
            output.line("")?;
            let columns =
                [Column::Numbers("run of pages"), Column::Numbers("runs"), Column::Numbers("pages")];
            table::rows(output, columns, self.sizes.iter().map(Size::row))?;
        }
        if !self.waiting.is_empty() {
            output.line("")?;
            let columns = [
                Column::Numbers("waiting for"),
                Column::Numbers("pages"),
                Column::Numbers("runs"),
                Column::Numbers("commits ago"),
                Column::Words("held by"),
            ];
            table::rows(output, columns, self.waiting.iter().map(Waiting::row))?;
        }
        Ok(())
    }
}

impl Size {
    fn row(&self) -> [String; 3] {
        let length = match self.pages_min == self.pages_max {
            true => table::count(self.pages_min),
            false => format!("{} to {}", table::count(self.pages_min), table::count(self.pages_max)),
        };
        [length, table::count(self.runs), table::count(self.pages)]
    }
}

impl Waiting {
    fn of(waiting: &WaitingSpace) -> Waiting {
        Waiting {
            txnid: waiting.txnid,
            pages: waiting.pages,
            runs: waiting.runs,
            freed_first: waiting.freed_first,
            freed_last: waiting.freed_last,
            age: waiting.age,
            holders: waiting.holders.iter().map(Held::of).collect(),
        }
    }

    fn row(&self) -> [String; 5] {
        let held = match self.holders.is_empty() {
            true => "nobody: the next commits take it".to_owned(),
            false => self.holders.iter().map(Held::in_words).collect::<Vec<_>>().join(", "),
        };
        [
            self.txnid.to_string(),
            table::count(self.pages),
            table::count(self.runs),
            table::count(self.age),
            held,
        ]
    }
}

impl Held {
    /// The holder.
    pub fn of(holder: &Holder) -> Held {
        let by = |by| Held { by, name: None, pid: None, tid: None, began_at: None, age_seconds: None };
        match holder {
            Holder::Reader(reader) => Held {
                by: "reader",
                name: None,
                pid: Some(reader.pid),
                tid: Some(reader.tid),
                began_at: Some(time::rfc3339(reader.began_at_ns)),
                age_seconds: Some(time::since(reader.began_at_ns).as_secs()),
            },
            Holder::Durable => by("durable"),
            Holder::OlderMeta => by("older_meta"),
            Holder::Published => by("published"),
            Holder::InFlight => by("in_flight"),
            Holder::Snapshot(name) => Held { name: Some(name.clone()), ..by("snapshot") },
            _ => by("other"),
        }
    }

    /// What a sentence calls it.
    pub fn in_words(&self) -> String {
        if let Some(name) = &self.name {
            return format!("the snapshot {name:?}");
        }
        match (self.by, self.pid, self.age_seconds) {
            ("reader", Some(pid), Some(seconds)) => {
                format!("process {pid} for {}", time::words(std::time::Duration::from_secs(seconds)))
            }
            ("durable", ..) => "the durable commit".to_owned(),
            ("older_meta", ..) => "the older meta".to_owned(),
            ("published", ..) => "the latest commit".to_owned(),
            ("in_flight", ..) => "a commit in flight".to_owned(),
            _ => "somebody".to_owned(),
        }
    }
}

impl Map {
    fn of(map: &SpaceMap) -> Map {
        let parts = map.stretches.iter().map(|stretch| Part {
            first_page: stretch.first_page,
            pages: stretch.len(),
            mostly: stretch.mostly().name(),
            meta: stretch.of(PageKind::Meta),
            leaf: stretch.of(PageKind::Leaf),
            branch: stretch.of(PageKind::Branch),
            upper_branch: stretch.of(PageKind::UpperBranch),
            overflow: stretch.of(PageKind::Overflow),
            duplicates: stretch.of(PageKind::Duplicates),
            system: stretch.of(PageKind::System),
            available: stretch.of(PageKind::Available),
            waiting: stretch.of(PageKind::Waiting),
            behind: stretch.of(PageKind::Behind),
            other: stretch.of(PageKind::Other),
        });
        Map { file_pages: map.file_pages, stretches: parts.collect() }
    }
}
