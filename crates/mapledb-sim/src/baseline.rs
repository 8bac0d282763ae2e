//! B5: LMDB under the harness of killed processes, so that there is something to compare MapleDB with.
//!
//! It is no part of any campaign, and is built only with the feature `lmdb`. What its processes do, and what they leave
//! out, is in [`processes::lmdb`](crate::processes).

use crate::harness::{Ask, Failure, Tally};

/// Whether LMDB was built in.
///
/// # Errors
/// It was not, and how to.
pub fn needs() -> Result<(), String> {
    match cfg!(feature = "lmdb") {
        true => Ok(()),
        false => Err("this build is without the feature `lmdb`, which builds LMDB: \
                      cargo run --release --package mapledb-sim --features lmdb -- run kill-lmdb"
            .to_string()),
    }
}

/// The harness.
///
/// # Errors
/// As [`kill::run`](crate::kill::run), or LMDB was not built in.
#[cfg(feature = "lmdb")]
pub fn run(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    tally.skip("kill-lmdb: nobody forks, since LMDB may not be used in a forked child");
    crate::kill::run_on(&crate::processes::lmdb::Lmdb { is_locked: true }, ask, tally)
}

/// The harness.
///
/// # Errors
/// LMDB was not built in.
#[cfg(not(feature = "lmdb"))]
pub fn run(ask: &Ask, _: &mut Tally) -> Result<(), Failure> {
    needs().map_err(|why| Failure::new(ask.seed, serde_json::Value::Null, why))
}
