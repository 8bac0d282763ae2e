//! Back to a named snapshot: the whole environment by taking its pages back, one table by copying it.
//!
//! What the snapshot reaches and the latest state does not waits in free records, for the snapshot pins it. Those records are
//! withdrawn: the pages are in use again, and nobody takes them. What the latest state reaches and the snapshot does not is
//! given up like any other page. Which is which is found by walking both, for after an earlier rollback the age of a page
//! does not tell who reaches it.

use std::sync::Arc;

use mapledb_format::order::Bytewise;
use mapledb_format::{Extent, FormatError, SnapshotRecord, TableRecord, TreeRecord, header};

use super::tables::Tables;
use super::{Core, TableId, WriteTxn};
use crate::catalog::{self, snapshots};
use crate::dup;
use crate::error::{Error, Result};
use crate::mvcc::Wait;
use crate::pages::{Pages, PagesMut};
use crate::space::Extents;
use crate::store::Snapshot;
use crate::tree::{KeyOrder, Visit, in_its_order, walk};

impl Core {
    /// Commits the state of a named snapshot once more; answers the commit's number.
    pub(crate) fn roll_back(self: &Arc<Core>, name: &str) -> Result<u64> {
        let mut txn = loop {
            if let Some(txn) = self.begin_write(Wait::Forever)? {
                break txn;
            }
        };
        txn.roll_back(name)?;
        txn.commit()
    }
}

impl WriteTxn {
    /// Makes the state that the transaction goes on from that of the snapshot called `name`, as
    /// [`Env::roll_back`](crate::Env::roll_back) does; further changes may follow. It must be the first change of the transaction, outside
    /// nested ones and savepoints.
    ///
    /// Cost: as there, but for the commit.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`]; [`Error::RollbackNotFirst`] after a change. Neither changes anything.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"title", b"On maples")?;
    /// txn.create_snapshot("draft")?;
    /// txn.commit()?;
    /// let mut txn = env.write()?;
    /// txn.main().clear()?;
    /// txn.commit()?;
    ///
    /// let mut txn = env.write()?;
    /// txn.roll_back("draft")?;
    /// txn.main().put(b"state", b"restored")?;
    /// assert!(matches!(txn.roll_back("draft"), Err(mapledb::Error::RollbackNotFirst)));
    /// txn.commit()?;
    /// assert_eq!(env.read()?.main()?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn roll_back(&mut self, name: &str) -> Result<()> {
        self.check()?;
        if self.is_changed || !self.levels.is_empty() {
            return Err(Error::RollbackNotFirst);
        }
        let record = self.snapshot_record(name)?;
        self.attempt(|txn| txn.take_back(&record))?;
        self.tables = Tables::default();
        self.states.begin_anew();
        Ok(())
    }

    /// Makes a table what it is in the snapshot called `name`, sequence and types included; `None` is the default table. It
    /// is made if it is not there. Other tables stay as they are. Answers how many entries it has now.
    ///
    /// The table is copied, for its pages may be in use elsewhere: a renamed table shares them. So this costs as much as loading
    /// it in order, and the copy takes as much room as the table beside what the snapshot holds.
    /// [`Env::roll_back`](crate::Env::roll_back) brings everything back without a copy.
    ///
    /// Cost: a page read for each page of the table as it is; each page of the snapshot's read once, and as many written.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`]; [`Error::SnapshotUncommitted`] if this transaction makes it; [`Error::TableMissing`] if the snapshot has no such table. Neither changes anything.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("stock.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Table;
    ///
    /// const STOCK: Table<'static, str, u32> = Table::new("stock");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&STOCK)?.put("pears", &3)?;
    /// txn.create_snapshot("counted")?;
    /// txn.commit()?;
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&STOCK)?.clear()?;
    /// assert_eq!(txn.roll_back_table("counted", Some("stock"))?, 1);
    /// txn.commit()?;
    /// assert_eq!(env.read()?.table(&STOCK)?.get("pears")?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn roll_back_table(&mut self, name: &str, table: Option<&str>) -> Result<u64> {
        self.check()?;
        let snapshot = self.snapshot_record(name)?;
        let from = self.window_on(&snapshot)?;
        let record = match table {
            None => main_record(&snapshot),
            Some(table) => catalog::find(&from.pages(self), &snapshot.catalog, table)?
                .ok_or_else(|| Error::TableMissing { name: table.to_string() })?,
        };
        let id = match table {
            None => {
                self.change(TableId::Main, Bytewise, |tree| tree.clear())?;
                self.head.default_sequence = record.sequence;
                TableId::Main
            }
            Some(table) => {
                self.drop_table(table)?;
                self.adopt_named(table, &record)?
            }
        };
        let store = Arc::clone(&self.core.store);
        let pages = Snapshot { store: &store, view: from.0 };
        // A named order is not asked: what comes later is greater.
        in_its_order!(KeyOrder::recorded(record.tree.order), order => {
            self.change(id, order, |tree| dup::copy_tree(&pages, &record.tree, tree, &mut || Ok(())))?;
        });
        Ok(record.tree.entries)
    }

    fn snapshot_record(&self, name: &str) -> Result<SnapshotRecord> {
        let name_of = || name.to_string();
        if self.naming.is_new(name) {
            return Err(Error::SnapshotUncommitted { name: name_of() });
        }
        let mut record = snapshots::find(&self.draft, &self.head.snapshots, name)?
            .ok_or_else(|| Error::SnapshotMissing { name: name_of() })?;
        record.pages_used = record.pages_used.min(self.draft.base_view().pages_used);
        Ok(record)
    }

    /// A snapshot that the head lists, and that is pinned by that until the transaction ends.
    fn window_on(&self, record: &SnapshotRecord) -> Result<Window> {
        Ok(Window(self.core.store.view(record.txnid, record.pages_used, self.draft.base_view().settled())?))
    }

    /// Makes default table and catalog those of `record`. The transaction has changed nothing before.
    fn take_back(&mut self, record: &SnapshotRecord) -> Result<()> {
        let window = self.window_on(record)?;
        let theirs = units_of(&window.pages(self), &record.default_table, &record.catalog)?;
        let ours = units_of(&self.draft, &self.head.default_table, &self.head.catalog)?;
        let set = |units: &[Extent]| units.iter().copied().collect::<Extents>();
        let (kept, held) = (set(&theirs), set(&ours));
        for unit in ours.iter().filter(|unit| !kept.holds(unit)) {
            let page = self.draft.base_view().raw(self.draft.store(), unit.first, 1)?;
            let born = header::stored_txnid(page).map_err(|cause| Error::Corrupt { pgno: unit.first, cause })?;
            self.draft.free(unit.first, unit.pages, born)?;
        }
        let revived = kept.without(&held).into_iter().collect();
        if !mapledb_os::planted("unwithdrawn_rollback") {
            self.draft.withdraw(record.txnid, &revived)?;
        }
        self.head.default_table = record.default_table;
        self.head.default_sequence = record.default_sequence;
        self.head.catalog = record.catalog;
        Ok(())
    }
}

/// The default table of a snapshot, as a record such as named ones have.
fn main_record(snapshot: &SnapshotRecord) -> TableRecord {
    let mut record = TableRecord::new(snapshot.default_table);
    record.sequence = snapshot.default_sequence;
    record
}

/// A view of a named snapshot.
struct Window(crate::store::View);

impl Window {
    fn pages<'t>(&self, txn: &'t WriteTxn) -> Snapshot<'t> {
        Snapshot { store: &txn.core.store, view: self.0 }
    }
}

/// The pages and runs of the default table, the catalog, and the tables it lists.
fn units_of<P: Pages>(pages: &P, default_table: &TreeRecord, catalog: &TreeRecord) -> Result<Vec<Extent>> {
    let mut trees = vec![*default_table, *catalog];
    trees.extend(catalog::list(pages, catalog)?.into_iter().map(|(_, table)| table.tree));
    let (mut units, mut seen) = (Vec::new(), Extents::default());
    for tree in &trees {
        walk(pages, tree, KeyOrder::recorded(tree.order), &mut |visit: Visit| {
            let unit = Extent::new(visit.pgno, visit.pages);
            if !seen.insert(unit) {
                let cause = FormatError::BadReference("the page is referred to twice");
                return Err(Error::Corrupt { pgno: visit.pgno, cause });
            }
            units.push(unit);
            Ok(())
        })?;
    }
    Ok(units)
}
