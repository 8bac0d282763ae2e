//! What a check counts beside: how full pages are, and how long what is in them.

use std::collections::BTreeMap;

use mapledb_format::{FormatError, Pgno};
use mapledb_format::duplicates::DupField;
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::node::{Cells, Node, capacity};

use crate::error::{Error, Result};
use crate::tree::Sound;

/// How many have a size from one number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistogramRow {
    /// The least size.
    pub from: u64,
    /// The greatest.
    pub to: u64,
    /// How many have it.
    pub count: u64,
}

/// What is in a file by size: rows that ascend, without those that count none.
///
/// Of damaged pages nothing is counted, and of leaves nothing at [`CheckLevel::Quick`](crate::CheckLevel::Quick).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckHistograms {
    /// Pages that hold entries or duplicates, by how much of them is used, in tenths, in percent.
    pub leaf_fill: Vec<HistogramRow>,
    /// Pages that lead to them, likewise.
    pub branch_fill: Vec<HistogramRow>,
    /// Keys by their length in bytes, in powers of two.
    pub key_lengths: Vec<HistogramRow>,
    /// Values, and duplicates of multimaps, by their length in bytes, in powers of two.
    pub value_lengths: Vec<HistogramRow>,
    /// Keys of multimaps by how many duplicates they have, in powers of two.
    pub duplicates: Vec<HistogramRow>,
    /// Tables by the levels of their tree, leaves included; 0 is an empty one.
    pub depths: Vec<HistogramRow>,
}

/// Sizes by powers of two: at 0 the size 0, at `n` those of `n` bits.
#[derive(Clone, Copy)]
struct PowersOfTwo([u64; 65]);

impl Default for PowersOfTwo {
    fn default() -> Self {
        PowersOfTwo([0; 65])
    }
}

impl PowersOfTwo {
    fn add(&mut self, size: u64, count: u64) {
        if let Some(row) = self.0.get_mut((u64::BITS - size.leading_zeros()) as usize) {
            *row += count;
        }
    }

    fn rows(&self) -> Vec<HistogramRow> {
        rows(&self.0, |bits| match bits {
            0 => (0, 0),
            bits => (1 << (bits - 1), u64::MAX >> (64 - bits)),
        })
    }
}

/// What has been counted so far.
#[derive(Default)]
pub(super) struct Tally {
    leaf_fill: [u64; 10],
    branch_fill: [u64; 10],
    key_lengths: PowersOfTwo,
    value_lengths: PowersOfTwo,
    duplicates: PowersOfTwo,
    depths: BTreeMap<u64, u64>,
}

impl Tally {
    /// Counts a table of so many levels.
    pub(super) fn depth(&mut self, depth: u8) {
        *self.depths.entry(u64::from(depth)).or_default() += 1;
    }

    /// Counts a page and what is in it.
    pub(super) fn page(&mut self, at: Pgno, page: &Sound<'_, '_>, is_multimap: bool) -> Result<()> {
        let counted = match page {
            Sound::Branch(branch) => {
                fill(&mut self.branch_fill, branch);
                Ok(())
            }
            Sound::Leaf(leaf) => {
                fill(&mut self.leaf_fill, leaf);
                self.entries(leaf, is_multimap)
            }
            Sound::DuplicateLeaf(leaf) => {
                fill(&mut self.leaf_fill, leaf);
                self.set(leaf)
            }
        };
        counted.map_err(|cause| Error::Corrupt { pgno: at, cause })
    }

    fn entries(&mut self, leaf: &Leaf<'_>, is_multimap: bool) -> std::result::Result<(), FormatError> {
        for index in 0..leaf.len() {
            self.key_lengths.add(leaf.key(index)?.len() as u64, 1);
            let duplicates = match leaf.value(index)? {
                ValueField::Inline(value) => {
                    self.value_lengths.add(value.len() as u64, 1);
                    1
                }
                ValueField::Overflow(run) => {
                    self.value_lengths.add(run.len, 1);
                    1
                }
                ValueField::Duplicates(field) => {
                    let field = DupField::decode(field)?;
                    if let DupField::SubPage(page) = field {
                        self.set(&Leaf::view(page)?)?;
                    }
                    field.count()
                }
            };
            if is_multimap {
                self.duplicates.add(duplicates, 1);
            }
        }
        Ok(())
    }

    /// Counts duplicates, which are the keys of a leaf of their own.
    fn set(&mut self, leaf: &Leaf<'_>) -> std::result::Result<(), FormatError> {
        match leaf.packed() {
            Some(packed) => self.value_lengths.add(packed.key_len() as u64, packed.len() as u64),
            None => {
                for index in 0..leaf.len() {
                    self.value_lengths.add(leaf.key(index)?.len() as u64, 1);
                }
            }
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn rows(&self) -> CheckHistograms {
        let tenth = |tenth: u64| (10 * tenth, if tenth == 9 { 100 } else { 10 * tenth + 9 });
        CheckHistograms {
            leaf_fill: rows(&self.leaf_fill, tenth),
            branch_fill: rows(&self.branch_fill, tenth),
            key_lengths: self.key_lengths.rows(),
            value_lengths: self.value_lengths.rows(),
            duplicates: self.duplicates.rows(),
            depths: self.depths.iter().map(|(&at, &count)| HistogramRow { from: at, to: at, count }).collect(),
        }
    }
}

/// Counts a page by the tenth of it that is used.
fn fill<C: Cells>(tenths: &mut [u64; 10], node: &Node<'_, C>) {
    let tenth = 10 * node.used() / capacity(node.page().len()).max(1);
    tenths[tenth.min(9)] += 1;
}

/// The rows that count any, each with its least and greatest size.
fn rows(counts: &[u64], bounds: impl Fn(u64) -> (u64, u64)) -> Vec<HistogramRow> {
    let counted = (0u64..).zip(counts).filter(|(_, count)| **count > 0);
    counted.map(|(at, &count)| (bounds(at), count)).map(|((from, to), count)| HistogramRow { from, to, count }).collect()
}
