//! The data file as pages: what may be read of it, and what the writer may store to.
//!
//! [`Store`] holds the file and its maps for the life of an environment. [`View`] is one snapshot's window on it, which
//! checks before it asks. This is the one place above the system floor where a pin becomes memory.
//!
//! # Why a slice over a shared map is sound here
//!
//! A `&[u8]` promises that its bytes do not change while it lives. The pages a view hands out are reachable from its
//! snapshot; the snapshot is pinned for as long as the view lives (I5); and no process stores to a page that a pinned
//! snapshot reaches (I6), because the writer takes pages from free space alone and free space leaves pinned pages
//! where they are. The file is never truncated below a page that a pinned snapshot reaches, so no touch is past the
//! end. What remains is whoever writes to the file without asking MapleDB; that nobody does is the contract of
//! opening an environment.
#![allow(unsafe_code)]

mod cold;
mod folios;
mod layer;
mod maps;
mod memo;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use mapledb_format::{Extent, FormatError, PageSize, Pgno, Slot, Txnid, header, ids};
use mapledb_os::sigbus::{self, Alarm};
use mapledb_os::smaps::MapFacts;
use mapledb_os::{DataFile, MapAdvice, OsError, WriteMap, file_size_limit, planted, reserve_wish_bytes};

use self::cold::Cold;
use self::folios::Folios;
pub(crate) use self::layer::Layer;
use self::maps::Maps;
pub(crate) use self::maps::Generation;
pub(crate) use self::view::{Snapshot, View};
use crate::error::{Error, Result};
use crate::mvcc::PoisonNote;

/// Free bytes of a file system that may be spoken for, so that it is full all the same.
const SPARE_BYTES: u64 = 64 << 20;

/// When a page's checksum is made anew and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Never: references are compared with headers, contents are trusted.
    Never,
    /// Once for each page and each transaction that wrote it, in each process.
    #[default]
    FirstTouch,
    /// Every time a page is touched.
    Always,
}

/// The data file and its maps.
pub(crate) struct Store {
    /// Before the file: what guards the maps reads from it.
    maps: Maps,
    file: DataFile,
    size: PageSize,
    verify: Verify,
    advice: MapAdvice,
    /// Raised by faults in the maps, if they are caught.
    alarm: Arc<Alarm>,
    catches: bool,
    /// Whether a sync has failed; nothing is believed before the shared memory is there to ask.
    poison: OnceLock<PoisonNote>,
    /// The file's length as last seen; it only matters that it is never more than the truth.
    len_bytes: AtomicU64,
    cold: Cold,
    folios: Folios,
}

impl Store {
    /// Maps `file`. `reserve_bytes` of 0 asks for the default.
    pub(crate) fn map(
        file: DataFile,
        size: PageSize,
        reserve_bytes: u64,
        advice: MapAdvice,
        verify: Verify,
        catches: bool,
    ) -> Result<Store> {
        let len_bytes = file.stat()?.len_bytes;
        let wish = if reserve_bytes == 0 { reserve_wish_bytes(len_bytes) } else { reserve_bytes };
        if catches {
            sigbus::catch()?;
        }
        let alarm = Arc::<Alarm>::default();
        let maps = Maps::map(&file, size, wish.max(len_bytes), advice, catches.then_some(&alarm))?;
        Ok(Store {
            file,
            size,
            verify,
            advice,
            maps,
            alarm,
            catches,
            poison: OnceLock::new(),
            len_bytes: AtomicU64::new(len_bytes),
            cold: Cold::default(),
            folios: Folios::default(),
        })
    }

    /// Where to ask whether a sync has failed.
    pub(crate) fn heed(&self, note: PoisonNote) {
        // A store is attached once.
        let _ = self.poison.set(note);
    }

    /// The window of a snapshot that needs `pages_used`, whose last durable predecessor is `durable`.
    #[inline]
    pub(crate) fn view(&self, txnid: Txnid, pages_used: Pgno, durable: Txnid) -> Result<View> {
        let generation = self.covering(pages_used.get())?;
        let faults = self.alarm.count();
        let settled = if faults == 0 { durable } else { Txnid(0) };
        Ok(View { txnid, pages_used, generation, settled, faults })
    }

    /// Whether pages that were verified before may have changed since.
    #[cold]
    fn is_in_doubt(&self) -> bool {
        if planted("memo_despite_poison") {
            return false;
        }
        self.alarm.count() > 0 || self.poison.get().is_none_or(PoisonNote::is_set)
    }

    /// Refuses to go on once a load or a store has met a page that the system could not deliver.
    #[inline]
    pub(crate) fn check_faults(&self) -> Result<()> {
        if self.alarm.count_after_reads() == 0 { Ok(()) } else { Err(self.fault()) }
    }

    /// Whether faults in the maps are caught.
    pub(crate) fn catches(&self) -> bool {
        self.catches
    }

    /// Whether stores to the file went nowhere.
    pub(crate) fn has_lost_store(&self) -> bool {
        self.alarm.fault().is_some_and(|fault| fault.has_lost_store)
    }

    #[cold]
    fn fault(&self) -> Error {
        let offset = self.alarm.fault().map_or(0, |fault| fault.offset);
        Error::Fault { path: self.file.path().to_path_buf(), offset }
    }

    pub(crate) fn file(&self) -> &DataFile {
        &self.file
    }

    pub(crate) fn page_size(&self) -> PageSize {
        self.size
    }

    /// The bytes of address space that are mapped ahead.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        self.maps.newest().covered_bytes
    }

    /// Which maps hold a file of `pages`, made if there are none; and that the file is as long.
    ///
    /// Cost: none in the steady state, one `fstat` when the file has grown.
    #[inline]
    pub(crate) fn covering(&self, pages: u64) -> Result<Generation> {
        let bytes = pages << self.size.shift();
        if bytes <= self.len_bytes.load(Ordering::Relaxed) && bytes <= self.maps.covered_bytes {
            return Ok(Generation(0));
        }
        self.covering_more(bytes)
    }

    #[cold]
    fn covering_more(&self, bytes: u64) -> Result<Generation> {
        if bytes > self.len_bytes.load(Ordering::Relaxed) {
            let found = self.file.len_bytes()?;
            if bytes > found {
                return Err(Error::Truncated { path: self.file.path().to_path_buf(), expected: bytes, found });
            }
            self.len_bytes.store(found, Ordering::Relaxed);
        }
        let mut maps = &self.maps;
        let mut generation = 0;
        while bytes > maps.covered_bytes {
            if maps.larger.get().is_none() {
                let wish = reserve_wish_bytes(bytes).max(bytes.saturating_mul(2));
                let alarm = self.catches.then_some(&self.alarm);
                let made = Box::new(Maps::map(&self.file, self.size, wish, self.advice, alarm)?);
                // Two threads may both have made one; either serves.
                let _ = maps.larger.set(made);
            }
            match maps.larger.get() {
                Some(larger) => maps = larger,
                None => break,
            }
            generation += 1;
        }
        Ok(Generation(generation))
    }

    #[inline(always)]
    fn maps(&self, generation: Generation) -> &Maps {
        if generation.0 == 0 { &self.maps } else { self.maps.later(generation) }
    }

    /// Grows the file to hold `pages`, with blocks for all behind the first `allocated`; nothing is durable yet. The file is
    /// as long as before after an error.
    pub(crate) fn grow(&self, allocated: u64, pages: u64) -> Result<()> {
        let (from, to) = (allocated << self.size.shift(), pages << self.size.shift());
        self.file.grow(from, to).map_err(Error::of_growth)?;
        self.len_bytes.fetch_max(to, Ordering::Relaxed);
        event!(debug, from, to, "grew the file");
        Ok(())
    }

    /// Cuts the file to `bytes`. Nobody else has it open, and nothing behind them is read or stored to any more.
    pub(crate) fn cut(&self, bytes: u64) -> Result<()> {
        self.len_bytes.fetch_min(bytes, Ordering::Relaxed);
        Ok(self.file.truncate(bytes)?)
    }

    /// Gives blocks to pages that were punched out, before anything is stored there.
    pub(crate) fn allocate_again(&self, pages: Extent) -> Result<()> {
        let (offset, len) = (pages.first.offset(self.size), pages.pages << self.size.shift());
        self.file.allocate(offset, len).map_err(Error::of_growth)
    }

    /// Gives blocks to whichever pages from `first` to before `end` have none, and leaves what they hold alone.
    pub(crate) fn keep_blocks(&self, first: Pgno, end: Pgno) -> Result<()> {
        let (from, to) = (first.offset(self.size), end.offset(self.size));
        self.file.keep_blocks(from, to.saturating_sub(from)).map_err(Error::of_growth)
    }

    /// Gives the blocks of pages back. Answers whether the file system can. No pinned snapshot and neither meta reaches
    /// them, and whoever is to store to them next knows.
    pub(crate) fn punch(&self, pages: Extent) -> Result<bool> {
        Ok(self.file.punch(pages.first.offset(self.size), pages.pages << self.size.shift())?)
    }

    /// How many of the first `pages` pages the file is long enough for.
    ///
    /// Cost: a load where it has been seen to be long enough for all, else an `fstat`.
    #[inline]
    pub(crate) fn pages_within(&self, pages: u64) -> Result<u64> {
        match pages << self.size.shift() <= self.len_bytes.load(Ordering::Relaxed) {
            true => Ok(pages),
            false => Ok(pages.min(self.len_pages()?)),
        }
    }

    /// Writes new pages as a whole, which takes less than storing to them through the map. The caller has asked
    /// [`Store::may_write`].
    pub(crate) fn write(&self, first: Pgno, pages: u64, parts: [&[u8]; 3]) -> Result<()> {
        let (offset, len) = (first.offset(self.size), pages << self.size.shift());
        debug_assert_eq!(len, parts.iter().map(|part| part.len() as u64).sum::<u64>());
        self.file.write_parts(offset, parts).map_err(Error::of_growth)?;
        self.folios.note_filled(offset, len);
        Ok(())
    }

    /// The file's length in whole pages, by `fstat`.
    pub(crate) fn len_pages(&self) -> Result<u64> {
        Ok(self.file.len_bytes()? >> self.size.shift())
    }

    #[inline(always)]
    fn writable(&self, generation: Generation) -> Result<&WriteMap> {
        match &self.maps(generation).write {
            Some(map) => Ok(map),
            None => Err(Error::ReadOnly),
        }
    }

    /// Makes new pages, all of which are about to be stored to, present in folios as large as is good for that: see [`folios`].
    pub(crate) fn fill(&self, generation: Generation, first: Pgno, pages: u64) -> Result<()> {
        let (offset, len) = (first.offset(self.size), pages << self.size.shift());
        if !self.may_write(first, pages) {
            return self.populate(generation, first, pages);
        }
        self.file.fill(offset, len).map_err(Error::of_growth)?;
        self.populate(generation, first, pages)?;
        self.folios.note_filled(offset, len);
        Ok(())
    }

    /// Whether pages may be written by a system call: behind the limit of this process (`RLIMIT_FSIZE`) that would be a deadly
    /// signal, in a file that is longer already, where a store through the map is none.
    ///
    /// Cost: a system call.
    pub(crate) fn may_write(&self, first: Pgno, pages: u64) -> bool {
        let end = first.offset(self.size) + (pages << self.size.shift());
        file_size_limit().is_none_or(|limit| end <= limit)
    }

    /// Sees to it that stores to own pages to come dirty little else.
    ///
    /// Cost: a load, unless large folios were found in the page cache (see [`folios`]).
    #[inline]
    pub(crate) fn before_store(&self, generation: Generation, first: Pgno, pages: u64) -> Result<()> {
        self.folios.before_store(self.writable(generation)?, first.offset(self.size), (pages << self.size.shift()) as usize);
        Ok(())
    }

    /// Sees to it that stores to a run of own pages to come dirty little else: beside it, and unless it `is_for_all` of those
    /// stores within it, too.
    ///
    /// Cost: a load, unless this process has made large folios there (see [`folios`]).
    #[inline]
    pub(crate) fn before_run(&self, generation: Generation, run: Extent, is_for_all: bool) -> Result<()> {
        let (offset, len) = (run.first.offset(self.size), run.pages << self.size.shift());
        self.folios.before_run(self.writable(generation)?, offset..offset + len, is_for_all);
        Ok(())
    }

    /// Looks now and then whether the stores that a sync is about to make durable, `pages` pages from `first` on among them,
    /// have dirtied more than themselves, and than `spare` pages that may have been populated for stores to come.
    pub(crate) fn before_sync(&self, first: Pgno, pages: u64, spare: u64) {
        let [pages, spare] = [pages, spare].map(|pages| pages << self.size.shift() >> 12);
        self.folios.before_sync(&self.file, first.offset(self.size), pages, spare);
    }

    /// Has the system begin to write own pages that are as they will stay.
    pub(crate) fn start_writing(&self, first: Pgno, pages: u64) {
        self.file.start_writing(first.offset(self.size), pages << self.size.shift());
    }

    /// Makes own pages present and writable in one call rather than a fault each.
    pub(crate) fn populate(&self, generation: Generation, first: Pgno, pages: u64) -> Result<()> {
        let len = (pages << self.size.shift()) as usize;
        self.before_store(generation, first, pages)?;
        match self.writable(generation)?.populate(first.offset(self.size), len) {
            Err(error) if error.is_fault() => Err(self.why_no_store(first.offset(self.size) + len as u64, error)),
            other => other.map_err(Error::of_growth),
        }
    }

    /// Why a store to bytes below `end` would raise a signal, which the system does not tell: the file was cut off, or a
    /// block that must be written elsewhere finds none, or the medium fails.
    #[cold]
    fn why_no_store(&self, end: u64, error: OsError) -> Error {
        let len_bytes = self.file.len_bytes().unwrap_or(end);
        if len_bytes < end {
            return Error::Truncated { path: self.file.path().to_path_buf(), expected: end, found: len_bytes };
        }
        match self.file.free_space_bytes() {
            Ok(free) if free > SPARE_BYTES => Error::Os(error.of_the_medium()),
            _ => Error::DiskFull(error.for_want_of_blocks()),
        }
    }

    /// One `msync` over everything the file holds.
    ///
    /// # Errors
    /// Also where stores before it met a page that the system could not deliver: they are not in the file.
    pub(crate) fn sync_all(&self, generation: Generation, pages: u64) -> Result<()> {
        self.writable(generation)?.sync(0, (pages << self.size.shift()) as usize)?;
        self.check_faults()
    }

    /// One `msync` over a meta.
    pub(crate) fn sync_meta(&self, slot: Slot) -> Result<()> {
        self.writable(Generation(0))?.sync(slot.offset(), ids::META_BYTES)?;
        self.check_faults()
    }

    /// Makes the file durable, its length and blocks included.
    pub(crate) fn sync_growth(&self) -> Result<()> {
        self.file.sync_all()?;
        self.check_faults()
    }

    /// Forgets what is cached of pages and is not dirty: what is read next is what the disk holds. Nobody else has them
    /// mapped.
    ///
    /// Cost: two system calls, and reading them again.
    pub(crate) fn forget(&self, generation: Generation, pages: Extent) -> Result<()> {
        let (offset, len) = (pages.first.offset(self.size), pages.pages << self.size.shift());
        self.maps(generation).read.unmap(offset, len as usize)?;
        Ok(self.file.drop_cached(offset, len)?)
    }

    /// How the maps are advised.
    pub(crate) fn advice(&self) -> MapAdvice {
        self.advice
    }

    /// What the kernel tells about the newest map that readers use.
    pub(crate) fn read_map_facts(&self) -> Result<MapFacts> {
        Ok(self.maps.newest().read.facts()?)
    }

    /// Maps the first `len_bytes` of a file that is memory, which is no more than that: later touches need no fault.
    pub(crate) fn map_all(&self, len_bytes: u64) -> Result<()> {
        // A kernel that does not know the call leaves it to the touches.
        self.maps.read.make_present(0, len_bytes as usize).map(drop).map_err(Error::from)
    }

    /// Whether a page is in memory, by its first kernel page, whoever brought it there.
    ///
    /// Cost: one system call.
    pub(crate) fn is_in_memory(&self, generation: Generation, pgno: Pgno) -> bool {
        let (map, offset) = (&self.maps(generation).read, pgno.offset(self.size));
        !map.covers(offset, 1) || map.is_present(offset)
    }

    /// Makes pages present, so that a disk that does not deliver them is an error here and not a signal later.
    ///
    /// Cost: one system call, or two for several pages, and what is read.
    pub(crate) fn make_present(&self, generation: Generation, pages: Extent) -> Result<()> {
        let (offset, len) = (pages.first.offset(self.size), (pages.pages << self.size.shift()) as usize);
        let read = &self.maps(generation).read;
        if pages.pages > 1 {
            // The map is read page by page otherwise: 1,900 reads in turn rather than a few long ones.
            read.will_need(offset, len);
        }
        if read.make_present(offset, len)? {
            return Ok(());
        }
        let mut page = vec![0; self.size.bytes()];
        for at in (offset..offset + len as u64).step_by(page.len()) {
            self.file.read_at(at, &mut page)?;
        }
        Ok(())
    }

    /// The bytes of a meta, copied.
    pub(crate) fn read_meta(&self, slot: Slot) -> [u8; ids::META_BYTES] {
        // SAFETY: `Store::map` maps no file shorter than both metas, which `Env` checked before. A meta may change
        // under us while another process commits; its checksum tells, and the bytes are copied before they are read.
        let bytes = unsafe { self.maps.read.slice(slot.offset(), ids::META_BYTES) };
        let mut copy = [0; ids::META_BYTES];
        copy.copy_from_slice(bytes);
        copy
    }

    /// Stores a meta. The caller holds the writer lock and no sync is in flight (I8).
    pub(crate) fn store_meta(&self, slot: Slot, bytes: &[u8; ids::META_BYTES]) -> Result<()> {
        self.check_faults()?;
        let map = self.writable(Generation(0))?;
        self.folios.before_store(map, slot.offset(), ids::META_BYTES);
        // SAFETY: within the file, as above; nobody keeps a slice of a meta.
        Ok(unsafe { map.store_meta(slot as u8, slot.offset(), bytes) }?)
    }

    /// Stores to pages again what they hold, so that the next sync writes them.
    pub(crate) fn redirty(&self, generation: Generation, offset: u64, len: usize) -> Result<()> {
        if planted("clean_healing") {
            return Ok(());
        }
        let map = self.writable(generation)?;
        // SAFETY: the caller holds the writer lock or is alone, and names bytes within the file. Each byte gets the
        // value it has, so a slice over them shows no change.
        Ok(unsafe { map.redirty(offset, len) }?)
    }

    /// Tells an observer that own pages have been stored.
    pub(crate) fn announce(&self, generation: Generation, first: Pgno, pages: u64) -> Result<()> {
        let (offset, len) = (first.offset(self.size), pages << self.size.shift());
        self.writable(generation)?
            .seam()
            .run(mapledb_os::Effect::StorePages { offset, len }, || Ok(()))
            .map_err(|source| mapledb_os::OsError::new("store pages of", self.file.path(), source).into())
    }

    /// Own pages, to read.
    #[inline(always)]
    pub(crate) fn own(&self, generation: Generation, first: Pgno, pages: u64) -> Result<&[u8]> {
        let map = self.writable(generation)?;
        let len = (pages << self.size.shift()) as usize;
        // SAFETY: own pages were taken from free space by the running transaction (I6), lie within the file, and are
        // stored to through `own_mut` alone, whose exclusive borrow is over.
        Ok(unsafe { map.slice(first.offset(self.size), len) })
    }

    /// Hints that bytes at the front of an own page will be read or written next.
    #[inline(always)]
    pub(crate) fn prefetch_own(&self, generation: Generation, pgno: Pgno, len_bytes: usize) {
        if let Some(map) = &self.maps(generation).write {
            map.prefetch_lines(pgno.offset(self.size), len_bytes);
        }
    }

    /// Own pages, to write. The caller is the running write transaction and holds no other slice of them.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn own_mut(&self, generation: Generation, first: Pgno, pages: u64) -> Result<&mut [u8]> {
        let map = self.writable(generation)?;
        let len = (pages << self.size.shift()) as usize;
        // SAFETY: as `own`; `Draft` hands the slice out under its own exclusive borrow, and there is one draft at a
        // time in all processes, by the writer lock.
        Ok(unsafe { map.slice_mut(first.offset(self.size), len) })
    }

    /// Takes a node that the running transaction sealed just now as verified, and as sound if its keys are in bytewise order.
    #[inline]
    pub(crate) fn vouch(&self, generation: Generation, pgno: Pgno, txnid: Txnid, is_sound: bool) {
        if let Some(known) = self.maps(generation).memo.of(pgno) {
            match is_sound {
                true => known.sound(txnid.get()),
                false => known.verified(txnid.get()),
            }
        }
    }

    /// `pages` pages of the file from `first` on, unverified.
    #[inline(always)]
    fn slice(&self, generation: Generation, first: Pgno, pages: u64) -> &[u8] {
        let len = (pages << self.size.shift()) as usize;
        // SAFETY: `View` checked that the pages lie within its snapshot's file, which `covering` found to be as long
        // and which these maps cover; it is pinned, so nobody stores there (the head of this file).
        unsafe { self.maps(generation).read.slice(first.offset(self.size), len) }
    }
}

impl Store {
    fn check_sum(&self, pgno: Pgno, page: &[u8]) -> Result<()> {
        header::check_sum(page).map_err(|cause| self.not_right(pgno, cause))
    }

    /// Why a page is not what it must be: it is damaged, unless a fault has put zeros somewhere.
    #[cold]
    fn not_right(&self, pgno: Pgno, cause: FormatError) -> Error {
        match self.alarm.count_after_reads() {
            0 => Error::Corrupt { pgno, cause },
            _ => self.fault(),
        }
    }
}

