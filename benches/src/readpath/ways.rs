//! The ways to read. Each runs its own loop, so that the compiler sees what a user's own would show it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mapledb::{Env, ReadTable, Result as MapleResult, Verify};
use memmap2::{Advice, Mmap, MmapOptions};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};
use serde::{Deserialize, Serialize};

use crate::records::{self, Files, Outcome, PAGE_BYTES, RECORDS_PER_PAGE, Unit, key, said};

/// A way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A read-only shared map, advised to be read at random.
    Map,
    /// The same without that advice, so that the kernel reads ahead as it sees fit.
    Unadvised,
    /// `pread` of a page into a buffer of the thread.
    Pread,
    /// A cache of so many frames over `pread`.
    Cache(u64),
    /// A cache of so many frames over `pread` with `O_DIRECT`, which goes round the kernel's page cache.
    Direct(u64),
    /// `get` of MapleDB, and a range of 16 entries for a page.
    Maple,
    /// The same by an environment that never verifies a checksum.
    Unverified,
}

impl Kind {
    /// Its name, with the share of a file of so many pages that its frames can hold.
    pub fn name(self, pages: u64) -> String {
        let share = |frames: u64| format!("{} %", (frames * 100).div_ceil(pages));
        match self {
            Kind::Map => "map".to_owned(),
            Kind::Unadvised => "map, no advice".to_owned(),
            Kind::Pread => "pread".to_owned(),
            Kind::Cache(frames) => format!("cache {}", share(frames)),
            Kind::Direct(frames) => format!("direct cache {}", share(frames)),
            Kind::Maple => "MapleDB get".to_owned(),
            Kind::Unverified => "MapleDB unverified".to_owned(),
        }
    }

    /// Whether it is MapleDB, which also searches for what it reads.
    pub fn is_maple(self) -> bool {
        matches!(self, Kind::Maple | Kind::Unverified)
    }

    /// Whether it reads through a map of the plain file.
    pub fn is_map(self) -> bool {
        matches!(self, Kind::Map | Kind::Unadvised)
    }

    /// Opens it. Reads no record yet.
    pub fn open(self, files: &Files) -> Outcome<Box<dyn Way>> {
        let plain = |error: io::Error| said(&files.plain, &error);
        Ok(match self {
            Kind::Map => Box::new(map(&files.plain, Advice::Random).map_err(plain)?),
            Kind::Unadvised => Box::new(map(&files.plain, Advice::Normal).map_err(plain)?),
            Kind::Pread => Box::new(File::open(&files.plain).map_err(plain)?),
            Kind::Cache(frames) => {
                Box::new(Cached::new(File::open(&files.plain).map_err(plain)?, false, frames))
            }
            Kind::Direct(frames) => Box::new(Cached::new(direct(&files.plain)?, true, frames)),
            Kind::Maple => Box::new(records::open(&files.maple, Verify::FirstTouch)?),
            Kind::Unverified => Box::new(records::open(&files.maple, Verify::Never)?),
        })
    }
}

/// A way that is open. Threads share it.
pub trait Way: Send + Sync {
    /// Reads and checks the units of these numbers.
    fn read_all(&self, unit: Unit, indexes: &[u64]) -> Outcome<()>;
}

/// A read-only shared map of the file at `path`.
pub fn map(path: &Path, advice: Advice) -> io::Result<Mmap> {
    // SAFETY: a file of this run's own, which nobody changes or truncates while it is mapped.
    #[expect(unsafe_code, reason = "mapping a file")]
    let map = unsafe { MmapOptions::new().map(&File::open(path)?) }?;
    map.advise(advice)?;
    Ok(map)
}

fn direct(path: &Path) -> Outcome<File> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
    opened.map_err(|error| format!("{}: opening with O_DIRECT: {error}", path.display()))
}

impl Way for Mmap {
    fn read_all(&self, unit: Unit, indexes: &[u64]) -> Outcome<()> {
        for &index in indexes {
            let at = index as usize * unit.bytes();
            unit.check(index, &self[at..at + unit.bytes()])?;
        }
        Ok(())
    }
}

/// A page in memory.
type Frame = [u8; PAGE_BYTES];

/// Room for a page, aligned as direct reads need it.
#[repr(C, align(4096))]
struct Aligned(Frame);

fn fill(frame: &mut Frame, file: &File, page: u64) -> io::Result<()> {
    file.read_exact_at(frame, page * PAGE_BYTES as u64)
}

/// Checks unit `index`, which lies in the page that is in `frame`.
#[inline]
fn check(frame: &Frame, unit: Unit, index: u64) -> Outcome<()> {
    let at = match unit {
        Unit::Page => 0,
        Unit::Record => (index % RECORDS_PER_PAGE) as usize * unit.bytes(),
    };
    unit.check(index, &frame[at..at + unit.bytes()])
}

/// The page that unit `index` lies in.
fn page_of(unit: Unit, index: u64) -> u64 {
    index * unit.records() / RECORDS_PER_PAGE
}

impl Way for File {
    fn read_all(&self, unit: Unit, indexes: &[u64]) -> Outcome<()> {
        let mut frame = [0; PAGE_BYTES];
        for &index in indexes {
            fill(&mut frame, self, page_of(unit, index)).map_err(|error| format!("pread: {error}"))?;
            check(&frame, unit, index)?;
        }
        Ok(())
    }
}

/// Frames by page number, in shards with a lock each and a CLOCK-like eviction, by `quick_cache`. A frame that is in
/// use outlives its eviction; every other one is filled again, so that no memory comes and goes.
struct Cached {
    file: File,
    is_direct: bool,
    frames: Cache<u64, Arc<Frame>, UnitWeighter, DefaultHashBuilder, Evicted>,
    evicted: Evicted,
}

/// The frames that wait to be filled again.
#[derive(Clone, Default)]
struct Evicted(Arc<Mutex<Vec<Arc<Frame>>>>);

impl Lifecycle<u64, Arc<Frame>> for Evicted {
    type RequestState = ();

    fn begin_request(&self) {}

    fn on_evict(&self, (): &mut (), _page: u64, frame: Arc<Frame>) {
        self.0.lock().expect("no holder panics").push(frame);
    }
}

impl Evicted {
    /// One that nobody reads, else a new one.
    fn take(&self) -> Arc<Frame> {
        let frame = self.0.lock().expect("no holder panics").pop();
        match frame {
            Some(frame) if Arc::strong_count(&frame) == 1 => frame,
            _ => Arc::new([0; PAGE_BYTES]),
        }
    }
}

impl Cached {
    fn new(file: File, is_direct: bool, frames: u64) -> Self {
        let evicted = Evicted::default();
        let cache = Cache::with(
            frames as usize,
            frames,
            UnitWeighter,
            DefaultHashBuilder::default(),
            evicted.clone(),
        );
        Self { file, is_direct, frames: cache, evicted }
    }

    fn frame(&self, page: u64, room: &mut Aligned) -> io::Result<Arc<Frame>> {
        self.frames.get_or_insert_with(&page, || {
            let mut arc = self.evicted.take();
            let frame = Arc::get_mut(&mut arc).expect("nobody else has a frame that was taken");
            if self.is_direct {
                fill(&mut room.0, &self.file, page)?;
                frame.copy_from_slice(&room.0);
            } else {
                fill(frame, &self.file, page)?;
            }
            Ok(arc)
        })
    }
}

impl Way for Cached {
    fn read_all(&self, unit: Unit, indexes: &[u64]) -> Outcome<()> {
        let mut room = Aligned([0; PAGE_BYTES]);
        for &index in indexes {
            let frame = self.frame(page_of(unit, index), &mut room);
            check(frame.map_err(|error| format!("pread: {error}"))?.as_ref(), unit, index)?;
        }
        Ok(())
    }
}

impl Way for Env {
    fn read_all(&self, unit: Unit, indexes: &[u64]) -> Outcome<()> {
        let said = |error: mapledb::Error| format!("MapleDB: {error}");
        let txn = self.read().map_err(said)?;
        let table = txn.main().map_err(said)?;
        match unit {
            Unit::Record => indexes.iter().try_for_each(|&index| get(&table, index)),
            Unit::Page => indexes.iter().try_for_each(|&index| range(&table, index)),
        }
    }
}

#[inline]
fn get(table: &ReadTable<'_, [u8], [u8]>, number: u64) -> Outcome<()> {
    let value = table.get(&key(number)).map_err(|error| format!("MapleDB: {error}"))?;
    records::check(number, value.unwrap_or_default())
}

#[inline]
fn range(table: &ReadTable<'_, [u8], [u8]>, page: u64) -> Outcome<()> {
    let said = |error: mapledb::Error| format!("MapleDB: {error}");
    let first = page * RECORDS_PER_PAGE;
    let entries = table.range(&key(first)[..]..).map_err(said)?;
    let entries: &mut dyn Iterator<Item = MapleResult<_>> = &mut entries.take(RECORDS_PER_PAGE as usize);
    let mut next = first;
    for entry in entries {
        let (_, value): (&[u8], &[u8]) = entry.map_err(said)?;
        records::check(next, value)?;
        next += 1;
    }
    if next == first + RECORDS_PER_PAGE { Ok(()) } else { Err(format!("MapleDB: record {next} is missing")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 64;
    const KINDS: [Kind; 6] =
        [Kind::Map, Kind::Unadvised, Kind::Pread, Kind::Cache(PAGES), Kind::Cache(PAGES / 4), Kind::Maple];

    fn read_everything(kind: Kind, files: &Files, unit: Unit) -> Outcome<()> {
        let all: Vec<u64> = (0..files.units(unit)).collect();
        kind.open(files)?.read_all(unit, &all)
    }

    #[test]
    fn every_way_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::build(dir.path(), PAGES).unwrap();
        for kind in KINDS {
            read_everything(kind, &files, Unit::Record).unwrap();
            read_everything(kind, &files, Unit::Page).unwrap();
        }
    }

    #[test]
    fn a_wrong_byte_fails_the_run_on_every_way() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::build(dir.path(), PAGES).unwrap();
        for path in [&files.plain, &files.maple] {
            flip_a_byte_of(path, &records::record(812));
        }
        for kind in KINDS {
            for unit in [Unit::Record, Unit::Page] {
                let said = read_everything(kind, &files, unit).unwrap_err();
                assert!(said.contains("record 812,") || said.contains("checksum"), "{kind:?}: {said}");
            }
        }
    }

    /// Changes one byte in the middle of `record`, wherever the file at `path` holds it.
    fn flip_a_byte_of(path: &Path, record: &[u8]) {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(record.len()).position(|window| window == record).unwrap();
        bytes[at + record.len() / 2] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn names_tell_the_share_that_a_cache_holds() {
        let names = KINDS.map(|kind| kind.name(PAGES));
        assert_eq!(names, ["map", "map, no advice", "pread", "cache 100 %", "cache 25 %", "MapleDB get"]);
    }
}
