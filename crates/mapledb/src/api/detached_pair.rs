//! Cursors over pairs that hold no borrow: any number of them on a multimap that is changed meanwhile.
//!
//! As [`DetachedCursor`](super::DetachedCursor) for tables: such a cursor keeps the pair it is at, where that was found, and the version of
//! the multimap at that moment. While the version is the same, the neighbour of the pair is beside it in the same leaf, sub-page
//! or leaf of a nested tree; once it is another, the cursor seeks its pair again, whatever form the duplicates are in by then.

use std::marker::PhantomData;

use mapledb_os::planted;

use super::WriteMultimap;
use super::codec::{Key, Typed};
use super::cursor::{Item, decode};
use crate::dup::{self, PairBound, PairPlace};
use crate::error::{Error, Result};
use crate::space::Draft;
use crate::tree::{Pair, Way};
use crate::txn::Version;

/// A place in a multimap of a write transaction, kept while the multimap changes.
///
/// Any number may be used on one multimap, beside changes of every kind; each call borrows the multimap for itself. The law: after any
/// changes a cursor answers what a fresh seek of its pair would, though duplicates have gone from a leaf into a tree or
/// back. At a pair that was taken out, [`current`] is `None`, and [`next`] and [`previous`] go to its neighbours; behind the
/// last pair, `next` finds what was put there since.
///
/// Moves within a key and from key to key go by the key of the pair it is at, be the pair there or not. It may go on in another
/// transaction, or in another multimap with the same types, where it seeks its pair.
///
/// Cost: a page touch or two for a step to a pair in the same page as long as the multimap has not changed; otherwise a descent of the keys,
/// and one of the key's duplicates if they have a tree. The pair is copied at each move. To go through a multimap that does
/// not change meanwhile, a [`PairRange`](super::PairRange) or a [`PairCursor`](super::PairCursor) is faster.
///
/// Errors: [`Error::OrderMissing`] of a move that compares, [`Error::Corrupt`], and [`Error::Decode`]. After the last the cursor is where it went.
///
/// [`current`]: DetachedPairCursor::current
/// [`next`]: DetachedPairCursor::next
/// [`previous`]: DetachedPairCursor::previous
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{DetachedPairCursor, Env, Multimap};
///
/// const LINKS: Multimap<'static, str, u64> = Multimap::new("links");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { Env::options().create(dir.path().join("links.maple")) }?;
/// let mut txn = env.write()?;
/// let mut links = txn.open_multimap(&LINKS)?;
/// links.insert_all("ash", 0..10)?;
/// links.insert_all("oak", 5..7)?;
///
/// // One goes ahead and takes out what is even, and another stands still.
/// let (mut slow, mut fast) = (DetachedPairCursor::new(), DetachedPairCursor::new());
/// slow.first(&links)?;
/// while let Some((_, number)) = fast.next(&links)? {
///     if number % 2 == 0 {
///         fast.delete(&mut links)?;
///     }
/// }
/// assert_eq!(slow.current(&links)?, None);
/// assert_eq!(slow.next(&links)?, Some(("ash", 1)));
/// assert_eq!((slow.last_in_key(&links)?, slow.next_in_key(&links)?), (Some(("ash", 9)), None));
/// assert_eq!((slow.next_key(&links)?, slow.previous_key(&links)?), (Some(("oak", 5)), Some(("ash", 9))));
/// assert_eq!((slow.seek(&links, "ash", &4)?, slow.previous(&links)?), (None, Some(("ash", 3))));
/// assert_eq!((slow.ceiling(&links, "ash", &8)?, slow.floor(&links, "oak", &1)?), (Some(("ash", 9)), Some(("ash", 9))));
/// links.insert("pine", &77)?;
/// assert_eq!(fast.next(&links)?, Some(("pine", 77)));
/// # Ok(())
/// # }
/// ```
pub struct DetachedPairCursor<K: ?Sized, V: ?Sized> {
    place: Place,
    /// The pair of the place; nothing if it has none.
    key: Vec<u8>,
    /// Without a duplicate the place is a gap before or behind all pairs of the key.
    dup: Option<Vec<u8>>,
    /// Where the pair was found.
    found: Option<Found>,
    types: Typed<K, V>,
}

/// Where a cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere yet, or where there was nothing.
    Nowhere,
    /// At its pair, or in the gap that it left.
    At,
    /// In the gap before its pair, or before all of its key.
    Before,
    /// In the gap behind its pair, or behind all of its key.
    Behind,
}

#[derive(Clone, Copy)]
struct Found {
    version: Version,
    place: PairPlace,
}

type Cursor<'a> = dup::PairCursor<'a, Draft>;
/// A pair, or all pairs of a key.
type Spot = (Vec<u8>, Option<Vec<u8>>);

impl<K: Key + ?Sized, V: Key + ?Sized> DetachedPairCursor<K, V> {
    /// A cursor that is nowhere yet: from there [`next`](DetachedPairCursor::next) goes to the first pair and
    /// [`previous`](DetachedPairCursor::previous) to the last.
    pub const fn new() -> DetachedPairCursor<K, V> {
        DetachedPairCursor { place: Place::Nowhere, key: Vec::new(), dup: None, found: None, types: PhantomData }
    }

    /// The key it is at, whether or not it is still there; `None` if it is nowhere. Cost: none.
    pub fn key(&self) -> Result<Option<K::Item<'_>>> {
        if self.place == Place::Nowhere { Ok(None) } else { K::decode(&self.key).map(Some) }
    }

    /// The pair it is at.
    pub fn current<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        let (Place::At, Some(dup)) = (self.place, &self.dup) else { return Ok(None) };
        if let Some(pair) = self.look(multimap, Some)? {
            return decode::<K, V>(Some(pair));
        }
        let mut cursor = comparing(multimap)?;
        let pair = cursor.seek(&self.key, dup)?;
        self.remember(multimap, &cursor);
        decode::<K, V>(pair)
    }

    /// Goes to the first pair.
    pub fn first<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.jump(multimap, |cursor| cursor.first())
    }

    /// Goes to the last pair.
    pub fn last<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.jump(multimap, |cursor| cursor.last())
    }

    /// Goes to the pair that has `n` before it; nowhere if there is none.
    pub fn nth<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>, n: u64) -> Result<Option<Item<'a, K, V>>> {
        self.jump(multimap, |cursor| cursor.seek_nth(n))
    }

    /// Goes to the next pair, of the same key or of the next; from nowhere, to the first. Where there is none it stays behind the
    /// last.
    pub fn next<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if let Some(pair) = self.beside(multimap, Way::Forward)? {
            return decode::<K, V>(Some(self.arrive(pair, Way::Forward)));
        }
        if self.place == Place::Nowhere {
            return self.first(multimap);
        }
        let inclusive = self.place == Place::Before;
        self.step(multimap, self.spot(), Place::Behind, |cursor, at| cursor.seek_from(at, inclusive))
    }

    /// Goes to the previous pair, of the same key or of the one before; from nowhere, to the last. Where there is none it stays before
    /// the first.
    pub fn previous<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if let Some(pair) = self.beside(multimap, Way::Back)? {
            return decode::<K, V>(Some(self.arrive(pair, Way::Back)));
        }
        if self.place == Place::Nowhere {
            return self.last(multimap);
        }
        let inclusive = self.place == Place::Behind;
        self.step(multimap, self.spot(), Place::Before, |cursor, at| cursor.seek_to(at, inclusive))
    }

    /// Goes to the next pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn next_in_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if let Some(pair) = self.beside(multimap, Way::Forward)?.filter(|(key, _)| *key == self.key) {
            return decode::<K, V>(Some(self.arrive(pair, Way::Forward)));
        }
        let inclusive = self.place == Place::Before;
        self.step_in_key(multimap, self.spot(), |cursor, at| cursor.seek_from(at, inclusive))
    }

    /// Goes to the previous pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn previous_in_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if let Some(pair) = self.beside(multimap, Way::Back)?.filter(|(key, _)| *key == self.key) {
            return decode::<K, V>(Some(self.arrive(pair, Way::Back)));
        }
        let inclusive = self.place == Place::Behind;
        self.step_in_key(multimap, self.spot(), |cursor, at| cursor.seek_to(at, inclusive))
    }

    /// Goes to the first pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn first_in_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.step_in_key(multimap, (self.key.clone(), None), |cursor, key| cursor.seek_from(key, true))
    }

    /// Goes to the last pair of the same key. If there is none the answer is none, and the cursor stays where it is.
    pub fn last_in_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        self.step_in_key(multimap, (self.key.clone(), None), |cursor, key| cursor.seek_to(key, true))
    }

    /// Goes to the first pair of the first key that is greater than its own; from nowhere, to the first of all. Where there is
    /// none it is behind all pairs of its key.
    pub fn next_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if self.place == Place::Nowhere {
            return self.first(multimap);
        }
        self.step(multimap, (self.key.clone(), None), Place::Behind, |cursor, key| cursor.seek_from(key, false))
    }

    /// Goes to the last pair of the last key that is less than its own; from nowhere, to the last of all. Where there is none it is
    /// before all pairs of its key.
    pub fn previous_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>) -> Result<Option<Item<'a, K, V>>> {
        if self.place == Place::Nowhere {
            return self.last(multimap);
        }
        self.step(multimap, (self.key.clone(), None), Place::Before, |cursor, key| cursor.seek_to(key, false))
    }

    /// Goes to the first pair of `key`; if it has none, into the gap where they would be.
    pub fn seek_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let to = (bytes_of(key)?, None);
        self.step(multimap, to, Place::Before, |cursor, at| cursor.seek_key(at.key))
    }

    /// Goes to the first pair whose key is not less than `key`; if there is none, behind the last.
    pub fn ceiling_key<'a>(&mut self, multimap: &'a WriteMultimap<'_, K, V>, key: &K) -> Result<Option<Item<'a, K, V>>> {
        let to = (bytes_of(key)?, None);
        self.step(multimap, to, Place::Before, |cursor, at| cursor.seek_from(at, true))
    }

    /// Goes to a pair; if it is not there, into the gap where it would be.
    pub fn seek<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        key: &K,
        value: &V,
    ) -> Result<Option<Item<'a, K, V>>> {
        let to = pair_of(key, value)?;
        self.step(multimap, to, Place::At, |cursor, at| cursor.seek(at.key, at.dup.unwrap_or_default()))
    }

    /// Goes to the first pair that is not less than this one; if there is none, behind the last.
    pub fn ceiling<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        key: &K,
        value: &V,
    ) -> Result<Option<Item<'a, K, V>>> {
        self.step(multimap, pair_of(key, value)?, Place::Before, |cursor, at| cursor.seek_from(at, true))
    }

    /// Goes to the first pair that is greater than this one; if there is none, behind the last.
    pub fn higher<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        key: &K,
        value: &V,
    ) -> Result<Option<Item<'a, K, V>>> {
        self.step(multimap, pair_of(key, value)?, Place::Behind, |cursor, at| cursor.seek_from(at, false))
    }

    /// Goes to the last pair that is not greater than this one; if there is none, before the first.
    pub fn floor<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        key: &K,
        value: &V,
    ) -> Result<Option<Item<'a, K, V>>> {
        self.step(multimap, pair_of(key, value)?, Place::Behind, |cursor, at| cursor.seek_to(at, true))
    }

    /// Goes to the last pair that is less than this one; if there is none, before the first.
    pub fn lower<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        key: &K,
        value: &V,
    ) -> Result<Option<Item<'a, K, V>>> {
        self.step(multimap, pair_of(key, value)?, Place::Before, |cursor, at| cursor.seek_to(at, false))
    }

    /// Takes the pair it is at out; answers whether there was one. The cursor stays in the gap. Cost: as
    /// [`WriteMultimap::delete`].
    pub fn delete(&mut self, multimap: &mut WriteMultimap<'_, K, V>) -> Result<bool> {
        match (self.place, &self.dup) {
            (Place::At, Some(dup)) => multimap.delete_bytes(&self.key, dup),
            _ => Ok(false),
        }
    }

    /// The pair or the key of the place.
    fn spot(&self) -> Spot {
        (self.key.clone(), self.dup.clone())
    }

    /// What is where `way` leads from where the pair was found, if the multimap is as it was then.
    fn look<'a>(
        &self,
        multimap: &'a WriteMultimap<'_, K, V>,
        way: impl FnOnce(PairPlace) -> Option<PairPlace>,
    ) -> Result<Option<Pair<'a>>> {
        let Some(found) = self.found else { return Ok(None) };
        match way(found.place) {
            Some(place) if found.version == multimap.version() || planted("stale_pair_cursor") => {
                dup::pair_in(multimap.reading()?.tree(), place)
            }
            _ => Ok(None),
        }
    }

    /// The pair beside the one it is at, in the same page, if the multimap is as it was when that was found.
    fn beside<'a>(&self, multimap: &'a WriteMultimap<'_, K, V>, way: Way) -> Result<Option<Pair<'a>>> {
        if self.place == Place::At { self.look(multimap, |place| place.beside(way)) } else { Ok(None) }
    }

    /// Takes note of having gone within the page.
    fn arrive<'a>(&mut self, pair: Pair<'a>, way: Way) -> Pair<'a> {
        self.found = self.found.and_then(|found| Some(Found { place: found.place.beside(way)?, ..found }));
        self.come_to(pair);
        pair
    }

    fn come_to(&mut self, (key, dup): Pair<'_>) {
        self.key.clear();
        self.key.extend_from_slice(key);
        let own = self.dup.get_or_insert_default();
        own.clear();
        own.extend_from_slice(dup);
        self.place = Place::At;
    }

    /// Seeks by no pair; where there is nothing the cursor is nowhere.
    fn jump<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        seek: impl FnOnce(&mut Cursor<'a>) -> Result<Option<Pair<'a>>>,
    ) -> Result<Option<Item<'a, K, V>>> {
        let mut cursor = multimap.reading()?.pairs();
        let pair = seek(&mut cursor)?;
        self.settle(multimap, &cursor, pair, (Vec::new(), None), Place::Nowhere)
    }

    /// Seeks by `to`; where there is nothing the cursor is at `otherwise` of it.
    fn step<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        to: Spot,
        otherwise: Place,
        seek: impl FnOnce(&mut Cursor<'a>, PairBound<'_>) -> Result<Option<Pair<'a>>>,
    ) -> Result<Option<Item<'a, K, V>>> {
        let mut cursor = comparing(multimap)?;
        let pair = seek(&mut cursor, bound(&to))?;
        self.settle(multimap, &cursor, pair, to, otherwise)
    }

    /// Seeks by `to` a pair of the key it is at; where there is none the cursor stays.
    fn step_in_key<'a>(
        &mut self,
        multimap: &'a WriteMultimap<'_, K, V>,
        to: Spot,
        seek: impl FnOnce(&mut Cursor<'a>, PairBound<'_>) -> Result<Option<Pair<'a>>>,
    ) -> Result<Option<Item<'a, K, V>>> {
        if self.place == Place::Nowhere {
            return Ok(None);
        }
        let mut cursor = comparing(multimap)?;
        match seek(&mut cursor, bound(&to))? {
            Some(pair) if cursor.order().keys.compare(pair.0, &self.key).is_eq() => {
                self.settle(multimap, &cursor, Some(pair), to, Place::At)
            }
            _ => Ok(None),
        }
    }

    /// Takes note of what a seek came to.
    fn settle<'a>(
        &mut self,
        multimap: &WriteMultimap<'_, K, V>,
        cursor: &Cursor<'a>,
        pair: Option<Pair<'a>>,
        to: Spot,
        otherwise: Place,
    ) -> Result<Option<Item<'a, K, V>>> {
        match pair {
            Some(pair) => self.come_to(pair),
            None => (self.place, (self.key, self.dup)) = (otherwise, to),
        }
        self.remember(multimap, cursor);
        decode::<K, V>(pair)
    }

    fn remember(&mut self, multimap: &WriteMultimap<'_, K, V>, cursor: &Cursor<'_>) {
        let version = multimap.version();
        self.found = cursor.place().map(|place| Found { version, place });
    }
}

fn bound((key, dup): &Spot) -> PairBound<'_> {
    PairBound { key, dup: dup.as_deref() }
}

fn bytes_of<T: Key + ?Sized>(part: &T) -> Result<Vec<u8>> {
    T::with_bytes(part, |bytes| Ok(bytes.to_vec()))
}

fn pair_of<K: Key + ?Sized, V: Key + ?Sized>(key: &K, value: &V) -> Result<Spot> {
    Ok((bytes_of(key)?, Some(bytes_of(value)?)))
}

fn comparing<'a, K: Key + ?Sized, V: Key + ?Sized>(multimap: &'a WriteMultimap<'_, K, V>) -> Result<Cursor<'a>> {
    let cursor = multimap.reading()?.pairs();
    if cursor.order().is_at_hand() { Ok(cursor) } else { Err(Error::OrderMissing) }
}

impl<K: Key + ?Sized, V: Key + ?Sized> Default for DetachedPairCursor<K, V> {
    fn default() -> Self {
        DetachedPairCursor::new()
    }
}

impl<K: ?Sized, V: ?Sized> Clone for DetachedPairCursor<K, V> {
    fn clone(&self) -> Self {
        let (key, dup) = (self.key.clone(), self.dup.clone());
        DetachedPairCursor { place: self.place, key, dup, found: self.found, types: PhantomData }
    }
}
