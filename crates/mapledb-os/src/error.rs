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

/// What there is no more of when a file cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantOfRoom {
    /// Blocks of the file system.
    Disk,
    /// Blocks that the user may have.
    Quota,
    /// Length that the process, or the file system, lets a file have.
    FileSize,
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

    /// What whoever reads the message can do about it.
    pub fn advice(&self) -> &'static str {
        match self.source.raw_os_error() {
            Some(libc::ENOENT) if self.what == "create" => "make the directory first, or check the name",
            Some(libc::EROFS) if self.what == "open" => "open it frozen, which stores nothing",
            _ => advice(&self.source),
        }
    }

    /// Whether the reason is a lack of memory or of address space.
    pub fn is_out_of_memory(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ENOMEM)
    }

    /// Why there was no room; `None` if the reason is another.
    pub fn want_of_room(&self) -> Option<WantOfRoom> {
        match self.source.raw_os_error() {
            Some(libc::ENOSPC) => Some(WantOfRoom::Disk),
            Some(libc::EDQUOT) => Some(WantOfRoom::Quota),
            Some(libc::EFBIG) => Some(WantOfRoom::FileSize),
            _ => None,
        }
    }

    /// Whether the reason is a want of room.
    pub fn is_full(&self) -> bool {
        self.want_of_room().is_some()
    }

    /// Whether a system call answered "bad address" for memory that is ours: a touch would have raised a signal.
    pub fn is_fault(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EFAULT)
    }

    /// The same failure for want of blocks.
    pub fn for_want_of_blocks(self) -> OsError {
        OsError { source: io::Error::from_raw_os_error(libc::ENOSPC), ..self }
    }

    /// The same failure of the medium.
    pub fn of_the_medium(self) -> OsError {
        OsError { source: io::Error::from_raw_os_error(libc::EIO), ..self }
    }

    /// Whether the reason is that something is at the path already.
    pub fn is_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the reason is that a directory or a symbolic link is where a file was to be.
    pub fn is_no_file(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::EISDIR | libc::ELOOP))
    }

    /// Whether the observer of the seam cut off here or before.
    #[cfg(feature = "seam")]
    pub fn is_cut(&self) -> bool {
        crate::seam::Cut::is(&self.source)
    }
}

/// What can be done about a refusal of the system, whatever was tried: the end of the sentence that tells it.
pub fn advice(error: &io::Error) -> &'static str {
    let Some(code) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::InvalidInput => "check the name: a regular file is needed",
            _ => "try again, or look into the system's log",
        };
    };
    match code {
        libc::ENOENT => "check the name",
        libc::ENOTDIR => "check the name: a part of it is no directory",
        libc::EISDIR => "name a file, not a directory",
        libc::EEXIST => "choose another name",
        libc::ELOOP => "check the symbolic links on the way",
        libc::ENAMETOOLONG => "choose a shorter name",
        libc::EACCES | libc::EPERM => "get permission for the file and its directory, or be another user",
        libc::EROFS => "put it on a file system that can be written",
        libc::ENOSPC | libc::EDQUOT => "free some space and try again",
        libc::EFBIG => "raise the limit of file sizes (ulimit -f), or use a file system without one",
        libc::ENOMEM => "raise the limit of address space (ulimit -v), or free some memory",
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (ulimit -n), or close some",
        libc::ETXTBSY | libc::EBUSY | libc::EAGAIN => "it is in use: try again later",
        libc::ENXIO | libc::ENODEV => "check the name: nobody is at the other end",
        libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOLCK => {
            "put the file on a local file system of Linux: this one lacks what it takes"
        }
        libc::EIO => "the medium may be failing: look into the system's log, and keep a copy",
        _ => "try again, or look into the system's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_comes_with_advice() {
        for code in 1..134 {
            let advice = advice(&io::Error::from_raw_os_error(code));
            assert!(advice.len() > 10 && !advice.ends_with('.'), "{code}: {advice}");
        }
        let missing =
            |what| OsError::new(what, Path::new("no/file"), io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(missing("create").advice(), "make the directory first, or check the name");
        assert_eq!(missing("read").advice(), "check the name");
    }
}
