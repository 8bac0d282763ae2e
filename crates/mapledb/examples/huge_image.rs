//! A table that is looked up all the time, in huge pages: by advice about the file's map, and as an image in memory of its own.
//!
//! Each look-up's key comes out of the value before it, so that none can begin before the last has ended: what is measured is how
//! long one waits. Run it on a file system that has huge pages (ext4, XFS), with more entries than the processor's caches hold.
//!
//! ```sh
//! cargo run --release --package mapledb --example huge_image -- 4000000
//! ```

use std::path::Path;
use std::time::Instant;

use mapledb::{Access, Env, MapAdvice, Result, ScanAdvice, Table};

const PLACES: Table<'static, u64, [u8]> = Table::new("places");

/// So often each way is measured.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let entries = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number of entries"));
    run(entries)
}

/// With so many entries.
pub fn run(entries: u64) -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("places.maple");
    build(&path, entries)?;

    let advised_path = dir.path().join("advised.maple");
    copy(&path, &advised_path)?;

    let plain = open(&path, MapAdvice::Random)?;
    let image = plain.image(|_, _| true)?;
    println!(
        "image: {:?}, {} of {} MiB in huge pages",
        image.memory,
        image.huge_bytes >> 20,
        image.bytes >> 20
    );
    let advised = open(&advised_path, MapAdvice::HugePage)?;
    println!("map advised huge: {:?}", advised.huge_pages()?);

    // By turns, so that what else the machine does falls on all of them; the best of each.
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        for (best, env) in best.iter_mut().zip([&plain, &image.env, &advised]) {
            *best = best.min(look_up(env, entries)?);
        }
    }
    for (what, nanos) in ["ordinary map", "image", "map advised huge"].iter().zip(best) {
        println!("{what}: {nanos:.0} ns a look-up, {:.2} of the ordinary map's", nanos / best[0]);
    }
    drop(image);
    plain.close()?;
    advised.close()
}

/// A file that is written once.
fn build(path: &Path, entries: u64) -> Result<()> {
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(path) }?;
    let mut txn = env.write()?;
    let mut places = txn.open_table(&PLACES)?;
    for n in 0..entries {
        places.append(&n, &scatter(n).to_le_bytes().repeat(12))?;
    }
    txn.commit()?;
    env.close()
}

/// A copy of the file, which is not in memory: copies let go of what they made.
fn copy(path: &Path, to: &Path) -> Result<()> {
    let env = open(path, MapAdvice::Random)?;
    env.copy_to(to, false, |_, _| true)?;
    env.close()
}

fn open(path: &Path, advice: MapAdvice) -> Result<Env> {
    // SAFETY: nothing writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().access(Access::Frozen).advice(advice).open(path) }?;
    // What is to be measured is memory, not the disk, nor the first look at each page.
    let txn = env.read()?;
    let scan = txn.scan(match advice {
        MapAdvice::HugePage => ScanAdvice::new(),
        _ => ScanAdvice::new().sequential(),
    });
    scan.table(&PLACES)?.iter()?.try_for_each(|entry| entry.map(drop))?;
    drop(scan);
    drop(txn);
    Ok(env)
}

/// Nanoseconds a look-up takes.
fn look_up(env: &Env, entries: u64) -> Result<f64> {
    let txn = env.read()?;
    let places = txn.table(&PLACES)?;
    let look_ups = entries.min(300_000);
    let began = Instant::now();
    let mut key = 0;
    for n in 0..look_ups {
        let value = places.get(&(key % entries))?.expect("every key below is there");
        let first: [u8; 8] = value[..8].try_into().expect("a value has 96 bytes");
        key = u64::from_le_bytes(first).wrapping_add(n);
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / look_ups as f64)
}

/// Numbers that follow each other in no order (the finalizer of SplitMix64).
fn scatter(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}
