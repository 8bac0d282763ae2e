//! Values that are decoded when they are asked for.

use std::fmt;
use std::marker::PhantomData;

use super::codec::Codec;
use crate::error::Result;

/// The type of values of a table that is read [lazily](super::ReadTable::lazily). There are none of it.
pub struct Lazy<V: ?Sized> {
    never: std::convert::Infallible,
    value: PhantomData<fn(&V)>,
}

impl<V: Codec + ?Sized> Codec for Lazy<V> {
    type Item<'a> = Undecoded<'a, V>;

    fn type_name() -> String {
        V::type_name()
    }

    fn with_bytes<R>(value: &Lazy<V>, _: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        match value.never {}
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Undecoded<'_, V>> {
        Ok(Undecoded { bytes, value: PhantomData })
    }
}

/// A value that has been found and not yet decoded: a slice of the map.
pub struct Undecoded<'t, V: ?Sized> {
    bytes: &'t [u8],
    value: PhantomData<fn(&V)>,
}

impl<'t, V: Codec + ?Sized> Undecoded<'t, V> {
    /// The value. Each call decodes it anew.
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) if the bytes are none of its type.
    pub fn get(&self) -> Result<V::Item<'t>> {
        V::decode(self.bytes)
    }
}

impl<'t, V: ?Sized> Undecoded<'t, V> {
    /// Its bytes.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// let lazily = squares.lazily();
    /// let square = lazily.get(&4)?.expect("it was put");
    /// assert_eq!(square.bytes(), 16u32.to_be_bytes()); // as they lie in the file
    /// assert_eq!(square.get()?, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bytes(&self) -> &'t [u8] {
        self.bytes
    }
}

impl<V: ?Sized> Clone for Undecoded<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: ?Sized> Copy for Undecoded<'_, V> {}

impl<V: ?Sized> fmt::Debug for Undecoded<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecoded").field("bytes", &self.bytes.len()).finish()
    }
}
