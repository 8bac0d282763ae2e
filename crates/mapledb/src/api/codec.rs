//! Types as bytes: how keys and values of a table are written and read.

use std::marker::PhantomData;

use crate::error::{Error, Result};

/// A type that a table's values can have.
///
/// The name is recorded in the catalog when a table is made and compared when it is opened, so it must say everything
/// that the bytes depend on.
pub trait Codec {
    /// What reading gives: a slice of the map where the bytes are the value.
    type Item<'a>;

    /// The name the catalog records.
    fn type_name() -> String;

    /// Hands the bytes of `value` to `act`.
    fn with_bytes<R>(value: &Self, act: impl FnOnce(&[u8]) -> R) -> R;

    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::Decode`] if the bytes are none of this type.
    fn decode(bytes: &[u8]) -> Result<Self::Item<'_>>;
}

/// A type that a table's keys can have: its bytes sort as its values do.
pub trait Key: Codec {}

pub(super) fn not_a<T: Codec + ?Sized>(bytes: &[u8]) -> Error {
    Error::Decode { expected: T::type_name(), len: bytes.len() }
}

impl Codec for [u8] {
    type Item<'a> = &'a [u8];

    fn type_name() -> String {
        "bytes".to_string()
    }

    #[inline(always)]
    fn with_bytes<R>(value: &[u8], act: impl FnOnce(&[u8]) -> R) -> R {
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
    fn with_bytes<R>(value: &str, act: impl FnOnce(&[u8]) -> R) -> R {
        act(value.as_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<&str> {
        std::str::from_utf8(bytes).map_err(|_| not_a::<str>(bytes))
    }
}

impl Key for str {}

/// Unsigned integers are big-endian, so that they sort as numbers.
macro_rules! unsigned {
    ($($type:ident)*) => {$(
        impl Codec for $type {
            type Item<'a> = $type;

            fn type_name() -> String {
                stringify!($type).to_string()
            }

            #[inline(always)]
            fn with_bytes<R>(value: &$type, act: impl FnOnce(&[u8]) -> R) -> R {
                act(&value.to_be_bytes())
            }

            #[inline(always)]
            fn decode(bytes: &[u8]) -> Result<$type> {
                bytes.try_into().map($type::from_be_bytes).map_err(|_| not_a::<$type>(bytes))
            }
        }

        impl Key for $type {}
    )*};
}

/// Signed integers are big-endian with the sign bit turned, so that negative ones sort before the others.
macro_rules! signed {
    ($($type:ident $unsigned:ident)*) => {$(
        impl Codec for $type {
            type Item<'a> = $type;

            fn type_name() -> String {
                stringify!($type).to_string()
            }

            #[inline(always)]
            fn with_bytes<R>(value: &$type, act: impl FnOnce(&[u8]) -> R) -> R {
                act(&((*value as $unsigned) ^ (1 << ($unsigned::BITS - 1))).to_be_bytes())
            }

            #[inline(always)]
            fn decode(bytes: &[u8]) -> Result<$type> {
                let number = bytes.try_into().map($unsigned::from_be_bytes).map_err(|_| not_a::<$type>(bytes))?;
                Ok((number ^ (1 << ($unsigned::BITS - 1))) as $type)
            }
        }

        impl Key for $type {}
    )*};
}

unsigned!(u8 u16 u32 u64 u128);
signed!(i8 u8 i16 u16 i32 u32 i64 u64 i128 u128);

impl Codec for () {
    type Item<'a> = ();

    fn type_name() -> String {
        "()".to_string()
    }

    fn with_bytes<R>(_value: &(), act: impl FnOnce(&[u8]) -> R) -> R {
        act(&[])
    }

    fn decode(bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() { Ok(()) } else { Err(not_a::<()>(bytes)) }
    }
}

/// A plain record, read in place: a value of type `Pod<T>` is handed out as a `&T` into the map.
///
/// `T` is any [`bytemuck::Pod`] type whose alignment is at most 8 bytes; larger alignments, up to 64, work for values
/// long enough to take pages of their own, and are an [`Error::Decode`] otherwise. The bytes are the host's:
/// little-endian.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{Env, Pod, Table};
///
/// const VECTORS: Table<'static, u64, Pod<[f32; 4]>> = Table::new("vectors");
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().create(dir.path().join("v.maple")) }?;
/// let mut txn = env.write()?;
/// txn.open_table(&VECTORS)?.put(&1, &Pod([1.0, 0.5, 0.25, 0.0]))?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let vector: &[f32; 4] = txn.table(&VECTORS)?.get(&1)?.expect("it was put");
/// assert_eq!(vector[1], 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pod<T>(pub T);

impl<T: bytemuck::Pod> Codec for Pod<T> {
    type Item<'a> = &'a T;

    fn type_name() -> String {
        format!("pod:{}/{}", size_of::<T>(), align_of::<T>())
    }

    #[inline(always)]
    fn with_bytes<R>(value: &Pod<T>, act: impl FnOnce(&[u8]) -> R) -> R {
        act(bytemuck::bytes_of(&value.0))
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<&T> {
        bytemuck::try_from_bytes(bytes).map_err(|_| not_a::<Pod<T>>(bytes))
    }
}

/// A marker of two types that owns neither.
pub(super) type Typed<K, V> = PhantomData<(fn(&K), fn(&V))>;
