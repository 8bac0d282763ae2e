//! LMDB with `MDB_DUPSORT` and `MDB_DUPFIXED`. `heed` has no call for `MDB_GET_MULTIPLE`, so duplicates are read one by one.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, DatabaseFlags, Env, EnvFlags, EnvOpenOptions, WithTls};

use super::{Found, Key, Multimap, Pair};
use crate::Result;

struct Lmdb {
    env: Env<WithTls>,
    db: Database<'static, Bytes, Bytes>,
}

pub fn open(dir: &Path, room_bytes: u64) -> Result<Box<dyn Multimap>> {
    open_with(dir, room_bytes, EnvFlags::empty())
}

pub fn open_write_map(dir: &Path, room_bytes: u64) -> Result<Box<dyn Multimap>> {
    open_with(dir, room_bytes, EnvFlags::WRITE_MAP)
}

fn open_with(dir: &Path, room_bytes: u64, flags: EnvFlags) -> Result<Box<dyn Multimap>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(usize::try_from(room_bytes)?.next_multiple_of(1 << 20));
    // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
    #[expect(unsafe_code, reason = "opening a file to map it")]
    let env = unsafe { options.flags(flags).open(dir)? };
    let db = env
        .create_databases_and_commit(env.write_txn()?, |opener, txn| {
            let mut options = opener.database_options().types::<Bytes, Bytes>();
            options.flags(DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED);
            options.create(txn).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .unwrap_commit();
    Ok(Box::new(Lmdb { env, db }))
}

impl Multimap for Lmdb {
    fn insert(&self, pairs: &[Pair]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, duplicate) in pairs {
            self.db.put(&mut txn, key, duplicate)?;
        }
        Ok(txn.commit()?)
    }

    fn read(&self, keys: &[Key]) -> Result<Found> {
        let txn = self.env.read_txn()?;
        let mut found = Found::default();
        for key in keys {
            for pair in self.db.get_duplicates(&txn, key)?.into_iter().flatten() {
                found.add(pair?.1.try_into()?);
            }
        }
        Ok(found)
    }
}
