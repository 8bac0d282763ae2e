//! Read transactions: one snapshot, for as long as they live.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use mapledb_format::header::Kind;
use mapledb_format::overflow::OverflowRef;
use mapledb_format::{Extent, FormatError, HeadBody, PageSize, Pgno, SnapshotRecord, TableRecord, TreeRecord, Txnid};

use super::{Core, WriteTxn};
use crate::catalog;
use crate::commit::body_words;
use crate::error::{Error, Result};
use crate::mvcc::{Head, KeptHead, Place, Wait, WriterGuard};
use crate::pages::{PageRef, Pages};
use crate::store::View;
use crate::tree::KeyOrder;

/// Where the parts of a head lie in its first words: a meta's bytes from 56 on.
const PAGES_USED_WORD: usize = 2;
const DEFAULT_TABLE_WORD: usize = 3;
const DEFAULT_SEQUENCE_WORD: usize = 11;
const CATALOG_WORD: usize = 12;

/// How many lookups a thread keeps to itself before it hands them in, unless the transaction ends before.
const GETS_AT_ONCE: u64 = 256;

thread_local! {
    /// Lookups of this thread that are not handed in yet. In a thread that reads in several environments by turns a few may be
    /// counted in another one: they are for people who look on.
    static GETS: Cell<u64> = const { Cell::new(0) };
}

/// A snapshot to read: nothing in it changes, whatever is committed meanwhile, and it blocks nobody.
///
/// It keeps the environment open and the pages of its snapshot from being reused, so one that is held for long makes
/// the file grow by what is overwritten meanwhile. It may be used from many threads at once; values read through it
/// are slices of the map and live as long as the borrow of the transaction.
pub struct ReadTxn {
    pub(super) place: Place,
    /// `None` only while it is dropped or parked, and once it could not be refreshed: it pins nothing then.
    pub(super) kept: Option<Box<KeptHead>>,
    pub(super) view: View,
    pub(super) core: Arc<Core>,
}

impl ReadTxn {
    #[inline]
    pub(super) fn begin(core: &Arc<Core>) -> Result<ReadTxn> {
        let (place, kept) = core.attached.pin_slot()?;
        core.watch(kept.head.txnid());
        match view_of(core, &kept.head) {
            Ok(view) => Ok(ReadTxn { place, kept: Some(kept), view, core: Arc::clone(core) }),
            Err(error) => {
                core.attached.release_slot(place, kept, 0);
                Err(error)
            }
        }
    }

    /// Pins the snapshot of `record`. Whether it may be read is for the caller to see to, after this.
    pub(super) fn begin_at(core: &Arc<Core>, record: &SnapshotRecord) -> Result<ReadTxn> {
        let mut body = HeadBody::empty(record.txnid, record.pages_used);
        body.default_table = record.default_table;
        body.default_sequence = record.default_sequence;
        body.catalog = record.catalog;
        let words = body_words(&body);
        let head = Head {
            words: std::array::from_fn(|at| words[at]),
            durable_txnid: core.attached.durable()?.txnid,
            ..Head::NONE
        };
        let (place, kept) = core.attached.pin_slot_at(head)?;
        match view_of(core, &kept.head) {
            Ok(view) => Ok(ReadTxn { place, kept: Some(kept), view, core: Arc::clone(core) }),
            Err(error) => {
                core.attached.release_slot(place, kept, 0);
                Err(error)
            }
        }
    }

    /// Begins a read of the newest head, published or not, for whoever holds the writer lock.
    pub(super) fn of_newest(core: &Arc<Core>, guard: &WriterGuard) -> Result<ReadTxn> {
        let (place, kept) = core.attached.pin_newest(guard)?;
        let view = view_of(core, &kept.head).inspect_err(|_| core.attached.unpin_slot(place))?;
        Ok(ReadTxn { place, kept: Some(kept), view, core: Arc::clone(core) })
    }

    /// Moves on to the newest head, published or not, for whoever holds the writer lock. There are no clones.
    pub(super) fn move_to_newest(&mut self, guard: &WriterGuard) -> Result<()> {
        let Some(kept) = &mut self.kept else { return Err(Error::TxnUnusable) };
        self.core.attached.repin_newest(guard, self.place, kept)?;
        self.view = view_of(&self.core, &kept.head)?;
        Ok(())
    }

    /// The snapshot's number: that of the commit it shows.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let before = env.read()?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// let made = txn.commit()?;
    /// assert!(before.txnid() < made);
    /// assert_eq!(env.read()?.txnid(), made);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn txnid(&self) -> u64 {
        self.view.txnid.get()
    }

    /// Moves on to the latest published snapshot; answers whether there was a newer one. What was read from the one before
    /// must be let go first, as its borrows ask. Clones stay where they are.
    ///
    /// Cost: a load if there is none newer; else less than a new transaction.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("news.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut reader = env.read()?;
    /// let before = reader.clone(); // the same snapshot
    /// let mut txn = env.write()?;
    /// txn.main().put(b"news", b"rain")?;
    /// txn.commit()?;
    ///
    /// assert!(reader.refresh()?);
    /// assert!(!reader.refresh()?);
    /// assert_eq!(reader.main()?.len(), 1);
    /// assert_eq!(before.main()?.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::AfterFork`] and [`Error::Fault`], which leave it where it was. When shared memory holds nonsense; it pins
    /// nothing then, and every further call is [`Error::TxnUnusable`].
    #[inline]
    pub fn refresh(&mut self) -> Result<bool> {
        self.check_process()?;
        match self.core.attached.is_latest(self.head()) {
            true => Ok(false),
            false => self.move_on().map(|()| true),
        }
    }

    fn move_on(&mut self) -> Result<()> {
        let Some(kept) = self.kept.take() else { return Err(Error::TxnUnusable) };
        self.core.attached.unpin_slot(self.place);
        self.pin_again(kept)
    }

    /// Pins the latest snapshot, where none is pinned.
    #[inline]
    fn pin_again(&mut self, mut kept: Box<KeptHead>) -> Result<()> {
        self.place = self.core.attached.pin_slot_again(self.place, &mut kept)?;
        self.core.watch(kept.head.txnid());
        match view_of(&self.core, &kept.head) {
            Ok(view) => self.view = view,
            Err(error) => {
                self.core.attached.unpin_slot(self.place);
                return Err(error);
            }
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// Lets the snapshot go and keeps what makes the next read cheap: for a reader that rests between two requests and must
    /// hold no pages meanwhile.
    ///
    /// Cost: as a drop; no system call, no allocation.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("requests.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut resting = env.read()?.reset();
    /// for request in 0..3u8 {
    ///     let txn = resting.renew()?; // the latest snapshot
    ///     assert_eq!(txn.main()?.get(&[request])?, None);
    ///     resting = txn.reset();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn reset(mut self) -> ResetTxn {
        let kept = self.kept.take();
        if kept.is_some() {
            self.core.attached.unpin_slot(self.place);
        }
        ResetTxn { kept, txn: self }
    }

    /// Begins a write on this very snapshot if nobody has committed since, of any process; `None` if somebody has. Waits
    /// for whoever writes now. This transaction stays as it is either way.
    ///
    /// A commit without a change of yours counts, too: [`Env::trim`](crate::Env::trim) makes such ones.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("seats.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// fn reserve(env: &mapledb::Env, seat: &[u8]) -> mapledb::Result<bool> {
    ///     loop {
    ///         let txn = env.read()?; // the search blocks nobody
    ///         if txn.main()?.get(seat)?.is_some() {
    ///             return Ok(false);
    ///         }
    ///         if let Some(mut txn) = txn.upgrade()? {
    ///             txn.main().put(seat, b"taken")?;
    ///             txn.commit()?;
    ///             return Ok(true);
    ///         }
    ///     }
    /// }
    /// assert!(reserve(&env, b"12 A")?);
    /// assert!(!reserve(&env, b"12 A")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Env::write`](crate::Env::write).
    pub fn upgrade(&self) -> Result<Option<WriteTxn>> {
        self.check_process()?;
        let core = &self.core;
        let is_newest = || Ok::<_, Error>(core.attached.head()?.head.txnid() == self.txnid());
        if core.options.is_read_only {
            return Err(Error::ReadOnly);
        }
        while is_newest()? {
            let Some(guard) = core.lock(Wait::Forever)? else { continue };
            return if is_newest()? { core.begin_held(guard).map(Some) } else { Ok(None) };
        }
        Ok(None)
    }

    /// Whether everything that this transaction has handed out so far was what the file holds. Only of use with
    /// [`Options::catch_sigbus`](crate::Options::catch_sigbus): every other call asks this too.
    ///
    /// Cost: a load or two.
    ///
    /// # Errors
    /// [`Error::Fault`] if a page of the map has failed since the transaction began; [`Error::AfterFork`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// let env = unsafe { mapledb::Env::options().catch_sigbus(true).create(dir.path().join("k.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"total", b"42")?;
    /// txn.commit()?;
    /// let txn = env.read()?;
    /// let total = txn.main()?.get(b"total")?.map(<[u8]>::to_vec);
    /// txn.check_faults()?; // what was copied is what the file holds
    /// assert_eq!(total.as_deref(), Some(&b"42"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_faults(&self) -> Result<()> {
        self.check_process()
    }

    /// Refused in a forked child: the pin belongs to the parent.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.core.attached.is_forked() {
            return Err(Error::AfterFork);
        }
        if self.kept.is_none() {
            return Err(Error::TxnUnusable);
        }
        self.view.still_sound(&self.core.store)
    }

    /// Counts the thread's lookups in the reader slot.
    #[cold]
    fn hand_in_gets(&self) {
        self.core.attached.count_gets(self.place, GETS.take());
    }

    fn head(&self) -> &Head {
        self.kept.as_ref().map_or(&Head::NONE, |kept| &kept.head)
    }

    fn tree_at(&self, word: usize) -> Result<TreeRecord> {
        let mut bytes = [0; 64];
        for (to, from) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&self.head().words[word..]) {
            *to = from.to_le_bytes();
        }
        TreeRecord::decode(&bytes).map_err(|cause| Error::BadHead { cause })
    }

    #[inline]
    pub(crate) fn main_tree(&self) -> Result<TreeRecord> {
        self.check_process()?;
        self.tree_at(DEFAULT_TABLE_WORD)
    }

    pub(crate) fn main_sequence(&self) -> u64 {
        self.head().words[DEFAULT_SEQUENCE_WORD]
    }

    pub(crate) fn catalog_tree(&self) -> Result<TreeRecord> {
        self.check_process()?;
        self.tree_at(CATALOG_WORD)
    }

    /// Pages of the snapshot's file as they are, unverified.
    pub(crate) fn raw_pages(&self, first: Pgno, pages: u64) -> Result<&[u8]> {
        self.view.raw(&self.core.store, first, pages)
    }

    /// The named orders that whoever opened the environment brought along.
    pub(crate) fn known_orders(&self) -> &[KeyOrder] {
        &self.core.options.orders
    }

    /// Whether a page is in memory.
    pub(crate) fn is_in_memory(&self, pgno: Pgno) -> bool {
        self.core.store.is_in_memory(self.view.generation, pgno)
    }

    /// Brings pages into memory.
    pub(crate) fn make_present(&self, pages: Extent) -> Result<()> {
        self.core.store.make_present(self.view.generation, pages)
    }

    /// Asks the disk for pages, those past the snapshot's file left out.
    pub(crate) fn read_ahead(&self, pages: Extent) {
        self.view.read_ahead(&self.core.store, pages);
    }

    /// Drops pages from memory that are not dirty and that no other map holds.
    pub(crate) fn let_go(&self, pages: Extent) -> Result<()> {
        self.core.store.forget(self.view.generation, pages)
    }

    pub(crate) fn find_table(&self, name: &str) -> Result<Option<TableRecord>> {
        catalog::find(self, &self.catalog_tree()?, name)
    }
}

/// The window of the snapshot that `head` describes.
#[inline]
fn view_of(core: &Core, head: &Head) -> Result<View> {
    let Some(pages_used) = Pgno::new(head.words[PAGES_USED_WORD]) else { return Err(too_many_pages()) };
    core.store.view(Txnid(head.txnid()), pages_used, Txnid(head.durable_txnid))
}

#[cold]
fn too_many_pages() -> Error {
    let cause = FormatError::BadMeta(mapledb_format::MetaFault::BadField("it uses more pages than there are"));
    Error::BadHead { cause }
}

/// A read transaction at rest: it pins no snapshot and holds no pages, but the environment open. See [`ReadTxn::reset`].
pub struct ResetTxn {
    kept: Option<Box<KeptHead>>,
    /// Pins nothing and has no head: what is left is the way to another.
    txn: ReadTxn,
}

impl ResetTxn {
    /// Begins a read of the latest published snapshot.
    ///
    /// Cost: less than [`Env::read`](crate::Env::read); no system call, no allocation, no lock.
    ///
    /// # Errors
    /// As [`Env::read`](crate::Env::read).
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut resting = env.read()?.reset();
    /// for n in 0..3u8 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&[n], b"")?;
    ///     txn.commit()?;
    ///     let txn = resting.renew()?;
    ///     assert_eq!(txn.main()?.len(), u64::from(n) + 1);
    ///     resting = txn.reset();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn renew(mut self) -> Result<ReadTxn> {
        match self.kept {
            Some(kept) => self.txn.pin_again(kept)?,
            None => return self.txn.core.begin_read(),
        }
        Ok(self.txn)
    }
}

impl std::fmt::Debug for ResetTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetTxn").finish_non_exhaustive()
    }
}

impl Clone for ReadTxn {
    /// Another handle on the same snapshot; it shares the reader slot.
    fn clone(&self) -> ReadTxn {
        if self.kept.is_some() {
            self.core.attached.share_slot(self.place);
        }
        ReadTxn { place: self.place, kept: self.kept.clone(), view: self.view, core: Arc::clone(&self.core) }
    }
}

impl Drop for ReadTxn {
    #[inline]
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.core.attached.release_slot(self.place, kept, GETS.take());
        }
    }
}

impl std::fmt::Debug for ReadTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadTxn").field("txnid", &self.txnid()).finish_non_exhaustive()
    }
}

impl Pages for ReadTxn {
    #[inline(always)]
    fn page_size(&self) -> PageSize {
        self.core.store.page_size()
    }

    #[inline(always)]
    fn page(&self, at: PageRef) -> Result<&[u8]> {
        self.view.page(&self.core.store, at)
    }

    fn run(&self, at: &OverflowRef) -> Result<&[u8]> {
        self.view.run(&self.core.store, at)
    }

    fn born(&self, at: PageRef) -> Result<Txnid> {
        self.view.born(&self.core.store, at)
    }

    #[inline(always)]
    fn known_node(&self, at: PageRef, kind: Kind, level: u8) -> Option<&[u8]> {
        self.view.known_node(&self.core.store, at, kind, level)
    }

    #[inline(always)]
    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        self.view.prefetch(&self.core.store, pgno, len_bytes);
    }

    fn will_need(&self, pages: &[Pgno]) {
        self.view.will_need(&self.core.store, pages);
    }

    #[inline(always)]
    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        self.view.prefetch_within(&self.core.store, pgno, bytes);
    }

    #[inline(always)]
    fn count_gets(&self, count: usize) {
        let gets = GETS.get() + count as u64;
        GETS.set(gets);
        if gets >= GETS_AT_ONCE {
            self.hand_in_gets();
        }
    }

    #[inline(always)]
    fn still_sound(&self) -> Result<()> {
        self.view.still_sound(&self.core.store)
    }
}
