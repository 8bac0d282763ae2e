//! The database that a shell keeps open, for the verbs that it runs.
//!
//! One process opens a file once, and one way: so a verb that asks for this file is given a handle on what is open, whichever
//! way it asks, and one that needs the file for itself has it let go of first. A shell that may not write runs no verb that does.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mapledb::Env;

use crate::door::failure;
use crate::failure::Failure;

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

struct Kept {
    env: Env,
    /// Which file it is: device and inode.
    file: (u64, u64),
}

/// Keeps `env` open until it is let go of.
pub fn keep(env: Env) -> Result<(), Failure> {
    let file = file_at(env.path()).ok_or_else(|| {
        Failure::file(format!("{} was replaced a moment ago: try again", env.path().display()))
    })?;
    KEPT.set(Some(Kept { env, file }));
    Ok(())
}

/// Whether any is kept.
pub fn is_any() -> bool {
    KEPT.with_borrow(Option::is_some)
}

/// A handle on what is kept, if that is the file at `path`.
pub fn handle(path: &Path) -> Option<Env> {
    let file = file_at(path)?;
    KEPT.with_borrow(|kept| kept.as_ref().filter(|kept| kept.file == file).map(|kept| kept.env.clone()))
}

/// Closes what is kept.
pub fn let_go() -> Result<(), Failure> {
    KEPT.take().map_or(Ok(()), |kept| kept.env.close().map_err(failure))
}

/// Closes an environment that a verb has opened, unless it is a handle on what is kept.
pub fn close(env: Env) -> Result<(), Failure> {
    match handle(env.path()) {
        Some(_) => Ok(()),
        None => env.close().map_err(failure),
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|about| (about.dev(), about.ino()))
}
