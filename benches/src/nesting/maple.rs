//! MapleDB: nested transactions, and savepoints, which are half of one.

use std::path::Path;

use mapledb::Env;

use super::{Ending, Nesting};
use crate::Result;
use crate::machine::Stopwatch;
use crate::workload::Entries;

struct Maple(Env);

pub fn open(dir: &Path, _room_bytes: u64) -> Result<Box<dyn Nesting>> {
    // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
    #[expect(unsafe_code, reason = "opening a file to map it")]
    let env = unsafe { Env::options().create(dir.join("data.maple"))? };
    Ok(Box::new(Maple(env)))
}

impl Nesting for Maple {
    fn fill(&self, entries: &Entries) -> Result<()> {
        let mut txn = self.0.write()?;
        let mut table = txn.main();
        for (key, value) in entries.iter() {
            table.put(key, value)?;
        }
        txn.commit()?;
        Ok(())
    }

    fn nested(&self, entries: &Entries, ending: Ending) -> Result<f64> {
        let mut txn = self.0.write()?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for (key, value) in entries.iter() {
            let mut nested = txn.nested()?;
            nested.main().put(key, value)?;
            match ending {
                Ending::Commit => nested.commit()?,
                Ending::Abort => nested.abort()?,
            }
        }
        Ok(started.nanoseconds() / entries.len() as f64)
    }

    fn savepoints(&self, entries: &Entries) -> Result<f64> {
        let mut txn = self.0.write()?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for (key, value) in entries.iter() {
            let savepoint = txn.savepoint()?;
            txn.main().put(key, value)?;
            txn.rollback_to(&savepoint)?;
            txn.release(&savepoint)?;
        }
        Ok(started.nanoseconds() / entries.len() as f64)
    }
}
