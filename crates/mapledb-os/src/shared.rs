//! Memory that several processes store to at once: a lock file mapped with room to grow, or private memory of
//! the same shape where nothing is shared (frozen readers, drafts of copies).
//!
//! Only structs of atomics are ever seen in it ([`SharedMemory`]), so whatever another process stores is at worst
//! a wrong number. A view is given only inside the *known length*: bytes whose blocks were allocated by
//! [`SharedRegion::grow_to`] or found in the file. The mapping reaches far past it and never moves, so no view is
//! ever invalidated by growth.
//!
//! Not defended against: a process that truncates the file under the others; touching it is then SIGBUS.

#[cfg(not(loom))]
mod region {
    use std::cell::UnsafeCell;
    use std::fs::File;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

    use memmap2::{MmapOptions, MmapRaw};

    use crate::fork::ParentFile;
    use crate::{OsError, Result};

    /// What may lie in memory that others store to at any time.
    ///
    /// # Safety
    ///
    /// The type is `repr(C)` or `repr(transparent)`, consists of atomics, [`Pad`] and such types only, is valid
    /// for any bytes, and has no drop glue.
    #[allow(unsafe_code)]
    pub unsafe trait SharedMemory: Sync + 'static {}

    // SAFETY: an atomic, valid for any bytes.
    #[allow(unsafe_code)]
    unsafe impl SharedMemory for AtomicU32 {}
    // SAFETY: an atomic, valid for any bytes.
    #[allow(unsafe_code)]
    unsafe impl SharedMemory for AtomicU64 {}
    // SAFETY: an array has its items' representation and nothing else.
    #[allow(unsafe_code)]
    unsafe impl<T: SharedMemory, const N: usize> SharedMemory for [T; N] {}

    /// Bytes of a layout that nobody reads or writes.
    #[repr(transparent)]
    pub struct Pad<const N: usize>(UnsafeCell<MaybeUninit<[u8; N]>>);

    // SAFETY: its bytes cannot be reached.
    #[allow(unsafe_code)]
    unsafe impl<const N: usize> Sync for Pad<N> {}
    // SAFETY: transparent over bytes that may be uninitialised and are behind a cell, so any change by others is
    // allowed.
    #[allow(unsafe_code)]
    unsafe impl<const N: usize> SharedMemory for Pad<N> {}

    /// A mapping with a reserve past its known length.
    #[derive(Debug)]
    pub struct SharedRegion {
        map: MmapRaw,
        backing: Option<(Arc<ParentFile>, PathBuf)>,
        known_len: AtomicUsize,
    }

    impl SharedRegion {
        /// Maps `file` with `reserve` bytes of address space; where that much is refused, with half, and so on
        /// down to `least`.
        pub fn map(file: Arc<ParentFile>, path: &Path, reserve: usize, least: usize) -> Result<SharedRegion> {
            let mut len = reserve;
            let map = loop {
                match MmapOptions::new().len(len).map_raw(file.file()) {
                    Ok(map) => break map,
                    Err(_) if len / 2 >= least => len /= 2,
                    Err(e) => return Err(OsError::new("map", path, e)),
                }
            };
            let backing = Some((file, path.to_path_buf()));
            let region = SharedRegion { map, backing, known_len: AtomicUsize::new(0) };
            region.refresh()?;
            Ok(region)
        }

        /// Zeroed memory of this process alone, `len` bytes of it, all known.
        pub fn anonymous(len: usize) -> Result<SharedRegion> {
            let map = MmapOptions::new().len(len).no_reserve_swap().map_anon();
            let map = map.map_err(|e| OsError::new("map", Path::new("private memory"), e))?;
            Ok(SharedRegion { map: MmapRaw::from(map), backing: None, known_len: AtomicUsize::new(len) })
        }

        /// Bytes that views may cover.
        #[inline]
        pub fn known_len(&self) -> usize {
            self.known_len.load(Ordering::Acquire)
        }

        /// Bytes of address space: what it can grow to.
        pub fn reserve(&self) -> usize {
            self.map.len()
        }

        /// Learns how far the file reaches by now. Cost: a system call.
        pub fn refresh(&self) -> Result<()> {
            if let Some((file, path)) = &self.backing {
                let len = file.file().metadata().map_err(|e| OsError::new("look at", path, e))?.len();
                let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.reserve());
                self.known_len.fetch_max(len, Ordering::AcqRel);
            }
            Ok(())
        }

        /// Allocates the blocks of bytes `start..end`, so that a store to them cannot be a SIGBUS, and makes the
        /// known length reach at least `end`. What lies there is kept. The caller owns these bytes: where the
        /// file system cannot allocate, zeros are written to those past the file's end.
        pub fn grow_to(&self, start: usize, end: usize) -> Result<()> {
            if end > self.reserve() {
                let error = io::Error::from_raw_os_error(libc::ENOMEM);
                return Err(OsError::new("grow past its reserve", self.path(), error));
            }
            if let Some((file, path)) = &self.backing {
                allocate(file.file(), path, start as u64, end as u64)?;
            }
            self.known_len.fetch_max(end, Ordering::AcqRel);
            Ok(())
        }

        /// The `T` at byte `offset`; `None` where it does not lie inside the known length or is not aligned.
        pub fn view<T: SharedMemory>(&self, offset: usize) -> Option<&T> {
            self.slice::<T>(offset, 1)?.first()
        }

        /// `count` items from byte `offset`; `None` where they do not lie inside the known length or are not
        /// aligned.
        pub fn slice<T: SharedMemory>(&self, offset: usize, count: usize) -> Option<&[T]> {
            let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
            let aligned = offset.is_multiple_of(align_of::<T>());
            if end > self.known_len() || !aligned {
                return None;
            }
            // SAFETY: the offset is inside the mapping, whose length is at least the known one.
            #[allow(unsafe_code)]
            let first = unsafe { self.map.as_ptr().add(offset) };
            // SAFETY: bounds and alignment were checked (a mapping starts at a page); the bytes exist in the file
            // or are private; the mapping lives and stays as long as self; any bytes are a T, and any change
            // by others goes through its atomics (`SharedMemory`, upheld by its implementors).
            #[allow(unsafe_code)]
            Some(unsafe { std::slice::from_raw_parts(first.cast::<T>(), count) })
        }

        fn path(&self) -> &Path {
            self.backing.as_ref().map_or(Path::new("private memory"), |(_, path)| path)
        }
    }

    fn allocate(file: &File, path: &Path, start: u64, end: u64) -> Result<()> {
        let failed = |e| OsError::new("grow", path, e);
        if end > file_size_limit() {
            return Err(failed(io::Error::from_raw_os_error(libc::EFBIG)));
        }
        match fallocate(file, start, end - start) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                let len = file.metadata().map_err(failed)?.len().max(start);
                let zeros = vec![0; end.saturating_sub(len) as usize];
                file.write_all_at(&zeros, len).map_err(failed)
            }
            // On a full disk XFS refuses even what is there.
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && has_blocks(file, end) => Ok(()),
            answer => answer.map_err(failed),
        }
    }

    /// Whether a file reaches `end` and none of it is a hole.
    fn has_blocks(file: &File, end: u64) -> bool {
        file.metadata().is_ok_and(|about| about.len() >= end && about.blocks() * 512 >= about.len())
    }

    /// The raw call: the C library's would write to the file where the file system cannot allocate.
    fn fallocate(file: &File, start: u64, len: u64) -> io::Result<()> {
        loop {
            // SAFETY: the descriptor is open, and the call takes no pointers.
            #[allow(unsafe_code)]
            let answer =
                unsafe { libc::syscall(libc::SYS_fallocate, file.as_raw_fd(), 0, start as i64, len as i64) };
            if answer == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// The size past which growth would be a signal, not an error.
    fn file_size_limit() -> u64 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one rlimit through a live exclusive reference.
        #[allow(unsafe_code)]
        let answer = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
        if answer == 0 { limit.rlim_cur } else { u64::MAX }
    }
}

#[cfg(not(loom))]
pub use region::{Pad, SharedMemory, SharedRegion};

/// Declares a struct that may lie in shared memory: `repr(C)`, public fields, each of them an atomic, an array of
/// such, a [`Pad`] or another struct made by this macro.
///
/// Under loom, whose atomics are no plain memory, the struct lives on the heap and pads vanish.
#[macro_export]
macro_rules! shared_struct {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident : $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        // SAFETY: repr(C), and the function below compiles only if each field may lie in shared memory; none of
        // those has drop glue.
        #[cfg(not(loom))]
        #[allow(unsafe_code)]
        unsafe impl $crate::shared::SharedMemory for $name {}

        #[cfg(not(loom))]
        const _: fn() = || {
            const fn may_be_shared<T: $crate::shared::SharedMemory>() {}
            $(may_be_shared::<$type>();)*
            const { assert!(!::core::mem::needs_drop::<$name>()) };
        };

        #[cfg(loom)]
        impl $crate::sync::Zeroed for $name {
            fn zeroed() -> Self {
                $name { $($field: <$type as $crate::sync::Zeroed>::zeroed(),)* }
            }
        }
    };
}

/// Under loom: nothing.
#[cfg(loom)]
pub struct Pad<const N: usize>;

#[cfg(loom)]
impl<const N: usize> crate::sync::Zeroed for Pad<N> {
    fn zeroed() -> Self {
        Pad
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::fork::ParentFile;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    shared_struct! {
        /// A pair.
        pub struct Pair {
            /// One.
            pub one: AtomicU64,
            /// Unused.
            pub _pad: Pad<4>,
            /// Two.
            pub two: AtomicU32,
        }
    }

    fn handle(file: &tempfile::NamedTempFile) -> Arc<ParentFile> {
        let handle = file.reopen().expect("reopen");
        Arc::new(ParentFile::new(handle, file.path()).expect("register"))
    }

    fn region(reserve: usize) -> (tempfile::NamedTempFile, SharedRegion) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let region = SharedRegion::map(handle(&file), file.path(), reserve, 4096).expect("map");
        (file, region)
    }

    #[test]
    fn a_view_is_given_only_inside_the_known_length_and_aligned() {
        let (_file, region) = region(1 << 20);
        assert!(region.view::<Pair>(0).is_none(), "an empty file has no bytes");
        region.grow_to(0, 4096).expect("grow");
        assert!(region.view::<Pair>(4080).is_some());
        assert!(region.view::<Pair>(4088).is_none(), "past the end");
        assert!(region.view::<Pair>(4).is_none(), "not aligned");
        assert!(region.slice::<AtomicU64>(0, 512).is_some());
        assert!(region.slice::<AtomicU64>(0, 513).is_none());
        assert!(region.slice::<AtomicU64>(8, usize::MAX / 4).is_none(), "overflow");
    }

    #[test]
    fn two_mappings_of_one_file_see_each_others_stores_and_growth() {
        let (file, a) = region(1 << 20);
        let b = SharedRegion::map(handle(&file), file.path(), 1 << 20, 4096).expect("map");
        a.grow_to(0, 8192).expect("grow");
        a.view::<Pair>(4096).expect("known").two.store(7, Ordering::Release);
        assert!(b.view::<Pair>(4096).is_none(), "not known yet");
        b.refresh().expect("refresh");
        assert_eq!(b.view::<Pair>(4096).expect("known").two.load(Ordering::Acquire), 7);
    }

    #[test]
    fn growth_past_the_reserve_is_an_error() {
        let (_file, region) = region(8192);
        assert!(region.grow_to(4096, 8192).is_ok());
        assert!(region.grow_to(8192, 12288).is_err());
    }

    #[test]
    fn private_memory_is_zeroed_and_wholly_known() {
        let region = SharedRegion::anonymous(1 << 16).expect("map");
        assert_eq!(region.known_len(), 1 << 16);
        assert_eq!(region.view::<Pair>(65520).expect("known").one.load(Ordering::Relaxed), 0);
    }
}
