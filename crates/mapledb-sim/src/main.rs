//! The harnesses, from the command line.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use mapledb_sim::crash::{self, Limits};
use mapledb_sim::hostile;

/// Crash images, faults and kills for MapleDB. Every failure prints its seed and the command that replays it.
#[derive(Parser)]
#[command(name = "mapledb-sim", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Crashes at every effect of random transactions, and verifies what is recovered.
    Crash {
        /// The first session's seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Ends after so many sessions.
        #[arg(long, default_value_t = u64::MAX)]
        sessions: u64,
        /// Ends after so many images.
        #[arg(long, default_value_t = u64::MAX)]
        images: u64,
        /// Ends after so many seconds.
        #[arg(long, default_value_t = 86_400)]
        seconds: u64,
    },
    /// Flips bits of small files and cuts them, and reads what is left.
    Hostile {
        /// The first file's seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Ends after so many files.
        #[arg(long, default_value_t = u64::MAX)]
        files: u64,
        /// Changes to each file.
        #[arg(long, default_value_t = 1000)]
        changes: u32,
        /// Ends after so many seconds.
        #[arg(long, default_value_t = 86_400)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Crash { seed, sessions, images, seconds } => {
            let limits = Limits { sessions, images, time: Duration::from_secs(seconds) };
            let began = Instant::now();
            let mut counts = crash::Counts::default();
            let answer = crash::run(seed, limits, &mut counts);
            let rate = counts.images as f64 / began.elapsed().as_secs_f64();
            println!("{counts:#?}\nseeds from {seed}, {rate:.0} images a second");
            report(answer)
        }
        Verb::Hostile { seed, files, changes, seconds } => {
            let began = Instant::now();
            let mut counts = hostile::Counts::default();
            let answer = hostile::run(seed, files, changes, Duration::from_secs(seconds), &mut counts);
            let rate = counts.changes as f64 / began.elapsed().as_secs_f64();
            println!("{counts:#?}\nseeds from {seed}, {rate:.0} changes a second");
            report(answer)
        }
    }
}

fn report(answer: Result<(), impl std::fmt::Display>) -> ExitCode {
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
