//! Multimaps against sorted lists of pairs, over pages in memory.

mod bed;

use std::ops::Bound;

use bed::Bed;

use mapledb_format::node::key_max;
use mapledb_format::tree_record::{Duplicates, OrderId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Loader, PairBound, append, insert, insert_all};
use crate::error::Error;

type Bytes = Vec<u8>;
type Pairs = Vec<(Bytes, Bytes)>;

const KINDS: [Duplicates; 8] = [
    Duplicates { order: OrderId::Bytewise, len: 0 },
    Duplicates { order: OrderId::Bytewise, len: 8 },
    Duplicates { order: OrderId::Integer, len: 4 },
    Duplicates { order: OrderId::Reverse, len: 0 },
    Duplicates { order: OrderId::Reverse, len: 3 },
    Duplicates { order: OrderId::Bytewise, len: 1000 },
    Duplicates { order: OrderId::Named, len: 0 },
    Duplicates { order: OrderId::Named, len: 7 },
];

/// A bound at a pair, or at a key, or none.
fn bound<'k>(rng: &mut SmallRng, key: &'k [u8], dup: &'k [u8]) -> Bound<PairBound<'k>> {
    let dup = rng.random_ratio(9, 10).then_some(dup);
    match rng.random_range(0..9) {
        0 => Bound::Unbounded,
        1..5 => Bound::Included(PairBound { key, dup }),
        _ => Bound::Excluded(PairBound { key, dup }),
    }
}

/// How long and how many keys and duplicates are.
struct Shape {
    kind: Duplicates,
    keys: u32,
    key_len: usize,
    dups: u32,
    dup_len: usize,
}

impl Shape {
    fn of(kind: Duplicates, rng: &mut SmallRng) -> Shape {
        Shape {
            kind,
            keys: [3, 40, 400][rng.random_range(0..3)],
            key_len: [4, 30, 700][rng.random_range(0..3)],
            dups: [3, 60, 3000][rng.random_range(0..3)],
            dup_len: [4, 40, 900][rng.random_range(0..3)],
        }
    }

    fn key(&self, rng: &mut SmallRng) -> Bytes {
        let mut key = rng.random_range(0..self.keys).to_be_bytes().to_vec();
        key.resize(self.key_len.max(key.len()), b'k');
        key
    }

    fn dup(&self, rng: &mut SmallRng) -> Bytes {
        // One key has more than the others.
        let number = rng.random_range(0..self.dups);
        let mut dup = number.to_be_bytes().to_vec();
        match usize::from(self.kind.len) {
            0 => dup.resize(4 + number as usize % self.dup_len, b'd'),
            len if len < 4 => dup = dup[4 - len..].to_vec(),
            len => dup.resize(len, b'd'),
        }
        dup
    }
}

fn run(seed: u64, operations: u32) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let kind = KINDS[seed as usize % KINDS.len()];
    let shape = Shape::of(kind, &mut rng);
    let mut bed = Bed::new(kind);
    for _ in 0..operations {
        let (key, dup) = (shape.key(&mut rng), shape.dup(&mut rng));
        match rng.random_range(0..100) {
            0..60 => bed.insert(&key, &dup),
            60 => {
                let other = (shape.key(&mut rng), shape.dup(&mut rng));
                let key_too = if rng.random() { &key } else { &other.0 };
                let (low, high) = (bound(&mut rng, key_too, &dup), bound(&mut rng, &other.0, &other.1));
                bed.retain(low, high, rng.random_range(0..9));
            }
            61 => bed.pop(rng.random()),
            62..85 => bed.delete(&key, &dup),
            85 => bed.delete_key(&key),
            86..90 => {
                let many: Vec<_> = (0..rng.random_range(0..200)).map(|_| shape.dup(&mut rng)).collect();
                let order = bed.order;
                let added = insert_all(&mut bed.change(), order, &key, many.iter().map(|dup| &dup[..])).unwrap();
                let expected = many.iter().filter(|dup| bed.put_in_model(&key, dup)).count();
                assert_eq!(added, expected as u64);
            }
            90 => {
                let other = shape.key(&mut rng);
                let bounds = (Bound::Included(&key[..]), Bound::Excluded(&other[..]));
                let gone = bed.change().delete_range(bounds.0, bounds.1).unwrap();
                let before = bed.pairs().len();
                bed.model.retain(|k, _| k < &key || k >= &other);
                assert_eq!(gone, (before - bed.pairs().len()) as u64);
            }
            91..94 => {
                let other = (shape.key(&mut rng), shape.dup(&mut rng));
                let key_too = if rng.random() { &key } else { &other.0 };
                let (low, high) = (bound(&mut rng, key_too, &dup), bound(&mut rng, &other.0, &other.1));
                bed.delete_range(low, high);
            }
            94 | 95 => bed.commit(),
            96 | 97 => {
                let other = (shape.key(&mut rng), shape.dup(&mut rng));
                bed.probe(&key, &dup, (&other.0, &other.1));
            }
            _ => {
                let last = bed.pairs().pop();
                let order = bed.order;
                let greater = last.is_none_or(|(k, d)| k.cmp(&key).then_with(|| order.compare(&d, &dup)).is_lt());
                match append(&mut bed.change(), order, &key, &dup) {
                    Ok(()) => assert!(greater && bed.put_in_model(&key, &dup)),
                    Err(error) => assert!(!greater && matches!(error, Error::NotSorted), "{error}"),
                }
            }
        }
    }
    bed.commit();
    bed.check();
    for (key, dups) in bed.model.clone() {
        bed.probe(&key, &dups[dups.len() / 2], (&key, &dups[dups.len() - 1]));
    }
    bed.change().clear().unwrap();
    bed.model.clear();
    bed.check();
    assert_eq!(bed.pages.held(), 0);
}

#[test]
fn random_changes_leave_what_sorted_lists_hold() {
    for seed in 0..120 {
        println!("seed {seed}");
        run(seed, 1500);
    }
}

#[test]
fn pairs_laid_down_are_those_put_in_one_by_one() {
    for seed in 0..24 {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let kind = KINDS[seed as usize % KINDS.len()];
        let shape = Shape::of(kind, &mut rng);
        let mut bed = Bed::new(kind);
        for _ in 0..4000 {
            let (key, dup) = (shape.key(&mut rng), shape.dup(&mut rng));
            bed.put_in_model(&key, &dup);
        }
        let pairs = bed.pairs();
        let order = bed.order;
        let mut tree = bed.change();
        let mut loader = Loader::new(&mut tree, order).unwrap();
        for (key, dup) in &pairs {
            loader.push(key, dup).unwrap();
        }
        let (key, dup) = &pairs[pairs.len() - 1];
        assert!(matches!(loader.push(key, dup), Err(Error::NotSorted)), "twice the same");
        loader.finish().unwrap();
        bed.commit();
        bed.check();
    }
}

#[test]
fn the_form_follows_the_number_of_duplicates() {
    let mut bed = Bed::new(KINDS[1]);
    let forms = |bed: &Bed| (bed.record.leaf_pages, bed.record.overflow_pages);
    for n in 0..2000u64 {
        bed.insert(b"key", &n.to_be_bytes());
        match n {
            0 | 100 => assert_eq!(forms(&bed), (1, 0), "inline, or a sub-page"),
            200 => assert_eq!(forms(&bed), (1, 1), "a nested tree of one page"),
            1999 => assert!(bed.record.overflow_pages <= 9, "{} pages for 2,000 of 508 a page", bed.record.overflow_pages),
            _ => {}
        }
    }
    for n in 0..1990u64 {
        bed.delete(b"key", &n.to_be_bytes());
    }
    assert_eq!(forms(&bed), (1, 0), "a sub-page again");
    bed.check();
    for n in 1990..1999u64 {
        bed.delete(b"key", &n.to_be_bytes());
    }
    bed.commit();
    bed.check();
}

#[test]
fn a_duplicate_that_cannot_be_is_refused_and_nothing_is_changed() {
    let max = key_max(4096);
    let mut bed = Bed::new(KINDS[0]);
    bed.insert(b"key", &vec![7; max]);
    let order = bed.order;
    let refused = insert(&mut bed.change(), order, b"key", &vec![7; max + 1]);
    assert!(matches!(refused, Err(Error::DuplicateTooLong { len, max: most }) if len == max + 1 && most == max));
    let order = bed.order;
    let refused = insert(&mut bed.change(), order, &vec![7; max + 1], b"dup");
    assert!(matches!(refused, Err(Error::KeyTooLong { .. })));
    bed.check();
    let mut bed = Bed::new(KINDS[1]);
    bed.insert(b"key", &[1; 8]);
    let order = bed.order;
    let refused = insert(&mut bed.change(), order, b"key", &[1; 9]);
    assert!(matches!(refused, Err(Error::DuplicateLength { len: 9, expected: 8 })));
    let many: Vec<[u8; 8]> = (0..500u64).map(u64::to_be_bytes).collect();
    let mut all: Vec<&[u8]> = many.iter().map(|dup| &dup[..]).collect();
    all.insert(400, b"short");
    let order = bed.order;
    assert!(insert_all(&mut bed.change(), order, b"key", all.into_iter()).is_err());
    for dup in &many[..400] {
        bed.put_in_model(b"key", dup);
    }
    bed.check();
}

/// The longest key with the longest duplicates: no cell holds both, so one duplicate is a tree already.
#[test]
fn the_longest_key_and_the_longest_duplicate_go_together() {
    let max = key_max(4096);
    let mut bed = Bed::new(KINDS[0]);
    for key in 0..20u8 {
        for dup in 0..3u8 {
            bed.insert(&vec![key; max], &vec![dup; max]);
        }
    }
    bed.commit();
    bed.check();
    for key in 0..20u8 {
        bed.delete(&vec![key; max], &vec![1; max]);
        bed.delete(&vec![key; max], &vec![0; max]);
    }
    bed.check();
}
