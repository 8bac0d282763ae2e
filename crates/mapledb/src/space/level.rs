//! Levels: what a savepoint or a nested transaction finds again when it is taken back.
//!
//! A level is a layer of dirty pages and marks of all that the draft knows beside them. The free tree is in it like any
//! other tree, so what a level claimed of it is there again, and an error in the midst of a change of it, a full disk say,
//! is undone with the rest. Blocks that were allocated stay: they are free pages with blocks then, or lie behind the
//! used part and are known there.

use mapledb_format::free::list::PackedGroup;
use mapledb_format::{Extent, Pgno, TreeRecord};
use mapledb_os::planted;

use super::{Draft, Seen, Space};
use crate::error::Result;
use crate::store::Layer;

/// One level of a draft.
pub(crate) struct Level {
    layer: Layer,
    space: SpaceMark,
    run: Option<Extent>,
    populated_to: u64,
    recent: usize,
}

/// Where free space stood.
struct SpaceMark {
    pool: usize,
    dirty: usize,
    handed: usize,
    loose: usize,
    sealed_ahead: usize,
    freed: usize,
    freed_pages: u64,
    not_to_be_had: u64,
    /// What waited, if that has changed.
    waiting: Option<Vec<PackedGroup>>,
    tree: TreeRecord,
    shelved_pages: u64,
    pages_used: u64,
    released: u64,
    newly_dirty: u64,
}

impl Draft {
    /// Begins a level: what is done from here on can be taken back alone.
    ///
    /// Cost: a few words; no page is touched.
    pub(crate) fn begin_level(&mut self) {
        self.levels.push(Level {
            layer: Layer::default(),
            space: self.space.mark(),
            run: self.run,
            populated_to: self.populated_to,
            recent: self.recent.len(),
        });
    }

    /// Takes everything back that was done since the last level began, and ends it.
    ///
    /// Cost: a page stored to for each older own page that was changed, and an entry of a log undone for each change of
    /// free space.
    pub(crate) fn undo_level(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        for kept in level.layer.into_kept() {
            let pages = (kept.bytes.len() >> self.store.page_size().shift()) as u64;
            self.store.own_mut(self.generation, kept.first, pages)?.copy_from_slice(&kept.bytes);
        }
        self.space.go_back_to(level.space);
        self.run = level.run;
        self.populated_to = level.populated_to;
        self.recent.truncate(level.recent);
        self.forget_logs_of_no_level();
        Ok(())
    }

    /// Ends the last level and makes what was done in it the one's below.
    ///
    /// Cost: proportional to what was changed in it; no page is touched.
    pub(crate) fn merge_level(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let below = self.levels.last_mut();
        let (layer_below, space_below) = below.map(|below| (&mut below.layer, &mut below.space)).unzip();
        let given_up = level.layer.merge_into(layer_below);
        if let Some(below) = space_below
            && below.waiting.is_none()
        {
            below.waiting = level.space.waiting;
        }
        for unit in given_up {
            self.loosen(unit)?;
        }
        self.forget_logs_of_no_level();
        Ok(())
    }

    fn forget_logs_of_no_level(&mut self) {
        if self.levels.is_empty() {
            self.space.forget_logs();
        }
    }

    /// Keeps what an own unit holds, before it is stored to, if it is older than the last level.
    #[cold]
    pub(super) fn keep(&mut self, first: Pgno, pages: u64) -> Result<()> {
        if let Some(level) = self.levels.last_mut()
            && !level.layer.may_change(first)
            && !planted("unkept_pages")
        {
            level.layer.keep(first, self.store.own(self.generation, first, pages)?);
        }
        Ok(())
    }

    /// Gives up an own unit: it may be handed out again, unless it is older than the last level.
    pub(super) fn give_up_own(&mut self, unit: Extent) -> Result<()> {
        match self.levels.last_mut() {
            Some(level) if !level.layer.may_change(unit.first) && !planted("unheld_pages") => {
                level.layer.hold(unit);
                Ok(())
            }
            _ => self.loosen(unit),
        }
    }

    fn loosen(&mut self, unit: Extent) -> Result<()> {
        if self.space.loose.insert(unit) { Ok(()) } else { Err(super::listed_twice(unit.first)) }
    }

    /// Takes note of a unit that was handed out.
    #[inline]
    pub(super) fn note_handed_out(&mut self, first: Pgno) {
        if let Some(level) = self.levels.last_mut() {
            level.layer.hand_out(first);
        }
    }

    /// To be called before the groups that wait are changed.
    pub(super) fn keep_waiting(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.space.waiting.get_or_insert_with(|| self.space.waiting.clone());
        }
    }
}

/// For tests: all that a level must find again.
#[cfg(all(test, feature = "seam"))]
impl Draft {
    pub(crate) fn picture(&self) -> (String, Vec<Vec<u8>>) {
        let space = &self.space;
        let sets = (&space.pool, &space.dirty, &space.handed, &space.loose);
        let lists = (&space.freed, space.freed_pages, &space.waiting, &self.recent, self.run);
        let rest = (space.tree, space.shelved_pages, space.pages_used, space.released, space.not_to_be_had, space.is_busy);
        let pages = |unit: Extent| self.store.own(self.generation, unit.first, unit.pages).unwrap().to_vec();
        (format!("{sets:?} {lists:?} {rest:?}"), space.live().into_iter().map(pages).collect())
    }
}

impl Space {
    fn mark(&mut self) -> SpaceMark {
        SpaceMark {
            pool: self.pool.mark(),
            dirty: self.dirty.mark(),
            handed: self.handed.mark(),
            loose: self.loose.mark(),
            sealed_ahead: self.sealed_ahead.mark(),
            freed: self.freed.len(),
            freed_pages: self.freed_pages,
            not_to_be_had: self.not_to_be_had,
            waiting: None,
            tree: self.tree,
            shelved_pages: self.shelved_pages,
            pages_used: self.pages_used,
            released: self.released,
            newly_dirty: self.newly_dirty,
        }
    }

    fn go_back_to(&mut self, mark: SpaceMark) {
        self.pool.go_back_to(mark.pool);
        self.dirty.go_back_to(mark.dirty);
        self.handed.go_back_to(mark.handed);
        self.loose.go_back_to(mark.loose);
        self.sealed_ahead.go_back_to(mark.sealed_ahead);
        self.freed.truncate(mark.freed);
        self.freed_pages = mark.freed_pages;
        self.not_to_be_had = mark.not_to_be_had;
        if let Some(waiting) = mark.waiting {
            self.waiting = waiting;
        }
        (self.tree, self.shelved_pages) = (mark.tree, mark.shelved_pages);
        self.seen = Seen::default();
        // Whoever unwound may have been at it.
        self.is_busy = false;
        self.pages_used = mark.pages_used;
        self.released = mark.released;
        self.newly_dirty = mark.newly_dirty;
    }

    fn forget_logs(&mut self) {
        self.pool.forget();
        self.dirty.forget();
        self.handed.forget();
        self.loose.forget();
        self.sealed_ahead.forget();
    }
}
