//! What can go wrong around the lock file, and what to do about it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use mapledb_os::OsError;

/// The result of an operation on shared memory.
pub type Result<T> = std::result::Result<T, MvccError>;

/// A failed operation on shared memory. Each leaves what is shared as it was.
#[derive(Debug, thiserror::Error)]
pub enum MvccError {
    /// The environment was opened before a fork and is used in the child.
    #[error("this process was forked after the environment was opened: open it again in the child")]
    AfterFork,
    /// The environment has been closed.
    #[error("the environment is closed: open it again")]
    Detached,
    /// The environment is being closed while readers or a writer are at work.
    #[error("cannot close: {0} readers or writers are still at work in this process; end them first")]
    StillInUse(usize),
    /// The environment was opened in a mode that does not write.
    #[error("this environment is open read-only and cannot take the writer lock: open it for writing")]
    ReadOnly,
    /// The lock file holds something that no process writes.
    #[error(
        "corrupt lock file {} at byte {offset}: {what}; close the environment in every process, and the next opener \
         writes it anew", path.display()
    )]
    BadLockFile {
        /// The lock file.
        path: PathBuf,
        /// Where in the lock file.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// No head can be appended before an earlier one is published.
    #[error("{0} heads wait for publication, which is as many as the ring holds: publish them first")]
    RingFull(u64),
    /// The data file's last commit has a number that nobody can have counted to.
    #[error(
        "{} says that its last commit is {txnid}, which is out of range: it is damaged; \
         read it frozen and dump it, or restore it from a copy",
        path.display()
    )]
    TxnidOutOfRange {
        /// The data file.
        path: PathBuf,
        /// The number.
        txnid: u64,
    },
    /// There is no room for one more process or for more readers.
    #[error(
        "the lock file has no room for another block of readers (it has {0}): end some readers or processes"
    )]
    TooManyBlocks(usize),
    /// The lock file's path no longer leads to the file this process is attached to.
    #[error(
        "the lock file {} was removed or replaced while the environment was open: close it in every process",
        .0.display()
    )]
    LockFileGone(PathBuf),
    /// The data file's path no longer leads to the file this process has open.
    #[error(
        "the data file {} was removed or replaced while the environment was open: close it in every process and \
         open the new one",
        .0.display()
    )]
    DataFileGone(PathBuf),
    /// The system refused.
    #[error("{}; {}", .0, .0.advice())]
    Os(#[from] OsError),
}

/// Why a process may not attach.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The lock file cannot be opened for writing.
    #[error(
        "a writable lock file is needed beside the data file, even to read: {}; {}", .0, lock_file_advice(.0)
    )]
    LockFile(#[source] OsError),
    /// The lock file's path leads to something that is not a regular file.
    #[error("{} is not a regular file and cannot be the lock file: move it away", .0.display())]
    NotALockFile(PathBuf),
    /// Processes of another version of MapleDB are attached.
    #[error(
        "the lock file has layout version {found}, this is version {ours}, and other processes are attached: \
         close them, or use their version"
    )]
    OtherVersion {
        /// The file's version.
        found: u32,
        /// This program's.
        ours: u32,
    },
    /// Somebody has the data file open, and not by way of this lock file.
    #[error(
        "{} is in use through another lock file than {}: the lock file was removed, or the file is reached by a \
         hard link or another mount; close the other processes, or open the same path as they do",
        data.display(), lock.display()
    )]
    InUseThroughAnotherLockFile {
        /// The data file.
        data: PathBuf,
        /// The lock file that does not know the other processes.
        lock: PathBuf,
    },
    /// The lock file serves processes that have another data file open.
    #[error(
        "{} still serves processes that hold an older file open in the place of {}: close them first",
        lock.display(), data.display()
    )]
    LockFileOfAnotherDataFile {
        /// The data file.
        data: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// One process has the environment for itself, or is recovering it through another lock file.
    #[error("{} is held exclusively by another process: close it there", .0.display())]
    HeldExclusively(PathBuf),
    /// Frozen readers keep writers and shared readers out.
    #[error("{} is open frozen in another process: close it there, or open it frozen here too", .0.display())]
    HeldFrozen(PathBuf),
    /// Exclusive or frozen use was asked for while others share it.
    #[error("{} is open shared in another process: close it there, or open it shared here too", .0.display())]
    HeldShared(PathBuf),
    /// Exclusive use needs a writable data file.
    #[error("exclusive use of {} needs it open for writing: open it frozen or shared instead", .0.display())]
    NotWritable(PathBuf),
    /// Another process has been attaching, recovering or closing for the whole time allowed.
    #[error("another process has been opening or closing {} for {waited:?}: try again", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// Shared memory refused.
    #[error(transparent)]
    Mvcc(#[from] MvccError),
}

impl From<OsError> for AttachError {
    fn from(error: OsError) -> AttachError {
        AttachError::Mvcc(MvccError::Os(error))
    }
}

/// Who may not write to the lock file may still read what nobody writes to.
fn lock_file_advice(error: &OsError) -> &'static str {
    match error.source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make it writable, or open the environment frozen if nobody writes to it"
        }
        _ => error.advice(),
    }
}
