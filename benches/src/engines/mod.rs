//! The engines, one small file each, and the list of those that this build has.

use std::path::Path;

use crate::Result;
use crate::engine::{Durability, Setup};
use crate::entrant::{Entrant, open};
use crate::machine::locked_version;

#[cfg(feature = "fjall")]
mod fjall;
mod lmdb;
mod maple;
#[cfg(feature = "mdbx")]
mod mdbx;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use lmdb::{Lmdb, WriteMap};
pub use maple::Maple;

/// An engine in one of its modes.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Its name in tables and `results.json`.
    pub name: &'static str,
    /// What it is and how it is set up, for the reader of the tables.
    pub options: &'static str,
    /// The crate by which it is reached.
    pub crate_name: &'static str,
    /// Which rows it stands in.
    pub role: Role,
    /// Whether several processes may have the file open and write.
    pub many_processes: bool,
    open: fn(&Path, &Setup) -> Result<Box<dyn Entrant>>,
}

/// Which rows a peer stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of them.
    Whole,
    /// Those that write.
    Writes,
    /// Durable commits, by a sync that they share.
    SharedSync,
    /// Point reads.
    Points,
}

impl Peer {
    /// Opens a database in `dir`.
    pub fn open(&self, dir: &Path, setup: &Setup) -> Result<Box<dyn Entrant>> {
        let durability = match self.role {
            Role::SharedSync => Durability::Group,
            _ => setup.durability,
        };
        (self.open)(dir, &Setup { durability, ..*setup }).map_err(|error| {
            format!("{}: cannot open a database in {}: {error}", self.name, dir.display()).into()
        })
    }

    /// The version of the engine, or of its crate where that has its own.
    pub fn version(&self) -> String {
        match self.crate_name {
            "heed" => {
                let lmdb = heed::lmdb_version();
                format!("{}.{}.{} by heed {}", lmdb.major, lmdb.minor, lmdb.patch, locked_version("heed"))
            }
            name => format!("{name} {}", locked_version(name)),
        }
    }
}

/// The peers of this build, MapleDB first.
pub fn all() -> Vec<Peer> {
    vec![
        Peer {
            name: "maple",
            options: "defaults: 4 KiB pages, each verified at its first touch; sync: one msync a commit",
            crate_name: "mapledb",
            role: Role::Whole,
            many_processes: true,
            open: open::<Maple>,
        },
        Peer {
            name: "maple-group",
            options: "as maple, commits at Durability::Group: durable when they return, by a sync that many share",
            crate_name: "mapledb",
            role: Role::SharedSync,
            many_processes: true,
            open: open::<Maple>,
        },
        Peer {
            name: "maple-batch",
            options: "as maple, each put by Env::batch: durable when it returns, in a commit that threads of a process share",
            crate_name: "mapledb",
            role: Role::SharedSync,
            many_processes: true,
            open: open::<Maple<maple::Together>>,
        },
        Peer {
            name: "maple-unverified",
            options: "as maple, with Verify::Never",
            crate_name: "mapledb",
            role: Role::Points,
            many_processes: true,
            open: open::<Maple<maple::Trusting>>,
        },
        Peer {
            name: "lmdb",
            options: "defaults: read-only map, fdatasync; relaxed: MDB_NOSYNC, unsafe in a crash of the system",
            crate_name: "heed",
            role: Role::Whole,
            many_processes: true,
            open: open::<Lmdb>,
        },
        Peer {
            name: "lmdb-writemap",
            options: "MDB_WRITEMAP, msync; relaxed: with MDB_NOSYNC, unsafe in a crash of the system",
            crate_name: "heed",
            role: Role::Writes,
            many_processes: true,
            open: open::<WriteMap>,
        },
        #[cfg(feature = "mdbx")]
        Peer {
            name: "mdbx",
            options: "defaults, MDBX_SYNC_DURABLE, automatic geometry; relaxed: MDBX_SAFE_NOSYNC",
            crate_name: "signet-libmdbx",
            role: Role::Whole,
            many_processes: true,
            open: open::<mdbx::Mdbx>,
        },
        #[cfg(feature = "redb")]
        Peer {
            name: "redb",
            options: "cache as large as half of memory; sync: Durability::Immediate; relaxed: Durability::None",
            crate_name: "redb",
            role: Role::Whole,
            many_processes: false,
            open: open::<redb::Redb>,
        },
        #[cfg(feature = "rocksdb")]
        Peer {
            name: "rocksdb",
            options: "block cache as large as half of memory, bloom filters of 10 bits, no compression; sync: WAL synced at \
                      each write; relaxed: WAL not synced",
            crate_name: "rocksdb",
            role: Role::Whole,
            many_processes: false,
            open: open::<rocksdb::Rocks>,
        },
        #[cfg(feature = "sqlite")]
        Peer {
            name: "sqlite",
            options: "WITHOUT ROWID, WAL, mmap on; sync: synchronous=FULL; relaxed: synchronous=OFF",
            crate_name: "rusqlite",
            role: Role::Whole,
            many_processes: true,
            open: open::<sqlite::Sqlite>,
        },
        #[cfg(feature = "fjall")]
        Peer {
            name: "fjall",
            options: "cache as large as half of memory, no compression; sync: PersistMode::SyncAll after each commit; relaxed: \
                      PersistMode::Buffer",
            crate_name: "fjall",
            role: Role::Whole,
            many_processes: false,
            open: open::<fjall::Fjall>,
        },
    ]
}

/// Peers that this build was made without.
pub fn left_out() -> Vec<&'static str> {
    let built = [
        ("mdbx", cfg!(feature = "mdbx")),
        ("redb", cfg!(feature = "redb")),
        ("rocksdb", cfg!(feature = "rocksdb")),
        ("sqlite", cfg!(feature = "sqlite")),
        ("fjall", cfg!(feature = "fjall")),
    ];
    built.iter().filter(|(_, is_built)| !is_built).map(|(name, _)| *name).collect()
}
