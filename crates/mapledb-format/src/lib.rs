//! The MapleDB file format: what every byte means. Pure functions over byte slices, no I/O, and no panic
//! on any input: whatever a file holds, the answer is a value or a [`FormatError`] (I14).
//!
//! Everything is little-endian, whatever the host, unless a field says otherwise.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod branch;
pub mod duplicates;
pub mod error;
mod fields;
pub mod free;
pub mod head_body;
pub mod header;
pub mod ids;
pub mod leaf;
pub mod lockfile;
pub mod manifest;
pub mod meta;
pub mod meta_choice;
pub mod node;
pub mod order;
pub mod overflow;
pub mod packed;
pub mod plan;
pub mod snapshot_record;
#[cfg(test)]
mod testing;
pub mod tree_record;
pub mod varint;

pub use error::{FormatError, MetaFault};
pub use free::{Extent, FreedExtent, PageBounds, PendingGroup};
pub use head_body::HeadBody;
pub use header::{Kind, PageHeader};
pub use ids::{PageSize, Pgno, Txnid};
pub use manifest::{Manifest, ManifestDigest};
pub use meta::{Identity, Meta, Slot};
pub use overflow::{OverflowHead, OverflowRef, Run, RunGeometry};
pub use snapshot_record::{SnapshotKey, SnapshotRecord};
pub use tree_record::{Duplicates, OrderId, TableRecord, TreeRecord};

/// The result of reading bytes.
pub type Result<T> = std::result::Result<T, FormatError>;
