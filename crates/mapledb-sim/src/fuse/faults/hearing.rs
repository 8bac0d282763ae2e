//! What others hear of a fault: who had the file open before it, and who comes after it and heals.

use rand::Rng;

use super::super::recorded::{DATA, LOCK};
use super::super::server::{Fault, Operation};
use super::super::witness::{Answer, Heard};
use super::{OPENINGS, Scene};
use crate::harness::Tally;
use crate::verify::Broken;

impl Scene<'_> {
    /// Who had the file open before the fault sees true bytes or an error, and writes only if nobody noticed the fault.
    pub(super) fn hear_early(&mut self, mut witness: Heard, tally: &mut Tally) -> Result<(), Broken> {
        let was_noticed = self.recording.lines().contains("{\"indeterminate\"");
        tally.count("with one who had it open before", 1);
        self.ask(&mut witness, "look")?;
        match self.ask(&mut witness, "heal")? {
            Answer::Healed { .. } if was_noticed => {
                return Err("one may write though another has noticed a failed sync".to_string());
            }
            Answer::Healed { .. } => {
                // Relaxed commits of the dead are durable when a barrier for them has returned.
                let synced = self.ask(&mut witness, "sync")? == Answer::Done;
                let seen = self.ask(&mut witness, "look")?;
                if let (true, Answer::Stands { index, txnid }) = (synced, seen) {
                    tally.count("healed by one who had it open before", 1);
                    self.stands(index, txnid)?;
                    self.crash("after healing by one who had it open before", tally)?;
                }
            }
            Answer::Poisoned => {
                tally.count("poisoned for one who had it open before", 1);
                self.ask(&mut witness, "look")?;
            }
            _ => {}
        }
        if self.drawn.closes {
            self.ask(&mut witness, "close")?;
        }
        Ok(())
    }

    /// Who comes after the fault heals the file, and what it reports stands.
    pub(super) fn hear_late(&mut self, tally: &mut Tally) -> Result<(), Broken> {
        if self.drawn.fails_again {
            let operation = if self.rng.random() { Operation::Flush } else { Operation::Write };
            let after = self.rng.random_range(0..4);
            let errno = libc::EIO;
            self.recording.fail(Some(Fault { operation, after, errno, for_good: false, kills: false }));
        }
        let before = self.recording.faults_met();
        for opening in 1..=OPENINGS {
            let mut witness = self.witness()?;
            match self.ask(&mut witness, "open")? {
                Answer::Done => {
                    self.recording.fail(None);
                    return self.hear_healer(witness, tally);
                }
                Answer::Said { .. } if !self.story()?.lawful().is_made && !self.ground.at(DATA).exists() => {
                    tally.count("before there was a file", 1);
                    return Ok(());
                }
                Answer::Said { .. } if !self.is_well() => {
                    tally.count("after which the file system is gone", 1);
                    return self.crash("after the file system had gone", tally);
                }
                Answer::Said { .. } if opening < OPENINGS => {
                    tally.count("openings that hear of the fault", 1);
                    self.crash("after an opening that failed", tally)?;
                    self.evict()?;
                }
                other => return Err(format!("opening for the {opening}. time: {other:?}")),
            }
            tally.count("faults of healing", self.recording.faults_met() - before);
        }
        Ok(())
    }

    pub(super) fn hear_healer(&mut self, mut witness: Heard, tally: &mut Tally) -> Result<(), Broken> {
        match self.ask(&mut witness, "law")? {
            Answer::Stands { index, txnid } => self.stands(index, txnid)?,
            other => return Err(format!("after healing: {other:?}")),
        }
        tally.count("healed by one who came after", 1);
        self.crash("after healing by one who came after", tally)?;
        match self.ask(&mut witness, "heal")? {
            Answer::Healed { .. } => {}
            // The first write syncs the lock file, and may be the first to hear of a write to that which failed.
            Answer::Said { what } if what.contains(LOCK) => {
                tally.count("with a fault of the lock file", 1);
                return self.crash("after a fault of the lock file", tally);
            }
            other => return Err(format!("a write after healing: {other:?}")),
        }
        if self.drawn.closes {
            match self.ask(&mut witness, "close")? {
                Answer::Done => self.crash("after healing and closing", tally)?,
                other => return Err(format!("closing after healing: {other:?}")),
            }
        }
        Ok(())
    }
}
