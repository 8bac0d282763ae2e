//! Cursors that stand between pairs: to look either way, and to put sorted input where it belongs.

use std::marker::PhantomData;

use super::WriteMultimap;
use super::codec::{Key, Typed};
use super::cursor::{Item, decode};
use super::owned::Owned;
use super::write_table::owned;
use crate::dup::{self, PairBound};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::space::Draft;
use crate::tree::{KeyOrder, Tree};
use crate::txn::ReadTxn;

/// A gap between two pairs of a multimap: of [`ReadMultimap::lower_bound`](super::ReadMultimap::lower_bound) and
/// [`upper_bound`](super::ReadMultimap::upper_bound).
///
/// Cost: a step is a slot, and at the end of a leaf, or of the duplicates of a key, the next one.
pub struct PairGapCursor<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: dup::PairGap<'t, P>,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Key + ?Sized, P: Pages> PairGapCursor<'t, K, V, P> {
    pub(super) fn new(inner: dup::PairGap<'t, P>) -> PairGapCursor<'t, K, V, P> {
        PairGapCursor { inner, types: PhantomData }
    }

    /// The pair behind the gap.
    pub fn peek_next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.peek_next()?)
    }

    /// The pair before the gap.
    pub fn peek_prev(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.peek_prev()?)
    }

    /// Goes over the pair behind the gap and answers it; stays at the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next()?)
    }

    /// Goes back over the pair before the gap and answers it; stays at the beginning.
    pub fn prev(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.prev()?)
    }
}

/// A gap between two pairs of a multimap that is changed: of [`WriteMultimap::lower_bound_mut`] and
/// [`upper_bound_mut`](WriteMultimap::upper_bound_mut).
///
/// It knows the pairs on both sides: sorted input is put in by one descent for each pair, and one that does not belong into the
/// gap, or is one of its sides, is refused and changes nothing. It is for input that is sorted by pairs and lies between others: many
/// duplicates of one key go in faster by [`insert_all`](WriteMultimap::insert_all), and what lies behind everything by
/// [`load_sorted`](WriteMultimap::load_sorted). There is no `put` and no `entry`: a pair has nothing to be replaced.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use std::ops::Bound;
///
/// use mapledb::{Env, Error, Multimap};
///
/// const WORDS: Multimap<'static, str, u32> = Multimap::new("words");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("words.maple")) }?;
/// let mut txn = env.write()?;
/// let mut words = txn.open_multimap(&WORDS)?;
/// words.insert("ash", &2)?;
/// words.insert("oak", &7)?;
///
/// let mut gap = words.lower_bound_mut(Bound::Excluded(("ash", &2)))?;
/// gap.insert_before("ash", &5)?;
/// gap.insert_before("elm", &1)?;
/// assert!(matches!(gap.insert_before("ash", &9), Err(Error::NotSorted)));
/// gap.insert_after("oak", &3)?;
/// assert_eq!(gap.peek_prev()?, Some(("elm", 1)));
/// assert_eq!(gap.next()?, Some(("oak", 3)));
/// assert_eq!(gap.remove_next()?.expect("there is one").1.get()?, 7);
/// assert_eq!(gap.prev()?, Some(("oak", 3)));
/// assert_eq!(gap.remove_prev()?.expect("there is one").0.get()?, "elm");
/// let pairs = words.iter()?.map(|pair| Ok(pair?.1)).collect::<mapledb::Result<Vec<_>>>()?;
/// assert_eq!(pairs, [2, 5, 3]);
/// # Ok(())
/// # }
/// ```
pub struct PairGapCursorMut<'e, 't, K: ?Sized, V: ?Sized> {
    multimap: &'e mut WriteMultimap<'t, K, V>,
    below: Option<OwnPair>,
    above: Option<OwnPair>,
}

type OwnPair = (Vec<u8>, Vec<u8>);

impl<'e, 't, K: Key + ?Sized, V: Key + ?Sized> PairGapCursorMut<'e, 't, K, V> {
    /// The gap that `find` finds.
    pub(super) fn new(
        multimap: &'e mut WriteMultimap<'t, K, V>,
        find: impl FnOnce(Tree<'_, Draft, KeyOrder>, KeyOrder) -> Result<dup::PairGap<'_, Draft>>,
    ) -> Result<PairGapCursorMut<'e, 't, K, V>> {
        let reading = multimap.reading()?;
        let mut gap = find(reading.comparing_pairs()?, reading.duplicates().order)?;
        let (below, above) = (gap.peek_prev()?.map(own), gap.peek_next()?.map(own));
        Ok(PairGapCursorMut { multimap, below, above })
    }

    /// The pair behind the gap. Cost: a descent.
    pub fn peek_next(&self) -> Result<Option<Item<'_, K, V>>> {
        self.pair(self.above.as_ref())
    }

    /// The pair before the gap. Cost: a descent.
    pub fn peek_prev(&self) -> Result<Option<Item<'_, K, V>>> {
        self.pair(self.below.as_ref())
    }

    fn pair(&self, pair: Option<&OwnPair>) -> Result<Option<Item<'_, K, V>>> {
        match pair {
            Some((key, dup)) => decode::<K, V>(self.multimap.reading()?.pairs().seek(key, dup)?),
            None => Ok(None),
        }
    }

    /// Goes over the pair behind the gap and answers it; stays at the end. Cost: two descents.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'_, K, V>>> {
        let Some((key, dup)) = &self.above else { return Ok(None) };
        let above = self.neighbour(key, dup, Side::Above)?;
        self.below = std::mem::replace(&mut self.above, above);
        self.peek_prev()
    }

    /// Goes back over the pair before the gap and answers it; stays at the beginning. Cost: two descents.
    pub fn prev(&mut self) -> Result<Option<Item<'_, K, V>>> {
        let Some((key, dup)) = &self.below else { return Ok(None) };
        let below = self.neighbour(key, dup, Side::Below)?;
        self.above = std::mem::replace(&mut self.below, below);
        self.peek_next()
    }

    /// Puts a pair into the gap; the gap lies behind it then. Cost: as [`WriteMultimap::insert`].
    ///
    /// # Errors
    /// [`Error::NotSorted`] if the pair does not belong between its neighbours, which changes nothing; those of
    /// [`WriteMultimap::insert`].
    pub fn insert_before(&mut self, key: &K, value: &V) -> Result<()> {
        self.below = Some(self.insert(key, value)?);
        Ok(())
    }

    /// Puts a pair into the gap; the gap lies before it then. Cost and errors: as
    /// [`insert_before`](PairGapCursorMut::insert_before).
    pub fn insert_after(&mut self, key: &K, value: &V) -> Result<()> {
        self.above = Some(self.insert(key, value)?);
        Ok(())
    }

    fn insert(&mut self, key: &K, value: &V) -> Result<OwnPair> {
        let bytes_of = |bytes: &[u8]| Ok(bytes.to_vec());
        let pair = (K::with_bytes(key, bytes_of)?, V::with_bytes(value, bytes_of)?);
        let (keys, duplicates) = (self.multimap.order(), self.multimap.duplicates().order);
        let precedes = |a: &OwnPair, b: &OwnPair| {
            keys.compare(&a.0, &b.0).then_with(|| duplicates.compare(&a.1, &b.1)).is_lt()
        };
        let follows = self.below.as_ref().is_none_or(|below| precedes(below, &pair));
        if !follows || !self.above.as_ref().is_none_or(|above| precedes(&pair, above)) {
            return Err(Error::NotSorted);
        }
        self.multimap.insert_bytes(&pair.0, &pair.1)?;
        Ok(pair)
    }

    /// Takes the pair behind the gap out and answers it. Cost: two descents.
    pub fn remove_next(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        let Some((key, dup)) = &self.above else { return Ok(None) };
        let above = self.neighbour(key, dup, Side::Above)?;
        self.multimap.delete_bytes(key, dup)?;
        Ok(std::mem::replace(&mut self.above, above).map(owned))
    }

    /// Takes the pair before the gap out and answers it. Cost: two descents.
    pub fn remove_prev(&mut self) -> Result<Option<(Owned<K>, Owned<V>)>> {
        let Some((key, dup)) = &self.below else { return Ok(None) };
        let below = self.neighbour(key, dup, Side::Below)?;
        self.multimap.delete_bytes(key, dup)?;
        Ok(std::mem::replace(&mut self.below, below).map(owned))
    }

    /// The pair beside another.
    fn neighbour(&self, key: &[u8], dup: &[u8], side: Side) -> Result<Option<OwnPair>> {
        let mut cursor = self.multimap.reading()?.pairs();
        let found = match side {
            Side::Above => cursor.seek_from(PairBound::of(key, dup), false)?,
            Side::Below => cursor.seek_to(PairBound::of(key, dup), false)?,
        };
        Ok(found.map(own))
    }
}

fn own((key, dup): (&[u8], &[u8])) -> OwnPair {
    (key.to_vec(), dup.to_vec())
}

#[derive(Clone, Copy)]
enum Side {
    Below,
    Above,
}
