//! Giving free space back to the file system: mark it, let both metas stand on the mark, then punch holes.

use std::sync::Arc;

use mapledb_format::free::PageBounds;
use mapledb_format::{Extent, HeadBody, Meta, Pgno, Slot, Txnid};
use mapledb_os::planted;

use super::Core;
use crate::commit::decode_head;
use crate::error::Result;
use crate::mvcc::{Wait, WriterGuard};
use crate::space::{Extents, HOLE_PAGES_MIN, marked_runs};
use crate::store::Snapshot;

/// What was given back to the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrimReport {
    /// Runs of free pages that have no blocks now, what lies behind the used part among them.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes by which this made the file take less of the disk, as the file system counts.
    pub given_back_bytes: u64,
    /// Whether the file system can punch holes. If not, nothing was given back.
    pub is_supported: bool,
}

impl Core {
    /// Gives the blocks of free runs, and of what lies behind the used part, back to the file system.
    ///
    /// Three commits: the first lets go of what the last one gave up, the second marks, the third takes the place of the
    /// meta before the mark. Then holes are punched.
    pub(crate) fn trim(self: &Arc<Core>) -> Result<TrimReport> {
        let before = self.store.file().stat()?.allocated_bytes;
        self.sync()?;
        self.begin_write_at_last()?.commit_as_anchor()?;
        let mut txn = self.begin_write_at_last()?;
        txn.mark_holes()?;
        if planted("hole_before_mark") {
            let marked = txn.draft().marked_runs()?;
            marked.iter().try_for_each(|run| self.store.punch(run).map(drop))?;
        }
        txn.commit_as_anchor()?;
        self.begin_write_at_last()?.commit_as_anchor()?;
        let mut report = self.punch()?;
        report.given_back_bytes = before.saturating_sub(self.store.file().stat()?.allocated_bytes);
        Ok(report)
    }

    /// Punches out the runs that are marked in whatever may be found after a crash, and in what the next writer builds on.
    fn punch(&self) -> Result<TrimReport> {
        let guard = loop {
            if let Some(guard) = self.lock(Wait::Forever)? {
                break guard;
            }
        };
        // So that neither meta is in flight.
        let _sync = self.committer(&guard).settled_right()?;
        let mut heads = vec![decode_head(&self.attached.head()?.head)?];
        for slot in [Slot::A, Slot::B] {
            // What is no meta never stands.
            heads.extend(Meta::decode(&self.store.read_meta(slot), slot).ok().map(|meta| meta.head));
        }
        let mut holes = self.marked_in(&heads[0])?;
        for head in &heads[1..] {
            holes = holes.both(&self.marked_in(head)?);
        }
        let used = heads.iter().map(|head| head.pages_used).max().unwrap_or(Pgno::MAX);
        if let Some(tail) = self.take_tail(&guard, used)? {
            holes.insert(tail);
        }
        let mut report = TrimReport { is_supported: true, ..TrimReport::default() };
        for run in holes.iter().filter(|run| run.pages >= HOLE_PAGES_MIN) {
            if !self.store.punch(run)? {
                return Ok(TrimReport::default());
            }
            report.runs += 1;
            report.bytes += run.pages << self.store.page_size().shift();
        }
        Ok(report)
    }

    fn marked_in(&self, head: &HeadBody) -> Result<Extents> {
        let view = self.store.view(head.txnid, head.pages_used, Txnid(self.attached.durable()?.txnid))?;
        let bounds = PageBounds { first: self.store.page_size().first_data_pgno(), end: head.pages_used };
        marked_runs(&Snapshot { store: &self.store, view }, &head.free, bounds)
    }

    /// What lies behind the used part, which from now on is known as without blocks.
    fn take_tail(&self, guard: &WriterGuard, used: Pgno) -> Result<Option<Extent>> {
        let allocated = self.attached.pages_allocated(guard)?;
        self.attached.set_pages_allocated(guard, allocated.min(used.get()))?;
        let pages = self.store.len_pages()?.saturating_sub(used.get());
        Ok((pages > 0).then(|| Extent::new(used, pages)))
    }
}
