//! Multimaps on the command line: pairs are placed, counted, drawn, compared and taken out, and what fits only a multimap is
//! refused of a table.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::Place;
use serde_json::{Value, json};

/// A table, and a multimap of tags in which `red` has 1 to 5 and `tan` has 2 and 4.
fn filled() -> Place {
    let place = Place::new();
    place.ok("create a.maple -t tags --keys str --values u32 --multimap");
    place.ok("create a.maple -t plain --keys str --values u32");
    place.ok("put a.maple -t plain red 1");
    for value in 1..=5 {
        place.ok(&format!("put a.maple -t tags red {value}"));
    }
    place.ok("put a.maple -t tags tan 2");
    place.ok("put a.maple -t tags tan 4");
    place
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn places_are_of_pairs_and_each_verb_is_the_way_back_of_the_other() {
    let place = filled();
    for (n, (key, value)) in
        [("red", 1), ("red", 2), ("red", 3), ("red", 4), ("red", 5), ("tan", 2), ("tan", 4)]
            .into_iter()
            .enumerate()
    {
        assert_eq!(place.ok(&format!("nth a.maple {n} -t tags")), format!("{key}\t{value}\n"));
        assert_eq!(place.ok(&format!("nth a.maple {} -r -t tags", 6 - n)), format!("{key}\t{value}\n"));
        assert_eq!(place.ok(&format!("rank a.maple {key} {value} -t tags")), format!("{n} of 7 pairs\n"));
    }
    assert_eq!(place.ok("rank a.maple tan -t tags"), "5 of 7 pairs\n");
    assert_eq!(
        place.ok("rank a.maple tan 3 -t tags"),
        "6 of 7 pairs, where the pair would stand: it is not there\n"
    );
    assert_eq!(place.ok("rank a.maple sky -t tags --json"), "{\"rank\":5,\"entries\":7,\"present\":false}\n");
    assert!(
        place.fails(1, "nth a.maple 7 -t tags").ends_with("there is no pair 7: the multimap has 7 pairs\n")
    );
    let refused = place.fails(2, "rank a.maple red 1 -t plain");
    assert!(refused.contains("VALUE names one of a key's values in a multimap"), "{refused}");
    place.fails(2, "rank a.maple red one -t tags");
}

#[test]
fn ranges_begin_and_end_at_pairs() {
    let place = filled();
    let table = [
        ("--from red --from-value 4", "red\t4,red\t5,tan\t2,tan\t4"),
        ("--after red --from-value 4", "red\t5,tan\t2,tan\t4"),
        ("--after red --from-value 4 --to tan --to-value 2", "red\t5,tan\t2"),
        ("--from red --from-value 5 --until tan --to-value 2", "red\t5"),
        ("--from red --from-value 5 --to tan", "red\t5,tan\t2,tan\t4"),
        ("--from red --from-value 5 --until tan", "red\t5"),
        ("--after red --to tan --to-value 3", "tan\t2"),
        ("--from sky --to tan --to-value 3", "tan\t2"),
        ("--from red --to red --to-value 1", "red\t1"),
        ("--from tan --from-value 3 --to red", ""),
    ];
    for (range, pairs) in table {
        let pairs: Vec<_> = pairs.split_terminator(',').collect();
        assert_eq!(lines(&place.ok(&format!("scan a.maple -t tags {range}"))), pairs, "{range}");
        let back: Vec<_> = pairs.iter().rev().copied().collect();
        assert_eq!(lines(&place.ok(&format!("scan a.maple -t tags -r {range}"))), back, "{range}");
        let count = place.ok(&format!("scan a.maple -t tags --count {range}"));
        assert_eq!(count, format!("{}\n", pairs.len()), "{range}");
        let sample = place.ok(&format!("sample a.maple -t tags --seed 1 {range}"));
        assert_eq!(lines(&sample), pairs, "{range}");
    }
    for verb in ["scan", "sample --seed 1", "del"] {
        let refused = place.fails(2, &format!("{verb} a.maple -t plain --to red --to-value 1"));
        assert!(refused.contains("--to-value names one of a key's values in a multimap"), "{refused}");
        place.fails(2, &format!("{verb} a.maple -t tags --from-value 1"));
        place.fails(2, &format!("{verb} a.maple -t tags --to red --from-value 1"));
    }
}

#[test]
fn a_sample_is_of_pairs_each_as_likely_as_any_other() {
    let place = filled();
    let drawn: BTreeSet<String> = (0..40)
        .flat_map(|seed| {
            let sample = place.ok(&format!("sample a.maple -t tags -n 2 --seed {seed} --json"));
            assert_eq!(sample.lines().count(), 2);
            sample.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(drawn.len(), 7, "{drawn:?}");
}

#[test]
fn pairs_are_taken_out_one_by_one_by_key_and_by_range() {
    let place = filled();
    assert_eq!(place.ok("del a.maple -t tags red --value 2"), "");
    assert_eq!(place.ok("get a.maple -t tags red"), "1\n3\n4\n5\n");
    let absent = place.fails(1, "del a.maple -t tags red --value 1 --value 2");
    assert!(absent.ends_with("the key \"red\" has no value \"2\"\n"), "{absent}");
    assert_eq!(place.ok("get a.maple -t tags red"), "1\n3\n4\n5\n", "nothing went");
    let deleted: Value =
        serde_json::from_str(&place.ok("del a.maple -t tags red --value 1 --value 3 --json")).unwrap();
    assert_eq!(deleted["deleted"], 2);
    assert_eq!(
        place.ok("del a.maple -t tags --from red --from-value 5 --to tan --to-value 2"),
        "2 pairs taken out\n"
    );
    assert_eq!(place.ok("scan a.maple -t tags"), "red\t4\ntan\t4\n");
    assert_eq!(place.ok("del a.maple -t tags tan"), "1 pair taken out\n");
    assert_eq!(place.ok("del a.maple -t tags --prefix r"), "1 pair taken out\n");
    assert_eq!(place.ok("del a.maple -t tags --all"), "0 pairs taken out\n");
    assert_eq!(place.ok("del a.maple -t plain --from red"), "1 entry taken out\n");
    assert!(
        place.fails(2, "del a.maple -t plain red --value 1").contains("--value names one of a key's values")
    );
    assert!(place.fails(2, "del a.maple -t tags red tan --value 1").contains("there are several keys"));
    place.fails(2, "del a.maple -t tags --value 1");
    place.fails(1, "del a.maple -t tags red");
    place.ok("check a.maple");
}

#[test]
fn a_prefix_is_refused_where_keys_that_begin_alike_do_not_lie_together() {
    let place = Place::new();
    place.ok("create a.maple -t hosts --keys str --values u8 --order reverse --multimap");
    place.ok("put a.maple -t hosts www 1");
    for verb in ["scan", "sample", "del"] {
        assert!(
            place.fails(2, &format!("{verb} a.maple -t hosts --prefix w")).contains("use --from and --until")
        );
    }
}

fn changes(place: &Place, verb: &str) -> Vec<Value> {
    let ended = place.maple(&format!("{verb} --json"));
    assert_eq!((ended.code, &ended.stderr[..]), (Some(1), ""));
    String::from_utf8(ended.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_difference_is_of_pairs_added_and_removed() {
    let place = filled();
    place.ok("backup a.maple b.maple");
    assert_eq!(place.ok("diff a.maple b.maple"), "");
    place.ok("del b.maple -t tags red --value 1 --value 5");
    place.ok("put b.maple -t tags red 9");
    place.ok("put b.maple -t tags tan 3");
    place.ok("put b.maple -t plain red 2");
    let ended = place.maple("diff a.maple b.maple");
    assert_eq!(
        String::from_utf8(ended.stdout).unwrap(),
        "@ plain\n- red\t1\n+ red\t2\n@ tags\n- red\t1\n- red\t5\n+ red\t9\n+ tan\t3\n"
    );
    let removed = |value| json!({ "change": "removed", "table": "tags", "key": "red", "old": value });
    let added = |key, value| json!({ "change": "added", "table": "tags", "key": key, "new": value });
    assert_eq!(
        changes(&place, "diff a.maple b.maple -t tags"),
        [removed(1), removed(5), added("red", 9), added("tan", 3)]
    );
    let brief = place.maple("diff a.maple b.maple -t tags --brief");
    assert_eq!((brief.code, brief.stdout.len()), (Some(1), 0));
}

#[test]
fn multimaps_of_other_orders_and_tables_are_compared_pair_by_pair() {
    let place = filled();
    let dumped = place.ok("dump a.maple -t tags -f csv");
    for (file, options) in [
        ("table.maple", "--order bytewise"),
        ("keys.maple", "--order reverse --multimap"),
        ("values.maple", "--multimap --value-order reverse"),
    ] {
        place.ok(&format!("create {file} -t tags --keys str --values u32 {options}"));
        let loaded = place.maple_reading(&format!("load {file} -t tags -f csv -q"), dumped.as_bytes());
        assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
        let found = changes(&place, &format!("diff a.maple {file} -t tags"));
        let kinds: Vec<_> = found.iter().map(|change| change["change"].as_str().unwrap()).collect();
        // A table keeps the last value of each key.
        let expected: &[&str] = match file {
            "table.maple" => &["types", "removed", "removed", "removed", "removed", "removed"],
            _ => &["types"],
        };
        assert_eq!(kinds, expected, "{file}: {found:?}");
        let back = changes(&place, &format!("diff {file} a.maple -t tags"));
        assert_eq!(back.len(), found.len(), "{file}");
    }
    let kinds = changes(&place, "diff a.maple table.maple -t tags")[0]["kinds"].clone();
    assert_eq!(kinds, json!(["a multimap of 4 bytes each in bytewise order", "a table"]));
    place.ok("put values.maple -t tags tan 8");
    place.ok("del values.maple -t tags red --value 3");
    let found = changes(&place, "diff a.maple values.maple -t tags");
    assert_eq!(found[1], json!({ "change": "removed", "table": "tags", "key": "red", "old": 3 }));
    assert_eq!(found[2], json!({ "change": "added", "table": "tags", "key": "tan", "new": 8 }));
    assert_eq!(found.len(), 3);
}

/// Rows of CSV into a new multimap; answers what the load says of itself.
fn load(place: &Place, file: &str, options: &str, rows: &[(u32, u32)]) -> Value {
    place.ok(&format!("create {file} -t m --keys u32 --values u32 --multimap"));
    let rows: String = rows.iter().map(|(key, value)| format!("{key},{value}\n")).collect();
    let verb = format!("load {file} -t m -f csv --no-header --json -q{options}");
    let loaded = place.maple_reading(&verb, rows.as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    place.ok(&format!("check {file}"));
    serde_json::from_slice(&loaded.stdout).unwrap()
}

#[test]
fn pairs_are_loaded_in_any_order_and_in_batches_of_any_size() {
    let place = Place::new();
    let sorted: Vec<(u32, u32)> = (0..6_000).map(|n| (n / 1500, n)).collect();
    load(&place, "sorted.maple", "", &sorted);
    let counts = |loaded: &Value| ["records", "new", "kept"].map(|name| loaded[name].as_u64().unwrap());
    for (file, options, rows) in [
        ("batches.maple", " --batch 700", sorted.clone()),
        ("back.maple", "", sorted.iter().rev().copied().collect()),
        ("half.maple", " --batch 1000", {
            let mut rows = sorted.clone();
            rows[3000..].reverse();
            rows
        }),
    ] {
        let loaded = load(&place, file, options, &rows);
        assert_eq!(counts(&loaded), [6000, 6000, 0], "{file}");
        assert_eq!(place.ok(&format!("diff sorted.maple {file}")), "", "{file}");
    }
    let twice: Vec<_> = sorted.iter().flat_map(|pair| [*pair, *pair]).collect();
    let loaded = load(&place, "twice.maple", "", &twice);
    assert_eq!(counts(&loaded), [12_000, 6000, 6000]);
    assert_eq!(place.ok("diff sorted.maple twice.maple"), "");
    // Three pages a key, and the leaf of keys.
    let leaves = |file: &str| {
        let stat: Value = serde_json::from_str(&place.ok(&format!("stat {file} -t m --json"))).unwrap();
        stat["tables"][0]["bytes"].as_u64().unwrap()
    };
    assert!(leaves("sorted.maple") <= 13 * 4096, "{} bytes", leaves("sorted.maple"));
    place.ok("create refused.maple -t m --keys u32 --values u32 --multimap");
    let refused = place
        .maple_reading("load refused.maple -t m -f csv --no-header --existing refuse", b"1,1\n1,2\n1,2\n");
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("line 3: the key \"1\" has this value already"), "{}", refused.stderr);
}

#[test]
fn a_load_makes_a_multimap_where_it_is_asked_to() {
    let place = filled();
    let load = |arguments: &str| place.maple_reading(arguments, b"k,2\nk,1\nk,2\n");
    let made = load(
        "load a.maple -t made -f csv --no-header --keys str --values u8 --multimap --value-order reverse -q",
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(place.ok("scan a.maple -t made"), "k\t1\nk\t2\n");
    let tables: Value = serde_json::from_str(&place.ok("tables a.maple --json")).unwrap();
    let made = tables["tables"].as_array().unwrap().iter().find(|table| table["table"] == "made").unwrap();
    assert_eq!(made["duplicates"], json!({ "order": "reverse", "len_bytes": 1 }));
    for (table, why) in
        [("-t plain", "holds one value to a key, and --multimap asks for many"), ("", "(--table)")]
    {
        let refused = load(format!("load a.maple -f csv --no-header --multimap {table}").trim_end());
        assert_eq!(refused.code, Some(3));
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    assert_eq!(load("load a.maple -t tags -f csv --no-header --multimap -q").code, Some(0), "one is there");
    assert_eq!(load("load a.maple -t other -f csv --no-header --value-order reverse").code, Some(2));
}

#[test]
fn what_a_multimap_cannot_take_is_an_error_of_the_input() {
    let place = filled();
    place.ok("create a.maple -t sized --keys u32 --values bytes --multimap");
    let section = |table: &str, headers: &str, value: &str| {
        format!(
            "VERSION=3\nformat=bytevalue\ndatabase={table}\ntype=btree\n{headers}HEADER=END\n 01\n {value}\nDATA=END\n"
        )
    };
    let load = |text: String| {
        let ended = place.maple_reading("load a.maple", text.as_bytes());
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        ended.stderr
    };
    let fixed = "duplicates=1\ndupsort=1\ndupfixed=1\n";
    let loaded = place.maple_reading("load a.maple", section("fixed", fixed, "0102").as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    let told = load(section("fixed", fixed, "010203"));
    assert!(
        told.contains("duplicates are of 3 bytes each") && told.contains("of the table are of 2 bytes"),
        "{told}"
    );
    let told = load(section("fixed", "", "010203"));
    assert!(told.contains("a duplicate of 3 bytes cannot go into a multimap"), "{told}");
    let told = load(section("one", "integerdup=1\n", "01020304"));
    assert!(told.contains("not dupsort=1"), "{told}");
    place.maple_reading("load a.maple", section("one", "", "01").as_bytes());
    let told = load(section("one", fixed, "01"));
    assert!(told.contains("holds one value to a key: name another (--table)"), "{told}");
    place.check("a.maple");
}
