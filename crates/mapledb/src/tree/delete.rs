//! Taking a pair out, and joining nodes that have become sparse.
//!
//! A node under a third full joins a neighbour under the same parent if both fit one page with some room to spare.
//! If they do not fit, the two together are more than a page: nothing is gained by moving cells between them, so
//! nothing is moved.

use mapledb_format::branch::{Branch, BranchCells, Entry};
use mapledb_format::header;
use mapledb_format::leaf::LeafCells;
use mapledb_format::node::{Node, NodeMut, capacity};
use mapledb_format::order::Order;
use mapledb_format::{FormatError, Pgno, plan};

use super::insert::{OwnPath, Taken, used_of};
use super::{PageRef, PagesMut, TreeMut, branch, corrupt, leaf};
use crate::error::Result;

/// A key and its value, copied.
pub(crate) type OwnPair = (Vec<u8>, Vec<u8>);

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Takes `key` and its value out; answers whether it was there. A key that is not there costs no copy.
    ///
    /// Cost: two descents; one page copied a level, and one more where nodes join.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        if !self.reading().contains(key)? {
            return Ok(false);
        }
        let path = self.touch_path(key)?;
        self.take_out(&path)?;
        Ok(true)
    }

    /// Takes `key` and its value out and answers both; `None` if it was not there, which costs no copy.
    ///
    /// Cost: as [`TreeMut::delete`], and a copy of the value.
    pub(crate) fn take(&mut self, key: &[u8]) -> Result<Option<OwnPair>> {
        if !self.reading().contains(key)? {
            return Ok(None);
        }
        let path = self.touch_path(key)?;
        self.take_at(&path).map(Some)
    }

    /// Takes the first entry out and answers it.
    ///
    /// Cost: one descent, no search; else as [`TreeMut::take`].
    pub(crate) fn pop_first(&mut self) -> Result<Option<OwnPair>> {
        if self.record.depth == 0 {
            return Ok(None);
        }
        let path = self.touch_first_path()?;
        self.take_at(&path).map(Some)
    }

    /// Takes the last entry out and answers it. Cost: as [`TreeMut::pop_first`].
    pub(crate) fn pop_last(&mut self) -> Result<Option<OwnPair>> {
        if self.record.depth == 0 {
            return Ok(None);
        }
        let mut path = self.touch_last_path()?;
        path.at.index = path.at.index.saturating_sub(1);
        self.take_at(&path).map(Some)
    }

    fn take_at(&mut self, path: &OwnPath) -> Result<OwnPair> {
        let at = PageRef { pgno: path.leaf, tag: 0 };
        let node = leaf(self.pages, at)?;
        let key = node.key(path.at.index).map_err(|cause| corrupt(at.pgno, cause))?.to_vec();
        let value = self.reading().value(&node, at, path.at.index)?.to_vec();
        self.take_out(path)?;
        Ok((key, value))
    }

    /// Counts `gone` pairs less in every ancestor, and joins or drops what has become sparse or empty.
    pub(crate) fn shrink(&mut self, path: &OwnPath, gone: u64) -> Result<()> {
        self.record.entries = self.record.entries.saturating_sub(gone);
        for (below, &Taken { pgno, index }) in path.taken().iter().rev().enumerate() {
            let mut branch = self.branch_mut(pgno)?;
            let entry = branch.node().and_then(|node| node.entry(index)).and_then(|entry| {
                let entry = Entry { count: entry.count.saturating_sub(gone), ..entry };
                branch.set_entry(index, entry)
            });
            entry.map_err(|cause| corrupt(pgno, cause))?;
            self.tidy_child(pgno, index, below)?;
        }
        self.tidy_root()
    }

    /// Drops the own child `index` of `parent` if it is empty, or joins it with a neighbour if it is sparse.
    /// Answers whether the parent lost a child.
    pub(super) fn tidy_child(&mut self, parent: Pgno, index: usize, child_level: usize) -> Result<bool> {
        let fault = |cause| corrupt(parent, cause);
        let node = branch(self.pages, PageRef { pgno: parent, tag: 0 }, child_level + 1)?;
        let len = node.len();
        let child = node.entry(index).map_err(fault)?;
        let page = self.pages.page(child.into())?;
        let room = capacity(page.len());
        let used = used_of(page).map_err(|cause| corrupt(child.child, cause))?;
        if used == 0 {
            self.drop_own(child.child, child_level)?;
            self.remove_child(parent, index)?;
            return Ok(true);
        }
        if !plan::is_sparse(used, room) {
            return Ok(false);
        }
        for left in [index.wrapping_sub(1), index] {
            if left < len.saturating_sub(1) && self.join(parent, left, child_level)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Joins children `left` and `left + 1` of the own branch `parent` if they fit one page; one of the two is own.
    pub(super) fn join(&mut self, parent: Pgno, left: usize, level: usize) -> Result<bool> {
        let fault = |cause| corrupt(parent, cause);
        let node = branch(self.pages, PageRef { pgno: parent, tag: 0 }, level + 1)?;
        let (a, b) = (node.entry(left).map_err(fault)?, node.entry(left + 1).map_err(fault)?);
        let separator = node.key(left + 1).map_err(fault)?;
        let (page_a, page_b) = (self.sound_page(a.into(), level)?, self.sound_page(b.into(), level)?);
        let used = |page| used_of(page).map_err(fault);
        let fence = if level == 0 { 0 } else { separator.len() };
        if !plan::joins(used(page_a)? + used(page_b)? + fence, capacity(page_a.len())) {
            return Ok(false);
        }
        let (page_a, page_b, separator) = (page_a.to_vec(), page_b.to_vec(), separator.to_vec());
        let (keep, give) = if a.tag == 0 { (a, b) } else { (b, a) };
        let target = self.pages.own_mut(keep.child, 1)?;
        if level == 0 {
            join_leaves(self.order, target, &page_a, &page_b).map_err(fault)?;
        } else {
            join_branches(self.order, target, &page_a, &separator, &page_b).map_err(fault)?;
        }
        self.set_entry(parent, left, Entry { child: keep.child, tag: 0, count: a.count.saturating_add(b.count) })?;
        self.remove_child(parent, left + 1)?;
        let given = if give.child == a.child { &page_a } else { &page_b };
        let born = header::stored_txnid(given).map_err(fault)?;
        self.drop_node(give.child, born, level)?;
        Ok(true)
    }

    /// Takes child `index` out of the own branch `parent`.
    pub(super) fn remove_child(&mut self, parent: Pgno, index: usize) -> Result<()> {
        let order = self.order;
        let mut branch = self.branch_mut(parent)?;
        branch.remove(index).and_then(|()| branch.unfence(order)).map_err(|cause| corrupt(parent, cause))
    }

    /// While the root is a branch with one child, that child is the root; an empty root is none.
    pub(super) fn tidy_root(&mut self) -> Result<()> {
        loop {
            let (root, depth) = (self.root(), usize::from(self.record.depth));
            if depth == 0 || !root.is_own() {
                return Ok(());
            }
            let page = self.pages.page(root)?;
            let fault = |cause| corrupt(root.pgno, cause);
            if used_of(page).map_err(fault)? == 0 {
                self.drop_own(root.pgno, depth - 1)?;
                self.set_root(PageRef { pgno: Pgno::NONE, tag: 0 });
                self.record.depth = 0;
                return Ok(());
            }
            if depth == 1 {
                return Ok(());
            }
            let node = Branch::view(page).map_err(fault)?;
            if node.len() > 1 {
                return Ok(());
            }
            let only = node.entry(0).map_err(fault)?;
            self.drop_own(root.pgno, depth - 1)?;
            self.record.depth -= 1;
            self.set_root(only.into());
        }
    }

    fn drop_own(&mut self, pgno: Pgno, level: usize) -> Result<()> {
        let born = self.pages.txnid();
        self.drop_node(pgno, born, level)
    }

    /// Gives a node up.
    pub(super) fn drop_node(&mut self, pgno: Pgno, born: mapledb_format::Txnid, level: usize) -> Result<()> {
        let pages = if level == 0 { &mut self.record.leaf_pages } else { &mut self.record.branch_pages };
        *pages = pages.saturating_sub(1);
        self.pages.free(pgno, 1, born)
    }
}

fn join_leaves<O: Order>(order: O, to: &mut [u8], a: &[u8], b: &[u8]) -> std::result::Result<(), FormatError> {
    let mut to = NodeMut::<LeafCells>::new(to);
    to.clear();
    for page in [a, b] {
        let node = Node::<LeafCells>::view(page)?;
        to.append(&node, 0..node.len())?;
    }
    to.retake_heads(order)
}

fn join_branches<O: Order>(
    order: O,
    to: &mut [u8],
    a: &[u8],
    separator: &[u8],
    b: &[u8],
) -> std::result::Result<(), FormatError> {
    let mut to = NodeMut::<BranchCells>::new(to);
    to.clear();
    let (a, b) = (Node::<BranchCells>::view(a)?, Node::<BranchCells>::view(b)?);
    to.append(&a, 0..a.len())?;
    if a.is_empty() {
        // A range took all its children: what is left has nothing before it to be separated from.
        to.append(&b, 0..b.len())?;
    } else if !b.is_empty() {
        // The right node's first child had no separator of its own; its parent knew it.
        let mut first = b.cell(0)?.to_vec();
        first.extend_from_slice(separator);
        to.push_raw(separator.len() as u16, &first)?;
        to.append(&b, 1..b.len())?;
    }
    to.retake_heads(order)
}
