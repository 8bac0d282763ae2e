//! What a multimap of a write transaction reads: itself, as the transaction has changed it so far.

use std::ops::{Bound, RangeBounds};

use super::WriteMultimap;
use super::codec::Key;
use super::cursor::Item;
use super::pair_cursor::{Arrays, Chunks, PairCursor, PairRange, Values};
use super::pair_gap::PairGapCursor;
use super::tuple::Prefix;
use crate::error::Result;
use crate::space::Draft;

/// Each is what [`reading`](WriteMultimap::reading) answers, at the cost that [`ReadMultimap`](super::ReadMultimap) states; what they answer
/// borrows the multimap, so it is not changed meanwhile.
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
///
/// // What has been put so far, though nothing is committed.
/// assert_eq!(tags.get("red")?.collect::<mapledb::Result<Vec<_>>>()?, [1, 3, 5]);
/// assert_eq!((tags.first_of("red")?, tags.last_of("red")?, tags.count_of("red")?), (Some(1), Some(5), 3));
/// assert!(tags.contains("tan", &4)? && !tags.contains_key("teal")?);
/// assert_eq!((tags.first()?, tags.last()?), (Some(("red", 1)), Some(("tan", 4))));
/// assert_eq!((tags.floor("tan", &3)?, tags.lower("tan", &2)?), (Some(("tan", 2)), Some(("red", 5))));
/// assert_eq!((tags.ceiling("red", &2)?, tags.higher("red", &5)?), (Some(("red", 3)), Some(("tan", 2))));
/// assert_eq!((tags.count("s"..)?, tags.rank("tan", &4)?, tags.nth(3)?), (2, 4, Some(("tan", 2))));
/// assert_eq!((tags.iter()?.count(), tags.range(.."s")?.remaining(), tags.prefix("t")?.remaining()), (5, 3, 2));
/// assert_eq!(tags.range_pairs(("red", &5)..)?.remaining(), 3);
/// assert_eq!(tags.keys()?.collect::<mapledb::Result<Vec<_>>>()?, ["red", "tan"]);
/// assert_eq!((tags.chunks("red")?.count(), tags.arrays::<4>("red")?.count()), (1, 1));
/// assert_eq!(tags.cursor()?.seek_key("tan")?, Some(("tan", 2)));
/// # Ok(())
/// # }
/// ```
impl<K: Key + ?Sized, V: Key + ?Sized> WriteMultimap<'_, K, V> {
    /// The duplicates of `key`, in order; none if there is no such key.
    pub fn get(&self, key: &K) -> Result<Values<'_, V, Draft>> {
        self.reading()?.get(key)
    }

    /// Whether `key` has any duplicate.
    pub fn contains_key(&self, key: &K) -> Result<bool> {
        self.reading()?.contains_key(key)
    }

    /// Whether this pair is there.
    pub fn contains(&self, key: &K, value: &V) -> Result<bool> {
        self.reading()?.contains(key, value)
    }

    /// How many duplicates `key` has.
    pub fn count_of(&self, key: &K) -> Result<u64> {
        self.reading()?.count_of(key)
    }

    /// The first duplicate of `key`.
    pub fn first_of(&self, key: &K) -> Result<Option<V::Item<'_>>> {
        self.reading()?.first_of(key)
    }

    /// The last duplicate of `key`.
    pub fn last_of(&self, key: &K) -> Result<Option<V::Item<'_>>> {
        self.reading()?.last_of(key)
    }

    /// As [`ReadMultimap::chunks`](super::ReadMultimap::chunks).
    pub fn chunks(&self, key: &K) -> Result<Chunks<'_, Draft>> {
        self.reading()?.chunks(key)
    }

    /// As [`ReadMultimap::arrays`](super::ReadMultimap::arrays).
    pub fn arrays<const N: usize>(&self, key: &K) -> Result<Arrays<'_, N, Draft>> {
        self.reading()?.arrays(key)
    }

    /// The first pair.
    pub fn first(&self) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.first()
    }

    /// The last pair.
    pub fn last(&self) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.last()
    }

    /// The last pair that is not greater than this one.
    pub fn floor(&self, key: &K, value: &V) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.floor(key, value)
    }

    /// The last pair that is less than this one.
    pub fn lower(&self, key: &K, value: &V) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.lower(key, value)
    }

    /// The first pair that is not less than this one.
    pub fn ceiling(&self, key: &K, value: &V) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.ceiling(key, value)
    }

    /// The first pair that is greater than this one.
    pub fn higher(&self, key: &K, value: &V) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.higher(key, value)
    }

    /// Every pair, in order.
    pub fn iter(&self) -> Result<PairRange<'_, K, V, Draft>> {
        self.reading()?.iter()
    }

    /// The pairs whose keys lie between two bounds.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<PairRange<'_, K, V, Draft>>
    where
        K: 'k,
    {
        self.reading()?.range(bounds)
    }

    /// The pairs between two pairs.
    pub fn range_pairs<'k>(&self, bounds: impl RangeBounds<(&'k K, &'k V)>) -> Result<PairRange<'_, K, V, Draft>>
    where
        K: 'k,
        V: 'k,
    {
        self.reading()?.range_pairs(bounds)
    }

    /// A cursor, at no pair yet.
    pub fn cursor(&self) -> Result<PairCursor<'_, K, V, Draft>> {
        Ok(self.reading()?.cursor())
    }

    /// How many pairs have keys between two bounds.
    pub fn count<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        self.reading()?.count(bounds)
    }

    /// How many pairs are less than this one.
    pub fn rank(&self, key: &K, value: &V) -> Result<u64> {
        self.reading()?.rank(key, value)
    }

    /// The pair that has `n` before it.
    pub fn nth(&self, n: u64) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.nth(n)
    }

    /// Every key once, in order, from either end.
    pub fn keys(&self) -> Result<impl DoubleEndedIterator<Item = Result<K::Item<'_>>>> {
        Ok(self.reading()?.keys())
    }

    /// As [`ReadMultimap::prefix`](super::ReadMultimap::prefix).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<PairRange<'_, K, V, Draft>> {
        self.reading()?.prefix(prefix)
    }

    /// As [`ReadMultimap::prefix_parts`](super::ReadMultimap::prefix_parts).
    pub fn prefix_parts<Q: Prefix<K>>(&self, parts: &Q) -> Result<PairRange<'_, K, V, Draft>> {
        self.reading()?.prefix_parts(parts)
    }

    /// As [`ReadMultimap::lower_bound`](super::ReadMultimap::lower_bound).
    pub fn lower_bound(&self, bound: Bound<(&K, &V)>) -> Result<PairGapCursor<'_, K, V, Draft>> {
        self.reading()?.lower_bound(bound)
    }

    /// As [`ReadMultimap::upper_bound`](super::ReadMultimap::upper_bound).
    pub fn upper_bound(&self, bound: Bound<(&K, &V)>) -> Result<PairGapCursor<'_, K, V, Draft>> {
        self.reading()?.upper_bound(bound)
    }
}
