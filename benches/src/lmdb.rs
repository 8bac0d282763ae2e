//! LMDB by the `heed` crate, in its default mode: a read-only map, `pwrite`, and `fdatasync` before and with
//! the meta page at each commit.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags, RoTxn, RwTxn, WithTls};

use crate::Result;
use crate::engine::{Engine, Entry, Reader, Table, Writer};
use crate::machine;

type BytesDb = Database<'static, Bytes, Bytes>;

/// An LMDB environment and its unnamed database.
pub struct Lmdb {
    env: Env<WithTls>,
    db: BytesDb,
}

impl Engine for Lmdb {
    const NAME: &'static str = "LMDB";
    type Setup = ();
    type Reader<'e> = LmdbReader<'e>;
    type Writer<'e> = LmdbWriter<'e>;

    fn open(dir: &Path, room_bytes: u64, (): &()) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(usize::try_from(room_bytes)?.next_multiple_of(1 << 20));
        // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
        #[expect(unsafe_code, reason = "opening a file to map it")]
        let env = unsafe { options.open(dir)? };
        let db = env
            .create_databases_and_commit(env.write_txn()?, |opener, txn| {
                opener.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        Ok(Self { env, db })
    }

    fn reader(&self) -> Result<LmdbReader<'_>> {
        Ok(LmdbReader { txn: self.env.read_txn()?, db: self.db })
    }

    fn writer(&self) -> Result<LmdbWriter<'_>> {
        Ok(LmdbWriter { txn: self.env.write_txn()?, db: self.db })
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }

    fn data_file(&self) -> PathBuf {
        self.env.path().join("data.mdb")
    }

    fn tree_bytes(&self) -> Result<u64> {
        let stat = self.db.stat(&*self.env.read_txn()?)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    fn version() -> String {
        let lmdb = heed::lmdb_version();
        let heed = machine::locked_version("heed");
        format!("{}.{}.{} by heed {heed}", lmdb.major, lmdb.minor, lmdb.patch)
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
    fn table(&self) -> Result<LmdbTable<'_>> {
        Ok(LmdbTable { txn: &self.txn, db: self.db })
    }
}

/// The unnamed database in a snapshot.
#[derive(Clone, Copy)]
pub struct LmdbTable<'t> {
    txn: &'t RoTxn<'t, WithTls>,
    db: BytesDb,
}

impl<'t> Table<'t> for LmdbTable<'t> {
    #[inline]
    fn get(self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        Ok(self.db.get(self.txn, key)?)
    }

    #[inline]
    fn scan(self, mut each: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        for entry in self.db.iter(self.txn)? {
            let (key, value) = entry?;
            each(key, value);
            seen += 1;
        }
        Ok(seen)
    }

    #[inline]
    fn range(self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        let bounds = (Bound::Included(from), Bound::Unbounded);
        for entry in self.db.range(self.txn, &bounds)?.take(limit) {
            let (key, value) = entry?;
            each(key, value);
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
    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.db.put(&mut self.txn, key, value)?;
        }
        Ok(())
    }

    fn append_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.db.put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)?;
        }
        Ok(())
    }

    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        self.append_all(entries)
    }

    fn commit(self) -> Result<()> {
        Ok(self.txn.commit()?)
    }
}
