//! A table to change.

use std::marker::PhantomData;

use super::codec::{Codec, Key, Typed};
use super::entry::Entry;
use super::owned::Owned;
use super::read_table::{ReadTable, TableStat};
use crate::error::{Error, Result};
use crate::space::Draft;
use crate::tree::{KeyOrder, Value, in_its_order};
use crate::txn::{TableId, Version, WriteTxn};

/// Changes the tree of a table: by code of its own for the bytewise order.
macro_rules! change {
    ($table:expr, |$tree:ident| $act:expr) => {
        in_its_order!($table.order, order => $table.txn.change($table.table, order, |$tree| $act))
    };
}
pub(super) use change;

/// A table of a write transaction. What it reads is the table as the transaction has changed it so far.
///
/// Unless said otherwise a change costs one descent that copies one page a level, each page once in a transaction. An
/// error about arguments ([`Error::KeyTooLong`], [`Error::NotSorted`]) changes nothing; after any other the transaction
/// is unusable.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::Table;
///
/// const STOCK: Table<'static, str, u32> = Table::new("stock");
///
/// let mut txn = env.write()?;
/// let mut stock = txn.open_table(&STOCK)?;
/// stock.put("pears", &3)?;
/// assert!(!stock.put_new("pears", &9)?); // there is one
/// assert_eq!(stock.get_or_insert("plums", &7)?, 7);
/// assert!(stock.compare_and_set("plums", Some(&7), Some(&6))?);
/// assert_eq!(stock.replace("pears", &4)?, Some(3u32.to_be_bytes().to_vec()));
/// assert_eq!(stock.take("plums")?.expect("it was there").get()?, 6);
/// assert!(stock.delete("pears")? && !stock.delete("pears")?);
///
/// // Sorted input fills pages to the end: one by one, or all at once, as bytes.
/// stock.append("a", &1)?;
/// let sorted = ["b", "c", "d", "e"].into_iter().zip(2u32..).map(|(key, value)| Ok((key, value.to_be_bytes())));
/// assert_eq!(stock.load_sorted(sorted)?, 4);
/// assert_eq!(stock.retain_range("c".., |_, pieces| pieces != 4)?, 1); // "d"
/// assert_eq!(stock.delete_range(.."b")?, 1);
/// assert_eq!(stock.retain(|key, _| key < "e")?, 1);
/// assert_eq!(stock.pop_last()?.expect("c is left").0.get()?, "c");
///
/// // What it reads is what has been written so far.
/// assert_eq!((stock.len(), stock.first()?, stock.reading()?.count("a"..)?), (1, Some(("b", 2)), 1));
/// assert_eq!((stock.next_sequence(10)?, stock.next_sequence(1)?), (0, 10));
/// stock.clear()?;
/// assert!(stock.is_empty());
/// txn.commit()?;
/// # Ok(())
/// # }
/// ```
pub struct WriteTable<'t, K: ?Sized, V: ?Sized> {
    pub(super) txn: &'t mut WriteTxn,
    pub(super) table: TableId,
    pub(super) order: KeyOrder,
    types: Typed<K, V>,
}

impl<'t, K: ?Sized, V: ?Sized> WriteTable<'t, K, V> {
    pub(super) fn new(txn: &'t mut WriteTxn, table: TableId, order: KeyOrder) -> WriteTable<'t, K, V> {
        WriteTable { txn, table, order, types: PhantomData }
    }

    /// Refuses to look for keys in an order that is not at hand.
    pub(super) fn check_order(&self) -> Result<()> {
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
    /// assert_eq!((squares.len(), squares.is_empty(), squares.stat().leaf_pages), (10, false, 1));
    /// squares.clear()?;
    /// assert_eq!((squares.len(), squares.stat().depth), (0, 0));
    /// assert_eq!(squares.order(), mapledb::KeyOrder::BYTEWISE);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stat(&self) -> TableStat {
        TableStat::of(self.txn.record(self.table))
    }

    /// Takes everything out. Cost: a page read for each page freed.
    pub fn clear(&mut self) -> Result<()> {
        change!(self, |tree| tree.clear())
    }

    /// Takes `count` numbers of the table's sequence, which begins at 0; answers the first. They are given out once
    /// if the transaction commits.
    ///
    /// Cost: none at once; the commit writes the table's record.
    ///
    /// # Errors
    /// [`Error::SequenceExhausted`] after 2⁶⁴ numbers.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert_eq!((stock.next_sequence(1)?, stock.next_sequence(3)?, stock.next_sequence(1)?), (0, 1, 4));
    /// txn.abort();
    /// let mut txn = env.write()?;
    /// assert_eq!(txn.open_table(&STOCK)?.next_sequence(1)?, 0); // they were given back
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_sequence(&mut self, count: u64) -> Result<u64> {
        self.txn.take_sequence(self.table, count)
    }
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized> WriteTable<'t, K, V> {
    /// The table as it stands, with every way of reading.
    ///
    /// Cost: none.
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
    /// squares.put(&10, &100)?;
    /// let reading = squares.reading()?;
    /// assert_eq!(reading.lazily().get(&10)?.expect("it was put").bytes(), 100u32.to_be_bytes());
    /// # Ok(())
    /// # }
    /// ```
    pub fn reading(&self) -> Result<ReadTable<'_, K, V, Draft>> {
        let (pages, record) = self.txn.reading(self.table)?;
        Ok(ReadTable::new(pages, record, self.order))
    }

    /// Stores `value` under `key`, replacing what is there.
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
    /// stock.put("pears", &4)?;
    /// assert_eq!((stock.get("pears")?, stock.len()), (Some(4), 1));
    /// let long = "p".repeat(env.key_max() + 1);
    /// assert!(matches!(stock.put(&long, &1), Err(mapledb::Error::KeyTooLong { .. })));
    /// stock.put("plums", &1)?; // that changed nothing, and the transaction goes on
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&mut self, key: &K, value: &V) -> Result<()> {
        K::with_bytes(key, |key| V::with_bytes(value, |value| self.put_bytes(key, value)))
    }

    /// Stores a value of these bytes under a key of these bytes.
    pub(super) fn put_bytes(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_order()?;
        change!(self, |tree| tree.put(key, Value::Bytes(value)).map(|_| ()))
    }

    /// Takes a key of these bytes out.
    pub(super) fn take_bytes(&mut self, key: &[u8]) -> Result<Option<(Owned<K>, Owned<V>)>> {
        self.check_order()?;
        Ok(change!(self, |tree| tree.take(key))?.map(owned))
    }

    /// The state the table is in.
    pub(super) fn version(&self) -> Version {
        self.txn.version(self.table)
    }

    /// Stores `value` under `key` unless there is one; answers whether it did. Cost: two descents.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert!(stock.put_new("pears", &3)?);
    /// assert!(!stock.put_new("pears", &9)?);
    /// assert_eq!(stock.get("pears")?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_new(&mut self, key: &K, value: &V) -> Result<bool> {
        if self.contains(key)? {
            return Ok(false);
        }
        self.put(key, value).map(|()| true)
    }

    /// Stores `value` under `key`; answers the bytes of what was there. Cost: two descents.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert_eq!(stock.replace("pears", &3)?, None);
    /// assert_eq!(stock.replace("pears", &4)?, Some(vec![0, 0, 0, 3]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace(&mut self, key: &K, value: &V) -> Result<Option<Vec<u8>>> {
        let old = K::with_bytes(key, |key| Ok(self.reading()?.get_bytes(key)?.map(<[u8]>::to_vec)))?;
        self.put(key, value)?;
        Ok(old)
    }

    /// The value of `key`, or `value`, which is stored then. Cost: a descent, and two more to store.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert_eq!(stock.get_or_insert("plums", &7)?, 7);
    /// stock.put("plums", &6)?;
    /// assert_eq!(stock.get_or_insert("plums", &7)?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_or_insert(&mut self, key: &K, value: &V) -> Result<V::Item<'_>> {
        self.entry(key)?.or_insert(value)
    }

    /// A key, there or not, to look at and to change in one go. Cost: a descent; the key is copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// stock.entry("pears")?.or_insert(&0)?;
    /// let pieces = stock.entry("pears")?.and_modify(|pieces| pieces + 5)?.or_insert(&5)?;
    /// assert_eq!(pieces, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn entry(&mut self, key: &K) -> Result<Entry<'_, 't, K, V>> {
        Entry::of(self, key)
    }

    /// Stores `new` under `key`, or takes the key out if `new` is `None`, if what is there is `expected`; answers
    /// whether it was. Cost: two descents.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert!(stock.compare_and_set("pears", None, Some(&3))?); // if there is none
    /// assert!(!stock.compare_and_set("pears", Some(&4), Some(&5))?);
    /// assert!(stock.compare_and_set("pears", Some(&3), None)?);
    /// assert!(stock.is_empty());
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut main = txn.main();
    /// main.reserve(b"picture", 1 << 20, |bytes| bytes[..4].copy_from_slice(b"RIFF"))?;
    /// let picture = main.get(b"picture")?.expect("it was put");
    /// assert_eq!((picture.len(), &picture[..5]), (1 << 20, &b"RIFF\0"[..]));
    /// # Ok(())
    /// # }
    /// ```
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
    /// assert!(squares.delete(&4)?);
    /// assert!(!squares.delete(&4)?);
    /// assert_eq!(squares.len(), 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&mut self, key: &K) -> Result<bool> {
        self.check_order()?;
        K::with_bytes(key, |key| change!(self, |tree| tree.delete(key)))
    }

    /// Takes `key` out; answers the value that was there. Cost: as [`delete`](WriteTable::delete), and a copy of the value.
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
    /// assert_eq!(squares.take(&4)?.expect("it is there").get()?, 16);
    /// assert!(squares.take(&4)?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take(&mut self, key: &K) -> Result<Option<Owned<V>>> {
        Ok(K::with_bytes(key, |key| self.take_bytes(key))?.map(|(_, value)| value))
    }

    /// Takes the first entry out and answers it. Cost: one descent, which copies one page a level, and searches nothing.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// const QUEUE: Table<'static, u64, str> = Table::new("queue");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("q.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut queue = txn.open_table(&QUEUE)?;
    /// queue.put(&1, "first")?;
    /// queue.put(&2, "second")?;
    /// queue.put(&3, "third")?;
    /// let (number, job) = queue.pop_first()?.expect("there are three");
    /// assert_eq!((number.get()?, job.get()?), (1, "first"));
    /// assert_eq!(queue.pop_last()?.expect("two are left").1.get()?, "third");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pop_first(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        Ok(change!(self, |tree| tree.pop_first())?.map(owned))
    }

    /// Takes the last entry out and answers it. Cost: as [`pop_first`](WriteTable::pop_first).
    pub fn pop_last(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        Ok(change!(self, |tree| tree.pop_last())?.map(owned))
    }
}

/// A pair that was taken out.
pub(super) fn owned<K: ?Sized, V: ?Sized>((key, value): (Vec<u8>, Vec<u8>)) -> (Owned<K>, Owned<V>) {
    (Owned::new(key), Owned::new(value))
}
