//! Making a file so that at every moment, crashes included, either nothing or a whole file stands at its path.
//!
//! The steps: a file without a name in the right directory (`O_TMPFILE`), or under a temporary name where that is
//! not to be had; blocks; bytes; sync; the name, replacing nothing; sync of the directory. An error before the name
//! leaves nothing. A crash before it leaves nothing either, except under a temporary name, `.maple-….new`, which
//! nobody opens and anybody may remove. A [`NamedDraft`] has a directory of such a name, and whoever makes the next one sweeps.
//!
//! An error of the last sync alone leaves the file: others may have opened it and committed to it by then.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::calls;
use crate::error::{OsError, Result};
use crate::file::DataFile;
use crate::seam::{Effect, Seam};

impl DataFile {
    /// Makes a file of `len_bytes` at `path`, with the permissions `mode` less the umask, and answers it open for
    /// reading and writing. Its bytes are zero, then whatever `fill` writes. When this returns, the file and its
    /// name are durable. Symbolic links in the directory part are resolved.
    ///
    /// Some twelve system calls, two of them syncs.
    ///
    /// # Errors
    /// Something is at `path` already, if only a dangling symbolic link, or has come there meanwhile
    /// ([`OsError::is_exists`]; it is untouched); the directory is missing or not writable; the disk is full
    /// ([`OsError::is_full`]); whatever `fill` answers. Nothing remains, unless all but the last sync of the
    /// directory succeeded.
    pub fn create_in_place(
        path: &Path,
        mode: u32,
        len_bytes: u64,
        seam: Seam,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<DataFile> {
        let failed = |e| OsError::new("create", path, e);
        let target = target_of(path).map_err(failed)?;
        // Only to spare the work: what decides is the link.
        if target.symlink_metadata().is_ok() {
            return Err(failed(io::Error::from_raw_os_error(libc::EEXIST)));
        }
        let draft = Draft::start(target, mode, seam).map_err(failed)?;
        draft.prepare(len_bytes, fill)?;
        let file = draft.publish().map_err(failed)?;
        file.sync_dir()?;
        Ok(file)
    }
}

/// `path` with its directory resolved.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(no_name)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize()?;
    if !dir.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    Ok(dir.join(name))
}

/// A file that has not got its name yet. Dropping it removes its temporary one.
struct Draft {
    file: Option<DataFile>,
    temporary: Option<PathBuf>,
    seam: Seam,
}

impl Draft {
    fn start(target: PathBuf, mode: u32, seam: Seam) -> io::Result<Draft> {
        let dir = target.parent().expect("a target has a directory").to_path_buf();
        let (file, temporary) = match open_anonymous(&dir, mode, &seam) {
            Ok(file) => (file, None),
            Err(e) if wants_temporary_name(&e) => {
                let (file, name) = open_temporary(&dir, mode, &seam)?;
                (file, Some(name))
            }
            Err(e) => return Err(e),
        };
        let mut draft = Draft { file: None, temporary, seam: seam.clone() };
        draft.file = Some(DataFile::adopt(file, target, true, seam).map_err(|e| e.source)?);
        Ok(draft)
    }

    fn file(&self) -> &DataFile {
        self.file.as_ref().expect("a draft holds its file until it is published")
    }

    fn prepare(&self, len_bytes: u64, fill: impl FnOnce(&File) -> io::Result<()>) -> Result<()> {
        let file = self.file();
        if file.filesystem()?.is_btrfs() {
            // Without it an overwrite may find the disk full, which is a SIGBUS; but that is a rare end, and on a
            // file system mounted against it there is no way to have it. So a refusal is not an error.
            let _ = calls::set_nocow(file.as_file());
        }
        file.grow(0, len_bytes)?;
        self.seam
            .run(Effect::Fill { len: len_bytes }, || fill(file.as_file()))
            .map_err(|e| file.failed("write the first bytes of", e))?;
        file.sync_all()
    }

    fn publish(mut self) -> io::Result<DataFile> {
        let target = self.file().path();
        match &self.temporary {
            None => self.seam.run(Effect::Link, || calls::link_open_file(self.file().as_file(), target))?,
            Some(name) => match self.seam.run(Effect::Rename, || calls::rename_new(name, target)) {
                Ok(()) => self.temporary = None,
                // The file system does not know renaming without replacing. The second name goes with the draft.
                Err(e) if is_unsupported(&e) => {
                    self.seam.run(Effect::Link, || fs::hard_link(name, target))?
                }
                Err(e) => return Err(e),
            },
        }
        Ok(self.file.take().expect("a draft holds its file until it is published"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = &self.temporary {
            // Nothing depends on its removal, and the error that brought us here is the one to tell.
            let _ = self.seam.run(Effect::Unlink, || fs::remove_file(name));
        }
    }
}

/// A place beside a target in which a file may be made before it gets the target's name: a directory of its own. Dropping it
/// removes that, with whatever was made there.
///
/// Whoever is killed meanwhile leaves it behind, and the next draft in the same directory sweeps it away. That its owner is gone is
/// known by its lock, which goes with a process and is seen from other containers, too; where directories cannot be
/// locked nothing is swept.
///
/// For files that need a name while they are made; [`DataFile::create_in_place`] serves those that do not.
#[derive(Debug)]
pub struct NamedDraft {
    dir: PathBuf,
    path: PathBuf,
    /// Locked as long as the draft is being made.
    _held: File,
}

impl NamedDraft {
    /// A place in the directory of `target`; no file is made.
    ///
    /// Cost: the directory is listed.
    ///
    /// # Errors
    /// The directory does not exist, or is not writable.
    pub fn beside(target: &Path) -> Result<NamedDraft> {
        let failed = |e| OsError::new("create", target, e);
        let target = target_of(target).map_err(failed)?;
        let dir = target.parent().unwrap_or(Path::new("/"));
        sweep(dir);
        let (dir, held) = make_held_dir(dir).map_err(failed)?;
        Ok(NamedDraft { path: dir.join("draft"), dir, _held: held })
    }

    /// The name that the file is made under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file the name `target` instead, durably, unless there is a file of that name.
    ///
    /// # Errors
    /// There is one ([`OsError::is_exists`]), or the system refuses; the file is removed.
    pub fn publish(self, target: &Path) -> Result<()> {
        let failed = |e| OsError::new("create", target, e);
        match calls::rename_new(&self.path, target) {
            Err(e) if is_unsupported(&e) => fs::hard_link(&self.path, target),
            other => other,
        }
        .map_err(failed)?;
        sync_dir_of(target).map_err(failed)
    }

    /// Gives the file the name `target` instead, durably, whatever had that name.
    ///
    /// # Errors
    /// The system refuses; the file is removed.
    pub fn replace(self, target: &Path) -> Result<()> {
        let replaced = fs::rename(&self.path, target).and_then(|()| sync_dir_of(target));
        replaced.map_err(|e| OsError::new("replace", target, e))
    }
}

fn sync_dir_of(file: &Path) -> io::Result<()> {
    let path = file.canonicalize()?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

impl Drop for NamedDraft {
    fn drop(&mut self) {
        // What is left of it is swept later, if it must be.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A new directory in `dir`, locked.
fn make_held_dir(dir: &Path) -> io::Result<(PathBuf, File)> {
    let mut last = io::Error::from_raw_os_error(libc::EEXIST);
    for _ in 0..ATTEMPTS {
        let own = dir.join(temporary_name());
        let made = DirBuilder::new().mode(0o700).create(&own).and_then(|()| File::open(&own));
        match made {
            // Between the two, somebody who sweeps may have taken it for one that was left behind.
            Ok(held) => match held.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                _ if own.symlink_metadata().is_err() => {}
                _ => return Ok((own, held)),
            },
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Removes the drafts in a directory whose makers are gone. One that cannot be removed stays.
fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_draft =
            is_temporary_name(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_draft && File::open(entry.path()).is_ok_and(|left| left.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn open_anonymous(dir: &Path, mode: u32, seam: &Seam) -> io::Result<File> {
    // The name is given through this directory; without it the file could never get one.
    if !Path::new("/proc/self/fd").exists() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(mode).custom_flags(libc::O_TMPFILE);
    seam.run(Effect::Create { anonymous: true }, || options.open(dir))
}

/// How many names are tried.
const ATTEMPTS: u32 = 16;

/// A new file in `dir` under a name that no other file has, and that name.
fn open_temporary(dir: &Path, mode: u32, seam: &Seam) -> io::Result<(File, PathBuf)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode);
    let mut last = io::Error::from_raw_os_error(libc::EEXIST);
    for _ in 0..ATTEMPTS {
        let name = dir.join(temporary_name());
        match seam.run(Effect::Create { anonymous: false }, || options.open(&name)) {
            Ok(file) => return Ok((file, name)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

const NAME_START: &str = ".maple-";
const NAME_END: &str = ".new";

/// Not secret, only unlikely to meet another: `O_EXCL` decides. Short, since the target's name may be of any length.
fn temporary_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{NAME_START}{}-{nanos:x}-{count}{NAME_END}", std::process::id())
}

fn is_temporary_name(name: &OsStr) -> bool {
    name.as_bytes().starts_with(NAME_START.as_bytes()) && name.as_bytes().ends_with(NAME_END.as_bytes())
}

/// Kernels and file systems without `O_TMPFILE` take it for the directory it contains, or refuse it.
fn wants_temporary_name(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EISDIR) || is_unsupported(error)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_sweeps_away_what_was_left_behind_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("target");
        let made = |name: &str| {
            fs::create_dir(dir.path().join(name)).expect("create");
            fs::write(dir.path().join(name).join("draft"), "half of it").expect("write");
            dir.path().join(name)
        };
        let left = made(".maple-1-12ab-0.new");
        let others = [made(".maple-notes"), made("1-12ab-0.new")];
        let at_work = NamedDraft::beside(&target).expect("a draft");
        fs::write(at_work.path(), "more").expect("write");
        assert!(!left.exists());
        let second = NamedDraft::beside(&target).expect("a draft");
        fs::write(second.path(), "all of it").expect("write");
        assert!(at_work.path().exists(), "somebody is at work there");
        second.publish(&target).expect("publish");
        drop(at_work);
        assert_eq!(fs::read(&target).expect("read"), b"all of it");
        let there = fs::read_dir(dir.path()).expect("read").count();
        assert_eq!(there, 1 + others.len(), "the target, and what is not ours");
    }
}
