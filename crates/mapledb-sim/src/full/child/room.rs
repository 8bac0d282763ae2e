//! What is done where there is no room, and when there is some again.

use std::process::Command;
use std::sync::Arc;

use mapledb::{Durability, Table};
use rand::Rng;

use super::{FILL, MIB, Outcome, Session, free_bytes, is_want_of_room, open, run, told_of_room};
use crate::verify::{Broken, said};

impl Session<'_> {
    /// After a failed sync what was relaxed may be gone. Where a store takes a block, recovery may find none, and the file begins anew
    /// when no ballast is left.
    pub(super) fn recover(&mut self) -> Result<(), Broken> {
        self.bounds.acked = self.bounds.durable;
        for _ in 0..64 {
            let error = match open(&self.path, self.options()) {
                Ok(env) => {
                    self.takes(env, "opening again")?;
                    return self.stands("after recovery");
                }
                Err(error) => error,
            };
            let is_fault = matches!(self.outcome(&error), Ok(Outcome::Poisoned));
            if !(is_fault || is_want_of_room(&error) || told_of_room(&error)) {
                return Err(format!("opening again: {error:?}: {error}"));
            }
            match self.given_more()? {
                true => {}
                false if self.orders.kind.copies_on_write() => {
                    self.count("recoveries without room");
                    return self.start_over();
                }
                false => return Err(format!("opening again: {error}")),
            }
        }
        Err("recovery finds no room, however much there is".to_string())
    }

    pub(super) fn given_more(&mut self) -> Result<bool, Broken> {
        match &mut self.ballast {
            Some(ballast) => Ok(ballast.give(2 * MIB)? > 0),
            None => Ok(false),
        }
    }

    /// Deletes something while there is no room: the pages of earlier commits are let go of, and serve.
    pub(super) fn delete_some(&mut self) -> Result<(), Broken> {
        let count = self.rng.random_range(1..6);
        let Some(table) = self.state().tables.get(FILL) else { return Ok(()) };
        let keys: Vec<Vec<u8>> = table.entries.keys().take(count).cloned().collect();
        for _ in 0..3 {
            let mut after = self.state().clone();
            let table = after.tables.entry(FILL.to_string()).or_default();
            table.entries.retain(|key, _| !keys.contains(key));
            let outcome = self.attempt(Durability::Sync, after, false, |txn| {
                let mut table = txn.open_table(&Table::<[u8], [u8]>::new(FILL))?;
                keys.iter().try_for_each(|key| table.delete(&key[..]).map(drop))
            });
            match outcome? {
                Outcome::Committed => {
                    self.count("deleted while full");
                    return self.stands("after deleting on a full disk");
                }
                Outcome::NoRoom => self.count("deleting refused"),
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    return self.recover();
                }
            }
        }
        Ok(())
    }

    /// Gives free space back to the file system, and has the ballast take it now and then: what is needed again is then
    /// missed, which must be no more than that.
    pub(super) fn trim(&mut self) -> Result<(), Broken> {
        match self.env()?.trim() {
            Ok(report) => {
                self.bounds.durable = self.bounds.acked;
                *self.told.counts.entry("MiB punched".to_string()).or_default() += report.bytes / MIB;
                self.count("trimmed while full");
            }
            Err(error) => match self.outcome(&error)? {
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    return self.recover();
                }
                _ => self.count("trimming refused"),
            },
        }
        // Its commits change nothing, so the last one goes by their numbers, too.
        let head = self.head()?;
        self.history.also(self.bounds.txnid_max + 1..=head);
        self.bounds.txnid_max = self.bounds.txnid_max.max(head);
        self.stands("after trimming on a full disk")?;
        if self.rng.random_ratio(1, 2)
            && let Some(ballast) = &mut self.ballast
        {
            // Not the last of it: btrfs takes minutes over what it cannot do.
            ballast.leave(MIB)?;
            self.turn_on_nothing()?;
        }
        Ok(())
    }

    /// The published commit.
    pub(super) fn head(&self) -> Result<u64, Broken> {
        Ok(self.env()?.read().map_err(said("read"))?.txnid())
    }

    /// Transactions on a disk that is as full as can be: each is done or refused.
    pub(super) fn turn_on_nothing(&mut self) -> Result<(), Broken> {
        for _ in 0..3 {
            if let Outcome::Poisoned = self.transact()? {
                self.count("faults caught");
                self.env = None;
                self.room_comes_back()?;
                return self.recover();
            }
        }
        self.stands("on a disk as full as can be")
    }

    /// Some of the ballast goes, or the quota is raised.
    pub(super) fn room_comes_back(&mut self) -> Result<(), Broken> {
        let bytes = self.rng.random_range(3 * MIB..8 * MIB);
        if let Some(quota) = self.quota {
            self.quota = Some(quota + bytes);
            if self.env.is_some() {
                self.reopen()?;
            }
            return Ok(());
        }
        let given = match &mut self.ballast {
            Some(ballast) => ballast.give(bytes)?,
            None => 0,
        };
        if given < bytes && self.env.is_some() {
            self.start_over()?;
        }
        Ok(())
    }

    /// There is no ballast left: the file begins anew, and so does the ballast.
    pub(super) fn start_over(&mut self) -> Result<(), Broken> {
        self.close()?;
        for gone in [self.path.clone(), self.path.with_extension("maple-lock")] {
            std::fs::remove_file(&gone).map_err(|error| format!("{}: {error}", gone.display()))?;
        }
        run(Command::new("sync").arg("-f").arg(&self.orders.dir))?;
        self.create()?;
        // Room for the file itself need not be room for more.
        self.given_more().map(drop)
    }

    /// With room again a small commit goes well.
    pub(super) fn goes_on(&mut self) -> Result<(), Broken> {
        for _ in 0..64 {
            self.next_fill += 1;
            let row = (self.next_fill.to_be_bytes().to_vec(), Arc::from(&b"there is room again"[..]));
            match self.put(&[row])? {
                Outcome::Committed => {
                    self.count("went on");
                    return Ok(());
                }
                Outcome::NoRoom if self.orders.kind.copies_on_write() && self.given_more()? => {}
                Outcome::Poisoned => {
                    self.count("faults caught");
                    self.env = None;
                    self.recover()?;
                }
                Outcome::NoRoom => break,
            }
        }
        let free = free_bytes(&self.orders.dir)?;
        Err(format!("no room is found although there is some again: {free} bytes are free"))
    }
}
