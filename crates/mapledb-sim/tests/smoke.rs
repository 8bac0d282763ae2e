//! A minute of the harnesses; `mapledb-sim run images` runs them for as long as one likes.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use mapledb_sim::{crash, damage, hostile};

#[test]
fn what_a_crash_leaves_is_what_the_law_allows() {
    let mut counts = crash::Counts::default();
    let limits = crash::Limits {
        sessions: u64::MAX,
        images: 4_000,
        end: Instant::now() + Duration::from_secs(30),
        exe: env!("CARGO_BIN_EXE_mapledb-sim").into(),
    };
    let answer = crash::run(1, limits, &mut counts, &AtomicU64::new(0));
    println!("{counts:#?}");
    if let Err(failure) = answer {
        panic!("{failure}");
    }
    assert!(counts.again * 10 >= counts.images, "a tenth of all images crash again: {counts:?}");
    assert!(counts.images >= 300, "images in 30 seconds: {counts:?}");
    assert!(counts.births > 0, "crashes while a file is made: {counts:?}");
    assert!(counts.reads_in_syncs > 0, "readers begin while a sync is on its way: {counts:?}");
    assert!(counts.deaths > 0, "a second process dies and is taken over from: {counts:?}");
    assert!(counts.parkings > 0, "readers that are parked: {counts:?}");
    assert!(counts.flips > 0 && counts.live_evictions > 0, "files that change under readers: {counts:?}");
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
