//! Directories that go when they are dropped, in memory where that can be had.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BASE: OnceLock<PathBuf> = OnceLock::new();

/// From now on directories are made under `base` and nowhere else. The first call counts.
pub fn keep_under(base: &Path) {
    let _ = BASE.set(base.to_path_buf());
}

/// Gives this process, if it is root's, mounts of its own: what it and its children mount goes when they have gone,
/// however they end. To be called before there are other threads.
pub fn own_mounts() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // Where that is refused, as in some containers, mounts are taken off one by one.
    if nix::sched::unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let _ = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
    }
}

/// A directory of its own.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a directory under the base that [`keep_under`] set, else under `/dev/shm`, else under the system's
    /// directory for temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Scratch> {
        if let Some(base) = BASE.get() {
            return Scratch::under(base);
        }
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        Scratch::under(&base)
    }

    /// Makes a directory under `base`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn under(base: &Path) -> io::Result<Scratch> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("mapledb-sim-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
