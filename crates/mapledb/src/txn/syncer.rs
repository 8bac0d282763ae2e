//! The thread that syncs what nobody waits for: relaxed commits within their bound, and commits that were handed in to be
//! waited for later, at once.
//!
//! So many bytes or so much time after the first of the relaxed commits at the latest, a sync begins, whether or not another
//! call is made.
//!
//! What is owed is a *debt*: that of this process's own relaxed commits, and that of others it has come across. Who began
//! a relaxed commit pays for it; but if it dies, nobody else would. So a process that begins a transaction on a snapshot
//! that is not durable takes the debt over as from then, and goes on looking after each bound until everything is durable.
//! Whoever finds its debt paid, by whomever, has nothing to do. A process that sees no relaxed commit has no thread, and
//! the thread sleeps without a time as long as nothing is owed.
//!
//! | paying ends | then |
//! |---|---|
//! | well | what was published meanwhile and is not durable is owed as from now |
//! | in an error that poisons | nothing is owed any more: a failed sync is not tried again (I11) |
//! | in any other (a mapping refused, a lock not to be asked for) | the debt stands and is tried again after a pause |
//! | there is no thread to be had | the commit itself syncs, at once: later nobody might call |
//!
//! Whoever polls a commit leaves its waker here. It is woken when the thread, or a commit of this process at
//! [`Durability::Sync`](crate::Durability), finds the commit durable, or finds that it cannot become so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Core;
use crate::mvcc::Wait;

/// How long a debt that could not be paid rests: as long as the bound, within these.
const PAUSE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Relaxed commits that are to become durable.
#[derive(Clone, Copy)]
struct Owed {
    /// The latest of them.
    txnid: u64,
    /// What those of this process have written; nothing, if they have changed the head alone.
    bytes: u64,
    /// Whether some are of this process.
    has_own: bool,
    /// When the first of them was published, or come across.
    since: Instant,
    /// When paying is tried again.
    not_before: Option<Instant>,
}

impl Owed {
    /// From this moment on, for a commit that need not be this process's.
    fn since_now(txnid: u64) -> Owed {
        Owed { txnid, bytes: 0, has_own: false, since: Instant::now(), not_before: None }
    }
}

#[derive(Default)]
struct Debt {
    owed: Option<Owed>,
    /// The latest commit that was handed in to be made durable at once.
    handed_in: Option<u64>,
    /// Who is to be woken when which commit is durable.
    wakers: Vec<(u64, Waker)>,
    is_running: bool,
    is_syncing: bool,
    is_stopped: bool,
}

/// The bound, and the thread that keeps it once there is something to keep.
pub(crate) struct Syncer {
    bytes_max: u64,
    time_max: Duration,
    /// The latest snapshot that was looked at for a debt.
    looked_at: AtomicU64,
    shared: Arc<(Mutex<Debt>, Condvar)>,
}

impl Syncer {
    pub(super) fn new(bytes_max: u64, time_max: Duration) -> Syncer {
        Syncer { bytes_max, time_max, looked_at: AtomicU64::new(0), shared: Arc::default() }
    }

    /// Notes a relaxed commit of this process that wrote so many bytes. False if there is no thread to be had that
    /// would sync it.
    pub(super) fn note(&self, core: &Arc<Core>, txnid: u64, bytes: u64) -> bool {
        self.looked_at.store(txnid, Ordering::Relaxed);
        self.owe(core, Owed { bytes, has_own: true, ..Owed::since_now(txnid) })
    }

    /// What relaxed commits of this process have written that is not durable, in bytes.
    pub(super) fn owed_bytes(&self) -> u64 {
        self.shared.0.lock().owed.map_or(0, |owed| owed.bytes)
    }

    /// Whether the snapshot has been looked at. Cost: a load.
    #[inline]
    pub(super) fn has_looked_at(&self, txnid: u64) -> bool {
        self.looked_at.load(Ordering::Relaxed) == txnid
    }

    /// Looks whether a snapshot is to become durable and nobody may be there to see to it.
    #[cold]
    pub(super) fn look_at(&self, core: &Arc<Core>, txnid: u64) {
        self.looked_at.store(txnid, Ordering::Relaxed);
        if let Some(txnid) = core.published_relaxed() {
            // Without a thread it is left to whoever looks at the next snapshot.
            self.owe(core, Owed::since_now(txnid));
        }
    }

    fn owe(&self, core: &Arc<Core>, more: Owed) -> bool {
        let (debt, wake) = &*self.shared;
        let mut debt = debt.lock();
        let is_first = debt.owed.is_none();
        let owed = merged(debt.owed, Some(more));
        debt.owed = owed;
        let wakes = is_first || owed.is_some_and(|owed| owed.bytes >= self.bytes_max);
        let runs = self.run(core, &mut debt);
        if wakes {
            wake.notify_all();
        }
        runs
    }

    /// Sees to it that the thread runs.
    fn run(&self, core: &Arc<Core>, debt: &mut Debt) -> bool {
        if !debt.is_running && !debt.is_stopped {
            let (shared, core) = (Arc::clone(&self.shared), Arc::downgrade(core));
            let (bytes_max, time_max) = (self.bytes_max, self.time_max);
            let thread = std::thread::Builder::new().name("maple-sync".to_string());
            debt.is_running = thread.spawn(move || keep_bound(&shared, &core, bytes_max, time_max)).is_ok();
        }
        debt.is_running || debt.is_stopped
    }

    /// Sees to it that commit `txnid` becomes durable at once. False if there is no thread to be had that would.
    pub(super) fn hand_in(&self, core: &Arc<Core>, txnid: u64) -> bool {
        let (debt, wake) = &*self.shared;
        let mut debt = debt.lock();
        debt.handed_in = debt.handed_in.max(Some(txnid));
        let runs = self.run(core, &mut debt);
        if !debt.is_syncing {
            wake.notify_all();
        }
        runs
    }

    /// Wakes `waker` when commit `txnid` is durable or cannot become so. The caller looks once more after this.
    pub(super) fn wake_when_durable(&self, txnid: u64, waker: &Waker) {
        let mut debt = self.shared.0.lock();
        if !debt.wakers.iter().any(|(of, known)| *of == txnid && known.will_wake(waker)) {
            debt.wakers.push((txnid, waker.clone()));
        }
    }

    /// Whether commits of this process are to be synced yet.
    pub(super) fn owes_own(&self) -> bool {
        let debt = self.shared.0.lock();
        debt.handed_in.is_some() || debt.owed.is_some_and(|owed| owed.has_own)
    }

    /// Does `act` with how many times the thread may hold the core, which does not begin to meanwhile.
    pub(super) fn with_holders<R>(&self, act: impl FnOnce(usize) -> R) -> R {
        let debt = self.shared.0.lock();
        act(usize::from(debt.is_syncing))
    }

    /// Notes that every commit up to `txnid` is durable.
    pub(super) fn settled_up_to(&self, txnid: u64) {
        let mut debt = self.shared.0.lock();
        debt.owed = debt.owed.filter(|owed| owed.txnid > txnid);
        debt.handed_in = debt.handed_in.filter(|handed_in| *handed_in > txnid);
        wake_up_to(&mut debt, txnid);
    }

    /// Ends the thread and waits until it no longer holds the core, unless `is_in_use` says that others hold it too:
    /// they may be what the thread waits for.
    pub(crate) fn stop(&self, is_in_use: impl Fn() -> bool) {
        let (debt, wake) = &*self.shared;
        let mut debt = debt.lock();
        debt.is_stopped = true;
        wake.notify_all();
        while debt.is_syncing && !is_in_use() {
            wake.wait(&mut debt);
        }
    }

    /// Ends the thread and does not wait: the core may be going on that very thread.
    pub(super) fn end(&self) {
        self.shared.0.lock().is_stopped = true;
        self.shared.1.notify_all();
    }

    /// Takes a stop back.
    pub(crate) fn resume(&self, core: &Arc<Core>) {
        let mut debt = self.shared.0.lock();
        debt.is_stopped = false;
        if debt.owed.is_some() || debt.handed_in.is_some() {
            self.run(core, &mut debt);
        }
    }
}

fn keep_bound(shared: &(Mutex<Debt>, Condvar), core: &Weak<Core>, bytes_max: u64, time_max: Duration) {
    let (debt, wake) = shared;
    let mut held = debt.lock();
    while !held.is_stopped {
        if let Some(txnid) = held.handed_in.take() {
            held.is_syncing = true;
            drop(held);
            let is_paid = core.upgrade().is_none_or(|core| make_durable(&core, txnid));
            held = debt.lock();
            held.is_syncing = false;
            wake.notify_all();
            match is_paid {
                true => wake_up_to(&mut held, txnid),
                false => {
                    held.handed_in = held.handed_in.max(Some(txnid));
                    wake.wait_for(&mut held, PAUSE[0]);
                }
            }
            continue;
        }
        let Some(owed) = held.owed else {
            wake.wait(&mut held);
            continue;
        };
        let now = Instant::now();
        // A bound of time that no clock reaches is none.
        let due = if owed.bytes >= bytes_max { Some(now) } else { owed.since.checked_add(time_max) };
        match due.map(|due| due.max(owed.not_before.unwrap_or(due))) {
            Some(due) if due <= now => {}
            Some(due) => {
                wake.wait_until(&mut held, due);
                continue;
            }
            None => {
                wake.wait(&mut held);
                continue;
            }
        }
        held.owed = None;
        held.is_syncing = true;
        drop(held);
        let left = core.upgrade().and_then(|core| pay(&core, owed, time_max));
        held = debt.lock();
        held.owed = merged(left, held.owed);
        if held.owed.is_none_or(|left| left.txnid > owed.txnid) {
            wake_up_to(&mut held, owed.txnid);
        }
        held.is_syncing = false;
        wake.notify_all();
    }
    held.is_running = false;
}

/// Makes a commit that was handed in durable; answers whether there is nothing left to do about it.
fn make_durable(core: &Core, txnid: u64) -> bool {
    // After a failed sync every write, and every poll, reports it.
    core.wait_durable(txnid, Wait::Forever).is_ok() || core.attached.is_poisoned().unwrap_or(true)
}

/// Wakes who waits for commits up to `txnid`: they are durable, or never will be.
fn wake_up_to(debt: &mut Debt, txnid: u64) {
    for (_, waker) in debt.wakers.extract_if(.., |(of, _)| *of <= txnid) {
        waker.wake();
    }
}

/// Pays a debt; answers what is owed after that.
fn pay(core: &Core, owed: Owed, time_max: Duration) -> Option<Owed> {
    let now = match core.sync_up_to(owed.txnid, Wait::Forever) {
        // The lock was not to be had, although there was all the time in the world: it is tried again.
        Ok(false) => Instant::now(),
        Ok(true) => {
            return core.published_relaxed().map(Owed::since_now);
        }
        // Every write reports it from now on.
        Err(_) if core.attached.is_poisoned().unwrap_or(true) => return None,
        Err(_) => Instant::now(),
    };
    Some(Owed { not_before: now.checked_add(time_max.clamp(PAUSE[0], PAUSE[1])), ..owed })
}

/// What is left of one debt, and what has come since.
fn merged(left: Option<Owed>, new: Option<Owed>) -> Option<Owed> {
    let (Some(left), Some(new)) = (left, new) else { return left.or(new) };
    Some(Owed {
        txnid: left.txnid.max(new.txnid),
        bytes: left.bytes.saturating_add(new.bytes),
        has_own: left.has_own || new.has_own,
        since: left.since.min(new.since),
        not_before: left.not_before,
    })
}
