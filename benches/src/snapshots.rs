//! Engines that keep states under names or numbers across restarts, behind one small trait.

use std::path::Path;

use crate::Result;
use crate::machine::Stopwatch;
use crate::workload::Entries;

/// An open database with one table of bytes.
pub trait Snapshots {
    /// Puts entries in one durable transaction.
    fn fill(&self, entries: &Entries) -> Result<()>;
    /// Makes a snapshot of what stands, durable when it returns; answers its number.
    fn make(&self, nth: u64) -> Result<u64>;
    /// Drops it, durable when it returns.
    fn drop_made(&self, snapshot: u64) -> Result<()>;
    /// Nanoseconds to open a snapshot for reading and end that, of an engine that reads them; else NaN.
    fn opens(&self, _snapshot: u64, _times: usize) -> Result<f64> {
        Ok(f64::NAN)
    }
    /// Nanoseconds to park a reader and bring it back, of an engine whose readers can be evicted; else NaN.
    fn parks(&self, _times: usize) -> Result<f64> {
        Ok(f64::NAN)
    }
}

/// An engine that has such snapshots.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The name of its peer.
    pub name: &'static str,
    /// Opens a fresh database in a directory.
    pub open: fn(&Path) -> Result<Box<dyn Snapshots>>,
}

/// The engines of this build that have them.
pub fn all() -> Vec<Candidate> {
    vec![
        Candidate { name: "maple", open: Maple::open },
        #[cfg(feature = "redb")]
        Candidate { name: "redb", open: redb::open },
    ]
}

struct Maple(mapledb::Env);

impl Maple {
    fn open(dir: &Path) -> Result<Box<dyn Snapshots>> {
        // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
        #[expect(unsafe_code, reason = "opening a file to map it")]
        let env = unsafe { mapledb::Env::options().create(dir.join("data.maple"))? };
        Ok(Box::new(Maple(env)))
    }
}

impl Snapshots for Maple {
    fn fill(&self, entries: &Entries) -> Result<()> {
        let mut txn = self.0.write()?;
        let mut table = txn.main();
        for (key, value) in entries.iter() {
            table.put(key, value)?;
        }
        txn.commit()?;
        Ok(())
    }

    fn make(&self, nth: u64) -> Result<u64> {
        self.0.create_snapshot(&nth.to_string())?;
        Ok(nth)
    }

    fn drop_made(&self, snapshot: u64) -> Result<()> {
        self.0.drop_snapshot(&snapshot.to_string())?;
        Ok(())
    }

    fn opens(&self, snapshot: u64, times: usize) -> Result<f64> {
        let name = snapshot.to_string();
        let watch = Stopwatch::new();
        let started = watch.start();
        for _ in 0..times {
            drop(self.0.read_snapshot(&name)?);
        }
        Ok(started.nanoseconds() / times as f64)
    }

    fn parks(&self, times: usize) -> Result<f64> {
        let mut txn = self.0.read()?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for _ in 0..times {
            txn = txn.park()?.unpark()?;
        }
        Ok(started.nanoseconds() / times as f64)
    }
}

/// redb's persistent savepoints: kept across restarts and rolled back to, but not read.
#[cfg(feature = "redb")]
mod redb {
    use std::path::Path;

    use redb::{Database, TableDefinition};

    use super::Snapshots;
    use crate::Result;
    use crate::workload::Entries;

    const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("main");

    struct Redb(Database);

    pub(super) fn open(dir: &Path) -> Result<Box<dyn Snapshots>> {
        let cache_bytes = usize::try_from(crate::machine::memory_bytes() / 2)?;
        Ok(Box::new(Redb(Database::builder().set_cache_size(cache_bytes).create(dir.join("data.redb"))?)))
    }

    impl Snapshots for Redb {
        fn fill(&self, entries: &Entries) -> Result<()> {
            let txn = self.0.begin_write()?;
            let mut table = txn.open_table(TABLE)?;
            for (key, value) in entries.iter() {
                table.insert(key, value)?;
            }
            drop(table);
            Ok(txn.commit()?)
        }

        fn make(&self, _nth: u64) -> Result<u64> {
            let txn = self.0.begin_write()?;
            let snapshot = txn.persistent_savepoint()?;
            txn.commit()?;
            Ok(snapshot)
        }

        fn drop_made(&self, snapshot: u64) -> Result<()> {
            let txn = self.0.begin_write()?;
            if !txn.delete_persistent_savepoint(snapshot)? {
                return Err("a savepoint is gone that was made".into());
            }
            Ok(txn.commit()?)
        }
    }
}
