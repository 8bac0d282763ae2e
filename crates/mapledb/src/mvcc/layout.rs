//! The lock file's bytes, layout version 1.
//!
//! ```text
//! page 0, header
//!      0 magic "MapleLK\n"        8 layout version u32    12 state u32 (0 new, 1 ready, 2 clean, 3 resumed)
//!     16 identity [16]           32 dev u64    40 ino u64    48 boot id [16]
//!     64 published seq u64
//!    128 head seq u64
//!    192 writer word u32        196 reserved u32         200 next ticket u64
//!    256 last txnid u64
//!    320 durable txnid u64      328 meta txnid [2] u64   344 durable meta checksum u64   352 poisoned u32
//!    384 wake word u32          388 wake waiters u32
//!    448 blocks u32: process blocks that have ever been claimed
//! page 1, counters, 64 bytes each
//! 8192.. ring of 8 head records, 2048 bytes each
//!      0 seq u64    8 checksum u64    16 head body [1736]    1752 durable txnid u64    1760 durable meta checksum
//! 32768.. process blocks, 4096 bytes each
//!      0 state u32 (0 free, 1 claimed)   4 incarnation u32    8 pid u32   12 slots used u32
//!     16 claimed at u64 (unix ns)       24 ticket u64 (writer lock: 0 none; bit 63 handed over)
//!     32 turn u32 (futex: writer lock)  36 waiting u32 (threads that wait for a commit)
//!    128.. 62 reader slots, 64 bytes each
//!      0 pin u64 (0 free, else a txnid)   8 clones u32   12 tid u32   16 began at u64 (unix ns)   24 begins u64
//! ```
//!
//! A record's checksum is XXH3-64, seeded with its seq, over its bytes 16..1768: the body and what it builds on.
//!
//! Open-file-description locks: byte [`BLOCK_BYTE`]` + i` of the lock file is held by the owner of block i;
//! [`ATTACH_BYTE`] while attaching or detaching. On the data file, [`UNIVERSE_BYTE`] is shared by every process in
//! shared mode and [`FROZEN_BYTE`] by every frozen reader.

/// "MapleLK\n", as a little-endian number.
pub const MAGIC: u64 = u64::from_le_bytes(*b"MapleLK\n");
/// The layout this file describes.
pub const LAYOUT_VERSION: u32 = 1;

/// State: never made ready.
pub const STATE_NEW: u32 = 0;
/// State: in use, or left behind without a clean close.
pub const STATE_READY: u32 = 1;
/// State: the last process closed cleanly.
pub const STATE_CLEAN: u32 = 2;

/// State: in use after a clean close, the note of which may still be on the disk. No txnid has been given out since.
pub const STATE_RESUMED: u32 = 3;

/// Where the counters begin.
pub const COUNTERS_OFFSET: usize = 4096;
/// Where the ring begins.
pub const RING_OFFSET: usize = 8192;
/// Where the process blocks begin.
pub const BLOCKS_OFFSET: usize = 32768;
/// A process block, in bytes.
pub const BLOCK_SIZE: usize = 4096;

/// Head records in the ring. A reader's copy is spoilt only by this many commits less one during the copy.
pub const RING_LEN: usize = if cfg!(loom) { 2 } else { 8 };
/// A head body, in words: bytes 56..1792 of a meta.
pub const BODY_WORDS: usize = if cfg!(loom) { 2 } else { 217 };
/// The part of it that a reader copies, in words: txnid through the four tree records.
pub const HEAD_WORDS: usize = if cfg!(loom) { 2 } else { 20 };
/// The words a record's checksum covers: the body, the durable txnid and the durable meta's checksum.
pub const SEALED_WORDS: usize = BODY_WORDS + 2;
/// What is left of a record.
pub const RECORD_REST: usize = 2048 - 16 - SEALED_WORDS * 8;

/// Reader slots in a block.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 62 };
/// Blocks that a file may have: as many as the writer word can name, and as its reserve of 256 MiB holds.
pub const BLOCKS_MAX: usize = (RESERVE - BLOCKS_OFFSET) / BLOCK_SIZE;
/// Address space for the lock file.
pub const RESERVE: usize = 256 << 20;

/// The writer word when nobody holds it.
pub const WRITER_FREE: u32 = 0;
/// The writer word when its holder died and has been cleaned up after.
pub const WRITER_ORPHAN: u32 = 0xffff;
/// The writer word's bit for "somebody waits".
pub const WRITER_WAITERS: u32 = 1 << 31;
/// A ticket's bit for "the lock is on its way to you".
pub const TICKET_HANDED: u64 = 1 << 63;

/// Lock file: the byte of block 0's owner.
pub const BLOCK_BYTE: u64 = 1 << 40;
/// Lock file: held while attaching and detaching.
pub const ATTACH_BYTE: u64 = 1 << 41;
/// Data file: held by whoever uses it, shared or alone.
pub const UNIVERSE_BYTE: u64 = 1 << 61;
/// Data file: held by frozen readers.
pub const FROZEN_BYTE: u64 = UNIVERSE_BYTE + 1;

/// The largest sequence number and txnid believed when read from a file: 2^62, out of reach of honest counting.
pub const NUMBER_MAX: u64 = 1 << 62;

const _: () =
    assert!(BLOCKS_MAX < WRITER_ORPHAN as usize, "a block's name must fit 16 bits beside the orphan");
const _: () = assert!(HEAD_WORDS <= BODY_WORDS);
