//! Packing: pages from the front of the file, so that what lies at its end can move there and the end be given back.
//!
//! A transaction that packs takes the lowest pages there are, instead of the longest runs. Before it moves anything it
//! [makes sure](Draft::make_room_below) that there are enough below what it moves, from the free tree chunk by chunk, and
//! moves nothing if there are not: so it never grows the file for the sake of a move.

use mapledb_format::free::record::{
    AvailableIn, ChunkNo, ChunkRecord, FreeKey, KEY_CHUNK, KEY_LONGEST, chunk_key, longest_key,
};
use mapledb_format::{Extent, Pgno};
use mapledb_os::planted;

use super::runs::RESERVE_PAGES;
use super::{Draft, Extents};
use crate::error::Result;
use crate::tree::{Cursor, Tree};

/// How many waiting extents a transaction that packs looks at when it begins.
const RELEASED_MAX: u64 = 1 << 16;
/// How many chunks are looked at for a run of several pages, those with the shortest that will do first.
const CHUNKS_LOOKED_AT: usize = 256;

impl Draft {
    /// From here on the transaction packs the file.
    ///
    /// Cost: what waits and need not any more is released, within bounds.
    pub(crate) fn pack(&mut self) -> Result<()> {
        self.settle_run()?;
        self.space.pool_dirty()?;
        self.space.packs = true;
        self.release_waiting(RELEASED_MAX).map(drop)
    }

    /// Sees to it that `pages` single ones, and a run of `run` pages if that is not 0, are at hand below `below`, and some to
    /// spare for the free tree's own changes. Answers whether they are.
    ///
    /// Cost: none if they are; else two records of the free tree are rewritten for each chunk that is taken.
    pub(crate) fn make_room_below(&mut self, below: Pgno, pages: u64, run: u64) -> Result<bool> {
        while self.at_hand_below(below, pages + run + RESERVE_PAGES) < pages + run + RESERVE_PAGES {
            if !self.claim_lowest(below)? {
                return Ok(false);
            }
        }
        Ok(run == 0 || self.has_run_below(below, run) || self.claim_run_below(below, run)?)
    }

    /// Pages at hand below `below`, counted as far as `enough`.
    fn at_hand_below(&self, below: Pgno, enough: u64) -> u64 {
        let mut found = 0;
        let sets: [&Extents; 2] = [&self.space.pool, &self.space.loose];
        for set in sets {
            for extent in set.iter().take_while(|extent| extent.first < below) {
                found += extent.end().min(below.get()) - extent.first.get();
                if found >= enough {
                    return found;
                }
            }
        }
        found
    }

    fn has_run_below(&self, below: Pgno, pages: u64) -> bool {
        self.space.pool.lowest_fit(pages).is_some_and(|run| run.first.get() + pages <= below.get())
    }

    /// Moves what is available in the lowest chunk of the free tree to the pool, as far as it lies below `below`; of a
    /// run of chunks the first. Answers whether there was some.
    fn claim_lowest(&mut self, below: Pgno) -> Result<bool> {
        let mut from = ChunkNo::of(self.space.first);
        loop {
            let Some((chunk, record)) = self.chunk_from(from)? else { return Ok(false) };
            let runs = runs_below(chunk, &record, below);
            if runs.is_empty() {
                return Ok(false);
            }
            if self.claim_runs(chunk, &runs)? {
                return Ok(true);
            }
            let Some(next) = ChunkNo::new(chunk.get() + 1) else { return Ok(false) };
            from = next;
        }
    }

    /// The first chunk from `from` on that has something available.
    fn chunk_from(&self, from: ChunkNo) -> Result<Option<(ChunkNo, ChunkRecord)>> {
        let fault = |cause| self.bad_record(cause);
        let mut cursor = Cursor::new(Tree::new(self, &self.space.tree));
        let Some((key, value)) = cursor.seek_from(&chunk_key(from), true)? else { return Ok(None) };
        if key.first() != Some(&KEY_CHUNK) {
            return Ok(None);
        }
        match FreeKey::decode(key).map_err(fault)? {
            FreeKey::Chunk { chunk } => {
                ChunkRecord::decode(chunk, value, self.space.bounds()).map(|record| Some((chunk, record))).map_err(fault)
            }
            _ => Ok(None),
        }
    }

    /// Moves runs of a chunk to the pool. Those without blocks stay where the disk has none for them; answers whether any
    /// was moved.
    fn claim_runs(&mut self, chunk: ChunkNo, runs: &[Extent]) -> Result<bool> {
        let mut is_any = false;
        for run in runs {
            let Some(record) = self.chunk_record(chunk)? else { break };
            if record.punched && !self.allocate_again(*run)? {
                continue;
            }
            self.take_out(chunk, &record, std::slice::from_ref(run))?;
            self.poison(*run)?;
            self.space.make_available(*run)?;
            is_any = true;
        }
        Ok(is_any)
    }

    /// Moves a run of at least `pages` to the pool that ends below `below`. Answers whether there was one.
    fn claim_run_below(&mut self, below: Pgno, pages: u64) -> Result<bool> {
        let Some(zero) = ChunkNo::new(0) else { return Ok(false) };
        let mut candidates = Vec::new();
        let mut cursor = Cursor::new(Tree::new(self, &self.space.tree));
        let mut next = cursor.seek_from(&longest_key(pages, zero), true)?;
        while let Some((key, _)) = next.filter(|(key, _)| key.first() == Some(&KEY_LONGEST)) {
            if let FreeKey::Longest { chunk, .. } = FreeKey::decode(key).map_err(|cause| self.bad_record(cause))? {
                candidates.push(chunk);
            }
            if candidates.len() == CHUNKS_LOOKED_AT {
                break;
            }
            next = cursor.next()?;
        }
        candidates.sort_unstable();
        for chunk in candidates {
            let Some(record) = self.chunk_record(chunk)? else { continue };
            if let Some(run) = run_in(chunk, &record, pages).filter(|run| run.end() <= below.get())
                && self.claim_runs(chunk, &[run])?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lowest page at hand, handed out.
    pub(super) fn take_lowest(&mut self) -> Result<Option<Pgno>> {
        let (pool, loose) = (self.space.pool.lowest(), self.space.loose.lowest());
        if loose.is_some_and(|loose| pool.is_none_or(|pool| loose < pool)) {
            return Ok(self.space.loose.take_lowest());
        }
        let taken = if planted("kept_at_hand") { pool.and_then(Pgno::new) } else { self.space.pool.take_lowest() };
        let Some(pgno) = taken else { return Ok(None) };
        self.hand_out(Extent::new(pgno, 1))?;
        self.before_store(pgno, 1)?;
        Ok(Some(pgno))
    }

    /// So many pages in a row, the lowest at hand, handed out.
    pub(super) fn take_lowest_run(&mut self, pages: u64) -> Result<Option<Pgno>> {
        let Some(run) = self.space.pool.lowest_fit(pages) else { return Ok(None) };
        let Some(taken) = self.space.pool.take_front(run.first, pages) else { return Ok(None) };
        self.hand_out(taken)?;
        self.populate(taken.first, pages)?;
        Ok(Some(taken.first))
    }
}

/// The runs of a chunk that lie below `below`; of a run of chunks one chunk's worth.
fn runs_below(chunk: ChunkNo, record: &ChunkRecord, below: Pgno) -> Vec<Extent> {
    let runs = match record.available {
        AvailableIn::Chunks(_) => vec![Extent::new(chunk.first_pgno(), CHUNK)],
        AvailableIn::Bitmap(bitmap) => {
            bitmap.runs().map(|run| Extent::new(chunk.pgno(run.start), run.len() as u64)).collect()
        }
    };
    runs.into_iter().filter(|run| run.end() <= below.get()).collect()
}

/// The lowest run of `pages` in a chunk.
fn run_in(chunk: ChunkNo, record: &ChunkRecord, pages: u64) -> Option<Extent> {
    match record.available {
        AvailableIn::Chunks(chunks) => (chunks * CHUNK >= pages).then(|| Extent::new(chunk.first_pgno(), pages)),
        AvailableIn::Bitmap(bitmap) => {
            let fit = bitmap.runs().find(|run| run.len() as u64 >= pages)?;
            Some(Extent::new(chunk.pgno(fit.start), pages))
        }
    }
}

const CHUNK: u64 = mapledb_format::free::bitmap::CHUNK_PAGES as u64;
