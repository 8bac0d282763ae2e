//! A look at the counters, and what was added between two of them.

use std::time::{Duration, Instant};

use mapledb::{Env, Info, ProcessInfo, ReaderInfo, StageInfo};
use serde::Serialize;

use crate::door::failure;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{self, Column};
use crate::time;

/// The most readers that are listed: those that have read longest.
const READERS_MAX: usize = 10;

/// The counters at one moment.
pub struct Look {
    at: Instant,
    info: Info,
    processes: Vec<ProcessInfo>,
    readers: Vec<ReaderInfo>,
    stages: Vec<StageInfo>,
}

impl Look {
    /// Looks. What this process does itself is left out.
    pub fn at(env: &Env) -> Result<Look, Failure> {
        let mut processes = env.processes().map_err(failure)?;
        processes.retain(|process| !process.is_own);
        let mut readers = env.readers().map_err(failure)?;
        readers.retain(|reader| !reader.is_own);
        readers.sort_by_key(|reader| reader.began_at_ns);
        let info = env.info().map_err(failure)?;
        Ok(Look { at: Instant::now(), info, processes, readers, stages: env.stages() })
    }
}

/// What went on between two looks.
#[derive(Debug, Serialize)]
pub struct Report {
    path: String,
    seconds: f64,
    txnid: u64,
    durable_txnid: u64,
    waiting_bytes: u64,
    poisoned: bool,
    processes: Vec<Process>,
    stages: Vec<Stage>,
    readers: Vec<Reader>,
    readers_in_all: u64,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    command: Option<String>,
    attached_seconds: u64,
    readers: u64,
    oldest_snapshot: Option<u64>,
    gets: u64,
    changes: u64,
    commits: u64,
    pages_written: u64,
    gets_per_second: u64,
    changes_per_second: u64,
    commits_per_second: u64,
    pages_written_per_second: u64,
}

#[derive(Debug, Serialize)]
struct Stage {
    stage: &'static str,
    count: u64,
    mean_us: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Reader {
    pid: u32,
    tid: u32,
    txnid: u64,
    behind: u64,
    age_seconds: u64,
}

impl Report {
    /// What was added from one look to the next.
    pub fn between(before: &Look, now: &Look) -> Report {
        let elapsed = now.at.saturating_duration_since(before.at);
        let waiting_pages = now.info.waiting_pages;
        Report {
            path: now.info.path.display().to_string(),
            seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            txnid: now.info.txnid,
            durable_txnid: now.info.durable_txnid,
            waiting_bytes: waiting_pages.saturating_mul(now.info.page_size as u64),
            poisoned: now.info.is_poisoned,
            processes: now
                .processes
                .iter()
                .map(|process| Process::of(process, before, now, elapsed))
                .collect(),
            stages: now.stages.iter().map(|stage| Stage::of(stage, before)).collect(),
            readers: now.readers.iter().take(READERS_MAX).map(|reader| Reader::of(reader, now)).collect(),
            readers_in_all: now.readers.len() as u64,
        }
    }

    /// Prints it for people.
    pub fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let durable = match self.txnid.saturating_sub(self.durable_txnid) {
            0 => "durable".to_owned(),
            behind => format!("{} not durable yet", table::count(behind)),
        };
        output.line(format!(
            "{}: commit {}, {durable}; {} wait for readers{}",
            self.path,
            self.txnid,
            table::size(self.waiting_bytes),
            if self.poisoned { "; POISONED" } else { "" }
        ))?;
        output.line("")?;
        self.list_processes(output)?;
        output.line("")?;
        self.list_stages(output)?;
        if !self.readers.is_empty() {
            output.line("")?;
            self.list_readers(output)?;
        }
        Ok(())
    }

    fn list_processes(&self, output: &mut Output) -> Result<(), Failure> {
        if self.processes.is_empty() {
            return output.line("no other process has the database open");
        }
        let columns = [
            Column::Numbers("pid"),
            Column::Words("command"),
            Column::Numbers("gets/s"),
            Column::Numbers("changes/s"),
            Column::Numbers("commits/s"),
            Column::Numbers("pages/s"),
            Column::Numbers("readers"),
            Column::Words("holds"),
        ];
        let rows = self.processes.iter().map(|process| {
            [
                process.pid.to_string(),
                process.command.clone().unwrap_or_else(|| "?".to_owned()),
                table::count(process.gets_per_second),
                table::count(process.changes_per_second),
                table::count(process.commits_per_second),
                table::count(process.pages_written_per_second),
                process.readers.to_string(),
                process.oldest_snapshot.map_or_else(String::new, |oldest| format!("commit {oldest}")),
            ]
        });
        table::rows(output, columns, rows)
    }

    fn list_stages(&self, output: &mut Output) -> Result<(), Failure> {
        let columns = [
            Column::Words("commits"),
            Column::Numbers("count"),
            Column::Numbers("mean"),
            Column::Numbers("half below"),
            Column::Numbers("99 % below"),
        ];
        let shown =
            |us: Option<f64>| us.map_or_else(String::new, |us| format!("{} us", table::count(us as u64)));
        let rows = self.stages.iter().map(|stage| {
            [
                stage.stage.replace('_', " "),
                table::count(stage.count),
                shown(stage.mean_us),
                shown(stage.p50_us),
                shown(stage.p99_us),
            ]
        });
        table::rows(output, columns, rows)
    }

    fn list_readers(&self, output: &mut Output) -> Result<(), Failure> {
        let columns = [
            Column::Numbers("reader"),
            Column::Numbers("thread"),
            Column::Numbers("snapshot"),
            Column::Numbers("behind"),
            Column::Words("age"),
        ];
        let rows = self.readers.iter().map(|reader| {
            [
                reader.pid.to_string(),
                reader.tid.to_string(),
                reader.txnid.to_string(),
                table::count(reader.behind),
                time::words(Duration::from_secs(reader.age_seconds)),
            ]
        });
        table::rows(output, columns, rows)?;
        match self.readers_in_all.saturating_sub(self.readers.len() as u64) {
            0 => Ok(()),
            more => output.line(format!("and {} more that began later", table::count(more))),
        }
    }
}

impl Process {
    fn of(process: &ProcessInfo, before: &Look, now: &Look, elapsed: Duration) -> Process {
        let same =
            |other: &&ProcessInfo| (other.pid, other.attached_at_ns) == (process.pid, process.attached_at_ns);
        let earlier = before.processes.iter().find(same);
        let rate = |count: fn(&ProcessInfo) -> u64| {
            let added = count(process).saturating_sub(earlier.map_or(0, count));
            (added as f64 / elapsed.as_secs_f64().max(1e-3)).round() as u64
        };
        let of_it = || now.readers.iter().filter(|reader| reader.pid == process.pid);
        Process {
            pid: process.pid,
            command: command(process.pid),
            attached_seconds: time::since(process.attached_at_ns).as_secs(),
            readers: of_it().count() as u64,
            oldest_snapshot: of_it().map(|reader| reader.txnid).min(),
            gets: process.gets,
            changes: process.changes,
            commits: process.commits,
            pages_written: process.pages_written,
            gets_per_second: rate(|process| process.gets),
            changes_per_second: rate(|process| process.changes),
            commits_per_second: rate(|process| process.commits),
            pages_written_per_second: rate(|process| process.pages_written),
        }
    }
}

/// The name of a process, where it is in this PID namespace and may be seen.
fn command(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

impl Stage {
    fn of(stage: &StageInfo, before: &Look) -> Stage {
        let earlier = before.stages.iter().find(|earlier| earlier.name == stage.name);
        let added = earlier.map_or_else(|| stage.clone(), |earlier| stage.since(earlier));
        let us = |time: Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
        let count = added.count();
        Stage {
            stage: added.name,
            count,
            mean_us: (count > 0).then(|| us(Duration::from_nanos(added.total_ns / count))),
            p50_us: added.quantile(0.5).map(us),
            p99_us: added.quantile(0.99).map(us),
        }
    }
}

impl Reader {
    fn of(reader: &ReaderInfo, now: &Look) -> Reader {
        Reader {
            pid: reader.pid,
            tid: reader.tid,
            txnid: reader.txnid,
            behind: now.info.txnid.saturating_sub(reader.txnid),
            age_seconds: time::since(reader.began_at_ns).as_secs(),
        }
    }
}
