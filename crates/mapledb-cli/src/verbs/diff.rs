//! `maple diff A B`: the entries and pairs in which two databases differ, by one merge of both in their order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::{Duplicates, Env, KeyOrder, ReadTable, ReadTxn, TableInfo};
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::contents::{Contents, Entries, Pair};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::{self, Types, missing};
use crate::text::form;
use crate::text::json::Json;
use crate::{interrupt, table};

/// Print the entries and pairs in which two databases differ; exit code 1 if there are any
#[derive(Debug, Args)]
#[command(after_help = AS_WHAT)]
pub struct DiffArgs {
    /// One database
    a: PathBuf,
    /// The other
    b: PathBuf,
    /// Only this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// Only the default table
    #[arg(long, conflicts_with = "table")]
    main: bool,
    /// Print nothing and stop at the first difference
    #[arg(long)]
    brief: bool,
    /// Use no lock files: for read-only media; keeps writers out meanwhile
    #[arg(long)]
    frozen: bool,
}

const AS_WHAT: &str = "\
A line begins with - where it is in A alone, and with + where it is in B alone; an entry whose value differs is one of each. \
Pairs of multimaps are in A or in B alone. What differs in a table comes after a line with its name. Each database is read as \
one snapshot, once, from front to back; free space, page size and history do not matter. Tables in different orders are \
compared key by key, and a multimap with a table, or with one of another order, pair by pair.";

/// One line of JSON.
#[derive(Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum Change<'a> {
    Table {
        table: Option<&'a str>,
        only_in: &'static str,
    },
    Types {
        table: Option<&'a str>,
        keys: [String; 2],
        values: [String; 2],
        /// Where they differ.
        #[serde(skip_serializing_if = "Option::is_none")]
        orders: Option<[String; 2]>,
        /// What each is, where that differs.
        #[serde(skip_serializing_if = "Option::is_none")]
        kinds: Option<[String; 2]>,
    },
    Removed {
        table: Option<&'a str>,
        key: Json<'a>,
        old: Json<'a>,
    },
    Added {
        table: Option<&'a str>,
        key: Json<'a>,
        new: Json<'a>,
    },
    Changed {
        table: Option<&'a str>,
        key: Json<'a>,
        old: Json<'a>,
        new: Json<'a>,
    },
}

/// A snapshot of one of the two.
struct Side {
    // The transaction goes first.
    txn: ReadTxn,
    tables: Vec<TableInfo>,
    _env: Env,
}

impl Side {
    fn open(file: &Path, args: &DiffArgs, manner: Manner) -> Result<Side, Failure> {
        let env = door::open_to_read(&Reading { file: file.to_path_buf(), frozen: args.frozen }, manner)?;
        let txn = env.read().map_err(failure)?;
        let tables = txn.tables().map_err(failure)?;
        Ok(Side { txn, tables, _env: env })
    }

    fn table(&self, name: Option<&str>) -> Option<&TableInfo> {
        self.tables.iter().find(|table| table.name.as_deref() == name)
    }

    fn contents(&self, table: &TableInfo) -> Result<Contents<'_>, Failure> {
        Contents::of(&self.txn, table.name.as_deref(), table.duplicates)
    }
}

/// Entries in order with a look at the next.
struct Ahead<'t> {
    entries: Entries<'t>,
    next: Option<Pair<'t>>,
}

impl<'t> Ahead<'t> {
    fn of(contents: &Contents<'t>) -> Result<Ahead<'t>, Failure> {
        let mut ahead = Ahead { entries: contents.all()?, next: None };
        ahead.step()?;
        Ok(ahead)
    }

    fn step(&mut self) -> Result<(), Failure> {
        self.next = self.entries.next().transpose()?;
        Ok(())
    }
}

/// The order of the entries of a table, or of the pairs of a multimap.
#[derive(Clone, Copy)]
struct PairOrder {
    keys: KeyOrder,
    duplicates: Option<KeyOrder>,
}

impl PairOrder {
    fn of(table: &TableInfo) -> Result<PairOrder, Failure> {
        let duplicates = table.duplicate_order.as_deref().map(selection::order).transpose()?;
        Ok(PairOrder { keys: selection::order(&table.order)?, duplicates })
    }

    fn compare(self, a: Pair<'_>, b: Pair<'_>) -> Ordering {
        let by_value = || self.duplicates.map_or(Ordering::Equal, |order| order.compare(a.1, b.1));
        self.keys.compare(a.0, b.0).then_with(by_value)
    }
}

/// Whether the entries of both come in one order.
fn are_alike(a: &TableInfo, b: &TableInfo) -> bool {
    a.order == b.order && a.duplicate_order == b.duplicate_order
}

/// What a table is, in words.
fn kind(table: &TableInfo) -> String {
    match (table.duplicates, &table.duplicate_order) {
        (Some(Duplicates { len: None, .. }), Some(order)) => format!("a multimap in {order} order"),
        (Some(Duplicates { len: Some(len), .. }), Some(order)) => {
            format!("a multimap of {len} bytes each in {order} order")
        }
        _ => "a table".to_owned(),
    }
}

/// Prints them.
pub fn run(args: &DiffArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch_once()?;
    let (a, b) = (Side::open(&args.a, args, manner)?, Side::open(&args.b, args, manner)?);
    let mut diff = Diff { manner, is_brief: args.brief, output: Output::open(), found: 0, headed: None };
    for name in chosen(args, &a, &b)? {
        diff.table(name.as_deref(), &a, &b)?;
        if diff.is_done() {
            break;
        }
    }
    let found = diff.found;
    diff.output.finish()?;
    // What differs has been said.
    if found == 0 { Ok(()) } else { Err(Failure::absent("")) }
}

/// The tables to compare, by name, the default one first.
fn chosen(args: &DiffArgs, a: &Side, b: &Side) -> Result<BTreeSet<Option<String>>, Failure> {
    if args.main {
        return Ok([None].into());
    }
    let all: BTreeSet<_> = a.tables.iter().chain(&b.tables).map(|table| table.name.clone()).collect();
    match &args.table {
        None => Ok(all),
        Some(name) if all.contains(&args.table) => Ok([Some(name.clone())].into()),
        Some(name) => Err(missing(name)),
    }
}

struct Diff {
    manner: Manner,
    is_brief: bool,
    output: Output,
    found: u64,
    /// The table whose name was printed last.
    headed: Option<Option<String>>,
}

impl Diff {
    fn is_done(&self) -> bool {
        self.is_brief && self.found > 0
    }

    fn table(&mut self, name: Option<&str>, a: &Side, b: &Side) -> Result<(), Failure> {
        let (of_a, of_b) = match (a.table(name), b.table(name)) {
            (Some(of_a), Some(of_b)) => (of_a, of_b),
            (Some(_), None) => return self.only_in(name, "a"),
            (None, Some(_)) => return self.only_in(name, "b"),
            (None, None) => return Ok(()),
        };
        let types = (Types::recorded(of_a), Types::recorded(of_b));
        if types.0 != types.1 || of_a.order != of_b.order || of_a.duplicates != of_b.duplicates {
            self.types(name, of_a, of_b)?;
        }
        if self.is_brief && of_a.stat.entries != of_b.stat.entries {
            self.found += 1;
            return Ok(());
        }
        let order = PairOrder::of(of_a)?;
        PairOrder::of(of_b)?;
        let (left, right) = (a.contents(of_a)?, b.contents(of_b)?);
        if !are_alike(of_a, of_b) {
            return match (&left, &right) {
                (Contents::Table(left), Contents::Table(right)) => self.unsorted(name, &types, left, right),
                _ => self.unsorted_pairs(name, &types, &left, &right),
            };
        }
        let (mut left, mut right) = (Ahead::of(&left)?, Ahead::of(&right)?);
        while !self.is_done() {
            interrupt::check()?;
            match (left.next, right.next) {
                (None, None) => break,
                (Some(old), None) => self.removed(name, &types.0, old).and_then(|()| left.step())?,
                (None, Some(new)) => self.added(name, &types.1, new).and_then(|()| right.step())?,
                (Some(old), Some(new)) => match order.compare(old, new) {
                    Ordering::Less => self.removed(name, &types.0, old).and_then(|()| left.step())?,
                    Ordering::Greater => self.added(name, &types.1, new).and_then(|()| right.step())?,
                    Ordering::Equal => {
                        if old.1 != new.1 {
                            self.changed(name, &types, old, new)?;
                        }
                        left.step()?;
                        right.step()?;
                    }
                },
            }
        }
        Ok(())
    }

    /// The differences of two tables in different orders: each key of one is looked for in the other.
    fn unsorted(
        &mut self,
        name: Option<&str>,
        types: &(Types, Types),
        left: &ReadTable<'_, [u8], [u8]>,
        right: &ReadTable<'_, [u8], [u8]>,
    ) -> Result<(), Failure> {
        for entry in left.iter().map_err(failure)? {
            let old = entry.map_err(failure)?;
            interrupt::check()?;
            match right.get(old.0).map_err(failure)? {
                None => self.removed(name, &types.0, old)?,
                Some(new) if new != old.1 => self.changed(name, types, old, (old.0, new))?,
                Some(_) => {}
            }
            if self.is_done() {
                return Ok(());
            }
        }
        for entry in right.iter().map_err(failure)? {
            let new = entry.map_err(failure)?;
            interrupt::check()?;
            if !left.contains(new.0).map_err(failure)? {
                self.added(name, &types.1, new)?;
            }
            if self.is_done() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The differences of two tables of which one at least is a multimap, and whose pairs do not come in one order: each is looked
    /// for in the other.
    fn unsorted_pairs(
        &mut self,
        name: Option<&str>,
        types: &(Types, Types),
        left: &Contents<'_>,
        right: &Contents<'_>,
    ) -> Result<(), Failure> {
        for entry in left.all()? {
            let old = entry?;
            interrupt::check()?;
            if !right.holds(old)? {
                self.removed(name, &types.0, old)?;
            }
            if self.is_done() {
                return Ok(());
            }
        }
        for entry in right.all()? {
            let new = entry?;
            interrupt::check()?;
            if !left.holds(new)? {
                self.added(name, &types.1, new)?;
            }
            if self.is_done() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn only_in(&mut self, name: Option<&str>, only_in: &'static str) -> Result<(), Failure> {
        let sign = if only_in == "a" { '-' } else { '+' };
        let words = format!("{sign} table {}", form::harmless(&table::name(name)));
        self.tell(&Change::Table { table: name, only_in }, None, &[words])
    }

    fn types(&mut self, name: Option<&str>, a: &TableInfo, b: &TableInfo) -> Result<(), Failure> {
        let (differ, kinds_differ) = (a.order != b.order, a.duplicates != b.duplicates);
        let line = |sign, table: &TableInfo| {
            let order =
                if differ { format!(", order {}", form::harmless(&table.order)) } else { String::new() };
            let kind = if kinds_differ { format!(", {}", kind(table)) } else { String::new() };
            format!(
                "{sign} keys {}, values {}{order}{kind}",
                form::harmless(&table.key_type),
                form::harmless(&table.value_type)
            )
        };
        let change = Change::Types {
            table: name,
            keys: [a.key_type.clone(), b.key_type.clone()],
            values: [a.value_type.clone(), b.value_type.clone()],
            orders: differ.then(|| [a.order.clone(), b.order.clone()]),
            kinds: kinds_differ.then(|| [kind(a), kind(b)]),
        };
        self.tell(&change, Some(name), &[line('-', a), line('+', b)])
    }

    fn removed(
        &mut self,
        name: Option<&str>,
        types: &Types,
        (key, value): (&[u8], &[u8]),
    ) -> Result<(), Failure> {
        let change = Change::Removed {
            table: name,
            key: Json::new(&types.keys, key),
            old: Json::new(&types.values, value),
        };
        self.tell(&change, Some(name), &[entry('-', types, key, value)])
    }

    fn added(
        &mut self,
        name: Option<&str>,
        types: &Types,
        (key, value): (&[u8], &[u8]),
    ) -> Result<(), Failure> {
        let change = Change::Added {
            table: name,
            key: Json::new(&types.keys, key),
            new: Json::new(&types.values, value),
        };
        self.tell(&change, Some(name), &[entry('+', types, key, value)])
    }

    fn changed(
        &mut self,
        name: Option<&str>,
        types: &(Types, Types),
        (key, old): (&[u8], &[u8]),
        (_, new): (&[u8], &[u8]),
    ) -> Result<(), Failure> {
        let change = Change::Changed {
            table: name,
            key: Json::new(&types.0.keys, key),
            old: Json::new(&types.0.values, old),
            new: Json::new(&types.1.values, new),
        };
        self.tell(&change, Some(name), &[entry('-', &types.0, key, old), entry('+', &types.1, key, new)])
    }

    /// Prints a difference, under the name of its table if it is in one.
    fn tell(
        &mut self,
        change: &Change<'_>,
        under: Option<Option<&str>>,
        words: &[String],
    ) -> Result<(), Failure> {
        self.found += 1;
        if self.is_brief {
            return Ok(());
        }
        if self.manner.json {
            return self.output.json(change);
        }
        if let Some(name) = under.filter(|name| self.headed.as_ref().map(Option::as_deref) != Some(*name)) {
            self.headed = Some(name.map(str::to_owned));
            self.output.line(format!("@ {}", form::harmless(&table::name(name))))?;
        }
        words.iter().try_for_each(|line| self.output.line(line))
    }
}

fn entry(sign: char, types: &Types, key: &[u8], value: &[u8]) -> String {
    format!("{sign} {}\t{}", types.keys.text_of(key), types.values.text_of(value))
}
