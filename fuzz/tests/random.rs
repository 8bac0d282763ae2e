//! The fuzz targets over random inputs, where no fuzzer is installed. `MAPLE_SEED` and `MAPLE_CASES` replay and extend.

use std::panic::catch_unwind;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn over_random_inputs(name: &str, target: fn(&[u8])) {
    let seed = number("MAPLE_SEED", 1);
    for case in seed..seed + number("MAPLE_CASES", 400) {
        let mut state = case;
        let len = 8 + next(&mut state) as usize % 120;
        let input: Vec<u8> = (0..len).map(|_| next(&mut state) as u8).collect();
        let ended = catch_unwind(|| target(&input));
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
