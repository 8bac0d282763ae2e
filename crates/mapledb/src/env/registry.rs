//! The files this process has open: the same file opened twice is one environment.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mapledb_os::FileId;
use parking_lot::Mutex;

use super::open::Access;
use crate::txn::Core;

/// An open file and how it is open.
pub(super) struct Entry {
    pub(super) core: Weak<Core>,
    pub(super) access: Access,
}

static OPEN: Mutex<Option<HashMap<(u64, u64), Entry>>> = Mutex::new(None);

/// Does `act` with the list of open files, which nobody else changes meanwhile.
pub(super) fn with<R>(act: impl FnOnce(&mut HashMap<(u64, u64), Entry>) -> R) -> R {
    act(OPEN.lock().get_or_insert_with(HashMap::new))
}

/// The environment of this process on the file, if there is one.
pub(super) fn find(list: &mut HashMap<(u64, u64), Entry>, id: FileId) -> Option<(Arc<Core>, Access)> {
    let key = (id.dev, id.ino);
    let entry = list.get(&key)?;
    match entry.core.upgrade() {
        // A core inherited over a fork is another process's.
        Some(core) if !core.attached.is_forked() => Some((core, entry.access)),
        _ => {
            list.remove(&key);
            None
        }
    }
}
