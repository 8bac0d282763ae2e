//! What each field of a branch entry costs: fan-out, size and speed of branches whose entries carry a child's
//! number and tag, and with them its count, its birth txnid, both or none.
//!
//! The branches are made and searched by the code of `mapledb-format`; only the bytes of a cell before its
//! separator differ. A tree of branches stands over imaginary leaves, whose boundaries are those of leaves
//! that hold `--leaf-entries` random or successive keys. Its pages are filled to `--fill` of their bytes, as
//! random insertion leaves them.

use std::hint::black_box;

use clap::Parser;
use mapledb_bench::Result;
use mapledb_bench::machine::Stopwatch;
use mapledb_bench::rounds::{Side, alternate};
use mapledb_bench::workload::SplitMix64;
use mapledb_format::Kind;
use mapledb_format::node::{Cells, Node, NodeMut, capacity};
use mapledb_format::order::{Bytewise, Order};

const PAGE_BYTES: usize = 4096;

/// Bytes of a child's page number, which every cell begins with.
const CHILD_BYTES: usize = 6;

/// Offset of the count in cells that have one: behind the child's number and tag.
const COUNT_AT: usize = 10;

/// Descents of a round.
const ROUND_DESCENTS: usize = 20_000;

/// Rounds until the same keys are sought again.
const WINDOWS: usize = 8;

/// Measures fan-out and search by what a branch entry carries.
#[derive(Parser)]
struct Options {
    /// Leaves below the branches.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    leaves: Vec<usize>,
    /// Entries of a leaf: between the first keys of two neighbours lie this many keys.
    #[arg(long, default_value_t = 16)]
    leaf_entries: usize,
    /// Share of a branch page that is filled.
    #[arg(long, default_value_t = 0.69)]
    fill: f64,
    /// Rounds.
    #[arg(long, default_value_t = 30)]
    repeats: usize,
}

/// Branch cells with `BYTES` before the separator.
#[derive(Clone, Copy)]
struct Carrying<const BYTES: usize>;

impl<const BYTES: usize> Cells for Carrying<BYTES> {
    const KIND: Kind = Kind::Branch;
    const ALIGN: usize = 1;

    #[inline(always)]
    fn len(page: &[u8], offset: usize, field: u16) -> Option<usize> {
        let len = BYTES + usize::from(field);
        (offset + len <= page.len()).then_some(len)
    }

    #[inline(always)]
    fn key(page: &[u8], offset: usize, field: u16) -> Option<&[u8]> {
        let at = offset + BYTES;
        page.get(at..at + usize::from(field))
    }

    fn is_sealed(_page: &[u8], _offset: usize, _field: u16) -> bool {
        true
    }
}

/// A page where a page lies: at a multiple of its size.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

/// Branches over leaves, lowest level first; a child is named by its index, in `pages` or among the leaves.
struct Branches<const BYTES: usize> {
    pages: Vec<Page>,
    depth: usize,
}

/// A node under construction, and the lowest key below it.
struct Child<'k> {
    lowest: &'k [u8],
    separator: &'k [u8],
    index: usize,
}

impl<const BYTES: usize> Branches<BYTES> {
    /// Branches over leaves that `separators` divide, each page filled up to `fill_bytes`.
    fn build(separators: &[&[u8]], fill_bytes: usize) -> Result<Self> {
        let leaves = separators.iter().enumerate();
        let mut level: Vec<Child<'_>> =
            leaves.map(|(index, separator)| Child { lowest: separator, separator, index }).collect();
        let mut tree = Branches { pages: Vec::new(), depth: 0 };
        while level.len() > 1 || tree.depth == 0 {
            level = tree.build_level(&level, fill_bytes)?;
            tree.depth += 1;
        }
        Ok(tree)
    }

    fn build_level<'k>(&mut self, children: &[Child<'k>], fill_bytes: usize) -> Result<Vec<Child<'k>>> {
        let mut parents: Vec<Child<'k>> = Vec::new();
        let mut used = usize::MAX;
        for child in children {
            let bytes = cell_and_slot(BYTES, child.separator.len());
            if used.saturating_add(bytes) > fill_bytes {
                let separator = if parents.is_empty() { &[][..] } else { child.separator };
                parents.push(Child { lowest: child.lowest, separator, index: self.pages.len() });
                self.pages.push(Page([0; PAGE_BYTES]));
                used = 0;
                NodeMut::<Carrying<BYTES>>::new(&mut self.last().0).clear();
            }
            used += bytes;
            self.push_child(child)?;
        }
        Ok(parents)
    }

    fn last(&mut self) -> &mut Page {
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    fn push_child(&mut self, child: &Child<'_>) -> Result<()> {
        let mut node = NodeMut::<Carrying<BYTES>>::new(&mut self.last().0);
        let count = node.node()?.len();
        let separator = if count == 0 { &[][..] } else { child.separator };
        let field = separator.len() as u16;
        let at = node.insert(Bytewise, count, separator, field, BYTES + separator.len())?;
        let cell = &mut node.page_mut()[at];
        cell[..CHILD_BYTES].copy_from_slice(&child.index.to_le_bytes()[..CHILD_BYTES]);
        cell[CHILD_BYTES..BYTES].fill(0);
        cell[BYTES..].copy_from_slice(separator);
        Ok(())
    }

    /// The leaf that holds `key`: the descent of the engine, without its checks of number, txnid and tag.
    #[inline(always)]
    fn leaf_of(&self, key: &[u8]) -> Result<usize> {
        let mut page = self.pages.len() - 1;
        let mut implied = 0;
        for _ in 0..self.depth {
            let node = Node::<Carrying<BYTES>>::view(&self.pages[page].0)?;
            let (child, inner, _) = child_for(&node, key, implied)?;
            (page, implied) = (child, inner);
        }
        Ok(page)
    }

    /// The same, and adds one entry to the count of every child on the way, as an insertion does.
    #[inline(always)]
    fn count_in(&mut self, key: &[u8]) -> Result<usize> {
        let mut page = self.pages.len() - 1;
        let mut implied = 0;
        for _ in 0..self.depth {
            let node = Node::<Carrying<BYTES>>::view(&self.pages[page].0)?;
            let (child, inner, offset) = child_for(&node, key, implied)?;
            let at = offset + COUNT_AT;
            let mut count = [0; 8];
            count[..6].copy_from_slice(&self.pages[page].0[at..at + 6]);
            let count = (u64::from_le_bytes(count) + 1).to_le_bytes();
            self.pages[page].0[at..at + 6].copy_from_slice(&count[..6]);
            (page, implied) = (child, inner);
        }
        Ok(page)
    }
}

/// The child for `key`, what its fences imply, and where its cell is.
#[inline(always)]
fn child_for<C: Cells>(node: &Node<'_, C>, key: &[u8], implied: usize) -> Result<(usize, usize, usize)> {
    let at = node.search_from(Bytewise, 1, key, implied)?;
    let index = if at.exact { at.index } else { at.index - 1 };
    let slot = node.slot(index)?;
    let offset = usize::from(slot.offset);
    let number = node.page()[offset..].first_chunk::<8>().ok_or("a cell ends behind its page")?;
    let child = u64::from_le_bytes(*number) & 0xffff_ffff_ffff;
    let inner = match node.slot(index + 1) {
        Ok(high) if index > 0 => {
            let same = (slot.head ^ high.head).leading_zeros() as usize / 8;
            let shared = (node.prefix_len() + same).min(usize::from(slot.field)).min(usize::from(high.field));
            shared.max(implied)
        }
        _ => implied,
    };
    Ok((usize::try_from(child)?, inner, offset))
}

fn cell_and_slot(entry_bytes: usize, separator_bytes: usize) -> usize {
    mapledb_format::node::SLOT_BYTES + entry_bytes + separator_bytes
}

/// Keys of the leaves' boundaries, and keys to look for.
struct Keys {
    name: &'static str,
    boundaries: Vec<Vec<u8>>,
    /// One behind the other, `key_bytes` each, so that taking the next one costs no cache miss.
    sought: Vec<u8>,
    key_bytes: usize,
}

impl Keys {
    /// 24 random bytes: two neighbours part early, and their separator is short.
    fn random(leaves: usize, leaf_entries: usize) -> Self {
        let mut random = SplitMix64::new(1);
        let mut key = || {
            let mut key = vec![0; 24];
            random.fill(&mut key);
            key
        };
        // A leaf's two keys at its boundary are what decides its separator: draw all keys, keep those.
        let mut keys: Vec<Vec<u8>> = (0..leaves * leaf_entries).map(|_| key()).collect();
        keys.sort_unstable();
        Self::of("24 bytes, random", &keys, leaf_entries)
    }

    /// 16 bytes, a tenant of a hundred and a sequence within it: two neighbours part in the last byte, and
    /// their separator is nearly whole.
    fn sequence(leaves: usize, leaf_entries: usize) -> Self {
        let each = (leaves * leaf_entries).div_ceil(100);
        let key = |n: usize| {
            let [tenant, number] = [n / each, n % each].map(|part| (part as u64).to_be_bytes());
            [tenant, number].concat()
        };
        let keys: Vec<Vec<u8>> = (0..leaves * leaf_entries).map(key).collect();
        Self::of("16 bytes, tenant and number", &keys, leaf_entries)
    }

    fn of(name: &'static str, keys: &[Vec<u8>], leaf_entries: usize) -> Self {
        let first = std::iter::once(Vec::new());
        let later = (leaf_entries..keys.len()).step_by(leaf_entries);
        let boundaries =
            first.chain(later.map(|at| Bytewise.separator(&keys[at - 1], &keys[at]).to_vec())).collect();
        let mut random = SplitMix64::new(2);
        let mut any = || keys[random.below(keys.len())].as_slice();
        let sought = (0..ROUND_DESCENTS * WINDOWS).flat_map(|_| any().iter().copied()).collect();
        Self { name, boundaries, sought, key_bytes: keys[0].len() }
    }

    fn window(&self, round: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        let bytes = ROUND_DESCENTS * self.key_bytes;
        let start = round % WINDOWS * bytes;
        self.sought[start..start + bytes].chunks_exact(self.key_bytes)
    }
}

/// Memory where the leaves would be.
struct Leaves {
    pages: Vec<Page>,
}

impl Leaves {
    /// As many pages as there are leaves; none if that is more than a gigabyte.
    fn new(leaves: usize) -> Self {
        let pages = if leaves * PAGE_BYTES > 1 << 30 { 0 } else { leaves };
        // Not zeros: those the kernel would give as one page, mapped everywhere.
        Self { pages: vec![Page([1; PAGE_BYTES]); pages] }
    }

    /// Reads what a lookup reads at least, one after the other: a slot, the key of its cell, the value.
    #[inline(always)]
    fn read(&self, leaf: usize) -> u8 {
        let page = &self.pages[leaf].0;
        let slot = page[64];
        let key = page[1024 + usize::from(slot)];
        page[1024 + 128 + usize::from(key)]
    }
}

/// A variant's tree, measured through this face so that all can take turns.
trait Variant {
    fn describe(&self, keys: &Keys) -> Shape;
    fn descend(&self, keys: &Keys, round: usize) -> Result<f64>;
    fn look_up(&self, keys: &Keys, leaves: &Leaves, round: usize) -> Result<f64>;
    fn count_in(&mut self, keys: &Keys, round: usize) -> Result<f64>;
}

/// What a tree of branches came out as.
struct Shape {
    full_fanout: f64,
    pages: usize,
    depth: usize,
}

impl<const BYTES: usize> Variant for Branches<BYTES> {
    fn describe(&self, keys: &Keys) -> Shape {
        let separators: usize = keys.boundaries.iter().map(Vec::len).sum();
        let mean = separators as f64 / keys.boundaries.len() as f64;
        let full_fanout = capacity(PAGE_BYTES) as f64 / (cell_and_slot(BYTES, 0) as f64 + mean);
        Shape { full_fanout, pages: self.pages.len(), depth: self.depth }
    }

    fn descend(&self, keys: &Keys, round: usize) -> Result<f64> {
        let watch = Stopwatch::new();
        let started = watch.start();
        for key in keys.window(round) {
            black_box(self.leaf_of(key)?);
        }
        Ok(started.nanoseconds() / ROUND_DESCENTS as f64)
    }

    fn look_up(&self, keys: &Keys, leaves: &Leaves, round: usize) -> Result<f64> {
        if leaves.pages.is_empty() {
            return Ok(f64::NAN);
        }
        let watch = Stopwatch::new();
        let started = watch.start();
        for key in keys.window(round) {
            black_box(leaves.read(self.leaf_of(key)?));
        }
        Ok(started.nanoseconds() / ROUND_DESCENTS as f64)
    }

    fn count_in(&mut self, keys: &Keys, round: usize) -> Result<f64> {
        if BYTES < COUNT_AT + 6 {
            return Ok(f64::NAN);
        }
        let watch = Stopwatch::new();
        let started = watch.start();
        for key in keys.window(round) {
            black_box(Branches::count_in(self, key)?);
        }
        Ok(started.nanoseconds() / ROUND_DESCENTS as f64)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    println!(
        "branches of 4 KiB pages filled to {:.0} %; medians of {} rounds",
        options.fill * 100.0,
        options.repeats
    );
    println!("ratio: the median of the rounds' own ratios to the first line, above 1 where better");
    println!(
        "descent: from the root to the number of a leaf, random keys; counting: and one added to each count"
    );
    println!(
        "lookup: descent, and a slot, a key and a value read in a leaf, where all leaves are at most 1 GiB\n"
    );
    for &leaves in &options.leaves {
        for keys in [Keys::sequence(leaves, options.leaf_entries), Keys::random(leaves, options.leaf_entries)]
        {
            measure(&options, &keys)?;
        }
    }
    Ok(())
}

fn measure(options: &Options, keys: &Keys) -> Result<()> {
    let separators: Vec<&[u8]> = keys.boundaries.iter().map(Vec::as_slice).collect();
    let fill_bytes = (capacity(PAGE_BYTES) as f64 * options.fill) as usize;
    let mut variants: [(&str, Box<dyn Variant>); 4] = [
        ("child, tag", Box::new(Branches::<10>::build(&separators, fill_bytes)?)),
        ("child, tag, count", Box::new(Branches::<16>::build(&separators, fill_bytes)?)),
        ("child, tag, birth", Box::new(Branches::<18>::build(&separators, fill_bytes)?)),
        ("child, tag, count, birth", Box::new(Branches::<24>::build(&separators, fill_bytes)?)),
    ];
    check(keys, &separators, fill_bytes)?;
    let leaves = Leaves::new(separators.len());
    let sides = variants.iter_mut().map(|(name, variant)| {
        Side::new(name, |round| {
            // The first pass fetches back what the variant before drove out of the caches. Other keys each
            // time, or a pass would find the pages of the pass before it.
            variant.descend(keys, round + 2)?;
            Ok([
                variant.descend(keys, round)?,
                variant.count_in(keys, round + 4)?,
                variant.look_up(keys, &leaves, round + 6)?,
            ])
        })
    });
    let [descents, countings, lookups] = alternate(2, options.repeats, sides.collect())?;
    let mean =
        separators.iter().map(|separator| separator.len()).sum::<usize>() as f64 / separators.len() as f64;
    println!("keys of {}; {} leaves; separators of {mean:.1} bytes on average", keys.name, separators.len());
    println!(
        "  {:<26} {:>5} {:>8} {:>8} {:>6} {:>13} {:>19} {:>6} {:>14} {:>12} {:>6}",
        "an entry carries",
        "bytes",
        "fan-out",
        "pages",
        "levels",
        "descent (ns)",
        "lowest to highest",
        "ratio",
        "counting (ns)",
        "lookup (ns)",
        "ratio"
    );
    for (index, (name, variant)) in variants.iter().enumerate() {
        let shape = variant.describe(keys);
        let median = descents[index].median();
        let (low, high) = descents[index].spread();
        println!(
            "  {name:<26} {:>5} {:>8.1} {:>8} {:>6} {median:>13.1} {:>19} {:>6.2} {:>14} {:>12} {:>6}",
            [10, 16, 18, 24][index],
            shape.full_fanout,
            shape.pages,
            shape.depth,
            format!("{low:.1} to {high:.1}"),
            descents[0].by(&descents[index]),
            figure(countings[index].median(), 1),
            figure(lookups[index].median(), 1),
            figure(lookups[0].by(&lookups[index]), 2),
        );
    }
    println!();
    Ok(())
}

fn figure(value: f64, decimals: usize) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.decimals$}") }
}

/// A branch must lead to the leaf that a plain search over all separators finds, or its speed says nothing.
fn check(keys: &Keys, separators: &[&[u8]], fill_bytes: usize) -> Result<()> {
    let tree = Branches::<16>::build(separators, fill_bytes)?;
    for key in keys.window(0).step_by(101) {
        let expected = separators.partition_point(|separator| *separator <= key) - 1;
        let found = tree.leaf_of(key)?;
        if found != expected {
            return Err(format!("a descent led to leaf {found} and not to {expected}").into());
        }
    }
    Ok(())
}
