//! Tuples as keys: they sort by their first part, then by the second, and so on.
//!
//! Integers have a fixed length. Text and bytes before the last part are ended by two zeros, and a zero inside them is
//! followed by 255, so that a shorter text sorts before a longer one that it begins; as the last part they stand as
//! they are.

use super::codec::{Codec, Key, not_a};
use crate::error::{Error, Result};

/// A part of a tuple key.
pub trait KeyPart: Sized {
    /// The name of the part within the tuple's.
    fn part_name() -> String;

    /// Appends the part to `key`; `is_last` parts need no end mark.
    fn append(&self, key: &mut Vec<u8>, is_last: bool);

    /// Takes the part off the front of `key`; `None` if there is none.
    fn take(key: &mut &[u8], is_last: bool) -> Option<Self>;
}

macro_rules! integer_parts {
    ($($type:ident)*) => {$(
        impl KeyPart for $type {
            fn part_name() -> String {
                $type::type_name()
            }

            fn append(&self, key: &mut Vec<u8>, _is_last: bool) {
                $type::with_bytes(self, |bytes| key.extend_from_slice(bytes));
            }

            fn take(key: &mut &[u8], _is_last: bool) -> Option<$type> {
                let (number, rest) = key.split_at_checked(size_of::<$type>())?;
                *key = rest;
                $type::decode(number).ok()
            }
        }
    )*};
}

integer_parts!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl KeyPart for Vec<u8> {
    fn part_name() -> String {
        <[u8]>::type_name()
    }

    fn append(&self, key: &mut Vec<u8>, is_last: bool) {
        append_bytes(self, key, is_last);
    }

    fn take(key: &mut &[u8], is_last: bool) -> Option<Vec<u8>> {
        take_bytes(key, is_last)
    }
}

impl KeyPart for String {
    fn part_name() -> String {
        str::type_name()
    }

    fn append(&self, key: &mut Vec<u8>, is_last: bool) {
        append_bytes(self.as_bytes(), key, is_last);
    }

    fn take(key: &mut &[u8], is_last: bool) -> Option<String> {
        String::from_utf8(take_bytes(key, is_last)?).ok()
    }
}

fn append_bytes(part: &[u8], key: &mut Vec<u8>, is_last: bool) {
    if is_last {
        return key.extend_from_slice(part);
    }
    for &byte in part {
        key.push(byte);
        if byte == 0 {
            key.push(255);
        }
    }
    key.extend_from_slice(&[0, 0]);
}

fn take_bytes(key: &mut &[u8], is_last: bool) -> Option<Vec<u8>> {
    if is_last {
        return Some(std::mem::take(key).to_vec());
    }
    let mut part = Vec::new();
    loop {
        match *key {
            [0, 0, rest @ ..] => {
                *key = rest;
                return Some(part);
            }
            [0, 255, rest @ ..] => {
                part.push(0);
                *key = rest;
            }
            [0, ..] | [] => return None,
            [byte, rest @ ..] => {
                part.push(*byte);
                *key = rest;
            }
        }
    }
}

macro_rules! tuples {
    ($(($($part:ident $index:tt),*; $last:ident $last_index:tt))*) => {$(
        impl<$($part: KeyPart,)* $last: KeyPart> Codec for ($($part,)* $last,) {
            type Item<'a> = ($($part,)* $last,);

            fn type_name() -> String {
                let parts = [$($part::part_name(),)* $last::part_name()];
                format!("({})", parts.join(","))
            }

            fn with_bytes<R>(value: &Self, act: impl FnOnce(&[u8]) -> R) -> R {
                let mut key = Vec::with_capacity(32);
                $(value.$index.append(&mut key, false);)*
                value.$last_index.append(&mut key, true);
                act(&key)
            }

            fn decode(bytes: &[u8]) -> Result<Self::Item<'_>> {
                let wrong = || -> Error { not_a::<Self>(bytes) };
                let mut rest = bytes;
                let tuple = (
                    $($part::take(&mut rest, false).ok_or_else(wrong)?,)*
                    $last::take(&mut rest, true).ok_or_else(wrong)?,
                );
                if rest.is_empty() { Ok(tuple) } else { Err(wrong()) }
            }
        }

        impl<$($part: KeyPart,)* $last: KeyPart> Key for ($($part,)* $last,) {}
    )*};
}

tuples! {
    (A 0; B 1)
    (A 0, B 1; C 2)
    (A 0, B 1, C 2; D 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Codec>(value: &T) -> Vec<u8> {
        T::with_bytes(value, <[u8]>::to_vec)
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
}
