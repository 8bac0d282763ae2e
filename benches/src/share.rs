//! Processes that share one file: what each of them adds to the memory of the machine, by a MapleDB map or by a
//! cache of its own over `pread`.
//!
//! Each process reads every record once, in an order that jumps through the file, then waits until all have; only
//! then do they look at their memory, for a page's proportional share (PSS) depends on who else maps it. The sum
//! of PSS over processes counts each shared page once.

use std::path::Path;

use procfs::process::{MMapPath, MemoryMap, Process};
use serde::{Deserialize, Serialize};

use crate::document::{figure, table};
use crate::readpath::ways::{Kind, Way};
use crate::records::{Files, Outcome, Unit};

/// Records that are asked for in one transaction.
const BATCH: usize = 10_000;

/// Memory of one process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident pages of the data file.
    pub file_rss: u64,
    /// The same, each page divided by the processes that map it.
    pub file_pss: u64,
    /// Pages of everything else that no other process has: heap, stacks, parts of the program.
    pub private: u64,
    /// Page tables.
    pub page_tables: u64,
}

impl Memory {
    /// This process's, where the data file is the one at `file`.
    pub fn now(file: &Path) -> Outcome<Self> {
        let said = |error: procfs::ProcError| format!("the memory of this process: {error}");
        let process = Process::myself().map_err(said)?;
        let maps = process.smaps().map_err(said)?;
        let status = process.status().map_err(said)?;
        let file = file.canonicalize().map_err(|error| crate::records::said(file, &error))?;
        let mut memory = Self { page_tables: status.vmpte.unwrap_or(0) * 1024, ..Self::default() };
        maps.0.iter().for_each(|map| memory.add(map, &file));
        Ok(memory)
    }

    fn add(&mut self, map: &MemoryMap, file: &Path) {
        let bytes = |name: &str| map.extension.map.get(name).copied().unwrap_or(0);
        if matches!(&map.pathname, MMapPath::Path(path) if path == file) {
            self.file_rss += bytes("Rss");
            self.file_pss += bytes("Pss");
        } else {
            self.private += bytes("Private_Clean") + bytes("Private_Dirty");
        }
    }
}

/// How a process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// By MapleDB.
    Maple,
    /// By `pread` into a cache of its own.
    Cache,
}

impl Reader {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Reader::Maple => "MapleDB",
            Reader::Cache => "pread and a private cache",
        }
    }

    /// The file it reads.
    pub fn file(self, files: &Files) -> &Path {
        match self {
            Reader::Maple => &files.maple,
            Reader::Cache => &files.plain,
        }
    }

    /// Opens it; a cache gets so many frames.
    pub fn open(self, files: &Files, frames: u64) -> Outcome<Box<dyn Way>> {
        match self {
            Reader::Maple => Kind::Maple.open(files),
            Reader::Cache => Kind::Cache(frames).open(files),
        }
    }
}

/// Reads every record once, beginning at a place that `process` tells.
pub fn read_everything(way: &dyn Way, records: u64, process: u64) -> Outcome<()> {
    let mut numbers = jumps(records, process);
    loop {
        let batch: Vec<u64> = numbers.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(());
        }
        way.read_all(Unit::Record, &batch)?;
    }
}

/// Every number below `records` once, by steps of the golden section; needs no memory, which would count as the
/// reader's.
fn jumps(records: u64, process: u64) -> impl Iterator<Item = u64> {
    let golden = (records as f64 * 0.618_033_988_75) as u64;
    let step = (golden..).find(|&step| step > 0 && greatest_divisor(step, records) == 1).unwrap_or(1);
    let first = process.wrapping_mul(golden / 7 + 1) % records;
    (0..records).scan(first, move |next, _| {
        let number = *next;
        *next = (number + step) % records;
        Some(number)
    })
}

fn greatest_divisor(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { greatest_divisor(right, left % right) }
}

/// So many processes at once.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How they read.
    pub reader: Reader,
    /// How many they are.
    pub processes: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Records a second, of all together, while they read everything.
    pub reads_per_second: f64,
    /// The memory of each.
    pub memory: Vec<Memory>,
}

impl Row {
    /// The sum of PSS of the file over all processes.
    pub fn file_pss(&self) -> u64 {
        self.memory.iter().map(|memory| memory.file_pss).sum()
    }

    /// The most that one process has for itself alone, page tables included.
    pub fn most_private(&self) -> u64 {
        self.memory.iter().map(|memory| memory.private + memory.page_tables).max().unwrap_or(0)
    }

    /// What all processes have for themselves alone, page tables included.
    fn all_private(&self) -> u64 {
        self.memory.iter().map(|memory| memory.private + memory.page_tables).sum()
    }

    fn cells(&self) -> Vec<String> {
        let mib = |bytes: u64| figure(bytes as f64 / f64::from(1 << 20));
        let most = |of: fn(&Memory) -> u64| mib(self.memory.iter().map(of).max().unwrap_or(0));
        vec![
            self.reader.name().to_owned(),
            self.processes.to_string(),
            mib(self.file_bytes),
            most(|memory| memory.file_rss),
            mib(self.file_pss()),
            figure(self.file_pss() as f64 / self.file_bytes as f64),
            most(|memory| memory.private),
            most(|memory| memory.page_tables),
            mib(self.all_private()),
            figure(self.reads_per_second),
        ]
    }
}

const HEAD: [&str; 10] = [
    "readers",
    "processes",
    "file, MiB",
    "RSS of the file, each",
    "PSS of the file, sum",
    "sum / file",
    "private, each",
    "page tables, each",
    "private, sum",
    "reads/s in all",
];

/// A Markdown table, which people can read as it is.
pub fn markdown(rows: &[Row]) -> String {
    table(&HEAD, &rows.iter().map(Row::cells).collect::<Vec<_>>())
}

/// The same with columns of even width, for a terminal.
pub fn aligned(rows: &[Row]) -> String {
    let lines: Vec<Vec<String>> =
        std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", width(0)),
            _ => format!("{cell:>0$}", width(column)),
        });
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_visit_every_number_once() {
        for records in [1, 2, 7, 16, 1000, 4096] {
            for process in 0..3 {
                let mut seen: Vec<u64> = jumps(records, process).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..records).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_reader_of_the_map_has_its_file_and_little_else() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::build(dir.path(), 4096).unwrap();
        let way = Reader::Maple.open(&files, 0).unwrap();
        let before = Memory::now(&files.maple).unwrap();
        read_everything(way.as_ref(), files.records(), 0).unwrap();
        let after = Memory::now(&files.maple).unwrap();
        let data_bytes = files.records() * 256;
        assert!(after.file_rss - before.file_rss > data_bytes * 9 / 10, "{before:?} {after:?}");
        assert!(after.page_tables > 0 && after.private > 0);
    }

    #[test]
    fn a_wrong_byte_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::build(dir.path(), 64).unwrap();
        let mut bytes = std::fs::read(&files.plain).unwrap();
        bytes[70_000] ^= 1;
        std::fs::write(&files.plain, bytes).unwrap();
        let way = Reader::Cache.open(&files, 16).unwrap();
        let said = read_everything(way.as_ref(), files.records(), 0).unwrap_err();
        assert!(said.contains("record 273, of page 17, is not what was written"), "{said}");
    }

    #[test]
    fn sums_and_shares_are_those_of_all_processes() {
        let memory =
            Memory { file_rss: 100 << 20, file_pss: 50 << 20, private: 2 << 20, page_tables: 1 << 20 };
        let row = Row {
            reader: Reader::Maple,
            processes: 2,
            file_bytes: 100 << 20,
            reads_per_second: 1234.0,
            memory: vec![memory; 2],
        };
        assert_eq!((row.file_pss(), row.most_private()), (100 << 20, 3 << 20));
        let text = markdown(&[row]);
        assert!(
            text.contains("| MapleDB | 2 | 100 | 100 | 100 | 1.00 | 2.00 | 1.00 | 6.00 | 1,234 |"),
            "{text}"
        );
    }
}
