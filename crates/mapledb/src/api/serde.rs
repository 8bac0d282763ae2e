//! Values of any type that `serde` knows, as MessagePack, which tells what it holds.
//!
//! Fields are written with their names, so that a type may get fields with a default, lose fields, and have them in another
//! order, while values written before are still read. How deep a value nests is bounded when it is written and before
//! it is read: one from a hostile file must not exhaust the stack.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

use super::codec::{Codec, not_a};
use super::msgpack::{DEPTH_MAX, is_one_value};
use crate::error::{Error, Result};

/// A value of any type that `serde` writes and reads, kept as MessagePack with the names of its fields: for types that
/// change with time, where a derived `MapleValue` would refuse older tables. Of the feature `serde`.
///
/// What is read is a `T` of its own, not a slice of the map; to scan without paying for that, read
/// [lazily](super::ReadTable::lazily).
///
/// Files record the name that `serde` knows the type by, `msgpack:Settings` in the example, and nothing of its structure:
/// `#[serde(rename = "…")]` keeps it when the type's name changes. A type of no name, such as a `Vec` or a struct with
/// `#[serde(flatten)]`, is recorded by its kind.
///
/// A value nests at most 128 lists, maps, structs and enums within each other; writing a deeper one is an
/// [`Error::Encode`]. As in JSON, the formats of `Some(None)` and `None` are the same, and both read as `None`. A type must
/// not hold itself through nothing but options and newtypes, such as `struct N(Option<Box<N>>)`: reading it has no end.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{Env, Serde, Table};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Settings {
///     theme: String,
///     #[serde(default)] // not in values that were written before it was a field
///     width: Option<u32>,
/// }
///
/// const SETTINGS: Table<'static, u64, Serde<Settings>> = Table::new("settings");
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
/// let mut txn = env.write()?;
/// let settings = Settings { theme: "dark".into(), width: Some(80) };
/// txn.open_table(&SETTINGS)?.put(&1, &Serde(settings))?;
/// txn.commit()?;
///
/// let settings: Settings = env.read()?.table(&SETTINGS)?.get(&1)?.expect("it was put");
/// assert_eq!(settings.theme, "dark");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned> Codec for Serde<T> {
    type Item<'a> = T;

    fn type_name() -> String {
        format!("msgpack:{}", name_of::<T>())
    }

    fn with_bytes<R>(value: &Serde<T>, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        let refusal = |cause| Error::Encode { name: Self::type_name(), cause };
        let bytes = rmp_serde::to_vec_named(&value.0).map_err(|cause| refusal(cause.to_string()))?;
        if !is_one_value(&bytes) {
            return Err(refusal(format!("it nests more than {DEPTH_MAX} lists, maps and enums, or is not one value")));
        }
        act(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<T> {
        if !is_one_value(bytes) {
            return Err(not_a::<Serde<T>>(bytes));
        }
        let mut rest = bytes;
        let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
        value.ok().filter(|_| rest.is_empty()).ok_or_else(|| not_a::<Serde<T>>(bytes))
    }
}

/// The name that a type asks for when it is read. There is nothing to read, so asking is all it does.
fn name_of<T: DeserializeOwned>() -> &'static str {
    match T::deserialize(Probe) {
        Err(Asked(name)) => name,
        Ok(_) => "unit",
    }
}

/// A deserializer that answers each request with an error that says what was asked for.
struct Probe;

/// What was asked for, as an error.
#[derive(Debug)]
struct Asked(&'static str);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Asked {}

impl serde::de::Error for Asked {
    fn custom<E: fmt::Display>(_: E) -> Asked {
        Asked("any")
    }
}

macro_rules! kinds {
    ($($method:ident $kind:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Asked> {
            Err(Asked($kind))
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Asked;

    kinds! {
        deserialize_any "any"
        deserialize_bool "bool"
        deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32" deserialize_i64 "i64" deserialize_i128 "i128"
        deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32" deserialize_u64 "u64" deserialize_u128 "u128"
        deserialize_f32 "f32" deserialize_f64 "f64"
        deserialize_char "char" deserialize_str "str" deserialize_string "str"
        deserialize_bytes "bytes" deserialize_byte_buf "bytes"
        deserialize_option "option" deserialize_unit "unit" deserialize_seq "list" deserialize_map "map"
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> std::result::Result<V::Value, Asked> {
        Err(Asked(name))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> std::result::Result<V::Value, Asked> {
        Err(Asked(name))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> std::result::Result<V::Value, Asked> {
        Err(Asked("tuple"))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        _: V,
    ) -> std::result::Result<V::Value, Asked> {
        Err(Asked(name))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Asked> {
        Err(Asked(name))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Asked> {
        Err(Asked(name))
    }

    forward_to_deserialize_any! { identifier ignored_any }
}
