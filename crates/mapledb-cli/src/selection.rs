//! Which table, and which of its entries.

use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use mapledb::{Env, KeyOrder, Multimap, ReadTable, ReadTxn, Table, TableInfo, WriteTxn};

use crate::argument;
use crate::door::failure;
use crate::failure::Failure;
use crate::text::Type;
use crate::text::form::{self, Form};

/// A table of bytes, as the engine knows it.
pub type Bytes<'n> = Table<'n, [u8], [u8]>;

/// Such a table, open to read.
pub type Untyped<'t> = ReadTable<'t, [u8], [u8]>;

/// The table a verb works on.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// The table; the default table if left out
    #[arg(long, short, value_name = "NAME")]
    pub table: Option<String>,
}

impl TableArgs {
    /// The table, whatever types it has.
    pub fn untyped(&self) -> Bytes<'_> {
        untyped(self.table.as_deref())
    }
}

/// The table called `name`, or the default one, whatever types it has.
pub fn untyped(name: Option<&str>) -> Bytes<'_> {
    name.map_or(Table::main(), Table::untyped)
}

/// The multimap called `name`, whatever types it has. The default table is none.
pub fn untyped_multimap(name: Option<&str>) -> Multimap<'_, [u8], [u8]> {
    Multimap::untyped(name.unwrap_or_default())
}

/// Whether the table called `name` is a multimap.
pub fn is_multimap(txn: &ReadTxn, name: Option<&str>) -> Result<bool, Failure> {
    find(&txn.tables().map_err(failure)?, name).map(|table| table.duplicates.is_some())
}

/// The types of a table's keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// The type of its keys.
    pub keys: Type,
    /// The type of its values.
    pub values: Type,
}

impl Types {
    /// The types that the catalog records.
    pub fn recorded(table: &TableInfo) -> Types {
        Types { keys: Type::recorded(&table.key_type), values: Type::recorded(&table.value_type) }
    }
}

/// The types of the table called `name`, or of the default one.
pub fn types_of(txn: &ReadTxn, name: Option<&str>) -> Result<Types, Failure> {
    find(&txn.tables().map_err(failure)?, name).map(Types::recorded)
}

/// Begins a write on a table whose keys and values were understood by these types. What the command line stands for is
/// read before, so that nobody waits for the lock while a file or standard input is read.
pub fn write_as(env: &Env, name: Option<&str>, types: &Types) -> Result<WriteTxn, Failure> {
    let txn = env.write().map_err(failure)?;
    if find(&txn.tables().map_err(failure)?, name).map(Types::recorded)? == *types {
        return Ok(txn);
    }
    Err(Failure::file("the table was replaced by one of other types a moment ago: try again"))
}

/// The table called `name`, or the default one, among `tables`.
pub fn find<'t>(tables: &'t [TableInfo], name: Option<&str>) -> Result<&'t TableInfo, Failure> {
    tables.iter().find(|table| table.name.as_deref() == name).ok_or_else(|| missing(name.unwrap_or_default()))
}

/// The order of this name, to look for keys by or to make a table in: a program's own is not at hand here.
pub fn order(name: &str) -> Result<KeyOrder, Failure> {
    KeyOrder::built_in(name).ok_or_else(|| {
        Failure::file(format!(
            "the order \"{}\" is a program's own and not known here: only going through such a table as it is stored is \
             possible (scan, dump, stat, check, copy, compact)",
            form::harmless(name)
        ))
    })
}

/// What to say where a table is not there.
pub fn missing(name: &str) -> Failure {
    Failure::file(format!("there is no table called {name:?}: \"maple tables\" lists those there are"))
}

/// The entries a verb works on: those between two bounds, or those whose keys begin alike.
#[derive(Debug, Args)]
pub struct RangeArgs {
    /// Begin at this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    from: Option<OsString>,
    /// Begin after this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with = "from")]
    after: Option<OsString>,
    /// End with this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    to: Option<OsString>,
    /// End before this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with = "to")]
    until: Option<OsString>,
    /// Only keys that begin with these bytes
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with_all = ["from", "after", "to", "until"])]
    prefix: Option<OsString>,
}

/// Two bounds of keys as bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Where the range begins.
    pub low: Bound<Vec<u8>>,
    /// Where it ends.
    pub high: Bound<Vec<u8>>,
}

impl RangeArgs {
    /// Whether there is any bound.
    pub fn is_given(&self) -> bool {
        [&self.from, &self.after, &self.to, &self.until, &self.prefix].into_iter().any(Option::is_some)
    }

    /// Refuses a prefix in a table where keys that begin alike do not lie together.
    pub fn check_order(&self, order: KeyOrder) -> Result<(), Failure> {
        if self.prefix.is_none() || order == KeyOrder::BYTEWISE {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "keys that begin alike do not lie together in the order \"{}\" of this table: use --from and --until",
            order.name()
        )))
    }

    /// The bounds in a table with such keys.
    pub fn bounds(&self, keys: &Type) -> Result<Bounds, Failure> {
        if let Some(prefix) = &self.prefix {
            return Ok(Bounds::of_prefix(prefix_bytes(prefix, keys)?));
        }
        let bytes = |key: &Option<OsString>| key.as_ref().map(|key| argument::bytes(key, keys)).transpose();
        let low = match (bytes(&self.from)?, bytes(&self.after)?) {
            (Some(key), _) => Bound::Included(key),
            (None, Some(key)) => Bound::Excluded(key),
            (None, None) => Bound::Unbounded,
        };
        let high = match (bytes(&self.to)?, bytes(&self.until)?) {
            (Some(key), _) => Bound::Included(key),
            (None, Some(key)) => Bound::Excluded(key),
            (None, None) => Bound::Unbounded,
        };
        Ok(Bounds { low, high })
    }
}

/// The bytes of a prefix, which need not be a whole key.
fn prefix_bytes(prefix: &OsStr, keys: &Type) -> Result<Vec<u8>, Failure> {
    let Some(text) = prefix.to_str() else {
        return Ok(prefix.as_bytes().to_vec());
    };
    match (form::parse(text), keys) {
        (Ok(Form::Exact(bytes)), _) => Ok(bytes),
        (Ok(Form::Plain(text)), Type::Bytes | Type::Str) => Ok(text.as_bytes().to_vec()),
        (Ok(Form::Plain(_)), _) => Err(Failure::usage(format!(
            "keys of type {keys} have no prefix as text: give it as hex:, or use --from and --until"
        ))),
        (Err(why), _) => Err(Failure::usage(why).at(text)),
    }
}

impl Bounds {
    /// Whether they leave nothing out.
    pub fn is_all(&self) -> bool {
        (&self.low, &self.high) == (&Bound::Unbounded, &Bound::Unbounded)
    }

    /// The keys that begin with `prefix`.
    fn of_prefix(prefix: Vec<u8>) -> Bounds {
        let high = after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Bounds { low: Bound::Included(prefix), high }
    }

    /// The bounds as the engine takes them.
    pub fn as_range(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.low.as_ref().map(Vec::as_slice), self.high.as_ref().map(Vec::as_slice))
    }
}

/// The smallest key after all that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut after = prefix.get(..=last)?.to_vec();
    *after.last_mut()? += 1;
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(set: impl FnOnce(&mut RangeArgs)) -> RangeArgs {
        let mut args = RangeArgs { from: None, after: None, to: None, until: None, prefix: None };
        set(&mut args);
        args
    }

    #[test]
    fn bounds_are_what_was_asked_for() {
        let included = |key: &[u8]| Bound::Included(key.to_vec());
        let excluded = |key: &[u8]| Bound::Excluded(key.to_vec());
        let table = [
            (args(|_| ()), Bound::Unbounded, Bound::Unbounded),
            (args(|args| args.from = Some("a".into())), included(b"a"), Bound::Unbounded),
            (args(|args| args.after = Some("".into())), excluded(b""), Bound::Unbounded),
            (args(|args| args.to = Some("hex:ff".into())), Bound::Unbounded, included(b"\xff")),
            (args(|args| args.until = Some("b".into())), Bound::Unbounded, excluded(b"b")),
            (args(|args| args.prefix = Some("ab".into())), included(b"ab"), excluded(b"ac")),
            (args(|args| args.prefix = Some("hex:61ffff".into())), included(b"a\xff\xff"), excluded(b"b")),
            (args(|args| args.prefix = Some("hex:ffff".into())), included(b"\xff\xff"), Bound::Unbounded),
            (args(|args| args.prefix = Some("".into())), included(b""), Bound::Unbounded),
        ];
        for (args, low, high) in table {
            assert_eq!(args.bounds(&Type::Bytes).unwrap(), Bounds { low, high }, "{args:?}");
        }
    }

    #[test]
    fn bounds_are_typed_and_prefixes_are_bytes() {
        let numbers = Type::recorded("u16");
        let bounds = args(|args| args.from = Some("258".into())).bounds(&numbers).unwrap();
        assert_eq!(bounds.low, Bound::Included(vec![1, 2]));
        let refused = args(|args| args.prefix = Some("1".into())).bounds(&numbers).unwrap_err();
        assert!(
            refused.message.starts_with("keys of type u16 have no prefix as text"),
            "{}",
            refused.message
        );
        let bounds = args(|args| args.prefix = Some("hex:01".into())).bounds(&numbers).unwrap();
        assert_eq!(bounds.as_range(), (Bound::Included(&[1][..]), Bound::Excluded(&[2][..])));
    }
}
