//! Whether pages are the ones that a commit wrote: what recovery and healing must know before they store a byte.

use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::meta_choice::ManifestFault;
use mapledb_format::{
    Extent, FormatError, HeadBody, Kind, ManifestDigest, Meta, PageHeader, Pgno, Run, SnapshotRecord, TableRecord,
    TreeRecord, Txnid, header,
};

use mapledb_os::planted;
use crate::error::{Error, Result};
use crate::space::Extents;
use crate::store::{Snapshot, Store, View};
use crate::tree::{Visit, walk_since};

/// Where the pages to be verified are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Wherever they are.
    Anywhere,
    /// From the disk, unless they are dirty: a sync of one who died may have failed unnoticed, and a page that it left
    /// in the cache as clean may never become durable, even if it is stored and synced again (I11).
    Disk,
}

/// Whether every page a meta vouches for is the one its commit wrote.
///
/// Cost: the pages listed, at most 2,048.
///
/// # Errors
/// A page that the disk does not deliver, or a map that is refused: neither says anything about the commit. A file that is
/// shorter than its commit: growth is durable before a meta depends on it (I9), so no crash leaves that, and the state before is
/// no answer to it.
pub(super) fn verify_manifest(store: &Store, meta: &Meta, from: Source) -> Result<std::result::Result<(), ManifestFault>> {
    if planted("unverified_manifest") {
        return Ok(Ok(()));
    }
    let extents = match meta.manifest.extents(meta.bounds()) {
        Ok(extents) => extents,
        Err(fault) => return Ok(Err(ManifestFault::Coding(fault))),
    };
    let head = &meta.head;
    let view = store.view(head.txnid, head.pages_used, Txnid(0))?;
    if from == Source::Disk {
        // All of them first: to read one may map others.
        extents.iter().try_for_each(|extent| store.forget(view.generation, *extent))?;
    }
    for extent in &extents {
        store.make_present(view.generation, *extent)?;
    }
    let verdict = digest_agrees(store, &view, meta, &extents);
    #[cfg(maple_canaries)]
    if planted("resealing_recovery") && verdict.is_err() {
        reseal(store, view.generation, &extents)?;
        return Ok(Ok(()));
    }
    Ok(verdict)
}

/// Gives every page the checksum of whatever it holds: a planted bug.
#[cfg(maple_canaries)]
fn reseal(store: &Store, generation: crate::store::Generation, extents: &[Extent]) -> Result<()> {
    for extent in extents {
        for at in extent.first.get()..extent.end() {
            let page = store.own_mut(generation, Pgno::new(at).unwrap_or(Pgno::MAX), 1)?;
            if PageHeader::parse(page).is_ok_and(|header| header.kind != Kind::Overflow) {
                header::seal(page);
            }
        }
    }
    Ok(())
}

fn digest_agrees(
    store: &Store,
    view: &View,
    meta: &Meta,
    extents: &[Extent],
) -> std::result::Result<(), ManifestFault> {
    let mut digest = ManifestDigest::new();
    for extent in extents {
        let mut at = extent.first;
        while at.get() < extent.end() {
            let (pages, checksum) = verify_listed(store, view, at, extent.end() - at.get())
                .map_err(|error| ManifestFault::Page { pgno: at, error })?;
            digest.add(checksum);
            at = at.checked_add(pages).unwrap_or(Pgno::MAX);
        }
    }
    let is_whole = digest.count() == u64::from(meta.manifest.pages) && digest.finish() == meta.manifest.digest;
    if is_whole || meta.manifest.is_empty() { Ok(()) } else { Err(ManifestFault::Digest) }
}

/// Verifies the page or run at `at`; answers its length in pages and its checksum.
fn verify_listed(
    store: &Store,
    view: &View,
    at: Pgno,
    room: u64,
) -> std::result::Result<(u64, u64), FormatError> {
    let size = store.page_size();
    let bytes = view.raw(store, at, room).map_err(|_| FormatError::TooShort { what: "file" })?;
    let page = bytes.get(..size.bytes()).unwrap_or(bytes);
    let found = PageHeader::parse(page)?;
    if found.pgno != at {
        return Err(FormatError::WrongPgno { found: found.pgno, expected: at });
    }
    if found.txnid > view.txnid {
        return Err(FormatError::FutureTxnid { found: found.txnid, snapshot: view.txnid });
    }
    let pages = match found.kind {
        Kind::Overflow => {
            let run = Run::open(bytes, size)?;
            if !planted("unchecked_pages") {
                run.check_all()?;
            }
            run.head().pages
        }
        Kind::Leaf | Kind::Branch | Kind::Packed => {
            if !planted("unchecked_pages") {
                header::check_sum(page)?;
            }
            1
        }
    };
    Ok((pages, found.checksum))
}

/// Every page of `head`, and of the named snapshots it lists, that was written after `since`, verified here and now, whatever
/// the policy and the memo say. Snapshots older than `since` have none: what was durable then vouched for theirs.
///
/// Cost: the pages written since, once for each snapshot made since that reaches them, and the headers of their children.
pub(super) fn pages_since(store: &Store, head: &HeadBody, since: Txnid) -> Result<Extents> {
    let view = store.view(head.txnid, head.pages_used, Txnid(0))?;
    let snapshot = Snapshot { store, view };
    let mut pages = Extents::default();
    let mut note = |visit: Visit| {
        let extent = Extent::new(visit.pgno, visit.pages);
        let twice = FormatError::BadReference("two references lead to it");
        if pages.insert(extent) { Ok(()) } else { Err(Error::Corrupt { pgno: visit.pgno, cause: twice }) }
    };
    walk_since(&snapshot, &head.free, since, &mut note)?;
    tables_since(&snapshot, (&head.default_table, &head.catalog), since, &mut note)?;
    let mut named = Vec::new();
    walk_since(&snapshot, &head.snapshots, since, &mut |visit| {
        note(visit)?;
        let records = records_on(view.raw(store, visit.pgno, 1)?, visit.pgno)?;
        for record in records {
            let fault = |cause| Error::Corrupt { pgno: visit.pgno, cause };
            named.push(SnapshotRecord::decode(&record).map_err(fault)?);
        }
        Ok(())
    })?;
    for record in named.iter().filter(|record| record.txnid > since && record.dropped_in.is_none()) {
        // Snapshots share pages with each other and with the head.
        let mut note_once = |visit: Visit| {
            pages.insert(Extent::new(visit.pgno, visit.pages));
            Ok(())
        };
        tables_since(&snapshot, (&record.default_table, &record.catalog), since, &mut note_once)?;
    }
    Ok(pages)
}

/// The pages of the default table, the catalog and the tables it lists that were written after `since`. A table that has
/// changed has a record that has.
fn tables_since(
    snapshot: &Snapshot<'_>,
    (default_table, catalog): (&TreeRecord, &TreeRecord),
    since: Txnid,
    note: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    walk_since(snapshot, default_table, since, note)?;
    let mut tables = Vec::new();
    walk_since(snapshot, catalog, since, &mut |visit| {
        note(visit)?;
        for record in records_on(snapshot.view.raw(snapshot.store, visit.pgno, 1)?, visit.pgno)? {
            let fault = |cause| Error::Corrupt { pgno: visit.pgno, cause };
            tables.push(TableRecord::decode(&record).map_err(fault)?.tree);
        }
        Ok(())
    })?;
    tables.iter().try_for_each(|table| walk_since(snapshot, table, since, note))
}

/// The records that a page of a tree holds; none if it is a branch.
fn records_on(page: &[u8], pgno: Pgno) -> Result<Vec<Vec<u8>>> {
    let fault = |cause| Error::Corrupt { pgno, cause };
    if PageHeader::parse(page).map_err(fault)?.kind != Kind::Leaf {
        return Ok(Vec::new());
    }
    let leaf = Leaf::view(page).map_err(fault)?;
    let mut records = Vec::new();
    for index in 0..leaf.len() {
        if let ValueField::Inline(record) = leaf.value(index).map_err(fault)? {
            records.push(record.to_vec());
        }
    }
    Ok(records)
}
