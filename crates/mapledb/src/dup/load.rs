//! Sorted pairs, laid down behind all there are.
//!
//! The duplicates of a key are gathered until the next key comes; what is more than a page of them goes into a nested tree
//! meanwhile. Then the key goes into the leaf, with them or with the record of their tree.

use mapledb_format::duplicates::{dup_bytes, sub_page_len, tree_ref};
use mapledb_format::leaf::{NewValue, is_inline};
use mapledb_format::order::Order;
use mapledb_format::tree_record::TreeRecord;

use super::form::{Kind, append_to_tree, kind_of, sorted_sub_page};
use super::write::check_dup;
use crate::error::{Error, Result};
use crate::pages::PagesMut;
use crate::tree::{Appender, KeyOrder, TreeMut};

/// Appends pairs in order behind everything a multimap holds; the first key must be greater than all of its keys.
pub(crate) struct Loader<'t, 'p, P, O> {
    keys: Appender<'t, 'p, P, O>,
    kind: Kind,
    page_len: usize,
    /// The key whose duplicates are gathered.
    key: Option<Vec<u8>>,
    /// Those that have not gone into its tree, one behind the other, and where each ends.
    dups: Vec<u8>,
    ends: Vec<usize>,
    /// The tree that the first of them have gone into.
    tree: Option<TreeRecord>,
}

impl<'t, 'p, P: PagesMut, O: Order> Loader<'t, 'p, P, O> {
    /// Starts behind the last pair of `tree`, for pairs that are in its orders already: named ones need not be at hand.
    pub(crate) fn as_stored(tree: &'t mut TreeMut<'p, P, O>) -> Result<Loader<'t, 'p, P, O>> {
        let order = KeyOrder::of_duplicates(tree.record());
        Loader::new(tree, order)
    }

    /// Starts behind the last pair of `tree`, whose duplicates are in `order`.
    pub(crate) fn new(tree: &'t mut TreeMut<'p, P, O>, order: KeyOrder) -> Result<Loader<'t, 'p, P, O>> {
        let (kind, page_len) = (kind_of(tree, order)?, tree.pages().page_size().bytes());
        let (key, dups, ends) = (None, Vec::new(), Vec::new());
        Ok(Loader { keys: Appender::new(tree)?, kind, page_len, key, dups, ends, tree: None })
    }

    /// Puts a pair behind the last one. One that is not greater is refused and changes nothing.
    pub(crate) fn push(&mut self, key: &[u8], dup: &[u8]) -> Result<()> {
        check_dup(self.keys.tree(), self.kind, dup)?;
        if self.key.as_deref() == Some(key) {
            if self.kind.order.compare(self.last(), dup).is_ge() {
                return Err(Error::NotSorted);
            }
        } else {
            self.settle()?;
            self.keys.check(key)?;
            self.key = Some(key.to_vec());
        }
        if self.dups.len() > self.page_len {
            self.spill()?;
        }
        self.dups.extend_from_slice(dup);
        self.ends.push(self.dups.len());
        Ok(())
    }

    fn last(&self) -> &[u8] {
        let (from, to) = match self.ends[..] {
            [] => (0, 0),
            [end] => (0, end),
            [.., from, to] => (from, to),
        };
        &self.dups[from..to]
    }

    /// Moves what has been gathered into the key's tree, but for the last one, which the next must be greater than.
    fn spill(&mut self) -> Result<()> {
        let last = self.last().to_vec();
        self.ends.pop();
        self.move_into_tree()?;
        self.dups.extend_from_slice(&last);
        self.ends.push(last.len());
        Ok(())
    }

    /// Moves what has been gathered into the key's tree.
    fn move_into_tree(&mut self) -> Result<()> {
        let mut nested = self.tree.unwrap_or(self.kind.record.tree());
        let before = nested.pages();
        append_to_tree(self.keys.tree().pages(), &mut nested, self.kind.order, each(&self.dups, &self.ends))?;
        self.keys.tree().count_nested(before, nested.pages());
        self.tree = Some(nested);
        self.dups.clear();
        self.ends.clear();
        Ok(())
    }

    /// Stores the key whose duplicates have been gathered.
    fn settle(&mut self) -> Result<()> {
        let Some(key) = self.key.take() else { return Ok(()) };
        let count = self.ends.len() as u64;
        let is_packed = self.kind.is_packed();
        let used = each(&self.dups, &self.ends).map(|dup| dup_bytes(dup.len(), is_packed)).sum();
        if self.tree.is_none() && count == 1 && is_inline(self.page_len, key.len(), self.dups.len() as u64) {
            self.keys.store(&key, &NewValue::Inline(&self.dups), 1)?;
        } else if self.tree.is_none()
            && count > 1
            && let Some(len) = sub_page_len(self.page_len, key.len(), used)
        {
            let page = sorted_sub_page(len, self.kind, each(&self.dups, &self.ends));
            let root = self.keys.tree().record().root;
            let page = page.map_err(|cause| Error::Corrupt { pgno: root, cause })?;
            self.keys.store(&key, &NewValue::Duplicates(&page), count)?;
        } else {
            self.move_into_tree()?;
            if let Some(nested) = self.tree.take() {
                self.keys.store(&key, &NewValue::Duplicates(&tree_ref(&nested)), nested.entries)?;
            }
        }
        self.dups.clear();
        self.ends.clear();
        Ok(())
    }

    /// Stores the last key and writes the counts of the right edge; without this the multimap is not whole.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.settle()?;
        self.keys.finish()
    }
}

/// The duplicates in `dups`, which end at `ends`.
fn each<'d>(dups: &'d [u8], ends: &'d [usize]) -> impl Iterator<Item = &'d [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(from, to)| &dups[from..*to])
}
