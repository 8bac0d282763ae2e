//! The one switch between the standard library's atomics and loom's.
//!
//! Code that is ordered by atomics takes them from here, so that a model run by loom executes the same functions
//! as a process does. `--cfg loom` throws it.

use std::sync::PoisonError;
use std::time::Duration;

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

pub use imp::MutexGuard;
pub use imp::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Gives the processor to another thread.
pub fn yield_now() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::thread::yield_now();
}

/// A mutex that does not know poisoning: what it guards is consistent between any two statements.
#[derive(Debug)]
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex over `value`.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(imp::Mutex::new(value))
    }

    /// Waits for the mutex and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Where the standard library waits, thread sanitizer sees no order: it is not built with it.
        #[cfg(maple_tsan)]
        loop {
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(std::sync::TryLockError::Poisoned(guard)) => return guard.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) => yield_now(),
            }
        }
        #[cfg(not(maple_tsan))]
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable for [`Mutex`].
#[derive(Debug)]
pub struct Condvar(imp::Condvar);

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar(imp::Condvar::new())
    }
}

impl Condvar {
    /// Waits for a notification, or for `time` where one is given. Wakes without a reason, too.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, time: Option<Duration>) -> MutexGuard<'a, T> {
        match time {
            None => self.0.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.0.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }
}

/// What zeroed shared memory holds, for loom: its atomics are not plain memory and must be made one by one.
#[cfg(loom)]
pub trait Zeroed: Sized {
    /// The value all of whose atomics are 0.
    fn zeroed() -> Self;
}

#[cfg(loom)]
impl Zeroed for AtomicU32 {
    fn zeroed() -> Self {
        AtomicU32::new(0)
    }
}

#[cfg(loom)]
impl Zeroed for AtomicU64 {
    fn zeroed() -> Self {
        AtomicU64::new(0)
    }
}

#[cfg(loom)]
impl<T: Zeroed, const N: usize> Zeroed for [T; N] {
    fn zeroed() -> Self {
        std::array::from_fn(|_| T::zeroed())
    }
}

/// Loads a word after a fence that a store of another thread is to be seen by, or that thread to see ours.
///
/// Thread sanitizer knows no fences: under `--cfg maple_tsan` it is a read-modify-write that changes nothing, which orders
/// as much and is seen by it.
#[inline(always)]
pub fn load_after_fence(word: &AtomicU64, ordering: Ordering) -> u64 {
    if cfg!(maple_tsan) { word.fetch_add(0, Ordering::AcqRel) } else { word.load(ordering) }
}

/// A sequentially consistent fence right after a read-modify-write of this thread.
///
/// On x86-64 the locked instruction before it is a full barrier already, so only the compiler must be held back;
/// elsewhere, and under loom, it is `fence(SeqCst)`.
#[inline(always)]
pub fn fence_after_exchange() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}
