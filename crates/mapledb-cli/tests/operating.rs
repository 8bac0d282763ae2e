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
        assert_eq!(checks.len(), 14);
        let warnings = checks.iter().filter(|check| check["verdict"] == "WARN").count();
        assert_eq!(report["warnings"], warnings);
        assert_eq!((ended.code, &ended.stderr[..]), (Some(i32::from(warnings > 0)), ""));
        for check in checks {
            assert_eq!(check["fix"].is_string(), check["verdict"] == "WARN", "{check}");
        }
    }
    let words = String::from_utf8(place.maple("doctor a.maple").stdout).unwrap();
    assert!(words.contains("  kernel: ") && words.contains("14 checks, "), "{words}");
    assert_eq!(place.files(), ["a.maple", "a.maple-lock"]);
}
