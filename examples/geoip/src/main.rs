//! The demo: a GeoIP service on MapleDB.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::source::{INSTALLED, Wanted, package};

mod address;
mod parse;
mod source;

/// Says where the ranges come from and how many they are.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// `real` (an installed tor-geoipdb, else that package fetched, else an error), `sample` (generated), or
    /// files in the form of Tor's geoip and geoip6. Without it: real data if there is some, else the sample
    data: Vec<String>,
    /// Where a fetched package goes
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    match demo(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: Arguments) -> Result<()> {
    fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot create {}", arguments.dir.display()))?;
    let fetch = || package::fetch(&arguments.dir.join("tor-geoipdb"));
    let source = source::choose(Wanted::of_words(&arguments.data), Path::new(INSTALLED), fetch)?;
    println!("{}", source.headline(&source.ranges()?));
    Ok(())
}
