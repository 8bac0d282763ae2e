//! What the last processes left in the lock file, for whoever comes first after them.

use mapledb_os::lock_file::FileId;
use mapledb_os::process;
use mapledb_os::sync::{AtomicU64, Ordering};

use super::heads::{self, HeadRecord};
use super::layout::*;
use super::memory::LockMemory;
use super::shared::Header;

/// What ties a lock file to a data file. A copy of both, a restored snapshot and an overlay's copy-up keep the
/// identity and change the inode or the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) identity: [u8; 16],
    pub(super) data: FileId,
}

impl Binding {
    /// Whether the file was made for this data file by this layout's version.
    pub(super) fn holds(&self, header: &Header) -> bool {
        header.magic.load(Ordering::Relaxed) == MAGIC
            && header.layout_version.load(Ordering::Relaxed) == LOCK_VERSION
            && load_16(&header.identity) == self.identity
            && header.dev.load(Ordering::Relaxed) == self.data.dev
            && header.ino.load(Ordering::Relaxed) == self.data.ino
    }

    /// Makes the file this data file's.
    pub(super) fn store(&self, header: &Header) {
        header.magic.store(MAGIC, Ordering::Relaxed);
        header.layout_version.store(LOCK_VERSION, Ordering::Relaxed);
        store_16(&header.identity, self.identity);
        header.dev.store(self.data.dev, Ordering::Relaxed);
        header.ino.store(self.data.ino, Ordering::Relaxed);
    }
}

pub(super) fn store_16(words: &[AtomicU64; 2], bytes: [u8; 16]) {
    let number = u128::from_le_bytes(bytes);
    words[0].store(number as u64, Ordering::Relaxed);
    words[1].store((number >> 64) as u64, Ordering::Relaxed);
}

fn load_16(words: &[AtomicU64; 2]) -> [u8; 16] {
    let (low, high) = (words[0].load(Ordering::Relaxed), words[1].load(Ordering::Relaxed));
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

/// What the first process to attach finds. Nothing of it is to be trusted beyond what the pages themselves prove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// Whether the lock file was made for this very data file. If not, all else here is empty.
    pub is_bound: bool,
    /// Whether the last process closed cleanly.
    pub is_clean: bool,
    /// Whether that was since the system booted. One more reason to refuse, never one to trust.
    pub is_same_boot: bool,
    /// Whether a sync had failed.
    pub is_poisoned: bool,
    /// The last txnid that was given out.
    pub last_txnid: u64,
    /// The last durable snapshot.
    pub durable_txnid: u64,
    /// The txnids in the two metas.
    pub meta_txnids: [u64; 2],
    /// The checksum of the last durable meta.
    pub durable_meta_checksum: u64,
    /// How many pages had blocks.
    pub pages_allocated: u64,
    /// The published head, if its checksum is right.
    pub published: Option<HeadRecord>,
    /// The newest head, if its checksum is right; after the published one if a commit had not been acknowledged.
    pub head: Option<HeadRecord>,
    /// Why commits that only the lock file knew of may be lost with it.
    pub doubt: Option<&'static str>,
}

impl LeftBehind {
    pub(super) fn read(memory: &LockMemory, binding: &Binding) -> LeftBehind {
        let header = memory.header();
        let state = header.state.load(Ordering::Acquire);
        let last_txnid = header.last_txnid.load(Ordering::Relaxed);
        let made = matches!(state, STATE_READY | STATE_CLEAN | STATE_RESUMED);
        if !made || !binding.holds(header) || last_txnid >= NUMBER_MAX || memory.blocks().is_err() {
            // A new file is all zeros, and no commits are left after a clean close.
            let was_in_use = header.magic.load(Ordering::Relaxed) != 0
                || last_txnid != 0
                || memory.ring().iter().any(|record| record.seq.load(Ordering::Relaxed) != 0);
            let doubt = (was_in_use && state != STATE_CLEAN).then_some(
                "it cannot be told whether there were any: the lock file is another data file's, damaged, or was never finished",
            );
            return LeftBehind { doubt, ..LeftBehind::default() };
        }
        let record = |word: &AtomicU64| heads::copy(memory, word.load(Ordering::Relaxed)).ok();
        let (published, head) = (record(&header.published_seq), record(&header.head_seq));
        let doubt = match (&published, &head) {
            (None, _) => Some(
                "it cannot be told whether there were any: the lock file's record of the last commit is damaged",
            ),
            (Some(published), Some(head)) if head.seq > published.seq => {
                Some("the last one had not been published, or the lock file is damaged")
            }
            _ => None,
        };
        LeftBehind {
            is_bound: true,
            is_clean: state == STATE_CLEAN,
            is_same_boot: is_this_boot(load_16(&header.boot_id)),
            is_poisoned: header.poisoned.load(Ordering::Relaxed) != 0,
            last_txnid,
            durable_txnid: header.durable_txnid.load(Ordering::Relaxed),
            meta_txnids: std::array::from_fn(|i| header.meta_txnid[i].load(Ordering::Relaxed)),
            durable_meta_checksum: header.durable_meta_checksum.load(Ordering::Relaxed),
            pages_allocated: header.pages_allocated.load(Ordering::Relaxed),
            published,
            head,
            doubt: doubt.filter(|_| state != STATE_CLEAN),
        }
    }
}

/// An unknown boot id is nobody's.
fn is_this_boot(id: [u8; 16]) -> bool {
    id != [0; 16] && id == process::boot_id()
}
