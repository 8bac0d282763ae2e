//! A file that is memory and has no name: huge pages where the system has some, and nobody stores to it once it is made.
//!
//! What is tried, in this order:
//!
//! 1. pages that are set aside for this use (`MFD_HUGETLB`; `vm.nr_hugepages`), if enough are free;
//! 2. ordinary shared memory with `MADV_HUGEPAGE`, which the kernel heeds if `shmem_enabled` lets it, and `MADV_COLLAPSE`
//!    (Linux 6.1), which makes huge pages here and now, whatever is set, as long as there is memory in one piece;
//! 3. for what is left, pages of the ordinary size.
//!
//! All of it is allocated before it is stored to, so that a lack of memory is an error and not a signal.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memmap2::Advice;

use crate::calls::{self, Blocks};
use crate::error::{OsError, Result};
use crate::file::DataFile;
use crate::reserve::{Access, HUGE_PAGE_BYTES, Reserve};
use crate::seam::Seam;

/// An image that is being made. [`ImageDraft::finish`] seals it.
///
/// ```
/// # fn main() -> Result<(), mapledb_os::OsError> {
/// use mapledb_os::ImageDraft;
///
/// let mut draft = ImageDraft::new("an example".as_ref(), 5000)?;
/// draft.bytes()[4990..].fill(7);
/// let image = draft.finish()?;
/// let mut found = [0; 10];
/// image.read_at(4990, &mut found)?;
/// assert_eq!(found, [7; 10]);
/// assert!(!image.is_writable());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ImageDraft {
    // Before the file, which it maps.
    map: Reserve,
    file: DataFile,
    len: usize,
    is_reserved: bool,
}

impl ImageDraft {
    /// Memory for `len` bytes, zero, rounded up to whole huge pages if it is one at least. `name` is what errors call it.
    ///
    /// Some ten system calls, and the memory is zeroed.
    ///
    /// # Errors
    /// There is not as much memory.
    pub fn new(name: &Path, len: u64) -> Result<ImageDraft> {
        match ImageDraft::reserved(name, len) {
            Ok(draft) => Ok(draft),
            Err(_) => ImageDraft::transparent(name, len),
        }
    }

    /// Of pages that are set aside.
    fn reserved(name: &Path, len: u64) -> Result<ImageDraft> {
        let failed = |e| OsError::new("make a memory image of", name, e);
        let file = memory_file(libc::MFD_HUGETLB).map_err(failed)?;
        let grain = file.metadata().map_err(failed)?.blksize().max(HUGE_PAGE_BYTES);
        let len = len.next_multiple_of(grain);
        // It would grow the file only as far as it gets, but then it is dropped.
        calls::fallocate(&file, Blocks::Allocate, 0, len).map_err(failed)?;
        ImageDraft::of(file, name, len, true)
    }

    fn transparent(name: &Path, len: u64) -> Result<ImageDraft> {
        let failed = |e| OsError::new("make a memory image of", name, e);
        let file = memory_file(0).map_err(failed)?;
        let len = if len < HUGE_PAGE_BYTES { len.max(1) } else { len.next_multiple_of(HUGE_PAGE_BYTES) };
        file.set_len(len).map_err(failed)?;
        let draft = ImageDraft::of(file, name, len, false)?;
        let allocate = |offset, len| {
            calls::fallocate(draft.file.as_file(), Blocks::Allocate, offset, len).map_err(failed)
        };
        // Wishes, both: what they do not make huge is allocated in small pages next.
        let _ = draft.map.advise_whole(Advice::HugePage);
        for offset in (0..len).step_by(HUGE_PAGE_BYTES as usize) {
            // The kernel makes nothing of nothing: a page must be there.
            allocate(offset, 1)?;
        }
        let _ = draft.map.collapse(0, draft.len);
        allocate(0, len)?;
        Ok(draft)
    }

    fn of(file: File, name: &Path, len: u64, is_reserved: bool) -> Result<ImageDraft> {
        let file = DataFile::adopt(file, name.to_path_buf(), true, Seam::unwatched())?;
        let map = Reserve::map_aligned(&file, Access::Write, len)?;
        Ok(ImageDraft { map, file, len: len as usize, is_reserved })
    }

    /// Whether its pages were set aside for this use.
    pub fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// What the image is to hold.
    pub fn bytes(&mut self) -> &mut [u8] {
        let base = self.map.address(0, self.len);
        // SAFETY: the map covers `len` bytes, all of which the file has; nobody else knows the file or has it mapped, and
        // the slice borrows the draft exclusively.
        unsafe { std::slice::from_raw_parts_mut(base, self.len) }
    }

    /// The image as a file to read. Neither its bytes nor its length can change any more, whoever tries (`F_SEAL_WRITE` and
    /// its like), where `/proc` is mounted; else nobody but this process knows it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn finish(self) -> Result<DataFile> {
        let ImageDraft { map, file, .. } = self;
        let path: PathBuf = file.path().to_path_buf();
        // A file that is mapped for writing cannot be sealed.
        drop(map);
        let descriptor = file.as_raw_fd();
        match OpenOptions::new().read(true).open(format!("/proc/self/fd/{descriptor}")) {
            Ok(read_only) => {
                let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
                // SAFETY: takes three integers and no pointer; `file` keeps the descriptor open. A refusal leaves the file as
                // safe as one on a disk.
                unsafe { libc::fcntl(descriptor, libc::F_ADD_SEALS, seals) };
                DataFile::adopt(read_only, path, false, Seam::unwatched())
            }
            Err(_) => {
                let again = file.as_file().try_clone().map_err(|e| OsError::new("open again", &path, e))?;
                DataFile::adopt(again, path, false, Seam::unwatched())
            }
        }
    }
}

/// A file of memory without a name.
fn memory_file(flags: libc::c_uint) -> io::Result<File> {
    const NAME: &CStr = c"maple-image";
    // SAFETY: the name ends with a zero byte and outlives the call.
    let fd =
        unsafe { libc::memfd_create(NAME.as_ptr(), flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor has just been made and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{MapAdvice, ReadMap};

    #[test]
    fn an_image_holds_what_was_put_there_and_cannot_be_changed() {
        for len in [1, 4096, (2 << 20) + 1, 9 << 20] {
            let mut draft = ImageDraft::new(Path::new("a test"), len).expect("an image");
            assert!(draft.bytes().len() as u64 >= len && draft.bytes().iter().all(|byte| *byte == 0));
            draft.bytes()[len as usize - 1] = 7;
            let image = draft.finish().expect("finish");
            let map = ReadMap::map(&image, len, MapAdvice::HugePage).expect("map");
            // SAFETY: the image has these bytes and nobody can store to it.
            assert_eq!(unsafe { map.slice(len - 1, 1) }, [7]);
            assert!(image.as_file().write_at(&[8], 0).is_err());
            let reopened =
                OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", image.as_raw_fd()));
            assert!(reopened.and_then(|file| file.write_at(&[8], 0)).is_err(), "sealed");
        }
    }

    #[test]
    fn what_no_machine_has_is_an_error() {
        assert!(ImageDraft::new(Path::new("a test"), 1 << 50).is_err());
    }

    #[test]
    fn large_images_are_huge_pages_where_the_kernel_makes_them_and_the_facts_say_so() {
        let mut draft = ImageDraft::new(Path::new("a test"), 16 << 20).expect("an image");
        draft.bytes().fill(1);
        let is_reserved = draft.is_reserved();
        let image = draft.finish().expect("finish");
        let map = ReadMap::map(&image, 16 << 20, MapAdvice::HugePage).expect("map");
        map.make_present(0, 16 << 20).expect("present");
        let facts = map.facts().expect("facts");
        assert_eq!(facts.resident_bytes, 16 << 20);
        assert!(facts.huge_bytes <= facts.resident_bytes);
        if is_reserved {
            assert_eq!(facts.huge_bytes, 16 << 20);
        } else if facts.huge_bytes == 0 {
            eprintln!("SKIP huge images: this kernel made none");
        }
    }
}
