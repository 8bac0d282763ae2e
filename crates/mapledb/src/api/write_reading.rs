//! What a table of a write transaction reads: itself, as the transaction has changed it so far.

use std::ops::{Bound, RangeBounds};

use super::codec::{Codec, Key};
use super::cursor::{Cursor, Item, Range};
use super::gap::GapCursor;
use super::tuple::Prefix;
use super::WriteTable;
use crate::error::Result;
use crate::space::Draft;

/// Everything else a table is asked is in [`reading`](WriteTable::reading).
impl<K: Key + ?Sized, V: Codec + ?Sized> WriteTable<'_, K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Result<Option<V::Item<'_>>> {
        self.reading()?.get(key)
    }

    /// As [`ReadTable::multi_get`](super::ReadTable::multi_get).
    pub fn multi_get<'k>(&self, keys: impl IntoIterator<Item = &'k K>) -> Result<Vec<Option<V::Item<'_>>>>
    where
        K: 'k,
    {
        self.reading()?.multi_get(keys)
    }

    /// Whether the table holds `key`.
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.reading()?.contains(key)
    }

    /// The first entry.
    pub fn first(&self) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.first()
    }

    /// The last entry.
    pub fn last(&self) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.last()
    }

    /// The last entry whose key is not greater than `key`.
    pub fn floor(&self, key: &K) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.floor(key)
    }

    /// The first entry whose key is not less than `key`.
    pub fn ceiling(&self, key: &K) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.ceiling(key)
    }

    /// Every entry, in order.
    pub fn iter(&self) -> Result<Range<'_, K, V, Draft>> {
        self.reading()?.iter()
    }

    /// The entries between two bounds.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<Range<'_, K, V, Draft>>
    where
        K: 'k,
    {
        self.reading()?.range(bounds)
    }

    /// A cursor, at no entry yet.
    pub fn cursor(&self) -> Result<Cursor<'_, K, V, Draft>> {
        Ok(self.reading()?.cursor())
    }

    /// How many entries lie between two bounds.
    pub fn count<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        self.reading()?.count(bounds)
    }

    /// The last entry whose key is less than `key`.
    pub fn lower(&self, key: &K) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.lower(key)
    }

    /// The first entry whose key is greater than `key`.
    pub fn higher(&self, key: &K) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.higher(key)
    }

    /// The entry that has `n` entries before it.
    pub fn nth(&self, n: u64) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.nth(n)
    }

    /// How many keys are less than `key`.
    pub fn rank(&self, key: &K) -> Result<u64> {
        self.reading()?.rank(key)
    }

    /// Every key, in order.
    pub fn keys(&self) -> Result<impl DoubleEndedIterator<Item = Result<K::Item<'_>>>> {
        self.reading()?.keys()
    }

    /// As [`ReadTable::prefix`](super::ReadTable::prefix).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range<'_, K, V, Draft>> {
        self.reading()?.prefix(prefix)
    }

    /// As [`ReadTable::prefix_parts`](super::ReadTable::prefix_parts).
    pub fn prefix_parts<Q: Prefix<K>>(&self, parts: &Q) -> Result<Range<'_, K, V, Draft>> {
        self.reading()?.prefix_parts(parts)
    }

    /// As [`ReadTable::lower_bound`](super::ReadTable::lower_bound).
    pub fn lower_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'_, K, V, Draft>> {
        self.reading()?.lower_bound(bound)
    }

    /// As [`ReadTable::upper_bound`](super::ReadTable::upper_bound).
    pub fn upper_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'_, K, V, Draft>> {
        self.reading()?.upper_bound(bound)
    }
}
