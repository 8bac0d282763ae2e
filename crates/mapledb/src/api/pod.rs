//! Plain records, read in place: the bytes of the map are the value.

use super::codec::{Codec, not_a};
use crate::error::{Error, Result};

/// Every value of a table begins at a multiple of so many bytes.
const LEAF_ALIGN: usize = 8;
/// Those with pages of their own begin at a multiple of so many.
const OVERFLOW_ALIGN: usize = 64;
/// A value that is longer has pages of its own whatever the size of pages is.
const INLINE_MAX: usize = 65536;

/// A plain record, read in place: a value of type `Pod<T>` is handed out as a `&T` into the map.
///
/// `T` is any [`bytemuck::Pod`] type whose alignment is at most 8 bytes, or at most 64 if it is longer than 64 KiB, for
/// then it has pages of its own. Another does not compile. The bytes are the host's: little-endian.
///
/// The catalog records size and alignment. To have the fields recorded too, derive `MapleValue` with
/// `#[maple(in_place)]`, of the feature `derive`.
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
///
/// ```compile_fail
/// use mapledb::{Codec, Pod};
///
/// // Values in a leaf are aligned to 8 bytes, and this would have to be to 16.
/// let _ = <Pod<u128>>::decode(&[]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pod<T>(pub T);

impl<T: bytemuck::Pod> Codec for Pod<T> {
    type Item<'a> = &'a T;

    const FIXED_LEN: Option<usize> = Some(size_of::<T>());

    fn type_name() -> String {
        const { assert_readable_in_place::<T>() };
        format!("pod:{}/{}", size_of::<T>(), align_of::<T>())
    }

    #[inline(always)]
    fn with_bytes<R>(value: &Pod<T>, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        const { assert_readable_in_place::<T>() };
        act(bytemuck::bytes_of(&value.0))
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<&T> {
        const { assert_readable_in_place::<T>() };
        bytemuck::try_from_bytes(bytes).map_err(|cause| not_in_place::<Pod<T>>(bytes, align_of::<T>(), cause))
    }
}

/// A list of plain records, read in place: a value of type `PodVec<T>` is handed out as a `&[T]` into the map.
///
/// `T` is any [`bytemuck::Pod`] type whose alignment is at most 8 bytes; another does not compile.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{Env, PodVec, Table};
///
/// const SERIES: Table<'static, str, PodVec<f64>> = Table::new("series");
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
/// let mut txn = env.write()?;
/// txn.open_table(&SERIES)?.put("oven", &PodVec(vec![20.5, 180.0, 179.5]))?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let degrees: &[f64] = txn.table(&SERIES)?.get("oven")?.expect("it was put");
/// assert_eq!(degrees.iter().copied().fold(f64::MIN, f64::max), 180.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodVec<T>(pub Vec<T>);

impl<T: bytemuck::Pod> Codec for PodVec<T> {
    type Item<'a> = &'a [T];

    fn type_name() -> String {
        const { assert_aligned_in_leaves::<T>() };
        format!("[pod:{}/{}]", size_of::<T>(), align_of::<T>())
    }

    fn with_bytes<R>(value: &PodVec<T>, act: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        const { assert_aligned_in_leaves::<T>() };
        act(bytemuck::cast_slice(&value.0))
    }

    fn decode(bytes: &[u8]) -> Result<&[T]> {
        const { assert_aligned_in_leaves::<T>() };
        bytemuck::try_cast_slice(bytes)
            .map_err(|cause| not_in_place::<PodVec<T>>(bytes, align_of::<T>(), cause))
    }
}

const fn assert_aligned_in_leaves<T>() {
    assert!(size_of::<T>() > 0, "a list of nothing has no bytes: keep its length as a number");
    assert!(align_of::<T>() <= LEAF_ALIGN, "values are aligned to 8 bytes, and elements of this type must be to more");
}

/// The bytes of a record, for a derived codec.
#[doc(hidden)]
#[inline]
pub fn bytes_in_place<T: bytemuck::Pod>(value: &T) -> &[u8] {
    const { assert_readable_in_place::<T>() };
    bytemuck::bytes_of(value)
}

/// A record where it lies, for a derived codec.
#[doc(hidden)]
#[inline]
pub fn read_in_place<T: bytemuck::Pod + Codec>(bytes: &[u8]) -> Result<&T> {
    const { assert_readable_in_place::<T>() };
    bytemuck::try_from_bytes(bytes).map_err(|cause| not_in_place::<T>(bytes, align_of::<T>(), cause))
}

/// That every value of a table lies where a `T` may.
const fn assert_readable_in_place<T>() {
    let align_max = if size_of::<T>() > INLINE_MAX { OVERFLOW_ALIGN } else { LEAF_ALIGN };
    assert!(
        align_of::<T>() <= align_max,
        "values are aligned to 8 bytes, or to 64 if they are longer than 64 KiB, and this type must be to more"
    );
}

/// What is wrong with bytes that cannot be read as they lie.
#[cold]
fn not_in_place<C: Codec>(bytes: &[u8], align: usize, cause: bytemuck::PodCastError) -> Error {
    match cause {
        bytemuck::PodCastError::TargetAlignmentGreaterAndInputNotAligned => {
            Error::Misaligned { expected: C::type_name(), align }
        }
        _ => not_a::<C>(bytes),
    }
}
