//! The rows of the comparison with LMDB, and what is aimed at.

use crate::report::{Better, Row};

const SYNC: &str = "sync";

const fn time(measure: &'static str, unit: &'static str, target: Option<f64>) -> Row {
    Row { measure, unit, better: Better::Lower, durability: "", target }
}

const fn durable(row: Row) -> Row {
    Row { durability: SYNC, ..row }
}

/// Keys that are there, in one read transaction.
pub const LOOKUPS: Row = time("point lookups", "ns", Some(1.5));
/// The same, 64 keys at once: `multi_get` against single gets.
pub const GROUPS: Row = time("lookups of 64 keys at once", "ns", Some(4.0));
/// Keys that are not there.
pub const MISSES: Row = time("misses", "ns", None);
/// All entries in order.
pub const SCAN: Row = time("forward scan", "ns/entry", Some(1.0));
/// A hundred entries from a random key.
pub const RANGES: Row = time("range scans of 100", "ns/scan", None);
/// A read transaction with nothing read.
pub const BEGINS: Row = time("begin and drop of a read transaction", "ns", Some(1.0));

/// The median of the commits of a round.
pub const COMMITS: Row = durable(time("one-put commit, p50", "us", Some(1.4)));
/// The slow ones.
pub const COMMITS_SLOW: Row = durable(time("one-put commit, p99", "us", None));
/// Whole folios, by the kernel's count for this process.
pub const COMMITS_DIRTIED: Row = durable(time("bytes dirtied per one-put commit", "bytes", None));
/// By the device's count.
pub const COMMITS_DEVICE: Row = durable(time("bytes to the device per one-put commit", "bytes", None));

/// A thousand puts a commit.
pub const BATCHES: Row =
    durable(Row { better: Better::Higher, ..time("batches of 1000 random puts", "puts/s", None) });
/// Whole folios, by the kernel's count for this process.
pub const BATCHES_DIRTIED: Row = durable(time("bytes dirtied per put in batches of 1000", "bytes", None));
/// By the device's count.
pub const BATCHES_DEVICE: Row = durable(time("bytes to the device per put in batches", "bytes", None));

/// What a load in one transaction answers.
#[derive(Clone, Copy)]
pub struct LoadRows {
    /// The time with the commit.
    pub with_commit: Row,
    /// The time without it.
    pub without_commit: Row,
    /// The blocks of the file.
    pub file_bytes: Row,
    /// The pages of the tree.
    pub tree_bytes: Row,
}

/// Puts in random order.
pub const RANDOM_LOAD: LoadRows = LoadRows {
    with_commit: durable(time("random insertion with its commit", "ns/put", Some(1.0))),
    without_commit: time("random insertion without its commit", "ns/put", Some(1.0)),
    file_bytes: durable(time("file size after random insertion", "bytes", None)),
    tree_bytes: durable(time("tree size after random insertion", "bytes", None)),
};

/// One append for each entry.
pub const APPEND_LOAD: LoadRows = LoadRows {
    with_commit: durable(time("sorted appends with their commit", "ns/put", None)),
    without_commit: time("sorted appends without their commit", "ns/put", None),
    file_bytes: durable(time("file size after sorted appends", "bytes", None)),
    tree_bytes: durable(time("tree size after sorted appends", "bytes", None)),
};

/// The fastest way for sorted entries.
pub const SORTED_LOAD: LoadRows = LoadRows {
    with_commit: durable(time("sorted load with its commit", "ns/put", Some(1.0))),
    without_commit: time("sorted load without its commit", "ns/put", Some(1.0)),
    file_bytes: durable(time("file size after sorted load", "bytes", None)),
    tree_bytes: durable(time("tree size after sorted load", "bytes", None)),
};

impl LoadRows {
    /// In the order that a load's figures come in.
    pub fn all(self) -> [Row; 4] {
        [self.with_commit, self.without_commit, self.file_bytes, self.tree_bytes]
    }
}

/// Lookups under each verification policy.
pub const VERIFY_LOOKUPS: Row = time("point lookups by verification policy", "ns", None);
/// The first touch of all pages under each verification policy.
pub const VERIFY_FIRST_SCAN: Row = time("first scan after opening by policy", "ns/entry", None);
