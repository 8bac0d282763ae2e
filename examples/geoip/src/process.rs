//! One process of the service, as the service sees it: this program again, spoken to over its pipes.

use std::env;
use std::io::BufReader;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::message::{self, Event, Job, Order};

/// The only word on the command line that makes this program a process of the service.
pub const WORKER: &str = "--worker";

/// A process that says nothing for so long hangs: the longest silence is one replacement, far below.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A running process. Dropped before its end, it is killed.
pub struct Process {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    events: Receiver<Result<Event>>,
}

impl Process {
    /// Starts this program again and hands it its job. Its stderr is ours.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(job: &Job) -> Result<Process> {
        let program = env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", job.name))?;
        let orders = child.stdin.take();
        let mut said = BufReader::new(child.stdout.take().expect("its stdout was asked for"));
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            while let Some(event) = message::receive(&mut said).transpose() {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut process = Process { name: job.name.clone(), child, orders, events };
        process.say(job)?;
        Ok(process)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// The process has gone.
    pub fn order(&mut self, order: Order) -> Result<()> {
        self.say(&order)
    }

    fn say(&mut self, message: &impl serde::Serialize) -> Result<()> {
        let orders = self.orders.as_mut().expect("the pipe is open until the process is ended");
        match message::send(message, orders) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.gone()),
        }
    }

    /// Why nothing comes from it any more. A process closes its pipes only by ending.
    fn gone(&mut self) -> anyhow::Error {
        match self.child.wait() {
            Ok(status) => anyhow!("{} ended before its work was done: {status}", self.name),
            Err(error) => anyhow!("{} ended before its work was done: {error}", self.name),
        }
    }

    /// Waits for what the process says next.
    ///
    /// # Errors
    /// It ended, hangs, or said something else.
    pub fn event(&mut self) -> Result<Event> {
        match self.events.recv_timeout(SILENCE_MAX) {
            Ok(event) => event.with_context(|| format!("from {}", self.name)),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} has said nothing for {} s", self.name, SILENCE_MAX.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.gone()),
        }
    }

    /// Lets the process end and waits until it has.
    ///
    /// # Errors
    /// It failed.
    pub fn end(mut self) -> Result<()> {
        self.orders = None;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} failed: {status}", self.name);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both refuse a process that has been waited for, and that is the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
