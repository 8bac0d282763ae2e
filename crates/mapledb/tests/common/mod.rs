//! A data file that is no database, attaching to it, and other processes that do the same.
#![cfg(not(loom))]
#![allow(dead_code)]

#[path = "../another/mod.rs"]
mod another;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use mapledb::mvcc::layout::BODY_WORDS;
use mapledb::mvcc::*;
use mapledb_os::Seam;

pub const IDENTITY: [u8; 16] = *b"0123456789abcdef";

pub fn new_head(txnid: u64) -> NewHead {
    NewHead { body: [txnid; BODY_WORDS], durable_txnid: 1, durable_meta_checksum: 7 }
}

/// A data file in a directory of its own.
pub struct Data {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl Data {
    pub fn new() -> Data {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("db");
        std::fs::write(&path, "no pages").expect("write");
        Data { dir, path }
    }

    pub fn lock(&self) -> PathBuf {
        lock_path(&self.path)
    }

    pub fn attached(&self) -> Attached {
        attached(&self.path)
    }
}

/// Attaches without recovering: the first begins with what was published last, or with txnid 1.
pub fn try_attach(
    path: &Path,
    mode: Mode,
) -> std::result::Result<(Attached, Option<LeftBehind>), AttachError> {
    let file = File::options().read(true).write(mode != Mode::Frozen).open(path).expect("open");
    let is_writable = mode != Mode::Frozen;
    let target =
        Target { data: file.as_fd(), path, identity: IDENTITY, is_writable, seam: &Seam::unwatched() };
    match attach(&target, mode, Duration::from_secs(5))? {
        Attach::Joined(attached) => Ok((attached, None)),
        Attach::First(first) => {
            let left = first.left_behind().clone();
            let head = left.published.as_ref().map_or(new_head(1), |record| record.head.clone());
            let start = Start { head: &head, meta_txnids: [0, 1], last_txnid: 1, pages_allocated: 0 };
            Ok((first.finish(&start)?, Some(left)))
        }
    }
}

pub fn attached(path: &Path) -> Attached {
    try_attach(path, Mode::Shared).expect("attach").0
}

pub fn lock(attached: &Attached) -> WriterGuard {
    attached.lock_writer(Wait::Forever).expect("lock").expect("no time-out")
}

/// A commit of nothing.
pub fn commit(attached: &Attached) -> u64 {
    let guard = lock(attached);
    let txnid = attached.next_txnid(&guard).expect("a txnid");
    attached.publish(&guard, &new_head(txnid)).expect("publish");
    txnid
}

/// Another process, killed when it goes out of scope.
pub struct Other {
    pub child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Other {
    /// Starts a process that plays `role` on `data` and waits until it says that it is ready.
    pub fn start(role: &str, data: &Path) -> Other {
        let mut other = Other::launch(role, data);
        other.expect("ready");
        other
    }

    /// Starts a process that plays `role` on `data`.
    pub fn launch(role: &str, data: &Path) -> Other {
        let mut child = another::process(role, data).spawn().expect("start");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Other { child, lines }
    }

    /// Reads lines until one contains `word`.
    pub fn expect(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("read");
            assert!(read > 0, "the other process ended without saying {word:?}");
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Ends it as the kernel would.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Tells it to go on.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"go on\n").expect("write");
        stdin.flush().expect("flush");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The role to play and the file to play it on, if this is another process.
pub fn role() -> Option<(String, PathBuf)> {
    another::role()
}

/// Says a word to the process that started this one.
pub fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{word}").expect("write");
    out.flush().expect("flush");
}

/// Waits to be told to go on.
pub fn wait_for_word() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("read");
}
