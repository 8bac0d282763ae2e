//! One key of a table, there or not, as in the standard library's maps.
//!
//! There a value is changed through a reference. Here values are bytes that may change their length, so what is there is
//! handed out to be read, and a new value is handed back.

use std::borrow::Borrow;

use super::WriteTable;
use super::codec::{Codec, Key};
use super::owned::Owned;
use crate::error::{Error, Result};

/// A key of a table, and whether it is there: of [`WriteTable::entry`]. Errors are those of [`WriteTable`].
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # use mapledb::{Env, Table};
/// const WORDS: Table<'static, str, u64> = Table::new("words");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("words.maple")) }?;
/// let mut txn = env.write()?;
/// let mut words = txn.open_table(&WORDS)?;
/// for word in ["tree", "maple", "tree"] {
///     words.entry(word)?.and_modify(|count| count + 1)?.or_insert(&1)?;
/// }
/// assert_eq!((words.get("tree")?, words.get("maple")?), (Some(2), Some(1)));
/// # Ok(())
/// # }
/// ```
pub enum Entry<'e, 't, K: ?Sized, V: ?Sized> {
    /// The key is there.
    Occupied(OccupiedEntry<'e, 't, K, V>),
    /// The key is not there.
    Vacant(VacantEntry<'e, 't, K, V>),
}

/// A key that is there.
pub struct OccupiedEntry<'e, 't, K: ?Sized, V: ?Sized>(Slot<'e, 't, K, V>);

/// A key that is not there.
pub struct VacantEntry<'e, 't, K: ?Sized, V: ?Sized>(Slot<'e, 't, K, V>);

struct Slot<'e, 't, K: ?Sized, V: ?Sized> {
    table: &'e mut WriteTable<'t, K, V>,
    key: Vec<u8>,
}

impl<'e, K: Key + ?Sized, V: Codec + ?Sized> Slot<'e, '_, K, V> {
    fn value(&self) -> Result<V::Item<'_>> {
        V::decode(self.table.reading()?.get_bytes(&self.key)?.ok_or(Error::OrderBroken)?)
    }

    fn into_value(self) -> Result<V::Item<'e>> {
        let Slot { table, key } = self;
        let table: &'e WriteTable<'_, K, V> = table;
        V::decode(table.reading()?.get_bytes(&key)?.ok_or(Error::OrderBroken)?)
    }

    fn put(&mut self, value: &V) -> Result<()> {
        V::with_bytes(value, |value| self.table.put_bytes(&self.key, value))
    }
}

impl<'e, 't, K: Key + ?Sized, V: Codec + ?Sized> Entry<'e, 't, K, V> {
    pub(super) fn of(table: &'e mut WriteTable<'t, K, V>, key: &K) -> Result<Entry<'e, 't, K, V>> {
        let key = K::with_bytes(key, |key| Ok(key.to_vec()))?;
        let is_there = table.reading()?.contains_bytes(&key)?;
        let slot = Slot { table, key };
        Ok(if is_there { Entry::Occupied(OccupiedEntry(slot)) } else { Entry::Vacant(VacantEntry(slot)) })
    }

    /// The key it was asked for by.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// use mapledb::Entry;
    ///
    /// assert_eq!(stock.entry("plums")?.key()?, "plums");
    /// if let Entry::Vacant(plums) = stock.entry("plums")? {
    ///     assert_eq!(plums.key()?, "plums");
    /// }
    /// assert!(stock.is_empty()); // asking stores nothing
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(&self) -> Result<K::Item<'_>> {
        match self {
            Entry::Occupied(entry) => entry.key(),
            Entry::Vacant(entry) => entry.key(),
        }
    }

    /// The value that is there, or `value`, which is stored. Cost: a descent, and another to store.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert_eq!(stock.entry("pears")?.or_insert(&3)?, 3);
    /// assert_eq!(stock.entry("pears")?.or_insert(&9)?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn or_insert(self, value: &V) -> Result<V::Item<'e>> {
        self.or_insert_with(|| value)
    }

    /// The value that is there, or what `make` answers, which is stored. Cost: as [`or_insert`](Entry::or_insert).
    pub fn or_insert_with<B: Borrow<V>>(self, make: impl FnOnce() -> B) -> Result<V::Item<'e>> {
        match self {
            Entry::Occupied(entry) => entry.into_value(),
            Entry::Vacant(entry) => entry.insert(make().borrow()),
        }
    }

    /// As [`or_insert_with`](Entry::or_insert_with), with a look at the key.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// assert_eq!(stock.entry("plums")?.or_insert_with_key(|name| name.len() as u32)?, 5);
    /// assert_eq!(stock.entry("plums")?.or_insert_with(|| -> u32 { unreachable!("it is there") })?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn or_insert_with_key<B: Borrow<V>>(self, make: impl FnOnce(K::Item<'_>) -> B) -> Result<V::Item<'e>> {
        match self {
            Entry::Occupied(entry) => entry.into_value(),
            Entry::Vacant(entry) => {
                let value = make(entry.key()?);
                entry.insert(value.borrow())
            }
        }
    }

    /// Stores what `change` makes of the value, if there is one. Cost: a descent to read and one to store.
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
    /// assert_eq!(stock.entry("pears")?.and_modify(|pieces| pieces * 2)?.or_insert(&0)?, 6);
    /// assert_eq!(stock.entry("plums")?.and_modify(|pieces| pieces * 2)?.or_insert(&0)?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn and_modify<B: Borrow<V>>(mut self, change: impl FnOnce(V::Item<'_>) -> B) -> Result<Entry<'e, 't, K, V>> {
        if let Entry::Occupied(entry) = &mut self {
            let value = change(entry.get()?);
            entry.0.put(value.borrow())?;
        }
        Ok(self)
    }

    /// Stores `value`, whatever was there. Cost: a descent.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// let pears = stock.entry("pears")?.insert_entry(&4)?;
    /// assert_eq!((pears.key()?, pears.get()?), ("pears", 4));
    /// assert_eq!(pears.into_value()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_entry(self, value: &V) -> Result<OccupiedEntry<'e, 't, K, V>> {
        let (Entry::Occupied(OccupiedEntry(mut slot)) | Entry::Vacant(VacantEntry(mut slot))) = self;
        slot.put(value)?;
        Ok(OccupiedEntry(slot))
    }
}

impl<'e, K: Key + ?Sized, V: Codec + ?Sized> OccupiedEntry<'e, '_, K, V> {
    /// The key it was asked for by.
    pub fn key(&self) -> Result<K::Item<'_>> {
        K::decode(&self.0.key)
    }

    /// Its value. Cost: a descent.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// use mapledb::Entry;
    ///
    /// stock.put("pears", &3)?;
    /// let Entry::Occupied(pears) = stock.entry("pears")? else { unreachable!("it was put") };
    /// assert_eq!((pears.key()?, pears.get()?), ("pears", 3));
    /// assert_eq!(pears.into_value()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self) -> Result<V::Item<'_>> {
        self.0.value()
    }

    /// Its value, as long as the table is borrowed. Cost: a descent.
    pub fn into_value(self) -> Result<V::Item<'e>> {
        self.0.into_value()
    }

    /// Stores `value`; answers what was there. Cost: two descents.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// let mut pears = stock.entry("pears")?.insert_entry(&3)?;
    /// assert_eq!(pears.insert(&7)?.get()?, 3);
    /// assert_eq!(pears.get()?, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(&mut self, value: &V) -> Result<Owned<V>> {
        let old = self.0.table.reading()?.get_bytes(&self.0.key)?.ok_or(Error::OrderBroken)?.to_vec();
        self.0.put(value)?;
        Ok(Owned::new(old))
    }

    /// Takes it out; answers its value. Cost: as [`WriteTable::delete`].
    pub fn remove(self) -> Result<Owned<V>> {
        Ok(self.remove_entry()?.1)
    }

    /// Takes it out; answers its key, as it was stored, and its value. Cost: as [`WriteTable::delete`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// let (name, pieces) = stock.entry("pears")?.insert_entry(&3)?.remove_entry()?;
    /// assert_eq!((name.get()?, pieces.get()?), ("pears", 3));
    /// assert_eq!(stock.entry("plums")?.insert_entry(&1)?.remove()?.get()?, 1);
    /// assert!(stock.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_entry(self) -> Result<(Owned<K>, Owned<V>)> {
        self.0.table.take_bytes(&self.0.key)?.ok_or(Error::OrderBroken)
    }
}

impl<'e, K: Key + ?Sized, V: Codec + ?Sized> VacantEntry<'e, '_, K, V> {
    /// The key it was asked for by.
    pub fn key(&self) -> Result<K::Item<'_>> {
        K::decode(&self.0.key)
    }

    /// Stores `value`; answers it as it is stored. Cost: two descents.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// use mapledb::Entry;
    ///
    /// let stored = match stock.entry("plums")? {
    ///     Entry::Vacant(plums) => plums.insert(&12)?,
    ///     Entry::Occupied(plums) => plums.into_value()?,
    /// };
    /// assert_eq!(stored, 12);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(mut self, value: &V) -> Result<V::Item<'e>> {
        self.0.put(value)?;
        self.0.into_value()
    }
}
