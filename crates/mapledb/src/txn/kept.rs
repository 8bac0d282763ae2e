//! What the last commit of this process leaves to the next: its head, and its free space as it had it in hand.
//!
//! A transaction that builds on it need not read either again, which for small ones would be two fifths of their work. Who holds the
//! writer lock owns this. The head in shared memory is what counts: if that is another one, whoever made it, nothing of this
//! is used.

use mapledb_format::free::PageBounds;
use mapledb_format::{HeadBody, Txnid};
use mapledb_os::planted;

use super::{Core, WriteTxn};
use crate::commit::decode_head;
use crate::error::Result;
use crate::mvcc::WriterGuard;
use crate::space::{Left, Space};

/// What a write transaction builds on.
pub(super) struct Base {
    pub(super) head: Box<HeadBody>,
    /// The durable snapshot that the head builds on.
    pub(super) durable: Txnid,
    /// The free space that it left, if that was kept.
    left: Option<Left>,
}

impl Core {
    /// The newest head, with the free space that it left if it is this process's last commit.
    ///
    /// Cost: a few words of shared memory if it is; else a copy of the head and its decoding.
    pub(super) fn base(&self, guard: &WriterGuard) -> Result<Base> {
        let kept = self.kept.lock().take();
        let newest = self.attached.head_txnid(guard)?;
        if let Some(kept) = kept.filter(|kept| kept.head.txnid.get() == newest || planted("stale_base")) {
            #[cfg(debug_assertions)]
            self.compare(&kept)?;
            return Ok(kept);
        }
        let record = self.attached.head()?.head;
        Ok(Base { head: Box::new(decode_head(&record)?), durable: Txnid(record.durable_txnid), left: None })
    }

    /// Holds what was kept against the newest head as it stands in shared memory.
    #[cfg(debug_assertions)]
    fn compare(&self, kept: &Base) -> Result<()> {
        let record = self.attached.head()?.head;
        let (txnid, is_its_head) = (kept.head.txnid, *kept.head == decode_head(&record)?);
        assert!(planted("stale_base") || is_its_head && kept.durable.get() == record.durable_txnid, "what was kept is commit {txnid}");
        Ok(())
    }

    /// The free space of a transaction on this base, and its head.
    pub(super) fn space(
        &self,
        base: Base,
        pins: Vec<Txnid>,
        settled: Txnid,
        pages_allocated: u64,
    ) -> Result<(Space, Box<HeadBody>)> {
        let Base { head, left, .. } = base;
        let bounds = PageBounds { first: self.store.page_size().first_data_pgno(), end: head.pages_used };
        let read = |pins| Space::of(&head, bounds, pins, settled, pages_allocated);
        let Some(left) = left else { return Ok((read(pins)?, head)) };
        #[cfg(debug_assertions)]
        let as_read = read(pins.clone())?;
        let space = Space::after(left, &head, bounds, pins, settled, pages_allocated)?;
        #[cfg(debug_assertions)]
        assert!(space.begins_as(&as_read), "what was kept of commit {} is what its head says", head.txnid);
        Ok((space, head))
    }
}

impl WriteTxn {
    /// Keeps what the commit that has just been appended leaves. The transaction is over.
    pub(super) fn keep_for_next(&mut self) {
        let base = Base { head: self.head.clone(), durable: self.head.base_txnid, left: Some(self.draft.space.leave()) };
        *self.core.kept.lock() = Some(base);
    }
}
