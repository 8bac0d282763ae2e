//! What `maple` can do: a file a verb.

pub mod backup;
pub mod check;
pub mod compact;
pub mod completions;
pub mod copy;
pub mod create;
pub mod defrag;
pub mod del;
pub mod diff;
pub mod doctor;
pub mod dump;
pub mod get;
pub mod import;
pub mod info;
pub mod load;
pub mod man;
pub mod metrics;
pub mod nth;
pub mod page;
pub mod put;
pub mod rank;
pub mod readers;
pub mod rescue;
pub mod residency;
pub mod sample;
pub mod scan;
pub mod shell;
pub mod snapshot;
pub mod space;
pub mod stat;
pub mod tables;
pub mod top;
#[cfg(feature = "torture")]
pub mod torture;
pub mod trim;
pub mod warm;

use mapledb_format::PageSize;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let manner = cli.manner;
    match &cli.verb {
        Verb::Create(args) => create::run(args, manner),
        Verb::Info(args) => info::run(args, manner),
        Verb::Stat(args) => stat::run(args, manner),
        Verb::Tables(args) => tables::run(args, manner),
        Verb::Get(args) => get::run(args, manner),
        Verb::Put(args) => put::run(args, manner),
        Verb::Del(args) => del::run(args, manner),
        Verb::Scan(args) => scan::run(args, manner),
        Verb::Rank(args) => rank::run(args, manner),
        Verb::Nth(args) => nth::run(args, manner),
        Verb::Sample(args) => sample::run(args, manner),
        Verb::Load(args) => load::run(args, manner),
        Verb::Dump(args) => dump::run(args, manner),
        Verb::Import(args) => import::run(args, manner),
        Verb::Check(args) => check::run(args, manner),
        Verb::Diff(args) => diff::run(args, manner),
        Verb::Rescue(args) => rescue::run(args, manner),
        Verb::Copy(args) => copy::run(args, manner),
        Verb::Backup(args) => backup::run(args, manner),
        Verb::Compact(args) => compact::run(args, manner),
        Verb::Defrag(args) => defrag::run(args, manner),
        Verb::Trim(args) => trim::run(args, manner),
        Verb::Space(args) => space::run(args, manner),
        Verb::Snapshot(args) => snapshot::run(args, manner),
        Verb::Readers(args) => readers::run(args, manner),
        Verb::Top(args) => top::run(args, manner),
        Verb::Warm(args) => warm::run(args, manner),
        Verb::Residency(args) => residency::run(args, manner),
        Verb::Metrics(args) => metrics::run(args, manner),
        Verb::Doctor(args) => doctor::run(args, manner),
        Verb::Page(args) => page::run(args, manner),
        Verb::Shell(args) => shell::run(args, manner),
        #[cfg(feature = "torture")]
        Verb::Torture(args) => torture::run(args, manner),
        Verb::Completions(args) => completions::run(args, manner),
        Verb::Man(args) => man::run(args, manner),
    }
}

/// The page size that an argument names.
fn page_size(text: &str) -> Result<PageSize, String> {
    let bytes: Option<usize> = text.parse().ok();
    bytes.and_then(PageSize::new).ok_or_else(|| "a power of two from 4096 to 65536 is needed".to_owned())
}
