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

    fn seal_node(&mut self, pgno: Pgno, level: usize) -> Result<u32> {
        let fault = |cause| corrupt(pgno, cause);
        let own = PageRef { pgno, tag: 0 };
        if level == 0 {
            for index in 0..leaf(self.pages, own)?.len() {
                let value = leaf(self.pages, own)?.value(index).map_err(fault)?;
                if let ValueField::Overflow(run) = value
                    && run.tag == 0
                {
                    let tag = self.seal_run(&run)?;
                    self.leaf_mut(pgno)?.set_overflow_tag(index, tag).map_err(fault)?;
                }
            }
        } else {
            for index in 0..branch(self.pages, own, level)?.len() {
                let entry = branch(self.pages, own, level)?.entry(index).map_err(fault)?;
                if entry.tag == 0 {
                    let tag = self.seal_node(entry.child, level - 1)?;
                    self.set_entry(pgno, index, Entry { tag, ..entry })?;
                }
            }
        }
        let page = self.pages.own_mut(pgno, 1)?;
        Ok(header::tag(header::seal(page)))
    }
}
