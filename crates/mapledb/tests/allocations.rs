//! Beginning and ending a read allocates nothing once a thread has read before. Counted on the
//! test's own thread, since the harness allocates on its own when it likes.
#![cfg(not(loom))]

mod common;
mod files;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: forwards to the system's allocator and counts.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn beginning_a_read_allocates_nothing() {
    let data = common::Data::new();
    let attached = data.attached();
    drop(attached.pin().expect("pin"));
    let before = allocations();
    let start = std::time::Instant::now();
    for _ in 0..1_000_000 {
        let (pin, head) = attached.pin().expect("pin");
        assert_eq!(pin.txnid(), head.txnid());
    }
    let took = start.elapsed();
    assert_eq!(allocations() - before, 0);
    println!("{} ns to begin and end a read", took.as_nanos() / 1_000_000);

    let file = files::TestFile::with_entries(1000);
    let env = file.open(files::options());
    let read = |n: u64| {
        let txn = env.read().expect("read");
        let main = txn.main().expect("main");
        assert_eq!(main.get(&n.to_be_bytes()).expect("get"), Some(&n.to_le_bytes()[..]));
    };
    read(0);
    let before = allocations();
    (0..1000).for_each(read);
    assert_eq!(allocations() - before, 0, "a read and a lookup in it");
}
