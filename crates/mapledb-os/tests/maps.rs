//! Claims about the maps of the data file.

#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{create, is_alone, limit_address_space, page};
use mapledb_os::{DataFile, MapAdvice, ReadMap, Seam, WriteMap};

const RESERVE: u64 = 1 << 36;

/// `len` bytes of `map`, which in these tests nobody stores to while the slice lives.
fn read(map: &ReadMap, offset: u64, len: usize) -> &[u8] {
    // SAFETY: the tests read within the file and drop the slice before the next store.
    unsafe { map.slice(offset, len) }
}

fn store(map: &WriteMap, offset: u64, bytes: &[u8]) {
    // SAFETY: the tests store within the file, and hold no slice of these bytes.
    unsafe { map.store_pages(offset, bytes.len(), |into| into.copy_from_slice(bytes)) }.unwrap();
}

#[test]
fn growth_shows_in_every_map_of_every_descriptor_without_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let file = create(&path, 1);
    let other = DataFile::open_read_only(&path, Seam::unwatched()).unwrap();
    let maps = [
        ReadMap::map(&file, RESERVE, MapAdvice::Random).unwrap(),
        ReadMap::map(&other, RESERVE, MapAdvice::Normal).unwrap(),
        ReadMap::map(&other, RESERVE, MapAdvice::Sequential).unwrap(),
        ReadMap::map(&other, RESERVE, MapAdvice::HugePage).unwrap(),
    ];
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    assert_eq!(read(&maps[0], 0, 1), [0]);
    let bases = maps.each_ref().map(ReadMap::base);

    file.grow(page(), 100 * page()).unwrap();
    writer.populate(page(), 99 * page() as usize).unwrap();
    store(&writer, 99 * page(), b"far");
    // SAFETY: one's own store, within the file.
    assert_eq!(unsafe { writer.slice(99 * page(), 3) }, b"far");
    for map in &maps {
        assert_eq!(read(map, 99 * page(), 3), b"far");
    }
    assert_eq!(bases, maps.each_ref().map(ReadMap::base));
    writer.sync(0, 100 * page() as usize).unwrap();
    assert_eq!(&fs::read(&path).unwrap()[99 * page() as usize..][..3], b"far");
}

#[test]
fn a_reserve_is_address_space_of_the_length_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 1);
    let wish = mapledb_os::reserve_wish_bytes(page());
    let map = ReadMap::map(&file, wish, MapAdvice::Random).unwrap();
    let writer = WriteMap::map(&file, map.len_bytes()).unwrap();
    assert_eq!((map.len_bytes(), writer.len_bytes()), (wish, wish));
    assert!(map.covers(wish - 1, 1) && writer.covers(0, wish as usize));
    for (offset, len) in [(wish, 1), (wish - 1, 2), (u64::MAX, 1), (0, usize::MAX), (u64::MAX, usize::MAX)] {
        assert!(!map.covers(offset, len), "{len} at {offset}");
        // SAFETY: panics before a slice is made.
        let slice = catch_unwind(AssertUnwindSafe(|| unsafe { map.slice(offset, len) }.len()));
        assert!(slice.is_err(), "{len} at {offset}");
        assert!(writer.sync(offset, len).is_err(), "{len} at {offset}");
    }
}

#[test]
fn sixty_four_environments_fit_in_one_process() {
    if !is_alone("sixty_four_environments_fit_in_one_process") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let wish = mapledb_os::reserve_wish_bytes(page());
    let maps: Vec<_> = (0..64)
        .map(|i| {
            let file = create(&dir.path().join(i.to_string()), 1);
            let memo = mapledb_os::AnonMap::map((wish / 4096) as usize, 1).unwrap();
            (ReadMap::map(&file, wish, MapAdvice::Random).unwrap(), WriteMap::map(&file, wish).unwrap(), memo)
        })
        .collect();
    for (reader, writer, memo) in &maps {
        assert_eq!((reader.len_bytes(), writer.len_bytes()), (wish, wish));
        assert_eq!(memo.words().len() as u64, wish / 4096);
    }
}

#[test]
fn a_refused_reserve_shrinks_until_it_fits_the_address_space() {
    if !is_alone("a_refused_reserve_shrinks_until_it_fits_the_address_space") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 4);
    limit_address_space(8 << 30);
    assert_eq!(mapledb_os::address_space_limit(), Some(8 << 30));
    assert_eq!(mapledb_os::reserve_wish_bytes(4 * page()), 1 << 30);
    let greedy = ReadMap::map(&file, 1 << 40, MapAdvice::Random).unwrap();
    assert_eq!(greedy.len_bytes(), 4 << 30);
    assert_eq!(read(&greedy, 3 * page(), 1), [0]);
}

#[test]
fn prefetch_and_read_ahead_are_harmless_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 16);
    let map = ReadMap::map(&file, RESERVE, MapAdvice::Random).unwrap();
    for offset in [0, 7, 16 * page(), RESERVE - 1, RESERVE, u64::MAX] {
        map.prefetch(offset);
        map.prefetch_lines(offset, 1000);
        map.will_need(offset, 1);
        map.will_need(offset, usize::MAX);
    }
    assert_eq!(read(&map, 0, 1), [0]);
}

#[test]
fn populating_past_the_end_is_an_error_and_not_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 4);
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    writer.populate(0, 4 * page() as usize).unwrap();
    if writer.populates() {
        let refused = writer.populate(3 * page(), 2 * page() as usize).unwrap_err();
        assert_eq!(refused.source.raw_os_error(), Some(libc::EFAULT), "{refused}");
    }
}

#[test]
fn a_file_open_for_reading_only_has_no_writable_map() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    create(&path, 1);
    let file = DataFile::open_read_only(&path, Seam::unwatched()).unwrap();
    let refused = WriteMap::map(&file, RESERVE).unwrap_err();
    assert_eq!(refused.source.raw_os_error(), Some(libc::EACCES), "{refused}");
}

/// The lines of `/proc/self/maps` that lie in the `len` bytes at `base`.
fn areas(base: *const u8, len: u64) -> Vec<String> {
    let (from, to) = (base as u64, base as u64 + len);
    let inside = |line: &&str| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        u64::from_str_radix(start, 16).unwrap() < to && u64::from_str_radix(end, 16).unwrap() > from
    };
    fs::read_to_string("/proc/self/maps").unwrap().lines().filter(inside).map(String::from).collect()
}

#[test]
fn the_writable_map_stays_one_area_whatever_is_done_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 64);
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    // SAFETY: only its address is used.
    let base = unsafe { writer.slice(0, 1) }.as_ptr();
    writer.populate(8 * page(), 8 * page() as usize).unwrap();
    store(&writer, 9 * page(), b"x");
    writer.sync(9 * page(), 1).unwrap();
    file.grow(64 * page(), 128 * page()).unwrap();
    file.punch(32 * page(), 8 * page()).unwrap();
    let areas = areas(base, RESERVE);
    assert_eq!(areas.len(), 1, "{areas:?}");
    assert!(areas[0].contains("rw-s"), "{areas:?}");
}

#[test]
fn a_forked_child_has_no_writable_map() {
    if !is_alone("a_forked_child_has_no_writable_map") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 1);
    let reader = ReadMap::map(&file, RESERVE, MapAdvice::Random).unwrap();
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    // SAFETY: only its address is used.
    let write_base = unsafe { writer.slice(0, 1) }.as_ptr();
    for (base, inherited) in [(reader.base(), true), (write_base, false)] {
        // SAFETY: the child only loads one byte and leaves, which is safe in a copy of a process with threads.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: in the child this is mapped, or raises the SIGSEGV that the parent waits for.
            unsafe { base.read_volatile() };
            // SAFETY: ends the child without running anything of its parent's.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: the pointer is to a live local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WIFEXITED(status), inherited, "status {status}");
        assert_eq!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV, !inherited);
    }
}

/// Bytes that this thread has made dirty, as the kernel counts them: a whole folio for each store to a clean page.
fn dirtied_bytes() -> Option<u64> {
    let io = fs::read_to_string("/proc/thread-self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

#[test]
fn redirtied_pages_are_written_again_and_keep_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 16);
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    let pattern: Vec<u8> = (0..16 * page()).map(|i| (i % 251) as u8).collect();
    store(&writer, 0, &pattern);
    writer.sync(0, pattern.len()).unwrap();
    let before = dirtied_bytes();
    // From the middle of page 2 to the first byte of page 5: four pages.
    // SAFETY: within the file; nobody else has it.
    unsafe { writer.redirty(2 * page() + 100, 3 * page() as usize - 99) }.unwrap();
    let after = dirtied_bytes();
    writer.sync(0, pattern.len()).unwrap();
    // SAFETY: nobody stores any more.
    assert_eq!(unsafe { writer.slice(0, pattern.len()) }, pattern);
    let counts = !matches!(file.filesystem().unwrap().name(), "tmpfs" | "overlay" | "unknown");
    if let (true, Some(before), Some(after)) = (counts, before, after) {
        assert!(after - before >= 4 * page(), "{} bytes were made dirty", after - before);
    }
}

#[test]
fn a_store_to_one_page_makes_one_page_dirty_and_not_a_large_folio() {
    const PAGES: u64 = 2048;
    const STORES: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 1);
    file.grow(page(), PAGES * page()).unwrap();
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    writer.populate(0, (PAGES * page()) as usize).unwrap();
    let warm = dirtied_by_stores(&writer, STORES);
    // The same file read back from the disk, by faults of both maps.
    drop(writer);
    file.sync_all().unwrap();
    // SAFETY: takes integers and no pointer.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
    let reader = ReadMap::map(&file, RESERVE, MapAdvice::Random).unwrap();
    let writer = WriteMap::map(&file, RESERVE).unwrap();
    for i in 0..PAGES / 2 {
        read(&reader, i * page(), 1).iter().for_each(|byte| assert!(*byte < 2));
    }
    let cold = dirtied_by_stores(&writer, STORES);
    let limit = Some(STORES * page());
    assert!(
        warm <= limit && cold <= limit,
        "{STORES} stores made {warm:?} warm and {cold:?} cold bytes dirty"
    );
}

/// What `stores` stores of a byte, far apart, make dirty in a file that was clean.
fn dirtied_by_stores(writer: &WriteMap, stores: u64) -> Option<u64> {
    writer.sync(0, writer.len_bytes() as usize).unwrap();
    let before = dirtied_bytes()?;
    for i in 0..stores {
        store(writer, (100 + 97 * i) * page(), &[1]);
    }
    Some(dirtied_bytes()? - before)
}

#[test]
fn a_meta_is_stored_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    let file = create(&dir.path().join("a"), 32);
    let (reader, writer) =
        (ReadMap::map(&file, RESERVE, MapAdvice::Random).unwrap(), WriteMap::map(&file, RESERVE).unwrap());
    // SAFETY: within the file; nobody else has it.
    unsafe { writer.store_meta(1, 65536, b"meta B") }.unwrap();
    assert_eq!(read(&reader, 65536, 6), b"meta B");
}
