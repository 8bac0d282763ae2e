//! What a disk with a volatile cache may hold of a file, given the writes that reached it and the flushes it has
//! answered.
//!
//! Every write has a place in the log. A flush promises what came before its own beginning, once it has ended; so after
//! a crash each sector of a block holds any content it has had since the last flush that ended before the crash. Only
//! blocks that are not zero, or may not be, take room.
//!
//! The page cache is not modelled here: it is the kernel's own, between the engine and the file system that writes to a
//! platter. (In [`Disk`](crate::disk::Disk) it is part of the model.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;

use crate::disk::{BLOCK_BYTES, Chooser, Content, ZEROS};

/// Of more contents of one block than this, some in the middle are forgotten.
const CONTENTS_MAX: usize = 24;
/// What a meta begins with, by which a block of one is told on a disk image.
const META_MAGIC: &[u8] = &mapledb_format::meta::MAGIC;

/// A place in the log.
pub type Place = u64;

#[derive(Clone, Debug)]
struct Block {
    /// Contents the disk may hold, oldest first; the last is the one that is read.
    may_hold: Vec<Content>,
    /// When each was written.
    places: Vec<Place>,
}

/// One file, or the disk that is a file.
#[derive(Clone, Debug)]
pub struct Platter {
    blocks: BTreeMap<u64, Arc<Block>>,
    /// Blocks that the disk may hold in more than one way.
    open: BTreeSet<u64>,
    /// Lengths the file may have, oldest first.
    lens: Vec<u64>,
    len_places: Vec<Place>,
}

impl Default for Platter {
    fn default() -> Platter {
        Platter { blocks: BTreeMap::new(), open: BTreeSet::new(), lens: vec![0], len_places: vec![0] }
    }
}

fn zeros() -> Content {
    Arc::clone(&ZEROS)
}

impl Platter {
    /// The length that is seen.
    pub fn len_bytes(&self) -> u64 {
        self.lens[self.lens.len() - 1]
    }

    /// How many blocks the disk may hold in more than one way.
    pub fn open_blocks(&self) -> usize {
        self.open.len()
    }

    /// Writes, growing the file where that is past its end.
    pub fn write(&mut self, place: Place, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at as usize % BLOCK_BYTES;
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - within));
            let index = at / BLOCK_BYTES as u64;
            let mut content = *self.shown(index);
            content[within..within + now.len()].copy_from_slice(now);
            self.put(place, index, &content);
            at += now.len() as u64;
            rest = later;
        }
        if at > self.len_bytes() {
            self.resize(place, at);
        }
    }

    /// Makes a range read as zero. The length stays.
    pub fn zero(&mut self, place: Place, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let first = offset / BLOCK_BYTES as u64;
        let touched: Vec<u64> =
            self.blocks.range(first..end.div_ceil(BLOCK_BYTES as u64)).map(|(index, _)| *index).collect();
        for index in touched {
            let start = index * BLOCK_BYTES as u64;
            let mut content = *self.shown(index);
            let from = offset.saturating_sub(start).min(BLOCK_BYTES as u64) as usize;
            let to = (end - start).min(BLOCK_BYTES as u64) as usize;
            content[from..to].fill(0);
            self.put(place, index, &content);
        }
    }

    /// Cuts the file or makes it longer.
    pub fn resize(&mut self, place: Place, len: u64) {
        let was = self.len_bytes();
        if len < was {
            self.zero(place, len, was - len);
        }
        if len != was {
            self.lens.push(len);
            self.len_places.push(place);
        }
    }

    /// A flush that began at `begun` has ended well. Without `with_length` it promises bytes alone.
    pub fn flushed(&mut self, begun: Place, with_length: bool) {
        let open = std::mem::take(&mut self.open);
        for index in open {
            let Some(block) = self.blocks.get_mut(&index) else { continue };
            let block = Arc::make_mut(block);
            let settled = block.places.partition_point(|place| *place <= begun).saturating_sub(1);
            block.places.drain(..settled);
            block.may_hold.drain(..settled);
            self.keep(index);
        }
        if with_length {
            let settled = self.len_places.partition_point(|place| *place <= begun).saturating_sub(1);
            self.len_places.drain(..settled);
            self.lens.drain(..settled);
        }
    }

    /// A flush has failed: the disk has made up its mind, one way or the other, about everything it was promised.
    pub fn made_up(&mut self, tears: bool, rng: &mut SmallRng) {
        let mut chooser = Chooser::new(self.open.len(), tears, rng);
        for index in std::mem::take(&mut self.open) {
            let Some(block) = self.blocks.get_mut(&index) else { continue };
            let content = chooser.choose(&block.may_hold, is_meta(block), rng);
            let place = block.places[block.places.len() - 1];
            *block = Arc::new(Block { may_hold: vec![content], places: vec![place] });
            self.keep(index);
        }
    }

    /// Everything that is seen is on the disk.
    pub fn settle(&mut self) {
        self.flushed(Place::MAX, true);
    }

    /// Reads what is seen; past the end there are zeros.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        into.fill(0);
        let end = offset + into.len() as u64;
        let first = offset / BLOCK_BYTES as u64;
        for (index, block) in self.blocks.range(first..end.div_ceil(BLOCK_BYTES as u64)) {
            let start = index * BLOCK_BYTES as u64;
            let (from, to) = (start.max(offset), (start + BLOCK_BYTES as u64).min(end));
            let content = &block.may_hold[block.may_hold.len() - 1];
            into[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&content[(from - start) as usize..(to - start) as usize]);
        }
    }

    /// One of the states that the disk may hold after a crash, as a file's length and its blocks that are not zero.
    pub fn after_crash(&self, tears: bool, rng: &mut SmallRng) -> Chosen {
        let mut chooser = Chooser::new(self.open.len(), tears, rng);
        let len_bytes = chooser.length(&self.lens, rng);
        let choose = |(index, block): (&u64, &Arc<Block>)| {
            let content = match &block.may_hold[..] {
                [only] => Arc::clone(only),
                several => chooser.choose(several, is_meta(block), rng),
            };
            (*index, content)
        };
        let blocks = self.blocks.iter().map(choose).collect();
        Chosen { len_bytes, blocks }
    }

    /// What is seen, as an image.
    pub fn seen(&self) -> Chosen {
        let newest = |(index, block): (&u64, &Arc<Block>)| {
            (*index, Arc::clone(&block.may_hold[block.may_hold.len() - 1]))
        };
        Chosen { len_bytes: self.len_bytes(), blocks: self.blocks.iter().map(newest).collect() }
    }

    fn shown(&self, index: u64) -> Content {
        match self.blocks.get(&index) {
            Some(block) => Arc::clone(&block.may_hold[block.may_hold.len() - 1]),
            None => zeros(),
        }
    }

    fn put(&mut self, place: Place, index: u64, content: &[u8; BLOCK_BYTES]) {
        let fresh = || Arc::new(Block { may_hold: vec![zeros()], places: vec![0] });
        let block = self.blocks.entry(index).or_insert_with(fresh);
        if *block.may_hold[block.may_hold.len() - 1] == *content {
            if block.may_hold.len() == 1 {
                self.keep(index);
            }
            return;
        }
        let block = Arc::make_mut(block);
        block.may_hold.push(Arc::new(*content));
        block.places.push(place);
        if block.may_hold.len() > CONTENTS_MAX {
            // The oldest and the newest ones are those that matter.
            block.may_hold.remove(CONTENTS_MAX / 2);
            block.places.remove(CONTENTS_MAX / 2);
        }
        self.open.insert(index);
    }

    /// Notes whether a block is open, and lets go of one that is zero and nothing else.
    fn keep(&mut self, index: u64) {
        match self.blocks.get(&index).map(|block| &block.may_hold[..]) {
            Some([only]) if only.iter().all(|byte| *byte == 0) => {
                self.blocks.remove(&index);
            }
            Some([_, _, ..]) => {
                self.open.insert(index);
            }
            _ => {}
        }
    }
}

fn is_meta(block: &Block) -> bool {
    block.may_hold[block.may_hold.len() - 1].starts_with(META_MAGIC)
}

/// A state of a file.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Its length.
    pub len_bytes: u64,
    /// Its blocks that are not zero, by number, ascending.
    pub blocks: Vec<(u64, Content)>,
}

impl Chosen {
    /// The bytes of a file that is small.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len_bytes as usize];
        for (index, content) in &self.blocks {
            let start = *index as usize * BLOCK_BYTES;
            let end = bytes.len().min(start + BLOCK_BYTES);
            if start < end {
                bytes[start..end].copy_from_slice(&content[..end - start]);
            }
        }
        bytes
    }

    /// Writes the file anew, with holes where it is zero.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.len_bytes)?;
        let whole = self.len_bytes / BLOCK_BYTES as u64;
        let mut run = Vec::new();
        let mut run_at = 0;
        for (index, content) in &self.blocks {
            let within = match index.cmp(&whole) {
                std::cmp::Ordering::Less => BLOCK_BYTES,
                std::cmp::Ordering::Equal => self.len_bytes as usize % BLOCK_BYTES,
                std::cmp::Ordering::Greater => 0,
            };
            let at = index * BLOCK_BYTES as u64;
            if run_at + run.len() as u64 != at {
                file.write_all_at(&run, run_at)?;
                run.clear();
                run_at = at;
            }
            run.extend_from_slice(&content[..within]);
        }
        file.write_all_at(&run, run_at)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn page(byte: u8) -> [u8; BLOCK_BYTES] {
        [byte; BLOCK_BYTES]
    }

    fn images(platter: &Platter, tears: bool) -> Vec<Vec<u8>> {
        let mut rng = SmallRng::seed_from_u64(1);
        (0..300).map(|_| platter.after_crash(tears, &mut rng).to_bytes()).collect()
    }

    #[test]
    fn a_flush_promises_what_came_before_it_began() {
        let mut platter = Platter::default();
        platter.write(1, 0, &page(1));
        platter.write(2, 4096, &page(2));
        platter.write(4, 0, &page(3));
        platter.flushed(3, true);
        assert_eq!(platter.open_blocks(), 1);
        let images = images(&platter, true);
        assert!(images.iter().all(|image| image[4096..] == page(2)));
        assert!(images.iter().any(|image| image[..4096] == page(1)));
        assert!(images.iter().any(|image| image[..4096] == page(3)));
        assert!(images.iter().any(|image| image[..4096].contains(&1) && image[..4096].contains(&3)), "torn");
    }

    #[test]
    fn a_disk_of_whole_blocks_tears_none() {
        let mut platter = Platter::default();
        platter.write(1, 0, &page(1));
        platter.settle();
        platter.write(2, 0, &page(2));
        for image in images(&platter, false) {
            assert!(image == page(1) || image == page(2));
        }
    }

    #[test]
    fn a_length_is_promised_by_a_flush_that_covers_it_only() {
        let mut platter = Platter::default();
        platter.write(1, 0, &page(1));
        platter.settle();
        platter.resize(2, 12288);
        platter.write(3, 8192, &page(9));
        platter.flushed(3, false);
        assert!(images(&platter, true).iter().any(|image| image.len() == 4096));
        platter.flushed(3, true);
        assert!(images(&platter, true).iter().all(|image| image.len() == 12288 && image[8192..] == page(9)));
    }

    #[test]
    fn what_was_cut_off_reads_as_zero_and_zeros_take_no_room() {
        let mut platter = Platter::default();
        platter.write(1, 0, &[7; 10000]);
        platter.resize(2, 5000);
        platter.resize(3, 10000);
        platter.settle();
        let bytes = platter.seen().to_bytes();
        assert!(bytes[..5000].iter().all(|byte| *byte == 7) && bytes[5000..].iter().all(|byte| *byte == 0));
        platter.zero(4, 0, 10000);
        platter.settle();
        assert!(platter.blocks.is_empty());
    }

    #[test]
    fn after_a_failed_flush_the_disk_holds_one_content_of_each_block() {
        let mut platter = Platter::default();
        for index in 0..50 {
            platter.write(index, index * 4096, &page(5));
        }
        platter.made_up(true, &mut SmallRng::seed_from_u64(3));
        assert_eq!(platter.open_blocks(), 0);
    }

    #[test]
    fn an_image_that_is_written_is_the_one_that_was_chosen() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("image");
        let mut platter = Platter::default();
        platter.write(1, 100, &[3; 9000]);
        platter.write(2, 40000, &[4; 700]);
        let chosen = platter.seen();
        chosen.write_to(&path).expect("write");
        assert_eq!(std::fs::read(&path).expect("read"), chosen.to_bytes());
    }
}
