//! Named snapshots as an environment shows them.

use super::Env;
use crate::catalog::snapshots;
use crate::error::{Error, Result};
use crate::space::holdings;
use crate::txn::ReadTxn;

/// A named snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// The commit whose state it is.
    pub txnid: u64,
    /// When it was made, in nanoseconds since 1970.
    pub created_at_ns: u64,
    /// Bytes of pages that the latest state has given up and the snapshot still reaches. Others may hold them, too.
    pub retained_bytes: u64,
    /// Those of them that nobody else holds: what dropping this one alone gives back.
    pub alone_bytes: u64,
}

impl Env {
    /// Gives the latest state a name, by a commit of its own; answers the commit's number. See
    /// [`WriteTxn::create_snapshot`](crate::WriteTxn::create_snapshot), which does so as part of a larger one.
    ///
    /// Cost: one commit of a few pages.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"before")?;
    /// txn.commit()?;
    /// env.create_snapshot("before")?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"after")?;
    /// txn.commit()?;
    ///
    /// assert_eq!(env.read_snapshot("before")?.main()?.get(b"key")?, Some(&b"before"[..]));
    /// assert_eq!(env.snapshots()?[0].name, "before");
    /// env.drop_snapshot("before")?;
    /// assert!(env.snapshots()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SnapshotExists`], [`Error::SnapshotName`]; as [`Env::write`] and [`WriteTxn::commit`](crate::WriteTxn::commit).
    pub fn create_snapshot(&self, name: &str) -> Result<u64> {
        let mut txn = self.write()?;
        txn.create_snapshot(name)?;
        txn.commit()
    }

    /// Drops the snapshot called `name`, by a commit of its own, whose number is the answer. Whoever reads it reads on.
    ///
    /// Cost: one commit of a few pages. What it held becomes available when the drop is in both metas, so from the second
    /// durable commit after it on.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`]; as [`Env::write`] and [`WriteTxn::commit`](crate::WriteTxn::commit).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// env.create_snapshot("monday")?;
    /// let reader = env.read_snapshot("monday")?;
    /// env.drop_snapshot("monday")?;
    /// assert!(reader.main()?.is_empty()); // it reads on
    /// assert!(matches!(env.drop_snapshot("monday"), Err(mapledb::Error::SnapshotMissing { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn drop_snapshot(&self, name: &str) -> Result<u64> {
        let mut txn = self.write()?;
        match txn.drop_snapshot(name)? {
            true => txn.commit(),
            false => Err(Error::SnapshotMissing { name: name.to_string() }),
        }
    }

    /// Begins a read of the snapshot called `name`. Dropping the snapshot meanwhile does not disturb it.
    ///
    /// Cost: two reads of the latest state, and one or two descents of the tree of snapshots.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`]; as [`Env::read`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let made = env.create_snapshot("empty")?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// let then = env.read_snapshot("empty")?;
    /// assert_eq!((then.txnid(), then.main()?.len(), env.read()?.main()?.len()), (made, 0, 1));
    /// assert!(matches!(env.read_snapshot("full"), Err(mapledb::Error::SnapshotMissing { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_snapshot(&self, name: &str) -> Result<ReadTxn> {
        self.core.read_snapshot(name)
    }

    /// Makes the latest state that of the snapshot called `name`, by a commit of its own; answers the commit's number. All tables and
    /// their sequences are as they were; named snapshots stay, later ones too, so that this can itself be undone by one.
    /// Read transactions are not disturbed.
    ///
    /// Nothing is copied: the snapshot's pages are in use again, and what the state before reached and the snapshot does not is
    /// given up.
    ///
    /// Cost: every page of the latest state and of the snapshot is read once, and the records of pages that wait; one commit
    /// of two syncs that writes free-space records alone.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`]; a corrupt page of either; as [`Env::write`] and
    /// [`WriteTxn::commit`](crate::WriteTxn::commit).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("notes.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"title", b"On maples")?;
    /// txn.create_snapshot("draft")?;
    /// txn.commit()?;
    ///
    /// let mut txn = env.write()?;
    /// txn.main().clear()?;
    /// txn.commit()?;
    ///
    /// env.roll_back("draft")?;
    /// assert_eq!(env.read()?.main()?.get(b"title")?, Some(&b"On maples"[..]));
    /// # env.close()
    /// # }
    /// ```
    pub fn roll_back(&self, name: &str) -> Result<u64> {
        self.core.roll_back(name)
    }

    /// Every named snapshot, by name, with the bytes it keeps from being used again.
    ///
    /// Cost: a read of their records, and of those of all pages that wait.
    ///
    /// # Errors
    /// A corrupt page; as [`Env::read`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"picture", &vec![7; 1 << 20])?;
    /// txn.create_snapshot("with picture")?;
    /// txn.commit()?;
    /// assert_eq!(env.snapshots()?[0].retained_bytes, 0); // all of it is in use anyway
    /// let mut txn = env.write()?;
    /// txn.main().delete(b"picture")?;
    /// txn.commit()?;
    /// let kept = &env.snapshots()?[0];
    /// assert!(kept.name == "with picture" && kept.retained_bytes >= 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let (txn, head) = self.core.read_with_head()?;
        let kept = snapshots::list(&txn, &head.snapshots)?;
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let shift = self.core.store.page_size().shift();
        let held = holdings(&txn, &head, &self.core.every_pin(&head)?)?;
        let snapshots = kept.into_iter().map(|(name, record)| {
            let held = held.get(&record.txnid).copied().unwrap_or_default();
            SnapshotInfo {
                name,
                txnid: record.txnid.get(),
                created_at_ns: record.created_at,
                retained_bytes: held.pages << shift,
                alone_bytes: held.alone << shift,
            }
        });
        Ok(snapshots.collect())
    }
}
