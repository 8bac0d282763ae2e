//! Parked reads: snapshots that are kept for later and given up if they are in the way.
//!
//! Parking takes the transaction, so whatever borrows from it is gone: nobody reads, and a parked reader can be evicted without
//! asking its owner. Coming back tells which of the two happened; see `mvcc::parked` for why it is never both.

use std::sync::Arc;

use super::{Core, ReadTxn};
use crate::error::{Error, Result};
use crate::mvcc::{KeptHead, Place, Return};
use crate::store::View;

/// A read transaction that its owner has parked: see [`ReadTxn::park`].
///
/// Dropping it ends the read.
#[must_use = "dropping it ends the read"]
pub struct ParkedTxn {
    place: Place,
    /// `None` only while it is dropped.
    kept: Option<Box<KeptHead>>,
    view: View,
    core: Arc<Core>,
}

impl ReadTxn {
    /// Parks the transaction: its snapshot stays pinned, but may be evicted by whoever wants the pages it holds, with
    /// [`Env::evict_parked`](crate::Env::evict_parked) or by a [`ReaderPolicy`](crate::ReaderPolicy). For sessions and pages of
    /// results that may be continued and mostly are not. A transaction that is not parked is never evicted.
    ///
    /// Cost: two stores; no system call.
    ///
    /// # Errors
    /// [`Error::StillCloned`] if clones of it are alive, which may be reading; this handle is gone then, and they stay.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("pages.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Error;
    ///
    /// let session = env.read()?.park()?;
    /// let txn = session.unpark()?; // nobody minded
    /// let session = txn.park()?;
    /// env.evict_parked(|reader| reader.is_own)?;
    /// assert!(matches!(session.unpark(), Err(Error::Evicted { .. })));
    /// # env.close()
    /// # }
    /// ```
    pub fn park(mut self) -> Result<ParkedTxn> {
        self.check_process()?;
        if !self.core.attached.park(self.place) {
            return Err(Error::StillCloned);
        }
        Ok(ParkedTxn { place: self.place, kept: self.kept.take(), view: self.view, core: Arc::clone(&self.core) })
    }
}

impl ParkedTxn {
    /// The snapshot's number.
    pub fn txnid(&self) -> u64 {
        self.view.txnid.get()
    }

    /// Goes on reading the same snapshot.
    ///
    /// Cost: one compare-and-swap.
    ///
    /// # Errors
    /// [`Error::Evicted`] if its pages were wanted: begin another one. [`Error::AfterFork`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let parked = env.read()?.park()?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// let number = parked.txnid();
    /// let txn = parked.unpark()?;
    /// assert_eq!((txn.txnid(), txn.main()?.len()), (number, 0)); // the snapshot it was
    /// # Ok(())
    /// # }
    /// ```
    pub fn unpark(mut self) -> Result<ReadTxn> {
        if self.core.attached.is_forked() {
            return Err(Error::AfterFork);
        }
        match self.core.attached.unpark(self.place) {
            Return::Evicted => Err(Error::Evicted { txnid: self.txnid() }),
            Return::Pinned => Ok(ReadTxn {
                place: self.place,
                kept: self.kept.take(),
                view: self.view,
                core: Arc::clone(&self.core),
            }),
        }
    }
}

impl Drop for ParkedTxn {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.core.attached.release_slot(self.place, kept, 0);
        }
    }
}

impl std::fmt::Debug for ParkedTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParkedTxn").field("txnid", &self.txnid()).finish_non_exhaustive()
    }
}
