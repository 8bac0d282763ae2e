//! MapleDB as it comes, at one of its durabilities; and in two other ways, as entrants of their own.

use std::marker::PhantomData;
use std::ops::Bound;
use std::path::Path;

use mapledb::{Env, ReadTable, ReadTxn, Verify, WriteTxn};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer, shown};

/// How an entrant uses MapleDB.
pub trait Way {
    /// When it verifies checksums.
    const VERIFY: Verify = Verify::FirstTouch;

    /// Puts an entry by itself.
    #[inline]
    fn put_alone(env: &Env, (key, value): Entry<'_>) -> mapledb::Result<()> {
        let mut txn = env.write()?;
        txn.main().put(key, value)?;
        txn.commit().map(drop)
    }
}

/// As it comes.
pub struct Plain;

impl Way for Plain {}

/// Compares references with page headers and trusts the rest.
pub struct Trusting;

impl Way for Trusting {
    const VERIFY: Verify = Verify::Never;
}

/// Does single puts together with those of other threads.
pub struct Together;

impl Way for Together {
    #[inline]
    fn put_alone(env: &Env, (key, value): Entry<'_>) -> mapledb::Result<()> {
        env.batch(|txn| txn.main().put(key, value))
    }
}

/// A MapleDB environment.
pub struct Maple<W = Plain>(Env, PhantomData<fn() -> W>);

impl<W: Way> Engine for Maple<W> {
    type Reader<'e> = ReadTxn;
    type Writer<'e> = WriteTxn;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let durability = match setup.durability {
            Durability::Sync => mapledb::Durability::Sync,
            Durability::Group => mapledb::Durability::Group,
            Durability::Relaxed => mapledb::Durability::Relaxed,
        };
        let options = Env::options().durability(durability).verify(W::VERIFY);
        // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
        #[expect(unsafe_code, reason = "opening a file to map it")]
        let env = unsafe { options.open_or_create(dir.join("data.maple"))? };
        Ok(Self(env, PhantomData))
    }

    #[inline]
    fn read<R>(&self, body: impl FnOnce(&mut ReadTxn) -> Result<R>) -> Result<R> {
        body(&mut self.0.read()?)
    }

    #[inline]
    fn write<R>(&self, body: impl FnOnce(&mut WriteTxn) -> Result<R>) -> Result<R> {
        let mut txn = self.0.write()?;
        let answer = body(&mut txn)?;
        txn.commit()?;
        Ok(answer)
    }

    #[inline]
    fn put_alone(&self, entry: Entry<'_>) -> Result<()> {
        Ok(W::put_alone(&self.0, entry)?)
    }

    fn height(&self) -> Result<Option<u64>> {
        Ok(Some(self.0.read()?.main()?.stat().depth))
    }

    fn close(self) -> Result<()> {
        Ok(self.0.close()?)
    }
}

impl Reader for ReadTxn {
    type Table<'t> = ReadTable<'t, [u8], [u8]>;

    #[inline]
    fn table(&mut self) -> Result<ReadTable<'_, [u8], [u8]>> {
        Ok(self.main()?)
    }
}

impl Table for ReadTable<'_, [u8], [u8]> {
    const HAS_MULTI_GET: bool = true;
    const HAS_COUNT: bool = true;

    #[inline]
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(ReadTable::get(self, key)?.map(read).is_some())
    }

    #[inline]
    fn multi_get(&mut self, keys: &[&[u8]], mut read: impl FnMut(usize, &[u8])) -> Result<usize> {
        let mut found = 0;
        for (at, value) in ReadTable::multi_get(self, keys.iter().copied())?.into_iter().enumerate() {
            if let Some(value) = value {
                read(at, value);
                found += 1;
            }
        }
        Ok(found)
    }

    #[inline]
    fn forward(&mut self, from: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        shown(self.range((Bound::Included(from), Bound::Unbounded))?, limit, each)
    }

    #[inline]
    fn backward(&mut self, to: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        shown(self.range((Bound::Unbounded, Bound::Excluded(to)))?.rev(), limit, each)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        Ok(usize::try_from(ReadTable::count(self, from..to)?)?)
    }
}

impl Writer for WriteTxn {
    const HAS_SORTED_LOAD: bool = true;
    const HAS_DELETE_RANGE: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        let mut table = self.main();
        for (key, value) in entries {
            table.put(key, value)?;
        }
        Ok(())
    }

    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        self.main().load_sorted(entries.map(Ok))?;
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut table = self.main();
        for key in keys {
            if !table.delete(key)? {
                return Err("a key to be deleted is missing".into());
            }
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.main().delete_range(from..to)?;
        Ok(())
    }
}
