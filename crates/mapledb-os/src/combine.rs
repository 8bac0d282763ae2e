//! Work that threads wait for, done by one of them for all.
//!
//! Whoever comes first leads: it gets what they all want done to one thing, does it, and tells them what came of it. The
//! others sleep meanwhile. The idea is flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Where threads meet that want something done to a `T`, and learn an `O` of it.
pub struct Combiner<T, O> {
    state: Mutex<State<T, O>>,
}

struct State<T, O> {
    /// What is to be done, in the order it came. Empty unless somebody leads.
    waiting: VecDeque<Lent<T, O>>,
    is_led: bool,
}

/// A closure that its owner has lent, and does not touch before its seat says that it is over.
struct Lent<T, O> {
    act: *mut (dyn FnMut(&mut T) + Send),
    seat: Arc<Seat<O>>,
}

// SAFETY: the closure is `Send`, and whoever has the only pointer to it may call it; the seat is made of locks.
unsafe impl<T, O: Send> Send for Lent<T, O> {}

/// Where a thread waits for its turn.
struct Seat<O> {
    turn: Mutex<Turn<O>>,
    has_changed: Condvar,
}

enum Turn<O> {
    Waits,
    Leads,
    /// What came of it; `None` if whoever led did not say.
    Over(Option<O>),
}

impl<O> Seat<O> {
    fn tell(&self, turn: Turn<O>) {
        *self.turn.lock() = turn;
        self.has_changed.notify_one();
    }

    /// Sleeps until it is told something.
    fn wait(&self) -> Turn<O> {
        let mut turn = self.turn.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Waits) {
                Turn::Waits => self.has_changed.wait(&mut turn),
                told => return told,
            }
        }
    }
}

impl<T, O> Default for Combiner<T, O> {
    fn default() -> Combiner<T, O> {
        Combiner { state: Mutex::new(State { waiting: VecDeque::new(), is_led: false }) }
    }
}

impl<T, O> Combiner<T, O> {
    /// Has `act` done, by this thread or another, and answers what came of it. If this thread is to lead it does so in `lead`,
    /// which takes what is waiting, its own among it, runs it and ends it.
    ///
    /// `None` if whoever led gave up, by a panic say; `act` may or may not have been called then. It is called once at most for
    /// each [`Batch::run`].
    ///
    /// Cost: an allocation; a sleep unless this thread leads.
    pub fn submit(
        &self,
        act: &mut (dyn FnMut(&mut T) + Send),
        lead: impl FnOnce(Lead<'_, T, O>),
    ) -> Option<O> {
        let seat = Arc::new(Seat { turn: Mutex::new(Turn::Waits), has_changed: Condvar::new() });
        let act: *mut (dyn FnMut(&mut T) + Send + '_) = act;
        // SAFETY: only the lifetime is forgotten. The pointer is called through in `Batch::run` alone, by whoever has taken it from
        // `waiting`. This function does not return before its seat was told that it is over, which a batch does when it is used
        // up: it runs nothing after that. It unwinds only if `lead` does: a batch that `lead` took cannot outlive it, and what
        // nobody took is withdrawn on the way.
        let act: *mut (dyn FnMut(&mut T) + Send + 'static) = unsafe { std::mem::transmute(act) };
        let _withdrawn = Withdrawn { combiner: self, seat: &seat };
        if !self.join(Lent { act, seat: Arc::clone(&seat) }) {
            match seat.wait() {
                Turn::Over(outcome) => return outcome,
                Turn::Leads | Turn::Waits => {}
            }
        }
        lead(Lead { combiner: self, seat: &seat });
        loop {
            if let Turn::Over(outcome) = seat.wait() {
                return outcome;
            }
        }
    }

    /// Lets `lent` wait; answers whether its owner is to lead.
    fn join(&self, lent: Lent<T, O>) -> bool {
        let mut state = self.state.lock();
        state.waiting.push_back(lent);
        !std::mem::replace(&mut state.is_led, true)
    }
}

/// Takes back what is still waiting of an owner that unwinds.
struct Withdrawn<'c, T, O> {
    combiner: &'c Combiner<T, O>,
    seat: &'c Arc<Seat<O>>,
}

impl<T, O> Drop for Withdrawn<'_, T, O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.combiner.state.lock().waiting.retain(|lent| !Arc::ptr_eq(&lent.seat, self.seat));
        }
    }
}

/// The right to do what is waiting. Whoever waits first gets it when it is dropped.
pub struct Lead<'c, T, O> {
    combiner: &'c Combiner<T, O>,
    seat: &'c Arc<Seat<O>>,
}

impl<'c, T, O> Lead<'c, T, O> {
    /// Lets those who are about to come arrive: until nobody has while this thread stood back.
    ///
    /// Cost: a system call or two where nobody comes.
    pub fn stand_back(&mut self) {
        let mut waiting = 0;
        loop {
            let now = self.combiner.state.lock().waiting.len();
            if now <= waiting {
                return;
            }
            waiting = now;
            std::thread::yield_now();
        }
    }

    /// What has come first, up to `most` of it; the leader's own is the first.
    pub fn take(&mut self, most: usize) -> Batch<'c, T, O> {
        let mut state = self.combiner.state.lock();
        let count = most.max(1).min(state.waiting.len());
        Batch { taken: state.waiting.drain(..count).collect(), leader: PhantomData }
    }
}

impl<T, O> Drop for Lead<'_, T, O> {
    fn drop(&mut self) {
        let mut state = self.combiner.state.lock();
        if let Some(own) = state.waiting.iter().position(|lent| Arc::ptr_eq(&lent.seat, self.seat)) {
            state.waiting.remove(own);
            self.seat.tell(Turn::Over(None));
        }
        match state.waiting.front() {
            Some(next) => next.seat.tell(Turn::Leads),
            None => state.is_led = false,
        }
    }
}

/// What was taken to be done together, while one leads. Those who wait for it are told when it is ended, or dropped.
pub struct Batch<'c, T, O> {
    taken: Vec<Lent<T, O>>,
    leader: PhantomData<&'c Combiner<T, O>>,
}

impl<T, O> Batch<'_, T, O> {
    /// Does it all, one after the other.
    pub fn run(&mut self, to: &mut T) {
        for lent in &self.taken {
            // SAFETY: the closure's owner waits in `submit` until its seat is told that it is over, which happens when this batch is
            // gone; nobody else has the pointer, and `self` is borrowed exclusively.
            unsafe { (*lent.act)(to) }
        }
    }

    /// Tells everybody what came of it.
    pub fn end(mut self, outcome: &O)
    where
        O: Clone,
    {
        for lent in self.taken.drain(..) {
            lent.seat.tell(Turn::Over(Some(outcome.clone())));
        }
    }
}

impl<T, O> Drop for Batch<'_, T, O> {
    fn drop(&mut self) {
        for lent in self.taken.drain(..) {
            lent.seat.tell(Turn::Over(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    /// Adds `by` to a shared sum by way of the combiner; answers what it came to be, and how many were added at once.
    fn add(combiner: &Combiner<u64, usize>, sum: &Mutex<u64>, by: u64, most: usize) -> (u64, Option<usize>) {
        let mut after = 0;
        let outcome = combiner.submit(
            &mut |sum: &mut u64| {
                *sum += by;
                after = *sum;
            },
            |mut lead| {
                let mut sum = sum.lock();
                let mut batch = lead.take(most);
                let count = batch.taken.len();
                batch.run(&mut sum);
                drop(lead);
                batch.end(&count);
            },
        );
        (after, outcome)
    }

    #[test]
    fn everything_is_done_once_and_its_owner_learns_of_it() {
        let (combiner, sum, largest) = (Combiner::default(), Mutex::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for by in 1..=8 {
                let (combiner, sum, largest) = (&combiner, &sum, &largest);
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let (after, count) = add(combiner, sum, by, 5);
                        assert!(after >= by);
                        largest.fetch_max(count.expect("nobody gives up"), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(*sum.lock(), 2000 * 36);
        assert!((1..=5).contains(&largest.load(Ordering::Relaxed)));
        assert!(!combiner.state.lock().is_led);
    }

    #[test]
    fn a_leader_that_panics_tells_those_it_led_and_the_next_one_leads() {
        let (combiner, sum) = (Combiner::<u64, usize>::default(), Mutex::new(0));
        let others = thread::scope(|scope| {
            let others: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        while !combiner.state.lock().is_led {
                            thread::yield_now();
                        }
                        add(&combiner, &sum, 1, 8).1
                    })
                })
                .collect();
            let led = catch_unwind(AssertUnwindSafe(|| {
                combiner.submit(&mut |_: &mut u64| {}, |mut lead| {
                    while combiner.state.lock().waiting.len() < 3 {
                        thread::yield_now();
                    }
                    let _batch = lead.take(3);
                    panic!("in the lead");
                })
            }));
            assert!(led.is_err());
            others.into_iter().map(|other| other.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert_eq!(others.iter().filter(|outcome| outcome.is_none()).count(), 2, "{others:?}");
        assert_eq!(*sum.lock(), 2);
        assert_eq!(add(&combiner, &sum, 5, 8), (7, Some(1)));
    }

    #[test]
    fn a_leader_that_takes_nothing_is_told_so() {
        let combiner = Combiner::<u64, usize>::default();
        assert_eq!(combiner.submit(&mut |_: &mut u64| {}, |lead| drop(lead)), None);
        assert!(!combiner.state.lock().is_led);
    }
}
