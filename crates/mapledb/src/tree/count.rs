//! Questions that subtree counts answer in one descent or two.

use std::ops::Bound;

use mapledb_format::order::Order;

use super::cursor::{Path, Way};
use super::{Pages, Range, Tree};
use crate::error::Result;

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// How many entries lie between two bounds.
    ///
    /// Cost: two descents, no leaf in between.
    pub(crate) fn count(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Result<u64> {
        if let (Bound::Unbounded, Bound::Unbounded) = (low, high) {
            return Ok(self.record.entries);
        }
        Range::new(*self, low, high)?.remaining()
    }

    /// How many keys are less than `key`. Cost: one descent.
    pub(crate) fn rank(&self, key: &[u8]) -> Result<u64> {
        let mut path = Path::new(*self);
        path.seek(key)?;
        path.rank()
    }

    /// Whether `key` comes after every key of the tree. Cost: one descent along the right edge.
    pub(crate) fn is_after_all(&self, key: &[u8]) -> Result<bool> {
        let mut path = Path::new(*self);
        path.edge(Way::Back)?;
        match &path.spot {
            Some(spot) if spot.index > 0 => {
                let last = spot.leaf.key(spot.index - 1).map_err(|cause| super::corrupt(spot.at.pgno, cause))?;
                Ok(O::compare(last, key).is_lt())
            }
            _ => Ok(true),
        }
    }
}
