//! Questions that subtree counts answer in one descent or two.

use std::ops::Bound;

use mapledb_format::order::Order;

use super::cursor::Path;
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
        path.seek(self.order, key)?;
        path.rank()
    }
}
