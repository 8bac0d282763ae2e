//! The orders that LMDB has of its own.

use crate::layout::Flags;

/// How keys, or the duplicates of a key, are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As bytes.
    Bytes,
    /// As bytes from the last to the first.
    Reverse,
    /// As unsigned integers in little-endian.
    Integer,
    /// One that a program brought along.
    Any,
}

impl Order {
    /// The order of a database's keys.
    pub fn of_keys(flags: Flags) -> Order {
        Order::of(flags.reverse_key(), flags.integer_key())
    }

    /// The order of its duplicates. Where both are asked for, LMDB takes the integers.
    pub fn of_duplicates(flags: Flags) -> Order {
        Order::of(flags.reverse_dup() && !flags.integer_dup(), flags.integer_dup())
    }

    fn of(reverse: bool, integer: bool) -> Order {
        match (reverse, integer) {
            (true, _) => Order::Reverse,
            (false, true) => Order::Integer,
            (false, false) => Order::Bytes,
        }
    }

    /// Whether `next` may stand behind `last`.
    pub fn ascends(self, last: &[u8], next: &[u8]) -> bool {
        match self {
            Order::Bytes => last < next,
            Order::Reverse => last.iter().rev().lt(next.iter().rev()),
            // Integers of several sizes in one database are an error of the program that stored them, and LMDB lets them be.
            Order::Integer => last.len() != next.len() || last.iter().rev().lt(next.iter().rev()),
            Order::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_lmdbs() {
        let table: [(Order, &[u8], &[u8], bool); 8] = [
            (Order::Bytes, b"a", b"ab", true),
            (Order::Bytes, b"ab", b"ab", false),
            (Order::Reverse, b"xa", b"ab", true),
            (Order::Reverse, b"b", b"ab", true),
            (Order::Reverse, b"ab", b"b", false),
            (Order::Integer, &[255, 0], &[0, 1], true),
            (Order::Integer, &[0, 1], &[255, 0], false),
            (Order::Any, b"b", b"a", true),
        ];
        for (order, last, next, ascends) in table {
            assert_eq!(order.ascends(last, next), ascends, "{order:?} {last:?} {next:?}");
        }
    }
}
