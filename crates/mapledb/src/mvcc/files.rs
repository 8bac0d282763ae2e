//! The two files a member holds open, and the bytes it holds of them.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use mapledb_os::fork::{self, ParentFile};
use mapledb_os::lock_file::{self, FileId};
use mapledb_os::ofd::{self, Kind};
use mapledb_os::{OsError, Seam};

use super::attach::Target;
use super::layout::*;
use super::{AttachError, MvccError, Result};

/// How long a process that goes without having been asked to waits for others that come or go.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long the files are believed to be in their places after they have been seen there.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The data file, for its bytes and its name. Dropping it gives its bytes up.
#[derive(Debug)]
pub(super) struct DataFile {
    file: ParentFile,
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) is_writable: bool,
    seam: Seam,
    generation: u64,
}

impl DataFile {
    /// A description of its own: the caller's is mapped.
    pub(super) fn of(target: &Target<'_>) -> Result<DataFile> {
        let Target { data, path, is_writable, .. } = *target;
        let file = lock_file::open_again(data, path, is_writable)?;
        DataFile::around(file.ok_or_else(|| MvccError::DataFileGone(path.to_path_buf()))?, target)
    }

    /// The caller's description: of a file that has no name and is never locked.
    pub(super) fn of_image(target: &Target<'_>) -> Result<DataFile> {
        let file =
            target.data.try_clone_to_owned().map_err(|e| OsError::new("open again", target.path, e))?;
        DataFile::around(file.into(), target)
    }

    fn around(file: std::fs::File, target: &Target<'_>) -> Result<DataFile> {
        let Target { path, is_writable, .. } = *target;
        let file = ParentFile::new(file, path)?;
        let id = FileId::of(file.file(), path)?;
        let generation = fork::generation();
        Ok(DataFile {
            file,
            path: path.to_path_buf(),
            id,
            is_writable,
            seam: target.seam.clone(),
            generation,
        })
    }

    pub(super) fn try_lock(&self, byte: u64, kind: Kind) -> Result<bool> {
        Ok(ofd::try_lock(self.file.as_fd(), &self.path, byte, kind)?)
    }

    pub(super) fn unlock(&self, byte: u64) -> Result<()> {
        Ok(ofd::unlock(self.file.as_fd(), &self.path, byte)?)
    }

    /// Whether anybody else holds `byte` in any way.
    pub(super) fn is_held_by_another(&self, byte: u64) -> Result<bool> {
        Ok(ofd::is_locked_by_another(self.file.as_fd(), &self.path, byte..byte + 1, Kind::Exclusive)?)
    }

    /// Holds the universe byte if nobody else does. A read-only descriptor cannot hold it exclusively: it takes
    /// it shared and then looks whether it is alone, so that of two that do this at once at most one is.
    pub(super) fn try_alone(&self) -> Result<bool> {
        if self.is_writable {
            return self.try_lock(UNIVERSE_BYTE, Kind::Exclusive);
        }
        Ok(self.try_lock(UNIVERSE_BYTE, Kind::Shared)? && !self.is_held_by_another(UNIVERSE_BYTE)?)
    }

    pub(super) fn file(&self) -> &ParentFile {
        &self.file
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        // A child that is being forked shares the description for a moment longer.
        if self.generation == fork::generation() {
            let _ = self.unlock(UNIVERSE_BYTE);
            let _ = self.unlock(FROZEN_BYTE);
        }
    }
}

/// The lock file, for its bytes and its name.
#[derive(Debug)]
pub(super) struct LockFile {
    file: ParentFile,
    pub(super) path: PathBuf,
    id: FileId,
}

impl LockFile {
    /// Opens the lock file of `data`, creating it if there is none.
    pub(super) fn open_or_create(path: &Path, data: &DataFile) -> std::result::Result<LockFile, AttachError> {
        let file = lock_file::open_or_create(path, data.file().file()).map_err(cannot_open)?;
        LockFile::of(file, path)
    }

    fn of(file: std::fs::File, path: &Path) -> std::result::Result<LockFile, AttachError> {
        if !lock_file::is_regular(&file, path)? {
            return Err(AttachError::NotALockFile(path.to_path_buf()));
        }
        let id = FileId::of(&file, path)?;
        Ok(LockFile { file: ParentFile::new(file, path)?, path: path.to_path_buf(), id })
    }

    /// A description to be mapped, so that no map keeps the locks alive; `None` if the file is no longer in its place.
    pub(super) fn to_map(&self) -> Result<Option<Arc<ParentFile>>> {
        let Some(file) = lock_file::open_again(self.file.as_fd(), &self.path, true)? else { return Ok(None) };
        Ok(Some(Arc::new(ParentFile::new(file, &self.path)?)))
    }

    /// Whether its path still leads to it.
    pub(super) fn is_in_place(&self) -> Result<bool> {
        Ok(FileId::at(&self.path)? == Some(self.id))
    }

    /// Keeps others from coming and going.
    pub(super) fn hold_attach(&self, wait: Duration) -> Result<bool> {
        Ok(ofd::lock_within(self.file.as_fd(), &self.path, ATTACH_BYTE, Kind::Exclusive, wait)?)
    }

    pub(super) fn release_attach(&self) -> Result<()> {
        Ok(ofd::unlock(self.file.as_fd(), &self.path, ATTACH_BYTE)?)
    }

    /// Whether any other process holds a block.
    pub(super) fn has_living_blocks(&self) -> Result<bool> {
        let bytes = LIVENESS_BYTE..LIVENESS_BYTE + BLOCKS_MAX as u64;
        Ok(ofd::is_locked_by_another(self.file.as_fd(), &self.path, bytes, Kind::Exclusive)?)
    }
}

/// A directory and a symbolic link, which is not followed, cannot be opened as a lock file.
fn cannot_open(error: OsError) -> AttachError {
    if error.is_no_file() { AttachError::NotALockFile(error.path) } else { AttachError::LockFile(error) }
}

/// What a member holds open.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) data: DataFile,
    /// `None` where the memory is private.
    pub(super) lock: Option<LockFile>,
    /// When both were last found in their places.
    seen: Mutex<Option<Instant>>,
}

impl Files {
    pub(super) fn new(data: DataFile, lock: Option<LockFile>) -> Files {
        Files { data, lock, seen: Mutex::new(None) }
    }

    /// Takes the byte of `block` unless another process holds it. A byte of private memory is free to take.
    pub(super) fn take_byte(&self, block: usize) -> Result<bool> {
        let Some(lock) = &self.lock else { return Ok(true) };
        let byte = LIVENESS_BYTE + block as u64;
        Ok(ofd::try_lock(lock.file.as_fd(), &lock.path, byte, Kind::Exclusive)?)
    }

    /// Makes what the lock file holds durable.
    pub(super) fn sync_lock(&self) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        Ok(lock_file::sync(lock.file.file(), &lock.path, &self.data.seam)?)
    }

    pub(super) fn release_byte(&self, block: usize) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        Ok(ofd::unlock(lock.file.as_fd(), &lock.path, LIVENESS_BYTE + block as u64)?)
    }

    /// Whether another process holds the byte of `block`.
    pub(super) fn byte_is_held(&self, block: usize) -> Result<bool> {
        let Some(lock) = &self.lock else { return Ok(false) };
        let byte = LIVENESS_BYTE + block as u64;
        Ok(ofd::is_locked_by_another(lock.file.as_fd(), &lock.path, byte..byte + 1, Kind::Exclusive)?)
    }

    /// Before going: waits for others that come or go, but not long.
    pub(super) fn settle_attach(&self) {
        if let Some(lock) = &self.lock {
            let _ = lock.hold_attach(LAST_WAIT);
        }
    }

    /// After the blocks have been given back: gives up the data file, then lets others come and go.
    pub(super) fn leave(&self) {
        let _ = self.data.unlock(UNIVERSE_BYTE);
        let _ = self.data.unlock(FROZEN_BYTE);
        if let Some(lock) = &self.lock {
            let _ = lock.release_attach();
        }
    }

    /// Whether both paths still lead to the files that are open, as far as they did not a millisecond ago: many small commits
    /// in a row would else look more than they write.
    ///
    /// Cost: a look at the clock; two system calls a millisecond.
    pub(super) fn still_in_place(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        let now = Instant::now();
        if seen.is_some_and(|seen| now.duration_since(seen) < LOOK_AGAIN) {
            return Ok(());
        }
        *seen = None;
        if FileId::at(&self.data.path)? != Some(self.data.id) {
            return Err(MvccError::DataFileGone(self.data.path.clone()));
        }
        if let Some(lock) = &self.lock
            && !lock.is_in_place()?
        {
            return Err(MvccError::LockFileGone(lock.path.clone()));
        }
        *seen = Some(now);
        Ok(())
    }
}
