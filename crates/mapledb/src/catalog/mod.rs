//! The catalog: which named tables there are, each a tree record with its attributes.

pub(crate) mod snapshots;

use mapledb_format::node::key_max;
use mapledb_format::order::Order;
use mapledb_format::tree_record::{ATTR_DUP_ORDER_NAME, ATTR_KEY_TYPE, ATTR_ORDER_NAME, ATTR_VALUE_TYPE};
use mapledb_format::{Duplicates, OrderId, TableRecord, TreeRecord};

use crate::error::{Error, Result};
use crate::pages::{Pages, PagesMut};
use crate::tree::{Cursor, KeyOrder, PairOrder, Tree, TreeMut, Value};

/// The types a table's keys and values have, as the catalog records them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Types {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Types {
    /// What `record` says; a table without the attributes holds bytes.
    pub(crate) fn of(record: &TableRecord) -> Types {
        let text = |id| match record.attribute(id) {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => "bytes".to_string(),
        };
        Types { key: text(ATTR_KEY_TYPE), value: text(ATTR_VALUE_TYPE) }
    }

    /// Whether a table that is recorded with other types may be opened with these: it may not.
    fn check(&self, name: &str, recorded: &Types) -> Result<()> {
        if self == recorded {
            return Ok(());
        }
        Err(Error::TableTypes {
            name: name.to_string(),
            recorded: format!("{} to {}", recorded.key, recorded.value),
            asked: format!("{} to {}", self.key, self.value),
        })
    }
}

/// What a table is asked for as. What is not said is as the catalog records it, and the plainest in a new table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) types: Option<Types>,
    pub(crate) order: Option<KeyOrder>,
    pub(crate) kind: Option<Kind>,
}

/// Whether a key has one value or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One.
    Table,
    /// Many, of whatever kind if it is not said.
    Multimap(Option<OfDuplicates>),
}

/// What duplicates are asked for as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfDuplicates {
    pub(crate) order: KeyOrder,
    /// The one length in bytes that all of them have; 0 if they may be of any.
    pub(crate) len: u16,
}

impl OfDuplicates {
    /// As a tree records them.
    fn record(self) -> Duplicates {
        Duplicates { order: self.order.id(), len: self.len }
    }
}

impl Kind {
    fn is_multimap(self) -> bool {
        matches!(self, Kind::Multimap(_))
    }

    fn in_words(self) -> String {
        match self {
            Kind::Table => A_TABLE.to_string(),
            Kind::Multimap(None) => "a multimap".to_string(),
            Kind::Multimap(Some(OfDuplicates { order, len })) => multimap_in_words(len, order.name()),
        }
    }

    /// Whether what `record` records may be opened as this: whether it is a multimap as well, and of such duplicates.
    fn check(self, name: &str, record: &TableRecord) -> Result<()> {
        let is_it = match (self, record.tree.duplicates) {
            (Kind::Table, None) | (Kind::Multimap(None), Some(_)) => true,
            (Kind::Multimap(Some(asked)), Some(recorded)) => {
                asked.record() == recorded && is_named(asked.order, record, ATTR_DUP_ORDER_NAME)
            }
            (Kind::Table, Some(_)) | (Kind::Multimap(_), None) => false,
        };
        let recorded = || match (record.tree.duplicates, duplicate_order_name(record)) {
            (Some(duplicates), Some(order)) => multimap_in_words(duplicates.len, &order),
            _ => A_TABLE.to_string(),
        };
        let error = || Error::TableKind { name: name.to_string(), recorded: recorded(), asked: self.in_words() };
        if is_it { Ok(()) } else { Err(error()) }
    }
}

const A_TABLE: &str = "a table with one value to a key";

fn multimap_in_words(len: u16, order: &str) -> String {
    let length = if len == 0 { "any length".to_string() } else { format!("{len} bytes each") };
    format!("a multimap of duplicates of {length} in {order} order")
}

impl Asked {
    /// The table `name` as it was `found`, if it is there and may be opened so, and its orders.
    pub(crate) fn open(
        &self,
        name: &str,
        found: Option<TableRecord>,
        known: &[KeyOrder],
    ) -> Result<(TableRecord, PairOrder)> {
        let record = found.ok_or_else(|| Error::TableMissing { name: name.to_string() })?;
        let order = self.check(name, &record, known)?;
        Ok((record, order))
    }

    /// Whether the table `name`, which is recorded as `record`, may be opened so; and the orders it is in: those that were
    /// asked for, the recorded ones if they are among those `known`, else ones that do not compare.
    pub(crate) fn check(&self, name: &str, record: &TableRecord, known: &[KeyOrder]) -> Result<PairOrder> {
        if let Some(types) = &self.types
            && self.kind.is_none_or(|asked| asked.is_multimap() == record.tree.duplicates.is_some())
        {
            types.check(name, &Types::of(record))?;
        }
        if let Some(asked) = self.kind {
            asked.check(name, record)?;
        }
        let found = orders_of(record, known);
        let duplicates = match self.kind {
            Some(Kind::Multimap(Some(asked))) => asked.order,
            _ => found.duplicates,
        };
        match self.order {
            None => Ok(PairOrder { keys: found.keys, duplicates }),
            Some(asked) if is_order(asked, record) => Ok(PairOrder { keys: asked, duplicates }),
            Some(asked) => Err(Error::TableOrder {
                name: name.to_string(),
                recorded: order_name(record),
                asked: asked.name().to_string(),
            }),
        }
    }
}

/// The orders of a table's keys and of its duplicates: named ones if they are among those `known`, else ones that cannot compare.
pub(crate) fn orders_of(record: &TableRecord, known: &[KeyOrder]) -> PairOrder {
    let find = |id, attribute| {
        let is_it = |order: &KeyOrder| order.id() == id && is_named(*order, record, attribute);
        known.iter().copied().find(is_it).unwrap_or(KeyOrder::recorded(id))
    };
    let duplicates = record.tree.duplicates.unwrap_or_default().order;
    PairOrder { keys: find(record.tree.order, ATTR_ORDER_NAME), duplicates: find(duplicates, ATTR_DUP_ORDER_NAME) }
}

/// Whether `record` records the order `order` for its keys.
fn is_order(order: KeyOrder, record: &TableRecord) -> bool {
    order.id() == record.tree.order && is_named(order, record, ATTR_ORDER_NAME)
}

/// Whether `order`, if it is a named one, is what the attribute says.
fn is_named(order: KeyOrder, record: &TableRecord, attribute: u16) -> bool {
    order.id() != OrderId::Named || record.attribute(attribute) == Some(order.name().as_bytes())
}

/// The name of the order of a table's keys.
pub(crate) fn order_name(record: &TableRecord) -> String {
    name_of(record, record.tree.order, ATTR_ORDER_NAME)
}

/// The name of the order of a multimap's duplicates.
pub(crate) fn duplicate_order_name(record: &TableRecord) -> Option<String> {
    Some(name_of(record, record.tree.duplicates?.order, ATTR_DUP_ORDER_NAME))
}

/// The name of an order that is recorded as `id`, and as what the attribute says if it is a named one.
fn name_of(record: &TableRecord, id: OrderId, attribute: u16) -> String {
    match record.attribute(attribute) {
        Some(name) if id == OrderId::Named => String::from_utf8_lossy(name).into_owned(),
        _ => KeyOrder::recorded(id).name().to_string(),
    }
}

/// The record of the table `name`.
///
/// Cost: one descent of the catalog.
pub(crate) fn find<P: Pages>(pages: &P, catalog: &TreeRecord, name: &str) -> Result<Option<TableRecord>> {
    check_name(pages, name)?;
    Tree::<P>::new(pages, catalog).get(name.as_bytes())?.map(|value| decode(catalog, value)).transpose()
}

/// Every named table, by name.
pub(crate) fn list<P: Pages>(pages: &P, catalog: &TreeRecord) -> Result<Vec<(String, TableRecord)>> {
    let mut tables = Vec::new();
    let mut cursor = Cursor::new(Tree::<P>::new(pages, catalog));
    while let Some((name, value)) = cursor.next()? {
        tables.push((String::from_utf8_lossy(name).into_owned(), decode(catalog, value)?));
    }
    Ok(tables)
}

/// A new table as it is asked for.
pub(crate) fn new_table(asked: &Asked) -> Result<TableRecord> {
    let order = asked.order.unwrap_or_default();
    let mut record = TableRecord::new(match asked.kind {
        Some(Kind::Multimap(duplicates)) => {
            TreeRecord::multimap(order.id(), duplicates.unwrap_or_default().record())
        }
        Some(Kind::Table) | None => TreeRecord::empty(order.id()),
    });
    let types = asked.types.clone().unwrap_or_else(|| Types::of(&record));
    check_integer_order("keys", &types.key, order.id())?;
    if let Some(duplicates) = record.tree.duplicates {
        check_integer_order("duplicates", &types.value, duplicates.order)?;
    }
    let mut set = |id, name: &str| {
        record.set_attribute(id, name.as_bytes()).map_err(|_| Error::TypeNameTooLong { name: name.to_string() })
    };
    set(ATTR_KEY_TYPE, &types.key)?;
    set(ATTR_VALUE_TYPE, &types.value)?;
    if order.id() == OrderId::Named {
        set(ATTR_ORDER_NAME, order.name())?;
    }
    if let Some(Kind::Multimap(Some(duplicates))) = asked.kind
        && duplicates.order.id() == OrderId::Named
    {
        set(ATTR_DUP_ORDER_NAME, duplicates.order.name())?;
    }
    Ok(record)
}

/// Refuses integer order for a type of ours whose bytes are no little-endian unsigned integers: it would sort wrongly and say
/// nothing. What the bytes of a program's own type are is the program's to know.
fn check_integer_order(what: &str, type_name: &str, order: OrderId) -> Result<()> {
    const SORTED_SO: [&str; 6] = ["bytes", "u8", "u16le", "u32le", "u64le", "u128le"];
    const OTHERS: [&str; 17] = [
        "str", "bool", "char", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "i32le", "i64le", "f32", "f64", "()",
    ];
    let is_array_of_bytes = type_name.starts_with("[u8;");
    let is_other = OTHERS.contains(&type_name) || type_name.starts_with(['(', '[']) || type_name.starts_with("option<");
    if order != OrderId::Integer || is_array_of_bytes || !is_other {
        return Ok(());
    }
    Err(Error::BadOption {
        what: format!(
            "{what} of type {type_name:?} cannot be in integer order, which is that of unsigned integers with the lowest byte \
             first: use bytewise order, or one of the types {}",
            SORTED_SO.join(", ")
        ),
    })
}

/// Writes the record of the table `name`, whose tree is sealed.
pub(crate) fn put<P: PagesMut>(
    pages: &mut P,
    catalog: &mut TreeRecord,
    name: &str,
    record: &TableRecord,
) -> Result<()> {
    check_name(pages, name)?;
    TreeMut::<P>::new(pages, catalog).put(name.as_bytes(), Value::Bytes(&record.encode())).map(|_| ())
}

/// Takes the record of the table `name` out.
pub(crate) fn remove<P: PagesMut>(pages: &mut P, catalog: &mut TreeRecord, name: &str) -> Result<bool> {
    TreeMut::<P>::new(pages, catalog).delete(name.as_bytes())
}

fn check_name<P: Pages>(pages: &P, name: &str) -> Result<()> {
    let max = key_max(pages.page_size().bytes());
    if name.is_empty() || name.len() > max {
        return Err(Error::TableName { name: name.to_string(), max });
    }
    Ok(())
}

fn decode(catalog: &TreeRecord, value: &[u8]) -> Result<TableRecord> {
    let fault = |cause| Error::Corrupt { pgno: catalog.root, cause };
    let record = TableRecord::decode(value).map_err(fault)?;
    if !record.tree.is_sealed() {
        return Err(fault(mapledb_format::FormatError::Unsealed));
    }
    Ok(record)
}
