//! Putting a pair in.
//!
//! One descent, touching every page on the way: the path is rewritten whatever happens, because every ancestor counts
//! the entries below it. If the leaf is full it is cut (see [`split`](super::split)), and what that leaves for the
//! parent is carried up.

use std::ops::Range;

use mapledb_format::branch::{Branch, BranchCells, BranchMut, Entry, cell_len};
use mapledb_format::header::{self, Kind, PageHeader};
use mapledb_format::leaf::{Leaf, LeafCells, LeafMut, NewValue, ValueField, is_inline};
use mapledb_format::node::{Cells, Node, Position, key_max};
use mapledb_format::order::Order;
use mapledb_format::overflow::{OVERFLOW_HEAD_BYTES, OverflowRef};
use mapledb_format::packed::PackedMut;
use mapledb_format::plan::Growth;
use mapledb_format::{FormatError, Pgno};

use super::nested::check_layout;
use super::redistribute::NewPair;
use super::split::Half;
use super::{check_level, DEPTH_MAX, KeyOrder, PageRef, PagesMut, TreeMut, branch, corrupt, leaf, prefetch_touched};
use crate::error::{Error, Result};

/// What is to be stored under a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'v> {
    /// These bytes.
    Bytes(&'v [u8]),
    /// So many bytes, zero until the caller writes them in place.
    Reserved(u64),
}

impl Value<'_> {
    fn len(&self) -> u64 {
        match self {
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::Reserved(len) => *len,
        }
    }
}

/// Where in the transaction's own pages a value was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The page, or the first of a run.
    pub(crate) pgno: Pgno,
    /// How many pages must be looked at.
    pub(crate) pages: u64,
    /// Where the value lies, in bytes from the start of the page.
    pub(crate) range: Range<usize>,
}

/// One own branch on a path and the child that was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) pgno: Pgno,
    pub(super) index: usize,
}

/// A path of own pages from the root to a place in a leaf.
pub(crate) struct OwnPath {
    taken: [Taken; DEPTH_MAX],
    len: usize,
    pub(crate) leaf: Pgno,
    pub(crate) at: Position,
    /// Whether every child taken was the last of its branch.
    pub(super) is_right_edge: bool,
}

impl OwnPath {
    /// The branches from the root down.
    pub(super) fn taken(&self) -> &[Taken] {
        &self.taken[..self.len]
    }
}

/// What a cut leaves for the parent: the left half keeps its place there, the right one wants one.
pub(crate) struct Carry {
    pub(super) separator: Vec<u8>,
    pub(super) left_count: u64,
    pub(super) right: Pgno,
    pub(super) right_count: u64,
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Stores `value` under `key`, replacing what is there. Answers whether something was, and where the value lies.
    ///
    /// Cost: one page copied a level unless the transaction owns it already; a cut makes one more page a level it
    /// reaches.
    pub(crate) fn put(&mut self, key: &[u8], value: Value<'_>) -> Result<(bool, Place)> {
        let max = key_max(self.page_len());
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        let path = self.touch_path(key)?;
        self.check_beside(&path, key)?;
        let new = self.stored(key.len(), value)?;
        let new = match &new {
            Stored::Inline(value) => *value,
            Stored::Run(run) => NewValue::Overflow(*run),
        };
        let place =
            if path.at.exact { self.replace(&path, key, new, 0)? } else { self.insert(&path, key, new, 1)? };
        Ok((path.at.exact, self.place_of(place, &new)))
    }

    /// Stores `value` under `key` behind everything there is. A key that is not greater is refused.
    ///
    /// Cost: as [`TreeMut::put`], and nothing is searched.
    pub(crate) fn put_last(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let max = key_max(self.page_len());
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        let path = self.touch_last_path()?;
        if let Some(last) = path.at.index.checked_sub(1) {
            let leaf = leaf(self.pages, PageRef { pgno: path.leaf, tag: 0 })?;
            let last = leaf.key(last).map_err(|cause| corrupt(path.leaf, cause))?;
            check_next(self.order, last, key)?;
        }
        let new = match self.stored(key.len(), Value::Bytes(value))? {
            Stored::Inline(value) => value,
            Stored::Run(run) => NewValue::Overflow(run),
        };
        self.insert(&path, key, new, 1).map(|_| ())
    }

    /// Refuses a key that may not stand beside those at the end of `path`, by its length.
    #[inline]
    pub(crate) fn check_beside(&self, path: &OwnPath, key: &[u8]) -> Result<()> {
        if self.order.is_bytewise() {
            return Ok(());
        }
        let leaf = leaf(self.pages, PageRef { pgno: path.leaf, tag: 0 })?;
        match leaf.is_empty() {
            true => Ok(()),
            false => check_lengths(self.order, leaf.key(0).map_err(|cause| corrupt(path.leaf, cause))?, key),
        }
    }

    /// The bytes of a place that [`TreeMut::put`] named, to write.
    pub(crate) fn own_bytes(&mut self, place: &Place) -> Result<&mut [u8]> {
        let pages = self.pages.own_mut(place.pgno, place.pages)?;
        Ok(&mut pages[place.range.clone()])
    }

    fn place_of(&self, (pgno, field): (Pgno, Range<usize>), new: &NewValue<'_>) -> Place {
        match new {
            NewValue::Overflow(run) => {
                let range = OVERFLOW_HEAD_BYTES..OVERFLOW_HEAD_BYTES + run.len as usize;
                Place { pgno: run.pgno, pages: self.pages.page_size().pages_for(range.end as u64), range }
            }
            _ => Place { pgno, pages: 1, range: field },
        }
    }

    /// Puts the value where it belongs: the leaf, or a run of its own.
    fn stored<'v>(&mut self, key_len: usize, value: Value<'v>) -> Result<Stored<'v>> {
        if is_inline(self.page_len(), key_len, value.len()) {
            return Ok(Stored::Inline(match value {
                Value::Bytes(bytes) => NewValue::Inline(bytes),
                Value::Reserved(len) => NewValue::Reserved(len as usize),
            }));
        }
        match value {
            Value::Bytes(bytes) => self.store_run(bytes),
            Value::Reserved(len) => self.reserve_run(len).and_then(|run| {
                self.run_mut(&run)?.fill(0);
                Ok(run)
            }),
        }
        .map(Stored::Run)
    }

    /// Makes every page from the root to the place of `key` an own one, and the tree one leaf at least.
    pub(crate) fn touch_path(&mut self, key: &[u8]) -> Result<OwnPath> {
        let order = self.order;
        let mut implied = 0;
        let mut path = self.touch_down(|node| {
            let index = node.child_for(order, key, implied)?;
            implied = node.implied_for(index, implied);
            Ok(index)
        })?;
        path.at = leaf(self.pages, PageRef { pgno: path.leaf, tag: 0 })?
            .search_from(order, 0, key, implied)
            .map_err(|cause| corrupt(path.leaf, cause))?;
        Ok(path)
    }

    /// Makes every page from the root to the first leaf an own one, and the tree one leaf at least.
    pub(super) fn touch_first_path(&mut self) -> Result<OwnPath> {
        self.touch_down(|_| Ok(0))
    }

    /// Makes every page from the root to the end of the last leaf an own one, and the tree one leaf at least.
    pub(super) fn touch_last_path(&mut self) -> Result<OwnPath> {
        let mut path = self.touch_down(|node| Ok(node.len().saturating_sub(1)))?;
        path.at.index = leaf(self.pages, PageRef { pgno: path.leaf, tag: 0 })?.len();
        Ok(path)
    }

    /// Makes every page from the root to a leaf an own one, by way of the children that `choose` names; answers the path
    /// to the leaf's first place.
    fn touch_down(
        &mut self,
        mut choose: impl FnMut(&Branch<'_>) -> std::result::Result<usize, FormatError>,
    ) -> Result<OwnPath> {
        if self.record.depth == 0 {
            self.plant()?;
        }
        let depth = usize::from(self.record.depth);
        if depth > DEPTH_MAX {
            return Err(corrupt(self.record.root, FormatError::BadTreeRecord("it is deeper than any tree")));
        }
        let none = Taken { pgno: Pgno::NONE, index: 0 };
        let mut taken = [none; DEPTH_MAX];
        let mut is_right_edge = true;
        let mut pgno = self.touch_root()?;
        for (step, level) in (1..depth).rev().enumerate() {
            let node = branch(self.pages, PageRef { pgno, tag: 0 }, level)?;
            let fault = |cause| corrupt(pgno, cause);
            let index = choose(&node).map_err(fault)?;
            is_right_edge &= index + 1 == node.len();
            taken[step] = Taken { pgno, index };
            let entry = node.entry(index).map_err(fault)?;
            prefetch_touched(self.pages, entry, level - 1);
            pgno = self.touch_child(pgno, index, entry, level - 1)?;
        }
        let at = Position { index: 0, exact: false };
        Ok(OwnPath { taken, len: depth - 1, leaf: pgno, at, is_right_edge })
    }

    /// Gives an empty tree a leaf.
    pub(super) fn plant(&mut self) -> Result<()> {
        let pgno = self.new_node(Kind::Leaf, 0)?;
        self.record.depth = 1;
        self.set_root(PageRef { pgno, tag: 0 });
        Ok(())
    }

    /// A new empty own node.
    pub(super) fn new_node(&mut self, kind: Kind, level: u8) -> Result<Pgno> {
        let pgno = self.pages.allocate(1)?;
        let txnid = self.pages.txnid();
        PageHeader::new(pgno, kind, level, txnid)
            .store(self.pages.own_mut(pgno, 1)?)
            .map_err(|cause| corrupt(pgno, cause))?;
        match kind {
            Kind::Branch => self.record.branch_pages = self.record.branch_pages.saturating_add(1),
            _ if self.record.key_len > 0 => {
                PackedMut::format(self.pages.own_mut(pgno, 1)?, self.record.key_len);
                self.record.leaf_pages = self.record.leaf_pages.saturating_add(1);
            }
            _ => self.record.leaf_pages = self.record.leaf_pages.saturating_add(1),
        }
        Ok(pgno)
    }

    pub(super) fn touch_root(&mut self) -> Result<Pgno> {
        let level = usize::from(self.record.depth) - 1;
        let pgno = self.touch(self.root(), level)?;
        self.set_root(PageRef { pgno, tag: 0 });
        Ok(pgno)
    }

    /// Makes child `index` of the own branch `parent` an own page.
    #[inline]
    pub(super) fn touch_child(
        &mut self,
        parent: Pgno,
        index: usize,
        entry: Entry,
        level: usize,
    ) -> Result<Pgno> {
        if entry.tag == 0 {
            return Ok(entry.child);
        }
        let child = self.touch(entry.into(), level)?;
        self.set_entry(parent, index, Entry { child, tag: 0, count: entry.count })?;
        Ok(child)
    }

    /// An own copy of the page `at`.
    pub(super) fn touch(&mut self, at: PageRef, level: usize) -> Result<Pgno> {
        if at.is_own() {
            return Ok(at.pgno);
        }
        if self.pages.owns(at) {
            // Sealed ahead of the commit: the reference is held against the page as any other.
            check_level(self.pages.page(at)?, level).map_err(|cause| corrupt(at.pgno, cause))?;
            return Ok(at.pgno);
        }
        let page = self.sound_page(at, level)?;
        if level == 0 {
            check_layout(self.record, KeyOrder::of_duplicates(self.record), page, at)?;
        }
        self.pages.copy(at)
    }

    /// The page `at`, which is validated whole unless that is known: so own pages can be changed without a doubt about their
    /// layout.
    pub(super) fn sound_page(&self, at: PageRef, level: usize) -> Result<&[u8]> {
        let fault = |cause| corrupt(at.pgno, cause);
        let page = self.pages.page(at)?;
        // What is remembered is that keys are in bytewise order.
        let is_remembered = self.order.is_bytewise();
        if at.is_own() || is_remembered && self.pages.is_sound(at, page) {
            check_level(page, level).map_err(fault)?;
            return Ok(page);
        }
        validate(self.order, page, level).map_err(fault)?;
        if is_remembered {
            self.pages.found_sound(at, page);
        }
        Ok(page)
    }

    pub(super) fn set_entry(&mut self, parent: Pgno, index: usize, entry: Entry) -> Result<()> {
        self.branch_mut(parent)?.set_entry(index, entry).map_err(|cause| corrupt(parent, cause))
    }

    pub(super) fn branch_mut(&mut self, pgno: Pgno) -> Result<BranchMut<'_>> {
        Ok(BranchMut::new(self.pages.own_mut(pgno, 1)?))
    }

    pub(super) fn leaf_mut(&mut self, pgno: Pgno) -> Result<LeafMut<'_>> {
        Ok(LeafMut::new(self.pages.own_mut(pgno, 1)?))
    }

    /// Gives the entry at the end of `path` another value; `added` pairs are new to the ancestors.
    pub(super) fn replace(
        &mut self,
        path: &OwnPath,
        key: &[u8],
        new: NewValue<'_>,
        added: u64,
    ) -> Result<(Pgno, Range<usize>)> {
        let (pgno, index) = (path.leaf, path.at.index);
        let fault = |cause| corrupt(pgno, cause);
        let old = leaf(self.pages, PageRef { pgno, tag: 0 })?.value(index).map_err(fault)?;
        if let ValueField::Overflow(run) = old {
            self.free_run(&run)?;
        }
        let mut leaf = self.leaf_mut(pgno)?;
        if leaf.fits_resized(index, new.cell_len(key.len())).map_err(fault)? {
            let field = leaf.replace_value(index, key, &new).map_err(fault)?;
            self.carry_up(path, None, added)?;
            return Ok((pgno, field));
        }
        leaf.remove(index).map_err(fault)?;
        self.insert(path, key, new, added)
    }

    /// Puts a pair in at the end of `path`; `added` entries are new to the ancestors.
    pub(super) fn insert(
        &mut self,
        path: &OwnPath,
        key: &[u8],
        new: NewValue<'_>,
        added: u64,
    ) -> Result<(Pgno, Range<usize>)> {
        let (pgno, index, order) = (path.leaf, path.at.index, self.order);
        let fault = |cause| corrupt(pgno, cause);
        let cell_len = self.cell_len(key.len(), &new);
        let mut leaf = self.leaf_mut(pgno)?;
        if leaf.fits(cell_len) {
            let field = leaf.insert_pair(order, index, key, &new).map_err(fault)?;
            self.carry_up(path, None, added)?;
            return Ok((pgno, field));
        }
        let growth = match leaf.node().map_err(fault)?.len() == index && path.is_right_edge {
            true => Growth::Appending,
            false => Growth::Scattered,
        };
        if growth == Growth::Scattered
            && let Some(&parent) = path.taken().last()
            && let Some(place) = self.redistribute(parent, NewPair { index, key, value: new, added })?
        {
            self.carry_up(path, None, added)?;
            return Ok(place);
        }
        let (carry, half, field) = self.split_leaf(pgno, index, key, &new, growth)?;
        let at = match half {
            Half::Left => pgno,
            Half::Right => carry.right,
        };
        self.carry_up(path, Some(carry), added)?;
        Ok((at, field))
    }

    /// Counts `added` entries in every ancestor and finds a place for the right half of a cut.
    pub(crate) fn carry_up(&mut self, path: &OwnPath, mut carry: Option<Carry>, added: u64) -> Result<()> {
        let order = self.order;
        for &Taken { pgno, index } in path.taken().iter().rev() {
            let fault = |cause| corrupt(pgno, cause);
            let mut branch = self.branch_mut(pgno)?;
            let mut entry = branch.node().and_then(|node| node.entry(index)).map_err(fault)?;
            let Some(cut) = carry.take() else {
                if added == 0 {
                    return Ok(());
                }
                entry.count += added;
                branch.set_entry(index, entry).map_err(fault)?;
                continue;
            };
            entry.count = cut.left_count;
            branch.set_entry(index, entry).map_err(fault)?;
            let right = Entry { child: cut.right, tag: 0, count: cut.right_count };
            if branch.fits(cell_len(cut.separator.len())) {
                branch.insert_child(order, index + 1, &cut.separator, right).map_err(fault)?;
            } else {
                let growth = if path.is_right_edge { Growth::Appending } else { Growth::Scattered };
                carry = Some(self.split_branch(pgno, index + 1, &cut.separator, right, growth)?);
            }
        }
        if let Some(cut) = carry {
            self.grow_root(cut)?;
        }
        self.record.entries = self.record.entries.saturating_add(added);
        Ok(())
    }

    /// Puts a branch over a root that was cut.
    pub(super) fn grow_root(&mut self, cut: Carry) -> Result<()> {
        let old = self.record.root;
        let level = self.record.depth;
        if usize::from(level) >= DEPTH_MAX {
            return Err(corrupt(old, FormatError::BadTreeRecord("it is deeper than any tree")));
        }
        let root = self.new_node(Kind::Branch, level)?;
        let order = self.order;
        let fault = |cause| corrupt(root, cause);
        let mut branch = self.branch_mut(root)?;
        let left = Entry { child: old, tag: 0, count: cut.left_count };
        let right = Entry { child: cut.right, tag: 0, count: cut.right_count };
        branch.insert_child(order, 0, &[], left).map_err(fault)?;
        branch.insert_child(order, 1, &cut.separator, right).map_err(fault)?;
        self.record.depth += 1;
        self.set_root(PageRef { pgno: root, tag: 0 });
        Ok(())
    }
}

/// A value where it will stay.
enum Stored<'v> {
    Inline(NewValue<'v>),
    Run(OverflowRef),
}

/// Refuses a key to stand behind `last` unless it is greater, and as long where it must be.
pub(super) fn check_next<O: Order>(order: O, last: &[u8], key: &[u8]) -> Result<()> {
    check_lengths(order, last, key)?;
    if order.compare(last, key).is_ge() { Err(Error::NotSorted) } else { Ok(()) }
}

fn check_lengths<O: Order>(order: O, there: &[u8], key: &[u8]) -> Result<()> {
    match order.goes_with(there, key) {
        true => Ok(()),
        false => Err(Error::KeyLength { len: key.len(), expected: there.len() }),
    }
}

/// Whether `page` is a sound node of `level`.
pub(super) fn validate<O: Order>(order: O, page: &[u8], level: usize) -> std::result::Result<(), FormatError> {
    super::check_level(page, level)?;
    match level {
        0 => Leaf::validate(order, page).map(|_| ()),
        _ => Node::<BranchCells>::validate(order, page).and_then(|node| match node.is_empty() {
            true => Err(FormatError::SlotOutOfBounds { slot: 0 }),
            false => Ok(()),
        }),
    }
}

/// Bytes that slots and cells of an own node use.
pub(super) fn used_of(page: &[u8]) -> std::result::Result<usize, FormatError> {
    match header::kind_of(page) {
        kind if kind == BranchCells::KIND as u8 => Node::<BranchCells>::view(page).map(|node| node.used()),
        _ => Node::<LeafCells>::view(page).map(|node| node.used()),
    }
}
