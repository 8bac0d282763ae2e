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
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.put(&3, &0)?;
    /// assert_eq!((squares.get(&3)?, squares.contains(&10)?), (Some(0), false));
    /// assert_eq!(squares.multi_get(&[9, 3, 10])?, [Some(81), Some(0), None]);
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.delete_range(&4..&7)?;
    /// assert_eq!((squares.floor(&5)?, squares.ceiling(&5)?), (Some((3, 9)), Some((7, 49))));
    /// assert_eq!((squares.lower(&7)?, squares.higher(&3)?), (Some((3, 9)), Some((7, 49))));
    /// assert_eq!((squares.first()?, squares.last()?), (Some((0, 0)), Some((9, 81))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ceiling(&self, key: &K) -> Result<Option<Item<'_, K, V>>> {
        self.reading()?.ceiling(key)
    }

    /// Every entry, in order.
    pub fn iter(&self) -> Result<Range<'_, K, V, Draft>> {
        self.reading()?.iter()
    }

    /// The entries between two bounds.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.put(&4, &0)?;
    /// let some = squares.range(&3..&6)?.collect::<mapledb::Result<Vec<_>>>()?;
    /// assert_eq!(some, [(3, 9), (4, 0), (5, 25)]);
    /// assert_eq!(squares.iter()?.remaining()?, 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<Range<'_, K, V, Draft>>
    where
        K: 'k,
    {
        self.reading()?.range(bounds)
    }

    /// A cursor, at no entry yet.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.delete(&1)?;
    /// let mut cursor = squares.cursor()?;
    /// assert_eq!((cursor.next()?, cursor.next()?), (Some((0, 0)), Some((2, 4))));
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.delete(&0)?;
    /// assert_eq!((squares.count(..&5)?, squares.rank(&5)?, squares.nth(0)?), (4, 4, Some((1, 1))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rank(&self, key: &K) -> Result<u64> {
        self.reading()?.rank(key)
    }

    /// Every key, in order.
    pub fn keys(&self) -> Result<impl DoubleEndedIterator<Item = Result<K::Item<'_>>>> {
        self.reading()?.keys()
    }

    /// As [`ReadTable::prefix`](super::ReadTable::prefix).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// stock.put("pears", &3)?;
    /// stock.put("plums", &6)?;
    /// assert_eq!((stock.prefix("p")?.remaining()?, stock.prefix("pl")?.remaining()?), (2, 1));
    /// assert_eq!(stock.keys()?.next().transpose()?, Some("pears"));
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// use std::ops::Bound;
    ///
    /// squares.delete(&5)?;
    /// assert_eq!(squares.lower_bound(Bound::Included(&5))?.peek_next()?, Some((6, 36)));
    /// assert_eq!(squares.upper_bound(Bound::Included(&5))?.peek_prev()?, Some((4, 16)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn upper_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'_, K, V, Draft>> {
        self.reading()?.upper_bound(bound)
    }
}
