//! A set of pages that can go back to what it was.
//!
//! While a layer of dirty pages may be taken back every change is logged, and going back undoes them from the last one
//! on. So it costs what was changed, not what there is. A plain transaction logs nothing.

use std::fmt;
use std::ops::Deref;

use mapledb_format::{Extent, Pgno};

use super::Extents;

#[derive(Clone, Copy)]
enum Change {
    In(Extent),
    Out(Extent),
}

/// A set of pages, and how it became what it is.
#[derive(Default)]
pub(crate) struct Logged {
    set: Extents,
    /// Nothing while no layer stands.
    log: Option<Vec<Change>>,
}

impl Logged {
    /// Where the log stands, which begins if there is none.
    pub(super) fn mark(&mut self) -> usize {
        self.log.get_or_insert_default().len()
    }

    /// Undoes every change since `mark`.
    pub(super) fn go_back_to(&mut self, mark: usize) {
        let Some(log) = &mut self.log else { return };
        for change in log.drain(mark.min(log.len())..).rev() {
            match change {
                Change::In(extent) => self.set.remove(extent),
                Change::Out(extent) => {
                    self.set.insert(extent);
                }
            }
        }
    }

    /// Ends the log: nobody wants to go back any more.
    pub(super) fn forget(&mut self) {
        self.log = None;
    }

    #[inline]
    fn note(&mut self, change: Change) {
        if let Some(log) = &mut self.log {
            log.push(change);
        }
    }

    /// As [`Extents::insert`].
    pub(super) fn insert(&mut self, extent: Extent) -> bool {
        let is_new = self.set.insert(extent);
        if is_new {
            self.note(Change::In(extent));
        }
        is_new
    }

    /// As [`Extents::remove`].
    pub(super) fn remove(&mut self, extent: Extent) {
        self.set.remove(extent);
        self.note(Change::Out(extent));
    }

    /// As [`Extents::take_front`].
    pub(super) fn take_front(&mut self, first: Pgno, pages: u64) -> Option<Extent> {
        let taken = self.set.take_front(first, pages)?;
        self.note(Change::Out(taken));
        Some(taken)
    }

    /// As [`Extents::take_lowest`].
    pub(super) fn take_lowest(&mut self) -> Option<Pgno> {
        let page = self.set.take_lowest()?;
        self.note(Change::Out(Extent::new(page, 1)));
        Some(page)
    }
}

impl Deref for Logged {
    type Target = Extents;

    fn deref(&self) -> &Extents {
        &self.set
    }
}

impl From<Extents> for Logged {
    fn from(set: Extents) -> Logged {
        Logged { set, log: None }
    }
}

impl FromIterator<Extent> for Logged {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Logged {
        Extents::from_iter(extents).into()
    }
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn a_set_goes_back_to_what_it_was_at_any_mark() {
        let mut rng = SmallRng::seed_from_u64(5);
        for _ in 0..200 {
            let mut set = Logged::default();
            let mut marks = Vec::new();
            for _ in 0..rng.random_range(1..60) {
                let first = Pgno::new(rng.random_range(1..80)).unwrap();
                match rng.random_range(0..6) {
                    0 => marks.push((set.mark(), set.set.clone())),
                    1 => drop(set.take_lowest()),
                    2 => {
                        if let Some(run) = set.longest() {
                            set.take_front(run.first, rng.random_range(1..4));
                        }
                    }
                    _ => drop(set.insert(Extent::new(first, rng.random_range(1..6)))),
                }
            }
            if !marks.is_empty() {
                let (mark, was) = marks.swap_remove(rng.random_range(0..marks.len()));
                set.go_back_to(mark);
                assert_eq!(set.set, was);
            }
        }
    }
}
