//! One page in memory, and the nodes on it. Every offset that it names is checked before it is followed.

use crate::error::Fault;
use crate::layout::{Format, TREE_LEN, Tree, node_flag, page_flag, u16_at, u32_at, u64_at};

/// Bytes of a node before its key.
const NODE_LEN: usize = 8;

/// A page of a tree, or a page inside a node.
#[derive(Debug)]
pub struct Page {
    format: Format,
    bytes: Vec<u8>,
    /// The page whose damage it would be.
    pub number: u64,
    /// Its entries.
    pub count: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Branch,
    Leaf,
    /// Duplicates of one size, one behind the other.
    Packed(usize),
}

/// What a leaf holds under one key.
#[derive(Debug)]
pub enum Value<'p> {
    /// A value.
    Here(&'p [u8]),
    /// A value on pages of its own.
    Long {
        /// The first of them.
        page: u64,
        /// How many, where the format says.
        pages: Option<u64>,
        /// Bytes of the value.
        len: u32,
    },
    /// Several values, on a page inside the node.
    Inside(&'p [u8]),
    /// Several values, in a tree.
    Duplicates(Tree),
    /// A named database.
    Database(Tree),
}

impl Page {
    /// The page that was read at this number, which belongs into a tree.
    pub fn of_tree(format: Format, number: u64, bytes: Vec<u8>) -> Result<Page, Fault> {
        let named = u64_at(&bytes, 0);
        if named != number {
            return Err(Fault::Misplaced(named));
        }
        match flags_of(format, &bytes) & page_flag::KINDS {
            page_flag::BRANCH => Page::with_slots(format, number, bytes, Kind::Branch),
            page_flag::LEAF => Page::with_slots(format, number, bytes, Kind::Leaf),
            flags if flags == page_flag::LEAF | page_flag::PACKED => Page::packed(format, number, bytes),
            flags => Err(Fault::Kind { flags, wanted: "a branch or a leaf" }),
        }
    }

    /// A page inside a node of page `number`.
    pub fn inside(format: Format, number: u64, bytes: Vec<u8>) -> Result<Page, Fault> {
        const INSIDE: u16 = page_flag::LEAF | page_flag::INSIDE;
        const PACKED_INSIDE: u16 = INSIDE | page_flag::PACKED;
        match flags_of(format, &bytes) & page_flag::KINDS {
            INSIDE => Page::with_slots(format, number, bytes, Kind::Leaf),
            PACKED_INSIDE => Page::packed(format, number, bytes),
            flags => Err(Fault::Kind { flags, wanted: "a page inside a node" }),
        }
    }

    fn with_slots(format: Format, number: u64, bytes: Vec<u8>, kind: Kind) -> Result<Page, Fault> {
        let (lower, upper) = bounds(format, &bytes);
        let end = bytes.len().saturating_sub(format.base());
        let count = count(format, lower).filter(|_| lower <= upper && usize::from(upper) <= end);
        let count = count.ok_or(Fault::Bounds { lower, upper })?;
        Ok(Page { format, bytes, number, count, kind })
    }

    fn packed(format: Format, number: u64, bytes: Vec<u8>) -> Result<Page, Fault> {
        let (lower, upper) = bounds(format, &bytes);
        let size = usize::from(u16_at(&bytes, format.fields_at()));
        if size == 0 {
            return Err(Fault::DuplicateSize(0));
        }
        let room = bytes.len().saturating_sub(format.header_len());
        let count = count(format, lower).filter(|count| count.saturating_mul(size) <= room);
        let count = count.ok_or(Fault::Bounds { lower, upper })?;
        Ok(Page { format, bytes, number, count, kind: Kind::Packed(size) })
    }

    /// Whether it leads to other pages.
    pub fn is_branch(&self) -> bool {
        self.kind == Kind::Branch
    }

    /// The size of its packed duplicates, if it holds such.
    pub fn packed_len(&self) -> Option<usize> {
        match self.kind {
            Kind::Packed(size) => Some(size),
            _ => None,
        }
    }

    /// The child that entry `index` of a branch leads to.
    pub fn child(&self, index: usize) -> Result<u64, Fault> {
        let node = self.node(index)?;
        let (low, high, top) = (u16_at(node, 0), u16_at(node, 2), u16_at(node, 4));
        Ok(u64::from(low) | u64::from(high) << 16 | u64::from(top) << 32)
    }

    /// The key of entry `index` of a leaf; in one of duplicates, the duplicate.
    pub fn key(&self, index: usize) -> Result<&[u8], Fault> {
        if let Kind::Packed(size) = self.kind {
            let at = self.format.header_len() + index * size;
            return self.bytes.get(at..at + size).ok_or(Fault::Node(index));
        }
        let node = self.node(index)?;
        node.get(NODE_LEN..NODE_LEN + key_len(node)).ok_or(Fault::Node(index))
    }

    /// What a leaf that is not packed holds at entry `index`.
    pub fn value(&self, index: usize) -> Result<Value<'_>, Fault> {
        const TREE_OF_DUPLICATES: u16 = node_flag::TREE | node_flag::DUPLICATES;
        if let Kind::Packed(size) = self.kind {
            return Err(Fault::DuplicateSize(u32::try_from(size).unwrap_or(u32::MAX)));
        }
        let node = self.node(index)?;
        let len = u32::from(u16_at(node, 0)) | u32::from(u16_at(node, 2)) << 16;
        let flags = u16_at(node, 4);
        if flags == node_flag::LONG {
            return self.long(index, node, len);
        }
        let value = self.in_node(index, node, usize::try_from(len).unwrap_or(usize::MAX))?;
        match flags {
            0 => Ok(Value::Here(value)),
            node_flag::DUPLICATES => Ok(Value::Inside(value)),
            node_flag::TREE => Ok(Value::Database(tree(index, value)?)),
            TREE_OF_DUPLICATES => Ok(Value::Duplicates(tree(index, value)?)),
            flags => Err(Fault::NodeFlags { index, flags }),
        }
    }

    fn long(&self, index: usize, node: &[u8], len: u32) -> Result<Value<'_>, Fault> {
        if self.format == Format::V1 {
            let reference = self.in_node(index, node, 8)?;
            return Ok(Value::Long { page: u64_at(reference, 0), pages: None, len });
        }
        let reference = self.in_node(index, node, 24)?;
        Ok(Value::Long { page: u64_at(reference, 0), pages: Some(u64_at(reference, 16)), len })
    }

    /// The bytes from where entry `index` begins to the end of the page.
    fn node(&self, index: usize) -> Result<&[u8], Fault> {
        let slot = self.format.header_len() + 2 * index;
        let slots_end = self.format.header_len() + 2 * self.count;
        let at = usize::from(u16_at(&self.bytes, slot)) + self.format.base();
        let node = self.bytes.get(at..).filter(|node| at >= slots_end && node.len() >= NODE_LEN);
        node.ok_or(Fault::Node(index))
    }

    /// So many bytes behind a node's key.
    fn in_node<'p>(&'p self, index: usize, node: &[u8], len: usize) -> Result<&'p [u8], Fault> {
        let in_page = self.bytes.len() - node.len();
        let at = in_page + NODE_LEN + self.format.key_room(key_len(node));
        self.bytes.get(at..at.saturating_add(len)).ok_or(Fault::Node(index))
    }
}

/// The number of pages of a long value whose first page this is.
pub fn overflow_pages(format: Format, number: u64, header: &[u8]) -> Result<u64, Fault> {
    let named = u64_at(header, 0);
    if named != number {
        return Err(Fault::Misplaced(named));
    }
    match flags_of(format, header) & page_flag::KINDS {
        page_flag::OVERFLOW => Ok(u64::from(u32_at(header, format.fields_at() + 4))),
        flags => Err(Fault::Kind { flags, wanted: "a long value" }),
    }
}

fn flags_of(format: Format, page: &[u8]) -> u16 {
    u16_at(page, format.fields_at() + 2)
}

fn bounds(format: Format, page: &[u8]) -> (u16, u16) {
    (u16_at(page, format.fields_at() + 4), u16_at(page, format.fields_at() + 6))
}

/// How many slots end at `lower`.
fn count(format: Format, lower: u16) -> Option<usize> {
    let slots = usize::from(lower).checked_sub(format.header_len() - format.base())?;
    slots.is_multiple_of(2).then_some(slots / 2)
}

fn key_len(node: &[u8]) -> usize {
    usize::from(u16_at(node, 6))
}

fn tree(index: usize, record: &[u8]) -> Result<Tree, Fault> {
    if record.len() != TREE_LEN {
        return Err(Fault::TreeRecord { index, len: record.len() });
    }
    Tree::parse(record)
}
