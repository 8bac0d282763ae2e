//! The end of the file: how far it may move, and the blocks that are there before anything is stored.

use mapledb_format::{Extent, Pgno};
use mapledb_os::planted;

use super::Draft;
use crate::error::{Error, Result};

/// A reader on whose account the file does not grow.
#[derive(Clone, Debug)]
pub(crate) struct GrowthLimit {
    /// The most pages the file may use.
    pub(crate) pages: u64,
    pub(crate) pid: u32,
    pub(crate) command: Option<String>,
    pub(crate) txnid: u64,
    pub(crate) age_seconds: u64,
}

impl Draft {
    /// Lets the file grow no further, on account of a reader.
    pub(crate) fn limit_growth(&mut self, limit: GrowthLimit) {
        self.growth_limit = Some(limit);
    }

    /// New pages from the end of the file; blocks for them are allocated, geometrically, before anything is stored.
    pub(super) fn grow(&mut self, pages: u64) -> Result<Extent> {
        let least = self.space.pages_used.saturating_add(pages);
        let first = self.space.pages_used();
        let too_large = || Error::FileTooLarge { pages: least };
        let end = Pgno::new(least).ok_or_else(too_large)?;
        if least > self.quota_pages {
            let size = self.store.page_size();
            return Err(Error::QuotaReached { bytes: self.quota_pages << size.shift() });
        }
        if let Some(GrowthLimit { pid, command, txnid, age_seconds, .. }) =
            self.growth_limit.as_ref().filter(|limit| least > limit.pages)
        {
            let (pid, command, txnid, age_seconds) = (*pid, command.clone(), *txnid, *age_seconds);
            return Err(Error::ReaderStaysTooLong { pid, command, txnid, age_seconds });
        }
        if least > self.space.pages_allocated {
            self.allocate_blocks(least)?;
        }
        self.generation = self.store.covering(least)?;
        self.space.pages_used = end.get();
        Ok(Extent::new(first, pages))
    }

    /// Grows the file by a sixteenth, or a thirty-second if most of it is not in use, at least 1 MiB and at most 256 MiB at a time;
    /// by the least that serves if the disk has no more.
    fn allocate_blocks(&mut self, least: u64) -> Result<()> {
        let shift = self.store.page_size().shift();
        let is_swollen = self.space.pages_used > 2 * self.space.pages_in_use();
        let step = (self.space.pages_allocated / if is_swollen { 32 } else { 16 })
            .clamp((1 << 20) >> shift, (256 << 20) >> shift);
        let generous = least.max(self.space.pages_allocated + step).min(self.quota_pages).max(least);
        // Below the end of the used part are pages of others, whatever is known about blocks.
        let from = self.space.pages_allocated.max(self.space.pages_used);
        let allocated = match self.store.grow(from, generous) {
            Err(error) if error.is_want_of_room() => self.store.grow(from, least).map(|()| least),
            other => other.map(|()| generous),
        };
        self.space.pages_allocated = allocated?;
        self.space.has_grown = true;
        Ok(())
    }

    /// Gives blocks to a free run that has none, before anything is stored there. Answers whether the disk had some.
    pub(super) fn allocate_again(&mut self, run: Extent) -> Result<bool> {
        if planted("unallocated_reuse") {
            return Ok(true);
        }
        match self.store.allocate_again(run) {
            Err(error) if error.is_want_of_room() => Ok(false),
            other => other.map(|()| {
                (self.space.has_grown, self.space.has_refilled) = (true, true);
                true
            }),
        }
    }
}
