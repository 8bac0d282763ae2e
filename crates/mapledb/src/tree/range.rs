//! All entries between two bounds, from either end.
//!
//! Both ends are gaps, found by one descent each; an end that has no bound is not looked for before it is needed. Walking
//! never compares keys: an end is reached when both gaps are in the same leaf and meet. A forward step inside a leaf is one
//! slot and one cell.

use std::ops::Bound;

use mapledb_format::order::Order;

use super::cursor::{Pair, Path, Way, pair_at};
use super::{Pages, Tree};
use crate::error::Result;

/// The entries between two bounds.
pub(crate) struct Range<'p, P> {
    front: Path<'p, P>,
    back: Path<'p, P>,
    /// Whether the front is the tree's first entry, and the path to it has not been gone.
    is_front_open: bool,
    /// Whether the back is the tree's last entry, likewise.
    is_back_open: bool,
}

impl<'p, P: Pages> Range<'p, P> {
    /// The entries of `tree` from `low` to `high`; none if they cross.
    ///
    /// Cost: a descent for each bound.
    pub(crate) fn new<O: Order>(tree: Tree<'p, P, O>, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Result<Self> {
        let (front, back) = (Path::new(tree), Path::new(tree));
        let mut range = Range { front, back, is_front_open: false, is_back_open: false };
        if crosses(tree.order, low, high) {
            return Ok(range);
        }
        match low {
            Bound::Unbounded => range.is_front_open = true,
            Bound::Included(key) => pass(&mut range.front, tree.order, key, false)?,
            Bound::Excluded(key) => pass(&mut range.front, tree.order, key, true)?,
        }
        match high {
            Bound::Unbounded => range.is_back_open = true,
            Bound::Included(key) => pass(&mut range.back, tree.order, key, true)?,
            Bound::Excluded(key) => pass(&mut range.back, tree.order, key, false)?,
        }
        Ok(range)
    }

    /// The entries from the one that has `from` entries of the tree before it, up to the one that has `to`.
    ///
    /// Cost: two descents.
    fn between(of: &Path<'p, P>, from: u64, to: u64) -> Result<Self> {
        let mut range = Range { front: of.again(), back: of.again(), is_front_open: false, is_back_open: false };
        if from < to {
            range.front.nth(from)?;
            range.back.nth(to)?;
        }
        Ok(range)
    }

    /// So many ranges of equal length, one entry more or less, that together are this one.
    ///
    /// Cost: two descents for each.
    pub(crate) fn split(&self, parts: usize) -> Result<Vec<Self>> {
        let (from, len) = (self.front_rank()?, self.remaining()?);
        // The product may need more than 64 bits.
        let cut = |part: usize| from + (u128::from(len) * part as u128 / parts as u128) as u64;
        (0..parts).map(|part| Range::between(&self.front, cut(part), cut(part + 1))).collect()
    }

    /// How many entries are left, from subtree counts alone.
    ///
    /// Cost: no page beyond the two paths already held.
    pub(crate) fn remaining(&self) -> Result<u64> {
        let end = if self.is_back_open { self.back.record().entries } else { self.back.rank()? };
        Ok(end.saturating_sub(self.front_rank()?))
    }

    fn front_rank(&self) -> Result<u64> {
        if self.is_front_open { Ok(0) } else { self.front.rank() }
    }

    /// The next entry from the front.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        if self.is_front_open {
            self.front.edge(Way::Forward)?;
            self.is_front_open = false;
        }
        loop {
            let Some(front) = &mut self.front.spot else { return Ok(None) };
            let is_last = self.back.spot.as_ref().is_some_and(|back| back.at == front.at);
            let end = match &self.back.spot {
                Some(back) if is_last => back.index,
                None if !self.is_back_open => return Ok(None),
                _ => front.leaf.len(),
            };
            if front.index < end {
                let index = front.index;
                front.index += 1;
                let front = &*front;
                return pair_at(self.front.pages, front, index).map(Some);
            }
            if is_last || !self.front.step_leaf(Way::Forward)? {
                return Ok(None);
            }
        }
    }

    /// The next entry from the back.
    #[inline]
    pub(crate) fn next_back(&mut self) -> Result<Option<Pair<'p>>> {
        if self.is_back_open {
            self.back.edge(Way::Back)?;
            self.is_back_open = false;
        }
        loop {
            let Some(back) = &mut self.back.spot else { return Ok(None) };
            let is_first = self.front.spot.as_ref().is_some_and(|front| front.at == back.at);
            let start = match &self.front.spot {
                Some(front) if is_first => front.index,
                None if !self.is_front_open => return Ok(None),
                _ => 0,
            };
            if back.index > start {
                back.index -= 1;
                let back = &*back;
                return pair_at(self.back.pages, back, back.index).map(Some);
            }
            if is_first || !self.back.step_leaf(Way::Back)? {
                return Ok(None);
            }
        }
    }
}

/// Goes to the gap before `key`, or behind it if it is there and is to be passed.
fn pass<P: Pages, O: Order>(path: &mut Path<'_, P>, order: O, key: &[u8], over: bool) -> Result<()> {
    let exact = path.seek(order, key)?;
    if let (true, true, Some(spot)) = (exact, over, &mut path.spot) {
        spot.index += 1;
    }
    Ok(())
}

/// Whether no key can lie between the bounds, so that the gaps might pass each other.
fn crosses<O: Order>(order: O, low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    let (low_key, high_key) = match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => return order.compare(low, high).is_gt(),
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            (low, high)
        }
        _ => return false,
    };
    order.compare(low_key, high_key).is_ge()
}
