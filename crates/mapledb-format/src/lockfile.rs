//! The lock file: shared memory that all processes of one data file meet in. Layout version 1.
//!
//! ```text
//!      0  magic "MapleLK\n"           |   8 layout version u32  |  12 state u32 (0 new, 1 ready, 2 clean, 3 resumed)
//!     16  identity 16                 |  32 dev u64             |  40 ino u64     |  48 boot id 16
//!     64  published_seq u64           | 128 head_seq u64
//!    192  writer word u32             | 196 waiters u32         | 200 next_ticket u64
//!    256  last_txnid u64
//!    320  durable_txnid u64           | 328 meta_txnid u64 of A and B
//!    344  durable meta checksum u64   | 352 poisoned u32
//!    384  wake word u32               | 388 wake waiters u32    | 448 blocks_len u32
//!   4096  counters, one to a 64-byte line
//!   8192  ring of 8 head records, 2048 bytes each
//!  32768  process blocks, 4096 bytes each: a 128-byte header, then 62 reader slots of 64 bytes
//!
//! head record, in u64 words
//!   0  seq  |  1  checksum  |  2..219 head body  |  219 durable txnid  |  220 durable meta checksum
//!
//! process block
//!   0  state u32 (0 free, 1 claimed)  |  4 incarnation u32  |  8 pid u32  |  12 slots_used u32
//!  16  started_at u64                 | 24 ticket u64 (of the writer lock waited for, 0 none)
//! 128  reader slots
//!
//! reader slot
//!   0  pin u64 (0 free, else the pinned txnid)  |  8 clones u32  |  12 tid u32
//!  16  began_at u64 (unix ns or 0)              | 24 begins u64
//!
//! writer word: 0 free; else bits 0..16 block index + 1, bits 16..31 the low bits of the block's
//! incarnation, bit 31 set while others wait
//! ```
//!
//! Each word that processes contend for has a 64-byte line to itself. The checksum of a head record is
//! XXH3-64, seeded with its seq, of the words from 2 to 221 as little-endian bytes: a seq beside another
//! record's body does not pass.

use twox_hash::XxHash3_64;

use crate::head_body::{HEAD_BODY_BYTES, HeadBody};
use crate::ids::Txnid;
use crate::{FormatError, Result};

/// The first bytes of a lock file.
pub const LOCK_MAGIC: [u8; 8] = *b"MapleLK\n";
/// The version of this layout.
pub const LOCK_VERSION: u32 = 1;
/// What a lock file's name adds to that of its data file.
pub const LOCK_SUFFIX: &str = "-lock";

/// The magic.
pub const MAGIC_AT: usize = 0;
/// The layout version, u32.
pub const VERSION_AT: usize = 8;
/// The state, u32.
pub const STATE_AT: usize = 12;
/// The data file's identity, 16 bytes.
pub const IDENTITY_AT: usize = 16;
/// The data file's device, u64.
pub const DEV_AT: usize = 32;
/// The data file's inode, u64.
pub const INO_AT: usize = 40;
/// The boot id, 16 bytes.
pub const BOOT_ID_AT: usize = 48;
/// The number of the published head record, u64.
pub const PUBLISHED_SEQ_AT: usize = 64;
/// The number of the newest head record, u64.
pub const HEAD_SEQ_AT: usize = 128;
/// The writer word, u32.
pub const WRITER_WORD_AT: usize = 192;
/// How many wait for the writer lock, u32.
pub const WRITER_WAITERS_AT: usize = 196;
/// The next ticket of the writer lock, u64.
pub const NEXT_TICKET_AT: usize = 200;
/// The last txnid given out, u64.
pub const LAST_TXNID_AT: usize = 256;
/// The durable txnid, u64.
pub const DURABLE_TXNID_AT: usize = 320;
/// The txnids of meta A and meta B, u64 each.
pub const META_TXNID_AT: usize = 328;
/// The checksum of the durable meta, u64.
pub const DURABLE_CHECKSUM_AT: usize = 344;
/// Whether a sync failed, u32.
pub const POISONED_AT: usize = 352;
/// The futex word of newer commits, u32.
pub const WAKE_WORD_AT: usize = 384;
/// How many wait on it, u32.
pub const WAKE_WAITERS_AT: usize = 388;
/// How many process blocks there are, u32.
pub const BLOCKS_LEN_AT: usize = 448;
/// The counters.
pub const COUNTERS_AT: usize = 4096;
/// The ring of head records.
pub const RING_AT: usize = 8192;
/// Head records in the ring.
pub const RING_LEN: usize = 8;
/// The length of a head record in bytes.
pub const RECORD_BYTES: usize = 2048;
/// The length of a head record in words.
pub const RECORD_WORDS: usize = RECORD_BYTES / 8;
/// The process blocks.
pub const BLOCKS_AT: usize = 32768;
/// The length of a process block in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Reader slots of a process block.
pub const BLOCK_SLOTS: usize = 62;
/// The most process blocks: the writer word names them in 16 bits.
pub const BLOCKS_MAX: usize = 65535;
/// The length of a lock file without process blocks in bytes.
pub const LOCK_FIXED_BYTES: usize = BLOCKS_AT;

/// State of a lock file that is being made.
pub const STATE_NEW: u32 = 0;
/// State of a lock file in use.
pub const STATE_READY: u32 = 1;
/// State of a lock file that its last process closed in order.
pub const STATE_CLEAN: u32 = 2;

/// In a block: its state, u32.
pub const BLOCK_STATE_AT: usize = 0;
/// In a block: its incarnation, u32.
pub const BLOCK_INCARNATION_AT: usize = 4;
/// In a block: the process, u32, for people only.
pub const BLOCK_PID_AT: usize = 8;
/// In a block: how many of its reader slots were ever used, u32.
pub const BLOCK_SLOTS_USED_AT: usize = 12;
/// In a block: when the process started, u64.
pub const BLOCK_STARTED_AT_AT: usize = 16;
/// In a block: the ticket it waits with for the writer lock, u64.
pub const BLOCK_TICKET_AT: usize = 24;
/// In a block: the reader slots.
pub const BLOCK_SLOTS_AT: usize = 128;
/// State of a block that nobody owns.
pub const BLOCK_FREE: u32 = 0;
/// State of a block that a process owns.
pub const BLOCK_CLAIMED: u32 = 1;

/// The length of a reader slot in bytes.
pub const SLOT_BYTES: usize = 64;
/// In a slot: the pinned txnid or 0, u64.
pub const SLOT_PIN_AT: usize = 0;
/// In a slot: how many transactions share it, u32.
pub const SLOT_CLONES_AT: usize = 8;
/// In a slot: the thread, u32, for people only.
pub const SLOT_TID_AT: usize = 12;
/// In a slot: when the read began, u64.
pub const SLOT_BEGAN_AT_AT: usize = 16;
/// In a slot: how many reads began here, u64.
pub const SLOT_BEGINS_AT: usize = 24;

/// In the lock file: byte `LIVENESS_BYTE + i` is write-locked by the process that owns block i.
pub const LIVENESS_BYTE: u64 = 1 << 40;
/// In the lock file: the byte held while attaching.
pub const ATTACH_BYTE: u64 = 1 << 41;
/// In the data file: locked shared by each process in shared mode; exclusively, it proves to be alone.
pub const UNIVERSE_BYTE: u64 = 1 << 61;
/// In the data file: locked shared by frozen readers.
pub const FROZEN_BYTE: u64 = (1 << 61) + 1;

const BODY_WORD: usize = 2;
const DURABLE_TXNID_WORD: usize = 219;
const DURABLE_CHECKSUM_WORD: usize = 220;
const SUMMED_BYTES: usize = 8 * (DURABLE_CHECKSUM_WORD + 1 - BODY_WORD);

const _: () = assert!(BODY_WORD + HEAD_BODY_BYTES / 8 == DURABLE_TXNID_WORD);
const _: () = assert!(DURABLE_CHECKSUM_WORD < RECORD_WORDS);
const _: () = assert!(RING_AT + RING_LEN * RECORD_BYTES <= BLOCKS_AT);
const _: () = assert!(BLOCK_SLOTS_AT + BLOCK_SLOTS * SLOT_BYTES == BLOCK_BYTES);
const _: () = assert!(BLOCKS_AT + BLOCKS_MAX * BLOCK_BYTES < LIVENESS_BYTE as usize);
const _: () = assert!(LIVENESS_BYTE + (BLOCKS_MAX as u64) < ATTACH_BYTE);

/// Who holds the writer lock, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterWord(pub u32);

impl WriterWord {
    /// Nobody holds it.
    pub const FREE: WriterWord = WriterWord(0);
    /// The bit that says that others wait.
    pub const WAITERS: u32 = 1 << 31;

    /// The word of the process that owns block `block` in `incarnation`, or `None` if there can be no such
    /// block.
    pub const fn held(block: usize, incarnation: u32) -> Option<WriterWord> {
        if block >= BLOCKS_MAX {
            return None;
        }
        Some(WriterWord((block as u32 + 1) | (incarnation & 0x7fff) << 16))
    }

    /// Whether nobody holds it.
    pub const fn is_free(self) -> bool {
        self.0 & 0xffff == 0
    }

    /// The block of the holder.
    pub const fn block(self) -> Option<usize> {
        (self.0 as usize & 0xffff).checked_sub(1)
    }

    /// Whether the holder is block `block` in `incarnation`, as far as 15 bits tell.
    pub fn is_held_by(self, block: usize, incarnation: u32) -> bool {
        WriterWord::held(block, incarnation).is_some_and(|word| word.0 == self.0 & !WriterWord::WAITERS)
    }

    /// Whether others wait.
    pub const fn has_waiters(self) -> bool {
        self.0 & WriterWord::WAITERS != 0
    }

    /// The same holder, with others waiting.
    pub const fn with_waiters(self) -> WriterWord {
        WriterWord(self.0 | WriterWord::WAITERS)
    }
}

/// A head: a commit, and the durable meta it builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRecord {
    /// Its number: record seq lies in place seq % 8 of the ring.
    pub seq: u64,
    /// The commit.
    pub body: HeadBody,
    /// The durable txnid it builds on.
    pub durable_txnid: Txnid,
    /// The checksum of the meta of that txnid.
    pub durable_checksum: u64,
}

impl HeadRecord {
    /// The record's words, to be stored little-endian.
    pub fn encode(&self) -> [u64; RECORD_WORDS] {
        let mut words = [0; RECORD_WORDS];
        words[0] = self.seq;
        for (word, bytes) in words[BODY_WORD..].iter_mut().zip(self.body.encode().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words[DURABLE_TXNID_WORD] = self.durable_txnid.0;
        words[DURABLE_CHECKSUM_WORD] = self.durable_checksum;
        words[1] = record_sum(&words);
        words
    }

    /// Reads a record, after its checksum.
    pub fn decode(words: &[u64; RECORD_WORDS]) -> Result<HeadRecord> {
        let (stored, computed) = (words[1], record_sum(words));
        if stored != computed {
            return Err(FormatError::WrongChecksum { stored, computed });
        }
        let mut body = [0; HEAD_BODY_BYTES];
        for (bytes, word) in body.as_chunks_mut::<8>().0.iter_mut().zip(&words[BODY_WORD..]) {
            *bytes = word.to_le_bytes();
        }
        let body = HeadBody::decode(&body)?;
        let durable_txnid = Txnid(words[DURABLE_TXNID_WORD]);
        if durable_txnid > body.txnid {
            return Err(FormatError::BadLockFile("a head builds on a later durable transaction"));
        }
        Ok(HeadRecord { seq: words[0], body, durable_txnid, durable_checksum: words[DURABLE_CHECKSUM_WORD] })
    }
}

fn record_sum(words: &[u64; RECORD_WORDS]) -> u64 {
    let mut bytes = [0; SUMMED_BYTES];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&words[BODY_WORD..]) {
        *bytes = word.to_le_bytes();
    }
    XxHash3_64::oneshot_with_seed(words[0], &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head_body::tests::sample;
    use proptest::prelude::*;

    fn record() -> HeadRecord {
        HeadRecord { seq: 9, body: sample(), durable_txnid: Txnid(10), durable_checksum: 5 }
    }

    #[test]
    fn a_head_record_reads_back_and_any_changed_word_is_noticed() {
        let words = record().encode();
        assert_eq!(HeadRecord::decode(&words), Ok(record()));
        for index in 0..=DURABLE_CHECKSUM_WORD {
            let mut bad = words;
            bad[index] ^= 1 << (index % 64);
            assert!(matches!(HeadRecord::decode(&bad), Err(FormatError::WrongChecksum { .. })), "{index}");
        }
    }

    #[test]
    fn a_head_cannot_build_on_its_future() {
        let words = HeadRecord { durable_txnid: Txnid(13), ..record() }.encode();
        let error = FormatError::BadLockFile("a head builds on a later durable transaction");
        assert_eq!(HeadRecord::decode(&words), Err(error));
    }

    #[test]
    fn a_writer_word_names_block_and_incarnation() {
        let word = WriterWord::held(0, 0x1_8003).unwrap();
        assert_eq!(word.0, 0x0003_0001);
        assert_eq!(word.block(), Some(0));
        assert!(word.is_held_by(0, 3) && !word.is_held_by(1, 3) && !word.is_held_by(0, 4));
        let awaited = word.with_waiters();
        assert!(awaited.has_waiters() && !word.has_waiters());
        assert!(awaited.is_held_by(0, 3) && !awaited.is_free());
        assert!(WriterWord::FREE.is_free() && WriterWord::FREE.block().is_none());
        assert_eq!(WriterWord::held(65534, 0x7fff).unwrap().0, 0x7fff_ffff);
        assert_eq!(WriterWord::held(65535, 0), None);
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_words_never_panic(changes: Vec<(usize, u64)>, word: u32) {
            let mut words = record().encode();
            for (index, change) in changes {
                words[2 + index % 254] = change;
            }
            words[1] = record_sum(&words);
            let _ = HeadRecord::decode(&words);
            let _ = (WriterWord(word).block(), WriterWord(word).is_held_by(3, word));
        }
    }
}
