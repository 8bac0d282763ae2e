//! Named snapshots: which there are, each a record with all that a reader of it needs.
//!
//! A snapshot that is kept is listed by its name. One that was dropped leaves a record under its txnid: as long as a state
//! from before the drop may stand after a crash, what that state lists must stay (I6). So the newest head alone says what is
//! pinned by name, and no older one is asked.

use mapledb_format::snapshot_record::SNAPSHOT_NAME_BYTES_MAX;
use mapledb_format::{SnapshotKey, SnapshotRecord, TreeRecord, Txnid};

use crate::error::{Error, Result};
use crate::pages::{Pages, PagesMut};
use crate::tree::{Cursor, Tree, TreeMut, Value};

/// What a record pins, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) txnid: Txnid,
    /// The commit that dropped it: it pins until no state from before may stand.
    pub(crate) dropped_in: Option<Txnid>,
}

/// The snapshot that is kept as `name`.
///
/// Cost: one descent of the tree of snapshots.
pub(crate) fn find<P: Pages>(pages: &P, snapshots: &TreeRecord, name: &str) -> Result<Option<SnapshotRecord>> {
    let key = SnapshotKey::Kept(name).encode();
    Tree::<P>::new(pages, snapshots).get(&key)?.map(|record| decode(snapshots, record)).transpose()
}

/// Every snapshot that is kept, by name.
pub(crate) fn list<P: Pages>(pages: &P, snapshots: &TreeRecord) -> Result<Vec<(String, SnapshotRecord)>> {
    let mut kept = Vec::new();
    each(pages, snapshots, &mut |key, record| {
        if let SnapshotKey::Kept(name) = key {
            kept.push((name.to_string(), record));
        }
    })?;
    Ok(kept)
}

/// Everything that is pinned by a record.
pub(crate) fn named<P: Pages>(pages: &P, snapshots: &TreeRecord) -> Result<Vec<Named>> {
    let mut named = Vec::new();
    each(pages, snapshots, &mut |_, record| {
        named.push(Named { txnid: record.txnid, dropped_in: record.dropped_in });
    })?;
    Ok(named)
}

fn each<P: Pages>(
    pages: &P,
    snapshots: &TreeRecord,
    act: &mut dyn FnMut(SnapshotKey<'_>, SnapshotRecord),
) -> Result<()> {
    let fault = |cause| Error::Corrupt { pgno: snapshots.root, cause };
    let mut cursor = Cursor::new(Tree::<P>::new(pages, snapshots));
    while let Some((key, record)) = cursor.next()? {
        let key = SnapshotKey::decode(key).map_err(fault)?;
        let record = decode(snapshots, record)?;
        let is_dropped = matches!(key, SnapshotKey::Dropped(_));
        if is_dropped != record.dropped_in.is_some() {
            return Err(fault(mapledb_format::FormatError::BadSnapshotRecord("its key and it disagree on its drop")));
        }
        act(key, record);
    }
    Ok(())
}

/// Writes the record of a new snapshot.
pub(crate) fn put<P: PagesMut>(
    pages: &mut P,
    snapshots: &mut TreeRecord,
    name: &str,
    record: &SnapshotRecord,
) -> Result<()> {
    let key = SnapshotKey::Kept(name).encode();
    TreeMut::<P>::new(pages, snapshots).put(&key, Value::Bytes(&record.encode())).map(|_| ())
}

/// Drops the snapshot `name`, in the running transaction; answers whether it was there.
pub(crate) fn drop<P: PagesMut>(pages: &mut P, snapshots: &mut TreeRecord, name: &str) -> Result<bool> {
    let Some(record) = find(pages, snapshots, name)? else { return Ok(false) };
    let record = SnapshotRecord { dropped_in: Some(pages.txnid()), ..record };
    let mut tree = TreeMut::<P>::new(pages, snapshots);
    tree.delete(&SnapshotKey::Kept(name).encode())?;
    if !mapledb_os::planted("early_drop") {
        tree.put(&SnapshotKey::Dropped(record.txnid).encode(), Value::Bytes(&record.encode()))?;
    }
    Ok(true)
}

/// Takes the record of a dropped snapshot out, unless it was dropped once more since.
pub(crate) fn forget<P: PagesMut>(pages: &mut P, snapshots: &mut TreeRecord, dropped: Named) -> Result<()> {
    let key = SnapshotKey::Dropped(dropped.txnid).encode();
    let found = Tree::<P>::new(pages, snapshots).get(&key)?.map(|record| decode(snapshots, record)).transpose()?;
    if found.is_some_and(|record| record.dropped_in == dropped.dropped_in) {
        TreeMut::<P>::new(pages, snapshots).delete(&key)?;
    }
    Ok(())
}

/// Whether a snapshot may be called so.
pub(crate) fn check_name<P: Pages>(pages: &P, name: &str) -> Result<()> {
    let max = SNAPSHOT_NAME_BYTES_MAX.min(mapledb_format::node::key_max(pages.page_size().bytes()) - 1);
    match (1..=max).contains(&name.len()) {
        true => Ok(()),
        false => Err(Error::SnapshotName { name: name.to_string(), max }),
    }
}

fn decode(snapshots: &TreeRecord, record: &[u8]) -> Result<SnapshotRecord> {
    SnapshotRecord::decode(record).map_err(|cause| Error::Corrupt { pgno: snapshots.root, cause })
}
