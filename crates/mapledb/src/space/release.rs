//! Out of the free tree: waiting pages whose blocker has gone, and runs of available ones.

use mapledb_format::free::bitmap::{Bitmap, CHUNK_PAGES};
use mapledb_format::free::record::{
    AvailableIn, ChunkNo, ChunkRecord, FreeKey, KEY_LONGEST, KEY_PENDING, chunk_key, decode_pending, longest_key,
    pending_key,
};
use mapledb_format::free::blocker;
use mapledb_format::{Extent, PendingGroup, Pgno, Txnid};
use mapledb_os::planted;

use super::{Draft, Extents};
use crate::error::{Error, Result};
use crate::tree::{Cursor, Tree, Value};

/// The shortest run at the end of the used part that is worth a change of the free tree.
const TAIL_RUN_MIN: u32 = 64;
/// How many runs a commit takes from there at most.
const TAIL_RUNS_MAX: usize = 4;

impl Draft {
    pub(super) fn bad_record(&self, cause: mapledb_format::FormatError) -> Error {
        Error::Corrupt { pgno: self.space.tree.root, cause }
    }

    /// Moves a run of up to `wish` and at least `least` pages from the free tree to the pool: the shortest run that
    /// grants the wish, else the longest there is and others of its chunk that are nearly as long. If none serves, some
    /// waiting pages are looked at and it is tried once more. Answers whether one was found.
    ///
    /// A transaction that has found none of `least` pages is told so again without a look, as long as it asks for no less.
    ///
    /// Cost: one descent to find it, two records rewritten. Looking at waiting pages until one serves would be a walk
    /// over all that wait, for a run that may not be there: the rest waits for the next call, or the next commit.
    pub(super) fn claim(&mut self, wish: u64, least: u64) -> Result<bool> {
        if least >= self.space.not_to_be_had {
            return Ok(false);
        }
        if self.claim_available(wish, least)? {
            return Ok(true);
        }
        let moved = self.release_waiting(wish.saturating_mul(4).max(256))?;
        let found = moved > 0 && self.claim_available(wish, least)?;
        if moved == 0 {
            self.space.not_to_be_had = least;
        }
        Ok(found)
    }

    fn claim_available(&mut self, wish: u64, least: u64) -> Result<bool> {
        match self.find_run(wish)? {
            Some((longest, chunk)) if longest >= least => self.take_from_chunk(chunk, wish, least),
            _ => Ok(false),
        }
    }

    /// The chunk with the shortest run of at least `pages`, else the one with the longest run.
    fn find_run(&self, pages: u64) -> Result<Option<(u64, ChunkNo)>> {
        let Some(zero) = ChunkNo::new(0) else { return Ok(None) };
        let mut cursor = Cursor::new(Tree::<_>::new(self, &self.space.tree));
        let found = match cursor.seek_from(&longest_key(pages, zero), true)? {
            Some((key, _)) if key.first() == Some(&KEY_LONGEST) => Some(key),
            _ => cursor.last()?.map(|(key, _)| key).filter(|key| key.first() == Some(&KEY_LONGEST)),
        };
        match found.map(FreeKey::decode).transpose().map_err(|cause| self.bad_record(cause))? {
            Some(FreeKey::Longest { pages, chunk }) => Ok(Some((pages, chunk))),
            _ => Ok(None),
        }
    }

    /// Moves runs of up to `wish` pages together, each of at least `least`, from a chunk to the pool. Answers whether it
    /// could: a run without blocks is left where it is when the disk has none for it.
    fn take_from_chunk(&mut self, chunk: ChunkNo, wish: u64, least: u64) -> Result<bool> {
        let record = self.chunk_record(chunk)?.ok_or_else(|| {
            self.bad_record(mapledb_format::FormatError::BadFreeRecord("a size key leads to no chunk"))
        })?;
        let mut runs = choose_runs(chunk, &record, wish, least);
        let Some(&first) = runs.first() else {
            let lie = mapledb_format::FormatError::BadFreeRecord("a size key leads to a chunk without a run");
            return Err(self.bad_record(lie));
        };
        if record.punched {
            runs.truncate(1);
            if !self.allocate_again(first)? {
                return Ok(false);
            }
        }
        self.take_out(chunk, &record, &runs)?;
        for run in runs {
            self.poison(run)?;
            self.space.make_available(run)?;
        }
        Ok(true)
    }

    /// Takes runs out of the record of their chunk; of a run of chunks there is one, and it is the front.
    pub(super) fn take_out(&mut self, chunk: ChunkNo, record: &ChunkRecord, runs: &[Extent]) -> Result<()> {
        let longest = record.longest();
        let pages: u64 = runs.iter().map(|run| run.pages).sum();
        self.space.shelved_pages = self.space.shelved_pages.saturating_sub(pages);
        match record.available {
            AvailableIn::Bitmap(mut bitmap) => {
                for run in runs {
                    take_from(&mut bitmap, *run);
                }
                self.put_chunk(chunk, Some(longest), AvailableIn::Bitmap(bitmap), record.punched)
            }
            AvailableIn::Chunks(chunks) => {
                let Some(run) = runs.first() else { return Ok(()) };
                let whole = run.pages / u64::from(CHUNK_PAGES);
                let part = (run.pages % u64::from(CHUNK_PAGES)) as u32;
                self.drop_chunk(chunk, longest)?;
                let at = |n: u64| ChunkNo::new(chunk.get() + n);
                let mut next = whole;
                // What is left of the last chunk becomes a bitmap.
                if part > 0
                    && let Some(broken) = at(whole)
                {
                    let mut bitmap = Bitmap::FULL;
                    let _ = bitmap.clear_range(0..part);
                    self.put_chunk(broken, None, AvailableIn::Bitmap(bitmap), record.punched)?;
                    next += 1;
                }
                if next < chunks
                    && let Some(rest) = at(next)
                {
                    self.put_chunk(rest, None, AvailableIn::Chunks(chunks - next), record.punched)?;
                }
                Ok(())
            }
        }
    }

    /// Gives available runs at the end of the used part back: from the free tree to the pool, whence they go when free
    /// space is settled, or at once if they have no blocks.
    ///
    /// Cost: one descent; two or three records rewritten for each run.
    pub(super) fn unshelve_tail(&mut self) -> Result<()> {
        let runs_max = if self.space.packs { usize::MAX } else { TAIL_RUNS_MAX };
        for _ in 0..runs_max {
            let end = self.space.tail_start();
            if self.space.seen.no_tail_at == Some(end) && !self.space.packs {
                debug_assert!(self.shelved_tail(end).is_ok_and(|tail| tail.is_none()), "there is a tail at {end}");
                return Ok(());
            }
            let Some((chunk, record, run)) = self.shelved_tail(end)? else {
                self.space.seen.no_tail_at = Some(end);
                return Ok(());
            };
            if record.punched {
                self.give_tail_back();
                if run.end() != self.space.pages_used {
                    return Ok(());
                }
                self.space.end_blocks_at(run.first);
                self.take_out(chunk, &record, &[run])?;
            } else {
                self.take_out(chunk, &record, &[run])?;
                self.poison(run)?;
                self.space.make_available(run)?;
            }
        }
        Ok(())
    }

    /// The available run of the free tree that ends at `end`, behind which nothing is in use, if it is worth taking out.
    fn shelved_tail(&self, end: u64) -> Result<Option<(ChunkNo, ChunkRecord, Extent)>> {
        let Some(last) = end.checked_sub(1).and_then(Pgno::new) else { return Ok(None) };
        let mut cursor = Cursor::new(Tree::<_>::new(self, &self.space.tree));
        let Some((key, value)) = cursor.seek_to(&chunk_key(ChunkNo::of(last)), true)? else { return Ok(None) };
        let Ok(FreeKey::Chunk { chunk }) = FreeKey::decode(key) else { return Ok(None) };
        let record =
            ChunkRecord::decode(chunk, value, self.space.bounds()).map_err(|cause| self.bad_record(cause))?;
        let first = chunk.first_pgno();
        let run_min = if self.space.packs { 1 } else { TAIL_RUN_MIN };
        let run = match &record.available {
            AvailableIn::Chunks(chunks) => Some(Extent::new(first, chunks * u64::from(CHUNK_PAGES))),
            AvailableIn::Bitmap(bitmap) => bitmap
                .runs()
                .last()
                .filter(|run| run.len() as u32 >= run_min || run.start == 0)
                .map(|run| Extent::new(chunk.pgno(run.start), u64::from(run.end - run.start))),
        };
        Ok(run.filter(|run| run.end() == end).map(|run| (chunk, record, run)))
    }

    pub(super) fn chunk_record(&self, chunk: ChunkNo) -> Result<Option<ChunkRecord>> {
        let value = Tree::<_>::new(self, &self.space.tree).get(&chunk_key(chunk))?;
        let bounds = self.space.bounds();
        value
            .map(|value| ChunkRecord::decode(chunk, value, bounds))
            .transpose()
            .map_err(|cause| self.bad_record(cause))
    }

    /// Writes what is available in a chunk, whose longest run was `was` pages; nothing available is no record.
    pub(super) fn put_chunk(&mut self, chunk: ChunkNo, was: Option<u64>, available: AvailableIn, punched: bool) -> Result<()> {
        let record = ChunkRecord { available, punched };
        let longest = record.longest();
        self.free_tree(|tree| {
            if let Some(was) = was
                && was != longest
            {
                tree.delete(&longest_key(was, chunk))?;
            }
            if longest == 0 {
                tree.delete(&chunk_key(chunk))?;
                return Ok(());
            }
            tree.put(&chunk_key(chunk), Value::Bytes(&record.encode()))?;
            if was != Some(longest) {
                tree.put(&longest_key(longest, chunk), Value::Bytes(&[]))?;
            }
            Ok(())
        })
    }

    fn drop_chunk(&mut self, chunk: ChunkNo, longest: u64) -> Result<()> {
        self.free_tree(|tree| {
            tree.delete(&longest_key(longest, chunk))?;
            tree.delete(&chunk_key(chunk)).map(|_| ())
        })
    }

    /// Looks at waiting groups in the free tree whose blocker is no longer pinned, until about `extents_max` extents
    /// have been moved: to bitmaps, or to their next blocker. Answers how many were.
    pub(super) fn release_waiting(&mut self, extents_max: u64) -> Result<u64> {
        self.keep_waiting();
        let mut moved = 0;
        let mut available = Extents::default();
        while moved < extents_max {
            let Some(group) = self.next_released()? else { break };
            moved += group.extents.len() as u64;
            let Some(first) = group.extents.first() else { break };
            let key = pending_key(group.blocker, group.freed, first.extent.first);
            self.free_tree(|tree| tree.delete(&key).map(|_| ()))?;
            let mut kept = Vec::new();
            for piece in group.extents {
                match blocker(piece.born, group.freed, &self.space.pins) {
                    Some(blocker) => kept.push((blocker, piece)),
                    None => {
                        self.space.released += piece.extent.pages;
                        self.poison(piece.extent)?;
                        if !available.insert(piece.extent) {
                            return Err(super::listed_twice(piece.extent.first));
                        }
                    }
                }
            }
            self.space.wait(group.freed, kept)?;
        }
        self.shelve(&available)?;
        Ok(moved)
    }

    /// The first waiting group of the free tree whose blocker is not pinned.
    ///
    /// Cost: a descent for each blocker that is; none where all were found pinned before, still are, and the tree is the same.
    fn next_released(&mut self) -> Result<Option<PendingGroup>> {
        if self.space.seen.blockers.as_ref().is_some_and(|seen| seen.iter().all(|blocker| self.space.is_pinned(*blocker))) {
            debug_assert!(self.look_for_released(&mut Vec::new()).is_ok_and(|found| found.is_none()), "a group was released");
            return Ok(None);
        }
        let mut pinned = Vec::new();
        let released = self.look_for_released(&mut pinned)?;
        if released.is_none() {
            self.space.seen.blockers = Some(pinned);
        }
        Ok(released)
    }

    /// As [`Draft::next_released`], with a look at the tree; the blockers passed over are `pinned`.
    fn look_for_released(&self, pinned: &mut Vec<Txnid>) -> Result<Option<PendingGroup>> {
        let mut cursor = Cursor::new(Tree::<_>::new(self, &self.space.tree));
        let mut from = Txnid(0);
        loop {
            let key = pending_key(from, Txnid(0), Pgno::NONE);
            let Some((key, list)) = cursor.seek_from(&key, true)? else { return Ok(None) };
            if key.first() != Some(&KEY_PENDING) {
                return Ok(None);
            }
            // The key decides: the list of a blocker that is pinned may be long, and is left alone.
            let fault = |cause| self.bad_record(cause);
            let FreeKey::Pending { blocker, .. } = FreeKey::decode(key).map_err(fault)? else { return Ok(None) };
            if !self.space.is_pinned(blocker) {
                return decode_pending(key, list, self.space.bounds()).map(Some).map_err(fault);
            }
            pinned.push(blocker);
            let Some(next) = blocker.checked_next() else { return Ok(None) };
            from = next;
        }
    }

    /// Puts available pages into the bitmaps of their chunks.
    ///
    /// Cost: two or three records rewritten for each chunk touched.
    pub(super) fn shelve(&mut self, extents: &Extents) -> Result<()> {
        if !planted("uncounted_shelf") {
            self.space.shelved_pages += extents.pages();
        }
        let mut pieces: Vec<(ChunkNo, Vec<std::ops::Range<u32>>)> = Vec::new();
        for extent in extents.iter() {
            let mut first = extent.first.get();
            while first < extent.end() {
                let chunk = ChunkNo::of(Pgno::new(first).unwrap_or(Pgno::MAX));
                let end = extent.end().min((chunk.get() + 1) * u64::from(CHUNK_PAGES));
                let start = (first % u64::from(CHUNK_PAGES)) as u32;
                let range = start..start + (end - first) as u32;
                match pieces.last_mut() {
                    Some((last, ranges)) if *last == chunk => ranges.push(range),
                    _ => pieces.push((chunk, vec![range])),
                }
                first = end;
            }
        }
        for (chunk, ranges) in pieces {
            self.shelve_in_chunk(chunk, &ranges)?;
        }
        Ok(())
    }

    fn shelve_in_chunk(&mut self, chunk: ChunkNo, ranges: &[std::ops::Range<u32>]) -> Result<()> {
        let record = self.chunk_record(chunk)?;
        let (mut bitmap, was, punched) = match record {
            None => (Bitmap::EMPTY, None, false),
            Some(ChunkRecord { available: AvailableIn::Bitmap(bitmap), punched }) => {
                (bitmap, Some(record.map_or(0, |record| record.longest())), punched)
            }
            Some(ChunkRecord { available: AvailableIn::Chunks(_), .. }) => {
                return Err(super::listed_twice(chunk.first_pgno()));
            }
        };
        for range in ranges {
            if !bitmap.set_range(range.clone()) {
                return Err(super::listed_twice(chunk.pgno(range.start)));
            }
        }
        if !bitmap.is_full() {
            return self.put_chunk(chunk, was, AvailableIn::Bitmap(bitmap), punched);
        }
        if let Some(was) = was {
            self.drop_chunk(chunk, was)?;
        }
        self.join_chunks(chunk, punched)
    }

    /// Records a chunk that became wholly available, joined with wholly available neighbours.
    fn join_chunks(&mut self, chunk: ChunkNo, punched: bool) -> Result<()> {
        let (mut first, mut chunks, mut punched) = (chunk, 1, punched);
        if let Some((before, length, is_punched)) = self.run_ending_at(chunk)? {
            self.drop_chunk(before, length * u64::from(CHUNK_PAGES))?;
            (first, chunks) = (before, chunks + length);
            punched |= is_punched;
        }
        if let Some(next) = ChunkNo::new(chunk.get() + 1)
            && let Some(ChunkRecord { available: AvailableIn::Chunks(length), punched: is_punched }) =
                self.chunk_record(next)?
        {
            self.drop_chunk(next, length * u64::from(CHUNK_PAGES))?;
            chunks += length;
            punched |= is_punched;
        }
        self.put_chunk(first, None, AvailableIn::Chunks(chunks), punched)
    }

    /// The run of wholly available chunks that ends where `chunk` begins.
    fn run_ending_at(&self, chunk: ChunkNo) -> Result<Option<(ChunkNo, u64, bool)>> {
        let mut cursor = Cursor::new(Tree::<_>::new(self, &self.space.tree));
        let Some((key, value)) = cursor.seek_to(&chunk_key(chunk), false)? else { return Ok(None) };
        let Ok(FreeKey::Chunk { chunk: before }) = FreeKey::decode(key) else { return Ok(None) };
        let record =
            ChunkRecord::decode(before, value, self.space.bounds()).map_err(|cause| self.bad_record(cause))?;
        match record.available {
            AvailableIn::Chunks(length) if before.get() + length == chunk.get() => {
                Ok(Some((before, length, record.punched)))
            }
            _ => Ok(None),
        }
    }
}

/// The runs of a chunk that are best for a wish of so many pages: the shortest that grants it alone, else the longest and
/// those that are half as long or more, of at least `least` pages each.
///
/// A run at a time, the longest there is anywhere, would be a little less scattered; but each costs a descent to find it and two
/// or three records, and a commit of a hundred scattered puts into an old file takes thirty of them.
fn choose_runs(chunk: ChunkNo, record: &ChunkRecord, wish: u64, least: u64) -> Vec<Extent> {
    let mut rest = *record;
    let (mut runs, mut wish, mut least) = (Vec::new(), wish, least.max(1));
    while wish > 0
        && let Some(run) = choose_run(chunk, &rest, wish).filter(|run| run.pages >= least)
    {
        runs.push(run);
        (wish, least) = (wish.saturating_sub(run.pages), least.max(run.pages / 2));
        match &mut rest.available {
            AvailableIn::Bitmap(bitmap) => take_from(bitmap, run),
            AvailableIn::Chunks(_) => break,
        }
    }
    runs
}

/// Takes a run out of the bitmap that it was found in.
fn take_from(bitmap: &mut Bitmap, run: Extent) {
    let start = ChunkNo::index_of(run.first);
    let is_taken = bitmap.clear_range(start..start + run.pages as u32);
    debug_assert!(is_taken, "{run:?} was found there");
}

/// The run of a chunk that is best for a wish of so many pages: the shortest that grants it, else the longest. A run of
/// chunks is taken from the front.
fn choose_run(chunk: ChunkNo, record: &ChunkRecord, wish: u64) -> Option<Extent> {
    match record.available {
        AvailableIn::Bitmap(bitmap) => {
            let longest = bitmap.longest_run()?;
            let wish = wish.min(u64::from(CHUNK_PAGES)) as u32;
            let fit = if longest.len() as u32 <= wish { longest } else { bitmap.best_fit(wish)? };
            Some(Extent::new(chunk.pgno(fit.start), u64::from(fit.end - fit.start)))
        }
        AvailableIn::Chunks(chunks) => {
            Some(Extent::new(chunk.first_pgno(), wish.min(chunks.saturating_mul(u64::from(CHUNK_PAGES)))))
        }
    }
}
