//! Trees as values of a tree: what a tree that is a multimap knows of the duplicates in its leaves.
//!
//! A multimap's record says that it is one, and of what order and length its duplicates are. Then a value is a duplicate, or
//! refers to several: a sub-page, which is a leaf within the leaf, or a tree of the same kind as this one, hung on the record
//! that the value holds (see [`duplicates`](mapledb_format::duplicates)). An entry then weighs as much as it has duplicates, so
//! that subtree counts count pairs; whatever is done with whole trees (seal, free, walk) is done with the nested ones too. What
//! goes into which of the three forms, and when, is the tenant's to say: see [`dup`](crate::dup).

use std::ops::Range;

use mapledb_format::duplicates::{DupField, tree_ref, validate_sub_page};
use mapledb_format::header;
use mapledb_format::leaf::{Leaf, NewValue, ValueField};
use mapledb_format::order::Order;
use mapledb_format::overflow::OverflowRef;
use mapledb_format::tree_record::TreeRecord;
use mapledb_format::{FormatError, Kind, Pgno};

use super::insert::OwnPath;
use super::cursor::Spot;
use super::{KeyOrder, PageRef, PagesMut, TreeMut, corrupt, leaf, run_of};
use crate::error::Result;

/// Duplicates that slot values of the leaf `from` refer to, under the rules of who may refer to what (I3).
pub(super) fn nested_in<'p>(record: &TreeRecord, from: PageRef, field: &'p [u8]) -> Result<DupField<'p>> {
    let fault = |cause| corrupt(from.pgno, cause);
    let Some(duplicates) = record.duplicates else {
        return Err(fault(FormatError::BadReference("duplicates in a table that is no multimap")));
    };
    let field = DupField::decode(field).map_err(fault)?;
    if let DupField::Tree(tree) = &field {
        if tree.is_empty() || tree.emptied() != duplicates.tree() {
            return Err(fault(FormatError::BadReference("the tree of its duplicates is of another kind")));
        }
        if tree.root_tag == 0 && !from.is_own() {
            return Err(fault(FormatError::Unsealed));
        }
    }
    Ok(field)
}

/// How many pairs the slots `slots` of the leaf `from` hold.
///
/// Cost: none in a tree that is no multimap; else a look at each slot.
#[inline]
pub(super) fn weigh(record: &TreeRecord, leaf: &Leaf<'_>, from: PageRef, slots: Range<usize>) -> Result<u64> {
    if record.duplicates.is_none() {
        return Ok(slots.len() as u64);
    }
    slots.into_iter().try_fold(0u64, |sum, index| Ok(sum.saturating_add(weight(record, leaf, from, index)?)))
}

/// How many pairs slot `index` of the leaf `from` holds.
pub(super) fn weight(record: &TreeRecord, leaf: &Leaf<'_>, from: PageRef, index: usize) -> Result<u64> {
    match leaf.value(index).map_err(|cause| corrupt(from.pgno, cause))? {
        ValueField::Duplicates(field) => Ok(nested_in(record, from, field)?.count()),
        ValueField::Inline(_) | ValueField::Overflow(_) => Ok(1),
    }
}

/// Whether a leaf is laid out as the tree's are: its keys packed or not, and its sub-pages sound, with duplicates in `order`.
pub(super) fn check_layout(record: &TreeRecord, order: KeyOrder, page: &[u8], from: PageRef) -> Result<()> {
    let fault = |cause| corrupt(from.pgno, cause);
    let leaf = Leaf::view(page).map_err(fault)?;
    if leaf.packed().map_or(0, |packed| packed.key_len()) != usize::from(record.key_len) {
        return Err(fault(FormatError::WrongKind { found: header::kind_of(page) }));
    }
    let Some(duplicates) = record.duplicates else { return Ok(()) };
    for index in 0..leaf.len() {
        if let ValueField::Duplicates(field) = leaf.value(index).map_err(fault)?
            && let DupField::SubPage(sub_page) = nested_in(record, from, field)?
        {
            validate_sub_page(order, sub_page, duplicates.len, page.len()).map_err(fault)?;
        }
    }
    Ok(())
}

/// What an entry has pages in beside its leaf.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owned {
    /// The run of its value.
    Run(OverflowRef),
    /// The tree of its duplicates.
    Tree(TreeRecord),
}

/// What slot `index` of the leaf `from` has pages in beside it.
pub(super) fn owned_at(
    record: &TreeRecord,
    leaf: &Leaf<'_>,
    from: PageRef,
    index: usize,
) -> Result<Option<Owned>> {
    match leaf.value(index).map_err(|cause| corrupt(from.pgno, cause))? {
        ValueField::Inline(_) => Ok(None),
        ValueField::Overflow(run) => run_of(from, run).map(|run| Some(Owned::Run(run))),
        ValueField::Duplicates(field) => match nested_in(record, from, field)? {
            DupField::SubPage(_) => Ok(None),
            DupField::Tree(tree) => Ok(Some(Owned::Tree(tree))),
        },
    }
}

/// What the entry behind the gap `spot` of a multimap holds: one duplicate, or what several are in.
pub(crate) fn duplicates_at<'p>(record: &TreeRecord, spot: &Spot<'p>) -> Result<std::result::Result<&'p [u8], DupField<'p>>> {
    match spot.leaf.value(spot.index).map_err(|cause| corrupt(spot.at.pgno, cause))? {
        ValueField::Inline(one) => Ok(Ok(one)),
        ValueField::Duplicates(field) => nested_in(record, spot.at, field).map(Err),
        ValueField::Overflow(_) => {
            Err(corrupt(spot.at.pgno, FormatError::BadReference("a duplicate with pages of its own")))
        }
    }
}

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Gives up what an entry has pages in beside its leaf.
    pub(super) fn free_owned(&mut self, owned: Owned) -> Result<()> {
        match owned {
            Owned::Run(run) => self.free_run(&run),
            Owned::Tree(mut tree) => {
                self.record.overflow_pages = self.record.overflow_pages.saturating_sub(tree.pages());
                let order = KeyOrder::recorded(tree.order);
                TreeMut::in_order(self.pages, &mut tree, order).clear()
            }
        }
    }

    /// Seals the tree of duplicates that slot `index` of the own leaf `pgno` refers to, if it does.
    pub(super) fn seal_duplicates(&mut self, pgno: Pgno, index: usize) -> Result<()> {
        let own = PageRef { pgno, tag: 0 };
        if let Some(Owned::Tree(mut tree)) = owned_at(self.record, &leaf(self.pages, own)?, own, index)? {
            let order = KeyOrder::recorded(tree.order);
            TreeMut::in_order(self.pages, &mut tree, order).seal()?;
            self.field_mut(pgno, index)?.copy_from_slice(&tree_ref(&tree));
        }
        Ok(())
    }

    /// How long the cell of `new` under a key of `key_len` bytes is here.
    pub(super) fn cell_len(&self, key_len: usize, new: &NewValue<'_>) -> usize {
        if self.record.key_len > 0 { key_len } else { new.cell_len(key_len) }
    }

    fn field_mut(&mut self, pgno: Pgno, index: usize) -> Result<&mut [u8]> {
        let fault = |cause| corrupt(pgno, cause);
        let leaf = self.leaf_mut(pgno)?;
        let field = leaf.value_field(index).map_err(fault)?;
        self.pages.own_mut(pgno, 1)?.get_mut(field).ok_or_else(|| fault(FormatError::WrongKind { found: Kind::Leaf as u8 }))
    }
}

/// What a tenant needs who keeps more than one thing under a key: to find the place once, and then say what is there.
impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// The pages of this tree, for another one.
    pub(crate) fn pages(&mut self) -> &mut P {
        self.pages
    }

    /// The record as it stands.
    pub(crate) fn record(&self) -> &TreeRecord {
        self.record
    }

    /// Counts pages of nested trees that are `now` where there were `before`.
    pub(crate) fn count_nested(&mut self, before: u64, now: u64) {
        let pages = &mut self.record.overflow_pages;
        *pages = pages.saturating_sub(before).saturating_add(now);
    }

    /// The value field at `path`.
    pub(crate) fn field(&self, path: &OwnPath) -> Result<ValueField<'_>> {
        let leaf = leaf(self.pages, PageRef { pgno: path.leaf, tag: 0 })?;
        leaf.value(path.at.index).map_err(|cause| corrupt(path.leaf, cause))
    }

    /// What several duplicates at `path` are in.
    pub(crate) fn duplicates<'f>(&self, path: &OwnPath, field: &'f [u8]) -> Result<DupField<'f>> {
        nested_in(self.record, PageRef { pgno: path.leaf, tag: 0 }, field)
    }

    /// The bytes of the value field at `path`, to write.
    pub(crate) fn field_at(&mut self, path: &OwnPath) -> Result<&mut [u8]> {
        self.field_mut(path.leaf, path.at.index)
    }

    /// Whether the value field at `path` may become one of so many bytes without a cut.
    pub(crate) fn fits_at(&mut self, path: &OwnPath, key: &[u8], new: &NewValue<'_>) -> Result<bool> {
        let fits = self.leaf_mut(path.leaf)?.fits_resized(path.at.index, new.cell_len(key.len()));
        fits.map_err(|cause| corrupt(path.leaf, cause))
    }

    /// Stores a value field at `path`, where `key` is or is not; `added` pairs are new.
    pub(crate) fn store_at(&mut self, path: &OwnPath, key: &[u8], new: NewValue<'_>, added: u64) -> Result<()> {
        match path.at.exact {
            true => self.replace(path, key, new, added),
            false => self.insert(path, key, new, added),
        }
        .map(drop)
    }

    /// Takes the entry at `path` out, with all its pairs.
    pub(crate) fn take_out(&mut self, path: &OwnPath) -> Result<u64> {
        let (from, index) = (PageRef { pgno: path.leaf, tag: 0 }, path.at.index);
        let node = leaf(self.pages, from)?;
        let gone = weight(self.record, &node, from, index)?;
        if let Some(owned) = owned_at(self.record, &node, from, index)? {
            self.free_owned(owned)?;
        }
        self.leaf_mut(path.leaf)?.remove(index).map_err(|cause| corrupt(path.leaf, cause))?;
        self.shrink(path, gone)?;
        Ok(gone)
    }

    /// Puts `key` in, with no value; answers whether it is new.
    pub(crate) fn put_key(&mut self, key: &[u8]) -> Result<bool> {
        let path = self.touch_path(key)?;
        if path.at.exact {
            return Ok(false);
        }
        self.check_beside(&path, key)?;
        self.insert(&path, key, NewValue::Inline(&[]), 1).map(|_| true)
    }
}
