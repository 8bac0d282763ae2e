//! The head that every page begins with, and what makes a page the right one.
//!
//! ```text
//!  0  checksum    u64  XXH3-64 of the bytes from 8 to the page's end
//!                      (of an overflow run: of its head from 8 and its chunk table)
//!  8  pgno        u48  the page's own number
//! 14  kind        u8   1 leaf, 2 branch, 3 overflow, 4 packed leaf
//! 15  level       u8   0 in leaves, 1 and up in branches
//! 16  txnid       u64  the transaction that wrote it
//! 24  count       u16  slots
//! 26  prefix_len  u16  bytes of common prefix that the heads leave out
//! 28  heap_len    u16  bytes from the first cell to the page's end
//! 30  dead        u16  bytes of the heap that no cell owns
//! 32  ...              what the kind says; overflow runs use 24 to 64 their own way
//! ```
//!
//! A reference to a page carries the *tag* of its checksum: the low 32 bits, 0 told as 1. Tag 0 in a
//! reference means that the page is the running transaction's own and not sealed yet; no sealed page holds
//! one.
//!
//! Verification has two halves. [`check_identity`] reads one cache line and is made at every visit;
//! [`check_sum`] reads the page and is made once for each page and txnid.

use twox_hash::XxHash3_64;

use crate::fields::{get, get_u16, get_u64, put, put_u16, put_u64};
use crate::ids::{PageSize, Pgno, Txnid};
use crate::{FormatError, Result};

/// The length of the header in bytes.
pub const HEADER_BYTES: usize = 32;
/// Where the checksummed part begins.
pub const CHECKSUM_FROM: usize = 8;

const CHECKSUM_AT: usize = 0;
const PGNO_AT: usize = 8;
pub(crate) const KIND_AT: usize = 14;
const LEVEL_AT: usize = 15;
const TXNID_AT: usize = 16;
pub(crate) const COUNT_AT: usize = 24;
pub(crate) const PREFIX_LEN_AT: usize = 26;
pub(crate) const HEAP_LEN_AT: usize = 28;
pub(crate) const DEAD_AT: usize = 30;

const _: () = assert!(CHECKSUM_AT + 8 == CHECKSUM_FROM && CHECKSUM_FROM == PGNO_AT);
const _: () = assert!(PGNO_AT + 6 == KIND_AT && KIND_AT + 1 == LEVEL_AT && LEVEL_AT + 1 == TXNID_AT);
const _: () = assert!(TXNID_AT + 8 == COUNT_AT && DEAD_AT + 2 == HEADER_BYTES);
// heap_len counts to the page's end from behind the header, so it fits 16 bits at 64 KiB too.
const _: () = assert!(PageSize::MAX.bytes() - HEADER_BYTES <= u16::MAX as usize);

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Keys with their values.
    Leaf = 1,
    /// Separators with their children.
    Branch = 2,
    /// The first page of a value's run.
    Overflow = 3,
    /// Keys of one length, without values.
    Packed = 4,
}

impl Kind {
    /// The kind of a kind byte.
    #[inline]
    pub const fn from_byte(byte: u8) -> Result<Kind> {
        match byte {
            1 => Ok(Kind::Leaf),
            2 => Ok(Kind::Branch),
            3 => Ok(Kind::Overflow),
            4 => Ok(Kind::Packed),
            found => Err(FormatError::WrongKind { found }),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Leaf => "leaf",
            Kind::Branch => "branch",
            Kind::Overflow => "overflow",
            Kind::Packed => "packed leaf",
        })
    }
}

/// A page's header, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// The checksum as stored, right or not. [`seal`] makes it.
    pub checksum: u64,
    /// The page's own number.
    pub pgno: Pgno,
    /// What the page is.
    pub kind: Kind,
    /// Its height above the leaves.
    pub level: u8,
    /// The transaction that wrote it.
    pub txnid: Txnid,
    /// Slots.
    pub count: u16,
    /// Bytes of common prefix that the heads leave out.
    pub prefix_len: u16,
    /// Bytes from the first cell to the page's end.
    pub heap_len: u16,
    /// Bytes of the heap that no cell owns.
    pub dead: u16,
}

impl PageHeader {
    /// The header of an empty page, unsealed.
    pub const fn new(pgno: Pgno, kind: Kind, level: u8, txnid: Txnid) -> PageHeader {
        PageHeader { checksum: 0, pgno, kind, level, txnid, count: 0, prefix_len: 0, heap_len: 0, dead: 0 }
    }

    /// Reads the header at the front of `page`. Checks the kind byte and no more.
    #[inline]
    pub fn parse(page: &[u8]) -> Result<PageHeader> {
        let head = head_of(page)?;
        Ok(PageHeader {
            checksum: get_u64::<CHECKSUM_AT, _>(head),
            pgno: Pgno::from_le_bytes(get::<PGNO_AT, 6, _>(head)),
            kind: Kind::from_byte(head[KIND_AT])?,
            level: head[LEVEL_AT],
            txnid: Txnid(get_u64::<TXNID_AT, _>(head)),
            count: get_u16::<COUNT_AT, _>(head),
            prefix_len: get_u16::<PREFIX_LEN_AT, _>(head),
            heap_len: get_u16::<HEAP_LEN_AT, _>(head),
            dead: get_u16::<DEAD_AT, _>(head),
        })
    }

    /// The header's bytes.
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        put_u64::<CHECKSUM_AT, _>(&mut head, self.checksum);
        put::<PGNO_AT, 6, _>(&mut head, self.pgno.to_le_bytes());
        head[KIND_AT] = self.kind as u8;
        head[LEVEL_AT] = self.level;
        put_u64::<TXNID_AT, _>(&mut head, self.txnid.0);
        put_u16::<COUNT_AT, _>(&mut head, self.count);
        put_u16::<PREFIX_LEN_AT, _>(&mut head, self.prefix_len);
        put_u16::<HEAP_LEN_AT, _>(&mut head, self.heap_len);
        put_u16::<DEAD_AT, _>(&mut head, self.dead);
        head
    }

    /// Stores the header at the front of `page`. Fails only if `page` is shorter than a header.
    #[inline]
    pub fn store(&self, page: &mut [u8]) -> Result<()> {
        let head = page.first_chunk_mut().ok_or(FormatError::TooShort { what: "page header" })?;
        *head = self.encode();
        Ok(())
    }
}

/// The tag of a checksum, for references: its low 32 bits, 0 told as 1.
#[inline]
pub const fn tag(checksum: u64) -> u32 {
    match checksum as u32 {
        0 => 1,
        low => low,
    }
}

/// The checksum of a leaf or branch page: everything behind the checksum field.
#[inline]
pub fn sum(page: &[u8]) -> u64 {
    XxHash3_64::oneshot(page.get(CHECKSUM_FROM..).unwrap_or_default())
}

/// Stores the checksum of a finished leaf or branch page and returns it. Bytes too few for a page are
/// left alone.
#[inline]
pub fn seal(page: &mut [u8]) -> u64 {
    let checksum = sum(page);
    if let Some(field) = page.first_chunk_mut() {
        *field = checksum.to_le_bytes();
    }
    checksum
}

/// The checksum that the header says.
#[inline]
pub fn stored_checksum(page: &[u8]) -> Result<u64> {
    Ok(get_u64::<CHECKSUM_AT, _>(head_of(page)?))
}

/// The transaction that the header says wrote the page.
#[inline]
pub fn stored_txnid(page: &[u8]) -> Result<Txnid> {
    Ok(Txnid(get_u64::<TXNID_AT, _>(head_of(page)?)))
}

/// The page number that the header says.
#[inline]
pub fn stored_pgno(page: &[u8]) -> Result<Pgno> {
    Ok(Pgno::from_le_bytes(get::<PGNO_AT, 6, _>(head_of(page)?)))
}

/// Makes a copy of a page the page `pgno`, written by `txnid`, unsealed. Bytes too few for a page are left alone.
#[inline]
pub fn renumber(page: &mut [u8], pgno: Pgno, txnid: Txnid) {
    if let Some(head) = page.first_chunk_mut::<HEADER_BYTES>() {
        put_u64::<CHECKSUM_AT, _>(head, 0);
        put::<PGNO_AT, 6, _>(head, pgno.to_le_bytes());
        put_u64::<TXNID_AT, _>(head, txnid.0);
    }
}

/// The level byte; 0 of bytes too few for a header.
#[inline(always)]
pub fn level_of(page: &[u8]) -> u8 {
    page.get(LEVEL_AT).copied().unwrap_or(0)
}

/// The kind byte, known or not; 0 of bytes too few for a header.
#[inline(always)]
pub fn kind_of(page: &[u8]) -> u8 {
    page.get(KIND_AT).copied().unwrap_or(0)
}

/// Whether the header at the front of `page` is that of the page which a sealed reference, read in
/// `snapshot`, means. Reads 32 bytes and trusts the stored checksum: [`check_sum`] is the other half.
/// It holds for every kind of page.
#[inline]
pub fn check_identity(page: &[u8], expected: Pgno, expected_tag: u32, snapshot: Txnid) -> Result<()> {
    let head = head_of(page)?;
    let pgno = Pgno::from_le_bytes(get::<PGNO_AT, 6, _>(head));
    if pgno != expected {
        return Err(FormatError::WrongPgno { found: pgno, expected });
    }
    let found_tag = tag(get_u64::<CHECKSUM_AT, _>(head));
    if found_tag != expected_tag {
        return Err(wrong_tag(found_tag, expected_tag));
    }
    let txnid = Txnid(get_u64::<TXNID_AT, _>(head));
    if txnid > snapshot {
        return Err(FormatError::FutureTxnid { found: txnid, snapshot });
    }
    Ok(())
}

/// The transaction that wrote the page, if `page` is the node of this kind and level that a sealed reference means: what
/// [`check_identity`] asks of number and tag, and the kind and level besides, in two comparisons and without a reason.
#[inline(always)]
pub fn node_written_by(
    page: &[u8],
    expected: Pgno,
    expected_tag: u32,
    kind: Kind,
    level: u8,
) -> Option<Txnid> {
    let head: &[u8; HEADER_BYTES] = page.first_chunk()?;
    // Number, kind and level lie side by side.
    let node = expected.get() | (kind as u64) << 48 | u64::from(level) << 56;
    let is_meant =
        get_u64::<PGNO_AT, _>(head) == node && tag(get_u64::<CHECKSUM_AT, _>(head)) == expected_tag;
    is_meant.then(|| Txnid(get_u64::<TXNID_AT, _>(head)))
}

#[cold]
fn wrong_tag(found: u32, expected: u32) -> FormatError {
    if expected == 0 { FormatError::Unsealed } else { FormatError::WrongTag { found, expected } }
}

/// Whether a leaf or branch page matches the checksum in its header.
#[inline]
pub fn check_sum(page: &[u8]) -> Result<()> {
    let stored = stored_checksum(page)?;
    let computed = sum(page);
    if stored == computed { Ok(()) } else { Err(FormatError::WrongChecksum { stored, computed }) }
}

/// Both halves: [`check_identity`], then [`check_sum`].
#[inline]
pub fn verify(page: &[u8], expected: Pgno, expected_tag: u32, snapshot: Txnid) -> Result<()> {
    check_identity(page, expected, expected_tag, snapshot)?;
    check_sum(page)
}

#[inline]
fn head_of(page: &[u8]) -> Result<&[u8; HEADER_BYTES]> {
    page.first_chunk().ok_or(FormatError::TooShort { what: "page header" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pgno(number: u64) -> Pgno {
        Pgno::new(number).unwrap()
    }

    fn sealed(number: u64, txnid: u64) -> Vec<u8> {
        let mut page = vec![7; 4096];
        PageHeader::new(pgno(number), Kind::Leaf, 0, Txnid(txnid)).store(&mut page).unwrap();
        seal(&mut page);
        page
    }

    #[test]
    fn the_fields_lie_where_the_head_of_this_file_draws_them() {
        let header = PageHeader {
            checksum: 0x0807_0605_0403_0201,
            pgno: pgno(0x0e0d_0c0b_0a09),
            kind: Kind::Branch,
            level: 0x10,
            txnid: Txnid(0x1817_1615_1413_1211),
            count: 0x1a19,
            prefix_len: 0x1c1b,
            heap_len: 0x1e1d,
            dead: 0x201f,
        };
        let mut expected: Vec<u8> = (1..=32).collect();
        expected[14] = 2;
        assert_eq!(header.encode()[..], expected);
        assert_eq!(PageHeader::parse(&expected), Ok(header));
    }

    #[test]
    fn a_tag_is_never_zero() {
        assert_eq!(tag(0xffff_ffff_0000_0000), 1);
        assert_eq!(tag(0x1234_5678_9abc_def0), 0x9abc_def0);
    }

    #[test]
    fn a_sealed_page_verifies_and_any_flipped_bit_is_noticed() {
        let mut page = sealed(40, 9);
        let expected_tag = tag(stored_checksum(&page).unwrap());
        assert_eq!(verify(&page, pgno(40), expected_tag, Txnid(9)), Ok(()));
        for bit in (0..4096 * 8).step_by(7) {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&page, pgno(40), expected_tag, Txnid(9)).is_err(), "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn another_page_than_the_one_meant_is_told_by_its_head_alone() {
        let page = sealed(40, 9);
        let good = tag(stored_checksum(&page).unwrap());
        let table = [
            (41, good, 9, FormatError::WrongPgno { found: pgno(40), expected: pgno(41) }),
            (40, good ^ 2, 9, FormatError::WrongTag { found: good, expected: good ^ 2 }),
            (40, 0, 9, FormatError::Unsealed),
            (40, good, 8, FormatError::FutureTxnid { found: Txnid(9), snapshot: Txnid(8) }),
        ];
        for (number, expected_tag, snapshot, error) in table {
            assert_eq!(check_identity(&page, pgno(number), expected_tag, Txnid(snapshot)), Err(error));
        }
        assert_eq!(check_identity(&page, pgno(40), good, Txnid(u64::MAX)), Ok(()));
        assert_eq!(
            check_identity(&page[..31], pgno(40), good, Txnid(9)),
            Err(FormatError::TooShort { what: "page header" })
        );
    }

    #[test]
    fn a_node_is_told_by_its_number_tag_kind_and_level() {
        let page = sealed(40, 9);
        let good = tag(stored_checksum(&page).unwrap());
        let written = |number, tag, kind, level| node_written_by(&page, pgno(number), tag, kind, level);
        assert_eq!(written(40, good, Kind::Leaf, 0), Some(Txnid(9)));
        assert_eq!(written(41, good, Kind::Leaf, 0), None);
        assert_eq!(written(40, good ^ 2, Kind::Leaf, 0), None);
        assert_eq!(written(40, 0, Kind::Leaf, 0), None);
        assert_eq!(written(40, good, Kind::Branch, 0), None);
        assert_eq!(written(40, good, Kind::Leaf, 1), None);
        assert_eq!(node_written_by(&page[..31], pgno(40), good, Kind::Leaf, 0), None);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut page = sealed(40, 9);
        page[KIND_AT] = 200;
        assert_eq!(PageHeader::parse(&page), Err(FormatError::WrongKind { found: 200 }));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, number in 0u64..1 << 48, expected_tag: u32) {
            let _ = PageHeader::parse(&bytes).map(|header| header.encode());
            prop_assert!(verify(&bytes, pgno(number), expected_tag, Txnid(1)).is_err());
            seal(&mut bytes.clone());
        }
    }
}
