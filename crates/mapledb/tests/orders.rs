//! Tables in every order, against sorted maps whose keys compare by the same order, and what keeps an order from being
//! mistaken for another.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test orders`.

mod files;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use files::{TestFile, check, options, seed};
use mapledb::{Env, Error, Key, KeyOrder, Le, NamedOrder, Table, WriteTable};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Letters whatever their case, the shorter first.
struct Caseless;

impl NamedOrder for Caseless {
    const NAME: &'static str = "caseless/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        let lower = |key: &[u8]| key.to_ascii_lowercase();
        a.len().cmp(&b.len()).then_with(|| lower(a).cmp(&lower(b)))
    }
}

/// Another order than [`Caseless`].
struct Backwards;

impl NamedOrder for Backwards {
    const NAME: &'static str = "backwards/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

const CASELESS: KeyOrder = KeyOrder::named::<Caseless>();
const BACKWARDS: KeyOrder = KeyOrder::named::<Backwards>();

/// A key that compares by an order.
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

/// The key as it was put last, and the value.
type Map = BTreeMap<Ordered, (Vec<u8>, Vec<u8>)>;
type Bytes<'t> = WriteTable<'t, [u8], [u8]>;

/// Keys of one shape.
struct Keys {
    order: KeyOrder,
    len: usize,
    letters: &'static [u8],
}

impl Keys {
    fn of(order: KeyOrder, rng: &mut SmallRng) -> Keys {
        let len = *[3, 8, 60, 700].choose(rng).expect("some");
        let letters: &[u8] = [&b"aAbB"[..], b"abcdefgh\x00\xff", b"xy"].choose(rng).expect("some");
        Keys { order, len, letters }
    }

    fn key(&self, rng: &mut SmallRng) -> Vec<u8> {
        if self.order == KeyOrder::INTEGER {
            return rng.random_range(0..3000u64).to_le_bytes().to_vec();
        }
        let len = rng.random_range(0..=self.len);
        // A run at either end, so that prefixes in either direction are long.
        let mut key = vec![self.letters[0]; len];
        let from = rng.random_range(0..=len);
        let to = (from + 3).min(len);
        key[from..to].iter_mut().for_each(|letter| *letter = *self.letters.choose(rng).expect("some"));
        key
    }
}

fn value(rng: &mut SmallRng) -> Vec<u8> {
    let len = if rng.random_ratio(1, 60) { rng.random_range(0..20_000) } else { rng.random_range(0..120) };
    vec![rng.random(); len]
}

fn bytes_of(bound: &Bound<Ordered>) -> Bound<&[u8]> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(&key.0),
        Bound::Excluded(key) => Bound::Excluded(&key.0),
    }
}

fn bound(rng: &mut SmallRng, key: Vec<u8>, order: KeyOrder) -> Bound<Ordered> {
    match rng.random_range(0..6) {
        0 => Bound::Unbounded,
        1..3 => Bound::Excluded(Ordered(key, order)),
        _ => Bound::Included(Ordered(key, order)),
    }
}

fn bounds(rng: &mut SmallRng, keys: &Keys, key: Vec<u8>) -> (Bound<Ordered>, Bound<Ordered>) {
    let other = keys.key(rng);
    (bound(rng, key, keys.order), bound(rng, other, keys.order))
}

/// What a map would panic about.
fn crosses(low: &Bound<Ordered>, high: &Bound<Ordered>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
        _ => false,
    }
}

fn change(rng: &mut SmallRng, keys: &Keys, table: &mut Bytes<'_>, map: &mut Map) {
    let key = keys.key(rng);
    let ordered = Ordered(key.clone(), keys.order);
    match rng.random_range(0..40) {
        0..20 => {
            let value = value(rng);
            table.put(&key, &value).expect("put");
            map.remove(&ordered);
            map.insert(ordered, (key, value));
        }
        20..32 => assert_eq!(table.delete(&key).expect("delete"), map.remove(&ordered).is_some()),
        32 if rng.random_ratio(1, 4) => {
            let (low, high) = bounds(rng, keys, key);
            let gone = match crosses(&low, &high) {
                true => Vec::new(),
                false => map.range((low.clone(), high.clone())).map(|(key, _)| key.clone()).collect(),
            };
            let range = (low.as_ref().map(|key| &key.0[..]), high.as_ref().map(|key| &key.0[..]));
            assert_eq!(table.delete_range(range).expect("delete"), gone.len() as u64);
            gone.iter().for_each(|key| drop(map.remove(key)));
        }
        33 => {
            let last = map.last_key_value().map(|(key, _)| key.clone());
            match last {
                Some(last) if ordered <= last => {
                    let refused = table.append(&key, b"v").expect_err("not behind");
                    assert!(matches!(refused, Error::NotSorted), "{refused}");
                }
                _ => {
                    table.append(&key, b"v").expect("append");
                    map.insert(ordered, (key, b"v".to_vec()));
                }
            }
        }
        34 if rng.random_ratio(1, 8) => {
            let salt = rng.random_range(2..5);
            table
                .retain(|key, _| {
                    !key.iter().map(|byte| usize::from(*byte)).sum::<usize>().is_multiple_of(salt)
                })
                .expect("retain");
            map.retain(|_, (key, _)| {
                !key.iter().map(|byte| usize::from(*byte)).sum::<usize>().is_multiple_of(salt)
            });
        }
        _ => look(rng, keys, table, map, &ordered),
    }
}

fn look(rng: &mut SmallRng, keys: &Keys, table: &Bytes<'_>, map: &Map, key: &Ordered) {
    let found = table.get(&key.0).expect("get");
    assert_eq!(found, map.get(key).map(|(_, value)| &value[..]));
    let table = table.reading().expect("read");
    let (low, high) = bounds(rng, keys, key.0.clone());
    let expected: Vec<_> = match crosses(&low, &high) {
        true => Vec::new(),
        false => map.range((low.clone(), high.clone())).map(|(_, pair)| pair.clone()).collect(),
    };
    let range = (bytes_of(&low), bytes_of(&high));
    assert_eq!(table.count(range).expect("count"), expected.len() as u64);
    let owned = |entry: Result<(&[u8], &[u8]), Error>| {
        entry.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("entry")
    };
    assert!(table.range(range).expect("range").map(owned).eq(expected.iter().cloned()), "a range");
    assert!(
        table.range(range).expect("range").rev().map(owned).eq(expected.into_iter().rev()),
        "a range backwards"
    );
    let rank = map.range(..key).count();
    assert_eq!(table.rank(&key.0).expect("rank"), rank as u64);
    let pair = |found: Option<(&[u8], &[u8])>| found.map(|(key, value)| (key.to_vec(), value.to_vec()));
    assert_eq!(
        pair(table.nth(rank as u64).expect("nth")),
        map.range(key..).next().map(|(_, pair)| pair.clone())
    );
    assert_eq!(
        pair(table.floor(&key.0).expect("floor")),
        map.range(..=key).next_back().map(|(_, pair)| pair.clone())
    );
    assert_eq!(
        pair(table.lower(&key.0).expect("lower")),
        map.range(..key).next_back().map(|(_, pair)| pair.clone())
    );
    let several: Vec<_> = (0..20).map(|_| keys.key(rng)).collect();
    let values = table.multi_get(several.iter().map(|key| &key[..])).expect("many");
    for (key, value) in several.iter().zip(values) {
        assert_eq!(value, map.get(&Ordered(key.clone(), keys.order)).map(|(_, value)| &value[..]));
    }
}

fn holds(env: &Env, table: &Table<'_, [u8], [u8]>, map: &Map) {
    let txn = env.read().expect("read");
    let found = txn.table(table).expect("table").iter().expect("iter");
    let found = found.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("entry"));
    assert!(found.eq(map.values().cloned()), "a table is not its map");
}

#[test]
fn tables_in_every_order_are_sorted_maps() {
    let mut rng = SmallRng::seed_from_u64(seed());
    for order in [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER, CASELESS, BACKWARDS] {
        for _ in 0..3 {
            let keys = Keys::of(order, &mut rng);
            let file = TestFile::new();
            let known = options().order(CASELESS).order(BACKWARDS);
            let env = file.open(known.clone());
            let table = Table::<[u8], [u8]>::new("t").in_order(order);
            let mut map = Map::new();
            for _ in 0..12 {
                let mut txn = env.write().expect("write");
                let mut open = txn.open_table(&table).expect("table");
                (0..300).for_each(|_| change(&mut rng, &keys, &mut open, &mut map));
                txn.commit().expect("commit");
                holds(&env, &table, &map);
                check(&env);
            }
            let report = env.check(|_| ()).expect("check");
            assert!(report.is_clean() && report.orders_missing.is_empty(), "{report:?}");
            copies(&env, &table, &map);
            env.close().expect("close");
            holds(&file.open(known), &table, &map);
        }
    }
}

/// Copies hold the same in the same order, though whoever copies does not know how to compare.
fn copies(env: &Env, table: &Table<'_, [u8], [u8]>, map: &Map) {
    for compact in [false, true] {
        let copy = TestFile::new();
        env.copy_to(copy.path(), compact, |_, _| true).expect("copy");
        let env = copy.open(options());
        let report = env.check(|_| ()).expect("check");
        assert!(report.is_clean(), "{report:?}");
        holds(&env, table, map);
        let mut txn = env.write().expect("write");
        let mut open = txn.open_table(table).expect("table");
        map.values().step_by(3).for_each(|(key, _)| assert!(open.delete(key).expect("delete")));
        txn.commit().expect("commit");
        check(&env);
    }
}

#[test]
fn a_table_opens_in_its_own_order_alone() {
    let file = TestFile::new();
    let env = file.open(options());
    let orders = [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER, CASELESS, BACKWARDS];
    let name = |order: KeyOrder| format!("in {}", order.name());
    let mut txn = env.write().expect("write");
    for order in orders {
        let name = name(order);
        let table = Table::<[u8], [u8]>::new(&name).in_order(order);
        txn.open_table(&table).expect("table").put(b"a key", b"a value").expect("put");
    }
    txn.commit().expect("commit");
    let info: Vec<_> =
        env.read().expect("read").tables().expect("tables").into_iter().map(|table| table.order).collect();
    assert_eq!(info, ["bytewise", "backwards/1", "bytewise", "caseless/1", "integer", "reverse"]);
    for recorded in orders {
        let name = name(recorded);
        for asked in orders {
            let table = Table::<[u8], [u8]>::new(&name).in_order(asked);
            let txn = env.read().expect("read");
            let mut write = env.write().expect("write");
            if asked == recorded {
                assert_eq!(
                    txn.table(&table).expect("its own").get(b"a key").expect("get"),
                    Some(&b"a value"[..])
                );
                assert_eq!(
                    write.table(&table).expect("its own").get(b"a key").expect("get"),
                    Some(&b"a value"[..])
                );
                continue;
            }
            let refusals = [
                txn.table(&table).map(|_| ()).expect_err("another"),
                write.table(&table).map(|_| ()).expect_err("another"),
                write.open_table(&table).map(|_| ()).expect_err("another"),
            ];
            for refused in refusals {
                let said = refused.to_string();
                assert!(matches!(refused, Error::TableOrder { .. }), "{said}");
                for part in
                    [&name[..], recorded.name(), asked.name(), "open it with its own", "nothing was changed"]
                {
                    assert!(said.contains(part), "{said}");
                }
            }
            write
                .table(&Table::<[u8], [u8]>::new(&name).in_order(recorded))
                .expect("the transaction goes on");
        }
    }
    let main = Table::main().in_order(KeyOrder::REVERSE);
    let refused = env.read().expect("read").table(&main).map(|_| ()).expect_err("it is bytewise");
    assert!(matches!(refused, Error::TableOrder { .. }), "{refused}");
    check(&env);
}

#[test]
fn a_table_whose_order_is_missing_is_gone_through_but_not_searched() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&Table::<[u8], [u8]>::new("t").in_order(BACKWARDS)).expect("table");
    (0..2000u32).for_each(|n| table.put(&n.to_be_bytes(), &[7; 40]).expect("put"));
    txn.commit().expect("commit");
    let untyped = Table::untyped("t");
    {
        let txn = env.read().expect("read");
        let table = txn.table(&untyped).expect("as stored");
        assert_eq!(table.len(), 2000);
        assert_eq!(table.first().expect("first").expect("one").0, 1999u32.to_be_bytes());
        assert_eq!(table.nth(1).expect("nth").expect("one").0, 1998u32.to_be_bytes());
        assert_eq!(table.iter().expect("iter").count(), 2000);
        let key = &7u32.to_be_bytes()[..];
        let refusals = [
            table.get(key).map(|_| ()),
            table.contains(key).map(|_| ()),
            table.rank(key).map(|_| ()),
            table.range(key..).map(|_| ()),
            table.count(key..).map(|_| ()),
            table.multi_get([key]).map(|_| ()),
            table.cursor().seek(key).map(|_| ()),
            table.cursor().floor(key).map(|_| ()),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(Error::OrderMissing)), "{refused:?}");
        }
        assert!(matches!(table.prefix(b"x").map(|_| ()), Err(Error::PrefixOutOfOrder { .. })));
    }
    let mut txn = env.write().expect("write");
    let mut table = txn.table(&untyped).expect("as stored");
    let refusals = [
        table.put(b"k", b"v"),
        table.append(b"k", b"v"),
        table.delete(b"k").map(|_| ()),
        table.delete_range(..).map(|_| ()),
        table.load_sorted([Ok((b"k", b"v"))]).map(|_| ()),
    ];
    for refused in refusals {
        assert!(matches!(refused, Err(Error::OrderMissing)), "{refused:?}");
    }
    // What needs no comparison goes on, in the same transaction.
    assert_eq!(table.retain(|key, _| key[3] % 2 == 0).expect("retain"), 1000);
    txn.commit().expect("commit");
    let report = env.check(|_| ()).expect("check");
    assert!(report.is_clean() && report.orders_missing == ["t"], "{report:?}");
    let mut txn = env.write().expect("write");
    assert!(txn.drop_table("t").expect("drop"));
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn integers_of_one_length_are_keys_and_others_are_not() {
    const COUNTS: Table<'static, Le<u32>, u64> = Table::new("counts");
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut counts = txn.open_table(&COUNTS).expect("table");
    (0..1000u32).rev().for_each(|n| counts.put(&Le(n * 7919 % 1000), &u64::from(n)).expect("put"));
    let keys = counts.reading().expect("read").keys().expect("keys").map(|key| key.expect("key").0);
    assert!(keys.eq(0..1000), "integers in their order");
    assert_eq!(counts.reading().expect("read").range(&Le(10)..&Le(300)).expect("range").count(), 290);
    txn.commit().expect("commit");
    assert_eq!(<Le<u32> as Key>::ORDER, KeyOrder::INTEGER);
    let mut txn = env.write().expect("write");
    let mut counts = txn.table(&Table::untyped("counts")).expect("table");
    let refused = counts.put(&7u64.to_le_bytes(), b"").expect_err("too long");
    assert!(matches!(refused, Error::KeyLength { len: 8, expected: 4 }), "{refused}");
    let refused = counts.append(&u64::MAX.to_le_bytes(), b"").expect_err("too long");
    assert!(matches!(refused, Error::KeyLength { len: 8, expected: 4 }), "{refused}");
    let refused = counts.load_sorted([Ok((u64::MAX.to_le_bytes(), b""))]).expect_err("too long");
    assert!(matches!(refused, Error::KeyLength { len: 8, expected: 4 }), "{refused}");
    assert_eq!(counts.get(&7u64.to_le_bytes()).expect("get"), None, "what cannot be there is not there");
    txn.commit().expect("commit");
    assert_eq!(env.read().expect("read").table(&COUNTS).expect("table").len(), 1000);
    check(&env);
}
