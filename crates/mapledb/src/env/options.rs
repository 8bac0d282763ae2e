//! What may be asked of an environment when it is created or opened.

use std::time::Duration;

use mapledb_os::{MapAdvice, Seam};

use crate::commit::Durability;
use crate::mvcc::Mode;
use crate::store::Verify;
use crate::tree::KeyOrder;
use crate::txn::ReaderPolicy;

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
    pub(super) fn writes(self) -> bool {
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
    pub(super) access: Access,
    pub(super) page_size: usize,
    pub(super) durability: Durability,
    pub(super) two_syncs: bool,
    pub(super) file_mode: u32,
    pub(super) quota_bytes: Option<u64>,
    pub(super) advice: MapAdvice,
    pub(super) reserve_bytes: u64,
    pub(super) verify: Verify,
    pub(super) relaxed_bytes: u64,
    pub(super) relaxed_time: Duration,
    pub(super) catch_sigbus: bool,
    pub(super) orders: Vec<KeyOrder>,
    pub(super) readers: ReaderPolicy,
    pub(super) seam: Seam,
    /// Whether this opening has made the file.
    pub(super) is_new: bool,
    /// Whether nobody else knows of the file.
    pub(super) is_draft: bool,
    /// Whether it is memory, which nobody can write to.
    pub(super) is_image: bool,
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
    /// [`Error::QuotaReached`](crate::Error::QuotaReached). None by default.
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
    /// that alone writes as much is durable when it returns, and so is one before which a file of more than twice what is in use
    /// has nearly run out of pages that may be reused.
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
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?; // now it is behind
    /// std::thread::sleep(Duration::from_millis(10));
    /// env.write()?; // looks after readers when it begins
    /// assert!(matches!(parked.unpark(), Err(Error::Evicted { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn readers(mut self, policy: ReaderPolicy) -> Options {
        self.readers = policy;
        self
    }

    /// Whether a page of the map that the system cannot deliver or store becomes an error, [`Error::Fault`](crate::Error::Fault), rather than
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
    /// in tables that record this name, and [`Env::check`](crate::Env::check) holds them against it. May be called for any number of orders. Who
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

    /// For a file that will be published under another name: it gets no lock file.
    pub(super) fn draft(mut self) -> Options {
        self.access = Access::Exclusive;
        self.is_draft = true;
        self
    }

    pub(super) fn mode(&self) -> Mode {
        match self.access {
            _ if self.is_draft => Mode::Draft,
            _ if self.is_image => Mode::Image,
            Access::Shared | Access::SharedReadOnly => Mode::Shared,
            Access::Frozen => Mode::Frozen,
            Access::Exclusive => Mode::Exclusive,
        }
    }
}
