//! The demo as a user runs it, on small files and with a stand-in for the `maple` command.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Ranges of both families in one file, with gaps.
    fn ranges(&self) -> PathBuf {
        let mut text = "# small\n".to_owned();
        for number in 1..=2_000_u32 {
            let (start, end) = (number * 1_000, number * 1_000 + 400 + number % 600);
            writeln!(text, "{start},{end},V4").expect("a string takes all");
            writeln!(text, "2001:{number:x}::,2001:{number:x}:ffff::,V6").expect("a string takes all");
        }
        let path = self.path("ranges");
        fs::write(&path, text).expect("it is writable");
        path
    }

    /// Writes down what it is asked to check, and answers as told.
    fn maple(&self, exit_code: u8) -> PathBuf {
        let path = self.path("maple");
        let asked = self.path("asked");
        let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\nexit {exit_code}\n", asked.display());
        fs::write(&path, script).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    fn demo(&self, maple: &Path, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mapledb-geoip"))
            .args(["--replacements", "4", "--dir"])
            .arg(self.path("demo"))
            .arg("--maple")
            .arg(maple)
            .args(words)
            .output()
            .expect("it was built")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn readers_find_one_generation_in_each_snapshot_and_notice_two_in_the_canary() {
    let place = Place::new();
    let ranges = place.ranges();
    // The second run finds the files of the first.
    for _ in 0..2 {
        let output = place.demo(&place.maple(0), &[ranges.to_str().expect("the path is text")]);
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}{errors}");
        let first = said.lines().next().expect("it says where its ranges come from");
        assert!(first.ends_with("ranges: 2,000 IPv4 and 2,000 IPv6 ranges"), "{first}");
        assert!(said.contains("caught as it must be"), "{said}");
        assert!(said.lines().any(|line| line.starts_with("mixed=0 of ")), "{said}");
    }
    let asked = fs::read_to_string(place.path("asked")).expect("the check was run");
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].starts_with("check /") && asked[0].ends_with("canary.maple"), "{asked:?}");
    assert!(asked[1].ends_with("geoip.maple"), "{asked:?}");
}

#[test]
fn a_check_that_fails_fails_the_demo() {
    let place = Place::new();
    let ranges = place.ranges();
    let output = place.demo(&place.maple(2), &[ranges.to_str().expect("the path is text")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("FAILED: maple check"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_read_or_run_is_told_before_anything_is_started() {
    let place = Place::new();
    let cases = [
        (place.maple(0), "missing-file", "cannot read missing-file"),
        (place.path("no-maple"), "sample", "is not there: cargo build"),
    ];
    for (maple, word, expected) in cases {
        let output = place.demo(&maple, &[word]);
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(errors.contains(expected), "{errors}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
}
