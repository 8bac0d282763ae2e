//! Write transactions: one at a time, in all processes.

use std::sync::Arc;

use mapledb_format::order::Order;
use mapledb_format::{HeadBody, TableRecord, TreeRecord};

use super::level::Levels;
use super::snapshots::Naming;
use super::tables::{Opened, Tables};
use super::version::{States, Version};
use super::Core;
use crate::catalog::{self, Asked};
use crate::commit::Durability;
use crate::error::{Error, Result};
use crate::mvcc::WriterGuard;
use crate::pages::PagesMut;
use crate::space::Draft;
use crate::tree::{PairOrder, TreeMut};

/// A table of this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableId {
    /// The default table.
    Main,
    /// A named one, by its place in the list of those opened.
    Named(usize),
}

/// Changes that become visible together, or not at all.
///
/// Dropping it without a commit leaves nothing behind. It holds the writer lock: no other write transaction, of any
/// process, begins before it ends. It is `Send`, and not tied to the thread that began it.
///
/// After an error that touched its pages (a full disk, a corrupt page) the transaction is unusable: every further
/// call and the commit are refused; only dropping it is left, or going back to a [savepoint](WriteTxn::savepoint) made before.
/// Errors about arguments leave it as it was.
pub struct WriteTxn {
    pub(super) draft: Draft,
    pub(super) head: Box<HeadBody>,
    pub(super) tables: Tables,
    pub(super) levels: Levels,
    pub(super) naming: Naming,
    pub(super) durability: Durability,
    pub(super) is_changed: bool,
    pub(super) is_broken: bool,
    pub(super) is_done: bool,
    /// Calls that changed a table.
    pub(super) changes: u64,
    pub(super) states: States,
    // Dropped before the core: the last to leave must not hold the lock.
    pub(super) guard: WriterGuard,
    pub(super) core: Arc<Core>,
}

impl WriteTxn {
    pub(super) fn new(core: Arc<Core>, guard: WriterGuard, draft: Draft, head: Box<HeadBody>, naming: Naming) -> WriteTxn {
        WriteTxn {
            draft,
            head,
            tables: Tables::default(),
            levels: Levels::default(),
            naming,
            durability: core.options.durability,
            is_changed: false,
            is_broken: false,
            is_done: false,
            changes: 0,
            states: States::new(),
            core,
            guard,
        }
    }

    /// The number its commit will have.
    pub fn txnid(&self) -> u64 {
        self.draft.txnid().get()
    }

    /// Sets how far the commit gets before it is published, for this transaction alone.
    ///
    /// Cost: none; the commit's: see [`WriteTxn::commit`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.durability(mapledb::Durability::Relaxed);
    /// txn.main().put(b"cursor", b"line 7")?; // may be lost with the machine, not with the process
    /// let number = txn.txnid();
    /// assert_eq!(txn.commit()?, number);
    /// # Ok(())
    /// # }
    /// ```
    pub fn durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Takes note that what is laid down is all that the file will hold for long.
    pub(crate) fn waste_no_pages(&mut self) {
        self.draft.waste_no_pages();
    }

    pub(crate) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The free space, to be made worse than any use would soon make it.
    #[cfg(all(test, feature = "seam"))]
    pub(crate) fn space_mut(&mut self) -> &mut crate::space::Space {
        self.is_changed = true;
        &mut self.draft.space
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_place()?;
        if self.is_broken { Err(Error::TxnUnusable) } else { Ok(()) }
    }

    /// Refuses to go on in a forked child, and after a fault in the maps.
    pub(super) fn check_place(&self) -> Result<()> {
        if self.guard.is_forked() {
            return Err(Error::AfterFork);
        }
        self.core.check_faults()
    }

    /// The pages and the record of a table as it stands.
    pub(crate) fn reading(&self, table: TableId) -> Result<(&Draft, &TreeRecord)> {
        self.check()?;
        Ok((&self.draft, self.record(table)))
    }

    pub(crate) fn record(&self, table: TableId) -> &TreeRecord {
        match table {
            TableId::Main => &self.head.default_table,
            TableId::Named(at) => &self.tables.at(at).record.tree,
        }
    }

    /// The state a table is in.
    pub(crate) fn version(&self, table: TableId) -> Version {
        match table {
            TableId::Main => self.states.of_main(),
            TableId::Named(at) => self.states.of(self.tables.at(at).changed_at),
        }
    }

    /// Changes a table, whose keys are in `order`. An error leaves the transaction unusable unless it is about the arguments.
    pub(crate) fn change<O: Order, R>(
        &mut self,
        table: TableId,
        order: O,
        act: impl FnOnce(&mut TreeMut<'_, Draft, O>) -> Result<R>,
    ) -> Result<R> {
        self.changes += 1;
        self.attempt(|txn| act(&mut txn.tree_mut(table, order)))
    }

    /// Does what may leave pages half changed. The transaction is unusable while it goes on, so it stays so if `act`,
    /// which runs code of the caller, unwinds; and after an error that is not about the arguments.
    pub(super) fn attempt<R>(&mut self, act: impl FnOnce(&mut WriteTxn) -> Result<R>) -> Result<R> {
        self.check()?;
        self.is_changed = true;
        self.is_broken = true;
        let answer = self.guarded(act);
        // Zeros in the place of a page that failed may look like anything else, success included.
        let answer = self.core.check_faults().and(answer).inspect_err(|error| self.core.note_failure(error));
        self.is_broken = answer.as_ref().is_err_and(|error| !error.is_about_arguments());
        answer
    }

    /// Does `act`. Pages that a transaction owns are trusted to be what it made of them; if one has failed and only zeros
    /// could be put in its place, what changes it may panic, and that is the fault's doing.
    pub(super) fn guarded<R>(&mut self, act: impl FnOnce(&mut WriteTxn) -> Result<R>) -> Result<R> {
        if !self.core.store.catches() {
            return act(self);
        }
        let attempt = std::panic::AssertUnwindSafe(|| act(self));
        std::panic::catch_unwind(attempt).unwrap_or_else(|panic| match self.core.check_faults() {
            Err(fault) => Err(fault),
            Ok(()) => std::panic::resume_unwind(panic),
        })
    }

    pub(super) fn tree_mut<O: Order>(&mut self, table: TableId, order: O) -> TreeMut<'_, Draft, O> {
        let change = self.states.next(Some(table));
        let record = match table {
            TableId::Main => &mut self.head.default_table,
            TableId::Named(at) => {
                let table = self.tables.at_mut(at);
                table.is_changed = true;
                table.changed_at = change;
                &mut table.record.tree
            }
        };
        TreeMut::in_order(&mut self.draft, record, order)
    }

    /// Marks free runs whose blocks are to be given back.
    pub(super) fn mark_holes(&mut self) -> Result<()> {
        self.attempt(|txn| txn.draft.mark_holes())
    }

    /// Takes `count` numbers of a table's sequence; answers the first.
    pub(crate) fn take_sequence(&mut self, table: TableId, count: u64) -> Result<u64> {
        self.check()?;
        let sequence = match table {
            TableId::Main => &mut self.head.default_sequence,
            TableId::Named(at) => {
                let table = self.tables.at_mut(at);
                table.is_changed = true;
                &mut table.record.sequence
            }
        };
        let first = *sequence;
        *sequence = first.checked_add(count).ok_or(Error::SequenceExhausted)?;
        self.is_changed = true;
        Ok(first)
    }

    /// Opens a named table; makes it as it is asked for if it is not there and `create` says so. Answers its
    /// orders, too.
    pub(crate) fn open_named(&mut self, name: &str, asked: &Asked, create: bool) -> Result<(TableId, PairOrder)> {
        self.check()?;
        let at = match self.tables.place_of(name) {
            Some(at) => at,
            None => self.load_named(name, asked, create)?,
        };
        let order = asked.check(name, &self.tables.at(at).record, &self.core.options.orders)?;
        Ok((TableId::Named(at), order))
    }

    fn load_named(&mut self, name: &str, asked: &Asked, create: bool) -> Result<usize> {
        let found = catalog::find(&self.draft, &self.head.catalog, name)?;
        let (record, is_changed) = match (found, create) {
            (Some(record), _) => (record, false),
            (None, false) => return Err(Error::TableMissing { name: name.to_string() }),
            (None, true) => (catalog::new_table(asked)?, true),
        };
        self.is_changed |= is_changed;
        let changed_at = self.states.next(None);
        let opened = Opened { name: name.to_string(), record, is_changed, changed_at };
        Ok(self.tables.open(opened))
    }

    /// Makes a named table with the attributes and the sequence of another file's, and nothing in it.
    pub(crate) fn adopt_named(&mut self, name: &str, record: &TableRecord) -> Result<TableId> {
        self.check()?;
        let mut record = record.clone();
        record.tree = record.tree.emptied();
        self.is_changed = true;
        let changed_at = self.states.next(None);
        let opened = Opened { name: name.to_string(), record, is_changed: true, changed_at };
        Ok(TableId::Named(self.tables.open(opened)))
    }

    /// Every named table as it stands, by name.
    pub(crate) fn list_tables(&self) -> Result<Vec<(String, TableRecord)>> {
        self.check()?;
        let mut tables = catalog::list(&self.draft, &self.head.catalog)?;
        for opened in self.tables.iter() {
            match tables.binary_search_by(|(name, _)| name.as_str().cmp(&opened.name)) {
                Ok(at) => tables[at].1 = opened.record.clone(),
                Err(at) => tables.insert(at, (opened.name.clone(), opened.record.clone())),
            }
        }
        Ok(tables)
    }

    /// The named orders that this environment was opened with.
    pub(crate) fn known_orders(&self) -> &[crate::tree::KeyOrder] {
        &self.core.options.orders
    }

    /// The record of a named table as it stands.
    pub(crate) fn find_table(&self, name: &str) -> Result<Option<TableRecord>> {
        self.check()?;
        match self.tables.place_of(name) {
            Some(place) => Ok(Some(self.tables.at(place).record.clone())),
            None => catalog::find(&self.draft, &self.head.catalog, name),
        }
    }

    /// The default table's tree and sequence.
    pub(crate) fn main_state(&self) -> (&TreeRecord, u64) {
        (&self.head.default_table, self.head.default_sequence)
    }

    /// Gives a named table another name.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::Table;
    ///
    /// const OLD: Table<'static, str, u32> = Table::new("old");
    /// const NEW: Table<'static, str, u32> = Table::new("new");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&OLD)?.put("kept", &1)?;
    /// txn.rename_table("old", "new")?;
    /// assert_eq!(txn.table(&NEW)?.get("kept")?, Some(1));
    /// assert!(txn.drop_table("new")? && !txn.drop_table("new")?);
    /// txn.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no table `from`, or there is one called `to`. Neither changes anything.
    pub fn rename_table(&mut self, from: &str, to: &str) -> Result<()> {
        let (TableId::Named(at), _) = self.open_named(from, &Asked::default(), false)? else { return Ok(()) };
        if self.list_tables()?.iter().any(|(name, _)| name == to) {
            return Err(Error::TableExists { name: to.to_string() });
        }
        let max = mapledb_format::node::key_max(self.core.store.page_size().bytes());
        if to.is_empty() || to.len() > max {
            return Err(Error::TableName { name: to.to_string(), max });
        }
        self.attempt(|txn| catalog::remove(&mut txn.draft, &mut txn.head.catalog, from))?;
        let opened = self.tables.at_mut(at);
        opened.name = to.to_string();
        opened.is_changed = true;
        Ok(())
    }

    /// Takes a named table and everything in it out; answers whether it was there.
    ///
    /// Cost: a page read for each page freed.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// const AGES: mapledb::Table<'static, str, u64> = mapledb::Table::new("ages");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_table(&AGES)?.put("ada", &36)?;
    /// assert!(txn.drop_table("ages")?);
    /// assert!(!txn.drop_table("ages")?);
    /// assert!(matches!(txn.table(&AGES), Err(mapledb::Error::TableMissing { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn drop_table(&mut self, name: &str) -> Result<bool> {
        let (table, order) = match self.open_named(name, &Asked::default(), false) {
            Err(Error::TableMissing { .. }) => return Ok(false),
            other => other?,
        };
        self.attempt(|txn| {
            txn.tree_mut(table, order.keys).clear()?;
            catalog::remove(&mut txn.draft, &mut txn.head.catalog, name)
        })?;
        if let TableId::Named(at) = table {
            self.tables.remove(at);
        }
        Ok(true)
    }
}

impl Drop for WriteTxn {
    fn drop(&mut self) {
        if !self.is_done && !self.guard.is_forked() {
            self.core.attached.counters().aborts.add(1);
        }
    }
}

impl std::fmt::Debug for WriteTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTxn").field("txnid", &self.txnid()).finish_non_exhaustive()
    }
}
