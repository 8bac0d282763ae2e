//! What a process knows of each page: which version of it has been verified, and whether it was found sound as a node
//! in bytewise order.
//!
//! A word a page, and no more than a hint: what is not known is found out again. A version is told by the transaction that
//! wrote it (I7).

use std::sync::atomic::{AtomicU64, Ordering};

use mapledb_format::Pgno;
use mapledb_os::{AnonMap, planted};

/// The bit of a word that says that the node is sound. No honest file has it in a transaction's number; pages that claim it
/// are verified at every touch.
const SOUND: u64 = 1 << 63;

/// A word for each page of the maps it belongs to.
pub(super) struct Memo(AnonMap);

/// What is known of one page: 0, or the transaction whose version was verified, and [`SOUND`].
#[derive(Clone, Copy)]
pub(super) struct Known<'m>(&'m AtomicU64);

impl Memo {
    pub(super) fn new(words: AnonMap) -> Memo {
        Memo(words)
    }

    /// What is known of a page; `None` for one past the end of the maps.
    #[inline(always)]
    pub(super) fn of(&self, pgno: Pgno) -> Option<Known<'_>> {
        self.0.words().get(pgno.get() as usize).map(Known)
    }

    /// Hints that a page's word will be read next.
    #[inline(always)]
    pub(super) fn prefetch(&self, pgno: Pgno) {
        if let Some(known) = self.of(pgno) {
            mapledb_os::prefetch(known.0);
        }
    }
}

impl Known<'_> {
    /// Whether nothing is known.
    pub(super) fn is_nothing(self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether what transaction `written` wrote there has been verified. A page that says nobody wrote it is none that was.
    #[inline(always)]
    pub(super) fn is_verified(self, written: u64) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        word != 0 && (word & !SOUND == written || planted("memo_ignores_txnid"))
    }

    /// Whether what transaction `written` wrote there is verified and sound.
    #[inline]
    pub(super) fn is_sound(self, written: u64) -> bool {
        written < SOUND && self.0.load(Ordering::Relaxed) == written | SOUND
    }

    /// Notes that what transaction `written` wrote there is verified.
    pub(super) fn verified(self, written: u64) {
        if (1..SOUND).contains(&written) {
            self.0.store(written, Ordering::Relaxed);
        }
    }

    /// Notes that what transaction `written` wrote there is verified and sound.
    pub(super) fn sound(self, written: u64) {
        if (1..SOUND).contains(&written) {
            self.0.store(written | SOUND, Ordering::Relaxed);
        }
    }
}
