//! Whether a process has the file open with LMDB.
//!
//! LMDB holds a lock on the first byte of its lock file as long as an environment is open: shared, or exclusive while it sets
//! the file up. Asking the system who would be in the way of an exclusive lock takes none.
//!
//! The system leaves out the asking process, and closing *any* descriptor of the lock file would take away that process's own
//! locks, LMDB's among them. So the system's list of locks, `/proc/locks`, is searched for our own process first, and
//! the lock file is left alone if it holds one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if is_locked_by_us(found.ino()) {
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

/// Whether this process has a lock on a file of this number, on whatever file system: rather once too often.
fn is_locked_by_us(inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = std::process::id();
    locks.lines().any(|line| is_lock_of(line, pid, inode))
}

/// Whether a line such as `1: POSIX  ADVISORY  READ 4711 fe:01:1234 0 0` is about this process and file.
fn is_lock_of(line: &str, pid: u32, inode: u64) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| *word != "POSIX").skip(3);
    let holder = words.next().and_then(|word| word.parse().ok());
    let file = words.next().and_then(|word| word.rsplit(':').next()?.parse().ok());
    holder == Some(pid) && file == Some(inode)
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
    fn our_own_locks_are_known_by_their_lines() {
        assert!(is_lock_of("1: POSIX  ADVISORY  READ 47 fe:01:1234 0 0", 47, 1234));
        assert!(is_lock_of("1: -> POSIX  ADVISORY  WRITE 47 fe:01:1234 0 EOF", 47, 1234));
        for other in
            ["1: POSIX  ADVISORY  READ 48 fe:01:1234 0 0", "1: OFDLCK ADVISORY READ 47 fe:01:1234 0 0", ""]
        {
            assert!(!is_lock_of(other, 47, 1234), "{other}");
        }
    }
}
