//! The table on MapleDB: the bytes of an entry, a generation's load, and the lookup.
//!
//! ```text
//! table "ranges", bytes to bytes, an entry a range:
//!   key    family (4 or 6)  u8 | start, big-endian  4 or 16 bytes
//!   value  generation u32 LE | country 2 bytes | end, big-endian  4 or 16 bytes
//! table "state", str to u64:
//!   "generation", and by family how many ranges it has: "ipv4", "ipv6"
//! ```

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use mapledb::{Env, ReadTable, ReadTxn, Table, WriteTxn};

use crate::address::{Address, Country, Family, Range};
use crate::key::{self, Key};
use crate::verdict::{Answer, State};

const RANGES: Table<'static, [u8], [u8]> = Table::new("ranges");
const STATE: Table<'static, str, u64> = Table::new("state");

const GENERATION: &str = "generation";
const COUNTS: [&str; 2] = ["ipv4", "ipv6"];

/// Whether the file is made or must be there.
#[derive(Clone, Copy)]
pub enum Door {
    Create,
    Open,
}

/// Attaches to the database.
///
/// # Errors
/// What MapleDB says.
#[expect(
    unsafe_code,
    reason = "a mapped file asks a promise of whoever opens it, and this is where it is given"
)]
pub fn attach(path: &Path, door: Door) -> Result<Env> {
    let options = Env::options();
    let env = match door {
        // SAFETY: the file lies in a directory of the demo's own, and no process of the demo touches it but
        // through MapleDB; the service removes an earlier one only while none of its processes runs.
        Door::Create => unsafe { options.create(path) },
        // SAFETY: as above, and the file was made by MapleDB.
        Door::Open => unsafe { options.open(path) },
    };
    env.with_context(|| format!("cannot open {}", path.display()))
}

/// Empties the table and loads both families, each with the generation its entries carry; these differ in the
/// canary only.
///
/// # Errors
/// What MapleDB says; the transaction is to be dropped.
pub fn load(txn: &mut WriteTxn, families: [(u32, &[Range]); 2]) -> Result<()> {
    let mut table = txn.open_table(&RANGES)?;
    table.clear()?;
    let entries = Family::ALL.into_iter().zip(families).flat_map(|(family, (generation, ranges))| {
        ranges.iter().map(move |range| {
            let start = Address { family, bits: range.start };
            Ok((Key::of(start), Value::of(family, generation, range)))
        })
    });
    let loaded = table.load_sorted(entries)?;
    let expected: usize = families.iter().map(|(_, ranges)| ranges.len()).sum();
    ensure!(loaded == expected as u64, "{loaded} of {expected} ranges were loaded");
    Ok(())
}

/// Says which generation the table is of.
///
/// # Errors
/// What MapleDB says; the transaction is to be dropped.
pub fn set_state(txn: &mut WriteTxn, state: State) -> Result<()> {
    let mut table = txn.open_table(&STATE)?;
    table.put(GENERATION, &u64::from(state.generation))?;
    for (name, count) in COUNTS.into_iter().zip(state.counts) {
        table.put(name, &count)?;
    }
    Ok(())
}

/// What the table says of itself.
///
/// # Errors
/// What MapleDB says, or the table was never loaded.
pub fn state(txn: &ReadTxn) -> Result<State> {
    let table = txn.table(&STATE)?;
    let number = |name: &str| -> Result<u64> {
        table.get(name)?.with_context(|| format!("the table has no {name:?} in its state"))
    };
    let generation = number(GENERATION)?;
    Ok(State {
        generation: u32::try_from(generation).with_context(|| format!("generation {generation}"))?,
        counts: [number(COUNTS[0])?, number(COUNTS[1])?],
    })
}

/// The ranges as one snapshot holds them.
pub struct Lookups<'t> {
    table: ReadTable<'t, [u8], [u8]>,
}

impl<'t> Lookups<'t> {
    /// # Errors
    /// What MapleDB says, or the table was never loaded.
    pub fn of(txn: &'t ReadTxn) -> Result<Lookups<'t>> {
        Ok(Lookups { table: txn.table(&RANGES)? })
    }

    /// How many ranges each family has, from the subtree counts.
    ///
    /// # Errors
    /// What MapleDB says, or entries of neither family.
    pub fn counts(&self) -> Result<[u64; 2]> {
        let [v4, v6] = Family::ALL.map(|family| {
            let (first, next) = ([family.byte()], [family.byte() + 1]);
            self.table.count(&first[..]..&next[..])
        });
        let (counts, all) = ([v4?, v6?], self.table.len());
        ensure!(counts[0] + counts[1] == all, "{all} entries, of them {counts:?} of IPv4 and IPv6");
        Ok(counts)
    }

    /// Seeks the last range that starts at or below `address`, and takes it if it has not ended before.
    ///
    /// # Errors
    /// What MapleDB says, or bytes that are no entry.
    pub fn lookup(&self, address: Address) -> Result<Answer> {
        let nothing = Answer { range: None, generation: None };
        let Some((key, value)) = self.table.floor(Key::of(address).as_ref())? else {
            return Ok(nothing);
        };
        let Some((start, generation, range)) = entry(key, value) else {
            bail!("not an entry of the table: key {key:02x?}, value {value:02x?}");
        };
        // Below the first IPv6 range lies the last IPv4 one.
        if start.family != address.family {
            return Ok(nothing);
        }
        Ok(Answer { range: range.covers(address.bits).then_some(range), generation: Some(generation) })
    }
}

fn entry(key: &[u8], value: &[u8]) -> Option<(Address, u32, Range)> {
    let start = key::address_of_key(key)?;
    let (generation, value) = value.split_first_chunk()?;
    let (&country, end) = value.split_first_chunk()?;
    let end = key::bits_of_bytes(start.family, end)?;
    let range = Range { start: start.bits, end, country: Country(country) };
    Some((start, u32::from_le_bytes(*generation), range))
}

/// A value: at most 22 bytes, on the stack.
struct Value {
    bytes: [u8; 22],
    len_bytes: usize,
}

impl Value {
    fn of(family: Family, generation: u32, range: &Range) -> Value {
        let len_bytes = 6 + family.len_bytes();
        let mut bytes = [0; 22];
        bytes[..4].copy_from_slice(&generation.to_le_bytes());
        bytes[4..6].copy_from_slice(&range.country.0);
        bytes[6..len_bytes].copy_from_slice(&range.end.to_be_bytes()[16 - family.len_bytes()..]);
        Value { bytes, len_bytes }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Ranges;
    use crate::generation::generation;
    use crate::queries::Queries;
    use crate::reference;
    use crate::source::sample;

    /// Runs on a fresh database and checks the whole file afterwards.
    fn with_database(act: impl FnOnce(&Env)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let env = attach(&directory.path().join("test.maple"), Door::Create).expect("it is writable");
        act(&env);
        let report = env.check(|_| ()).expect("the file is readable");
        assert!(report.is_clean(), "{report:?}");
    }

    fn replace(env: &Env, number: u32, ranges: &Ranges) {
        let mut txn = env.write().expect("nobody else writes");
        load(&mut txn, Family::ALL.map(|family| (number, ranges.of(family)))).expect("it is sorted");
        set_state(&mut txn, State { generation: number, counts: ranges.counts() }).expect("there is room");
        txn.commit().expect("the disk is not full");
    }

    #[test]
    fn each_generation_is_whole_and_answers_as_the_sorted_array() {
        let data = sample::ranges(7, [3_000, 3_000]);
        with_database(|env| {
            for number in 1..=4 {
                let ranges = generation(&data, number);
                replace(env, number, &ranges);
                let txn = env.read().expect("a snapshot");
                let counts = ranges.counts();
                assert_eq!(state(&txn).expect("it is set"), State { generation: number, counts });
                let lookups = Lookups::of(&txn).expect("it is loaded");
                assert_eq!(lookups.counts().expect("two descents"), counts);
                let mut queries = Queries::new(number.into());
                for _ in 0..3_000 {
                    let address = queries.next(&ranges);
                    let answer = lookups.lookup(address).expect("the entry is whole");
                    assert_eq!(answer.range, reference::answer(&ranges, address), "{address}");
                    assert!(answer.generation.is_none_or(|found| found == number), "{address}");
                }
            }
        });
    }

    #[test]
    fn an_address_below_its_familys_first_range_is_a_miss_and_not_the_other_family() {
        let range = Range { start: 10, end: u32::MAX.into(), country: Country(*b"XX") };
        let ranges = Ranges::new([vec![range], vec![range]]).expect("disjoint");
        with_database(|env| {
            replace(env, 1, &ranges);
            let txn = env.read().expect("a snapshot");
            let lookups = Lookups::of(&txn).expect("it is loaded");
            for family in Family::ALL {
                let nothing = Answer { range: None, generation: None };
                let below = lookups.lookup(Address { family, bits: 9 });
                assert_eq!(below.expect("no error"), nothing, "{family}");
                let first = lookups.lookup(Address { family, bits: 10 }).expect("no error");
                assert_eq!(first, Answer { range: Some(range), generation: Some(1) }, "{family}");
            }
        });
    }

    #[test]
    fn a_database_that_was_never_loaded_is_told() {
        with_database(|env| {
            let txn = env.read().expect("a snapshot");
            assert!(state(&txn).is_err());
            assert!(Lookups::of(&txn).is_err());
        });
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        let address = Address { family: Family::V4, bits: 5 };
        let range = Range { start: 5, end: 6, country: Country(*b"XX") };
        let (key, value) = (Key::of(address), Value::of(Family::V4, 9, &range));
        assert_eq!(entry(key.as_ref(), value.as_ref()), Some((address, 9, range)));
        for len in 0..value.as_ref().len() {
            assert_eq!(entry(key.as_ref(), &value.as_ref()[..len]), None, "{len} bytes");
        }
        assert_eq!(entry(&[], value.as_ref()), None);
    }
}
