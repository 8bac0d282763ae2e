//! Free space, checked: each page in one record at most, size keys that are those of the chunks, and no page that is in
//! neither a tree nor a record.

use std::collections::BTreeMap;

use mapledb_format::free::bitmap::CHUNK_PAGES;
use mapledb_format::free::list::InlineFree;
use mapledb_format::free::record::{AvailableIn, ChunkNo, ChunkRecord, FreeKey, decode_pending};
use mapledb_format::{Extent, HeadBody};

use super::Checker;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::space::Extents;
use crate::tree::{Cursor, Tree};

impl<P: Pages> Checker<'_, '_, P> {
    fn take_free(&mut self, extent: Extent) {
        if !self.bounds.holds(&extent) {
            self.problem(Some(extent.first), "a free record names pages outside the file".to_string());
        } else if !self.held.insert(extent) {
            let what = format!("{} free page(s) from here on are in use or free twice", extent.pages);
            self.problem(Some(extent.first), what);
        }
    }

    fn take_available(&mut self, extent: Extent) {
        self.available += extent.pages;
        self.take_free(extent);
    }

    pub(super) fn free_records(&mut self, head: &HeadBody, is_tree_whole: bool) {
        match InlineFree::decode(head.inline_free(), self.bounds) {
            Err(cause) => self.problem(None, cause.to_string()),
            Ok(inline) => {
                for group in &inline.pending {
                    if group.freed > head.txnid {
                        self.problem(None, format!("pages are freed in transaction {}, to come", group.freed));
                    }
                    match group.unpack(self.bounds) {
                        Err(cause) => self.problem(None, cause.to_string()),
                        Ok(group) => group.extents.iter().for_each(|piece| self.take_free(piece.extent)),
                    }
                }
                inline.available.into_iter().for_each(|extent| self.take_available(extent));
            }
        }
        if is_tree_whole && let Err(error) = self.free_tree(head) {
            self.fault(error);
        }
        let (said, found) = (head.pages_available, self.available);
        if self.report.problems.is_empty() && said != found {
            self.problem(None, format!("the head says that {said} page(s) are available, {found} are"));
        }
    }

    fn free_tree(&mut self, head: &HeadBody) -> Result<()> {
        let root = head.free.root;
        let fault = |cause| Error::Corrupt { pgno: root, cause };
        let mut longest: BTreeMap<ChunkNo, u64> = BTreeMap::new();
        let mut sizes: BTreeMap<ChunkNo, u64> = BTreeMap::new();
        let mut cursor = Cursor::new(Tree::<P>::new(self.pages, &head.free));
        while let Some((key, value)) = cursor.next()? {
            match FreeKey::decode(key).map_err(fault)? {
                FreeKey::Pending { freed, .. } => {
                    let group = decode_pending(key, value, self.bounds).map_err(fault)?;
                    if freed > head.txnid {
                        self.problem(None, format!("pages are freed in transaction {freed}, to come"));
                    }
                    group.extents.iter().for_each(|piece| self.take_free(piece.extent));
                }
                FreeKey::Chunk { chunk } => {
                    let record = ChunkRecord::decode(chunk, value, self.bounds).map_err(fault)?;
                    longest.insert(chunk, record.longest());
                    self.take_chunk(chunk, &record);
                }
                FreeKey::Longest { pages, chunk } => {
                    if sizes.insert(chunk, pages).is_some() {
                        self.problem(None, format!("chunk {} has two size keys", chunk.get()));
                    }
                }
            }
        }
        if longest != sizes {
            self.problem(Some(root), "the size keys of free space are not those of its chunks".to_string());
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: ChunkNo, record: &ChunkRecord) {
        match record.available {
            AvailableIn::Bitmap(bitmap) => {
                for run in bitmap.runs() {
                    self.take_available(Extent::new(chunk.pgno(run.start), run.len() as u64));
                }
            }
            AvailableIn::Chunks(chunks) => {
                self.take_available(Extent::new(chunk.first_pgno(), chunks.saturating_mul(u64::from(CHUNK_PAGES))));
            }
        }
    }

    /// Pages that nothing holds. Only worth a word when the walk itself was whole.
    pub(super) fn lost(&mut self) {
        if !self.report.problems.is_empty() {
            return;
        }
        if self.unread > 0 {
            return self.lost_by_count();
        }
        let mut all = Extents::default();
        if self.report.pages_total > 0 {
            all.insert(Extent::new(self.bounds.first, self.report.pages_total));
        }
        for extent in all.without(&self.held) {
            let what = format!("{} page(s) from here on are neither reachable nor free", extent.pages);
            self.problem(Some(extent.first), what);
        }
    }

    /// As [`lost`](Checker::lost) when not every page in use has been named: their number must be right.
    fn lost_by_count(&mut self) {
        let (known, total) = (self.held.pages().saturating_add(self.unread), self.report.pages_total);
        if known != total {
            self.problem(None, format!("{known} page(s) are in use or free, the file has {total}"));
        }
    }
}
