//! `maple residency FILE`: how much of the file is in memory, and where.
//!
//! The kernel is asked for counts (`cachestat`), or page by page (`mincore`) through a map that nothing is read by where it
//! has none, so the answer does not change what it is about. It answers for the page cache, which all processes share. What
//! each of them has mapped of it is another question (`/proc/PID/smaps`).

use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::{LevelResidency, TreeName};
use mapledb_os::smaps::{self, Mapper};
use mapledb_os::{DataFile, MapAdvice, ReadMap, Seam};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{self, Column};

/// Show how much of the file is in memory, and where
#[derive(Debug, Args)]
#[command(after_help = MEANING)]
pub struct ResidencyArgs {
    #[command(flatten)]
    database: Reading,
    /// In so many equal parts of the file
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    parts: u64,
    /// By table and level of its tree instead
    #[arg(long)]
    tables: bool,
    /// By process that has the file mapped instead, as /proc/PID/smaps tells
    #[arg(long, conflicts_with = "tables")]
    processes: bool,
}

const MEANING: &str = "\
Each place of the strip is one part: blank for nothing in memory, then . : + # and @ for all of it. Opens no database \
and reads none of its pages, unless asked for tables: then the branches are read, and let go of again. \"maple warm\" \
brings the file in.";

#[derive(Debug, Serialize)]
struct Residency {
    path: PathBuf,
    file_bytes: u64,
    resident_bytes: u64,
    /// What of it is not written yet; not every kernel tells.
    dirty_bytes: Option<u64>,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Part {
    offset_bytes: u64,
    bytes: u64,
    resident_bytes: u64,
}

/// Shows it.
pub fn run(args: &ResidencyArgs, manner: Manner) -> Result<(), Failure> {
    if args.tables {
        return by_table(args, manner);
    }
    if args.processes {
        return by_process(args, manner);
    }
    let residency = Residency::of(&args.database.file, args.parts)?;
    output::report(manner.json, &residency, Residency::in_words)
}

#[derive(Debug, Serialize)]
struct ByTable {
    tables: Vec<Level>,
}

#[derive(Debug, Serialize)]
struct Level {
    table: Option<String>,
    of: &'static str,
    level: Option<usize>,
    pages: u64,
    resident_pages: u64,
}

fn by_table(args: &ResidencyArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let tables = env.residency().map_err(failure)?.into_iter().map(Level::of).collect();
    output::report(manner.json, &ByTable { tables }, |report, output| {
        let columns = [
            Column::Words("table"),
            Column::Words("pages of"),
            Column::Numbers("pages"),
            Column::Numbers("in memory"),
        ];
        table::rows(output, columns, report.tables.iter().map(Level::row))
    })
}

impl Level {
    fn of(level: LevelResidency) -> Level {
        let (of, table) = match level.tree {
            TreeName::Table(name) => ("table", name),
            TreeName::Duplicates(name) => ("duplicates", Some(name)),
            TreeName::Catalog => ("catalog", None),
            _ => ("free_space", None),
        };
        Level { table, of, level: level.level, pages: level.pages, resident_pages: level.resident_pages }
    }

    fn row(&self) -> [String; 4] {
        let name = match self.of {
            "table" => table::name(self.table.as_deref()),
            "duplicates" => table::name_of_duplicates(self.table.as_deref()),
            "catalog" => "(catalog)".to_owned(),
            _ => "(free space)".to_owned(),
        };
        let kind = match self.level {
            Some(0) => "leaves".to_owned(),
            Some(level) => format!("branches, level {level}"),
            None => "long values".to_owned(),
        };
        let share = format!("{} %", percent(self.resident_pages, self.pages));
        [name, kind, table::count(self.pages), share]
    }
}

#[derive(Debug, Serialize)]
struct ByProcess {
    processes: Vec<Process>,
    /// Processes that this user may not look into.
    hidden_processes: usize,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    command: Option<String>,
    mapped_bytes: u64,
    share_bytes: u64,
    huge_bytes: u64,
    locked_bytes: u64,
}

fn by_process(args: &ResidencyArgs, manner: Manner) -> Result<(), Failure> {
    let mapped = Mapped::open(&args.database.file)?;
    let looked = smaps::mappers_of(mapped.file.id(), mapped.file.path());
    let (mappers, hidden_processes) = looked.map_err(|error| failure(error.into()))?;
    let report = ByProcess { processes: mappers.iter().map(Process::of).collect(), hidden_processes };
    output::report(manner.json, &report, |report, output| {
        let columns = [
            Column::Numbers("process"),
            Column::Words("command"),
            Column::Numbers("mapped"),
            Column::Numbers("its share"),
            Column::Numbers("huge pages"),
            Column::Numbers("locked"),
        ];
        table::rows(output, columns, report.processes.iter().map(Process::row))?;
        match report.hidden_processes {
            0 => Ok(()),
            hidden => {
                let hidden = table::plural(hidden as u64, "process", "processes");
                output.line(format!("{hidden} of other users could not be looked into"))
            }
        }
    })
}

impl Process {
    fn of(mapper: &Mapper) -> Process {
        Process {
            pid: mapper.pid,
            command: mapledb_os::process::command(mapper.pid),
            mapped_bytes: mapper.facts.resident_bytes,
            share_bytes: mapper.facts.proportional_bytes,
            huge_bytes: mapper.facts.huge_bytes,
            locked_bytes: mapper.facts.locked_bytes,
        }
    }

    fn row(&self) -> [String; 6] {
        let command = self.command.clone().unwrap_or_default();
        let sizes =
            [self.mapped_bytes, self.share_bytes, self.huge_bytes, self.locked_bytes].map(table::size);
        let [mapped, share, huge, locked] = sizes;
        [self.pid.to_string(), command, mapped, share, huge, locked]
    }
}

/// A file to look at, mapped.
pub struct Mapped {
    pub file: DataFile,
    pub len_bytes: u64,
    map: ReadMap,
}

impl Mapped {
    /// Maps the file at `path`. Reads nothing of it.
    pub fn open(path: &Path) -> Result<Mapped, Failure> {
        let file =
            DataFile::open_read_only(path, Seam::unwatched()).map_err(|error| failure(error.into()))?;
        let len_bytes = file.len_bytes().map_err(|error| failure(error.into()))?;
        let map = ReadMap::map(&file, len_bytes.max(1), MapAdvice::Random);
        let map = map.map_err(|error| failure(error.into()))?;
        Ok(Mapped { file, len_bytes, map })
    }

    /// Brings a range into memory, which takes as long as the disk does.
    pub fn bring_in(&self, offset: u64, bytes: u64) -> Result<(), Failure> {
        let grain = mapledb_os::page_size();
        let len = usize::try_from(bytes.next_multiple_of(grain)).unwrap_or(usize::MAX);
        self.map.will_need(offset, len);
        match self.map.make_present(offset, len).map_err(|error| failure(error.into()))? {
            true => Ok(()),
            false => self.read_through(offset, bytes),
        }
    }

    /// For kernels that cannot make pages present by a call.
    fn read_through(&self, offset: u64, bytes: u64) -> Result<(), Failure> {
        let mut page = vec![0; usize::try_from(mapledb_os::page_size()).unwrap_or(4096)];
        let pages = (offset..offset.saturating_add(bytes)).step_by(page.len());
        for at in pages {
            self.file.read_at(at, &mut page).map_err(|error| failure(error.into()))?;
        }
        Ok(())
    }

    /// How much of a range is in memory, in bytes.
    pub fn resident_bytes(&self, offset: u64, bytes: u64) -> u64 {
        let grain = mapledb_os::page_size();
        let end = offset.saturating_add(bytes).min(self.len_bytes);
        if end <= offset {
            return 0;
        }
        if let Some(cached) = self.file.cached(offset, end - offset) {
            // The last page of the file may be a part of one.
            return (cached.pages * grain).min(end - offset);
        }
        let pages = (offset / grain..end.div_ceil(grain)).map(|page| page * grain);
        let within = |page: u64| (page + grain).min(end).saturating_sub(page.max(offset));
        pages.filter(|page| self.map.is_present(*page)).map(within).sum()
    }
}

impl Residency {
    fn of(path: &Path, parts: u64) -> Result<Residency, Failure> {
        let mapped = Mapped::open(path)?;
        let parts: Vec<Part> = ranges(mapped.len_bytes, parts, mapledb_os::page_size())
            .map(|(offset_bytes, bytes)| Part {
                offset_bytes,
                bytes,
                resident_bytes: mapped.resident_bytes(offset_bytes, bytes),
            })
            .collect();
        Ok(Residency {
            path: mapped.file.path().to_owned(),
            file_bytes: mapped.len_bytes,
            resident_bytes: parts.iter().map(|part| part.resident_bytes).sum(),
            dirty_bytes: mapped.file.cached(0, 0).map(|cached| cached.dirty_pages * mapledb_os::page_size()),
            parts,
        })
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let strip: String = self.parts.iter().map(|part| shade(part.resident_bytes, part.bytes)).collect();
        let (resident, file) = (table::size(self.resident_bytes), table::size(self.file_bytes));
        output.line(format!("[{strip}]"))?;
        output.line(format!(
            "{resident} of {file} in memory, {} %",
            percent(self.resident_bytes, self.file_bytes)
        ))
    }
}

/// A file in `parts` equal parts, or fewer where it is short, each of whole pages but the last: offset and length.
fn ranges(len_bytes: u64, parts: u64, grain: u64) -> impl Iterator<Item = (u64, u64)> {
    let each = len_bytes.div_ceil(parts).next_multiple_of(grain).max(grain);
    (0..len_bytes.div_ceil(each)).map(move |part| (part * each, each.min(len_bytes - part * each)))
}

fn shade(resident: u64, bytes: u64) -> char {
    match percent(resident, bytes) {
        _ if resident == 0 => ' ',
        0..=24 => '.',
        25..=49 => ':',
        50..=74 => '+',
        75..=99 => '#',
        _ => '@',
    }
}

fn percent(of: u64, all: u64) -> u64 {
    (u128::from(of) * 100 / u128::from(all.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_and_do_not_overlap() {
        for (len, parts) in
            [(0, 4), (1, 4), (4096, 1), (4097, 64), (1 << 20, 64), ((1 << 20) + 5, 7), (65_536, 65_536)]
        {
            let ranges: Vec<_> = ranges(len, parts, 4096).collect();
            assert!(ranges.len() as u64 <= parts);
            let end = ranges.iter().fold(0, |end, (offset, bytes)| {
                assert_eq!((end, *offset % 4096), (*offset, 0));
                offset + bytes
            });
            assert_eq!(end, len);
        }
    }

    #[test]
    fn shades_tell_nothing_and_all_from_the_rest() {
        let table =
            [(0, ' '), (1, '.'), (249, '.'), (250, ':'), (500, '+'), (750, '#'), (999, '#'), (1000, '@')];
        for (resident, character) in table {
            assert_eq!(shade(resident, 1000), character, "{resident}");
        }
        assert_eq!(shade(u64::MAX, u64::MAX), '@');
    }
}
