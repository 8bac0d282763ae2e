//! Every free run that a head records, with what it waits for: read, and never changed.

use mapledb_format::free::PageBounds;
use mapledb_format::free::bitmap::CHUNK_PAGES;
use mapledb_format::free::list::InlineFree;
use mapledb_format::free::record::{AvailableIn, ChunkNo, ChunkRecord, FreeKey, decode_pending};
use mapledb_format::{Extent, FreedExtent, HeadBody, PendingGroup, Pgno, Txnid};

use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{Cursor, Tree};

/// A free run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Free {
    /// It may be used again at once. `may_lack_blocks` if it was given back to the file system, or may have been.
    Available { run: Extent, may_lack_blocks: bool },
    /// It was freed in `freed` and waits until nothing pins the snapshot `blocker`.
    Waiting { run: Extent, blocker: Txnid, freed: Txnid },
}

/// Visits every free run of the snapshot whose head is `head`, in no order. Runs that touch may come apart.
///
/// Cost: every record of the free tree is read.
pub(crate) fn each_free<P: Pages>(pages: &P, head: &HeadBody, visit: &mut dyn FnMut(Free)) -> Result<()> {
    let bounds = PageBounds { first: pages.page_size().first_data_pgno(), end: head.pages_used };
    let in_head = |cause| Error::Corrupt { pgno: Pgno::NONE, cause };
    let in_tree = |cause| Error::Corrupt { pgno: head.free.root, cause };
    let inline = InlineFree::decode(head.inline_free(), bounds).map_err(in_head)?;
    inline.available.iter().for_each(|run| visit(Free::Available { run: *run, may_lack_blocks: false }));
    for group in &inline.pending {
        each_waiting(&group.unpack(bounds).map_err(in_head)?, visit);
    }
    let mut cursor = Cursor::new(Tree::new(pages, &head.free));
    while let Some((key, value)) = cursor.next()? {
        match FreeKey::decode(key).map_err(in_tree)? {
            FreeKey::Pending { .. } => each_waiting(&decode_pending(key, value, bounds).map_err(in_tree)?, visit),
            FreeKey::Chunk { chunk } => {
                let record = ChunkRecord::decode(chunk, value, bounds).map_err(in_tree)?;
                each_available(chunk, &record, visit);
            }
            FreeKey::Longest { .. } => break,
        }
    }
    Ok(())
}

fn each_waiting(group: &PendingGroup, visit: &mut dyn FnMut(Free)) {
    let (blocker, freed) = (group.blocker, group.freed);
    group.extents.iter().for_each(|&FreedExtent { extent: run, .. }| visit(Free::Waiting { run, blocker, freed }));
}

fn each_available(chunk: ChunkNo, record: &ChunkRecord, visit: &mut dyn FnMut(Free)) {
    let may_lack_blocks = record.punched;
    let mut note = |run| visit(Free::Available { run, may_lack_blocks });
    match &record.available {
        AvailableIn::Chunks(chunks) => note(Extent::new(chunk.first_pgno(), chunks * u64::from(CHUNK_PAGES))),
        AvailableIn::Bitmap(bitmap) => {
            bitmap.runs().for_each(|run| note(Extent::new(chunk.pgno(run.start), run.len() as u64)));
        }
    }
}
