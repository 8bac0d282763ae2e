//! LMDB's nested write transactions. Each copies its parent's list of dirty pages when it begins.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, WithTls};

use super::{Ending, Nesting};
use crate::Result;
use crate::machine::Stopwatch;
use crate::workload::Entries;

struct Lmdb {
    env: Env<WithTls>,
    db: Database<'static, Bytes, Bytes>,
}

pub fn open(dir: &Path, room_bytes: u64) -> Result<Box<dyn Nesting>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(usize::try_from(room_bytes)?.next_multiple_of(1 << 20));
    // SAFETY: the directory is this run's own, and nothing else opens or changes the file in it.
    #[expect(unsafe_code, reason = "opening a file to map it")]
    let env = unsafe { options.open(dir)? };
    let db = env
        .create_databases_and_commit(env.write_txn()?, |opener, txn| {
            opener.database_options().types::<Bytes, Bytes>().create(txn).map(CommitOrAbort::<_, ()>::Commit)
        })?
        .unwrap_commit();
    Ok(Box::new(Lmdb { env, db }))
}

impl Nesting for Lmdb {
    fn fill(&self, entries: &Entries) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in entries.iter() {
            self.db.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn nested(&self, entries: &Entries, ending: Ending) -> Result<f64> {
        let mut txn = self.env.write_txn()?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for (key, value) in entries.iter() {
            let mut nested = self.env.nested_write_txn(&mut txn)?;
            self.db.put(&mut nested, key, value)?;
            match ending {
                Ending::Commit => nested.commit()?,
                Ending::Abort => nested.abort(),
            }
        }
        Ok(started.nanoseconds() / entries.len() as f64)
    }
}
