//! Where the trees of a damaged file begin: by a meta that stands, else by looking at every page.
//!
//! Without a meta, the catalog is the newest tree that nobody refers to and whose records are all tables; the default
//! table is the newest of the other trees that nobody refers to, neither a branch nor a table record nor an older
//! catalog, and that is neither one of free space nor the list of snapshots. Old versions of trees lie in free pages until these are used again, so that is
//! a guess, and told as one.

use std::collections::HashSet;

use mapledb_format::branch::BranchCells;
use mapledb_format::duplicates::DupField;
use mapledb_format::free::record::FreeKey;
use mapledb_format::leaf::{LeafCells, ValueField};
use mapledb_format::lockfile::TXNID_JUMP;
use mapledb_format::node::Node;
use mapledb_format::snapshot_record::SNAPSHOT_RECORD_BYTES;
use mapledb_format::tree_record::ATTR_KEY_TYPE;
use mapledb_format::{
    HeadBody, Kind, Meta, OrderId, PageHeader, PageSize, Pgno, Slot, SnapshotKey, TableRecord, TreeRecord,
    Txnid, header,
};

use super::pages::PageFile;

/// Where to begin.
#[derive(Debug, Default)]
pub struct Roots {
    /// How they were found: `meta A`, `meta B` or `every page`.
    pub found_by: String,
    /// The default table.
    pub default_table: TreeRecord,
    /// The catalog.
    pub catalog: TreeRecord,
    /// The commit whose trees they are, if a meta tells it.
    pub state: Option<Box<HeadBody>>,
    /// Why there may be a newer commit than `state`.
    pub newer: Option<Newer>,
    /// The next number of the default table's sequence, if a meta says so; else 0.
    pub default_sequence: u64,
}

/// Why the newest commit may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// The meta in this slot, which may have been the newer one, cannot be read.
    Unreadable(Slot),
    /// The newer meta can be read, and a leaf that is the root of a tree of it is lost.
    Rootless,
    /// The state is what a recovery made to stand, which may have passed a commit over.
    Recovered,
}

/// The trees of the newest of `metas` whose trees have roots that verify or may have leaves below, or of the newest.
pub fn by_meta(pages: &PageFile, metas: &[Meta]) -> Option<Roots> {
    let stands = |tree: &TreeRecord| {
        tree.is_empty() || tree.depth > 1 || pages.referred(tree.root, tree.root_tag).is_ok()
    };
    let best = metas.iter().max_by_key(|meta| {
        let head = &meta.head;
        let standing = [&head.default_table, &head.catalog].into_iter().filter(|tree| stands(tree)).count();
        (standing, head.txnid)
    })?;
    let head = &best.head;
    let found_by = format!("meta {}", best.slot);
    let is_there = |slot| metas.iter().any(|meta| meta.slot == slot);
    let unreadable = [Slot::A, Slot::B].into_iter().find(|slot| !is_there(*slot)).map(Newer::Unreadable);
    let rootless = metas.iter().any(|meta| meta.head.txnid > head.txnid).then_some(Newer::Rootless);
    Some(Roots {
        found_by,
        default_table: head.default_table,
        catalog: head.catalog,
        state: Some(Box::new(head.clone())),
        newer: rootless.or(unreadable).or_else(|| is_recovered(head).then_some(Newer::Recovered)),
        default_sequence: head.default_sequence,
    })
}

/// Whether a recovery has committed this state, and nobody since: it numbers it far above the commit that it is.
fn is_recovered(head: &HeadBody) -> bool {
    head.txnid.get().saturating_sub(head.base_txnid.get()) >= TXNID_JUMP
}

/// A page that verifies by itself.
#[derive(Debug, Clone, Copy)]
struct Found {
    pgno: Pgno,
    tag: u32,
    txnid: Txnid,
    level: u8,
    content: Content,
}

/// What a leaf holds, by what its records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Records of tables.
    Tables,
    /// Records of free space.
    FreeSpace,
    /// The list of named snapshots.
    Snapshots,
    /// Duplicates of a key of a multimap.
    Duplicates,
    /// Anything else.
    Other,
}

/// The trees of a file without a meta, by every page of it. `look` is called for each.
///
/// Cost: every page is read and verified; memory for each that is whole.
pub fn by_every_page(pages: &PageFile, look: &mut dyn FnMut()) -> Roots {
    let mut found: Vec<Found> = Vec::new();
    let mut referred: HashSet<(Pgno, u32)> = HashSet::new();
    for pgno in pages.numbers() {
        look();
        let Ok(page) = pages.whole(pgno) else { continue };
        let (Ok(about), Ok(sum)) = (PageHeader::parse(&page), header::stored_checksum(&page)) else {
            continue;
        };
        let content = match about.kind {
            Kind::Leaf => leaf(&page, &mut referred),
            Kind::Packed => Content::Duplicates,
            _ => branch(&page, &mut referred),
        };
        found.push(Found { pgno, tag: header::tag(sum), txnid: about.txnid, level: about.level, content });
    }
    // Of a branch the first leaf tells what the tree holds.
    let roots = found.iter().filter(|page| !referred.contains(&(page.pgno, page.tag)));
    let roots: Vec<(Found, Content)> = roots.map(|root| (*root, first_leaf(pages, *root))).collect();
    let newest = |content| {
        let alike = roots.iter().filter(|(_, holds)| *holds == content);
        alike.max_by_key(|(root, _)| root.txnid).map_or_else(TreeRecord::default, |(root, _)| tree(root))
    };
    Roots {
        found_by: "every page".to_owned(),
        default_table: newest(Content::Other),
        catalog: newest(Content::Tables),
        state: None,
        newer: None,
        default_sequence: 0,
    }
}

/// A tree of which only the root is known.
fn tree(root: &Found) -> TreeRecord {
    let mut tree = TreeRecord::empty(OrderId::Bytewise);
    tree.root = root.pgno;
    tree.root_tag = root.tag;
    tree.depth = root.level.saturating_add(1);
    tree
}

/// What a leaf holds; the roots of tables in it are referred to.
pub fn leaf(page: &[u8], referred: &mut HashSet<(Pgno, u32)>) -> Content {
    let Ok(leaf) = Node::<LeafCells>::view(page) else { return Content::Other };
    for slot in 0..leaf.len() {
        if let Ok(ValueField::Duplicates(field)) = leaf.value(slot)
            && let Ok(DupField::Tree(tree)) = DupField::decode(field)
        {
            referred.insert((tree.root, tree.root_tag));
        }
    }
    let tables: Option<Vec<TableRecord>> = (0..leaf.len())
        .map(|slot| match leaf.value(slot) {
            Ok(ValueField::Inline(value)) => TableRecord::decode(value).ok().filter(has_types),
            _ => None,
        })
        .collect();
    if let Some(tables) = tables.filter(|tables| !tables.is_empty()) {
        referred.extend(tables.iter().map(|table| (table.tree.root, table.tree.root_tag)));
        return Content::Tables;
    }
    let all = |is_one: &dyn Fn(usize) -> bool| !leaf.is_empty() && (0..leaf.len()).all(is_one);
    if all(&|slot| leaf.key(slot).is_ok_and(|key| FreeKey::decode(key).is_ok())) {
        return Content::FreeSpace;
    }
    let is_record =
        |value| matches!(value, ValueField::Inline(value) if value.len() == SNAPSHOT_RECORD_BYTES);
    let is_snapshot = |slot| {
        leaf.key(slot).is_ok_and(|key| SnapshotKey::decode(key).is_ok())
            && leaf.value(slot).is_ok_and(is_record)
    };
    if all(&is_snapshot) { Content::Snapshots } else { Content::Other }
}

/// Every table records the types of its keys; zeros in a value could pass for a table without them.
fn has_types(record: &TableRecord) -> bool {
    record.attribute(ATTR_KEY_TYPE).is_some()
}

fn branch(page: &[u8], referred: &mut HashSet<(Pgno, u32)>) -> Content {
    if let Ok(branch) = Node::<BranchCells>::view(page) {
        let entries = (0..branch.len()).filter_map(|index| branch.entry(index).ok());
        referred.extend(entries.map(|entry| (entry.child, entry.tag)));
    }
    Content::Other
}

/// What the first leaf below `at` that is whole holds.
fn first_leaf(pages: &PageFile, at: Found) -> Content {
    if at.level == 0 {
        return at.content;
    }
    let Ok(page) = pages.referred(at.pgno, at.tag) else { return Content::Other };
    let Ok(branch) = Node::<BranchCells>::view(&page) else { return Content::Other };
    for entry in (0..branch.len()).filter_map(|index| branch.entry(index).ok()) {
        let Ok(child) = pages.referred(entry.child, entry.tag) else { continue };
        let Ok(about) = PageHeader::parse(&child) else { continue };
        if about.level.checked_add(1) != Some(at.level) {
            continue;
        }
        let content =
            if about.kind == Kind::Leaf { leaf(&child, &mut HashSet::new()) } else { Content::Other };
        return first_leaf(
            pages,
            Found { pgno: entry.child, tag: entry.tag, txnid: about.txnid, level: about.level, content },
        );
    }
    Content::Other
}

/// The page size by which most pages verify, where no meta tells it.
pub fn guess_size(mut open: impl FnMut(PageSize) -> Option<PageFile>) -> Option<PageSize> {
    let sizes = (12..=16).filter_map(PageSize::from_shift);
    let counted = sizes.map(|size| {
        let pages = open(size);
        let whole = pages.map_or(0, |pages| {
            let whole = pages.numbers().filter(|pgno| pages.whole(*pgno).is_ok());
            whole.take(PAGES_TO_BELIEVE).count()
        });
        (whole, size)
    });
    counted.filter(|(whole, _)| *whole > 0).max_by_key(|(whole, _)| *whole).map(|(_, size)| size)
}

/// A checksum of 64 bits does not match by chance so often.
const PAGES_TO_BELIEVE: usize = 64;
