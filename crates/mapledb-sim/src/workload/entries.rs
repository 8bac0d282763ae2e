//! Operations on the entries of a table.

use std::sync::Arc;

use mapledb::{Result, WriteTable};
use rand::Rng;
use rand::rngs::SmallRng;

use super::bytes::{in_order, key, value};
use super::{Profile, agree};
use crate::model::TableState;

/// An operation on entries, and the answer it must have.
#[derive(Clone, Debug)]
pub(super) enum EntryAct {
    Put { key: Vec<u8>, value: Arc<[u8]> },
    Reserve { key: Vec<u8>, value: Arc<[u8]> },
    Delete { key: Vec<u8>, was_there: bool },
    DeleteRange { low: Vec<u8>, high: Vec<u8>, gone: u64 },
    Clear,
    Sequence { count: u64, first: u64 },
    Get { key: Vec<u8>, value: Option<Arc<[u8]>> },
}

impl EntryAct {
    pub(super) fn draw(model: &mut TableState, profile: &Profile, rng: &mut SmallRng) -> EntryAct {
        let order = model.order();
        match rng.random_range(0..100) {
            0..60 => {
                let (key, value) = (key(order, profile, rng), value(profile, rng));
                model.put(&key, Arc::clone(&value));
                EntryAct::Put { key, value }
            }
            60..84 => {
                let key = some_key(model, profile, rng);
                let was_there = model.remove(&key);
                EntryAct::Delete { key, was_there }
            }
            84..88 => {
                let (low, high) = in_order(order, key(order, profile, rng), key(order, profile, rng));
                let gone = model.remove_range(&low, &high);
                EntryAct::DeleteRange { low, high, gone }
            }
            88..89 => {
                model.entries.clear();
                EntryAct::Clear
            }
            89..92 => {
                let count = rng.random_range(1..5);
                let first = model.sequence;
                model.sequence += count;
                EntryAct::Sequence { count, first }
            }
            92..95 => {
                let (key, value) = (key(order, profile, rng), value(profile, rng));
                model.put(&key, Arc::clone(&value));
                EntryAct::Reserve { key, value }
            }
            _ => {
                let key = some_key(model, profile, rng);
                let value = model.get(&key).cloned();
                EntryAct::Get { key, value }
            }
        }
    }

    pub(super) fn perform(&self, mut table: WriteTable<'_, [u8], [u8]>) -> Result<()> {
        match self {
            EntryAct::Put { key, value } => table.put(&key[..], value),
            EntryAct::Reserve { key, value } => {
                table.reserve(&key[..], value.len() as u64, |room| room.copy_from_slice(value))
            }
            EntryAct::Delete { key, was_there } => {
                agree(table.delete(&key[..])? == *was_there, "whether a deleted key was there")
            }
            EntryAct::DeleteRange { low, high, gone } => {
                agree(table.delete_range(&low[..]..&high[..])? == *gone, "how many entries a range had")
            }
            EntryAct::Clear => table.clear(),
            EntryAct::Sequence { count, first } => {
                agree(table.next_sequence(*count)? == *first, "the next number of a sequence")
            }
            EntryAct::Get { key, value } => agree(table.get(&key[..])? == value.as_deref(), "a value"),
        }
    }
}

/// A key that is there, mostly.
fn some_key(model: &TableState, profile: &Profile, rng: &mut SmallRng) -> Vec<u8> {
    let drawn = key(model.order(), profile, rng);
    match rng.random_ratio(1, 5) {
        true => drawn,
        false => model.key_from(&drawn).map_or(drawn.clone(), |key| key.into_owned()),
    }
}
