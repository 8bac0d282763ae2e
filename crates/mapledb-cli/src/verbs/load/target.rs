//! The table that records are loaded into.

use mapledb::WriteTxn;

use super::LoadArgs;
use crate::door::failure;
use crate::dump::TableHead;
use crate::failure::Failure;
use crate::selection::{Bytes, Types, untyped};

/// A table that is there.
pub struct Target {
    name: Option<String>,
    /// The types of its keys and values.
    pub types: Types,
}

impl Target {
    /// The table that a dump names, unless the command line names another; made if it is not there.
    pub fn of(head: &TableHead, args: &LoadArgs, txn: &mut WriteTxn) -> Result<Target, Failure> {
        let name = args.table.table.as_ref().or(head.name.as_ref());
        let types = head.types.clone().map(|(keys, values)| Types { keys, values });
        Target::open(name.cloned(), types, args, txn)
            .map_err(|failure| failure.at(format_args!("line {}", head.line)))
    }

    /// The table for records that come without one.
    pub fn unnamed(args: &LoadArgs, txn: &mut WriteTxn) -> Result<Target, Failure> {
        Target::open(args.table.table.clone(), None, args, txn)
    }

    /// The table, whatever types it has.
    pub fn untyped(&self) -> Bytes<'_> {
        untyped(self.name.as_deref())
    }

    fn open(
        name: Option<String>,
        dumped: Option<Types>,
        args: &LoadArgs,
        txn: &mut WriteTxn,
    ) -> Result<Target, Failure> {
        let tables = txn.tables().map_err(failure)?;
        if let Some(info) = tables.iter().find(|table| table.name == name) {
            let types = Types::recorded(info);
            return match dumped {
                Some(dumped) if dumped != types => Err(Failure::input(format!(
                    "the dump maps {} to {}, and the table {} to {}",
                    dumped.keys, dumped.values, types.keys, types.values
                ))),
                _ => Ok(Target { name, types }),
            };
        }
        let types = dumped.unwrap_or_else(|| Types { keys: args.keys.clone(), values: args.values.clone() });
        let (keys, values) = (types.keys.to_string(), types.values.to_string());
        txn.open_table_as(name.as_deref().unwrap_or_default(), &keys, &values).map_err(failure)?;
        Ok(Target { name, types })
    }
}
