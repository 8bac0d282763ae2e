//! Going through a snapshot on terms of one's own: what is read ahead, and what stays in memory.
//!
//! **Read-ahead.** The map is advised to read nothing ahead, and walks ask for the leaves that their branches name
//! (`tree::ahead`), whatever their places in the file. Where a tree lies in the file as it is ordered, more can be won by
//! asking for the file's next stretch, as the kernel does for `read`: a stretch is begun where an absent page is touched
//! outside of all stretches, and goes on when a touch comes near its end, either way. There are a few of them, since a walk
//! takes turns between leaves, branches and long values.
//!
//! **Release.** Whoever passes through a file drags all of it in, and what is in use elsewhere may have to go for that. So
//! each page is looked up before it is touched or asked for (`mincore`), those that were absent are noted, and when some
//! thousands of them have been read they are let go of again: unmapped, and dropped from the page cache. What was in memory
//! before is left alone. A page that somebody else begins to use in that short while may be dropped as well, and is read
//! once more.

use std::ops::Range;

use mapledb_format::overflow::{OverflowRef, RunGeometry};
use mapledb_format::{Extent, PageSize, Pgno};
use parking_lot::Mutex;

use crate::error::Result;
use crate::pages::{PageRef, Pages};
use crate::space::Extents;
use crate::txn::ReadTxn;

/// So many bytes may have been dragged in before those from before them are let go of. What was asked for just now may be on
/// its way from the disk, and would stay.
const WINDOW_BYTES: u64 = 8 << 20;
/// What is asked for where an absent page is touched, and as much again each time that half of it has been passed.
const STRETCH_BYTES: u64 = 1 << 20;
/// Stretches that are kept in mind: leaves, branches, long values and one to spare.
const STRETCHES_MAX: usize = 4;

/// How a scan treats memory: what it reads ahead, and whether it leaves things as they were.
///
/// As long as nothing is said a scan does what any read does: it asks ahead for leaves that are not in memory, and what it
/// has read stays there until the kernel wants the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanAdvice {
    is_sequential: bool,
    releases: bool,
}

impl ScanAdvice {
    /// Nothing special.
    pub const fn new() -> ScanAdvice {
        ScanAdvice { is_sequential: false, releases: false }
    }

    /// Reads the file ahead, 1 MiB at a time, from wherever a page is touched that is not in memory, in either direction. A
    /// gain where the table lies in the file in its order: loaded sorted, or a compact copy. Elsewhere it drags in what is
    /// not asked for.
    pub const fn sequential(mut self) -> ScanAdvice {
        self.is_sequential = true;
        self
    }

    /// Lets go of what was not in memory before and was brought there by this scan, at the latest when it is dropped and
    /// before it has brought 16 MiB more. Pages that are dirty, mapped by another process, or still on their way from the
    /// disk when it is dropped, stay.
    ///
    /// ```
    /// use mapledb::ScanAdvice;
    ///
    /// const EXPORT: ScanAdvice = ScanAdvice::new().sequential().release();
    ///
    /// assert_ne!(EXPORT, ScanAdvice::new());
    /// ```
    pub const fn release(mut self) -> ScanAdvice {
        self.releases = true;
        self
    }
}

/// A snapshot, for one who passes through: a [`ReadTxn`] with [`ScanAdvice`]. See [`ReadTxn::scan`].
pub struct Scan<'t> {
    txn: &'t ReadTxn,
    advice: ScanAdvice,
    trail: Mutex<Trail>,
}

/// What a scan has asked for, and what it has dragged in.
#[derive(Default)]
struct Trail {
    /// The pages dragged in last, less than a window of them.
    dragged: Extents,
    /// Those of the window before.
    earlier: Extents,
    stretches: Vec<Stretch>,
}

/// Pages that were asked for together.
#[derive(Clone, Copy)]
struct Stretch {
    first: u64,
    end: u64,
    /// The page of it that was touched last.
    at: u64,
}

impl Stretch {
    fn holds(&self, page: u64) -> bool {
        (self.first..self.end).contains(&page)
    }

    /// The pages to ask for next, now that `page`, which it holds, is touched; it holds them from then on.
    fn go_on(&mut self, page: u64, step: u64) -> Option<Range<u64>> {
        let was = std::mem::replace(&mut self.at, page);
        if page >= was && self.end - page <= step / 2 {
            let more = self.end..self.end + step;
            *self = Stretch { first: self.first.max(page.saturating_sub(step)), end: more.end, at: page };
            return Some(more);
        }
        if page < was && self.first > 0 && page - self.first < step / 2 {
            let more = self.first.saturating_sub(step)..self.first;
            *self = Stretch { first: more.start, end: self.end.min(page + step), at: page };
            return Some(more);
        }
        None
    }
}

impl<'t> Scan<'t> {
    pub(crate) fn new(txn: &'t ReadTxn, advice: ScanAdvice) -> Scan<'t> {
        Scan { txn, advice, trail: Mutex::default() }
    }

    /// For one who leaves no more in memory than there was.
    pub(super) fn passing(txn: &'t ReadTxn) -> Scan<'t> {
        Scan::new(txn, ScanAdvice::new().release())
    }

    /// The transaction.
    pub(crate) fn txn(&self) -> &'t ReadTxn {
        self.txn
    }

    /// Heeds the advice about pages that are about to be touched.
    ///
    /// Cost: a lock that nobody else wants; a system call, about 0.2 µs, for a page outside of all stretches, and one for
    /// each page of a stretch if they are to be let go of.
    pub(super) fn before(&self, first: Pgno, pages: u64) {
        if self.advice == ScanAdvice::new() {
            return;
        }
        let mut trail = self.trail.lock();
        if trail.dragged.pages() << self.txn.page_size().shift() >= WINDOW_BYTES {
            let dragged = std::mem::take(&mut trail.dragged);
            self.let_go(&std::mem::replace(&mut trail.earlier, dragged));
        }
        for n in 0..pages {
            let Some(at) = first.checked_add(n) else { return };
            match self.advice.is_sequential {
                true => self.ahead_of(&mut trail, at),
                false => self.note(&mut trail, at),
            }
        }
    }

    /// Reads ahead from `at` on, or further if that is near an end of what was read ahead.
    fn ahead_of(&self, trail: &mut Trail, at: Pgno) {
        let (page, step) = (at.get(), STRETCH_BYTES >> self.txn.page_size().shift());
        if let Some(stretch) = trail.stretches.iter_mut().find(|stretch| stretch.holds(page)) {
            if let Some(more) = stretch.go_on(page, step) {
                self.ask_for(trail, more);
            }
            return;
        }
        if self.txn.is_in_memory(at) {
            return;
        }
        // The one before goes on where it is cut off, if it ends here: it is a walk backwards.
        let stretch = match trail.stretches.iter().any(|stretch| stretch.first == page + 1) {
            true => Stretch { first: page.saturating_sub(step - 1), end: page + 1, at: page },
            false => Stretch { first: page, end: page + step, at: page },
        };
        trail.stretches.retain(|other| other.first != page + 1);
        if trail.stretches.len() == STRETCHES_MAX {
            trail.stretches.remove(0);
        }
        trail.stretches.push(stretch);
        self.ask_for(trail, stretch.first..stretch.end);
    }

    fn ask_for(&self, trail: &mut Trail, pages: Range<u64>) {
        if self.advice.releases {
            pages.clone().map_while(Pgno::new).for_each(|page| self.note(trail, page));
        }
        if let Some(first) = Pgno::new(pages.start) {
            self.txn.read_ahead(Extent::new(first, pages.end - pages.start));
        }
    }

    /// Notes a page if it is absent and to be let go of.
    fn note(&self, trail: &mut Trail, at: Pgno) {
        let page = Extent::new(at, 1);
        let is_noted = || trail.dragged.holds(&page) || trail.earlier.holds(&page);
        if self.advice.releases && !is_noted() && !self.txn.is_in_memory(at) {
            trail.dragged.insert(page);
        }
    }

    fn let_go(&self, dragged: &Extents) {
        for run in dragged.iter() {
            // A wish: what stays is in the way of nothing but memory.
            let _ = self.txn.let_go(run);
        }
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        let trail = std::mem::take(self.trail.get_mut());
        self.let_go(&trail.earlier);
        self.let_go(&trail.dragged);
    }
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("txn", self.txn).field("advice", &self.advice).finish_non_exhaustive()
    }
}

impl Pages for Scan<'_> {
    fn page_size(&self) -> PageSize {
        self.txn.page_size()
    }

    fn page(&self, at: PageRef) -> Result<&[u8]> {
        self.before(at.pgno, 1);
        self.txn.page(at)
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        // A run that cannot be is an error, and none of its pages are looked for.
        if let Some(geometry) = RunGeometry::of(at.len, self.page_size())
            && self.txn.raw_pages(at.pgno, geometry.pages).is_ok()
        {
            self.before(at.pgno, geometry.pages);
        }
        self.txn.run(at)
    }

    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        self.txn.prefetch(pgno, len_bytes);
    }

    fn will_need(&self, pages: &[Pgno]) {
        // Stretches have them, or have them soon.
        if !self.advice.is_sequential {
            pages.iter().for_each(|page| self.before(*page, 1));
            self.txn.will_need(pages);
        }
    }

    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        self.txn.prefetch_within(pgno, bytes);
    }

    fn count_gets(&self, count: usize) {
        self.txn.count_gets(count);
    }

    fn still_sound(&self) -> Result<()> {
        self.txn.still_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_goes_on_at_the_end_that_a_walk_comes_near() {
        let mut forward = Stretch { first: 1000, end: 1256, at: 1000 };
        assert_eq!((1001..1128).find_map(|page| forward.go_on(page, 256)), None);
        assert_eq!(forward.go_on(1128, 256), Some(1256..1512));
        assert_eq!(forward.go_on(1129, 256), None);
        let mut back = Stretch { first: 1000, end: 1256, at: 1255 };
        assert_eq!((1128..1255).rev().find_map(|page| back.go_on(page, 256)), None);
        assert_eq!(back.go_on(1127, 256), Some(744..1000));
        let mut to_the_front = Stretch { first: 100, end: 356, at: 300 };
        assert_eq!(to_the_front.go_on(101, 256), Some(0..100));
        assert_eq!(to_the_front.go_on(5, 256), None);
    }
}
