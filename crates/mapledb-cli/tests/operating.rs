//! `warm`, `residency`, `metrics` and `doctor`: what who operates a database looks at.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::Place;
use serde_json::Value;

fn json(place: &Place, verb: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("{verb} --json"))).unwrap()
}

#[test]
fn warming_makes_the_file_resident() {
    let place = Place::with_a_database();
    std::fs::write(place.path("big"), vec![7; 5_000_001]).unwrap();
    place.ok("put a.maple big @big");
    let warmed = json(&place, "warm a.maple");
    let len = place.path("a.maple").metadata().unwrap().len();
    assert_eq!((&warmed["bytes"], &warmed["resident_bytes"]), (&len.into(), &len.into()));
    let residency = json(&place, "residency a.maple --parts 7");
    assert_eq!((&residency["file_bytes"], &residency["resident_bytes"]), (&len.into(), &len.into()));
    let parts = residency["parts"].as_array().unwrap();
    assert!(
        parts.len() <= 7 && parts.iter().all(|part| part["bytes"] == part["resident_bytes"]),
        "{residency}"
    );
    assert_eq!(parts.iter().map(|part| part["bytes"].as_u64().unwrap()).sum::<u64>(), len);
    let words = place.ok("residency a.maple");
    assert!(words.starts_with("[@@@@") && words.contains(" in memory, 100 %\n"), "{words}");
    assert_eq!(json(&place, "warm a.maple --limit 4096")["bytes"], 4096);
}

#[test]
fn the_upper_levels_of_trees_are_warmed_and_locked_on_wish() {
    let place = Place::new();
    place.ok("create a.maple");
    let rows: String = (0..30_000).map(|n| format!("key{n:06},{}\n", "v".repeat(60))).collect();
    assert_eq!(place.maple_reading("load a.maple -f csv --no-header", rows.as_bytes()).code, Some(0));
    let pages = |verb: &str, field: &str| json(&place, verb)[field].as_u64().unwrap();
    let branches = pages("warm a.maple --branches", "branch_pages");
    let [one, two, all] =
        [1, 2, 20].map(|levels| pages(&format!("warm a.maple --levels {levels}"), "node_pages"));
    assert!(one < two && two < all && branches < all, "{one} {two} {all} {branches}");
    let tables = json(&place, "residency a.maple --tables");
    let levels = tables["tables"].as_array().unwrap();
    assert_eq!(levels.iter().map(|level| level["pages"].as_u64().unwrap()).sum::<u64>(), all);
    assert!(levels.iter().all(|level| level["pages"] == level["resident_pages"]), "{tables}");
    assert!(place.ok("warm a.maple --levels 1").ends_with(" in memory\n"));
    for usage in ["--lock", "--levels 0", "--levels 1 --branches", "--levels 1 --limit 4096"] {
        place.fails(2, &format!("warm a.maple {usage}"));
    }
    place.check("a.maple");
}

#[test]
#[allow(unsafe_code)]
fn processes_that_map_the_file_are_listed_with_what_they_map() {
    let place = Place::with_a_database();
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    let env = unsafe { mapledb::Env::options().open(place.path("a.maple")) }.unwrap();
    let report = env.check(|_| ()).unwrap();
    assert!(report.is_clean());
    let told = json(&place, "residency a.maple --processes");
    let own = told["processes"].as_array().unwrap().iter().find(|one| one["pid"] == std::process::id());
    let own = own.expect("this process has the file mapped");
    assert!(own["mapped_bytes"].as_u64().unwrap() >= 4096, "{told}");
    assert!(
        own["share_bytes"].as_u64() <= own["mapped_bytes"].as_u64() && own["locked_bytes"] == 0,
        "{told}"
    );
    assert!(place.ok("residency a.maple --processes").contains(&std::process::id().to_string()));
    env.close().unwrap();
    let told = json(&place, "residency a.maple --processes");
    assert!(
        told["processes"].as_array().unwrap().iter().all(|one| one["pid"] != std::process::id()),
        "{told}"
    );
    place.fails(2, "residency a.maple --processes --tables");
    place.check("a.maple");
}

#[test]
fn an_empty_or_missing_file_is_no_surprise() {
    let place = Place::new();
    std::fs::write(place.path("empty"), b"").unwrap();
    assert_eq!(place.ok("residency empty"), "[]\n0 bytes of 0 bytes in memory, 0 %\n");
    place.ok("warm empty");
    for verb in ["residency none", "warm none", "residency .", "warm .", "doctor none", "metrics none"] {
        let told = place.fails(4, verb);
        assert!(told.starts_with("maple: cannot ") || told.contains("does not exist"), "{verb}: {told}");
    }
    place.fails(2, "residency empty --parts 0");
}

/// Checks a text against the rules of OpenMetrics 1.0 that concern counters and gauges without timestamps.
fn assert_open_metrics(text: &str) {
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    let mut families = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    let mut samples = 0;
    for line in text.trim_end_matches("# EOF\n").lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next().unwrap(), words.next().unwrap()) {
            ("#", "TYPE") => {
                let (name, kind) = (words.next().unwrap(), words.next().unwrap());
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
                assert!(!name.ends_with("_total"), "{line}");
                assert!(families.insert(name.to_owned()), "a family is told once: {line}");
                family = Some((name.to_owned(), kind.to_owned()));
            }
            ("#", "UNIT") => {
                let (name, unit) = (words.next().unwrap(), words.next().unwrap());
                assert_eq!(name, family.as_ref().unwrap().0);
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            }
            ("#", "HELP") => {
                assert_eq!(words.next().unwrap(), family.as_ref().unwrap().0);
                assert!(!words.next().unwrap().is_empty());
            }
            (sample, value) => {
                let (name, kind) = family.as_ref().unwrap();
                let suffix = if kind == "counter" { "_total" } else { "" };
                let (found, label) = sample.split_once('{').unwrap();
                assert_eq!(found, format!("{name}{suffix}"));
                assert!(label.starts_with("path=\"/") && label.ends_with("\"}"), "{line}");
                value.parse::<u64>().unwrap();
                assert_eq!(words.next(), None);
                samples += 1;
            }
        }
    }
    assert_eq!(samples, families.len());
}

#[test]
fn metrics_are_what_the_format_asks_for_and_what_happened() {
    let place = Place::with_a_database();
    let text = place.ok("metrics a.maple");
    assert_open_metrics(&text);
    for name in ["maple_commits_total{", "maple_file_bytes{", "maple_readers{", "maple_poisoned{"] {
        assert!(text.contains(name), "{text}");
    }
    let metrics = json(&place, "metrics a.maple");
    let value = |name: &str| {
        let all = metrics["metrics"].as_array().unwrap();
        all.iter().find(|metric| metric["name"] == name).unwrap()["value"].as_u64().unwrap()
    };
    let info = json(&place, "info a.maple");
    assert_eq!(value("maple_txnid"), info["txnid"].as_u64().unwrap());
    assert_eq!(value("maple_file_bytes"), place.path("a.maple").metadata().unwrap().len());
    place.ok("metrics a.maple --frozen");
}

#[test]
fn the_doctor_says_what_to_do_of_each_warning() {
    let place = Place::with_a_database();
    for path in ["a.maple", ".", ""] {
        let ended = place.maple(format!("doctor --json {path}").trim_end());
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        assert_eq!(checks.len(), 15);
        let warnings = checks.iter().filter(|check| check["verdict"] == "WARN").count();
        assert_eq!(report["warnings"], warnings);
        assert_eq!((ended.code, &ended.stderr[..]), (Some(i32::from(warnings > 0)), ""));
        for check in checks {
            assert_eq!(check["fix"].is_string(), check["verdict"] == "WARN", "{check}");
        }
    }
    let words = String::from_utf8(place.maple("doctor a.maple").stdout).unwrap();
    assert!(words.contains("\n      the file may grow\n"), "{words}");
    assert!(words.contains("  kernel: ") && words.contains("15 checks, "), "{words}");
    assert_eq!(place.files(), ["a.maple", "a.maple-lock"]);
}
