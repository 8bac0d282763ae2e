//! Free space: what is free, what will be, and since when.
//!
//! A page born in transaction b and freed in transaction d may be used again as soon as no pinned snapshot
//! s with b <= s < d is left. The largest such s is its *blocker*: a page waits in the group of its
//! blocker, and when that snapshot goes the whole group is looked at once and moves to its next blocker or
//! becomes available.
//!
//! - [`list`]: the coding of extents in lists, in the meta's inline area and in the free tree;
//! - [`record`]: the keys of the free tree and the records of 1024-page chunks;
//! - [`bitmap`]: which pages of a chunk are available.

pub mod bitmap;
pub mod list;
pub mod record;

use crate::ids::{Pgno, Txnid};

/// Pages that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// The first page.
    pub first: Pgno,
    /// How many, at least 1.
    pub pages: u64,
}

impl Extent {
    /// `pages` from `first` on.
    pub const fn new(first: Pgno, pages: u64) -> Extent {
        Extent { first, pages }
    }

    /// The number behind the last page. Saturates.
    #[inline]
    pub const fn end(&self) -> u64 {
        self.first.get().saturating_add(self.pages)
    }

    /// Whether `pgno` is one of the pages.
    #[inline]
    pub const fn contains(&self, pgno: Pgno) -> bool {
        pgno.get() >= self.first.get() && pgno.get() < self.end()
    }

    /// Whether the two have a page in common.
    #[inline]
    pub const fn overlaps(&self, other: &Extent) -> bool {
        self.first.get() < other.end() && other.first.get() < self.end()
    }
}

/// Pages freed in the same transaction that were also born in the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FreedExtent {
    /// The pages.
    pub extent: Extent,
    /// The transaction that wrote them.
    pub born: Txnid,
}

/// Pages that wait for one snapshot. They were freed in one transaction, or in several between which no snapshot was ever
/// pinned: then the last of them stands for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingGroup {
    /// The largest pinned snapshot that can still reach them.
    pub blocker: Txnid,
    /// The transaction that freed them. Above the blocker.
    pub freed: Txnid,
    /// The pages, ascending; each born at or below the blocker.
    pub extents: Vec<FreedExtent>,
}

impl PendingGroup {
    /// How many pages wait. Saturates.
    pub fn pages(&self) -> u64 {
        self.extents.iter().fold(0, |pages, piece| pages.saturating_add(piece.extent.pages))
    }
}

/// The pages a file has, from the first data page to the first never allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageBounds {
    /// The first page that may be listed.
    pub first: Pgno,
    /// The first page that may not.
    pub end: Pgno,
}

impl PageBounds {
    /// Whether all of `extent` lies inside.
    #[inline]
    pub const fn holds(&self, extent: &Extent) -> bool {
        extent.pages > 0 && extent.first.get() >= self.first.get() && extent.end() <= self.end.get()
    }
}

/// The snapshot a page waits for: the largest of `pins`, in any order, that can reach a page born in
/// `born` and freed in `freed`. `None` if the page may be used again.
pub fn blocker(born: Txnid, freed: Txnid, pins: &[Txnid]) -> Option<Txnid> {
    pins.iter().copied().filter(|&pin| born <= pin && pin < freed).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_waits_for_the_largest_snapshot_that_reaches_it() {
        // (born, freed, pins, blocker)
        let table: [(u64, u64, &[u64], Option<u64>); 8] = [
            (5, 9, &[], None),
            (5, 9, &[4, 9, 10], None),
            (5, 9, &[5], Some(5)),
            (5, 9, &[8], Some(8)),
            (5, 9, &[8, 5, 7, 12], Some(8)),
            (5, 6, &[5], Some(5)),
            (5, 5, &[5], None),
            (0, u64::MAX, &[u64::MAX, 0], Some(0)),
        ];
        for (born, freed, pins, expected) in table {
            let pins: Vec<Txnid> = pins.iter().copied().map(Txnid).collect();
            assert_eq!(
                blocker(Txnid(born), Txnid(freed), &pins),
                expected.map(Txnid),
                "{born} {freed} {pins:?}"
            );
        }
    }

    #[test]
    fn extents_that_touch_do_not_overlap() {
        let extent = |first, pages| Extent::new(Pgno::new(first).unwrap(), pages);
        assert!(!extent(10, 5).overlaps(&extent(15, 1)));
        assert!(extent(10, 5).overlaps(&extent(14, 9)));
        assert!(extent(10, 5).contains(Pgno::new(14).unwrap()));
        assert!(!extent(10, 5).contains(Pgno::new(15).unwrap()));
        let bounds = PageBounds { first: Pgno::new(10).unwrap(), end: Pgno::new(20).unwrap() };
        assert!(bounds.holds(&extent(10, 10)));
        for outside in [extent(9, 2), extent(10, 11), extent(12, 0), extent(12, u64::MAX)] {
            assert!(!bounds.holds(&outside), "{outside:?}");
        }
    }
}
