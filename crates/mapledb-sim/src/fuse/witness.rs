//! A process that has the file open while another one meets a fault, or that comes after it, and says what it sees.
//!
//! It speaks with the harness by lines: it answers each with one line of JSON.
//!
//! | line | what it does |
//! |---|---|
//! | `open` | opens the file |
//! | `look` | reads, and compares what it reads with what the journal allows |
//! | `law` | likewise, with a full check |
//! | `heal` | begins a write transaction, which settles what a dead writer left, and drops it |
//! | `sync` | makes what is published durable |
//! | `close` | closes the environment |
//! | `evict` | has the kernel drop what it has cached of the file |
//!
//! It dies with its input.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use mapledb::{Env, Error};
use serde::{Deserialize, Serialize};

use super::crew::end;
use super::recorded::profile_of;
use super::story::Story;
use crate::actor::{self, Role};
use crate::harness::Ask;
use crate::verify::{Mismatch, compare, law};

/// What a witness is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Witness {
    /// The data file.
    pub path: PathBuf,
    /// The lines of the journal, written before the witness is asked to look.
    pub lines: PathBuf,
    /// The seed of those.
    pub seed: u64,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// This commit stands, whole, under this number.
    Stands {
        /// The commit's index in the history.
        index: usize,
        /// The number it goes by.
        txnid: u64,
    },
    /// The writer lock was had, and this number given out.
    Healed {
        /// The number.
        txnid: u64,
    },
    /// The engine refuses because a sync has failed before.
    Poisoned,
    /// The engine reports an error.
    Said {
        /// Which.
        what: String,
    },
    /// The law is broken.
    Broken {
        /// How.
        what: String,
    },
}

impl Witness {
    /// Serves until its input ends.
    ///
    /// # Errors
    /// It cannot be spoken with.
    pub fn run(self) -> Result<(), String> {
        let dies = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        dies.map_err(|error| format!("die with the parent: {error}"))?;
        let mut env = None;
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| error.to_string())?;
            let answer =
                serde_json::to_string(&self.answer(&line, &mut env)).map_err(|error| error.to_string())?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
        }
        // As if it were killed: nothing is closed.
        std::process::exit(0);
    }

    fn answer(&self, line: &str, env: &mut Option<Env>) -> Answer {
        match (line, &*env) {
            ("open", _) => match self.open() {
                Ok(opened) => {
                    *env = Some(opened);
                    Answer::Done
                }
                Err(error) => said(error),
            },
            ("look", Some(env)) => self.look(env),
            ("law", Some(env)) => self.law(env),
            ("heal", Some(env)) => match env.write() {
                Ok(txn) => Answer::Healed { txnid: txn.txnid() },
                Err(error) => said(error),
            },
            ("sync", Some(env)) => match env.sync() {
                Ok(()) => Answer::Done,
                Err(error) => said(error),
            },
            ("close", _) => match env.take().map(Env::close) {
                Some(Err(error)) => said(error),
                _ => Answer::Done,
            },
            ("evict", _) => self.evict(),
            _ => Answer::Broken { what: format!("nothing is known of {line:?} here") },
        }
    }

    #[allow(unsafe_code)]
    fn open(&self) -> mapledb::Result<Env> {
        let options = actor::options(&profile_of(self.seed)).catch_sigbus(true);
        // SAFETY: nothing but MapleDB writes to the file while it is open.
        unsafe { options.open(&self.path) }
    }

    fn story(&self) -> Result<Story, String> {
        let lines = std::fs::read_to_string(&self.lines).map_err(|error| format!("the lines: {error}"))?;
        let mut story = Story::new(self.seed, profile_of(self.seed));
        story.take(&lines)?;
        Ok(story)
    }

    /// What a reader sees: the true bytes of a commit, or an error.
    fn look(&self, env: &Env) -> Answer {
        let broken = |what: String| Answer::Broken { what };
        let lawful = match self.story() {
            Ok(story) => story.lawful(),
            Err(what) => return broken(what),
        };
        let txn = match env.read() {
            Ok(txn) => txn,
            Err(error) => return said(error),
        };
        let txnid = txn.txnid();
        // A number that nobody was told is that of a commit of nothing, by which a transaction began that was cut short.
        let untold = (txnid > lawful.bounds.txnid_max).then_some(lawful.bounds.reached);
        let Some(index) = lawful.history.find(txnid).or(untold) else {
            return broken(format!("a reader sees transaction {txnid}, which is no commit"));
        };
        if index < lawful.bounds.durable || index > lawful.bounds.reached {
            return broken(format!("a reader sees commit {index}: {:?}", lawful.bounds));
        }
        match compare(&txn, &lawful.history.at(index).state) {
            Ok(()) => Answer::Stands { index, txnid },
            Err(Mismatch::Said(_, error)) if index > lawful.bounds.durable => said(error),
            Err(mismatch) => broken(format!("a reader of commit {index}: {mismatch}")),
        }
    }

    fn law(&self, env: &Env) -> Answer {
        let found = self.story().and_then(|story| {
            let lawful = story.lawful();
            law(env, &lawful.history, &lawful.bounds)
        });
        match found {
            Ok((index, txnid)) => Answer::Stands { index, txnid },
            Err(what) => Answer::Broken { what },
        }
    }

    fn evict(&self) -> Answer {
        let evicted = std::fs::File::open(&self.path).map_err(|error| error.to_string()).and_then(|file| {
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, advice).map_err(|error| error.to_string())
        });
        match evicted {
            Ok(()) => Answer::Done,
            Err(what) => Answer::Said { what },
        }
    }
}

fn said(error: Error) -> Answer {
    match error {
        Error::Poisoned { .. } => Answer::Poisoned,
        error => Answer::Said { what: error.to_string() },
    }
}

/// A witness, seen from the harness. It is killed when this goes.
#[derive(Debug)]
pub struct Heard {
    child: Option<Child>,
    said: Option<BufReader<std::process::ChildStdout>>,
}

impl Heard {
    /// Starts one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(ask: &Ask, witness: Witness) -> Result<Heard, String> {
        let mut command: Command = actor::command(&ask.exe, &Role::Witness(witness));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| format!("start a witness: {error}"))?;
        let said = child.stdout.take().map(BufReader::new);
        Ok(Heard { child: Some(child), said })
    }

    /// Asks it for something.
    ///
    /// # Errors
    /// It has died.
    pub fn ask(&mut self, line: &str) -> Result<Answer, String> {
        let (Some(child), Some(said)) = (&mut self.child, &mut self.said) else {
            return Err("the witness is gone".to_string());
        };
        let written =
            child.stdin.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        let mut answer = String::new();
        if matches!(written, Some(Ok(()))) && matches!(said.read_line(&mut answer), Ok(1..)) {
            return serde_json::from_str(&answer).map_err(|error| format!("a witness: {error}"));
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        Err(format!("a witness that was to {line} ended with {status}"))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.child.take().into_iter().for_each(end);
    }
}
