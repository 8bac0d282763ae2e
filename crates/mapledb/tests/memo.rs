//! The memo of verified pages: a page that is used again under the same number is verified again.

mod files;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use files::{TestFile, open, options};
use mapledb::Error;

fn value(round: u32) -> String {
    format!("the value of round {round:06}")
}

/// Another process commits, since one vouches for what it has sealed itself.
fn commit_elsewhere(file: &TestFile, round: u32) -> String {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "child_commits", "--ignored"]);
    child.env("MAPLE_MEMO_FILE", file.path()).env("MAPLE_MEMO_ROUND", round.to_string());
    assert!(child.output().expect("a process").status.success());
    value(round)
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn child_commits() {
    let variable = |name| std::env::var(name).expect("told");
    let round = variable("MAPLE_MEMO_ROUND").parse().expect("a number");
    let env = open(Path::new(&variable("MAPLE_MEMO_FILE")), options()).expect("open");
    let mut txn = env.write().expect("write");
    txn.main().put(b"key", value(round).as_bytes()).expect("put");
    txn.commit().expect("commit");
}

#[test]
fn a_page_that_is_used_again_is_verified_again() {
    let file = TestFile::new();
    let env = file.open(options());
    for round in 0..20 {
        let value = commit_elsewhere(&file, round);
        let txn = env.read().expect("read");
        assert_eq!(txn.main().expect("main").get(b"key").expect("get"), Some(value.as_bytes()));
    }
    let value = commit_elsewhere(&file, 20);
    let bytes = std::fs::read(file.path()).expect("bytes");
    let at = bytes.windows(value.len()).position(|part| part == value.as_bytes()).expect("it is there");
    let handle = std::fs::OpenOptions::new().write(true).open(file.path()).expect("open");
    handle.write_all_at(&[bytes[at] ^ 1], at as u64).expect("damage");
    let read = env.read().and_then(|txn| txn.main()?.get(b"key").map(|value| value.map(<[u8]>::to_vec)));
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    handle.write_all_at(&[bytes[at]], at as u64).expect("mend");
}
