//! `SIGBUS` in a map of ours, turned into a flag: for who asks for it, once in a process.
//!
//! A load or store that the kernel cannot serve (the medium failed, another program cut the file off, the disk is full
//! under a block shared by reflink) ends the process by `SIGBUS`. With [`catch`] called and the map registered
//! ([`Guard`]), the handler puts a page of private memory over the one that failed, raises the map's [`Alarm`] and
//! returns; the load or store is done again and succeeds. The page holds zeros; under a store it holds what the file can
//! still tell of it, so that whoever was in the middle of changing it does not meet half of it gone. Whoever used the map asks the alarm before it believes what it read. The
//! stack is never unwound from the handler: the code that was interrupted holds references and locks that know nothing
//! of it.
//!
//! What the handler may do: look at a fixed table of atomics, and make three system calls. It takes no lock, allocates
//! nothing, and keeps `errno`.
//!
//! | the signal | what is done |
//! |---|---|
//! | raised by the kernel for an address in a registered map | as above |
//! | for another address, by another process, or where the page cannot be put | the handler that was there before is called; if there was none, the process ends as it would have |
//!
//! Not done here: maps of lock files. Their bytes are shared by processes, and zeros of one's own in their place would
//! let two writers in.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{OsError, Result};
use crate::file::DataFile;
use crate::fork::generation;
use crate::limits::page_size;

/// Maps that can be registered at once: two for each of 512 environments.
const RANGES_MAX: usize = 1024;

/// What has happened to the maps of one file. Asking costs a load.
#[derive(Debug, Default)]
pub struct Alarm {
    faults: AtomicU32,
    first_offset: AtomicU64,
    has_lost_store: AtomicBool,
}

/// The first fault in the maps of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The offset in the file of the kernel page that failed first.
    pub offset: u64,
    /// How many kernel pages have failed.
    pub pages: u32,
    /// Whether any of them failed in the writable map, so that stores went nowhere.
    pub has_lost_store: bool,
}

impl Alarm {
    /// How many faults there have been. Cost: a relaxed load.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// As [`Alarm::count`], after everything the caller has read from the maps so far.
    #[inline(always)]
    pub fn count_after_reads(&self) -> u32 {
        // The handler runs on the thread that faulted, so it is the compiler alone that must keep the order.
        compiler_fence(Ordering::SeqCst);
        self.count()
    }

    /// The first fault, if there has been one.
    pub fn fault(&self) -> Option<Fault> {
        let pages = self.faults.load(Ordering::Acquire);
        (pages > 0).then(|| Fault {
            offset: self.first_offset.load(Ordering::Relaxed),
            pages,
            has_lost_store: self.has_lost_store.load(Ordering::Relaxed),
        })
    }

    /// Called in the handler.
    fn raise(&self, offset: u64, is_writable: bool) {
        if self.faults.load(Ordering::Relaxed) == 0 {
            self.first_offset.store(offset, Ordering::Relaxed);
        }
        if is_writable {
            self.has_lost_store.store(true, Ordering::Relaxed);
        }
        self.faults.fetch_add(1, Ordering::Release);
    }
}

/// A registered map. `end` is 0 where there is none, and is the first to go and the last to come.
struct Range {
    is_taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    is_writable: AtomicBool,
    /// The mapped file.
    fd: AtomicI32,
    generation: AtomicU64,
    alarm: AtomicPtr<Alarm>,
}

static RANGES: [Range; RANGES_MAX] = [const {
    Range {
        is_taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_writable: AtomicBool::new(false),
        fd: AtomicI32::new(-1),
        generation: AtomicU64::new(0),
        alarm: AtomicPtr::new(std::ptr::null_mut()),
    }
}; RANGES_MAX];

/// What `SIGBUS` did before; set before the handler is installed.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
/// The size of a kernel page: the handler must not ask for it.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// A map whose faults raise an alarm, as long as this lives. Drop it before the map is unmapped.
#[derive(Debug)]
pub struct Guard {
    entry: usize,
    /// Keeps the alarm alive for the handler.
    _alarm: Arc<Alarm>,
}

impl Guard {
    /// Registers the `len` bytes at `start`, which map `file` from its beginning.
    pub(crate) fn register(
        start: *const u8,
        len: usize,
        is_writable: bool,
        alarm: &Arc<Alarm>,
        file: &DataFile,
    ) -> Result<Guard> {
        let take = |range: &Range| {
            range.is_taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let Some(entry) = RANGES.iter().position(take) else {
            let error = io::Error::from_raw_os_error(libc::EMFILE);
            return Err(OsError::new("catch faults in the map of", file.path(), error));
        };
        let range = &RANGES[entry];
        range.start.store(start as usize, Ordering::Relaxed);
        range.is_writable.store(is_writable, Ordering::Relaxed);
        range.fd.store(file.as_file().as_raw_fd(), Ordering::Relaxed);
        range.generation.store(generation(), Ordering::Relaxed);
        range.alarm.store(Arc::as_ptr(alarm).cast_mut(), Ordering::Relaxed);
        range.end.store(start as usize + len, Ordering::Release);
        Ok(Guard { entry, _alarm: Arc::clone(alarm) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let range = &RANGES[self.entry];
        range.end.store(0, Ordering::Release);
        range.alarm.store(std::ptr::null_mut(), Ordering::Release);
        range.is_taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, unless this process has it. It stays until the process ends. Two system calls the first time.
///
/// # Errors
/// The system refuses it.
pub fn catch() -> Result<()> {
    static INSTALLING: Mutex<bool> = Mutex::new(false);
    let mut is_installed = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_installed {
        return Ok(());
    }
    PAGE_BYTES.store(page_size() as usize, Ordering::Relaxed);
    install().map_err(|e| OsError::new("catch SIGBUS in", Path::new("this process"), e))?;
    *is_installed = true;
    Ok(())
}

fn install() -> io::Result<()> {
    let previous = current_action()?;
    let _ = PREVIOUS.set(previous);
    let mut action = default_action();
    action.sa_sigaction = on_sigbus as *const () as usize;
    // On the alternate stack where the thread has one: the fault may have come deep in the caller's.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    set_action(&action)
}

fn current_action() -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; the pointer is to room for the answer, which outlives the call.
    let answer = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), action.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed is a valid value of this struct, and the call has filled it.
    Ok(unsafe { action.assume_init() })
}

/// `SIG_DFL`, an empty mask, no flags. Safe in a handler.
fn default_action() -> libc::sigaction {
    // SAFETY: a struct of integers, an array of integers, and an optional function: all may be zero.
    unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() }
}

/// Safe in a handler.
fn set_action(action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `action` is a whole struct that outlives the call; a handler in it is a function of this program with
    // the signature its flags say.
    let answer = unsafe { libc::sigaction(libc::SIGBUS, action, std::ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The handler.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let kept = errno();
    // SAFETY: the kernel hands a handler with SA_SIGINFO a whole `siginfo_t` that lives until it returns.
    let about = unsafe { &*info };
    let code = about.si_code;
    // SAFETY: as above; the field is read as a number, and only means something for codes of a fault.
    let address = unsafe { about.si_addr() } as usize;
    let is_fault = [libc::BUS_ADRERR, libc::BUS_OBJERR, libc::BUS_MCEERR_AR].contains(&code);
    if !(is_fault && put_page(address)) {
        chain(signal, code, info, context);
    }
    set_errno(kept);
}

/// Puts a page over the one at `address`, if it lies in a registered map. Answers whether it did.
fn put_page(address: usize) -> bool {
    let Some((range, start)) = RANGES.iter().find_map(|range| holds(range, address)) else { return false };
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let page = address & !(page_bytes - 1);
    let is_writable = range.is_writable.load(Ordering::Relaxed);
    let alarm = range.alarm.load(Ordering::Acquire);
    // SAFETY: the thread that faulted uses the map, so its owner keeps it, the registration and the alarm.
    let Some(alarm) = (unsafe { alarm.as_ref() }) else { return false };
    // Raised before the page is there: no other thread may see it and find the alarm silent.
    alarm.raise((page - start) as u64, is_writable);
    let access = if is_writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory, at an address that the system chooses.
    let new = unsafe { libc::mmap(std::ptr::null_mut(), page_bytes, access, flags, -1, 0) };
    if new == libc::MAP_FAILED {
        return false;
    }
    if is_writable {
        let fd = range.fd.load(Ordering::Relaxed);
        // SAFETY: the memory is new, ours alone and as long; what the file cannot tell stays zero.
        unsafe { libc::pread(fd, new, page_bytes, (page - start) as libc::off_t) };
    }
    let over = page as *mut c_void;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: moves the new page over one of a mapping of ours, in which a load or store has just failed; it is as
    // accessible. Slices over it stay valid; that their bytes may change is what the alarm tells.
    let put = unsafe { libc::mremap(new, page_bytes, page_bytes, flags, over) };
    put != libc::MAP_FAILED
}

/// The range and where it starts, if it holds `address`.
fn holds(range: &'static Range, address: usize) -> Option<(&'static Range, usize)> {
    let end = range.end.load(Ordering::Acquire);
    let start = range.start.load(Ordering::Relaxed);
    let is_in = (start..end).contains(&address) && end == range.end.load(Ordering::Acquire);
    // A forked child has its parent's table, and may have anything else at the address of a writable map.
    (is_in && range.generation.load(Ordering::Relaxed) == generation()).then_some((range, start))
}

/// Does what would have been done without us.
fn chain(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(previous) = PREVIOUS.get() else { return end_by_default(code) };
    match previous.sa_sigaction {
        // To ignore a fault would be to fault for ever; the kernel ends such a process, and so do we.
        libc::SIG_IGN if code <= 0 => {}
        libc::SIG_DFL | libc::SIG_IGN => end_by_default(code),
        handler => {
            let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
            // SAFETY: both sets are whole and outlive the call, which is safe in a handler.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const previous.sa_mask, mask.as_mut_ptr()) };
            call(handler, previous.sa_flags, signal, info, context);
            // SAFETY: the call above has filled the set.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut()) };
        }
    }
}

fn call(
    handler: usize,
    flags: libc::c_int,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    if flags & libc::SA_SIGINFO != 0 {
        type Action = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: whoever installed it said by SA_SIGINFO that it is a function with these parameters.
        let handler = unsafe { std::mem::transmute::<usize, Action>(handler) };
        handler(signal, info, context);
    } else {
        type Action = extern "C" fn(libc::c_int);
        // SAFETY: whoever installed it without SA_SIGINFO gave a function of the signal's number.
        let handler = unsafe { std::mem::transmute::<usize, Action>(handler) };
        handler(signal);
    }
}

/// Gives the signal its default action back. A fault comes again when the handler returns; a signal that was sent is
/// sent again, and arrives then.
fn end_by_default(code: libc::c_int) {
    let _ = set_action(&default_action());
    if code <= 0 {
        // SAFETY: takes a number, and is safe in a handler.
        unsafe { libc::raise(libc::SIGBUS) };
    }
}

fn errno() -> libc::c_int {
    let at = errno_location();
    // SAFETY: points to the calling thread's own number.
    unsafe { *at }
}

fn set_errno(value: libc::c_int) {
    let at = errno_location();
    // SAFETY: as above.
    unsafe { *at = value };
}

fn errno_location() -> *mut libc::c_int {
    // SAFETY: takes nothing, and answers with a pointer that is valid for the thread's life. Safe in a handler.
    unsafe { libc::__errno_location() }
}
