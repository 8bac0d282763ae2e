//! The system calls that no safe wrapper has.

#![allow(unsafe_code)]

#[cfg(feature = "fuse")]
use std::fs::File;
use std::io;
#[cfg(feature = "fuse")]
use std::os::fd::AsRawFd;

use nix::unistd::Pid;

/// Has the kernel begin to write the whole file's dirty pages, without waiting for them or promising anything.
///
/// # Errors
/// The system's.
#[cfg(feature = "fuse")]
pub fn start_writeback(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` lives, and the call takes no pointers.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks; the child does `child` and ends with the number that it answers, without running anything else of this
/// program.
///
/// The child of a process with threads may do little: `child` takes no lock that another thread may hold.
///
/// # Errors
/// The system refuses.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the child does what it was given, which keeps to the rule above, and ends without returning.
    let forked = unsafe { libc::fork() };
    match forked {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: ends the child, and runs no exit handler of its parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Pid::from_raw(pid)),
    }
}
