//! A tree walked as far as its pages are intact: each record that can be reached is given, each page that cannot is told
//! with what its parent says of it.

use std::borrow::Cow;
use std::collections::HashSet;

use mapledb_format::branch::{BranchCells, Entry};
use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::{Leaf, LeafCells, ValueField};
use mapledb_format::node::Node;
use mapledb_format::{FormatError, Kind, PageHeader, Pgno, TreeRecord};

use super::pages::{Loss, PageFile};
use crate::failure::Failure;

/// What takes the key and the value of each record.
pub type Take<'t> = dyn FnMut(&[u8], &[u8]) -> Result<(), Failure> + 't;

/// A key and its value, which was copied if it lay in a run.
type Record<'l> = (&'l [u8], Cow<'l, [u8]>);

/// Why a record is lost, and in which page if that is not its leaf.
type LostIn = (Option<Pgno>, Loss);

/// What of a table is lost in one place.
#[derive(Debug)]
pub struct Lost {
    /// The page.
    pub pgno: Pgno,
    /// Why.
    pub why: String,
    /// How many records, by the count in the parent.
    pub records: u64,
    /// The separator that all their keys are not less than, where the parent has one; of a lost value, its key.
    pub from: Option<Vec<u8>>,
    /// The separator that all their keys are less than.
    pub until: Option<Vec<u8>>,
}

/// A place in a tree, as its parent tells it.
struct Subtree {
    pgno: Pgno,
    tag: u32,
    level: u8,
    records: u64,
    from: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
}

impl Subtree {
    fn lost(self, why: &Loss) -> Lost {
        Lost {
            pgno: self.pgno,
            why: why.to_string(),
            records: self.records,
            from: self.from,
            until: self.until,
        }
    }
}

/// Gives every record of `tree` that can be reached to `take`, in key order, and answers what is lost.
pub fn walk<'t>(
    pages: &'t PageFile,
    tree: &TreeRecord,
    take: &'t mut Take<'t>,
) -> Result<Vec<Lost>, Failure> {
    let mut walk = Walk { pages, take, seen: HashSet::new(), lost: Vec::new() };
    if let (false, Some(level)) = (tree.is_empty(), tree.depth.checked_sub(1)) {
        let root = Subtree {
            pgno: tree.root,
            tag: tree.root_tag,
            level,
            records: tree.entries,
            from: None,
            until: None,
        };
        walk.subtree(root, None)?;
    }
    Ok(walk.lost)
}

struct Walk<'w> {
    pages: &'w PageFile,
    take: &'w mut Take<'w>,
    /// Branches: hostile ones may refer to one page many times, at each level.
    seen: HashSet<Pgno>,
    lost: Vec<Lost>,
}

impl Walk<'_> {
    /// Levels go down by one at each step, so the depth is bounded by that of the root.
    /// `key` is the one whose duplicates these are, if they are.
    fn subtree(&mut self, at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        match self.page(&at) {
            Err(why) => {
                self.lost.push(at.lost(&why));
                Ok(())
            }
            Ok(page) if at.level == 0 => self.leaf(&page, at, key),
            Ok(page) => self.branch(&page, at, key),
        }
    }

    fn page(&mut self, at: &Subtree) -> Result<Vec<u8>, Loss> {
        let page = self.pages.referred(at.pgno, at.tag)?;
        let header = PageHeader::parse(&page)?;
        let is_leaf = matches!(header.kind, Kind::Leaf | Kind::Packed);
        if is_leaf != (at.level == 0) || header.kind == Kind::Overflow || header.level != at.level {
            return Err(FormatError::BadReference("the page is of another level").into());
        }
        if at.level > 0 && !self.seen.insert(at.pgno) {
            return Err(FormatError::BadReference("the page is referred to twice").into());
        }
        Ok(page)
    }

    fn branch(&mut self, page: &[u8], at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        let children = match children(page, &at) {
            Ok(children) => children,
            Err(error) => {
                self.lost.push(at.lost(&error.into()));
                return Ok(());
            }
        };
        children.into_iter().try_for_each(|child| self.subtree(child, key))
    }

    fn leaf(&mut self, page: &[u8], at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        let leaf = match Node::<LeafCells>::view(page) {
            Ok(leaf) => leaf,
            Err(error) => {
                self.lost.push(at.lost(&error.into()));
                return Ok(());
            }
        };
        for slot in 0..leaf.len() {
            if let (Some(key), Ok(dup)) = (key, leaf.key(slot)) {
                (self.take)(key, dup)?;
                continue;
            }
            if let (Ok(key), Ok(ValueField::Duplicates(field))) = (leaf.key(slot), leaf.value(slot)) {
                self.duplicates(key, field, &at)?;
                continue;
            }
            match record(self.pages, &leaf, slot) {
                Ok((key, value)) => (self.take)(key, &value)?,
                Err((pgno, why)) => self.lost.push(Lost {
                    pgno: pgno.unwrap_or(at.pgno),
                    why: why.to_string(),
                    records: 1,
                    from: leaf.key(slot).ok().map(<[u8]>::to_vec),
                    until: None,
                }),
            }
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Gives every duplicate of `key` that can be reached.
    fn duplicates(&mut self, key: &[u8], field: &[u8], at: &Subtree) -> Result<(), Failure> {
        let of_key = |records, pgno, tag, level| Subtree {
            pgno,
            tag,
            level,
            records,
            from: Some(key.to_vec()),
            until: None,
        };
        let sub_page = |page| Node::<LeafCells>::view(page).map_err(Loss::from);
        match DupField::decode(field) {
            Ok(DupField::Tree(tree)) if tree.duplicates.is_none() && tree.depth > 0 => {
                self.subtree(of_key(tree.entries, tree.root, tree.root_tag, tree.depth - 1), Some(key))
            }
            Ok(found @ DupField::SubPage(page)) => match sub_page(page) {
                Ok(leaf) => (0..leaf.len())
                    .filter_map(|slot| leaf.key(slot).ok())
                    .try_for_each(|dup| (self.take)(key, dup)),
                Err(why) => {
                    self.lost.push(of_key(found.count(), at.pgno, at.tag, 0).lost(&why));
                    Ok(())
                }
            },
            Ok(_) | Err(_) => {
                let why = FormatError::BadReference("its kind is not known").into();
                self.lost.push(of_key(1, at.pgno, at.tag, 0).lost(&why));
                Ok(())
            }
        }
    }
}

/// A record of a leaf; or why it is lost, and in which page if that is another.
fn record<'l>(pages: &PageFile, leaf: &Leaf<'l>, slot: usize) -> Result<Record<'l>, LostIn> {
    let own = |error: FormatError| (None, error.into());
    let key = leaf.key(slot).map_err(own)?;
    match leaf.value(slot).map_err(own)? {
        ValueField::Inline(value) => Ok((key, value.into())),
        ValueField::Overflow(at) => {
            let value = pages.value(&at).map_err(|why| (Some(at.pgno), why))?;
            Ok((key, value.into()))
        }
        ValueField::Duplicates(_) => Err(own(FormatError::BadReference("its key cannot be read"))),
    }
}

fn children(page: &[u8], at: &Subtree) -> Result<Vec<Subtree>, FormatError> {
    let branch = Node::<BranchCells>::view(page)?;
    // The first separator stands for minus infinity: the branch's own bound is the tighter one.
    let separator = |index: usize| match index {
        0 => Ok(at.from.clone()),
        _ if index == branch.len() => Ok(at.until.clone()),
        _ => branch.key(index).map(|key| Some(key.to_vec())),
    };
    (0..branch.len())
        .map(|index| {
            let Entry { child, tag, count, .. } = branch.entry(index)?;
            let (from, until) = (separator(index)?, separator(index + 1)?);
            Ok(Subtree { pgno: child, tag, level: at.level.saturating_sub(1), records: count, from, until })
        })
        .collect()
}
