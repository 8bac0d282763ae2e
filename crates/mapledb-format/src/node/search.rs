//! Search within a node: over heads first, and over keys where heads are equal.

use std::cmp::Ordering;
use std::hint::select_unpredictable;

use super::{Cells, Node, Position, SLOT_BYTES, Slot, head_of};
use crate::error::FormatError;
use crate::order::Order;

/// The slots among which a search is settled by comparing keys, those of one head; none where heads have settled it.
#[derive(Clone, Copy, Debug)]
pub struct Narrowed {
    low: usize,
    high: usize,
}

/// The slot whose cell does not lie within the page.
#[derive(Clone, Copy, Debug)]
pub struct OutOfBounds(usize);

impl<'p, C: Cells> Node<'p, C> {
    /// Where `key` is or would go among slots `from..`, when it shares its first `implied` units with every key here.
    ///
    /// Touches the slot array, and key bytes only of slots whose head equals the key's, or of one slot if the page's
    /// prefix exceeds the implied one.
    #[inline]
    pub fn search_from<O: Order>(
        &self,
        order: O,
        from: usize,
        key: &[u8],
        implied: usize,
    ) -> Result<Position, FormatError> {
        self.search_hinting(order, from, key, implied, |_| ())
    }

    /// As [`search_from`](Node::search_from); `hint` is told the slot whose key is compared next, before it is, if one is.
    #[inline(always)]
    pub fn search_hinting<O: Order>(
        &self,
        order: O,
        from: usize,
        key: &[u8],
        implied: usize,
        hint: impl FnOnce(Slot),
    ) -> Result<Position, FormatError> {
        if self.slots.len() <= from {
            return self.search_slotless(order, from, key);
        }
        self.search_slots(order, from, key, implied, hint)
            .map_err(|OutOfBounds(slot)| FormatError::CellOutOfBounds { slot: slot as u16 })
    }

    /// As [`search_hinting`](Node::search_hinting), of a node that has slots from `from` on; the only thing that may be wrong
    /// is where a cell lies. Small enough an error that the way without one need not make room for it.
    #[inline(always)]
    pub fn search_slots<O: Order>(
        &self,
        order: O,
        from: usize,
        key: &[u8],
        implied: usize,
        hint: impl FnOnce(Slot),
    ) -> Result<Position, OutOfBounds> {
        let narrowed = self.narrow(order, from, key, implied)?;
        if let Some(slot) = self.first_of(narrowed) {
            hint(slot);
        }
        self.settle(order, key, narrowed)
    }

    /// The first half of a search: what the slots tell, and the bytes of one key if the page's prefix exceeds the implied one.
    #[inline(always)]
    pub fn narrow<O: Order>(
        &self,
        order: O,
        from: usize,
        key: &[u8],
        implied: usize,
    ) -> Result<Narrowed, OutOfBounds> {
        let slots = self.slots.get(from..).unwrap_or(&[]);
        if slots.is_empty() {
            return Ok(Narrowed { low: from, high: from });
        }
        if self.prefix_len > implied {
            // Every key here has the prefix: one of them stands for all.
            let any = self.slotted_key(from)?;
            if order.shared(key, any) < self.prefix_len {
                let index = match order.compare(key, any) {
                    Ordering::Less => from,
                    _ => from + slots.len(),
                };
                // Only a page that lies about its prefix gets here with equal keys.
                return Ok(Narrowed { low: index, high: index });
            }
        }
        let head = order.head(key, self.prefix_len);
        let first = lower_bound(slots, head);
        let equal = match slots.get(first) {
            Some(raw) if head_of(raw) == head => equal_heads(&slots[first..], head),
            _ => 0,
        };
        Ok(Narrowed { low: from + first, high: from + first + equal })
    }

    /// The first slot whose key is to be compared, if one is.
    #[inline(always)]
    pub fn first_of(&self, narrowed: Narrowed) -> Option<Slot> {
        if narrowed.low < narrowed.high { self.slotted(narrowed.low) } else { None }
    }

    /// The second half of a search: compares keys, as far as the slots have not settled it.
    #[inline(always)]
    pub fn settle<O: Order>(
        &self,
        order: O,
        key: &[u8],
        narrowed: Narrowed,
    ) -> Result<Position, OutOfBounds> {
        let Narrowed { mut low, mut high } = narrowed;
        while low < high {
            let middle = low + (high - low) / 2;
            match order.compare(self.slotted_key(middle)?, key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Position { index: middle, exact: true }),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Position { index: low, exact: false })
    }

    /// The key of slot `index` of a node that has it.
    #[inline(always)]
    fn slotted_key(&self, index: usize) -> Result<&'p [u8], OutOfBounds> {
        let slot = self.slotted(index).ok_or(OutOfBounds(index))?;
        C::key(self.page, usize::from(slot.offset), slot.field).ok_or(OutOfBounds(index))
    }

    #[cold]
    fn search_slotless<O: Order>(&self, order: O, from: usize, key: &[u8]) -> Result<Position, FormatError> {
        match self.packed() {
            Some(packed) => packed.search(order, from, key),
            None => Ok(Position { index: from, exact: false }),
        }
    }
}

/// The first slot whose head is not less than `head`; `slots` is not empty.
///
/// The plain algorithm is `slots.partition_point(|s| head_of(s) < head)`. Here every round halves what is left whatever
/// the comparison says, so that the only branch is the loop's own, which the length alone decides. Left to itself the
/// compiler makes a branch of the comparison, which is mispredicted every other time.
#[inline(always)]
fn lower_bound(slots: &[[u8; SLOT_BYTES]], head: u32) -> usize {
    let mut base = 0;
    let mut len = slots.len();
    while len > 1 {
        let half = len / 2;
        let is_less = head_of(&slots[base + half - 1]) < head;
        base = select_unpredictable(is_less, base + half, base);
        len -= half;
    }
    base + usize::from(head_of(&slots[base]) < head)
}

/// How many slots from the first on have this head. One look where heads differ, a binary search where many agree.
#[inline]
fn equal_heads(slots: &[[u8; SLOT_BYTES]], head: u32) -> usize {
    match slots.get(1) {
        Some(raw) if head_of(raw) == head => slots.partition_point(|raw| head_of(raw) <= head),
        _ => 1,
    }
}
