//! Families of questions, one file each. A family fills its databases, asks, and leaves rows.

use crate::Result;
use crate::suite::Suite;

mod batches;
mod changes;
mod cold;
mod commits;
mod duplicates;
mod files;
mod growth;
mod larger_than_memory;
mod loads;
mod nested;
mod open;
mod points;
mod process;
mod scans;
mod snapshots;
mod values;
mod ycsb;

pub use process::{Worker, work};

/// A family of questions.
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name, for `--families`.
    pub name: &'static str,
    /// What it asks, and how that is to be read.
    pub about: &'static str,
    /// Asks it.
    pub measure: fn(&mut Suite) -> Result<()>,
}

/// All families in the order of the report.
pub const ALL: &[Family] = &[
    Family { name: "points", about: points::ABOUT, measure: points::measure },
    Family { name: "scans", about: scans::ABOUT, measure: scans::measure },
    Family { name: "loads", about: loads::ABOUT, measure: loads::measure },
    Family { name: "changes", about: changes::ABOUT, measure: changes::measure },
    Family { name: "commits", about: commits::ABOUT, measure: commits::measure },
    Family { name: "batches", about: batches::ABOUT, measure: batches::measure },
    Family { name: "duplicates", about: duplicates::ABOUT, measure: duplicates::measure },
    Family { name: "nested", about: nested::ABOUT, measure: nested::measure },
    Family { name: "snapshots", about: snapshots::ABOUT, measure: snapshots::measure },
    Family { name: "values", about: values::ABOUT, measure: values::measure },
    Family { name: "files", about: files::ABOUT, measure: files::measure },
    Family { name: "open", about: open::ABOUT, measure: open::measure },
    Family { name: "cold", about: cold::ABOUT, measure: cold::measure },
    Family {
        name: "larger_than_memory",
        about: larger_than_memory::ABOUT,
        measure: larger_than_memory::measure,
    },
    Family { name: "ycsb", about: ycsb::ABOUT, measure: ycsb::measure },
    Family { name: "growth", about: growth::ABOUT, measure: growth::measure },
];
