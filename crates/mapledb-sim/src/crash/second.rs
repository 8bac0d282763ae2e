//! A second process on the file of a session of crash images (T1).
//!
//! It tells the first one of each effect before and after it makes it, and waits for the word to go on. So the one model
//! of the disk sees what both do, in order, and a crash can be put at any effect of either; and it can be told to die
//! there.
//!
//! One line is told, one is answered. What is told: `before` and `after` an effect, how far a transaction is, and `idle`;
//! what is answered: `go`, `die`, and to `idle` also `transact ORDINAL` or `close`.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use mapledb::{Env, Error, Multimap, ReadTxn, Table, TableInfo};
use mapledb_os::{Effect, Observer, Seam};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::actor::{self, Role, options};
use crate::model::{Pairs, State, TableState, Tables};
use crate::order;
use crate::recorder::is_silent;
use crate::workload::{self, Profile, Transaction};

/// What a second process is to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The data file.
    pub path: PathBuf,
    /// The seed of its transactions.
    pub seed: u64,
    /// What they are like.
    pub profile: Profile,
}

/// What it tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// It is about to make an effect.
    Before(Act),
    /// It has made one, or failed to.
    After(Act, bool),
    /// A transaction has got its number.
    Began(u64),
    /// It is between two changes.
    Between,
    /// It is about to commit.
    Ready,
    /// It has committed, under this number.
    Committed(u64),
    /// The transaction was given up, or found no room.
    GaveUp,
    /// It waits for something to do.
    Idle,
    /// It has closed.
    Closed,
    /// Something went wrong.
    Failed(String),
}

/// An effect that stores or syncs: its name, and its numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Act(String, u64, u64);

impl Act {
    fn of(effect: &Effect) -> Act {
        let (name, a, b) = match *effect {
            Effect::Grow { offset, len } => ("grow", offset, len),
            Effect::WriteZeros { offset, len } => ("zeros", offset, len),
            Effect::Truncate { len } => ("truncate", len, 0),
            Effect::Punch { offset, len } => ("punch", offset, len),
            Effect::Populate { offset, len } => ("populate", offset, len),
            Effect::WritePages { offset, len } => ("write", offset, len),
            Effect::StorePages { offset, len } => ("store", offset, len),
            Effect::StoreMeta { slot } => ("meta", u64::from(slot), 0),
            Effect::Redirty { offset, len } => ("redirty", offset, len),
            Effect::Sync { offset, len } => ("sync", offset, len),
            Effect::SyncFile { data_only } => ("sync file", u64::from(data_only), 0),
            Effect::SyncLockFile => ("sync lock file", 0, 0),
            _ => ("other", 0, 0),
        };
        Act(name.to_string(), a, b)
    }

    /// The effect.
    pub fn effect(&self) -> Option<Effect> {
        let Act(name, a, b) = self;
        let (offset, len) = (*a, *b);
        Some(match name.as_str() {
            "grow" => Effect::Grow { offset, len },
            "zeros" => Effect::WriteZeros { offset, len },
            "truncate" => Effect::Truncate { len: offset },
            "punch" => Effect::Punch { offset, len },
            "populate" => Effect::Populate { offset, len },
            "write" => Effect::WritePages { offset, len },
            "store" => Effect::StorePages { offset, len },
            "meta" => Effect::StoreMeta { slot: offset as u8 },
            "redirty" => Effect::Redirty { offset, len },
            "sync" => Effect::Sync { offset, len },
            "sync file" => Effect::SyncFile { data_only: offset != 0 },
            "sync lock file" => Effect::SyncLockFile,
            _ => return None,
        })
    }
}

/// The second process, as the first has it in hand.
#[derive(Debug)]
pub struct Second {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Second {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(exe: &Path, orders: Orders) -> io::Result<Second> {
        let mut command = actor::command(exe, &Role::Second(orders));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| io::Error::other("no pipes"))?;
        Ok(Second { child, to, from: BufReader::new(from) })
    }

    /// What it tells next.
    ///
    /// # Errors
    /// It has gone.
    pub fn listen(&mut self) -> io::Result<Told> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| io::Error::other(format!("{error}: {line:?}")))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It has gone.
    pub fn answer(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.to, "{word}")
    }

    /// Has it die where it is, as by SIGKILL, and waits until it has.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn die(mut self) -> io::Result<()> {
        self.answer("die")?;
        self.child.wait().map(drop)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It has ended, or is to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The way to the first process, from the second.
struct First(Mutex<()>);

impl First {
    /// Tells it something and waits for its answer.
    fn tell(&self, told: &Told) -> io::Result<String> {
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{}", serde_json::to_string(told)?);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        match answer.trim_end() {
            // Nobody is there any more who would know.
            "die" | "" => loop {
                let _ = kill(Pid::this(), Signal::SIGKILL);
            },
            word => Ok(word.to_string()),
        }
    }
}

impl Observer for First {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        if is_silent(effect) {
            return Ok(());
        }
        self.tell(&Told::Before(Act::of(effect))).map(drop)
    }

    fn after(&self, effect: &Effect, ok: bool) {
        if !is_silent(effect) {
            // Whoever does not answer has gone, which the next telling says.
            let _ = self.tell(&Told::After(Act::of(effect), ok));
        }
    }
}

/// Works as it is told to.
///
/// # Errors
/// The first process has gone, or what should have gone well did not.
pub fn work(orders: &Orders) -> Result<(), String> {
    let first = Arc::new(First(Mutex::new(())));
    let said = |error: io::Error| format!("nobody listens: {error}");
    if let Err(why) = work_for(&first, orders) {
        first.tell(&Told::Failed(why)).map_err(said)?;
    }
    Ok(())
}

fn work_for(first: &Arc<First>, orders: &Orders) -> Result<(), String> {
    let said = |error: io::Error| format!("nobody listens: {error}");
    let options = options(&orders.profile).seam(Seam::watched(Arc::clone(first) as Arc<_>));
    #[allow(unsafe_code)]
    // SAFETY: the first process writes to the file behind the engine's back only while this one waits for its word.
    let env = unsafe { options.open(&orders.path) }.map_err(|error| format!("open: {error}"))?;
    loop {
        let word = first.tell(&Told::Idle).map_err(said)?;
        match word.split_once(' ') {
            Some(("transact", ordinal)) => {
                let ordinal = ordinal.parse().map_err(|error| format!("{word}: {error}"))?;
                transact(first, &env, orders, ordinal)?;
            }
            _ => break,
        }
    }
    env.close().map_err(|error| format!("close: {error}"))?;
    first.tell(&Told::Closed).map(drop).map_err(said)
}

fn transact(first: &First, env: &Env, orders: &Orders, ordinal: u64) -> Result<(), String> {
    let said = |error: io::Error| format!("nobody listens: {error}");
    let mut txn = workload::begin(env, ordinal).map_err(|error| format!("write: {error}"))?;
    let base = state_of(env).map_err(|error| format!("read: {error}"))?;
    let (transaction, _) = Transaction::draw(orders.seed, ordinal, &base, &orders.profile);
    first.tell(&Told::Began(txn.txnid())).map_err(said)?;
    txn.durability(transaction.durability);
    let mut between = || first.tell(&Told::Between).map(drop);
    let told = match transaction.perform(&mut txn, &mut between) {
        Err(Error::QuotaReached { .. }) => Told::GaveUp,
        Err(error) => return Err(format!("a change: {error}")),
        Ok(()) if transaction.gives_up => Told::GaveUp,
        Ok(()) => {
            first.tell(&Told::Ready).map_err(said)?;
            match transaction.commit(env, txn) {
                Ok(committed) => Told::Committed(committed.txnid),
                Err(Error::QuotaReached { .. }) => Told::GaveUp,
                Err(error) => return Err(format!("commit: {error}")),
            }
        }
    };
    first.tell(&told).map(drop).map_err(said)
}

/// The latest state, named snapshots included. Nobody else writes.
fn state_of(env: &Env) -> mapledb::Result<State> {
    let mut state = State { tables: tables_of(&env.read()?)?, ..State::default() };
    for snapshot in env.snapshots()? {
        let tables = tables_of(&env.read_snapshot(&snapshot.name)?)?;
        state.snapshots.insert(snapshot.name, Some(tables.into()));
    }
    Ok(state)
}

fn tables_of(txn: &ReadTxn) -> mapledb::Result<Tables> {
    let tables = txn.tables()?.into_iter().map(|info| {
        let state = table_of(txn, &info)?;
        Ok((info.name.unwrap_or_default(), state))
    });
    tables.collect()
}

fn table_of(txn: &ReadTxn, info: &TableInfo) -> mapledb::Result<TableState> {
    let order = order::named(&info.order).unwrap_or_default();
    let mut state = TableState::default().in_order(order);
    state.sequence = info.sequence;
    let name = info.name.as_deref().unwrap_or_default();
    if let Some(kind) = info.duplicates {
        let mut pairs = Pairs::new(kind).in_order(order);
        for pair in txn.multimap(&Multimap::untyped(name))?.iter()? {
            let (key, dup) = pair?;
            pairs.insert(key, dup);
        }
        state.pairs = Some(pairs);
        return Ok(state);
    }
    let table = if name.is_empty() { txn.main()? } else { txn.table(&Table::untyped(name))? };
    for entry in table.iter()? {
        let (key, value) = entry?;
        state.put(key, value.into());
    }
    Ok(state)
}
