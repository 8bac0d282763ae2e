//! The seam between trees and pages: two traits, and nothing else passes.
//!
//! A tree asks for pages through [`Pages`] and [`PagesMut`]; a snapshot of the map answers, or the draft of a write
//! transaction, or a double in memory.

use std::ops::Range;

use mapledb_format::branch::Entry;
use mapledb_format::header::{self, Kind};
use mapledb_format::overflow::OverflowRef;
use mapledb_format::{PageSize, Pgno, Txnid};

use crate::error::{Error, Result};

/// A page as a parent refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// The page.
    pub pgno: Pgno,
    /// The low half of its checksum; 0 for a page the running transaction owns.
    pub tag: u32,
}

impl PageRef {
    /// Whether the running transaction owns the page.
    pub fn is_own(self) -> bool {
        self.tag == 0
    }
}

impl From<Entry> for PageRef {
    #[inline(always)]
    fn from(entry: Entry) -> PageRef {
        PageRef { pgno: entry.child, tag: entry.tag }
    }
}

/// Where the pages of a table come from: a snapshot ([`ReadTxn`](crate::ReadTxn)), or a write transaction as it stands
/// ([`Draft`](crate::Draft)). A bound for functions that take tables of either; nothing outside can implement it.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::{Pages, ReadTable, Table};
///
/// const HITS: Table<'static, str, u64> = Table::new("hits");
///
/// /// Of a snapshot, or of what is not committed yet.
/// fn sum<P: Pages>(hits: &ReadTable<'_, str, u64, P>) -> mapledb::Result<u64> {
///     hits.iter()?.map(|entry| entry.map(|(_, hits)| hits)).sum()
/// }
///
/// let mut txn = env.write()?;
/// txn.open_table(&HITS)?.put("/", &3)?;
/// assert_eq!(sum(&txn.view().table(&HITS)?)?, 3);
/// txn.commit()?;
/// assert_eq!(sum(&env.read()?.table(&HITS)?)?, 3);
/// # Ok(())
/// # }
/// ```
pub trait Pages {
    /// The size of every page.
    #[doc(hidden)]
    fn page_size(&self) -> PageSize;

    /// The page `at`, which is the one referred to: number, tag and writer agree, and its checksum has been verified as
    /// the policy asks.
    #[doc(hidden)]
    fn page(&self, at: PageRef) -> Result<&[u8]>;

    /// The page `at`, if it is a node of this kind and level and everything that [`Pages::page`] asks of it is known to hold by
    /// a few comparisons. `None` says nothing: whoever gets it asks for the page.
    #[doc(hidden)]
    #[inline(always)]
    fn known_node(&self, at: PageRef, kind: Kind, level: u8) -> Option<&[u8]> {
        let _ = (at, kind, level);
        None
    }

    /// The whole run that holds a multi-page value, verified likewise.
    #[doc(hidden)]
    fn run(&self, at: &OverflowRef) -> Result<&[u8]>;

    /// The transaction that wrote the page at `at`, or the run that begins there, by its header alone: number and tag agree,
    /// nothing is summed.
    #[doc(hidden)]
    fn born(&self, at: PageRef) -> Result<Txnid> {
        let page = self.page(at)?;
        header::stored_txnid(page).map_err(|cause| Error::Corrupt { pgno: at.pgno, cause })
    }

    /// Refuses to go on where what was read since the pages were opened may have been zeros in the place of pages that
    /// the system could not deliver.
    ///
    /// Cost: a load.
    #[doc(hidden)]
    #[inline(always)]
    fn still_sound(&self) -> Result<()> {
        Ok(())
    }

    /// Counts lookups of keys, for those who look on.
    ///
    /// Cost: an addition in the thread's own memory.
    #[doc(hidden)]
    #[inline(always)]
    fn count_gets(&self, count: usize) {
        let _ = count;
    }

    /// Hints that the first bytes of a page will be read next, so many.
    #[doc(hidden)]
    #[inline(always)]
    fn prefetch(&self, pgno: Pgno, len_bytes: usize) {
        let _ = (pgno, len_bytes);
    }

    /// Hints that these pages will be read soon, so that the disk is asked for all that are not in memory at once.
    #[doc(hidden)]
    fn will_need(&self, pages: &[Pgno]) {
        let _ = pages;
    }

    /// Hints that bytes within a page will be read next.
    #[doc(hidden)]
    #[inline(always)]
    fn prefetch_within(&self, pgno: Pgno, bytes: Range<usize>) {
        let _ = (pgno, bytes);
    }
}

/// Where a tree writes its pages: those the running transaction owns.
pub trait PagesMut: Pages {
    /// The running transaction.
    fn txnid(&self) -> Txnid;

    /// Hints that the first bytes of a page that the transaction owns will be read next, so many.
    #[inline(always)]
    fn prefetch_own(&self, pgno: Pgno, len_bytes: usize) {
        let _ = (pgno, len_bytes);
    }

    /// So many new pages in a row, contents unspecified.
    fn allocate(&mut self, pages: u64) -> Result<Pgno>;

    /// As [`PagesMut::allocate`], for pages that are going to be [written](PagesMut::write) as a whole.
    fn allocate_to_write(&mut self, pages: u64) -> Result<Pgno> {
        self.allocate(pages)
    }

    /// Writes new pages in a row as a whole: `parts`, one behind the other.
    fn write(&mut self, first: Pgno, pages: u64, parts: [&[u8]; 3]) -> Result<()> {
        lay_out(self.own_mut(first, pages)?, parts);
        Ok(())
    }

    /// Gives pages up that transaction `born` wrote.
    fn free(&mut self, first: Pgno, pages: u64, born: Txnid) -> Result<()>;

    /// Whether the committed page `at` is known as a sound node in bytewise order, so that it need not be looked through again.
    fn is_sound(&self, at: PageRef, page: &[u8]) -> bool {
        let _ = (at, page);
        false
    }

    /// Takes note that the committed page `at` is a sound node in bytewise order.
    fn found_sound(&self, at: PageRef, page: &[u8]) {
        let _ = (at, page);
    }

    /// Copies a committed page to a new one of the running transaction, renumbered, and frees the old.
    fn copy(&mut self, at: PageRef) -> Result<Pgno>;

    /// Copies the run of a committed value to new pages of the running transaction; its head and its checksums are for the
    /// caller to write, and the old run for it to free.
    fn copy_run(&mut self, at: &OverflowRef) -> Result<Pgno>;

    /// Whether the running transaction owns a page, be it sealed already.
    fn owns(&self, at: PageRef) -> bool {
        at.is_own()
    }

    /// Takes note that an own node has been sealed just now, and whether its keys are in bytewise order.
    fn sealed(&mut self, pgno: Pgno, is_bytewise: bool) {
        let _ = (pgno, is_bytewise);
    }

    /// Takes note that nodes are sealed before the commit from here on, or not any more.
    fn seal_ahead(&mut self, is_ahead: bool) {
        let _ = is_ahead;
    }

    /// Takes note that an own node was sealed before the commit, because nothing more is expected to happen to it.
    fn laid_down(&mut self, pgno: Pgno) {
        let _ = pgno;
    }

    /// Own pages, to write.
    fn own_mut(&mut self, first: Pgno, pages: u64) -> Result<&mut [u8]>;
}

/// Copies `parts` to the front of `to`, one behind the other.
pub(crate) fn lay_out(mut to: &mut [u8], parts: [&[u8]; 3]) {
    for part in parts {
        let (front, rest) = to.split_at_mut(part.len());
        front.copy_from_slice(part);
        to = rest;
    }
}
