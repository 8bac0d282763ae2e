//! How costs grow with the number of entries.

use crate::Result;
use crate::engine::Durability;
use crate::engines::{Peer, Role};
use crate::entrant::{Direction, Txns};
use crate::results::Ask;
use crate::suite::{Seat, Suite, fill_sorted, remove};
use crate::workload::{Keys, Workload};

pub const ABOUT: &str = "Small records, 8-byte keys and 16-byte values, loaded in ascending order: what a lookup, a short scan \
    and a hundred puts in a durable commit cost as their number grows tenfold at a time. The largest number is for MapleDB \
    and LMDB alone.";

const KEY: usize = 8;
const VALUE: usize = 16;
/// Entries from which on only two engines take part.
const FOR_TWO: usize = 100_000_000;
/// Bytes of disk that an entry may take in both together.
const ENTRY_DISK_BYTES: u64 = 120;

pub fn measure(suite: &mut Suite) -> Result<()> {
    let sizes: &[usize] = suite.profile.pick(
        &[1_000, 10_000],
        &[10_000, 100_000, 1_000_000],
        &[10_000, 100_000, 1_000_000, 10_000_000, FOR_TWO],
    );
    for entries in sizes {
        let workload = Workload::new(*entries, KEY, VALUE, suite.seed);
        let takes_part = |peer: &Peer| *entries < FOR_TWO || matches!(peer.name, "maple" | "lmdb");
        if *entries >= FOR_TWO && suite.free_bytes()? < *entries as u64 * ENTRY_DISK_BYTES {
            suite.skip("the disk has no room for 10^8 entries");
            continue;
        }
        let peers = suite.peers(&[Role::Whole]).into_iter().filter(takes_part);
        let seats =
            peers.map(|peer| suite.seat(peer, Durability::Sync, &workload)).collect::<Result<Vec<Seat>>>()?;
        fill_sorted(&seats, &workload)?;
        seats.iter().try_for_each(|seat| seat.warm(&workload))?;
        at_size(suite, &seats, &workload)?;
        remove(seats)?;
    }
    Ok(())
}

fn at_size(suite: &mut Suite, seats: &[Seat], workload: &Workload) -> Result<()> {
    let rounds = (1, suite.profile.pick(1, 5, 11));
    let count = suite.profile.pick(200, 20_000, 50_000);
    let mut random = suite.random(workload.entries as u64);
    let keys: Vec<Keys> =
        (0..rounds.0 + rounds.1).map(|_| workload.keys(&workload.uniform(count, &mut random))).collect();
    let starts: Vec<Keys> = (0..rounds.0 + rounds.1)
        .map(|_| workload.keys(&workload.uniform(count / 100, &mut random)))
        .collect();
    let put_words = workload.uniform(suite.profile.pick(100, 1_000, 5_000), &mut random);
    let (at, number) = (workload.entries as f64, power(workload.entries));

    let read = Ask::lower(format!("point read, {number} entries"), "ns").on("point read by entries", at);
    suite.ask(seats, [read], rounds, None, |seat, round| {
        Ok([seat.entrant.gets(&keys[round], VALUE, Txns::One)?])
    })?;
    let range = Ask::lower(format!("range of 100, {number} entries"), "ns/entry");
    suite.ask(seats, [range], rounds, None, |seat, round| {
        Ok([seat.entrant.scans(&starts[round], 100, VALUE, Direction::Forward)?])
    })?;
    let put = Ask::lower(format!("overwrite, 100 per durable commit, {number} entries"), "us/put");
    suite.ask(seats, [put], (0, rounds.1.min(3)), Some(Durability::Sync), |seat, round| {
        let puts = workload.entries(&put_words, 1 + round as u64);
        Ok([seat.entrant.puts(&puts, 100)?.seconds * 1e6 / puts.len() as f64])
    })
}

/// A power of ten as one writes it.
fn power(entries: usize) -> String {
    format!("10^{}", entries.ilog10())
}
