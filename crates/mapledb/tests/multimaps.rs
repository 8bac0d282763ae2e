//! Multimaps through the whole engine: random transactions against sorted sets, copies, commits that are lost and recovered, and
//! what keeps a multimap from being mistaken for a table.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test multimaps`.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use files::{TestFile, check, options};
use mapledb::{Duplicates, Env, Error, KeyOrder, Le, Multimap, Table};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Model = BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>;

const ANY: Multimap<'static, [u8], [u8]> = Multimap::new("any");
const PACKED: Multimap<'static, [u8], [u8; 6]> = Multimap::new("packed");
const POSTINGS: Multimap<'static, str, u64> = Multimap::new("postings");

fn pairs(model: &Model) -> Vec<(Vec<u8>, Vec<u8>)> {
    model.iter().flat_map(|(key, dups)| dups.iter().map(|dup| (key.clone(), dup.clone()))).collect()
}

fn put(model: &mut Model, key: &[u8], dup: &[u8]) -> bool {
    model.entry(key.to_vec()).or_default().insert(dup.to_vec())
}

fn take(model: &mut Model, key: &[u8], dup: &[u8]) -> bool {
    let Some(dups) = model.get_mut(key) else { return false };
    let was = dups.remove(dup);
    if dups.is_empty() {
        model.remove(key);
    }
    was
}

/// Both multimaps of the file hold what the models do, in both directions.
fn holds(env: &Env, any: &Model, packed: &Model) {
    let txn = env.read().expect("begin");
    let any_table = txn.multimap(&ANY).expect("open");
    let found: Vec<_> = any_table.iter().expect("range").map(|pair| pair.expect("a pair")).collect();
    let expected = pairs(any);
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(found, pair)| *found == (&pair.0[..], &pair.1[..])));
    let packed_table = txn.multimap(&PACKED).expect("open");
    let back: Vec<_> = packed_table.iter().expect("range").rev().map(|pair| pair.expect("a pair")).collect();
    let expected = pairs(packed);
    assert_eq!(back.len(), expected.len());
    assert!(
        back.iter()
            .zip(expected.iter().rev())
            .all(|(found, pair)| (found.0, &found.1[..]) == (&pair.0[..], &pair.1[..]))
    );
    for (key, dups) in packed {
        let arrays = packed_table.arrays::<6>(key).expect("of 6 bytes");
        let all: Vec<u8> = arrays.flat_map(|page| page.expect("a page").concat()).collect();
        assert_eq!(all, dups.iter().flatten().copied().collect::<Vec<u8>>());
        assert_eq!(packed_table.count_of(key).expect("count"), dups.len() as u64);
        assert_eq!(packed_table.last_of(key).expect("last").map(|dup| dup.to_vec()).as_ref(), dups.last());
    }
}

#[allow(unsafe_code)]
fn open_copy(path: &std::path::Path) -> Env {
    // SAFETY: nothing but this test writes to its own file.
    unsafe { options().open(path) }.expect("open")
}

fn key(rng: &mut SmallRng) -> Vec<u8> {
    // A few keys have most of the duplicates.
    let number: u8 = if rng.random_bool(0.7) { rng.random_range(0..3) } else { rng.random_range(0..60) };
    vec![number; 1 + usize::from(number) * 3]
}

fn seed(default: u64) -> u64 {
    let seed = std::env::var("MAPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    println!("seed {seed}");
    seed
}

fn transactions(seed: u64, count: u32) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let file = TestFile::new();
    let mut env = file.open(options());
    let (mut any, mut packed) = (Model::new(), Model::new());
    for _ in 0..count {
        let (any_before, packed_before) = (any.clone(), packed.clone());
        let mut txn = env.write().expect("begin");
        let _ = txn.open_multimap(&ANY).expect("open");
        let _ = txn.open_multimap(&PACKED).expect("open");
        for _ in 0..rng.random_range(1..120) {
            let key = key(&mut rng);
            let number: u32 = rng.random_range(0..4000);
            let dup = number.to_be_bytes().repeat(1 + number as usize % 20);
            let six: [u8; 6] = [&[0, 0], &number.to_be_bytes()[..]].concat().try_into().expect("six bytes");
            let mut into = txn.multimap(&ANY).expect("open");
            match rng.random_range(0..20) {
                0..11 => assert_eq!(into.insert(&key, &dup).expect("insert"), put(&mut any, &key, &dup)),
                11..14 => assert_eq!(into.delete(&key, &dup).expect("delete"), take(&mut any, &key, &dup)),
                14 => {
                    let gone = into.delete_all(&key).expect("delete");
                    assert_eq!(gone, any.remove(&key).map_or(0, |dups| dups.len() as u64));
                }
                15 => {
                    // From a pair on, some 30 of them: within a key, or across keys.
                    let (low, all) = ((key.clone(), dup), pairs(&any));
                    let at = all.partition_point(|pair| *pair < low);
                    let high = all.get(at + rng.random_range(0..30)).cloned().unwrap_or((vec![255], vec![]));
                    let going = all.iter().filter(|pair| **pair > low && **pair <= high).count();
                    let bounds = (
                        Bound::Excluded((&low.0[..], &low.1[..])),
                        Bound::Included((&high.0[..], &high.1[..])),
                    );
                    assert_eq!(into.delete_pairs(bounds).expect("delete"), going as u64);
                    for (key, dup) in all.iter().filter(|pair| **pair > low && **pair <= high) {
                        take(&mut any, key, dup);
                    }
                }
                _ => {}
            }
            let mut into = txn.multimap(&PACKED).expect("open");
            match rng.random_range(0..20) {
                0..9 => {
                    let many: Vec<[u8; 6]> = (0..rng.random_range(0..60u8))
                        .map(|n| [n, six[1], six[2], six[3], six[4], six[5]])
                        .collect();
                    let added = many.iter().filter(|dup| put(&mut packed, &key, &dup[..])).count();
                    assert_eq!(into.insert_all(&key, &many).expect("insert"), added as u64);
                    packed.retain(|_, dups| !dups.is_empty());
                }
                9..13 => {
                    let first = packed.get(&key).and_then(|dups| dups.first().cloned());
                    let dup = first.and_then(|dup| dup.try_into().ok()).unwrap_or(six);
                    assert_eq!(into.delete(&key, &dup).expect("delete"), take(&mut packed, &key, &dup));
                }
                13 => {
                    let low = Bound::Excluded(&key[..]);
                    let high = [&key[..], &[1]].concat();
                    let gone: u64 = packed
                        .range::<[u8], _>((low, Bound::Excluded(&high[..])))
                        .map(|(_, dups)| dups.len() as u64)
                        .sum();
                    packed.retain(|k, _| !(*k > key && *k < high));
                    assert_eq!(into.delete_range((low, Bound::Excluded(&high[..]))).expect("delete"), gone);
                }
                _ => {}
            }
        }
        match rng.random_range(0..10) {
            0 => {
                drop(txn);
                (any, packed) = (any_before, packed_before);
            }
            1 => {
                txn.durability(mapledb::Durability::Relaxed);
                txn.commit().expect("commit");
            }
            _ => drop(txn.commit().expect("commit")),
        }
        if rng.random_bool(0.1) && env.read().expect("begin").multimap(&PACKED).is_ok() {
            holds(&env, &any, &packed);
            env.close().expect("close");
            env = file.open(options());
        }
    }
    let mut txn = env.write().expect("begin");
    let _ = txn.open_multimap(&ANY).expect("open");
    let _ = txn.open_multimap(&PACKED).expect("open");
    txn.commit().expect("commit");
    holds(&env, &any, &packed);
    check(&env);
    for compact in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("copy.maple");
        env.copy_to(&path, compact, |_, _| true).expect("copy");
        let copy = open_copy(&path);
        holds(&copy, &any, &packed);
        check(&copy);
        copy.close().expect("close");
    }
    let mut txn = env.write().expect("begin");
    assert!(txn.drop_table("any").expect("drop") && txn.drop_table("packed").expect("drop"));
    txn.commit().expect("commit");
    check(&env);
    env.close().expect("close");
}

#[test]
fn random_transactions_leave_what_sorted_sets_hold() {
    let first = seed(1);
    for seed in first..first + 6 {
        println!("seed {seed}");
        transactions(seed, 60);
    }
}

#[test]
fn counts_ranks_and_ranges_are_of_pairs() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    let mut postings = txn.open_multimap(&POSTINGS).expect("open");
    for (word, step) in [("ash", 2u64), ("maple", 3), ("oak", 5)] {
        assert_eq!(postings.insert_all(word, (0..1000).map(|n| n * step)).expect("insert"), 1000);
    }
    assert!(!postings.insert("oak", &5).expect("insert"), "it is there");
    txn.commit().expect("commit");
    let txn = env.read().expect("begin");
    let postings = txn.multimap(&POSTINGS).expect("open");
    assert_eq!((postings.len(), postings.count_of("maple").expect("count")), (3000, 1000));
    assert_eq!(postings.count("b"..).expect("count"), 2000);
    assert_eq!(postings.rank("maple", &300).expect("rank"), 1100);
    assert_eq!(postings.nth(1100).expect("nth"), Some(("maple", 300)));
    assert_eq!(postings.range_pairs(("ash", &1990)..("maple", &7)).expect("range").remaining(), 8);
    let mut from = postings.get("maple").expect("get").rev();
    assert_eq!(from.next().expect("one").expect("whole"), 2997);
    let keys: Vec<_> = postings.keys().map(|key| key.expect("a key")).collect();
    assert_eq!(keys, ["ash", "maple", "oak"]);
    let mut cursor = postings.cursor();
    assert_eq!(cursor.ceiling("maple", &4).expect("ceiling"), Some(("maple", 6)));
    assert_eq!(cursor.floor("maple", &0).expect("floor"), Some(("maple", 0)));
    assert_eq!(cursor.previous().expect("previous"), Some(("ash", 1998)));
    assert_eq!(cursor.next_key().expect("next"), Some(("maple", 0)));
    assert_eq!(cursor.previous_in_key().expect("previous"), None);
    assert_eq!(cursor.current().expect("current"), Some(("maple", 0)));
    // 3,000 duplicates of 8 bytes, 508 to a page: six pages and little more.
    assert!(postings.stat().overflow_pages <= 12, "{:?}", postings.stat());
    check(&env);
}

#[test]
fn duplicates_are_in_the_order_asked_for() {
    const NUMBERS: Multimap<'static, str, Le<u32>> = Multimap::new("numbers");
    const HOSTS: Multimap<'static, u8, str> = Multimap::new("hosts").duplicates_in(KeyOrder::REVERSE);
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    for number in [256, 1, 65_536, 2] {
        txn.open_multimap(&NUMBERS).expect("open").insert("n", &Le(number)).expect("insert");
    }
    for host in ["www.b.org", "a.com", "mail.b.org"] {
        txn.open_multimap(&HOSTS).expect("open").insert(&1, host).expect("insert");
    }
    txn.commit().expect("commit");
    let txn = env.read().expect("begin");
    let numbers = txn.multimap(&NUMBERS).expect("open").get("n").expect("get");
    assert_eq!(numbers.map(|n| n.expect("a number").0).collect::<Vec<_>>(), [1, 2, 256, 65_536]);
    let hosts = txn.multimap(&HOSTS).expect("open").get(&1).expect("get");
    assert_eq!(
        hosts.map(|host| host.expect("a host")).collect::<Vec<_>>(),
        ["mail.b.org", "www.b.org", "a.com"]
    );
    drop(txn);
    check(&env);
}

#[test]
fn a_multimap_is_not_taken_for_a_table_nor_for_another() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    txn.open_multimap(&POSTINGS).expect("open").insert("maple", &1).expect("insert");
    txn.open_table(&Table::<str, u64>::new("table")).expect("open").put("maple", &1).expect("put");
    let said = |error: Option<Error>| error.map(|error| error.to_string()).unwrap_or_default();
    let refused = txn.table(&Table::<str, u64>::new("postings")).err();
    assert!(matches!(refused, Some(Error::TableKind { .. })), "{refused:?}");
    let said_of_table = said(refused);
    assert!(
        said_of_table.contains("multimap of duplicates of 8 bytes each in bytewise order"),
        "{said_of_table}"
    );
    assert!(said_of_table.contains("a table with one value"), "{said_of_table}");
    assert!(matches!(txn.table(&Table::untyped("postings")).err(), Some(Error::TableKind { .. })));
    assert!(matches!(txn.multimap(&Multimap::<str, u64>::new("table")).err(), Some(Error::TableKind { .. })));
    assert!(matches!(txn.multimap(&Multimap::untyped("table")).err(), Some(Error::TableKind { .. })));
    let reversed = Multimap::<str, u64>::new("postings").duplicates_in(KeyOrder::REVERSE);
    let said_of_order = said(txn.multimap(&reversed).err());
    assert!(said_of_order.contains("bytewise") && said_of_order.contains("reverse"), "{said_of_order}");
    let other = txn.open_multimap_as(
        "postings",
        "str",
        "u64",
        None,
        Duplicates { order: KeyOrder::BYTEWISE, len: Some(4) },
    );
    let said_of_len = said(other.err());
    assert!(said_of_len.contains("8 bytes each") && said_of_len.contains("4 bytes each"), "{said_of_len}");
    let types = txn.multimap(&Multimap::<str, u32>::new("postings")).err();
    assert!(matches!(types, Some(Error::TableTypes { .. })), "{types:?}");
    let said_of_types = said(types);
    assert!(said_of_types.contains("str to u64") && said_of_types.contains("str to u32"), "{said_of_types}");
    let of_integers = Multimap::<str, u32>::new("integers").duplicates_in(KeyOrder::INTEGER);
    let said_of_duplicates = said(txn.open_multimap(&of_integers).err());
    assert!(
        said_of_duplicates.starts_with("duplicates of type \"u32\" cannot be in integer order"),
        "{said_of_duplicates}"
    );
    for name in ["u64", "i32", "i64le", "(u64,str)", "str"] {
        let refused = txn.open_table_as_in_order("integers", name, "bytes", Some(KeyOrder::INTEGER)).err();
        assert!(matches!(refused, Some(Error::BadOption { .. })), "{name}: {refused:?}");
        assert!(said(refused).contains(name));
    }
    for name in ["u64le", "bytes", "[u8;8]", "an id of our own"] {
        let made = txn.open_table_as_in_order(name, name, "bytes", Some(KeyOrder::INTEGER));
        assert!(made.is_ok(), "{name}");
    }
    for duplicates in [
        Duplicates { order: KeyOrder::INTEGER, len: None },
        Duplicates { order: KeyOrder::named::<Shouted>(), len: None },
    ] {
        let refused = txn.open_multimap_as("new", "bytes", "bytes", None, duplicates).err();
        assert!(matches!(refused, Some(Error::BadOption { .. })), "{refused:?}");
    }
    let refused = txn.open_multimap(&Multimap::<str, [u8; 2000]>::new("long")).err();
    assert!(matches!(refused, Some(Error::DuplicateTooLong { len: 2000, max: 1024 })), "{refused:?}");
    let long = vec![1; 1025];
    let refused = txn.open_multimap(&ANY).expect("open").insert(b"key", &long).err();
    assert!(matches!(refused, Some(Error::DuplicateTooLong { len: 1025, max: 1024 })), "{refused:?}");
    let refused =
        txn.multimap(&Multimap::untyped("postings")).expect("open").insert(b"maple", b"short").err();
    assert!(matches!(refused, Some(Error::DuplicateLength { len: 5, expected: 8 })), "{refused:?}");
    let refused = txn.multimap(&POSTINGS).expect("open").append("ash", &1).err();
    assert!(matches!(refused, Some(Error::NotSorted)), "{refused:?}");
    txn.commit().expect("nothing of this left it unusable");
    check(&env);
}

/// A named order, which duplicates cannot be in.
struct Shouted;

impl mapledb::NamedOrder for Shouted {
    const NAME: &'static str = "shouted/1";

    fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase())
    }
}

#[test]
fn views_of_multimaps_that_are_not_committed_are_read_by_many_threads() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    txn.open_multimap(&POSTINGS).expect("open").insert_all("oak", 0..10_000).expect("insert");
    txn.commit().expect("commit");
    let before = env.read().expect("begin");
    let mut txn = env.write().expect("begin");
    let mut postings = txn.multimap(&POSTINGS).expect("open");
    assert_eq!(postings.delete_pairs(("oak", &100)..).expect("delete"), 9900);
    postings.insert_all("ash", (0..10_000).map(|n| 3 * n)).expect("insert");
    txn.open_multimap(&PACKED).expect("open").insert(b"new", &[7; 6]).expect("insert");
    let view = txn.view();
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                let postings = view.multimap(&POSTINGS).expect("there");
                assert_eq!((postings.len(), postings.count_of("oak").expect("count")), (10_100, 100));
                let ash = postings.get("ash").expect("get").map(|number| number.expect("a number"));
                assert!(ash.eq((0..10_000).map(|n| 3 * n)));
                assert_eq!(postings.nth(10_000).expect("nth"), Some(("oak", 0)));
                let bytes: usize =
                    postings.chunks("oak").expect("there").map(|page| page.expect("a page").len()).sum();
                assert_eq!(bytes, 800);
                assert!(view.multimap(&PACKED).expect("there").contains(b"new", &[7; 6]).expect("contains"));
                assert_eq!(view.tables().expect("tables").len(), 3);
            });
        }
    });
    assert!(matches!(view.multimap(&Multimap::<str, u64>::new("none")), Err(Error::TableMissing { .. })));
    assert!(matches!(view.multimap(&Multimap::<str, str>::new("postings")), Err(Error::TableTypes { .. })));
    assert!(matches!(view.table(&Table::<str, u64>::new("postings")), Err(Error::TableKind { .. })));
    let mut nested = txn.nested().expect("nested");
    assert!(nested.drop_table("postings").expect("drop"));
    assert!(matches!(nested.view().multimap(&POSTINGS), Err(Error::TableMissing { .. })));
    nested.abort().expect("abort");
    assert_eq!(txn.view().multimap(&POSTINGS).expect("there").len(), 10_100);
    assert_eq!(before.multimap(&POSTINGS).expect("there").len(), 10_000);
    assert!(matches!(before.multimap(&PACKED), Err(Error::TableMissing { .. })));
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn reads_of_multimaps_are_counted_as_those_of_tables_are() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    txn.open_multimap(&POSTINGS).expect("open").insert_all("oak", 0..1000).expect("insert");
    txn.commit().expect("commit");
    let counted = || env.metrics().get("gets").expect("counted");
    let before = counted();
    let txn = env.read().expect("begin");
    let postings = txn.multimap(&POSTINGS).expect("there");
    assert_eq!(postings.get("oak").expect("get").count(), 1000);
    assert!(
        postings.contains_key("oak").expect("contains") && postings.contains("oak", &7).expect("contains")
    );
    assert_eq!(postings.count_of("oak").expect("count"), 1000);
    assert_eq!(
        (postings.first_of("oak").expect("first"), postings.last_of("ash").expect("last")),
        (Some(0), None)
    );
    assert_eq!(postings.chunks("oak").expect("chunks").count(), 2);
    assert_eq!(postings.arrays::<8>("oak").expect("arrays").count(), 2);
    drop(txn);
    assert_eq!(counted() - before, 8);
    check(&env);
}

/// All but the ends of a large set, and of the keys behind it, go by whole pages: nothing of them is written.
#[test]
fn a_range_of_pairs_is_cut_out_by_whole_subtrees() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    let keys = ["ash", "maple", "oak", "pine"];
    let sorted = keys.iter().flat_map(|key| (0..200_000u64).map(move |n| Ok((key, n.to_be_bytes()))));
    assert_eq!(txn.open_multimap(&POSTINGS).expect("open").load_sorted(sorted).expect("load"), 800_000);
    txn.commit().expect("commit");
    for (low, high, gone, most) in [
        (("maple", 1000), ("maple", 199_000), 198_000, 12),
        (("ash", 5), ("oak", 150_000), 351_995, 20),
        (("oak", 150_000), ("oak", 149_000), 0, 0),
    ] {
        let before = env.metrics().get("pages_written").expect("counted");
        let mut txn = env.write().expect("begin");
        let mut postings = txn.multimap(&POSTINGS).expect("open");
        assert_eq!(postings.delete_pairs((low.0, &low.1)..(high.0, &high.1)).expect("delete"), gone);
        txn.commit().expect("commit");
        let written = env.metrics().get("pages_written").expect("counted") - before;
        // What is left is two pages of each key; the free space and the catalog are in the rest.
        assert!(written <= most.max(4), "{written} pages for {gone} pairs");
        check(&env);
    }
    let txn = env.read().expect("begin");
    let postings = txn.multimap(&POSTINGS).expect("there");
    let counts = keys.map(|key| postings.count_of(key).expect("count"));
    assert_eq!(counts, [5, 0, 50_000, 200_000]);
}

/// One duplicate more in a large set costs the path to it, and nothing of the rest.
#[test]
fn an_insertion_copies_the_paths_to_it_and_no_more() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    let sorted = (0..200_000u64).map(|n| Ok((&b"key"[..], (2 * n).to_be_bytes())));
    assert_eq!(txn.open_multimap(&POSTINGS).expect("open").load_sorted(sorted).expect("load"), 200_000);
    txn.commit().expect("commit");
    check(&env);
    let before = env.metrics().get("pages_written").expect("counted");
    let mut txn = env.write().expect("begin");
    assert!(txn.multimap(&POSTINGS).expect("open").insert("key", &77_777).expect("insert"));
    txn.commit().expect("commit");
    let written = env.metrics().get("pages_written").expect("counted") - before;
    assert!(written <= 8, "{written} pages for one pair");
    check(&env);
}
