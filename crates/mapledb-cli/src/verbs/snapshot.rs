//! `maple snapshot …`: states with names, to read and to go back to.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mapledb::SnapshotInfo;
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{self, Column};
use crate::time;

/// Name the state of a database, list and drop such names, or go back to one
#[derive(Debug, Args)]
#[command(after_help = WHAT_IT_COSTS)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    what: What,
}

const WHAT_IT_COSTS: &str = "\
A snapshot is kept until it is dropped, across restarts too; what is overwritten after it takes room meanwhile. Verbs that \
read entries take \"--snapshot NAME\".";

#[derive(Debug, Subcommand)]
enum What {
    /// Give the latest state a name
    Create(NameArgs),
    /// List the snapshots and what each keeps from being used again
    List(ListArgs),
    /// Drop a snapshot; whoever reads it reads on
    Drop(NameArgs),
    /// Make everything, or one table, what it is in a snapshot
    Rollback(RollbackArgs),
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The database
    file: PathBuf,
    /// The snapshot
    name: String,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    database: Reading,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Snapshots stay, later ones too. One table is copied; everything is brought back without a copy."
)]
struct RollbackArgs {
    #[command(flatten)]
    to: NameArgs,
    /// Only this table
    #[arg(long, short, value_name = "NAME")]
    table: Option<String>,
    /// Only the default table
    #[arg(long, conflicts_with = "table")]
    main: bool,
}

#[derive(Debug, Serialize)]
struct Committed {
    snapshot: String,
    txnid: u64,
}

#[derive(Debug, Serialize)]
struct ListReport {
    snapshots: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    txnid: u64,
    created_at: String,
    retained_bytes: u64,
    alone_bytes: u64,
}

/// Does it.
pub fn run(args: &SnapshotArgs, manner: Manner) -> Result<(), Failure> {
    match &args.what {
        What::Create(args) => {
            let env = door::open_to_write(&args.file, manner)?;
            let txnid = env.create_snapshot(&args.name).map_err(failure)?;
            door::close(env)?;
            tell(manner, &args.name, txnid)
        }
        What::Drop(args) => {
            let env = door::open_to_write(&args.file, manner)?;
            let txnid = env.drop_snapshot(&args.name).map_err(failure)?;
            door::close(env)?;
            tell(manner, &args.name, txnid)
        }
        What::Rollback(args) => args.run(manner),
        What::List(args) => {
            let env = door::open_to_read(&args.database, manner)?;
            let snapshots = env.snapshots().map_err(failure)?.into_iter().map(Listed::of).collect();
            output::report(manner.json, &ListReport { snapshots }, ListReport::in_words)
        }
    }
}

impl RollbackArgs {
    fn run(&self, manner: Manner) -> Result<(), Failure> {
        let env = door::open_to_write(&self.to.file, manner)?;
        let txnid = match self.table.is_some() || self.main {
            false => env.roll_back(&self.to.name).map_err(failure)?,
            true => {
                let mut txn = env.write().map_err(failure)?;
                txn.roll_back_table(&self.to.name, self.table.as_deref()).map_err(failure)?;
                txn.commit().map_err(failure)?
            }
        };
        door::close(env)?;
        tell(manner, &self.to.name, txnid)
    }
}

/// What was committed, for programs; people are told by the exit code.
fn tell(manner: Manner, name: &str, txnid: u64) -> Result<(), Failure> {
    output::report(manner.json, &Committed { snapshot: name.to_owned(), txnid }, |_, _| Ok(()))
}

impl Listed {
    fn of(snapshot: SnapshotInfo) -> Listed {
        Listed {
            name: snapshot.name,
            txnid: snapshot.txnid,
            created_at: time::rfc3339(snapshot.created_at_ns),
            retained_bytes: snapshot.retained_bytes,
            alone_bytes: snapshot.alone_bytes,
        }
    }
}

impl ListReport {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        if self.snapshots.is_empty() {
            return output.line("no snapshots");
        }
        let columns = [
            Column::Words("snapshot"),
            Column::Numbers("commit"),
            Column::Words("created"),
            Column::Numbers("retained"),
            Column::Numbers("alone"),
        ];
        let rows = self.snapshots.iter().map(|listed| {
            [
                listed.name.clone(),
                listed.txnid.to_string(),
                listed.created_at.clone(),
                table::size(listed.retained_bytes),
                table::size(listed.alone_bytes),
            ]
        });
        table::rows(output, columns, rows)
    }
}
