//! Orders of keys and duplicates, in the workload and in the model.
//!
//! The model's maps sort bytes. So a key is kept there *turned*: as bytes that sort as the key does in its table's order. Duplicates are
//! kept so, too.

use std::borrow::Cow;
use std::cmp::Ordering;

use mapledb::{KeyOrder, NamedOrder, Options};

/// A named order: shorter keys come first.
pub const BY_LENGTH: KeyOrder = KeyOrder::named::<ByLength>();

#[derive(Debug)]
struct ByLength;

impl NamedOrder for ByLength {
    const NAME: &'static str = "by-length/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

/// Another one: from the last byte to the first, as [`KeyOrder::REVERSE`] is, but nothing that the engine knows.
pub const FROM_THE_END: KeyOrder = KeyOrder::named::<FromTheEnd>();

#[derive(Debug)]
struct FromTheEnd;

impl NamedOrder for FromTheEnd {
    const NAME: &'static str = "from-the-end/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.iter().rev().cmp(b.iter().rev())
    }
}

/// Every order that a table of the workload may have.
pub const ORDERS: [KeyOrder; 5] =
    [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER, BY_LENGTH, FROM_THE_END];

/// With the named orders of the workload, which whoever opens a file of it brings along.
pub fn with_orders(options: Options) -> Options {
    options.order(BY_LENGTH).order(FROM_THE_END)
}

/// The order of this name, as the catalog records it.
pub fn named(name: &str) -> Option<KeyOrder> {
    ORDERS.into_iter().find(|order| order.name() == name)
}

/// The bytes that length takes in front of a key in [`BY_LENGTH`].
const LEN_BYTES: usize = 4;

/// Bytes that sort as `key` does in `order`. Integers of one length are little-endian, so they and keys in reverse order, named or not,
/// are read from their last byte to their first.
pub fn turned(order: KeyOrder, key: &[u8]) -> Cow<'_, [u8]> {
    if order == KeyOrder::BYTEWISE {
        return key.into();
    }
    if order != BY_LENGTH {
        return key.iter().rev().copied().collect();
    }
    let len = key.len() as u32;
    len.to_be_bytes().into_iter().chain(key.iter().copied()).collect()
}

/// The key that was [`turned`].
pub fn turned_back(order: KeyOrder, turned: &[u8]) -> Cow<'_, [u8]> {
    if order == KeyOrder::BYTEWISE {
        return turned.into();
    }
    if order != BY_LENGTH {
        return turned.iter().rev().copied().collect();
    }
    turned.get(LEN_BYTES..).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_sorts_as_its_order_says_and_can_be_turned_back() {
        let keys: [&[u8]; 8] = [b"", b"a", b"b", b"ab", b"ba", b"abc", b"\0\xff", b"\xff\0"];
        for order in ORDERS {
            for a in keys {
                assert_eq!(turned_back(order, &turned(order, a)), a, "{order:?}");
                let others = keys.into_iter().filter(|b| order != KeyOrder::INTEGER || a.len() == b.len());
                for b in others {
                    let compared = turned(order, a).cmp(&turned(order, b));
                    assert_eq!(compared, order.compare(a, b), "{a:?} and {b:?} in {order:?}");
                }
            }
            assert_eq!(named(order.name()), Some(order));
        }
    }
}
