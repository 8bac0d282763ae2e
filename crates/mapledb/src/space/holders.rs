//! Who holds what waits: the pages of free records that each pinned snapshot keeps from being used again.

use std::collections::BTreeMap;

use mapledb_format::free::PageBounds;
use mapledb_format::free::list::InlineFree;
use mapledb_format::free::record::{FreeKey, decode_pending};
use mapledb_format::{HeadBody, PendingGroup, Txnid};

use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::tree::{Cursor, Tree};

/// What one snapshot holds of what waits, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// All that it reaches.
    pub(crate) pages: u64,
    /// What no other pinned snapshot reaches.
    pub(crate) alone: u64,
}

/// Everything that waits in the free records of a snapshot.
///
/// Cost: those records are read.
pub(crate) fn waiting_groups<P: Pages>(pages: &P, head: &HeadBody) -> Result<Vec<PendingGroup>> {
    let bounds = PageBounds { first: pages.page_size().first_data_pgno(), end: head.pages_used };
    let fault = |cause| Error::Corrupt { pgno: head.free.root, cause };
    let inline = InlineFree::decode(head.inline_free(), bounds).map_err(super::bad_area)?;
    let unpacked = inline.pending.iter().map(|group| group.unpack(bounds));
    let mut groups = unpacked.collect::<std::result::Result<Vec<_>, _>>().map_err(super::bad_area)?;
    let mut cursor = Cursor::new(Tree::<P>::new(pages, &head.free));
    while let Some((key, value)) = cursor.next()? {
        match FreeKey::decode(key).map_err(fault)? {
            FreeKey::Pending { .. } => groups.push(decode_pending(key, value, bounds).map_err(fault)?),
            _ => break,
        }
    }
    Ok(groups)
}

/// What each of `pins` holds of what waits in the free records of a snapshot.
///
/// Cost: those records are read.
pub(crate) fn holdings<P: Pages>(pages: &P, head: &HeadBody, pins: &[Txnid]) -> Result<BTreeMap<Txnid, Held>> {
    let mut pins = pins.to_vec();
    pins.sort_unstable();
    pins.dedup();
    // How much more the pin at a place holds than the one before it.
    let mut steps = vec![(0u64, 0u64); pins.len() + 1];
    let mut alone = vec![0; pins.len()];
    for group in waiting_groups(pages, head)? {
        let end = pins.partition_point(|pin| *pin < group.freed);
        for piece in &group.extents {
            let start = pins.partition_point(|pin| *pin < piece.born);
            if start < end {
                steps[start].0 += piece.extent.pages;
                steps[end].1 += piece.extent.pages;
            }
            if start + 1 == end {
                alone[start] += piece.extent.pages;
            }
        }
    }
    let mut pages = 0;
    let held = pins.into_iter().zip(steps).zip(alone).map(|((pin, (more, less)), alone)| {
        pages = pages + more - less;
        (pin, Held { pages, alone })
    });
    Ok(held.collect())
}
