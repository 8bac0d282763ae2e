//! `rescue`: whatever is damaged, every record whose path is intact comes out, and what does not is told.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Place;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const PAGE: usize = 4096;

/// Tables of several levels, long values and types, written by several commits.
fn filled() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    let rows = |from: u32, value: &str| -> String {
        (from..from + 3_000).map(|number| format!("key{number:06},{value}{number}\n")).collect()
    };
    let load = |options: &str, rows: String| {
        let ended =
            place.maple_reading(&format!("load a.maple{options} -f csv --no-header -q"), rows.as_bytes());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    };
    load("", rows(0, &"v".repeat(90)));
    load("", rows(1_500, &"w".repeat(90)));
    load(" -t numbers --keys u32 --values str", (0..4_000).map(|n| format!("{n},value {n}\n")).collect());
    std::fs::write(place.path("big"), vec![b'x'; 200_000]).unwrap();
    for key in ["key000100b", "key001000b", "zbig"] {
        place.maple_with(&["put", "a.maple", key, "@big"]);
    }
    place.ok("create a.maple -t empty");
    place
}

/// Records by table and key.
type Records = BTreeMap<(Option<String>, String), Value>;

fn records(dump: &[u8]) -> Records {
    let mut table = None;
    let mut records = Records::new();
    for line in dump.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        match line.get("key") {
            Some(key) => {
                records.insert((table.clone(), key.to_string()), line["value"].clone());
            }
            None if line.get("table").is_some() => table = line["table"].as_str().map(str::to_owned),
            None => {}
        }
    }
    records
}

fn dumped(place: &Place) -> Records {
    records(place.ok("dump a.maple").as_bytes())
}

fn json(place: &Place, verb: &str) -> Value {
    serde_json::from_slice(&place.maple(&format!("{verb} --json")).stdout).unwrap()
}

/// The pages that each record's path takes: those of its table's tree, and for those of named tables of the catalog.
fn paths(place: &Place) -> BTreeMap<(Option<String>, String), BTreeSet<u64>> {
    let (a, b) = (json(place, "page a.maple meta-a"), json(place, "page a.maple meta-b"));
    let newest = if a["txnid"].as_u64() > b["txnid"].as_u64() { a } else { b };
    let mut paths = BTreeMap::new();
    let root = |tree: usize| newest["trees"][tree]["root"].as_u64().unwrap();
    descend(place, root(0), &mut BTreeSet::new(), &mut |key, _, path| {
        paths.insert((None, key.to_string()), path.clone());
    });
    let mut tables = Vec::new();
    descend(place, root(1), &mut BTreeSet::new(), &mut |name, value, path| {
        // A table record begins with the number of its root, in six bytes.
        let record = value["inline"]["hex"]
            .as_str()
            .map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap());
        let record =
            record.or_else(|| value["inline"].as_str().map(|text| text.as_bytes().to_vec())).unwrap();
        let root = record[..6].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        tables.push((name.as_str().unwrap().to_owned(), root, path.clone()));
    });
    for (name, root, mut path) in tables.into_iter().filter(|(_, root, _)| *root > 0) {
        descend(place, root, &mut path, &mut |key, _, path| {
            let hex = key["hex"].as_str().map(|hex| u32::from_str_radix(hex, 16).unwrap().to_string());
            let key = hex.unwrap_or_else(|| {
                let bytes: [u8; 4] = key.as_str().unwrap().as_bytes().try_into().unwrap();
                u32::from_be_bytes(bytes).to_string()
            });
            paths.insert((Some(name.clone()), key), path.clone());
        });
    }
    paths
}

fn descend(
    place: &Place,
    at: u64,
    path: &mut BTreeSet<u64>,
    take: &mut dyn FnMut(&Value, &Value, &BTreeSet<u64>),
) {
    let page = json(place, &format!("page a.maple {at}"));
    let is_new = path.insert(at);
    for slot in page["slots"].as_array().unwrap() {
        match slot["child"].as_u64() {
            Some(child) => descend(place, child, path, take),
            None => {
                let mut own = path.clone();
                if let Some(run) = slot["value"]["overflow"]["page"].as_u64() {
                    let pages =
                        slot["value"]["overflow"]["len_bytes"].as_u64().unwrap().div_ceil(PAGE as u64) + 1;
                    own.extend(run..run + pages);
                }
                take(&slot["key"], &slot["value"], &own);
            }
        }
    }
    if is_new {
        path.remove(&at);
    }
}

#[test]
fn a_sound_file_comes_out_whole_and_loads_again() {
    let place = filled();
    let all = dumped(&place);
    let told = place.ok("rescue a.maple out.jsonl");
    assert!(told.starts_with("rescued 8,503 records of 3 tables, found by meta "), "{told}");
    assert_eq!(records(&std::fs::read(place.path("out.jsonl")).unwrap()), all);
    place.ok("create b.maple");
    place.ok("load b.maple out.jsonl");
    assert_eq!(place.ok("diff a.maple b.maple"), "");
    let streamed = place.maple("rescue a.maple -");
    assert_eq!(streamed.code, Some(0), "{}", streamed.stderr);
    assert_eq!(records(&streamed.stdout), all);
}

#[test]
fn a_file_without_metas_comes_out_whole() {
    let place = filled();
    let all = dumped(&place);
    let mut bytes = std::fs::read(place.path("a.maple")).unwrap();
    bytes[..PAGE].fill(0);
    bytes[65_536..65_536 + PAGE].fill(0xff);
    std::fs::write(place.path("a.maple"), bytes).unwrap();
    let (code, report, found) = rescued(&place);
    // All the same it is a guess, and nobody may take it for more.
    assert_eq!((code, &report["may_be_more"]), (Some(5), &Value::Bool(true)), "{report}");
    assert_eq!((&report["found_by"], report["lost_records"].as_u64()), (&"every page".into(), Some(0)));
    assert_eq!(found, all);
}

#[test]
fn every_record_whose_pages_are_intact_comes_out_of_random_damage() {
    let place = filled();
    let sound = std::fs::read(place.path("a.maple")).unwrap();
    let all = dumped(&place);
    let paths = paths(&place);
    assert_eq!(paths.len(), all.len());
    let pages = sound.len() / PAGE;
    for seed in 0..25 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut bytes = sound.clone();
        let hit: BTreeSet<u64> =
            (0..1 << random.random_range(0..6)).map(|_| random.random_range(32..pages as u64)).collect();
        for page in &hit {
            let at = *page as usize * PAGE;
            match random.random_range(0..4) {
                0 => bytes[at + random.random_range(0..PAGE)] ^= 1 << random.random_range(0..8),
                1 => bytes[at..at + PAGE].fill(0),
                2 => random.fill(&mut bytes[at..at + PAGE]),
                _ => bytes.copy_within(32 * PAGE..33 * PAGE, at),
            }
        }
        // One meta may go too.
        if seed % 3 == 0 {
            bytes[seed as usize % 2 * 65_536 + 100] ^= 1;
        }
        std::fs::write(place.path("a.maple"), &bytes).unwrap();
        let ended = place.maple(&format!("rescue a.maple out{seed}.jsonl --json"));
        assert!(matches!(ended.code, Some(0 | 5)), "seed {seed}: {ended:?}");
        let rescued = records(&std::fs::read(place.path(&format!("out{seed}.jsonl"))).unwrap());
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(report["records"], rescued.len(), "seed {seed}");
        if seed % 3 == 0 {
            // The other meta may be that of an older commit; what is there must have been there.
            continue;
        }
        for (record, value) in &all {
            let is_intact = paths[record].is_disjoint(&hit);
            assert!(
                !is_intact || rescued.get(record) == Some(value),
                "seed {seed}: {record:?} is intact and lost"
            );
        }
        for (record, value) in &rescued {
            assert_eq!(all.get(record), Some(value), "seed {seed}: {record:?} never was");
        }
        assert_eq!(ended.code == Some(5), !report["lost"].as_array().unwrap().is_empty(), "seed {seed}");
        if rescued.len() < all.len() {
            assert_eq!(ended.code, Some(5), "seed {seed}: records are lost and nothing is said");
        }
    }
}

#[test]
fn any_bytes_are_an_error_or_a_rescue_and_never_a_crash() {
    let place = filled();
    let sound = std::fs::read(place.path("a.maple")).unwrap();
    for seed in 0..25 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut bytes = sound.clone();
        match seed % 5 {
            0 => random.fill(&mut bytes[..]),
            1 => bytes.truncate(random.random_range(0..sound.len())),
            2 => bytes[..140_000].fill(0),
            // Hostile pages with checksums that are right.
            _ => {
                for _ in 0..200 {
                    let at = random.random_range(32..bytes.len() / PAGE) * PAGE;
                    let page = &mut bytes[at..at + PAGE];
                    for _ in 0..random.random_range(1..20) {
                        page[random.random_range(8..PAGE)] = random.random();
                    }
                    mapledb_format::header::seal(page);
                }
                bytes[..4096].fill(0);
                bytes[65_536..69_632].fill(0);
            }
        }
        std::fs::write(place.path("a.maple"), &bytes).unwrap();
        let ended = place.maple(&format!("rescue a.maple out{seed}.jsonl"));
        assert!(matches!(ended.code, Some(0 | 4 | 5)), "seed {seed}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "seed {seed}: {}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let place = filled();
    std::fs::write(place.path("there"), b"").unwrap();
    assert!(place.fails(4, "rescue a.maple there").contains("there exists"));
    assert!(place.fails(2, "rescue a.maple out.csv").contains("this format holds one table"));
    place.fails(4, "rescue none out");
    place.fails(4, "rescue . out");
    std::fs::write(place.path("text"), "no database".repeat(50_000)).unwrap();
    assert!(place.fails(5, "rescue text out").contains("no page is whole"));
    assert_eq!(place.files(), ["a.maple", "a.maple-lock", "big", "text", "there"]);
}

/// Fills `pages` of `a.maple` with other bytes.
fn destroy(place: &Place, pages: impl IntoIterator<Item = u64>) {
    let mut bytes = std::fs::read(place.path("a.maple")).unwrap();
    for page in pages {
        let at = usize::try_from(page).unwrap() * PAGE;
        bytes[at..at + PAGE].fill(0x5a);
    }
    std::fs::write(place.path("a.maple"), bytes).unwrap();
}

/// The root of the default table of the newest meta, or that of the catalog.
fn newest_root(place: &Place, tree: usize) -> u64 {
    let (a, b) = (json(place, "page a.maple meta-a"), json(place, "page a.maple meta-b"));
    let newest = if a["txnid"].as_u64() > b["txnid"].as_u64() { a } else { b };
    newest["trees"][tree]["root"].as_u64().unwrap()
}

/// The root of the table `numbers`.
fn root_of_numbers(place: &Place) -> u64 {
    let paths = paths(place);
    let of_numbers = || paths.iter().filter(|((table, _), _)| table.as_deref() == Some("numbers"));
    let catalog = newest_root(place, 1);
    let mut shared = of_numbers().next().unwrap().1.clone();
    of_numbers().for_each(|(_, path)| shared.retain(|page| path.contains(page)));
    shared.remove(&catalog);
    *shared.first().unwrap()
}

/// What a rescue says and dumps.
fn rescued(place: &Place) -> (Option<i32>, Value, Records) {
    let _ = std::fs::remove_file(place.path("out.jsonl"));
    let ended = place.maple("rescue a.maple out.jsonl --json");
    let report = serde_json::from_slice(&ended.stdout).unwrap();
    (ended.code, report, records(&std::fs::read(place.path("out.jsonl")).unwrap()))
}

#[test]
fn all_records_come_back_where_the_branch_at_the_root_is_lost() {
    let place = filled();
    let all = dumped(&place);
    destroy(&place, [newest_root(&place, 0)]);
    let (code, report, found) = rescued(&place);
    assert_eq!(found, all, "{report}");
    assert_eq!((code, report["lost_records"].as_u64()), (Some(0), Some(0)), "{report}");
}

#[test]
fn all_records_come_back_where_an_inner_branch_of_a_deep_table_is_lost() {
    let place = Place::new();
    place.ok("create a.maple");
    // Long keys make branches narrow.
    let rows: String = (0..3_000).map(|n| format!("{n:06}{},{n}\n", "k".repeat(700))).collect();
    let ended = place.maple_reading("load a.maple -f csv --no-header -q", rows.as_bytes());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let all = dumped(&place);
    let root = json(&place, &format!("page a.maple {}", newest_root(&place, 0)));
    let children = root["slots"].as_array().unwrap();
    let inner = children[children.len() / 2]["child"].as_u64().unwrap();
    assert_eq!(json(&place, &format!("page a.maple {inner}"))["kind"], "branch");
    destroy(&place, [inner]);
    let (code, report, found) = rescued(&place);
    assert!(found == all && code == Some(0), "{report}");
    let dump = std::fs::read_to_string(place.path("out.jsonl")).unwrap();
    let keys: Vec<&str> = dump.lines().filter(|line| line.contains("\"key\"")).collect();
    assert!(keys.is_sorted(), "the records are out of order");
}

#[test]
fn what_may_be_of_two_tables_is_dumped_apart() {
    let place = filled();
    let all = dumped(&place);
    destroy(&place, [newest_root(&place, 0), root_of_numbers(&place)]);
    let (code, report, found) = rescued(&place);
    assert_eq!(code, Some(5), "{report}");
    assert_eq!(found.len(), all.len(), "{report}");
    // Branches of the default table tell by their level whose they are; the leaves of the other might be of either.
    assert!(found.keys().all(|(table, _)| table.as_deref() != Some("numbers")));
    let of_default = |records: &Records| -> Records {
        let records = records.iter().filter(|((table, _), _)| table.is_none());
        records.map(|(record, value)| (record.clone(), value.clone())).collect()
    };
    assert_eq!(of_default(&found), of_default(&all));
}

#[test]
fn without_metas_and_root_one_leaf_is_not_taken_for_the_table() {
    let place = Place::new();
    place.ok("create a.maple");
    let rows: String = (0..3_000).map(|n| format!("key{n:06},{}{n}\n", "v".repeat(20))).collect();
    let ended = place.maple_reading("load a.maple -f csv --no-header -q", rows.as_bytes());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    destroy(&place, [0, 16, newest_root(&place, 0)]);
    let (code, report, found) = rescued(&place);
    assert_eq!((code, &report["may_be_more"]), (Some(5), &Value::Bool(true)), "{report}");
    assert_eq!(found.len(), 3_000, "{report}");
    assert!(found.keys().all(|(table, _)| table.as_deref() == Some("lost+found")));
}

#[test]
fn after_overwrites_and_deletes_nothing_stale_comes_out_of_a_few_damaged_pages() {
    let place = filled();
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let from = random.random_range(0..4_000);
        let rows: String =
            (0..40).map(|n| format!("key{:06},{seed}\n", from + n * random.random_range(1..9))).collect();
        place.maple_reading("load a.maple -f csv --no-header -q", rows.as_bytes());
        place.maple(&format!("del a.maple key{:06}", random.random_range(0..4_000)));
    }
    let sound = std::fs::read(place.path("a.maple")).unwrap();
    let (all, paths) = (dumped(&place), paths(&place));
    let branches: BTreeSet<u64> = [newest_root(&place, 0), root_of_numbers(&place)].into();
    // A record is asked for by its value and key, whatever the table: it may be apart.
    for seed in 0..40 {
        let mut random = SmallRng::seed_from_u64(seed);
        std::fs::write(place.path("a.maple"), &sound).unwrap();
        let mut hit: BTreeSet<u64> = (0..random.random_range(1..=3))
            .map(|_| random.random_range(32..(sound.len() / PAGE) as u64))
            .collect();
        if seed % 2 == 0 {
            hit.insert(*branches.iter().nth(random.random_range(0..2)).unwrap());
        }
        destroy(&place, hit.iter().copied());
        let (code, report, found) = rescued(&place);
        if report["notes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|note| note.as_str().unwrap().contains("free records"))
        {
            continue;
        }
        for (record, value) in &found {
            let is_apart = record.0.as_ref().is_some_and(|name| name.starts_with("lost+found"));
            assert!(
                is_apart || all.get(record) == Some(value),
                "seed {seed}: {record:?} is not of the state"
            );
        }
        for (record, value) in &all {
            let leaf_is_intact =
                paths[record].iter().all(|page| branches.contains(page) || !hit.contains(page));
            let is_apart = found.keys().any(|(table, _)| table.as_deref() == Some("lost+found"));
            assert!(
                is_apart || !leaf_is_intact || found.get(record) == Some(value),
                "seed {seed}: {record:?} is intact and lost: {report}"
            );
        }
        assert!(found.len() == all.len() || code == Some(5), "seed {seed}: {report}");
    }
}

/// Both metas, and which of them is the newer.
fn metas(place: &Place) -> [(u64, bool); 2] {
    let txnids = ["a", "b"].map(|slot| json(place, &format!("page a.maple meta-{slot}"))["txnid"].as_u64());
    [(0, txnids[0] > txnids[1]), (16, txnids[1] > txnids[0])]
}

#[test]
fn what_the_newest_commit_wrote_is_found_where_its_meta_is_lost() {
    let place = Place::new();
    place.ok("create a.maple -t words --keys str --values u32");
    for (word, number) in [("ash", 1), ("elm", 2), ("oak", 3)] {
        place.ok(&format!("put a.maple -t words {word} {number}"));
    }
    let all = dumped(&place);
    let sound = std::fs::read(place.path("a.maple")).unwrap();
    for (page, is_newer) in metas(&place) {
        std::fs::write(place.path("a.maple"), &sound).unwrap();
        destroy(&place, [page]);
        let (code, report, found) = rescued(&place);
        if !is_newer {
            assert_eq!((code, report["notes"].as_array().map(Vec::len)), (Some(0), Some(1)), "{report}");
            assert_eq!(found, all);
            continue;
        }
        assert_eq!((code, &report["may_be_more"]), (Some(5), &Value::Bool(true)), "{report}");
        assert_eq!(found.keys().filter(|(table, _)| table.as_deref() == Some("words")).count(), 2);
        let apart: Vec<_> =
            found.keys().filter(|(table, _)| table.as_deref() == Some("lost+found")).collect();
        assert_eq!(apart.len(), 3, "the leaf that the last commit wrote: {report}");
    }
}

#[test]
fn a_list_of_snapshots_is_not_taken_for_a_table() {
    let place = Place::new();
    place.ok("create a.maple -t t --keys str --values str");
    place.ok("put a.maple -t t a 1");
    place.ok("snapshot create a.maple monday");
    let all = dumped(&place);
    destroy(&place, [0, 16]);
    let (code, report, found) = rescued(&place);
    assert_eq!((code, found), (Some(5), all), "{report}");
}

/// One byte of the catalog takes the root of a table with it, and a later table looks like the default one.
#[test]
fn what_a_wrong_guess_leaves_out_is_dumped_apart() {
    let place = Place::new();
    place.ok("create a.maple");
    let rows: String = (0..3_000).map(|n| format!("key{n},v{n}\n")).collect();
    let ended = place.maple_reading("load a.maple -f csv --no-header -q", rows.as_bytes());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (table, keys) in [("wide", ["hex:00", "hex:ff"]), ("small", ["w1", "w2"])] {
        place.ok(&format!("create a.maple -t {table}"));
        for key in keys {
            place.ok(&format!("put a.maple -t {table} {key} x"));
        }
    }
    destroy(&place, [0, 16, newest_root(&place, 1)]);
    let (code, report, found) = rescued(&place);
    assert_eq!(code, Some(5), "{report}");
    let keys: BTreeSet<&String> = found.keys().map(|(_, key)| key).collect();
    assert!((0..3_000).all(|n| keys.contains(&format!("\"key{n}\""))), "{report}");
}

#[test]
fn a_lost_catalog_is_told_in_tables_and_is_never_the_whole_loss() {
    let place = filled();
    let sound = std::fs::read(place.path("a.maple")).unwrap();
    // Those of both commits, or the older one would be taken.
    let metas = ["a", "b"].map(|slot| json(&place, &format!("page a.maple meta-{slot}")));
    destroy(&place, metas.iter().map(|meta| meta["trees"][1]["root"].as_u64().unwrap()));
    let (code, report, found) = rescued(&place);
    assert_eq!((code, &report["may_be_more"]), (Some(5), &Value::Bool(true)), "{report}");
    assert_eq!((report["lost_records"].as_u64(), report["lost"][0]["records"].as_u64()), (Some(0), Some(2)));
    assert_eq!(found.keys().filter(|(table, _)| table.is_none()).count(), 4_503, "{report}");
    let apart = found.keys().filter(|(table, _)| table.as_deref() == Some("lost+found"));
    assert_eq!(apart.count(), 4_000, "{report}");

    // Cut off behind the metas and their manifests, there is nothing to be found.
    std::fs::write(place.path("a.maple"), &sound[..32 * PAGE]).unwrap();
    let (code, report, found) = rescued(&place);
    assert_eq!((code, &report["may_be_more"], found.len()), (Some(5), &Value::Bool(true), 0), "{report}");
}

#[test]
fn what_a_recovery_has_passed_over_is_found_afterwards() {
    let place = Place::new();
    place.ok("create a.maple");
    let rows = |from: u32, to: u32| -> String { (from..to).map(|n| format!("key{n:05},v{n}\n")).collect() };
    let load = |rows: String| {
        let ended = place.maple_reading("load a.maple -f csv --no-header -q", rows.as_bytes());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    };
    load(rows(0, 1_000));
    load(rows(1_000, 1_200));
    // A leaf of the last commit is damaged, and the note that it was closed cleanly is gone.
    let leaf = json(&place, &format!("page a.maple {}", newest_root(&place, 0)))["slots"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()["child"]
        .as_u64()
        .unwrap();
    std::fs::remove_file(place.path("a.maple-lock")).unwrap();
    let mut bytes = std::fs::read(place.path("a.maple")).unwrap();
    bytes[leaf as usize * PAGE + 4_000] ^= 1;
    std::fs::write(place.path("a.maple"), bytes).unwrap();
    let (code, report, found) = rescued(&place);
    assert_eq!((code, report["found_by"] != "every page"), (Some(5), true), "{report}");
    assert!(found.len() > 1_000, "{report}");

    let opened = place.maple("info a.maple");
    assert!(opened.stderr.contains("a newer commit was passed over"), "{}", opened.stderr);
    let (code, report, found) = rescued(&place);
    assert_eq!((code, &report["may_be_more"]), (Some(5), &Value::Bool(true)), "{report}");
    assert_eq!(found.keys().filter(|(table, _)| table.is_none()).count(), 1_000, "{report}");
    assert!(found.keys().any(|(table, _)| table.as_deref() == Some("lost+found")), "{report}");
}
