//! What the readers ask: a third inside ranges, a third at their edges, a third anywhere.
//!
//! The edges of a range are `start − 1`, `start`, `end` and `end + 1`, held within the family.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::address::{Address, Family, Range, Ranges};

/// An endless sequence of addresses; the seed alone replays it.
pub struct Queries {
    random: SmallRng,
    asked: u64,
}

impl Queries {
    pub fn new(seed: u64) -> Queries {
        Queries { random: SmallRng::seed_from_u64(seed), asked: 0 }
    }

    /// The next address to ask for, drawn from `ranges`. The three kinds take turns and each kind asks both
    /// families, one as often as the other; a family without ranges is asked anywhere.
    pub fn next(&mut self, ranges: &Ranges) -> Address {
        let family = Family::ALL[self.random.random_range(0..2)];
        let kind = self.asked % 3;
        self.asked += 1;
        let bits = match self.pick(ranges.of(family)) {
            Some(range) if kind == 0 => self.random.random_range(range.start..=range.end),
            Some(range) if kind == 1 => edges(family, range)[self.random.random_range(0..4)],
            _ => self.random.random_range(0..=family.last()),
        };
        Address { family, bits }
    }

    fn pick(&mut self, ranges: &[Range]) -> Option<Range> {
        (!ranges.is_empty()).then(|| ranges[self.random.random_range(0..ranges.len())])
    }
}

fn edges(family: Family, range: Range) -> [u128; 4] {
    let above = if range.end < family.last() { range.end + 1 } else { range.end };
    [range.start.saturating_sub(1), range.start, range.end, above]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Country;
    use crate::source::sample;

    #[test]
    fn each_kind_is_a_third_and_each_family_a_half() {
        let ranges = sample::ranges(5, [2_000, 2_000]);
        let mut queries = Queries::new(5);
        let (mut inside, mut at_edges, mut v4) = (0, 0, 0);
        for asked in 0..3_000 {
            let address = queries.next(&ranges);
            let of_family = ranges.of(address.family);
            v4 += u32::from(address.family == Family::V4);
            match asked % 3 {
                0 => inside += u32::from(of_family.iter().any(|range| range.covers(address.bits))),
                1 => {
                    let is_edge =
                        of_family.iter().any(|&range| edges(address.family, range).contains(&address.bits));
                    at_edges += u32::from(is_edge);
                }
                _ => {}
            }
        }
        assert_eq!((inside, at_edges), (1_000, 1_000));
        assert!((1_350..1_650).contains(&v4), "{v4} of 3,000 were IPv4");
    }

    #[test]
    fn every_edge_of_a_range_is_asked() {
        let range = Range { start: 100, end: 200, country: Country(*b"XX") };
        let ranges = Ranges::new([vec![range], vec![range]]).expect("disjoint");
        let mut queries = Queries::new(11);
        let asked: Vec<Address> = (0..300).map(|_| queries.next(&ranges)).collect();
        for family in Family::ALL {
            for bits in [99, 100, 200, 201] {
                assert!(asked.contains(&Address { family, bits }), "{family} {bits}");
            }
        }
    }

    #[test]
    fn edges_stay_within_the_family() {
        for family in Family::ALL {
            let whole = Range { start: 0, end: family.last(), country: Country(*b"XX") };
            assert_eq!(edges(family, whole), [0, 0, family.last(), family.last()]);
        }
    }

    #[test]
    fn a_family_without_ranges_is_still_asked() {
        let mut queries = Queries::new(13);
        let asked: Vec<Family> = (0..100).map(|_| queries.next(&Ranges::default()).family).collect();
        assert!(asked.contains(&Family::V4) && asked.contains(&Family::V6));
    }

    #[test]
    fn the_seed_alone_replays_the_queries() {
        let ranges = sample::ranges(5, [50, 50]);
        let first = |seed| -> Vec<Address> {
            let mut queries = Queries::new(seed);
            (0..50).map(|_| queries.next(&ranges)).collect()
        };
        assert_eq!(first(17), first(17));
        assert_ne!(first(17), first(18));
    }
}
