//! Types as bytes: how keys and values of a table are written and read.
//!
//! Text and bytes stand as they are and are handed out as slices of the map. Every other type that can stand inside a
//! tuple is a [`Part`], and each part is a type of keys or values by itself. Plain records are in [`Pod`].

use std::marker::PhantomData;

use super::part::{KeyPart, Part};
use crate::error::{Error, Result};
use crate::tree::KeyOrder;

/// A type that a table's values can have.
///
/// Most types are better made a [`Part`], which is a codec too. Implement this trait itself for a type that is read
/// without a copy, or whose writing can fail.
///
/// The name is recorded in the catalog when a table is made and compared when it is opened, so it must say everything
/// that the bytes depend on, and nothing that may change while the bytes do not: not the path of a module, for one.
///
/// ```
/// use mapledb::{Codec, Error, Result};
///
/// /// Text without capital letters.
/// struct Lower(String);
///
/// impl Codec for Lower {
///     type Item<'a> = &'a str;
///
///     fn type_name() -> String {
///         "lower".to_string()
///     }
///
///     fn with_bytes<R>(value: &Lower, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
///         if value.0.contains(char::is_uppercase) {
///             return Err(Error::Encode { name: Lower::type_name(), cause: "it has a capital letter".to_string() });
///         }
///         act(value.0.as_bytes())
///     }
///
///     fn decode(bytes: &[u8]) -> Result<&str> {
///         str::decode(bytes)
///     }
/// }
///
/// assert!(Lower::with_bytes(&Lower("a".into()), |bytes| Ok(bytes == b"a")).is_ok_and(|same| same));
/// assert!(Lower::with_bytes(&Lower("A".into()), |_| Ok(())).is_err());
/// ```
pub trait Codec {
    /// What reading gives: a slice of the map where the bytes are the value.
    type Item<'a>;

    /// How many bytes each value has, if that is one number: as duplicates of a [`Multimap`](crate::Multimap) such values are
    /// packed.
    const FIXED_LEN: Option<usize> = None;

    /// The name the catalog records, of 65,535 bytes at most.
    fn type_name() -> String;

    /// Hands the bytes of `value` to `act`.
    ///
    /// # Errors
    /// What `act` answers, and [`Error::Encode`] if the value has no bytes. No type of this crate has such values, but for
    /// those that `serde` writes.
    fn with_bytes<R>(value: &Self, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R>;

    /// Reads a value. Whatever the bytes are, it does not panic.
    ///
    /// # Errors
    /// [`Error::Decode`] if the bytes are none of this type.
    fn decode(bytes: &[u8]) -> Result<Self::Item<'_>>;
}

/// A type that a table's keys can have: its bytes sort as its values do.
///
/// To order a type of your own, implement [`KeyPart`], or derive it.
///
/// Bytes that do not sort by themselves are keys of a table in another order, which the type may name: see
/// [`ORDER`](Key::ORDER).
///
/// ```
/// use mapledb::{Key, KeyOrder, Le};
///
/// // Numbers as C programs on most machines lay them out sort as integers, not as bytes.
/// assert_eq!(<Le<u64> as Key>::ORDER, KeyOrder::INTEGER);
/// assert_eq!(<u64 as Key>::ORDER, KeyOrder::BYTEWISE);
/// ```
pub trait Key: Codec {
    /// The order of a table with such keys, unless [`Table::in_order`](crate::Table::in_order) asks for another.
    const ORDER: KeyOrder = KeyOrder::BYTEWISE;
}

pub(super) fn not_a<T: Codec + ?Sized>(bytes: &[u8]) -> Error {
    Error::Decode { expected: T::type_name(), len: bytes.len() }
}

impl Codec for [u8] {
    type Item<'a> = &'a [u8];

    fn type_name() -> String {
        "bytes".to_string()
    }

    #[inline(always)]
    fn with_bytes<R>(value: &[u8], act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        act(value)
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<&[u8]> {
        Ok(bytes)
    }
}

impl Key for [u8] {}

impl Codec for str {
    type Item<'a> = &'a str;

    fn type_name() -> String {
        "str".to_string()
    }

    #[inline(always)]
    fn with_bytes<R>(value: &str, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        act(value.as_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<&str> {
        std::str::from_utf8(bytes).map_err(|_| not_a::<str>(bytes))
    }
}

impl Key for str {}

/// A part that stands alone.
impl<T: Part> Codec for T {
    type Item<'a> = T;

    const FIXED_LEN: Option<usize> = T::LEN;

    fn type_name() -> String {
        T::part_name()
    }

    #[inline(always)]
    fn with_bytes<R>(value: &T, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        value.with_alone(act)
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<T> {
        T::take_alone(bytes).ok_or_else(|| not_a::<T>(bytes))
    }
}

impl<T: KeyPart> Key for T {}

/// A marker of two types that owns neither.
pub(super) type Typed<K, V> = PhantomData<(fn(&K), fn(&V))>;
