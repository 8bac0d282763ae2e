//! Moves the column families of a RocksDB to tables of MapleDB, and compares them.
//!
//! A RocksDB with the bytewise comparator iterates in the order that MapleDB wants, so every table is loaded sorted: each page is written once.
//! `default` becomes the default table, each other family a table of bytes of its name. RocksDB is opened read-only, and read from one
//! snapshot a family; stop its writer before, since families are read one after the other.
//!
//! ```sh
//! cargo run --release --manifest-path examples/from_rocksdb/Cargo.toml                    # on a sample
//! cargo run --release --manifest-path examples/from_rocksdb/Cargo.toml -- dir new.maple
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

use mapledb::{Env, Table};
use rocksdb::{DB, IteratorMode, Options};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Bytes<'n> = Table<'n, [u8], [u8]>;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match &arguments[..] {
        [] => {
            let dir = tempfile::tempdir()?;
            let source = dir.path().join("sample");
            make_sample(&source)?;
            convert(&source, &dir.path().join("sample.maple"))
        }
        [source, target] => convert(source, target),
        _ => Err("give the directory of a RocksDB and the file to be made, or nothing for a sample".into()),
    }
}

fn convert(source: &Path, target: &Path) -> Result<()> {
    let options = Options::default();
    let families = DB::list_cf(&options, source)?;
    let db = DB::open_cf_for_read_only(&options, source, &families, false)?;
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(target) }?;
    let mut moved = 0;
    for family in &families {
        let mut txn = env.write()?;
        let mut table = match table_of(family).name() {
            None => txn.main(),
            Some(_) => txn.open_table(&table_of(family))?,
        };
        moved += table.load_sorted(entries(&db, family)?)?;
        txn.commit()?;
        compare(&db, family, &env)?;
    }
    println!("{moved} entries of {} column families moved and compared", families.len());
    assert!(env.check(|_| {})?.is_clean());
    Ok(env.close()?)
}

fn table_of(family: &str) -> Bytes<'_> {
    if family == "default" { Table::main() } else { Table::untyped(family) }
}

type Entry = (Box<[u8]>, Box<[u8]>);

/// The entries of a family, in order.
fn entries<'d>(db: &'d DB, family: &str) -> Result<impl Iterator<Item = mapledb::Result<Entry>> + 'd> {
    let handle = db.cf_handle(family).ok_or("a family went away")?;
    let rows = db.iterator_cf(&handle, IteratorMode::Start);
    Ok(rows.map(|row| row.map_err(|error| mapledb::Error::Input { what: error.to_string() })))
}

fn compare(db: &DB, family: &str, env: &Env) -> Result<()> {
    let txn = env.read()?;
    let table = match table_of(family).name() {
        None => txn.main()?,
        Some(_) => txn.table(&table_of(family))?,
    };
    let mut moved = table.iter()?;
    for entry in entries(db, family)? {
        let (key, value) = entry?;
        if moved.next().transpose()? != Some((&*key, &*value)) {
            return Err(
                format!("{family}: entries differ: are its keys sorted by a comparator of its own?").into()
            );
        }
    }
    if moved.next().is_some() { Err(format!("{family}: there are too many entries").into()) } else { Ok(()) }
}

fn make_sample(path: &Path) -> Result<()> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = DB::open_cf(&options, path, ["default", "users"])?;
    let users = db.cf_handle("users").ok_or("it was just made")?;
    for number in 0..5000u32 {
        db.put(number.wrapping_mul(2_654_435_761).to_be_bytes(), number.to_string())?;
        db.put_cf(&users, format!("user {number}"), vec![b'x'; number as usize % 300])?;
    }
    for number in (0..5000u32).step_by(3) {
        db.delete_cf(&users, format!("user {number}"))?;
    }
    db.flush()?;
    Ok(())
}
