//! Models, run by loom over the engine's own functions, with small rings and blocks.
//!
//! Each holds for every interleaving and every stale load that the memory model allows, up to three preemptions.
//! `scripts/loom` runs them, and then once for each planted bug, when one must fail.

use loom::cell::UnsafeCell;
use loom::sync::Arc as LoomArc;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use mapledb_os::sync::{AtomicU32, Ordering};

use super::Wait;
use super::durable::Durable;
use super::heads::{self, NewHead};
use super::layout::*;
use super::member::{Files, Member};
use super::memory::LockMemory;
use super::parked::Return;

/// Explores every interleaving of `f`, with three preemptions at most. `MAPLE_LOOM=unbounded` lifts that, for so many
/// seconds as `MAPLE_LOOM_SECONDS` says, and tells whether the end was reached.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let is_unbounded = std::env::var("MAPLE_LOOM").is_ok_and(|what| what == "unbounded");
    let seconds = std::env::var("MAPLE_LOOM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3600);
    builder.preemption_bound = if is_unbounded { None } else { Some(3) };
    builder.max_duration = is_unbounded.then(|| std::time::Duration::from_secs(seconds));
    builder.max_branches = 20_000;
    let began = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        f();
    });
    if is_unbounded {
        let is_whole = began.elapsed().as_secs() < seconds;
        let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
        let name = thread_name();
        println!(
            "UNBOUNDED {name}: {runs} interleavings, {}",
            if is_whole { "all of them" } else { "not all" }
        );
    }
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or("a model").rsplit("::").next().unwrap_or("a model").to_string()
}

fn new_head(txnid: u64) -> NewHead {
    NewHead { body: [txnid; BODY_WORDS], durable_txnid: txnid, durable_meta_checksum: txnid }
}

fn publish(member: &Member, txnid: u64) {
    let seq = heads::append(&member.memory, &new_head(txnid)).expect("append");
    heads::publish_up_to(&member.memory, seq).expect("publish");
}

/// A lock file's memory and the bytes that its processes hold.
struct World {
    memory: Arc<LockMemory>,
    bytes: Arc<Vec<AtomicU32>>,
}

impl World {
    fn with_blocks(count: usize) -> World {
        let bytes = (0..count).map(|_| AtomicU32::new(0)).collect();
        World { memory: Arc::new(LockMemory::with_blocks(count)), bytes: Arc::new(bytes) }
    }

    fn join(&self, me: u32) -> Arc<Member> {
        Member::join(Arc::clone(&self.memory), Files { me, bytes: Arc::clone(&self.bytes) }).expect("a block")
    }

    /// The process dies: the kernel gives its byte up, and nothing else happens.
    fn kill(member: Arc<Member>) {
        member.files.release_byte(member.primary).expect("its byte");
        std::mem::forget(member);
    }
}

/// As many members of one memory as are wanted, with txnid 1 published.
fn members<const N: usize>() -> [Arc<Member>; N] {
    let world = World::with_blocks(N);
    let members = std::array::from_fn(|index| world.join(index as u32 + 1));
    publish(&members[0], 1);
    members
}

/// A page that writers and readers may only touch one after the other: loom sees to that.
struct Page(UnsafeCell<u64>);

// SAFETY: none is needed for plain memory; loom reports any access that is not ordered.
#[allow(unsafe_code)]
unsafe impl Sync for Page {}

impl Page {
    fn new() -> LoomArc<Page> {
        LoomArc::new(Page::plain())
    }

    fn plain() -> Page {
        Page(UnsafeCell::new(1))
    }

    fn read(&self) -> u64 {
        // SAFETY: see the impl of Sync.
        #[allow(unsafe_code)]
        self.0.with(|page| unsafe { *page })
    }

    fn add(&self) {
        // SAFETY: see the impl of Sync.
        #[allow(unsafe_code)]
        self.0.with_mut(|page| unsafe { *page += 1 });
    }
}

#[test]
fn loom_a_page_is_reused_only_when_no_reader_can_reach_it() {
    model(|| {
        let [writer, reader] = members::<2>();
        let page = Page::new();
        let read = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let (pin, _) = reader.pin().expect("pin");
                // The page is part of snapshot 1 only.
                if pin.txnid() == 1 {
                    assert_eq!(page.read(), 1, "a page was reused under its reader");
                }
            })
        };
        publish(&writer, 2);
        if !writer.pinned().expect("scan").contains(&1) {
            page.add();
        }
        read.join().expect("no panic");
    });
}

#[test]
fn loom_a_readers_copy_is_never_mixed() {
    model(|| {
        let [writer, reader] = members::<2>();
        let read = thread::spawn(move || {
            let (pin, head) = reader.pin().expect("pin");
            assert_eq!(head.words, [pin.txnid(); HEAD_WORDS], "a mixed record");
        });
        // The second of these takes the place of the record that was published first.
        publish(&writer, 2);
        publish(&writer, 3);
        read.join().expect("no panic");
    });
}

#[test]
fn loom_a_slot_has_one_owner() {
    model(|| {
        let [member] = members::<1>();
        let page = Page::new();
        let other = {
            let (member, page) = (Arc::clone(&member), LoomArc::clone(&page));
            thread::spawn(move || {
                let (pin, _) = member.pin().expect("a slot");
                page.read();
                drop(pin);
            })
        };
        let (pin, _) = member.pin().expect("a slot");
        let twin = pin.clone();
        page.read();
        drop(pin);
        assert_eq!(member.pinned().expect("scan"), [1], "the clone still pins");
        drop(twin);
        other.join().expect("no panic");
        assert_eq!(member.pinned().expect("scan"), []);
        page.add();
    });
}

#[test]
fn loom_clones_dropped_at_once_free_the_slot_once() {
    model(|| {
        let [member] = members::<1>();
        let page = Page::new();
        let (pin, _) = member.pin().expect("a slot");
        let twin = pin.clone();
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                page.read();
                drop(twin);
            })
        };
        page.read();
        drop(pin);
        if member.pinned().expect("scan").is_empty() {
            page.add();
        }
        other.join().expect("no panic");
        assert_eq!(member.pinned().expect("scan"), []);
    });
}

#[test]
fn loom_the_writer_lock_is_held_by_one() {
    model(|| {
        let [a, b] = members::<2>();
        let page = Page::new();
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let guard = b.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
                page.add();
                drop(guard);
            })
        };
        let guard = a.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
        page.add();
        drop(guard);
        other.join().expect("no panic");
        assert_eq!(page.read(), 3);
    });
}

#[test]
fn loom_who_gives_up_is_not_left_with_the_lock() {
    model(|| {
        let [a, b] = members::<2>();
        let guard = a.lock_writer(Wait::Try).expect("lock").expect("free");
        let other = thread::spawn(move || {
            // Its time has passed from the start: it gives up at its first look.
            if b.wait_for_writer(Some(Instant::now())).expect("lock").is_some() {
                b.unlock_writer();
            }
        });
        drop(guard);
        other.join().expect("no panic");
        let word = WriterWord(a.memory.header().writer.load(Ordering::Acquire));
        assert_eq!(word.block(), None, "the lock was handed to one who had given up");
    });
}

#[test]
fn loom_what_one_takes_over_and_does_not_settle_the_next_takes_over() {
    model(|| {
        let [a, b] = members::<2>();
        a.memory.header().writer.store(WriterWord::ORPHAN.0, Ordering::Release);
        let guard = a.lock_writer(Wait::Try).expect("lock").expect("its holder is dead");
        assert!(guard.took_over());
        let other = thread::spawn(move || {
            let mut guard = b.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
            assert!(guard.took_over(), "the death was forgotten");
            guard.has_settled();
        });
        drop(guard);
        other.join().expect("no panic");
        let word = a.memory.header().writer.load(Ordering::Acquire);
        assert_eq!(WriterWord(word).unmarked(), WriterWord::FREE);
    });
}

#[test]
fn loom_a_dead_readers_slot_is_cleaned_once_and_serves_the_next_process() {
    model(|| {
        // One block more than processes: who cleans holds the dead one's byte for a moment.
        let world = World::with_blocks(3);
        let writer = world.join(1);
        publish(&writer, 1);
        let reader = world.join(2);
        std::mem::forget(reader.pin().expect("pin"));
        World::kill(reader);
        let next = thread::spawn(move || {
            let next = world.join(3);
            let pin = next.pin().expect("pin").0;
            (next, pin)
        });
        writer.reap().expect("reap");
        let (next, pin) = next.join().expect("no panic");
        assert_eq!(writer.pinned().expect("scan"), [1], "a living reader's pin was taken for a dead one's");
        drop(pin);
        assert_eq!(writer.pinned().expect("scan"), [], "a dead reader's pin stays");
        drop(next);
    });
}

#[test]
fn loom_a_scan_misses_no_reader_older_than_what_is_published() {
    model(|| {
        let [writer, reader] = members::<2>();
        let read = thread::spawn(move || reader.pin().expect("pin").0);
        publish(&writer, 2);
        let scanned = writer.pinned().expect("scan");
        let pin = read.join().expect("no panic");
        let oldest = scanned.first().copied().unwrap_or(2).min(2);
        assert!(pin.txnid() >= oldest, "the oldest was {oldest}, and a reader has {}", pin.txnid());
        assert_eq!(writer.pinned().expect("scan"), [pin.txnid()]);
    });
}

#[test]
fn loom_of_those_that_wait_for_a_dead_writer_one_takes_over() {
    model(|| {
        let [dead, a, b] = members::<3>();
        let page = Page::new();
        std::mem::forget(dead.lock_writer(Wait::Try).expect("lock").expect("free"));
        page.add();
        World::kill(dead);
        let take = |member: Arc<Member>, page: LoomArc<Page>| {
            let mut guard = member.lock_writer(Wait::Try).expect("lock")?;
            page.add();
            guard.has_settled();
            Some(guard.took_over())
        };
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || take(b, page))
        };
        let mine = take(Arc::clone(&a), LoomArc::clone(&page));
        let other = other.join().expect("no panic");
        let taken = [mine, other].into_iter().flatten().filter(|took_over| *took_over).count();
        match (mine, other) {
            // Each found the other at work: cleaning up, or with the lock.
            (None, None) => assert!(a.lock_writer(Wait::Try).expect("lock").expect("free").took_over()),
            _ => assert_eq!(taken, 1, "one takes over: {mine:?} {other:?}"),
        }
    });
}

#[test]
fn loom_a_lock_handed_to_one_who_has_died_is_not_lost_with_it() {
    model(|| {
        let world = World::with_blocks(3);
        let [holder, dead] = [world.join(1), world.join(2)];
        let guard = holder.lock_writer(Wait::Try).expect("lock").expect("free");
        // It dies in line, and the next process claims its block while the lock is handed on.
        let ticket = &dead.memory.block(dead.primary).expect("its block").ticket;
        ticket.store(7, Ordering::Release);
        holder.memory.header().writer.fetch_or(WriterWord::FREE.marked().0, Ordering::AcqRel);
        World::kill(dead);
        let next = thread::spawn(move || world.join(3));
        drop(guard);
        let next = next.join().expect("no panic");
        let taken = holder.lock_writer(Wait::Try).expect("lock");
        assert!(taken.is_some(), "a dead one has the lock for ever");
        drop((taken, next));
    });
}

#[test]
fn loom_who_follows_a_failed_sync_knows_of_it() {
    model(|| {
        let [a, b] = members::<2>();
        let page = Page::new();
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let guard = b.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
                let comes_after = page.read() == 2;
                assert_eq!(b.is_poisoned(), comes_after, "a failed sync went by unseen");
                drop(guard);
            })
        };
        let guard = a.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
        page.add();
        a.poison();
        drop(guard);
        other.join().expect("no panic");
    });
}

#[test]
fn loom_a_process_that_goes_while_another_begins_takes_no_pin_with_it() {
    model(|| {
        let world = World::with_blocks(2);
        let writer = world.join(1);
        publish(&writer, 1);
        let going = world.join(2);
        let page = Page::new();
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let (pin, _) = going.pin().expect("pin");
                if pin.txnid() == 1 {
                    page.read();
                }
                drop(pin);
                going.leave();
                assert!(going.pin().is_err(), "a read began after its process had gone");
                let next = world.join(3);
                let pin = next.pin().expect("pin").0;
                (next, pin)
            })
        };
        publish(&writer, 2);
        if !writer.pinned().expect("scan").contains(&1) {
            page.add();
        }
        let (_next, pin) = other.join().expect("no panic");
        assert_eq!(writer.pinned().expect("scan"), [pin.txnid()]);
    });
}

/// What who leads does with the head: the store of its meta and the sync, the note, the publication.
fn land(member: &Member, slots: &[Page; 2], txnid: u64, seq: u64) {
    let durable = member.durable();
    let slot = durable.free_slot();
    slots[slot].add();
    assert_ne!(durable.meta_txnids[slot], durable.txnid, "the durable meta was stored over");
    let mut meta_txnids = durable.meta_txnids;
    meta_txnids[slot] = txnid;
    member.set_durable(Durable { txnid, meta_checksum: txnid, meta_txnids });
    heads::publish_up_to(&member.memory, seq).expect("publish");
}

#[test]
fn loom_one_meta_is_in_flight_and_never_in_the_place_of_the_durable_one() {
    model(|| {
        let [a, b] = members::<2>();
        let slots = LoomArc::new([Page::plain(), Page::plain()]);
        a.set_durable(Durable { txnid: 1, meta_checksum: 1, meta_txnids: [0, 1] });
        // One appends and makes its head durable under both locks, the other has the right to sync alone.
        heads::append(&a.memory, &new_head(2)).expect("append");
        let other = {
            let slots = LoomArc::clone(&slots);
            thread::spawn(move || {
                let sync = b.lock_sync().expect("lock");
                let record = sync.take_head().expect("whole");
                if record.head.txnid() > b.durable().txnid {
                    land(&b, &slots, record.head.txnid(), record.seq);
                }
            })
        };
        let guard = a.lock_writer(Wait::Forever).expect("lock").expect("no time-out");
        let sync = a.lock_sync().expect("lock");
        let was = a.durable().txnid;
        match was {
            // Nobody has led yet: this commit makes the one before it durable, too.
            1 => land(&a, &slots, 2, 2),
            _ => {
                let seq = heads::append(&a.memory, &new_head(3)).expect("append");
                land(&a, &slots, 3, seq);
            }
        }
        drop((sync, guard));
        other.join().expect("no panic");
        assert_eq!(a.durable().txnid, if was == 1 { 2 } else { 3 });
        let stores = slots[0].read() + slots[1].read() - 2;
        assert_eq!(
            stores,
            if was == 1 { 1 } else { 2 },
            "a commit was made durable twice, or by two at once"
        );
    });
}

#[test]
fn loom_a_page_of_the_head_in_flight_is_not_reused() {
    model(|| {
        let [writer, leader] = members::<2>();
        writer.set_durable(Durable { txnid: 1, meta_checksum: 1, meta_txnids: [0, 1] });
        publish(&writer, 2);
        // The page is part of snapshot 2 only.
        let page = Page::new();
        let other = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let sync = leader.lock_sync().expect("lock");
                let txnid = sync.take_head().expect("whole").head.txnid();
                if txnid == 2 {
                    // The sync.
                    assert_eq!(page.read(), 1, "a page was reused while it was synced");
                }
                leader.set_durable(Durable { txnid, meta_checksum: txnid, meta_txnids: [txnid, 1] });
            })
        };
        publish(&writer, 3);
        // The next writer: what is in flight is asked first.
        let flight = writer.flight();
        let durable = writer.durable();
        if ![flight, durable.txnid, durable.meta_txnids[0]].contains(&2) {
            page.add();
        }
        other.join().expect("no panic");
    });
}

#[test]
fn loom_of_those_that_wait_for_a_dead_leader_one_takes_over_and_the_head_stays_in_flight() {
    model(|| {
        let [dead, a, b] = members::<3>();
        let sync = dead.lock_sync().expect("lock");
        assert_eq!(sync.take_head().expect("whole").head.txnid(), 1);
        std::mem::forget(sync);
        World::kill(dead);
        let take = |member: Arc<Member>| {
            let mut sync = member.lock_sync().expect("lock");
            if sync.took_over() {
                assert_eq!(member.flight(), 1, "what the dead one was at was forgotten");
            }
            let took_over = sync.took_over();
            sync.has_settled();
            took_over
        };
        let other = thread::spawn(move || take(b));
        let taken = [take(a), other.join().expect("no panic")];
        assert_eq!(taken.iter().filter(|took_over| **took_over).count(), 1, "one takes over: {taken:?}");
    });
}

/// A parked reader comes back while a writer evicts whoever is parked and reuses what nobody pins.
#[test]
fn loom_a_parked_reader_goes_on_or_is_evicted_and_never_both() {
    model(|| {
        let [writer, reader] = members::<2>();
        let page = Page::new();
        let (place, _kept) = reader.pin_slot().expect("pin");
        let read = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                assert_eq!(page.read(), 1);
                assert!(reader.park(place), "it has no clones");
                if reader.unpark(place) == Return::Pinned {
                    assert_eq!(page.read(), 1, "a page was reused under a reader that had come back");
                }
            })
        };
        publish(&writer, 2);
        writer.evict_parked(|_| true).expect("evict");
        if !writer.pinned().expect("scan").contains(&1) {
            page.add();
        }
        read.join().expect("reader");
    });
}

/// Whoever is not parked stays, whatever the evictor picks.
#[test]
fn loom_a_reader_that_reads_is_never_evicted() {
    model(|| {
        let [writer, reader] = members::<2>();
        let page = Page::new();
        let read = {
            let page = LoomArc::clone(&page);
            thread::spawn(move || {
                let (place, kept) = reader.pin_slot().expect("pin");
                if kept.head.txnid() == 1 {
                    assert_eq!(page.read(), 1, "a page was reused under its reader");
                }
                reader.release_slot(place, kept, 0);
            })
        };
        publish(&writer, 2);
        assert_eq!(writer.evict_parked(|_| true).expect("evict"), 0);
        if !writer.pinned().expect("scan").contains(&1) {
            page.add();
        }
        read.join().expect("reader");
    });
}
