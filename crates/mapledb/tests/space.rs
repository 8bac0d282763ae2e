//! Where the pages of a transaction come from, as seen from outside.
#![cfg(feature = "seam")]

mod files;

use std::io;
use std::sync::{Arc, Mutex};

use files::{TestFile, check, options};
use mapledb::Env;
use mapledb_os::{Effect, Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ENTRIES: u64 = 20_000;
const BATCH: u64 = 600;

/// Counts pages stored and the runs they are in.
#[derive(Default)]
struct Runs(Mutex<(u64, u64)>);

impl Runs {
    /// Pages and runs since this was last asked.
    fn take(&self) -> (u64, u64) {
        std::mem::take(&mut *self.0.lock().expect("runs"))
    }
}

impl Observer for Runs {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        if let Effect::StorePages { len, .. } = *effect {
            let mut runs = self.0.lock().expect("runs");
            *runs = (runs.0 + len / 4096, runs.1 + 1);
        }
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// Random entries in one transaction: a file with hardly anything free.
fn load(env: &Env) {
    let mut txn = env.write().expect("write");
    let mut table = txn.main();
    (0..ENTRIES).for_each(|n| table.put(&key(n), &[7; 150]).expect("put"));
    txn.commit().expect("commit");
}

/// Random overwrites in one transaction.
fn batch(env: &Env, rng: &mut SmallRng) {
    let mut txn = env.write().expect("write");
    let mut table = txn.main();
    (0..BATCH)
        .for_each(|_| table.put(&key(rng.random_range(0..ENTRIES)), &[rng.random(); 150]).expect("put"));
    txn.commit().expect("commit");
}

/// Pages in use.
fn in_use(env: &Env) -> u64 {
    let info = env.info().expect("info");
    info.used_pages - info.available_pages - info.waiting_pages
}

#[test]
fn a_batch_is_written_in_long_runs_as_long_as_little_is_free_and_the_file_stays_within_bounds() {
    let file = TestFile::new();
    let runs = Arc::new(Runs::default());
    let env = file.open(options().seam(Seam::watched(Arc::clone(&runs) as Arc<_>)));
    load(&env);
    let mut rng = SmallRng::seed_from_u64(3);
    runs.take();
    batch(&env, &mut rng);
    let (pages, in_runs) = runs.take();
    assert!(pages > 400, "{pages} pages are no batch");
    assert!(in_runs * 16 <= pages, "{pages} pages in {in_runs} runs");
    for _ in 0..60 {
        batch(&env, &mut rng);
    }
    // Three batches wait for the metas and the head; the rest is the room that is left for runs.
    let (used, in_use) = (env.info().expect("info").used_pages, in_use(&env));
    assert!(used <= in_use * 13 / 8 + 3 * BATCH, "{used} pages used for {in_use}");
    check(&env);
}

#[test]
fn a_batch_gathers_what_is_free_where_the_file_may_not_grow() {
    let file = TestFile::new();
    load(&file.open(options()));
    let room = |env: &Env| (env.info().expect("info").used_pages + 32 + 3 * BATCH) * 4096;
    let quota = room(&file.open(options()));
    let env = file.open(options().quota_bytes(quota));
    let mut rng = SmallRng::seed_from_u64(4);
    for _ in 0..40 {
        batch(&env, &mut rng);
    }
    assert!((env.info().expect("info").used_pages + 32) * 4096 <= quota);
    check(&env);
}
