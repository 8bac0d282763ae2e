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
//! A reader that is *parked* still pins, but may be *evicted*: then its word pins nothing, and whoever comes back finds that out
//! before it reads. One that is not parked is never evicted.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed as StdRelaxed;

use mapledb_os::process;
use mapledb_os::sync::{Ordering, fence, fence_after_exchange, load_after_fence};

use super::Result;
use super::blocks::{self, is_claimed};
use super::heads::{self, Head};
use super::layout::{BLOCK_SLOTS, PIN_EVICTED, PIN_PARKED};
use super::member::Member;
use super::shared::{Block, ReaderSlot};
use mapledb_os::planted;

/// What a parked reader finds when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// Its snapshot is pinned as before.
    Pinned,
    /// It was evicted meanwhile.
    Evicted,
}

/// How long a writer goes without looking for dead readers: 10 ms.
const REAP_EVERY_NS: u64 = 10_000_000;

/// Where a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    block: usize,
    slot: usize,
}

/// The copy of a head that a read begins with; see [`Member::pin_slot`].
#[derive(Debug)]
pub(crate) struct KeptHead {
    /// Whose head it is.
    member: u64,
    pub(crate) head: Head,
    /// Further copies that the thread keeps.
    next: Option<Box<KeptHead>>,
    /// How many there are.
    kept: u8,
}

impl KeptHead {
    fn new(member: u64, head: Head) -> Box<KeptHead> {
        Box::new(KeptHead { member, head, next: None, kept: 0 })
    }
}

impl Clone for KeptHead {
    fn clone(&self) -> KeptHead {
        KeptHead { member: self.member, head: self.head, next: None, kept: 0 }
    }
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

/// A read that is going on somewhere, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderInfo {
    /// The process, in its own PID namespace.
    pub pid: u32,
    /// The thread that began it.
    pub tid: u32,
    /// The snapshot it pins.
    pub txnid: u64,
    /// When it began, unix ns.
    pub began_at: u64,
    /// Clones of the pin beside the first.
    pub clones: u32,
    /// The process block.
    pub block: usize,
    /// The slot in it.
    pub slot: usize,
    /// Whether the process is this one.
    pub is_own: bool,
    /// Whether its owner has parked it.
    pub is_parked: bool,
    /// How many heads were appended since the one it reads; `None` for a named snapshot.
    pub behind: Option<u64>,
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
        self.slot(place)?.pin.swap(pin_word(&kept.head), Ordering::AcqRel);
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

    /// Parks the reader of a slot, which does not read until it comes back. False, and nothing is done, if it has clones: they
    /// may be reading.
    ///
    /// Release: what was read comes before the eviction, which acquires, and so before the pages are stored to.
    pub(super) fn park(&self, place: Place) -> bool {
        let Some(slot) = self.own_slot(place) else { return false };
        if slot.clones.load(Ordering::Acquire) != 0 {
            return false;
        }
        let ordering = if planted("unordered_park") { Ordering::Relaxed } else { Ordering::Release };
        slot.pin.store(slot.pin.load(Ordering::Relaxed) | PIN_PARKED, ordering);
        true
    }

    /// The parked reader of a slot comes back. Its compare-and-swap and the evictor's are on one word, so one comes first and
    /// the other fails: who comes back finds its pin, which nobody may take any more, or finds that it has none.
    pub(super) fn unpark(&self, place: Place) -> Return {
        let Some(slot) = self.own_slot(place) else { return Return::Evicted };
        let pin = slot.pin.load(Ordering::Relaxed);
        if planted("no_unpark_check") {
            slot.pin.store(pin & !PIN_PARKED, Ordering::Release);
            return Return::Pinned;
        }
        if pin == PIN_EVICTED {
            return Return::Evicted;
        }
        match slot.pin.compare_exchange(pin, pin & !PIN_PARKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Return::Pinned,
            Err(_) => Return::Evicted,
        }
    }

    /// Evicts the parked readers among those that `chosen` picks, of all processes; answers how many. One that reads is never
    /// evicted, whatever is picked.
    pub(super) fn evict_parked(&self, mut chosen: impl FnMut(&ReaderInfo) -> bool) -> Result<usize> {
        let mut evicted = 0;
        let may_go = |reader: &&ReaderInfo| reader.is_parked || planted("evicted_active");
        for reader in self.readers()?.iter().filter(may_go) {
            let slot = &self.memory.block(reader.block)?.slots[reader.slot];
            let parked = reader.txnid | if reader.is_parked { PIN_PARKED } else { 0 };
            // Acquire: what it read comes before whatever is stored to its pages.
            if chosen(reader)
                && slot.pin.compare_exchange(parked, PIN_EVICTED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                evicted += 1;
            }
        }
        Ok(evicted)
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

    /// The txnids that readers of all processes pin now, ascending, each once. Every reader that is not in the
    /// list will see at least the head that was published when this was called.
    ///
    /// Now and then it cleans up after dead readers first.
    pub(super) fn pinned(&self) -> Result<Vec<u64>> {
        self.check()?;
        self.reap_if_due()?;
        // The publication comes before this, the scan after it: see `pin`.
        if !planted("no_writer_fence") {
            fence(Ordering::SeqCst);
        }
        let mut pinned = Vec::new();
        self.each_pinned(|_, _, _, _, pin| {
            let is_seen = pin & PIN_PARKED == 0 || !planted("unpinned_parked");
            pinned.extend(pinned_by(pin).filter(|_| is_seen));
        })?;
        pinned.sort_unstable();
        pinned.dedup();
        Ok(pinned)
    }

    /// The reads that are going on now.
    pub(super) fn readers(&self) -> Result<Vec<ReaderInfo>> {
        self.check()?;
        let own = self.own.lock().clone();
        let mut readers = Vec::new();
        let newest = self.memory.header().published_seq.load(Ordering::Acquire);
        self.each_pinned(|index, block, number, slot, pin| {
            let Some(txnid) = pinned_by(pin) else { return };
            let seq = slot.seq.load(Ordering::Relaxed);
            readers.push(ReaderInfo {
                pid: block.pid.load(Ordering::Relaxed),
                tid: slot.tid.load(Ordering::Relaxed),
                txnid,
                began_at: slot.began_at.load(Ordering::Relaxed),
                clones: slot.clones.load(Ordering::Relaxed),
                block: index,
                slot: number,
                is_own: own.contains(&index),
                is_parked: pin & PIN_PARKED != 0,
                behind: (seq != 0).then(|| newest.saturating_sub(seq)),
            });
        })?;
        Ok(readers)
    }

    /// Reads begun since the lock file was made, by all processes.
    pub(super) fn reads_begun(&self) -> Result<u64> {
        let mut sum = 0u64;
        for index in 0..self.memory.blocks()? {
            let slots = &self.memory.block(index)?.slots;
            sum = slots.iter().fold(sum, |sum, slot| sum.wrapping_add(slot.begins.load(Ordering::Relaxed)));
        }
        Ok(sum)
    }

    /// Pins of this process, without those of others.
    pub(super) fn own_pins(&self) -> Result<usize> {
        let own = self.own.lock().clone();
        let mut pins = 0;
        self.each_pinned(|index, _, _, _, _| pins += usize::from(own.contains(&index)))?;
        Ok(pins)
    }

    fn each_pinned(&self, mut visit: impl FnMut(usize, &Block, usize, &ReaderSlot, u64)) -> Result<()> {
        for index in 0..self.memory.blocks()? {
            let block = self.memory.block(index)?;
            if !is_claimed(block) {
                continue;
            }
            let used = (block.slots_used.load(Ordering::Acquire) as usize).min(BLOCK_SLOTS);
            for (number, slot) in block.slots[..used].iter().enumerate() {
                // Acquire: a reader that is gone has read all it wanted before its pages are reused.
                let pin = load_after_fence(&slot.pin, Ordering::Acquire);
                if pin != 0 {
                    visit(index, block, number, slot, pin);
                }
            }
        }
        Ok(())
    }

    fn reap_if_due(&self) -> Result<()> {
        let now = process::unix_nanos_coarse();
        if cfg!(loom) || now.abs_diff(self.last_reap.load(StdRelaxed)) < REAP_EVERY_NS {
            return Ok(());
        }
        self.last_reap.store(now, StdRelaxed);
        self.reap().map(|_| ())
    }
}

/// The txnid that a slot pins, by its word.
#[inline]
fn pinned_by(pin: u64) -> Option<u64> {
    (pin != PIN_EVICTED).then_some(pin & !PIN_PARKED)
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
    slot.began_at.store(process::unix_nanos_coarse(), Ordering::Relaxed);
    let begins = slot.begins.load(Ordering::Relaxed);
    slot.begins.store(begins.wrapping_add(1), Ordering::Relaxed);
    slot.seq.store(seq, Ordering::Relaxed);
}

/// What a thread remembers: its id, and the slot it used last.
#[cfg(not(loom))]
mod hint {
    use std::cell::Cell;

    use mapledb_os::{fork, process};

    use super::{KeptHead, Place};

    /// The most copies of heads that a thread keeps: as many reads as it has at once, but not all that others hand it.
    const KEPT_MAX: u8 = 16;

    thread_local! {
        static KEPT: Cell<Option<Box<KeptHead>>> = const { Cell::new(None) };
        static HINT: Cell<(u64, Place)> = const { Cell::new((0, Place { block: 0, slot: 0 })) };
        static TID: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
    }

    /// The slot this thread used last, if that was with `member`.
    #[inline]
    pub(super) fn get(member: u64) -> Option<Place> {
        let (of, place) = HINT.get();
        (of == member).then_some(place)
    }

    pub(super) fn set(member: u64, place: Place) {
        HINT.set((member, place));
    }

    /// The copy of a head that this thread kept last.
    #[inline]
    pub(super) fn take_kept() -> Option<Box<KeptHead>> {
        let take = |top: &Cell<Option<Box<KeptHead>>>| {
            let mut kept = top.take()?;
            top.set(kept.next.take());
            Some(kept)
        };
        KEPT.try_with(take).ok().flatten()
    }

    /// Keeps a copy of a head for the thread's next read. A thread that is ending keeps nothing.
    #[inline]
    pub(super) fn keep(mut kept: Box<KeptHead>) {
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
    pub(super) fn tid() -> u32 {
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
mod hint {
    use super::{KeptHead, Place};

    pub(super) fn take_kept() -> Option<Box<KeptHead>> {
        None
    }

    pub(super) fn keep(_: Box<KeptHead>) {}

    pub(super) fn get(_: u64) -> Option<Place> {
        None
    }

    pub(super) fn set(_: u64, _: Place) {}

    pub(super) fn tid() -> u32 {
        1
    }
}
