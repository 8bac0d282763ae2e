//! A child that makes changes, as its parent sees it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::plan::{Case, Shard};
use super::{Counts, Part};
use crate::actor::{self, Role};
use crate::harness::Ask;
use crate::verify::Broken;

/// How long a single change may take before it counts as a hang.
const HANG: Duration = Duration::from_secs(30);

/// A child at work, as its parent sees it.
pub(super) struct Worker {
    child: Child,
    lines: Receiver<Counts>,
    note: File,
    noted: [u8; 16],
    since: Instant,
    /// What it has told so far.
    pub(super) counts: Counts,
}

impl Worker {
    /// Starts it.
    pub(super) fn start(ask: &Ask, shard: Shard) -> io::Result<Worker> {
        let note = File::options().read(true).write(true).create(true).truncate(true).open(&shard.note)?;
        let mut command = actor::command(&ask.exe, &Role::Hostile(shard));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                lines
                    .filter_map(|line| serde_json::from_str(&line).ok())
                    .all(|counts| sender.send(counts).is_ok());
            });
        }
        Ok(Worker { child, lines, note, noted: [0; 16], since: Instant::now(), counts: Counts::default() })
    }

    /// The change it is at, or was.
    pub(super) fn case(&self) -> Option<Case> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| self.noted[at + byte]));
        Some(Case { part: *Part::ALL.get(word(0) as usize)?, index: word(8) })
    }

    /// Looks at it: whether it has ended well, and why if it has not.
    pub(super) fn look(&mut self) -> Result<bool, Broken> {
        while let Ok(counts) = self.lines.try_recv() {
            self.counts = counts;
        }
        let mut noted = [0; 16];
        if self.note.read_at(&mut noted, 0).is_ok_and(|got| got == 16) && noted != self.noted {
            (self.noted, self.since) = (noted, Instant::now());
        }
        match self.child.try_wait().map_err(|error| error.to_string())? {
            None if self.since.elapsed() > HANG => Err(format!("it hangs: {HANG:?} for one change")),
            None => Ok(false),
            Some(status) => {
                // The last line may have come between the first look and the end.
                if let Ok(counts) = self.lines.recv_timeout(Duration::from_secs(1)) {
                    self.counts = counts;
                    while let Ok(counts) = self.lines.recv_timeout(Duration::from_secs(1)) {
                        self.counts = counts;
                    }
                }
                if status.success() {
                    return Ok(true);
                }
                let mut why = String::new();
                if let Some(errors) = &mut self.child.stderr {
                    let _ = errors.read_to_string(&mut why);
                }
                Err(format!("{status}: {}", why.trim_end()))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
