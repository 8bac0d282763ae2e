//! Cursors that hold no borrow: any number of them on a table that is changed meanwhile.
//!
//! A cursor that borrows pages cannot outlive a change. This one keeps the key it is at, and beside it where that entry was
//! found and the *version* of the table at that moment. While the version is the same, the entry is where it was, so going on
//! is a look into the leaf; once it is another, the cursor seeks its key again. Nothing is registered with the table, so
//! changes cost the same however many cursors there are, and none needs repair. (LMDB and Berkeley DB keep lists of cursors
//! and mend each at every insert, split and merge.)

use std::marker::PhantomData;

use mapledb_os::planted;

use super::WriteTable;
use super::codec::{Codec, Key, Typed};
use super::cursor::{Item, decode};
use crate::error::Result;
use crate::pages::PageRef;
use crate::space::Draft;
use crate::tree::{self, KeyOrder};
use crate::txn::Version;

/// A place in a table of a write transaction, kept while the table changes.
///
/// Any number may be used on one table, beside changes of every kind; each call borrows the table for itself. The law: after any
/// changes a cursor answers what a fresh seek of its key would. At an entry that was taken out, [`current`] is `None`
/// and [`next`] and [`previous`] go to its neighbours; behind the last entry, `next` finds what was put there since.
///
/// Errors are those of [`ReadTable`](super::ReadTable), and of [`WriteTable`] where it changes the table.
///
/// It may go on in another transaction, or in another table with the same types, where it seeks its key.
///
/// Cost: one page touch for a step within a leaf as long as the table has not changed; a descent otherwise. The key is copied
/// at each move. To go through a table that does not change meanwhile, a [`Range`](super::Range) is faster.
///
/// [`current`]: DetachedCursor::current
/// [`next`]: DetachedCursor::next
/// [`previous`]: DetachedCursor::previous
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{DetachedCursor, Env, Table};
///
/// const JOBS: Table<'static, u64, str> = Table::new("jobs");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("jobs.maple")) }?;
/// let mut txn = env.write()?;
/// let mut jobs = txn.open_table(&JOBS)?;
/// for n in 0..10 {
///     jobs.put(&n, "to do")?;
/// }
/// let (mut slow, mut fast) = (DetachedCursor::new(), DetachedCursor::new());
/// slow.first(&jobs)?;
/// while let Some((n, _)) = fast.next(&jobs)? {
///     if n % 2 == 0 {
///         jobs.delete(&n)?;
///     }
/// }
/// assert_eq!(slow.current(&jobs)?, None);
/// assert_eq!(slow.next(&jobs)?, Some((1, "to do")));
/// jobs.put(&77, "late")?;
/// assert_eq!(fast.next(&jobs)?, Some((77, "late")));
/// # Ok(())
/// # }
/// ```
pub struct DetachedCursor<K: ?Sized, V: ?Sized> {
    place: Place,
    /// The key of the place; nothing if it has none.
    key: Vec<u8>,
    /// Where the entry was found.
    found: Option<Found>,
    types: Typed<K, V>,
}

/// Where a cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere yet, or where there was nothing.
    Nowhere,
    /// At the entry of its key, or in the gap that it left.
    At,
    /// In the gap before its key.
    Before,
    /// In the gap behind its key.
    Behind,
}

#[derive(Clone, Copy)]
struct Found {
    version: Version,
    leaf: PageRef,
    index: usize,
}

type TreeCursor<'a> = tree::Cursor<'a, Draft, KeyOrder>;
type Pair<'a> = Option<(&'a [u8], &'a [u8])>;

impl<K: Key + ?Sized, V: Codec + ?Sized> DetachedCursor<K, V> {
    /// A cursor that is nowhere yet: from there [`next`](DetachedCursor::next) goes to the first entry and
    /// [`previous`](DetachedCursor::previous) to the last.
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// assert_eq!((cursor.key()?, cursor.current(&squares)?), (None, None));
    /// assert_eq!(cursor.next(&squares)?, Some((0, 0)));
    /// # Ok(())
    /// # }
    /// ```
    pub const fn new() -> DetachedCursor<K, V> {
        DetachedCursor { place: Place::Nowhere, key: Vec::new(), found: None, types: PhantomData }
    }

    /// The key it is at, whether or not it is still there; `None` if it is nowhere.
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode).
    pub fn key(&self) -> Result<Option<K::Item<'_>>> {
        if self.place == Place::Nowhere { Ok(None) } else { K::decode(&self.key).map(Some) }
    }

    /// The entry it is at.
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// cursor.seek(&squares, &3)?;
    /// squares.put(&3, &0)?;
    /// assert_eq!(cursor.current(&squares)?, Some((3, 0)));
    /// squares.delete(&3)?;
    /// assert_eq!((cursor.key()?, cursor.current(&squares)?), (Some(3), None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn current<'a>(&mut self, table: &'a WriteTable<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if self.place != Place::At {
            return Ok(None);
        }
        if let Some(pair) = self.beside(table, Some)? {
            return decode::<K, V>(Some(pair));
        }
        let mut cursor = comparing(table)?;
        let pair = cursor.seek_exact(&self.key)?;
        self.remember(table, &cursor);
        decode::<K, V>(pair)
    }

    /// Goes to the first entry.
    pub fn first<'a>(&mut self, table: &'a WriteTable<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.jump(table, Place::Nowhere, |cursor| cursor.first())
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
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// let (mut front, mut back) = (mapledb::DetachedCursor::new(), mapledb::DetachedCursor::new());
    /// assert_eq!((front.first(&squares)?, back.last(&squares)?), (Some((0, 0)), Some((9, 81))));
    /// squares.clear()?;
    /// assert_eq!((front.first(&squares)?, back.last(&squares)?), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn last<'a>(&mut self, table: &'a WriteTable<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.jump(table, Place::Nowhere, |cursor| cursor.last())
    }

    /// Goes to the next entry; from nowhere, to the first. Where there is none it stays behind the last.
    pub fn next<'a>(&mut self, table: &'a WriteTable<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if self.place == Place::At
            && let Some(pair) = self.beside(table, |index| index.checked_add(1))?
        {
            return decode::<K, V>(Some(self.arrive(pair, |index| index + 1)));
        }
        let from = self.key.clone();
        let place = self.place;
        let gap = if place == Place::Nowhere { Place::Nowhere } else { Place::Behind };
        self.step(table, from, gap, |cursor, key| match place {
            Place::Nowhere => cursor.first(),
            Place::Before => cursor.seek_from(key, true),
            Place::At | Place::Behind => cursor.seek_from(key, false),
        })
    }

    /// Goes to the previous entry; from nowhere, to the last. Where there is none it stays before the first.
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// while let Some((n, square)) = cursor.previous(&squares)? {
    ///     squares.put(&(n + 100), &square)?; // each behind the cursor, so none is met again
    /// }
    /// assert_eq!(squares.len(), 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn previous<'a>(&mut self, table: &'a WriteTable<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if self.place == Place::At
            && let Some(pair) = self.beside(table, |index| index.checked_sub(1))?
        {
            return decode::<K, V>(Some(self.arrive(pair, |index| index - 1)));
        }
        let from = self.key.clone();
        let place = self.place;
        let gap = if place == Place::Nowhere { Place::Nowhere } else { Place::Before };
        self.step(table, from, gap, |cursor, key| match place {
            Place::Nowhere => cursor.last(),
            Place::Behind => cursor.seek_to(key, true),
            Place::At | Place::Before => cursor.seek_to(key, false),
        })
    }

    /// Goes to the entry of `key`; if there is none, into the gap where it would be.
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
    /// squares.delete(&5)?;
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// assert_eq!(cursor.seek(&squares, &5)?, None); // in the gap it left
    /// assert_eq!(cursor.next(&squares)?, Some((6, 36)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn seek<'a>(&mut self, table: &'a WriteTable<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let from = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        self.step(table, from, Place::At, |cursor, key| cursor.seek_exact(key))
    }

    /// Goes to the first entry whose key is not less than `key`; if there is none, behind the last.
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
    /// squares.delete(&5)?;
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// assert_eq!((cursor.ceiling(&squares, &5)?, cursor.higher(&squares, &6)?), (Some((6, 36)), Some((7, 49))));
    /// assert_eq!((cursor.floor(&squares, &5)?, cursor.lower(&squares, &4)?), (Some((4, 16)), Some((3, 9))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ceiling<'a>(&mut self, table: &'a WriteTable<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let from = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        self.step(table, from, Place::Before, |cursor, key| cursor.seek_from(key, true))
    }

    /// Goes to the first entry whose key is greater than `key`; if there is none, behind the last.
    pub fn higher<'a>(&mut self, table: &'a WriteTable<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let from = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        self.step(table, from, Place::Behind, |cursor, key| cursor.seek_from(key, false))
    }

    /// Goes to the last entry whose key is not greater than `key`; if there is none, before the first.
    pub fn floor<'a>(&mut self, table: &'a WriteTable<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let from = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        self.step(table, from, Place::Behind, |cursor, key| cursor.seek_to(key, true))
    }

    /// Goes to the last entry whose key is less than `key`; if there is none, before the first.
    pub fn lower<'a>(&mut self, table: &'a WriteTable<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let from = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        self.step(table, from, Place::Before, |cursor, key| cursor.seek_to(key, false))
    }

    /// Goes to the entry that has `n` entries before it; nowhere if there is none.
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// squares.delete(&0)?;
    /// assert_eq!(cursor.nth(&squares, 0)?, Some((1, 1)));
    /// assert_eq!((cursor.nth(&squares, 9)?, cursor.key()?), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn nth<'a>(&mut self, table: &'a WriteTable<'_, K, V>, n: u64) -> Result<Option<Item<'a, K, V>>> {
        self.jump(table, Place::Nowhere, |cursor| cursor.seek_nth(n))
    }

    /// Takes the entry it is at out; answers whether there was one. The cursor stays in the gap. Cost: as
    /// [`WriteTable::delete`].
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// cursor.seek(&squares, &4)?;
    /// assert!(cursor.delete(&mut squares)?);
    /// assert!(!cursor.delete(&mut squares)?); // it is gone
    /// assert_eq!(cursor.previous(&squares)?, Some((3, 9)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&mut self, table: &mut WriteTable<'_, K, V>) -> Result<bool> {
        if self.place != Place::At {
            return Ok(false);
        }
        Ok(table.take_bytes(&self.key)?.is_some())
    }

    /// Stores `value` under the key it is at, which need not be there; answers whether it is at one. Cost: as
    /// [`WriteTable::put`].
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
    /// let mut cursor = mapledb::DetachedCursor::new();
    /// assert!(!cursor.put(&mut squares, &1)?); // at no key yet
    /// cursor.last(&squares)?;
    /// assert!(cursor.put(&mut squares, &1)?);
    /// assert_eq!(squares.get(&9)?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&mut self, table: &mut WriteTable<'_, K, V>, value: &V) -> Result<bool> {
        if self.place != Place::At {
            return Ok(false);
        }
        V::with_bytes(value, |value| table.put_bytes(&self.key, value)).map(|()| true)
    }

    /// The entry beside the one it is at, in the same leaf, if the table is as it was when that was found.
    fn beside<'a>(
        &self,
        table: &'a WriteTable<'_, K, V>,
        way: impl FnOnce(usize) -> Option<usize>,
    ) -> Result<Pair<'a>> {
        let Some(found) = self.found else { return Ok(None) };
        let tree = table.reading()?.tree();
        match way(found.index) {
            Some(index) if found.version == table.version() || planted("stale_cursor") => tree.pair_in(found.leaf, index),
            _ => Ok(None),
        }
    }

    /// Takes note of having gone within the leaf.
    fn arrive<'a>(&mut self, pair: (&'a [u8], &'a [u8]), way: impl FnOnce(usize) -> usize) -> (&'a [u8], &'a [u8]) {
        if let Some(found) = &mut self.found {
            found.index = way(found.index);
        }
        self.key.clear();
        self.key.extend_from_slice(pair.0);
        pair
    }

    /// Seeks by no key; where there is nothing the cursor is at `otherwise`.
    fn jump<'a>(
        &mut self,
        table: &'a WriteTable<'_, K, V>,
        otherwise: Place,
        seek: impl FnOnce(&mut TreeCursor<'a>) -> Result<Pair<'a>>,
    ) -> Result<Option<Item<'a, K, V>>> {
        let mut cursor = tree::Cursor::new(table.reading()?.tree());
        let pair = seek(&mut cursor)?;
        self.settle(table, &cursor, pair, Vec::new(), otherwise)
    }

    /// Seeks by `key`; where there is nothing the cursor is at `otherwise` of it.
    fn step<'a>(
        &mut self,
        table: &'a WriteTable<'_, K, V>,
        key: Vec<u8>,
        otherwise: Place,
        seek: impl FnOnce(&mut TreeCursor<'a>, &[u8]) -> Result<Pair<'a>>,
    ) -> Result<Option<Item<'a, K, V>>> {
        let mut cursor = comparing(table)?;
        let pair = seek(&mut cursor, &key)?;
        self.settle(table, &cursor, pair, key, otherwise)
    }

    /// Takes note of what a seek came to.
    fn settle<'a>(
        &mut self,
        table: &'a WriteTable<'_, K, V>,
        cursor: &TreeCursor<'a>,
        pair: Pair<'a>,
        mut key: Vec<u8>,
        otherwise: Place,
    ) -> Result<Option<Item<'a, K, V>>> {
        self.place = otherwise;
        if let Some((found, _)) = pair {
            key.clear();
            key.extend_from_slice(found);
            self.place = Place::At;
        }
        self.key = key;
        self.remember(table, cursor);
        decode::<K, V>(pair)
    }

    fn remember(&mut self, table: &WriteTable<'_, K, V>, cursor: &TreeCursor<'_>) {
        let version = table.version();
        self.found = cursor.place().map(|(leaf, index)| Found { version, leaf, index });
    }
}

fn comparing<'a, K: Key + ?Sized, V: Codec + ?Sized>(table: &'a WriteTable<'_, K, V>) -> Result<TreeCursor<'a>> {
    Ok(tree::Cursor::new(table.reading()?.comparing()?))
}

impl<K: Key + ?Sized, V: Codec + ?Sized> Default for DetachedCursor<K, V> {
    fn default() -> Self {
        DetachedCursor::new()
    }
}

impl<K: ?Sized, V: ?Sized> Clone for DetachedCursor<K, V> {
    fn clone(&self) -> Self {
        DetachedCursor { place: self.place, key: self.key.clone(), found: self.found, types: PhantomData }
    }
}
