//! A multimap beside a sorted list of its pairs.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use mapledb_format::tree_record::{Duplicates, OrderId, TreeRecord};

use super::{Bytes, Pairs};
use crate::dup::{
    Chunks, PairBound, PairCursor, PairRange, contains, count_of, delete, delete_key, delete_range, insert, pop, retain,
};
use crate::tree::double::Double;
use crate::tree::{KeyOrder, NamedOrder, Tree, TreeMut, walk};

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

pub(super) struct Bed {
    pub(super) pages: Double,
    pub(super) record: TreeRecord,
    pub(super) order: KeyOrder,
    /// The duplicates of each key, in their order.
    pub(super) model: BTreeMap<Bytes, Vec<Bytes>>,
}

impl Bed {
    pub(super) fn new(kind: Duplicates) -> Bed {
        let record = TreeRecord::multimap(OrderId::Bytewise, kind);
        Bed { pages: Double::new(4096), record, order: order_of(kind), model: BTreeMap::new() }
    }

    pub(super) fn tree(&self) -> Tree<'_, Double, KeyOrder> {
        Tree::in_order(&self.pages, &self.record, KeyOrder::BYTEWISE)
    }

    pub(super) fn change(&mut self) -> TreeMut<'_, Double, KeyOrder> {
        TreeMut::in_order(&mut self.pages, &mut self.record, KeyOrder::BYTEWISE)
    }

    /// Where `dup` is or would be in the model.
    pub(super) fn place(&self, key: &[u8], dup: &[u8]) -> Result<usize, usize> {
        let order = self.order;
        self.model.get(key).map_or(Err(0), |dups| dups.binary_search_by(|other| order.compare(other, dup)))
    }

    pub(super) fn put_in_model(&mut self, key: &[u8], dup: &[u8]) -> bool {
        let Err(at) = self.place(key, dup) else { return false };
        self.model.entry(key.to_vec()).or_default().insert(at, dup.to_vec());
        true
    }

    pub(super) fn insert(&mut self, key: &[u8], dup: &[u8]) {
        let order = self.order;
        let is_new = insert(&mut self.change(), order, key, dup).unwrap();
        assert_eq!(is_new, self.put_in_model(key, dup));
    }

    pub(super) fn delete(&mut self, key: &[u8], dup: &[u8]) {
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

    pub(super) fn delete_key(&mut self, key: &[u8]) {
        let gone = delete_key(&mut self.change(), key).unwrap();
        assert_eq!(gone, self.model.remove(key).map_or(0, |dups| dups.len() as u64));
    }

    /// Takes a range out, unless it is most of what there is.
    pub(super) fn delete_range(&mut self, low: Bound<PairBound<'_>>, high: Bound<PairBound<'_>>) {
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
    pub(super) fn retain(&mut self, low: Bound<PairBound<'_>>, high: Bound<PairBound<'_>>, salt: u8) {
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

    pub(super) fn pop(&mut self, from_front: bool) {
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

    pub(super) fn commit(&mut self) {
        self.change().seal().unwrap();
        self.pages.commit();
    }

    pub(super) fn pairs(&self) -> Pairs {
        let of_key = |(key, dups): (&Bytes, &Vec<Bytes>)| -> Pairs {
            dups.iter().map(|dup| (key.clone(), dup.clone())).collect()
        };
        self.model.iter().flat_map(of_key).collect()
    }

    /// The multimap is the model, page for page accounted for, forwards and backwards.
    pub(super) fn check(&self) {
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
    pub(super) fn probe(&self, key: &[u8], dup: &[u8], other: (&[u8], &[u8])) {
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
