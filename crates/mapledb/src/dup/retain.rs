//! Taking out the pairs that a predicate names: key by key, the duplicates of each in one go.

use std::ops::Bound;

use mapledb_os::planted;

use super::cut::part;
use super::read::{PairBound, PairRange, count_of};
use super::form::{Held, held, kind_of, places};
use super::write::{delete_in_sub_page, delete_in_tree, delete_key};
use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::tree::{KeyOrder, Tree, TreeMut};

/// What one key loses.
struct Loss {
    key: Vec<u8>,
    /// Of each of its duplicates in the range, in order, whether it goes.
    goes: Vec<bool>,
}

/// Takes out every pair between two bounds that `keep` is false for; answers how many went. `keep` is asked about each once, in order.
///
/// Cost: every page of the range read; for each key that loses something a descent, and what changes of its duplicates
/// copied; a byte of memory for each duplicate of one key.
pub(crate) fn retain<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    low: Bound<PairBound<'_>>,
    high: Bound<PairBound<'_>>,
    keep: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<u64> {
    let mut gone = 0;
    let mut loss = next_loss(tree.reading(), order, low, high, keep)?;
    while let Some(Loss { key, goes }) = loss {
        gone += lose(tree, order, &key, (low, high), &goes)?;
        let behind = Bound::Excluded(PairBound::of_key(&key));
        loss = next_loss(tree.reading(), order, behind, high, keep)?;
        let keys = tree.reading().order();
        if loss.as_ref().is_some_and(|next| keys.compare(&next.key, &key).is_le()) {
            return Err(Error::OrderBroken);
        }
    }
    Ok(gone)
}

/// The first key between two bounds that loses something, and what.
fn next_loss<P: PagesMut>(
    tree: Tree<'_, P, KeyOrder>,
    order: KeyOrder,
    low: Bound<PairBound<'_>>,
    high: Bound<PairBound<'_>>,
    keep: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<Option<Loss>> {
    let mut range = PairRange::new(tree, order, low, high)?;
    let (mut at, mut goes): (Option<&[u8]>, Vec<bool>) = (None, Vec::new());
    while let Some((key, dup)) = range.next()? {
        if at != Some(key) {
            if goes.contains(&true) {
                break;
            }
            goes.clear();
            at = Some(key);
        }
        goes.push(!keep(key, dup) || planted("greedy_retain"));
    }
    let key = at.filter(|_| goes.contains(&true));
    Ok(key.map(|key| Loss { key: key.to_vec(), goes }))
}

/// Takes the duplicates of `key` between two bounds out that `goes` says; answers how many went. If a search does not lead to just
/// those that were gone through, the order is not the one they are stored by.
fn lose<P: PagesMut>(
    tree: &mut TreeMut<'_, P, KeyOrder>,
    order: KeyOrder,
    key: &[u8],
    (low, high): (Bound<PairBound<'_>>, Bound<PairBound<'_>>),
    goes: &[bool],
) -> Result<u64> {
    let gone = goes.iter().filter(|goes| **goes).count() as u64;
    let all_or_none = |went: u64| if went == gone { Ok(went) } else { Err(Error::OrderBroken) };
    if gone == count_of(tree.reading(), key)? {
        return all_or_none(delete_key(tree, key)?);
    }
    let keys = tree.reading().order();
    let (low, high) = (within(keys, key, low), within(keys, key, high));
    let (kind, path) = (kind_of(tree, order)?, tree.touch_path(key)?);
    if !path.at.exact {
        return Err(Error::OrderBroken);
    }
    match held(tree, &path)? {
        Held::One(_) => return all_or_none(tree.take_out(&path)?),
        Held::SubPage => {
            let mut found = 0;
            delete_in_sub_page(tree, &path, key, kind, |leaf| {
                let places = places(leaf, order, low, high)?;
                found = places.len();
                Ok(places.zip(goes).filter(|(_, goes)| **goes).map(|(place, _)| place))
            })?;
            if found != goes.len() {
                return Err(Error::OrderBroken);
            }
        }
        Held::Tree(nested) => {
            let mut goes = goes.iter();
            let keep = |_: &[u8], _: &[u8]| !goes.next().is_some_and(|goes| *goes);
            delete_in_tree(tree, &path, key, kind, nested, |tree| {
                all_or_none(tree.retain_range(low, high, keep)?).map(drop)
            })?;
        }
    }
    tree.shrink(&path, gone)?;
    Ok(gone)
}

/// What of the duplicates of `key` lies on the near side of a bound, where any does.
fn within<'k>(keys: KeyOrder, key: &[u8], bound: Bound<PairBound<'k>>) -> Bound<&'k [u8]> {
    match bound {
        Bound::Included(pair) | Bound::Excluded(pair) if keys.compare(pair.key, key).is_eq() => {
            part(bound).unwrap_or(Bound::Unbounded)
        }
        _ => Bound::Unbounded,
    }
}
