//! Readers that stay while commits go on: held, parked, brought back and evicted.
//!
//! One that is held shows what it showed at first, whoever is evicted meanwhile. One that is parked comes back to the same,
//! unless it was evicted: by the session, which knows of it, or by a writer that found it too far behind. How far that is
//! at least is known from the commits, and at most from the numbers of transactions, so that both the eviction that
//! should have been and the one that should not are told.

use mapledb::{Error, ParkedTxn, ReadTxn};
use rand::Rng;

use super::Run;
use crate::model::State;
use crate::verify::{Broken, holds, said};

/// A reader, and what it must show.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) txn: ReadTxn,
    pub(super) state: State,
    /// The commit whose state that is.
    pub(super) index: usize,
}

impl Held {
    fn holds(&self, when: &str) -> Result<(), Broken> {
        holds(&self.txn, &self.state).map_err(|broken| format!("a reader {when}: {broken}"))
    }
}

/// A reader that is parked.
#[derive(Debug)]
struct Parked {
    txn: ParkedTxn,
    state: State,
    index: usize,
    /// Whether it has been evicted for certain.
    is_gone: bool,
}

/// Every reader that stays.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) held: Vec<Held>,
    parked: Vec<Parked>,
    /// How many were parked.
    pub(super) parkings: u64,
    /// How many of them were told that they had been evicted.
    pub(super) evictions: u64,
}

impl Readers {
    /// All of them go, whatever they show.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.parked.clear();
    }

    /// A writer has begun, when `acked` was the last commit: who is parked and too far behind is gone.
    pub(super) fn writer_begins(&mut self, acked: usize, behind_max: Option<u64>) {
        let Some(max) = behind_max else { return };
        for parked in &mut self.parked {
            parked.is_gone |= acked.saturating_sub(parked.index) as u64 > max;
        }
    }
}

impl Run {
    /// Now and then one of the readers that stay is looked at, parked or brought back, or the parked are evicted.
    pub(super) fn look_at_readers(&mut self) -> Result<(), Broken> {
        match self.rng.random_range(0..12) {
            0..5 => self.look_at_held(),
            5..8 => self.bring_one_back(),
            8..10 => self.evict_parked(),
            _ => Ok(()),
        }
    }

    /// A held reader shows what it showed at first; then it goes, moves on to what is published now, or is parked.
    fn look_at_held(&mut self) -> Result<(), Broken> {
        if self.readers.held.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.readers.held.len());
        let mut held = self.readers.held.swap_remove(at);
        held.holds("that was held")?;
        match self.rng.random_range(0..12) {
            0 => drop(held.txn.refresh().map_err(said("a reader cannot move on"))?),
            1 => held.txn = held.txn.reset().renew().map_err(said("a reader cannot begin anew"))?,
            2..11 => return self.park(held),
            _ => return Ok(()),
        }
        held.index = self.recorder.bounds().acked;
        held.state = self.history.at(held.index).state.clone();
        held.holds("that has moved on")?;
        self.readers.held.push(held);
        Ok(())
    }

    fn park(&mut self, held: Held) -> Result<(), Broken> {
        let Held { txn, state, index } = held;
        let txn = txn.park().map_err(said("a reader cannot be parked"))?;
        self.readers.parkings += 1;
        self.readers.parked.push(Parked { txn, state, index, is_gone: false });
        Ok(())
    }

    fn bring_one_back(&mut self) -> Result<(), Broken> {
        if self.readers.parked.is_empty() {
            return Ok(());
        }
        let at = self.rng.random_range(0..self.readers.parked.len());
        let parked = self.readers.parked.swap_remove(at);
        let back = self.bring_back(parked)?;
        self.readers.held.extend(back);
        Ok(())
    }

    /// A parked reader comes back to what it showed, or is told that it was evicted.
    fn bring_back(&mut self, parked: Parked) -> Result<Option<Held>, Broken> {
        let Parked { txn, state, index, is_gone } = parked;
        let txnid = txn.txnid();
        let published = self.env()?.read().map_err(said("a read cannot begin"))?.txnid();
        // No more heads were published since than numbers were given out.
        let may_be_gone = self.profile.behind_max.is_some_and(|max| published.saturating_sub(txnid) > max);
        match txn.unpark() {
            Ok(_) if is_gone => Err(format!("a reader of {txnid} is brought back, and was evicted")),
            Ok(txn) => {
                let held = Held { txn, state, index };
                held.holds("that was parked")?;
                Ok(Some(held))
            }
            Err(Error::Evicted { txnid: told }) if told == txnid && (is_gone || may_be_gone) => {
                self.readers.evictions += 1;
                Ok(None)
            }
            Err(error) => Err(format!("a reader of {txnid} that was parked: {error}")),
        }
    }

    /// The parked go, or those of them with such a number; nobody else does.
    fn evict_parked(&mut self) -> Result<(), Broken> {
        let which = self.rng.random_range(0..3);
        let is_chosen = |txnid: u64| which == 2 || txnid % 2 == which;
        let answer = self.env()?.evict_parked(|reader| is_chosen(reader.txnid));
        let evicted = answer.map_err(said("readers cannot be evicted"))?;
        let mut expected = 0;
        for parked in &mut self.readers.parked {
            let goes = is_chosen(parked.txn.txnid());
            expected += usize::from(goes && !parked.is_gone);
            parked.is_gone |= goes;
        }
        // A writer may have been there before.
        let least = if self.profile.behind_max.is_some() { 0 } else { expected };
        if !(least..=expected).contains(&evicted) {
            return Err(format!("{evicted} readers were evicted, and {expected} were parked"));
        }
        self.readers.held.iter().try_for_each(|held| held.holds("beside one that was evicted"))
    }

    /// Each of them shows what it should, for the last time.
    pub(super) fn let_readers_go(&mut self) -> Result<(), Broken> {
        if self.rng.random() {
            self.evict_parked()?;
        }
        for parked in std::mem::take(&mut self.readers.parked) {
            drop(self.bring_back(parked)?);
        }
        self.readers.held.drain(..).try_for_each(|held| held.holds("that was held"))
    }
}
