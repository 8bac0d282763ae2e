//! What of the file is in memory, by table and level of its tree; and branches that are to stay there.

use mapledb_format::{Extent, HeadBody};
use mapledb_os::{MapAdvice, ReadMap};

use super::Env;
use super::passing::Passing;
use crate::catalog;
use crate::error::Result;
use crate::space::Extents;
use crate::tree::{Located, Part, locate};
use crate::txn::ReadTxn;

/// The most ranges that are locked: each may split a map in three, of which a process may have 65,530.
const RANGES_MAX: usize = 16_384;

/// The tree that pages belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TreeName {
    /// A table; `None` for the default one.
    Table(Option<String>),
    /// The catalog of named tables.
    Catalog,
    /// The free-space records.
    FreeSpace,
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

/// Branches that stay in memory as long as this lives.
///
/// They are those of the snapshot it was made of; branches that later commits write are not among them.
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

    /// Branches of the snapshot: more than [`pages`](LockedBranches::pages) where they lie in more than 16,384 places. Then it
    /// is lower ones that are left out.
    pub fn pages_wanted(&self) -> u64 {
        self.pages_wanted
    }

    /// Bytes of address space of the map of its own that they are locked through.
    pub fn map_bytes(&self) -> u64 {
        self.map.len_bytes()
    }
}

impl Env {
    /// How much of each table is in memory, by levels of its tree, leaves first and long values last; then the same of the
    /// catalog and of the free-space records. The kernel answers for the page cache, which all processes share.
    ///
    /// Cost: a byte of memory and a look for each page of the file, before anything is read; then all branches are read, and
    /// all leaves of tables with values of several pages, and what that dragged in is let go of again.
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
            let level = match found.part {
                Part::Node(level) => Some(level),
                Part::Run | Part::Duplicates(_) => None,
            };
            let first = found.pgno.get();
            let resident = (first..first + found.pages).filter(|page| is_present(*page)).count() as u64;
            add(&mut all, tree, level, found.pages, resident);
        })?;
        all.sort_by(|one, other| (&one.tree, one.level.unwrap_or(usize::MAX)).cmp(&(&other.tree, other.level.unwrap_or(usize::MAX))));
        Ok(all)
    }

    /// Brings all branches of the latest snapshot into memory; answers how many there are. Lookups read one page from the disk
    /// at most then.
    ///
    /// Cost: all branches are read, a hundredth of the file or so.
    pub fn warm_branches(&self) -> Result<u64> {
        let (txn, head) = self.snapshot_with_head()?;
        let mut pages = 0;
        locate_all(&txn, &head, &mut |found| pages += u64::from(is_branch(found)))?;
        Ok(pages)
    }

    /// Brings all branches of the latest snapshot into memory and locks them there (`mlock`), through a map of its own, since
    /// that splits it.
    ///
    /// Cost: as [`Env::warm_branches`], and a system call for each run of branches. A gain where other data drives branches
    /// out; none where all of the file fits.
    ///
    /// # Errors
    /// The limit of locked memory (`ulimit -l`) is less than the branches take: [`Error::Os`](crate::Error::Os), and nothing is
    /// locked.
    pub fn lock_branches(&self) -> Result<LockedBranches> {
        let (txn, head) = self.snapshot_with_head()?;
        let size = self.core.store.page_size();
        let mut levels: Vec<Extents> = Vec::new();
        locate_all(&txn, &head, &mut |found| {
            if let Part::Node(level) = found.part
                && level > 0
            {
                levels.resize_with(levels.len().max(level), Extents::default);
                levels[level - 1].insert(Extent::new(found.pgno, 1));
            }
        })?;
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

fn is_branch(found: &Located<'_>) -> bool {
    matches!(found.part, Part::Node(level) if level > 0)
}

/// Every node of every tree, each read if it is a branch.
fn locate_all(txn: &ReadTxn, head: &HeadBody, visit: &mut dyn FnMut(&Located<'_>)) -> Result<()> {
    let tables = catalog::list(txn, &head.catalog)?;
    let own = [&head.default_table, &head.catalog, &head.free];
    for tree in own.into_iter().chain(tables.iter().map(|(_, table)| &table.tree)) {
        locate(txn, tree, false, &mut |found| {
            visit(&found);
            Ok(())
        })?;
    }
    Ok(())
}

/// Every page of every tree, without leaving more in memory than there was.
fn each_tree(
    txn: &ReadTxn,
    head: &HeadBody,
    with_runs: bool,
    visit: &mut dyn FnMut(&TreeName, &Located<'_>),
) -> Result<()> {
    let passing = Passing::through(txn);
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

fn add(all: &mut Vec<LevelResidency>, tree: &TreeName, level: Option<usize>, pages: u64, resident_pages: u64) {
    match all.iter_mut().rev().find(|one| one.tree == *tree && one.level == level) {
        Some(one) => {
            one.pages += pages;
            one.resident_pages += resident_pages;
        }
        None => all.push(LevelResidency { tree: tree.clone(), level, pages, resident_pages }),
    }
}
