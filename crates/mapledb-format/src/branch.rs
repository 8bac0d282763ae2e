//! Branches: children, what is known of each, and the shortest keys that separate them.
//!
//! ```text
//!  slot field:  length of the separator
//!  cell:        0 child u48 | 6 tag u32 | 10 count u48 | 16 separator …
//! ```
//!
//! Child `i` holds the keys from separator `i` up to, not including, separator `i + 1`. Separator 0 is empty and stands
//! for minus infinity. *Tag* is the low half of the child's checksum, never 0 in a sealed page: 0 marks a child that
//! the running transaction owns and has not sealed. *Count* is how many entries lie below.

use crate::error::FormatError;
use crate::header::Kind;
use crate::ids::Pgno;
use crate::node::{Cells, Node, NodeMut};
use crate::order::Order;

/// The cells of a branch.
#[derive(Clone, Copy, Debug)]
pub struct BranchCells;

/// A page read as a branch.
pub type Branch<'p> = Node<'p, BranchCells>;

/// A branch that may be changed.
pub type BranchMut<'p> = NodeMut<'p, BranchCells>;

/// Bytes of a cell before its separator.
pub const ENTRY_BYTES: usize = 16;

/// Where the tag is in a cell.
const TAG_AT: usize = 6;
const LOW_48: u64 = (1 << 48) - 1;

impl Cells for BranchCells {
    const KIND: Kind = Kind::Branch;
    const ALIGN: usize = 1;

    #[inline(always)]
    fn len(page: &[u8], offset: usize, field: u16) -> Option<usize> {
        let len = ENTRY_BYTES + usize::from(field);
        (offset + len <= page.len()).then_some(len)
    }

    #[inline(always)]
    fn key(page: &[u8], offset: usize, field: u16) -> Option<&[u8]> {
        let at = offset + ENTRY_BYTES;
        page.get(at..at + usize::from(field))
    }

    #[inline(always)]
    fn is_sealed(page: &[u8], offset: usize, _field: u16) -> bool {
        page.get(offset + TAG_AT..).and_then(|rest| rest.first_chunk()).is_some_and(|tag| *tag != [0; 4])
    }
}

/// One child of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the child is.
    pub child: Pgno,
    /// The low half of the child's checksum; 0 while the child is unsealed.
    pub tag: u32,
    /// How many entries lie below.
    pub count: u64,
}

impl Entry {
    #[inline(always)]
    fn read(raw: &[u8; ENTRY_BYTES]) -> Entry {
        let [c0, c1, c2, c3, c4, c5, ..] = *raw;
        let word = u128::from_le_bytes(*raw);
        Entry {
            child: Pgno::from_le_bytes([c0, c1, c2, c3, c4, c5]),
            tag: (word >> 48) as u32,
            count: (word >> 80) as u64,
        }
    }

    fn bytes(self) -> [u8; ENTRY_BYTES] {
        let word =
            u128::from(self.child.get()) | u128::from(self.tag) << 48 | u128::from(self.count & LOW_48) << 80;
        word.to_le_bytes()
    }
}

#[inline(always)]
fn entry_at(page: &[u8], offset: usize) -> Option<Entry> {
    page.get(offset..)?.first_chunk::<ENTRY_BYTES>().map(Entry::read)
}

/// Bytes of a branch cell with a separator of `separator_len` bytes.
pub fn cell_len(separator_len: usize) -> usize {
    ENTRY_BYTES + separator_len
}

impl<'p> Node<'p, BranchCells> {
    /// Entry `index`.
    #[inline(always)]
    pub fn entry(&self, index: usize) -> Result<Entry, FormatError> {
        let slot = self.slot(index)?;
        entry_at(self.page(), usize::from(slot.offset))
            .ok_or(FormatError::CellOutOfBounds { slot: index as u16 })
    }

    /// Which child holds `key`, when it shares its first `implied` units with every separator here.
    #[inline]
    pub fn child_for<O: Order>(&self, order: O, key: &[u8], implied: usize) -> Result<usize, FormatError> {
        if self.is_empty() {
            return Err(FormatError::SlotOutOfBounds { slot: 0 });
        }
        let at = self.search_from(order, 1, key, implied)?;
        Ok(if at.exact { at.index } else { at.index - 1 })
    }

    /// As [`child_for`](Node::child_for), and what is known of the child; `None` where the page is not right.
    #[inline(always)]
    pub fn child_at<O: Order>(&self, order: O, key: &[u8], implied: usize) -> Option<(usize, Entry)> {
        let at = self.search_slots(order, 1, key, implied, |_| ()).ok()?;
        let index = at.index - usize::from(!at.exact);
        Some((index, self.entry(index).ok()?))
    }

    /// How many leading units every key below child `index` shares, when `outer` is what this branch's own fences imply.
    ///
    /// From the heads of the two separators around the child alone; a lower bound.
    #[inline]
    pub fn implied_for(&self, index: usize, outer: usize) -> usize {
        match (self.slot(index), self.slot(index + 1)) {
            (Ok(low), Ok(high)) if index > 0 => {
                let same = (low.head ^ high.head).leading_zeros() as usize / 8;
                let shared =
                    (self.prefix_len() + same).min(usize::from(low.field)).min(usize::from(high.field));
                shared.max(outer)
            }
            _ => outer,
        }
    }

    /// How many entries lie below children `0..end`.
    pub fn count_before(&self, end: usize) -> Result<u64, FormatError> {
        let mut sum = 0u64;
        for index in 0..end {
            sum = sum.saturating_add(self.entry(index)?.count);
        }
        Ok(sum)
    }
}

impl<'p> NodeMut<'p, BranchCells> {
    /// Puts a child in before slot `index`. The caller has asked [`NodeMut::fits`].
    pub fn insert_child<O: Order>(
        &mut self,
        order: O,
        index: usize,
        separator: &[u8],
        entry: Entry,
    ) -> Result<(), FormatError> {
        let at = self.insert(order, index, separator, separator.len() as u16, cell_len(separator.len()))?;
        let cell = &mut self.page_mut()[at];
        cell[..ENTRY_BYTES].copy_from_slice(&entry.bytes());
        cell[ENTRY_BYTES..].copy_from_slice(separator);
        Ok(())
    }

    /// Overwrites what is known of child `index`.
    pub fn set_entry(&mut self, index: usize, entry: Entry) -> Result<(), FormatError> {
        let slot = self.node()?.slot(index)?;
        let at = usize::from(slot.offset);
        self.page_mut()[at..at + ENTRY_BYTES].copy_from_slice(&entry.bytes());
        Ok(())
    }

    /// Takes the separator of slot 0 away: whatever it was, it stands for minus infinity.
    pub fn unfence<O: Order>(&mut self, order: O) -> Result<(), FormatError> {
        let node = self.node()?;
        if node.is_empty() || node.key(0)?.is_empty() {
            return Ok(());
        }
        let entry = node.entry(0)?;
        self.remove(0)?;
        self.insert_child(order, 0, &[], entry)
    }
}
