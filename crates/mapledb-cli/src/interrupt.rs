//! Ctrl-C: asks whoever works to stop and to leave nothing behind. SIGTERM and SIGHUP are taken alike.

use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind};

/// Somebody watches for it.
static WATCHED: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// A second one ends the process.
static IMPATIENT: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is a request that the verb answers by itself.
pub fn catch() -> Result<(), Failure> {
    watch(false)
}

/// The same for a verb that may wait for input without end and leaves nothing half done however it ends: the second
/// Ctrl-C does not wait.
pub fn catch_once() -> Result<(), Failure> {
    watch(true)
}

/// The verb is over, and Ctrl-C ends the process again.
pub fn pass() {
    WATCHED.store(false, Ordering::Relaxed);
    REQUESTED.store(false, Ordering::Relaxed);
}

fn watch(is_impatient: bool) -> Result<(), Failure> {
    static IS_SET: Once = Once::new();
    IMPATIENT.store(is_impatient, Ordering::Relaxed);
    WATCHED.store(true, Ordering::Relaxed);
    let mut set = Ok(());
    // A process has one handler, and a shell runs many verbs.
    IS_SET.call_once(|| set = ctrlc::set_handler(request));
    set.map_err(|error| Failure::file(format!("cannot watch for Ctrl-C: {error}")))
}

fn request() {
    let is_second = REQUESTED.swap(true, Ordering::Relaxed);
    if !WATCHED.load(Ordering::Relaxed) || is_second && IMPATIENT.load(Ordering::Relaxed) {
        process::exit(i32::from(Kind::Interrupted.code()));
    }
}

/// Whether to stop.
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Fails if it is time to stop.
pub fn check() -> Result<(), Failure> {
    if is_requested() { Err(failure()) } else { Ok(()) }
}

/// What a verb says that was stopped.
pub fn failure() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted")
}
