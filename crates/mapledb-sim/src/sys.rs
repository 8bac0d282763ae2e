//! The system calls that no safe wrapper has.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Has the kernel begin to write the whole file's dirty pages, without waiting for them or promising anything.
///
/// # Errors
/// The system's.
pub fn start_writeback(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` lives, and the call takes no pointers.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
