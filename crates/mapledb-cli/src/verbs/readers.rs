//! `maple readers FILE`: who reads which snapshot, and since when.

use clap::Args;
use mapledb::ReaderInfo;
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{self, Column};
use crate::time;

/// List the read transactions alive in all processes
#[derive(Debug, Args)]
pub struct ReadersArgs {
    #[command(flatten)]
    database: Reading,
}

#[derive(Debug, Serialize)]
struct ReadersReport {
    txnid: u64,
    readers: Vec<Reader>,
}

#[derive(Debug, Serialize)]
struct Reader {
    pid: u32,
    command: Option<String>,
    tid: u32,
    txnid: u64,
    behind: Option<u64>,
    retained_bytes: u64,
    parked: bool,
    handles: u32,
    began_at: String,
    age_seconds: u64,
}

/// Lists them.
pub fn run(args: &ReadersArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let txnid = env.info().map_err(failure)?.txnid;
    let readers = env.readers().map_err(failure)?;
    let readers = readers.iter().filter(|reader| !reader.is_own).map(Reader::of).collect();
    output::report(manner.json, &ReadersReport { txnid, readers }, ReadersReport::in_words)
}

impl Reader {
    fn of(reader: &ReaderInfo) -> Reader {
        Reader {
            pid: reader.pid,
            command: reader.command.clone(),
            tid: reader.tid,
            txnid: reader.txnid,
            behind: reader.behind,
            retained_bytes: reader.retained_bytes,
            parked: reader.is_parked,
            handles: reader.clones.saturating_add(1),
            began_at: time::rfc3339(reader.began_at_ns),
            age_seconds: time::since(reader.began_at_ns).as_secs(),
        }
    }
}

impl ReadersReport {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        if self.readers.is_empty() {
            return output.line(format!("no readers; the latest commit is {}", self.txnid));
        }
        let columns = [
            Column::Numbers("pid"),
            Column::Words("command"),
            Column::Numbers("thread"),
            Column::Numbers("snapshot"),
            Column::Numbers("behind"),
            Column::Numbers("retained"),
            Column::Numbers("handles"),
            Column::Words("age"),
            Column::Words(""),
        ];
        let rows = self.readers.iter().map(|reader| {
            [
                reader.pid.to_string(),
                reader.command.clone().unwrap_or_default(),
                reader.tid.to_string(),
                reader.txnid.to_string(),
                reader.behind.map_or_else(String::new, table::count),
                table::size(reader.retained_bytes),
                reader.handles.to_string(),
                time::words(std::time::Duration::from_secs(reader.age_seconds)),
                if reader.parked { "parked".to_owned() } else { String::new() },
            ]
        });
        table::rows(output, columns, rows)
    }
}
