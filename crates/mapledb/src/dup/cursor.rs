//! A place at a pair, and every move from it.

use super::place::{Among, PairPlace};
use super::read::{Chunks, Form, PairBound, Pairs, pass};
use crate::error::Result;
use crate::pages::Pages;
use crate::tree::{KeyOrder, Pair, PairOrder, Tree, Way};

/// A place at a pair of a multimap, or at none. The gap of `pairs` is before the pair it is at.
pub(crate) struct PairCursor<'p, P> {
    pairs: Pairs<'p, P>,
    current: Option<Pair<'p>>,
}

impl<'p, P: Pages> PairCursor<'p, P> {
    /// A cursor at no pair of `tree`, whose duplicates are in order `duplicates`.
    pub(crate) fn new(tree: Tree<'p, P, KeyOrder>, duplicates: KeyOrder) -> PairCursor<'p, P> {
        PairCursor { pairs: Pairs::new(tree, duplicates), current: None }
    }

    /// The orders of keys and duplicates.
    pub(crate) fn order(&self) -> PairOrder {
        self.pairs.order
    }

    /// The pair the cursor is at.
    pub(crate) fn current(&self) -> Option<Pair<'p>> {
        self.current
    }

    fn settle(&mut self) -> Result<Option<Pair<'p>>> {
        self.current = self.pairs.peek()?;
        Ok(self.current)
    }

    fn settle_back(&mut self) -> Result<Option<Pair<'p>>> {
        self.current = self.pairs.back()?;
        Ok(self.current)
    }

    /// Goes to the first pair.
    pub(crate) fn first(&mut self) -> Result<Option<Pair<'p>>> {
        self.pairs.edge(Way::Forward)?;
        self.settle()
    }

    /// Goes to the last pair.
    pub(crate) fn last(&mut self) -> Result<Option<Pair<'p>>> {
        self.pairs.edge(Way::Back)?;
        self.settle_back()
    }

    /// Goes to the next pair; the first if the cursor has not moved yet.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_some() {
            self.pairs.skip();
            return self.settle();
        }
        if self.pairs.keys.spot.is_none() { self.first() } else { Ok(None) }
    }

    /// Goes to the previous pair; the last if the cursor was at none.
    pub(crate) fn previous(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_some() { self.settle_back() } else { self.last() }
    }

    /// Goes to the next pair of the same key. If there is none the cursor stays where it is.
    pub(crate) fn next_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        let (Some((key, _)), Some(set)) = (self.current, &mut self.pairs.set) else { return Ok(None) };
        set.skip();
        match set.peek()? {
            Some(dup) => self.current = Some((key, dup)),
            None => {
                set.back()?;
                return Ok(None);
            }
        }
        Ok(self.current)
    }

    /// Goes to the previous pair of the same key. If there is none the cursor stays where it is.
    pub(crate) fn previous_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        let (Some((key, _)), Some(set)) = (self.current, &mut self.pairs.set) else { return Ok(None) };
        let Some(dup) = set.back()? else { return Ok(None) };
        self.current = Some((key, dup));
        Ok(self.current)
    }

    /// Goes to the first pair of the same key.
    pub(crate) fn first_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        match (self.current, &mut self.pairs.set) {
            (Some(_), Some(set)) => set.edge(Way::Forward)?,
            _ => return Ok(None),
        }
        self.settle()
    }

    /// Goes to the last pair of the same key.
    pub(crate) fn last_in_key(&mut self) -> Result<Option<Pair<'p>>> {
        match (self.current, &mut self.pairs.set) {
            (Some(_), Some(set)) => set.edge(Way::Back)?,
            _ => return Ok(None),
        }
        self.settle_back()
    }

    /// Goes to the first pair of the next key; to the first of all if the cursor has not moved yet.
    pub(crate) fn next_key(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_none() {
            return self.next();
        }
        self.pairs.leave_key();
        self.settle()
    }

    /// Goes to the last pair of the previous key; to the last of all if the cursor was at none.
    pub(crate) fn previous_key(&mut self) -> Result<Option<Pair<'p>>> {
        if self.current.is_none() {
            return self.last();
        }
        self.pairs.set = None;
        self.settle_back()
    }

    /// Goes to the first pair of `key`; at none if it has none.
    pub(crate) fn seek_key(&mut self, key: &[u8]) -> Result<Option<Pair<'p>>> {
        let is_there = self.pairs.seek_key(key)?;
        self.settle_if(is_there)
    }

    /// Goes to the last pair of `key`; at none if it has none.
    pub(crate) fn seek_key_last(&mut self, key: &[u8]) -> Result<Option<Pair<'p>>> {
        let is_there = self.seek_key(key)?.is_some();
        if is_there { self.last_in_key() } else { Ok(None) }
    }

    /// Goes to a pair; at none if it is not there.
    pub(crate) fn seek(&mut self, key: &[u8], dup: &[u8]) -> Result<Option<Pair<'p>>> {
        let is_there = self.pairs.seek(key, dup)?;
        self.settle_if(is_there)
    }

    fn settle_if(&mut self, is_there: bool) -> Result<Option<Pair<'p>>> {
        if is_there {
            return self.settle();
        }
        self.current = None;
        Ok(None)
    }

    /// Goes to the first pair that is not before `bound` (`inclusive`), or that is behind it.
    pub(crate) fn seek_from(&mut self, bound: PairBound<'_>, inclusive: bool) -> Result<Option<Pair<'p>>> {
        pass(&mut self.pairs, bound, !inclusive)?;
        self.settle()
    }

    /// Goes to the last pair that is not behind `bound` (`inclusive`), or that is before it.
    pub(crate) fn seek_to(&mut self, bound: PairBound<'_>, inclusive: bool) -> Result<Option<Pair<'p>>> {
        pass(&mut self.pairs, bound, inclusive)?;
        self.settle_back()
    }

    /// Where the pair is that the cursor is at.
    pub(crate) fn place(&self) -> Option<PairPlace> {
        let (_, set) = self.current.zip(self.pairs.set.as_ref())?;
        let spot = self.pairs.keys.spot.as_ref()?;
        let among = match &set.form {
            Form::One { .. } => Among::Alone,
            Form::Many(path) => {
                let within = path.spot.as_ref()?;
                match path.is_in_sub_page() {
                    true => Among::SubPage(within.index),
                    false => Among::Leaf(within.at, within.index),
                }
            }
        };
        Some(PairPlace { leaf: spot.at, slot: spot.index, among })
    }

    /// Goes to the pair that has `n` before it.
    pub(crate) fn seek_nth(&mut self, n: u64) -> Result<Option<Pair<'p>>> {
        self.pairs.nth(n)?;
        self.settle()
    }

    /// How many pairs the key has that the cursor is at.
    pub(crate) fn count_in_key(&self) -> u64 {
        match (self.current, &self.pairs.set) {
            (Some(_), Some(set)) => set.len(),
            _ => 0,
        }
    }

    /// How many pairs are before the one the cursor is at.
    pub(crate) fn rank(&self) -> Result<u64> {
        self.pairs.rank()
    }

    /// The duplicates of the key that the cursor is at, a page at a time.
    pub(crate) fn chunks(&self) -> Result<Chunks<'p, P>> {
        match self.current {
            Some(_) => Ok(Chunks::of(self.pairs.set_here(Way::Forward)?)),
            None => Ok(Chunks::none()),
        }
    }
}
