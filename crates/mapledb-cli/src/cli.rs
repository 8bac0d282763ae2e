//! The command line.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use mapledb::{Env, ReadTxn};

use crate::door::failure;
use crate::failure::{Failure, Kind};
use crate::verbs::backup::BackupArgs;
use crate::verbs::check::CheckArgs;
use crate::verbs::compact::CompactArgs;
use crate::verbs::completions::CompletionsArgs;
use crate::verbs::copy::CopyArgs;
use crate::verbs::create::CreateArgs;
use crate::verbs::defrag::DefragArgs;
use crate::verbs::del::DelArgs;
use crate::verbs::diff::DiffArgs;
use crate::verbs::doctor::DoctorArgs;
use crate::verbs::dump::DumpArgs;
use crate::verbs::get::GetArgs;
use crate::verbs::import::ImportArgs;
use crate::verbs::info::InfoArgs;
use crate::verbs::load::LoadArgs;
use crate::verbs::man::ManArgs;
use crate::verbs::metrics::MetricsArgs;
use crate::verbs::nth::NthArgs;
use crate::verbs::page::PageArgs;
use crate::verbs::put::PutArgs;
use crate::verbs::rank::RankArgs;
use crate::verbs::readers::ReadersArgs;
use crate::verbs::rescue::RescueArgs;
use crate::verbs::residency::ResidencyArgs;
use crate::verbs::sample::SampleArgs;
use crate::verbs::scan::ScanArgs;
use crate::verbs::shell::ShellArgs;
use crate::verbs::snapshot::SnapshotArgs;
use crate::verbs::space::SpaceArgs;
use crate::verbs::stat::StatArgs;
use crate::verbs::tables::TablesArgs;
use crate::verbs::top::TopArgs;
#[cfg(feature = "torture")]
use crate::verbs::torture::TortureArgs;
use crate::verbs::trim::TrimArgs;
use crate::verbs::warm::WarmArgs;

/// Create, look into, change, dump, load, check and copy MapleDB files.
#[derive(Debug, Parser)]
#[command(name = "maple", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// How to go about it.
    #[command(flatten)]
    pub manner: Manner,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  the answer is no
    2  the command line makes no sense
    3  the input is malformed
    4  a file or table could not be used
    5  the database is damaged
  130  interrupted";

/// What every verb understands.
#[derive(Debug, Clone, Copy, Args)]
pub struct Manner {
    /// Print JSON instead of words, errors included
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress, notes or summaries on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The database of a verb that only reads.
#[derive(Debug, Clone, Args)]
pub struct Reading {
    /// The database
    pub file: PathBuf,
    /// Use no lock file: for read-only media; keeps writers out meanwhile
    #[arg(long)]
    pub frozen: bool,
}

/// Which state of the database a verb reads.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// Read this named snapshot instead of the latest state
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
}

impl StateArgs {
    /// Begins to read it.
    pub fn read(&self, env: &Env) -> Result<ReadTxn, Failure> {
        let txn = match &self.snapshot {
            Some(name) => env.read_snapshot(name),
            None => env.read(),
        };
        txn.map_err(failure)
    }
}

/// The verbs, in the order of their use.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // Their arguments are documented, and that is what the help prints.
pub enum Verb {
    Create(CreateArgs),
    Info(InfoArgs),
    Stat(StatArgs),
    Tables(TablesArgs),
    Get(GetArgs),
    Put(PutArgs),
    Del(DelArgs),
    Scan(ScanArgs),
    Rank(RankArgs),
    Nth(NthArgs),
    Sample(SampleArgs),
    Load(LoadArgs),
    Dump(DumpArgs),
    Import(ImportArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Rescue(RescueArgs),
    Copy(CopyArgs),
    Backup(BackupArgs),
    Compact(CompactArgs),
    Defrag(DefragArgs),
    Trim(TrimArgs),
    Space(SpaceArgs),
    Snapshot(SnapshotArgs),
    Readers(ReadersArgs),
    Top(TopArgs),
    Warm(WarmArgs),
    Residency(ResidencyArgs),
    Metrics(MetricsArgs),
    Doctor(DoctorArgs),
    Page(PageArgs),
    Shell(ShellArgs),
    #[cfg(feature = "torture")]
    Torture(TortureArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Prints what clap has to say about a command line: help for who asked for it, else what is wrong.
pub fn refuse(error: &clap::Error) -> ExitCode {
    let wants_json = env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let rendered = error.render().to_string();
        return Failure::usage(rendered.trim_start_matches("error: ").trim_end()).tell(true);
    }
    let printed = error.print();
    match (error.use_stderr(), printed) {
        // Who closed standard error does not want to be told.
        (true, _) => ExitCode::from(Kind::Usage.code()),
        (false, Ok(())) => ExitCode::SUCCESS,
        (false, Err(error)) => Failure::writing("the output", &error).tell(wants_json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_agrees_with_itself() {
        Cli::command().debug_assert();
    }
}
