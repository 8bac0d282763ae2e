//! Relaxed commits become durable within their bound: whoever is refused, fails or dies meanwhile.
//!
//! Another process is this test binary again, told by the environment which role to play.

mod another;
mod files;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use files::{TestFile, check, open, options};
use mapledb::{Access, Durability, Env, Error, Options};

fn bound(time: Duration) -> Options {
    options().relaxed_bound(1 << 40, time)
}

const SOON: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);

fn put(env: &Env, key: &str, durability: Durability) -> u64 {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(key.as_bytes(), b"value").expect("put");
    txn.commit().expect("commit")
}

fn holds(env: &Env, key: &str) -> bool {
    env.read().expect("read").main().expect("main").contains(key.as_bytes()).expect("get")
}

fn durable(env: &Env) -> u64 {
    env.info().expect("info").durable_txnid
}

/// Whether a commit becomes durable while nobody makes a call that begins a transaction.
fn becomes_durable(env: &Env, txnid: u64) -> bool {
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        if durable(env) >= txnid {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Plays `role` on `data` in another process; answers it and the number it said.
fn start(role: &str, data: &Path) -> (Child, u64) {
    let mut child = another::process(role, data).spawn().expect("start");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut answers = lines.map_while(Result::ok).filter_map(|line| {
        line.split_once("answer: ").map(|(_, answer)| answer.trim().parse().expect("a number"))
    });
    let answer = answers.next().expect("an answer");
    (child, answer)
}

fn end(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// Plays `role` on `data` in another process, which ends by SIGKILL; answers the number it said.
fn in_a_process_that_dies(role: &str, data: &Path) -> u64 {
    let (child, answer) = start(role, data);
    end(child);
    answer
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    let access = if role.ends_with("exclusively") { Access::Exclusive } else { Access::Shared };
    let env = open(&path, bound(NEVER).access(access)).expect("open");
    match role.as_str() {
        "commit relaxed" => println!("answer: {}", put(&env, "relaxed", Durability::Relaxed)),
        "commit relaxed exclusively" => {
            for n in 0..100 {
                put(&env, &n.to_string(), Durability::Relaxed);
            }
            println!("answer: {}", put(&env, "relaxed", Durability::Relaxed));
        }
        "commit relaxed without a thread" => {
            let warm_up = put(&env, "warm-up", Durability::Sync);
            forbid_threads();
            let txnid = put(&env, "relaxed", Durability::Relaxed);
            assert!(txnid > warm_up && std::thread::Builder::new().spawn(|| ()).is_err());
            println!("answer: {}", durable(&env).abs_diff(txnid));
        }
        "commit relaxed and hold the writer lock" => {
            let txnid = put(&env, "relaxed", Durability::Relaxed);
            let txn = env.write().expect("write");
            println!("answer: {txnid}");
            let _ = std::io::stdin().read_line(&mut String::new());
            drop(txn);
        }
        "change one of many" => {
            let mut txn = env.write().expect("write");
            txn.durability(Durability::Relaxed);
            txn.main().put(&5u64.to_be_bytes(), b"changed").expect("put");
            println!("answer: {}", txn.commit().expect("commit"));
        }
        "take a number, relaxed, and close" => {
            let mut txn = env.write().expect("write");
            txn.durability(Durability::Relaxed);
            txn.main().next_sequence(1).expect("a number");
            let txnid = txn.commit().expect("commit");
            env.close().expect("close");
            println!("answer: {txnid}");
        }
        "commit durably and count threads" => {
            for n in 0..200 {
                put(&env, &n.to_string(), Durability::Sync);
                assert!(holds(&env, &n.to_string()));
            }
            println!("answer: {}", sync_threads());
        }
        other => panic!("no such role: {other}"),
    }
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Leaves less address space than a thread's stack needs.
fn forbid_threads() {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = text.split(' ').next().expect("a number").parse().expect("a number");
    let bytes = pages * 4096 + (3 << 19);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: reads one rlimit, of this process alone.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(answer, 0);
}

fn sync_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.filter_map(Result::ok).map(name).filter(|name| name.trim() == "maple-sync").count()
}

#[test]
fn a_close_that_is_refused_leaves_the_bound_in_force() {
    let file = TestFile::with_entries(10);
    let env = file.open(bound(Duration::from_millis(300)));
    let other = env.clone();
    let txnid = put(&env, "relaxed", Durability::Relaxed);
    // Often enough that the thread sees one of the stops before it is taken back.
    let end = Instant::now() + Duration::from_millis(150);
    while Instant::now() < end {
        assert!(matches!(env.clone().close(), Err(Error::StillInUse)));
    }
    assert!(matches!(env.close(), Err(Error::StillInUse)));
    assert!(becomes_durable(&other, txnid));
}

#[test]
fn a_close_is_refused_at_once_though_the_sync_waits_for_this_very_thread() {
    let file = TestFile::with_entries(10);
    let env = file.open(bound(SOON));
    let other = env.clone();
    let txnid = put(&env, "relaxed", Durability::Relaxed);
    let writing = env.write().expect("write");
    std::thread::sleep(3 * SOON);
    let closing = std::thread::spawn(move || env.close());
    let end = Instant::now() + Duration::from_secs(5);
    while !closing.is_finished() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(closing.is_finished(), "it waits for a sync that waits for this thread's transaction");
    assert!(matches!(closing.join().expect("no panic"), Err(Error::StillInUse)));
    drop(writing);
    assert!(becomes_durable(&other, txnid));
}

#[test]
fn a_sync_that_could_not_begin_is_tried_again() {
    let file = TestFile::with_entries(10);
    let env = file.open(bound(SOON));
    let txnid = put(&env, "relaxed", Durability::Relaxed);
    // The writer lock is refused while the file is not in its place.
    let away = file.dir().join("away");
    std::fs::rename(file.path(), &away).expect("rename");
    std::thread::sleep(5 * SOON);
    assert!(durable(&env) < txnid);
    std::fs::rename(&away, file.path()).expect("rename");
    assert!(becomes_durable(&env, txnid));
}

#[test]
fn where_no_thread_can_be_started_a_relaxed_commit_syncs() {
    let file = TestFile::with_entries(10);
    assert_eq!(in_a_process_that_dies("commit relaxed without a thread", file.path()), 0);
}

#[test]
fn who_comes_across_a_dead_ones_relaxed_commit_makes_it_durable() {
    let file = TestFile::with_entries(10);
    let env = file.open(bound(SOON));
    for writes in [false, true] {
        let txnid = in_a_process_that_dies("commit relaxed", file.path());
        assert!(durable(&env) < txnid);
        match writes {
            true => drop(env.write().expect("write")),
            false => assert!(holds(&env, "relaxed")),
        }
        assert!(becomes_durable(&env, txnid), "writes {writes}");
    }
    check(&env);
}

#[test]
fn a_process_that_sees_no_relaxed_commit_has_no_thread() {
    let file = TestFile::with_entries(10);
    assert_eq!(in_a_process_that_dies("commit durably and count threads", file.path()), 0);
}

#[test]
fn the_last_processs_relaxed_commits_are_in_the_lock_file() {
    let file = TestFile::with_entries(10);
    let txnid = in_a_process_that_dies("commit relaxed", file.path());
    let read_only = open(file.path(), options().access(Access::SharedReadOnly)).expect_err("refused");
    assert!(matches!(read_only, Error::NeedsRecovery { .. }), "{read_only}");
    let env = file.open(options());
    assert_eq!(env.recovery().adopted_txnid, Some(txnid));
    assert!(durable(&env) > txnid, "under a new number");
    assert!(holds(&env, "relaxed"));
    check(&env);
}

#[test]
fn relaxed_commits_of_an_exclusive_process_outlive_it() {
    for access in [Access::Exclusive, Access::Shared] {
        let file = TestFile::with_entries(10);
        let txnid = in_a_process_that_dies("commit relaxed exclusively", file.path());
        let env = open(file.path(), options().access(access)).expect("open");
        assert_eq!(env.recovery().adopted_txnid, Some(txnid), "{access:?}");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10 + 101);
        assert!(holds(&env, "relaxed"));
        check(&env);
        env.close().expect("close");
        let env = open(file.path(), options().access(access)).expect("open");
        assert!(env.recovery().was_clean);
    }
}

#[test]
fn exclusive_use_without_a_lock_file_is_refused() {
    let file = TestFile::with_entries(10);
    std::fs::remove_file(file.lock_path()).expect("remove");
    std::fs::create_dir(file.lock_path()).expect("mkdir");
    let refused = open(file.path(), options().access(Access::Exclusive)).expect_err("refused");
    assert!(refused.to_string().contains("lock file"), "{refused}");
    std::fs::remove_dir(file.lock_path()).expect("rmdir");
}

#[test]
fn damage_to_an_older_page_takes_no_relaxed_commit() {
    use std::os::unix::fs::FileExt;
    let file = TestFile::with_entries(20_000);
    let txnid = in_a_process_that_dies("change one of many", file.path());
    // A byte in the middle of a leaf that the commit did not touch.
    let data = std::fs::File::options().read(true).write(true).open(file.path()).expect("open");
    let bytes = std::fs::read(file.path()).expect("read");
    let needle = 15_000u64.to_be_bytes();
    let at = bytes.windows(8).position(|bytes| bytes == needle).expect("the entry is there") as u64 + 9;
    data.write_all_at(&[bytes[at as usize] ^ 1], at).expect("write");
    let env = file.open(options());
    assert_eq!(env.recovery().adopted_txnid, Some(txnid), "{:?}", env.recovery());
    let txn = env.read().expect("read");
    assert_eq!(txn.main().expect("main").get(&5u64.to_be_bytes()).expect("get"), Some(&b"changed"[..]));
    let damaged = txn.main().expect("main").get(&needle).map(|_| ());
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
    drop(txn);
    drop(env);
    file.give_up();
}

#[test]
fn a_relaxed_commit_that_reaches_the_bound_by_itself_is_durable_when_it_returns() {
    let file = TestFile::with_entries(10);
    let env = open(file.path(), options().relaxed_bound(1 << 20, NEVER)).expect("open");
    let small = put(&env, "small", Durability::Relaxed);
    assert!(durable(&env) < small);
    let mut txn = env.write().expect("write");
    txn.durability(Durability::Relaxed);
    txn.main().put(b"large", &vec![1; 2 << 20]).expect("put");
    let large = txn.commit().expect("commit");
    assert_eq!(durable(&env), large);
    check(&env);
}

#[test]
fn a_relaxed_commit_that_changes_the_head_alone_is_synced_by_who_closes() {
    let file = TestFile::with_entries(10);
    let env = open(file.path(), bound(NEVER)).expect("open");
    let (child, txnid) = start("take a number, relaxed, and close", file.path());
    assert!(durable(&env) >= txnid, "{} of {txnid}", durable(&env));
    end(child);
}

#[test]
fn who_owes_nothing_does_not_wait_for_anothers_writer_to_go() {
    let file = TestFile::with_entries(10);
    let (child, _) = start("commit relaxed and hold the writer lock", file.path());
    let env = open(file.path(), bound(NEVER)).expect("open");
    assert!(holds(&env, "relaxed"));
    let begun = Instant::now();
    env.close().expect("close");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    end(child);
}

#[test]
fn an_environment_on_its_way_out_is_not_handed_out_again() {
    let file = TestFile::with_entries(10);
    for n in 0..100 {
        let env = open(file.path(), bound(Duration::ZERO)).expect("open");
        put(&env, &n.to_string(), Durability::Relaxed);
        drop(env);
        let env = open(file.path(), options().access(Access::Exclusive)).expect("nothing is open");
        assert!(holds(&env, &n.to_string()));
    }
}

#[test]
fn room_that_only_waits_for_a_sync_is_had_by_the_next_transaction() {
    let file = TestFile::new();
    let env = file.open(bound(NEVER).quota_bytes(4 << 20));
    let put = |n: u64, durability| {
        let mut txn = env.write().expect("write");
        txn.durability(durability);
        txn.main().put(&n.to_be_bytes(), &[n as u8; 3000]).and_then(|()| txn.commit())
    };
    let refused = |result: &Result<u64, Error>| matches!(result, Err(Error::QuotaReached { .. }));
    for n in 0..600 {
        put(n, Durability::Sync).expect("half of the quota");
    }
    // Overwriting takes new pages, while the durable commit keeps the old ones.
    let full = (0..600).find(|n| refused(&put(*n, Durability::Relaxed))).expect("the quota is reached");
    assert!(full > 100, "{full}");
    for n in 0..50 {
        let mut txn = env.write().expect("write");
        txn.durability(Durability::Relaxed);
        txn.main().delete(&(n as u64).to_be_bytes()).expect("deleting finds room");
        txn.commit().expect("commit");
    }
    check(&env);
}

/// Relaxed commits leave what they give up to the snapshots on the disk, and a reader keeps its own: unless a sync comes
/// in between, the file holds the data once for each.
#[test]
fn a_file_does_not_swell_for_want_of_a_sync() {
    let file = TestFile::new();
    let env = file
        .open(options().durability(Durability::Relaxed).relaxed_bound(1 << 40, Duration::from_secs(3600)));
    let mut txn = env.write().expect("write");
    for n in 0..30_000u64 {
        txn.main().put(&n.to_be_bytes(), &[1; 150]).expect("put");
    }
    txn.commit().expect("commit");
    env.sync().expect("sync");
    let reader = env.read().expect("read");
    let mut word = 1u64;
    let mut used_halfway = 0;
    for round in 0..2000 {
        if round == 1000 {
            used_halfway = env.space().expect("space").used_pages;
        }
        let mut txn = env.write().expect("write");
        for _ in 0..50 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            txn.main().put(&((word >> 33) % 30_000).to_be_bytes(), &[2; 150]).expect("put");
        }
        txn.commit().expect("commit");
    }
    let space = env.space().expect("space");
    let times = space.used_pages as f64 / space.pages_in_use as f64;
    assert!(times < 2.4, "{times} times what is in use: {space:?}");
    assert!(space.used_pages <= used_halfway + used_halfway / 100, "{used_halfway} pages and then {space:?}");
    assert_eq!(reader.main().expect("main").get(&7u64.to_be_bytes()).expect("get"), Some(&[1; 150][..]));
    drop(reader);
    check(&env);
}
