//! libmdbx with `MDBX_DUPSORT` and `MDBX_DUPFIXED`, read a page of duplicates at a time by the crate's own iterator.

use std::path::Path;

use signet_libmdbx::{
    Database, DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};

use super::{Found, Key, Multimap, Pair};
use crate::Result;

struct Mdbx {
    env: Environment,
    db: Database,
}

pub fn open(dir: &Path, room_bytes: u64) -> Result<Box<dyn Multimap>> {
    let room = usize::try_from(room_bytes)?;
    let env = Environment::builder()
        .set_flags(EnvironmentFlags {
            mode: Mode::ReadWrite { sync_mode: SyncMode::Durable },
            ..EnvironmentFlags::default()
        })
        .set_geometry(Geometry { size: Some(0..room), ..Geometry::default() })
        .open(dir)?;
    let txn = env.begin_rw_unsync()?;
    let db = txn.create_db(None, DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED)?;
    txn.commit()?;
    Ok(Box::new(Mdbx { env, db }))
}

impl Multimap for Mdbx {
    fn insert(&self, pairs: &[Pair]) -> Result<()> {
        let txn = self.env.begin_rw_unsync()?;
        for (key, duplicate) in pairs {
            txn.put(self.db, key, duplicate, WriteFlags::UPSERT)?;
        }
        txn.commit()?;
        Ok(())
    }

    fn read(&self, keys: &[Key]) -> Result<Found> {
        let txn = self.env.begin_ro_unsync()?;
        let mut cursor = txn.cursor(self.db)?;
        let mut found = Found::default();
        for key in keys {
            for duplicate in cursor.iter_dupfixed_of::<[u8; 8]>(key)? {
                found.add(&duplicate?);
            }
        }
        Ok(found)
    }
}
