//! Right checksums and tags for wrong bytes, from the damaged pages up to the metas.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mapledb_format::branch::{Branch, BranchMut, Entry};
use mapledb_format::duplicates::{DupField, tree_ref};
use mapledb_format::leaf::{Leaf, LeafMut, ValueField};
use mapledb_format::overflow::seal_run;
use mapledb_format::{
    HeadBody, Manifest, Meta, OverflowHead, OverflowRef, PageSize, RunGeometry, Slot, TableRecord, Txnid,
    header, lockfile, meta,
};

use crate::PAGE;

/// Trees are no deeper, and a loop of references ends.
const DEPTH_MAX: usize = 8;

fn page_mut(file: &mut [u8], pgno: u64) -> Option<&mut [u8]> {
    let at = usize::try_from(pgno).ok()?.checked_mul(PAGE)?;
    if pgno < 32 { None } else { file.get_mut(at..at.checked_add(PAGE)?) }
}

/// What a tree's leaves hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tenant {
    /// Values, and duplicates.
    Entries,
    /// The records of the named tables.
    Catalog,
}

/// Seals the tree at `pgno`, children first; answers the root's tag.
fn tree(file: &mut [u8], pgno: u64, depth: usize, tenant: Tenant, budget: &mut u32) -> Option<u32> {
    *budget = budget.checked_sub(1)?;
    let page = page_mut(file, pgno)?.to_vec();
    if depth > 1 && depth <= DEPTH_MAX {
        let branch = Branch::view(&page).ok()?;
        for index in 0..branch.len() {
            let Ok(entry) = branch.entry(index) else { continue };
            if let Some(tag) = tree(file, entry.child.get(), depth - 1, tenant, budget) {
                // A damaged page may not be one that can be changed; then its bytes stay as they are.
                let own = page_mut(file, pgno)?;
                if Branch::validate(mapledb_format::order::Bytewise, own).is_ok() {
                    let _ = BranchMut::new(own).set_entry(index, Entry { tag, ..entry });
                }
            }
        }
    } else if let Ok(leaf) = Leaf::view(&page) {
        for index in 0..leaf.len() {
            let Ok(value) = leaf.value(index) else { continue };
            let Some(field) = value_field(file, value, tenant, budget) else { continue };
            let own = LeafMut::new(page_mut(file, pgno)?);
            let place = own.value_field(index).ok().filter(|place| place.len() == field.len());
            if let Some(place) = place {
                page_mut(file, pgno)?.get_mut(place)?.copy_from_slice(&field);
            }
        }
    }
    Some(header::tag(header::seal(page_mut(file, pgno)?)))
}

/// The bytes of a value that refers to other pages, once these are sealed.
fn value_field(file: &mut [u8], value: ValueField<'_>, tenant: Tenant, budget: &mut u32) -> Option<Vec<u8>> {
    match (value, tenant) {
        (ValueField::Overflow(reference), _) => {
            let tag = run(file, &reference)?;
            Some(OverflowRef { tag, ..reference }.encode().to_vec())
        }
        (ValueField::Duplicates(field), _) => match DupField::decode(field).ok()? {
            DupField::SubPage(_) => None,
            DupField::Tree(mut nested) => {
                nested.root_tag =
                    tree(file, nested.root.get(), usize::from(nested.depth), Tenant::Entries, budget)?;
                Some(tree_ref(&nested).to_vec())
            }
        },
        (ValueField::Inline(bytes), Tenant::Catalog) => {
            let mut record = TableRecord::decode(bytes).ok()?;
            let root = record.tree.root.get();
            record.tree.root_tag = tree(file, root, usize::from(record.tree.depth), Tenant::Entries, budget)?;
            Some(record.encode())
        }
        (ValueField::Inline(_), Tenant::Entries) => None,
    }
}

fn run(file: &mut [u8], reference: &OverflowRef) -> Option<u32> {
    let size = PageSize::MIN;
    let geometry = RunGeometry::of(reference.len, size)?;
    let at = usize::try_from(reference.pgno.get()).ok()?.checked_mul(PAGE)?;
    let len = usize::try_from(geometry.run_bytes(size)).ok()?;
    let bytes = file.get_mut(at..at.checked_add(len)?)?;
    let head = OverflowHead::parse(bytes, size).ok()?;
    seal_run(bytes, head.pgno, head.txnid, reference.len, size).ok().map(header::tag)
}

fn head(file: &mut [u8], head: &mut HeadBody, budget: &mut u32) {
    let trees = [
        (&mut head.default_table, Tenant::Entries),
        (&mut head.catalog, Tenant::Catalog),
        (&mut head.free, Tenant::Entries),
    ];
    for (record, tenant) in trees {
        if let Some(tag) = tree(file, record.root.get(), usize::from(record.depth), tenant, budget) {
            record.root_tag = tag;
        }
    }
}

/// Makes the checksums of a data file right.
pub(crate) fn data_file(file: &mut [u8]) {
    let mut budget = 2000;
    for slot in [Slot::A, Slot::B] {
        let at = slot.offset() as usize;
        let Some(bytes) = file.get(at..at + PAGE) else { return };
        let Ok(mut bytes) = <[u8; PAGE]>::try_from(bytes) else { return };
        let sum = meta::sum(&bytes);
        bytes[8..16].copy_from_slice(&sum.to_le_bytes());
        if let Ok(mut found) = Meta::decode(&bytes, slot) {
            head(file, &mut found.head, &mut budget);
            // The pages were changed after the commit: a manifest of them would refuse them all.
            found.manifest = Manifest::empty();
            bytes = found.encode();
        }
        file[at..at + PAGE].copy_from_slice(&bytes);
    }
}

/// Binds a lock file to the data file at `path`, as if it had been made for it.
pub(crate) fn bind(lock: &mut [u8], path: &Path) {
    let Ok(found) = std::fs::metadata(path) else { return };
    crate::store(lock, lockfile::DEV_AT, &found.dev().to_le_bytes());
    crate::store(lock, lockfile::INO_AT, &found.ino().to_le_bytes());
    // Not clean: then what it holds is looked at.
    crate::store(lock, lockfile::STATE_AT, &lockfile::STATE_READY.to_le_bytes());
}

/// Makes the checksums of the head records right.
pub(crate) fn lock_file(lock: &mut [u8]) {
    for place in 0..lockfile::RING_LEN {
        let at = lockfile::RING_AT + place * lockfile::RECORD_BYTES;
        let Some(bytes) = lock.get(at..at + lockfile::RECORD_BYTES) else { return };
        let word = |index: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * index + byte]));
        let body: Vec<u8> = (2..219).flat_map(|index| word(index).to_le_bytes()).collect();
        let Ok(body) = <[u8; 1736]>::try_from(body) else { return };
        let Ok(body) = HeadBody::decode(&body) else { continue };
        let record = lockfile::HeadRecord {
            seq: word(0),
            body,
            durable_txnid: Txnid(word(219)),
            durable_checksum: word(220),
        };
        let words = record.encode();
        for (index, word) in words.iter().enumerate() {
            crate::store(lock, at + 8 * index, &word.to_le_bytes());
        }
    }
}
