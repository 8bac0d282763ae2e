//! The writable map: the only way by which bytes of the data file change after its creation.
//!
//! The invariants kept:
//!
//! - it stays one VMA, since `msync` costs one flush for each: advice goes over all of it or does not split it;
//! - a forked child does not inherit it (`MADV_DONTFORK`);
//! - it reads and writes page by page (`MADV_RANDOM`), so that a store dirties one page and not a large folio; where others
//!   have filled the page cache with large ones, [`WriteMap::split_folios`] asks for small ones.
//!
//! # Who may store
//!
//! The holder of the writer lock, and only to pages that no pinned snapshot reaches, to the meta slot that is not
//! the last durable one, or to pages that are being made dirty again unchanged. So no other slice, of this map or
//! of a [`ReadMap`](crate::ReadMap), in any process, shows bytes that change under it. Blocks come first:
//! [`DataFile::grow`] or [`DataFile::allocate`], then [`WriteMap::populate`], then stores, then [`WriteMap::sync`].

#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Advice;

use crate::error::Result;
use crate::file::DataFile;
use crate::limits::page_size;
use crate::reserve::{Access, Reserve};
use crate::seam::{Effect, Seam};
use crate::sigbus::{Alarm, Guard};

/// The whole file, and the reserve past its end, mapped for writing. Unmapped, not synced, when dropped.
///
/// In a forked child there is nothing at its address any more, or something else: there it must be forgotten
/// (`std::mem::forget`), neither used nor dropped.
#[derive(Debug)]
pub struct WriteMap {
    reserve: Reserve,
    /// Cleared when the kernel turns out not to know `MADV_POPULATE_WRITE`.
    populates: AtomicBool,
}

impl WriteMap {
    /// Maps `file`, which must be open for writing, with `reserve_bytes` of address space or less, as
    /// [`ReadMap::map`](crate::ReadMap::map). Four system calls.
    ///
    /// # Errors
    /// Not even the file itself can be mapped; or it is open for reading only.
    pub fn map(file: &DataFile, reserve_bytes: u64) -> Result<WriteMap> {
        let reserve = Reserve::map(file, Access::Write, reserve_bytes)?;
        for advice in [Advice::DontFork, Advice::Random] {
            reserve
                .advise_whole(advice)
                .map_err(|e| reserve.failed("advise about the writable map of", e))?;
        }
        Ok(WriteMap { reserve, populates: AtomicBool::new(true) })
    }

    /// As [`ReadMap::guard`](crate::ReadMap::guard). In a forked child it must be dropped before this is forgotten.
    ///
    /// # Errors
    /// Too many maps are guarded.
    pub fn guard(&self, alarm: &Arc<Alarm>, file: &DataFile) -> Result<Guard> {
        self.reserve.guard(true, alarm, file)
    }

    /// The length of the map with its reserve, in bytes.
    #[inline(always)]
    pub fn len_bytes(&self) -> u64 {
        self.reserve.len_bytes()
    }

    /// Whether `len` bytes at `offset` lie within the reserve. They may still lie past the end of the file.
    #[inline(always)]
    pub fn covers(&self, offset: u64, len: usize) -> bool {
        self.reserve.covers(offset, len)
    }

    /// Asks the CPU for the cache lines of `len_bytes` bytes from the line at `offset` on, as
    /// [`ReadMap::prefetch_lines`](crate::ReadMap::prefetch_lines).
    #[inline(always)]
    pub fn prefetch_lines(&self, offset: u64, len_bytes: usize) {
        self.reserve.prefetch_lines(offset, len_bytes);
    }

    /// The seam of the file, for who announces stores through [`WriteMap::slice_mut`].
    pub fn seam(&self) -> &Seam {
        self.reserve.seam()
    }

    /// Faults `len` bytes at `offset` in for writing, in one system call, so that the stores to come neither fault
    /// nor raise a signal. A kernel before 5.14 cannot: then nothing happens, and each first store faults.
    ///
    /// # Errors
    /// Where a store would raise a signal: the range ends past the file, or it has a hole that cannot be filled.
    /// Some pages may have been faulted in, which is harmless.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn populate(&self, offset: u64, len: usize) -> Result<()> {
        if len == 0 || !self.populates.load(Ordering::Relaxed) {
            return Ok(());
        }
        let effect = Effect::Populate { offset, len: len as u64 };
        loop {
            match self.reserve.advise_part(effect, Advice::PopulateWrite, offset, len) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The range is right and the mapping is ordinary, so it is the advice that the kernel does not know.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    self.populates.store(false, Ordering::Relaxed);
                    return Ok(());
                }
                answer => return answer.map_err(|e| self.reserve.failed("populate the map of", e)),
            }
        }
    }

    /// Asks the kernel to split the folios in which `len` bytes at `offset` lie into single pages, so that a store there
    /// dirties no page but its own. Two system calls, of which the second
    /// takes longer where a folio is split.
    ///
    /// What is asked for is to think little of these pages (`MADV_COLD`); a folio of which only a part is meant is split for
    /// that, if no other process maps it. A wish: a refusal is not told.
    ///
    /// # Panics
    /// The range is not within the reserve.
    pub fn split_folios(&self, offset: u64, len: usize) {
        let effect = Effect::Advise { offset, len: len as u64 };
        let _ = self.reserve.advise_part(effect, Advice::PopulateRead, offset, len);
        let _ = self.reserve.cool_part(offset, len);
    }

    /// Whether [`WriteMap::populate`] does something, as far as is known.
    pub fn populates(&self) -> bool {
        self.populates.load(Ordering::Relaxed)
    }

    /// Makes all stores to the kernel pages of `len` bytes at `offset` durable: one `msync(MS_SYNC)`, one flush.
    /// What is clean in between costs a look-up only, so one call covers pages and meta.
    ///
    /// # Errors
    /// Bytes may be lost, and a later success would not mean that they are there: never retry. `InvalidInput` if
    /// the range is not within the reserve.
    pub fn sync(&self, offset: u64, len: usize) -> Result<()> {
        self.reserve.sync(offset, len).map_err(|e| self.reserve.failed("sync the map of", e))
    }

    /// `len` bytes at `offset`, to read one's own stores.
    ///
    /// # Panics
    /// The range is not within the reserve.
    ///
    /// # Safety
    /// As [`ReadMap::slice`](crate::ReadMap::slice). The holder of the writer lock upholds it by having no slice
    /// from [`WriteMap::slice_mut`] over the same bytes.
    #[inline(always)]
    pub unsafe fn slice(&self, offset: u64, len: usize) -> &[u8] {
        let at = self.reserve.address(offset, len);
        // SAFETY: within the mapping, which `self` keeps; within the file and not stored to by the caller's promise.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    /// `len` bytes at `offset`, to store to. Who stores through it announces [`Effect::StorePages`] to
    /// [`WriteMap::seam`]; [`WriteMap::store_pages`] does both.
    ///
    /// # Panics
    /// The range is not within the reserve.
    ///
    /// # Safety
    /// As long as the slice lives, in every process: the range lies within the file and has blocks, and no other
    /// slice of any map shows a byte of it. The holder of the writer lock upholds it by storing only to pages that
    /// no pinned snapshot reaches, and by taking one slice of a page at a time.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice_mut(&self, offset: u64, len: usize) -> &mut [u8] {
        let at = self.reserve.address(offset, len);
        // SAFETY: within the mapping, which `self` keeps; within the file and shown to nobody else by the caller's
        // promise.
        unsafe { std::slice::from_raw_parts_mut(at, len) }
    }

    /// Lets `fill` store to `len` bytes at `offset`, as one effect.
    ///
    /// # Errors
    /// Only those of the seam's observer; then nothing is stored.
    ///
    /// # Panics
    /// The range is not within the reserve.
    ///
    /// # Safety
    /// As [`WriteMap::slice_mut`], during the call.
    pub unsafe fn store_pages(&self, offset: u64, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        self.store(Effect::StorePages { offset, len: len as u64 }, || {
            // SAFETY: the caller's promise is the one asked for.
            fill(unsafe { self.slice_mut(offset, len) });
        })
    }

    /// Stores the meta of slot `slot` (0 for meta A, 1 for meta B) at `offset`, as one effect.
    ///
    /// # Errors
    /// Only those of the seam's observer; then nothing is stored.
    ///
    /// # Panics
    /// The range is not within the reserve.
    ///
    /// # Safety
    /// As [`WriteMap::slice_mut`], during the call. Whoever reads metas meanwhile checks their checksum and goes
    /// through memory of its own; a reader of a live environment reads head records and no metas.
    pub unsafe fn store_meta(&self, slot: u8, offset: u64, bytes: &[u8]) -> Result<()> {
        self.store(Effect::StoreMeta { slot }, || {
            // SAFETY: the caller's promise is the one asked for.
            unsafe { self.slice_mut(offset, bytes.len()) }.copy_from_slice(bytes);
        })
    }

    /// Stores to each kernel page of `len` bytes at `offset` the byte that is there, so that the next sync writes
    /// it: after a failed sync a page is clean whether or not its bytes are on disk.
    ///
    /// No system call; a fault for each page that is clean or not mapped.
    ///
    /// # Errors
    /// Only those of the seam's observer; then nothing is stored.
    ///
    /// # Panics
    /// The range is not within the reserve.
    ///
    /// # Safety
    /// The range lies within the file and has blocks, and nobody else stores to it during the call: the holder of
    /// the writer lock upholds both. Slices for reading may exist in other processes and threads, since the bytes
    /// do not change; the store is volatile, one byte wide, and stores what was loaded.
    pub unsafe fn redirty(&self, offset: u64, len: usize) -> Result<()> {
        self.store(Effect::Redirty { offset, len: len as u64 }, || {
            let end = offset + len as u64;
            let mut at = offset;
            while at < end {
                let byte = self.reserve.address(at, 1);
                // SAFETY: within the mapping, by `address`; within the file by the caller's promise.
                let value = unsafe { byte.read_volatile() };
                // SAFETY: as above, with blocks behind it; nobody else stores there by the caller's promise.
                unsafe { byte.write_volatile(value) };
                at = (at + 1).next_multiple_of(page_size());
            }
        })
    }

    #[inline(always)]
    fn store(&self, effect: Effect, act: impl FnOnce()) -> Result<()> {
        self.seam()
            .run(effect, || {
                act();
                Ok(())
            })
            .map_err(|e| self.reserve.failed("store to", e))
    }
}
