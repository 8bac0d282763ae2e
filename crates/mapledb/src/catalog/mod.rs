//! The catalog: which named tables there are, each a tree record with its attributes.

use mapledb_format::node::key_max;
use mapledb_format::tree_record::{ATTR_KEY_TYPE, ATTR_VALUE_TYPE};
use mapledb_format::{OrderId, TableRecord, TreeRecord};

use crate::error::{Error, Result};
use crate::pages::{Pages, PagesMut};
use crate::tree::{Cursor, Tree, TreeMut, Value};

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

/// A new table of these types.
pub(crate) fn new_table(types: &Types) -> Result<TableRecord> {
    let mut record = TableRecord::new(TreeRecord::empty(OrderId::Bytewise));
    for (id, name) in [(ATTR_KEY_TYPE, &types.key), (ATTR_VALUE_TYPE, &types.value)] {
        record.set_attribute(id, name.as_bytes()).map_err(|_| Error::TypeNameTooLong { name: name.clone() })?;
    }
    Ok(record)
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
    if record.tree.order != OrderId::Bytewise {
        return Err(Error::UnknownOrder { order: format!("{:?}", record.tree.order).to_lowercase() });
    }
    Ok(record)
}
