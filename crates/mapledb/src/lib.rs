//! MapleDB: an embedded, transactional, ordered key-value store.

mod error;
mod tree;

pub use error::{Error, Result};
