//! Free pages that are in use again: those of a snapshot whose state is the latest once more.

use mapledb_format::free::record::{FreeKey, KEY_PENDING, decode_pending, pending_key};
use mapledb_format::{FormatError, FreedExtent, PendingGroup, Pgno, Txnid};

use super::{Draft, Extents};
use crate::error::Result;
use crate::tree::{Cursor, Tree};

impl Draft {
    /// Takes `revived` out of the records of waiting pages, where all of them are, held by the pinned snapshot `pinned`: they
    /// are in use from now on.
    ///
    /// They may have been written by commits that are not durable yet and have long been given up, so the commit makes
    /// pages durable before its meta, as one that makes the file grow does.
    ///
    /// Cost: the waiting records of that snapshot and of later ones are read, and those changed that list one of the pages.
    pub(crate) fn withdraw(&mut self, pinned: Txnid, revived: &Extents) -> Result<()> {
        let mut withdrawn = 0;
        let bounds = self.space.bounds();
        let mut waiting = Vec::new();
        for packed in std::mem::take(&mut self.space.waiting) {
            let (rest, taken) = split(packed.unpack(bounds).map_err(super::bad_area)?, revived);
            withdrawn += taken;
            match (taken, rest.extents.is_empty()) {
                (0, _) => waiting.push(packed),
                (_, true) => {}
                (_, false) => waiting.push(rest.pack()),
            }
        }
        self.space.waiting = waiting;
        for group in self.shelved_from(pinned)? {
            let key = group.extents.first().map(|first| pending_key(group.blocker, group.freed, first.extent.first));
            let (rest, taken) = split(group, revived);
            if let Some(key) = key.filter(|_| taken > 0) {
                withdrawn += taken;
                self.free_tree(|tree| tree.delete(&key).map(|_| ()))?;
                self.shelve_group(&rest)?;
            }
        }
        if withdrawn != revived.pages() {
            return Err(self.bad_record(FormatError::BadFreeRecord("pages of a pinned snapshot do not wait for it")));
        }
        self.space.in_use_before += withdrawn;
        self.space.has_grown = true;
        Ok(())
    }

    /// The groups of the free tree that wait for `blocker` or a later snapshot.
    fn shelved_from(&self, blocker: Txnid) -> Result<Vec<PendingGroup>> {
        let mut groups = Vec::new();
        let mut cursor = Cursor::new(Tree::<_>::new(self, &self.space.tree));
        let mut found = cursor.seek_from(&pending_key(blocker, Txnid(0), Pgno::NONE), true)?;
        while let Some((key, list)) = found.filter(|(key, _)| key.first() == Some(&KEY_PENDING)) {
            let fault = |cause| self.bad_record(cause);
            if let FreeKey::Pending { .. } = FreeKey::decode(key).map_err(fault)? {
                groups.push(decode_pending(key, list, self.space.bounds()).map_err(fault)?);
            }
            found = cursor.next()?;
        }
        Ok(groups)
    }
}

/// What is left of a group without `revived`, and how many pages that took away.
fn split(group: PendingGroup, revived: &Extents) -> (PendingGroup, u64) {
    let before = group.pages();
    let rest = group.extents.iter().flat_map(|piece| {
        let whole: Extents = [piece.extent].into_iter().collect();
        let born = piece.born;
        whole.without(revived).into_iter().map(move |extent| FreedExtent { extent, born })
    });
    let rest = PendingGroup { extents: rest.collect(), ..group };
    let taken = before - rest.pages();
    (rest, taken)
}
