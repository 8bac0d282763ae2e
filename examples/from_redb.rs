//! Moves the tables of a redb file to MapleDB, with their types.
//!
//! redb records the types of a table, but a program must name them: so the tables to be moved are listed below, each with its types in
//! both. A table is read from one snapshot and appended in order, all in one transaction: the new file has everything or
//! nothing. Then both are compared, entry by entry.
//!
//! ```sh
//! cargo run --release --package mapledb-examples --bin from_redb                          # on a sample
//! cargo run --release --package mapledb-examples --bin from_redb -- old.redb new.maple    # on your own, once listed
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

use mapledb::{Codec, Env, ReadTxn, Table, WriteTxn};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Moves and compares each table that the macro lists: its name, its types in redb, those in MapleDB, and how a key and a value
/// of the one become those of the other.
macro_rules! tables {
    ($($name:literal: ($rk:ty => $rv:ty) to ($mk:ty => $mv:ty), |$key:ident, $value:ident| ($to_key:expr, $to_value:expr);)*) => {
        const LISTED: &[&str] = &[$($name),*];

        fn move_all(from: &redb::ReadTransaction, to: &mut WriteTxn) -> Result<u64> {
            let mut moved = 0;
            $({
                let old = from.open_table(TableDefinition::<$rk, $rv>::new($name))?;
                let mut new = to.open_table(&Table::<$mk, $mv>::new($name))?;
                for entry in old.iter()? {
                    let ($key, $value) = entry?;
                    let ($key, $value) = ($key.value(), $value.value());
                    new.append($to_key, $to_value)?;
                    moved += 1;
                }
            })*
            Ok(moved)
        }

        fn compare_all(from: &redb::ReadTransaction, with: &ReadTxn) -> Result<()> {
            $({
                let old = from.open_table(TableDefinition::<$rk, $rv>::new($name))?;
                let new = with.table(&Table::<$mk, $mv>::new($name))?.lazily();
                let mut count = 0;
                for entry in old.iter()? {
                    let ($key, $value) = entry?;
                    let ($key, $value) = ($key.value(), $value.value());
                    let found = new.get($to_key)?.ok_or(format!("{}: an entry is missing", $name))?.bytes();
                    if !<$mv as Codec>::with_bytes($to_value, |bytes| Ok(bytes == found))? {
                        return Err(format!("{}: a value differs", $name).into());
                    }
                    count += 1;
                }
                if new.len() != count {
                    return Err(format!("{}: {} entries became {}", $name, count, new.len()).into());
                }
            })*
            Ok(())
        }
    };
}

tables! {
    "users": (u64 => &str) to (u64 => str), |key, value| (&key, value);
    "visits": ((&str, u64) => u32) to ((String, u64) => u32), |key, value| (&(key.0.to_owned(), key.1), &value);
    "blobs": (&[u8] => &[u8]) to ([u8] => [u8]), |key, value| (key, value);
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match &arguments[..] {
        [] => {
            let dir = tempfile::tempdir()?;
            let source = dir.path().join("sample.redb");
            make_sample(&source)?;
            convert(&source, &dir.path().join("sample.maple"))
        }
        [source, target] => convert(source, target),
        _ => Err("give a redb file and the file to be made, or nothing for a sample".into()),
    }
}

fn convert(source: &Path, target: &Path) -> Result<()> {
    let old = Database::open(source)?.begin_read()?;
    for table in old.list_tables()? {
        if !LISTED.contains(&table.name()) {
            println!("{}: not listed in this program, left out", table.name());
        }
    }
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(target) }?;
    let mut txn = env.write()?;
    let moved = move_all(&old, &mut txn)?;
    txn.commit()?;
    compare_all(&old, &env.read()?)?;
    println!("{moved} entries of {} tables moved and compared", LISTED.len());
    assert!(env.check(|_| {})?.is_clean());
    Ok(env.close()?)
}

fn make_sample(path: &Path) -> Result<()> {
    let db = Database::create(path)?;
    let txn = db.begin_write()?;
    {
        let mut users = txn.open_table(TableDefinition::<u64, &str>::new("users"))?;
        let mut visits = txn.open_table(TableDefinition::<(&str, u64), u32>::new("visits"))?;
        let mut blobs = txn.open_table(TableDefinition::<&[u8], &[u8]>::new("blobs"))?;
        for number in 0..1000u64 {
            let name = format!("user {number}");
            users.insert(number * 7 % 1000, name.as_str())?;
            visits.insert((name.as_str(), number), number as u32)?;
            blobs.insert(number.to_le_bytes().as_slice(), vec![number as u8; number as usize].as_slice())?;
        }
        txn.open_table(TableDefinition::<u8, u8>::new("scratch"))?.insert(1, 2)?;
    }
    Ok(txn.commit()?)
}
