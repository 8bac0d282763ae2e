//! The one error of MapleDB: what was tried, where, and why it could not be.

use std::path::PathBuf;

use mapledb_format::{FormatError, Pgno};
use mapledb_os::{OsError, WantOfRoom};

use crate::mvcc::{AttachError, MvccError};

/// The result of anything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done. Absence is not an error: it is `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A page is not what it must be. Nothing read from it was handed out.
    #[error("corrupt page {pgno}: {cause}; run `maple check` on the file, and restore it from a copy")]
    Corrupt {
        /// The page.
        pgno: Pgno,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// The head that the metas or the lock file describe makes no sense.
    #[error("corrupt head record: {cause}; close the environment in every process, and run `maple check` on the file")]
    BadHead {
        /// What is wrong with it.
        cause: FormatError,
    },
    /// The file does not begin with MapleDB's magic in either meta.
    #[error("{} is not a MapleDB file: check the name", path.display())]
    NotMapleDb {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by another version of the format.
    #[error("{} has format version {found}, which this build does not read; dump it with the build that made it", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file uses features this build does not know and cannot read without.
    #[error("{} needs features this build does not know ({flags:#010x}); open it with a newer build", path.display())]
    UnknownFeatures {
        /// The file.
        path: PathBuf,
        /// The unknown flags.
        flags: u32,
    },
    /// Neither meta can stand.
    #[error("{} cannot be opened, for neither of its metas stands: meta A: {a}; meta B: {b}; restore it from a copy", path.display())]
    NoMeta {
        /// The file.
        path: PathBuf,
        /// Why meta A does not.
        a: String,
        /// Why meta B does not.
        b: String,
    },
    /// The metas contradict each other.
    #[error("{} cannot be opened: {cause}; restore it from a copy", path.display())]
    BadMetas {
        /// The file.
        path: PathBuf,
        /// How.
        cause: FormatError,
    },
    /// The file is shorter than its metas say.
    #[error("{} has {found} bytes and should have {expected}: it was truncated; restore it from a copy", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The bytes that the head says are in use.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// The file's last use ended uncleanly, and it is open read-only.
    #[error("{} was not closed cleanly and must be recovered: open it for writing once, or frozen to read what stands", path.display())]
    NeedsRecovery {
        /// The file.
        path: PathBuf,
    },
    /// A file is to be created and there is one.
    #[error("{} exists, and is not written over: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("{} does not exist: create it, or check the name", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file lies on a file system that processes of several machines share.
    #[error("{} lies on {filesystem}, where processes of other machines cannot be kept apart: open it exclusively or frozen", path.display())]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// The file system.
        filesystem: String,
    },
    /// The file lies on a file system of layers, where its name may lead to two files.
    #[error("{} lies on {filesystem}, whose layers may give two processes two files of that name: put it on a volume of its own (with containers: a mounted volume or a bind mount), or open it exclusively or frozen", path.display())]
    OverlayFileSystem {
        /// The file.
        path: PathBuf,
        /// The file system.
        filesystem: String,
    },
    /// The same file is open in this process with other options.
    #[error("{} is open in this process as {open}, and cannot be opened as {asked}: use the same options, or close it first", path.display())]
    OpenDifferently {
        /// The file.
        path: PathBuf,
        /// How it is open.
        open: String,
        /// How it was to be opened.
        asked: String,
    },
    /// An option has a value that cannot be.
    #[error("{what}")]
    BadOption {
        /// Which, and what it may be.
        what: String,
    },
    /// The process may not attach to the file.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Shared memory refused.
    #[error(transparent)]
    Shared(MvccError),
    /// The system refused an effect.
    #[error("{}; {}", .0, .0.advice())]
    Os(#[from] OsError),
    /// The disk is full. The last commit stands as it was.
    #[error("{0}: the disk is full; free some space and try again, nothing is lost")]
    DiskFull(#[source] OsError),
    /// The user may have no more blocks of the file system. The last commit stands as it was.
    #[error("{0}: the user's quota of the file system is used up; delete files or have it raised and try again, nothing is lost")]
    DiskQuotaReached(#[source] OsError),
    /// The process, or the file system, lets no file be so long. The last commit stands as it was.
    #[error("{0}: no file may be so long; raise the limit of file sizes (ulimit -f) or use a file system without one and try again, nothing is lost")]
    FileSizeLimit(#[source] OsError),
    /// The environment's own size quota is reached. The last commit stands as it was.
    #[error("the size quota of {bytes} bytes is reached: delete something, or open the environment with a larger quota")]
    QuotaReached {
        /// The quota in bytes.
        bytes: u64,
    },
    /// No file can be so large.
    #[error("a file of {pages} pages is larger than any can be: store less in it")]
    FileTooLarge {
        /// The pages it would have.
        pages: u64,
    },
    /// The environment cannot be written through this handle.
    #[error("the environment is open read-only: open it for writing")]
    ReadOnly,
    /// A sync failed, in this process or another.
    #[error("{} is poisoned: a sync failed and what it left on the disk is not known; close it in every process and open it again, which recovers what stands", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// A page of the map could not be read or stored to, and [`Options::catch_sigbus`](crate::Options::catch_sigbus) was
    /// asked for. Values handed out by this process since the fault may read as zeros.
    #[error("{} is poisoned: the system could not deliver or store its bytes at offset {offset} (SIGBUS), for the medium failed, another program cut the file off, or the disk is full under a copy by reflink; values read since may be zeros; look into the system's log, close it in every process and open it again", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The offset in the file of the first page that failed, in bytes.
        offset: u64,
    },
    /// A sync failed before the commit's meta was stored: the commit did not happen.
    #[error("the commit did not happen, and the environment is poisoned: {cause}; close it in every process and open it again")]
    SyncFailed {
        /// The failure.
        #[source]
        cause: Box<Error>,
    },
    /// A sync failed after the commit's meta was stored: whether it happened shows at the next opening.
    #[error("commit {txnid} is indeterminate, and the environment is poisoned: {cause}; close it in every process and open it again: it holds the commit whole or not at all")]
    Indeterminate {
        /// The commit.
        txnid: u64,
        /// The failure.
        #[source]
        cause: Box<Error>,
    },
    /// The transaction that changes of several threads shared could not be committed.
    #[error("the change was to be committed with those of other threads, and that failed for all of them: {cause}")]
    BatchFailed {
        /// Why it could not; every one of them is told.
        #[source]
        cause: std::sync::Arc<Error>,
    },
    /// A change that is done for a batch asked for another batch, or a write transaction, of the same environment: it would wait
    /// for itself.
    #[error("a change of a batch cannot wait for another write to the same environment: do both in one change")]
    BatchWithin,
    /// An earlier error left the transaction half changed.
    #[error("an earlier error left this transaction unusable: drop it and begin another, or go back to a savepoint")]
    TxnUnusable,
    /// A savepoint was released, or its transaction went back past it, or the nested transaction it was made in has ended.
    #[error("this savepoint is gone: it was released, went with an earlier one, or with the nested transaction it was made in; nothing was changed")]
    SavepointEnded,
    /// A nested transaction was to go back to a savepoint of its parent.
    #[error("this savepoint was made before the nested transaction began: abort that first; nothing was changed")]
    SavepointOuter,
    /// A savepoint of another transaction.
    #[error("this savepoint belongs to another transaction: use it with its own; nothing was changed")]
    SavepointForeign,
    /// A nested transaction was leaked (`mem::forget`) and is neither committed nor aborted. The commit did not happen.
    #[error("a nested transaction was forgotten, neither committed nor aborted: end it before its parent; the commit did not happen")]
    NestedOpen,
    /// The environment was opened before a fork and is used in the child.
    #[error("this process was forked after the environment was opened: open it again in the child")]
    AfterFork,
    /// The environment cannot be closed while handles or transactions of it are alive.
    #[error("cannot close the environment: transactions or other handles of it are alive in this process; drop them first")]
    StillInUse,
    /// There is no such table.
    #[error("there is no table called {name:?}: create it, or check the name")]
    TableMissing {
        /// The name.
        name: String,
    },
    /// There is such a table already.
    #[error("there is a table called {name:?} already: open it, or choose another name")]
    TableExists {
        /// The name.
        name: String,
    },
    /// A table holds other types than it was opened with.
    #[error("table {name:?} maps {recorded}, and cannot be opened as {asked}: open it with the types it has")]
    TableTypes {
        /// The table.
        name: String,
        /// The types the catalog records.
        recorded: String,
        /// The types asked for.
        asked: String,
    },
    /// A table cannot have such a name.
    #[error("a table cannot be called {name:?}: a name has 1 to {max} bytes")]
    TableName {
        /// The name.
        name: String,
        /// The longest name in bytes.
        max: usize,
    },
    /// A parked read was evicted, for the pages it held were wanted.
    #[error("the parked read of snapshot {txnid} was evicted, for the pages it held were wanted: begin another read")]
    Evicted {
        /// The snapshot.
        txnid: u64,
    },
    /// A read with clones cannot be parked, since they may be reading.
    #[error("a read transaction cannot be parked while clones of it are alive: drop them first")]
    StillCloned,
    /// The file may not grow, for a reader holds pages that could be used again. The last commit stands as it was.
    #[error("the file may not grow while process {pid}{} has been reading snapshot {txnid} for {age_seconds} s: end that read, or allow growth", command.as_ref().map_or_else(String::new, |command| format!(" ({command})")))]
    ReaderStaysTooLong {
        /// The process, as it is numbered in its own namespace.
        pid: u32,
        /// The command it runs, as far as the system tells.
        command: Option<String>,
        /// The snapshot it reads.
        txnid: u64,
        /// For how long, in seconds.
        age_seconds: u64,
    },
    /// There is no such named snapshot.
    #[error("there is no snapshot called {name:?}: `maple snapshot list` tells which there are")]
    SnapshotMissing {
        /// The name.
        name: String,
    },
    /// The snapshot is of what the running transaction will have committed.
    #[error("the snapshot {name:?} is of what this transaction commits, and is there after that: commit, and begin another")]
    SnapshotUncommitted {
        /// The name.
        name: String,
    },
    /// Rolling everything back cannot come after other changes.
    #[error("only the first change of a write transaction, outside nested ones and savepoints, can roll everything back: begin another")]
    RollbackNotFirst,
    /// There is such a named snapshot already.
    #[error("there is a snapshot called {name:?} already: drop it, or choose another name")]
    SnapshotExists {
        /// The name.
        name: String,
    },
    /// A snapshot cannot have such a name.
    #[error("a snapshot cannot be called {name:?}: a name has 1 to {max} bytes")]
    SnapshotName {
        /// The name.
        name: String,
        /// The longest name in bytes.
        max: usize,
    },
    /// A type's name is too long for the catalog.
    #[error("the type name {name:?} is too long for the catalog: shorten it")]
    TypeNameTooLong {
        /// The name.
        name: String,
    },
    /// A table keeps its keys in another order than it was opened with.
    #[error("table {name:?} keeps its keys in the order {recorded:?}, and cannot be opened with {asked:?}: open it with its own; nothing was changed")]
    TableOrder {
        /// The table.
        name: String,
        /// The order the catalog records.
        recorded: String,
        /// The order asked for.
        asked: String,
    },
    /// A table opened without its order was to find something, or to put it where it belongs.
    #[error("the table keeps its keys or duplicates in an order that this program does not have, so none can be looked for: go through it as it is stored, or open it with its order; nothing was changed")]
    OrderMissing,
    /// An entry that was there is not found again: a named order answered differently.
    #[error("an entry that is there is not found by its key: the named order of the table answers differently from call to call; correct it and copy the table")]
    OrderBroken,
    /// Keys with a common beginning were asked for where they do not lie together.
    #[error("keys that begin alike do not lie together in the order {order:?}: ask for a range, or go through the table")]
    PrefixOutOfOrder {
        /// The order.
        order: String,
    },
    /// A key is not as long as those of its table, which are integers.
    #[error("a key of {len} bytes cannot stand beside integers of {expected} bytes: the keys of a table in integer order have one length")]
    KeyLength {
        /// Its length in bytes.
        len: usize,
        /// The length of the table's keys in bytes.
        expected: usize,
    },
    /// Bytes in a table are not a value of its type.
    #[error("these {len} bytes are not a {expected}: open the table with the types it was written with")]
    Decode {
        /// The type they should be.
        expected: String,
        /// How many bytes there are.
        len: usize,
    },
    /// A value has no bytes in its type.
    #[error("this value cannot be written as a {name}: {cause}")]
    Encode {
        /// The type.
        name: String,
        /// Why.
        cause: String,
    },
    /// Bytes that are to be read in place do not lie where they can be. Those of a table always do.
    #[error("a {expected} is read in place, and these bytes begin at no multiple of {align}: copy them to one")]
    Misaligned {
        /// The type they should be.
        expected: String,
        /// The alignment of the type in bytes.
        align: usize,
    },
    /// What the caller was reading from could not be read on; the message is the caller's.
    #[error("{what}")]
    Input {
        /// What went wrong.
        what: String,
    },
    /// The caller asked for an end.
    #[error("given up on request; nothing was left behind")]
    Interrupted,
    /// A table's sequence has no more numbers.
    #[error("the table's sequence is used up: number on in another table")]
    SequenceExhausted,
    /// A key is longer than a quarter of a page.
    #[error("a key of {len} bytes is too long: the most is {max}, and more where pages are larger")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest key in bytes.
        max: usize,
    },
    /// A duplicate is longer than a quarter of a page: it is kept in order as keys are.
    #[error("a duplicate of {len} bytes is too long: the most is {max}, and more where pages are larger")]
    DuplicateTooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest duplicate in bytes.
        max: usize,
    },
    /// A duplicate is not as long as those of its multimap, which have one length.
    #[error("a duplicate of {len} bytes cannot go into a multimap whose duplicates have {expected} bytes each")]
    DuplicateLength {
        /// Its length in bytes.
        len: usize,
        /// The length of the multimap's duplicates in bytes.
        expected: usize,
    },
    /// A multimap was opened as a table, a table as a multimap, or a multimap as one of other duplicates.
    #[error("{name:?} is {recorded}, and cannot be opened as {asked}: open it as what it is; nothing was changed")]
    TableKind {
        /// The table.
        name: String,
        /// What the catalog records.
        recorded: String,
        /// What it was asked for as.
        asked: String,
    },
    /// A value is longer than any file could hold.
    #[error("a value of {len} bytes is too long for any file: store it in parts")]
    ValueTooLong {
        /// Its length in bytes.
        len: u64,
    },
    /// A key to append is not greater than the last one.
    #[error("keys to append must be given in order: this one is not greater than the last")]
    NotSorted,
}

impl Error {
    /// The error of an effect that may need room.
    pub(crate) fn of_growth(error: OsError) -> Error {
        match error.want_of_room() {
            Some(WantOfRoom::Disk) => Error::DiskFull(error),
            Some(WantOfRoom::Quota) => Error::DiskQuotaReached(error),
            Some(WantOfRoom::FileSize) => Error::FileSizeLimit(error),
            None => Error::Os(error),
        }
    }

    /// Whether there was no room, of whatever kind: deleting, and two commits, may make some.
    pub(crate) fn is_want_of_room(&self) -> bool {
        let limits = matches!(self, Error::QuotaReached { .. } | Error::DiskQuotaReached(_) | Error::FileSizeLimit(_));
        limits || matches!(self, Error::DiskFull(_) | Error::ReaderStaysTooLong { .. })
    }

    /// Whether the error is about what was asked for, so that nothing was changed by it.
    pub(crate) fn is_about_arguments(&self) -> bool {
        let of_keys = matches!(self, Error::KeyTooLong { .. } | Error::KeyLength { .. } | Error::NotSorted);
        let of_names = matches!(
            self,
            Error::SnapshotMissing { .. }
                | Error::SnapshotUncommitted { .. }
                | Error::SnapshotExists { .. }
                | Error::SnapshotName { .. }
                | Error::RollbackNotFirst
        );
        let of_types = matches!(self, Error::Decode { .. } | Error::Encode { .. } | Error::OrderMissing);
        let of_duplicates = matches!(self, Error::DuplicateTooLong { .. } | Error::DuplicateLength { .. });
        of_keys || of_duplicates || of_types || of_names
    }
}

impl From<MvccError> for Error {
    fn from(error: MvccError) -> Error {
        match error {
            MvccError::AfterFork => Error::AfterFork,
            MvccError::ReadOnly => Error::ReadOnly,
            MvccError::StillInUse(_) => Error::StillInUse,
            MvccError::Os(error) => Error::Os(error),
            other => Error::Shared(other),
        }
    }
}
