//! A table to change.

use std::marker::PhantomData;
use std::ops::RangeBounds;

use super::codec::{Codec, Key, Typed};
use super::cursor::{Cursor, Item, Range};
use super::read_table::{ReadTable, TableStat, with_bounds};
use crate::error::{Error, Result};
use crate::space::Draft;
use crate::tree::{Appender, KeyOrder, Value, in_its_order};
use crate::txn::{TableId, WriteTxn};

/// Changes the tree of a table: by code of its own for the bytewise order.
macro_rules! change {
    ($table:expr, |$tree:ident| $act:expr) => {
        in_its_order!($table.order, order => $table.txn.change($table.table, order, |$tree| $act))
    };
}

/// A table of a write transaction. What it reads is the table as the transaction has changed it so far.
///
/// Unless said otherwise a change costs one descent that copies one page a level, each page once in a transaction. An
/// error about arguments ([`Error::KeyTooLong`], [`Error::NotSorted`]) changes nothing; after any other the transaction
/// is unusable.
pub struct WriteTable<'t, K: ?Sized, V: ?Sized> {
    txn: &'t mut WriteTxn,
    table: TableId,
    order: KeyOrder,
    types: Typed<K, V>,
}

impl<'t, K: ?Sized, V: ?Sized> WriteTable<'t, K, V> {
    pub(super) fn new(txn: &'t mut WriteTxn, table: TableId, order: KeyOrder) -> WriteTable<'t, K, V> {
        WriteTable { txn, table, order, types: PhantomData }
    }

    /// Refuses to look for keys in an order that is not at hand.
    fn check_order(&self) -> Result<()> {
        if self.order.is_at_hand() { Ok(()) } else { Err(Error::OrderMissing) }
    }

    /// The order of the table's keys. Cost: none.
    pub fn order(&self) -> KeyOrder {
        self.order
    }

    /// How many entries the table has.
    pub fn len(&self) -> u64 {
        self.txn.record(self.table).entries
    }

    /// Whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the table.
    pub fn stat(&self) -> TableStat {
        TableStat::of(self.txn.record(self.table))
    }

    /// Takes everything out. Cost: a page read for each page freed.
    pub fn clear(&mut self) -> Result<()> {
        change!(self, |tree| tree.clear())
    }

    /// Takes `count` numbers of the table's sequence, which begins at 0; answers the first. They are given out once
    /// if the transaction commits.
    pub fn next_sequence(&mut self, count: u64) -> Result<u64> {
        self.txn.take_sequence(self.table, count)
    }
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized> WriteTable<'t, K, V> {
    /// The table as it stands, with every way of reading.
    pub fn reading(&self) -> Result<ReadTable<'_, K, V, Draft>> {
        let (pages, record) = self.txn.reading(self.table)?;
        Ok(ReadTable::new(pages, record, self.order))
    }

    /// Stores `value` under `key`, replacing what is there.
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        self.check_order()?;
        K::with_bytes(key, |key| {
            V::with_bytes(value, |value| change!(self, |tree| tree.put(key, Value::Bytes(value)).map(|_| ())))
        })
    }

    /// Stores `value` under `key` unless there is one; answers whether it did. Cost: two descents.
    pub fn put_new(&mut self, key: &K, value: &V) -> Result<bool> {
        if self.contains(key)? {
            return Ok(false);
        }
        self.put(key, value).map(|()| true)
    }

    /// Stores `value` under `key`; answers the bytes of what was there. Cost: two descents.
    pub fn replace(&mut self, key: &K, value: &V) -> Result<Option<Vec<u8>>> {
        let old = K::with_bytes(key, |key| Ok(self.reading()?.get_bytes(key)?.map(<[u8]>::to_vec)))?;
        self.put(key, value)?;
        Ok(old)
    }

    /// Stores `new` under `key`, or takes the key out if `new` is `None`, if what is there is `expected`; answers
    /// whether it was. Cost: two descents.
    pub fn compare_and_set(&mut self, key: &K, expected: Option<&V>, new: Option<&V>) -> Result<bool> {
        let is_expected = K::with_bytes(key, |key| {
            let found = self.reading()?.get_bytes(key)?;
            match expected {
                Some(expected) => V::with_bytes(expected, |expected| Ok(found == Some(expected))),
                None => Ok(found.is_none()),
            }
        })?;
        if is_expected {
            match new {
                Some(new) => self.put(key, new)?,
                None => drop(self.delete(key)?),
            }
        }
        Ok(is_expected)
    }

    /// Makes room for a value of `len` bytes under `key` and lets `fill` write it in place; it is zero before. The
    /// value must be one of the table's type.
    pub fn reserve(&mut self, key: &K, len: u64, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        self.check_order()?;
        K::with_bytes(key, |key| {
            change!(self, |tree| {
                let (_, place) = tree.put(key, Value::Reserved(len))?;
                fill(tree.own_bytes(&place)?);
                Ok(())
            })
        })
    }

    /// Takes `key` out; answers whether it was there. A key that is not there copies no page.
    pub fn delete(&mut self, key: &K) -> Result<bool> {
        self.check_order()?;
        K::with_bytes(key, |key| change!(self, |tree| tree.delete(key)))
    }

    /// Takes everything between two bounds out; answers how many entries went. Cost: two paths copied, and a page read
    /// for each page freed; subtrees are cut whole.
    pub fn delete_range<'k>(&mut self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        self.check_order()?;
        with_bounds(bounds, |low, high| change!(self, |tree| tree.delete_range(low, high)))
    }

    /// Takes out every entry that `keep` is false for; answers how many went. An entry that does not decode is kept and
    /// is the error of the call. Cost: every page read, those that lose something copied.
    pub fn retain(&mut self, mut keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool) -> Result<u64> {
        let mut fault = None;
        let gone = change!(self, |tree| {
            tree.retain(|key, value| match (K::decode(key), V::decode(value)) {
                (Ok(key), Ok(value)) => keep(key, value),
                (Err(error), _) | (_, Err(error)) => {
                    fault.get_or_insert(error);
                    true
                }
            })
        })?;
        match fault {
            None => Ok(gone),
            Some(error) => Err(error),
        }
    }

    /// Stores `value` under `key`, which must be greater than every key of the table; pages are filled to the end.
    ///
    /// # Errors
    /// [`Error::NotSorted`], which changes nothing.
    pub fn append(&mut self, key: &K, value: &V) -> Result<()> {
        self.check_order()?;
        K::with_bytes(key, |key| {
            V::with_bytes(value, |value| {
                self.txn.lay_down();
                change!(self, |tree| tree.put_last(key, value))
            })
        })
    }

    /// Appends pairs in key order, all greater than every key of the table; answers how many. Much faster than
    /// [`WriteTable::append`]: nothing is searched, and pages are filled to the end.
    ///
    /// # Errors
    /// [`Error::NotSorted`] at the first pair out of order, or the first error of `pairs`; those before it are stored.
    pub fn load_sorted<Kb: AsRef<[u8]>, Vb: AsRef<[u8]>>(
        &mut self,
        pairs: impl IntoIterator<Item = Result<(Kb, Vb)>>,
    ) -> Result<u64> {
        self.check_order()?;
        let mut stored = 0;
        let mut fault = None;
        self.txn.lay_down();
        change!(self, |tree| {
            let mut appender = Appender::new(tree)?;
            for pair in pairs {
                let pushed = pair.and_then(|(key, value)| appender.push(key.as_ref(), value.as_ref()));
                match pushed {
                    Ok(()) => stored += 1,
                    Err(error) => {
                        fault = Some(error);
                        break;
                    }
                }
            }
            match fault.take_if(|error| !error.is_about_arguments() && !matches!(error, Error::Input { .. })) {
                Some(error) => Err(error),
                None => appender.finish(),
            }
        })?;
        match fault {
            None => Ok(stored),
            Some(error) => Err(error),
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Result<Option<V::Item<'_>>> {
        self.reading()?.get(key)
    }

    /// As [`ReadTable::multi_get`].
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
}
