//! All entries between two bounds, from either end.
//!
//! Both ends are gaps, found by one descent each. Walking never compares keys: an end is reached when both gaps are in
//! the same leaf and meet. A forward step inside a leaf is one slot and one cell.

use std::ops::Bound;

use mapledb_format::order::Order;

use super::cursor::{Pair, Path, Way, pair_at};
use super::{Pages, Tree};
use crate::error::Result;

/// The entries between two bounds.
pub(crate) struct Range<'p, P> {
    front: Path<'p, P>,
    back: Path<'p, P>,
}

impl<'p, P: Pages> Range<'p, P> {
    /// The entries of `tree` from `low` to `high`; none if they cross.
    ///
    /// Cost: two descents.
    pub(crate) fn new<O: Order>(tree: Tree<'p, P, O>, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Result<Self> {
        let mut range = Range { front: Path::new(tree), back: Path::new(tree) };
        if crosses(tree.order, low, high) {
            return Ok(range);
        }
        match low {
            Bound::Unbounded => range.front.edge(Way::Forward)?,
            Bound::Included(key) => pass(&mut range.front, tree.order, key, false)?,
            Bound::Excluded(key) => pass(&mut range.front, tree.order, key, true)?,
        }
        match high {
            Bound::Unbounded => range.back.edge(Way::Back)?,
            Bound::Included(key) => pass(&mut range.back, tree.order, key, true)?,
            Bound::Excluded(key) => pass(&mut range.back, tree.order, key, false)?,
        }
        Ok(range)
    }

    /// The entries from the one that has `from` entries of the tree before it, up to the one that has `to`.
    ///
    /// Cost: two descents.
    fn between(of: &Path<'p, P>, from: u64, to: u64) -> Result<Self> {
        let mut range = Range { front: of.again(), back: of.again() };
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
        let (from, len) = (self.front.rank()?, self.remaining()?);
        // The product may need more than 64 bits.
        let cut = |part: usize| from + (u128::from(len) * part as u128 / parts as u128) as u64;
        (0..parts).map(|part| Range::between(&self.front, cut(part), cut(part + 1))).collect()
    }

    /// How many entries are left, from subtree counts alone.
    ///
    /// Cost: no page beyond the two paths already held.
    pub(crate) fn remaining(&self) -> Result<u64> {
        Ok(self.back.rank()?.saturating_sub(self.front.rank()?))
    }

    /// The next entry from the front.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            let (Some(front), Some(back)) = (&mut self.front.spot, &self.back.spot) else { return Ok(None) };
            let end = if front.at == back.at { back.index } else { front.leaf.len() };
            if front.index < end {
                let index = front.index;
                front.index += 1;
                let front = &*front;
                return pair_at(self.front.pages, front, index).map(Some);
            }
            if front.at == back.at || !self.front.step_leaf(Way::Forward)? {
                return Ok(None);
            }
        }
    }

    /// The next entry from the back.
    pub(crate) fn next_back(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            let (Some(front), Some(back)) = (&self.front.spot, &mut self.back.spot) else { return Ok(None) };
            let start = if front.at == back.at { front.index } else { 0 };
            if back.index > start {
                back.index -= 1;
                let back = &*back;
                return pair_at(self.back.pages, back, back.index).map(Some);
            }
            if front.at == back.at || !self.back.step_leaf(Way::Back)? {
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
