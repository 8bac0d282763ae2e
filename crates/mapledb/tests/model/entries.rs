//! Operations on the entries of a table, beside a sorted map.

use std::ops::Bound;
use std::rc::Rc;

use mapledb::{Entry, Error, Owned, WriteTable};
use rand::Rng;
use rand::rngs::SmallRng;

use super::{Map, Model, Shape};

type Pair = (Vec<u8>, Rc<[u8]>);
type Bytes<'t> = WriteTable<'t, [u8], [u8]>;

/// One operation on one table, and on its model.
pub fn change(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, model: &mut Model) {
    let key = shape.key(rng);
    let entries = &mut model.entries;
    match rng.random_range(0..100) {
        0..38 => {
            let value = shape.value(rng);
            table.put(&key, &value).expect("put");
            entries.insert(key, value);
        }
        38..62 => assert_eq!(table.delete(&key).expect("delete"), entries.remove(&key).is_some()),
        62..66 => {
            let value = shape.value(rng);
            let is_new = table.put_new(&key, &value).expect("put");
            assert_eq!(is_new, !entries.contains_key(&key));
            entries.entry(key).or_insert(value);
        }
        66..70 => {
            let value = shape.value(rng);
            let old = table.replace(&key, &value).expect("replace");
            assert_eq!(old.as_deref(), entries.insert(key, value).as_deref());
        }
        70..74 => compare_and_set(rng, shape, table, entries, key),
        74..77 => {
            let value = shape.value(rng);
            let fill = |room: &mut [u8]| {
                assert!(room.iter().all(|byte| *byte == 0), "room is zero before it is filled");
                room.copy_from_slice(&value);
            };
            table.reserve(&key, value.len() as u64, fill).expect("reserve");
            entries.insert(key, value);
        }
        77..80 => delete_range(rng, shape, table, entries, key),
        80 => {
            let salt: usize = rng.random_range(2..6);
            let keep = |key: &[u8], value: &[u8]| !(key.len() + value.len()).is_multiple_of(salt);
            let gone = table.retain(keep).expect("retain");
            let before = entries.len();
            entries.retain(|key, value| keep(key, value));
            assert_eq!(gone, (before - entries.len()) as u64);
        }
        81..84 => append(rng, shape, table, entries),
        84 => load_sorted(rng, shape, table, entries),
        85 => {
            let count = rng.random_range(0..5);
            assert_eq!(table.next_sequence(count).expect("sequence"), model.sequence);
            model.sequence += count;
        }
        86 => {
            let max = shape.page_size / 4;
            let refused = table.put(&vec![1; max + 1], b"").expect_err("too long");
            assert!(matches!(refused, Error::KeyTooLong { len, max: most } if len == max + 1 && most == max));
        }
        87..92 => take_or_enter(rng, shape, table, entries, key),
        _ => look(rng, shape, table, entries, &key),
    }
}

/// The verbs of sorted maps that answer what they take out or find.
fn take_or_enter(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    type Taken = (Owned<[u8]>, Owned<[u8]>);
    let taken = |(key, value): Taken| -> Pair { (key.into_bytes(), value.into_bytes().into()) };
    match rng.random_range(0..6) {
        0 => assert_eq!(table.pop_first().expect("pop").map(taken), entries.pop_first()),
        1 => assert_eq!(table.pop_last().expect("pop").map(taken), entries.pop_last()),
        2 => {
            let value = table.take(&key).expect("take").map(|value| Rc::from(value.into_bytes()));
            assert_eq!(value, entries.remove(&key));
        }
        3 => {
            let value = shape.value(rng);
            let found = table.get_or_insert(&key, &value).expect("get or insert");
            assert_eq!(found, &entries.entry(key).or_insert(value)[..]);
        }
        4 => {
            let value = shape.value(rng);
            let entry = table.entry(&key).expect("entry").and_modify(|_| &value[..]).expect("modify");
            let is_there = matches!(entry, Entry::Occupied(_));
            assert_eq!(is_there, entries.contains_key(&key));
            if is_there {
                entries.insert(key, value);
            }
        }
        _ => {
            let (low, high, is_fair) = bounds(rng, shape, entries, key);
            let range = (low, high);
            let slices = as_slices(&range);
            let salt: usize = rng.random_range(1..6);
            let goes = |value: &[u8]| value.len().is_multiple_of(salt);
            let expected: Vec<_> = match is_fair {
                true => entries.range::<[u8], _>(slices).filter(|(_, value)| goes(value)).take(20).collect(),
                false => Vec::new(),
            };
            let expected: Vec<Pair> =
                expected.into_iter().map(|(key, value)| (key.clone(), Rc::clone(value))).collect();
            let extracted = table.extract_if(slices, |_, value| goes(value)).expect("extract").take(20);
            let extracted: Vec<_> = extracted.map(|entry| taken(entry.expect("an entry"))).collect();
            assert_eq!(extracted, expected);
            extracted.iter().for_each(|(key, _)| drop(entries.remove(key)));
        }
    }
}

fn compare_and_set(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    let was = entries.get(&key).cloned();
    let new = rng.random_ratio(3, 4).then(|| shape.value(rng));
    let expected = if rng.random_ratio(3, 4) { was.clone() } else { Some(b"not this one"[..].into()) };
    let set = table.compare_and_set(&key, expected.as_deref(), new.as_deref()).expect("compare and set");
    assert_eq!(set, was == expected);
    match (set, new) {
        (true, Some(new)) => drop(entries.insert(key, new)),
        (true, None) => drop(entries.remove(&key)),
        (false, _) => {}
    }
}

pub fn bound(rng: &mut SmallRng, key: &[u8]) -> Bound<Vec<u8>> {
    match rng.random_range(0..8) {
        0 => Bound::Unbounded,
        1..4 => Bound::Excluded(key.to_vec()),
        _ => Bound::Included(key.to_vec()),
    }
}

pub fn as_slices(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]))
}

/// Two bounds, most often close to each other, and whether a `BTreeMap` takes them: it panics where they cross.
fn bounds(
    rng: &mut SmallRng,
    shape: &Shape,
    entries: &Map,
    key: Vec<u8>,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>, bool) {
    let other = match rng.random_ratio(3, 4) {
        true => entries.range(key.clone()..).nth(rng.random_range(0..300)).map(|(key, _)| key.clone()),
        false => None,
    };
    let other = other.unwrap_or_else(|| shape.key(rng));
    let is_swapped = other < key && rng.random_ratio(9, 10);
    let (low, high) = if is_swapped { (other, key) } else { (key, other) };
    let (low_bound, high_bound) = (bound(rng, &low), bound(rng, &high));
    let is_unbounded = low_bound == Bound::Unbounded || high_bound == Bound::Unbounded;
    let both_exclude = matches!((&low_bound, &high_bound), (Bound::Excluded(_), Bound::Excluded(_)));
    let is_fair = is_unbounded || low < high || low == high && !both_exclude;
    (low_bound, high_bound, is_fair)
}

fn delete_range(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map, key: Vec<u8>) {
    let (low, high, is_fair) = bounds(rng, shape, entries, key);
    let range = (low, high);
    let slices = as_slices(&range);
    let gone = table.delete_range((slices.0.as_ref().map(|k| *k), slices.1.as_ref().map(|k| *k)));
    let keys: Vec<_> = match is_fair {
        true => entries.range::<[u8], _>(slices).map(|(key, _)| key.clone()).collect(),
        false => Vec::new(),
    };
    assert_eq!(gone.expect("delete range"), keys.len() as u64);
    keys.iter().for_each(|key| drop(entries.remove(key)));
}

/// The key after every other: the last one with its last byte raised, or one byte longer.
pub fn key_after(shape: &Shape, last: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let Some(last) = last else { return Some(Vec::new()) };
    let mut key = last.clone();
    match key.last_mut() {
        Some(byte) if *byte < 255 => *byte += 1,
        _ if last.len() < shape.page_size / 4 => key.push(0),
        _ => return None,
    }
    Some(key)
}

fn append(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map) {
    let Some(key) = key_after(shape, entries.keys().next_back()) else { return };
    if let Some((last, _)) = entries.last_key_value() {
        assert!(matches!(table.append(last, b""), Err(Error::NotSorted)));
    }
    let value = shape.value(rng);
    table.append(&key, &value).expect("append");
    entries.insert(key, value);
}

fn load_sorted(rng: &mut SmallRng, shape: &Shape, mut table: Bytes<'_>, entries: &mut Map) {
    let mut pairs: Vec<Pair> = Vec::new();
    for _ in 0..rng.random_range(0..200) {
        let Some(key) = key_after(shape, entries.keys().next_back()) else { break };
        let value = shape.value(rng);
        entries.insert(key.clone(), Rc::clone(&value));
        pairs.push((key, value));
    }
    let ends_badly = rng.random_ratio(1, 4) && !entries.is_empty();
    let stored = pairs.len() as u64;
    let bad = ends_badly.then(|| Ok((Vec::new(), Rc::from(&b"not in order"[..]))));
    let loaded = table.load_sorted(pairs.into_iter().map(Ok).chain(bad));
    match ends_badly {
        true => assert!(matches!(loaded, Err(Error::NotSorted)), "{loaded:?}"),
        false => assert_eq!(loaded.expect("load"), stored),
    }
}

/// Every way of reading what the transaction has changed so far.
fn look(rng: &mut SmallRng, shape: &Shape, table: Bytes<'_>, entries: &Map, key: &[u8]) {
    type Found<'m> = Option<(&'m Vec<u8>, &'m Rc<[u8]>)>;
    let pair = |found: Found<'_>| found.map(|(key, value)| -> Pair { (key.clone(), Rc::clone(value)) });
    type Answer<'t> = Result<Option<(&'t [u8], &'t [u8])>, Error>;
    let own = |found: Answer<'_>| {
        found.expect("read").map(|(key, value)| -> Pair { (key.to_vec(), Rc::from(value)) })
    };
    let (above, below) = ((Bound::Excluded(key), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(key)));
    let reading = table.reading().expect("reading");
    assert_eq!(table.get(key).expect("get"), entries.get(key).map(|value| &value[..]));
    let many: Vec<_> = entries.keys().rev().step_by(7).take(40).map(|key| &key[..]).chain([key]).collect();
    let values: Vec<_> = many.iter().map(|key| entries.get(*key).map(|value| &value[..])).collect();
    assert_eq!(table.multi_get(many).expect("multi_get"), values);
    assert_eq!(own(reading.first()), pair(entries.first_key_value()));
    assert_eq!(own(reading.last()), pair(entries.last_key_value()));
    assert_eq!(own(reading.higher(key)), pair(entries.range::<[u8], _>(above).next()));
    assert_eq!(own(reading.lower(key)), pair(entries.range::<[u8], _>(below).next_back()));
    let floor = entries.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
    let ceiling = entries.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).next();
    assert_eq!(own(reading.floor(key)), pair(floor));
    assert_eq!(own(reading.ceiling(key)), pair(ceiling));
    let rank = entries.range::<[u8], _>(below).count();
    assert_eq!(reading.rank(key).expect("rank"), rank as u64);
    assert_eq!(own(reading.nth(rank as u64)), pair(ceiling));

    let (low, high, is_fair) = bounds(rng, shape, entries, key.to_vec());
    let range = (low, high);
    let expected: Vec<_> = match is_fair {
        true => entries.range::<[u8], _>(as_slices(&range)).collect(),
        false => Vec::new(),
    };
    let slices = as_slices(&range);
    assert_eq!(reading.count(slices).expect("count"), expected.len() as u64);
    let parts = reading.range(slices).and_then(|range| range.split(rng.random_range(1..5))).expect("split");
    let lens: Vec<_> = parts.iter().map(|part| part.remaining().expect("remaining")).collect();
    assert_eq!(lens.iter().sum::<u64>(), expected.len() as u64);
    assert!(
        lens.iter().max().zip(lens.iter().min()).is_some_and(|(max, min)| max - min <= 1),
        "uneven: {lens:?}"
    );
    for (part, from) in parts.into_iter().zip(lens.iter().scan(0, |sum, len| {
        *sum += len;
        Some(*sum - len)
    })) {
        let first = part.into_iter().next().transpose().expect("sound");
        let wanted = (lens.iter().sum::<u64>() > from).then(|| expected[from as usize]);
        assert!(first.is_none() || own(Ok(first)) == pair(wanted), "a part begins elsewhere");
    }
    let mut found = reading.range(slices).expect("range");
    let (mut left, mut right) = (0, expected.len());
    for _ in 0..expected.len().min(40) {
        let (entry, at) = match rng.random() {
            true => (found.next(), left),
            false => (found.next_back(), right - 1),
        };
        let (key, value) = entry.expect("an entry").expect("sound");
        assert_eq!((key, value), (&expected[at].0[..], &expected[at].1[..]));
        if at == left {
            left += 1
        } else {
            right = at
        }
        if left == right {
            assert!(found.next().is_none() && found.next_back().is_none());
            break;
        }
    }
}
