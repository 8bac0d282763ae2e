//! What the harnesses found once, each reduced to its cause.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mapledb::{Durability, Env, Options};
use mapledb_os::{Effect, Observer, Seam};
use mapledb_sim::scratch::Scratch;

#[derive(Default)]
struct Effects(Mutex<Vec<Effect>>);

impl Observer for Effects {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        self.0.lock().expect("no panic").push(*effect);
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> Env {
    // SAFETY: only MapleDB writes to the test's own file.
    unsafe { options.open_or_create(path) }.expect("open")
}

/// A growing transaction that is given up leaves a longer file whose length and blocks no sync has made durable. `msync` promises
/// bytes, not lengths: a commit that then took the new space with one sync could be lost after it was acknowledged.
#[test]
fn a_commit_into_space_that_an_aborted_transaction_grew_makes_the_length_durable_first() {
    let dir = Scratch::new().expect("a directory");
    let effects = Arc::new(Effects::default());
    let env =
        open(&dir.path().join("a.maple"), Env::options().seam(Seam::watched(Arc::clone(&effects) as Arc<_>)));
    let mut txn = env.write().expect("write");
    txn.main().put(b"k", b"given up").expect("put");
    drop(txn);
    let is_grow = |effect: &Effect| matches!(effect, Effect::Grow { .. });
    assert!(effects.0.lock().expect("no panic").iter().any(is_grow), "the aborted transaction grew the file");
    effects.0.lock().expect("no panic").clear();
    let mut txn = env.write().expect("write");
    txn.main().put(b"k", b"v").expect("put");
    txn.commit().expect("commit");
    let effects = effects.0.lock().expect("no panic");
    let meta = effects.iter().position(|effect| matches!(effect, Effect::StoreMeta { .. }));
    let sync = effects.iter().position(|effect| matches!(effect, Effect::SyncFile { .. }));
    assert!(sync.is_some() && sync < meta, "the length is durable before a meta depends on it: {effects:?}");
}

/// An environment that is dropped rather than closed takes its thread with it, however long the bound of time is.
#[test]
fn the_thread_that_syncs_goes_with_its_environment() {
    let sync_threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim_end() == "maple-sync").count()
    };
    let dir = Scratch::new().expect("a directory");
    let env =
        open(&dir.path().join("a.maple"), Env::options().relaxed_bound(u64::MAX, Duration::from_secs(3600)));
    let mut txn = env.write().expect("write");
    txn.durability(Durability::Relaxed);
    txn.main().put(b"k", b"v").expect("put");
    txn.commit().expect("commit");
    let end = Instant::now() + Duration::from_secs(10);
    while sync_threads() == 0 {
        // A thread takes its name when it first runs.
        assert!(Instant::now() < end, "no thread keeps the bound");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(env);
    while sync_threads() > 0 {
        assert!(Instant::now() < end, "the thread outlives its environment");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A meta that was passed over is cleared, and clearing it was the end of it: the next opening has nothing to tell.
#[test]
fn what_recovery_has_cleared_is_reported_once() {
    let dir = Scratch::new().expect("a directory");
    let path = dir.path().join("a.maple");
    let env = open(&path, Env::options());
    for value in [b"a", b"b"] {
        let mut txn = env.write().expect("write");
        txn.main().put(b"k", value).expect("put");
        txn.commit().expect("commit");
    }
    env.close().expect("close");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).expect("write");
    let env = open(&path, Env::options());
    assert!(env.recovery().passed_over.is_some());
    env.close().expect("close");
    let env = open(&path, Env::options());
    assert_eq!(env.recovery().passed_over, None);
    assert!(env.recovery().was_clean);
}
