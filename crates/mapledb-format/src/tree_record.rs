//! The small records that trees hang on: one that a tree is, one that a named table is.
//!
//! ```text
//! tree record, 64 bytes
//!  0  root            u48  0 in an empty tree
//!  6  depth           u8   0 in an empty tree, 1 where the root is a leaf
//!  7  order           u8   0 bytewise, 1 reverse, 2 integer, 255 named
//!  8  root tag        u32  of the root's checksum, 0 while unsealed
//! 12  flags           u32  1 multimap, 2 fixed_len holds
//! 16  entries         u64
//! 24  leaf_pages      u64
//! 32  branch_pages    u64
//! 40  overflow_pages  u64
//! 48  fixed_len       u16  the one length of the duplicates of a multimap, else of all keys, which are packed
//! 50  dup_order       u8   the order of a multimap's duplicates
//! 51  reserved        13
//!
//! table record: the value of a table's name in the catalog
//!  0  tree record     64
//! 64  sequence        u64
//! 72  attr_count      u16
//! 74  attributes: id u16, len u16, len bytes; ascending by the low 15 bits of the id
//! ```
//!
//! Attribute ids: 1 the name of the key's type, 2 of the value's type, 3 of the order, 4 of the order of the duplicates. The last two
//! are there exactly if the order they name is 255. Bit 15 of an id
//! asks whoever does not know the attribute to leave the table alone; others are kept as they are.

use crate::fields::{get, get_u16, get_u32, get_u64, put, put_u16, put_u32, put_u64};
use crate::ids::Pgno;
use crate::{FormatError, Result};

/// The length of a tree record in bytes.
pub const TREE_RECORD_BYTES: usize = 64;
/// The deepest tree: three cells to a page reach 2^48 pages in 31 levels.
pub const DEPTH_MAX: u8 = 32;
/// The attribute that names the key's type.
pub const ATTR_KEY_TYPE: u16 = 1;
/// The attribute that names the value's type.
pub const ATTR_VALUE_TYPE: u16 = 2;
/// The attribute that names the order.
pub const ATTR_ORDER_NAME: u16 = 3;
/// The attribute that names the order of the duplicates.
pub const ATTR_DUP_ORDER_NAME: u16 = 4;
/// The bit of an attribute's id that says it must be understood.
pub const ATTR_MUST_UNDERSTAND: u16 = 1 << 15;

const ROOT_AT: usize = 0;
const DEPTH_AT: usize = 6;
const ORDER_AT: usize = 7;
const ROOT_TAG_AT: usize = 8;
const FLAGS_AT: usize = 12;
const ENTRIES_AT: usize = 16;
const LEAF_PAGES_AT: usize = 24;
const BRANCH_PAGES_AT: usize = 32;
const OVERFLOW_PAGES_AT: usize = 40;
const FIXED_LEN_AT: usize = 48;
const DUP_ORDER_AT: usize = 50;
const FLAG_MULTIMAP: u32 = 1;
const FLAG_FIXED: u32 = 2;
const TABLE_FIXED_BYTES: usize = 74;

const _: () = assert!(ROOT_AT + 6 == DEPTH_AT && ORDER_AT + 1 == ROOT_TAG_AT && FLAGS_AT + 4 == ENTRIES_AT);
const _: () = assert!(OVERFLOW_PAGES_AT + 8 + 16 == TREE_RECORD_BYTES);

/// The order of a tree's keys, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum OrderId {
    /// By bytes, shorter first.
    #[default]
    Bytewise = 0,
    /// By bytes, from the last.
    Reverse = 1,
    /// As native integers.
    Integer = 2,
    /// By an order the user names.
    Named = 255,
}

impl OrderId {
    /// The order of an order byte, or `None` if there is none.
    pub const fn from_byte(byte: u8) -> Option<OrderId> {
        match byte {
            0 => Some(OrderId::Bytewise),
            1 => Some(OrderId::Reverse),
            2 => Some(OrderId::Integer),
            255 => Some(OrderId::Named),
            _ => None,
        }
    }
}

/// What a multimap's duplicates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Duplicates {
    /// Their order.
    pub order: OrderId,
    /// The one length in bytes that all of them have; 0 if they may be of any.
    pub len: u16,
}

impl Duplicates {
    /// A tree for the duplicates of one key, with none in it.
    pub const fn tree(self) -> TreeRecord {
        TreeRecord { key_len: self.len, ..TreeRecord::empty(self.order) }
    }
}

/// All that a tree knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeRecord {
    /// The root page, [`Pgno::NONE`] in an empty tree.
    pub root: Pgno,
    /// Levels: 0 in an empty tree, 1 where the root is a leaf.
    pub depth: u8,
    /// The order of the keys.
    pub order: OrderId,
    /// The tag of the root's checksum, 0 while the root is not sealed.
    pub root_tag: u32,
    /// Pairs.
    pub entries: u64,
    /// Leaves.
    pub leaf_pages: u64,
    /// Branches.
    pub branch_pages: u64,
    /// Pages of overflow runs; in a multimap those of the trees of its duplicates.
    pub overflow_pages: u64,
    /// What the duplicates are if this is a multimap.
    pub duplicates: Option<Duplicates>,
    /// The length of the keys in bytes if they are all of one, have no values, and stand in packed leaves; else 0.
    pub key_len: u16,
}

impl TreeRecord {
    /// An empty tree in `order`.
    pub const fn empty(order: OrderId) -> TreeRecord {
        TreeRecord {
            root: Pgno::NONE,
            depth: 0,
            order,
            root_tag: 0,
            entries: 0,
            leaf_pages: 0,
            branch_pages: 0,
            overflow_pages: 0,
            duplicates: None,
            key_len: 0,
        }
    }

    /// An empty multimap whose keys are in `order`.
    pub const fn multimap(order: OrderId, duplicates: Duplicates) -> TreeRecord {
        TreeRecord { duplicates: Some(duplicates), ..TreeRecord::empty(order) }
    }

    /// The same tree with nothing in it.
    pub const fn emptied(&self) -> TreeRecord {
        TreeRecord { duplicates: self.duplicates, key_len: self.key_len, ..TreeRecord::empty(self.order) }
    }

    fn flags(&self) -> u32 {
        let is_multimap = if self.duplicates.is_some() { FLAG_MULTIMAP } else { 0 };
        is_multimap | if self.fixed_len() > 0 { FLAG_FIXED } else { 0 }
    }

    fn fixed_len(&self) -> u16 {
        self.duplicates.map_or(self.key_len, |duplicates| duplicates.len)
    }

    /// Whether the tree has no page.
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether the root, if there is one, is sealed.
    pub const fn is_sealed(&self) -> bool {
        self.is_empty() || self.root_tag != 0
    }

    /// The pages of the tree, its values' runs included. Saturates, as a file may say anything.
    pub const fn pages(&self) -> u64 {
        self.leaf_pages.saturating_add(self.branch_pages).saturating_add(self.overflow_pages)
    }

    /// The record's bytes.
    pub fn encode(&self) -> [u8; TREE_RECORD_BYTES] {
        let mut record = [0; TREE_RECORD_BYTES];
        put::<ROOT_AT, 6, _>(&mut record, self.root.to_le_bytes());
        record[DEPTH_AT] = self.depth;
        record[ORDER_AT] = self.order as u8;
        put_u32::<ROOT_TAG_AT, _>(&mut record, self.root_tag);
        put_u64::<ENTRIES_AT, _>(&mut record, self.entries);
        put_u64::<LEAF_PAGES_AT, _>(&mut record, self.leaf_pages);
        put_u64::<BRANCH_PAGES_AT, _>(&mut record, self.branch_pages);
        put_u64::<OVERFLOW_PAGES_AT, _>(&mut record, self.overflow_pages);
        put_u32::<FLAGS_AT, _>(&mut record, self.flags());
        put_u16::<FIXED_LEN_AT, _>(&mut record, self.fixed_len());
        record[DUP_ORDER_AT] = self.duplicates.map_or(0, |duplicates| duplicates.order as u8);
        record
    }

    /// Reads a record. Root, depth and counts must agree on whether the tree is empty.
    pub fn decode(record: &[u8; TREE_RECORD_BYTES]) -> Result<TreeRecord> {
        let bad = |why| Err(FormatError::BadTreeRecord(why));
        let Some(order) = OrderId::from_byte(record[ORDER_AT]) else {
            return bad("its order is not known");
        };
        let (flags, fixed_len) = (get_u32::<FLAGS_AT, _>(record), get_u16::<FIXED_LEN_AT, _>(record));
        if flags & !(FLAG_MULTIMAP | FLAG_FIXED) != 0 {
            return bad("its flags are not known");
        }
        if (flags & FLAG_FIXED != 0) != (fixed_len > 0) {
            return bad("flags and length disagree on whether its keys or duplicates have one length");
        }
        let is_multimap = flags & FLAG_MULTIMAP != 0;
        let dup_order = match OrderId::from_byte(record[DUP_ORDER_AT]) {
            Some(order) if is_multimap || order == OrderId::Bytewise => order,
            _ => return bad("the order of its duplicates is not known"),
        };
        let tree = TreeRecord {
            duplicates: is_multimap.then_some(Duplicates { order: dup_order, len: fixed_len }),
            key_len: if is_multimap { 0 } else { fixed_len },
            root: Pgno::from_le_bytes(get::<ROOT_AT, 6, _>(record)),
            depth: record[DEPTH_AT],
            order,
            root_tag: get_u32::<ROOT_TAG_AT, _>(record),
            entries: get_u64::<ENTRIES_AT, _>(record),
            leaf_pages: get_u64::<LEAF_PAGES_AT, _>(record),
            branch_pages: get_u64::<BRANCH_PAGES_AT, _>(record),
            overflow_pages: get_u64::<OVERFLOW_PAGES_AT, _>(record),
        };
        if tree.depth > DEPTH_MAX {
            return bad("it is deeper than any tree can be");
        }
        if tree.is_empty() != (tree.depth == 0) {
            return bad("root and depth disagree on whether it is empty");
        }
        if tree.is_empty() && tree != tree.emptied() {
            return bad("it has no root and yet counts pages or entries");
        }
        Ok(tree)
    }
}

/// One attribute of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What it is, and in bit 15 whether it must be understood.
    pub id: u16,
    /// Its value.
    pub bytes: Vec<u8>,
}

/// What the catalog holds for a named table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableRecord {
    /// The table's tree.
    pub tree: TreeRecord,
    /// The last number given out by the table's sequence.
    pub sequence: u64,
    attributes: Vec<Attribute>,
}

impl TableRecord {
    /// A table without attributes.
    pub fn new(tree: TreeRecord) -> TableRecord {
        TableRecord { tree, sequence: 0, attributes: Vec::new() }
    }

    /// All attributes, ascending by id.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The value of an attribute, whether or not it must be understood.
    pub fn attribute(&self, id: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|attribute| rank(attribute.id) == rank(id)).map(|a| &a.bytes[..])
    }

    /// Sets an attribute, replacing the one there was.
    pub fn set_attribute(&mut self, id: u16, bytes: &[u8]) -> Result<()> {
        if bytes.len() > usize::from(u16::MAX) {
            return Err(FormatError::BadTableRecord("an attribute is longer than 65535 bytes"));
        }
        let attribute = Attribute { id, bytes: bytes.to_vec() };
        match self.attributes.binary_search_by_key(&rank(id), |a| rank(a.id)) {
            Ok(at) => self.attributes[at] = attribute,
            Err(at) => self.attributes.insert(at, attribute),
        }
        Ok(())
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let attribute_bytes: usize = self.attributes.iter().map(|a| 4 + a.bytes.len()).sum();
        let mut record = Vec::with_capacity(TABLE_FIXED_BYTES + attribute_bytes);
        record.extend_from_slice(&self.tree.encode());
        record.extend_from_slice(&self.sequence.to_le_bytes());
        record.extend_from_slice(&(self.attributes.len() as u16).to_le_bytes());
        for attribute in &self.attributes {
            record.extend_from_slice(&attribute.id.to_le_bytes());
            record.extend_from_slice(&(attribute.bytes.len() as u16).to_le_bytes());
            record.extend_from_slice(&attribute.bytes);
        }
        record
    }

    /// Reads a record that fills `record`.
    pub fn decode(record: &[u8]) -> Result<TableRecord> {
        let bad = |why| Err(FormatError::BadTableRecord(why));
        let Some((fixed, mut rest)) = record.split_first_chunk::<TABLE_FIXED_BYTES>() else {
            return Err(FormatError::TooShort { what: "table record" });
        };
        let mut table = TableRecord::new(TreeRecord::decode(&get::<0, TREE_RECORD_BYTES, _>(fixed))?);
        table.sequence = get_u64::<64, _>(fixed);
        for _ in 0..u16::from_le_bytes(get::<72, 2, _>(fixed)) {
            let attribute = take_attribute(&mut rest)?;
            if attribute.id & ATTR_MUST_UNDERSTAND != 0 && !is_known(attribute.id) {
                return bad("it has an attribute that must be understood and is not known");
            }
            if table.attributes.last().is_some_and(|last| rank(last.id) >= rank(attribute.id)) {
                return bad("its attributes are out of order");
            }
            table.attributes.push(attribute);
        }
        if !rest.is_empty() {
            return bad("bytes follow its last attribute");
        }
        if (table.tree.order == OrderId::Named) != table.attribute(ATTR_ORDER_NAME).is_some() {
            return bad("order and order name disagree");
        }
        let dup_order = table.tree.duplicates.map(|duplicates| duplicates.order);
        if (dup_order == Some(OrderId::Named)) != table.attribute(ATTR_DUP_ORDER_NAME).is_some() {
            return bad("the order of its duplicates and the name of that disagree");
        }
        Ok(table)
    }
}

fn take_attribute(from: &mut &[u8]) -> Result<Attribute> {
    let cut = FormatError::TooShort { what: "table attribute" };
    let (head, rest) = from.split_first_chunk::<4>().ok_or(cut)?;
    let len = usize::from(u16::from_le_bytes(get::<2, 2, _>(head)));
    let (bytes, rest) = rest.split_at_checked(len).ok_or(cut)?;
    *from = rest;
    Ok(Attribute { id: u16::from_le_bytes(get::<0, 2, _>(head)), bytes: bytes.to_vec() })
}

fn rank(id: u16) -> u16 {
    id & !ATTR_MUST_UNDERSTAND
}

fn is_known(id: u16) -> bool {
    matches!(rank(id), ATTR_KEY_TYPE | ATTR_VALUE_TYPE | ATTR_ORDER_NAME | ATTR_DUP_ORDER_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree() -> TreeRecord {
        TreeRecord {
            root: Pgno::new(99).unwrap(),
            depth: 3,
            order: OrderId::Bytewise,
            root_tag: 7,
            entries: 10_000,
            leaf_pages: 300,
            branch_pages: 4,
            overflow_pages: 12,
            duplicates: None,
            key_len: 0,
        }
    }

    #[test]
    fn a_tree_record_reads_back() {
        let of_eight = Duplicates { order: OrderId::Integer, len: 8 };
        let multimap = TreeRecord { duplicates: Some(of_eight), ..tree() };
        let empty =
            [TreeRecord::empty(OrderId::Integer), TreeRecord::default(), of_eight.tree(), multimap.emptied()];
        let of_any = TreeRecord { duplicates: Some(Duplicates::default()), ..tree() };
        for tree in [tree(), multimap, of_any, TreeRecord { key_len: 8, ..tree() }].into_iter().chain(empty) {
            assert_eq!(TreeRecord::decode(&tree.encode()), Ok(tree));
        }
        assert_eq!(tree().pages(), 316);
        assert!(tree().is_sealed());
        assert!(!TreeRecord { root_tag: 0, ..tree() }.is_sealed());
        assert!(TreeRecord::default().is_sealed());
    }

    #[test]
    fn a_bad_tree_record_says_why() {
        let no_root = TreeRecord { root: Pgno::NONE, ..tree() };
        let counted = TreeRecord { entries: 1, ..TreeRecord::default() };
        let mut strange_order = tree().encode();
        strange_order[ORDER_AT] = 3;
        let mut flagged = tree().encode();
        flagged[FLAGS_AT] = 4;
        let mut lengthless = tree().encode();
        lengthless[FLAGS_AT] = 2;
        let mut disordered = tree().encode();
        disordered[DUP_ORDER_AT] = 1;
        let table = [
            (strange_order, "its order is not known"),
            (flagged, "its flags are not known"),
            (lengthless, "flags and length disagree on whether its keys or duplicates have one length"),
            (disordered, "the order of its duplicates is not known"),
            (TreeRecord { depth: 49, ..tree() }.encode(), "it is deeper than any tree can be"),
            (TreeRecord { depth: 0, ..tree() }.encode(), "root and depth disagree on whether it is empty"),
            (no_root.encode(), "root and depth disagree on whether it is empty"),
            (counted.encode(), "it has no root and yet counts pages or entries"),
        ];
        for (record, why) in table {
            assert_eq!(TreeRecord::decode(&record), Err(FormatError::BadTreeRecord(why)));
        }
    }

    #[test]
    fn a_table_record_keeps_attributes_it_does_not_know() {
        let mut table = TableRecord::new(TreeRecord { order: OrderId::Named, ..tree() });
        table.sequence = 5;
        for (id, bytes) in [(900, "later"), (2, "u64"), (1, "wrong"), (1, "str"), (0x8003, "natural")] {
            table.set_attribute(id, bytes.as_bytes()).unwrap();
        }
        let read = TableRecord::decode(&table.encode()).unwrap();
        assert_eq!(read, table);
        assert_eq!(read.attributes().iter().map(|a| a.id).collect::<Vec<_>>(), [1, 2, 0x8003, 900]);
        assert_eq!(read.attribute(ATTR_KEY_TYPE), Some(&b"str"[..]));
        assert_eq!(read.attribute(ATTR_ORDER_NAME), Some(&b"natural"[..]));
        assert_eq!(read.attribute(77), None);
        let named = Duplicates { order: OrderId::Named, len: 0 };
        let mut multimap = TableRecord::new(TreeRecord { duplicates: Some(named), ..tree() });
        assert!(TableRecord::decode(&multimap.encode()).is_err(), "which order is not said");
        multimap.set_attribute(ATTR_DUP_ORDER_NAME, b"natural").unwrap();
        assert_eq!(TableRecord::decode(&multimap.encode()).unwrap(), multimap);
        assert!(table.set_attribute(4, &vec![0; 65536]).is_err());
    }

    #[test]
    fn a_bad_table_record_says_why() {
        let record = |count: u16, attributes: &[u8]| {
            let mut record = TableRecord::new(tree()).encode();
            record[72..74].copy_from_slice(&count.to_le_bytes());
            record.extend_from_slice(attributes);
            record
        };
        let bad = FormatError::BadTableRecord;
        let table = [
            (record(0, &[])[..73].to_vec(), FormatError::TooShort { what: "table record" }),
            (record(1, &[1, 0, 1]), FormatError::TooShort { what: "table attribute" }),
            (record(1, &[1, 0, 2, 0, 9]), FormatError::TooShort { what: "table attribute" }),
            (record(2, &[1, 0, 0, 0, 1, 0x80, 0, 0]), bad("its attributes are out of order")),
            (record(0, &[0]), bad("bytes follow its last attribute")),
            (record(1, &[3, 0, 0, 0]), bad("order and order name disagree")),
            (record(1, &[4, 0, 0, 0]), bad("the order of its duplicates and the name of that disagree")),
            (
                record(1, &[5, 0x80, 0, 0]),
                bad("it has an attribute that must be understood and is not known"),
            ),
        ];
        for (record, error) in table {
            assert_eq!(TableRecord::decode(&record), Err(error));
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, fixed: [u8; 32]) {
            let _ = TableRecord::decode(&bytes);
            let mut record = TableRecord::new(tree()).encode();
            record[72..74].copy_from_slice(&[fixed[0] % 4, 0]);
            bytes.iter_mut().skip(1).step_by(2).for_each(|byte| *byte %= 3);
            record.extend_from_slice(&bytes);
            if let Ok(table) = TableRecord::decode(&record) {
                prop_assert_eq!(table.encode(), record);
            }
        }
    }
}
