//! `readpath` and `share` as programs: a small run of each, and what they say to arguments that make no sense.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, dir: &Path, arguments: &[&str]) -> Output {
    let json = dir.join("rows.json");
    Command::new(program).arg("--data-dir").arg(dir).arg("--json").arg(json).args(arguments).output().unwrap()
}

fn rows(dir: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(dir.join("rows.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["rows"].clone()
}

fn refusal(program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = run(program, dir.path(), arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const READPATH: &str = env!("CARGO_BIN_EXE_readpath");
const SHARE: &str = env!("CARGO_BIN_EXE_share");

#[test]
fn processes_that_share_a_file_hold_it_once_and_little_else() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(SHARE, dir.path(), &["--size=4MiB", "--processes=1,3", "--cache-percent=50"]);
    assert!(output.status.success(), "{output:?}");
    let rows = rows(dir.path());
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows.iter().filter(|row| row["reader"] == "maple") {
        let memory = row["memory"].as_array().unwrap();
        let pss: u64 = memory.iter().map(|memory| memory["file_pss"].as_u64().unwrap()).sum();
        let file_bytes = row["file_bytes"].as_u64().unwrap();
        assert_eq!(memory.len() as u64, row["processes"].as_u64().unwrap());
        assert!(pss > file_bytes / 2 && pss <= file_bytes, "{row}");
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("PASS: at most"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the rows are left");
}

#[test]
fn a_file_too_small_to_measure_is_refused_with_the_least_size() {
    let (code, said) = refusal(READPATH, &["--size=1MiB"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--size is too small: at least 128.0 MiB"), "{said}");
    let (code, said) = refusal(SHARE, &["--size=1KiB"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--size is too small: at least 1.0 MiB"), "{said}");
}

#[test]
fn arguments_that_make_no_sense_are_told_before_anything_is_measured() {
    for arguments in [&["--states=lukewarm"][..], &["--rounds=0"], &["--size=large"]] {
        let (code, said) = refusal(READPATH, arguments);
        assert_eq!(code, Some(2), "{said}");
    }
    for arguments in [&["--processes=0"][..], &["--cache-percent=101"], &["--readers=book"]] {
        let (code, said) = refusal(SHARE, arguments);
        assert_eq!(code, Some(2), "{said}");
    }
}
