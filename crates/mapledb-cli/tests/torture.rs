//! `maple torture`: it keeps to its directory, tells what it did, and can do a case again.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn torture(dir: &Path, arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_maple"))
        .arg("torture")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn a_report_tells_what_was_done_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let room = dir.path().join("room");
    std::fs::create_dir(&room).unwrap();
    let file = report.to_str().unwrap();
    let arguments =
        ["--only", "images", "--budget", "30", "--seconds", "60", "--seed", "7", "--report", file];
    let output = torture(&room, &arguments);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["seed"], 7);
    assert_eq!(report["rows"][0]["name"], "images");
    assert!(report["rows"][0]["done"].as_u64().unwrap() >= 30, "{report}");
    assert!(report["kernel"].as_str().unwrap().contains('.'), "{report}");
    assert!(report["failure"].is_null(), "{report}");
    assert!(is_empty(&room), "something is left in the directory");
}

#[test]
fn a_case_is_done_again_from_its_reproducer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("failure.json");
    let case =
        r#"{"schema":1,"engine":"0.1.0","harness":"images","seed":3,"case":"session","what":"it was so"}"#;
    std::fs::write(&file, case).unwrap();
    let output = torture(dir.path(), &["--replay", "failure.json"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("nothing is wrong with this case"),
        "{output:?}"
    );
}

#[test]
fn what_is_no_reproducer_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    for (text, code, word) in [
        (Some("{}"), 3, "not a reproducer"),
        (Some(r#"{"schema":9,"engine":"","harness":"","seed":1,"case":null,"what":""}"#), 3, "schema 9"),
        (
            Some(r#"{"schema":1,"engine":"","harness":"none","seed":1,"case":null,"what":""}"#),
            4,
            "no harness",
        ),
        (None, 4, "No such file"),
    ] {
        let file = dir.path().join("failure.json");
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let output = torture(dir.path(), &["--replay", "failure.json"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn a_directory_that_cannot_be_had_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = torture(dir.path(), &["nowhere", "--seconds", "1"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"), "{output:?}");
}

#[test]
fn an_interrupt_ends_it_soon_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_maple"))
        .args(["torture", "--only", "images", "--seconds", "600", "--quiet"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while is_empty(dir.path()) {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    assert!(is_empty(dir.path()), "something is left");
}
