//! Reads data files of LMDB 0.9 and 1.0, without LMDB.
//!
//! [`LmdbFile`] opens `data.mdb`, lists its databases and gives their records in the order of the file. Nothing is
//! written, mapped or locked. Every offset is checked: whatever bytes a file holds, reading it ends, with records or with
//! an [`Error`] that names the page and the fault.
//!
//! ```no_run
//! # fn main() -> Result<(), mapledb_lmdb::Error> {
//! let file = mapledb_lmdb::LmdbFile::open("lmdb-directory")?;
//! for database in file.databases()? {
//!     println!("{database}: {} records, flags {}", database.entries(), database.flags());
//!     for record in file.records(&database) {
//!         let (key, value) = record?;
//!         println!("{} bytes, {} bytes", key.len(), value.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is read
//!
//! Files of 64-bit little-endian machines with pages of 256 bytes to 64 KiB, in the three formats that there are:
//!
//! | format | written by | differs in |
//! |---|---|---|
//! | 1 | LMDB 0.9 | |
//! | 2 | previews of LMDB 1.0 | a page names its transaction; slots count from the end of the page header; a long value's node names the pages it takes |
//! | 3 | LMDB 1.0 | values begin at even offsets |
//!
//! All kinds of databases: sorted duplicates, as a page inside a node or as a tree of their own, of fixed size packed or not;
//! integer and reversed orders; named databases; values on overflow pages. A key of a database with duplicates is given once
//! for each of them. Checksums that a program put into pages of a 1.0 file are not verified, for their function is
//! known to that program alone.
//!
//! # Files in use
//!
//! LMDB tells other processes of itself by a lock on its lock file. Where somebody holds one, [`LmdbFile::open`] refuses
//! with [`Error::InUse`]. A reader that is not in LMDB's table does not keep pages from being reused, so what is read holds only if
//! no transaction was committed meanwhile. **This is checked at the end of every list of databases and of records**, by
//! looking at the meta pages again, whoever may have opened the file and however, and before damage is reported: a change is
//! [`Error::Changed`], and records given before it are not to be trusted. So [`Options::in_use`] may be set where writers are rare: what is read to its end
//! without an error is one snapshot. A process that uses LMDB itself is told by the system's list of locks before the lock file is
//! touched, since closing it would take LMDB's own locks away. Programs that use LMDB without locks are not seen, but for the changes they make.
//!
//! # Damage
//!
//! LMDB has no checksums. Found is what contradicts itself: page numbers, kinds, bounds and depths, pages reached twice,
//! numbers of entries, keys out of order. A flipped bit within a value is not. An order that a program brought along
//! (`mdb_set_compare`) is known to that program alone, and looks like keys out of order: [`Options::any_order`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod file;
mod layout;
mod lock;
mod order;
mod page;
mod records;
mod walk;

pub use error::{Error, Fault, Foreign, Result};
pub use file::{Database, LmdbFile, Options};
pub use layout::{Flags, Format};
pub use records::Records;
