//! LMDB by the `heed` crate: in its default mode (a read-only map, `pwrite`, `fdatasync`), and with a writable map.
//! Relaxed, both go without a sync, which LMDB calls unsafe: a crash of the system may corrupt the file.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, RwTxn, WithTls};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer, shown};

type BytesDb = Database<'static, Bytes, Bytes>;

/// An LMDB environment and its unnamed database.
pub struct Lmdb {
    env: Env<WithTls>,
    db: BytesDb,
}

impl Lmdb {
    fn open_with(dir: &Path, setup: &Setup, mut flags: EnvFlags) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        if setup.durability == Durability::Relaxed {
            flags |= EnvFlags::NO_SYNC;
        }
        let mut options = EnvOpenOptions::new();
        options.map_size(usize::try_from(setup.room_bytes)?.next_multiple_of(1 << 20));
        // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
        #[expect(unsafe_code, reason = "opening a file to map it")]
        let env = unsafe { options.flags(flags).open(dir)? };
        let db = env
            .create_databases_and_commit(env.write_txn()?, |opener, txn| {
                opener.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        Ok(Self { env, db })
    }
}

impl Engine for Lmdb {
    type Reader<'e> = LmdbReader<'e>;
    type Writer<'e> = LmdbWriter<'e>;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Self::open_with(dir, setup, EnvFlags::empty())
    }

    #[inline]
    fn read<R>(&self, body: impl FnOnce(&mut LmdbReader<'_>) -> Result<R>) -> Result<R> {
        body(&mut LmdbReader { txn: self.env.read_txn()?, db: self.db })
    }

    #[inline]
    fn write<R>(&self, body: impl FnOnce(&mut LmdbWriter<'_>) -> Result<R>) -> Result<R> {
        let mut writer = LmdbWriter { txn: self.env.write_txn()?, db: self.db };
        let answer = body(&mut writer)?;
        writer.txn.commit()?;
        Ok(answer)
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

/// LMDB that stores through its map.
pub struct WriteMap(Lmdb);

impl Engine for WriteMap {
    type Reader<'e> = LmdbReader<'e>;
    type Writer<'e> = LmdbWriter<'e>;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Lmdb::open_with(dir, setup, EnvFlags::WRITE_MAP).map(Self)
    }

    #[inline]
    fn read<R>(&self, body: impl FnOnce(&mut LmdbReader<'_>) -> Result<R>) -> Result<R> {
        self.0.read(body)
    }

    #[inline]
    fn write<R>(&self, body: impl FnOnce(&mut LmdbWriter<'_>) -> Result<R>) -> Result<R> {
        self.0.write(body)
    }

    fn close(self) -> Result<()> {
        self.0.close()
    }
}

/// A read transaction of LMDB.
pub struct LmdbReader<'e> {
    txn: RoTxn<'e, WithTls>,
    db: BytesDb,
}

impl Reader for LmdbReader<'_> {
    type Table<'t>
        = LmdbTable<'t>
    where
        Self: 't;

    #[inline]
    fn table(&mut self) -> Result<LmdbTable<'_>> {
        Ok(LmdbTable { txn: &self.txn, db: self.db })
    }
}

/// The unnamed database in a snapshot.
pub struct LmdbTable<'t> {
    txn: &'t RoTxn<'t, WithTls>,
    db: BytesDb,
}

impl Table for LmdbTable<'_> {
    #[inline]
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.db.get(self.txn, key)?.map(read).is_some())
    }

    #[inline]
    fn forward(&mut self, from: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        // LMDB knows no empty key.
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        shown(self.db.range(self.txn, &(from, Bound::Unbounded))?, limit, each)
    }

    #[inline]
    fn backward(&mut self, to: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        shown(self.db.rev_range(self.txn, &(Bound::Unbounded, Bound::Excluded(to)))?, limit, each)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let entries = self.db.range(self.txn, &(Bound::Included(from), Bound::Excluded(to)))?;
        let mut seen = 0;
        for entry in entries {
            entry?;
            seen += 1;
        }
        Ok(seen)
    }
}

/// The write transaction of LMDB.
pub struct LmdbWriter<'e> {
    txn: RwTxn<'e>,
    db: BytesDb,
}

impl Writer for LmdbWriter<'_> {
    const HAS_SORTED_LOAD: bool = true;
    const HAS_DELETE_RANGE: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.db.put(&mut self.txn, key, value)?;
        }
        Ok(())
    }

    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.db.put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)?;
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        for key in keys {
            if !self.db.delete(&mut self.txn, key)? {
                return Err("a key to be deleted is missing".into());
            }
        }
        Ok(())
    }

    /// `heed` has the call; LMDB below it deletes entry by entry.
    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.db.delete_range(&mut self.txn, &(Bound::Included(from), Bound::Excluded(to)))?;
        Ok(())
    }
}
