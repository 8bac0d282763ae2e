//! Opening: which commit stands, and making sure that it does.
//!
//! What is read is bounded: two metas and the pages of one manifest, or of two. What was left undone is finished in
//! one order that is safe against a crash at any point: verify, store the same bytes again, sync. No page gets a
//! checksum here that it did not have, and nothing is made durable that was not verified (I10).
//!
//! | last use ended | what is done at the first attach |
//! |---|---|
//! | cleanly, and the lock file says so | nothing |
//! | by the death of processes, metas whole | the newest proven meta's pages and both metas stored again, one sync |
//! | the same, with relaxed commits after it | their pages verified and stored again, one sync, then their meta |
//! | by a crash of the system | as in the second row; the lock file's heads are of another boot and refused |
//! | by a failed sync | as in the second and third rows |

use mapledb_format::meta::{self, Peek};
use mapledb_format::meta_choice::{Candidate, Choice, ManifestFault, Refusal, Stamp, choose};
use mapledb_format::{
    Extent, FormatError, HeadBody, Identity, Kind, Manifest, ManifestDigest, Meta, MetaFault, PageHeader, PageSize,
    Pgno, Run, Slot, TableRecord, Txnid, header, ids,
};
use mapledb_os::DataFile;

use super::{CLEARED_META, decode_head};
use crate::error::{Error, Result};
use crate::mvcc::LeftBehind;
use crate::space::Extents;
use crate::store::{Snapshot, Store, View};
use crate::tree::{Cursor, Tree, Visit, walk_since};

/// How far txnids jump after an unclean end when the lock file cannot say how many were given out.
const TXNID_JUMP: u64 = 1 << 32;

/// What opening found and did. A clean opening found nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the last use ended cleanly, or another process has the environment open.
    pub was_clean: bool,
    /// A newer commit that was passed over, and why: it had not become durable whole, and was not acknowledged as
    /// durable, or the file was damaged since.
    pub passed_over: Option<String>,
    /// How many relaxed commits of the last use were adopted from the lock file.
    pub adopted_txnid: Option<u64>,
    /// Why relaxed commits that the lock file knows of were not adopted.
    pub refused_relaxed: Option<String>,
    /// Whether the last use had ended in a failed sync.
    pub was_poisoned: bool,
}

/// The metas of a file, as far as they can be read.
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) page_size: PageSize,
    /// Whether the file has features that forbid this build to write.
    pub(crate) is_read_only: bool,
}

/// What the recovered environment begins with.
pub(crate) struct Recovered {
    pub(crate) head: HeadBody,
    pub(crate) meta_txnids: [u64; 2],
    pub(crate) meta_checksum: u64,
    pub(crate) durable_txnid: u64,
    pub(crate) last_txnid: u64,
    pub(crate) recovery: Recovery,
}

/// Reads what a file is from its metas, before it is mapped. One meta of another version or with unknown features is
/// enough to refuse the file, for it may be the newest commit.
pub(crate) fn examine(file: &DataFile) -> Result<Found> {
    let path = || file.path().to_path_buf();
    let mut found = None;
    let mut faults = Vec::new();
    let mut peeks = Vec::new();
    for slot in [Slot::A, Slot::B] {
        let mut bytes = [0; ids::META_BYTES];
        let got = file.read_at(slot.offset(), &mut bytes)?;
        let bytes = bytes.get(..got).unwrap_or(&[]);
        peeks.push(meta::peek(bytes));
        match Meta::decode(bytes, slot) {
            Ok(meta) => found = found.or(Some(meta)),
            Err(MetaFault::OtherVersion { found }) => return Err(Error::OtherVersion { path: path(), found }),
            Err(MetaFault::UnknownFeatures { flags }) => {
                return Err(Error::UnknownFeatures { path: path(), flags });
            }
            Err(fault) => faults.push(fault),
        }
    }
    match (found, &faults[..]) {
        (Some(meta), _) => Ok(Found {
            identity: meta.identity,
            page_size: meta.page_size,
            is_read_only: meta.unknown_read_only_compatible() != 0,
        }),
        (None, [a, b]) if !peeks.iter().all(|peek| *peek == Peek::Foreign) => {
            Err(Error::NoMeta { path: path(), a: a.to_string(), b: b.to_string() })
        }
        _ => Err(Error::NotMapleDb { path: path() }),
    }
}

/// Decides which commit stands and, if the file may be written, makes it stand for good. The caller is alone with
/// the file. `is_new` says that this process has made the file just now.
pub(crate) fn recover(store: &Store, left: Option<&LeftBehind>, is_new: bool) -> Result<Recovered> {
    let path = || store.file().path().to_path_buf();
    let metas = [Slot::A, Slot::B].map(|slot| Meta::decode(&store.read_meta(slot), slot));
    let (standing, passed_over) = stand(store, &metas)?;
    let Ok(chosen) = &metas[standing as usize] else { return Err(Error::NotMapleDb { path: path() }) };
    let left = left.filter(|left| left.is_bound);
    let meta_checksum = meta::stored_sum(&store.read_meta(standing));
    let was_clean = left.is_some_and(|left| {
        left.is_clean
            && left.durable_txnid == chosen.head.txnid.get()
            && left.durable_meta_checksum == meta_checksum
            && passed_over.is_none()
    });
    let mut recovery = Recovery {
        was_clean,
        passed_over: passed_over.as_ref().map(|(refusal, _)| refusal.clone()),
        was_poisoned: left.is_some_and(|left| left.is_poisoned),
        ..Recovery::default()
    };
    let mut recovered = Recovered {
        head: chosen.head.clone(),
        meta_txnids: metas.each_ref().map(|meta| meta.as_ref().map_or(0, |meta| meta.head.txnid.get())),
        meta_checksum,
        durable_txnid: chosen.head.txnid.get(),
        last_txnid: last_txnid(&metas, left, was_clean || is_new),
        recovery: Recovery::default(),
    };
    if !was_clean {
        let relaxed = left.map_or(Adoption::Nothing, |left| examine_relaxed(store, left, chosen, meta_checksum));
        if store.file().is_writable() {
            make_stand(store, chosen, &passed_over, &mut recovered)?;
            if let Adoption::Ready(head, pages) = &relaxed {
                adopt(store, chosen, head, pages, &mut recovered)?;
                recovery.adopted_txnid = Some(head.txnid.get());
            }
        } else if matches!(relaxed, Adoption::Ready(..)) {
            // Acknowledged commits that only a writer can bring in must not be passed over in silence.
            return Err(Error::NeedsRecovery { path: path() });
        }
        if let Adoption::Refused(why) = relaxed {
            recovery.refused_relaxed = Some(why);
        }
    }
    recovered.recovery = recovery;
    Ok(recovered)
}

/// The slot whose meta stands, and why the other one does not if that is worth a word and whether it must be
/// invalidated.
fn stand(store: &Store, metas: &[std::result::Result<Meta, MetaFault>; 2]) -> Result<(Slot, Option<(String, Slot)>)> {
    let mut candidates = metas.each_ref().map(|meta| match meta {
        Ok(meta) => Candidate::Unverified(Stamp::of(meta)),
        Err(fault) => Candidate::Unusable(*fault),
    });
    loop {
        let path = store.file().path().to_path_buf();
        match choose(candidates[0], candidates[1]).map_err(|cause| Error::BadMetas { path: path.clone(), cause })? {
            Choice::Verify(slot) => {
                if let Ok(meta) = &metas[slot as usize] {
                    candidates[slot as usize] = match verify_manifest(store, meta) {
                        Ok(()) => Candidate::Proven(Stamp::of(meta)),
                        Err(fault) => Candidate::Unproven(Stamp::of(meta), fault),
                    };
                }
            }
            Choice::Stands { slot, passed_over } => {
                let other = slot.other();
                let why = match (passed_over, &metas[other as usize]) {
                    (Some(refusal), _) => Some(refusal),
                    // A recovery or a writer that took over has cleared it, and whoever did so has told.
                    (None, Err(_)) if store.read_meta(other) == CLEARED_META => None,
                    // Damage to the one meta cannot be told from a commit that was torn: both are worth a word.
                    (None, Err(fault)) => Some(Refusal::Meta(*fault)),
                    (None, Ok(_)) => None,
                };
                return Ok((slot, why.map(|why| (format!("meta {other}: {why}"), other))));
            }
            Choice::Neither(a, b) => {
                return Err(Error::NoMeta { path, a: a.to_string(), b: b.to_string() });
            }
        }
    }
}

/// Whether every page a meta vouches for is the one its commit wrote.
///
/// Cost: the pages listed, at most 2,048.
pub(super) fn verify_manifest(store: &Store, meta: &Meta) -> std::result::Result<(), ManifestFault> {
    if cfg!(maple_canary = "unverified_manifest") {
        return Ok(());
    }
    let head = &meta.head;
    let at_page = |pgno, error| ManifestFault::Page { pgno, error };
    let cut = FormatError::TooShort { what: "file" };
    let generation = store.covering(head.pages_used.get()).map_err(|_| at_page(head.pages_used, cut))?;
    let view = View { txnid: head.txnid, pages_used: head.pages_used, generation };
    let mut digest = ManifestDigest::new();
    for extent in meta.manifest.extents(meta.bounds()).map_err(ManifestFault::Coding)? {
        let mut at = extent.first;
        while at.get() < extent.end() {
            let (pages, checksum) =
                verify_listed(store, &view, at, extent.end() - at.get()).map_err(|error| at_page(at, error))?;
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
            if !cfg!(maple_canary = "unchecked_pages") {
                run.check_all()?;
            }
            run.head().pages
        }
        Kind::Leaf | Kind::Branch => {
            if !cfg!(maple_canary = "unchecked_pages") {
                header::check_sum(page)?;
            }
            1
        }
    };
    Ok((pages, found.checksum))
}

/// Stores everything again that the standing meta's last sync may not have reached, and syncs it.
fn make_stand(
    store: &Store,
    chosen: &Meta,
    passed_over: &Option<(String, Slot)>,
    recovered: &mut Recovered,
) -> Result<()> {
    let generation = store.covering(chosen.head.pages_used.get())?;
    let extents =
        chosen.manifest.extents(chosen.bounds()).map_err(|cause| Error::Corrupt { pgno: Pgno::NONE, cause })?;
    for extent in extents {
        redirty(store, generation, extent)?;
    }
    if let Some((_, slot)) = passed_over
        && !cfg!(maple_canary = "lasting_meta")
    {
        // A meta that does not stand now must not stand later, when its pages may have been written over.
        store.store_meta(*slot, &CLEARED_META)?;
        recovered.meta_txnids[*slot as usize] = 0;
    }
    for slot in [Slot::A, Slot::B] {
        store.redirty(generation, slot.offset(), ids::META_BYTES)?;
    }
    store.sync_growth()?;
    store.file().sync_dir()?;
    Ok(())
}

fn redirty(store: &Store, generation: crate::store::Generation, extent: Extent) -> Result<()> {
    let shift = store.page_size().shift();
    store.redirty(generation, extent.first.offset(store.page_size()), (extent.pages << shift) as usize)
}

/// What becomes of relaxed commits that only the lock file knows of.
enum Adoption {
    /// There are none.
    Nothing,
    /// They verify; these are their pages.
    Ready(Box<HeadBody>, Extents),
    /// They do not stand, and why.
    Refused(String),
}

fn examine_relaxed(store: &Store, left: &LeftBehind, chosen: &Meta, meta_checksum: u64) -> Adoption {
    let Some(record) = &left.published else { return Adoption::Nothing };
    let durable = chosen.head.txnid.get();
    if record.head.txnid() <= durable {
        return Adoption::Nothing;
    }
    if !left.is_same_boot {
        return Adoption::Refused("the system was restarted since".to_string());
    }
    if record.head.durable_txnid != durable || record.head.durable_meta_checksum != meta_checksum {
        return Adoption::Refused("they build on another durable commit than the one that stands".to_string());
    }
    let verified = decode_head(&record.head).and_then(|head| {
        let pages = pages_since(store, &head, chosen.head.txnid)?;
        Ok((head, pages))
    });
    match verified {
        Ok((head, pages)) => Adoption::Ready(Box::new(head), pages),
        Err(error) => Adoption::Refused(error.to_string()),
    }
}

/// Verifies every page of `head` written after `since` and stores it again, so that the next sync writes it.
///
/// For whoever takes over commits that another process published and may have failed to sync: the kernel may have
/// counted its pages as clean without writing them.
pub(super) fn renew_since(store: &Store, head: &HeadBody, since: Txnid) -> Result<()> {
    let generation = store.covering(head.pages_used.get())?;
    for extent in pages_since(store, head, since)?.iter() {
        redirty(store, generation, extent)?;
    }
    Ok(())
}

/// Every page of `head` written after `since`, verified.
fn pages_since(store: &Store, head: &HeadBody, since: Txnid) -> Result<Extents> {
    let generation = store.covering(head.pages_used.get())?;
    let view = View { txnid: head.txnid, pages_used: head.pages_used, generation };
    let snapshot = Snapshot { store, view };
    let mut pages = Extents::default();
    let mut visit = |visit: Visit| {
        let extent = Extent::new(visit.pgno, visit.pages);
        let twice = FormatError::BadReference("two references lead to it");
        if pages.insert(extent) { Ok(()) } else { Err(Error::Corrupt { pgno: visit.pgno, cause: twice }) }
    };
    for record in [&head.default_table, &head.catalog, &head.free] {
        walk_since(&snapshot, record, since, &mut visit)?;
    }
    let mut tables = Cursor::new(Tree::<_>::new(&snapshot, &head.catalog));
    while let Some((_, record)) = tables.next()? {
        let table = TableRecord::decode(record)
            .map_err(|cause| Error::Corrupt { pgno: head.catalog.root, cause })?;
        walk_since(&snapshot, &table.tree, since, &mut visit)?;
    }
    Ok(pages)
}

/// Makes relaxed commits durable: their pages first, then a meta for them.
fn adopt(
    store: &Store,
    chosen: &Meta,
    head: &HeadBody,
    pages: &Extents,
    recovered: &mut Recovered,
) -> Result<()> {
    let generation = store.covering(head.pages_used.get())?;
    for extent in pages.iter() {
        redirty(store, generation, extent)?;
    }
    store.sync_growth()?;
    let slot = chosen.slot.other();
    let meta = Meta { slot, head: head.clone(), manifest: Manifest::empty(), ..chosen.clone() };
    let bytes = meta.encode();
    store.store_meta(slot, &bytes)?;
    store.sync_meta(slot)?;
    recovered.head = head.clone();
    recovered.meta_txnids[slot as usize] = head.txnid.get();
    recovered.meta_checksum = meta::stored_sum(&bytes);
    recovered.durable_txnid = head.txnid.get();
    recovered.last_txnid = recovered.last_txnid.max(head.txnid.get());
    Ok(())
}

/// The largest txnid that may have been given out.
fn last_txnid(
    metas: &[std::result::Result<Meta, MetaFault>; 2],
    left: Option<&LeftBehind>,
    is_exact: bool,
) -> u64 {
    let in_metas = metas.iter().flatten().map(|meta| meta.head.txnid.get()).max().unwrap_or(0);
    let noted = left.map_or(0, |left| left.last_txnid);
    let known = in_metas.max(noted);
    if is_exact { known } else { known.saturating_add(TXNID_JUMP) }
}
