//! Changes to a node: cells put in, taken out and resized, and heads made anew.

use std::marker::PhantomData;
use std::ops::Range;

use super::{
    COUNT_AT, Cells, DEAD_AT, HEADER_BYTES, HEAP_AT, KIND_AT, Kind, Node, PREFIX_AT, SLOT_BYTES, Slot,
    capacity, is_packed, u16_at,
};
use crate::error::FormatError;
use crate::order::Order;
use crate::packed::PackedMut;

/// In the place of the prefix's length while heads were not all made with one. No key is so long.
const STALE: usize = u16::MAX as usize;

/// A node that may be changed: one of the transaction's own pages, validated when it was copied.
pub struct NodeMut<'p, C> {
    page: &'p mut [u8],
    cells: PhantomData<C>,
}

impl<'p, C: Cells> NodeMut<'p, C> {
    /// Takes a page that was validated, or made by [`NodeMut::clear`].
    pub fn new(page: &'p mut [u8]) -> NodeMut<'p, C> {
        NodeMut { page, cells: PhantomData }
    }

    /// Empties the page, keeping what the header says of number, txnid and level.
    pub fn clear(&mut self) {
        if let Some(mut packed) = self.packed() {
            return packed.clear();
        }
        self.page[KIND_AT] = C::KIND as u8;
        self.page[COUNT_AT..HEADER_BYTES].fill(0);
    }

    /// The node as the packed leaf it is, if it is one.
    pub(crate) fn packed(&mut self) -> Option<PackedMut<'_>> {
        if is_packed::<C>(self.page[KIND_AT]) { Some(PackedMut::new(self.page)) } else { None }
    }

    /// The node, to read.
    pub fn node(&self) -> Result<Node<'_, C>, FormatError> {
        Node::view(self.page)
    }

    /// The page's bytes.
    pub fn page_mut(&mut self) -> &mut [u8] {
        self.page
    }

    fn get(&self, at: usize) -> usize {
        usize::from(u16_at(self.page, at))
    }

    fn set(&mut self, at: usize, value: usize) {
        self.page[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }

    fn slot_at(index: usize) -> usize {
        HEADER_BYTES + index * SLOT_BYTES
    }

    fn set_slot(&mut self, index: usize, slot: Slot) {
        let at = Self::slot_at(index);
        self.page[at..at + SLOT_BYTES].copy_from_slice(&slot.bytes());
    }

    /// Whether a cell of `cell_len` bytes fits, perhaps after gathering dead bytes.
    pub fn fits(&mut self, cell_len: usize) -> bool {
        if let Some(packed) = self.packed() {
            return packed.fits();
        }
        let used = self.get(COUNT_AT) * SLOT_BYTES + self.get(HEAP_AT) - self.get(DEAD_AT);
        used + SLOT_BYTES + cell_len.next_multiple_of(C::ALIGN) <= capacity(self.page.len())
    }

    /// Makes room for a cell of `cell_len` bytes before slot `index` and answers where it goes; the caller writes it.
    ///
    /// The caller has asked [`NodeMut::fits`]. `key` decides the head, and shortens the page's prefix if it must.
    pub fn insert<O: Order>(
        &mut self,
        order: O,
        index: usize,
        key: &[u8],
        field: u16,
        cell_len: usize,
    ) -> Result<Range<usize>, FormatError> {
        self.widen_prefix(order, index, key)?;
        let head = order.head(key, self.get(PREFIX_AT));
        self.insert_slot(index, head, field, cell_len)
    }

    fn insert_slot(
        &mut self,
        index: usize,
        head: u32,
        field: u16,
        cell_len: usize,
    ) -> Result<Range<usize>, FormatError> {
        let rounded = cell_len.next_multiple_of(C::ALIGN);
        let count = self.get(COUNT_AT);
        if HEADER_BYTES + (count + 1) * SLOT_BYTES + self.get(HEAP_AT) + rounded > self.page.len() {
            self.gather()?;
        }
        let heap = self.get(HEAP_AT) + rounded;
        let offset = self.page.len() - heap;
        self.set(HEAP_AT, heap);
        self.page.copy_within(Self::slot_at(index)..Self::slot_at(count), Self::slot_at(index + 1));
        self.set(COUNT_AT, count + 1);
        self.set_slot(index, Slot { head, offset: offset as u16, field });
        self.page[offset + cell_len..offset + rounded].fill(0);
        Ok(offset..offset + cell_len)
    }

    /// Appends a cell copied from another page of this kind; its head is set by [`NodeMut::retake_heads`] afterwards.
    pub fn push_raw(&mut self, field: u16, cell: &[u8]) -> Result<(), FormatError> {
        let count = self.get(COUNT_AT);
        if let Some(mut packed) = self.packed() {
            return packed.insert(count, cell).map(|_| ());
        }
        let at = self.insert_slot(count, 0, field, cell.len())?;
        self.page[at].copy_from_slice(cell);
        self.set(PREFIX_AT, STALE);
        Ok(())
    }

    /// Appends the cells `range` of `from`, another page of this kind; [`NodeMut::retake_heads`] is to be called afterwards.
    ///
    /// As [`NodeMut::push_raw`] for each of them, in a fraction of the instructions; and their heads are kept, which is one pass
    /// less where they turn out to be right.
    pub fn append(&mut self, from: &Node<'_, C>, range: Range<usize>) -> Result<(), FormatError> {
        if self.packed().is_some() {
            return range.into_iter().try_for_each(|index| self.push_raw(0, from.cell(index)?));
        }
        let mut count = self.get(COUNT_AT);
        let has_stale = count > 0 && self.get(PREFIX_AT) != from.prefix_len;
        self.set(PREFIX_AT, if has_stale { STALE } else { from.prefix_len });
        let mut offset = self.page.len() - self.get(HEAP_AT);
        for index in range {
            let (slot, cell) = (from.slot(index)?, from.cell(index)?);
            if Self::slot_at(count + 1) + cell.len() > offset {
                return Err(FormatError::HeapMismatch);
            }
            offset -= cell.len();
            self.page[offset..offset + cell.len()].copy_from_slice(cell);
            self.set_slot(count, Slot { offset: offset as u16, ..slot });
            count += 1;
        }
        self.set(COUNT_AT, count);
        self.set(HEAP_AT, self.page.len() - offset);
        Ok(())
    }

    /// Removes slot `index` and its cell.
    pub fn remove(&mut self, index: usize) -> Result<(), FormatError> {
        if let Some(mut packed) = self.packed() {
            return packed.remove(index);
        }
        let node = self.node()?;
        let slot = node.slot(index)?;
        let len = node.cell(index)?.len();
        let count = node.len();
        self.page.copy_within(Self::slot_at(index + 1)..Self::slot_at(count), Self::slot_at(index));
        self.set(COUNT_AT, count - 1);
        self.bury(usize::from(slot.offset), len);
        Ok(())
    }

    /// Gives cell `index` up for one of `cell_len` bytes with the same key, and answers where that goes.
    ///
    /// The caller has checked that it fits: the old cell's bytes count as free.
    pub fn resize(&mut self, index: usize, field: u16, cell_len: usize) -> Result<Range<usize>, FormatError> {
        if self.packed().is_some() {
            return Err(FormatError::WrongKind { found: Kind::Packed as u8 });
        }
        let node = self.node()?;
        let slot = node.slot(index)?;
        let old_len = node.cell(index)?.len();
        let offset = usize::from(slot.offset);
        if old_len == cell_len.next_multiple_of(C::ALIGN) {
            self.set_slot(index, Slot { field, ..slot });
            return Ok(offset..offset + cell_len);
        }
        self.remove(index)?;
        self.insert_slot(index, slot.head, field, cell_len)
    }

    /// Whether cell `index` may grow or shrink to `cell_len` bytes here.
    pub fn fits_resized(&self, index: usize, cell_len: usize) -> Result<bool, FormatError> {
        let old_len = self.node()?.cell(index)?.len();
        let used = self.get(COUNT_AT) * SLOT_BYTES + self.get(HEAP_AT) - self.get(DEAD_AT) - old_len;
        Ok(used + cell_len.next_multiple_of(C::ALIGN) <= capacity(self.page.len()))
    }

    /// Counts the cell at `offset` as dead, or lowers the heap if it was the lowest.
    fn bury(&mut self, offset: usize, len: usize) {
        let heap = self.get(HEAP_AT);
        if self.page.len() - heap == offset {
            self.set(HEAP_AT, heap - len);
        } else {
            self.set(DEAD_AT, self.get(DEAD_AT) + len);
        }
        if self.get(COUNT_AT) == 0 {
            self.set(HEAP_AT, 0);
            self.set(DEAD_AT, 0);
        }
    }

    /// Moves the cells together so that no dead bytes remain.
    fn gather(&mut self) -> Result<(), FormatError> {
        let old = self.page.to_vec();
        let node = Node::<C>::view(&old)?;
        let mut end = self.page.len();
        for index in 0..node.len() {
            let cell = node.cell(index)?;
            end -= cell.len();
            self.page[end..end + cell.len()].copy_from_slice(cell);
            self.set_slot(index, Slot { offset: end as u16, ..node.slot(index)? });
        }
        self.set(HEAP_AT, self.page.len() - end);
        self.set(DEAD_AT, 0);
        Ok(())
    }

    /// Shortens the prefix to what `key`, about to stand at `index`, shares with the keys here.
    fn widen_prefix<O: Order>(&mut self, order: O, index: usize, key: &[u8]) -> Result<(), FormatError> {
        let node = self.node()?;
        let first = usize::from(C::KIND == Kind::Branch);
        if C::KIND == Kind::Branch && index == 0 {
            return Ok(());
        }
        if node.len() <= first {
            self.set(PREFIX_AT, order.units(key));
            return Ok(());
        }
        let shared = order.shared(key, node.key(first)?).min(node.prefix_len);
        if shared < node.prefix_len {
            self.set_heads(order, shared)?;
        }
        Ok(())
    }

    /// Takes the longest prefix the keys share, and makes all heads anew unless they were made with that.
    pub fn retake_heads<O: Order>(&mut self, order: O) -> Result<(), FormatError> {
        if self.packed().is_some() {
            return Ok(());
        }
        let node = self.node()?;
        let first = usize::from(C::KIND == Kind::Branch);
        let prefix = match node.len() {
            len if len > first => order.shared(node.key(first)?, node.key(len - 1)?),
            _ => 0,
        };
        if prefix == self.get(PREFIX_AT) { Ok(()) } else { self.set_heads(order, prefix) }
    }

    fn set_heads<O: Order>(&mut self, order: O, prefix: usize) -> Result<(), FormatError> {
        for index in 0..self.get(COUNT_AT) {
            let slot = self.slot(index);
            let key = C::key(self.page, usize::from(slot.offset), slot.field);
            let head = order.head(key.ok_or(FormatError::CellOutOfBounds { slot: index as u16 })?, prefix);
            self.set_slot(index, Slot { head, ..slot });
        }
        self.set(PREFIX_AT, prefix);
        Ok(())
    }

    /// Slot `index`, which is one.
    fn slot(&self, index: usize) -> Slot {
        let at = Self::slot_at(index);
        self.page[at..at + SLOT_BYTES].first_chunk().map_or(Slot::NONE, Slot::read)
    }
}
