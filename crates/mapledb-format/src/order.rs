//! How keys compare, and what a node may know of a key without touching its bytes.
//!
//! A tree is generic over one [`Order`]. An order answers four questions: which key is smaller, what the *head* of a
//! key is (four bytes that sort as the key does), how many leading units two keys share, and which shortest string
//! separates two neighbours. From these alone come prefix truncation of heads and short separators (Graefe,
//! "Modern B-Tree Techniques", 2011, sections 3.4 and 3.5).
//!
//! The law every order keeps, for keys that share their first `skip` units: `head(a, skip) < head(b, skip)` implies
//! `a < b`. Equal heads say nothing; then the bytes are compared.

use std::cmp::Ordering;

use crate::tree_record::OrderId;

/// A total order of keys, with the shortcuts search uses.
pub trait Order: Copy + Send + Sync + 'static {
    /// The byte that records this order in a tree record.
    const CODE: OrderId;

    /// Which of two keys comes first.
    fn compare(a: &[u8], b: &[u8]) -> Ordering;

    /// The four units after the first `skip`, as an integer that sorts as the key does; short keys are padded with 0.
    fn head(key: &[u8], skip: usize) -> u32;

    /// How many leading units two keys share.
    fn shared(a: &[u8], b: &[u8]) -> usize;

    /// The shortest string `s` with `left < s <= right`, as a part of `right`. Requires `left < right`.
    fn separator<'k>(left: &[u8], right: &'k [u8]) -> &'k [u8];
}

/// Bytes, compared as unsigned, from the first to the last: the order of `memcmp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytewise;

impl Order for Bytewise {
    const CODE: OrderId = OrderId::Bytewise;

    #[inline(always)]
    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    #[inline(always)]
    fn head(key: &[u8], skip: usize) -> u32 {
        let rest = key.get(skip..).unwrap_or(&[]);
        match rest.first_chunk::<4>() {
            Some(four) => u32::from_be_bytes(*four),
            None => padded(rest.iter().copied()),
        }
    }

    #[inline]
    fn shared(a: &[u8], b: &[u8]) -> usize {
        a.iter().zip(b).take_while(|(x, y)| x == y).count()
    }

    fn separator<'k>(left: &[u8], right: &'k [u8]) -> &'k [u8] {
        let cut = (Self::shared(left, right) + 1).min(right.len());
        right.get(..cut).unwrap_or(right)
    }
}

/// Bytes, compared as unsigned, from the last to the first (LMDB's `MDB_REVERSEKEY`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Reverse;

impl Order for Reverse {
    const CODE: OrderId = OrderId::Reverse;

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }

    fn head(key: &[u8], skip: usize) -> u32 {
        padded(key.iter().rev().skip(skip).copied())
    }

    fn shared(a: &[u8], b: &[u8]) -> usize {
        a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
    }

    fn separator<'k>(left: &[u8], right: &'k [u8]) -> &'k [u8] {
        let keep = (Self::shared(left, right) + 1).min(right.len());
        right.get(right.len() - keep..).unwrap_or(right)
    }
}

/// Little-endian unsigned integers of one length (LMDB's `MDB_INTEGERKEY`): the reverse of their bytes is their
/// big-endian form, so the order is that of [`Reverse`]; separators stay whole, since every key has one length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Integer;

impl Order for Integer {
    const CODE: OrderId = OrderId::Integer;

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        Reverse::compare(a, b)
    }

    fn head(key: &[u8], skip: usize) -> u32 {
        Reverse::head(key, skip)
    }

    fn shared(a: &[u8], b: &[u8]) -> usize {
        Reverse::shared(a, b)
    }

    fn separator<'k>(_left: &[u8], right: &'k [u8]) -> &'k [u8] {
        right
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

    fn keeps_the_law<O: Order>(a: &[u8], b: &[u8]) -> Result<(), TestCaseError> {
        let shared = O::shared(a, b);
        for skip in 0..=shared {
            if O::head(a, skip) < O::head(b, skip) {
                prop_assert_eq!(O::compare(a, b), Ordering::Less);
            }
        }
        if O::compare(a, b) == Ordering::Less {
            let cut = O::separator(a, b);
            prop_assert_eq!(O::compare(a, cut), Ordering::Less);
            prop_assert_ne!(O::compare(cut, b), Ordering::Greater);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn heads_sort_as_keys_do_and_separators_separate(
            a in prop::collection::vec(0u8..4, 0..9),
            b in prop::collection::vec(0u8..4, 0..9),
        ) {
            keeps_the_law::<Bytewise>(&a, &b)?;
            keeps_the_law::<Reverse>(&a, &b)?;
        }

        #[test]
        fn the_integer_order_is_the_order_of_integers(a: u64, b: u64) {
            let (x, y) = (a.to_le_bytes(), b.to_le_bytes());
            prop_assert_eq!(Integer::compare(&x, &y), a.cmp(&b));
            keeps_the_law::<Integer>(&x, &y)?;
        }
    }

    #[test]
    fn a_separator_is_as_short_as_can_be() {
        assert_eq!(Bytewise::separator(b"apple", b"banana"), b"b");
        assert_eq!(Bytewise::separator(b"app", b"apple"), b"appl");
        assert_eq!(Reverse::separator(b"xa", b"xb"), b"b");
    }
}
