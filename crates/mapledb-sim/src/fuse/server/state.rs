//! What the recording file system holds, and which of its operations fail.

use std::collections::BTreeMap;
use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::SmallRng;

use super::{FIRST_INO, Fault, Operation, ROOT_INO};
use crate::fuse::platter::Place;
use crate::fuse::trace::{Event, FileNo, Volume};

/// What the file system holds and has seen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) volume: Volume,
    pub(super) about: Vec<About>,
    pub(super) trace: Vec<Event>,
    pub(super) place: Place,
    pub(super) fault: Option<Fault>,
    pub(super) victim: Option<u32>,
    pub(super) faults_met: u64,
    pub(super) operations: [u64; 2],
    /// Whether a failed flush may leave a block half written.
    pub(super) tears: bool,
    pub(super) rng: SmallRng,
}

/// A file's attributes.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl State {
    pub(super) fn happens(&mut self, event: Event) -> Place {
        let place = self.place;
        self.place += 1;
        self.volume.apply(place, &event);
        self.trace.push(event);
        place
    }

    /// Whether this operation fails, and how.
    pub(super) fn fails(&mut self, operation: Operation) -> Option<Fault> {
        self.operations[operation as usize] += 1;
        let fault = self.fault.as_mut().filter(|fault| fault.operation == operation || fault.for_good)?;
        if fault.after > 0 {
            fault.after -= u64::from(fault.operation == operation);
            return None;
        }
        let now = *fault;
        if let Some(victim) = self.victim.take().filter(|_| now.kills) {
            // It may have gone by itself.
            let _ = kill(Pid::from_raw(victim as i32), Signal::SIGKILL);
        }
        self.faults_met += 1;
        if !now.for_good {
            self.fault = None;
        }
        Some(now)
    }

    pub(super) fn file(&self, ino: INodeNo) -> Option<FileNo> {
        let file = ino.0.checked_sub(FIRST_INO)?;
        (file < self.volume.files.len() as u64).then_some(file as FileNo)
    }

    pub(super) fn attributes(&self, file: FileNo) -> FileAttr {
        let about = &self.about[file as usize];
        let len = self.volume.files[file as usize].len_bytes();
        let links =
            self.volume.names.last().map_or(0, |names| names.values().filter(|no| **no == file).count());
        FileAttr {
            ino: ino_of(file),
            size: len,
            blocks: len.div_ceil(512),
            kind: FileType::RegularFile,
            perm: (about.mode & 0o7777) as u16,
            nlink: links as u32,
            uid: about.uid,
            gid: about.gid,
            ..plain(ROOT_INO)
        }
    }

    pub(super) fn names(&self) -> BTreeMap<String, FileNo> {
        self.volume.names.last().cloned().unwrap_or_default()
    }
}

pub(super) fn ino_of(file: FileNo) -> INodeNo {
    INodeNo(FIRST_INO + u64::from(file))
}

pub(super) fn plain(ino: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: if ino == ROOT_INO { FileType::Directory } else { FileType::RegularFile },
        perm: if ino == ROOT_INO { 0o755 } else { 0o644 },
        nlink: if ino == ROOT_INO { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
