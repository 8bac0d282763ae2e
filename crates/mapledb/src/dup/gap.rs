//! A gap between two pairs, from which to look either way.

use std::ops::Bound;

use super::read::{PairBound, Pairs, pass};
use crate::error::Result;
use crate::pages::Pages;
use crate::tree::{KeyOrder, Pair, Tree, Way};

/// A gap between two pairs of a multimap.
pub(crate) struct PairGap<'p, P>(Pairs<'p, P>);

impl<'p, P: Pages> PairGap<'p, P> {
    /// The gap before the first pair that `bound` lets in as the lower one of a range; behind the last, if there is none.
    pub(crate) fn lower(tree: Tree<'p, P, KeyOrder>, duplicates: KeyOrder, bound: Bound<PairBound<'_>>) -> Result<Self> {
        PairGap::at(Pairs::new(tree, duplicates), bound, Way::Forward)
    }

    /// The gap behind the last pair that `bound` lets in as the upper one of a range; before the first, if there is none.
    pub(crate) fn upper(tree: Tree<'p, P, KeyOrder>, duplicates: KeyOrder, bound: Bound<PairBound<'_>>) -> Result<Self> {
        PairGap::at(Pairs::new(tree, duplicates), bound, Way::Back)
    }

    fn at(mut pairs: Pairs<'p, P>, bound: Bound<PairBound<'_>>, unbounded: Way) -> Result<Self> {
        match (bound, unbounded) {
            (Bound::Unbounded, way) => pairs.edge(way)?,
            (Bound::Included(pair), way) => pass(&mut pairs, pair, way == Way::Back)?,
            (Bound::Excluded(pair), way) => pass(&mut pairs, pair, way == Way::Forward)?,
        }
        Ok(PairGap(pairs))
    }

    /// The pair behind the gap.
    pub(crate) fn peek_next(&mut self) -> Result<Option<Pair<'p>>> {
        self.0.peek()
    }

    /// The pair before the gap.
    pub(crate) fn peek_prev(&mut self) -> Result<Option<Pair<'p>>> {
        let pair = self.0.back()?;
        if pair.is_some() {
            self.0.skip();
        }
        Ok(pair)
    }

    /// Goes over the pair behind the gap and answers it; stays at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        let pair = self.0.peek()?;
        if pair.is_some() {
            self.0.skip();
        }
        Ok(pair)
    }

    /// Goes back over the pair before the gap and answers it; stays at the beginning.
    pub(crate) fn prev(&mut self) -> Result<Option<Pair<'p>>> {
        self.0.back()
    }
}
