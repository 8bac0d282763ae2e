//! The child at work on a disk that gets full: transactions until one finds no room, and what must stand then.

mod room;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mapledb::{Durability, Env, Error, Options, Table};
use mapledb_os::{Effect, Observer, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::ballast::{Ballast, free_bytes};
use super::disk::run;
use super::{Kind, MIB, Told};
use crate::actor;
use crate::model::{Bounds, History, State};
use crate::verify::{Broken, checks_clean, holds, law, said};
use crate::workload::{Profile, Transaction};

/// The table that fills the disk.
const FILL: &str = "fill";

/// What a child with the role `Full` is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Where the full disk is mounted.
    pub(super) dir: PathBuf,
    /// Which kind it is.
    pub(super) kind: Kind,
    /// The seed of everything.
    pub(super) seed: u64,
    /// Points to reach.
    pub(super) points: u64,
}

/// Plays the child's part.
///
/// # Errors
/// How the law was broken.
pub fn play(orders: &Orders) -> Result<(), Broken> {
    let mut session = Session::new(orders)?;
    session.create()?;
    while session.told.points < orders.points {
        session.turn()?;
    }
    session.close()?;
    println!("{}", serde_json::to_string(&session.told).map_err(|error| error.to_string())?);
    Ok(())
}

/// What happened besides points.
pub(super) const COUNTS: [&str; 13] = [
    "commits",
    "creations refused",
    "refused within a commit",
    "reopened while full",
    "deleted while full",
    "deleting refused",
    "trimmed while full",
    "trimming refused",
    "MiB punched",
    "faults caught",
    "indeterminate",
    "recoveries without room",
    "went on",
];

/// Knows how long growth has made the file.
#[derive(Default)]
struct Growth {
    len: AtomicU64,
}

impl Observer for Growth {
    fn before(&self, _: &Effect) -> io::Result<()> {
        Ok(())
    }

    fn after(&self, effect: &Effect, ok: bool) {
        match *effect {
            Effect::Grow { offset, len } | Effect::WriteZeros { offset, len } if ok => {
                self.len.fetch_max(offset + len, Ordering::SeqCst);
            }
            // A failed growth is cut back to where it began.
            Effect::Truncate { len } if ok => self.len.store(len, Ordering::SeqCst),
            _ => {}
        }
    }
}

struct Session<'o> {
    orders: &'o Orders,
    path: PathBuf,
    profile: Profile,
    rng: SmallRng,
    growth: Arc<Growth>,
    ballast: Option<Ballast>,
    quota: Option<u64>,
    env: Option<Env>,
    history: History,
    bounds: Bounds,
    ordinal: u64,
    next_fill: u64,
    told: Told,
}

/// What came of a transaction.
enum Outcome {
    Committed,
    /// There was no room, and the transaction is gone.
    NoRoom,
    /// The environment is poisoned.
    Poisoned,
}

impl<'o> Session<'o> {
    fn new(orders: &'o Orders) -> Result<Session<'o>, Broken> {
        let mut rng = SmallRng::seed_from_u64(orders.seed ^ 0x5eed);
        let mut profile = Profile::random(&mut rng);
        profile.quota_bytes = None;
        let quota = (orders.kind == Kind::Quota).then(|| rng.random_range(2 * MIB..9 * MIB));
        let ballast = match orders.kind {
            Kind::Quota => None,
            _ => Some(Ballast::none(&orders.dir)),
        };
        Ok(Session {
            orders,
            path: orders.dir.join("full.maple"),
            profile,
            rng,
            growth: Arc::default(),
            ballast,
            quota,
            env: None,
            history: History::new(0, State::default()),
            bounds: Bounds::default(),
            ordinal: 0,
            next_fill: 0,
            told: Told::default(),
        })
    }

    fn count(&mut self, name: &str) {
        debug_assert!(COUNTS.contains(&name));
        *self.told.counts.entry(name.to_string()).or_default() += 1;
    }

    fn options(&self) -> Options {
        let options = actor::options(&self.profile)
            .catch_sigbus(self.orders.kind.copies_on_write())
            .seam(Seam::watched(Arc::clone(&self.growth) as Arc<_>));
        match self.quota {
            Some(bytes) => options.quota_bytes(bytes),
            None => options,
        }
    }

    /// Makes the file, on a disk that may have no room for it.
    fn create(&mut self) -> Result<(), Broken> {
        if self.orders.kind.copies_on_write() {
            // While there is room: it is not the copying that is to be tried.
            self.create_copied_on_write()?;
        }
        if let Some(ballast) = &mut self.ballast {
            let leave = match self.rng.random_ratio(1, 4) {
                // Too little for the file and its lock file, as the case may be.
                true if !self.orders.kind.copies_on_write() => self.rng.random_range(0..2 * MIB),
                _ => self.rng.random_range(8 * MIB..=64 * MIB),
            };
            ballast.leave(leave)?;
        }
        let mut last = String::new();
        for _ in 0..64 {
            match open(&self.path, self.options()) {
                Ok(env) => {
                    let txnid = env.read().map_err(said("read"))?.txnid();
                    self.history = History::new(txnid, State::default());
                    self.bounds = Bounds::exactly(0, txnid);
                    self.env = Some(env);
                    return self.note_len();
                }
                Err(error) => {
                    self.count("creations refused");
                    let is_room = is_want_of_room(&error) || told_of_room(&error);
                    if !is_room {
                        return Err(format!("creating on a full disk: {error:?}"));
                    }
                    let given = match &mut self.ballast {
                        Some(ballast) => ballast.give(MIB)?,
                        None => 0,
                    };
                    if given == 0 {
                        return Err(format!("no room to create on an empty disk: {error}"));
                    }
                    last = error.to_string();
                }
            }
        }
        let free = free_bytes(&self.orders.dir)?;
        Err(format!("the file cannot be created although {free} bytes are free: {last}"))
    }

    fn create_copied_on_write(&self) -> Result<(), Broken> {
        let made = self.orders.dir.join("made.maple");
        let env = open(&made, actor::options(&self.profile)).map_err(said("create"))?;
        env.close().map_err(said("close"))?;
        run(Command::new("cp").args(["--reflink=never"]).arg(&made).arg(&self.path))?;
        for gone in [made.clone(), made.with_extension("maple-lock")] {
            let _ = std::fs::remove_file(gone);
        }
        Ok(())
    }

    fn note_len(&self) -> Result<(), Broken> {
        let len = std::fs::metadata(&self.path).map_err(|error| format!("the file: {error}"))?.len();
        self.growth.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn env(&self) -> Result<&Env, Broken> {
        self.env.as_ref().ok_or_else(|| "the environment is not open".to_string())
    }

    fn state(&self) -> &State {
        &self.history.at(self.history.last()).state
    }

    fn turn(&mut self) -> Result<(), Broken> {
        match self.transact()? {
            Outcome::Committed => Ok(()),
            Outcome::NoRoom => {
                self.told.points += 1;
                self.stands("at a full disk")?;
                if self.rng.random_ratio(1, 6) {
                    self.reopen()?;
                    self.count("reopened while full");
                }
                if self.rng.random_ratio(1, 2) {
                    self.delete_some()?;
                }
                if self.rng.random_ratio(1, 3) {
                    self.trim()?;
                }
                self.room_comes_back()?;
                self.goes_on()
            }
            Outcome::Poisoned => {
                self.told.points += 1;
                self.count("faults caught");
                self.env = None;
                self.room_comes_back()?;
                self.recover()?;
                self.goes_on()
            }
        }
    }

    /// One transaction: the shared generator's, or one that fills.
    fn transact(&mut self) -> Result<Outcome, Broken> {
        self.ordinal += 1;
        match self.rng.random_ratio(1, 2) {
            true => {
                let (transaction, after) =
                    Transaction::draw(self.orders.seed, self.ordinal, self.state(), &self.profile);
                let gives_up = transaction.gives_up;
                self.attempt(transaction.durability, after, gives_up, |txn| {
                    transaction.perform(txn, &mut || Ok(()))
                })
            }
            false => {
                let rows = self.rows();
                self.put(&rows)
            }
        }
    }

    /// Rows for the table that fills the disk: small ones and some of megabytes.
    fn rows(&mut self) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let count = self.rng.random_range(1..40);
        let rows = (0..count).map(|_| {
            let magnitude = self.rng.random_range(6..21);
            let len = self.rng.random_range(1usize << (magnitude - 1)..1 << magnitude);
            let mut value = vec![0; len];
            self.rng.fill(&mut value[..]);
            self.next_fill += 1;
            (self.next_fill.to_be_bytes().to_vec(), value.into())
        });
        rows.collect()
    }

    fn put(&mut self, rows: &[(Vec<u8>, Arc<[u8]>)]) -> Result<Outcome, Broken> {
        let mut after = self.state().clone();
        let table = after.tables.entry(FILL.to_string()).or_default();
        table.entries.extend(rows.iter().cloned());
        let durability = if self.rng.random_ratio(1, 3) { Durability::Relaxed } else { Durability::Sync };
        self.attempt(durability, after, false, |txn| {
            let mut table = txn.open_table(&Table::<[u8], [u8]>::new(FILL))?;
            rows.iter().try_for_each(|(key, value)| table.put(&key[..], value))
        })
    }

    fn attempt(
        &mut self,
        durability: Durability,
        after: State,
        gives_up: bool,
        act: impl FnOnce(&mut mapledb::WriteTxn) -> mapledb::Result<()>,
    ) -> Result<Outcome, Broken> {
        let mut txn = match self.env()?.write() {
            Ok(txn) => txn,
            Err(error) => return self.outcome(&error),
        };
        txn.durability(durability);
        let txnid = txn.txnid();
        if txnid <= self.bounds.txnid_max {
            return Err(format!("transaction {txnid} is given out a second time"));
        }
        self.bounds.txnid_max = txnid;
        if let Err(error) = act(&mut txn) {
            drop(txn);
            return self.outcome(&error);
        }
        if gives_up {
            return Ok(Outcome::Committed);
        }
        let last = self.history.last();
        match txn.commit() {
            Ok(number) if number != txnid => Ok(Outcome::Committed),
            Ok(_) => {
                let index = self.history.push(txnid, after);
                (self.bounds.acked, self.bounds.reached) = (index, index);
                if durability == Durability::Sync {
                    self.bounds.durable = index;
                }
                self.count("commits");
                Ok(Outcome::Committed)
            }
            Err(error) => {
                if matches!(error, Error::Indeterminate { .. }) {
                    self.count("indeterminate");
                    self.bounds.reached = self.history.push(txnid, after);
                } else {
                    self.count("refused within a commit");
                    self.history.truncate_after(last);
                }
                self.outcome(&error)
            }
        }
    }

    fn outcome(&self, error: &Error) -> Result<Outcome, Broken> {
        let is_expected = match self.orders.kind {
            Kind::Quota => matches!(error, Error::QuotaReached { .. }),
            _ => matches!(error, Error::DiskFull(_)),
        };
        let poisons = matches!(
            error,
            Error::Fault { .. }
                | Error::SyncFailed { .. }
                | Error::Indeterminate { .. }
                | Error::Poisoned { .. }
        );
        match (is_expected, poisons && self.orders.kind.copies_on_write()) {
            (true, _) => Ok(Outcome::NoRoom),
            (_, true) => Ok(Outcome::Poisoned),
            _ => Err(format!("an unexpected error: {error:?}: {error}")),
        }
    }

    /// The last commit stands, the file is as long as it was, and everything is where it belongs.
    fn stands(&self, when: &str) -> Result<(), Broken> {
        let about = std::fs::metadata(&self.path).map_err(|error| format!("the file: {error}"))?;
        let expected = self.growth.len.load(Ordering::SeqCst);
        if about.len() != expected {
            return Err(format!(
                "{when}: the file has {} bytes, and its growth ended at {expected}",
                about.len()
            ));
        }
        let env = self.env()?;
        let txn = env.read().map_err(said("read"))?;
        holds(&txn, self.state()).map_err(|broken| format!("{when}: {broken}"))?;
        drop(txn);
        checks_clean(env).map_err(|broken| format!("{when}: {broken}"))
    }

    fn reopen(&mut self) -> Result<(), Broken> {
        self.close()?;
        match open(&self.path, self.options()) {
            // After an unclean close recovery stores pages again, which takes blocks there.
            Err(Error::Fault { .. }) if self.orders.kind.copies_on_write() => {
                self.count("faults caught");
                self.recover()
            }
            Err(error) => Err(format!("reopening on a full disk: {error}")),
            Ok(env) => self.takes(env, "reopening on a full disk"),
        }
    }

    /// Goes on with an environment that has just been opened, if it keeps the law.
    fn takes(&mut self, env: Env, when: &str) -> Result<(), Broken> {
        let (found, stands) =
            law(&env, &self.history, &self.bounds).map_err(|broken| format!("{when}: {broken}"))?;
        self.history.truncate_after(found);
        self.history.renumber(found, stands);
        self.bounds = Bounds::exactly(found, self.bounds.txnid_max.max(stands));
        self.env = Some(env);
        self.note_len()
    }

    fn close(&mut self) -> Result<(), Broken> {
        if let Some(env) = self.env.take() {
            match env.close() {
                Ok(()) => self.bounds.durable = self.bounds.acked,
                Err(_) if self.orders.kind.copies_on_write() => self.bounds.acked = self.bounds.durable,
                Err(error) => return Err(format!("closing: {error}")),
            }
        }
        Ok(())
    }
}

fn is_want_of_room(error: &Error) -> bool {
    matches!(error, Error::DiskFull(_) | Error::QuotaReached { .. })
}

/// The lock file may be what there is no room for.
fn told_of_room(error: &Error) -> bool {
    matches!(error, Error::Attach(_) | Error::Os(_) | Error::Shared(_))
        && error.to_string().contains("os error 28")
}

#[allow(unsafe_code)]
fn open(path: &Path, options: Options) -> mapledb::Result<Env> {
    // SAFETY: the session's own file, to which nothing but MapleDB writes.
    unsafe { options.open_or_create(path) }
}
