//! How keys compare, and what a node may know of a key without touching its bytes.
//!
//! A tree is generic over one [`Order`]. An order answers four questions: which key is smaller, what the *head* of a
//! key is (four bytes that sort as the key does), how many leading units two keys share, and which shortest string
//! separates two neighbours. From these alone come prefix truncation of heads and short separators (Graefe,
//! "Modern B-Tree Techniques", 2011, sections 3.4 and 3.5).
//!
//! The law every order keeps, for keys that share their first `skip` units: `head(a, skip) < head(b, skip)` implies
//! `a < b`. Equal heads say nothing; then the bytes are compared.
//!
//! An order is a value. Those of the format have no size, so a tree in [`Bytewise`] order pays nothing for it; an order that
//! a program brings along is a function ([`Named`]), of which nothing is known but what it answers: no head, no shared unit, no
//! separator but the whole key. [`AsStored`] stands for an order that is not at hand.

use std::cmp::Ordering;

use crate::tree_record::OrderId;

/// A total order of keys, with the shortcuts search uses.
pub trait Order: Copy + Send + Sync + 'static {
    /// What records this order in a tree record.
    fn id(self) -> OrderId;

    /// Which of two keys comes first.
    fn compare(self, a: &[u8], b: &[u8]) -> Ordering;

    /// The four units after the first `skip`, as an integer that sorts as the key does; short keys are padded with 0.
    fn head(self, key: &[u8], skip: usize) -> u32;

    /// How many leading units two keys share.
    fn shared(self, a: &[u8], b: &[u8]) -> usize;

    /// The shortest string `s` with `left < s <= right`, as a part of `right`. Requires `left < right`.
    fn separator<'k>(self, left: &[u8], right: &'k [u8]) -> &'k [u8];

    /// How many units `key` has: what it shares with itself.
    #[inline(always)]
    fn units(self, key: &[u8]) -> usize {
        key.len()
    }

    /// Whether two keys may stand in one tree, by their lengths.
    #[inline(always)]
    fn goes_with(self, a: &[u8], b: &[u8]) -> bool {
        let _ = (a, b);
        true
    }

    /// Whether this is the order of [`Bytewise`], for which whoever asks has code of its own.
    #[inline(always)]
    fn is_bytewise(self) -> bool {
        false
    }
}

/// Bytes, compared as unsigned, from the first to the last: the order of `memcmp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytewise;

impl Order for Bytewise {
    #[inline(always)]
    fn id(self) -> OrderId {
        OrderId::Bytewise
    }

    #[inline(always)]
    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    #[inline(always)]
    fn head(self, key: &[u8], skip: usize) -> u32 {
        let rest = key.get(skip..).unwrap_or(&[]);
        match rest.first_chunk::<4>() {
            Some(four) => u32::from_be_bytes(*four),
            None => padded(rest.iter().copied()),
        }
    }

    #[inline]
    fn shared(self, a: &[u8], b: &[u8]) -> usize {
        a.iter().zip(b).take_while(|(x, y)| x == y).count()
    }

    fn separator<'k>(self, left: &[u8], right: &'k [u8]) -> &'k [u8] {
        let cut = (self.shared(left, right) + 1).min(right.len());
        right.get(..cut).unwrap_or(right)
    }

    #[inline(always)]
    fn is_bytewise(self) -> bool {
        true
    }
}

/// Bytes, compared as unsigned, from the last to the first (LMDB's `MDB_REVERSEKEY`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Reverse;

impl Order for Reverse {
    fn id(self) -> OrderId {
        OrderId::Reverse
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }

    fn head(self, key: &[u8], skip: usize) -> u32 {
        let rest = key.get(..key.len().saturating_sub(skip)).unwrap_or(&[]);
        match rest.last_chunk::<4>() {
            Some(four) => u32::from_le_bytes(*four),
            None => padded(rest.iter().rev().copied()),
        }
    }

    fn shared(self, a: &[u8], b: &[u8]) -> usize {
        a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
    }

    fn separator<'k>(self, left: &[u8], right: &'k [u8]) -> &'k [u8] {
        let keep = (self.shared(left, right) + 1).min(right.len());
        right.get(right.len() - keep..).unwrap_or(right)
    }
}

/// Little-endian unsigned integers of one length (LMDB's `MDB_INTEGERKEY`): the reverse of their bytes is their
/// big-endian form, so the order is that of [`Reverse`]; separators stay whole, since every key has one length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Integer;

impl Order for Integer {
    fn id(self) -> OrderId {
        OrderId::Integer
    }

    #[inline]
    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match (<[u8; 8]>::try_from(a), <[u8; 8]>::try_from(b)) {
            (Ok(a), Ok(b)) => u64::from_le_bytes(a).cmp(&u64::from_le_bytes(b)),
            _ => Reverse.compare(a, b),
        }
    }

    fn head(self, key: &[u8], skip: usize) -> u32 {
        Reverse.head(key, skip)
    }

    fn shared(self, a: &[u8], b: &[u8]) -> usize {
        Reverse.shared(a, b)
    }

    fn separator<'k>(self, _left: &[u8], right: &'k [u8]) -> &'k [u8] {
        right
    }

    fn goes_with(self, a: &[u8], b: &[u8]) -> bool {
        a.len() == b.len()
    }
}

/// An order that a program brings along: a function that answers which key comes first.
///
/// It must be a total order of what it is asked about, the same at every call; keys it calls equal are one key. If it is
/// not, keys may not be found, and nothing worse.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub fn(&[u8], &[u8]) -> Ordering);

impl Order for Named {
    fn id(self) -> OrderId {
        OrderId::Named
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        (self.0)(a, b)
    }

    fn head(self, _key: &[u8], _skip: usize) -> u32 {
        0
    }

    fn shared(self, _a: &[u8], _b: &[u8]) -> usize {
        0
    }

    fn separator<'k>(self, _left: &[u8], right: &'k [u8]) -> &'k [u8] {
        right
    }

    fn units(self, _key: &[u8]) -> usize {
        0
    }
}

/// The order of a tree whose [`Named`] order is not at hand, for whoever goes through it as it is stored or lays it down
/// again: what comes later is greater, whatever it is. It can find nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsStored;

impl Order for AsStored {
    fn id(self) -> OrderId {
        OrderId::Named
    }

    fn compare(self, _earlier: &[u8], _later: &[u8]) -> Ordering {
        Ordering::Less
    }

    fn head(self, _key: &[u8], _skip: usize) -> u32 {
        0
    }

    fn shared(self, _a: &[u8], _b: &[u8]) -> usize {
        0
    }

    fn separator<'k>(self, _left: &[u8], right: &'k [u8]) -> &'k [u8] {
        right
    }

    fn units(self, _key: &[u8]) -> usize {
        0
    }
}

/// The first four of `units` as a big-endian integer, padded with zeros.
#[inline]
fn padded(units: impl Iterator<Item = u8>) -> u32 {
    let mut four = [0u8; 4];
    for (to, from) in four.iter_mut().zip(units) {
        *to = from;
    }
    u32::from_be_bytes(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keeps_the_law<O: Order>(order: O, a: &[u8], b: &[u8]) -> Result<(), TestCaseError> {
        let shared = order.shared(a, b);
        for skip in 0..=shared {
            if order.head(a, skip) < order.head(b, skip) {
                prop_assert_eq!(order.compare(a, b), Ordering::Less);
            }
        }
        if order.compare(a, b) == Ordering::Less {
            let cut = order.separator(a, b);
            prop_assert_eq!(order.compare(a, cut), Ordering::Less);
            prop_assert_ne!(order.compare(cut, b), Ordering::Greater);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn heads_sort_as_keys_do_and_separators_separate(
            a in prop::collection::vec(0u8..4, 0..9),
            b in prop::collection::vec(0u8..4, 0..9),
        ) {
            keeps_the_law(Bytewise, &a, &b)?;
            keeps_the_law(Reverse, &a, &b)?;
            keeps_the_law(Integer, &a, &b)?;
            keeps_the_law(Named(|a, b| b.cmp(a)), &a, &b)?;
        }

        #[test]
        fn the_integer_order_is_the_order_of_integers(a: u64, b: u64) {
            let (x, y) = (a.to_le_bytes(), b.to_le_bytes());
            prop_assert_eq!(Integer.compare(&x, &y), a.cmp(&b));
            keeps_the_law(Integer, &x, &y)?;
        }
    }

    #[test]
    fn a_separator_is_as_short_as_can_be() {
        assert_eq!(Bytewise.separator(b"apple", b"banana"), b"b");
        assert_eq!(Bytewise.separator(b"app", b"apple"), b"appl");
        assert_eq!(Reverse.separator(b"xa", b"xb"), b"b");
    }
}
