//! The order of a table's keys, as a program names it and as a file records it.
//!
//! [`KeyOrder`] is one value for every order, so that tables need no further type. Where it is the bytewise one the tree
//! takes the path that is compiled for it: one branch at the root, none below. ([`in_its_order`] is the same for changes.)

use std::cmp::Ordering;
use std::fmt;

use mapledb_format::order::{AsStored, Bytewise, Integer, Named, Order, Reverse};
use mapledb_format::tree_record::{OrderId, TreeRecord};
use mapledb_os::planted;

/// The longest name of an order in bytes.
const NAME_MAX: usize = 255;

/// An order that a program brings along, under a name that files record.
///
/// [`compare`](NamedOrder::compare) must be a total order and always answer the same; two keys it calls equal are one key,
/// and what is put last stays. If it is not, keys may not be found, `check` says where, and nothing worse happens.
///
/// A table in such an order opens only where its order is given ([`KeyOrder::named`]). The file does not know how it compares, so
/// what another version of the program compares differently needs another name. Prefer bytes that sort by themselves (tuples,
/// [`KeyPart`](crate::KeyPart)s): each comparison of a named order is a call, search looks at whole keys instead of four bytes in a
/// row, and separators are whole keys, so branches hold fewer children.
///
/// ```
/// # fn main() -> mapledb::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory for the example");
/// use std::cmp::Ordering;
///
/// use mapledb::{Env, KeyOrder, NamedOrder, Table};
///
/// /// Text by its letters, capital or not.
/// struct Caseless;
///
/// impl NamedOrder for Caseless {
///     const NAME: &'static str = "caseless/1";
///
///     fn compare(a: &[u8], b: &[u8]) -> Ordering {
///         let letters = |text: &[u8]| text.to_ascii_lowercase();
///         letters(a).cmp(&letters(b))
///     }
/// }
///
/// const CITIES: Table<'static, str, u32> = Table::new("cities").in_order(KeyOrder::named::<Caseless>());
///
/// // SAFETY: nothing but MapleDB writes to the file while it is open.
/// let env = unsafe { Env::options().create(dir.path().join("cities.maple")) }?;
/// let mut txn = env.write()?;
/// let mut cities = txn.open_table(&CITIES)?;
/// cities.put("oslo", &1)?;
/// cities.put("Rome", &2)?;
/// cities.put("Paris", &3)?;
/// assert_eq!(cities.get("ROME")?, Some(2));
/// let names = cities.reading()?.keys()?.map(|key| Ok(key?.to_owned())).collect::<mapledb::Result<Vec<_>>>()?;
/// assert_eq!(names, ["oslo", "Paris", "Rome"]);
/// txn.commit()?;
///
/// // Without the order the table is refused.
/// let refused = env.read()?.table(&Table::<str, u32>::new("cities")).map(|_| ());
/// assert!(refused.expect_err("another order").to_string().contains("caseless/1"));
/// # Ok(())
/// # }
/// ```
pub trait NamedOrder {
    /// What files record: 1 to 255 bytes, and not the name of an order of MapleDB. Anything else does not compile where it is
    /// used.
    const NAME: &'static str;

    /// Which of two keys comes first. It gets whatever bytes a file holds, and must not panic.
    fn compare(a: &[u8], b: &[u8]) -> Ordering;
}

/// A named order as a value.
struct Given {
    name: &'static str,
    compare: fn(&[u8], &[u8]) -> Ordering,
}

/// The one value of each named order.
struct Of<O>(O);

impl<O: NamedOrder> Of<O> {
    const GIVEN: &'static Given = {
        assert!(is_name(O::NAME), "the name of an order has 1 to 255 bytes and is not one of MapleDB's");
        &Given { name: O::NAME, compare: O::compare }
    };
}

/// Whether an order of a program may have this name.
const fn is_name(name: &str) -> bool {
    let is_ours = matches!(name.as_bytes(), b"bytewise" | b"reverse" | b"integer");
    !name.is_empty() && name.len() <= NAME_MAX && !is_ours
}

/// The order in which a table keeps its keys.
///
/// It is chosen when a table is made, by [`Table::in_order`](crate::Table::in_order) or by the type of the keys
/// ([`Key::ORDER`](crate::Key::ORDER)), and is recorded. Who opens the table with another one is told both, and nothing is
/// touched.
///
/// ```
/// use std::cmp::Ordering;
///
/// use mapledb::KeyOrder;
///
/// assert_eq!(KeyOrder::BYTEWISE.compare(b"ab", b"b"), Ordering::Less);
/// assert_eq!(KeyOrder::REVERSE.compare(b"ab", b"b"), Ordering::Greater);
/// assert_eq!(KeyOrder::INTEGER.compare(&256u32.to_le_bytes(), &1u32.to_le_bytes()), Ordering::Greater);
/// ```
#[derive(Clone, Copy)]
pub struct KeyOrder(Kind);

#[derive(Clone, Copy)]
enum Kind {
    Bytewise,
    Reverse,
    Integer,
    Named(&'static Given),
    AsStored,
}

impl KeyOrder {
    /// By bytes from the first to the last, the shorter first: the default, and the fastest.
    pub const BYTEWISE: KeyOrder = KeyOrder(Kind::Bytewise);
    /// By bytes from the last to the first, as LMDB's `MDB_REVERSEKEY`: what ends alike lies together, names of hosts for one.
    pub const REVERSE: KeyOrder = KeyOrder(Kind::Reverse);
    /// As little-endian unsigned integers, all of one length, as LMDB's `MDB_INTEGERKEY`. The first key of a table decides the
    /// length. A new table or multimap of types that are laid out otherwise, such as `u64` or `i32`, is refused in it.
    pub const INTEGER: KeyOrder = KeyOrder(Kind::Integer);

    /// The order that `O` is.
    pub const fn named<O: NamedOrder>() -> KeyOrder {
        KeyOrder(Kind::Named(Of::<O>::GIVEN))
    }

    /// Its name: `bytewise`, `reverse`, `integer`, or that of a named order.
    pub const fn name(&self) -> &'static str {
        match self.0 {
            Kind::Bytewise => "bytewise",
            Kind::Reverse => "reverse",
            Kind::Integer => "integer",
            Kind::Named(given) => given.name,
            Kind::AsStored => "as stored",
        }
    }

    /// The order of MapleDB that has this name.
    ///
    /// ```
    /// use mapledb::KeyOrder;
    ///
    /// assert_eq!(KeyOrder::built_in("reverse"), Some(KeyOrder::REVERSE));
    /// assert_eq!((KeyOrder::INTEGER.name(), KeyOrder::built_in("caseless/1")), ("integer", None));
    /// ```
    pub fn built_in(name: &str) -> Option<KeyOrder> {
        [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER].into_iter().find(|order| order.name() == name)
    }

    /// Which of two keys comes first.
    ///
    /// ```
    /// use mapledb::KeyOrder;
    ///
    /// let mut hosts = [&b"maple.example"[..], b"oak.test", b"ash.example"];
    /// hosts.sort_by(|a, b| KeyOrder::REVERSE.compare(a, b));
    /// assert_eq!(hosts, [&b"maple.example"[..], b"ash.example", b"oak.test"]);
    /// ```
    pub fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        Order::compare(*self, a, b)
    }

    /// What can be done in a tree that records `id`, with the order itself or, if it is a named one, without it.
    pub(crate) const fn recorded(id: OrderId) -> KeyOrder {
        KeyOrder(match id {
            OrderId::Bytewise => Kind::Bytewise,
            OrderId::Reverse => Kind::Reverse,
            OrderId::Integer => Kind::Integer,
            OrderId::Named => Kind::AsStored,
        })
    }

    /// As [`recorded`](KeyOrder::recorded), of the duplicates of the multimap that `record` describes.
    pub(crate) fn of_duplicates(record: &TreeRecord) -> KeyOrder {
        KeyOrder::recorded(record.duplicates.unwrap_or_default().order)
    }

    /// Whether keys can be compared; not in a named order that is not at hand.
    #[inline(always)]
    pub(crate) const fn is_at_hand(&self) -> bool {
        !matches!(self.0, Kind::AsStored)
    }
}

/// The orders of a table: that of its keys, and that of the duplicates of a key if it is a multimap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairOrder {
    pub(crate) keys: KeyOrder,
    pub(crate) duplicates: KeyOrder,
}

impl PairOrder {
    /// Of a table that is no multimap.
    pub(crate) const fn of_keys(keys: KeyOrder) -> PairOrder {
        PairOrder { keys, duplicates: KeyOrder::BYTEWISE }
    }

    /// What a tree's record says alone: what is in a named order is taken as it is stored.
    pub(crate) fn recorded(record: &TreeRecord) -> PairOrder {
        PairOrder { keys: KeyOrder::recorded(record.order), duplicates: KeyOrder::of_duplicates(record) }
    }

    /// Whether keys can be compared, and duplicates.
    pub(crate) const fn is_at_hand(&self) -> bool {
        self.keys.is_at_hand() && self.duplicates.is_at_hand()
    }
}

impl Default for KeyOrder {
    fn default() -> KeyOrder {
        KeyOrder::BYTEWISE
    }
}

/// Orders are equal if files record them alike.
impl PartialEq for KeyOrder {
    fn eq(&self, other: &KeyOrder) -> bool {
        self.id() == other.id() && self.name() == other.name()
    }
}

impl Eq for KeyOrder {}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyOrder({})", self.name())
    }
}

impl Order for KeyOrder {
    fn id(self) -> OrderId {
        match self.0 {
            Kind::Bytewise => OrderId::Bytewise,
            Kind::Reverse => OrderId::Reverse,
            Kind::Integer => OrderId::Integer,
            Kind::Named(_) | Kind::AsStored => OrderId::Named,
        }
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self.0 {
            Kind::Bytewise => Bytewise.compare(a, b),
            Kind::Reverse => Reverse.compare(a, b),
            Kind::Integer => Integer.compare(a, b),
            Kind::Named(given) => Named(given.compare).compare(a, b),
            Kind::AsStored => AsStored.compare(a, b),
        }
    }

    fn head(self, key: &[u8], skip: usize) -> u32 {
        match self.0 {
            Kind::Bytewise => Bytewise.head(key, skip),
            Kind::Reverse => Reverse.head(key, skip),
            Kind::Integer => Integer.head(key, skip),
            Kind::Named(_) | Kind::AsStored => AsStored.head(key, skip),
        }
    }

    fn shared(self, a: &[u8], b: &[u8]) -> usize {
        match self.0 {
            Kind::Bytewise => Bytewise.shared(a, b),
            Kind::Reverse => Reverse.shared(a, b),
            Kind::Integer => Integer.shared(a, b),
            Kind::Named(_) | Kind::AsStored => AsStored.shared(a, b),
        }
    }

    fn separator<'k>(self, left: &[u8], right: &'k [u8]) -> &'k [u8] {
        match self.0 {
            Kind::Bytewise => Bytewise.separator(left, right),
            Kind::Reverse => Reverse.separator(left, right),
            Kind::Integer => Integer.separator(left, right),
            Kind::Named(_) if planted("cut_separators") => Bytewise.separator(left, right),
            Kind::Named(_) | Kind::AsStored => AsStored.separator(left, right),
        }
    }

    fn units(self, key: &[u8]) -> usize {
        match self.0 {
            Kind::Named(_) | Kind::AsStored => AsStored.units(key),
            Kind::Bytewise | Kind::Reverse | Kind::Integer => key.len(),
        }
    }

    fn goes_with(self, a: &[u8], b: &[u8]) -> bool {
        !matches!(self.0, Kind::Integer) || Integer.goes_with(a, b)
    }

    #[inline(always)]
    fn is_bytewise(self) -> bool {
        matches!(self.0, Kind::Bytewise)
    }
}

/// What is done with the order `$order` under the name `$name`: once compiled for the bytewise order and once for all others.
macro_rules! in_its_order {
    ($order:expr, $name:ident => $act:expr) => {
        match $order {
            order if mapledb_format::order::Order::is_bytewise(order) => {
                let $name = mapledb_format::order::Bytewise;
                $act
            }
            $name => $act,
        }
    };
}

pub(crate) use in_its_order;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_to_255_bytes_and_none_of_ours() {
        let long = "x".repeat(NAME_MAX + 1);
        for (name, may) in [("", false), ("reverse", false), ("integer", false), ("bytewise", false), (&long, false)]
            .into_iter()
            .chain([("caseless", true), (&long[1..], true)])
        {
            assert_eq!(is_name(name), may, "{name}");
        }
    }

    #[test]
    fn built_in_orders_go_by_their_names_and_records() {
        for order in [KeyOrder::BYTEWISE, KeyOrder::REVERSE, KeyOrder::INTEGER] {
            assert_eq!(KeyOrder::built_in(order.name()), Some(order));
            assert_eq!(KeyOrder::recorded(order.id()), order);
        }
        assert_eq!(KeyOrder::built_in("caseless"), None);
        assert!(!KeyOrder::recorded(OrderId::Named).is_at_hand());
    }
}
