//! One pass: threads that read at once, timed and counted.

use std::sync::Barrier;
use std::time::Instant;

use super::counts::Counts;
use super::ways::Way;
use crate::machine::Stopwatch;
use crate::records::{Outcome, Unit};

/// Figures of a pass.
pub const FIGURES: usize = 9;

/// What a pass measured, in this order: nanoseconds an operation, operations a second of all threads, then for
/// each operation bytes copied, read calls, minor faults, major faults, bytes from the device and TLB shootdowns; then the share
/// of the file that was resident before.
pub type Figures = [f64; FIGURES];

/// Lets one thread for each list of numbers read them, all at once.
///
/// Nanoseconds are those of a thread without its waits for a processor that somebody else has; the rate is by the
/// clock on the wall, waits included.
pub fn run(way: &dyn Way, unit: Unit, indexes: &[Vec<u64>], resident: f64) -> Outcome<Figures> {
    let gate = Barrier::new(indexes.len() + 1);
    let operations: usize = indexes.iter().map(Vec::len).sum();
    std::thread::scope(|scope| {
        let gate = &gate;
        let threads: Vec<_> =
            indexes.iter().map(|own| scope.spawn(move || timed(way, unit, own, gate))).collect();
        let before = Counts::now();
        let began = Instant::now();
        gate.wait();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let seconds = began.elapsed().as_secs_f64();
        let [copied, calls, minor, major, device, shootdowns] =
            Counts::now()?.each_since(before?, operations);
        let mut nanoseconds = 0.0;
        for result in results {
            nanoseconds += result.map_err(|_| "a reading thread panicked".to_owned())??;
        }
        let each = nanoseconds / operations as f64;
        Ok([each, operations as f64 / seconds, copied, calls, minor, major, device, shootdowns, resident])
    })
}

/// Nanoseconds that one thread took for all of `indexes`.
fn timed(way: &dyn Way, unit: Unit, indexes: &[u64], gate: &Barrier) -> Outcome<f64> {
    let watch = Stopwatch::new();
    gate.wait();
    let started = watch.start();
    way.read_all(unit, indexes)?;
    Ok(started.nanoseconds())
}
