//! A process that makes the kernel write pages back all the time, so that half-built ones reach the disk.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::sys;

/// What to write back, until it is killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteBack {
    /// The files; those that are not there yet are waited for.
    pub paths: Vec<PathBuf>,
    /// From which its pauses are drawn.
    pub seed: u64,
}

impl WriteBack {
    /// Goes on until the process is killed, or its parent dies.
    ///
    /// # Errors
    /// It could not see to it that it dies with its parent.
    pub fn run(self) -> Result<(), String> {
        let dies = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        dies.map_err(|error| format!("die with the parent: {error}"))?;
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let mut files: Vec<Option<File>> = self.paths.iter().map(|_| None).collect();
        loop {
            for (path, file) in self.paths.iter().zip(&mut files) {
                match file {
                    // A failure is the one at work's to hear of.
                    Some(file) => drop(sys::start_writeback(file)),
                    None => *file = File::options().read(true).write(true).open(path).ok(),
                }
            }
            if rng.random() {
                std::thread::sleep(Duration::from_micros(rng.random_range(0..300)));
            }
        }
    }
}
