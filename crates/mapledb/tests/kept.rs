//! What a commit leaves in hand for the next one of its process: never used where another process has committed since, and
//! the same as what is read. (Builds with debug assertions compare the two whenever a write transaction begins.)

mod files;

use std::path::Path;
use std::process::Command;

use files::{TestFile, check, open, options};
use mapledb::{Durability, Env};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn put(env: &Env, key: u32, durability: Durability) {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(&key.to_be_bytes(), &[7; 300]).expect("put");
    txn.commit().expect("commit");
}

fn commit_elsewhere(file: &TestFile, key: u32) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "child_commits", "--ignored"]);
    child.env("MAPLE_KEPT_FILE", file.path()).env("MAPLE_KEPT_KEY", key.to_string());
    assert!(child.output().expect("a process").status.success());
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn child_commits() {
    let variable = |name| std::env::var(name).expect("told");
    let env = open(Path::new(&variable("MAPLE_KEPT_FILE")), options()).expect("open");
    put(&env, variable("MAPLE_KEPT_KEY").parse().expect("a number"), Durability::Sync);
}

#[test]
fn what_another_process_has_committed_is_built_on() {
    let file = TestFile::new();
    let env = file.open(options());
    for round in 0..8 {
        put(&env, 2 * round, if round % 2 == 0 { Durability::Sync } else { Durability::Relaxed });
        commit_elsewhere(&file, 2 * round + 1);
    }
    put(&env, 16, Durability::Sync);
    assert_eq!(env.read().expect("read").main().expect("main").len(), 17, "commits of either process");
    check(&env);
}

#[test]
fn whatever_came_between_the_next_transaction_begins_as_if_all_was_read_anew() {
    let mut rng = SmallRng::seed_from_u64(11);
    let file = TestFile::new();
    let env = file.open(options());
    let mut readers = Vec::new();
    for _ in 0..1500 {
        let mut txn = env.write().expect("write");
        txn.durability(
            [Durability::Sync, Durability::Group, Durability::Relaxed, Durability::Relaxed]
                [rng.random_range(0..4)],
        );
        for _ in 0..rng.random_range(0..30) {
            let (key, len) = (rng.random_range(0..2000u32).to_be_bytes(), rng.random_range(0..400));
            match rng.random_range(0..10) {
                0..3 => drop(txn.main().delete(&key).expect("delete")),
                3 => txn.main().put(&key, &vec![3; 100 * len]).expect("put"),
                _ => txn.main().put(&key, &vec![5; len]).expect("put"),
            }
        }
        if rng.random_ratio(1, 4) {
            let mut nested = txn.nested().expect("nested");
            nested.main().put(&rng.random_range(0..2000u32).to_be_bytes(), &[6; 5000]).expect("put");
            if rng.random() {
                nested.commit().expect("commit");
            }
        }
        match rng.random_range(0..8) {
            0 => txn.abort(),
            1 => readers.push(txn.commit_and_read().expect("commit")),
            2 => drop(txn.commit_and_continue().expect("commit")),
            3 => drop(txn.commit_later().expect("commit")),
            _ => drop(txn.commit().expect("commit")),
        }
        match rng.random_range(0..40) {
            0..4 => readers.push(env.read().expect("read")),
            4 => readers.clear(),
            5 => env.sync().expect("sync"),
            6 => check(&env),
            _ if readers.len() > 6 => drop(readers.swap_remove(0)),
            _ => {}
        }
    }
    readers.clear();
    check(&env);
    env.close().expect("close");
}
