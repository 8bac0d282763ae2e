//! A database file of a test's own. When the test is over the file is opened once more and checked in full, unasked.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mapledb::{Env, Error, MapAdvice, Options};
use mapledb_os::{DataFile, ReadMap, Seam};

/// The size of a page of the page cache in bytes.
pub const KERNEL_PAGE: u64 = 4096;

/// Options with a small reserve of address space, so that many tests fit one process.
pub fn options() -> Options {
    Env::options().reserve_bytes(1 << 34)
}

/// Opens the file at `path`.
#[allow(unsafe_code)]
pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Env, Error> {
    // SAFETY: while it is open nothing but MapleDB writes to the test's own file.
    unsafe { options.open(path) }
}

/// Opens the file at `path`, or creates it.
#[allow(unsafe_code)]
pub fn open_or_create(path: impl AsRef<Path>, options: Options) -> Result<Env, Error> {
    // SAFETY: as above.
    unsafe { options.open_or_create(path) }
}

/// The full law of the environment's file.
pub fn check(env: &Env) {
    let report = env.check(|_| ()).expect("check");
    assert!(report.is_clean(), "{:#?}", &report.problems[..report.problems.len().min(5)]);
}

/// The seed of a test's choices, printed: a fresh one, or that of `MAPLE_SEED`, which replays them.
pub fn seed() -> u64 {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = std::env::var("MAPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
    println!("MAPLE_SEED={seed}");
    seed
}

/// The kernel pages of a file that are in memory.
pub fn resident(path: &Path) -> BTreeSet<u64> {
    let file = DataFile::open_read_only(path, Seam::unwatched()).expect("open");
    let len = file.len_bytes().expect("length");
    let map = ReadMap::map(&file, len, MapAdvice::Random).expect("map");
    (0..len / KERNEL_PAGE).filter(|page| map.is_present(page * KERNEL_PAGE)).collect()
}

/// A file in a directory of its own.
pub struct TestFile {
    dir: tempfile::TempDir,
    path: PathBuf,
    is_given_up: bool,
}

impl TestFile {
    /// No file yet, and a directory for it.
    pub fn new() -> TestFile {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("test.maple");
        TestFile { dir, path, is_given_up: false }
    }

    /// A file with `entries` in its default table: big-endian numbers, each with itself as its value.
    pub fn with_entries(entries: u64) -> TestFile {
        let file = TestFile::new();
        let env = file.open(options());
        let mut txn = env.write().expect("write");
        for n in 0..entries {
            txn.main().put(&n.to_be_bytes(), &n.to_le_bytes()).expect("put");
        }
        txn.commit().expect("commit");
        env.close().expect("close");
        file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn lock_path(&self) -> PathBuf {
        self.dir.path().join("test.maple-lock")
    }

    pub fn open(&self, options: Options) -> Env {
        open_or_create(&self.path, options).expect("open")
    }

    /// The file was damaged on purpose: there is nothing to check at the end.
    pub fn give_up(mut self) {
        self.is_given_up = true;
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.is_given_up && self.path.exists() {
            check(&open(&self.path, options()).expect("open once more"));
        }
    }
}
