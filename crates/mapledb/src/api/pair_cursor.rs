//! Going through a multimap pair by pair, and through the duplicates of a key.

use std::marker::PhantomData;

use super::codec::{Codec, Key, Typed};
use super::cursor::{Item, decode};
use crate::dup::{self, PairBound};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::Pair;
use crate::txn::ReadTxn;

/// A place at a pair of a multimap, or at none: before the first move, and after one that found nothing.
///
/// Pairs are in the order of their keys, and those of a key in the order of its duplicates. Every move answers the pair it came
/// to. Cost: a seek is a descent, of the keys and then of the duplicates if they have a tree; a step touches one slot.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::Multimap;
///
/// const TAGS: Multimap<'static, str, u32> = Multimap::new("tags");
///
/// let mut txn = env.write()?;
/// let mut tags = txn.open_multimap(&TAGS)?;
/// tags.insert_all("red", [1, 3, 5])?;
/// tags.insert_all("tan", [2, 4])?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let mut cursor = txn.multimap(&TAGS)?.cursor();
/// assert_eq!(cursor.next()?, Some(("red", 1))); // from nowhere to the first
/// assert_eq!((cursor.next()?, cursor.next_key()?), (Some(("red", 3)), Some(("tan", 2))));
/// assert_eq!((cursor.previous()?, cursor.first_in_key()?), (Some(("red", 5)), Some(("red", 1))));
/// assert_eq!((cursor.last_in_key()?, cursor.next_in_key()?), (Some(("red", 5)), None));
/// assert_eq!(cursor.current()?, Some(("red", 5))); // it stayed
/// assert_eq!((cursor.previous_in_key()?, cursor.count_in_key(), cursor.rank()?), (Some(("red", 3)), 3, 1));
/// assert_eq!((cursor.seek_key("tan")?, cursor.previous_key()?), (Some(("tan", 2)), Some(("red", 5))));
/// assert_eq!((cursor.seek("red", &2)?, cursor.ceiling("red", &2)?), (None, Some(("red", 3))));
/// assert_eq!((cursor.floor("tan", &1)?, cursor.ceiling_key("s")?), (Some(("red", 5)), Some(("tan", 2))));
/// assert_eq!((cursor.higher("red", &5)?, cursor.lower("tan", &4)?), (Some(("tan", 2)), Some(("tan", 2))));
/// assert_eq!((cursor.nth(4)?, cursor.first()?, cursor.last()?), (Some(("tan", 4)), Some(("red", 1)), Some(("tan", 4))));
/// # Ok(())
/// # }
/// ```
pub struct PairCursor<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: dup::PairCursor<'t, P>,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Key + ?Sized, P: Pages> PairCursor<'t, K, V, P> {
    pub(super) fn new(inner: dup::PairCursor<'t, P>) -> PairCursor<'t, K, V, P> {
        PairCursor { inner, types: PhantomData }
    }

    /// The cursor, to look for keys: not in an order that is not at hand.
    fn comparing(&mut self) -> Result<&mut dup::PairCursor<'t, P>> {
        if self.inner.order().keys.is_at_hand() { Ok(&mut self.inner) } else { Err(Error::OrderMissing) }
    }

    /// The cursor, to look for pairs.
    fn comparing_pairs(&mut self) -> Result<&mut dup::PairCursor<'t, P>> {
        if self.inner.order().is_at_hand() { Ok(&mut self.inner) } else { Err(Error::OrderMissing) }
    }

    /// The pair the cursor is at.
    pub fn current(&self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.current())
    }

    /// Goes to the first pair.
    pub fn first(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.first()?)
    }

    /// Goes to the last pair.
    pub fn last(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.last()?)
    }

    /// Goes to the next pair, of the same key or of the next; to the first if the cursor has not moved yet. Behind a move that
    /// found nothing there is no next.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next()?)
    }

    /// Goes to the previous pair, of the same key or of the one before; from none, to the last.
    pub fn previous(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.previous()?)
    }

    /// Goes to the next pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn next_in_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next_in_key()?)
    }

    /// Goes to the previous pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn previous_in_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.previous_in_key()?)
    }

    /// Goes to the first pair of the same key.
    pub fn first_in_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.first_in_key()?)
    }

    /// Goes to the last pair of the same key.
    pub fn last_in_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.last_in_key()?)
    }

    /// Goes to the first pair of the next key; to the first of all if the cursor has not moved yet. Behind a move that found
    /// nothing there is no next.
    pub fn next_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.next_key()?)
    }

    /// Goes to the last pair of the previous key; from none, to the last of all.
    pub fn previous_key(&mut self) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.previous_key()?)
    }

    /// Goes to the first pair of `key`.
    pub fn seek_key(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_key(key))?)
    }

    /// Goes to the first pair whose key is not less than `key`.
    pub fn ceiling_key(&mut self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(K::with_bytes(key, |key| self.comparing()?.seek_from(PairBound::of_key(key), true))?)
    }

    /// Goes to a pair.
    pub fn seek(&mut self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        K::with_bytes(key, |key| V::with_bytes(value, |value| self.comparing_pairs()?.seek(key, value).map(drop)))?;
        self.current()
    }

    /// Goes to the first pair that is not less than this one, be it of this key or of a later one.
    pub fn ceiling(&mut self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.with_pair(key, value, |cursor, pair| cursor.seek_from(pair, true).map(drop))
    }

    /// Goes to the first pair that is greater than this one, be it of this key or of a later one.
    pub fn higher(&mut self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.with_pair(key, value, |cursor, pair| cursor.seek_from(pair, false).map(drop))
    }

    /// Goes to the last pair that is not greater than this one, be it of this key or of an earlier one.
    pub fn floor(&mut self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.with_pair(key, value, |cursor, pair| cursor.seek_to(pair, true).map(drop))
    }

    /// Goes to the last pair that is less than this one, be it of this key or of an earlier one.
    pub fn lower(&mut self, key: &K, value: &V) -> Result<Option<Item<'t, K, V>>> {
        self.with_pair(key, value, |cursor, pair| cursor.seek_to(pair, false).map(drop))
    }

    fn with_pair(
        &mut self,
        key: &K,
        value: &V,
        act: impl FnOnce(&mut dup::PairCursor<'t, P>, PairBound<'_>) -> Result<()>,
    ) -> Result<Option<Item<'t, K, V>>> {
        K::with_bytes(key, |key| V::with_bytes(value, |value| act(self.comparing_pairs()?, PairBound::of(key, value))))?;
        self.current()
    }

    /// Goes to the pair that has `n` before it.
    pub fn nth(&mut self, n: u64) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(self.inner.seek_nth(n)?)
    }

    /// How many pairs have the key that the cursor is at; 0 at none. Cost: none.
    pub fn count_in_key(&self) -> u64 {
        self.inner.count_in_key()
    }

    /// How many pairs are before the one the cursor is at. Cost: no page beyond the paths it holds.
    pub fn rank(&self) -> Result<u64> {
        self.inner.rank()
    }
}

/// The pairs between two bounds, from either end. After an error it ends.
pub struct PairRange<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    inner: dup::PairRange<'t, P>,
    is_over: bool,
    types: Typed<K, V>,
}

impl<'t, K: Key + ?Sized, V: Key + ?Sized, P: Pages> PairRange<'t, K, V, P> {
    pub(super) fn new(inner: dup::PairRange<'t, P>) -> PairRange<'t, K, V, P> {
        PairRange { inner, is_over: false, types: PhantomData }
    }

    /// How many pairs are left, exactly. Cost: none.
    pub fn remaining(&self) -> u64 {
        if self.is_over { 0 } else { self.inner.remaining() }
    }

    /// Splits what is left into `parts` ranges of equal length, one pair more or less, in order, as
    /// [`Range::split`](crate::Range::split) does: the pairs of one key may be in several. None if `parts` is 0, or after an error.
    ///
    /// Cost: two descents a part.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::Multimap;
    ///
    /// const POSTINGS: Multimap<'static, str, u64> = Multimap::new("postings");
    ///
    /// let mut txn = env.write()?;
    /// txn.open_multimap(&POSTINGS)?.insert_all("maple", 0..9000)?;
    /// txn.open_multimap(&POSTINGS)?.insert_all("oak", 0..1000)?;
    /// txn.commit()?;
    ///
    /// // A thread for each part; most pairs are of one key, and the parts are even all the same.
    /// let txn = env.read()?;
    /// let parts = txn.multimap(&POSTINGS)?.iter()?.split(4)?;
    /// assert!(parts.iter().all(|part| part.remaining() == 2500));
    /// let sum: u64 = std::thread::scope(|scope| {
    ///     let sum = |part: mapledb::PairRange<'_, str, u64>| {
    ///         part.map(|pair| pair.map(|(_, number)| number)).sum::<mapledb::Result<u64>>()
    ///     };
    ///     let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || sum(part))).collect();
    ///     threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<mapledb::Result<u64>>()
    /// })?;
    /// assert_eq!(sum, (0..9000).sum::<u64>() + (0..1000).sum::<u64>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self, parts: usize) -> Result<Vec<PairRange<'t, K, V, P>>> {
        if self.is_over {
            return Ok(Vec::new());
        }
        Ok(self.inner.split(parts)?.into_iter().map(PairRange::new).collect())
    }

    fn item(&mut self, pair: Result<Option<(&'t [u8], &'t [u8])>>) -> Option<Result<Item<'t, K, V>>> {
        let item = pair.and_then(decode::<K, V>).transpose();
        self.is_over |= matches!(item, Some(Err(_)));
        item
    }
}

impl<'t, K: Key + ?Sized, V: Key + ?Sized, P: Pages> Iterator for PairRange<'t, K, V, P> {
    type Item = Result<Item<'t, K, V>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let pair = self.inner.next();
        self.item(pair)
    }
}

impl<K: Key + ?Sized, V: Key + ?Sized, P: Pages> DoubleEndedIterator for PairRange<'_, K, V, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let pair = self.inner.next_back();
        self.item(pair)
    }
}

/// The keys of a multimap, each once, from either end. After an error it ends.
pub(super) struct Keys<'t, K: ?Sized, P> {
    /// Each at the key that was handed out last from its end; at none before that.
    front: dup::PairCursor<'t, P>,
    back: dup::PairCursor<'t, P>,
    is_over: bool,
    types: Typed<K, K>,
}

impl<'t, K: Key + ?Sized, P: Pages> Keys<'t, K, P> {
    /// Keys between two cursors on one multimap that have not moved yet.
    pub(super) fn new(front: dup::PairCursor<'t, P>, back: dup::PairCursor<'t, P>) -> Keys<'t, K, P> {
        Keys { front, back, is_over: false, types: PhantomData }
    }

    /// The key one end has come to, unless it is where the other end is.
    fn item(&mut self, came_to: Result<Option<Pair<'t>>>, other: Option<Pair<'t>>) -> Option<Result<K::Item<'t>>> {
        let is_met = |key: &[u8]| other.is_some_and(|(other, _)| other == key);
        let key = came_to.map(|pair| pair.map(|(key, _)| key).filter(|key| !is_met(key)));
        let item = key.and_then(|key| key.map(K::decode).transpose()).transpose();
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<'t, K: Key + ?Sized, P: Pages> Iterator for Keys<'t, K, P> {
    type Item = Result<K::Item<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let came_to = self.front.next_key();
        self.item(came_to, self.back.current())
    }
}

impl<K: Key + ?Sized, P: Pages> DoubleEndedIterator for Keys<'_, K, P> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let came_to = self.back.previous_key();
        self.item(came_to, self.front.current())
    }
}

/// The duplicates of a key, in order, from either end. After an error it ends.
pub struct Values<'t, V: ?Sized, P = ReadTxn> {
    pairs: PairRange<'t, [u8], V, P>,
}

impl<'t, V: Key + ?Sized, P: Pages> Values<'t, V, P> {
    pub(super) fn new(inner: dup::PairRange<'t, P>) -> Values<'t, V, P> {
        Values { pairs: PairRange::new(inner) }
    }

    /// How many are left, exactly. Cost: none.
    pub fn remaining(&self) -> u64 {
        self.pairs.remaining()
    }
}

impl<'t, V: Key + ?Sized, P: Pages> Iterator for Values<'t, V, P> {
    type Item = Result<V::Item<'t>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.pairs.next()?.map(|(_, value)| value))
    }
}

impl<V: Key + ?Sized, P: Pages> DoubleEndedIterator for Values<'_, V, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.pairs.next_back()?.map(|(_, value)| value))
    }
}

/// The duplicates of a key as bytes, in slices of the map: a page of them at a time if they have one length, else one by one.
/// After an error it ends.
pub struct Chunks<'t, P = ReadTxn> {
    inner: Option<dup::Chunks<'t, P>>,
}

impl<'t, P: Pages> Chunks<'t, P> {
    pub(super) fn new(inner: dup::Chunks<'t, P>) -> Chunks<'t, P> {
        Chunks { inner: Some(inner) }
    }
}

impl<'t, P: Pages> Iterator for Chunks<'t, P> {
    type Item = Result<&'t [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.inner.as_mut()?.next().transpose();
        if !matches!(chunk, Some(Ok(_))) {
            self.inner = None;
        }
        chunk
    }
}

/// The duplicates of a key, a page of them at a time, as slices of the map. After an error it ends.
pub struct Arrays<'t, const N: usize, P = ReadTxn> {
    chunks: Chunks<'t, P>,
}

impl<'t, const N: usize, P: Pages> Arrays<'t, N, P> {
    pub(super) fn new(chunks: Chunks<'t, P>) -> Arrays<'t, N, P> {
        Arrays { chunks }
    }
}

impl<'t, const N: usize, P: Pages> Iterator for Arrays<'t, N, P> {
    type Item = Result<&'t [[u8; N]]>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.chunks.next()?.and_then(|chunk| match chunk.as_chunks::<N>() {
            (arrays, []) => Ok(arrays),
            _ => Err(Error::Decode { expected: <[u8; N]>::type_name(), len: chunk.len() }),
        }))
    }
}
