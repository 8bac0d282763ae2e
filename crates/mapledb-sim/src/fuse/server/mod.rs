//! The recording file system: one directory, a handful of files in memory, and a log of everything that reaches it.
//!
//! It is mounted in FUSE's plain mode: the kernel keeps a page cache, so a store through a shared map arrives here as a
//! write when the kernel writes the page back, at `msync` or before; a `write` arrives at once. Locks stay in the kernel.
//! Nothing is dropped: what a crash would take is decided later, from the log.
//!
//! One file, `journal`, is not a file: each write to it is a line of the log.
//!
//! It can be told to fail the n-th write or flush from now on.

mod state;

use std::ffi::OsStr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::state::{About, State, ino_of, plain};
use super::platter::Place;
use super::trace::{Event, FileNo, Volume};
use crate::disk::SECTOR_BYTES;

/// The name of the file that is the log's.
pub const JOURNAL: &str = "journal";

const ROOT_INO: u64 = 1;
const JOURNAL_INO: u64 = 2;
const FIRST_INO: u64 = 16;
/// Nobody but the kernel changes anything, so it may remember everything.
const TTL: Duration = Duration::from_secs(3600);
/// What the file system says it has room for.
const CAPACITY_BLOCKS: u64 = 1 << 20;
/// The longest that a flush takes.
const FLUSH_MICROS_MAX: u64 = 400;

/// What is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Operation {
    /// A write, from the page cache or not.
    Write,
    /// A flush of a file.
    Flush,
}

/// A failure that is to come.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// How many of them go well before.
    pub after: u64,
    /// How the first that fails, fails.
    pub errno: i32,
    /// Whether all later ones fail as well, until they are told to stop.
    pub for_good: bool,
    /// Whether the [victim](Recording::set_victim) dies before it hears of the failure.
    pub kills: bool,
}

/// A flush that has begun.
struct Flush {
    at: Instant,
    file: FileNo,
    begun: Place,
    with_length: bool,
    reply: ReplyEmpty,
}

/// What the harness sees of the file system while the kernel has it.
#[derive(Clone, Debug)]
pub struct Recording(Arc<Mutex<State>>);

impl Recording {
    /// An empty file system. What it draws, it draws from `seed`.
    pub fn new(seed: u64, tears: bool) -> Recording {
        Recording(Arc::new(Mutex::new(State {
            volume: Volume::default(),
            about: Vec::new(),
            trace: Vec::new(),
            place: 0,
            fault: None,
            victim: None,
            faults_met: 0,
            operations: [0; 2],
            tears,
            rng: SmallRng::seed_from_u64(seed),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log so far, which starts anew.
    pub fn take_trace(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().trace)
    }

    /// How many events the log has had.
    pub fn place(&self) -> Place {
        self.state().place
    }

    /// The lines that were written to the journal.
    pub fn lines(&self) -> String {
        let state = self.state();
        state
            .trace
            .iter()
            .filter_map(|event| if let Event::Line { text } = event { Some(&text[..]) } else { None })
            .collect()
    }

    /// A copy of what there is now.
    pub fn volume(&self) -> Volume {
        self.state().volume.clone()
    }

    /// Writes a line to the log.
    pub fn say(&self, text: &str) {
        self.state().happens(Event::Line { text: format!("{text}\n") });
    }

    /// Makes a file that is durable at once: these bytes, and zeros up to a length.
    pub fn make(&self, name: &str, bytes: &[u8], len: u64) -> INodeNo {
        let mut state = self.state();
        let file = make(&mut state, 0o600, 0, 0);
        state.happens(Event::Name { name: name.to_string(), file });
        state.happens(Event::Write { file, offset: 0, bytes: bytes.into() });
        state.happens(Event::Resize { file, len });
        let begun = state.place;
        state.happens(Event::Flushed { file, begun, with_length: true, ok: true });
        state.happens(Event::NamesFlushed);
        ino_of(file)
    }

    /// Lets an operation fail, or none any more.
    pub fn fail(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
    }

    /// Names the process that is killed by a fault that kills.
    pub fn set_victim(&self, pid: u32) {
        self.state().victim = Some(pid);
    }

    /// How many operations have failed.
    pub fn faults_met(&self) -> u64 {
        self.state().faults_met
    }

    /// How many operations of a kind there have been.
    pub fn operations(&self, operation: Operation) -> u64 {
        self.state().operations[operation as usize]
    }

    /// The inode of a name.
    pub fn ino(&self, name: &str) -> Option<INodeNo> {
        self.state().volume.find(name).map(ino_of)
    }

    /// The file system for the kernel.
    pub(super) fn server(&self) -> Server {
        let (later, flushes) = mpsc::channel::<Flush>();
        let recording = self.clone();
        // It ends when the server goes.
        std::thread::spawn(move || {
            for flush in flushes {
                std::thread::sleep(flush.at.saturating_duration_since(Instant::now()));
                recording.ends(flush);
            }
        });
        Server { recording: self.clone(), later: Mutex::new(later) }
    }

    fn ends(&self, flush: Flush) {
        let Flush { file, begun, with_length, reply, .. } = flush;
        self.state().happens(Event::Flushed { file, begun, with_length, ok: true });
        reply.ok();
    }
}

fn make(state: &mut State, mode: u32, uid: u32, gid: u32) -> FileNo {
    let file = state.volume.files.len() as FileNo;
    state.about.push(About { mode, uid, gid });
    state.happens(Event::Make { file });
    file
}

/// What the kernel talks to.
pub(super) struct Server {
    recording: Recording,
    later: Mutex<mpsc::Sender<Flush>>,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.recording.state()
    }
}

fn fuse_error(errno: i32) -> Errno {
    Errno::from_i32(errno)
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.state();
        if name == JOURNAL {
            return reply.entry(&TTL, &plain(JOURNAL_INO), Generation(0));
        }
        match name.to_str().and_then(|name| state.volume.find(name)) {
            Some(file) => reply.entry(&TTL, &state.attributes(file), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let state = self.state();
        match (ino.0, state.file(ino)) {
            (ROOT_INO | JOURNAL_INO, _) => reply.attr(&TTL, &plain(ino.0)),
            (_, Some(file)) => reply.attr(&TTL, &state.attributes(file)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let Some(file) = state.file(ino) else { return reply.attr(&TTL, &plain(ino.0)) };
        let about = &mut state.about[file as usize];
        about.mode = mode.unwrap_or(about.mode);
        about.uid = uid.unwrap_or(about.uid);
        about.gid = gid.unwrap_or(about.gid);
        if let Some(len) = size {
            state.happens(Event::Resize { file, len });
        }
        reply.attr(&TTL, &state.attributes(file));
    }

    fn create(
        &self,
        request: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let Some(name) = name.to_str() else { return reply.error(Errno::EINVAL) };
        let mut state = self.state();
        if name == JOURNAL || state.volume.find(name).is_some() {
            return reply.error(Errno::EEXIST);
        }
        let file = make(&mut state, mode & !umask, request.uid(), request.gid());
        state.happens(Event::Name { name: name.to_string(), file });
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        reply.created(&TTL, &state.attributes(file), Generation(0), FileHandle(0), flags);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match ino.0 {
            JOURNAL_INO => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH,
            _ => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
        };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state();
        let Some(file) = state.file(ino) else { return reply.data(&[]) };
        let platter = &state.volume.files[file as usize];
        let len = platter.len_bytes().saturating_sub(offset).min(u64::from(size));
        let mut bytes = vec![0; len as usize];
        platter.read(offset, &mut bytes);
        drop(state);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        let Some(file) = state.file(ino) else {
            state.happens(Event::Line { text: String::from_utf8_lossy(bytes).into_owned() });
            return reply.written(bytes.len() as u32);
        };
        if let Some(fault) = state.fails(Operation::Write) {
            // Some sectors may have got there all the same.
            for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if state.tears && state.rng.random_ratio(1, 4) {
                    let offset = offset + (index * SECTOR_BYTES) as u64;
                    state.happens(Event::Write { file, offset, bytes: sector.into() });
                }
            }
            return reply.error(fuse_error(fault.errno));
        }
        state.happens(Event::Write { file, offset, bytes: bytes.into() });
        reply.written(bytes.len() as u32);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let mut state = self.state();
        let Some(file) = state.file(ino) else { return reply.ok() };
        let begun = state.happens(Event::FlushBegins { file });
        let with_length = !datasync;
        if let Some(fault) = state.fails(Operation::Flush) {
            let State { volume, rng, tears, .. } = &mut *state;
            volume.files[file as usize].made_up(*tears, rng);
            state.happens(Event::Flushed { file, begun, with_length, ok: false });
            return reply.error(fuse_error(fault.errno));
        }
        let micros = if state.rng.random() { state.rng.random_range(0..FLUSH_MICROS_MAX) } else { 0 };
        drop(state);
        let flush =
            Flush { at: Instant::now() + Duration::from_micros(micros), file, begun, with_length, reply };
        if micros == 0 {
            return self.recording.ends(flush);
        }
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(mpsc::SendError(flush)) = later.send(flush) {
            self.recording.ends(flush);
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const ZEROES: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        const KNOWN: i32 = ZEROES | libc::FALLOC_FL_KEEP_SIZE;
        let mut state = self.state();
        let Some(file) = state.file(ino).filter(|_| mode & !KNOWN == 0) else {
            return reply.error(Errno::EOPNOTSUPP);
        };
        if mode & ZEROES != 0 {
            state.happens(Event::Zero { file, offset, len });
        }
        let end = offset.saturating_add(len);
        if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && end > state.volume.files[file as usize].len_bytes() {
            state.happens(Event::Resize { file, len: end });
        }
        reply.ok();
    }

    fn link(&self, _: &Request, ino: INodeNo, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        match (state.file(ino), name.to_str()) {
            (Some(_), Some(name)) if state.volume.find(name).is_some() => reply.error(Errno::EEXIST),
            (Some(file), Some(name)) => {
                state.happens(Event::Name { name: name.to_string(), file });
                reply.entry(&TTL, &state.attributes(file), Generation(0));
            }
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.state();
        match name.to_str().filter(|name| state.volume.find(name).is_some()) {
            Some(name) => {
                state.happens(Event::Unname { name: name.to_string() });
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (Some(from), Some(to)) = (name.to_str(), new_name.to_str()) else {
            return reply.error(Errno::EINVAL);
        };
        let mut state = self.state();
        let keeps = flags == RenameFlags::RENAME_NOREPLACE;
        match state.volume.find(from) {
            _ if !flags.is_empty() && !keeps => reply.error(Errno::EINVAL),
            None => reply.error(Errno::ENOENT),
            Some(_) if keeps && state.volume.find(to).is_some() => reply.error(Errno::EEXIST),
            Some(_) => {
                state.happens(Event::Rename { from: from.to_string(), to: to.to_string() });
                reply.ok();
            }
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let names = self.state().names();
        let journal = std::iter::once((JOURNAL.to_string(), INodeNo(JOURNAL_INO)));
        let all = journal.chain(names.into_iter().map(|(name, file)| (name, ino_of(file))));
        for (index, (name, ino)) in all.enumerate().skip(offset as usize) {
            if reply.add(ino, index as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().happens(Event::NamesFlushed);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = CAPACITY_BLOCKS / 2;
        reply.statfs(CAPACITY_BLOCKS, free, free, 1 << 16, 1 << 15, 4096, 255, 4096);
    }
}
