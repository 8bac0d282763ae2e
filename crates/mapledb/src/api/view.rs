//! A write transaction to read: as it stands, by many at once.

use std::fmt;

use super::codec::{Codec, Key};
use super::multimap::dup_max;
use super::{Multimap, ReadMultimap, ReadTable, Table, TableInfo};
use crate::error::Result;
use crate::space::Draft;
use crate::tree::KeyOrder;
use crate::txn::{TableId, WriteTxn};

/// A write transaction as it stands, to read only. As many as one likes, in as many threads: each is a copy of a reference.
///
/// It borrows the transaction, so nothing changes while one is alive; what it hands out lives as long as that borrow.
/// [`WriteTxn::view`] has an example.
#[derive(Clone, Copy)]
pub struct TxnView<'t> {
    txn: &'t WriteTxn,
}

/// Views go wherever they are of use.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<TxnView<'_>>();
    is_send_and_sync::<ReadTable<'_, [u8], [u8], Draft>>();
    is_send_and_sync::<ReadMultimap<'_, [u8], [u8], Draft>>();
};

impl WriteTxn {
    /// The transaction as it stands, uncommitted changes included, to be read by many at once: in scoped threads, too.
    ///
    /// Cost: none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("books.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Table;
    ///
    /// const DEBITS: Table<'static, u64, u64> = Table::new("debits");
    /// const CREDITS: Table<'static, u64, u64> = Table::new("credits");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&DEBITS)?.put(&1, &100)?;
    /// txn.open_table(&CREDITS)?.put(&1, &100)?;
    ///
    /// // Both are summed before anything is committed.
    /// let view = txn.view();
    /// let sum = |table| -> mapledb::Result<u64> {
    ///     view.table(table)?.iter()?.map(|entry| entry.map(|(_, amount)| amount)).sum()
    /// };
    /// let (debits, credits) = std::thread::scope(|scope| {
    ///     let debits = scope.spawn(|| sum(&DEBITS));
    ///     (debits.join().expect("no panic"), sum(&CREDITS))
    /// });
    /// assert_eq!(debits?, credits?);
    /// txn.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn view(&self) -> TxnView<'_> {
        TxnView { txn: self }
    }
}

impl<'t> TxnView<'t> {
    /// The default table.
    ///
    /// # Errors
    /// [`Error::TxnUnusable`](crate::Error::TxnUnusable), [`Error::AfterFork`](crate::Error::AfterFork),
    /// [`Error::Fault`](crate::Error::Fault).
    pub fn main(&self) -> Result<ReadTable<'t, [u8], [u8], Draft>> {
        let (draft, record) = self.txn.reading(TableId::Main)?;
        Ok(ReadTable::new(draft, record, KeyOrder::BYTEWISE))
    }

    /// A table.
    ///
    /// Cost: one descent of the catalog, unless the transaction has opened the table already.
    ///
    /// # Errors
    /// As [`ReadTxn::table`](crate::ReadTxn::table), and those of [`TxnView::main`].
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
    /// let view = txn.view();
    /// let squares = view.table(&SQUARES)?;
    /// std::thread::scope(|scope| {
    ///     let last = scope.spawn(|| squares.last()).join().expect("no panic")?;
    ///     assert_eq!(last, Some((10, 100)));
    ///     mapledb::Result::Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(
        &self,
        table: &Table<'_, K, V>,
    ) -> Result<ReadTable<'t, K, V, Draft>> {
        let Some(name) = table.name() else {
            table.check_main()?;
            let (draft, record) = self.txn.reading(TableId::Main)?;
            return Ok(ReadTable::new(draft, record, KeyOrder::BYTEWISE));
        };
        let (record, order) = table.asked().open(name, self.txn.find_table(name)?, self.txn.known_orders())?;
        Ok(ReadTable::new(self.txn.draft(), &record.tree, order.keys))
    }

    /// A multimap.
    ///
    /// Cost: as [`TxnView::table`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("tags.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Multimap;
    ///
    /// const TAGS: Multimap<'static, str, u64> = Multimap::new("tags");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_multimap(&TAGS)?.insert_all("red", [7, 3, 5])?;
    ///
    /// // Looked at before it is committed, by as many threads as one likes.
    /// let tags = txn.view().multimap(&TAGS)?;
    /// assert_eq!((tags.count_of("red")?, tags.first_of("red")?), (3, Some(3)));
    /// txn.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`ReadTxn::multimap`](crate::ReadTxn::multimap), and those of [`TxnView::main`].
    pub fn multimap<K: Key + ?Sized, V: Key + ?Sized>(
        &self,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<ReadMultimap<'t, K, V, Draft>> {
        let (name, draft) = (multimap.name(), self.txn.draft());
        let asked = multimap.asked(dup_max(draft))?;
        let (record, order) = asked.open(name, self.txn.find_table(name)?, self.txn.known_orders())?;
        Ok(ReadMultimap::new(draft, &record.tree, order))
    }

    /// Every table: the default one first, then the named ones by name.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// let view = txn.view();
    /// assert_eq!((view.main()?.len(), view.tables()?.len(), view.txnid()), (1, 1, txn.txnid()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.txn.tables()
    }

    /// The number that the transaction's commit will have.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"draft")?;
    /// let view = txn.view();
    /// assert_eq!(view.main()?.get(b"key")?, Some(&b"draft"[..]));
    /// let number = view.txnid();
    /// assert_eq!(txn.commit()?, number);
    /// # Ok(())
    /// # }
    /// ```
    pub fn txnid(&self) -> u64 {
        self.txn.txnid()
    }
}

impl fmt::Debug for TxnView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxnView").field("txnid", &self.txnid()).finish_non_exhaustive()
    }
}
