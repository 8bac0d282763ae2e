//! Whatever a level did, taking it back leaves the transaction exactly as it was: every own page, every record, and the free
//! space to the last page.

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Table;
use crate::env::{Env, Options};
use crate::error::Error;
use crate::txn::WriteTxn;

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> Env {
    // SAFETY: nothing but this test writes to its own file.
    unsafe { options.open_or_create(path) }.unwrap()
}

fn number(rng: &mut SmallRng) -> [u8; 8] {
    rng.random_range(0..2000u64).to_be_bytes()
}

/// Something that changes pages, tables, or free space; it may meet the quota.
fn act(rng: &mut SmallRng, txn: &mut WriteTxn) -> Result<(), Error> {
    let tables = ["a", "b", "c"];
    let name = tables[rng.random_range(0..3)];
    let len = if rng.random_ratio(1, 9) { rng.random_range(0..40_000) } else { rng.random_range(0..600) };
    match rng.random_range(0..20) {
        0 => drop(txn.drop_table(name)?),
        1 => match txn.rename_table(name, tables[rng.random_range(0..3)]) {
            Err(Error::TableMissing { .. } | Error::TableExists { .. }) => {}
            other => other?,
        },
        2 => drop(txn.open_table(&Table::<[u8], [u8]>::new(name))?.next_sequence(3)?),
        3..8 => txn.open_table(&Table::<[u8], [u8]>::new(name))?.put(&number(rng), &vec![1; len])?,
        8..11 => drop(txn.main().delete(&number(rng))?),
        11 => {
            let (from, to) = (number(rng), number(rng));
            txn.main().delete_range(&from[..]..&to[..])?;
        }
        _ => txn.main().put(&number(rng), &vec![2; len])?,
    }
    Ok(())
}

/// A file with free space of every kind: some at hand, some in the free tree, some that waits.
fn fragmented(path: &Path, rng: &mut SmallRng) -> Env {
    let env = open(path, Env::options().reserve_bytes(1 << 34).quota_bytes(900_000));
    let mut reader = env.read().unwrap();
    for _ in 0..60 {
        let mut txn = env.write().unwrap();
        let done = (0..rng.random_range(1..80)).try_for_each(|_| act(rng, &mut txn));
        if done.is_ok() {
            txn.commit().unwrap();
        }
        if rng.random_ratio(1, 8) {
            reader = env.read().unwrap();
        }
    }
    drop(reader);
    env
}

#[test]
fn a_level_that_is_taken_back_leaves_the_transaction_exactly_as_it_was() {
    let (mut met_the_quota, mut taken_back) = (0, 0);
    for seed in 0..40 {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let env = fragmented(&dir.path().join("l.maple"), &mut rng);
        let mut txn = env.write().unwrap();
        let mut savepoints = Vec::new();
        for _ in 0..500 {
            match rng.random_range(0..40) {
                0 => {
                    let before = txn.picture();
                    savepoints.push((txn.savepoint().unwrap(), before));
                }
                1 if !savepoints.is_empty() => {
                    let at = rng.random_range(0..savepoints.len());
                    txn.rollback_to(&savepoints[at].0).unwrap();
                    assert!(txn.picture() == savepoints[at].1, "not as it was");
                    taken_back += 1;
                    savepoints.truncate(at + 1);
                }
                2 if !savepoints.is_empty() => {
                    let at = rng.random_range(0..savepoints.len());
                    txn.release(&savepoints[at].0).unwrap();
                    savepoints.truncate(at);
                }
                _ => {
                    let before = (rng.random_ratio(1, 10)).then(|| txn.picture());
                    let mut nested = txn.nested().unwrap();
                    match act(&mut rng, &mut nested) {
                        Ok(()) if before.is_none() => nested.commit().unwrap(),
                        Ok(()) => nested.abort().unwrap(),
                        Err(error) => {
                            assert!(matches!(error, Error::QuotaReached { .. }), "{error}");
                            assert!(matches!(nested.commit(), Err(Error::TxnUnusable)));
                            met_the_quota += 1;
                        }
                    }
                    assert!(before.is_none_or(|before| txn.picture() == before), "not as it was");
                }
            }
        }
        if rng.random() {
            txn.commit().unwrap();
        }
        let report = env.check(|_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
    assert!(met_the_quota > 20 && taken_back > 100, "too little happened: {met_the_quota} and {taken_back}");
}
