//! How many inputs there were, and how far they came.
//!
//! libFuzzer ends a process as it likes, so the numbers are written to the file that `MAPLE_FUZZ_STATS` names now and
//! then: three numbers, as [`Stats::read`] has them, and the case that is next or at work where cases have numbers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Inputs between two writings.
const EVERY: u64 = 64;

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Stats {
    inputs: AtomicU64,
    past_metas: AtomicU64,
    opened: AtomicU64,
    case: AtomicU64,
    file: OnceLock<Option<File>>,
}

/// The process's.
pub fn stats() -> &'static Stats {
    static STATS: OnceLock<Stats> = OnceLock::new();
    STATS.get_or_init(Stats::default)
}

impl Stats {
    /// An input is about to be used, and whether both of its metas are taken for metas.
    pub(crate) fn began(&self, is_past_metas: bool) {
        self.past_metas.fetch_add(u64::from(is_past_metas), Ordering::Relaxed);
        if self.inputs.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1 {
            self.write();
        }
    }

    /// Its file was opened.
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// This is the case at work.
    pub fn at(&self, case: u64) {
        self.case.store(case, Ordering::Relaxed);
        self.write();
    }

    /// Inputs, those past both metas, those whose file was opened.
    pub fn read(&self) -> [u64; 3] {
        [&self.inputs, &self.past_metas, &self.opened].map(|count| count.load(Ordering::Relaxed))
    }

    /// Writes the numbers, if that was asked for.
    pub fn write(&self) {
        let path = || std::env::var_os("MAPLE_FUZZ_STATS");
        let make = || path().and_then(|path| File::create(path).ok());
        if let Some(file) = self.file.get_or_init(make) {
            // Numbers that cannot be written are missed by the script that asked for them.
            let [inputs, past, opened] = self.read();
            let case = self.case.load(Ordering::Relaxed);
            let line = format!("{inputs:020} {past:020} {opened:020} {case:020}\n");
            let _ = file.write_all_at(line.as_bytes(), 0);
        }
    }
}
