//! Folios that are larger than a page, where the file is written.
//!
//! A store through a map makes the whole folio dirty that the page lies in. The maps ask for small ones (`MADV_RANDOM`), but
//! whoever reads the file in order (`cp`, a backup) fills the page cache with folios of up to 2 MiB, and then a commit of
//! four pages writes megabytes. So every now and then, before a sync, the kernel is asked how much is dirty around what was
//! stored. If it is far more than was stored, the folios of the pages that are stored to next are split first, until
//! sixteen looks in a row find small ones.
//!
//! A wish, all of it: a folio that another process maps is not split, and a kernel before 6.5 does not say what is dirty.

use std::sync::atomic::{AtomicU32, Ordering};

use mapledb_os::{DataFile, WriteMap};

/// One sync in so many is preceded by a look.
const LOOK_EVERY: u32 = 16;
/// The largest folio there is, and what is looked at.
const FOLIO_BYTES: u64 = 2 << 20;
/// So many dirty kernel pages more than were stored are a sign of large folios: a folio of 64 KiB and more for each of four
/// pages.
const SIGN_PAGES: u64 = 64;

/// So many looks in a row must find folios small before they are no longer split: the file has others.
const LOOKS_SMALL: u32 = 16;

/// What was last seen of the folios that stores are about to dirty.
#[derive(Debug, Default)]
pub(super) struct Folios {
    /// Syncs since the last look.
    syncs: AtomicU32,
    /// Looks that have yet to find small folios until none is split any more.
    looks_left: AtomicU32,
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

    /// Looks, before every sixteenth sync, whether much more is dirty around `offset`, where something was stored, than the
    /// `pages` that were stored in all. Many pages say nothing, and are worth their folios.
    ///
    /// Cost: a system call in sixteen.
    pub(super) fn before_sync(&self, file: &DataFile, offset: u64, pages: u64) {
        let is_due = self.syncs.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY);
        if !is_due || pages > SIGN_PAGES {
            return;
        }
        let around = offset & !(FOLIO_BYTES - 1);
        if let Some(dirty) = file.dirty_pages(around, FOLIO_BYTES) {
            let left = self.looks_left.load(Ordering::Relaxed);
            let left = if dirty > pages + SIGN_PAGES { LOOKS_SMALL } else { left.saturating_sub(1) };
            self.looks_left.store(left, Ordering::Relaxed);
        }
    }
}
