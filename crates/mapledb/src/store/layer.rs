//! One layer of dirty pages: what a savepoint or a nested transaction needs to take its changes back.
//!
//! A transaction modifies its own pages in place. While a layer is the top one, an own page that is older than it is
//! *kept* before the first store to it: its bytes are copied aside. An older page that is given up is *held*: nobody gets
//! it while the layer stands, so its bytes stay what they are. Pages handed out in the layer need neither: to take them
//! back is to forget them.
//!
//! A unit is one page, or a run that holds one value; it is handed out, stored to and given up as a whole, and told by its
//! first page.
//!
//! Pure bookkeeping: the draft decides when, and copies the bytes.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use mapledb_format::{Extent, Pgno};

/// What a unit held when the layer began.
pub(crate) struct Kept {
    pub(crate) first: Pgno,
    pub(crate) bytes: Box<[u8]>,
}

/// The changes of own pages since a savepoint.
#[derive(Default)]
pub(crate) struct Layer {
    /// Units that may be stored to and reused: handed out since the layer began, or kept.
    free_to_change: HashSet<u64, BuildHasherDefault<PgnoHasher>>,
    kept: Vec<Kept>,
    /// Older units given up that were not kept.
    held: Vec<Extent>,
}

impl Layer {
    /// Whether the unit at `first` may be changed without its bytes being kept first.
    #[inline]
    pub(crate) fn may_change(&self, first: Pgno) -> bool {
        self.free_to_change.contains(&first.get())
    }

    /// Takes note of a unit that was handed out.
    #[inline]
    pub(crate) fn hand_out(&mut self, first: Pgno) {
        self.free_to_change.insert(first.get());
    }

    /// Keeps what the older unit at `first` holds.
    pub(crate) fn keep(&mut self, first: Pgno, bytes: &[u8]) {
        self.free_to_change.insert(first.get());
        self.kept.push(Kept { first, bytes: bytes.into() });
    }

    /// Holds an older unit that is given up.
    pub(crate) fn hold(&mut self, unit: Extent) {
        self.held.push(unit);
    }

    /// What is to be stored back to undo the layer. What it holds is in use again.
    pub(crate) fn into_kept(self) -> Vec<Kept> {
        self.kept
    }

    /// Ends the layer and makes its changes those of the one below, or for good; answers the units that nobody wants back
    /// any more.
    ///
    /// Cost: proportional to the units that this layer changed, whatever the one below did.
    pub(crate) fn merge_into(self, below: Option<&mut Layer>) -> Vec<Extent> {
        let Some(below) = below else { return self.held };
        for kept in self.kept {
            if !below.may_change(kept.first) {
                below.kept.push(kept);
            }
        }
        let (loose, held): (Vec<_>, Vec<_>) = self.held.into_iter().partition(|unit| below.may_change(unit.first));
        below.held.extend(held);
        below.free_to_change.extend(self.free_to_change);
        loose
    }
}

/// Page numbers are spread by a multiplication (Knuth's, by the golden ratio): they are nobody's to choose.
#[derive(Default)]
struct PgnoHasher(u64);

impl Hasher for PgnoHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Pgno {
        Pgno::new(n).unwrap()
    }

    fn kept(layer: Layer) -> Vec<(u64, u8)> {
        layer.into_kept().iter().map(|kept| (kept.first.get(), kept.bytes[0])).collect()
    }

    #[test]
    fn a_merged_layer_leaves_what_the_one_below_began_with() {
        let (mut below, mut top) = (Layer::default(), Layer::default());
        below.keep(at(1), &[1]);
        below.hand_out(at(2));
        top.keep(at(1), &[11]); // the layer below has changed it already
        top.keep(at(2), &[22]); // it was made there
        top.keep(at(3), &[3]);
        top.hand_out(at(4));
        assert!(top.merge_into(Some(&mut below)).is_empty());
        assert!((1..=4).all(|n| below.may_change(at(n))));
        assert!(!below.may_change(at(5)));
        assert_eq!(kept(below), [(1, 1), (3, 3)]);
    }

    #[test]
    fn what_a_layer_gave_up_is_held_as_long_as_one_below_wants_it_back() {
        let (mut below, mut top) = (Layer::default(), Layer::default());
        below.hand_out(at(1));
        top.hold(Extent::new(at(1), 1));
        top.hold(Extent::new(at(8), 3));
        assert_eq!(top.merge_into(Some(&mut below)), [Extent::new(at(1), 1)]);
        assert_eq!(below.merge_into(None), [Extent::new(at(8), 3)]);
    }
}
