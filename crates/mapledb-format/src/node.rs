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

use std::cmp::Ordering;
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::ops::Range;

use crate::error::FormatError;
use crate::header::{
    COUNT_AT, DEAD_AT, HEADER_BYTES, HEAP_LEN_AT as HEAP_AT, KIND_AT, Kind, PREFIX_LEN_AT as PREFIX_AT,
    kind_of,
};
use crate::order::Order;
use crate::packed::{Packed, PackedMut};

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

/// The slots among which a search is settled by comparing keys, those of one head; none where heads have settled it.
#[derive(Clone, Copy, Debug)]
pub struct Narrowed {
    low: usize,
    high: usize,
}

/// The slot whose cell does not lie within the page.
#[derive(Clone, Copy, Debug)]
pub struct OutOfBounds(usize);

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

/// Whether a page of this kind byte is a packed leaf, and is taken for a node of these cells.
#[inline(always)]
fn is_packed<C: Cells>(kind: u8) -> bool {
    matches!(C::KIND, Kind::Leaf) && kind == Kind::Packed as u8
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
        let at = self.insert_slot(self.get(COUNT_AT), 0, field, cell.len())?;
        self.page[at].copy_from_slice(cell);
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

    /// Takes the longest prefix the keys share and makes all heads anew.
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
        self.set_heads(order, prefix)
    }

    fn set_heads<O: Order>(&mut self, order: O, prefix: usize) -> Result<(), FormatError> {
        for index in 0..self.get(COUNT_AT) {
            let node = self.node()?;
            let slot = node.slot(index)?;
            let head = order.head(node.key(index)?, prefix);
            self.set_slot(index, Slot { head, ..slot });
        }
        self.set(PREFIX_AT, prefix);
        Ok(())
    }
}
