//! Which table: its name and its types.

use std::marker::PhantomData;

use mapledb_format::TableRecord;

use super::codec::{Codec, Key, Typed};
use super::{ReadTable, TableStat, WriteTable};
use super::multimap::Duplicates;
use crate::catalog::{self, Asked, Kind, Types};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::KeyOrder;
use crate::txn::{ReadTxn, TableId, WriteTxn};

/// A table as a user names it: by its name, and by the types of its keys and values. Make it a `const`.
///
/// ```
/// use mapledb::Table;
///
/// const USERS: Table<'static, str, u64> = Table::new("users");
/// assert_eq!(USERS.name(), Some("users"));
/// ```
pub struct Table<'n, K: ?Sized, V: ?Sized> {
    name: Option<&'n str>,
    is_untyped: bool,
    order: Option<KeyOrder>,
    types: Typed<K, V>,
}

impl<'n, K: ?Sized, V: ?Sized> Table<'n, K, V> {
    /// The table called `name`, of 1 byte up to a quarter of a page: another name is refused where the table is made. Cost: none.
    pub const fn new(name: &'n str) -> Table<'n, K, V> {
        Table { name: Some(name), is_untyped: false, order: None, types: PhantomData }
    }

    /// The same table with its keys in `order`, instead of the one that their type asks for ([`Key::ORDER`]). It is recorded when
    /// the table is made; who opens it with another one is refused.
    ///
    /// The default table is always in bytewise order.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, KeyOrder, Table};
    ///
    /// const HOSTS: Table<'static, str, u32> = Table::new("hosts").in_order(KeyOrder::REVERSE);
    ///
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().create(dir.path().join("hosts.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut hosts = txn.open_table(&HOSTS)?;
    /// for (n, host) in ["www.example.org", "example.com", "mail.example.org"].into_iter().enumerate() {
    ///     hosts.put(host, &(n as u32))?;
    /// }
    /// let names = hosts.reading()?.keys()?.map(|key| Ok(key?.to_owned())).collect::<mapledb::Result<Vec<_>>>()?;
    /// assert_eq!(names, ["mail.example.org", "www.example.org", "example.com"]);
    /// # Ok(())
    /// # }
    /// ```
    pub const fn in_order(self, order: KeyOrder) -> Table<'n, K, V> {
        Table { order: Some(order), ..self }
    }

    /// Its name; the default table has none.
    ///
    /// ```
    /// use mapledb::Table;
    ///
    /// const AGES: Table<'static, str, u64> = Table::new("ages");
    ///
    /// assert_eq!((AGES.name(), Table::main().name()), (Some("ages"), None));
    /// ```
    pub const fn name(&self) -> Option<&'n str> {
        self.name
    }
}

impl<'n> Table<'n, [u8], [u8]> {
    /// The default table: it is there from the start, has no name, and holds bytes. A commit that touches only it
    /// touches no catalog.
    pub const fn main() -> Table<'static, [u8], [u8]> {
        Table { name: None, is_untyped: false, order: None, types: PhantomData }
    }

    /// The table called `name` as bytes, whatever types the catalog records: for tools. Bytes put this way must be
    /// what the types ask for; nothing checks.
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
    /// let raw = txn.table(&mapledb::Table::untyped("squares"))?; // whatever types it has
    /// assert_eq!(raw.get(&7u32.to_be_bytes())?, Some(&49u32.to_be_bytes()[..]));
    /// assert!(txn.table(&mapledb::Table::main())?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub const fn untyped(name: &'n str) -> Table<'n, [u8], [u8]> {
        Table { name: Some(name), is_untyped: true, order: None, types: PhantomData }
    }
}

impl<K: Key + ?Sized, V: Codec + ?Sized> Table<'_, K, V> {
    pub(super) fn asked(&self) -> Asked {
        if self.is_untyped {
            return Asked { types: None, order: self.order, kind: Some(Kind::Table) };
        }
        let types = Types { key: K::type_name(), value: V::type_name() };
        Asked { types: Some(types), order: Some(self.order.unwrap_or(K::ORDER)), kind: Some(Kind::Table) }
    }

    /// Refuses another order for the default table, whose record has no place for it.
    pub(super) fn check_main(&self) -> Result<()> {
        match self.order {
            Some(asked) if asked != KeyOrder::BYTEWISE => Err(Error::TableOrder {
                name: "main".to_string(),
                recorded: KeyOrder::BYTEWISE.name().to_string(),
                asked: asked.name().to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// A table as it stands in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// Its name; `None` for the default table.
    pub name: Option<String>,
    /// The type of its keys, as the catalog records it.
    pub key_type: String,
    /// The type of its values.
    pub value_type: String,
    /// The name of the order of its keys: `bytewise`, `reverse`, `integer`, or that of a named order.
    pub order: String,
    /// What its duplicates are if it is a [`Multimap`](crate::Multimap), whose entries are pairs.
    pub duplicates: Option<Duplicates>,
    /// The name of the order of its duplicates, as that of its keys, be it at hand or not.
    pub duplicate_order: Option<String>,
    /// Its size.
    pub stat: TableStat,
    /// The next number of its sequence.
    pub sequence: u64,
}

impl TableInfo {
    fn of(name: &str, record: &TableRecord, known: &[KeyOrder]) -> TableInfo {
        let Types { key, value } = Types::of(record);
        let orders = catalog::orders_of(record, known);
        TableInfo {
            name: Some(name.to_string()),
            key_type: key,
            value_type: value,
            order: catalog::order_name(record),
            duplicates: record.tree.duplicates.map(|duplicates| Duplicates::of(duplicates, orders.duplicates)),
            duplicate_order: catalog::duplicate_order_name(record),
            stat: TableStat::of(&record.tree),
            sequence: record.sequence,
        }
    }

    fn main(stat: TableStat, sequence: u64) -> TableInfo {
        let bytes = || <[u8]>::type_name();
        let order = KeyOrder::BYTEWISE.name().to_string();
        let (duplicates, duplicate_order) = (None, None);
        TableInfo { name: None, key_type: bytes(), value_type: bytes(), order, duplicates, duplicate_order, stat, sequence }
    }
}

impl ReadTxn {
    /// The default table.
    ///
    /// Cost: none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let txn = env.read()?;
    /// assert!(txn.main()?.is_empty()); // it is there from the start
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn main(&self) -> Result<ReadTable<'_, [u8], [u8]>> {
        Ok(ReadTable::new(self, &self.main_tree()?, KeyOrder::BYTEWISE))
    }

    /// A table.
    ///
    /// Cost: one descent of the catalog; none for the default table.
    ///
    /// # Errors
    /// [`Error::TableMissing`]; [`Error::TableTypes`], [`Error::TableOrder`] or [`Error::TableKind`] if it was made with other
    /// types, in another order, or as a multimap.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::{Error, Table};
    ///
    /// const AGES: Table<'static, str, u64> = Table::new("ages");
    ///
    /// let before = env.read()?;
    /// let mut txn = env.write()?;
    /// txn.open_table(&AGES)?.put("ada", &36)?;
    /// txn.commit()?;
    /// assert!(matches!(before.table(&AGES), Err(Error::TableMissing { .. })));
    /// let txn = env.read()?;
    /// assert_eq!(txn.table(&AGES)?.get("ada")?, Some(36));
    /// assert!(matches!(txn.table(&Table::<str, str>::new("ages")), Err(Error::TableTypes { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(&self, table: &Table<'_, K, V>) -> Result<ReadTable<'_, K, V>> {
        self.table_through(self, table)
    }

    /// A table, whose pages are read through `pages`, of the same snapshot.
    pub(super) fn table_through<'p, K: Key + ?Sized, V: Codec + ?Sized, P: Pages>(
        &self,
        pages: &'p P,
        table: &Table<'_, K, V>,
    ) -> Result<ReadTable<'p, K, V, P>> {
        let Some(name) = table.name else {
            table.check_main()?;
            return Ok(ReadTable::new(pages, &self.main_tree()?, KeyOrder::BYTEWISE));
        };
        let (record, order) = table.asked().open(name, self.find_table(name)?, self.known_orders())?;
        Ok(ReadTable::new(pages, &record.tree, order.keys))
    }

    /// Every table: the default one first, then the named ones by name.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::Table;
    ///
    /// const USERS: Table<'static, u64, str> = Table::new("users");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&USERS)?.put(&7, "ida")?;
    /// txn.commit()?;
    /// let tables = env.read()?.tables()?;
    /// let told = |at: usize| (tables[at].name.as_deref(), &tables[at].key_type[..], tables[at].stat.entries);
    /// assert_eq!((told(0), told(1)), ((None, "bytes", 0), (Some("users"), "u64", 1)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cost: a descent of the catalog and a slot and a cell a table.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let mut tables = vec![TableInfo::main(TableStat::of(&self.main_tree()?), self.main_sequence())];
        let named = catalog::list(self, &self.catalog_tree()?)?;
        tables.extend(named.iter().map(|(name, record)| TableInfo::of(name, record, self.known_orders())));
        Ok(tables)
    }
}

impl WriteTxn {
    /// The default table.
    ///
    /// Cost: none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// assert_eq!(txn.main().get(b"key")?, Some(&b"value"[..])); // as it will be
    /// # Ok(())
    /// # }
    /// ```
    pub fn main(&mut self) -> WriteTable<'_, [u8], [u8]> {
        WriteTable::new(self, TableId::Main, KeyOrder::BYTEWISE)
    }

    /// A table that is there.
    ///
    /// Cost: one descent of the catalog the first time in a transaction; none for the default table.
    ///
    /// # Errors
    /// As [`ReadTxn::table`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// const AGES: mapledb::Table<'static, str, u64> = mapledb::Table::new("ages");
    ///
    /// let mut txn = env.write()?;
    /// assert!(matches!(txn.table(&AGES), Err(mapledb::Error::TableMissing { .. }))); // nothing is made
    /// txn.open_table(&AGES)?;
    /// txn.table(&AGES)?.put("ada", &36)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<'_, K, V>,
    ) -> Result<WriteTable<'_, K, V>> {
        self.open(table, false)
    }

    /// A table, made with these types and in this order if it is not there.
    ///
    /// Cost: as [`WriteTxn::table`]; a table that is made is a record of the catalog, written by the commit.
    ///
    /// # Errors
    /// [`Error::TableTypes`] or [`Error::TableOrder`] if it is there with other types or in another order.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::{KeyOrder, Table};
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&Table::<str, u64>::new("ages"))?.put("ada", &36)?;
    /// let other = Table::<str, u64>::new("ages").in_order(KeyOrder::REVERSE);
    /// assert!(matches!(txn.open_table(&other), Err(mapledb::Error::TableOrder { .. })));
    /// assert_eq!(txn.tables()?[1].name.as_deref(), Some("ages"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_table<K: Key + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<'_, K, V>,
    ) -> Result<WriteTable<'_, K, V>> {
        self.open(table, true)
    }

    /// A table as bytes, made with types of these names if it is not there: for tools, which know types by the names
    /// that the catalog records. Bytes put this way must be what the types ask for; nothing checks.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, Table};
    ///
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().create(dir.path().join("ages.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.open_table_as("ages", "str", "u64")?.put(b"ada", &36u64.to_be_bytes())?;
    /// assert!(txn.open_table_as("ages", "str", "u32").is_err());
    /// txn.commit()?;
    ///
    /// const AGES: Table<'static, str, u64> = Table::new("ages");
    /// assert_eq!(env.read()?.table(&AGES)?.get("ada")?, Some(36));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TableTypes`] if it is there with types of other names.
    pub fn open_table_as(
        &mut self,
        name: &str,
        key_type: &str,
        value_type: &str,
    ) -> Result<WriteTable<'_, [u8], [u8]>> {
        self.open_table_as_in_order(name, key_type, value_type, None)
    }

    /// As [`open_table_as`](WriteTxn::open_table_as), made in `order` if it is not there. `None` is whatever order it has, and
    /// the bytewise one if it is made.
    ///
    /// # Errors
    /// [`Error::TableTypes`] or [`Error::TableOrder`] if it is there with types of other names or in another order.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::KeyOrder;
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table_as_in_order("hosts", "bytes", "u32", Some(KeyOrder::REVERSE))?.put(b"maple.example", &[0, 0, 0, 7])?;
    /// let table = &txn.tables()?[1];
    /// assert_eq!((&*table.key_type, &*table.value_type), ("bytes", "u32"));
    /// let hosts = txn.open_table_as_in_order("hosts", "bytes", "u32", None)?;
    /// assert_eq!(hosts.order(), KeyOrder::REVERSE);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_table_as_in_order(
        &mut self,
        name: &str,
        key_type: &str,
        value_type: &str,
        order: Option<KeyOrder>,
    ) -> Result<WriteTable<'_, [u8], [u8]>> {
        let types = Types { key: key_type.to_string(), value: value_type.to_string() };
        let (id, order) = self.open_named(name, &Asked { types: Some(types), order, kind: Some(Kind::Table) }, true)?;
        Ok(WriteTable::new(self, id, order.keys))
    }

    fn open<K: Key + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<'_, K, V>,
        create: bool,
    ) -> Result<WriteTable<'_, K, V>> {
        let (id, order) = match table.name {
            None => {
                table.check_main()?;
                (TableId::Main, KeyOrder::BYTEWISE)
            }
            Some(name) => {
                let (id, order) = self.open_named(name, &table.asked(), create)?;
                (id, order.keys)
            }
        };
        Ok(WriteTable::new(self, id, order))
    }

    /// Every table as it stands in this transaction: the default one first, then the named ones by name.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let (main, sequence) = self.main_state();
        let mut tables = vec![TableInfo::main(TableStat::of(main), sequence)];
        tables.extend(self.list_tables()?.iter().map(|(name, record)| TableInfo::of(name, record, self.known_orders())));
        Ok(tables)
    }
}
