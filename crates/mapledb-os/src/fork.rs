//! A fork must not carry an environment into the child: an open-file-description lock would live on there, and
//! the parent's death would go unnoticed.
//!
//! A handler that runs in every forked child closes the descriptors registered here and moves a process-wide
//! generation on. Maps stay, since slices of them may be in use; so no description that is mapped may hold a lock
//! ([`open_again`](crate::lock_file::open_again)). Whoever holds an environment remembers the generation it was made in: if [`generation`]
//! answers another one, this is a child, and shared memory must not be touched (I15).
//!
//! The handler does only what is allowed between `fork` and `exec`: it loads and stores atomics and calls `close`.
//! A child made by a raw `clone` system call does not run it.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

use crate::{OsError, Result};

/// Descriptors that can be registered at once: four for each of 256 environments.
const REGISTERED_MAX: usize = 1024;

const NONE: RawFd = -1;

static GENERATION: AtomicU64 = AtomicU64::new(1);
static REGISTERED: [AtomicI32; REGISTERED_MAX] = [const { AtomicI32::new(NONE) }; REGISTERED_MAX];
static INSTALLED: OnceLock<libc::c_int> = OnceLock::new();

/// The generation of this process: 1, and another number in each forked child. Cost: one relaxed load.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A descriptor's entry in the list of those a forked child closes. Dropping it takes the entry off.
///
/// In a child the number no longer names the descriptor, so its owner must forget it there rather than close
/// it: see [`ParentFile`].
#[derive(Debug)]
pub struct ClosedInChild {
    entry: usize,
    generation: u64,
}

impl ClosedInChild {
    /// Registers `fd`. Fails only without memory or when more than a thousand descriptors are registered.
    pub fn register(fd: BorrowedFd<'_>, path: &Path) -> Result<ClosedInChild> {
        let refused = *INSTALLED.get_or_init(install);
        if refused != 0 {
            let error = io::Error::from_raw_os_error(refused);
            return Err(OsError::new("guard against fork the descriptor of", path, error));
        }
        let fd = fd.as_raw_fd();
        let take =
            |entry: &AtomicI32| entry.compare_exchange(NONE, fd, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        match REGISTERED.iter().position(take) {
            Some(entry) => Ok(ClosedInChild { entry, generation: generation() }),
            None => {
                let error = io::Error::from_raw_os_error(libc::EMFILE);
                Err(OsError::new("guard against fork the descriptor of", path, error))
            }
        }
    }
}

impl Drop for ClosedInChild {
    fn drop(&mut self) {
        if self.generation == generation() {
            REGISTERED[self.entry].store(NONE, Ordering::Release);
        }
    }
}

/// A file whose descriptor stays with this process: a forked child closes it at birth, and there dropping
/// this closes nothing.
#[derive(Debug)]
pub struct ParentFile {
    file: ManuallyDrop<File>,
    // Taken off the list before the descriptor is closed, so that a fork in between leaks a descriptor into the
    // child at worst, and never closes another's.
    entry: ManuallyDrop<ClosedInChild>,
    generation: u64,
}

impl ParentFile {
    /// Keeps `file` out of forked children.
    pub fn new(file: File, path: &Path) -> Result<ParentFile> {
        let entry = ClosedInChild::register(file.as_fd(), path)?;
        let generation = generation();
        Ok(ParentFile { file: ManuallyDrop::new(file), entry: ManuallyDrop::new(entry), generation })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for ParentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for ParentFile {
    fn drop(&mut self) {
        if self.generation != generation() {
            return;
        }
        // SAFETY: this is drop, so the entry is dropped once and not used again.
        #[allow(unsafe_code)]
        unsafe {
            ManuallyDrop::drop(&mut self.entry);
        };
        // SAFETY: this is drop, so the file is dropped once and not used again.
        #[allow(unsafe_code)]
        unsafe {
            ManuallyDrop::drop(&mut self.file);
        };
    }
}

/// A value that each process has of its own: a forked child begins with a new one and never touches its parent's, whose
/// locks may be held by threads that the child does not have.
///
/// Values are never given back: a process has one, and a chain of forks leaks one for each.
#[derive(Debug)]
pub struct PerProcess<T> {
    made: AtomicPtr<Made<T>>,
}

#[derive(Debug)]
struct Made<T> {
    pid: u32,
    generation: u64,
    value: T,
}

impl<T: Default + Send + Sync + 'static> PerProcess<T> {
    /// No value yet.
    pub const fn new() -> PerProcess<T> {
        PerProcess { made: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// This process's value. Cost: a system call.
    ///
    /// The process is told by its id as well: a child made before anything was registered, or by a raw `clone`, has its
    /// parent's generation. The id alone might be that of an ancestor long dead.
    pub fn get(&self) -> &T {
        let (pid, generation) = (std::process::id(), generation());
        let mut found = self.made.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or leaked by the line below in this process or in one it was forked from, and never freed.
            #[allow(unsafe_code)]
            let made = unsafe { found.as_ref() };
            if let Some(made) = made
                && (made.pid, made.generation) == (pid, generation)
            {
                return &made.value;
            }
            let new: *mut Made<T> = Box::leak(Box::new(Made { pid, generation, value: T::default() }));
            found = match self.made.compare_exchange(found, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(other) => other,
            };
        }
    }
}

impl<T: Default + Send + Sync + 'static> Default for PerProcess<T> {
    fn default() -> PerProcess<T> {
        PerProcess::new()
    }
}

fn install() -> libc::c_int {
    // SAFETY: the handler is a function of this program, which is never unloaded while it can fork, and it is
    // safe to run between fork and exec (see the module's head).
    #[allow(unsafe_code)]
    unsafe {
        libc::pthread_atfork(None, None, Some(in_child))
    }
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for entry in &REGISTERED {
        let fd = entry.swap(NONE, Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: the number is a descriptor inherited from the parent, and every owner of it forgets it in
            // this generation.
            #[allow(unsafe_code)]
            unsafe {
                libc::close(fd)
            };
        }
    }
}
