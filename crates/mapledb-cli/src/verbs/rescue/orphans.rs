//! Leaves to which nothing leads any more because a branch above them is lost: which there are, and whose they are.
//!
//! What is in use and is not reached from any root lies below something that is lost. Which pages are free, or wait in the
//! free records, the state says itself; so where its free records are sound, a leaf that verifies, that was not reached and that is
//! not free is one of this state. Where they are not, older versions may be among such leaves; of two that overlap the newer is taken.
//!
//! A leaf goes to the one table that has lost a branch that is high enough and whose fences hold all the leaf's keys. If
//! there are several such tables, or tables of which nothing is known, it is not decided: it is given *apart*, in sections of which none
//! holds a key twice. Duplicates of a key are stored as keys without values and look like records of a table with
//! empty values, so where duplicates may be lost, leaves of nothing but keys are left out, and told.
//!
//! Where the newest commit itself may be lost with its meta, leaves that were written after the one that stands are given apart, too.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use mapledb_format::branch::BranchCells;
use mapledb_format::free::list::InlineFree;
use mapledb_format::free::record::{AvailableIn, ChunkRecord, FreeKey, decode_pending};
use mapledb_format::leaf::{LeafCells, ValueField};
use mapledb_format::node::Node;
use mapledb_format::order::{Bytewise, Integer, Order, Reverse};
use mapledb_format::{
    Extent, FormatError, HeadBody, Kind, OrderId, PageBounds, PageHeader, Pgno, TreeRecord, Txnid, header,
};

use super::pages::PageFile;
use super::roots::{self, Content, Newer, Roots};
use super::walk::{Below, LooseLeaf, Walked, survey};
use crate::failure::Failure;

/// How many versions of the same keys are given apart, each in a section of its own.
const SECTIONS_MAX: usize = 8;

/// Leaves that belong together.
#[derive(Debug, Default)]
pub struct Section {
    /// The leaves, by their keys; none overlaps another.
    pub leaves: Vec<LooseLeaf>,
    /// Whether keys in them have several values.
    pub is_multimap: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Orphans {
    below: HashMap<Pgno, Vec<LooseLeaf>>,
    /// Whether the free records told which pages are of the state.
    pub is_sound: bool,
    /// What could not be given to a table.
    pub apart: Vec<Section>,
    /// What was written after the state, where a newer commit may be lost.
    pub newer: Vec<Section>,
    /// Whether any page was.
    pub is_newer_found: bool,
    /// Whether the default table that was guessed is one leaf among many; then it is in `apart`, too.
    pub is_default_doubtful: bool,
    /// What whoever asked should know.
    pub notes: Vec<String>,
}

impl Orphans {
    /// What lay below the lost branch at `pgno`.
    pub fn below(&self, pgno: Pgno) -> Below {
        Below { leaves: self.below.get(&pgno).cloned().unwrap_or_default(), is_sound: self.is_sound }
    }

    /// Looks for leaves that were written after transaction `newest`, all of which lie where it has free pages or none.
    fn look_after(&mut self, newest: Txnid, pages: &PageFile, known: &Known) -> Result<(), Failure> {
        let mut seen = Seen::default();
        for pgno in pages.numbers().filter(|pgno| !known.reached.contains(pgno)) {
            seen.page(pages, pgno, false, |txnid| txnid > newest);
        }
        seen.leave_nested_out(pages)?;
        let all = seen.leaves.len();
        if known.has_multimaps {
            seen.leaves.retain(|leaf| !leaf.is_keys_alone);
        }
        let keys_alone = all - seen.leaves.len();
        let (sections, left_out) = sections(seen.leaves);
        (self.newer, self.is_newer_found) = (sections, seen.pages > 0);
        if keys_alone + left_out > 0 {
            let leaves = crate::table::plural((keys_alone + left_out) as u64, "leaf", "leaves");
            self.notes
                .push(format!("{leaves} written after it: left out, for nothing tells where they belong"));
        }
        Ok(())
    }
}

struct Orphan {
    leaf: LooseLeaf,
    txnid: Txnid,
    /// The first and the last key as they are stored.
    ends: (Vec<u8>, Vec<u8>),
    /// The least and the greatest key by their bytes.
    span: (Vec<u8>, Vec<u8>),
    /// The level of the highest branch above it that is not reached either.
    level: u8,
    has_duplicates: bool,
    is_keys_alone: bool,
    /// Whether, without a meta, no newer table has its keys: it is no older version of what is known.
    is_unexplained: bool,
}

/// A branch that is lost.
struct Gap {
    table: usize,
    pgno: Pgno,
    level: u8,
    from: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
    order: OrderId,
    is_multimap: bool,
}

impl Gap {
    fn may_hold(&self, orphan: &Orphan) -> bool {
        let fenced = compare(self.order).is_none_or(|compare| {
            let (first, last) = (&orphan.ends.0, &orphan.ends.1);
            self.from.as_ref().is_none_or(|from| compare(from, first).is_le())
                && self.until.as_ref().is_none_or(|until| compare(last, until).is_lt())
        });
        fenced && self.level > orphan.level && (self.is_multimap || !orphan.has_duplicates)
    }
}

type Compare = fn(&[u8], &[u8]) -> Ordering;

fn compare(order: OrderId) -> Option<Compare> {
    match order {
        OrderId::Bytewise => Some(|a, b| Bytewise.compare(a, b)),
        OrderId::Reverse => Some(|a, b| Reverse.compare(a, b)),
        OrderId::Integer => Some(|a, b| Integer.compare(a, b)),
        OrderId::Named => None,
    }
}

/// Looks at every page of the used part for leaves that nothing leads to. `tables` are the default table and then all that are
/// known by name; `is_catalog_whole` says whether these are all.
///
/// Cost: every node is read twice; memory for two keys of each leaf that is found, and for the number of each node.
pub fn find(
    pages: &PageFile,
    roots: &Roots,
    tables: &[&TreeRecord],
    is_catalog_whole: bool,
) -> Result<Orphans, Failure> {
    let mut known = Known::default();
    for (table, tree) in tables.iter().enumerate() {
        known.table(pages, table, tree)?;
    }
    known.other(survey(pages, &roots.catalog, &mut |_, _| Ok(()))?);
    let (mut is_sound, mut free) = (false, Free::default());
    if let Some(state) = &roots.state {
        known.other(survey(pages, &state.snapshots, &mut |_, _| Ok(()))?);
        is_sound = free.read(pages, state, &mut known)?;
    }
    let mut seen = Seen::default();
    let reaches = |pgno: Pgno| known.reached.contains(&pgno) || free.holds(pgno);
    let limit = roots.state.as_ref().map(|state| (state.txnid, state.pages_used));
    for pgno in pages.numbers().filter(|pgno| !reaches(*pgno)) {
        if limit.is_none_or(|(_, end)| pgno < end) {
            seen.page(pages, pgno, is_sound, |txnid| limit.is_none_or(|(newest, _)| txnid <= newest));
        }
    }
    let is_default_doubtful = limit.is_none() && known.doubts(&seen.leaves);
    if is_default_doubtful {
        let reached = std::mem::take(&mut known.of_default);
        reached.into_iter().for_each(|pgno| seen.page(pages, pgno, false, |_| true));
    }
    seen.leave_nested_out(pages)?;
    if limit.is_none() {
        seen.explain(pages, tables, &known)?;
    }
    // An older branch would raise leaves of another table.
    if is_sound {
        seen.raise();
    }
    // Without a meta what does not fit anywhere is an older version, unless the default table was not found.
    let unknown = if limit.is_none() { is_default_doubtful } else { !is_catalog_whole };
    let mut orphans = assign(seen, &known, unknown);
    if let (Some(newer), Some((newest, _))) = (roots.newer, limit) {
        let newest = if newer == Newer::Recovered { known.newest(pages) } else { newest };
        orphans.look_after(newest, pages, &known)?;
    }
    (orphans.is_sound, orphans.is_default_doubtful) = (is_sound, is_default_doubtful);
    if !is_sound && (!orphans.below.is_empty() || !orphans.apart.is_empty()) {
        orphans.notes.push(
            "the free records cannot tell which pages are in use: among what was found without a branch above \
             may be older versions; of two that overlap the newer was taken"
                .to_owned(),
        );
    }
    Ok(orphans)
}

/// What is reached from roots, and what is missing there.
#[derive(Default)]
struct Known {
    reached: HashSet<Pgno>,
    of_default: Vec<Pgno>,
    gaps: Vec<Gap>,
    has_multimaps: bool,
    /// Whether duplicates may be lost, so that a leaf of keys alone may be theirs.
    loses_duplicates: bool,
    /// The span of the keys of each table by bytes, and the transaction that wrote its root.
    spans: Vec<(Vec<u8>, Vec<u8>, Txnid)>,
    /// The transaction that wrote the root of each table.
    written: HashMap<usize, Txnid>,
    /// The transaction that wrote the root of the default table.
    default_in: Option<Txnid>,
}

impl Known {
    fn table(&mut self, pages: &PageFile, table: usize, tree: &TreeRecord) -> Result<(), Failure> {
        let mut span: Option<(Vec<u8>, Vec<u8>)> = None;
        let walked = survey(pages, tree, &mut |key, _| {
            match &mut span {
                None => span = Some((key.to_vec(), key.to_vec())),
                Some((least, _)) if key < least.as_slice() => *least = key.to_vec(),
                Some((_, most)) if key > most.as_slice() => *most = key.to_vec(),
                Some(_) => {}
            }
            Ok(())
        })?;
        let root = pages.referred(tree.root, tree.root_tag).ok();
        let written = root.and_then(|root| header::stored_txnid(&root).ok());
        if let (Some((least, most)), Some(written)) = (span, written) {
            self.spans.push((least, most, written));
        }
        self.written.extend(written.map(|written| (table, written)));
        if table == 0 {
            self.default_in = written;
            self.of_default = walked.reached.iter().copied().collect();
        }
        let is_multimap = tree.duplicates.is_some();
        self.has_multimaps |= is_multimap;
        for lost in &walked.lost {
            self.loses_duplicates |= is_multimap || lost.is_nested;
            if lost.level > 0 && !lost.is_nested {
                let (from, until) = (lost.from.clone(), lost.until.clone());
                let (pgno, level, order) = (lost.pgno, lost.level, tree.order);
                self.gaps.push(Gap { table, pgno, level, from, until, order, is_multimap });
            }
        }
        self.reached.extend(walked.reached);
        Ok(())
    }

    /// The last transaction that wrote a page which is reached.
    fn newest(&self, pages: &PageFile) -> Txnid {
        let written = |pgno: &Pgno| pages.whole(*pgno).ok().and_then(|page| header::stored_txnid(&page).ok());
        self.reached.iter().filter_map(written).max().unwrap_or_default()
    }

    fn other(&mut self, walked: Walked) {
        self.reached.extend(walked.reached);
    }

    /// Whether a leaf may be of a newer default table than the one that was guessed: it is not older, or holds keys that
    /// no table has that was written later.
    fn doubts(&self, leaves: &[Orphan]) -> bool {
        leaves.iter().any(|leaf| {
            let is_newer = self.default_in.is_none_or(|written| leaf.txnid >= written);
            let covers = |(least, most, written): &(Vec<u8>, Vec<u8>, Txnid)| {
                *least <= leaf.span.0 && leaf.span.1 <= *most && leaf.txnid < *written
            };
            is_newer || !self.spans.iter().any(covers)
        })
    }
}

/// The pages that are free, or wait to be.
#[derive(Default)]
struct Free {
    /// Behind the last page of each extent, by its first.
    extents: BTreeMap<u64, u64>,
}

impl Free {
    /// Reads what the state lists; answers whether that is all.
    fn read(&mut self, pages: &PageFile, state: &HeadBody, known: &mut Known) -> Result<bool, Failure> {
        let Some(first) = Pgno::new(pages.size().first_data_pgno().get()) else { return Ok(false) };
        let bounds = PageBounds { first, end: state.pages_used };
        let mut is_sound = self.read_inline(state, bounds).is_ok();
        let walked = survey(pages, &state.free, &mut |key, record| {
            is_sound &= self.read_record(key, record, bounds).is_ok();
            Ok(())
        })?;
        is_sound &= walked.lost.is_empty();
        known.other(walked);
        Ok(is_sound)
    }

    fn read_inline(&mut self, state: &HeadBody, bounds: PageBounds) -> Result<(), FormatError> {
        let inline = InlineFree::decode(state.inline_free(), bounds)?;
        inline.available.iter().for_each(|extent| self.add(extent.first, extent.pages));
        inline.pending.iter().try_for_each(|group| {
            let group = group.unpack(bounds)?;
            group.extents.iter().for_each(|freed| self.add(freed.extent.first, freed.extent.pages));
            Ok(())
        })
    }

    fn read_record(&mut self, key: &[u8], record: &[u8], bounds: PageBounds) -> Result<(), FormatError> {
        match FreeKey::decode(key)? {
            FreeKey::Pending { .. } => {
                let group = decode_pending(key, record, bounds)?;
                group.extents.iter().for_each(|freed| self.add(freed.extent.first, freed.extent.pages));
            }
            FreeKey::Chunk { chunk } => {
                let record = ChunkRecord::decode(chunk, record, bounds)?;
                match record.available {
                    AvailableIn::Bitmap(bitmap) => bitmap
                        .runs()
                        .for_each(|run| self.add(chunk.pgno(run.start), u64::from(run.end - run.start))),
                    AvailableIn::Chunks(_) => self.add(chunk.first_pgno(), record.pages()),
                }
            }
            FreeKey::Longest { .. } => {}
        }
        Ok(())
    }

    fn add(&mut self, first: Pgno, pages: u64) {
        let end = self.extents.entry(first.get()).or_default();
        *end = (*end).max(Extent::new(first, pages).end());
    }

    fn holds(&self, pgno: Pgno) -> bool {
        self.extents.range(..=pgno.get()).next_back().is_some_and(|(_, end)| pgno.get() < *end)
    }
}

/// What was seen of the pages that nothing leads to.
#[derive(Default)]
struct Seen {
    leaves: Vec<Orphan>,
    /// Level and children of each branch.
    branches: Vec<(LooseLeaf, u8, Vec<LooseLeaf>)>,
    packed: HashSet<Pgno>,
    of_catalog: u64,
    pages: u64,
}

impl Seen {
    /// Takes note of a page that was written when `is_wanted` says so.
    fn page(&mut self, pages: &PageFile, pgno: Pgno, is_sound: bool, is_wanted: impl Fn(Txnid) -> bool) {
        let Ok(page) = pages.whole(pgno) else { return };
        let (Ok(about), Ok(sum)) = (PageHeader::parse(&page), header::stored_checksum(&page)) else { return };
        if !is_wanted(about.txnid) {
            return;
        }
        self.pages += 1;
        let at = LooseLeaf { pgno, tag: header::tag(sum) };
        match about.kind {
            Kind::Branch => self.branches.push((at, about.level, children(&page))),
            Kind::Packed => {
                self.packed.insert(pgno);
            }
            _ => match roots::leaf(&page, &mut HashSet::new()) {
                Content::Tables => self.of_catalog += 1,
                // Where these are sound their own leaves were reached.
                Content::FreeSpace if !is_sound => {}
                Content::Snapshots => {}
                _ => self.leaves.extend(orphan(&page, at, about.txnid)),
            },
        }
    }

    /// Takes out the leaves of duplicates of keys in other leaves.
    fn leave_nested_out(&mut self, pages: &PageFile) -> Result<(), Failure> {
        let mut nested = HashSet::new();
        for leaf in self.leaves.iter().filter(|leaf| leaf.has_duplicates) {
            let walked = super::walk::walk_leaf(pages, leaf.leaf, &mut |_, _| Ok(()))?;
            nested.extend(walked.reached.into_iter().filter(|pgno| *pgno != leaf.leaf.pgno));
        }
        self.packed.retain(|pgno| !nested.contains(pgno));
        self.leaves.retain(|leaf| !nested.contains(&leaf.leaf.pgno));
        Ok(())
    }

    /// Tells each leaf whether it may be an older version of leaves of one of the tables: its first and its last key are in one
    /// that was written later.
    fn explain(&mut self, pages: &PageFile, tables: &[&TreeRecord], known: &Known) -> Result<(), Failure> {
        let ends = |leaf: &Orphan| [leaf.ends.0.clone(), leaf.ends.1.clone()];
        let mut found: HashMap<Vec<u8>, Vec<usize>> =
            self.leaves.iter().flat_map(ends).map(|key| (key, Vec::new())).collect();
        for (at, tree) in tables.iter().enumerate() {
            survey(pages, tree, &mut |key, _| {
                if let Some(within) = found.get_mut(key).filter(|within| within.last() != Some(&at)) {
                    within.push(at);
                }
                Ok(())
            })?;
        }
        for leaf in &mut self.leaves {
            let [first, last] = ends(leaf).map(|key| found.get(&key).map_or(&[][..], Vec::as_slice));
            let is_newer = |at: &usize| known.written.get(at).is_some_and(|written| leaf.txnid < *written);
            leaf.is_unexplained = !first.iter().any(|at| last.contains(at) && is_newer(at));
        }
        Ok(())
    }

    /// Tells each leaf how high the highest branch above it is.
    fn raise(&mut self) {
        self.branches.sort_by_key(|(_, level, _)| std::cmp::Reverse(*level));
        let mut above: HashMap<Pgno, u8> = HashMap::new();
        for (branch, level, children) in &self.branches {
            let level = above.get(&branch.pgno).copied().unwrap_or(0).max(*level);
            for child in children {
                let known = above.entry(child.pgno).or_default();
                *known = level.max(*known);
            }
        }
        for leaf in &mut self.leaves {
            leaf.level = above.get(&leaf.leaf.pgno).copied().unwrap_or(0);
        }
    }
}

fn children(page: &[u8]) -> Vec<LooseLeaf> {
    let Ok(branch) = Node::<BranchCells>::view(page) else { return Vec::new() };
    let entries = (0..branch.len()).filter_map(|index| branch.entry(index).ok());
    entries.map(|entry| LooseLeaf { pgno: entry.child, tag: entry.tag }).collect()
}

/// A leaf that has keys.
fn orphan(page: &[u8], at: LooseLeaf, txnid: Txnid) -> Option<Orphan> {
    let leaf = Node::<LeafCells>::view(page).ok()?;
    let keys = || (0..leaf.len()).filter_map(|slot| leaf.key(slot).ok());
    let values = || (0..leaf.len()).filter_map(|slot| leaf.value(slot).ok());
    Some(Orphan {
        leaf: at,
        txnid,
        ends: (keys().next()?.to_vec(), keys().next_back()?.to_vec()),
        span: (keys().min()?.to_vec(), keys().max()?.to_vec()),
        level: 0,
        has_duplicates: values().any(|value| matches!(value, ValueField::Duplicates(_))),
        is_keys_alone: values().all(|value| matches!(value, ValueField::Inline([]))),
        is_unexplained: false,
    })
}

/// Gives each leaf to the branch below which it must have lain, or apart.
fn assign(seen: Seen, known: &Known, are_tables_unknown: bool) -> Orphans {
    let mut orphans = Orphans::default();
    let (mut below, mut apart): (HashMap<usize, Vec<Orphan>>, Vec<Orphan>) = Default::default();
    let mut keys_alone = 0;
    for leaf in seen.leaves {
        let fits: Vec<usize> = (0..known.gaps.len()).filter(|gap| known.gaps[*gap].may_hold(&leaf)).collect();
        let tables: HashSet<usize> = fits.iter().map(|gap| known.gaps[*gap].table).collect();
        let is_nobodys = are_tables_unknown || leaf.is_unexplained;
        let may_be_duplicates = leaf.is_keys_alone
            && (known.loses_duplicates || are_tables_unknown || is_nobodys && known.has_multimaps);
        match (fits.first(), tables.len(), are_tables_unknown) {
            (None, _, false) if !is_nobodys => {}
            _ if may_be_duplicates => keys_alone += 1,
            (Some(gap), 1, false) => below.entry(*gap).or_default().push(leaf),
            _ => apart.push(leaf),
        }
    }
    let mut older = 0;
    for (gap, leaves) in below {
        let gap = &known.gaps[gap];
        let (chosen, rest) = newest(leaves, compare(gap.order), |leaf| &leaf.ends);
        older += rest.len();
        orphans.below.insert(gap.pgno, chosen.iter().map(|leaf| leaf.leaf).collect());
    }
    let (apart, left_out) = sections(apart);
    orphans.apart = apart;
    older += left_out;
    let losses = [
        (older as u64, "with keys that newer ones hold, too"),
        (keys_alone, "of keys alone: duplicates of a key, or records without values"),
        (
            if known.loses_duplicates || are_tables_unknown { seen.packed.len() as u64 } else { 0 },
            "of packed duplicates",
        ),
        (if are_tables_unknown { seen.of_catalog } else { 0 }, "that describe tables"),
    ];
    for (count, what) in losses.into_iter().filter(|(count, _)| *count > 0) {
        let leaves = crate::table::plural(count, "leaf", "leaves");
        orphans.notes.push(format!("{leaves} {what}: left out, for nothing tells where they belong"));
    }
    orphans
}

/// The leaves as sections, the newest versions first; and how many were too many.
fn sections(leaves: Vec<Orphan>) -> (Vec<Section>, usize) {
    let (mut sections, mut left_out) = (Vec::new(), 0);
    let (multi, plain): (Vec<Orphan>, Vec<Orphan>) = leaves.into_iter().partition(|leaf| leaf.has_duplicates);
    for (mut leaves, is_multimap) in [(plain, false), (multi, true)] {
        for _ in 0..SECTIONS_MAX {
            let (chosen, rest) = newest(leaves, compare(OrderId::Bytewise), |leaf| &leaf.span);
            leaves = rest;
            if !chosen.is_empty() {
                let leaves = chosen.iter().map(|leaf| leaf.leaf).collect();
                sections.push(Section { leaves, is_multimap });
            }
        }
        left_out += leaves.len();
    }
    (sections, left_out)
}

/// The newest leaves of which no two overlap, by their keys; and the rest. What has no order that is known overlaps nowhere.
fn newest(
    mut leaves: Vec<Orphan>,
    compare: Option<Compare>,
    bounds: impl Fn(&Orphan) -> &(Vec<u8>, Vec<u8>),
) -> (Vec<Orphan>, Vec<Orphan>) {
    let Some(compare) = compare else { return (leaves, Vec::new()) };
    leaves.sort_by(|a, b| compare(&bounds(a).0, &bounds(b).0));
    let meet = |pair: &[Orphan]| !matches!(pair, [a, b] if compare(&bounds(a).1, &bounds(b).0).is_lt());
    if !leaves.windows(2).any(meet) {
        return (leaves, Vec::new());
    }
    leaves.sort_by_key(|leaf| std::cmp::Reverse(leaf.txnid));
    let mut chosen: Vec<&Orphan> = Vec::new();
    for leaf in &leaves {
        let (first, last) = bounds(leaf);
        // The first that is not wholly before: as none overlap, it alone can.
        let place = chosen.partition_point(|other| compare(&bounds(other).1, first).is_lt());
        if chosen.get(place).is_none_or(|next| compare(last, &bounds(next).0).is_lt()) {
            chosen.insert(place, leaf);
        }
    }
    let place: HashMap<Pgno, usize> =
        chosen.iter().enumerate().map(|(place, leaf)| (leaf.leaf.pgno, place)).collect();
    let (mut chosen, rest): (Vec<Orphan>, Vec<Orphan>) =
        leaves.into_iter().partition(|leaf| place.contains_key(&leaf.leaf.pgno));
    chosen.sort_by_key(|leaf| place.get(&leaf.leaf.pgno).copied());
    (chosen, rest)
}
