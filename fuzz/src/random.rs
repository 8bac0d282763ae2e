//! Inputs from a seed, where no fuzzer makes them.

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The input of a case.
pub fn input(case: u64) -> Vec<u8> {
    let mut state = case;
    let len = 8 + next(&mut state) as usize % 120;
    (0..len).map(|_| next(&mut state) as u8).collect()
}
