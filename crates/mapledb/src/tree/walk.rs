//! Every page of a tree, with everything the format promises about it checked on the way.

use mapledb_format::branch::{Branch, Entry};
use mapledb_format::header;
use mapledb_format::leaf::Leaf;
use mapledb_format::order::Order;
use mapledb_format::overflow::{OverflowRef, Run};
use mapledb_format::tree_record::TreeRecord;
use mapledb_format::{FormatError, Pgno, Txnid};

use super::ahead::{LEAVES_MAX, ask_for_children};
use super::insert::validate;
use super::nested::{Owned, check_layout, owned_at, weigh};
use super::{KeyOrder, PageRef, Pages, Tree, child, corrupt};
use crate::error::Result;

/// One page, or the run of a multi-page value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) pgno: Pgno,
    pub(crate) pages: u64,
}

/// What a walk found in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) entries: u64,
    pub(crate) leaf_pages: u64,
    pub(crate) branch_pages: u64,
    pub(crate) overflow_pages: u64,
}

/// Visits every page of the tree, parents before children, and checks layout, order within and across pages, heads,
/// levels, tags and counts. Which checksums are made anew is up to `pages`.
///
/// `visit` may refuse: its error ends the walk.
pub(crate) fn walk<P: Pages, O: Order>(
    pages: &P,
    record: &TreeRecord,
    order: O,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<Walked> {
    let mut walker = Walker { tree: Tree::in_order(pages, record, order), visit, walked: Walked::default() };
    let Some(top) = usize::from(record.depth).checked_sub(1) else {
        return if record.entries == 0 {
            Ok(walker.walked)
        } else {
            Err(corrupt(record.root, FormatError::BadTreeRecord("an empty tree counts entries")))
        };
    };
    let root = walker.tree.root();
    let entries = walker.node(root, top, None, None)?;
    walker.walked.entries = entries;
    let counted = Walked {
        entries: record.entries,
        leaf_pages: record.leaf_pages,
        branch_pages: record.branch_pages,
        overflow_pages: record.overflow_pages,
    };
    if counted != walker.walked {
        return Err(corrupt(record.root, FormatError::BadTreeRecord("its counts are not the tree's")));
    }
    Ok(walker.walked)
}

struct Walker<'p, 'v, P, O> {
    tree: Tree<'p, P, O>,
    visit: &'v mut dyn FnMut(Visit) -> Result<()>,
    walked: Walked,
}

impl<P: Pages, O: Order> Walker<'_, '_, P, O> {
    /// Walks the subtree at `at`, whose keys lie from `low` up to `high`; answers how many entries it has.
    fn node(&mut self, at: PageRef, level: usize, low: Option<&[u8]>, high: Option<&[u8]>) -> Result<u64> {
        let fault = |cause| corrupt(at.pgno, cause);
        let page = self.tree.pages.page(at)?;
        if !at.is_own() {
            validate(self.tree.order, page, level).map_err(fault)?;
        }
        (self.visit)(Visit { pgno: at.pgno, pages: 1 })?;
        if level == 0 {
            self.leaf(at, page, low, high)
        } else {
            self.branch(at, page, level, low, high)
        }
    }

    fn leaf(&mut self, at: PageRef, page: &[u8], low: Option<&[u8]>, high: Option<&[u8]>) -> Result<u64> {
        let fault = |cause| corrupt(at.pgno, cause);
        let leaf = Leaf::view(page).map_err(fault)?;
        self.walked.leaf_pages += 1;
        check_layout(&self.tree.record, page, at)?;
        if leaf.is_empty() {
            return Err(fault(FormatError::SlotOutOfBounds { slot: 0 }));
        }
        for index in 0..leaf.len() {
            inside(self.tree.order, leaf.key(index).map_err(fault)?, index, low, high).map_err(fault)?;
            match owned_at(&self.tree.record, &leaf, at, index)? {
                None => {}
                Some(Owned::Run(run)) => self.run(&run)?,
                Some(Owned::Tree(tree)) => self.nested(&tree)?,
            }
        }
        weigh(&self.tree.record, &leaf, at, 0..leaf.len())
    }

    fn run(&mut self, run: &OverflowRef) -> Result<()> {
        let bytes = self.tree.pages.run(run)?;
        let pages = self.tree.pages.page_size().pages_for(bytes.len() as u64);
        self.walked.overflow_pages += pages;
        (self.visit)(Visit { pgno: run.pgno, pages })
    }

    /// Walks the tree of a key's duplicates.
    fn nested(&mut self, tree: &TreeRecord) -> Result<()> {
        let walked = walk(self.tree.pages, tree, KeyOrder::recorded(tree.order), self.visit)?;
        if walked.overflow_pages > 0 {
            return Err(corrupt(tree.root, FormatError::BadReference("duplicates have values")));
        }
        self.walked.overflow_pages += walked.leaf_pages + walked.branch_pages;
        Ok(())
    }

    fn branch(
        &mut self,
        at: PageRef,
        page: &[u8],
        level: usize,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
    ) -> Result<u64> {
        let fault = |cause| corrupt(at.pgno, cause);
        let branch = Branch::view(page).map_err(fault)?;
        self.walked.branch_pages += 1;
        let mut total = 0u64;
        for index in 0..branch.len() {
            if index % LEAVES_MAX == 0 {
                ask_for_children(self.tree.pages, &branch, index..(index + LEAVES_MAX).min(branch.len()));
            }
            let entry: Entry = branch.entry(index).map_err(fault)?;
            let child_low = if index == 0 { low } else { Some(branch.key(index).map_err(fault)?) };
            let child_high =
                if index + 1 == branch.len() { high } else { Some(branch.key(index + 1).map_err(fault)?) };
            if let (Some(separator), true) = (child_low, index > 0) {
                inside(self.tree.order, separator, index, low, high).map_err(fault)?;
            }
            let count = self.node(child(at, entry)?, level - 1, child_low, child_high)?;
            if count != entry.count {
                return Err(fault(FormatError::WrongCount { slot: index as u16 }));
            }
            total = total.saturating_add(count);
        }
        Ok(total)
    }
}

/// Whether `key` lies between the fences.
fn inside<O: Order>(
    order: O,
    key: &[u8],
    index: usize,
    low: Option<&[u8]>,
    high: Option<&[u8]>,
) -> std::result::Result<(), FormatError> {
    let above = low.is_none_or(|low| order.compare(low, key).is_le());
    let below = high.is_none_or(|high| order.compare(key, high).is_lt());
    if above && below { Ok(()) } else { Err(FormatError::KeyOrder { slot: index as u16 }) }
}

/// Visits the pages of a tree that were written after `since`, each with its checksum made anew.
///
/// A parent is rewritten whenever its child is, so a subtree whose root is older has nothing newer in it. Whether older
/// pages are sound is not asked.
///
/// Cost: the pages visited, and the headers of their children.
pub(crate) fn walk_since<P: Pages>(
    pages: &P,
    record: &TreeRecord,
    since: Txnid,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    match usize::from(record.depth).checked_sub(1) {
        Some(top) => node_since(pages, PageRef { pgno: record.root, tag: record.root_tag }, top, since, record, visit),
        None => Ok(()),
    }
}

fn node_since<P: Pages>(
    pages: &P,
    at: PageRef,
    level: usize,
    since: Txnid,
    record: &TreeRecord,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let fault = |cause| corrupt(at.pgno, cause);
    if pages.born(at)? <= since {
        return Ok(());
    }
    let page = pages.page(at)?;
    header::check_sum(page).and_then(|()| super::check_level(page, level)).map_err(fault)?;
    visit(Visit { pgno: at.pgno, pages: 1 })?;
    if level == 0 {
        let leaf = Leaf::view(page).map_err(fault)?;
        for index in 0..leaf.len() {
            match owned_at(record, &leaf, at, index)? {
                None => {}
                Some(Owned::Run(run)) => run_since(pages, &run, since, visit)?,
                Some(Owned::Tree(tree)) => walk_since(pages, &tree, since, visit)?,
            }
        }
    } else {
        let branch = Branch::view(page).map_err(fault)?;
        for index in 0..branch.len() {
            let entry = branch.entry(index).map_err(fault)?;
            node_since(pages, child(at, entry)?, level - 1, since, record, visit)?;
        }
    }
    Ok(())
}

fn run_since<P: Pages>(
    pages: &P,
    run: &OverflowRef,
    since: Txnid,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let fault = |cause| corrupt(run.pgno, cause);
    if pages.born(PageRef { pgno: run.pgno, tag: run.tag })? <= since {
        return Ok(());
    }
    let bytes = pages.run(run)?;
    let size = pages.page_size();
    Run::open(bytes, size).and_then(|run| run.check_all()).map_err(fault)?;
    let pages = size.pages_for(bytes.len() as u64);
    visit(Visit { pgno: run.pgno, pages })
}
