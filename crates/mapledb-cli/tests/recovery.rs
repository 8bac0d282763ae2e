//! Databases that were left in disorder: verbs recover them, and say what they found.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use common::{Place, end};
use mapledb::{Durability, Env, Table};

/// The other process of the next test.
#[test]
#[ignore = "runs as a process of its own, started by another test"]
#[allow(unsafe_code)]
fn commits_relaxed_and_dies() {
    let Ok(path) = std::env::var("MAPLE_TEST_FILE") else { return };
    let options = Env::options().relaxed_bound(u64::MAX, std::time::Duration::from_secs(3600));
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    let env = unsafe { options.open(Path::new(&path)) }.unwrap();
    let mut txn = env.write().unwrap();
    txn.durability(Durability::Relaxed);
    txn.table(&Table::main()).unwrap().put(b"relaxed", b"yes").unwrap();
    txn.commit().unwrap();
    std::process::abort();
}

fn with_a_dead_writer() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple durable yes");
    let mut dies = Command::new(std::env::current_exe().unwrap());
    dies.args(["--exact", "commits_relaxed_and_dies", "--ignored"]);
    let ended = end(dies.env("MAPLE_TEST_FILE", place.path("a.maple")));
    assert_eq!(ended.code, None, "it should have died by a signal: {}", ended.stderr);
    place
}

#[test]
fn what_a_dead_writer_had_committed_is_recovered_by_a_verb_that_reads() {
    let place = with_a_dead_writer();
    let ended = place.maple("get a.maple relaxed");
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"yes\n"[..]), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("maple: note: relaxed commits up to "), "{}", ended.stderr);
    let again = place.maple("get a.maple relaxed");
    assert_eq!((again.code, &*again.stderr), (Some(0), ""), "there is nothing to recover any more");
    place.check("a.maple");
}

#[test]
fn notes_are_json_or_quiet_where_asked_for() {
    let place = with_a_dead_writer();
    let ended = place.maple("info a.maple --json");
    let note: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    let info: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(note["note"].as_str().unwrap().starts_with("relaxed commits up to "));
    assert_eq!(info["recovery"], serde_json::json!([note["note"]]));
    let place = with_a_dead_writer();
    assert_eq!(place.maple("get a.maple relaxed --quiet").stderr, "");
}

#[test]
fn frozen_verbs_see_what_is_durable_and_recover_nothing() {
    let place = with_a_dead_writer();
    let before = std::fs::read(place.path("a.maple")).unwrap();
    assert_eq!(place.ok("get a.maple durable --frozen"), "yes\n");
    place.fails(1, "get a.maple relaxed --frozen");
    assert!(std::fs::read(place.path("a.maple")).unwrap() == before);
    assert_eq!(place.ok("get a.maple relaxed --quiet"), "yes\n");
}

#[test]
fn a_newest_commit_that_is_damaged_is_kept_after_a_clean_close_and_else_passed_over_and_told() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple k old");
    place.ok("put a.maple k new");
    let metas = ["meta-a", "meta-b"].map(|meta| -> serde_json::Value {
        serde_json::from_str(&place.ok(&format!("page a.maple {meta} --json"))).unwrap()
    });
    let newest = metas.iter().max_by_key(|meta| meta["txnid"].as_u64()).unwrap();
    let root = newest["trees"][0]["root"].as_u64().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(place.path("a.maple")).unwrap();
    file.write_all_at(b"torn", root * 4096 + 3000).unwrap();
    assert!(place.fails(5, "get a.maple k").starts_with(&format!("maple: corrupt page {root}: ")));
    assert!(place.maple("check a.maple").code == Some(5), "the commit was whole when the file was closed");
    // Without the note of that it may be what a crash has torn.
    std::fs::remove_file(place.path("a.maple-lock")).unwrap();
    let ended = place.maple("get a.maple k");
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"old\n"[..]), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("maple: note: a newer commit was passed over: "), "{}", ended.stderr);
    place.check("a.maple");
}
