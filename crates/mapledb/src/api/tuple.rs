//! Tuples: their parts one behind the other, so that they sort by the first, then by the second, and so on; and their
//! first parts as a prefix.

use super::part::{KeyPart, Part, Place, append_bytes};

/// The sum of two lengths, if both are fixed.
#[doc(hidden)]
pub const fn len_of_both(first: Option<usize>, second: Option<usize>) -> Option<usize> {
    match (first, second) {
        (Some(first), Some(second)) => first.checked_add(second),
        _ => None,
    }
}

macro_rules! tuples {
    ($($($part:ident $index:tt),*; $last:ident $last_index:tt)*) => {$(
        impl<$($part: Part,)* $last: Part> Part for ($($part,)* $last,) {
            const LEN: Option<usize> = {
                let len = $last::LEN;
                $(let len = len_of_both($part::LEN, len);)*
                len
            };

            fn part_name() -> String {
                let parts = [$($part::part_name(),)* $last::part_name()];
                format!("({})", parts.join(","))
            }

            fn append(&self, bytes: &mut Vec<u8>, place: Place) {
                $(self.$index.append(bytes, Place::Inner);)*
                self.$last_index.append(bytes, place);
            }

            fn take(bytes: &mut &[u8], place: Place) -> Option<Self> {
                Some(($($part::take(bytes, Place::Inner)?,)* $last::take(bytes, place)?,))
            }
        }

        impl<$($part: KeyPart,)* $last: KeyPart> KeyPart for ($($part,)* $last,) {}
    )*};
}

tuples! {
    ; A 0
    A 0; B 1
    A 0, B 1; C 2
    A 0, B 1, C 2; D 3
    A 0, B 1, C 2, D 3; E 4
    A 0, B 1, C 2, D 3, E 4; F 5
    A 0, B 1, C 2, D 3, E 4, F 5; G 6
    A 0, B 1, C 2, D 3, E 4, F 5, G 6; H 7
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7; I 8
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8; J 9
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9; K 10
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10; L 11
}

/// What may stand for a part of type `P` in a prefix: the part itself, and borrowed text or bytes for owned ones.
pub trait AsPart<P> {
    /// Appends the part to `bytes`, as one that others follow.
    fn append_inner(&self, bytes: &mut Vec<u8>);
}

impl<P: Part> AsPart<P> for P {
    fn append_inner(&self, bytes: &mut Vec<u8>) {
        self.append(bytes, Place::Inner);
    }
}

impl AsPart<String> for &str {
    fn append_inner(&self, bytes: &mut Vec<u8>) {
        append_bytes(self.as_bytes(), bytes, Place::Inner);
    }
}

impl AsPart<Vec<u8>> for &[u8] {
    fn append_inner(&self, bytes: &mut Vec<u8>) {
        append_bytes(self, bytes, Place::Inner);
    }
}

/// The first parts of the tuple `K`, fewer than all: what [`ReadTable::prefix_parts`](super::ReadTable::prefix_parts)
/// takes.
pub trait Prefix<K: ?Sized> {
    /// The bytes that every key with these first parts begins with, and no other.
    fn prefix_bytes(&self) -> Vec<u8>;
}

/// For each tuple: every beginning of it, whose parts may be borrowed.
macro_rules! prefixes {
    ([$($part:ident $as_part:ident $index:tt),*]) => {};
    ([$($part:ident $as_part:ident $index:tt),*] $next:ident $as_next:ident $at:tt $($rest:tt)*) => {
        prefixes!(@longer [$($part $as_part $index,)* $next $as_next $at] [] $($rest)*);
        prefixes!([$($part $as_part $index,)* $next $as_next $at] $($rest)*);
    };
    (@longer [$($part:ident $as_part:ident $index:tt),*] [$($more:ident)*]) => {};
    (@longer [$($part:ident $as_part:ident $index:tt),*] [$($more:ident)*]
        $next:ident $as_next:ident $at:tt $($rest:tt)*) => {
        impl<$($part: KeyPart, $as_part: AsPart<$part>,)* $($more: KeyPart,)* $next: KeyPart>
            Prefix<($($part,)* $($more,)* $next,)> for ($($as_part,)*)
        {
            fn prefix_bytes(&self) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(32);
                $(self.$index.append_inner(&mut bytes);)*
                bytes
            }
        }
        prefixes!(@longer [$($part $as_part $index),*] [$($more)* $next] $($rest)*);
    };
}

prefixes!([] A Qa 0 B Qb 1 C Qc 2 D Qd 3 E Qe 4 F Qf 5 G Qg 6 H Qh 7 I Qi 8 J Qj 9 K Qk 10 L Ql 11);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Codec;

    fn bytes<T: Codec>(value: &T) -> Vec<u8> {
        T::with_bytes(value, |bytes| Ok(bytes.to_vec())).unwrap()
    }

    #[test]
    fn tuples_sort_as_their_parts_do_and_read_back() {
        let mut keys = vec![
            ("".to_string(), 0u64),
            ("a".to_string(), u64::MAX),
            ("a\0".to_string(), 0),
            ("a\0b".to_string(), 7),
            ("ab".to_string(), 0),
            ("b".to_string(), 1),
        ];
        let mut coded: Vec<_> = keys.iter().map(bytes).collect();
        keys.sort();
        coded.sort();
        let decoded: Vec<_> = coded.iter().map(|key| <(String, u64)>::decode(key).unwrap()).collect();
        assert_eq!(decoded, keys);
    }

    #[test]
    fn signed_parts_sort_with_the_negative_first() {
        let mut coded: Vec<_> = [(3i32, -5i64), (-3, 5), (3, 5), (i32::MIN, 0)].iter().map(bytes).collect();
        coded.sort();
        let decoded: Vec<_> = coded.iter().map(|key| <(i32, i64)>::decode(key).unwrap()).collect();
        assert_eq!(decoded, [(i32::MIN, 0), (-3, 5), (3, -5), (3, 5)]);
    }

    #[test]
    fn bytes_that_are_no_tuple_are_refused() {
        for bad in [&b""[..], b"abc", b"a\0\x01", b"a\0\0short"] {
            assert!(<(String, u64)>::decode(bad).is_err(), "{bad:?}");
        }
        assert_eq!(<(u8, String)>::type_name(), "(u8,str)");
    }

    #[test]
    fn a_prefix_is_what_all_keys_with_its_parts_begin_with() {
        let key = ("a\0".to_string(), 7u8, vec![1u16]);
        let prefixes = [
            Prefix::<(String, u8, Vec<u16>)>::prefix_bytes(&("a\0",)),
            Prefix::<(String, u8, Vec<u16>)>::prefix_bytes(&("a\0".to_string(),)),
            Prefix::<(String, u8, Vec<u16>)>::prefix_bytes(&("a\0", 7)),
        ];
        assert_eq!(prefixes, [&b"a\0\xff\0\0"[..], b"a\0\xff\0\0", b"a\0\xff\0\0\x07"]);
        assert!(prefixes.iter().all(|prefix| bytes(&key).starts_with(prefix)));
    }
}
