//! libmdbx's nested transactions.

use std::path::Path;

use signet_libmdbx::{
    Database, DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};

use super::{Ending, Nesting};
use crate::Result;
use crate::machine::Stopwatch;
use crate::workload::Entries;

struct Mdbx {
    env: Environment,
    db: Database,
}

pub fn open(dir: &Path, room_bytes: u64) -> Result<Box<dyn Nesting>> {
    let room = usize::try_from(room_bytes)?;
    let env = Environment::builder()
        .set_flags(EnvironmentFlags {
            mode: Mode::ReadWrite { sync_mode: SyncMode::Durable },
            ..EnvironmentFlags::default()
        })
        .set_geometry(Geometry { size: Some(0..room), ..Geometry::default() })
        .open(dir)?;
    let txn = env.begin_rw_unsync()?;
    let db = txn.create_db(None, DatabaseFlags::empty())?;
    txn.commit()?;
    Ok(Box::new(Mdbx { env, db }))
}

impl Nesting for Mdbx {
    fn fill(&self, entries: &Entries) -> Result<()> {
        let txn = self.env.begin_rw_unsync()?;
        for (key, value) in entries.iter() {
            txn.put(self.db, key, value, WriteFlags::UPSERT)?;
        }
        txn.commit()?;
        Ok(())
    }

    fn nested(&self, entries: &Entries, ending: Ending) -> Result<f64> {
        let mut txn = self.env.begin_rw_unsync()?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for (key, value) in entries.iter() {
            let nested = txn.begin_nested_txn()?;
            nested.put(self.db, key, value, WriteFlags::UPSERT)?;
            match ending {
                Ending::Commit => drop(nested.commit()?),
                Ending::Abort => drop(nested),
            }
        }
        Ok(started.nanoseconds() / entries.len() as f64)
    }
}
