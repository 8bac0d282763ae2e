//! Changes of many threads in one transaction: each whole or not at all, whatever becomes of the others.
#![cfg(feature = "seam")]

mod files;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use files::{TestFile, check, options};
use mapledb::{Access, Durability, Env, Error, Result, WriteTxn};
use mapledb_os::{Effect, Observer, Seam};

fn counted(env: &Env, name: &str) -> u64 {
    env.metrics().get(name).expect("a count")
}

fn put(txn: &mut WriteTxn, key: u64) -> Result<()> {
    txn.main().put(&key.to_be_bytes(), b"value").map(drop)
}

fn holds(env: &Env, key: u64) -> bool {
    env.read().expect("read").main().expect("main").contains(&key.to_be_bytes()).expect("get")
}

/// Does `change` with each number below `count` in a thread of its own, and holds the writer lock until all wait for it.
fn together(env: &Env, count: u64, change: impl Fn(u64) + Sync) {
    let at_the_door = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let held = env.write().expect("write");
        for n in 0..count {
            let (change, at_the_door) = (&change, &at_the_door);
            scope.spawn(move || {
                at_the_door.fetch_add(1, Ordering::Relaxed);
                change(n);
            });
        }
        while at_the_door.load(Ordering::Relaxed) < count {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
    });
}

#[test]
fn what_is_answered_is_durable_and_shares_commits() {
    const THREADS: u64 = 16;
    const EACH: u64 = 200;
    let file = TestFile::new();
    let env = file.open(options());
    let before = counted(&env, "commits");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let env = &env;
            scope.spawn(move || {
                for n in 0..EACH {
                    let key = thread * EACH + n;
                    let txnid = env.batch(|txn| put(txn, key).map(|()| txn.txnid())).expect("it is done");
                    assert!(holds(env, key));
                    assert!(
                        env.info().expect("info").durable_txnid >= txnid,
                        "answered before it was durable"
                    );
                }
            });
        }
    });
    let commits = counted(&env, "commits") - before;
    assert!(commits < THREADS * EACH / 2, "{commits} commits of {} changes", THREADS * EACH);
    assert_eq!(env.read().expect("read").main().expect("main").len(), THREADS * EACH);
    check(&env);
}

#[test]
fn one_that_fails_takes_nobody_with_it() {
    #[derive(Debug)]
    enum Failure {
        Refused(u64),
        Engine(Error),
    }
    impl From<Error> for Failure {
        fn from(error: Error) -> Failure {
            Failure::Engine(error)
        }
    }
    let file = TestFile::new();
    let env = file.open(options());
    let before = counted(&env, "commits");
    let too_long = vec![7; 4096];
    together(&env, 24, |key| match key % 4 {
        0 => env.batch(|txn| put(txn, key)).expect("it is done"),
        1 => {
            let refused = env.batch(|txn| -> std::result::Result<(), Failure> {
                put(txn, key)?;
                Err(Failure::Refused(key))
            });
            assert!(matches!(refused, Err(Failure::Refused(of)) if of == key), "{refused:?}");
        }
        2 => {
            let refused = env.batch(|txn| -> std::result::Result<(), Failure> {
                put(txn, key)?;
                txn.main().put(&too_long, b"").map_err(Failure::Engine).map(drop)
            });
            assert!(matches!(refused, Err(Failure::Engine(Error::KeyTooLong { .. }))), "{refused:?}");
        }
        _ => {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                env.batch(|txn| -> Result<()> {
                    put(txn, key)?;
                    panic!("change {key}")
                })
            }));
            let panic = panicked.expect_err("the panic goes on");
            assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(&*format!("change {key}")));
        }
    });
    assert!(counted(&env, "commits") - before <= 3, "they were done together");
    for key in 0..24 {
        assert_eq!(holds(&env, key), key % 4 == 0, "{key}");
    }
    check(&env);
}

#[test]
fn a_change_sees_those_before_it_and_none_is_lost() {
    let file = TestFile::new();
    let env = file.open(options());
    let increment = |env: &Env| {
        env.batch(|txn| -> Result<u64> {
            let mut main = txn.main();
            let count =
                main.get(b"count")?.map_or(0, |count| u64::from_be_bytes(count.try_into().expect("8 bytes")));
            main.put(b"count", &(count + 1).to_be_bytes())?;
            Ok(count)
        })
    };
    let seen: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..100).map(|_| increment(&env).expect("done")).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut sorted = seen;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..800));
    check(&env);
}

#[test]
fn a_change_that_runs_out_of_room_leaves_the_others_theirs() {
    let file = TestFile::new();
    let env = file.open(options().quota_bytes(2 << 20));
    together(&env, 8, |key| match key {
        3 => {
            let refused = env.batch(|txn| txn.main().put(b"large", &vec![1; 4 << 20]).map(drop));
            assert!(matches!(refused, Err(Error::QuotaReached { .. })), "{refused:?}");
        }
        _ => env.batch(|txn| put(txn, key)).expect("there is room for it"),
    });
    assert_eq!(env.read().expect("read").main().expect("main").len(), 7);
    check(&env);
}

#[test]
fn what_a_change_asks_of_durability_is_not_heeded_and_the_default_is() {
    let file = TestFile::new();
    let env = file
        .open(options().durability(Durability::Relaxed).relaxed_bound(1 << 40, Duration::from_secs(3600)));
    let syncs = counted(&env, "syncs");
    env.batch(|txn| {
        txn.durability(Durability::Sync);
        put(txn, 1)
    })
    .expect("done");
    assert!(holds(&env, 1));
    assert_eq!(counted(&env, "syncs"), syncs);
    drop(env);
    let env = file.open(options());
    env.batch(|txn| {
        txn.durability(Durability::Relaxed);
        put(txn, 2)
    })
    .expect("done");
    assert!(env.info().expect("info").durable_txnid >= env.read().expect("read").txnid());
    check(&env);
}

#[test]
fn a_batch_within_a_change_is_refused_unless_it_is_another_environments() {
    let (one, two) = (TestFile::new(), TestFile::new());
    let (env, other) = (one.open(options()), two.open(options()));
    env.batch(|txn| {
        let refused = env.batch(|txn| put(txn, 1));
        assert!(matches!(refused, Err(Error::BatchWithin)), "{refused:?}");
        other.batch(|txn| put(txn, 2))?;
        put(txn, 3)
    })
    .expect("done");
    assert!(!holds(&env, 1) && holds(&other, 2) && holds(&env, 3));
    check(&env);
    check(&other);
}

/// Fails syncs on wish.
#[derive(Default)]
struct FailingSyncs {
    fails: AtomicBool,
}

impl Observer for FailingSyncs {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        if matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. })
            && self.fails.load(Ordering::Relaxed)
        {
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[test]
fn a_sync_that_fails_is_told_to_all_of_them() {
    let file = TestFile::new();
    let observer = Arc::new(FailingSyncs::default());
    let env = file.open(options().seam(Seam::watched(observer.clone())));
    env.batch(|txn| put(txn, 100)).expect("done");
    observer.fails.store(true, Ordering::Relaxed);
    let told = AtomicU64::new(0);
    together(&env, 6, |key| {
        let failed = env.batch(|txn| put(txn, key)).expect_err("the sync fails");
        let Error::BatchFailed { cause } = &failed else { panic!("{failed:?}") };
        let is_of_the_sync = matches!(
            **cause,
            Error::Indeterminate { .. } | Error::SyncFailed { .. } | Error::Poisoned { .. }
        );
        assert!(is_of_the_sync, "{failed}");
        told.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(told.into_inner(), 6);
    assert!(holds(&env, 100));
    let refused = env.batch(|txn| put(txn, 200)).expect_err("poisoned");
    assert!(
        matches!(&refused, Error::BatchFailed { cause } if matches!(**cause, Error::Poisoned { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_read_only_environment_has_no_batches() {
    let file = TestFile::with_entries(3);
    let env = file.open(options().access(Access::Frozen));
    let refused = env.batch(|txn| put(txn, 1)).expect_err("refused");
    assert!(
        matches!(&refused, Error::BatchFailed { cause } if matches!(**cause, Error::ReadOnly)),
        "{refused:?}"
    );
}

/// Does `change` with each number below `count`, all of them in one batch and in this order.
fn in_order(env: &Env, count: u64, change: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        let held = env.write().expect("write");
        for n in 0..count {
            let change = &change;
            scope.spawn(move || change(n));
            std::thread::sleep(Duration::from_millis(30));
        }
        drop(held);
    });
}

#[test]
fn a_change_that_puts_another_transaction_in_the_place_of_its_own_spoils_the_batch_and_nothing_else() {
    let (one, two) = (TestFile::new(), TestFile::new());
    let (env, other) = (one.open(options()), two.open(options()));
    in_order(&env, 3, |n| {
        let done = match n {
            1 => {
                let mut foreign = other.write().expect("write");
                env.batch(move |txn| -> Result<()> {
                    std::mem::swap(txn, &mut foreign);
                    Ok(())
                })
            }
            _ => env.batch(|txn| put(txn, n)),
        };
        assert!(done.is_err(), "{n}");
    });
    for n in 0..3 {
        assert!(!holds(&env, n) && !holds(&other, n), "{n}");
    }
    check(&env);
    check(&other);
}

#[test]
fn an_error_that_cannot_be_converted_is_the_matter_of_its_own_thread() {
    #[derive(Debug)]
    struct Bomb;
    impl From<Error> for Bomb {
        fn from(_: Error) -> Bomb {
            panic!("conversion panics")
        }
    }
    let file = TestFile::new();
    let env = file.open(options());
    in_order(&env, 4, |n| match n {
        1 => {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                env.batch(|txn| -> std::result::Result<(), Bomb> {
                    // It touches pages, so the nested transaction cannot be committed.
                    let filled = AssertUnwindSafe(|| txn.main().reserve(b"x", 10, |_| panic!("unfilled")));
                    assert!(catch_unwind(filled).is_err());
                    Ok(())
                })
            }));
            assert!(panicked.is_err());
        }
        _ => env.batch(|txn| put(txn, n)).expect("the others stand"),
    });
    assert!(holds(&env, 0) && holds(&env, 2) && holds(&env, 3));
    check(&env);
}

#[test]
fn a_change_that_asks_for_a_write_transaction_is_refused_rather_than_waiting_for_itself() {
    let file = TestFile::new();
    let env = file.open(options());
    env.batch(|txn| -> Result<()> {
        assert!(matches!(env.write(), Err(Error::BatchWithin)));
        check(&env);
        assert!(matches!(env.sync(), Ok(()) | Err(Error::BatchWithin)));
        put(txn, 1)
    })
    .expect("done");
    assert!(holds(&env, 1));
    check(&env);
}

/// Makes syncs slow on wish.
#[derive(Default)]
struct SlowSyncs(AtomicBool);

impl Observer for SlowSyncs {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        if self.0.load(Ordering::Relaxed) && matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. }) {
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[test]
fn what_a_change_only_saw_is_durable_when_it_is_answered() {
    let file = TestFile::new();
    let slow = Arc::new(SlowSyncs::default());
    let env = file.open(options().seam(Seam::watched(slow.clone())));
    slow.0.store(true, Ordering::Relaxed);
    let mut txn = env.write().expect("write");
    let txnid = txn.txnid();
    txn.main().put(b"x", b"").expect("put");
    let pending = txn.commit_later().expect("handed in");
    assert!(env.batch(|txn| txn.main().contains(b"x")).expect("done"));
    assert!(env.info().expect("info").durable_txnid >= txnid, "answered before it was durable");
    pending.wait().expect("durable");
    check(&env);
}
