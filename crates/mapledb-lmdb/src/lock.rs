//! Whether a process has the file open with LMDB.
//!
//! LMDB holds a lock on the first byte of its lock file as long as an environment is open: shared, or exclusive while it sets
//! the file up. Asking the system who would be in the way of an exclusive lock takes none.
//!
//! The system leaves out the asking process, and closing *any* descriptor of the lock file would take away that process's own
//! locks, LMDB's among them. So our own descriptors are looked through first, and the lock file is left alone if one of
//! them is of it. The system's list of locks would not do: it is read in pieces, and a lock may slip from one to the other.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::file::open_to_read;

/// A process that has one of these lock files locked, and which file that is.
pub fn holder(lock_files: &[PathBuf]) -> Result<Option<i32>, (PathBuf, io::Error)> {
    for path in lock_files {
        let pid = holder_of(path).map_err(|error| (path.clone(), error))?;
        if pid.is_some() {
            return Ok(pid);
        }
    }
    Ok(None)
}

/// Where LMDB may have put the lock file of a data file.
pub fn files_of(data_file: &Path) -> Vec<PathBuf> {
    let mut beside = data_file.as_os_str().to_owned();
    beside.push("-lock");
    let mut files = vec![PathBuf::from(beside)];
    if data_file.file_name().is_some_and(|name| name == "data.mdb") {
        files.push(data_file.with_file_name("lock.mdb"));
    }
    files
}

fn holder_of(path: &Path) -> io::Result<Option<i32>> {
    // Whoever asks has the lock file open meanwhile, which another thread shall not take for a use of it.
    static ONE_ASKS: Mutex<()> = Mutex::new(());
    let _one_asks = ONE_ASKS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if is_open_in_this_process(&found) {
        return Ok(i32::try_from(std::process::id()).ok());
    }
    let file = open_to_read(path)?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Whether a descriptor of this process is of that file.
fn is_open_in_this_process(file: &Metadata) -> bool {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return false };
    let mut opened = descriptors.flatten().filter_map(|descriptor| fs::metadata(descriptor.path()).ok());
    opened.any(|opened| (opened.dev(), opened.ino()) == (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_lie_where_lmdb_puts_them() {
        assert_eq!(files_of(Path::new("a/b.mdb")), [PathBuf::from("a/b.mdb-lock")]);
        let both = [PathBuf::from("a/data.mdb-lock"), PathBuf::from("a/lock.mdb")];
        assert_eq!(files_of(Path::new("a/data.mdb")), both);
    }

    #[test]
    fn our_own_descriptors_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.mdb");
        fs::write(&path, "").unwrap();
        let found = fs::metadata(&path).unwrap();
        assert!(!is_open_in_this_process(&found));
        let file = open_to_read(&path).unwrap();
        assert!(is_open_in_this_process(&found));
        assert_eq!(holder_of(&path).unwrap(), i32::try_from(std::process::id()).ok());
        drop(file);
        assert!(!is_open_in_this_process(&found));
        assert_eq!(holder_of(&path).unwrap(), None);
    }
}
