//! Trees of a multimap's duplicates are told by name wherever pages are, and warmed and locked with the others.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use serde_json::Value;

fn json(place: &Place, arguments: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("{arguments} --json"))).unwrap()
}

/// Two multimaps, in which some keys have thousands of values and most have few, and a table with long values.
fn filled() -> Place {
    let place = Place::new();
    let many = (0..3).flat_map(|key| (0..20_000).map(move |n| format!("much{key},{n:08}-0123456789\n")));
    let few = (0..3000).map(|key| format!("few{key:05},one\n"));
    let rows: String = many.chain(few).collect();
    let load = "load a.maple --create -t postings --multimap -f csv --no-header -q";
    assert_eq!(place.maple_reading(load, rows.as_bytes()).code, Some(0));
    let load = "load a.maple -t small --multimap -f csv --no-header -q";
    assert_eq!(place.maple_reading(load, b"a,1\na,2\n").code, Some(0));
    std::fs::write(place.path("long"), vec![7; 50_000]).unwrap();
    place.ok("create a.maple -t values");
    place.ok("put a.maple -t values k @long");
    place
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn residency_stat_and_the_map_agree_on_how_many_pages_they_have() {
    let place = filled();
    let stat = json(&place, "stat a.maple");
    let of = |name: &str| {
        let tables = stat["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == name).unwrap().clone()
    };
    assert!(pages_told(&stat) > 100, "{stat}");
    assert_eq!(of("postings")["duplicate_pages"], of("postings")["overflow_pages"]);
    assert_eq!((number(&of("small")["duplicate_pages"]), number(&of("values")["duplicate_pages"])), (0, 0));
    assert!(number(&of("values")["overflow_pages"]) > 10);

    place.ok("warm a.maple");
    let tables = json(&place, "residency a.maple --tables");
    let levels = tables["tables"].as_array().unwrap();
    let nested: Vec<&Value> = levels.iter().filter(|level| level["of"] == "duplicates").collect();
    assert!(nested.len() >= 2 && nested.iter().all(|level| level["table"] == "postings"), "{tables}");
    assert!(nested.iter().all(|level| level["level"].is_number()), "{tables}");
    assert!(nested.iter().all(|level| level["pages"] == level["resident_pages"]), "{tables}");
    let long = levels.iter().filter(|level| level["level"].is_null());
    assert_eq!(long.map(|level| level["table"].as_str().unwrap()).collect::<Vec<_>>(), ["values"]);

    let map = json(&place, "space a.maple --map --parts 64");
    assert_eq!(agree(&stat, &tables, &map), Ok(()));
    // A page that any of the three leaves out, or counts twice, is told.
    for change in [-1, 1] {
        let mut other = stat.clone();
        let at = other["tables"]
            .as_array()
            .unwrap()
            .iter()
            .position(|table| table["table"] == "postings")
            .unwrap();
        shift(&mut other["tables"][at]["duplicate_pages"], change);
        assert!(agree(&other, &tables, &map).is_err(), "stat, {change}");
        let mut other = tables.clone();
        let at = levels.iter().position(|level| level["of"] == "duplicates").unwrap();
        shift(&mut other["tables"][at]["pages"], change);
        assert!(agree(&stat, &other, &map).is_err(), "residency, {change}");
        let mut other = map.clone();
        let at = map["map"]["stretches"]
            .as_array()
            .unwrap()
            .iter()
            .position(|part| part["duplicates"] != 0)
            .unwrap();
        shift(&mut other["map"]["stretches"][at]["duplicates"], change);
        assert!(agree(&stat, &tables, &other).is_err(), "the map, {change}");
    }
    place.check("a.maple");
}

/// How many pages of duplicates `stat` tells of.
fn pages_told(stat: &Value) -> u64 {
    stat["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["duplicate_pages"].as_u64().unwrap_or(0))
        .sum()
}

/// Whether `stat`, `residency --tables` and `space --map` tell of as many pages of duplicates; else how many each does.
fn agree(stat: &Value, tables: &Value, map: &Value) -> Result<(), [u64; 3]> {
    let nested = tables["tables"].as_array().unwrap().iter().filter(|level| level["of"] == "duplicates");
    let stretches = map["map"]["stretches"].as_array().unwrap().iter();
    let told = [
        pages_told(stat),
        nested.map(|level| number(&level["pages"])).sum(),
        stretches.map(|stretch| number(&stretch["duplicates"])).sum(),
    ];
    if told[0] == told[1] && told[1] == told[2] { Ok(()) } else { Err(told) }
}

fn shift(count: &mut Value, by: i64) {
    *count = (count.as_i64().unwrap() + by).into();
}

#[test]
fn people_read_them_under_the_name_of_their_table() {
    let place = filled();
    let told = place.ok("residency a.maple --tables");
    let lines: Vec<&str> = told.lines().collect();
    let at =
        |what: &str| lines.iter().position(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{told}"));
    assert!(at("postings  ") < at("postings (duplicates)  leaves"), "{told}");
    assert!(at("postings (duplicates)  leaves") < at("postings (duplicates)  branches, level 1"), "{told}");
    assert!(at("postings (duplicates)  leaves") < at("small "), "{told}");
    assert!(!told.contains("small (duplicates)"), "{told}");
    let told = place.ok("stat a.maple");
    assert!(told.contains("\npostings (duplicates)  ") && !told.contains("small (duplicates)"), "{told}");
    assert!(place.ok("space a.maple --map").contains("% trees of duplicates\n"));
    place.check("a.maple");
}

#[test]
fn their_branches_and_upper_levels_are_warmed_and_locked() {
    let place = filled();
    let tables = json(&place, "residency a.maple --tables");
    let levels = tables["tables"].as_array().unwrap();
    let pages = |chosen: &dyn Fn(&Value) -> bool| {
        levels.iter().filter(|level| chosen(level)).map(|level| number(&level["pages"])).sum::<u64>()
    };
    let branches = pages(&|level| level["level"].as_u64().is_some_and(|level| level > 0));
    let nested =
        pages(&|level| level["of"] == "duplicates" && level["level"].as_u64().is_some_and(|level| level > 0));
    assert!(nested >= 3, "{tables}");
    assert_eq!(json(&place, "warm a.maple --branches")["branch_pages"], branches);
    let nodes = pages(&|level| level["level"].is_number());
    assert_eq!(json(&place, "warm a.maple --levels 20")["node_pages"], nodes);
    // Three keys have a tree, and each of those has a root.
    let roots = pages(&|level| {
        level["of"] != "duplicates" && level["level"].is_number() && {
            let same = |other: &&Value| (&other["of"], &other["table"]) == (&level["of"], &level["table"]);
            let top = levels.iter().filter(same).filter_map(|level| level["level"].as_u64()).max();
            level["level"].as_u64() == top
        }
    });
    assert_eq!(json(&place, "warm a.maple --levels 1")["node_pages"], roots + 3);
    place.check("a.maple");
}
