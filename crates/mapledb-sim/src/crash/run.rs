//! One environment under watch, with its model: what a session does to it, and what the answers must be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mapledb::{Defragment, Durability, Env, Error, Options, ReadTxn, WriteTxn};
use mapledb_os::{Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::second::{self, Second, Told};
use super::{io, open};
use crate::actor::options;
use crate::disk::Disk;
use crate::model::{Bounds, History, State};
use crate::recorder::{Meanwhile, Recorder};
use crate::verify::{Broken, checks_clean, holds, holds_or_fails, law, said};
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
    /// Readers held across commits, each with the commit it must show.
    held: Vec<(ReadTxn, State)>,
    pub(super) profile: Profile,
    /// The seed of its transactions, and the ordinal of the next.
    seed: u64,
    ordinal: u64,
    pub(super) rng: SmallRng,
    tried: Arc<Mutex<Tried>>,
    pub(super) flips: u64,
}

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

/// What was tried during syncs.
#[derive(Debug, Default)]
struct Tried {
    reads: u64,
    /// Readers that stay, each with what it must show.
    held: Vec<(ReadTxn, State)>,
    /// Writers that were let in.
    admitted: u64,
    /// The commits after one that was let in.
    history: Option<History>,
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
            held: Vec::new(),
            profile,
            seed: rng.random(),
            ordinal: 0,
            rng: SmallRng::from_rng(rng),
            tried: Arc::default(),
            flips: 0,
        })
    }

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
    fn with_others<R>(
        &mut self,
        in_flight: Option<(usize, Durability)>,
        act: impl FnOnce() -> R,
    ) -> Result<R, Broken> {
        self.let_others(in_flight)?;
        let answer = act();
        self.others_are_over().map(|()| answer)
    }

    /// Has a reader and a writer try during syncs, perhaps; answers whether so.
    fn let_others(&mut self, in_flight: Option<(usize, Durability)>) -> Result<bool, Broken> {
        // Whoever begins after a want of room begins with a sync, for which it would wait here for itself.
        let may_wait = in_flight.is_some_and(|(_, durability)| durability == Durability::Group);
        let lets = self.rng.random_ratio(1, 2) && !(may_wait && self.profile.quota_bytes.is_some());
        if lets {
            let others = self.others(in_flight)?;
            self.recorder.during_syncs(Some(others));
        }
        Ok(lets)
    }

    fn others_are_over(&mut self) -> Result<(), Broken> {
        self.recorder.during_syncs(None);
        let mut tried = std::mem::take(&mut *self.tried());
        self.held.append(&mut tried.held);
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
                tried.held.push((txn, commit.state.clone()));
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

    /// Has another process work on the file for a while, and perhaps die at its work; then takes over from it. Answers
    /// whether it died.
    pub(super) fn beside_another(&mut self, exe: &Path) -> Result<bool, Broken> {
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
    fn forget(&mut self, index: usize) {
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
        for (txn, state) in &self.held {
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
        self.look_at_held()?;
        let mut txn = match workload::begin(self.env()?, self.ordinal) {
            Ok(txn) => txn,
            Err(error) => return self.outcome(Err(error), |_| ()),
        };
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
            self.held.push((read, state));
        } else if self.rng.random_ratio(1, 6) {
            let txn = self.env()?.read().map_err(said("a read cannot begin"))?;
            self.held.push((txn, state));
        }
        Ok(())
    }

    /// A held reader shows what it showed at first; then it goes, or moves on to what is published now.
    fn look_at_held(&mut self) -> Result<(), Broken> {
        if self.held.is_empty() || !self.rng.random_ratio(1, 4) {
            return Ok(());
        }
        let (mut txn, state) = self.held.swap_remove(self.rng.random_range(0..self.held.len()));
        holds(&txn, &state).map_err(|broken| format!("a reader that was held: {broken}"))?;
        match self.rng.random_range(0..4) {
            0 => drop(txn.refresh().map_err(said("a reader cannot move on"))?),
            1 => txn = txn.reset().renew().map_err(said("a reader cannot begin anew"))?,
            _ => return Ok(()),
        }
        let state = self.history.at(self.recorder.bounds().acked).state.clone();
        holds(&txn, &state).map_err(|broken| format!("a reader that has moved on: {broken}"))?;
        self.held.push((txn, state));
        Ok(())
    }

    /// Closes cleanly, which makes everything durable.
    pub(super) fn close(&mut self) -> Result<(), Broken> {
        for (txn, state) in self.held.drain(..) {
            holds(&txn, &state).map_err(|broken| format!("a reader that was held: {broken}"))?;
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
        self.held.clear();
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
