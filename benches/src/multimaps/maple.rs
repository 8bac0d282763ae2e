//! MapleDB: duplicates of a fixed length are packed, and read a page at a time.

use std::path::Path;

use mapledb::Env;

use super::{Found, Key, Multimap, Pair};
use crate::Result;

const TABLE: mapledb::Multimap<'static, [u8], u64> = mapledb::Multimap::new("pairs");

struct Maple(Env);

pub fn open(dir: &Path, _room_bytes: u64) -> Result<Box<dyn Multimap>> {
    // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
    #[expect(unsafe_code, reason = "opening a file to map it")]
    let env = unsafe { Env::options().create(dir.join("data.maple"))? };
    let mut txn = env.write()?;
    txn.open_multimap(&TABLE)?;
    txn.commit()?;
    Ok(Box::new(Maple(env)))
}

impl Multimap for Maple {
    fn insert(&self, pairs: &[Pair]) -> Result<()> {
        let mut txn = self.0.write()?;
        let mut table = txn.open_multimap(&TABLE)?;
        for (key, duplicate) in pairs {
            table.insert(key, &u64::from_be_bytes(*duplicate))?;
        }
        txn.commit()?;
        Ok(())
    }

    fn read(&self, keys: &[Key]) -> Result<Found> {
        let txn = self.0.read()?;
        let table = txn.multimap(&TABLE)?;
        let mut found = Found::default();
        for key in keys {
            for page in table.arrays::<8>(key)? {
                page?.iter().for_each(|duplicate| found.add(duplicate));
            }
        }
        Ok(found)
    }
}
