//! Nested transactions and savepoints: what is taken back, what stays, and what is refused.

mod files;

use std::panic::{AssertUnwindSafe, catch_unwind};

use files::{TestFile, check, options};
use mapledb::{Durability, Env, Error, Table, WriteTxn};

const NAMED: Table<'static, str, str> = Table::new("named");

fn put(txn: &mut WriteTxn, key: &str, value: &str) {
    txn.main().put(key.as_bytes(), value.as_bytes()).expect("put");
}

fn keys(env: &Env) -> Vec<String> {
    let txn = env.read().expect("read");
    let main = txn.main().expect("main");
    main.iter()
        .expect("iter")
        .map(|entry| String::from_utf8(entry.expect("sound").0.to_vec()).expect("text"))
        .collect()
}

#[test]
fn a_nested_transaction_commits_into_its_parent_and_is_aborted_alone_at_every_durability_level() {
    for durability in [Durability::Sync, Durability::Group, Durability::Relaxed] {
        let file = TestFile::new();
        let env = file.open(options());
        let mut parent = env.write().expect("write");
        parent.durability(durability);
        put(&mut parent, "parent", "1");
        let mut kept = parent.nested().expect("nested");
        put(&mut kept, "kept", "1");
        let mut inner = kept.nested().expect("nested");
        put(&mut inner, "inner", "1");
        let mut innermost = inner.nested().expect("nested");
        put(&mut innermost, "innermost", "1");
        innermost.commit().expect("commit");
        drop(inner); // and with it what was committed into it
        kept.commit().expect("commit");
        let mut gone = parent.nested().expect("nested");
        put(&mut gone, "parent", "2");
        gone.abort().expect("abort");
        assert_eq!(parent.main().get(b"parent").expect("get"), Some(&b"1"[..]));
        assert!(keys(&env).is_empty(), "nothing is visible outside");
        parent.commit().expect("commit");
        assert_eq!(keys(&env), ["kept", "parent"]);
        check(&env);
    }
}

#[test]
fn tables_that_were_made_renamed_or_dropped_come_back_with_their_sequences() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.open_table(&NAMED).expect("open").put("a", "1").expect("put");
    txn.open_table(&NAMED).expect("open").next_sequence(7).expect("sequence");
    txn.main().next_sequence(2).expect("sequence");
    let tables = txn.tables().expect("tables");
    let savepoint = txn.savepoint().expect("savepoint");
    for round in 0..4 {
        txn.main().next_sequence(100).expect("sequence");
        match round {
            0 => txn.rename_table("named", "other").expect("rename"),
            1 => assert!(txn.drop_table("named").expect("drop")),
            2 => drop(txn.open_table(&Table::<u32, u32>::new("new")).expect("open").next_sequence(5)),
            _ => {
                assert!(txn.drop_table("named").expect("drop"));
                txn.open_table(&Table::<u32, u32>::new("named"))
                    .expect("of other types")
                    .put(&1, &2)
                    .expect("put");
            }
        }
        assert_ne!(txn.tables().expect("tables"), tables);
        txn.rollback_to(&savepoint).expect("roll back");
        assert_eq!(txn.tables().expect("tables"), tables, "round {round}");
        assert_eq!(txn.table(&NAMED).expect("there").get("a").expect("get"), Some("1"));
    }
    txn.commit().expect("commit");
    assert_eq!(env.read().expect("read").tables().expect("tables"), tables);
    check(&env);
}

#[test]
fn a_savepoint_that_is_gone_is_refused_and_changes_nothing() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    put(&mut txn, "a", "1");
    let first = txn.savepoint().expect("savepoint");
    let second = txn.savepoint().expect("savepoint");
    txn.rollback_to(&first).expect("roll back");
    put(&mut txn, "b", "1");
    assert!(matches!(txn.rollback_to(&second), Err(Error::SavepointEnded)));
    assert!(matches!(txn.release(&second), Err(Error::SavepointEnded)));

    let mut nested = txn.nested().expect("nested");
    let inner = nested.savepoint().expect("savepoint");
    assert!(matches!(nested.rollback_to(&first), Err(Error::SavepointOuter)));
    assert!(matches!(nested.release(&first), Err(Error::SavepointOuter)));
    put(&mut nested, "c", "1");
    nested.commit().expect("commit");
    let refused = txn.rollback_to(&inner).expect_err("its level is part of the parent now");
    assert!(matches!(refused, Error::SavepointEnded), "{refused}");
    assert!(refused.to_string().contains("nothing was changed"), "{refused}");

    txn.release(&first).expect("release");
    assert!(matches!(txn.rollback_to(&first), Err(Error::SavepointEnded)));
    txn.commit().expect("commit");
    assert_eq!(keys(&env), ["a", "b", "c"]);

    let mut later = env.write().expect("write");
    assert!(matches!(later.rollback_to(&first), Err(Error::SavepointForeign)));
    let other_file = TestFile::new();
    let other = other_file.open(options());
    let mut elsewhere = other.write().expect("write");
    let savepoint = later.savepoint().expect("savepoint");
    assert!(matches!(elsewhere.release(&savepoint), Err(Error::SavepointForeign)));
    drop((elsewhere, later));
    check(&env);
}

#[test]
fn a_full_file_in_a_nested_transaction_leaves_the_parent_usable() {
    let file = TestFile::with_entries(1000);
    let env = file.open(options().quota_bytes(4 << 20));
    let mut parent = env.write().expect("write");
    parent.main().put(b"parent", &[1; 3000]).expect("put");
    for is_nested in [true, false, true] {
        let savepoint = parent.savepoint().expect("savepoint");
        let fill = |txn: &mut WriteTxn| {
            let refused = (0u64..).find_map(|n| txn.main().put(&n.to_be_bytes(), &[7; 900]).err());
            assert!(matches!(refused, Some(Error::QuotaReached { .. })), "{refused:?}");
            assert!(matches!(txn.savepoint(), Err(Error::TxnUnusable)));
            assert!(matches!(txn.nested().map(drop), Err(Error::TxnUnusable)));
        };
        if is_nested {
            let mut nested = parent.nested().expect("nested");
            fill(&mut nested);
            assert!(matches!(nested.commit(), Err(Error::TxnUnusable)));
        } else {
            fill(&mut parent);
            assert!(matches!(parent.release(&savepoint), Err(Error::TxnUnusable)));
            parent.rollback_to(&savepoint).expect("roll back");
        }
        assert_eq!(parent.main().len(), 1001);
        parent.main().put(b"after", &[2; 3000]).expect("the parent is as good as before");
        parent.main().delete(b"after").expect("delete");
    }
    parent.commit().expect("commit");
    assert_eq!(
        env.read().expect("read").main().expect("main").get(b"parent").expect("get"),
        Some(&[1; 3000][..])
    );
    check(&env);
}

#[test]
fn a_panic_of_the_callers_in_a_nested_transaction_leaves_the_parent_usable() {
    let file = TestFile::with_entries(5000);
    let env = file.open(options());
    let mut parent = env.write().expect("write");
    parent.main().delete(&7u64.to_be_bytes()).expect("delete");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut nested = parent.nested().expect("nested");
        let mut left = 3000;
        let _ = nested.main().retain(|_, _| {
            left -= 1;
            assert!(left > 0, "enough of that");
            left % 3 == 0
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(parent.main().len(), 4999);
    parent.main().put(b"more", b"").expect("put");
    parent.commit().expect("commit");
    check(&env);
}

#[test]
fn a_nested_transaction_that_was_forgotten_is_not_committed_in_silence() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut parent = env.write().expect("write");
    put(&mut parent, "parent", "1");
    let mut nested = parent.nested().expect("nested");
    put(&mut nested, "nested", "1");
    std::mem::forget(nested);
    let refused = parent.commit().expect_err("refused");
    assert!(matches!(refused, Error::NestedOpen), "{refused}");
    assert!(refused.to_string().contains("did not happen"), "{refused}");
    assert!(keys(&env).is_empty());
    check(&env);
}

#[test]
fn what_is_aborted_altogether_makes_no_commit() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let before = env.read().expect("read").txnid();
    let mut txn = env.write().expect("write");
    let mut nested = txn.nested().expect("nested");
    put(&mut nested, "a", "1");
    nested.abort().expect("abort");
    assert_eq!(txn.commit().expect("commit"), before, "nothing has changed");
}

/// A parent with many pages of its own, and a nested transaction that changes a few of them: what the abort costs does not
/// depend on the parent.
#[test]
fn pages_given_up_and_taken_in_nested_transactions_are_not_lost() {
    let file = TestFile::with_entries(20_000);
    let env = file.open(options());
    let mut sizes = Vec::new();
    for round in 0..30u64 {
        let mut txn = env.write().expect("write");
        for n in 0..20u64 {
            let mut nested = txn.nested().expect("nested");
            for k in 0..40u64 {
                let key = (round * 7919 + n * 104_729 + k * 13).wrapping_mul(0x9e37_79b9) % 20_000;
                nested
                    .main()
                    .put(&key.to_be_bytes(), &vec![n as u8; 100 + 5000 * usize::from(k == 0)])
                    .expect("put");
            }
            if n % 2 == 0 {
                nested.commit().expect("commit");
            }
        }
        txn.commit().expect("commit");
        check(&env);
        sizes.push(std::fs::metadata(file.path()).expect("metadata").len());
    }
    assert!(sizes[29] <= 2 * sizes[9], "the file grows without an end: {sizes:?}");
}

#[test]
fn what_a_nested_transaction_names_or_drops_is_taken_back_with_it() {
    let file = TestFile::new();
    let env = file.open(options());
    env.create_snapshot("old").expect("a snapshot");
    let mut txn = env.write().expect("write");
    txn.create_snapshot("outer").expect("a name");
    let mut nested = txn.nested().expect("nested");
    nested.create_snapshot("inner").expect("a name");
    assert!(nested.drop_snapshot("outer").expect("drop"));
    assert!(nested.drop_snapshot("old").expect("drop"));
    nested.abort().expect("abort");
    txn.commit().expect("commit");
    let names: Vec<_> =
        env.snapshots().expect("snapshots").into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(names, ["old", "outer"]);
    env.read_snapshot("old").expect("it is there");
    check(&env);
}
