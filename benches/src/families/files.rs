//! How large files get: by deletes and puts in turn, and under a writer while a reader holds an old snapshot.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Seat, Suite, remove};

pub const ABOUT: &str = "Blocks of all files of a database. Churn: a fifth of the keys, drawn anew each time, are deleted and \
    put again, 1,000 a durable commit, ten times. Pinned: a reader holds its snapshot while random keys are overwritten, \
    1,000 a relaxed commit: 10 M times in the full profile, 400,000 times in the quick one, or until the files are ten \
    times what the entries hold.";

const BATCH: usize = 1_000;
/// Deletes and puts of a fifth.
const TURNS: usize = 10;
/// Overwrites between two looks at the files.
const BETWEEN_LOOKS: usize = 50_000;
/// Times the live data at which a file has grown enough to tell.
const ENOUGH: f64 = 10.0;

pub fn measure(suite: &mut Suite) -> Result<()> {
    churn(suite)?;
    pinned(suite)
}

fn churn(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(2_000, 60_000, ENTRIES_100_MB));
    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Sync, &workload)?;
    let mut random = suite.random(1);
    let mut words = workload.words(0..workload.entries);
    for turn in 0..TURNS {
        random.shuffle(&mut words);
        let fifth = &words[..words.len() / 5];
        let (keys, entries) = (workload.keys(fifth), workload.entries(fifth, turn as u64 + 1));
        for seat in &seats {
            seat.entrant.deletes(&keys, BATCH)?;
            seat.entrant.puts(&entries, BATCH)?;
        }
    }
    let ask = Ask::lower("file size after churn", "bytes").limit(Some(workload.live_bytes() as f64));
    suite.ask(&seats, [ask], (0, 1), Some(Durability::Sync), |seat, _| {
        seat.warm(&workload)?;
        Ok([seat.file_bytes()?])
    })?;
    remove(seats)
}

fn pinned(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(2_000, 60_000, ENTRIES_100_MB));
    let overwrites = suite.profile.pick(5_000, 400_000, 10_000_000);
    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Relaxed, &workload)?;
    let live = workload.live_bytes() as f64;
    let times_live = |seat: &Seat| Ok::<f64, Box<dyn std::error::Error>>(seat.file_bytes()? / live);
    let ask = Ask::lower("file to live data, pinned reader and hot writer", "x").limit(Some(1.0));
    let seed = suite.seed;
    suite.ask(&seats, [ask], (0, 1), Some(Durability::Relaxed), |seat, _| {
        let mut random = crate::workload::SplitMix64::new(seed);
        seat.entrant.pinned(&mut || {
            for done in (0..overwrites).step_by(BETWEEN_LOOKS) {
                if times_live(seat)? > ENOUGH {
                    break;
                }
                let count = BETWEEN_LOOKS.min(overwrites - done);
                let entries = workload.entries(&workload.uniform(count, &mut random), done as u64 + 1);
                seat.entrant.puts(&entries, BATCH)?;
            }
            Ok(())
        })?;
        Ok([times_live(seat)?])
    })?;
    remove(seats)
}
