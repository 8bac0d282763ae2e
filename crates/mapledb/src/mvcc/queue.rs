//! The line in front of the writer lock inside one process: first come, first served.
//!
//! It lets one thread at a time go on to the lock that processes share, so that a process waits there with one
//! ticket. Whoever leaves hands the place to the one who has waited longest and wakes only that one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mapledb_os::sync::{Condvar, Mutex};

#[derive(Default)]
struct Waiter {
    called: Condvar,
}

#[derive(Default)]
struct Line {
    taken: bool,
    /// Who waits, longest first. A waiter that is no longer here has been handed the place.
    waiters: VecDeque<Arc<Waiter>>,
}

/// The line.
pub(super) struct Queue(Mutex<Line>);

impl Queue {
    pub(super) fn new() -> Queue {
        Queue(Mutex::new(Line::default()))
    }

    /// Takes the place, waiting until `deadline` (`None`: for ever). Uncontended it neither allocates nor calls
    /// the system.
    pub(super) fn enter(&self, deadline: Option<Instant>) -> bool {
        let mut line = self.0.lock();
        if !line.taken {
            line.taken = true;
            return true;
        }
        let me = Arc::new(Waiter::default());
        line.waiters.push_back(Arc::clone(&me));
        loop {
            let time = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let place = line.waiters.iter().position(|waiter| Arc::ptr_eq(waiter, &me));
            let Some(place) = place else {
                return true;
            };
            if time.is_some_and(|time| time.is_zero()) {
                line.waiters.remove(place);
                return false;
            }
            line = me.called.wait(line, time);
        }
    }

    /// Gives the place up, or on to who has waited longest.
    pub(super) fn leave(&self) {
        let mut line = self.0.lock();
        match line.waiters.pop_front() {
            Some(next) => next.called.notify_one(),
            None => line.taken = false,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_place_goes_to_who_has_waited_longest() {
        let queue = Arc::new(Queue::new());
        assert!(queue.enter(None));
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..5)
            .map(|i| {
                let (queue, order) = (Arc::clone(&queue), Arc::clone(&order));
                let before = Arc::clone(&queue);
                let thread = std::thread::spawn(move || {
                    assert!(queue.enter(None));
                    order.lock().push(i);
                    queue.leave();
                });
                while before.0.lock().waiters.len() <= i {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        queue.leave();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(*order.lock(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn who_gives_up_is_not_handed_the_place() {
        let queue = Queue::new();
        assert!(queue.enter(None));
        assert!(!queue.enter(Some(Instant::now() + Duration::from_millis(2))));
        assert!(!queue.enter(Some(Instant::now())));
        queue.leave();
        assert!(queue.enter(Some(Instant::now())));
    }
}
