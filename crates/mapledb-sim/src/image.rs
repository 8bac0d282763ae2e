//! The files after a crash: one choice of what they may hold, written to a fresh directory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::disk::{Bytes, Content, Disk};
use crate::model::{Bounds, History};
use crate::recorder::CrashPoint;
use crate::scratch::Scratch;

/// Where the lock file names the data file's device, its inode, and the boot it was made in.
const LOCK_DEV: usize = 32;
const LOCK_INO: usize = 40;
const LOCK_BOOT_ID: usize = 48;

/// The path of a data file's lock file.
pub fn lock_path(data: &Path) -> PathBuf {
    mapledb::mvcc::lock_path(data)
}

/// How everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// Every process died; the page cache and the lock file are as they were.
    Death,
    /// The system crashed, and the lock file with it.
    CrashWithoutLock,
    /// The system crashed, and a lock file of the boot before is there, as of some earlier moment.
    CrashWithOldBoot,
    /// The system crashed and the lock file claims to be of this boot: no reason to trust it.
    CrashWithThisBoot,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 4] =
        [Ending::Death, Ending::CrashWithoutLock, Ending::CrashWithOldBoot, Ending::CrashWithThisBoot];

    fn random(rng: &mut SmallRng) -> Ending {
        match rng.random_range(0..10) {
            0 | 1 => Ending::Death,
            2..6 => Ending::CrashWithoutLock,
            6..9 => Ending::CrashWithOldBoot,
            _ => Ending::CrashWithThisBoot,
        }
    }
}

/// What is found after a crash, and what the law says about it.
#[derive(Clone, Debug)]
pub struct Image {
    /// How it ended.
    pub ending: Ending,
    /// What the page cache knows of the disk when it is opened, if it has outlived the end.
    disk: Option<Disk>,
    /// The blocks that may be holes then.
    holes: BTreeSet<u64>,
    bytes: Bytes,
    lock: Option<Arc<Vec<u8>>>,
    /// What may be found.
    pub bounds: Bounds,
    /// The commits.
    pub history: History,
    /// Where it was taken.
    pub label: String,
}

impl Image {
    /// A crash at `point`, chosen by `rng`.
    pub fn choose(point: &CrashPoint, rng: &mut SmallRng) -> Image {
        let ending = Ending::random(rng);
        let (bytes, style) = match ending {
            Ending::Death => (point.disk.shown(), String::new()),
            _ => point.disk.after_crash(rng),
        };
        let some_lock = |rng: &mut SmallRng| {
            let past = point.old_locks.len();
            match rng.random_range(0..2 * past + 2) {
                at if at < past => Arc::clone(&point.old_locks[at]),
                _ => Arc::clone(&point.lock),
            }
        };
        let lock = match ending {
            Ending::Death => Some(Arc::clone(&point.lock)),
            Ending::CrashWithoutLock => None,
            Ending::CrashWithOldBoot => {
                let mut lock = some_lock(rng).to_vec();
                set_other_boot(&mut lock);
                Some(Arc::new(lock))
            }
            Ending::CrashWithThisBoot => Some(some_lock(rng)),
        };
        let mut bounds = point.bounds;
        let disk = match ending {
            Ending::Death => {
                // Nobody waits any more for the syncs that run: what they found may be on the disk, and is dirty if it is not.
                let mut disk = point.disk.clone();
                disk.syncs_are_cut_off();
                Some(disk)
            }
            _ => {
                bounds.acked = bounds.durable;
                None
            }
        };
        let label = format!("{ending:?} {style} {}", point.label);
        // What holds something has a block.
        let mut holes = point.disk.holes_after_crash();
        holes.retain(|block| bytes.holds_nothing(*block));
        Image { ending, disk, holes, bytes, lock, bounds, history: point.history.clone(), label }
    }

    /// What the page cache shows and the disk may hold when it is opened.
    pub fn disk(&self) -> Disk {
        self.disk.clone().unwrap_or_else(|| Disk::with_holes(&self.bytes, self.holes.clone()))
    }

    /// The blocks that hold something else than in `other`, each with that.
    pub fn differing(&self, other: &Bytes) -> Vec<(usize, Content)> {
        let both = self.bytes.blocks.iter().zip(&other.blocks).enumerate();
        both.filter(|(_, (own, other))| own != other)
            .map(|(at, (_, other))| (at, Arc::clone(other)))
            .collect()
    }

    /// Puts another content into a block; answers what was there.
    pub fn put(&mut self, block: usize, content: Content) -> Content {
        std::mem::replace(&mut self.bytes.blocks[block], content)
    }

    /// Writes the files. The lock file is made to be this data file's.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, dir: &Scratch) -> io::Result<PathBuf> {
        let path = dir.path().join("image.maple");
        let file = File::create(&path)?;
        self.bytes.write(&file)?;
        if let Some(lock) = self.lock.as_ref().filter(|lock| lock.len() >= LOCK_BOOT_ID + 16) {
            let stat = file.metadata()?;
            let mut lock = lock.to_vec();
            bind_lock(&mut lock, stat.dev(), stat.ino());
            write_sparse(&lock_path(&path), &lock)?;
        }
        Ok(path)
    }
}

/// Makes a lock file name this data file's device and inode.
pub fn bind_lock(lock: &mut [u8], dev: u64, ino: u64) {
    for (at, word) in [(LOCK_DEV, dev), (LOCK_INO, ino)] {
        if let Some(bytes) = lock.get_mut(at..at + 8) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Makes a lock file one of another boot.
pub fn set_other_boot(lock: &mut [u8]) {
    if let Some(id) = lock.get_mut(LOCK_BOOT_ID..LOCK_BOOT_ID + 16) {
        id.fill(0x5a);
    }
}

/// Writes a file anew, leaving holes where it is zero.
///
/// # Errors
/// It cannot be written.
pub fn write_sparse(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Bytes::of(bytes).write(&File::create(path)?)
}
