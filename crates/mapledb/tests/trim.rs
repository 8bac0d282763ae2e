//! Free space given back to the file system while the environment is open.
#![cfg(feature = "seam")]

mod files;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use files::{TestFile, check, open, options};
use mapledb::{Durability, Env, Error, Table};
use mapledb_os::{Effect, Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const BULK: Table<'static, u64, [u8]> = Table::new("bulk");

/// Knows which pages have no blocks, and refuses stores to them.
#[derive(Default)]
struct Blocks {
    holes: Mutex<BTreeSet<u64>>,
}

impl Blocks {
    fn beside(holes: BTreeSet<u64>) -> Arc<Blocks> {
        Arc::new(Blocks { holes: Mutex::new(holes) })
    }

    fn holes(&self) -> BTreeSet<u64> {
        self.holes.lock().expect("holes").clone()
    }
}

fn pages(offset: u64, len: u64) -> std::ops::Range<u64> {
    offset / PAGE..(offset + len).div_ceil(PAGE)
}

impl Observer for Blocks {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        match *effect {
            Effect::StorePages { offset, len }
            | Effect::WritePages { offset, len }
            | Effect::Populate { offset, len }
            | Effect::Redirty { offset, len } => {
                let holes = self.holes.lock().expect("holes");
                let hole = holes.range(pages(offset, len)).next();
                assert_eq!(hole, None, "{effect:?} stores to a page without a block");
            }
            _ => {}
        }
        Ok(())
    }

    fn after(&self, effect: &Effect, ok: bool) {
        let mut holes = self.holes.lock().expect("holes");
        match *effect {
            Effect::Punch { offset, len } if ok => holes.extend(pages(offset, len)),
            Effect::Grow { offset, len } | Effect::WriteZeros { offset, len } if ok => {
                let allocated = pages(offset, len);
                holes.retain(|page| !allocated.contains(page));
            }
            Effect::Truncate { len } if ok => holes.retain(|page| page * PAGE < len),
            _ => {}
        }
    }
}

fn watched(file: &TestFile, blocks: &Arc<Blocks>) -> Env {
    file.open(options().seam(Seam::watched(Arc::clone(blocks) as Arc<_>)))
}

/// Puts so many values of a page each, in transactions of a few hundred.
fn fill(env: &Env, keys: std::ops::Range<u64>) {
    let keys: Vec<u64> = keys.collect();
    for some in keys.chunks(300) {
        let mut txn = env.write().expect("write");
        let mut table = txn.open_table(&BULK).expect("table");
        some.iter().for_each(|key| table.put(key, &[*key as u8; 3000]).expect("put"));
        txn.commit().expect("commit");
    }
}

fn delete(env: &Env, keys: impl Iterator<Item = u64>) {
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&BULK).expect("table");
    for key in keys {
        table.delete(&key).expect("delete");
    }
    txn.commit().expect("commit");
}

fn holds(env: &Env, keys: impl Iterator<Item = u64>) {
    let txn = env.read().expect("read");
    let table = txn.table(&BULK).expect("table");
    keys.for_each(|key| assert_eq!(table.get(&key).expect("get"), Some(&[key as u8; 3000][..]), "{key}"));
}

fn allocated(env: &Env) -> u64 {
    env.info().expect("info").allocated_bytes
}

#[test]
fn free_runs_within_the_file_and_behind_it_are_given_back() {
    let file = TestFile::new();
    let blocks = Arc::new(Blocks::default());
    let env = watched(&file, &blocks);
    fill(&env, 0..6000);
    let full = allocated(&env);
    assert!(full > 24 * MIB, "{full}");
    delete(&env, 100..5900);
    let report = env.trim().expect("trim");
    check(&env);
    if !report.is_supported {
        eprintln!("SKIP trim: the file system of the temporary directory cannot punch holes");
        return;
    }
    assert!(report.bytes >= 20 * MIB, "{report:?}");
    assert!(report.given_back_bytes >= 20 * MIB, "{report:?}");
    assert!(allocated(&env) < full / 4, "{} of {full}", allocated(&env));
    holds(&env, (0..100).chain(5900..6000));
    // A second time there is nothing left to give.
    assert!(env.trim().expect("trim again").given_back_bytes < MIB);
    fill(&env, 100..5900);
    check(&env);
    holds(&env, 0..6000);
    env.close().expect("close");
}

#[test]
fn a_relaxed_commit_that_takes_what_was_given_back_is_durable_when_it_returns() {
    let file = TestFile::new();
    let env = file.open(options().relaxed_bound(1 << 40, std::time::Duration::from_secs(3600)));
    fill(&env, 0..3000);
    delete(&env, 100..2900);
    if !env.trim().expect("trim").is_supported {
        eprintln!("SKIP trim: the file system of the temporary directory cannot punch holes");
        return;
    }
    let put = |keys: std::ops::Range<u64>| {
        let mut txn = env.write().expect("write");
        txn.durability(Durability::Relaxed);
        let mut table = txn.open_table(&BULK).expect("table");
        keys.for_each(|key| table.put(&key, &[key as u8; 3000]).expect("put"));
        txn.commit().expect("commit")
    };
    let small = put(0..1);
    assert!(env.info().expect("info").durable_txnid < small, "a few pages stayed at hand");
    let large = put(100..1500);
    assert_eq!(env.info().expect("info").durable_txnid, large);
    check(&env);
}

#[test]
fn a_table_dropped_from_the_end_of_the_file_is_given_back_while_it_is_open() {
    let file = TestFile::new();
    let env = watched(&file, &Arc::new(Blocks::default()));
    fill(&env, 0..4000);
    let mut txn = env.write().expect("write");
    txn.drop_table("bulk").expect("drop");
    txn.commit().expect("commit");
    if env.trim().expect("trim").is_supported {
        assert!(allocated(&env) < 3 * MIB, "{}", allocated(&env));
    }
    fill(&env, 0..4000);
    holds(&env, 0..4000);
    check(&env);
}

#[test]
fn a_reader_keeps_its_snapshot_while_the_space_of_others_is_given_back() {
    let file = TestFile::new();
    let env = watched(&file, &Arc::new(Blocks::default()));
    fill(&env, 0..3000);
    let old = env.read().expect("read");
    delete(&env, 0..3000);
    env.trim().expect("trim");
    let table = old.table(&BULK).expect("table");
    (0..3000).for_each(|key| assert_eq!(table.get(&key).expect("get"), Some(&[key as u8; 3000][..])));
    let with_reader = allocated(&env);
    drop(old);
    if env.trim().expect("trim").is_supported {
        assert!(allocated(&env) + 8 * MIB < with_reader, "{} of {with_reader}", allocated(&env));
    }
}

#[test]
fn nothing_is_stored_to_a_hole_whatever_the_transactions() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let file = TestFile::new();
        let blocks = Arc::new(Blocks::default());
        let mut env = watched(&file, &blocks);
        let mut keys = BTreeSet::new();
        for _ in 0..40 {
            let from = rng.random_range(0..2000u64);
            let some = from..from + rng.random_range(1..500);
            match rng.random_range(0..10) {
                0..4 => {
                    fill(&env, some.clone());
                    keys.extend(some);
                }
                4..7 => {
                    delete(&env, some.clone());
                    keys.retain(|key| !some.contains(key));
                }
                7 => {
                    let mut txn = env.write().expect("write");
                    txn.durability(Durability::Relaxed);
                    let mut table = txn.open_table(&BULK).expect("table");
                    some.clone().for_each(|key| table.put(&key, &[key as u8; 3000]).expect("put"));
                    if rng.random() {
                        txn.commit().expect("commit");
                        keys.extend(some);
                    }
                }
                8 => {
                    env.close().expect("close");
                    env = watched(&file, &blocks);
                }
                _ => drop(env.trim().expect("trim")),
            }
        }
        holds(&env, keys.iter().copied());
        check(&env);
    }
}

/// Spoils the newest of the two metas.
fn spoil_newest_meta(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).expect("open");
    let txnid = |offset: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset + 56).expect("read");
        u64::from_le_bytes(bytes)
    };
    let newest = if txnid(0) > txnid(64 << 10) { 0 } else { 64u64 << 10 };
    file.write_all_at(b"spoilt", newest + 100).expect("write");
}

#[test]
fn the_meta_before_the_newest_knows_of_every_hole_too() {
    let file = TestFile::new();
    let blocks = Arc::new(Blocks::default());
    let env = watched(&file, &blocks);
    fill(&env, 0..3000);
    delete(&env, 100..2900);
    env.trim().expect("trim");
    env.close().expect("close");
    let copy = file.dir().join("copy.maple");
    std::fs::copy(file.path(), &copy).expect("copy");
    spoil_newest_meta(&copy);
    let blocks = Blocks::beside(blocks.holes());
    let env = open(&copy, options().seam(Seam::watched(blocks as Arc<_>))).expect("open the older meta");
    assert!(env.recovery().passed_over.is_some());
    fill(&env, 100..2900);
    check(&env);
    holds(&env, 0..3000);
}

#[test]
fn an_exact_copy_has_the_holes_of_the_original() {
    let file = TestFile::new();
    let env = watched(&file, &Arc::new(Blocks::default()));
    fill(&env, 0..3000);
    delete(&env, 100..2900);
    if !env.trim().expect("trim").is_supported {
        return;
    }
    let copy = file.dir().join("copy.maple");
    env.copy_to(&copy, false, |_, _| true).expect("copy");
    let env = open(&copy, options()).expect("open the copy");
    assert!(allocated(&env) < 4 * MIB, "{}", allocated(&env));
    fill(&env, 100..2900);
    holds(&env, 0..3000);
    check(&env);
}

/// Fails every allocation of blocks.
struct NoBlocks(std::sync::atomic::AtomicBool);

impl Observer for NoBlocks {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        let is_full = self.0.load(std::sync::atomic::Ordering::Relaxed);
        match effect {
            Effect::Grow { .. } if is_full => Err(io::Error::from_raw_os_error(28)),
            _ => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[test]
fn on_a_full_disk_what_was_given_back_is_missed_without_harm() {
    let file = TestFile::new();
    let disk = Arc::new(NoBlocks(false.into()));
    let env = file.open(options().seam(Seam::watched(Arc::clone(&disk) as Arc<_>)));
    fill(&env, 0..3000);
    delete(&env, 100..2900);
    if !env.trim().expect("trim").is_supported {
        return;
    }
    disk.0.store(true, std::sync::atomic::Ordering::Relaxed);
    // What stayed at hand serves a small change, and a deletion.
    delete(&env, 0..10);
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&BULK).expect("table");
    let full = (200..2000).try_for_each(|key| table.put(&key, &[key as u8; 3000]).map(drop));
    assert!(matches!(full, Err(Error::DiskFull(_))), "{full:?}");
    drop(txn);
    check(&env);
    disk.0.store(false, std::sync::atomic::Ordering::Relaxed);
    fill(&env, 200..2000);
    holds(&env, (10..100).chain(200..2000));
    check(&env);
}
