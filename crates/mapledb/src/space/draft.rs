//! The pages of the running write transaction.
//!
//! A draft reads committed pages through its base snapshot's view and its own through the writable map; which is which
//! the tag of the reference says. Where new pages come from is in `runs` and `grow`, what of sorted input is sealed before
//! the commit in `laid_down`.

use std::ops::Range;
use std::sync::Arc;

use mapledb_format::overflow::{OverflowRef, RunGeometry};
use mapledb_format::free::blocker;
use mapledb_format::header::Kind;
use mapledb_format::{Extent, FormatError, FreedExtent, PageSize, Pgno, TreeRecord, Txnid, header};
use mapledb_os::{planted, poisons};

use super::{Seen, Space};
use super::grow::GrowthLimit;
use super::laid_down::Unwritten;
use super::level::Level;
use crate::error::{Error, Result};
use crate::store::{Generation, Store, View};
use crate::pages::{PageRef, Pages, PagesMut, lay_out};
use crate::tree::TreeMut;

/// The pages of the running write transaction: what tables of a [`TxnView`](crate::TxnView) are read through, as those of a
/// snapshot are through a [`ReadTxn`](crate::ReadTxn).
pub struct Draft {
    pub(super) store: Arc<Store>,
    /// The snapshot it builds on.
    pub(super) view: View,
    pub(super) generation: Generation,
    pub(super) txnid: Txnid,
    pub(super) quota_pages: u64,
    pub(super) growth_limit: Option<GrowthLimit>,
    pub(crate) space: Space,
    /// Whether the snapshot it builds on is not durable. If it is, each commit is likely to be synced alone.
    pub(crate) follows_unsynced: bool,
    /// Pages handed out one after the other.
    pub(super) run: Option<Extent>,
    /// Where population ends within the run.
    pub(super) populated_to: u64,
    /// Whether it takes whatever is at hand before it grows the file, in runs however short.
    pub(super) is_frugal: bool,
    /// Own pages of sorted input that are as they will stay, and were not asked to be written yet.
    unwritten: Unwritten,
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
            follows_unsynced: false,
            space,
            run: None,
            populated_to: 0,
            unwritten: Unwritten::default(),
            seals_ahead: false,
            is_frugal: false,
            recent: Vec::new(),
            levels: Vec::new(),
        }
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
        self.space.seen = Seen::default();
        self.change_free_tree(act)
    }

    /// Seals the free tree, which leaves what it says as it is.
    pub(super) fn seal_free_tree(&mut self) -> Result<()> {
        self.change_free_tree(|tree| tree.seal())
    }

    fn change_free_tree<R>(&mut self, act: impl FnOnce(&mut TreeMut<'_, Draft>) -> Result<R>) -> Result<R> {
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

    pub(super) fn hand_out(&mut self, extent: Extent) -> Result<()> {
        self.space.newly_dirty += extent.pages;
        if self.space.handed.insert(extent) { Ok(()) } else { Err(super::listed_twice(extent.first)) }
    }

    /// Takes note that the tree has been given a unit, which holds nothing that was sealed.
    fn note_allocated(&mut self, unit: Extent) {
        self.note_handed_out(unit.first);
        self.forget_sealed(unit);
    }

    /// Sees to it that stores to pages just handed out dirty little else.
    pub(super) fn before_store(&self, first: Pgno, pages: u64) -> Result<()> {
        self.store.before_store(self.generation, first, pages)
    }

    /// Makes pages just handed out present with one call.
    pub(super) fn populate(&self, first: Pgno, pages: u64) -> Result<()> {
        self.store.populate(self.generation, first, pages)
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

    #[inline(always)]
    fn prefetch_own(&self, pgno: Pgno, len_bytes: usize) {
        self.store.prefetch_own(self.generation, pgno, len_bytes);
    }

    fn seal_ahead(&mut self, is_ahead: bool) {
        self.seals_ahead = is_ahead;
    }

    fn laid_down(&mut self, pgno: Pgno) {
        if let Some(pages) = self.unwritten.take(pgno) {
            self.store.start_writing(pages.first, pages.pages);
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
        self.note_allocated(Extent::new(first, pages));
        Ok(first)
    }

    fn allocate_to_write(&mut self, pages: u64) -> Result<Pgno> {
        if pages == 1 {
            return self.allocate(1);
        }
        let first = self.take_run_of(pages)?;
        self.note_allocated(Extent::new(first, pages));
        Ok(first)
    }

    fn write(&mut self, first: Pgno, pages: u64, parts: [&[u8]; 3]) -> Result<()> {
        if pages > 1 && self.store.may_write(first, pages) {
            return self.store.write(first, pages, parts);
        }
        lay_out(self.own_mut(first, pages)?, parts);
        Ok(())
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
