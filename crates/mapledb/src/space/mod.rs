//! Free space: where a transaction's new pages come from, and where those it gives up go.
//!
//! A page born in *b* and freed in *d* may be reused once no pinned snapshot *s* with *b ≤ s < d* is left (I6). Until
//! then it waits in the group of its *blocker*, the largest such *s*: when that snapshot goes, the group is looked at
//! once, and each page becomes available or moves to an earlier blocker. So a page moves at most once for each
//! snapshot that holds it, and nothing is ever scanned that still waits.
//!
//! What a small commit needs lies in the head itself, in the *inline area*: extents that are available, and the groups
//! of the last few commits. Only what does not fit there goes to the *free tree*: waiting pages in packed lists, and
//! available ones as one bitmap for each 1,024 pages, with a second key that finds a chunk by its longest run. Bits
//! coalesce by themselves, and a scattered thousand pages touch a few dozen records.
//!
//! The free tree is a tree like any other, copied on write, out of the very space it describes. Two rules keep that
//! from chasing its tail: while the free tree changes, pages come from what this transaction holds already or from
//! the end of the file, never from the free tree; and what its changes free waits inline.

mod draft;
mod extents;
mod grow;
mod holders;
mod holes;
mod laid_down;
mod level;
mod logged;
mod pack;
mod release;
mod report;
mod runs;
mod spill;
mod withdraw;

use std::ops::Range;

use mapledb_format::free::list::{InlineFree, PackedGroup};
use mapledb_format::free::{PageBounds, blocker};
use mapledb_format::{Extent, FreedExtent, HeadBody, PendingGroup, Pgno, TreeRecord, Txnid};

use crate::error::{Error, Result};

pub use draft::Draft;
pub(crate) use grow::GrowthLimit;
pub(crate) use extents::Extents;
pub(crate) use holders::{holdings, waiting_groups};
pub(crate) use holes::{HOLE_PAGES_MIN, marked_runs};
use logged::Logged;
pub(crate) use runs::READY_PAGES;
pub(crate) use report::{Free, each_free};

/// The most pages at the end of the used part that stay although they are available.
const TAIL_KEPT_MAX: u64 = 64;
/// Up to so many bytes a group's list is written anew to take more in: some 30 extents.
const SHORT_LIST_BYTES: usize = 128;
/// So many short lists that can be one become one.
const SHORT_LISTS_MAX: usize = 8;

/// The state of free space within one write transaction.
#[derive(Debug)]
pub(crate) struct Space {
    /// The snapshot the transaction builds on: the blocker of all it frees.
    base: Txnid,
    /// The snapshot that was durable when the last commit was made.
    settled: Txnid,
    /// Pinned snapshots, ascending. A snapshot pinned later is the base or younger, and blocks nothing older.
    pins: Vec<Txnid>,
    /// Those of them that have names, or had when a state that may stand was committed.
    named: Vec<Txnid>,
    /// Available and not handed out yet.
    pool: Logged,
    /// Available, and written since the last sync: the first to be handed out, for they are dirty as it is.
    dirty: Logged,
    /// How many pages that were not among them were handed out: what the next sync has to write more.
    newly_dirty: u64,
    /// Handed out.
    handed: Logged,
    /// Handed out and given back: already dirty, so the first to be handed out again.
    loose: Logged,
    /// Handed out, and sealed before the commit; such a one may have been changed since.
    sealed_ahead: Logged,
    /// Committed pages given up by this transaction.
    freed: Vec<FreedExtent>,
    /// The free tree has no run of so many pages, and nothing there can be released.
    not_to_be_had: u64,
    /// How many pages it has given up so far.
    freed_pages: u64,
    /// Groups that still wait. Those of the head that nothing has happened to are unread.
    waiting: Vec<PackedGroup>,
    /// The first page that may be listed.
    first: Pgno,
    /// The free tree.
    tree: TreeRecord,
    /// How many pages are available there.
    shelved_pages: u64,
    /// What is known of the free tree without a look at it.
    seen: Seen,
    /// Where what is left of a run begins that single pages were taken from.
    begun: Option<Pgno>,
    /// Pages that were populated for small transactions.
    ready: Range<u64>,
    /// Whether the free tree is being changed.
    is_busy: bool,
    /// Whether the transaction packs the file: it takes the lowest pages there are, and gives every free one at the end back.
    packs: bool,
    /// Pages that the snapshot it builds on takes.
    in_use_before: u64,
    /// The first page never allocated.
    pages_used: u64,
    /// Every page below has blocks, those of free runs without blocks apart.
    pages_allocated: u64,
    /// Whether blocks were allocated.
    has_grown: bool,
    /// Whether some of them were for free runs that had none.
    has_refilled: bool,
    /// How many pages of the groups released were moved, for counters.
    released: u64,
}

/// The free space that a commit leaves to the next one, where that need not read it again.
#[derive(Debug)]
pub(crate) struct Left {
    pool: Logged,
    waiting: Vec<PackedGroup>,
    shelved_pages: u64,
    seen: Seen,
    begun: Option<Pgno>,
    ready: Range<u64>,
}

/// What was found out about the free tree and holds until it is changed.
#[derive(Debug, Default)]
struct Seen {
    /// The snapshots that its waiting groups wait for.
    blockers: Option<Vec<Txnid>>,
    /// Where the used part ended, but for what was at hand, when no run there was worth taking out.
    no_tail_at: Option<u64>,
}

impl Space {
    /// The free space that `head` leaves to the transaction after it, when `pins` are pinned.
    ///
    /// Cost: none but the inline area's; the free tree is not touched. `pages_allocated` have blocks, but for free runs that
    /// say they have none.
    pub(crate) fn of(
        head: &HeadBody,
        bounds: PageBounds,
        pins: Vec<Txnid>,
        settled: Txnid,
        pages_allocated: u64,
    ) -> Result<Space> {
        let inline = InlineFree::decode(head.inline_free(), bounds).map_err(bad_area)?;
        let mut space = Space::beginning(head, bounds.first, pins, settled, pages_allocated);
        space.pool = Extents::of_ascending(&inline.available).into();
        space.shelved_pages = head.pages_available.saturating_sub(space.pool.pages());
        space.let_go(inline.pending)?;
        Ok(space)
    }

    /// As [`Space::of`] of the head that was committed when this was left.
    ///
    /// Cost: that of the groups whose blocker has gone.
    pub(crate) fn after(
        left: Left,
        head: &HeadBody,
        bounds: PageBounds,
        pins: Vec<Txnid>,
        settled: Txnid,
        pages_allocated: u64,
    ) -> Result<Space> {
        let Left { pool, waiting, shelved_pages, seen, begun, ready } = left;
        let mut space = Space::beginning(head, bounds.first, pins, settled, pages_allocated);
        (space.pool, space.shelved_pages) = (pool, shelved_pages);
        (space.seen, space.begun, space.ready) = (seen, begun, ready);
        space.let_go(waiting)?;
        Ok(space)
    }

    /// Takes out what the next transaction begins with. The free space was brought into its final form, and is done with.
    pub(crate) fn leave(&mut self) -> Left {
        for extent in std::mem::take(&mut self.loose).iter() {
            self.pool.insert(extent);
        }
        Left {
            pool: std::mem::take(&mut self.pool),
            waiting: std::mem::take(&mut self.waiting),
            shelved_pages: self.shelved_pages,
            seen: std::mem::take(&mut self.seen),
            begun: self.begun,
            ready: std::mem::take(&mut self.ready),
        }
    }

    /// Nothing at hand, nothing that waits.
    fn beginning(head: &HeadBody, first: Pgno, mut pins: Vec<Txnid>, settled: Txnid, pages_allocated: u64) -> Space {
        pins.sort_unstable();
        pins.dedup();
        Space {
            base: head.txnid,
            pins,
            named: Vec::new(),
            pool: Logged::default(),
            dirty: Logged::default(),
            newly_dirty: 0,
            settled,
            handed: Logged::default(),
            loose: Logged::default(),
            sealed_ahead: Logged::default(),
            freed: Vec::new(),
            freed_pages: 0,
            not_to_be_had: u64::MAX,
            waiting: Vec::new(),
            first,
            tree: head.free,
            shelved_pages: 0,
            seen: Seen::default(),
            begun: None,
            ready: 0..0,
            is_busy: false,
            packs: false,
            in_use_before: head.pages_in_use,
            pages_used: head.pages_used.get(),
            pages_allocated,
            has_grown: false,
            has_refilled: false,
            released: 0,
        }
    }

    /// Releases the groups whose blocker has gone; the others wait on.
    fn let_go(&mut self, mut waiting: Vec<PackedGroup>) -> Result<()> {
        let gone: Vec<PackedGroup> = waiting.extract_if(.., |group| !self.is_pinned(group.blocker)).collect();
        self.waiting = waiting;
        gone.iter().try_for_each(|group| self.release(group.unpack(self.bounds()).map_err(bad_area)?))
    }

    /// Whether the two are one as far as a transaction that begins can tell.
    #[cfg(debug_assertions)]
    pub(crate) fn begins_as(&self, other: &Space) -> bool {
        let sets = |space: &Space| [space.pool.clone(), space.dirty.clone()];
        let lists = |space: &Space| (space.base, space.pins.clone(), space.waiting.clone());
        let numbers = |space: &Space| [space.first.get(), space.shelved_pages, space.in_use_before, space.pages_used];
        sets(self) == sets(other) && lists(self) == lists(other) && numbers(self) == numbers(other) && self.tree == other.tree
    }

    /// Takes note of the snapshots with names, all of which are pinned: a commit vouches for what they reach, too.
    pub(crate) fn keep_listed(&mut self, named: Vec<Txnid>) {
        self.named = named;
    }

    /// Whether a snapshot with a name reaches a page born in `born` that is given up now.
    fn is_named(&self, born: Txnid) -> bool {
        self.named.iter().any(|named| *named >= born)
    }

    /// Moves what no longer waits of a group, whose blocker has gone, to the pool; the rest waits for its next blocker.
    fn release(&mut self, group: PendingGroup) -> Result<()> {
        let mut kept = Vec::new();
        for piece in group.extents {
            match blocker(piece.born, group.freed, &self.pins) {
                None => {
                    self.released += piece.extent.pages;
                    let is_new = match piece.born > self.settled {
                        true => self.dirty.insert(piece.extent),
                        false => self.pool.insert(piece.extent),
                    };
                    if !is_new {
                        return Err(listed_twice(piece.extent.first));
                    }
                }
                Some(blocker) => kept.push((blocker, piece)),
            }
        }
        self.wait(group.freed, kept)
    }

    /// Lets pages freed in `freed` wait, each for the blocker it comes with.
    fn wait(&mut self, freed: Txnid, mut pieces: Vec<(Txnid, FreedExtent)>) -> Result<()> {
        pieces.sort_unstable_by_key(|(blocker, piece)| (*blocker, piece.extent.first));
        for same in pieces.chunk_by(|one, other| one.0 == other.0) {
            let extents = same.iter().map(|(_, piece)| *piece).collect();
            self.join(PendingGroup { blocker: same[0].0, freed, extents })?;
        }
        Ok(())
    }

    /// Lets a group wait. Once there are [`SHORT_LISTS_MAX`] short ones that can be one, they are: to write the list anew
    /// for each group that comes would cost a commit more than its own pages do.
    fn join(&mut self, group: PendingGroup) -> Result<()> {
        let like = (group.blocker, group.freed);
        self.waiting.push(group.pack());
        if self.waiting.iter().filter(|other| self.goes_with(other, like)).count() < SHORT_LISTS_MAX {
            return Ok(());
        }
        let (short, others): (Vec<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|other| self.goes_with(other, like));
        self.waiting = others;
        let joined = self.joined(&short)?;
        self.waiting.extend(joined.iter().map(PendingGroup::pack));
        Ok(())
    }

    /// Whether a group is short and can be one with another, of which `like` tells the blocker and who freed it.
    fn goes_with(&self, group: &PackedGroup, like: (Txnid, Txnid)) -> bool {
        group.list.len() <= SHORT_LIST_BYTES && self.is_one((group.blocker, group.freed), like)
    }

    /// Groups as few as they can be.
    fn joined(&self, packed: &[PackedGroup]) -> Result<Vec<PendingGroup>> {
        let mut groups: Vec<PendingGroup> = Vec::new();
        for group in packed {
            let group = group.unpack(self.bounds()).map_err(bad_area)?;
            let same = |other: &PendingGroup| self.is_one((other.blocker, other.freed), (group.blocker, group.freed));
            match groups.iter().position(same) {
                Some(place) => {
                    let other = groups.swap_remove(place);
                    groups.push(joined(other, group));
                }
                None => groups.push(group),
            }
        }
        Ok(groups)
    }

    /// Whether two groups, each told by its blocker and who freed it, can be one: they wait for the same snapshot, and none
    /// that is pinned lies between the two that freed them. None that is pinned from now on will, so the later one can
    /// as well have freed all.
    fn is_one(&self, one: (Txnid, Txnid), other: (Txnid, Txnid)) -> bool {
        let rank = |freed: Txnid| self.pins.partition_point(|pin| *pin < freed);
        one.0 == other.0 && rank(one.1) == rank(other.1)
    }

    /// The pages a free record may name.
    fn bounds(&self) -> PageBounds {
        PageBounds { first: self.first, end: self.pages_used() }
    }

    /// Takes `runs` times three pages behind the end, of each three the first as available and the second as given up
    /// by this transaction; answers the third ones, which the caller must give up later.
    #[cfg(all(test, feature = "seam"))]
    pub(crate) fn fragment(&mut self, runs: u64) -> Vec<FreedExtent> {
        let at = |n: u64| Extent::new(Pgno::new(n).unwrap_or(Pgno::MAX), 1);
        let from = self.pages_used;
        let mut kept = Vec::new();
        for n in (from..from + 3 * runs).step_by(3) {
            self.pool.insert(at(n));
            self.freed.push(FreedExtent { extent: at(n + 1), born: self.base });
            kept.push(FreedExtent { extent: at(n + 2), born: self.base });
        }
        self.pages_used += 3 * runs;
        kept
    }

    /// Gives these pages up.
    #[cfg(all(test, feature = "seam"))]
    pub(crate) fn give_up(&mut self, pages: Vec<FreedExtent>) {
        self.freed.extend(pages);
    }

    fn is_pinned(&self, txnid: Txnid) -> bool {
        self.pins.binary_search(&txnid).is_ok()
    }

    fn make_available(&mut self, extent: Extent) -> Result<()> {
        if self.pool.insert(extent) { Ok(()) } else { Err(listed_twice(extent.first)) }
    }

    /// Counts what is dirty and was not handed out among what is available.
    fn pool_dirty(&mut self) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().try_for_each(|extent| self.make_available(extent))
    }

    /// So many pages at the end of the used part are not given back although they are available: a growth of the file for
    /// each commit, with a look for room in the free tree before it, would cost more than they do.
    fn tail_kept(&self) -> u64 {
        if self.packs {
            return 0;
        }
        (self.pages_used / 16).min(TAIL_KEPT_MAX)
    }

    /// Where the pages at hand begin that end the used part; its end if there are none.
    fn tail_start(&self) -> u64 {
        let mut start = self.pages_used;
        let mut pool = self.pool.iter().rev().peekable();
        let mut loose = self.loose.iter().rev().peekable();
        loop {
            let before = pool.next_if(|extent| extent.end() == start);
            match before.or_else(|| loose.next_if(|extent| extent.end() == start)) {
                Some(extent) => start = extent.first.get(),
                None => return start,
            }
        }
    }

    /// What may be used at once, the transaction's own pages that it gave back included, ascending and as few extents as can be.
    fn available(&self) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = self.pool.iter().chain(self.loose.iter()).collect();
        extents.sort_unstable_by_key(|extent| extent.first);
        let mut available: Vec<Extent> = Vec::with_capacity(extents.len());
        for extent in extents {
            match available.last_mut() {
                Some(last) if last.end() > extent.first.get() => return Err(listed_twice(extent.first)),
                Some(last) if last.end() == extent.first.get() => last.pages += extent.pages,
                _ => available.push(extent),
            }
        }
        Ok(available)
    }

    /// Pages at hand without a look at the free tree or the end of the file.
    fn at_hand(&self) -> u64 {
        self.pool.pages() + self.dirty.pages() + self.loose.pages()
    }

    /// The pages the transaction wrote and did not give up again, ascending.
    pub(crate) fn live(&self) -> Vec<Extent> {
        self.handed.without(&self.loose)
    }

    /// How many pages were handed out.
    pub(crate) fn handed_pages(&self) -> u64 {
        self.handed.pages() - self.loose.pages()
    }

    /// How many of the pages handed out, be they given back or not, are not known to have been written since the last sync: what the
    /// next one has to write more.
    pub(crate) fn newly_dirty_pages(&self) -> u64 {
        self.newly_dirty
    }

    /// How many committed pages were given up.
    pub(crate) fn freed_pages(&self) -> u64 {
        self.freed_pages
    }

    /// How many pages are in use, as the transaction stands.
    pub(crate) fn pages_in_use(&self) -> u64 {
        (self.in_use_before + self.handed_pages()).saturating_sub(self.freed_pages)
    }

    /// How many pages the next transaction may take, once this one's free space is in its final form.
    pub(crate) fn pages_available(&self) -> u64 {
        self.shelved_pages + self.at_hand()
    }

    /// How many pages came out of waiting.
    pub(crate) fn released_pages(&self) -> u64 {
        self.released
    }

    /// Ends the used part, and what is known to have blocks, at `end`.
    fn end_blocks_at(&mut self, end: Pgno) {
        self.pages_used = end.get();
        self.pages_allocated = self.pages_allocated.min(end.get());
    }

    /// Whether blocks were allocated.
    pub(crate) fn has_grown(&self) -> bool {
        self.has_grown
    }

    /// Whether blocks were allocated for free runs that had none.
    pub(crate) fn has_refilled(&self) -> bool {
        self.has_refilled
    }

    /// Every page below has blocks, those of free runs without blocks apart.
    pub(crate) fn pages_allocated(&self) -> u64 {
        self.pages_allocated
    }

    pub(crate) fn pages_used(&self) -> Pgno {
        Pgno::new(self.pages_used).unwrap_or(Pgno::MAX)
    }

    pub(crate) fn tree(&self) -> &TreeRecord {
        &self.tree
    }
}

/// One group of two, freed by the later of them.
fn joined(mut one: PendingGroup, other: PendingGroup) -> PendingGroup {
    one.freed = one.freed.max(other.freed);
    one.extents.extend(other.extents);
    one.extents.sort_unstable_by_key(|piece| piece.extent.first);
    one
}

#[cold]
fn bad_area(cause: mapledb_format::FormatError) -> Error {
    Error::Corrupt { pgno: Pgno::NONE, cause }
}

#[cold]
fn listed_twice(pgno: Pgno) -> Error {
    Error::Corrupt { pgno, cause: mapledb_format::FormatError::BadFreeRecord("the page is listed as free twice") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = 32;

    /// The free space of a transaction after commit 20, with these snapshots pinned.
    fn space(pins: &[u64]) -> Space {
        let at = |n| Pgno::new(n).expect("a number");
        let head = HeadBody::empty(Txnid(20), at(1000));
        let bounds = PageBounds { first: at(FIRST), end: at(1000) };
        Space::of(&head, bounds, pins.iter().copied().map(Txnid).collect(), Txnid(9), 1000).expect("empty")
    }

    fn group(blocker: u64, freed: u64, page: u64) -> PendingGroup {
        let extent = Extent::new(Pgno::new(page).expect("a number"), 1);
        let piece = FreedExtent { extent, born: Txnid(blocker) };
        PendingGroup { blocker: Txnid(blocker), freed: Txnid(freed), extents: vec![piece] }
    }

    /// Blocker, freed and number of extents of each group that waits.
    fn waiting(space: &Space) -> Vec<(u64, u64, usize)> {
        let unpacked = space.waiting.iter().map(|group| group.unpack(space.bounds()).expect("sound"));
        unpacked.map(|group| (group.blocker.get(), group.freed.get(), group.extents.len())).collect()
    }

    #[test]
    fn short_groups_are_joined_unless_a_pinned_snapshot_could_tell_them_apart() {
        let mut space = space(&[9, 15, 20]);
        let join = |space: &mut Space, freed, page| space.join(group(9, freed, page)).expect("joined");
        join(&mut space, 16, 90);
        space.join(group(15, 18, 70)).expect("joined");
        for page in 1..SHORT_LISTS_MAX as u64 {
            join(&mut space, 10 + page % 5, 200 - 3 * page);
        }
        assert_eq!(waiting(&space).len(), 2 + SHORT_LISTS_MAX - 1, "each for itself");
        join(&mut space, 13, 33);
        assert_eq!(waiting(&space), [(9, 16, 1), (15, 18, 1), (9, 14, SHORT_LISTS_MAX)]);
    }

    #[test]
    fn a_long_group_is_left_unread_and_joined_only_when_it_goes_to_the_free_tree() {
        let mut space = space(&[9, 20]);
        for page in 0..100 {
            space.join(group(9, 12 + page % 5, FIRST + 7 * page)).expect("joined");
        }
        assert!(space.waiting.len() > 1);
        let joined = space.joined(&space.waiting).expect("sound");
        let [group] = &joined[..] else { panic!("{} groups", joined.len()) };
        assert_eq!((group.extents.len(), group.freed), (100, Txnid(16)));
        assert!(group.extents.is_sorted_by_key(|piece| piece.extent.first));
    }

    #[test]
    fn what_was_written_since_the_last_sync_is_handed_out_first() {
        let mut space = space(&[9, 20]);
        let piece = |born, page| FreedExtent { born: Txnid(born), extent: group(9, 20, page).extents[0].extent };
        let extents = vec![piece(10, 40), piece(19, 41)];
        space.release(PendingGroup { blocker: Txnid(19), freed: Txnid(20), extents }).expect("released");
        assert_eq!((space.dirty.pages(), space.pool.pages()), (2, 0), "nothing pins 10 to 19");
        let extents = vec![piece(3, 50)];
        space.release(PendingGroup { blocker: Txnid(8), freed: Txnid(9), extents }).expect("released");
        assert_eq!((space.dirty.pages(), space.pool.pages()), (2, 1));
    }
}
