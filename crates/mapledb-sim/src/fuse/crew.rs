//! The processes at work on a file system that is watched.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::writeback::WriteBack;
use crate::actor::{self, Orders, Role};
use crate::harness::Ask;
use crate::verify::Broken;

/// A process at work, and one that presses the kernel. They die when this goes.
#[derive(Debug)]
pub struct Crew {
    /// The one at work.
    pub actor: Child,
    presser: Option<Child>,
}

impl Crew {
    /// Starts them.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(ask: &Ask, orders: Orders, presses: Option<WriteBack>) -> Result<Crew, String> {
        let spawn = |role: &Role, command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().map_err(|error| format!("start {role:?}: {error}"))
        };
        let presser = match presses {
            Some(presses) => {
                let role = Role::WriteBack(presses);
                Some(spawn(&role, &mut actor::command(&ask.exe, &role))?)
            }
            None => None,
        };
        let role = Role::Workload(orders);
        let mut command = actor::command(&ask.exe, &role);
        match spawn(&role, command.stderr(Stdio::piped())) {
            Ok(actor) => Ok(Crew { actor, presser }),
            Err(why) => {
                presser.into_iter().for_each(end);
                Err(why)
            }
        }
    }

    /// Waits for the actor to end by itself.
    ///
    /// # Errors
    /// It failed, and what it said; or it takes too long.
    pub fn wait(&mut self, patience: Duration) -> Result<(), Broken> {
        match self.end(patience)? {
            (status, _) if status.success() => Ok(()),
            (status, said) => Err(format!("the process at work ended with {status}: {said}")),
        }
    }

    /// Waits for the actor to end in whatever way. Answers how, and what it said.
    ///
    /// # Errors
    /// It takes too long.
    pub fn end(&mut self, patience: Duration) -> Result<(ExitStatus, String), Broken> {
        let deadline = Instant::now() + patience;
        loop {
            match self.actor.try_wait() {
                Ok(Some(status)) => {
                    let mut said = String::new();
                    if let Some(mut stderr) = self.actor.stderr.take() {
                        // What cannot be read is not told.
                        let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
                    }
                    return Ok((status, said.trim().to_string()));
                }
                Ok(None) if Instant::now() >= deadline => {
                    return Err(format!("the process at work has not ended within {patience:?}"));
                }
                Ok(None) => std::thread::sleep(Duration::from_micros(500)),
                Err(error) => return Err(format!("wait: {error}")),
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if let Some(presser) = self.presser.take() {
            end(presser);
        }
        let _ = self.actor.kill();
        let _ = self.actor.wait();
    }
}

/// Ends a process for sure.
pub fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
