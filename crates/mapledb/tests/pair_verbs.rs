//! What a sorted set of pairs of the standard library can do, by a multimap against one: popping, retaining, extraction, gaps.
//!
//! The seed is printed, and alone replays: `MAPLE_SEED=7 cargo test --test pair_verbs`.

mod files;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use files::{TestFile, check, options};
use mapledb::{
    Codec, Duplicates, Error, Key, KeyOrder, Multimap, NamedOrder, Owned, Result, WriteMultimap, WriteTxn,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Pair = (Vec<u8>, Vec<u8>);
type Set = BTreeSet<Pair>;
type Bytes<'t> = WriteMultimap<'t, [u8], [u8]>;

fn seed() -> u64 {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = std::env::var("MAPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
    println!("MAPLE_SEED={seed}");
    seed
}

/// A few keys have most of the pairs, in trees; many have one or some in a sub-page.
fn pair(rng: &mut SmallRng, len: Option<usize>) -> Pair {
    let number: u8 = if rng.random_bool(0.6) { rng.random_range(0..3) } else { rng.random_range(0..90) };
    let dup: u32 = rng.random_range(0..if number < 3 { 1500 } else { 12 });
    let mut bytes = dup.to_be_bytes().to_vec();
    bytes.resize(len.unwrap_or(4 + dup as usize % 25), b'd');
    (vec![number; if number.is_multiple_of(4) { 300 } else { 2 }], bytes)
}

fn own(found: mapledb::Result<Option<(&[u8], &[u8])>>) -> Option<Pair> {
    found.expect("a sound multimap").map(|(key, dup)| (key.to_vec(), dup.to_vec()))
}

fn taken((key, dup): (Owned<[u8]>, Owned<[u8]>)) -> Pair {
    (key.into_bytes(), dup.into_bytes())
}

fn slices((key, dup): &Pair) -> (&[u8], &[u8]) {
    (key, dup)
}

/// Two bounds at pairs, of which the low one is not behind the high one unless they cross.
fn bounds(rng: &mut SmallRng, len: Option<usize>) -> (Bound<Pair>, Bound<Pair>) {
    let (a, b) = (pair(rng, len), pair(rng, len));
    let (a, b) = if a < b || rng.random_ratio(1, 10) { (a, b) } else { (b, a) };
    let bound = |rng: &mut SmallRng, pair| match rng.random_range(0..7) {
        0 => Bound::Unbounded,
        1..4 => Bound::Included(pair),
        _ => Bound::Excluded(pair),
    };
    (bound(rng, a), bound(rng, b))
}

fn holds((low, high): &(Bound<Pair>, Bound<Pair>), pair: &Pair) -> bool {
    let above = match low {
        Bound::Unbounded => true,
        Bound::Included(low) => pair >= low,
        Bound::Excluded(low) => pair > low,
    };
    let below = match high {
        Bound::Unbounded => true,
        Bound::Included(high) => pair <= high,
        Bound::Excluded(high) => pair < high,
    };
    above && below
}

fn is_kept(key: &[u8], dup: &[u8], salt: u32) -> bool {
    let sum =
        key.iter().chain(dup).fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    match salt {
        0 => false,
        1 => !key[0].is_multiple_of(3),
        salt => !sum.is_multiple_of(salt),
    }
}

/// What is not kept goes, each is asked about once and in order, and what is asked about is what lies in the range.
fn retain(rng: &mut SmallRng, len: Option<usize>, table: &mut Bytes<'_>, set: &mut Set) {
    let (range, salt) = (bounds(rng, len), rng.random_range(0..20));
    let mut asked = Vec::new();
    let keep = |key: &[u8], dup: &[u8]| {
        asked.push((key.to_vec(), dup.to_vec()));
        is_kept(key, dup, salt)
    };
    let slices = (range.0.as_ref().map(slices), range.1.as_ref().map(slices));
    let key = |bound: Bound<(&[u8], &[u8])>| bound.map(|(key, _)| (key.to_vec(), Vec::new()));
    let keys = (key(slices.0), key(slices.1));
    let of_key = |bound: &'_ Bound<Pair>| bound.clone().map(|(key, _)| key);
    let by = rng.random_range(0..8);
    let gone = match by {
        0 => table.retain(keep),
        1 | 2 => {
            let (low, high) = (of_key(&keys.0), of_key(&keys.1));
            table.retain_range((low.as_ref().map(|key| &key[..]), high.as_ref().map(|key| &key[..])), keep)
        }
        _ => table.retain_pairs(slices, keep),
    };
    let within = |pair: &Pair| match by {
        0 => true,
        1 | 2 => holds(&keys, &(pair.0.clone(), Vec::new())),
        _ => holds(&range, pair),
    };
    let expected: Vec<Pair> = set.iter().filter(|pair| within(pair)).cloned().collect();
    assert_eq!(asked, expected);
    let before = set.len();
    set.retain(|pair| !within(pair) || is_kept(&pair.0, &pair.1, salt));
    assert_eq!(gone.expect("retain"), (before - set.len()) as u64);
}

/// Those that are chosen go as they are asked for, from either end, and no others.
fn extract(rng: &mut SmallRng, len: Option<usize>, table: &mut Bytes<'_>, set: &mut Set) {
    let range = bounds(rng, len);
    let salt = rng.random_range(2..6);
    let choose = |key: &[u8], dup: &[u8]| !is_kept(key, dup, salt);
    let mut expected: Vec<Pair> =
        set.iter().filter(|pair| holds(&range, pair) && choose(&pair.0, &pair.1)).cloned().collect();
    let slices = (range.0.as_ref().map(slices), range.1.as_ref().map(slices));
    let mut extracted = table.extract_pairs_if(slices, choose).expect("extract");
    for _ in 0..rng.random_range(0..30) {
        let (found, pair) = match rng.random() {
            true if !expected.is_empty() => (extracted.next(), Some(expected.remove(0))),
            true => (extracted.next(), None),
            false => (extracted.next_back(), expected.pop()),
        };
        assert_eq!(found.map(|pair| taken(pair.expect("a pair"))), pair);
        let Some(pair) = pair else { break };
        assert!(set.remove(&pair));
    }
}

/// Looks and changes from a gap.
fn at_a_gap(rng: &mut SmallRng, len: Option<usize>, table: &mut Bytes<'_>, set: &mut Set) {
    let (low, high) = bounds(rng, len);
    let is_lower = rng.random();
    let bound = if is_lower { &low } else { &high };
    let mut at = match (bound, is_lower) {
        (Bound::Unbounded, true) => 0,
        (Bound::Unbounded, false) => set.len(),
        (Bound::Included(pair), true) | (Bound::Excluded(pair), false) => set.range(..pair).count(),
        (Bound::Excluded(pair), true) | (Bound::Included(pair), false) => set.range(..=pair).count(),
    };
    let slices = bound.as_ref().map(slices);
    let reading = match is_lower {
        true => table.lower_bound(slices),
        false => table.upper_bound(slices),
    };
    let mut look = reading.expect("a gap");
    let neighbour = |set: &Set, at: Option<usize>| at.and_then(|at| set.iter().nth(at)).cloned();
    let mut place = at;
    for _ in 0..6 {
        let (before, behind) = (neighbour(set, place.checked_sub(1)), neighbour(set, Some(place)));
        assert_eq!((own(look.peek_prev()), own(look.peek_next())), (before.clone(), behind.clone()));
        match rng.random() {
            true => {
                assert_eq!(own(look.next()), behind);
                place += usize::from(behind.is_some());
            }
            false => {
                assert_eq!(own(look.prev()), before);
                place -= usize::from(before.is_some());
            }
        }
    }
    drop(look);
    let gap = if is_lower { table.lower_bound_mut(slices) } else { table.upper_bound_mut(slices) };
    let mut gap = gap.expect("a gap");
    for _ in 0..10 {
        let (before, behind) = (neighbour(set, at.checked_sub(1)), neighbour(set, Some(at)));
        assert_eq!((own(gap.peek_prev()), own(gap.peek_next())), (before.clone(), behind.clone()));
        match rng.random_range(0..8) {
            0 => {
                assert_eq!(own(gap.next()), behind);
                at += usize::from(behind.is_some());
            }
            1 => {
                assert_eq!(own(gap.prev()), before);
                at -= usize::from(before.is_some());
            }
            2 => {
                assert_eq!(gap.remove_next().expect("remove").map(taken), behind);
                behind.iter().for_each(|pair| assert!(set.remove(pair)));
            }
            3 => {
                assert_eq!(gap.remove_prev().expect("remove").map(taken), before);
                before.iter().for_each(|pair| assert!(set.remove(pair)));
                at -= usize::from(before.is_some());
            }
            way => {
                // Most often one that belongs there or close by.
                let mut new = pair(rng, len);
                if let Some(before) = before.as_ref().filter(|_| rng.random_ratio(3, 4)) {
                    let number = u32::from_be_bytes(before.1[..4].try_into().expect("four bytes"));
                    new = before.clone();
                    new.1[..4].copy_from_slice(&(number + rng.random_range(0..3)).to_be_bytes());
                }
                let belongs = before.as_ref().is_none_or(|pair| *pair < new)
                    && behind.as_ref().is_none_or(|pair| new < *pair);
                let put = match way {
                    4 | 5 => gap.insert_after(&new.0, &new.1),
                    _ => gap.insert_before(&new.0, &new.1),
                };
                match put {
                    Ok(()) => {
                        assert!(belongs && set.insert(new));
                        at += usize::from(way > 5);
                    }
                    Err(Error::NotSorted) => assert!(!belongs),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

/// From an end of all, or of a key.
fn pop(rng: &mut SmallRng, len: Option<usize>, table: &mut Bytes<'_>, set: &mut Set) {
    let key = pair(rng, len).0;
    let of_key = |dup: Option<Owned<[u8]>>| dup.map(|dup| (key.clone(), dup.into_bytes()));
    let (found, expected) = match rng.random_range(0..4) {
        0 => (table.pop_first().expect("pop").map(taken), set.first().cloned()),
        1 => (table.pop_last().expect("pop").map(taken), set.last().cloned()),
        2 => (of_key(table.pop_first_of(&key).expect("pop")), set.iter().find(|pair| pair.0 == key).cloned()),
        _ => (of_key(table.pop_last_of(&key).expect("pop")), set.iter().rfind(|pair| pair.0 == key).cloned()),
    };
    assert_eq!(found, expected);
    expected.iter().for_each(|pair| assert!(set.remove(pair)));
}

#[test]
fn every_verb_over_pairs_does_what_that_of_a_sorted_set_does() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let file = TestFile::new();
    let env = file.open(options());
    for len in [None, Some(6)] {
        let name = if len.is_some() { "packed" } else { "any" };
        let duplicates = Duplicates { order: KeyOrder::BYTEWISE, len };
        let mut set = Set::new();
        for _ in 0..8 {
            let mut txn = env.write().expect("write");
            let mut table = txn.open_multimap_as(name, "bytes", "bytes", None, duplicates).expect("open");
            for _ in 0..300 {
                match rng.random_range(0..12) {
                    0..5 => {
                        for _ in 0..rng.random_range(0..60) {
                            let pair = pair(&mut rng, len);
                            assert_eq!(table.insert(&pair.0, &pair.1).expect("insert"), set.insert(pair));
                        }
                    }
                    5 => retain(&mut rng, len, &mut table, &mut set),
                    6..8 => extract(&mut rng, len, &mut table, &mut set),
                    8..10 => at_a_gap(&mut rng, len, &mut table, &mut set),
                    _ => pop(&mut rng, len, &mut table, &mut set),
                }
                assert_eq!(table.len(), set.len() as u64);
            }
            txn.commit().expect("commit");
        }
        let txn = env.read().expect("read");
        let table = txn.multimap(&Multimap::untyped(name)).expect("open");
        assert!(table.iter().expect("iter").map(|pair| pair.expect("a pair")).eq(set.iter().map(slices)));
        drop(txn);
        check(&env);
    }
}

#[test]
fn what_a_predicate_keeps_copies_no_page() {
    const NUMBERS: Multimap<'static, str, u64> = Multimap::new("numbers");
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut numbers = txn.open_multimap(&NUMBERS).expect("open");
    for key in ["ash", "maple", "oak", "pine"] {
        numbers.insert_all(key, 0..5000).expect("insert");
    }
    txn.commit().expect("commit");
    let after = |act: &dyn Fn(&mut WriteMultimap<'_, str, u64>) -> u64| {
        let before = env.metrics().get("pages_written").expect("counted");
        let mut txn = env.write().expect("write");
        let gone = act(&mut txn.multimap(&NUMBERS).expect("open"));
        txn.commit().expect("commit");
        (gone, env.metrics().get("pages_written").expect("counted") - before)
    };
    let (gone, pages) = after(&|numbers| numbers.retain(|_, _| true).expect("retain"));
    assert!(gone == 0 && pages <= 3, "nothing goes, {pages} pages written");
    let (gone, pages) = after(&|numbers| numbers.retain(|_, number| number != 2500).expect("retain"));
    assert!(gone == 4 && pages <= 4 * 2 + 5, "{gone} gone, {pages} pages written");
    let (gone, pages) = after(&|numbers| numbers.retain(|key, _| key != "oak").expect("retain"));
    assert!(
        gone == 4999 && pages <= 6,
        "a key that goes whole is cut out: {gone} gone, {pages} pages written"
    );
    check(&env);
}

#[test]
fn a_pair_that_does_not_decode_is_kept_and_told() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    const WORDS: Multimap<'static, str, str> = Multimap::new("words");
    txn.open_multimap(&WORDS).expect("open").insert_all("k", ["a", "b", "c"]).expect("insert");
    txn.multimap(&Multimap::untyped("words")).expect("open").insert(b"k", b"b\xff").expect("insert");
    let mut words = txn.multimap(&WORDS).expect("open");
    assert!(matches!(words.retain(|_, _| false), Err(Error::Decode { .. })));
    assert_eq!(words.len(), 1);
    assert!(matches!(
        words.pop_first().expect("pop").expect("it is there").1.get(),
        Err(Error::Decode { .. })
    ));
    assert!(
        words.is_empty()
            && words.pop_first().expect("pop").is_none()
            && words.pop_last().expect("pop").is_none()
    );
    txn.commit().expect("commit");
    check(&env);
}

/// Text in small letters; other text has no bytes.
struct Small(&'static str);

impl Codec for Small {
    type Item<'a> = &'a str;

    fn type_name() -> String {
        "small".to_owned()
    }

    fn with_bytes<R>(text: &Small, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        match text.0.bytes().all(|byte| byte.is_ascii_lowercase()) {
            true => act(text.0.as_bytes()),
            false => Err(Error::Encode { name: Small::type_name(), cause: "a capital".to_owned() }),
        }
    }

    fn decode(bytes: &[u8]) -> Result<&str> {
        str::from_utf8(bytes).map_err(|_| Error::Decode { expected: Small::type_name(), len: bytes.len() })
    }
}

impl Key for Small {}

#[test]
fn what_comes_before_a_value_that_is_refused_is_in() {
    const WORDS: Multimap<'static, u8, str> = Multimap::new("words");
    const SMALL: Multimap<'static, u8, Small> = Multimap::new("small");
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("begin");
    let mut words = txn.open_multimap(&WORDS).expect("open");
    let long = "long".repeat(1000);
    for held in [0u64, 1000] {
        let key = u8::from(held > 0);
        words.insert_all(&key, (0..held).map(|n| format!("word {n}"))).expect("insert");
        let refused = words.insert_all(&key, ["ash", "elm", &long, "oak"]).expect_err("too long");
        assert!(matches!(refused, Error::DuplicateTooLong { len: 4000, .. }), "{refused}");
        assert_eq!(words.reading().expect("read").count_of(&key).expect("count"), held + 2);
    }
    let mut small = txn.open_multimap(&SMALL).expect("open");
    let refused = small.insert_all(&1, ["ash", "elm", "Oak", "yew"].map(Small)).expect_err("a capital");
    assert!(matches!(refused, Error::Encode { .. }), "{refused}");
    let all = small.iter().expect("range").map(|pair| pair.expect("a pair").1);
    assert_eq!(all.collect::<Vec<_>>(), ["ash", "elm"]);
    txn.commit().expect("commit");
    check(&env);
}

struct Forwards;

impl NamedOrder for Forwards {
    const NAME: &'static str = "mine/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }
}

/// Another order under the same name: a program that was changed, and should have changed that, too.
struct Backwards;

impl NamedOrder for Backwards {
    const NAME: &'static str = "mine/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }
}

/// What a step answers about the multimap of which an order has changed under its name; at an end it answers `None`.
type Step = fn(&mut Bytes<'_>) -> Result<Option<()>>;

#[test]
fn in_an_order_that_has_changed_what_is_not_found_is_not_taken() {
    let seed = seed();
    let steps: [Step; 3] = [
        |table| Ok(table.pop_first()?.map(drop)),
        |table| Ok(table.pop_last()?.map(drop)),
        |table| table.retain(|_, dup| dup[0] % 3 == 0).map(|_| None),
    ];
    let mut refused = 0;
    for (at, step) in steps.into_iter().cycle().take(60).enumerate() {
        let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(at as u64));
        let of_keys = rng.random_bool(0.5);
        let keys = |named| if of_keys { named } else { KeyOrder::BYTEWISE };
        let (right, wrong) = (KeyOrder::named::<Forwards>(), KeyOrder::named::<Backwards>());
        let file = TestFile::new();
        let opened = |txn: &mut WriteTxn, order, act: &mut dyn FnMut(&mut Bytes<'_>) -> Result<()>| {
            let duplicates = Duplicates { order, len: None };
            act(&mut txn.open_multimap_as("m", "bytes", "bytes", Some(keys(order)), duplicates)?)
        };
        let mut set = Set::new();
        let env = file.open(options().order(right));
        let mut txn = env.write().expect("begin");
        for _ in 0..rng.random_range(2..200) {
            let key = rng.random_range(0..20u32).to_be_bytes().to_vec();
            let dup = rng.random::<u64>().to_le_bytes()[..rng.random_range(1..8)].to_vec();
            opened(&mut txn, right, &mut |table| table.insert(&key, &dup).map(drop)).expect("insert");
            set.insert((key, dup));
        }
        txn.commit().expect("commit");
        env.close().expect("close");

        let env = file.open(options().order(wrong));
        let mut txn = env.write().expect("begin");
        let mut steps_max = set.len() + 1;
        let done = opened(&mut txn, wrong, &mut |table| {
            while step(table)?.is_some() {
                steps_max = steps_max.checked_sub(1).expect("no pair is taken twice");
            }
            Ok(())
        });
        match done {
            Ok(()) => _ = txn.commit().expect("commit"),
            Err(error) => {
                assert!(matches!(error, Error::OrderBroken), "{error}");
                assert!(matches!(txn.commit(), Err(Error::TxnUnusable)), "half of it may have been done");
                refused += 1;
            }
        }
        env.close().expect("close");
        check(&file.open(options().order(right)));
    }
    assert!(refused > 0, "not one of 60 was refused");
}
