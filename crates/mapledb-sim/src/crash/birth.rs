//! Crashes while a file is made: after any effect of its creation there is no file, or a whole one; and once creation
//! has returned, the file is there.
//!
//! A name is durable when its directory has been synced after it was given; until then it may be there or not. What the
//! file holds under that name is what was synced before it was named, or, were it not synced, anything.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mapledb_os::{Cut, Effect, Observer};

use crate::disk::{Bytes, Disk};

/// A moment of a creation.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The file, if it has its name.
    pub file: Option<Disk>,
    /// Whether a crash of the system may leave no file of this name.
    pub may_be_absent: bool,
    /// What was happening.
    pub label: String,
}

/// Watches the creation of a file.
pub struct Cradle {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    is_synced: bool,
    is_named: bool,
    is_name_synced: bool,
    /// Effects until everything is cut off.
    cut_after: Option<u32>,
    moments: Vec<Moment>,
}

impl Cradle {
    /// Watches the creation of the file at `path`, and cuts it off after so many effects.
    pub fn new(path: &Path, cut_after: Option<u32>) -> Cradle {
        Cradle { path: path.to_path_buf(), inner: Mutex::new(Inner { cut_after, ..Inner::default() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the moment at which creation has returned, and answers all of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn moments(&self) -> io::Result<Vec<Moment>> {
        let mut inner = self.inner();
        inner.note(&self.path, "after creation".to_string())?;
        Ok(std::mem::take(&mut inner.moments))
    }

    /// Whether creation was cut off.
    pub fn was_cut(&self) -> bool {
        self.inner().cut_after == Some(0)
    }
}

impl Inner {
    fn note(&mut self, path: &Path, label: String) -> io::Result<()> {
        let file = match self.is_named {
            false => None,
            true => {
                let mut disk = match self.is_synced {
                    true => Disk::synced(&Bytes::of(&std::fs::read(path)?)),
                    false => Disk::synced(&Bytes::default()),
                };
                disk.observe_file(&File::open(path)?, &mut Vec::new())?;
                Some(disk)
            }
        };
        self.moments.push(Moment { file, may_be_absent: !self.is_name_synced, label });
        Ok(())
    }
}

/// Whether an effect belongs to the making of a file: what follows happens to one that is there.
fn is_of_creation(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Create { .. }
            | Effect::Grow { .. }
            | Effect::WriteZeros { .. }
            | Effect::Fill { .. }
            | Effect::SyncFile { .. }
            | Effect::Link
            | Effect::Rename
            | Effect::Unlink
            | Effect::SyncDir
    )
}

impl Observer for Cradle {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        if !is_of_creation(effect) {
            return Ok(());
        }
        let mut inner = self.inner();
        match &mut inner.cut_after {
            Some(0) => return Err(Cut::error()),
            Some(more) => *more -= 1,
            None => {}
        }
        inner.note(&self.path, format!("before {effect:?}"))
    }

    fn after(&self, effect: &Effect, ok: bool) {
        if !is_of_creation(effect) || !ok {
            return;
        }
        let mut inner = self.inner();
        match effect {
            Effect::Grow { .. } | Effect::WriteZeros { .. } | Effect::Fill { .. } => inner.is_synced = false,
            Effect::SyncFile { .. } => inner.is_synced = true,
            Effect::Link | Effect::Rename => inner.is_named = true,
            Effect::SyncDir => inner.is_name_synced = inner.is_named,
            _ => {}
        }
        // What cannot be read now is said by the next note.
        let _ = inner.note(&self.path, format!("after {effect:?}"));
    }
}
