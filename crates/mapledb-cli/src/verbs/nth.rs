//! `maple nth FILE N`: the entry, or the pair of a multimap, that has so many before it.

use clap::Args;

use crate::cli::{Manner, Reading, StateArgs};
use crate::contents::Contents;
use crate::door;
use crate::entry::Printing;
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::TableArgs;

/// Print the entry, or the pair of a multimap, that has so many before it; exit code 1 if there is none
#[derive(Debug, Args)]
#[command(after_help = COST)]
pub struct NthArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    /// How many entries come before it: 0 is the first
    n: u64,
    #[command(flatten)]
    table: TableArgs,
    /// Count from the last entry: 0 is the last
    #[arg(long, short)]
    reverse: bool,
    /// Only the key
    #[arg(long)]
    keys_only: bool,
}

const COST: &str = "\
Reads one path of the tree, however large the table is. \"maple rank\" is the way back.";

/// Prints it.
pub fn run(args: &NthArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let (contents, types) = Contents::open(&txn, args.table.table.as_deref())?;
    let place = from_the_first(args.n, contents.len(), args.reverse);
    let found = place.map(|place| contents.nth(place)).transpose()?.flatten();
    let Some((key, value)) = found else {
        let ((one, whole), all) = (contents.nouns(), contents.plural(contents.len()));
        return Err(Failure::absent(format!("there is no {one} {}: the {whole} has {all}", args.n)));
    };
    let mut output = Output::open();
    Printing { manner, types: &types, keys_only: args.keys_only }.print(key, value, &mut output)?;
    output.finish()
}

/// The place of entry `n` counted from the first, of so many; `None` if there is no such entry.
fn from_the_first(n: u64, entries: u64, reverse: bool) -> Option<u64> {
    let last = entries.checked_sub(1)?;
    if reverse { last.checked_sub(n) } else { (n <= last).then_some(n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_either_end() {
        let table = [
            (0, 0, false, None),
            (0, 0, true, None),
            (0, 3, false, Some(0)),
            (2, 3, false, Some(2)),
            (3, 3, false, None),
            (0, 3, true, Some(2)),
            (2, 3, true, Some(0)),
            (3, 3, true, None),
            (u64::MAX, u64::MAX, false, None),
            (u64::MAX, 1, true, None),
        ];
        for (n, entries, reverse, place) in table {
            assert_eq!(from_the_first(n, entries, reverse), place, "{n} of {entries}, reverse: {reverse}");
        }
    }
}
