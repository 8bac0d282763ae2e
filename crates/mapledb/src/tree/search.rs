//! From the root to one leaf.

use mapledb_format::FormatError;
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::node::{Position, Slot};
use mapledb_format::order::Order;

use super::cursor::{Pair, Spot};
use super::overflow::overflow;
use super::{PageRef, Pages, Tree, branch, child, corrupt, known_branch, known_leaf, leaf, prefetch_child, run_of};
use crate::error::Result;

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// The value of `key`.
    ///
    /// Cost: one page touch a level, and the run of a multi-page value.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'p [u8]>> {
        let pages = self.pages;
        self.look_up(key, |leaf, at, index| value_in(pages, leaf, at, index))
    }

    /// Whether the tree holds `key`.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.look_up(key, |_, _, _| Ok(()))?.is_some())
    }

    /// What `read` makes of the entry of `key`, if there is one.
    #[inline(always)]
    fn look_up<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Leaf<'p>, PageRef, usize) -> Result<R>,
    ) -> Result<Option<R>> {
        if self.order.is_bytewise() { self.bytewise().look_up_here(key, read) } else { self.look_up_here(key, read) }
    }

    /// A lookup goes down by steps that know no error: the compiler keeps what they answer in registers. Where one does not
    /// succeed the careful way is gone, which finds out what is wrong, verifies a page or reads an own one.
    #[inline(always)]
    fn look_up_here<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Leaf<'p>, PageRef, usize) -> Result<R>,
    ) -> Result<Option<R>> {
        let depth = usize::from(self.record.depth);
        if depth == 0 {
            return Ok(None);
        }
        let (mut at, mut implied) = (self.root(), 0);
        for level in (1..depth).rev() {
            (at, implied) = match self.descend_known(at, level, key, implied) {
                Some(next) => next,
                None => descend(self.pages, self.order, at, level, key, implied)?,
            };
        }
        let (leaf, place) = match self.place_known(at, key, implied) {
            Some(found) => found,
            None => place(self.pages, self.order, at, key, implied)?,
        };
        let found = if place.exact { Some(read(&leaf, at, place.index)?) } else { None };
        self.pages.still_sound()?;
        Ok(found)
    }

    /// As [`descend`], where the branch is known and sealed, and nothing is wrong with it.
    #[inline(always)]
    pub(super) fn descend_known(
        &self,
        at: PageRef,
        level: usize,
        key: &[u8],
        implied: usize,
    ) -> Option<(PageRef, usize)> {
        let branch = known_branch(self.pages, at, level)?;
        let (index, entry) = branch.child_at(self.order, key, implied)?;
        prefetch_child(self.pages, entry, level - 1);
        if entry.tag == 0 {
            return None;
        }
        Some((entry.into(), branch.implied_for(index, implied)))
    }

    /// As [`place`], where the leaf is known and nothing is wrong with it.
    #[inline(always)]
    pub(super) fn place_known(&self, at: PageRef, key: &[u8], implied: usize) -> Option<(Leaf<'p>, Position)> {
        let leaf = known_leaf(self.pages, at)?;
        let place = leaf.search_slots(self.order, 0, key, implied, |slot| prefetch_value(self.pages, at, slot)).ok()?;
        Some((leaf, place))
    }

    /// The value of slot `index` of a leaf, wherever it lies.
    #[inline(always)]
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

    /// The gap before slot `index` of the leaf `at`, which must be one of the tree; `None` behind its last slot.
    ///
    /// Cost: one page touch.
    pub(crate) fn spot_in(&self, at: PageRef, index: usize) -> Result<Option<Spot<'p>>> {
        let leaf = self.leaf(at)?;
        Ok((index < leaf.len()).then_some(Spot { leaf, at, index }))
    }
}

/// From the branch `at` to the child where `key` is, which is asked for at once; and how many units of the key its fences
/// imply, where those of the branch imply `implied`.
#[inline(never)]
pub(super) fn descend<P: Pages, O: Order>(
    pages: &P,
    order: O,
    at: PageRef,
    level: usize,
    key: &[u8],
    implied: usize,
) -> Result<(PageRef, usize)> {
    let branch = branch(pages, at, level)?;
    let index = branch.child_for(order, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
    let entry = branch.entry(index).map_err(|cause| corrupt(at.pgno, cause))?;
    prefetch_child(pages, entry, level - 1);
    Ok((child(at, entry)?, branch.implied_for(index, implied)))
}

/// The leaf `at` and the place of `key` in it.
#[inline(never)]
pub(super) fn place<'p, P: Pages, O: Order>(
    pages: &'p P,
    order: O,
    at: PageRef,
    key: &[u8],
    implied: usize,
) -> Result<(Leaf<'p>, Position)> {
    let leaf = leaf(pages, at)?;
    let place = leaf
        .search_hinting(order, 0, key, implied, |slot| prefetch_value(pages, at, slot))
        .map_err(|cause| corrupt(at.pgno, cause))?;
    Ok((leaf, place))
}

/// The value lies before its key, most often on another line: it is on its way while the key is compared.
#[inline(always)]
fn prefetch_value<P: Pages>(pages: &P, at: PageRef, slot: Slot) {
    let cell = usize::from(slot.offset);
    pages.prefetch_within(at.pgno, cell..cell + 1);
}

/// The value of slot `index` of a leaf, wherever it lies.
#[inline(always)]
pub(super) fn value_in<'p, P: Pages>(
    pages: &'p P,
    leaf: &Leaf<'p>,
    from: PageRef,
    index: usize,
) -> Result<&'p [u8]> {
    match leaf.inline_value(index) {
        Some(value) => Ok(value),
        None => value_elsewhere(pages, leaf, from, index),
    }
}

#[inline(never)]
fn value_elsewhere<'p, P: Pages>(
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
