//! A minute of the harnesses; `mapledb-sim run images` runs them for as long as one likes.

use std::time::{Duration, Instant};

use mapledb_sim::{crash, hostile};

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
    let mut counts = hostile::Counts::default();
    let answer = hostile::run(1, 12, 200, Duration::from_secs(20), &mut counts);
    println!("{counts:#?}");
    if let Err(failure) = answer {
        panic!("{failure}");
    }
    assert!(counts.detected > 0 && counts.harmless > 0 && counts.discarded > 0, "{counts:?}");
}
