//! Waiting on a word of shared memory, across processes.
//!
//! The calls are the shared kind: they work on file-backed memory mapped by many processes as well as on private
//! memory. Under loom a wait is a yield, which is one of the things a futex may do.
//!
//! Who waits may say of which *classes* it is, a bit each: a wake of some classes leaves the others asleep.

use std::time::Duration;

use crate::sync::AtomicU32;

/// Every class.
pub const ANY_CLASS: u32 = u32::MAX;

/// Sleeps while `word` is `expected`, until woken or until `time` has passed (`None`: for ever). Returns on any
/// of the two, on a signal, or without a reason: the caller looks again.
pub fn wait(word: &AtomicU32, expected: u32, time: Option<Duration>) {
    wait_in(word, expected, time, ANY_CLASS);
}

/// As [`wait`], woken by wakes of one of the classes `classes`, of which there is one at least.
#[cfg(not(loom))]
pub fn wait_in(word: &AtomicU32, expected: u32, time: Option<Duration>, classes: u32) {
    let time = time.map(deadline);
    let time = time.as_ref().map_or(std::ptr::null(), |time| time as *const libc::timespec);
    let no_word = std::ptr::null::<u32>();
    // SAFETY: the word is live memory for the length of the call, the time is null or a live timespec, and
    // FUTEX_WAIT_BITSET reads nothing else.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            time,
            no_word,
            classes,
        )
    };
}

/// When `time` from now will have passed, by the clock that waits with classes go by.
#[cfg(not(loom))]
fn deadline(time: Duration) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a live timespec alone.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now)
    };
    let nanos = now.tv_nsec + libc::c_long::from(time.subsec_nanos() as i32);
    let seconds = now.tv_sec.saturating_add(time.as_secs().min(i64::MAX as u64) as libc::time_t);
    libc::timespec { tv_sec: seconds.saturating_add(nanos / 1_000_000_000), tv_nsec: nanos % 1_000_000_000 }
}

/// Under loom: another thread gets a turn.
#[cfg(loom)]
pub fn wait_in(_: &AtomicU32, _: u32, _: Option<Duration>, _: u32) {
    crate::sync::yield_now();
}

/// Wakes one waiter of `word`.
pub fn wake_one(word: &AtomicU32) {
    wake(word, 1, ANY_CLASS);
}

/// Wakes every waiter of `word`.
pub fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX, ANY_CLASS);
}

/// Wakes every waiter of `word` that is of one of `classes`.
pub fn wake_in(word: &AtomicU32, classes: u32) {
    wake(word, i32::MAX, classes);
}

#[cfg(not(loom))]
fn wake(word: &AtomicU32, count: i32, classes: u32) {
    let (no_time, no_word) = (std::ptr::null::<libc::timespec>(), std::ptr::null::<u32>());
    // SAFETY: FUTEX_WAKE_BITSET uses the address of a live word as a name and reads no memory.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE_BITSET,
            count,
            no_time,
            no_word,
            classes,
        )
    };
}

#[cfg(loom)]
fn wake(_: &AtomicU32, _: i32, _: u32) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_wait_ends_when_its_time_has_passed() {
        let start = Instant::now();
        wait(&AtomicU32::new(1), 1, Some(Duration::from_millis(10)));
        assert!(start.elapsed() >= Duration::from_millis(9));
    }

    #[test]
    fn a_waiter_is_woken() {
        let word = Arc::new(AtomicU32::new(0));
        let waiter = std::thread::spawn({
            let word = Arc::clone(&word);
            move || {
                while word.load(Ordering::Acquire) == 0 {
                    wait(&word, 0, None);
                }
            }
        });
        word.store(1, Ordering::Release);
        wake_all(&word);
        waiter.join().expect("the waiter ends");
    }

    #[test]
    fn a_wake_of_another_class_is_slept_through() {
        let word = AtomicU32::new(0);
        let asleep = |classes| {
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| {
                    let start = Instant::now();
                    wait_in(&word, 0, Some(Duration::from_millis(200)), classes);
                    start.elapsed()
                });
                for _ in 0..20 {
                    std::thread::sleep(Duration::from_millis(2));
                    wake_in(&word, 0b10);
                }
                sleeper.join().expect("the sleeper ends")
            })
        };
        assert!(asleep(0b01) >= Duration::from_millis(199));
        assert!(asleep(0b10) < Duration::from_millis(150));
    }
}
