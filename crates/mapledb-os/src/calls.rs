//! The system calls of the data file for which the standard library has no safe form: one thin function each.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What tells a file from every other, and its length: what a commit may ask without a trace.
///
/// A `stat` asks for times too, and on file systems with fine-grained times that makes the next store to the file
/// change them, so that every sync writes the inode as well: 229 against 291 µs a sync on ext4 (Linux 6.18).
pub(crate) struct Essence {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) len_bytes: u64,
}

/// The essence of the file at `path`, symbolic links followed.
pub(crate) fn essence_at(path: &Path) -> io::Result<Essence> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    essence(libc::AT_FDCWD, &path, 0)
}

/// The essence of an open file.
pub(crate) fn essence_of(file: &File) -> io::Result<Essence> {
    essence(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn essence(dir: libc::c_int, path: &CStr, flags: libc::c_int) -> io::Result<Essence> {
    let mut about = MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_INO | libc::STATX_SIZE;
    // SAFETY: `path` ends with a zero byte and `about` is room for the answer; both outlive the call.
    let answer = unsafe { libc::statx(dir, path.as_ptr(), flags, wanted, about.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed is a valid value of this struct of integers, and the call has succeeded.
    let about = unsafe { about.assume_init() };
    let dev = libc::makedev(about.stx_dev_major, about.stx_dev_minor);
    Ok(Essence { dev, ino: about.stx_ino, len_bytes: about.stx_size })
}

/// Writes slices, one behind the other, from `offset` on; answers how many bytes were written.
pub(crate) fn write_vectored_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let (count, offset) = (slices.len() as libc::c_int, offset as libc::off_t);
    loop {
        // SAFETY: `IoSlice` is laid out as `iovec`, as its documentation promises, and the slices outlive the call.
        let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, offset) };
        match usize::try_from(written) {
            Ok(written) => return Ok(written),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// How many kernel pages of `len` bytes of a file at `offset` are in memory, and how many of them were stored to since they were
/// last written. A kernel before 6.5 does not tell.
pub(crate) fn cached_pages(file: &File, offset: u64, len: u64) -> io::Result<[u64; 2]> {
    /// The same on every architecture.
    const SYS_CACHESTAT: libc::c_long = 451;
    #[repr(C)]
    struct Range {
        offset: u64,
        len: u64,
    }
    /// Counts of pages: in the cache, dirty, being written, evicted, evicted of late.
    #[repr(C)]
    struct Counts([u64; 5]);

    let (range, mut counts) = (Range { offset, len }, Counts([0; 5]));
    // SAFETY: the call reads a live range and writes the five counts; both outlive it.
    let answer = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &range, &mut counts, 0) };
    if answer != 0 { Err(io::Error::last_os_error()) } else { Ok([counts.0[0], counts.0[1]]) }
}

/// Begins to write dirty pages of `len` bytes at `offset`, without waiting for them.
pub(crate) fn start_writing(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (signed(offset)?, signed(len)?);
    // SAFETY: takes a descriptor that is open and integers.
    let answer = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What `fallocate` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// Allocate, and grow the file if the range ends past its end.
    Allocate,
    /// Give the blocks back, keep the length.
    Punch,
}

/// The raw `fallocate`: never the C library's emulation, which writes into existing data. Retried on `EINTR`.
pub(crate) fn fallocate(file: &File, blocks: Blocks, offset: u64, len: u64) -> io::Result<()> {
    let mode = match blocks {
        Blocks::Allocate => 0,
        Blocks::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
    };
    let (offset, len) = (signed(offset)?, signed(len)?);
    loop {
        // SAFETY: takes four integers and no pointer; `file` keeps the descriptor open during the call.
        let answer = unsafe { libc::syscall(libc::SYS_fallocate, file.as_raw_fd(), mode, offset, len) };
        match answer {
            0 => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            },
        }
    }
}

/// Gives the blocks of a range of a file that nobody else knows yet back; it reads as zero then. Answers `false` where the
/// file system cannot. One system call.
///
/// # Errors
/// Not permitted, or an I/O error.
pub fn punch(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    is_supported(fallocate(file, Blocks::Punch, offset, len))
}

/// Tells a file system that cannot do what was asked from one that could and failed.
pub(crate) fn is_supported(answer: io::Result<()>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Has the kernel drop what it has cached of a range, or of all from `offset` on if `len` is 0. Pages that are dirty or
/// mapped stay. One system call.
///
/// # Errors
/// Those of the system.
pub fn drop_cached(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (signed(offset)?, signed(len)?);
    // SAFETY: takes four integers and no pointer; `file` keeps the descriptor open during the call.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        // This call answers its error and leaves `errno` alone.
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Gives the file open as `file`, which has no name, the name `to`, replacing nothing.
///
/// Through `/proc`, since `AT_EMPTY_PATH` wants a capability on kernels before 6.10.
pub(crate) fn link_open_file(file: &File, to: &Path) -> io::Result<()> {
    let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = c_path(to)?;
    // SAFETY: both pointers come from a `CString` that lives to the end of this function.
    let answer = unsafe {
        libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    };
    check(answer)
}

/// Renames `from` to `to`, replacing nothing. `EINVAL` or `ENOSYS` where this is not supported.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both pointers come from a `CString` that lives to the end of this function.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks that the file, which must be empty, be overwritten in place (btrfs).
pub(crate) fn set_nocow(file: &File) -> io::Result<()> {
    // The numbers of `linux/fs.h`: _IOR('f', 1, long) and _IOW('f', 2, long); yet the value is an `int`.
    const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
    const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
    const FS_NOCOW_FL: libc::c_int = 0x0080_0000;
    let mut flags: libc::c_int = 0;
    // SAFETY: the kernel writes one `int` through the pointer, which is to a live local.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFLAGS as libc::Ioctl, &raw mut flags) };
    check(answer)?;
    flags |= FS_NOCOW_FL;
    // SAFETY: the kernel reads one `int` through the pointer, which is to a live local.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_SETFLAGS as libc::Ioctl, &raw const flags) };
    check(answer)
}

/// The magic number of the file system that holds `file`.
pub(crate) fn filesystem_magic(file: &File) -> io::Result<u32> {
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one `statfs` through the pointer, which is to a live local.
    check(unsafe { libc::fstatfs(file.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: all its fields are integers, so the zeroed value was valid before the call filled it.
    let stat = unsafe { stat.assume_init() };
    // Every magic number has 32 bits; the field is wider, and signed on some C libraries.
    Ok(stat.f_type as u32)
}

/// Bytes that an unprivileged user may still allocate on the file system that holds `file`.
pub(crate) fn free_space_bytes(file: &File) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the C library writes one `statvfs` through the pointer, which is to a live local.
    check(unsafe { libc::fstatvfs(file.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: all its fields are integers, so the zeroed value was valid before the call filled it.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The soft limits on file size and on address space, in bytes; `None` is no limit.
pub(crate) fn soft_limits() -> (Option<u64>, Option<u64>) {
    // SAFETY: the kernel writes one `rlimit` through the pointer, which `soft_limit` keeps live.
    let file_size = soft_limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, limit) });
    // SAFETY: as above.
    let address_space = soft_limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_AS, limit) });
    (file_size, address_space)
}

fn soft_limit(ask: impl FnOnce(*mut libc::rlimit) -> libc::c_int) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let answer = ask(&raw mut limit);
    (answer == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The kernel's release, as in `6.18.2-generic`.
pub(crate) fn kernel_release() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the kernel writes one `utsname` through the pointer, which is to a live local. It cannot fail.
    unsafe { libc::uname(name.as_mut_ptr()) };
    // SAFETY: all its fields are arrays of integers, so the zeroed value was valid before the call filled it.
    let name = unsafe { name.assume_init() };
    name.release.iter().take_while(|c| **c != 0).map(|c| char::from(*c as u8)).collect()
}

/// The kernel's page size in bytes.
pub(crate) fn page_size() -> u64 {
    // SAFETY: takes an integer and no pointer.
    let answer = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(answer).expect("every Linux knows its page size")
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn signed(bytes: u64) -> io::Result<i64> {
    i64::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
