//! Scans with advice: tables of a read transaction, gone through on other terms than its own.

use super::codec::{Codec, Key};
use super::{Multimap, ReadMultimap, ReadTable, Table};
use crate::env::{Scan, ScanAdvice};
use crate::error::Result;
use crate::tree::KeyOrder;
use crate::txn::ReadTxn;

impl ReadTxn {
    /// The transaction for a scan, which reads ahead, or leaves no more in memory than there was, as `advice` says: for
    /// exports and reports beside those who look up single keys. Values read through it live as long as its borrow. It may
    /// be used from many threads.
    ///
    /// Cost: none. A page that is not in memory costs one or two system calls more, of 0.2 µs; with
    /// [`sequential`](ScanAdvice::sequential) one in 256 pages does, unless it [releases](ScanAdvice::release), too.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("ages.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::{ScanAdvice, Table};
    ///
    /// const AGES: Table<'static, str, u64> = Table::new("ages");
    /// # let mut txn = env.write()?;
    /// # txn.open_table(&AGES)?.put("ada", &36)?;
    /// # txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// let scan = txn.scan(ScanAdvice::new().sequential().release());
    /// let mut total = 0;
    /// for entry in scan.table(&AGES)?.iter()? {
    ///     total += entry?.1;
    /// }
    /// assert_eq!(total, 36);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, advice: ScanAdvice) -> Scan<'_> {
        Scan::new(self, advice)
    }
}

/// Scans go wherever transactions go.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Scan<'_>>();
    is_send_and_sync::<ReadTable<'_, [u8], [u8], Scan<'_>>>();
};

impl<'t> Scan<'t> {
    /// The default table.
    ///
    /// # Errors
    /// As [`ReadTxn::main`].
    pub fn main(&self) -> Result<ReadTable<'_, [u8], [u8], Scan<'t>>> {
        Ok(ReadTable::new(self, &self.txn().main_tree()?, KeyOrder::BYTEWISE))
    }

    /// A table.
    ///
    /// Cost: as [`ReadTxn::table`].
    ///
    /// # Errors
    /// As [`ReadTxn::table`].
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
    /// let scan = txn.scan(mapledb::ScanAdvice::new().release());
    /// let squares = scan.table(&SQUARES)?;
    /// assert_eq!((squares.len(), squares.last()?), (10, Some((9, 81))));
    /// assert!(scan.main()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn table<K: Key + ?Sized, V: Codec + ?Sized>(
        &self,
        table: &Table<'_, K, V>,
    ) -> Result<ReadTable<'_, K, V, Scan<'t>>> {
        self.txn().table_through(self, table)
    }

    /// A multimap.
    ///
    /// Cost: as [`ReadTxn::multimap`].
    ///
    /// # Errors
    /// As [`ReadTxn::multimap`].
    pub fn multimap<K: Key + ?Sized, V: Key + ?Sized>(
        &self,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<ReadMultimap<'_, K, V, Scan<'t>>> {
        self.txn().multimap_through(self, multimap)
    }
}
