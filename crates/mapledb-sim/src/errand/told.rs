//! What the child of an errand was told, by its journal, and whether the file agrees.

use std::collections::{HashMap, HashSet};

use mapledb::Env;

use crate::journal::Event;
use crate::processes::bank::{self, Broken, Place, Size};
use crate::verify;

/// What the child was told of its transactions.
#[derive(Default)]
pub(super) struct Told {
    pub(super) has_opened: bool,
    /// By ordinal: the number, and whether it must stand (`Some(true)`), must not (`Some(false)`), or may.
    transactions: HashMap<u64, (u64, Option<bool>)>,
}

impl Told {
    pub(super) fn read(text: &str) -> Result<Told, Broken> {
        let mut told = Told::default();
        let mut numbers = HashSet::new();
        for line in text.lines() {
            let (ordinal, stands) = match Event::read(line)? {
                Event::Began { ordinal, txnid } => {
                    if !numbers.insert(txnid) {
                        return Err(format!("txnid {txnid} was given out twice"));
                    }
                    told.transactions.insert(ordinal, (txnid, Some(false)));
                    continue;
                }
                Event::Opened { .. } => {
                    told.has_opened = true;
                    continue;
                }
                Event::Ready { ordinal } | Event::Indeterminate { ordinal, .. } => (ordinal, None),
                Event::Acknowledged { ordinal, .. } => (ordinal, Some(true)),
                Event::Refused { ordinal, .. } | Event::GaveUp { ordinal } => (ordinal, Some(false)),
                Event::Syncing | Event::Synced | Event::Opening | Event::Closing | Event::Closed => continue,
            };
            let known = told.transactions.get_mut(&ordinal);
            known.ok_or_else(|| format!("transaction {ordinal} has not begun"))?.1 = stands;
        }
        Ok(told)
    }

    /// Every commit that must stand does, and no other that may not.
    pub(super) fn compare(&self, env: &Env, size: &Size) -> Result<u64, Broken> {
        let txn = env.read().map_err(verify::said("a read cannot begin"))?;
        let acknowledged = self.transactions.values().filter(|told| told.1 == Some(true)).count();
        let is_founded = bank::Reads::get(&txn, Place::Main, b"generation")?.is_some();
        if !is_founded && acknowledged == 0 {
            return Ok(0);
        }
        bank::audit(&txn, size)?;
        let lines = bank::journal(&txn)?;
        let stand: HashMap<_, _> = lines.iter().map(|line| (line.number, line.txnid)).collect();
        for (ordinal, (txnid, stands)) in &self.transactions {
            match (stand.get(ordinal), stands) {
                (None, Some(true)) => return Err(format!("commit {ordinal} was acknowledged and is lost")),
                (Some(_), Some(false)) => return Err(format!("commit {ordinal} was refused and stands")),
                (Some(found), _) if found != txnid => {
                    return Err(format!("commit {ordinal} was made by transaction {txnid}, not {found}"));
                }
                _ => {}
            }
        }
        match lines.iter().find(|line| !self.transactions.contains_key(&line.number)) {
            Some(line) => Err(format!("{line:?} stands and nobody made it")),
            None => Ok(lines.len() as u64),
        }
    }
}
