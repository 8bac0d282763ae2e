//! Making room in a full leaf by evening it out with a neighbour, instead of cutting it.
//!
//! Leaves that are cut in the middle whenever they are full end up 69 % full under random insertion (Yao, "On random 2-3
//! trees", 1978). A leaf that first looks for room beside it leaves fewer pages for the same entries: a smaller file, fewer
//! pages to read in a scan, more of the tree in every cache, and less to write where a batch touches most leaves. A neighbour
//! that is copied for it costs the page that a cut would cost. (The idea is the B*-tree's: Bayer and McCreight,
//! "Organization and maintenance of large ordered indexes", 1972.)
//!
//! Only leaves do this: branches are one page in a hundred.

use std::ops::Range;

use mapledb_format::FormatError;
use mapledb_format::branch::{Entry, cell_len};
use mapledb_format::leaf::{Leaf, LeafMut, NewValue};
use mapledb_format::node::capacity;
use mapledb_format::order::Order;
use mapledb_format::{Pgno, plan};

use super::insert::{Taken, used_of};
use super::nested::weigh;
use super::{PageRef, PagesMut, TreeMut, branch, corrupt, leaf};
use crate::error::Result;

/// A pair that is to go into a leaf.
#[derive(Clone, Copy)]
pub(super) struct NewPair<'v> {
    /// The slot before which it goes.
    pub(super) index: usize,
    pub(super) key: &'v [u8],
    pub(super) value: NewValue<'v>,
    /// How many entries it adds to those the ancestors count.
    pub(super) added: u64,
}

/// Two leaves side by side.
struct Neighbours {
    /// The place of the left one in their parent.
    left: usize,
    /// Whether the left one is the one that is full.
    left_is_full: bool,
    /// What the parent knows of them.
    entries: [Entry; 2],
}

/// Where cells of two leaves and a new one go.
struct Shares {
    /// How many cells the left leaf has now, the new one left out.
    in_left: usize,
    /// The new cell's place among all.
    new: usize,
    /// How many cells the left leaf is to have, the new one counted where it falls.
    left: usize,
    /// What is to separate the two leaves.
    separator: Vec<u8>,
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Puts `pair` into the own leaf below `parent`, or into a neighbour of it, with the cells of both shared evenly. `None`
    /// if no neighbour has room to speak of; then nothing has happened.
    ///
    /// Cost: a look at the headers of two leaves; then a copy of one of them unless the transaction owns it.
    pub(super) fn redistribute(&mut self, parent: Taken, pair: NewPair<'_>) -> Result<Option<(Pgno, Range<usize>)>> {
        let Some(beside) = self.roomy_neighbour(parent)? else { return Ok(None) };
        let Some(shares) = self.shares(parent.pgno, &beside, &pair)? else { return Ok(None) };
        let place = parent.pgno;
        let mut pages = [Pgno::NONE; 2];
        for (at, page) in pages.iter_mut().enumerate() {
            *page = self.touch_child(place, beside.left + at, beside.entries[at], 0)?;
        }
        let (pgno, field) = self.share(pages, &shares, &pair)?;
        let fault = |cause| corrupt(place, cause);
        let [left, right] = pages.map(|pgno| PageRef { pgno, tag: 0 });
        let mut counts = [self.weigh_own(left)?, self.weigh_own(right)?];
        // What the pair adds is counted with what it adds to the other ancestors.
        let full = usize::from(!beside.left_is_full);
        counts[full] = counts[full].saturating_sub(pair.added);
        let order = self.order;
        let [left, right] = [0, 1].map(|at| Entry { child: pages[at], tag: 0, count: counts[at] });
        let mut branch = self.branch_mut(place)?;
        branch.set_entry(beside.left, left).map_err(fault)?;
        branch.remove(beside.left + 1).map_err(fault)?;
        branch.insert_child(order, beside.left + 1, &shares.separator, right).map_err(fault)?;
        Ok(Some((pgno, field)))
    }

    /// The neighbour with more room of a full leaf, if that is worth having.
    fn roomy_neighbour(&self, parent: Taken) -> Result<Option<Neighbours>> {
        let fault = |cause| corrupt(parent.pgno, cause);
        let node = branch(self.pages, PageRef { pgno: parent.pgno, tag: 0 }, 1)?;
        let mut best: Option<(usize, usize)> = None;
        for at in [parent.index.wrapping_sub(1), parent.index + 1] {
            if at >= node.len() {
                continue;
            }
            let page = self.pages.page(node.entry(at).map_err(fault)?.into())?;
            let room = capacity(page.len()).saturating_sub(used_of(page).map_err(fault)?);
            if plan::is_worth_sharing(room, capacity(page.len())) && best.is_none_or(|(_, most)| room > most) {
                best = Some((at, room));
            }
        }
        let Some((at, _)) = best else { return Ok(None) };
        let left = at.min(parent.index);
        let entries = [node.entry(left).map_err(fault)?, node.entry(left + 1).map_err(fault)?];
        Ok(Some(Neighbours { left, left_is_full: left == parent.index, entries }))
    }

    /// How the cells of two leaves and the pair are shared; `None` if they cannot be, or if their parent has no room for
    /// what is to separate them then.
    fn shares(&mut self, parent: Pgno, beside: &Neighbours, pair: &NewPair<'_>) -> Result<Option<Shares>> {
        let [a, b] = beside.entries;
        let fault = |entry: Entry| move |cause: FormatError| corrupt(entry.child, cause);
        let (page_a, page_b) = (self.pages.page(a.into())?, self.pages.page(b.into())?);
        let left = Leaf::view(page_a).map_err(fault(a))?;
        let right = Leaf::view(page_b).map_err(fault(b))?;
        let new = if beside.left_is_full { pair.index } else { left.len() + pair.index };
        let mut sizes = Vec::with_capacity(left.len() + right.len() + 1);
        for (node, entry) in [(&left, a), (&right, b)] {
            for at in 0..node.len() {
                sizes.push(node.cell(at).map_err(fault(entry))?.len() + node.slot_bytes());
            }
        }
        sizes.insert(new, self.cell_len(pair.key.len(), &pair.value) + left.slot_bytes());
        let Some(cut) = plan::share(&sizes, capacity(page_a.len())) else { return Ok(None) };
        let key_at = |place: usize| match place {
            _ if place == new => Ok(pair.key),
            _ if place - usize::from(place > new) < left.len() => {
                left.key(place - usize::from(place > new)).map_err(fault(a))
            }
            _ => right.key(place - usize::from(place > new) - left.len()).map_err(fault(b)),
        };
        let separator = self.order.separator(key_at(cut - 1)?, key_at(cut)?).to_vec();
        let shares = Shares { in_left: left.len(), new, left: cut, separator };
        let parent_fits =
            self.branch_mut(parent)?.fits_resized(beside.left + 1, cell_len(shares.separator.len()));
        Ok(parent_fits.map_err(|cause| corrupt(parent, cause))?.then_some(shares))
    }

    /// Lays two own leaves out afresh and puts the pair in; answers where it went.
    fn share(&mut self, pages: [Pgno; 2], shares: &Shares, pair: &NewPair<'_>) -> Result<(Pgno, Range<usize>)> {
        let fault = |cause| corrupt(pages[0], cause);
        let [left, right] = [self.own_copy(pages[0])?, self.own_copy(pages[1])?];
        let (left, right) = (Leaf::view(&left).map_err(fault)?, Leaf::view(&right).map_err(fault)?);
        let new_is_left = shares.new < shares.left;
        // Without the new cell.
        let cut = shares.left - usize::from(new_is_left);
        let in_left = shares.in_left;
        let parts = [(0..cut.min(in_left), 0..cut.saturating_sub(in_left)), {
            (cut.min(in_left)..in_left, cut.saturating_sub(in_left)..right.len())
        }];
        let order = self.order;
        for (pgno, (of_left, of_right)) in pages.into_iter().zip(parts) {
            let mut leaf = self.leaf_mut(pgno)?;
            leaf.clear();
            leaf.append(&left, of_left).map_err(fault)?;
            leaf.append(&right, of_right).map_err(fault)?;
            leaf.retake_heads(order).map_err(fault)?;
        }
        let (pgno, index) = if new_is_left { (pages[0], shares.new) } else { (pages[1], shares.new - cut) };
        let field = self.leaf_mut(pgno)?.insert_pair(order, index, pair.key, &pair.value).map_err(fault)?;
        Ok((pgno, field))
    }

    fn weigh_own(&self, at: PageRef) -> Result<u64> {
        let leaf = leaf(self.pages, at)?;
        weigh(self.record, &leaf, at, 0..leaf.len())
    }

    fn own_copy(&mut self, pgno: Pgno) -> Result<Vec<u8>> {
        Ok(LeafMut::new(self.pages.own_mut(pgno, 1)?).page_mut().to_vec())
    }
}
