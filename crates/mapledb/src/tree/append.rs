//! Sorted input, laid down at the right edge.
//!
//! The path to the last leaf is kept; a pair goes behind the last one, and a full node is left full and followed by a
//! new one. Counts of the right edge are written when a node is closed and when the appender finishes, not at every
//! pair. A closed node is sealed at once, while it is in the processor's cache, and may be written to the disk while
//! the next ones are made.

use mapledb_format::branch::{Entry, cell_len};
use mapledb_format::header::Kind;
use mapledb_format::leaf::NewValue;
use mapledb_format::node::key_max;
use mapledb_format::order::Order;
use mapledb_format::{Pgno, leaf as leaf_format};

use super::insert::{Carry, check_next};
use super::nested::weigh;
use super::split::total;
use super::{PageRef, PagesMut, TreeMut, branch, corrupt, leaf};
use crate::error::{Error, Result};

/// Appends pairs in key order behind everything a tree holds.
pub(crate) struct Appender<'t, 'p, P, O> {
    tree: &'t mut TreeMut<'p, P, O>,
    /// Own nodes of the right edge, the leaf first.
    edge: Vec<Pgno>,
    last: Vec<u8>,
    is_empty: bool,
}

impl<'t, 'p, P: PagesMut, O: Order> Appender<'t, 'p, P, O> {
    /// Starts behind the last entry of `tree`.
    pub(crate) fn new(tree: &'t mut TreeMut<'p, P, O>) -> Result<Appender<'t, 'p, P, O>> {
        let is_empty = tree.record.depth == 0;
        if is_empty {
            tree.plant()?;
        }
        let mut edge = Vec::new();
        let mut pgno = tree.touch_root()?;
        for level in (1..usize::from(tree.record.depth)).rev() {
            edge.push(pgno);
            let node = branch(tree.pages, PageRef { pgno, tag: 0 }, level)?;
            let index = node.len().saturating_sub(1);
            let entry = node.entry(index).map_err(|cause| corrupt(pgno, cause))?;
            pgno = tree.touch_child(pgno, index, entry, level - 1)?;
        }
        edge.push(pgno);
        edge.reverse();
        let last = leaf(tree.pages, PageRef { pgno, tag: 0 })?;
        let last = match last.len() {
            0 => Vec::new(),
            len => last.key(len - 1).map_err(|cause| corrupt(pgno, cause))?.to_vec(),
        };
        Ok(Appender { tree, edge, last, is_empty })
    }

    /// Puts a pair behind the last one. A key that is not greater is refused and changes nothing.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check(key)?;
        let new = if leaf_format::is_inline(self.tree.page_len(), key.len(), value.len() as u64) {
            NewValue::Inline(value)
        } else {
            NewValue::Overflow(self.tree.store_run(value)?)
        };
        self.store(key, &new, 1)
    }

    /// Refuses a key that may not stand behind the last one.
    pub(crate) fn check(&self, key: &[u8]) -> Result<()> {
        let max = key_max(self.tree.page_len());
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        if self.is_empty { Ok(()) } else { check_next(self.tree.order, &self.last, key) }
    }

    /// The tree's pages, for another tree, and the pages of nested ones, to count.
    pub(crate) fn tree(&mut self) -> &mut TreeMut<'p, P, O> {
        self.tree
    }

    /// Puts a key with a value field that holds `added` pairs behind the last one. The key is greater and not too long.
    pub(crate) fn store(&mut self, key: &[u8], new: &NewValue<'_>, added: u64) -> Result<()> {
        let order = self.tree.order;
        let cell_len = self.tree.cell_len(key.len(), new);
        if !self.tree.leaf_mut(self.edge[0])?.fits(cell_len) {
            let next = self.tree.new_node(Kind::Leaf, 0)?;
            let separator = order.separator(&self.last, key).to_vec();
            self.close(0, separator, next)?;
        }
        let pgno = self.edge[0];
        let fault = |cause| corrupt(pgno, cause);
        let mut leaf = self.tree.leaf_mut(pgno)?;
        let index = leaf.node().map_err(fault)?.len();
        leaf.insert_pair(order, index, key, new).map_err(fault)?;
        self.tree.record.entries = self.tree.record.entries.saturating_add(added);
        self.is_empty = false;
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    /// Puts `next` behind the edge node of `level`, which is full.
    fn close(&mut self, level: usize, separator: Vec<u8>, next: Pgno) -> Result<()> {
        let order = self.tree.order;
        let left_count = self.count(level)?;
        let closed = std::mem::replace(&mut self.edge[level], next);
        self.tree.pages.seal_ahead(true);
        let tag = self.tree.seal_node(closed, level)?;
        self.tree.pages.seal_ahead(false);
        self.tree.pages.laid_down(closed);
        let entry = Entry { child: next, tag: 0, count: 0 };
        let Some(&parent) = self.edge.get(level + 1) else {
            self.tree.grow_root(Carry { separator, left_count, right: next, right_count: 0 })?;
            let root = self.tree.record.root;
            self.edge.push(root);
            return self.tree.set_entry(root, 0, Entry { child: closed, tag, count: left_count });
        };
        self.set_last(parent, |entry| Entry { tag, count: left_count, ..entry })?;
        let fault = |cause| corrupt(parent, cause);
        let mut branch = self.tree.branch_mut(parent)?;
        if branch.fits(cell_len(separator.len())) {
            let index = branch.node().map_err(fault)?.len();
            return branch.insert_child(order, index, &separator, entry).map_err(fault);
        }
        let fresh = self.tree.new_node(Kind::Branch, level as u8 + 1)?;
        self.tree
            .branch_mut(fresh)?
            .insert_child(order, 0, &[], entry)
            .map_err(|cause| corrupt(fresh, cause))?;
        self.close(level + 1, separator, fresh)
    }

    /// How many entries lie below the edge node of `level`, whose own children are counted.
    fn count(&mut self, level: usize) -> Result<u64> {
        let pgno = self.edge[level];
        if level == 0 {
            let at = PageRef { pgno, tag: 0 };
            let leaf = leaf(self.tree.pages, at)?;
            return weigh(self.tree.record, &leaf, at, 0..leaf.len());
        }
        total(&self.tree.branch_mut(pgno)?).map_err(|cause| corrupt(pgno, cause))
    }

    /// Changes the last entry of an own branch.
    fn set_last(&mut self, parent: Pgno, changed: impl FnOnce(Entry) -> Entry) -> Result<()> {
        let fault = |cause| corrupt(parent, cause);
        let mut branch = self.tree.branch_mut(parent)?;
        let node = branch.node().map_err(fault)?;
        let index = node.len().saturating_sub(1);
        let entry = changed(node.entry(index).map_err(fault)?);
        branch.set_entry(index, entry).map_err(fault)
    }

    /// Writes the counts of the right edge; without this the tree is not whole.
    pub(crate) fn finish(mut self) -> Result<()> {
        for level in 1..self.edge.len() {
            let count = self.count(level - 1)?;
            self.set_last(self.edge[level], |entry| Entry { count, ..entry })?;
        }
        self.tree.tidy_root()
    }
}
