//! From the root to one leaf.

use mapledb_format::FormatError;
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::node::{Position, Slot};
use mapledb_format::order::Order;

use super::cursor::Pair;
use super::overflow::overflow;
use super::{PageRef, Pages, Tree, child, corrupt, run_of};
use crate::error::Result;

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// The value of `key`.
    ///
    /// Cost: one page touch a level, and the run of a multi-page value.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'p [u8]>> {
        let found = match self.find(key)? {
            Some((leaf, from, at)) if at.exact => Some(self.value(&leaf, from, at.index)?),
            _ => None,
        };
        self.pages.still_sound()?;
        Ok(found)
    }

    /// Whether the tree holds `key`.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        let found = self.find(key)?.is_some_and(|(_, _, at)| at.exact);
        self.pages.still_sound()?;
        Ok(found)
    }

    /// The leaf where `key` is or would go, and the place in it; `None` in an empty tree.
    #[inline]
    fn find(&self, key: &[u8]) -> Result<Option<(Leaf<'p>, PageRef, Position)>> {
        if self.order.is_bytewise() { self.bytewise().find_down(key) } else { self.find_down(key) }
    }

    #[inline]
    fn find_down(&self, key: &[u8]) -> Result<Option<(Leaf<'p>, PageRef, Position)>> {
        let depth = usize::from(self.record.depth);
        if depth == 0 {
            return Ok(None);
        }
        let mut at = self.root();
        let mut implied = 0;
        for level in (1..depth).rev() {
            (at, implied) = self.descend(at, level, key, implied)?;
        }
        let leaf = self.leaf(at)?;
        let place = self.search_leaf(&leaf, at, key, implied)?;
        Ok(Some((leaf, at, place)))
    }

    /// From the branch `at` to the child where `key` is, which is asked for at once; and how many units of the key its fences
    /// imply, where those of the branch imply `implied`.
    #[inline(always)]
    pub(super) fn descend(&self, at: PageRef, level: usize, key: &[u8], implied: usize) -> Result<(PageRef, usize)> {
        let branch = self.branch(at, level)?;
        let index = branch.child_for(self.order, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
        let entry = branch.entry(index).map_err(|cause| corrupt(at.pgno, cause))?;
        self.pages.prefetch(entry.child);
        Ok((child(at, entry)?, branch.implied_for(index, implied)))
    }

    /// The place of `key` in `leaf`, the page `at`.
    #[inline(always)]
    pub(super) fn search_leaf(&self, leaf: &Leaf<'p>, at: PageRef, key: &[u8], implied: usize) -> Result<Position> {
        // The value lies before its key, most often on another line: it is on its way while the key is compared.
        let hint = |slot: Slot| {
            let cell = usize::from(slot.offset);
            self.pages.prefetch_within(at.pgno, cell..cell + 1);
        };
        leaf.search_hinting(self.order, 0, key, implied, hint).map_err(|cause| corrupt(at.pgno, cause))
    }

    /// The value of slot `index` of a leaf, wherever it lies.
    #[inline]
    pub(super) fn value(&self, leaf: &Leaf<'p>, from: PageRef, index: usize) -> Result<&'p [u8]> {
        value_in(self.pages, leaf, from, index)
    }
}

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// The entry of slot `index` of the leaf `at`, which must be one of the tree; `None` behind its last.
    ///
    /// Cost: one page touch.
    pub(crate) fn pair_in(&self, at: PageRef, index: usize) -> Result<Option<Pair<'p>>> {
        let leaf = self.leaf(at)?;
        if index >= leaf.len() {
            return Ok(None);
        }
        let key = leaf.key(index).map_err(|cause| corrupt(at.pgno, cause))?;
        let value = self.value(&leaf, at, index)?;
        self.pages.still_sound()?;
        Ok(Some((key, value)))
    }
}

/// The value of slot `index` of a leaf, wherever it lies.
#[inline]
pub(super) fn value_in<'p, P: Pages>(
    pages: &'p P,
    leaf: &Leaf<'p>,
    from: PageRef,
    index: usize,
) -> Result<&'p [u8]> {
    match leaf.value(index).map_err(|cause| corrupt(from.pgno, cause))? {
        ValueField::Inline(value) => Ok(value),
        ValueField::Overflow(reference) => overflow(pages, &run_of(from, reference)?),
        ValueField::Duplicates(_) => {
            Err(corrupt(from.pgno, FormatError::BadReference("duplicates in a table that is no multimap")))
        }
    }
}
