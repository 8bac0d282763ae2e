//! What the bytes of an LMDB file mean, for 64-bit little-endian machines. Pure functions.
//!
//! ```text
//! page header                       tree record, 48 bytes           meta, behind the header of pages 0 and 1
//! format 1  2, 3                     0  page size (free), size of     0  magic 0xBEEFC0DE   4  format
//!   0        0  page number u64         packed duplicates  u32        8  address of a fixed map u64
//!            8  transaction u64      4  flags u16   6  depth u16     16  size of the map u64
//!   8       16  size of packed u16   8  branch pages  u64            24  tree of free pages
//!  10       18  flags u16           16  leaf pages  u64              72  main tree
//!  12       20  lower u16           24  overflow pages  u64         120  last page in use u64
//!  14       22  upper u16           32  entries  u64                128  transaction u64
//!  16       24  end                 40  root  u64
//!
//! node:  0 low, 2 high half of the value's size, or of a child's page number   4 flags, or its bits 32 to 47
//!        6 size of the key   8 key, then value; in format 3 the value begins at an even offset
//! ```
//!
//! `lower` and slots count from the page's beginning in format 1, from the end of its header in 2 and 3; slots are `u16`
//! and follow the header. An overflow page has its number of pages as `u32` in the place of `lower` and `upper`.

use std::fmt;

use crate::error::{Fault, Foreign};

/// The magic of a meta page.
pub const MAGIC: u32 = 0xBEEF_C0DE;

/// Bytes from the beginning of a file that tell what it is.
pub const BEGINNING_LEN: usize = 24 + META_LEN;

/// The root of an empty tree.
pub const NO_PAGE: u64 = u64::MAX;

/// Levels that LMDB's own cursors can walk.
pub const DEPTH_MAX: u16 = 32;

/// Bytes of a tree record.
pub const TREE_LEN: usize = 48;

const META_LEN: usize = 136;

/// Flags of pages.
pub mod page_flag {
    /// A branch.
    pub const BRANCH: u16 = 0x01;
    /// A leaf.
    pub const LEAF: u16 = 0x02;
    /// The first page of a long value.
    pub const OVERFLOW: u16 = 0x04;
    /// Page 0 or 1.
    pub const META: u16 = 0x08;
    /// A leaf of packed duplicates.
    pub const PACKED: u16 = 0x20;
    /// A page inside a node.
    pub const INSIDE: u16 = 0x40;
    /// Those that say what a page is.
    pub const KINDS: u16 = BRANCH | LEAF | OVERFLOW | META | PACKED | INSIDE;
}

/// Flags of leaf nodes.
pub mod node_flag {
    /// The value lies on overflow pages.
    pub const LONG: u16 = 0x01;
    /// The value is a tree record.
    pub const TREE: u16 = 0x02;
    /// The value is several: a page, or with `TREE` a tree.
    pub const DUPLICATES: u16 = 0x04;
}

/// A data format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Format 1, of LMDB 0.9.
    V1,
    /// Format 2, of previews of LMDB 1.0.
    V2,
    /// Format 3, of LMDB 1.0.
    V3,
}

impl Format {
    fn of_version(version: u32) -> Result<Format, Foreign> {
        match version {
            1 => Ok(Format::V1),
            2 => Ok(Format::V2),
            3 => Ok(Format::V3),
            other => Err(Foreign::Version(other)),
        }
    }

    /// The number that meta pages have.
    pub fn version(self) -> u32 {
        match self {
            Format::V1 => 1,
            Format::V2 => 2,
            Format::V3 => 3,
        }
    }

    /// Bytes of a page header.
    pub(crate) fn header_len(self) -> usize {
        if self == Format::V1 { 16 } else { 24 }
    }

    /// From where in a page slots and bounds count.
    pub(crate) fn base(self) -> usize {
        if self == Format::V1 { 0 } else { 24 }
    }

    /// Where in a page header the fields behind the numbers begin.
    pub(crate) fn fields_at(self) -> usize {
        self.header_len() - 8
    }

    /// The name of a database whose key this is: 1.0 keeps the zero at the end of C's strings.
    pub(crate) fn name_of(self, key: &[u8]) -> &[u8] {
        match key {
            [name @ .., 0] if self != Format::V1 => name,
            name => name,
        }
    }

    /// Bytes that keys of this size take in a node.
    pub(crate) fn key_room(self, key_len: usize) -> usize {
        if self == Format::V3 { key_len.next_multiple_of(2) } else { key_len }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version())
    }
}

/// What a database was created with.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    const NAMES: [(u16, &'static str); 6] = [
        (0x02, "reversekey"),
        (0x04, "dupsort"),
        (0x08, "integerkey"),
        (0x10, "dupfixed"),
        (0x20, "integerdup"),
        (0x40, "reversedup"),
    ];

    fn new(bits: u16) -> Option<Flags> {
        let known = Flags::NAMES.iter().fold(0, |all, (bit, _)| all | bit);
        (bits & !known == 0).then_some(Flags(bits))
    }

    /// The bits, as in `lmdb.h`.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// `MDB_REVERSEKEY`: keys are compared from their ends.
    pub fn reverse_key(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// `MDB_DUPSORT`: a key may have several values.
    pub fn dup_sort(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// `MDB_INTEGERKEY`: keys are integers in the machine's byte order.
    pub fn integer_key(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// `MDB_DUPFIXED`: all values are of one size.
    pub fn dup_fixed(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// `MDB_INTEGERDUP`: values are integers in the machine's byte order.
    pub fn integer_dup(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// `MDB_REVERSEDUP`: values are compared from their ends.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let databases = LmdbFile::open(path)?.databases()?;
    /// let flags = databases[2].flags();
    /// assert!(flags.dup_sort() && flags.dup_fixed() && !flags.integer_dup() && !flags.reverse_dup());
    /// assert!(!flags.reverse_key() && !flags.integer_key());
    /// assert_eq!((flags.bits(), flags.names().collect::<Vec<_>>()), (0x14, vec!["dupsort", "dupfixed"]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reverse_dup(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// Their names, as in headers of `mdb_dump`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// Where a tree is and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// The size of packed duplicates.
    pub packed_len: u32,
    /// What it was created with.
    pub flags: Flags,
    /// Its levels.
    pub depth: u16,
    /// Its entries, each duplicate counted.
    pub entries: u64,
    /// Its root.
    pub root: u64,
}

impl Tree {
    /// The tree that a record of `TREE_LEN` bytes tells of.
    pub fn parse(record: &[u8]) -> Result<Tree, Fault> {
        let flags = u16_at(record, 4);
        let tree = Tree {
            packed_len: u32_at(record, 0),
            flags: Flags::new(flags).ok_or(Fault::TreeFlags(flags))?,
            depth: u16_at(record, 6),
            entries: u64_at(record, 32),
            root: u64_at(record, 40),
        };
        let is_empty = tree.root == NO_PAGE;
        if tree.depth > DEPTH_MAX || (tree.depth == 0) != is_empty {
            return Err(Fault::Depth(tree.depth));
        }
        Ok(tree)
    }
}

/// A meta page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The format.
    pub format: Format,
    /// Bytes of a page.
    pub page_size: u32,
    /// Bytes of the map.
    pub map_size: u64,
    /// The main tree.
    pub main: Tree,
    /// The last page in use.
    pub last_page: u64,
    /// The transaction that wrote it.
    pub txnid: u64,
}

/// What the beginning of a file tells of its format.
pub fn recognize(beginning: &[u8]) -> Result<Format, Foreign> {
    if beginning.is_empty() {
        return Err(Foreign::Empty);
    }
    if beginning.starts_with(b"MapleDB\n") {
        return Err(Foreign::MapleDb);
    }
    match (magic_at(beginning, 16), magic_at(beginning, 24)) {
        // In LMDB 1.0 built for 32 bits the magic lies where 0.9 has it on 64.
        (Some(version), _) if version > 1 && version < 4 => Err(Foreign::ThirtyTwoBit),
        (Some(version), _) if version != 1 => Err(Foreign::Version(version)),
        (Some(version), _) => Format::of_version(version),
        (None, Some(1)) => Err(Foreign::NoMagic),
        (None, Some(version)) => {
            Format::of_version(version).and_then(|format| unencrypted(format, beginning))
        }
        (None, None) => Err(stranger(beginning)),
    }
}

fn unencrypted(format: Format, beginning: &[u8]) -> Result<Format, Foreign> {
    const ENCRYPT: u16 = 0x2000;
    let environment_flags = u16_at(beginning, format.header_len() + 24 + 4);
    if environment_flags & ENCRYPT != 0 { Err(Foreign::Encrypted) } else { Ok(format) }
}

fn stranger(beginning: &[u8]) -> Foreign {
    const MDBX_MAGIC: u64 = 0x0059_659D_BDEF_4C11;
    if [12, 16, 24].iter().any(|&at| u32_at(beginning, at) == MAGIC.swap_bytes()) {
        return Foreign::BigEndian;
    }
    if magic_at(beginning, 12).is_some() {
        return Foreign::ThirtyTwoBit;
    }
    if u64_at(beginning, 20) >> 8 == MDBX_MAGIC { Foreign::Libmdbx } else { Foreign::NoMagic }
}

/// The version behind a magic, if there is one.
fn magic_at(bytes: &[u8], at: usize) -> Option<u32> {
    (u32_at(bytes, at) == MAGIC).then(|| u32_at(bytes, at + 4))
}

/// The meta page that begins here.
pub fn meta(format: Format, page: &[u8]) -> Result<Meta, Fault> {
    let flags = u16_at(page, format.fields_at() + 2);
    let meta = page.get(format.header_len()..).unwrap_or_default();
    if flags & page_flag::META == 0 || magic_at(meta, 0) != Some(format.version()) {
        return Err(Fault::NoMeta);
    }
    let page_size = u32_at(meta, 24);
    if !page_size.is_power_of_two() || !(256..=65536).contains(&page_size) {
        return Err(Fault::PageSize(page_size));
    }
    Ok(Meta {
        format,
        page_size,
        map_size: u64_at(meta, 16),
        main: Tree::parse(meta.get(72..72 + TREE_LEN).unwrap_or_default())?,
        last_page: u64_at(meta, 120),
        txnid: u64_at(meta, 128),
    })
}

/// The `u16` at an offset; 0 beyond the end, so that what is cut short is found by what it says.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(at_offset(bytes, at))
}

/// The `u32` at an offset.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(at_offset(bytes, at))
}

/// The `u64` at an offset.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(at_offset(bytes, at))
}

fn at_offset<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let end = at.saturating_add(N);
    bytes.get(at..end).and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(magic_at: usize, magic: u32, version: u32) -> Vec<u8> {
        let mut bytes = vec![0; BEGINNING_LEN];
        bytes[magic_at..magic_at + 4].copy_from_slice(&magic.to_le_bytes());
        bytes[magic_at + 4..magic_at + 8].copy_from_slice(&version.to_le_bytes());
        bytes
    }

    #[test]
    fn each_stranger_is_told_from_the_others() {
        let mut encrypted = beginning(24, MAGIC, 3);
        encrypted[24 + 28..24 + 30].copy_from_slice(&0x2008u16.to_le_bytes());
        let mut mdbx = vec![0; BEGINNING_LEN];
        mdbx[20..28].copy_from_slice(&0x5965_9DBD_EF4C_1103_u64.to_le_bytes());
        let table: [(Vec<u8>, Result<Format, Foreign>); 17] = [
            (beginning(16, MAGIC, 1), Ok(Format::V1)),
            (beginning(24, MAGIC, 2), Ok(Format::V2)),
            (beginning(24, MAGIC, 3), Ok(Format::V3)),
            (Vec::new(), Err(Foreign::Empty)),
            (b"x".to_vec(), Err(Foreign::NoMagic)),
            (vec![0; BEGINNING_LEN], Err(Foreign::NoMagic)),
            (b"MapleDB\n and more".to_vec(), Err(Foreign::MapleDb)),
            (beginning(12, MAGIC, 1), Err(Foreign::ThirtyTwoBit)),
            (beginning(16, MAGIC, 3), Err(Foreign::ThirtyTwoBit)),
            (beginning(12, MAGIC.swap_bytes(), 1 << 24), Err(Foreign::BigEndian)),
            (beginning(16, MAGIC.swap_bytes(), 1 << 24), Err(Foreign::BigEndian)),
            (beginning(24, MAGIC.swap_bytes(), 3 << 24), Err(Foreign::BigEndian)),
            (beginning(16, MAGIC, 999), Err(Foreign::Version(999))),
            (beginning(24, MAGIC, 4), Err(Foreign::Version(4))),
            (beginning(24, MAGIC, 0), Err(Foreign::Version(0))),
            (encrypted, Err(Foreign::Encrypted)),
            (mdbx, Err(Foreign::Libmdbx)),
        ];
        for (bytes, what) in table {
            assert_eq!(recognize(&bytes), what);
        }
    }

    #[test]
    fn flags_are_named_as_mdb_dump_names_them() {
        let flags = Flags::new(0x3c).unwrap();
        assert_eq!(flags.to_string(), "dupsort,integerkey,dupfixed,integerdup");
        assert!(flags.dup_sort() && flags.integer_key() && flags.dup_fixed() && flags.integer_dup());
        assert!(!flags.reverse_key() && !flags.reverse_dup());
        assert_eq!(Flags::default().to_string(), "none");
        assert!(Flags::new(0x01).is_none() && Flags::new(0x80).is_none());
    }

    #[test]
    fn a_tree_is_as_deep_as_it_can_be() {
        let mut record = [0; TREE_LEN];
        assert_eq!(Tree::parse(&record), Err(Fault::Depth(0)));
        record[6] = 33;
        assert_eq!(Tree::parse(&record), Err(Fault::Depth(33)));
        record[6] = 32;
        assert_eq!(Tree::parse(&record).unwrap().depth, 32);
        record[40..].copy_from_slice(&NO_PAGE.to_le_bytes());
        assert_eq!(Tree::parse(&record), Err(Fault::Depth(32)));
        record[4] = 0x80;
        assert_eq!(Tree::parse(&record), Err(Fault::TreeFlags(0x80)));
    }
}
