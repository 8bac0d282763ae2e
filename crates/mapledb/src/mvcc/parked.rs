//! Parked readers: they pin as others do, until somebody evicts them.
//!
//! Then the slot's word pins nothing, and whoever comes back finds that out before it reads. One that is not parked is never
//! evicted.

use mapledb_os::planted;
use mapledb_os::sync::Ordering;

use super::Result;
use super::layout::{PIN_EVICTED, PIN_PARKED};
use super::member::Member;
use super::pins::ReaderInfo;
use super::readers::Place;

/// What a parked reader finds when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// Its snapshot is pinned as before.
    Pinned,
    /// It was evicted meanwhile.
    Evicted,
}

impl Member {
    /// Parks the reader of a slot, which does not read until it comes back. False, and nothing is done, if it has clones: they
    /// may be reading.
    ///
    /// Release: what was read comes before the eviction, which acquires, and so before the pages are stored to.
    pub(super) fn park(&self, place: Place) -> bool {
        let Some(slot) = self.own_slot(place) else { return false };
        if slot.clones.load(Ordering::Acquire) != 0 {
            return false;
        }
        let ordering = if planted("unordered_park") { Ordering::Relaxed } else { Ordering::Release };
        slot.pin.store(slot.pin.load(Ordering::Relaxed) | PIN_PARKED, ordering);
        true
    }

    /// The parked reader of a slot comes back. Its compare-and-swap and the evictor's are on one word, so one comes first and
    /// the other fails: who comes back finds its pin, which nobody may take any more, or finds that it has none.
    pub(super) fn unpark(&self, place: Place) -> Return {
        let Some(slot) = self.own_slot(place) else { return Return::Evicted };
        let pin = slot.pin.load(Ordering::Relaxed);
        if planted("no_unpark_check") {
            slot.pin.store(pin & !PIN_PARKED, Ordering::Release);
            return Return::Pinned;
        }
        if pin == PIN_EVICTED {
            return Return::Evicted;
        }
        match slot.pin.compare_exchange(pin, pin & !PIN_PARKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Return::Pinned,
            Err(_) => Return::Evicted,
        }
    }

    /// Evicts the parked readers among those that `chosen` picks, of all processes; answers how many. One that reads is never
    /// evicted, whatever is picked.
    pub(super) fn evict_parked(&self, mut chosen: impl FnMut(&ReaderInfo) -> bool) -> Result<usize> {
        let mut evicted = 0;
        let may_go = |reader: &&ReaderInfo| reader.is_parked || planted("evicted_active");
        for reader in self.readers()?.iter().filter(may_go) {
            let slot = &self.memory.block(reader.block)?.slots[reader.slot];
            let parked = reader.txnid | if reader.is_parked { PIN_PARKED } else { 0 };
            // Acquire: what it read comes before whatever is stored to its pages.
            if chosen(reader)
                && slot.pin.compare_exchange(parked, PIN_EVICTED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                evicted += 1;
            }
        }
        Ok(evicted)
    }
}
