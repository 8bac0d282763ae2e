//! The files this process has open: the same file opened twice is one environment.
//!
//! Each file has a place of its own, which is locked while the file is opened, recovery and the wait for others included.
//! The table of places is locked for look-ups alone, so opening one file never waits for another. A forked child has a new
//! table: its parent's locks may be held by threads that do not exist there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mapledb_os::FileId;
use mapledb_os::fork::PerProcess;
use parking_lot::Mutex;

use super::options::Access;
use crate::txn::Core;

/// An open file and how it is open.
pub(super) struct Entry {
    pub(super) core: Weak<Core>,
    pub(super) access: Access,
}

/// Where a file is opened, by one thread at a time.
#[derive(Default)]
pub(super) struct Place(Mutex<Option<Entry>>);

#[derive(Default)]
struct Table(Mutex<HashMap<(u64, u64), Arc<Place>>>);

static OPEN: PerProcess<Table> = PerProcess::new();

/// The place of a file.
pub(super) fn place_of(id: FileId) -> Arc<Place> {
    let mut places = OPEN.get().0.lock();
    // A place that nobody else holds is locked by nobody, so a look at it does not wait.
    places.retain(|_, place| Arc::strong_count(place) > 1 || place.is_open());
    Arc::clone(places.entry((id.dev, id.ino)).or_default())
}

impl Place {
    /// Does `act` with the environment that is open here, while nobody else opens the file.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Option<Entry>) -> R) -> R {
        act(&mut self.0.lock())
    }

    fn is_open(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|entry| entry.core.strong_count() > 0)
    }
}
