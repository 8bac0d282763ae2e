//! Which pages are worth a system call before they are touched.
//!
//! A touch of a page that is not in memory waits for the disk, and meanwhile nobody asks for the next one. The kernel can be
//! asked for many pages at once (`MADV_WILLNEED`), so that the disk works on all of them; but that is a system call a
//! page, which a page in memory is not worth. So a batch is asked for only where one of its pages was seen to be absent, and
//! only pages that are likely to be are looked at: the first that this process has never verified, or else one in eight. What
//! is seen holds for the next batches: those are asked for unseen.
//!
//! A wish, all of it: what is not asked for is read when it is touched.

use std::sync::atomic::{AtomicU32, Ordering};

use mapledb_format::{PageSize, Pgno};

use super::maps::Maps;
use super::memo::Known;

/// For so many batches an absent page is taken as a sign.
const BATCHES: u32 = 64;
/// Of so many pages that were verified before, one is looked at.
const LOOK_EVERY: u64 = 8;

/// What was last seen of the pages that reads are about to touch.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Batches that are still to be asked for unseen.
    batches: AtomicU32,
}

impl Cold {
    /// Asks for `pages`, those past the snapshot's file left out, if they are likely to be absent.
    ///
    /// Cost: a memo look-up a page; a system call in every eighth batch while all is in memory, one for each run of pages where
    /// not.
    pub(super) fn will_need(&self, maps: &Maps, size: PageSize, pages_used: Pgno, pages: &[Pgno]) {
        let in_file = |pgno: &Pgno| *pgno < pages_used && *pgno >= size.first_data_pgno();
        if !self.expects_absent(maps, size, pages.iter().copied().filter(in_file)) {
            return;
        }
        let mut rest = pages.iter().copied().filter(in_file).peekable();
        while let Some(first) = rest.next() {
            let mut len = 1;
            while rest.next_if(|next| next.get() == first.get() + len).is_some() {
                len += 1;
            }
            maps.read.will_need(first.offset(size), (len << size.shift()) as usize);
        }
    }

    fn expects_absent(&self, maps: &Maps, size: PageSize, mut pages: impl Iterator<Item = Pgno> + Clone) -> bool {
        let is_absent = |pgno: Pgno| !maps.read.is_present(pgno.offset(size));
        let is_new = |pgno: &Pgno| maps.memo.of(*pgno).is_none_or(Known::is_nothing);
        let looked_at = pages.clone().find(is_new).or_else(|| pages.next().filter(|first| first.get() % LOOK_EVERY == 0));
        if looked_at.is_some_and(is_absent) {
            self.batches.store(BATCHES, Ordering::Relaxed);
            return true;
        }
        let left = self.batches.load(Ordering::Relaxed);
        if left > 0 {
            // Threads may count one batch as one: it is a guess either way.
            self.batches.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }
}
