//! Where space is: what is free, in which sizes, and what waits for whom; and what each stretch of the file holds.

use std::collections::{BTreeMap, BTreeSet};

use mapledb_format::{Extent, HeadBody};

use super::Env;
use crate::catalog::{self, snapshots};
use crate::error::Result;
use crate::space::{Extents, Free, each_free};
use crate::tree::{Part, locate};
use crate::txn::{ReadTxn, ReaderInfo};

/// Free space at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreeSpace {
    /// The snapshot whose records these are: the latest published commit.
    pub txnid: u64,
    /// The size of a page in bytes.
    pub page_size: usize,
    /// Pages of the file up to the first never allocated, metas left out.
    pub used_pages: u64,
    /// Those that the snapshot is made of.
    pub pages_in_use: u64,
    /// Those that may be used again at once.
    pub available_pages: u64,
    /// Those of them that were given back to the file system, or may have been.
    pub available_without_blocks: u64,
    /// The longest run of available pages, or 0.
    pub longest_run: u64,
    /// Runs of available pages by their length, the shortest first; classes of which there is no run are left out.
    pub sizes: Vec<RunsOfSize>,
    /// Pages that wait for a snapshot to go.
    pub waiting_pages: u64,
    /// What waits, by the snapshot it waits for, the oldest first.
    pub waiting: Vec<WaitingSpace>,
    /// Pages of the file behind the used part, which it has grown by in advance.
    pub pages_behind: u64,
}

/// Runs of available pages of about one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunsOfSize {
    /// Pages of the shortest run of this class: a power of two.
    pub pages_min: u64,
    /// Pages of the longest.
    pub pages_max: u64,
    /// How many there are.
    pub runs: u64,
    /// Their pages.
    pub pages: u64,
}

/// Pages that wait for one snapshot. When it goes each becomes available, or waits for an older snapshot that needs it too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingSpace {
    /// The snapshot.
    pub txnid: u64,
    /// Who holds it. Nobody does if it has gone, and the next write transactions take the pages over.
    pub holders: Vec<Holder>,
    /// Pages that wait for it.
    pub pages: u64,
    /// Runs they are in.
    pub runs: u64,
    /// The first transaction that freed some of them.
    pub freed_first: u64,
    /// The last. By so many commits less than the latest one are these pages younger than those of `freed_first`.
    pub freed_last: u64,
    /// How many commits ago the first of them were freed, by txnids.
    pub age: u64,
}

/// Who keeps a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A read transaction.
    Reader(ReaderInfo),
    /// The durable commit, which a crash of the system goes back to, and a meta on the disk.
    Durable,
    /// The commit before that, in the other meta on the disk, until a durable commit takes its place.
    OlderMeta,
    /// The published commit, which new readers see.
    Published,
    /// A commit that is being synced, or waits to be published.
    InFlight,
    /// The named snapshot of this name.
    Snapshot(String),
}

/// What pages hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PageKind {
    /// A meta, or what lies between the metas.
    Meta,
    /// Leaves of tables.
    Leaf,
    /// Branches of tables whose children are leaves.
    Branch,
    /// Branches of tables above those.
    UpperBranch,
    /// Values that take pages of their own.
    Overflow,
    /// Trees of a multimap's duplicates.
    Duplicates,
    /// The catalog and the free-space records.
    System,
    /// Free, and may be used again at once.
    Available,
    /// Free, and waits for a snapshot to go.
    Waiting,
    /// Behind the used part: grown by in advance.
    Behind,
    /// In no record of the latest snapshot: what [`Env::check`] calls lost.
    Other,
}

impl PageKind {
    /// Every kind, in the order of [`Stretch::pages`].
    pub const ALL: [PageKind; 11] = [
        PageKind::Meta,
        PageKind::Leaf,
        PageKind::Branch,
        PageKind::UpperBranch,
        PageKind::Overflow,
        PageKind::Duplicates,
        PageKind::System,
        PageKind::Available,
        PageKind::Waiting,
        PageKind::Behind,
        PageKind::Other,
    ];

    /// Its name, as commands print it.
    ///
    /// ```
    /// use mapledb::PageKind;
    ///
    /// let names: Vec<_> = PageKind::ALL.into_iter().map(PageKind::name).collect();
    /// assert_eq!(names[..3], ["meta", "leaf", "branch"]);
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            PageKind::Meta => "meta",
            PageKind::Leaf => "leaf",
            PageKind::Branch => "branch",
            PageKind::UpperBranch => "upper_branch",
            PageKind::Overflow => "overflow",
            PageKind::Duplicates => "duplicates",
            PageKind::System => "system",
            PageKind::Available => "available",
            PageKind::Waiting => "waiting",
            PageKind::Behind => "behind",
            PageKind::Other => "other",
        }
    }
}

/// What each stretch of the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceMap {
    /// The snapshot.
    pub txnid: u64,
    /// The size of a page in bytes.
    pub page_size: usize,
    /// Pages of the file.
    pub file_pages: u64,
    /// Stretches of as many pages each, but for the last, from the front of the file to its end.
    pub stretches: Vec<Stretch>,
}

/// A stretch of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stretch {
    /// The first page.
    pub first_page: u64,
    /// How many there are of each kind, in the order of [`PageKind::ALL`].
    pub pages: [u64; PageKind::ALL.len()],
}

impl Stretch {
    /// How many of its pages are of this kind.
    pub fn of(&self, kind: PageKind) -> u64 {
        self.pages[kind as usize]
    }

    /// How many pages it has.
    pub fn len(&self) -> u64 {
        self.pages.iter().sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind most of its pages are of, the first of several.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::PageKind;
    ///
    /// let mut txn = env.write()?;
    /// txn.main().put(b"picture", &vec![7; 4 << 20])?;
    /// txn.commit()?;
    /// let whole = env.space_map(1)?.stretches[0];
    /// assert!(!whole.is_empty() && whole.len() >= 1024 && whole.of(PageKind::Overflow) >= 1024);
    /// assert_eq!(whole.mostly(), PageKind::Overflow);
    /// # Ok(())
    /// # }
    /// ```
    pub fn mostly(&self) -> PageKind {
        let most = self.pages.iter().max().copied().unwrap_or(0);
        PageKind::ALL.into_iter().find(|kind| self.of(*kind) == most).unwrap_or(PageKind::Other)
    }
}

impl Env {
    /// Free space by size, by age, and by who holds it.
    ///
    /// Cost: every free-space record is read, and memory for each run of available pages.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("cache.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"page", &vec![7; 1 << 20])?;
    /// txn.commit()?;
    /// let reader = env.read()?;
    /// let mut txn = env.write()?;
    /// txn.main().clear()?;
    /// txn.commit()?;
    ///
    /// let space = env.space()?;
    /// let held = space.waiting.iter().find(|waiting| waiting.txnid == reader.txnid()).expect("a reader holds some");
    /// assert!(held.pages >= 256);
    /// # drop(reader);
    /// # env.close()
    /// # }
    /// ```
    pub fn space(&self) -> Result<FreeSpace> {
        let (txn, head) = self.snapshot_with_head()?;
        let first = txn_size(&txn).first_data_pgno().get();
        let mut available = Extents::default();
        let mut available_without_blocks = 0;
        let mut waiting: BTreeMap<u64, WaitingSpace> = BTreeMap::new();
        each_free(&txn, &head, &mut |free| match free {
            Free::Available { run, may_lack_blocks } => {
                available.insert(run);
                available_without_blocks += if may_lack_blocks { run.pages } else { 0 };
            }
            Free::Waiting { run, blocker, freed } => {
                let group = waiting.entry(blocker.get()).or_insert_with(|| WaitingSpace::of(blocker.get(), freed.get()));
                group.add(run.pages, freed.get(), head.txnid.get());
            }
        })?;
        let mut waiting: Vec<WaitingSpace> = waiting.into_values().collect();
        let holders = self.holders(&txn, &head)?;
        for group in &mut waiting {
            group.holders = holders.iter().filter(|(txnid, _)| *txnid == group.txnid).map(|(_, who)| who.clone()).collect();
        }
        Ok(FreeSpace {
            txnid: head.txnid.get(),
            page_size: self.page_size(),
            used_pages: head.pages_used.get().saturating_sub(first),
            pages_in_use: head.pages_in_use,
            available_pages: available.pages(),
            available_without_blocks,
            longest_run: available.longest().map_or(0, |run| run.pages),
            sizes: by_size(&available),
            waiting_pages: waiting.iter().map(|group| group.pages).sum(),
            waiting,
            pages_behind: self.core.store.len_pages()?.saturating_sub(head.pages_used.get()),
        })
    }

    /// Every snapshot that somebody holds, with who that is, but for `own`.
    fn holders(&self, own: &ReadTxn, head: &HeadBody) -> Result<Vec<(u64, Holder)>> {
        let attached = &self.core.attached;
        let durable = attached.durable()?;
        let mut readers = self.readers()?;
        let tid = mapledb_os::process::tid();
        if let Some(at) = readers.iter().position(|one| one.is_own && one.tid == tid && one.txnid == own.txnid()) {
            readers.remove(at);
        }
        let mut holders: Vec<(u64, Holder)> =
            readers.into_iter().map(|reader| (reader.txnid, Holder::Reader(reader))).collect();
        let metas: BTreeSet<u64> = durable.meta_txnids.into_iter().collect();
        holders.push((durable.txnid, Holder::Durable));
        holders.extend(metas.into_iter().filter(|txnid| *txnid != durable.txnid).map(|txnid| (txnid, Holder::OlderMeta)));
        holders.push((attached.published_txnid()?, Holder::Published));
        let flight = attached.flight()?;
        if flight > 0 {
            holders.push((flight, Holder::InFlight));
        }
        let newest = attached.head()?.head.txnid();
        if newest > attached.published_txnid()? {
            holders.push((newest, Holder::InFlight));
        }
        let kept = snapshots::list(own, &head.snapshots)?;
        holders.extend(kept.into_iter().map(|(name, record)| (record.txnid.get(), Holder::Snapshot(name))));
        Ok(holders)
    }

    /// What each of `stretches` stretches of the file holds, or of fewer where it has fewer pages: at least 1, at most 1,048,576.
    ///
    /// Cost: all branches are read, and all leaves of tables with values of several pages or trees of duplicates; memory for the stretches and
    /// the free runs.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let map = env.space_map(10)?;
    /// for stretch in &map.stretches {
    ///     println!("{} pages, most of them {}", stretch.len(), stretch.mostly().name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn space_map(&self, stretches: usize) -> Result<SpaceMap> {
        let (txn, head) = self.snapshot_with_head()?;
        let file_pages = self.core.store.len_pages()?.max(head.pages_used.get());
        let mut map = Drawing::new(file_pages, stretches.clamp(1, 1 << 20) as u64);
        let first = txn_size(&txn).first_data_pgno().get();
        map.add(0, first, PageKind::Meta);
        map.add(head.pages_used.get(), file_pages - head.pages_used.get(), PageKind::Behind);
        draw_trees(&txn, &head, &mut map)?;
        let mut free = Vec::new();
        each_free(&txn, &head, &mut |run| free.push(run))?;
        for run in free {
            match run {
                Free::Available { run, .. } => map.add_run(run, PageKind::Available),
                Free::Waiting { run, .. } => map.add_run(run, PageKind::Waiting),
            }
        }
        Ok(SpaceMap {
            txnid: head.txnid.get(),
            page_size: self.page_size(),
            file_pages,
            stretches: map.finish(),
        })
    }
}

fn txn_size(txn: &ReadTxn) -> mapledb_format::PageSize {
    crate::pages::Pages::page_size(txn)
}

fn draw_trees(txn: &ReadTxn, head: &HeadBody, map: &mut Drawing) -> Result<()> {
    for tree in [&head.catalog, &head.free, &head.snapshots] {
        locate(txn, tree, true, &mut |page| {
            map.add(page.pgno.get(), page.pages, PageKind::System);
            Ok(())
        })?;
    }
    let tables = catalog::list(txn, &head.catalog)?;
    for tree in std::iter::once(&head.default_table).chain(tables.iter().map(|(_, table)| &table.tree)) {
        locate(txn, tree, true, &mut |page| {
            map.add(page.pgno.get(), page.pages, match page.part {
                Part::Node(0) => PageKind::Leaf,
                Part::Node(1) => PageKind::Branch,
                Part::Node(_) => PageKind::UpperBranch,
                Part::Run => PageKind::Overflow,
                Part::Duplicates(_) => PageKind::Duplicates,
            });
            Ok(())
        })?;
    }
    Ok(())
}

impl WaitingSpace {
    fn of(txnid: u64, freed: u64) -> WaitingSpace {
        WaitingSpace { txnid, holders: Vec::new(), pages: 0, runs: 0, freed_first: freed, freed_last: freed, age: 0 }
    }

    fn add(&mut self, pages: u64, freed: u64, now: u64) {
        self.pages += pages;
        self.runs += 1;
        self.freed_first = self.freed_first.min(freed);
        self.freed_last = self.freed_last.max(freed);
        self.age = now.saturating_sub(self.freed_first);
    }
}

/// A histogram of runs, by powers of two.
fn by_size(runs: &Extents) -> Vec<RunsOfSize> {
    let mut classes: BTreeMap<u32, RunsOfSize> = BTreeMap::new();
    for run in runs.iter() {
        let class = run.pages.ilog2();
        let pages_min = 1 << class;
        let of_size = classes.entry(class).or_insert(RunsOfSize { pages_min, pages_max: 2 * pages_min - 1, runs: 0, pages: 0 });
        of_size.runs += 1;
        of_size.pages += run.pages;
    }
    classes.into_values().collect()
}

/// A map that is being drawn.
struct Drawing {
    file_pages: u64,
    /// Pages of a stretch.
    each: u64,
    stretches: Vec<Stretch>,
}

impl Drawing {
    fn new(file_pages: u64, stretches: u64) -> Drawing {
        let each = file_pages.div_ceil(stretches).max(1);
        let at = |n| Stretch { first_page: n * each, ..Stretch::default() };
        Drawing { file_pages, each, stretches: (0..file_pages.div_ceil(each)).map(at).collect() }
    }

    fn add_run(&mut self, run: Extent, kind: PageKind) {
        self.add(run.first.get(), run.pages, kind);
    }

    fn add(&mut self, first: u64, pages: u64, kind: PageKind) {
        let end = first.saturating_add(pages).min(self.file_pages);
        let mut at = first;
        while at < end {
            let next = ((at / self.each + 1) * self.each).min(end);
            self.stretches[(at / self.each) as usize].pages[kind as usize] += next - at;
            at = next;
        }
    }

    /// What has not been drawn is something else.
    fn finish(mut self) -> Vec<Stretch> {
        for stretch in &mut self.stretches {
            let pages = self.each.min(self.file_pages - stretch.first_page);
            stretch.pages[PageKind::Other as usize] += pages.saturating_sub(stretch.len());
        }
        self.stretches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mapledb_format::Pgno;

    #[test]
    fn a_drawing_holds_every_page_once() {
        let mut map = Drawing::new(100, 7);
        map.add(0, 32, PageKind::Meta);
        map.add(40, 31, PageKind::Leaf);
        map.add(99, 5, PageKind::Behind);
        let stretches = map.finish();
        assert!(stretches.len() <= 7);
        assert_eq!(stretches.iter().map(Stretch::len).sum::<u64>(), 100);
        let of = |kind| stretches.iter().map(|stretch| stretch.of(kind)).sum::<u64>();
        assert_eq!((of(PageKind::Meta), of(PageKind::Leaf), of(PageKind::Behind), of(PageKind::Other)), (32, 31, 1, 36));
        assert_eq!(stretches[0].mostly(), PageKind::Meta);
        for (at, kind) in PageKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn runs_are_counted_by_powers_of_two() {
        let run = |first, pages| Extent::new(Pgno::new(first).unwrap(), pages);
        let runs: Extents = [run(40, 1), run(50, 2), run(60, 3), run(70, 4), run(1000, 1024)].into_iter().collect();
        let found: Vec<_> = by_size(&runs).iter().map(|size| (size.pages_min, size.pages_max, size.runs, size.pages)).collect();
        assert_eq!(found, [(1, 1, 1, 1), (2, 3, 2, 5), (4, 7, 1, 4), (1024, 2047, 1, 1024)]);
    }
}
