//! Filling a fresh database in one transaction: random and sorted; and how large the file is then.

use crate::Result;
use crate::engine::Durability;
use crate::engines::Role;
use crate::results::Ask;
use crate::suite::{ENTRIES_100_MB, Suite};

pub const ABOUT: &str = "A fresh database filled with 100 MB (24-byte keys, 150-byte values) in one durable transaction, \
    its commit included: in random order by puts, and in ascending order by the fastest way that the engine has. File \
    size counts the blocks of all files.";

pub fn measure(suite: &mut Suite) -> Result<()> {
    let workload = suite.workload(suite.profile.pick(4_000, ENTRIES_100_MB, ENTRIES_100_MB));
    let rounds = suite.profile.pick(1, 2, 5);
    let roles = [Role::Whole, Role::Writes];
    let each = |seconds: f64| seconds * 1e9 / workload.entries as f64;

    let entries = workload.entries(&workload.words(0..workload.entries), 0);
    let asks = [
        Ask::lower("random insertion in one transaction", "ns/put"),
        Ask::lower("file size after random load", "bytes").limit(Some(workload.live_bytes() as f64)),
    ];
    suite.ask_peers(&roles, asks, rounds, Durability::Sync, |suite, peer, _| {
        let seat = suite.seat(peer, Durability::Sync, &workload)?;
        let changed = seat.entrant.puts(&entries, entries.len())?;
        seat.warm(&workload)?;
        let figures = [each(changed.seconds), seat.file_bytes()?];
        seat.remove()?;
        Ok(figures)
    })?;

    let entries = workload.entries(&workload.sorted_words(), 0);
    let asks = [
        Ask::lower("sorted load", "ns/put"),
        Ask::lower("file size after sorted load", "bytes").limit(Some(workload.live_bytes() as f64)),
    ];
    suite.ask_peers(&roles, asks, rounds, Durability::Sync, |suite, peer, _| {
        let seat = suite.seat(peer, Durability::Sync, &workload)?;
        let seconds = seat.entrant.sorted_load(&entries)?;
        seat.warm(&workload)?;
        let figures = [each(seconds), seat.file_bytes()?];
        seat.remove()?;
        Ok(figures)
    })
}
