//! Named snapshots, checked: all that each promises, and that each of its pages is in use by the latest state or waits for it in
//! a free record.
//!
//! They share most of their pages with each other and with the latest state, so a fault that was told already is not told again.
//! What damage to the latest state keeps from being reached may be in use all the same: then the second question has no answer,
//! and the first is asked alone.

use std::collections::BTreeSet;

use mapledb_format::{Extent, PendingGroup, Pgno, SnapshotRecord};

use super::{CheckProblem, CheckReport, Distrusting, twice};
use crate::catalog;
use crate::error::{Error, Result};
use crate::pages::Pages;
use crate::space::Extents;
use crate::tree::{PairOrder, Sound, Visit, Visitor, walk_with};

/// What is known of the latest state where none of it is damaged.
pub(crate) struct Latest<'l> {
    /// The pages it is made of.
    pub(crate) reachable: &'l Extents,
    /// Those that wait for a snapshot to go.
    pub(crate) waiting: &'l [PendingGroup],
}

/// A fault by its page and what is wrong with it.
type Fault = (Option<u64>, String);

/// A check of one named snapshot after the other.
pub(crate) struct Named {
    told: BTreeSet<Fault>,
}

impl Named {
    /// Behind the check whose report this is.
    pub(crate) fn behind(report: &CheckReport) -> Named {
        Named { told: report.problems.iter().map(|problem| (problem.pgno, problem.what.clone())).collect() }
    }

    /// Checks the snapshot called `name`, read through `pages`. `latest` is `None` where the latest state is damaged.
    ///
    /// Cost: every page of the snapshot is read once.
    pub(crate) fn check<P: Pages>(
        &mut self,
        pages: &P,
        (name, record): (&str, &SnapshotRecord),
        latest: Option<&Latest<'_>>,
        report: &mut CheckReport,
    ) {
        let pages = &Distrusting(pages);
        let mut of_one = OfSnapshot { found: Extents::default(), faults: Vec::new() };
        let mut trees = vec![record.default_table, record.catalog];
        match catalog::list(pages, &record.catalog) {
            Ok(tables) => trees.extend(tables.into_iter().map(|(_, table)| table.tree)),
            Err(error) => of_one.take(error),
        }
        for tree in &trees {
            if let Err(error) = walk_with(pages, tree, PairOrder::recorded(tree), &mut of_one) {
                of_one.take(error);
            }
        }
        if let Some(latest) = latest {
            of_one.neither_used_nor_waiting(record, latest);
        }
        for fault in of_one.faults {
            self.tell(name, fault, report);
        }
        report.snapshots += 1;
    }

    fn tell(&mut self, name: &str, fault: Fault, report: &mut CheckReport) {
        if self.told.insert(fault.clone()) {
            let (pgno, what) = fault;
            report.problems.push(CheckProblem { pgno, table: None, what: format!("snapshot {name:?}: {what}") });
        }
    }
}

/// The pages of a snapshot, and what is wrong with them.
struct OfSnapshot {
    found: Extents,
    faults: Vec<Fault>,
}

impl OfSnapshot {
    fn take(&mut self, error: Error) {
        self.faults.push(match error {
            Error::Corrupt { pgno, cause } => (Some(pgno.get()), cause.to_string()),
            other => (None, other.to_string()),
        });
    }

    fn neither_used_nor_waiting(&mut self, record: &SnapshotRecord, latest: &Latest<'_>) {
        let mut held = Extents::default();
        for group in latest.waiting.iter().filter(|group| group.freed > record.txnid) {
            for piece in group.extents.iter().filter(|piece| piece.born <= record.txnid) {
                held.insert(piece.extent);
            }
        }
        let given_up: Extents = self.found.without(latest.reachable).into_iter().collect();
        for extent in given_up.without(&held) {
            let what = format!("{} page(s) from here on are neither in use nor wait for it", extent.pages);
            self.faults.push((Some(extent.first.get()), what));
        }
    }
}

impl Visitor for OfSnapshot {
    fn visit(&mut self, visit: Visit) -> Result<()> {
        match self.found.insert(Extent::new(visit.pgno, visit.pages)) {
            true => Ok(()),
            false => Err(twice(visit.pgno)),
        }
    }

    fn fault(&mut self, _: Visit, error: Error) -> Result<()> {
        self.take(error);
        Ok(())
    }

    fn sound(&mut self, _: Pgno, _: Sound<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn reads_values(&self) -> bool {
        true
    }

    fn reads_leaves(&self) -> bool {
        true
    }
}
