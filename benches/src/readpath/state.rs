//! The state that memory is in before a pass.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Advice, Mmap};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::{Deserialize, Serialize};

use super::ways;
use crate::records::{Files, Outcome, PAGE_BYTES, said};

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The way has been open for long: in the page cache, in page tables, in frames, whatever fits.
    Warm,
    /// The file is in the page cache, and the way has just been opened: what a process finds that begins.
    Fresh,
    /// The file is not in the page cache, and the way has just been opened.
    Cold,
    /// The way has been open for long, and the file is larger than the memory it may use.
    Limited,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Warm => "warm",
            State::Fresh => "fresh",
            State::Cold => "cold",
            State::Limited => "limited",
        }
    }
}

/// Asks the kernel to drop both files from the page cache. It does so only for pages that are clean and that
/// nobody maps.
pub fn drop_cached(files: &Files) -> Outcome<()> {
    for path in [&files.plain, &files.maple] {
        let file = File::open(path).map_err(|error| said(path, &error))?;
        file.sync_all().map_err(|error| said(path, &error))?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(|error| format!("{}: dropping it from the page cache: {error}", path.display()))?;
    }
    Ok(())
}

/// The share of the file at `path` that is in the page cache.
pub fn resident_share(path: &Path) -> Outcome<f64> {
    let resident = || {
        let map = ways::map(path, Advice::Random)?;
        let pages = residency(&map)?;
        Ok(pages.iter().filter(|&&page| page & 1 == 1).count() as f64 / pages.len() as f64)
    };
    resident().map_err(|error: io::Error| format!("{}: asking what is resident: {error}", path.display()))
}

/// A byte for each page of `map`, whose lowest bit says whether the page is in memory. Touches none of them.
fn residency(map: &Mmap) -> io::Result<Vec<u8>> {
    let mut pages = vec![0u8; map.len().div_ceil(PAGE_BYTES)];
    // SAFETY: the range is that of a live map, and there is a byte for each page of it; pages larger than 4 KiB
    // need fewer.
    #[expect(unsafe_code, reason = "mincore has no safe wrapper")]
    let answer = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
    if answer == 0 { Ok(pages) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_not_resident_and_what_was_read_is() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let files = Files::build(dir.path(), 256).unwrap();
        drop_cached(&files).unwrap();
        let cold = resident_share(&files.plain).unwrap();
        std::fs::read(&files.plain).unwrap();
        let warm = resident_share(&files.plain).unwrap();
        assert_eq!(warm, 1.0);
        assert!(cold < warm, "the file system cannot drop a file from its cache: {cold}");
    }
}
