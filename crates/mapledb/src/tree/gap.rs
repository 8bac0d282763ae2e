//! A place between two entries of a tree.

use mapledb_format::order::Order;

use super::cursor::{Pair, Path, Way, pair_at};
use super::{Pages, Tree};
use crate::error::Result;

/// A gap before the first entry, between two, or behind the last.
///
/// The end of a leaf and the beginning of the next are one gap: to look across it the path goes to the other side.
pub(crate) struct Gap<'p, P> {
    path: Path<'p, P>,
}

impl<'p, P: Pages> Gap<'p, P> {
    /// The gap before the first entry.
    pub(crate) fn first<O: Order>(tree: Tree<'p, P, O>) -> Result<Gap<'p, P>> {
        let mut path = Path::new(tree);
        path.edge(Way::Forward)?;
        Ok(Gap { path })
    }

    /// The gap behind the last entry.
    pub(crate) fn last<O: Order>(tree: Tree<'p, P, O>) -> Result<Gap<'p, P>> {
        let mut path = Path::new(tree);
        path.edge(Way::Back)?;
        Ok(Gap { path })
    }

    /// The gap before `key`, or where it would be.
    pub(crate) fn before<O: Order>(tree: Tree<'p, P, O>, key: &[u8]) -> Result<Gap<'p, P>> {
        let mut path = Path::new(tree);
        path.seek(tree.order, key)?;
        Ok(Gap { path })
    }

    /// The gap behind `key`, or where it would be.
    pub(crate) fn behind<O: Order>(tree: Tree<'p, P, O>, key: &[u8]) -> Result<Gap<'p, P>> {
        let mut path = Path::new(tree);
        if let (true, Some(spot)) = (path.seek(tree.order, key)?, &mut path.spot) {
            spot.index += 1;
        }
        Ok(Gap { path })
    }

    /// The entry behind the gap.
    pub(crate) fn peek_next(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            match &self.path.spot {
                None => return Ok(None),
                Some(spot) if spot.index < spot.leaf.len() => {
                    return pair_at(self.path.pages, spot, spot.index).map(Some);
                }
                Some(_) => {
                    if !self.path.step_leaf(Way::Forward)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The entry before the gap.
    pub(crate) fn peek_prev(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            match &self.path.spot {
                None => return Ok(None),
                Some(spot) if spot.index > 0 => return pair_at(self.path.pages, spot, spot.index - 1).map(Some),
                Some(_) => {
                    if !self.path.step_leaf(Way::Back)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Goes over the entry behind the gap.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        let pair = self.peek_next()?;
        if let (Some(_), Some(spot)) = (pair, &mut self.path.spot) {
            spot.index += 1;
        }
        Ok(pair)
    }

    /// Goes back over the entry before the gap.
    pub(crate) fn previous(&mut self) -> Result<Option<Pair<'p>>> {
        let pair = self.peek_prev()?;
        if let (Some(_), Some(spot)) = (pair, &mut self.path.spot) {
            spot.index -= 1;
        }
        Ok(pair)
    }
}
