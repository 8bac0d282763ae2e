//! Where new pages come from: runs as long as the transaction's appetite has been so far.
//!
//! So its sync is a few sequential writes and population a few calls. A run comes from what is at hand if there is a good
//! one, then from the free tree, then from the end of the file if the transaction is large and the file is not.

use mapledb_format::{Extent, Pgno};

use super::Draft;
use crate::error::Result;

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
/// The part of what a large transaction has taken so far that it takes from the end of the file at once.
const GROWTH_PART: u64 = 8;
/// The least that is taken from the free tree or the end of the file at once.
const CLAIM_MIN: u64 = 256;
/// The longest run taken at once by a transaction that wastes no pages: as many may be left over.
const FRUGAL_APPETITE_MAX: u64 = 256;
/// From so many pages on a transaction's pages are populated ahead.
const POPULATE_FROM: u64 = 16;
/// Up to so many pages are populated for small transactions to come, where one follows the other without a sync. Those that none
/// has taken when it comes are written for nothing.
pub(crate) const READY_PAGES: u64 = 16;
/// For fewer the call costs as much as the faults that it spares.
const READY_PAGES_MIN: u64 = 4;
/// From so many pages on new pages at the end of the file are filled with zeros before that: a fifth of the time.
const FILL_FROM: u64 = 1024;
/// A run of so many pages that is to be stored to in place is filled with zeros before it is populated, wherever it lies: that is
/// faster than to make its pages dirty one by one, and what of it is not in memory need not be read for that.
const FILLED_RUN_MIN: u64 = 16;

impl Draft {
    /// Puts what is left of the current run back.
    pub(super) fn settle_run(&mut self) -> Result<()> {
        match self.run.take() {
            Some(rest) if rest.pages > 0 => {
                self.space.begun = Some(rest.first);
                self.space.make_available(rest)
            }
            _ => Ok(()),
        }
    }

    /// The next page of the current run, or of another.
    pub(super) fn next_page(&mut self) -> Result<Pgno> {
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
            self.space.newly_dirty -= 1;
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
            self.store.before_run(self.generation, fresh, self.space.handed.pages() >= LONG_RUN)?;
            // Finding it may have changed the free tree, which left a run of its own.
            self.settle_run()?;
            self.run = Some(fresh);
            self.populated_to = 0;
        }
    }

    /// Populates a batch that grows with what the transaction has written, and is never much more than it will write.
    fn populate_ahead(&mut self, pgno: Pgno) -> Result<()> {
        let handed = self.space.handed.pages();
        let Some(run) = self.run else { return Ok(()) };
        if handed < POPULATE_FROM {
            return self.make_ready(Extent::new(pgno, run.pages + 1));
        }
        if pgno.get() < self.populated_to || run.pages == 0 {
            return Ok(());
        }
        let pages = (handed / 8).clamp(8, 1024).min(run.pages);
        self.populated_to = run.first.get() + pages;
        match run.first >= self.view.pages_used && handed >= FILL_FROM {
            true => self.store.fill(self.generation, run.first, pages),
            false => self.store.populate(self.generation, run.first, pages),
        }
    }

    /// Populates the front of `run`, of which this transaction and those after it take the pages one by one, unless that was done
    /// before or the commits are synced one by one: a sync makes pages clean, and each a fault at its next store.
    fn make_ready(&mut self, run: Extent) -> Result<()> {
        let pages = run.pages.min(READY_PAGES);
        if !self.follows_unsynced || pages < READY_PAGES_MIN || self.space.ready.contains(&run.first.get()) {
            return Ok(());
        }
        match self.store.populate(self.generation, run.first, pages) {
            // A file system that writes blocks elsewhere may have room for what is needed now, and no more.
            Err(error) if error.is_want_of_room() => self.store.populate(self.generation, run.first, 1),
            populated => {
                self.space.ready = run.first.get()..run.first.get() + pages;
                populated
            }
        }
    }

    /// So many pages in a row, ready to be stored to.
    pub(super) fn take_exact(&mut self, pages: u64) -> Result<Pgno> {
        let first = self.take_run_of(pages)?;
        let run = Extent::new(first, pages);
        self.store.before_run(self.generation, run, true)?;
        match pages {
            1 => {}
            2..FILLED_RUN_MIN => self.store.populate(self.generation, first, pages)?,
            _ => self.store.fill(self.generation, first, pages)?,
        }
        Ok(first)
    }

    /// So many pages in a row.
    pub(super) fn take_run_of(&mut self, pages: u64) -> Result<Pgno> {
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
        if wish < LONG_RUN
            && let Some(run) = self.begun_run(pages, wish)
        {
            return Ok(run);
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
        // The next one at the end of the file follows this one, so short ones are as good, and less is left over.
        let bite = pages.max(wish.min((appetite / GROWTH_PART).max(LONG_RUN)));
        if wish >= LONG_RUN
            && let Some(run) = self.grow_if_sparing(bite)?
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
        match self.grow(bite.max(self.space.tail_kept())) {
            Err(error) if error.is_want_of_room() => self.grow(pages),
            grown => grown,
        }
    }

    /// The run of the pool that serves a transaction that wastes none: the shortest for a run, the longest for single pages.
    fn frugal_fit(&self, pages: u64) -> Option<Extent> {
        if pages > 1 { self.space.pool.best_fit(pages) } else { self.space.pool.longest() }
    }

    /// What is left of the run that the last small transaction took its pages from, if that is enough: the pages of commits without
    /// a sync between them follow each other, and one sync of them all is one write to the disk. Not at the end of the used
    /// part, which could never be given back.
    fn begun_run(&mut self, pages: u64, wish: u64) -> Option<Extent> {
        let run = self.space.pool.run_at(self.space.begun?)?;
        let is_good = run.pages >= pages && run.end() < self.space.pages_used;
        let serves = is_good && self.follows_unsynced && self.space.at_hand() > RESERVE_PAGES + pages;
        serves.then(|| self.take_from_pool(run, wish))
    }

    /// A run of the pool to take `pages` from, of which more will be wanted, up to `wish`; `None` if it would be shorter than
    /// `good`. Single pages come from the longest.
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
}
