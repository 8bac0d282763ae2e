//! Which table: its name and its types.

use std::marker::PhantomData;

use mapledb_format::TableRecord;

use super::codec::{Codec, Key, Typed};
use super::{ReadTable, TableStat, WriteTable};
use crate::catalog::{self, Types};
use crate::error::{Error, Result};
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
    types: Typed<K, V>,
}

impl<'n, K: ?Sized, V: ?Sized> Table<'n, K, V> {
    /// The table called `name`, of 1 byte up to a quarter of a page.
    pub const fn new(name: &'n str) -> Table<'n, K, V> {
        Table { name: Some(name), is_untyped: false, types: PhantomData }
    }

    /// Its name; the default table has none.
    pub const fn name(&self) -> Option<&'n str> {
        self.name
    }
}

impl<'n> Table<'n, [u8], [u8]> {
    /// The default table: it is there from the start, has no name, and holds bytes. A commit that touches only it
    /// touches no catalog.
    pub const fn main() -> Table<'static, [u8], [u8]> {
        Table { name: None, is_untyped: false, types: PhantomData }
    }

    /// The table called `name` as bytes, whatever types the catalog records: for tools. Bytes put this way must be
    /// what the types ask for; nothing checks.
    pub const fn untyped(name: &'n str) -> Table<'n, [u8], [u8]> {
        Table { name: Some(name), is_untyped: true, types: PhantomData }
    }
}

impl<K: Key + ?Sized, V: Codec + ?Sized> Table<'_, K, V> {
    fn types(&self) -> Option<Types> {
        (!self.is_untyped).then(|| Types { key: K::type_name(), value: V::type_name() })
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
    /// Its size.
    pub stat: TableStat,
    /// The next number of its sequence.
    pub sequence: u64,
}

impl TableInfo {
    fn of(name: &str, record: &TableRecord) -> TableInfo {
        let Types { key, value } = Types::of(record);
        TableInfo {
            name: Some(name.to_string()),
            key_type: key,
            value_type: value,
            stat: TableStat::of(&record.tree),
            sequence: record.sequence,
        }
    }

    fn main(stat: TableStat, sequence: u64) -> TableInfo {
        let bytes = || <[u8]>::type_name();
        TableInfo { name: None, key_type: bytes(), value_type: bytes(), stat, sequence }
    }
}

impl ReadTxn {
    /// The default table.
    #[inline]
    pub fn main(&self) -> Result<ReadTable<'_, [u8], [u8]>> {
        Ok(ReadTable::new(self, &self.main_tree()?))
    }

    /// A table.
    ///
    /// Cost: one descent of the catalog; none for the default table.
    ///
    /// # Errors
    /// [`Error::TableMissing`], or [`Error::TableTypes`] if it was made with other types.
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(&self, table: &Table<'_, K, V>) -> Result<ReadTable<'_, K, V>> {
        let Some(name) = table.name else { return Ok(ReadTable::new(self, &self.main_tree()?)) };
        let record = self.find_table(name)?.ok_or_else(|| Error::TableMissing { name: name.to_string() })?;
        if let Some(asked) = table.types() {
            crate::txn::check_types(name, &asked, &Types::of(&record))?;
        }
        Ok(ReadTable::new(self, &record.tree))
    }

    /// Every table: the default one first, then the named ones by name.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let mut tables = vec![TableInfo::main(TableStat::of(&self.main_tree()?), self.main_sequence())];
        let named = catalog::list(self, &self.catalog_tree()?)?;
        tables.extend(named.iter().map(|(name, record)| TableInfo::of(name, record)));
        Ok(tables)
    }
}

impl WriteTxn {
    /// The default table.
    pub fn main(&mut self) -> WriteTable<'_, [u8], [u8]> {
        WriteTable::new(self, TableId::Main)
    }

    /// A table that is there.
    ///
    /// Cost: one descent of the catalog the first time in a transaction; none for the default table.
    ///
    /// # Errors
    /// As [`ReadTxn::table`].
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<'_, K, V>,
    ) -> Result<WriteTable<'_, K, V>> {
        self.open(table, false)
    }

    /// A table, made with these types if it is not there.
    ///
    /// # Errors
    /// [`Error::TableTypes`] if it is there with other types.
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
        let types = Types { key: key_type.to_string(), value: value_type.to_string() };
        let id = self.open_named(name, Some(&types), true)?;
        Ok(WriteTable::new(self, id))
    }

    fn open<K: Key + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<'_, K, V>,
        create: bool,
    ) -> Result<WriteTable<'_, K, V>> {
        let id = match table.name {
            None => TableId::Main,
            Some(name) => self.open_named(name, table.types().as_ref(), create)?,
        };
        Ok(WriteTable::new(self, id))
    }

    /// Every table as it stands in this transaction: the default one first, then the named ones by name.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let (main, sequence) = self.main_state();
        let mut tables = vec![TableInfo::main(TableStat::of(main), sequence)];
        tables.extend(self.list_tables()?.iter().map(|(name, record)| TableInfo::of(name, record)));
        Ok(tables)
    }
}
