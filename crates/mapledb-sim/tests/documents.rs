//! docs/testing.md against the table of harnesses.

use mapledb_sim::harness::{BASELINES, HARNESSES};

#[test]
fn every_harness_has_its_row_in_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
    let text = std::fs::read_to_string(path).expect("docs/testing.md");
    for harness in HARNESSES.iter().chain(BASELINES) {
        let row = text.lines().find(|line| line.starts_with(&format!("| {} |", harness.id)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", harness.id));
        assert!(row.contains(&format!("`{}`", harness.name)), "{} is not in {row}", harness.name);
        assert!(
            row.contains(harness.unit),
            "the unit of {}, {}, is not in {row}",
            harness.name,
            harness.unit
        );
    }
}

/// The issue of a smoke run is a twentieth: less would not be felt when it breaks.
#[test]
fn a_smoke_run_is_a_twentieth_or_more() {
    for harness in HARNESSES {
        assert!(
            harness.smoke * 20 >= harness.crash,
            "{}: {} of {}",
            harness.name,
            harness.smoke,
            harness.crash
        );
    }
}
