//! Opening, closing and looking at an environment.

mod activity;
mod checking;
mod copy;
mod image;
mod info;
mod open;
mod options;
mod registry;
mod residency;
mod scan;
mod sharing;
mod named;
mod space;
mod upkeep;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mapledb_format::HeadBody;

use crate::commit::Recovery;
use crate::error::{Error, Result};
use crate::mvcc::Wait;
use crate::txn::{Core, ReadTxn, WriteTxn};

pub use activity::{ProcessInfo, StageInfo};
pub use copy::CopyReport;
pub use image::{HugePageState, HugePages, Image, ImageMemory};
pub use info::{Info, Metrics};
pub use options::{Access, Options};
pub use named::SnapshotInfo;
pub use residency::{LevelResidency, LockedBranches, TreeName};
pub use scan::{Scan, ScanAdvice};
pub use space::{FreeSpace, Holder, PageKind, RunsOfSize, SpaceMap, Stretch, WaitingSpace};

/// A file of tables, open for transactions.
///
/// Cheap to clone and safe to share between threads. The same file opened twice in a process is one environment. It
/// stays open until the last handle and the last transaction are gone; [`Env::close`] says how that went.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # let path = dir.path().join("users.maple");
/// use mapledb::{Env, Table};
///
/// const AGES: Table<'static, str, u64> = Table::new("ages");
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().open_or_create(&path) }?;
/// let mut txn = env.write()?;
/// txn.open_table(&AGES)?.put("ada", &36)?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// assert_eq!(txn.table(&AGES)?.get("ada")?, Some(36));
/// # drop(txn);
/// env.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Env {
    core: Arc<Core>,
}

impl Env {
    /// Options to create or open an environment.
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn of(core: Arc<Core>) -> Env {
        Env { core }
    }

    /// Begins a read of the latest published snapshot.
    ///
    /// Cost: no system call, no allocation, no lock; a few dozen nanoseconds.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let reader = env.read()?; // and as many others as one likes
    /// let mut txn = env.write()?; // it waits for nobody who reads
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// assert_eq!(reader.main()?.get(b"key")?, None); // the snapshot it began with
    /// assert_eq!(env.read()?.main()?.get(b"key")?, Some(&b"value"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Only in a forked child, or when shared memory holds nonsense.
    #[inline]
    pub fn read(&self) -> Result<ReadTxn> {
        self.core.begin_read()
    }

    /// Begins a write, waiting for whoever writes now, in any process; first come, first served.
    ///
    /// Cost: no system call if nobody writes, but for a look every now and then whether both files are still where they were.
    ///
    /// # Errors
    /// The environment is read-only, poisoned, or used in a forked child; its file was replaced.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// drop(txn); // given up
    /// let mut txn = env.write()?;
    /// assert!(txn.main().is_empty());
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// assert_eq!(env.read()?.main()?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self) -> Result<WriteTxn> {
        self.core.begin_write_at_last()
    }

    /// Does `change` in a write transaction that it shares with the changes that other threads of this process ask for at the same
    /// time, each alone in it: one that fails, or panics, is taken back, and the others stand. Answers when the commit
    /// is durable, or published where [`Durability::Relaxed`](crate::Durability) is the environment's default.
    ///
    /// For many threads that each make a small change: their commits cost one copy of each page they share, and one sync,
    /// where transactions of their own copy the path from the root each. A thread alone gains nothing. The idea is
    /// bbolt's `Batch`, and flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
    ///
    /// `change` is called once, perhaps by another thread. What it sees includes the changes before it in the same transaction. An
    /// error that it answers takes it back; an error of the engine that it does not pass on takes it back too. The durability that
    /// it asks for is not heeded.
    ///
    /// Cost: a savepoint's, and a share of one commit and one sync.
    ///
    /// # Errors
    /// Those of `change`, whose type any [`Error`] converts to. [`Error::BatchFailed`] if the commit failed: none of the changes
    /// happened, unless its cause is [`Error::Indeterminate`]. [`Error::BatchWithin`] if a change asks for another one of the
    /// same environment, or for a write transaction. A thread that holds one itself would wait for ever, as with [`Env::write`]. A
    /// panic in `change` goes on in the thread that asked for it.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("visits.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Result;
    ///
    /// std::thread::scope(|scope| {
    ///     let visit = |page: &'static str| {
    ///         let env = &env;
    ///         scope.spawn(move || env.batch(|txn| -> Result<u64> {
    ///             let mut visits = txn.main();
    ///             let seen = visits.get(page.as_bytes())?.map_or(0, |seen| u64::from_be_bytes(seen.try_into().expect("8 bytes")));
    ///             visits.put(page.as_bytes(), &(seen + 1).to_be_bytes())?;
    ///             Ok(seen + 1)
    ///         }))
    ///     };
    ///     let visitors: Vec<_> = ["home", "prices", "home"].into_iter().map(visit).collect();
    ///     visitors.into_iter().map(|visitor| visitor.join().expect("no panic")).collect::<Result<Vec<u64>>>()
    /// })?;
    /// assert_eq!(env.read()?.main()?.get(b"home")?, Some(&2u64.to_be_bytes()[..]));
    /// # env.close()
    /// # }
    /// ```
    pub fn batch<R: Send, E: From<Error> + Send>(
        &self,
        change: impl FnOnce(&mut WriteTxn) -> std::result::Result<R, E> + Send,
    ) -> std::result::Result<R, E> {
        self.core.batch(change)
    }

    /// Begins a write unless somebody writes now.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let writer = env.write()?;
    /// assert!(env.try_write()?.is_none());
    /// assert!(env.write_timeout(std::time::Duration::from_millis(1))?.is_none());
    /// drop(writer);
    /// assert!(env.try_write()?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Env::write`].
    pub fn try_write(&self) -> Result<Option<WriteTxn>> {
        self.core.begin_write(Wait::Try)
    }

    /// Begins a write, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Env::write`].
    pub fn write_timeout(&self, timeout: Duration) -> Result<Option<WriteTxn>> {
        self.core.begin_write(Wait::For(timeout))
    }

    /// Makes every commit durable that was handed in before the call, and publishes it: a barrier for relaxed ones, and for those
    /// that wait for their sync.
    ///
    /// Cost: one sync or two; none if everything is durable.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.durability(mapledb::Durability::Relaxed);
    /// txn.main().put(b"seen", b"by everybody, and durable soon")?;
    /// txn.commit()?;
    /// env.sync()?; // durable now
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A failed sync, which poisons the environment.
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Waits until a commit newer than `than` is published, by any process; answers its number, or `None` when the
    /// time is over.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let seen = env.read()?.txnid();
    /// let mut txn = env.write()?;
    /// txn.main().put(b"news", b"")?;
    /// let made = txn.commit()?;
    /// assert_eq!(env.wait_newer(seen, None)?, Some(made));
    /// assert_eq!(env.wait_newer(made, Some(std::time::Duration::from_millis(1)))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_newer(&self, than: u64, timeout: Option<Duration>) -> Result<Option<u64>> {
        let wait = timeout.map_or(Wait::Forever, Wait::For);
        match self.core.attached.wait_newer(than, wait)? {
            true => Ok(Some(self.core.attached.published_txnid()?)),
            false => Ok(None),
        }
    }

    /// Closes the environment: what this process left relaxed is synced, or everything if no other process has it open,
    /// and then a note is left that nothing was undone. Waits at most ten seconds for another process's write transaction
    /// to end; what is relaxed is that process's after that. Dropping the last handle does the same in silence.
    ///
    /// Cost: a sync or two if there is anything relaxed, and a few system calls.
    ///
    /// # Errors
    /// [`Error::StillInUse`] while other handles or transactions are alive; it stays open for them. A failed sync.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let reader = env.read()?;
    /// assert!(matches!(env.clone().close(), Err(mapledb::Error::StillInUse)));
    /// drop(reader);
    /// env.close()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(self) -> Result<()> {
        // The thread that syncs relaxed commits holds the core while it does, beside this handle.
        self.core.syncer.stop(|| Arc::strong_count(&self.core) > 2);
        match Arc::try_unwrap(self.core) {
            Ok(core) => core.detach(),
            Err(core) => {
                core.syncer.resume(&core);
                Err(Error::StillInUse)
            }
        }
    }

    /// Where the data file is, symbolic links resolved.
    pub fn path(&self) -> &Path {
        self.core.store.file().path()
    }

    /// The size of a page in bytes.
    pub fn page_size(&self) -> usize {
        self.core.store.page_size().bytes()
    }

    /// The longest key in bytes: a quarter of a page.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// assert_eq!((env.key_max(), env.page_size()), (1024, 4096));
    /// assert!(env.path().ends_with("e.maple"));
    /// let long = vec![0; env.key_max() + 1];
    /// assert!(matches!(env.write()?.main().put(&long, b""), Err(mapledb::Error::KeyTooLong { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn key_max(&self) -> usize {
        mapledb_format::node::key_max(self.page_size())
    }

    /// What opening found, and did about it.
    ///
    /// Cost: none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// let path = dir.path().join("e.maple");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// unsafe { mapledb::Env::options().create(&path) }?.close()?;
    /// // SAFETY: as above.
    /// let env = unsafe { mapledb::Env::options().open(&path) }?;
    /// assert!(env.recovery().was_clean);
    /// assert_eq!((&env.recovery().passed_over, env.recovery().recovered_txnid), (&None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recovery(&self) -> &Recovery {
        &self.core.recovery
    }

    /// A read transaction with the whole head of its snapshot, free space included.
    fn snapshot_with_head(&self) -> Result<(ReadTxn, HeadBody)> {
        self.core.read_with_head()
    }
}
