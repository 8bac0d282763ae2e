//! What of the file is in memory, by table and level of its tree; and what of the trees is to stay there.

use mapledb_format::{Extent, HeadBody, TreeRecord};
use mapledb_os::{MapAdvice, ReadMap};

use super::Env;
use super::scan::Scan;
use crate::catalog;
use crate::error::Result;
use crate::space::Extents;
use crate::tree::{Located, Part, locate, locate_down_to};
use crate::txn::ReadTxn;

/// The most ranges that are locked: each may split a map in three, of which a process may have 65,530.
const RANGES_MAX: usize = 16_384;

/// The tree that pages belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TreeName {
    /// A table; `None` for the default one.
    Table(Option<String>),
    /// The trees of a multimap's duplicates: one for each key that has too many for a leaf. Their levels are added up.
    Duplicates(String),
    /// The catalog of named tables.
    Catalog,
    /// The free-space records.
    FreeSpace,
}

impl TreeName {
    /// What it is sorted by: tables by their names, each before its duplicates, then the trees of the file's own.
    fn place(&self) -> (u8, Option<&str>, bool) {
        match self {
            TreeName::Table(name) => (0, name.as_deref(), false),
            TreeName::Duplicates(name) => (0, Some(name), true),
            TreeName::Catalog => (1, None, false),
            TreeName::FreeSpace => (2, None, false),
        }
    }
}

/// How much of one level of a tree is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelResidency {
    /// The tree.
    pub tree: TreeName,
    /// The level, 0 for leaves; `None` for the pages of its long values.
    pub level: Option<usize>,
    /// Its pages.
    pub pages: u64,
    /// Those that are in memory.
    pub resident_pages: u64,
}

/// Branches, or the upper levels of trees, that stay in memory as long as this lives.
///
/// They are those of the snapshot it was made of; nodes that later commits write are not among them.
#[derive(Debug)]
pub struct LockedBranches {
    map: ReadMap,
    pages: u64,
    pages_wanted: u64,
}

impl LockedBranches {
    /// Pages locked.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Such nodes of the snapshot: more than [`pages`](LockedBranches::pages) where they lie in more than 16,384 places.
    /// Then it is lower ones that are left out.
    pub fn pages_wanted(&self) -> u64 {
        self.pages_wanted
    }

    /// Bytes of address space of the map of its own that they are locked through.
    pub fn map_bytes(&self) -> u64 {
        self.map.len_bytes()
    }
}

impl Env {
    /// How much of each table is in memory, by levels of its tree, leaves first and long values last, and of a multimap's trees of
    /// duplicates; then the same of the catalog and of the free-space records. The kernel answers for the page cache, which all processes share.
    ///
    /// Cost: a byte of memory and a look for each page of the file, before anything is read; then all branches are read, and
    /// all leaves of tables with values of several pages or with trees of duplicates, and what that dragged in is let go of again.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// for level in env.residency()? {
    ///     println!("{:?}, level {:?}: {} of {} pages", level.tree, level.level, level.resident_pages, level.pages);
    /// }
    /// assert_eq!(env.warm_branches()?, 0); // there is nothing in it
    /// # Ok(())
    /// # }
    /// ```
    pub fn residency(&self) -> Result<Vec<LevelResidency>> {
        let store = &self.core.store;
        let (txn, head) = self.snapshot_with_head()?;
        let page_bytes = store.page_size().bytes() as u64;
        let len = head.pages_used.offset(store.page_size());
        let map = ReadMap::map(store.file(), len, MapAdvice::Random)?;
        let present = map.presence(0, len as usize)?;
        let kernel = mapledb_os::page_size();
        let is_present = |page: u64| {
            let offset = page * page_bytes;
            present.get((offset / kernel) as usize).is_some_and(|present| *present)
        };
        let mut all = Vec::new();
        each_tree(&txn, &head, true, &mut |tree, found| {
            let first = found.pgno.get();
            let resident = (first..first + found.pages).filter(|page| is_present(*page)).count() as u64;
            match found.part {
                Part::Node(level) => add(&mut all, tree.clone(), Some(level), found.pages, resident),
                Part::Run => add(&mut all, tree.clone(), None, found.pages, resident),
                Part::Duplicates(level) => add(&mut all, of_duplicates(tree), Some(level), found.pages, resident),
            }
        })?;
        let place = |one: &LevelResidency| one.level.unwrap_or(usize::MAX);
        all.sort_by(|one, other| (one.tree.place(), place(one)).cmp(&(other.tree.place(), place(other))));
        Ok(all)
    }

    /// Brings all branches of the latest snapshot into memory, those of trees of duplicates among them; answers how many there
    /// are. Lookups read one page from the disk at most then, and a multimap's one more for duplicates in a tree of their own.
    ///
    /// Cost: all branches are read, a hundredth of the file or so; and the leaves of multimaps that have trees of duplicates, which
    /// alone name those, and are let go of again.
    pub fn warm_branches(&self) -> Result<u64> {
        self.warm(Top::Branches)
    }

    /// Brings the nodes of the upper `levels` of every tree of the latest snapshot into memory, the root's level being the
    /// first; answers how many there are. As many levels as a tree has are all of it but its long values. The trees of a multimap's
    /// duplicates are trees too, and have their roots.
    ///
    /// Cost: those nodes are read, and what [`warm_branches`](Env::warm_branches) reads to find trees of duplicates.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().load_sorted((0..10_000u32).map(|n| Ok((n.to_be_bytes(), [0; 50]))))?;
    /// txn.commit()?;
    /// let branches = env.warm_branches()?;
    /// assert!(branches > 0 && env.warm_levels(9)? > 100 * branches / 2); // all levels: leaves, too
    /// # Ok(())
    /// # }
    /// ```
    pub fn warm_levels(&self, levels: usize) -> Result<u64> {
        self.warm(Top::Levels(levels))
    }

    fn warm(&self, top: Top) -> Result<u64> {
        let (txn, head) = self.snapshot_with_head()?;
        let levels = located(&txn, &head, top)?;
        for run in levels.iter().flat_map(Extents::iter) {
            txn.make_present(run)?;
        }
        Ok(levels.iter().map(Extents::pages).sum())
    }

    /// Brings all branches of the latest snapshot into memory and locks them there (`mlock`), through a map of its own, since
    /// that splits it.
    ///
    /// Cost: as [`Env::warm_branches`], and a system call for each run of branches. A gain where other data drives branches
    /// out; none where all of the file fits.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// # let mut txn = env.write()?;
    /// # txn.main().load_sorted((0..10_000u32).map(|n| Ok((n.to_be_bytes(), [0; 50]))))?;
    /// # txn.commit()?;
    /// match env.lock_branches() {
    ///     Ok(locked) => assert!(locked.pages() <= locked.pages_wanted() && locked.map_bytes() > 0),
    ///     Err(error) => eprintln!("{error}"), // more than `ulimit -l` allows
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The limit of locked memory (`ulimit -l`) is less than the branches take: [`Error::Os`](crate::Error::Os), and nothing is
    /// locked.
    pub fn lock_branches(&self) -> Result<LockedBranches> {
        self.lock_top(Top::Branches)
    }

    /// As [`lock_branches`](Env::lock_branches), the nodes of [`warm_levels`](Env::warm_levels).
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"key", b"value")?;
    /// txn.commit()?;
    /// match env.lock_levels(1) {
    ///     Ok(roots) => assert!(roots.pages_wanted() >= 1),
    ///     Err(error) => eprintln!("{error}"), // more than `ulimit -l` allows
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock_levels(&self, levels: usize) -> Result<LockedBranches> {
        self.lock_top(Top::Levels(levels))
    }

    fn lock_top(&self, top: Top) -> Result<LockedBranches> {
        let (txn, head) = self.snapshot_with_head()?;
        let size = self.core.store.page_size();
        let levels = located(&txn, &head, top)?;
        let map = ReadMap::map(self.core.store.file(), head.pages_used.offset(size), MapAdvice::Random)?;
        let pages_wanted = levels.iter().map(Extents::pages).sum();
        let mut pages = 0;
        for run in levels.iter().rev().flat_map(Extents::iter).take(RANGES_MAX) {
            map.lock(run.first.offset(size), (run.pages << size.shift()) as usize)?;
            pages += run.pages;
        }
        Ok(LockedBranches { map, pages, pages_wanted })
    }
}

/// The upper part of each tree.
#[derive(Clone, Copy, Debug)]
enum Top {
    /// All but the leaves.
    Branches,
    /// So many levels, the root's among them.
    Levels(usize),
}

impl Top {
    /// The lowest level of it in a tree of `depth` levels; `None` for no level.
    fn lowest(self, depth: usize) -> Option<usize> {
        match self {
            Top::Branches => Some(1),
            Top::Levels(0) => None,
            Top::Levels(levels) => Some(depth.saturating_sub(levels)),
        }
    }
}

/// The nodes in the upper part of every tree, by their levels; each but those of the lowest is read.
fn located(txn: &ReadTxn, head: &HeadBody, top: Top) -> Result<Vec<Extents>> {
    let tables = catalog::list(txn, &head.catalog)?;
    let own = [&head.default_table, &head.catalog, &head.free];
    let mut levels = Vec::new();
    for tree in own.into_iter().chain(tables.iter().map(|(_, table)| &table.tree)) {
        let Some(lowest) = top.lowest(usize::from(tree.depth)) else { continue };
        locate_down_to(txn, tree, lowest, &mut |found| {
            if let Part::Node(level) = found.part {
                note(&mut levels, level, &found);
            }
            Ok(())
        })?;
    }
    // Only now, when the branches that lead to them are in memory to stay.
    let passing = Scan::passing(txn);
    for (_, table) in tables.iter().filter(|(_, table)| table.tree.duplicates.is_some()) {
        located_duplicates(&passing, &table.tree, top, &mut levels)?;
    }
    Ok(levels)
}

/// The same of the trees of a multimap's duplicates.
fn located_duplicates(pages: &Scan<'_>, multimap: &TreeRecord, top: Top, levels: &mut Vec<Extents>) -> Result<()> {
    // Parents come before children, so the first node of a key is the root of its tree.
    let mut root: Option<(Vec<u8>, usize)> = None;
    locate(pages, multimap, true, &mut |found| {
        let (Part::Duplicates(level), Some(key)) = (found.part, found.key) else { return Ok(()) };
        if root.as_ref().is_none_or(|(of, _)| of != key) {
            root = Some((key.to_vec(), level + 1));
        }
        let depth = root.as_ref().map_or(0, |(_, depth)| *depth);
        if top.lowest(depth).is_some_and(|lowest| level >= lowest) {
            note(levels, level, &found);
        }
        Ok(())
    })
}

fn note(levels: &mut Vec<Extents>, level: usize, found: &Located<'_>) {
    levels.resize_with(levels.len().max(level + 1), Extents::default);
    levels[level].insert(Extent::new(found.pgno, found.pages));
}

/// Every page of every tree, without leaving more in memory than there was.
fn each_tree(
    txn: &ReadTxn,
    head: &HeadBody,
    with_runs: bool,
    visit: &mut dyn FnMut(&TreeName, &Located<'_>),
) -> Result<()> {
    let passing = Scan::passing(txn);
    let mut trees = vec![
        (TreeName::Table(None), head.default_table),
        (TreeName::Catalog, head.catalog),
        (TreeName::FreeSpace, head.free),
    ];
    let tables = catalog::list(&passing, &head.catalog)?;
    trees.extend(tables.into_iter().map(|(name, table)| (TreeName::Table(Some(name)), table.tree)));
    for (name, tree) in &trees {
        locate(&passing, tree, with_runs, &mut |found| {
            visit(name, &found);
            Ok(())
        })?;
    }
    Ok(())
}

/// The trees of its duplicates. The default table, which is none, has none.
fn of_duplicates(multimap: &TreeName) -> TreeName {
    match multimap {
        TreeName::Table(Some(name)) => TreeName::Duplicates(name.clone()),
        other => other.clone(),
    }
}

fn add(all: &mut Vec<LevelResidency>, tree: TreeName, level: Option<usize>, pages: u64, resident_pages: u64) {
    match all.iter_mut().rev().find(|one| one.tree == tree && one.level == level) {
        Some(one) => {
            one.pages += pages;
            one.resident_pages += resident_pages;
        }
        None => all.push(LevelResidency { tree, level, pages, resident_pages }),
    }
}
