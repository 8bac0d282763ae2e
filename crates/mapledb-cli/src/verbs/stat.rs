//! `maple stat FILE`: how large each table is, and the shape of its tree.

use clap::Args;
use mapledb::{TableInfo, TableStat};
use serde::Serialize;

use crate::cli::{Manner, Reading, StateArgs};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::selection::find;
use crate::table::{self, Column};

/// Show the size and shape of each table
#[derive(Debug, Args)]
pub struct StatArgs {
    #[command(flatten)]
    database: Reading,
    #[command(flatten)]
    state: StateArgs,
    /// Only this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// Only the default table
    #[arg(long, conflicts_with = "table")]
    main: bool,
}

#[derive(Debug, Serialize)]
struct StatReport {
    txnid: u64,
    page_size: usize,
    tables: Vec<Stat>,
}

#[derive(Debug, Serialize)]
struct Stat {
    table: Option<String>,
    entries: u64,
    depth: u64,
    leaf_pages: u64,
    branch_pages: u64,
    overflow_pages: u64,
    bytes: u64,
}

/// Shows it.
pub fn run(args: &StatArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txn = args.state.read(&env)?;
    let tables = txn.tables().map_err(failure)?;
    let page_size = env.page_size();
    let stats = match args.table.is_some() || args.main {
        true => vec![Stat::of(find(&tables, args.table.as_deref())?, page_size)],
        false => tables.iter().map(|table| Stat::of(table, page_size)).collect(),
    };
    let report = StatReport { txnid: txn.txnid(), page_size, tables: stats };
    output::report(manner.json, &report, StatReport::in_words)
}

impl Stat {
    fn of(table: &TableInfo, page_size: usize) -> Stat {
        let TableStat { entries, depth, leaf_pages, branch_pages, overflow_pages, .. } = table.stat;
        let pages = leaf_pages.saturating_add(branch_pages).saturating_add(overflow_pages);
        let bytes = pages.saturating_mul(page_size as u64);
        Stat { table: table.name.clone(), entries, depth, leaf_pages, branch_pages, overflow_pages, bytes }
    }
}

impl StatReport {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let columns = [
            Column::Words("table"),
            Column::Numbers("entries"),
            Column::Numbers("depth"),
            Column::Numbers("leaf pages"),
            Column::Numbers("branch pages"),
            Column::Numbers("overflow pages"),
            Column::Numbers("bytes"),
        ];
        let rows = self.tables.iter().map(|stat| {
            [
                table::name(stat.table.as_deref()),
                table::count(stat.entries),
                stat.depth.to_string(),
                table::count(stat.leaf_pages),
                table::count(stat.branch_pages),
                table::count(stat.overflow_pages),
                table::count(stat.bytes),
            ]
        });
        table::rows(output, columns, rows)
    }
}
