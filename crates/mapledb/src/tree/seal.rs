//! Sealing: from unsealed marks to tags, children before parents.

use mapledb_format::Pgno;
use mapledb_format::branch::Entry;
use mapledb_format::header;
use mapledb_format::leaf::ValueField;
use mapledb_format::order::Order;

use super::{PageRef, PagesMut, TreeMut, branch, corrupt, leaf};
use crate::error::Result;

impl<P: PagesMut, O: Order> TreeMut<'_, P, O> {
    /// Writes the checksum of every own page, and its tag into whoever refers to it, the tree record last (I4).
    ///
    /// Cost: one pass over own pages.
    pub(crate) fn seal(&mut self) -> Result<()> {
        if self.record.depth > 0 && self.root().is_own() {
            self.record.root_tag = self.seal_node(self.record.root, usize::from(self.record.depth) - 1)?;
        }
        Ok(())
    }

    /// Seals an own node and what lies below it; answers its tag.
    pub(super) fn seal_node(&mut self, pgno: Pgno, level: usize) -> Result<u32> {
        let fault = |cause| corrupt(pgno, cause);
        let own = PageRef { pgno, tag: 0 };
        let mut from = 0;
        if level == 0 {
            while let Some(index) = leaf(self.pages, own)?.next_unsealed(from) {
                match leaf(self.pages, own)?.value(index).map_err(fault)? {
                    ValueField::Overflow(run) => {
                        let tag = self.seal_run(&run)?;
                        self.leaf_mut(pgno)?.set_overflow_tag(index, tag).map_err(fault)?;
                    }
                    ValueField::Duplicates(_) => self.seal_duplicates(pgno, index)?,
                    ValueField::Inline(_) => {}
                }
                from = index + 1;
            }
        } else {
            while let Some(index) = branch(self.pages, own, level)?.next_unsealed(from) {
                let entry = branch(self.pages, own, level)?.entry(index).map_err(fault)?;
                let tag = self.seal_node(entry.child, level - 1)?;
                self.set_entry(pgno, index, Entry { tag, ..entry })?;
                from = index + 1;
            }
        }
        let tag = header::tag(header::seal(self.pages.own_mut(pgno, 1)?));
        self.pages.sealed(pgno, self.order.is_bytewise());
        Ok(tag)
    }
}
