//! `backup` and `compact`: what is copied is all there, and what cannot be done safely is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use common::Place;
use mapledb::{Env, Table};

/// A database with free space inside, a long value and several tables.
fn filled() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    let rows: String = (0..3_000).map(|number| format!("key{number:06},{}\n", "v".repeat(100))).collect();
    place.maple_reading("load a.maple -f csv --no-header", rows.as_bytes());
    place.ok("del a.maple --prefix key0001");
    std::fs::write(place.path("big"), vec![b'x'; 300_000]).unwrap();
    place.ok("put a.maple zbig @big");
    place.ok("create a.maple -t numbers --keys u64 --values str");
    place.ok("put a.maple -t numbers 7 Ida");
    place
}

#[allow(unsafe_code)]
fn open(place: &Place) -> Env {
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    unsafe { Env::options().open(place.path("a.maple")) }.unwrap()
}

#[test]
fn a_backup_holds_every_record_to_a_file_and_through_a_pipe() {
    let place = filled();
    let all = place.ok("dump a.maple");
    let said: serde_json::Value = serde_json::from_str(&place.ok("backup a.maple b.maple --json")).unwrap();
    let streamed = place.maple("backup a.maple - --json");
    assert_eq!(streamed.code, Some(0), "{}", streamed.stderr);
    std::fs::write(place.path("c.maple"), &streamed.stdout).unwrap();
    let told: serde_json::Value = serde_json::from_str(&streamed.stderr).unwrap();
    assert_eq!(
        (&said["txnid"], &said["pages"], &said["bytes"]),
        (&told["txnid"], &told["pages"], &told["bytes"])
    );
    assert_eq!((&said["to"], &told["to"]), (&"b.maple".into(), &serde_json::Value::Null));
    for copy in ["b.maple", "c.maple"] {
        place.check(copy);
        assert_eq!(place.ok(&format!("dump {copy}")), all, "{copy}");
        place.ok(&format!("put {copy} more x"));
        place.check(copy);
    }
    let lengths = ["b.maple", "c.maple"].map(|copy| place.path(copy).metadata().unwrap().len());
    assert!(lengths[0] <= lengths[1] + 4096 && lengths[1] > 300_000, "{lengths:?}");
}

#[test]
fn a_compact_backup_is_smaller_and_holds_every_record_to_a_file_and_through_a_pipe() {
    let place = filled();
    place.ok("snapshot create a.maple monday");
    place.ok("del a.maple --prefix key0002");
    let all = place.ok("dump a.maple");
    let env = open(&place);
    let said: serde_json::Value =
        serde_json::from_str(&place.ok("backup a.maple b.maple --compact --json")).unwrap();
    std::fs::create_dir(place.path("spool")).unwrap();
    let streamed = place.maple("backup a.maple - --compact --spool spool --json");
    assert_eq!(streamed.code, Some(0), "{}", streamed.stderr);
    assert_eq!(std::fs::read_dir(place.path("spool")).unwrap().count(), 0, "nothing is left");
    std::fs::write(place.path("c.maple"), &streamed.stdout).unwrap();
    let told: serde_json::Value = serde_json::from_str(&streamed.stderr).unwrap();
    for field in ["txnid", "pages", "bytes", "entries"] {
        assert_eq!(said[field], told[field], "{field}");
    }
    let lengths = ["a.maple", "b.maple", "c.maple"].map(|file| place.path(file).metadata().unwrap().len());
    assert!(lengths[1] == lengths[2] && lengths[2] < lengths[0], "{lengths:?}");
    for copy in ["b.maple", "c.maple"] {
        place.check(copy);
        assert_eq!(place.ok(&format!("dump {copy}")), all, "{copy}");
        place.ok(&format!("put {copy} more x"));
        place.check(copy);
    }
    // A place that is not there, and a reader that takes nothing.
    let told = place.fails(4, "backup a.maple - --compact --spool none");
    assert!(told.contains("none"), "{told}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.maple_command("backup a.maple - --compact --spool spool");
    let ended = common::Ended::of(command.stdout(full).output().unwrap());
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.starts_with("maple: cannot write the output: "), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(place.path("spool")).unwrap().count(), 0, "nothing is left");
    place.fails(2, "backup a.maple d.maple --spool spool");
    env.close().unwrap();
}

#[test]
fn a_backup_is_of_one_commit_while_another_process_writes() {
    let place = filled();
    let env = open(&place);
    let all = place.ok("dump a.maple");
    let mut txn = env.write().unwrap();
    txn.table(&Table::main()).unwrap().delete_range(..).unwrap();
    let streamed = place.maple("backup a.maple - -q");
    assert_eq!((streamed.code, &streamed.stderr[..]), (Some(0), ""));
    std::fs::write(place.path("b.maple"), &streamed.stdout).unwrap();
    place.check("b.maple");
    assert_eq!(place.ok("dump b.maple"), all);
    txn.commit().unwrap();
    place.check("a.maple");
}

#[test]
fn a_backup_that_is_not_taken_is_told_or_quiet() {
    let place = filled();
    place.ok("backup a.maple b.maple");
    assert!(place.fails(4, "backup a.maple b.maple").contains("b.maple exists"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = common::Ended::of(place.maple_command("backup a.maple -").stdout(full).output().unwrap());
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.starts_with("maple: cannot write the output: "), "{}", ended.stderr);
    let mut gone = place.maple_command("backup a.maple -");
    let mut child =
        gone.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = common::Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
}

#[test]
fn compacting_keeps_every_record_the_mode_and_the_link() {
    let place = filled();
    let before = place.path("a.maple").metadata().unwrap();
    std::fs::set_permissions(place.path("a.maple"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("a.maple", place.path("link")).unwrap();
    let all = place.ok("dump a.maple");
    let said: serde_json::Value = serde_json::from_str(&place.ok("compact link --json")).unwrap();
    let after = place.path("a.maple").metadata().unwrap();
    assert!(place.path("link").is_symlink());
    assert_eq!(after.permissions().mode() & 0o777, 0o640);
    assert_eq!(
        (said["bytes_before"].as_u64(), said["bytes"].as_u64()),
        (Some(before.len()), Some(after.len()))
    );
    assert!(after.len() < before.len() && after.ino() != before.ino());
    place.check("a.maple");
    assert_eq!(place.ok("dump a.maple"), all);
    place.ok("put a.maple more x");
    place.ok("compact a.maple");
    place.check("a.maple");
    assert_eq!(place.files(), ["a.maple", "a.maple-lock", "big", "link"]);
}

#[test]
fn a_file_in_use_or_of_two_names_is_not_compacted() {
    let place = filled();
    let before = std::fs::read(place.path("a.maple")).unwrap();
    let env = open(&place);
    let told = place.fails(4, "compact a.maple");
    assert!(told.contains("a.maple"), "{told}");
    env.close().unwrap();
    std::fs::hard_link(place.path("a.maple"), place.path("other")).unwrap();
    assert!(place.fails(4, "compact a.maple").contains("has 2 names (hard links)"));
    place.fails(4, "compact none.maple");
    assert!(std::fs::read(place.path("a.maple")).unwrap() == before);
    assert_eq!(place.files(), ["a.maple", "a.maple-lock", "big", "other"]);
}

#[test]
fn named_snapshots_are_let_go_of_only_if_that_is_said() {
    let place = Place::with_a_database();
    place.ok("snapshot create a.maple monday");
    place.ok("snapshot create a.maple tuesday");
    place.ok("put a.maple k later");
    let told = place.fails(4, "compact a.maple");
    assert!(
        told.contains("the snapshots \"monday\", \"tuesday\"") && told.contains("--drop-snapshots"),
        "{told}"
    );
    assert_eq!(place.ok("get a.maple k --snapshot monday"), "v\n");
    let said = place.ok("compact a.maple --drop-snapshots --json");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["dropped_snapshots"], serde_json::json!(["monday", "tuesday"]));
    assert_eq!(place.ok("get a.maple k"), "later\n");
    assert_eq!(place.ok("snapshot list a.maple"), "no snapshots\n");
    place.ok("snapshot create a.maple friday");
    let said = place.ok("compact a.maple --drop-snapshots");
    assert!(said.ends_with("\nlet go of the snapshot \"friday\"\n"), "{said}");
    place.check("a.maple");
}
