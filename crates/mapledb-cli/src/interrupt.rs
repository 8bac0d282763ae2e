//! Ctrl-C: asks whoever works to stop and to leave nothing behind. SIGTERM and SIGHUP are taken alike.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is a request that the verb answers by itself.
pub fn catch() -> Result<(), Failure> {
    handle(|| REQUESTED.store(true, Ordering::Relaxed))
}

/// The same for a verb that may wait for input without end and leaves nothing behind however it ends: the second
/// Ctrl-C does not wait.
pub fn catch_once() -> Result<(), Failure> {
    handle(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            process::exit(i32::from(Kind::Interrupted.code()));
        }
    })
}

fn handle(on_signal: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(on_signal).map_err(|error| Failure::file(format!("cannot watch for Ctrl-C: {error}")))
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
