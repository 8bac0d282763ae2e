//! Where the pages of a tree lie, told by its branches, and moving single ones elsewhere.
//!
//! A branch names its children, so a look at all branches finds every node: of a hundred pages one is read. Where there are
//! values with pages of their own the leaves are read as well, for they alone name those. Nothing is validated beyond what a read
//! would; that is what [`walk`](super::walk) is for.
//!
//! A page that has been found so is moved by going down to it once more and touching it: copy-on-write moves whatever it
//! changes, and what is moved is changed in nothing but its place.

use mapledb_format::branch::{Branch, Entry};
use mapledb_format::duplicates::tree_ref;
use mapledb_format::leaf::{Leaf, NewValue};
use mapledb_format::order::Order;
use mapledb_format::overflow::OverflowRef;
use mapledb_format::{FormatError, Pgno, TreeRecord};

use super::ahead::{LEAVES_MAX, ask_for_children};
use super::nested::{Owned, owned_at};
use super::{KeyOrder, PageRef, Pages, PagesMut, Tree, TreeMut, branch, child, corrupt, leaf};
use crate::error::Result;

/// What a page, or run of pages, is to its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A node on this level, 0 for leaves.
    Node(usize),
    /// The run of a multi-page value.
    Run,
    /// A node on this level of the tree of a key's duplicates.
    Duplicates(usize),
}

/// A page, or run of pages, and how to come to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'k> {
    pub(crate) pgno: Pgno,
    pub(crate) pages: u64,
    pub(crate) part: Part,
    /// A node: the lowest key it may hold, `None` where that is the lowest of all. Else the key of its entry.
    pub(crate) key: Option<&'k [u8]>,
    /// A node of duplicates: the lowest it may hold, `None` where that is the lowest of all.
    pub(crate) duplicate: Option<&'k [u8]>,
}

/// Visits every node of the tree, parents before children, and if `with_values` every run and every node of duplicates.
///
/// Cost: all branches are read; with values, and if any has pages of its own, all leaves.
pub(crate) fn locate<P: Pages>(
    pages: &P,
    record: &TreeRecord,
    with_values: bool,
    visit: &mut dyn FnMut(Located<'_>) -> Result<()>,
) -> Result<()> {
    let Some(top) = usize::from(record.depth).checked_sub(1) else { return Ok(()) };
    let into_leaves = with_values && record.overflow_pages > 0;
    let mut locator = Locator { pages, record, into_leaves, lowest: 0, visit };
    locator.node(PageRef { pgno: record.root, tag: record.root_tag }, top, None)
}

/// Visits every node from the root down to level `lowest`, 0 for leaves, parents before children.
///
/// Cost: the branches above that level are read.
pub(crate) fn locate_down_to<P: Pages>(
    pages: &P,
    record: &TreeRecord,
    lowest: usize,
    visit: &mut dyn FnMut(Located<'_>) -> Result<()>,
) -> Result<()> {
    match usize::from(record.depth).checked_sub(1) {
        Some(top) if top >= lowest => {
            let mut locator = Locator { pages, record, into_leaves: false, lowest, visit };
            locator.node(PageRef { pgno: record.root, tag: record.root_tag }, top, None)
        }
        _ => Ok(()),
    }
}

struct Locator<'p, 'v, P> {
    pages: &'p P,
    record: &'p TreeRecord,
    into_leaves: bool,
    /// The lowest level that is visited.
    lowest: usize,
    visit: &'v mut dyn FnMut(Located<'_>) -> Result<()>,
}

impl<P: Pages> Locator<'_, '_, P> {
    fn node(&mut self, at: PageRef, level: usize, low: Option<&[u8]>) -> Result<()> {
        (self.visit)(Located { pgno: at.pgno, pages: 1, part: Part::Node(level), key: low, duplicate: None })?;
        match level {
            0 if self.into_leaves => self.values(at),
            level if level == self.lowest => Ok(()),
            _ => self.children(at, level, low),
        }
    }

    fn children(&mut self, at: PageRef, level: usize, low: Option<&[u8]>) -> Result<()> {
        let fault = |cause| corrupt(at.pgno, cause);
        let node = branch(self.pages, at, level)?;
        for index in 0..node.len() {
            if (level > self.lowest + 1 || self.into_leaves) && index % LEAVES_MAX == 0 {
                ask_for_children(self.pages, &node, index..(index + LEAVES_MAX).min(node.len()));
            }
            let entry = node.entry(index).map_err(fault)?;
            let child_low = if index == 0 { low } else { Some(node.key(index).map_err(fault)?) };
            self.node(child(at, entry)?, level - 1, child_low)?;
        }
        Ok(())
    }

    fn values(&mut self, at: PageRef) -> Result<()> {
        let fault = |cause| corrupt(at.pgno, cause);
        let leaf = leaf(self.pages, at)?;
        for index in 0..leaf.len() {
            let Some(owned) = owned_at(self.record, &leaf, at, index)? else { continue };
            let key = Some(leaf.key(index).map_err(fault)?);
            match owned {
                Owned::Run(run) => {
                    let pages = super::overflow::geometry(run.len, self.pages.page_size())?.pages;
                    (self.visit)(Located { pgno: run.pgno, pages, part: Part::Run, key, duplicate: None })?;
                }
                Owned::Tree(tree) => locate(self.pages, &tree, false, &mut |node| match node.part {
                    Part::Node(level) => {
                        let part = Part::Duplicates(level);
                        (self.visit)(Located { part, key, duplicate: node.key, ..node })
                    }
                    Part::Run | Part::Duplicates(_) => Ok(()),
                })?,
            }
        }
        Ok(())
    }
}

/// The way from a branch to the child where `key` is, the first for no key; and what that child's fences imply.
fn choose<O: Order>(
    order: O,
    node: &Branch<'_>,
    key: Option<&[u8]>,
    implied: usize,
) -> std::result::Result<(usize, Entry, usize), FormatError> {
    let index = match key {
        Some(key) => node.child_for(order, key, implied)?,
        None => 0,
    };
    Ok((index, node.entry(index)?, node.implied_for(index, implied)))
}

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// The node on `level` where `key` leads to, and what its fences imply; `None` if the tree is not as deep.
    fn node_for(&self, key: Option<&[u8]>, level: usize) -> Result<Option<(PageRef, usize)>> {
        let depth = usize::from(self.record.depth);
        if depth <= level {
            return Ok(None);
        }
        let (mut at, mut implied) = (self.root(), 0);
        for above in (level + 1..depth).rev() {
            let node = self.branch(at, above)?;
            let (_, entry, narrower) = choose(self.order, &node, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
            (at, implied) = (child(at, entry)?, narrower);
        }
        Ok(Some((at, implied)))
    }

    /// What the entry `key` has pages in beside its leaf.
    fn owned_for(&self, key: &[u8]) -> Result<Option<Owned>> {
        let Some((at, implied)) = self.node_for(Some(key), 0)? else { return Ok(None) };
        let leaf: Leaf<'_> = self.leaf(at)?;
        let place = leaf.search_from(self.order, 0, key, implied).map_err(|cause| corrupt(at.pgno, cause))?;
        if place.exact { owned_at(&self.record, &leaf, at, place.index) } else { Ok(None) }
    }

    /// Whether the node on `level` where `key` leads to is the committed page `pgno`.
    fn is_at(&self, level: usize, key: Option<&[u8]>, pgno: Pgno) -> Result<bool> {
        Ok(self.node_for(key, level)?.is_some_and(|(at, _)| at.pgno == pgno && !at.is_own()))
    }
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Moves a page or run that was [located](locate) to wherever pages are allocated now. Answers whether it was still
    /// there: others may have changed the tree since. `duplicates` is the order of the duplicates of a multimap.
    ///
    /// Cost: two descents; the path to it is copied as far as it is not own yet.
    pub(crate) fn relocate(
        &mut self,
        part: Part,
        key: Option<&[u8]>,
        duplicate: Option<&[u8]>,
        duplicates: KeyOrder,
        pgno: Pgno,
    ) -> Result<bool> {
        match (part, key) {
            (Part::Node(level), key) => self.relocate_node(level, key, pgno),
            (Part::Run, Some(key)) => self.relocate_run(key, pgno),
            (Part::Duplicates(level), Some(key)) => self.relocate_duplicates(level, key, duplicate, duplicates, pgno),
            (Part::Run | Part::Duplicates(_), None) => Ok(false),
        }
    }

    fn relocate_node(&mut self, level: usize, key: Option<&[u8]>, pgno: Pgno) -> Result<bool> {
        if !self.reading().is_at(level, key, pgno)? {
            return Ok(false);
        }
        let mut own = self.touch_root()?;
        let mut implied = 0;
        for above in (level + 1..usize::from(self.record.depth)).rev() {
            let node = branch(self.pages, PageRef { pgno: own, tag: 0 }, above)?;
            let (index, entry, narrower) =
                choose(self.order, &node, key, implied).map_err(|cause| corrupt(own, cause))?;
            implied = narrower;
            own = self.touch_child(own, index, entry, above - 1)?;
        }
        Ok(true)
    }

    fn relocate_run(&mut self, key: &[u8], pgno: Pgno) -> Result<bool> {
        let run = match self.reading().owned_for(key)? {
            Some(Owned::Run(run)) if run.pgno == pgno => run,
            _ => return Ok(false),
        };
        let path = self.touch_path(key)?;
        let mut moved = OverflowRef { pgno: self.pages.copy_run(&run)?, ..run };
        moved.tag = self.seal_run(&moved)?;
        // The run is as long as the one given up, which is taken off the record there.
        self.record.overflow_pages =
            self.record.overflow_pages.saturating_add(super::overflow::geometry(run.len, self.pages.page_size())?.pages);
        self.free_run(&run)?;
        let mut leaf = self.leaf_mut(path.leaf)?;
        leaf.replace_value(path.at.index, key, &NewValue::Overflow(moved)).map_err(|cause| corrupt(path.leaf, cause))?;
        Ok(true)
    }

    fn relocate_duplicates(
        &mut self,
        level: usize,
        key: &[u8],
        duplicate: Option<&[u8]>,
        order: KeyOrder,
        pgno: Pgno,
    ) -> Result<bool> {
        let Some(Owned::Tree(mut tree)) = self.reading().owned_for(key)? else { return Ok(false) };
        if !Tree::in_order(&*self.pages, &tree, order).is_at(level, duplicate, pgno)? {
            return Ok(false);
        }
        let path = self.touch_path(key)?;
        TreeMut::in_order(self.pages, &mut tree, order).relocate_node(level, duplicate, pgno)?;
        self.field_at(&path)?.copy_from_slice(&tree_ref(&tree));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::double::Double;
    use crate::tree::{Value, walk};
    use mapledb_format::OrderId;
    use mapledb_format::order::Bytewise;
    use rand::rngs::SmallRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeSet;

    type Found = (Pgno, u64, Part, Option<Vec<u8>>);

    fn all(pages: &Double, record: &TreeRecord) -> Vec<Found> {
        let mut found = Vec::new();
        locate(pages, record, true, &mut |page| {
            found.push((page.pgno, page.pages, page.part, page.key.map(Vec::from)));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn what_is_located_is_every_page_and_moves_without_a_change_to_what_the_tree_holds() {
        let mut rng = SmallRng::seed_from_u64(11);
        let mut pages = Double::new(4096);
        let mut record = TreeRecord::empty(OrderId::Bytewise);
        let value = |n: u32| vec![n as u8; if n.is_multiple_of(40) { 9000 } else { 100 }];
        for n in 0..3000u32 {
            let mut tree = TreeMut::new(&mut pages, &mut record);
            tree.put(&n.wrapping_mul(0x9e37_79b9).to_be_bytes(), Value::Bytes(&value(n))).unwrap();
        }
        TreeMut::new(&mut pages, &mut record).seal().unwrap();
        pages.commit();

        let mut found = all(&pages, &record);
        let mut walked = BTreeSet::new();
        walk(&pages, &record, Bytewise, &mut |visit| {
            walked.insert((visit.pgno, visit.pages));
            Ok(())
        })
        .unwrap();
        assert_eq!(walked, found.iter().map(|(pgno, pages, _, _)| (*pgno, *pages)).collect());

        found.shuffle(&mut rng);
        let chosen: Vec<Found> = found.into_iter().take(60).collect();
        let mut moved = 0;
        for (pgno, _, part, key) in &chosen {
            let mut tree = TreeMut::new(&mut pages, &mut record);
            moved += u32::from(tree.relocate(*part, key.as_deref(), None, KeyOrder::BYTEWISE, *pgno).unwrap());
            // A second time it is somewhere else.
            assert!(!tree.relocate(*part, key.as_deref(), None, KeyOrder::BYTEWISE, *pgno).unwrap());
        }
        assert!(moved > 40, "{moved} moved, the others with those below them");
        TreeMut::new(&mut pages, &mut record).seal().unwrap();
        pages.commit();
        let now: BTreeSet<Pgno> = all(&pages, &record).into_iter().map(|found| found.0).collect();
        assert!(chosen.iter().all(|(pgno, ..)| !now.contains(pgno)));
        walk(&pages, &record, Bytewise, &mut |_| Ok(())).unwrap();
        let tree = Tree::new(&pages, &record);
        for n in 0..3000u32 {
            let key = n.wrapping_mul(0x9e37_79b9).to_be_bytes();
            assert_eq!(tree.get(&key).unwrap(), Some(&value(n)[..]));
        }
        let unknown: [u8; 4] = rng.random();
        let mut tree = TreeMut::new(&mut pages, &mut record);
        assert!(!tree.relocate(Part::Run, Some(&unknown), None, KeyOrder::BYTEWISE, Pgno::new(40).unwrap()).unwrap());
        assert!(!tree.relocate(Part::Node(9), None, None, KeyOrder::BYTEWISE, Pgno::new(40).unwrap()).unwrap());
    }
}
