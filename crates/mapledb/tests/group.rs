//! Commits that share a sync: of many threads and processes, in order, whoever leads, fails or dies.
//!
//! Another process is this test binary again, told by the environment which role to play.
#![cfg(feature = "seam")]

mod another;
mod files;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use files::{TestFile, check, open, options};
use mapledb::{Durability, Env, Error, Options, PendingCommit};
use mapledb_os::{Effect, Observer, Seam};

fn quiet() -> Options {
    options().relaxed_bound(1 << 40, Duration::from_secs(3600))
}

fn put(env: &Env, key: &str, durability: Durability) -> Result<u64, Error> {
    let mut txn = env.write()?;
    txn.durability(durability);
    txn.main().put(key.as_bytes(), b"value")?;
    txn.commit()
}

fn put_later(env: &Env, key: &str, durability: Durability) -> PendingCommit {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(key.as_bytes(), b"value").expect("put");
    txn.commit_later().expect("it is handed in")
}

fn holds(env: &Env, key: &str) -> bool {
    env.read().expect("read").main().expect("main").contains(key.as_bytes()).expect("get")
}

fn durable(env: &Env) -> u64 {
    env.info().expect("info").durable_txnid
}

fn counted(env: &Env, name: &str) -> u64 {
    env.metrics().get(name).expect("a count")
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Holds syncs up, or refuses them.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    is_failing: AtomicBool,
    /// So many syncs fail, and those after them do not.
    failures: AtomicU64,
    waiting: AtomicU64,
    /// Where pages were stored.
    stored: Mutex<BTreeSet<u64>>,
}

impl Gate {
    fn shut(&self) {
        *self.is_shut.lock().expect("no panic") = true;
    }

    fn open(&self) {
        *self.is_shut.lock().expect("no panic") = false;
        self.opened.notify_all();
    }
}

impl Observer for Gate {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        if let Effect::StorePages { offset, len } = *effect {
            self.stored.lock().expect("no panic").extend((offset..offset + len).step_by(4096));
        }
        if !matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. }) {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut is_shut = self.is_shut.lock().expect("no panic");
        while *is_shut {
            is_shut = self.opened.wait(is_shut).expect("no panic");
        }
        let fails_now = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        match fails_now || self.is_failing.load(Ordering::SeqCst) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

fn gated(file: &TestFile) -> (Env, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let env = file.open(quiet().seam(Seam::watched(gate.clone())));
    put(&env, "warm-up", Durability::Sync).expect("commit");
    gate.waiting.store(0, Ordering::SeqCst);
    (env, gate)
}

/// An environment with a commit, the first, whose sync has begun and is held up.
fn with_a_flight(file: &TestFile) -> (Env, Arc<Gate>, PendingCommit) {
    let (env, gate) = gated(file);
    gate.shut();
    let first = put_later(&env, "first", Durability::Group);
    until("the first flight begins", || gate.waiting.load(Ordering::SeqCst) > 0);
    (env, gate, first)
}

#[test]
fn a_group_commit_is_durable_and_published_when_it_returns() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let txnid = put(&env, "group", Durability::Group).expect("commit");
    assert_eq!(durable(&env), txnid);
    assert!(holds(&env, "group"));
    check(&env);
}

#[test]
fn a_group_commit_alone_syncs_as_often_as_one_at_sync() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    for key in ["a", "b", "c"] {
        put(&env, key, Durability::Sync).expect("commit");
    }
    let before = counted(&env, "syncs");
    put(&env, "d", Durability::Group).expect("commit");
    assert_eq!(counted(&env, "syncs") - before, 1);
}

#[test]
fn the_next_writer_builds_on_a_head_that_flies_and_readers_see_neither_before_it_is_durable() {
    let file = TestFile::with_entries(500);
    let (env, gate, first) = with_a_flight(&file);
    let second = put_later(&env, "second", Durability::Group);
    let mut txn = env.write().expect("the writer lock is free while a sync runs");
    assert!(
        txn.main().get(b"first").expect("get").is_some() && txn.main().get(b"second").expect("get").is_some()
    );
    drop(txn);
    assert!(!holds(&env, "first") && !holds(&env, "second"));
    assert!(!first.is_durable().expect("no sync failed") && !second.is_durable().expect("no sync failed"));
    assert!(!second.wait_timeout(Duration::from_millis(10)).expect("no sync failed"));
    gate.open();
    let (first, second) = (first.wait().expect("durable"), second.wait().expect("durable"));
    assert!(first < second && durable(&env) == second);
    assert!(holds(&env, "first") && holds(&env, "second"));
    check(&env);
}

#[test]
fn one_flight_makes_everything_durable_that_was_handed_in_before_it() {
    let file = TestFile::with_entries(500);
    let (env, gate, first) = with_a_flight(&file);
    let others: Vec<_> = (0..40).map(|n| put_later(&env, &format!("later {n}"), Durability::Group)).collect();
    let before = counted(&env, "syncs");
    gate.open();
    first.wait().expect("durable");
    for other in others {
        other.wait().expect("durable");
    }
    let syncs = counted(&env, "syncs") - before;
    assert!(syncs <= 4, "41 commits in two flights took {syncs} syncs");
    assert!((0..40).all(|n| holds(&env, &format!("later {n}"))));
    check(&env);
}

#[test]
fn what_commits_rewrite_while_they_wait_for_a_flight_is_used_over_and_over() {
    let file = TestFile::with_entries(100_000);
    let depth = {
        let env = file.open(quiet());
        env.read().expect("read").main().expect("main").stat().depth
    };
    let (env, gate, first) = with_a_flight(&file);
    gate.stored.lock().expect("no panic").clear();
    const COMMITS: u64 = 40;
    let later: Vec<_> = (0..COMMITS)
        .map(|n| {
            let mut txn = env.write().expect("write");
            txn.durability(Durability::Group);
            txn.main().put(&(n * 2_357).to_be_bytes(), b"another").expect("put");
            txn.commit_later().expect("it is handed in")
        })
        .collect();
    let stored = gate.stored.lock().expect("no panic").len() as u64;
    println!("{stored} pages for {COMMITS} commits {depth} levels deep");
    // Each its leaf, and of branches and free-space records as many as a few commits alone; not a path for each.
    assert!(depth >= 3, "the tree is too shallow to tell");
    assert!(stored < COMMITS + 6 * depth, "{stored} pages for {COMMITS} commits {depth} levels deep");
    gate.open();
    first.wait().expect("durable");
    for commit in later {
        commit.wait().expect("durable");
    }
    check(&env);
}

#[test]
fn relaxed_and_durable_commits_are_published_after_what_they_build_on() {
    for durability in [Durability::Relaxed, Durability::Sync] {
        let file = TestFile::with_entries(500);
        let (env, gate, first) = with_a_flight(&file);
        let other = {
            let env = env.clone();
            std::thread::spawn(move || put(&env, "after it", durability).expect("commit"))
        };
        std::thread::sleep(Duration::from_millis(30));
        assert!(!holds(&env, "after it"), "{durability:?}: it was seen before what it builds on");
        gate.open();
        first.wait().expect("durable");
        let txnid = other.join().expect("no panic");
        assert!(holds(&env, "first") && holds(&env, "after it") && durable(&env) >= txnid);
        check(&env);
    }
}

#[test]
fn a_commit_handed_in_becomes_durable_though_nobody_waits_and_at_closing_at_the_latest() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let txnid = {
        let commit = put_later(&env, "forgotten", Durability::Group);
        commit.txnid()
    };
    until("the thread syncs it", || durable(&env) >= txnid);
    let commit = put_later(&env, "at the end", Durability::Sync);
    drop(commit);
    env.close().expect("close");
    let env = file.open(quiet());
    assert!(env.recovery().was_clean && holds(&env, "at the end"));
}

#[test]
fn many_more_commits_than_the_ring_has_places_can_be_handed_in() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let commits: Vec<_> = (0..500).map(|n| put_later(&env, &format!("{n:03}"), Durability::Group)).collect();
    let last = commits.last().map(PendingCommit::txnid).expect("some");
    for commit in commits {
        commit.wait().expect("durable");
    }
    assert_eq!(durable(&env), last);
    assert!((0..500).all(|n| holds(&env, &format!("{n:03}"))));
    check(&env);
}

#[test]
fn a_failed_sync_is_told_to_everyone_it_would_have_made_durable() {
    let file = TestFile::with_entries(500);
    let (env, gate, first) = with_a_flight(&file);
    let second = put_later(&env, "second", Durability::Group);
    gate.is_failing.store(true, Ordering::SeqCst);
    gate.open();
    for commit in [first, second] {
        let error = commit.wait().expect_err("its sync failed");
        assert!(matches!(error, Error::Indeterminate { .. } | Error::SyncFailed { .. }), "{error}");
    }
    assert!(matches!(put(&env, "third", Durability::Group), Err(Error::Poisoned { .. })));
    assert!(!holds(&env, "first") && !holds(&env, "second"));
    drop(env);
    gate.is_failing.store(false, Ordering::SeqCst);
    let env = file.open(quiet());
    assert!(!holds(&env, "second") || holds(&env, "first"), "a suffix was lost, and no more");
    check(&env);
}

#[test]
fn a_commit_that_waited_for_a_flight_that_failed_does_not_sync_on_top_of_it() {
    let file = TestFile::with_entries(500);
    let (env, gate, first) = with_a_flight(&file);
    let second = {
        let env = env.clone();
        std::thread::spawn(move || put(&env, "second", Durability::Sync))
    };
    until("the second holds the writer lock", || env.try_write().expect("try").is_none());
    // One sync fails. The next would succeed, and mean nothing.
    gate.failures.store(1, Ordering::SeqCst);
    gate.open();
    assert!(first.wait().is_err());
    let second = second.join().expect("no panic");
    assert!(second.is_err(), "commit {second:?} was acknowledged on top of what may not be on the disk");
    drop(env);
    check(&file.open(quiet()));
}

#[test]
fn a_commit_without_a_change_waits_for_nothing() {
    let file = TestFile::with_entries(500);
    let (env, gate) = gated(&file);
    gate.shut();
    let txn = env.write().expect("write");
    let commit = txn.commit_later().expect("nothing is to be done");
    assert!(commit.is_durable().expect("no sync failed"));
    commit.wait().expect("nothing is to be done");
    gate.open();
}

#[test]
fn waiting_for_a_relaxed_commit_makes_it_durable() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let commit = put_later(&env, "relaxed", Durability::Relaxed);
    assert!(holds(&env, "relaxed") && !commit.is_durable().expect("no sync failed"));
    let txnid = commit.wait().expect("durable");
    assert_eq!(durable(&env), txnid);
}

/// A waker that unparks a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

#[test]
fn a_pending_commit_is_a_future_that_the_environment_wakes() {
    let file = TestFile::with_entries(500);
    let (env, gate) = gated(&file);
    gate.shut();
    let first = put_later(&env, "first", Durability::Group);
    let second = put_later(&env, "second", Durability::Group);
    let opener = {
        let gate = Arc::clone(&gate);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            gate.open();
        })
    };
    let began = Instant::now();
    let answers = block_on(async { (second.await, first.await) });
    assert!(answers.0.expect("durable") > answers.1.expect("durable"));
    assert!(began.elapsed() < Duration::from_secs(10), "it was woken");
    opener.join().expect("no panic");
}

#[test]
fn a_future_of_a_commit_whose_sync_fails_is_an_error() {
    let file = TestFile::with_entries(500);
    let (env, gate) = gated(&file);
    gate.is_failing.store(true, Ordering::SeqCst);
    let commit = put_later(&env, "first", Durability::Group);
    assert!(block_on(commit).is_err());
}

#[test]
fn threads_of_many_kinds_keep_their_order() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let kinds =
        [Durability::Group, Durability::Group, Durability::Group, Durability::Sync, Durability::Relaxed];
    std::thread::scope(|scope| {
        for (thread, durability) in kinds.into_iter().enumerate() {
            let env = &env;
            scope.spawn(move || {
                for n in 0..60 {
                    let txnid = put(env, &format!("{thread} {n}"), durability).expect("commit");
                    if durability != Durability::Relaxed {
                        assert!(durable(env) >= txnid, "it was acknowledged before it was durable");
                    }
                    assert!(holds(env, &format!("{thread} {n}")), "one's own commit is to be seen");
                }
            });
        }
    });
    check(&env);
    env.close().expect("close");
    let env = file.open(quiet());
    assert!((0..5).all(|thread| (0..60).all(|n| holds(&env, &format!("{thread} {n}")))));
}

/// A process that commits for ever, and says which commits were acknowledged.
struct Other {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Other {
    fn start(role: &str, data: &Path) -> Other {
        let mut child = another::process(role, data).spawn().expect("start");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Other { child, lines }
    }

    /// Kills it; answers the keys that it said were acknowledged.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        let lines = self.lines.lines().map_while(Result::ok);
        lines.filter_map(|line| Some(line.strip_prefix("done ")?.to_string())).collect()
    }
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    let env = open(&path, quiet()).expect("open");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (env, role) = (&env, &role);
            scope.spawn(move || {
                for n in 0.. {
                    let key = format!("{role} {thread} {n}");
                    put(env, &key, Durability::Group).expect("commit");
                    println!("done {key}");
                }
            });
        }
    });
}

#[test]
fn whoever_leads_may_die_and_no_acknowledged_commit_is_lost_nor_anybody_stuck() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet());
    let mut acknowledged = Vec::new();
    for round in 0..12u64 {
        let others: Vec<_> = (0..2).map(|who| Other::start(&format!("{round}/{who}"), file.path())).collect();
        let end = Instant::now() + Duration::from_millis(60 + 7 * round);
        for n in 0.. {
            let key = format!("own {round} {n}");
            put(&env, &key, Durability::Group).expect("commit");
            acknowledged.push(key);
            if Instant::now() >= end {
                break;
            }
        }
        for other in others {
            acknowledged.extend(other.kill());
        }
        put(&env, &format!("after {round}"), Durability::Group).expect("nobody is stuck");
        for key in &acknowledged {
            assert!(holds(&env, key), "round {round}: {key:?} was acknowledged and is lost");
        }
    }
    check(&env);
    env.close().expect("close");
    let env = file.open(quiet());
    assert!(acknowledged.iter().all(|key| holds(&env, key)));
    check(&env);
}
