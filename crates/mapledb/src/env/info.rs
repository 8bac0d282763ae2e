//! What an environment says of itself.

use std::path::PathBuf;

use mapledb_format::{HeadBody, Txnid};

use super::Env;
use crate::error::Result;
use crate::space::{Free, each_free, holdings};
use crate::txn::{ReadTxn, ReaderInfo};

/// The state of an environment at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The data file, symbolic links resolved.
    pub path: PathBuf,
    /// The file's random name for itself.
    pub identity: [u8; 16],
    /// The size of a page in bytes.
    pub page_size: usize,
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// What it takes of the disk in bytes: less than its length where it has holes.
    pub allocated_bytes: u64,
    /// Pages of the file up to the first never allocated, metas left out.
    pub used_pages: u64,
    /// Pages that may be used again at once.
    pub available_pages: u64,
    /// Pages that wait for a snapshot to go.
    pub waiting_pages: u64,
    /// The latest published commit.
    pub txnid: u64,
    /// The latest durable commit.
    pub durable_txnid: u64,
    /// Bytes of address space mapped ahead.
    pub reserve_bytes: u64,
    /// The file system.
    pub filesystem: String,
    /// Read transactions alive, in all processes.
    pub readers: u64,
    /// The oldest snapshot a reader pins.
    pub oldest_reader_txnid: Option<u64>,
    /// Whether a sync has failed.
    pub is_poisoned: bool,
}

/// Counts over all processes that have or had the environment open since the first of them attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Each count with its name, in a fixed order.
    pub counts: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// The count called `name`.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let metrics = env.metrics();
    /// assert_eq!((metrics.get("commits"), metrics.get("comets")), (Some(0), None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(known, _)| *known == name).map(|(_, count)| *count)
    }
}

impl Env {
    /// The state of the environment.
    ///
    /// Cost: a read of the free-space records.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let info = env.info()?;
    /// assert_eq!((info.page_size, info.readers, info.is_poisoned), (4096, 0, false));
    /// # Ok(())
    /// # }
    /// ```
    pub fn info(&self) -> Result<Info> {
        let (txn, head) = self.snapshot_with_head()?;
        let (available_pages, waiting_pages) = free_pages(&txn, &head)?;
        let store = &self.core.store;
        let about = store.file().stat()?;
        let first = store.page_size().first_data_pgno().get();
        // The transaction this call reads through is not one of the user's.
        let own = mapledb_os::process::tid();
        let mut readers = self.list_readers()?;
        if let Some(at) = readers.iter().position(|reader| reader.is_own && reader.tid == own && reader.txnid == txn.txnid())
        {
            readers.remove(at);
        }
        Ok(Info {
            path: self.path().to_path_buf(),
            identity: self.core.identity.0,
            page_size: self.page_size(),
            file_bytes: about.len_bytes,
            allocated_bytes: about.allocated_bytes,
            used_pages: head.pages_used.get().saturating_sub(first),
            available_pages,
            waiting_pages,
            txnid: head.txnid.get(),
            durable_txnid: self.core.attached.durable()?.txnid,
            reserve_bytes: store.reserve_bytes(),
            filesystem: store.file().filesystem()?.name().to_string(),
            readers: readers.len() as u64,
            oldest_reader_txnid: readers.iter().map(|reader| reader.txnid).min(),
            is_poisoned: self.core.attached.is_poisoned()?,
        })
    }

    /// Every read transaction alive, in all processes: whose it is, how far behind, and what it keeps from being used again.
    ///
    /// Cost: a scan of the reader slots; if there are readers, a read of the records of pages that wait.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let reader = env.read()?;
    /// let all = env.readers()?;
    /// assert_eq!((all.len(), all[0].is_own, all[0].txnid), (1, true, reader.txnid()));
    /// println!("{:?} of process {} for {:?}", all[0].command, all[0].pid, all[0].age());
    /// # Ok(())
    /// # }
    /// ```
    pub fn readers(&self) -> Result<Vec<ReaderInfo>> {
        let mut readers = self.list_readers()?;
        if readers.is_empty() {
            return Ok(readers);
        }
        let (txn, head) = self.snapshot_with_head()?;
        let held = holdings(&txn, &head, &self.core.every_pin(&head)?)?;
        let shift = self.core.store.page_size().shift();
        for reader in &mut readers {
            reader.retained_bytes = held.get(&Txnid(reader.txnid)).map_or(0, |held| held.pages << shift);
        }
        Ok(readers)
    }

    fn list_readers(&self) -> Result<Vec<ReaderInfo>> {
        Ok(self.core.attached.readers()?.iter().map(ReaderInfo::of).collect())
    }

    /// Evicts those parked readers, of all processes, that `chosen` picks; answers how many. Their pages can be used again from the
    /// next commits on, and whoever unparks one is told with [`Error::Evicted`](crate::Error::Evicted). Readers that are not
    /// parked stay, whatever is picked. [`ReaderPolicy`](crate::ReaderPolicy) does this by itself.
    ///
    /// Cost: a scan of the reader slots, and a compare-and-swap for each.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let parked = env.read()?.park()?;
    /// let active = env.read()?;
    /// assert_eq!(env.evict_parked(|reader| reader.age().as_secs() > 3600)?, 0); // none is so old
    /// assert_eq!(env.evict_parked(|_| true)?, 1); // and the active one stays
    /// assert!(matches!(parked.unpark(), Err(mapledb::Error::Evicted { .. })));
    /// assert!(active.main()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn evict_parked(&self, mut chosen: impl FnMut(&ReaderInfo) -> bool) -> Result<usize> {
        Ok(self.core.attached.evict_parked(|reader| chosen(&ReaderInfo::of(reader)))?)
    }

    /// What all processes have done to the environment since the first of them attached.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// assert_eq!(env.metrics().get("commits"), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        let counters = self.core.attached.counters();
        let mut counts: Vec<_> = counters.named().iter().map(|(name, counter)| (*name, counter.get())).collect();
        counts.push(("reads_begun", self.core.attached.reads_begun().unwrap_or(0)));
        let (gets, changes) = self.core.attached.gets_and_changes().unwrap_or_default();
        counts.extend([("gets", gets), ("changes", changes)]);
        Metrics { counts }
    }
}

/// Pages available and pages waiting, by the records of a snapshot.
fn free_pages(txn: &ReadTxn, head: &HeadBody) -> Result<(u64, u64)> {
    let (mut available, mut waiting) = (0, 0);
    each_free(txn, head, &mut |free| match free {
        Free::Available { run, .. } => available += run.pages,
        Free::Waiting { run, .. } => waiting += run.pages,
    })?;
    Ok((available, waiting))
}
