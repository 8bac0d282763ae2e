//! The whole law of a file, checked: what every page promises, and that no page is lost or held twice.
//!
//! *Each page is reachable from the snapshot, or in exactly one free record whose born and freed agree* (I12). What named
//! snapshots reach beside it waits in such a record, as one of them still lists it: that is looked at, too. Beyond
//! that: checksums and tags of every page, order of keys within and across pages, counts at every level, and the lengths
//! of size keys. Born is compared with the pages themselves by [`check_waiting`], while nobody writes.

mod free;
mod histograms;
mod named;
mod report;

use mapledb_format::free::{PageBounds, blocker};
use mapledb_format::{
    Extent, FormatError, HeadBody, Pgno, TreeRecord, Txnid, header,
};

use crate::catalog;
use crate::error::{Error, Result};
use crate::pages::{PageRef, Pages};
use crate::space::{Extents, waiting_groups};
use crate::tree::{KeyOrder, PairOrder, Sound, Visit, Visitor, Walked, walk_with};

use self::histograms::Tally;

pub use self::histograms::{CheckHistograms, HistogramRow};
pub use self::report::{CheckLevel, CheckProblem, CheckProgress, CheckReport};
pub(crate) use self::named::{Latest, Named};

/// Pages whose checksums are made anew at every touch, whatever the policy.
struct Distrusting<'p, P>(&'p P);

impl<P: Pages> Pages for Distrusting<'_, P> {
    fn page_size(&self) -> mapledb_format::PageSize {
        self.0.page_size()
    }

    fn page(&self, at: PageRef) -> Result<&[u8]> {
        let page = self.0.page(at)?;
        header::check_sum(page).map_err(|cause| Error::Corrupt { pgno: at.pgno, cause })?;
        Ok(page)
    }

    fn run(&self, at: &mapledb_format::OverflowRef) -> Result<&[u8]> {
        let bytes = self.0.run(at)?;
        mapledb_format::Run::open(bytes, self.page_size())
            .and_then(|run| run.check_all())
            .map_err(|cause| Error::Corrupt { pgno: at.pgno, cause })?;
        Ok(bytes)
    }

    fn born(&self, at: PageRef) -> Result<Txnid> {
        self.0.born(at)
    }

    fn will_need(&self, pages: &[mapledb_format::Pgno]) {
        self.0.will_need(pages);
    }
}

/// Checks the snapshot whose head is `head`, read through `pages`; answers what it reaches, too. Of the named orders those in
/// `orders` are known.
///
/// Cost: every page that `level` asks for is read once.
pub(crate) fn check<P: Pages>(
    pages: &P,
    head: &HeadBody,
    orders: &[KeyOrder],
    level: CheckLevel,
    progress: &mut dyn FnMut(CheckProgress),
) -> (CheckReport, Extents) {
    let pages = &Distrusting(pages);
    let first = pages.page_size().first_data_pgno();
    let bounds = PageBounds { first, end: head.pages_used };
    let total = head.pages_used.get().saturating_sub(first.get());
    let mut checker = Checker {
        pages,
        level,
        bounds,
        held: Extents::default(),
        unread: 0,
        available: 0,
        tally: Tally::default(),
        progress,
        report: CheckReport { txnid: head.txnid.get(), pages_total: total, ..CheckReport::default() },
        table: None,
    };
    checker.table(&head.default_table, PairOrder::of_keys(KeyOrder::BYTEWISE));
    if checker.tree(&head.catalog, KeyOrder::BYTEWISE) {
        checker.tables(&head.catalog, orders);
    }
    checker.tree(&head.snapshots, KeyOrder::BYTEWISE);
    let is_free_tree_whole = checker.tree(&head.free, KeyOrder::BYTEWISE);
    checker.report.pages_reachable = checker.held.pages().saturating_add(checker.unread);
    let reachable = checker.held.clone();
    checker.in_use(head.pages_in_use);
    checker.free_records(head, is_free_tree_whole);
    checker.report.pages_free = checker.held.pages() - reachable.pages();
    checker.lost();
    checker.report.histograms = checker.tally.rows();
    (checker.report, reachable)
}

/// Checks that pages which wait for a snapshot to go are still those that their free records say: each was written by
/// the transaction it was born in. `header_of` answers who wrote the page or run at a number, and how long it is;
/// `None` where nothing was ever written, as in a copy.
///
/// Only pages that one of `pins` still holds are looked at: the others may have been taken by a transaction that was
/// given up, which leaves the records as they are. Only sound while nobody writes.
pub(crate) fn check_waiting<P: Pages>(
    pages: &P,
    head: &HeadBody,
    pins: &[Txnid],
    header_of: &dyn Fn(Pgno) -> Option<(Txnid, u64)>,
) -> Result<Vec<CheckProblem>> {
    let groups = waiting_groups(pages, head)?;
    let mut problems = Vec::new();
    let held = groups.iter().flat_map(|group| {
        group.extents.iter().filter(|piece| blocker(piece.born, group.freed, pins).is_some())
    });
    for piece in held {
        let mut at = piece.extent.first;
        while at.get() < piece.extent.end() {
            let (written, length) = header_of(at).unwrap_or((piece.born, 1));
            if written != piece.born {
                let what = format!("a free record says it was born in {}, it was written in {written}", piece.born);
                problems.push(CheckProblem { pgno: Some(at.get()), table: None, what });
            }
            let Some(next) = at.checked_add(length.max(1)) else { break };
            at = next;
        }
    }
    Ok(problems)
}

fn twice(pgno: Pgno) -> Error {
    Error::Corrupt { pgno, cause: FormatError::BadReference("the page is referred to twice") }
}

struct Checker<'p, 'f, P> {
    pages: &'p P,
    level: CheckLevel,
    bounds: PageBounds,
    held: Extents,
    /// Pages in use that the level leaves out: those that hang on leaves which are not read.
    unread: u64,
    /// Pages found that are free and wait for nothing.
    available: u64,
    tally: Tally,
    progress: &'f mut dyn FnMut(CheckProgress),
    report: CheckReport,
    table: Option<String>,
}

impl<P: Pages> Checker<'_, '_, P> {
    fn problem(&mut self, pgno: Option<Pgno>, what: String) {
        let pgno = pgno.map(Pgno::get);
        self.report.problems.push(CheckProblem { pgno, table: self.table.clone(), what });
    }

    fn fault(&mut self, error: Error) {
        match error {
            Error::Corrupt { pgno, cause } => self.problem(Some(pgno), cause.to_string()),
            other => self.problem(None, other.to_string()),
        }
    }

    /// Walks a tree of the file's own and takes its pages as held; answers whether it is whole.
    fn tree(&mut self, record: &TreeRecord, order: KeyOrder) -> bool {
        self.walk(record, PairOrder::of_keys(order), false).is_some_and(|walked| walked.faults == 0)
    }

    /// Walks the tree of a table as far as the level goes.
    fn table(&mut self, record: &TreeRecord, order: PairOrder) {
        self.tally.depth(record.depth);
        if let Some(walked) = self.walk(record, order, true)
            && walked.faults == 0
        {
            let below = record.overflow_pages.saturating_sub(walked.overflow_pages);
            self.unread = self.unread.saturating_add(below);
        }
        self.report.entries = self.report.entries.saturating_add(record.entries);
    }

    fn walk(&mut self, record: &TreeRecord, order: PairOrder, is_table: bool) -> Option<Walked> {
        let pages = self.pages;
        let mut visitor = OfTree { checker: self, is_table, is_multimap: record.duplicates.is_some() };
        match walk_with(pages, record, order, &mut visitor) {
            Ok(walked) => Some(walked),
            Err(error) => {
                self.fault(error);
                None
            }
        }
    }

    fn tables(&mut self, catalog: &TreeRecord, orders: &[KeyOrder]) {
        match catalog::list(self.pages, catalog) {
            Err(error) => self.fault(error),
            Ok(tables) => {
                for (name, record) in tables {
                    let order = catalog::orders_of(&record, orders);
                    if !order.is_at_hand() {
                        self.report.orders_missing.push(name.clone());
                    }
                    self.table = Some(name);
                    self.table(&record.tree, order);
                    self.report.tables += 1;
                }
                self.table = None;
            }
        }
    }

    /// Holds what the head says is in use against what was found; if damage has kept that from being found, the rest is unknown.
    fn in_use(&mut self, said: u64) {
        let found = self.report.pages_reachable;
        if !self.report.problems.is_empty() {
            self.report.pages_unknown = said.saturating_sub(found);
        } else if said != found {
            self.problem(None, format!("the head says that {said} page(s) are in use, {found} are reachable"));
        }
    }
}

/// Takes the pages of one tree as held, and its faults as problems.
struct OfTree<'c, 'p, 'f, P> {
    checker: &'c mut Checker<'p, 'f, P>,
    is_table: bool,
    is_multimap: bool,
}

impl<P: Pages> Visitor for OfTree<'_, '_, '_, P> {
    fn visit(&mut self, visit: Visit) -> Result<()> {
        let Checker { held, progress, report, bounds, .. } = &mut *self.checker;
        let extent = Extent::new(visit.pgno, visit.pages);
        if !bounds.holds(&extent) {
            let cause = FormatError::BadReference("it lies outside the file's pages");
            return Err(Error::Corrupt { pgno: visit.pgno, cause });
        }
        if !held.insert(extent) {
            return Err(twice(visit.pgno));
        }
        let done = held.pages();
        if done % 256 < visit.pages {
            progress(CheckProgress { pages_done: done, pages_total: report.pages_total });
        }
        Ok(())
    }

    /// A damaged page is in use all the same.
    fn fault(&mut self, at: Visit, error: Error) -> Result<()> {
        let extent = Extent::new(at.pgno, at.pages);
        if self.checker.bounds.holds(&extent) {
            self.checker.held.insert(extent);
        }
        self.checker.fault(error);
        Ok(())
    }

    fn sound(&mut self, at: Pgno, page: Sound<'_, '_>) -> Result<()> {
        match self.is_table {
            true => self.checker.tally.page(at, &page, self.is_multimap),
            false => Ok(()),
        }
    }

    fn reads_values(&self) -> bool {
        self.checker.level == CheckLevel::Full
    }

    fn reads_leaves(&self) -> bool {
        !self.is_table || self.checker.level > CheckLevel::Quick
    }
}
