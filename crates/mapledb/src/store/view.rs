//! A snapshot's window on the file.
//!
//! It turns a page reference into a slice only when the number lies within the snapshot's file, the page is the one
//! referred to, was written at or before the snapshot (I1), and its checksum has been verified as the policy asks.
//!
//! # When a verified page is not believed any more
//!
//! The memo says that a page was right when it was looked at, and a page stays what it is as long as the page cache or
//! the disk has it. Two things end that. After a *failed sync* the kernel counts pages as clean that never reached the
//! disk, may evict them, and then shows what the disk has, torn or older: so once the environment is poisoned, pages
//! written after the snapshot's durable one are verified at every touch. After a *fault in the map* that was caught
//! (`mapledb_os::sigbus`) zeros lie where a page was: so snapshots that were open are refused, and later ones verify
//! everything at every touch.

use std::ops::Range;

use mapledb_format::header::Kind;
use mapledb_format::overflow::{OverflowRef, Run, RunGeometry};
use mapledb_format::{Extent, FormatError, PageSize, Pgno, Txnid, header};
use mapledb_os::planted;

use super::memo::Known;
use super::{Generation, Store, Verify};
use crate::error::{Error, Result};
use crate::pages::{PageRef, Pages};

/// A snapshot's window on the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) txnid: Txnid,
    /// The first page that lies outside the snapshot's file.
    pub(crate) pages_used: Pgno,
    pub(crate) generation: Generation,
    /// Pages written up to this transaction are on the disk, and no fault was known of when the snapshot was begun: what
    /// the memo says of them stands.
    pub(super) settled: Txnid,
    /// The faults that were known of then.
    pub(super) faults: u32,
}

impl View {
    /// Refuses to go on if a page of the map has failed since the snapshot was begun: values handed out since may read
    /// as zeros, and so may what was just read.
    #[inline(always)]
    pub(crate) fn still_sound(&self, store: &Store) -> Result<()> {
        if store.alarm.count_after_reads() == self.faults { Ok(()) } else { Err(store.fault()) }
    }

    /// The page `at`, verified.
    ///
    /// Cost: one page touch; the first time in this process for this page and writer, its checksum.
    #[inline(always)]
    pub(crate) fn page<'s>(&self, store: &'s Store, at: PageRef) -> Result<&'s [u8]> {
        if at.pgno >= self.pages_used || at.pgno < store.size.first_data_pgno() {
            return Err(outside(at.pgno));
        }
        if store.alarm.count() != self.faults {
            return Err(store.fault());
        }
        let page = store.slice(self.generation, at.pgno, 1);
        if let Err(cause) = header::check_identity(page, at.pgno, at.tag, self.txnid) {
            return Err(store.not_right(at.pgno, cause));
        }
        match store.verify {
            _ if planted("unverified_pages") => {}
            Verify::FirstTouch => self.verify_once(store, at.pgno, page)?,
            Verify::Never => {}
            Verify::Always => store.check_sum(at.pgno, page)?,
        }
        Ok(page)
    }

    /// The page `at`, if it is a node of this kind and level that [`View::page`] would hand out without a look at more than its
    /// header and the memo; `None` otherwise, whatever the reason.
    ///
    /// The same checks in fewer instructions, since nothing is to be said of a failure: most pages of a lookup pass here.
    #[inline(always)]
    pub(crate) fn known_node<'s>(&self, store: &'s Store, at: PageRef, kind: Kind, level: u8) -> Option<&'s [u8]> {
        let lies_outside = at.pgno >= self.pages_used || at.pgno < store.size.first_data_pgno();
        if lies_outside || store.alarm.count() != self.faults {
            return None;
        }
        let page = store.slice(self.generation, at.pgno, 1);
        let written = header::node_written_by(page, at.pgno, at.tag, kind, level)?;
        let is_trusted = match store.verify {
            Verify::FirstTouch => self.is_verified(store, at.pgno, written.get()),
            Verify::Never => true,
            Verify::Always => false,
        };
        (is_trusted && written <= self.txnid).then_some(page)
    }

    /// Whether the memo vouches for what `written` wrote to a page, and is to be believed.
    #[inline(always)]
    fn is_verified(&self, store: &Store, pgno: Pgno, written: u64) -> bool {
        let known = store.maps(self.generation).memo.of(pgno);
        known.is_some_and(|known| known.is_verified(written)) && self.believes(store, written)
    }

    /// The transaction that wrote the page `at`, by its header alone; the disk is asked for it in a way that answers.
    ///
    /// Cost: a system call and a page touch.
    pub(crate) fn born(&self, store: &Store, at: PageRef) -> Result<Txnid> {
        let page = self.raw(store, at.pgno, 1)?;
        store.make_present(self.generation, Extent::new(at.pgno, 1))?;
        header::check_identity(page, at.pgno, at.tag, self.txnid)
            .and_then(|()| header::stored_txnid(page))
            .map_err(|cause| Error::Corrupt { pgno: at.pgno, cause })
    }

    #[inline(always)]
    fn verify_once(&self, store: &Store, pgno: Pgno, page: &[u8]) -> Result<()> {
        let written = header::stored_txnid(page).map_or(0, Txnid::get);
        if self.is_verified(store, pgno, written) {
            return Ok(());
        }
        verify_anew(store, pgno, page, written, store.maps(self.generation).memo.of(pgno))
    }

    /// Whether what the memo says of pages that transaction `written` wrote still stands.
    #[inline(always)]
    fn believes(&self, store: &Store, written: u64) -> bool {
        written <= self.settled.get() || !store.is_in_doubt()
    }

    /// Whether the page `at`, which was got from this view, is known as a sound node.
    pub(crate) fn is_sound(&self, store: &Store, pgno: Pgno, page: &[u8]) -> bool {
        let written = header::stored_txnid(page).map_or(0, Txnid::get);
        let known = store.maps(self.generation).memo.of(pgno);
        store.verify != Verify::Always && known.is_some_and(|known| known.is_sound(written)) && self.believes(store, written)
    }

    /// Notes that a page, which was got from this view, is a sound node.
    pub(crate) fn found_sound(&self, store: &Store, pgno: Pgno, page: &[u8]) {
        let written = header::stored_txnid(page).map_or(0, Txnid::get);
        if store.verify == Verify::FirstTouch
            && let Some(known) = store.maps(self.generation).memo.of(pgno)
        {
            known.sound(written);
        }
    }

    /// The snapshot that was durable when the view was made; nothing if pages may have been lost to faults.
    pub(crate) fn settled(&self) -> Txnid {
        self.settled
    }

    /// `pages` pages from `first` on, nothing verified but that they lie in the file.
    pub(crate) fn raw<'s>(&self, store: &'s Store, first: Pgno, pages: u64) -> Result<&'s [u8]> {
        let end = first.checked_add(pages).filter(|end| *end <= self.pages_used);
        if end.is_none() || first < store.size.first_data_pgno() {
            return Err(outside(first));
        }
        Ok(store.slice(self.generation, first, pages))
    }

    /// The run that holds a multi-page value, verified likewise.
    pub(crate) fn run<'s>(&self, store: &'s Store, at: &OverflowRef) -> Result<&'s [u8]> {
        let fault = |cause| store.not_right(at.pgno, cause);
        let too_long = FormatError::BadReference("its value is longer than any file");
        let geometry = RunGeometry::of(at.len, store.size).ok_or(too_long).map_err(fault)?;
        let inside = at.pgno >= store.size.first_data_pgno()
            && at.pgno.checked_add(geometry.pages).is_some_and(|end| end <= self.pages_used);
        if !inside {
            return Err(outside(at.pgno));
        }
        if store.alarm.count() != self.faults {
            return Err(store.fault());
        }
        let bytes = store.slice(self.generation, at.pgno, geometry.pages);
        header::check_identity(bytes, at.pgno, at.tag, self.txnid).map_err(fault)?;
        let written = header::stored_txnid(bytes).map_or(0, Txnid::get);
        let is_known = self.is_verified(store, at.pgno, written);
        let run = Run::open(bytes, store.size).map_err(fault)?;
        if run.head().len != at.len {
            return Err(fault(FormatError::BadReference("its length is not the run's")));
        }
        if store.verify == Verify::Always || (store.verify == Verify::FirstTouch && !is_known) {
            run.check_all().map_err(fault)?;
            if let Some(known) = store.maps(self.generation).memo.of(at.pgno) {
                known.verified(written);
            }
        }
        Ok(bytes)
    }

    #[inline(always)]
    pub(crate) fn prefetch(&self, store: &Store, pgno: Pgno, len_bytes: usize) {
        let maps = store.maps(self.generation);
        maps.read.prefetch_lines(pgno.offset(store.size), len_bytes);
        maps.memo.prefetch(pgno);
    }

    /// Asks the disk for those of `pages` that are not in memory, all at once; see [`cold`](super::cold).
    #[inline]
    pub(crate) fn will_need(&self, store: &Store, pages: &[Pgno]) {
        store.cold.will_need(store.maps(self.generation), store.size, self.pages_used, pages);
    }

    /// Asks the disk for a stretch of pages, as far as it lies in the snapshot's file, whether they are in memory or not.
    ///
    /// Cost: a system call.
    pub(crate) fn read_ahead(&self, store: &Store, pages: Extent) {
        let end = pages.end().min(self.pages_used.get());
        let len = end.saturating_sub(pages.first.get()) << store.size.shift();
        store.maps(self.generation).read.will_need(pages.first.offset(store.size), len as usize);
    }

    /// Asks for the cache lines of some bytes of a page.
    #[inline(always)]
    pub(crate) fn prefetch_within(&self, store: &Store, pgno: Pgno, bytes: Range<usize>) {
        let maps = store.maps(self.generation);
        let start = bytes.start & !63;
        let len_bytes = bytes.end.min(store.size.bytes()).saturating_sub(start);
        maps.read.prefetch_lines(pgno.offset(store.size) + start as u64, len_bytes);
    }
}

#[cold]
fn verify_anew(store: &Store, pgno: Pgno, page: &[u8], written: u64, known: Option<Known<'_>>) -> Result<()> {
    store.check_sum(pgno, page)?;
    if let Some(known) = known {
        known.verified(written);
    }
    Ok(())
}

#[cold]
fn outside(pgno: Pgno) -> Error {
    Error::Corrupt { pgno, cause: FormatError::BadReference("it leads outside the file") }
}

/// A view with its store: the pages of one snapshot, for as long as both are borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'s> {
    pub(crate) store: &'s Store,
    pub(crate) view: View,
}

impl Pages for Snapshot<'_> {
    fn page_size(&self) -> PageSize {
        self.store.page_size()
    }

    #[inline(always)]
    fn page(&self, at: PageRef) -> Result<&[u8]> {
        self.view.page(self.store, at)
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        self.view.run(self.store, at)
    }

    fn born(&self, at: PageRef) -> Result<Txnid> {
        self.view.born(self.store, at)
    }

    #[inline(always)]
    fn known_node(&self, at: PageRef, kind: Kind, level: u8) -> Option<&[u8]> {
        self.view.known_node(self.store, at, kind, level)
    }

    #[inline(always)]
    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        self.view.prefetch(self.store, pgno, len_bytes);
    }

    fn will_need(&self, pages: &[Pgno]) {
        self.view.will_need(self.store, pages);
    }

    #[inline(always)]
    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        self.view.prefetch_within(self.store, pgno, bytes);
    }

    #[inline(always)]
    fn still_sound(&self) -> Result<()> {
        self.view.still_sound(self.store)
    }
}
