//! Taking many entries out at once: ranges, or whatever a predicate names.
//!
//! The walk asks a [`Cull`] about every subtree, by its fences alone. A subtree to keep is not read, one to cut is
//! freed without being copied, and only what must be looked into is.

use std::ops::Bound;

use mapledb_format::Pgno;
use mapledb_format::branch::{Branch, Entry};
use mapledb_format::header;
use mapledb_format::order::Order;

use super::nested::{Owned, owned_at, weigh, weight};
use super::{PageRef, PagesMut, TreeMut, branch, child, corrupt, leaf, prefetch_child};
use crate::error::Result;

/// What is to become of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing in it goes.
    Keep,
    /// All of it goes.
    Cut,
    /// Its entries decide.
    Look,
}

/// Who says what goes.
pub(crate) trait Cull {
    /// What becomes of the keys from `low` up to, not including, `high`; `None` is the end of the tree.
    fn subtree<O: Order>(&mut self, order: O, low: Option<&[u8]>, high: Option<&[u8]>) -> Verdict;

    /// Whether this entry goes. The value is fetched only if asked for.
    fn pair<'v, O: Order>(&mut self, order: O, key: &[u8], value: &mut dyn FnMut() -> Result<&'v [u8]>)
    -> Result<bool>;
}

/// Everything between two bounds goes.
pub(crate) struct Between<'k> {
    pub(crate) low: Bound<&'k [u8]>,
    pub(crate) high: Bound<&'k [u8]>,
}

impl Cull for Between<'_> {
    fn subtree<O: Order>(&mut self, order: O, low: Option<&[u8]>, high: Option<&[u8]>) -> Verdict {
        let is_below = matches!((self.low, high),
            (Bound::Included(bound) | Bound::Excluded(bound), Some(high)) if order.compare(high, bound).is_le());
        let is_above = match (self.high, low) {
            (Bound::Included(bound), Some(low)) => order.compare(low, bound).is_gt(),
            (Bound::Excluded(bound), Some(low)) => order.compare(low, bound).is_ge(),
            _ => false,
        };
        if is_below || is_above {
            return Verdict::Keep;
        }
        let starts_inside = match (self.low, low) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(bound), Some(low)) => order.compare(low, bound).is_ge(),
            (Bound::Excluded(bound), Some(low)) => order.compare(low, bound).is_gt(),
            (_, None) => false,
        };
        let ends_inside = match (self.high, high) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(bound) | Bound::Excluded(bound), Some(high)) => order.compare(high, bound).is_le(),
            (_, None) => false,
        };
        if starts_inside && ends_inside { Verdict::Cut } else { Verdict::Look }
    }

    fn pair<'v, O: Order>(
        &mut self,
        order: O,
        key: &[u8],
        _value: &mut dyn FnMut() -> Result<&'v [u8]>,
    ) -> Result<bool> {
        let above_low = match self.low {
            Bound::Unbounded => true,
            Bound::Included(low) => order.compare(key, low).is_ge(),
            Bound::Excluded(low) => order.compare(key, low).is_gt(),
        };
        let below_high = match self.high {
            Bound::Unbounded => true,
            Bound::Included(high) => order.compare(key, high).is_le(),
            Bound::Excluded(high) => order.compare(key, high).is_lt(),
        };
        Ok(above_low && below_high)
    }
}

/// Whatever a predicate does not keep goes.
pub(crate) struct Unless<F>(pub(crate) F);

impl<F: FnMut(&[u8], &[u8]) -> bool> Cull for Unless<F> {
    fn subtree<O: Order>(&mut self, _order: O, _low: Option<&[u8]>, _high: Option<&[u8]>) -> Verdict {
        Verdict::Look
    }

    fn pair<'v, O: Order>(
        &mut self,
        _order: O,
        key: &[u8],
        value: &mut dyn FnMut() -> Result<&'v [u8]>,
    ) -> Result<bool> {
        Ok(!(self.0)(key, value()?))
    }
}

/// Whatever a predicate does not keep between two bounds goes.
pub(crate) struct UnlessBetween<'k, F> {
    pub(crate) range: Between<'k>,
    pub(crate) keep: F,
}

impl<F: FnMut(&[u8], &[u8]) -> bool> Cull for UnlessBetween<'_, F> {
    fn subtree<O: Order>(&mut self, order: O, low: Option<&[u8]>, high: Option<&[u8]>) -> Verdict {
        match self.range.subtree(order, low, high) {
            Verdict::Keep => Verdict::Keep,
            Verdict::Cut | Verdict::Look => Verdict::Look,
        }
    }

    fn pair<'v, O: Order>(
        &mut self,
        order: O,
        key: &[u8],
        value: &mut dyn FnMut() -> Result<&'v [u8]>,
    ) -> Result<bool> {
        Ok(self.range.pair(order, key, value)? && !(self.keep)(key, value()?))
    }
}

/// What a subtree became.
struct Culled {
    at: PageRef,
    count: u64,
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Takes out everything between two bounds; answers how many entries went.
    ///
    /// Cost: two paths copied; a page read for each page freed, none written.
    pub(crate) fn delete_range(&mut self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Result<u64> {
        self.cull(&mut Between { low, high })
    }

    /// Takes out every entry that `keep` is false for; answers how many went.
    ///
    /// Cost: every page read, those that lose something copied.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&[u8], &[u8]) -> bool) -> Result<u64> {
        self.cull(&mut Unless(keep))
    }

    /// Takes out every entry between two bounds that `keep` is false for; answers how many went.
    ///
    /// Cost: every page of the range read, those that lose something copied.
    pub(crate) fn retain_range(
        &mut self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        keep: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<u64> {
        self.cull(&mut UnlessBetween { range: Between { low, high }, keep })
    }

    /// Takes out everything. Cost: a page read for each page freed.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.delete_range(Bound::Unbounded, Bound::Unbounded).map(|_| ())
    }

    fn cull(&mut self, cull: &mut impl Cull) -> Result<u64> {
        let before = self.record.entries;
        let Some(top) = usize::from(self.record.depth).checked_sub(1) else { return Ok(0) };
        let root = self.root();
        match cull.subtree(self.order, None, None) {
            Verdict::Keep => {}
            Verdict::Cut => {
                self.free_subtree(root, top)?;
                self.set_root(PageRef { pgno: Pgno::NONE, tag: 0 });
                self.record.depth = 0;
                self.record.entries = 0;
            }
            Verdict::Look => {
                let culled = self.cull_node(root, top, None, None, cull)?;
                self.set_root(culled.at);
                self.record.entries = culled.count;
                self.tidy_root()?;
            }
        }
        Ok(before.saturating_sub(self.record.entries))
    }

    fn cull_node(
        &mut self,
        at: PageRef,
        level: usize,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
        cull: &mut impl Cull,
    ) -> Result<Culled> {
        if level == 0 { self.cull_leaf(at, cull) } else { self.cull_branch(at, level, low, high, cull) }
    }

    fn cull_leaf(&mut self, at: PageRef, cull: &mut impl Cull) -> Result<Culled> {
        let fault = |cause| corrupt(at.pgno, cause);
        let mut going: Vec<(usize, Option<Owned>)> = Vec::new();
        let mut gone = 0u64;
        let node = leaf(self.pages, at)?;
        let reading = self.reading();
        for index in 0..node.len() {
            let key = node.key(index).map_err(fault)?;
            if cull.pair(self.order, key, &mut || reading.value(&node, at, index))? {
                going.push((index, owned_at(self.record, &node, at, index)?));
                gone = gone.saturating_add(weight(self.record, &node, at, index)?);
            }
        }
        let count = weigh(self.record, &node, at, 0..node.len())?.saturating_sub(gone);
        if going.is_empty() {
            return Ok(Culled { at, count });
        }
        let pgno = self.touch(at, 0)?;
        for (index, owned) in going.into_iter().rev() {
            if let Some(owned) = owned {
                self.free_owned(owned)?;
            }
            self.leaf_mut(pgno)?.remove(index).map_err(fault)?;
        }
        Ok(Culled { at: PageRef { pgno, tag: 0 }, count })
    }

    fn cull_branch(
        &mut self,
        at: PageRef,
        level: usize,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
        cull: &mut impl Cull,
    ) -> Result<Culled> {
        let fault = |cause| corrupt(at.pgno, cause);
        let page = self.pages.page(at)?.to_vec();
        super::check_level(&page, level).map_err(fault)?;
        // The copy keeps the fences while the branch itself changes.
        let node = Branch::view(&page).map_err(fault)?;
        let mut own = at;
        let mut count = 0u64;
        let mut removed = Vec::new();
        let mut changed = Vec::new();
        for index in 0..node.len() {
            let entry = node.entry(index).map_err(fault)?;
            let child_low = if index == 0 { low } else { Some(node.key(index).map_err(fault)?) };
            let child_high =
                if index + 1 == node.len() { high } else { Some(node.key(index + 1).map_err(fault)?) };
            match cull.subtree(self.order, child_low, child_high) {
                Verdict::Keep => count = count.saturating_add(entry.count),
                Verdict::Cut => {
                    self.free_subtree(child(at, entry)?, level - 1)?;
                    removed.push(index);
                }
                Verdict::Look => {
                    let culled = self.cull_node(child(at, entry)?, level - 1, child_low, child_high, cull)?;
                    count = count.saturating_add(culled.count);
                    if culled.at != PageRef::from(entry) || culled.count != entry.count {
                        own = PageRef { pgno: self.touch(own, level)?, tag: 0 };
                        let entry = Entry { child: culled.at.pgno, tag: culled.at.tag, count: culled.count };
                        self.set_entry(own.pgno, index, entry)?;
                        changed.push(index);
                    }
                }
            }
        }
        if removed.is_empty() && changed.is_empty() {
            return Ok(Culled { at, count });
        }
        own = PageRef { pgno: self.touch(own, level)?, tag: 0 };
        // From the right, so that the indices still to come stay true.
        let mut to_tidy: Vec<usize> = changed;
        for index in removed.into_iter().rev() {
            self.remove_child(own.pgno, index)?;
            for later in to_tidy.iter_mut().filter(|later| **later > index) {
                *later -= 1;
            }
        }
        for index in to_tidy.into_iter().rev() {
            if index < branch(self.pages, own, level)?.len() {
                self.tidy_if_own(own.pgno, index, level - 1)?;
            }
        }
        Ok(Culled { at: own, count })
    }

    /// Tidies child `index` if it is own; a clean one was not changed.
    fn tidy_if_own(&mut self, parent: Pgno, index: usize, child_level: usize) -> Result<()> {
        let entry = branch(self.pages, PageRef { pgno: parent, tag: 0 }, child_level + 1)?
            .entry(index)
            .map_err(|cause| corrupt(parent, cause))?;
        if entry.tag == 0 {
            self.tidy_child(parent, index, child_level)?;
        }
        Ok(())
    }

    /// Gives up every page of a subtree.
    fn free_subtree(&mut self, at: PageRef, level: usize) -> Result<()> {
        let fault = |cause| corrupt(at.pgno, cause);
        let page = self.pages.page(at)?;
        let born = header::stored_txnid(page).map_err(fault)?;
        if level == 0 {
            let node = leaf(self.pages, at)?;
            let mut all_owned = Vec::new();
            for index in 0..node.len() {
                all_owned.extend(owned_at(self.record, &node, at, index)?);
            }
            for owned in all_owned {
                self.free_owned(owned)?;
            }
        } else {
            let node = branch(self.pages, at, level)?;
            let mut children = Vec::with_capacity(node.len());
            for index in 0..node.len() {
                children.push(node.entry(index).map_err(fault)?);
            }
            for (index, entry) in children.iter().enumerate() {
                if let Some(next) = children.get(index + 1) {
                    prefetch_child(self.pages, *next, level - 1);
                }
                self.free_subtree(child(at, *entry)?, level - 1)?;
            }
        }
        self.drop_node(at.pgno, born, level)
    }
}
