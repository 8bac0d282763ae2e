//! The two pages that say which commit stands.
//!
//! ```text
//!    0  magic "MapleDB\n"
//!    8  checksum                   u64  XXH3-64 of the bytes from 16 to 4096
//!   16  version                    u32  1
//!   20  page_shift                 u8   binary logarithm of the page size
//!   21  slot                       u8   0 meta A, 1 meta B
//!   22  tail_len                   u8   0: bytes kept free at the end of each page, reserved
//!   23  reserved                   u8
//!   24  compatible flags           u32  who does not know them may ignore them
//!   28  read-only-compatible flags u32  who does not know them may read but not write
//!   32  incompatible flags         u32  who does not know them must not even read
//!   36  reserved                   u32
//!   40  identity                   16   random, the same in exact copies
//!   56  head body                  1736
//! 1792  manifest                   2304
//! ```
//!
//! Magic, checksum and version keep their places in every version, so that "not ours", "damaged" and "made
//! by another version" can always be told apart. [`meta_choice`](crate::meta_choice) decides between two.

use std::fmt;

use twox_hash::XxHash3_64;

use crate::FormatError;
use crate::error::MetaFault;
use crate::fields::{get, get_u32, get_u64, put, put_u32, put_u64};
use crate::free::PageBounds;
use crate::head_body::{HEAD_BODY_AT, HEAD_BODY_BYTES, HeadBody};
use crate::ids::{META_A_OFFSET, META_B_OFFSET, META_BYTES, PageSize};
use crate::manifest::{MANIFEST_BYTES, Manifest};

/// The first bytes of a MapleDB file.
pub const MAGIC: [u8; 8] = *b"MapleDB\n";
/// The version of the format.
pub const FORMAT_VERSION: u32 = 1;
/// The compatible flags this build knows.
pub const COMPATIBLE_KNOWN: u32 = 0;
/// The read-only-compatible flags this build knows.
pub const READ_ONLY_COMPATIBLE_KNOWN: u32 = 0;
/// The incompatible flags this build knows.
pub const INCOMPATIBLE_KNOWN: u32 = 0;

const CHECKSUM_AT: usize = 8;
const SUMMED_FROM: usize = 16;
const VERSION_AT: usize = 16;
const PAGE_SHIFT_AT: usize = 20;
const SLOT_AT: usize = 21;
const TAIL_LEN_AT: usize = 22;
const COMPATIBLE_AT: usize = 24;
const READ_ONLY_COMPATIBLE_AT: usize = 28;
const INCOMPATIBLE_AT: usize = 32;
const IDENTITY_AT: usize = 40;
const MANIFEST_AT: usize = 1792;

const _: () = assert!(IDENTITY_AT + 16 == HEAD_BODY_AT && HEAD_BODY_AT + HEAD_BODY_BYTES == MANIFEST_AT);
const _: () = assert!(MANIFEST_AT + MANIFEST_BYTES == META_BYTES);

/// One of the two places for a meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Slot {
    /// At byte 0.
    A = 0,
    /// At byte 65536.
    B = 1,
}

impl Slot {
    /// Where the meta begins in the file.
    pub const fn offset(self) -> u64 {
        match self {
            Slot::A => META_A_OFFSET,
            Slot::B => META_B_OFFSET,
        }
    }

    /// The other place.
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "A",
            Slot::B => "B",
        })
    }
}

/// A file's random name for itself: new on create and compact, kept by exact copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What lies where a meta should, told without needing to understand it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// No meta: another file, or damage in the magic itself.
    Foreign,
    /// A meta that does not match its checksum, or the beginning of one.
    Damaged,
    /// A whole meta of another version of the format.
    OtherVersion(u32),
    /// A whole meta of this version.
    Ours,
}

/// Tells what lies where a meta should. If both places say [`Foreign`](Peek::Foreign) the file is not a
/// MapleDB file.
pub fn peek(bytes: &[u8]) -> Peek {
    if bytes.first_chunk() != Some(&MAGIC) {
        return Peek::Foreign;
    }
    let Some(meta) = bytes.first_chunk::<META_BYTES>() else {
        return Peek::Damaged;
    };
    if get_u64::<CHECKSUM_AT, _>(meta) != sum(meta) {
        return Peek::Damaged;
    }
    match get_u32::<VERSION_AT, _>(meta) {
        FORMAT_VERSION => Peek::Ours,
        other => Peek::OtherVersion(other),
    }
}

/// A meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The place it was written for.
    pub slot: Slot,
    /// The size of the file's pages.
    pub page_size: PageSize,
    /// Flags that may be ignored.
    pub compatible: u32,
    /// Flags that forbid writing to who does not know them.
    pub read_only_compatible: u32,
    /// Flags that forbid reading to who does not know them.
    pub incompatible: u32,
    /// The file.
    pub identity: Identity,
    /// The commit.
    pub head: HeadBody,
    /// The pages it vouches for.
    pub manifest: Manifest,
}

impl Meta {
    /// The read-only-compatible flags that this build does not know. Unless they are 0, the file must not
    /// be written.
    pub const fn unknown_read_only_compatible(&self) -> u32 {
        self.read_only_compatible & !READ_ONLY_COMPATIBLE_KNOWN
    }

    /// The pages that the commit's file has.
    pub const fn bounds(&self) -> PageBounds {
        PageBounds { first: self.page_size.first_data_pgno(), end: self.head.pages_used }
    }

    /// The meta's bytes, under their checksum.
    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut meta = [0; META_BYTES];
        put::<0, 8, _>(&mut meta, MAGIC);
        put_u32::<VERSION_AT, _>(&mut meta, FORMAT_VERSION);
        meta[PAGE_SHIFT_AT] = self.page_size.shift() as u8;
        meta[SLOT_AT] = self.slot as u8;
        put_u32::<COMPATIBLE_AT, _>(&mut meta, self.compatible);
        put_u32::<READ_ONLY_COMPATIBLE_AT, _>(&mut meta, self.read_only_compatible);
        put_u32::<INCOMPATIBLE_AT, _>(&mut meta, self.incompatible);
        put::<IDENTITY_AT, 16, _>(&mut meta, self.identity.0);
        put::<HEAD_BODY_AT, HEAD_BODY_BYTES, _>(&mut meta, self.head.encode());
        put::<MANIFEST_AT, MANIFEST_BYTES, _>(&mut meta, self.manifest.encode());
        let checksum = sum(&meta);
        put_u64::<CHECKSUM_AT, _>(&mut meta, checksum);
        meta
    }

    /// Reads the meta at the front of `bytes`, which were read from `slot`. The first fault of this order
    /// is told: magic, checksum, version, features, then fields.
    pub fn decode(bytes: &[u8], slot: Slot) -> Result<Meta, MetaFault> {
        if bytes.first_chunk() != Some(&MAGIC) {
            return Err(MetaFault::WrongMagic);
        }
        let meta: &[u8; META_BYTES] = bytes.first_chunk().ok_or(MetaFault::Truncated)?;
        let (stored, computed) = (get_u64::<CHECKSUM_AT, _>(meta), sum(meta));
        if stored != computed {
            return Err(MetaFault::WrongChecksum { stored, computed });
        }
        let version = get_u32::<VERSION_AT, _>(meta);
        if version != FORMAT_VERSION {
            return Err(MetaFault::OtherVersion { found: version });
        }
        let incompatible = get_u32::<INCOMPATIBLE_AT, _>(meta);
        if incompatible & !INCOMPATIBLE_KNOWN != 0 {
            return Err(MetaFault::UnknownFeatures { flags: incompatible & !INCOMPATIBLE_KNOWN });
        }
        if meta[SLOT_AT] != slot as u8 {
            return Err(MetaFault::WrongSlot { found: meta[SLOT_AT], expected: slot as u8 });
        }
        if meta[TAIL_LEN_AT] != 0 {
            return Err(MetaFault::BadField("its pages have a tail"));
        }
        let shift = meta[PAGE_SHIFT_AT];
        let meta = Meta {
            slot,
            page_size: PageSize::from_shift(shift).ok_or(MetaFault::BadPageSize { shift })?,
            compatible: get_u32::<COMPATIBLE_AT, _>(meta),
            read_only_compatible: get_u32::<READ_ONLY_COMPATIBLE_AT, _>(meta),
            incompatible,
            identity: Identity(get::<IDENTITY_AT, 16, _>(meta)),
            head: HeadBody::decode(&get::<HEAD_BODY_AT, HEAD_BODY_BYTES, _>(meta)).map_err(field_fault)?,
            manifest: Manifest::decode(&get::<MANIFEST_AT, MANIFEST_BYTES, _>(meta)).map_err(field_fault)?,
        };
        if meta.head.pages_used < meta.page_size.first_data_pgno() {
            return Err(MetaFault::BadField("it uses fewer pages than the metas take"));
        }
        Ok(meta)
    }
}

/// The checksum of a meta, whatever the field says.
pub fn sum(meta: &[u8; META_BYTES]) -> u64 {
    XxHash3_64::oneshot(&meta[SUMMED_FROM..])
}

/// The checksum that a meta's bytes carry.
pub fn stored_sum(meta: &[u8; META_BYTES]) -> u64 {
    get_u64::<CHECKSUM_AT, _>(meta)
}

fn field_fault(error: FormatError) -> MetaFault {
    match error {
        FormatError::BadMeta(fault) => fault,
        FormatError::BadTreeRecord(why) | FormatError::BadManifest(why) => MetaFault::BadField(why),
        _ => MetaFault::BadField("a record in it makes no sense"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::head_body::tests::sample;
    use crate::{Extent, Pgno};
    use proptest::prelude::*;

    fn meta() -> Meta {
        Meta {
            slot: Slot::B,
            page_size: PageSize::MIN,
            compatible: 1,
            read_only_compatible: 6,
            incompatible: 0,
            identity: Identity(*b"0123456789abcdef"),
            head: sample(),
            manifest: Manifest::build([(Extent::new(Pgno::new(40).unwrap(), 3), 9)]).unwrap(),
        }
    }

    fn resealed(change: impl Fn(&mut [u8; META_BYTES])) -> [u8; META_BYTES] {
        let mut bytes = meta().encode();
        change(&mut bytes);
        let checksum = sum(&bytes);
        put_u64::<CHECKSUM_AT, _>(&mut bytes, checksum);
        bytes
    }

    #[test]
    fn a_meta_reads_back_with_flags_it_does_not_know() {
        let bytes = meta().encode();
        assert_eq!(Meta::decode(&bytes, Slot::B), Ok(meta()));
        assert_eq!(meta().unknown_read_only_compatible(), 6);
        assert_eq!(peek(&bytes), Peek::Ours);
        assert_eq!(stored_sum(&bytes), sum(&bytes));
        assert_eq!(meta().identity.to_string(), "30313233343536373839616263646566");
        assert_eq!((Slot::A.offset(), Slot::A.other().offset()), (0, 65536));
        assert_eq!((Slot::A.to_string(), Slot::B.other().to_string()), ("A".into(), "A".into()));
    }

    #[test]
    fn a_bad_meta_says_why() {
        type Change = fn(&mut [u8; META_BYTES]);
        let table: [(Change, MetaFault, Peek); 10] = [
            (|m| m[0] = b'm', MetaFault::WrongMagic, Peek::Foreign),
            (|m| m[16] = 2, MetaFault::OtherVersion { found: 2 }, Peek::OtherVersion(2)),
            (|m| m[33] = 1, MetaFault::UnknownFeatures { flags: 256 }, Peek::Ours),
            (|m| m[20] = 17, MetaFault::BadPageSize { shift: 17 }, Peek::Ours),
            (|m| m[21] = 0, MetaFault::WrongSlot { found: 0, expected: 1 }, Peek::Ours),
            (|m| m[22] = 16, MetaFault::BadField("its pages have a tail"), Peek::Ours),
            (|m| m[87] = 9, MetaFault::BadField("its order is not known"), Peek::Ours),
            (
                |m| m[56] = 0,
                MetaFault::BadField("its txnid is 0, which a reader slot cannot pin"),
                Peek::Ours,
            ),
            (|m| m[1793] = 9, MetaFault::BadField("it is longer than its room"), Peek::Ours),
            (
                |m| {
                    m[72] = 31;
                    m[80..344].fill(0);
                },
                MetaFault::BadField("it uses fewer pages than the metas take"),
                Peek::Ours,
            ),
        ];
        for (change, fault, peeked) in table {
            let bytes = resealed(change);
            assert_eq!(Meta::decode(&bytes, Slot::B), Err(fault));
            assert_eq!(peek(&bytes), peeked, "{fault}");
        }
    }

    #[test]
    fn damage_is_told_from_another_file() {
        let bytes = meta().encode();
        for at in (8..META_BYTES).step_by(13) {
            let mut bad = bytes;
            bad[at] ^= 0x10;
            assert!(matches!(Meta::decode(&bad, Slot::B), Err(MetaFault::WrongChecksum { .. })), "{at}");
            assert_eq!(peek(&bad), Peek::Damaged);
        }
        let cut = MetaFault::Truncated;
        assert_eq!(Meta::decode(&bytes[..4095], Slot::B), Err(cut));
        assert_eq!(peek(&bytes[..4095]), Peek::Damaged);
        assert_eq!(peek(b"Maple"), Peek::Foreign);
        assert_eq!(peek(&[0; 4096]), Peek::Foreign);
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_bytes_never_panic(changes: Vec<(u16, u8)>, bytes: Vec<u8>) {
            let _ = (peek(&bytes), Meta::decode(&bytes, Slot::A));
            let changed = resealed(|meta| {
                for &(at, byte) in &changes {
                    meta[usize::from(at) % META_BYTES] = byte;
                }
            });
            let _ = peek(&changed);
            if let Ok(meta) = Meta::decode(&changed, Slot::B) {
                let _ = meta.manifest.extents(meta.bounds());
                prop_assert_eq!(Meta::decode(&meta.encode(), Slot::B), Ok(meta));
            }
        }
    }
}
