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
fn several_values_to_a_key_are_refused_for_the_default_table() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path("lmdb")).unwrap();
    let text = "VERSION=3\nformat=bytevalue\ndatabase=d\ntype=btree\nduplicates=1\ndupsort=1\nHEADER=END\n 61\n 62\n 61\n 63\nDATA=END\n";
    run(&place, "mdb_load", &["-s", "d", "lmdb"], text.as_bytes());
    let theirs = end(place.command("mdb_dump").args(["-s", "d", "lmdb"])).stdout;
    place.ok("create a.maple");
    // The dump does not name a table, and the default table holds one value to a key.
    let ended = place.maple_reading(
        "load a.maple",
        &theirs
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.starts_with(b"database="))
            .collect::<Vec<_>>()
            .join(&b'\n'),
    );
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("the default table holds one value to a key"), "{}", ended.stderr);
}

/// Text of records under a header with these lines.
fn text(header: &str, lines: &[&str]) -> String {
    let data: String = lines.iter().map(|line| format!(" {line}\n")).collect();
    format!("VERSION=3\nformat=bytevalue\n{header}\nHEADER=END\n{data}DATA=END\n")
}

/// Whether the refusal names this header line, as the other program wrote it.
fn is_refused_for(place: &Place, theirs: &[u8], header: &str) {
    let wrote = String::from_utf8_lossy(theirs);
    assert!(wrote.lines().any(|line| line == header), "{header}: {wrote}");
    place.ok("create refusing.maple");
    let ended = place.maple_reading("load refusing.maple", theirs);
    assert_eq!(ended.code, Some(3), "{header}: {}", ended.stderr);
    assert!(ended.stderr.contains(&format!(": {header} asks for")), "{header}: {}", ended.stderr);
    assert_eq!(place.ok("scan refusing.maple --count"), "0\n");
    for file in ["refusing.maple", "refusing.maple-lock"] {
        std::fs::remove_file(place.path(file)).unwrap();
    }
}

/// A database of LMDB's is loaded with the order and the duplicates it has, dumped with the same header lines, and loaded by
/// LMDB again.
fn goes_there_and_back(order: &str, lines: &[&str]) {
    let place = Place::new();
    for directory in ["lmdb", "again"] {
        std::fs::create_dir(place.path(directory)).unwrap();
    }
    let ours = text(&format!("database=d\ntype=btree\n{order}"), lines);
    run(&place, "mdb_load", &["-s", "d", "lmdb"], ours.as_bytes());
    let dump = |directory: &str| end(place.command("mdb_dump").args(["-s", "d", directory])).stdout;
    let theirs = dump("lmdb");
    place.ok("create a.maple");
    let loaded = place.maple_reading("load a.maple", &theirs);
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    place.check("a.maple");
    let dumped = place.ok("dump a.maple -q -f bytevalue");
    for header in order.lines() {
        assert!(dumped.lines().any(|line| line == header), "{header}: {dumped}");
    }
    assert_eq!(data_lines(dumped.as_bytes()), data_lines(&theirs), "{order}");
    run(&place, "mdb_load", &["-s", "d", "again"], dumped.as_bytes());
    assert_eq!(data_lines(&dump("again")), data_lines(&theirs), "{order}");
}

#[test]
fn each_flag_that_mdb_dump_writes_is_understood() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    // 256, 2 and 65,536 as integers of four bytes: neither ascending as bytes nor from their ends.
    let numbers = ["00010000", "02000000", "00000100"];
    for order in ["integerkey=1", "reversekey=1"] {
        let lines: Vec<_> = numbers.iter().flat_map(|number| [*number, "61"]).collect();
        goes_there_and_back(order, &lines);
    }
    for flags in ["", "dupfixed=1", "dupfixed=1\nintegerdup=1", "reversedup=1"] {
        let lines: Vec<_> = numbers.iter().flat_map(|number| ["6b6579", *number]).collect();
        goes_there_and_back(format!("duplicates=1\ndupsort=1\n{flags}").trim_end(), &lines);
    }
    // Sizes and readers of its file are passed over.
    let place = Place::new();
    std::fs::create_dir(place.path("lmdb")).unwrap();
    run(
        &place,
        "mdb_load",
        &["lmdb"],
        text("type=btree\nmapsize=8388608\nmaxreaders=99", &["61", "62"]).as_bytes(),
    );
    let theirs = end(place.command("mdb_dump").arg("lmdb")).stdout;
    for line in ["mapsize=", "maxreaders=", "db_pagesize="] {
        assert!(String::from_utf8_lossy(&theirs).contains(line));
    }
    place.ok("create a.maple");
    assert_eq!(place.maple_reading("load a.maple", &theirs).code, Some(0));
    assert_eq!(place.ok("scan a.maple"), "a\tb\n");
}

#[test]
fn each_kind_of_database_that_db_dump_writes_is_understood() {
    if !has(&["db_load", "db_dump"], "db-util") {
        return;
    }
    let place = Place::new();
    let dumped = |file: &str, options: &[&str], input: String| {
        run(&place, "db_load", &[options, &[file]].concat(), input.as_bytes());
        end(place.command("db_dump").arg(file)).stdout
    };
    let records = &["6b", "76", "6c", "77"];
    let hash = dumped("hash.db", &[], text("type=hash", records));
    place.ok("create a.maple");
    assert_eq!(place.maple_reading("load a.maple", &hash).code, Some(0));
    assert_eq!(place.ok("scan a.maple"), "k\tv\nl\tw\n");
    let duplicates = text("type=btree\nduplicates=1\ndupsort=1", records);
    let duplicates = dumped("duplicates.db", &[], duplicates);
    assert_eq!(place.maple_reading("load a.maple -t many", &duplicates).code, Some(0));
    assert_eq!(place.ok("scan a.maple -t many"), "k\tv\nl\tw\n");
    is_refused_for(&place, &dumped("numbered.db", &[], text("type=btree\nrecnum=1", records)), "recnum=1");
    let recno = dumped("recno.db", &["-t", "recno"], text("type=recno\nkeys=0", &["76", "77"]));
    let refused = place.maple_reading("load a.maple", &recno);
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("type=recno has no keys"), "{}", refused.stderr);
}

/// Bytes of all kinds, and backslashes before what looks like their escapes.
fn random(seed: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = seed;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut bytes = move |min: u64| -> Vec<u8> {
        let len = min + next(40);
        let kind = next(3);
        let byte = |next: &mut dyn FnMut(u64) -> u64| match kind {
            0 => next(256) as u8,
            1 => b"\\\\\\09afAFn \"\n"[next(13) as usize],
            _ => 0x20 + next(0x5f) as u8,
        };
        (0..len).map(|_| byte(&mut next)).collect()
    };
    let pairs: std::collections::BTreeMap<_, _> = (0..500).map(|_| (bytes(1), bytes(0))).collect();
    pairs.into_iter().collect()
}

#[test]
fn random_bytes_come_back_from_every_program_in_every_format() {
    let mut programs = Vec::new();
    if has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        programs.push(("mdb_load", "mdb_dump", "lmdb"));
    }
    if has(&["db_load", "db_dump"], "db-util") {
        programs.push(("db_load", "db_dump", "b.db"));
    }
    for seed in 0..5 {
        let place = with_records(&random(seed));
        for (load, dump_program, file) in &programs {
            for (format, options) in [("bytevalue", &[][..]), ("print", &["-p"])] {
                if *file == "lmdb" {
                    std::fs::create_dir(place.path(file)).unwrap();
                }
                run(&place, load, &[file], &dump(&place, format));
                let exact = end(place.command(dump_program).arg(file)).stdout;
                assert!(
                    data_lines(&exact) == data_lines(&dump(&place, "bytevalue")),
                    "seed {seed}: {load} {format}"
                );
                let theirs = end(place.command(dump_program).args(options).arg(file)).stdout;
                std::fs::write(place.path("theirs"), &theirs).unwrap();
                let back = place.maple("load --create back.maple theirs");
                if *dump_program == "mdb_dump" && format == "print" {
                    // It may or may not double backslashes: what cannot be told is not guessed.
                    assert_eq!(back.code, Some(3), "seed {seed}: {}", back.stderr);
                    assert!(back.stderr.contains("a backslash"), "seed {seed}: {}", back.stderr);
                    assert!(!place.path("back.maple").exists(), "what the load made is taken back");
                } else {
                    assert_eq!(back.code, Some(0), "seed {seed}: {}", back.stderr);
                    assert!(
                        place.ok("dump back.maple -q") == place.ok("dump a.maple -q"),
                        "seed {seed}: {format}"
                    );
                }
                for file in ["back.maple", "back.maple-lock", "theirs", "b.db"] {
                    let _ = std::fs::remove_file(place.path(file));
                }
                let _ = std::fs::remove_dir_all(place.path("lmdb"));
            }
        }
    }
}

#[test]
fn backslashes_of_mdb_dump_are_never_guessed() {
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    // The second looks like an escape of one byte if it is not doubled.
    for value in ["c:\\temp", "c:\\data"] {
        let place = with_records(&[(b"path".to_vec(), value.as_bytes().to_vec())]);
        std::fs::create_dir(place.path("lmdb")).unwrap();
        run(&place, "mdb_load", &["lmdb"], &dump(&place, "bytevalue"));
        let theirs = end(place.command("mdb_dump").args(["-p", "lmdb"])).stdout;
        place.ok("create b.maple");
        let ended = place.maple_reading("load b.maple", &theirs);
        assert_eq!(ended.code, Some(3), "{value}");
        assert!(ended.stderr.contains("a backslash"), "{}", ended.stderr);
        if theirs.windows(2).any(|two| two == b"\\\\") {
            assert_eq!(place.maple_reading("load b.maple --format print", &theirs).code, Some(0));
            assert_eq!(place.ok("get b.maple path").trim_end(), value);
        }
    }
    // Without any, print is as exact as bytevalue.
    let place = with_records(&[(b"path".to_vec(), b"/tmp".to_vec())]);
    std::fs::create_dir(place.path("lmdb")).unwrap();
    run(&place, "mdb_load", &["lmdb"], &dump(&place, "print"));
    let theirs = end(place.command("mdb_dump").args(["-p", "lmdb"])).stdout;
    place.ok("create b.maple");
    assert_eq!(place.maple_reading("load b.maple", &theirs).code, Some(0));
    assert_eq!(place.ok("get b.maple path"), "/tmp\n");
}

#[test]
fn a_dump_larger_than_the_map_of_lmdb_is_loaded_where_it_says_how_large() {
    let place = Place::new();
    place.ok("create a.maple");
    let rows: String = (0..40_000).map(|n| format!("key{n:06},{}\n", "v".repeat(120))).collect();
    assert_eq!(place.maple_reading("load a.maple -f csv --no-header", rows.as_bytes()).code, Some(0));
    let told = place.ok("dump a.maple -q -f bytevalue --mapsize 123456789");
    assert!(told.contains("\nmapsize=123456789\n"), "{}", &told[..200]);
    for wrong in ["-f print --mapsize auto", "--mapsize auto", "-f bytevalue --mapsize much"] {
        place.fails(2, &format!("dump a.maple {wrong}"));
    }
    place.check("a.maple");
    if !has(&["mdb_load", "mdb_dump"], "lmdb-utils") {
        return;
    }
    let ours = place.ok("dump a.maple -q -f bytevalue --mapsize auto").into_bytes();
    run(&place, "mdb_load", &["-n", "lmdb"], &ours);
    let theirs = end(place.command("mdb_dump").args(["-n", "lmdb"])).stdout;
    assert!(data_lines(&theirs) == data_lines(&ours));
    place.ok("import lmdb b.maple");
    assert!(place.ok("dump b.maple -q") == place.ok("dump a.maple -q"));
}
