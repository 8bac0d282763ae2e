//! MapleDB: an embedded, transactional, ordered key-value store in one file.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[doc(hidden)]
pub mod mvcc;

/// Tells a `tracing` subscriber, in builds with the feature; else nothing is evaluated.
#[cfg(not(loom))]
macro_rules! event {
    ($level:ident, $($what:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!($($what)*);
    };
}

// Under loom only the protocol of shared memory is built: it is what the models run.
macro_rules! without_loom {
    ($($item:item)*) => { $(#[cfg(not(loom))] $item)* };
}

without_loom! {
    mod api;
    mod catalog;
    mod check;
    mod commit;
    mod env;
    mod error;
    mod pages;
    mod space;
    mod store;
    mod tree;
    mod txn;

    pub use api::{
        AsPart, Codec, Cursor, Key, KeyPart, Lazy, Le, Part, Place, Pod, PodVec, Prefix, Range, ReadTable, Table,
        TableInfo, TableStat, Undecoded, WriteTable,
    };
    pub use check::{CheckProblem, CheckProgress, CheckReport};
    pub use commit::{Durability, Recovery};
    pub use env::{Access, CopyReport, Env, Info, Metrics, Options, ReaderInfo};
    pub use error::{Error, Result};
    pub use mapledb_os::MapAdvice;
    pub use store::Verify;
    pub use txn::{PendingCommit, ReadTxn, TrimReport, WriteTxn};
}

/// Compiles and runs the examples of the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/README.md")]
    mod reading_order {}
    #[doc = include_str!("../../../docs/design.md")]
    mod design {}
    #[doc = include_str!("../../../docs/format.md")]
    mod format {}
    #[doc = include_str!("../../../docs/durability.md")]
    mod durability {}
    #[doc = include_str!("../../../docs/testing.md")]
    mod testing {}
}
