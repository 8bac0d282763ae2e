//! Nested transactions and savepoints: levels of one write transaction, each of which can be taken back alone.
//!
//! Both are the same thing underneath: a mark on the trees, the open tables and the free space, and a layer of dirty pages
//! (`store::layer`). A *nested* transaction borrows its parent, so that types keep the two from being mixed up; a
//! *savepoint* is a token, good for as long as its level stands, and refused after that.
//!
//! What a level takes back is everything its transaction knows of the file: entries, tables that were made, renamed or dropped,
//! sequences, named snapshots, free space. What was set for the whole transaction, its durability, stays.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

use mapledb_format::{HeadBody, Identity};
use mapledb_os::planted;

use super::WriteTxn;
use super::snapshots::Naming;
use crate::error::{Error, Result};

/// Numbers for levels, each given out once in a process, so that no token is taken for another.
static NEXT_LEVEL: AtomicU64 = AtomicU64::new(1);

/// What a level finds again.
struct Level {
    id: u64,
    is_nested: bool,
    head: Box<HeadBody>,
    naming: Naming,
    is_changed: bool,
}

/// The levels of a transaction, the last one last.
#[derive(Default)]
pub(super) struct Levels(Vec<Level>);

impl Levels {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.0.iter().position(|level| level.id == id)
    }

    /// The first level that the nested transaction which runs now, if one does, may take back.
    fn floor(&self) -> usize {
        self.0.iter().rposition(|level| level.is_nested).map_or(0, |nested| nested + 1)
    }
}

/// A state of a write transaction to which it can go back; see [`WriteTxn::savepoint`].
///
/// It is good until it is released, its transaction or nested transaction ends, or the transaction goes back to an
/// earlier one. Dropping it does nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Savepoint {
    id: u64,
    file: Identity,
    txnid: u64,
}

impl WriteTxn {
    /// Marks the state of the transaction, to go back to it with [`WriteTxn::rollback_to`]. As many as one likes, at any time;
    /// a commit releases them all.
    ///
    /// While one stands, each page that the transaction had written before is copied aside, in memory, before it is changed
    /// for the first time: at most as many bytes as those pages have. Pages written since, and those of the last commit, cost
    /// nothing more. The idea is an undo log of pages, kept in memory since nothing of it need survive.
    ///
    /// Cost: two kilobytes copied; no page is touched.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("stock.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"pears", b"3")?;
    /// let before = txn.savepoint()?;
    /// txn.main().put(b"pears", b"0")?;
    /// txn.main().put(b"plums", b"9")?;
    /// txn.rollback_to(&before)?; // and again, as often as one likes
    /// txn.main().put(b"apples", b"5")?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// assert_eq!(txn.main()?.get(b"pears")?, Some(&b"3"[..]));
    /// assert_eq!(txn.main()?.get(b"plums")?, None);
    /// assert_eq!(txn.main()?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TxnUnusable`] after an error that touched pages: go back to an earlier one first.
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        let id = self.begin_level(false)?;
        Ok(Savepoint { id, file: self.core.identity, txnid: self.txnid() })
    }

    /// Takes back everything since `savepoint`, which stays good; later ones end. A transaction that an error has made unusable
    /// since, a full disk say, is usable again.
    ///
    /// Cost: a page stored to for each page copied aside, and little more for each page that was handed out or given up since.
    ///
    /// # Errors
    /// [`Error::SavepointEnded`], [`Error::SavepointOuter`] or [`Error::SavepointForeign`], which change nothing.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::Error;
    ///
    /// let mut txn = env.write()?;
    /// let empty = txn.savepoint()?;
    /// txn.main().put(b"a", b"")?;
    /// let one = txn.savepoint()?;
    /// txn.main().put(b"b", b"")?;
    /// txn.rollback_to(&one)?;
    /// assert_eq!(txn.main().len(), 1);
    /// txn.rollback_to(&empty)?;
    /// assert!(matches!(txn.rollback_to(&one), Err(Error::SavepointEnded))); // it went with the earlier one
    /// # Ok(())
    /// # }
    /// ```
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.check_place()?;
        let at = self.level_of(savepoint)?;
        self.undo_levels(at)?;
        self.push_level(savepoint.id, false);
        Ok(())
    }

    /// Gives up going back to `savepoint` and to later ones; the changes stay. Worth the call where many pages are changed after
    /// it: what was copied aside is dropped.
    ///
    /// Cost: proportional to the pages that were changed since.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// let before = txn.savepoint()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.release(&before)?; // the change stays, and there is no way back
    /// assert!(matches!(txn.rollback_to(&before), Err(mapledb::Error::SavepointEnded)));
    /// assert_eq!(txn.main().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WriteTxn::rollback_to`], and [`Error::TxnUnusable`]; it is still good then.
    pub fn release(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.check()?;
        let at = self.level_of(savepoint)?;
        self.merge_levels(at)
    }

    /// Begins a transaction within this one, to any depth. It sees all that this one has changed, and commits into it or
    /// is aborted alone; nothing is visible outside, let alone durable, before the outermost commits. This transaction is
    /// borrowed until then.
    ///
    /// An error in it that touched pages, a full disk say, leaves it unusable, and this one as it was once it is aborted.
    ///
    /// Cost: as [`WriteTxn::savepoint`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("orders.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::{Result, WriteTxn};
    ///
    /// /// One line of an order: the whole line or nothing of it.
    /// fn add_line(txn: &mut WriteTxn, name: &str, pieces: u32) -> Result<bool> {
    ///     let mut line = txn.nested()?;
    ///     line.main().put(name.as_bytes(), &pieces.to_be_bytes())?;
    ///     if pieces == 0 {
    ///         return Ok(false); // dropped, so aborted
    ///     }
    ///     line.commit()?;
    ///     Ok(true)
    /// }
    ///
    /// let mut order = env.write()?;
    /// assert!(add_line(&mut order, "pears", 3)?);
    /// assert!(!add_line(&mut order, "plums", 0)?);
    /// order.commit()?;
    /// assert_eq!(env.read()?.main()?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// While it runs its parent cannot be used:
    ///
    /// ```compile_fail
    /// # fn wrong(env: &mapledb::Env) -> mapledb::Result<()> {
    /// let mut parent = env.write()?;
    /// let mut nested = parent.nested()?;
    /// parent.main().put(b"key", b"from the parent")?;
    /// nested.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TxnUnusable`].
    pub fn nested(&mut self) -> Result<Nested<'_>> {
        let id = self.begin_level(true)?;
        Ok(Nested { txn: self, id, is_done: false })
    }

    fn begin_level(&mut self, is_nested: bool) -> Result<u64> {
        self.check()?;
        let id = NEXT_LEVEL.fetch_add(1, Ordering::Relaxed);
        self.push_level(id, is_nested);
        Ok(id)
    }

    fn push_level(&mut self, id: u64, is_nested: bool) {
        self.draft.begin_level();
        self.tables.begin_level();
        self.levels.0.push(Level { id, is_nested, head: self.head.clone(), naming: self.naming.clone(), is_changed: self.is_changed });
    }

    /// Where the level of `savepoint` stands.
    fn level_of(&self, savepoint: &Savepoint) -> Result<usize> {
        if savepoint.file != self.core.identity || savepoint.txnid != self.txnid() {
            return Err(Error::SavepointForeign);
        }
        match self.levels.position(savepoint.id) {
            None => Err(Error::SavepointEnded),
            Some(at) if at < self.levels.floor() => Err(Error::SavepointOuter),
            Some(at) => Ok(at),
        }
    }

    /// Takes back the level at `at` and all later ones.
    fn undo_levels(&mut self, at: usize) -> Result<()> {
        while self.levels.0.len() > at
            && let Some(level) = self.levels.0.pop()
        {
            self.is_broken = true;
            self.draft.undo_level()?;
            self.tables.undo_level();
            self.states.begin_anew();
            if !planted("kept_records") {
                self.head = level.head;
            }
            self.naming = level.naming;
            self.is_changed = level.is_changed;
            self.is_broken = false;
        }
        self.check_place()
    }

    /// Makes what was done in the level at `at`, and in all later ones, the changes of the one below.
    fn merge_levels(&mut self, at: usize) -> Result<()> {
        while self.levels.0.len() > at && self.levels.0.pop().is_some() {
            self.is_broken = true;
            self.draft.merge_level()?;
            self.tables.merge_level();
            self.is_broken = false;
        }
        Ok(())
    }

    /// Before the commit: no level is left to go back to.
    pub(super) fn end_levels(&mut self) -> Result<()> {
        match self.levels.floor() {
            0 => self.merge_levels(0),
            _ => Err(Error::NestedOpen),
        }
    }
}

/// For tests: all that a level must find again.
#[cfg(all(test, feature = "seam"))]
impl WriteTxn {
    pub(crate) fn picture(&self) -> (String, Vec<Vec<u8>>) {
        let (space, pages) = self.draft.picture();
        let tables: Vec<_> = self.tables.iter().collect();
        (format!("{space} {:?} {tables:?} {} {}", self.head, self.is_changed, self.is_broken), pages)
    }
}

/// A write transaction within another one: all that a [`WriteTxn`] can do but end, through `Deref`. See
/// [`WriteTxn::nested`].
///
/// Dropping it without a commit takes its changes back.
pub struct Nested<'t> {
    txn: &'t mut WriteTxn,
    id: u64,
    is_done: bool,
}

impl Nested<'_> {
    /// Makes the changes those of the parent; its own savepoints are released.
    ///
    /// Cost: proportional to the pages it changed; no page is touched.
    ///
    /// # Errors
    /// [`Error::TxnUnusable`] after an error that touched pages: the changes are taken back, and the parent is as it was
    /// before.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut order = txn.nested()?;
    /// order.main().put(b"order", b"1")?;
    /// let mut line = order.nested()?;
    /// line.main().put(b"line", b"pears")?;
    /// line.commit()?;
    /// order.commit()?;
    /// assert_eq!(txn.main().len(), 2); // and durable when `txn` commits
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit(mut self) -> Result<()> {
        self.txn.check()?;
        let at = self.level()?;
        self.is_done = true;
        self.txn.merge_levels(at)
    }

    /// Takes the changes back: the parent is as it was when this began. The same as dropping it, but that it tells of an
    /// error.
    ///
    /// Cost: as [`WriteTxn::rollback_to`].
    ///
    /// # Errors
    /// Those that make the whole transaction useless: [`Error::AfterFork`], [`Error::Fault`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"order", b"1")?;
    /// let mut line = txn.nested()?;
    /// line.main().clear()?;
    /// line.abort()?;
    /// assert_eq!(txn.main().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(mut self) -> Result<()> {
        self.undo()
    }

    fn level(&self) -> Result<usize> {
        // Only who swaps two transactions behind their guards finds another one here.
        self.txn.levels.position(self.id).ok_or(Error::SavepointEnded)
    }

    fn undo(&mut self) -> Result<()> {
        self.is_done = true;
        self.txn.check_place()?;
        let at = self.level()?;
        self.txn.undo_levels(at)
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            // What stands in the way of it stands in the way of any use of the parent, too, its commit included.
            let _ = self.undo();
        }
    }
}

impl Deref for Nested<'_> {
    type Target = WriteTxn;

    fn deref(&self) -> &WriteTxn {
        self.txn
    }
}

impl DerefMut for Nested<'_> {
    fn deref_mut(&mut self) -> &mut WriteTxn {
        self.txn
    }
}

impl fmt::Debug for Nested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = self.txn.levels.0.iter().filter(|level| level.is_nested).count();
        f.debug_struct("Nested").field("txnid", &self.txn.txnid()).field("depth", &depth).finish_non_exhaustive()
    }
}
