//! Cursors that stand between entries: to look either way, and to put sorted input where it belongs.
//!
//! As the standard library has them for its `BTreeMap`: a cursor lies in a gap, before the first entry, between two, or
//! behind the last.

use std::marker::PhantomData;
use std::ops::Bound;

use mapledb_format::order::Order;

use super::WriteTable;
use super::codec::{Codec, Key, Typed};
use super::cursor::{Item, decode};
use super::owned::Owned;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree;
use crate::txn::ReadTxn;

/// A gap between two entries of a table: of [`ReadTable::lower_bound`](super::ReadTable::lower_bound) and
/// [`upper_bound`](super::ReadTable::upper_bound).
///
/// Cost: a step is a slot and a cell, and at the end of a leaf the next one. Errors are those of
/// [`ReadTable`](super::ReadTable).
pub struct GapCursor<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: tree::Gap<'t, P>,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> GapCursor<'t, K, V, P> {
    pub(super) fn new(inner: tree::Gap<'t, P>) -> GapCursor<'t, K, V, P> {
        GapCursor { inner, types: PhantomData }
    }

    /// The entry behind the gap.
    pub fn peek_next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.peek_next()?)
    }

    /// The entry before the gap.
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
    /// let mut gap = squares.upper_bound(std::ops::Bound::Excluded(&1))?;
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (Some((0, 0)), Some((1, 1)))); // looking moves nothing
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_prev(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.peek_prev()?)
    }

    /// Goes over the entry behind the gap and answers it; stays at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next()?)
    }

    /// Goes back over the entry before the gap and answers it; stays at the beginning.
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
    /// let mut gap = squares.lower_bound(std::ops::Bound::Excluded(&8))?;
    /// assert_eq!((gap.next()?, gap.next()?), (Some((9, 81)), None));
    /// assert_eq!((gap.prev()?, gap.prev()?), (Some((9, 81)), Some((8, 64))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prev(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.previous()?)
    }
}

/// A gap between two entries of a table that is changed: of [`WriteTable::lower_bound_mut`] and
/// [`upper_bound_mut`](WriteTable::upper_bound_mut).
///
/// It knows the keys on both sides, so sorted input is put in by one descent for each entry and nothing is searched twice; a
/// key that does not belong into the gap is refused and changes nothing. Errors are otherwise those of [`WriteTable`].
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use std::ops::Bound;
///
/// use mapledb::{Env, Error, Table};
///
/// const PRIMES: Table<'static, u32, str> = Table::new("primes");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("primes.maple")) }?;
/// let mut txn = env.write()?;
/// let mut primes = txn.open_table(&PRIMES)?;
/// primes.put(&2, "two")?;
/// primes.put(&11, "eleven")?;
///
/// let mut gap = primes.lower_bound_mut(Bound::Included(&3))?;
/// gap.insert_before(&3, "three")?;
/// gap.insert_before(&5, "five")?;
/// assert!(matches!(gap.insert_before(&13, "thirteen"), Err(Error::NotSorted)));
/// gap.insert_after(&7, "seven")?;
/// assert_eq!(gap.peek_prev()?, Some((5, "five")));
/// assert_eq!(gap.next()?, Some((7, "seven")));
/// assert_eq!(gap.remove_next()?.expect("eleven").0.get()?, 11);
/// assert_eq!(primes.reading()?.keys()?.collect::<mapledb::Result<Vec<_>>>()?, [2, 3, 5, 7]);
/// # Ok(())
/// # }
/// ```
pub struct GapCursorMut<'e, 't, K: ?Sized, V: ?Sized> {
    table: &'e mut WriteTable<'t, K, V>,
    below: Option<Vec<u8>>,
    above: Option<Vec<u8>>,
}

impl<'e, 't, K: Key + ?Sized, V: Codec + ?Sized> GapCursorMut<'e, 't, K, V> {
    /// The gap before the first entry that `bound` lets in, or behind the last one.
    pub(super) fn new(
        table: &'e mut WriteTable<'t, K, V>,
        find: impl FnOnce(tree::Tree<'_, crate::space::Draft, tree::KeyOrder>) -> Result<tree::Gap<'_, crate::space::Draft>>,
    ) -> Result<GapCursorMut<'e, 't, K, V>> {
        let mut gap = find(table.reading()?.comparing()?)?;
        let key = |pair: Option<(&[u8], &[u8])>| pair.map(|(key, _)| key.to_vec());
        let (below, above) = (key(gap.peek_prev()?), key(gap.peek_next()?));
        Ok(GapCursorMut { table, below, above })
    }

    /// The entry behind the gap. Cost: a descent.
    pub fn peek_next(&self) -> Result<Option<Item<'_, K, V>>> {
        self.entry(self.above.as_deref())
    }

    /// The entry before the gap. Cost: a descent.
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
    /// let gap = squares.lower_bound_mut(std::ops::Bound::Unbounded)?;
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (None, Some((0, 0))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_prev(&self) -> Result<Option<Item<'_, K, V>>> {
        self.entry(self.below.as_deref())
    }

    fn entry(&self, key: Option<&[u8]>) -> Result<Option<Item<'_, K, V>>> {
        match key {
            Some(key) => decode::<K, V>(self.table.reading()?.seek_bytes(key)?),
            None => Ok(None),
        }
    }

    /// Goes over the entry behind the gap and answers it; stays at the end. Cost: two descents.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'_, K, V>>> {
        let Some(over) = &self.above else { return Ok(None) };
        let above = self.neighbour(over, Side::Above)?;
        self.below = std::mem::replace(&mut self.above, above);
        self.peek_prev()
    }

    /// Goes back over the entry before the gap and answers it; stays at the beginning. Cost: two descents.
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
    /// let mut gap = squares.upper_bound_mut(std::ops::Bound::Included(&4))?;
    /// assert_eq!(gap.prev()?, Some((4, 16)));
    /// assert_eq!(gap.next()?, Some((4, 16)));
    /// assert_eq!(gap.peek_next()?, Some((5, 25)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prev(&mut self) -> Result<Option<Item<'_, K, V>>> {
        let Some(over) = &self.below else { return Ok(None) };
        let below = self.neighbour(over, Side::Below)?;
        self.above = std::mem::replace(&mut self.below, below);
        self.peek_next()
    }

    /// Puts an entry into the gap; the gap lies behind it then. Cost: a descent that copies as
    /// [`WriteTable::put`] does.
    ///
    /// # Errors
    /// [`Error::NotSorted`] if the key does not belong between its neighbours, which changes nothing.
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
    /// let mut gap = squares.upper_bound_mut(std::ops::Bound::Unbounded)?;
    /// for n in [10, 11, 12] {
    ///     gap.insert_before(&n, &(n * n))?;
    /// }
    /// assert!(matches!(gap.insert_before(&5, &25), Err(mapledb::Error::NotSorted)));
    /// assert_eq!(squares.len(), 13);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_before(&mut self, key: &K, value: &V) -> Result<()> {
        self.below = Some(self.insert(key, value)?);
        Ok(())
    }

    /// Puts an entry into the gap; the gap lies before it then. Cost and errors: as
    /// [`insert_before`](GapCursorMut::insert_before).
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
    /// squares.delete_range(&3..&6)?;
    /// let mut gap = squares.lower_bound_mut(std::ops::Bound::Included(&3))?;
    /// for n in [5, 4, 3] {
    ///     gap.insert_after(&n, &(n * n))?; // from the back to the front
    /// }
    /// assert_eq!(gap.peek_next()?, Some((3, 9)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_after(&mut self, key: &K, value: &V) -> Result<()> {
        self.above = Some(self.insert(key, value)?);
        Ok(())
    }

    fn insert(&mut self, key: &K, value: &V) -> Result<Vec<u8>> {
        K::with_bytes(key, |key| {
            let order = self.table.order();
            let follows = |below: &Vec<u8>| Order::compare(order, below, key).is_lt();
            let precedes = |above: &Vec<u8>| Order::compare(order, key, above).is_lt();
            if !self.below.as_ref().is_none_or(follows) || !self.above.as_ref().is_none_or(precedes) {
                return Err(Error::NotSorted);
            }
            V::with_bytes(value, |value| self.table.put_bytes(key, value))?;
            Ok(key.to_vec())
        })
    }

    /// Takes the entry behind the gap out and answers it. Cost: two descents.
    pub fn remove_next(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        let Some(key) = &self.above else { return Ok(None) };
        let above = self.neighbour(key, Side::Above)?;
        let taken = self.table.take_bytes(key)?;
        self.above = above;
        Ok(taken)
    }

    /// Takes the entry before the gap out and answers it. Cost: two descents.
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
    /// let mut gap = squares.lower_bound_mut(std::ops::Bound::Included(&5))?;
    /// assert_eq!(gap.remove_next()?.expect("it is there").1.get()?, 25);
    /// assert_eq!(gap.remove_prev()?.expect("it is there").1.get()?, 16);
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (Some((3, 9)), Some((6, 36))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_prev(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        let Some(key) = &self.below else { return Ok(None) };
        let below = self.neighbour(key, Side::Below)?;
        let taken = self.table.take_bytes(key)?;
        self.below = below;
        Ok(taken)
    }

    /// The key beside `key`.
    fn neighbour(&self, key: &[u8], side: Side) -> Result<Option<Vec<u8>>> {
        let mut cursor = tree::Cursor::new(self.table.reading()?.comparing()?);
        let found = match side {
            Side::Above => cursor.seek_from(key, false)?,
            Side::Below => cursor.seek_to(key, false)?,
        };
        Ok(found.map(|(key, _)| key.to_vec()))
    }
}

#[derive(Clone, Copy)]
enum Side {
    Below,
    Above,
}

/// Where `lower_bound` lies: before the first key that `bound` lets in; an upper bound lies behind the last one.
pub(super) fn lower<'p, P: Pages, O: Order>(
    tree: tree::Tree<'p, P, O>,
    bound: Bound<&[u8]>,
) -> Result<tree::Gap<'p, P>> {
    match bound {
        Bound::Unbounded => tree::Gap::first(tree),
        Bound::Included(key) => tree::Gap::before(tree, key),
        Bound::Excluded(key) => tree::Gap::behind(tree, key),
    }
}

/// As [`lower`], from the other end.
pub(super) fn upper<'p, P: Pages, O: Order>(
    tree: tree::Tree<'p, P, O>,
    bound: Bound<&[u8]>,
) -> Result<tree::Gap<'p, P>> {
    match bound {
        Bound::Unbounded => tree::Gap::last(tree),
        Bound::Included(key) => tree::Gap::behind(tree, key),
        Bound::Excluded(key) => tree::Gap::before(tree, key),
    }
}
