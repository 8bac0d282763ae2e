//! Every page of a tree, with everything the format promises about it checked on the way.

use mapledb_format::branch::{Branch, Entry};
use mapledb_format::header;
use mapledb_format::leaf::Leaf;
use mapledb_format::order::Order;
use mapledb_format::overflow::{OverflowRef, Run, RunGeometry};
use mapledb_format::tree_record::TreeRecord;
use mapledb_format::{FormatError, Pgno, Txnid};

use super::ahead::{LEAVES_MAX, ask_for_children};
use super::insert::validate;
use super::nested::{Owned, check_layout, owned_at, weigh};
use super::{KeyOrder, PageRef, Pages, PairOrder, Tree, child, corrupt};
use crate::error::{Error, Result};

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
    /// Faults that the visitor let pass; then the counts are of what could be reached.
    pub(crate) faults: u64,
}

/// A page that was found to be sound.
pub(crate) enum Sound<'s, 'p> {
    Branch(&'s Branch<'p>),
    Leaf(&'s Leaf<'p>),
    /// A leaf in the tree of a key's duplicates.
    DuplicateLeaf(&'s Leaf<'p>),
}

/// Who is shown what a walk comes to.
pub(crate) trait Visitor {
    /// A page or run that is in the tree. An error ends what hangs on it, as a fault does.
    fn visit(&mut self, visit: Visit) -> Result<()>;

    /// What lies at `at` is not as it must be. An error ends the walk; else it goes on with what is beside it, and what is
    /// below stays unknown.
    fn fault(&mut self, at: Visit, error: Error) -> Result<()>;

    /// A page whose layout and order are right.
    fn sound(&mut self, at: Pgno, page: Sound<'_, '_>) -> Result<()>;

    /// Whether long values are read; if not, only the header of each is.
    fn reads_values(&self) -> bool;

    /// Whether leaves are read; if not, they are visited only, and their parents' counts believed.
    fn reads_leaves(&self) -> bool;
}

/// A visitor that ends the walk at the first fault.
struct Strict<'v>(&'v mut dyn FnMut(Visit) -> Result<()>);

impl Visitor for Strict<'_> {
    fn visit(&mut self, visit: Visit) -> Result<()> {
        (self.0)(visit)
    }

    fn fault(&mut self, _: Visit, error: Error) -> Result<()> {
        Err(error)
    }

    fn sound(&mut self, _: Pgno, _: Sound<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn reads_values(&self) -> bool {
        true
    }

    fn reads_leaves(&self) -> bool {
        true
    }
}

/// Visits every page of the tree, parents before children, and checks layout, order within and across pages, heads,
/// levels, tags and counts. Which checksums are made anew is up to `pages`.
///
/// `visit` may refuse: its error ends the walk, as the first fault does.
pub(crate) fn walk<P: Pages, O: Order>(
    pages: &P,
    record: &TreeRecord,
    order: O,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<Walked> {
    walk_in(Tree::in_order(pages, record, order), KeyOrder::of_duplicates(record), &mut Strict(visit))
}

/// Walks as [`walk`] does, and asks the visitor at each fault whether to go on.
pub(crate) fn walk_with<P: Pages>(
    pages: &P,
    record: &TreeRecord,
    order: PairOrder,
    visitor: &mut dyn Visitor,
) -> Result<Walked> {
    walk_in(Tree::in_order(pages, record, order.keys), order.duplicates, visitor)
}

fn walk_in<P: Pages, O: Order>(
    tree: Tree<'_, P, O>,
    duplicates: KeyOrder,
    visitor: &mut dyn Visitor,
) -> Result<Walked> {
    Walker { tree, duplicates, visitor, walked: Walked::default(), is_nested: false }.walk()
}

struct Walker<'p, 'v, P, O> {
    tree: Tree<'p, P, O>,
    /// The order of the duplicates if it is a multimap.
    duplicates: KeyOrder,
    visitor: &'v mut dyn Visitor,
    walked: Walked,
    /// Whether this is the tree of a key's duplicates.
    is_nested: bool,
}

/// The fences of a subtree: its keys lie from the first up to the second.
type Fences<'k> = (Option<&'k [u8]>, Option<&'k [u8]>);

impl<'p, P: Pages, O: Order> Walker<'p, '_, P, O> {
    fn walk(mut self) -> Result<Walked> {
        let record = self.tree.record;
        let at = Visit { pgno: record.root, pages: 1 };
        let fault = |what| Err::<(), _>(corrupt(record.root, FormatError::BadTreeRecord(what)));
        let Some(top) = usize::from(record.depth).checked_sub(1) else {
            if record.entries > 0 {
                self.told(at, fault("an empty tree counts entries"))?;
            }
            return Ok(self.walked);
        };
        let root = self.tree.root();
        self.walked.entries = self.subtree(root, top, (None, None))?.unwrap_or(record.entries);
        let is_whole = top == 0 || self.visitor.reads_leaves();
        let counted = Walked {
            entries: record.entries,
            leaf_pages: record.leaf_pages,
            branch_pages: record.branch_pages,
            overflow_pages: if is_whole { record.overflow_pages } else { self.walked.overflow_pages },
            faults: 0,
        };
        if self.walked.faults == 0 && counted != self.walked {
            self.told(at, fault("its counts are not the tree's"))?;
        }
        Ok(self.walked)
    }

    /// What was `found` at `at`, or `None` if it is a fault that the visitor lets pass.
    fn told<T>(&mut self, at: Visit, found: Result<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error @ Error::Corrupt { .. }) => {
                self.walked.faults += 1;
                self.visitor.fault(at, error).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Walks the subtree at `at`; answers how many entries it has, or `None` if damage keeps that from being known.
    fn subtree(&mut self, at: PageRef, level: usize, fences: Fences<'_>) -> Result<Option<u64>> {
        let visit = Visit { pgno: at.pgno, pages: 1 };
        let page = self.page(at, level);
        let Some(page) = self.told(visit, page)? else { return Ok(None) };
        if level == 0 { self.leaf(at, page, fences) } else { self.branch(at, page, level, fences) }
    }

    /// The page `at`, with its own layout and order checked.
    fn page(&mut self, at: PageRef, level: usize) -> Result<&'p [u8]> {
        let page = self.tree.pages.page(at)?;
        if !at.is_own() {
            validate(self.tree.order, page, level).map_err(|cause| corrupt(at.pgno, cause))?;
        }
        if level == 0 {
            check_layout(&self.tree.record, self.duplicates, page, at)?;
        }
        self.visitor.visit(Visit { pgno: at.pgno, pages: 1 })?;
        Ok(page)
    }

    fn leaf(&mut self, at: PageRef, page: &[u8], fences: Fences<'_>) -> Result<Option<u64>> {
        let visit = Visit { pgno: at.pgno, pages: 1 };
        self.walked.leaf_pages += 1;
        let keys = keys_inside(self.tree.order, at, page, fences);
        let Some(leaf) = self.told(visit, keys)? else { return Ok(None) };
        self.visitor.sound(at.pgno, if self.is_nested { Sound::DuplicateLeaf(&leaf) } else { Sound::Leaf(&leaf) })?;
        for index in 0..leaf.len() {
            let owned = owned_at(&self.tree.record, &leaf, at, index);
            match self.told(visit, owned)?.flatten() {
                None => {}
                Some(Owned::Run(run)) => self.run(&run)?,
                Some(Owned::Tree(tree)) => self.nested(&tree)?,
            }
        }
        let count = weigh(&self.tree.record, &leaf, at, 0..leaf.len());
        self.told(visit, count)
    }

    fn run(&mut self, run: &OverflowRef) -> Result<()> {
        let size = self.tree.pages.page_size();
        let pages = RunGeometry::of(run.len, size).map_or(1, |geometry| geometry.pages);
        let visit = Visit { pgno: run.pgno, pages };
        let found = match self.visitor.reads_values() {
            true => self.tree.pages.run(run).map(|_| ()),
            false => self.tree.pages.born(PageRef { pgno: run.pgno, tag: run.tag }).map(|_| ()),
        };
        let found = found.and_then(|()| self.visitor.visit(visit));
        if self.told(visit, found)?.is_some() {
            self.walked.overflow_pages += pages;
        }
        Ok(())
    }

    /// Walks the tree of a key's duplicates.
    fn nested(&mut self, tree: &TreeRecord) -> Result<()> {
        let walker = Walker {
            tree: Tree::in_order(self.tree.pages, tree, self.duplicates),
            duplicates: self.duplicates,
            visitor: &mut *self.visitor,
            walked: Walked::default(),
            is_nested: true,
        };
        let walked = walker.walk()?;
        self.walked.faults += walked.faults;
        self.walked.overflow_pages += walked.leaf_pages + walked.branch_pages;
        if walked.overflow_pages > 0 {
            let values = corrupt(tree.root, FormatError::BadReference("duplicates have values"));
            self.told(Visit { pgno: tree.root, pages: 1 }, Err::<(), _>(values))?;
        }
        Ok(())
    }

    fn branch(&mut self, at: PageRef, page: &[u8], level: usize, fences: Fences<'_>) -> Result<Option<u64>> {
        let fault = |cause| corrupt(at.pgno, cause);
        let visit = Visit { pgno: at.pgno, pages: 1 };
        self.walked.branch_pages += 1;
        let children = children(self.tree.order, at, page, fences);
        let Some((branch, children)) = self.told(visit, children)? else { return Ok(None) };
        self.visitor.sound(at.pgno, Sound::Branch(&branch))?;
        let goes_down = level > 1 || self.visitor.reads_leaves();
        let mut total = Some(0u64);
        for (index, (child, said, fences)) in children.into_iter().enumerate() {
            if goes_down && index % LEAVES_MAX == 0 {
                ask_for_children(self.tree.pages, &branch, index..(index + LEAVES_MAX).min(branch.len()));
            }
            let count = if goes_down { self.subtree(child, level - 1, fences)? } else { self.unread(child, said)? };
            let is_as_said = match count {
                Some(count) if count != said => Err(fault(FormatError::WrongCount { slot: index as u16 })),
                _ => Ok(()),
            };
            let is_as_said = self.told(visit, is_as_said)?;
            total = match (total, count, is_as_said) {
                (Some(total), Some(count), Some(())) => Some(total.saturating_add(count)),
                _ => None,
            };
        }
        Ok(total)
    }

    /// Visits a leaf that is not read.
    fn unread(&mut self, leaf: PageRef, said: u64) -> Result<Option<u64>> {
        let visit = Visit { pgno: leaf.pgno, pages: 1 };
        self.walked.leaf_pages += 1;
        let visited = self.visitor.visit(visit);
        Ok(self.told(visit, visited)?.map(|()| said))
    }
}

/// The leaf in `page`, if it is not empty and its keys lie between the fences.
fn keys_inside<'p, O: Order>(order: O, at: PageRef, page: &'p [u8], (low, high): Fences<'_>) -> Result<Leaf<'p>> {
    let fault = |cause| corrupt(at.pgno, cause);
    let leaf = Leaf::view(page).map_err(fault)?;
    if leaf.is_empty() {
        return Err(fault(FormatError::SlotOutOfBounds { slot: 0 }));
    }
    for index in 0..leaf.len() {
        inside(order, leaf.key(index).map_err(fault)?, index, low, high).map_err(fault)?;
    }
    Ok(leaf)
}

/// The branch in `page`, and of each of its children what refers to it, what it is said to count, and its fences.
#[expect(clippy::type_complexity, reason = "a list for the one who walks it")]
fn children<'p, O: Order>(
    order: O,
    at: PageRef,
    page: &'p [u8],
    (low, high): Fences<'p>,
) -> Result<(Branch<'p>, Vec<(PageRef, u64, Fences<'p>)>)> {
    let fault = |cause| corrupt(at.pgno, cause);
    let branch = Branch::view(page).map_err(fault)?;
    let mut children = Vec::with_capacity(branch.len());
    for index in 0..branch.len() {
        let entry: Entry = branch.entry(index).map_err(fault)?;
        let child_low = if index == 0 { low } else { Some(branch.key(index).map_err(fault)?) };
        let child_high =
            if index + 1 == branch.len() { high } else { Some(branch.key(index + 1).map_err(fault)?) };
        if let (Some(separator), true) = (child_low, index > 0) {
            inside(order, separator, index, low, high).map_err(fault)?;
        }
        children.push((child(at, entry)?, entry.count, (child_low, child_high)));
    }
    Ok((branch, children))
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
