//! What calls cost, counted: effects on the file through the seam, system calls by `strace` where it is installed.
//!
//! Needs the feature `seam`, which the workspace's tests have. Time is not measured here.
#![cfg(feature = "seam")]

mod another;
mod files;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use files::{TestFile, check, open, options};
use mapledb::{Durability, Env};
use mapledb_os::{DataFile, Effect, MapAdvice, Observer, ReadMap, Seam};

/// Notes every effect.
#[derive(Default)]
struct Notes(Mutex<Vec<Effect>>);

impl Observer for Notes {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        self.0.lock().expect("no panic").push(*effect);
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

impl Notes {
    fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

fn watched(file: &TestFile) -> (Env, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let env = open(file.path(), options().seam(Seam::watched(notes.clone()))).expect("open");
    (env, notes)
}

fn put(env: &Env, key: u64, durability: Durability) {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(&key.to_be_bytes(), &[1; 100]).expect("put");
    txn.commit().expect("commit");
}

fn count(effects: &[Effect], is: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().filter(|effect| is(effect)).count()
}

fn is_sync(effect: &Effect) -> bool {
    matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. } | Effect::SyncDir | Effect::SyncLockFile)
}

/// Pages that a commit stored to, metas not among them.
fn pages_stored(effects: &[Effect]) -> u64 {
    let stored = |effect: &Effect| match effect {
        Effect::StorePages { len, .. } => len / 4096,
        _ => 0,
    };
    effects.iter().map(stored).sum()
}

#[test]
fn a_commit_that_fits_and_does_not_grow_syncs_once_and_a_relaxed_one_never() {
    let file = TestFile::with_entries(20_000);
    let (env, notes) = watched(&file);
    for n in 0..20 {
        put(&env, n, Durability::Sync);
    }
    notes.take();
    let (mut growths, mut twice) = (0, 0);
    for n in 0..200 {
        put(&env, n * 97, Durability::Sync);
        let effects = notes.take();
        let grew = count(&effects, |effect| matches!(effect, Effect::Grow { .. })) > 0;
        // A grown length is made durable by the first commit that stands on it, which may be a later one.
        let syncs = count(&effects, is_sync);
        assert!(matches!(syncs, 1 | 2), "{effects:?}");
        twice += usize::from(syncs == 2);
        assert_eq!(count(&effects, |effect| matches!(effect, Effect::StoreMeta { .. })), 1);
        growths += usize::from(grew);
    }
    assert!(growths < 20, "{growths} of 200 commits grew the file");
    assert!(twice <= growths, "{twice} commits synced twice, and {growths} grew the file");
    // So many of this process's are listed in one manifest, and so many are not.
    for (commits, syncs) in [(50, 1), (200, 2)] {
        let mut has_grown = false;
        for n in 0..commits {
            put(&env, n * 97, Durability::Relaxed);
            let effects = notes.take();
            assert_eq!(count(&effects, is_sync), 0, "{effects:?}");
            assert_eq!(count(&effects, |effect| matches!(effect, Effect::StoreMeta { .. })), 0);
            has_grown |= count(&effects, |effect| matches!(effect, Effect::Grow { .. })) > 0;
        }
        env.sync().expect("sync");
        assert_eq!(count(&notes.take(), is_sync), if has_grown { 2 } else { syncs });
    }
    env.sync().expect("sync");
    assert_eq!(count(&notes.take(), is_sync), 0, "everything is durable");
    check(&env);
}

#[test]
fn the_option_of_two_syncs_syncs_pages_before_it_stores_a_meta() {
    let file = TestFile::with_entries(2000);
    let notes = Arc::new(Notes::default());
    let env = open(file.path(), options().two_syncs(true).seam(Seam::watched(notes.clone()))).expect("open");
    put(&env, 1, Durability::Sync);
    notes.take();
    put(&env, 2, Durability::Sync);
    let effects = notes.take();
    let meta = effects.iter().position(|effect| matches!(effect, Effect::StoreMeta { .. })).expect("a meta");
    assert_eq!((count(&effects[..meta], is_sync), count(&effects[meta..], is_sync)), (1, 1), "{effects:?}");
}

#[test]
fn a_one_put_commit_stores_its_path_and_a_meta_and_little_more() {
    let file = TestFile::with_entries(100_000);
    let (env, notes) = watched(&file);
    let depth = env.read().expect("read").main().expect("main").stat().depth;
    for n in 0..50 {
        put(&env, n * 31, Durability::Sync);
    }
    notes.take();
    let mut most = 0;
    for n in 0..300 {
        put(&env, n * 331, Durability::Sync);
        most = most.max(pages_stored(&notes.take()) + 1);
    }
    println!("at most {most} pages a commit at depth {depth}");
    assert!(most <= depth + 5, "{most} pages at depth {depth}");
}

/// What the process has caused to be written to disk, by the kernel's count.
fn written_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .and_then(|bytes| bytes.trim().parse().ok())
}

#[test]
fn a_one_put_commit_dirties_no_more_than_it_stores() {
    let Some(_) = written_bytes() else { return println!("SKIP: /proc/self/io cannot be read") };
    // A process of its own, since the count is of the whole process.
    let file = TestFile::with_entries(100_000);
    let answer = in_another_process("commit and count bytes", &file, &[]);
    let (bytes, depth) = answer.split_once(' ').expect("two numbers");
    let (bytes, depth): (u64, u64) = (bytes.parse().expect("bytes"), depth.parse().expect("depth"));
    if bytes == 0 {
        return println!("SKIP: the file system does not count what it writes");
    }
    println!("{bytes} bytes a commit at depth {depth}");
    assert!(bytes <= (depth + 5) * 4096, "{bytes} bytes at depth {depth}");
}

#[test]
fn no_system_call_to_begin_a_read_and_one_msync_to_commit() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return println!("SKIP: strace is not installed");
    }
    let file = TestFile::with_entries(10_000);
    let trace = file.dir().join("trace");
    let trace_text = trace.display().to_string();
    let runner = ["strace", "-f", "-o", &trace_text];
    let Some(_) = try_in_another_process("read and commit between marks", &file, &runner) else {
        return println!("SKIP: strace cannot trace here");
    };
    let trace = std::fs::read_to_string(&trace).expect("a trace");
    let between = |mark: &str| -> Vec<&str> {
        let lines: Vec<_> = trace.lines().collect();
        let is_mark = |line: &str| line.contains(mark) && line.contains("write(");
        let first = lines.iter().position(|line| is_mark(line)).expect("the first mark");
        let last = lines.iter().rposition(|line| is_mark(line)).expect("the last mark");
        assert!(first < last, "two marks of {mark}");
        lines[first + 1..last].to_vec()
    };
    let reading = between("mark-read");
    assert!(reading.is_empty(), "1,000 reads made {} system calls: {:?}", reading.len(), reading.first());
    let committing = between("mark-commit");
    let syncs = |call: &str| committing.iter().filter(|line| line.contains(call)).count();
    assert_eq!(syncs("msync("), 10, "{committing:#?}");
    assert_eq!(syncs("fsync(") + syncs("fdatasync("), 0);
    println!("ten commits: {} system calls", committing.len());
    assert!(committing.len() <= 10 * 8, "{committing:#?}");
    let relaxed = between("mark-relaxed");
    println!("ten relaxed commits: {} system calls", relaxed.len());
    assert!(relaxed.len() <= 10 * 8, "{relaxed:#?}");
}

fn in_another_process(role: &str, file: &TestFile, runner: &[&str]) -> String {
    try_in_another_process(role, file, runner).expect("an answer")
}

/// Starts this binary again, by way of `runner`; answers what it says after "answer: ".
fn try_in_another_process(role: &str, file: &TestFile, runner: &[&str]) -> Option<String> {
    let binary = std::env::current_exe().expect("this binary").display().to_string();
    let line: Vec<&str> = runner.iter().copied().chain([&binary[..]]).collect();
    let mut child = another::play(&mut Command::new(line[0]), role, file.path())
        .args(&line[1..])
        .args(another::ARGUMENTS)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    child.wait().expect("wait");
    text.lines().find_map(|line| line.split_once("answer: ")).map(|(_, answer)| answer.to_string())
}

/// A system call to be found in a trace.
fn mark(name: &str) {
    std::io::stderr().write_all(format!("{name}\n").as_bytes()).expect("write");
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    let options = options().relaxed_bound(1 << 40, std::time::Duration::from_secs(3600));
    let env = open(&path, options).expect("open");
    if role == "commit until folios are small" {
        return commit_until_folios_are_small(&env);
    }
    // Whatever is done once has been done, and the syncing thread is asleep.
    put(&env, 0, Durability::Relaxed);
    for n in 0..60 {
        put(&env, n, Durability::Sync);
    }
    drop(env.read().expect("read"));
    match role.as_str() {
        "commit and count bytes" => {
            let depth = env.read().expect("read").main().expect("main").stat().depth;
            let before = written_bytes().expect("counted");
            for n in 0..200 {
                put(&env, n * 331, Durability::Sync);
            }
            let bytes = (written_bytes().expect("counted") - before) / 200;
            println!("answer: {bytes} {depth}");
        }
        "read and commit between marks" => {
            let mut found = 0;
            mark("mark-read");
            for n in 0..1000u64 {
                let txn = env.read().expect("read");
                let value = txn.main().expect("main").get(&(n % 50).to_be_bytes()).expect("get");
                found += u32::from(value.is_some());
            }
            mark("mark-read");
            mark("mark-commit");
            (0..10).for_each(|n| put(&env, n, Durability::Sync));
            mark("mark-commit");
            mark("mark-relaxed");
            (0..10).for_each(|n| put(&env, n, Durability::Relaxed));
            mark("mark-relaxed");
            println!("answer: {found}");
        }
        other => panic!("no such role: {other}"),
    }
}

fn commit_until_folios_are_small(env: &Env) {
    let commits = |keys: std::ops::Range<u64>| {
        let (before, count) = (written_bytes().expect("counted"), keys.end - keys.start);
        keys.for_each(|key| put(env, key * 7919 % 200_000, Durability::Sync));
        (written_bytes().expect("counted") - before) / count
    };
    let first = commits(0..4);
    commits(4..400);
    println!("answer: {first} {}", commits(400..420));
}

/// What the kernel was asked to read ahead, in pages.
fn pages_asked(effects: &[Effect]) -> u64 {
    let asked = |effect: &Effect| match effect {
        Effect::Advise { len, .. } if *len < 1 << 30 => len / 4096,
        _ => 0,
    };
    effects.iter().map(asked).sum()
}

/// Takes the file out of memory; answers whether the system did.
fn drop_cached(file: &TestFile) -> bool {
    let data = DataFile::open_read_only(file.path(), Seam::unwatched()).expect("open");
    data.drop_cached(0, 0).expect("drop");
    let map = ReadMap::map(&data, 0, MapAdvice::Random).expect("map");
    (0..data.len_bytes().expect("length")).step_by(1 << 16).all(|at| !map.is_present(at))
}

#[test]
fn reads_of_many_keys_ask_the_disk_for_all_absent_pages_at_once_and_for_none_that_are_there() {
    let file = TestFile::with_entries(50_000);
    let keys: Vec<[u8; 8]> = (0..50_000u64).step_by(97).map(u64::to_be_bytes).collect();
    let read = |env: &Env| {
        let txn = env.read().expect("read");
        let values = txn.main().expect("main").multi_get(keys.iter().map(|key| &key[..])).expect("multi_get");
        assert!(values.iter().all(Option::is_some));
        assert_eq!(txn.main().expect("main").iter().expect("iter").count(), 50_000);
    };
    let (env, notes) = watched(&file);
    read(&env);
    notes.take();
    read(&env);
    let warm = pages_asked(&notes.take());
    env.close().expect("close");
    let is_cold = drop_cached(&file);
    let (env, notes) = watched(&file);
    let leaves = env.read().expect("read").main().expect("main").stat().leaf_pages;
    notes.take();
    read(&env);
    let cold = pages_asked(&notes.take());
    println!("{leaves} leaves: asked for {cold} pages when cold, {warm} when warm");
    assert!(warm <= leaves / 10, "{warm} pages were asked for that are in memory");
    if is_cold {
        assert!(cold >= leaves / 2, "only {cold} of {leaves} leaves were asked for");
    } else {
        println!("the file stays in memory here, so nothing was cold");
    }
}

#[test]
fn a_commit_dirties_few_pages_again_soon_after_another_process_has_read_the_file_through() {
    let Some(_) = written_bytes() else { return println!("SKIP: /proc/self/io cannot be read") };
    let file = TestFile::with_entries(200_000);
    if !drop_cached(&file) {
        return println!("SKIP: the file stays in memory here, so nobody can fill the page cache anew");
    }
    // Large reads, as `cp` makes them, with the system's read-ahead.
    let mut reader = std::fs::File::open(file.path()).expect("open");
    std::io::copy(&mut reader, &mut std::io::sink()).expect("read");
    let answer = in_another_process("commit until folios are small", &file, &[]);
    let (first, last) = answer.split_once(' ').expect("two numbers");
    let (first, last): (u64, u64) = (first.parse().expect("bytes"), last.parse().expect("bytes"));
    println!("{first} bytes a commit at first, {last} at last");
    if first < 256 << 10 {
        return println!("SKIP: the system makes no large folios of this file");
    }
    assert!(last <= first / 8, "{first} bytes a commit at first, {last} at last");
}
