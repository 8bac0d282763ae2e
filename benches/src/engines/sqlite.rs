//! SQLite by the `rusqlite` crate: one table WITHOUT ROWID, a write-ahead log, and a connection for each transaction
//! that is open at once. Statements are prepared once for each connection.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::engine::{Durability, Engine, Entry, Reader, Setup, Table, Writer};

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of SQLite's own cache of pages; the file is mapped besides.
const CACHE_KIBIBYTES: u32 = 256 << 10;

/// A SQLite database.
pub struct Sqlite {
    path: PathBuf,
    durability: Durability,
    room_bytes: u64,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    /// SQLite's writers poll for their turn; within the process they queue here instead.
    writer: Mutex<()>,
}

impl Sqlite {
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(PATIENCE)?;
        let synchronous = match self.durability {
            Durability::Sync | Durability::Group => "FULL",
            Durability::Relaxed => "OFF",
        };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA mmap_size = {}; PRAGMA cache_size = -{CACHE_KIBIBYTES};
             CREATE TABLE IF NOT EXISTS main_table (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
            self.room_bytes
        ))?;
        Ok(connection)
    }

    fn taken(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    fn within<R>(&self, begin: &str, body: impl FnOnce(&Connection) -> Result<R>) -> Result<R> {
        let connection = self.taken()?;
        connection.prepare_cached(begin)?.execute([])?;
        let answer = body(&connection)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        self.give_back(connection);
        Ok(answer)
    }
}

impl Engine for Sqlite {
    type Reader<'e> = SqliteTxn<'e>;
    type Writer<'e> = SqliteTxn<'e>;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (durability, room_bytes) = (setup.durability, setup.room_bytes);
        let path = dir.join("data.sqlite");
        let database =
            Self { path, durability, room_bytes, idle: Mutex::default(), writer: Mutex::default() };
        database.give_back(database.connect()?);
        Ok(database)
    }

    fn read<R>(&self, body: impl FnOnce(&mut SqliteTxn<'_>) -> Result<R>) -> Result<R> {
        self.within("BEGIN", |connection| body(&mut SqliteTxn(connection)))
    }

    fn write<R>(&self, body: impl FnOnce(&mut SqliteTxn<'_>) -> Result<R>) -> Result<R> {
        let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.within("BEGIN IMMEDIATE", |connection| body(&mut SqliteTxn(connection)))
    }

    fn close(self) -> Result<()> {
        let idle = self.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        idle.into_iter().try_for_each(|connection| connection.close().map_err(|(_, error)| error.into()))
    }
}

/// A connection within a transaction.
pub struct SqliteTxn<'e>(&'e Connection);

impl Reader for SqliteTxn<'_> {
    type Table<'t>
        = SqliteTable<'t>
    where
        Self: 't;

    fn table(&mut self) -> Result<SqliteTable<'_>> {
        Ok(SqliteTable {
            connection: self.0,
            get: self.0.prepare_cached("SELECT value FROM main_table WHERE key = ?1")?,
        })
    }
}

/// The table in a snapshot.
pub struct SqliteTable<'t> {
    connection: &'t Connection,
    get: rusqlite::CachedStatement<'t>,
}

impl SqliteTable<'_> {
    fn walk(
        &self,
        sql: &str,
        bound: &[u8],
        limit: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![bound, i64::try_from(limit).unwrap_or(-1)])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            seen += 1;
        }
        Ok(seen)
    }
}

impl Table for SqliteTable<'_> {
    fn get(&mut self, key: &[u8], read: impl FnOnce(&[u8])) -> Result<bool> {
        let mut rows = self.get.query([key])?;
        match rows.next()? {
            Some(row) => {
                read(row.get_ref(0)?.as_blob()?);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn forward(&mut self, from: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        self.walk(
            "SELECT key, value FROM main_table WHERE key >= ?1 ORDER BY key LIMIT ?2",
            from,
            limit,
            each,
        )
    }

    fn backward(&mut self, to: &[u8], limit: usize, each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        self.walk(
            "SELECT key, value FROM main_table WHERE key < ?1 ORDER BY key DESC LIMIT ?2",
            to,
            limit,
            each,
        )
    }

    fn count(&mut self, from: &[u8], to: &[u8]) -> Result<usize> {
        let mut statement =
            self.connection.prepare_cached("SELECT count(*) FROM main_table WHERE key >= ?1 AND key < ?2")?;
        let counted: Option<i64> = statement.query_row(params![from, to], |row| row.get(0)).optional()?;
        Ok(usize::try_from(counted.unwrap_or(0))?)
    }
}

impl Writer for SqliteTxn<'_> {
    const HAS_DELETE_RANGE: bool = true;

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Result<()> {
        let mut put =
            self.0.prepare_cached("INSERT OR REPLACE INTO main_table (key, value) VALUES (?1, ?2)")?;
        for (key, value) in entries {
            put.execute(params![key, value])?;
        }
        Ok(())
    }

    fn delete_all<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut delete = self.0.prepare_cached("DELETE FROM main_table WHERE key = ?1")?;
        for key in keys {
            if delete.execute([key])? != 1 {
                return Err("a key to be deleted is missing".into());
            }
        }
        Ok(())
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.0
            .prepare_cached("DELETE FROM main_table WHERE key >= ?1 AND key < ?2")?
            .execute(params![from, to])?;
        Ok(())
    }
}
