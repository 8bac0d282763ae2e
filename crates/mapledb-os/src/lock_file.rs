//! Opening a lock file, and telling files apart by device and inode.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use crate::calls;
use crate::filesystem::FileSystem;
use crate::seam::{Effect, Seam};
use crate::{OsError, Result};

/// Which file this is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode on it.
    pub ino: u64,
}

impl FileId {
    /// The open file's id.
    pub fn of(file: &File, path: &Path) -> Result<FileId> {
        let about = file.metadata().map_err(|e| OsError::new("look at", path, e))?;
        Ok(FileId { dev: about.dev(), ino: about.ino() })
    }

    /// The id of what lies at `path` now; `None` if nothing does. Cost: one system call.
    pub fn at(path: &Path) -> Result<Option<FileId>> {
        match calls::essence_at(path) {
            Ok(about) => Ok(Some(FileId { dev: about.dev, ino: about.ino })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(OsError::new("look at", path, e)),
        }
    }
}

/// Whether the open file is a regular one.
pub fn is_regular(file: &File, path: &Path) -> Result<bool> {
    Ok(file.metadata().map_err(|e| OsError::new("look at", path, e))?.is_file())
}

/// Another description of the file open as `fd`, which lies at `path`; `None` if another lies there by now.
///
/// A map keeps its description alive, in a forked child too that has closed every descriptor, and a description keeps its
/// locks. So what is locked and what is mapped are two.
pub fn open_again(fd: BorrowedFd<'_>, path: &Path, writable: bool) -> Result<Option<File>> {
    let failed = |e| OsError::new("open", path, e);
    let known = File::from(fd.try_clone_to_owned().map_err(failed)?);
    let again = OpenOptions::new().read(true).write(writable).custom_flags(FLAGS).open(path);
    match again {
        Ok(again) if FileId::of(&again, path)? == FileId::of(&known, path)? => Ok(Some(again)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// Opens the lock file at `path` for reading and writing; `None` if there is none.
pub fn open(path: &Path) -> Result<Option<File>> {
    match options().open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OsError::new("open", path, e)),
    }
}

/// Opens the lock file at `path` for reading and writing, creating it if there is none, with the mode and, where
/// the process may do that, the owner of `data`: whoever may write the one may write the other.
pub fn open_or_create(path: &Path, data: &File) -> Result<File> {
    // The file may come or go between the two attempts; after a few of that something else is wrong.
    let mut attempts = 0;
    loop {
        if let Some(file) = open(path)? {
            return Ok(file);
        }
        match create(path, data) {
            Err(e) if e.source.kind() == io::ErrorKind::AlreadyExists && attempts < 10 => attempts += 1,
            answer => return answer,
        }
    }
}

/// Makes what has been stored to the lock file, through any map, durable. One sync.
///
/// # Errors
/// Bytes may be lost, and a later success would not mean that they are there.
pub fn sync(file: &File, path: &Path, seam: &Seam) -> Result<()> {
    seam.run(Effect::SyncLockFile, || file.sync_data()).map_err(|e| OsError::new("sync", path, e))
}

fn create(path: &Path, data: &File) -> Result<File> {
    let about = data.metadata().map_err(|e| OsError::new("look at the data file of", path, e))?;
    let file = options().create_new(true).open(path).map_err(|e| OsError::new("create", path, e))?;
    take_after(&file, &about).map_err(|e| OsError::new("set the mode of", path, e))?;
    if calls::filesystem_magic(&file).is_ok_and(|magic| FileSystem::from_magic(magic).is_btrfs()) {
        // Every reader stores to it, and a store that needs another block may find the disk full, which is a SIGBUS. On
        // a file system mounted against it there is no way to have it, so a refusal is not an error.
        let _ = calls::set_nocow(&file);
    }
    Ok(file)
}

fn take_after(file: &File, about: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
        // Only a privileged process may; for others the mode has to do.
        let _ = fchown(file, Some(about.uid()), Some(about.gid()));
    }
    file.set_permissions(PermissionsExt::from_mode(about.mode() & 0o777))
}

/// Symbolic links are not followed: the data file's path has been resolved, and its lock file lies beside it.
const FLAGS: libc::c_int = libc::O_NOFOLLOW | libc::O_NONBLOCK;

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(FLAGS);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_takes_the_data_files_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = File::create(dir.path().join("db")).expect("create");
        data.set_permissions(PermissionsExt::from_mode(0o666)).expect("chmod");
        let path = dir.path().join("db-lock");
        assert!(open(&path).expect("open").is_none());
        let lock = open_or_create(&path, &data).expect("create");
        assert_eq!(lock.metadata().expect("metadata").mode() & 0o777, 0o666);
        let again = open_or_create(&path, &data).expect("open");
        assert_eq!(FileId::of(&lock, &path).expect("id"), FileId::of(&again, &path).expect("id"));
        assert_eq!(FileId::at(&path).expect("id"), Some(FileId::of(&lock, &path).expect("id")));
    }

    #[test]
    fn a_symbolic_link_is_no_lock_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = File::create(dir.path().join("db")).expect("create");
        let path = dir.path().join("db-lock");
        std::os::unix::fs::symlink("elsewhere", &path).expect("link");
        assert!(open_or_create(&path, &data).is_err());
    }
}
