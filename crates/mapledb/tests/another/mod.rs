//! This test binary once more, as another process: it is told by its environment to play a role instead of running tests.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROLE: &str = "MAPLE_TEST_ROLE";
const DATA: &str = "MAPLE_TEST_DATA";

/// What the process runs: the test of this name, in which it finds its [`role`].
pub const ARGUMENTS: [&str; 4] = ["as_another_process", "--exact", "--nocapture", "--test-threads=1"];

/// A process that plays `role` on `data`, and is talked to through pipes.
pub fn process(role: &str, data: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    play(&mut command, role, data).args(ARGUMENTS).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Has a command play `role` on `data`.
pub fn play<'c>(command: &'c mut Command, role: &str, data: &Path) -> &'c mut Command {
    command.env(ROLE, role).env(DATA, data)
}

/// The role of this process and what it plays it on, if it has one.
pub fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, PathBuf::from(std::env::var_os(DATA)?)))
}
