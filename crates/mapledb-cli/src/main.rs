//! `maple`: create, look into, change, dump, load, check and copy MapleDB files from a shell.
//!
//! `maple VERB FILE …`: each verb is a file in [`verbs`]. What it found goes to standard output, for people or as
//! JSON; everything else goes to standard error. The conventions are in `docs/cli.md`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod argument;
mod cli;
mod contents;
mod destination;
mod door;
mod dump;
mod entry;
mod failure;
mod interrupt;
mod kept;
mod output;
mod progress;
mod selection;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    #[cfg(feature = "torture")]
    if let Some(code) = mapledb_sim::actor::run_if_asked() {
        return code;
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match verbs::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(cli.manner.json),
    }
}
