//! The service: one writer process and several reader processes on one file, started, told and judged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::message::{Commits, Event, Job, Order, ReaderReport, Replacement, Role};
use crate::process::Process;
use crate::smaps::Memory;
use crate::source::Source;

/// One run of the service.
pub struct Service {
    pub source: Source,
    /// The database; an earlier one is removed.
    pub file: PathBuf,
    pub readers: u32,
    pub replacements: u32,
    pub commits: Commits,
    pub seed: u64,
}

/// What the processes reported.
pub struct Outcome {
    pub load: Replacement,
    pub replacements: Vec<Replacement>,
    pub readers: Vec<Member<ReaderReport>>,
    pub writer: Member<Memory>,
}

/// A process by name, and what it said last.
pub struct Member<R> {
    pub name: String,
    pub pid: u32,
    pub report: R,
}

impl<R> Member<R> {
    fn new(process: &Process, report: R) -> Member<R> {
        Member { name: process.name().to_owned(), pid: process.pid(), report }
    }
}

impl Service {
    /// Runs the service to its end: the writer loads, the readers begin, the writer replaces, all report, all end.
    ///
    /// # Errors
    /// A process fails, hangs or says what it should not; the others are killed.
    pub fn run(&self) -> Result<Outcome> {
        remove_earlier(&self.file)?;
        let mut writer =
            self.start("writer", Role::Writer { replacements: self.replacements, commits: self.commits })?;
        let load = replaced(&mut writer)?;
        let mut readers = (1..=self.readers)
            .map(|number| {
                let seed = self.seed.wrapping_add(number.into());
                self.start(&format!("reader {number}"), Role::Reader { seed })
            })
            .collect::<Result<Vec<Process>>>()?;
        for reader in &mut readers {
            match reader.event()? {
                Event::Ready => {}
                other => bail!("{} said {other:?} before it was ready", reader.name()),
            }
        }

        writer.order(Order::Replace)?;
        let replacements =
            (0..self.replacements).map(|_| replaced(&mut writer)).collect::<Result<Vec<Replacement>>>()?;
        for process in readers.iter_mut().chain([&mut writer]) {
            process.order(Order::Report)?;
        }
        let outcome = Outcome {
            load,
            replacements,
            readers: readers.iter_mut().map(reader_report).collect::<Result<_>>()?,
            writer: writer_report(&mut writer)?,
        };
        // Only now: each has measured its memory while the others still held theirs.
        readers.into_iter().chain([writer]).try_for_each(Process::end)?;
        Ok(outcome)
    }

    fn start(&self, name: &str, role: Role) -> Result<Process> {
        let job = Job { name: name.to_owned(), role, source: self.source.clone(), file: self.file.clone() };
        Process::start(&job)
    }
}

fn replaced(writer: &mut Process) -> Result<Replacement> {
    match writer.event()? {
        Event::Replaced(replacement) => Ok(replacement),
        other => bail!("{} said {other:?} instead of a replacement", writer.name()),
    }
}

fn writer_report(writer: &mut Process) -> Result<Member<Memory>> {
    match writer.event()? {
        Event::WriterReport { memory } => Ok(Member::new(writer, memory)),
        other => bail!("{} said {other:?} instead of its report", writer.name()),
    }
}

fn reader_report(reader: &mut Process) -> Result<Member<ReaderReport>> {
    match reader.event()? {
        Event::ReaderReport(report) => Ok(Member::new(reader, *report)),
        other => bail!("{} said {other:?} instead of its report", reader.name()),
    }
}

fn remove_earlier(file: &Path) -> Result<()> {
    let mut lock = file.as_os_str().to_owned();
    lock.push("-lock");
    for path in [file, Path::new(&lock)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Outcome {
    /// What is not as it must be, after a run with one commit each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        for Member { name, report, .. } in &self.readers {
            let verdict = &report.verdict;
            if verdict.mixed > 0 || verdict.wrong > 0 {
                let first = verdict.first_trouble.as_deref().unwrap_or("not told");
                faults
                    .push(format!("{name}: mixed={} wrong={}, first: {first}", verdict.mixed, verdict.wrong));
            }
            if report.generations < 2 {
                faults.push(format!("{name} saw no replacement at all, so it has shown nothing"));
            }
        }
        faults
    }

    /// What is not as it must be, after a canary: both checks must have fired.
    pub fn canary_faults(&self) -> Vec<String> {
        let (mixed_generations, mixed_counts) = self.readers.iter().fold((0, 0), |(a, b), reader| {
            let verdict = &reader.report.verdict;
            (a + verdict.mixed_generations, b + verdict.mixed_counts)
        });
        let mut faults = vec![];
        if mixed_generations == 0 {
            faults.push("canary: no reader noticed two generations in one transaction".to_owned());
        }
        if mixed_counts == 0 {
            faults.push("canary: no reader noticed the count of another generation".to_owned());
        }
        faults
    }
}
