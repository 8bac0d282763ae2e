//! Where a verb writes what it makes: a file that appears whole or not at all, or a stream.
//!
//! Three things are refused, whichever verb asks: the database that is read, and its lock file, always; and another file that is
//! there, unless it is to be replaced. Names are not compared but the files they lead to, so a link to the source is the source.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mapledb::mvcc::lock_path;
use mapledb_os::NamedDraft;

use crate::door::failure;
use crate::failure::Failure;

/// Where it goes.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A pipe or a device: written into as it is, never replaced.
    Stream(PathBuf),
    /// A file that is not there yet.
    NewFile(PathBuf),
    /// A file that is there, and is to be replaced.
    Replaced(PathBuf),
}

impl Destination {
    /// What the name leads to; `sources` are the databases that the verb reads.
    pub fn of(path: &Path, is_forced: bool, sources: &[&Path]) -> Result<Destination, Failure> {
        let Ok(about) = fs::metadata(path) else { return Ok(Destination::NewFile(path.to_path_buf())) };
        if about.is_dir() {
            return Err(Failure::file(format!("{} is a directory: name a file in it", path.display())));
        }
        if !about.is_file() {
            return Ok(Destination::Stream(path.to_path_buf()));
        }
        sources.iter().try_for_each(|source| refuse_source(path, &about, source))?;
        if !is_forced {
            return Err(exists(path));
        }
        // A link stays, and the file it leads to is replaced.
        path.canonicalize().map(Destination::Replaced).map_err(|error| Failure::os("look up", path, error))
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Destination::Stdout => "the output".to_owned(),
            Destination::Stream(path) | Destination::NewFile(path) | Destination::Replaced(path) => {
                path.display().to_string()
            }
        }
    }

    /// Writes all of it at once.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Destination::Stdout => {
                io::stdout().write_all(bytes).map_err(|error| Failure::writing(&self.name(), &error))
            }
            Destination::Stream(path) => {
                let written = File::options().write(true).open(path).and_then(|mut to| to.write_all(bytes));
                written.map_err(|error| Failure::os("write", path, error))
            }
            Destination::NewFile(path) | Destination::Replaced(path) => {
                let is_replaced = matches!(self, Destination::Replaced(_));
                write_whole(path, is_replaced, |mut file| {
                    file.write_all(bytes).map_err(|error| Failure::os("write", path, error))
                })
            }
        }
    }

    /// Whether it is a file, and not a stream that others read as it is written.
    pub fn is_file(&self) -> bool {
        matches!(self, Destination::NewFile(_) | Destination::Replaced(_))
    }
}

/// Makes a file by what `write` does, and gives it its name, durably, once that is done.
pub fn write_whole(
    path: &Path,
    is_replaced: bool,
    write: impl FnOnce(&File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let draft = NamedDraft::beside(path).map_err(|error| failure(error.into()))?;
    // The permissions are those of any new file: the umask still applies.
    let file = File::options().write(true).create_new(true).mode(0o666).open(draft.path());
    let file = file.map_err(|error| Failure::os("create", path, error))?;
    write(&file)?;
    file.sync_all().map_err(|error| Failure::os("write", path, error))?;
    let published = if is_replaced { draft.replace(path) } else { draft.publish(path) };
    published.map_err(|error| match error.is_exists() {
        true => exists(path),
        false => failure(error.into()),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::file(format!("{} exists: --force replaces it", path.display()))
}

fn refuse_source(path: &Path, about: &Metadata, source: &Path) -> Result<(), Failure> {
    // Its lock file lies beside the data file itself, not beside a link to it.
    let data = source.canonicalize().unwrap_or_else(|_| source.to_path_buf());
    let is_there = |other: &Path| {
        other.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (about.dev(), about.ino()))
    };
    let what = match (is_there(&data), is_there(&lock_path(&data))) {
        (true, _) => "is the database that is read",
        (_, true) => "is the lock file of the database that is read",
        (false, false) => return Ok(()),
    };
    Err(Failure::file(format!("{} {what}, and is never written over: name another file", path.display())))
}
