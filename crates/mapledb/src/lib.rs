//! MapleDB.

#[doc(hidden)]
pub mod mvcc;
