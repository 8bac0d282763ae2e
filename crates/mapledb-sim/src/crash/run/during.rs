//! Who tries something while a sync is on its way: a reader begins, and the next writer tries to.

use std::sync::{Arc, MutexGuard, PoisonError};

use mapledb::{Durability, Error};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::readers::Held;
use super::{Run, io};
use crate::model::History;
use crate::recorder::Meanwhile;
use crate::verify::{Broken, holds, said};
use crate::workload::Transaction;

/// What was tried during syncs.
#[derive(Debug, Default)]
pub(super) struct Tried {
    reads: u64,
    /// Readers that stay.
    held: Vec<Held>,
    /// Writers that were let in.
    admitted: u64,
    /// The commits after one that was let in.
    history: Option<History>,
}

impl Run {
    /// How many readers began during syncs, and how many writers were let in.
    pub(super) fn tried_in_syncs(&self) -> (u64, u64) {
        let tried = self.tried();
        (tried.reads, tried.admitted)
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `act`, during whose syncs a reader begins and the next writer tries to; `in_flight` is the commit that it
    /// makes, and its level.
    pub(super) fn with_others<R>(
        &mut self,
        in_flight: Option<(usize, Durability)>,
        act: impl FnOnce() -> R,
    ) -> Result<R, Broken> {
        self.let_others(in_flight)?;
        let answer = act();
        self.others_are_over().map(|()| answer)
    }

    /// Has a reader and a writer try during syncs, perhaps; answers whether so.
    pub(super) fn let_others(&mut self, in_flight: Option<(usize, Durability)>) -> Result<bool, Broken> {
        // Whoever begins after a want of room begins with a sync, for which it would wait here for itself.
        let may_wait = in_flight.is_some_and(|(_, durability)| durability == Durability::Group);
        let lets = self.rng.random_ratio(1, 2) && !(may_wait && self.profile.quota_bytes.is_some());
        if lets {
            let others = self.others(in_flight)?;
            self.recorder.during_syncs(Some(others));
        }
        Ok(lets)
    }

    pub(super) fn others_are_over(&mut self) -> Result<(), Broken> {
        self.recorder.during_syncs(None);
        let mut tried = std::mem::take(&mut *self.tried());
        self.readers.held.append(&mut tried.held);
        if let Some(history) = tried.history.take() {
            self.history = history;
        }
        *self.tried() = tried;
        match self.recorder.take_broken() {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }

    fn others(&mut self, in_flight: Option<(usize, Durability)>) -> Result<Meanwhile, Broken> {
        let env = self.env()?.clone();
        let shown = self.recorder.bounds().acked;
        let mut history = self.history.clone();
        let (profile, tried) = (self.profile.clone(), Arc::clone(&self.tried));
        let (seed, mut rng) = (self.rng.random(), SmallRng::from_rng(&mut self.rng));
        Ok(Box::new(move |recorder| {
            let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
            let txn = env.read().map_err(said("a read cannot begin"))?;
            let commit = history.at(shown);
            if tried.history.is_none() && txn.txnid() != commit.txnid {
                // It is a commit of nothing that came after it, for the sake of room.
                match history.find(txn.txnid()) {
                    Some(at) if at != shown => {
                        return Err(format!("a reader sees commit {at}, and {shown} is published"));
                    }
                    _ => holds(&txn, &commit.state)?,
                }
            }
            tried.reads += 1;
            if tried.history.is_none() && rng.random_ratio(1, 4) {
                holds(&txn, &commit.state)?;
                tried.held.push(Held { txn, state: commit.state.clone(), index: shown });
            }
            recorder.note("during a sync, after a reader began").map_err(io("note"))?;
            let Some(mut txn) = env.try_write().map_err(said("a write cannot be tried"))? else {
                return recorder.note("during a sync, after a writer was refused").map_err(io("note"));
            };
            // Whoever is let in builds on the commit whose sync is on its way.
            tried.admitted += 1;
            let ordinal = tried.admitted;
            let base = in_flight.map_or(shown, |(index, _)| index);
            let base = &history.at(base.max(history.last())).state;
            let (transaction, state) = Transaction::draw(seed, ordinal, base, &profile);
            let txnid = txn.txnid();
            recorder.given_out(txnid);
            txn.durability(Durability::Sync);
            let mut between = || recorder.note("during a sync, between two changes of another");
            match transaction.perform(&mut txn, &mut between) {
                Err(Error::QuotaReached { .. }) => return Ok(()),
                done => done.map_err(said("a change during a sync"))?,
            }
            if in_flight.is_some_and(|(_, durability)| durability == Durability::Group) {
                // It may change what it likes meanwhile. Its commit would wait for this very sync.
                drop(txn);
                return recorder.note("during a sync, after another was given up").map_err(io("note"));
            }
            let index = history.push(txnid, state);
            recorder.commit_begins(&history, index);
            txn.commit().map_err(said("a commit during a sync"))?;
            recorder.commit_ends(index, true);
            tried.history = Some(history.clone());
            recorder.note("during a sync, after a commit").map_err(io("note"))
        }))
    }
}
