//! The lock file's layout as the engine uses it: what the format draws, with numbers small enough for models in
//! its place under loom.

#[cfg(not(loom))]
use mapledb_format::head_body::{HEAD_BODY_BYTES, HEAD_READ_BYTES};
pub use mapledb_format::lockfile::*;

/// The magic as a word holds it.
pub const MAGIC: u64 = u64::from_le_bytes(LOCK_MAGIC);

/// A head body, in words.
#[cfg(not(loom))]
pub const BODY_WORDS: usize = HEAD_BODY_BYTES / 8;
/// The part of it that a reader copies, in words.
#[cfg(not(loom))]
pub const HEAD_WORDS: usize = HEAD_READ_BYTES / 8;

/// Head records in the model's ring. A reader's copy is spoilt only by this many commits less one during the copy.
#[cfg(loom)]
pub const RING_LEN: usize = 2;
/// Words of the model's head body.
#[cfg(loom)]
pub const BODY_WORDS: usize = 2;
/// All of them are copied.
#[cfg(loom)]
pub const HEAD_WORDS: usize = 2;
/// Reader slots of the model's blocks.
#[cfg(loom)]
pub const BLOCK_SLOTS: usize = 2;

/// The words that a record's checksum covers: the body, the durable txnid and the durable meta's checksum.
pub const SEALED_WORDS: usize = BODY_WORDS + 2;

const _: () = assert!(HEAD_WORDS <= BODY_WORDS);
