//! The table that records are loaded into.

use mapledb::{Duplicates, Multimap, TableInfo, WriteTxn};

use super::work::Rules;
use crate::door::failure;
use crate::failure::{Failure, Kind};
use crate::selection::{self, Bytes, Types, untyped};

/// A table that is there.
pub struct Target {
    name: Option<String>,
    /// What its duplicates are if it is a multimap.
    pub duplicates: Option<Duplicates>,
    /// The types of its keys and values.
    pub types: Types,
}

impl Target {
    /// The table, whatever types it has.
    pub fn untyped(&self) -> Bytes<'_> {
        untyped(self.name.as_deref())
    }

    /// The multimap, whatever types it has.
    pub fn untyped_multimap(&self) -> Multimap<'_, [u8], [u8]> {
        selection::untyped_multimap(self.name.as_deref())
    }

    /// Sees to it that the table gives out no number before `next`: the dumped one has given them out.
    pub fn pass_over(&self, next: u64, txn: &mut WriteTxn) -> mapledb::Result<()> {
        if next == 0 {
            return Ok(());
        }
        if self.duplicates.is_some() {
            let mut multimap = txn.multimap(&self.untyped_multimap())?;
            let now = multimap.next_sequence(0)?;
            return multimap.next_sequence(next.saturating_sub(now)).map(drop);
        }
        let mut table = txn.table(&self.untyped())?;
        let now = table.next_sequence(0)?;
        table.next_sequence(next.saturating_sub(now)).map(drop)
    }

    /// The table of this name, or the default one; made if it is not there, with the types and in the order that the source
    /// says.
    pub fn open(
        name: Option<String>,
        dumped: Option<Types>,
        order: Option<&str>,
        duplicates: Option<Duplicates>,
        rules: &Rules,
        txn: &mut WriteTxn,
    ) -> Result<Target, Failure> {
        let tables = txn.tables().map_err(failure)?;
        match tables.iter().find(|table| table.name == name) {
            Some(info) => {
                refuse_unless_alike(info, dumped.as_ref(), order, duplicates, rules)?;
                Ok(Target { name, types: Types::recorded(info), duplicates: info.duplicates })
            }
            None => Target::make(name, dumped, order, duplicates, rules, txn),
        }
    }

    fn make(
        name: Option<String>,
        dumped: Option<Types>,
        order: Option<&str>,
        duplicates: Option<Duplicates>,
        rules: &Rules,
        txn: &mut WriteTxn,
    ) -> Result<Target, Failure> {
        let types =
            dumped.unwrap_or_else(|| Types { keys: rules.keys.clone(), values: rules.values.clone() });
        let duplicates = match duplicates {
            None if rules.multimap => Some(rules.duplicates.of(&types.values)?),
            said => said,
        };
        let (keys, values) = (types.keys.to_string(), types.values.to_string());
        let asked = rules.order.unwrap_or(types.keys.order());
        let order = order.map_or(Ok(asked), selection::order)?;
        let name_or_none = name.as_deref().unwrap_or_default();
        let made = match duplicates {
            None => txn.open_table_as_in_order(name_or_none, &keys, &values, Some(order)).map(drop),
            Some(duplicates) => {
                txn.open_multimap_as(name_or_none, &keys, &values, Some(order), duplicates).map(drop)
            }
        };
        // Name and types are the dump's.
        made.map_err(|error| match failure(error) {
            Failure { kind: Kind::Usage, message, .. } => Failure::input(message),
            other => other,
        })?;
        Ok(Target { name, types, duplicates })
    }
}

/// Refuses to load into a table that is there and is not what the source and the rules say.
fn refuse_unless_alike(
    info: &TableInfo,
    dumped: Option<&Types>,
    order: Option<&str>,
    duplicates: Option<Duplicates>,
    rules: &Rules,
) -> Result<(), Failure> {
    let types = Types::recorded(info);
    if let Some(order) = order.filter(|order| *order != info.order) {
        return Err(Failure::input(format!(
            "the dump is in the order \"{order}\", and the table in the order \"{}\"",
            info.order
        )));
    }
    if let Some(asked) = rules.order.filter(|asked| asked.name() != info.order) {
        return Err(Failure::input(format!(
            "the table is there and in the order \"{}\", and --order asks for \"{}\": name another (--table)",
            info.order,
            asked.name()
        )));
    }
    if let Some(dumped) = dumped.filter(|dumped| **dumped != types) {
        return Err(Failure::input(format!(
            "the dump maps {} to {}, and the table {} to {}",
            dumped.keys, dumped.values, types.keys, types.values
        )));
    }
    match (duplicates, info.duplicates) {
        (Some(_), None) => Err(Failure::input(
            "the dump is of a multimap, and the table is there and holds one value to a key: name another (--table)",
        )),
        (Some(_), there) if there != duplicates => Err(Failure::input(format!(
            "the dump is of a multimap whose duplicates are {}, and those of the table are {}",
            in_words(duplicates, None),
            in_words(there, info.duplicate_order.as_deref())
        ))),
        (None, None) if rules.multimap => Err(Failure::input(match info.name {
            None => "the default table holds one value to a key: name a table for the multimap (--table)",
            Some(_) => "the table is there and holds one value to a key, and --multimap asks for many",
        })),
        _ => Ok(()),
    }
}

/// The duplicates of a multimap, as a sentence calls them; `named` is what the file calls their order, which may be a program's own.
fn in_words(duplicates: Option<Duplicates>, named: Option<&str>) -> String {
    let Some(Duplicates { order, len }) = duplicates else { return "none".to_owned() };
    let length = len.map_or_else(|| "of any length".to_owned(), |len| format!("of {len} bytes each"));
    format!("{length} in the order \"{}\"", named.unwrap_or(order.name()))
}
