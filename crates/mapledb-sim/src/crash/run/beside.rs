//! Another process beside the one of a session: what it does to the model, and what is found after its death.

use std::path::Path;
use std::sync::Arc;

use mapledb::{Durability, Env};
use mapledb_os::Observer;
use rand::Rng;

use super::super::second::{self, Second, Told};
use super::{Run, io};
use crate::model::{Bounds, State};
use crate::verify::{Broken, checks_clean, holds, holds_or_fails, said};
use crate::workload::Transaction;

/// How far a second process is.
#[derive(Debug, Default)]
struct Other {
    drawn: Option<(Transaction, State)>,
    txnid: u64,
    committing: Option<(usize, bool)>,
    /// Whether nobody else can have looked at what it is committing.
    is_unseen: bool,
    /// Whether it has relaxed commits that it has not synced.
    owes: bool,
}

impl Other {
    /// The next transaction of a run is its.
    fn drawn(run: &mut Run) -> Other {
        let base = &run.history.at(run.history.last()).state;
        let drawn = Transaction::draw(run.seed, run.ordinal, base, &run.profile);
        run.ordinal += 1;
        Other { drawn: Some(drawn), ..Other::default() }
    }
}

impl Run {
    /// Has another process work on the file for a while, and perhaps die at its work; then takes over from it. Answers
    /// whether it died.
    pub(in super::super) fn beside_another(&mut self, exe: &Path) -> Result<bool, Broken> {
        let orders =
            second::Orders { path: self.path.clone(), seed: self.seed, profile: self.profile.clone() };
        let mut second = Second::start(exe, orders).map_err(io("start a second process"))?;
        let mut transactions = self.rng.random_range(1..4);
        let mut until_death = self.rng.random_ratio(3, 4).then(|| self.rng.random_range(0..50));
        let mut other = Other::default();
        loop {
            let told = second.listen().map_err(io("listen to a second process"))?;
            self.heed(&told, &mut other).map_err(|broken| format!("a second process: {broken}"))?;
            if until_death == Some(0) {
                second.die().map_err(io("a second process"))?;
                self.recorder.cut_syncs_off();
                self.others_are_over()?;
                self.take_over()?;
                return Ok(true);
            }
            until_death = until_death.map(|more: u32| more - 1);
            let word = match told {
                Told::Closed => break,
                Told::Idle if transactions > 0 => {
                    transactions -= 1;
                    other = Other { owes: other.owes, ..Other::drawn(self) };
                    format!("transact {}", self.ordinal - 1)
                }
                Told::Idle => "close".to_string(),
                _ => "go".to_string(),
            };
            second.answer(&word).map_err(io("a second process"))?;
        }
        second.answer("go").map_err(io("a second process"))?;
        if other.owes {
            // Who leaves syncs what it owes.
            self.recorder.all_durable();
        }
        self.recorder.note("after a second process has closed").map_err(io("note"))?;
        Ok(false)
    }

    /// Takes note of what a second process does.
    fn heed(&mut self, told: &Told, other: &mut Other) -> Result<(), Broken> {
        let known = |act: &second::Act| act.effect().ok_or_else(|| format!("an unknown effect: {act:?}"));
        match told {
            Told::Before(act) => self.recorder.before(&known(act)?).map_err(io("before an effect"))?,
            Told::After(act, ok) => self.recorder.after(&known(act)?, *ok),
            Told::Began(txnid) => {
                if *txnid <= self.recorder.bounds().txnid_max {
                    return Err(format!("transaction {txnid} is given out a second time"));
                }
                self.recorder.given_out(*txnid);
                self.know_head()?;
                other.txnid = *txnid;
            }
            Told::Between => self.recorder.note("between two changes of another").map_err(io("note"))?,
            Told::Ready => {
                let (transaction, state) = other.drawn.take().ok_or("it has nothing to commit")?;
                let durability = transaction.durability;
                let is_durable = durability != Durability::Relaxed;
                let index = self.history.push(other.txnid, state);
                self.recorder.commit_begins(&self.history, index);
                if !is_durable {
                    self.recorder.may_be_seen(index);
                }
                other.committing = Some((index, is_durable));
                other.is_unseen = !self.let_others(Some((index, durability)))?;
            }
            Told::Committed(txnid) => {
                let (index, is_durable) =
                    other.committing.take().ok_or("it did not say that it would commit")?;
                self.others_are_over()?;
                if *txnid == other.txnid {
                    self.recorder.commit_ends(index, is_durable);
                    other.owes |= !is_durable;
                    if other.is_unseen {
                        let state = self.history.at(index).state.clone();
                        self.flip(&state)?;
                    }
                } else {
                    self.forget(index);
                }
                self.recorder.note("after a commit of another").map_err(io("note"))?;
            }
            Told::GaveUp => {
                self.others_are_over()?;
                if let Some((index, _)) = other.committing.take() {
                    self.forget(index);
                }
                self.recorder.note("after an abort of another").map_err(io("note"))?;
            }
            Told::Failed(why) => return Err(why.clone()),
            Told::Idle | Told::Closed => {}
        }
        Ok(())
    }

    /// A commit did not come to be.
    pub(super) fn forget(&mut self, index: usize) {
        self.history.truncate_after(index - 1);
        let bounds = self.recorder.bounds();
        self.recorder.set_law(&self.history, Bounds { reached: bounds.acked, ..bounds });
    }

    /// After another's death: this one writes next. What was acknowledged is there, and nothing half done.
    fn take_over(&mut self) -> Result<(), Broken> {
        self.recorder.note("after the death of another").map_err(io("note"))?;
        let env = self.env()?.clone();
        let txn = env.try_write().map_err(said("after the death of another"))?;
        let txnid = txn.ok_or("the writer lock is not to be had after the death of another")?.txnid();
        let bounds = self.recorder.bounds();
        if txnid <= bounds.txnid_max {
            return Err(format!("after a death transaction {txnid} is given out a second time"));
        }
        self.recorder.given_out(txnid);
        // What the dead one had appended and nobody has made durable yet, the next writer builds on, and readers do not see.
        env.sync().map_err(said("a barrier after the death of another"))?;
        let bounds = self.recorder.bounds();
        let found = self.found_after_death(&env, &bounds).map_err(|b| format!("after a death: {b}"))?;
        self.history.truncate_after(found);
        self.recorder.set_law(&self.history, Bounds::exactly(found, bounds.txnid_max));
        self.recorder.note("after taking over").map_err(io("note"))
    }

    /// The commit that is published after another's death, or whose state is: a commit of nothing may have come after it,
    /// for the sake of room.
    fn found_after_death(&self, env: &Env, bounds: &Bounds) -> Result<usize, Broken> {
        let txn = env.read().map_err(said("a read cannot begin"))?;
        let found = match self.history.find(txn.txnid()) {
            Some(index) if (bounds.acked..=bounds.reached).contains(&index) => index,
            Some(index) => return Err(format!("commit {index} is published, where {bounds:?} is the law")),
            None => {
                let is_it = |index: &usize| holds(&txn, &self.history.at(*index).state).is_ok();
                (bounds.acked..=bounds.reached).rev().find(is_it).unwrap_or(bounds.acked)
            }
        };
        holds(&txn, &self.history.at(found).state)?;
        checks_clean(env)?;
        Ok(found)
    }

    /// Flips a bit of what another process's commit has stored, which nobody has read here: reading it is refused, or does no harm.
    fn flip(&mut self, state: &State) -> Result<(), Broken> {
        let env = self.env()?.clone();
        let recorder = Arc::clone(&self.recorder);
        let look = || {
            let txn = env.read().map_err(said("a read cannot begin"))?;
            holds_or_fails(&txn, state).map(drop)
        };
        let flipped = recorder.with_a_flipped_bit(&mut self.rng, look).map_err(io("flip a bit"))??;
        self.flips += u64::from(flipped);
        Ok(())
    }
}
