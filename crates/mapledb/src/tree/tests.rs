//! The tree against a `BTreeMap`, over pages in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use mapledb_format::order::Bytewise;
use mapledb_format::tree_record::{OrderId, TreeRecord};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::double::Double;
use super::{Appender, Cursor, Range, Tree, TreeMut, Value, walk};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

struct Bed {
    pages: Double,
    record: TreeRecord,
    model: Model,
}

impl Bed {
    fn new(page_bytes: usize) -> Bed {
        Bed {
            pages: Double::new(page_bytes),
            record: TreeRecord::empty(OrderId::Bytewise),
            model: Model::new(),
        }
    }

    fn tree(&self) -> Tree<'_, Double> {
        Tree::new(&self.pages, &self.record)
    }

    fn change(&mut self) -> TreeMut<'_, Double> {
        TreeMut::new(&mut self.pages, &mut self.record)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let (replaced, place) = self.change().put(key, Value::Bytes(value)).unwrap();
        assert_eq!(self.change().own_bytes(&place).unwrap(), value);
        assert_eq!(replaced, self.model.insert(key.to_vec(), value.to_vec()).is_some());
    }

    fn delete(&mut self, key: &[u8]) {
        let was = self.change().delete(key).unwrap();
        assert_eq!(was, self.model.remove(key).is_some());
    }

    fn delete_range(&mut self, low: Bound<&[u8]>, high: Bound<&[u8]>) {
        let cut = self.change().delete_range(low, high).unwrap();
        let gone: Vec<_> = match ordered(low, high) {
            true => self.model.range::<[u8], _>((low, high)).map(|(key, _)| key.clone()).collect(),
            false => Vec::new(),
        };
        assert_eq!(cut, gone.len() as u64);
        for key in gone {
            self.model.remove(&key);
        }
    }

    fn commit(&mut self) {
        self.change().seal().unwrap();
        self.pages.commit();
    }

    /// The tree is the model, page for page accounted for.
    fn check(&self) {
        let mut pages = 0;
        let walked = walk(&self.pages, &self.record, Bytewise, &mut |visit| {
            pages += visit.pages;
            Ok(())
        })
        .unwrap();
        assert_eq!(walked.entries, self.model.len() as u64);
        assert_eq!(pages, self.pages.held(), "a page is lost or kept for nothing");
        let mut range = Range::new(self.tree(), Bound::Unbounded, Bound::Unbounded).unwrap();
        for (key, value) in &self.model {
            let (found, at) = range.next().unwrap().unwrap();
            assert_eq!((found, at), (&key[..], &value[..]));
        }
        assert_eq!(range.next().unwrap(), None);
    }

    /// Every kind of question about `key` has the model's answer.
    fn probe(&self, key: &[u8], other: &[u8]) {
        let (tree, model) = (self.tree(), &self.model);
        assert_eq!(tree.get(key).unwrap(), self.model.get(key).map(|value| &value[..]));
        let pair = |(key, value): (&'_ Vec<u8>, &'_ Vec<u8>)| (key.clone(), value.clone());
        let owned = |pair: Option<(&[u8], &[u8])>| pair.map(|(key, value)| (key.to_vec(), value.to_vec()));
        let from = |bound: Bound<&[u8]>| model.range::<[u8], _>((bound, Bound::Unbounded)).next().map(pair);
        let to =
            |bound: Bound<&[u8]>| model.range::<[u8], _>((Bound::Unbounded, bound)).next_back().map(pair);
        let mut cursor = Cursor::new(tree);
        assert_eq!(owned(cursor.seek_from(key, true).unwrap()), from(Bound::Included(key)));
        assert_eq!(owned(cursor.seek_from(key, false).unwrap()), from(Bound::Excluded(key)));
        assert_eq!(owned(cursor.seek_to(key, true).unwrap()), to(Bound::Included(key)));
        assert_eq!(owned(cursor.seek_to(key, false).unwrap()), to(Bound::Excluded(key)));
        if let Some((before, _)) = owned(cursor.current().unwrap()) {
            let next = owned(cursor.next().unwrap());
            assert_eq!(next, from(Bound::Excluded(&before[..])));
            if next.is_some() {
                assert_eq!(owned(cursor.previous().unwrap()).map(|(key, _)| key), Some(before));
            }
        }
        let rank = self.model.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).count() as u64;
        assert_eq!(tree.rank(key).unwrap(), rank);
        assert_eq!(owned(cursor.seek_nth(rank).unwrap()), from(Bound::Included(key)));
        for (low, high) in [
            (Bound::Included(key), Bound::Excluded(other)),
            (Bound::Excluded(key), Bound::Included(other)),
            (Bound::Included(key), Bound::Included(other)),
            (Bound::Excluded(key), Bound::Excluded(other)),
        ] {
            let expected: Vec<_> = match ordered(low, high) {
                true => self.model.range::<[u8], _>((low, high)).map(pair).collect(),
                false => Vec::new(),
            };
            assert_eq!(tree.count(low, high).unwrap(), expected.len() as u64);
            let mut range = Range::new(tree, low, high).unwrap();
            let mut front = Vec::new();
            let mut back = Vec::new();
            loop {
                assert_eq!(range.remaining().unwrap(), (expected.len() - front.len() - back.len()) as u64);
                let taken = if (front.len() + back.len()) % 3 == 0 {
                    range.next_back().unwrap().map(|pair| back.push(owned(Some(pair)).unwrap()))
                } else {
                    range.next().unwrap().map(|pair| front.push(owned(Some(pair)).unwrap()))
                };
                if taken.is_none() {
                    break;
                }
            }
            front.extend(back.into_iter().rev());
            assert_eq!(front, expected);
            let parts = 1 + key.len() % 5;
            let mut joined = Vec::new();
            for mut part in Range::new(tree, low, high).unwrap().split(parts).unwrap() {
                let len = part.remaining().unwrap() as usize;
                assert!(len.abs_diff(expected.len() / parts) <= 1, "{len} of {} in {parts}", expected.len());
                let from = joined.len();
                while let Some(pair) = owned(part.next().unwrap()) {
                    joined.push(pair);
                }
                assert_eq!(joined.len() - from, len);
            }
            assert_eq!(joined, expected);
        }
    }
}

fn ordered(low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    match (low, high) {
        (Bound::Excluded(low), Bound::Excluded(high)) => low < high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low <= high
        }
        _ => true,
    }
}

/// Keys with long shared prefixes, equal heads, empty and very long ones.
fn random_key(rng: &mut SmallRng) -> Vec<u8> {
    let style = rng.random_range(0..10);
    let mut key = match style {
        0 => Vec::new(),
        1..=3 => b"tenant/0000/session/".to_vec(),
        4 => vec![7; 300],
        _ => vec![rng.random_range(0..4)],
    };
    for _ in 0..rng.random_range(0..6) {
        key.push(rng.random_range(0..6));
    }
    if style == 9 && rng.random_ratio(1, 8) {
        key.resize(1000, 9);
    }
    key
}

fn random_value(rng: &mut SmallRng) -> Vec<u8> {
    let len = match rng.random_range(0..40) {
        0 => rng.random_range(0..100_000),
        1..=3 => rng.random_range(0..4000),
        4..=20 => rng.random_range(0..300),
        _ => rng.random_range(0..20),
    };
    vec![rng.random(); len]
}

fn against_the_model(seed: u64, steps: usize, page_bytes: usize) {
    println!("seed {seed}, pages of {page_bytes}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bed = Bed::new(page_bytes);
    for step in 0..steps {
        let key = random_key(&mut rng);
        match rng.random_range(0..100) {
            0..=54 => bed.put(&key, &random_value(&mut rng)),
            55..=84 => bed.delete(&key),
            85..=86 => {
                let other = random_key(&mut rng);
                let (low, high) = if key < other { (&key, &other) } else { (&other, &key) };
                bed.delete_range(Bound::Included(low), Bound::Excluded(high));
            }
            87 if rng.random_ratio(1, 4) => {
                let odd = rng.random_range(0..7u8);
                let keep = |key: &[u8]| key.last().copied().unwrap_or(0) % 7 != odd;
                let before = bed.model.len();
                bed.model.retain(|key, _| keep(key));
                let gone = (before - bed.model.len()) as u64;
                assert_eq!(bed.change().retain(|key, _| keep(key)).unwrap(), gone);
            }
            88..=92 => bed.commit(),
            _ => bed.probe(&key, &random_key(&mut rng)),
        }
        if step % 97 == 0 {
            bed.check();
        }
    }
    bed.commit();
    bed.check();
    bed.change().clear().unwrap();
    bed.model.clear();
    bed.check();
    assert_eq!(bed.pages.held(), 0);
}

#[test]
fn random_changes_leave_what_a_sorted_map_holds() {
    for seed in 0..12 {
        against_the_model(seed, 3000, [4096, 8192, 65536][seed as usize % 3]);
    }
}

#[test]
fn sorted_input_fills_pages_whether_appended_or_put() {
    for appended in [true, false] {
        let mut bed = Bed::new(4096);
        let value = [1u8; 90];
        if appended {
            let mut tree = TreeMut::<_>::new(&mut bed.pages, &mut bed.record);
            let mut appender = Appender::new(&mut tree).unwrap();
            for n in 0..20_000u64 {
                appender.push(&n.to_be_bytes(), &value).unwrap();
            }
            assert!(appender.push(&5u64.to_be_bytes(), &value).is_err());
            appender.finish().unwrap();
        } else {
            for n in 0..20_000u64 {
                bed.change().put(&n.to_be_bytes(), Value::Bytes(&value)).unwrap();
            }
        }
        bed.model = (0..20_000u64).map(|n| (n.to_be_bytes().to_vec(), value.to_vec())).collect();
        bed.check();
        // 90 + 2 + 8 bytes, rounded up to 104, and a slot of 8: 36 to a page.
        assert!(bed.record.leaf_pages <= 20_000 / 36 + 1, "{} leaves", bed.record.leaf_pages);
        bed.commit();
        bed.probe(&77u64.to_be_bytes(), &300u64.to_be_bytes());
    }
}

#[test]
fn random_input_leaves_leaves_three_quarters_full() {
    let mut bed = Bed::new(4096);
    let mut rng = SmallRng::seed_from_u64(11);
    for _ in 0..20_000 {
        bed.put(&rng.random::<u64>().to_be_bytes(), &[1; 90]);
    }
    bed.check();
    // 36 to a full page; 69 % of that where every full leaf is cut.
    let full = bed.record.entries as f64 / 36.0 / bed.record.leaf_pages as f64;
    assert!(full > 0.75, "{full}");
}

#[test]
fn a_full_leaf_shares_with_a_committed_neighbour_and_counts_stay_right() {
    for front in [true, false] {
        let mut bed = Bed::new(4096);
        let value = [1; 90];
        for n in 0..72u64 {
            bed.put(&(2 * n).to_be_bytes(), &value);
        }
        assert_eq!(bed.record.leaf_pages, 2);
        // One of the two loses half of what it has, then the other gets one more than it holds.
        let (thinned, filled) = if front { (20..36, 37) } else { (36..52, 1) };
        thinned.for_each(|n: u64| bed.delete(&(2 * n).to_be_bytes()));
        bed.commit();
        bed.put(&(2 * filled + 1u64).to_be_bytes(), &value);
        assert_eq!(bed.record.leaf_pages, 2, "it was cut although there was room beside it");
        bed.commit();
        bed.check();
        for n in 0..72u64 {
            bed.probe(&(2 * n).to_be_bytes(), &(2 * filled + 1).to_be_bytes());
        }
    }
}

#[test]
fn appending_goes_on_behind_what_is_there() {
    let mut bed = Bed::new(4096);
    for round in 0..5u64 {
        let mut tree = TreeMut::<_>::new(&mut bed.pages, &mut bed.record);
        let mut appender = Appender::new(&mut tree).unwrap();
        for n in round * 3000..(round + 1) * 3000 {
            let value = vec![n as u8; if n % 500 == 0 { 9000 } else { 30 }];
            appender.push(&n.to_be_bytes(), &value).unwrap();
            bed.model.insert(n.to_be_bytes().to_vec(), value);
        }
        appender.finish().unwrap();
        bed.commit();
        bed.check();
    }
}

/// Fences widen when a neighbour goes; the heads of the pages that stay were made with the old, longer prefix.
#[test]
fn keys_are_found_beside_neighbours_that_are_gone_at_every_level() {
    let mut bed = Bed::new(4096);
    let key = |n: u64| format!("a-long-common-prefix-{:02}-{:012}", n / 5000, n).into_bytes();
    for n in 0..40_000 {
        bed.put(&key(n), &[n as u8; 40]);
    }
    bed.commit();
    for width in [1, 30, 900, 4000, 12_000] {
        let from = 9000;
        bed.delete_range(Bound::Included(&key(from)), Bound::Excluded(&key(from + width)));
        bed.commit();
        bed.check();
        for near in [from - 1, from, from + width / 2, from + width, from + width + 1] {
            for shape in [key(near), key(near)[..10].to_vec(), b"a".to_vec(), b"b".to_vec(), Vec::new()] {
                assert_eq!(bed.tree().get(&shape).unwrap().is_some(), bed.model.contains_key(&shape));
                let expected = bed.model.range(shape.clone()..).next().map(|(key, _)| &key[..]);
                let mut cursor = Cursor::new(bed.tree());
                assert_eq!(cursor.seek_from(&shape, true).unwrap().map(|pair| pair.0), expected);
            }
            // And a key goes in that shares less with its neighbours than they share with each other.
            bed.put(&[&key(near)[..21], b"!"].concat(), b"low");
            bed.put(&[&key(near)[..23], b"~"].concat(), b"high");
            bed.check();
        }
    }
}

#[test]
fn deleting_everything_one_by_one_gives_every_page_back() {
    let mut bed = Bed::new(4096);
    let mut rng = SmallRng::seed_from_u64(3);
    for _ in 0..5000 {
        let key: [u8; 24] = rng.random();
        bed.put(&key, &[5; 150]);
    }
    bed.commit();
    let keys: Vec<_> = bed.model.keys().cloned().collect();
    for (n, key) in keys.iter().enumerate() {
        bed.delete(key);
        if n % 1000 == 0 {
            bed.commit();
            bed.check();
        }
    }
    assert_eq!((bed.record.depth, bed.pages.held()), (0, 0));
}

/// Ranges that end anywhere below branches of any level, so that some branch loses all its children beside a sparse
/// one that it then joins.
#[test]
fn a_range_may_take_all_children_of_a_branch_at_any_level() {
    let key = |n: u32| [&[b'k'; 600][..], &n.to_be_bytes()].concat();
    let entries = 220;
    for low in (0..entries).step_by(9) {
        for high in (low..=entries).step_by(7) {
            let mut bed = Bed::new(4096);
            for n in 0..entries {
                bed.put(&key(n), b"");
            }
            bed.commit();
            bed.delete_range(Bound::Included(&key(low)), Bound::Excluded(&key(high)));
            bed.commit();
            bed.check();
        }
    }
}

#[test]
fn counting_touches_a_path_or_two_however_large_the_tree() {
    for entries in [10_000u32, 10_000_000] {
        let mut bed = Bed::new(4096);
        let mut tree = TreeMut::<_>::new(&mut bed.pages, &mut bed.record);
        let mut appender = Appender::new(&mut tree).unwrap();
        for n in 0..entries {
            appender.push(&n.to_be_bytes(), b"").unwrap();
        }
        appender.finish().unwrap();
        bed.commit();
        bed.pages.take_touches();
        let depth = u64::from(bed.record.depth);
        let (low, high) = (100u32.to_be_bytes(), (entries - 100).to_be_bytes());
        let tree = bed.tree();
        let count = tree.count(Bound::Included(&low), Bound::Excluded(&high)).unwrap();
        assert_eq!((count, bed.pages.take_touches()), (u64::from(entries) - 200, 2 * depth));
        let rank = tree.rank(&high).unwrap();
        assert_eq!((rank, bed.pages.take_touches()), (u64::from(entries) - 100, depth));
        let nth = Cursor::new(tree).seek_nth(u64::from(entries) / 2).unwrap().unwrap();
        assert_eq!((nth.0, bed.pages.take_touches()), (&(entries / 2).to_be_bytes()[..], depth));
        println!("{entries} entries, {depth} levels: count {}, rank and nth {depth} pages", 2 * depth);
    }
}

#[test]
fn a_walk_asks_for_each_leaf_once_and_ahead_but_a_short_one_for_few() {
    let mut bed = Bed::new(4096);
    let mut tree = TreeMut::<_>::new(&mut bed.pages, &mut bed.record);
    let mut appender = Appender::new(&mut tree).unwrap();
    for n in 0..100_000u32 {
        appender.push(&n.to_be_bytes(), &[0; 64]).unwrap();
    }
    appender.finish().unwrap();
    bed.commit();
    let leaves = bed.record.leaf_pages as usize;
    for is_back in [false, true] {
        let mut range = Range::new(bed.tree(), Bound::Unbounded, Bound::Unbounded).unwrap();
        while if is_back { range.next_back() } else { range.next() }.unwrap().is_some() {}
        let asked = bed.pages.take_asked();
        let distinct: std::collections::BTreeSet<_> = asked.iter().collect();
        assert_eq!(distinct.len(), asked.len(), "a leaf was asked for twice");
        // The first leaf under each parent is come to, not asked for.
        let unasked = bed.record.branch_pages as usize + 1;
        assert!(asked.len() <= leaves && asked.len() >= leaves - unasked, "{} of {leaves}", asked.len());
    }
    for entries in [1, 100, 1000] {
        let mut range = Range::new(bed.tree(), Bound::Included(&[0, 0, 9]), Bound::Unbounded).unwrap();
        bed.pages.take_touches();
        for _ in 0..entries {
            range.next().unwrap().unwrap();
        }
        let (touched, asked) = (bed.pages.take_touches() as usize, bed.pages.take_asked().len());
        assert!(asked <= 3 * touched, "{entries} entries: {asked} leaves asked for, {touched} touched");
        assert!(entries == 1 || asked >= touched, "{entries} entries: {asked} leaves asked for, {touched} touched");
    }
}
