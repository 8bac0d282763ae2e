//! Values that take pages of their own.

use mapledb_format::order::Order;
use mapledb_format::overflow::{OVERFLOW_HEAD_BYTES, OverflowRef, RunGeometry, frame, seal_run};
use mapledb_format::{FormatError, PageSize, header};

use super::{Pages, PagesMut, TreeMut, corrupt};
use crate::error::{Error, Result};

/// The value in the run `at`.
pub(super) fn overflow<'p, P: Pages>(pages: &'p P, at: &OverflowRef) -> Result<&'p [u8]> {
    let run = pages.run(at)?;
    let end = usize::try_from(at.len).ok().and_then(|len| OVERFLOW_HEAD_BYTES.checked_add(len));
    end.and_then(|end| run.get(OVERFLOW_HEAD_BYTES..end))
        .ok_or_else(|| corrupt(at.pgno, FormatError::BadOverflow("the value is longer than its run")))
}

/// How a run for `len` bytes is laid out.
pub(super) fn geometry(len: u64, size: PageSize) -> Result<RunGeometry> {
    RunGeometry::of(len, size).ok_or(Error::ValueTooLong { len })
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Stores `value` in a run of its own, sealed.
    pub(super) fn store_run(&mut self, value: &[u8]) -> Result<OverflowRef> {
        let (len, size, txnid) = (value.len() as u64, self.pages.page_size(), self.pages.txnid());
        let pages = geometry(len, size)?.pages;
        let pgno = self.pages.allocate_to_write(pages)?;
        self.record.overflow_pages = self.record.overflow_pages.saturating_add(pages);
        let frame = frame(value, pgno, txnid, size).map_err(|cause| corrupt(pgno, cause))?;
        self.pages.write(pgno, pages, [&frame.head, value, &frame.behind])?;
        Ok(OverflowRef { tag: header::tag(frame.checksum), pgno, len })
    }

    /// Takes a run for `len` bytes, to be written and sealed later.
    pub(super) fn reserve_run(&mut self, len: u64) -> Result<OverflowRef> {
        let geometry = geometry(len, self.pages.page_size())?;
        let pgno = self.pages.allocate(geometry.pages)?;
        self.record.overflow_pages = self.record.overflow_pages.saturating_add(geometry.pages);
        Ok(OverflowRef { tag: 0, pgno, len })
    }

    /// The value bytes of an own run.
    pub(super) fn run_mut(&mut self, at: &OverflowRef) -> Result<&mut [u8]> {
        let geometry = geometry(at.len, self.pages.page_size())?;
        let run = self.pages.own_mut(at.pgno, geometry.pages)?;
        Ok(&mut run[OVERFLOW_HEAD_BYTES..OVERFLOW_HEAD_BYTES + at.len as usize])
    }

    /// Writes head and checksums of an own run; the tag for whoever refers to it.
    pub(super) fn seal_run(&mut self, at: &OverflowRef) -> Result<u32> {
        let (size, txnid) = (self.pages.page_size(), self.pages.txnid());
        let geometry = geometry(at.len, size)?;
        let run = self.pages.own_mut(at.pgno, geometry.pages)?;
        let checksum =
            seal_run(run, at.pgno, txnid, at.len, size).map_err(|cause| corrupt(at.pgno, cause))?;
        Ok(header::tag(checksum))
    }

    /// Gives the run `at` up.
    pub(super) fn free_run(&mut self, at: &OverflowRef) -> Result<()> {
        let born = if at.tag == 0 {
            self.pages.txnid()
        } else {
            let run = self.pages.run(at)?;
            header::stored_txnid(run).map_err(|cause| corrupt(at.pgno, cause))?
        };
        let geometry = geometry(at.len, self.pages.page_size())?;
        self.record.overflow_pages = self.record.overflow_pages.saturating_sub(geometry.pages);
        self.pages.free(at.pgno, geometry.pages, born)
    }
}
