//! Damaged files: each verb says so, with the page and the reason, and exit code 5.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::FileExt;

use common::Place;

fn flip(place: &Place, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(place.path("a.maple")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

fn filled() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    let text: String = (0..2_000).map(|number| format!("key{number:06},{}\n", "v".repeat(100))).collect();
    place.maple_reading("load a.maple -f csv --no-header", text.as_bytes());
    let big = vec![b'x'; 300_000];
    std::fs::write(place.path("big"), big).unwrap();
    place.ok("put a.maple zbig @big");
    // The newest commits' pages are verified at every opening; damage in older ones is for who reads them.
    place.ok("create a.maple -t t");
    place.ok("put a.maple -t t k v");
    place
}

/// The value of a field in what `maple page` prints, such as the root of a tree.
fn root(place: &Place) -> u64 {
    let a: serde_json::Value = serde_json::from_str(&place.ok("page a.maple meta-a --json")).unwrap();
    let b: serde_json::Value = serde_json::from_str(&place.ok("page a.maple meta-b --json")).unwrap();
    let newest = if a["txnid"].as_u64() > b["txnid"].as_u64() { a } else { b };
    newest["trees"][0]["root"].as_u64().unwrap()
}

fn page(place: &Place, number: u64) -> serde_json::Value {
    serde_json::from_str(&place.ok(&format!("page a.maple {number} --json"))).unwrap()
}

#[test]
fn page_walks_from_the_metas_to_a_value() {
    let place = filled();
    let branch = page(&place, root(&place));
    assert_eq!(branch["kind"], "branch");
    assert_eq!(branch["faults"], serde_json::json!([]));
    let slots = branch["slots"].as_array().unwrap();
    assert_eq!(slots.iter().map(|slot| slot["count"].as_u64().unwrap()).sum::<u64>(), 2001);
    let leaf = page(&place, slots.last().unwrap()["child"].as_u64().unwrap());
    assert_eq!(leaf["kind"], "leaf");
    let last = leaf["slots"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["key"], "zbig");
    let run = page(&place, last["value"]["overflow"]["page"].as_u64().unwrap());
    assert_eq!(
        (&run["kind"], &run["len_bytes"], &run["chunks"], &run["verified"]),
        (&"overflow".into(), &300_000.into(), &5.into(), &true.into())
    );
    assert!(place.ok(&format!("page a.maple {}", run["page"])).contains("verified  the whole run"));
}

#[test]
fn a_flipped_bit_is_found_by_every_verb_that_reads_the_page() {
    let place = filled();
    let branch = page(&place, root(&place));
    let leaf = branch["slots"][0]["child"].as_u64().unwrap();
    flip(&place, leaf * 4096 + 2000);
    let told = place.maple("check a.maple");
    assert_eq!(told.code, Some(5));
    let found = String::from_utf8(told.stdout).unwrap();
    assert!(found.starts_with(&format!("page {leaf}: checksum is 0x")), "{found}");
    assert!(found.contains("DAMAGED: "), "{found}");
    assert_eq!(told.stderr, "maple: a.maple: 1 problem found; restore it from a copy\n");
    let report: serde_json::Value =
        serde_json::from_slice(&place.maple("check a.maple --json -q").stdout).unwrap();
    assert_eq!((&report["clean"], &report["problems"][0]["page"]), (&false.into(), &leaf.into()));
    for verb in ["get a.maple key000000", "scan a.maple", "copy a.maple b.maple --compact"] {
        let told = place.fails(5, verb);
        assert!(told.contains(&format!("corrupt page {leaf}: checksum is 0x")), "{verb}: {told}");
        assert!(!place.path("b.maple").exists());
    }
    let told = place.fails(5, "dump a.maple -o b.jsonl");
    assert!(told.ends_with("(records written 0, records in all 2002)\n"), "{told}");
    assert!(!place.path("b.jsonl").exists());
    let shown = place.maple(&format!("page a.maple {leaf}"));
    assert_eq!(shown.code, Some(5));
    assert!(String::from_utf8(shown.stdout).unwrap().contains("\nFAULT: checksum is 0x"));
    assert_eq!(place.ok("get a.maple key001999").len(), 101, "other pages are as good as before");
}

#[test]
fn a_flipped_bit_in_a_long_value_is_found() {
    let place = filled();
    let branch = page(&place, root(&place));
    let leaf = page(&place, branch["slots"].as_array().unwrap().last().unwrap()["child"].as_u64().unwrap());
    let run =
        leaf["slots"].as_array().unwrap().last().unwrap()["value"]["overflow"]["page"].as_u64().unwrap();
    flip(&place, run * 4096 + 200_000);
    place.fails(5, "check a.maple");
    place.fails(5, "get a.maple zbig");
    let shown = place.maple(&format!("page a.maple {run}"));
    assert_eq!(shown.code, Some(5));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("FAULT: chunk 3 of the value does not match its checksum"), "{shown}");
}

#[test]
fn a_file_without_a_meta_that_stands_is_told_and_its_pages_can_be_seen() {
    let place = filled();
    let root = root(&place);
    flip(&place, 100);
    flip(&place, 65_536 + 100);
    let told = place.fails(5, "info a.maple");
    assert!(told.contains("neither of its metas stands"), "{told}");
    let shown = place.maple("page a.maple meta-a");
    assert_eq!(shown.code, Some(5));
    assert!(String::from_utf8(shown.stdout).unwrap().contains("FAULT: checksum is 0x"));
    assert!(place.fails(5, &format!("page a.maple {root}")).contains("give --page-size"));
    assert!(place.ok(&format!("page a.maple {root} --page-size 4096")).contains("kind      branch"));
}

#[test]
fn pages_that_cannot_be_shown_are_refused() {
    let place = filled();
    assert_eq!(
        place.fails(2, "page a.maple 5"),
        "maple: a.maple: page 5 lies under the metas: the first page is 32\n"
    );
    assert_eq!(
        place.fails(4, "page a.maple 99999999"),
        "maple: a.maple: the file ends before page 99999999: \"maple info\" tells how long it should be\n"
    );
    assert!(place.fails(2, "page a.maple x").contains("neither a page number nor meta-a nor meta-b"));
    assert_eq!(place.fails(4, "page . 32"), "maple: . is not a regular file: check the name\n");
}

#[test]
fn every_damaged_page_and_long_value_of_a_table_is_told_and_the_rest_is_checked() {
    let place = filled();
    for n in 0..4 {
        place.ok(&format!("put a.maple zbig{n} @big"));
    }
    place.ok("create a.maple -t u");
    place.ok("put a.maple -t u k v");
    place.ok("put a.maple -t u k w");
    let sound: serde_json::Value = serde_json::from_str(&place.ok("check a.maple --json -q")).unwrap();
    let branch = page(&place, root(&place));
    let children: Vec<u64> =
        branch["slots"].as_array().unwrap().iter().map(|slot| slot["child"].as_u64().unwrap()).collect();
    let last = page(&place, *children.last().unwrap());
    let runs: Vec<u64> = last["slots"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|slot| slot["value"]["overflow"]["page"].as_u64())
        .collect();
    assert_eq!(runs.len(), 5);
    let check = |level: &str| -> serde_json::Value {
        serde_json::from_slice(&place.maple(&format!("check a.maple --json -q --level {level}")).stdout)
            .unwrap()
    };
    let told = |report: &serde_json::Value| -> Vec<u64> {
        let problems = report["problems"].as_array().unwrap();
        problems.iter().map(|problem| problem["page"].as_u64().unwrap()).collect()
    };
    // The bytes of long values are read by a full check only.
    runs[..4].iter().for_each(|run| flip(&place, run * 4096 + 200_000));
    let report = check("full");
    assert_eq!(told(&report), runs[..4]);
    assert_eq!(
        (&report["pages_reachable"], &report["pages_unknown"]),
        (&sound["pages_reachable"], &0.into())
    );
    assert_eq!(report["entries"], sound["entries"]);
    let pages = check("pages");
    assert_eq!(pages["clean"], true, "{}", pages["problems"]);
    // Leaves by all but a quick one.
    let leaves = [children[0], children[2], children[3]];
    leaves.iter().for_each(|leaf| flip(&place, leaf * 4096 + 2000));
    assert_eq!(told(&check("full")), [&leaves[..], &runs[..4]].concat());
    assert_eq!(told(&check("pages")), leaves);
    let quick = check("quick");
    assert_eq!((&quick["clean"], &quick["pages_reachable"]), (&true.into(), &sound["pages_reachable"]));
    let text = String::from_utf8(place.maple("check a.maple").stdout).unwrap();
    assert_eq!(text.lines().count(), 8, "a line for each, and the verdict: {text}");
    // Below a damaged root nothing is known, and nothing is said to be lost.
    flip(&place, root(&place) * 4096 + 2000);
    let report = check("full");
    assert_eq!(told(&report), [root(&place)]);
    let of = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(of("pages_reachable") + of("pages_unknown"), sound["pages_reachable"].as_u64().unwrap());
    assert!(of("pages_unknown") > 400, "{report}");
}

#[test]
fn histograms_count_every_page_key_value_and_table() {
    let place = filled();
    place.ok("create a.maple -t m --multimap --keys str --values u32");
    let tags: String = (0..600).map(|number| format!("tag{},{number}\n", number % 2)).collect();
    place.maple_reading("load a.maple -t m -f csv --no-header", tags.as_bytes());
    let report: serde_json::Value = serde_json::from_str(&place.ok("check a.maple --json -q")).unwrap();
    let rows = |name: &str| -> Vec<(u64, u64, u64)> {
        let of = |row: &serde_json::Value, field: &str| row[field].as_u64().unwrap();
        let rows = report["histograms"][name].as_array().unwrap();
        rows.iter().map(|row| (of(row, "from"), of(row, "to"), of(row, "count"))).collect()
    };
    let sum = |name: &str| rows(name).iter().map(|row| row.2).sum::<u64>();
    // 2000 keys of 9 bytes, "zbig" and "tag0" and "tag1", and "k".
    assert_eq!(rows("key_lengths"), [(1, 1, 1), (4, 7, 3), (8, 15, 2000)]);
    assert_eq!(rows("value_lengths"), [(1, 1, 1), (4, 7, 600), (64, 127, 2000), (262_144, 524_287, 1)]);
    assert_eq!(rows("duplicates"), [(256, 511, 2)]);
    assert_eq!(sum("depths"), 3);
    assert!(sum("leaf_fill") > 50 && sum("branch_fill") >= 1, "{report}");
    let shown = place.ok("check a.maple --histograms");
    assert!(shown.contains("256-511") && shown.contains("####"), "{shown}");
}
