//! What a process did with the engine, told in a few lines, and what the law makes of it.
//!
//! A child process that runs the [`workload`](crate::workload) writes one line of JSON for each [`Event`], in order.
//! Whoever knows the seed tells the story again with the model alone: [`Replay`] takes the events one by one and knows
//! after each of them which states the law allows to be found.
//!
//! ```text
//! "opening"                                          the process is about to open or create the file
//! {"opened":{"txnid":1}}                             it has, and this commit stands
//! {"began":{"ordinal":0,"txnid":2}}                  a transaction has been given its number
//! {"ready":{"ordinal":0}}                            `commit` is about to be called
//! {"acknowledged":{"ordinal":0,"txnid":2}}           `commit` has returned
//! {"gave_up":{"ordinal":0}}                          the transaction was dropped instead
//! {"refused":{"ordinal":0,"why":"…"}}                it failed before its commit point: nothing of it may stand
//! {"indeterminate":{"ordinal":0,"why":"…"}}          its sync failed: it may stand whole, or not at all
//! "syncing" / "synced"                               `sync` is about to be called, and has returned
//! "closing" / "closed"                               likewise for `close`
//! ```

use std::io::{self, Write};

use mapledb::Durability;
use serde::{Deserialize, Serialize};

use crate::model::{Bounds, History, State};
use crate::verify::Broken;
use crate::workload::{Profile, Step};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The file is about to be opened, or created.
    Opening,
    /// It is open, and the commit with this number stands.
    Opened {
        /// Its number.
        txnid: u64,
    },
    /// A transaction has begun.
    Began {
        /// Which.
        ordinal: u64,
        /// Its number.
        txnid: u64,
    },
    /// A commit is about to be asked for.
    Ready {
        /// Of which transaction.
        ordinal: u64,
    },
    /// A commit has been acknowledged.
    Acknowledged {
        /// Of which transaction.
        ordinal: u64,
        /// The number that `commit` returned: that of an earlier commit if nothing was changed.
        txnid: u64,
    },
    /// A transaction has been dropped.
    GaveUp {
        /// Which.
        ordinal: u64,
    },
    /// A transaction has failed before its commit point.
    Refused {
        /// Which.
        ordinal: u64,
        /// What the engine said.
        why: String,
    },
    /// A commit's outcome is open.
    Indeterminate {
        /// Of which transaction.
        ordinal: u64,
        /// What the engine said.
        why: String,
    },
    /// A barrier is about to be asked for.
    Syncing,
    /// Everything acknowledged before it is durable.
    Synced,
    /// The environment is about to be closed.
    Closing,
    /// It was closed cleanly.
    Closed,
}

impl Event {
    /// Writes the event as one line, by one call.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        to.write_all(line.as_bytes())?;
        to.flush()
    }

    /// The event of one line.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(line: &str) -> Result<Event, Broken> {
        serde_json::from_str(line).map_err(|error| format!("not an event: {line:?}: {error}"))
    }
}

/// The story told again with the model.
#[derive(Clone, Debug)]
pub struct Replay {
    seed: u64,
    profile: Profile,
    history: History,
    bounds: Bounds,
    /// The ordinals of the commits in the history, but for the first, which none made.
    committed: Vec<u64>,
    in_flight: Option<InFlight>,
}

#[derive(Clone, Debug)]
struct InFlight {
    ordinal: u64,
    txnid: u64,
    durability: Durability,
    state: State,
    /// Its index in the history, once its commit was asked for.
    index: Option<usize>,
}

impl Replay {
    /// The story of a file that does not exist yet.
    pub fn new(seed: u64, profile: Profile) -> Replay {
        Replay {
            seed,
            profile,
            history: History::new(0, State::default()),
            bounds: Bounds::exactly(0, 0),
            committed: Vec::new(),
            in_flight: None,
        }
    }

    /// The commits so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What the law allows to be found after a crash of the system. After the death of processes alone nothing before
    /// [`Bounds::acked`] may be found either; after a crash of the system that bound is `durable`.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The ordinals of the transactions that were committed, for a process that is to go on from here.
    pub fn committed(&self) -> &[u64] {
        &self.committed
    }

    /// What was recovered is the commit at `index`, and goes by the number `txnid` now: the story goes on from there.
    pub fn recovered(&mut self, index: usize, txnid: u64) {
        self.history.truncate_after(index);
        self.history.renumber(index, txnid);
        self.committed.truncate(index);
        self.in_flight = None;
        self.bounds = Bounds::exactly(index, self.bounds.txnid_max.max(txnid));
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// It cannot come next, or it breaks the law by itself: a number given out twice.
    pub fn take(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Opening | Event::Syncing | Event::Closing => {}
            Event::Opened { txnid } => self.opened(*txnid)?,
            Event::Began { ordinal, txnid } => self.began(*ordinal, *txnid)?,
            Event::Ready { ordinal } => self.ready(*ordinal)?,
            Event::Acknowledged { ordinal, txnid } => self.acknowledged(*ordinal, *txnid)?,
            Event::GaveUp { ordinal } => drop(self.ends(*ordinal)?),
            Event::Refused { ordinal, .. } => {
                if let Some(index) = self.ends(*ordinal)?.index {
                    self.forget(index);
                }
            }
            Event::Indeterminate { ordinal, .. } => drop(self.ends(*ordinal)?),
            Event::Synced | Event::Closed => self.bounds.durable = self.bounds.acked,
        }
        Ok(())
    }

    fn opened(&mut self, txnid: u64) -> Result<(), Broken> {
        // Within one story the file is opened again after a clean close only, so its last commit stands. A number that
        // is not its own is that of a recovery.
        self.history.renumber(self.history.last(), txnid);
        let last = self.history.last();
        self.bounds = Bounds::exactly(last, self.bounds.txnid_max.max(txnid));
        Ok(())
    }

    fn began(&mut self, ordinal: u64, txnid: u64) -> Result<(), Broken> {
        if txnid <= self.bounds.txnid_max {
            return Err(format!(
                "transaction {txnid} is given out, and {} was before",
                self.bounds.txnid_max
            ));
        }
        let between = self.bounds.txnid_max + 1..=txnid - 1;
        if !between.is_empty() {
            self.history.also(between);
        }
        self.bounds.txnid_max = txnid;
        let base = &self.history.at(self.history.last()).state;
        match Step::draw(self.seed, ordinal, base, &self.profile) {
            Step::Transact(transaction, state) => {
                let durability = transaction.durability;
                self.in_flight = Some(InFlight { ordinal, txnid, durability, state, index: None });
                Ok(())
            }
            other => Err(format!("step {ordinal} is no transaction: {other:?}")),
        }
    }

    fn ready(&mut self, ordinal: u64) -> Result<(), Broken> {
        let Some(flying) = self.in_flight.as_mut().filter(|flying| flying.ordinal == ordinal) else {
            return Err(format!("transaction {ordinal} has not begun"));
        };
        let index = self.history.push(flying.txnid, flying.state.clone());
        flying.index = Some(index);
        self.committed.push(ordinal);
        self.bounds.reached = index;
        Ok(())
    }

    fn acknowledged(&mut self, ordinal: u64, txnid: u64) -> Result<(), Broken> {
        let flying = self.ends(ordinal)?;
        let index = flying.index.ok_or_else(|| format!("commit {ordinal} was not asked for"))?;
        if txnid != flying.txnid {
            // Nothing was changed, so there is no commit. It may be durable all the same, and then so is what it read.
            self.forget(index);
            return Ok(());
        }
        self.bounds.acked = index;
        if flying.durability != Durability::Relaxed {
            self.bounds.durable = index;
        }
        Ok(())
    }

    fn ends(&mut self, ordinal: u64) -> Result<InFlight, Broken> {
        let flying = self.in_flight.take().filter(|flying| flying.ordinal == ordinal);
        flying.ok_or_else(|| format!("transaction {ordinal} is not under way"))
    }

    fn forget(&mut self, index: usize) {
        self.history.truncate_after(index - 1);
        self.committed.truncate(index - 1);
        self.bounds.reached = self.bounds.reached.min(index - 1);
    }
}
