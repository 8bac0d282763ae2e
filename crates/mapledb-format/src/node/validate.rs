//! A node checked as a whole, so that it may be changed.

use std::cmp::Ordering;

use super::{Cells, DEAD_AT, HEADER_BYTES, HEAP_AT, Kind, Node, SLOT_BYTES, key_max, u16_at};
use crate::error::FormatError;
use crate::order::Order;

impl<'p, C: Cells> Node<'p, C> {
    /// Checks everything a later change relies on: cells within the heap and apart from each other in sum, keys of
    /// legal length that share the prefix, in order, with true heads, and no unsealed reference.
    ///
    /// Cost: one pass over slots and keys.
    pub fn validate<O: Order>(order: O, page: &'p [u8]) -> Result<Node<'p, C>, FormatError> {
        Node::validate_in(order, page, page.len())
    }

    /// As [`Node::validate`], of a sub-page in a file with pages of `page_len` bytes.
    pub(crate) fn validate_in<O: Order>(
        order: O,
        page: &'p [u8],
        page_len: usize,
    ) -> Result<Node<'p, C>, FormatError> {
        let node = Node::<C>::view(page)?;
        if let Some(packed) = node.packed() {
            return packed.validate(order, page_len).map(|()| node);
        }
        let heap = usize::from(u16_at(page, HEAP_AT));
        let dead = usize::from(u16_at(page, DEAD_AT));
        let slots_end = HEADER_BYTES + node.len() * SLOT_BYTES;
        if slots_end + heap > page.len() || heap % C::ALIGN != 0 {
            return Err(FormatError::HeapMismatch);
        }
        let heap_start = page.len() - heap;
        let mut owned = 0;
        let mut before: Option<(u32, &[u8])> = None;
        for index in 0..node.len() {
            let (len, key) = node.cell_within(index, heap_start, page_len)?;
            owned += len;
            if C::KIND == Kind::Branch && index == 0 {
                match key {
                    [] => continue,
                    _ => return Err(FormatError::KeyOrder { slot: 0 }),
                }
            }
            let head = node.true_head(index, key, order)?;
            // True heads that ascend are keys that ascend: most keys are not compared.
            if let Some((head_before, key_before)) = before
                && (head_before > head
                    || head_before == head && order.compare(key_before, key) != Ordering::Less)
            {
                return Err(FormatError::KeyOrder { slot: index as u16 });
            }
            before = Some((head, key));
        }
        if owned + dead != heap {
            return Err(FormatError::HeapMismatch);
        }
        Ok(node)
    }

    /// The length of cell `index`, rounded up, and its key, if both may stand in a heap that starts there, in a file with pages
    /// of `page_len` bytes.
    #[inline(always)]
    fn cell_within(
        &self,
        index: usize,
        heap_start: usize,
        page_len: usize,
    ) -> Result<(usize, &'p [u8]), FormatError> {
        let fault = FormatError::CellOutOfBounds { slot: index as u16 };
        let slot = self.slot(index)?;
        let at = usize::from(slot.offset);
        let len = C::len(self.page, at, slot.field).ok_or(fault)?.next_multiple_of(C::ALIGN);
        let key = C::key(self.page, at, slot.field).ok_or(fault)?;
        let is_within = at >= heap_start && at % C::ALIGN == 0 && at + len <= self.page.len();
        if !is_within || key.len() > key_max(page_len) {
            return Err(fault);
        }
        if !C::is_sealed(self.page, at, slot.field) {
            return Err(FormatError::Unsealed);
        }
        Ok((len, key))
    }

    /// The head of slot `index`, if it is that of its key and the key shares the page's prefix with the first one.
    #[inline(always)]
    fn true_head<O: Order>(&self, index: usize, key: &[u8], order: O) -> Result<u32, FormatError> {
        let slot = self.slot(index)?;
        let first = self.key(usize::from(C::KIND == Kind::Branch))?;
        let shares = self.prefix_len == 0 || order.shared(first, key) >= self.prefix_len;
        if !shares || !order.goes_with(first, key) {
            return Err(FormatError::KeyOrder { slot: index as u16 });
        }
        match order.head(key, self.prefix_len) {
            head if head == slot.head => Ok(head),
            _ => Err(FormatError::WrongHead { slot: index as u16 }),
        }
    }
}
