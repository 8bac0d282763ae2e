//! One table, read by every core: split by subtree counts, so each thread gets as many entries as the next, whatever the keys.
//!
//! ```sh
//! cargo run --release --package mapledb --example parallel_scan -- 2000000
//! ```

use std::time::Instant;

use mapledb::{Env, ReadTable, Result, Table};
use rayon::prelude::*;

const READINGS: Table<'static, u64, [u8]> = Table::new("readings");

fn main() -> Result<()> {
    let entries =
        std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("a number of entries"));
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
        // Half of the keys lie close together, and half far apart: cuts in key space would be uneven.
        let key = if n % 2 == 0 { n } else { n << 40 };
        readings.put(&key, &[(n % 251) as u8; 100])?;
    }
    txn.commit()?;

    let txn = env.read()?;
    let readings = txn.table(&READINGS)?;
    scan(readings, 1)?;
    let one = scan(readings, 1)?;
    let all = scan(readings, rayon::current_num_threads())?;
    assert_eq!(one, all, "the parts are not the whole");
    drop(txn);
    env.close()
}

/// The sum of all bytes of all values, by so many threads.
fn scan(readings: ReadTable<'_, u64, [u8]>, threads: usize) -> Result<u64> {
    let began = Instant::now();
    let parts = readings.iter()?.split(threads)?;
    let sum = parts
        .into_par_iter()
        .map(|mut part| {
            part.try_fold(0, |sum, entry| Ok(sum + entry?.1.iter().map(|byte| u64::from(*byte)).sum::<u64>()))
        })
        .sum::<Result<u64>>()?;
    let per_second = readings.len() as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!(
        "{threads} threads: {} entries, sum {sum}, {per_second:.1} million entries a second",
        readings.len()
    );
    Ok(sum)
}
