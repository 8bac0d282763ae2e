//! The numbers everything else is named by: pages, transactions, page sizes, and where the file's fixed
//! parts lie.
//!
//! ```text
//! byte 0        meta A (4096 bytes, whatever the page size)
//! byte 65536    meta B (4096 bytes)
//! byte 131072   the first data page; page n begins at byte n * page size
//! ```
//!
//! The two metas lie 64 KiB apart so that they share no flash page, folio or large kernel page. The bytes
//! between are zero.

use std::fmt;

/// Where meta A begins.
pub const META_A_OFFSET: u64 = 0;
/// Where meta B begins.
pub const META_B_OFFSET: u64 = 64 << 10;
/// The length of a meta in bytes.
pub const META_BYTES: usize = 4096;
/// Where the first data page begins.
pub const DATA_OFFSET: u64 = 128 << 10;

const _: () = assert!(META_A_OFFSET + META_BYTES as u64 <= META_B_OFFSET);
const _: () = assert!(META_B_OFFSET + META_BYTES as u64 <= DATA_OFFSET);
const _: () = assert!(DATA_OFFSET.is_multiple_of(PageSize::MAX.bytes() as u64));

/// A page number: the page's offset in the file, divided by the page size. At most 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pgno(u64);

impl Pgno {
    /// Page 0 lies under meta A and is never a data page, so as a reference it means "none".
    pub const NONE: Pgno = Pgno(0);
    /// The largest page number.
    pub const MAX: Pgno = Pgno((1 << 48) - 1);

    /// Page `number`, or `None` if it needs more than 48 bits.
    #[inline]
    pub const fn new(number: u64) -> Option<Pgno> {
        if number <= Pgno::MAX.0 { Some(Pgno(number)) } else { None }
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is [`Pgno::NONE`].
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The number from its six bytes, lowest first.
    #[inline]
    pub const fn from_le_bytes(b: [u8; 6]) -> Pgno {
        Pgno(u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], 0, 0]))
    }

    /// The number's six bytes, lowest first.
    #[inline]
    pub const fn to_le_bytes(self) -> [u8; 6] {
        let b = self.0.to_le_bytes();
        [b[0], b[1], b[2], b[3], b[4], b[5]]
    }

    /// The number from its six bytes, highest first: the coding that sorts, for keys.
    #[inline]
    pub const fn from_be_bytes(b: [u8; 6]) -> Pgno {
        Pgno(u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]]))
    }

    /// The number's six bytes, highest first.
    #[inline]
    pub const fn to_be_bytes(self) -> [u8; 6] {
        let b = self.0.to_be_bytes();
        [b[2], b[3], b[4], b[5], b[6], b[7]]
    }

    /// Where the page begins, in bytes. 48 bits shifted by at most 16 cannot overflow.
    #[inline]
    pub const fn offset(self, size: PageSize) -> u64 {
        self.0 << size.shift()
    }

    /// The page that holds byte `offset`, or `None` past the last page.
    #[inline]
    pub const fn at_offset(offset: u64, size: PageSize) -> Option<Pgno> {
        Pgno::new(offset >> size.shift())
    }

    /// The page `pages` further on, or `None` past the last page.
    #[inline]
    pub const fn checked_add(self, pages: u64) -> Option<Pgno> {
        match self.0.checked_add(pages) {
            Some(number) => Pgno::new(number),
            None => None,
        }
    }
}

const _: () = assert!(Pgno::MAX.0.leading_zeros() >= PageSize::MAX.shift());

impl fmt::Display for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pgno({})", self.0)
    }
}

/// A transaction's number. Later commits have larger ones, and none is ever given out twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Txnid(pub u64);

impl Txnid {
    /// The number as an integer.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next number, or `None` after the last.
    #[inline]
    pub const fn checked_next(self) -> Option<Txnid> {
        match self.0.checked_add(1) {
            Some(next) => Some(Txnid(next)),
            None => None,
        }
    }
}

impl fmt::Display for Txnid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Txnid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Txnid({})", self.0)
    }
}

/// The size of a page: a power of two from 4 KiB to 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageSize {
    shift: u8,
}

impl PageSize {
    /// 4 KiB.
    pub const MIN: PageSize = PageSize { shift: 12 };
    /// 64 KiB.
    pub const MAX: PageSize = PageSize { shift: 16 };

    /// Pages of `bytes`, or `None` if that is no power of two between 4096 and 65536.
    pub const fn new(bytes: usize) -> Option<PageSize> {
        if bytes.is_power_of_two() { PageSize::from_shift(bytes.trailing_zeros() as u8) } else { None }
    }

    /// Pages of two to the `shift` bytes, or `None` outside 12 to 16.
    pub const fn from_shift(shift: u8) -> Option<PageSize> {
        if shift >= PageSize::MIN.shift && shift <= PageSize::MAX.shift {
            Some(PageSize { shift })
        } else {
            None
        }
    }

    /// The length of a page in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        1 << self.shift
    }

    /// The binary logarithm of [`bytes`](PageSize::bytes).
    #[inline]
    pub const fn shift(self) -> u32 {
        self.shift as u32
    }

    /// The first page that holds data: 32 at 4 KiB, 2 at 64 KiB.
    #[inline]
    pub const fn first_data_pgno(self) -> Pgno {
        Pgno(DATA_OFFSET >> self.shift)
    }

    /// How many pages `bytes` fill, the last perhaps in part.
    #[inline]
    pub const fn pages_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(1 << self.shift)
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.bytes(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_number_has_48_bits() {
        assert_eq!(Pgno::new((1 << 48) - 1), Some(Pgno::MAX));
        assert_eq!(Pgno::new(1 << 48), None);
        assert_eq!(Pgno::MAX.checked_add(1), None);
        assert_eq!(Pgno::MAX.checked_add(u64::MAX), None);
        assert_eq!(Pgno::MAX.offset(PageSize::MAX), ((1 << 48) - 1) << 16);
    }

    #[test]
    fn both_codings_of_a_page_number_read_back() {
        let pgno = Pgno::new(0x0102_0304_0506).unwrap();
        assert_eq!(pgno.to_le_bytes(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(pgno.to_be_bytes(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Pgno::from_le_bytes(pgno.to_le_bytes()), pgno);
        assert_eq!(Pgno::from_be_bytes(pgno.to_be_bytes()), pgno);
    }

    #[test]
    fn a_page_size_is_a_power_of_two_from_4_to_64_kib() {
        for (bytes, first) in [(4096, 32), (8192, 16), (16384, 8), (32768, 4), (65536, 2)] {
            let size = PageSize::new(bytes).unwrap();
            assert_eq!(size.bytes(), bytes);
            assert_eq!(size.first_data_pgno().get(), first);
            assert_eq!(size.first_data_pgno().offset(size), DATA_OFFSET);
            assert_eq!(PageSize::from_shift(size.shift() as u8), Some(size));
        }
        for bytes in [0, 1, 2048, 4095, 4097, 12288, 131072, usize::MAX] {
            assert_eq!(PageSize::new(bytes), None, "{bytes}");
        }
        assert_eq!(PageSize::from_shift(11), None);
        assert_eq!(PageSize::from_shift(17), None);
    }

    #[test]
    fn a_started_page_counts_whole() {
        for (bytes, pages) in [(0, 0), (1, 1), (4096, 1), (4097, 2), (u64::MAX, 1 << 52)] {
            assert_eq!(PageSize::MIN.pages_for(bytes), pages, "{bytes}");
        }
    }
}
