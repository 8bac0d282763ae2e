//! Feeds a target with inputs from a seed: `random data_file|lock_file SEED INPUTS SECONDS`. The case it is at is in the
//! file that `MAPLE_FUZZ_STATS` names, should a signal end it.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let target: fn(&[u8]) = match arguments.next().as_deref() {
        Some("data_file") => mapledb_fuzz::data_file,
        Some("lock_file") => mapledb_fuzz::lock_file,
        _ => return usage(),
    };
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (Some(seed), Some(inputs), Some(seconds)) = (number(), number(), number()) else { return usage() };
    let end = Instant::now() + Duration::from_secs(seconds);
    for case in (seed..seed.saturating_add(inputs)).take_while(|_| Instant::now() < end) {
        mapledb_fuzz::stats().at(case);
        if catch_unwind(|| target(&mapledb_fuzz::random::input(case))).is_err() {
            eprintln!("case {case} panicked");
            return ExitCode::FAILURE;
        }
    }
    mapledb_fuzz::stats().write();
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("random data_file|lock_file SEED INPUTS SECONDS");
    ExitCode::from(2)
}
