//! Parts: types that stand one behind the other in a key or a value, and what each looks like.
//!
//! | type | bytes | inside, before another part |
//! |---|---|---|
//! | `u8` to `u128` | highest byte first | the same |
//! | `i8` to `i128` | the same, the sign bit turned | the same |
//! | `f32`, `f64` | as an integer: the sign bit turned, of negative ones all bits | the same |
//! | `bool` | 0 or 1 | the same |
//! | `char` | its number as a `u32` | the same |
//! | `String`, `Vec<u8>` | as they are | 0 as 0 255, ended by 0 0 |
//! | `Option<T>` | 0, or 1 and the part | the same |
//! | `[T; N]`, tuples, structs | their parts | the same |
//! | `Vec<T>` of a fixed length each | the elements | as the next line |
//! | `Vec<T>` | each element with a 1 before it | ended by 0 |
//! | `Le<T>` | lowest byte first | the same |
//!
//! Wherever a part stands, no value's bytes begin another's, unless it is the last part; so what follows it decides
//! only between equal ones, and the whole sorts by its first part, then by the second, and so on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::codec::{Codec, Key};
use crate::tree::KeyOrder;

/// Where a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Others follow, so its end must show.
    Inner,
    /// Nothing follows: it ends where the bytes do.
    Last,
}

/// A type that can stand in a tuple, an array, a list, an option or a derived type, and alone as well: each part is a
/// [`Codec`].
///
/// Derive it for types of your own with `MapleValue`, of the feature `derive`. By hand:
///
/// ```
/// use mapledb::{Codec, KeyPart, Part, Place};
///
/// /// Metres above the sea.
/// #[derive(Debug, PartialEq, PartialOrd)]
/// struct Height(i32);
///
/// impl Part for Height {
///     const LEN: Option<usize> = i32::LEN;
///
///     fn part_name() -> String {
///         "height".to_string()
///     }
///
///     fn append(&self, bytes: &mut Vec<u8>, place: Place) {
///         self.0.append(bytes, place);
///     }
///
///     fn take(bytes: &mut &[u8], place: Place) -> Option<Height> {
///         i32::take(bytes, place).map(Height)
///     }
/// }
///
/// // Its bytes sort as heights do.
/// impl KeyPart for Height {}
///
/// assert_eq!(<(Height, String)>::type_name(), "(height,str)");
/// ```
pub trait Part: Sized {
    /// How many bytes each value has wherever it stands, if that is one number.
    ///
    /// The constant of a type that holds others must look at theirs, so that a type that holds itself does not compile:
    /// bytes could nest it deeper than any stack.
    const LEN: Option<usize>;

    /// The name of the part, by itself and within another's: see [`Codec::type_name`].
    fn part_name() -> String;

    /// Appends the part to `bytes`.
    fn append(&self, bytes: &mut Vec<u8>, place: Place);

    /// Takes a part off the front of `bytes`; `None` if there is none. As the last one it takes all of them that it can.
    /// Whatever the bytes are, it does not panic.
    fn take(bytes: &mut &[u8], place: Place) -> Option<Self>;

    /// Hands the bytes of the part, alone, to `act`. Worth writing where they are at hand without an allocation.
    #[inline]
    fn with_alone<R>(&self, act: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = Vec::with_capacity(Self::LEN.unwrap_or(32));
        self.append(&mut bytes, Place::Last);
        act(&bytes)
    }

    /// Reads a part that stands alone; `None` if the bytes are none.
    #[inline]
    fn take_alone(bytes: &[u8]) -> Option<Self> {
        if const { Self::LEN }.is_some_and(|len| bytes.len() != len) {
            return None;
        }
        let mut rest = bytes;
        Self::take(&mut rest, Place::Last).filter(|_| rest.is_empty())
    }

    /// The name of a list of parts.
    #[doc(hidden)]
    fn list_name() -> String {
        format!("[{}]", Self::part_name())
    }

    /// Appends a list of parts.
    #[doc(hidden)]
    fn append_list(list: &[Self], bytes: &mut Vec<u8>, place: Place) {
        let is_marked = is_marked::<Self>(place);
        for part in list {
            if is_marked {
                bytes.push(MORE);
            }
            part.append(bytes, Place::Inner);
        }
        if place == Place::Inner {
            bytes.push(END);
        }
    }

    /// Takes a list of parts.
    #[doc(hidden)]
    fn take_list(bytes: &mut &[u8], place: Place) -> Option<Vec<Self>> {
        let is_marked = is_marked::<Self>(place);
        let mut list = Vec::new();
        while place == Place::Inner || !bytes.is_empty() {
            if is_marked {
                match take_byte(bytes)? {
                    MORE => {}
                    END if place == Place::Inner => break,
                    _ => return None,
                }
            }
            list.push(Self::take(bytes, Place::Inner)?);
        }
        Some(list)
    }
}

/// A part whose bytes sort as its values do, wherever it stands: a type of keys.
///
/// The order is that of `Ord`, or, for `f32` and `f64`, of `total_cmp`: negative zero is less than zero, and what is not
/// a number lies at both ends by its sign. Implement it for a type of your own if, for all `a < b`, the bytes of `a` sort
/// before those of `b`, and none are the beginning of another's when [`Place::Inner`].
pub trait KeyPart: Part {}

/// Before each element of a list.
const MORE: u8 = 1;
/// Behind the last one.
const END: u8 = 0;

/// Whether elements of a list need a mark: not where it ends with the bytes and each has the same length.
fn is_marked<T: Part>(place: Place) -> bool {
    place == Place::Inner || !matches!(const { T::LEN }, Some(1..))
}

#[inline]
pub(super) fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

#[inline]
pub(super) fn take_chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*chunk)
}

/// A part of a fixed length: how it becomes an array of bytes, and how such an array may be one. What is in brackets is
/// said of lists of it.
macro_rules! fixed {
    ($type:ty, $name:expr, $len:expr, $encode:expr, $decode:expr $(, $($list:item)*)?) => {
        impl $crate::api::part::Part for $type {
            const LEN: Option<usize> = Some($len);

            fn part_name() -> String {
                $name.to_string()
            }

            #[inline]
            fn append(&self, bytes: &mut Vec<u8>, _: $crate::api::part::Place) {
                let encode: fn($type) -> [u8; $len] = $encode;
                bytes.extend_from_slice(&encode(*self));
            }

            #[inline]
            fn take(bytes: &mut &[u8], _: $crate::api::part::Place) -> Option<$type> {
                let decode: fn([u8; $len]) -> Option<$type> = $decode;
                $crate::api::part::take_chunk(bytes).and_then(decode)
            }

            #[inline(always)]
            fn with_alone<R>(&self, act: impl FnOnce(&[u8]) -> R) -> R {
                let encode: fn($type) -> [u8; $len] = $encode;
                act(&encode(*self))
            }

            #[inline(always)]
            fn take_alone(bytes: &[u8]) -> Option<$type> {
                let decode: fn([u8; $len]) -> Option<$type> = $decode;
                bytes.try_into().ok().and_then(decode)
            }

            $($($list)*)?
        }
    };
}
#[cfg(any(feature = "jiff", feature = "uuid"))]
pub(super) use fixed;

macro_rules! unsigned {
    ($($type:ident)*) => {$(
        fixed!($type, stringify!($type), size_of::<$type>(), $type::to_be_bytes, |bytes| {
            Some($type::from_be_bytes(bytes))
        });
    )*};
}

macro_rules! signed {
    ($($type:ident)*) => {$(
        fixed!(
            $type,
            stringify!($type),
            size_of::<$type>(),
            |number| (number ^ $type::MIN).to_be_bytes(),
            |bytes| Some($type::from_be_bytes(bytes) ^ $type::MIN)
        );
    )*};
}

/// In total order (IEEE 754, totalOrder): the bits count upwards from zero and downwards below it.
macro_rules! floats {
    ($($type:ident $bits:ident)*) => {$(
        fixed!(
            $type,
            stringify!($type),
            size_of::<$type>(),
            |number| {
                let bits = number.to_bits();
                let is_negative = bits >> ($bits::BITS - 1) == 1;
                (if is_negative { !bits } else { bits ^ (1 << ($bits::BITS - 1)) }).to_be_bytes()
            },
            |bytes| {
                let bits = $bits::from_be_bytes(bytes);
                let is_negative = bits >> ($bits::BITS - 1) == 0;
                Some($type::from_bits(if is_negative { !bits } else { bits ^ (1 << ($bits::BITS - 1)) }))
            }
        );
    )*};
}

macro_rules! key_parts {
    ($($type:ty),*) => {$( impl $crate::api::part::KeyPart for $type {} )*};
}
#[cfg(any(feature = "jiff", feature = "uuid"))]
pub(super) use key_parts;

unsigned!(u16 u32 u64 u128);
signed!(i8 i16 i32 i64 i128);
floats!(f32 u32 f64 u64);
key_parts!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, bool, char);

// Lists of bytes stand as text does: no byte but 0 costs two.
fixed!(
    u8,
    "u8",
    1,
    |byte| [byte],
    |[byte]| Some(byte),
    fn list_name() -> String {
        <[u8]>::type_name()
    }

    fn append_list(list: &[u8], bytes: &mut Vec<u8>, place: Place) {
        append_bytes(list, bytes, place);
    }

    fn take_list(bytes: &mut &[u8], place: Place) -> Option<Vec<u8>> {
        take_bytes(bytes, place)
    }
);

fixed!(bool, "bool", 1, |is_so| [u8::from(is_so)], |[byte]| match byte {
    0 => Some(false),
    1 => Some(true),
    _ => None,
});
fixed!(char, "char", 4, |letter| u32::from(letter).to_be_bytes(), |bytes| {
    char::from_u32(u32::from_be_bytes(bytes))
});
fixed!((), "()", 0, |()| [], |[]| Some(()));
key_parts!(());

fixed!(Ipv4Addr, "ipv4", 4, |address| address.octets(), |bytes| Some(Ipv4Addr::from(bytes)));
fixed!(Ipv6Addr, "ipv6", 16, |address| address.octets(), |bytes| Some(Ipv6Addr::from(bytes)));
fixed!(
    Duration,
    "duration",
    12,
    |time| join(time.as_secs().to_be_bytes(), time.subsec_nanos().to_be_bytes()),
    |bytes| {
        let mut rest = &bytes[..];
        let (seconds, nanos) = (u64::take(&mut rest, Place::Inner)?, u32::take(&mut rest, Place::Inner)?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    }
);
key_parts!(Ipv4Addr, Ipv6Addr, Duration);

/// Eight bytes and four behind them.
pub(super) fn join(first: [u8; 8], second: [u8; 4]) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&first);
    bytes[8..].copy_from_slice(&second);
    bytes
}

/// Every address of version 4 sorts before those of version 6.
impl Part for IpAddr {
    const LEN: Option<usize> = None;

    fn part_name() -> String {
        "ip".to_string()
    }

    fn append(&self, bytes: &mut Vec<u8>, place: Place) {
        match self {
            IpAddr::V4(address) => {
                bytes.push(4);
                address.append(bytes, place);
            }
            IpAddr::V6(address) => {
                bytes.push(6);
                address.append(bytes, place);
            }
        }
    }

    fn take(bytes: &mut &[u8], place: Place) -> Option<IpAddr> {
        match take_byte(bytes)? {
            4 => Ipv4Addr::take(bytes, place).map(IpAddr::V4),
            6 => Ipv6Addr::take(bytes, place).map(IpAddr::V6),
            _ => None,
        }
    }
}

impl KeyPart for IpAddr {}

/// A number with its lowest byte first, as other programs may have written it: a type of values, and without a sign one of keys
/// in a table of its own order ([`KeyOrder::INTEGER`]), for its bytes do not sort as its numbers do. It is no part of longer keys.
///
/// The machines that MapleDB runs on keep their numbers so, and [`Pod`](super::Pod) reads them in place.
///
/// ```
/// use mapledb::{Codec, Le};
///
/// assert_eq!(<Le<u32>>::decode(&[1, 0, 0, 0])?, Le(1));
/// assert_eq!(<Le<u32>>::type_name(), "u32le");
/// # Ok::<_, mapledb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Le<T>(pub T);

macro_rules! little_endian {
    ($($type:ident)*) => {$(
        fixed!(Le<$type>, concat!(stringify!($type), "le"), size_of::<$type>(), |Le(number)| number.to_le_bytes(), |bytes| {
            Some(Le($type::from_le_bytes(bytes)))
        });
    )*};
}

little_endian!(u16 u32 u64 u128 i16 i32 i64 i128 f32 f64);

macro_rules! integer_keys {
    ($($type:ident)*) => {$(
        /// In a table of integers, by their order.
        impl Key for Le<$type> {
            const ORDER: KeyOrder = KeyOrder::INTEGER;
        }
    )*};
}

integer_keys!(u16 u32 u64 u128);

impl Part for String {
    const LEN: Option<usize> = None;

    fn part_name() -> String {
        str::type_name()
    }

    fn append(&self, bytes: &mut Vec<u8>, place: Place) {
        append_bytes(self.as_bytes(), bytes, place);
    }

    fn take(bytes: &mut &[u8], place: Place) -> Option<String> {
        String::from_utf8(take_bytes(bytes, place)?).ok()
    }

    #[inline]
    fn with_alone<R>(&self, act: impl FnOnce(&[u8]) -> R) -> R {
        act(self.as_bytes())
    }
}

impl KeyPart for String {}

impl<T: Part> Part for Vec<T> {
    const LEN: Option<usize> = {
        let _ = T::LEN;
        None
    };

    fn part_name() -> String {
        T::list_name()
    }

    fn append(&self, bytes: &mut Vec<u8>, place: Place) {
        T::append_list(self, bytes, place);
    }

    fn take(bytes: &mut &[u8], place: Place) -> Option<Vec<T>> {
        T::take_list(bytes, place)
    }
}

impl<T: KeyPart> KeyPart for Vec<T> {}

impl<T: Part, const N: usize> Part for [T; N] {
    const LEN: Option<usize> = match T::LEN {
        Some(len) => len.checked_mul(N),
        None => None,
    };

    fn part_name() -> String {
        format!("[{};{N}]", T::part_name())
    }

    fn append(&self, bytes: &mut Vec<u8>, place: Place) {
        if let Some((last, others)) = self.split_last() {
            others.iter().for_each(|part| part.append(bytes, Place::Inner));
            last.append(bytes, place);
        }
    }

    fn take(bytes: &mut &[u8], place: Place) -> Option<[T; N]> {
        let parts: [Option<T>; N] = std::array::from_fn(|at| {
            let is_last = at + 1 == N;
            T::take(bytes, if is_last { place } else { Place::Inner })
        });
        let is_whole = parts.iter().all(Option::is_some);
        is_whole.then(|| parts.map(|part| part.expect("every part is there")))
    }
}

impl<T: KeyPart, const N: usize> KeyPart for [T; N] {}

/// None sorts before all others.
impl<T: Part> Part for Option<T> {
    const LEN: Option<usize> = {
        let _ = T::LEN;
        None
    };

    fn part_name() -> String {
        format!("option<{}>", T::part_name())
    }

    fn append(&self, bytes: &mut Vec<u8>, place: Place) {
        match self {
            None => bytes.push(0),
            Some(part) => {
                bytes.push(1);
                part.append(bytes, place);
            }
        }
    }

    fn take(bytes: &mut &[u8], place: Place) -> Option<Option<T>> {
        match take_byte(bytes)? {
            0 => Some(None),
            1 => T::take(bytes, place).map(Some),
            _ => None,
        }
    }
}

impl<T: KeyPart> KeyPart for Option<T> {}

pub(super) fn append_bytes(part: &[u8], bytes: &mut Vec<u8>, place: Place) {
    if place == Place::Last {
        return bytes.extend_from_slice(part);
    }
    for &byte in part {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(255);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

fn take_bytes(bytes: &mut &[u8], place: Place) -> Option<Vec<u8>> {
    if place == Place::Last {
        return Some(std::mem::take(bytes).to_vec());
    }
    let mut part = Vec::new();
    loop {
        match *bytes {
            [0, 0, rest @ ..] => {
                *bytes = rest;
                return Some(part);
            }
            [0, 255, rest @ ..] => {
                part.push(0);
                *bytes = rest;
            }
            [0, ..] | [] => return None,
            [byte, rest @ ..] => {
                part.push(*byte);
                *bytes = rest;
            }
        }
    }
}
