//! What the tests of this crate share.

use proptest::test_runner::{Config, RngSeed};

use crate::{Extent, PageBounds, Pgno};

pub(crate) fn bounds(first: u64, end: u64) -> PageBounds {
    PageBounds { first: Pgno::new(first).unwrap(), end: Pgno::new(end).unwrap() }
}

pub(crate) fn extent(first: u64, pages: u64) -> Extent {
    Extent::new(Pgno::new(first).unwrap(), pages)
}

/// Cases from a fixed seed, so that a run can be told from another only by its code. `PROPTEST_RNG_SEED`
/// and `PROPTEST_CASES` ask for others.
pub(crate) fn cases() -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x4d61_706c_6544_420a);
    }
    config
}
