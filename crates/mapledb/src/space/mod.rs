//! Free space: where a transaction's new pages come from, and where those it gives up go.
//!
//! A page born in *b* and freed in *d* may be reused once no pinned snapshot *s* with *b ≤ s < d* is left (I6). Until
//! then it waits in the group of its *blocker*, the largest such *s*: when that snapshot goes, the group is looked at
//! once, and each page becomes available or moves to an earlier blocker. So a page moves at most once for each
//! snapshot that holds it, and nothing is ever scanned that still waits.
//!
//! What a small commit needs lies in the head itself, in the *inline area*: extents that are available, and the groups
//! of the last few commits. Only what does not fit there goes to the *free tree*: waiting pages in packed lists, and
//! available ones as one bitmap for each 1,024 pages, with a second key that finds a chunk by its longest run. Bits
//! coalesce by themselves, and a scattered thousand pages touch a few dozen records.
//!
//! The free tree is a tree like any other, copied on write, out of the very space it describes. Two rules keep that
//! from chasing its tail: while the free tree changes, pages come from what this transaction holds already or from
//! the end of the file, never from the free tree; and what its changes free waits inline.

mod draft;
mod extents;
mod holes;
mod release;
mod spill;

use mapledb_format::free::list::InlineFree;
use mapledb_format::free::{PageBounds, blocker};
use mapledb_format::{Extent, FreedExtent, HeadBody, PendingGroup, Pgno, TreeRecord, Txnid};

use crate::error::{Error, Result};

pub use draft::Draft;
pub(crate) use extents::Extents;
pub(crate) use holes::{HOLE_PAGES_MIN, marked_runs};

/// The state of free space within one write transaction.
#[derive(Debug)]
pub(crate) struct Space {
    /// The snapshot the transaction builds on: the blocker of all it frees.
    base: Txnid,
    /// Pinned snapshots, ascending. A snapshot pinned later is the base or younger, and blocks nothing older.
    pins: Vec<Txnid>,
    /// Available and not handed out yet.
    pool: Extents,
    /// Handed out.
    handed: Extents,
    /// Handed out and given back: already dirty, so the first to be handed out again.
    loose: Extents,
    /// Committed pages given up by this transaction.
    freed: Vec<FreedExtent>,
    /// Groups that still wait, as the head listed them.
    waiting: Vec<PendingGroup>,
    /// The free tree.
    tree: TreeRecord,
    /// Whether the free tree is being changed.
    is_busy: bool,
    /// The first page never allocated.
    pages_used: u64,
    /// Every page below has blocks, those of free runs without blocks apart.
    pages_allocated: u64,
    /// Whether blocks were allocated.
    has_grown: bool,
    /// Whether some of them were for free runs that had none.
    has_refilled: bool,
    /// How many pages of the groups released were moved, for counters.
    released: u64,
}

impl Space {
    /// The free space that `head` leaves to the transaction after it, when `pins` are pinned.
    ///
    /// Cost: none but the inline area's; the free tree is not touched. `pages_allocated` have blocks, but for free runs that
    /// say they have none.
    pub(crate) fn of(head: &HeadBody, bounds: PageBounds, mut pins: Vec<Txnid>, pages_allocated: u64) -> Result<Space> {
        pins.sort_unstable();
        pins.dedup();
        let inline = InlineFree::decode(head.inline_free(), bounds)
            .map_err(|cause| Error::Corrupt { pgno: Pgno::NONE, cause })?;
        let mut space = Space {
            base: head.txnid,
            pins,
            pool: Extents::default(),
            handed: Extents::default(),
            loose: Extents::default(),
            freed: Vec::new(),
            waiting: Vec::new(),
            tree: head.free,
            is_busy: false,
            pages_used: head.pages_used.get(),
            pages_allocated,
            has_grown: false,
            has_refilled: false,
            released: 0,
        };
        for extent in inline.available {
            space.make_available(extent)?;
        }
        for group in inline.pending {
            space.release(group)?;
        }
        Ok(space)
    }

    /// Moves what no longer waits of a group to the pool and keeps the rest under its next blocker.
    fn release(&mut self, group: PendingGroup) -> Result<()> {
        if self.is_pinned(group.blocker) {
            self.wait(group.blocker, group.freed, group.extents);
            return Ok(());
        }
        for piece in group.extents {
            match blocker(piece.born, group.freed, &self.pins) {
                None => {
                    self.released += piece.extent.pages;
                    self.make_available(piece.extent)?;
                }
                Some(blocker) => self.wait(blocker, group.freed, vec![piece]),
            }
        }
        Ok(())
    }

    fn wait(&mut self, blocker: Txnid, freed: Txnid, mut extents: Vec<FreedExtent>) {
        match self.waiting.iter_mut().find(|group| group.blocker == blocker && group.freed == freed) {
            Some(group) => {
                group.extents.append(&mut extents);
                group.extents.sort_unstable_by_key(|piece| piece.extent.first);
            }
            None => self.waiting.push(PendingGroup { blocker, freed, extents }),
        }
    }

    /// Takes `runs` times three pages behind the end, of each three the first as available and the second as given up
    /// by this transaction; answers the third ones, which the caller must give up later.
    #[cfg(all(test, feature = "seam"))]
    pub(crate) fn fragment(&mut self, runs: u64) -> Vec<FreedExtent> {
        let at = |n: u64| Extent::new(Pgno::new(n).unwrap_or(Pgno::MAX), 1);
        let from = self.pages_used;
        let mut kept = Vec::new();
        for n in (from..from + 3 * runs).step_by(3) {
            self.pool.insert(at(n));
            self.freed.push(FreedExtent { extent: at(n + 1), born: self.base });
            kept.push(FreedExtent { extent: at(n + 2), born: self.base });
        }
        self.pages_used += 3 * runs;
        kept
    }

    /// Gives these pages up.
    #[cfg(all(test, feature = "seam"))]
    pub(crate) fn give_up(&mut self, pages: Vec<FreedExtent>) {
        self.freed.extend(pages);
    }

    fn is_pinned(&self, txnid: Txnid) -> bool {
        self.pins.binary_search(&txnid).is_ok()
    }

    fn make_available(&mut self, extent: Extent) -> Result<()> {
        if self.pool.insert(extent) { Ok(()) } else { Err(listed_twice(extent.first)) }
    }

    /// Where the pages at hand begin that end the used part; its end if there are none.
    fn tail_start(&self) -> u64 {
        let mut start = self.pages_used;
        let mut pool = self.pool.iter().rev().peekable();
        let mut loose = self.loose.iter().rev().peekable();
        loop {
            let before = pool.next_if(|extent| extent.end() == start);
            match before.or_else(|| loose.next_if(|extent| extent.end() == start)) {
                Some(extent) => start = extent.first.get(),
                None => return start,
            }
        }
    }

    /// Pages at hand without a look at the free tree or the end of the file.
    fn at_hand(&self) -> u64 {
        self.pool.pages() + self.loose.pages()
    }

    /// The pages the transaction wrote and did not give up again, ascending.
    pub(crate) fn live(&self) -> Vec<Extent> {
        self.handed.without(&self.loose)
    }

    /// How many pages were handed out.
    pub(crate) fn handed_pages(&self) -> u64 {
        self.handed.pages() - self.loose.pages()
    }

    /// How many committed pages were given up.
    pub(crate) fn freed_pages(&self) -> u64 {
        self.freed.iter().map(|piece| piece.extent.pages).sum()
    }

    /// How many pages came out of waiting.
    pub(crate) fn released_pages(&self) -> u64 {
        self.released
    }

    /// Ends the used part, and what is known to have blocks, at `end`.
    fn end_blocks_at(&mut self, end: Pgno) {
        self.pages_used = end.get();
        self.pages_allocated = self.pages_allocated.min(end.get());
    }

    /// Whether blocks were allocated.
    pub(crate) fn has_grown(&self) -> bool {
        self.has_grown
    }

    /// Whether blocks were allocated for free runs that had none.
    pub(crate) fn has_refilled(&self) -> bool {
        self.has_refilled
    }

    /// Every page below has blocks, those of free runs without blocks apart.
    pub(crate) fn pages_allocated(&self) -> u64 {
        self.pages_allocated
    }

    pub(crate) fn pages_used(&self) -> Pgno {
        Pgno::new(self.pages_used).unwrap_or(Pgno::MAX)
    }

    pub(crate) fn tree(&self) -> &TreeRecord {
        &self.tree
    }
}

#[cold]
fn listed_twice(pgno: Pgno) -> Error {
    Error::Corrupt { pgno, cause: mapledb_format::FormatError::BadFreeRecord("the page is listed as free twice") }
}
