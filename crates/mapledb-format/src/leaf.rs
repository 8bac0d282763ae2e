//! Leaves: whole keys and their values, both handed out in place.
//!
//! ```text
//!  slot field:  bit 15 the value field is a reference record, bits 0..15 its length
//!  cell:        0 value field … | key_len u16 | key … | zeros up to a multiple of 8
//! ```
//!
//! The value comes first, so that it is aligned to 8 bytes and one padding serves both. A reference record begins with
//! a byte that says what it refers to: an overflow run (see [`overflow`](crate::overflow)) or, in a multimap, a sub-page or
//! a nested tree (see [`duplicates`](crate::duplicates)).

use crate::duplicates::{DupField, REF_KIND_SUB_PAGE, REF_KIND_TREE};
use crate::error::FormatError;
use crate::header::Kind;
use crate::node::{Cells, Node, NodeMut, Slot, cell_max};
use crate::overflow::{OVERFLOW_REF_BYTES, OverflowRef};

/// The cells of a leaf.
#[derive(Clone, Copy, Debug)]
pub struct LeafCells;

/// A page read as a leaf.
pub type Leaf<'p> = Node<'p, LeafCells>;

/// A leaf that may be changed.
pub type LeafMut<'p> = NodeMut<'p, LeafCells>;

const REFERENCE: u16 = 1 << 15;
const KEY_LEN_BYTES: usize = 2;

impl Cells for LeafCells {
    const KIND: Kind = Kind::Leaf;
    const ALIGN: usize = 8;

    #[inline(always)]
    fn len(page: &[u8], offset: usize, field: u16) -> Option<usize> {
        let value_len = usize::from(field & !REFERENCE);
        let at = offset + value_len;
        let raw = page.get(at..at + KEY_LEN_BYTES)?;
        Some(value_len + KEY_LEN_BYTES + usize::from(u16::from_le_bytes([raw[0], raw[1]])))
    }

    #[inline(always)]
    fn key(page: &[u8], offset: usize, field: u16) -> Option<&[u8]> {
        let at = offset + usize::from(field & !REFERENCE);
        let rest = page.get(at..)?;
        let (raw, rest) = rest.split_first_chunk::<KEY_LEN_BYTES>()?;
        rest.get(..usize::from(u16::from_le_bytes(*raw)))
    }

    fn is_sealed(page: &[u8], offset: usize, field: u16) -> bool {
        if field & REFERENCE == 0 {
            return true;
        }
        match value_at(page, offset, field) {
            Ok(ValueField::Inline(_)) => true,
            Ok(ValueField::Overflow(reference)) => reference.tag != 0,
            Ok(ValueField::Duplicates(field)) => DupField::decode(field).is_ok_and(|field| field.is_sealed()),
            Err(_) => false,
        }
    }
}

/// The length of a slot's value, or of its reference record.
#[inline(always)]
pub const fn inline_len(slot: Slot) -> usize {
    (slot.field & !REFERENCE) as usize
}

/// A value as a leaf holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueField<'p> {
    /// The value itself.
    Inline(&'p [u8]),
    /// Where the value lies.
    Overflow(OverflowRef),
    /// Several duplicates of a multimap: a reference record, see [`DupField::decode`].
    Duplicates(&'p [u8]),
}

const OUTSIDE: FormatError = FormatError::BadReference("it lies outside the page");

#[inline(always)]
fn value_at(page: &[u8], offset: usize, field: u16) -> Result<ValueField<'_>, FormatError> {
    let len = usize::from(field & !REFERENCE);
    let raw = page.get(offset..offset + len).ok_or(OUTSIDE)?;
    if field & REFERENCE == 0 {
        return Ok(ValueField::Inline(raw));
    }
    match raw.first() {
        Some(&(REF_KIND_SUB_PAGE | REF_KIND_TREE)) => Ok(ValueField::Duplicates(raw)),
        _ => OverflowRef::decode(raw).map(ValueField::Overflow),
    }
}

impl<'p> Node<'p, LeafCells> {
    /// The value of slot `index`.
    #[inline]
    pub fn value(&self, index: usize) -> Result<ValueField<'p>, FormatError> {
        let slot = self.slot(index)?;
        value_at(self.page(), usize::from(slot.offset), slot.field).map_err(|error| match error {
            OUTSIDE => FormatError::CellOutOfBounds { slot: index as u16 },
            other => other,
        })
    }
}

impl<'p> Node<'p, LeafCells> {
    /// The value of slot `index` if it stands in the leaf, and within it.
    #[inline(always)]
    pub fn inline_value(&self, index: usize) -> Option<&'p [u8]> {
        let slot = self.slot(index).ok()?;
        let at = usize::from(slot.offset);
        if slot.field & REFERENCE == 0 { self.page().get(at..at + usize::from(slot.field)) } else { None }
    }

    /// Key and value of slot `index`, if the value stands in the leaf and both within it. Not of a packed leaf.
    #[inline(always)]
    pub fn inline_pair(&self, index: usize) -> Option<(&'p [u8], &'p [u8])> {
        let slot = self.slotted(index).filter(|slot| slot.field & REFERENCE == 0)?;
        let at = usize::from(slot.offset);
        let value = self.page().get(at..at + usize::from(slot.field))?;
        Some((LeafCells::key(self.page(), at, slot.field)?, value))
    }
}

/// What is to be stored as a value field.
#[derive(Clone, Copy, Debug)]
pub enum NewValue<'v> {
    /// These bytes, inline.
    Inline(&'v [u8]),
    /// So many zero bytes, inline, to be written in place.
    Reserved(usize),
    /// A reference to an overflow run.
    Overflow(OverflowRef),
    /// Several duplicates of a multimap: a reference record.
    Duplicates(&'v [u8]),
}

impl NewValue<'_> {
    fn len(&self) -> usize {
        match self {
            NewValue::Inline(bytes) | NewValue::Duplicates(bytes) => bytes.len(),
            NewValue::Reserved(len) => *len,
            NewValue::Overflow(_) => OVERFLOW_REF_BYTES,
        }
    }

    fn field(&self) -> u16 {
        match self {
            NewValue::Overflow(_) | NewValue::Duplicates(_) => self.len() as u16 | REFERENCE,
            _ => self.len() as u16,
        }
    }

    /// Bytes of the cell that holds this value under a key of `key_len` bytes, rounded up.
    pub fn cell_len(&self, key_len: usize) -> usize {
        cell_len(key_len, self.len())
    }
}

/// Bytes of a leaf cell, rounded up.
pub fn cell_len(key_len: usize, value_len: usize) -> usize {
    (value_len + KEY_LEN_BYTES + key_len).next_multiple_of(LeafCells::ALIGN)
}

/// Whether a value of `value_len` bytes stands in the leaf itself.
pub fn is_inline(page_len: usize, key_len: usize, value_len: u64) -> bool {
    value_len <= page_len as u64 && cell_len(key_len, value_len as usize) <= cell_max(page_len)
}

impl<'p> NodeMut<'p, LeafCells> {
    /// Puts a pair in before slot `index` and answers where in the page the value field lies.
    ///
    /// The caller has asked [`NodeMut::fits`].
    pub fn insert_pair<O: crate::order::Order>(
        &mut self,
        order: O,
        index: usize,
        key: &[u8],
        value: &NewValue<'_>,
    ) -> Result<std::ops::Range<usize>, FormatError> {
        if let Some(mut packed) = self.packed() {
            return packed.insert(index, key);
        }
        let at = self.insert(order, index, key, value.field(), value.len() + KEY_LEN_BYTES + key.len())?;
        Ok(self.fill(at.start, key, value))
    }

    /// Gives the pair at `index` another value, and answers where in the page the value field lies.
    ///
    /// The caller has asked [`NodeMut::fits_resized`].
    pub fn replace_value(
        &mut self,
        index: usize,
        key: &[u8],
        value: &NewValue<'_>,
    ) -> Result<std::ops::Range<usize>, FormatError> {
        let at = self.resize(index, value.field(), value.len() + KEY_LEN_BYTES + key.len())?;
        Ok(self.fill(at.start, key, value))
    }

    /// Writes the tag of the overflow run that slot `index` refers to.
    pub fn set_overflow_tag(&mut self, index: usize, tag: u32) -> Result<(), FormatError> {
        let slot = self.node()?.slot(index)?;
        let field = usize::from(slot.offset)..usize::from(slot.offset) + OVERFLOW_REF_BYTES;
        let reference = OverflowRef { tag, ..OverflowRef::decode(&self.page_mut()[field.clone()])? };
        self.page_mut()[field].copy_from_slice(&reference.encode());
        Ok(())
    }

    /// Where in the page the value field of slot `index` lies.
    pub fn value_field(&self, index: usize) -> Result<std::ops::Range<usize>, FormatError> {
        let slot = self.node()?.slot(index)?;
        let start = usize::from(slot.offset);
        Ok(start..start + inline_len(slot))
    }

    fn fill(&mut self, start: usize, key: &[u8], value: &NewValue<'_>) -> std::ops::Range<usize> {
        let field = start..start + value.len();
        let page = self.page_mut();
        match value {
            NewValue::Inline(bytes) | NewValue::Duplicates(bytes) => {
                page[field.clone()].copy_from_slice(bytes)
            }
            NewValue::Reserved(_) => page[field.clone()].fill(0),
            NewValue::Overflow(reference) => page[field.clone()].copy_from_slice(&reference.encode()),
        }
        let (len, rest) = page[field.end..].split_at_mut(KEY_LEN_BYTES);
        len.copy_from_slice(&(key.len() as u16).to_le_bytes());
        rest[..key.len()].copy_from_slice(key);
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::PageHeader;
    use crate::ids::{Pgno, Txnid};
    use crate::node::capacity;
    use crate::order::Bytewise;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn empty() -> Vec<u8> {
        let mut page = vec![0xaa; 4096];
        PageHeader::new(Pgno::new(40).unwrap(), Kind::Leaf, 0, Txnid(1)).store(&mut page).unwrap();
        page
    }

    fn put(page: &mut [u8], key: &[u8], value: &[u8]) -> bool {
        let mut leaf = LeafMut::new(page);
        let at = leaf.node().unwrap().search_from(Bytewise, 0, key, 0).unwrap();
        let value = NewValue::Inline(value);
        let len = value.cell_len(key.len());
        if at.exact {
            if !leaf.fits_resized(at.index, len).unwrap() {
                return false;
            }
            leaf.replace_value(at.index, key, &value).unwrap();
        } else {
            if !leaf.fits(len) {
                return false;
            }
            leaf.insert_pair(Bytewise, at.index, key, &value).unwrap();
        }
        true
    }

    #[test]
    fn a_page_that_does_not_add_up_says_how() {
        type Change = fn(&mut [u8]);
        let table: [(Change, FormatError); 7] = [
            (|page| page[14] = 2, FormatError::WrongKind { found: 2 }),
            (
                |page| page[24..26].copy_from_slice(&600u16.to_le_bytes()),
                FormatError::SlotOutOfBounds { slot: 600 },
            ),
            (
                |page| page[44..46].copy_from_slice(&8u16.to_le_bytes()),
                FormatError::CellOutOfBounds { slot: 1 },
            ),
            (|page| page[30] = 8, FormatError::HeapMismatch),
            (|page| page[28..30].copy_from_slice(&4090u16.to_le_bytes()), FormatError::HeapMismatch),
            (|page| page[32..48].rotate_left(8), FormatError::KeyOrder { slot: 1 }),
            (|page| page[40] ^= 1, FormatError::WrongHead { slot: 1 }),
        ];
        for (change, fault) in table {
            let mut page = empty();
            LeafMut::new(&mut page).clear();
            for key in ["ada", "grace", "mary"] {
                assert!(put(&mut page, key.as_bytes(), b"1"));
            }
            change(&mut page);
            assert_eq!(Leaf::validate(Bytewise, &page).map(|_| ()), Err(fault));
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn a_leaf_is_a_sorted_map_until_it_is_full(
            ops in prop::collection::vec(
                (prop::collection::vec(0u8..3, 0..12), prop::collection::vec(any::<u8>(), 0..300), 0u8..4), 1..200),
        ) {
            let mut page = empty();
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (key, value, op) in ops {
                if op == 0 {
                    let mut leaf = LeafMut::new(&mut page);
                    let at = leaf.node().unwrap().search_from(Bytewise, 0, &key, 0).unwrap();
                    prop_assert_eq!(at.exact, model.remove(&key).is_some());
                    if at.exact {
                        leaf.remove(at.index).unwrap();
                    }
                } else if put(&mut page, &key, &value) {
                    model.insert(key, value);
                }
                let leaf = Leaf::validate(Bytewise, &page).unwrap();
                prop_assert_eq!(leaf.len(), model.len());
                prop_assert!(leaf.used() <= capacity(4096));
                for (index, (key, value)) in model.iter().enumerate() {
                    prop_assert_eq!(leaf.key(index).unwrap(), &key[..]);
                    let ValueField::Inline(found) = leaf.value(index).unwrap() else { panic!("inline") };
                    prop_assert_eq!(found, &value[..]);
                    prop_assert_eq!(found.as_ptr() as usize % 8, page.as_ptr() as usize % 8);
                }
            }
        }

        #[test]
        fn any_bytes_are_searched_without_a_panic(
            mut page in prop::collection::vec(any::<u8>(), 4096),
            count in 0u16..600,
            key: Vec<u8>,
            implied in 0usize..20,
        ) {
            page[14] = Kind::Leaf as u8;
            page[24..26].copy_from_slice(&count.to_le_bytes());
            if let Ok(leaf) = Leaf::view(&page) {
                let _ = leaf.search_from(Bytewise, 0, &key, implied);
                for index in 0..leaf.len() {
                    let _ = (leaf.key(index), leaf.value(index), leaf.cell(index));
                }
            }
            let _ = Leaf::validate(Bytewise, &page);
        }
    }

    #[test]
    fn many_equal_heads_are_still_found() {
        let mut page = empty();
        // Heads agree on the four bytes after the prefix; only the fifth differs.
        for n in 0..60u8 {
            assert!(put(&mut page, &[b'p', 1, 2, 3, 4, n], &[n]));
        }
        assert!(put(&mut page, b"q", b"other"));
        let leaf = Leaf::validate(Bytewise, &page).unwrap();
        for n in 0..60u8 {
            let at = leaf.search_from(Bytewise, 0, &[b'p', 1, 2, 3, 4, n], 0).unwrap();
            assert_eq!((at.index, at.exact), (usize::from(n), true));
        }
    }
}
