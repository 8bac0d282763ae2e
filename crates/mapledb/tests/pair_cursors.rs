//! Many cursors on one multimap while it changes: each answers what a fresh seek of its pair would, whatever was done through others
//! and in whatever form its duplicates are by then.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test pair_cursors`. Each test is held once against the planted
//! bug `stale_pair_cursor`.

mod files;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use files::{TestFile, check, options};
use mapledb::{DetachedPairCursor, Duplicates, KeyOrder, Multimap, Savepoint, WriteMultimap, WriteTxn};
use rand::rngs::SmallRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};

type Pair = (Vec<u8>, Vec<u8>);
type Set = BTreeSet<Pair>;
type Bytes<'t> = WriteMultimap<'t, [u8], [u8]>;
type Cursor = DetachedPairCursor<[u8], [u8]>;

/// How long the duplicates of each multimap are: of any length, and packed.
const KINDS: [(&str, Option<usize>); 2] = [("any", None), ("packed", Some(8))];

fn seed() -> u64 {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = std::env::var("MAPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
    println!("MAPLE_SEED={seed}");
    seed
}

fn open(txn: &mut WriteTxn, which: usize) -> Bytes<'_> {
    let (name, len) = KINDS[which];
    let duplicates = Duplicates { order: KeyOrder::BYTEWISE, len };
    txn.open_multimap_as(name, "bytes", "bytes", None, duplicates).expect("open")
}

/// A pair, or without a duplicate all pairs of a key.
type At = (Vec<u8>, Option<Vec<u8>>);

/// Where a cursor should be.
#[derive(Clone, Debug)]
enum Spot {
    Nowhere,
    At(Pair),
    Before(At),
    Behind(At),
}

/// The first pair that is not before `at`, or that is behind it.
fn from(set: &Set, (key, dup): &At, inclusive: bool) -> Option<Pair> {
    let low = (key.clone(), dup.clone().unwrap_or_default());
    let is_in = |pair: &&Pair| inclusive || if dup.is_some() { **pair != low } else { pair.0 != *key };
    set.range(low.clone()..).find(is_in).cloned()
}

/// The last pair that is not behind `at`, or that is before it.
fn to(set: &Set, (key, dup): &At, inclusive: bool) -> Option<Pair> {
    let high = (key.clone(), dup.clone().unwrap_or_default());
    match (dup, inclusive) {
        (None, true) => set.iter().rev().find(|pair| pair.0 <= *key).cloned(),
        (Some(_), true) => set.range(..=high).next_back().cloned(),
        (_, false) => set.range(..high).next_back().cloned(),
    }
}

impl Spot {
    /// The pair or the key it is at.
    fn at(&self) -> At {
        match self.clone() {
            Spot::Nowhere => (Vec::new(), None),
            Spot::At((key, dup)) => (key, Some(dup)),
            Spot::Before(at) | Spot::Behind(at) => at,
        }
    }

    /// Takes note of what a move came to.
    fn come(&mut self, found: Option<Pair>, otherwise: Spot) -> Option<Pair> {
        *self = found.clone().map_or(otherwise, Spot::At);
        found
    }

    /// As `come`, of a move within the key, which stays where there is nothing.
    fn come_in_key(&mut self, found: Option<Pair>) -> Option<Pair> {
        let found = found.filter(|pair| !matches!(self, Spot::Nowhere) && pair.0 == self.at().0);
        self.come(found, self.clone())
    }

    fn behind(&self, set: &Set) -> Option<Pair> {
        match self {
            Spot::Nowhere => set.first().cloned(),
            _ => from(set, &self.at(), matches!(self, Spot::Before(_))),
        }
    }

    fn before(&self, set: &Set) -> Option<Pair> {
        match self {
            Spot::Nowhere => set.last().cloned(),
            _ => to(set, &self.at(), matches!(self, Spot::Behind(_))),
        }
    }

    fn or_nowhere(&self, otherwise: fn(At) -> Spot, at: At) -> Spot {
        if matches!(self, Spot::Nowhere) { Spot::Nowhere } else { otherwise(at) }
    }

    /// Moves by the key of the spot, as the cursor does.
    fn by_key(&mut self, set: &Set, forward: bool) -> Option<Pair> {
        let key = (self.at().0, None);
        let (found, otherwise) = match (&*self, forward) {
            (Spot::Nowhere, true) => (set.first().cloned(), Spot::Nowhere),
            (Spot::Nowhere, false) => (set.last().cloned(), Spot::Nowhere),
            (_, true) => (from(set, &key, false), Spot::Behind(key)),
            (_, false) => (to(set, &key, false), Spot::Before(key)),
        };
        self.come(found, otherwise)
    }
}

fn own(found: mapledb::Result<Option<(&[u8], &[u8])>>) -> Option<Pair> {
    found.expect("a sound multimap").map(|(key, dup)| (key.to_vec(), dup.to_vec()))
}

/// A few keys have most of the pairs.
fn key(rng: &mut SmallRng) -> Vec<u8> {
    let number: u8 = if rng.random_bool(0.7) { rng.random_range(0..4) } else { rng.random_range(0..60) };
    vec![number; if number.is_multiple_of(3) { 200 } else { 3 }]
}

fn dup(which: usize, number: u32) -> Vec<u8> {
    let mut dup = number.to_be_bytes().to_vec();
    dup.resize(KINDS[which].1.unwrap_or(4 + number as usize % 40), b'd');
    dup
}

/// One move of one cursor, and of its model.
fn go(rng: &mut SmallRng, which: usize, table: &Bytes<'_>, set: &Set, cursor: &mut Cursor, spot: &mut Spot) {
    let near = set.iter().nth(rng.random_range(0..set.len().max(1))).cloned();
    let (key, dup) = match near {
        Some(near) if rng.random() => near,
        _ => (key(rng), dup(which, rng.random_range(0..900))),
    };
    let (at, of_key) = ((key.clone(), Some(dup.clone())), (key.clone(), None));
    let own_key = (spot.at().0, None);
    let (found, expected) = match rng.random_range(0..24) {
        0..4 => {
            let otherwise = spot.or_nowhere(Spot::Behind, spot.at());
            (own(cursor.next(table)), spot.come(spot.clone().behind(set), otherwise))
        }
        4..8 => {
            let otherwise = spot.or_nowhere(Spot::Before, spot.at());
            (own(cursor.previous(table)), spot.come(spot.clone().before(set), otherwise))
        }
        8..10 => (own(cursor.next_in_key(table)), spot.come_in_key(spot.behind(set))),
        10..12 => (own(cursor.previous_in_key(table)), spot.come_in_key(spot.before(set))),
        12 => (own(cursor.first_in_key(table)), spot.come_in_key(from(set, &own_key, true))),
        13 => (own(cursor.last_in_key(table)), spot.come_in_key(to(set, &own_key, true))),
        14 => (own(cursor.next_key(table)), spot.by_key(set, true)),
        15 => (own(cursor.previous_key(table)), spot.by_key(set, false)),
        16 => (own(cursor.first(table)), spot.come(set.first().cloned(), Spot::Nowhere)),
        17 => (own(cursor.last(table)), spot.come(set.last().cloned(), Spot::Nowhere)),
        18 => {
            let there = set.get(&(key.clone(), dup.clone())).cloned();
            (own(cursor.seek(table, &key, &dup)), spot.come(there, Spot::At((key, dup))))
        }
        19 => {
            let there = from(set, &of_key, true).filter(|pair| pair.0 == key);
            (own(cursor.seek_key(table, &key)), spot.come(there, Spot::Before(of_key)))
        }
        20 => match rng.random() {
            true => {
                (own(cursor.ceiling(table, &key, &dup)), spot.come(from(set, &at, true), Spot::Before(at)))
            }
            false => {
                (own(cursor.higher(table, &key, &dup)), spot.come(from(set, &at, false), Spot::Behind(at)))
            }
        },
        21 => match rng.random() {
            true => (own(cursor.floor(table, &key, &dup)), spot.come(to(set, &at, true), Spot::Behind(at))),
            false => (own(cursor.lower(table, &key, &dup)), spot.come(to(set, &at, false), Spot::Before(at))),
        },
        22 => {
            (own(cursor.ceiling_key(table, &key)), spot.come(from(set, &of_key, true), Spot::Before(of_key)))
        }
        _ => {
            let n = rng.random_range(0..set.len() + 3);
            (own(cursor.nth(table, n as u64)), spot.come(set.iter().nth(n).cloned(), Spot::Nowhere))
        }
    };
    assert_eq!(found, expected, "a move to {spot:?}");
    let here = match &*spot {
        Spot::At(pair) => set.get(pair).cloned(),
        _ => None,
    };
    assert_eq!(own(cursor.current(table)), here, "at {spot:?}");
}

/// One change of the multimap, by itself or through a cursor: among them those that bring duplicates from a slot into a sub-page
/// and a tree, and back.
fn change(
    rng: &mut SmallRng,
    which: usize,
    table: &mut Bytes<'_>,
    set: &mut Set,
    cursors: &mut [(Cursor, Spot)],
) {
    let key = key(rng);
    let number = rng.random_range(0..900);
    let one = dup(which, number);
    match rng.random_range(0..60) {
        0..24 => assert_eq!(table.insert(&key, &one).expect("insert"), set.insert((key, one))),
        24..40 => {
            let one = from(set, &(key.clone(), Some(one)), true).unwrap_or_default();
            assert_eq!(table.delete(&one.0, &one.1).expect("delete"), set.remove(&one));
        }
        40..44 => {
            let many: Vec<_> =
                (0..rng.random_range(0..400)).map(|n| dup(which, (number + 2 * n) % 900)).collect();
            let added = many.iter().filter(|dup| set.insert((key.clone(), dup.to_vec()))).count();
            assert_eq!(
                table.insert_all(&key, many.iter().map(|dup| &dup[..])).expect("insert"),
                added as u64
            );
        }
        44 => {
            let before = set.len();
            set.retain(|pair| pair.0 != key);
            assert_eq!(table.delete_all(&key).expect("delete"), (before - set.len()) as u64);
        }
        45..50 => {
            let high = dup(which, number + rng.random_range(0..500));
            let before = set.len();
            set.retain(|pair| pair.0 != key || pair.1 < one || pair.1 >= high);
            let gone = table.delete_pairs((&key[..], &one[..])..(&key[..], &high[..])).expect("delete");
            assert_eq!(gone, (before - set.len()) as u64);
        }
        50 => {
            let above: Vec<u8> = [&key[..], &[0]].concat();
            let before = set.len();
            set.retain(|pair| pair.0 < key || pair.0 > above);
            assert_eq!(
                table.delete_range(&key[..]..=&above[..]).expect("delete"),
                (before - set.len()) as u64
            );
        }
        51 if rng.random_ratio(1, 20) => {
            table.clear().expect("clear");
            set.clear();
        }
        _ => {
            let (cursor, spot) = cursors.choose_mut(rng).expect("some");
            let is_there = match spot {
                Spot::At(pair) => set.remove(pair),
                _ => false,
            };
            assert_eq!(cursor.delete(table).expect("delete"), is_there);
        }
    }
}

#[test]
fn many_cursors_over_pairs_under_changes_equal_fresh_seeks() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let file = TestFile::new();
    let env = file.open(options());
    let mut sets = [Set::new(), Set::new()];
    let mut cursors: Vec<(Cursor, Spot)> = (0..24).map(|_| (Cursor::new(), Spot::Nowhere)).collect();
    for _ in 0..10 {
        let mut txn = env.write().expect("write");
        let before = sets.clone();
        let mut savepoints: Vec<(Savepoint, [Set; 2])> = Vec::new();
        for _ in 0..1200 {
            match rng.random_range(0..120) {
                0 => savepoints.push((txn.savepoint().expect("a savepoint"), sets.clone())),
                1 => {
                    if let Some((savepoint, before)) = savepoints.pop() {
                        txn.rollback_to(&savepoint).expect("roll back");
                        sets = before;
                    }
                }
                _ => {}
            }
            // Cursors of one multimap go on in the other one too.
            let which = usize::from(rng.random_ratio(1, 4));
            let mut table = open(&mut txn, which);
            let set = &mut sets[which];
            if rng.random_ratio(1, 2) {
                change(&mut rng, which, &mut table, set, &mut cursors);
            }
            for _ in 0..rng.random_range(0..6) {
                let (cursor, spot) = cursors.choose_mut(&mut rng).expect("some");
                go(&mut rng, which, &table, set, cursor, spot);
            }
        }
        // A transaction that is given up takes its changes back, under the cursors.
        match rng.random_ratio(1, 4) {
            true => sets = before,
            false => drop(txn.commit().expect("commit")),
        }
    }
    let txn = env.read().expect("read");
    for (set, (name, _)) in sets.iter().zip(KINDS) {
        let Ok(table) = txn.multimap(&Multimap::untyped(name)) else { continue };
        let found = table.iter().expect("iter").map(|pair| pair.expect("a pair"));
        assert!(found.eq(set.iter().map(|(key, dup)| (&key[..], &dup[..]))));
    }
    drop(txn);
    check(&env);
}

#[test]
fn cursors_stand_still_while_duplicates_go_from_one_form_into_another_and_back() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    for which in [0, 1] {
        let mut table = open(&mut txn, which);
        // Among others: the keys beside it are cut from its leaf.
        for number in [1u8, 3] {
            table.insert(&[number], &dup(which, 0)).expect("insert");
        }
        let pair = (vec![2], dup(which, 450));
        table.insert(&pair.0, &pair.1).expect("insert");
        let mut cursor = Cursor::new();
        assert_eq!(own(cursor.seek(&table, &pair.0, &pair.1)), Some(pair.clone()));
        let stands = |cursor: &mut Cursor, table: &Bytes<'_>, form: &str| {
            let beside = |number| Some((vec![2], dup(which, number)));
            assert_eq!(own(cursor.current(table)), Some(pair.clone()), "{form}");
            let (mut next, mut previous) = (cursor.clone(), cursor.clone());
            let (after, before) = (own(next.next_in_key(table)), own(previous.previous_in_key(table)));
            match table.count_of(&pair.0).expect("count") {
                1 => assert_eq!((after, before), (None, None), "{form}"),
                _ => assert_eq!((after, before), (beside(451), beside(449)), "{form}"),
            }
            assert_eq!(own(cursor.current(table)), Some(pair.clone()), "{form}");
        };
        stands(&mut cursor, &table, "inline");
        let trees = |table: &Bytes<'_>| table.stat().overflow_pages;
        for (reach, form) in [(6u32, "sub-page"), (400, "tree")] {
            for number in 450 - reach..=450 + reach {
                table.insert(&pair.0, &dup(which, number)).expect("insert");
            }
            stands(&mut cursor, &table, form);
            assert_eq!(trees(&table) > 1, form == "tree", "{form}: {:?}", table.stat());
        }
        for (reach, form) in [(6u32, "sub-page again"), (0, "inline again")] {
            for number in (50..450 - reach).chain(451 + reach..=850) {
                table.delete(&pair.0, &dup(which, number)).expect("delete");
            }
            stands(&mut cursor, &table, form);
            assert_eq!(trees(&table), 0, "{form}");
        }
        table.delete(&pair.0, &pair.1).expect("delete");
        assert_eq!(own(cursor.current(&table)), None);
        assert_eq!(own(cursor.clone().next(&table)), Some((vec![3], dup(which, 0))));
        assert_eq!(own(cursor.previous(&table)), Some((vec![1], dup(which, 0))));
    }
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn a_cursor_over_pairs_goes_on_in_a_later_transaction_and_from_its_pair() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let all: Vec<_> = (0..40).map(|n| (vec![n as u8 / 20], dup(0, n))).collect();
    all.iter().for_each(|(key, dup)| assert!(open(&mut txn, 0).insert(key, dup).expect("insert")));
    txn.commit().expect("commit");
    let mut cursor = Cursor::new();
    for pair in &all {
        let mut txn = env.write().expect("write");
        let mut table = open(&mut txn, 0);
        assert_eq!(own(cursor.next(&table)).as_ref(), Some(pair));
        assert!(cursor.delete(&mut table).expect("delete"));
        assert!(!cursor.delete(&mut table).expect("it is gone"));
        assert_eq!(cursor.key().expect("a key"), Some(&pair.0[..]));
        txn.commit().expect("commit");
    }
    check(&env);
}
