//! Keys, values and duplicates, as they are drawn.

use std::sync::Arc;

use mapledb::{Duplicates, KeyOrder};
use rand::Rng;
use rand::rngs::SmallRng;

use super::Profile;
use crate::order::{BY_LENGTH, FROM_THE_END, ORDERS};

/// The order of the keys of a new table: one in two has another than the bytewise one.
pub(super) fn order(rng: &mut SmallRng) -> KeyOrder {
    if rng.random() { KeyOrder::BYTEWISE } else { ORDERS[rng.random_range(1..ORDERS.len())] }
}

/// A key of a table in this order.
pub(super) fn key(order: KeyOrder, profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    key_numbered(rng.random_range(0..profile.keys), order, profile)
}

/// Two keys, the lesser first.
pub(super) fn in_order(order: KeyOrder, a: Vec<u8>, b: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if order.compare(&a, &b).is_lt() { (a, b) } else { (b, a) }
}

fn key_numbered(number: u32, order: KeyOrder, profile: &Profile) -> Vec<u8> {
    match order == KeyOrder::INTEGER {
        // All of one length, some small and some of all bytes.
        true if number.is_multiple_of(3) => u64::from(number).to_le_bytes().to_vec(),
        true => u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().to_vec(),
        false => numbered(number, profile),
    }
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
pub(super) fn key_of_many(order: KeyOrder, profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    let count = if rng.random_ratio(2, 3) { 3 } else { profile.keys.min(100) };
    key_numbered(rng.random_range(0..count), order, profile)
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
        (BY_LENGTH, None),
        (FROM_THE_END, None),
        (FROM_THE_END, Some(7)),
    ][rng.random_range(0..11)];
    Duplicates { order, len }
}

/// The duplicate of this number.
pub(super) fn duplicate(number: u32, kind: Duplicates, profile: &Profile) -> Vec<u8> {
    match kind.len {
        None => numbered(number, profile),
        Some(len) => number.to_be_bytes().into_iter().cycle().take(len).collect(),
    }
}
