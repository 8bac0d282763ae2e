//! MapleDB beside its peers: the engines behind one small trait, the workload both sides get, the timed
//! loops, rounds that alternate between the sides, and the report.
//!
//! What keeps the comparison fair:
//! - both sides run in one process and one run, in alternating rounds, so that a busy neighbour or a slow
//!   disk minute falls on both; a row shows the median of the rounds and their full spread;
//! - both get the same keys in the same order, and the same values;
//! - before rows that read, each side has touched all its pages through its own map;
//! - the sums over what each side read must agree, or the run fails.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod engine;
pub mod lmdb;
pub mod machine;
pub mod maple;
pub mod measure;
pub mod report;
pub mod rounds;
pub mod rows;
pub mod workload;

/// What a benchmark step gives. Any error ends the run: a figure beside a failure is worth nothing.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
