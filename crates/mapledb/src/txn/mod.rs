//! Transactions: where trees, free space and commits meet.

mod core;
mod read;
mod syncer;
mod write;

pub(crate) use self::core::{Core, CoreOptions};
pub use self::read::ReadTxn;
pub(crate) use self::write::{TableId, check_types};
pub use self::write::WriteTxn;
