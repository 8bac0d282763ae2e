//! The maps of the data file, and those that follow when another process has grown it past them.

use std::sync::{Arc, OnceLock};

use mapledb_format::PageSize;
use mapledb_os::sigbus::{Alarm, Guard};
use mapledb_os::{AnonMap, DataFile, MapAdvice, ReadMap, WriteMap};

use super::memo::Memo;
use crate::error::{Error, Result};

/// Which maps a transaction reads through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(super) u32);

/// The file's maps: one that reads, one that writes, and a memo of what has been verified.
pub(super) struct Maps {
    /// What catches faults in the maps, so the first to go; empty unless that was asked for.
    guards: Vec<Guard>,
    pub(super) read: ReadMap,
    pub(super) write: Option<WriteMap>,
    pub(super) memo: Memo,
    /// The part of the file that both maps reach.
    pub(super) covered_bytes: u64,
    /// The fork generation of the process that made them.
    made_in: u64,
    /// Made when another process has grown the file past this reserve. Live transactions stay on the old maps.
    pub(super) larger: OnceLock<Box<Maps>>,
}

impl Drop for Maps {
    fn drop(&mut self) {
        self.guards.clear();
        // A forked child did not inherit the writable map: something else may lie at its address.
        if mapledb_os::fork::generation() != self.made_in {
            std::mem::forget(self.write.take());
        }
    }
}

impl Maps {
    /// Maps `file` with `reserve_bytes` ahead, or half of it and so on until both maps and the memo fit the address
    /// space together.
    pub(super) fn map(
        file: &DataFile,
        size: PageSize,
        reserve_bytes: u64,
        advice: MapAdvice,
        alarm: Option<&Arc<Alarm>>,
    ) -> Result<Maps> {
        let least = file.len_bytes()?;
        let mut reserve_bytes = reserve_bytes.max(least);
        loop {
            match Maps::map_exactly(file, size, reserve_bytes, advice, alarm) {
                Err(Error::Os(error)) if error.is_out_of_memory() && reserve_bytes > least => {
                    reserve_bytes = (reserve_bytes / 2).max(least);
                }
                other => return other,
            }
        }
    }

    fn map_exactly(
        file: &DataFile,
        size: PageSize,
        reserve_bytes: u64,
        advice: MapAdvice,
        alarm: Option<&Arc<Alarm>>,
    ) -> Result<Maps> {
        let read = ReadMap::map(file, reserve_bytes, advice)?;
        let write = match file.is_writable() {
            true => Some(WriteMap::map(file, read.len_bytes())?),
            false => None,
        };
        let covered_bytes = write.as_ref().map_or(u64::MAX, WriteMap::len_bytes).min(read.len_bytes());
        let words = (covered_bytes >> size.shift()) as usize;
        let memo = Memo::new(AnonMap::map(words, (file.stat()?.len_bytes >> size.shift()) as usize + 1)?);
        let made_in = mapledb_os::fork::generation();
        let mut guards = Vec::new();
        if let Some(alarm) = alarm {
            guards.push(read.guard(alarm, file)?);
            if let Some(write) = &write {
                guards.push(write.guard(alarm, file)?);
            }
        }
        Ok(Maps { guards, read, write, memo, covered_bytes, made_in, larger: OnceLock::new() })
    }

    /// The largest.
    pub(super) fn newest(&self) -> &Maps {
        let mut maps = self;
        while let Some(larger) = maps.larger.get() {
            maps = larger;
        }
        maps
    }

    /// Those of a later generation than these, the first.
    #[cold]
    pub(super) fn later(&self, generation: Generation) -> &Maps {
        let mut maps = self;
        for _ in 0..generation.0 {
            if let Some(larger) = maps.larger.get() {
                maps = larger;
            }
        }
        maps
    }
}

