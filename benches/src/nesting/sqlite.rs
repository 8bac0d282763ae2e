//! SQLite's savepoints, which nest: it has no other transactions within a transaction.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Ending, Nesting};
use crate::Result;
use crate::machine::Stopwatch;
use crate::workload::Entries;

const PUT: &str = "INSERT OR REPLACE INTO main_table VALUES (?1, ?2)";

struct Sqlite(Connection);

pub fn open(dir: &Path, room_bytes: u64) -> Result<Box<dyn Nesting>> {
    let connection = Connection::open(dir.join("data.sqlite"))?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = {room_bytes}; PRAGMA cache_size = -262144;
         CREATE TABLE main_table (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    ))?;
    Ok(Box::new(Sqlite(connection)))
}

impl Nesting for Sqlite {
    fn fill(&self, entries: &Entries) -> Result<()> {
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        let mut put = self.0.prepare_cached(PUT)?;
        for (key, value) in entries.iter() {
            put.execute(params![key, value])?;
        }
        Ok(self.0.execute_batch("COMMIT")?)
    }

    fn nested(&self, entries: &Entries, ending: Ending) -> Result<f64> {
        let mut begin = self.0.prepare_cached("SAVEPOINT inner")?;
        let mut put = self.0.prepare_cached(PUT)?;
        let mut back = self.0.prepare_cached("ROLLBACK TO inner")?;
        let mut release = self.0.prepare_cached("RELEASE inner")?;
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        let watch = Stopwatch::new();
        let started = watch.start();
        for (key, value) in entries.iter() {
            begin.execute([])?;
            put.execute(params![key, value])?;
            if ending == Ending::Abort {
                back.execute([])?;
            }
            release.execute([])?;
        }
        let figure = started.nanoseconds() / entries.len() as f64;
        self.0.execute_batch("ROLLBACK")?;
        Ok(figure)
    }
}
