//! Entries, gaps, extraction and what else a sorted map of the standard library can do, against one.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test verbs`. Keys are long, so that trees are deep.

mod files;

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;

use files::{TestFile, check, options, seed};
use mapledb::{Entry, Error, KeyOrder, NamedOrder, Owned, Table, WriteTable};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Bytes<'t> = WriteTable<'t, [u8], [u8]>;
type Pair = (Vec<u8>, Vec<u8>);

fn key(rng: &mut SmallRng) -> Vec<u8> {
    let mut key = rng.random_range(0..2000u32).to_be_bytes().to_vec();
    key.resize(if key[3] % 4 == 0 { 400 } else { 10 }, b'k');
    key
}

fn value(rng: &mut SmallRng) -> Vec<u8> {
    let len = if rng.random_ratio(1, 50) { rng.random_range(0..9000) } else { rng.random_range(0..60) };
    vec![rng.random(); len]
}

fn own(found: mapledb::Result<Option<(&[u8], &[u8])>>) -> Option<Pair> {
    found.expect("a sound table").map(|(key, value)| (key.to_vec(), value.to_vec()))
}

fn taken<K: ?Sized, V: ?Sized>((key, value): (Owned<K>, Owned<V>)) -> Pair {
    (key.into_bytes(), value.into_bytes())
}

fn pair((key, value): (&Vec<u8>, &Vec<u8>)) -> Pair {
    (key.clone(), value.clone())
}

/// A bound of a key.
fn bound(rng: &mut SmallRng, key: &[u8]) -> Bound<Vec<u8>> {
    match rng.random_range(0..7) {
        0 => Bound::Unbounded,
        1..4 => Bound::Included(key.to_vec()),
        _ => Bound::Excluded(key.to_vec()),
    }
}

fn slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Two bounds that do not cross, most often with few entries between.
fn bounds(rng: &mut SmallRng, map: &Map) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let low = key(rng);
    let high = match rng.random_ratio(3, 4) {
        true => map.range(low.clone()..).nth(rng.random_range(1..60)).map(|(key, _)| key.clone()),
        false => None,
    };
    let high = high.unwrap_or_else(|| vec![255; 3]);
    if low < high { (bound(rng, &low), bound(rng, &high)) } else { (bound(rng, &high), Bound::Unbounded) }
}

fn entry(rng: &mut SmallRng, table: &mut Bytes<'_>, map: &mut Map) {
    let (key, new) = (key(rng), value(rng));
    let theirs = map.entry(key.clone());
    let ours = table.entry(&key).expect("entry");
    assert_eq!(ours.key().expect("the key"), &key[..]);
    match rng.random_range(0..8) {
        0 => assert_eq!(ours.or_insert(&new).expect("insert"), theirs.or_insert(new.clone())),
        1 => {
            let ours = ours.or_insert_with(|| new.clone()).expect("insert");
            assert_eq!(ours, theirs.or_insert_with(|| new.clone()));
        }
        2 => {
            let ours = ours.or_insert_with_key(|key| [key, b"!"].concat()).expect("insert");
            assert_eq!(ours, theirs.or_insert_with_key(|key| [&key[..], b"!"].concat()));
        }
        3 => {
            let modified = ours.and_modify(|old| [old, b"+"].concat()).expect("modify");
            let theirs = theirs.and_modify(|old| old.push(b'+')).or_insert(new.clone());
            assert_eq!(modified.or_insert(&new).expect("insert"), theirs);
        }
        4 => {
            let entry = ours.insert_entry(&new).expect("insert");
            *theirs.or_default() = new.clone();
            assert_eq!(entry.get().expect("get"), new);
            assert_eq!(entry.into_value().expect("get"), new);
        }
        _ => match (ours, theirs) {
            (Entry::Occupied(mut ours), btree_map::Entry::Occupied(mut theirs)) => {
                assert_eq!(ours.get().expect("get"), theirs.get());
                match rng.random_range(0..3) {
                    0 => assert_eq!(ours.insert(&new).expect("insert").into_bytes(), theirs.insert(new)),
                    1 => assert_eq!(ours.remove().expect("remove").bytes(), theirs.remove()),
                    _ => assert_eq!(taken(ours.remove_entry().expect("remove")), theirs.remove_entry()),
                }
            }
            (Entry::Vacant(ours), btree_map::Entry::Vacant(theirs)) => {
                assert_eq!(ours.insert(&new).expect("insert"), theirs.insert(new.clone()));
            }
            _ => panic!("one has the key and the other does not"),
        },
    }
}

/// Moves, insertions and removals at one gap.
fn at_a_gap(rng: &mut SmallRng, table: &mut Bytes<'_>, map: &mut Map) {
    let at = key(rng);
    let bound = bound(rng, &at);
    let is_lower = rng.random();
    let mut gap = match is_lower {
        true => table.lower_bound_mut(slice(&bound)),
        false => table.upper_bound_mut(slice(&bound)),
    }
    .expect("a gap");
    // The gap of the model is the key below it.
    let split = |bound: &Bound<Vec<u8>>, map: &Map| match (bound, is_lower) {
        (Bound::Unbounded, true) => None,
        (Bound::Unbounded, false) => map.last_key_value().map(|(key, _)| key.clone()),
        (Bound::Included(key), true) | (Bound::Excluded(key), false) => {
            map.range(..key.clone()).next_back().map(|(key, _)| key.clone())
        }
        (Bound::Excluded(key), true) | (Bound::Included(key), false) => {
            map.range(..=key.clone()).next_back().map(|(key, _)| key.clone())
        }
    };
    let mut below = split(&bound, map);
    for _ in 0..rng.random_range(1..30) {
        let low = below.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let next = map.range((low, Bound::Unbounded)).next().map(pair);
        let prev = below.as_ref().map(|key| (key.clone(), map[key].clone()));
        assert_eq!(own(gap.peek_next()), next);
        assert_eq!(own(gap.peek_prev()), prev);
        match rng.random_range(0..12) {
            0 => {
                assert_eq!(own(gap.next()), next);
                below = next.map(|(key, _)| key).or(below);
            }
            1 => {
                assert_eq!(own(gap.prev()), prev);
                below = prev.and_then(|(key, _)| map.range(..key).next_back().map(|(key, _)| key.clone()));
            }
            2 => {
                assert_eq!(gap.remove_next().expect("remove").map(taken), next);
                next.map(|(key, _)| map.remove(&key));
            }
            3 => {
                assert_eq!(gap.remove_prev().expect("remove").map(taken), prev);
                if let Some((key, _)) = prev {
                    map.remove(&key);
                    below = map.range(..key).next_back().map(|(key, _)| key.clone());
                }
            }
            choice => {
                let new = value(rng);
                // What belongs here, most often: the key below, longer by a byte or by many.
                let at = match (&below, rng.random_ratio(4, 5)) {
                    (Some(below), true) if below.len() < 1000 => {
                        [&below[..], &vec![rng.random_range(0..9); 1 + below.len() % 7]].concat()
                    }
                    _ => key(rng),
                };
                let fits = below.as_ref().is_none_or(|below| *below < at)
                    && next.as_ref().is_none_or(|(next, _)| at < *next);
                let put = match choice % 2 {
                    0 => gap.insert_before(&at, &new),
                    _ => gap.insert_after(&at, &new),
                };
                match (put, fits) {
                    (Ok(()), true) => {
                        map.insert(at.clone(), new);
                        if choice % 2 == 0 {
                            below = Some(at);
                        }
                    }
                    (Err(Error::NotSorted), false) => {}
                    (put, fits) => panic!("{put:?}, though it fits: {fits}"),
                }
            }
        }
    }
}

fn gap_to_read(rng: &mut SmallRng, table: &Bytes<'_>, map: &Map) {
    let at = key(rng);
    let bound = bound(rng, &at);
    let (mut gap, mut at) = match rng.random() {
        true => {
            let low = map.range((bound.clone(), Bound::Unbounded)).next();
            let at = low.map_or(map.len(), |(key, _)| map.range(..key.clone()).count());
            (table.lower_bound(slice(&bound)).expect("a gap"), at)
        }
        false => (
            table.upper_bound(slice(&bound)).expect("a gap"),
            map.range((Bound::Unbounded, bound.clone())).count(),
        ),
    };
    let entries: Vec<_> = map.iter().map(pair).collect();
    for _ in 0..rng.random_range(1..80) {
        let (prev, next) = (at.checked_sub(1).map(|at| entries[at].clone()), entries.get(at).cloned());
        if rng.random() {
            assert_eq!(own(gap.peek_next()), next);
            assert_eq!(own(gap.peek_prev()), prev);
        }
        match rng.random_ratio(1, 3) {
            true => {
                at -= usize::from(prev.is_some());
                assert_eq!(own(gap.prev()), prev);
            }
            false => {
                at += usize::from(next.is_some());
                assert_eq!(own(gap.next()), next);
            }
        }
    }
}

fn extract(rng: &mut SmallRng, table: &mut Bytes<'_>, map: &mut Map) {
    let (low, high) = bounds(rng, map);
    let salt = rng.random_range(1..5);
    let choose = |key: &[u8], value: &[u8]| (usize::from(key[3]) + value.len()).is_multiple_of(salt);
    let expected: Vec<_> = {
        let range = map.range((low.clone(), high.clone())).map(pair);
        range.filter(|(key, value)| choose(key, value)).collect()
    };
    if rng.random_ratio(1, 3) {
        let gone = table
            .retain_range((slice(&low), slice(&high)), |key, value| !choose(key, value))
            .expect("retain");
        assert_eq!(gone, expected.len() as u64);
        expected.iter().for_each(|(key, _)| drop(map.remove(key)));
        return;
    }
    let mut left = expected.iter();
    let mut asked = 0;
    let choose = |key: &[u8], value: &[u8]| {
        asked += 1;
        choose(key, value)
    };
    let mut extracted = table.extract_if((slice(&low), slice(&high)), choose).expect("extract");
    for _ in 0..rng.random_range(0..40) {
        let (ours, theirs) = match rng.random_ratio(1, 3) {
            true => (extracted.next_back(), left.next_back()),
            false => (extracted.next(), left.next()),
        };
        assert_eq!(ours.map(|entry| taken(entry.expect("an entry"))), theirs.cloned());
        theirs.map(|(key, _)| map.remove(key));
    }
}

fn others(rng: &mut SmallRng, table: &mut Bytes<'_>, map: &mut Map) {
    let (key, new) = (key(rng), value(rng));
    match rng.random_range(0..6) {
        0 => assert_eq!(table.pop_first().expect("pop").map(taken), map.pop_first()),
        1 => assert_eq!(table.pop_last().expect("pop").map(taken), map.pop_last()),
        2 => assert_eq!(table.take(&key).expect("take").map(Owned::into_bytes), map.remove(&key)),
        3 => {
            assert_eq!(table.get_or_insert(&key, &new).expect("get or insert"), map.entry(key).or_insert(new))
        }
        4 => {
            let prefix = &key[..rng.random_range(2..=4)];
            let found =
                table.prefix(prefix).expect("prefix").map(|entry| own(entry.map(Some)).expect("an entry"));
            let expected =
                map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)).map(pair);
            assert!(found.eq(expected), "a prefix");
            let back = table
                .prefix(prefix)
                .expect("prefix")
                .rev()
                .map(|entry| own(entry.map(Some)).expect("an entry"));
            let expected =
                map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)).map(pair);
            assert!(back.eq(expected.collect::<Vec<_>>().into_iter().rev()), "a prefix from its end");
        }
        _ => {
            let (low, high) = bounds(rng, map);
            let mut left = table.range((slice(&low), slice(&high))).expect("range");
            let expected: Vec<_> = map.range((low, high)).map(pair).collect();
            let (mut from, mut to) = (0, expected.len());
            while from < to {
                let max = rng.random_range(0..9);
                let some = max.min(to - from);
                let chunk = match rng.random() {
                    true => left.next_chunk(max),
                    false => left.next_chunk_back(max),
                }
                .expect("a chunk");
                let chunk: Vec<Pair> =
                    chunk.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
                let front = &expected[from..from + some];
                if chunk == front && some < to - from {
                    from += some;
                } else {
                    assert!(chunk.iter().eq(expected[to - some..to].iter().rev()) || chunk == front);
                    if chunk == front { from += some } else { to -= some }
                }
            }
            assert!(left.next_chunk(3).expect("the end").is_empty());
        }
    }
}

#[test]
fn every_verb_does_what_that_of_a_sorted_map_does() {
    let mut rng = SmallRng::seed_from_u64(seed());
    for _ in 0..3 {
        let file = TestFile::new();
        let env = file.open(options());
        let mut map = Map::new();
        for _ in 0..8 {
            let mut txn = env.write().expect("write");
            let mut table = txn.main();
            for _ in 0..400 {
                match rng.random_range(0..20) {
                    0..10 => entry(&mut rng, &mut table, &mut map),
                    10..12 => at_a_gap(&mut rng, &mut table, &mut map),
                    12..14 => gap_to_read(&mut rng, &table, &map),
                    14 => extract(&mut rng, &mut table, &mut map),
                    _ => others(&mut rng, &mut table, &mut map),
                }
                assert_eq!(table.len(), map.len() as u64);
            }
            txn.commit().expect("commit");
            let txn = env.read().expect("read");
            let found = txn
                .main()
                .expect("main")
                .iter()
                .expect("iter")
                .map(|entry| own(entry.map(Some)).expect("an entry"));
            assert!(found.eq(map.iter().map(pair)), "a snapshot");
            check(&env);
        }
    }
}

#[test]
fn popping_an_empty_table_leaves_it_as_it_was() {
    let file = TestFile::with_entries(300);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.main();
    let mut popped = 0;
    while let Some((key, _)) = table.pop_first().expect("pop") {
        assert_eq!(key.bytes(), u64::to_be_bytes(popped));
        popped += 1;
    }
    assert_eq!(popped, 300);
    assert!(table.pop_first().expect("none").is_none() && table.pop_last().expect("none").is_none());
    assert_eq!(table.stat().depth, 0);
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn an_extraction_that_is_given_up_takes_out_what_was_asked_for_alone() {
    let file = TestFile::with_entries(100);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.main();
    let low = 10u64.to_be_bytes();
    let gone = table.extract_if(&low[..].., |key, _| key[7] % 2 == 0).expect("extract").take(3);
    let gone: Vec<_> = gone.map(|entry| entry.expect("an entry").0.bytes()[7]).collect();
    assert_eq!(gone, [10, 12, 14]);
    assert_eq!(table.len(), 97);
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn an_entry_that_does_not_decode_ends_an_extraction_and_stays() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let table = Table::<str, u64>::new("t");
    txn.open_table(&table).expect("table").put("a", &1).expect("put");
    txn.table(&Table::untyped("t")).expect("bytes").put(b"b", b"no number").expect("put");
    let mut table = txn.table(&table).expect("table");
    let mut all = table.extract_if(.., |_, _| true).expect("extract");
    assert!(all.next().is_some_and(|entry| entry.is_ok()));
    assert!(matches!(all.next(), Some(Err(Error::Decode { .. }))));
    assert!(all.next().is_none());
    assert!(matches!(table.retain_range(.., |_, _| false), Err(Error::Decode { .. })));
    assert_eq!(table.len(), 1);
    txn.commit().expect("the error was about a value alone");
    check(&env);
}

/// An order that is none when it is told to.
struct Fickle;

thread_local! {
    static TURNED: Cell<bool> = const { Cell::new(false) };
}

impl NamedOrder for Fickle {
    const NAME: &'static str = "fickle/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        if TURNED.get() { Ordering::Less } else { a.cmp(b) }
    }
}

#[test]
fn an_order_that_changes_its_mind_is_told_so_and_damages_nothing() {
    let file = TestFile::new();
    let fickle = KeyOrder::named::<Fickle>();
    let env = file.open(options().order(fickle));
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&Table::<[u8], [u8]>::new("t").in_order(fickle)).expect("table");
    (0..500u32).for_each(|n| table.put(&n.to_be_bytes(), &[7; 30]).expect("put"));
    let key = 77u32.to_be_bytes();
    let Entry::Occupied(entry) = table.entry(&key).expect("entry") else { panic!("it is there") };
    TURNED.set(true);
    assert!(matches!(entry.get(), Err(Error::OrderBroken)));
    // Whatever is put now lies anywhere.
    (0..500u32).for_each(|n| table.put(&(n * 3).to_be_bytes(), &[8; 30]).expect("put"));
    txn.commit().expect("commit");
    TURNED.set(false);
    let report = env.check(|_| ()).expect("check");
    assert!(report.problems.iter().all(|problem| problem.what.contains("out of order")), "{report:?}");
    assert!(!report.is_clean());
    // Without the order everything is there, to be copied from.
    let txn = env.read().expect("read");
    assert!(txn.table(&Table::untyped("t")).expect("as stored").iter().expect("iter").count() >= 500);
    drop(txn);
    let mut txn = env.write().expect("write");
    assert!(txn.drop_table("t").expect("drop"));
    txn.commit().expect("commit");
    check(&env);
}
