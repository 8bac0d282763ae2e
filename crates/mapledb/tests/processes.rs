//! What processes may rely on when others live, die, or reach the same file in other ways.
#![cfg(not(loom))]

mod common;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::*;
use mapledb::mvcc::*;
use mapledb_os::Seam;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn commits(attached: &Attached, count: usize) {
    for _ in 0..count {
        commit(attached);
    }
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = role() else { return };
    let attached = attached(&path);
    match role.as_str() {
        "hold the writer lock" => {
            let guard = lock(&attached);
            attached.next_txnid(&guard).expect("a txnid");
            say("ready");
            wait_for_word();
            drop(guard);
            say("released");
            wait_for_word();
        }
        "take the writer lock" => {
            say("waiting");
            let guard = lock(&attached);
            say(&format!("taken over: {}", guard.took_over()));
            wait_for_word();
            drop(guard);
            say("released");
            wait_for_word();
        }
        "hold a pin" => {
            let pin = attached.pin().expect("pin");
            say("ready");
            wait_for_word();
            drop(pin);
        }
        "commit when told" => {
            say("ready");
            wait_for_word();
            commit(&attached);
            wait_for_word();
        }
        "commit 500 times" => {
            say("ready");
            wait_for_word();
            commits(&attached, 500);
            say("done");
            wait_for_word();
        }
        "commit for ever" => {
            say("ready");
            loop {
                commit(&attached);
            }
        }
        role => panic!("no such role: {role}"),
    }
}

#[test]
fn a_dead_holders_lock_is_taken_over_within_100_ms() {
    let data = Data::new();
    let attached = data.attached();
    let mut other = Other::start("hold the writer lock", &data.path);
    assert!(attached.lock_writer(Wait::Try).expect("lock").is_none());
    assert!(attached.lock_writer(Wait::For(Duration::from_millis(30))).expect("lock").is_none());
    let waiter = std::thread::spawn({
        let attached = attached.clone();
        move || {
            let guard = lock(&attached);
            (Instant::now(), guard)
        }
    });
    std::thread::sleep(Duration::from_millis(30));
    other.child.kill().expect("kill");
    let killed = Instant::now();
    let (taken, mut guard) = waiter.join().expect("no panic");
    assert!(guard.took_over());
    assert!(taken.duration_since(killed) < Duration::from_millis(100), "{:?}", taken - killed);
    assert_eq!(
        attached.next_txnid(&guard).expect("a txnid"),
        3,
        "the dead one's txnid is not given out again"
    );
    guard.has_settled();
    drop(guard);
    assert!(!lock(&attached).took_over());
    assert_eq!(attached.counters().takeovers.get(), 1);
}

#[test]
fn who_takes_over_and_settles_nothing_leaves_the_lock_to_be_taken_over_again() {
    let data = Data::new();
    let attached = data.attached();
    Other::start("hold the writer lock", &data.path).kill();
    let mut guard = lock(&attached);
    assert!(guard.took_over());
    let mut other = Other::launch("take the writer lock", &data.path);
    other.expect("waiting");
    std::thread::sleep(Duration::from_millis(50));
    drop(guard);
    other.expect("taken over: true");
    other.go_on();
    other.expect("released");
    guard = lock(&attached);
    assert!(guard.took_over(), "the other one settled nothing either");
    guard.has_settled();
    drop(guard);
    assert!(!lock(&attached).took_over());
}

#[test]
fn trying_takes_over_from_the_dead_too() {
    let data = Data::new();
    let attached = data.attached();
    Other::start("hold the writer lock", &data.path).kill();
    assert!(attached.lock_writer(Wait::Try).expect("lock").expect("its holder is dead").took_over());
}

#[test]
fn a_newcomer_in_the_dead_holders_block_does_not_hide_the_death() {
    let data = Data::new();
    let attached = data.attached();
    Other::start("hold the writer lock", &data.path).kill();
    let _newcomer = Other::start("hold a pin", &data.path);
    assert!(lock(&attached).took_over());
}

#[test]
fn a_released_lock_goes_to_the_waiter_at_once() {
    let data = Data::new();
    let attached = data.attached();
    let mut other = Other::start("hold the writer lock", &data.path);
    let waiter = std::thread::spawn({
        let attached = attached.clone();
        move || lock(&attached).took_over()
    });
    std::thread::sleep(Duration::from_millis(30));
    other.go_on();
    other.expect("released");
    assert!(!waiter.join().expect("no panic"));
}

#[test]
fn a_dead_readers_pin_is_reclaimed() {
    let data = Data::new();
    let attached = data.attached();
    let mut other = Other::start("hold a pin", &data.path);
    commit(&attached);
    assert_eq!(attached.pinned().expect("scan"), [1]);
    let readers = attached.readers().expect("readers");
    assert_eq!((readers.len(), readers[0].pid, readers[0].is_own), (1, other.child.id(), false));
    assert_eq!(attached.reap().expect("reap"), 0, "the living are left alone");
    other.kill();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(attached.pinned().expect("scan"), [], "without being asked");
}

#[test]
fn commits_of_three_processes_are_counted_without_loss() {
    let data = Data::new();
    let attached = data.attached();
    let mut others: Vec<_> = (0..2).map(|_| Other::start("commit 500 times", &data.path)).collect();
    others.iter_mut().for_each(Other::go_on);
    commits(&attached, 500);
    for other in &mut others {
        other.expect("done");
    }
    assert_eq!(attached.published().expect("head").head.txnid(), 1501);
    assert_eq!(attached.published().expect("head").seq, 1501);
}

#[test]
fn nobody_is_overtaken_without_bound() {
    let data = Data::new();
    let attached = data.attached();
    let _others: Vec<_> = (0..3).map(|_| Other::start("commit for ever", &data.path)).collect();
    let mut overtaken: Vec<u64> = (0..200)
        .map(|_| {
            let before = attached.last_txnid().expect("txnid");
            commit(&attached) - before - 1
        })
        .collect();
    overtaken.sort_unstable();
    println!("overtaken: median {}, most {}", overtaken[100], overtaken[199]);
    // Three may have tickets already, and some take the free lock before ours is drawn.
    assert!(overtaken[100] <= 8, "median {}", overtaken[100]);
    assert!(overtaken[199] <= 2_000, "most {}", overtaken[199]);
}

#[test]
fn who_waits_for_a_commit_is_woken_by_another_process() {
    let data = Data::new();
    let attached = data.attached();
    let mut other = Other::start("commit when told", &data.path);
    assert!(!attached.wait_newer(1, Wait::For(Duration::from_millis(5))).expect("wait"));
    let waiter = std::thread::spawn({
        let attached = attached.clone();
        move || attached.wait_newer(1, Wait::For(Duration::from_secs(10))).expect("wait")
    });
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    other.go_on();
    assert!(waiter.join().expect("no panic"));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn an_unclean_end_leaves_head_and_txnid() {
    let data = Data::new();
    let mut other = Other::start("commit when told", &data.path);
    other.go_on();
    std::thread::sleep(Duration::from_millis(100));
    other.kill();
    let (_, left) = try_attach(&data.path, Mode::Shared).expect("attach");
    let left = left.expect("first");
    assert!(left.is_bound && !left.is_clean && left.is_same_boot && !left.is_poisoned);
    assert_eq!(left.published.expect("a head").head, new_head(2));
    assert_eq!(left.last_txnid, 2);
}

#[test]
fn a_removed_lock_file_gives_no_second_universe() {
    let data = Data::new();
    let attached = data.attached();
    std::fs::remove_file(data.lock()).expect("remove");
    let refused = try_attach(&data.path, Mode::Shared).expect_err("refused");
    assert!(matches!(refused, AttachError::InUseThroughAnotherLockFile { .. }), "{refused}");
    let gone = attached.lock_writer(Wait::Try).expect_err("noticed");
    assert!(matches!(gone, MvccError::LockFileGone(_)), "{gone}");
    drop(attached);
    try_attach(&data.path, Mode::Shared).expect("after it has gone there is one universe again");
}

#[test]
fn a_hard_link_gives_no_second_universe() {
    let data = Data::new();
    let _other = Other::start("hold a pin", &data.path);
    let link = data.dir.path().join("link");
    std::fs::hard_link(&data.path, &link).expect("link");
    let refused = try_attach(&link, Mode::Shared).expect_err("refused");
    assert!(matches!(refused, AttachError::InUseThroughAnotherLockFile { .. }), "{refused}");
}

#[test]
fn a_replaced_data_file_is_noticed_by_old_and_new() {
    let data = Data::new();
    let attached = data.attached();
    std::fs::write(data.dir.path().join("new"), "other pages").expect("write");
    std::fs::rename(data.dir.path().join("new"), &data.path).expect("rename");
    let refused = try_attach(&data.path, Mode::Shared).expect_err("refused");
    assert!(matches!(refused, AttachError::LockFileOfAnotherDataFile { .. }), "{refused}");
    assert!(matches!(attached.lock_writer(Wait::Try), Err(MvccError::DataFileGone(_))));
    drop(attached);
    let (_, left) = try_attach(&data.path, Mode::Shared).expect("attach");
    assert!(!left.expect("first").is_bound, "what was left was another file's");
}

#[test]
fn a_forked_child_is_told_and_harms_nothing() {
    let data = Data::new();
    let attached = data.attached();
    let (pin, _) = attached.pin().expect("pin");
    let guard = lock(&attached);
    // SAFETY: the child calls only what looks at an atomic before anything else, drops what does the same, and
    // exits without returning.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child == 0 {
        let told = matches!(attached.pin(), Err(MvccError::AfterFork))
            && matches!(attached.lock_writer(Wait::Try), Err(MvccError::AfterFork))
            && matches!(attached.pinned(), Err(MvccError::AfterFork))
            && pin.is_forked();
        drop((pin, guard, attached));
        // SAFETY: ends the child without running the parent's exit handlers.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(if told { 0 } else { 1 })
        };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes one number.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert_eq!(attached.pinned().expect("scan"), [1], "the child's drop released nothing");
    assert!(attached.lock_writer(Wait::Try).expect("lock").is_none(), "nor the writer lock");
    drop((pin, guard));
    lock(&attached);
}

#[test]
fn a_forked_child_does_not_keep_the_dead_parent_alive() {
    let data = Data::new();
    let attached = data.attached();
    // SAFETY: the child sleeps and exits; it calls nothing else.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    drop(attached);
    let again = try_attach(&data.path, Mode::Shared);
    // SAFETY: ends and reaps the child made above.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(child, libc::SIGKILL)
    };
    // SAFETY: as above; a null status is allowed.
    #[allow(unsafe_code)]
    unsafe {
        libc::waitpid(child, std::ptr::null_mut(), 0)
    };
    assert!(again.expect("attach").1.is_some(), "nobody else is there");
}

#[test]
fn a_read_only_descriptor_attaches_and_reads_but_does_not_write() {
    let data = Data::new();
    let writer = data.attached();
    let file = std::fs::File::open(&data.path).expect("open");
    let target = Target {
        data: file.as_fd(),
        path: &data.path,
        identity: IDENTITY,
        is_writable: false,
        seam: &Seam::unwatched(),
    };
    let joined = attach(&target, Mode::Shared, Duration::from_secs(1)).expect("attach");
    let Attach::Joined(reader) = joined else { panic!("a writer is there") };
    assert_eq!(reader.pin().expect("pin").0.txnid(), 1);
    assert!(matches!(reader.lock_writer(Wait::Try), Err(MvccError::ReadOnly)));
    drop(writer);
    drop(reader);
    let first = attach(&target, Mode::Shared, Duration::from_secs(1)).expect("attach");
    let Attach::First(first) = first else { panic!("nobody is there") };
    let head = new_head(1);
    let reader = first
        .finish(&Start { head: &head, meta_txnids: [0, 1], last_txnid: 1, pages_allocated: 0 })
        .expect("finish");
    assert!(reader.begin_detach(Duration::from_secs(1)).expect("detach").is_last());
}

#[test]
fn deaths_at_any_moment_stop_nobody_else() {
    let data = Data::new();
    let attached = data.attached();
    let seed = 11;
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut others: Vec<_> = (0..3).map(|_| Other::start("commit for ever", &data.path)).collect();
    for round in 0..40 {
        std::thread::sleep(Duration::from_micros(random.random_range(0..2000)));
        others[round % 3].kill();
        let guard = attached.lock_writer(Wait::For(Duration::from_secs(20))).expect("lock");
        let mut guard = guard.expect("twenty seconds are a thousand tests of liveness");
        let (head, published) = (attached.head().expect("whole"), attached.published().expect("whole"));
        // A committer may have died between appending its head and publishing it.
        assert!(head.seq - published.seq <= 1, "head {} published {}", head.seq, published.seq);
        attached.publish_up_to(head.seq).expect("publish");
        guard.has_settled();
        drop(guard);
        others[round % 3] = Other::start("commit for ever", &data.path);
    }
}

#[test]
fn giving_up_in_a_crowd_never_loses_the_lock() {
    let data = Data::new();
    let attached = data.attached();
    let others: Vec<_> = (0..2).map(|_| Other::start("commit for ever", &data.path)).collect();
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let attached = attached.clone();
            std::thread::spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed);
                let tries = (0..400).map(|_| Duration::from_micros(random.random_range(0..200)));
                tries.filter(|&time| attached.lock_writer(Wait::For(time)).expect("lock").is_some()).count()
            })
        })
        .collect();
    let got: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    println!("of 400 tries each: {got:?}");
    drop(others);
    let guard = attached.lock_writer(Wait::For(Duration::from_secs(1))).expect("lock");
    assert!(guard.is_some(), "nobody is left who could hold it");
}
