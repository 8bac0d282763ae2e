//! The answer that every lookup is held against: a plain sorted array and a binary search.

use crate::address::{Address, Range, Ranges};

/// The range that `address` lies in; the range below it does not count once it has ended.
pub fn answer(ranges: &Ranges, address: Address) -> Option<Range> {
    let ranges = ranges.of(address.family);
    let above = ranges.partition_point(|range| range.start <= address.bits);
    let floor = ranges[..above].last()?;
    floor.covers(address.bits).then_some(*floor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Country, Family};
    use crate::queries::Queries;
    use crate::source::sample;

    #[test]
    fn it_agrees_with_a_look_at_every_range() {
        let ranges = sample::ranges(3, [300, 300]);
        let mut queries = Queries::new(3);
        for _ in 0..3_000 {
            let address = queries.next(&ranges);
            let plain = ranges.of(address.family).iter().find(|range| range.covers(address.bits));
            assert_eq!(answer(&ranges, address), plain.copied(), "{address}");
        }
    }

    #[test]
    fn gaps_ends_and_touching_ranges() {
        let range = |start, end| Range { start, end, country: Country(*b"XX") };
        let last = u128::from(u32::MAX);
        let ranges =
            Ranges::new([vec![range(2, 4), range(5, 5), range(last, last)], vec![]]).expect("disjoint");
        let cases = [
            (0, None),
            (1, None),
            (2, Some(2)),
            (4, Some(2)),
            (5, Some(5)),
            (6, None),
            (last - 1, None),
            (last, Some(last)),
        ];
        for (bits, start) in cases {
            let found = answer(&ranges, Address { family: Family::V4, bits });
            assert_eq!(found.map(|range| range.start), start, "at {bits}");
        }
        assert_eq!(answer(&ranges, Address { family: Family::V6, bits: 3 }), None);
    }
}
