//! The free tree: three kinds of keys, in bytewise order.
//!
//! ```text
//! 0x01  blocker u64  freed u64  first pgno u48   a packed list of extents that wait (23 bytes)
//! 0x02  chunk u48                                what is available in the chunk (7 bytes)
//! 0x03  longest run u48  chunk u48               nothing: finds runs by size (13 bytes)
//! ```
//!
//! The integers in keys are big-endian, so that keys sort as their numbers do. Chunk c covers the pages
//! from c * 1024 to (c + 1) * 1024. Each 0x02 record has one 0x03 key.
//!
//! ```text
//! value of 0x02:  kind u8   low 7 bits: 0 a bitmap, 1 a run of chunks; bit 7: the pages have no blocks
//!                 128 bytes of bitmap, or the number of wholly available chunks from this one on, u64
//! ```

use super::bitmap::{BITMAP_BYTES, Bitmap, CHUNK_PAGES};
use super::list::{decode_packed, encode_packed};
use super::{PageBounds, PendingGroup};
use crate::fields::{get, put};
use crate::ids::{Pgno, Txnid};
use crate::{FormatError, Result};

/// The first byte of a pending record's key.
pub const KEY_PENDING: u8 = 1;
/// The first byte of a chunk record's key.
pub const KEY_CHUNK: u8 = 2;
/// The first byte of a size key.
pub const KEY_LONGEST: u8 = 3;
/// The length of a pending record's key in bytes.
pub const PENDING_KEY_BYTES: usize = 23;
/// The length of a chunk record's key in bytes.
pub const CHUNK_KEY_BYTES: usize = 7;
/// The length of a size key in bytes.
pub const LONGEST_KEY_BYTES: usize = 13;

const KIND_BITMAP: u8 = 0;
const KIND_RUN: u8 = 1;
const PUNCHED: u8 = 0x80;

/// The number of a chunk: 1024 pages, from the multiple of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNo(u64);

impl ChunkNo {
    /// How many chunks the largest file has: page numbers have 48 bits.
    pub const COUNT: u64 = (Pgno::MAX.get() + 1) / CHUNK_PAGES as u64;

    /// Chunk `number`, or `None` past the last.
    pub const fn new(number: u64) -> Option<ChunkNo> {
        if number < ChunkNo::COUNT { Some(ChunkNo(number)) } else { None }
    }

    /// The chunk of a page.
    pub const fn of(pgno: Pgno) -> ChunkNo {
        ChunkNo(pgno.get() / CHUNK_PAGES as u64)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The chunk's first page.
    pub fn first_pgno(self) -> Pgno {
        self.pgno(0)
    }

    /// The chunk's page `index`, which counts modulo 1024.
    pub fn pgno(self, index: u32) -> Pgno {
        let number = self.0 * u64::from(CHUNK_PAGES) + u64::from(index % CHUNK_PAGES);
        Pgno::new(number).unwrap_or(Pgno::MAX)
    }

    /// Where `pgno` lies in its chunk.
    pub const fn index_of(pgno: Pgno) -> u32 {
        (pgno.get() % CHUNK_PAGES as u64) as u32
    }

    fn to_be_bytes(self) -> [u8; 6] {
        Pgno::new(self.0).unwrap_or(Pgno::MAX).to_be_bytes()
    }

    fn from_be_bytes(bytes: [u8; 6]) -> Result<ChunkNo> {
        ChunkNo::new(Pgno::from_be_bytes(bytes).get())
            .ok_or(FormatError::BadFreeRecord("a chunk lies outside the largest file"))
    }
}

/// A key of the free tree, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeKey {
    /// Extents freed in `freed`, from page `first` on, that wait for `blocker`.
    Pending {
        /// The snapshot they wait for.
        blocker: Txnid,
        /// The transaction that freed them.
        freed: Txnid,
        /// The first page of the first extent.
        first: Pgno,
    },
    /// What is available in a chunk.
    Chunk {
        /// The chunk.
        chunk: ChunkNo,
    },
    /// A chunk by the length of its longest run.
    Longest {
        /// That length in pages.
        pages: u64,
        /// The chunk.
        chunk: ChunkNo,
    },
}

impl FreeKey {
    /// Reads a key.
    pub fn decode(key: &[u8]) -> Result<FreeKey> {
        if let Ok(key) = <&[u8; PENDING_KEY_BYTES]>::try_from(key)
            && key[0] == KEY_PENDING
        {
            return Ok(FreeKey::Pending {
                blocker: Txnid(u64::from_be_bytes(get::<1, 8, _>(key))),
                freed: Txnid(u64::from_be_bytes(get::<9, 8, _>(key))),
                first: Pgno::from_be_bytes(get::<17, 6, _>(key)),
            });
        }
        if let Ok(key) = <&[u8; CHUNK_KEY_BYTES]>::try_from(key)
            && key[0] == KEY_CHUNK
        {
            return Ok(FreeKey::Chunk { chunk: ChunkNo::from_be_bytes(get::<1, 6, _>(key))? });
        }
        if let Ok(key) = <&[u8; LONGEST_KEY_BYTES]>::try_from(key)
            && key[0] == KEY_LONGEST
        {
            return Ok(FreeKey::Longest {
                pages: Pgno::from_be_bytes(get::<1, 6, _>(key)).get(),
                chunk: ChunkNo::from_be_bytes(get::<7, 6, _>(key))?,
            });
        }
        bad("a key of no known kind")
    }
}

/// The key of a pending record.
pub fn pending_key(blocker: Txnid, freed: Txnid, first: Pgno) -> [u8; PENDING_KEY_BYTES] {
    let mut key = [0; PENDING_KEY_BYTES];
    key[0] = KEY_PENDING;
    put::<1, 8, _>(&mut key, blocker.0.to_be_bytes());
    put::<9, 8, _>(&mut key, freed.0.to_be_bytes());
    put::<17, 6, _>(&mut key, first.to_be_bytes());
    key
}

/// The key of a chunk record.
pub fn chunk_key(chunk: ChunkNo) -> [u8; CHUNK_KEY_BYTES] {
    let mut key = [0; CHUNK_KEY_BYTES];
    key[0] = KEY_CHUNK;
    put::<1, 6, _>(&mut key, chunk.to_be_bytes());
    key
}

/// The size key of a chunk whose longest run has `pages`. Seeking `longest_key(n, chunk 0)` finds the
/// shortest run of at least n pages.
pub fn longest_key(pages: u64, chunk: ChunkNo) -> [u8; LONGEST_KEY_BYTES] {
    let mut key = [0; LONGEST_KEY_BYTES];
    key[0] = KEY_LONGEST;
    put::<1, 6, _>(&mut key, Pgno::new(pages).unwrap_or(Pgno::MAX).to_be_bytes());
    put::<7, 6, _>(&mut key, chunk.to_be_bytes());
    key
}

/// Key and value of a pending group's record; `None` if the group is empty.
pub fn encode_pending(group: &PendingGroup) -> Option<([u8; PENDING_KEY_BYTES], Vec<u8>)> {
    let first = group.extents.first()?.extent.first;
    let mut list = Vec::new();
    encode_packed(group.freed, &group.extents, &mut list);
    Some((pending_key(group.blocker, group.freed, first), list))
}

/// The group of a pending record.
pub fn decode_pending(key: &[u8], list: &[u8], bounds: PageBounds) -> Result<PendingGroup> {
    let FreeKey::Pending { blocker, freed, first } = FreeKey::decode(key)? else {
        return bad("it is not keyed as a pending list");
    };
    if freed <= blocker {
        return bad("a group was not freed after its blocker");
    }
    let extents = decode_packed(list, blocker, freed, bounds)?;
    if extents.first().is_none_or(|freed_extent| freed_extent.extent.first != first) {
        return bad("a pending list does not begin where its key says");
    }
    Ok(PendingGroup { blocker, freed, extents })
}

/// What is available in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvailableIn {
    /// Some pages of this chunk.
    Bitmap(Bitmap),
    /// All pages of so many chunks, this one the first.
    Chunks(u64),
}

/// The value of a chunk record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRecord {
    /// What is available.
    pub available: AvailableIn,
    /// Whether the available pages have no blocks and must be allocated before a store.
    pub punched: bool,
}

impl ChunkRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let flag = if self.punched { PUNCHED } else { 0 };
        let mut record = Vec::with_capacity(1 + BITMAP_BYTES);
        match self.available {
            AvailableIn::Bitmap(bitmap) => {
                record.push(KIND_BITMAP | flag);
                record.extend_from_slice(&bitmap.to_bytes());
            }
            AvailableIn::Chunks(chunks) => {
                record.push(KIND_RUN | flag);
                record.extend_from_slice(&chunks.to_le_bytes());
            }
        }
        record
    }

    /// Reads the record of `chunk`, whose pages must lie within `bounds`.
    pub fn decode(chunk: ChunkNo, record: &[u8], bounds: PageBounds) -> Result<ChunkRecord> {
        let Some((&kind, rest)) = record.split_first() else {
            return Err(FormatError::TooShort { what: "chunk record" });
        };
        let available = match (kind & !PUNCHED, rest.len()) {
            (KIND_BITMAP, BITMAP_BYTES) => {
                rest.first_chunk().map(Bitmap::from_bytes).map(AvailableIn::Bitmap)
            }
            (KIND_RUN, 8) => rest.first_chunk().map(|k| AvailableIn::Chunks(u64::from_le_bytes(*k))),
            (KIND_BITMAP | KIND_RUN, _) => return bad("a chunk record has another length than its kind"),
            _ => return bad("a chunk record's kind is not known"),
        };
        let available = available.ok_or(FormatError::TooShort { what: "chunk record" })?;
        let Some((first, end)) = span(chunk, &available) else {
            return bad("a run of chunks has an impossible length");
        };
        if first < end && (first < bounds.first.get() || end > bounds.end.get()) {
            return bad("an extent lies outside the file");
        }
        Ok(ChunkRecord { available, punched: kind & PUNCHED != 0 })
    }

    /// The longest run of available pages, as its size key says.
    pub fn longest(&self) -> u64 {
        match self.available {
            AvailableIn::Bitmap(bitmap) => bitmap.longest_run().map_or(0, |run| run.len() as u64),
            AvailableIn::Chunks(chunks) => chunks.saturating_mul(u64::from(CHUNK_PAGES)),
        }
    }

    /// How many pages are available.
    pub fn pages(&self) -> u64 {
        match self.available {
            AvailableIn::Bitmap(bitmap) => u64::from(bitmap.available()),
            AvailableIn::Chunks(chunks) => chunks.saturating_mul(u64::from(CHUNK_PAGES)),
        }
    }
}

/// From the first available page to behind the last; `None` if there can be no such run of chunks.
fn span(chunk: ChunkNo, available: &AvailableIn) -> Option<(u64, u64)> {
    let begin = chunk.first_pgno().get();
    match available {
        AvailableIn::Bitmap(bitmap) => {
            let span = bitmap.span();
            Some((begin + u64::from(span.start), begin + u64::from(span.end)))
        }
        AvailableIn::Chunks(chunks) => {
            let end = chunk.get().checked_add(*chunks).filter(|&end| end <= ChunkNo::COUNT)?;
            (*chunks > 0).then_some((begin, end * u64::from(CHUNK_PAGES)))
        }
    }
}

fn bad<T>(why: &'static str) -> Result<T> {
    Err(FormatError::BadFreeRecord(why))
}

#[cfg(test)]
mod tests {
    use super::super::{Extent, FreedExtent};
    use super::*;
    use proptest::prelude::*;

    fn pgno(number: u64) -> Pgno {
        Pgno::new(number).unwrap()
    }

    fn bounds() -> PageBounds {
        PageBounds { first: pgno(32), end: pgno(10_000) }
    }

    #[test]
    fn keys_read_back_and_sort_as_their_numbers() {
        let chunk = |number| ChunkNo::new(number).unwrap();
        let keys = [
            pending_key(Txnid(5), Txnid(300), pgno(7)).to_vec(),
            pending_key(Txnid(256), Txnid(257), pgno(40)).to_vec(),
            pending_key(Txnid(256), Txnid(257), pgno(256)).to_vec(),
            chunk_key(chunk(0)).to_vec(),
            chunk_key(chunk(255)).to_vec(),
            chunk_key(chunk(256)).to_vec(),
            longest_key(3, chunk(900)).to_vec(),
            longest_key(256, chunk(0)).to_vec(),
            longest_key(256, chunk(1)).to_vec(),
        ];
        assert!(keys.is_sorted());
        let first = FreeKey::Pending { blocker: Txnid(5), freed: Txnid(300), first: pgno(7) };
        assert_eq!(FreeKey::decode(&keys[0]), Ok(first));
        assert_eq!(FreeKey::decode(&keys[4]), Ok(FreeKey::Chunk { chunk: chunk(255) }));
        assert_eq!(FreeKey::decode(&keys[6]), Ok(FreeKey::Longest { pages: 3, chunk: chunk(900) }));
        for bad in [&keys[0][..22], &[], &[2; 8], &[9; 7], &[2, 255, 0, 0, 0, 0, 0]] {
            assert!(FreeKey::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_chunk_knows_its_pages() {
        assert_eq!(ChunkNo::of(pgno(1023)).get(), 0);
        assert_eq!(ChunkNo::of(pgno(1024)).first_pgno(), pgno(1024));
        assert_eq!(ChunkNo::of(Pgno::MAX).pgno(1023), Pgno::MAX);
        assert_eq!(ChunkNo::index_of(pgno(2050)), 2);
        assert_eq!(ChunkNo::new(1 << 38), None);
    }

    #[test]
    fn a_pending_record_reads_back_under_its_own_key_only() {
        let extents = vec![FreedExtent { extent: Extent::new(pgno(40), 3), born: Txnid(2) }];
        let group = PendingGroup { blocker: Txnid(5), freed: Txnid(8), extents };
        let (key, list) = encode_pending(&group).unwrap();
        assert_eq!(decode_pending(&key, &list, bounds()), Ok(group.clone()));
        let elsewhere = pending_key(Txnid(5), Txnid(8), pgno(41));
        let backwards = pending_key(Txnid(8), Txnid(8), pgno(40));
        let chunk = chunk_key(ChunkNo::of(pgno(40)));
        let table = [
            (&elsewhere[..], "a pending list does not begin where its key says"),
            (&backwards[..], "a group was not freed after its blocker"),
            (&chunk[..], "it is not keyed as a pending list"),
            (&[7; 7], "a key of no known kind"),
        ];
        for (key, why) in table {
            assert_eq!(decode_pending(key, &list, bounds()), Err(FormatError::BadFreeRecord(why)));
        }
        assert_eq!(encode_pending(&PendingGroup { extents: Vec::new(), ..group }), None);
    }

    #[test]
    fn a_chunk_record_reads_back_or_says_why_not() {
        let chunk = ChunkNo::new(1).unwrap();
        let mut bitmap = Bitmap::EMPTY;
        assert!(bitmap.set_range(100..130));
        assert!(bitmap.set_range(5..6));
        let some = ChunkRecord { available: AvailableIn::Bitmap(bitmap), punched: true };
        let run = ChunkRecord { available: AvailableIn::Chunks(8), punched: false };
        for (record, longest, pages) in [(some, 30, 31), (run, 8192, 8192)] {
            assert_eq!(ChunkRecord::decode(chunk, &record.encode(), bounds()), Ok(record));
            assert_eq!((record.longest(), record.pages()), (longest, pages));
        }
        let run_of = |chunks| ChunkRecord { available: AvailableIn::Chunks(chunks), punched: false }.encode();
        let table = [
            (1, run_of(9), "an extent lies outside the file"),
            (0, run_of(1), "an extent lies outside the file"),
            (1, run_of(0), "a run of chunks has an impossible length"),
            (1, run_of(u64::MAX), "a run of chunks has an impossible length"),
            (0, some.encode(), "an extent lies outside the file"),
            (1, some.encode()[..100].to_vec(), "a chunk record has another length than its kind"),
            (1, vec![2; 9], "a chunk record's kind is not known"),
        ];
        for (number, record, why) in table {
            let chunk = ChunkNo::new(number).unwrap();
            assert_eq!(ChunkRecord::decode(chunk, &record, bounds()), Err(FormatError::BadFreeRecord(why)));
        }
        let none = ChunkRecord::decode(chunk, &[], bounds());
        assert_eq!(none, Err(FormatError::TooShort { what: "chunk record" }));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(
            mut key in prop::collection::vec(any::<u8>(), 0..30),
            value in prop::collection::vec(any::<u8>(), 0..140),
            kind in 0u8..5,
            number in 0u64..1 << 38,
        ) {
            if let Some(first) = key.first_mut() {
                *first = kind;
            }
            let _ = FreeKey::decode(&key);
            let _ = decode_pending(&key, &value, bounds());
            let _ = decode_pending(&pending_key(Txnid(1), Txnid(2), pgno(40)), &value, bounds());
            let everywhere = PageBounds { first: Pgno::NONE, end: Pgno::MAX };
            let chunk = ChunkNo::new(number).unwrap();
            for value in [&value[..], value.get(..9).unwrap_or_default(), value.get(..129).unwrap_or_default()] {
                let mut value = value.to_vec();
                if let Some(first) = value.first_mut() {
                    *first = (kind % 2) | (*first & 0x80);
                }
                if let Ok(record) = ChunkRecord::decode(chunk, &value, everywhere) {
                    let _ = record.longest();
                    prop_assert_eq!(record.encode(), value);
                }
            }
        }
    }
}
