//! A minute of the harnesses; `mapledb-sim run images` runs them for as long as one likes.

use std::time::{Duration, Instant};

use mapledb_sim::{crash, damage, hostile};

#[test]
fn what_a_crash_leaves_is_what_the_law_allows() {
    let mut counts = crash::Counts::default();
    let limits =
        crash::Limits { sessions: u64::MAX, images: 4_000, end: Instant::now() + Duration::from_secs(45) };
    let answer = crash::run(1, limits, &mut counts);
    println!("{counts:#?}");
    if let Err(failure) = answer {
        panic!("{failure}");
    }
    assert!(counts.again * 10 >= counts.images, "a tenth of all images crash again: {counts:?}");
    assert!(counts.images >= 300, "images in 45 seconds: {counts:?}");
}

#[test]
fn a_damaged_file_never_gives_a_wrong_answer() {
    let mut counts = damage::Counts::default();
    let answer = damage::run(1, 12, 200, Duration::from_secs(20), &mut counts);
    println!("{counts:#?}");
    if let Err(failure) = answer {
        panic!("{failure}");
    }
    assert!(counts.detected > 0 && counts.harmless > 0 && counts.discarded > 0, "{counts:?}");
}

#[test]
fn a_changed_bit_is_noticed_or_harmless_in_either_file() {
    let counts = hostile::sample(1, 4_000).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{counts:#?}");
    assert!(counts.detected > 0 && counts.harmless > 0 && counts.discarded > 0, "{counts:?}");
    assert!(counts.written > 100, "commits after a change: {counts:?}");
}
