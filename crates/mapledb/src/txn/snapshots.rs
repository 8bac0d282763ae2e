//! Named snapshots in transactions: making, dropping and opening them, and what they pin.
//!
//! A snapshot is of the commit that makes it, not of the state that its transaction began with. So name and state become
//! durable together, no name can be left on a head that was never to stand, and the commit's own txnid is all there is to
//! pin: what it reaches is free of holes from before (I1, I6). Whoever wants the state before a change makes the snapshot by a
//! commit of its own first.

use std::sync::Arc;

use mapledb_format::{HeadBody, SnapshotRecord, Txnid};
use mapledb_os::process;

use super::{Core, ReadTxn, WriteTxn};
use crate::catalog::snapshots::{self, Named};
use crate::commit::decode_head;
use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::store::Snapshot;

/// What the newest head pins by name.
#[derive(Debug, Default)]
pub(crate) struct NamedPins {
    /// Snapshots whose pages must stay, dropped ones among them.
    pub(crate) pinned: Vec<Txnid>,
    /// Dropped ones that pin no more, whose records can go.
    pub(super) gone: Vec<Named>,
}

/// The latest state and every snapshot that it lists, pinned.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The latest state.
    pub(crate) txn: ReadTxn,
    /// Its head.
    pub(crate) head: HeadBody,
    /// The snapshots, by name.
    pub(crate) named: Vec<(String, SnapshotRecord)>,
    _pins: Vec<ReadTxn>,
}

/// What a write transaction does to named snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Naming {
    /// Names for the state it commits.
    new: Vec<String>,
    /// Records that its commit takes out.
    gone: Vec<Named>,
    /// Whether it has dropped one.
    has_dropped: bool,
}

impl Naming {
    pub(super) fn beginning_with(pins: NamedPins) -> Naming {
        Naming { gone: pins.gone, ..Naming::default() }
    }

    /// Whether the running transaction makes a snapshot of this name.
    pub(super) fn is_new(&self, name: &str) -> bool {
        self.new.iter().any(|new| new == name)
    }
}

impl Core {
    /// What `head`, the newest, pins by name. To be asked before readers' pins are.
    ///
    /// A drop takes effect once it is in both metas and published: then no state that lists the snapshot may stand, and who opens
    /// it by name finds the name gone when he looks again (see [`Core::read_snapshot`]).
    ///
    /// Cost: none without snapshots; else a read of their records once they have changed.
    pub(crate) fn named_pins(&self, head: &HeadBody) -> Result<NamedPins> {
        if head.snapshots.is_empty() {
            return Ok(NamedPins::default());
        }
        let named = self.named(head)?;
        let (durable, published) = (self.attached.durable()?, self.attached.published_txnid()?);
        let everywhere = durable.meta_txnids.into_iter().fold(published, u64::min);
        let mut pins = NamedPins::default();
        for one in named.iter() {
            match one.dropped_in {
                Some(dropped_in) if dropped_in.get() <= everywhere => pins.gone.push(*one),
                _ => pins.pinned.push(one.txnid),
            }
        }
        Ok(pins)
    }

    /// The records of a head, as they were read when they had changed last.
    fn named(&self, head: &HeadBody) -> Result<Arc<[Named]>> {
        let mut known = self.named.lock();
        if let Some((changed_in, named)) = &*known
            && *changed_in == head.snapshots_in
        {
            return Ok(Arc::clone(named));
        }
        let durable = Txnid(self.attached.durable()?.txnid);
        let view = self.store.view(head.txnid, head.pages_used, durable)?;
        let named: Arc<[Named]> = snapshots::named(&Snapshot { store: &self.store, view }, &head.snapshots)?.into();
        *known = Some((head.snapshots_in, Arc::clone(&named)));
        Ok(named)
    }

    /// A read of the latest published snapshot, with its whole head.
    pub(crate) fn read_with_head(self: &Arc<Core>) -> Result<(ReadTxn, HeadBody)> {
        loop {
            let txn = self.begin_read()?;
            let head = decode_head(&self.attached.published()?.head)?;
            // The pin holds the snapshot; the record was copied after it and must be the same.
            if head.txnid.get() == txn.txnid() {
                return Ok((txn, head));
            }
        }
    }

    /// Begins a read of the snapshot called `name`.
    ///
    /// Cost: two reads of the latest state, and one or two descents of the tree of snapshots.
    pub(crate) fn read_snapshot(self: &Arc<Core>, name: &str) -> Result<ReadTxn> {
        loop {
            let (latest, head) = self.read_with_head()?;
            let Some(record) = snapshots::find(&latest, &head.snapshots, name)? else {
                return Err(Error::SnapshotMissing { name: name.to_string() });
            };
            if let Some(txn) = self.read_listed(name, &record, &latest, &head)? {
                return Ok(txn);
            }
        }
    }

    /// A read of the latest state with every snapshot that it lists, none of whose pages is used again while it lives.
    ///
    /// Cost: as [`Core::read_snapshot`] for each.
    pub(crate) fn read_whole(self: &Arc<Core>) -> Result<Whole> {
        loop {
            let (txn, head) = self.read_with_head()?;
            let named = snapshots::list(&txn, &head.snapshots)?;
            let pin = |(name, record): &(String, SnapshotRecord)| self.read_listed(name, record, &txn, &head);
            let pins: Option<Vec<ReadTxn>> = named.iter().map(pin).collect::<Result<_>>()?;
            if let Some(pins) = pins {
                return Ok(Whole { txn, head, named, _pins: pins });
            }
        }
    }

    /// Begins a read of a snapshot that `latest`, whose head is `head`, lists; `None` if it may have been dropped meanwhile.
    ///
    /// Its txnid is pinned; then, past a fence, it is looked whether what is published still lists it. A writer reuses the
    /// snapshot's pages only when a state without it has been published, and looks at the pins after that, past a fence of
    /// its own. One of the fences comes first: either the writer sees the pin, or the name is found gone here. That some reader
    /// holds a state which lists it is not enough.
    pub(crate) fn read_listed(
        self: &Arc<Core>,
        name: &str,
        record: &SnapshotRecord,
        latest: &ReadTxn,
        head: &HeadBody,
    ) -> Result<Option<ReadTxn>> {
        // The file may have become shorter since, but not by pages of the snapshot.
        let pages_used = record.pages_used.min(head.pages_used);
        let txn = ReadTxn::begin_at(self, &SnapshotRecord { pages_used, ..*record })?;
        let (again, head) = self.read_with_head()?;
        let is_listed = again.txnid() == latest.txnid()
            || snapshots::find(&again, &head.snapshots, name)?.is_some_and(|found| found.txnid == record.txnid);
        Ok(is_listed.then_some(txn))
    }
}

impl WriteTxn {
    /// Gives the state that this transaction commits a name, under which it can be read until it is dropped, after restarts
    /// too. Changes made after the call are part of it. The name and the state become durable together.
    ///
    /// A snapshot costs what is overwritten after it: its pages are not used again while it is kept.
    ///
    /// Cost: a record in a tree; one page or two in the commit.
    ///
    /// # Errors
    /// [`Error::SnapshotExists`], [`Error::SnapshotName`]; neither changes anything.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("prices.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"tea", b"2.50")?;
    /// txn.create_snapshot("monday")?;
    /// txn.commit()?;
    ///
    /// let mut txn = env.write()?;
    /// txn.main().put(b"tea", b"2.80")?;
    /// txn.commit()?;
    ///
    /// assert_eq!(env.read_snapshot("monday")?.main()?.get(b"tea")?, Some(&b"2.50"[..]));
    /// env.drop_snapshot("monday")?;
    /// assert!(env.snapshots()?.is_empty());
    /// # env.close()
    /// # }
    /// ```
    pub fn create_snapshot(&mut self, name: &str) -> Result<()> {
        self.check()?;
        snapshots::check_name(&self.draft, name)?;
        if self.has_snapshot(name)? {
            return Err(Error::SnapshotExists { name: name.to_string() });
        }
        self.naming.new.push(name.to_string());
        self.is_changed = true;
        Ok(())
    }

    /// Drops the snapshot called `name`; answers whether there was one. Its pages stay until the drop is durable, and as long as
    /// somebody reads it.
    ///
    /// Cost: two records of a tree changed; one page or two in the commit.
    ///
    /// # Errors
    /// What touching pages can give; then the transaction is unusable.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// env.create_snapshot("monday")?;
    /// let mut txn = env.write()?;
    /// assert!(txn.drop_snapshot("monday")?);
    /// assert!(!txn.drop_snapshot("monday")?);
    /// txn.abort();
    /// assert_eq!(env.snapshots()?.len(), 1); // the drop went with its transaction
    /// # Ok(())
    /// # }
    /// ```
    pub fn drop_snapshot(&mut self, name: &str) -> Result<bool> {
        self.check()?;
        if let Some(at) = self.naming.new.iter().position(|new| new == name) {
            self.naming.new.remove(at);
            return Ok(true);
        }
        if !self.has_snapshot(name)? {
            return Ok(false);
        }
        self.naming.has_dropped = true;
        self.attempt(|txn| snapshots::drop(&mut txn.draft, &mut txn.head.snapshots, name))
    }

    fn has_snapshot(&self, name: &str) -> Result<bool> {
        Ok(self.naming.new.iter().any(|new| new == name)
            || snapshots::find(&self.draft, &self.head.snapshots, name)?.is_some())
    }

    /// Brings the records of snapshots into their final form. Tables and catalog are sealed.
    pub(super) fn flush_snapshots(&mut self) -> Result<()> {
        let naming = std::mem::take(&mut self.naming);
        if naming.new.is_empty() && naming.gone.is_empty() && !naming.has_dropped {
            return Ok(());
        }
        for gone in naming.gone {
            snapshots::forget(&mut self.draft, &mut self.head.snapshots, gone)?;
        }
        let record = SnapshotRecord {
            txnid: self.draft.txnid(),
            dropped_in: None,
            pages_used: self.draft.space.pages_used(),
            default_table: self.head.default_table,
            default_sequence: self.head.default_sequence,
            catalog: self.head.catalog,
            created_at: process::unix_nanos(),
        };
        for name in &naming.new {
            snapshots::put(&mut self.draft, &mut self.head.snapshots, name, &record)?;
        }
        self.head.snapshots_in = self.draft.txnid();
        crate::tree::TreeMut::<_>::new(&mut self.draft, &mut self.head.snapshots).seal()
    }
}
