//! The copy-on-write B+tree: one structure for user tables, the catalog, free-space records and duplicate sets.
//!
//! A tree knows its [`TreeRecord`] and nothing else: no file, no database, no tenant. It asks for pages through two
//! small traits, [`Pages`] and [`PagesMut`], so it runs over a map, a transaction's dirty pages, or a double in memory.
//!
//! A page that the running transaction owns has tag 0 wherever it is referred to, in its parent's entry or in the tree
//! record (I3). That mark is what tells own pages from committed ones: whoever writes first *touches* the path from
//! the root down, and [`seal`] turns the marks back into tags, children before parents.

mod ahead;
mod append;
mod count;
mod cull;
mod cursor;
mod delete;
mod gap;
mod group;
mod insert;
mod locate;
mod nested;
mod order;
mod overflow;
mod range;
mod redistribute;
mod seal;
mod search;
mod split;
mod walk;

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod tests;

use mapledb_format::branch::{Branch, Entry};
use mapledb_format::header::{self, HEADER_BYTES, Kind};
use mapledb_format::leaf::Leaf;
use mapledb_format::node::SLOT_BYTES;
use mapledb_format::order::{Bytewise, Order};
use mapledb_format::overflow::OverflowRef;
use mapledb_format::tree_record::TreeRecord;
use mapledb_format::{FormatError, Pgno};

use crate::error::{Error, Result};
pub(crate) use crate::pages::{PageRef, Pages, PagesMut};

pub(crate) use append::Appender;
pub(crate) use cursor::{Cursor, Pair, Path, Way};
pub(crate) use gap::Gap;
pub(crate) use group::GROUP_MAX;
pub(crate) use insert::{OwnPath, Value};
pub(crate) use locate::{Located, Part, locate, locate_down_to};
pub(crate) use nested::duplicates_at;
pub(crate) use order::in_its_order;
pub(crate) use order::PairOrder;
pub use order::{KeyOrder, NamedOrder};
pub(crate) use range::Range;
pub(crate) use walk::{Sound, Visit, Visitor, Walked, walk, walk_since, walk_with};

/// The most slots that are asked for before a node is searched: 16 cache lines with the header.
const PREFETCHED_SLOTS_MAX: u64 = ((16 * 64 - HEADER_BYTES) / SLOT_BYTES) as u64;

/// The deepest tree, as an index can have it.
pub(crate) const DEPTH_MAX: usize = mapledb_format::tree_record::DEPTH_MAX as usize;

/// A tree to read.
pub(crate) struct Tree<'p, P, O = Bytewise> {
    pages: &'p P,
    record: TreeRecord,
    order: O,
}

impl<P, O: Copy> Clone for Tree<'_, P, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, O: Copy> Copy for Tree<'_, P, O> {}

impl<'p, P: Pages> Tree<'p, P> {
    /// The tree in bytewise order that `record` describes.
    #[inline]
    pub(crate) fn new(pages: &'p P, record: &TreeRecord) -> Tree<'p, P> {
        Tree::in_order(pages, record, Bytewise)
    }
}

impl<'p, P: Pages, O: Order> Tree<'p, P, O> {
    /// The tree that `record` describes, whose keys are in `order`.
    #[inline]
    pub(crate) fn in_order(pages: &'p P, record: &TreeRecord, order: O) -> Tree<'p, P, O> {
        Tree { pages, record: *record, order }
    }

    /// The order of the keys.
    pub(crate) fn order(&self) -> O {
        self.order
    }

    /// What the tree knows of itself.
    pub(crate) fn record(&self) -> &TreeRecord {
        &self.record
    }

    /// What its pages are read through.
    pub(crate) fn pages(&self) -> &'p P {
        self.pages
    }

    #[inline(always)]
    fn root(&self) -> PageRef {
        PageRef { pgno: self.record.root, tag: self.record.root_tag }
    }

    /// The same tree, for code of the bytewise order, which it must be in.
    #[inline(always)]
    fn bytewise(&self) -> Tree<'p, P> {
        Tree { pages: self.pages, record: self.record, order: Bytewise }
    }

    /// The page `at`, which must be a branch on `level`.
    #[inline(always)]
    fn branch(&self, at: PageRef, level: usize) -> Result<Branch<'p>> {
        branch(self.pages, at, level)
    }

    /// The page `at`, which must be a leaf.
    #[inline(always)]
    fn leaf(&self, at: PageRef) -> Result<Leaf<'p>> {
        leaf(self.pages, at)
    }
}

/// A tree to change. After an error the transaction is unusable: a path may be half rewritten.
pub(crate) struct TreeMut<'p, P, O = Bytewise> {
    pages: &'p mut P,
    record: &'p mut TreeRecord,
    order: O,
}

impl<'p, P: PagesMut> TreeMut<'p, P> {
    /// The tree in bytewise order that `record` describes; changes go into `record`.
    pub(crate) fn new(pages: &'p mut P, record: &'p mut TreeRecord) -> TreeMut<'p, P> {
        TreeMut::in_order(pages, record, Bytewise)
    }
}

impl<'p, P: PagesMut, O: Order> TreeMut<'p, P, O> {
    /// The tree that `record` describes, whose keys are in `order`; changes go into `record`.
    pub(crate) fn in_order(pages: &'p mut P, record: &'p mut TreeRecord, order: O) -> TreeMut<'p, P, O> {
        TreeMut { pages, record, order }
    }

    /// The tree as it stands, to read.
    pub(crate) fn reading(&self) -> Tree<'_, P, O> {
        Tree::in_order(self.pages, self.record, self.order)
    }

    fn root(&self) -> PageRef {
        PageRef { pgno: self.record.root, tag: self.record.root_tag }
    }

    fn set_root(&mut self, at: PageRef) {
        self.record.root = at.pgno;
        self.record.root_tag = at.tag;
    }

    fn page_len(&self) -> usize {
        self.pages.page_size().bytes()
    }
}

#[inline(always)]
fn branch<P: Pages>(pages: &P, at: PageRef, level: usize) -> Result<Branch<'_>> {
    let page = pages.page(at)?;
    check_level(page, level).and_then(|()| Branch::view(page)).map_err(|cause| corrupt(at.pgno, cause))
}

#[inline(always)]
fn leaf<P: Pages>(pages: &P, at: PageRef) -> Result<Leaf<'_>> {
    let page = pages.page(at)?;
    Leaf::view(page).map_err(|cause| corrupt(at.pgno, cause))
}

/// The page `at` as a branch on `level`, if it is known to be right: see [`Pages::known_node`].
#[inline(always)]
fn known_branch<P: Pages>(pages: &P, at: PageRef, level: usize) -> Option<Branch<'_>> {
    Branch::of_this_kind(pages.known_node(at, Kind::Branch, level as u8)?)
}

/// The page `at` as a leaf with slots, likewise.
#[inline(always)]
fn known_leaf<P: Pages>(pages: &P, at: PageRef) -> Option<Leaf<'_>> {
    Leaf::of_this_kind(pages.known_node(at, Kind::Leaf, 0)?)
}

/// Asks for what a search of the child `entry` will read first.
#[inline(always)]
fn prefetch_child<P: Pages>(pages: &P, entry: Entry, level: usize) {
    pages.prefetch(entry.child, searched_bytes(entry, level));
}

/// As [`prefetch_child`], for a child that is to be changed and may be an own page already. Own branches are in the caches as it is.
#[inline(always)]
fn prefetch_touched<P: PagesMut>(pages: &P, entry: Entry, level: usize) {
    match (entry.tag, level) {
        (0, 0) => pages.prefetch_own(entry.child, searched_bytes(entry, level)),
        (0, _) => {}
        _ => prefetch_child(pages, entry, level),
    }
}

/// How much of the child `entry` a search reads at its front: the header and all slots. Of a leaf their number is known;
/// a branch has at least as many as fit beside separators of a few bytes.
#[inline(always)]
fn searched_bytes(entry: Entry, level: usize) -> usize {
    let slots = if level == 0 { entry.count.min(PREFETCHED_SLOTS_MAX) } else { PREFETCHED_SLOTS_MAX };
    HEADER_BYTES + slots as usize * SLOT_BYTES
}

/// The child that the node `from` refers to by `entry`.
///
/// Only a page the running transaction owns may refer to another it owns (I3). A committed page that seems to is
/// damaged, and following it would lead around every check.
#[inline(always)]
fn child(from: PageRef, entry: Entry) -> Result<PageRef> {
    if entry.tag == 0 && !from.is_own() {
        return Err(corrupt(from.pgno, FormatError::Unsealed));
    }
    Ok(entry.into())
}

/// The run that the leaf `from` refers to, under the same rule.
#[inline(always)]
fn run_of(from: PageRef, run: OverflowRef) -> Result<OverflowRef> {
    if run.tag == 0 && !from.is_own() {
        return Err(corrupt(from.pgno, FormatError::Unsealed));
    }
    Ok(run)
}

#[inline(always)]
fn check_level(page: &[u8], level: usize) -> std::result::Result<(), FormatError> {
    let found = header::level_of(page);
    if usize::from(found) == level {
        Ok(())
    } else {
        Err(FormatError::WrongLevel { found, expected: level as u8 })
    }
}

#[cold]
fn corrupt(pgno: Pgno, cause: FormatError) -> Error {
    Error::Corrupt { pgno, cause }
}
