//! A multimap to change.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use super::codec::{Key, Typed};
use super::load::load;
use super::multimap::Duplicates;
use super::read_multimap::{ReadMultimap, with_pair_bound};
use super::read_table::{TableStat, with_bounds};
use crate::dup::{self, Loader};
use crate::error::{Error, Result};
use crate::space::Draft;
use crate::tree::{KeyOrder, PairOrder, TreeMut, in_its_order};
use crate::txn::{TableId, Version, WriteTxn};

/// A multimap of a write transaction. What it reads is the multimap as the transaction has changed it so far.
///
/// Unless said otherwise a change costs one descent of the keys that copies one page a level, and one of the key's
/// duplicates if they have a tree; each page once in a transaction. An error about arguments ([`Error::KeyTooLong`],
/// [`Error::DuplicateTooLong`], [`Error::DuplicateLength`], [`Error::NotSorted`]) changes nothing; after any other the transaction is
/// unusable.
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
/// assert!(tags.insert("red", &1)? && !tags.insert("red", &1)?); // there already
/// assert_eq!(tags.insert_all("red", [1, 2, 3])?, 2);
/// tags.append("tan", &7)?; // behind all there is
/// let sorted = (0..4u32).map(|value| Ok(("teal", value.to_be_bytes())));
/// assert_eq!(tags.load_sorted(sorted)?, 4); // and many of them, as bytes
///
/// assert!(tags.delete("red", &2)?);
/// assert_eq!(tags.delete_pairs(("red", &3)..("teal", &1))?, 3);
/// assert_eq!(tags.delete_range(.."t")?, 1);
/// assert_eq!(tags.reading()?.get("teal")?.count(), 3);
/// assert_eq!((tags.len(), tags.stat().entries, tags.next_sequence(1)?), (3, 3, 0));
/// assert_eq!(tags.delete_all("teal")?, 3);
/// tags.clear()?;
/// assert!(tags.is_empty());
/// txn.commit()?;
/// # Ok(())
/// # }
/// ```
pub struct WriteMultimap<'t, K: ?Sized, V: ?Sized> {
    txn: &'t mut WriteTxn,
    table: TableId,
    order: PairOrder,
    types: Typed<K, V>,
}

impl<'t, K: ?Sized, V: ?Sized> WriteMultimap<'t, K, V> {
    pub(super) fn new(txn: &'t mut WriteTxn, table: TableId, order: PairOrder) -> WriteMultimap<'t, K, V> {
        WriteMultimap { txn, table, order, types: PhantomData }
    }

    /// Changes the tree by its keys.
    fn change_keys<R>(&mut self, act: impl FnOnce(&mut TreeMut<'_, Draft, KeyOrder>) -> Result<R>) -> Result<R> {
        if !self.order.keys.is_at_hand() {
            return Err(Error::OrderMissing);
        }
        self.txn.change(self.table, self.order.keys, act)
    }

    /// Changes the tree by its pairs, whose duplicates are in the order that `act` is told.
    pub(super) fn change<R>(&mut self, act: impl FnOnce(&mut TreeMut<'_, Draft, KeyOrder>, KeyOrder) -> Result<R>) -> Result<R> {
        let PairOrder { keys, duplicates } = self.order;
        if !self.order.is_at_hand() {
            return Err(Error::OrderMissing);
        }
        self.txn.change(self.table, keys, |tree| act(tree, duplicates))
    }

    /// The order of the keys. Cost: none.
    pub fn order(&self) -> KeyOrder {
        self.order.keys
    }

    /// What the duplicates are: their order and their length. Cost: none.
    pub fn duplicates(&self) -> Duplicates {
        Duplicates::of(self.txn.record(self.table).duplicates.unwrap_or_default(), self.order.duplicates)
    }

    /// How many pairs there are.
    pub fn len(&self) -> u64 {
        self.txn.record(self.table).entries
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the multimap: its entries are pairs, its overflow pages those of the trees of duplicates.
    pub fn stat(&self) -> TableStat {
        TableStat::of(self.txn.record(self.table))
    }

    /// Takes everything out. Cost: a page read for each page freed.
    pub fn clear(&mut self) -> Result<()> {
        self.txn.change(self.table, self.order.keys, |tree| tree.clear())
    }

    /// Takes `count` numbers of the multimap's sequence, which begins at 0; answers the first. They are given out once
    /// if the transaction commits.
    pub fn next_sequence(&mut self, count: u64) -> Result<u64> {
        self.txn.take_sequence(self.table, count)
    }
}

impl<K: Key + ?Sized, V: Key + ?Sized> WriteMultimap<'_, K, V> {
    /// The multimap as it stands, with every way of reading.
    pub fn reading(&self) -> Result<ReadMultimap<'_, K, V, Draft>> {
        let (draft, record) = self.txn.reading(self.table)?;
        Ok(ReadMultimap::new(draft, record, self.order))
    }

    /// Puts a pair of these bytes in; answers whether it is new.
    pub(super) fn insert_bytes(&mut self, key: &[u8], dup: &[u8]) -> Result<bool> {
        self.change(|tree, order| dup::insert(tree, order, key, dup))
    }

    /// Takes a pair of these bytes out; answers whether it was there.
    pub(super) fn delete_bytes(&mut self, key: &[u8], dup: &[u8]) -> Result<bool> {
        self.change(|tree, order| dup::delete(tree, order, key, dup))
    }

    /// The state the multimap is in.
    pub(super) fn version(&self) -> Version {
        self.txn.version(self.table)
    }

    /// Puts a pair in; answers whether it is new. One that is there stays as it is: so this is what a table's
    /// [`put_new`](super::WriteTable::put_new) and [`entry`](super::WriteTable::entry) are, for a pair has nothing that could be changed.
    pub fn insert(&mut self, key: &K, value: &V) -> Result<bool> {
        if !self.order.is_at_hand() {
            return Err(Error::OrderMissing);
        }
        let (txn, table, PairOrder { keys, duplicates }) = (&mut *self.txn, self.table, self.order);
        K::with_bytes(key, |key| {
            V::with_bytes(value, |value| {
                in_its_order!(keys, keys => txn.change(table, keys, |tree| dup::insert(tree, duplicates, key, value)))
            })
        })
    }

    /// Puts many duplicates of one key in; answers how many of the pairs were new. Cheaper than as many
    /// [`insert`](WriteMultimap::insert)s: once the duplicates have a tree the keys are not searched again.
    ///
    /// # Errors
    /// Those of `insert`, at the first duplicate that cannot be one; those before it are in.
    pub fn insert_all<B: Borrow<V>>(&mut self, key: &K, values: impl IntoIterator<Item = B>) -> Result<u64> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let (mut added, mut fault) = (0, None);
        let mut values = values.into_iter().peekable();
        while fault.is_none() && values.peek().is_some() {
            bytes.clear();
            ends.clear();
            for value in values.by_ref() {
                let gathered = V::with_bytes(value.borrow(), |value| {
                    bytes.extend_from_slice(value);
                    Ok(())
                });
                if let Err(error) = gathered {
                    fault = Some(error);
                    break;
                }
                ends.push(bytes.len());
                if bytes.len() >= BATCH_BYTES || ends.len() >= BATCH_BYTES {
                    break;
                }
            }
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let batch = starts.zip(&ends).map(|(from, to)| &bytes[from..*to]);
            added += K::with_bytes(key, |key| self.change(|tree, order| dup::insert_all(tree, order, key, batch)))?;
        }
        fault.map_or(Ok(added), Err)
    }

    /// Puts a pair in that must be greater than every other: of a greater key, or a greater duplicate of the last one.
    ///
    /// # Errors
    /// [`Error::NotSorted`], which changes nothing.
    pub fn append(&mut self, key: &K, value: &V) -> Result<()> {
        K::with_bytes(key, |key| V::with_bytes(value, |value| self.change(|tree, order| dup::append(tree, order, key, value))))
    }

    /// Appends pairs in order, all of greater keys than those there are; answers how many. Much faster than
    /// [`append`](WriteMultimap::append): nothing is searched, and pages are filled to the end.
    ///
    /// # Errors
    /// [`Error::NotSorted`] at the first pair out of order, or the first error of `pairs`; those before it are stored.
    pub fn load_sorted<Kb: AsRef<[u8]>, Vb: AsRef<[u8]>>(
        &mut self,
        pairs: impl IntoIterator<Item = Result<(Kb, Vb)>>,
    ) -> Result<u64> {
        let (stored, fault) = self.change(|tree, order| load(Loader::new(tree, order)?, pairs))?;
        fault.map_or(Ok(stored), Err)
    }

    /// Takes a pair out; answers whether it was there. One that is not there copies no page.
    pub fn delete(&mut self, key: &K, value: &V) -> Result<bool> {
        K::with_bytes(key, |key| V::with_bytes(value, |value| self.delete_bytes(key, value)))
    }

    /// Takes all pairs of `key` out; answers how many there were. Cost: one path copied, and a page read for each page of
    /// their tree.
    pub fn delete_all(&mut self, key: &K) -> Result<u64> {
        K::with_bytes(key, |key| self.change_keys(|tree| dup::delete_key(tree, key)))
    }

    /// Takes all pairs whose keys lie between two bounds out; answers how many went. Cost: two paths copied, and a page read
    /// for each page freed.
    pub fn delete_range<'k>(&mut self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| self.change_keys(|tree| tree.delete_range(low, high)))
    }

    /// Takes all pairs between two pairs out; answers how many went, which is none if the bounds cross. Cost: the paths to both
    /// ends copied, of keys and of duplicates, and a page read for each page freed; subtrees are cut whole. Where nothing goes no
    /// page is copied.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Multimap};
    /// /// What each sensor has told, by the time.
    /// const EVENTS: Multimap<'static, str, u64> = Multimap::new("events");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut events = txn.open_multimap(&EVENTS)?;
    /// events.insert_all("attic", 0..1000)?;
    /// events.insert_all("cellar", 0..1000)?;
    ///
    /// // Whatever the attic told before 900 is old.
    /// assert_eq!(events.delete_pairs(("attic", &0)..("attic", &900))?, 900);
    /// // From here on in the order of pairs, across keys.
    /// assert_eq!(events.delete_pairs(("attic", &950)..=("cellar", &9))?, 60);
    /// assert_eq!(events.len(), 1040);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_pairs<'k>(&mut self, bounds: impl RangeBounds<(&'k K, &'k V)>) -> Result<u64>
    where
        K: 'k,
        V: 'k,
    {
        with_pair_bound(bounds.start_bound(), |low| {
            with_pair_bound(bounds.end_bound(), |high| self.change(|tree, order| dup::delete_range(tree, order, low, high)))
        })
    }
}

/// So many bytes of duplicates are gathered before they are put in.
const BATCH_BYTES: usize = 64 << 10;
