//! What a table holds, open to read: its entries, or the pairs of a multimap. A verb that treats both alike asks here.

use mapledb::{Duplicates, KeyOrder, PairRange, Range, ReadMultimap, ReadTable, ReadTxn};

use crate::door::failure;
use crate::failure::Failure;
use crate::selection::{self, Bounds, Types, untyped, untyped_multimap};
use crate::table;

/// A key and a value.
pub type Pair<'t> = (&'t [u8], &'t [u8]);

/// A table, or a multimap.
pub enum Contents<'t> {
    /// One value to a key.
    Table(ReadTable<'t, [u8], [u8]>),
    /// Many.
    Multimap(ReadMultimap<'t, [u8], [u8]>),
}

impl<'t> Contents<'t> {
    /// The table called `name`, or the default one, whatever it is, and the types of its keys and values.
    pub fn open(txn: &'t ReadTxn, name: Option<&str>) -> Result<(Contents<'t>, Types), Failure> {
        let tables = txn.tables().map_err(failure)?;
        let info = selection::find(&tables, name)?;
        Ok((Contents::of(txn, name, info.duplicates)?, Types::recorded(info)))
    }

    /// The table called `name`, or the default one; a multimap if it has such duplicates.
    pub fn of(
        txn: &'t ReadTxn,
        name: Option<&str>,
        duplicates: Option<Duplicates>,
    ) -> Result<Contents<'t>, Failure> {
        match duplicates {
            None => txn.table(&untyped(name)).map(Contents::Table),
            Some(_) => txn.multimap(&untyped_multimap(name)).map(Contents::Multimap),
        }
        .map_err(failure)
    }

    /// Whether a key has many values.
    pub fn is_multimap(&self) -> bool {
        matches!(self, Contents::Multimap(_))
    }

    /// The order of its keys.
    pub fn order(&self) -> KeyOrder {
        match self {
            Contents::Table(table) => table.order(),
            Contents::Multimap(multimap) => multimap.order(),
        }
    }

    /// How many entries or pairs it has.
    pub fn len(&self) -> u64 {
        match self {
            Contents::Table(table) => table.len(),
            Contents::Multimap(multimap) => multimap.len(),
        }
    }

    /// The entry or pair that has `n` before it.
    pub fn nth(&self, n: u64) -> Result<Option<Pair<'t>>, Failure> {
        match self {
            Contents::Table(table) => table.nth(n),
            Contents::Multimap(multimap) => multimap.nth(n),
        }
        .map_err(failure)
    }

    /// Whether it holds this value under this key.
    pub fn holds(&self, (key, value): Pair<'_>) -> Result<bool, Failure> {
        match self {
            Contents::Table(table) => table.get(key).map(|found| found == Some(value)),
            Contents::Multimap(multimap) => multimap.contains(key, value),
        }
        .map_err(failure)
    }

    /// What lies between two bounds. All there is needs no order, so it is read where the order is not at hand, too.
    pub fn range(&self, bounds: &Bounds) -> Result<Entries<'t>, Failure> {
        match self {
            _ if bounds.is_all() => self.all(),
            Contents::Table(table) => table.range(bounds.as_range()).map(Entries::of_table).map_err(failure),
            Contents::Multimap(multimap) => pairs_between(multimap, bounds).map(Entries::of_multimap),
        }
    }

    /// All there is.
    pub fn all(&self) -> Result<Entries<'t>, Failure> {
        match self {
            Contents::Table(table) => table.iter().map(Entries::of_table),
            Contents::Multimap(multimap) => multimap.iter().map(Entries::of_multimap),
        }
        .map_err(failure)
    }

    /// How many lie between two bounds.
    pub fn count(&self, bounds: &Bounds) -> Result<u64, Failure> {
        match self {
            _ if bounds.is_all() => Ok(self.len()),
            Contents::Table(table) => table.count(bounds.as_range()).map_err(failure),
            Contents::Multimap(multimap) => Ok(pairs_between(multimap, bounds)?.remaining()),
        }
    }

    /// So many of what it holds, in words.
    pub fn plural(&self, number: u64) -> String {
        match self {
            Contents::Table(_) => table::plural(number, "entry", "entries"),
            Contents::Multimap(_) => table::plural(number, "pair", "pairs"),
        }
    }

    /// What one of them is called, and what holds them.
    pub fn nouns(&self) -> (&'static str, &'static str) {
        match self {
            Contents::Table(_) => ("entry", "table"),
            Contents::Multimap(_) => ("pair", "multimap"),
        }
    }
}

fn pairs_between<'t>(
    multimap: &ReadMultimap<'t, [u8], [u8]>,
    bounds: &Bounds,
) -> Result<PairRange<'t, [u8], [u8]>, Failure> {
    let ends = |key: &[u8]| {
        Ok([multimap.first_of(key)?, multimap.last_of(key)?].map(|value| value.map(<[u8]>::to_vec)))
    };
    match bounds.of_pairs(ends)? {
        None => multimap.range(bounds.as_range()),
        Some(bounds) => multimap.range_pairs(bounds.as_range()),
    }
    .map_err(failure)
}

/// Entries, or pairs, from either end.
pub enum Entries<'t> {
    /// Of a table.
    Table(Box<Range<'t, [u8], [u8]>>),
    /// Of a multimap.
    Multimap(Box<PairRange<'t, [u8], [u8]>>),
}

impl<'t> Entries<'t> {
    fn of_table(entries: Range<'t, [u8], [u8]>) -> Entries<'t> {
        Entries::Table(Box::new(entries))
    }

    fn of_multimap(pairs: PairRange<'t, [u8], [u8]>) -> Entries<'t> {
        Entries::Multimap(Box::new(pairs))
    }
}

impl<'t> Iterator for Entries<'t> {
    type Item = Result<Pair<'t>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Entries::Table(entries) => entries.next(),
            Entries::Multimap(pairs) => pairs.next(),
        }
        .map(|entry| entry.map_err(failure))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Entries::Table(entries) => entries.next_back(),
            Entries::Multimap(pairs) => pairs.next_back(),
        }
        .map(|entry| entry.map_err(failure))
    }
}
