//! Going through a table entry by entry.

use std::marker::PhantomData;

use super::codec::{Codec, Key, Typed};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{self, KeyOrder, Tree};
use crate::txn::ReadTxn;

/// A key and its value.
pub(super) type Item<'t, K, V> = (<K as Codec>::Item<'t>, <V as Codec>::Item<'t>);

pub(super) fn decode<'t, K: Codec + ?Sized, V: Codec + ?Sized>(
    pair: Option<(&'t [u8], &'t [u8])>,
) -> Result<Option<Item<'t, K, V>>> {
    pair.map(|(key, value)| Ok((K::decode(key)?, V::decode(value)?))).transpose()
}

/// A place at an entry of a table, or at none: before the first move, and after one that found nothing.
///
/// Every move answers the entry it came to; its errors are those of [`ReadTable`](super::ReadTable). After one that found
/// nothing the cursor is to be placed anew, by a seek or at an end. Cost: a seek is a descent; a step touches one slot and its
/// cell, and at the end of a leaf the next one.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// let mut txn = env.write()?;
/// for key in [b"a", b"c", b"e"] {
///     txn.main().put(key, b"")?;
/// }
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let mut cursor = txn.main()?.cursor();
/// let key = |entry: Option<(&[u8], &[u8])>| entry.map(|(key, _)| key[0] as char);
/// assert_eq!(key(cursor.next()?), Some('a')); // from nowhere to the first
/// assert_eq!(key(cursor.next()?), Some('c'));
/// assert_eq!(key(cursor.current()?), Some('c'));
/// assert_eq!(key(cursor.previous()?), Some('a'));
/// assert_eq!(key(cursor.last()?), Some('e'));
/// assert_eq!((key(cursor.seek(b"b")?), key(cursor.ceiling(b"b")?)), (None, Some('c')));
/// assert_eq!((key(cursor.higher(b"c")?), key(cursor.floor(b"d")?)), (Some('e'), Some('c')));
/// assert_eq!((key(cursor.lower(b"c")?), key(cursor.nth(2)?), key(cursor.first()?)), (Some('a'), Some('e'), Some('a')));
/// # Ok(())
/// # }
/// ```
pub struct Cursor<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: tree::Cursor<'t, P, KeyOrder>,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> Cursor<'t, K, V, P> {
    pub(super) fn new(tree: Tree<'t, P, KeyOrder>) -> Cursor<'t, K, V, P> {
        Cursor { inner: tree::Cursor::new(tree), types: PhantomData }
    }

    /// The cursor, to look for keys: not in an order that is not at hand.
    fn comparing(&mut self) -> Result<&mut tree::Cursor<'t, P, KeyOrder>> {
        if self.inner.order().is_at_hand() { Ok(&mut self.inner) } else { Err(Error::OrderMissing) }
    }

    /// The entry the cursor is at.
    ///
    /// Cost: a slot and its cell; no page but the one it is at.
    pub fn current(&self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.current()?)
    }

    /// Goes to the first entry.
    pub fn first(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.first()?)
    }

    /// Goes to the last entry.
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
    /// let mut cursor = squares.cursor();
    /// assert_eq!(cursor.current()?, None); // nowhere yet
    /// assert_eq!(cursor.first()?, Some((0, 0)));
    /// assert_eq!(cursor.last()?, Some((9, 81)));
    /// assert_eq!(cursor.current()?, cursor.last()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn last(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.last()?)
    }

    /// Goes to the next entry; before any other move, to the first. From where a move found nothing it goes nowhere.
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
    /// let (mut cursor, mut sum) = (squares.cursor(), 0);
    /// while let Some((_, square)) = cursor.next()? {
    ///     sum += square;
    /// }
    /// assert_eq!((sum, cursor.previous()?), (285, None)); // it found nothing: place it anew
    /// assert_eq!((cursor.last()?, cursor.previous()?), (Some((9, 81)), Some((8, 64))));
    /// # Ok(())
    /// # }
    /// ```
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next()?)
    }

    /// Goes to the previous entry; before any other move, to the last. From where a move found nothing it goes nowhere.
    pub fn previous(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.previous()?)
    }

    /// Goes to the entry of `key`.
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
    /// let mut cursor = squares.cursor();
    /// assert_eq!(cursor.seek(&7)?, Some((7, 49)));
    /// assert_eq!(cursor.next()?, Some((8, 64)));
    /// assert_eq!((cursor.seek(&12)?, cursor.current()?), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn seek(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_exact(key))?)
    }

    /// Goes to the first entry whose key is not less than `key`.
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
    /// let mut cursor = squares.cursor()?;
    /// assert_eq!((cursor.ceiling(&3)?, cursor.higher(&3)?), (Some((3, 9)), Some((7, 49))));
    /// assert_eq!((cursor.floor(&5)?, cursor.lower(&3)?), (Some((3, 9)), Some((2, 4))));
    /// assert_eq!((cursor.ceiling(&10)?, cursor.lower(&0)?), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ceiling(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_from(key, true))?)
    }

    /// Goes to the first entry whose key is greater than `key`.
    pub fn higher(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_from(key, false))?)
    }

    /// Goes to the last entry whose key is not greater than `key`.
    pub fn floor(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_to(key, true))?)
    }

    /// Goes to the last entry whose key is less than `key`.
    pub fn lower(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_to(key, false))?)
    }

    /// Goes to the entry that has `n` entries before it.
    ///
    /// Cost: a descent by the counts in the branches, however large `n` is.
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
    /// let mut cursor = squares.cursor();
    /// assert_eq!((cursor.nth(3)?, cursor.next()?), (Some((3, 9)), Some((4, 16))));
    /// assert_eq!(cursor.nth(10)?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nth(&mut self, n: u64) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.seek_nth(n)?)
    }
}

/// The entries between two bounds, from either end. After an error it ends.
pub struct Range<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: tree::Range<'t, P>,
    is_over: bool,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> Range<'t, K, V, P> {
    pub(super) fn new(inner: tree::Range<'t, P>) -> Range<'t, K, V, P> {
        Range { inner, is_over: false, types: PhantomData }
    }

    /// How many entries are left, exactly.
    ///
    /// Cost: no page beyond the two paths it holds already.
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
    /// let mut some = squares.range(&2..=&6)?;
    /// assert_eq!(some.remaining()?, 5);
    /// some.next().transpose()?;
    /// some.next_back().transpose()?;
    /// assert_eq!(some.remaining()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remaining(&self) -> Result<u64> {
        if self.is_over { Ok(0) } else { self.inner.remaining() }
    }

    /// Up to `max` entries from the front at once: for who hands them on in batches. Fewer only where the range ends.
    ///
    /// Cost: one allocation; the page touches of as many steps.
    ///
    /// # Errors
    /// Those of the first entry that fails; the range ends then.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u32> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..5 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let mut squares = txn.table(&SQUARES)?.iter()?;
    /// assert_eq!(squares.next_chunk(2)?, [(0, 0), (1, 1)]);
    /// assert_eq!(squares.next_chunk_back(1)?, [(4, 16)]);
    /// assert_eq!(squares.next_chunk(10)?, [(2, 4), (3, 9)]);
    /// assert!(squares.next_chunk(10)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_chunk(&mut self, max: usize) -> Result<Vec<Item<'t, K, V>>> {
        let mut chunk = Vec::with_capacity(self.at_most(max)?);
        while chunk.len() < chunk.capacity().min(max) {
            let Some(entry) = self.next() else { break };
            chunk.push(entry?);
        }
        Ok(chunk)
    }

    /// As [`next_chunk`](Range::next_chunk), from the back: the last entry first.
    ///
    /// # Errors
    /// As [`next_chunk`](Range::next_chunk).
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
    /// let mut last = squares.keys()?.rev();
    /// assert_eq!(last.next().transpose()?, Some(9));
    /// let page = squares.range(..&8)?.next_chunk_back(3)?;
    /// assert_eq!(page, [(7, 49), (6, 36), (5, 25)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_chunk_back(&mut self, max: usize) -> Result<Vec<Item<'t, K, V>>> {
        let mut chunk = Vec::with_capacity(self.at_most(max)?);
        while chunk.len() < chunk.capacity().min(max) {
            let Some(entry) = self.next_back() else { break };
            chunk.push(entry?);
        }
        Ok(chunk)
    }

    /// `max`, or how many entries are left.
    fn at_most(&self, max: usize) -> Result<usize> {
        Ok(usize::try_from(self.remaining()?).unwrap_or(usize::MAX).min(max))
    }

    /// Splits what is left into `parts` ranges of equal length, one entry more or less, in order: for as many threads, each of
    /// which goes through one. None if `parts` is 0, or after an error.
    ///
    /// The cuts are found by subtree counts, so they are even whatever the keys are. The idea is an order-statistic tree's
    /// (Knuth, The Art of Computer Programming 3, 6.2.3).
    ///
    /// Cost: two descents a part, no page in between.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u64> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..1000u32 { txn.open_table(&SQUARES)?.put(&n, &(u64::from(n) * u64::from(n)))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let parts = txn.table(&SQUARES)?.iter()?.split(4)?;
    /// let sum: u64 = std::thread::scope(|scope| {
    ///     let sums: Vec<_> = parts
    ///         .into_iter()
    ///         .map(|part| scope.spawn(|| part.map(|entry| entry.map(|(_, square)| square)).sum::<mapledb::Result<u64>>()))
    ///         .collect();
    ///     sums.into_iter().map(|sum| sum.join().expect("no panic")).sum::<mapledb::Result<u64>>()
    /// })?;
    /// assert_eq!(sum, (0..1000).map(|n| n * n).sum());
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self, parts: usize) -> Result<Vec<Range<'t, K, V, P>>> {
        if self.is_over {
            return Ok(Vec::new());
        }
        Ok(self.inner.split(parts)?.into_iter().map(Range::new).collect())
    }

    fn item(&mut self, pair: Result<Option<(&'t [u8], &'t [u8])>>) -> Option<Result<Item<'t, K, V>>> {
        match pair.and_then(decode::<K, V>) {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => None,
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        }
    }
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> Iterator for Range<'t, K, V, P> {
    type Item = Result<Item<'t, K, V>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let pair = self.inner.next();
        self.item(pair)
    }
}

impl<K: Key + ?Sized, V: Codec + ?Sized, P: Pages> DoubleEndedIterator for Range<'_, K, V, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let pair = self.inner.next_back();
        self.item(pair)
    }
}
