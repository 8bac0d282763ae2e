//! The forms in which a key holds its duplicates, and how they are stored in the smallest that holds them.

use std::ops::{Bound, Range};

use mapledb_format::FormatError;
use mapledb_format::duplicates::{DupField, dup_bytes, new_sub_page, sub_page_len, tree_ref};
use mapledb_format::leaf::{Leaf, LeafMut, NewValue, ValueField, is_inline};
use mapledb_format::order::Order;
use mapledb_format::tree_record::{Duplicates, TreeRecord};

use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::tree::{Appender, KeyOrder, OwnPath, TreeMut};

/// The form in which a key holds its duplicates.
pub(super) enum Held {
    One(Vec<u8>),
    SubPage,
    Tree(TreeRecord),
}

/// What the duplicates of a multimap are.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) record: Duplicates,
    /// Their order, to compare them in.
    pub(super) order: KeyOrder,
}

impl Kind {
    pub(super) fn is_packed(self) -> bool {
        self.record.len > 0
    }
}

/// What the duplicates of `tree` are, which are in `order`.
pub(super) fn kind_of<P: PagesMut, O: Order>(tree: &TreeMut<'_, P, O>, order: KeyOrder) -> Result<Kind> {
    let record = tree.record();
    let none = Error::Corrupt { pgno: record.root, cause: FormatError::BadTreeRecord("it is no multimap") };
    record.duplicates.map(|record| Kind { record, order }).ok_or(none)
}

/// How many bytes a page of the multimap has.
pub(super) fn page_len<P: PagesMut, O: Order>(tree: &mut TreeMut<'_, P, O>) -> usize {
    tree.pages().page_size().bytes()
}

/// The form in which the key at `path` holds its duplicates.
pub(super) fn held<P: PagesMut, O: Order>(tree: &TreeMut<'_, P, O>, path: &OwnPath) -> Result<Held> {
    match tree.field(path)? {
        ValueField::Inline(one) => Ok(Held::One(one.to_vec())),
        ValueField::Duplicates(field) => match tree.duplicates(path, field)? {
            DupField::SubPage(_) => Ok(Held::SubPage),
            DupField::Tree(nested) => Ok(Held::Tree(nested)),
        },
        ValueField::Overflow(_) => {
            let cause = FormatError::BadReference("a duplicate with pages of its own");
            Err(Error::Corrupt { pgno: tree.record().root, cause })
        }
    }
}

/// A sub-page of `len` bytes with these cells of one, or of the leaf of a tree, in it.
pub(super) fn sub_page_of(leaf: &Leaf<'_>, len: usize, kind: Kind) -> std::result::Result<Vec<u8>, FormatError> {
    let mut page = new_sub_page(len, kind.record.len);
    let mut fresh = LeafMut::new(&mut page);
    for index in 0..leaf.len() {
        fresh.push_raw(leaf.slot(index)?.field, leaf.cell(index)?)?;
    }
    fresh.retake_heads(kind.order)?;
    Ok(page)
}

/// Stores sorted duplicates in the smallest form that holds them; `added` of them are new.
pub(super) fn store_sorted<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    key: &[u8],
    kind: Kind,
    dups: &[&[u8]],
    added: u64,
) -> Result<()> {
    let page_len = page_len(tree);
    if let [one] = dups
        && is_inline(page_len, key.len(), one.len() as u64)
    {
        return tree.store_at(path, key, NewValue::Inline(one), added);
    }
    let used = dups.iter().map(|dup| dup_bytes(dup.len(), kind.is_packed())).sum();
    match sub_page_len(page_len, key.len(), used) {
        Some(len) if dups.len() > 1 => {
            let page = sorted_sub_page(len, kind, dups.iter().copied())
                .map_err(|cause| Error::Corrupt { pgno: tree.record().root, cause })?;
            tree.store_at(path, key, NewValue::Duplicates(&page), added)
        }
        _ => {
            let mut nested = kind.record.tree();
            append_to_tree(tree.pages(), &mut nested, kind.order, dups.iter().copied())?;
            tree.count_nested(0, nested.pages());
            tree.store_at(path, key, NewValue::Duplicates(&tree_ref(&nested)), added)
        }
    }
}

/// A sub-page of `len` bytes that holds these sorted duplicates.
pub(super) fn sorted_sub_page<'d>(
    len: usize,
    kind: Kind,
    dups: impl Iterator<Item = &'d [u8]>,
) -> std::result::Result<Vec<u8>, FormatError> {
    let mut page = new_sub_page(len, kind.record.len);
    let mut leaf = LeafMut::new(&mut page);
    for (index, dup) in dups.enumerate() {
        leaf.insert_pair(kind.order, index, dup, &NewValue::Inline(&[]))?;
    }
    Ok(page)
}

/// Puts sorted duplicates behind all of a nested tree. They were found in order before, so it is the order that is wrong if they are not
/// now.
pub(super) fn append_to_tree<'d, P: PagesMut>(
    pages: &mut P,
    nested: &mut TreeRecord,
    order: KeyOrder,
    dups: impl Iterator<Item = &'d [u8]>,
) -> Result<()> {
    let mut tree = TreeMut::in_order(pages, nested, order);
    let mut appender = Appender::new(&mut tree)?;
    for dup in dups {
        appender.push(dup, &[]).map_err(|error| match error {
            Error::NotSorted => Error::OrderBroken,
            other => other,
        })?;
    }
    appender.finish()
}

/// The places of the keys of `leaf` between two bounds, which do not cross.
pub(super) fn places(
    leaf: &Leaf<'_>,
    order: KeyOrder,
    low: Bound<&[u8]>,
    high: Bound<&[u8]>,
) -> std::result::Result<Range<usize>, FormatError> {
    let place = |key, over| leaf.search_from(order, 0, key, 0).map(|at| at.index + usize::from(over && at.exact));
    let from = match low {
        Bound::Unbounded => 0,
        Bound::Included(key) => place(key, false)?,
        Bound::Excluded(key) => place(key, true)?,
    };
    let to = match high {
        Bound::Unbounded => leaf.len(),
        Bound::Included(key) => place(key, true)?,
        Bound::Excluded(key) => place(key, false)?,
    };
    Ok(from..to)
}

/// Stores what is left of a key's duplicates, one leaf of them, in the smallest form if that needs no cut; answers whether
/// it did.
pub(super) fn shrink_to<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    key: &[u8],
    kind: Kind,
    leaf: &Leaf<'_>,
    page_len: usize,
) -> Result<bool> {
    let fault = |cause| Error::Corrupt { pgno: path.leaf, cause };
    let page;
    let new = if leaf.len() == 1 {
        let one = leaf.key(0).map_err(fault)?;
        if !is_inline(page_len, key.len(), one.len() as u64) {
            return Ok(false);
        }
        NewValue::Inline(one)
    } else {
        let Some(len) = sub_page_len(page_len, key.len(), leaf.used()) else { return Ok(false) };
        page = sub_page_of(leaf, len, kind).map_err(fault)?;
        NewValue::Duplicates(&page)
    };
    if !tree.fits_at(path, key, &new)? {
        return Ok(false);
    }
    tree.store_at(path, key, new, 0).map(|()| true)
}
