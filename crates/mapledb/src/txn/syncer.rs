//! The thread that keeps the bound of relaxed commits: so many bytes or so much time after the first of them at the
//! latest, a sync begins, whether or not another call is made.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Core;

/// What relaxed commits have left to be synced, in this process.
#[derive(Default)]
struct Debt {
    bytes: u64,
    since: Option<Instant>,
    is_running: bool,
    is_syncing: bool,
    is_stopped: bool,
}

/// The bound, and the thread that keeps it once there is something to keep.
pub(crate) struct Syncer {
    bytes_max: u64,
    time_max: Duration,
    shared: Arc<(Mutex<Debt>, Condvar)>,
}

impl Syncer {
    pub(super) fn new(bytes_max: u64, time_max: Duration) -> Syncer {
        Syncer { bytes_max, time_max, shared: Arc::default() }
    }

    /// Notes a relaxed commit of so many bytes, and sees to it that the thread runs.
    pub(super) fn note(&self, core: &Arc<Core>, bytes: u64) {
        let (debt, wake) = &*self.shared;
        let mut debt = debt.lock();
        debt.bytes = debt.bytes.saturating_add(bytes);
        debt.since.get_or_insert_with(Instant::now);
        if !debt.is_running && !debt.is_stopped {
            let (shared, core) = (Arc::clone(&self.shared), Arc::downgrade(core));
            let (bytes_max, time_max) = (self.bytes_max, self.time_max);
            let thread = std::thread::Builder::new().name("maple-sync".to_string());
            debt.is_running = thread.spawn(move || keep_bound(&shared, &core, bytes_max, time_max)).is_ok();
        }
        if debt.bytes >= self.bytes_max {
            wake.notify_one();
        }
    }

    /// Notes that everything has been synced.
    pub(super) fn settled(&self) {
        let mut debt = self.shared.0.lock();
        debt.bytes = 0;
        debt.since = None;
    }

    /// Ends the thread and waits until it no longer holds the core.
    pub(crate) fn stop(&self) {
        let (debt, wake) = &*self.shared;
        let mut debt = debt.lock();
        debt.is_stopped = true;
        wake.notify_all();
        while debt.is_syncing {
            wake.wait(&mut debt);
        }
    }

    /// Ends the thread and does not wait: the core may be going on that very thread.
    pub(super) fn end(&self) {
        self.shared.0.lock().is_stopped = true;
        self.shared.1.notify_all();
    }

    /// Takes a stop back: the next relaxed commit starts the thread again.
    pub(crate) fn resume(&self) {
        self.shared.0.lock().is_stopped = false;
    }
}

fn keep_bound(shared: &(Mutex<Debt>, Condvar), core: &Weak<Core>, bytes_max: u64, time_max: Duration) {
    let (debt, wake) = shared;
    let mut owed = debt.lock();
    while !owed.is_stopped && core.strong_count() > 0 {
        let due = owed.since.map(|since| since + time_max);
        match due {
            Some(due) if owed.bytes >= bytes_max || Instant::now() >= due => {
                owed.bytes = 0;
                owed.since = None;
                owed.is_syncing = true;
                drop(owed);
                if let Some(core) = core.upgrade() {
                    // A failure poisons the environment, which the next write reports.
                    let _ = core.sync();
                }
                owed = debt.lock();
                owed.is_syncing = false;
                wake.notify_all();
            }
            Some(due) => {
                wake.wait_until(&mut owed, due);
            }
            None => {
                wake.wait_for(&mut owed, time_max.max(Duration::from_millis(10)));
            }
        }
    }
    owed.is_running = false;
}
