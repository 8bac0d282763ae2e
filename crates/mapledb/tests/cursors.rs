//! Many cursors on one table while it changes: each answers what a fresh seek would, whatever was done through others.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test cursors`. Each test is held once against the planted
//! bug `stale_cursor`.

mod files;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use files::{TestFile, check, options, seed};
use mapledb::{DetachedCursor, KeyOrder, NamedOrder, Savepoint, Table, WriteTable};
use rand::rngs::SmallRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Bytes<'t> = WriteTable<'t, [u8], [u8]>;
type Cursor = DetachedCursor<[u8], [u8]>;
type Pair = (Vec<u8>, Vec<u8>);

/// Where a cursor should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spot {
    Nowhere,
    At(Vec<u8>),
    Before(Vec<u8>),
    Behind(Vec<u8>),
}

impl Spot {
    /// Takes note of what a move came to.
    fn come(&mut self, found: Option<(&Vec<u8>, &Vec<u8>)>, otherwise: Spot) -> Option<Pair> {
        *self = found.map_or(otherwise, |(key, _)| Spot::At(key.clone()));
        found.map(|(key, value)| (key.clone(), value.clone()))
    }

    fn next(&mut self, map: &Map) -> Option<Pair> {
        let (found, otherwise) = match &*self {
            Spot::Nowhere => (map.iter().next(), Spot::Nowhere),
            Spot::Before(key) => (map.range(key.clone()..).next(), Spot::Behind(key.clone())),
            Spot::At(key) | Spot::Behind(key) => (above(map, key), Spot::Behind(key.clone())),
        };
        self.come(found, otherwise)
    }

    fn previous(&mut self, map: &Map) -> Option<Pair> {
        let (found, otherwise) = match &*self {
            Spot::Nowhere => (map.iter().next_back(), Spot::Nowhere),
            Spot::Behind(key) => (map.range(..=key.clone()).next_back(), Spot::Before(key.clone())),
            Spot::At(key) | Spot::Before(key) => {
                (map.range(..key.clone()).next_back(), Spot::Before(key.clone()))
            }
        };
        self.come(found, otherwise)
    }

    fn current(&self, map: &Map) -> Option<Pair> {
        let Spot::At(key) = self else { return None };
        map.get_key_value(key).map(|(key, value)| (key.clone(), value.clone()))
    }
}

fn above<'m>(map: &'m Map, key: &[u8]) -> Option<(&'m Vec<u8>, &'m Vec<u8>)> {
    map.range::<[u8], _>((Excluded(key), Unbounded)).next()
}

fn own(found: mapledb::Result<Option<(&[u8], &[u8])>>) -> Option<Pair> {
    found.expect("a sound table").map(|(key, value)| (key.to_vec(), value.to_vec()))
}

/// Long keys, so that a leaf holds few and a branch too.
fn key(rng: &mut SmallRng) -> Vec<u8> {
    let mut key = rng.random_range(0..900u32).to_be_bytes().to_vec();
    key.resize(if key[3] % 3 == 0 { 300 } else { 20 }, b'k');
    key
}

/// One move of one cursor, and of its model.
fn go(rng: &mut SmallRng, table: &Bytes<'_>, map: &Map, cursor: &mut Cursor, spot: &mut Spot) {
    let to = key(rng);
    let (found, expected) = match rng.random_range(0..16) {
        0..5 => (own(cursor.next(table)), spot.next(map)),
        5..9 => (own(cursor.previous(table)), spot.previous(map)),
        9 => (own(cursor.first(table)), spot.come(map.iter().next(), Spot::Nowhere)),
        10 => (own(cursor.last(table)), spot.come(map.iter().next_back(), Spot::Nowhere)),
        11 => (own(cursor.seek(table, &to)), spot.come(map.get_key_value(&to), Spot::At(to.clone()))),
        12 => {
            let expected = map.range(to.clone()..).next();
            (own(cursor.ceiling(table, &to)), spot.come(expected, Spot::Before(to.clone())))
        }
        13 => {
            let expected = map.range(..=to.clone()).next_back();
            (own(cursor.floor(table, &to)), spot.come(expected, Spot::Behind(to.clone())))
        }
        14 => match rng.random() {
            true => (own(cursor.higher(table, &to)), spot.come(above(map, &to), Spot::Behind(to.clone()))),
            false => {
                let expected = map.range(..to.clone()).next_back();
                (own(cursor.lower(table, &to)), spot.come(expected, Spot::Before(to.clone())))
            }
        },
        _ => {
            let n = rng.random_range(0..map.len() as u64 + 3);
            (own(cursor.nth(table, n)), spot.come(map.iter().nth(n as usize), Spot::Nowhere))
        }
    };
    assert_eq!(found, expected, "a move to {spot:?}");
    assert_eq!(own(cursor.current(table)), spot.current(map), "at {spot:?}");
}

/// One change of the table, by the table itself or through a cursor.
fn change(rng: &mut SmallRng, table: &mut Bytes<'_>, map: &mut Map, cursors: &mut [(Cursor, Spot)]) {
    let at = key(rng);
    let value = vec![rng.random(); rng.random_range(0..80)];
    match rng.random_range(0..40) {
        0..16 => {
            table.put(&at, &value).expect("put");
            map.insert(at, value);
        }
        16..28 => assert_eq!(table.delete(&at).expect("delete"), map.remove(&at).is_some()),
        28..30 => {
            let to = key(rng);
            let (low, high) = if at < to { (at, to) } else { (to, at) };
            // Most often few, and now and then whole subtrees.
            let high = if rng.random_ratio(3, 4) {
                map.range(low.clone()..).nth(9).map_or(high, |(key, _)| key.clone())
            } else {
                high
            };
            let gone: Vec<_> = map.range(low.clone()..high.clone()).map(|(key, _)| key.clone()).collect();
            assert_eq!(table.delete_range(&low[..]..&high[..]).expect("delete"), gone.len() as u64);
            gone.iter().for_each(|key| drop(map.remove(key)));
        }
        30 => {
            let first =
                table.pop_first().expect("pop").map(|(key, value)| (key.into_bytes(), value.into_bytes()));
            assert_eq!(first, map.pop_first());
        }
        31 => {
            let last =
                table.pop_last().expect("pop").map(|(key, value)| (key.into_bytes(), value.into_bytes()));
            assert_eq!(last, map.pop_last());
        }
        32 if rng.random_ratio(1, 20) => {
            table.clear().expect("clear");
            map.clear();
        }
        33..37 => {
            let (cursor, spot) = cursors.choose_mut(rng).expect("some");
            let gone = spot.current(map).is_some();
            assert_eq!(cursor.delete(table).expect("delete"), gone);
            if let Spot::At(key) = spot {
                map.remove(key.as_slice());
            }
        }
        _ => {
            let (cursor, spot) = cursors.choose_mut(rng).expect("some");
            let is_at = matches!(spot, Spot::At(_));
            assert_eq!(cursor.put(table, &value).expect("put"), is_at);
            if let Spot::At(key) = spot {
                map.insert(key.clone(), value);
            }
        }
    }
}

#[test]
fn many_cursors_under_changes_equal_fresh_seeks() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let file = TestFile::new();
    let env = file.open(options());
    let tables = [Table::<[u8], [u8]>::new("a"), Table::new("b")];
    let mut maps = [Map::new(), Map::new()];
    let mut cursors: Vec<(Cursor, Spot)> = (0..24).map(|_| (Cursor::new(), Spot::Nowhere)).collect();
    for _ in 0..12 {
        let mut txn = env.write().expect("write");
        let mut savepoints: Vec<(Savepoint, [Map; 2])> = Vec::new();
        for _ in 0..1500 {
            match rng.random_range(0..120) {
                0 => savepoints.push((txn.savepoint().expect("a savepoint"), maps.clone())),
                1 => {
                    if let Some((savepoint, before)) = savepoints.pop() {
                        txn.rollback_to(&savepoint).expect("roll back");
                        maps = before;
                    }
                }
                _ => {}
            }
            // Cursors of one table stay true while another is changed, and go on in the other one too.
            let which = usize::from(rng.random_ratio(1, 6));
            let mut table = txn.open_table(&tables[which]).expect("table");
            let map = &mut maps[which];
            if rng.random_ratio(1, 2) {
                change(&mut rng, &mut table, map, &mut cursors);
            }
            for _ in 0..rng.random_range(0..6) {
                let (cursor, spot) = cursors.choose_mut(&mut rng).expect("some");
                go(&mut rng, &table, map, cursor, spot);
            }
        }
        // A transaction that is given up takes its changes back, under the cursors.
        match rng.random_ratio(1, 4) {
            true => {
                drop(txn);
                let txn = env.read().expect("read");
                for (table, map) in tables.iter().zip(&mut maps) {
                    *map = match txn.table(table) {
                        Ok(table) => {
                            let iter = table.iter().expect("iter").map(|entry| entry.expect("entry"));
                            iter.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
                        }
                        Err(_) => Map::new(),
                    };
                }
            }
            false => drop(txn.commit().expect("commit")),
        }
    }
    check(&env);
}

#[test]
fn cursors_stand_still_while_leaves_under_them_split_and_join() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.main();
    let key = |n: u32| [&n.to_be_bytes()[..], &[b'x'; 200]].concat();
    (0..400).step_by(4).for_each(|n| table.put(&key(n), b"old").expect("put"));
    let mut cursors: Vec<(u32, Cursor)> = (0..400).step_by(4).map(|n| (n, Cursor::new())).collect();
    for (n, cursor) in &mut cursors {
        assert!(cursor.seek(&table, &key(*n)).expect("seek").is_some());
    }
    for n in (0..400).filter(|n| n % 4 != 0) {
        table.put(&key(n), b"new").expect("put");
    }
    let places = |cursors: &mut [(u32, Cursor)], table: &Bytes<'_>, step: u32| {
        for (n, cursor) in cursors {
            assert_eq!(own(cursor.current(table)), Some((key(*n), b"old".to_vec())));
            let next = own(cursor.next(table)).map(|(key, _)| key);
            assert_eq!(next, (*n + step < 400).then(|| key(*n + step)));
            assert!(own(cursor.previous(table)).is_some_and(|(found, _)| found == key(*n)));
        }
    };
    places(&mut cursors, &table, 1);
    for n in (0..400).filter(|n| n % 4 != 0) {
        assert!(table.delete(&key(n)).expect("delete"));
    }
    places(&mut cursors, &table, 4);
    drop(txn);
    check(&env);
}

#[test]
fn a_cursor_goes_on_in_a_later_transaction_and_from_its_key() {
    let file = TestFile::with_entries(1000);
    let env = file.open(options());
    let mut cursor = Cursor::new();
    for n in 0..50u64 {
        let mut txn = env.write().expect("write");
        let mut table = txn.main();
        let found = own(cursor.next(&table)).expect("an entry");
        assert_eq!(found.0, n.to_be_bytes());
        assert!(cursor.delete(&mut table).expect("delete"));
        assert!(!cursor.delete(&mut table).expect("it is gone"));
        assert_eq!(cursor.key().expect("a key"), Some(&n.to_be_bytes()[..]));
        txn.commit().expect("commit");
    }
    check(&env);
}

/// By the last byte first: an order of the program's.
struct ByLast;

impl NamedOrder for ByLast {
    const NAME: &'static str = "by-last/1";

    fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.last().cmp(&b.last()).then_with(|| a.cmp(b))
    }
}

#[test]
fn cursors_go_by_the_order_of_their_table() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    for order in [KeyOrder::REVERSE, KeyOrder::named::<ByLast>()] {
        let mut table =
            txn.open_table(&Table::<[u8], [u8]>::new(order.name()).in_order(order)).expect("table");
        for key in [&b"ab"[..], b"ba", b"cc", b"aa"] {
            table.put(key, b"").expect("put");
        }
        let (mut cursor, mut keys) = (Cursor::new(), Vec::new());
        while let Some((key, _)) = own(cursor.next(&table)) {
            table.delete(&key).expect("delete");
            keys.push(key);
        }
        assert_eq!(keys, [b"aa", b"ba", b"ab", b"cc"], "{}", order.name());
        let gap = table.lower_bound(Included(b"zz")).expect("gap").peek_prev().expect("sound");
        assert!(gap.is_none());
    }
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn a_cursor_of_the_transaction_that_rolls_back_sees_what_stands_then() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    for key in ["a", "b"] {
        txn.main().put(key.as_bytes(), b"old").expect("put");
    }
    txn.create_snapshot("before").expect("a snapshot");
    txn.commit().expect("commit");
    let mut txn = env.write().expect("write");
    for key in ["a", "ab"] {
        txn.main().put(key.as_bytes(), b"new").expect("put");
    }
    txn.commit().expect("commit");

    let mut txn = env.write().expect("write");
    let mut cursor = DetachedCursor::<[u8], [u8]>::new();
    assert_eq!(cursor.first(&txn.main()).expect("first"), Some((&b"a"[..], &b"new"[..])));
    txn.roll_back("before").expect("rolled back");
    assert_eq!(cursor.current(&txn.main()).expect("current"), Some((&b"a"[..], &b"old"[..])));
    assert_eq!(cursor.next(&txn.main()).expect("next"), Some((&b"b"[..], &b"old"[..])));
    txn.commit().expect("commit");
    check(&env);
}
