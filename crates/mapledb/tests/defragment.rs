//! Packing the file while it is in use, and what is told of its space.

mod files;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use files::{TestFile, check, options};
use mapledb::{Defragment, Env, Holder, Multimap, PageKind, Stopped, Table};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BULK: Table<'static, u64, [u8]> = Table::new("bulk");

fn fill(env: &Env, keys: std::ops::Range<u64>, len: usize) {
    let keys: Vec<u64> = keys.collect();
    for some in keys.chunks(300) {
        let mut txn = env.write().expect("write");
        let mut table = txn.open_table(&BULK).expect("table");
        some.iter().for_each(|key| table.put(key, &vec![*key as u8; len]).expect("put"));
        txn.commit().expect("commit");
    }
}

/// Keeps one key of `nth`.
fn thin_out(env: &Env, nth: u64) {
    let mut txn = env.write().expect("write");
    txn.open_table(&BULK).expect("table").retain(|key, _| key.is_multiple_of(nth)).expect("retain");
    txn.commit().expect("commit");
}

fn holds(env: &Env, keys: impl Iterator<Item = u64>, len: usize) {
    let txn = env.read().expect("read");
    let table = txn.table(&BULK).expect("table");
    keys.for_each(|key| assert_eq!(table.get(&key).expect("get"), Some(&vec![key as u8; len][..]), "{key}"));
}

/// What the report says of a file must add up, and agree with the map.
fn adds_up(env: &Env) {
    let space = env.space().expect("space");
    assert_eq!(
        space.pages_in_use + space.available_pages + space.waiting_pages,
        space.used_pages,
        "{space:#?}"
    );
    assert_eq!(space.sizes.iter().map(|size| size.pages).sum::<u64>(), space.available_pages);
    let map = env.space_map(50).expect("map");
    assert_eq!(map.txnid, space.txnid, "nobody commits meanwhile");
    let of = |kind| map.stretches.iter().map(|stretch| stretch.of(kind)).sum::<u64>();
    assert_eq!(of(PageKind::Available), space.available_pages);
    assert_eq!(of(PageKind::Waiting), space.waiting_pages);
    assert_eq!(of(PageKind::Behind), space.pages_behind);
    assert_eq!(of(PageKind::Other), 0, "every page is in some record");
    assert_eq!(map.stretches.iter().map(|stretch| stretch.len()).sum::<u64>(), map.file_pages);
}

#[test]
fn what_lies_last_moves_to_where_there_is_room_and_the_end_is_given_back() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..6000, 1500);
    thin_out(&env, 8);
    adds_up(&env);
    let before = env.info().expect("info");
    let mut told = 0;
    let report = env
        .defragment(&Defragment::default(), |progress| {
            assert!(progress.pages_moved >= told && progress.used_pages_wanted < progress.used_pages);
            told = progress.pages_moved;
            true
        })
        .expect("defragment");
    adds_up(&env);
    check(&env);
    holds(&env, (0..6000).filter(|key: &u64| key.is_multiple_of(8)), 1500);
    assert_eq!((report.stopped, report.pages_moved), (Stopped::Done, told), "{report:?}");
    let after = env.info().expect("info");
    let in_use = after.used_pages - after.available_pages - after.waiting_pages;
    assert!(after.used_pages <= in_use + (in_use / 32).max(64) + 16, "{report:?}: {in_use} in use");
    assert!(after.used_pages < before.used_pages / 3, "{report:?}");
    assert_eq!((report.used_pages_before, report.used_pages), (before.used_pages, after.used_pages));
    assert!(after.file_bytes <= before.file_bytes, "it never grows for this");
    if report.trim.is_supported {
        assert!(after.allocated_bytes < before.allocated_bytes / 2, "{report:?}");
    }
    // There is nothing left to do.
    let again = env.defragment(&Defragment::default(), |_| true).expect("again");
    assert_eq!((again.stopped, again.pages_moved), (Stopped::Done, 0));
    env.close().expect("close");
    assert!(
        file.path().metadata().expect("stat").len() <= before.file_bytes / 2,
        "the last to close cuts the file"
    );
}

#[test]
fn large_values_move_as_a_whole() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..200, 60_000);
    fill(&env, 200..1000, 700);
    thin_out(&env, 5);
    let before = env.info().expect("info");
    let report = env.defragment(&Defragment::default(), |_| true).expect("defragment");
    check(&env);
    holds(&env, (0..200).filter(|key: &u64| key.is_multiple_of(5)), 60_000);
    holds(&env, (200..1000).filter(|key: &u64| key.is_multiple_of(5)), 700);
    assert!(report.used_pages < before.used_pages / 3, "{report:?}");
}

#[test]
fn limits_and_callers_end_it_between_two_commits() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..4000, 1500);
    thin_out(&env, 4);
    let stopped = |options: Defragment, keep_on: bool| {
        let report = env.defragment(&options.trim(false), |_| keep_on).expect("defragment");
        check(&env);
        (report.stopped, report.transactions, report.pages_moved)
    };
    let small = || Defragment::default().batch_pages(20);
    assert_eq!(stopped(small().time_max(Duration::ZERO), true), (Stopped::TimeLimit, 0, 0));
    let (reason, transactions, _) = stopped(small().transactions_max(2), true);
    assert_eq!((reason, transactions), (Stopped::TransactionLimit, 2));
    let (reason, _, moved) = stopped(small().pages_max(30), true);
    assert!(reason == Stopped::PageLimit && (30..60).contains(&moved), "{reason:?} after {moved}");
    let (reason, transactions, _) = stopped(small(), false);
    assert_eq!((reason, transactions), (Stopped::Interrupted, 1));
    assert_eq!(stopped(small(), true).0, Stopped::Done);
    holds(&env, (0..4000).filter(|key: &u64| key.is_multiple_of(4)), 1500);
}

#[test]
fn a_reader_in_the_way_is_named_and_keeps_its_snapshot() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..3000, 1500);
    let reader = env.read().expect("read");
    thin_out(&env, 8);
    let report = env.defragment(&Defragment::default(), |_| true).expect("defragment");
    assert_eq!(report.stopped, Stopped::Pinned { txnid: reader.txnid() }, "{report:?}");
    let space = env.space().expect("space");
    let held =
        space.waiting.iter().find(|group| group.txnid == reader.txnid()).expect("a group of the reader's");
    let is_reader = |holder: &Holder| matches!(holder, Holder::Reader(who) if who.is_own && who.pid == std::process::id());
    assert!(held.holders.iter().any(is_reader) && held.pages > 500 && held.age > 0, "{held:?}");
    let table = reader.table(&BULK).expect("table");
    for key in 0..3000 {
        assert_eq!(table.get(&key).expect("get"), Some(&[key as u8; 1500][..]));
    }
    drop(reader);
    let report = env.defragment(&Defragment::default(), |_| true).expect("defragment");
    assert_eq!(report.stopped, Stopped::Done, "{report:?}");
    adds_up(&env);
    env.create_snapshot("kept").expect("snapshot");
    thin_out(&env, 64);
    let is_named = |holder: &Holder| matches!(holder, Holder::Snapshot(name) if name == "kept");
    assert!(env.space().expect("space").waiting.iter().any(|group| group.holders.iter().any(is_named)));
    env.defragment(&Defragment::default(), |_| true).expect("defragment");
    check(&env);
    adds_up(&env);
    let kept = env.read_snapshot("kept").expect("read");
    let table = kept.table(&BULK).expect("table");
    for key in (0..3000).filter(|key: &u64| key.is_multiple_of(8)) {
        assert_eq!(table.get(&key).expect("get"), Some(&[key as u8; 1500][..]));
    }
}

#[test]
fn readers_and_writers_go_on_meanwhile() {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..5000, 1500);
    thin_out(&env, 5);
    let is_over = AtomicBool::new(false);
    let (written, read) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0u64;
            while !is_over.load(Ordering::Relaxed) {
                let mut txn = env.write().expect("write");
                let mut table = txn.main();
                // Two keys that always hold the same.
                table.put(b"one", &written.to_le_bytes()).expect("put");
                table.put(b"other", &written.to_le_bytes()).expect("put");
                txn.commit().expect("commit");
                written += 1;
            }
            written
        });
        let reader = scope.spawn(|| {
            let mut read = 0u64;
            while !is_over.load(Ordering::Relaxed) {
                let txn = env.read().expect("read");
                let table = txn.main().expect("table");
                assert_eq!(table.get(b"one").expect("get"), table.get(b"other").expect("get"));
                let bulk = txn.table(&BULK).expect("table");
                for entry in bulk.iter().expect("iter") {
                    let (key, value) = entry.expect("entry");
                    assert_eq!(value, [key as u8; 1500]);
                }
                read += 1;
            }
            read
        });
        let report = env.defragment(&Defragment::default().batch_pages(50), |_| true).expect("defragment");
        is_over.store(true, Ordering::Relaxed);
        assert!(report.transactions > 5 && report.used_pages < report.used_pages_before / 2, "{report:?}");
        (writer.join().expect("writer"), reader.join().expect("reader"))
    });
    assert!(written > 0 && read > 0, "{written} commits and {read} scans beside it");
    check(&env);
}

/// Tables with values of all sizes, changed at random, packed now and then: what they hold stays, whatever moves.
#[test]
fn packing_changes_nothing_that_a_reader_can_see() {
    match std::env::var("MAPLE_SEED") {
        Ok(seed) => pack_at_random(seed.parse().expect("a number")),
        Err(_) => (1..=4).for_each(pack_at_random),
    }
}

fn pack_at_random(seed: u64) {
    eprintln!("MAPLE_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let file = TestFile::new();
    let page_size = [4096, 8192, 16384][rng.random_range(0..3)];
    let env = file.open(options().page_size(page_size));
    let names = ["a", "b", "c"];
    let mut model: BTreeMap<(&str, u64), Vec<u8>> = BTreeMap::new();
    for _ in 0..12 {
        for _ in 0..rng.random_range(1..8) {
            let mut txn = env.write().expect("write");
            for _ in 0..rng.random_range(1..200) {
                let (name, key) = (names[rng.random_range(0..3)], rng.random_range(0..1500));
                let mut table = txn.open_table(&Table::<u64, [u8]>::new(name)).expect("table");
                if rng.random_ratio(2, 3) {
                    let len = if rng.random_ratio(1, 15) {
                        rng.random_range(0..90_000)
                    } else {
                        rng.random_range(0..900)
                    };
                    let value = vec![rng.random(); len];
                    table.put(&key, &value).expect("put");
                    model.insert((name, key), value);
                } else {
                    table.delete(&key).expect("delete");
                    model.remove(&(name, key));
                }
            }
            txn.commit().expect("commit");
        }
        let limits = Defragment::default().batch_pages(rng.random_range(1..400)).trim(rng.random());
        let limits = if rng.random() { limits } else { limits.pages_max(rng.random_range(1..500)) };
        let report = env.defragment(&limits, |_| true).expect("defragment");
        assert!(report.used_pages <= report.used_pages_before, "{report:?}");
        check(&env);
        adds_up(&env);
        let txn = env.read().expect("read");
        for name in names {
            let Ok(table) = txn.table(&Table::<u64, [u8]>::new(name)) else { continue };
            let found: Vec<_> = table.iter().expect("iter").map(|entry| entry.expect("entry")).collect();
            let mine: Vec<_> = model
                .range((name, 0)..=(name, u64::MAX))
                .map(|((_, key), value)| (*key, &value[..]))
                .collect();
            assert!(found == mine, "table {name} after {report:?}");
        }
    }
}

#[test]
fn trees_of_duplicates_move_with_their_pairs() {
    const PAIRS: Multimap<'static, str, u64> = Multimap::new("pairs");
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 0..3000, 700);
    let keys = ["few", "many", "most"];
    let mut txn = env.write().expect("write");
    let mut pairs = txn.open_multimap(&PAIRS).expect("multimap");
    for (key, count) in keys.into_iter().zip([5u64, 3_000, 40_000]) {
        pairs.insert_all(key, (0..count).map(|n| n * 7)).expect("pairs");
    }
    txn.commit().expect("commit");
    thin_out(&env, 50);
    let before = env.space().expect("space").used_pages;
    let report = env.defragment(&Defragment::default(), |_| true).expect("packed");
    assert_eq!(report.stopped, Stopped::Done, "{report:?}");
    assert!(env.space().expect("space").used_pages < before / 3, "{report:?}");
    let txn = env.read().expect("read");
    let pairs = txn.multimap(&PAIRS).expect("multimap");
    for (key, count) in keys.into_iter().zip([5u64, 3_000, 40_000]) {
        let held: Vec<u64> = pairs.get(key).expect("get").map(|value| value.expect("sound")).collect();
        assert!(held.into_iter().eq((0..count).map(|n| n * 7)), "{key}");
    }
    drop(txn);
    holds(&env, (0..3000u64).filter(|key| key.is_multiple_of(50)), 700);
    adds_up(&env);
    check(&env);
}
