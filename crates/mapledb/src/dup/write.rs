//! Changing the duplicates of a key, and the form they are in.

use std::cmp::Ordering;
use std::ops::{Bound, Range};

use mapledb_format::FormatError;
use mapledb_format::duplicates::{
    DupField, dup_bytes, new_sub_page, roomy_sub_page_len, sub_page_len, sub_page_max, tree_ref,
};
use mapledb_format::header::HEADER_BYTES;
use mapledb_format::leaf::{Leaf, LeafMut, NewValue, ValueField, is_inline};
use mapledb_format::node::key_max;
use mapledb_format::order::Order;
use mapledb_format::tree_record::{Duplicates, TreeRecord};
use mapledb_os::planted;

use super::cursor::PairCursor;
use super::read::contains;
use crate::error::{Error, Result};
use crate::pages::{PageRef, PagesMut};
use crate::tree::{Appender, KeyOrder, OwnPath, Pair, TreeMut, in_its_order};

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

/// Puts a pair in; answers whether it is new. `order` is that of the duplicates, here as below.
///
/// Cost: the path to the key copied, and in a nested tree the path to the duplicate.
pub(crate) fn insert<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    order: KeyOrder,
    key: &[u8],
    dup: &[u8],
) -> Result<bool> {
    let kind = kind_of(tree, order)?;
    check_key(tree, key)?;
    check_dup(tree, kind, dup)?;
    let path = tree.touch_path(key)?;
    if !path.at.exact {
        tree.check_beside(&path, key)?;
        store_sorted(tree, &path, key, kind, &[dup], 1)?;
        return Ok(true);
    }
    match held(tree, &path)? {
        Held::One(one) => {
            let pair = match order.compare(&one, dup) {
                Ordering::Equal => return Ok(false),
                Ordering::Less => [&one, dup],
                Ordering::Greater => [dup, &one],
            };
            store_sorted(tree, &path, key, kind, &pair, 1)?;
            Ok(true)
        }
        Held::SubPage => insert_in_sub_page(tree, &path, key, kind, dup),
        Held::Tree(nested) => Ok(insert_in_tree(tree, &path, kind, nested, [dup].into_iter())? > 0),
    }
}

/// Puts pairs of one key in; answers how many were new. Those of a nested tree go in with one descent of the keys.
///
/// # Errors
/// After one about a duplicate those before it are in.
pub(crate) fn insert_all<'d, P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    order: KeyOrder,
    key: &[u8],
    dups: impl Iterator<Item = &'d [u8]>,
) -> Result<u64> {
    let kind = kind_of(tree, order)?;
    check_key(tree, key)?;
    let mut added = 0;
    let mut dups = dups.peekable();
    while let Some(dup) = dups.next() {
        added += u64::from(insert(tree, order, key, dup)?);
        if dups.peek().is_none() {
            break;
        }
        let path = tree.touch_path(key)?;
        let Held::Tree(nested) = held(tree, &path)? else { continue };
        let mut sound = Vec::new();
        let mut fault = None;
        for dup in dups.by_ref() {
            match check_dup(tree, kind, dup) {
                Ok(()) => sound.push(dup),
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        added += insert_in_tree(tree, &path, kind, nested, sound.into_iter())?;
        if let Some(fault) = fault {
            return Err(fault);
        }
    }
    Ok(added)
}

/// Puts a pair in that is greater than every other, by its key or by its duplicate.
pub(crate) fn append<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    key: &[u8],
    dup: &[u8],
) -> Result<()> {
    let kind = kind_of(tree, order)?;
    check_key(tree, key)?;
    check_dup(tree, kind, dup)?;
    if let Some((last_key, last_dup)) = PairCursor::new(tree.reading(), order).last()? {
        let by_key = tree.reading().order().compare(last_key, key);
        if by_key.then_with(|| order.compare(last_dup, dup)).is_ge() {
            return Err(Error::NotSorted);
        }
    }
    insert(tree, order, key, dup).map(drop)
}

/// Takes a pair out; answers whether it was there. One that is not costs no copy.
pub(crate) fn delete<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    key: &[u8],
    dup: &[u8],
) -> Result<bool> {
    let is_there = contains(tree.reading(), order, key, dup)?;
    if is_there {
        take(tree, order, key, dup)?;
    }
    Ok(is_there)
}

/// Takes the pair that `find` goes to out and answers it.
pub(crate) fn pop<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    find: impl for<'p> FnOnce(&mut PairCursor<'p, P>) -> Result<Option<Pair<'p>>>,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let found = find(&mut PairCursor::new(tree.reading(), order))?;
    let Some((key, dup)) = found.map(|(key, dup)| (key.to_vec(), dup.to_vec())) else { return Ok(None) };
    take(tree, order, &key, &dup)?;
    Ok(Some((key, dup)))
}

/// Takes out a pair that is there.
fn take<P: PagesMut>(tree: &mut TreeMut<'_, P, KeyOrder>, order: KeyOrder, key: &[u8], dup: &[u8]) -> Result<()> {
    let kind = kind_of(tree, order)?;
    let path = tree.touch_path(key)?;
    match held(tree, &path)? {
        Held::One(_) => return tree.take_out(&path).map(drop),
        Held::SubPage => {
            let only = Bound::Included(dup);
            delete_in_sub_page(tree, &path, key, kind, |leaf| places(leaf, order, only, only))?;
        }
        Held::Tree(nested) if nested.entries <= 1 => return tree.take_out(&path).map(drop),
        Held::Tree(nested) => {
            delete_in_tree(tree, &path, key, kind, nested, |tree| tree.delete(dup).map(drop))?;
        }
    }
    tree.shrink(&path, 1)
}

/// Takes all pairs of a key out; answers how many there were. None cost no copy.
pub(crate) fn delete_key<P: PagesMut, O: Order>(tree: &mut TreeMut<'_, P, O>, key: &[u8]) -> Result<u64> {
    if !tree.reading().contains(key)? {
        return Ok(0);
    }
    let path = tree.touch_path(key)?;
    tree.take_out(&path)
}

/// What the duplicates of `tree` are, which are in `order`.
pub(super) fn kind_of<P: PagesMut, O: Order>(tree: &TreeMut<'_, P, O>, order: KeyOrder) -> Result<Kind> {
    let record = tree.record();
    let none = Error::Corrupt { pgno: record.root, cause: FormatError::BadTreeRecord("it is no multimap") };
    record.duplicates.map(|record| Kind { record, order }).ok_or(none)
}

fn page_len<P: PagesMut, O: Order>(tree: &mut TreeMut<'_, P, O>) -> usize {
    tree.pages().page_size().bytes()
}

fn check_key<P: PagesMut, O: Order>(tree: &mut TreeMut<'_, P, O>, key: &[u8]) -> Result<()> {
    let max = key_max(page_len(tree));
    if key.len() > max { Err(Error::KeyTooLong { len: key.len(), max }) } else { Ok(()) }
}

/// Refuses a duplicate that no key may have.
pub(super) fn check_dup<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    kind: Kind,
    dup: &[u8],
) -> Result<()> {
    let (len, max) = (dup.len(), key_max(page_len(tree)));
    if kind.is_packed() && len != usize::from(kind.record.len) {
        return Err(Error::DuplicateLength { len, expected: usize::from(kind.record.len) });
    }
    if len > max { Err(Error::DuplicateTooLong { len, max }) } else { Ok(()) }
}

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
fn sub_page_of(leaf: &Leaf<'_>, len: usize, kind: Kind) -> std::result::Result<Vec<u8>, FormatError> {
    let mut page = new_sub_page(len, kind.record.len);
    let mut fresh = LeafMut::new(&mut page);
    for index in 0..leaf.len() {
        fresh.push_raw(leaf.slot(index)?.field, leaf.cell(index)?)?;
    }
    fresh.retake_heads(kind.order)?;
    Ok(page)
}

/// Stores sorted duplicates in the smallest form that holds them; `added` of them are new.
fn store_sorted<P: PagesMut, O: Order>(
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

/// Puts sorted duplicates behind all of a nested tree.
pub(super) fn append_to_tree<'d, P: PagesMut>(
    pages: &mut P,
    nested: &mut TreeRecord,
    order: KeyOrder,
    dups: impl Iterator<Item = &'d [u8]>,
) -> Result<()> {
    let mut tree = TreeMut::in_order(pages, nested, order);
    let mut appender = Appender::new(&mut tree)?;
    for dup in dups {
        appender.push(dup, &[])?;
    }
    appender.finish()
}

fn insert_in_sub_page<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    key: &[u8],
    kind: Kind,
    dup: &[u8],
) -> Result<bool> {
    let order = kind.order;
    let (page_len, root) = (page_len(tree), tree.record().root);
    let fault = |cause| Error::Corrupt { pgno: root, cause };
    let field = tree.field_at(path)?;
    let mut sub_page = LeafMut::new(field);
    let at = sub_page.node().and_then(|leaf| leaf.search_from(order, 0, dup, 0)).map_err(fault)?;
    if at.exact {
        return Ok(false);
    }
    let new = NewValue::Inline(&[]);
    if sub_page.fits(new.cell_len(dup.len())) {
        sub_page.insert_pair(order, at.index, dup, &new).map_err(fault)?;
        tree.carry_up(path, None, 1)?;
        return Ok(true);
    }
    let old = field.to_vec();
    let leaf = Leaf::view(&old).map_err(fault)?;
    let used = leaf.used() + dup_bytes(dup.len(), kind.is_packed());
    if let Some(len) = roomy_sub_page_len(page_len, key.len(), used) {
        let mut page = sub_page_of(&leaf, len, kind).map_err(fault)?;
        LeafMut::new(&mut page).insert_pair(order, at.index, dup, &new).map_err(fault)?;
        tree.store_at(path, key, NewValue::Duplicates(&page), 1)?;
        return Ok(true);
    }
    let mut dups = Vec::with_capacity(leaf.len() + 1);
    for index in 0..leaf.len() {
        dups.push(leaf.key(index).map_err(fault)?);
    }
    dups.insert(at.index, dup);
    let mut nested = kind.record.tree();
    append_to_tree(tree.pages(), &mut nested, kind.order, dups.into_iter())?;
    tree.count_nested(0, nested.pages());
    tree.store_at(path, key, NewValue::Duplicates(&tree_ref(&nested)), 1)?;
    Ok(true)
}

/// Puts duplicates into the nested tree at `path`; answers how many were new.
fn insert_in_tree<'d, P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    kind: Kind,
    mut nested: TreeRecord,
    dups: impl Iterator<Item = &'d [u8]>,
) -> Result<u64> {
    let before = (nested.pages(), nested.entries);
    in_its_order!(kind.order, order => {
        let mut inner = TreeMut::in_order(tree.pages(), &mut nested, order);
        for dup in dups {
            inner.put_key(dup)?;
        }
    });
    let added = nested.entries.saturating_sub(before.1);
    tree.field_at(path)?.copy_from_slice(&tree_ref(&nested));
    tree.count_nested(before.0, nested.pages());
    tree.carry_up(path, None, if planted("uncounted_duplicate") { 0 } else { added })?;
    Ok(added)
}

/// Takes the duplicates in the places that `choose` names, ascending and not all, out of the sub-page at `path`; the ancestors have yet to
/// count them out.
pub(super) fn delete_in_sub_page<P: PagesMut, O: Order, I: DoubleEndedIterator<Item = usize>>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    key: &[u8],
    kind: Kind,
    choose: impl FnOnce(&Leaf<'_>) -> std::result::Result<I, FormatError>,
) -> Result<()> {
    let (page_len, root) = (page_len(tree), tree.record().root);
    let fault = |cause| Error::Corrupt { pgno: root, cause };
    let field = tree.field_at(path)?;
    let mut sub_page = LeafMut::new(field);
    let going = sub_page.node().and_then(|leaf| choose(&leaf)).map_err(fault)?;
    going.rev().try_for_each(|index| sub_page.remove(index)).map_err(fault)?;
    let left = sub_page.node().map_err(fault)?;
    let (len, used) = (left.len(), left.used());
    if len > 1 && 2 * (HEADER_BYTES + used) > field.len() {
        return Ok(());
    }
    let old = field.to_vec();
    let leaf = Leaf::view(&old).map_err(fault)?;
    shrink_to(tree, path, key, kind, &leaf, page_len).map(drop)
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
fn shrink_to<P: PagesMut, O: Order>(
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

/// Takes duplicates, not all, out of the nested tree at `path` by `delete`; the ancestors have yet to count them out.
pub(super) fn delete_in_tree<P: PagesMut, O: Order>(
    tree: &mut TreeMut<'_, P, O>,
    path: &OwnPath,
    key: &[u8],
    kind: Kind,
    mut nested: TreeRecord,
    delete: impl FnOnce(&mut TreeMut<'_, P, KeyOrder>) -> Result<()>,
) -> Result<()> {
    let before = nested.pages();
    let order = kind.order;
    delete(&mut TreeMut::in_order(tree.pages(), &mut nested, order))?;
    let page_len = page_len(tree);
    if nested.depth == 1 {
        let root = PageRef { pgno: nested.root, tag: nested.root_tag };
        let page = tree.pages().page(root)?.to_vec();
        let leaf = Leaf::view(&page).map_err(|cause| Error::Corrupt { pgno: root.pgno, cause })?;
        let is_small = 2 * (HEADER_BYTES + leaf.used()) <= sub_page_max(page_len);
        if is_small && shrink_to(tree, path, key, kind, &leaf, page_len)? {
            TreeMut::in_order(tree.pages(), &mut nested, order).clear()?;
            tree.count_nested(before, 0);
            return Ok(());
        }
    }
    if !planted("stale_nested_tree") {
        tree.field_at(path)?.copy_from_slice(&tree_ref(&nested));
    }
    tree.count_nested(before, nested.pages());
    Ok(())
}
