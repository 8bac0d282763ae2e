//! Folios that are larger than a page, where the file is written.
//!
//! A store through a map makes the whole folio dirty that the page lies in. The maps ask for small ones (`MADV_RANDOM`), but
//! whoever reads the file in order (`cp`, a backup) fills the page cache with folios of up to 2 MiB, and then a commit of
//! four pages writes megabytes. So every now and then, before a sync, the kernel is asked how much is dirty around what was
//! stored. If it is far more than was stored, the folios of the pages that are stored to next are split first, until
//! sixteen looks in a row find small ones.
//!
//! And this process itself makes folios of up to 64 KiB where a large transaction fills new pages at the end of the file, and where a
//! value of several pages is written, which takes a fifth of the time of as many small ones. They are remembered, and split before a
//! store to a part of them.
//!
//! A wish, all of it: a folio that another process maps is not split, and a kernel before 6.5 does not say what is dirty.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mapledb_os::{DataFile, FILL_BYTES, WriteMap};
use parking_lot::Mutex;

/// One sync in so many is preceded by a look.
const LOOK_EVERY: u32 = 16;
/// The largest folio there is, and what is looked at.
const FOLIO_BYTES: u64 = 2 << 20;
/// Up to so many pages of a sync are looked at.
const FEW_PAGES: u64 = 64;
/// So many dirty kernel pages more than were stored are a sign of large folios: one of 64 KiB for a commit of four pages.
const SIGN_PAGES: u64 = 8;
/// The folios that this process makes: none crosses a multiple of so many bytes.
const BLOCK_BYTES: u64 = FILL_BYTES as u64;

/// So many looks in a row must find folios small before they are no longer split: the file has others.
const LOOKS_SMALL: u32 = 16;

/// What was last seen of the folios that stores are about to dirty.
#[derive(Debug, Default)]
pub(super) struct Folios {
    /// Syncs since the last look.
    syncs: AtomicU32,
    /// Looks that have yet to find small folios until none is split any more.
    looks_left: AtomicU32,
    /// Whether there is anything in `filled`.
    has_filled: AtomicBool,
    filled: Mutex<Filled>,
}

/// Where this process has made large folios that it has not split since: first block to the one behind the last.
#[derive(Debug, Default)]
struct Filled(BTreeMap<u64, u64>);

impl Filled {
    /// Adds blocks, some of which may be there.
    fn add(&mut self, mut blocks: Range<u64>) {
        while let Some((&first, &end)) = self.0.range(..=blocks.end).next_back()
            && end >= blocks.start
        {
            self.0.remove(&first);
            blocks = first.min(blocks.start)..end.max(blocks.end);
        }
        self.0.insert(blocks.start, blocks.end);
    }

    /// Takes a block out; answers whether it was there.
    fn take(&mut self, block: u64) -> bool {
        let Some((&first, &end)) = self.0.range(..=block).next_back() else { return false };
        if block >= end {
            return false;
        }
        match first == block {
            true => drop(self.0.remove(&first)),
            false => drop(self.0.insert(first, block)),
        }
        if block + 1 < end {
            self.0.insert(block + 1, end);
        }
        true
    }
}

impl Folios {
    /// Makes sure that a store to `len` bytes at `offset` dirties little else, if that is in doubt.
    ///
    /// Cost: a load; where folios were found to be large, two system calls.
    #[inline]
    pub(super) fn before_store(&self, map: &WriteMap, offset: u64, len: usize) {
        if self.looks_left.load(Ordering::Relaxed) != 0 {
            map.split_folios(offset, len);
        }
    }

    /// Splits what this process has filled where stores to a run are to come; what the run covers whole only if not `is_for_all`
    /// of it.
    ///
    /// Cost: a load; two system calls for a folio that is split.
    #[inline]
    pub(super) fn before_run(&self, map: &WriteMap, run: Range<u64>, is_for_all: bool) {
        if self.has_filled.load(Ordering::Relaxed) {
            self.split_filled(map, run, is_for_all);
        }
    }

    #[cold]
    fn split_filled(&self, map: &WriteMap, run: Range<u64>, is_for_all: bool) {
        let mut filled = self.filled.lock();
        let (first, last) = (run.start / BLOCK_BYTES, (run.end - 1) / BLOCK_BYTES);
        let is_whole = |block: u64| block * BLOCK_BYTES >= run.start && (block + 1) * BLOCK_BYTES <= run.end;
        let step = if is_for_all { (last - first).max(1) } else { 1 };
        for block in (first..=last).step_by(step as usize) {
            if !(is_for_all && is_whole(block)) && filled.take(block) {
                map.split_folios((block * BLOCK_BYTES).max(run.start), 1);
            }
        }
        self.has_filled.store(!filled.0.is_empty(), Ordering::Relaxed);
    }

    /// Takes note that `len` bytes at `offset` were written in large pieces.
    pub(super) fn note_filled(&self, offset: u64, len: u64) {
        self.filled.lock().add(offset / BLOCK_BYTES..(offset + len).div_ceil(BLOCK_BYTES));
        self.has_filled.store(true, Ordering::Relaxed);
    }

    /// Looks, before every sixteenth sync, whether more is dirty around `offset`, where something was stored, than the
    /// `pages` that were stored in all, and `spare` others that may be dirty beside them. Many pages say nothing, and are worth their
    /// folios.
    ///
    /// Cost: a system call in sixteen.
    pub(super) fn before_sync(&self, file: &DataFile, offset: u64, pages: u64, spare: u64) {
        let is_due = self.syncs.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY);
        if !is_due || pages > FEW_PAGES {
            return;
        }
        let around = offset & !(FOLIO_BYTES - 1);
        if let Some(dirty) = file.dirty_pages(around, FOLIO_BYTES) {
            let left = self.looks_left.load(Ordering::Relaxed);
            let left = if dirty > pages + spare + SIGN_PAGES { LOOKS_SMALL } else { left.saturating_sub(1) };
            self.looks_left.store(left, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_split_once_block_by_block() {
        let mut filled = Filled::default();
        filled.add(4..8);
        filled.add(8..10);
        filled.add(20..21);
        filled.add(9..12);
        filled.add(6..7);
        assert_eq!(filled.0, BTreeMap::from([(4, 12), (20, 21)]));
        let taken: Vec<u64> = [3, 7, 4, 7, 11, 12, 20, 20].into_iter().filter(|block| filled.take(*block)).collect();
        assert_eq!(taken, [7, 4, 11, 20]);
        assert_eq!(filled.0, BTreeMap::from([(5, 7), (8, 11)]));
    }
}
