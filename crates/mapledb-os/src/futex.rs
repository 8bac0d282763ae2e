//! Waiting on a word of shared memory, across processes.
//!
//! The calls are the shared kind: they work on file-backed memory mapped by many processes as well as on private
//! memory. Under loom a wait is a yield, which is one of the things a futex may do.

use std::time::Duration;

use crate::sync::AtomicU32;

/// Sleeps while `word` is `expected`, until woken or until `time` has passed (`None`: for ever). Returns on any
/// of the two, on a signal, or without a reason: the caller looks again.
#[cfg(not(loom))]
pub fn wait(word: &AtomicU32, expected: u32, time: Option<Duration>) {
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs().min(i64::MAX as u64) as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), |time| time as *const libc::timespec);
    // SAFETY: the word is live memory for the length of the call, the time is null or a live timespec, and
    // FUTEX_WAIT reads nothing else.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time)
    };
}

/// Under loom: another thread gets a turn.
#[cfg(loom)]
pub fn wait(_: &AtomicU32, _: u32, _: Option<Duration>) {
    crate::sync::yield_now();
}

/// Wakes one waiter of `word`.
pub fn wake_one(word: &AtomicU32) {
    wake(word, 1);
}

/// Wakes every waiter of `word`.
pub fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX);
}

#[cfg(not(loom))]
fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: FUTEX_WAKE uses the address of a live word as a name and reads no memory.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count)
    };
}

#[cfg(loom)]
fn wake(_: &AtomicU32, _: i32) {}

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
}
