//! Operations on the pairs of a multimap, beside sorted sets.
//!
//! A few keys have most of the duplicates, so these grow from one inline to a sub-page and to a nested tree, and shrink back.

mod places;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use mapledb::{Duplicates, Error, KeyOrder, NamedOrder, Owned, WriteMultimap};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::Shape;
use super::entries::{as_slices, bound, key_after};
pub use places::Places;

type Pair = (Vec<u8>, Vec<u8>);

/// How many duplicates there are to choose from.
const DUPLICATES: u32 = 1500;

/// The order of the reversed bytes, as a program's own.
struct Turned;

impl NamedOrder for Turned {
    const NAME: &'static str = "turned/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }
}

/// A named order of duplicates, which environments are opened with.
pub const TURNED: KeyOrder = KeyOrder::named::<Turned>();

/// The pairs of a multimap, keys in bytewise order. A duplicate is kept as it sorts: from its last byte to its first unless its order
/// is bytewise.
#[derive(Clone, PartialEq, Eq)]
pub struct Sets {
    kind: Duplicates,
    keys: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

/// What the duplicates of a new multimap are.
pub fn kind(rng: &mut SmallRng) -> Duplicates {
    let (order, len) = *[
        (KeyOrder::BYTEWISE, None),
        (KeyOrder::BYTEWISE, None),
        (KeyOrder::REVERSE, None),
        (KeyOrder::BYTEWISE, Some(8)),
        (KeyOrder::BYTEWISE, Some(130)),
        (KeyOrder::REVERSE, Some(5)),
        (KeyOrder::INTEGER, Some(4)),
        (KeyOrder::INTEGER, Some(8)),
        (TURNED, None),
        (TURNED, Some(7)),
    ]
    .choose(rng)
    .expect("some");
    Duplicates { order, len }
}

impl Sets {
    pub fn new(kind: Duplicates) -> Sets {
        Sets { kind, keys: BTreeMap::new() }
    }

    pub fn kind(&self) -> Duplicates {
        self.kind
    }

    /// A duplicate as it sorts, and back.
    fn turned(&self, dup: &[u8]) -> Vec<u8> {
        match self.kind.order == KeyOrder::BYTEWISE {
            true => dup.to_vec(),
            false => dup.iter().rev().copied().collect(),
        }
    }

    pub fn len(&self) -> u64 {
        self.keys.values().map(|dups| dups.len() as u64).sum()
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Vec<u8>> {
        self.keys.keys()
    }

    pub fn count_of(&self, key: &[u8]) -> u64 {
        self.keys.get(key).map_or(0, |dups| dups.len() as u64)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Pair> {
        self.keys.iter().flat_map(|(key, dups)| dups.iter().map(|dup| (key.clone(), self.turned(dup))))
    }

    pub fn of(&self, key: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
        self.keys.get(key).into_iter().flatten().map(|dup| self.turned(dup))
    }

    pub fn clear(&mut self) {
        self.keys.clear();
    }

    fn insert(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let dup = self.turned(dup);
        self.keys.entry(key.to_vec()).or_default().insert(dup)
    }

    fn remove(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let dup = self.turned(dup);
        let was_there = self.keys.get_mut(key).is_some_and(|dups| dups.remove(&dup));
        if self.count_of(key) == 0 {
            self.keys.remove(key);
        }
        was_there
    }

    fn contains(&self, key: &[u8], dup: &[u8]) -> bool {
        self.keys.get(key).is_some_and(|dups| dups.contains(&self.turned(dup)))
    }

    /// The last pair.
    fn last(&self) -> Option<Pair> {
        self.iter().next_back()
    }

    /// Whether a pair would come behind all others.
    fn is_behind_all(&self, key: &[u8], dup: &[u8]) -> bool {
        self.last()
            .is_none_or(|(last, last_dup)| (&last[..], self.turned(&last_dup)) < (key, self.turned(dup)))
    }

    /// One of the keys with the most duplicates, or any.
    fn some_key(&self, shape: &Shape, rng: &mut SmallRng) -> Vec<u8> {
        match rng.random_ratio(3, 4) {
            true => self.keys.keys().nth(rng.random_range(0..3)).cloned().unwrap_or_else(|| shape.key(rng)),
            false => shape.key(rng),
        }
    }

    fn dup(&self, shape: &Shape, number: u32) -> Vec<u8> {
        let bytes = number.to_be_bytes();
        if let Some(len) = self.kind.len {
            return bytes.into_iter().cycle().take(len).collect();
        }
        let mut dup = if number.is_multiple_of(3) { shape.prefix.clone() } else { Vec::new() };
        dup.extend_from_slice(&bytes);
        let more = match number.is_multiple_of(211) {
            true => shape.page_size / 4,
            false => number.wrapping_mul(0x9e37_79b9) as usize % (shape.duplicate_len_max + 1),
        };
        dup.resize(dup.len() + more, b'd');
        dup.truncate(shape.page_size / 4);
        dup
    }

    fn dups(&self, shape: &Shape, rng: &mut SmallRng) -> Vec<Vec<u8>> {
        let most = *[8, 60, 500].choose(rng).expect("some");
        let (from, step) = (rng.random_range(0..DUPLICATES), rng.random_range(1..4));
        let count = rng.random_range(0..most);
        (0..count).map(|n| self.dup(shape, (from + n * step) % DUPLICATES)).collect()
    }
}

/// One operation on one multimap, and on its model.
pub fn change(
    rng: &mut SmallRng,
    shape: &Shape,
    mut table: WriteMultimap<'_, [u8], [u8]>,
    sets: &mut Sets,
    sequence: &mut u64,
    places: &mut Places,
) {
    let key = sets.some_key(shape, rng);
    let dup = sets.dup(shape, rng.random_range(0..DUPLICATES));
    match rng.random_range(0..200) {
        0..70 => assert_eq!(table.insert(&key, &dup).expect("insert"), sets.insert(&key, &dup)),
        70..82 => {
            let dups = sets.dups(shape, rng);
            let added = table.insert_all(&key, dups.iter().map(|dup| &dup[..])).expect("insert");
            assert_eq!(added, dups.iter().filter(|dup| sets.insert(&key, dup)).count() as u64);
        }
        82..132 => {
            let dup = some_dup(rng, sets, &key, dup);
            assert_eq!(table.delete(&key, &dup).expect("delete"), sets.remove(&key, &dup));
        }
        132..137 => thin(rng, table, sets, &key),
        137..142 => {
            let gone = sets.keys.remove(&key).map_or(0, |dups| dups.len() as u64);
            assert_eq!(table.delete_all(&key).expect("delete"), gone);
        }
        142..146 => delete_range(rng, shape, table, sets, key),
        146..152 => append(table, sets, key, &dup),
        152..155 => load_sorted(rng, shape, table, sets),
        155..157 => {
            let count = rng.random_range(0..5);
            assert_eq!(table.next_sequence(count).expect("sequence"), *sequence);
            *sequence += count;
        }
        157..159 => refused(shape, table, sets, &key),
        162..167 => take_from_an_end(rng, table, sets, &key),
        167 => retain(rng, shape, table, sets),
        168..170 => extract(rng, shape, table, sets),
        170..173 => from_a_gap(rng, shape, table, sets),
        173..183 => places.go(rng, shape, &table, sets),
        183 => places.look(&table, sets),
        184..187 => places.delete(rng, &mut table, sets),
        159..162 => {
            let all: Vec<Pair> = sets.iter().collect();
            ranges(rng, shape, &table, sets, &all);
            neighbours(rng, shape, &table, sets, &all);
            walk(rng, shape, &table, sets, &all);
        }
        _ => look(&table, sets, &key, &some_dup(rng, sets, &key, dup)),
    }
}

/// A duplicate that the key has, mostly.
fn some_dup(rng: &mut SmallRng, sets: &Sets, key: &[u8], dup: Vec<u8>) -> Vec<u8> {
    match sets.count_of(key) {
        0 => dup,
        _ if rng.random_ratio(1, 5) => dup,
        count => sets.of(key).nth(rng.random_range(0..count) as usize).unwrap_or(dup),
    }
}

type Taken = (Owned<[u8]>, Owned<[u8]>);

fn bytes_of((key, dup): Taken) -> Pair {
    (key.into_bytes(), dup.into_bytes())
}

/// The first pair goes, or the last, of all or of a key.
fn take_from_an_end(
    rng: &mut SmallRng,
    mut table: WriteMultimap<'_, [u8], [u8]>,
    sets: &mut Sets,
    key: &[u8],
) {
    let of_key = |dup: Option<Vec<u8>>| dup.map(|dup| (key.to_vec(), dup));
    let (found, expected) = match rng.random_range(0..4) {
        0 => (table.pop_first().expect("pop").map(bytes_of), sets.iter().next()),
        1 => (table.pop_last().expect("pop").map(bytes_of), sets.last()),
        2 => (
            of_key(table.pop_first_of(key).expect("pop").map(Owned::into_bytes)),
            of_key(sets.of(key).next()),
        ),
        _ => (
            of_key(table.pop_last_of(key).expect("pop").map(Owned::into_bytes)),
            of_key(sets.of(key).next_back()),
        ),
    };
    assert_eq!(found, expected);
    expected.iter().for_each(|(key, dup)| assert!(sets.remove(key, dup)));
}

/// Two pairs, the second not before the first, and the pairs from one up to the other.
fn some_range(rng: &mut SmallRng, shape: &Shape, sets: &Sets) -> (Pair, Pair, Vec<Pair>) {
    let all: Vec<Pair> = sets.iter().collect();
    let (a, b) = (some_pair(rng, shape, sets, &all), some_pair(rng, shape, sets, &all));
    let (from, to) = (place(sets, &all, &a.0, &a.1), place(sets, &all, &b.0, &b.1));
    if from <= to { (a, b, all[from..to].to_vec()) } else { (b, a, all[to..from].to_vec()) }
}

/// What is not kept goes: of all, of a range of keys, or of a range of pairs.
fn retain(rng: &mut SmallRng, shape: &Shape, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets) {
    let salt: u32 = rng.random_range(2..30);
    let keep = |key: &[u8], dup: &[u8]| {
        let sum =
            key.iter().chain(dup).fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        !sum.is_multiple_of(salt)
    };
    let (low, high, within) = some_range(rng, shape, sets);
    let all: Vec<Pair> = sets.iter().collect();
    let (gone, asked) = match rng.random_range(0..4) {
        0 => (table.retain(keep), all),
        1 => {
            let keys = &low.0[..]..=&high.0[..];
            let asked = all.into_iter().filter(|pair| keys.contains(&&pair.0[..])).collect();
            (table.retain_range(keys, keep), asked)
        }
        _ => (table.retain_pairs(as_slice(&low)..as_slice(&high), keep), within),
    };
    let going: Vec<Pair> = asked.into_iter().filter(|(key, dup)| !keep(key, dup)).collect();
    assert_eq!(gone.expect("retain"), going.len() as u64);
    going.iter().for_each(|(key, dup)| assert!(sets.remove(key, dup)));
}

/// Some pairs of a range go, as they are asked for, from either end.
fn extract(rng: &mut SmallRng, shape: &Shape, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets) {
    let (low, high, within) = some_range(rng, shape, sets);
    let salt: usize = rng.random_range(1..4);
    let goes = |dup: &[u8]| dup.iter().map(|byte| usize::from(*byte)).sum::<usize>().is_multiple_of(salt);
    let mut expected = within.iter().filter(|(_, dup)| goes(dup));
    let mut extracted =
        table.extract_pairs_if(as_slice(&low)..as_slice(&high), |_, dup| goes(dup)).expect("extract");
    let mut gone = Vec::new();
    for _ in 0..rng.random_range(0..20) {
        let (found, pair) = match rng.random() {
            true => (extracted.next(), expected.next()),
            false => (extracted.next_back(), expected.next_back()),
        };
        assert_eq!(found.map(|pair| bytes_of(pair.expect("a pair"))).as_ref(), pair);
        let Some(pair) = pair else { break };
        gone.push(pair);
    }
    gone.iter().for_each(|(key, dup)| assert!(sets.remove(key, dup)));
}

/// Pairs go into a gap and out beside it, and none that does not belong there.
fn from_a_gap(rng: &mut SmallRng, shape: &Shape, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets) {
    let all: Vec<Pair> = sets.iter().collect();
    let from = some_pair(rng, shape, sets, &all);
    let mut at = place(sets, &all, &from.0, &from.1);
    let mut all = all;
    let bound = match rng.random_range(0..3) {
        0 => Bound::Included(as_slice(&from)),
        1 => {
            at += usize::from(sets.contains(&from.0, &from.1));
            Bound::Excluded(as_slice(&from))
        }
        _ => {
            at = 0;
            Bound::Unbounded
        }
    };
    let mut gap = table.lower_bound_mut(bound).expect("a gap");
    for _ in 0..rng.random_range(0..12) {
        let (before, behind) = (at.checked_sub(1).and_then(|at| all.get(at)), all.get(at));
        assert_eq!(gap.peek_prev().expect("sound"), before.map(as_slice));
        assert_eq!(gap.peek_next().expect("sound"), behind.map(as_slice));
        match rng.random_range(0..6) {
            0 => {
                assert_eq!(gap.next().expect("sound"), behind.map(as_slice));
                at += usize::from(behind.is_some());
            }
            1 => {
                assert_eq!(gap.prev().expect("sound"), before.map(as_slice));
                at -= usize::from(before.is_some());
            }
            2 => {
                assert_eq!(gap.remove_next().expect("remove").map(bytes_of).as_ref(), behind);
                if at < all.len() {
                    let (key, dup) = all.remove(at);
                    sets.remove(&key, &dup);
                }
            }
            way => {
                let key = before.or(behind).map_or_else(|| from.0.clone(), |pair| pair.0.clone());
                let dup = sets.dup(shape, rng.random_range(0..DUPLICATES));
                let belongs = place(sets, &all, &key, &dup) == at && !sets.contains(&key, &dup);
                let put = if way == 3 { gap.insert_after(&key, &dup) } else { gap.insert_before(&key, &dup) };
                match put {
                    Ok(()) => {
                        assert!(belongs && sets.insert(&key, &dup));
                        all.insert(at, (key, dup));
                        at += usize::from(way != 3);
                    }
                    Err(Error::NotSorted) => assert!(!belongs),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

/// All but a few duplicates of a key go, one by one from one end.
fn thin(rng: &mut SmallRng, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets, key: &[u8]) {
    let going = sets.count_of(key).saturating_sub(rng.random_range(0..30)) as usize;
    let dups: Vec<_> = match rng.random() {
        true => sets.of(key).take(going).collect(),
        false => sets.of(key).rev().take(going).collect(),
    };
    for dup in dups {
        assert!(table.delete(key, &dup).expect("delete"));
        sets.remove(key, &dup);
    }
}

fn delete_range(
    rng: &mut SmallRng,
    shape: &Shape,
    mut table: WriteMultimap<'_, [u8], [u8]>,
    sets: &mut Sets,
    key: Vec<u8>,
) {
    let other = sets.some_key(shape, rng);
    let (low, high) = if key < other { (key, other) } else { (other, key) };
    let range = (bound(rng, &low), bound(rng, &high));
    let slices = as_slices(&range);
    let is_within = |key: &[u8]| std::ops::RangeBounds::<[u8]>::contains(&slices, key);
    let before = sets.len();
    sets.keys.retain(|key, _| !is_within(key));
    assert_eq!(table.delete_range(slices).expect("delete range"), before - sets.len());
}

fn append(mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets, key: Vec<u8>, dup: &[u8]) {
    // Behind the last of the last key more often than behind a key.
    let key = sets.keys().last().cloned().unwrap_or(key);
    match table.append(&key, dup) {
        Ok(()) => {
            assert!(sets.is_behind_all(&key, dup));
            sets.insert(&key, dup);
        }
        Err(Error::NotSorted) => assert!(!sets.is_behind_all(&key, dup)),
        Err(other) => panic!("{other}"),
    }
}

fn load_sorted(rng: &mut SmallRng, shape: &Shape, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &mut Sets) {
    let mut loaded = Sets::new(sets.kind);
    let mut last = sets.keys().last().cloned();
    for _ in 0..rng.random_range(0..6) {
        let Some(key) = key_after(shape, last.as_ref()) else { break };
        for dup in sets.dups(shape, rng) {
            loaded.insert(&key, &dup);
        }
        last = Some(key);
    }
    let ends_badly = loaded.len() > 0 && rng.random_ratio(1, 4);
    let bad = ends_badly.then(|| loaded.last().expect("there are some"));
    let answer = table.load_sorted(loaded.iter().chain(bad).map(Ok));
    match ends_badly {
        true => assert!(matches!(answer, Err(Error::NotSorted)), "{answer:?}"),
        false => assert_eq!(answer.expect("load"), loaded.len()),
    }
    sets.keys.append(&mut loaded.keys);
}

/// What cannot be a pair changes nothing.
fn refused(shape: &Shape, mut table: WriteMultimap<'_, [u8], [u8]>, sets: &Sets, key: &[u8]) {
    let max = shape.page_size / 4;
    let long = table.insert(&vec![1; max + 1], &sets.dup(shape, 1)).expect_err("too long a key");
    assert!(matches!(long, Error::KeyTooLong { .. }), "{long}");
    let refused = table.insert(key, &vec![1; max + 1]).expect_err("too long");
    match sets.kind.len {
        None => assert!(matches!(refused, Error::DuplicateTooLong { .. }), "{refused}"),
        Some(_) => assert!(matches!(refused, Error::DuplicateLength { .. }), "{refused}"),
    }
    assert_eq!(table.len(), sets.len());
}

/// One key and one pair, read in every way.
fn look(table: &WriteMultimap<'_, [u8], [u8]>, sets: &Sets, key: &[u8], dup: &[u8]) {
    let reading = table.reading().expect("reading");
    assert_eq!(reading.len(), sets.len());
    assert_eq!(reading.contains(key, dup).expect("contains"), sets.contains(key, dup));
    assert_eq!(reading.contains_key(key).expect("contains"), sets.count_of(key) > 0);
    assert_eq!(reading.count_of(key).expect("count"), sets.count_of(key));
    assert_eq!(reading.first_of(key).expect("first"), sets.of(key).next().as_deref());
    assert_eq!(reading.last_of(key).expect("last"), sets.of(key).next_back().as_deref());
    let dups = reading.get(key).expect("get").map(|dup| dup.expect("sound").to_vec());
    assert!(dups.eq(sets.of(key)), "the duplicates of {key:02x?}");
    // The multimap answers as its reading does.
    assert_eq!(table.contains(key, dup).expect("contains"), sets.contains(key, dup));
    assert_eq!(table.contains_key(key).expect("contains"), sets.count_of(key) > 0);
    assert_eq!(table.count_of(key).expect("count"), sets.count_of(key));
    assert_eq!(table.first_of(key).expect("first"), sets.of(key).next().as_deref());
    assert_eq!(table.last_of(key).expect("last"), sets.of(key).next_back().as_deref());
    assert_eq!(table.get(key).expect("get").remaining(), sets.count_of(key));
    let bytes: usize = table.chunks(key).expect("chunks").map(|chunk| chunk.expect("sound").len()).sum();
    assert_eq!(bytes, sets.of(key).map(|dup| dup.len()).sum::<usize>());
}

/// The pairs beside one, and the keys.
fn neighbours(
    rng: &mut SmallRng,
    shape: &Shape,
    table: &WriteMultimap<'_, [u8], [u8]>,
    sets: &Sets,
    all: &[Pair],
) {
    let (key, dup) = some_pair(rng, shape, sets, all);
    let (at, over) = (place(sets, all, &key, &dup), usize::from(sets.contains(&key, &dup)));
    let pair = |at: Option<usize>| at.and_then(|at| all.get(at)).map(as_slice);
    assert_eq!(table.ceiling(&key, &dup).expect("ceiling"), pair(Some(at)));
    assert_eq!(table.higher(&key, &dup).expect("higher"), pair(Some(at + over)));
    assert_eq!(table.floor(&key, &dup).expect("floor"), pair((at + over).checked_sub(1)));
    assert_eq!(table.lower(&key, &dup).expect("lower"), pair(at.checked_sub(1)));
    assert_eq!(table.first().expect("first"), pair(Some(0)));
    assert_eq!(table.last().expect("last"), pair(all.len().checked_sub(1)));
    assert_eq!(table.nth(at as u64).expect("nth"), pair(Some(at)));
    let prefix = &key[..rng.random_range(0..=key.len())];
    let with_prefix = table.prefix(prefix).expect("prefix").map(|pair| pair.expect("sound"));
    assert!(
        with_prefix.eq(all.iter().filter(|(key, _)| key.starts_with(prefix)).map(as_slice)),
        "of {prefix:02x?}"
    );
    let (mut keys, mut expected) = (table.keys().expect("keys"), sets.keys());
    while let Some(key) = match rng.random() {
        true => keys.next().map(|key| (key, expected.next())),
        false => keys.next_back().map(|key| (key, expected.next_back())),
    } {
        assert_eq!(Some(key.0.expect("sound")), key.1.map(|key| &key[..]));
    }
    assert_eq!((expected.next(), keys.next().is_none(), keys.next_back().is_none()), (None, true, true));
}

/// Where a pair is among all, or would be.
fn place(sets: &Sets, all: &[Pair], key: &[u8], dup: &[u8]) -> usize {
    let dup = sets.turned(dup);
    all.partition_point(|(other, other_dup)| (&other[..], sets.turned(other_dup)) < (key, dup.clone()))
}

fn some_pair(rng: &mut SmallRng, shape: &Shape, sets: &Sets, all: &[Pair]) -> Pair {
    match rng.random() {
        true if !all.is_empty() => all[rng.random_range(0..all.len())].clone(),
        _ => (sets.some_key(shape, rng), sets.dup(shape, rng.random_range(0..DUPLICATES))),
    }
}

fn as_slice((key, dup): &Pair) -> (&[u8], &[u8]) {
    (key, dup)
}

/// The pairs between two, from either end.
fn ranges(
    rng: &mut SmallRng,
    shape: &Shape,
    table: &WriteMultimap<'_, [u8], [u8]>,
    sets: &Sets,
    all: &[Pair],
) {
    let (a, b) = (some_pair(rng, shape, sets, all), some_pair(rng, shape, sets, all));
    let (from, to) = (place(sets, all, &a.0, &a.1), place(sets, all, &b.0, &b.1));
    let expected = &all[from.min(to)..to];
    let reading = table.reading().expect("reading");
    let range = || reading.range_pairs((&a.0[..], &a.1[..])..(&b.0[..], &b.1[..])).expect("range");
    assert_eq!(range().remaining(), expected.len() as u64);
    let forwards = range().map(|pair| pair.expect("sound")).take(50);
    assert!(forwards.eq(expected.iter().take(50).map(as_slice)), "from {a:02x?} to {b:02x?}");
    let backwards = range().rev().map(|pair| pair.expect("sound")).take(50);
    assert!(backwards.eq(expected.iter().rev().take(50).map(as_slice)), "from {b:02x?} to {a:02x?}");
    assert_eq!(reading.rank(&a.0, &a.1).expect("rank"), from as u64);
    let keys = all.iter().filter(|(key, _)| (&a.0..&b.0).contains(&key)).count() as u64;
    assert_eq!(reading.count(&a.0[..]..&b.0[..]).expect("count"), keys);
}

/// A cursor goes about, and is always where one is that has just come there.
fn walk(rng: &mut SmallRng, shape: &Shape, table: &WriteMultimap<'_, [u8], [u8]>, sets: &Sets, all: &[Pair]) {
    let reading = table.reading().expect("reading");
    let mut cursor = reading.cursor();
    let (mut at, mut is_lost) = (None, false);
    for _ in 0..40 {
        let (key, dup) = some_pair(rng, shape, sets, all);
        let way = rng.random_range(0..20);
        let found = match way {
            0 => cursor.first(),
            1 => cursor.last(),
            2..5 => cursor.next(),
            5..7 => cursor.previous(),
            7 => cursor.next_in_key(),
            8 => cursor.previous_in_key(),
            9 => cursor.first_in_key(),
            10 => cursor.last_in_key(),
            11 => cursor.next_key(),
            12 => cursor.previous_key(),
            13 => cursor.seek_key(&key),
            14 => cursor.ceiling_key(&key),
            15 => cursor.seek(&key, &dup),
            16 => cursor.ceiling(&key, &dup),
            17 => cursor.higher(&key, &dup),
            18 => cursor.lower(&key, &dup),
            _ => cursor.floor(&key, &dup),
        };
        let is_there = sets.contains(&key, &dup);
        let (to, now) = match way {
            // Where a move has found nothing, nothing is next.
            2..5 | 11 if is_lost => (None, None),
            _ => arrive(all, at, way, &key, place(sets, all, &key, &dup), is_there),
        };
        assert_eq!(found.expect("sound"), to.map(|to| as_slice(&all[to])), "way {way} from {at:?}");
        // What goes on within a key does not move what is at none.
        is_lost = now.is_none() && (is_lost || !matches!(way, 7..11));
        at = now;
        let here = at.map(|at| as_slice(&all[at]));
        assert_eq!(cursor.current().expect("sound"), here);
        let Some((at, (key, dup))) = at.zip(here) else {
            assert_eq!(cursor.count_in_key(), 0);
            continue;
        };
        assert_eq!(cursor.count_in_key(), sets.count_of(key));
        assert_eq!(cursor.rank().expect("rank"), at as u64);
        let mut fresh = reading.cursor();
        assert_eq!(fresh.seek(key, dup).expect("sound"), here);
        assert_eq!(fresh.rank().expect("rank"), at as u64);
        assert_eq!(fresh.next().expect("sound"), all.get(at + 1).map(as_slice));
        assert_eq!(fresh.nth(at as u64).expect("sound"), here);
    }
}

/// What a move of a cursor at `at` finds, and where it is then; most often that is one. `place` is where the pair is that is sought,
/// or would be.
fn arrive(
    all: &[Pair],
    at: Option<usize>,
    way: u32,
    key: &[u8],
    place: usize,
    is_there: bool,
) -> (Option<usize>, Option<usize>) {
    let within = |at: usize| (at < all.len()).then_some(at);
    let first_of = |at: usize| all.partition_point(|(other, _)| *other < all[at].0);
    let behind = |at: usize| all.partition_point(|(other, _)| *other <= all[at].0);
    let of_key = all.partition_point(|(other, _)| &other[..] < key);
    let to = match way {
        0 => within(0),
        1 => all.len().checked_sub(1),
        2..5 => within(at.map_or(0, |at| at + 1)),
        5..7 => at.unwrap_or(all.len()).checked_sub(1),
        7 => at.filter(|at| at + 1 < behind(*at)).map(|at| at + 1),
        8 => at.filter(|at| *at > first_of(*at)).map(|at| at - 1),
        9 => at.map(first_of),
        10 => at.map(|at| behind(at) - 1),
        11 => within(at.map_or(0, behind)),
        12 => at.map_or(all.len(), first_of).checked_sub(1),
        13 => within(of_key).filter(|at| all[*at].0 == key),
        14 => within(of_key),
        15 => Some(place).filter(|_| is_there),
        16 => within(place),
        17 => within(place + usize::from(is_there)),
        18 => place.checked_sub(1),
        _ => (place + usize::from(is_there)).checked_sub(1),
    };
    // Within a key a cursor stays where it is if it cannot go on.
    (to, if matches!(way, 7 | 8) { to.or(at) } else { to })
}
