//! `maple tables FILE`: which tables there are.

use clap::Args;
use mapledb::TableInfo;
use serde::Serialize;

use crate::cli::{Manner, Reading, StateArgs};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{self, Column};

/// List the tables with their types and orders
#[derive(Debug, Args)]
pub struct TablesArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Serialize)]
struct TablesReport {
    txnid: u64,
    tables: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct ListedDuplicates {
    order: String,
    len_bytes: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Listed {
    table: Option<String>,
    keys: String,
    values: String,
    order: String,
    /// The order of its duplicates, and the length in bytes that they have if it is one; of a multimap alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<ListedDuplicates>,
    entries: u64,
    sequence: u64,
}

/// Lists them.
pub fn run(args: &TablesArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let tables = txn.tables().map_err(failure)?.into_iter().map(Listed::of).collect();
    let report = TablesReport { txnid: txn.txnid(), tables };
    output::report(manner.json, &report, TablesReport::in_words)
}

impl Listed {
    fn of(table: TableInfo) -> Listed {
        Listed {
            table: table.name,
            keys: table.key_type,
            values: table.value_type,
            order: table.order,
            duplicates: table.duplicates.map(|duplicates| ListedDuplicates {
                order: table.duplicate_order.unwrap_or_else(|| duplicates.order.name().to_owned()),
                len_bytes: duplicates.len,
            }),
            entries: table.stat.entries,
            sequence: table.sequence,
        }
    }
}

impl TablesReport {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let columns = [
            Column::Words("table"),
            Column::Words("keys"),
            Column::Words("values"),
            Column::Words("order"),
            Column::Numbers("entries"),
            Column::Numbers("sequence"),
        ];
        let rows = self.tables.iter().map(|listed| {
            [
                table::name(listed.table.as_deref()),
                listed.keys.clone(),
                match &listed.duplicates {
                    None => listed.values.clone(),
                    Some(_) => format!("{}, many", listed.values),
                },
                listed.order.clone(),
                table::count(listed.entries),
                listed.sequence.to_string(),
            ]
        });
        table::rows(output, columns, rows)
    }
}
