//! How a write transaction ends: by a commit in one of four ways, or by nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::level::Levels;
use super::tables::Tables;
use super::{Core, PendingCommit, ReadTxn, WriteTxn};
use crate::catalog;
use crate::commit::{Durability, Reached};
use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::tree::TreeMut;

/// A file of fewer pages may be as large as it likes.
const SWOLLEN_PAGES_MIN: u64 = 1024;
/// The part of what is in use that waits at least for a sync which is there to make room.
const OWED_PART_MIN: u64 = 32;

impl WriteTxn {
    /// Makes the changes visible and, unless relaxed, durable. Answers the commit's number; without any change the
    /// number of the snapshot it built on.
    ///
    /// A relaxed commit that follows commits which wait for their sync waits with them: readers see commits in their order.
    ///
    /// Cost: at [`Durability::Sync`] one sync when the pages of this and of all commits since the last durable one fit one
    /// manifest, were written by this process, and the file was not grown, else two; at [`Durability::Group`] the same for all
    /// commits together that were handed in meanwhile; at [`Durability::Relaxed`] none.
    ///
    /// # Errors
    /// A full disk or a reached quota: the last commit stands as it was. A failed sync
    /// ([`Error::SyncFailed`], [`Error::Indeterminate`]): the environment is poisoned in every process until the last
    /// has closed it; whether an indeterminate commit happened shows when it is opened again.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// let (expected, before) = (txn.txnid(), env.read()?);
    /// let made = txn.commit()?;
    /// assert_eq!((made, before.main()?.len(), env.read()?.main()?.len()), (expected, 0, 1));
    /// assert_eq!(env.write()?.commit()?, made); // nothing was changed, and nothing is written
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit(self) -> Result<u64> {
        let began = self.begin_ending();
        let (core, txnid, reached) = self.finish()?;
        complete(&core, txnid, reached == Reached::Appended, began)?;
        Ok(txnid)
    }

    /// As [`WriteTxn::commit`], and answers a read of the very snapshot that it made, whoever commits after it; without any change
    /// of the one it built on.
    ///
    /// Cost: as [`WriteTxn::commit`] and a copy of the head.
    ///
    /// # Errors
    /// As [`WriteTxn::commit`]. Without a change also those of the sync that the snapshot it built on waits for.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("bill.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"total", b"42")?;
    /// let bill = txn.commit_and_read()?;
    ///
    /// let mut other = env.write()?;
    /// other.main().put(b"total", b"0")?;
    /// other.commit()?;
    /// assert_eq!(bill.main()?.get(b"total")?, Some(&b"42"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit_and_read(mut self) -> Result<ReadTxn> {
        self.check()?;
        let began = self.begin_ending();
        // A place to pin is found before the commit, and used before anybody else can write: of a group of commits others
        // see the last one alone.
        let mut read = ReadTxn::of_newest(&self.core, &self.guard)?;
        let (txnid, reached) = self.land()?;
        read.move_to_newest(&self.guard)?;
        let core = Arc::clone(&self.core);
        drop(self);
        let is_to_come = match reached {
            Reached::Appended => true,
            Reached::Published => false,
            Reached::Durable => core.attached.published_txnid()? < txnid,
        };
        complete(&core, txnid, is_to_come, began)?;
        Ok(read)
    }

    /// As [`WriteTxn::commit`], and goes on with the next transaction without giving the writer lock up: nobody commits between
    /// the two. The next one has the default durability and no savepoints.
    ///
    /// Cost: as [`WriteTxn::commit`] and beginning a write; all of it while others wait, at [`Durability::Group`] too.
    ///
    /// # Errors
    /// As [`WriteTxn::commit`] and [`Env::write`](crate::Env::write); the writer lock is given up then.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("import.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// for batch in 0..4u8 {
    ///     txn.main().put(&[batch], b"a thousand lines")?;
    ///     txn = txn.commit_and_continue()?;
    /// }
    /// drop(txn); // nothing is in it
    /// assert_eq!(env.read()?.main()?.len(), 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit_and_continue(mut self) -> Result<WriteTxn> {
        let began = self.begin_ending();
        let (txnid, reached) = self.land()?;
        complete(&self.core, txnid, reached == Reached::Appended, began)?;
        self.begin_anew()?;
        Ok(self)
    }

    /// Hands the changes in to be made durable, and does not wait: the next writer, of this thread or another, builds on
    /// them at once. A thread of the environment leads the sync, or one that waits; one sync makes all durable that has been
    /// handed in when it begins. Readers see them then.
    ///
    /// [`Durability::Sync`] is taken as [`Durability::Group`] here. A relaxed commit is published as by [`WriteTxn::commit`],
    /// and the answer tells when it has become durable.
    ///
    /// Cost: no sync, and no sleep unless 62 commits wait already.
    ///
    /// # Errors
    /// As [`WriteTxn::commit`]. Those of the sync are the answer's.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("orders.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut pending = Vec::new();
    /// for order in 0..10u8 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&[order], b"paid")?;
    ///     pending.push(txn.commit_later()?);
    /// }
    /// for commit in pending {
    ///     commit.wait()?; // ten commits, and far fewer syncs
    /// }
    /// assert_eq!(env.read()?.main()?.len(), 10);
    /// # env.close()
    /// # }
    /// ```
    pub fn commit_later(mut self) -> Result<PendingCommit> {
        if self.durability == Durability::Sync {
            self.durability = Durability::Group;
        }
        let (core, txnid, reached) = self.finish()?;
        if reached == Reached::Appended && !core.syncer.hand_in(&core, txnid) {
            core.acknowledge(txnid)?;
        }
        Ok(PendingCommit::new(core, txnid, reached))
    }

    /// When a commit begins, if there is anything to commit.
    pub(super) fn begin_ending(&self) -> Option<Instant> {
        self.is_changed.then(Instant::now)
    }

    /// Commits as far as it goes under the writer lock, and gives that up.
    pub(super) fn finish(mut self) -> Result<(Arc<Core>, u64, Reached)> {
        let (txnid, reached) = self.land()?;
        Ok((Arc::clone(&self.core), txnid, reached))
    }

    /// Commits as far as it goes under the writer lock. The transaction is over then, whatever comes of it.
    fn land(&mut self) -> Result<(u64, Reached)> {
        self.check()?;
        self.end_levels()?;
        self.is_done = true;
        if !self.is_changed {
            return Ok((self.head.txnid.get(), Reached::Durable));
        }
        let began = Instant::now();
        let inline = self.guarded(WriteTxn::settle);
        self.core.attached.counters().seals.count_since(began);
        let inline = self.core.check_faults().and(inline).inspect_err(|error| self.core.note_failure(error))?;
        self.head.txnid = self.draft.txnid();
        self.head.free = *self.draft.space.tree();
        self.head.pages_used = self.draft.space.pages_used();
        self.head.pages_in_use = self.draft.space.pages_in_use();
        self.head.pages_available = self.draft.space.pages_available();
        self.head.set_inline_free(&inline).map_err(|cause| Error::BadHead { cause })?;
        let txnid = self.head.txnid.get();
        let bytes = self.draft.space.newly_dirty_pages() << self.core.store.page_size().shift();
        // Recovery reads what relaxed commits wrote, so no one of them may be of any size. And it cannot tell what they left
        // free of runs that had been punched out, and were given blocks that may not be durable.
        let is_too_much = bytes >= self.core.options.relaxed_bytes || self.draft.space.has_refilled();
        let durability = match self.durability {
            Durability::Relaxed if is_too_much || self.wants_room() => Durability::Sync,
            asked => asked,
        };
        let reached = self.core.committer(&self.guard).commit(&self.draft, &mut self.head, durability)?;
        self.core.has_committed.store(true, Ordering::Relaxed);
        self.core.attached.count_commit(self.changes, self.draft.space.handed_pages());
        self.keep_for_next();
        match reached {
            Reached::Durable => self.core.syncer.settled_up_to(txnid),
            Reached::Published => {
                let is_kept = self.core.syncer.note(&self.core, txnid, bytes);
                // The commit has happened, so an error here is not its own: it is tried again or poisons, as in the
                // thread there should have been.
                if !is_kept && self.core.committer(&self.guard).sync_head().is_ok() {
                    self.core.syncer.settled_up_to(txnid);
                }
            }
            Reached::Appended => {}
        }
        Ok((txnid, reached))
    }

    /// Whether a file that is more than twice what is in use would soon grow, and a sync makes room: relaxed commits keep what they give
    /// up for the snapshots on the disk, and one that replaces those frees it.
    ///
    /// What two syncs in a row let wait and what has been written since share the room that there is, so a sync as soon
    /// as more has been written than is left keeps to it, whatever that room is.
    fn wants_room(&self) -> bool {
        let (used, in_use) = (self.head.pages_used.get(), self.head.pages_in_use);
        if used <= SWOLLEN_PAGES_MIN.max(2 * in_use) {
            return false;
        }
        let owed_pages = self.core.syncer.owed_bytes() >> self.core.store.page_size().shift();
        let written_pages = owed_pages + self.draft.space.newly_dirty_pages();
        written_pages > self.head.pages_available && written_pages > in_use / OWED_PART_MIN
    }

    /// Begins the next transaction, with the writer lock still held.
    pub(super) fn begin_anew(&mut self) -> Result<()> {
        self.core.check_usable()?;
        (self.draft, self.head, self.naming) = self.core.draft(&self.guard)?;
        (self.tables, self.levels) = (Tables::default(), Levels::default());
        self.states.begin_anew();
        self.durability = self.core.options.durability;
        (self.is_changed, self.is_broken, self.is_done) = (false, false, false);
        self.changes = 0;
        Ok(())
    }

    /// Commits durably although nothing has changed, for the sake of the number. The transaction is over then.
    pub(super) fn anchor(&mut self) -> Result<()> {
        self.is_changed = true;
        self.durability = Durability::Sync;
        self.land().map(drop)
    }

    /// Commits durably, as [`WriteTxn::anchor`].
    pub(super) fn commit_as_anchor(mut self) -> Result<()> {
        self.anchor()
    }

    /// Gives everything up. The same as dropping it.
    ///
    /// Cost: none; no page of the file was touched.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.abort();
    /// assert!(env.read()?.main()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(self) {}

    /// Brings trees and free space into their final form; answers the inline area.
    fn settle(&mut self) -> Result<Vec<u8>> {
        self.flush_tables()?;
        self.flush_snapshots()?;
        self.draft.settle_space()
    }

    /// Seals every table and writes its record, then seals the catalog.
    fn flush_tables(&mut self) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.is_changed) {
            TreeMut::<_>::new(&mut self.draft, &mut table.record.tree).seal()?;
            catalog::put(&mut self.draft, &mut self.head.catalog, &table.name, &table.record)?;
        }
        TreeMut::<_>::new(&mut self.draft, &mut self.head.catalog).seal()?;
        TreeMut::<_>::new(&mut self.draft, &mut self.head.default_table).seal()
    }
}

/// Waits for the sync of commit `txnid` if that is still to come, and counts how long all of it took since it `began`.
pub(super) fn complete(core: &Core, txnid: u64, is_to_come: bool, began: Option<Instant>) -> Result<()> {
    if is_to_come {
        core.acknowledge(txnid)?;
    }
    if let Some(began) = began {
        core.attached.counters().whole_commits.count_since(began);
    }
    Ok(())
}
