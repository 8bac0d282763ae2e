//! How an environment comes to be: the order in which a file is made and opened.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_format::{PageSize, ids};
use mapledb_os::{DataFile, Seam};

use super::options::{Access, Options};
use super::sharing::may_share;
use super::{Env, registry};
use crate::commit::{Found, Opener, Recovery, body_words, create, examine, recover};
use crate::error::{Error, Result};
use crate::mvcc::{Attach, Attached, First, Mode, NewHead, Start, Target, attach};
use crate::store::Store;
use crate::txn::{Core, CoreOptions};

impl Options {
    /// Creates the file at `path` and opens it. The file is made under no name or a temporary one, synced, and linked
    /// into place, so a crash leaves all of it or nothing.
    ///
    /// Cost: two syncs, of the file and of its directory, and those of [`Options::open`].
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a file, which is not touched.
    ///
    /// # Safety
    /// As [`Options::open`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, Error};
    ///
    /// let path = dir.path().join("new.maple");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().create(&path) }?;
    /// // SAFETY: as above.
    /// let again = unsafe { Env::options().create(&path) };
    /// assert!(matches!(again, Err(Error::Exists { .. })));
    /// assert!(env.path().ends_with("new.maple"));
    /// # Ok(())
    /// # }
    /// ```
    #[allow(unsafe_code)]
    pub unsafe fn create(mut self, path: impl AsRef<Path>) -> Result<Env> {
        self.make(path.as_ref())?;
        self.is_new = true;
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.open(path) }
    }

    /// Opens the file at `path`, or creates it if there is none.
    ///
    /// # Errors
    /// As [`Options::open`].
    ///
    /// # Safety
    /// As [`Options::open`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::Env;
    ///
    /// let path = dir.path().join("counter.maple");
    /// for visit in 0..3u64 {
    ///     // SAFETY: nothing but MapleDB writes to the file while it is open.
    ///     let env = unsafe { Env::options().open_or_create(&path) }?;
    ///     let mut txn = env.write()?;
    ///     assert_eq!(txn.main().next_sequence(1)?, visit);
    ///     txn.commit()?;
    ///     env.close()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[allow(unsafe_code)]
    pub unsafe fn open_or_create(mut self, path: impl AsRef<Path>) -> Result<Env> {
        let path = path.as_ref();
        if !path.try_exists().unwrap_or(true) {
            match self.make(path) {
                // Another process was faster: its file is as good.
                Ok(()) => self.is_new = true,
                Err(Error::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.open(path) }
    }

    fn make(&self, path: &Path) -> Result<()> {
        let size = PageSize::new(self.page_size).ok_or_else(|| Error::BadOption {
            what: format!("a page cannot have {} bytes: a power of two from 4096 to 65536 is needed", self.page_size),
        })?;
        create(path, size, self.file_mode, self.seam.clone()).map(|_| ())
    }

    /// Opens the file at `path`.
    ///
    /// Cost: a dozen system calls and the pages of the last commit's manifest, at most 2,048, whatever the size of the
    /// file; after an unclean end also two syncs, and the pages of relaxed commits that were left.
    ///
    /// # Errors
    /// The file is missing, no file of MapleDB, of another version, damaged in both metas, on a network file system
    /// (unless opened exclusively or frozen), or in use in a way that excludes this one; each has its own variant and
    /// says what to do.
    ///
    /// # Safety
    /// Values are handed out as slices of a shared map of the file. The caller promises that, as long as the
    /// environment is open, nothing but MapleDB writes to the data file or its lock file or truncates them, in this or
    /// any other process. Other processes that use MapleDB keep that promise.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, Error};
    ///
    /// let path = dir.path().join("notes.txt");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// assert!(matches!(unsafe { Env::options().open(&path) }, Err(Error::Missing { .. })));
    /// std::fs::write(&path, vec![b'x'; 1 << 17]).expect("a file for the example");
    /// // SAFETY: as above.
    /// let refused = unsafe { Env::options().open(&path) };
    /// assert!(matches!(refused, Err(Error::NotMapleDb { .. })));
    /// assert_eq!(std::fs::read(&path).expect("it is there")[0], b'x'); // untouched
    /// # Ok(())
    /// # }
    /// ```
    #[allow(unsafe_code)]
    pub unsafe fn open(self, path: impl AsRef<Path>) -> Result<Env> {
        self.open_as_it_is(self.open_file(path.as_ref())?)
    }

    /// Opens a file that no path leads to and nobody can write to.
    pub(super) fn open_image(mut self, file: DataFile) -> Result<Env> {
        self.access = Access::Frozen;
        self.is_image = true;
        self.open_as_it_is(file)
    }

    fn open_as_it_is(&self, file: DataFile) -> Result<Env> {
        registry::place_of(file.id()).with(|open| {
            if let Some((core, access)) = in_use(open.as_ref()) {
                return self.same(core, access);
            }
            let core = Arc::new(self.attach(file)?);
            *open = Some(registry::Entry { core: Arc::downgrade(&core), access: self.access });
            Ok(Env::of(core))
        })
    }

    fn same(&self, core: Arc<Core>, access: Access) -> Result<Env> {
        if access != self.access {
            return Err(Error::OpenDifferently {
                path: core.store.file().path().to_path_buf(),
                open: format!("{access:?}"),
                asked: format!("{:?}", self.access),
            });
        }
        Ok(Env::of(core))
    }

    fn open_file(&self, path: &Path) -> Result<DataFile> {
        let opened = match self.access.writes() {
            true => DataFile::open_read_write(path, self.seam.clone()),
            false => DataFile::open_read_only(path, self.seam.clone()),
        };
        opened.map_err(|error| match error.source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_path_buf() },
            _ => Error::Os(error),
        })
    }

    /// Attaches to the file, recovers it if nobody else has it open, and maps it.
    fn attach(&self, file: DataFile) -> Result<Core> {
        if self.mode() == Mode::Shared {
            may_share(file.path(), file.filesystem()?)?;
        }
        let Found { identity, page_size, compatible, is_read_only } = examine(&file)?;
        holds_both_metas(&file)?;
        let path = file.path().to_path_buf();
        let target = Target {
            data: file.as_fd(),
            path: &path,
            identity: identity.0,
            is_writable: self.access.writes(),
            seam: &self.seam,
        };
        let attached = attach(&target, self.mode(), Attached::PATIENCE)?;
        if matches!(&attached, Attach::First(first) if first.left_behind().is_poisoned) {
            // What is verified from now on is what the disk holds (I11).
            file.drop_cached(0, 0)?;
        }
        let store = Arc::new(Store::map(file, page_size, self.reserve_bytes, self.advice, self.verify, self.catch_sigbus)?);
        let opener = Opener {
            made_it: self.is_new,
            may_write: self.access.writes() && !is_read_only,
            is_shared: self.mode() == Mode::Shared,
        };
        let begun = match attached {
            Attach::Joined(attached) => join(attached),
            Attach::First(first) => begin(*first, &store, opener),
        };
        let (attached, recovery) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // It may have been a sync, and nobody is left to tell the next one that it failed (I11). Pages that are
                // mapped would stay cached.
                drop(store);
                let _ = DataFile::open_read_only(&path, Seam::unwatched()).and_then(|file| file.drop_cached(0, 0));
                return Err(error);
            }
        };
        store.heed(attached.poison_note());
        let options = CoreOptions {
            durability: self.durability,
            two_syncs: self.two_syncs,
            quota_bytes: self.quota_bytes,
            relaxed_bytes: self.relaxed_bytes,
            relaxed_time: self.relaxed_time,
            is_read_only: !self.access.writes() || is_read_only,
            compatible,
            orders: self.orders.clone(),
            readers: self.readers.clone(),
        };
        event!(info, path = %path.display(), ?recovery, "opened");
        Ok(Core::new(store, attached, identity, options, recovery))
    }
}

fn holds_both_metas(file: &DataFile) -> Result<()> {
    let found = file.stat()?.len_bytes;
    match found < ids::DATA_OFFSET {
        true => Err(Error::Truncated { path: file.path().to_path_buf(), expected: ids::DATA_OFFSET, found }),
        false => Ok(()),
    }
}

/// Joins those who have the file open.
fn join(attached: Attached) -> Result<(Attached, Recovery)> {
    let was_poisoned = attached.is_poisoned()?;
    Ok((attached, Recovery { was_clean: !was_poisoned, was_poisoned, ..Default::default() }))
}

/// Recovers a file that nobody else has open, and lets others in.
fn begin(first: First, store: &Store, opener: Opener) -> Result<(Attached, Recovery)> {
    let recovered = recover(store, Some(first.left_behind()), opener)?;
    let head = NewHead {
        body: body_words(&recovered.head),
        durable_txnid: recovered.durable_txnid,
        durable_meta_checksum: recovered.meta_checksum,
    };
    let attached = first.finish(&Start {
        head: &head,
        meta_txnids: recovered.meta_txnids,
        last_txnid: recovered.last_txnid,
        pages_allocated: recovered.pages_allocated,
    })?;
    if !recovered.recovery.was_clean {
        attached.counters().recoveries.add(1);
    }
    Ok((attached, recovered.recovery))
}

/// The environment that this process has open. One whose last handle has gone, and that a sync of its own holds on to yet, is
/// waited for rather than handed out again.
fn in_use(entry: Option<&registry::Entry>) -> Option<(Arc<Core>, Access)> {
    let entry = entry?;
    let deadline = Instant::now() + Attached::PATIENCE;
    loop {
        let core = entry.core.upgrade()?;
        if !Core::is_going(&core) || Instant::now() >= deadline {
            return Some((core, entry.access));
        }
        drop(core);
        std::thread::sleep(Duration::from_millis(1));
    }
}
