//! `diff`: every difference is found once, whichever side it is on, and the exit code is the answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::Place;
use serde_json::{Value, json};

/// Fills `file` with pairs of numbers.
fn fill(place: &Place, file: &str, pairs: &BTreeMap<u32, u32>) {
    place.ok(&format!("create {file}"));
    let rows: String = pairs.iter().map(|(key, value)| format!("{key:05},{value}\n")).collect();
    let loaded = place.maple_reading(&format!("load {file} -f csv --no-header -q"), rows.as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
}

#[test]
fn every_difference_is_found_on_either_side() {
    let place = Place::new();
    let a: BTreeMap<u32, u32> = (0..3_000).filter(|key| key % 7 != 0).map(|key| (key, key)).collect();
    let b: BTreeMap<u32, u32> = (100..3_200)
        .filter(|key| key % 11 != 0)
        .map(|key| (key, if key % 13 == 0 { 0 } else { key }))
        .collect();
    fill(&place, "a.maple", &a);
    fill(&place, "b.maple", &b);
    let ended = place.maple("diff a.maple b.maple --json");
    assert_eq!((ended.code, &ended.stderr[..]), (Some(1), ""));
    let found: Vec<Value> = ended
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let text = |number: &u32| number.to_string();
    let expected: Vec<Value> = (0..3_200)
        .filter_map(|key| match (a.get(&key), b.get(&key)) {
            (Some(old), None) => {
                Some(json!({ "change": "removed", "table": null, "key": format!("{key:05}"), "old": text(old) }))
            }
            (None, Some(new)) => {
                Some(json!({ "change": "added", "table": null, "key": format!("{key:05}"), "new": text(new) }))
            }
            (Some(old), Some(new)) if old != new => Some(
                json!({ "change": "changed", "table": null, "key": format!("{key:05}"), "old": text(old), "new": text(new) }),
            ),
            _ => None,
        })
        .collect();
    assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
    let back = place.maple("diff b.maple a.maple");
    assert_eq!(
        String::from_utf8(back.stdout).unwrap().lines().filter(|line| line.starts_with("+ ")).count(),
        { expected.iter().filter(|change| change["change"] != "added").count() }
    );
}

#[test]
fn the_same_is_quiet_success_however_it_is_stored() {
    let place = Place::new();
    let pairs: BTreeMap<u32, u32> = (0..2_000).map(|key| (key, key)).collect();
    fill(&place, "a.maple", &pairs);
    place.ok("create a.maple -t t --keys u64 --values str");
    place.ok("put a.maple -t t 1 x");
    place.ok("create b.maple --page-size 16384");
    let dumped = place.ok("dump a.maple");
    place.maple_reading("load b.maple -q", dumped.as_bytes());
    for options in ["", " --json", " --brief", " -t t", " --main", " --frozen"] {
        assert_eq!(place.ok(&format!("diff a.maple b.maple{options}")), "", "{options}");
    }
    assert_eq!(place.ok("diff a.maple a.maple"), "");
}

#[test]
fn tables_and_types_differ_too() {
    let place = Place::new();
    place.ok("create a.maple -t t --keys u64 --values str");
    place.ok("create b.maple -t t --keys u64 --values bytes");
    place.ok("create b.maple -t u");
    let ended = place.maple("diff a.maple b.maple");
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        String::from_utf8(ended.stdout).unwrap(),
        "@ t\n- keys u64, values str\n+ keys u64, values bytes\n+ table u\n"
    );
    let brief = place.maple("diff a.maple b.maple --brief");
    assert_eq!((brief.code, brief.stdout.len(), brief.stderr.len()), (Some(1), 0, 0));
    assert_eq!(place.ok("diff a.maple b.maple --main"), "");
}

#[test]
fn trouble_is_no_answer() {
    let place = Place::with_a_database();
    place.fails(4, "diff a.maple none.maple");
    assert!(place.fails(4, "diff a.maple a.maple -t none").contains("there is no table called \"none\""));
    place.fails(2, "diff a.maple");
}
