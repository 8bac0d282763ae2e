//! What is dumped can be loaded again, in every format, and is the same.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, hostile, json_lines};
use mapledb::{Env, Multimap, Table};

fn with_tables() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    let loaded = place.maple_reading("load a.maple -f jsonl", &json_lines(&hostile()));
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    place.ok("create a.maple -t users --keys u64 --values str");
    place.ok("create a.maple -t events --keys (u64,str) --values bytes");
    place.ok("create a.maple -t empty");
    let users: String = (0..500).map(|number| format!("{number},Ida {number}\n")).collect();
    place.maple_reading("load a.maple -t users -f csv --no-header", users.as_bytes());
    place.ok("put a.maple -t events [7,\"x\"] hex:00ff");
    place
}

#[test]
fn every_table_comes_back_with_its_types_through_json() {
    let place = with_tables();
    place.ok("dump a.maple -o a.jsonl");
    place.ok("load --create b.maple a.jsonl");
    assert_eq!(place.ok("dump b.maple").lines().count(), hostile().len() + 500 + 1 + 4 + 1);
    assert!(place.ok("dump a.maple") == place.ok("dump b.maple"));
    let no_txnid = |text: String| text.split_once("\"tables\"").unwrap().1.to_owned();
    assert_eq!(no_txnid(place.ok("tables --json a.maple")), no_txnid(place.ok("tables --json b.maple")));
    place.check("b.maple");
}

/// Else whoever upgrades by a dump would give numbers out twice.
#[test]
#[allow(unsafe_code)]
fn numbers_that_were_given_out_are_not_given_out_again() {
    const JOBS: Table<'static, u64, str> = Table::new("jobs");
    const TAGS: Multimap<'static, str, u64> = Multimap::new("tags");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    let open =
        |place: &Place, name: &str| unsafe { Env::options().open_or_create(place.path(name)) }.unwrap();
    let place = Place::new();
    let env = open(&place, "a.maple");
    let mut txn = env.write().unwrap();
    txn.main().next_sequence(3).unwrap();
    txn.open_table(&JOBS).unwrap().next_sequence(5).unwrap();
    txn.open_multimap(&TAGS).unwrap().next_sequence(7).unwrap();
    txn.commit().unwrap();
    env.close().unwrap();

    for (dump, copy) in [("dump a.maple -o a.jsonl", "b.maple"), ("rescue a.maple a.jsonl", "c.maple")] {
        place.ok(dump);
        place.ok(&format!("load --create {copy} a.jsonl"));
        place.ok(&format!("load {copy} a.jsonl")); // once more: nothing is skipped
        std::fs::remove_file(place.path("a.jsonl")).unwrap();
        let env = open(&place, copy);
        let mut txn = env.write().unwrap();
        assert_eq!(txn.main().next_sequence(1).unwrap(), 3);
        assert_eq!(txn.open_table(&JOBS).unwrap().next_sequence(1).unwrap(), 5);
        assert_eq!(txn.open_multimap(&TAGS).unwrap().next_sequence(1).unwrap(), 7);
        drop(txn);
        env.close().unwrap();
        assert_eq!(place.ok("dump a.maple"), place.ok(&format!("dump {copy}")));
        place.check(copy);
    }
}

#[test]
fn every_table_comes_back_through_berkeley_text() {
    for format in ["bytevalue", "print"] {
        let place = with_tables();
        place.ok(&format!("dump a.maple -f {format} -o a.dump"));
        place.ok("load --create b.maple a.dump");
        assert!(place.ok("dump a.maple -f bytevalue") == place.ok("dump b.maple -f bytevalue"));
        // The text cannot say types, but a table that has them is checked against them.
        place.ok("create c.maple -t users --keys u64 --values str");
        place.ok("load c.maple a.dump");
        assert_eq!(place.ok("scan c.maple -t users"), place.ok("scan a.maple -t users"));
        place.check("c.maple");
    }
}

#[test]
fn each_table_comes_back_through_columns() {
    for format in ["csv", "tsv"] {
        let place = with_tables();
        for (option, types) in [
            ("--main", ""),
            ("-t users", "-t users --keys u64 --values str"),
            ("-t events", "-t events --keys (u64,str)"),
        ] {
            place.ok(&format!("dump a.maple {option} -o a.{format} --force"));
            place.ok(format!("load --create b.maple a.{format} {types}").trim_end());
            let dump = |file: &str| place.ok(&format!("dump {file} {option} -f jsonl"));
            assert!(dump("a.maple") == dump("b.maple"), "{format} {option}");
        }
        place.check("b.maple");
    }
}

#[test]
fn columns_hold_one_table() {
    let place = with_tables();
    let refused = place.fails(2, "dump a.maple -f csv");
    assert_eq!(
        refused,
        "maple: this format holds one table and there are 4: choose one with --table or --main\n"
    );
}

#[test]
fn what_is_printed_can_be_typed() {
    let place = with_tables();
    let printed = place.ok("scan a.maple");
    let expected = hostile();
    assert_eq!(printed.lines().count(), expected.len());
    for (line, (_, value)) in printed.lines().zip(&expected) {
        let (key, shown) = line.split_once('\t').unwrap();
        let raw = place.maple_with(&["get", "a.maple", "--raw", "--", key]);
        assert!(raw.code == Some(0) && raw.stdout == *value, "{key}");
        let again = place.maple_with(&[
            "put",
            "a.maple",
            "--",
            key,
            if shown.len() < 100_000 { shown } else { "long" },
        ]);
        assert_eq!(again.code, Some(0), "{}", again.stderr);
    }
    assert!(place.ok("scan a.maple -n 20").lines().eq(printed.lines().take(20)));
}

#[test]
fn a_dump_in_any_order_and_with_repeats_is_loaded() {
    let place = Place::new();
    place.ok("create a.maple");
    let text = "key,value\nb,1\nc,2\na,3\nb,4\n";
    let loaded = place.maple_reading("load a.maple -f csv", text.as_bytes());
    let told = String::from_utf8(loaded.stdout).unwrap();
    assert!(
        told.starts_with("loaded 4 records into 1 table: 3 new, 1 replaced, 0 kept as they were; commit "),
        "{told}"
    );
    assert_eq!(place.ok("scan a.maple"), "a\t3\nb\t4\nc\t2\n");
    let kept = place.maple_reading("load a.maple -f csv --existing keep --json", b"key,value\na,9\nd,9\n");
    let told: serde_json::Value = serde_json::from_slice(&kept.stdout).unwrap();
    assert_eq!((&told["records"], &told["new"], &told["kept"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(place.ok("scan a.maple"), "a\t3\nb\t4\nc\t2\nd\t9\n");
    let refused = place.maple_reading("load a.maple -f csv --existing refuse", b"key,value\ne,9\na,9\n");
    assert_eq!(refused.code, Some(3));
    assert_eq!(
        refused.stderr,
        "maple: standard input: line 3: the key \"a\" is there already: --existing says what to do then (records \
         read 2, records loaded 0)\n"
    );
    assert_eq!(place.ok("scan a.maple --count"), "4\n");
}
