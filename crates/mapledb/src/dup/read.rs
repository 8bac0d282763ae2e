//! Going through pairs: a path of keys, and one of the duplicates of the key it is at.

use std::ops::Bound;

use mapledb_format::FormatError;
use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::Leaf;
use mapledb_format::order::Order;
use mapledb_format::tree_record::TreeRecord;

use super::place::{Among, PairPlace};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{KeyOrder, Pair, Path, Tree, Way, duplicates_at};

/// The duplicates of one key, and a gap among them.
struct Set<'p, P> {
    form: Form<'p, P>,
    order: KeyOrder,
}

enum Form<'p, P> {
    /// One duplicate, and whether the gap is behind it.
    One { dup: &'p [u8], is_passed: bool },
    /// Those of a sub-page or a tree.
    Many(Path<'p, P>),
}

impl<'p, P: Pages> Set<'p, P> {
    /// The duplicates of the key behind the gap of `keys`; the gap is before the first (`Forward`) or behind the last.
    fn of(keys: &Path<'p, P>, way: Way) -> Result<Set<'p, P>> {
        let record = keys.record();
        let (Some(spot), Some(duplicates)) = (&keys.spot, record.duplicates) else {
            return Err(not_a_multimap(record));
        };
        let order = KeyOrder::recorded(duplicates.order);
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

    fn len(&self) -> u64 {
        match &self.form {
            Form::One { .. } => 1,
            Form::Many(path) => path.record().entries,
        }
    }

    /// Goes before `dup`, or before where it would be; answers whether it is there.
    fn seek(&mut self, dup: &[u8]) -> Result<bool> {
        match &mut self.form {
            Form::One { dup: one, is_passed } => {
                *is_passed = self.order.compare(one, dup).is_lt();
                Ok(*one == dup)
            }
            Form::Many(path) => path.seek(self.order, dup),
        }
    }

    fn edge(&mut self, way: Way) -> Result<()> {
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
    fn peek(&mut self) -> Result<Option<&'p [u8]>> {
        match &mut self.form {
            Form::One { dup, is_passed } => Ok((!*is_passed).then_some(*dup)),
            Form::Many(path) => if path.settle()? { key_of(path).map(Some) } else { Ok(None) },
        }
    }

    /// Goes behind the duplicate that was peeked at.
    fn skip(&mut self) {
        match &mut self.form {
            Form::One { is_passed, .. } => *is_passed = true,
            Form::Many(path) => skip(path),
        }
    }

    /// Goes before the duplicate before the gap, and answers it.
    fn back(&mut self) -> Result<Option<&'p [u8]>> {
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
struct Pairs<'p, P> {
    keys: Path<'p, P>,
    /// The duplicates of the key behind the gap of `keys`, if this gap is among them; else it is where that one is.
    set: Option<Set<'p, P>>,
    order: KeyOrder,
}

impl<'p, P: Pages> Pairs<'p, P> {
    fn new(tree: Tree<'p, P, KeyOrder>) -> Pairs<'p, P> {
        Pairs { keys: Path::new(tree), set: None, order: tree.order() }
    }

    fn again(&self) -> Pairs<'p, P> {
        Pairs { keys: self.keys.again(), set: None, order: self.order }
    }

    fn edge(&mut self, way: Way) -> Result<()> {
        self.set = None;
        self.keys.edge(way)
    }

    /// Goes before all pairs of `key`, or before where they would be; answers whether there are any.
    fn seek_key(&mut self, key: &[u8]) -> Result<bool> {
        self.set = None;
        self.keys.seek(self.order, key)
    }

    /// Goes before a pair, or before where it would be; answers whether it is there.
    fn seek(&mut self, key: &[u8], dup: &[u8]) -> Result<bool> {
        if !self.seek_key(key)? {
            return Ok(false);
        }
        self.set.insert(Set::of(&self.keys, Way::Forward)?).seek(dup)
    }

    /// Goes before the pair that has `n` before it.
    fn nth(&mut self, n: u64) -> Result<()> {
        self.set = None;
        let within = self.keys.nth(n)?;
        if within > 0 && self.keys.settle()? {
            self.set.insert(Set::of(&self.keys, Way::Forward)?).nth(within)?;
        }
        Ok(())
    }

    /// The pair behind the gap.
    #[inline]
    fn peek(&mut self) -> Result<Option<Pair<'p>>> {
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
            self.set = Some(Set::of(&self.keys, Way::Forward)?);
        }
    }

    /// Goes behind the pair that was peeked at.
    #[inline]
    fn skip(&mut self) {
        if let Some(set) = &mut self.set {
            set.skip();
        }
    }

    /// Goes before the pair before the gap, and answers it.
    fn back(&mut self) -> Result<Option<Pair<'p>>> {
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
            self.set = Some(Set::of(&self.keys, Way::Back)?);
        }
    }

    /// From among the duplicates of a key to behind the last of them.
    fn leave_key(&mut self) {
        if self.set.take().is_some() {
            skip(&mut self.keys);
        }
    }

    /// How many pairs lie before the gap.
    fn rank(&self) -> Result<u64> {
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
    /// The pairs of `tree` from `low` to `high`; none if they cross.
    ///
    /// Cost: two descents, in each of two trees at most.
    pub(crate) fn new(
        tree: Tree<'p, P, KeyOrder>,
        low: Bound<PairBound<'_>>,
        high: Bound<PairBound<'_>>,
    ) -> Result<Self> {
        let mut range = PairRange { front: Pairs::new(tree), back: Pairs::new(tree), left: 0 };
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
fn pass<P: Pages>(pairs: &mut Pairs<'_, P>, bound: PairBound<'_>, over: bool) -> Result<()> {
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

/// A place at a pair of a multimap, or at none. The gap of `pairs` is before the pair it is at.
pub(crate) struct PairCursor<'p, P> {
    pairs: Pairs<'p, P>,
    current: Option<Pair<'p>>,
}

impl<'p, P: Pages> PairCursor<'p, P> {
    /// A cursor at no pair.
    pub(crate) fn new(tree: Tree<'p, P, KeyOrder>) -> PairCursor<'p, P> {
        PairCursor { pairs: Pairs::new(tree), current: None }
    }

    /// The order of the keys.
    pub(crate) fn order(&self) -> KeyOrder {
        self.pairs.order
    }

    /// The pair the cursor is at.
    pub(crate) fn current(&self) -> Option<Pair<'p>> {
        self.current
    }

    fn settle(&mut self) -> Result<Option<Pair<'p>>> {
        self.current = self.pairs.peek()?;
        Ok(self.current)
    }

    fn settle_back(&mut self) -> Result<Option<Pair<'p>>> {
        self.current = self.pairs.back()?;
        Ok(self.current)
    }

    /// Goes to the first pair.
    pub(crate) fn first(&mut self) -> Result<Option<Pair<'p>>> {
        self.pairs.edge(Way::Forward)?;
        self.settle()
    }

    /// Goes to the last pair.
    pub(crate) fn last(&mut self) -> Result<Option<Pair<'p>>> {
        self.pairs.edge(Way::Back)?;
        self.settle_back()
    }

    /// Goes to the next pair; the first if the cursor has not moved yet.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_some() {
            self.pairs.skip();
            return self.settle();
        }
        if self.pairs.keys.spot.is_none() { self.first() } else { Ok(None) }
    }

    /// Goes to the previous pair; the last if the cursor was at none.
    pub(crate) fn previous(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_some() { self.settle_back() } else { self.last() }
    }

    /// Goes to the next pair of the same key. If there is none the cursor stays where it is.
    pub(crate) fn next_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        let (Some((key, _)), Some(set)) = (self.current, &mut self.pairs.set) else { return Ok(None) };
        set.skip();
        match set.peek()? {
            Some(dup) => self.current = Some((key, dup)),
            None => {
                set.back()?;
                return Ok(None);
            }
        }
        Ok(self.current)
    }

    /// Goes to the previous pair of the same key. If there is none the cursor stays where it is.
    pub(crate) fn previous_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        let (Some((key, _)), Some(set)) = (self.current, &mut self.pairs.set) else { return Ok(None) };
        let Some(dup) = set.back()? else { return Ok(None) };
        self.current = Some((key, dup));
        Ok(self.current)
    }

    /// Goes to the first pair of the same key.
    pub(crate) fn first_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        match (self.current, &mut self.pairs.set) {
            (Some(_), Some(set)) => set.edge(Way::Forward)?,
            _ => return Ok(None),
        }
        self.settle()
    }

    /// Goes to the last pair of the same key.
    pub(crate) fn last_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        match (self.current, &mut self.pairs.set) {
            (Some(_), Some(set)) => set.edge(Way::Back)?,
            _ => return Ok(None),
        }
        self.settle_back()
    }

    /// Goes to the first pair of the next key; to the first of all if the cursor has not moved yet.
    pub(crate) fn next_key(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_none() {
            return self.next();
        }
        self.pairs.leave_key();
        self.settle()
    }

    /// Goes to the last pair of the previous key; to the last of all if the cursor was at none.
    pub(crate) fn previous_key(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_none() {
            return self.last();
        }
        self.pairs.set = None;
        self.settle_back()
    }

    /// Goes to the first pair of `key`; at none if it has none.
    pub(crate) fn seek_key(&mut self, key: &[u8]) -> Result<Option<Pair<'p>>> {
        let is_there = self.pairs.seek_key(key)?;
        self.settle_if(is_there)
    }

    /// Goes to a pair; at none if it is not there.
    pub(crate) fn seek(&mut self, key: &[u8], dup: &[u8]) -> Result<Option<Pair<'p>>> {
        let is_there = self.pairs.seek(key, dup)?;
        self.settle_if(is_there)
    }

    fn settle_if(&mut self, is_there: bool) -> Result<Option<Pair<'p>>> {
        if is_there {
            return self.settle();
        }
        self.current = None;
        Ok(None)
    }

    /// Goes to the first pair that is not before `bound` (`inclusive`), or that is behind it.
    pub(crate) fn seek_from(&mut self, bound: PairBound<'_>, inclusive: bool) -> Result<Option<Pair<'p>>> {
        pass(&mut self.pairs, bound, !inclusive)?;
        self.settle()
    }

    /// Goes to the last pair that is not behind `bound` (`inclusive`), or that is before it.
    pub(crate) fn seek_to(&mut self, bound: PairBound<'_>, inclusive: bool) -> Result<Option<Pair<'p>>> {
        pass(&mut self.pairs, bound, inclusive)?;
        self.settle_back()
    }

    /// Where the pair is that the cursor is at.
    pub(crate) fn place(&self) -> Option<PairPlace> {
        let (_, set) = self.current.zip(self.pairs.set.as_ref())?;
        let spot = self.pairs.keys.spot.as_ref()?;
        let among = match &set.form {
            Form::One { .. } => Among::Alone,
            Form::Many(path) => {
                let within = path.spot.as_ref()?;
                match path.is_in_sub_page() {
                    true => Among::SubPage(within.index),
                    false => Among::Leaf(within.at, within.index),
                }
            }
        };
        Some(PairPlace { leaf: spot.at, slot: spot.index, among })
    }

    /// Goes to the pair that has `n` before it.
    pub(crate) fn seek_nth(&mut self, n: u64) -> Result<Option<Pair<'p>>> {
        self.pairs.nth(n)?;
        self.settle()
    }

    /// How many pairs the key has that the cursor is at.
    pub(crate) fn count_in_key(&self) -> u64 {
        match (self.current, &self.pairs.set) {
            (Some(_), Some(set)) => set.len(),
            _ => 0,
        }
    }

    /// How many pairs are before the one the cursor is at.
    pub(crate) fn rank(&self) -> Result<u64> {
        self.pairs.rank()
    }

    /// The duplicates of the key that the cursor is at, a page at a time.
    pub(crate) fn chunks(&self) -> Result<Chunks<'p, P>> {
        match self.current {
            Some(_) => Ok(Chunks { set: Some(Set::of(&self.pairs.keys, Way::Forward)?) }),
            None => Ok(Chunks { set: None }),
        }
    }
}

/// Whether a multimap holds a pair.
pub(crate) fn contains<P: Pages>(tree: Tree<'_, P, KeyOrder>, key: &[u8], dup: &[u8]) -> Result<bool> {
    Pairs::new(tree).seek(key, dup)
}

/// How many pairs `key` has.
///
/// Cost: one descent.
pub(crate) fn count_of<P: Pages>(tree: Tree<'_, P, KeyOrder>, key: &[u8]) -> Result<u64> {
    let mut pairs = Pairs::new(tree);
    if pairs.seek_key(key)? { Ok(Set::of(&pairs.keys, Way::Forward)?.len()) } else { Ok(0) }
}

/// The duplicates of a key, in slices of the map as long as the pages they stand in let them be: one behind the other if they
/// are packed, else one by one.
pub(crate) struct Chunks<'p, P> {
    set: Option<Set<'p, P>>,
}

impl<'p, P: Pages> Chunks<'p, P> {
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
