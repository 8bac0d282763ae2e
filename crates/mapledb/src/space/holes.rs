//! Holes: free runs whose blocks are given back to the file system.
//!
//! A chunk's record may say that its pages have no blocks (`punched`). That is a warning, not a fact: who takes a run
//! from such a chunk has blocks allocated for it before anything is stored there. So the mark comes first and the hole
//! after it, when both metas on disk stand on the mark; whichever of them is found after a crash, nobody stores to a
//! page without a block. The mark stays with the chunk until its last page is taken.
//!
//! Runs shorter than [`HOLE_PAGES_MIN`] stay as they are: many small holes would scatter the file for little, and a
//! full disk leaves something to write the next deletion to.

use mapledb_format::free::PageBounds;
use mapledb_format::free::bitmap::CHUNK_PAGES;
use mapledb_format::free::record::{AvailableIn, ChunkNo, ChunkRecord, FreeKey, KEY_CHUNK, chunk_key};
use mapledb_format::{Extent, TreeRecord};

use super::runs::RESERVE_PAGES;
use super::{Draft, Extents};
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{Cursor, Tree};

/// The shortest run that becomes a hole.
pub(crate) const HOLE_PAGES_MIN: u64 = 16;
/// The most pages that stay at hand with their blocks, for some commits on a full disk.
const KEPT_PAGES_MAX: u64 = 256;

impl Draft {
    /// Marks every chunk that has a run worth a hole, those at hand included, but for what the next commits need.
    ///
    /// Cost: all waiting pages that nothing holds any more are released; a record rewritten for each chunk that is marked.
    pub(crate) fn mark_holes(&mut self) -> Result<()> {
        self.settle_run()?;
        self.release_waiting(u64::MAX)?;
        let chunks = self.chunks_worth_a_hole()?;
        self.shelve_long_runs(chunks.len() as u64)?;
        for chunk in self.chunks_worth_a_hole()? {
            if let Some(record) = self.chunk_record(chunk)? {
                self.put_chunk(chunk, Some(record.longest()), record.available, true)?;
            }
        }
        Ok(())
    }

    /// The runs that are marked, as the transaction has them.
    pub(crate) fn marked_runs(&self) -> Result<Extents> {
        marked_runs(self, &self.space.tree, self.space.bounds())
    }

    /// Moves the long runs at hand to the free tree, as far as the changes that are to come can spare them.
    fn shelve_long_runs(&mut self, chunks: u64) -> Result<()> {
        let tree = self.space.tree;
        let rewritten = tree.leaf_pages + tree.branch_pages + chunks / 8;
        let kept = (self.space.pages_used / 16).min(KEPT_PAGES_MAX);
        let mut to_spare = self.space.at_hand().saturating_sub(kept + RESERVE_PAGES + rewritten);
        let mut long = Extents::default();
        while let Some(run) = self.space.pool.longest().filter(|run| run.pages.min(to_spare) >= HOLE_PAGES_MIN) {
            let Some(taken) = self.space.pool.take_front(run.first, to_spare) else { break };
            to_spare -= taken.pages;
            long.insert(taken);
        }
        self.shelve(&long)
    }

    /// The chunks with a run long enough that are not marked.
    fn chunks_worth_a_hole(&self) -> Result<Vec<ChunkNo>> {
        let mut chunks = Vec::new();
        let mut note = |chunk, record: &ChunkRecord| {
            if !record.punched && record.longest() >= HOLE_PAGES_MIN {
                chunks.push(chunk);
            }
        };
        each_chunk(self, &self.space.tree, self.space.bounds(), &mut note)?;
        Ok(chunks)
    }
}

/// The runs of a free tree that may be holes: marked, and long enough.
///
/// Cost: a read of every chunk's record.
pub(crate) fn marked_runs<P: Pages>(pages: &P, free: &TreeRecord, bounds: PageBounds) -> Result<Extents> {
    let mut marked = Extents::default();
    let mut note = |chunk: ChunkNo, record: &ChunkRecord| {
        if !record.punched {
            return;
        }
        match &record.available {
            AvailableIn::Chunks(chunks) => {
                marked.insert(Extent::new(chunk.first_pgno(), chunks * u64::from(CHUNK_PAGES)));
            }
            AvailableIn::Bitmap(bitmap) => {
                for run in bitmap.runs().filter(|run| run.len() as u64 >= HOLE_PAGES_MIN) {
                    marked.insert(Extent::new(chunk.pgno(run.start), run.len() as u64));
                }
            }
        }
    };
    each_chunk(pages, free, bounds, &mut note)?;
    Ok(marked)
}

fn each_chunk<P: Pages>(
    pages: &P,
    free: &TreeRecord,
    bounds: PageBounds,
    act: &mut dyn FnMut(ChunkNo, &ChunkRecord),
) -> Result<()> {
    let fault = |cause| Error::Corrupt { pgno: free.root, cause };
    let mut cursor = Cursor::new(Tree::<P>::new(pages, free));
    let first = ChunkNo::of(bounds.first);
    let mut next = cursor.seek_from(&chunk_key(first), true)?;
    while let Some((key, value)) = next.filter(|(key, _)| key.first() == Some(&KEY_CHUNK)) {
        if let FreeKey::Chunk { chunk } = FreeKey::decode(key).map_err(fault)? {
            act(chunk, &ChunkRecord::decode(chunk, value, bounds).map_err(fault)?);
        }
        next = cursor.next()?;
    }
    Ok(())
}
