//! A generated table in the shape of the real one, for machines that cannot get it.
//!
//! Kept from the data that Tor ships: how many ranges each family has, how long they are, and that most touch
//! the one before while a few leave a gap. Countries are drawn without regard to geography.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::address::{Country, Family, Range, Ranges};

/// As many ranges as `tor-geoipdb` holds, to the nearest ten thousand.
pub const COUNTS: [usize; 2] = [390_000, 280_000];

/// The draw that makes the sample.
pub const SEED: u64 = 20_260;

const COUNTRIES: [&[u8; 2]; 16] = [
    b"US", b"DE", b"GB", b"FR", b"NL", b"SE", b"ES", b"RU", b"IT", b"CA", b"PL", b"AU", b"IN", b"JP", b"BR",
    b"??",
];

/// How one family's ranges lie.
struct Shape {
    /// Where the first may start.
    start: u128,
    /// (binary logarithm of the length, weight)
    lengths: &'static [(u32, u32)],
    /// One range in so many leaves a gap before it.
    gap_every: u32,
}

/// The mean IPv4 range has about 6,000 addresses, so 390,000 of them with their gaps fill a bit more than half
/// of the family; IPv6 has room whatever is drawn.
const SHAPES: [Shape; 2] = [
    Shape {
        start: 1 << 24,
        lengths: &[(0, 9), (2, 15), (4, 13), (8, 36), (10, 15), (13, 8), (16, 4)],
        gap_every: 80,
    },
    Shape {
        start: 0x2001 << 112,
        lengths: &[(0, 1), (16, 2), (64, 16), (80, 15), (83, 30), (88, 7), (96, 13), (101, 16)],
        gap_every: 11,
    },
];

/// Generates `counts` ranges, IPv4 then IPv6; the seed alone replays them.
pub fn ranges(seed: u64, counts: [usize; 2]) -> Ranges {
    let mut random = SmallRng::seed_from_u64(seed);
    let families = Family::ALL.map(|family| {
        let index = family.index();
        family_ranges(family, &SHAPES[index], counts[index], &mut random)
    });
    Ranges::new(families).expect("each range starts above the one before")
}

fn family_ranges(family: Family, shape: &Shape, count: usize, random: &mut SmallRng) -> Vec<Range> {
    let mut next = shape.start;
    let mut ranges = Vec::with_capacity(count);
    while ranges.len() < count {
        if random.random_ratio(1, shape.gap_every) {
            next += length(shape, random);
        }
        let end = next + length(shape, random) - 1;
        assert!(end < family.last(), "the {family} sample left its family after {} ranges", ranges.len());
        let country = Country(**COUNTRIES.choose(random).expect("the list is not empty"));
        ranges.push(Range { start: next, end, country });
        next = end + 1;
    }
    ranges
}

/// A power of two, or up to twice that; a length of one stays one.
fn length(shape: &Shape, random: &mut SmallRng) -> u128 {
    let &(log2, _) = shape
        .lengths
        .choose_weighted(random, |&(_, weight)| weight)
        .expect("the list is not empty and has no weight below 0");
    let length = 1 << log2;
    length + random.random_range(0..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_both_families_with_gaps_touching_ranges_and_single_addresses() {
        let sample = ranges(SEED, COUNTS);
        assert_eq!(sample.counts(), COUNTS.map(|count| count as u64));
        for family in Family::ALL {
            let ranges = sample.of(family);
            let touching = ranges.windows(2).filter(|pair| pair[0].end + 1 == pair[1].start).count();
            let apart = ranges.len() - 1 - touching;
            assert!(touching > apart * 5, "{family}: {touching} touch, {apart} do not");
            assert!(apart > 1_000, "{family}: {apart} gaps");
            assert!(ranges.iter().filter(|range| range.start == range.end).count() > 1_000, "{family}");
        }
    }

    #[test]
    fn the_seed_alone_replays_it() {
        assert_eq!(ranges(1, [100, 100]), ranges(1, [100, 100]));
        assert_ne!(ranges(1, [100, 100]), ranges(2, [100, 100]));
    }
}
