//! The data of `readpath` and `share`: numbered records of 256 bytes, once one after the other in a plain file,
//! sixteen to a page of 4 KiB, and once in a MapleDB table under their numbers.
//!
//! ```text
//! 0    number, little-endian, times an odd constant
//! 8    30 words that follow from it
//! 248  the word that makes the sum of all 32 words what `seal(number)` says
//! ```
//!
//! So every read is checked, at the cost of touching every byte of it: a wrong byte, or a right record in a
//! wrong place, changes the sum.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use mapledb::{Env, Verify};

use crate::workload::SplitMix64;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 256;

/// Records of a page.
pub const RECORDS_PER_PAGE: u64 = (PAGE_BYTES / RECORD_BYTES) as u64;

const WORDS: usize = RECORD_BYTES / 8;

/// What work with the data gives; an error is a sentence, and can cross threads.
pub type Outcome<T> = std::result::Result<T, String>;

/// What one operation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// One record.
    Record,
    /// The 16 records of a page.
    Page,
}

impl Unit {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Record => "record",
            Unit::Page => "page",
        }
    }

    /// Records of it.
    pub fn records(self) -> u64 {
        match self {
            Unit::Record => 1,
            Unit::Page => RECORDS_PER_PAGE,
        }
    }

    /// Bytes of it.
    pub fn bytes(self) -> usize {
        self.records() as usize * RECORD_BYTES
    }

    /// Checks that `bytes` are the unit that has number `index`.
    #[inline]
    pub fn check(self, index: u64, bytes: &[u8]) -> Outcome<()> {
        let first = index * self.records();
        for (number, record) in (first..).zip(bytes.chunks_exact(RECORD_BYTES)) {
            check(number, record)?;
        }
        Ok(())
    }
}

/// What the words of record `number` sum up to.
fn seal(number: u64) -> u64 {
    SplitMix64::new(number).next_u64()
}

/// Record `number`.
pub fn record(number: u64) -> [u8; RECORD_BYTES] {
    let mut words = SplitMix64::new(!number);
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.fill(&mut record[8..RECORD_BYTES - 8]);
    let last = seal(number).wrapping_sub(sum(&record));
    record[RECORD_BYTES - 8..].copy_from_slice(&last.to_le_bytes());
    record
}

/// Checks that `bytes` are record `number`.
#[inline]
pub fn check(number: u64, bytes: &[u8]) -> Outcome<()> {
    if bytes.len() == RECORD_BYTES && sum(bytes) == seal(number) { Ok(()) } else { Err(wrong(number, bytes)) }
}

#[cold]
fn wrong(number: u64, bytes: &[u8]) -> String {
    let page = number / RECORDS_PER_PAGE;
    let first = record(number).iter().zip(bytes).position(|(right, read)| right != read);
    let at =
        first.map_or_else(|| format!("it has {} bytes", bytes.len()), |at| format!("byte {at} is wrong"));
    format!("record {number}, of page {page}, is not what was written: {at}")
}

#[inline]
fn sum(record: &[u8]) -> u64 {
    let (words, _) = record.as_chunks::<8>();
    words.iter().take(WORDS).fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// The key of record `number` in the table.
#[inline]
pub fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The two files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Records one after the other.
    pub plain: PathBuf,
    /// The MapleDB file.
    pub maple: PathBuf,
    /// Pages of the plain file.
    pub pages: u64,
}

impl Files {
    /// The files of so many pages in `dir`.
    pub fn at(dir: &Path, pages: u64) -> Self {
        Self { plain: dir.join("records.plain"), maple: dir.join("records.maple"), pages }
    }

    /// Writes both and has them on the disk.
    pub fn build(dir: &Path, pages: u64) -> Outcome<Self> {
        let files = Self::at(dir, pages);
        files.build_plain().map_err(|error| format!("{}: {error}", files.plain.display()))?;
        files.build_maple()?;
        Ok(files)
    }

    /// Records of either.
    pub fn records(&self) -> u64 {
        self.pages * RECORDS_PER_PAGE
    }

    /// Units of one kind in either.
    pub fn units(&self, unit: Unit) -> u64 {
        self.records() / unit.records()
    }

    fn build_plain(&self) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.plain)?);
        for number in 0..self.records() {
            file.write_all(&record(number))?;
        }
        file.into_inner()?.sync_all()
    }

    /// Writes the MapleDB file alone.
    pub fn build_maple(&self) -> Outcome<()> {
        let env = open(&self.maple, Verify::FirstTouch)?;
        let load = || {
            let mut txn = env.write()?;
            let entries = (0..self.records()).map(|number| (key(number), record(number)));
            txn.main().load_sorted(entries.map(Ok))?;
            txn.commit()
        };
        load().map_err(|error| said(&self.maple, &error))?;
        env.close().map_err(|error| said(&self.maple, &error))
    }
}

/// Opens the MapleDB file at `path`, or creates it, with default options apart from when it verifies pages.
pub fn open(path: &Path, verify: Verify) -> Outcome<Env> {
    // SAFETY: a file of this run's own, to which nothing but MapleDB writes while it is open.
    #[expect(unsafe_code, reason = "opening a file to map it")]
    let env = unsafe { Env::options().verify(verify).open_or_create(path) };
    env.map_err(|error| said(path, &error))
}

/// An error about a file, as a sentence.
pub fn said(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_byte_and_every_wrong_place_is_seen() {
        let right = record(812);
        check(812, &right).unwrap();
        for at in 0..RECORD_BYTES {
            let mut wrong = right;
            wrong[at] ^= 0x10;
            let said = check(812, &wrong).unwrap_err();
            assert!(
                said.contains("record 812, of page 50,") && said.contains(&format!("byte {at} ")),
                "{said}"
            );
        }
        assert!(check(813, &right).is_err());
        assert!(check(812, &right[..RECORD_BYTES - 1]).is_err());
    }

    #[test]
    fn a_page_is_its_sixteen_records() {
        let page: Vec<u8> = (32..48).flat_map(record).collect();
        assert_eq!(page.len(), PAGE_BYTES);
        Unit::Page.check(2, &page).unwrap();
        assert!(Unit::Page.check(1, &page).is_err());
    }
}
