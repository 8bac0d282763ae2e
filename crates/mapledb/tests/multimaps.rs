//! Multimaps through the whole engine: random transactions against sorted sets, copies, commits that are lost and recovered, and
//! what keeps a multimap from being mistaken for a table.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test multimaps`.

mod files;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use files::{TestFile, check, options};
use mapledb::{Duplicates, Env, Error, KeyOrder, Le, Multimap, NamedOrder, Options, Table, WriteTxn};
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
fn open_copy_with(path: &std::path::Path, options: Options) -> Env {
    // SAFETY: nothing but this test writes to its own file.
    unsafe { options.open(path) }.expect("open")
}

fn open_copy(path: &std::path::Path) -> Env {
    open_copy_with(path, options())
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
    let duplicates = Duplicates { order: KeyOrder::INTEGER, len: None };
    let refused = txn.open_multimap_as("new", "bytes", "bytes", None, duplicates).err();
    assert!(matches!(refused, Some(Error::BadOption { .. })), "{refused:?}");
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

/// A named order: letters whatever their case, the shorter first.
struct Shouted;

impl NamedOrder for Shouted {
    const NAME: &'static str = "shouted/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase()))
    }
}

/// Another one.
struct Backwards;

impl NamedOrder for Backwards {
    const NAME: &'static str = "backwards/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

const SHOUTED: KeyOrder = KeyOrder::named::<Shouted>();
const BACKWARDS: KeyOrder = KeyOrder::named::<Backwards>();

/// A key or a duplicate that compares by an order.
#[derive(Clone, Debug)]
struct Ordered(Vec<u8>, KeyOrder);

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> Ordering {
        self.1.compare(&self.0, &other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Ordered) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// Four letters and a run, so that few differ: or as many bytes as integers have.
fn bytes_in(order: KeyOrder, rng: &mut SmallRng, most: u32) -> Vec<u8> {
    let number: u32 = rng.random_range(0..most);
    if order == KeyOrder::INTEGER {
        return number.to_le_bytes().to_vec();
    }
    let mut bytes: Vec<u8> =
        number.to_be_bytes().iter().flat_map(|byte| [b'a' + byte / 16, b'A' + byte % 16]).collect();
    bytes.resize(8 + number as usize % 30, b'z');
    if order == SHOUTED && rng.random() {
        bytes.make_ascii_lowercase();
    }
    bytes
}

/// Eight of nine are.
fn is_kept(dup: &[u8]) -> bool {
    !dup.iter().map(|byte| u32::from(*byte)).sum::<u32>().is_multiple_of(9)
}

fn in_orders(rng: &mut SmallRng, keys: KeyOrder, duplicates: KeyOrder) {
    let file = TestFile::new();
    let env = file.open(options().order(SHOUTED).order(BACKWARDS));
    let len = (duplicates == KeyOrder::INTEGER).then_some(4);
    let open = |txn: &mut WriteTxn| {
        txn.open_multimap_as("m", "bytes", "bytes", Some(keys), Duplicates { order: duplicates, len })
            .map(drop)
    };
    let mut model: BTreeSet<(Ordered, Ordered)> = BTreeSet::new();
    for _ in 0..6 {
        let mut txn = env.write().expect("begin");
        open(&mut txn).expect("open");
        let mut table = txn.multimap(&Multimap::untyped("m")).expect("open");
        assert_eq!((table.order(), table.duplicates()), (keys, Duplicates { order: duplicates, len }));
        for _ in 0..500 {
            let key = Ordered(bytes_in(keys, rng, 6), keys);
            let dup = Ordered(bytes_in(duplicates, rng, 500), duplicates);
            let pair = (key.clone(), dup.clone());
            match rng.random_range(0..20) {
                0..12 => assert_eq!(table.insert(&key.0, &dup.0).expect("insert"), model.insert(pair)),
                12..16 => assert_eq!(table.delete(&key.0, &dup.0).expect("delete"), model.remove(&pair)),
                16 => {
                    let high = Ordered(bytes_in(duplicates, rng, 500), duplicates);
                    let before = model.len();
                    model.retain(|pair| pair.0 != key || pair.1 < dup || pair.1 >= high);
                    let gone = table.delete_pairs((&key.0[..], &dup.0[..])..(&key.0[..], &high.0[..]));
                    assert_eq!(gone.expect("delete"), (before - model.len()) as u64);
                }
                17 => {
                    let before = model.len();
                    model.retain(|pair| pair.0 != key || is_kept(&pair.1.0));
                    let keep = |_: &[u8], dup: &[u8]| is_kept(dup);
                    let gone = table.retain_range(&key.0[..]..=&key.0[..], keep).expect("retain");
                    assert_eq!(gone, (before - model.len()) as u64);
                }
                18 => {
                    let first = table.pop_first_of(&key.0).expect("pop").map(mapledb::Owned::into_bytes);
                    let expected = model.iter().find(|pair| pair.0 == key).cloned();
                    assert_eq!(first, expected.as_ref().map(|pair| pair.1.0.clone()));
                    expected.iter().for_each(|pair| assert!(model.remove(pair)));
                }
                _ => {
                    assert_eq!(table.contains(&key.0, &dup.0).expect("contains"), model.contains(&pair));
                    assert_eq!(
                        table.rank(&key.0, &dup.0).expect("rank"),
                        model.range(..&pair).count() as u64
                    );
                    let next = model.range((Bound::Excluded(&pair), Bound::Unbounded)).next();
                    let found = table.higher(&key.0, &dup.0).expect("higher");
                    assert_eq!(found.map(|pair| pair.1), next.map(|pair| &pair.1.0[..]));
                }
            }
        }
        txn.commit().expect("commit");
    }
    let txn = env.read().expect("begin");
    let table = txn.multimap(&Multimap::untyped("m")).expect("open");
    let found = table.iter().expect("iter").map(|pair| pair.expect("a pair").1);
    assert!(found.eq(model.iter().map(|pair| &pair.1.0[..])), "{keys:?}, {duplicates:?}");
    drop(txn);
    check(&env);
    drop_and_load_again(&env, keys, Duplicates { order: duplicates, len }, &model);
}

/// The same pairs laid down at once are the same multimap.
fn drop_and_load_again(env: &Env, keys: KeyOrder, kind: Duplicates, model: &BTreeSet<(Ordered, Ordered)>) {
    let mut txn = env.write().expect("begin");
    assert!(txn.drop_table("m").expect("drop"));
    let mut table = txn.open_multimap_as("m", "bytes", "bytes", Some(keys), kind).expect("open");
    // A key is one whatever letters it is written in.
    let mut last: Option<&Ordered> = None;
    let sorted = model.iter().map(|(key, dup)| {
        let key = last.filter(|last| *last == key).unwrap_or(key);
        last = Some(key);
        Ok((&key.0[..], &dup.0[..]))
    });
    assert_eq!(table.load_sorted(sorted).expect("load"), model.len() as u64);
    assert!(
        table
            .iter()
            .expect("iter")
            .map(|pair| pair.expect("a pair").1)
            .eq(model.iter().map(|pair| &pair.1.0[..]))
    );
    txn.commit().expect("commit");
    check(env);
}

#[test]
fn multimaps_in_every_order_of_keys_and_of_duplicates_are_sorted_sets() {
    let mut rng = SmallRng::seed_from_u64(seed(5));
    let orders = [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER, SHOUTED, BACKWARDS];
    for keys in orders {
        for duplicates in orders {
            in_orders(&mut rng, keys, duplicates);
        }
    }
}

#[test]
fn a_multimap_whose_order_of_duplicates_is_missing_is_refused_and_not_damaged() {
    const NAMES: Multimap<'static, u32, str> = Multimap::new("names").duplicates_in(SHOUTED);
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    let mut names = txn.open_multimap(&NAMES).expect("open");
    let all: Vec<String> = (0..2000).map(|n| format!("Name-{n}")).collect();
    assert_eq!(names.insert_all(&1, all.iter().map(|name| &name[..])).expect("insert"), 2000);
    names.insert_all(&2, ["ash", "OAK", "elm"]).expect("insert");
    names.insert(&3, "one").expect("insert");
    assert!(!names.insert(&2, "oak").expect("it is there, in other letters"));
    txn.commit().expect("commit");

    // With none, and with another one.
    let mut txn = env.write().expect("begin");
    for (other, order) in [
        (Multimap::<u32, str>::new("names"), "bytewise"),
        (Multimap::new("names").duplicates_in(BACKWARDS), "backwards/1"),
    ] {
        for refused in [txn.multimap(&other).err(), txn.open_multimap(&other).err()] {
            let Some(Error::TableKind { recorded, asked, .. }) = refused else { panic!("{refused:?}") };
            assert!(recorded.contains("shouted/1") && asked.contains(order), "{recorded}; {asked}");
        }
    }
    // As bytes, without the order: what compares no duplicates is done, and nothing else.
    let told = txn.tables().expect("tables").remove(1);
    assert_eq!((told.order.as_str(), told.duplicate_order.as_deref()), ("bytewise", Some("shouted/1")));
    let mut names = txn.multimap(&Multimap::untyped("names")).expect("open");
    assert_eq!(names.duplicates().order.name(), "as stored");
    let (one, two) = (1u32.to_be_bytes(), 2u32.to_be_bytes());
    assert_eq!((names.count_of(&one).expect("count"), names.get(&two).expect("get").count()), (2000, 3));
    let last = names.nth(2002).expect("nth").map(|(_, name)| name.to_vec());
    assert_eq!(last.as_deref(), Some(&b"OAK"[..]));
    let missing =
        |refused: Option<Error>| assert!(matches!(refused, Some(Error::OrderMissing)), "{refused:?}");
    missing(names.contains(&two, b"ash").err());
    missing(names.insert(&two, b"new").err());
    missing(names.insert_all(&two, [&b"new"[..]]).err());
    missing(names.append(&two, b"new").err());
    missing(names.load_sorted([Ok((two, b"new"))]).err());
    missing(names.delete(&two, b"ash").err());
    missing(names.rank(&two, b"ash").err());
    missing(names.floor(&two, b"ash").err());
    missing(names.range_pairs((&two[..], &b"ash"[..])..).err());
    missing(names.delete_pairs((&two[..], &b"ash"[..])..).err());
    missing(names.retain(|_, _| false).err());
    missing(names.pop_first().err());
    missing(names.lower_bound(Bound::Included((&two[..], &b"ash"[..]))).err());
    let mut cursor = mapledb::DetachedPairCursor::new();
    missing(cursor.seek(&names, &two, b"ash").err());
    missing(names.extract_if(.., |_, _| true).expect("a range").next().and_then(Result::err));
    assert_eq!(names.delete_all(&3u32.to_be_bytes()).expect("delete"), 1);
    assert_eq!(names.len(), 2003);
    let made = Duplicates { order: names.duplicates().order, len: None };
    missing(txn.open_multimap_as("other", "bytes", "bytes", None, made).err());
    txn.commit().expect("nothing of this left it unusable");
    let report = env.check(|_| ()).expect("check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.orders_missing, ["names"]);

    // A compact copy and a snapshot lay the pairs down as they are stored.
    env.create_snapshot("before").expect("a snapshot");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("copy.maple");
    env.copy_to(&path, true, |_, _| true).expect("copy");
    let mut txn = env.write().expect("begin");
    assert!(txn.drop_table("names").expect("drop"));
    assert_eq!(txn.roll_back_table("before", Some("names")).expect("back"), 2003);
    txn.commit().expect("commit");
    env.close().expect("close");
    let with_it = options().order(SHOUTED);
    for env in [file.open(with_it.clone()), open_copy_with(&path, with_it)] {
        let txn = env.read().expect("begin");
        let names = txn.multimap(&NAMES).expect("open");
        assert_eq!((names.len(), names.count_of(&1).expect("count")), (2003, 2000));
        assert!(all.iter().all(|name| names.contains(&1, &name.to_uppercase()).expect("contains")));
        let untyped = txn.multimap(&Multimap::untyped("names")).expect("open");
        assert_eq!(untyped.duplicates(), Duplicates { order: SHOUTED, len: None });
        drop(txn);
        assert!(env.check(|_| ()).expect("check").orders_missing.is_empty());
        check(&env);
        env.close().expect("close");
    }
}

/// Whatever the pages are sorted by, `check` holds duplicates against the order that the environment was given.
#[test]
fn an_order_of_duplicates_that_answers_otherwise_than_it_did_is_told_by_check() {
    struct Turned;

    impl NamedOrder for Turned {
        const NAME: &'static str = Shouted::NAME;

        fn compare(a: &[u8], b: &[u8]) -> Ordering {
            Shouted::compare(b, a)
        }
    }

    let file = TestFile::new();
    for many in [3u32, 3000] {
        let env = file.open(options().order(SHOUTED));
        let mut txn = env.write().expect("begin");
        let names = Multimap::<u32, str>::new("names").duplicates_in(SHOUTED);
        let all: Vec<String> = (0..many).map(|n| format!("name-{n}")).collect();
        txn.open_multimap(&names)
            .expect("open")
            .insert_all(&1, all.iter().map(|name| &name[..]))
            .expect("insert");
        txn.commit().expect("commit");
        check(&env);
        env.close().expect("close");
        let env = file.open(options().order(KeyOrder::named::<Turned>()));
        assert!(!env.check(|_| ()).expect("check").problems.is_empty(), "{many} duplicates are out of order");
        env.close().expect("close");
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
