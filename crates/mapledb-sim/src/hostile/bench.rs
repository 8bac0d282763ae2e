//! The bench where a file is changed, opened and judged, again and again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use mapledb::{Defragment, Env};

use super::change::{Change, apply};
use super::subject::{BLOCK, Subject, open, options};
use super::{Counts, Part};
use crate::image::{bind_lock, lock_path};
use crate::model::State;
use crate::scratch::Scratch;
use crate::verify::{Broken, holds, said};

/// Of so many changes one is followed by a commit,
const WRITTEN: u64 = 8;
/// and one by a reopening after that.
const REOPENED: u64 = 64;
/// Key and value of the entry that is put in after a change.
const AFTER: &[u8] = b"written after the change";

/// The two files that changes are made to, again and again.
pub(super) struct Bench {
    subject: Subject,
    path: PathBuf,
    data: File,
    buffer: Vec<u8>,
    _dir: Scratch,
}

/// What is done after a change was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    None,
    Commit,
    Reopening,
}

enum Verdict {
    Detected,
    Harmless,
    Discarded,
}

impl Bench {
    /// Makes the file of a part, and room to change it.
    pub(super) fn of(part: Part, seed: u64) -> Result<Bench, Broken> {
        let subject = Subject::make(part, seed)?;
        Bench::lay(subject).map_err(|error| format!("no room for two small files: {error}"))
    }

    fn lay(mut subject: Subject) -> io::Result<Bench> {
        let dir = Scratch::new()?;
        let path = dir.path().join("changed.maple");
        let data = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let stat = data.metadata()?;
        if let Some(lock) = &mut subject.lock {
            bind_lock(lock, stat.dev(), stat.ino());
        }
        Ok(Bench { subject, path, data, buffer: Vec::new(), _dir: dir })
    }

    /// Makes change `index` and looks at what the engine says.
    pub(super) fn examine(&mut self, index: u64, counts: &mut Counts) -> Result<(), Broken> {
        let change = self.subject.change(index);
        self.lay_out(change).map_err(|error| format!("the files cannot be laid out: {error}"))?;
        let sequel = match index {
            _ if index.is_multiple_of(REOPENED) => Sequel::Reopening,
            _ if index.is_multiple_of(WRITTEN) => Sequel::Commit,
            _ => Sequel::None,
        };
        let (path, subject) = (&self.path, &self.subject);
        let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| judge(path, subject, change, sequel)));
        let verdict = verdict.unwrap_or_else(|_| Err("a panic".to_string()));
        let (verdict, took_a_commit) =
            verdict.map_err(|broken| format!("{:?}, {change:?}: {broken}", subject.part))?;
        counts.changes += 1;
        counts.written += u64::from(took_a_commit);
        match verdict {
            Verdict::Detected => counts.detected += 1,
            Verdict::Harmless => counts.harmless += 1,
            Verdict::Discarded => counts.discarded += 1,
        }
        Ok(())
    }

    fn lay_out(&mut self, change: Change) -> io::Result<()> {
        restore(&self.data, &self.subject.data, &mut self.buffer)?;
        let lock_path = lock_path(&self.path);
        let Some(lock) = &self.subject.lock else {
            return match std::fs::remove_file(lock_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => apply(&self.data, &self.subject.data, change),
            };
        };
        let lock_file =
            File::options().read(true).write(true).create(true).truncate(false).open(lock_path)?;
        restore(&lock_file, lock, &mut self.buffer)?;
        match self.subject.part.changes_lock() {
            true => apply(&lock_file, lock, change),
            false => apply(&self.data, &self.subject.data, change),
        }
    }
}

/// Writes what differs from `bytes`.
fn restore(file: &File, bytes: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    let len = file.metadata()?.len();
    if len != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    buffer.resize(bytes.len(), 0);
    file.read_exact_at(buffer, 0)?;
    for (index, (has, wants)) in buffer.chunks(BLOCK).zip(bytes.chunks(BLOCK)).enumerate() {
        if has != wants {
            file.write_all_at(wants, (index * BLOCK) as u64)?;
        }
    }
    Ok(())
}

fn judge(path: &Path, subject: &Subject, change: Change, sequel: Sequel) -> Result<(Verdict, bool), Broken> {
    let Ok(env) = open(path, options()) else { return Ok((Verdict::Detected, false)) };
    let recovery = env.recovery();
    // An empty lock file is as good as none, and of what lay in one that is lost nobody knows.
    let is_lost = subject.part == Part::LockOfTheDead && change == Change::Cut { len: 0 };
    let says_so = recovery.passed_over.is_some() || recovery.refused_relaxed.is_some() || is_lost;
    let (verdict, stands) = {
        let Ok(txn) = env.read() else { return Ok((Verdict::Detected, false)) };
        match holds(&txn, &subject.newest) {
            Ok(()) => (Verdict::Harmless, &subject.newest),
            Err(newest) => {
                let found: Vec<_> = subject.before.iter().map(|state| holds(&txn, state)).collect();
                match found.iter().position(Result::is_ok) {
                    Some(index) if says_so => (Verdict::Discarded, &subject.before[index]),
                    Some(_) => return Err("a commit before stands, and nobody is told".to_string()),
                    // A page that cannot be read says so; anything else is an answer that is wrong.
                    None if [Err(newest.clone())].iter().chain(&found).any(is_corrupt) => {
                        (Verdict::Detected, &subject.newest)
                    }
                    None => return Err(format!("a wrong answer: {newest}")),
                }
            }
        }
    };
    // Free space may be hurt where no reader looks; the check may say so or fail, and either answer is right.
    let _ = env.check(|_| ());
    let took_a_commit = sequel != Sequel::None && write(&env).is_ok();
    if matches!(verdict, Verdict::Detected) {
        return Ok((verdict, took_a_commit));
    }
    let mut state = stands.clone();
    if took_a_commit {
        let main = state.tables.entry(String::new()).or_default();
        main.entries.insert(AFTER.to_vec(), AFTER.to_vec().into());
        still_holds(&env, &state).map_err(|broken| format!("after a commit: {broken}"))?;
    }
    if took_a_commit && sequel == Sequel::Reopening {
        // They may refuse, and do no harm.
        let _ = env.space().and_then(|_| env.space_map(100));
        let _ = env.defragment(&Defragment::default(), |_| true);
        let _ = env.trim();
        drop(env);
        match open(path, options()) {
            Ok(env) => still_holds(&env, &state).map_err(|broken| format!("after reopening: {broken}"))?,
            Err(error) => return Err(format!("after reopening: {error}")),
        }
    }
    Ok((verdict, took_a_commit))
}

/// Whether a comparison went well up to a page that says that it is corrupt.
fn is_corrupt(comparison: &Result<(), Broken>) -> bool {
    comparison.as_ref().is_err_and(|broken| broken.contains("corrupt"))
}

fn write(env: &Env) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    txn.main().put(AFTER, AFTER)?;
    txn.commit().map(drop)
}

fn still_holds(env: &Env, state: &State) -> Result<(), Broken> {
    let txn = env.read().map_err(said("a read cannot begin"))?;
    match holds(&txn, state) {
        Err(broken) if !broken.contains("corrupt") => Err(broken),
        _ => Ok(()),
    }
}
