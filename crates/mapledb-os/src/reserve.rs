//! A file mapped far past its end, once, at an address that never changes.
//!
//! ```text
//! base                    end of file                               base + len
//!  |  pages with blocks   |          reserve: address space only          |
//!  |<------ grows by fallocate alone, visible without a call ------>      |
//! ```
//!
//! A load past the end of the file raises SIGBUS, so who makes a slice says that it lies within the file; that it
//! lies within the reserve is checked here. The reserve costs no memory, and page tables only where it is touched.

#![allow(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::error::{OsError, Result};
use crate::file::DataFile;
use crate::limits::{ROOM_BYTES, page_size};
use crate::seam::{Effect, Seam};
use crate::sigbus::{Alarm, Guard};

/// What a processor fetches at once.
const LINE_BYTES: usize = 64;

/// Whether a mapping may be stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What an entry of a page table one level up maps, on x86-64 and on aarch64 with pages of 4 KiB.
pub(crate) const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// One shared mapping of a file and its reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    raw: MmapRaw,
    path: PathBuf,
    seam: Seam,
}

impl Reserve {
    /// Maps `file` with `wish_bytes` of reserve, or with the next smaller one that the system grants.
    pub(crate) fn map(file: &DataFile, access: Access, wish_bytes: u64) -> Result<Reserve> {
        let file_len = file.stat()?.len_bytes;
        let mut len = first_reserve(file_len, wish_bytes);
        loop {
            match Reserve::map_exactly(file, access, len) {
                Ok(raw) => {
                    return Ok(Reserve { raw, path: file.path().to_path_buf(), seam: file.seam().clone() });
                }
                Err(e) if wants_less(&e) => {
                    len = smaller_reserve(file_len, len).ok_or_else(|| file.failed("map", e))?;
                }
                Err(e) => return Err(file.failed("map", e)),
            }
        }
    }

    /// As [`Reserve::map`], at an address where a huge page may begin, if that can be had.
    ///
    /// File systems that can map huge pages see to that themselves, but memory files do not. The kernel fills a gap in the
    /// address space from its upper end downwards, so the same map a little longer begins so much lower. It is tried once:
    /// a wish.
    pub(crate) fn map_aligned(file: &DataFile, access: Access, wish_bytes: u64) -> Result<Reserve> {
        let first = Reserve::map(file, access, wish_bytes)?;
        let past = first.base() as u64 % HUGE_PAGE_BYTES;
        if past == 0 || first.len_bytes() < HUGE_PAGE_BYTES {
            return Ok(first);
        }
        let longer = first.len_bytes() + past;
        drop(first);
        Reserve::map(file, access, longer)
    }

    fn map_exactly(file: &DataFile, access: Access, len: u64) -> io::Result<MmapRaw> {
        let mut options = MmapOptions::new();
        options.len(len as usize).no_reserve_swap();
        file.seam().run(Effect::Map { len, writable: access == Access::Write }, || match access {
            Access::Read => options.map_raw_read_only(file.as_file()),
            Access::Write => options.map_raw(file.as_file()),
        })
    }

    /// Lets faults in here raise `alarm`.
    pub(crate) fn guard(&self, is_writable: bool, alarm: &Arc<Alarm>, file: &DataFile) -> Result<Guard> {
        Guard::register(self.base(), self.raw.len(), is_writable, alarm, file)
    }

    #[inline(always)]
    pub(crate) fn base(&self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }

    #[inline(always)]
    pub(crate) fn len_bytes(&self) -> u64 {
        self.raw.len() as u64
    }

    pub(crate) fn seam(&self) -> &Seam {
        &self.seam
    }

    #[inline(always)]
    pub(crate) fn covers(&self, offset: u64, len: usize) -> bool {
        offset.checked_add(len as u64).is_some_and(|end| end <= self.len_bytes())
    }

    /// The address of `offset`. Panics unless `len` bytes from there lie within the reserve.
    #[inline(always)]
    pub(crate) fn address(&self, offset: u64, len: usize) -> *mut u8 {
        assert!(
            self.covers(offset, len),
            "{len} bytes at {offset} are outside the reserve of {} bytes",
            self.len_bytes()
        );
        // SAFETY: just checked to lie within the one mapping that starts at `base`.
        unsafe { self.base().add(offset as usize) }
    }

    /// Asks the CPU for the cache line at `offset`; nothing happens past the reserve or where no page is mapped.
    #[inline(always)]
    pub(crate) fn prefetch(&self, offset: u64) {
        if offset < self.len_bytes() {
            prefetch_line(self.base().wrapping_add(offset as usize));
        }
    }

    /// Asks the CPU for the cache lines of `len_bytes` bytes from the line at `offset` on, as [`Reserve::prefetch`] does.
    #[inline(always)]
    pub(crate) fn prefetch_lines(&self, offset: u64, len_bytes: usize) {
        if self.covers(offset, len_bytes) {
            let first = self.base().wrapping_add(offset as usize & !(LINE_BYTES - 1));
            for line in (0..len_bytes).step_by(LINE_BYTES) {
                prefetch_line(first.wrapping_add(line));
            }
        }
    }

    /// One system call of advice about the whole mapping.
    pub(crate) fn advise_whole(&self, advice: Advice) -> io::Result<()> {
        let effect = Effect::Advise { offset: 0, len: self.len_bytes() };
        self.seam.run(effect, || self.raw.advise(advice))
    }

    /// One system call of advice about a part that [`Reserve::covers`]. Only advice that does not split the mapping.
    pub(crate) fn advise_part(
        &self,
        effect: Effect,
        advice: Advice,
        offset: u64,
        len: usize,
    ) -> io::Result<()> {
        assert!(self.covers(offset, len), "advice about {len} bytes at {offset} of {}", self.len_bytes());
        self.seam.run(effect, || self.raw.advise_range(advice, offset as usize, len))
    }

    /// Takes the page table's entries of a part away; the next touch finds them again.
    pub(crate) fn unmap_part(&self, offset: u64, len: usize) -> io::Result<()> {
        assert!(self.covers(offset, len), "unmapping {len} bytes at {offset} of {}", self.len_bytes());
        let advice = memmap2::UncheckedAdvice::DontNeed;
        let effect = Effect::Advise { offset, len: len as u64 };
        // SAFETY: this is advice that loses the bytes of a private mapping; of a shared one of a file it loses none.
        self.seam.run(effect, || unsafe { self.raw.unchecked_advise_range(advice, offset as usize, len) })
    }

    /// Tells the system that `len` bytes at `offset`, which [`Reserve::covers`], will not be needed soon.
    pub(crate) fn cool_part(&self, offset: u64, len: usize) -> io::Result<()> {
        assert!(self.covers(offset, len), "cooling {len} bytes at {offset} of {}", self.len_bytes());
        let page = offset & !(page_size() - 1);
        let at = self.base().wrapping_add(page as usize);
        let len = (offset - page) as usize + len;
        self.seam.run(Effect::Advise { offset, len: len as u64 }, || {
            // SAFETY: the range lies within the mapping, and this advice changes no byte that anybody sees.
            let answer = unsafe { libc::madvise(at as *mut libc::c_void, len, libc::MADV_COLD) };
            if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    }

    /// Has the kernel make huge pages of what is in memory of a part, which [`Reserve::covers`], and map them.
    pub(crate) fn collapse(&self, offset: u64, len: usize) -> io::Result<()> {
        assert!(self.covers(offset, len), "collapsing {len} bytes at {offset} of {}", self.len_bytes());
        let at = self.base().wrapping_add(offset as usize);
        self.seam.run(Effect::Advise { offset, len: len as u64 }, || {
            // SAFETY: the range lies within the mapping, and this advice changes no byte that anybody sees.
            let answer = unsafe { libc::madvise(at as *mut libc::c_void, len, libc::MADV_COLLAPSE) };
            if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    }

    /// Whether the kernel page at `offset`, which [`Reserve::covers`], is in memory.
    pub(crate) fn is_present(&self, offset: u64) -> io::Result<bool> {
        assert!(self.covers(offset, 1), "a look at {offset} of {}", self.len_bytes());
        let page = offset & !(page_size() - 1);
        let at = self.base().wrapping_add(page as usize);
        let mut state = 0_u8;
        // SAFETY: the page lies within the mapping; of one byte at most one kernel page is told, in one byte.
        let answer = unsafe { libc::mincore(at as *mut libc::c_void, 1, &mut state) };
        if answer == 0 { Ok(state & 1 == 1) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether each kernel page of a range, which [`Reserve::covers`], is in memory.
    pub(crate) fn presence(&self, offset: u64, len: usize) -> io::Result<Vec<bool>> {
        /// Pages told by one call: the answer for them takes as many bytes.
        const PAGES: usize = 1 << 14;
        assert!(self.covers(offset, len), "a look at {len} bytes at {offset} of {}", self.len_bytes());
        let step = PAGES * page_size() as usize;
        let mut found = Vec::with_capacity(len.div_ceil(page_size() as usize));
        let mut states = [0_u8; PAGES];
        for from in (0..len).step_by(step) {
            let part = step.min(len - from);
            let at = self.base().wrapping_add(offset as usize + from);
            // SAFETY: the range lies within the mapping, and `states` has a byte for each of its kernel pages.
            let answer = unsafe { libc::mincore(at as *mut libc::c_void, part, states.as_mut_ptr()) };
            if answer != 0 {
                return Err(io::Error::last_os_error());
            }
            found.extend(states[..part.div_ceil(page_size() as usize)].iter().map(|state| state & 1 == 1));
        }
        Ok(found)
    }

    /// Locks a range, which [`Reserve::covers`], in memory.
    pub(crate) fn lock(&self, offset: u64, len: usize) -> io::Result<()> {
        assert!(self.covers(offset, len), "locking {len} bytes at {offset} of {}", self.len_bytes());
        let at = self.base().wrapping_add(offset as usize);
        self.seam.run(Effect::Advise { offset, len: len as u64 }, || {
            // SAFETY: the range lies within the mapping, which unlocks it when it goes; no byte changes.
            let answer = unsafe { libc::mlock(at as *const libc::c_void, len) };
            if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    }

    /// One `msync(MS_SYNC)` of the kernel pages that the range touches.
    pub(crate) fn sync(&self, offset: u64, len: usize) -> io::Result<()> {
        self.seam.run(Effect::Sync { offset, len: len as u64 }, || self.raw.flush_range(offset as usize, len))
    }

    pub(crate) fn failed(&self, what: &'static str, source: io::Error) -> OsError {
        OsError::new(what, &self.path, source)
    }
}

/// Out of address space, out of the process's limit, or past what the file system can ever hold in one file; under an
/// emulator such as valgrind, more than it can keep track of.
fn wants_less(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EOVERFLOW | libc::EFBIG | libc::EINVAL))
}

/// The length of the first attempt: whole kernel pages, all of the file, at least one page.
fn first_reserve(file_len: u64, wish: u64) -> u64 {
    whole_pages(wish.max(file_len).max(1))
}

/// The next smaller reserve to try after `refused`: half of it, at last the file and some room, then the file alone.
fn smaller_reserve(file_len: u64, refused: u64) -> Option<u64> {
    let file_alone = whole_pages(file_len.max(1));
    let with_room = whole_pages(file_len.saturating_add(ROOM_BYTES));
    if refused > with_room {
        Some(whole_pages(refused / 2).max(with_room))
    } else {
        (refused > file_alone).then_some(file_alone)
    }
}

fn whole_pages(bytes: u64) -> u64 {
    const MAPPABLE_MAX: u64 = i64::MAX as u64 & !0xFFFF;
    bytes.min(MAPPABLE_MAX).next_multiple_of(page_size())
}

/// Asks the CPU for the cache line of a value.
#[inline(always)]
pub fn prefetch<T>(at: &T) {
    prefetch_line(std::ptr::from_ref(at).cast());
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint that never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    // SAFETY: a hint that never faults, whatever the address; it changes neither memory, stack nor flags.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(readonly, nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn prefetch_line(_at: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reserve_is_halved_down_to_the_file() {
        let file_len = 3 << 30;
        let mut tried = vec![first_reserve(file_len, 1 << 40)];
        while let Some(next) = smaller_reserve(file_len, tried[tried.len() - 1]) {
            tried.push(next);
        }
        assert_eq!(tried[..3], [1 << 40, 1 << 39, 1 << 38]);
        assert_eq!(tried[tried.len() - 3..], [4 << 30, file_len + ROOM_BYTES, file_len]);
    }

    #[test]
    fn a_reserve_holds_the_whole_file_in_whole_pages_and_is_never_empty() {
        assert_eq!(first_reserve(0, 0), page_size());
        assert_eq!(first_reserve(page_size() * 3 - 1, 0), page_size() * 3);
        assert_eq!(smaller_reserve(0, page_size()), None);
        assert!(first_reserve(u64::MAX, u64::MAX) <= i64::MAX as u64);
    }
}
