//! Why a file could not be read.

use std::io;
use std::path::PathBuf;

/// The result of reading.
pub type Result<T> = std::result::Result<T, Error>;

/// What was tried, on which file, and why it could not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is not one that this crate reads.
    #[error("cannot read {} as LMDB: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: Foreign,
    },
    /// A process has the file open with LMDB.
    #[error("{} is in use by process {pid}, which may change it while it is read: end that program, or read a copy that mdb_copy makes", path.display())]
    InUse {
        /// The data file.
        path: PathBuf,
        /// The process, as numbered in its own namespace.
        pid: i32,
    },
    /// Somebody committed while the file was read: nothing read before this is certain.
    #[error("{} was changed while it was read, by transaction {txnid}: read it again when nobody writes, or read a copy that mdb_copy makes", path.display())]
    Changed {
        /// The data file.
        path: PathBuf,
        /// The newest transaction now.
        txnid: u64,
    },
    /// The file contradicts itself.
    #[error("{} is damaged: page {page}: {fault}", path.display())]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// The page it was found on.
        page: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What a file is that is none of ours to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// Nothing in its beginning tells of LMDB.
    #[error("it does not begin with LMDB's magic")]
    NoMagic,
    /// It is a MapleDB file.
    #[error("it is a MapleDB file already")]
    MapleDb,
    /// It is of LMDB's descendant.
    #[error("it is a libmdbx file, which has a format of its own")]
    Libmdbx,
    /// It was written on a machine of the other byte order.
    #[error("it was written on a big-endian machine: mdb_dump there, and load the text here")]
    BigEndian,
    /// It was written by a 32-bit program.
    #[error("it was written by a 32-bit program: mdb_dump with one, and load the text")]
    ThirtyTwoBit,
    /// It is in a format that is not known.
    #[error("it is in LMDB's data format {0}: 1 (LMDB 0.9), 2 and 3 (LMDB 1.0) are known")]
    Version(u32),
    /// Its pages are encrypted.
    #[error("it is encrypted: dump it with a program that has the key, and load the text")]
    Encrypted,
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends before it.
    #[error("the file ends before the end of it")]
    CutShort,
    /// It is a meta page without the magic, or of another version than the first.
    #[error("it is no meta page of this file")]
    NoMeta,
    /// The page size is none.
    #[error("a page size of {0} bytes")]
    PageSize(u32),
    /// The two meta pages disagree where they may not.
    #[error("its page size of {0} bytes is not that of page 0")]
    PageSizes(u32),
    /// A page number beyond the last page, or of a meta page.
    #[error("it lies outside the pages in use, which end with {last}")]
    Outside {
        /// The last page in use.
        last: u64,
    },
    /// Two references lead to it.
    #[error("it is reached twice")]
    ReachedTwice,
    /// Its header names another page.
    #[error("it says that it is page {0}")]
    Misplaced(u64),
    /// Its flags are not those of the kind that belongs here.
    #[error("its flags are {flags:#06x} where {wanted} belongs")]
    Kind {
        /// Its flags.
        flags: u16,
        /// What should be there.
        wanted: &'static str,
    },
    /// Its bounds of free space make no sense.
    #[error("its free space from {lower} to {upper} makes no sense")]
    Bounds {
        /// Where it begins.
        lower: u16,
        /// Where it ends.
        upper: u16,
    },
    /// It holds no entry where there must be one.
    #[error("it is empty")]
    Empty,
    /// A node does not lie inside the page.
    #[error("node {0} reaches outside the page")]
    Node(usize),
    /// A node has flags that make no sense where it is.
    #[error("node {index} has flags {flags:#06x}, which make no sense there")]
    NodeFlags {
        /// The node.
        index: usize,
        /// Its flags.
        flags: u16,
    },
    /// A record about a tree does not have its size.
    #[error("node {index} holds {len} bytes where a tree's record belongs")]
    TreeRecord {
        /// The node.
        index: usize,
        /// How long it is.
        len: usize,
    },
    /// A tree's flags are not known.
    #[error("a tree on it has flags {0:#06x}")]
    TreeFlags(u16),
    /// A tree's depth makes no sense.
    #[error("a tree on it is {0} levels deep")]
    Depth(u16),
    /// A size of packed duplicates makes no sense.
    #[error("duplicates of {0} bytes")]
    DuplicateSize(u32),
    /// A long value does not fit into its pages.
    #[error("a value of {len} bytes in {pages} pages")]
    Overflow {
        /// The length of the value.
        len: u32,
        /// The pages it takes.
        pages: u64,
    },
    /// Keys, or duplicates, do not ascend.
    #[error("entry {0} is out of order, unless the order is one of the program's own")]
    Order(usize),
    /// A tree holds another number of entries than its record says.
    #[error("the tree that is rooted there holds {found} entries, and its record says {recorded}")]
    Entries {
        /// How many there are, or one more than recorded.
        found: u64,
        /// How many there should be.
        recorded: u64,
    },
}
