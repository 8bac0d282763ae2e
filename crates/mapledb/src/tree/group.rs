//! Many keys at once: lookups that go down the tree together.
//!
//! A lookup in a tree that is larger than the processor's caches waits for memory at every level, about 300 ns each time
//! at a gigabyte, and does nothing meanwhile. Here a group of lookups takes turns: each asks for the page it needs next
//! and lets the others go on, so the group waits about as long as one of them would. All leaves of a tree lie on one
//! level, so the lookups of a group arrive together. (The idea: Chen, Ailamaki, Gibbons and Mowry, "Improving Hash Join
//! Performance through Prefetching", ICDE 2004, group prefetching.)
//!
//! Pages that are not in memory are asked for together, too, on the two lowest levels: those above are few and stay.

use mapledb_format::leaf::{Leaf, inline_len};
use mapledb_format::node::Narrowed;
use mapledb_format::order::Order;

use super::search::{descend, place, value_in};
use super::{PageRef, Pages, Tree, known_leaf};
use crate::error::Result;

/// The most lookups that go down together: enough to hide the wait for memory, and as many as a core keeps misses in
/// flight.
pub(crate) const GROUP_MAX: usize = 16;

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// Hands the value of each of up to [`GROUP_MAX`] keys to `found`, in their order; those past it are left out.
    ///
    /// Cost: as [`Tree::get`] for each, but the waits for memory of one.
    pub(crate) fn get_group(
        &self,
        keys: &[&[u8]],
        found: impl FnMut(Option<&'p [u8]>) -> Result<()>,
    ) -> Result<()> {
        let keys = &keys[..keys.len().min(GROUP_MAX)];
        if self.order.is_bytewise() { self.bytewise().find_group(keys, found) } else { self.find_group(keys, found) }
    }

    fn find_group(&self, keys: &[&[u8]], mut found: impl FnMut(Option<&'p [u8]>) -> Result<()>) -> Result<()> {
        let depth = usize::from(self.record.depth);
        if depth == 0 {
            return keys.iter().try_for_each(|_| found(None));
        }
        // Where each lookup is, and how much of its key the fences imply there.
        let mut lookups: [(PageRef, usize); GROUP_MAX] = [(self.root(), 0); GROUP_MAX];
        for level in (1..depth).rev() {
            for ((at, implied), key) in lookups.iter_mut().zip(keys) {
                (*at, *implied) = match self.descend_known(*at, level, key, *implied) {
                    Some(next) => next,
                    None => descend(self.pages, self.order, *at, level, key, *implied)?,
                };
            }
            if level <= 2 {
                self.pages.will_need(&lookups.map(|(at, _)| at.pgno)[..keys.len()]);
            }
        }
        let mut narrowed: [Option<(Leaf<'p>, Narrowed)>; GROUP_MAX] = [None; GROUP_MAX];
        for ((held, (at, implied)), key) in narrowed.iter_mut().zip(&lookups).zip(keys) {
            *held = self.narrow_known(*at, key, *implied);
        }
        for ((held, (at, implied)), key) in narrowed.iter().zip(&lookups).zip(keys) {
            let settled = held.as_ref().and_then(|(leaf, slots)| leaf.settle(self.order, key, *slots).ok());
            let (leaf, place) = match (held, settled) {
                (Some((leaf, _)), Some(place)) => (*leaf, place),
                _ => place(self.pages, self.order, *at, key, *implied)?,
            };
            let value = if place.exact { Some(value_in(self.pages, &leaf, *at, place.index)?) } else { None };
            // What is refused may be zeros in the place of a page: then that is the reason.
            found(value).or_else(|error| self.pages.still_sound().and(Err(error)))?;
        }
        self.pages.still_sound()
    }

    /// What the slots of the leaf `at` tell of `key`, whose cell is asked for; nothing where there is more to be done first.
    #[inline(always)]
    fn narrow_known(&self, at: PageRef, key: &[u8], implied: usize) -> Option<(Leaf<'p>, Narrowed)> {
        let leaf = known_leaf(self.pages, at)?;
        let narrowed = leaf.narrow(self.order, 0, key, implied).ok()?;
        if let Some(slot) = leaf.first_of(narrowed) {
            let cell = usize::from(slot.offset);
            self.pages.prefetch_within(at.pgno, cell..cell + inline_len(slot) + 2 + key.len());
        }
        Some((leaf, narrowed))
    }
}
