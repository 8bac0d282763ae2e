//! Open-file-description locks on single bytes of a file.
//!
//! The kernel releases such a lock when the last descriptor of its description closes, however the process
//! dies and in whatever PID namespace it lived. Two descriptors that share a description (by `dup` or by `fork`)
//! share its locks; asking about one's own description always answers "unlocked", so whoever asks must know
//! its own bytes by itself.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{OsError, Result};

/// What a lock admits beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Other shared locks. Needs a readable descriptor.
    Shared,
    /// Nothing. Needs a writable descriptor.
    Exclusive,
}

impl Kind {
    fn code(self) -> libc::c_short {
        match self {
            Kind::Shared => libc::F_RDLCK as libc::c_short,
            Kind::Exclusive => libc::F_WRLCK as libc::c_short,
        }
    }
}

/// Takes the lock on `byte`, or converts the one already held there, unless another description stands in the
/// way. A conversion that fails leaves the old lock. Cost: one system call.
pub fn try_lock(fd: BorrowedFd<'_>, path: &Path, byte: u64, kind: Kind) -> Result<bool> {
    match set(fd, byte, kind.code()) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(OsError::new("lock a byte of", path, e)),
    }
}

/// Like [`try_lock`], trying again with a growing pause (50 µs to 5 ms) until `time` has passed.
pub fn lock_within(fd: BorrowedFd<'_>, path: &Path, byte: u64, kind: Kind, time: Duration) -> Result<bool> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        if try_lock(fd, path, byte, kind)? {
            return Ok(true);
        }
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Gives up the lock on `byte`; nothing happens if none is held.
pub fn unlock(fd: BorrowedFd<'_>, path: &Path, byte: u64) -> Result<()> {
    set(fd, byte, libc::F_UNLCK as libc::c_short).map_err(|e| OsError::new("unlock a byte of", path, e))
}

/// Whether *another* description holds a lock on any of `bytes` that a lock of `kind` would collide with. Works
/// on read-only descriptors for both kinds.
pub fn is_locked_by_another(fd: BorrowedFd<'_>, path: &Path, bytes: Range<u64>, kind: Kind) -> Result<bool> {
    let mut lock = description(bytes.start, bytes.end - bytes.start, kind.code());
    control(fd, libc::F_OFD_GETLK, &mut lock).map_err(|e| OsError::new("test a lock of", path, e))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn set(fd: BorrowedFd<'_>, byte: u64, code: libc::c_short) -> io::Result<()> {
    control(fd, libc::F_OFD_SETLK, &mut description(byte, 1, code))
}

fn description(start: u64, len: u64, code: libc::c_short) -> libc::flock {
    // OFD locks demand a pid of 0. Offsets end below 2^62, so they fit an off_t.
    libc::flock {
        l_type: code,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: len as libc::off_t,
        l_pid: 0,
    }
}

fn control(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open by its type, and the kernel reads and writes one flock through the
        // pointer, which is a live exclusive reference.
        #[allow(unsafe_code)]
        let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, lock as *mut libc::flock) };
        if answer != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn two() -> (tempfile::NamedTempFile, File, File) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let a = file.reopen().expect("first description");
        let b = file.reopen().expect("second description");
        (file, a, b)
    }

    #[test]
    fn an_exclusive_lock_keeps_others_out_until_it_is_given_up() {
        let (file, a, b) = two();
        let at = 1 << 61;
        assert!(try_lock(a.as_fd(), file.path(), at, Kind::Exclusive).expect("lock"));
        assert!(!try_lock(b.as_fd(), file.path(), at, Kind::Shared).expect("lock"));
        assert!(
            !lock_within(b.as_fd(), file.path(), at, Kind::Shared, Duration::from_millis(3)).expect("lock")
        );
        unlock(a.as_fd(), file.path(), at).expect("unlock");
        assert!(try_lock(b.as_fd(), file.path(), at, Kind::Exclusive).expect("lock"));
    }

    #[test]
    fn a_shared_lock_converts_only_when_it_is_alone() {
        let (file, a, b) = two();
        assert!(try_lock(a.as_fd(), file.path(), 7, Kind::Shared).expect("lock"));
        assert!(try_lock(b.as_fd(), file.path(), 7, Kind::Shared).expect("lock"));
        assert!(!try_lock(a.as_fd(), file.path(), 7, Kind::Exclusive).expect("lock"));
        assert!(is_locked_by_another(b.as_fd(), file.path(), 7..8, Kind::Exclusive).expect("test"));
        unlock(b.as_fd(), file.path(), 7).expect("unlock");
        assert!(try_lock(a.as_fd(), file.path(), 7, Kind::Exclusive).expect("lock"));
    }

    #[test]
    fn ones_own_lock_tests_as_unlocked() {
        let (file, a, b) = two();
        assert!(try_lock(a.as_fd(), file.path(), 9, Kind::Exclusive).expect("lock"));
        assert!(!is_locked_by_another(a.as_fd(), file.path(), 0..100, Kind::Exclusive).expect("test"));
        assert!(is_locked_by_another(b.as_fd(), file.path(), 0..100, Kind::Exclusive).expect("test"));
        assert!(!is_locked_by_another(b.as_fd(), file.path(), 10..100, Kind::Exclusive).expect("test"));
    }

    #[test]
    fn a_read_only_descriptor_can_test_for_an_exclusive_lock_but_not_take_one() {
        let (file, a, _) = two();
        let reader = File::open(file.path()).expect("open");
        assert!(try_lock(a.as_fd(), file.path(), 3, Kind::Shared).expect("lock"));
        assert!(is_locked_by_another(reader.as_fd(), file.path(), 3..4, Kind::Exclusive).expect("test"));
        assert!(try_lock(reader.as_fd(), file.path(), 3, Kind::Exclusive).is_err());
        assert!(try_lock(reader.as_fd(), file.path(), 3, Kind::Shared).expect("lock"));
    }
}
