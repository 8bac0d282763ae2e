//! Which of the contents that blocks may hold they do, in one image.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{BLOCK_BYTES, Content, SECTOR_BYTES};

/// The choices of one image, block by block.
#[derive(Debug)]
pub(crate) struct Chooser {
    style: Style,
    /// Of the blocks that may hold several contents, the one that is singled out.
    picked: usize,
    met: usize,
}

impl Chooser {
    /// How it chooses, in a word.
    pub(crate) fn style(&self) -> String {
        format!("{:?}", self.style)
    }

    /// An image over `open` blocks that may hold several contents, on a disk that writes blocks in parts or whole.
    pub(crate) fn new(open: usize, tears: bool, rng: &mut SmallRng) -> Chooser {
        let style = match Style::random(rng) {
            Style::AllButOneTorn if !tears => Style::AllButOne,
            Style::Torn | Style::MetasTorn if !tears => Style::Any,
            style => style,
        };
        let picked = if open > 0 { rng.random_range(0..open) } else { 0 };
        Chooser { style, picked, met: 0 }
    }

    /// One of the lengths a file may have, oldest first.
    pub(crate) fn length(&self, lens: &[u64], rng: &mut SmallRng) -> u64 {
        match rng.random_range(0..4) {
            0 => lens[0],
            1 => lens[rng.random_range(0..lens.len())],
            _ => lens[lens.len() - 1],
        }
    }

    /// One of several contents of the next block.
    pub(crate) fn choose(&mut self, may_hold: &[Content], is_meta: bool, rng: &mut SmallRng) -> Content {
        let is_picked = self.met == self.picked;
        self.met += 1;
        let newest = may_hold.len() - 1;
        match self.style {
            Style::AllButOne => Arc::clone(&may_hold[if is_picked { 0 } else { newest }]),
            Style::OnlyOne => Arc::clone(&may_hold[if is_picked { newest } else { 0 }]),
            Style::AllButOneTorn if is_picked => torn(may_hold, rng),
            Style::AllButOneTorn => Arc::clone(&may_hold[newest]),
            style => style.choose(may_hold, is_meta, rng),
        }
    }
}

/// How an image chooses among what blocks may hold. Uniform choices alone would hardly ever meet the images that hurt:
/// a meta without one of its pages, one page without the rest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    /// Nothing was written.
    Oldest,
    /// Everything was written.
    Newest,
    /// Metas were written, pages were not.
    MetasNewest,
    /// Pages were written, metas were not.
    MetasOldest,
    /// One block was not written.
    AllButOne,
    /// One block was not written whole.
    AllButOneTorn,
    /// One block was written.
    OnlyOne,
    /// Each block was written with this chance, in percent.
    Chance(u32),
    /// Each block holds any of its contents.
    Any,
    /// Each sector holds any of its contents.
    Torn,
    /// The metas are torn, pages are written.
    MetasTorn,
}

impl Style {
    pub(super) fn random(rng: &mut SmallRng) -> Style {
        match rng.random_range(0..16) {
            0 => Style::Oldest,
            1 => Style::Newest,
            2 | 3 => Style::MetasNewest,
            4 => Style::MetasOldest,
            5 | 6 => Style::AllButOne,
            7 | 8 => Style::AllButOneTorn,
            9 => Style::OnlyOne,
            10 => Style::Chance(90),
            11 => Style::Chance(50),
            12 => Style::Chance(10),
            13 => Style::Any,
            14 => Style::MetasTorn,
            _ => Style::Torn,
        }
    }

    /// One content of many.
    pub(super) fn choose(self, may_hold: &[Content], is_meta: bool, rng: &mut SmallRng) -> Content {
        let newest = may_hold.len() - 1;
        let at = match self {
            Style::Oldest => 0,
            Style::Newest | Style::AllButOne | Style::AllButOneTorn => newest,
            Style::OnlyOne => 0,
            Style::MetasNewest => {
                if is_meta {
                    newest
                } else {
                    rng.random_range(0..newest + 1)
                }
            }
            Style::MetasOldest => {
                if is_meta {
                    0
                } else {
                    rng.random_range(0..newest + 1)
                }
            }
            Style::Chance(percent) => {
                if rng.random_ratio(percent, 100) {
                    newest
                } else {
                    0
                }
            }
            Style::Any => rng.random_range(0..newest + 1),
            Style::MetasTorn if !is_meta => newest,
            Style::Torn if rng.random() => newest,
            Style::Torn | Style::MetasTorn => return torn(may_hold, rng),
        };
        Arc::clone(&may_hold[at])
    }
}

/// A block each of whose sectors holds any of its contents.
fn torn(may_hold: &[Content], rng: &mut SmallRng) -> Content {
    let mut content = [0; BLOCK_BYTES];
    for start in (0..BLOCK_BYTES).step_by(SECTOR_BYTES) {
        let sector = start..start + SECTOR_BYTES;
        content[sector.clone()].copy_from_slice(&may_hold[rng.random_range(0..may_hold.len())][sector]);
    }
    Arc::new(content)
}
