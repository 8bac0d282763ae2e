//! `maple sample FILE`: entries, or pairs of a multimap, chosen by chance, each as likely as any other.
//!
//! Positions are drawn, not keys: the counts in the branches lead to the entry at each, so the choice is fair however
//! the keys lie, and costs one path of the tree an entry.

use clap::Args;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::index;

use crate::cli::{Manner, Reading, StateArgs};
use crate::contents::Contents;
use crate::door::{self, failure};
use crate::entry::Printing;
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{RangeArgs, TableArgs};

/// Print entries, or pairs of a multimap, chosen by chance, each as likely as any other
#[derive(Debug, Args)]
#[command(after_help = FAIRNESS)]
pub struct SampleArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// So many entries, or all if there are fewer
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    limit: u64,
    /// Repeat the choices of an earlier run; by default each run has its own
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only the keys
    #[arg(long)]
    keys_only: bool,
}

const FAIRNESS: &str = "\
No entry is chosen twice; they are printed in key order. Reads one path of the tree for each entry, however large the \
table is.";

/// Prints them.
pub fn run(args: &SampleArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let (contents, types) = Contents::open(&txn, args.table.table.as_deref())?;
    let bounds = args.range.bounds(&types, contents.is_multimap())?;
    args.range.check_order(contents.order())?;
    let seed = args.seed.map_or_else(|| own_seed(manner), Ok)?;
    let first = bounds.before().map_or(Ok(0), |before| contents.count(&before))?;
    let entries = contents.count(&bounds)?;
    let printing = Printing { manner, types: &types, keys_only: args.keys_only };
    let mut output = Output::open();
    for place in choose(entries, args.limit, seed) {
        if let Some((key, value)) = contents.nth(first.saturating_add(place))? {
            printing.print(key, value, &mut output)?;
        }
    }
    output.finish()
}

/// A seed of this run's own, told so that the run can be repeated.
fn own_seed(manner: Manner) -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    mapledb_os::process::random_bytes(&mut bytes).map_err(|error| failure(error.into()))?;
    let seed = u64::from_le_bytes(bytes);
    door::tell_note(&format!("--seed {seed} chooses these entries again"), manner);
    Ok(seed)
}

/// `limit` different numbers below `entries`, or all, in order.
fn choose(entries: u64, limit: u64, seed: u64) -> Vec<u64> {
    let length = usize::try_from(entries).unwrap_or(usize::MAX);
    let amount = usize::try_from(limit).unwrap_or(usize::MAX).min(length);
    let mut chosen: Vec<u64> = index::sample(&mut SmallRng::seed_from_u64(seed), length, amount)
        .into_iter()
        .map(|place| place as u64)
        .collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_different_in_order_and_repeatable() {
        for (entries, limit) in [(0, 5), (1, 0), (5, 5), (5, 9), (1_000, 10), (1_000, 900), (1 << 40, 3)] {
            let chosen = choose(entries, limit, 7);
            assert_eq!(chosen.len() as u64, limit.min(entries));
            assert!(chosen.is_sorted_by(|a, b| a < b), "{chosen:?}");
            assert!(chosen.iter().all(|place| *place < entries));
            assert_eq!(chosen, choose(entries, limit, 7));
        }
        assert_ne!(choose(1_000, 10, 7), choose(1_000, 10, 8));
    }

    #[test]
    fn each_place_is_as_likely_as_any_other() {
        let mut drawn = [0u32; 20];
        for seed in 0..10_000 {
            for place in choose(20, 5, seed) {
                drawn[usize::try_from(place).unwrap()] += 1;
            }
        }
        // A quarter of 10,000 runs each, with a standard deviation of 43: six of them are 260.
        assert!(drawn.iter().all(|times| times.abs_diff(2_500) < 260), "{drawn:?}");
    }
}
