//! redb.

use std::ops::Bound;
use std::path::Path;

use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};

type Bytes = &'static [u8];
const TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("main");

/// A redb database.
pub struct Redb {
    db: Database,
    durability: redb::Durability,
}

impl Engine for Redb {
    type Reader<'e> = RedbReader;
    type Writer<'e> = RedbWriter<'e>;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let cache_bytes = usize::try_from(setup.cache_bytes)?;
        let db = Database::builder().set_cache_size(cache_bytes).create(dir.join("data.redb"))?;
        let txn = db.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        let durability = match setup.durability {
            Durability::Sync | Durability::Group => redb::Durability::Immediate,
            Durability::Relaxed => redb::Durability::None,
        };
        Ok(Self { db, durability })
    }

    fn read<R>(&self, body: impl FnOnce(&mut RedbReader) -> Result<R>) -> Result<R> {
        body(&mut RedbReader(self.db.begin_read()?))
    }

    fn write<R>(&self, body: impl FnOnce(&mut RedbWriter<'_>) -> Result<R>) -> Result<R> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        let answer = body(&mut RedbWriter(txn.open_table(TABLE)?))?;
        txn.commit()?;
        Ok(answer)
    }

    fn close(self) -> Result<()> {
        drop(self.db);
        Ok(())
    }
}

/// A read transaction of redb.
pub struct RedbReader(redb::ReadTransaction);

impl Reader for RedbReader {
    type Table<'t> = RedbTable;

    fn table(&mut self) -> Result<RedbTable> {
        Ok(RedbTable(self.0.open_table(TABLE)?))
    }
}

/// The table in a snapshot.
pub struct RedbTable(ReadOnlyTable<Bytes, Bytes>);

impl Table for RedbTable {
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.0.get(key)?.map(|value| read(value.value())).is_some())
    }

    fn forward(&mut self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for entry in self.0.range::<&[u8]>((Bound::Included(from), Bound::Unbounded))?.take(limit) {
            let (key, value) = entry?;
            each(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn backward(&mut self, to: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for entry in self.0.range::<&[u8]>((Bound::Unbounded, Bound::Excluded(to)))?.rev().take(limit) {
            let (key, value) = entry?;
            each(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let mut seen = 0;
        for entry in self.0.range::<&[u8]>(from..to)? {
            entry?;
            seen += 1;
        }
        Ok(seen)
    }
}

/// The write transaction's table.
pub struct RedbWriter<'t>(redb::Table<'t, Bytes, Bytes>);

impl Writer for RedbWriter<'_> {
    const HAS_DELETE_RANGE: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.0.insert(key, value)?;
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        for key in keys {
            self.0.remove(key)?.ok_or("a key to be deleted is missing")?;
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        Ok(self.0.retain_in::<&[u8], _>(from..to, |_, _| false)?)
    }
}
