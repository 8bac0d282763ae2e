//! Which state the tables of a write transaction are in, for whoever keeps a place in one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::TableId;

/// One state of one table in one transaction: as long as it is the same, so is every page of the table.
///
/// No two transactions of a process have a number in common, a transaction that takes a level back, or goes on after a commit, gets another, and within one
/// the count of changes only grows: so no state is ever taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    txn: u64,
    change: u64,
}

/// Numbers that write transactions of this process have had.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Counts the changes of a transaction's tables.
#[derive(Debug)]
pub(super) struct States {
    number: u64,
    /// Changes so far, and openings of tables.
    count: u64,
    /// The default table's last one.
    main: u64,
}

impl States {
    pub(super) fn new() -> States {
        States { number: NUMBERS.fetch_add(1, Ordering::Relaxed), count: 0, main: 0 }
    }

    /// Counts a change of `table`, or its opening; answers which one it is.
    #[inline]
    pub(super) fn next(&mut self, table: Option<TableId>) -> u64 {
        self.count += 1;
        if table == Some(TableId::Main) {
            self.main = self.count;
        }
        self.count
    }

    /// Takes another number, where tables are what they were before, or are opened again after a commit.
    pub(super) fn begin_anew(&mut self) {
        self.number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    }

    /// The state of the default table.
    pub(super) fn of_main(&self) -> Version {
        self.of(self.main)
    }

    /// The state of a table whose last change was `change`.
    pub(super) fn of(&self, change: u64) -> Version {
        Version { txn: self.number, change }
    }
}
