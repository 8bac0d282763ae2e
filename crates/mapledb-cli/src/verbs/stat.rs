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
    /// Those of them that are nodes of trees of duplicates.
    duplicate_pages: u64,
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
        // The values of a multimap are too short for pages of their own.
        let duplicate_pages = if table.duplicates.is_some() { overflow_pages } else { 0 };
        let table = table.name.clone();
        Stat { table, entries, depth, leaf_pages, branch_pages, overflow_pages, duplicate_pages, bytes }
    }

    fn row(&self, page_size: usize) -> [String; 7] {
        let of_duplicates = self.duplicate_pages.saturating_mul(page_size as u64);
        [
            table::name(self.table.as_deref()),
            table::count(self.entries),
            self.depth.to_string(),
            table::count(self.leaf_pages),
            table::count(self.branch_pages),
            table::count(self.overflow_pages - self.duplicate_pages),
            table::count(self.bytes - of_duplicates),
        ]
    }

    /// The trees of its duplicates, of which the table's record tells the pages alone.
    fn row_of_duplicates(&self, page_size: usize) -> Option<[String; 7]> {
        let [entries, depth, leaf, branch] = std::array::from_fn(|_| "-".to_owned());
        let pages = table::count(self.duplicate_pages);
        let bytes = table::count(self.duplicate_pages.saturating_mul(page_size as u64));
        let row =
            [table::name_of_duplicates(self.table.as_deref()), entries, depth, leaf, branch, pages, bytes];
        (self.duplicate_pages > 0).then_some(row)
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
        let rows = self.tables.iter().flat_map(|stat| {
            [Some(stat.row(self.page_size)), stat.row_of_duplicates(self.page_size)].into_iter().flatten()
        });
        table::rows(output, columns, rows)
    }
}
