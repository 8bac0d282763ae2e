//! A tree walked as far as its pages are intact: each record that can be reached is given, each page that cannot is told
//! with what its parent says of it. Below a branch that is lost come the leaves that [`orphans`](super::orphans) found for it.

use std::borrow::Cow;
use std::collections::HashSet;

use mapledb_format::branch::{BranchCells, Entry};
use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::{Leaf, LeafCells, ValueField};
use mapledb_format::node::Node;
use mapledb_format::{FormatError, Kind, PageHeader, Pgno, TreeRecord};

use super::pages::{Loss, PageFile};
use crate::failure::Failure;
use crate::table::plural;

/// What takes the key and the value of each record.
pub type Take<'t> = dyn FnMut(&[u8], &[u8]) -> Result<(), Failure> + 't;

/// A key and its value, which was copied if it lay in a run.
type Record<'l> = (&'l [u8], Cow<'l, [u8]>);

/// Why a record is lost, and in which page if that is not its leaf.
type LostIn = (Option<Pgno>, Loss);

/// A leaf to which nothing leads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LooseLeaf {
    /// Its number.
    pub pgno: Pgno,
    /// Its tag.
    pub tag: u32,
}

/// What lay below a branch that is lost.
#[derive(Debug, Default)]
pub struct Below {
    /// Leaves, in the order of their keys.
    pub leaves: Vec<LooseLeaf>,
    /// Whether each of them is known to be of the state that is rescued, and not of an older one.
    pub is_sound: bool,
}

/// What finds the leaves below the lost branch at a page.
pub type FindBelow<'f> = dyn FnMut(Pgno) -> Result<Below, Failure> + 'f;

/// What came of a walk.
#[derive(Debug, Default)]
pub struct Walked {
    /// What is lost.
    pub lost: Vec<Lost>,
    /// Lost branches of which every record was found, and how many these are.
    pub mended: Vec<(Pgno, u64)>,
    /// The nodes that were reached from the root.
    pub reached: HashSet<Pgno>,
}

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
    /// The level of the page that is lost; 0 for a leaf and a run.
    pub level: u8,
    /// Whether it is of the duplicates of one key.
    pub is_nested: bool,
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
    fn lost(self, why: &Loss, is_nested: bool) -> Lost {
        Lost {
            pgno: self.pgno,
            why: why.to_string(),
            records: self.records,
            from: self.from,
            until: self.until,
            level: self.level,
            is_nested,
        }
    }
}

/// Gives every record of `tree` that can be reached to `take`, in key order, and those of the leaves that `below` finds for a
/// branch that is lost.
pub fn walk<'t>(
    pages: &'t PageFile,
    tree: &TreeRecord,
    below: &'t mut FindBelow<'t>,
    take: &'t mut Take<'t>,
) -> Result<Walked, Failure> {
    Walk { pages, take, below, reads_values: true, given: 0, walked: Walked::default() }.tree(tree)
}

/// As [`walk`], without looking for anything below a branch that is lost, and without values in runs: these are given as empty.
pub fn survey<'t>(pages: &'t PageFile, tree: &TreeRecord, take: &'t mut Take<'t>) -> Result<Walked, Failure> {
    let below = &mut |_| Ok(Below::default());
    Walk { pages, take, below, reads_values: false, given: 0, walked: Walked::default() }.tree(tree)
}

/// Gives every record of one leaf to which nothing leads any more, and answers what of it is lost.
pub fn walk_leaf<'t>(
    pages: &'t PageFile,
    leaf: LooseLeaf,
    take: &'t mut Take<'t>,
) -> Result<Walked, Failure> {
    let below = &mut |_| Ok(Below::default());
    let mut walk = Walk { pages, take, below, reads_values: true, given: 0, walked: Walked::default() };
    walk.loose(leaf)?;
    Ok(walk.walked)
}

struct Walk<'w> {
    pages: &'w PageFile,
    take: &'w mut Take<'w>,
    below: &'w mut FindBelow<'w>,
    reads_values: bool,
    given: u64,
    /// A page that it has reached is not gone into again: hostile branches may refer to one many times, at each level.
    walked: Walked,
}

impl Walk<'_> {
    fn tree(mut self, tree: &TreeRecord) -> Result<Walked, Failure> {
        if let (false, Some(level)) = (tree.is_empty(), tree.depth.checked_sub(1)) {
            let root = Subtree {
                pgno: tree.root,
                tag: tree.root_tag,
                level,
                records: tree.entries,
                from: None,
                until: None,
            };
            self.subtree(root, None)?;
        }
        Ok(self.walked)
    }

    fn give(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.given += 1;
        (self.take)(key, value)
    }

    fn lose(&mut self, at: Subtree, why: &Loss, is_nested: bool) -> Result<(), Failure> {
        if at.level == 0 || is_nested {
            self.walked.lost.push(at.lost(why, is_nested));
            return Ok(());
        }
        let (given, places) = (self.given, self.walked.lost.len());
        let below = (self.below)(at.pgno)?;
        below.leaves.iter().try_for_each(|leaf| self.loose(*leaf))?;
        let found = self.given - given;
        let told = self.walked.lost.iter().skip(places);
        let told = told.fold(0, |sum: u64, lost| sum.saturating_add(lost.records));
        let (all, pgno) = (at.records, at.pgno);
        let mut lost = at.lost(why, false);
        lost.records = all.saturating_sub(found).saturating_sub(told);
        if below.is_sound && found > 0 && found.checked_add(told) == Some(all) {
            self.walked.mended.push((pgno, found));
            return Ok(());
        }
        if found > 0 {
            lost.why = format!("{}; {} found below it", lost.why, plural(found, "record", "records"));
        }
        self.walked.lost.push(lost);
        Ok(())
    }

    fn loose(&mut self, leaf: LooseLeaf) -> Result<(), Failure> {
        let at = Subtree { pgno: leaf.pgno, tag: leaf.tag, level: 0, records: 0, from: None, until: None };
        self.subtree(at, None)
    }
}

impl Walk<'_> {
    /// Levels go down by one at each step, so the depth is bounded by that of the root.
    /// `key` is the one whose duplicates these are, if they are.
    fn subtree(&mut self, at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        match self.page(&at) {
            Err(why) => self.lose(at, &why, key.is_some()),
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
        if !self.walked.reached.insert(at.pgno) && at.level > 0 {
            return Err(FormatError::BadReference("the page is referred to twice").into());
        }
        Ok(page)
    }

    fn branch(&mut self, page: &[u8], at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        let children = match children(page, &at) {
            Ok(children) => children,
            Err(error) => return self.lose(at, &error.into(), key.is_some()),
        };
        children.into_iter().try_for_each(|child| self.subtree(child, key))
    }

    fn leaf(&mut self, page: &[u8], at: Subtree, key: Option<&[u8]>) -> Result<(), Failure> {
        let leaf = match Node::<LeafCells>::view(page) {
            Ok(leaf) => leaf,
            Err(error) => return self.lose(at, &error.into(), key.is_some()),
        };
        for slot in 0..leaf.len() {
            if let (Some(key), Ok(dup)) = (key, leaf.key(slot)) {
                self.give(key, dup)?;
                continue;
            }
            if let (Ok(key), Ok(ValueField::Duplicates(field))) = (leaf.key(slot), leaf.value(slot)) {
                self.duplicates(key, field, &at)?;
                continue;
            }
            match record(self.pages, &leaf, slot, self.reads_values) {
                Ok((key, value)) => self.give(key, &value)?,
                Err((pgno, why)) => self.walked.lost.push(Lost {
                    pgno: pgno.unwrap_or(at.pgno),
                    why: why.to_string(),
                    records: 1,
                    from: leaf.key(slot).ok().map(<[u8]>::to_vec),
                    until: None,
                    level: 0,
                    is_nested: false,
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
                    .try_for_each(|dup| self.give(key, dup)),
                Err(why) => self.lose(of_key(found.count(), at.pgno, at.tag, 0), &why, true),
            },
            Ok(_) | Err(_) => {
                let why = FormatError::BadReference("its kind is not known").into();
                self.lose(of_key(1, at.pgno, at.tag, 0), &why, true)
            }
        }
    }
}

/// A record of a leaf; or why it is lost, and in which page if that is another.
fn record<'l>(
    pages: &PageFile,
    leaf: &Leaf<'l>,
    slot: usize,
    reads_values: bool,
) -> Result<Record<'l>, LostIn> {
    let own = |error: FormatError| (None, error.into());
    let key = leaf.key(slot).map_err(own)?;
    match leaf.value(slot).map_err(own)? {
        ValueField::Inline(value) => Ok((key, value.into())),
        ValueField::Overflow(_) if !reads_values => Ok((key, (&[][..]).into())),
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
