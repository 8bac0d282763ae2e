//! What a thread remembers between its reads: its id, the slot it used last, and copies of the heads that they began with.

use super::heads::Head;

pub(super) use remembered::{get, keep, set, take_kept, tid};

/// The copy of a head that a read begins with; see [`Member::pin_slot`].
#[derive(Debug)]
pub(crate) struct KeptHead {
    /// Whose head it is.
    pub(super) member: u64,
    pub(crate) head: Head,
    /// Further copies that the thread keeps.
    next: Option<Box<KeptHead>>,
    /// How many there are.
    kept: u8,
}

impl KeptHead {
    pub(super) fn new(member: u64, head: Head) -> Box<KeptHead> {
        Box::new(KeptHead { member, head, next: None, kept: 0 })
    }
}

impl Clone for KeptHead {
    fn clone(&self) -> KeptHead {
        KeptHead { member: self.member, head: self.head, next: None, kept: 0 }
    }
}

#[cfg(not(loom))]
mod remembered {
    use std::cell::Cell;

    use mapledb_os::{fork, process};

    use super::super::readers::Place;
    use super::KeptHead;

    /// The most copies of heads that a thread keeps: as many reads as it has at once, but not all that others hand it.
    const KEPT_MAX: u8 = 16;

    thread_local! {
        static KEPT: Cell<Option<Box<KeptHead>>> = const { Cell::new(None) };
        static HINT: Cell<(u64, Place)> = const { Cell::new((0, Place { block: 0, slot: 0 })) };
        static TID: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
    }

    /// The slot this thread used last, if that was with `member`.
    #[inline]
    pub(in super::super) fn get(member: u64) -> Option<Place> {
        let (of, place) = HINT.get();
        (of == member).then_some(place)
    }

    pub(in super::super) fn set(member: u64, place: Place) {
        HINT.set((member, place));
    }

    /// The copy of a head that this thread kept last.
    #[inline]
    pub(in super::super) fn take_kept() -> Option<Box<KeptHead>> {
        let take = |top: &Cell<Option<Box<KeptHead>>>| {
            let mut kept = top.take()?;
            top.set(kept.next.take());
            Some(kept)
        };
        KEPT.try_with(take).ok().flatten()
    }

    /// Keeps a copy of a head for the thread's next read. A thread that is ending keeps nothing.
    #[inline]
    pub(in super::super) fn keep(mut kept: Box<KeptHead>) {
        let _ = KEPT.try_with(|top| {
            let next = top.take();
            kept.kept = next.as_ref().map_or(0, |next| next.kept) + 1;
            if kept.kept <= KEPT_MAX {
                kept.next = next;
                top.set(Some(kept));
            } else {
                top.set(next);
            }
        });
    }

    /// This thread's id, asked of the system once.
    #[inline]
    pub(in super::super) fn tid() -> u32 {
        let (generation, tid) = TID.get();
        if generation == fork::generation() {
            return tid;
        }
        let tid = process::tid();
        TID.set((fork::generation(), tid));
        tid
    }
}

/// Loom's threads share one thread's memory: no hints.
#[cfg(loom)]
mod remembered {
    use super::super::readers::Place;
    use super::KeptHead;

    pub(in super::super) fn take_kept() -> Option<Box<KeptHead>> {
        None
    }

    pub(in super::super) fn keep(_: Box<KeptHead>) {}

    pub(in super::super) fn get(_: u64) -> Option<Place> {
        None
    }

    pub(in super::super) fn set(_: u64, _: Place) {}

    pub(in super::super) fn tid() -> u32 {
        1
    }
}
