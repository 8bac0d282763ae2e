//! A table to read: of a snapshot, or of a write transaction as it stands.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use mapledb_format::TreeRecord;

use super::codec::{Codec, Key, Typed};
use super::cursor::{Cursor, Item, Range, decode};
use super::gap::{self, GapCursor};
use super::lazy::Lazy;
use super::tuple::Prefix;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{self, GROUP_MAX, KeyOrder, Tree};
use crate::txn::ReadTxn;

/// The size of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableStat {
    /// Its entries.
    pub entries: u64,
    /// The levels of its tree, leaves included; 0 when it is empty.
    pub depth: u64,
    /// Pages that hold entries.
    pub leaf_pages: u64,
    /// Pages that lead to them.
    pub branch_pages: u64,
    /// Pages that hold long values.
    pub overflow_pages: u64,
}

impl TableStat {
    pub(super) fn of(record: &TreeRecord) -> TableStat {
        TableStat {
            entries: record.entries,
            depth: u64::from(record.depth),
            leaf_pages: record.leaf_pages,
            branch_pages: record.branch_pages,
            overflow_pages: record.overflow_pages,
        }
    }
}

/// The keys of a group of lookups, as bytes.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    ends: [usize; GROUP_MAX],
    len: usize,
}

impl Group {
    /// Takes the next keys.
    fn take<'k, K: Key + ?Sized + 'k>(&mut self, keys: &mut impl Iterator<Item = &'k K>) -> Result<()> {
        self.bytes.clear();
        self.len = 0;
        for (end, key) in self.ends.iter_mut().zip(keys) {
            K::with_bytes(key, |key| {
                if self.bytes.capacity() == 0 {
                    // Most keys are about as long as the first, and none is longer than a quarter of a page.
                    self.bytes.reserve(key.len().min(1024) * GROUP_MAX);
                }
                self.bytes.extend_from_slice(key);
                Ok(())
            })?;
            *end = self.bytes.len();
            self.len += 1;
        }
        Ok(())
    }

    /// The keys, and empty ones behind them.
    fn keys(&self) -> [&[u8]; GROUP_MAX] {
        let mut begin = 0;
        std::array::from_fn(|at| {
            let end = if at < self.len { self.ends[at] } else { begin };
            let key = &self.bytes[begin..end];
            begin = end;
            key
        })
    }
}

/// A table to read. Values and, where their type allows it, keys are slices of the map, valid as long as the borrow of
/// the transaction.
///
/// Unless said otherwise a call costs one descent: one page touch a level of the tree.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// # // SAFETY: nothing but MapleDB writes to the file while it is open.
/// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
/// use mapledb::Table;
///
/// const TOWNS: Table<'static, str, u32> = Table::new("towns");
///
/// let mut txn = env.write()?;
/// let mut towns = txn.open_table(&TOWNS)?;
/// for (town, people) in [("Bern", 134_000), ("Graz", 292_000), ("Linz", 213_000), ("Wels", 64_000)] {
///     towns.put(town, &people)?;
/// }
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let towns = txn.table(&TOWNS)?;
/// assert_eq!((towns.len(), towns.is_empty(), towns.stat().leaf_pages), (4, false, 1));
/// assert_eq!((towns.get("Graz")?, towns.get("Rome")?, towns.contains("Wels")?), (Some(292_000), None, true));
/// assert_eq!((towns.first()?, towns.last()?), (Some(("Bern", 134_000)), Some(("Wels", 64_000))));
///
/// // The nearest key, be it there or not.
/// assert_eq!((towns.floor("Graz")?, towns.lower("Graz")?), (Some(("Graz", 292_000)), Some(("Bern", 134_000))));
/// assert_eq!((towns.ceiling("H")?, towns.higher("Linz")?), (Some(("Linz", 213_000)), Some(("Wels", 64_000))));
///
/// // Counted by the branches: a descent or two, however many entries there are.
/// assert_eq!((towns.count("C"..="Linz")?, towns.rank("Linz")?, towns.nth(3)?), (2, 2, Some(("Wels", 64_000))));
///
/// // From either end.
/// assert_eq!(towns.iter()?.rev().next().transpose()?, towns.last()?);
/// assert_eq!(towns.keys()?.collect::<mapledb::Result<Vec<_>>>()?, ["Bern", "Graz", "Linz", "Wels"]);
/// assert_eq!(towns.prefix("L")?.count(), 1);
/// let mut gap = towns.upper_bound(std::ops::Bound::Included("Graz"))?;
/// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (towns.floor("Graz")?, towns.higher("Graz")?));
/// # Ok(())
/// # }
/// ```
pub struct ReadTable<'t, K: ?Sized, V: ?Sized, P = ReadTxn> {
    pages: &'t P,
    record: TreeRecord,
    order: KeyOrder,
    types: Typed<K, V>,
}

impl<K: ?Sized, V: ?Sized, P> Clone for ReadTable<'_, K, V, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, V: ?Sized, P> Copy for ReadTable<'_, K, V, P> {}

impl<'t, K: ?Sized, V: ?Sized, P: Pages> ReadTable<'t, K, V, P> {
    #[inline]
    pub(super) fn new(pages: &'t P, record: &TreeRecord, order: KeyOrder) -> ReadTable<'t, K, V, P> {
        ReadTable { pages, record: *record, order, types: PhantomData }
    }

    /// The tree, to go through.
    #[inline(always)]
    pub(super) fn tree(&self) -> Tree<'t, P, KeyOrder> {
        Tree::in_order(self.pages, &self.record, self.order)
    }

    /// The tree, to look for keys: not in an order that is not at hand.
    #[inline(always)]
    pub(super) fn comparing(&self) -> Result<Tree<'t, P, KeyOrder>> {
        if self.order.is_at_hand() { Ok(self.tree()) } else { Err(Error::OrderMissing) }
    }

    /// The order of the table's keys. Cost: none.
    pub fn order(&self) -> KeyOrder {
        self.order
    }

    /// How many entries the table has. Cost: none.
    pub fn len(&self) -> u64 {
        self.record.entries
    }

    /// Whether the table has no entry. Cost: none.
    pub fn is_empty(&self) -> bool {
        self.record.entries == 0
    }

    /// The size of the table. Cost: none.
    pub fn stat(&self) -> TableStat {
        TableStat::of(&self.record)
    }
}

impl<'t, K: Key + ?Sized, V: Codec + ?Sized, P: Pages> ReadTable<'t, K, V, P> {
    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &K) -> Result<Option<V::Item<'t>>> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| self.comparing()?.get(key))?.map(V::decode).transpose()
    }

    /// The bytes of the value under a key of these bytes.
    pub(super) fn get_bytes(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        self.comparing()?.get(key)
    }

    /// Whether the table holds a key of these bytes.
    pub(super) fn contains_bytes(&self, key: &[u8]) -> Result<bool> {
        self.comparing()?.contains(key)
    }

    /// The entry whose key has these bytes, with its key as it is stored.
    pub(super) fn seek_bytes(&self, key: &[u8]) -> Result<Option<(&'t [u8], &'t [u8])>> {
        tree::Cursor::new(self.comparing()?).seek_exact(key)
    }

    /// The value of each key, in the order of the keys, which may be any; faster than as many [`get`](ReadTable::get)s, for
    /// the lookups wait for memory together, 16 at a time.
    ///
    /// Cost: the page touches of as many lookups, one or two small allocations, and the waits of one lookup in sixteen.
    ///
    /// # Errors
    /// Those of the first lookup that fails.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("ages.maple");
    /// # const AGES: mapledb::Table<'static, str, u64> = mapledb::Table::new("ages");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.open_table(&AGES)?.put("ada", &36)?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// assert_eq!(txn.table(&AGES)?.multi_get(["bob", "ada"])?, [None, Some(36)]);
    /// # drop(txn);
    /// # env.close()
    /// # }
    /// ```
    pub fn multi_get<'k>(&self, keys: impl IntoIterator<Item = &'k K>) -> Result<Vec<Option<V::Item<'t>>>>
    where
        K: 'k,
    {
        let tree = self.comparing()?;
        let mut keys = keys.into_iter().peekable();
        let mut values = Vec::with_capacity(keys.size_hint().0);
        let mut group = Group::default();
        while keys.peek().is_some() {
            group.take(&mut keys)?;
            self.pages.count_gets(group.len);
            tree.get_group(&group.keys()[..group.len], |value| {
                values.push(value.map(V::decode).transpose()?);
                Ok(())
            })?;
        }
        Ok(values)
    }

    /// Whether the table holds `key`.
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.pages.count_gets(1);
        K::with_bytes(key, |key| self.comparing()?.contains(key))
    }

    /// A cursor, at no entry yet. Cost: one small allocation.
    pub fn cursor(&self) -> Cursor<'t, K, V, P> {
        Cursor::new(self.tree())
    }

    /// The first entry.
    pub fn first(&self) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().first()
    }

    /// The last entry.
    pub fn last(&self) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().last()
    }

    /// The last entry whose key is not greater than `key`.
    pub fn floor(&self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().floor(key)
    }

    /// The last entry whose key is less than `key`.
    pub fn lower(&self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().lower(key)
    }

    /// The first entry whose key is not less than `key`.
    pub fn ceiling(&self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().ceiling(key)
    }

    /// The first entry whose key is greater than `key`.
    pub fn higher(&self, key: &K) -> Result<Option<Item<'t, K, V>>> {
        self.cursor().higher(key)
    }

    /// Every entry, in order.
    pub fn iter(&self) -> Result<Range<'t, K, V, P>> {
        tree::Range::new(self.tree(), Bound::Unbounded, Bound::Unbounded).map(Range::new)
    }

    /// The entries between two bounds; none if they cross. Cost: a descent for each bound, then a slot and a cell an
    /// entry.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u64> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..100u32 { txn.open_table(&SQUARES)?.put(&n, &(u64::from(n) * u64::from(n)))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let squares = txn.table(&SQUARES)?;
    /// let mut found = Vec::new();
    /// for entry in squares.range(&3..&6)?.rev() {
    ///     let (_, square) = entry?;
    ///     found.push(square);
    /// }
    /// assert_eq!(found, [25, 16, 9]);
    /// assert_eq!(squares.count(&10..)?, 90);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<Range<'t, K, V, P>>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| tree::Range::new(self.comparing()?, low, high)).map(Range::new)
    }

    /// The gap before the first entry that `bound` lets in as the lower one of a range; the gap behind the last, if there is
    /// none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use std::ops::Bound;
    /// # use mapledb::{Env, Table};
    /// # const SQUARES: Table<'static, u32, u32> = Table::new("squares");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("s.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&SQUARES)?.put(&n, &(n * n))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// let mut gap = txn.table(&SQUARES)?.lower_bound(Bound::Included(&4))?;
    /// assert_eq!((gap.peek_prev()?, gap.peek_next()?), (Some((3, 9)), Some((4, 16))));
    /// assert_eq!((gap.next()?, gap.next()?), (Some((4, 16)), Some((5, 25))));
    /// assert_eq!(gap.prev()?, Some((5, 25)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn lower_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'t, K, V, P>> {
        with_bound(bound.as_ref(), |bound| gap::lower(self.comparing()?, bound)).map(GapCursor::new)
    }

    /// The gap behind the last entry that `bound` lets in as the upper one of a range; the gap before the first, if there is
    /// none.
    pub fn upper_bound(&self, bound: Bound<&K>) -> Result<GapCursor<'t, K, V, P>> {
        with_bound(bound.as_ref(), |bound| gap::upper(self.comparing()?, bound)).map(GapCursor::new)
    }

    /// How many entries lie between two bounds, exactly. Cost: two descents, however many they are.
    pub fn count<'k>(&self, bounds: impl RangeBounds<&'k K>) -> Result<u64>
    where
        K: 'k,
    {
        with_bounds(bounds, |low, high| self.comparing()?.count(low, high))
    }

    /// How many keys are less than `key`.
    pub fn rank(&self, key: &K) -> Result<u64> {
        K::with_bytes(key, |key| self.comparing()?.rank(key))
    }

    /// The entry that has `n` entries before it.
    pub fn nth(&self, n: u64) -> Result<Option<Item<'t, K, V>>> {
        decode::<K, V>(tree::Cursor::new(self.tree()).seek_nth(n)?)
    }

    /// The entries whose keys have these first parts, in order: of a table whose keys are tuples, by a tuple of fewer parts.
    /// Text and bytes may be borrowed. Cost: two descents, then a slot and a cell an entry.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// const VISITS: Table<'static, (String, u32, u8), str> = Table::new("visits");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("v.maple")) }?;
    /// let mut txn = env.write()?;
    /// let mut visits = txn.open_table(&VISITS)?;
    /// visits.put(&("ada".into(), 1843, 7), "London")?;
    /// visits.put(&("ada".into(), 1843, 9), "Turin")?;
    /// visits.put(&("ada".into(), 1844, 1), "Paris")?;
    /// visits.put(&("adam".into(), 1843, 7), "Rome")?;
    /// txn.commit()?;
    ///
    /// let txn = env.read()?;
    /// let visits = txn.table(&VISITS)?;
    /// let places = visits.prefix_parts(&("ada", 1843))?.map(|entry| Ok(entry?.1));
    /// assert_eq!(places.collect::<mapledb::Result<Vec<_>>>()?, ["London", "Turin"]);
    /// assert_eq!(visits.prefix_parts(&("ada",))?.remaining()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix_parts<Q: Prefix<K>>(&self, parts: &Q) -> Result<Range<'t, K, V, P>> {
        self.prefix(parts.prefix_bytes())
    }

    /// The same table, whose values are decoded when they are asked for: for scans that look at few of them, or at keys
    /// alone. Cost: none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # use mapledb::{Env, Table};
    /// const PEOPLE: Table<'static, u32, (String, Vec<u64>)> = Table::new("people");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { Env::options().create(dir.path().join("p.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # for n in 0..10 { txn.open_table(&PEOPLE)?.put(&n, &("ada".into(), vec![36; 100]))?; }
    /// # txn.commit()?;
    /// let txn = env.read()?;
    /// for entry in txn.table(&PEOPLE)?.lazily().iter()? {
    ///     let (number, person) = entry?;
    ///     if number == 7 {
    ///         assert_eq!(person.get()?.0, "ada");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lazily(&self) -> ReadTable<'t, K, Lazy<V>, P> {
        ReadTable { pages: self.pages, record: self.record, order: self.order, types: PhantomData }
    }

    /// Every key, in order, from either end; no value is looked at. Cost: as [`iter`](ReadTable::iter).
    pub fn keys(&self) -> Result<impl DoubleEndedIterator<Item = Result<K::Item<'t>>> + use<'t, K, V, P>> {
        Ok(self.lazily().iter()?.map(|entry| entry.map(|(key, _)| key)))
    }

    /// The entries whose key, as bytes, begins with `prefix`.
    ///
    /// # Errors
    /// [`Error::PrefixOutOfOrder`] if the table is not in bytewise order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range<'t, K, V, P>> {
        if self.order != KeyOrder::BYTEWISE {
            return Err(Error::PrefixOutOfOrder { order: self.order.name().to_string() });
        }
        let prefix = prefix.as_ref();
        let after = after_prefix(prefix);
        let high = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        tree::Range::new(self.tree(), Bound::Included(prefix), high).map(Range::new)
    }
}

/// The bytes of both bounds.
pub(super) fn with_bounds<'k, K: Key + ?Sized + 'k, R>(
    bounds: impl RangeBounds<&'k K>,
    act: impl FnOnce(Bound<&[u8]>, Bound<&[u8]>) -> Result<R>,
) -> Result<R> {
    with_bound(bounds.start_bound(), |low| with_bound(bounds.end_bound(), |high| act(low, high)))
}

pub(super) fn with_bound<K: Key + ?Sized, R>(
    bound: Bound<&&K>,
    act: impl FnOnce(Bound<&[u8]>) -> Result<R>,
) -> Result<R> {
    match bound {
        Bound::Unbounded => act(Bound::Unbounded),
        Bound::Included(key) => K::with_bytes(key, |key| act(Bound::Included(key))),
        Bound::Excluded(key) => K::with_bytes(key, |key| act(Bound::Excluded(key))),
    }
}

/// The smallest key after all that begin with `prefix`; `None` if there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 255)?;
    let mut after = prefix.get(..=last)?.to_vec();
    *after.last_mut()? += 1;
    Some(after)
}
