//! Keys, values and duplicates, as they are drawn.

use std::sync::Arc;

use mapledb::{Duplicates, KeyOrder};
use rand::Rng;
use rand::rngs::SmallRng;

use super::Profile;

pub(super) fn key(profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    numbered(rng.random_range(0..profile.keys), profile)
}

/// The key or the duplicate of this number.
fn numbered(number: u32, profile: &Profile) -> Vec<u8> {
    let mut key = number.wrapping_mul(0x9e37_79b9).to_be_bytes()[..1 + (number % 4) as usize].to_vec();
    if number.is_multiple_of(5) {
        // Long common prefixes, up to the longest key that there may be.
        let len = [30, 200, profile.page_size / 4 - 8][(number as usize / 5) % 3];
        let mut long = vec![b'p'; len.min(1000)];
        long.append(&mut key);
        key = long;
    }
    key.extend_from_slice(&number.to_le_bytes());
    key.truncate(profile.page_size / 4);
    key
}

pub(super) fn value(profile: &Profile, rng: &mut SmallRng) -> Arc<[u8]> {
    let is_large = profile.large_max > 0 && rng.random_ratio(1, 12);
    let len = rng.random_range(0..=if is_large { profile.large_max } else { profile.value_max });
    let mut value = vec![0; len];
    match rng.random_range(0..8) {
        // Runs of one byte, so that torn blocks look alike.
        0 => value.fill(rng.random()),
        _ => rng.fill(&mut value[..]),
    }
    value.into()
}

/// A key of a multimap: a few have most of the duplicates.
pub(super) fn key_of_many(profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    let count = if rng.random_ratio(2, 3) { 3 } else { profile.keys.min(100) };
    numbered(rng.random_range(0..count), profile)
}

/// How many duplicates there are to choose from: enough for a nested tree of several pages.
pub(super) const DUPLICATES: u32 = 700;

/// What the duplicates of a new multimap are.
pub(super) fn duplicates(rng: &mut SmallRng) -> Duplicates {
    let (order, len) = [
        (KeyOrder::BYTEWISE, None),
        (KeyOrder::BYTEWISE, None),
        (KeyOrder::REVERSE, None),
        (KeyOrder::BYTEWISE, Some(8)),
        (KeyOrder::BYTEWISE, Some(200)),
        (KeyOrder::REVERSE, Some(5)),
        (KeyOrder::INTEGER, Some(4)),
        (KeyOrder::INTEGER, Some(8)),
    ][rng.random_range(0..8)];
    Duplicates { order, len }
}

/// The duplicate of this number.
pub(super) fn duplicate(number: u32, kind: Duplicates, profile: &Profile) -> Vec<u8> {
    match kind.len {
        None => numbered(number, profile),
        Some(len) => number.to_be_bytes().into_iter().cycle().take(len).collect(),
    }
}
