//! What opening and writing cost in a file whose free space is a million single pages.

use std::path::Path;
use std::sync::{Arc, Mutex};

use mapledb_os::{Effect, Observer, Seam};

use crate::env::{Env, Options};

/// Single free pages of the worse file.
const RUNS: u64 = 1_000_000;

#[derive(Default)]
struct Notes(Mutex<Vec<Effect>>);

impl Observer for Notes {
    fn before(&self, effect: &Effect) -> std::io::Result<()> {
        self.0.lock().unwrap().push(*effect);
        Ok(())
    }

    fn after(&self, _: &Effect, _: bool) {}
}

impl Notes {
    /// How many effects there were, how many of them syncs, and how many pages were stored to.
    fn take(&self) -> (usize, usize, u64) {
        let effects = std::mem::take(&mut *self.0.lock().unwrap());
        let is_sync = |effect: &&Effect| matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. });
        let stored = |effect: &Effect| match effect {
            Effect::StorePages { len, .. } => len / 4096,
            _ => 0,
        };
        (effects.len(), effects.iter().filter(is_sync).count(), effects.iter().map(stored).sum())
    }
}

fn options() -> Options {
    Env::options().reserve_bytes(1 << 36)
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> Env {
    // SAFETY: nothing but this test writes to its own file.
    unsafe { options.open_or_create(path) }.unwrap()
}

fn put(env: &Env, n: u64) {
    let mut txn = env.write().unwrap();
    txn.main().put(&n.to_be_bytes(), &[1; 100]).unwrap();
    txn.commit().unwrap();
}

/// Pages this thread has touched for the first time since they were mapped, by the kernel's count.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Behind the command, which may hold anything, the eighth field is the minor faults.
    stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// A file with a few entries, and a third of `3 * runs` single pages available, a third that waits for the snapshot
/// before, and a third that waits for one later.
fn make(path: &Path, runs: u64) {
    drop(open(path, options()));
    // Free pages need no blocks to be free: the file is long and nearly empty.
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len((64 + 3 * runs) * 4096).unwrap();
    let env = open(path, options());
    (0..2000).for_each(|n| {
        if n % 200 == 0 {
            put(&env, n)
        }
    });
    let mut txn = env.write().unwrap();
    let rest = txn.space_mut().fragment(runs);
    txn.commit().unwrap();
    let mut txn = env.write().unwrap();
    txn.space_mut().give_up(rest);
    txn.commit().unwrap();
    env.close().unwrap();
}

#[test]
fn opening_and_writing_cost_no_more_with_a_million_free_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut costs = Vec::new();
    for runs in [0, RUNS] {
        let path = dir.path().join(format!("{runs}.maple"));
        make(&path, runs);
        let notes = Arc::new(Notes::default());
        let before = faults();
        let env = open(&path, options().seam(Seam::watched(notes.clone())));
        let opened = notes.take();
        assert!(env.recovery().was_clean);
        // A reader keeps the last third of the pages waiting, so that those released have no free neighbour to join.
        let reader = env.read().unwrap();
        put(&env, 1);
        let first = notes.take();
        let touched = faults() - before;
        let mut worst = (0, 0, 0);
        for n in 0..100 {
            put(&env, n * 20);
            let cost = notes.take();
            worst = (worst.0.max(cost.0), worst.1.max(cost.1), worst.2.max(cost.2));
        }
        let held = faults() - before - touched;
        drop(reader);
        for n in 0..100 {
            put(&env, n * 20);
            let cost = notes.take();
            worst = (worst.0.max(cost.0), worst.1.max(cost.1), worst.2.max(cost.2));
        }
        println!(
            "{runs} runs: open {opened:?}, first write {first:?}, {touched} faults; worst later {worst:?}, {held}"
        );
        let report = env.check(|_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", &report.problems[..1]);
        assert!(runs == 0 || report.pages_free > 2 * RUNS);
        costs.push((opened, first, touched, worst));
    }
    let (none, many) = (costs[0], costs[1]);
    // One effect for each extent of the last commit's manifest.
    assert!(many.0.0 <= none.0.0 + 8, "effects of opening: {:?} and {:?}", none.0, many.0);
    assert_eq!((none.0.1, none.0.2), (many.0.1, many.0.2), "syncs and pages of opening");
    assert!(many.1.1 <= none.1.1 + 1, "syncs of the first commit: {:?} and {:?}", none.1, many.1);
    assert!(many.1.2 <= none.1.2 + 64, "pages of the first commit: {:?} and {:?}", none.1, many.1);
    assert!(many.2 <= none.2 + 200, "page faults of opening and writing: {} and {}", none.2, many.2);
    assert!(many.3.2 <= 200, "pages of the worst commit: {:?}", many.3);
}
