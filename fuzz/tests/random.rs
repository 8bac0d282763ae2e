//! The fuzz targets over random inputs, where no fuzzer is installed. `MAPLE_SEED` and `MAPLE_CASES` replay and extend.

use std::panic::catch_unwind;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn over_random_inputs(name: &str, target: fn(&[u8])) {
    let seed = number("MAPLE_SEED", 1);
    for case in seed..seed + number("MAPLE_CASES", 400) {
        let ended = catch_unwind(|| target(&mapledb_fuzz::random::input(case)));
        assert!(ended.is_ok(), "{name}: replay with MAPLE_SEED={case} MAPLE_CASES=1");
    }
}

#[test]
fn no_damage_to_a_data_file_is_more_than_an_error() {
    over_random_inputs("data_file", mapledb_fuzz::data_file);
}

#[test]
fn no_damage_to_a_lock_file_is_more_than_an_error() {
    over_random_inputs("lock_file", mapledb_fuzz::lock_file);
}
