//! Sorted loads: what they lay down is sealed and written before the commit, and can be read, changed and taken back all the
//! same.
#![cfg(feature = "seam")]

mod files;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use files::{TestFile, check, options};
use mapledb::{Env, Result, WriteTxn};
use mapledb_os::{Effect, Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn pair(n: u64) -> (Vec<u8>, Vec<u8>) {
    (format!("{n:08}").into_bytes(), vec![n as u8; 20 + (n % 7) as usize * 30])
}

/// Loads pairs behind all there is.
fn load(txn: &mut WriteTxn, model: &mut Model, numbers: std::ops::Range<u64>) {
    let pairs: Vec<_> = numbers.map(pair).collect();
    txn.main().load_sorted(pairs.iter().cloned().map(Ok)).expect("loaded");
    model.extend(pairs);
}

/// Changes some of what was loaded, in each of the ways that pages are touched.
fn change(txn: &mut WriteTxn, model: &mut Model, random: &mut SmallRng) -> Result<()> {
    let count = model.len() as u64;
    for _ in 0..200 {
        let (key, _) = pair(random.random_range(0..count + 100));
        match random.random_range(0..4) {
            0 => {
                let value = vec![9; random.random_range(0..900)];
                txn.main().put(&key, &value)?;
                model.insert(key, value);
            }
            1 => assert_eq!(txn.main().delete(&key)?, model.remove(&key).is_some()),
            2 => assert_eq!(txn.main().get(&key)?, model.get(&key).map(|value| &value[..])),
            _ => {
                let (end, _) = pair(random.random_range(0..20) + count / 2);
                let (low, high) = if key < end { (key, end) } else { (end, key) };
                let high: Vec<u8> = if random.random_ratio(1, 20) { high } else { low.clone() };
                let gone: Vec<_> =
                    model.range(low.clone()..high.clone()).map(|(key, _)| key.clone()).collect();
                assert_eq!(txn.main().delete_range(&low[..]..&high[..])?, gone.len() as u64);
                gone.iter().for_each(|key| drop(model.remove(key)));
            }
        }
    }
    Ok(())
}

fn same(txn: &mut WriteTxn, model: &Model) {
    let main = txn.main();
    assert_eq!(main.len(), model.len() as u64);
    let found: Model = main
        .iter()
        .expect("iterator")
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("pair"))
        .collect();
    assert!(found == *model, "the table is not the model");
}

fn committed(env: &Env, model: &Model) {
    let mut txn = env.write().expect("write");
    same(&mut txn, model);
    drop(txn);
    check(env);
}

#[test]
fn what_was_laid_down_is_read_and_changed_before_the_commit() {
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let file = TestFile::new();
        let env = file.open(options());
        let mut model = Model::new();
        let mut txn = env.write().expect("write");
        load(&mut txn, &mut model, 0..3000);
        change(&mut txn, &mut model, &mut random).expect("changed");
        load(&mut txn, &mut model, 5000..6000);
        same(&mut txn, &model);
        change(&mut txn, &mut model, &mut random).expect("changed");
        txn.commit().expect("commit");
        println!("seed {seed}");
        committed(&env, &model);
    }
}

#[test]
fn what_was_laid_down_within_a_level_goes_with_it_and_what_was_before_stays() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let file = TestFile::new();
        let env = file.open(options());
        let mut model = Model::new();
        let mut txn = env.write().expect("write");
        load(&mut txn, &mut model, 0..1000);
        for round in 1..4u64 {
            let before = model.clone();
            let mut nested = txn.nested().expect("nested");
            load(&mut nested, &mut model, round * 10_000..round * 10_000 + 800);
            change(&mut nested, &mut model, &mut random).expect("changed");
            let savepoint = nested.savepoint().expect("savepoint");
            let at_savepoint = model.clone();
            load(&mut nested, &mut model, round * 10_000 + 2000..round * 10_000 + 2500);
            if random.random_ratio(1, 2) {
                nested.rollback_to(&savepoint).expect("back");
                model = at_savepoint;
                same(&mut nested, &model);
            }
            match random.random_ratio(1, 2) {
                true => nested.commit().expect("into the parent"),
                false => {
                    nested.abort().expect("aborted");
                    model = before;
                }
            }
            same(&mut txn, &model);
        }
        txn.commit().expect("commit");
        committed(&env, &model);
    }
}

/// Counts pages that the system was asked to write before any sync.
#[derive(Default)]
struct Asked {
    pages: AtomicU64,
    syncs: AtomicU64,
}

impl Observer for Asked {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        match effect {
            Effect::Advise { len, .. } if self.syncs.load(Ordering::Relaxed) == 0 => {
                self.pages.fetch_add(len / 4096, Ordering::Relaxed);
            }
            Effect::Sync { .. } | Effect::SyncFile { .. } => drop(self.syncs.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[test]
fn a_long_load_is_on_its_way_to_the_disk_before_the_commit() {
    let file = TestFile::with_entries(10);
    let asked = Arc::new(Asked::default());
    let env = file.open(options().seam(Seam::watched(asked.clone())));
    asked.syncs.store(0, Ordering::Relaxed);
    asked.pages.store(0, Ordering::Relaxed);
    let mut txn = env.write().expect("write");
    let pairs = (0..100_000u64).map(|n| (format!("key {n:08}"), [n as u8; 150]));
    txn.main().load_sorted(pairs.map(Ok)).expect("loaded");
    assert_eq!(asked.syncs.load(Ordering::Relaxed), 0);
    let pages = asked.pages.load(Ordering::Relaxed);
    txn.commit().expect("commit");
    let leaf_pages = env.read().expect("read").main().expect("main").stat().leaf_pages;
    assert!(pages > leaf_pages * 3 / 4, "{pages} pages of {leaf_pages}");
    check(&env);
}
