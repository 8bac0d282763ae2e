//! Operations on the pairs of a multimap.
//!
//! A few keys have most of the duplicates, which come and go in bulk as well as one by one: so they grow from one inline to a
//! sub-page and to a nested tree, and back.

use mapledb::{Error, Result, WriteMultimap};
use rand::Rng;
use rand::rngs::SmallRng;

use super::bytes::{DUPLICATES, duplicate, in_order, key_of_many};
use super::{Profile, agree};
use crate::model::Pairs;

/// An operation on pairs, and the answer it must have.
#[derive(Clone, Debug)]
pub(super) enum PairAct {
    Insert {
        key: Vec<u8>,
        dup: Vec<u8>,
        is_new: bool,
    },
    InsertAll {
        key: Vec<u8>,
        dups: Vec<Vec<u8>>,
        added: u64,
    },
    Append {
        key: Vec<u8>,
        dup: Vec<u8>,
        is_last: bool,
    },
    Load {
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Delete {
        key: Vec<u8>,
        dup: Vec<u8>,
        was_there: bool,
    },
    /// All of these duplicates go, one after the other.
    Thin {
        key: Vec<u8>,
        dups: Vec<Vec<u8>>,
    },
    DeleteKey {
        key: Vec<u8>,
        gone: u64,
    },
    DeleteRange {
        low: Vec<u8>,
        high: Vec<u8>,
        gone: u64,
    },
    Clear,
    Sequence {
        count: u64,
        first: u64,
    },
    Look {
        key: Vec<u8>,
        dup: Vec<u8>,
        is_there: bool,
        count: u64,
        rank: u64,
        len: u64,
    },
}

impl PairAct {
    pub(super) fn draw(
        pairs: &mut Pairs,
        sequence: &mut u64,
        profile: &Profile,
        rng: &mut SmallRng,
    ) -> PairAct {
        let order = pairs.order();
        let key = key_of_many(order, profile, rng);
        let number = rng.random_range(0..DUPLICATES);
        let dup = duplicate(number, pairs.kind(), profile);
        match rng.random_range(0..100) {
            0..32 => {
                let is_new = pairs.insert(&key, &dup);
                PairAct::Insert { key, dup, is_new }
            }
            32..44 => {
                let dups = many(number, pairs, profile, rng);
                let added = dups.iter().filter(|dup| pairs.insert(&key, dup)).count() as u64;
                PairAct::InsertAll { key, dups, added }
            }
            44..48 => append(pairs, key, dup),
            48..51 if pairs.is_empty() => load(pairs, number, profile, rng),
            48..72 => {
                let dup = some_dup(pairs, &key, dup, rng);
                let was_there = pairs.remove(&key, &dup);
                PairAct::Delete { key, dup, was_there }
            }
            72..76 => thin(pairs, key, rng),
            76..81 => {
                let gone = pairs.remove_key(&key);
                PairAct::DeleteKey { key, gone }
            }
            81..84 => {
                let (low, high) = in_order(order, key, key_of_many(order, profile, rng));
                let gone = pairs.remove_range(&low, &high);
                PairAct::DeleteRange { low, high, gone }
            }
            84..85 => {
                pairs.clear();
                PairAct::Clear
            }
            85..88 => {
                let (count, first) = (rng.random_range(1..5), *sequence);
                *sequence += count;
                PairAct::Sequence { count, first }
            }
            _ => {
                let dup = some_dup(pairs, &key, dup, rng);
                let (is_there, count) = (pairs.contains(&key, &dup), pairs.count_of(&key));
                let (rank, len) = (pairs.rank(&key, &dup), pairs.len());
                PairAct::Look { key, dup, is_there, count, rank, len }
            }
        }
    }

    pub(super) fn perform(&self, mut table: WriteMultimap<'_, [u8], [u8]>) -> Result<()> {
        match self {
            PairAct::Insert { key, dup, is_new } => {
                agree(table.insert(&key[..], &dup[..])? == *is_new, "whether a pair is new")
            }
            PairAct::InsertAll { key, dups, added } => {
                let dups = dups.iter().map(|dup| &dup[..]);
                agree(table.insert_all(&key[..], dups)? == *added, "how many pairs are new")
            }
            PairAct::Append { key, dup, is_last } => {
                let found = match table.append(&key[..], &dup[..]) {
                    Ok(()) => true,
                    Err(Error::NotSorted) => false,
                    Err(other) => return Err(other),
                };
                agree(found == *is_last, "whether a pair may be appended")
            }
            PairAct::Load { pairs } => {
                let loaded = table.load_sorted(pairs.iter().map(|(key, dup)| Ok((&key[..], &dup[..]))))?;
                agree(loaded == pairs.len() as u64, "how many pairs were loaded")
            }
            PairAct::Delete { key, dup, was_there } => {
                agree(table.delete(&key[..], &dup[..])? == *was_there, "whether a deleted pair was there")
            }
            PairAct::Thin { key, dups } => {
                for dup in dups {
                    agree(
                        table.delete(&key[..], &dup[..])?,
                        "whether a pair was there that goes with others",
                    )?;
                }
                Ok(())
            }
            PairAct::DeleteKey { key, gone } => {
                agree(table.delete_all(&key[..])? == *gone, "how many duplicates a deleted key had")
            }
            PairAct::DeleteRange { low, high, gone } => {
                agree(table.delete_range(&low[..]..&high[..])? == *gone, "how many pairs a range had")
            }
            PairAct::Clear => table.clear(),
            PairAct::Sequence { count, first } => {
                agree(table.next_sequence(*count)? == *first, "the next number of a sequence")
            }
            PairAct::Look { key, dup, is_there, count, rank, len } => {
                let reading = table.reading()?;
                agree(reading.contains(&key[..], &dup[..])? == *is_there, "whether a pair is there")?;
                agree(reading.count_of(&key[..])? == *count, "how many duplicates a key has")?;
                agree(reading.rank(&key[..], &dup[..])? == *rank, "how many pairs come before one")?;
                agree(reading.len() == *len, "how many pairs there are")
            }
        }
    }
}

/// Duplicates that come at once: a few, or enough to make another form of them.
fn many(number: u32, pairs: &Pairs, profile: &Profile, rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let most = [6, 60, 300][rng.random_range(0..3)];
    let count = rng.random_range(1..=most);
    let step = rng.random_range(1..4);
    (0..count).map(|n| duplicate((number + n * step) % DUPLICATES, pairs.kind(), profile)).collect()
}

/// A pair that goes behind all others, if it does; of the last key more often than not.
fn append(pairs: &mut Pairs, key: Vec<u8>, dup: Vec<u8>) -> PairAct {
    let key = pairs.keys().last().map_or(key, |last| last.into_owned());
    let is_last = pairs.rank(&key, &dup) == pairs.len() && !pairs.contains(&key, &dup);
    if is_last {
        pairs.insert(&key, &dup);
    }
    PairAct::Append { key, dup, is_last }
}

/// Pairs in order, for a multimap that has none.
fn load(pairs: &mut Pairs, number: u32, profile: &Profile, rng: &mut SmallRng) -> PairAct {
    for _ in 0..rng.random_range(1..6) {
        let key = key_of_many(pairs.order(), profile, rng);
        for dup in many(number, pairs, profile, rng) {
            pairs.insert(&key, &dup);
        }
    }
    PairAct::Load { pairs: pairs.iter().map(|(key, dup)| (key.into_owned(), dup.into_owned())).collect() }
}

/// All but a few duplicates of a key go, from one end.
fn thin(pairs: &mut Pairs, key: Vec<u8>, rng: &mut SmallRng) -> PairAct {
    let going = pairs.count_of(&key).saturating_sub(rng.random_range(0..12)) as usize;
    let dups: Vec<Vec<u8>> = match rng.random() {
        true => pairs.of(&key).take(going).map(|dup| dup.into_owned()).collect(),
        false => pairs.of(&key).rev().take(going).map(|dup| dup.into_owned()).collect(),
    };
    for dup in &dups {
        pairs.remove(&key, dup);
    }
    PairAct::Thin { key, dups }
}

/// A duplicate that the key has, mostly.
fn some_dup(pairs: &Pairs, key: &[u8], dup: Vec<u8>, rng: &mut SmallRng) -> Vec<u8> {
    match pairs.count_of(key) {
        0 => dup,
        _ if rng.random_ratio(1, 5) => dup,
        count => {
            let at = rng.random_range(0..count) as usize;
            pairs.of(key).nth(at).map_or(dup, |dup| dup.into_owned())
        }
    }
}
