//! A commit that has been handed in: whether it is durable yet, and waiting for that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Core;
use crate::commit::Reached;
use crate::error::{Error, Result};
use crate::mvcc::Wait;

/// A commit that was handed in by [`WriteTxn::commit_later`](crate::WriteTxn::commit_later). It becomes durable whether or not
/// anybody waits, and dropping this gives up the answer alone. It keeps the environment open.
///
/// It is a future, too, of no executor in particular: a thread of the environment wakes it.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # let path = dir.path().join("orders.maple");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(&path) }?;
/// async fn order(env: &mapledb::Env, number: u64) -> mapledb::Result<u64> {
///     let mut txn = env.write()?;
///     txn.main().put(&number.to_be_bytes(), b"paid")?;
///     txn.commit_later()?.await
/// }
/// # let _ = order(&env, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "the commit may yet fail to become durable, and only this tells"]
pub struct PendingCommit {
    core: Arc<Core>,
    txnid: u64,
    reached: Reached,
}

impl PendingCommit {
    pub(super) fn new(core: Arc<Core>, txnid: u64, reached: Reached) -> PendingCommit {
        PendingCommit { core, txnid, reached }
    }

    /// The commit's number; without any change that of the snapshot it built on.
    pub fn txnid(&self) -> u64 {
        self.txnid
    }

    /// Whether the commit is durable, and so published. Without any change there was nothing to make durable, and it is.
    ///
    /// Cost: a load or two.
    ///
    /// # Errors
    /// [`Error::Indeterminate`] after a failed sync, in whatever process: whether the commit happened shows when the environment
    /// is opened again.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"order", b"paid")?;
    /// let pending = txn.commit_later()?;
    /// while !pending.is_durable()? {
    ///     std::thread::yield_now(); // something else to do
    /// }
    /// assert_eq!(env.info()?.durable_txnid, pending.txnid());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_durable(&self) -> Result<bool> {
        if self.reached == Reached::Durable || self.core.attached.has_landed(self.txnid)? {
            return Ok(true);
        }
        match self.core.attached.is_poisoned()? {
            true => {
                let cause = Box::new(Error::Poisoned { path: self.core.store.file().path().to_path_buf() });
                Err(Error::Indeterminate { txnid: self.txnid, cause })
            }
            false => Ok(false),
        }
    }

    /// Waits until the commit is durable; answers its number. A relaxed one is made durable now, once no write
    /// transaction is open.
    ///
    /// Cost: none if it is durable; else at most the time of two flights of one or two syncs each.
    ///
    /// # Errors
    /// As [`PendingCommit::is_durable`]; the thread whose own sync fails gets that error.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.durability(mapledb::Durability::Relaxed);
    /// txn.main().put(b"order", b"paid")?;
    /// let pending = txn.commit_later()?; // published already
    /// let txnid = pending.wait()?;
    /// assert!(env.info()?.durable_txnid >= txnid);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> Result<u64> {
        while !self.wait_within(Wait::Forever)? {}
        Ok(self.txnid)
    }

    /// As [`PendingCommit::wait`], and no longer than `time`, but for a sync that this call has begun; answers whether the
    /// commit is durable.
    ///
    /// # Errors
    /// As [`PendingCommit::wait`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"order", b"paid")?;
    /// let pending = txn.commit_later()?;
    /// let is_durable = pending.wait_timeout(std::time::Duration::from_secs(60))?;
    /// assert!(is_durable && env.read()?.main()?.len() == 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(&self, time: Duration) -> Result<bool> {
        self.wait_within(Wait::For(time))
    }

    fn wait_within(&self, wait: Wait) -> Result<bool> {
        if self.is_durable()? {
            return Ok(true);
        }
        let is_durable = match self.reached {
            Reached::Published => self.core.sync_up_to(self.txnid, wait)?,
            Reached::Appended | Reached::Durable => self.core.wait_durable(self.txnid, wait)?,
        };
        if is_durable {
            self.core.syncer.settled_up_to(self.txnid);
        }
        Ok(is_durable)
    }
}

impl Future for PendingCommit {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        let answer = |commit: &PendingCommit| match commit.is_durable() {
            Ok(true) => Some(Ok(commit.txnid)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        if let Some(answer) = answer(&self) {
            return Poll::Ready(answer);
        }
        self.core.syncer.wake_when_durable(self.txnid, cx.waker());
        // It may have become durable before the waker was there to be woken.
        answer(&self).map_or(Poll::Pending, Poll::Ready)
    }
}

impl std::fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingCommit").field("txnid", &self.txnid).finish_non_exhaustive()
    }
}
