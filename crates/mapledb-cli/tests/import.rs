//! `maple import`: what it takes from LMDB files is what LMDB's own programs see in them, or nothing.
//!
//! Files of LMDB 0.9 are made by it. Those of 1.0 lie beside the tests of `mapledb-lmdb`.
#![allow(clippy::unwrap_used, deprecated)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{Place, end};
use heed::types::Bytes;
use heed::{CommitOrAbort, DatabaseFlags, Env, EnvOpenOptions};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[allow(unsafe_code)]
fn open(dir: &Path) -> Env {
    std::fs::create_dir_all(dir).unwrap();
    // SAFETY: LMDB alone writes to the file in the test's own directory while it is open.
    unsafe { EnvOpenOptions::new().map_size(64 << 20).max_dbs(8).open(dir) }.unwrap()
}

fn store(env: &Env, name: Option<&str>, flags: DatabaseFlags, pairs: &Pairs) {
    let txn = env.write_txn().unwrap();
    let done = env.create_databases_and_commit(txn, |opener, txn| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.flags(flags);
        if let Some(name) = name {
            options.name(name);
        }
        let db = options.create(txn)?;
        pairs.iter().try_for_each(|(key, value)| db.put(txn, key, value))?;
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(()))
    });
    done.unwrap().unwrap_commit();
}

/// A directory `lmdb` with these databases, which nobody has open.
fn with_lmdb(databases: &[(Option<&str>, DatabaseFlags, Pairs)]) -> Place {
    let place = Place::new();
    let env = open(&place.path("lmdb"));
    for (name, flags, pairs) in databases {
        store(&env, *name, *flags, pairs);
    }
    env.prepare_for_closing().wait();
    place
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mapledb-lmdb/tests/golden").join(name)
}

/// Pairs without order, of all lengths.
fn scattered(count: u64, key_len: usize, value_len: usize) -> Pairs {
    let mix = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let fill =
        |seed: u64, len: usize| (0..len as u64).map(|at| (mix(seed + at) >> 24) as u8).collect::<Vec<u8>>();
    let len = |number: u64, max: usize| 8 + (mix(number) as usize % (max - 7));
    let key =
        |number: u64| [&mix(number).to_be_bytes()[..], &fill(number, len(number, key_len) - 8)].concat();
    (0..count).map(|number| (key(number), fill(number * 3, len(number * 7, value_len)))).collect()
}

/// The same values under seven keys.
fn few_keys(pairs: Pairs) -> Pairs {
    pairs.into_iter().enumerate().map(|(at, (_, value))| (vec![b'k', at as u8 % 7], value)).collect()
}

fn data_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().filter(|line| line.starts_with(' ')).map(str::to_owned).collect()
}

#[test]
fn an_import_equals_mdb_dump_record_for_record() {
    let integers =
        |count: u32| (0..count).map(|n| ((n * 77).to_ne_bytes().to_vec(), vec![7; n as usize % 50]));
    let place = with_lmdb(&[
        (None, DatabaseFlags::empty(), scattered(100, 40, 100)),
        (Some("plain"), DatabaseFlags::empty(), scattered(5000, 500, 300)),
        (Some("long"), DatabaseFlags::empty(), scattered(100, 20, 90_000)),
        (Some("integers"), DatabaseFlags::INTEGER_KEY, integers(3000).collect()),
        (Some("backwards"), DatabaseFlags::REVERSE_KEY, scattered(1000, 100, 100)),
        (Some("single"), DatabaseFlags::DUP_SORT, scattered(1000, 100, 100)),
        (Some("several"), DatabaseFlags::DUP_SORT, few_keys(scattered(3000, 60, 400))),
        (Some("fixed"), DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED, few_keys(scattered(3000, 60, 8))),
        (Some("empty"), DatabaseFlags::empty(), Vec::new()),
    ]);
    let said = place.maple("import lmdb a.maple");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .starts_with("loaded 16,200 records into 9 tables: 16,200 new")
    );
    assert!(!said.stderr.contains("its keys"), "{}", said.stderr);
    place.check("a.maple");
    if place.command("mdb_dump").arg("-V").output().is_err() {
        let line = "SKIP import: mdb_dump not installed (Debian package lmdb-utils)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let names = ["plain", "long", "integers", "backwards", "single", "several", "fixed", "empty"];
    for name in names {
        let theirs = data_lines(&end(place.command("mdb_dump").args(["-s", name, "lmdb"])).stdout);
        let ours = data_lines(place.ok(&format!("dump a.maple -q -f bytevalue -t {name}")).as_bytes());
        assert!(ours == theirs, "{name}");
    }
    let names = names.map(|name| format!(" {}", data_encoding::HEXLOWER.encode(name.as_bytes())));
    let theirs = data_lines(&end(place.command("mdb_dump").arg("lmdb")).stdout);
    let theirs: Vec<_> =
        theirs.chunks(2).filter(|pair| !names.contains(&pair[0])).flatten().cloned().collect();
    assert_eq!(data_lines(place.ok("dump a.maple -q -f bytevalue --main").as_bytes()), theirs);
    assert_eq!(theirs.len(), 200);
}

/// What LMDB reads of its main database, as the data lines of a dump.
fn read_by_lmdb(place: &Place, flags: DatabaseFlags) -> Vec<String> {
    let env = open(&place.path("lmdb"));
    let mut lines = Vec::new();
    let txn = env.write_txn().unwrap();
    let done = env.create_databases_and_commit(txn, |opener, txn| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.flags(flags);
        let db = options.create(txn)?;
        for pair in db.iter(txn)? {
            let (key, value) = pair?;
            lines.extend([key, value].map(|bytes| format!(" {}", data_encoding::HEXLOWER.encode(bytes))));
        }
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(()))
    });
    done.unwrap().unwrap_commit();
    env.prepare_for_closing().wait();
    lines
}

#[test]
fn a_main_database_with_duplicates_becomes_the_multimap_that_is_named_for_it() {
    let dup = DatabaseFlags::DUP_SORT;
    let integers = |count: u32, keys: u32| {
        (0..count).map(move |n| ((n % keys * 77).to_ne_bytes().to_vec(), (n * 31).to_ne_bytes().to_vec()))
    };
    let table: [(&str, DatabaseFlags, Pairs); 8] = [
        ("short", dup, few_keys(scattered(20, 9, 9))),
        ("several", dup, few_keys(scattered(3000, 60, 400))),
        ("many keys", dup, scattered(2000, 100, 100)),
        ("fixed", dup | DatabaseFlags::DUP_FIXED, few_keys(scattered(3000, 60, 8))),
        (
            "integers",
            dup | DatabaseFlags::DUP_FIXED | DatabaseFlags::INTEGER_DUP,
            integers(5000, 3).collect(),
        ),
        ("integer keys", dup | DatabaseFlags::INTEGER_KEY, integers(3000, 900).collect()),
        ("backwards", dup | DatabaseFlags::REVERSE_DUP, few_keys(scattered(3000, 60, 60))),
        ("reverse keys", dup | DatabaseFlags::REVERSE_KEY, scattered(1000, 100, 100)),
    ];
    let has_mdb_dump = Place::new().command("mdb_dump").arg("-V").output().is_ok();
    for (name, flags, pairs) in table {
        let place = with_lmdb(&[(None, flags, pairs)]);
        let said = place.maple("import lmdb a.maple --main-as all");
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{name}");
        place.check("a.maple");
        let ours = data_lines(place.ok("dump a.maple -q -f bytevalue -t all").as_bytes());
        assert!(ours.len() >= 40 && ours == read_by_lmdb(&place, flags), "{name}");
        assert_eq!(place.ok("scan a.maple --count").trim(), "0", "{name}: nothing in the default table");
        if has_mdb_dump {
            assert!(ours == data_lines(&end(place.command("mdb_dump").arg("lmdb")).stdout), "{name}");
        }
    }
    if !has_mdb_dump {
        let line = "SKIP import: mdb_dump not installed (Debian package lmdb-utils)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn a_main_database_with_duplicates_is_refused_where_only_the_default_table_is_left_for_it() {
    let pairs = few_keys(scattered(50, 9, 9));
    let place = with_lmdb(&[(None, DatabaseFlags::DUP_SORT, pairs)]);
    let said = place.fails(3, "import lmdb a.maple");
    assert!(said.contains("several values under one key") && said.contains("--main-as NAME"), "{said}");
    assert_eq!(place.files(), ["lmdb"]);
    // Into a multimap that is there, and never into a table that is.
    place.ok("create a.maple -t many --multimap");
    place.ok("put a.maple -t many k0 v");
    assert!(place.ok("import lmdb a.maple --main-as many").contains("50 new"));
    assert_eq!(place.ok("scan a.maple -t many --count").trim(), "51");
    place.ok("create a.maple -t one");
    let said = place.fails(3, "import lmdb a.maple --main-as one");
    assert!(said.contains("holds one value to a key"), "{said}");
    place.check("a.maple");
}

#[test]
fn a_main_database_without_duplicates_keeps_its_order_under_a_name() {
    let keys: Vec<u32> = vec![1, 256, 2, 65_536];
    let pairs: Pairs = keys.iter().map(|n| (n.to_ne_bytes().to_vec(), b"v".to_vec())).collect();
    let place = with_lmdb(&[(None, DatabaseFlags::INTEGER_KEY, pairs)]);
    place.ok("import lmdb a.maple --main-as numbers");
    assert!(place.ok("tables a.maple").contains("integer"));
    let scanned = place.ok("scan a.maple -t numbers --keys-only");
    let keys: Vec<&str> = scanned.lines().collect();
    assert_eq!(keys, ["hex:01000000", "hex:02000000", "hex:00010000", "hex:00000100"]);
    let place = with_lmdb(&[
        (None, DatabaseFlags::empty(), vec![(b"k".to_vec(), b"v".to_vec())]),
        (Some("t"), DatabaseFlags::empty(), vec![(b"k".to_vec(), b"v".to_vec())]),
    ]);
    let said = place.fails(2, "import lmdb a.maple --main-as t");
    assert!(said.contains("--main-as \"t\" is also the name of a database"), "{said}");
    assert!(!place.path("a.maple").exists());
}

#[test]
fn files_of_lmdb_1_0_are_imported() {
    for name in ["format-2.mdb", "format-3.mdb"] {
        let place = Place::new();
        std::fs::copy(golden(name), place.path("data.mdb")).unwrap();
        let said = place.ok("import data.mdb a.maple --table plain --main -q");
        assert!(said.starts_with("loaded 102 records into 2 tables: 102 new, 0 replaced"), "{said}");
        assert_eq!(place.maple_with(&["get", "a.maple", "-t", "plain", "key 42"]).stdout, b"value 42\n");
        assert_eq!(place.ok("get a.maple -t plain long").trim_end(), "x".repeat(5000));
    }
}

#[test]
fn several_values_under_one_key_become_a_multimap() {
    let place = Place::new();
    std::fs::copy(golden("format-3.mdb"), place.path("data.mdb")).unwrap();
    place.ok("import data.mdb a.maple");
    place.check("a.maple");
    let tables = place.ok("tables a.maple --json");
    assert!(tables.contains("\"duplicates\":{\"order\":\"bytewise\",\"len_bytes\":null}"), "{tables}");
    let values = place.ok("get a.maple -t duplicates few");
    assert!(values.lines().count() > 1, "{values}");
    // There and back: the same pairs.
    let dumped = place.ok("dump a.maple -q -t duplicates");
    place.ok("create b.maple");
    let loaded = place.maple_reading("load b.maple", dumped.as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    assert_eq!(place.ok("dump b.maple -q -t duplicates"), dumped);
    place.check("b.maple");
}

#[test]
fn a_source_in_use_is_refused_unless_it_is_asked_for() {
    let place = Place::new();
    let env = open(&place.path("lmdb"));
    store(&env, None, DatabaseFlags::empty(), &vec![(b"k".to_vec(), b"v".to_vec())]);
    let said = place.fails(4, "import lmdb a.maple");
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    assert!(said.contains("--in-use"), "{said}");
    assert!(!place.path("a.maple").exists());
    place.ok("import lmdb a.maple --in-use");
    assert_eq!(place.ok("get a.maple k"), "v\n");
    env.prepare_for_closing().wait();
    place.ok("import lmdb b.maple");
}

#[test]
fn what_is_no_lmdb_file_is_refused_and_nothing_is_made() {
    let place = Place::with_a_database();
    std::fs::write(place.path("text"), "hello").unwrap();
    std::fs::write(place.path("empty"), "").unwrap();
    let before = place.files();
    let table = [
        (3, "import a.maple b.maple", "it is a MapleDB file already"),
        (3, "import text b.maple", "it does not begin with LMDB's magic"),
        (3, "import empty b.maple", "it is empty"),
        (4, "import missing b.maple", "cannot open missing: "),
        (4, "import . b.maple", "cannot open ./data.mdb: "),
        (2, "import text", "required arguments"),
    ];
    for (code, command, why) in table {
        let said = place.fails(code, command);
        assert!(said.contains(why), "{command}: {said}");
    }
    assert_eq!(place.files(), before);
}

#[test]
fn a_damaged_source_leaves_nothing_behind() {
    let place = with_lmdb(&[(Some("t"), DatabaseFlags::empty(), scattered(5000, 100, 300))]);
    let path = place.path("lmdb/data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let mut leaves = bytes
        .chunks(4096)
        .enumerate()
        .filter(|(page, bytes)| *page > 300 && bytes[10] == 2)
        .map(|(page, _)| page);
    let at = leaves.next_back().unwrap() * 4096;
    bytes[at..at + 2].copy_from_slice(&[0, 0]);
    std::fs::write(&path, bytes).unwrap();
    place.ok("create a.maple");
    place.ok("put a.maple kept as-it-was");
    let said = place.fails(3, "import lmdb a.maple --json");
    assert!(said.contains(&format!("page {}: it says that it is page 0", at / 4096)), "{said}");
    assert!(said.contains("\"records_loaded\":0"), "{said}");
    assert_eq!(place.ok("scan a.maple"), "kept\tas-it-was\n");
    place.check("a.maple");
}

#[test]
fn keys_and_values_may_be_given_types_and_are_checked_against_them() {
    let pairs: Pairs =
        (0..100u64).map(|n| (n.to_be_bytes().to_vec(), format!("value {n}").into_bytes())).collect();
    let place = with_lmdb(&[(Some("typed"), DatabaseFlags::empty(), pairs)]);
    place.ok("import lmdb a.maple --keys u64 --values str");
    assert_eq!(place.ok("get a.maple -t typed 42"), "value 42\n");
    let said = place.fails(3, "import lmdb b.maple --keys u32");
    assert!(said.contains("record 1 of database \"typed\": key: "), "{said}");
    assert_eq!(place.files(), ["a.maple", "a.maple-lock", "lmdb"], "of the one that failed nothing is left");
}

#[test]
fn records_that_are_there_are_treated_as_is_said() {
    let place = with_lmdb(&[(None, DatabaseFlags::empty(), vec![(b"k".to_vec(), b"new".to_vec())])]);
    place.ok("create a.maple");
    place.ok("put a.maple k old");
    assert!(
        place.fails(3, "import lmdb a.maple --existing refuse").contains("the key \"k\" is there already")
    );
    place.ok("import lmdb a.maple --existing keep");
    assert_eq!(place.ok("get a.maple k"), "old\n");
    place.ok("import lmdb a.maple");
    assert_eq!(place.ok("get a.maple k"), "new\n");
    assert!(place.fails(4, "import lmdb a.maple -t nothing").contains("there is no database \"nothing\""));
}

/// The canary of the comparison with `mdb_dump`.
#[test]
fn a_record_that_differs_would_be_seen() {
    let lines = |records: &str| data_lines(format!("VERSION=3\nHEADER=END\n{records}DATA=END\n").as_bytes());
    let ours = lines(" 61\n 62\n 63\n 64\n");
    assert_eq!(ours.len(), 4);
    assert!(ours != lines(" 61\n 62\n 63\n 63\n"), "another value");
    assert!(ours != lines(" 63\n 64\n 61\n 62\n"), "another order");
}

/// The same of what was imported: one pair more, less or with another value is told from what LMDB has.
#[test]
fn an_import_that_is_changed_by_one_pair_is_no_longer_that_of_the_source() {
    for name in ["plain", "several", "fixed"] {
        let flags = match name {
            "plain" => DatabaseFlags::empty(),
            "several" => DatabaseFlags::DUP_SORT,
            _ => DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED,
        };
        let is_multimap = name != "plain";
        let pairs = if is_multimap { few_keys(scattered(700, 60, 8)) } else { scattered(700, 60, 8) };
        let place = with_lmdb(&[(Some(name), flags, pairs)]);
        place.ok("import lmdb a.maple");
        let lines = || data_lines(place.ok(&format!("dump a.maple -q -f bytevalue -t {name}")).as_bytes());
        let sound = lines();
        assert!(sound.len() > 1000, "{name}: {} lines", sound.len());
        let (key, value) = (format!("hex:{}", sound[200].trim()), format!("hex:{}", sound[201].trim()));
        let taken = if is_multimap { format!("{key} --value {value}") } else { key.clone() };
        let others = [
            format!("del a.maple -t {name} {taken}"),
            format!("put a.maple -t {name} {key} hex:fefefefefefefefe"),
        ];
        for change in others {
            place.ok(&change);
            assert!(lines() != sound, "{name}: {change}");
            place.ok(&format!("put a.maple -t {name} {key} {value}"));
            if is_multimap && change.starts_with("put") {
                place.ok(&format!("del a.maple -t {name} {key} --value hex:fefefefefefefefe"));
            }
            assert!(lines() == sound, "{name}: {change}, taken back");
        }
        place.check("a.maple");
    }
}
