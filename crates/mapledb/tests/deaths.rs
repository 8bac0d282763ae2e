//! A writer that is killed at each step of its commit, and what the next one makes of it.
//!
//! Another process is this test binary again; an observer at its seam ends it with SIGKILL before or after the effect
//! it is told. Where no effect marks a step (publication, and the note of what is durable) the words of the lock file are
//! put as a death there would have left them.
#![cfg(feature = "seam")]

mod another;
mod files;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use files::{TestFile, check, open, options};
use mapledb::{Access, Durability, Env, Error, Options};
use mapledb_format::lockfile;
use mapledb_os::{Effect, Observer, Seam};

/// The effects of a commit that a death can come before or after.
const EFFECTS: [&str; 4] = ["store pages", "sync file", "store meta", "sync map"];
/// How the last thing a process does goes to the disk.
const WAYS: [&str; 5] = ["one sync", "two syncs", "group", "barrier", "relaxed"];

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::StorePages { .. } => "store pages",
        Effect::SyncFile { .. } => "sync file",
        Effect::StoreMeta { .. } => "store meta",
        Effect::Sync { .. } => "sync map",
        _ => "another",
    }
}

/// Ends the process before or after an effect.
struct Reaper {
    is_due: AtomicBool,
    effect: String,
    is_after: bool,
}

impl Reaper {
    fn look(&self, effect: &Effect, is_after: bool) {
        if self.is_after == is_after && name(effect) == self.effect && self.is_due.load(Ordering::SeqCst) {
            die();
        }
    }
}

impl Observer for Reaper {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        self.look(effect, false);
        Ok(())
    }

    fn after(&self, effect: &Effect, _: bool) {
        self.look(effect, true);
    }
}

fn die() -> ! {
    // SAFETY: ends this process, as the kernel would.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(std::process::id() as i32, libc::SIGKILL)
    };
    unreachable!("SIGKILL cannot be caught")
}

fn quiet(options: Options) -> Options {
    options.relaxed_bound(1 << 40, Duration::from_secs(3600))
}

fn put(env: &Env, key: &str, durability: Durability) {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(key.as_bytes(), &[1; 500]).expect("put");
    txn.commit().expect("commit");
}

/// A process that has this file open.
struct Other {
    child: Child,
    _input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Other {
    fn start(role: &str, data: &Path) -> Other {
        let mut child = another::process(role, data).spawn().expect("start");
        let input = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Other { child, _input: input, lines }
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.lines.read_line(&mut line).expect("read") > 0, "it ended without saying {word:?}");
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    match role.split(", ").collect::<Vec<_>>()[..] {
        ["die", way, side, effect] => die_at(&path, way, side == "after", effect),
        ["grow by relaxed commits"] => {
            let env = open(&path, quiet(options()).seam(Seam::watched(Arc::new(NoFallocate)))).expect("open");
            grow_relaxed(&env);
            println!("ready");
            let _ = std::io::stdin().read(&mut [0]);
        }
        ["hold the writer lock"] => {
            let env = open(&path, quiet(options())).expect("open");
            let _txn = env.write().expect("write");
            println!("ready");
            let _ = std::io::stdin().read(&mut [0]);
        }
        _ => panic!("no such role: {role}"),
    }
}

/// Commits three times, says so, and dies in what comes next. Ends by itself if the effect did not occur.
fn die_at(path: &Path, way: &str, is_after: bool, effect: &str) {
    let reaper = Arc::new(Reaper { is_due: AtomicBool::new(false), effect: effect.to_string(), is_after });
    let seam = Seam::watched(reaper.clone());
    let env = open(path, quiet(options()).two_syncs(way == "two syncs").seam(seam)).expect("open");
    put(&env, "durable", Durability::Sync);
    put(&env, "relaxed", Durability::Relaxed);
    put(&env, "durable again", Durability::Sync);
    if matches!(way, "barrier" | "relaxed") {
        put(&env, "relaxed again", Durability::Relaxed);
    }
    reaper.is_due.store(true, Ordering::SeqCst);
    match way {
        "barrier" => env.sync().expect("sync"),
        "relaxed" => put(&env, "unacknowledged", Durability::Relaxed),
        "group" => put(&env, "unacknowledged", Durability::Group),
        _ => put(&env, "unacknowledged", Durability::Sync),
    }
    die();
}

/// Every acknowledged commit is there, and nothing else.
fn expect_keys(env: &Env, keys: &[&str], when: &str) {
    let txn = env.read().expect("read");
    let main = txn.main().expect("main");
    for key in keys {
        assert!(main.get(key.as_bytes()).expect("get").is_some(), "{when}: {key:?} is lost");
    }
    let others = main.iter().expect("iter").filter(|entry| {
        let (key, _) = entry.as_ref().expect("sound");
        key.len() != 8 && !keys.iter().any(|known| known.as_bytes() == *key)
    });
    assert_eq!(others.count(), 0, "{when}: something is there that was not published");
    drop(txn);
    check(env);
}

/// The data file as a power failure now would leave it, had the kernel written everything.
fn expect_after_power_failure(file: &TestFile, keys: &[&str], when: &str) {
    let path = file.dir().join("image.maple");
    std::fs::copy(file.path(), &path).expect("copy");
    let env = open(&path, options()).expect("open");
    expect_keys(&env, keys, when);
    drop(env);
    std::fs::remove_file(&path).expect("remove");
}

#[test]
fn whoever_comes_after_a_death_in_a_commit_finds_what_was_acknowledged() {
    for way in WAYS {
        for (effect, side) in EFFECTS.iter().flat_map(|effect| [(effect, "before"), (effect, "after")]) {
            for has_survivor in [true, false] {
                let when = format!("{way}, {side} {effect}, survivor {has_survivor}");
                let mut acknowledged = vec!["durable", "relaxed", "durable again"];
                if matches!(way, "barrier" | "relaxed") {
                    acknowledged.push("relaxed again");
                }
                let file = TestFile::with_entries(500);
                let survivor = has_survivor.then(|| file.open(quiet(options())));
                let mut other = Other::start(&format!("die, {way}, {side}, {effect}"), file.path());
                let status = other.child.wait().expect("wait");
                assert_eq!(status.signal(), Some(libc::SIGKILL), "{when}");
                // Effects that this way does not have: the process died right after it was done.
                let has = match way {
                    "one sync" | "group" => *effect != "sync file",
                    "two syncs" => true,
                    "barrier" => !matches!(*effect, "store pages" | "sync file"),
                    _ => *effect == "store pages",
                };
                if !has && way != "barrier" {
                    acknowledged.push("unacknowledged");
                }
                let env = survivor.unwrap_or_else(|| file.open(quiet(options())));
                // It may have been appended, and then whoever takes over makes it stand.
                let may_stand = has && matches!(way, "one sync" | "two syncs" | "group");
                let note_whether_it_stands = |acknowledged: &mut Vec<&str>| {
                    let stands = env
                        .read()
                        .expect("read")
                        .main()
                        .expect("main")
                        .contains(b"unacknowledged")
                        .expect("get");
                    if may_stand && stands && !acknowledged.contains(&"unacknowledged") {
                        acknowledged.push("unacknowledged");
                    }
                };
                note_whether_it_stands(&mut acknowledged);
                expect_keys(&env, &acknowledged, &when);
                put(&env, "next", Durability::Sync);
                acknowledged.push("next");
                note_whether_it_stands(&mut acknowledged);
                expect_keys(&env, &acknowledged, &when);
                expect_after_power_failure(&file, &acknowledged, &when);
                env.close().expect("close");
                let env = file.open(options());
                assert!(env.recovery().was_clean, "{when}");
                expect_keys(&env, &acknowledged, &when);
            }
        }
    }
}

/// A file system that cannot allocate blocks for a file.
struct NoFallocate;

impl Observer for NoFallocate {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        match effect {
            Effect::Grow { .. } => Err(std::io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            _ => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

const GROWN: std::ops::Range<u64> = 1000..1300;

fn grow_relaxed(env: &Env) {
    for key in GROWN {
        let mut txn = env.write().expect("write");
        txn.durability(Durability::Relaxed);
        txn.main().put(&key.to_be_bytes(), &[key as u8; 9000]).expect("put");
        txn.commit().expect("commit");
    }
}

#[test]
fn relaxed_commits_that_made_the_file_grow_are_adopted_whole_on_any_file_system() {
    for has_fallocate in [true, false] {
        let file = TestFile::with_entries(500);
        let mut other = Other::start("grow by relaxed commits", file.path());
        other.expect("ready");
        other.kill();
        let options = quiet(options());
        let env = file.open(if has_fallocate {
            options
        } else {
            options.seam(Seam::watched(Arc::new(NoFallocate)))
        });
        assert!(env.recovery().adopted_txnid.is_some(), "fallocate {has_fallocate}: {:?}", env.recovery());
        check(&env);
        let txn = env.read().expect("read");
        let main = txn.main().expect("main");
        for key in GROWN {
            let value = main.get(&key.to_be_bytes()).expect("get");
            assert_eq!(value, Some(&[key as u8; 9000][..]), "fallocate {has_fallocate}: {key}");
        }
    }
}

#[test]
fn who_only_reads_and_closes_last_leaves_no_clean_note_over_what_a_dead_one_had_appended() {
    let file = TestFile::with_entries(500);
    let reader = {
        drop(file.open(quiet(options())));
        open(file.path(), options().access(Access::SharedReadOnly)).expect("open")
    };
    let mut other = Other::start("die, group, before, sync map", file.path());
    other.child.wait().expect("wait");
    reader.close().expect("close");
    assert_ne!(state(&file), lockfile::STATE_CLEAN, "a head is there that nobody has made durable");
    expect_keys(
        &file.open(quiet(options())),
        &["durable", "relaxed", "durable again", "unacknowledged"],
        "after it",
    );
}

#[test]
fn a_commit_is_published_before_whoever_waits_for_it_is_told() {
    let file = TestFile::with_entries(500);
    let env = file.open(quiet(options()));
    put(&env, "durable", Durability::Sync);
    let words = Words::note(&file, &[PUBLISHED]);
    let mut txn = env.write().expect("write");
    txn.main().put(b"last", &[1; 500]).expect("put");
    let commit = txn.commit_later().expect("it is handed in");
    while !commit.is_durable().expect("no sync failed") {
        std::thread::yield_now();
    }
    // As if its leader had died between the note and the publication.
    words.put_back();
    assert!(!commit.is_durable().expect("no sync failed"), "nobody sees it yet");
    commit.wait().expect("whoever waits publishes it");
    expect_keys(&env, &["durable", "last"], "after waiting");
}

/// Words of the lock file, to be put back.
struct Words {
    lock: File,
    places: Vec<(usize, Vec<u8>)>,
}

impl Words {
    /// What lies at these places now.
    fn note(file: &TestFile, places: &[(usize, usize)]) -> Words {
        let lock = OpenOptions::new().read(true).write(true).open(file.lock_path()).expect("lock file");
        let read = |&(at, len): &(usize, usize)| {
            let mut bytes = vec![0; len];
            lock.read_exact_at(&mut bytes, at as u64).expect("read");
            (at, bytes)
        };
        let places = places.iter().map(read).collect();
        Words { lock, places }
    }

    fn put_back(&self) {
        for (at, bytes) in &self.places {
            self.lock.write_all_at(bytes, *at as u64).expect("write");
        }
    }
}

const PUBLISHED: (usize, usize) = (lockfile::PUBLISHED_SEQ_AT, 8);
const DURABLE: (usize, usize) = (lockfile::DURABLE_TXNID_AT, 8);
const METAS: (usize, usize) = (lockfile::META_TXNID_AT, 16);
const DURABLE_SUM: (usize, usize) = (lockfile::DURABLE_CHECKSUM_AT, 8);

/// Commits durably, then arranges that the writer seems to have died with the `places` not yet stored to. Whoever takes over
/// finds the commit, which had been appended.
fn died_before_storing(places: &[(usize, usize)]) {
    let when = format!("{places:?}");
    let file = TestFile::with_entries(500);
    let env = file.open(quiet(options()));
    put(&env, "durable", Durability::Sync);
    let words = Words::note(&file, places);
    put(&env, "last", Durability::Sync);
    let metas_before = metas(&file);
    let mut other = Other::start("hold the writer lock", file.path());
    other.expect("ready");
    words.put_back();
    other.kill();

    expect_keys(&env, &["durable"], &when);
    // The take-over and nothing else.
    drop(env.write().expect("write"));
    let was_noted = !places.contains(&DURABLE);
    assert_eq!(metas(&file) == metas_before, was_noted, "{when}: whether a meta was stored");
    assert_eq!(env.info().expect("info").durable_txnid, env.read().expect("read").txnid(), "{when}");
    expect_keys(&env, &["durable", "last"], &when);
    expect_after_power_failure(&file, &["durable", "last"], &when);
    put(&env, "next", Durability::Sync);
    let keys = ["durable", "last", "next"];
    expect_keys(&env, &keys, &when);
    expect_after_power_failure(&file, &keys, &when);
    env.close().expect("close");
    let env = file.open(options());
    assert!(env.recovery().was_clean, "{when}");
    expect_keys(&env, &keys, &when);
}

fn metas(file: &TestFile) -> Vec<u8> {
    let mut bytes = vec![0; mapledb_format::ids::DATA_OFFSET as usize];
    File::open(file.path()).expect("open").read_exact(&mut bytes).expect("read");
    bytes
}

#[test]
fn a_commit_that_was_appended_and_not_noted_as_durable_is_made_durable_by_the_next() {
    died_before_storing(&[PUBLISHED, DURABLE, METAS, DURABLE_SUM]);
    // The note is three stores, in this order.
    died_before_storing(&[PUBLISHED, DURABLE, DURABLE_SUM]);
    died_before_storing(&[PUBLISHED, DURABLE]);
}

#[test]
fn a_durable_commit_that_was_not_published_is_published_by_the_next_and_its_meta_is_not_touched() {
    died_before_storing(&[PUBLISHED]);
}

/// Refuses one kind of effect as long as it is told to.
#[derive(Default)]
struct Refusal {
    is_on: AtomicBool,
}

impl Observer for Refusal {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        let is_it = matches!(effect, Effect::Redirty { .. } | Effect::StoreMeta { .. });
        match is_it && self.is_on.load(Ordering::SeqCst) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[test]
fn a_take_over_that_fails_is_done_by_the_next_writer() {
    for (way, effect) in [("barrier", "sync map"), ("one sync", "sync map")] {
        let file = TestFile::with_entries(500);
        let refusal = Arc::new(Refusal::default());
        let env = file.open(quiet(options()).seam(Seam::watched(refusal.clone())));
        let mut other = Other::start(&format!("die, {way}, before, {effect}"), file.path());
        other.child.wait().expect("wait");
        refusal.is_on.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let refused = env.write().map(|_| ()).expect_err("nothing may be built on what is not settled");
            assert!(refused.to_string().contains("os error 5"), "{way}: {refused}");
        }
        refusal.is_on.store(false, Ordering::SeqCst);
        put(&env, "next", Durability::Relaxed);
        let last = if way == "barrier" { "relaxed again" } else { "unacknowledged" };
        let keys = ["durable", "relaxed", "durable again", last, "next"];
        expect_keys(&env, &keys, way);
        let durable: Vec<_> = keys.iter().copied().filter(|key| *key != "next").collect();
        expect_after_power_failure(&file, &durable, way);
        env.close().expect("close");
    }
}

/// Fails every sync from the moment it is told to.
#[derive(Default)]
struct FailingSyncs {
    is_on: AtomicBool,
}

impl Observer for FailingSyncs {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        let is_sync = matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. });
        match is_sync && self.is_on.load(Ordering::SeqCst) {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

fn state(file: &TestFile) -> u32 {
    let mut bytes = [0; 4];
    File::open(file.lock_path())
        .expect("lock file")
        .read_exact_at(&mut bytes, lockfile::STATE_AT as u64)
        .expect("read");
    u32::from_le_bytes(bytes)
}

#[test]
fn nobody_who_only_reads_vouches_for_what_a_failed_sync_left() {
    for two_syncs in [false, true] {
        let file = TestFile::with_entries(500);
        let failing = Arc::new(FailingSyncs::default());
        let seam = Seam::watched(failing.clone());
        let env = file.open(quiet(options()).two_syncs(two_syncs).seam(seam));
        put(&env, "durable", Durability::Sync);
        put(&env, "relaxed", Durability::Relaxed);
        failing.is_on.store(true, Ordering::SeqCst);
        let mut txn = env.write().expect("write");
        txn.main().put(b"unacknowledged", b"value").expect("put");
        let failed = txn.commit().expect_err("its sync fails");
        assert!(matches!(failed, Error::SyncFailed { .. } | Error::Indeterminate { .. }), "{failed}");
        assert!(matches!(env.write().map(|_| ()), Err(Error::Poisoned { .. })));
        assert!(matches!(env.close(), Err(Error::Poisoned { .. })));
        failing.is_on.store(false, Ordering::SeqCst);

        for _ in 0..2 {
            let refused = open(file.path(), options().access(Access::SharedReadOnly)).map(|_| ());
            assert!(matches!(refused, Err(Error::NeedsRecovery { .. })), "{refused:?}");
            assert_ne!(state(&file), lockfile::STATE_CLEAN);
        }
        let env = file.open(quiet(options()));
        assert!(env.recovery().was_poisoned && !env.recovery().was_clean);
        let mut keys = vec!["durable", "relaxed"];
        // Whether it happened shows now, if its meta had been stored.
        let is_open = matches!(failed, Error::Indeterminate { .. });
        let stands =
            env.read().expect("read").main().expect("main").contains(b"unacknowledged").expect("get");
        keys.extend((is_open && stands).then_some("unacknowledged"));
        expect_keys(&env, &keys, "after recovery");
        put(&env, "next", Durability::Sync);
        keys.push("next");
        env.close().expect("close");
        assert_eq!(state(&file), lockfile::STATE_CLEAN);
        let env = open(file.path(), options().access(Access::SharedReadOnly)).expect("open");
        expect_keys(&env, &keys, "after a clean end");
    }
}
