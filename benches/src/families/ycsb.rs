//! The six core workloads of YCSB (Cooper and others, SoCC 2010), in this process: no client and no network.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::entrant::Operation;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Suite, remove};
use crate::workload::{Entries, SplitMix64, Workload, Zipf};

pub const ABOUT: &str = "YCSB by one thread, each operation a transaction of its own, relaxed commits. A: half reads, half \
    updates; B: 95 % reads; C: reads; D: 95 % reads of what came last, inserts; E: 95 % scans of 1 to 100 entries, inserts; \
    F: half reads, half reads with an update of what was read. Keys are drawn by Zipf's distribution.";

/// A workload: its letter, how many of a hundred operations read or scan, and what the others do.
struct Mix {
    letter: char,
    reads: usize,
    is_scan: bool,
    other: Operation,
    /// Others are of new keys.
    inserts: bool,
    /// Reads are of the latest keys.
    latest: bool,
}

const fn mix(letter: char, reads: usize, other: Operation) -> Mix {
    Mix { letter, reads, is_scan: false, other, inserts: false, latest: false }
}

const MIXES: [Mix; 6] = [
    mix('A', 50, Operation::Put),
    mix('B', 95, Operation::Put),
    mix('C', 100, Operation::Put),
    Mix { inserts: true, latest: true, ..mix('D', 95, Operation::Put) },
    Mix { inserts: true, is_scan: true, ..mix('E', 95, Operation::Put) },
    mix('F', 50, Operation::ReadModifyWrite),
];

const SCAN_MAX: usize = 100;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(4_000, 200_000, ENTRIES_100_MB * 2));
    let seats = suite.filled(&[Role::Whole, Role::Writes], Durability::Relaxed, &workload)?;
    let rounds = suite.profile.pick(1, 3, 7);
    let count = suite.profile.pick(200, 10_000, 100_000);
    let zipf = Zipf::new(workload.entries);
    let mut random = suite.random(1);
    let mut next_new = workload.entries;
    for mix in &MIXES {
        let made: Vec<(Vec<Operation>, Entries)> = (0..rounds)
            .map(|_| mix.operations(&workload, count, &zipf, &mut next_new, &mut random))
            .collect();
        let ask = Ask::higher(format!("YCSB {}", mix.letter), "1/s");
        suite.ask(&seats, [ask], (0, rounds), Some(Durability::Relaxed), |seat, round| {
            let (operations, entries) = &made[round];
            Ok([count as f64 / seat.entrant.mixed(operations, entries)?])
        })?;
    }
    remove(seats)
}

impl Mix {
    fn operations(
        &self,
        workload: &Workload,
        count: usize,
        zipf: &Zipf,
        next_new: &mut usize,
        random: &mut SplitMix64,
    ) -> (Vec<Operation>, Entries) {
        let (mut operations, mut words) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let is_read = random.below(100) < self.reads;
            operations.push(match (is_read, self.is_scan) {
                (true, false) => Operation::Read,
                (true, true) => Operation::Scan(1 + random.below(SCAN_MAX)),
                (false, _) => self.other,
            });
            let drawn = zipf.draw(random);
            words.push(workload.word(match (is_read, self.inserts, self.latest) {
                (false, true, _) => {
                    *next_new += 1;
                    *next_new - 1
                }
                (true, _, true) => *next_new - 1 - drawn.min(*next_new - 1),
                _ => drawn,
            }));
        }
        // Other values than those of other rounds.
        (operations, workload.entries(&words, 1 + random.below(1 << 20) as u64))
    }
}
