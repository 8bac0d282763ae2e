//! Copies of a snapshot, made while readers and writers work.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use mapledb_format::free::PageBounds;
use mapledb_format::ids::META_BYTES;
use mapledb_format::order::Bytewise;
use mapledb_format::{Extent, HeadBody, Manifest, Meta, PageSize, Slot, TreeRecord};
use mapledb_os::{DataFile, NamedDraft, OsError, Seam};

use super::Env;
use super::scan::Scan;
use crate::catalog;
use crate::dup;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::space::{Extents, marked_runs};
use crate::tree::{KeyOrder, Visit, in_its_order, walk};
use crate::txn::{ReadTxn, TableId, Whole};

/// What a copy holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The snapshot that was copied.
    pub txnid: u64,
    /// Entries copied; 0 for an exact copy, which does not look at them.
    pub entries: u64,
    /// Pages of the copy in use.
    pub pages: u64,
}

impl Env {
    /// Copies the latest snapshot to a new file at `path`.
    ///
    /// The copy has the permissions of the original. An exact copy keeps every page where it is, holes, named snapshots,
    /// and the file's identity. A compact one is written afresh, sorted and full, with a new identity and without named
    /// snapshots: each would be a whole copy more. Neither is longer than what it uses; both are durable when the call
    /// returns, and appear under their name whole or not at all. `progress` gets how much is done of how much, in pages or,
    /// for a compact copy, entries: first nothing, last all of it. When it answers `false` the copy is given up and leaves
    /// nothing.
    ///
    /// What the copy drags into memory, of this file and of the new one, it lets go of again, and only that: pages that were
    /// there before stay, so readers beside it find what they use. A compact copy lets go of the new file when it is done.
    ///
    /// Cost: every page in use is read, and a system call for each; an exact copy syncs the new file after each 64 MiB.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let backup = dir.path().join("backup.maple");
    /// env.copy_to(&backup, false, |_pages, _of| true)?; // true: go on
    /// # let copy = // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # unsafe { mapledb::Env::options().open(&backup) }?;
    /// # copy.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Exists`], a full disk, a corrupt page; [`Error::Interrupted`] when `progress` said so.
    pub fn copy_to(
        &self,
        path: impl AsRef<Path>,
        compact: bool,
        mut progress: impl FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        if path.as_ref().try_exists().unwrap_or(false) {
            return Err(Error::Exists { path: path.as_ref().to_path_buf() });
        }
        match compact {
            true => self.copy_compact(&self.read()?, path.as_ref(), &mut progress),
            false => self.copy_exact(&self.core.read_whole()?, path.as_ref(), &mut progress),
        }
    }

    /// Writes an exact copy of the latest snapshot to a stream, from the first byte to the last: for pipes and tapes, where
    /// [`copy_to`](Env::copy_to) has no file to make. What is free is written as zeros. Whether the copy is durable, or
    /// whole, is for whoever reads the stream to see to. `progress` is as there, in pages.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut bytes = Vec::new(); // or a pipe, or a socket
    /// env.copy_into(&mut bytes, |_pages, _of| true)?;
    /// assert_eq!(bytes.len() % env.page_size(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `to` fails with, as [`Error::Os`]; a corrupt page; [`Error::Interrupted`] when `progress` said so.
    ///
    /// Cost: every page in use is read twice: once to find and verify all, and once in the order of the file.
    pub fn copy_into(
        &self,
        to: &mut dyn Write,
        mut progress: impl FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        let whole = self.core.read_whole()?;
        let Whole { txn, head, .. } = &whole;
        let size = txn.page_size();
        let passing = Scan::passing(txn);
        let mut used = Extents::default();
        for tree in every_tree(&whole)? {
            walk(&passing, &tree, KeyOrder::recorded(tree.order), &mut |visit: Visit| {
                // Snapshots share pages with each other and with the latest state.
                used.insert(Extent::new(visit.pgno, visit.pages));
                Ok(())
            })?;
            go_on(progress(0, used.pages()))?;
        }
        let total = used.pages();
        let failed = |error| Error::Os(OsError::new("write a copy of", self.path(), error));
        let mut to = Padded { to, at: 0 };
        for slot in [Slot::A, Slot::B] {
            to.write_at(slot.offset(), &self.meta_of_copy(head, slot)).map_err(failed)?;
        }
        let mut pages = 0;
        for piece in used.iter().flat_map(|run| pieces(run, PAGES_AT_ONCE)) {
            passing.before(piece.first, piece.pages);
            let bytes = txn.raw_pages(piece.first, piece.pages)?;
            txn.still_sound()?;
            to.write_at(piece.first.offset(size), bytes).map_err(failed)?;
            pages += piece.pages;
            go_on(progress(pages, total))?;
        }
        to.write_at(head.pages_used.offset(size), &[]).and_then(|()| to.to.flush()).map_err(failed)?;
        Ok(CopyReport { txnid: head.txnid.get(), entries: 0, pages })
    }

    /// Writes a compact copy of the latest snapshot to a stream, from the first byte to the last, as
    /// [`copy_to`](Env::copy_to) makes it.
    ///
    /// Where the roots of its trees lie is known when all of it has been laid down, and stands at its front. So the copy is
    /// first made in a file in the directory `spool`, which needs room for it and is gone when the call returns. `progress`
    /// is as there, in entries.
    ///
    /// # Errors
    /// As [`copy_to`](Env::copy_to), of the file in `spool`; what `to` fails with, as [`Error::Os`].
    ///
    /// Cost: every page in use is read once; the copy is written and synced, read again, and written to `to`.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("app.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// # let mut txn = env.write()?;
    /// # txn.main().put(b"key", b"value")?;
    /// # txn.commit()?;
    /// let mut sent = Vec::new();
    /// let report = env.copy_compact_into(&mut sent, std::env::temp_dir(), |_, _| true)?;
    /// assert_eq!(report.entries, 1);
    /// assert!(sent.len() >= 64 << 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_compact_into(
        &self,
        to: &mut dyn Write,
        spool: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        let txn = self.read()?;
        let spool = spool.as_ref();
        let draft = NamedDraft::beside(&spool.join("copy"))?;
        let report =
            self.draft_compact(&txn, &draft, &mut progress).map_err(|error| called(spool, draft.path(), error))?;
        let copied = File::open(draft.path()).and_then(|mut copy| {
            io::copy(&mut copy, to)?;
            to.flush()
        });
        copied.map_err(|error| OsError::new("write a copy of", self.path(), error))?;
        Ok(report)
    }

    /// The meta of an exact copy, which stands by itself: all that it vouches for is durable when the copy is.
    pub(super) fn meta_of_copy(&self, head: &HeadBody, slot: Slot) -> [u8; META_BYTES] {
        let mut head = head.clone();
        head.base_txnid = head.txnid;
        let manifest = Manifest::empty();
        let (page_size, identity) = (self.core.store.page_size(), self.core.identity);
        let flags = 0;
        Meta { slot, page_size, compatible: flags, read_only_compatible: flags, incompatible: flags, identity, head, manifest }
            .encode()
    }

    fn copy_exact(
        &self,
        whole: &Whole,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        let Whole { txn, head, .. } = whole;
        let size = txn.page_size();
        let len = head.pages_used.offset(size);
        let trees = every_tree(whole)?;
        let total = trees.iter().map(|tree| tree.leaf_pages + tree.branch_pages + tree.overflow_pages).sum();
        go_on(progress(0, total))?;
        let holes = holes_of(txn, head)?;
        let failed = |error| Error::Os(OsError::new("write a copy to", path, error));
        let mut fault = None;
        let passing = Scan::passing(txn);
        let (mut pages, mut cached) = (0, 0);
        let made = DataFile::create_in_place(path, self.core.store.file().stat()?.mode, len, Seam::unwatched(), |file| {
            for (slot, bytes) in [Slot::A, Slot::B].map(|slot| (slot, self.meta_of_copy(head, slot))) {
                file.write_all_at(&bytes, slot.offset())?;
            }
            let (mut copied, mut done) = (Extents::default(), 0);
            let mut visit = |visit: Visit| {
                done += visit.pages;
                if !copied.insert(Extent::new(visit.pgno, visit.pages)) {
                    // A snapshot shares it with another, or with the latest state.
                    return Ok(());
                }
                let bytes = txn.raw_pages(visit.pgno, visit.pages)?;
                txn.still_sound()?;
                file.write_all_at(bytes, visit.pgno.offset(size)).map_err(failed)?;
                pages += visit.pages;
                cached += visit.pages << size.shift();
                if cached >= CACHED_MAX_BYTES {
                    cached = 0;
                    file.sync_data().and_then(|()| mapledb_os::drop_cached(file, 0, 0)).map_err(failed)?;
                }
                if pages % 256 < visit.pages { go_on(progress(done, total)) } else { Ok(()) }
            };
            let mut walk_whole =
                |tree: &TreeRecord| walk(&passing, tree, KeyOrder::recorded(tree.order), &mut visit).map(|_| ());
            let walked = trees.iter().try_for_each(&mut walk_whole);
            let walked = walked.and_then(|()| punch_holes(file, &holes, size).map_err(failed));
            walked.and_then(|()| go_on(progress(total, total))).map_err(|error| {
                fault = Some(error);
                io::Error::other("the copy was given up")
            })
        });
        match (made, fault) {
            (Ok(copy), _) => {
                // What stays cached of it is no error of the copy.
                let _ = copy.drop_cached(0, 0);
                Ok(CopyReport { txnid: head.txnid.get(), entries: 0, pages })
            }
            (Err(_), Some(fault)) => Err(fault),
            (Err(error), None) if error.is_exists() => Err(Error::Exists { path: path.to_path_buf() }),
            (Err(error), None) => Err(Error::of_growth(error)),
        }
    }

    fn copy_compact(
        &self,
        txn: &ReadTxn,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        let draft = NamedDraft::beside(path)?;
        let report = self.draft_compact(txn, &draft, progress).map_err(|error| called(path, draft.path(), error))?;
        draft.publish(path).map_err(|error| match error.is_exists() {
            true => Error::Exists { path: path.to_path_buf() },
            false => Error::Os(error),
        })?;
        Ok(report)
    }

    /// Writes a compact copy under the name of `draft`: as long as it must be, durable, and not in memory.
    fn draft_compact(
        &self,
        txn: &ReadTxn,
        draft: &NamedDraft,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<CopyReport> {
        let options = Env::options().page_size(self.page_size()).draft();
        let options = options.file_mode(self.core.store.file().stat()?.mode);
        // SAFETY: the name was made up for this copy and nobody else knows it.
        #[allow(unsafe_code)]
        let copy = unsafe { options.create(draft.path()) }?;
        let report = fill_compact(&copy, txn, progress)?;
        let (_, head) = copy.snapshot_with_head()?;
        let metas = [Slot::A, Slot::B].map(|slot| (slot, copy.meta_of_copy(&head, slot)));
        copy.close()?;
        finish_compact(draft.path(), head.pages_used.offset(txn.page_size()), &metas)?;
        Ok(report)
    }
}

/// So much of a copy may be in memory before it is written out and dropped.
const CACHED_MAX_BYTES: u64 = 64 << 20;
/// Pages of a stream written with one call.
const PAGES_AT_ONCE: u64 = 256;

/// A run in pieces of so many pages.
fn pieces(run: Extent, pages: u64) -> impl Iterator<Item = Extent> {
    (0..run.pages).step_by(pages as usize).filter_map(move |from| {
        Some(Extent::new(run.first.checked_add(from)?, pages.min(run.pages - from)))
    })
}

/// A stream written at ascending offsets, with zeros between.
struct Padded<'w> {
    to: &'w mut dyn Write,
    at: u64,
}

impl Padded<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(offset.saturating_sub(self.at)), &mut self.to)?;
        self.to.write_all(bytes)?;
        self.at = offset.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// The runs of a snapshot that may have no blocks.
fn holes_of(txn: &ReadTxn, head: &HeadBody) -> Result<Extents> {
    let bounds = PageBounds { first: txn.page_size().first_data_pgno(), end: head.pages_used };
    marked_runs(txn, &head.free, bounds)
}

/// Gives the blocks of these runs back, as far as the file system can.
fn punch_holes(copy: &File, holes: &Extents, size: PageSize) -> io::Result<()> {
    for run in holes.iter() {
        mapledb_os::punch(copy, run.first.offset(size), run.pages << size.shift())?;
    }
    Ok(())
}

/// Cuts what a file grew by in advance, and lets go of it. Both metas become those of the copy: with the one of its creation
/// beside it, damage to the other would leave an empty database. Nobody has it open.
fn finish_compact(path: &Path, len_bytes: u64, metas: &[(Slot, [u8; META_BYTES]); 2]) -> Result<()> {
    let failed = |error| OsError::new("write the metas of", path, error);
    let stored = OpenOptions::new().write(true).open(path).map_err(failed)?;
    metas.iter().try_for_each(|(slot, bytes)| stored.write_all_at(bytes, slot.offset())).map_err(failed)?;
    let file = DataFile::open_read_write(path, Seam::unwatched())?;
    file.truncate(len_bytes)?;
    file.sync_all()?;
    Ok(file.drop_cached(0, 0)?)
}

/// An error on the draft of a copy as one on the copy, the only name of the two that its maker knows.
fn called(path: &Path, draft: &Path, error: Error) -> Error {
    let rename = |error: OsError| match error.path == draft {
        true => OsError { path: path.to_path_buf(), ..error },
        false => error,
    };
    match error {
        Error::Os(error) => Error::Os(rename(error)),
        Error::DiskFull(error) => Error::DiskFull(rename(error)),
        Error::DiskQuotaReached(error) => Error::DiskQuotaReached(rename(error)),
        Error::FileSizeLimit(error) => Error::FileSizeLimit(rename(error)),
        other => other,
    }
}

pub(super) fn go_on(is_wanted: bool) -> Result<()> {
    if is_wanted { Ok(()) } else { Err(Error::Interrupted) }
}

/// Every tree of the latest state, and those of the named snapshots it lists.
pub(super) fn every_tree(whole: &Whole) -> Result<Vec<TreeRecord>> {
    let Whole { txn, head, named, .. } = whole;
    let mut trees = vec![head.default_table, head.catalog, head.free, head.snapshots];
    trees.extend(named.iter().flat_map(|(_, record)| [record.default_table, record.catalog]));
    for catalog in named.iter().map(|(_, record)| &record.catalog).chain([&head.catalog]) {
        trees.extend(catalog::list(txn, catalog)?.into_iter().map(|(_, table)| table.tree));
    }
    Ok(trees)
}

fn fill_compact(copy: &Env, from: &ReadTxn, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<CopyReport> {
    let tables = catalog::list(from, &from.catalog_tree()?)?;
    let main = from.main_tree()?;
    let total = main.entries + tables.iter().map(|(_, table)| table.tree.entries).sum::<u64>();
    go_on(progress(0, total))?;
    let mut done = 0;
    let passing = &Scan::passing(from);
    let mut to = copy.write()?;
    to.waste_no_pages();
    let mut count = || {
        done += 1;
        if done % 4096 == 0 { go_on(progress(done, total)) } else { Ok(()) }
    };
    to.change(TableId::Main, Bytewise, |tree| dup::copy_tree(passing, &main, tree, &mut count))?;
    to.take_sequence(TableId::Main, from.main_sequence())?;
    for (name, record) in &tables {
        let table = to.adopt_named(name, record)?;
        // A named order is not asked: what comes later is greater.
        in_its_order!(KeyOrder::recorded(record.tree.order), order => {
            to.change(table, order, |tree| dup::copy_tree(passing, &record.tree, tree, &mut count))?;
        });
    }
    go_on(progress(done, total))?;
    from.still_sound()?;
    to.commit()?;
    let pages = copy.info()?.used_pages;
    Ok(CopyReport { txnid: from.txnid(), entries: done, pages })
}
