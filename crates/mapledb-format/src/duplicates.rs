//! The duplicates of one key, as the value field of a multimap's leaf: one as it is, few in a sub-page, many in a tree.
//!
//! ```text
//! one:   the duplicate itself, inline
//!
//! few:   a reference record that is a sub-page: a leaf, or a packed leaf, of its own length
//!         0  kind        u8   2
//!         1  reserved    13
//!        14  ...              as in a page's header from here on, level and txnid 0; then what a leaf holds
//!
//! many:  a reference record to a tree
//!         0  kind        u8   3
//!         1  reserved    7
//!         8  tree record 64
//! ```
//!
//! Duplicates are keys without values, in a sub-page as in a tree: a sub-page is the leaf that the tree would begin with, and
//! node code reads and changes both. It ends at a multiple of 8, and is at most a quarter of the page that holds it
//! ([`sub_page_max`]), so that leaves are cut as any.

use crate::error::FormatError;
use crate::fields::get;
use crate::header::{COUNT_AT, HEADER_BYTES, KIND_AT, Kind, PREFIX_LEN_AT};
use crate::leaf::{Leaf, LeafMut, NewValue, is_inline};
use crate::node::u16_at;
use crate::order::Order;
use crate::packed::PackedMut;
use crate::tree_record::{TREE_RECORD_BYTES, TreeRecord};

/// The first byte of a reference record that is a sub-page.
pub const REF_KIND_SUB_PAGE: u8 = 2;
/// The first byte of a reference record that leads to a tree.
pub const REF_KIND_TREE: u8 = 3;
/// The length of a reference to a tree in bytes.
pub const TREE_REF_BYTES: usize = 8 + TREE_RECORD_BYTES;

/// The longest sub-page in bytes.
pub const fn sub_page_max(page_len: usize) -> usize {
    page_len / 4
}

/// What a reference record of a multimap leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DupField<'p> {
    /// A sub-page.
    SubPage(&'p [u8]),
    /// A tree.
    Tree(TreeRecord),
}

impl<'p> DupField<'p> {
    /// Reads a reference record. What is in a sub-page is not looked at.
    pub fn decode(field: &'p [u8]) -> Result<DupField<'p>, FormatError> {
        match field.first() {
            Some(&REF_KIND_SUB_PAGE) if field.len() >= HEADER_BYTES => Ok(DupField::SubPage(field)),
            Some(&REF_KIND_TREE) => match field.split_first_chunk::<8>() {
                Some((_, record)) if record.len() == TREE_RECORD_BYTES => {
                    let tree = TreeRecord::decode(&get::<8, TREE_RECORD_BYTES, _>(
                        <&[u8; TREE_REF_BYTES]>::try_from(field).map_err(|_| CUT)?,
                    ))?;
                    Ok(DupField::Tree(tree))
                }
                _ => Err(CUT),
            },
            _ => Err(FormatError::BadReference("its kind is not known")),
        }
    }

    /// How many duplicates there are.
    pub fn count(&self) -> u64 {
        match self {
            DupField::SubPage(page) => u64::from(u16_at(page, COUNT_AT)),
            DupField::Tree(tree) => tree.entries,
        }
    }

    /// Whether it may stand in a sealed page.
    pub fn is_sealed(&self) -> bool {
        match self {
            DupField::SubPage(_) => true,
            DupField::Tree(tree) => tree.is_sealed(),
        }
    }
}

const CUT: FormatError = FormatError::BadReference("it is not 72 bytes long");

/// The reference to a tree of duplicates.
pub fn tree_ref(tree: &TreeRecord) -> [u8; TREE_REF_BYTES] {
    let mut field = [0; TREE_REF_BYTES];
    field[0] = REF_KIND_TREE;
    field[8..].copy_from_slice(&tree.encode());
    field
}

/// An empty sub-page of `len` bytes, a multiple of 8; its duplicates are of `key_len` bytes each unless that is 0.
pub fn new_sub_page(len: usize, key_len: u16) -> Vec<u8> {
    let mut page = vec![0; len];
    page[0] = REF_KIND_SUB_PAGE;
    match key_len {
        0 => LeafMut::new(&mut page).clear(),
        key_len => drop(PackedMut::format(&mut page, key_len)),
    }
    page
}

/// Bytes that a duplicate takes in a sub-page or the leaf of a tree, slot included.
pub fn dup_bytes(dup_len: usize, is_packed: bool) -> usize {
    if is_packed { dup_len } else { NewValue::Inline(&[]).cell_len(dup_len) + crate::node::SLOT_BYTES }
}

/// The length of a sub-page whose duplicates take `used` bytes; `None` if no sub-page of a file with pages of `page_len`
/// bytes, under a key of `key_len` bytes, can hold them.
pub fn sub_page_len(page_len: usize, key_len: usize, used: usize) -> Option<usize> {
    let len = (HEADER_BYTES + used).next_multiple_of(8);
    (len <= sub_page_max(page_len) && is_inline(page_len, key_len, len as u64)).then_some(len)
}

/// As [`sub_page_len`], with room for an eighth more if there can be, so that not each duplicate moves the whole.
pub fn roomy_sub_page_len(page_len: usize, key_len: usize, used: usize) -> Option<usize> {
    sub_page_len(page_len, key_len, used + used / 8).or_else(|| sub_page_len(page_len, key_len, used))
}

/// Whether a sub-page is sound: as [`Leaf::validate`] says, with what its header leaves out left out, of keys as long as
/// `key_len` says. `page_len` is the length of the page that holds it.
pub fn validate_sub_page<O: Order>(
    order: O,
    page: &[u8],
    key_len: u16,
    page_len: usize,
) -> Result<Leaf<'_>, FormatError> {
    let expected = if key_len == 0 { Kind::Leaf } else { Kind::Packed };
    let found = page.get(KIND_AT).copied().unwrap_or(0);
    if found != expected as u8 {
        return Err(FormatError::WrongKind { found });
    }
    if expected == Kind::Packed && u16_at(page, PREFIX_LEN_AT) != key_len {
        return Err(FormatError::BadReference("its duplicates are of another length"));
    }
    if !page.len().is_multiple_of(8) || page.len() > sub_page_max(page_len) {
        return Err(FormatError::BadReference("no sub-page has such a length"));
    }
    let leaf = Leaf::validate_in(order, page, page_len)?;
    if leaf.len() < 2 {
        return Err(FormatError::BadReference("a sub-page of fewer than two duplicates"));
    }
    Ok(leaf)
}
