//! Attaching: who is first, who joins, and who is refused, so that all meet in one lock file (I13).
//!
//! | data file's universe byte | lock file | shared opener |
//! |---|---|---|
//! | nobody's | none, stale, of another file or version, unclean | is *first*: learns what was left, writes it anew |
//! | nobody's | with living blocks (the data file was replaced under them) | refused: lock file of another data file |
//! | shared by others | ready, bound to this file, with living blocks | joins |
//! | shared by others | of another layout version, with living blocks | refused: other version |
//! | shared by others | no living blocks, or bound to another file | refused: in use through another lock file |
//! | held by one alone | any | refused: held exclusively |
//!
//! The table is the same for read-only and read-write data files; a read-only descriptor only asks where the other
//! takes. An exclusive opener is first or refused, and keeps the universe byte for itself; it uses the lock file all the
//! same, for that is where relaxed commits outlive a process. Frozen openers need no lock file: they share the frozen byte
//! and want the universe byte free, all others take the universe byte and want the frozen byte free. Each takes its own
//! byte before it looks at the other's, so of two that meet at least one is refused.
//!
//! Whoever is first holds the attach byte until it has written the memory; if it dies before, the next one is
//! first again and finds what it found.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_os::fork::ParentFile;
use mapledb_os::ofd::Kind;
use mapledb_os::sync::Ordering;
use mapledb_os::{Seam, process};

use super::attached::Attached;
use super::blocks;
use super::files::{DataFile, Files, LockFile};
use super::heads::{self, NewHead};
use super::layout::*;
use super::left_behind::{Binding, LeftBehind, store_16};
use super::member::Member;
use super::memory::LockMemory;
use super::{AttachError, MvccError};

type Result<T> = std::result::Result<T, AttachError>;

/// How long a state is looked at again before it is believed: the kernel gives up a dying process's bytes one
/// descriptor after the other.
const GRACE: Duration = Duration::from_millis(250);

/// How a process uses a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With other processes, by way of the lock file.
    Shared,
    /// Alone: no other process may have it open. What outlives the process lies in the lock file, as in shared use.
    Exclusive,
    /// Alone, with a file that nobody else knows of and that does not outlive this use under its name: no lock file.
    Draft,
    /// Together with other frozen readers, while nobody writes. No lock file is needed.
    Frozen,
    /// As frozen, with a file in memory that has no name and that nobody can write to: there is nothing to lock.
    Image,
}

/// The data file to attach to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// A descriptor of it. Locks on its bytes at 2^61 are taken through another description.
    pub data: BorrowedFd<'a>,
    /// Its path, symbolic links resolved.
    pub path: &'a Path,
    /// The identity in its meta.
    pub identity: [u8; 16],
    /// Whether the descriptor is open for writing.
    pub is_writable: bool,
    /// What sees the effects on the lock file.
    pub seam: &'a Seam,
}

/// The path of a data file's lock file.
pub fn lock_path(data: &Path) -> PathBuf {
    let mut name = OsString::from(data);
    name.push(LOCK_SUFFIX);
    PathBuf::from(name)
}

/// What attaching led to.
#[derive(Debug)]
pub enum Attach {
    /// Nobody else is there: recover, then [`First::finish`].
    First(Box<First>),
    /// Others are there, and so is everything that is shared.
    Joined(Attached),
}

/// Attaches to a data file, waiting at most `wait` for others that are coming or going.
pub fn attach(target: &Target<'_>, mode: Mode, wait: Duration) -> Result<Attach> {
    let data = if mode == Mode::Image { DataFile::of_image(target) } else { DataFile::of(target) }?;
    let binding = Binding { identity: target.identity, data: data.id };
    match mode {
        Mode::Shared | Mode::Exclusive => attach_by_lock_file(data, binding, mode, wait),
        Mode::Draft => attach_draft(data, binding),
        Mode::Frozen => attach_frozen(data, binding),
        Mode::Image => attach_image(data, binding),
    }
}

fn attach_by_lock_file(data: DataFile, binding: Binding, mode: Mode, wait: Duration) -> Result<Attach> {
    if mode == Mode::Exclusive && !data.is_writable {
        return Err(AttachError::NotWritable(data.path.clone()));
    }
    let (lock, to_map) = hold_lock_file(&data, wait)?;
    let memory = LockMemory::of_file(to_map, &lock.path)?;
    // From here on, dropping the lock file's descriptor gives the attach byte up.
    let patience = Instant::now() + GRACE;
    let is_first = loop {
        match stand(&data, &lock, &memory, &binding, mode) {
            Ok(is_first) => break is_first,
            Err(e) if Instant::now() >= patience => return Err(e),
            Err(_) => {
                data.unlock(UNIVERSE_BYTE)?;
                std::thread::sleep(Duration::from_millis(2 + u64::from(process::pid() % 4)));
            }
        }
    };
    let files = Files::new(data, Some(lock));
    if is_first {
        let left = LeftBehind::read(&memory, &binding);
        return Ok(first(memory, files, binding, left, mode));
    }
    let member = Member::join(Arc::new(memory), files)?;
    if let Some(lock) = &member.files.lock {
        lock.release_attach()?;
    }
    Ok(Attach::Joined(Attached::new(member, mode)))
}

/// Opens the lock file, twice, and holds its attach byte; again if the file was replaced in between.
fn hold_lock_file(data: &DataFile, wait: Duration) -> Result<(LockFile, Arc<ParentFile>)> {
    let path = lock_path(&data.path);
    let deadline = Instant::now() + wait;
    loop {
        let lock = LockFile::open_or_create(&path, data)?;
        if !lock.hold_attach(deadline.saturating_duration_since(Instant::now()))? {
            return Err(AttachError::Busy { path, waited: wait });
        }
        if let Some(to_map) = lock.to_map()? {
            return Ok((lock, to_map));
        }
    }
}

/// Takes the universe byte and answers whether this process is first (and holds the byte alone), joins, or is
/// refused. This is the table in the module's head.
fn stand(
    data: &DataFile,
    lock: &LockFile,
    memory: &LockMemory,
    binding: &Binding,
    mode: Mode,
) -> Result<bool> {
    let alone = data.try_alone()?;
    if !alone && mode == Mode::Exclusive {
        return Err(AttachError::HeldShared(data.path.clone()));
    }
    if !alone && !data.try_lock(UNIVERSE_BYTE, Kind::Shared)? {
        return Err(AttachError::HeldExclusively(data.path.clone()));
    }
    if data.is_held_by_another(FROZEN_BYTE)? {
        return Err(AttachError::HeldFrozen(data.path.clone()));
    }
    let (data_path, lock_path) = (data.path.clone(), lock.path.clone());
    let lives = lock.has_living_blocks()?;
    match (alone, lives) {
        (true, false) => return Ok(true),
        (true, true) => {
            return Err(AttachError::LockFileOfAnotherDataFile { data: data_path, lock: lock_path });
        }
        (false, false) => {
            return Err(AttachError::InUseThroughAnotherLockFile { data: data_path, lock: lock_path });
        }
        (false, true) => {}
    }
    let header = memory.header();
    let found = header.layout_version.load(Ordering::Relaxed);
    if header.magic.load(Ordering::Relaxed) == MAGIC && found != LOCK_VERSION {
        return Err(AttachError::OtherVersion { found, ours: LOCK_VERSION });
    }
    if !binding.holds(header) {
        return Err(AttachError::InUseThroughAnotherLockFile { data: data_path, lock: lock_path });
    }
    if !matches!(header.state.load(Ordering::Acquire), STATE_READY | STATE_RESUMED) {
        let what = "processes are attached to a lock file that is not ready";
        return Err(memory.bad(STATE_AT, what).into());
    }
    Ok(false)
}

fn attach_draft(data: DataFile, binding: Binding) -> Result<Attach> {
    if !data.try_alone()? {
        return Err(AttachError::HeldShared(data.path.clone()));
    }
    let files = Files::new(data, None);
    Ok(first(LockMemory::private()?, files, binding, LeftBehind::default(), Mode::Draft))
}

fn attach_frozen(data: DataFile, binding: Binding) -> Result<Attach> {
    if !data.try_lock(FROZEN_BYTE, Kind::Shared)? || data.is_held_by_another(UNIVERSE_BYTE)? {
        return Err(AttachError::HeldShared(data.path.clone()));
    }
    attach_image(data, binding)
}

fn attach_image(data: DataFile, binding: Binding) -> Result<Attach> {
    let files = Files::new(data, None);
    Ok(first(LockMemory::private()?, files, binding, LeftBehind::default(), Mode::Frozen))
}

fn first(memory: LockMemory, files: Files, binding: Binding, left: LeftBehind, mode: Mode) -> Attach {
    Attach::First(Box::new(First { memory, files, binding, left, mode }))
}

/// What recovery found, to begin with.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The head.
    pub head: &'a NewHead,
    /// The txnids in the two metas.
    pub meta_txnids: [u64; 2],
    /// No txnid up to this one is given out again.
    pub last_txnid: u64,
    /// How many pages are known to have blocks.
    pub pages_allocated: u64,
}

/// The first process to attach, alone with the data file until it finishes or is dropped.
pub struct First {
    memory: LockMemory,
    files: Files,
    binding: Binding,
    left: LeftBehind,
    mode: Mode,
}

impl First {
    /// What the last processes left behind.
    pub fn left_behind(&self) -> &LeftBehind {
        &self.left
    }

    /// Writes the shared memory anew and lets others in.
    ///
    /// Until the new head is in place, what was left behind stands: a death in here loses nothing of it, unless
    /// the file was not bound to this data file before.
    pub fn finish(self, start: &Start<'_>) -> Result<Attached> {
        let First { memory, files, binding, left, mode } = self;
        if !(1..NUMBER_MAX).contains(&start.head.txnid()) {
            let (path, txnid) = (files.data.path.clone(), start.head.txnid());
            return Err(MvccError::TxnidOutOfRange { path, txnid }.into());
        }
        let before = if left.is_bound { settle_all(&memory)? } else { bind(&memory, &binding) };
        begin_with(&memory, before + 1, start, &left);
        let member = Member::join(Arc::new(memory), files)?;
        if mode == Mode::Shared {
            // Converting to a weaker lock cannot be refused.
            member.files.data.try_lock(UNIVERSE_BYTE, Kind::Shared)?;
        }
        if let Some(lock) = &member.files.lock {
            lock.release_attach()?;
        }
        Ok(Attached::new(member, mode))
    }
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("First").field("left", &self.left).field("mode", &self.mode).finish()
    }
}

/// Cleans the blocks of a file whose processes are all gone. Answers its newest sequence number.
fn settle_all(memory: &LockMemory) -> Result<u64> {
    let header = memory.header();
    let listed = memory.blocks()?;
    // The file may have lost its end, as in a crash of the system: what it does not hold is nobody's.
    let held = (0..listed).find(|block| memory.block(*block).is_err()).unwrap_or(listed);
    header.blocks.store(held as u32, Ordering::Relaxed);
    for block in 0..held {
        blocks::settle(memory, block)?;
    }
    let head = header.head_seq.load(Ordering::Relaxed);
    let published = header.published_seq.load(Ordering::Relaxed);
    Ok(if head < NUMBER_MAX && published <= head { head } else { 0 })
}

/// Makes the file this data file's, whatever it held. Answers the sequence number to go on from.
fn bind(memory: &LockMemory, binding: &Binding) -> u64 {
    let header = memory.header();
    header.state.store(STATE_NEW, Ordering::Release);
    header.blocks.store(0, Ordering::Relaxed);
    header.next_ticket.store(0, Ordering::Relaxed);
    header.last_txnid.store(0, Ordering::Relaxed);
    header.wake.store(0, Ordering::Relaxed);
    memory.counters().reset();
    binding.store(header);
    0
}

fn begin_with(memory: &LockMemory, seq: u64, start: &Start<'_>, left: &LeftBehind) {
    let header = memory.header();
    heads::write(memory, seq, start.head);
    let last_txnid = start.last_txnid.max(start.head.txnid());
    header.last_txnid.store(last_txnid, Ordering::Relaxed);
    header.durable_txnid.store(start.head.durable_txnid, Ordering::Relaxed);
    header.durable_meta_checksum.store(start.head.durable_meta_checksum, Ordering::Relaxed);
    for (word, txnid) in header.meta_txnid.iter().zip(start.meta_txnids) {
        word.store(txnid, Ordering::Relaxed);
    }
    store_16(&header.boot_id, process::boot_id());
    header.wake_waiters.store(0, Ordering::Relaxed);
    header.writer.store(WriterWord::FREE.0, Ordering::Relaxed);
    header.sync.store(WriterWord::FREE.0, Ordering::Relaxed);
    header.flight_txnid.store(0, Ordering::Relaxed);
    header.pages_allocated.store(start.pages_allocated, Ordering::Relaxed);
    header.poisoned.store(0, Ordering::Relaxed);
    // The head before the publication: a death in between must not leave a publication after the head.
    header.head_seq.store(seq, Ordering::Release);
    header.published_seq.store(seq, Ordering::Release);
    let state = if left.is_clean { STATE_RESUMED } else { STATE_READY };
    header.state.store(state, Ordering::Release);
}
