//! The one error of MapleDB: what was tried, where, and why it could not be.

use mapledb_format::{FormatError, Pgno};
use mapledb_os::OsError;

/// The result of anything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done. Absence is not an error: it is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A page is not what it must be. Nothing read from it was handed out.
    #[error("corrupt page {pgno}: {cause}")]
    Corrupt {
        /// The page.
        pgno: Pgno,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// The system refused an effect.
    #[error(transparent)]
    Os(#[from] OsError),
    /// A key is longer than a quarter of a page.
    #[error("a key of {len} bytes is too long: the most is {max}")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest key in bytes.
        max: usize,
    },
    /// A value is longer than any file could hold.
    #[error("a value of {len} bytes is too long for any file")]
    ValueTooLong {
        /// Its length in bytes.
        len: u64,
    },
    /// A key to append is not greater than the last one.
    #[error("keys to append must be given in order: this one is not greater than the last")]
    NotSorted,
}
