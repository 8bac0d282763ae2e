//! Taking entries out one by one, as they are asked for.

use std::ops::Bound;

use super::WriteTable;
use super::codec::{Codec, Key};
use super::owned::Owned;
use crate::error::Result;
use crate::tree;

/// Entries of a range that a predicate is true for, taken out as they are asked for: of [`WriteTable::extract_if`].
///
/// Both ends may be asked. What was not asked for stays; after an error it ends.
#[must_use = "entries are taken out as they are asked for; `retain_range` takes all out at once"]
pub struct ExtractIf<'e, 't, K: ?Sized, V: ?Sized, F> {
    table: &'e mut WriteTable<'t, K, V>,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    choose: F,
    is_over: bool,
}

/// Which end of what is left.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

/// An entry that was taken out.
type Taken<K, V> = (Owned<K>, Owned<V>);

impl<'e, 't, K, V, F> ExtractIf<'e, 't, K, V, F>
where
    K: Key + ?Sized,
    V: Codec + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    pub(super) fn new(
        table: &'e mut WriteTable<'t, K, V>,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        choose: F,
    ) -> ExtractIf<'e, 't, K, V, F> {
        let (low, high) = (low.map(<[u8]>::to_vec), high.map(<[u8]>::to_vec));
        ExtractIf { table, low, high, choose, is_over: false }
    }

    fn take(&mut self, end: End) -> Option<Result<Taken<K, V>>> {
        if self.is_over {
            return None;
        }
        let taken = self.find(end).and_then(|found| match found {
            None => Ok(None),
            Some(key) => self.table.take_bytes(&key),
        });
        self.is_over = !matches!(taken, Ok(Some(_)));
        taken.transpose()
    }

    /// The key of the next entry that is to go; what is left begins or ends there.
    fn find(&mut self, end: End) -> Result<Option<Vec<u8>>> {
        let tree = self.table.reading()?.comparing()?;
        let slice = |bound| match bound {
            &Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) => Bound::Included(Vec::as_slice(key)),
            Bound::Excluded(key) => Bound::Excluded(Vec::as_slice(key)),
        };
        let mut left = tree::Range::new(tree, slice(&self.low), slice(&self.high))?;
        loop {
            let pair = match end {
                End::Front => left.next()?,
                End::Back => left.next_back()?,
            };
            let Some((key, value)) = pair else { return Ok(None) };
            if (self.choose)(K::decode(key)?, V::decode(value)?) {
                let key = key.to_vec();
                match end {
                    End::Front => self.low = Bound::Excluded(key.clone()),
                    End::Back => self.high = Bound::Excluded(key.clone()),
                }
                return Ok(Some(key));
            }
        }
    }
}

impl<K, V, F> Iterator for ExtractIf<'_, '_, K, V, F>
where
    K: Key + ?Sized,
    V: Codec + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    type Item = Result<Taken<K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(End::Front)
    }
}

impl<K, V, F> DoubleEndedIterator for ExtractIf<'_, '_, K, V, F>
where
    K: Key + ?Sized,
    V: Codec + ?Sized,
    F: FnMut(K::Item<'_>, V::Item<'_>) -> bool,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(End::Back)
    }
}
