//! What the tests of the data file share.

#![allow(dead_code, unsafe_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use mapledb_os::{DataFile, Seam};

/// A kernel page: offsets in these tests are counted in it, so that they hold on every machine.
pub fn page() -> u64 {
    mapledb_os::page_size()
}

pub fn create(path: &Path, pages: u64) -> DataFile {
    DataFile::create_in_place(path, 0o644, pages * page(), Seam::unwatched(), |_| Ok(())).unwrap()
}

pub fn names_in(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Whether this is a process of its own for `test`. If not, runs it in one and checks that it passes.
///
/// For tests that set limits of the whole process, or fork.
pub fn is_alone(test: &str) -> bool {
    const MARK: &str = "MAPLEDB_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{test} alone: {output:?}");
    false
}

/// Sets the length in bytes past which this process may not grow a file.
pub fn limit_file_size(bytes: u64) {
    // SAFETY: the kernel reads one `rlimit` through the pointer, which is to a live local.
    let set = |limit| unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, limit) };
    assert_eq!(set(&libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY }), 0);
}

/// Sets the address space in bytes that this process may map.
pub fn limit_address_space(bytes: u64) {
    // SAFETY: as above.
    let set = |limit| unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) };
    assert_eq!(set(&libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY }), 0);
}
