//! The ring of head records: what the next writer builds on, and what a new reader sees.
//!
//! A writer fills the record after the newest (`append`), which makes it the *head*, and later makes it the
//! *published* one. Records are never changed in place: record `s` is overwritten by record `s + RING_LEN` only.
//! A reader copies the published record with plain relaxed loads and looks whether it is still published; if so, no
//! word of the copy can have been torn, because before the record's place is taken again the published sequence
//! must have moved on by `RING_LEN - 1`.
//!
//! A reader's copy is checked by that alone. A writer's, and what recovery finds, is checked by a checksum.

use mapledb_os::sync::{AtomicU64, Ordering, fence, load_after_fence};

use super::layout::*;
use super::memory::LockMemory;
use super::shared::Record;
use super::{MvccError, Result};
use mapledb_os::planted;

/// What a reader needs of a head: the first words of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its place in the sequence of heads.
    pub seq: u64,
    /// Words from the txnid through the catalog's tree record.
    pub words: [u64; HEAD_WORDS],
    /// The last durable snapshot when it was published, which is itself if it was durable then.
    pub durable_txnid: u64,
}

impl Head {
    /// No head: no sequence begins with 0.
    pub(crate) const NONE: Head = Head { seq: 0, words: [0; HEAD_WORDS], durable_txnid: 0 };

    /// The reader's part of a record.
    pub(super) fn of(record: &HeadRecord) -> Head {
        let words = std::array::from_fn(|i| record.head.body[i]);
        Head { seq: record.seq, words, durable_txnid: record.head.durable_txnid }
    }

    /// The txnid that made it.
    pub fn txnid(&self) -> u64 {
        self.words[0]
    }
}

/// What a writer puts on the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHead {
    /// The head body, as it stands in the meta that describes it, as little-endian words.
    pub body: [u64; BODY_WORDS],
    /// The durable snapshot that it builds on.
    pub durable_txnid: u64,
    /// The checksum of that snapshot's meta.
    pub durable_meta_checksum: u64,
}

impl NewHead {
    /// The txnid that made it.
    pub fn txnid(&self) -> u64 {
        self.body[0]
    }
}

/// A whole record, with a checksum that was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRecord {
    /// Its place in the sequence of heads.
    pub seq: u64,
    /// What the writer put there.
    pub head: NewHead,
}

/// Makes `head` a copy of the reader's part of the record that is published now, unless it is one. It means nothing until
/// [`still_published`] has said so; from then on it stays one, for a record is never changed and no sequence used twice.
#[inline(always)]
pub(super) fn copy_published(memory: &LockMemory, head: &mut Head) {
    let seq = memory.header().published_seq.load(Ordering::Acquire);
    if head.seq != seq {
        copy_words(memory, seq, head);
    }
}

/// Makes `head` a copy of the reader's part of record `seq`.
fn copy_words(memory: &LockMemory, seq: u64, head: &mut Head) {
    let record = place(memory, seq);
    head.seq = seq;
    for (word, from) in head.words.iter_mut().zip(&record.sealed) {
        *word = from.load(Ordering::Relaxed);
    }
    // The models have no page whose age it would tell.
    if cfg!(not(loom)) {
        head.durable_txnid = record.sealed[BODY_WORDS].load(Ordering::Relaxed);
    }
}

/// Whether `head` is still the published one; an error where it is and cannot have been written by a writer.
///
/// The caller has fenced (`SeqCst`) since it copied. If some word of the copy came from a later record, the
/// fence synchronises with the one in [`append`] that preceded it, and this load sees the later sequence.
#[inline]
pub(super) fn still_published(memory: &LockMemory, head: &Head) -> Result<bool> {
    if load_after_fence(&memory.header().published_seq, Ordering::Relaxed) != head.seq {
        return Ok(false);
    }
    let seq_matches = place(memory, head.seq).seq.load(Ordering::Relaxed) == head.seq;
    if seq_matches && (1..NUMBER_MAX).contains(&head.txnid()) {
        return Ok(true);
    }
    // A writer may have begun to take the place just now; then the sequence has moved on, too.
    fence(Ordering::Acquire);
    if memory.header().published_seq.load(Ordering::Relaxed) != head.seq {
        return Ok(false);
    }
    Err(bad(memory, head.seq, "the published head record is not the one that was published"))
}

/// The newest head, published or not.
pub(super) fn head(memory: &LockMemory) -> Result<HeadRecord> {
    settled(memory, &memory.header().head_seq)
}

/// The newest head's txnid. The caller holds the writer lock, so the record stays where it is.
pub(super) fn head_txnid(memory: &LockMemory) -> Result<u64> {
    let seq = memory.header().head_seq.load(Ordering::Acquire);
    let record = place(memory, seq);
    match record.seq.load(Ordering::Relaxed) == seq {
        true => Ok(record.sealed[0].load(Ordering::Relaxed)),
        false => Err(bad(memory, seq, "another head record lies in this one's place")),
    }
}

/// The published head, whole.
pub(super) fn published(memory: &LockMemory) -> Result<HeadRecord> {
    settled(memory, &memory.header().published_seq)
}

/// Copies the record that `word` names, again as long as the word moves under the copy.
fn settled(memory: &LockMemory, word: &AtomicU64) -> Result<HeadRecord> {
    loop {
        let seq = word.load(Ordering::Acquire);
        let record = copy(memory, seq);
        fence(Ordering::Acquire);
        if record.is_ok() || word.load(Ordering::Relaxed) == seq {
            return record;
        }
    }
}

/// Copies record `seq`, checksum and all.
pub(super) fn copy(memory: &LockMemory, seq: u64) -> Result<HeadRecord> {
    let record = place(memory, seq);
    let sealed: [u64; SEALED_WORDS] = std::array::from_fn(|i| record.sealed[i].load(Ordering::Relaxed));
    if record.seq.load(Ordering::Relaxed) != seq {
        return Err(bad(memory, seq, "another head record lies in this one's place"));
    }
    if record.checksum.load(Ordering::Relaxed) != record_checksum(seq, &sealed) {
        return Err(bad(memory, seq, "a head record's checksum is wrong"));
    }
    let body = std::array::from_fn(|i| sealed[i]);
    if !(1..NUMBER_MAX).contains(&body[0]) || !(1..NUMBER_MAX).contains(&seq) {
        return Err(bad(memory, seq, "a head record's number is out of range"));
    }
    let (durable_txnid, durable_meta_checksum) = (sealed[BODY_WORDS], sealed[BODY_WORDS + 1]);
    Ok(HeadRecord { seq, head: NewHead { body, durable_txnid, durable_meta_checksum } })
}

/// Puts `new` after the newest head. The caller holds the writer lock.
pub(super) fn append(memory: &LockMemory, new: &NewHead) -> Result<u64> {
    let header = memory.header();
    let published = header.published_seq.load(Ordering::Acquire);
    let head = header.head_seq.load(Ordering::Acquire);
    if published > head || head >= NUMBER_MAX {
        return Err(memory.bad(HEAD_SEQ_AT, "the published head is after the newest one"));
    }
    let seq = head + 1;
    // The place of `seq` held `seq - RING_LEN`; who still copies that must find it no longer published.
    let waiting = seq - published;
    if waiting >= RING_LEN as u64 {
        return Err(MvccError::RingFull(waiting - 1));
    }
    write(memory, seq, new);
    header.head_seq.store(seq, Ordering::Release);
    Ok(seq)
}

/// Fills the place of record `seq`.
pub(super) fn write(memory: &LockMemory, seq: u64, new: &NewHead) {
    let record = place(memory, seq);
    // The publications seen so far come before every store below: a reader that meets one of the new words and
    // fences then finds the published sequence moved on, whichever process moved it.
    if !planted("no_ring_fence") {
        fence(Ordering::Release);
    }
    let sealed = sealed_words(new);
    record.seq.store(seq, Ordering::Relaxed);
    for (word, value) in record.sealed.iter().zip(sealed) {
        word.store(value, Ordering::Relaxed);
    }
    record.checksum.store(record_checksum(seq, &sealed), Ordering::Relaxed);
}

/// Shows readers the heads up to `seq`. The caller holds the writer lock, or the right to publish in its stead.
/// An older `seq` than the published one changes nothing.
pub(super) fn publish_up_to(memory: &LockMemory, seq: u64) -> Result<()> {
    let header = memory.header();
    if seq > header.head_seq.load(Ordering::Acquire) {
        return Err(memory.bad(PUBLISHED_SEQ_AT, "a head is to be published that was not appended"));
    }
    let ordering = if planted("unordered_publication") { Ordering::Relaxed } else { Ordering::AcqRel };
    header.published_seq.fetch_max(seq, ordering);
    Ok(())
}

/// Takes head `seq`, the newest, back. The caller holds the writer lock and the right to sync.
pub(super) fn take_back(memory: &LockMemory, seq: u64) -> Result<()> {
    let header = memory.header();
    if header.head_seq.load(Ordering::Acquire) != seq || header.published_seq.load(Ordering::Acquire) >= seq {
        return Err(
            memory.bad(HEAD_SEQ_AT, "a head is to be taken back that is not the newest, or is published")
        );
    }
    header.head_seq.store(seq - 1, Ordering::Release);
    Ok(())
}

#[inline]
fn place(memory: &LockMemory, seq: u64) -> &Record {
    &memory.ring()[(seq % RING_LEN as u64) as usize]
}

fn sealed_words(new: &NewHead) -> [u64; SEALED_WORDS] {
    let mut sealed = [0; SEALED_WORDS];
    let (body, durable) = sealed.split_at_mut(BODY_WORDS);
    body.copy_from_slice(&new.body);
    durable.copy_from_slice(&[new.durable_txnid, new.durable_meta_checksum]);
    sealed
}

fn bad(memory: &LockMemory, seq: u64, what: &'static str) -> MvccError {
    memory.bad(RING_AT + (seq % RING_LEN as u64) as usize * RECORD_BYTES, what)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn new_head(txnid: u64) -> NewHead {
        NewHead { body: [txnid; BODY_WORDS], durable_txnid: 1, durable_meta_checksum: 7 }
    }

    fn copied(memory: &LockMemory) -> Head {
        let mut head = Head::NONE;
        copy_published(memory, &mut head);
        head
    }

    fn memory() -> LockMemory {
        let memory = LockMemory::private().expect("memory");
        append(&memory, &new_head(1)).expect("append");
        publish_up_to(&memory, 1).expect("publish");
        memory
    }

    #[test]
    fn a_head_is_seen_by_writers_when_appended_and_by_readers_when_published() {
        let memory = memory();
        let seq = append(&memory, &new_head(5)).expect("append");
        assert_eq!(head(&memory).expect("head").head, new_head(5));
        assert_eq!(copied(&memory).txnid(), 1);
        publish_up_to(&memory, seq).expect("publish");
        let copy = copied(&memory);
        assert_eq!(copy.words, [5; HEAD_WORDS]);
        assert_eq!(copy.durable_txnid, 1);
        assert!(still_published(&memory, &copy).expect("sound"));
        publish_up_to(&memory, seq - 1).expect("publish");
        assert_eq!(published(&memory).expect("published").seq, seq, "publication never goes back");
    }

    #[test]
    fn the_published_record_is_never_overwritten() {
        let memory = memory();
        for txnid in 2..=RING_LEN as u64 {
            append(&memory, &new_head(txnid)).expect("append");
        }
        let waiting = RING_LEN as u64 - 1;
        assert!(matches!(append(&memory, &new_head(99)), Err(MvccError::RingFull(n)) if n == waiting));
        assert_eq!(published(&memory).expect("published").head.txnid(), 1);
        publish_up_to(&memory, 2).expect("publish");
        append(&memory, &new_head(99)).expect("there is a place now");
        assert_eq!(published(&memory).expect("published").head.txnid(), 2);
    }

    #[test]
    fn a_damaged_record_is_an_error_to_writers() {
        let memory = memory();
        place(&memory, 1).sealed[100].store(3, Ordering::Relaxed);
        assert!(matches!(head(&memory), Err(MvccError::BadLockFile { .. })));
    }

    #[test]
    fn a_record_in_the_wrong_place_is_an_error_to_readers() {
        let memory = memory();
        memory.header().published_seq.store(u64::MAX, Ordering::Relaxed);
        let copy = copied(&memory);
        assert!(matches!(still_published(&memory, &copy), Err(MvccError::BadLockFile { .. })));
        assert!(append(&memory, &new_head(2)).is_err());
    }
}
