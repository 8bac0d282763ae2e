//! Which multimap: its name, its types, and what its duplicates are.

use std::marker::PhantomData;

use mapledb_format::node::key_max;
use mapledb_format::tree_record;

use super::codec::{Key, Typed};
use super::{ReadMultimap, WriteMultimap};
use crate::catalog::{Asked, Kind, OfDuplicates, Types};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::KeyOrder;
use crate::txn::{ReadTxn, WriteTxn};

/// What the duplicates of a multimap are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// Their order. A [named](crate::NamedOrder) one compares only where it is at hand: given to the multimap, or to
    /// [`Options::order`](crate::Options::order). Elsewhere `"as stored"` stands for it, and
    /// [`TableInfo::duplicate_order`](crate::TableInfo::duplicate_order) has its name.
    pub order: KeyOrder,
    /// The length in bytes that all of them have, if it is one: then they are packed. A quarter of a page at most.
    pub len: Option<usize>,
}

impl Duplicates {
    /// Those that are recorded as `record` says, and in `order`.
    pub(super) fn of(record: tree_record::Duplicates, order: KeyOrder) -> Duplicates {
        Duplicates { order, len: (record.len > 0).then_some(usize::from(record.len)) }
    }

    /// As the catalog is asked for them.
    fn asked(self, len_max: usize) -> Result<OfDuplicates> {
        let len = self.len.unwrap_or(0);
        if len > len_max {
            return Err(Error::DuplicateTooLong { len, max: len_max });
        }
        if !self.order.is_at_hand() {
            return Err(Error::OrderMissing);
        }
        if self.order == KeyOrder::INTEGER && len == 0 {
            let what = "duplicates in integer order have one length: say which, or a type of values that has one";
            return Err(Error::BadOption { what: what.to_string() });
        }
        Ok(OfDuplicates { order: self.order, len: len as u16 })
    }
}

/// A table in which a key has many values, each once and in order, as a user names it: by its name, and by the types of its
/// keys and values. Make it a `const`.
///
/// A value is called a *duplicate* here, since it is a duplicate of its key; a key with a duplicate is a *pair*, and pairs are
/// what is counted. Duplicates are kept in order as keys are, so their type is a [`Key`], and each has at most a quarter of a page.
/// If all values of the type have one length, they are packed densely: 8 bytes take 8 bytes.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use mapledb::{Env, Multimap};
///
/// const WORDS: Multimap<'static, str, u32> = Multimap::new("words");
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().create(dir.path().join("words.maple")) }?;
/// let mut txn = env.write()?;
/// let mut words = txn.open_multimap(&WORDS)?;
/// assert!(words.insert("maple", &7)?);
/// assert!(words.insert("maple", &3)?);
/// assert!(!words.insert("maple", &7)?, "the pair is there");
/// words.insert("oak", &1)?;
/// txn.commit()?;
///
/// let txn = env.read()?;
/// let words = txn.multimap(&WORDS)?;
/// assert_eq!(words.get("maple")?.collect::<mapledb::Result<Vec<_>>>()?, [3, 7]);
/// assert_eq!((words.len(), words.count_of("maple")?), (3, 2));
/// # Ok(())
/// # }
/// ```
pub struct Multimap<'n, K: ?Sized, V: ?Sized> {
    name: &'n str,
    is_untyped: bool,
    order: Option<KeyOrder>,
    duplicate_order: Option<KeyOrder>,
    types: Typed<K, V>,
}

impl<'n, K: ?Sized, V: ?Sized> Multimap<'n, K, V> {
    /// The multimap called `name`, of 1 byte up to a quarter of a page. It shares its names with tables.
    pub const fn new(name: &'n str) -> Multimap<'n, K, V> {
        Multimap { name, is_untyped: false, order: None, duplicate_order: None, types: PhantomData }
    }

    /// The same with its keys in `order`, instead of the one that their type asks for ([`Key::ORDER`]).
    pub const fn in_order(self, order: KeyOrder) -> Multimap<'n, K, V> {
        Multimap { order: Some(order), ..self }
    }

    /// The same with the duplicates of a key in `order`, instead of the one that their type asks for. It is recorded when the multimap
    /// is made, a [named](crate::NamedOrder) one by its name; who opens it with another one is refused, and nothing is changed.
    ///
    /// In a named order, two duplicates that it calls equal are one: the one that is there stays.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::{KeyOrder, Multimap, NamedOrder};
    ///
    /// /// Hosts of a network, those of one domain beside each other.
    /// const HOSTS: Multimap<'static, u32, str> = Multimap::new("hosts").duplicates_in(KeyOrder::REVERSE);
    ///
    /// /// Text by its letters, capital or not.
    /// struct Caseless;
    ///
    /// impl NamedOrder for Caseless {
    ///     const NAME: &'static str = "caseless/1";
    ///
    ///     fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    ///         a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase())
    ///     }
    /// }
    ///
    /// const CITIES: Multimap<'static, u32, str> = Multimap::new("cities").duplicates_in(KeyOrder::named::<Caseless>());
    ///
    /// let mut txn = env.write()?;
    /// txn.open_multimap(&HOSTS)?.insert_all(&7, ["www.example.org", "example.com", "mail.example.org"])?;
    /// let hosts = txn.multimap(&HOSTS)?.get(&7)?.map(|host| Ok(host?.to_owned())).collect::<mapledb::Result<Vec<_>>>()?;
    /// assert_eq!(hosts, ["mail.example.org", "www.example.org", "example.com"]);
    ///
    /// let mut cities = txn.open_multimap(&CITIES)?;
    /// assert_eq!(cities.insert_all(&7, ["oslo", "Rome", "Paris", "ROME"])?, 3);
    /// assert!(cities.contains(&7, "rome")?);
    /// assert_eq!((cities.first_of(&7)?, cities.last_of(&7)?), (Some("oslo"), Some("Rome")));
    /// txn.commit()?;
    ///
    /// // Without the order the multimap is refused.
    /// let refused = env.read()?.multimap(&Multimap::<u32, str>::new("cities")).map(|_| ());
    /// assert!(refused.expect_err("another order").to_string().contains("caseless/1"));
    /// # Ok(())
    /// # }
    /// ```
    pub const fn duplicates_in(self, order: KeyOrder) -> Multimap<'n, K, V> {
        Multimap { duplicate_order: Some(order), ..self }
    }

    /// Its name.
    pub const fn name(&self) -> &'n str {
        self.name
    }
}

impl<'n> Multimap<'n, [u8], [u8]> {
    /// The multimap called `name` as bytes, whatever types and duplicates the catalog records: for tools. Bytes put this way
    /// must be what the types ask for; nothing checks but their length where it is fixed.
    pub const fn untyped(name: &'n str) -> Multimap<'n, [u8], [u8]> {
        Multimap { name, is_untyped: true, order: None, duplicate_order: None, types: PhantomData }
    }
}

impl<K: Key + ?Sized, V: Key + ?Sized> Multimap<'_, K, V> {
    pub(super) fn asked(&self, len_max: usize) -> Result<Asked> {
        if self.is_untyped {
            return Ok(Asked { types: None, order: self.order, kind: Some(Kind::Multimap(None)) });
        }
        let len = V::FIXED_LEN.filter(|len| *len > 0);
        let duplicates = Duplicates { order: self.duplicate_order.unwrap_or(V::ORDER), len };
        Ok(Asked {
            types: Some(Types { key: K::type_name(), value: V::type_name() }),
            order: Some(self.order.unwrap_or(K::ORDER)),
            kind: Some(Kind::Multimap(Some(duplicates.asked(len_max)?))),
        })
    }
}

impl ReadTxn {
    /// A multimap.
    ///
    /// Cost: one descent of the catalog.
    ///
    /// # Errors
    /// [`Error::TableMissing`]; [`Error::TableKind`] if it is a table, or a multimap of other duplicates; [`Error::TableTypes`] or
    /// [`Error::TableOrder`] if it was made with other types or in another order.
    pub fn multimap<K: Key + ?Sized, V: Key + ?Sized>(
        &self,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<ReadMultimap<'_, K, V>> {
        self.multimap_through(self, multimap)
    }

    /// A multimap, whose pages are read through `pages`, of the same snapshot.
    pub(super) fn multimap_through<'p, K: Key + ?Sized, V: Key + ?Sized, P: Pages>(
        &self,
        pages: &'p P,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<ReadMultimap<'p, K, V, P>> {
        let name = multimap.name;
        let asked = multimap.asked(dup_max(pages))?;
        let (record, order) = asked.open(name, self.find_table(name)?, self.known_orders())?;
        Ok(ReadMultimap::new(pages, &record.tree, order))
    }
}

impl WriteTxn {
    /// A multimap that is there.
    ///
    /// # Errors
    /// As [`ReadTxn::multimap`].
    pub fn multimap<K: Key + ?Sized, V: Key + ?Sized>(
        &mut self,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<WriteMultimap<'_, K, V>> {
        let asked = multimap.asked(dup_max(self.draft()))?;
        let (id, order) = self.open_named(multimap.name, &asked, false)?;
        Ok(WriteMultimap::new(self, id, order))
    }

    /// A multimap, made if it is not there.
    ///
    /// # Errors
    /// As [`ReadTxn::multimap`], but for a missing one; [`Error::DuplicateTooLong`] if all duplicates were.
    pub fn open_multimap<K: Key + ?Sized, V: Key + ?Sized>(
        &mut self,
        multimap: &Multimap<'_, K, V>,
    ) -> Result<WriteMultimap<'_, K, V>> {
        let asked = multimap.asked(dup_max(self.draft()))?;
        let (id, order) = self.open_named(multimap.name, &asked, true)?;
        Ok(WriteMultimap::new(self, id, order))
    }

    /// A multimap as bytes, made with types of these names, in this order and of these duplicates if it is not there: for tools,
    /// which know types by the names that the catalog records. `None` is whatever order it has, and the bytewise one if it is
    /// made.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::{Duplicates, KeyOrder, Multimap};
    ///
    /// let mut txn = env.write()?;
    /// let numbers = Duplicates { order: KeyOrder::BYTEWISE, len: Some(4) };
    /// txn.open_multimap_as("tags", "str", "u32", None, numbers)?.insert(b"red", &7u32.to_be_bytes())?;
    /// txn.commit()?;
    ///
    /// const TAGS: Multimap<'static, str, u32> = Multimap::new("tags");
    /// assert_eq!(env.read()?.multimap(&TAGS)?.first_of("red")?, Some(7));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open_multimap`](WriteTxn::open_multimap); [`Error::BadOption`] if there can be no such duplicates: in integer order and of
    /// any length; [`Error::OrderMissing`] if their order is a named one that is not at hand.
    pub fn open_multimap_as(
        &mut self,
        name: &str,
        key_type: &str,
        value_type: &str,
        order: Option<KeyOrder>,
        duplicates: Duplicates,
    ) -> Result<WriteMultimap<'_, [u8], [u8]>> {
        let types = Types { key: key_type.to_string(), value: value_type.to_string() };
        let kind = Kind::Multimap(Some(duplicates.asked(dup_max(self.draft()))?));
        let (id, order) = self.open_named(name, &Asked { types: Some(types), order, kind: Some(kind) }, true)?;
        Ok(WriteMultimap::new(self, id, order))
    }
}

/// The length in bytes of the longest duplicate.
pub(super) fn dup_max(pages: &impl Pages) -> usize {
    key_max(pages.page_size().bytes())
}
