//! Named snapshots: what they hold, for how long, and at what price.

mod files;

use std::path::{Path, PathBuf};

use files::{TestFile, check, open, options};
use mapledb::{Defragment, Durability, Env, Error, Holder, Multimap, ReadTxn, Table};

const NAMED: Table<'static, u64, [u8]> = Table::new("named");

/// Writes `round` under each of so many keys, into both tables, and a value in pages of its own.
fn fill(env: &Env, keys: u64, round: u8, durability: Durability, name: Option<&str>) -> u64 {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    for n in 0..keys {
        txn.main().put(&n.to_be_bytes(), &[round; 100]).expect("put");
        txn.open_table(&NAMED).expect("table").put(&n, &[round; 50]).expect("put");
    }
    txn.main().put(b"large", &vec![round; 20_000]).expect("put");
    if let Some(name) = name {
        txn.create_snapshot(name).expect("create");
    }
    txn.commit().expect("commit")
}

/// Whether the snapshot holds what [`fill`] wrote.
fn holds(txn: &ReadTxn, keys: u64, round: u8) {
    for n in 0..keys {
        assert_eq!(txn.main().expect("main").get(&n.to_be_bytes()).expect("get"), Some(&[round; 100][..]));
        assert_eq!(txn.table(&NAMED).expect("table").get(&n).expect("get"), Some(&[round; 50][..]));
    }
    assert_eq!(txn.main().expect("main").get(b"large").expect("get"), Some(&vec![round; 20_000][..]));
}

/// The file as a crash of the system might leave it, at the worst: nothing but the bytes, and no lock file.
fn crashed(file: &TestFile, name: &str) -> PathBuf {
    let path = file.dir().join(name);
    std::fs::copy(file.path(), &path).expect("copy");
    path
}

#[test]
fn a_snapshot_is_of_the_commit_that_makes_it_and_stays_what_it_is() {
    let file = TestFile::new();
    let env = file.open(options());
    let made = fill(&env, 300, 1, Durability::Sync, Some("one"));
    for round in 2..12 {
        fill(&env, 300, round, Durability::Sync, None);
    }
    let txn = env.read_snapshot("one").expect("open");
    assert_eq!(txn.txnid(), made);
    holds(&txn, 300, 1);
    holds(&txn.clone(), 300, 1);
    check(&env);
    let listed = env.snapshots().expect("list");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].txnid), ("one", made));
    assert!(listed[0].retained_bytes > 60_000, "{listed:?}");
    assert!(listed[0].retained_bytes < 150_000, "{listed:?}");
}

#[test]
fn a_snapshot_is_kept_across_restarts_and_after_unclean_ends() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 100, 1, Durability::Sync, Some("kept"));
    fill(&env, 100, 2, Durability::Sync, None);
    let crashed = crashed(&file, "crashed.maple");
    env.close().expect("close");
    for path in [file.path(), &crashed] {
        let env = open(path, options()).expect("open");
        for round in 3..9 {
            fill(&env, 100, round, Durability::Sync, None);
        }
        holds(&env.read_snapshot("kept").expect("open"), 100, 1);
        holds(&env.read().expect("read"), 100, 8);
        check(&env);
        env.close().expect("close");
    }
}

#[test]
fn what_a_dropped_snapshot_held_is_used_again_once_the_drop_is_durable() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 1000, 1, Durability::Sync, Some("old"));
    for round in 2..6 {
        fill(&env, 1000, round, Durability::Sync, None);
    }
    let before = env.info().expect("info");
    let alone = env.snapshots().expect("list")[0].alone_bytes / 4096;
    assert!(alone > 50, "{alone}");
    env.drop_snapshot("old").expect("drop");
    for round in 6..30 {
        fill(&env, 1000, round, Durability::Sync, None);
    }
    let after = env.info().expect("info");
    assert!(after.waiting_pages + alone * 3 / 4 <= before.waiting_pages, "{after:?} {before:?} {alone}");
    assert!(after.used_pages <= before.used_pages, "{after:?} {before:?}");
    assert_eq!(env.snapshots().expect("list"), []);
    check(&env);
}

#[test]
fn who_reads_a_snapshot_reads_on_when_it_is_dropped() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 300, 1, Durability::Sync, Some("old"));
    fill(&env, 300, 2, Durability::Sync, None);
    let txn = env.read_snapshot("old").expect("open");
    env.drop_snapshot("old").expect("drop");
    for round in 3..20 {
        fill(&env, 300, round, Durability::Sync, None);
    }
    holds(&txn, 300, 1);
    check(&env);
}

/// The drop is published and not durable: the state before it may stand after a crash, and lists the snapshot.
#[test]
fn a_dropped_snapshot_stays_until_the_drop_is_durable() {
    let file = TestFile::new();
    let relaxed = options().relaxed_bound(1 << 30, std::time::Duration::from_secs(3600));
    let env = file.open(relaxed);
    fill(&env, 300, 1, Durability::Sync, Some("old"));
    fill(&env, 300, 2, Durability::Sync, None);
    fill(&env, 300, 3, Durability::Sync, None);
    let mut txn = env.write().expect("write");
    txn.durability(Durability::Relaxed);
    assert!(txn.drop_snapshot("old").expect("drop"));
    txn.commit().expect("commit");
    for round in 4..40 {
        fill(&env, 300, round, Durability::Relaxed, None);
    }
    let crashed = open(crashed(&file, "crashed.maple"), options()).expect("open");
    holds(&crashed.read().expect("read"), 300, 3);
    holds(&crashed.read_snapshot("old").expect("it is there"), 300, 1);
    check(&crashed);
}

/// A relaxed commit names a state, later ones overwrite it, and one sync makes all of it durable.
#[test]
fn what_a_snapshot_reaches_is_as_durable_as_its_name() {
    let file = TestFile::new();
    let env = file.open(options().relaxed_bound(1 << 30, std::time::Duration::from_secs(3600)));
    fill(&env, 50, 1, Durability::Sync, None);
    fill(&env, 50, 2, Durability::Relaxed, Some("between"));
    for round in 3..6 {
        fill(&env, 50, round, Durability::Relaxed, None);
    }
    env.sync().expect("sync");
    let crashed = open(crashed(&file, "crashed.maple"), options()).expect("open");
    holds(&crashed.read_snapshot("between").expect("open"), 50, 2);
    holds(&crashed.read().expect("read"), 50, 5);
    check(&crashed);
}

#[test]
fn names_are_refused_that_are_taken_missing_or_none() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    env.create_snapshot("a").expect("create");
    assert!(matches!(env.create_snapshot("a"), Err(Error::SnapshotExists { name }) if name == "a"));
    assert!(matches!(env.read_snapshot("b"), Err(Error::SnapshotMissing { name }) if name == "b"));
    assert!(matches!(env.drop_snapshot("b"), Err(Error::SnapshotMissing { .. })));
    assert!(matches!(env.create_snapshot(""), Err(Error::SnapshotName { max: 255, .. })));
    assert!(matches!(env.create_snapshot(&"x".repeat(256)), Err(Error::SnapshotName { .. })));
    env.create_snapshot(&"x".repeat(255)).expect("the longest");
    let mut txn = env.write().expect("write");
    txn.create_snapshot("b").expect("create");
    assert!(matches!(txn.create_snapshot("b"), Err(Error::SnapshotExists { .. })), "in the same transaction");
    txn.main().put(b"still", b"usable").expect("put");
    assert!(txn.drop_snapshot("b").expect("drop"));
    assert!(!txn.drop_snapshot("b").expect("drop"));
    assert!(txn.drop_snapshot("a").expect("drop"));
    txn.create_snapshot("a").expect("the name is free again");
    let committed = txn.commit().expect("commit");
    assert_eq!(env.read_snapshot("a").expect("open").txnid(), committed);
    assert_eq!(env.snapshots().expect("list").len(), 2);
}

#[test]
fn an_aborted_transaction_leaves_snapshots_as_they_were() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let made = env.create_snapshot("a").expect("create");
    let mut txn = env.write().expect("write");
    txn.create_snapshot("b").expect("create");
    txn.drop_snapshot("a").expect("drop");
    txn.abort();
    assert_eq!(env.read_snapshot("a").expect("open").txnid(), made);
    assert!(matches!(env.read_snapshot("b"), Err(Error::SnapshotMissing { .. })));
}

#[test]
fn exact_copies_keep_snapshots_and_compact_ones_do_not() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 200, 1, Durability::Sync, Some("one"));
    fill(&env, 200, 2, Durability::Sync, Some("two"));
    fill(&env, 200, 3, Durability::Sync, None);
    let copies = [(false, file.dir().join("exact.maple")), (true, file.dir().join("compact.maple"))];
    for (is_compact, path) in &copies {
        let mut last = (1, 0);
        env.copy_to(path, *is_compact, |done, total| {
            last = (done, total);
            true
        })
        .expect("copy");
        assert_eq!(last.0, last.1, "progress ends with all of it");
    }
    let streamed = file.dir().join("streamed.maple");
    env.copy_into(&mut std::fs::File::create(&streamed).expect("file"), |_, _| true).expect("copy");
    env.close().expect("close");
    for path in [&copies[0].1, &streamed] {
        let env = open(path, options()).expect("open");
        for round in 4..9 {
            fill(&env, 200, round, Durability::Sync, None);
        }
        holds(&env.read_snapshot("one").expect("open"), 200, 1);
        holds(&env.read_snapshot("two").expect("open"), 200, 2);
        check(&env);
    }
    let compact = open(&copies[1].1, options()).expect("open");
    assert_eq!(compact.snapshots().expect("list"), []);
    holds(&compact.read().expect("read"), 200, 3);
}

/// What goes over all pages of a file that has a snapshot "one" of round 1, while `meanwhile` is called.
type GoesOver = fn(env: &Env, to: &Path, meanwhile: &mut dyn FnMut());

#[test]
fn a_snapshot_that_is_dropped_during_a_copy_or_a_check_stays_until_it_is_done() {
    const KEYS: u64 = 8000;
    let exact: GoesOver = |env, to, meanwhile| {
        let copied = env.copy_to(to, false, |_, _| {
            meanwhile();
            true
        });
        assert!(copied.expect("copied").pages > 0);
    };
    let compact: GoesOver = |env, to, meanwhile| {
        let copied = env.copy_to(to, true, |_, _| {
            meanwhile();
            true
        });
        assert!(copied.expect("copied").entries > KEYS);
    };
    let stream: GoesOver = |env, to, meanwhile| {
        let copied = env.copy_into(&mut std::fs::File::create(to).expect("file"), |done, _| {
            if done > 0 {
                meanwhile();
            }
            true
        });
        assert!(copied.expect("copied").pages > 0);
    };
    let image: GoesOver = |env, _, meanwhile| {
        let image = env.image(|_, _| {
            meanwhile();
            true
        });
        let image = image.expect("an image").env;
        holds(&image.read_snapshot("one").expect("open"), KEYS, 1);
        check(&image);
    };
    let checked: GoesOver = |env, _, meanwhile| {
        let report = env.check(|_| meanwhile()).expect("check");
        assert!(report.is_clean(), "{:?}", report.problems.first());
    };
    for (goes_over, keeps_one) in
        [(exact, true), (compact, false), (stream, true), (image, true), (checked, true)]
    {
        let file = TestFile::new();
        let env = file.open(options());
        fill(&env, KEYS, 1, Durability::Sync, Some("one"));
        fill(&env, KEYS, 2, Durability::Sync, None);
        let copy = file.dir().join("copy.maple");
        let mut is_dropped = false;
        goes_over(&env, &copy, &mut || {
            if !std::mem::replace(&mut is_dropped, true) {
                env.drop_snapshot("one").expect("drop");
                (3..9).for_each(|round| _ = fill(&env, KEYS, round, Durability::Sync, None));
            }
        });
        assert!(is_dropped);
        if copy.exists() {
            let copy = open(copy, options()).expect("open");
            if keeps_one {
                holds(&copy.read_snapshot("one").expect("open"), KEYS, 1);
            }
            holds(&copy.read().expect("read"), KEYS, 2);
            check(&copy);
        }
        assert_eq!(env.readers().expect("readers"), []);
    }
}

#[test]
fn giving_space_back_leaves_snapshots_alone() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 2000, 1, Durability::Sync, Some("one"));
    let mut txn = env.write().expect("write");
    txn.main().clear().expect("clear");
    txn.drop_table("named").expect("drop");
    txn.commit().expect("commit");
    env.trim().expect("trim");
    holds(&env.read_snapshot("one").expect("open"), 2000, 1);
    check(&env);
    env.close().expect("close");
    let env = file.open(options());
    holds(&env.read_snapshot("one").expect("open"), 2000, 1);
    env.drop_snapshot("one").expect("drop");
    let report = env.trim().expect("trim");
    assert!(report.bytes > 200_000 || !report.is_supported, "{report:?}");
}

#[test]
fn a_check_reads_what_only_a_snapshot_reaches() {
    use std::os::unix::fs::FileExt;
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.main().put(b"large", &vec![0xa7; 20_000]).expect("put");
    txn.create_snapshot("one").expect("create");
    txn.commit().expect("commit");
    let mut txn = env.write().expect("write");
    txn.main().clear().expect("clear");
    txn.commit().expect("commit");
    env.close().expect("close");
    let bytes = std::fs::read(file.path()).expect("read");
    let at = bytes.windows(64).position(|window| window == [0xa7; 64]).expect("the value is there");
    let damaged = std::fs::OpenOptions::new().write(true).open(file.path()).expect("open");
    damaged.write_all_at(&[0], at as u64 + 1000).expect("damage");
    let env = file.open(options());
    let report = env.check(|_| ()).expect("check");
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].what.contains("snapshot \"one\""), "{:?}", report.problems);
    drop(env);
    file.give_up();
}

#[test]
fn threads_open_snapshots_while_others_make_and_drop_them() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 20, 0, Durability::Relaxed, Some("s"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..250u8 {
                let mut txn = env.write().expect("write");
                txn.durability(if round % 8 == 0 { Durability::Sync } else { Durability::Relaxed });
                if round % 3 == 0 {
                    txn.drop_snapshot("s").expect("drop");
                    txn.create_snapshot("s").expect("create");
                }
                for n in 0..20u64 {
                    txn.main().put(&n.to_be_bytes(), &[round; 100]).expect("put");
                }
                txn.commit().expect("commit");
            }
        });
        while !writer.is_finished() {
            let txn = env.read_snapshot("s").expect("it is always there");
            let main = txn.main().expect("main");
            let first = main.get(&0u64.to_be_bytes()).expect("get").expect("there");
            std::thread::yield_now();
            for n in 0..20u64 {
                assert_eq!(main.get(&n.to_be_bytes()).expect("get"), Some(first));
            }
        }
    });
    check(&env);
}

#[test]
fn packing_the_file_leaves_a_snapshot_what_it_is_and_free_space_says_who_holds_it() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 500, 1, Durability::Sync, Some("kept"));
    fill(&env, 500, 2, Durability::Sync, None);
    fill(&env, 500, 3, Durability::Sync, None);
    let kept = env.read_snapshot("kept").expect("it is there").txnid();
    let free = env.space().expect("space");
    let held = free.waiting.iter().find(|waiting| waiting.txnid == kept).expect("pages wait for it");
    assert!(held.holders.contains(&Holder::Snapshot("kept".to_string())), "{:?}", held.holders);
    env.defragment(&Defragment::default(), |_| true).expect("packed");
    check(&env);
    holds(&env.read_snapshot("kept").expect("it is there"), 500, 1);
    holds(&env.read().expect("read"), 500, 3);
}

#[test]
fn rolling_back_brings_the_state_back_and_gives_the_later_one_up() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 800, 1, Durability::Sync, Some("one"));
    fill(&env, 900, 2, Durability::Sync, Some("two"));
    for round in 3..9 {
        fill(&env, 1000, round, Durability::Sync, None);
    }
    let reader = env.read().expect("read");
    for name in ["one", "two", "one", "one", "two", "one"] {
        let (keys, round) = if name == "one" { (800, 1) } else { (900, 2) };
        env.roll_back(name).expect("roll back");
        holds(&env.read().expect("read"), keys, round);
        assert_eq!(env.read().expect("read").main().expect("main").len(), keys + 1);
        check(&env);
        holds(&env.read_snapshot("one").expect("open"), 800, 1);
        holds(&env.read_snapshot("two").expect("open"), 900, 2);
    }
    holds(&reader, 1000, 8);
    drop(reader);
    env.drop_snapshot("one").expect("drop");
    for round in 9..20 {
        fill(&env, 800, round, Durability::Sync, None);
        holds(&env.read_snapshot("two").expect("open"), 900, 2);
        check(&env);
    }
    let mut txn = env.write().expect("write");
    txn.open_table(&NAMED).expect("table");
    txn.roll_back("two").expect("nothing has changed");
    txn.open_table(&NAMED).expect("table").put(&7, &[99; 50]).expect("put");
    assert!(matches!(txn.roll_back("two"), Err(Error::RollbackNotFirst)));
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    assert_eq!(txn.table(&NAMED).expect("table").get(&7).expect("get"), Some(&[99; 50][..]));
    assert_eq!(txn.table(&NAMED).expect("table").get(&8).expect("get"), Some(&[2; 50][..]));
    drop(txn);
    check(&env);
    env.drop_snapshot("two").expect("drop");
    assert!(matches!(env.roll_back("two"), Err(Error::SnapshotMissing { .. })));
}

/// The revived pages were never synced when they were given up: the commit that revives them vouches for them.
#[test]
fn a_rollback_to_what_was_never_synced_is_durable() {
    let file = TestFile::new();
    let env = file.open(options().relaxed_bound(1 << 30, std::time::Duration::from_secs(3600)));
    fill(&env, 50, 1, Durability::Sync, None);
    fill(&env, 50, 2, Durability::Relaxed, Some("between"));
    for round in 3..6 {
        fill(&env, 50, round, Durability::Relaxed, None);
    }
    env.roll_back("between").expect("roll back");
    let crashed = open(crashed(&file, "crashed.maple"), options()).expect("open");
    holds(&crashed.read().expect("read"), 50, 2);
    check(&crashed);
}

#[test]
fn one_table_is_rolled_back_alone_even_if_it_has_another_name_now() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 300, 1, Durability::Sync, Some("one"));
    fill(&env, 300, 2, Durability::Sync, None);
    let mut txn = env.write().expect("write");
    txn.open_table(&NAMED).expect("table").next_sequence(5).expect("sequence");
    txn.rename_table("named", "elsewhere").expect("rename");
    assert_eq!(txn.roll_back_table("one", Some("named")).expect("roll back"), 300);
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    assert_eq!(txn.table(&NAMED).expect("table").get(&7).expect("get"), Some(&[1; 50][..]));
    let elsewhere = Table::<u64, [u8]>::new("elsewhere");
    assert_eq!(txn.table(&elsewhere).expect("table").get(&7).expect("get"), Some(&[2; 50][..]));
    assert_eq!(txn.main().expect("main").get(&7u64.to_be_bytes()).expect("get"), Some(&[2; 100][..]));
    let mut txn = env.write().expect("write");
    assert_eq!(txn.roll_back_table("one", None).expect("roll back"), 301);
    assert_eq!(txn.roll_back_table("one", Some("named")).expect("roll back"), 300);
    assert!(matches!(txn.roll_back_table("one", Some("elsewhere")), Err(Error::TableMissing { .. })));
    assert!(matches!(txn.roll_back_table("two", None), Err(Error::SnapshotMissing { .. })));
    txn.create_snapshot("now").expect("a snapshot");
    assert!(matches!(txn.roll_back_table("now", None), Err(Error::SnapshotUncommitted { .. })));
    txn.commit().expect("commit");
    holds(&env.read().expect("read"), 300, 1);
    check(&env);
}

#[test]
fn multimaps_go_back_too_as_a_whole_and_each_alone() {
    const PAIRS: Multimap<'static, str, u64> = Multimap::new("pairs");
    let pairs_of = |env: &Env| -> Vec<(String, u64)> {
        let txn = env.read().expect("read");
        let pairs = txn.multimap(&PAIRS).expect("multimap");
        pairs
            .iter()
            .expect("iter")
            .map(|pair| pair.map(|(key, value)| (key.to_string(), value)).expect("sound"))
            .collect()
    };
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut pairs = txn.open_multimap(&PAIRS).expect("multimap");
    for (key, count) in [("few", 4), ("many", 5000), ("one", 1)] {
        pairs.insert_all(key, (0..count).map(|n| 3 * n)).expect("pairs");
    }
    txn.create_snapshot("kept").expect("create");
    txn.commit().expect("commit");
    let kept = pairs_of(&env);
    let change = |salt: u64| {
        let mut txn = env.write().expect("write");
        let mut pairs = txn.open_multimap(&PAIRS).expect("multimap");
        pairs.insert_all("more", (0..3000).map(|n| n + salt)).expect("pairs");
        (0..2500).for_each(|n| assert!(pairs.delete("many", &(6 * n)).expect("delete")));
        assert_eq!(pairs.delete_all("one").expect("delete"), 1);
        txn.commit().expect("commit");
    };
    change(1);
    assert_ne!(pairs_of(&env), kept);
    env.roll_back("kept").expect("back");
    assert_eq!(pairs_of(&env), kept);
    check(&env);
    change(2);
    let mut txn = env.write().expect("write");
    assert_eq!(txn.roll_back_table("kept", Some("pairs")).expect("back"), kept.len() as u64);
    txn.commit().expect("commit");
    assert_eq!(pairs_of(&env), kept);
    check(&env);
}

/// A snapshot keeps its tables. The free space and the list of names that its commit had wait for it in the file, since nothing
/// tells them from its tables, but recovery need not have brought them back: the check asks for none of them.
#[test]
fn a_page_that_waits_for_a_name_and_is_none_of_its_tables_may_hold_anything() {
    let file = TestFile::new();
    let env = file.open(options());
    for round in 0..4 {
        fill(&env, 20, round, Durability::Sync, None);
    }
    let first = fill(&env, 20, 4, Durability::Sync, Some("first"));
    fill(&env, 20, 5, Durability::Sync, Some("second"));
    // Both metas are of later commits.
    fill(&env, 20, 6, Durability::Sync, None);
    fill(&env, 20, 7, Durability::Sync, None);
    env.close().expect("close");

    let bytes = std::fs::read(file.path()).expect("read");
    let pages = || bytes.chunks_exact(4096).enumerate().skip(32);
    let written_in = |page: &[u8]| mapledb_format::header::stored_txnid(page).map_or(0, |txnid| txnid.get());
    let (_, older) = pages().find(|(_, page)| (1..first).contains(&written_in(page))).expect("an older page");
    let (mut told, mut needless) = (0, 0);
    for (number, _) in pages().filter(|(_, page)| written_in(page) == first) {
        let mut damaged = bytes.clone();
        damaged[4096 * number..4096 * (number + 1)].copy_from_slice(older);
        let path = file.dir().join(format!("damaged-{number}"));
        std::fs::write(&path, damaged).expect("write");
        let env = open(&path, options()).expect("open");
        let snapshot = env.read_snapshot("first").expect("open");
        let read_all = || -> mapledb::Result<()> {
            snapshot.main()?.iter()?.try_for_each(|entry| entry.map(drop))?;
            snapshot.table(&NAMED)?.iter()?.try_for_each(|entry| entry.map(drop))
        };
        let is_whole = read_all().is_ok();
        let report = env.check(|_| ()).expect("check");
        assert!(is_whole || !report.is_clean(), "page {number} is one of its tables'");
        told += u32::from(!is_whole);
        // Some are in use in the state of the older meta as well, for which they are asked for.
        needless += u32::from(report.is_clean());
    }
    assert!(told > 0 && needless > 0, "{told} pages of tables, {needless} others");
}

/// The first page of the file, as [`files`] makes it, whose bytes hold all of `needles`.
fn page_with(bytes: &[u8], needles: &[&[u8]]) -> u64 {
    let holds = |page: &[u8], needle: &[u8]| page.windows(needle.len()).any(|window| window == needle);
    let pages = bytes.chunks(4096).enumerate().skip(32);
    let mut found =
        pages.filter(|(_, page)| needles.iter().all(|needle| holds(page, needle))).map(|(at, _)| at as u64);
    found.next().expect("a page holds them")
}

/// The problems of a copy of the file in which a byte of each of these pages is another.
fn problems_with(file: &TestFile, pages: &[u64]) -> (u64, Vec<(Option<u64>, String)>) {
    let path = crashed(file, "damaged");
    let mut bytes = std::fs::read(&path).expect("read");
    pages.iter().for_each(|page| bytes[*page as usize * 4096 + 4000] ^= 1);
    std::fs::write(&path, bytes).expect("write");
    let env = open(&path, options()).expect("open");
    let report = env.check(|_| ()).expect("check");
    drop(env);
    (report.snapshots, report.problems.into_iter().map(|problem| (problem.pgno, problem.what)).collect())
}

#[test]
fn damage_to_the_latest_state_keeps_no_snapshot_from_being_checked_and_each_fault_is_told_once() {
    const OLD: Table<'static, u64, [u8]> = Table::new("old");
    const SHARED: Table<'static, u64, [u8]> = Table::new("shared");
    let file = TestFile::new();
    let env = file.open(options());
    let put = |table: &Table<'static, u64, [u8]>, byte: u8| {
        let mut txn = env.write().expect("write");
        let mut table = txn.open_table(table).expect("table");
        for n in 0..400u64 {
            table.put(&n, &[byte; 60]).expect("put");
        }
        txn.commit().expect("commit");
    };
    put(&SHARED, 0xa1);
    put(&OLD, 0xb2);
    env.create_snapshot("first").expect("create");
    env.create_snapshot("second").expect("create");
    put(&OLD, 0xc3);
    // The pages of the last commits are verified at every opening; these are older.
    for n in 0..4u64 {
        let mut txn = env.write().expect("write");
        txn.main().put(&n.to_be_bytes(), b"later").expect("put");
        txn.commit().expect("commit");
    }
    check(&env);
    env.close().expect("close");
    let bytes = std::fs::read(file.path()).expect("read");
    let of = |byte: u8| page_with(&bytes, &[&[byte; 60]]);
    let (shared, kept, now) = (of(0xa1), of(0xb2), of(0xc3));

    let (snapshots, problems) = problems_with(&file, &[]);
    assert_eq!((snapshots, problems.len()), (2, 0), "{problems:?}");
    let (snapshots, problems) = problems_with(&file, &[shared, kept, now]);
    assert_eq!(snapshots, 2);
    let pages: Vec<Option<u64>> = problems.iter().map(|(pgno, _)| *pgno).collect();
    let mut latest = [shared, now];
    latest.sort_unstable();
    let mut told: Vec<u64> = pages[..2].iter().flatten().copied().collect();
    told.sort_unstable();
    assert_eq!(told, latest, "{problems:?}");
    assert_eq!(pages[2..], [Some(kept)], "{problems:?}");
    assert!(problems[2].1.starts_with("snapshot \"first\": checksum is"), "{problems:?}");
    // A snapshot's damage alone: the law of pages in use is asked as well, and holds.
    let (_, problems) = problems_with(&file, &[kept]);
    assert_eq!(problems.iter().map(|(pgno, _)| *pgno).collect::<Vec<_>>(), [Some(kept)], "{problems:?}");
}
