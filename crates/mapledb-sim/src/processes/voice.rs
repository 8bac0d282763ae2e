//! How a process says what it is at, and lingers there now and then so that its death finds it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::status::{Phase, Status};

/// The voice of one process.
#[derive(Debug)]
pub struct Voice {
    status: Arc<Status>,
    place: usize,
    random: AtomicU64,
}

impl Voice {
    /// Of the process in `place`.
    pub fn new(status: Arc<Status>, place: usize, seed: u64) -> Voice {
        Voice { status, place, random: AtomicU64::new(seed | 1) }
    }

    fn random(&self, below: u64) -> u64 {
        // xorshift; the few threads of a process may well meet in it.
        let mut x = self.random.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.store(x, Ordering::Relaxed);
        x % below
    }

    /// Says that it is in a phase, and may stay a little.
    pub fn say(&self, phase: Phase) {
        self.status.say(self.place, phase);
        self.linger(phase);
    }

    /// Stays a little, longer if the run waits for somebody in this phase.
    pub fn linger(&self, phase: Phase) {
        if self.status.wish() == Some(phase) {
            spin(Duration::from_micros(self.random(1500)));
        } else if self.random(8) == 0 {
            spin(Duration::from_micros(self.random(30)));
        }
    }
}

fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
