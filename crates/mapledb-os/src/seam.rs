//! The one seam that every effect passes on its way to the operating system.
//!
//! A [`Seam`] travels with the file it belongs to and with the maps made from it. Built without the cargo feature
//! `seam` it is a zero-sized value whose calls inline to the effect itself. Built with it, an `Observer` is
//! asked before each effect and told after it, and may
//!
//! - record it (a crash simulation derives its disk images from the order of stores and syncs),
//! - fail it, by answering any `io::Error`: the effect is not performed and its caller sees that error,
//! - cut off, by answering `Cut::error()`: neither this effect nor any later one is performed, clean-up included,
//!   as if the process had been killed here.
//!
//! Stores are effects too, although no system call carries them. They are announced by the verbs of
//! [`WriteMap`](crate::WriteMap) that store; a store through `slice_mut` is announced by who makes it.
//!
//! The seam does not copy bytes: an observer that needs them reads the file, which shows what the maps show.

use std::io;

#[cfg(feature = "seam")]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One effect on the operating system. Offsets and lengths are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// An existing file is opened.
    Open {
        /// Whether for writing too.
        writable: bool,
    },
    /// A new file is made, under no name (`O_TMPFILE`) or under a temporary one.
    Create {
        /// Whether under no name.
        anonymous: bool,
    },
    /// The initial bytes of a new file are written.
    Fill {
        /// The length of the new file.
        len: u64,
    },
    /// A new file receives its name, replacing nothing.
    Link,
    /// A new file's temporary name becomes its name, replacing nothing.
    Rename,
    /// A name is removed.
    Unlink,
    /// A directory is synced.
    SyncDir,
    /// The lock file is synced.
    SyncLockFile,
    /// Bytes are read by a system call.
    Read {
        /// Where.
        offset: u64,
        /// How many at most.
        len: u64,
    },
    /// Blocks are allocated; the file grows if the range ends past its end.
    Grow {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Blocks are allocated by writing zeros, where the file system cannot do it otherwise.
    WriteZeros {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The file is cut to a length.
    Truncate {
        /// The new length.
        len: u64,
    },
    /// The blocks of a range are given back.
    Punch {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The file is mapped.
    Map {
        /// The reserve that is tried.
        len: u64,
        /// Whether for writing too.
        writable: bool,
    },
    /// Advice about a range of the map.
    Advise {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Pages are faulted in for writing.
    Populate {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Pages are written by a system call.
    WritePages {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Pages are stored to through the map.
    StorePages {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// A meta is stored through the map.
    StoreMeta {
        /// 0 for meta A, 1 for meta B.
        slot: u8,
    },
    /// Pages are made dirty again, unchanged.
    Redirty {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// A range of the map is synced (`msync`).
    Sync {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The whole file is synced through its descriptor.
    SyncFile {
        /// Whether metadata that no read needs may be left out (`fdatasync`).
        data_only: bool,
    },
}

/// Who watches a [`Seam`].
///
/// Called on the thread that makes the effect, possibly on several at once.
#[cfg(feature = "seam")]
pub trait Observer: Send + Sync {
    /// Asked before an effect. An error means it is not performed and fails with that error; [`Cut::error`] means
    /// that no effect is performed any more.
    ///
    /// # Errors
    /// Whatever the observer wants the effect to fail with.
    fn before(&self, effect: &Effect) -> io::Result<()>;

    /// Told after an effect that was let through, with whether it succeeded.
    fn after(&self, effect: &Effect, ok: bool);
}

/// The reason of every effect at and after a cut.
#[cfg(feature = "seam")]
#[derive(Debug, thiserror::Error)]
#[error("cut off by the observer of the seam")]
pub struct Cut;

#[cfg(feature = "seam")]
impl Cut {
    /// The error by which an observer cuts off.
    pub fn error() -> io::Error {
        io::Error::other(Cut)
    }

    /// Whether `error` is a cut.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Cut>())
    }
}

#[cfg(feature = "seam")]
struct Watch {
    observer: Arc<dyn Observer>,
    cut: AtomicBool,
}

/// The handle by which effects are announced. Clones share the observer and its cut.
#[derive(Clone, Default)]
pub struct Seam {
    #[cfg(feature = "seam")]
    watch: Option<Arc<Watch>>,
}

impl Seam {
    /// A seam that nobody watches.
    pub fn unwatched() -> Seam {
        Seam::default()
    }

    /// A seam that `observer` watches.
    #[cfg(feature = "seam")]
    pub fn watched(observer: Arc<dyn Observer>) -> Seam {
        Seam { watch: Some(Arc::new(Watch { observer, cut: AtomicBool::new(false) })) }
    }

    /// Performs `act`, which is `effect`.
    ///
    /// # Errors
    /// Those of `act`, or the observer's in its place.
    #[cfg(not(feature = "seam"))]
    #[inline(always)]
    pub fn run<T>(&self, _effect: Effect, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act()
    }

    /// Performs `act`, which is `effect`.
    ///
    /// # Errors
    /// Those of `act`, or the observer's in its place.
    #[cfg(feature = "seam")]
    pub fn run<T>(&self, effect: Effect, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = &self.watch else { return act() };
        watch.admit(&effect)?;
        let done = act();
        watch.observer.after(&effect, done.is_ok());
        done
    }
}

#[cfg(feature = "seam")]
impl Watch {
    fn admit(&self, effect: &Effect) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(Cut::error());
        }
        self.observer.before(effect).inspect_err(|error| {
            if Cut::is(error) {
                self.cut.store(true, Ordering::SeqCst);
            }
        })
    }
}

impl std::fmt::Debug for Seam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seam")
    }
}

#[cfg(not(feature = "seam"))]
const _: () = assert!(size_of::<Seam>() == 0);
