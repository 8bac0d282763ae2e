//! Where a pair was found: to look there again, or beside it, as long as the multimap is as it was.

use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::Leaf;

use crate::error::{Error, Result};
use crate::pages::{PageRef, Pages};
use crate::tree::{KeyOrder, Pair, Tree, Way, duplicates_at};

/// Where a pair was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairPlace {
    /// The leaf of the key, and its slot there.
    pub(super) leaf: PageRef,
    pub(super) slot: usize,
    pub(super) among: Among,
}

/// Where a duplicate was found among those of its key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among {
    /// It is the only one.
    Alone,
    /// In the sub-page, so many behind its first.
    SubPage(usize),
    /// In a leaf of their tree, and its slot there.
    Leaf(PageRef, usize),
}

impl PairPlace {
    /// The place beside this one in the same leaf, if it may have one.
    pub(crate) fn beside(self, way: Way) -> Option<PairPlace> {
        let step = |index: usize| match way {
            Way::Forward => index.checked_add(1),
            Way::Back => index.checked_sub(1),
        };
        Some(match self.among {
            Among::Alone => PairPlace { slot: step(self.slot)?, ..self },
            Among::SubPage(index) => PairPlace { among: Among::SubPage(step(index)?), ..self },
            Among::Leaf(at, index) => PairPlace { among: Among::Leaf(at, step(index)?), ..self },
        })
    }
}

/// The pair at a place of a multimap that has not changed since the place, or the one beside it, was found; `None` if there is none,
/// or if another search must say what is there.
///
/// Cost: a page touch for the key, and one for a duplicate that is in a tree.
pub(crate) fn pair_in<'p, P: Pages>(tree: Tree<'p, P, KeyOrder>, place: PairPlace) -> Result<Option<Pair<'p>>> {
    let fault = |cause| Error::Corrupt { pgno: place.leaf.pgno, cause };
    let Some(spot) = tree.spot_in(place.leaf, place.slot)? else { return Ok(None) };
    let key = spot.leaf.key(spot.index).map_err(fault)?;
    let dup = match (duplicates_at(tree.record(), &spot)?, place.among) {
        (Ok(one), Among::Alone) => Some(one),
        (Err(DupField::SubPage(page)), Among::SubPage(index)) => {
            let leaf = Leaf::view(page).map_err(fault)?;
            if index < leaf.len() { Some(leaf.key(index).map_err(fault)?) } else { None }
        }
        (Err(DupField::Tree(nested)), Among::Leaf(at, index)) => {
            let order = KeyOrder::recorded(nested.order);
            Tree::in_order(tree.pages(), &nested, order).pair_in(at, index)?.map(|(dup, _)| dup)
        }
        _ => None,
    };
    tree.pages().still_sound()?;
    Ok(dup.map(|dup| (key, dup)))
}
