//! Keys and values of every type that a file can record without a program, as text on the command line, in dumps and as JSON.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

/// Keys and values as they are typed.
type Entries<'a> = &'a [(&'a str, &'a str)];

fn scanned(place: &Place) -> Vec<String> {
    place.ok("scan a.maple -t t").lines().map(str::to_owned).collect()
}

/// A table of these types with these entries, put in this order.
fn with(keys: &str, values: &str, entries: Entries<'_>) -> Place {
    let place = Place::new();
    let created = place.maple_with(&["create", "a.maple", "-t", "t", "--keys", keys, "--values", values]);
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    for (key, value) in entries {
        let put = place.maple_with(&["put", "a.maple", "-t", "t", "--", key, value]);
        assert_eq!(put.code, Some(0), "{keys} {values}: {}", put.stderr);
    }
    place
}

#[test]
fn keys_sort_as_their_values_do_and_are_read_as_they_are_shown() {
    let table: [(&str, &str, Entries<'_>, &[&str]); 9] = [
        (
            "f64",
            "option<f32>",
            &[
                ("1e300", "null"),
                ("-1.5", "0.1"),
                ("NaN", "-0.0"),
                ("0", "1e10"),
                ("-inf", "null"),
                ("0.25", "null"),
            ],
            &["-inf\tnull", "-1.5\t0.1", "0.0\t10000000000.0", "0.25\tnull", "1e300\tnull", "NaN\t-0.0"],
        ),
        ("f32", "bool", &[("0.1", "true"), ("-0.1", "false")], &["-0.1\tfalse", "0.1\ttrue"]),
        ("option<i8>", "()", &[("5", ""), ("null", ""), ("-5", "")], &["null\t", "-5\t", "5\t"]),
        (
            "(str,f64,option<bool>)",
            "[u16;2]",
            &[("[\"b\",1,null]", "[1,2]"), ("[\"b\",-1.5,true]", "[3,4]"), ("[\"\",0,false]", "[5,6]")],
            &["[\"\",0.0,false]\t[5,6]", "[\"b\",-1.5,true]\t[3,4]", "[\"b\",1.0,null]\t[1,2]"],
        ),
        (
            "[str]",
            "char",
            &[("[\"a\",\"b\"]", "é"), ("[]", "x"), ("[\"a\"]", "y")],
            &["[]\tx", "[\"a\"]\ty", "[\"a\",\"b\"]\té"],
        ),
        ("u32le", "i16le", &[("256", "-2"), ("1", "7"), ("65536", "0")], &["1\t7", "256\t-2", "65536\t0"]),
        ("char", "[u8;2]", &[("b", "hex:0001"), ("a", "[255,0]")], &["a\thex:ff00", "b\thex:0001"]),
        (
            "timestamp",
            "(date,time,datetime)",
            &[
                ("2026-11-27T21:40:00.5Z", "[\"2026-11-27\",\"21:40\",\"2026-11-27T21:40\"]"),
                (
                    "2026-11-27T21:40:00+01:00",
                    "[\"0000-02-29\",\"00:00:00\",\"1969-12-31T23:59:59.999999999\"]",
                ),
            ],
            &[
                "2026-11-27T20:40:00Z\t[\"0000-02-29\",\"00:00:00\",\"1969-12-31T23:59:59.999999999\"]",
                "2026-11-27T21:40:00.5Z\t[\"2026-11-27\",\"21:40:00\",\"2026-11-27T21:40:00\"]",
            ],
        ),
        ("bool", "f64le", &[("true", "2.5"), ("false", "-inf")], &["false\t-inf", "true\t2.5"]),
    ];
    for (keys, values, entries, expected) in table {
        let place = with(keys, values, entries);
        let shown = scanned(&place);
        assert_eq!(shown, expected, "{keys} {values}");
        for line in &shown {
            let (key, value) = line.split_once('\t').unwrap();
            let got = place.maple_with(&["get", "a.maple", "-t", "t", "--", key]);
            assert_eq!(String::from_utf8(got.stdout).unwrap().trim_end_matches('\n'), value, "{keys}: {key}");
        }
        for format in ["jsonl", "csv", "tsv"] {
            let dump = place.ok(&format!("dump a.maple -q -t t -f {format}"));
            let create = ["create", "b.maple", "-t", "t", "--keys", keys, "--values", values];
            assert_eq!(place.maple_with(&create).code, Some(0));
            let loaded = place.maple_reading(&format!("load b.maple -t t -f {format} -q"), dump.as_bytes());
            assert_eq!(loaded.code, Some(0), "{keys} {format}: {}", loaded.stderr);
            assert_eq!(
                place.ok("scan b.maple -t t").lines().collect::<Vec<_>>(),
                expected,
                "{keys} {format}"
            );
            place.check("b.maple");
            let _ = ["b.maple", "b.maple-lock"].map(|file| std::fs::remove_file(place.path(file)).unwrap());
        }
        place.check("a.maple");
    }
}

#[test]
fn what_is_not_of_the_type_is_refused_and_nothing_is_stored() {
    let place = with("f32", "option<(u8,str)>", &[]);
    for (key, value, why) in [
        ("x", "null", "x is not of type f32"),
        ("1e39", "null", "1e39 is not of type f32"),
        ("1", "3", "a number where an array of 2 parts"),
        ("1", "{", "text of type option<(u8,str)> is written as JSON, such as null or [1,\"a\"]"),
        ("1", "[256,\"a\"]", "256 is not of type u8"),
        ("hex:00", "null", "these 1 bytes are not of type f32"),
    ] {
        let refused = place.maple_with(&["put", "a.maple", "-t", "t", key, value]);
        assert_eq!(refused.code, Some(2), "{key} {value}");
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    assert!(scanned(&place).is_empty());
    for (types, why) in [
        ("--keys i32le", "keys of this type would not sort"),
        ("--keys (u8,u16le)", "keys of this type would not sort"),
        ("--keys ()", "or all be one"),
        ("--keys usize", "known are bytes, str"),
        ("--values option<Point>", "known are bytes, str"),
    ] {
        let refused = place.fails(2, &format!("create a.maple -t u {types}"));
        assert!(refused.contains(why), "{types}: {refused}");
    }
    place.check("a.maple");
}

#[test]
fn multimaps_of_integers_are_made_of_bytes_of_one_length_and_of_little_endian_types() {
    let place = Place::new();
    place.ok("create a.maple -t bytes --multimap --value-order integer --value-length 4");
    for value in ["00010000", "01000000", "00000001"] {
        place.ok(&format!("put a.maple -t bytes k hex:{value}"));
    }
    assert_eq!(place.ok("get a.maple -t bytes k"), "hex:01000000\nhex:00010000\nhex:00000001\n");
    let refused = place.fails(3, "put a.maple -t bytes k hex:0100");
    assert!(refused.contains("4 bytes"), "{refused}");
    place.ok("create a.maple -t typed --multimap --order integer --keys u64le --values u32le");
    for value in [256, 1, 65_536] {
        place.ok(&format!("put a.maple -t typed 7 {value}"));
    }
    assert_eq!(place.ok("get a.maple -t typed 7"), "1\n256\n65536\n");
    let told = place.ok("tables a.maple --json");
    assert_eq!(told.matches("{\"order\":\"integer\",\"len_bytes\":4}").count(), 2, "{told}");
    let loaded = place.maple_reading(
        "load a.maple -t loaded --multimap --value-order integer --value-length 2 -f csv --no-header",
        b"k,hex:0001\nk,hex:0100\n",
    );
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    assert_eq!(place.ok("get a.maple -t loaded k"), "hex:0100\nhex:0001\n");
    for (arguments, why) in [
        ("--multimap --value-order integer", "values of type bytes have no one length"),
        (
            "--multimap --values u32 --value-length 8",
            "values of type u32 have 4 bytes, and --value-length says 8",
        ),
        ("--value-length 8", "--multimap"),
        ("--multimap --value-length 0", "0 is not in"),
    ] {
        let refused = place.fails(2, &format!("create a.maple -t other {arguments}"));
        assert!(refused.contains(why), "{arguments}: {refused}");
    }
    place.check("a.maple");
}
