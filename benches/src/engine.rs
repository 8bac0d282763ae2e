//! What an engine under test can do. Static dispatch throughout: nothing stands between a timed loop and
//! the engine but what a user of its crate would write.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::workload::Key;

/// A key and a value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// An open database with one table of bytes.
pub trait Engine: Sized {
    /// The name in tables and JSON.
    const NAME: &'static str;
    /// How an engine may be opened. The default is what the engine itself defaults to.
    type Setup: Clone + Default;
    /// A read transaction.
    type Reader<'e>: Reader
    where
        Self: 'e;
    /// The write transaction.
    type Writer<'e>: Writer
    where
        Self: 'e;

    /// Opens the database in directory `dir`, or creates it there. `room_bytes` is how large it may grow,
    /// for an engine that wants to know.
    fn open(dir: &Path, room_bytes: u64, setup: &Self::Setup) -> Result<Self>;
    /// Begins a read.
    fn reader(&self) -> Result<Self::Reader<'_>>;
    /// Begins a write.
    fn writer(&self) -> Result<Self::Writer<'_>>;
    /// Closes it, and returns when it is closed.
    fn close(self) -> Result<()>;
    /// The file that grows with the entries.
    fn data_file(&self) -> PathBuf;
    /// Bytes of the pages that the table's tree consists of, without free and reserved ones.
    fn tree_bytes(&self) -> Result<u64>;
    /// The engine's version, and that of the crate it is reached by.
    fn version() -> String;
}

/// A read transaction.
pub trait Reader {
    /// The table, as a user would hold it over many reads.
    type Table<'t>: Table<'t>
    where
        Self: 't;
    /// The table in this snapshot.
    fn table(&self) -> Result<Self::Table<'_>>;
}

/// A table in a snapshot.
pub trait Table<'t>: Copy {
    /// The value of `key`.
    fn get(self, key: &[u8]) -> Result<Option<&'t [u8]>>;
    /// Calls `each` on the value of each key, in the order of the keys, the fastest way the engine has.
    fn get_all(self, keys: &[Key], mut each: impl FnMut(Option<&'t [u8]>)) -> Result<()> {
        keys.iter().try_for_each(|key| Ok(each(self.get(key)?)))
    }
    /// Calls `each` on all entries in order, and returns their number.
    fn scan(self, each: impl FnMut(&[u8], &[u8])) -> Result<u64>;
    /// Calls `each` on at most `limit` entries from the first at or after `from`, and returns their number.
    fn range(self, from: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<u64>;
}

/// A write transaction. Whole batches are handed over, so that an engine may get its table once for each.
pub trait Writer {
    /// Puts entries in the order given.
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()>;
    /// Puts entries that ascend and lie behind all others, one call of the engine for each.
    fn append_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()>;
    /// Puts entries that ascend and lie behind all others, the fastest way the engine has.
    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()>;
    /// Commits, durably.
    fn commit(self) -> Result<()>;
}
