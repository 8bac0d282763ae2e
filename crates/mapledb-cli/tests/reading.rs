//! Read verbs: they create nothing, and work beside a live writer.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use mapledb::{Env, Table};

const READ_VERBS: [&str; 18] = [
    "info a.maple",
    "stat a.maple",
    "tables a.maple",
    "get a.maple k",
    "scan a.maple",
    "scan a.maple --count",
    "rank a.maple k",
    "nth a.maple 0",
    "sample a.maple --seed 1",
    "dump a.maple",
    "check a.maple",
    "copy a.maple b.maple",
    "copy a.maple b.maple --compact",
    "backup a.maple b.maple",
    "readers a.maple",
    "metrics a.maple",
    "page a.maple meta-a",
    "page a.maple 32",
];

#[allow(unsafe_code)]
fn open(place: &Place) -> Env {
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    unsafe { Env::options().open(place.path("a.maple")) }.unwrap()
}

#[test]
fn no_verb_but_create_makes_a_database() {
    let writing = ["put a.maple k v", "del a.maple k", "load a.maple -f csv"];
    for verb in READ_VERBS.into_iter().chain(writing) {
        let has_frozen = READ_VERBS.contains(&verb) && !verb.starts_with("page");
        for frozen in if has_frozen { &["", " --frozen"][..] } else { &[""] } {
            let place = Place::new();
            let ended = place.maple_reading(&format!("{verb}{frozen}"), b"key,value\n");
            assert_eq!(ended.code, Some(4), "{verb}{frozen}: {}", ended.stderr);
            assert!(ended.stderr.starts_with("maple: "), "{verb}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{verb}: {}", ended.stderr);
            assert_eq!(place.files(), Vec::<String>::new(), "{verb}{frozen}");
        }
    }
}

#[test]
fn read_verbs_leave_the_file_as_it_is() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple k v");
    let before = std::fs::read(place.path("a.maple")).unwrap();
    for verb in READ_VERBS {
        std::fs::remove_file(place.path("b.maple")).ok();
        place.ok(verb);
        assert!(std::fs::read(place.path("a.maple")).unwrap() == before, "{verb}");
    }
}

#[test]
fn what_is_no_database_is_told_and_left_alone() {
    for verb in READ_VERBS.into_iter().filter(|verb| !verb.starts_with("page")) {
        for (contents, why) in [(&b""[..], "is not a MapleDB file"), (&[7; 200_000], "is not a MapleDB file")]
        {
            let place = Place::new();
            std::fs::write(place.path("a.maple"), contents).unwrap();
            let told = place.fails(4, verb);
            assert!(told.contains(why), "{verb}: {told}");
            assert_eq!(std::fs::read(place.path("a.maple")).unwrap(), contents);
            assert!(!place.path("b.maple").exists());
        }
        let place = Place::new();
        std::fs::create_dir(place.path("a.maple")).unwrap();
        place.fails(4, verb);
    }
}

#[test]
fn read_verbs_work_beside_a_live_writer_and_see_what_is_committed() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple k committed");
    let env = open(&place);
    let mut txn = env.write().unwrap();
    let mut main = txn.table(&Table::main()).unwrap();
    main.put(b"k", b"not committed").unwrap();
    for number in 0..1000u32 {
        main.put(&number.to_be_bytes(), &[7; 500]).unwrap();
    }
    for verb in READ_VERBS {
        std::fs::remove_file(place.path("b.maple")).ok();
        place.ok(verb);
        if verb.ends_with("b.maple") {
            place.check("b.maple");
        }
    }
    assert_eq!(place.ok("get a.maple k"), "committed\n");
    assert_eq!(place.ok("scan a.maple --count"), "1\n");
    txn.commit().unwrap();
    assert_eq!(place.ok("get a.maple k"), "not committed\n");
    assert_eq!(place.ok("scan a.maple --count"), "1001\n");
    place.check("a.maple");
}

#[test]
fn readers_are_listed_with_how_far_they_are_behind() {
    let place = Place::new();
    place.ok("create a.maple");
    assert!(place.ok("readers a.maple").starts_with("no readers; the latest commit is "));
    place.ok("put a.maple k 0");
    let env = open(&place);
    let reader = env.read().unwrap();
    let another = reader.clone();
    place.ok("put a.maple k 1");
    place.ok("put a.maple k 2");
    let listed: serde_json::Value = serde_json::from_str(&place.ok("readers a.maple --json")).unwrap();
    let [listed] = &listed["readers"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(listed["pid"], std::process::id());
    assert_eq!(listed["txnid"], reader.txnid());
    assert_eq!(listed["behind"], 2);
    assert_eq!(listed["handles"], 2);
    drop((reader, another));
    assert!(place.ok("readers a.maple").starts_with("no readers"));
}

#[test]
fn frozen_verbs_leave_no_lock_file() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple k v");
    std::fs::remove_file(place.path("a.maple-lock")).unwrap();
    let before = std::fs::read(place.path("a.maple")).unwrap();
    for verb in READ_VERBS.into_iter().filter(|verb| !verb.contains("b.maple") && !verb.starts_with("page")) {
        place.ok(&format!("{verb} --frozen"));
        assert_eq!(place.files(), ["a.maple"], "{verb}");
    }
    assert_eq!(std::fs::read(place.path("a.maple")).unwrap(), before);
    place.fails(2, "put a.maple k v --frozen");
}

#[test]
fn a_reader_that_goes_away_is_quiet_success() {
    let place = Place::new();
    place.ok("create a.maple");
    let text: String = (0..20_000).map(|number| format!("key{number:06},{}\n", "v".repeat(50))).collect();
    place.maple_reading("load a.maple -f csv --no-header", text.as_bytes());
    for verb in [
        "scan a.maple",
        "scan a.maple --json",
        "dump a.maple",
        "dump a.maple -f print",
        "dump a.maple --main -f csv",
    ] {
        let mut child = place
            .maple_command(verb)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{verb}");
    }
}

#[test]
fn an_output_that_is_full_is_a_loud_failure_with_counts() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple k v");
    for verb in ["scan a.maple", "get a.maple k", "info a.maple", "dump a.maple", "--help", "--version"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.maple_command(verb).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{verb}");
        assert!(told.starts_with("maple: cannot write the output: "), "{verb}: {told}");
        assert!(
            !verb.starts_with("dump") || told.ends_with("(records written 1, records in all 1)\n"),
            "{told}"
        );
    }
}
