//! What an effect answers when it fails: what was tried, on which path, and the system's reason.

use std::io;
use std::path::{Path, PathBuf};

/// The result of an effect.
pub type Result<T> = std::result::Result<T, OsError>;

/// A failed effect: what was tried, where, and why the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct OsError {
    /// What was tried, as a verb phrase: `grow`, `sync`, `lock the writer byte of`.
    pub what: &'static str,
    /// The file it was tried on.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

impl OsError {
    /// An error of `what` on `path` for `source`.
    pub fn new(what: &'static str, path: &Path, source: io::Error) -> OsError {
        OsError { what, path: path.to_path_buf(), source }
    }

    /// An error of `what` on `path` for the calling thread's `errno`.
    pub fn last(what: &'static str, path: &Path) -> OsError {
        OsError::new(what, path, io::Error::last_os_error())
    }

    /// Whether the reason is a lack of memory or of address space.
    pub fn is_out_of_memory(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ENOMEM)
    }

    /// Whether the reason is a full disk or an exhausted quota.
    pub fn is_full(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
    }

    /// Whether the reason is that something is at the path already.
    pub fn is_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the observer of the seam cut off here or before.
    #[cfg(feature = "seam")]
    pub fn is_cut(&self) -> bool {
        crate::seam::Cut::is(&self.source)
    }
}
