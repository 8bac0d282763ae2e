//! What the disk may hold of a file, given what was stored to it and what was synced.
//!
//! A block is a kernel page of 4 KiB. Between two syncs the kernel may write it at any moment, or not, so after a crash
//! it holds any content it has had since the last sync that covered it; and a disk writes 512 bytes at a time, so each
//! of its eight sectors does. Blocks know nothing of each other: any subset may have been written, in any order.
//!
//! A length is durable when the file itself has been synced through its descriptor; `msync` promises bytes, not
//! lengths. So after a crash the file has any length it has had since.
//!
//! A failed sync leaves what it covered *clean*: the kernel does not write it again by itself, and a later sync that
//! succeeds says nothing about it. Only a new store makes it dirty. And being clean it may be evicted, after which the
//! file shows what the disk holds.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

/// The bytes of a block: a kernel page.
pub const BLOCK_BYTES: usize = 4096;
/// The bytes of a sector: what a disk writes at once.
pub const SECTOR_BYTES: usize = 512;

/// The content of a block.
pub type Content = Arc<[u8; BLOCK_BYTES]>;

/// One block: what the page cache shows, and what the disk may hold.
#[derive(Clone, Debug)]
struct Block {
    shown: Content,
    /// Contents the disk may hold, oldest first.
    may_hold: Vec<Content>,
    is_dirty: bool,
    /// While a sync runs: what it found, and how many contents there were then.
    in_sync: Option<(Content, usize)>,
}

/// What the page cache shows of a file and what the disk may hold of it. Cloning costs a count for each block.
#[derive(Clone, Debug)]
pub struct Disk {
    blocks: Vec<Arc<Block>>,
    len_bytes: u64,
    /// Lengths the file may have on disk, in the order it had them.
    lens: Vec<u64>,
    len_in_sync: Option<(u64, usize)>,
    zeros: Content,
}

impl Disk {
    /// A file whose every byte is durable.
    pub fn synced(bytes: &[u8]) -> Disk {
        let mut disk = Disk::empty();
        disk.observe(bytes);
        for block in &mut disk.blocks {
            let block = Arc::make_mut(block);
            block.may_hold = vec![Arc::clone(&block.shown)];
            block.is_dirty = false;
        }
        disk.lens = vec![disk.len_bytes];
        disk
    }

    fn empty() -> Disk {
        Disk {
            blocks: Vec::new(),
            len_bytes: 0,
            lens: vec![0],
            len_in_sync: None,
            zeros: Arc::new([0; BLOCK_BYTES]),
        }
    }

    /// Takes note of what the file shows now.
    pub fn observe(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        if len != self.len_bytes {
            self.len_bytes = len;
            self.lens.push(len);
        }
        let (whole, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for (index, content) in whole.iter().enumerate() {
            self.observe_block(index, content);
        }
        if !rest.is_empty() {
            let mut content = [0; BLOCK_BYTES];
            content[..rest.len()].copy_from_slice(rest);
            self.observe_block(whole.len(), &content);
        }
        // What is past the end is gone; should the file grow again, it is zero.
        let blocks = bytes.len().div_ceil(BLOCK_BYTES);
        for index in blocks..self.blocks.len() {
            self.observe_block(index, &[0; BLOCK_BYTES]);
        }
    }

    fn observe_block(&mut self, index: usize, content: &[u8; BLOCK_BYTES]) {
        while self.blocks.len() <= index {
            let shown = Arc::clone(&self.zeros);
            let may_hold = vec![Arc::clone(&shown)];
            self.blocks.push(Arc::new(Block { shown, may_hold, is_dirty: false, in_sync: None }));
        }
        if *self.blocks[index].shown != *content {
            let block = Arc::make_mut(&mut self.blocks[index]);
            block.shown = Arc::new(*content);
            block.may_hold.push(Arc::clone(&block.shown));
            block.is_dirty = true;
        }
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
    pub fn sync_begins(&mut self, offset: u64, len: u64, with_length: bool) {
        for block in self.covered(offset, len) {
            if block.is_dirty {
                let block = Arc::make_mut(block);
                block.in_sync = Some((Arc::clone(&block.shown), block.may_hold.len()));
                block.is_dirty = false;
            }
        }
        if with_length {
            self.len_in_sync = Some((self.len_bytes, self.lens.len()));
        }
    }

    /// The sync that began has succeeded: what it found is durable.
    pub fn sync_succeeds(&mut self) {
        for block in self.blocks.iter_mut().filter(|block| block.in_sync.is_some()) {
            let block = Arc::make_mut(block);
            if let Some((found, before)) = block.in_sync.take() {
                block.may_hold.splice(..before, [found]);
            }
        }
        if let Some((found, before)) = self.len_in_sync.take() {
            self.lens.splice(..before, [found]);
        }
    }

    /// The sync that began has failed: what it found is clean, on disk or not.
    pub fn sync_fails(&mut self) {
        for block in self.blocks.iter_mut().filter(|block| block.in_sync.is_some()) {
            Arc::make_mut(block).in_sync = None;
        }
        self.len_in_sync = None;
    }

    /// The kernel evicts clean blocks, which then show what the disk holds. Answers what the file shows.
    pub fn evict(&mut self, rng: &mut SmallRng) -> Vec<u8> {
        let style = Style::random(rng);
        for index in 0..self.blocks.len() {
            let block = &self.blocks[index];
            if block.is_dirty || block.may_hold.len() < 2 || rng.random_ratio(1, 4) {
                continue;
            }
            let content = style.choose(&block.may_hold, is_meta(index), rng);
            let block = Arc::make_mut(&mut self.blocks[index]);
            block.may_hold = vec![Arc::clone(&content)];
            block.shown = content;
        }
        self.shown()
    }

    /// What the file shows: after the death of processes alone, what is there.
    pub fn shown(&self) -> Vec<u8> {
        self.assemble(self.len_bytes, |_, block| Arc::clone(&block.shown))
    }

    /// One of the contents the disk may hold after a crash of the system.
    pub fn after_crash(&self, rng: &mut SmallRng) -> Vec<u8> {
        let mut chooser = Chooser::new(self.open_blocks(), true, rng);
        let len = chooser.length(&self.lens, rng);
        self.assemble(len, |index, block| match &block.may_hold[..] {
            [only] => Arc::clone(only),
            several => chooser.choose(several, is_meta(index), rng),
        })
    }

    /// How many blocks the disk may hold in more than one way.
    pub fn open_blocks(&self) -> usize {
        self.blocks.iter().filter(|block| block.may_hold.len() > 1).count()
    }

    fn assemble(&self, len: u64, mut content: impl FnMut(usize, &Block) -> Content) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        for (index, block) in self.blocks.iter().enumerate() {
            let chosen = content(index, block);
            let start = index * BLOCK_BYTES;
            if start < bytes.len() && !Arc::ptr_eq(&chosen, &self.zeros) {
                let end = bytes.len().min(start + BLOCK_BYTES);
                bytes[start..end].copy_from_slice(&chosen[..end - start]);
            }
        }
        bytes
    }
}

/// Whether a block of a data file is that of meta A or of meta B.
fn is_meta(index: usize) -> bool {
    index == 0 || index == (64 << 10) / BLOCK_BYTES
}

/// The choices of one image, block by block.
#[derive(Debug)]
pub(crate) struct Chooser {
    style: Style,
    /// Of the blocks that may hold several contents, the one that is singled out.
    picked: usize,
    met: usize,
}

impl Chooser {
    /// An image over `open` blocks that may hold several contents, on a disk that writes blocks in parts or whole.
    pub(crate) fn new(open: usize, tears: bool, rng: &mut SmallRng) -> Chooser {
        let style = match Style::random(rng) {
            Style::AllButOneTorn if !tears => Style::AllButOne,
            Style::Torn | Style::MetasTorn if !tears => Style::Any,
            style => style,
        };
        let picked = if open > 0 { rng.random_range(0..open) } else { 0 };
        Chooser { style, picked, met: 0 }
    }

    /// One of the lengths a file may have, oldest first.
    pub(crate) fn length(&self, lens: &[u64], rng: &mut SmallRng) -> u64 {
        match rng.random_range(0..4) {
            0 => lens[0],
            1 => lens[rng.random_range(0..lens.len())],
            _ => lens[lens.len() - 1],
        }
    }

    /// One of several contents of the next block.
    pub(crate) fn choose(&mut self, may_hold: &[Content], is_meta: bool, rng: &mut SmallRng) -> Content {
        let is_picked = self.met == self.picked;
        self.met += 1;
        let newest = may_hold.len() - 1;
        match self.style {
            Style::AllButOne => Arc::clone(&may_hold[if is_picked { 0 } else { newest }]),
            Style::OnlyOne => Arc::clone(&may_hold[if is_picked { newest } else { 0 }]),
            Style::AllButOneTorn if is_picked => torn(may_hold, rng),
            Style::AllButOneTorn => Arc::clone(&may_hold[newest]),
            style => style.choose(may_hold, is_meta, rng),
        }
    }
}

/// How an image chooses among what blocks may hold. Uniform choices alone would hardly ever meet the images that hurt:
/// a meta without one of its pages, one page without the rest.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Nothing was written.
    Oldest,
    /// Everything was written.
    Newest,
    /// Metas were written, pages were not.
    MetasNewest,
    /// Pages were written, metas were not.
    MetasOldest,
    /// One block was not written.
    AllButOne,
    /// One block was not written whole.
    AllButOneTorn,
    /// One block was written.
    OnlyOne,
    /// Each block was written with this chance, in percent.
    Chance(u32),
    /// Each block holds any of its contents.
    Any,
    /// Each sector holds any of its contents.
    Torn,
    /// The metas are torn, pages are written.
    MetasTorn,
}

impl Style {
    fn random(rng: &mut SmallRng) -> Style {
        match rng.random_range(0..16) {
            0 => Style::Oldest,
            1 => Style::Newest,
            2 | 3 => Style::MetasNewest,
            4 => Style::MetasOldest,
            5 | 6 => Style::AllButOne,
            7 | 8 => Style::AllButOneTorn,
            9 => Style::OnlyOne,
            10 => Style::Chance(90),
            11 => Style::Chance(50),
            12 => Style::Chance(10),
            13 => Style::Any,
            14 => Style::MetasTorn,
            _ => Style::Torn,
        }
    }

    /// One content of many.
    fn choose(self, may_hold: &[Content], is_meta: bool, rng: &mut SmallRng) -> Content {
        let newest = may_hold.len() - 1;
        let at = match self {
            Style::Oldest => 0,
            Style::Newest | Style::AllButOne | Style::AllButOneTorn => newest,
            Style::OnlyOne => 0,
            Style::MetasNewest => {
                if is_meta {
                    newest
                } else {
                    rng.random_range(0..newest + 1)
                }
            }
            Style::MetasOldest => {
                if is_meta {
                    0
                } else {
                    rng.random_range(0..newest + 1)
                }
            }
            Style::Chance(percent) => {
                if rng.random_ratio(percent, 100) {
                    newest
                } else {
                    0
                }
            }
            Style::Any => rng.random_range(0..newest + 1),
            Style::MetasTorn if !is_meta => newest,
            Style::Torn if rng.random() => newest,
            Style::Torn | Style::MetasTorn => return torn(may_hold, rng),
        };
        Arc::clone(&may_hold[at])
    }
}

/// A block each of whose sectors holds any of its contents.
fn torn(may_hold: &[Content], rng: &mut SmallRng) -> Content {
    let mut content = [0; BLOCK_BYTES];
    for start in (0..BLOCK_BYTES).step_by(SECTOR_BYTES) {
        let sector = start..start + SECTOR_BYTES;
        content[sector.clone()].copy_from_slice(&may_hold[rng.random_range(0..may_hold.len())][sector]);
    }
    Arc::new(content)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn file(fill: &[u8]) -> Vec<u8> {
        fill.iter().flat_map(|byte| [*byte; BLOCK_BYTES]).collect()
    }

    #[test]
    fn what_was_synced_is_there_and_what_was_not_may_be() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut disk = Disk::synced(&file(&[1, 2]));
        disk.observe(&file(&[3, 4]));
        disk.sync_begins(0, BLOCK_BYTES as u64, false);
        let during: Vec<_> = (0..200).map(|_| disk.after_crash(&mut rng)[0]).collect();
        assert!(during.contains(&1) && during.contains(&3), "a sync that runs promises nothing");
        disk.sync_succeeds();
        let images: Vec<_> = (0..200).map(|_| disk.after_crash(&mut rng)).collect();
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
        let mut disk = Disk::synced(&file(&[1, 1]));
        disk.observe(&file(&[2, 2]));
        disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.sync_fails();
        disk.stored(0, 1);
        disk.sync_begins(0, 2 * BLOCK_BYTES as u64, true);
        disk.sync_succeeds();
        let images: Vec<_> = (0..200).map(|_| disk.after_crash(&mut rng)).collect();
        assert!(images.iter().all(|image| image[0] == 2));
        assert!(images.iter().any(|image| image[BLOCK_BYTES] == 1));
    }

    #[test]
    fn a_length_is_durable_once_the_file_is_synced() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut disk = Disk::synced(&file(&[1]));
        disk.observe(&file(&[1, 0, 5]));
        disk.sync_begins(0, 3 * BLOCK_BYTES as u64, false);
        disk.sync_succeeds();
        assert!((0..200).any(|_| disk.after_crash(&mut rng).len() == BLOCK_BYTES));
        disk.sync_begins(0, 3 * BLOCK_BYTES as u64, true);
        disk.sync_succeeds();
        assert!((0..200).all(|_| disk.after_crash(&mut rng) == file(&[1, 0, 5])));
    }
}
