//! At commit: what fits stays inline, the rest goes to the free tree.

use mapledb_format::free::list::{self, PackedGroup};
use mapledb_format::head_body::INLINE_FREE_BYTES;
use mapledb_format::free::record::encode_pending;
use mapledb_format::node::cell_max;
use mapledb_format::{Extent, FormatError, FreedExtent, PendingGroup};

use super::runs::RESERVE_PAGES;
use super::{Draft, Extents, Logged, Space};
use crate::error::{Error, Result};
use crate::tree::Value;

/// The most extents that stay at hand when not everything fits: enough for many small commits.
const KEEP_EXTENTS: usize = 48;
/// What a group takes beside its list, and an extent, in most files: the room for the area is made to this measure.
const GROUP_BYTES: usize = 8;
const EXTENT_BYTES: usize = 4;
/// Rounds after which something must be wrong: each round frees only pages of the free tree that no round touched.
const ROUNDS_MAX: usize = 64;

impl Draft {
    /// Brings free space into its final form and answers the inline area. Nothing may be allocated or freed after it.
    ///
    /// Cost: nothing but the inline area when everything fits there. Else a constant times the transaction's own
    /// pages: waiting groups are released up to twice as many as it freed, so backlogs shrink and never stall a commit.
    pub(crate) fn settle_space(&mut self) -> Result<Vec<u8>> {
        self.settle_run()?;
        self.space.pool_dirty()?;
        self.release_waiting(2 * self.space.freed.len() as u64 + 64)?;
        self.unshelve_tail()?;
        for _ in 0..ROUNDS_MAX {
            self.settle_run()?;
            self.let_freed_wait()?;
            let area = self.inline_area()?;
            if area.len() <= INLINE_FREE_BYTES {
                self.seal_free_tree()?;
                return if self.give_tail_back() { self.inline_area() } else { Ok(area) };
            }
            let waiting_bytes = self.space.waiting.iter().map(PackedGroup::len_bytes).sum::<usize>();
            match waiting_bytes > INLINE_FREE_BYTES / 2 {
                true => self.shelve_waiting()?,
                false => self.shelve_available()?,
            }
        }
        let cause = FormatError::BadFreeRecord("free space did not settle");
        Err(Error::Corrupt { pgno: self.space.tree.root, cause })
    }

    /// The inline area as it stands, which may be longer than its room.
    fn inline_area(&self) -> Result<Vec<u8>> {
        let Space { pool, loose, waiting, .. } = &self.space;
        let listed: usize = waiting.iter().map(|group| group.list.len() + GROUP_BYTES).sum();
        let mut area = Vec::with_capacity(listed + pool.len() * EXTENT_BYTES);
        if loose.pages() == 0 {
            list::encode_area(pool.len(), pool.iter(), waiting, &mut area);
        } else {
            let available = self.space.available()?;
            list::encode_area(available.len(), available.into_iter(), waiting, &mut area);
        }
        Ok(area)
    }

    /// Lets what this transaction has freed so far wait for its base.
    fn let_freed_wait(&mut self) -> Result<()> {
        let mut extents = std::mem::take(&mut self.space.freed);
        extents.sort_unstable_by_key(|piece| piece.extent.first);
        let mut joined: Vec<FreedExtent> = Vec::with_capacity(extents.len());
        for piece in extents {
            match joined.last_mut() {
                Some(last) if last.extent.end() > piece.extent.first.get() => {
                    return Err(super::listed_twice(piece.extent.first));
                }
                Some(last) if last.extent.end() == piece.extent.first.get() && last.born == piece.born => {
                    last.extent.pages += piece.extent.pages;
                }
                _ => joined.push(piece),
            }
        }
        if joined.is_empty() {
            return Ok(());
        }
        let freed = crate::pages::PagesMut::txnid(self);
        self.space.join(PendingGroup { blocker: self.space.base, freed, extents: joined })
    }

    /// Moves waiting groups to the free tree, the longest; what is left must be small.
    fn shelve_waiting(&mut self) -> Result<()> {
        let mut groups = std::mem::take(&mut self.space.waiting);
        groups.sort_by_key(PackedGroup::len_bytes);
        let mut kept = 0;
        let is_small = |group: &&PackedGroup| {
            kept += group.len_bytes();
            kept <= INLINE_FREE_BYTES / 4
        };
        let small = groups.iter().take_while(is_small).count();
        let long = groups.split_off(small);
        self.space.waiting = groups;
        self.space.joined(&long)?.into_iter().try_for_each(|group| self.shelve_group(&group))
    }

    /// Moves what is available to the free tree, the short extents of it.
    fn shelve_available(&mut self) -> Result<()> {
        let (keep, shelve) = choose_kept(self.space.available()?);
        self.space.pool = keep.into();
        // Loose pages that are kept are in the pool now, like all others.
        self.space.loose = Logged::default();
        self.forget_handed(&shelve);
        self.shelve(&shelve)
    }

    /// Pages that are available again are not the transaction's any more.
    fn forget_handed(&mut self, shelved: &Extents) {
        let live: Extents = self.space.handed.without(&self.space.pool).into_iter().collect();
        self.space.handed = live.without(shelved).into_iter().collect();
    }

    /// Writes a waiting group as records that fit leaves.
    pub(super) fn shelve_group(&mut self, group: &PendingGroup) -> Result<()> {
        let page_len = crate::pages::Pages::page_size(self).bytes();
        let room = cell_max(page_len) - 32;
        let mut extents = &group.extents[..];
        while !extents.is_empty() {
            let fits = list::fit_packed(group.freed, extents, room).max(1);
            let (these, rest) = extents.split_at(fits.min(extents.len()));
            let part = PendingGroup { extents: these.to_vec(), ..*group };
            if let Some((key, list)) = encode_pending(&part) {
                self.free_tree(|tree| tree.put(&key, Value::Bytes(&list)).map(|_| ()))?;
            }
            extents = rest;
        }
        Ok(())
    }

    /// Gives available pages at the end of the used part back, unless they are few: the next growth takes them without asking
    /// the disk. Answers whether there were some.
    pub(super) fn give_tail_back(&mut self) -> bool {
        if self.space.pages_used - self.space.tail_start() <= self.space.tail_kept() {
            return false;
        }
        loop {
            let tail = [&self.space.pool, &self.space.loose]
                .into_iter()
                .filter_map(|set| set.last())
                .find(|extent| extent.end() == self.space.pages_used);
            let Some(tail) = tail else { return true };
            if self.space.pool.take_front(tail.first, tail.pages).is_none() {
                // A loose tail was handed out; it is nobody's now.
                self.space.loose.take_front(tail.first, tail.pages);
                let mut gone = Extents::default();
                gone.insert(tail);
                self.forget_handed(&gone);
            }
            self.space.pages_used = tail.first.get();
        }
    }
}

/// Which extents stay at hand: the longest, and enough pages for changes of the free tree.
fn choose_kept(mut available: Vec<Extent>) -> (Extents, Extents) {
    available.sort_unstable_by_key(|extent| std::cmp::Reverse(extent.pages));
    let (mut keep, mut shelve) = (Extents::default(), Extents::default());
    for extent in available {
        let wanted = keep.len() < KEEP_EXTENTS / 2 || keep.pages() < RESERVE_PAGES && keep.len() < KEEP_EXTENTS;
        if wanted { keep.insert(extent) } else { shelve.insert(extent) };
    }
    (keep, shelve)
}
