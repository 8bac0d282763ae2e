//! A leaf or a branch, slot by slot.

use mapledb_format::branch::{Branch, BranchCells};
use mapledb_format::duplicates::DupField;
use mapledb_format::header::{PageHeader, check_sum};
use mapledb_format::leaf::{Leaf, LeafCells, ValueField};
use mapledb_format::node::{Cells, Node};
use mapledb_format::order::{AsStored, Bytewise, Integer, Reverse};
use mapledb_format::{FormatError, Kind};
use serde::Serialize;

use super::{Findings, HeaderReport, PagePlace, hex32};
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::table;
use crate::text::Type;
use crate::text::form;
use crate::text::json::Json;

#[derive(Serialize)]
pub struct NodeReport<S> {
    #[serde(flatten)]
    header: HeaderReport,
    count: u16,
    prefix_len_bytes: u16,
    heap_len_bytes: u16,
    dead_bytes: u16,
    slots: Vec<S>,
    faults: Vec<String>,
}

#[derive(Serialize)]
pub struct LeafSlot {
    slot: usize,
    head: String,
    offset_bytes: u16,
    key: Bytes,
    value: LeafValue,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LeafValue {
    Inline(Bytes),
    Overflow { page: u64, tag: String, len_bytes: u64 },
    SubPage { duplicates: u64, len_bytes: usize },
    Tree { root: u64, tag: String, duplicates: u64 },
    Damaged(String),
}

#[derive(Serialize)]
pub struct BranchSlot {
    slot: usize,
    head: String,
    offset_bytes: u16,
    separator: Bytes,
    child: u64,
    tag: String,
    count: u64,
}

/// Bytes of no known type.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Json::new(&Type::Bytes, &self.0).serialize(to)
    }
}

impl Bytes {
    /// The bytes as text, cut where a row would get too long.
    fn in_words(&self) -> String {
        let text = form::show(&self.0);
        match text.char_indices().nth(WIDTH_MAX) {
            Some((at, _)) => format!("{}… ({} bytes)", &text[..at], self.0.len()),
            None => text.into_owned(),
        }
    }
}

const WIDTH_MAX: usize = 48;

impl<S: Serialize> Findings for NodeReport<S> {
    fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Reads a leaf.
pub fn leaf(page: &[u8], place: PagePlace) -> Result<NodeReport<LeafSlot>, Failure> {
    report::<LeafCells, _>(page, place, |leaf: &Leaf<'_>, slot| {
        let found = leaf.slot(slot)?;
        Ok(LeafSlot {
            slot,
            head: hex32(found.head),
            offset_bytes: found.offset,
            key: Bytes(leaf.key(slot)?.to_vec()),
            value: match leaf.value(slot) {
                Ok(ValueField::Inline(value)) => LeafValue::Inline(Bytes(value.to_vec())),
                Ok(ValueField::Overflow(to)) => {
                    LeafValue::Overflow { page: to.pgno.get(), tag: hex32(to.tag), len_bytes: to.len }
                }
                Ok(ValueField::Duplicates(field)) => duplicates(field),
                Err(error) => LeafValue::Damaged(error.to_string()),
            },
        })
    })
}

/// What several duplicates of a key are in.
fn duplicates(field: &[u8]) -> LeafValue {
    match DupField::decode(field) {
        Ok(found @ DupField::SubPage(page)) => {
            LeafValue::SubPage { duplicates: found.count(), len_bytes: page.len() }
        }
        Ok(DupField::Tree(tree)) => {
            LeafValue::Tree { root: tree.root.get(), tag: hex32(tree.root_tag), duplicates: tree.entries }
        }
        Err(error) => LeafValue::Damaged(error.to_string()),
    }
}

/// Reads a branch.
pub fn branch(page: &[u8], place: PagePlace) -> Result<NodeReport<BranchSlot>, Failure> {
    report::<BranchCells, _>(page, place, |branch: &Branch<'_>, slot| {
        let found = branch.slot(slot)?;
        let entry = branch.entry(slot)?;
        Ok(BranchSlot {
            slot,
            head: hex32(found.head),
            offset_bytes: found.offset,
            separator: Bytes(branch.key(slot)?.to_vec()),
            child: entry.child.get(),
            tag: hex32(entry.tag),
            count: entry.count,
        })
    })
}

fn report<C: Cells, S>(
    page: &[u8],
    place: PagePlace,
    slot: impl Fn(&Node<'_, C>, usize) -> Result<S, FormatError>,
) -> Result<NodeReport<S>, Failure> {
    let damaged =
        |error: FormatError| Failure::new(failure::Kind::Damaged, format!("page {}: {error}", place.pgno));
    let header = PageHeader::parse(page).map_err(damaged)?;
    let node = Node::<C>::view(page).map_err(damaged)?;
    let mut faults = Vec::new();
    let mut slots = Vec::new();
    for index in 0..node.len() {
        match slot(&node, index) {
            Ok(slot) => slots.push(slot),
            Err(error) => faults.push(error.to_string()),
        }
    }
    // What a whole check finds may be one of the faults above again: then it is told once.
    let whole = [misplaced(&header, place), check_sum(page).err(), unsound::<C>(page)];
    for fault in whole.into_iter().flatten().map(|error| error.to_string()) {
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    Ok(NodeReport {
        count: header.count,
        prefix_len_bytes: header.prefix_len,
        heap_len_bytes: header.heap_len,
        dead_bytes: header.dead,
        header: HeaderReport::of(&header, place),
        slots,
        faults,
    })
}

/// What is wrong with a node whatever the order of its keys is, which the page does not say; in no order at all, what is in
/// the usual one.
fn unsound<C: Cells>(page: &[u8]) -> Option<FormatError> {
    let usual = Node::<C>::validate(Bytewise, page).err()?;
    let others = [
        Node::<C>::validate(Reverse, page).err(),
        Node::<C>::validate(Integer, page).err(),
        Node::<C>::validate(AsStored, page).err(),
    ];
    others.iter().all(Option::is_some).then_some(usual)
}

fn misplaced(header: &PageHeader, place: PagePlace) -> Option<FormatError> {
    let (found, expected) = (header.pgno, place.pgno);
    let level_fits = (header.kind == Kind::Branch) == (header.level > 0);
    if found != expected {
        return Some(FormatError::WrongPgno { found, expected });
    }
    (!level_fits)
        .then(|| FormatError::WrongLevel { found: header.level, expected: u8::from(header.level == 0) })
}

fn head_in_words<S: Serialize>(report: &NodeReport<S>, output: &mut Output) -> Result<(), Failure> {
    let mut fields = report.header.fields();
    fields.extend([
        ("slots", report.count.to_string()),
        ("prefix", table::size(report.prefix_len_bytes.into())),
        ("heap", table::size(report.heap_len_bytes.into())),
        ("dead", table::size(report.dead_bytes.into())),
    ]);
    table::fields(output, fields)?;
    output.line("")
}

/// Prints a leaf for people.
pub fn leaf_in_words(report: &NodeReport<LeafSlot>, output: &mut Output) -> Result<(), Failure> {
    use table::Column::{Numbers, Words};
    head_in_words(report, output)?;
    let columns = [Numbers("slot"), Words("head"), Numbers("offset"), Words("key"), Words("value")];
    let rows = report.slots.iter().map(|slot| {
        [
            slot.slot.to_string(),
            slot.head.clone(),
            slot.offset_bytes.to_string(),
            slot.key.in_words(),
            match &slot.value {
                LeafValue::Inline(bytes) => bytes.in_words(),
                LeafValue::Overflow { page, tag, len_bytes } => {
                    format!("→ overflow page {page}, {}, tag {tag}", table::size(*len_bytes))
                }
                LeafValue::SubPage { duplicates, len_bytes } => {
                    format!("{duplicates} duplicates in a sub-page of {}", table::size(*len_bytes as u64))
                }
                LeafValue::Tree { root, tag, duplicates } => {
                    format!("→ tree of {duplicates} duplicates, root {root}, tag {tag}")
                }
                LeafValue::Damaged(why) => why.clone(),
            },
        ]
    });
    table::rows(output, columns, rows)
}

/// Prints a branch for people.
pub fn branch_in_words(report: &NodeReport<BranchSlot>, output: &mut Output) -> Result<(), Failure> {
    use table::Column::{Numbers, Words};
    head_in_words(report, output)?;
    let columns = [
        Numbers("slot"),
        Words("head"),
        Numbers("offset"),
        Words("separator"),
        Numbers("child"),
        Words("tag"),
        Numbers("count"),
    ];
    let rows = report.slots.iter().map(|slot| {
        [
            slot.slot.to_string(),
            slot.head.clone(),
            slot.offset_bytes.to_string(),
            slot.separator.in_words(),
            slot.child.to_string(),
            slot.tag.clone(),
            table::count(slot.count),
        ]
    });
    table::rows(output, columns, rows)
}
