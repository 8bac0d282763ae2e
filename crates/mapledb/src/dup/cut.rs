//! Taking out all pairs between two: parts of the duplicates of the keys at both ends, and the keys between them whole.

use std::cmp::Ordering;
use std::ops::Bound;

use mapledb_format::order::Order;
use mapledb_os::planted;

use super::read::{PairBound, PairRange, count_of};
use super::form::{Held, held, kind_of, places};
use super::write::{delete_in_sub_page, delete_in_tree};
use crate::error::Result;
use crate::pages::PagesMut;
use crate::tree::{KeyOrder, TreeMut};

/// Takes all pairs between two bounds out; answers how many went. None cost no copy.
///
/// Cost: the paths to both ends copied, of keys and of duplicates, and a page read for each page freed.
pub(crate) fn delete_range<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    low: Bound<PairBound<'_>>,
    high: Bound<PairBound<'_>>,
) -> Result<u64> {
    let (from, to) = (key_of(low), key_of(high));
    let keys = from.zip(to).map_or(Ordering::Less, |(from, to)| tree.reading().order().compare(from, to));
    match (keys, from, to) {
        (Ordering::Greater, ..) => Ok(0),
        (Ordering::Equal, Some(key), _) => delete_within(tree, order, key, part(low), part(high)),
        _ => {
            let all = Some(Bound::Unbounded);
            let head = from.map_or(Ok(0), |key| delete_within(tree, order, key, part(low), all))?;
            let between = tree.delete_range(behind(from), behind(to))?;
            let tail = to.map_or(Ok(0), |key| delete_within(tree, order, key, all, part(high)))?;
            Ok(head + between + tail)
        }
    }
}

fn key_of(bound: Bound<PairBound<'_>>) -> Option<&[u8]> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(bound) | Bound::Excluded(bound) => Some(bound.key),
    }
}

/// The keys beyond `key`, on whichever side of it.
fn behind(key: Option<&[u8]>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, Bound::Excluded)
}

/// What of the duplicates of the key at a bound lies within it; `None` if nothing does.
pub(super) fn part(bound: Bound<PairBound<'_>>) -> Option<Bound<&[u8]>> {
    match bound {
        Bound::Unbounded => Some(Bound::Unbounded),
        Bound::Excluded(bound) if !planted("greedy_cut") => bound.dup.map(Bound::Excluded),
        Bound::Included(bound) | Bound::Excluded(bound) => Some(bound.dup.map_or(Bound::Unbounded, Bound::Included)),
    }
}

/// Takes the duplicates of one key between two bounds out; answers how many went.
fn delete_within<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    key: &[u8],
    low: Option<Bound<&[u8]>>,
    high: Option<Bound<&[u8]>>,
) -> Result<u64> {
    let (Some(low), Some(high)) = (low, high) else { return Ok(0) };
    let of_key = |bound| match bound {
        Bound::Unbounded => Bound::Included(PairBound::of_key(key)),
        Bound::Included(dup) => Bound::Included(PairBound::of(key, dup)),
        Bound::Excluded(dup) => Bound::Excluded(PairBound::of(key, dup)),
    };
    let gone = PairRange::new(tree.reading(), order, of_key(low), of_key(high))?.remaining();
    if gone == 0 {
        return Ok(0);
    }
    let is_all = gone == count_of(tree.reading(), key)?;
    let (kind, path) = (kind_of(tree, order)?, tree.touch_path(key)?);
    match held(tree, &path)? {
        Held::SubPage if !is_all => {
            delete_in_sub_page(tree, &path, key, kind, |leaf| places(leaf, order, low, high))?;
        }
        Held::Tree(nested) if !is_all => {
            delete_in_tree(tree, &path, key, kind, nested, |tree| tree.delete_range(low, high).map(drop))?;
        }
        _ => return tree.take_out(&path),
    }
    tree.shrink(&path, gone)?;
    Ok(gone)
}
