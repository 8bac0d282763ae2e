//! What the processes tell each other: the service writes a job and then orders to a process's stdin, the process
//! answers with events on its stdout, one JSON line each. A closed stdin ends the process, so none outlives the
//! service.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::smaps::Memory;
use crate::source::Source;
use crate::verdict::Verdict;

/// The first line a process gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The process's name, in what it prints.
    pub name: String,
    pub role: Role,
    pub source: Source,
    /// The database, without symbolic links.
    pub file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Reader { seed: u64 },
    Writer { replacements: u32, commits: Commits },
}

/// In how many commits the writer replaces the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commits {
    One,
    /// First IPv4, then IPv6: what must never be done, and what the readers must notice.
    Two,
}

/// The lines that follow a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The writer begins to replace.
    Replace,
    /// The process stops its work and reports. It stays alive until its stdin closes, so that what all hold in
    /// memory is measured while all hold it.
    Report,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A reader has finished its first transaction.
    Ready,
    /// The writer has loaded the first generation, or a further one in the place of another.
    Replaced(Replacement),
    WriterReport {
        memory: Memory,
    },
    ReaderReport(Box<ReaderReport>),
}

/// One generation put in the place of another, or the first load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    pub generation: u32,
    pub ranges: u64,
    /// From the begin of the transaction until the commit begins; in microseconds.
    pub load_us: u64,
    pub commit_us: u64,
    /// The data file's length after the commit.
    pub file_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderReport {
    pub verdict: Verdict,
    /// How many generations it has seen.
    pub generations: u32,
    /// How long it read, every check included.
    pub elapsed_us: u64,
    /// How much of that was spent in lookups.
    pub looking_up_us: u64,
    pub latency: Latency,
    pub memory: Memory,
}

/// Percentiles of one lookup's time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

/// Writes one message as one line.
///
/// # Errors
/// The other side has gone.
pub fn send(message: &impl Serialize, to: &mut impl Write) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()?;
    Ok(())
}

/// Reads one message; `None` once the other side has closed.
///
/// # Errors
/// A line that is no such message.
pub fn receive<M: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<M>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).with_context(|| format!("not a message: {}", line.trim_end()))
}

/// Tells the service, from one of its processes.
///
/// # Errors
/// The service has gone.
pub fn tell(event: &Event) -> Result<()> {
    send(event, &mut io::stdout().lock()).context("the service has gone")
}

/// Waits for an order, in one of the service's processes.
///
/// # Errors
/// Another order, or the service has gone.
pub fn await_order(expected: Order) -> Result<()> {
    match receive(&mut io::stdin().lock())? {
        Some(order) if order == expected => Ok(()),
        Some::<Order>(order) => bail!("expected the order {expected:?}, got {order:?}"),
        None => bail!("the service has gone"),
    }
}

/// Waits until the service closes the stdin of one of its processes.
///
/// # Errors
/// The pipe cannot be read.
pub fn await_end() -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_reads_back() {
        let job = Job {
            name: "writer".into(),
            role: Role::Writer { replacements: 20, commits: Commits::Two },
            source: Source::Sample { why: "line\nbreak".into() },
            file: "a b".into(),
        };
        let mut bytes = vec![];
        send(&job, &mut bytes).expect("a vector takes all");
        send(&Order::Report, &mut bytes).expect("a vector takes all");
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 2);
        let mut bytes = &bytes[..];
        assert_eq!(receive(&mut bytes).expect("a job"), Some(job));
        assert_eq!(receive(&mut bytes).expect("an order"), Some(Order::Report));
        assert_eq!(receive::<Order>(&mut bytes).expect("the end"), None);
    }

    #[test]
    fn a_line_that_is_no_message_is_quoted() {
        let error = receive::<Order>(&mut &b"thread panicked\n"[..]).expect_err("not JSON");
        assert_eq!(error.to_string(), "not a message: thread panicked");
    }
}
