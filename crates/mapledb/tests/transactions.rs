//! Ways of beginning, going on and ending: readers that move on or rest, views of what is not committed yet, commits that go on as
//! a read or as the next write, reads that become writes.

mod files;

use std::sync::Barrier;
use std::time::Duration;

use files::{TestFile, check, open, options};
use mapledb::{Access, Durability, Env, Error, ReadTxn, Table, WriteTxn};

const LEVELS: [Durability; 3] = [Durability::Sync, Durability::Group, Durability::Relaxed];
const NAMED: Table<'static, str, u64> = Table::new("named");

fn put(txn: &mut WriteTxn, value: u64) {
    txn.main().put(b"key", &value.to_le_bytes()).expect("put");
}

fn value(txn: &ReadTxn) -> Option<u64> {
    let value = txn.main().expect("main").get(b"key").expect("get")?;
    Some(u64::from_le_bytes(value.try_into().expect("eight bytes")))
}

fn commit(env: &Env, value: u64, durability: Durability) -> u64 {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    put(&mut txn, value);
    txn.commit().expect("commit")
}

#[test]
fn a_reader_moves_on_and_its_clones_do_not() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut reader = env.read().expect("read");
    assert!(!reader.refresh().expect("refresh"));
    for (n, durability) in LEVELS.into_iter().cycle().take(30).enumerate() {
        let n = n as u64;
        let clone = reader.clone();
        let committed = commit(&env, n, durability);
        assert_eq!(value(&reader), n.checked_sub(1));
        assert!(reader.refresh().expect("refresh"));
        assert!(!reader.refresh().expect("refresh"));
        assert_eq!((value(&reader), reader.txnid()), (Some(n), committed));
        assert_eq!(value(&clone), n.checked_sub(1));
        assert_eq!(env.readers().expect("readers").len(), 2);
    }
    drop(reader);
    assert!(env.readers().expect("readers").is_empty());
    check(&env);
}

#[test]
fn a_reader_at_rest_pins_nothing_and_begins_at_the_latest_snapshot() {
    let file = TestFile::new();
    let env = file.open(options());
    commit(&env, 0, Durability::Sync);
    let many: Vec<_> = (0..200).map(|_| env.read().expect("read")).collect();
    let mut resting: Vec<_> = many.into_iter().map(ReadTxn::reset).collect();
    assert!(env.readers().expect("readers").is_empty());
    for n in 1..4 {
        commit(&env, n, Durability::Relaxed);
        // In any order and any thread, and another may have taken the slot meanwhile.
        let other = env.read().expect("read");
        resting.reverse();
        let renewed: Vec<_> = std::thread::scope(|scope| {
            let renew = || resting.drain(..).map(|txn| txn.renew().expect("renew")).collect();
            scope.spawn(renew).join().expect("no panic")
        });
        assert!(renewed.iter().all(|txn| value(txn) == Some(n)));
        assert_eq!(env.readers().expect("readers").len(), 201);
        drop(other);
        resting = renewed.into_iter().map(ReadTxn::reset).collect();
    }
    let clone = resting.pop().expect("one").renew().expect("renew");
    let again = clone.clone().reset();
    assert_eq!(value(&clone), Some(3), "a clone that rests leaves the others alone");
    assert_eq!(value(&again.renew().expect("renew")), Some(3));
    drop((resting, clone));
    assert!(env.readers().expect("readers").is_empty());
    env.close().expect("nothing keeps it open");
}

#[test]
fn views_of_what_is_not_committed_are_read_by_many_threads() {
    let file = TestFile::with_entries(5000);
    let env = file.open(options());
    let before = env.read().expect("read");
    let mut txn = env.write().expect("write");
    for n in (0..5000u64).step_by(3) {
        txn.main().put(&n.to_be_bytes(), &[7; 100]).expect("put");
    }
    txn.main().put(b"long", &[8; 50_000]).expect("put");
    txn.open_table(&NAMED).expect("open").put("a", &1).expect("put");
    let view = txn.view();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                let main = view.main().expect("main");
                assert_eq!(main.len(), 5001);
                let sevens =
                    main.iter().expect("iter").filter(|entry| entry.as_ref().expect("sound").1 == [7; 100]);
                assert_eq!(sevens.count(), 1667);
                assert_eq!(main.get(b"long").expect("get"), Some(&[8; 50_000][..]));
                assert_eq!(view.table(&NAMED).expect("there").get("a").expect("get"), Some(1));
                assert_eq!(view.tables().expect("tables").len(), 2);
            });
        }
    });
    assert!(matches!(view.table(&Table::<str, str>::new("named")), Err(Error::TableTypes { .. })));
    assert!(matches!(view.table(&Table::<str, str>::new("other")), Err(Error::TableMissing { .. })));
    let mut nested = txn.nested().expect("nested");
    nested.rename_table("named", "other").expect("rename");
    assert_eq!(nested.view().table(&Table::<str, u64>::new("other")).expect("there").len(), 1);
    assert!(matches!(nested.view().table(&NAMED), Err(Error::TableMissing { .. })));
    nested.abort().expect("abort");
    assert_eq!(txn.view().table(&NAMED).expect("there").len(), 1);
    assert_eq!(before.main().expect("main").len(), 5000);
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn a_view_of_an_unusable_transaction_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options().quota_bytes(2 << 20));
    let mut txn = env.write().expect("write");
    assert!(
        (0..100u64).any(|n| txn.main().put(&n.to_be_bytes(), &vec![1; 100_000]).is_err()),
        "the quota ends it"
    );
    assert!(matches!(txn.view().main().map(|_| ()), Err(Error::TxnUnusable)));
    assert!(matches!(txn.view().table(&NAMED).map(|_| ()), Err(Error::TxnUnusable)));
}

#[test]
fn a_commit_that_is_read_on_shows_itself_whoever_commits_after_it() {
    for durability in LEVELS {
        let file = TestFile::new();
        let env = file.open(options());
        commit(&env, u64::MAX, Durability::Sync);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let env = &env;
                scope.spawn(move || {
                    for n in 0..60 {
                        let mut txn = env.write().expect("write");
                        txn.durability(durability);
                        let own = thread << 32 | n;
                        put(&mut txn, own);
                        let number = txn.txnid();
                        let read = txn.commit_and_read().expect("commit");
                        assert_eq!((value(&read), read.txnid()), (Some(own), number));
                        // What is published is no older.
                        assert!(env.read().expect("read").txnid() >= number);
                        std::thread::yield_now();
                        assert_eq!(value(&read), Some(own), "its pages are kept");
                    }
                });
            }
        });
        let latest = env.read().expect("read");
        let unchanged = env.write().expect("write").commit_and_read().expect("commit");
        assert_eq!(unchanged.txnid(), latest.txnid());
        drop((latest, unchanged));
        check(&env);
    }
}

#[test]
fn a_commit_that_goes_on_keeps_the_writer_lock() {
    for durability in LEVELS {
        let file = TestFile::new();
        let env = file.open(options());
        let mut txn = env.write().expect("write");
        let savepoint = txn.savepoint().expect("savepoint");
        for n in 0..20 {
            txn.durability(durability);
            put(&mut txn, n);
            let number = txn.txnid();
            txn = txn.commit_and_continue().expect("commit");
            assert!(txn.txnid() > number);
            assert_eq!(value(&env.read().expect("read")), Some(n), "it is acknowledged and published");
            assert!(env.try_write().expect("try").is_none(), "nobody else gets in between");
            assert!(env.write_timeout(Duration::from_millis(1)).expect("try").is_none());
        }
        assert!(matches!(txn.rollback_to(&savepoint), Err(Error::SavepointForeign)));
        // Without a change nothing is committed, and the lock is still kept.
        let latest = env.read().expect("read").txnid();
        txn = txn.commit_and_continue().expect("commit");
        assert_eq!(env.read().expect("read").txnid(), latest);
        assert!(env.try_write().expect("try").is_none());
        drop(txn);
        assert!(env.try_write().expect("try").is_some());
        check(&env);
    }
}

#[test]
fn a_read_becomes_a_write_unless_somebody_has_committed_since() {
    for durability in LEVELS {
        let file = TestFile::new();
        let env = file.open(options());
        commit(&env, 0, durability);
        let read = env.read().expect("read");
        let mut txn = read.upgrade().expect("upgrade").expect("nobody has written");
        assert_eq!(txn.main().get(b"key").expect("get"), Some(&0u64.to_le_bytes()[..]));
        put(&mut txn, 1);
        drop(txn);
        let mut txn = read.upgrade().expect("upgrade").expect("what was dropped is no commit");
        put(&mut txn, 2);
        txn.durability(durability);
        txn.commit().expect("commit");
        assert!(read.upgrade().expect("no error").is_none(), "it has written itself");
        assert_eq!(value(&read), Some(0), "it still stands");
        let mut read = read;
        read.refresh().expect("refresh");
        assert!(read.upgrade().expect("upgrade").is_some());
        check(&env);
    }
}

#[test]
fn of_many_that_upgrade_the_same_snapshot_one_wins() {
    let file = TestFile::new();
    let env = file.open(options());
    commit(&env, 0, Durability::Sync);
    for round in 0..20 {
        let start = Barrier::new(4);
        let won = std::thread::scope(|scope| {
            let race = || {
                let read = env.read().expect("read");
                start.wait();
                let Some(mut txn) = read.upgrade().expect("upgrade") else { return 0 };
                put(&mut txn, value(&read).expect("a value") + 1);
                txn.commit().expect("commit");
                1
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u64>()
        });
        assert_eq!(won, 1);
        assert_eq!(value(&env.read().expect("read")), Some(round + 1));
    }
    check(&env);
}

#[test]
fn a_read_of_a_file_that_is_open_to_read_only_cannot_become_a_write() {
    let file = TestFile::with_entries(10);
    for access in [Access::SharedReadOnly, Access::Frozen] {
        let env = open(file.path(), options().access(access)).expect("open");
        assert!(matches!(env.read().expect("read").upgrade(), Err(Error::ReadOnly)));
    }
}

#[test]
fn an_upgrade_after_a_full_file_is_of_the_same_snapshot() {
    let file = TestFile::with_entries(10);
    let env = file.open(options().quota_bytes(2 << 20));
    let mut txn = env.write().expect("write");
    let refused = (0u64..).find_map(|n| txn.main().put(&n.to_be_bytes(), &[7; 900]).err());
    assert!(matches!(refused, Some(Error::QuotaReached { .. })));
    drop(txn);
    let read = env.read().expect("read");
    // The next write begins with a commit of nothing, which lets go of pages.
    let mut txn = read.upgrade().expect("upgrade").expect("nobody has written");
    assert_eq!(txn.main().len(), 10);
    put(&mut txn, 1);
    let mut txn = txn.commit_and_continue().expect("commit");
    assert_eq!(txn.main().len(), 11);
    drop((txn, read));
    check(&env);
}
