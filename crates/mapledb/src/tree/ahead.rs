//! Read-ahead for walks: the leaves to come are asked for before the walk gets there.
//!
//! The map is advised to read nothing ahead, since reads of single keys would drag megabytes in. A walk knows better than the
//! kernel what comes next, in whatever order the leaves lie in the file: the entries of the branch above them. It asks
//! for few leaves at first, then for twice as many each time, so that a short walk asks for little more than it reads.

use std::ops::Range;

use mapledb_format::Pgno;
use mapledb_format::branch::Branch;

use super::Pages;
use super::cursor::Way;

/// Leaves that are asked for at the first step.
const FIRST_LEAVES: usize = 4;
/// The most leaves that are asked for at once: as much as the kernel itself reads ahead at 4 KiB a page, twice over.
pub(super) const LEAVES_MAX: usize = 64;

/// Asks for children of `branch`, [`LEAVES_MAX`] at most.
pub(super) fn ask_for_children<P: Pages>(pages: &P, branch: &Branch<'_>, children: Range<usize>) {
    let mut asked = [Pgno::NONE; LEAVES_MAX];
    let mut len = 0;
    for (child, index) in asked.iter_mut().zip(children) {
        // A damaged entry is told of when the walk comes to it.
        let Ok(entry) = branch.entry(index) else { break };
        *child = entry.child;
        len += 1;
    }
    pages.will_need(&asked[..len]);
}

/// How far a walk has asked ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// How the walk goes; nothing before its first step.
    way: Option<Way>,
    /// How many leaves to ask for next.
    window: usize,
    /// The children of the branch, counted in the way of the walk, that have been asked for.
    asked: usize,
}

impl Ahead {
    /// Whether the walk has taken a step this way already.
    #[inline]
    pub(super) fn goes(&self, way: Way) -> bool {
        self.way == Some(way)
    }

    /// The walk has come to child `index` of `branch`, the parent of leaves; `is_new` if the leaf before had another parent.
    #[inline]
    pub(super) fn step<P: Pages>(&mut self, pages: &P, branch: &Branch<'_>, index: usize, way: Way, is_new: bool) {
        let len = branch.len();
        let done = 1 + match way {
            Way::Forward => index,
            Way::Back => len - 1 - index,
        };
        if self.way != Some(way) {
            *self = Ahead { way: Some(way), window: FIRST_LEAVES, asked: done };
        } else if is_new {
            self.asked = done;
        }
        if self.asked < len && self.asked <= done + self.window / 4 {
            self.ask(pages, branch, done, way);
        }
    }

    fn ask<P: Pages>(&mut self, pages: &P, branch: &Branch<'_>, done: usize, way: Way) {
        let from = self.asked.max(done);
        let to = (from + self.window).min(branch.len());
        ask_for_children(pages, branch, match way {
            Way::Forward => from..to,
            Way::Back => branch.len() - to..branch.len() - from,
        });
        self.asked = to;
        self.window = (2 * self.window).min(LEAVES_MAX);
    }
}
