//! What can be wrong with bytes: one small error, without the place.
//!
//! The reader of a page knows which page it is and adds it: `corrupt page 812 (leaf): slot 3 points past
//! the end` is the caller's half and ours.

use crate::ids::{Pgno, Txnid};

/// Why bytes are not what they should be. Cheap to make and to copy; it never holds file contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// There are fewer bytes than the record needs.
    #[error("the {what} is cut short")]
    TooShort {
        /// The record that should have been there.
        what: &'static str,
    },
    /// The bytes do not match their checksum.
    #[error("checksum is {computed:#018x}, the header says {stored:#018x}")]
    WrongChecksum {
        /// What the header says.
        stored: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// The page carries another page's number: a misdirected write.
    #[error("the page says it is page {found}, not {expected}")]
    WrongPgno {
        /// The number in the header.
        found: Pgno,
        /// The number it was reached by.
        expected: Pgno,
    },
    /// The page was written after the snapshot that reached it.
    #[error("written by transaction {found}, after snapshot {snapshot}")]
    FutureTxnid {
        /// The writer in the header.
        found: Txnid,
        /// The reader's snapshot.
        snapshot: Txnid,
    },
    /// The page is of another kind than its place in the tree asks for, or of none.
    #[error("page kind {found} does not belong here")]
    WrongKind {
        /// The kind byte.
        found: u8,
    },
    /// The page is on another level than its place in the tree asks for.
    #[error("the page is on level {found}, not {expected}")]
    WrongLevel {
        /// The level byte.
        found: u8,
        /// The level of its place.
        expected: u8,
    },
    /// The page is sound but not the one that the reference was made for: a lost or reverted write.
    #[error("checksum tag is {found:#010x}, the reference says {expected:#010x}")]
    WrongTag {
        /// The tag of the page's own checksum.
        found: u32,
        /// The tag in the reference.
        expected: u32,
    },
    /// A reference without a tag, which only an unfinished transaction's own pages may have.
    #[error("the reference was never sealed")]
    Unsealed,
    /// The slot array holds fewer slots than the one asked for, or a slot's offset lies outside the heap.
    #[error("slot {slot} points past the end")]
    SlotOutOfBounds {
        /// The slot, from 0.
        slot: u16,
    },
    /// A slot's cell begins inside the heap and ends outside.
    #[error("the cell of slot {slot} runs past the end")]
    CellOutOfBounds {
        /// The slot, from 0.
        slot: u16,
    },
    /// Slots, heap, dead bytes and cells do not add up to the page.
    #[error("the heap does not add up")]
    HeapMismatch,
    /// A key is not above the one before it.
    #[error("the key of slot {slot} is out of order")]
    KeyOrder {
        /// The slot, from 0.
        slot: u16,
    },
    /// A slot's head, or the page's prefix, does not agree with the key.
    #[error("the head of slot {slot} does not match its key")]
    WrongHead {
        /// The slot, from 0.
        slot: u16,
    },
    /// A branch counts other entries below a child than there are.
    #[error("the count of slot {slot} is not what lies below it")]
    WrongCount {
        /// The slot, from 0.
        slot: u16,
    },
    /// A value's reference record makes no sense.
    #[error("bad value reference: {0}")]
    BadReference(&'static str),
    /// An overflow run's header makes no sense.
    #[error("bad overflow run: {0}")]
    BadOverflow(&'static str),
    /// A chunk of an overflow run does not match its checksum.
    #[error("chunk {chunk} of the value does not match its checksum")]
    WrongChunk {
        /// The chunk, from 0.
        chunk: u64,
    },
    /// A variable-length integer that no encoder writes.
    #[error("bad varint: {0}")]
    BadVarint(&'static str),
    /// A tree record makes no sense.
    #[error("bad tree record: {0}")]
    BadTreeRecord(&'static str),
    /// A table record makes no sense, or needs more than this version knows.
    #[error("bad table record: {0}")]
    BadTableRecord(&'static str),
    /// A record of a named snapshot makes no sense.
    #[error("bad snapshot record: {0}")]
    BadSnapshotRecord(&'static str),
    /// A manifest makes no sense.
    #[error("bad manifest: {0}")]
    BadManifest(&'static str),
    /// A free-space record makes no sense.
    #[error("bad free-space record: {0}")]
    BadFreeRecord(&'static str),
    /// A meta cannot be used.
    #[error("bad meta: {0}")]
    BadMeta(MetaFault),
    /// A part of the lock file makes no sense.
    #[error("bad lock file: {0}")]
    BadLockFile(&'static str),
}

/// Why a meta cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaFault {
    /// The first bytes are not MapleDB's: another file, or damage there.
    #[error("it does not begin with MapleDB's magic")]
    WrongMagic,
    /// The file ends inside the meta.
    #[error("the file ends inside it")]
    Truncated,
    /// Another version of the format.
    #[error("format version {found} is not the one this build reads")]
    OtherVersion {
        /// The version in the meta.
        found: u32,
    },
    /// The bytes do not match their checksum.
    #[error("checksum is {computed:#018x}, the meta says {stored:#018x}")]
    WrongChecksum {
        /// What the meta says.
        stored: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// The file uses features that this build does not know and cannot read without.
    #[error("the file needs features this build does not know ({flags:#010x})")]
    UnknownFeatures {
        /// The unknown incompatible flags.
        flags: u32,
    },
    /// The page size is out of bounds.
    #[error("page size 2^{shift} is out of bounds")]
    BadPageSize {
        /// Its binary logarithm.
        shift: u8,
    },
    /// Meta A's bytes at meta B's place, or the reverse.
    #[error("the meta of slot {found} lies in slot {expected}")]
    WrongSlot {
        /// The slot it was written for.
        found: u8,
        /// The slot it was read from.
        expected: u8,
    },
    /// A field inside makes no sense.
    #[error("{0}")]
    BadField(&'static str),
    /// The two metas belong to different files, or disagree about the page size.
    #[error("the two metas belong to different files")]
    Strangers,
}
