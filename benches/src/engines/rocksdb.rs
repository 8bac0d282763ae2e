//! RocksDB: its plain interface, with a write batch for a transaction and a snapshot for a read.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBRawIterator, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};

/// Bits of the bloom filter for a key.
const BLOOM_BITS: f64 = 10.0;

/// A RocksDB database.
pub struct Rocks {
    db: DB,
    durability: Durability,
}

impl Engine for Rocks {
    type Reader<'e> = Snapshot<'e>;
    type Writer<'e> = WriteBatch;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(usize::try_from(setup.cache_bytes)?));
        blocks.set_bloom_filter(BLOOM_BITS, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        options.increase_parallelism(i32::try_from(std::thread::available_parallelism()?.get())?);
        options.set_block_based_table_factory(&blocks);
        Ok(Self { db: DB::open(&options, dir)?, durability: setup.durability })
    }

    fn read<R>(&self, body: impl FnOnce(&mut Snapshot<'_>) -> Result<R>) -> Result<R> {
        body(&mut self.db.snapshot())
    }

    fn write<R>(&self, body: impl FnOnce(&mut WriteBatch) -> Result<R>) -> Result<R> {
        let mut batch = WriteBatch::default();
        let answer = body(&mut batch)?;
        let mut options = WriteOptions::default();
        options.set_sync(self.durability != Durability::Relaxed);
        self.db.write_opt(batch, &options)?;
        Ok(answer)
    }

    fn close(self) -> Result<()> {
        drop(self.db);
        Ok(())
    }
}

impl Reader for Snapshot<'_> {
    type Table<'t>
        = RocksTable<'t>
    where
        Self: 't;

    fn table(&mut self) -> Result<RocksTable<'_>> {
        Ok(RocksTable(self))
    }
}

/// The keys in a snapshot.
pub struct RocksTable<'t>(&'t Snapshot<'t>);

impl RocksTable<'_> {
    fn iterator(&self, upper: Option<&[u8]>) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        self.0.raw_iterator_opt(options)
    }
}

impl Table for RocksTable<'_> {
    const HAS_MULTI_GET: bool = true;

    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.0.get_pinned(key)?.map(|value| read(&value)).is_some())
    }

    fn multi_get(&mut self, keys: &[&[u8]], mut read: impl FnMut(usize, &[u8])) -> Result<usize> {
        let mut found = 0;
        for (at, value) in self.0.multi_get(keys.iter()).into_iter().enumerate() {
            if let Some(value) = value? {
                read(at, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn forward(&mut self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut at = self.iterator(None);
        at.seek(from);
        let mut seen = 0;
        while let Some((key, value)) = at.item() {
            each(key, value);
            seen += 1;
            if seen == limit {
                break;
            }
            at.next();
        }
        at.status()?;
        Ok(seen)
    }

    fn backward(&mut self, to: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut at = self.iterator(None);
        at.seek_for_prev(to);
        if at.key() == Some(to) {
            at.prev();
        }
        let mut seen = 0;
        while let Some((key, value)) = at.item() {
            each(key, value);
            seen += 1;
            if seen == limit {
                break;
            }
            at.prev();
        }
        at.status()?;
        Ok(seen)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let mut at = self.iterator(Some(to));
        at.seek(from);
        let mut seen = 0;
        while at.valid() {
            seen += 1;
            at.next();
        }
        at.status()?;
        Ok(seen)
    }
}

/// Deletes are blind: RocksDB does not say whether a key was there.
impl Writer for WriteBatch {
    const HAS_DELETE_RANGE: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.put(key, value);
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        for key in keys {
            self.delete(key);
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        WriteBatch::delete_range(self, from, to);
        Ok(())
    }
}
