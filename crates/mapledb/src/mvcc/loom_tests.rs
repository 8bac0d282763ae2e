//! Models, run by loom over the engine's own functions, with small rings and blocks.
//!
//! Each holds for every interleaving and every stale load that the memory model allows, up to three preemptions.
//! `scripts/loom` runs them, and then once for each planted bug (`maple_canary`), when one must fail.

use loom::cell::UnsafeCell;
use loom::sync::Arc as LoomArc;
use loom::thread;
use std::sync::Arc;
use std::time::Instant;

use mapledb_os::sync::Ordering;

use super::Wait;
use super::heads::{self, NewHead};
use super::layout::*;
use super::member::{Files, Member};
use super::memory::LockMemory;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(f);
}

fn new_head(txnid: u64) -> NewHead {
    NewHead { body: [txnid; BODY_WORDS], durable_txnid: txnid, durable_meta_checksum: txnid }
}

fn publish(member: &Member, txnid: u64) {
    let seq = heads::append(&member.memory, &new_head(txnid)).expect("append");
    heads::publish_up_to(&member.memory, seq).expect("publish");
}

/// As many members of one memory as are wanted, with txnid 1 published.
fn members<const N: usize>() -> [Arc<Member>; N] {
    let memory = Arc::new(LockMemory::with_blocks(N));
    let members =
        std::array::from_fn(|only| Member::join(Arc::clone(&memory), Files { only }).expect("a block"));
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
        LoomArc::new(Page(UnsafeCell::new(1)))
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
