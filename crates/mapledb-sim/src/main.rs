//! The harnesses, from the command line.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use mapledb_sim::crash::{self, Counts, Limits};

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
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Crash { seed, sessions, images, seconds } => {
            let limits = Limits { sessions, images, time: Duration::from_secs(seconds) };
            let began = Instant::now();
            let mut counts = Counts::default();
            let answer = crash::run(seed, limits, &mut counts);
            let rate = counts.images as f64 / began.elapsed().as_secs_f64();
            println!("{counts:#?}\nseeds from {seed}, {rate:.0} images a second");
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
