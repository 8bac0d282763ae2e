//! The read-only map: what readers see, and all that a stray store through one of their pointers can reach.
//!
//! `MADV_RANDOM` goes over the whole mapping before its first fault, unless told otherwise: read-ahead would drag
//! megabytes in for each cold page, and fill the page cache with large folios, of which a store to one page dirties
//! all. Scans and warm-up ask for read-ahead over what they will touch, by [`ReadMap::will_need`].

#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;

use memmap2::Advice;

use crate::error::Result;
use crate::file::DataFile;
use crate::reserve::{Access, Reserve};
use crate::seam::Effect;
use crate::sigbus::{Alarm, Guard};
use crate::smaps::{self, MapFacts};

/// How a map will be read, as advice to the kernel about all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapAdvice {
    /// Page by page in no order: no read-ahead. Right for a file that is also written.
    #[default]
    Random,
    /// The kernel's own guess.
    Normal,
    /// From front to back: much read-ahead.
    Sequential,
    /// Huge pages where the file system has them: faster warm reads of a file that nobody writes. The kernel then reads 2 MiB for
    /// each first touch. Of a file that is written a store makes all of its huge page dirty.
    HugePage,
}

/// The whole file, and the reserve past its end, mapped read-only. Unmapped when dropped.
///
/// ```
/// # fn main() -> Result<(), mapledb_os::OsError> {
/// # let dir = std::env::temp_dir().join(format!("mapledb-os-map-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).expect("a directory for the example");
/// use mapledb_os::{DataFile, MapAdvice, ReadMap, Seam};
/// use std::io::Write;
///
/// let path = dir.join("users.maple");
/// let file = DataFile::create_in_place(&path, 0o644, 8192, Seam::unwatched(), |mut f| f.write_all(b"hello"))?;
/// let map = ReadMap::map(&file, 1 << 30, MapAdvice::Random)?;
/// assert!(map.len_bytes() <= 1 << 30);
/// // SAFETY: the file has 8192 bytes and nobody writes it.
/// assert_eq!(unsafe { map.slice(0, 5) }, b"hello");
/// # std::fs::remove_dir_all(&dir).expect("the example's own directory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadMap {
    reserve: Reserve,
}

impl ReadMap {
    /// Maps `file` with `reserve_bytes` of address space, or half of it and so on where that is refused, down to
    /// the file plus some room; [`ReadMap::len_bytes`] tells. [`reserve_wish_bytes`](crate::reserve_wish_bytes)
    /// knows what to ask for. Three system calls.
    ///
    /// # Errors
    /// Not even the file itself can be mapped.
    pub fn map(file: &DataFile, reserve_bytes: u64, advice: MapAdvice) -> Result<ReadMap> {
        let reserve = match advice {
            MapAdvice::HugePage => Reserve::map_aligned(file, Access::Read, reserve_bytes)?,
            _ => Reserve::map(file, Access::Read, reserve_bytes)?,
        };
        match (advice, reserve.advise_whole(advice.for_kernel())) {
            // A kernel without huge pages refuses the advice; it is only a wish.
            (MapAdvice::HugePage, Err(e)) if e.raw_os_error() == Some(libc::EINVAL) => {}
            (_, answer) => answer.map_err(|e| reserve.failed("advise about the map of", e))?,
        }
        Ok(ReadMap { reserve })
    }

    /// Lets faults in this map raise `alarm` rather than end the process, once [`sigbus::catch`](crate::sigbus::catch)
    /// has been called. `file` is what it maps. The guard must go before the map and the file.
    ///
    /// # Errors
    /// Too many maps are guarded.
    pub fn guard(&self, alarm: &Arc<Alarm>, file: &DataFile) -> Result<Guard> {
        self.reserve.guard(false, alarm, file)
    }

    /// The address of byte 0 of the file. It stays as long as the map.
    #[inline(always)]
    pub fn base(&self) -> *const u8 {
        self.reserve.base()
    }

    /// The length of the map with its reserve, in bytes: beyond it a file that has grown needs another map.
    #[inline(always)]
    pub fn len_bytes(&self) -> u64 {
        self.reserve.len_bytes()
    }

    /// Whether `len` bytes at `offset` lie within the reserve. They may still lie past the end of the file.
    #[inline(always)]
    pub fn covers(&self, offset: u64, len: usize) -> bool {
        self.reserve.covers(offset, len)
    }

    /// `len` bytes of the file at `offset`. No system call; a fault for each kernel page that is touched first.
    ///
    /// # Panics
    /// The range is not within the reserve: check [`ReadMap::covers`] where the numbers come from a file.
    ///
    /// # Safety
    /// As long as the slice lives, in every process: the range lies within the file, so nobody truncates it, and
    /// nobody stores to it. A pin upholds both for pages of its snapshot, since the writer stores only to pages
    /// that no pinned snapshot reaches.
    #[inline(always)]
    pub unsafe fn slice(&self, offset: u64, len: usize) -> &[u8] {
        let at = self.reserve.address(offset, len);
        // SAFETY: within the mapping, which `self` keeps; within the file and not stored to by the caller's promise.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    /// Asks the CPU for the cache line at `offset`. Nothing happens past the reserve, past the end of the file or
    /// where no page is mapped yet. No system call.
    #[inline(always)]
    pub fn prefetch(&self, offset: u64) {
        self.reserve.prefetch(offset);
    }

    /// Asks the CPU for the cache lines of `len_bytes` bytes from the line at `offset` on, likewise; nothing happens unless
    /// all lie within the reserve.
    #[inline(always)]
    pub fn prefetch_lines(&self, offset: u64, len_bytes: usize) {
        self.reserve.prefetch_lines(offset, len_bytes);
    }

    /// Makes `len` bytes at `offset` present in one system call (`MADV_POPULATE_READ`), which answers with an error where
    /// a touch would raise a signal. Under [`MapAdvice::Random`] nothing else is read. `false` from kernels before 5.14,
    /// which do not know the call: read the bytes from the file to learn of errors.
    ///
    /// # Errors
    /// The disk does not deliver, or the range ends past the file.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn make_present(&self, offset: u64, len: usize) -> Result<bool> {
        let effect = Effect::Read { offset, len: len as u64 };
        loop {
            match self.reserve.advise_part(effect, Advice::PopulateRead, offset, len) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return Ok(false),
                answer => {
                    return answer
                        .map(|()| true)
                        .map_err(|e| self.reserve.failed("read pages of", unreadable(e)));
                }
            }
        }
    }

    /// Unmaps what is mapped of `len` bytes at `offset`: the next touch maps it anew. One system call. A page that is
    /// mapped stays in the kernel's cache, whatever [`DataFile::drop_cached`] says.
    ///
    /// # Errors
    /// Those of the system.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn unmap(&self, offset: u64, len: usize) -> Result<()> {
        self.reserve.unmap_part(offset, len).map_err(|e| self.reserve.failed("unmap pages of", e))
    }

    /// Asks the kernel to read `len` bytes at `offset` ahead, as far as they lie within the reserve. One system
    /// call, which may wait for a full disk queue. A wish: a refusal is not told.
    pub fn will_need(&self, offset: u64, len: usize) {
        let len = (len as u64).min(self.len_bytes().saturating_sub(offset)) as usize;
        if len > 0 {
            let effect = Effect::Advise { offset, len: len as u64 };
            let _ = self.reserve.advise_part(effect, Advice::WillNeed, offset, len);
        }
    }

    /// Whether each kernel page of `len` bytes from `offset` on, the beginning of one, is in memory, mapped or not. One system
    /// call for each 64 MiB.
    ///
    /// # Errors
    /// Those of the system.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn presence(&self, offset: u64, len: usize) -> Result<Vec<bool>> {
        self.reserve.presence(offset, len).map_err(|e| self.reserve.failed("look up what is in memory of", e))
    }

    /// Brings `len` bytes at `offset` into memory and keeps them there as long as the map lives (`mlock`). One system call, and
    /// what is read. It splits the map in the kernel's books, so use one of its own.
    ///
    /// # Errors
    /// The process may not lock as much: `ulimit -l`.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn lock(&self, offset: u64, len: usize) -> Result<()> {
        self.reserve
            .lock(offset, len)
            .map_err(|e| self.reserve.failed("lock in memory (see ulimit -l) a part of", e))
    }

    /// What the kernel tells about this map: how much of it this process has mapped, and how much of that by huge pages.
    ///
    /// Cost: as [`maps_of`](crate::smaps::maps_of).
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn facts(&self) -> Result<MapFacts> {
        let base = self.base() as u64;
        smaps::within(base..base + self.len_bytes())
    }

    /// Whether the kernel page at `offset` is in memory, mapped or not. One system call, about 0.2 µs; `true` where the system
    /// does not tell.
    ///
    /// # Panics
    /// The offset is not within the reserve.
    pub fn is_present(&self, offset: u64) -> bool {
        self.reserve.is_present(offset).unwrap_or(true)
    }
}

/// The call says `EFAULT` for what would have been a signal. "Bad address" would lead people astray.
fn unreadable(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EFAULT) => io::Error::from_raw_os_error(libc::EIO),
        _ => error,
    }
}

impl MapAdvice {
    fn for_kernel(self) -> Advice {
        match self {
            MapAdvice::Random => Advice::Random,
            MapAdvice::Normal => Advice::Normal,
            MapAdvice::Sequential => Advice::Sequential,
            MapAdvice::HugePage => Advice::HugePage,
        }
    }
}
