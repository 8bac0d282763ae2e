//! A set of pages as extents that never touch: pure bookkeeping, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use mapledb_format::{Extent, Pgno};

/// A set of pages. Neighbours are one extent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    /// First page to number of pages.
    runs: BTreeMap<u64, u64>,
    /// Number of pages and first page, to find a run by its size.
    by_size: BTreeSet<(u64, u64)>,
    pages: u64,
}

impl Extents {
    /// The set of extents that ascend and do not overlap.
    ///
    /// Cost: a fraction of that of as many insertions.
    pub(crate) fn of_ascending(extents: &[Extent]) -> Extents {
        let mut runs: Vec<(u64, u64)> = Vec::with_capacity(extents.len());
        for extent in extents {
            match runs.last_mut() {
                Some((first, pages)) if *first + *pages == extent.first.get() => *pages += extent.pages,
                _ => runs.push((extent.first.get(), extent.pages)),
            }
        }
        let by_size = runs.iter().map(|&(first, pages)| (pages, first)).collect();
        let pages = runs.iter().map(|(_, pages)| pages).sum();
        Extents { runs: runs.into_iter().collect(), by_size, pages }
    }

    /// How many pages the set holds.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// How many extents the set takes.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The extents, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Extent> {
        self.runs.iter().filter_map(|(&first, &pages)| Some(Extent::new(Pgno::new(first)?, pages)))
    }

    /// Adds pages, none of which the set holds; answers whether that was so. If not, nothing changes.
    pub(crate) fn insert(&mut self, extent: Extent) -> bool {
        let (mut first, mut end) = (extent.first.get(), extent.end());
        let before = self.runs.range(..=first).next_back().map(|(&at, &pages)| (at, at + pages));
        let after = self.runs.range(first..).next().map(|(&at, &pages)| (at, at + pages));
        if before.is_some_and(|(_, before_end)| before_end > first) || after.is_some_and(|(at, _)| at < end) {
            return false;
        }
        if let Some((at, before_end)) = before
            && before_end == first
        {
            self.remove_run(at);
            first = at;
        }
        if let Some((at, after_end)) = after
            && at == end
        {
            self.remove_run(at);
            end = after_end;
        }
        self.insert_run(first, end - first);
        self.pages += extent.pages;
        true
    }

    fn insert_run(&mut self, first: u64, pages: u64) {
        self.runs.insert(first, pages);
        self.by_size.insert((pages, first));
    }

    fn remove_run(&mut self, first: u64) -> Option<u64> {
        let pages = self.runs.remove(&first)?;
        self.by_size.remove(&(pages, first));
        Some(pages)
    }

    /// Takes the first `pages` of the extent that begins at `first`.
    pub(crate) fn take_front(&mut self, first: Pgno, pages: u64) -> Option<Extent> {
        let held = self.remove_run(first.get())?;
        let taken = pages.min(held);
        if taken < held {
            self.insert_run(first.get() + taken, held - taken);
        }
        self.pages -= taken;
        Some(Extent::new(first, taken))
    }

    /// Takes pages out, all of which the set holds.
    pub(crate) fn remove(&mut self, extent: Extent) {
        let (first, end) = (extent.first.get(), extent.end());
        let Some((&at, &pages)) = self.runs.range(..=first).next_back() else { return };
        debug_assert!(end <= at + pages, "{extent:?} is not in the set");
        self.remove_run(at);
        if at < first {
            self.insert_run(at, first - at);
        }
        if end < at + pages {
            self.insert_run(end, at + pages - end);
        }
        self.pages -= extent.pages;
    }

    /// Takes the lowest page.
    pub(crate) fn take_lowest(&mut self) -> Option<Pgno> {
        let (&first, _) = self.runs.first_key_value()?;
        self.take_front(Pgno::new(first)?, 1).map(|page| page.first)
    }

    /// The lowest page.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.runs.first_key_value().map(|(&first, _)| first)
    }

    /// The extent of at least `pages` that begins lowest.
    ///
    /// Cost: a look at each extent before it.
    pub(crate) fn lowest_fit(&self, pages: u64) -> Option<Extent> {
        self.iter().find(|extent| extent.pages >= pages)
    }

    /// The extent that begins at `first`.
    pub(crate) fn run_at(&self, first: Pgno) -> Option<Extent> {
        self.runs.get(&first.get()).map(|&pages| Extent::new(first, pages))
    }

    /// The shortest extent of at least `pages`.
    pub(crate) fn best_fit(&self, pages: u64) -> Option<Extent> {
        self.by_size.range((pages, 0)..).next().and_then(sized)
    }

    /// The longest extent.
    pub(crate) fn longest(&self) -> Option<Extent> {
        self.by_size.last().and_then(sized)
    }

    /// The extent with the largest page numbers.
    pub(crate) fn last(&self) -> Option<Extent> {
        self.iter().next_back()
    }

    /// Whether the set holds all of `extent`.
    pub(crate) fn holds(&self, extent: &Extent) -> bool {
        let before = self.runs.range(..=extent.first.get()).next_back();
        before.is_some_and(|(&at, &pages)| extent.end() <= at + pages)
    }

    /// The pages that this set and `other` both hold.
    pub(crate) fn both(&self, other: &Extents) -> Extents {
        let alone: Extents = self.without(other).into_iter().collect();
        self.without(&alone).into_iter().collect()
    }

    /// The pages of this set that `other` does not hold, ascending.
    pub(crate) fn without(&self, other: &Extents) -> Vec<Extent> {
        let mut left = Vec::new();
        for extent in self.iter() {
            let mut first = extent.first.get();
            let overlapping = other.runs.range(..extent.end()).rev().take_while(|(at, pages)| *at + *pages > first);
            let mut holes: Vec<(u64, u64)> = overlapping.map(|(&at, &pages)| (at, at + pages)).collect();
            holes.reverse();
            for (hole, hole_end) in holes {
                push(&mut left, first, hole);
                first = first.max(hole_end);
            }
            push(&mut left, first, extent.end());
        }
        left
    }
}

impl FromIterator<Extent> for Extents {
    /// The set of extents that have no page in common.
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Extents {
        let mut set = Extents::default();
        for extent in extents {
            set.insert(extent);
        }
        set
    }
}

fn sized(&(pages, first): &(u64, u64)) -> Option<Extent> {
    Pgno::new(first).map(|first| Extent::new(first, pages))
}

fn push(to: &mut Vec<Extent>, first: u64, end: u64) {
    if first < end
        && let Some(pgno) = Pgno::new(first)
    {
        to.push(Extent::new(pgno, end - first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeSet;

    fn extent(first: u64, pages: u64) -> Extent {
        Extent::new(Pgno::new(first).unwrap(), pages)
    }

    fn halves(whole: &Extent) -> Vec<Extent> {
        let (first, left) = (whole.first.get(), whole.pages / 2);
        let halves = [extent(first, left), extent(first + left, whole.pages - left)];
        halves.into_iter().filter(|half| half.pages > 0).collect()
    }

    #[test]
    fn extents_are_a_set_of_pages_whatever_the_order() {
        let mut rng = SmallRng::seed_from_u64(7);
        for _ in 0..200 {
            let mut set = Extents::default();
            let mut other = Extents::default();
            let (mut model, mut other_model) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..60 {
                let piece = extent(rng.random_range(1..100), rng.random_range(1..6));
                let (set, model) =
                    if rng.random() { (&mut set, &mut model) } else { (&mut other, &mut other_model) };
                let free = (piece.first.get()..piece.end()).all(|page| !model.contains(&page));
                assert_eq!(set.insert(piece), free);
                if free {
                    model.extend(piece.first.get()..piece.end());
                }
                if rng.random_ratio(1, 4)
                    && let Some(best) = set.best_fit(3)
                {
                    let taken = set.take_front(best.first, 2).unwrap();
                    (taken.first.get()..taken.end()).for_each(|page| assert!(model.remove(&page)));
                }
                assert_eq!(set.pages(), model.len() as u64);
                let listed: Vec<u64> = set.iter().flat_map(|e| e.first.get()..e.end()).collect();
                assert_eq!(listed, model.iter().copied().collect::<Vec<_>>());
                assert!(set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end() < b.first.get()));
                let halves: Vec<_> = set.iter().flat_map(|e| halves(&e)).collect();
                assert_eq!(*set, Extents::of_ascending(&halves));
            }
            let without: Vec<u64> =
                set.without(&other).iter().flat_map(|e| e.first.get()..e.end()).collect();
            assert_eq!(without, model.difference(&other_model).copied().collect::<Vec<_>>());
            let both: Vec<u64> = set.both(&other).iter().flat_map(|e| e.first.get()..e.end()).collect();
            assert_eq!(both, model.intersection(&other_model).copied().collect::<Vec<_>>());
        }
    }
}
