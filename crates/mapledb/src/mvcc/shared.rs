//! The lock file as structs of atomics, at the places that the format draws (`mapledb_format::lockfile`).

use mapledb_os::shared::Pad;
use mapledb_os::shared_struct;
use mapledb_os::sync::{AtomicU32, AtomicU64, Ordering};

use super::layout::{BLOCK_SLOTS, SEALED_WORDS, STAGE_COUNTS};
#[cfg(not(loom))]
use super::layout::{RECORD_BYTES, RECORD_SEALED_AT};

shared_struct! {
    /// Page 0: what the file is bound to, then the hot words, each group on a cache line of its own.
    pub struct Header {
        /// The magic.
        pub magic: AtomicU64,
        /// The layout's version.
        pub layout_version: AtomicU32,
        /// New, ready or clean.
        pub state: AtomicU32,
        /// The data file's identity.
        pub identity: [AtomicU64; 2],
        /// The data file's device.
        pub dev: AtomicU64,
        /// The data file's inode.
        pub ino: AtomicU64,
        /// The boot in which the file was made ready.
        pub boot_id: [AtomicU64; 2],
        /// The record that new readers see.
        pub published_seq: AtomicU64,
        /// Nothing.
        pub _pad0: Pad<56>,
        /// The record that the next writer builds on.
        pub head_seq: AtomicU64,
        /// Nothing.
        pub _pad1: Pad<56>,
        /// Who holds the writer lock.
        pub writer: AtomicU32,
        /// Reserved.
        pub _reserved: AtomicU32,
        /// The last ticket drawn for the writer lock.
        pub next_ticket: AtomicU64,
        /// Nothing.
        pub _pad2: Pad<48>,
        /// The last txnid given to a writer.
        pub last_txnid: AtomicU64,
        /// Nothing.
        pub _pad3: Pad<56>,
        /// The txnid of the last durable snapshot.
        pub durable_txnid: AtomicU64,
        /// The txnids in the two metas on disk.
        pub meta_txnid: [AtomicU64; 2],
        /// The checksum of the last durable meta.
        pub durable_meta_checksum: AtomicU64,
        /// How many pages have blocks.
        pub pages_allocated: AtomicU64,
        /// 1 after a failed sync.
        pub poisoned: AtomicU32,
        /// Nothing.
        pub _pad4: Pad<20>,
        /// Moves on with every publication.
        pub wake: AtomicU32,
        /// Threads that sleep on it.
        pub wake_waiters: AtomicU32,
        /// Nothing.
        pub _pad5: Pad<56>,
        /// Process blocks that have ever been claimed.
        pub blocks: AtomicU32,
        /// Nothing.
        pub _pad6: Pad<60>,
        /// Who has the right to sync.
        pub sync: AtomicU32,
        /// Nothing.
        pub _pad7: Pad<4>,
        /// The head that is being made durable.
        pub flight_txnid: AtomicU64,
        /// Nothing.
        pub _pad8: Pad<3568>,
    }
}

shared_struct! {
    /// A counter on its own cache line.
    pub struct Counter {
        /// The count.
        pub count: AtomicU64,
        /// Nothing.
        pub _pad: Pad<56>,
    }
}

impl Counter {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.count.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

shared_struct! {
    /// How long a stage of commits took, over all processes: a histogram whose steps double.
    pub struct Stage {
        /// Count i is of times below 2^(i + 8) ns that count i - 1 is not of.
        pub counts: [AtomicU64; STAGE_COUNTS],
        /// Their sum.
        pub total_ns: AtomicU64,
        /// Nothing.
        pub _pad: Pad<8>,
    }
}

impl Stage {
    /// Counts one that began then.
    pub fn count_since(&self, began: std::time::Instant) {
        let ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts[Stage::place(ns)].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Which count a time belongs to.
    fn place(ns: u64) -> usize {
        (64 - (ns >> 8).leading_zeros() as usize).min(STAGE_COUNTS - 1)
    }
}

shared_struct! {
    /// Page 1: what all processes have done since the lock file was made. What readers do is counted in their slots, for
    /// here they would share a cache line.
    pub struct Counters {
        /// Commits published.
        pub commits: Counter,
        /// Those of them that were relaxed.
        pub relaxed_commits: Counter,
        /// Write transactions given up.
        pub aborts: Counter,
        /// Pages sealed by commits.
        pub pages_written: Counter,
        /// Bytes handed to syncs.
        pub bytes_synced: Counter,
        /// Syncs.
        pub syncs: Counter,
        /// Growths of the data file.
        pub growths: Counter,
        /// Writer locks taken over from the dead.
        pub takeovers: Counter,
        /// Pages freed.
        pub pages_freed: Counter,
        /// Pages reused.
        pub pages_reused: Counter,
        /// Writer locks that had to be waited for.
        pub writer_waits: Counter,
        /// Process blocks cleaned up after the dead.
        pub reaped_blocks: Counter,
        /// Recoveries after an unclean end.
        pub recoveries: Counter,
        /// Poisoned environments healed.
        pub healed: Counter,
        /// Changes of tables by processes that have gone.
        pub past_changes: Counter,
        /// Lookups of keys by them.
        pub past_gets: Counter,
        /// Room for more.
        pub _rest: Pad<2048>,
        /// Waits for the writer lock.
        pub lock_waits: Stage,
        /// Trees and free space brought into their final form.
        pub seals: Stage,
        /// Syncs of pages and metas.
        pub flights: Stage,
        /// Calls of `commit`, from the first look to the answer.
        pub whole_commits: Stage,
    }
}

impl Counters {
    /// Each counter with its name, for display.
    pub fn named(&self) -> [(&'static str, &Counter); 14] {
        [
            ("commits", &self.commits),
            ("relaxed_commits", &self.relaxed_commits),
            ("aborts", &self.aborts),
            ("pages_written", &self.pages_written),
            ("bytes_synced", &self.bytes_synced),
            ("syncs", &self.syncs),
            ("growths", &self.growths),
            ("takeovers", &self.takeovers),
            ("pages_freed", &self.pages_freed),
            ("pages_reused", &self.pages_reused),
            ("writer_waits", &self.writer_waits),
            ("reaped_blocks", &self.reaped_blocks),
            ("recoveries", &self.recoveries),
            ("healed", &self.healed),
        ]
    }

    /// Each stage of commits with its name, in the order in which a commit comes through them; the last is the whole.
    pub fn stages(&self) -> [(&'static str, &Stage); 4] {
        [
            ("lock_wait", &self.lock_waits),
            ("seal", &self.seals),
            ("sync", &self.flights),
            ("commit", &self.whole_commits),
        ]
    }

    /// Begins anew.
    #[cfg(not(loom))]
    pub(super) fn reset(&self) {
        let past = [&self.past_changes, &self.past_gets];
        for counter in self.named().map(|(_, counter)| counter).into_iter().chain(past) {
            counter.count.store(0, Ordering::Relaxed);
        }
        for (_, stage) in self.stages() {
            stage.counts.iter().chain([&stage.total_ns]).for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
}

shared_struct! {
    /// A head record of the ring.
    pub struct Record {
        /// Its place in the sequence.
        pub seq: AtomicU64,
        /// XXH3-64 of `sealed`, seeded with `seq`.
        pub checksum: AtomicU64,
        /// The head body, then the durable txnid and the durable meta's checksum.
        pub sealed: [AtomicU64; SEALED_WORDS],
        /// Nothing.
        pub _pad: RecordRest,
    }
}

#[cfg(not(loom))]
type RecordRest = Pad<{ RECORD_BYTES - RECORD_SEALED_AT - 8 * SEALED_WORDS }>;
#[cfg(loom)]
type RecordRest = Pad<0>;

shared_struct! {
    /// A reader slot, on its own cache line.
    pub struct ReaderSlot {
        /// 0, or the txnid that a reader holds.
        pub pin: AtomicU64,
        /// Clones of the pin beside the first.
        pub clones: AtomicU32,
        /// The thread that began the read, for display.
        pub tid: AtomicU32,
        /// When it began, unix ns.
        pub began_at: AtomicU64,
        /// Reads begun here so far.
        pub begins: AtomicU64,
        /// The head that is read; 0 for a named snapshot.
        pub seq: AtomicU64,
        /// Nothing.
        pub _pad: Pad<16>,
        /// Keys looked up by reads begun here, by this owner.
        pub gets: AtomicU64,
    }
}

shared_struct! {
    /// A process block.
    pub struct Block {
        /// Free or claimed.
        pub state: AtomicU32,
        /// How often it has been claimed.
        pub incarnation: AtomicU32,
        /// The owner's process id, for display.
        pub pid: AtomicU32,
        /// Slots that have been used in this incarnation: no slot from here on is pinned.
        pub slots_used: AtomicU32,
        /// When it was claimed, unix ns.
        pub claimed_at: AtomicU64,
        /// The ticket with which the owner waits for the writer lock.
        pub ticket: AtomicU64,
        /// Moves on when the writer lock may have come to the owner.
        pub turn: AtomicU32,
        /// Threads of the owner that wait for a commit.
        pub waiting: AtomicU32,
        /// Nothing.
        pub _pad: Pad<56>,
        /// How often the owner changed a table.
        pub changes: AtomicU64,
        /// Its commits.
        pub commits: AtomicU64,
        /// Pages that they wrote.
        pub pages_written: AtomicU64,
        /// Nothing.
        pub _rest: Pad<8>,
        /// The slots.
        pub slots: [ReaderSlot; BLOCK_SLOTS],
    }
}

#[cfg(not(loom))]
mod facts {
    use std::mem::offset_of;

    use super::*;
    use crate::mvcc::layout::*;

    const _: () = assert!(offset_of!(Header, magic) == MAGIC_AT);
    const _: () = assert!(offset_of!(Header, layout_version) == VERSION_AT);
    const _: () = assert!(offset_of!(Header, state) == STATE_AT);
    const _: () = assert!(offset_of!(Header, identity) == IDENTITY_AT);
    const _: () = assert!(offset_of!(Header, dev) == DEV_AT);
    const _: () = assert!(offset_of!(Header, ino) == INO_AT);
    const _: () = assert!(offset_of!(Header, boot_id) == BOOT_ID_AT);
    const _: () = assert!(offset_of!(Header, published_seq) == PUBLISHED_SEQ_AT);
    const _: () = assert!(offset_of!(Header, head_seq) == HEAD_SEQ_AT);
    const _: () = assert!(offset_of!(Header, writer) == WRITER_WORD_AT);
    const _: () = assert!(offset_of!(Header, next_ticket) == NEXT_TICKET_AT);
    const _: () = assert!(offset_of!(Header, last_txnid) == LAST_TXNID_AT);
    const _: () = assert!(offset_of!(Header, durable_txnid) == DURABLE_TXNID_AT);
    const _: () = assert!(offset_of!(Header, meta_txnid) == META_TXNID_AT);
    const _: () = assert!(offset_of!(Header, durable_meta_checksum) == DURABLE_CHECKSUM_AT);
    const _: () = assert!(offset_of!(Header, pages_allocated) == PAGES_ALLOCATED_AT);
    const _: () = assert!(offset_of!(Header, poisoned) == POISONED_AT);
    const _: () = assert!(offset_of!(Header, wake) == WAKE_WORD_AT);
    const _: () = assert!(offset_of!(Header, wake_waiters) == WAKE_WAITERS_AT);
    const _: () = assert!(offset_of!(Header, blocks) == BLOCKS_LEN_AT);
    const _: () = assert!(offset_of!(Header, sync) == SYNC_WORD_AT);
    const _: () = assert!(offset_of!(Header, flight_txnid) == FLIGHT_TXNID_AT);
    const _: () = assert!(size_of::<Header>() == COUNTERS_AT);
    const _: () = assert!(size_of::<Counters>() == RING_AT - COUNTERS_AT);

    const _: () = assert!(offset_of!(Record, seq) == 0);
    const _: () = assert!(offset_of!(Record, checksum) == RECORD_CHECKSUM_AT);
    const _: () = assert!(offset_of!(Record, sealed) == RECORD_SEALED_AT);
    const _: () = assert!(size_of::<Record>() == RECORD_BYTES);

    const _: () = assert!(offset_of!(Block, state) == BLOCK_STATE_AT);
    const _: () = assert!(offset_of!(Block, incarnation) == BLOCK_INCARNATION_AT);
    const _: () = assert!(offset_of!(Block, pid) == BLOCK_PID_AT);
    const _: () = assert!(offset_of!(Block, slots_used) == BLOCK_SLOTS_USED_AT);
    const _: () = assert!(offset_of!(Block, claimed_at) == BLOCK_CLAIMED_AT_AT);
    const _: () = assert!(offset_of!(Block, ticket) == BLOCK_TICKET_AT);
    const _: () = assert!(offset_of!(Block, turn) == BLOCK_TURN_AT);
    const _: () = assert!(offset_of!(Block, waiting) == BLOCK_WAITING_AT);
    const _: () = assert!(offset_of!(Block, changes) == BLOCK_CHANGES_AT);
    const _: () = assert!(offset_of!(Block, commits) == BLOCK_COMMITS_AT);
    const _: () = assert!(offset_of!(Block, pages_written) == BLOCK_PAGES_WRITTEN_AT);
    const _: () = assert!(offset_of!(Block, slots) == BLOCK_SLOTS_AT);
    const _: () = assert!(size_of::<Block>() == BLOCK_BYTES);

    const _: () = assert!(offset_of!(ReaderSlot, pin) == SLOT_PIN_AT);
    const _: () = assert!(offset_of!(ReaderSlot, clones) == SLOT_CLONES_AT);
    const _: () = assert!(offset_of!(ReaderSlot, tid) == SLOT_TID_AT);
    const _: () = assert!(offset_of!(ReaderSlot, began_at) == SLOT_BEGAN_AT_AT);
    const _: () = assert!(offset_of!(ReaderSlot, begins) == SLOT_BEGINS_AT);
    const _: () = assert!(offset_of!(ReaderSlot, gets) == SLOT_GETS_AT);
    const _: () = assert!(offset_of!(ReaderSlot, seq) == SLOT_SEQ_AT);
    const _: () = assert!(size_of::<ReaderSlot>() == SLOT_BYTES);

    const _: () = assert!(size_of::<Stage>() == STAGE_BYTES);
    const _: () = assert!(COUNTERS_AT + offset_of!(Counters, lock_waits) == STAGES_AT);
}
