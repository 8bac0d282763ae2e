//! A walk along the leaves of a tree.
//!
//! It ends on whatever bytes: every leaf lies at the depth that the tree's record says, and no page is entered twice, so that
//! cycles and pages with two parents are errors.

use crate::error::{Fault, Result};
use crate::file::LmdbFile;
use crate::layout::{Flags, NO_PAGE, Tree};
use crate::order::Order;
use crate::page::{Page, Value};

/// Where a walk is.
#[derive(Debug)]
pub struct Walk {
    tree: Tree,
    /// The pages from the root to a leaf, and which entry of each is at hand.
    path: Vec<Step>,
    order: Order,
    last_key: Option<Vec<u8>>,
    given: u64,
    seen: PageSet,
    is_begun: bool,
    counts_entries: bool,
}

#[derive(Debug)]
struct Step {
    page: Page,
    index: usize,
}

impl Walk {
    /// Along the keys of a database.
    pub fn of_keys(file: &LmdbFile, tree: Tree) -> Walk {
        let order = Walk::order(file, Order::of_keys(tree.flags));
        // With duplicates the record counts those, and not keys.
        Walk { counts_entries: !tree.flags.dup_sort(), ..Walk::new(tree, order, PageSet::default()) }
    }

    /// Along the duplicates of one key, in a tree of their own. `seen` are the pages that belong to others.
    pub fn of_duplicates(file: &LmdbFile, tree: Tree, database: Flags, seen: PageSet) -> Walk {
        Walk::new(tree, Walk::order(file, Order::of_duplicates(database)), seen)
    }

    /// Along the duplicates of one key, on a page inside a node.
    pub fn inside(file: &LmdbFile, page: Page, database: Flags, seen: PageSet) -> Walk {
        let entries = page.count as u64;
        let tree = Tree { packed_len: 0, flags: Flags::default(), depth: 1, entries, root: page.number };
        let order = Walk::order(file, Order::of_duplicates(database));
        Walk { path: vec![Step { page, index: 0 }], ..Walk::new(tree, order, seen) }
    }

    fn new(tree: Tree, order: Order, seen: PageSet) -> Walk {
        Walk {
            tree,
            path: Vec::new(),
            order,
            last_key: None,
            given: 0,
            seen,
            is_begun: false,
            counts_entries: true,
        }
    }

    fn order(file: &LmdbFile, order: Order) -> Order {
        if file.any_order { Order::Any } else { order }
    }

    /// Goes on to the next entry. Answers whether there is one.
    pub fn advance(&mut self, file: &LmdbFile) -> Result<bool> {
        if self.is_begun {
            self.climb();
        } else {
            self.is_begun = true;
            if self.path.is_empty() && self.tree.root != NO_PAGE {
                self.enter(file, self.tree.root)?;
            }
        }
        self.descend(file)?;
        if self.path.is_empty() {
            self.check_count(file)?;
            return Ok(false);
        }
        self.given += 1;
        if self.counts_entries && self.given > self.tree.entries {
            self.check_count(file)?;
        }
        self.check_order(file)?;
        Ok(true)
    }

    /// The key at hand; in a walk along duplicates, the duplicate.
    pub fn key(&self, file: &LmdbFile) -> Result<&[u8]> {
        let Step { page, index } = self.step();
        page.key(*index).map_err(|fault| file.damaged(page.number, fault))
    }

    /// What belongs to the key at hand.
    pub fn value(&self, file: &LmdbFile) -> Result<Value<'_>> {
        let Step { page, index } = self.step();
        page.value(*index).map_err(|fault| file.damaged(page.number, fault))
    }

    /// The page at hand.
    pub fn page_number(&self) -> u64 {
        self.step().page.number
    }

    /// The entry at hand of that page.
    pub fn index(&self) -> usize {
        self.step().index
    }

    /// Takes the pages seen so far, to be given back.
    pub fn lend_seen(&mut self) -> PageSet {
        std::mem::take(&mut self.seen)
    }

    /// Gives back what was lent.
    pub fn return_seen(&mut self, seen: PageSet) {
        self.seen = seen;
    }

    /// Notes pages that belong to a value.
    pub fn note(&mut self, file: &LmdbFile, number: u64, pages: u64) -> Result<()> {
        for page in number..number.saturating_add(pages) {
            self.seen.insert(file, page)?;
        }
        Ok(())
    }

    fn step(&self) -> &Step {
        self.path.last().expect("advance has answered that there is an entry")
    }

    /// Leaves the entry at hand, and pages that are at their end.
    fn climb(&mut self) {
        while let Some(step) = self.path.last_mut() {
            step.index += 1;
            if step.index < step.page.count {
                return;
            }
            self.path.pop();
        }
    }

    /// Goes down to a leaf, from the entry at hand.
    fn descend(&mut self, file: &LmdbFile) -> Result<()> {
        while let Some(Step { page, index }) = self.path.last() {
            if !page.is_branch() {
                return Ok(());
            }
            let child = page.child(*index).map_err(|fault| file.damaged(page.number, fault))?;
            self.enter(file, child)?;
        }
        Ok(())
    }

    fn enter(&mut self, file: &LmdbFile, number: u64) -> Result<()> {
        let page = file.page(number)?;
        self.seen.insert(file, number)?;
        let fault = |fault| Err(file.damaged(number, fault));
        let level = self.path.len() + 1;
        let is_at_bottom = level == usize::from(self.tree.depth);
        if page.is_branch() == is_at_bottom {
            return fault(Fault::Depth(self.tree.depth));
        }
        if page.count == 0 {
            return fault(Fault::Empty);
        }
        self.check_packed(&page).or_else(fault)?;
        self.path.push(Step { page, index: 0 });
        Ok(())
    }

    /// Duplicates of one size are packed, and nothing else is.
    fn check_packed(&self, page: &Page) -> std::result::Result<(), Fault> {
        if page.is_branch() {
            return Ok(());
        }
        let expected = self.tree.flags.dup_fixed() && !self.tree.flags.dup_sort();
        match page.packed_len() {
            Some(len) if expected && len as u64 == u64::from(self.tree.packed_len) => Ok(()),
            None if !expected => Ok(()),
            Some(len) => Err(Fault::DuplicateSize(u32::try_from(len).unwrap_or(u32::MAX))),
            None => Err(Fault::DuplicateSize(self.tree.packed_len)),
        }
    }

    fn check_order(&mut self, file: &LmdbFile) -> Result<()> {
        if self.order == Order::Any {
            return Ok(());
        }
        let mut last = self.last_key.take();
        let key = self.key(file)?;
        if last.as_deref().is_some_and(|last| !self.order.ascends(last, key)) {
            return Err(file.damaged(self.page_number(), Fault::Order(self.index())));
        }
        let kept = last.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(key);
        self.last_key = last;
        Ok(())
    }

    fn check_count(&self, file: &LmdbFile) -> Result<()> {
        if !self.counts_entries || self.given == self.tree.entries {
            return Ok(());
        }
        let fault = Fault::Entries { found: self.given, recorded: self.tree.entries };
        Err(file.damaged(self.tree.root, fault))
    }
}

/// Pages that were reached.
#[derive(Debug, Default)]
pub struct PageSet {
    bits: Vec<u64>,
}

impl PageSet {
    /// Notes a page. Fails if it was noted before.
    fn insert(&mut self, file: &LmdbFile, number: u64) -> Result<()> {
        if number > file.last_page() {
            return Err(file.damaged(number, Fault::CutShort));
        }
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let bits = self.bits.get_mut(word).expect("it was made just now");
        if *bits & bit != 0 {
            return Err(file.damaged(number, Fault::ReachedTwice));
        }
        *bits |= bit;
        Ok(())
    }
}
