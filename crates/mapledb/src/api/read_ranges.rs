//! Ranges of a table that is read: gone through, counted, placed, and looked at from a gap.

use std::ops::{Bound, RangeBounds};

use super::ReadTable;
use super::codec::{Codec, Key};
use super::cursor::{Item, Range, decode};
use super::gap::{self, GapCursor};
use super::read_table::{with_bound, with_bounds};
use super::tuple::Prefix;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{self, KeyOrder};

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> ReadTable<'t, K, V, P> {
    /// Every entry, in order.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// for entry in squares.iter()? {
    ///     let (n, square) = entry?;
    ///     assert_eq!(n * n, square);
    /// }
    /// assert_eq!(squares.iter()?.rev().next().transpose()?, Some((9, 81)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> Result<Range<'t, K, V, P>> {
        tree::Range::new(self.tree(), Bound::Unbounded, Bound::Unbounded).map(Range::new)
    }

    /// The entries between two bounds; none if they cross. Cost: a descent for each bound, then a slot and a cell an
    /// entry.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u64> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..100u32 { txn.open_table(&SQUARES)?.put(&n, &(u64::from(n) * u64::from(n)))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// let mut found = Vec::new();
    /// for entry in squares.range(&3..&6)?.rev() {
    ///     let (_, square) = entry?;
    ///     found.push(square);
    /// }
    /// assert_eq!(found, [25, 16, 9]);
    /// assert_eq!(squares.count(&10..)?, 90);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<Range<'t, K, V, P>>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| tree::Range::new(self.comparing()?, low, high)).map(Range::new)
    }

    /// The gap before the first entry that `bound` lets in as the lower one of a range; the gap behind the last, if there is
    /// none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use std::ops::Bound;
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u32> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let mut gap = txn.table(&SQUARES)?.lower_bound(Bound::Included(&4))?;
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (Some((3, 9)), Some((4, 16))));
    /// assert_eq!((gap.next()?, gap.next()?), (Some((4, 16)), Some((5, 25))));
    /// assert_eq!(gap.prev()?, Some((5, 25)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn lower_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'t, K, V, P>> {
        with_bound(bound.as_ref(), |bound| gap::lower(self.comparing()?, bound)).map(GapCursor::new)
    }

    /// The gap behind the last entry that `bound` lets in as the upper one of a range; the gap before the first, if there is
    /// none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// use std::ops::Bound;
    ///
    /// let mut gap = squares.upper_bound(Bound::Included(&4))?;
    /// assert_eq!(gap.peek_prev()?, Some((4, 16)));
    /// assert_eq!(squares.upper_bound(Bound::Excluded(&4))?.peek_prev()?, Some((3, 9)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn upper_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'t, K, V, P>> {
        with_bound(bound.as_ref(), |bound| gap::upper(self.comparing()?, bound)).map(GapCursor::new)
    }

    /// How many entries lie between two bounds, exactly. Cost: two descents, however many they are.
    pub fn count<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| self.comparing()?.count(low, high))
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
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// assert_eq!((squares.count(&2..&6)?, squares.count(..)?), (4, 10));
    /// assert_eq!((squares.rank(&6)?, squares.rank(&1000)?), (6, 10)); // whether the key is there or not
    /// # Ok(())
    /// # }
    /// ```
    pub fn rank(&self, key: &K) -> Result<u64> {
        K::with_bytes(key, |key| self.comparing()?.rank(key))
    }

    /// The entry that has `n` entries before it.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// let median = squares.nth(squares.len() / 2)?;
    /// assert_eq!((median, squares.nth(10)?), (Some((5, 25)), None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn nth(&self, n: u64) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(tree::Cursor::new(self.tree()).seek_nth(n)?)
    }

    /// The entries whose keys have these first parts, in order: of a table whose keys are tuples, by a tuple of fewer parts.
    /// Text and bytes may be borrowed. Cost: two descents, then a slot and a cell an entry.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// const VISITS: Table<'static, (String, u32, u8), str> = Table::new("visits");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("v.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut visits = txn.open_table(&VISITS)?;
    /// visits.put(&("ada".into(), 1843, 7), "London")?;
    /// visits.put(&("ada".into(), 1843, 9), "Turin")?;
    /// visits.put(&("ada".into(), 1844, 1), "Paris")?;
    /// visits.put(&("adam".into(), 1843, 7), "Rome")?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// let visits = txn.table(&VISITS)?;
    /// let places = visits.prefix_parts(&("ada", 1843))?.map(|entry| Ok(entry?.1));
    /// assert_eq!(places.collect::<mapledb::Result<Vec<_>>>()?, ["London", "Turin"]);
    /// assert_eq!(visits.prefix_parts(&("ada",))?.remaining()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix_parts<Q: Prefix<K>>(&self, parts: &Q) -> Result<Range<'t, K, V, P>> {
        self.prefix(parts.prefix_bytes())
    }

    /// Every key, in order, from either end; no value is looked at. Cost: as [`iter`](ReadTable::iter).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// let odd = squares.keys()?.filter(|key| key.as_ref().is_ok_and(|key| key % 2 == 1));
    /// assert_eq!(odd.count(), 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keys(&self) -> Result<impl DoubleEndedIterator<Item = Result<K::Item<'t>>> + use<'t, K, V, P>> {
        Ok(self.lazily().iter()?.map(|entry| entry.map(|(key, _)| key)))
    }

    /// The entries whose key, as bytes, begins with `prefix`.
    ///
    /// # Errors
    /// [`Error::PrefixOutOfOrder`] if the table is not in bytewise order.
    ///
    /// Cost: two descents, then a slot and a cell an entry.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// for name in ["pear", "pears", "plum"] {
    ///     stock.put(name, &1)?;
    /// }
    /// let stock = stock.reading()?;
    /// assert_eq!((stock.prefix("pear")?.remaining()?, stock.prefix("")?.remaining()?), (2, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range<'t, K, V, P>> {
        if self.order() != KeyOrder::BYTEWISE {
            return Err(Error::PrefixOutOfOrder { order: self.order().name().to_string() });
        }
        let prefix = prefix.as_ref();
        let after = after_prefix(prefix);
        let high = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        tree::Range::new(self.tree(), Bound::Included(prefix), high).map(Range::new)
    }
}

/// The smallest key after all that begin with `prefix`; `None` if there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 255)?;
    let mut after = prefix.get(..=last)?.to_vec();
    *after.last_mut()? += 1;
    Some(after)
}
