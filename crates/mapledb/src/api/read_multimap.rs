//! A multimap to read: of a snapshot, or of a write transaction as it stands.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use mapledb_format::TreeRecord;

use super::codec::{Key, Typed};
use super::cursor::{Item, decode};
use super::multimap::Duplicates;
use super::pair_cursor::{Arrays, Chunks, Keys, PairCursor, PairRange, Values};
use super::pair_gap::PairGapCursor;
use super::read_ranges::after_prefix;
use super::read_table::{TableStat, with_bounds};
use super::tuple::Prefix;
use crate::dup::{self, PairBound};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{KeyOrder, PairOrder, Tree};
use crate::txn::ReadTxn;

/// A multimap to read. Duplicates and, where their type allows it, keys are slices of the map, valid as long as the borrow of
/// the transaction.
///
/// Unless said otherwise a call costs one descent of the keys, and one of the key's duplicates if they have a tree: one page
/// touch a level.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::Multimap;
///
/// const TAGS: Multimap<'static, str, u32> = Multimap::new("tags");
///
/// let mut txn = env.write()?;
/// let mut tags = txn.open_multimap(&TAGS)?;
/// tags.insert_all("red", [5, 1, 3])?;
/// tags.insert_all("tan", [2, 4])?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let tags = txn.multimap(&TAGS)?;
/// assert_eq!((tags.len(), tags.is_empty(), tags.stat().leaf_pages), (5, false, 1));
/// assert_eq!(tags.get("red")?.collect::<mapledb::Result<Vec<_>>>()?, [1, 3, 5]);
/// assert_eq!((tags.first_of("red")?, tags.last_of("red")?, tags.count_of("red")?), (Some(1), Some(5), 3));
/// assert!(tags.contains("tan", &4)? && !tags.contains("tan", &5)? && tags.contains_key("tan")?);
/// assert_eq!((tags.first()?, tags.last()?), (Some(("red", 1)), Some(("tan", 4))));
///
/// // The nearest pair, be it there or not.
/// assert_eq!((tags.floor("tan", &3)?, tags.lower("tan", &2)?), (Some(("tan", 2)), Some(("red", 5))));
/// assert_eq!((tags.ceiling("red", &2)?, tags.higher("red", &5)?), (Some(("red", 3)), Some(("tan", 2))));
///
/// // Pairs are what is counted, placed and gone through.
/// assert_eq!((tags.count("s"..)?, tags.rank("tan", &4)?, tags.nth(3)?), (2, 4, Some(("tan", 2))));
/// assert_eq!(tags.iter()?.rev().next().transpose()?, Some(("tan", 4)));
/// assert_eq!((tags.range(.."s")?.remaining(), tags.prefix("t")?.remaining()), (3, 2));
/// assert_eq!(tags.keys().collect::<mapledb::Result<Vec<_>>>()?, ["red", "tan"]);
///
/// // Values of one length, as they lie in the page.
/// let pages: Vec<&[u8]> = tags.chunks("red")?.collect::<mapledb::Result<_>>()?;
/// assert_eq!(pages, [[0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 5]]);
/// # Ok(())
/// # }
/// ```
pub struct ReadMultimap<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    pages: &'t P,
    record: TreeRecord,
    order: PairOrder,
    types: Typed<K, V>,
}

impl<K: ?Sized, V: ?Sized, P> Clone for ReadMultimap<'_, K, V, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, V: ?Sized, P> Copy for ReadMultimap<'_, K, V, P> {}

impl<'t, K: ?Sized, V: ?Sized, P: Pages> ReadMultimap<'t, K, V, P> {
    pub(super) fn new(pages: &'t P, record: &TreeRecord, order: PairOrder) -> ReadMultimap<'t, K, V, P> {
        ReadMultimap { pages, record: *record, order, types: PhantomData }
    }

    /// The tree, to go through.
    pub(super) fn tree(&self) -> Tree<'t, P, KeyOrder> {
        Tree::in_order(self.pages, &self.record, self.order.keys)
    }

    /// The tree, to look for keys: not in an order that is not at hand.
    pub(super) fn comparing(&self) -> Result<Tree<'t, P, KeyOrder>> {
        if self.order.keys.is_at_hand() { Ok(self.tree()) } else { Err(Error::OrderMissing) }
    }

    /// The tree, to look for pairs: not in orders that are not both at hand.
    pub(super) fn comparing_pairs(&self) -> Result<Tree<'t, P, KeyOrder>> {
        if self.order.is_at_hand() { Ok(self.tree()) } else { Err(Error::OrderMissing) }
    }

    /// The pairs between two bounds.
    pub(super) fn between(
        &self,
        low: Bound<PairBound<'_>>,
        high: Bound<PairBound<'_>>,
    ) -> Result<dup::PairRange<'t, P>> {
        dup::PairRange::new(self.comparing_pairs()?, self.order.duplicates, low, high)
    }

    /// A cursor to go along the pairs by.
    pub(super) fn pairs(&self) -> dup::PairCursor<'t, P> {
        dup::PairCursor::new(self.tree(), self.order.duplicates)
    }

    /// The order of the keys. Cost: none.
    pub fn order(&self) -> KeyOrder {
        self.order.keys
    }

    /// What the duplicates are: their order and their length. Cost: none.
    pub fn duplicates(&self) -> Duplicates {
        Duplicates::of(self.record.duplicates.unwrap_or_default(), self.order.duplicates)
    }

    /// How many pairs there are. Cost: none.
    pub fn len(&self) -> u64 {
        self.record.entries
    }

    /// Whether there is no pair. Cost: none.
    pub fn is_empty(&self) -> bool {
        self.record.entries == 0
    }

    /// The size of the multimap: its entries are pairs, its overflow pages those of the trees of duplicates. Cost: none.
    pub fn stat(&self) -> TableStat {
        TableStat::of(&self.record)
    }
}

impl<'t, K: Key + ?Sized, V: Key + ?Sized, P: Pages> ReadMultimap<'t, K, V, P> {
    /// The duplicates of `key`, in order; none if there is no such key.
    pub fn get(&self, key: &K) -> Result<Values<'t, V, P>> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| {
            let all = Bound::Included(PairBound::of_key(key));
            dup::PairRange::new(self.comparing()?, self.order.duplicates, all, all)
        })
        .map(Values::new)
    }

    /// Whether `key` has any duplicate.
    pub fn contains_key(&self, key: &K) -> Result<bool> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| self.comparing()?.contains(key))
    }

    /// Whether this pair is there.
    pub fn contains(&self, key: &K, value: &V) -> Result<bool> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| V::with_bytes(value, |value| dup::contains(self.comparing_pairs()?, self.order.duplicates, key, value)))
    }

    /// How many duplicates `key` has. Cost: one descent of the keys, however many they are.
    pub fn count_of(&self, key: &K) -> Result<u64> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| dup::count_of(self.comparing()?, key))
    }

    /// The first duplicate of `key`.
    pub fn first_of(&self, key: &K) -> Result<Option<V::Item<'t>>> {
        self.get(key)?.next().transpose()
    }

    /// The last duplicate of `key`.
    pub fn last_of(&self, key: &K) -> Result<Option<V::Item<'t>>> {
        self.get(key)?.next_back().transpose()
    }

    /// The duplicates of `key` as bytes, in slices of the map: a page of them at a time if they have one length, one behind the
    /// other, else one by one. Each slice begins at a multiple of 8 bytes if they have one length, so numbers in it are read in
    /// place (`bytemuck::cast_slice`).
    pub fn chunks(&self, key: &K) -> Result<Chunks<'t, P>> {
        self.pages.count_gets(1);
        let mut cursor = dup::PairCursor::new(self.comparing()?, self.order.duplicates);
        K::with_bytes(key, |key| cursor.seek_key(key))?;
        cursor.chunks().map(Chunks::new)
    }

    /// The duplicates of `key`, a page of them at a time, as slices of the map: if they all have `N` bytes. At 4 KiB a page and 8
    /// bytes each that is 508 duplicates for a page touch, and nothing is copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Multimap};
    /// const POSTINGS: Multimap<'static, str, u64> = Multimap::new("postings");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("p.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.open_multimap(&POSTINGS)?.insert_all("maple", (0..10_000u64).map(|n| 3 * n))?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// let mut sum = 0;
    /// for page in txn.multimap(&POSTINGS)?.arrays::<8>("maple")? {
    ///     sum += page?.iter().map(|bytes| u64::from_be_bytes(*bytes)).sum::<u64>();
    /// }
    /// assert_eq!(sum, (0..10_000u64).map(|n| 3 * n).sum());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::DuplicateLength`] if they are of another length, or of any.
    pub fn arrays<const N: usize>(&self, key: &K) -> Result<Arrays<'t, N, P>> {
        let len = self.record.duplicates.map_or(0, |duplicates| usize::from(duplicates.len));
        if len != N || N == 0 {
            return Err(Error::DuplicateLength { len: N, expected: len });
        }
        self.chunks(key).map(Arrays::new)
    }

    /// A cursor, at no pair yet.
    pub fn cursor(&self) -> PairCursor<'t, K, V, P> {
        PairCursor::new(self.pairs())
    }

    /// The first pair.
    pub fn first(&self) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().first()
    }

    /// The last pair.
    pub fn last(&self) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().last()
    }

    /// The last pair that is not greater than this one, be it of this key or of an earlier one.
    pub fn floor(&self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().floor(key, value)
    }

    /// The last pair that is less than this one.
    pub fn lower(&self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().lower(key, value)
    }

    /// The first pair that is not less than this one, be it of this key or of a later one.
    pub fn ceiling(&self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().ceiling(key, value)
    }

    /// The first pair that is greater than this one.
    pub fn higher(&self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().higher(key, value)
    }

    /// Every pair, in order.
    pub fn iter(&self) -> Result<PairRange<'t, K, V, P>> {
        dup::PairRange::all(self.tree()).map(PairRange::new)
    }

    /// The pairs whose keys lie between two bounds; none if they cross.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<PairRange<'t, K, V, P>>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| {
            dup::PairRange::new(self.comparing()?, self.order.duplicates, low.map(PairBound::of_key), high.map(PairBound::of_key))
        })
        .map(PairRange::new)
    }

    /// The pairs between two pairs; none if the bounds cross.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Multimap};
    /// # const WORDS: Multimap<'static, str, u32> = Multimap::new("words");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("w.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_multimap(&WORDS)?.insert(["ash", "oak"][n as usize % 2], &n)?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let words = txn.multimap(&WORDS)?;
    /// let pairs = words.range_pairs(("ash", &6)..=("oak", &3))?.collect::<mapledb::Result<Vec<_>>>()?;
    /// assert_eq!(pairs, [("ash", 6), ("ash", 8), ("oak", 1), ("oak", 3)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range_pairs<'k>(&self, bounds: impl RangeBounds<(&'k K, &'k V)>) -> Result<PairRange<'t, K, V, P>>
    where
        K: 'k,
        V: 'k,
    {
        with_pair_bound(bounds.start_bound(), |low| {
            with_pair_bound(bounds.end_bound(), |high| self.between(low, high))
        })
        .map(PairRange::new)
    }

    /// The gap before the first pair that `bound` lets in as the lower one of a range; the gap behind the last, if there is
    /// none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Multimap};
    /// # const WORDS: Multimap<'static, str, u32> = Multimap::new("words");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("w.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # txn.open_multimap(&WORDS)?.insert_all("ash", [3, 8])?;
    /// # txn.open_multimap(&WORDS)?.insert("oak", &1)?;
    /// # txn.commit()?;
    /// use std::ops::Bound;
    ///
    /// let txn = env.read()?;
    /// let words = txn.multimap(&WORDS)?;
    /// let mut gap = words.lower_bound(Bound::Excluded(("ash", &3)))?;
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (Some(("ash", 3)), Some(("ash", 8))));
    /// assert_eq!((gap.next()?, gap.next()?, gap.next()?), (Some(("ash", 8)), Some(("oak", 1)), None));
    /// assert_eq!(gap.prev()?, Some(("oak", 1)));
    /// assert_eq!(words.upper_bound(Bound::Included(("b", &0)))?.peek_prev()?, Some(("ash", 8)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn lower_bound(&self, bound: Bound<(&K, &V)>) -> Result<PairGapCursor<'t, K, V, P>> {
        let tree = self.comparing_pairs()?;
        with_pair_bound(bound.as_ref(), |bound| dup::PairGap::lower(tree, self.order.duplicates, bound)).map(PairGapCursor::new)
    }

    /// The gap behind the last pair that `bound` lets in as the upper one of a range; the gap before the first, if there is
    /// none.
    pub fn upper_bound(&self, bound: Bound<(&K, &V)>) -> Result<PairGapCursor<'t, K, V, P>> {
        let tree = self.comparing_pairs()?;
        with_pair_bound(bound.as_ref(), |bound| dup::PairGap::upper(tree, self.order.duplicates, bound)).map(PairGapCursor::new)
    }

    /// How many pairs have keys between two bounds, exactly. Cost: two descents, however many they are.
    pub fn count<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        Ok(self.range(bounds)?.remaining())
    }

    /// How many pairs are less than this one.
    pub fn rank(&self, key: &K, value: &V) -> Result<u64> {
        let mut cursor = dup::PairCursor::new(self.comparing_pairs()?, self.order.duplicates);
        K::with_bytes(key, |key| V::with_bytes(value, |value| cursor.seek_from(PairBound::of(key, value), true).map(drop)))?;
        cursor.rank()
    }

    /// The pair that has `n` before it.
    pub fn nth(&self, n: u64) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.pairs().seek_nth(n)?)
    }

    /// Every key once, in order, from either end. Cost: a slot a key; of a tree of duplicates the path to its first, or from the
    /// back to its last.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = Result<K::Item<'t>>> + use<'t, K, V, P> {
        Keys::<K, P>::new(self.pairs(), self.pairs())
    }

    /// The pairs whose key, as bytes, begins with `prefix`. Cost: two descents, then a slot a pair.
    ///
    /// # Errors
    /// [`Error::PrefixOutOfOrder`] if the keys are not in bytewise order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<PairRange<'t, K, V, P>> {
        if self.order.keys != KeyOrder::BYTEWISE {
            return Err(Error::PrefixOutOfOrder { order: self.order.keys.name().to_string() });
        }
        let low = Bound::Included(PairBound::of_key(prefix.as_ref()));
        let after = after_prefix(prefix.as_ref());
        let high = after.as_deref().map_or(Bound::Unbounded, |after| Bound::Excluded(PairBound::of_key(after)));
        dup::PairRange::new(self.tree(), self.order.duplicates, low, high).map(PairRange::new)
    }

    /// The pairs whose keys have these first parts, in order: of a multimap whose keys are tuples, by a tuple of fewer parts. Text and
    /// bytes may be borrowed. Cost and errors: as [`prefix`](ReadMultimap::prefix).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Multimap};
    /// const VISITS: Multimap<'static, (String, u32), str> = Multimap::new("visits");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("v.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut visits = txn.open_multimap(&VISITS)?;
    /// visits.insert_all(&("ada".into(), 1843), ["London", "Turin"])?;
    /// visits.insert(&("ada".into(), 1844), "Paris")?;
    /// visits.insert(&("adam".into(), 1843), "Rome")?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// let visits = txn.multimap(&VISITS)?;
    /// let places = visits.prefix_parts(&("ada",))?.map(|pair| Ok(pair?.1));
    /// assert_eq!(places.collect::<mapledb::Result<Vec<_>>>()?, ["London", "Turin", "Paris"]);
    /// assert_eq!(visits.keys().next_back().transpose()?.map(|(name, _)| name), Some("adam".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix_parts<Q: Prefix<K>>(&self, parts: &Q) -> Result<PairRange<'t, K, V, P>> {
        self.prefix(parts.prefix_bytes())
    }
}

pub(super) fn with_pair_bound<K: Key + ?Sized, V: Key + ?Sized, R>(
    bound: Bound<&(&K, &V)>,
    act: impl FnOnce(Bound<PairBound<'_>>) -> Result<R>,
) -> Result<R> {
    match bound {
        Bound::Unbounded => act(Bound::Unbounded),
        Bound::Included((key, value)) => {
            K::with_bytes(key, |key| V::with_bytes(value, |value| act(Bound::Included(PairBound::of(key, value)))))
        }
        Bound::Excluded((key, value)) => {
            K::with_bytes(key, |key| V::with_bytes(value, |value| act(Bound::Excluded(PairBound::of(key, value)))))
        }
    }
}
