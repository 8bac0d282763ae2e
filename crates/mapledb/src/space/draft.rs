//! The pages of the running write transaction.
//!
//! A draft reads committed pages through its base snapshot's view and its own through the writable map; which is which
//! the tag of the reference says. New pages come in runs as long as the transaction's appetite has been so far, so
//! that its sync is a few sequential writes and population a few calls.

use std::ops::Range;
use std::sync::Arc;

use mapledb_format::overflow::{OverflowRef, RunGeometry};
use mapledb_format::free::blocker;
use mapledb_format::header::Kind;
use mapledb_format::{Extent, FormatError, FreedExtent, PageSize, Pgno, TreeRecord, Txnid, header};

use super::Space;
use super::level::Level;
use mapledb_os::{planted, poisons};
use crate::error::{Error, Result};
use crate::store::{Generation, Store, View};
use crate::pages::{PageRef, Pages, PagesMut};
use crate::tree::TreeMut;

/// Pages that stay at hand for changes of the free tree itself: two keys of a tree of a few levels.
pub(super) const RESERVE_PAGES: u64 = 24;
/// The longest run taken at once.
const APPETITE_MAX: u64 = 2048;
/// The shortest run worth taking from the free tree rather than the pool.
const RUN_MIN: u64 = 8;
/// From so many pages on a transaction is large: it wants runs of [`GOOD_RUN`] and grows the file for them, within bounds.
const LONG_RUN: u64 = 64;
/// The shortest run that is written at the full speed of the disk or nearly so: one request of 128 KiB.
const GOOD_RUN: u64 = 32;
/// The least that is taken from the free tree or the end of the file at once.
const CLAIM_MIN: u64 = 256;
/// The longest run taken at once by a transaction that wastes no pages: as many may be left over.
const FRUGAL_APPETITE_MAX: u64 = 256;
/// From so many pages on a transaction's pages are populated ahead.
const POPULATE_FROM: u64 = 16;
/// From so many pages on new pages at the end of the file are filled with zeros before that, if sorted input is laid
/// down: a third less time for the load, at the price of larger folios, of which a later store to one page dirties all.
const FILL_FROM: u64 = 1024;
/// So many pages of sorted input are written to the disk at a time while the next ones are made.
const WRITE_PAGES: u64 = 1024;

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

/// The pages of the running write transaction.
pub struct Draft {
    pub(super) store: Arc<Store>,
    /// The snapshot it builds on.
    view: View,
    pub(super) generation: Generation,
    txnid: Txnid,
    quota_pages: u64,
    growth_limit: Option<GrowthLimit>,
    pub(crate) space: Space,
    /// Pages handed out one after the other.
    pub(super) run: Option<Extent>,
    /// Where population ends within the run.
    pub(super) populated_to: u64,
    /// Whether the transaction lays sorted input down.
    pub(super) is_laid_down: bool,
    /// Whether it takes whatever is at hand before it grows the file, in runs however short.
    is_frugal: bool,
    /// Own pages that are sealed and as they will stay, and were not asked to be written yet; empty if there are none.
    laid_down: Range<u64>,
    /// Whether what is sealed now is sealed before the commit.
    seals_ahead: bool,
    /// Pages given up that were written since the last durable snapshot, and that no snapshot with a name reaches.
    pub(super) recent: Vec<Extent>,
    /// The levels that can be taken back, each alone, the last one first.
    pub(super) levels: Vec<Level>,
}

impl Draft {
    /// The draft of transaction `txnid` over the snapshot `view` sees.
    pub(crate) fn new(store: Arc<Store>, view: View, txnid: Txnid, space: Space, quota_pages: u64) -> Draft {
        let generation = view.generation;
        Draft {
            store,
            view,
            generation,
            txnid,
            quota_pages,
            growth_limit: None,
            space,
            run: None,
            populated_to: 0,
            is_laid_down: false,
            laid_down: 0..0,
            seals_ahead: false,
            is_frugal: false,
            recent: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Lets the file grow no further, on account of a reader.
    pub(crate) fn limit_growth(&mut self, limit: GrowthLimit) {
        self.growth_limit = Some(limit);
    }

    /// Pages that are handed out, perhaps again, hold nothing that was sealed.
    fn forget_sealed(&mut self, handed: Extent) {
        if self.space.sealed_ahead.pages() == 0 {
            return;
        }
        for page in (handed.first.get()..handed.end()).filter_map(Pgno::new).map(|page| Extent::new(page, 1)) {
            if self.space.sealed_ahead.holds(&page) {
                self.space.sealed_ahead.remove(page);
            }
        }
    }

    /// An own page that was sealed before the commit, where no committed one was found for `error`.
    #[cold]
    fn laid_down_page(&self, at: PageRef, error: Error) -> Result<&[u8]> {
        if !self.owns(at) {
            return Err(error);
        }
        let page = self.store.own(self.generation, at.pgno, 1)?;
        match header::check_identity(page, at.pgno, at.tag, self.txnid) {
            Ok(()) => Ok(page),
            Err(cause) => Err(Error::Corrupt { pgno: at.pgno, cause }),
        }
    }

    /// Takes note that sorted input is laid down from here on.
    pub(crate) fn lay_down(&mut self) {
        self.is_laid_down = true;
    }

    /// From here on what is at hand is used up before the file grows, and grows no more than it must for a run of several
    /// pages: for a file that is written once, where nobody comes after who would use what is left over.
    pub(crate) fn waste_no_pages(&mut self) {
        self.is_frugal = true;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The maps that hold own pages, the newest.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// What it gave up of pages that were written since the snapshot that was durable when it began, but for what snapshots with
    /// names reach: whatever the next meta vouches for includes that.
    pub(crate) fn recent(&self) -> &[Extent] {
        &self.recent
    }

    /// The snapshot the transaction builds on.
    pub(crate) fn base_view(&self) -> View {
        self.view
    }

    /// The free tree, to change; whatever that needs comes from what is at hand.
    pub(crate) fn free_tree<R>(
        &mut self,
        act: impl FnOnce(&mut TreeMut<'_, Draft>) -> Result<R>,
    ) -> Result<R> {
        let mut record: TreeRecord = self.space.tree;
        let was_busy = std::mem::replace(&mut self.space.is_busy, true);
        let answer = act(&mut TreeMut::new(self, &mut record));
        self.space.is_busy = was_busy;
        self.space.tree = record;
        answer
    }

    /// Poisons all that is at hand when the transaction begins.
    pub(crate) fn poison_at_hand(&self) -> Result<()> {
        if !poisons() {
            return Ok(());
        }
        self.space.pool.iter().chain(self.space.dirty.iter()).try_for_each(|extent| self.poison(extent))
    }

    /// Where a harness wants it: stores a pattern over pages that may be reused from now on, whether or not they will be, so that
    /// whoever still needs one finds out.
    pub(super) fn poison(&self, extent: Extent) -> Result<()> {
        const POISON: u8 = 0xdb;
        if !poisons() {
            return Ok(());
        }
        for at in extent.first.get()..extent.end() {
            let page = Pgno::new(at).unwrap_or(Pgno::MAX);
            if self.store.own(self.generation, page, 1)?.iter().any(|byte| *byte != POISON) {
                self.store.own_mut(self.generation, page, 1)?.fill(POISON);
                self.store.announce(self.generation, page, 1)?;
            }
        }
        Ok(())
    }

    /// Puts what is left of the current run back.
    pub(super) fn settle_run(&mut self) -> Result<()> {
        match self.run.take() {
            Some(rest) if rest.pages > 0 => self.space.make_available(rest),
            _ => Ok(()),
        }
    }

    /// The next page of the current run, or of another.
    fn next_page(&mut self) -> Result<Pgno> {
        if self.space.packs
            && let Some(pgno) = self.take_lowest()?
        {
            return Ok(pgno);
        }
        if let Some(pgno) = self.space.loose.take_lowest() {
            return Ok(pgno);
        }
        if let Some(pgno) = self.space.dirty.take_lowest() {
            self.hand_out(Extent::new(pgno, 1))?;
            self.store.before_store(self.generation, pgno, 1)?;
            return Ok(pgno);
        }
        loop {
            if let Some(run) = &mut self.run
                && run.pages > 0
            {
                let pgno = run.first;
                *run = Extent::new(pgno.checked_add(1).unwrap_or(Pgno::MAX), run.pages - 1);
                self.hand_out(Extent::new(pgno, 1))?;
                self.store.before_store(self.generation, pgno, 1)?;
                self.populate_ahead(pgno)?;
                return Ok(pgno);
            }
            let fresh = self.take_run(1)?;
            // Finding it may have changed the free tree, which left a run of its own.
            self.settle_run()?;
            self.run = Some(fresh);
            self.populated_to = 0;
        }
    }

    pub(super) fn hand_out(&mut self, extent: Extent) -> Result<()> {
        if self.space.handed.insert(extent) { Ok(()) } else { Err(super::listed_twice(extent.first)) }
    }

    /// Sees to it that stores to pages just handed out dirty little else.
    pub(super) fn before_store(&self, first: Pgno, pages: u64) -> Result<()> {
        self.store.before_store(self.generation, first, pages)
    }

    /// Makes pages just handed out present with one call.
    pub(super) fn populate(&self, first: Pgno, pages: u64) -> Result<()> {
        self.store.populate(self.generation, first, pages)
    }

    /// Populates a batch that grows with what the transaction has written, and is never much more than it will write.
    fn populate_ahead(&mut self, pgno: Pgno) -> Result<()> {
        let handed = self.space.handed.pages();
        let Some(run) = self.run else { return Ok(()) };
        if pgno.get() < self.populated_to || handed < POPULATE_FROM || run.pages == 0 {
            return Ok(());
        }
        let pages = (handed / 8).clamp(8, 1024).min(run.pages);
        self.populated_to = run.first.get() + pages;
        if self.is_laid_down && run.first >= self.view.pages_used && handed >= FILL_FROM {
            self.store.fill(run.first, pages)?;
        }
        self.store.populate(self.generation, run.first, pages)
    }

    /// So many pages in a row.
    fn take_exact(&mut self, pages: u64) -> Result<Pgno> {
        if self.space.packs
            && let Some(first) = self.take_lowest_run(pages)?
        {
            return Ok(first);
        }
        if let Some(extent) = self.space.loose.best_fit(pages) {
            self.space.loose.take_front(extent.first, pages);
            return Ok(extent.first);
        }
        if self.is_frugal {
            // So that the rest of the run that single pages come from can serve.
            self.settle_run()?;
        }
        let run = self.take_run(pages)?;
        let rest = run.pages - pages;
        if rest > 0
            && let Some(first) = run.first.checked_add(pages)
        {
            self.space.make_available(Extent::new(first, rest))?;
        }
        self.hand_out(Extent::new(run.first, pages))?;
        if pages > 1 {
            self.store.populate(self.generation, run.first, pages)?;
        }
        Ok(run.first)
    }

    /// A run of at least `pages`, as long as the transaction's appetite shows: from the pool if it has a good one,
    /// then from the free tree, then from the end of the file if the transaction is large and the file is not, then whatever
    /// fits, and only then from the end of the file whatever its size.
    fn take_run(&mut self, pages: u64) -> Result<Extent> {
        let appetite = self.space.handed.pages().clamp(RUN_MIN, APPETITE_MAX);
        let wish = pages.max(appetite);
        if self.space.is_busy {
            return match self.space.pool.best_fit(pages) {
                Some(fit) => Ok(self.take_from_pool(fit, wish)),
                None => self.grow(pages),
            };
        }
        if self.is_frugal {
            let wish = if pages > 1 { pages } else { wish.min(FRUGAL_APPETITE_MAX) };
            return match self.frugal_fit(pages) {
                Some(fit) => Ok(self.take_from_pool(fit, wish)),
                None => self.grow(wish),
            };
        }
        let good = pages.max(if wish >= LONG_RUN { GOOD_RUN } else { RUN_MIN });
        if self.space.at_hand() > RESERVE_PAGES + pages
            && let Some(run) = self.run_at_hand(pages, good, wish)
        {
            return Ok(run);
        }
        let claim = wish.max(CLAIM_MIN);
        if self.claim(claim, good)?
            && let Some(run) = self.run_at_hand(pages, good, wish)
        {
            return Ok(run);
        }
        if wish >= LONG_RUN
            && let Some(run) = self.grow_if_sparing(wish)?
        {
            return Ok(run);
        }
        // The last pages at hand are those that the free tree's own changes take.
        if self.space.at_hand() > RESERVE_PAGES + pages
            && let Some(run) = self.run_at_hand(pages, pages, wish)
        {
            return Ok(run);
        }
        self.claim(claim, pages)?;
        if let Some(run) = self.run_at_hand(pages, pages, wish) {
            return Ok(run);
        }
        // What is left of this run stays at hand for the next commits, and spares them all of the above.
        match self.grow(wish.max(self.space.tail_kept())) {
            Err(error) if error.is_want_of_room() => self.grow(pages),
            grown => grown,
        }
    }

    /// The run of the pool that serves a transaction that wastes none: the shortest for a run, the longest for single pages.
    fn frugal_fit(&self, pages: u64) -> Option<Extent> {
        if pages > 1 { self.space.pool.best_fit(pages) } else { self.space.pool.longest() }
    }

    /// A run of the pool to take `pages` from, of which more will be wanted, up to `wish`; `None` if it would be shorter than
    /// `good`. Single pages come from the longest: it stays the longest for a while, so the pages of commits in a row
    /// follow each other, and one sync of them all is one write to the disk.
    fn run_at_hand(&mut self, pages: u64, good: u64, wish: u64) -> Option<Extent> {
        let pool = &self.space.pool;
        let fit = if pages > 1 { pool.best_fit(wish) } else { None };
        let run = fit.or_else(|| pool.longest()).filter(|run| run.pages >= good)?;
        Some(self.take_from_pool(run, wish))
    }

    /// New pages from the end of the file as long as what is not in use is little beside what is, and there is room: to gather
    /// as many in short runs would cost the disk several times as much.
    fn grow_if_sparing(&mut self, pages: u64) -> Result<Option<Extent>> {
        let in_use = self.space.pages_in_use();
        let end = self.space.pages_used.saturating_add(pages);
        if end > in_use.saturating_add(in_use / 8 * 5) || end > self.quota_pages {
            return Ok(None);
        }
        match self.grow(pages) {
            Err(error) if error.is_want_of_room() => Ok(None),
            grown => grown.map(Some),
        }
    }

    fn take_from_pool(&mut self, fit: Extent, wish: u64) -> Extent {
        self.space.pool.take_front(fit.first, wish).unwrap_or(fit)
    }

    /// New pages from the end of the file; blocks for them are allocated, geometrically, before anything is stored.
    fn grow(&mut self, pages: u64) -> Result<Extent> {
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

    /// Grows the file by an eighth, or a thirty-second if most of it is not in use, at least 1 MiB and at most 256 MiB at a time; by
    /// the least that serves if the disk has no more.
    fn allocate_blocks(&mut self, least: u64) -> Result<()> {
        let shift = self.store.page_size().shift();
        let is_swollen = self.space.pages_used > 2 * self.space.pages_in_use();
        let step = (self.space.pages_allocated / if is_swollen { 32 } else { 8 }).clamp((1 << 20) >> shift, (256 << 20) >> shift);
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

impl Pages for Draft {
    fn page_size(&self) -> PageSize {
        self.store.page_size()
    }

    #[inline]
    fn page(&self, at: PageRef) -> Result<&[u8]> {
        if at.is_own() {
            return self.store.own(self.generation, at.pgno, 1);
        }
        self.view.page(&self.store, at).or_else(|error| self.laid_down_page(at, error))
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        let too_long = FormatError::BadReference("its value is longer than any file");
        let geometry = RunGeometry::of(at.len, self.store.page_size())
            .ok_or(Error::Corrupt { pgno: at.pgno, cause: too_long })?;
        // A run is sealed as soon as it is stored, so its tag does not tell whose it is.
        match self.space.handed.holds(&Extent::new(at.pgno, geometry.pages)) {
            true => self.store.own(self.generation, at.pgno, geometry.pages),
            false => self.view.run(&self.store, at),
        }
    }

    #[inline(always)]
    fn known_node(&self, at: PageRef, kind: Kind, level: u8) -> Option<&[u8]> {
        if at.is_own() { None } else { self.view.known_node(&self.store, at, kind, level) }
    }

    #[inline(always)]
    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        self.view.prefetch(&self.store, pgno, len_bytes);
    }

    fn will_need(&self, pages: &[Pgno]) {
        self.view.will_need(&self.store, pages);
    }

    #[inline(always)]
    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        self.view.prefetch_within(&self.store, pgno, bytes);
    }

    #[inline]
    fn still_sound(&self) -> Result<()> {
        self.view.still_sound(&self.store)
    }
}

impl PagesMut for Draft {
    fn txnid(&self) -> Txnid {
        self.txnid
    }

    fn is_sound(&self, at: PageRef, page: &[u8]) -> bool {
        self.view.is_sound(&self.store, at.pgno, page)
    }

    fn found_sound(&self, at: PageRef, page: &[u8]) {
        self.view.found_sound(&self.store, at.pgno, page);
    }

    #[inline]
    fn owns(&self, at: PageRef) -> bool {
        at.is_own() || self.space.sealed_ahead.pages() > 0 && self.space.sealed_ahead.holds(&Extent::new(at.pgno, 1))
    }

    fn seal_ahead(&mut self, is_ahead: bool) {
        self.seals_ahead = is_ahead;
    }

    fn laid_down(&mut self, pgno: Pgno) {
        let (at, Range { start, end }) = (pgno.get(), self.laid_down.clone());
        if at < end && at + WRITE_PAGES > start {
            // A branch, made before its children and closed after them: the sync will see to it.
            return;
        }
        let follows = end > 0 && at >= end && at - end < WRITE_PAGES;
        self.laid_down = if follows { start..at + 1 } else { at..at + 1 };
        let Range { start, end } = self.laid_down;
        if end - start >= WRITE_PAGES {
            self.store.start_writing(Pgno::new(start).unwrap_or(pgno), end - start);
            self.laid_down = end..end;
        }
    }

    fn sealed(&mut self, pgno: Pgno, is_bytewise: bool) {
        self.store.vouch(self.generation, pgno, self.txnid, is_bytewise);
        if self.seals_ahead {
            // One that is sealed once more after a change is there.
            self.space.sealed_ahead.insert(Extent::new(pgno, 1));
        }
    }

    fn allocate(&mut self, pages: u64) -> Result<Pgno> {
        let first = if pages == 1 { self.next_page()? } else { self.take_exact(pages)? };
        self.note_handed_out(first);
        self.forget_sealed(Extent::new(first, pages));
        Ok(first)
    }

    fn free(&mut self, first: Pgno, pages: u64, born: Txnid) -> Result<()> {
        let extent = Extent::new(first, pages);
        if born == self.txnid {
            return self.give_up_own(extent);
        }
        if planted("unpinned_published") && blocker(born, self.txnid, &self.space.pins).is_none() {
            return self.space.make_available(extent);
        }
        if born > self.view.settled() && !self.space.is_named(born) {
            self.recent.push(extent);
        }
        self.space.freed.push(FreedExtent { extent, born });
        self.space.freed_pages += pages;
        Ok(())
    }

    fn copy(&mut self, at: PageRef) -> Result<Pgno> {
        let to = self.allocate(1)?;
        let page = self.page(at)?;
        let born = header::stored_txnid(page).map_err(|cause| Error::Corrupt { pgno: at.pgno, cause })?;
        let copy = self.store.own_mut(self.generation, to, 1)?;
        copy.copy_from_slice(page);
        header::renumber(copy, to, self.txnid);
        self.free(at.pgno, 1, born)?;
        Ok(to)
    }

    fn copy_run(&mut self, at: &OverflowRef) -> Result<Pgno> {
        let pages = self.store.page_size().pages_for(self.view.run(&self.store, at)?.len() as u64);
        let to = self.allocate(pages)?;
        let run = self.view.run(&self.store, at)?;
        self.store.own_mut(self.generation, to, pages)?.copy_from_slice(run);
        Ok(to)
    }

    #[inline]
    fn own_mut(&mut self, first: Pgno, pages: u64) -> Result<&mut [u8]> {
        if !self.levels.is_empty() {
            self.keep(first, pages)?;
        }
        self.store.own_mut(self.generation, first, pages)
    }
}
