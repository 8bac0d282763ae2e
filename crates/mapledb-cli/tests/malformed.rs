//! Dumps that are not what they should be: refused loudly, by line, with counts, and nothing of them is kept.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

#[test]
fn a_malformed_dump_is_refused_by_line_and_nothing_of_it_is_kept() {
    let long = format!("{{\"table\":\"t\",\"keys\":\"{}\",\"values\":\"str\"}}\n", "k".repeat(80_000));
    let place = Place::new();
    place.ok("create a.maple");
    std::fs::write(place.path("long.jsonl"), long).unwrap();
    assert!(place.fails(3, "load a.maple long.jsonl").len() < 3_000, "nobody reads so much");
    let table: [(&str, &[u8], &str); 10] = [
        (
            "a.jsonl",
            b"{\"table\":\"\",\"keys\":\"bytes\",\"values\":\"bytes\"}\n{\"records\":0}\n",
            "line 1: a table cannot be called \"\": a name has 1 to 1024 bytes (records read 0,",
        ),
        (
            "a.jsonl",
            b"{\"key\":\"a\",\"value\":\"b\"}\n{\"key\":\"a\"\n",
            "line 2: not JSON at column 10: EOF while parsing an object (records read 1,",
        ),
        (
            "a.jsonl",
            b"{\"key\":\"a\",\"value\":7}\n",
            "line 1: value: a number where a string or {\"hex\":\"…\"} belongs (records read 0,",
        ),
        ("a.csv", b"key,value\na,b\nc\n", "line 3: 1 field where key and value belong (records read 1,"),
        (
            "a.csv",
            b"key,value\r\na,b\r\nhex:0,c\r\n",
            "line 3: key: an odd number of hexadecimal digits (records read 1,",
        ),
        (
            "a.csv",
            b"a,b\n",
            "line 1: the first line must name the columns key and value; with --no-header there is none (records read 0,",
        ),
        ("a.tsv", b"key\tvalue\na\n", "line 2: no tab between key and value (records read 0,"),
        (
            "a.dump",
            b"VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 61\n 62\n 63\nDATA=END\n",
            "line 7: the key has no value (records read 1,",
        ),
        (
            "a.dump",
            b"VERSION=3\nformat=print\nduplicates=1\nHEADER=END\nDATA=END\n",
            "line 1: the default table holds one value to a key, and this is a multimap: name a table (--table) (records read 0,",
        ),
        (
            "a.dump",
            b"VERSION=3\nformat=print\nHEADER=END\n a\n b\n",
            "line 6: the dump is cut short: it ends before DATA=END (records read 1,",
        ),
    ];
    for (name, text, why) in table {
        let place = Place::new();
        place.ok("create a.maple");
        place.ok("put a.maple before it");
        std::fs::write(place.path(name), text).unwrap();
        let told = place.fails(3, &format!("load a.maple {name}"));
        assert_eq!(told, format!("maple: {name}: {why} records loaded 0)\n"));
        assert_eq!(place.ok("scan a.maple"), "before\tit\n");
        place.check("a.maple");
    }
}

#[test]
fn batches_committed_before_the_fault_stay_and_are_counted() {
    let place = Place::new();
    place.ok("create a.maple");
    let text = "key,value\na,1\nb,2\nc,3\nd,4\ne,5\nbad\n";
    let ended = place.maple_reading("load a.maple -f csv --batch 2", text.as_bytes());
    assert_eq!(ended.code, Some(3));
    assert_eq!(
        ended.stderr,
        "maple: standard input: line 7: 1 field where key and value belong (records read 5, records loaded 4)\n"
    );
    assert_eq!(place.ok("scan a.maple"), "a\t1\nb\t2\nc\t3\nd\t4\n");
    let ended =
        place.maple_reading("load a.maple -f csv --batch 2 --json", b"key,value\na,1\nb,2\nc,3\nd,4\n");
    let told: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&told["records"], &told["commits"], &told["replaced"]), (&4.into(), &2.into(), &4.into()));
    place.check("a.maple");
}

#[test]
fn keys_that_are_too_long_are_refused_by_line() {
    let place = Place::new();
    place.ok("create a.maple");
    for order in ["a", "zzz"] {
        let text = format!(
            "key,value\n{order}0,1\n{}{},2\n",
            if order == "a" { "b" } else { "a" },
            "x".repeat(2000)
        );
        let ended = place.maple_reading("load a.maple -f csv", text.as_bytes());
        assert_eq!(ended.code, Some(3));
        assert_eq!(
            ended.stderr,
            "maple: standard input: line 3: a key of 2001 bytes is too long: the most is 1024, and more where \
             pages are larger (records read 2, records loaded 0)\n"
        );
    }
    assert_eq!(place.ok("scan a.maple --count"), "0\n");
}

#[test]
fn a_dump_of_other_types_is_refused() {
    let place = Place::new();
    place.ok("create a.maple -t t --keys u8 --values str");
    let dump = b"{\"table\":\"t\",\"keys\":\"str\",\"values\":\"str\"}\n{\"records\":0}\n";
    let ended = place.maple_reading("load a.maple", dump);
    assert_eq!(ended.code, Some(3));
    assert_eq!(
        ended.stderr,
        "maple: standard input: line 1: the dump maps str to str, and the table u8 to str (records read 0, records \
         loaded 0)\n"
    );
    let ended = place.maple_reading(
        "load a.maple",
        b"VERSION=3\nformat=bytevalue\ndatabase=t\nHEADER=END\n 0102\n 61\nDATA=END\n",
    );
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("line 5: key: these 2 bytes are not of type u8"), "{}", ended.stderr);
}

#[test]
fn several_tables_do_not_go_into_one() {
    let place = Place::new();
    place.ok("create a.maple");
    let dump = b"VERSION=3\nformat=print\nHEADER=END\n a\n b\nDATA=END\nVERSION=3\nformat=print\ndatabase=t\nHEADER=END\nDATA=END\n";
    let ended = place.maple_reading("load a.maple -t x", dump);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("line 7: a second table begins, and --table names one"),
        "{}",
        ended.stderr
    );
    assert_eq!(place.ok("tables a.maple").lines().count(), 2, "the first table is gone with the transaction");
}

#[test]
fn a_format_that_nothing_tells_is_asked_for() {
    let place = Place::new();
    place.ok("create a.maple");
    let ended = place.maple_reading("load a.maple", b"a,b\n");
    assert_eq!(ended.code, Some(3));
    assert_eq!(
        ended.stderr,
        "maple: standard input: neither its name nor its beginning shows a format: give --format\n"
    );
}
