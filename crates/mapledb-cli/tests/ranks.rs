//! `rank`, `nth` and `sample`: positions by the counts in the branches.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::Place;

/// Enough entries for a tree of several levels, at keys 0, 3, 6, ….
fn filled() -> Place {
    let place = Place::new();
    place.ok("create a.maple -t t --keys u32 --values str");
    let rows: String = (0..5_000).map(|number| format!("{},{}\n", number * 3, "v".repeat(40))).collect();
    let loaded = place.maple_reading("load a.maple -t t -f csv --no-header -q", rows.as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    place
}

#[test]
fn rank_and_nth_are_each_the_way_back_of_the_other() {
    let place = filled();
    for n in [0, 1, 2, 1_234, 4_998, 4_999] {
        let key = n * 3;
        assert_eq!(place.ok(&format!("nth a.maple {n} -t t --keys-only")), format!("{key}\n"));
        let back = 4_999 - n;
        assert_eq!(place.ok(&format!("nth a.maple {back} -t t --keys-only -r")), format!("{key}\n"));
        assert_eq!(place.ok(&format!("rank a.maple {key} -t t")), format!("{n} of 5,000 entries\n"));
        let beside: serde_json::Value =
            serde_json::from_str(&place.ok(&format!("rank a.maple {} -t t --json", key + 1))).unwrap();
        assert_eq!(beside, serde_json::json!({ "rank": n + 1, "entries": 5_000, "present": false }));
    }
}

#[test]
fn an_entry_that_is_not_there_is_the_answer_no() {
    let place = filled();
    for (verb, entries) in [("nth a.maple 5000 -t t", "5,000 entries"), ("nth a.maple 0", "0 entries")] {
        assert!(place.fails(1, verb).ends_with(&format!("the table has {entries}\n")));
    }
    place.fails(1, "nth a.maple 18446744073709551615 -t t --reverse");
    place.fails(2, "nth a.maple -1 -t t");
    place.fails(2, "rank a.maple seven -t t");
    place.fails(4, "nth a.maple 0 -t none");
    assert_eq!(place.ok("rank a.maple k"), "0 of 0 entries, where the key would stand: it is not there\n");
}

#[test]
fn a_sample_is_of_the_range_in_order_and_repeatable() {
    let place = filled();
    let verb = "sample a.maple -t t --keys-only --after 300 --to 3000 -n 100 --seed";
    let chosen = place.ok(&format!("{verb} 7"));
    let keys: Vec<u32> = chosen.lines().map(|key| key.parse().unwrap()).collect();
    assert_eq!(keys.len(), 100);
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(keys.iter().all(|key| (303..=3000).contains(key) && key % 3 == 0), "{keys:?}");
    assert_eq!(chosen, place.ok(&format!("{verb} 7")));
    assert_ne!(chosen, place.ok(&format!("{verb} 8")));
    assert_eq!(place.ok("sample a.maple -t t --keys-only --from 9 --to 12 --seed 1"), "9\n12\n");
    assert_eq!(place.ok("sample a.maple --seed 1"), "");
}

#[test]
fn a_sample_without_a_seed_tells_the_one_it_drew() {
    let place = filled();
    let ended = place.maple("sample a.maple -t t --keys-only");
    let seed =
        ended.stderr.strip_prefix("maple: note: --seed ").unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(
        place.ok(&format!("sample a.maple -t t --keys-only --seed {seed}")).as_bytes(),
        &ended.stdout[..]
    );
    let runs: BTreeSet<_> = (0..5).map(|_| place.ok("sample a.maple -t t --keys-only -q")).collect();
    assert_eq!(runs.len(), 5, "five runs drew the same");
}
