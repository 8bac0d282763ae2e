//! What the disk may hold of a file, given what was stored to it and what was synced.
//!
//! A block is a kernel page of 4 KiB. Between two syncs the kernel may write it at any moment, or not, so after a crash
//! it holds any content it has had since the last sync that covered it; and a disk writes 512 bytes at a time, so each
//! of its eight sectors does. Blocks know nothing of each other: any subset may have been written, in any order.
//!
//! A length is durable when the file itself has been synced through its descriptor; `msync` promises bytes, not
//! lengths. So after a crash the file has any length it has had since.
//!
//! A page that was punched out has no block until one is allocated for it; and since that is not known to be on disk before
//! the file itself has been synced, a crash may take it again.
//!
//! A failed sync leaves what it covered *clean*: the kernel does not write it again by itself, and a later sync that
//! succeeds says nothing about it. Only a new store makes it dirty. And being clean it may be evicted, after which the
//! file shows what the disk holds.

mod bytes;
mod choice;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use rand::Rng;
use rand::rngs::SmallRng;

pub(crate) use self::bytes::ZEROS;
pub use self::bytes::{Bytes, Content};
pub(crate) use self::choice::Chooser;
use self::choice::Style;

/// The bytes of a block: a kernel page.
pub const BLOCK_BYTES: usize = 4096;
/// The bytes of a sector: what a disk writes at once.
pub const SECTOR_BYTES: usize = 512;

/// The blocks of a range.
fn blocks_of(offset: u64, len: u64) -> std::ops::Range<u64> {
    offset / BLOCK_BYTES as u64..(offset + len).div_ceil(BLOCK_BYTES as u64)
}

/// The parts of a file that are not holes, of whole blocks.
fn data_ranges(file: &File, len: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let begin = match lseek(file, at as i64, Whence::SeekData) {
            Ok(begin) => begin as u64 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = lseek(file, begin.max(at) as i64, Whence::SeekHole)? as u64;
        ranges.push((begin, end.min(len)));
        at = end.next_multiple_of(BLOCK_BYTES as u64);
    }
    Ok(ranges)
}

/// One block: what the page cache shows, and what the disk may hold.
#[derive(Clone, Debug)]
struct Block {
    shown: Content,
    /// Contents the disk may hold, oldest first.
    may_hold: Vec<Content>,
    is_dirty: bool,
    /// The syncs that run: what each found, and how many contents there were then.
    in_sync: Vec<(SyncId, Content, usize)>,
}

/// A sync that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncId(u64);

/// A sync that found the state `before` contents old has succeeded: what another that runs found, it found before that,
/// and then says nothing any more, or after it.
fn settle<T>(may_hold: &mut Vec<T>, running: &mut Vec<(SyncId, T, usize)>, id: SyncId) {
    let Some(at) = running.iter().position(|(other, ..)| *other == id) else { return };
    let (_, found, before) = running.swap_remove(at);
    may_hold.splice(..before, [found]);
    running.retain_mut(|(_, _, other)| {
        *other = (*other + 1).saturating_sub(before);
        *other > 0
    });
}

/// What the page cache shows of a file and what the disk may hold of it. Cloning costs a count for each block.
#[derive(Clone, Debug)]
pub struct Disk {
    blocks: Vec<Arc<Block>>,
    len_bytes: u64,
    /// Lengths the file may have on disk, in the order it had them.
    lens: Vec<u64>,
    len_in_sync: Vec<(SyncId, u64, usize)>,
    syncs: u64,
    /// Blocks that were punched out and not allocated since.
    holes: Arc<BTreeSet<u64>>,
    /// Those that were allocated since, which the disk may not know yet.
    filled: Arc<BTreeSet<u64>>,
    filled_in_sync: Vec<(SyncId, Arc<BTreeSet<u64>>)>,
}

impl Disk {
    /// A file whose every byte is durable.
    pub fn synced(bytes: &Bytes) -> Disk {
        let blocks = bytes.blocks.iter().map(|content| Arc::new(Block::holding(content))).collect();
        let len_bytes = bytes.len_bytes;
        Disk {
            blocks,
            len_bytes,
            lens: vec![len_bytes],
            len_in_sync: Vec::new(),
            syncs: 0,
            holes: Arc::default(),
            filled: Arc::default(),
            filled_in_sync: Vec::new(),
        }
    }

    /// As [`Disk::synced`], where these blocks may be holes.
    pub fn with_holes(bytes: &Bytes, holes: BTreeSet<u64>) -> Disk {
        Disk { holes: Arc::new(holes), ..Disk::synced(bytes) }
    }

    /// The blocks of a range were given back.
    pub fn punched(&mut self, offset: u64, len: u64) {
        Arc::make_mut(&mut self.holes).extend(blocks_of(offset, len));
    }

    /// Blocks were allocated for a range.
    pub fn allocated(&mut self, offset: u64, len: u64) {
        let range = blocks_of(offset, len);
        let filled: Vec<u64> = self.holes.range(range).copied().collect();
        if !filled.is_empty() {
            let holes = Arc::make_mut(&mut self.holes);
            filled.iter().for_each(|block| {
                holes.remove(block);
            });
            Arc::make_mut(&mut self.filled).extend(filled);
        }
    }

    /// A block of a range that is a hole.
    pub fn hole_in(&self, offset: u64, len: u64) -> Option<u64> {
        self.holes.range(blocks_of(offset, len)).next().copied()
    }

    /// The blocks that may be holes after a crash of the system.
    pub fn holes_after_crash(&self) -> BTreeSet<u64> {
        let settling = self.filled_in_sync.iter().flat_map(|(_, blocks)| blocks.iter());
        self.holes.iter().chain(self.filled.iter()).chain(settling).copied().collect()
    }

    /// Takes note of what a file shows now; answers whether it shows anything new.
    ///
    /// Cost: a comparison of what is not a hole.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn observe_file(&mut self, file: &File, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let len = file.metadata()?.len();
        let mut is_new = self.observe_length(len);
        let mut next = 0;
        for (begin, end) in data_ranges(file, len)? {
            let first = begin as usize / BLOCK_BYTES;
            is_new |= self.observe_zeros(next, first);
            buffer.resize((end - begin) as usize, 0);
            file.read_exact_at(buffer, begin)?;
            is_new |= self.observe_blocks(first, buffer);
            next = (end as usize).div_ceil(BLOCK_BYTES);
        }
        // What is past the end is gone; should the file grow again, it is zero.
        is_new |= self.observe_zeros(next, self.blocks.len());
        Ok(is_new)
    }

    fn observe_length(&mut self, len: u64) -> bool {
        let is_new = len != self.len_bytes;
        if is_new {
            self.len_bytes = len;
            self.lens.push(len);
        }
        is_new
    }

    fn observe_zeros(&mut self, first: usize, end: usize) -> bool {
        let end = end.min(self.blocks.len());
        let mut is_new = false;
        for index in first.min(end)..end {
            if !Arc::ptr_eq(&self.blocks[index].shown, &ZEROS) {
                is_new |= self.observe_block(index, &ZEROS);
            }
        }
        is_new
    }

    fn observe_blocks(&mut self, first: usize, bytes: &[u8]) -> bool {
        let (whole, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let mut is_new = false;
        for (index, content) in whole.iter().enumerate() {
            is_new |= self.observe_block(first + index, content);
        }
        if !rest.is_empty() {
            let mut content = [0; BLOCK_BYTES];
            content[..rest.len()].copy_from_slice(rest);
            is_new |= self.observe_block(first + whole.len(), &content);
        }
        is_new
    }

    /// Takes note of what the file shows now.
    pub fn observe(&mut self, bytes: &[u8]) {
        self.observe_length(bytes.len() as u64);
        self.observe_blocks(0, bytes);
        self.observe_zeros(bytes.len().div_ceil(BLOCK_BYTES), self.blocks.len());
    }

    fn observe_block(&mut self, index: usize, content: &[u8; BLOCK_BYTES]) -> bool {
        while self.blocks.len() <= index {
            self.blocks.push(Arc::new(Block::holding(&ZEROS)));
        }
        let is_new = *self.blocks[index].shown != *content;
        if is_new {
            let block = Arc::make_mut(&mut self.blocks[index]);
            block.shown = if *content == **ZEROS { Arc::clone(&ZEROS) } else { Arc::new(*content) };
            block.may_hold.push(Arc::clone(&block.shown));
            block.is_dirty = true;
        }
        is_new
    }

    fn covered(&mut self, offset: u64, len: u64) -> &mut [Arc<Block>] {
        let first = (offset as usize / BLOCK_BYTES).min(self.blocks.len());
        let end = ((offset + len) as usize).div_ceil(BLOCK_BYTES).clamp(first, self.blocks.len());
        &mut self.blocks[first..end]
    }

    /// Takes note that a range was stored to, whether or not it shows.
    pub fn stored(&mut self, offset: u64, len: u64) {
        for block in self.covered(offset, len) {
            if !block.is_dirty {
                Arc::make_mut(block).is_dirty = true;
            }
        }
    }

    /// A sync of a range begins. `observe` came just before.
    pub fn sync_begins(&mut self, offset: u64, len: u64, with_length: bool) -> SyncId {
        self.syncs += 1;
        let id = SyncId(self.syncs);
        for block in self.covered(offset, len) {
            if block.is_dirty {
                let block = Arc::make_mut(block);
                block.in_sync.push((id, Arc::clone(&block.shown), block.may_hold.len()));
                block.is_dirty = false;
            }
        }
        if with_length {
            self.filled_in_sync.push((id, std::mem::take(&mut self.filled)));
            self.len_in_sync.push((id, self.len_bytes, self.lens.len()));
        }
        id
    }

    /// The sync that began has succeeded: what it found is durable.
    pub fn sync_succeeds(&mut self, id: SyncId) {
        for block in self.blocks.iter_mut().filter(|block| !block.in_sync.is_empty()) {
            let block = Arc::make_mut(block);
            settle(&mut block.may_hold, &mut block.in_sync, id);
        }
        settle(&mut self.lens, &mut self.len_in_sync, id);
        self.filled_in_sync.retain(|(other, _)| *other != id);
    }

    /// The sync that began has failed: what it found is clean, on disk or not.
    pub fn sync_fails(&mut self, id: SyncId) {
        for block in self.blocks.iter_mut().filter(|block| !block.in_sync.is_empty()) {
            Arc::make_mut(block).in_sync.retain(|(other, ..)| *other != id);
        }
        self.len_in_sync.retain(|(other, ..)| *other != id);
        for (_, blocks) in self.filled_in_sync.extract_if(.., |(other, _)| *other == id) {
            Arc::make_mut(&mut self.filled).extend(blocks.iter());
        }
    }

    /// Who waited for the sync has died: what it found may be on disk, and is as dirty as it was if it is not.
    pub fn sync_is_cut_off(&mut self, id: SyncId) {
        for block in self.blocks.iter_mut().filter(|block| !block.in_sync.is_empty()) {
            let block = Arc::make_mut(block);
            block.is_dirty |= block.in_sync.iter().any(|(other, ..)| *other == id);
        }
        self.sync_fails(id);
    }

    /// As [`Disk::sync_is_cut_off`], of every sync that runs.
    pub fn syncs_are_cut_off(&mut self) {
        let in_blocks = self.blocks.iter().flat_map(|block| &block.in_sync).map(|(id, ..)| *id);
        let of_length = self.len_in_sync.iter().map(|(id, ..)| *id);
        let running: BTreeSet<SyncId> = in_blocks.chain(of_length).collect();
        running.into_iter().for_each(|id| self.sync_is_cut_off(id));
    }

    /// The kernel evicts clean blocks, which then show what the disk holds. Answers those that show something else now.
    pub fn evict(&mut self, rng: &mut SmallRng) -> Vec<(u64, Content)> {
        let style = Style::random(rng);
        let mut changed = Vec::new();
        for index in 0..self.blocks.len() {
            let block = &self.blocks[index];
            if block.is_dirty || block.may_hold.len() < 2 || rng.random_ratio(1, 4) {
                continue;
            }
            let content = style.choose(&block.may_hold, is_meta(index), rng);
            let block = Arc::make_mut(&mut self.blocks[index]);
            block.may_hold = vec![Arc::clone(&content)];
            if !Arc::ptr_eq(&block.shown, &content) {
                changed.push(((index * BLOCK_BYTES) as u64, Arc::clone(&content)));
            }
            block.shown = content;
        }
        changed
    }

    /// What the file shows: after the death of processes alone, what is there.
    pub fn shown(&self) -> Bytes {
        self.assemble(self.len_bytes, |_, block| Arc::clone(&block.shown))
    }

    /// One of the contents the disk may hold after a crash of the system, and how it was chosen.
    pub fn after_crash(&self, rng: &mut SmallRng) -> (Bytes, String) {
        let mut chooser = Chooser::new(self.open_blocks(), true, rng);
        let len = chooser.length(&self.lens, rng);
        let bytes = self.assemble(len, |index, block| match &block.may_hold[..] {
            [only] => Arc::clone(only),
            several => chooser.choose(several, is_meta(index), rng),
        });
        (bytes, chooser.style())
    }

    /// What the disk holds if everything was written.
    pub fn newest(&self) -> Bytes {
        let len = self.lens[self.lens.len() - 1];
        self.assemble(len, |_, block| Arc::clone(&block.may_hold[block.may_hold.len() - 1]))
    }

    /// How many blocks the disk may hold in more than one way.
    pub fn open_blocks(&self) -> usize {
        self.blocks.iter().filter(|block| block.may_hold.len() > 1).count()
    }

    fn assemble(&self, len_bytes: u64, mut content: impl FnMut(usize, &Block) -> Content) -> Bytes {
        let all = self.blocks.iter().enumerate();
        let mut blocks: Vec<Content> = all.map(|(index, block)| content(index, block)).collect();
        blocks.truncate((len_bytes as usize).div_ceil(BLOCK_BYTES));
        Bytes { len_bytes, blocks }
    }
}

impl Block {
    /// A block that is on the disk.
    fn holding(content: &Content) -> Block {
        let (shown, may_hold) = (Arc::clone(content), vec![Arc::clone(content)]);
        Block { shown, may_hold, is_dirty: false, in_sync: Vec::new() }
    }
}

/// Whether a block of a data file is that of meta A or of meta B.
fn is_meta(index: usize) -> bool {
    index == 0 || index == (64 << 10) / BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn file(fill: &[u8]) -> Vec<u8> {
        fill.iter().flat_map(|byte| [*byte; BLOCK_BYTES]).collect()
    }

    fn after_crash(disk: &Disk, rng: &mut SmallRng) -> Vec<u8> {
        let (bytes, _) = disk.after_crash(rng);
        let mut flat: Vec<u8> = bytes.blocks.iter().flat_map(|block| **block).collect();
        flat.resize(bytes.len_bytes as usize, 0);
        flat
    }

    #[test]
    fn what_a_sync_found_whose_process_died_is_settled_by_the_next() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut disk = Disk::with_holes(&Bytes::of(&file(&[1, 2])), BTreeSet::from([1]));
        disk.allocated(BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        disk.observe(&file(&[1, 3]));
        disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.syncs_are_cut_off();
        assert_eq!(disk.holes_after_crash(), BTreeSet::from([1]), "nobody knows of a block yet");
        let next = disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.sync_succeeds(next);
        assert_eq!(disk.holes_after_crash(), BTreeSet::new());
        assert!((0..100).all(|_| after_crash(&disk, &mut rng) == file(&[1, 3])));
    }

    #[test]
    fn what_was_synced_is_there_and_what_was_not_may_be() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut disk = Disk::synced(&Bytes::of(&file(&[1, 2])));
        disk.observe(&file(&[3, 4]));
        let sync = disk.sync_begins(0, BLOCK_BYTES as u64, false);
        let during: Vec<_> = (0..200).map(|_| after_crash(&disk, &mut rng)[0]).collect();
        assert!(during.contains(&1) && during.contains(&3), "a sync that runs promises nothing");
        disk.sync_succeeds(sync);
        let images: Vec<_> = (0..200).map(|_| after_crash(&disk, &mut rng)).collect();
        assert!(images.iter().all(|image| image[..BLOCK_BYTES] == file(&[3])));
        assert!(images.iter().any(|image| image[BLOCK_BYTES] == 2));
        assert!(images.iter().any(|image| image[BLOCK_BYTES] == 4));
        assert!(images.iter().any(|image| {
            let block = &image[BLOCK_BYTES..];
            block.contains(&2) && block.contains(&4) && block[0] == block[SECTOR_BYTES - 1]
        }));
    }

    #[test]
    fn after_a_failed_sync_only_what_is_stored_again_becomes_durable() {
        let mut rng = SmallRng::seed_from_u64(2);
        let mut disk = Disk::synced(&Bytes::of(&file(&[1, 1])));
        disk.observe(&file(&[2, 2]));
        let sync = disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.sync_fails(sync);
        disk.stored(0, 1);
        let sync = disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.sync_succeeds(sync);
        let images: Vec<_> = (0..200).map(|_| after_crash(&disk, &mut rng)).collect();
        assert!(images.iter().all(|image| image[0] == 2));
        assert!(images.iter().any(|image| image[BLOCK_BYTES] == 1));
    }

    #[test]
    fn a_length_is_durable_once_the_file_is_synced() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut disk = Disk::synced(&Bytes::of(&file(&[1])));
        disk.observe(&file(&[1, 0, 5]));
        let sync = disk.sync_begins(0, 3 * BLOCK_BYTES as u64, false);
        disk.sync_succeeds(sync);
        assert!((0..200).any(|_| after_crash(&disk, &mut rng).len() == BLOCK_BYTES));
        let sync = disk.sync_begins(0, 3 * BLOCK_BYTES as u64, true);
        disk.sync_succeeds(sync);
        assert!((0..200).all(|_| after_crash(&disk, &mut rng) == file(&[1, 0, 5])));
    }

    #[test]
    fn of_two_syncs_that_run_each_promises_what_it_found() {
        let mut rng = SmallRng::seed_from_u64(4);
        for first_ends_first in [true, false] {
            let mut disk = Disk::synced(&Bytes::of(&file(&[1])));
            disk.observe(&file(&[2]));
            let first = disk.sync_begins(0, BLOCK_BYTES as u64, false);
            disk.observe(&file(&[3]));
            let second = disk.sync_begins(0, BLOCK_BYTES as u64, false);
            disk.observe(&file(&[4]));
            let (one, other) = if first_ends_first { (first, second) } else { (second, first) };
            disk.sync_succeeds(one);
            let least = if first_ends_first { 2 } else { 3 };
            assert!((0..200).all(|_| after_crash(&disk, &mut rng).iter().all(|byte| *byte >= least)));
            assert!((0..200).any(|_| after_crash(&disk, &mut rng)[0] == least));
            disk.sync_succeeds(other);
            assert!((0..200).all(|_| after_crash(&disk, &mut rng)[0] >= 3));
            assert!((0..200).any(|_| after_crash(&disk, &mut rng)[0] == 3));
        }
    }
}
