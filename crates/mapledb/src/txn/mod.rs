//! Transactions: where trees, free space and commits meet.

mod batch;
mod core;
mod defragment;
mod ending;
mod kept;
mod level;
mod overdue;
mod park;
mod pending;
mod read;
mod rollback;
mod snapshots;
mod syncer;
mod tables;
mod trim;
mod version;
mod write;

pub(crate) use self::core::{Core, CoreOptions};
pub use self::defragment::{Defragment, DefragmentProgress, DefragmentReport, Stopped};
pub use self::level::{Nested, Savepoint};
pub use self::overdue::{ReaderInfo, ReaderPolicy};
pub use self::park::ParkedTxn;
pub use self::pending::PendingCommit;
pub use self::read::{ReadTxn, ResetTxn};
pub(crate) use self::snapshots::Whole;
pub use self::trim::TrimReport;
pub(crate) use self::version::Version;
pub(crate) use self::write::TableId;
pub use self::write::WriteTxn;

/// What may cross threads: environments and snapshots are shared, a write transaction moves.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    const fn is_send<T: Send>() {}
    is_send_and_sync::<Core>();
    is_send_and_sync::<ReadTxn>();
    is_send_and_sync::<ParkedTxn>();
    is_send::<WriteTxn>();
    is_send_and_sync::<ResetTxn>();
    is_send::<Nested<'_>>();
    is_send_and_sync::<Savepoint>();
    is_send_and_sync::<PendingCommit>();
};
