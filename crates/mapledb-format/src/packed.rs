//! Packed leaves: keys of one length, one behind the other, without values.
//!
//! ```text
//!  0         32                                                   page end
//!  | header  | key 0 | key 1 | … | key n-1 |          gap          |
//! ```
//!
//! The header's `count` says how many there are and its `prefix_len` how long each is; `heap_len` and `dead` are 0. There are
//! no slots and no heads: with keys of one length the place of each is known, and a page of them is one slice. The
//! duplicates of a multimap stand so if they have one length.

use std::cmp::Ordering;

use crate::error::FormatError;
use crate::header::{COUNT_AT, HEADER_BYTES, KIND_AT, Kind, PREFIX_LEN_AT as KEY_LEN_AT, kind_of};
use crate::node::{Position, capacity, key_max, u16_at};
use crate::order::Order;

/// A page read as a packed leaf.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'p> {
    keys: &'p [u8],
    key_len: usize,
}

impl<'p> Packed<'p> {
    /// Reads `page` as a packed leaf. Checks that its keys have a length and lie within the page.
    pub fn view(page: &'p [u8]) -> Result<Packed<'p>, FormatError> {
        if kind_of(page) != Kind::Packed as u8 {
            return Err(FormatError::WrongKind { found: kind_of(page) });
        }
        let (count, key_len) = (usize::from(u16_at(page, COUNT_AT)), usize::from(u16_at(page, KEY_LEN_AT)));
        match page.get(HEADER_BYTES..HEADER_BYTES + count * key_len) {
            Some(keys) if key_len > 0 => Ok(Packed { keys, key_len }),
            _ => Err(FormatError::SlotOutOfBounds { slot: count as u16 }),
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len() / self.key_len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The length of each key in bytes.
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// All keys, one behind the other.
    pub fn keys(&self) -> &'p [u8] {
        self.keys
    }

    /// Key `index`.
    pub fn key(&self, index: usize) -> Result<&'p [u8], FormatError> {
        let at = index * self.key_len;
        self.keys.get(at..at + self.key_len).ok_or(FormatError::SlotOutOfBounds { slot: index as u16 })
    }

    /// Where in the page key `index` lies.
    pub(crate) fn offset(&self, index: usize) -> usize {
        HEADER_BYTES + index * self.key_len
    }

    /// Where `key` is or would go among the keys from `from` on.
    pub(crate) fn search(&self, order: impl Order, from: usize, key: &[u8]) -> Result<Position, FormatError> {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match order.compare(self.key(middle)?, key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Position { index: middle, exact: true }),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Position { index: low, exact: false })
    }

    /// Checks that the keys have a legal length and ascend. `page_len` is the length of a page of the file.
    pub(crate) fn validate(&self, order: impl Order, page_len: usize) -> Result<(), FormatError> {
        if self.key_len > key_max(page_len) {
            return Err(FormatError::CellOutOfBounds { slot: 0 });
        }
        for (index, pair) in
            self.keys.chunks_exact(self.key_len).zip(self.keys.chunks_exact(self.key_len).skip(1)).enumerate()
        {
            if order.compare(pair.0, pair.1) != Ordering::Less {
                return Err(FormatError::KeyOrder { slot: index as u16 + 1 });
            }
        }
        Ok(())
    }
}

/// A packed leaf that may be changed: one that was validated, or made by [`PackedMut::format`].
pub struct PackedMut<'p> {
    page: &'p mut [u8],
}

impl<'p> PackedMut<'p> {
    /// Takes a packed leaf.
    pub fn new(page: &'p mut [u8]) -> PackedMut<'p> {
        PackedMut { page }
    }

    /// Makes a page an empty packed leaf for keys of `key_len` bytes, keeping what the header says of number and txnid.
    pub fn format(page: &'p mut [u8], key_len: u16) -> PackedMut<'p> {
        page[KIND_AT] = Kind::Packed as u8;
        page[COUNT_AT..HEADER_BYTES].fill(0);
        page[KEY_LEN_AT..KEY_LEN_AT + 2].copy_from_slice(&key_len.to_le_bytes());
        PackedMut { page }
    }

    fn count(&self) -> usize {
        usize::from(u16_at(self.page, COUNT_AT))
    }

    fn key_len(&self) -> usize {
        usize::from(u16_at(self.page, KEY_LEN_AT))
    }

    fn set_count(&mut self, count: usize) {
        self.page[COUNT_AT..COUNT_AT + 2].copy_from_slice(&(count as u16).to_le_bytes());
    }

    fn at(&self, index: usize) -> usize {
        HEADER_BYTES + index * self.key_len()
    }

    /// Takes all keys out.
    pub fn clear(&mut self) {
        self.set_count(0);
    }

    /// Whether one more key fits.
    pub fn fits(&self) -> bool {
        (self.count() + 1) * self.key_len() <= capacity(self.page.len())
    }

    /// Puts `key` in before key `index`; answers where in the page. The caller has asked [`PackedMut::fits`].
    pub fn insert(&mut self, index: usize, key: &[u8]) -> Result<std::ops::Range<usize>, FormatError> {
        let (count, key_len) = (self.count(), self.key_len());
        if key.len() != key_len || index > count || !self.fits() {
            return Err(FormatError::CellOutOfBounds { slot: index as u16 });
        }
        let (at, end) = (self.at(index), self.at(count));
        self.page.copy_within(at..end, at + key_len);
        self.page[at..at + key_len].copy_from_slice(key);
        self.set_count(count + 1);
        Ok(at..at + key_len)
    }

    /// Takes key `index` out.
    pub fn remove(&mut self, index: usize) -> Result<(), FormatError> {
        let count = self.count();
        if index >= count {
            return Err(FormatError::SlotOutOfBounds { slot: index as u16 });
        }
        let (next, end, at) = (self.at(index + 1), self.at(count), self.at(index));
        self.page.copy_within(next..end, at);
        self.set_count(count - 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::PageHeader;
    use crate::ids::{Pgno, Txnid};
    use crate::leaf::{Leaf, LeafMut, NewValue, ValueField};
    use crate::order::{Bytewise, Integer};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn empty(key_len: u16) -> Vec<u8> {
        let mut page = vec![0xaa; 4096];
        PageHeader::new(Pgno::new(40).unwrap(), Kind::Leaf, 0, Txnid(1)).store(&mut page).unwrap();
        PackedMut::format(&mut page, key_len);
        page
    }

    #[test]
    fn a_packed_page_that_does_not_add_up_says_how() {
        type Change = fn(&mut [u8]);
        let table: [(Change, FormatError); 4] = [
            (
                |page| page[24..26].copy_from_slice(&600u16.to_le_bytes()),
                FormatError::SlotOutOfBounds { slot: 600 },
            ),
            (|page| page[26] = 0, FormatError::SlotOutOfBounds { slot: 3 }),
            (|page| page[32..48].rotate_left(8), FormatError::KeyOrder { slot: 1 }),
            (
                |page| {
                    page[24..26].copy_from_slice(&1u16.to_le_bytes());
                    page[26..28].copy_from_slice(&1025u16.to_le_bytes());
                },
                FormatError::CellOutOfBounds { slot: 0 },
            ),
        ];
        for (change, fault) in table {
            let mut page = empty(8);
            for (index, key) in [1u64, 2, 3].into_iter().enumerate() {
                PackedMut::new(&mut page).insert(index, &key.to_be_bytes()).unwrap();
            }
            change(&mut page);
            assert_eq!(Leaf::validate(Bytewise, &page).map(|_| ()), Err(fault));
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn a_packed_leaf_is_a_sorted_set_until_it_is_full(ops in prop::collection::vec((0u64..400, any::<bool>()), 1..900)) {
            let mut page = empty(8);
            let mut model = BTreeSet::new();
            for (key, is_in) in ops {
                let bytes = key.to_le_bytes();
                let at = Leaf::view(&page).unwrap().search_from(Integer, 0, &bytes, 0).unwrap();
                prop_assert_eq!(at.exact, model.contains(&key));
                let mut leaf = LeafMut::new(&mut page);
                if is_in && !at.exact && leaf.fits(0) {
                    leaf.insert_pair(Integer, at.index, &bytes, &NewValue::Inline(&[])).unwrap();
                    model.insert(key);
                } else if !is_in && at.exact {
                    leaf.remove(at.index).unwrap();
                    model.remove(&key);
                }
            }
            let leaf = Leaf::validate(Integer, &page).unwrap();
            prop_assert!(leaf.is_packed());
            prop_assert_eq!((leaf.len(), leaf.used()), (model.len(), 8 * model.len()));
            for (index, key) in model.iter().enumerate() {
                prop_assert_eq!(leaf.key(index).unwrap(), &key.to_le_bytes()[..]);
                prop_assert_eq!(leaf.cell(index).unwrap(), &key.to_le_bytes()[..]);
                prop_assert_eq!(leaf.value(index).unwrap(), ValueField::Inline(&[]));
            }
            prop_assert_eq!(leaf.key(model.len()), Err(FormatError::SlotOutOfBounds { slot: model.len() as u16 }));
        }

        #[test]
        fn any_bytes_are_searched_without_a_panic(
            mut page in prop::collection::vec(any::<u8>(), 4096),
            count in 0u16..600,
            key_len in 0u16..40,
            key: Vec<u8>,
        ) {
            page[KIND_AT] = Kind::Packed as u8;
            page[COUNT_AT..COUNT_AT + 2].copy_from_slice(&count.to_le_bytes());
            page[KEY_LEN_AT..KEY_LEN_AT + 2].copy_from_slice(&key_len.to_le_bytes());
            if let Ok(leaf) = Leaf::view(&page) {
                let _ = leaf.search_from(Bytewise, 0, &key, 9);
                for index in 0..leaf.len() {
                    let _ = (leaf.key(index), leaf.value(index), leaf.cell(index));
                }
            }
            let _ = Leaf::validate(Bytewise, &page);
        }
    }
}
