//! Going: who is last, and what it leaves behind.

use std::sync::Arc;
use std::time::Duration;

use mapledb_os::ofd::Kind;
use mapledb_os::sync::Ordering;

use super::attach::Mode;
use super::attached::Attached;
use super::files::DataFile;
use super::layout::*;
use super::member::Member;
use super::{AttachError, MvccError};

/// A process that is about to go. Nobody else comes or goes until this is dropped, which gives everything back.
#[derive(Debug)]
pub struct Detaching {
    member: Arc<Member>,
    is_last: bool,
}

impl Detaching {
    /// Whether nobody else has the data file open: then a last sync is due, and [`Detaching::mark_clean`] after it.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Notes in the lock file that nothing was left undone. Changes nothing unless this process is the last.
    pub fn mark_clean(&self) {
        if self.is_last && !self.member.is_forked() {
            self.member.memory.header().state.store(STATE_CLEAN, Ordering::Release);
        }
    }
}

impl Drop for Detaching {
    fn drop(&mut self) {
        self.member.leave();
    }
}

impl Attached {
    /// Begins to go, waiting at most `wait` for others that come or go. Refused while this process has readers or
    /// a writer; the caller sees to it that no thread begins either from now on.
    pub fn begin_detach(&self, wait: Duration) -> std::result::Result<Detaching, AttachError> {
        let member = &self.member;
        member.check()?;
        let at_work = member.own_pins()? + usize::from(member.holds_writer());
        if at_work > 0 {
            return Err(MvccError::StillInUse(at_work).into());
        }
        let Some(lock) = &member.files.lock else {
            let is_last = self.mode == Mode::Draft;
            return Ok(Detaching { member: Arc::clone(member), is_last });
        };
        if !lock.hold_attach(wait)? {
            return Err(AttachError::Busy { path: lock.path.clone(), waited: wait });
        }
        let is_last = is_alone(&member.files.data)?;
        Ok(Detaching { member: Arc::clone(member), is_last })
    }
}

/// Whether the universe byte can be had alone. A refused conversion leaves it shared.
fn is_alone(data: &DataFile) -> std::result::Result<bool, MvccError> {
    if data.is_writable {
        return data.try_lock(UNIVERSE_BYTE, Kind::Exclusive);
    }
    Ok(!data.is_held_by_another(UNIVERSE_BYTE)?)
}
