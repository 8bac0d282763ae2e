//! What it costs to read a page, and a record of it, through a map, by `pread`, through a cache in user space,
//! and by MapleDB's `get`: [`ways`] to read, [`order`]s to read in, [`counts`] of what the kernel did, the
//! [`state`] of memory before, the [`limit`] that makes the file larger than it, [`scenario`]s that put these
//! together, and what the [`row`]s say.
//!
//! What keeps the comparison fair:
//! - all ways hold the same records; `pread` and the cache read the page that holds a record, as a database
//!   must, and MapleDB finds the record by its key, which the others need not;
//! - every byte that is asked for is touched and checked, on every way, so a wrong one fails the run;
//! - the ways take turns in every round and read the same numbers in the same order;
//! - copies and read calls are the kernel's own counts for this process, not what we believe them to be.

pub mod counts;
pub mod limit;
pub mod order;
pub mod pass;
pub mod plot;
pub mod row;
pub mod scenario;
pub mod state;
pub mod ways;
