//! The table changes with every generation, as a registry's does: a few ranges withdrawn, a few divided, a few
//! begun one address later. So a reader that mixes generations finds other keys, not only other values.
//!
//! A generation is a pure function of the data and its number. Each process derives it for itself, and what a
//! reader checks answers against never came through the database.

use crate::address::{Family, Range, Ranges};

/// What happens to a range in one generation.
enum Change {
    Kept,
    Withdrawn,
    Divided,
    BegunLater,
}

/// The ranges of generation `number`, from the data that all generations come from.
pub fn generation(data: &Ranges, number: u32) -> Ranges {
    let families = Family::ALL.map(|family| {
        let ranges = data.of(family);
        let mut changed = Vec::with_capacity(ranges.len() + ranges.len() / 8);
        for (index, &range) in ranges.iter().enumerate() {
            apply(change(family, index, number), range, &mut changed);
        }
        changed
    });
    Ranges::new(families).expect("no change reaches outside its range, so disjoint ones stay disjoint")
}

fn apply(change: Change, range: Range, changed: &mut Vec<Range>) {
    let has_two = range.start < range.end;
    match change {
        Change::Withdrawn => {}
        Change::Divided if has_two => {
            let middle = range.start + (range.end - range.start) / 2;
            changed.push(Range { end: middle, ..range });
            changed.push(Range { start: middle + 1, ..range });
        }
        Change::BegunLater if has_two => changed.push(Range { start: range.start + 1, ..range }),
        Change::Kept | Change::Divided | Change::BegunLater => changed.push(range),
    }
}

/// Three ranges in sixteen change.
fn change(family: Family, index: usize, number: u32) -> Change {
    let place = (index as u64) << 1 | family.index() as u64;
    match mixed(place ^ mixed(number.into())) >> 60 {
        0 => Change::Withdrawn,
        1 => Change::Divided,
        2 => Change::BegunLater,
        _ => Change::Kept,
    }
}

/// The finalizer of SplitMix64: every bit of the result hangs on every bit of `word`.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sample;

    fn starts(ranges: &Ranges, family: Family) -> Vec<u128> {
        ranges.of(family).iter().map(|range| range.start).collect()
    }

    #[test]
    fn key_sets_and_counts_differ_between_generations_and_a_number_alone_replays_one() {
        let data = sample::ranges(1, [5_000, 5_000]);
        let generations: Vec<Ranges> = (1..=20).map(|number| generation(&data, number)).collect();
        for family in Family::ALL {
            for pair in generations.windows(2) {
                assert_ne!(starts(&pair[0], family), starts(&pair[1], family));
            }
        }
        assert_eq!(generation(&data, 7), generations[6]);
    }

    #[test]
    fn a_range_of_one_address_is_kept_or_withdrawn() {
        let range = Range { start: 9, end: 9, country: crate::address::Country(*b"XX") };
        for change in [Change::Kept, Change::Divided, Change::BegunLater] {
            let mut changed = vec![];
            apply(change, range, &mut changed);
            assert_eq!(changed, [range]);
        }
    }

    #[test]
    fn changes_stay_inside_their_range_up_to_the_last_address() {
        let whole = Range { start: 0, end: u128::MAX, country: crate::address::Country(*b"XX") };
        let mut changed = vec![];
        apply(Change::Divided, whole, &mut changed);
        assert_eq!((changed[0].start, changed[1].end), (0, u128::MAX));
        assert_eq!(changed[0].end + 1, changed[1].start);
    }
}
