//! Engines that keep many values under a key, behind one small trait: each with one multimap of keys of 24 bytes and
//! duplicates of 8 bytes, set up as its users would for just that.

use std::path::Path;

use crate::Result;

mod lmdb;
mod maple;
#[cfg(feature = "mdbx")]
mod mdbx;
#[cfg(feature = "redb")]
mod redb;

/// A key.
pub type Key = [u8; crate::workload::KEY_BYTES];
/// A key and a duplicate: a number, big-endian.
pub type Pair = (Key, [u8; 8]);

/// What reading duplicates found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many.
    pub count: usize,
    /// Their sum.
    pub sum: u64,
}

impl Found {
    /// Adds one more.
    #[inline]
    pub fn add(&mut self, duplicate: &[u8; 8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(u64::from_be_bytes(*duplicate));
    }
}

/// An open database with one multimap.
pub trait Multimap {
    /// Inserts pairs in the order given, in one durable transaction.
    fn insert(&self, pairs: &[Pair]) -> Result<()>;
    /// Reads all duplicates of each of `keys`, in one read transaction, by the fastest way that the crate has.
    fn read(&self, keys: &[Key]) -> Result<Found>;
}

/// An engine that has multimaps.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The name of its peer.
    pub name: &'static str,
    /// Opens a fresh database in a directory, which may grow to so many bytes.
    pub open: fn(&Path, u64) -> Result<Box<dyn Multimap>>,
}

/// The engines of this build that have multimaps.
pub fn all() -> Vec<Candidate> {
    vec![
        Candidate { name: "maple", open: maple::open },
        Candidate { name: "lmdb", open: lmdb::open },
        Candidate { name: "lmdb-writemap", open: lmdb::open_write_map },
        #[cfg(feature = "mdbx")]
        Candidate { name: "mdbx", open: mdbx::open },
        #[cfg(feature = "redb")]
        Candidate { name: "redb", open: redb::open },
    ]
}
