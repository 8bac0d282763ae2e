//! libmdbx by the `signet-libmdbx` crate, with its transactions for one thread, which are the faster ones.

use std::borrow::Cow;
use std::path::Path;

use signet_libmdbx::{
    Database, DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, Ro, Rw, SyncMode, TxUnsync,
    WriteFlags,
};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};

type Slice<'t> = Cow<'t, [u8]>;

/// A libmdbx environment and its unnamed database.
pub struct Mdbx {
    env: Environment,
    db: Database,
}

impl Engine for Mdbx {
    type Reader<'e> = MdbxReader;
    type Writer<'e> = MdbxWriter;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let sync_mode = match setup.durability {
            Durability::Sync | Durability::Group => SyncMode::Durable,
            Durability::Relaxed => SyncMode::SafeNoSync,
        };
        let room = usize::try_from(setup.room_bytes)?;
        let env = Environment::builder()
            .set_flags(EnvironmentFlags {
                mode: Mode::ReadWrite { sync_mode },
                ..EnvironmentFlags::default()
            })
            .set_geometry(Geometry { size: Some(0..room), ..Geometry::default() })
            .open(dir)?;
        let txn = env.begin_rw_unsync()?;
        let db = txn.create_db(None, DatabaseFlags::empty())?;
        txn.commit()?;
        Ok(Self { env, db })
    }

    fn read<R>(&self, body: impl FnOnce(&mut MdbxReader) -> Result<R>) -> Result<R> {
        body(&mut MdbxReader { txn: self.env.begin_ro_unsync()?, db: self.db })
    }

    fn write<R>(&self, body: impl FnOnce(&mut MdbxWriter) -> Result<R>) -> Result<R> {
        let mut writer = MdbxWriter { txn: self.env.begin_rw_unsync()?, db: self.db };
        let answer = body(&mut writer)?;
        writer.txn.commit()?;
        Ok(answer)
    }

    fn close(self) -> Result<()> {
        drop(self.env);
        Ok(())
    }
}

/// A read transaction of libmdbx.
pub struct MdbxReader {
    txn: TxUnsync<Ro>,
    db: Database,
}

impl Reader for MdbxReader {
    type Table<'t> = MdbxTable<'t>;

    fn table(&mut self) -> Result<MdbxTable<'_>> {
        Ok(MdbxTable { txn: &self.txn, db: self.db })
    }
}

/// The unnamed database in a snapshot.
pub struct MdbxTable<'t> {
    txn: &'t TxUnsync<Ro>,
    db: Database,
}

impl Table for MdbxTable<'_> {
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        let value: Option<Slice<'_>> = self.txn.get(self.db.dbi(), key)?;
        Ok(value.map(|value| read(&value)).is_some())
    }

    fn forward(&mut self, from: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut cursor = self.txn.cursor(self.db)?;
        let mut entry = cursor.set_range::<Slice<'_>, Slice<'_>>(from)?;
        let mut seen = 0;
        while let Some((key, value)) = entry {
            each(&key, &value);
            seen += 1;
            if seen == limit {
                break;
            }
            entry = cursor.next()?;
        }
        Ok(seen)
    }

    fn backward(&mut self, to: &[u8], limit: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut cursor = self.txn.cursor(self.db)?;
        let mut entry = match cursor.set_range::<Slice<'_>, Slice<'_>>(to)? {
            Some(_) => cursor.prev()?,
            None => cursor.last()?,
        };
        let mut seen = 0;
        while let Some((key, value)) = entry {
            let (key, value): (Slice<'_>, Slice<'_>) = (key, value);
            each(&key, &value);
            seen += 1;
            if seen == limit {
                break;
            }
            entry = cursor.prev()?;
        }
        Ok(seen)
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let mut cursor = self.txn.cursor(self.db)?;
        let mut entry = cursor.set_range::<Slice<'_>, ()>(from)?;
        let mut seen = 0;
        while entry.is_some_and(|(key, ())| &key[..] < to) {
            seen += 1;
            entry = cursor.next()?;
        }
        Ok(seen)
    }
}

/// The write transaction of libmdbx.
pub struct MdbxWriter {
    txn: TxUnsync<Rw>,
    db: Database,
}

impl Writer for MdbxWriter {
    const HAS_SORTED_LOAD: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.txn.put(self.db, key, value, WriteFlags::UPSERT)?;
        }
        Ok(())
    }

    fn load_sorted<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        for (key, value) in entries {
            self.txn.append(self.db, key, value)?;
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        for key in keys {
            if !self.txn.del(self.db, key, None)? {
                return Err("a key to be deleted is missing".into());
            }
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let mut cursor = self.txn.cursor(self.db)?;
        let mut entry = cursor.set_range::<Slice<'_>, ()>(from)?;
        while entry.is_some_and(|(key, ())| &key[..] < to) {
            cursor.del()?;
            // A deletion leaves the cursor at the entry behind the deleted one.
            entry = cursor.get_current()?;
        }
        Ok(())
    }
}
