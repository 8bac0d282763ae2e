//! Opening a database, and the engine's errors as failures of the command.

use std::path::Path;

use mapledb::mvcc::{AttachError, lock_path};
use mapledb::{Access, Env, Error, Options, Recovery};

use crate::cli::{Manner, Reading};
use crate::failure::{Failure, Kind};
use crate::kept;
use crate::output;
use crate::text::form;

/// Opens a database to read, beside whoever else has it open. Never creates one.
///
/// The data file is opened read-only; only a database that must be recovered first is opened to write.
pub fn open_to_read(reading: &Reading, manner: Manner) -> Result<Env, Failure> {
    let path = &reading.file;
    if let Some(env) = kept::handle(path).filter(|_| !reading.frozen) {
        return Ok(env);
    }
    if reading.frozen {
        return opened(map(Env::options().access(Access::Frozen), path, How::Open), manner);
    }
    match map(Env::options().access(Access::SharedReadOnly), path, How::Open) {
        Err(Error::NeedsRecovery { .. }) => open_to_write(path, manner),
        other => opened(other, manner),
    }
}

/// Opens a database to write, beside whoever else has it open. Never creates one.
pub fn open_to_write(path: &Path, manner: Manner) -> Result<Env, Failure> {
    if let Some(env) = kept::handle(path) {
        return Ok(env);
    }
    opened(map(Env::options().access(Access::Shared), path, How::Open), manner)
}

/// Opens a database that nobody else has open, and keeps others out. Never creates one.
pub fn open_alone(path: &Path, manner: Manner) -> Result<Env, Failure> {
    if kept::handle(path).is_some() {
        kept::let_go()?;
    }
    opened(map(Env::options().access(Access::Exclusive), path, How::Open), manner)
}

/// Whether there is a file, as far as can be told.
pub fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// Does `work` on a database that is there, and closes it.
pub fn write<T>(
    path: &Path,
    manner: Manner,
    work: impl FnOnce(&Env) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let env = open_to_write(path, manner)?;
    let done = work(&env)?;
    close(env)?;
    Ok(done)
}

/// Closes what a verb has opened.
pub fn close(env: Env) -> Result<(), Failure> {
    kept::close(env)
}

/// Does `work` on a database, as [`write()`] does, or as [`create`] does if it is not there.
pub fn write_or_create<T>(
    path: &Path,
    manner: Manner,
    work: impl FnOnce(&Env) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match exists(path) {
        true => write(path, manner, work),
        false => create(Env::options(), path, work),
    }
}

/// Creates a database, does `work` on it, and closes it. Fails if there is a file.
///
/// If the work fails and has committed nothing, the file goes again, unless somebody else has begun to use it.
pub fn create<T>(
    options: Options,
    path: &Path,
    work: impl FnOnce(&Env) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let had_lock_file = lock_path(path).exists();
    let env = map(options.access(Access::Shared), path, How::Create).map_err(failure)?;
    let (born, path) = (env.read().map_err(failure)?.txnid(), env.path().to_owned());
    match work(&env) {
        Ok(done) => {
            env.close().map_err(failure)?;
            Ok(done)
        }
        Err(why) => {
            // Why the work failed is what is told, whatever else fails now.
            let _ = env.close();
            take_back(&path, born, had_lock_file);
            Err(why)
        }
    }
}

/// Removes a file that was created in vain. Nobody else can open it from when it is known that nobody has until it is gone.
fn take_back(path: &Path, born: u64, had_lock_file: bool) {
    let Ok(env) = map(Env::options().access(Access::Exclusive), path, How::Open) else { return };
    if env.read().is_ok_and(|txn| txn.txnid() == born) && std::fs::remove_file(path).is_ok() && !had_lock_file
    {
        let _ = std::fs::remove_file(lock_path(path));
    }
}

fn opened(env: Result<Env, Error>, manner: Manner) -> Result<Env, Failure> {
    let env = env.map_err(failure)?;
    notes(env.recovery()).iter().for_each(|note| tell_note(note, manner));
    Ok(env)
}

/// Tells on standard error what the user should know of, and nobody needs to act on.
pub fn tell_note(note: &str, manner: Manner) {
    if !manner.quiet {
        output::aside(&note_line(note, manner));
    }
}

fn note_line(note: &str, manner: Manner) -> String {
    if manner.json {
        serde_json::json!({ "note": note }).to_string()
    } else {
        format!("maple: note: {}", form::harmless(note))
    }
}

/// What opening found that its user should know of.
pub fn notes(recovery: &Recovery) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = &recovery.passed_over {
        notes.push(format!(
            "a newer commit was passed over: {why}; after a crash of the system that is as it should be, else the file was damaged: \
             what that commit wrote stays in it until others are made, and `maple rescue` looks for it"
        ));
    }
    if let Some(txnid) = recovery.adopted_txnid {
        notes.push(format!("relaxed commits up to {txnid} were recovered and are durable now"));
    }
    if let Some(why) = &recovery.refused_relaxed {
        notes.push(format!("relaxed commits of the last use were not adopted: {why}"));
    }
    if recovery.was_poisoned {
        notes.push("a sync had failed in the last use; the durable state was recovered".to_owned());
    }
    notes
}

/// An engine's error as a failure of the command.
pub fn failure(error: Error) -> Failure {
    let kind = match &error {
        Error::Corrupt { .. }
        | Error::BadHead { .. }
        | Error::NoMeta { .. }
        | Error::BadMetas { .. }
        | Error::Truncated { .. } => Kind::Damaged,
        Error::KeyTooLong { .. }
        | Error::KeyLength { .. }
        | Error::ValueTooLong { .. }
        | Error::DuplicateTooLong { .. }
        | Error::DuplicateLength { .. }
        | Error::Decode { .. }
        | Error::Encode { .. }
        | Error::NotSorted => Kind::Input,
        Error::BadOption { .. }
        | Error::TableName { .. }
        | Error::SnapshotName { .. }
        | Error::TypeNameTooLong { .. } => Kind::Usage,
        Error::Interrupted => Kind::Interrupted,
        _ => Kind::File,
    };
    let hint = match &error {
        Error::Attach(AttachError::LockFile(_)) | Error::NeedsRecovery { .. } => " (--frozen)",
        _ => "",
    };
    Failure::new(kind, format!("{error}{hint}"))
}

enum How {
    Open,
    Create,
}

/// The one place where a file is mapped.
#[allow(unsafe_code)]
fn map(options: Options, path: &Path, how: How) -> Result<Env, Error> {
    // The contract is that nothing but MapleDB writes to the file while it is open. This process writes to it through
    // MapleDB alone; `maple page` reads it as a file. Other processes are held to the contract by whoever lets them
    // write to the file, which is whoever runs this command on it: a shell has no stronger promise to give, and
    // `docs/cli.md` states it.
    match how {
        // SAFETY: as said above.
        How::Open => unsafe { options.open(path) },
        // SAFETY: as said above.
        How::Create => unsafe { options.create(path) },
    }
}
