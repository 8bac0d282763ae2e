//! Which pages are to move: those that lie last.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mapledb_format::{HeadBody, Pgno, TreeRecord};

use crate::catalog;
use crate::error::Result;
use crate::tree::{Located, Part, locate};
use crate::txn::ReadTxn;

/// The most pages that are planned for at once, in memory that a plan takes at most some dozen megabytes.
const PLANNED_MAX: usize = 1 << 17;

/// The tree that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Home {
    Main,
    /// A named table, by its place among the plan's names.
    Named(usize),
    Catalog,
    Free,
}

/// A page or run, and how to come to it. They sort by where they lie.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Planned {
    pub(super) pgno: Pgno,
    pub(super) pages: u64,
    pub(super) home: Home,
    pub(super) part: Part,
    pub(super) key: Option<Box<[u8]>>,
    pub(super) duplicate: Option<Box<[u8]>>,
}

impl Planned {
    /// Neighbours in a tree have places that follow each other.
    fn place_in_tree(&self) -> impl Ord + '_ {
        (self.home, &self.key, self.part, &self.duplicate)
    }
}

/// The pages of a snapshot that lie last, the very last first.
pub(super) struct Plan {
    pub(super) names: Vec<String>,
    pub(super) pages: Vec<Planned>,
}

impl Plan {
    /// The pages in use from `from` on, as many as a plan may hold. What cannot move is not among them: the trees of named
    /// snapshots.
    pub(super) fn of(txn: &ReadTxn, head: &HeadBody, from: Pgno) -> Result<Plan> {
        let tables = catalog::list(txn, &head.catalog)?;
        let mut last = Last { from, pages: BinaryHeap::new() };
        last.look_through(txn, &head.default_table, Home::Main)?;
        last.look_through(txn, &head.catalog, Home::Catalog)?;
        last.look_through(txn, &head.free, Home::Free)?;
        for (at, (_, table)) in tables.iter().enumerate() {
            last.look_through(txn, &table.tree, Home::Named(at))?;
        }
        let names = tables.into_iter().map(|(name, _)| name).collect();
        Ok(Plan { names, pages: last.pages.into_sorted_vec().into_iter().map(|Reverse(page)| page).collect() })
    }

    /// The pages in batches of about `pages_max`, each in the order of the trees, so that neighbours share their path.
    pub(super) fn batches(self, pages_max: u64) -> (Vec<String>, Vec<Vec<Planned>>) {
        let mut batches: Vec<Vec<Planned>> = Vec::new();
        let mut pages = u64::MAX;
        for page in self.pages {
            if pages >= pages_max {
                batches.push(Vec::new());
                pages = 0;
            }
            pages += page.pages;
            if let Some(batch) = batches.last_mut() {
                batch.push(page);
            }
        }
        for batch in &mut batches {
            batch.sort_unstable_by(|one, other| one.place_in_tree().cmp(&other.place_in_tree()));
        }
        (self.names, batches)
    }
}

/// Collects the pages that lie last.
struct Last {
    from: Pgno,
    pages: BinaryHeap<Reverse<Planned>>,
}

impl Last {
    fn look_through(&mut self, txn: &ReadTxn, tree: &TreeRecord, home: Home) -> Result<()> {
        locate(txn, tree, true, &mut |found| {
            self.note(found, home);
            Ok(())
        })
    }

    fn note(&mut self, found: Located<'_>, home: Home) {
        let is_full = self.pages.len() >= PLANNED_MAX;
        let lowest = self.pages.peek().filter(|_| is_full).map(|Reverse(page)| page.pgno);
        if found.pgno < self.from || lowest.is_some_and(|lowest| found.pgno < lowest) {
            return;
        }
        let Located { pgno, pages, part, key, duplicate } = found;
        let (key, duplicate) = (key.map(Box::from), duplicate.map(Box::from));
        self.pages.push(Reverse(Planned { pgno, pages, home, part, key, duplicate }));
        if is_full {
            self.pages.pop();
        }
    }
}
