//! What an engine under test can do. Static dispatch in every timed loop: nothing stands between it and the engine but
//! what a user of the engine's crate would write. Whole transactions are closures, so that an engine may keep what it
//! needs, such as a table handle or a prepared statement, where it likes.

use std::path::Path;

use crate::Result;

/// A key and a value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// How far a commit has got when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// It survives power loss.
    Sync,
    /// The same, by a sync that it may share with other commits.
    Group,
    /// It survives the death of the process; a crash of the system may take it.
    Relaxed,
}

impl Durability {
    /// As tables and `results.json` have it. A shared sync promises no less than one's own.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Sync | Durability::Group => "sync",
            Durability::Relaxed => "relaxed",
        }
    }
}

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What a commit promises.
    pub durability: Durability,
    /// How large it may grow, for an engine that wants to be told.
    pub room_bytes: u64,
    /// Bytes of the cache of an engine that keeps its own beside the system's.
    pub cache_bytes: u64,
}

/// An open database with one table of bytes.
pub trait Engine: Sized + Send + Sync {
    /// A read transaction.
    type Reader<'e>: Reader;
    /// The write transaction.
    type Writer<'e>: Writer;

    /// Opens the database in directory `dir`, or creates it there.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;
    /// Begins a read, hands it to `body` and ends it.
    fn read<R>(&self, body: impl FnOnce(&mut Self::Reader<'_>) -> Result<R>) -> Result<R>;
    /// Begins a write, hands it to `body` and commits it.
    fn write<R>(&self, body: impl FnOnce(&mut Self::Writer<'_>) -> Result<R>) -> Result<R>;
    /// Puts an entry in a transaction of its own, or in one that it shares with other threads' if the mode is to.
    fn put_alone(&self, entry: Entry<'_>) -> Result<()> {
        self.write(|writer| writer.put_all(std::iter::once(entry)))
    }
    /// Levels of the table's tree, of an engine that tells.
    fn height(&self) -> Result<Option<u64>> {
        Ok(None)
    }
    /// Closes it, and returns when it is closed.
    fn close(self) -> Result<()>;
}

/// Shows the first `limit` of `entries`; answers how many there were.
#[inline(always)]
pub fn shown<'a, E: Into<Box<dyn std::error::Error>>>(
    entries: impl Iterator<Item = std::result::Result<Entry<'a>, E>>,
    limit: usize,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<usize> {
    let mut seen = 0;
    for entry in entries.take(limit) {
        let (key, value) = entry.map_err(Into::into)?;
        each(key, value);
        seen += 1;
    }
    Ok(seen)
}

/// A read transaction.
pub trait Reader {
    /// The table, as a user would hold it over many reads.
    type Table<'t>: Table
    where
        Self: 't;
    /// The table in this snapshot.
    fn table(&mut self) -> Result<Self::Table<'_>>;
}

/// A table in a snapshot.
pub trait Table {
    /// Whether the engine has a call for many keys at once.
    const HAS_MULTI_GET: bool = false;
    /// Whether the engine counts a range without walking it.
    const HAS_COUNT: bool = false;

    /// Hands the value of `key` to `read`; answers whether there is one.
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool>;
    /// Hands the values of `keys` to `read` with their places; answers how many there are.
    fn multi_get(&mut self, keys: &[&[u8]], mut read: impl FnMut(usize, &[u8])) -> Result<usize> {
        let mut found = 0;
        for (at, key) in keys.iter().enumerate() {
            found += usize::from(self.get(key, |value| read(at, value))?);
        }
        Ok(found)
    }
    /// Hands at most `limit` entries from the first at or after `from` to `each`, ascending; answers how many.
    fn forward(&mut self, from: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize>;
    /// Hands at most `limit` entries from the last before `to` to `each`, descending; answers how many.
    fn backward(&mut self, to: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize>;
    /// How many entries lie in `from..to`.
    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize>;
}

/// A write transaction. Whole batches are handed over, so that an engine may get its table once for each.
pub trait Writer {
    /// Whether a load of ascending entries differs from putting them.
    const HAS_SORTED_LOAD: bool = false;
    /// Whether the engine deletes a range by one call.
    const HAS_DELETE_RANGE: bool = false;

    /// Puts entries in the order given.
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()>;
    /// Puts entries that ascend and lie behind all others, the fastest way the engine has.
    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        self.put_all(entries)
    }
    /// Deletes keys that are there.
    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()>;
    /// Deletes `from..to`, by one call where the engine has it.
    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()>;
}

/// The smallest key above all that are used.
pub const PAST_ALL: [u8; 32] = [0xff; 32];
