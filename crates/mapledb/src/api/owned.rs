//! Keys and values that were taken out of a table.

use std::fmt;
use std::marker::PhantomData;

use super::codec::Codec;
use crate::error::Result;

/// A key or a value that is no longer in its table: its bytes, owned, and decoded when asked for.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # use mapledb::{Env, Table};
/// # const AGES: Table<'static, str, u64> = Table::new("ages");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("ages.maple")) }?;
/// let mut txn = env.write()?;
/// let mut ages = txn.open_table(&AGES)?;
/// ages.put("ada", &36)?;
/// let age = ages.take("ada")?.expect("it was there");
/// assert_eq!(age.get()?, 36);
/// assert_eq!(age.into_bytes(), 36u64.to_be_bytes());
/// # Ok(())
/// # }
/// ```
pub struct Owned<T: ?Sized> {
    bytes: Vec<u8>,
    kind: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Owned<T> {
    pub(super) fn new(bytes: Vec<u8>) -> Owned<T> {
        Owned { bytes, kind: PhantomData }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, to keep.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<T: Codec + ?Sized> Owned<T> {
    /// What it is. Each call decodes it anew.
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) if the bytes are none of its type.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// stock.put("pears", &3)?;
    /// let pieces = stock.take("pears")?.expect("it was put");
    /// assert_eq!((pieces.bytes(), pieces.get()?), (&[0, 0, 0, 3][..], 3));
    /// stock.put("pears", &pieces.get()?)?; // it borrows nothing from the table
    /// assert_eq!(pieces.into_bytes().len(), 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self) -> Result<T::Item<'_>> {
        T::decode(&self.bytes)
    }
}

impl<T: ?Sized> Clone for Owned<T> {
    fn clone(&self) -> Owned<T> {
        Owned::new(self.bytes.clone())
    }
}

impl<T: ?Sized> PartialEq for Owned<T> {
    fn eq(&self, other: &Owned<T>) -> bool {
        self.bytes == other.bytes
    }
}

impl<T: ?Sized> Eq for Owned<T> {}

impl<T: ?Sized> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("bytes", &self.bytes.len()).finish()
    }
}
