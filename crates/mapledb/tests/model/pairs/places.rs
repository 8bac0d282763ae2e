//! Cursors that hold no borrow, kept while everything else goes on: from change to change and multimap to multimap, over transactions,
//! nested ones, and what is taken back.
//!
//! The law: after any change a cursor answers what a fresh seek of its pair would, and that is what the sets say.

use std::ops::Bound;

use mapledb::{DetachedPairCursor, WriteMultimap};
use rand::Rng;
use rand::rngs::SmallRng;

use super::{DUPLICATES, Pair, Sets, some_dup};
use crate::Shape;

type Bytes<'t> = WriteMultimap<'t, [u8], [u8]>;
type Cursor = DetachedPairCursor<[u8], [u8]>;

/// A pair, or without a duplicate all pairs of a key.
type At = (Vec<u8>, Option<Vec<u8>>);

/// Where a cursor should be.
#[derive(Clone, Debug, Default)]
enum Spot {
    #[default]
    Nowhere,
    At(Pair),
    Before(At),
    Behind(At),
}

/// Some cursors, each with where it should be.
#[derive(Default)]
pub struct Places([(Cursor, Spot); 4]);

impl Places {
    /// One of them goes some steps.
    pub fn go(&mut self, rng: &mut SmallRng, shape: &Shape, table: &Bytes<'_>, sets: &Sets) {
        let (cursor, spot) = &mut self.0[rng.random_range(0..4)];
        for _ in 0..rng.random_range(1..4) {
            step(rng, shape, table, sets, cursor, spot);
        }
    }

    /// Each shows the pair it is at, or that it is not there.
    pub fn look(&mut self, table: &Bytes<'_>, sets: &Sets) {
        self.0.iter_mut().for_each(|(cursor, spot)| is_at(table, sets, cursor, spot));
    }

    /// One of them takes its pair out, if that is there.
    pub fn delete(&mut self, rng: &mut SmallRng, table: &mut Bytes<'_>, sets: &mut Sets) {
        let (cursor, spot) = &mut self.0[rng.random_range(0..4)];
        let goes = matches!(spot, Spot::At((key, dup)) if sets.remove(key, dup));
        assert_eq!(cursor.delete(table).expect("delete"), goes, "at {spot:02x?}");
    }
}

fn step(
    rng: &mut SmallRng,
    shape: &Shape,
    table: &Bytes<'_>,
    sets: &Sets,
    cursor: &mut Cursor,
    spot: &mut Spot,
) {
    let key = sets.some_key(shape, rng);
    let dup = sets.dup(shape, rng.random_range(0..DUPLICATES));
    let dup = some_dup(rng, sets, &key, dup);
    let (at, of_key) = ((key.clone(), Some(dup.clone())), (key.clone(), None));
    let own_key = (spot.at().0, None);
    let (found, expected) = match rng.random_range(0..24) {
        0..4 => (cursor.next(table), spot.come_from_here(spot.next(sets), Spot::Behind(spot.at()))),
        4..8 => (cursor.previous(table), spot.come_from_here(spot.previous(sets), Spot::Before(spot.at()))),
        8 => (cursor.next_in_key(table), spot.come_in_key(spot.next(sets))),
        9 => (cursor.previous_in_key(table), spot.come_in_key(spot.previous(sets))),
        10 => (cursor.first_in_key(table), spot.come_in_key(sets.from(&own_key, true))),
        11 => (cursor.last_in_key(table), spot.come_in_key(sets.to(&own_key, true))),
        12 => (cursor.next_key(table), spot.come_from_here(spot.next_key(sets), Spot::Behind(own_key))),
        13 => {
            (cursor.previous_key(table), spot.come_from_here(spot.previous_key(sets), Spot::Before(own_key)))
        }
        14 => (cursor.first(table), spot.jump(sets.iter().next())),
        15 => (cursor.last(table), spot.jump(sets.last())),
        16 | 17 => {
            let there = sets.contains(&key, &dup).then(|| (key.clone(), dup.clone()));
            (cursor.seek(table, &key, &dup), spot.come(there, Spot::At((key, dup))))
        }
        18 => {
            let there = sets.from(&of_key, true).filter(|pair| pair.0 == key);
            (cursor.seek_key(table, &key), spot.come(there, Spot::Before(of_key)))
        }
        19 => (cursor.ceiling_key(table, &key), spot.come(sets.from(&of_key, true), Spot::Before(of_key))),
        20 => (cursor.ceiling(table, &key, &dup), spot.come(sets.from(&at, true), Spot::Before(at))),
        21 => (cursor.higher(table, &key, &dup), spot.come(sets.from(&at, false), Spot::Behind(at))),
        22 => (cursor.floor(table, &key, &dup), spot.come(sets.to(&at, true), Spot::Behind(at))),
        _ => (cursor.lower(table, &key, &dup), spot.come(sets.to(&at, false), Spot::Before(at))),
    };
    assert_eq!(own(found), expected, "a move to {spot:02x?}");
    is_at(table, sets, cursor, spot);
}

/// A cursor shows what is at its spot, as one does that has just come there.
fn is_at(table: &Bytes<'_>, sets: &Sets, cursor: &mut Cursor, spot: &Spot) {
    let (here, fresh) = match spot {
        Spot::At((key, dup)) => (
            sets.contains(key, dup).then(|| (key.clone(), dup.clone())),
            own(Cursor::new().seek(table, key, dup)),
        ),
        _ => (None, None),
    };
    assert_eq!(fresh, here, "a fresh seek of {spot:02x?}");
    assert_eq!(own(cursor.current(table)), here, "at {spot:02x?}");
}

fn own(found: mapledb::Result<Option<(&[u8], &[u8])>>) -> Option<Pair> {
    found.expect("a sound multimap").map(|(key, dup)| (key.to_vec(), dup.to_vec()))
}

impl Spot {
    /// The pair or the key it is at.
    fn at(&self) -> At {
        match self.clone() {
            Spot::Nowhere => Default::default(),
            Spot::At((key, dup)) => (key, Some(dup)),
            Spot::Before(at) | Spot::Behind(at) => at,
        }
    }

    /// Takes note of what a step came to.
    fn come(&mut self, found: Option<Pair>, otherwise: Spot) -> Option<Pair> {
        *self = match &found {
            Some(pair) => Spot::At(pair.clone()),
            None => otherwise,
        };
        found
    }

    /// As `come`, of a step beside where it is: from nowhere there is none but to a pair.
    fn come_from_here(&mut self, found: Option<Pair>, otherwise: Spot) -> Option<Pair> {
        let otherwise = if matches!(self, Spot::Nowhere) { Spot::Nowhere } else { otherwise };
        self.come(found, otherwise)
    }

    fn jump(&mut self, found: Option<Pair>) -> Option<Pair> {
        self.come(found, Spot::Nowhere)
    }

    /// As `come`, of a step within the key, which stays where there is nothing.
    fn come_in_key(&mut self, found: Option<Pair>) -> Option<Pair> {
        let found = found.filter(|pair| !matches!(self, Spot::Nowhere) && pair.0 == self.at().0);
        self.come(found, self.clone())
    }

    fn next(&self, sets: &Sets) -> Option<Pair> {
        match self {
            Spot::Nowhere => sets.iter().next(),
            _ => sets.from(&self.at(), matches!(self, Spot::Before(_))),
        }
    }

    fn previous(&self, sets: &Sets) -> Option<Pair> {
        match self {
            Spot::Nowhere => sets.last(),
            _ => sets.to(&self.at(), matches!(self, Spot::Behind(_))),
        }
    }

    fn next_key(&self, sets: &Sets) -> Option<Pair> {
        match self {
            Spot::Nowhere => sets.iter().next(),
            _ => sets.from(&(self.at().0, None), false),
        }
    }

    fn previous_key(&self, sets: &Sets) -> Option<Pair> {
        match self {
            Spot::Nowhere => sets.last(),
            _ => sets.to(&(self.at().0, None), false),
        }
    }
}

impl Sets {
    /// The first pair that is not before `at` (`inclusive`), or that is behind it.
    fn from(&self, (key, dup): &At, inclusive: bool) -> Option<Pair> {
        let (low, of_key) = match dup {
            Some(dup) => {
                (Bound::Excluded(key), self.range_of(key, self.edge(dup, inclusive), Bound::Unbounded))
            }
            None if inclusive => (Bound::Included(key), None),
            None => (Bound::Excluded(key), None),
        };
        let own = of_key.and_then(|mut dups| dups.next().map(|dup| (key.clone(), dup)));
        own.or_else(|| {
            let (key, dups) = self.keys.range::<Vec<u8>, _>((low, Bound::Unbounded)).next()?;
            Some((key.clone(), self.turned(dups.first()?)))
        })
    }

    /// The last pair that is not behind `at` (`inclusive`), or that is before it.
    fn to(&self, (key, dup): &At, inclusive: bool) -> Option<Pair> {
        let (high, of_key) = match dup {
            Some(dup) => {
                (Bound::Excluded(key), self.range_of(key, Bound::Unbounded, self.edge(dup, inclusive)))
            }
            None if inclusive => (Bound::Included(key), None),
            None => (Bound::Excluded(key), None),
        };
        let own = of_key.and_then(|mut dups| dups.next_back().map(|dup| (key.clone(), dup)));
        own.or_else(|| {
            let (key, dups) = self.keys.range::<Vec<u8>, _>((Bound::Unbounded, high)).next_back()?;
            Some((key.clone(), self.turned(dups.last()?)))
        })
    }

    fn edge(&self, dup: &[u8], inclusive: bool) -> Bound<Vec<u8>> {
        let dup = self.turned(dup);
        if inclusive { Bound::Included(dup) } else { Bound::Excluded(dup) }
    }

    fn range_of(
        &self,
        key: &[u8],
        low: Bound<Vec<u8>>,
        high: Bound<Vec<u8>>,
    ) -> Option<impl DoubleEndedIterator<Item = Vec<u8>>> {
        Some(self.keys.get(key)?.range((low, high)).map(|dup| self.turned(dup)))
    }
}
