//! The slotted page that leaves and branches share: a header, slots growing up, cells growing down.
//!
//! ```text
//!  0         32                                                                   page end
//!  | header  | slot 0 | slot 1 | … | slot n-1 |  gap  | cell | dead | cell | … | cell |
//!                                                     |<-------- heap_len bytes ------>|
//!
//!  slot, 8 bytes:   0 head u32 | 4 offset u16 | 6 field u16
//! ```
//!
//! A slot's *head* is the first four bytes of its key after the page's common prefix, as an integer that sorts as the
//! key does. Search runs over heads alone, branch-free, and touches key bytes only where heads are equal. What `field`
//! means, and what a cell holds, is up to the kind of node: see [`leaf`](crate::leaf) and [`branch`](crate::branch).
//!
//! The prefix length in the header rules. Whoever descends knows of a prefix that the fences imply; it may be longer
//! or shorter than the page's, since fences widen when a neighbour goes. Search therefore takes the *implied* length
//! and compares the bytes by which the page's own exceeds it.
//!
//! Two doors lead to a node. [`Node::view`] takes any bytes and checks each cell as it is asked for; [`Node::validate`]
//! checks a whole page at once, and a page that passed may be changed through [`NodeMut`].

mod edit;
mod search;
mod validate;

use std::marker::PhantomData;

use crate::error::FormatError;
use crate::header::{
    COUNT_AT, DEAD_AT, HEADER_BYTES, HEAP_LEN_AT as HEAP_AT, KIND_AT, Kind, PREFIX_LEN_AT as PREFIX_AT,
    kind_of,
};
use crate::packed::Packed;

pub use edit::NodeMut;
pub use search::{Narrowed, OutOfBounds};

/// Bytes of one slot.
pub const SLOT_BYTES: usize = 8;

/// What distinguishes leaf cells from branch cells.
pub trait Cells: Copy + 'static {
    /// The page kind that holds such cells.
    const KIND: Kind;
    /// Cells start at a multiple of this many bytes, and so are as long.
    const ALIGN: usize;

    /// The length of the cell at `offset`, before rounding up to [`Cells::ALIGN`]; `None` if it cannot lie there.
    fn len(page: &[u8], offset: usize, field: u16) -> Option<usize>;

    /// The key of the cell at `offset`.
    fn key(page: &[u8], offset: usize, field: u16) -> Option<&[u8]>;

    /// Whether the cell may stand in a sealed page.
    fn is_sealed(page: &[u8], offset: usize, field: u16) -> bool;
}

/// Where a key is, or where it would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first slot whose key is not less than the one sought.
    pub index: usize,
    /// Whether that slot's key is the one sought.
    pub exact: bool,
}

/// One slot: where a cell lies and how its key begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The first four bytes of the key after the page's prefix.
    pub head: u32,
    /// Where in the page the cell starts.
    pub offset: u16,
    /// What the kind of cell keeps here.
    pub field: u16,
}

impl Slot {
    const NONE: Slot = Slot { head: 0, offset: 0, field: 0 };

    #[inline(always)]
    fn read(raw: &[u8; SLOT_BYTES]) -> Slot {
        let word = u64::from_le_bytes(*raw);
        Slot { head: word as u32, offset: (word >> 32) as u16, field: (word >> 48) as u16 }
    }

    fn bytes(self) -> [u8; SLOT_BYTES] {
        (u64::from(self.head) | u64::from(self.offset) << 32 | u64::from(self.field) << 48).to_le_bytes()
    }
}

#[inline(always)]
fn head_of(raw: &[u8; SLOT_BYTES]) -> u32 {
    u64::from_le_bytes(*raw) as u32
}

#[inline(always)]
pub(crate) fn u16_at(page: &[u8], at: usize) -> u16 {
    match page.get(at..at + 2) {
        Some(two) => u16::from_le_bytes([two[0], two[1]]),
        None => 0,
    }
}

/// A page read as a node of one kind. Cheap to make and to copy: 40 bytes, no cell looked at.
#[derive(Clone, Copy)]
pub struct Node<'p, C> {
    page: &'p [u8],
    slots: &'p [[u8; SLOT_BYTES]],
    prefix_len: usize,
    cells: PhantomData<C>,
}

impl<'p, C: Cells> Node<'p, C> {
    /// Reads `page` as a node of this kind.
    ///
    /// Checks the kind byte and that the slots lie within the page; cells are checked as they are asked for.
    #[inline]
    pub fn view(page: &'p [u8]) -> Result<Node<'p, C>, FormatError> {
        match page.get(KIND_AT) {
            Some(&kind) if kind == C::KIND as u8 => {}
            Some(&kind) if is_packed::<C>(kind) => return Node::view_packed(page),
            Some(&found) => return Err(FormatError::WrongKind { found }),
            None => return Err(FormatError::TooShort { what: "page header" }),
        }
        Node::of_this_kind(page).ok_or(FormatError::SlotOutOfBounds { slot: u16_at(page, COUNT_AT) })
    }

    /// Reads `page`, whose kind byte is this kind's, as a node; `None` if its slots do not lie within it.
    #[inline(always)]
    pub fn of_this_kind(page: &'p [u8]) -> Option<Node<'p, C>> {
        let count = usize::from(u16_at(page, COUNT_AT));
        let raw = page.get(HEADER_BYTES..HEADER_BYTES + count * SLOT_BYTES)?;
        let (slots, _) = raw.as_chunks::<SLOT_BYTES>();
        Some(Node { page, slots, prefix_len: usize::from(u16_at(page, PREFIX_AT)), cells: PhantomData })
    }

    /// A packed leaf is a node without slots: whoever finds no slot asks whether it is one.
    #[cold]
    fn view_packed(page: &'p [u8]) -> Result<Node<'p, C>, FormatError> {
        Packed::view(page).map(|_| Node { page, slots: &[], prefix_len: 0, cells: PhantomData })
    }

    /// The node as the packed leaf it is, if it is one.
    pub fn packed(&self) -> Option<Packed<'p>> {
        if self.slots.is_empty() && is_packed::<C>(kind_of(self.page)) {
            Packed::view(self.page).ok()
        } else {
            None
        }
    }

    /// Whether the node is a packed leaf: keys of one length, without slots and values.
    pub fn is_packed(&self) -> bool {
        self.packed().is_some()
    }

    /// Bytes that each cell needs beside its own.
    pub fn slot_bytes(&self) -> usize {
        if self.is_packed() { 0 } else { SLOT_BYTES }
    }

    /// How many cells the node holds.
    #[inline(always)]
    pub fn len(&self) -> usize {
        if self.slots.is_empty() { self.packed_len() } else { self.slots.len() }
    }

    #[cold]
    fn packed_len(&self) -> usize {
        self.packed().map_or(0, |packed| packed.len())
    }

    /// Whether the node holds no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of the prefix that the heads leave out.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// The whole page.
    pub fn page(&self) -> &'p [u8] {
        self.page
    }

    /// Slot `index`.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Result<Slot, FormatError> {
        match self.slots.get(index) {
            Some(raw) => Ok(Slot::read(raw)),
            None => self.packed_slot(index),
        }
    }

    /// Slot `index`, if the node has slots and that one.
    #[inline(always)]
    pub(crate) fn slotted(&self, index: usize) -> Option<Slot> {
        self.slots.get(index).map(Slot::read)
    }

    /// What a slot would say of key `index` of a packed leaf: where it lies, and that its value is empty.
    #[cold]
    fn packed_slot(&self, index: usize) -> Result<Slot, FormatError> {
        match self.packed() {
            Some(packed) if index < packed.len() => {
                Ok(Slot { head: 0, offset: packed.offset(index) as u16, field: 0 })
            }
            _ => Err(FormatError::SlotOutOfBounds { slot: index as u16 }),
        }
    }

    /// The key of slot `index`.
    #[inline]
    pub fn key(&self, index: usize) -> Result<&'p [u8], FormatError> {
        let Some(raw) = self.slots.get(index) else { return self.packed_key(index) };
        let slot = Slot::read(raw);
        C::key(self.page, usize::from(slot.offset), slot.field)
            .ok_or(FormatError::CellOutOfBounds { slot: index as u16 })
    }

    #[cold]
    fn packed_key(&self, index: usize) -> Result<&'p [u8], FormatError> {
        self.packed().ok_or(FormatError::SlotOutOfBounds { slot: index as u16 })?.key(index)
    }

    /// The raw bytes of cell `index`, rounded up to the cell alignment.
    pub fn cell(&self, index: usize) -> Result<&'p [u8], FormatError> {
        let Some(raw) = self.slots.get(index) else { return self.packed_key(index) };
        let slot = Slot::read(raw);
        let at = usize::from(slot.offset);
        C::len(self.page, at, slot.field)
            .and_then(|len| self.page.get(at..at + len.next_multiple_of(C::ALIGN)))
            .ok_or(FormatError::CellOutOfBounds { slot: index as u16 })
    }

    /// The first cell from `from` on that may not stand in a sealed page.
    ///
    /// Cost: a look at each cell from there to it.
    pub fn next_unsealed(&self, from: usize) -> Option<usize> {
        let slots = self.slots.get(from..)?.iter().map(Slot::read);
        let is_sealed = |slot: Slot| C::is_sealed(self.page, usize::from(slot.offset), slot.field);
        slots.into_iter().position(|slot| !is_sealed(slot)).map(|at| from + at)
    }

    /// Bytes that slots and cells use; the most is [`capacity`].
    pub fn used(&self) -> usize {
        if let Some(packed) = self.packed() {
            return packed.keys().len();
        }
        let heap = usize::from(u16_at(self.page, HEAP_AT));
        let dead = usize::from(u16_at(self.page, DEAD_AT));
        self.slots.len() * SLOT_BYTES + heap.saturating_sub(dead)
    }
}

/// Whether a page of this kind byte is a packed leaf, and is taken for a node of these cells.
#[inline(always)]
fn is_packed<C: Cells>(kind: u8) -> bool {
    matches!(C::KIND, Kind::Leaf) && kind == Kind::Packed as u8
}

/// Bytes a page of `page_len` bytes has for slots and cells.
pub const fn capacity(page_len: usize) -> usize {
    page_len - HEADER_BYTES
}

/// The largest cell, with its slot left out: two of them, with their slots, fit a page, so every split succeeds.
pub const fn cell_max(page_len: usize) -> usize {
    (capacity(page_len) / 2 - SLOT_BYTES) & !7
}

/// The longest key: a quarter of a page.
pub const fn key_max(page_len: usize) -> usize {
    page_len / 4
}
