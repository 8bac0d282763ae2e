//! MapleDB beside its peers: the engines behind one small trait, the workload all of them get, the timed loops, families
//! of questions, and the report.
//!
//! What keeps the comparison fair:
//! - all engines run in one process and one run; in each round every engine takes its turn, in an order that rotates,
//!   so that a busy neighbour or a slow disk minute falls on all; a row shows the median of the rounds and their spread;
//! - all get the same keys in the same order, the same values, and the same durability, which stands in the row;
//! - before rows that read, each engine has read all that it holds;
//! - every value read is held against its key and length, or the family fails: no figure stands beside a wrong answer.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod document;
pub mod engine;
pub mod engines;
pub mod entrant;
pub mod families;
pub mod limits;
pub mod machine;
pub mod multimaps;
pub mod nesting;
pub mod page_cache;
pub mod readpath;
pub mod reasons;
pub mod records;
pub mod report;
pub mod results;
pub mod rounds;
pub mod share;
pub mod snapshots;
pub mod suite;
pub mod targets;
pub mod workload;

/// What a benchmark step gives. Any error ends the family: a figure beside a failure is worth nothing.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
