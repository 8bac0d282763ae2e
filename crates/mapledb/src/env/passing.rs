//! Reading a snapshot from end to end without driving what others read out of memory.
//!
//! Whoever passes through a file drags all of it in, and what is in use elsewhere may have to go for that. So each page is
//! looked up before it is touched (`mincore`), those that were absent are noted, and when some thousands of them have been
//! read they are let go of again: unmapped, and dropped from the page cache. What was in memory before is left alone. A page
//! that somebody else begins to use in that short while may be dropped as well, and is read once more.

use std::cell::RefCell;
use std::ops::Range;

use mapledb_format::overflow::OverflowRef;
use mapledb_format::{Extent, PageSize, Pgno};

use crate::error::Result;
use crate::pages::{PageRef, Pages};
use crate::space::Extents;
use crate::txn::ReadTxn;

/// So many bytes may have been dragged in before they are let go of.
const WINDOW_BYTES: u64 = 16 << 20;

/// The pages of a snapshot, for one who passes through.
pub(super) struct Passing<'t> {
    txn: &'t ReadTxn,
    dragged: RefCell<Extents>,
}

impl<'t> Passing<'t> {
    pub(super) fn through(txn: &'t ReadTxn) -> Passing<'t> {
        Passing { txn, dragged: RefCell::default() }
    }

    /// Notes which of some pages are absent, before they are touched; lets go of what was noted before if that is much.
    ///
    /// Cost: a system call a page, about 0.2 µs.
    pub(super) fn before(&self, first: Pgno, pages: u64) {
        let mut dragged = self.dragged.borrow_mut();
        if dragged.pages() << self.txn.page_size().shift() >= WINDOW_BYTES {
            self.let_go(&mut dragged);
        }
        for n in 0..pages {
            let Some(at) = first.checked_add(n) else { return };
            let page = Extent::new(at, 1);
            if !dragged.holds(&page) && !self.txn.is_in_memory(at) {
                dragged.insert(page);
            }
        }
    }

    fn let_go(&self, dragged: &mut Extents) {
        for run in std::mem::take(dragged).iter() {
            // A wish: what stays is in the way of nothing but memory.
            let _ = self.txn.let_go(run);
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let mut dragged = self.dragged.take();
        self.let_go(&mut dragged);
    }
}

impl Pages for Passing<'_> {
    fn page_size(&self) -> PageSize {
        self.txn.page_size()
    }

    fn page(&self, at: PageRef) -> Result<&[u8]> {
        self.before(at.pgno, 1);
        self.txn.page(at)
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        self.before(at.pgno, self.page_size().pages_for(at.len.saturating_add(1)));
        self.txn.run(at)
    }

    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        self.txn.prefetch(pgno, len_bytes);
    }

    fn will_need(&self, pages: &[Pgno]) {
        pages.iter().for_each(|page| self.before(*page, 1));
        self.txn.will_need(pages);
    }

    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        self.txn.prefetch_within(pgno, bytes);
    }

    fn still_sound(&self) -> Result<()> {
        self.txn.still_sound()
    }
}
