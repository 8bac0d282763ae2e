//! Taking pairs out one by one, as they are asked for.

use std::ops::Bound;

use super::WriteMultimap;
use super::codec::Key;
use super::owned::Owned;
use super::write_table::owned;
use crate::dup::PairBound;
use crate::error::Result;

/// Pairs of a range that a predicate is true for, taken out as they are asked for: of [`WriteMultimap::extract_if`] and
/// [`extract_pairs_if`](WriteMultimap::extract_pairs_if).
///
/// Both ends may be asked. What was not asked for stays; after an error it ends.
#[must_use = "pairs are taken out as they are asked for; `retain_range` takes all out at once"]
pub struct PairExtractIf<'e, 't, K: ?Sized, V: ?Sized, F> {
    multimap: &'e mut WriteMultimap<'t, K, V>,
    low: Bound<End>,
    high: Bound<End>,
    choose: F,
    is_over: bool,
}

/// A pair at which what is left begins or ends, or all pairs of a key.
type End = (Vec<u8>, Option<Vec<u8>>);

/// A pair that was taken out.
type Taken<K, V> = (Owned<K>, Owned<V>);

/// Which end of what is left.
#[derive(Clone, Copy)]
enum Side {
    Front,
    Back,
}

impl<'e, 't, K, V, F> PairExtractIf<'e, 't, K, V, F>
where
    K: Key + ?Sized,
    V: Key + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    pub(super) fn new(
        multimap: &'e mut WriteMultimap<'t, K, V>,
        low: Bound<PairBound<'_>>,
        high: Bound<PairBound<'_>>,
        choose: F,
    ) -> PairExtractIf<'e, 't, K, V, F> {
        let own = |pair: PairBound<'_>| (pair.key.to_vec(), pair.dup.map(<[u8]>::to_vec));
        PairExtractIf { multimap, low: low.map(own), high: high.map(own), choose, is_over: false }
    }

    fn take(&mut self, side: Side) -> Option<Result<Taken<K, V>>> {
        if self.is_over {
            return None;
        }
        let taken = self.find(side).and_then(|found| match found {
            Some((key, dup)) if self.multimap.delete_bytes(&key, &dup)? => Ok(Some(owned((key, dup)))),
            _ => Ok(None),
        });
        self.is_over = !matches!(taken, Ok(Some(_)));
        taken.transpose()
    }

    /// The next pair that is to go; what is left begins or ends there.
    fn find(&mut self, side: Side) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut left = self.multimap.reading()?.between(bound(&self.low), bound(&self.high))?;
        loop {
            let pair = match side {
                Side::Front => left.next()?,
                Side::Back => left.next_back()?,
            };
            let Some((key, dup)) = pair else { return Ok(None) };
            if (self.choose)(K::decode(key)?, V::decode(dup)?) {
                let (key, dup) = (key.to_vec(), dup.to_vec());
                let end = Bound::Excluded((key.clone(), Some(dup.clone())));
                match side {
                    Side::Front => self.low = end,
                    Side::Back => self.high = end,
                }
                return Ok(Some((key, dup)));
            }
        }
    }
}

fn bound(end: &Bound<End>) -> Bound<PairBound<'_>> {
    end.as_ref().map(|(key, dup)| PairBound { key, dup: dup.as_deref() })
}

impl<K, V, F> Iterator for PairExtractIf<'_, '_, K, V, F>
where
    K: Key + ?Sized,
    V: Key + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    type Item = Result<Taken<K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(Side::Front)
    }
}

impl<K, V, F> DoubleEndedIterator for PairExtractIf<'_, '_, K, V, F>
where
    K: Key + ?Sized,
    V: Key + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(Side::Back)
    }
}
