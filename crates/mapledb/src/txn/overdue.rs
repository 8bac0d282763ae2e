//! Readers that stay too long, and what a writer does about them.
//!
//! A reader holds the pages of its snapshot, so a file grows by what is overwritten meanwhile. Whoever minds says how long is too
//! long and what is done then; it is looked at when a write transaction begins, before pins are taken.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mapledb_os::process;
use parking_lot::Mutex;

use super::Core;
use crate::error::Result;
use crate::mvcc;

/// One read transaction of some process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderInfo {
    /// The process, as it is numbered in its own namespace.
    pub pid: u32,
    /// The command that the process of this number runs here, as far as the system tells.
    pub command: Option<String>,
    /// The thread that began it.
    pub tid: u32,
    /// The snapshot it reads.
    pub txnid: u64,
    /// How many commits were published since the one it reads; `None` for one opened by name.
    pub behind: Option<u64>,
    /// When it began, in nanoseconds since 1970.
    pub began_at_ns: u64,
    /// Further handles on the same snapshot.
    pub clones: u32,
    /// Whether it is one of this process.
    pub is_own: bool,
    /// Whether it is parked, and may be evicted.
    pub is_parked: bool,
    /// Bytes of pages that the latest state has given up and its snapshot still reaches. Counted by [`Env::readers`](crate::Env::readers)
    /// alone: 0 in what [`Env::evict_parked`](crate::Env::evict_parked) and [`ReaderPolicy::warn`] are given.
    pub retained_bytes: u64,
}

impl ReaderInfo {
    pub(crate) fn of(reader: &mvcc::ReaderInfo) -> ReaderInfo {
        ReaderInfo {
            pid: reader.pid,
            command: process::command(reader.pid),
            tid: reader.tid,
            txnid: reader.txnid,
            behind: reader.behind,
            began_at_ns: reader.began_at,
            clones: reader.clones,
            is_own: reader.is_own,
            is_parked: reader.is_parked,
            retained_bytes: 0,
        }
    }

    /// How long it has been going on, by the wall clock.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let reader = env.read()?;
    /// let age = env.readers()?[0].age();
    /// assert!(age < std::time::Duration::from_secs(3600));
    /// # Ok(())
    /// # }
    /// ```
    pub fn age(&self) -> Duration {
        Duration::from_nanos(process::unix_nanos().saturating_sub(self.began_at_ns))
    }
}

type Warn = Arc<dyn Fn(&ReaderInfo) + Send + Sync>;

/// What writers of an environment do about readers that stay too long; see [`Options::readers`](crate::Options::readers).
///
/// A reader is overdue when it has been going on for longer than a time, or is further behind than so many commits; not while it is
/// at the latest commit, for there it holds nothing. Of overdue
/// ones the parked are evicted if the policy says so. Of those that are left the callback is told, each once, and the file
/// does not grow on their account if it says so. One that is not parked is never evicted.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # let path = dir.path().join("patient.maple");
/// use std::time::Duration;
///
/// use mapledb::{Env, ReaderPolicy};
///
/// let policy = ReaderPolicy::new()
///     .age_max(Duration::from_secs(60))
///     .behind_max(100_000)
///     .evict_parked()
///     .warn(|reader| eprintln!("{:?} of {} has been reading for {:?}", reader.command, reader.pid, reader.age()));
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().readers(policy).create(&path) }?;
/// # env.close()
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ReaderPolicy {
    age_max: Option<Duration>,
    behind_max: Option<u64>,
    evicts_parked: bool,
    refuses_growth: bool,
    warn: Option<Warn>,
}

impl ReaderPolicy {
    /// Minds nobody.
    pub fn new() -> ReaderPolicy {
        ReaderPolicy::default()
    }

    /// Overdue is who has been going on for longer and is behind: at the latest commit a reader holds no page.
    pub fn age_max(mut self, age: Duration) -> ReaderPolicy {
        self.age_max = Some(age);
        self
    }

    /// Overdue is who is further behind than so many commits. One opened by name is not.
    pub fn behind_max(mut self, commits: u64) -> ReaderPolicy {
        self.behind_max = Some(commits);
        self
    }

    /// Overdue readers that are parked are evicted, of whatever process.
    pub fn evict_parked(mut self) -> ReaderPolicy {
        self.evicts_parked = true;
        self
    }

    /// As long as somebody is overdue the file does not grow: a commit that would need that is refused with
    /// [`Error::ReaderStaysTooLong`](crate::Error::ReaderStaysTooLong), which names the oldest of them.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use std::time::Duration;
    ///
    /// use mapledb::{Env, Error, ReaderPolicy};
    ///
    /// let policy = ReaderPolicy::new().behind_max(0).refuse_growth();
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().readers(policy).create(dir.path().join("flat.maple")) }?;
    /// let reader = env.read()?;
    /// let mut grow = || {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(b"film", &vec![7; 4 << 20])?;
    ///     txn.commit()
    /// };
    /// grow()?; // the reader is not behind yet
    /// assert!((0..20).any(|_| matches!(grow(), Err(Error::ReaderStaysTooLong { .. }))));
    /// drop(reader);
    /// grow()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse_growth(mut self) -> ReaderPolicy {
        self.refuses_growth = true;
        self
    }

    /// Calls `warn` for each overdue reader, once, in the thread that begins to write, which holds the writer lock: it should be
    /// quick, and must not write.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use std::sync::mpsc;
    ///
    /// use mapledb::{Env, ReaderPolicy};
    ///
    /// let (tell, told) = mpsc::channel();
    /// let policy = ReaderPolicy::new().behind_max(1).warn(move |reader| drop(tell.send(reader.pid)));
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().readers(policy).create(dir.path().join("w.maple")) }?;
    /// let reader = env.read()?;
    /// for n in 0..4u8 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&[n], b"")?;
    ///     txn.commit()?;
    /// }
    /// assert_eq!(told.try_iter().collect::<Vec<_>>(), [std::process::id()]); // once
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn(mut self, warn: impl Fn(&ReaderInfo) + Send + Sync + 'static) -> ReaderPolicy {
        self.warn = Some(Arc::new(warn));
        self
    }

    fn minds(&self) -> bool {
        self.age_max.is_some() || self.behind_max.is_some()
    }

    fn is_overdue(&self, reader: &mvcc::ReaderInfo, now: u64) -> bool {
        if reader.behind == Some(0) {
            return false;
        }
        let age = Duration::from_nanos(now.saturating_sub(reader.began_at));
        self.age_max.is_some_and(|max| age > max)
            || self.behind_max.is_some_and(|max| reader.behind.is_some_and(|behind| behind > max))
    }
}

impl fmt::Debug for ReaderPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderPolicy")
            .field("age_max", &self.age_max)
            .field("behind_max", &self.behind_max)
            .field("evicts_parked", &self.evicts_parked)
            .field("refuses_growth", &self.refuses_growth)
            .field("warns", &self.warn.is_some())
            .finish()
    }
}

/// Overdue readers that the callback knows of: block, slot and when each began.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<(usize, usize, u64)>>);

impl Core {
    /// Does what the policy says about overdue readers. Answers the oldest that is left, if the file must not grow on its
    /// account.
    ///
    /// Cost: none without a policy; else a scan of the reader slots.
    pub(super) fn mind_readers(&self) -> Result<Option<ReaderInfo>> {
        let policy = &self.options.readers;
        if !policy.minds() {
            return Ok(None);
        }
        let now = process::unix_nanos();
        if policy.evicts_parked {
            self.attached.evict_parked(|reader| policy.is_overdue(reader, now))?;
        }
        let mut overdue = self.attached.readers()?;
        overdue.retain(|reader| policy.is_overdue(reader, now));
        if let Some(warn) = &policy.warn {
            let place = |reader: &mvcc::ReaderInfo| (reader.block, reader.slot, reader.began_at);
            let known = std::mem::replace(&mut *self.told.0.lock(), overdue.iter().map(place).collect());
            let new = overdue.iter().filter(|reader| !known.contains(&place(reader)));
            new.for_each(|reader| warn(&ReaderInfo::of(reader)));
        }
        let oldest = overdue.iter().min_by_key(|reader| reader.txnid).filter(|_| policy.refuses_growth);
        Ok(oldest.map(ReaderInfo::of))
    }
}
