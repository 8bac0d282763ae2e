//! What sessions did, to be added up and told.

use std::collections::BTreeMap;

use mapledb::Recovery;

use crate::harness::Tally;
use crate::image::Ending;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions, one for each seed.
    pub sessions: u64,
    /// Commits of all runs, nested ones included.
    pub commits: u64,
    /// Moments at which everything could end.
    pub points: u64,
    /// Images verified.
    pub images: u64,
    /// Images by how everything ended.
    pub by_ending: BTreeMap<Ending, u64>,
    /// Images of a crash during recovery, or after it, from another crash.
    pub again: u64,
    /// Syncs that were made to fail.
    pub failed_syncs: u64,
    /// Recoveries that passed a meta over.
    pub passed_over: u64,
    /// Recoveries that adopted relaxed commits from the lock file.
    pub adopted: u64,
    /// Recoveries that refused relaxed commits of the lock file.
    pub refused: u64,
    /// Crash points of creations.
    pub births: u64,
    /// Readers that began during a sync.
    pub reads_in_syncs: u64,
    /// Writers that tried to begin during a sync, and were let in.
    pub writers_in_syncs: u64,
    /// Flipped bits that were read before anybody had verified them.
    pub flips: u64,
    /// Evictions under an open environment.
    pub live_evictions: u64,
    /// Times that free space was given back.
    pub trims: u64,
    /// Times that the file was packed.
    pub packings: u64,
    /// Second processes on the file.
    pub seconds: u64,
    /// Those of them that died at their work, and were taken over from.
    pub deaths: u64,
    /// Times that a reader was parked.
    pub parkings: u64,
    /// Parked readers that were told that they had been evicted.
    pub evictions: u64,
}

impl Counts {
    fn numbers(&mut self) -> [&mut u64; 20] {
        [
            &mut self.sessions,
            &mut self.commits,
            &mut self.points,
            &mut self.images,
            &mut self.again,
            &mut self.failed_syncs,
            &mut self.passed_over,
            &mut self.adopted,
            &mut self.refused,
            &mut self.births,
            &mut self.reads_in_syncs,
            &mut self.writers_in_syncs,
            &mut self.flips,
            &mut self.live_evictions,
            &mut self.trims,
            &mut self.packings,
            &mut self.seconds,
            &mut self.deaths,
            &mut self.parkings,
            &mut self.evictions,
        ]
    }

    pub(super) fn add(&mut self, more: &Counts) {
        let mut more = more.clone();
        let numbers = more.numbers().map(|number| *number);
        self.numbers().into_iter().zip(numbers).for_each(|(sum, number)| *sum += number);
        for (ending, count) in &more.by_ending {
            *self.by_ending.entry(*ending).or_default() += count;
        }
    }

    /// Takes note of what an opening found.
    pub(super) fn note(&mut self, recovery: &Recovery) {
        self.passed_over += u64::from(recovery.passed_over.is_some());
        self.adopted += u64::from(recovery.adopted_txnid.is_some());
        self.refused += u64::from(recovery.refused_relaxed.is_some());
    }

    pub(super) fn tell(&self, tally: &mut Tally) {
        tally.count("sessions", self.sessions);
        tally.count("commits", self.commits);
        tally.count("crash points", self.points);
        tally.count("of a creation", self.births);
        tally.count("of a crash again", self.again);
        tally.count("failed syncs", self.failed_syncs);
        tally.count("metas passed over", self.passed_over);
        tally.count("relaxed adopted", self.adopted);
        tally.count("relaxed refused", self.refused);
        tally.count("readers during syncs", self.reads_in_syncs);
        tally.count("writers let in during syncs", self.writers_in_syncs);
        tally.count("flipped bits", self.flips);
        tally.count("evictions beside readers", self.live_evictions);
        tally.count("trims", self.trims);
        tally.count("packings", self.packings);
        tally.count("second processes", self.seconds);
        tally.count("deaths of one", self.deaths);
        tally.count("readers parked", self.parkings);
        tally.count("readers evicted", self.evictions);
    }
}
