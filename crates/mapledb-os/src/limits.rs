//! What the machine and the process allow: page size, kernel version, limits, free space, and from them how much
//! address space one map may reserve.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use crate::calls;
use crate::error::{OsError, Result};

/// Address space of a process that every 64-bit Linux of ours gives: 47 bits.
const ADDRESS_SPACE_BYTES: u64 = 1 << 47;
/// Environments that must fit in one process.
const ENVIRONMENTS: u64 = 64;
/// The reserve of one map of a file that is not large, in bytes: 512 GiB.
///
/// An environment has two maps of it and a memo of 8 bytes for each 4 KiB, and 64 of them leave a quarter of the
/// address space free: 64 · (2 · 512 GiB + 1 GiB) is a little over 64 of the 128 TiB. 1 TiB would fill all of it.
pub const RESERVE_BYTES: u64 = 512 << 30;
const _: () =
    assert!(ENVIRONMENTS * (2 * RESERVE_BYTES + RESERVE_BYTES / 512) <= ADDRESS_SPACE_BYTES / 4 * 3);

/// Reserve past the file's end that a refused map still asks for, in bytes.
pub(crate) const ROOM_BYTES: u64 = 64 << 20;

/// The kernel's page size in bytes: the grain of faults and syncs, 4096 to 65536. One system call per process.
pub fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(calls::page_size)
}

/// The version of a Linux kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 in 6.18.
    pub major: u32,
    /// 18 in 6.18.
    pub minor: u32,
}

impl KernelVersion {
    /// The version in a release string; 0 stands for what is not a number.
    ///
    /// ```
    /// # use mapledb_os::KernelVersion;
    /// assert_eq!(KernelVersion::parse("6.18.2-generic"), KernelVersion { major: 6, minor: 18 });
    /// ```
    pub fn parse(release: &str) -> KernelVersion {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        KernelVersion { major: numbers.next().unwrap_or(0), minor: numbers.next().unwrap_or(0) }
    }
}

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version of the running kernel. One system call.
pub fn kernel_version() -> KernelVersion {
    KernelVersion::parse(&calls::kernel_release())
}

/// The length in bytes past which this process may not grow a file (`RLIMIT_FSIZE`); `None` is no limit.
pub fn file_size_limit() -> Option<u64> {
    calls::soft_limits().0
}

/// The address space in bytes that this process may map (`RLIMIT_AS`); `None` is no limit.
pub fn address_space_limit() -> Option<u64> {
    calls::soft_limits().1
}

/// Bytes that may still be allocated on the file system that holds `path`. Three system calls.
///
/// # Errors
/// `path` cannot be opened, or the file system does not answer.
pub fn free_space_bytes(path: &Path) -> Result<u64> {
    File::open(path)
        .and_then(|file| calls::free_space_bytes(&file))
        .map_err(|e| OsError::new("ask for the free space of", path, e))
}

/// The reserve in bytes to ask for when mapping a file of `len_bytes`: [`RESERVE_BYTES`] or more than twice the
/// file, yet at most an eighth of a limited address space, so that the other map, the memo and the heap fit too.
pub fn reserve_wish_bytes(len_bytes: u64) -> u64 {
    reserve_wish_under(len_bytes, address_space_limit())
}

fn reserve_wish_under(len_bytes: u64, address_space: Option<u64>) -> u64 {
    let wish = RESERVE_BYTES.max(len_bytes.saturating_mul(2).min(1 << 62).next_power_of_two());
    let Some(limit) = address_space else { return wish };
    wish.min(limit / 8).max(len_bytes.saturating_add(ROOM_BYTES)).min(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_follows_the_file_and_the_address_space() {
        const GIB: u64 = 1 << 30;
        let table = [
            (0, None, RESERVE_BYTES),
            (GIB, None, RESERVE_BYTES),
            (400 * GIB, None, 1024 * GIB),
            (u64::MAX, None, 1 << 62),
            (GIB, Some(u64::MAX), RESERVE_BYTES),
            (0, Some(16 * GIB), 2 * GIB),
            (4 * GIB, Some(16 * GIB), 4 * GIB + ROOM_BYTES),
        ];
        for (len, limit, wish) in table {
            assert_eq!(reserve_wish_under(len, limit), wish, "len {len} limit {limit:?}");
        }
    }

    #[test]
    fn kernel_versions_compare_by_number() {
        assert!(KernelVersion::parse("6.5") < KernelVersion::parse("6.18-rc1"));
        assert_eq!(KernelVersion::parse("junk"), KernelVersion { major: 0, minor: 0 });
        assert!(kernel_version() >= KernelVersion { major: 3, minor: 15 }, "{}", kernel_version());
    }

    #[test]
    fn the_page_size_is_one_that_the_format_allows() {
        assert!(page_size().is_power_of_two());
        assert!((4096..=65536).contains(&page_size()));
    }

    #[test]
    fn free_space_is_known_where_there_is_a_directory_and_an_error_elsewhere() {
        assert!(free_space_bytes(&std::env::temp_dir()).is_ok());
        assert!(free_space_bytes(Path::new("/nowhere/at/all")).is_err());
    }
}
