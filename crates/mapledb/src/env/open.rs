//! How an environment comes to be: options, and the order in which a file is opened.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_format::{PageSize, ids};
use mapledb_os::{DataFile, MapAdvice, Seam};

use super::sharing::may_share;
use super::{Env, registry};
use crate::commit::{Durability, Found, Opener, Recovery, body_words, create, examine, recover};
use crate::error::{Error, Result};
use crate::mvcc::{Attach, Attached, First, Mode, NewHead, Start, Target, attach};
use crate::store::{Store, Verify};
use crate::tree::KeyOrder;
use crate::txn::{Core, CoreOptions, ReaderPolicy};

/// Who else may have the file open, and what this handle may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Any number of processes read and write. Needs a writable lock file beside the data file.
    #[default]
    Shared,
    /// As [`Access::Shared`], with the data file opened read-only. The lock file must be writable all the same,
    /// since a reader pins its snapshot there.
    SharedReadOnly,
    /// Nobody writes, which a lock on the data file sees to; no lock file is used. For read-only media, and for users
    /// who may write nothing. Relaxed commits that are not durable yet are not seen.
    Frozen,
    /// This process alone, on a network file system too. As in shared use, a lock file beside the data file holds what
    /// outlives the process: relaxed commits that are not durable yet. Where it can be neither opened for writing nor
    /// created the opening is refused.
    Exclusive,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Access::Shared | Access::Exclusive)
    }
}

/// Options of an environment. The defaults suit nearly everybody.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use std::time::Duration;
///
/// use mapledb::{Access, Durability, Env, MapAdvice, ReaderPolicy, Verify};
///
/// let options = Env::options()
///     .page_size(8192) // of a file to be created
///     .file_mode(0o640)
///     .access(Access::Exclusive) // nobody else may have it open
///     .durability(Durability::Group) // unless a transaction says otherwise
///     .relaxed_bound(16 << 20, Duration::from_millis(200))
///     .two_syncs(false)
///     .quota_bytes(1 << 30)
///     .reserve_bytes(1 << 34)
///     .advice(MapAdvice::Random)
///     .verify(Verify::FirstTouch)
///     .catch_sigbus(true)
///     .readers(ReaderPolicy::new().age_max(Duration::from_secs(600)).evict_parked());
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { options.open_or_create(dir.path().join("all.maple")) }?;
/// assert_eq!(env.page_size(), 8192);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    access: Access,
    page_size: usize,
    durability: Durability,
    two_syncs: bool,
    file_mode: u32,
    quota_bytes: Option<u64>,
    advice: MapAdvice,
    reserve_bytes: u64,
    verify: Verify,
    relaxed_bytes: u64,
    relaxed_time: Duration,
    catch_sigbus: bool,
    orders: Vec<KeyOrder>,
    readers: ReaderPolicy,
    seam: Seam,
    /// Whether this opening has made the file.
    is_new: bool,
    /// Whether nobody else knows of the file.
    is_draft: bool,
    /// Whether it is memory, which nobody can write to.
    is_image: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            access: Access::Shared,
            page_size: 4096,
            durability: Durability::Sync,
            two_syncs: false,
            file_mode: 0o666,
            quota_bytes: None,
            advice: MapAdvice::Random,
            reserve_bytes: 0,
            verify: Verify::FirstTouch,
            relaxed_bytes: 64 << 20,
            relaxed_time: Duration::from_secs(1),
            catch_sigbus: false,
            orders: Vec::new(),
            readers: ReaderPolicy::default(),
            seam: Seam::unwatched(),
            is_new: false,
            is_draft: false,
            is_image: false,
        }
    }
}

impl Options {
    /// Who else may have the file open. [`Access::Shared`] unless said otherwise.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Access, Env, Error};
    ///
    /// let path = dir.path().join("map.maple");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// unsafe { Env::options().create(&path) }?.close()?;
    /// // SAFETY: as above.
    /// let env = unsafe { Env::options().access(Access::Frozen).open(&path) }?;
    /// assert!(env.read()?.main()?.is_empty());
    /// assert!(matches!(env.write(), Err(Error::ReadOnly)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn access(mut self, access: Access) -> Options {
        self.access = access;
        self
    }

    /// The size of a page in bytes, of a file to be created: a power of two from 4,096 (the default) to 65,536.
    ///
    /// A file that is opened keeps what it has. Keys may be a quarter of a page long; larger pages mean fewer levels, and more bytes
    /// written by a commit of few changes.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, Error};
    ///
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().page_size(16384).create(dir.path().join("wide.maple")) }?;
    /// assert_eq!((env.page_size(), env.key_max()), (16384, 4096));
    /// // SAFETY: as above.
    /// let refused = unsafe { Env::options().page_size(5000).create(dir.path().join("odd.maple")) };
    /// assert!(matches!(refused, Err(Error::BadOption { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn page_size(mut self, bytes: usize) -> Options {
        self.page_size = bytes;
        self
    }

    /// How far a commit gets before it is published, unless its transaction says otherwise.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Whether every durable commit syncs its pages before it stores its meta, rather than trusting a manifest to
    /// tell at recovery. Twice the syncs; off by default.
    pub fn two_syncs(mut self, two_syncs: bool) -> Options {
        self.two_syncs = two_syncs;
        self
    }

    /// The permissions of a file to be created, before the process's umask: 0o666 unless said otherwise.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// let path = dir.path().join("private.maple");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { mapledb::Env::options().file_mode(0o600).create(&path) }?;
    /// let mode = std::fs::metadata(&path).expect("it was made").permissions().mode();
    /// assert_eq!(mode & 0o777, 0o600);
    /// # Ok(())
    /// # }
    /// ```
    pub fn file_mode(mut self, mode: u32) -> Options {
        self.file_mode = mode;
        self
    }

    /// The most bytes the file may grow to through this environment; a commit that needs more is refused with
    /// [`Error::QuotaReached`]. None by default.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use mapledb::{Env, Error};
    ///
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().quota_bytes(4 << 20).create(dir.path().join("small.maple")) }?;
    /// let mut txn = env.write()?;
    /// let put = txn.main().put(b"film", &vec![7; 8 << 20]);
    /// assert!(matches!(put.and_then(|()| txn.commit().map(drop)), Err(Error::QuotaReached { bytes: 4_194_304 })));
    /// assert!(env.read()?.main()?.is_empty()); // the last commit stands
    /// # Ok(())
    /// # }
    /// ```
    pub fn quota_bytes(mut self, bytes: u64) -> Options {
        self.quota_bytes = Some(bytes);
        self
    }

    /// How the map will be read. [`MapAdvice::Random`] by default, which keeps a store from dirtying more than its
    /// page.
    pub fn advice(mut self, advice: MapAdvice) -> Options {
        self.advice = advice;
        self
    }

    /// How many bytes of address space to map ahead of the file. By default enough that growth never needs a second
    /// map, and little enough for 64 environments in a process.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { mapledb::Env::options().reserve_bytes(1 << 30).create(dir.path().join("r.maple")) }?;
    /// assert!(env.info()?.reserve_bytes <= 1 << 30); // less, where the system grants less
    /// # Ok(())
    /// # }
    /// ```
    pub fn reserve_bytes(mut self, bytes: u64) -> Options {
        self.reserve_bytes = bytes;
        self
    }

    /// When checksums are verified. [`Verify::FirstTouch`] by default.
    pub fn verify(mut self, verify: Verify) -> Options {
        self.verify = verify;
        self
    }

    /// The bound of relaxed commits: a sync begins when they have written `bytes`, or `time` after the first of them. One
    /// that alone writes as much is durable when it returns.
    /// 64 MiB and one second by default. `time` holds as well for those that another process left behind, from the first
    /// transaction that this one begins after them.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use std::time::Duration;
    ///
    /// use mapledb::{Durability, Env};
    ///
    /// let options = Env::options().durability(Durability::Relaxed).relaxed_bound(1 << 20, Duration::from_millis(5));
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { options.create(dir.path().join("log.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"line", b"seen at once")?;
    /// let txnid = txn.commit()?;
    /// while env.info()?.durable_txnid < txnid {
    ///     std::thread::sleep(Duration::from_millis(5)); // and durable soon
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn relaxed_bound(mut self, bytes: u64, time: Duration) -> Options {
        self.relaxed_bytes = bytes;
        self.relaxed_time = time;
        self
    }

    /// What writers do about readers that stay too long. Nothing by default. It holds for transactions of this environment; if
    /// the file is open in this process already, it stays as it was opened.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// use std::time::Duration;
    ///
    /// use mapledb::{Env, Error, ReaderPolicy};
    ///
    /// let policy = ReaderPolicy::new().age_max(Duration::ZERO).evict_parked();
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { Env::options().readers(policy).create(dir.path().join("strict.maple")) }?;
    /// let parked = env.read()?.park()?;
    /// std::thread::sleep(Duration::from_millis(1));
    /// env.write()?; // looks after readers when it begins
    /// assert!(matches!(parked.unpark(), Err(Error::Evicted { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn readers(mut self, policy: ReaderPolicy) -> Options {
        self.readers = policy;
        self
    }

    /// Whether a page of the map that the system cannot deliver or store becomes an error, [`Error::Fault`], rather than
    /// a `SIGBUS` that ends the process. Off by default.
    ///
    /// The medium failing under the map, another program cutting the file off, and a full disk under a copy by reflink
    /// raise that signal. With this option the process gets a handler for it, which stays until it ends, passes
    /// everything that does not concern a map of such an environment on to the handler there was before, and puts a page
    /// of zeros where the failing one was. **So bytes that were handed out already may read as zeros.** The next call of
    /// the transaction says that this has happened; where it matters whether a value was right, make another call after
    /// its use, such as [`ReadTxn::check_faults`](crate::ReadTxn::check_faults).
    ///
    /// After a fault this process does not write to the environment any more, and after one in a write transaction no
    /// process does: close it in all of them and open it again. Reads that begin later go on with what can be verified.
    /// A handler installed later by somebody else must pass on what is not its own. The lock file's map is left out. If
    /// the file is open in this process already, it stays as it was opened.
    pub fn catch_sigbus(mut self, catch: bool) -> Options {
        self.catch_sigbus = catch;
        self
    }

    /// Brings a named order along for whoever knows tables by name alone: [`Table::untyped`](crate::Table::untyped) finds keys
    /// in tables that record this name, and [`Env::check`] holds them against it. May be called for any number of orders. Who
    /// names the order with the table needs none of this. If the file is open in this process already, it stays as it was
    /// opened.
    ///
    /// ```
    /// # use mapledb::{Env, KeyOrder, NamedOrder, Table};
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// struct ByLength;
    ///
    /// impl NamedOrder for ByLength {
    ///     const NAME: &'static str = "by-length/1";
    ///
    ///     fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    ///         a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    ///     }
    /// }
    ///
    /// let options = Env::options().order(KeyOrder::named::<ByLength>());
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { options.create(dir.path().join("words.maple")) }?;
    /// let mut txn = env.write()?;
    /// let words = Table::<[u8], [u8]>::new("words").in_order(KeyOrder::named::<ByLength>());
    /// txn.open_table(&words)?.put(b"maple", b"tree")?;
    /// txn.commit()?;
    ///
    /// assert_eq!(env.read()?.table(&Table::untyped("words"))?.get(b"maple")?, Some(&b"tree"[..]));
    /// assert!(env.check(|_| ())?.orders_missing.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn order(mut self, order: KeyOrder) -> Options {
        self.orders.push(order);
        self
    }

    /// Lets an observer see, fail or cut off every effect on the data file.
    #[cfg(feature = "seam")]
    pub fn seam(mut self, seam: Seam) -> Options {
        self.seam = seam;
        self
    }

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

    /// For a file that will be published under another name: it gets no lock file.
    pub(super) fn draft(mut self) -> Options {
        self.access = Access::Exclusive;
        self.is_draft = true;
        self
    }

    fn mode(&self) -> Mode {
        match self.access {
            _ if self.is_draft => Mode::Draft,
            _ if self.is_image => Mode::Image,
            Access::Shared | Access::SharedReadOnly => Mode::Shared,
            Access::Frozen => Mode::Frozen,
            Access::Exclusive => Mode::Exclusive,
        }
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
