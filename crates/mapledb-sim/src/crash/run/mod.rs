//! One environment under watch, with its model: what a session does to it, and what the answers must be.

mod beside;
mod during;
mod readers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mapledb::{Defragment, Durability, Env, Error, Options, ReadTxn, WriteTxn};
use mapledb_os::Seam;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::during::Tried;
use self::readers::{Held, Readers};
use super::{Counts, io, open};
use crate::actor::options;
use crate::disk::Disk;
use crate::model::{Bounds, History};
use crate::recorder::Recorder;
use crate::verify::{Broken, holds, holds_or_fails, law, said};
use crate::workload::{self, Profile, Transaction};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    SyncFailed,
}

/// One environment under watch, with its model.
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) recorder: Arc<Recorder>,
    env: Option<Env>,
    history: History,
    readers: Readers,
    pub(super) profile: Profile,
    /// The seed of its transactions, and the ordinal of the next.
    seed: u64,
    ordinal: u64,
    pub(super) rng: SmallRng,
    tried: Arc<Mutex<Tried>>,
    flips: u64,
}

impl Run {
    pub(super) fn new(
        path: PathBuf,
        disk: Disk,
        history: History,
        bounds: Bounds,
        profile: Profile,
        rng: &mut SmallRng,
    ) -> Result<Run, Broken> {
        let recorder = Recorder::new(&path, disk, history.clone(), bounds).map_err(io("watch the file"))?;
        Ok(Run {
            path,
            recorder,
            env: None,
            history,
            readers: Readers::default(),
            profile,
            seed: rng.random(),
            ordinal: 0,
            rng: SmallRng::from_rng(rng),
            tried: Arc::default(),
            flips: 0,
        })
    }

    /// Adds what was counted.
    pub(super) fn tell(&self, counts: &mut Counts) {
        let (reads, writers) = self.tried_in_syncs();
        counts.reads_in_syncs += reads;
        counts.writers_in_syncs += writers;
        counts.flips += self.flips;
        counts.parkings += self.readers.parkings;
        counts.evictions += self.readers.evictions;
    }

    /// The kernel evicts what the failed sync left clean while readers look on: each sees what it saw, or an error; and
    /// nothing happens to what is durable.
    pub(super) fn evict_beside_readers(&mut self) -> Result<(), Broken> {
        self.recorder.commit_is_over();
        let bounds = self.recorder.bounds();
        self.recorder.evict(&mut self.rng).map_err(io("evict"))?;
        let evicted = |broken| format!("after an eviction under an open environment: {broken}");
        let txn = self.env()?.read().map_err(said("a read cannot begin"))?;
        let state = &self.history.at(bounds.acked).state;
        if !holds_or_fails(&txn, state).map_err(evicted)? && bounds.acked == bounds.durable {
            return Err("the durable snapshot cannot be read after an eviction".to_string());
        }
        for Held { txn, state, .. } in &self.readers.held {
            holds_or_fails(txn, state).map_err(evicted)?;
        }
        self.recorder.note("after an eviction").map_err(io("note"))
    }

    pub(super) fn watched(&self) -> Options {
        options(&self.profile).seam(Seam::watched(Arc::clone(&self.recorder) as Arc<_>))
    }

    pub(super) fn open(&mut self) -> Result<mapledb::Recovery, Broken> {
        let env = open(&self.path, self.watched()).map_err(said("opening"))?;
        let bounds = self.recorder.bounds();
        let (found, stands) = law(&env, &self.history, &bounds)?;
        self.history.truncate_after(found);
        self.history.renumber(found, stands);
        let txnid_max = bounds.txnid_max.max(stands);
        self.recorder.set_law(&self.history, Bounds::exactly(found, txnid_max));
        self.recorder.note("after opening").map_err(io("note"))?;
        let recovery = env.recovery().clone();
        self.env = Some(env);
        Ok(recovery)
    }

    fn env(&self) -> Result<&Env, Broken> {
        self.env.as_ref().ok_or_else(|| "the environment is not open".to_string())
    }

    /// Syncs what is relaxed.
    pub(super) fn sync(&mut self) -> Result<Fate, Broken> {
        let env = self.env()?.clone();
        let answer = self.with_others(None, || env.sync())?;
        drop(env);
        self.outcome(answer, |recorder| recorder.all_durable())
    }

    /// Gives free space back to the file system.
    pub(super) fn trim(&mut self) -> Result<Fate, Broken> {
        let env = self.env()?.clone();
        let answer = self.with_others(None, || env.trim())?;
        drop(env);
        self.know_head()?;
        match answer {
            Err(Error::QuotaReached { .. }) => self.outcome(Ok(()), |_| ()),
            answer => self.outcome(answer.map(drop), |recorder| recorder.all_durable()),
        }
    }

    /// Moves what lies at the end of the file, within limits.
    pub(super) fn pack(&mut self) -> Result<Fate, Broken> {
        let env = self.env()?.clone();
        let options = Defragment::default()
            .batch_pages(self.rng.random_range(1..60))
            .transactions_max(self.rng.random_range(1..6))
            .trim(self.rng.random_ratio(1, 3));
        let answer = self.with_others(None, || env.defragment(&options, |_| true))?;
        drop(env);
        self.know_head()?;
        match answer {
            Err(Error::QuotaReached { .. }) => self.outcome(Ok(()), |_| ()),
            answer => self.outcome(answer.map(drop), |recorder| recorder.all_durable()),
        }
    }

    /// The engine commits nothing now and then, by itself: for the sake of room, to mark it, or to move pages. What is published then is
    /// the last commit under another number.
    fn know_head(&mut self) -> Result<(), Broken> {
        let head = self.env()?.read().map_err(said("a read cannot begin"))?.txnid();
        if self.history.find(head).is_none() {
            self.history.also(head..=head);
            let bounds = self.recorder.bounds();
            self.recorder.set_law(&self.history, Bounds { txnid_max: head.max(bounds.txnid_max), ..bounds });
        }
        Ok(())
    }

    fn outcome(&mut self, answer: mapledb::Result<()>, well: impl FnOnce(&Recorder)) -> Result<Fate, Broken> {
        let failed = self.recorder.stop_failing();
        match answer {
            Ok(()) if failed => Err("a sync failed, and nobody was told".to_string()),
            Ok(()) => {
                well(&self.recorder);
                Ok(Fate::Well)
            }
            Err(Error::Indeterminate { .. } | Error::SyncFailed { .. } | Error::Os(_)) if failed => {
                Ok(Fate::SyncFailed)
            }
            // A write that began with a commit of nothing, for the sake of room, and found that it could not.
            Err(Error::Poisoned { .. }) if failed => Ok(Fate::SyncFailed),
            Err(error) => Err(format!("an unexpected error: {error}")),
        }
    }

    /// A transaction, or some in a row that keep the writer lock.
    pub(super) fn transact(&mut self) -> Result<Fate, Broken> {
        self.look_at_readers()?;
        let mut txn = match workload::begin(self.env()?, self.ordinal) {
            Ok(txn) => txn,
            Err(error) => return self.outcome(Err(error), |_| ()),
        };
        self.readers.writer_begins(self.recorder.bounds().acked, self.profile.behind_max);
        loop {
            match self.transact_in(txn)? {
                (Fate::Well, Some(next)) => txn = next,
                (fate, _) => return Ok(fate),
            }
        }
    }

    /// One transaction; answers the one that its commit goes on with, too.
    fn transact_in(&mut self, mut txn: WriteTxn) -> Result<(Fate, Option<WriteTxn>), Broken> {
        let txnid = txn.txnid();
        if txnid <= self.recorder.bounds().txnid_max {
            return Err(format!("transaction {txnid} is given out a second time"));
        }
        self.recorder.given_out(txnid);
        self.know_head()?;
        let last = self.history.last();
        let base = &self.history.at(last).state;
        let (transaction, state) = Transaction::draw(self.seed, self.ordinal, base, &self.profile);
        self.ordinal += 1;
        txn.durability(transaction.durability);
        let recorder = Arc::clone(&self.recorder);
        let mut between = || recorder.note("between two changes");
        match transaction.perform(&mut txn, &mut between) {
            Ok(()) => {}
            Err(Error::QuotaReached { .. }) => return Ok((self.outcome(Ok(()), |_| ())?, None)),
            Err(error) => return Err(format!("a change: {error}")),
        }
        if transaction.gives_up {
            drop(txn);
            self.recorder.note("after an abort").map_err(io("note"))?;
            return Ok((self.outcome(Ok(()), |_| ())?, None));
        }
        let durability = transaction.durability;
        let is_durable = durability != Durability::Relaxed;
        let index = self.history.push(txnid, state);
        self.recorder.commit_begins(&self.history, index);
        if !is_durable && transaction.goes_on_writing() {
            // The next transaction's first stores come before this commit's acknowledgement, and after its publication.
            self.recorder.may_be_seen(index);
        }
        let env = self.env()?.clone();
        let answer = self.with_others(Some((index, durability)), || transaction.commit(&env, txn))?;
        drop(env);
        let is_new = match &answer {
            Ok(committed) => committed.txnid == txnid,
            Err(error) => !matches!(error, Error::QuotaReached { .. }),
        };
        if !is_new {
            self.forget(index);
            return Ok((self.outcome(Ok(()), |_| ())?, None));
        }
        let (read, next, answer) = match answer {
            Ok(committed) => (committed.read, committed.next, Ok(())),
            Err(error) => (None, None, Err(error)),
        };
        let fate = self.outcome(answer, |recorder| recorder.commit_ends(index, is_durable))?;
        self.recorder.note("after a commit").map_err(io("note"))?;
        if fate == Fate::Well {
            self.look_at_commit(index, read)?;
        }
        Ok((fate, next))
    }

    /// What a commit has made, by the read that it answers or by another; that may stay.
    fn look_at_commit(&mut self, index: usize, read: Option<ReadTxn>) -> Result<(), Broken> {
        let state = self.history.at(index).state.clone();
        if let Some(read) = read {
            holds(&read, &state).map_err(|broken| format!("what a commit answers: {broken}"))?;
            self.readers.held.push(Held { txn: read, state, index });
        } else if self.rng.random_ratio(1, 2) {
            let txn = self.env()?.read().map_err(said("a read cannot begin"))?;
            self.readers.held.push(Held { txn, state, index });
        }
        Ok(())
    }

    /// Closes cleanly, which makes everything durable.
    pub(super) fn close(&mut self) -> Result<(), Broken> {
        if self.env.is_some() {
            self.let_readers_go()?;
        }
        if let Some(env) = self.env.take() {
            env.close().map_err(said("closing"))?;
        }
        self.recorder.all_durable();
        self.recorder.note("after a clean close").map_err(io("note"))
    }

    /// Lets the environment go without asking how that went.
    pub(super) fn abandon(&mut self) {
        self.recorder.commit_is_over();
        self.readers.clear();
        self.env = None;
    }

    /// After a failed sync the kernel may evict what it left clean.
    pub(super) fn maybe_evict(&mut self) -> Result<(), Broken> {
        if self.rng.random_ratio(2, 3) {
            self.recorder.evict(&mut self.rng).map_err(io("evict"))?;
            self.recorder.note("after an eviction").map_err(io("note"))?;
        }
        Ok(())
    }
}
