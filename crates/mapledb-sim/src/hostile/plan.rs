//! Which changes are made: those of a seed, spread evenly over all places, and a child's share of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::bench::Bench;
use super::subject::Subject;
use super::{Counts, Part};
use crate::verify::Broken;

/// What a child is to do: of the changes to the five files of a seed, those that are its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shard {
    /// The seed of the files.
    pub seed: u64,
    /// How many changes of all there are, spread evenly, are made. No more than there are.
    pub picks: u64,
    /// Of those it makes every so many,
    pub step: u64,
    /// from this one on.
    pub first: u64,
    /// Where it notes the change it is about to make.
    pub note: PathBuf,
}

/// One change that a failure is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) part: Part,
    pub(super) index: u64,
}

/// The changes of a seed, one part's after the other's.
pub(super) struct Plan {
    changes: [u64; 5],
}

impl Plan {
    /// Counts the changes to the files of a seed.
    pub(super) fn of(seed: u64) -> Result<Plan, Broken> {
        let mut changes = [0; 5];
        for (count, part) in changes.iter_mut().zip(Part::ALL) {
            *count = Subject::make(part, seed)?.changes();
        }
        Ok(Plan { changes })
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.changes.iter().sum()
    }

    /// Where change `at` of all is.
    fn case(&self, mut at: u64) -> Case {
        for (part, count) in Part::ALL.into_iter().zip(self.changes) {
            if at < count {
                return Case { part, index: at };
            }
            at -= count;
        }
        Case { part: Part::LockOfTheDead, index: 0 }
    }

    /// Pick `pick` of `picks`: one of each stretch, so that all are picked when there are as many.
    fn pick(&self, seed: u64, pick: u64, picks: u64) -> Case {
        let bound = |pick: u64| (u128::from(self.total()) * u128::from(pick) / u128::from(picks)) as u64;
        let (from, to) = (bound(pick), bound(pick + 1));
        let mut rng = SmallRng::seed_from_u64(seed ^ pick.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.case(if to - from > 1 { rng.random_range(from..to) } else { from })
    }
}

/// A child's part: makes changes and prints what became of them, one line of JSON now and then. Ends early when nobody
/// reads those any more.
///
/// # Errors
/// The first wrong answer.
pub fn work(shard: &Shard) -> Result<(), String> {
    let note = File::options().write(true).open(&shard.note).map_err(|error| format!("the note: {error}"))?;
    let mut told = Counts::default();
    let counts = changes(shard, &mut |case, counts| {
        let noted = [case.part as u64, case.index].map(u64::to_le_bytes).concat();
        note.write_all_at(&noted, 0).map_err(|error| format!("the note: {error}"))?;
        if counts.changes - told.changes >= 500 {
            tell(counts)?;
            told = *counts;
        }
        Ok(())
    })?;
    tell(&counts)
}

/// So many changes of all there are to the files of a seed, in this process.
///
/// # Errors
/// The first wrong answer.
pub fn sample(seed: u64, picks: u64) -> Result<Counts, Broken> {
    let shard = Shard { seed, picks, step: 1, first: 0, note: PathBuf::new() };
    changes(&shard, &mut |_, _| Ok(()))
}

/// Makes the changes of a shard, in an order that has something of everything early. `before` is told of each.
fn changes(
    shard: &Shard,
    before: &mut dyn FnMut(&Case, &Counts) -> Result<(), String>,
) -> Result<Counts, Broken> {
    let plan = Plan::of(shard.seed)?;
    let mut benches = Part::ALL.map(|_| None);
    let mut counts = Counts::default();
    let stride = stride(shard.picks);
    for turn in (shard.first..shard.picks).step_by(shard.step.max(1) as usize) {
        let pick = (u128::from(turn) * u128::from(stride) % u128::from(shard.picks)) as u64;
        let case = plan.pick(shard.seed, pick, shard.picks);
        let bench = match &mut benches[case.part as usize] {
            Some(bench) => bench,
            none => none.insert(Bench::of(case.part, shard.seed)?),
        };
        before(&case, &counts)?;
        bench.examine(case.index, &mut counts)?;
    }
    Ok(counts)
}

/// A step that leads through all of `count` before it comes back to the first, by way of distant ones.
fn stride(count: u64) -> u64 {
    fn have_a_common_factor(a: u64, b: u64) -> bool {
        if b == 0 { a > 1 } else { have_a_common_factor(b, a % b) }
    }
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..).find(|step| !have_a_common_factor(*step, count)).unwrap_or(1)
}

fn tell(counts: &Counts) -> Result<(), String> {
    let line = serde_json::to_string(counts).map_err(|error| error.to_string())?;
    writeln!(io::stdout().lock(), "{line}").map_err(|error| format!("nobody listens: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_picked_when_there_are_as_many_and_a_few_come_from_everywhere() {
        let plan = Plan { changes: [10, 20, 30, 5, 7] };
        let total = plan.total();
        let mut found: Vec<(u8, u64)> = (0..total)
            .map(|turn| turn * stride(total) % total)
            .map(|pick| plan.pick(1, pick, total))
            .map(|case| (case.part as u8, case.index))
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len() as u64, total);
        let parts: Vec<u8> = (0..12).map(|pick| plan.pick(1, pick, 12).part as u8).collect();
        assert!((0..5).all(|part| parts.contains(&part)), "{parts:?}");
    }
}
