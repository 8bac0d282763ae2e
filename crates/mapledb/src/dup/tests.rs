//! Multimaps against sorted lists of pairs, over pages in memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use mapledb_format::node::key_max;
use mapledb_format::tree_record::{Duplicates, OrderId, TreeRecord};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{
    Chunks, Loader, PairBound, PairCursor, PairRange, append, contains, count_of, delete, delete_key, delete_range,
    insert, insert_all, pop, retain,
};
use crate::error::Error;
use crate::tree::double::Double;
use crate::tree::{KeyOrder, NamedOrder, Tree, TreeMut, walk};

type Bytes = Vec<u8>;
type Pairs = Vec<(Bytes, Bytes)>;

/// By the length, then from the last byte to the first: a named order.
struct ByLength;

impl NamedOrder for ByLength {
    const NAME: &'static str = "by-length/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
    }
}

fn order_of(kind: Duplicates) -> KeyOrder {
    if kind.order == OrderId::Named { KeyOrder::named::<ByLength>() } else { KeyOrder::recorded(kind.order) }
}

struct Bed {
    pages: Double,
    record: TreeRecord,
    order: KeyOrder,
    /// The duplicates of each key, in their order.
    model: BTreeMap<Bytes, Vec<Bytes>>,
}

impl Bed {
    fn new(kind: Duplicates) -> Bed {
        let record = TreeRecord::multimap(OrderId::Bytewise, kind);
        Bed { pages: Double::new(4096), record, order: order_of(kind), model: BTreeMap::new() }
    }

    fn tree(&self) -> Tree<'_, Double, KeyOrder> {
        Tree::in_order(&self.pages, &self.record, KeyOrder::BYTEWISE)
    }

    fn change(&mut self) -> TreeMut<'_, Double, KeyOrder> {
        TreeMut::in_order(&mut self.pages, &mut self.record, KeyOrder::BYTEWISE)
    }

    /// Where `dup` is or would be in the model.
    fn place(&self, key: &[u8], dup: &[u8]) -> Result<usize, usize> {
        let order = self.order;
        self.model.get(key).map_or(Err(0), |dups| dups.binary_search_by(|other| order.compare(other, dup)))
    }

    fn put_in_model(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let Err(at) = self.place(key, dup) else { return false };
        self.model.entry(key.to_vec()).or_default().insert(at, dup.to_vec());
        true
    }

    fn insert(&mut self, key: &[u8], dup: &[u8]) {
        let order = self.order;
        let is_new = insert(&mut self.change(), order, key, dup).unwrap();
        assert_eq!(is_new, self.put_in_model(key, dup));
    }

    fn delete(&mut self, key: &[u8], dup: &[u8]) {
        let order = self.order;
        let was = delete(&mut self.change(), order, key, dup).unwrap();
        assert_eq!(was, self.place(key, dup).is_ok());
        if let Ok(at) = self.place(key, dup) {
            let dups = self.model.get_mut(key).unwrap();
            dups.remove(at);
            if dups.is_empty() {
                self.model.remove(key);
            }
        }
    }

    fn delete_key(&mut self, key: &[u8]) {
        let gone = delete_key(&mut self.change(), key).unwrap();
        assert_eq!(gone, self.model.remove(key).map_or(0, |dups| dups.len() as u64));
    }

    /// Takes a range out, unless it is most of what there is.
    fn delete_range(&mut self, low: Bound<PairBound<'_>>, high: Bound<PairBound<'_>>) {
        let order = self.order;
        let beside = |pair: &(Bytes, Bytes), bound: PairBound<'_>| {
            let dups = || bound.dup.map_or(Ordering::Equal, |dup| order.compare(&pair.1, dup));
            pair.0[..].cmp(bound.key).then_with(dups)
        };
        let goes = |pair: &(Bytes, Bytes)| {
            let above = match low {
                Bound::Unbounded => true,
                Bound::Included(low) => beside(pair, low).is_ge(),
                Bound::Excluded(low) => beside(pair, low).is_gt(),
            };
            above
                && match high {
                    Bound::Unbounded => true,
                    Bound::Included(high) => beside(pair, high).is_le(),
                    Bound::Excluded(high) => beside(pair, high).is_lt(),
                }
        };
        let (gone, kept): (Pairs, Pairs) = self.pairs().into_iter().partition(goes);
        if gone.len() > 100 && gone.len() > kept.len() {
            return;
        }
        let held = self.pages.held();
        let order = self.order;
        assert_eq!(delete_range(&mut self.change(), order, low, high).unwrap(), gone.len() as u64);
        assert!(!gone.is_empty() || self.pages.held() == held, "nothing goes and something is copied");
        self.model.clear();
        for (key, dup) in kept {
            self.model.entry(key).or_default().push(dup);
        }
    }

    /// Takes out of a range what is not kept, which is decided by the last bytes.
    fn retain(&mut self, low: Bound<PairBound<'_>>, high: Bound<PairBound<'_>>, salt: u8) {
        let range = PairRange::new(self.tree(), self.order, low, high).unwrap();
        let mut seen = Vec::new();
        let keeps = |key: &[u8], dup: &[u8]| match salt {
            0 => false,
            1 => !key.last().is_some_and(|last| last.is_multiple_of(2)),
            salt => !dup.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).is_multiple_of(salt),
        };
        let mut expected = Vec::new();
        let mut left = range;
        while let Some(pair) = left.next().unwrap() {
            expected.extend(owned(Some(pair)));
        }
        let (held, order) = (self.pages.held(), self.order);
        let mut keep = |key: &[u8], dup: &[u8]| {
            seen.push((key.to_vec(), dup.to_vec()));
            keeps(key, dup)
        };
        let gone = retain(&mut self.change(), order, low, high, &mut keep).unwrap();
        assert_eq!(seen, expected, "each is asked about once, in order");
        let going: Pairs = expected.into_iter().filter(|(key, dup)| !keeps(key, dup)).collect();
        assert_eq!(gone, going.len() as u64);
        assert!(gone > 0 || self.pages.held() == held, "nothing goes and something is copied");
        for (key, dup) in going {
            let at = self.place(&key, &dup).unwrap();
            self.model.get_mut(&key).unwrap().remove(at);
        }
        self.model.retain(|_, dups| !dups.is_empty());
    }

    fn pop(&mut self, from_front: bool) {
        let order = self.order;
        let popped = pop(&mut self.change(), order, |cursor| if from_front { cursor.first() } else { cursor.last() });
        let mut pairs = self.pairs();
        let expected = match from_front {
            true if !pairs.is_empty() => Some(pairs.remove(0)),
            _ => pairs.pop(),
        };
        assert_eq!(popped.unwrap(), expected);
        if let Some((key, dup)) = expected {
            let at = self.place(&key, &dup).unwrap();
            self.model.get_mut(&key).unwrap().remove(at);
            self.model.retain(|_, dups| !dups.is_empty());
        }
    }

    fn commit(&mut self) {
        self.change().seal().unwrap();
        self.pages.commit();
    }

    fn pairs(&self) -> Pairs {
        let of_key = |(key, dups): (&Bytes, &Vec<Bytes>)| -> Pairs {
            dups.iter().map(|dup| (key.clone(), dup.clone())).collect()
        };
        self.model.iter().flat_map(of_key).collect()
    }

    /// The multimap is the model, page for page accounted for, forwards and backwards.
    fn check(&self) {
        let mut pages = 0;
        let walked = walk(&self.pages, &self.record, KeyOrder::BYTEWISE, &mut |visit| {
            pages += visit.pages;
            Ok(())
        })
        .unwrap();
        let pairs = self.pairs();
        assert_eq!(walked.entries, pairs.len() as u64);
        assert_eq!(pages, self.pages.held(), "a page is lost or kept for nothing");
        let all = || PairRange::new(self.tree(), self.order, Bound::Unbounded, Bound::Unbounded).unwrap();
        assert_eq!(all().remaining(), pairs.len() as u64);
        let mut range = all();
        for pair in &pairs {
            assert_eq!(owned(range.next().unwrap()).as_ref(), Some(pair));
        }
        assert_eq!(range.next().unwrap(), None);
        let mut range = all();
        for pair in pairs.iter().rev() {
            assert_eq!(owned(range.next_back().unwrap()).as_ref(), Some(pair));
        }
        let parts = all().split(3).unwrap();
        let mut parted = Vec::new();
        for mut part in parts {
            while let Some(pair) = part.next().unwrap() {
                parted.extend(owned(Some(pair)));
            }
        }
        assert_eq!(parted, pairs);
    }

    /// Every kind of question about a pair has the model's answer.
    fn probe(&self, key: &[u8], dup: &[u8], other: (&[u8], &[u8])) {
        let order = self.order;
        let cmp = |a: (&[u8], &[u8]), b: (&[u8], &[u8])| a.0.cmp(b.0).then_with(|| order.compare(a.1, b.1));
        let pairs = self.pairs();
        let before = |than: (&[u8], &[u8])| pairs.iter().filter(|(k, d)| cmp((k, d), than).is_lt()).count();
        let holds = self.place(key, dup).is_ok();
        assert_eq!(contains(self.tree(), self.order, key, dup).unwrap(), holds);
        assert_eq!(count_of(self.tree(), key).unwrap(), self.model.get(key).map_or(0, |dups| dups.len() as u64));
        let rank = before((key, dup));
        let mut cursor = PairCursor::new(self.tree(), self.order);
        assert_eq!(owned(cursor.seek_from(PairBound::of(key, dup), true).unwrap()).as_ref(), pairs.get(rank));
        assert_eq!(cursor.rank().unwrap(), rank as u64);
        assert_eq!(owned(cursor.seek_nth(rank as u64).unwrap()).as_ref(), pairs.get(rank));
        let here = pairs.get(rank);
        if let Some((at_key, at_dup)) = here {
            let dups = &self.model[at_key];
            let within = self.place(at_key, at_dup).unwrap();
            assert_eq!(cursor.count_in_key(), dups.len() as u64);
            assert_eq!(owned(cursor.previous_in_key().unwrap()).map(|pair| pair.1), within.checked_sub(1).map(|at| dups[at].clone()));
            cursor.seek(at_key, at_dup).unwrap();
            assert_eq!(owned(cursor.next_in_key().unwrap()).map(|pair| pair.1), dups.get(within + 1).cloned());
            assert_eq!(owned(cursor.first_in_key().unwrap()).unwrap().1, dups[0]);
            assert_eq!(owned(cursor.last_in_key().unwrap()).unwrap().1, dups[dups.len() - 1]);
            cursor.seek(at_key, at_dup).unwrap();
            assert_eq!(owned(cursor.next().unwrap()).as_ref(), pairs.get(rank + 1));
            cursor.seek(at_key, at_dup).unwrap();
            assert_eq!(owned(cursor.previous().unwrap()).as_ref(), rank.checked_sub(1).map(|at| &pairs[at]));
            cursor.seek(at_key, at_dup).unwrap();
            let next = self.model.range::<[u8], _>((Bound::Excluded(&at_key[..]), Bound::Unbounded)).next();
            assert_eq!(owned(cursor.next_key().unwrap()), next.map(|(key, dups)| (key.clone(), dups[0].clone())));
            cursor.seek(at_key, at_dup).unwrap();
            let previous = self.model.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&at_key[..]))).next_back();
            let previous = previous.map(|(key, dups)| (key.clone(), dups[dups.len() - 1].clone()));
            assert_eq!(owned(cursor.previous_key().unwrap()), previous);
        }
        let upto = rank + usize::from(holds);
        assert_eq!(owned(cursor.seek_to(PairBound::of(key, dup), true).unwrap()).as_ref(), upto.checked_sub(1).map(|at| &pairs[at]));
        let bound = |(key, dup)| PairBound { key, dup: Some(dup) };
        let (low, high) = (bound((key, dup)), bound(other));
        let mut range = PairRange::new(self.tree(), self.order, Bound::Excluded(low), Bound::Excluded(high)).unwrap();
        let expected = before(other).saturating_sub(upto);
        assert_eq!(range.remaining(), expected as u64);
        for at in 0..expected {
            assert_eq!(owned(range.next().unwrap()).as_ref(), pairs.get(upto + at));
        }
        let of_key = PairBound { key, dup: None };
        let range = PairRange::new(self.tree(), self.order, Bound::Included(of_key), Bound::Included(of_key)).unwrap();
        assert_eq!(range.remaining(), self.model.get(key).map_or(0, |dups| dups.len() as u64));
        cursor.seek_key(key).unwrap();
        assert_eq!(all_of(cursor.chunks().unwrap()), self.model.get(key).map_or(Vec::new(), |dups| dups.concat()));
    }
}

fn all_of(mut chunks: Chunks<'_, Double>) -> Bytes {
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().unwrap() {
        all.extend_from_slice(chunk);
    }
    all
}

fn owned(pair: Option<(&[u8], &[u8])>) -> Option<(Bytes, Bytes)> {
    pair.map(|(key, dup)| (key.to_vec(), dup.to_vec()))
}

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
