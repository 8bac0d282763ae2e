//! Child processes: the same binary again, told by its environment to play a role.
//!
//! A program whose harnesses start children calls [`run_if_asked`] before anything else in `main`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use mapledb::{Durability, Env, Error, Options, ReaderPolicy};
use serde::{Deserialize, Serialize};

use crate::errand::Errand;
use crate::hostile;
use crate::journal::Event;
use crate::model::State;
use crate::order::with_orders;
#[cfg(feature = "lmdb")]
use crate::processes::lmdb::{self, Lmdb};
use crate::processes::part::{self, Part};
use crate::verify;
use crate::workload::{self, Profile, Step};

const ROLE: &str = "MAPLE_SIM_ROLE";

/// What a child is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the workload of a seed and keeps a journal.
    Workload(Orders),
    /// Runs into a full disk.
    Full(crate::full::Orders),
    /// Works beside a session of crash images.
    Second(crate::crash::second::Orders),
    /// Has the kernel write pages back all the time.
    #[cfg(feature = "fuse")]
    WriteBack(crate::fuse::writeback::WriteBack),
    /// Has the file open while another process meets a fault, or comes after it.
    #[cfg(feature = "fuse")]
    Witness(crate::fuse::witness::Witness),
    /// Works at a bank until it is killed.
    Bank(Part),
    /// The same with LMDB.
    #[cfg(feature = "lmdb")]
    Lmdb(Lmdb, Part),
    /// Changes small files and looks at what the engine says.
    Hostile(hostile::Shard),
    /// Does one thing, to be executed step by step.
    Steps(crate::step::Steps),
    /// Runs an errand and meets an error.
    Errand(Errand),
}

/// The command that starts a child.
pub fn command(exe: &Path, role: &Role) -> Command {
    let mut command = Command::new(exe);
    // A role is made of numbers, strings and paths of UTF-8.
    command.env(ROLE, serde_json::to_string(role).expect("a role is JSON"));
    command
}

/// Plays the role this process was started for, if it was.
pub fn run_if_asked() -> Option<ExitCode> {
    let role = std::env::var(ROLE).ok()?;
    // Whatever this process may start is nobody's child.
    let role: Role = match serde_json::from_str(&role) {
        Ok(role) => role,
        Err(error) => {
            eprintln!("{ROLE} is not a role: {error}");
            return Some(ExitCode::from(2));
        }
    };
    let answer = match role {
        Role::Workload(orders) => work(&orders),
        Role::Full(orders) => crate::full::play(&orders),
        Role::Second(orders) => crate::crash::second::work(&orders),
        #[cfg(feature = "fuse")]
        Role::WriteBack(presses) => presses.run(),
        #[cfg(feature = "fuse")]
        Role::Witness(witness) => witness.run(),
        Role::Bank(part) => part::play(&part),
        #[cfg(feature = "lmdb")]
        Role::Lmdb(lmdb, part) => lmdb::play(lmdb, &part),
        Role::Hostile(shard) => hostile::work(&shard),
        Role::Steps(steps) => steps.run(),
        Role::Errand(errand) => errand.run(),
    };
    Some(match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    })
}

/// What a child with the role [`Role::Workload`] is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The data file.
    pub path: PathBuf,
    /// Where the journal goes: it is opened for appending, and created if it is not there.
    pub journal: PathBuf,
    /// The seed of the transactions.
    pub seed: u64,
    /// What they are like.
    pub profile: Profile,
    /// The ordinals of the transactions whose commits stand in the file.
    pub committed: Vec<u64>,
    /// The first step to take.
    pub first: u64,
    /// The step to end before.
    pub end: u64,
    /// Whether to go away at the end without closing, as if it died there.
    pub dies: bool,
    /// Whether a signal that the map raises is to become an error.
    #[serde(default)]
    pub catches_sigbus: bool,
}

/// Options that leave what happens to the seed: no thread syncs by itself. The named orders of the workload are among them.
pub fn options(profile: &Profile) -> Options {
    let options = with_orders(Env::options())
        .page_size(profile.page_size)
        .two_syncs(profile.two_syncs)
        .reserve_bytes(4 << 20)
        .relaxed_bound(u64::MAX, std::time::Duration::from_secs(3600));
    let options = match profile.behind_max {
        Some(commits) => options.readers(ReaderPolicy::new().behind_max(commits).evict_parked()),
        None => options,
    };
    match profile.quota_bytes {
        Some(bytes) => options.quota_bytes(bytes),
        None => options,
    }
}

/// The state that the committed transactions of a seed have made.
pub fn state_after(seed: u64, profile: &Profile, committed: &[u64]) -> Result<State, String> {
    committed.iter().try_fold(State::default(), |state, ordinal| {
        match Step::draw(seed, *ordinal, &state, profile) {
            Step::Transact(_, after) => Ok(after),
            other => Err(format!("step {ordinal} is no transaction: {other:?}")),
        }
    })
}

/// Runs the workload: the steps of the orders, on top of what stands.
///
/// # Errors
/// What the engine said where it should have gone well, and where it disagreed with the model. An error that a fault
/// of the system explains ends the run, after the journal was told.
pub fn work(orders: &Orders) -> Result<(), String> {
    let said = |what: &'static str| move |error: std::io::Error| format!("the journal ({what}): {error}");
    let journal = File::options().append(true).create(true).open(&orders.journal).map_err(said("open"))?;
    let state = state_after(orders.seed, &orders.profile, &orders.committed)?;
    Worker { orders, journal, state }.run()
}

struct Worker<'o> {
    orders: &'o Orders,
    journal: File,
    state: State,
}

impl Worker<'_> {
    fn run(mut self) -> Result<(), String> {
        let mut env = self.open()?;
        // The transaction that the last commit went on with.
        let mut next = None;
        for ordinal in self.orders.first..self.orders.end {
            match Step::draw(self.orders.seed, ordinal, &self.state, &self.orders.profile) {
                Step::Sync => {
                    next = None;
                    self.tell(&Event::Syncing)?;
                    env.sync().map_err(|error| format!("sync: {error}"))?;
                    self.tell(&Event::Synced)?;
                }
                Step::Reopen => {
                    next = None;
                    self.close(env)?;
                    env = self.open()?;
                }
                Step::Transact(transaction, after) => {
                    let mut txn = match next.take() {
                        Some(txn) => txn,
                        None => workload::begin(&env, ordinal).map_err(|error| format!("write: {error}"))?,
                    };
                    self.tell(&Event::Began { ordinal, txnid: txn.txnid() })?;
                    txn.durability(transaction.durability);
                    if let Err(error) = transaction.perform(&mut txn, &mut || Ok(())) {
                        self.tell(&Event::Refused { ordinal, why: error.to_string() })?;
                        match error {
                            Error::QuotaReached { .. } => continue,
                            error => return Err(format!("transaction {ordinal}: {error}")),
                        }
                    }
                    if transaction.gives_up {
                        drop(txn);
                        self.tell(&Event::GaveUp { ordinal })?;
                        continue;
                    }
                    self.tell(&Event::Ready { ordinal })?;
                    let number = txn.txnid();
                    match transaction.commit(&env, txn) {
                        Ok(committed) => {
                            let txnid = committed.txnid;
                            self.tell(&Event::Acknowledged { ordinal, txnid })?;
                            if txnid == number {
                                self.state = after;
                            }
                            if let Some(read) = committed.read {
                                let differs = |why| format!("what commit {ordinal} answers: {why}");
                                verify::holds(&read, &self.state).map_err(differs)?;
                            }
                            next = committed.next;
                        }
                        Err(error @ Error::QuotaReached { .. }) => {
                            self.tell(&Event::Refused { ordinal, why: error.to_string() })?;
                        }
                        Err(error @ Error::Indeterminate { .. }) => {
                            self.tell(&Event::Indeterminate { ordinal, why: error.to_string() })?;
                            return Err(format!("commit {ordinal}: {error}"));
                        }
                        Err(error) => {
                            self.tell(&Event::Refused { ordinal, why: error.to_string() })?;
                            return Err(format!("commit {ordinal}: {error}"));
                        }
                    }
                }
            }
        }
        if self.orders.dies {
            // No drop, no close: what a process leaves that is killed here.
            std::process::exit(0);
        }
        drop(next);
        self.close(env)
    }

    #[allow(unsafe_code)]
    fn open(&mut self) -> Result<Env, String> {
        self.tell(&Event::Opening)?;
        let options = options(&self.orders.profile)
            .durability(Durability::Sync)
            .catch_sigbus(self.orders.catches_sigbus);
        // SAFETY: whoever gives the orders sees to it that nothing but MapleDB writes to the file while it is open.
        let env =
            unsafe { options.open_or_create(&self.orders.path) }.map_err(|error| format!("open: {error}"))?;
        let txnid = env.read().map_err(|error| format!("read: {error}"))?.txnid();
        self.tell(&Event::Opened { txnid })?;
        Ok(env)
    }

    fn close(&mut self, env: Env) -> Result<(), String> {
        self.tell(&Event::Closing)?;
        env.close().map_err(|error| format!("close: {error}"))?;
        self.tell(&Event::Closed)
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        let mut line = Vec::new();
        event.write(&mut line).map_err(|error| format!("an event: {error}"))?;
        self.journal.write_all(&line).map_err(|error| format!("the journal: {error}"))
    }
}
