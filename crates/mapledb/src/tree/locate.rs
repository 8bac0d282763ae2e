//! Where the pages of a tree lie, told by its branches, and moving single ones elsewhere.
//!
//! A branch names its children, so a look at all branches finds every node: of a hundred pages one is read. Where there are
//! multi-page values the leaves are read as well, for they alone name the runs. Nothing is validated beyond what a read
//! would; that is what [`walk`](super::walk) is for.
//!
//! A page that has been found so is moved by going down to it once more and touching it: copy-on-write moves whatever it
//! changes, and what is moved is changed in nothing but its place.

use mapledb_format::branch::{Branch, Entry};
use mapledb_format::leaf::{Leaf, NewValue, ValueField};
use mapledb_format::order::Order;
use mapledb_format::overflow::OverflowRef;
use mapledb_format::{FormatError, Pgno, TreeRecord};

use super::ahead::{LEAVES_MAX, ask_for_children};
use super::{PageRef, Pages, PagesMut, Tree, TreeMut, branch, child, corrupt, leaf, run_of};
use crate::error::Result;

/// What a page, or run of pages, is to its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A node on this level, 0 for leaves.
    Node(usize),
    /// The run of a multi-page value.
    Run,
}

/// A page, or run of pages, and how to come to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'k> {
    pub(crate) pgno: Pgno,
    pub(crate) pages: u64,
    pub(crate) part: Part,
    /// A node: the lowest key it may hold, `None` where that is the lowest of all. A run: the key of its entry.
    pub(crate) key: Option<&'k [u8]>,
}

/// Visits every node of the tree, parents before children, and every run if `with_runs`.
///
/// Cost: all branches are read; with runs, and if there are any, all leaves.
pub(crate) fn locate<P: Pages>(
    pages: &P,
    record: &TreeRecord,
    with_runs: bool,
    visit: &mut dyn FnMut(Located<'_>) -> Result<()>,
) -> Result<()> {
    let Some(top) = usize::from(record.depth).checked_sub(1) else { return Ok(()) };
    let mut locator = Locator { pages, into_leaves: with_runs && record.overflow_pages > 0, visit };
    locator.node(PageRef { pgno: record.root, tag: record.root_tag }, top, None)
}

struct Locator<'p, 'v, P> {
    pages: &'p P,
    into_leaves: bool,
    visit: &'v mut dyn FnMut(Located<'_>) -> Result<()>,
}

impl<P: Pages> Locator<'_, '_, P> {
    fn node(&mut self, at: PageRef, level: usize, low: Option<&[u8]>) -> Result<()> {
        (self.visit)(Located { pgno: at.pgno, pages: 1, part: Part::Node(level), key: low })?;
        match level {
            0 if self.into_leaves => self.runs(at),
            0 => Ok(()),
            _ => self.children(at, level, low),
        }
    }

    fn children(&mut self, at: PageRef, level: usize, low: Option<&[u8]>) -> Result<()> {
        let fault = |cause| corrupt(at.pgno, cause);
        let node = branch(self.pages, at, level)?;
        for index in 0..node.len() {
            if (level > 1 || self.into_leaves) && index % LEAVES_MAX == 0 {
                ask_for_children(self.pages, &node, index..(index + LEAVES_MAX).min(node.len()));
            }
            let entry = node.entry(index).map_err(fault)?;
            let child_low = if index == 0 { low } else { Some(node.key(index).map_err(fault)?) };
            self.node(child(at, entry)?, level - 1, child_low)?;
        }
        Ok(())
    }

    fn runs(&mut self, at: PageRef) -> Result<()> {
        let fault = |cause| corrupt(at.pgno, cause);
        let leaf = leaf(self.pages, at)?;
        for index in 0..leaf.len() {
            if let ValueField::Overflow(run) = leaf.value(index).map_err(fault)? {
                let pages = super::overflow::geometry(run.len, self.pages.page_size())?.pages;
                let key = Some(leaf.key(index).map_err(fault)?);
                (self.visit)(Located { pgno: run.pgno, pages, part: Part::Run, key })?;
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

    /// The run that the entry `key` refers to, if it does to one.
    fn run_for(&self, key: &[u8]) -> Result<Option<OverflowRef>> {
        let Some((at, implied)) = self.node_for(Some(key), 0)? else { return Ok(None) };
        let fault = |cause| corrupt(at.pgno, cause);
        let leaf: Leaf<'_> = self.leaf(at)?;
        let place = leaf.search_from(self.order, 0, key, implied).map_err(fault)?;
        if !place.exact {
            return Ok(None);
        }
        match leaf.value(place.index).map_err(fault)? {
            ValueField::Overflow(run) => run_of(at, run).map(Some),
            ValueField::Inline(_) => Ok(None),
        }
    }
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Moves a page or run that was [located](locate) to wherever pages are allocated now. Answers whether it was still
    /// there: others may have changed the tree since.
    ///
    /// Cost: two descents; the path to it is copied as far as it is not own yet.
    pub(crate) fn relocate(&mut self, part: Part, key: Option<&[u8]>, pgno: Pgno) -> Result<bool> {
        match (part, key) {
            (Part::Node(level), key) => self.relocate_node(level, key, pgno),
            (Part::Run, Some(key)) => self.relocate_run(key, pgno),
            (Part::Run, None) => Ok(false),
        }
    }

    fn relocate_node(&mut self, level: usize, key: Option<&[u8]>, pgno: Pgno) -> Result<bool> {
        match self.reading().node_for(key, level)? {
            Some((at, _)) if at.pgno == pgno && !at.is_own() => {}
            _ => return Ok(false),
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
        let Some(run) = self.reading().run_for(key)?.filter(|run| run.pgno == pgno) else { return Ok(false) };
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
            moved += u32::from(tree.relocate(*part, key.as_deref(), *pgno).unwrap());
            // A second time it is somewhere else.
            assert!(!tree.relocate(*part, key.as_deref(), *pgno).unwrap());
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
        assert!(!tree.relocate(Part::Run, Some(&unknown), Pgno::new(40).unwrap()).unwrap());
        assert!(!tree.relocate(Part::Node(9), None, Pgno::new(40).unwrap()).unwrap());
    }
}
