//! redb's multimap tables.

use std::path::Path;

use redb::{Database, MultimapTableDefinition, ReadableDatabase};

use super::{Found, Key, Multimap, Pair};
use crate::Result;

const TABLE: MultimapTableDefinition<'static, Key, [u8; 8]> = MultimapTableDefinition::new("pairs");

struct Redb(Database);

pub fn open(dir: &Path, _room_bytes: u64) -> Result<Box<dyn Multimap>> {
    let cache_bytes = usize::try_from(crate::machine::memory_bytes() / 2)?;
    let db = Database::builder().set_cache_size(cache_bytes).create(dir.join("data.redb"))?;
    let txn = db.begin_write()?;
    txn.open_multimap_table(TABLE)?;
    txn.commit()?;
    Ok(Box::new(Redb(db)))
}

impl Multimap for Redb {
    fn insert(&self, pairs: &[Pair]) -> Result<()> {
        let txn = self.0.begin_write()?;
        let mut table = txn.open_multimap_table(TABLE)?;
        for (key, duplicate) in pairs {
            table.insert(key, duplicate)?;
        }
        drop(table);
        Ok(txn.commit()?)
    }

    fn read(&self, keys: &[Key]) -> Result<Found> {
        let txn = self.0.begin_read()?;
        let table = txn.open_multimap_table(TABLE)?;
        let mut found = Found::default();
        for key in keys {
            for duplicate in table.get(key)? {
                found.add(&duplicate?.value());
            }
        }
        Ok(found)
    }
}
