//! A table that is not in memory, scanned from end to end with each advice: how long it takes, and what it leaves in memory.
//!
//! Each way has a file of its own, a compact copy, which lies in order and in memory nowhere: copies let go of what they made.
//!
//! ```sh
//! cargo run --release --package mapledb --example scan_advice -- 2000000
//! ```

use std::path::Path;
use std::time::Instant;

use mapledb::{Access, Env, Result, ScanAdvice, Table, TreeName};

const READINGS: Table<'static, u64, [u8]> = Table::new("readings");

fn main() -> Result<()> {
    let entries = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number of entries"));
    run(entries)
}

/// With so many entries.
pub fn run(entries: u64) -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(dir.path().join("readings.maple")) }?;
    let mut txn = env.write()?;
    let mut readings = txn.open_table(&READINGS)?;
    for n in 0..entries {
        readings.append(&n, &[(n % 251) as u8; 100])?;
    }
    txn.commit()?;

    let ways = [
        ("as any read", ScanAdvice::new()),
        ("sequential", ScanAdvice::new().sequential()),
        ("release", ScanAdvice::new().release()),
        ("sequential, release", ScanAdvice::new().sequential().release()),
    ];
    for (what, advice) in ways {
        let path = dir.path().join(what);
        env.copy_to(&path, true, |_, _| true)?;
        scan(what, &path, advice, entries)?;
        std::fs::remove_file(path).expect("the example's own file");
    }
    env.close()
}

fn scan(what: &str, path: &Path, advice: ScanAdvice, entries: u64) -> Result<()> {
    // SAFETY: nothing writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().access(Access::Frozen).open(path) }?;
    let txn = env.read()?;
    let began = Instant::now();
    let scan = txn.scan(advice);
    let mut seen = 0;
    for entry in scan.table(&READINGS)?.iter()? {
        seen += u64::from(entry?.1.len() == 100);
    }
    drop(scan);
    let took = began.elapsed();
    assert_eq!(seen, entries);
    let levels = env.residency()?;
    let of_table = levels.iter().filter(|level| matches!(level.tree, TreeName::Table(Some(_))));
    let (resident, pages) =
        of_table.fold((0, 0), |sum, level| (sum.0 + level.resident_pages, sum.1 + level.pages));
    let speed = (pages * env.page_size() as u64) as f64 / took.as_secs_f64() / 1e6;
    println!("{what}: {took:.2?}, {speed:.0} MB/s; leaves {resident} of {pages} pages in memory");
    drop(txn);
    env.close()
}
