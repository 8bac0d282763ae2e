//! A value too long for a leaf: one run of pages, the value contiguous in it, and a checksum for each
//! 64 KiB of it.
//!
//! ```text
//!  0            page header, 24 bytes (kind 3, level 0; see the header chapter)
//! 24  reserved  u64
//! 32  len       u64  bytes of the value
//! 40  pages     u64  pages of the run
//! 48  reserved  16
//! 64  the value, len bytes
//!     zeros to a multiple of 8
//!     table     u64 each: the checksum of a 64 KiB chunk of the value, the last perhaps shorter
//!     zeros to the end of the run
//! ```
//!
//! A chunk's checksum is XXH3-64 seeded with `pgno ^ rotl(txnid, 32) ^ chunk`, so a chunk of another run,
//! of another time or of another place in this one does not pass. The header's checksum covers the head
//! from byte 8 and the table, so a part of a value is verified by the head, the table and its own chunks.
//!
//! A leaf refers to a run by 24 bytes:
//!
//! ```text
//!  0  kind 1  u8  |  1  flags u8 (0)  |  2  reserved u16
//!  4  tag     u32 |  8  pgno u48      | 14  reserved u16  | 16  len u64
//! ```

use std::hash::Hasher;
use std::ops::Range;

use twox_hash::XxHash3_64;
use twox_hash::xxhash3_64::{RawHasher, SecretBuffer};

use crate::fields::{get, get_u32, get_u64, put, put_u32, put_u64};
use crate::header::{CHECKSUM_FROM, HEADER_BYTES, Kind, PageHeader};
use crate::ids::{PageSize, Pgno, Txnid};
use crate::{FormatError, Result};

/// The length of a run's head in bytes: the value begins here, aligned to 64.
pub const OVERFLOW_HEAD_BYTES: usize = 64;
/// How much of a value one checksum covers.
pub const CHUNK_BYTES: u64 = 64 << 10;
/// The length of a reference in bytes.
pub const OVERFLOW_REF_BYTES: usize = 24;
/// The kind byte of a reference to a run.
pub const REF_KIND_OVERFLOW: u8 = 1;

const LEN_AT: usize = 32;
const PAGES_AT: usize = 40;
const REF_TAG_AT: usize = 4;
const REF_PGNO_AT: usize = 8;
const REF_LEN_AT: usize = 16;

const _: () = assert!(LEN_AT >= HEADER_BYTES && PAGES_AT + 8 <= OVERFLOW_HEAD_BYTES);
const _: () = assert!(REF_PGNO_AT + 6 <= REF_LEN_AT && REF_LEN_AT + 8 == OVERFLOW_REF_BYTES);

/// What the value field of a leaf cell holds for a value in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverflowRef {
    /// The tag of the run's checksum, 0 while unsealed.
    pub tag: u32,
    /// The run's first page.
    pub pgno: Pgno,
    /// The length of the value in bytes.
    pub len: u64,
}

impl OverflowRef {
    /// The reference's bytes.
    pub fn encode(&self) -> [u8; OVERFLOW_REF_BYTES] {
        let mut field = [0; OVERFLOW_REF_BYTES];
        field[0] = REF_KIND_OVERFLOW;
        put_u32::<REF_TAG_AT, _>(&mut field, self.tag);
        put::<REF_PGNO_AT, 6, _>(&mut field, self.pgno.to_le_bytes());
        put_u64::<REF_LEN_AT, _>(&mut field, self.len);
        field
    }

    /// Reads a reference that fills `field`.
    pub fn decode(field: &[u8]) -> Result<OverflowRef> {
        let Ok(field) = <&[u8; OVERFLOW_REF_BYTES]>::try_from(field) else {
            return Err(FormatError::BadReference("it is not 24 bytes long"));
        };
        if field[0] != REF_KIND_OVERFLOW {
            return Err(FormatError::BadReference("its kind is not known"));
        }
        if field[1] != 0 {
            return Err(FormatError::BadReference("its flags are not known"));
        }
        let pgno = Pgno::from_le_bytes(get::<REF_PGNO_AT, 6, _>(field));
        if pgno.is_none() {
            return Err(FormatError::BadReference("it leads to page 0"));
        }
        Ok(OverflowRef { tag: get_u32::<REF_TAG_AT, _>(field), pgno, len: get_u64::<REF_LEN_AT, _>(field) })
    }
}

/// Where the parts of a run lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunGeometry {
    /// The length of the value in bytes.
    pub len: u64,
    /// Its chunks, and so the entries of the table.
    pub chunks: u64,
    /// Where the table begins, in bytes from the run's start.
    pub table_offset: u64,
    /// The pages of the run.
    pub pages: u64,
}

impl RunGeometry {
    /// The run of a value of `len` bytes, or `None` if no file could hold it.
    pub fn of(len: u64, size: PageSize) -> Option<RunGeometry> {
        let chunks = len.div_ceil(CHUNK_BYTES);
        let table_offset = len.checked_add(OVERFLOW_HEAD_BYTES as u64)?.checked_next_multiple_of(8)?;
        let pages = size.pages_for(table_offset.checked_add(8 * chunks)?);
        (pages <= Pgno::MAX.get()).then_some(RunGeometry { len, chunks, table_offset, pages })
    }

    /// The bytes of the whole run.
    pub fn run_bytes(&self, size: PageSize) -> u64 {
        self.pages << size.shift()
    }

    /// The bytes of chunk `index`, from the run's start.
    fn chunk(&self, index: u64) -> Range<u64> {
        let begin = index.saturating_mul(CHUNK_BYTES).min(self.len);
        let end = begin.saturating_add(CHUNK_BYTES).min(self.len);
        begin + OVERFLOW_HEAD_BYTES as u64..end + OVERFLOW_HEAD_BYTES as u64
    }

    /// The bytes of the table, from the run's start.
    fn table(&self) -> Range<u64> {
        self.table_offset..self.table_offset + 8 * self.chunks
    }
}

/// A run's head, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverflowHead {
    /// The checksum of head and table, as stored.
    pub checksum: u64,
    /// The run's first page.
    pub pgno: Pgno,
    /// The transaction that wrote it.
    pub txnid: Txnid,
    /// The length of the value in bytes.
    pub len: u64,
    /// The pages of the run.
    pub pages: u64,
}

impl OverflowHead {
    /// Reads the head at the front of `run`, of which the first page is enough, and checks that length and
    /// pages agree.
    pub fn parse(run: &[u8], size: PageSize) -> Result<OverflowHead> {
        let head: &[u8; OVERFLOW_HEAD_BYTES] =
            run.first_chunk().ok_or(FormatError::TooShort { what: "overflow head" })?;
        let common = PageHeader::parse(head)?;
        if common.kind != Kind::Overflow {
            return Err(FormatError::WrongKind { found: common.kind as u8 });
        }
        let (len, pages) = (get_u64::<LEN_AT, _>(head), get_u64::<PAGES_AT, _>(head));
        if RunGeometry::of(len, size).is_none_or(|geometry| geometry.pages != pages) {
            return Err(FormatError::BadOverflow("its length does not agree with its pages"));
        }
        let PageHeader { checksum, pgno, txnid, .. } = common;
        Ok(OverflowHead { checksum, pgno, txnid, len, pages })
    }

    fn encode(&self) -> [u8; OVERFLOW_HEAD_BYTES] {
        let mut head = [0; OVERFLOW_HEAD_BYTES];
        let mut common = PageHeader::new(self.pgno, Kind::Overflow, 0, self.txnid);
        common.checksum = self.checksum;
        put::<0, HEADER_BYTES, _>(&mut head, common.encode());
        put_u64::<LEN_AT, _>(&mut head, self.len);
        put_u64::<PAGES_AT, _>(&mut head, self.pages);
        head
    }
}

/// What a run has around its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFrame {
    /// What stands before the value.
    pub head: [u8; OVERFLOW_HEAD_BYTES],
    /// What stands behind it, to the end of the run: zeros and the table.
    pub behind: Vec<u8>,
    /// The checksum of both.
    pub checksum: u64,
}

/// The frame of the run at `pgno` that `txnid` writes for `value`: run is head, value, and what is behind it.
pub fn frame(value: &[u8], pgno: Pgno, txnid: Txnid, size: PageSize) -> Result<RunFrame> {
    let len = value.len() as u64;
    let geometry =
        RunGeometry::of(len, size).ok_or(FormatError::BadOverflow("the value is longer than any file"))?;
    let value_end = OVERFLOW_HEAD_BYTES as u64 + len;
    let mut behind = vec![0; to_range(value_end..geometry.run_bytes(size)).len()];
    let table = geometry.table();
    let table = to_range(table.start - value_end..table.end - value_end);
    let chunks = value.chunks(CHUNK_BYTES as usize).zip(0..);
    let entries = behind.get_mut(table.clone()).unwrap_or_default().as_chunks_mut::<8>().0;
    for (entry, (chunk, index)) in entries.iter_mut().zip(chunks) {
        *entry = chunk_sum(chunk, pgno, txnid, index).to_le_bytes();
    }
    let mut head = OverflowHead { checksum: 0, pgno, txnid, len, pages: geometry.pages };
    head.checksum = head_sum(&head.encode(), behind.get(table).unwrap_or_default());
    Ok(RunFrame { head: head.encode(), behind, checksum: head.checksum })
}

/// Finishes a run whose value already lies at [`OVERFLOW_HEAD_BYTES`]: writes its frame, and returns the checksum. `run` must be
/// as long as the geometry of `len` says.
pub fn seal_run(run: &mut [u8], pgno: Pgno, txnid: Txnid, len: u64, size: PageSize) -> Result<u64> {
    const OTHER_LENGTH: FormatError =
        FormatError::BadOverflow("the run has another length than its value needs");
    let value = to_range(OVERFLOW_HEAD_BYTES as u64..(OVERFLOW_HEAD_BYTES as u64).saturating_add(len));
    let frame = frame(run.get(value.clone()).ok_or(OTHER_LENGTH)?, pgno, txnid, size)?;
    let behind =
        run.get_mut(value.end..).filter(|behind| behind.len() == frame.behind.len()).ok_or(OTHER_LENGTH)?;
    behind.copy_from_slice(&frame.behind);
    if let Some(front) = run.first_chunk_mut() {
        *front = frame.head;
    }
    Ok(frame.checksum)
}

/// A whole run: its head makes sense, and all its bytes are there. What they hold is not verified yet.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    bytes: &'a [u8],
    head: OverflowHead,
    geometry: RunGeometry,
}

impl<'a> Run<'a> {
    /// The run at the front of `bytes`, which must hold all its pages and may hold more.
    pub fn open(bytes: &'a [u8], size: PageSize) -> Result<Run<'a>> {
        let head = OverflowHead::parse(bytes, size)?;
        let cut = FormatError::TooShort { what: "overflow run" };
        let geometry = RunGeometry::of(head.len, size).ok_or(cut)?;
        let bytes = bytes.get(to_range(0..geometry.run_bytes(size))).ok_or(cut)?;
        Ok(Run { bytes, head, geometry })
    }

    /// The head.
    pub fn head(&self) -> &OverflowHead {
        &self.head
    }

    /// The value.
    pub fn value(&self) -> &'a [u8] {
        let begin = OVERFLOW_HEAD_BYTES as u64;
        self.bytes.get(to_range(begin..begin + self.geometry.len)).unwrap_or_default()
    }

    /// Whether head and table match the checksum. Reads the first and the last pages.
    pub fn check_head(&self) -> Result<()> {
        let stored = self.head.checksum;
        let head: &[u8; OVERFLOW_HEAD_BYTES] =
            self.bytes.first_chunk().ok_or(FormatError::TooShort { what: "overflow head" })?;
        let computed = head_sum(head, self.table());
        if stored == computed { Ok(()) } else { Err(FormatError::WrongChecksum { stored, computed }) }
    }

    /// Whether the chunks that hold the bytes `part` of the value match the table, which
    /// [`check_head`](Run::check_head) vouches for. Parts past the end are taken as empty.
    pub fn check_part(&self, part: Range<u64>) -> Result<()> {
        let end = part.end.min(self.geometry.len);
        if part.start >= end {
            return Ok(());
        }
        for index in part.start / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES) {
            let entry = self.table().get(to_range(8 * index..8 * index + 8)).and_then(|e| e.first_chunk());
            let chunk = self.bytes.get(to_range(self.geometry.chunk(index))).unwrap_or_default();
            let computed = chunk_sum(chunk, self.head.pgno, self.head.txnid, index);
            if entry != Some(&computed.to_le_bytes()) {
                return Err(FormatError::WrongChunk { chunk: index });
            }
        }
        Ok(())
    }

    /// Whether head, table and the whole value match their checksums.
    pub fn check_all(&self) -> Result<()> {
        self.check_head()?;
        self.check_part(0..self.geometry.len)
    }

    fn table(&self) -> &'a [u8] {
        self.bytes.get(to_range(self.geometry.table())).unwrap_or_default()
    }
}

fn head_sum(head: &[u8; OVERFLOW_HEAD_BYTES], table: &[u8]) -> u64 {
    let mut hasher = RawHasher::new(SecretBuffer::default());
    hasher.write(&head[CHECKSUM_FROM..]);
    hasher.write(table);
    hasher.finish()
}

fn chunk_sum(chunk: &[u8], pgno: Pgno, txnid: Txnid, index: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(pgno.get() ^ txnid.0.rotate_left(32) ^ index, chunk)
}

/// A range of bytes as one of indices: what no memory can hold becomes a range no slice has.
fn to_range(bytes: Range<u64>) -> Range<usize> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    index(bytes.start)..index(bytes.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{check_identity, tag};
    use proptest::prelude::*;

    const SIZE: PageSize = PageSize::MIN;

    fn pgno(number: u64) -> Pgno {
        Pgno::new(number).unwrap()
    }

    fn sealed(len: u64) -> (Vec<u8>, u64) {
        let geometry = RunGeometry::of(len, SIZE).unwrap();
        let mut run = vec![0xee; geometry.run_bytes(SIZE) as usize];
        for (index, byte) in run[64..64 + len as usize].iter_mut().enumerate() {
            *byte = (index / 64) as u8;
        }
        let checksum = seal_run(&mut run, pgno(77), Txnid(5), len, SIZE).unwrap();
        (run, checksum)
    }

    #[test]
    fn a_run_holds_head_value_and_table() {
        let c = CHUNK_BYTES;
        // (len, chunks, table offset, pages)
        let table = [
            (0, 0, 64, 1),
            (1, 1, 72, 1),
            (4096 - 64 - 8, 1, 4088, 1),
            (4096 - 64 - 7, 1, 4096, 2),
            (c, 1, 64 + c, 17),
            (c + 1, 2, 72 + c, 17),
            (5 << 30, 81920, 64 + (5 << 30), 1310881),
        ];
        for (len, chunks, table_offset, pages) in table {
            let expected = RunGeometry { len, chunks, table_offset, pages };
            assert_eq!(RunGeometry::of(len, SIZE), Some(expected), "{len}");
        }
        assert_eq!(RunGeometry::of(u64::MAX, SIZE), None);
        assert_eq!(RunGeometry::of(1 << 60, SIZE), None);
        assert!(RunGeometry::of(1 << 59, SIZE).is_some());
    }

    #[test]
    fn a_sealed_run_verifies_whole_and_in_parts() {
        for len in [0, 1, 4024, 65536, 65537, 200_000] {
            let (run, checksum) = sealed(len);
            assert_eq!(check_identity(&run, pgno(77), tag(checksum), Txnid(5)), Ok(()));
            let opened = Run::open(&run, SIZE).unwrap();
            assert_eq!(opened.check_all(), Ok(()), "{len}");
            assert_eq!(opened.value().len() as u64, len);
            assert_eq!(opened.check_part(len / 2..len), Ok(()));
            assert_eq!(opened.check_part(u64::MAX - 1..u64::MAX), Ok(()));
            assert_eq!(opened.head().checksum, checksum);
        }
    }

    #[test]
    fn damage_in_one_chunk_spares_the_others() {
        let (mut run, _) = sealed(200_000);
        run[64 + 70_000] ^= 1;
        let opened = Run::open(&run, SIZE).unwrap();
        assert_eq!(opened.check_head(), Ok(()));
        assert_eq!(opened.check_part(0..65536), Ok(()));
        assert_eq!(opened.check_part(131072..200_000), Ok(()));
        assert_eq!(opened.check_part(65535..65537), Err(FormatError::WrongChunk { chunk: 1 }));
        assert_eq!(opened.check_all(), Err(FormatError::WrongChunk { chunk: 1 }));
    }

    #[test]
    fn damage_in_head_or_table_is_found_in_the_head() {
        let (run, _) = sealed(200_000);
        let table = RunGeometry::of(200_000, SIZE).unwrap().table_offset as usize;
        for at in [8, 16, 24, 50, 63, table, table + 31] {
            let mut bad = run.clone();
            bad[at] ^= 1;
            let opened = Run::open(&bad, SIZE).unwrap();
            assert!(matches!(opened.check_head(), Err(FormatError::WrongChecksum { .. })), "{at}");
        }
    }

    #[test]
    fn a_head_that_contradicts_itself_is_refused() {
        let (run, _) = sealed(200_000);
        let agree = FormatError::BadOverflow("its length does not agree with its pages");
        let table = [
            (LEN_AT + 7, agree),
            (LEN_AT + 2, agree),
            (PAGES_AT, agree),
            (14, FormatError::WrongKind { found: 2 }),
        ];
        for (at, error) in table {
            let mut bad = run.clone();
            bad[at] ^= 1;
            assert_eq!(Run::open(&bad, SIZE).err(), Some(error), "{at}");
        }
        let cut = &run[..run.len() - 1];
        assert_eq!(Run::open(cut, SIZE).err(), Some(FormatError::TooShort { what: "overflow run" }));
    }

    #[test]
    fn sealing_needs_a_run_of_the_right_length() {
        let mut run = vec![0; 4096];
        assert!(seal_run(&mut run, pgno(77), Txnid(5), 5000, SIZE).is_err());
        assert!(seal_run(&mut run, pgno(77), Txnid(5), u64::MAX, SIZE).is_err());
    }

    #[test]
    fn a_bad_reference_says_why() {
        let good = OverflowRef { tag: 3, pgno: pgno(77), len: 1 << 40 };
        assert_eq!(OverflowRef::decode(&good.encode()), Ok(good));
        let table = [(0, "its kind is not known"), (1, "its flags are not known"), (8, "it leads to page 0")];
        for (at, why) in table {
            let mut bad = good.encode();
            bad[at] ^= if at == 8 { 77 } else { 2 };
            assert_eq!(OverflowRef::decode(&bad), Err(FormatError::BadReference(why)));
        }
        let long = FormatError::BadReference("it is not 24 bytes long");
        assert_eq!(OverflowRef::decode(&[1; 25]), Err(long));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, len: u64, part: (u64, u64), pages in 0usize..4) {
            let _ = OverflowRef::decode(&bytes);
            bytes.resize(pages * 4096, 1);
            let head = OverflowHead { checksum: 1, pgno: pgno(9), txnid: Txnid(1), len, pages: pages as u64 };
            for head in [head, OverflowHead { len: len % 16384, ..head }] {
                if let Some(front) = bytes.first_chunk_mut() {
                    *front = head.encode();
                }
                if let Ok(run) = Run::open(&bytes, SIZE) {
                    prop_assert!(run.check_all().is_err());
                    let _ = run.check_part(part.0..part.1);
                    let _ = run.value();
                }
            }
        }
    }
}
