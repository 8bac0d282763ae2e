//! Many entries of a write transaction's table at once: taken out by ranges and by choice, put in as they are sorted.

use std::ops::{Bound, RangeBounds};

use super::WriteTable;
use super::codec::{Codec, Key};
use super::extract::ExtractIf;
use super::gap::{self, GapCursorMut};
use super::load::load;
use super::read_table::{with_bound, with_bounds};
use super::write_table::change;
use crate::error::{Error, Result};
use crate::tree::{Appender, in_its_order};

impl<'t, K: Key + ?Sized, V: Codec + ?Sized> WriteTable<'t, K, V> {
    /// Takes everything between two bounds out; answers how many entries went. Cost: two paths copied, and a page read
    /// for each page freed; subtrees are cut whole.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// assert_eq!(squares.delete_range(&2..&8)?, 6);
    /// assert_eq!(squares.delete_range(&2..&8)?, 0);
    /// assert_eq!(squares.keys()?.collect::<mapledb::Result<Vec<_>>>()?, [0, 1, 8, 9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_range<'k>(&mut self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        self.check_order()?;
        with_bounds(bounds, |low, high| change!(self, |tree| tree.delete_range(low, high)))
    }

    /// Takes out every entry that `keep` is false for; answers how many went. An entry that does not decode is kept and
    /// is the error of the call. Cost: every page read, those that lose something copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// assert_eq!(squares.retain(|_, square| square % 2 == 0)?, 5);
    /// assert_eq!(squares.last()?, Some((8, 64)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool) -> Result<u64> {
        let mut fault = None;
        let mut keep = |key: &[u8], value: &[u8]| keeps::<K, V>(key, value, &mut keep, &mut fault);
        let gone = change!(self, |tree| tree.retain(&mut keep))?;
        fault.map_or(Ok(gone), Err)
    }

    /// As [`retain`](WriteTable::retain), of the entries between two bounds; those outside stay. Cost: every page of the range
    /// read, those that lose something copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// assert_eq!(squares.retain_range(&5.., |n, _| n == 7)?, 4);
    /// assert_eq!(squares.keys()?.collect::<mapledb::Result<Vec<_>>>()?, [0, 1, 2, 3, 4, 7]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retain_range<'k>(
        &mut self,
        bounds: impl RangeBounds<&'k K>,
        mut keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    ) -> Result<u64>
    where
        K: 'k,
    {
        self.check_order()?;
        let mut fault = None;
        let mut keep = |key: &[u8], value: &[u8]| keeps::<K, V>(key, value, &mut keep, &mut fault);
        let gone = with_bounds(bounds, |low, high| change!(self, |tree| tree.retain_range(low, high, &mut keep)))?;
        fault.map_or(Ok(gone), Err)
    }

    /// Takes out the entries between two bounds that `choose` is true for, one by one, as they are asked for, from either end;
    /// nothing goes that is not asked for.
    ///
    /// Cost: two descents for each that goes, to find it and to take it out, and a step for each that stays. To take many out
    /// at once [`retain_range`](WriteTable::retain_range) is cheaper.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// const SESSIONS: Table<'static, u32, u64> = Table::new("sessions");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut sessions = txn.open_table(&SESSIONS)?;
    /// for n in 0..100 {
    ///     sessions.put(&n, &u64::from(n % 10))?;
    /// }
    /// let mut gone = Vec::new();
    /// for session in sessions.extract_if(&20..&40, |_, age| age > 7)? {
    ///     gone.push(session?.0.get()?);
    /// }
    /// assert_eq!(gone, [28, 29, 38, 39]);
    /// assert_eq!(sessions.len(), 96);
    /// # Ok(())
    /// # }
    /// ```
    pub fn extract_if<'k, F>(
        &mut self,
        bounds: impl RangeBounds<&'k K>,
        choose: F,
    ) -> Result<ExtractIf<'_, 't, K, V, F>>
    where
        K: 'k,
        F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    {
        with_bounds(bounds, |low, high| Ok(ExtractIf::new(self, low, high, choose)))
    }

    /// A cursor to change the table by, in the gap before the first entry that `bound` lets in as the lower one of a range; behind
    /// the last entry, if there is none. Cost: a descent, and the keys on both sides copied.
    pub fn lower_bound_mut(&mut self, bound: Bound<&K>) -> Result<GapCursorMut<'_, 't, K, V>> {
        with_bound(bound.as_ref(), |bound| GapCursorMut::new(self, |tree| gap::lower(tree, bound)))
    }

    /// A cursor to change the table by, in the gap behind the last entry that `bound` lets in as the upper one of a range; before
    /// the first entry, if there is none. Cost: a descent, and the keys on both sides copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// use std::ops::Bound;
    ///
    /// squares.delete(&4)?;
    /// squares.lower_bound_mut(Bound::Included(&4))?.insert_before(&4, &16)?;
    /// let mut gap = squares.upper_bound_mut(Bound::Excluded(&4))?;
    /// assert_eq!(gap.remove_next()?.expect("it was put").1.get()?, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn upper_bound_mut(&mut self, bound: Bound<&K>) -> Result<GapCursorMut<'_, 't, K, V>> {
        with_bound(bound.as_ref(), |bound| GapCursorMut::new(self, |tree| gap::upper(tree, bound)))
    }

    /// Stores `value` under `key`, which must be greater than every key of the table; pages are filled to the end.
    ///
    /// # Errors
    /// [`Error::NotSorted`], which changes nothing.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const SQUARES: mapledb::Table<'static, u32, u32> = mapledb::Table::new("squares");
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// let mut squares = txn.open_table(&SQUARES)?;
    /// squares.append(&10, &100)?;
    /// assert!(matches!(squares.append(&10, &0), Err(mapledb::Error::NotSorted)));
    /// assert_eq!(squares.last()?, Some((10, 100)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn append(&mut self, key: &K, value: &V) -> Result<()> {
        self.check_order()?;
        K::with_bytes(key, |key| {
            V::with_bytes(value, |value| {
                change!(self, |tree| tree.put_last(key, value))
            })
        })
    }

    /// Appends pairs in key order, all greater than every key of the table; answers how many. Much faster than
    /// [`WriteTable::append`]: nothing is searched, and pages are filled to the end.
    ///
    /// # Errors
    /// [`Error::NotSorted`] at the first pair out of order, or the first error of `pairs`; those before it are stored.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # const STOCK: mapledb::Table<'static, str, u32> = mapledb::Table::new("stock");
    /// # let mut txn = env.write()?;
    /// # let mut stock = txn.open_table(&STOCK)?;
    /// let lines = ["apples 3", "pears 5", "plums 8"];
    /// let pairs = lines.iter().map(|line| {
    ///     let (name, pieces) = line.split_once(' ').expect("two words");
    ///     let pieces: u32 = pieces.parse().expect("a number");
    ///     Ok((name, pieces.to_be_bytes()))
    /// });
    /// assert_eq!(stock.load_sorted(pairs)?, 3);
    /// assert_eq!(stock.get("plums")?, Some(8));
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_sorted<Kb: AsRef<[u8]>, Vb: AsRef<[u8]>>(
        &mut self,
        pairs: impl IntoIterator<Item = Result<(Kb, Vb)>>,
    ) -> Result<u64> {
        self.check_order()?;
        let (stored, fault) = change!(self, |tree| load(Appender::new(tree)?, pairs))?;
        fault.map_or(Ok(stored), Err)
    }
}

/// Whether `keep` keeps an entry; one that does not decode stays, and is noted as the fault.
pub(super) fn keeps<K: Key + ?Sized, V: Codec + ?Sized>(
    key: &[u8],
    value: &[u8],
    keep: &mut impl FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    fault: &mut Option<Error>,
) -> bool {
    match (K::decode(key), V::decode(value)) {
        (Ok(key), Ok(value)) => keep(key, value),
        (Err(error), _) | (_, Err(error)) => {
            fault.get_or_insert(error);
            true
        }
    }
}
