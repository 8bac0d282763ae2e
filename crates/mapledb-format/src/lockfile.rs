//! The lock file: shared memory that all processes of one data file meet in. Layout version 3.
//!
//! ```text
//!      0  magic "MapleLK\n"           |   8 layout version u32  |  12 state u32 (0 new, 1 ready, 2 clean, 3 resumed)
//!     16  identity 16                 |  32 dev u64             |  40 ino u64     |  48 boot id 16
//!     64  published_seq u64           | 128 head_seq u64
//!    192  writer word u32             | 196 reserved u32        | 200 next_ticket u64
//!    256  last_txnid u64
//!    320  durable_txnid u64           | 328 meta_txnid u64 of A and B
//!    344  durable meta checksum u64   | 352 pages_allocated u64  | 360 poisoned u32
//!    384  wake word u32               | 388 wake waiters u32
//!    448  blocks_len u32: process blocks that have ever been claimed
//!    512  sync word u32              | 520 flight_txnid u64: the head that is being made durable, 0 none
//!   4096  counters, one to a 64-byte line
//!   7168  stages of commits, 256 bytes each: 30 counts u64, each of twice the time | total ns u64 | nothing 8
//!   8192  ring of 64 head records, 2048 bytes each
//! 139264  process blocks, 4096 bytes each, at most as many as 256 MiB hold
//!
//! head record
//!   0  seq u64   |  8 checksum u64  |  16 head body 1736
//! 1752  durable txnid u64           | 1760 durable meta checksum u64
//!
//! process block
//!   0  state u32 (0 free, 1 claimed)  |  4 incarnation u32  |  8 pid u32  |  12 slots_used u32
//!  16  claimed_at u64 (unix ns)       | 24 ticket u64 (of the writer lock waited for, 0 none; bit 63 handed)
//!  32  turn u32 (futex: writer lock)  | 36 waiting u32 (threads that wait for a commit)
//!  96  changes u64  | 104 commits u64 | 112 pages_written u64, by this owner
//! 128  62 reader slots, 64 bytes each
//!
//! reader slot
//!   0  pin u64 (0 free, else the pinned txnid; bit 63 parked, all bits evicted)  |  8 clones u32  |  12 tid u32
//!  16  began_at u64 (unix ns)  | 24 begins u64  | 32 seq u64 (of the head read, 0 for a named snapshot)
//!  56  gets u64 by this owner
//!
//! writer word and sync word: 0 free; 0xffff orphan, whose holder died and was cleaned up after; else bits 0..16 block
//! index + 1 and bits 16..31 the low bits of the block's incarnation. Bit 31 set while others wait
//! ```
//!
//! Each word that processes contend for has a 64-byte line to itself. The checksum of a head record is
//! XXH3-64, seeded with its seq, of its bytes 16 to 1768: a seq beside another record's body does not pass.
//!
//! The engine maps these bytes as structs of atomics (`mvcc/shared.rs`), whose offsets it holds against the
//! constants here when it is compiled.

use twox_hash::XxHash3_64;

use crate::head_body::{HEAD_BODY_BYTES, HeadBody};
use crate::ids::Txnid;
use crate::{FormatError, Result};

/// The first bytes of a lock file.
pub const LOCK_MAGIC: [u8; 8] = *b"MapleLK\n";
/// The version of this layout.
pub const LOCK_VERSION: u32 = 3;
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
/// How many pages have blocks, those of free runs without blocks apart, u64.
pub const PAGES_ALLOCATED_AT: usize = 352;
/// Whether a sync failed, u32.
pub const POISONED_AT: usize = 360;
/// The futex word of newer commits, u32.
pub const WAKE_WORD_AT: usize = 384;
/// How many wait on it, u32.
pub const WAKE_WAITERS_AT: usize = 388;
/// How many process blocks there are, u32.
pub const BLOCKS_LEN_AT: usize = 448;
/// The sync word, u32.
pub const SYNC_WORD_AT: usize = 512;
/// The txnid of the head that is being made durable, u64.
pub const FLIGHT_TXNID_AT: usize = 520;
/// The counters.
pub const COUNTERS_AT: usize = 4096;
/// The stages of commits.
pub const STAGES_AT: usize = 7168;
/// How many stages there are.
pub const STAGES_LEN: usize = 4;
/// The length of a stage in bytes.
pub const STAGE_BYTES: usize = 256;
/// Counts of a stage: count i is of times below 2^(i + 8) ns that the one before is not of; the last of all others.
pub const STAGE_COUNTS: usize = 30;
/// The ring of head records.
pub const RING_AT: usize = 8192;
/// Head records in the ring.
pub const RING_LEN: usize = 64;
/// The length of a head record in bytes.
pub const RECORD_BYTES: usize = 2048;
/// The length of a head record in 64-bit words.
pub const RECORD_WORDS: usize = RECORD_BYTES / 8;
/// In a head record: its checksum, u64.
pub const RECORD_CHECKSUM_AT: usize = 8;
/// In a head record: the head body, and behind it what the commit builds on. All of that is summed.
pub const RECORD_SEALED_AT: usize = 16;
/// The process blocks.
pub const BLOCKS_AT: usize = 139_264;
/// The length of a process block in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Reader slots of a process block.
pub const BLOCK_SLOTS: usize = 62;
/// The most bytes of a lock file: the address space that is set aside for one.
pub const LOCK_BYTES_MAX: usize = 256 << 20;
/// The most process blocks.
pub const BLOCKS_MAX: usize = (LOCK_BYTES_MAX - BLOCKS_AT) / BLOCK_BYTES;

/// State of a lock file that is being made.
pub const STATE_NEW: u32 = 0;
/// State of a lock file in use.
pub const STATE_READY: u32 = 1;
/// State of a lock file that its last process closed in order.
pub const STATE_CLEAN: u32 = 2;
/// State of a lock file in use after a clean close, the note of which may still be on the disk. No txnid has been given out
/// since.
pub const STATE_RESUMED: u32 = 3;

/// How far txnids jump at a recovery, and how far ahead of the last durable one they can be: a number further ahead has not
/// been counted to.
pub const TXNID_JUMP: u64 = 1 << 32;

/// In a block: its state, u32.
pub const BLOCK_STATE_AT: usize = 0;
/// In a block: its incarnation, u32.
pub const BLOCK_INCARNATION_AT: usize = 4;
/// In a block: the process, u32, for people only.
pub const BLOCK_PID_AT: usize = 8;
/// In a block: how many of its reader slots were ever used, u32.
pub const BLOCK_SLOTS_USED_AT: usize = 12;
/// In a block: when it was claimed, u64.
pub const BLOCK_CLAIMED_AT_AT: usize = 16;
/// In a block: the ticket it waits with for the writer lock, u64.
pub const BLOCK_TICKET_AT: usize = 24;
/// In a block: the futex word that calls its owner to the writer lock, u32.
pub const BLOCK_TURN_AT: usize = 32;
/// In a block: how many threads of its owner wait for a commit, u32.
pub const BLOCK_WAITING_AT: usize = 36;
/// In a block: how often its owner changed a table, u64.
pub const BLOCK_CHANGES_AT: usize = 96;
/// In a block: its owner's commits, u64.
pub const BLOCK_COMMITS_AT: usize = 104;
/// In a block: pages that its owner's commits wrote, u64.
pub const BLOCK_PAGES_WRITTEN_AT: usize = 112;
/// In a block: the reader slots.
pub const BLOCK_SLOTS_AT: usize = 128;
/// State of a block that nobody owns.
pub const BLOCK_FREE: u32 = 0;
/// State of a block that a process owns.
pub const BLOCK_CLAIMED: u32 = 1;
/// A ticket's bit for "the lock is on its way to you".
pub const TICKET_HANDED: u64 = 1 << 63;

/// The length of a reader slot in bytes.
pub const SLOT_BYTES: usize = 64;
/// In a slot: the pinned txnid or 0, u64.
pub const SLOT_PIN_AT: usize = 0;
/// A pin's bit for "parked": its owner does not read, and whoever wants the pages may evict it.
pub const PIN_PARKED: u64 = 1 << 63;
/// The pin of a slot whose parked reader was evicted: it pins nothing, and is its owner's until he comes back.
pub const PIN_EVICTED: u64 = u64::MAX;
/// In a slot: how many transactions share it, u32.
pub const SLOT_CLONES_AT: usize = 8;
/// In a slot: the thread, u32, for people only.
pub const SLOT_TID_AT: usize = 12;
/// In a slot: when the read began, u64.
pub const SLOT_BEGAN_AT_AT: usize = 16;
/// In a slot: how many reads began here, u64.
pub const SLOT_BEGINS_AT: usize = 24;
/// In a slot: the sequence number of the head that is read; 0 for a named snapshot, u64.
pub const SLOT_SEQ_AT: usize = 32;
/// In a slot: how many keys were looked up by reads begun here, u64.
pub const SLOT_GETS_AT: usize = 56;

/// In the lock file: byte `LIVENESS_BYTE + i` is write-locked by the process that owns block i.
pub const LIVENESS_BYTE: u64 = 1 << 40;
/// In the lock file: the byte held while attaching.
pub const ATTACH_BYTE: u64 = 1 << 41;
/// In the data file: locked shared by each process in shared mode; exclusively, it proves to be alone.
pub const UNIVERSE_BYTE: u64 = 1 << 61;
/// In the data file: locked shared by frozen readers.
pub const FROZEN_BYTE: u64 = UNIVERSE_BYTE + 1;

/// Sequence numbers and txnids of a lock file are believed below this: 2^62, out of reach of honest counting.
pub const NUMBER_MAX: u64 = 1 << 62;

const BODY_WORD: usize = RECORD_SEALED_AT / 8;
const DURABLE_TXNID_WORD: usize = BODY_WORD + HEAD_BODY_BYTES / 8;
const DURABLE_CHECKSUM_WORD: usize = DURABLE_TXNID_WORD + 1;
const SEALED_WORDS: usize = DURABLE_CHECKSUM_WORD + 1 - BODY_WORD;

const _: () = assert!(8 * DURABLE_TXNID_WORD == 1752);
const _: () = assert!(DURABLE_CHECKSUM_WORD < RECORD_WORDS);
const _: () = assert!(RING_AT + RING_LEN * RECORD_BYTES <= BLOCKS_AT);
const _: () = assert!(STAGES_AT + STAGES_LEN * STAGE_BYTES == RING_AT);
const _: () = assert!(8 * STAGE_COUNTS + 16 == STAGE_BYTES);
const _: () = assert!(BLOCK_SLOTS_AT + BLOCK_SLOTS * SLOT_BYTES == BLOCK_BYTES);
const _: () =
    assert!(BLOCKS_MAX < WriterWord::ORPHAN.0 as usize, "a name must fit 16 bits beside the orphan");
const _: () = assert!((LOCK_BYTES_MAX as u64) < LIVENESS_BYTE);
const _: () = assert!(LIVENESS_BYTE + (BLOCKS_MAX as u64) < ATTACH_BYTE);

/// Who holds the writer lock, or the right to sync, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterWord(pub u32);

impl WriterWord {
    /// Nobody holds it.
    pub const FREE: WriterWord = WriterWord(0);
    /// Nobody holds it; who did has died with it, and has been cleaned up after.
    pub const ORPHAN: WriterWord = WriterWord(0xffff);

    const WAITERS: u32 = 1 << 31;

    /// The word of the process that owns block `block`, below [`BLOCKS_MAX`], in `incarnation`.
    pub const fn held(block: usize, incarnation: u32) -> WriterWord {
        WriterWord((block as u32 + 1) & 0xffff | (incarnation & 0x7fff) << 16)
    }

    /// The block of the holder; none of a free word and an orphan. It may lie anywhere, for a file may hold
    /// any word.
    pub const fn block(self) -> Option<usize> {
        match self.0 & 0xffff {
            0 | 0xffff => None,
            name => Some(name as usize - 1),
        }
    }

    /// The word without its mark of waiters.
    pub const fn unmarked(self) -> WriterWord {
        WriterWord(self.0 & !WriterWord::WAITERS)
    }

    /// The word with the mark that others wait.
    pub const fn marked(self) -> WriterWord {
        WriterWord(self.0 | WriterWord::WAITERS)
    }

    /// Whether others wait.
    pub const fn is_marked(self) -> bool {
        self.0 & WriterWord::WAITERS != 0
    }

    /// The word of `next`, an unmarked one, marked if this one is: who waits, waits on.
    pub const fn passed_to(self, next: WriterWord) -> WriterWord {
        WriterWord(next.0 | self.0 & WriterWord::WAITERS)
    }
}

/// The checksum of head record `seq`, of which `sealed` are the words that begin at [`RECORD_SEALED_AT`].
pub fn record_checksum<const WORDS: usize>(seq: u64, sealed: &[u64; WORDS]) -> u64 {
    XxHash3_64::oneshot_with_seed(seq, sealed.map(u64::to_le_bytes).as_flattened())
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
        words[1] = sum_of(&words);
        words
    }

    /// Reads a record, after its checksum.
    pub fn decode(words: &[u64; RECORD_WORDS]) -> Result<HeadRecord> {
        let (stored, computed) = (words[1], sum_of(words));
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

fn sum_of(words: &[u64; RECORD_WORDS]) -> u64 {
    let sealed: [u64; SEALED_WORDS] = std::array::from_fn(|at| words[BODY_WORD + at]);
    record_checksum(words[0], &sealed)
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
        let word = WriterWord::held(0, 0x1_8003);
        assert_eq!(word.0, 0x0003_0001);
        assert_eq!(WriterWord::held(BLOCKS_MAX - 1, 0xffff_ffff).0, 0x7fff_ffde);
        for block in [0, 1, 77, BLOCKS_MAX - 1] {
            let word = WriterWord::held(block, 0xffff_ffff);
            assert!(!word.is_marked() && word.marked().is_marked());
            assert_eq!((word.block(), word.marked().block()), (Some(block), Some(block)));
            assert_eq!(word.marked().unmarked(), word);
        }
        assert_eq!(WriterWord::FREE.marked().block(), None);
        assert_eq!(WriterWord::ORPHAN.marked().block(), None);
    }

    #[test]
    fn who_waits_waits_on_when_the_word_passes() {
        let next = WriterWord::held(4, 1);
        assert_eq!(WriterWord::FREE.passed_to(next), next);
        assert_eq!(WriterWord::ORPHAN.marked().passed_to(next), next.marked());
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn arbitrary_words_never_panic(changes: Vec<(usize, u64)>, word: u32) {
            let mut words = record().encode();
            for (index, change) in changes {
                words[2 + index % 254] = change;
            }
            words[1] = sum_of(&words);
            let _ = HeadRecord::decode(&words);
            let _ = WriterWord(word).block();
        }
    }
}
