//! What an environment and its transactions share in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mapledb_format::{HeadBody, Identity, Txnid};
use parking_lot::Mutex;

use super::batch::Changes;
use super::kept::Base;
use super::syncer::Syncer;
use super::overdue::{ReaderPolicy, Told};
use super::snapshots::{NamedPins, Naming};
use super::{ReadTxn, WriteTxn};
use mapledb_os::planted;
use crate::commit::{Committer, Durability, Leader, Recovery, TXNIDS_AHEAD_MAX, Written, cut_tail};
use crate::error::{Error, Result};
use crate::catalog::snapshots::Named;
use crate::mvcc::{Attached, Turn, Wait, WriterGuard};
use crate::space::{Draft, GrowthLimit};
use crate::store::Store;
use crate::tree::KeyOrder;

/// What holds for every transaction of an environment.
#[derive(Clone, Debug)]
pub(crate) struct CoreOptions {
    pub(crate) durability: Durability,
    pub(crate) two_syncs: bool,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) relaxed_bytes: u64,
    pub(crate) relaxed_time: Duration,
    pub(crate) is_read_only: bool,
    /// The file's flags that commits keep.
    pub(crate) compatible: u32,
    /// Named orders that whoever opened the file brought along.
    pub(crate) orders: Vec<KeyOrder>,
    /// What is done about readers that stay too long.
    pub(crate) readers: ReaderPolicy,
}

/// One attached file. It is open as long as the environment or one of its transactions is.
pub(crate) struct Core {
    pub(crate) store: Arc<Store>,
    pub(crate) attached: Attached,
    pub(crate) identity: Identity,
    pub(crate) options: CoreOptions,
    pub(crate) recovery: Recovery,
    pub(crate) syncer: Syncer,
    /// What this process has written since the last durable commit.
    written: Mutex<Written>,
    /// What is pinned by name, and the commit that changed that last.
    pub(super) named: Mutex<Option<(Txnid, Arc<[Named]>)>>,
    pub(super) told: Told,
    pub(super) changes: Changes,
    is_detached: Mutex<bool>,
    /// Whether a transaction has run out of room since the last one began.
    was_full: AtomicBool,
    /// What the last commit of this process leaves to the next.
    pub(super) kept: Mutex<Option<Base>>,
    /// Whether a transaction has committed a change.
    pub(super) has_committed: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        store: Arc<Store>,
        attached: Attached,
        identity: Identity,
        options: CoreOptions,
        recovery: Recovery,
    ) -> Core {
        let syncer = Syncer::new(options.relaxed_bytes, options.relaxed_time);
        Core {
            store,
            attached,
            identity,
            options,
            recovery,
            syncer,
            written: Mutex::default(),
            named: Mutex::default(),
            told: Told::default(),
            changes: Changes::default(),
            is_detached: Mutex::new(false),
            was_full: AtomicBool::new(false),
            kept: Mutex::default(),
            has_committed: AtomicBool::new(false),
        }
    }

    /// Begins a read of the published snapshot.
    ///
    /// Cost: no system call, no allocation and no lock in the steady state; the first read of a relaxed snapshot of
    /// another process takes note of it.
    #[inline]
    pub(crate) fn begin_read(self: &Arc<Core>) -> Result<ReadTxn> {
        ReadTxn::begin(self)
    }

    /// Begins a write when the writer lock is to be had; `None` if it is not in the time allowed.
    pub(crate) fn begin_write(self: &Arc<Core>, wait: Wait) -> Result<Option<WriteTxn>> {
        let Some(guard) = self.lock(wait)? else { return Ok(None) };
        self.begin_held(guard).map(Some)
    }

    /// Begins a write with the writer lock held.
    pub(super) fn begin_held(self: &Arc<Core>, guard: WriterGuard) -> Result<WriteTxn> {
        let was_full = self.was_full.swap(false, Ordering::Relaxed);
        if was_full {
            self.committer(&guard).sync_head()?;
        }
        let (draft, head, naming) = self.draft(&guard)?;
        let mut txn = WriteTxn::new(Arc::clone(self), guard, draft, head, naming);
        if txn.txnid().saturating_sub(self.attached.durable()?.txnid) > TXNIDS_AHEAD_MAX {
            // Recovery jumps past what can have been given out, from the last durable commit: here is one.
            txn.anchor()?;
        } else if was_full {
            // What the last commits gave up waits for the metas before them. The sync has replaced one if they were
            // relaxed, this replaces the other; it may find no room itself, and then there is none.
            let _ = txn.anchor();
            self.was_full.store(false, Ordering::Relaxed);
        } else {
            return Ok(txn);
        }
        txn.begin_anew()?;
        Ok(txn)
    }

    /// What a write transaction begins with: a draft on top of the newest head, that head, and what it does to names.
    pub(super) fn draft(self: &Arc<Core>, guard: &WriterGuard) -> Result<(Draft, Box<HeadBody>, Naming)> {
        let base = self.base(guard)?;
        let head = &base.head;
        self.watch(head.txnid.get());
        let view = self.store.view(head.txnid, head.pages_used, base.durable)?;
        let txnid = Txnid(self.attached.next_txnid(guard)?);
        let overdue = self.mind_readers()?;
        let named = self.named_pins(head)?;
        let pages_allocated = self.store.pages_within(self.attached.pages_allocated(guard)?)?;
        let NamedPins { pinned, .. } = &named;
        let pins = self.pins_beside(head, pinned)?;
        let (mut space, head) = self.space(base, pins, view.settled(), pages_allocated)?;
        space.keep_listed(pinned.clone());
        let shift = self.store.page_size().shift();
        let quota_pages = self.options.quota_bytes.map_or(u64::MAX, |bytes| bytes >> shift);
        let mut draft = Draft::new(Arc::clone(&self.store), view, txnid, space, quota_pages);
        draft.follows_unsynced = self.attached.durable()?.txnid < head.txnid.get();
        if let Some(reader) = overdue {
            draft.limit_growth(GrowthLimit {
                pages: pages_allocated.max(head.pages_used.get()),
                age_seconds: reader.age().as_secs(),
                pid: reader.pid,
                command: reader.command,
                txnid: reader.txnid,
            });
        }
        draft.poison_at_hand()?;
        Ok((draft, head, Naming::beginning_with(named)))
    }

    /// Takes note of an error of a transaction: after one for want of room the next begins with a sync, which may make some.
    pub(super) fn note_failure(&self, error: &Error) {
        if error.is_want_of_room() {
            self.was_full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nobody holds this but `asking`, and perhaps the thread that syncs: the environment is on its way out.
    pub(crate) fn is_going(asking: &Arc<Core>) -> bool {
        asking.syncer.with_holders(|by_thread| Arc::strong_count(asking) <= 1 + by_thread)
    }

    /// The writer lock, with whatever a dead owner left cleared up.
    pub(crate) fn lock(&self, wait: Wait) -> Result<Option<WriterGuard>> {
        if self.options.is_read_only {
            return Err(Error::ReadOnly);
        }
        self.check_not_within()?;
        let Some(mut guard) = self.attached.lock_writer(wait)? else { return Ok(None) };
        self.check_usable()?;
        if guard.took_over() {
            event!(warn, path = %self.store.file().path().display(), "took the writer lock over from a dead owner");
            self.committer(&guard).sync_head()?;
            guard.has_settled();
        }
        Ok(Some(guard))
    }

    /// Refuses to write after a fault in the maps and after a failed sync.
    pub(super) fn check_usable(&self) -> Result<()> {
        self.check_faults()?;
        match self.attached.is_poisoned()? {
            true => Err(Error::Poisoned { path: self.store.file().path().to_path_buf() }),
            false => Ok(()),
        }
    }

    /// Refuses to go on after a caught fault in the maps. Where stores went nowhere nobody may go on, in any process.
    #[inline]
    pub(super) fn check_faults(&self) -> Result<()> {
        self.store.check_faults().inspect_err(|_| {
            if self.store.has_lost_store() {
                // A refusal means that nothing is shared any more.
                let _ = self.attached.poison();
            }
        })
    }

    pub(crate) fn committer<'a>(&'a self, guard: &'a WriterGuard) -> Committer<'a> {
        Committer { leader: self.leader(), guard }
    }

    fn leader(&self) -> Leader<'_> {
        Leader {
            store: &self.store,
            attached: &self.attached,
            identity: self.identity,
            compatible: self.options.compatible,
            wants_two_syncs: self.options.two_syncs,
            written: &self.written,
        }
    }

    /// Waits until commit `txnid`, which has been appended, is durable. Where even the attempt to sync it fails, the
    /// environment is poisoned: the next writers would build on what may not come to be.
    pub(super) fn acknowledge(&self, txnid: u64) -> Result<()> {
        match self.wait_durable(txnid, Wait::Forever) {
            Ok(_) => {
                self.syncer.settled_up_to(txnid);
                Ok(())
            }
            Err(error @ (Error::Indeterminate { .. } | Error::SyncFailed { .. })) => Err(error),
            Err(cause) => {
                self.attached.poison()?;
                Err(Error::Indeterminate { txnid, cause: Box::new(cause) })
            }
        }
    }

    /// Waits until commit `txnid`, of whatever process, is durable; leads a flight if nobody else does. False if it is not in
    /// the time allowed, which a flight that has begun does not heed.
    ///
    /// Cost: none if it is durable; else one sync or two, or as much sleep.
    pub(super) fn wait_durable(&self, txnid: u64, wait: Wait) -> Result<bool> {
        if planted("unsynced_group") {
            return Ok(true);
        }
        loop {
            match self.attached.wait_durable(txnid, wait)? {
                Turn::Durable => return Ok(true),
                Turn::TimedOut => return Ok(false),
                Turn::Poisoned => {
                    let cause = Box::new(Error::Poisoned { path: self.store.file().path().to_path_buf() });
                    return Err(Error::Indeterminate { txnid, cause });
                }
                Turn::Lead(sync) => {
                    self.check_faults()?;
                    // The head that flies has not been published, for what is waited for has not (I16).
                    self.leader().lead(sync, false)?;
                }
            }
        }
    }

    /// Every snapshot whose pages must stay, those with names among them.
    pub(crate) fn every_pin(&self, head: &HeadBody) -> Result<Vec<Txnid>> {
        let named = self.named_pins(head)?.pinned;
        self.pins_beside(head, &named)
    }

    /// Every snapshot all of whose pages are there. Of one that has a name that is not so, whoever reads it: what recovery adopts is
    /// the tables of the snapshots that the head lists, not the free space and the list of names that their commits had.
    pub(crate) fn whole_pins(&self, head: &HeadBody) -> Result<Vec<Txnid>> {
        let named = self.named_pins(head)?.pinned;
        let metas = self.attached.durable()?.meta_txnids;
        let is_state = |pin: &Txnid| *pin == head.txnid || metas.contains(&pin.get());
        let mut pins = self.pins_beside(head, &[])?;
        pins.retain(|pin| is_state(pin) || !named.contains(pin));
        Ok(pins)
    }

    /// Every snapshot whose pages must stay: the named ones, readers', both metas', the durable one's, the one in flight, the
    /// published one's, the head's (I5). A head that was appended, and is none of these when the next writer begins, is never published: a
    /// later one is in its stead.
    fn pins_beside(&self, head: &HeadBody, named: &[Txnid]) -> Result<Vec<Txnid>> {
        let flight = self.attached.flight()?;
        let published = self.attached.published_txnid()?;
        let durable = self.attached.durable()?;
        let [published, head_pin] = match planted("unpinned_published") {
            true => [0, 0],
            false => [published, head.txnid.get()],
        };
        let own = [flight, published, durable.txnid, durable.meta_txnids[0], durable.meta_txnids[1], head_pin];
        let oldest_own = own.into_iter().filter(|txnid| *txnid > 0).min().unwrap_or(0);
        if planted("early_reuse") {
            return Ok(vec![head.txnid]);
        }
        let mut pinned = self.attached.pinned()?;
        if pinned.first().is_some_and(|oldest| *oldest < oldest_own) {
            // A reader lags behind; if its process is dead, nobody else would notice.
            self.attached.reap()?;
            pinned = self.attached.pinned()?;
        }
        pinned.extend(own.into_iter().filter(|txnid| *txnid > 0));
        Ok(pinned.into_iter().map(Txnid).chain(named.iter().copied()).collect())
    }

    /// Makes every commit durable that has been handed in.
    ///
    /// Cost: one sync or two; none if nothing is to be made durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.sync_within(Wait::Forever)
    }

    /// As [`Core::sync`], and nothing if the writer lock is not to be had in the time allowed.
    fn sync_within(&self, wait: Wait) -> Result<()> {
        if self.owes_nothing()? && !self.attached.is_poisoned()? {
            return Ok(());
        }
        match self.lock(wait)? {
            Some(guard) => self.committer(&guard).sync_head(),
            None => Ok(()),
        }
    }

    /// Whether every head that was appended, of whatever process, is durable and published.
    fn owes_nothing(&self) -> Result<bool> {
        let newest = self.attached.head()?.head.txnid();
        Ok(self.attached.has_landed(newest)?)
    }

    /// Makes commit `txnid`, a published one, durable if it is not, and with it what was published since. Answers whether it
    /// is; it is not if the writer lock is not to be had in the time allowed.
    ///
    /// Cost: one sync or two; none if it is durable by the time the writer lock is to be had.
    pub(super) fn sync_up_to(&self, txnid: u64, wait: Wait) -> Result<bool> {
        if self.attached.durable()?.txnid >= txnid {
            return Ok(true);
        }
        let Some(guard) = self.lock(wait)? else { return Ok(false) };
        if self.attached.durable()?.txnid < txnid {
            self.committer(&guard).sync_head()?;
        }
        Ok(true)
    }

    /// Takes note of a snapshot that a transaction begins on: if it is not durable, this process sees to it that it
    /// becomes so, should the one that committed it have died.
    ///
    /// Cost: a load; for the first transaction on a snapshot a little more.
    #[inline]
    pub(super) fn watch(self: &Arc<Core>, txnid: u64) {
        if !self.syncer.has_looked_at(txnid) {
            self.syncer.look_at(self, txnid);
        }
    }

    /// The published commit, if it is a relaxed one that is not durable and this process can make it so.
    pub(super) fn published_relaxed(&self) -> Option<u64> {
        if self.options.is_read_only {
            return None;
        }
        // In this order: a durable commit is noted as that before it is published.
        let published = self.attached.published_txnid().ok()?;
        (self.attached.durable().ok()?.txnid < published).then_some(published)
    }

    /// Goes: what this process owes is synced unless another's writer is in the way for too long; it is in the lock file
    /// all the same. The last process to go syncs everything and leaves a note that nothing is undone.
    pub(crate) fn detach(&self) -> Result<()> {
        let mut is_detached = self.is_detached.lock();
        if *is_detached || self.attached.is_forked() {
            return Ok(());
        }
        let mut synced = match self.syncer.owes_own() {
            true => self.sync_within(Wait::For(Attached::PATIENCE)),
            false => Ok(()),
        };
        let detaching = self.attached.begin_detach(Attached::PATIENCE)?;
        *is_detached = true;
        if detaching.is_last() && synced.is_ok() && !self.options.is_read_only {
            // Nobody else is there to write.
            synced = self.sync_within(Wait::For(Attached::PATIENCE));
        }
        synced = synced.and_then(|()| self.check_faults());
        if detaching.is_last() && synced.is_ok() && !self.attached.is_poisoned()? && self.owes_nothing()? {
            // Behind what the metas know may lie what a commit that was passed over wrote: that is kept for those who
            // rescue. And who has only read leaves the file as it was.
            if self.has_committed.load(Ordering::Relaxed) && self.recovery.passed_over.is_none() {
                // A file that stays longer than it must is no reason to fail.
                let _ = cut_tail(&self.store);
            }
            detaching.mark_clean();
        }
        synced
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if !self.attached.is_forked() {
            self.syncer.end();
        }
        // Whoever wants to know how it ended calls `close`.
        let _ = self.detach();
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("path", &self.store.file().path()).finish_non_exhaustive()
    }
}
