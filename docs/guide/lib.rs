//! The guide, compiled: each module is a chapter, and its Rust blocks are documentation tests. They may use what they
//! compare MapleDB with, which MapleDB itself never depends on.

/// The chapters, in the order of reading.
#[cfg(doctest)]
mod chapters {
    #[doc = include_str!("concepts.md")]
    mod concepts {}
    #[doc = include_str!("transactions.md")]
    mod transactions {}
    #[doc = include_str!("changing.md")]
    mod changing {}
    #[doc = include_str!("multimaps.md")]
    mod multimaps {}
    #[doc = include_str!("readers.md")]
    mod readers {}
    #[doc = include_str!("snapshots.md")]
    mod snapshots {}
    #[doc = include_str!("choosing-durability.md")]
    mod choosing_durability {}
    #[doc = include_str!("processes.md")]
    mod processes {}
    #[doc = include_str!("async.md")]
    mod async_programs {}
    #[doc = include_str!("memory.md")]
    mod memory {}
    #[doc = include_str!("backup.md")]
    mod backup {}
    #[doc = include_str!("upgrading.md")]
    mod upgrading {}
    #[doc = include_str!("from-lmdb.md")]
    mod from_lmdb {}
    #[doc = include_str!("from-redb.md")]
    mod from_redb {}
    #[doc = include_str!("from-rocksdb.md")]
    mod from_rocksdb {}
}
