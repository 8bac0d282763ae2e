//! Engines that have transactions within a write transaction, behind one small trait.

use std::path::Path;

use crate::Result;
use crate::workload::Entries;

mod lmdb;
mod maple;
#[cfg(feature = "mdbx")]
mod mdbx;
#[cfg(feature = "sqlite")]
mod sqlite;

/// How a nested transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its changes become its parent's.
    Commit,
    /// They are as if they had never been.
    Abort,
}

/// An open database with one table of bytes.
pub trait Nesting {
    /// Puts entries in one durable transaction.
    fn fill(&self, entries: &Entries) -> Result<()>;
    /// Begins a write transaction, in it a nested one for each entry, which puts it and ends so, and then gives all of it up. Answers
    /// nanoseconds of each nested one.
    fn nested(&self, entries: &Entries, ending: Ending) -> Result<f64>;
    /// The same with a savepoint for each entry, to which is rolled back if there are such beside nested transactions; else NaN.
    fn savepoints(&self, _entries: &Entries) -> Result<f64> {
        Ok(f64::NAN)
    }
}

/// An engine that has nested transactions.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The name of its peer.
    pub name: &'static str,
    /// Opens a fresh database in a directory, which may grow to so many bytes.
    pub open: fn(&Path, u64) -> Result<Box<dyn Nesting>>,
}

/// The engines of this build that have nested transactions. LMDB has none on a writable map.
pub fn all() -> Vec<Candidate> {
    vec![
        Candidate { name: "maple", open: maple::open },
        Candidate { name: "lmdb", open: lmdb::open },
        #[cfg(feature = "mdbx")]
        Candidate { name: "mdbx", open: mdbx::open },
        #[cfg(feature = "sqlite")]
        Candidate { name: "sqlite", open: sqlite::open },
    ]
}
