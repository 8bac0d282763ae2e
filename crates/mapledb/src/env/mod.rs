//! Opening, closing and looking at an environment.

mod activity;
mod copy;
mod image;
mod info;
mod open;
mod registry;
mod residency;
mod scan;
mod sharing;
mod named;
mod space;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mapledb_format::{HeadBody, Kind, OverflowHead, PageHeader, Txnid};

use crate::catalog::snapshots;
use crate::check::{CheckLevel, CheckProblem, CheckProgress, CheckReport, Latest, Named, check, check_waiting};
use crate::commit::{Recovery, check_durable_meta};
use crate::error::{Error, Result};
use crate::mvcc::{Mode, Wait};
use crate::space::{Extents, waiting_groups};
use crate::store::Snapshot;
use crate::txn::{Core, Defragment, DefragmentProgress, DefragmentReport, ReadTxn, TrimReport, WriteTxn};

pub use activity::{ProcessInfo, StageInfo};
pub use copy::CopyReport;
pub use image::{HugePageState, HugePages, Image, ImageMemory};
pub use info::{Info, Metrics};
pub use open::{Access, Options};
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
    /// # Errors
    /// The environment is read-only, poisoned, or used in a forked child; its file was replaced.
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

    /// Gives free space back to the file system while the environment is in use, in any number of processes: free runs of at
    /// least 16 pages become holes, and so does what the file has grown by in advance. The file stays as long as it is; what
    /// it takes of the disk (`du`) becomes less. Free pages that a reader or an older meta still holds stay, and up to 256
    /// for the next commits.
    ///
    /// Space that was given back may be gone when it is needed again: blocks are allocated before a page is stored to, and
    /// if there are none that is [`Error::DiskFull`], nothing worse. A commit that takes such a run syncs twice.
    ///
    /// Cost: three commits of one or two syncs each, two more syncs if relaxed commits are to become durable; the free-space
    /// records are rewritten once and read a few times; a system call for each run. The idea: `fstrim`, and the hole punching of InnoDB's compressed pages.
    ///
    /// # Errors
    /// As [`Env::write`] and [`WriteTxn::commit`]. Nothing is lost by one; what was not given back is by the next call.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("cache.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"page", &vec![7; 4 << 20])?;
    /// txn.commit()?;
    /// let mut txn = env.write()?;
    /// txn.main().clear()?;
    /// txn.commit()?;
    ///
    /// let report = env.trim()?;
    /// assert!(report.bytes >= 2 << 20 || !report.is_supported);
    /// # env.close()
    /// # }
    /// ```
    pub fn trim(&self) -> Result<TrimReport> {
        self.core.trim()
    }

    /// Moves pages from the end of the file to free ones before them, while readers and writers go on, so that the end can be
    /// given back: to [`trim`](Env::trim), which this calls at last, and to whoever closes the file last. A large value
    /// moves as a whole, to a free run that is long enough. Tables in a [named order](crate::NamedOrder) move if the environment
    /// was opened with it.
    ///
    /// What is moved is copied by ordinary commits of bounded size; between two of them other writers get their turn.
    /// `progress` is called after each, and when it answers `false` that was the last. The report says how it ended; what
    /// had been moved by then stays moved. Pages that a reader pins stay where they are until the reader goes, and their
    /// copies take room meanwhile that was free before: with a long reader this gains nothing until it ends.
    ///
    /// Cost: for every page moved about two written, the page and its share of the branches above, once more for each commit
    /// that such a branch is part of; a sync a commit, or two; before each 131,072 pages a look at all branches, and at all
    /// leaves of tables with values of several pages. A compact copy costs as much writing as the file is long, and orders
    /// tables as well, which this does not.
    ///
    /// # Errors
    /// As [`Env::write`], [`WriteTxn::commit`] and [`Env::trim`]. What had been moved stays moved.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("cache.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Defragment;
    ///
    /// for n in 0..2000u32 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&n.to_be_bytes(), &[7; 2000])?;
    ///     txn.commit_later()?;
    /// }
    /// let mut txn = env.write()?;
    /// txn.main().retain(|key, _| key[3] % 4 == 0)?;
    /// txn.commit()?;
    ///
    /// let report = env.defragment(&Defragment::default(), |_| true)?;
    /// assert!(report.used_pages < report.used_pages_before);
    /// # env.close()
    /// # }
    /// ```
    pub fn defragment(
        &self,
        options: &Defragment,
        mut progress: impl FnMut(&DefragmentProgress) -> bool,
    ) -> Result<DefragmentReport> {
        self.core.defragment(options, &mut progress)
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
    /// # Errors
    /// [`Error::StillInUse`] while other handles or transactions are alive; it stays open for them. A failed sync.
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
    pub fn recovery(&self) -> &Recovery {
        &self.core.recovery
    }

    /// Checks the latest snapshot: every page, every order, every count, and that no page is lost or held twice; then every named
    /// one, and that what it reaches is in use or waits for it.
    ///
    /// Of a table in a named order that is neither at hand ([`Options::order`]) everything else is checked, and
    /// [`CheckReport::orders_missing`] names it.
    ///
    /// Works beside a writer, and keeps the snapshot from being reused meanwhile. `progress` is called every few
    /// hundred pages.
    ///
    /// Cost: every page in use is read, and every page of each named snapshot.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let report = env.check(|_progress| {})?;
    /// assert!(report.is_clean(), "{report:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Damage does not end it: each fault is a [`CheckProblem`], and what is beside it is checked all the same. What is below a
    /// damaged page is counted in [`CheckReport::pages_unknown`]. A fault that several named snapshots share with each other or with
    /// the latest one is told once; whether what a named one reaches is in use is then not asked, since that is not known.
    pub fn check(&self, progress: impl FnMut(CheckProgress)) -> Result<CheckReport> {
        self.check_at(CheckLevel::Full, progress)
    }

    /// Checks as much of the file as `level` says, as [`check`](Env::check) does all of it.
    ///
    /// Cost: see [`CheckLevel`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::CheckLevel;
    ///
    /// let mut txn = env.write()?;
    /// for key in ["oak", "elm", "maple"] {
    ///     txn.main().put(key.as_bytes(), b"a tree")?;
    /// }
    /// txn.commit()?;
    /// assert!(env.check_at(CheckLevel::Quick, |_progress| {})?.is_clean());
    ///
    /// let keys = env.check_at(CheckLevel::Pages, |_progress| {})?.histograms.key_lengths;
    /// assert_eq!((keys[0].from, keys[0].to, keys[0].count), (2, 3, 2), "two keys of two or three bytes");
    /// assert_eq!((keys[1].from, keys[1].to, keys[1].count), (4, 7, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_at(&self, level: CheckLevel, mut progress: impl FnMut(CheckProgress)) -> Result<CheckReport> {
        let (txn, head) = self.snapshot_with_head()?;
        let (mut report, reachable) = check(&txn, &head, txn.known_orders(), level, &mut progress);
        if level == CheckLevel::Full {
            self.check_snapshots(&txn, &head, &reachable, &mut report)?;
        }
        if let Some(what) = check_durable_meta(&self.core.store, &self.core.attached)? {
            report.problems.push(CheckProblem { pgno: None, table: None, what });
        }
        if level > CheckLevel::Quick && report.is_clean() {
            self.check_waiting(&txn, &head, &mut report)?;
        }
        Ok(report)
    }

    /// Checks every named snapshot, each through a window of its own.
    fn check_snapshots(
        &self,
        txn: &ReadTxn,
        head: &HeadBody,
        reachable: &Extents,
        report: &mut CheckReport,
    ) -> Result<()> {
        let kept = match snapshots::list(txn, &head.snapshots) {
            Ok(kept) => kept,
            // Their tree was walked with the others, and its damage told.
            Err(_) if !report.is_clean() => return Ok(()),
            Err(error) => {
                report.problems.push(CheckProblem { pgno: None, table: None, what: error.to_string() });
                return Ok(());
            }
        };
        let waiting = match report.is_clean() && !kept.is_empty() {
            true => Some(waiting_groups(txn, head)?),
            false => None,
        };
        let latest = waiting.as_deref().map(|waiting| Latest { reachable, waiting });
        let durable = Txnid(self.core.attached.durable()?.txnid);
        let mut named = Named::behind(report);
        for (name, record) in kept {
            let view = self.core.store.view(record.txnid, record.pages_used.min(head.pages_used), durable)?;
            let pages = Snapshot { store: &self.core.store, view };
            named.check(&pages, (&name, &record), latest.as_ref(), report);
        }
        Ok(())
    }

    /// Compares waiting pages with their free records if nobody writes now and the snapshot is still the latest.
    fn check_waiting(&self, txn: &ReadTxn, head: &HeadBody, report: &mut CheckReport) -> Result<()> {
        let is_frozen = self.core.attached.mode() == Mode::Frozen;
        let guard = if self.core.options.is_read_only { None } else { self.core.lock(Wait::Try)? };
        if guard.is_none() && !is_frozen || self.core.attached.published_txnid()? != txn.txnid() {
            return Ok(());
        }
        let header_of = |pgno| {
            let page = txn.raw_pages(pgno, 1).ok()?;
            let header = PageHeader::parse(page).ok()?;
            let length = match header.kind {
                Kind::Overflow => OverflowHead::parse(page, self.core.store.page_size()).ok()?.pages,
                Kind::Leaf | Kind::Branch | Kind::Packed => 1,
            };
            Some((header.txnid, length))
        };
        report.problems.extend(check_waiting(txn, head, &self.core.whole_pins(head)?, &header_of)?);
        report.waiting_checked = true;
        Ok(())
    }

    /// A read transaction with the whole head of its snapshot, free space included.
    fn snapshot_with_head(&self) -> Result<(ReadTxn, HeadBody)> {
        self.core.read_with_head()
    }
}
