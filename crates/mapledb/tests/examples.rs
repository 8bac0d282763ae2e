//! The examples do what they say: each is run with a size that takes no time, and asserts what it shows.
#![allow(clippy::unwrap_used)]

#[path = "../examples/huge_image.rs"]
#[allow(dead_code)]
mod huge_image;
#[path = "../examples/parallel_scan.rs"]
#[allow(dead_code)]
mod parallel_scan;
#[path = "../examples/scan_advice.rs"]
#[allow(dead_code)]
mod scan_advice;
#[path = "../examples/undo.rs"]
#[allow(dead_code)]
mod undo;

#[test]
fn changes_are_taken_back_and_made_again() {
    undo::run().unwrap();
}

#[test]
fn the_parts_of_a_table_are_the_whole_read_by_every_core() {
    for entries in [0, 1, 20_000] {
        parallel_scan::run(entries).unwrap();
    }
}

#[test]
fn a_scan_with_any_advice_sees_all() {
    scan_advice::run(5_000).unwrap();
}

#[test]
fn an_image_and_a_map_advised_huge_answer_look_ups() {
    huge_image::run(5_000).unwrap();
}
