//! Reader slots: how a snapshot is pinned, and how a writer learns what is pinned.
//!
//! A reader copies the published head, stores its txnid in a slot, fences, and looks whether the same head is still
//! published; if not, it tries again in the same slot. A writer publishes, fences, and scans the slots. Of the two
//! fences one comes first: either the scan sees the pin, or the reader sees the publication.
//!
//! A slot belongs to one pin and its clones, which count themselves in the slot. A thread finds the slot it
//! used last by a hint of its own, so that in the steady state a read begins with one compare-and-swap on a
//! cache line of its own, without allocation and without a system call. It also keeps the copies of heads that its last
//! reads began with: as long as the same head is published nothing is copied.
//!
//! How pins are scanned is in `pins`, what a thread keeps in `hint`, and readers that may be evicted in `parked`.

use std::sync::Arc;

use mapledb_os::process;
use mapledb_os::sync::{Ordering, fence, fence_after_exchange};

use super::Result;
use super::blocks;
use super::heads::{self, Head};
use super::hint::{self, KeptHead};
use super::layout::BLOCK_SLOTS;
use super::member::Member;
use super::shared::{Block, ReaderSlot};
use mapledb_os::planted;

/// Where a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) block: usize,
    pub(super) slot: usize,
}

/// A pinned snapshot: no page of it is reused while this or a clone of it lives.
///
/// It may be cloned, sent and dropped in any thread; in a forked child it does nothing.
#[derive(Debug)]
pub struct Pin {
    member: Arc<Member>,
    place: Place,
    txnid: u64,
}

impl Pin {
    /// The snapshot's txnid.
    pub fn txnid(&self) -> u64 {
        self.txnid
    }

    /// Whether this is a forked child of the process that began the read: it must not be used here.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.member.is_forked()
    }
}

impl Clone for Pin {
    fn clone(&self) -> Pin {
        self.member.share_slot(self.place);
        Pin { member: Arc::clone(&self.member), ..*self }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.member.release_place(self.place, 0);
    }
}

impl Member {
    /// Begins a read: pins the published snapshot.
    pub(super) fn pin(self: &Arc<Member>) -> Result<(Pin, Head)> {
        let (place, kept) = self.pin_slot()?;
        let head = kept.head;
        hint::keep(kept);
        Ok((Pin { member: Arc::clone(self), place, txnid: head.txnid() }, head))
    }

    /// Pins the published snapshot in a slot, which is the caller's to release with the copy of the head.
    #[inline]
    pub(super) fn pin_slot(&self) -> Result<(Place, Box<KeptHead>)> {
        self.check()?;
        let mut kept = match hint::take_kept() {
            Some(kept) if kept.member == self.id => kept,
            _ => KeptHead::new(self.id, Head::NONE),
        };
        heads::copy_published(&self.memory, &mut kept.head);
        let (place, slot) = self.take_slot(pin_word(&kept.head))?;
        self.settle_pin(slot, &mut kept.head)?;
        Ok((place, kept))
    }

    /// Pins the snapshot of `head`, which need not be published. The caller looks, after this, whether a state that is published
    /// still lists it: the pin comes before that look, and a writer that found a state without it published looks at the pins
    /// after that, so of the two one sees the other.
    pub(super) fn pin_slot_at(&self, head: Head) -> Result<(Place, Box<KeptHead>)> {
        self.check()?;
        let (place, slot) = self.take_slot(pin_word(&head))?;
        fence(Ordering::SeqCst);
        note_begin(slot, 0);
        Ok((place, KeptHead::new(self.id, head)))
    }

    /// Pins the published snapshot, as [`Member::pin_slot`], in the slot that was pinned before, unless another has it now.
    #[inline]
    pub(super) fn pin_slot_again(&self, place: Place, kept: &mut KeptHead) -> Result<Place> {
        self.check()?;
        heads::copy_published(&self.memory, &mut kept.head);
        let word = pin_word(&kept.head);
        let slot = self.slot(place)?;
        let (place, slot) = if take(slot, word) { (place, slot) } else { self.take_slot(word)? };
        self.settle_pin(slot, &mut kept.head)?;
        Ok(place)
    }

    /// Pins the newest head, published or not.
    ///
    /// The writer lock is held meanwhile: so the head stays the newest, its pages are left alone, and whoever has the lock
    /// next sees the pin. There is nothing to be looked at again.
    pub(super) fn pin_newest(&self) -> Result<(Place, Box<KeptHead>)> {
        self.check()?;
        let record = heads::head(&self.memory)?;
        let kept = KeptHead::new(self.id, Head::of(&record));
        let (place, slot) = self.take_slot(pin_word(&kept.head))?;
        note_begin(slot, kept.head.seq);
        Ok((place, kept))
    }

    /// Pins the newest head, as [`Member::pin_newest`], in a slot that pins an older one for nobody but the caller.
    pub(super) fn repin_newest(&self, place: Place, kept: &mut KeptHead) -> Result<()> {
        kept.head = Head::of(&heads::head(&self.memory)?);
        let slot = self.slot(place)?;
        slot.pin.swap(pin_word(&kept.head), Ordering::AcqRel);
        note_snapshot(slot, kept.head.seq);
        Ok(())
    }

    /// Whether `head` is the published one. Cost: a load.
    #[inline]
    pub(super) fn is_latest(&self, head: &Head) -> bool {
        self.memory.header().published_seq.load(Ordering::Acquire) == head.seq
    }

    /// Makes sure that the slot pins the published snapshot, whose head `head` is a copy of from then on.
    #[inline(always)]
    fn settle_pin(&self, slot: &ReaderSlot, head: &mut Head) -> Result<()> {
        loop {
            // The pin above comes before this, the look at the publication after it; `pinned` has the same the
            // other way round. Without either fence both could miss the other's store.
            if !planted("no_reader_fence") {
                fence_after_exchange();
            }
            match heads::still_published(&self.memory, head) {
                Ok(true) => break,
                Ok(false) => {
                    heads::copy_published(&self.memory, head);
                    // Release: whoever sees this value must see that an earlier reader of the slot has finished.
                    slot.pin.swap(pin_word(head), Ordering::AcqRel);
                }
                Err(e) => {
                    slot.pin.store(0, Ordering::Release);
                    return Err(e);
                }
            }
        }
        note_begin(slot, head.seq);
        Ok(())
    }

    /// Counts one more owner of a slot.
    pub(super) fn share_slot(&self, place: Place) {
        if let Some(slot) = self.own_slot(place) {
            slot.clones.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one owner less, and the lookups it has not handed in; the last one frees the slot.
    #[inline]
    pub(super) fn release_slot(&self, place: Place, kept: Box<KeptHead>, gets: u64) {
        hint::keep(kept);
        self.release_place(place, gets);
    }

    #[inline]
    pub(super) fn release_place(&self, place: Place, gets: u64) {
        let Some(slot) = self.own_slot(place) else { return };
        if slot.clones.load(Ordering::Acquire) == 0 {
            // Alone, nobody can clone under our hands, or count.
            if gets > 0 {
                slot.gets.store(slot.gets.load(Ordering::Relaxed).wrapping_add(gets), Ordering::Relaxed);
            }
        } else {
            slot.gets.fetch_add(gets, Ordering::Relaxed);
            // We count ourselves off; of two that do so at the same time the later finds 0 and is the last.
            if slot.clones.fetch_sub(1, Ordering::AcqRel) != 0 {
                return;
            }
            slot.clones.store(0, Ordering::Relaxed);
        }
        slot.pin.store(0, Ordering::Release);
    }

    /// A slot while it is this process's: not in a forked child, and not after leaving, when it may be another's.
    #[inline]
    pub(super) fn own_slot(&self, place: Place) -> Option<&ReaderSlot> {
        if self.is_forked() || self.has_left() {
            return None;
        }
        self.memory.block(place.block).ok()?.slots.get(place.slot)
    }

    #[inline]
    fn slot(&self, place: Place) -> Result<&ReaderSlot> {
        Ok(&self.memory.block(place.block)?.slots[place.slot])
    }

    /// Takes the slot that the thread used last, if it is free, or any other.
    #[inline(always)]
    fn take_slot(&self, word: u64) -> Result<(Place, &ReaderSlot)> {
        if let Some(place) = hint::get(self.id) {
            let slot = self.slot(place)?;
            if take(slot, word) {
                return Ok((place, slot));
            }
        }
        self.take_any_slot(word)
    }

    #[cold]
    fn take_any_slot(&self, word: u64) -> Result<(Place, &ReaderSlot)> {
        let place = self.find_slot(word)?;
        hint::set(self.id, place);
        Ok((place, self.slot(place)?))
    }

    /// Takes the first free slot of the process's blocks, claiming a further block if there is none.
    fn find_slot(&self, word: u64) -> Result<Place> {
        let mut own = self.own.lock();
        for &block in own.iter() {
            if let Some(slot) = take_any(self.memory.block(block)?, word) {
                return Ok(Place { block, slot });
            }
        }
        loop {
            let block = blocks::claim(&self.memory, &self.files, &own)?;
            own.push(block);
            if let Some(slot) = take_any(self.memory.block(block)?, word) {
                return Ok(Place { block, slot });
            }
        }
    }
}

/// What is stored to pin `head`. A txnid of 0 is refused later, and until then must not look like a free slot.
#[inline]
fn pin_word(head: &Head) -> u64 {
    head.txnid().max(1)
}

/// Takes `slot` if it is free.
#[inline]
fn take(slot: &ReaderSlot, word: u64) -> bool {
    slot.pin.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

fn take_any(block: &Block, word: u64) -> Option<usize> {
    (0..BLOCK_SLOTS).find(|&number| {
        let slot = &block.slots[number];
        if slot.pin.load(Ordering::Relaxed) != 0 {
            return false;
        }
        // Before the pin, so that a scan that must see the pin looks this far.
        if block.slots_used.load(Ordering::Relaxed) as usize <= number {
            block.slots_used.fetch_max(number as u32 + 1, Ordering::AcqRel);
        }
        take(slot, word)
    })
}

/// Notes who began to read and when. Only the slot's holder stores here.
#[inline]
fn note_begin(slot: &ReaderSlot, seq: u64) {
    slot.tid.store(hint::tid(), Ordering::Relaxed);
    let begins = slot.begins.load(Ordering::Relaxed);
    slot.begins.store(begins.wrapping_add(1), Ordering::Relaxed);
    note_snapshot(slot, seq);
}

/// Notes what the slot's holder reads, and since when.
#[inline]
fn note_snapshot(slot: &ReaderSlot, seq: u64) {
    slot.began_at.store(process::unix_nanos_coarse(), Ordering::Relaxed);
    slot.seq.store(seq, Ordering::Relaxed);
}
