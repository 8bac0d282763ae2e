//! What one read transaction has seen, judged: one generation, its count, the right answers.

use serde::{Deserialize, Serialize};

use crate::address::{Address, Family, Range, Ranges};
use crate::reference;

/// What the table says of itself: which generation it is and how many ranges each family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub generation: u32,
    pub counts: [u64; 2],
}

/// The answer of one lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The range the address lies in; a floor that has ended before it is none.
    pub range: Option<Range>,
    /// The generation of the entry that the seek came to, in the range or not; none if no range lies below.
    pub generation: Option<u32>,
}

/// Sums over read transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub transactions: u64,
    pub lookups: u64,
    /// By family, IPv4 first.
    pub hits: [u64; 2],
    pub misses: [u64; 2],
    /// Transactions that saw more than one generation, or another count than their generation has.
    pub mixed: u64,
    /// Of those, by what gave them away.
    pub mixed_generations: u64,
    pub mixed_counts: u64,
    /// Answers that are not the sorted array's.
    pub wrong: u64,
    /// The first thing that was not right, in words.
    pub first_trouble: Option<String>,
}

impl Verdict {
    /// Judges one transaction: its state, how many ranges its tables hold, and what each query was answered.
    /// `ranges` are those of the state's generation.
    pub fn judge(
        &mut self,
        state: State,
        counted: [u64; 2],
        ranges: &Ranges,
        answers: impl Iterator<Item = (Address, Answer)>,
    ) {
        let mut has_other_generation = false;
        for (address, answer) in answers {
            self.count_answer(address.family, answer);
            if let Some(other) = answer.generation.filter(|&generation| generation != state.generation) {
                has_other_generation = true;
                self.trouble(|| {
                    format!("generation {other} at {address} in a table of generation {}", state.generation)
                });
            }
            let expected = reference::answer(ranges, address);
            if answer.range != expected {
                self.wrong += 1;
                self.trouble(|| format!("{address}: {:?} where {expected:?} is right", answer.range));
            }
        }
        let has_other_count = counted != state.counts || counted != ranges.counts();
        if has_other_count {
            self.trouble(|| {
                let State { generation, counts } = state;
                format!("{counted:?} ranges counted where generation {generation} has {counts:?}")
            });
        }
        self.transactions += 1;
        self.mixed += u64::from(has_other_generation || has_other_count);
        self.mixed_generations += u64::from(has_other_generation);
        self.mixed_counts += u64::from(has_other_count);
    }

    fn count_answer(&mut self, family: Family, answer: Answer) {
        self.lookups += 1;
        let counters = if answer.range.is_some() { &mut self.hits } else { &mut self.misses };
        counters[family.index()] += 1;
    }

    fn trouble(&mut self, say: impl FnOnce() -> String) {
        self.first_trouble.get_or_insert_with(say);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Country;

    const STATE: State = State { generation: 3, counts: [1, 1] };

    fn ranges() -> Ranges {
        Ranges::new([vec![range()], vec![range()]]).expect("disjoint")
    }

    fn range() -> Range {
        Range { start: 10, end: 20, country: Country(*b"XX") }
    }

    fn judged(counted: [u64; 2], answers: &[(u128, Option<Range>, Option<u32>)]) -> Verdict {
        let mut verdict = Verdict::default();
        let answers = answers.iter().map(|&(bits, range, generation)| {
            (Address { family: Family::V4, bits }, Answer { range, generation })
        });
        verdict.judge(STATE, counted, &ranges(), answers);
        verdict
    }

    #[test]
    fn one_generation_with_its_count_and_right_answers_passes() {
        let verdict = judged([1, 1], &[(5, None, None), (10, Some(range()), Some(3)), (21, None, Some(3))]);
        assert_eq!((verdict.mixed, verdict.wrong, &verdict.first_trouble), (0, 0, &None));
        assert_eq!((verdict.transactions, verdict.lookups), (1, 3));
        assert_eq!((verdict.hits, verdict.misses), ([1, 0], [2, 0]));
    }

    #[test]
    fn an_entry_of_another_generation_is_mixed_even_where_the_answer_is_right() {
        for (bits, found) in [(10, Some(range())), (21, None)] {
            let verdict = judged([1, 1], &[(bits, found, Some(4)), (bits, found, Some(4))]);
            assert_eq!((verdict.mixed, verdict.mixed_generations, verdict.mixed_counts), (1, 1, 0));
            assert_eq!(verdict.wrong, 0);
        }
    }

    #[test]
    fn another_count_is_mixed() {
        let verdict = judged([1, 0], &[(10, Some(range()), Some(3))]);
        assert_eq!((verdict.mixed, verdict.mixed_generations, verdict.mixed_counts), (1, 0, 1));
        let said = verdict.first_trouble.expect("it is told");
        assert_eq!(said, "[1, 0] ranges counted where generation 3 has [1, 1]");
    }

    #[test]
    fn an_answer_that_differs_in_anything_is_wrong() {
        let other_end = Range { end: 21, ..range() };
        let other_country = Range { country: Country(*b"YY"), ..range() };
        for (bits, found) in
            [(10, None), (21, Some(range())), (10, Some(other_end)), (10, Some(other_country))]
        {
            let verdict = judged([1, 1], &[(bits, found, Some(3))]);
            assert_eq!((verdict.wrong, verdict.mixed), (1, 0), "{found:?} at {bits}");
        }
    }
}
