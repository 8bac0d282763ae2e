//! `maple info FILE`: what the file is and how it is doing.

use std::path::PathBuf;

use clap::Args;
use mapledb::Info;
use mapledb_format::Identity;
use serde::Serialize;

use crate::cli::{Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table;

/// Show what the file is: identity, sizes, free space, commits, readers
#[derive(Debug, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    database: Reading,
}

#[derive(Debug, Serialize)]
struct InfoReport {
    path: PathBuf,
    identity: String,
    filesystem: String,
    page_size: usize,
    file_bytes: u64,
    allocated_bytes: u64,
    used_pages: u64,
    available_pages: u64,
    waiting_pages: u64,
    txnid: u64,
    durable_txnid: u64,
    readers: u64,
    oldest_reader_txnid: Option<u64>,
    reserve_bytes: u64,
    poisoned: bool,
    recovery: Vec<String>,
}

/// Shows it.
pub fn run(args: &InfoArgs, manner: Manner) -> Result<(), Failure> {
    let env = door::open_to_read(&args.database, manner)?;
    let info = env.info().map_err(failure)?;
    let report = InfoReport::of(info, door::notes(env.recovery()));
    output::report(manner.json, &report, InfoReport::in_words)
}

impl InfoReport {
    fn of(info: Info, recovery: Vec<String>) -> InfoReport {
        InfoReport {
            path: info.path,
            identity: Identity(info.identity).to_string(),
            filesystem: info.filesystem,
            page_size: info.page_size,
            file_bytes: info.file_bytes,
            allocated_bytes: info.allocated_bytes,
            used_pages: info.used_pages,
            available_pages: info.available_pages,
            waiting_pages: info.waiting_pages,
            txnid: info.txnid,
            durable_txnid: info.durable_txnid,
            readers: info.readers,
            oldest_reader_txnid: info.oldest_reader_txnid,
            reserve_bytes: info.reserve_bytes,
            poisoned: info.is_poisoned,
            recovery,
        }
    }

    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let fields = [
            ("path", self.path.display().to_string()),
            ("identity", self.identity.clone()),
            ("file system", self.filesystem.clone()),
            ("page size", self.page_size.to_string()),
            ("file", table::size(self.file_bytes)),
            ("on the disk", table::size(self.allocated_bytes)),
            ("pages used", table::count(self.used_pages)),
            ("pages available", table::count(self.available_pages)),
            ("pages waiting for readers", table::count(self.waiting_pages)),
            ("latest commit", self.txnid.to_string()),
            ("latest durable commit", self.durable_txnid.to_string()),
            ("readers", table::count(self.readers)),
            (
                "oldest reader's commit",
                self.oldest_reader_txnid.map_or("none".to_owned(), |txnid| txnid.to_string()),
            ),
            ("address space", table::size(self.reserve_bytes)),
            ("state", if self.poisoned { "poisoned by a failed sync" } else { "healthy" }.to_owned()),
        ];
        table::fields(output, fields)
    }
}
