//! Which table, and which of its entries.

use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;

use clap::{ArgGroup, Args};
use mapledb::{Env, KeyOrder, Multimap, ReadTxn, Table, TableInfo, WriteTxn};

use crate::argument;
use crate::contents::Pair;
use crate::door::failure;
use crate::failure::Failure;
use crate::text::Type;
use crate::text::form::{self, Form};

/// A table of bytes, as the engine knows it.
pub type Bytes<'n> = Table<'n, [u8], [u8]>;

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
#[command(group = ArgGroup::new("low").args(["from", "after"]), group = ArgGroup::new("high").args(["to", "until"]))]
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
    /// In a multimap, begin at this value of that key, or after it with --after
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, requires = "low")]
    from_value: Option<OsString>,
    /// In a multimap, end with this value of that key, or before it with --until
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, requires = "high")]
    to_value: Option<OsString>,
    /// Only keys that begin with these bytes
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with_all = ["from", "after", "to", "until"])]
    prefix: Option<OsString>,
}

/// Two bounds as bytes, of keys or, where values are named, of pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Where the range begins.
    pub low: Bound<Vec<u8>>,
    /// Where it ends.
    pub high: Bound<Vec<u8>>,
    /// At which value of the key at `low`.
    low_value: Option<Vec<u8>>,
    /// At which value of the key at `high`.
    high_value: Option<Vec<u8>>,
}

/// Two bounds of pairs as bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct PairBounds {
    low: Bound<(Vec<u8>, Vec<u8>)>,
    high: Bound<(Vec<u8>, Vec<u8>)>,
}

/// The first and the last value of a key; none if it has none.
pub type Ends = [Option<Vec<u8>>; 2];

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

    /// The bounds in a table of these types, or in such a multimap.
    pub fn bounds(&self, types: &Types, is_multimap: bool) -> Result<Bounds, Failure> {
        let Types { keys, values } = types;
        let flags = [("--from-value", &self.from_value), ("--to-value", &self.to_value)];
        let given = flags.into_iter().filter(|(_, value)| value.is_some());
        given.into_iter().try_for_each(|(flag, _)| check_flag_of_multimaps(flag, is_multimap))?;
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
        let value =
            |value: &Option<OsString>| value.as_ref().map(|value| argument::bytes(value, values)).transpose();
        Ok(Bounds { low, high, low_value: value(&self.from_value)?, high_value: value(&self.to_value)? })
    }
}

/// Refuses what names one of a key's values where a key has one.
pub fn check_flag_of_multimaps(flag: &str, is_multimap: bool) -> Result<(), Failure> {
    if is_multimap {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{flag} names one of a key's values in a multimap, and this is a table with one value to a key"
    )))
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
        Bounds { low: Bound::Included(prefix), high, low_value: None, high_value: None }
    }

    /// What lies before them; `None` if they let everything in from the front.
    pub fn before(&self) -> Option<Bounds> {
        let high = match self.low.clone() {
            Bound::Unbounded => return None,
            Bound::Included(key) => Bound::Excluded(key),
            Bound::Excluded(key) => Bound::Included(key),
        };
        Some(Bounds { low: Bound::Unbounded, high, low_value: None, high_value: self.low_value.clone() })
    }

    /// The bounds as pairs, if a value is named in one. `ends` answers the values of a key that has none named: from its first to
    /// its last.
    pub fn of_pairs(
        &self,
        ends: impl Fn(&[u8]) -> mapledb::Result<Ends>,
    ) -> Result<Option<PairBounds>, Failure> {
        if (&self.low_value, &self.high_value) == (&None, &None) {
            return Ok(None);
        }
        let pair = |key: &Vec<u8>, value: &Option<Vec<u8>>, end: usize| match value {
            Some(value) => Ok((key.clone(), value.clone())),
            None => {
                ends(key).map(|ends| (key.clone(), ends[end].clone().unwrap_or_default())).map_err(failure)
            }
        };
        let low = match &self.low {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) => Bound::Included(pair(key, &self.low_value, 0)?),
            Bound::Excluded(key) => Bound::Excluded(pair(key, &self.low_value, 1)?),
        };
        let high = match &self.high {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) => Bound::Included(pair(key, &self.high_value, 1)?),
            Bound::Excluded(key) => Bound::Excluded(pair(key, &self.high_value, 0)?),
        };
        Ok(Some(PairBounds { low, high }))
    }

    /// The bounds as the engine takes them.
    pub fn as_range(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.low.as_ref().map(Vec::as_slice), self.high.as_ref().map(Vec::as_slice))
    }
}

impl PairBounds {
    /// The bounds as the engine takes them.
    pub fn as_range(&self) -> (Bound<Pair<'_>>, Bound<Pair<'_>>) {
        let [low, high] =
            [&self.low, &self.high].map(|bound| bound.as_ref().map(|(key, value)| (&key[..], &value[..])));
        (low, high)
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
        let (from_value, to_value) = (None, None);
        let mut args =
            RangeArgs { from: None, after: None, to: None, until: None, from_value, to_value, prefix: None };
        set(&mut args);
        args
    }

    fn types(keys: &str) -> Types {
        Types { keys: Type::recorded(keys), values: Type::recorded("u8") }
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
            let expected = Bounds { low, high, low_value: None, high_value: None };
            assert_eq!(args.bounds(&types("bytes"), false).unwrap(), expected, "{args:?}");
        }
    }

    #[test]
    fn a_key_without_a_value_in_bounds_of_pairs_stands_for_all_of_its_values() {
        let ends = |key: &[u8]| Ok(if key == b"k" { [Some(vec![1]), Some(vec![9])] } else { [None, None] });
        let pairs = |set: fn(&mut RangeArgs)| {
            let bounds = args(set).bounds(&types("bytes"), true).unwrap();
            bounds.of_pairs(ends).unwrap().map(|pairs| (pairs.low, pairs.high))
        };
        let pair = |key: &[u8], value: u8| (key.to_vec(), vec![value]);
        let named = pairs(|args| {
            (args.from, args.from_value, args.to) = (Some("a".into()), Some("7".into()), Some("k".into()))
        });
        assert_eq!(named, Some((Bound::Included(pair(b"a", 7)), Bound::Included(pair(b"k", 9)))));
        let named = pairs(|args| {
            (args.after, args.until, args.to_value) = (Some("k".into()), Some("z".into()), Some("7".into()))
        });
        assert_eq!(named, Some((Bound::Excluded(pair(b"k", 9)), Bound::Excluded(pair(b"z", 7)))));
        let named = pairs(|args| (args.to, args.to_value) = (Some("k".into()), Some("7".into())));
        assert_eq!(named, Some((Bound::Unbounded, Bound::Included(pair(b"k", 7)))));
        assert_eq!(pairs(|args| args.to = Some("k".into())), None);
        let refused =
            args(|args| args.to_value = Some("7".into())).bounds(&types("bytes"), false).unwrap_err();
        assert!(refused.message.starts_with("--to-value names one of a key's values"), "{}", refused.message);
    }

    #[test]
    fn bounds_are_typed_and_prefixes_are_bytes() {
        let numbers = types("u16");
        let bounds = args(|args| args.from = Some("258".into())).bounds(&numbers, false).unwrap();
        assert_eq!(bounds.low, Bound::Included(vec![1, 2]));
        let refused = args(|args| args.prefix = Some("1".into())).bounds(&numbers, false).unwrap_err();
        assert!(
            refused.message.starts_with("keys of type u16 have no prefix as text"),
            "{}",
            refused.message
        );
        let bounds = args(|args| args.prefix = Some("hex:01".into())).bounds(&numbers, false).unwrap();
        assert_eq!(bounds.as_range(), (Bound::Included(&[1][..]), Bound::Excluded(&[2][..])));
    }
}
