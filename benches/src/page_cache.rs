//! The system's page cache of an engine's files: dropped by advice, and looked at.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::Result;

const PAGE: usize = 4096;

/// All files in `dir`, those of directories in it too.
pub fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(files_in(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

/// Writes all files in `dir` back and asks the system to forget them. They must not be mapped. Answers which share of
/// their pages is still there.
pub fn drop_all(dir: &Path) -> Result<f64> {
    let (mut resident, mut pages) = (0, 0);
    for path in files_in(dir)? {
        let file = File::open(&path)?;
        file.sync_all()?;
        advise_dont_need(&file)?;
        let (own_resident, own_pages) = residency(&file)?;
        resident += own_resident;
        pages += own_pages;
    }
    Ok(resident as f64 / pages.max(1) as f64)
}

#[expect(unsafe_code, reason = "a system call that the standard library does not have")]
fn advise_dont_need(file: &File) -> Result<()> {
    // SAFETY: the descriptor is open, and the call reads and writes no memory.
    let code = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    match code {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(code).into()),
    }
}

/// Pages of a file that are in memory, and all of them.
#[expect(unsafe_code, reason = "system calls that the standard library does not have")]
fn residency(file: &File) -> Result<(usize, usize)> {
    let length = usize::try_from(file.metadata()?.len())?;
    if length == 0 {
        return Ok((0, 0));
    }
    let mut present = vec![0u8; length.div_ceil(PAGE)];
    // SAFETY: a new read-only mapping that nothing reads.
    let map = unsafe {
        libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if map == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the mapping is `length` long, and the vector has a byte for each of its pages.
    let code = unsafe { libc::mincore(map, length, present.as_mut_ptr()) };
    let outcome = if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    // SAFETY: the mapping was made above and nothing points into it.
    unsafe { libc::munmap(map, length) };
    outcome?;
    Ok((present.iter().filter(|page| **page & 1 == 1).count(), present.len()))
}
