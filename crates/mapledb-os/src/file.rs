//! The data file behind its descriptor: opening, what it is, its length and its blocks.
//!
//! Contents pass through the maps ([`ReadMap`](crate::ReadMap), [`WriteMap`](crate::WriteMap)), but for values of many pages, which are
//! written; the two agree, for both are the page cache. Else contents are only read here for inspection. The invariants kept:
//!
//! - the file is regular, and its path has no symbolic link in it;
//! - blocks are allocated before anything is stored to them (I9), so that a full disk is an error and not a SIGBUS;
//! - growth past `RLIMIT_FSIZE` is refused here, since the kernel would answer it with a deadly signal; so it would a write
//!   past it in a file that is longer, and whoever fills or writes pages asks before ([`limits::file_size_limit`]).
//!
//! Not done here: making a file (`create.rs`), locks, retrying a failed sync (never: the second one lies).

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::calls::{self, Blocks};
use crate::canary::planted;
use crate::error::{OsError, Result};
use crate::filesystem::FileSystem;
use crate::fork::ParentFile;
use crate::limits;
use crate::seam::{Effect, Seam};

/// What a file is, whatever it is called: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode on it.
    pub ino: u64,
}

/// What the file system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Its device and inode.
    pub id: FileId,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Bytes of blocks it occupies; less than its length where it has holes.
    pub allocated_bytes: u64,
    /// Its permissions: the low nine bits of its mode.
    pub mode: u32,
    /// Whether it is a regular file.
    pub is_regular: bool,
    /// How many names it has.
    pub links: u64,
}

impl FileStat {
    fn of(meta: &fs::Metadata) -> FileStat {
        FileStat {
            id: FileId { dev: meta.dev(), ino: meta.ino() },
            len_bytes: meta.len(),
            // `st_blocks` counts in 512 bytes, whatever the file system's block size.
            allocated_bytes: meta.blocks().saturating_mul(512),
            mode: meta.mode() & 0o777,
            is_regular: meta.is_file(),
            links: meta.nlink(),
        }
    }
}

/// Kernel pages of a file that are in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cached {
    /// How many there are.
    pub pages: u64,
    /// Those of them that are not yet written.
    pub dirty_pages: u64,
}

/// An open data file. Dropping it closes the descriptor and syncs nothing.
///
/// ```
/// # fn main() -> Result<(), mapledb_os::OsError> {
/// # let dir = std::env::temp_dir().join(format!("mapledb-os-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).expect("a directory for the example");
/// use mapledb_os::{DataFile, Seam};
///
/// let path = dir.join("users.maple");
/// let file = DataFile::create_in_place(&path, 0o644, 1 << 20, Seam::unwatched(), |_| Ok(()))?;
/// file.grow(1 << 20, 2 << 20)?;
/// assert_eq!(file.stat()?.len_bytes, 2 << 20);
/// assert!(file.still_at(&path)?);
/// # std::fs::remove_dir_all(&dir).expect("the example's own directory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DataFile {
    file: ParentFile,
    path: PathBuf,
    id: FileId,
    writable: bool,
    seam: Seam,
}

/// The longest piece in which a file is filled with zeros, and so the largest folio that comes of it, of which a later
/// store to one page dirties all until it is split. No piece crosses a multiple of it.
///
/// Measured once, by a program of a page, on Linux 6.18 and ext4, for each page of 4 KiB made present: 4.2 µs by faults or `MADV_POPULATE_WRITE`, 1.7 µs after
/// writes of 16 KiB, 0.8 µs after writes of 64 KiB; 9 µs after writes of 4 MiB.
pub const FILL_BYTES: usize = 64 << 10;

static ZEROS: [u8; FILL_BYTES] = [0; FILL_BYTES];

/// Writes `parts`, no call across a multiple of [`FILL_BYTES`].
fn write_pieces(file: &File, mut offset: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let mut room = FILL_BYTES - offset as usize % FILL_BYTES;
        let mut piece = Vec::with_capacity(parts.len());
        for part in parts.iter() {
            let taken = part.len().min(room);
            piece.push(IoSlice::new(&part[..taken]));
            room -= taken;
        }
        let written = calls::write_vectored_at(file, &piece, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut parts, written);
    }
    Ok(())
}

impl DataFile {
    /// Opens the existing file at `path` for reading and writing. Symbolic links are resolved first.
    ///
    /// # Errors
    /// It is missing, not permitted, or not a regular file.
    pub fn open_read_write(path: &Path, seam: Seam) -> Result<DataFile> {
        DataFile::open(path, true, seam)
    }

    /// Opens the existing file at `path` for reading only. Symbolic links are resolved first.
    ///
    /// # Errors
    /// As [`DataFile::open_read_write`].
    pub fn open_read_only(path: &Path, seam: Seam) -> Result<DataFile> {
        DataFile::open(path, false, seam)
    }

    fn open(path: &Path, writable: bool, seam: Seam) -> Result<DataFile> {
        let failed = |e| OsError::new("open", path, e);
        let real = path.canonicalize().map_err(failed)?;
        // O_NONBLOCK: a pipe at the path is an error at once, where opening it would wait for its other end.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).write(writable).custom_flags(flags);
        let file = seam.run(Effect::Open { writable }, || options.open(&real)).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(failed(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        if !meta.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        DataFile::adopt(file, real, writable, seam)
    }

    /// A data file around an open descriptor.
    pub(crate) fn adopt(file: File, path: PathBuf, writable: bool, seam: Seam) -> Result<DataFile> {
        let meta = file.metadata().map_err(|e| OsError::new("stat", &path, e))?;
        let file = ParentFile::new(file, &path)?;
        Ok(DataFile { id: FileStat::of(&meta).id, file, path, writable, seam })
    }

    /// The path without symbolic links, as it was when the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its device and inode.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Whether it was opened for writing too.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The seam its effects pass.
    pub fn seam(&self) -> &Seam {
        &self.seam
    }

    pub(crate) fn as_file(&self) -> &File {
        self.file.file()
    }

    /// The file's length in bytes. One system call, which unlike [`DataFile::stat`] leaves the next sync as it is.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn len_bytes(&self) -> Result<u64> {
        calls::essence_of(self.file.file()).map(|about| about.len_bytes).map_err(|e| self.failed("stat", e))
    }

    /// What the file system says about it now. One system call.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn stat(&self) -> Result<FileStat> {
        self.file.file().metadata().map(|meta| FileStat::of(&meta)).map_err(|e| self.failed("stat", e))
    }

    /// Whether `path`, links followed, still names this very file: `false` if it names another one or none.
    /// One system call.
    ///
    /// # Errors
    /// The path cannot be looked up for another reason than that nothing is there.
    pub fn still_at(&self, path: &Path) -> Result<bool> {
        match fs::metadata(path) {
            Ok(meta) => Ok(FileStat::of(&meta).id == self.id),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(e) => Err(OsError::new("look up", path, e)),
        }
    }

    /// The kind of file system that holds it. One system call.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn filesystem(&self) -> Result<FileSystem> {
        calls::filesystem_magic(self.file.file())
            .map(|magic| FileSystem::at(magic, &self.path))
            .map_err(|e| self.failed("ask for the file system of", e))
    }

    /// Bytes that may still be allocated on its file system. One system call.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn free_space_bytes(&self) -> Result<u64> {
        calls::free_space_bytes(self.file.file()).map_err(|e| self.failed("ask for the free space of", e))
    }

    /// How many kernel pages of `len` bytes at `offset` are dirty: stored to, through whatever map, since they were last
    /// written. One system call that looks at each folio; `None` where the kernel does not tell (before 6.5).
    pub fn dirty_pages(&self, offset: u64, len: u64) -> Option<u64> {
        self.cached(offset, len).map(|cached| cached.dirty_pages)
    }

    /// How many kernel pages of `len` bytes at `offset` are in memory, all to the end if `len` is 0. One system call
    /// (`cachestat`) that looks at each folio; `None` where the kernel does not tell (before 6.5, or to who neither owns
    /// the file nor may write to it).
    pub fn cached(&self, offset: u64, len: u64) -> Option<Cached> {
        let counted = calls::cached_pages(self.file.file(), offset, len).ok();
        counted.map(|[pages, dirty_pages]| Cached { pages, dirty_pages })
    }

    /// Reads into `into` from `offset` on and answers how many bytes there were before the end of the file.
    /// At least one system call. For inspection: contents that matter are read through a map.
    ///
    /// # Errors
    /// The bytes cannot be read (`EIO`).
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let effect = Effect::Read { offset, len: into.len() as u64 };
        self.seam
            .run(effect, || {
                let mut done = 0;
                while done < into.len() {
                    match self.file.file().read_at(&mut into[done..], offset + done as u64) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(done)
            })
            .map_err(|e| self.failed("read", e))
    }

    /// Grows the file, whose contents end at `from`, to `to` bytes, with blocks for all of it. The new bytes are
    /// zero and at once visible in every map of the file. Nothing happens if `to` is not past `from` and the end.
    ///
    /// Bytes at and past `from` must be nobody's: what a killed process grew there may be zeroed. Only the holder
    /// of the writer lock grows. Not durable before [`DataFile::sync_all`] or a sync of its own kind has returned.
    ///
    /// Three system calls; on a file system without `fallocate` one more for each kernel page, since zeros are
    /// written (small writes, because the page cache then keeps small folios, which are cheap to sync).
    ///
    /// # Errors
    /// The disk or quota is full, or the limit of the file system or of the process is reached
    /// ([`OsError::is_full`]); or another reason. The file has its old length again and nothing is lost.
    pub fn grow(&self, from: u64, to: u64) -> Result<()> {
        let was = self.stat()?.len_bytes;
        let start = from.min(was);
        if to <= start {
            return Ok(());
        }
        self.allocate(start, to - start).inspect_err(|_| {
            if planted("kept_growth") {
                return;
            }
            // A failed ext4 `fallocate` keeps what it got. The first error is the one to tell, so this one's is not:
            // a file that stays longer than it needs to be is sound.
            let _ = self.truncate_if_past(was);
        })
    }

    /// Gives blocks to the `len` bytes at `offset`: a range of holes, as after [`DataFile::punch`], whose contents
    /// are nobody's. Grows the file if the range ends past its end. Two system calls, or as [`DataFile::grow`].
    ///
    /// # Errors
    /// As [`DataFile::grow`], except that what has been allocated stays.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.allocate_inner(offset, len).map_err(|e| self.failed("grow", e))
    }

    /// Gives blocks to whatever of the `len` bytes at `offset` has none; what they hold stays. At most one system call. Where
    /// the file system cannot it does nothing: there a file has grown by zeros that were written, and it cannot punch either.
    ///
    /// # Errors
    /// As [`DataFile::allocate`].
    pub fn keep_blocks(&self, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        match self.fallocate(offset, len) {
            Err(e) if is_unsupported(&e) => Ok(()),
            answer => answer.map_err(|e| self.failed("allocate blocks for", e)),
        }
    }

    fn fallocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.seam.run(Effect::Grow { offset, len }, || {
            calls::fallocate(self.file.file(), Blocks::Allocate, offset, len)
        })
    }

    fn allocate_inner(&self, offset: u64, len: u64) -> io::Result<()> {
        let too_big = || io::Error::from_raw_os_error(libc::EFBIG);
        let end = offset.checked_add(len).ok_or_else(too_big)?;
        if limits::file_size_limit().is_some_and(|limit| end > limit) {
            return Err(too_big());
        }
        match self.fallocate(offset, len) {
            Err(e) if is_unsupported(&e) => self.seam.run(Effect::WriteZeros { offset, len }, || {
                self.write_zeros(offset, end, limits::page_size() as usize)
            }),
            answer => answer,
        }
    }

    /// Writes zeros over `len` bytes at `offset` that have blocks and hold nothing: the page cache then has them, in
    /// folios of [`FILL_BYTES`] at most, for a fraction of what as many faults cost. One system call for each of those. The caller has
    /// made sure that this process may write so far.
    ///
    /// # Errors
    /// An I/O error. Some zeros may have been written.
    pub fn fill(&self, offset: u64, len: u64) -> Result<()> {
        self.seam
            .run(Effect::WritePages { offset, len }, || self.write_zeros(offset, offset + len, FILL_BYTES))
            .map_err(|e| self.failed("write zeros to", e))
    }

    /// Writes `parts`, one behind the other, from `offset` on: pages that have blocks, whole. The page cache then has them in folios of
    /// [`FILL_BYTES`] at most. One system call for each of those, and the bytes are copied once. The caller has made sure that
    /// this process may write so far.
    ///
    /// # Errors
    /// An I/O error. Some of it may have been written.
    pub fn write_parts<const N: usize>(&self, offset: u64, parts: [&[u8]; N]) -> Result<()> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        self.seam
            .run(Effect::WritePages { offset, len }, || {
                write_pieces(self.file.file(), offset, &mut parts.map(IoSlice::new))
            })
            .map_err(|e| self.failed("write pages of", e))
    }

    fn write_zeros(&self, offset: u64, end: u64, step: usize) -> io::Result<()> {
        let zeros = &ZEROS[..step.min(FILL_BYTES)];
        let mut at = offset;
        while at < end {
            // To the next boundary: writes that straddle pages would dirty each twice.
            let len = (zeros.len() - at as usize % zeros.len()).min((end - at) as usize);
            self.file.file().write_all_at(&zeros[..len], at)?;
            at += len as u64;
        }
        Ok(())
    }

    fn truncate_if_past(&self, len: u64) -> Result<()> {
        if self.stat()?.len_bytes > len { self.truncate(len) } else { Ok(()) }
    }

    /// Cuts the file to `len` bytes. One system call.
    ///
    /// The caller has made sure that no pinned snapshot and no meta reaches past `len`, in any process: a load from
    /// there raises SIGBUS from now on.
    ///
    /// # Errors
    /// Not permitted, or an I/O error.
    pub fn truncate(&self, len: u64) -> Result<()> {
        self.seam
            .run(Effect::Truncate { len }, || self.file.file().set_len(len))
            .map_err(|e| self.failed("truncate", e))
    }

    /// Gives the blocks of `len` bytes at `offset` back; they read as zero. One system call. Answers `false` where
    /// the file system cannot. [`DataFile::allocate`] must come before the next store there.
    ///
    /// The caller has made sure that no pinned snapshot and no meta reaches the range, in any process.
    ///
    /// # Errors
    /// Not permitted, or an I/O error.
    pub fn punch(&self, offset: u64, len: u64) -> Result<bool> {
        let punched = self.seam.run(Effect::Punch { offset, len }, || {
            calls::fallocate(self.file.file(), Blocks::Punch, offset, len)
        });
        calls::is_supported(punched).map_err(|e| self.failed("punch a hole in", e))
    }

    /// Has the kernel forget what it has cached of `len` bytes at `offset`, or of all from there on if `len` is 0, so
    /// that what is read next is what the disk holds. Pages that are dirty, or mapped by anybody, stay. Costs a system
    /// call, and reading again what is needed.
    ///
    /// After a failed sync this is more than caution. ext4 notes in the page cache that a block has been written when
    /// it begins to write it. If that write fails and the page is stored to and synced again, it takes the block for
    /// one that needs no note on the disk: after the next mount the block, allocated and never noted as written, reads
    /// as zeros, whatever the second sync said (Linux 6.18).
    ///
    /// # Errors
    /// Those of the system.
    pub fn drop_cached(&self, offset: u64, len: u64) -> Result<()> {
        self.seam
            .run(Effect::Advise { offset, len }, || calls::drop_cached(self.file.file(), offset, len))
            .map_err(|e| self.failed("drop the cache of", e))
    }

    /// Has the system begin to write `len` bytes at `offset`, if they are dirty, and does not wait: the next sync has so much
    /// less to do. A wish: a system that cannot, or a medium that fails, shows at the sync. One system call.
    pub fn start_writing(&self, offset: u64, len: u64) {
        let begin = || calls::start_writing(self.file.file(), offset, len);
        // Whatever the matter is, the sync has to tell.
        let _ = self.seam.run(Effect::Advise { offset, len }, begin);
    }

    /// Makes contents and metadata durable (`fsync`). One sync.
    ///
    /// # Errors
    /// Bytes may be lost, and a later success would not mean that they are there: never retry.
    pub fn sync_all(&self) -> Result<()> {
        self.seam
            .run(Effect::SyncFile { data_only: false }, || self.file.file().sync_all())
            .map_err(|e| self.failed("sync", e))
    }

    /// Makes contents durable, with the length and block list that reading them needs (`fdatasync`). One sync.
    ///
    /// # Errors
    /// As [`DataFile::sync_all`].
    pub fn sync_data(&self) -> Result<()> {
        self.seam
            .run(Effect::SyncFile { data_only: true }, || self.file.file().sync_data())
            .map_err(|e| self.failed("sync", e))
    }

    /// Makes the file's name durable: syncs the directory that holds it. One sync. Who opens a file that another
    /// process may have created this moment does so before it calls anything in it durable.
    ///
    /// # Errors
    /// The directory cannot be opened or synced.
    pub fn sync_dir(&self) -> Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        self.seam
            .run(Effect::SyncDir, || match File::open(dir)?.sync_all() {
                // Some file systems have nothing to sync in a directory, and say so.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
                answer => answer,
            })
            .map_err(|e| OsError::new("sync the directory", dir, e))
    }

    pub(crate) fn failed(&self, what: &'static str, source: io::Error) -> OsError {
        OsError::new(what, &self.path, source)
    }
}

impl AsFd for DataFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for DataFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.file().as_raw_fd()
    }
}

/// Whether a file system, or the kernel, does not have the call.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}
