//! A place in a tree, from which to go either way.

use mapledb_format::branch::Branch;
use mapledb_format::leaf::Leaf;
use mapledb_format::node::Position;
use mapledb_format::order::{Bytewise, Order};
use mapledb_format::tree_record::TreeRecord;

use super::ahead::Ahead;
use super::nested::{weigh, weight};
use super::search::value_in;
use super::{PageRef, Pages, Tree, branch, child, corrupt, known_branch, known_leaf, leaf, prefetch_child};
use crate::error::Result;

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Back,
}

/// A branch on the path and the child that was taken.
struct Step<'p> {
    branch: Branch<'p>,
    at: PageRef,
    index: usize,
}

/// A leaf and a gap in it: `index` is the slot after the gap, so `0..=len`.
pub(crate) struct Spot<'p> {
    pub(crate) leaf: Leaf<'p>,
    pub(crate) at: PageRef,
    pub(crate) index: usize,
}

/// A path from the root to a gap between two entries.
///
/// Going along it asks for no order; only seeking does.
pub(crate) struct Path<'p, P> {
    pub(crate) pages: &'p P,
    record: TreeRecord,
    steps: Vec<Step<'p>>,
    pub(crate) spot: Option<Spot<'p>>,
    ahead: Ahead,
    /// The leaf that is the whole tree, if it is a sub-page.
    whole: Option<Leaf<'p>>,
}

impl<'p, P: Pages> Path<'p, P> {
    pub(crate) fn new<O: Order>(tree: Tree<'p, P, O>) -> Path<'p, P> {
        let Tree { pages, record, .. } = tree;
        Path { pages, record, steps: Vec::new(), spot: None, ahead: Ahead::default(), whole: None }
    }

    /// A path of the tree that is one leaf, a sub-page of the page `at`.
    pub(crate) fn in_sub_page(pages: &'p P, leaf: Leaf<'p>, at: PageRef) -> Path<'p, P> {
        let record =
            TreeRecord { root: at.pgno, root_tag: at.tag, depth: 1, entries: leaf.len() as u64, ..TreeRecord::default() };
        Path { pages, record, steps: Vec::new(), spot: None, ahead: Ahead::default(), whole: Some(leaf) }
    }

    /// Whether it goes through a sub-page.
    pub(crate) fn is_in_sub_page(&self) -> bool {
        self.whole.is_some()
    }

    /// The page `at`, which must be a leaf.
    #[inline(always)]
    fn leaf(&self, at: PageRef) -> Result<Leaf<'p>> {
        match self.whole {
            None => leaf(self.pages, at),
            Some(leaf) => Ok(leaf),
        }
    }

    /// A path of the same tree, at no place yet.
    pub(crate) fn again(&self) -> Path<'p, P> {
        let (pages, record, whole) = (self.pages, self.record, self.whole);
        Path { pages, record, steps: Vec::new(), spot: None, ahead: Ahead::default(), whole }
    }

    fn root(&self) -> PageRef {
        PageRef { pgno: self.record.root, tag: self.record.root_tag }
    }

    fn leave(&mut self) {
        self.steps.clear();
        self.steps.reserve(usize::from(self.record.depth));
        self.spot = None;
        self.ahead = Ahead::default();
    }

    /// Goes to the gap before `key`, or before where it would be; answers whether `key` is there.
    pub(crate) fn seek<O: Order>(&mut self, order: O, key: &[u8]) -> Result<bool> {
        if order.is_bytewise() { self.seek_in(Bytewise, key) } else { self.seek_in(order, key) }
    }

    #[inline]
    fn seek_in<O: Order>(&mut self, order: O, key: &[u8]) -> Result<bool> {
        self.leave();
        let depth = usize::from(self.record.depth);
        if depth == 0 {
            return Ok(false);
        }
        let mut at = self.root();
        let mut implied = 0;
        for level in (1..depth).rev() {
            let known = known_branch(self.pages, at, level)
                .and_then(|branch| Some((branch, branch.child_at(order, key, implied)?.0)));
            let (branch, index) = match known {
                Some(choice) => choice,
                None => self.choose(order, at, level, key, implied)?,
            };
            implied = branch.implied_for(index, implied);
            at = self.push(branch, at, index, level)?;
        }
        let tree = Tree::in_order(self.pages, &self.record, order);
        let known = if self.whole.is_none() { tree.place_known(at, key, implied) } else { None };
        let (leaf, place) = match known {
            Some(found) => found,
            None => self.place(order, at, key, implied)?,
        };
        self.spot = Some(Spot { leaf, at, index: place.index });
        Ok(place.exact)
    }

    /// The branch `at` and the child in it where `key` is.
    #[inline(never)]
    fn choose<O: Order>(
        &self,
        order: O,
        at: PageRef,
        level: usize,
        key: &[u8],
        implied: usize,
    ) -> Result<(Branch<'p>, usize)> {
        let branch = branch(self.pages, at, level)?;
        let index = branch.child_for(order, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
        Ok((branch, index))
    }

    /// The leaf `at` and the place of `key` in it.
    #[inline(never)]
    fn place<O: Order>(&self, order: O, at: PageRef, key: &[u8], implied: usize) -> Result<(Leaf<'p>, Position)> {
        let leaf = self.leaf(at)?;
        let place = leaf.search_from(order, 0, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
        Ok((leaf, place))
    }

    /// Goes before the first entry (`Forward`) or behind the last (`Back`).
    pub(crate) fn edge(&mut self, way: Way) -> Result<()> {
        self.leave();
        match usize::from(self.record.depth) {
            0 => Ok(()),
            depth => self.fall(self.root(), depth - 1, way),
        }
    }

    /// Goes before the entry that has `n` entries before it; the end if there are fewer. In a multimap it goes before the key
    /// of the pair that has `n` pairs before it, and answers how many of them have that key.
    pub(crate) fn nth(&mut self, n: u64) -> Result<u64> {
        self.leave();
        let depth = usize::from(self.record.depth);
        if depth == 0 {
            return Ok(0);
        }
        let mut at = self.root();
        let mut left = n;
        for level in (1..depth).rev() {
            let branch = branch(self.pages, at, level)?;
            let mut index = 0;
            loop {
                let count = branch.entry(index).map_err(|cause| corrupt(at.pgno, cause))?.count;
                if left < count || index + 1 == branch.len() {
                    break;
                }
                left -= count;
                index += 1;
            }
            at = self.push(branch, at, index, level)?;
        }
        let leaf = self.leaf(at)?;
        let mut index = usize::try_from(left).unwrap_or(usize::MAX).min(leaf.len());
        if self.record.duplicates.is_some() {
            index = 0;
            while index < leaf.len() {
                let pairs = weight(&self.record, &leaf, at, index)?;
                if left < pairs {
                    break;
                }
                left -= pairs;
                index += 1;
            }
        } else {
            left = 0;
        }
        self.spot = Some(Spot { leaf, at, index });
        Ok(left)
    }

    /// Goes on to the next leaf if the gap is at the end of one; answers whether there is an entry behind the gap.
    pub(crate) fn settle(&mut self) -> Result<bool> {
        loop {
            match &self.spot {
                None => return Ok(false),
                Some(spot) if spot.index < spot.leaf.len() => return Ok(true),
                Some(_) => {}
            }
            if !self.step_leaf(Way::Forward)? {
                return Ok(false);
            }
        }
    }

    /// Goes before the entry before the gap; answers whether there is one.
    pub(crate) fn retreat(&mut self) -> Result<bool> {
        loop {
            match &mut self.spot {
                None => return Ok(false),
                Some(spot) if spot.index > 0 => {
                    spot.index -= 1;
                    return Ok(true);
                }
                Some(_) => {}
            }
            if !self.step_leaf(Way::Back)? {
                return Ok(false);
            }
        }
    }

    /// The record of the tree.
    pub(crate) fn record(&self) -> &TreeRecord {
        &self.record
    }

    /// Moves to the neighbouring leaf, to its near end. Answers whether there is one; if not, nothing changes.
    pub(crate) fn step_leaf(&mut self, way: Way) -> Result<bool> {
        let turn = self.steps.iter().rposition(|step| match way {
            Way::Forward => step.index + 1 < step.branch.len(),
            Way::Back => step.index > 0,
        });
        let Some(turn) = turn else {
            // The end, unless the leaf only seems to end.
            self.pages.still_sound()?;
            return Ok(false);
        };
        let height = self.steps.len() - turn;
        self.steps.truncate(turn + 1);
        let step = &mut self.steps[turn];
        step.index = match way {
            Way::Forward => step.index + 1,
            Way::Back => step.index - 1,
        };
        let entry = step.branch.entry(step.index).map_err(|cause| corrupt(step.at.pgno, cause))?;
        let next_at = child(step.at, entry)?;
        // The leaf after the next is needed by the time this one has been read.
        let beyond = match way {
            Way::Forward => step.index + 1,
            Way::Back => step.index.wrapping_sub(1),
        };
        if let Ok(next) = step.branch.entry(beyond) {
            // A walk that has come this far will read all of it; one over few entries may end before.
            match height == 1 && self.ahead.goes(way) {
                true => self.pages.prefetch(next.child, self.pages.page_size().bytes()),
                false => prefetch_child(self.pages, next, height - 1),
            }
        }
        self.fall(next_at, height - 1, way)?;
        if let Some(parent) = self.steps.last() {
            self.ahead.step(self.pages, &parent.branch, parent.index, way, height > 1);
        }
        Ok(true)
    }

    /// Takes the first (`Forward`) or last child all the way down from `at`.
    fn fall(&mut self, mut at: PageRef, level: usize, way: Way) -> Result<()> {
        for level in (1..=level).rev() {
            let branch = branch(self.pages, at, level)?;
            let index = match way {
                Way::Forward => 0,
                Way::Back => branch.len().saturating_sub(1),
            };
            at = self.push(branch, at, index, level)?;
        }
        let known = if self.whole.is_none() { known_leaf(self.pages, at) } else { None };
        let leaf = match known {
            Some(leaf) => leaf,
            None => self.leaf(at)?,
        };
        let index = match way {
            Way::Forward => 0,
            Way::Back => leaf.len(),
        };
        self.spot = Some(Spot { leaf, at, index });
        Ok(())
    }

    #[inline]
    fn push(&mut self, branch: Branch<'p>, at: PageRef, index: usize, level: usize) -> Result<PageRef> {
        let entry = branch.entry(index).map_err(|cause| corrupt(at.pgno, cause))?;
        prefetch_child(self.pages, entry, level - 1);
        self.steps.push(Step { branch, at, index });
        child(at, entry)
    }

    /// How many entries lie before the gap.
    pub(crate) fn rank(&self) -> Result<u64> {
        let Some(spot) = &self.spot else { return Ok(0) };
        let mut rank = weigh(&self.record, &spot.leaf, spot.at, 0..spot.index)?;
        for step in &self.steps {
            let before = step.branch.count_before(step.index).map_err(|cause| corrupt(step.at.pgno, cause))?;
            rank = rank.saturating_add(before);
        }
        Ok(rank)
    }
}

/// A place at an entry of a tree, or at none.
///
/// The tree cannot change while a cursor on it lives.
pub(crate) struct Cursor<'p, P, O> {
    path: Path<'p, P>,
    order: O,
    at_entry: bool,
}

/// A key and its value, in place.
pub(crate) type Pair<'p> = (&'p [u8], &'p [u8]);

impl<'p, P: Pages, O: Order> Cursor<'p, P, O> {
    /// A cursor at no entry.
    pub(crate) fn new(tree: Tree<'p, P, O>) -> Cursor<'p, P, O> {
        Cursor { path: Path::new(tree), order: tree.order, at_entry: false }
    }

    /// The order of the tree's keys.
    pub(crate) fn order(&self) -> O {
        self.order
    }

    /// The leaf of the entry the cursor is at, and the entry's slot.
    pub(crate) fn place(&self) -> Option<(PageRef, usize)> {
        self.path.spot.as_ref().filter(|_| self.at_entry).map(|spot| (spot.at, spot.index))
    }

    /// The entry the cursor is at.
    pub(crate) fn current(&self) -> Result<Option<Pair<'p>>> {
        match &self.path.spot {
            Some(spot) if self.at_entry => pair_at(self.path.pages, spot, spot.index).map(Some),
            _ => Ok(None),
        }
    }

    /// Goes to the first entry.
    pub(crate) fn first(&mut self) -> Result<Option<Pair<'p>>> {
        self.path.edge(Way::Forward)?;
        self.settle_forward()
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) -> Result<Option<Pair<'p>>> {
        self.path.edge(Way::Back)?;
        self.settle_back()
    }

    /// Goes to the entry of `key`; at no entry if there is none.
    pub(crate) fn seek_exact(&mut self, key: &[u8]) -> Result<Option<Pair<'p>>> {
        self.at_entry = self.path.seek(self.order, key)?;
        self.current()
    }

    /// Goes to the first entry at or after `key` (`inclusive`), or after it.
    pub(crate) fn seek_from(&mut self, key: &[u8], inclusive: bool) -> Result<Option<Pair<'p>>> {
        let exact = self.path.seek(self.order, key)?;
        if let (true, false, Some(spot)) = (exact, inclusive, &mut self.path.spot) {
            spot.index += 1;
        }
        self.settle_forward()
    }

    /// Goes to the last entry at or before `key` (`inclusive`), or before it.
    pub(crate) fn seek_to(&mut self, key: &[u8], inclusive: bool) -> Result<Option<Pair<'p>>> {
        let exact = self.path.seek(self.order, key)?;
        if let (true, true, Some(spot)) = (exact, inclusive, &mut self.path.spot) {
            spot.index += 1;
        }
        self.settle_back()
    }

    /// Goes to the entry that has `n` entries before it.
    pub(crate) fn seek_nth(&mut self, n: u64) -> Result<Option<Pair<'p>>> {
        self.path.nth(n)?;
        self.settle_forward()
    }

    /// Goes to the next entry; to the first before any other move, and nowhere after one that found nothing.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        match &mut self.path.spot {
            Some(spot) if self.at_entry => spot.index += 1,
            Some(_) => return Ok(None),
            None => self.path.edge(Way::Forward)?,
        }
        self.settle_forward()
    }

    /// Goes to the previous entry; to the last before any other move, and nowhere after one that found nothing.
    pub(crate) fn previous(&mut self) -> Result<Option<Pair<'p>>> {
        match &mut self.path.spot {
            Some(_) if self.at_entry => {}
            Some(_) => return Ok(None),
            None => self.path.edge(Way::Back)?,
        }
        self.settle_back()
    }

    /// From a gap to the entry after it.
    fn settle_forward(&mut self) -> Result<Option<Pair<'p>>> {
        self.at_entry = loop {
            match &self.path.spot {
                None => break false,
                Some(spot) if spot.index < spot.leaf.len() => break true,
                Some(_) => {
                    if !self.path.step_leaf(Way::Forward)? {
                        break false;
                    }
                }
            }
        };
        self.current()
    }

    /// From a gap to the entry before it.
    fn settle_back(&mut self) -> Result<Option<Pair<'p>>> {
        self.at_entry = loop {
            match &mut self.path.spot {
                None => break false,
                Some(spot) if spot.index > 0 => {
                    spot.index -= 1;
                    break true;
                }
                Some(_) => {
                    if !self.path.step_leaf(Way::Back)? {
                        break false;
                    }
                }
            }
        };
        self.current()
    }
}

#[inline(always)]
pub(super) fn pair_at<'p, P: Pages>(
    pages: &'p P,
    spot: &Spot<'p>,
    index: usize,
) -> Result<Pair<'p>> {
    match spot.leaf.inline_pair(index) {
        Some(pair) => Ok(pair),
        None => pair_elsewhere(pages, spot, index),
    }
}

#[inline(never)]
fn pair_elsewhere<'p, P: Pages>(
    pages: &'p P,
    spot: &Spot<'p>,
    index: usize,
) -> Result<Pair<'p>> {
    let key = spot.leaf.key(index).map_err(|cause| corrupt(spot.at.pgno, cause))?;
    Ok((key, value_in(pages, &spot.leaf, spot.at, index)?))
}
