//! The engine as its users see it, in one process.

use std::path::Path;
use std::time::Duration;

use mapledb::{Access, Durability, Env, Error, Pod, ReadTxn, Table};

fn options() -> mapledb::Options {
    Env::options().reserve_bytes(1 << 34)
}

#[allow(unsafe_code)]
fn open(path: &Path, options: mapledb::Options) -> Env {
    // SAFETY: only MapleDB writes to the test's own file.
    unsafe { options.open_or_create(path) }.expect("open")
}

#[allow(unsafe_code)]
fn try_open(path: &Path, options: mapledb::Options) -> Result<Env, Error> {
    // SAFETY: only MapleDB writes to the test's own file.
    unsafe { options.open(path) }
}

fn check(env: &Env) {
    let report = env.check(|_| ()).expect("check");
    assert!(report.is_clean(), "{:#?}", &report.problems[..report.problems.len().min(5)]);
}

#[test]
fn what_is_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("a.maple");
    const NAMES: Table<'static, str, u64> = Table::new("names");
    {
        let env = open(&path, options());
        let mut txn = env.write().expect("write");
        txn.main().put(b"k", b"v").expect("put");
        txn.open_table(&NAMES).expect("table").put("ada", &36).expect("put");
        assert_eq!(txn.open_table(&NAMES).expect("table").next_sequence(3).expect("sequence"), 0);
        txn.commit().expect("commit");
        check(&env);
        env.close().expect("close");
    }
    let env = open(&path, options());
    assert!(env.recovery().was_clean);
    let txn = env.read().expect("read");
    assert_eq!(txn.main().expect("main").get(b"k").expect("get"), Some(&b"v"[..]));
    assert_eq!(txn.table(&NAMES).expect("table").get("ada").expect("get"), Some(36));
    assert_eq!(txn.tables().expect("tables")[1].sequence, 3);
    let other: Table<'_, u32, str> = Table::new("names");
    assert!(matches!(txn.table(&other), Err(Error::TableTypes { .. })));
    assert!(matches!(txn.table(&Table::<str, str>::new("none")), Err(Error::TableMissing { .. })));
    check(&env);
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    for round in 0..50u64 {
        let mut txn = env.write().expect("write");
        for n in 0..100u64 {
            txn.main().put(&n.to_be_bytes(), &round.to_be_bytes()).expect("put");
        }
        if round % 2 == 0 {
            txn.commit().expect("commit");
        } else {
            drop(txn);
        }
        let txn = env.read().expect("read");
        let expected = (round & !1).to_be_bytes();
        for entry in txn.main().expect("main").iter().expect("iter") {
            assert_eq!(entry.expect("entry").1, expected);
        }
        check(&env);
    }
}

#[test]
fn a_reader_held_while_everything_is_overwritten_many_times_costs_only_its_own_snapshot() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    let entries = 20_000u64;
    let put_all = |from: u64, to: u64, stamp: u64| {
        let mut txn = env.write().expect("write");
        let mut main = txn.main();
        for n in from..to {
            main.put(&(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes(), &[stamp as u8; 100])
                .expect("put");
        }
        txn.commit().expect("commit");
    };
    put_all(0, entries, 0);
    let live = env.info().expect("info").used_pages;
    let reader = env.read().expect("read");
    for round in 1..=20 {
        for part in 0..200 {
            put_all(part * entries / 200, (part + 1) * entries / 200, round);
        }
    }
    let info = env.info().expect("info");
    assert!(info.used_pages < 3 * live, "{} pages for {live} live ones", info.used_pages);
    assert!(info.file_bytes < 3 * live * 4096, "{} bytes for {live} live pages", info.file_bytes);
    for entry in reader.main().expect("main").iter().expect("iter") {
        assert_eq!(entry.expect("entry").1, [0u8; 100]);
    }
    check(&env);
    drop(reader);
    put_all(0, 10, 21);
    check(&env);
}

#[test]
fn a_commit_that_fits_costs_one_sync_and_relaxed_ones_none() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options().relaxed_bound(1 << 40, Duration::from_secs(3600)));
    let put = |n: u64, durability| {
        let mut txn = env.write().expect("write");
        txn.durability(durability);
        txn.main().put(&(n % 50).to_be_bytes(), b"value").expect("put");
        txn.commit().expect("commit");
    };
    for n in 0..20 {
        put(n, Durability::Sync);
    }
    let syncs = || env.metrics().get("syncs").expect("counted");
    let before = syncs();
    for n in 0..100 {
        put(n, Durability::Sync);
    }
    assert_eq!(syncs() - before, 100);
    let before = syncs();
    for n in 0..100 {
        put(n, Durability::Relaxed);
    }
    assert_eq!(syncs() - before, 0);
    env.sync().expect("sync");
    assert_eq!(syncs() - before, 2);
    check(&env);
}

#[test]
fn relaxed_commits_are_synced_within_their_bound_though_no_call_is_made() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options().relaxed_bound(1 << 40, Duration::from_millis(50)));
    let mut txn = env.write().expect("write");
    txn.durability(Durability::Relaxed);
    txn.main().put(b"k", b"v").expect("put");
    let txnid = txn.commit().expect("commit");
    for _ in 0..200 {
        if env.info().expect("info").durable_txnid == txnid {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not durable after two seconds");
}

#[test]
fn copies_hold_the_snapshot_exact_or_compact() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    let mut txn = env.write().expect("write");
    for n in 0..5000u64 {
        txn.main().put(&n.to_be_bytes(), &vec![1; (n % 300) as usize]).expect("put");
    }
    txn.main().put(b"big", &vec![7; 100_000]).expect("put");
    const T: Table<'static, u64, Pod<[u32; 3]>> = Table::new("pods");
    txn.open_table(&T).expect("table").put(&1, &Pod([1, 2, 3])).expect("put");
    txn.open_table(&T).expect("table").next_sequence(9).expect("sequence");
    txn.commit().expect("commit");
    let mut txn = env.write().expect("write");
    txn.main().delete_range(&0u64.to_be_bytes()[..]..&4000u64.to_be_bytes()[..]).expect("delete");
    txn.commit().expect("commit");
    let from = env.read().expect("read");
    for compact in [false, true] {
        let path = dir.path().join(format!("copy-{compact}.maple"));
        let mut steps = Vec::new();
        let report = env.copy_to(&path, compact, |done, total| {
            steps.push((done, total));
            true
        });
        let report = report.expect("copy");
        let total = if compact { report.entries } else { report.pages };
        assert_eq!((steps[0], steps[steps.len() - 1]), ((0, total), (total, total)), "from nothing to all");
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(matches!(env.copy_to(&path, compact, |_, _| true), Err(Error::Exists { .. })));
        let copy = open(&path, options());
        let info = copy.info().expect("info");
        let used_bytes = info.used_pages * info.page_size as u64;
        assert_eq!(info.file_bytes, (128 << 10) + used_bytes, "no slack at the end");
        check(&copy);
        let to = copy.read().expect("read");
        let pairs = |txn: &ReadTxn| -> Vec<(Vec<u8>, Vec<u8>)> {
            let entries = txn.main().expect("main").iter().expect("iter");
            entries.map(|e| e.map(|(k, v)| (k.to_vec(), v.to_vec())).expect("entry")).collect()
        };
        assert_eq!(pairs(&from), pairs(&to));
        assert_eq!(to.table(&T).expect("table").get(&1).expect("get"), Some(&[1, 2, 3]));
        assert_eq!(to.tables().expect("tables")[1].sequence, 9);
        assert_eq!(copy.info().expect("info").identity == env.info().expect("info").identity, !compact);
        let mut txn = copy.write().expect("write");
        txn.main().put(b"more", b"x").expect("put");
        txn.commit().expect("commit");
        check(&copy);
    }
    let path = dir.path().join("given-up.maple");
    assert!(matches!(env.copy_to(&path, false, |_, _| false), Err(Error::Interrupted)));
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("dir").filter(|f| f.as_ref().expect("f").path() == path).count(),
        0
    );
}

#[test]
fn what_is_no_mapledb_file_is_told_apart() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("x");
    assert!(matches!(try_open(&path, options()), Err(Error::Missing { .. })));
    std::fs::write(&path, b"").expect("write");
    assert!(matches!(try_open(&path, options()), Err(Error::NotMapleDb { .. })));
    std::fs::write(&path, vec![7; 200_000]).expect("write");
    assert!(matches!(try_open(&path, options()), Err(Error::NotMapleDb { .. })));
    assert!(matches!(try_open(dir.path(), options()), Err(Error::Os(_))));
    let real = dir.path().join("real.maple");
    drop(open(&real, options()));
    let mut bytes = std::fs::read(&real).expect("read");
    bytes.truncate(100_000);
    std::fs::write(&path, &bytes).expect("write");
    assert!(matches!(try_open(&path, options()), Err(Error::Truncated { .. })));
}

#[test]
fn exclusive_and_frozen_work_and_keep_others_out() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("a.maple");
    let env = open(&path, options().access(Access::Exclusive));
    let mut txn = env.write().expect("write");
    txn.main().put(b"k", b"v").expect("put");
    txn.commit().expect("commit");
    assert!(matches!(try_open(&path, options()), Err(Error::OpenDifferently { .. })));
    env.close().expect("close");
    let env = try_open(&path, options().access(Access::Frozen)).expect("frozen");
    assert_eq!(env.read().expect("read").main().expect("main").get(b"k").expect("get"), Some(&b"v"[..]));
    assert!(matches!(env.write(), Err(Error::ReadOnly)));
}

#[test]
fn a_quota_is_an_error_and_the_last_commit_stands() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options().quota_bytes(2 << 20));
    let mut committed = 0u64;
    loop {
        let mut txn = env.write().expect("write");
        let put = txn.main().put(&committed.to_be_bytes(), &[5; 3000]);
        match put.and_then(|()| txn.commit()) {
            Ok(_) => committed += 1,
            Err(Error::QuotaReached { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(committed > 100);
    let txn = env.read().expect("read");
    assert_eq!(txn.main().expect("main").len(), committed);
    check(&env);
}

#[test]
fn after_an_unclean_end_a_shared_reader_waits_for_a_writer_to_vouch() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    let mut txn = env.write().expect("write");
    txn.main().put(b"k", b"v").expect("put");
    txn.commit().expect("commit");
    std::fs::set_permissions(env.path(), PermissionsExt::from_mode(0o600)).expect("chmod");
    // A copy has no lock file, so nothing tells how its last use ended.
    let path = dir.path().join("b.maple");
    env.copy_to(&path, false, |_, _| true).expect("copy");
    assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
    let read_only = || options().access(Access::SharedReadOnly);
    assert!(matches!(try_open(&path, read_only()), Err(Error::NeedsRecovery { .. })));
    try_open(&path, options()).expect("open").close().expect("close");
    let copy = try_open(&path, read_only()).expect("a clean file needs nobody's word");
    assert_eq!(copy.read().expect("read").main().expect("main").get(b"k").expect("get"), Some(&b"v"[..]));
    check(&copy);
}

#[test]
fn a_panic_of_the_callers_in_the_middle_of_a_change_leaves_the_transaction_unusable() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    let mut txn = env.write().expect("write");
    let pairs = (0..5000u64).map(|n| match n {
        4000 => panic!("the caller's own"),
        n => Ok((n.to_be_bytes(), [7; 100])),
    });
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| txn.main().load_sorted(pairs)));
    assert!(unwound.is_err());
    assert!(matches!(txn.main().put(b"k", b"v"), Err(Error::TxnUnusable)));
    assert!(matches!(txn.drop_table("none"), Err(Error::TxnUnusable)));
    assert!(matches!(txn.commit(), Err(Error::TxnUnusable)));
    assert!(env.read().expect("read").main().expect("main").is_empty());
    check(&env);
}

#[test]
fn a_file_whose_end_has_become_free_gets_shorter_when_the_last_one_closes_it() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("a.maple");
    let len = || std::fs::metadata(&path).expect("stat").len();
    let env = open(&path, options());
    let fill = |env: &Env, from: u64| {
        let mut txn = env.write().expect("write");
        for n in from..from + 20_000 {
            txn.main().put(&n.to_be_bytes(), &[7; 1000]).expect("put");
        }
        txn.commit().expect("commit");
    };
    fill(&env, 0);
    fill(&env, 20_000);
    let full = len();
    let mut txn = env.write().expect("write");
    txn.main()
        .delete_range((std::ops::Bound::Included(&100u64.to_be_bytes()[..]), std::ops::Bound::Unbounded))
        .expect("delete");
    txn.commit().expect("commit");
    // What was deleted waits for the metas before it; then each commit gives some of the end back.
    for n in 0..200u64 {
        let mut txn = env.write().expect("write");
        txn.main().put(&n.to_be_bytes(), &[8; 1000]).expect("put");
        txn.commit().expect("commit");
    }
    check(&env);
    assert_eq!(len(), full, "while it is open its length stays");
    env.close().expect("close");
    assert!(len() < full / 10, "{} of {full} bytes are left", len());
    let env = open(&path, options());
    assert!(env.recovery().was_clean);
    assert_eq!(env.read().expect("read").main().expect("main").len(), 200);
    check(&env);
    fill(&env, 0);
    check(&env);
}

#[test]
fn a_value_is_put_only_where_there_is_none_or_the_one_expected() {
    let dir = tempfile::tempdir().expect("dir");
    let env = open(&dir.path().join("a.maple"), options());
    let mut txn = env.write().expect("write");
    let mut main = txn.main();
    assert!(main.put_new(b"k", b"1").expect("put_new"));
    assert!(!main.put_new(b"k", b"2").expect("put_new"));
    assert_eq!(main.get(b"k").expect("get"), Some(&b"1"[..]));
    assert!(!main.compare_and_set(b"k", Some(b"2"), Some(b"3")).expect("compare"));
    assert!(main.compare_and_set(b"k", Some(b"1"), Some(b"3")).expect("compare"));
    assert!(main.compare_and_set(b"k", Some(b"3"), None).expect("compare"));
    assert_eq!(main.get(b"k").expect("get"), None);
    assert!(main.compare_and_set(b"k", None, Some(b"4")).expect("compare"));
    txn.commit().expect("commit");
    check(&env);
}
