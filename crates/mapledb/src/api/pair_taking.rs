//! Taking pairs out of a multimap from its ends, or by what they are.

use std::ops::{Bound, RangeBounds};

use super::WriteMultimap;
use super::codec::Key;
use super::owned::Owned;
use super::pair_extract::PairExtractIf;
use super::pair_gap::PairGapCursorMut;
use super::read_multimap::with_pair_bound;
use super::read_table::with_bounds;
use super::write_ranges::keeps;
use super::write_table::owned;
use crate::dup::{self, PairBound};
use crate::error::Result;

/// A pair that was taken out.
type Taken<K, V> = (Owned<K>, Owned<V>);

/// Taking out what is asked for by its place or by a predicate, which sees each pair once, in order.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::Multimap;
///
/// /// Jobs by when they are due.
/// const JOBS: Multimap<'static, u64, str> = Multimap::new("jobs");
///
/// let mut txn = env.write()?;
/// let mut jobs = txn.open_multimap(&JOBS)?;
/// jobs.insert_all(&10, ["bake", "brew", "call"])?;
/// jobs.insert_all(&20, ["call", "mend"])?;
/// jobs.insert_all(&30, ["call", "dust", "send", "sort"])?;
///
/// let (due, job) = jobs.pop_first()?.expect("there are nine");
/// assert_eq!((due.get()?, job.get()?), (10, "bake"));
/// assert_eq!(jobs.pop_last()?.expect("eight are left").1.get()?, "sort");
/// assert_eq!(jobs.pop_last_of(&10)?.expect("it has two").get()?, "call");
/// assert!(jobs.pop_first_of(&11)?.is_none());
///
/// // By what they are: all of them, those of a range of keys, or those between two pairs.
/// assert_eq!(jobs.retain(|due, job| due < 30 || job != "call")?, 1);
/// assert_eq!(jobs.retain_range(&20.., |_, job| job != "call")?, 1);
/// assert_eq!(jobs.retain_pairs((&30, "e").., |_, _| false)?, 1); // "send"
/// let left = jobs.iter()?.map(|pair| Ok(pair?.1.to_owned())).collect::<mapledb::Result<Vec<_>>>()?;
/// assert_eq!(left, ["brew", "mend", "dust"]);
///
/// // One by one, as they are asked for.
/// let gone = jobs.extract_if(&15.., |_, job| job.contains('d'))?.next_back().expect("there are two")?;
/// assert_eq!((gone.1.get()?, jobs.len()), ("dust", 2));
/// # Ok(())
/// # }
/// ```
impl<'t, K: Key + ?Sized, V: Key + ?Sized> WriteMultimap<'t, K, V> {
    /// Takes the first pair out and answers it. Cost: three descents, of which the last copies one page a level.
    ///
    /// # Errors
    /// [`Error::OrderMissing`](crate::Error::OrderMissing), which changes nothing, as of each of the calls below.
    pub fn pop_first(&mut self) -> Result<Option<Taken<K, V>>> {
        Ok(self.change(|tree, order| dup::pop(tree, order, |cursor| cursor.first()))?.map(owned))
    }

    /// Takes the last pair out and answers it. Cost: as [`pop_first`](WriteMultimap::pop_first).
    pub fn pop_last(&mut self) -> Result<Option<Taken<K, V>>> {
        Ok(self.change(|tree, order| dup::pop(tree, order, |cursor| cursor.last()))?.map(owned))
    }

    /// Takes the first duplicate of `key` out and answers it. Cost: as [`pop_first`](WriteMultimap::pop_first).
    pub fn pop_first_of(&mut self, key: &K) -> Result<Option<Owned<V>>> {
        let pop = |key: &[u8]| self.change(|tree, order| dup::pop(tree, order, |cursor| cursor.seek_key(key)));
        Ok(K::with_bytes(key, pop)?.map(|(_, dup)| Owned::new(dup)))
    }

    /// Takes the last duplicate of `key` out and answers it. Cost: as [`pop_first`](WriteMultimap::pop_first).
    pub fn pop_last_of(&mut self, key: &K) -> Result<Option<Owned<V>>> {
        let pop = |key: &[u8]| self.change(|tree, order| dup::pop(tree, order, |cursor| cursor.seek_key_last(key)));
        Ok(K::with_bytes(key, pop)?.map(|(_, dup)| Owned::new(dup)))
    }

    /// Takes out every pair that `keep` is false for; answers how many went. A pair that does not decode is kept and is the
    /// error of the call.
    ///
    /// Cost: every page read; for each key that loses something a descent, and what changes of its duplicates copied; a byte of
    /// memory for each duplicate of one key.
    pub fn retain(&mut self, keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool) -> Result<u64> {
        self.retain_between(Bound::Unbounded, Bound::Unbounded, keep)
    }

    /// As [`retain`](WriteMultimap::retain), of the pairs whose keys lie between two bounds; those outside stay. Cost: as `retain`, of
    /// the range.
    pub fn retain_range<'k>(
        &mut self,
        bounds: impl RangeBounds<&'k K>,
        keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    ) -> Result<u64>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| {
            self.retain_between(low.map(PairBound::of_key), high.map(PairBound::of_key), keep)
        })
    }

    /// As [`retain`](WriteMultimap::retain), of the pairs between two pairs; those outside stay. Cost: as `retain`, of the range.
    pub fn retain_pairs<'k>(
        &mut self,
        bounds: impl RangeBounds<(&'k K, &'k V)>,
        keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    ) -> Result<u64>
    where
        K: 'k,
        V: 'k,
    {
        with_pair_bound(bounds.start_bound(), |low| {
            with_pair_bound(bounds.end_bound(), |high| self.retain_between(low, high, keep))
        })
    }

    fn retain_between(
        &mut self,
        low: Bound<PairBound<'_>>,
        high: Bound<PairBound<'_>>,
        mut keep: impl FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    ) -> Result<u64> {
        let mut fault = None;
        let mut keep = |key: &[u8], dup: &[u8]| keeps::<K, V>(key, dup, &mut keep, &mut fault);
        let gone = self.change(|tree, order| dup::retain(tree, order, low, high, &mut keep))?;
        fault.map_or(Ok(gone), Err)
    }

    /// Takes out the pairs whose keys lie between two bounds and that `choose` is true for, one by one, as they are asked for, from
    /// either end; nothing goes that is not asked for.
    ///
    /// Cost: two descents for each that goes, to find it and to take it out, and a step for each that stays. To take many out
    /// at once [`retain_range`](WriteMultimap::retain_range) is cheaper.
    pub fn extract_if<'k, F>(
        &mut self,
        bounds: impl RangeBounds<&'k K>,
        choose: F,
    ) -> Result<PairExtractIf<'_, 't, K, V, F>>
    where
        K: 'k,
        F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    {
        with_bounds(bounds, |low, high| {
            Ok(PairExtractIf::new(self, low.map(PairBound::of_key), high.map(PairBound::of_key), choose))
        })
    }

    /// As [`extract_if`](WriteMultimap::extract_if), of the pairs between two pairs.
    pub fn extract_pairs_if<'k, F>(
        &mut self,
        bounds: impl RangeBounds<(&'k K, &'k V)>,
        choose: F,
    ) -> Result<PairExtractIf<'_, 't, K, V, F>>
    where
        K: 'k,
        V: 'k,
        F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
    {
        with_pair_bound(bounds.start_bound(), |low| {
            with_pair_bound(bounds.end_bound(), |high| Ok(PairExtractIf::new(self, low, high, choose)))
        })
    }

    /// A cursor to change the multimap by, in the gap before the first pair that `bound` lets in as the lower one of a range; behind
    /// the last pair, if there is none. Cost: a descent, and the pairs on both sides copied.
    pub fn lower_bound_mut(&mut self, bound: Bound<(&K, &V)>) -> Result<PairGapCursorMut<'_, 't, K, V>> {
        with_pair_bound(bound.as_ref(), |bound| {
            PairGapCursorMut::new(self, |tree, order| dup::PairGap::lower(tree, order, bound))
        })
    }

    /// A cursor to change the multimap by, in the gap behind the last pair that `bound` lets in as the upper one of a range; before
    /// the first pair, if there is none. Cost: a descent, and the pairs on both sides copied.
    pub fn upper_bound_mut(&mut self, bound: Bound<(&K, &V)>) -> Result<PairGapCursorMut<'_, 't, K, V>> {
        with_pair_bound(bound.as_ref(), |bound| {
            PairGapCursorMut::new(self, |tree, order| dup::PairGap::upper(tree, order, bound))
        })
    }
}
