//! What a run must know of the engine whose processes it kills.

use std::path::Path;

use super::bank::Broken;
use super::law::Standing;
use super::part::{Part, Way};
use super::status::{Phase, Word};
use crate::actor::Role;

/// An engine under test.
pub trait Engine: Sync {
    /// Its name, which its files end in.
    fn name(&self) -> &'static str;

    /// What its processes may be at, as far as they can say it.
    fn phases(&self) -> &'static [Phase];

    /// Words of each process whose sums are worth telling, and what they count.
    fn counts(&self) -> &'static [(&'static str, Word)];

    /// Whether a transaction's number is given out once, even if nothing came of it.
    fn gives_txnids_once(&self) -> bool;

    /// The role of a process that plays a part.
    fn role(&self, part: Part) -> Role;

    /// Makes the file and the bank in it.
    ///
    /// # Errors
    /// The engine's.
    fn found(&self, data: &Path, way: &Way) -> Result<(), Broken>;

    /// Opens what is left when nobody is there, audits it, and checks it in full if the engine can.
    ///
    /// # Errors
    /// The engine's, or what does not hold.
    fn examine(&self, data: &Path, way: &Way) -> Result<Standing, Broken>;

    /// Removes the file and what lies beside it. There may be none.
    fn remove(&self, data: &Path);
}
