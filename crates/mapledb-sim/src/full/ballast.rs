//! What fills the disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::MIB;
use super::disk::run;
use crate::verify::Broken;

/// Files that take room away: a full btrfs may have no room to shorten one, and has it to remove one.
pub(super) struct Ballast {
    dir: PathBuf,
    pieces: Vec<(PathBuf, u64)>,
    made: u64,
}

/// The largest piece of ballast.
const PIECE: u64 = 4 * MIB;

impl Ballast {
    /// None yet, and where it will be.
    pub(super) fn none(dir: &Path) -> Ballast {
        Ballast { dir: dir.to_path_buf(), pieces: Vec::new(), made: 0 }
    }

    /// Grows until about `leave` bytes are free.
    pub(super) fn leave(&mut self, leave: u64) -> Result<(), Broken> {
        loop {
            let free = free_bytes(&self.dir)?;
            let Some(more) = free.checked_sub(leave).filter(|more| *more >= MIB / 2) else { return Ok(()) };
            let len = more.min(PIECE);
            self.made += 1;
            let path = self.dir.join(format!("ballast-{}", self.made));
            if run(Command::new("fallocate").args(["-l", &len.to_string()]).arg(&path)).is_err() {
                // The file system keeps some for itself.
                let _ = std::fs::remove_file(&path);
                return Ok(());
            }
            self.pieces.push((path, len));
        }
    }

    /// Gives some room back. Answers how much; 0 if there is none left.
    pub(super) fn give(&mut self, bytes: u64) -> Result<u64, Broken> {
        let mut given = 0;
        while given < bytes
            && let Some((path, len)) = self.pieces.pop()
        {
            std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            given += len;
        }
        // Some file systems give blocks back when they next commit.
        run(Command::new("sync").arg("-f").arg(&self.dir))?;
        Ok(given)
    }
}

pub(super) fn free_bytes(path: &Path) -> Result<u64, Broken> {
    mapledb_os::free_space_bytes(path).map_err(|error| error.to_string())
}
