//! Putting duplicates in and taking them out, in whatever [`form`](super::form) their key holds them.

use std::cmp::Ordering;
use std::ops::Bound;

use mapledb_format::FormatError;
use mapledb_format::duplicates::{dup_bytes, roomy_sub_page_len, sub_page_max, tree_ref};
use mapledb_format::header::HEADER_BYTES;
use mapledb_format::leaf::{Leaf, LeafMut, NewValue};
use mapledb_format::node::key_max;
use mapledb_format::order::Order;
use mapledb_format::tree_record::TreeRecord;
use mapledb_os::planted;

use super::cursor::PairCursor;
use super::form::{Held, Kind, append_to_tree, held, kind_of, page_len, places, shrink_to, store_sorted, sub_page_of};
use super::read::contains;
use crate::error::{Error, Result};
use crate::pages::{PageRef, PagesMut};
use crate::tree::{KeyOrder, OwnPath, Pair, TreeMut, in_its_order};

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
    // In an order that is not the one it was stored by a search may end at another pair, or at none.
    if PairCursor::new(tree.reading(), order).seek(&key, &dup)? != Some((&key, &dup)) {
        return Err(Error::OrderBroken);
    }
    take(tree, order, &key, &dup)?;
    Ok(Some((key, dup)))
}

/// Takes out a pair that was looked up and is there.
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
