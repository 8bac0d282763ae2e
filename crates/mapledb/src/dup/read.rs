//! Going through pairs: a path of keys, and one of the duplicates of the key it is at.

use std::ops::Bound;

use mapledb_format::FormatError;
use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::Leaf;
use mapledb_format::order::Order;
use mapledb_format::tree_record::TreeRecord;

use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{KeyOrder, Pair, PairOrder, Path, Tree, Way, duplicates_at};

/// The duplicates of one key, and a gap among them.
pub(super) struct Set<'p, P> {
    pub(super) form: Form<'p, P>,
    order: KeyOrder,
}

pub(super) enum Form<'p, P> {
    /// One duplicate, and whether the gap is behind it.
    One { dup: &'p [u8], is_passed: bool },
    /// Those of a sub-page or a tree.
    Many(Path<'p, P>),
}

impl<'p, P: Pages> Set<'p, P> {
    /// The duplicates of the key behind the gap of `keys`, which are in `order`; the gap is before the first (`Forward`) or behind the
    /// last.
    fn of(keys: &Path<'p, P>, order: KeyOrder, way: Way) -> Result<Set<'p, P>> {
        let record = keys.record();
        let (Some(spot), Some(_)) = (&keys.spot, record.duplicates) else {
            return Err(not_a_multimap(record));
        };
        let form = match duplicates_at(record, spot)? {
            Ok(dup) => Form::One { dup, is_passed: way == Way::Back },
            Err(DupField::SubPage(page)) => {
                let leaf = Leaf::view(page).map_err(|cause| Error::Corrupt { pgno: spot.at.pgno, cause })?;
                Form::Many(Path::in_sub_page(keys.pages, leaf, spot.at))
            }
            Err(DupField::Tree(tree)) => Form::Many(Path::new(Tree::in_order(keys.pages, &tree, order))),
        };
        let mut set = Set { form, order };
        if let Form::Many(path) = &mut set.form {
            path.edge(way)?;
        }
        Ok(set)
    }

    pub(super) fn len(&self) -> u64 {
        match &self.form {
            Form::One { .. } => 1,
            Form::Many(path) => path.record().entries,
        }
    }

    /// Goes before `dup`, or before where it would be; answers whether it is there.
    fn seek(&mut self, dup: &[u8]) -> Result<bool> {
        match &mut self.form {
            Form::One { dup: one, is_passed } => {
                let is_beside = self.order.compare(one, dup);
                *is_passed = is_beside.is_lt();
                Ok(is_beside.is_eq())
            }
            Form::Many(path) => path.seek(self.order, dup),
        }
    }

    pub(super) fn edge(&mut self, way: Way) -> Result<()> {
        match &mut self.form {
            Form::One { is_passed, .. } => *is_passed = way == Way::Back,
            Form::Many(path) => path.edge(way)?,
        }
        Ok(())
    }

    /// Goes before the duplicate that has `n` before it.
    fn nth(&mut self, n: u64) -> Result<()> {
        match &mut self.form {
            Form::One { is_passed, .. } => *is_passed = n > 0,
            Form::Many(path) => drop(path.nth(n)?),
        }
        Ok(())
    }

    /// The duplicate behind the gap.
    pub(super) fn peek(&mut self) -> Result<Option<&'p [u8]>> {
        match &mut self.form {
            Form::One { dup, is_passed } => Ok((!*is_passed).then_some(*dup)),
            Form::Many(path) => if path.settle()? { key_of(path).map(Some) } else { Ok(None) },
        }
    }

    /// Goes behind the duplicate that was peeked at.
    pub(super) fn skip(&mut self) {
        match &mut self.form {
            Form::One { is_passed, .. } => *is_passed = true,
            Form::Many(path) => skip(path),
        }
    }

    /// Goes before the duplicate before the gap, and answers it.
    pub(super) fn back(&mut self) -> Result<Option<&'p [u8]>> {
        match &mut self.form {
            Form::One { dup, is_passed } => Ok(std::mem::take(is_passed).then_some(*dup)),
            Form::Many(path) => if path.retreat()? { key_of(path).map(Some) } else { Ok(None) },
        }
    }

    /// How many duplicates lie before the gap.
    fn rank(&self) -> Result<u64> {
        match &self.form {
            Form::One { is_passed, .. } => Ok(u64::from(*is_passed)),
            Form::Many(path) => path.rank(),
        }
    }
}

/// The key behind the gap, which is not at the end of a leaf.
fn key_of<'p, P: Pages>(path: &Path<'p, P>) -> Result<&'p [u8]> {
    match &path.spot {
        Some(spot) => spot.leaf.key(spot.index).map_err(|cause| Error::Corrupt { pgno: spot.at.pgno, cause }),
        None => Err(not_a_multimap(path.record())),
    }
}

fn skip<P>(path: &mut Path<'_, P>) {
    if let Some(spot) = &mut path.spot {
        spot.index += 1;
    }
}

fn not_a_multimap(record: &TreeRecord) -> Error {
    Error::Corrupt { pgno: record.root, cause: FormatError::BadTreeRecord("it is no multimap") }
}

/// A gap between two pairs.
pub(super) struct Pairs<'p, P> {
    pub(super) keys: Path<'p, P>,
    /// The duplicates of the key behind the gap of `keys`, if this gap is among them; else it is where that one is.
    pub(super) set: Option<Set<'p, P>>,
    pub(super) order: PairOrder,
}

impl<'p, P: Pages> Pairs<'p, P> {
    pub(super) fn new(tree: Tree<'p, P, KeyOrder>, duplicates: KeyOrder) -> Pairs<'p, P> {
        Pairs { keys: Path::new(tree), set: None, order: PairOrder { keys: tree.order(), duplicates } }
    }

    /// The duplicates of the key behind the gap.
    pub(super) fn set_here(&self, way: Way) -> Result<Set<'p, P>> {
        Set::of(&self.keys, self.order.duplicates, way)
    }

    fn again(&self) -> Pairs<'p, P> {
        Pairs { keys: self.keys.again(), set: None, order: self.order }
    }

    pub(super) fn edge(&mut self, way: Way) -> Result<()> {
        self.set = None;
        self.keys.edge(way)
    }

    /// Goes before all pairs of `key`, or before where they would be; answers whether there are any.
    pub(super) fn seek_key(&mut self, key: &[u8]) -> Result<bool> {
        self.set = None;
        self.keys.seek(self.order.keys, key)
    }

    /// Goes before a pair, or before where it would be; answers whether it is there.
    pub(super) fn seek(&mut self, key: &[u8], dup: &[u8]) -> Result<bool> {
        if !self.seek_key(key)? {
            return Ok(false);
        }
        let set = self.set_here(Way::Forward)?;
        self.set.insert(set).seek(dup)
    }

    /// Goes before the pair that has `n` before it.
    pub(super) fn nth(&mut self, n: u64) -> Result<()> {
        self.set = None;
        let within = self.keys.nth(n)?;
        if within > 0 && self.keys.settle()? {
            let set = self.set_here(Way::Forward)?;
            self.set.insert(set).nth(within)?;
        }
        Ok(())
    }

    /// The pair behind the gap.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            if let Some(set) = &mut self.set {
                if let Some(dup) = set.peek()? {
                    return Ok(Some((key_of(&self.keys)?, dup)));
                }
                self.leave_key();
            }
            if !self.keys.settle()? {
                return Ok(None);
            }
            self.set = Some(self.set_here(Way::Forward)?);
        }
    }

    /// Goes behind the pair that was peeked at.
    #[inline]
    pub(super) fn skip(&mut self) {
        if let Some(set) = &mut self.set {
            set.skip();
        }
    }

    /// Goes before the pair before the gap, and answers it.
    pub(super) fn back(&mut self) -> Result<Option<Pair<'p>>> {
        loop {
            if let Some(set) = &mut self.set {
                if let Some(dup) = set.back()? {
                    return Ok(Some((key_of(&self.keys)?, dup)));
                }
                self.set = None;
            }
            if !self.keys.retreat()? {
                return Ok(None);
            }
            self.set = Some(self.set_here(Way::Back)?);
        }
    }

    /// From among the duplicates of a key to behind the last of them.
    pub(super) fn leave_key(&mut self) {
        if self.set.take().is_some() {
            skip(&mut self.keys);
        }
    }

    /// How many pairs lie before the gap.
    pub(super) fn rank(&self) -> Result<u64> {
        let within = self.set.as_ref().map_or(Ok(0), Set::rank)?;
        Ok(self.keys.rank()?.saturating_add(within))
    }
}

/// Where a range of pairs begins or ends: at a pair, or, without a duplicate, at all pairs of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairBound<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) dup: Option<&'k [u8]>,
}

impl<'k> PairBound<'k> {
    /// At all pairs of `key`.
    pub(crate) fn of_key(key: &'k [u8]) -> PairBound<'k> {
        PairBound { key, dup: None }
    }

    /// At a pair.
    pub(crate) fn of(key: &'k [u8], dup: &'k [u8]) -> PairBound<'k> {
        PairBound { key, dup: Some(dup) }
    }
}

/// The pairs between two bounds, from either end.
pub(crate) struct PairRange<'p, P> {
    front: Pairs<'p, P>,
    back: Pairs<'p, P>,
    left: u64,
}

impl<'p, P: Pages> PairRange<'p, P> {
    /// All pairs of `tree`, whose orders need not be at hand.
    pub(crate) fn all(tree: Tree<'p, P, KeyOrder>) -> Result<Self> {
        PairRange::new(tree, KeyOrder::of_duplicates(tree.record()), Bound::Unbounded, Bound::Unbounded)
    }

    /// The pairs of `tree`, whose duplicates are in order `duplicates`, from `low` to `high`; none if they cross.
    ///
    /// Cost: two descents, in each of two trees at most.
    pub(crate) fn new(
        tree: Tree<'p, P, KeyOrder>,
        duplicates: KeyOrder,
        low: Bound<PairBound<'_>>,
        high: Bound<PairBound<'_>>,
    ) -> Result<Self> {
        let pairs = || Pairs::new(tree, duplicates);
        let mut range = PairRange { front: pairs(), back: pairs(), left: 0 };
        match low {
            Bound::Unbounded => range.front.edge(Way::Forward)?,
            Bound::Included(low) => pass(&mut range.front, low, false)?,
            Bound::Excluded(low) => pass(&mut range.front, low, true)?,
        }
        match high {
            Bound::Unbounded => range.back.edge(Way::Back)?,
            Bound::Included(high) => pass(&mut range.back, high, true)?,
            Bound::Excluded(high) => pass(&mut range.back, high, false)?,
        }
        range.left = range.back.rank()?.saturating_sub(range.front.rank()?);
        Ok(range)
    }

    /// So many ranges of equal length, one pair more or less, that together are this one.
    ///
    /// Cost: two descents for each.
    pub(crate) fn split(&self, parts: usize) -> Result<Vec<Self>> {
        let from = self.front.rank()?;
        // The product may need more than 64 bits.
        let cut = |part: usize| from + (u128::from(self.left) * part as u128 / parts as u128) as u64;
        let between = |part: usize| {
            let mut range = PairRange { front: self.front.again(), back: self.front.again(), left: 0 };
            range.left = cut(part + 1) - cut(part);
            if range.left > 0 {
                range.front.nth(cut(part))?;
                range.back.nth(cut(part + 1))?;
            }
            Ok(range)
        };
        (0..parts).map(between).collect()
    }

    /// How many pairs are left. Cost: none.
    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// The next pair from the front.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let pair = self.front.peek()?;
        self.front.skip();
        self.left = if pair.is_some() { self.left - 1 } else { 0 };
        Ok(pair)
    }

    /// The next pair from the back.
    #[inline]
    pub(crate) fn next_back(&mut self) -> Result<Option<Pair<'p>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let pair = self.back.back()?;
        self.left = if pair.is_some() { self.left - 1 } else { 0 };
        Ok(pair)
    }
}

/// Goes to the gap before what `bound` names, or behind it if it is there and is to be passed.
pub(super) fn pass<P: Pages>(pairs: &mut Pairs<'_, P>, bound: PairBound<'_>, over: bool) -> Result<()> {
    match bound.dup {
        None => {
            if pairs.seek_key(bound.key)? && over {
                skip(&mut pairs.keys);
            }
        }
        Some(dup) => {
            if pairs.seek(bound.key, dup)? && over {
                pairs.skip();
            }
        }
    }
    Ok(())
}

/// Whether a multimap holds a pair.
pub(crate) fn contains<P: Pages>(
    tree: Tree<'_, P, KeyOrder>,
    duplicates: KeyOrder,
    key: &[u8],
    dup: &[u8],
) -> Result<bool> {
    Pairs::new(tree, duplicates).seek(key, dup)
}

/// How many pairs `key` has.
///
/// Cost: one descent.
pub(crate) fn count_of<P: Pages>(tree: Tree<'_, P, KeyOrder>, key: &[u8]) -> Result<u64> {
    let mut pairs = Pairs::new(tree, KeyOrder::of_duplicates(tree.record()));
    if pairs.seek_key(key)? { Ok(pairs.set_here(Way::Forward)?.len()) } else { Ok(0) }
}

/// The duplicates of a key, in slices of the map as long as the pages they stand in let them be: one behind the other if they
/// are packed, else one by one.
pub(crate) struct Chunks<'p, P> {
    set: Option<Set<'p, P>>,
}

impl<'p, P: Pages> Chunks<'p, P> {
    /// All of a set, from its first.
    pub(super) fn of(set: Set<'p, P>) -> Chunks<'p, P> {
        Chunks { set: Some(set) }
    }

    /// None.
    pub(super) fn none() -> Chunks<'p, P> {
        Chunks { set: None }
    }

    /// The next slice.
    pub(crate) fn next(&mut self) -> Result<Option<&'p [u8]>> {
        let Some(set) = &mut self.set else { return Ok(None) };
        let Some(dup) = set.peek()? else { return Ok(None) };
        if let Form::Many(path) = &mut set.form
            && let Some(spot) = &mut path.spot
            && let Some(packed) = spot.leaf.packed()
        {
            spot.index = packed.len();
            return Ok(Some(packed.keys()));
        }
        set.skip();
        Ok(Some(dup))
    }
}
