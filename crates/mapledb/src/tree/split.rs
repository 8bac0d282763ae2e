//! Cutting a full node in two.
//!
//! Where to cut is decided on sizes alone ([`plan::split`]); then both halves are laid out afresh from a copy, which
//! gathers dead bytes and takes the longest prefix for the heads of each.

use std::ops::Range;

use mapledb_format::branch::{Branch, BranchMut, ENTRY_BYTES, Entry, cell_len};
use mapledb_format::header::Kind;
use mapledb_format::leaf::{Leaf, NewValue};
use mapledb_format::node::{Cells, Node, NodeMut, capacity};
use mapledb_format::order::Order;
use mapledb_format::plan::{self, Growth};
use mapledb_format::{FormatError, Pgno};

use super::insert::Carry;
use super::nested::weigh;
use super::{PageRef, PagesMut, TreeMut, corrupt, leaf};
use crate::error::Result;

/// Which half of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Left,
    Right,
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Cuts the own leaf `pgno` so that the pair fits before slot `index`, and puts it in. Answers which half it fell
    /// into and where its value field lies.
    pub(super) fn split_leaf(
        &mut self,
        pgno: Pgno,
        index: usize,
        key: &[u8],
        new: &NewValue<'_>,
        growth: Growth,
    ) -> Result<(Carry, Half, Range<usize>)> {
        let order = self.order;
        let right = self.new_node(Kind::Leaf, 0)?;
        let old = self.pages.own_mut(pgno, 1)?.to_vec();
        let fault = |cause| corrupt(pgno, cause);
        let node = Leaf::view(&old).map_err(fault)?;
        let plan = plan_cut(&node, index, self.cell_len(key.len(), new), growth).map_err(fault)?;
        // The plan counts the new cell; the old ones to its left are one fewer.
        let half = if index < plan.left { Half::Left } else { Half::Right };
        let cut = if half == Half::Left { plan.left - 1 } else { plan.left };
        fill(order, self.leaf_mut(pgno)?, &node, 0..cut).map_err(fault)?;
        fill(order, self.leaf_mut(right)?, &node, cut..node.len()).map_err(fault)?;
        let field = match half {
            Half::Left => self.leaf_mut(pgno)?.insert_pair(order, index, key, new),
            Half::Right => self.leaf_mut(right)?.insert_pair(order, index - cut, key, new),
        }
        .map_err(fault)?;

        let halves = [pgno, right].map(|pgno| PageRef { pgno, tag: 0 });
        let (left_node, right_node) = (leaf(self.pages, halves[0])?, leaf(self.pages, halves[1])?);
        let last = left_node.key(left_node.len().saturating_sub(1)).map_err(fault)?;
        let separator = order.separator(last, right_node.key(0).map_err(fault)?).to_vec();
        let left_count = weigh(self.record, &left_node, halves[0], 0..left_node.len())?;
        let right_count = weigh(self.record, &right_node, halves[1], 0..right_node.len())?;
        let carry = Carry { separator, left_count, right, right_count };
        Ok((carry, half, field))
    }

    /// Cuts the own branch `pgno` so that a child fits before slot `index`, and puts it in.
    pub(super) fn split_branch(
        &mut self,
        pgno: Pgno,
        index: usize,
        separator: &[u8],
        entry: Entry,
        growth: Growth,
    ) -> Result<Carry> {
        let order = self.order;
        let old = self.pages.own_mut(pgno, 1)?.to_vec();
        let fault = |cause| corrupt(pgno, cause);
        let node = Branch::view(&old).map_err(fault)?;
        let right = self.new_node(Kind::Branch, mapledb_format::header::level_of(&old))?;
        let growth = if index == node.len() { growth } else { Growth::Scattered };
        let plan = plan_cut(&node, index, cell_len(separator.len()), growth).map_err(fault)?;
        // The first separator of the right half moves up: it is the cut itself.
        let is_new_first = index == plan.left;
        let half = if index < plan.left { Half::Left } else { Half::Right };
        let cut = if half == Half::Left { plan.left - 1 } else { plan.left };
        let up = if is_new_first { separator.to_vec() } else { node.key(cut).map_err(fault)?.to_vec() };

        fill(order, self.branch_mut(pgno)?, &node, 0..cut).map_err(fault)?;
        let mut right_half = self.branch_mut(right)?;
        right_half.clear();
        if is_new_first {
            right_half.insert_child(order, 0, &[], entry).map_err(fault)?;
            right_half.append(&node, cut..node.len()).map_err(fault)?;
        } else {
            let first = node.cell(cut).map_err(fault)?;
            right_half.push_raw(0, first.get(..ENTRY_BYTES).unwrap_or(first)).map_err(fault)?;
            right_half.append(&node, cut + 1..node.len()).map_err(fault)?;
        }
        right_half.retake_heads(order).map_err(fault)?;
        match half {
            Half::Left => self.branch_mut(pgno)?.insert_child(order, index, separator, entry),
            Half::Right if is_new_first => Ok(()),
            Half::Right => self.branch_mut(right)?.insert_child(order, index - cut, separator, entry),
        }
        .map_err(fault)?;
        let left_count = total(&self.branch_mut(pgno)?).map_err(fault)?;
        let right_count = total(&self.branch_mut(right)?).map_err(fault)?;
        Ok(Carry { separator: up, left_count, right, right_count })
    }
}

fn plan_cut<C: Cells>(
    node: &Node<'_, C>,
    index: usize,
    new_len: usize,
    growth: Growth,
) -> std::result::Result<plan::SplitPlan, FormatError> {
    let mut sizes = Vec::with_capacity(node.len() + 1);
    for at in 0..node.len() {
        sizes.push(node.cell(at)?.len() + node.slot_bytes());
    }
    sizes.insert(index, new_len + node.slot_bytes());
    Ok(plan::split(&sizes, capacity(node.page().len()), growth))
}

/// Lays a node out afresh with the cells `range` of another.
pub(super) fn fill<C: Cells, O: Order>(
    order: O,
    mut to: NodeMut<'_, C>,
    from: &Node<'_, C>,
    range: Range<usize>,
) -> std::result::Result<(), FormatError> {
    to.clear();
    to.append(from, range)?;
    to.retake_heads(order)
}

/// How many entries lie below an own branch.
pub(super) fn total(branch: &BranchMut<'_>) -> std::result::Result<u64, FormatError> {
    let node = branch.node()?;
    node.count_before(node.len())
}
