//! Berkeley text to and from the programs it comes from: `db_dump` and `db_load`, `mdb_dump` and `mdb_load`.
//!
//! What is compared is records, never the other program's exit code. Where a program is not installed its test says
//! SKIP.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;

use common::{Ended, Place, end, feed, hostile, json_lines};

/// Whether the programs are there. One line says SKIP for each test that has to do without, to be counted.
fn has(programs: &[&str], package: &str) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| std::process::Command::new(program).arg("-V").output().is_err())
        .collect();
    if !missing.is_empty() {
        let line = format!(
            "SKIP interchange: {missing:?} not installed (Debian package {package})
"
        );
        // Past the test harness, which keeps what macros print to itself.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing.is_empty()
}

fn with_records(pairs: &[(Vec<u8>, Vec<u8>)]) -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    assert_eq!(place.maple_reading("load a.maple", &json_lines(pairs)).code, Some(0));
    place
}

fn data_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().filter(|line| line.starts_with(' ')).map(str::to_owned).collect()
}

fn dump(place: &Place, format: &str) -> Vec<u8> {
    place.ok(&format!("dump a.maple -q -f {format}")).into_bytes()
}

/// LMDB takes neither empty keys nor keys longer than 511 bytes.
fn for_lmdb() -> Vec<(Vec<u8>, Vec<u8>)> {
    hostile().into_iter().filter(|(key, _)| !key.is_empty() && key.len() <= 511).collect()
}

fn run(place: &Place, program: &str, arguments: &[&str], input: &[u8]) -> Ended {
    let ended = feed(place.command(program).args(arguments), input);
    // mdb_load says which header lines it passes over.
    let complaints = ended.stderr.lines().filter(|line| !line.contains("unrecognized keyword ignored"));
    assert_eq!(complaints.collect::<String>(), "", "{program}");
    ended
}

#[test]
fn db_load_and_db_dump_agree_with_us_record_for_record() {
    if !has(&["db_load", "db_dump"], "db-util") {
        return;
    }
    let place = with_records(&hostile());
    for (format, options) in [("bytevalue", &["b.db"][..]), ("print", &["-p", "b.db"])] {
        let ours = dump(&place, format);
        run(&place, "db_load", &["b.db"], &ours);
        let theirs = end(place.command("db_dump").args(options)).stdout;
        assert!(data_lines(&theirs) == data_lines(&ours) || format == "print", "{format}");
        std::fs::write(place.path("theirs"), &theirs).unwrap();
        place.ok(&format!("load --create {format}.maple theirs"));
        assert!(place.ok(&format!("dump {format}.maple -q")) == place.ok("dump a.maple -q"), "{format}");
        std::fs::remove_file(place.path("b.db")).unwrap();
    }
}

#[test]
fn mdb_load_and_mdb_dump_agree_with_us_record_for_record() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let place = with_records(&for_lmdb());
    for format in ["bytevalue", "print"] {
        std::fs::create_dir_all(place.path(format)).unwrap();
        let ours = dump(&place, format);
        run(&place, "mdb_load", &[format], &ours);
        let theirs = end(place.command("mdb_dump").arg(format)).stdout;
        assert!(data_lines(&theirs) == data_lines(&dump(&place, "bytevalue")), "{format}");
        std::fs::write(place.path("theirs"), &theirs).unwrap();
        place.ok(&format!("load --create {format}.maple theirs"));
        assert!(place.ok(&format!("dump {format}.maple -q")) == place.ok("dump a.maple -q"), "{format}");
    }
}

#[test]
fn named_tables_go_to_lmdb_and_back() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let place = Place::new();
    place.ok("create a.maple -t users");
    place.ok("create a.maple -t cités");
    place.ok("put a.maple -t users k v");
    place.ok("put a.maple -t cités Łódź hex:00");
    std::fs::create_dir(place.path("lmdb")).unwrap();
    // mdb_load makes one named database a run: each section is one of its own.
    for table in ["users", "cités"] {
        run(
            &place,
            "mdb_load",
            &["-s", table, "lmdb"],
            place.ok(&format!("dump a.maple -q -f print -t {table}")).as_bytes(),
        );
    }
    let theirs = end(place.command("mdb_dump").args(["-a", "lmdb"])).stdout;
    std::fs::write(place.path("theirs"), theirs).unwrap();
    place.ok("load --create b.maple theirs");
    assert_eq!(place.ok("dump a.maple -q"), place.ok("dump b.maple -q"));
}

#[test]
fn several_databases_of_one_berkeley_file_become_tables() {
    if !has(&["db_load", "db_dump"], "db-util") {
        return;
    }
    let place = Place::new();
    place.ok("create a.maple -t one");
    place.ok("create a.maple -t two");
    place.ok("put a.maple -t one k v");
    place.ok("put a.maple -t two k w");
    for table in ["one", "two"] {
        let ours = place.ok(&format!("dump a.maple -q -f bytevalue -t {table}"));
        run(&place, "db_load", &["-c", &format!("database={table}"), "b.db"], ours.as_bytes());
    }
    let theirs = end(place.command("db_dump").arg("b.db")).stdout;
    std::fs::write(place.path("theirs"), theirs).unwrap();
    place.ok("load --create b.maple theirs");
    assert_eq!(place.ok("dump a.maple -q"), place.ok("dump b.maple -q"));
}

#[test]
fn what_lmdb_has_and_we_do_not_is_refused() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path("lmdb")).unwrap();
    let text = "VERSION=3\nformat=bytevalue\ndatabase=d\ntype=btree\nduplicates=1\ndupsort=1\nHEADER=END\n 61\n 62\n 61\n 63\nDATA=END\n";
    run(&place, "mdb_load", &["-s", "d", "lmdb"], text.as_bytes());
    let theirs = end(place.command("mdb_dump").args(["-s", "d", "lmdb"])).stdout;
    place.ok("create a.maple");
    let ended = place.maple_reading("load a.maple", &theirs);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("which MapleDB does not have yet"), "{}", ended.stderr);
}

#[test]
fn bare_backslashes_of_old_mdb_dump_are_told_or_told_of() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let place = with_records(&[(b"path".to_vec(), b"c:\\dir".to_vec())]);
    std::fs::create_dir(place.path("lmdb")).unwrap();
    run(&place, "mdb_load", &["lmdb"], &dump(&place, "bytevalue"));
    let theirs = end(place.command("mdb_dump").args(["-p", "lmdb"])).stdout;
    let escapes = theirs.windows(2).any(|two| two == b"\\\\");
    let ended = place.maple_reading("load a.maple", &theirs);
    if escapes {
        assert_eq!(place.ok("get a.maple path"), "c:\\dir\n");
    } else {
        assert_eq!(ended.code, Some(3));
        assert!(ended.stderr.contains("a backslash that is not doubled"), "{}", ended.stderr);
    }
}
