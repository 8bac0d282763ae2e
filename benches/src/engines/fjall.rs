//! fjall: its plain interface, with a write batch for a transaction and a snapshot for a read.

use std::ops::Bound;
use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable,
    Snapshot,
};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};

/// A fjall database and its one keyspace.
pub struct Fjall {
    db: Database,
    keyspace: Keyspace,
    mode: PersistMode,
}

impl Engine for Fjall {
    type Reader<'e> = FjallReader<'e>;
    type Writer<'e> = FjallWriter<'e>;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let builder = Database::builder(dir).cache_size(setup.cache_bytes);
        let db = builder.journal_compression(CompressionType::None).open()?;
        let plain = CompressionPolicy::all(CompressionType::None);
        let options = || KeyspaceCreateOptions::default().data_block_compression_policy(plain.clone());
        let keyspace = db.keyspace("main", options)?;
        let mode = match setup.durability {
            Durability::Sync | Durability::Group => PersistMode::SyncAll,
            Durability::Relaxed => PersistMode::Buffer,
        };
        Ok(Self { db, keyspace, mode })
    }

    fn read<R>(&self, body: impl FnOnce(&mut FjallReader<'_>) -> Result<R>) -> Result<R> {
        body(&mut FjallReader { snapshot: self.db.snapshot(), keyspace: &self.keyspace })
    }

    fn write<R>(&self, body: impl FnOnce(&mut FjallWriter<'_>) -> Result<R>) -> Result<R> {
        let batch = self.db.batch().durability(Some(self.mode));
        let mut writer = FjallWriter { batch, keyspace: &self.keyspace };
        let answer = body(&mut writer)?;
        writer.batch.commit()?;
        Ok(answer)
    }

    fn close(self) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}

/// A snapshot of fjall.
pub struct FjallReader<'e> {
    snapshot: Snapshot,
    keyspace: &'e Keyspace,
}

impl Reader for FjallReader<'_> {
    type Table<'t>
        = FjallTable<'t>
    where
        Self: 't;

    fn table(&mut self) -> Result<FjallTable<'_>> {
        Ok(FjallTable { snapshot: &self.snapshot, keyspace: self.keyspace })
    }
}

/// The keyspace in a snapshot.
pub struct FjallTable<'t> {
    snapshot: &'t Snapshot,
    keyspace: &'t Keyspace,
}

impl Table for FjallTable<'_> {
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.snapshot.get(self.keyspace, key)?.map(|value| read(&value)).is_some())
    }

    fn forward(&mut self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        let range = (Bound::Included(from), Bound::Unbounded);
        for entry in self.snapshot.range::<&[u8], _>(self.keyspace, range).take(limit) {
            let (key, value) = entry.into_inner()?;
            each(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn backward(&mut self, to: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        let range = (Bound::Unbounded, Bound::Excluded(to));
        for entry in self.snapshot.range::<&[u8], _>(self.keyspace, range).rev().take(limit) {
            let (key, value) = entry.into_inner()?;
            each(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let mut seen = 0;
        for entry in self.snapshot.range(self.keyspace, from..to) {
            entry.key()?;
            seen += 1;
        }
        Ok(seen)
    }
}

/// A write batch of fjall.
pub struct FjallWriter<'e> {
    batch: OwnedWriteBatch,
    keyspace: &'e Keyspace,
}

/// Deletes are blind: a batch does not say whether a key was there. A range goes key by key.
impl Writer for FjallWriter<'_> {
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.batch.insert(self.keyspace, key, value);
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        for key in keys {
            self.batch.remove(self.keyspace, key);
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        for entry in self.keyspace.range(from..to) {
            self.batch.remove(self.keyspace, entry.key()?);
        }
        Ok(())
    }
}
